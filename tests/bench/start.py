#!/usr/bin/env python3
"""How long a minimal sandbox takes to start and end, side by side with its peers.

usage: tests/bench/start.py [--carrel PROGRAM] [--runs N] [--pauses N]

The action is a static program that ends at once; carrel has everything on: seven namespaces,
cgroups, filter, Landlock, the audit log of every call, signed. The peers get the same filter and,
as far as they can, the same sandbox; they keep no log. The launchers take turns within one run, so
that the machine's noise meets all of them. Medians; times in ms; `peak` is the launcher process's
largest resident set in KiB.
"""
import argparse
import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TRUE_C = "int main(void) { return 0; }\n"
# The largest resident set of a program, from a starter small enough not to count itself.
PEAK_C = """
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char** argv) {
  if (argc < 2) return 2;
  if (fork() == 0) {
    execvp(argv[1], argv + 1);
    _exit(127);
  }
  struct rusage usage;
  int status;
  wait4(-1, &status, 0, &usage);
  fprintf(stderr, "%ld", usage.ru_maxrss);
  return status != 0;
}
"""


def compile_static(text, target):
    source = target.with_suffix(".c")
    source.write_text(text)
    subprocess.run(["cc", "-O2", "-static", "-o", target, source], check=True)


def make_rootfs(work):
    root = work / "rootfs"
    for name in ("bin", "proc", "dev", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    compile_static(TRUE_C, work / "true")
    shutil.copy(work / "true", root / "bin/true")
    return root


def merged_profile():
    base = json.loads((SOURCE / "seccomp/base.json").read_text())
    base["syscalls"] += json.loads((SOURCE / "seccomp/isolated.json").read_text())["syscalls"]
    return base


def compiled_filter(state, work):
    """The filter that carrel compiled and cached: the same instructions for bubblewrap."""
    [cached] = (state / "seccomp").glob("*.bpf")
    data = cached.read_bytes()
    path = work / "filter.bpf"
    path.write_bytes(data[data.index(b"\n") + 1:])
    return path


def make_bundle(work, root):
    bundle = work / "bundle"
    bundle.mkdir()
    namespaces = [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount", "cgroup")]
    namespaces.append({"type": "user"})
    # runc and crun need a root inside; theirs is mapped, carrel has none.
    ids = [{"containerID": 0, "hostID": 1879048192, "size": 4096}]
    tmpfs = {"type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"]}
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 1000, "gid": 1000}, "args": ["/bin/true"], "cwd": "/",
            "env": ["PATH=/bin"], "noNewPrivileges": True,
            "capabilities": {key: [] for key in
                             ("bounding", "effective", "inheritable", "permitted", "ambient")},
        },
        "root": {"path": str(root), "readonly": True},
        "hostname": "peer",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "mode=755"]},
            {"destination": "/tmp", **tmpfs},
        ],
        "linux": {
            "uidMappings": ids, "gidMappings": ids, "namespaces": namespaces,
            "resources": {"memory": {"limit": 1 << 30}, "pids": {"limit": 1024}},
            "seccomp": merged_profile(),
        },
    }
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle


def without_unified(command):
    # Debian's crun refuses a hybrid cgroup layout; without the v2 tree it takes the v1 ones.
    script = ("if [ -d /sys/fs/cgroup/unified ]; then umount /sys/fs/cgroup/unified; fi; "
              "exec " + " ".join(map(shlex.quote, command)))
    return ["unshare", "-m", "sh", "-c", script]


def oci_command(runtime, bundle, root_dir):
    command = without_unified([runtime, "--root", str(root_dir), "run", "--bundle", str(bundle)])
    return [*command[:-1], command[-1] + " bench$$"]


def start(command, pass_fd):
    null = os.open("/dev/null", os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1)]
    if pass_fd is not None:
        actions.append((os.POSIX_SPAWN_OPEN, 10, pass_fd, os.O_RDONLY, 0))
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    os.close(null)
    return pid


def measure(command, pass_fd=None):
    """Milliseconds from the start to the end of a launcher."""
    begin = time.perf_counter()
    _, status = os.waitpid(start(command, pass_fd), 0)
    elapsed = (time.perf_counter() - begin) * 1e3
    if status != 0:
        sys.exit(f"{command[0]} failed with wait status {status}: {' '.join(map(str, command))}")
    return elapsed


def peak_kib(work, command, pass_fd):
    fds = ()
    if pass_fd is not None:
        fd = os.open(pass_fd, os.O_RDONLY)
        os.dup2(fd, 10)
        os.close(fd)
        fds = (10,)
    done = subprocess.run([work / "peak", *command], stderr=subprocess.PIPE, pass_fds=fds,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return int(done.stderr.split()[-1])


def launchers(work, carrel):
    root = make_rootfs(work)
    state = work / "state"
    ours = [carrel, "exec", "--state", str(state), "--rootfs", str(root), "--", "/bin/true"]
    measure(ours)  # loads the audit programs and compiles the filter: once per boot
    found = {"carrel": (ours, None)}
    bwrap = ["bwrap", "--unshare-all", "--uid", "1000", "--gid", "1000", "--die-with-parent",
             "--new-session", "--cap-drop", "ALL", "--ro-bind", str(root), "/", "--proc", "/proc",
             "--dev", "/dev", "--tmpfs", "/tmp", "--clearenv"]
    if shutil.which("bwrap"):
        found["bwrap"] = (bwrap + ["/bin/true"], None)
        found["bwrap+filter"] = (bwrap + ["--seccomp", "10", "/bin/true"],
                                 str(compiled_filter(state, work)))
    bundle = make_bundle(work, root)
    for runtime in ("crun", "runc"):
        if shutil.which(runtime):
            found[runtime] = (oci_command(runtime, bundle, work / f"{runtime}-root"), None)
    return found


def forget_state(carrel, state):
    """Unloads the BPF programs, so that the directory can be removed."""
    quiet = {"check": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([carrel, "audit", "unload", "--state", str(state)], **quiet)
    subprocess.run(["umount", str(state / "bpf")], **quiet)


def run_round(found, runs, pause):
    times = {name: [] for name in found}
    for _ in range(runs):
        for name, (command, fd) in found.items():
            time.sleep(pause)
            times[name].append(measure(command, fd))
    return {name: statistics.median(values) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--carrel", default=str(SOURCE / "build/release/runtime/carrel"))
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--pauses", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carrel-bench-", dir="/var/tmp") as name:
        work = pathlib.Path(name)
        work.chmod(0o755)
        try:
            found = launchers(work, options.carrel)
            busy = run_round(found, options.runs, 0)
            idle = run_round(found, options.pauses, 0.15)
            compile_static(PEAK_C, work / "peak")
            peaks = {name: peak_kib(work, *entry) for name, entry in found.items()}
        finally:
            forget_state(options.carrel, work / "state")
    print(f"{'launcher':14} {'back to back':>12} {'ratio':>6} {'with pauses':>12} {'ratio':>6} "
          f"{'peak KiB':>9}")
    for name in found:
        print(f"{name:14} {busy[name]:12.2f} {busy['carrel'] / busy[name]:6.2f} "
              f"{idle[name]:12.2f} {idle['carrel'] / idle[name]:6.2f} {peaks[name]:9}")
    print(f"ratio: carrel / launcher, load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
