#!/usr/bin/env python3
"""How fast questions about a large audit log are answered.

usage: tests/bench/query.py [--carrel PROGRAM] [--events N] [--runs N] [--log STATE ID]

Makes a log of N (10,000,000) real calls: a static program under `carrel exec` that opens, reads,
stats and closes files in turn, with a few rare calls among them. Or takes one that there is. Each
question is asked once to warm the file, then `runs` times: medians, in seconds. `raw` counts 72
bytes an event, as the recorder gets them; verify is also measured on one processor.
"""
import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import start

SOURCE = pathlib.Path(__file__).resolve().parents[2]
RAW_BYTES = 72
LOAD_C = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char** argv) {
  long n = argc > 1 ? atol(argv[1]) : 1000000;
  char name[64], buffer[512];
  struct stat info;
  for (long i = 0; i < n; i += 8) {
    snprintf(name, sizeof name, "/data/f%ld", i / 8 % 1000);
    int fd = open(name, O_RDONLY);  // of 1,000, half are there
    int zero = open("/load", O_RDONLY);
    fstat(zero, &info);
    for (int k = 0; k < 3; ++k) read(zero, buffer, 100 + i % 300);
    close(zero);
    if (fd >= 0) close(fd);
    else syscall(SYS_getppid);
    if (i % 1000000 == 0) syscall(SYS_getsid, 0);  // the rare one
  }
  return 0;
}
"""
QUESTIONS = [
    ("one rare syscall", ["query", "--json", "--syscall", "getsid"]),
    ("what was denied", ["query", "--json", "--denied"]),
    ("one path", ["query", "--json", "--path", "/data/f777"]),
    ("a path that is not there", ["query", "--json", "--path", "/nowhere"]),
    ("an address", ["query", "--json", "--address", "inet"]),
    ("one error", ["query", "--json", "--error", "EACCES"]),
    ("another process", ["query", "--json", "--comm", "nobody"]),
    ("counts by syscall", ["stats", "--json"]),
]


def make_log(carrel, directory, events):
    state, root = directory / "state", directory / "root"
    (root / "data").mkdir(parents=True)
    for i in range(0, 1000, 2):
        (root / "data" / f"f{i}").write_text("x")
    (directory / "load.c").write_text(LOAD_C)
    subprocess.run(["cc", "-O2", "-static", "-o", root / "load", directory / "load.c"], check=True)
    begin = time.monotonic()
    subprocess.run([carrel, "exec", "--state", state, "--id", "load", "--rootfs", root,
                    "--time", "3600", "--", "/load", str(events)], check=True)
    print(f"made in {time.monotonic() - begin:.1f} s")
    return state, "load"


def timed(command, runs):
    times = []
    for i in range(runs + 1):
        begin = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if i > 0:
            times.append(time.monotonic() - begin)
        if done.returncode != 0:
            sys.exit(f"{command}: {done.stderr.decode()}")
    return statistics.median(times), done.stdout.count(b"\n")


def measure(carrel, state, job, runs):
    where = ["--state", state, "--job", job]
    listed = subprocess.run([carrel, "audit", "stats", *where, "--json"], check=True,
                            capture_output=True, text=True).stdout
    events = sum(int(line.split('"count":')[1].split(",")[0]) for line in listed.splitlines())
    size = (pathlib.Path(state) / "audit" / f"{job}.carrel-log").stat().st_size
    print(f"{events:,} calls, {size:,} bytes, {size / events:.2f} bytes a call")
    print(f"{'question':<28}{'s':>8}{'lines':>10}")
    for name, (verb, *options) in QUESTIONS:
        seconds, lines = timed([carrel, "audit", verb, *where, *options], runs)
        print(f"{name:<28}{seconds:8.3f}{lines:10,}")
    for name, prefix in [("verify", []), ("verify, one processor", ["taskset", "-c", "0"])]:
        seconds, _ = timed([*prefix, carrel, "audit", "verify", *where], runs)
        print(f"{name:<28}{seconds:8.3f}{RAW_BYTES * events / seconds / 1e6:10,.0f} MB/s raw")
    seconds, _ = timed([carrel, "audit", "report", *where, "-o", "/dev/null"], runs)
    print(f"{'report':<28}{seconds:8.3f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--carrel", default=SOURCE / "build/release/runtime/carrel")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--log", nargs=2, metavar=("STATE", "ID"))
    options = parser.parse_args()
    if options.log:
        measure(options.carrel, *options.log, options.runs)
        return
    with tempfile.TemporaryDirectory(prefix="carrel-bench-", dir="/var/tmp") as name:
        directory = pathlib.Path(name)
        state, job = make_log(options.carrel, directory, options.events)
        try:
            measure(options.carrel, state, job, options.runs)
        finally:
            start.forget_state(options.carrel, state)


if __name__ == "__main__":
    main()
