"""Makes an SQLite database of synthetic patients, the same ones every time."""

import os
import sqlite3

PATIENTS = 600
os.makedirs("output", exist_ok=True)
# On a disk in memory first: journals need none of the workspace's room.
database = sqlite3.connect("/tmp/patients.sqlite")
database.executescript("""
    CREATE TABLE patients (patient_id INTEGER PRIMARY KEY, age INTEGER, region TEXT);
    CREATE TABLE PatientsWithTypeOneDissent (patient_id INTEGER PRIMARY KEY);
""")
regions = ["East", "London", "North West"]
for patient in range(1, PATIENTS + 1):
    database.execute("INSERT INTO patients VALUES (?, ?, ?)",
                     (patient, 18 + patient * 7 % 70, regions[patient % 3]))
    if patient % 16 == 5:
        database.execute("INSERT INTO PatientsWithTypeOneDissent VALUES (?)", (patient,))
database.commit()
database.close()
with open("/tmp/patients.sqlite", "rb") as made, open("output/patients.sqlite", "wb") as out:
    out.write(made.read())
