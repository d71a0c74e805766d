"""Counts patients with asthma, and those reviewed in 2024, by region and age band.

Small numbers are suppressed and the others rounded, so that the table can be level 4."""

import matplotlib.pyplot as plt
import pandas as pd

BANDS = [0, 18, 40, 65, 200]
LABELS = ["0-17", "18-39", "40-64", "65+"]
SMALLEST = 7  # counts up to this are not shown
ROUNDED_TO = 5


def disclosable(count):
    """A count as it may be published: nothing if it is small, else a multiple of five."""
    return pd.NA if count <= SMALLEST else ROUNDED_TO * round(count / ROUNDED_TO)


def main():
    dataset = pd.read_csv("output/dataset.csv.gz")
    dataset["age_band"] = pd.cut(dataset["age"], BANDS, right=False, labels=LABELS)
    dataset["reviewed"] = dataset["reviews"] > 0
    groups = dataset.groupby(["region", "age_band"], observed=False)["reviewed"]
    table = groups.agg(with_asthma="size", reviewed="sum")
    table = table.apply(lambda column: column.map(disclosable)).astype("Int64")
    table["percent"] = (100 * table["reviewed"] / table["with_asthma"]).round().astype("Int64")
    table.to_csv("output/reviews.csv", na_rep="[suppressed]")
    print(f"{len(dataset)} patients read, {len(table)} groups written")

    percent = table["percent"].astype("Float64").unstack()
    axes = percent.astype(float).plot.barh(figsize=(8, 6))
    axes.set_xlabel("reviewed in 2024 (%)")
    axes.set_ylabel("")
    axes.set_title("Asthma reviews by region and age band (synthetic data)")
    plt.tight_layout()
    plt.savefig("output/reviews.png", dpi=110)


if __name__ == "__main__":
    main()
