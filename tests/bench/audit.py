#!/usr/bin/env python3
"""What the audit log costs, side by side with other tracers in one run.

usage: tests/bench/audit.py [--carrel PROGRAM] [--rounds N] [--python-root DIR] [--only CASE...]

Cases: getppid and open/read/close loops with one and eight threads; find, tar and Python imports on
the host's /usr; and, with --python-root (a root filesystem with pandas and matplotlib, such as the
demo's image, copied: a directory `study` is put there), the demo study's report. Each runs bare, in carrel with its log, under `strace -f`,
`perf trace -s` and bpftrace (those that are installed), in turns; the shortest time of each counts.
`ratio` is to bare; carrel's time has the start of its sandbox in it. Also: events, holds, lost events,
bytes of log for an event, and the supervisor's largest resident set, ring included.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

import start

SOURCE = pathlib.Path(__file__).resolve().parents[2]
LOOPS_C = r"""
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
static long calls;
static int files;
static void* loop(void* unused) {
  char byte[64];
  for (long i = 0; i < calls; ++i) {
    if (!files) {
      syscall(SYS_getppid);
      continue;
    }
    int fd = open("/data", O_RDONLY);
    if (read(fd, byte, sizeof byte) < 0) exit(1);
    close(fd);
  }
  return unused;
}
int main(int argc, char** argv) {
  pthread_t threads[64];
  long count = atol(argv[2]);
  if (argc < 4) return 2;
  files = !strcmp(argv[1], "files");
  calls = atol(argv[3]);
  for (long i = 0; i < count; ++i) pthread_create(&threads[i], NULL, loop, NULL);
  for (long i = 0; i < count; ++i) pthread_join(threads[i], NULL);
  return 0;
}
"""
FIND_TAR_PYTHON = ("find /usr -xdev >/dev/null; tar -C /usr/share -cf - doc 2>/dev/null | cat >/dev/null; "
                   "for i in 1 2 3; do python3 -c 'import json, csv, email, http.client, sqlite3, "
                   "xml.dom.minidom, unittest, asyncio, decimal, ssl'; done")
REPORT = SOURCE / "tests/studies/demo/analysis/report.py"


def make_dataset(path):
    import gzip
    random.seed(1)
    with gzip.open(path, "wt") as out:
        out.write("patient_id,age,region,reviews\n")
        for i in range(20000):
            out.write(f"{i},{random.randrange(95)},Region {random.randrange(9)},"
                      f"{random.randrange(3)}\n")


def cases(work, python_root):
    loops = work / "rootfs"
    loops.mkdir()
    (work / "loops.c").write_text(LOOPS_C)
    subprocess.run(["cc", "-O2", "-static", "-pthread", "-o", loops / "loops", work / "loops.c"],
                   check=True)
    (loops / "data").write_text("x" * 4096)
    for name, kind, threads, calls in (("getppid x1", "getppid", 1, 1_000_000),
                                       ("getppid x8", "getppid", 8, 200_000),
                                       ("open/read/close x1", "files", 1, 150_000),
                                       ("open/read/close x8", "files", 8, 30_000)):
        yield name, loops, ["/loops", kind, str(threads), str(calls)]
    yield "find+tar+python", pathlib.Path("/"), ["/bin/sh", "-c", FIND_TAR_PYTHON]
    if python_root:
        # A home of its own: matplotlib's list of fonts is made anew each time, in all of them.
        script = ("rm -rf /tmp/r && mkdir -p /tmp/r/output && cd /tmp/r && export HOME=/tmp/r && "
                  "cp /study/report.py . && "
                  "cp /study/dataset.csv.gz output/ && python3 report.py >/dev/null")
        yield "demo report", python_root, ["/bin/sh", "-c", script]


def tracers(carrel, state, work):
    def logged(root, command):
        ident = f"bench-{time.monotonic_ns()}"
        return [carrel, "exec", "--state", str(state), "--id", ident, "--memory", "4G", "--rootfs",
                str(root), "--", *command], ident
    def plain(prefix):
        return lambda root, command: (
            prefix + ([] if root == pathlib.Path("/") else ["chroot", str(root)]) + command, None)
    found = {"bare": plain([]), "carrel": logged}
    if shutil.which("strace"):
        found["strace -f"] = plain(["strace", "-f", "-o", str(work / "strace.out")])
    if shutil.which("perf"):
        found["perf trace"] = plain(["perf", "trace", "-o", str(work / "perf.out")])
    if shutil.which("bpftrace"):
        program = ('tracepoint:raw_syscalls:sys_enter,tracepoint:raw_syscalls:sys_exit '
                   '{ printf("%d %d\\n", tid, args->id); }')
        def traced(root, command):
            inner, _ = plain([])(root, command)
            return ["bpftrace", "-o", str(work / "bpftrace.out"), "-e", program, "-c",
                    " ".join(f"'{word}'" if " " in word else word for word in inner)], None
        found["bpftrace"] = traced
    return found


def own_peak(pid):
    """Largest resident set so far, KiB: of the process alone (wait4 counts its children in)."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines()
                 if line.startswith("VmHWM")), 0)


def measure(command):
    begin = time.perf_counter()
    pid = os.posix_spawnp(command[0], [str(word) for word in command], os.environ, file_actions=[
        (os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)])
    peak, done = 0, 0
    while done == 0:
        peak = max(peak, own_peak(pid))
        time.sleep(0.005)
        done, status = os.waitpid(pid, os.WNOHANG)
    return time.perf_counter() - begin, status, peak


def log_facts(state, ident):
    """What the seal, the JSON at the end of a log, says; and the log's size."""
    log = (state / "audit" / f"{ident}.carrel-log").read_bytes()
    block = log[log.rindex(b'{"key":'):]
    counts = json.loads(json.loads(block)["seal"])
    return counts["events"], counts["stops"], counts["lost"], len(log)


def run_case(name, root, command, found, options, state):
    best, facts, peak, failed = {}, None, 0, set()
    for _ in range(options.rounds):
        for tracer, build in found.items():
            if tracer in failed:
                continue
            line, ident = build(root, command)
            seconds, status, rss = measure(line)
            if status != 0:
                failed.add(tracer)
                continue
            best[tracer] = min(seconds, best.get(tracer, seconds))
            if ident:
                facts, peak = log_facts(state, ident), max(peak, rss)
    bare = best["bare"]
    columns = " ".join(f"{best[t]:8.2f} {best[t] / bare:6.2f}" if t in best else f"{'-':>8} {'':6}"
                       for t in found)
    events, stops, lost, size = facts or (0, 0, 0, 0)
    print(f"{name:20} {columns} {events:9} {stops:5} {lost:4} {size / max(events, 1):6.2f} "
          f"{peak / 1024:8.1f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--carrel", default=str(SOURCE / "build/release/runtime/carrel"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python-root", type=pathlib.Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--without", nargs="*", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carrel-bench-", dir="/var/tmp") as name:
        work = pathlib.Path(name)
        work.chmod(0o755)
        state = work / "state"
        if options.python_root:
            study = options.python_root / "study"
            study.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPORT, study / "report.py")
            make_dataset(study / "dataset.csv.gz")
        found = {tracer: build for tracer, build in tracers(options.carrel, state, work).items()
                 if tracer not in options.without}
        print(f"{'seconds, ratio':20} " + " ".join(f"{t:>15}" for t in found) +
              f" {'events':>9} {'holds':>5} {'lost':>4} {'B/call':>6} {'peak MiB':>8}")
        try:
            for case in cases(work, options.python_root):
                if not options.only or any(word in case[0] for word in options.only):
                    run_case(*case, found, options, state)
        finally:
            start.forget_state(options.carrel, state)


if __name__ == "__main__":
    sys.exit(main())
