#!/usr/bin/env python3
"""Runs the demo study: what ci/demo does once carrel is built.

  demo.py images --carrel PROGRAM --state DIR   builds the images that the study needs
  demo.py study --carrel PROGRAM --state DIR    runs the study's three actions and shows the results
"""

import argparse
import csv
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid

import make_database

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
IMAGES = {"python": "python:v2", "sqlrunner": "sqlrunner:v1"}
WORKSPACE = "demo"
# The code of the study, without the parts of the demo around it.
STUDY_FILES = ["project.yaml", "analysis"]


class Demo:
    """Where things are."""

    def __init__(self, carrel, state):
        self.carrel = str(pathlib.Path(carrel).resolve())
        self.state = pathlib.Path(state)
        self.database = self.state / "database" / "patients.sqlite"
        self.repository = self.state / "study"
        self.config = self.state / "carrel.json"
        self.other = (self.state / "high_privacy" / "workspaces" / "asthma-reviews" / "output" /
                      "dataset.csv")

    def run_carrel(self, *args, **kwargs):
        return subprocess.run([self.carrel, *map(str, args)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False, **kwargs)


def digest_of(paths):
    """A digest of files, by name and content; directories are walked."""
    total = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(f"{file.name}\0{file.stat().st_size}\0".encode())
                total.update(file.read_bytes())
    return total.hexdigest()


def is_current(stamp, digest):
    return stamp.exists() and stamp.read_text(encoding="utf-8") == digest


# Images.

def image_sources(demo, recipe):
    sources = [ROOT / "images" / recipe / "recipe.json"]
    if recipe == "sqlrunner":
        sources.append(pathlib.Path(demo.carrel).parent.parent / "images" / "sqlrunner")
    return sources


def build_images(demo):
    """Builds, at the same time, the images that are not there or not up to date."""
    builds = {}
    for recipe, name in IMAGES.items():
        stamp = demo.state / f"image-{recipe}.stamp"
        digest = digest_of(image_sources(demo, recipe))
        there = demo.run_carrel("image", "inspect", name, "--state", demo.state).returncode == 0
        if not (there and is_current(stamp, digest)):
            command = [demo.carrel, "image", "build", str(ROOT / "images" / recipe), "--state",
                       str(demo.state)]
            builds[recipe] = (subprocess.Popen(command), stamp, digest)
    failed = False
    for process, stamp, digest in builds.values():
        if process.wait() == 0:
            stamp.write_text(digest, encoding="utf-8")
        else:
            failed = True
    return 1 if failed else 0


# What stands in for the world around: the database, the repository, another project.

def prepare_database(demo):
    stamp = demo.database.parent / "stamp"
    digest = digest_of([HERE / "make_database.py"])
    if demo.database.exists() and is_current(stamp, digest):
        return
    demo.database.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(demo.database.with_suffix(".new"))
    make_database.fill(database)
    database.close()
    demo.database.with_suffix(".new").rename(demo.database)
    demo.database.chmod(0o644)
    stamp.write_text(digest, encoding="utf-8")


def git(demo, *args):
    """Git with no configuration but ours, and the same names and times every time."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "carrel demo", "GIT_AUTHOR_EMAIL": "demo@example.org",
        "GIT_COMMITTER_NAME": "carrel demo", "GIT_COMMITTER_EMAIL": "demo@example.org",
        "GIT_AUTHOR_DATE": "1767225600 +0000", "GIT_COMMITTER_DATE": "1767225600 +0000",
    }
    done = subprocess.run(["git", "-C", str(demo.repository), *args], env=environment, text=True,
                          stdout=subprocess.PIPE, check=True)
    return done.stdout.strip()


def prepare_repository(demo):
    """A git repository with the study as its one commit; returns the commit."""
    stamp = demo.state / "study.stamp"
    digest = digest_of([HERE / name for name in STUDY_FILES])
    if not is_current(stamp, digest):
        shutil.rmtree(demo.repository, ignore_errors=True)
        demo.repository.mkdir(parents=True)
        for name in STUDY_FILES:
            copy = shutil.copytree if (HERE / name).is_dir() else shutil.copy
            copy(HERE / name, demo.repository / name)
        git(demo, "init", "--quiet", "--initial-branch=main")
        git(demo, "add", *STUDY_FILES)
        git(demo, "commit", "--quiet", "--message=The demo study")
        stamp.write_text(digest, encoding="utf-8")
    return git(demo, "rev-parse", "HEAD")


def prepare_other_project(demo):
    demo.other.parent.mkdir(parents=True, exist_ok=True)
    demo.other.write_text("patient_id,age\n1,30\n", encoding="utf-8")


def write_config(demo):
    config = {
        "state": str(demo.state),
        "policies": str(ROOT / "policies"),
        "backend": "demo",
        "allowed_repositories": [str(demo.repository)],
        "databases": {"default": {"kind": "sqlite", "path": str(demo.database)}},
    }
    demo.config.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


# The jobs: what the agent would write for each action of project.yaml.

def image_digest(demo, name):
    shown = demo.run_carrel("image", "inspect", name, "--state", demo.state, "--json")
    if shown.returncode != 0:
        sys.exit(shown.stderr)
    return json.loads(shown.stdout)["digest"]


def job_definition(demo, commit, action, image, args, level, outputs, **more):
    job_id = uuid.uuid4().hex[:12]
    return {
        "id": job_id, "rap_id": "demo", "task_id": f"{job_id}-001",
        "repo_url": str(demo.repository), "commit": commit,
        "study": {"git_repo_url": str(demo.repository), "commit": commit, "branch": "main"},
        "workspace": WORKSPACE, "action": action, "created_at": int(time.time()),
        "image": image, "image_sha": image_digest(demo, image), "args": args,
        "env": {"OPENSAFELY_BACKEND": "demo"}, "inputs": [],
        "input_job_ids": more.get("input_job_ids", []),
        "output_spec": {path: level for path in outputs},
        "allow_database_access": more.get("database", False),
        "user": "demo", "database_name": "default", "cpu_count": "2", "memory_limit": "2G",
    }


def extract_job(demo, commit):
    return job_definition(demo, commit, "extract", "sqlrunner:v1",
                          ["analysis/extract.sql", "--output", "output/dataset.csv.gz"],
                          "highly_sensitive", ["output/dataset.csv.gz"], database=True)


def report_job(demo, commit, extract):
    return job_definition(demo, commit, "report", "python:v2", ["python", "analysis/report.py"],
                          "moderately_sensitive", ["output/reviews.csv", "output/reviews.png"],
                          input_job_ids=[extract["id"]])


def intrude_job(demo, commit):
    return job_definition(demo, commit, "intrude", "python:v2",
                          ["python", "analysis/intrude.py", str(demo.database), str(demo.other)],
                          "moderately_sensitive", ["output/attempts.txt"])


def run_job(demo, job):
    """Runs one job to its result, in the foreground, as `carrel run` does."""
    definitions = demo.state / "definitions"
    definitions.mkdir(exist_ok=True)
    file = definitions / f"{job['action']}.json"
    file.write_text(json.dumps(job, indent=2) + "\n", encoding="utf-8")
    begin = time.monotonic()
    done = demo.run_carrel("run", "--config", demo.config, file)
    took = time.monotonic() - begin
    try:
        result = json.loads(done.stdout)
    except ValueError:
        result = {}
    if done.returncode != 0 or "results" not in result:
        detail = result.get("results", {}).get("status_message", "")
        sys.exit(f"ci/demo: the action {job['action']} failed (exit status {done.returncode}): "
                 f"{detail}\n{done.stderr}")
    return {"job": job, "results": result["results"], "seconds": took}


# What is shown, in 80 columns.

def heading(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}")


def show_action(number, run, what):
    results = run["results"]
    database = results.get("database") or "none"
    levels = {"highly_sensitive": "level 3", "moderately_sensitive": "level 4"}
    heading(f"{number}. {run['job']['action']}: {what}")
    print(f"   {run['job']['image']}, database: {database}, {run['seconds']:.1f} s, "
          f"{results['audit']['events']} events in the audit log")
    for path, level in results["outputs"].items():
        print(f"   {levels[level]}: {path}")
    for path, why in results.get("level4_excluded_files", {}).items():
        print(f"   withheld from level 4: {path}: {why}")


def check_opt_outs(demo, run):
    """Compares the extract with the database itself; False when an opted-out patient is in it."""
    path = pathlib.Path(run["results"]["files"]["level3"]) / "output" / "dataset.csv.gz"
    with gzip.open(path, "rt", newline="") as file:
        extracted = {int(row["patient_id"]) for row in csv.DictReader(file)}
    database = sqlite3.connect(f"file:{demo.database}?mode=ro", uri=True)
    total, = database.execute("SELECT count(*) FROM patients").fetchone()
    opted_out = {row[0] for row in
                 database.execute("SELECT patient_id FROM PatientsWithTypeOneDissent")}
    asthma = {row[0] for row in
              database.execute("SELECT patient_id FROM patients WHERE has_asthma")}
    database.close()
    print(f"   {total:,} patients in the database, {len(opted_out)} of them opted out")
    print(f"   {len(asthma):,} have asthma: {len(extracted):,} extracted, "
          f"{len(asthma & opted_out)} left out because they opted out")
    if extracted == asthma - opted_out:
        print(f"   opted-out patients in the extract: {len(extracted & opted_out)}")
        return True
    print("   WRONG: the extract is not the patients with asthma who did not opt out")
    return False


def show_table(run):
    path = pathlib.Path(run["results"]["files"]["level4"]) / "output" / "reviews.csv"
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    bands = list(dict.fromkeys(row["age_band"] for row in rows))
    cells = {(row["region"], row["age_band"]): row for row in rows}
    print("   reviewed in 2024, % of patients with asthma (-: small numbers, suppressed)\n")
    print("   " + f"{'':16}" + "".join(f"{band:>9}" for band in bands))
    for region in dict.fromkeys(row["region"] for row in rows):
        percents = [cells[region, band]["percent"] for band in bands]
        shown = ["-" if percent.startswith("[") else percent for percent in percents]
        print("   " + f"{region:16}" + "".join(f"{text:>9}" for text in shown))


def show_refusals(run):
    """Prints each attempt; False when one succeeded."""
    path = pathlib.Path(run["results"]["files"]["level4"]) / "output" / "attempts.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    for line in lines:
        print(f"   {line}")
    refused = sum(line.startswith("refused: ") for line in lines)
    print(f"   {refused} of {len(lines)} attempts refused")
    return refused == len(lines) > 0


def show_places(demo, runs):
    def show(label, path):
        print(f"   {label:15} {os.path.relpath(path, demo.state)}")

    heading(f"Where it all is, below {demo.state}")
    files = runs["report"]["results"]["files"]
    show("level 4 results", files["level4"] + "/output")
    show("level 3 extract", files["level3"] + "/output")
    for name, run in runs.items():
        show(f"{name} log", run["results"]["files"]["log"])
        show("  its audit log", run["results"]["audit"]["log"])
    heading("The third action's audit log, for people")
    program = os.path.relpath(demo.carrel)
    print(f"   {program} audit show {runs['intrude']['job']['id']} --state {demo.state}")


def run_study(demo):
    prepare_database(demo)
    prepare_other_project(demo)
    write_config(demo)
    commit = prepare_repository(demo)
    runs = {}
    good = True
    print("The demo study: three actions, on synthetic patients")

    extract = extract_job(demo, commit)
    runs["extract"] = run_job(demo, extract)
    show_action(1, runs["extract"], "SQL, with the database, to level 3")
    good &= check_opt_outs(demo, runs["extract"])

    runs["report"] = run_job(demo, report_job(demo, commit, extract))
    show_action(2, runs["report"], "Python, without a database, to level 4")
    show_table(runs["report"])

    runs["intrude"] = run_job(demo, intrude_job(demo, commit))
    show_action(3, runs["intrude"], "tries what an action must not do")
    good &= show_refusals(runs["intrude"])

    show_places(demo, runs)
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["images", "study"])
    parser.add_argument("--carrel", required=True)
    parser.add_argument("--state", required=True)
    args = parser.parse_args()
    demo = Demo(args.carrel, args.state)
    return build_images(demo) if args.command == "images" else run_study(demo)


if __name__ == "__main__":
    sys.exit(main())
