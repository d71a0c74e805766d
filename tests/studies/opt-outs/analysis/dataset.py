"""A query tool that includes opted-out patients only when it is told that it may, as ehrQL."""

import csv
import json
import os
import sqlite3

permissions = json.loads(os.environ["EHRQL_PERMISSIONS"])
path = os.environ["DATABASE_URL"].removeprefix("sqlite://")
database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
query = "SELECT patient_id, age FROM patients"
if "include_t1oo" not in permissions:
    query += " WHERE patient_id NOT IN (SELECT patient_id FROM PatientsWithTypeOneDissent)"
os.makedirs("output", exist_ok=True)
with open("output/dataset.csv", "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow(["patient_id", "age"])
    writer.writerows(database.execute(query))
