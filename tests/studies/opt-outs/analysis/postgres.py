"""As much of PostgreSQL's protocol as a query needs: the image has no driver."""

import base64
import hashlib
import hmac
import os
import socket
import struct
from urllib.parse import unquote, urlsplit


def _digest(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


class Connection:
    def __init__(self, url):
        place = urlsplit(url)
        self.user = unquote(place.username)
        self.password = unquote(place.password).encode()
        self.stream = socket.create_connection((place.hostname, place.port or 5432)).makefile("rwb")
        names = ["user", self.user, "database", unquote(place.path.lstrip("/"))]
        body = struct.pack("!I", 3 << 16) + "\0".join(names).encode() + b"\0\0"
        self._write(struct.pack("!I", len(body) + 4) + body)
        self._log_in()
        self._until_ready()

    def rows(self, query):
        """All rows, their values as the server's text."""
        self._send(b"Q", query.encode() + b"\0")
        return self._until_ready()

    def _write(self, data):
        self.stream.write(data)
        self.stream.flush()

    def _send(self, kind, body):
        self._write(kind + struct.pack("!I", len(body) + 4) + body)

    def _read(self):
        kind, length = struct.unpack("!cI", self.stream.read(5))
        body = self.stream.read(length - 4)
        if kind == b"E":
            raise RuntimeError(body.replace(b"\0", b" ").decode())
        return kind, body

    def _log_in(self):
        while True:
            _, body = self._read()
            demand, body = struct.unpack("!I", body[:4])[0], body[4:]
            if demand == 0:
                return
            if demand == 3:
                self._send(b"p", self.password + b"\0")
            elif demand == 10:
                self._scram()
            else:
                raise RuntimeError(f"the server wants a login of kind {demand}")

    def _scram(self):
        bare = b"n=,r=" + base64.b64encode(os.urandom(18))
        first = b"n,," + bare
        self._send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first)
        challenge = self._read()[1][4:]
        nonce, salt, rounds = (part[2:] for part in challenge.split(b",")[:3])
        block = _digest(self.password, base64.b64decode(salt) + b"\0\0\0\1")
        salted = int.from_bytes(block, "big")
        for _ in range(int(rounds) - 1):
            block = _digest(self.password, block)
            salted ^= int.from_bytes(block, "big")
        key = _digest(salted.to_bytes(32, "big"), b"Client Key")
        last = b"c=biws,r=" + nonce
        signed = _digest(hashlib.sha256(key).digest(), bare + b"," + challenge + b"," + last)
        proof = bytes(a ^ b for a, b in zip(key, signed))
        self._send(b"p", last + b",p=" + base64.b64encode(proof))
        self._read()

    def _until_ready(self):
        rows = []
        while True:
            kind, body = self._read()
            if kind == b"Z":
                return rows
            if kind != b"D":
                continue
            row, at = [], 2
            for _ in range(struct.unpack("!H", body[:2])[0]):
                length = struct.unpack("!i", body[at:at + 4])[0]
                at += 4
                row.append(None if length < 0 else body[at:at + length].decode())
                at += max(length, 0)
            rows.append(row)
