"""A query tool that includes opted-out patients only when it is told that it may, as ehrQL."""

import csv
import json
import os
import sqlite3

import postgres


def run(query):
    url = os.environ["DATABASE_URL"]
    if not url.startswith("sqlite://"):
        return postgres.Connection(url).rows(query)
    path = url.removeprefix("sqlite://")
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute(query)


permissions = json.loads(os.environ["EHRQL_PERMISSIONS"])
query = "SELECT patient_id, age FROM patients"
if "include_t1oo" not in permissions:
    query += " WHERE patient_id NOT IN (SELECT patient_id FROM PatientsWithTypeOneDissent)"
os.makedirs("output", exist_ok=True)
with open("output/dataset.csv", "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow(["patient_id", "age"])
    writer.writerows(run(query))
