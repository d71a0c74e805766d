#!/usr/bin/env python3
"""What the job agent waits for, side by side with what it would wait for without carrel.

usage: tests/bench/jobs.py [--carrel PROGRAM] [--runs N] [--files N] [--mib N]

1. From the call of `carrel execute` to the action's first instruction (a static program that prints
   the host's time), against `crun run` and, where it is installed, `podman run` of the same files.
   carrel's time includes its verb, the job's supervisor, the sandbox and the audit log.
2. From the call of `carrel finalize` to its end, for a job whose outputs are many and large, against
   `cp -r` and `sha256sum` of the same files on the same disk.

Launchers take turns within one run; medians.
"""
import argparse
import hashlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import start

STAMP_C = """
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char** argv) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  mkdir("output", 0755);
  if (argc == 1) {
    printf("%lld\\n", now.tv_sec * 1000000000ll + now.tv_nsec);
    FILE* file = fopen("output/stamp.csv", "w");
    if (file) fprintf(file, "%lld\\n", now.tv_sec * 1000000000ll + now.tv_nsec);
    return 0;
  }
  /* COUNT SIZE: so many files of so many random bytes, five hundred to a directory */
  long count = atol(argv[1]), size = atol(argv[2]);
  char* data = malloc(size);
  int random = open("/dev/urandom", O_RDONLY);
  for (long i = 0; i < count; ++i) {
    char name[64];
    snprintf(name, sizeof name, "output/%ld", i / 500);
    mkdir(name, 0755);
    snprintf(name, sizeof name, "output/%ld/%ld.csv", i / 500, i);
    if (read(random, data, size < 4096 ? size : 4096) < 0) return 1;
    int file = open(name, O_CREAT | O_WRONLY, 0644);
    if (write(file, data, size) != size) return 1;
    close(file);
  }
  return 0;
}
"""


def write_layout(layout, root):
    """An OCI layout with one image of one layer: the files of root."""
    (layout / "blobs/sha256").mkdir(parents=True)

    def put(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        (layout / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}",
                "size": len(data)}

    tar = subprocess.run(["tar", "-C", root, "--owner=0", "--group=0", "-c", "."], check=True,
                         stdout=subprocess.PIPE).stdout
    layer = put(tar, "layer.v1.tar")
    config = put(json.dumps({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}).encode(), "config.v1+json")
    manifest = put(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": [layer]}).encode(), "manifest.v1+json")
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


class Host:
    """A host of carrel's with one image and one study."""

    def __init__(self, work, carrel):
        self.work, self.carrel, self.jobs = work, carrel, 0
        root = work / "rootfs"
        for name in ("bin", "proc", "dev", "sys", "tmp", "workspace"):
            (root / name).mkdir(parents=True)
        start.compile_static(STAMP_C, work / "stamp")
        shutil.copy(work / "stamp", root / "bin/stamp")
        self.root = root
        state = work / "state"
        state.mkdir()
        repository = work / "repos/study"
        repository.mkdir(parents=True)
        (repository / "code.txt").write_text("code\n")
        git = ["git", "-C", repository, "-c", "user.name=bench", "-c", "user.email=b@example.org"]
        for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "study"]):
            subprocess.run([*git, *command], check=True)
        self.commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, text=True,
                                     stdout=subprocess.PIPE).stdout.strip()
        self.repository = repository
        self.config = work / "carrel.json"
        self.config.write_text(json.dumps({
            "state": str(state), "policies": str(start.SOURCE / "policies"),
            "allowed_repositories": [str(work / "repos")],
            "uid_range": {"start": 1300000000, "count": 16},
            "limits": {"maxima": {"scratch_bytes": "8G", "file_bytes": "1G"},
                       "defaults": {"scratch_bytes": "8G"}}}))
        self.state = state
        write_layout(work / "layout", root)
        self.run("image", "import", work / "layout", "--name", "python:v2", state=True)

    def run(self, *args, state=False):
        place = ["--state", str(self.state)] if state else ["--config", str(self.config)]
        done = subprocess.run([self.carrel, *map(str, args), *place], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            sys.exit(f"carrel {args[0]} failed: {done.stderr}{done.stdout}")
        return json.loads(done.stdout) if not state else None

    def job(self, args, spec):
        self.jobs += 1
        path = self.work / f"job{self.jobs}.json"
        path.write_text(json.dumps({
            "id": f"bench{self.jobs}", "rap_id": "rap", "task_id": "task",
            "repo_url": str(self.repository), "commit": self.commit, "workspace": "demo",
            "action": f"act{self.jobs}", "created_at": 1750000000, "image": "python:v2",
            "args": ["/bin/stamp", *args], "output_spec": spec, "allow_database_access": False,
            "memory_limit": "1G", "user": "developer"}))
        return path

    def settle(self, path, wanted):
        while True:
            state = self.run("status", path)["state"]
            if state == wanted:
                return
            if state in ("error", "unknown"):
                sys.exit(f"job {path} is {state}: {self.run('status', path)}")
            time.sleep(0.005)

    def prepare(self, args, spec):
        path = self.job(args, spec)
        self.run("prepare", path)
        self.settle(path, "prepared")
        return path


def carrel_start(host):
    path = host.prepare([], {"output/stamp.csv": "highly_sensitive"})
    begin = time.time_ns()
    host.run("execute", path)
    host.settle(path, "executed")
    host.run("finalize", path)
    host.settle(path, "finalized")
    stamp = int((host.state / "high_privacy/workspaces/demo/output/stamp.csv").read_text())
    host.run("cleanup", path)
    return (stamp - begin) / 1e6


def peer_start(command):
    begin = time.time_ns()
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
    return (int(done.stdout) - begin) / 1e6


def peers(host):
    found = {}
    bundle = start.make_bundle(host.work, host.root)
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["args"] = ["/bin/stamp"]
    (bundle / "config.json").write_text(json.dumps(config))
    if shutil.which("crun"):
        found["crun run"] = start.oci_command("crun", bundle, host.work / "crun-root")
    if shutil.which("podman"):
        place = ["podman", "--root", str(host.work / "podman"), "--runroot",
                 str(host.work / "podman-run"), "--cgroup-manager", "cgroupfs"]
        options = ["--network", "none", "--rm", "--read-only", "--cap-drop", "ALL",
                   "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=1024:1024"]
        found["podman run"] = start.without_unified(
            [*place, "run", *options, "--rootfs", str(host.root), "/bin/stamp"])
    for name, command in list(found.items()):
        try:
            peer_start(command)
        except subprocess.CalledProcessError as error:
            print(f"{name} does not work here (exit status {error.returncode}): left out")
            del found[name]
    return found


def measure_starts(host, runs):
    commands = peers(host)
    times = {"carrel execute": [], **{name: [] for name in commands}}
    for _ in range(runs):
        times["carrel execute"].append(carrel_start(host))
        for name, command in commands.items():
            times[name].append(peer_start(command))
    ours = statistics.median(times["carrel execute"])
    print(f"to the first instruction, {runs} runs, medians:")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:16} {median:8.1f} ms   carrel / it {ours / median:5.2f}")


def measure_outputs(host, files, mib, runs):
    size = mib * (1 << 20) // files
    ratios, ours, theirs = [], [], []
    for _ in range(runs):
        path = host.prepare([str(files), str(size)], {"output/*/*.csv": "highly_sensitive"})
        host.run("execute", path)
        host.settle(path, "executed")
        subprocess.run(["sync"], check=True)
        begin = time.perf_counter()
        host.run("finalize", path)
        host.settle(path, "finalized")
        ours.append(time.perf_counter() - begin)
        made = host.state / "high_privacy/workspaces/demo/output"
        copy = host.work / "copy"
        subprocess.run(["sync"], check=True)
        begin = time.perf_counter()
        subprocess.run(f"cp -r {made} {copy} && find {copy} -type f -print0 | "
                       "xargs -0 sha256sum > /dev/null", shell=True, check=True)
        theirs.append(time.perf_counter() - begin)
        ratios.append(ours[-1] / theirs[-1])
        for place in (copy, made):
            shutil.rmtree(place)
        host.run("cleanup", path)
    print(f"{files} outputs, {mib} MiB, {runs} runs, medians: finalize "
          f"{statistics.median(ours):.2f} s, cp -r and sha256sum {statistics.median(theirs):.2f} s, "
          f"ratio {statistics.median(ratios):.2f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--carrel", default=str(start.SOURCE / "build/release/runtime/carrel"))
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--files", type=int, default=10000)
    parser.add_argument("--mib", type=int, default=2048)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carrel-bench-", dir="/var/tmp") as name:
        work = pathlib.Path(name)
        work.chmod(0o755)
        try:
            host = Host(work, options.carrel)
            measure_starts(host, options.runs)
            measure_outputs(host, options.files, options.mib, 3)
            print(f"load average {os.getloadavg()[0]:.1f}")
        finally:
            start.forget_state(options.carrel, work / "state")


if __name__ == "__main__":
    main()
