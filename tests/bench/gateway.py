#!/usr/bin/env python3
"""PostgreSQL through the gateway and without it, side by side in one run.

usage: tests/bench/gateway.py [--build DIR] [--rows N] [--turns N] [--seconds N]

Starts a PostgreSQL 15 of its own (as an ordinary user, on a loopback port) and a gateway without a
sandbox (tests/bench/gateway_here: the same code, listening on the host), logging as in a job. The
two ways take turns, so that the machine's noise meets both. Medians of the turns:

  latency     pgbench -S, one client: microseconds a round trip, what the gateway adds, and the
              processor time that it takes for one
  copy out    COPY of N rows to the client: MB/s, and the ratio to direct
  copy in     COPY of the same rows from the client
  restore     psql with a plain dump of the same rows (50 MB or more with the default)

For the copies the gateway's processor time is given a GB. The bytes of both ways are compared, those
of the restored table too; a difference ends the run with status 1.
"""
import argparse
import hashlib
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
PASSWORD = "bench-only"
USER = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A PostgreSQL with its own data directory."""

    def __init__(self, place):
        self.port = free_port()
        self.data = place / "data"
        os.chown(place, 65534, 65534)
        secret = place / "password"
        secret.write_text(PASSWORD)
        os.chmod(secret, 0o644)
        self.run("initdb", "--no-sync", "--auth=scram-sha-256", "-U", "reader",
                 f"--pwfile={secret}", "-E", "UTF8", "--locale=C")
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write(f"listen_addresses='127.0.0.1'\nunix_socket_directories=''\nfsync=off\n"
                       f"port={self.port}\nautovacuum=off\nmax_wal_size=8GB\n")
        self.run("pg_ctl", "-w", "-s", "-l", str(place / "server.log"), "start")
        self.url = f"postgresql://reader:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def run(self, tool, *arguments):
        subprocess.run([*USER, str(BIN / tool), "-D", str(self.data), *arguments], check=True,
                       stdout=subprocess.DEVNULL, cwd="/")

    def stop(self):
        self.run("pg_ctl", "-m", "immediate", "-s", "stop")


class Gateway:
    def __init__(self, program, server, place):
        credentials = place / "credentials"
        credentials.write_text(f"reader:{PASSWORD}")
        os.chmod(credentials, 0o400)
        self.process = subprocess.Popen(
            [program, "--kind", "postgresql", "--host", "127.0.0.1", "--port", str(server.port),
             "--database", "postgres", "--tls", "off", "--credentials", str(credentials),
             "--log", str(place / "log.jsonl")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def cpu(self):
        """Seconds of processor time of all its threads, so far."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def psql(url, sql, **streams):
    subprocess.run([str(BIN / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", url, "-c", sql],
                   check=True, **streams)


def latency(url, seconds):
    """Microseconds a round trip, and how many there were."""
    result = subprocess.run([str(BIN / "pgbench"), "-n", "-S", "-T", str(seconds), url],
                            check=True, capture_output=True, text=True)
    number = lambda pattern: float(re.search(pattern, result.stdout)[1])
    return (number(r"latency average = ([0-9.]+) ms") * 1000,
            number(r"actually processed: ([0-9]+)"))


def timed(path, act):
    """MB/s of a file that `act` reads or writes."""
    begin = time.monotonic()
    act()
    seconds = time.monotonic() - begin
    return os.path.getsize(path) / seconds / 1e6


def copy_out(url, path):
    with open(path, "wb") as file:
        psql(url, "copy big to stdout", stdout=file)


def copy_in(url, path):
    with open(path, "rb") as file:
        psql(url, "copy again from stdin", stdin=file)


def restore(url, dump):
    subprocess.run([str(BIN / "psql"), "-Xq", "-v", "ON_ERROR_STOP=1", "-f", dump, url], check=True,
                   stdout=subprocess.DEVNULL)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Measures:
    """Name of a measure to way to its values; and the gateway's own time for it."""

    def __init__(self, gateway):
        self.gateway, self.values, self.own = gateway, {}, {}

    def take(self, name, way, act):
        """`act` gives a value, and how many units of work there were."""
        before = self.gateway.cpu()
        value, units = act()
        self.values.setdefault(name, {}).setdefault(way, []).append(value)
        if way == "gateway":
            used = self.own.setdefault(name, [0, 0])
            used[0] += self.gateway.cpu() - before
            used[1] += units

    def median(self, name, way):
        return statistics.median(self.values[name][way])

    def own_time(self, name):
        used, units = self.own[name]
        return used / units


def moved(path, act):
    return timed(path, act), os.path.getsize(path) / 1e9


def measure(ways, gateway, place, options):
    """Measures, and the digests of what came through, of the rows and of the dump."""
    measures = Measures(gateway)
    rows, dumps = set(), set()
    direct = ways["direct"]
    dump = place / "dump"
    with open(dump, "wb") as file:
        subprocess.run([str(BIN / "pg_dump"), "-O", "-t", "big", direct], check=True, stdout=file)
    print(f"the dump has {os.path.getsize(dump) / 1e6:.0f} MB", flush=True)
    for turn in range(options.turns):
        order = list(ways.items())
        for way, url in order if turn % 2 == 0 else reversed(order):
            path, back = place / f"rows-{way}", place / "back"
            measures.take("latency", way, lambda: latency(url, options.seconds))
            measures.take("copy out", way, lambda: moved(path, lambda: copy_out(url, path)))
            rows.add(digest(path))
            psql(direct, "truncate again")
            measures.take("copy in", way, lambda: moved(path, lambda: copy_in(url, path)))
            with open(back, "wb") as file:
                psql(direct, "copy again to stdout", stdout=file)
            rows.add(digest(back))
            psql(direct, "alter table big rename to kept")
            measures.take("restore", way, lambda: moved(dump, lambda: restore(url, dump)))
            with open(back, "wb") as file:
                psql(direct, "copy big to stdout", stdout=file)
            dumps.add(digest(back))
            psql(direct, "drop table big; alter table kept rename to big; checkpoint")
    return measures, rows | dumps


def report(measures, digests):
    both = {way: measures.median("latency", way) for way in ("direct", "gateway")}
    added = [g - d for d, g in zip(*(measures.values["latency"][w] for w in ("direct", "gateway")))]
    print(f"latency   direct {both['direct']:7.1f} us  gateway {both['gateway']:7.1f} us  "
          f"added {statistics.median(added):.1f} us (median of the turns), "
          f"{measures.own_time('latency') * 1e6:.1f} us of the gateway's processor time")
    for name in ("copy out", "copy in", "restore"):
        direct, through = measures.median(name, "direct"), measures.median(name, "gateway")
        print(f"{name:9} direct {direct:7.1f} MB/s gateway {through:7.1f} MB/s "
              f"ratio {through / direct:.2f}, {measures.own_time(name):.2f} s of its time a GB")
    print("bytes     " + ("equal" if len(digests) == 1 else "DIFFERENT"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(SOURCE / "build/release"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="carrel-bench-") as name:
        place = pathlib.Path(name)
        os.chmod(place, 0o755)
        server = Server(place)
        gateway = Gateway(options.build + "/tests/gateway_here", server, place)
        try:
            subprocess.run([str(BIN / "pgbench"), "-i", "-q", "-s", "1", server.url], check=True,
                           capture_output=True)
            psql(server.url, "create unlogged table big as select g as id, md5(g::text) as hash, "
                             "now() + g * interval '1s' as at, g % 1000 / 7.0 as weight "
                             f"from generate_series(1, {options.rows}) g")
            psql(server.url, "create unlogged table again (like big)")
            measures, digests = measure({"direct": server.url, "gateway": gateway.url}, gateway,
                                        place, options)
        finally:
            gateway.stop()
            server.stop()
    report(measures, digests)
    return 0 if len(digests) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
