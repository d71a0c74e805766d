"""Names the variables that an action without a database gets."""

import os

os.makedirs("output", exist_ok=True)
with open("output/environment.txt", "w", encoding="utf-8") as file:
    for name in sorted(os.environ):
        file.write(name + "\n")
