#!/usr/bin/env python3
"""PostgreSQL through the gateway and without it, side by side in one run.

usage: tests/bench/gateway.py [--build DIR] [--rows N] [--turns N] [--seconds N]

Starts a PostgreSQL 15 of its own (as an ordinary user, on a loopback port) and a gateway without a
sandbox (tests/bench/gateway_here: the same code, listening on the host), logging as in a job. The
two ways take turns, so that the machine's noise meets both. Medians of the turns:

  latency     pgbench -S, one client: microseconds a round trip, and what the gateway adds
  copy out    COPY of N rows to the client: MB/s, and the ratio to direct
  copy in     COPY of the same rows from the client

The bytes of both ways are compared; a difference ends the run with status 1.
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

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def psql(url, sql, **streams):
    subprocess.run([str(BIN / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", url, "-c", sql],
                   check=True, **streams)


def latency(url, seconds):
    result = subprocess.run([str(BIN / "pgbench"), "-n", "-S", "-T", str(seconds), url],
                            check=True, capture_output=True, text=True)
    return float(re.search(r"latency average = ([0-9.]+) ms", result.stdout)[1]) * 1000


def copy_out(url, path):
    begin = time.monotonic()
    with open(path, "wb") as file:
        psql(url, "copy big to stdout", stdout=file)
    return os.path.getsize(path) / (time.monotonic() - begin) / 1e6


def copy_in(url, path):
    psql(url, "truncate again")
    begin = time.monotonic()
    with open(path, "rb") as file:
        psql(url, "copy again from stdin", stdin=file)
    return os.path.getsize(path) / (time.monotonic() - begin) / 1e6


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def measure(ways, place, options):
    """Name of a measure to way to its values."""
    values = {name: {way: [] for way in ways} for name in ("latency", "copy out", "copy in")}
    digests = set()
    for _ in range(options.turns):
        for way, url in ways.items():
            path = place / f"rows-{way}"
            values["latency"][way].append(latency(url, options.seconds))
            values["copy out"][way].append(copy_out(url, path))
            digests.add(digest(path))
            values["copy in"][way].append(copy_in(url, path))
            copy_back = place / "back"
            with open(copy_back, "wb") as file:
                psql(ways["direct"], "copy again to stdout", stdout=file)
            digests.add(digest(copy_back))
    return values, digests


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
            values, digests = measure({"direct": server.url, "gateway": gateway.url}, place,
                                      options)
        finally:
            gateway.stop()
            server.stop()
    median = {name: {way: statistics.median(v) for way, v in ways.items()}
              for name, ways in values.items()}
    both = median["latency"]
    print(f"latency   direct {both['direct']:7.1f} us  gateway {both['gateway']:7.1f} us  "
          f"added {both['gateway'] - both['direct']:.1f} us")
    for name in ("copy out", "copy in"):
        both = median[name]
        print(f"{name:9} direct {both['direct']:7.1f} MB/s gateway {both['gateway']:7.1f} MB/s "
              f"ratio {both['gateway'] / both['direct']:.2f}")
    print("bytes     " + ("equal" if len(digests) == 1 else "DIFFERENT"))
    return 0 if len(digests) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
