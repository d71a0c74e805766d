#!/usr/bin/env python3
"""Makes the demo's SQLite database: 20,000 synthetic patients, the same ones every time.

usage: make_database.py FILE"""

import datetime
import os
import random
import sqlite3
import sys

PATIENTS = 20000
REGIONS = {  # and how many of a thousand patients live there
    "East": 110, "East Midlands": 85, "London": 155, "North East": 47, "North West": 131,
    "South East": 162, "South West": 100, "West Midlands": 106, "Yorkshire": 102, "Islands": 2,
}
SCHEMA = """
CREATE TABLE patients (
  patient_id INTEGER PRIMARY KEY, sex TEXT NOT NULL, date_of_birth TEXT NOT NULL,
  region TEXT NOT NULL, has_asthma INTEGER NOT NULL);
CREATE TABLE events (
  patient_id INTEGER NOT NULL REFERENCES patients, date TEXT NOT NULL, code TEXT NOT NULL,
  value REAL);
CREATE INDEX events_of_patient ON events (patient_id, code);
CREATE TABLE PatientsWithTypeOneDissent (patient_id INTEGER PRIMARY KEY REFERENCES patients);
"""


def some_day(rng, first_year, last_year):
    start = datetime.date(first_year, 1, 1).toordinal()
    end = datetime.date(last_year, 12, 31).toordinal()
    return datetime.date.fromordinal(rng.randint(start, end)).isoformat()


def make_patient(rng, patient_id):
    region = rng.choices(list(REGIONS), list(REGIONS.values()))[0]
    born = some_day(rng, 1934, 2023)
    return (patient_id, rng.choice("FM"), born, region, int(rng.random() < 0.12))


def make_events(rng, patient):
    patient_id, _, born, _, has_asthma = patient
    for _ in range(rng.randint(0, 5)):
        day = some_day(rng, 2020, 2024)
        if day > born:
            yield (patient_id, day, "systolic-bp", float(rng.randint(95, 175)))
    if has_asthma and rng.random() < 0.7:
        yield (patient_id, some_day(rng, 2023, 2024), "asthma-review", None)


def fill(database):
    rng = random.Random(20240601)
    patients = [make_patient(rng, number) for number in range(1, PATIENTS + 1)]
    events = [event for patient in patients for event in make_events(rng, patient)]
    opted_out = sorted(rng.sample(range(1, PATIENTS + 1), PATIENTS * 3 // 100))
    database.executescript(SCHEMA)
    database.executemany("INSERT INTO patients VALUES (?, ?, ?, ?, ?)", patients)
    database.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", events)
    database.executemany("INSERT INTO PatientsWithTypeOneDissent VALUES (?)",
                         [(patient,) for patient in opted_out])
    database.commit()


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    unfinished = sys.argv[1] + ".new"
    if os.path.exists(unfinished):
        os.unlink(unfinished)
    database = sqlite3.connect(unfinished)
    fill(database)
    database.close()
    os.rename(unfinished, sys.argv[1])


if __name__ == "__main__":
    main()
