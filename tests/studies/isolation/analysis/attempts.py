"""Tries what an action must not be able to do; a line for each that it could."""

import os
import socket

failures = []


def must_fail(name, attempt):
    try:
        attempt()
    except OSError:
        return
    failures.append(name)


def connect(family, kind, address):
    with socket.socket(family, kind) as end:
        end.settimeout(2)
        end.connect(address)
        if kind == socket.SOCK_DGRAM:
            end.send(b"x")


must_fail("TCP out", lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("192.0.2.1", 443)))
must_fail("UDP out", lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53)))
must_fail("IPv6 out", lambda: connect(socket.AF_INET6, socket.SOCK_STREAM, ("2001:db8::1", 443)))
must_fail("a name", lambda: socket.getaddrinfo("example.org", 443))
must_fail("packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
must_fail("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
must_fail("the hypervisor", lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM))
for port in (1433, 5432):
    must_fail(f"a database at {port}",
              lambda port=port: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port)))
must_fail("a database's directory", lambda: os.listdir("/database"))
must_fail("the code", lambda: open("analysis/attempts.py", "a", encoding="utf-8"))
must_fail("the root", lambda: open("/file", "w", encoding="utf-8"))
must_fail("the init's environment", lambda: open("/proc/1/environ", "rb").read())
must_fail("the kernel's memory", lambda: open("/dev/mem", "rb"))
must_fail("a mount", lambda: os.mkdir("/sys/fs/cgroup/mine"))
must_fail("root", lambda: os.setuid(0))
with open("/proc/net/dev", encoding="utf-8") as file:
    if [line for line in file.readlines()[2:] if not line.strip().startswith("lo:")]:
        failures.append("an interface")
for name in ("DATABASE_URL", "TEMP_DATABASE_NAME", "EHRQL_PERMISSIONS"):
    if name in os.environ:
        failures.append(name)
os.makedirs("output", exist_ok=True)
with open("output/attempts.txt", "w", encoding="utf-8") as file:
    file.write("".join(line + "\n" for line in failures) or "nothing worked\n")
