#!/usr/bin/env python3
"""A small TDS server (MS-TDS 7.4) for tests: logs in one user and answers a few statements.

  tds_server.py --user U --password P [--database D] [--tls CERT KEY] [--encrypt MODE]

Prints its port, then one line of JSON for each login and statement that it sees. It knows nothing of
SQL: a statement's first words choose the answer. rows N: N rows of (int, nvarchar); wide N: one row
with N characters in an nvarchar(max); error N: an error; sleep; enter D: changes the database; route:
sends the client elsewhere; garbage: no tokens at all; anything else: one row "ok". Calls answer with
their text parameter in the same way; prepared statements get numbers."""

import argparse
import json
import select
import socket
import socketserver
import ssl
import struct
import sys
import threading

COLLATION = b"\x09\x04\xd0\x00\x34"
TYPES_BY_LENGTH = {0x26, 0x68, 0x6A, 0x6C, 0x6D, 0x6E, 0x6F, 0x24}
PRINT_LOCK = threading.Lock()


def report(**what):
    with PRINT_LOCK:
        print(json.dumps(what), flush=True)


def text16(text, size):
    return len(text).to_bytes(size, "little") + text.encode("utf-16-le")


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        piece = self.data[self.at : self.at + count]
        if len(piece) < count:
            raise EOFError
        self.at += count
        return piece

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def more(self):
        return self.at < len(self.data)


def parameter_value(reader):
    """One RPC parameter: its name and value (text or number, or None)."""
    name = reader.take(2 * reader.number(1)).decode("utf-16-le")
    reader.take(1)
    kind = reader.number(1)
    if kind in (0xE7, 0xEF, 0xA7, 0xAF):
        size = reader.number(2)
        reader.take(5)
        codec = "utf-16-le" if kind in (0xE7, 0xEF) else "latin-1"
        if size != 0xFFFF:
            length = reader.number(2)
            return name, None if length == 0xFFFF else reader.take(length).decode(codec)
        if reader.number(8) == 0xFFFFFFFFFFFFFFFF:
            return name, None
        data = b""
        while length := reader.number(4):
            data += reader.take(length)
        return name, data.decode(codec)
    if kind in (0x63, 0x23):
        reader.take(9)
        length = reader.number(4)
        codec = "utf-16-le" if kind == 0x63 else "latin-1"
        return name, None if length == 0xFFFFFFFF else reader.take(length).decode(codec)
    if kind in TYPES_BY_LENGTH:
        reader.take(3 if kind in (0x6A, 0x6C) else 1)
        return name, int.from_bytes(reader.take(reader.number(1)), "little")
    fixed = {0x30: 1, 0x32: 1, 0x34: 2, 0x38: 4, 0x3E: 8, 0x7F: 8, 0x3D: 8}
    return name, int.from_bytes(reader.take(fixed[kind]), "little")


class Session(socketserver.BaseRequestHandler):
    def setup(self):
        self.buffer = b""
        self.tls = None
        self.options = self.server.options
        self.handles = {}

    # Packets, in TLS or not.
    def receive(self):
        if self.tls is None:
            return self.request.recv(65536)
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                data = self.request.recv(65536)
                if not data:
                    return b""
                self.incoming.write(data)

    def send_raw(self, data):
        if self.tls is not None:
            self.tls.write(data)
            data = self.outgoing.read()
        self.request.sendall(data)

    def packet(self):
        def need(count):
            while len(self.buffer) < count:
                data = self.receive()
                if not data:
                    raise EOFError
                self.buffer += data

        need(8)
        size = int.from_bytes(self.buffer[2:4], "big")
        need(size)
        whole, self.buffer = self.buffer[:size], self.buffer[size:]
        return whole[0], whole[1], whole[8:]

    def message(self):
        payload = b""
        while True:
            kind, status, data = self.packet()
            payload += data
            if status & 1:
                return kind, payload

    def reply(self, payload, kind=4, size=4096):
        number = 0
        while True:
            piece, payload = payload[: size - 8], payload[size - 8 :]
            number = (number + 1) % 256
            last = 0 if payload else 1
            header = struct.pack(">BBHHBB", kind, last, len(piece) + 8, 0, number, 0)
            self.send_raw(header + piece)
            if last:
                return

    # Login.
    def prelogin(self, payload):
        at, asked = 0, 2
        while payload[at] != 0xFF:
            option, offset, length = struct.unpack(">BHH", payload[at : at + 5])
            if option == 1:
                asked = payload[offset]
            at += 5
        mode = self.options.encrypt
        if mode is None:
            mode = (1 if asked in (1, 3) else 2) if self.options.tls else 2
        options = [(0, b"\x0f\x00\x07\xd0\x00\x00"), (1, bytes([mode]))]
        table, data = b"", b""
        for option, value in options:
            table += struct.pack(">BHH", option, 5 * len(options) + 1 + len(data), len(value))
            data += value
        report(prelogin=asked, answer=mode)
        self.reply(table + b"\xff" + data)
        return mode in (1, 3) and asked in (1, 3)

    def handshake(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.options.tls)
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # as the real server, before TDS 8
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        done = False
        while not done:
            _, data = self.message()
            self.incoming.write(data)
            try:
                tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            if out := self.outgoing.read():
                self.reply(out, kind=0x12)
        self.tls = tls

    def login(self, payload):
        def field(entry):
            offset, length = struct.unpack("<HH", payload[entry : entry + 4])
            return payload[offset : offset + 2 * length]

        hidden = bytes((b ^ 0xA5) for b in field(44))
        password = bytes(((b << 4) & 0xF0) | (b >> 4) for b in hidden).decode("utf-16-le")
        text = {k: field(e).decode("utf-16-le") for k, e in
                (("host", 36), ("user", 40), ("application", 48), ("server", 52), ("database", 68))}
        version = int.from_bytes(payload[4:8], "little")
        report(login=text, version=hex(version), tls=self.tls is not None, flags=list(payload[24:28]))
        if text["user"] != self.options.user or password != self.options.password:
            message = "Login failed for user '%s'." % text["user"]
            self.reply(self.error(18456, message) + self.done(2))
            return False
        database = text["database"] or "master"
        reply = self.change(1, database, "master") + self.change(4, "4096", "4096")
        ack = b"\x01" + struct.pack(">I", 0x74000004) + text16("Test server", 1) + b"\x0f\x00\x07\xd0"
        reply += b"\xad" + len(ack).to_bytes(2, "little") + ack
        self.reply(reply + self.done(0))
        return True

    # Tokens.
    def change(self, kind, new, old):
        body = bytes([kind]) + text16(new, 1) + text16(old, 1)
        return b"\xe3" + len(body).to_bytes(2, "little") + body

    def error(self, number, message):
        body = struct.pack("<IBB", number, 1, 16) + text16(message, 2)
        body += text16("test", 1) + b"\x00" + struct.pack("<I", 1)
        return b"\xaa" + len(body).to_bytes(2, "little") + body

    def done(self, status, rows=0, token=0xFD):
        return struct.pack("<BHHQ", token, status, 0xC1, rows)

    def table(self, rows, wide=False):
        columns = b"\x81\x02\x00"
        columns += struct.pack("<IH", 0, 9) + b"\x26\x04" + text16("n", 1)
        size = 0xFFFF if wide else 8000
        columns += struct.pack("<IH", 0, 9) + b"\xe7" + struct.pack("<H", size) + COLLATION
        out = [columns + text16("t", 1)]
        for number, text in rows:
            data = text.encode("utf-16-le")
            if wide:
                value = struct.pack("<QI", len(data), len(data)) + data + b"\0\0\0\0"
            else:
                value = struct.pack("<H", len(data)) + data
            if number % 2:
                out.append(b"\xd1\x04" + struct.pack("<I", number) + value)
            else:  # a row that says which of its values are null
                out.append(b"\xd2\x01" + value)
        return b"".join(out)

    def answer(self, text, call):
        words = text.split() + ["", ""]
        final = 0xFE if call else 0xFD
        try:
            count = int(words[1])
        except ValueError:
            count = 1
        if words[0] == "rows":
            rows = [(i, "row %d" % i) for i in range(count)]
            return self.table(rows) + self.done(0x10, count, final)
        if words[0] == "wide":
            return self.table([(1, "x" * count)], wide=True) + self.done(0x10, 1, final)
        if words[0] == "error":
            return self.error(count, "an error of the test") + self.done(2, 0, final)
        if words[0] == "sleep":
            report(sleeps=True)
            if select.select([self.request], [], [], 30)[0]:
                report(attention=self.message()[0] == 6)
                return self.done(0x20, 0, final)
        if words[0] == "enter":
            return self.change(1, words[1], "records") + self.done(0, 0, final)
        if words[0] == "route":
            body = b"\x14\x07\x00\x00" + struct.pack("<H", 1433) + text16("h", 2) + b"\x00\x00"
            return b"\xe3" + len(body).to_bytes(2, "little") + body + self.done(0, 0, final)
        if words[0] == "garbage":
            return b"\x13garbage without tokens"
        if words[0].lower() in ("set", "begin", "commit", "rollback", "if", "use"):
            return self.done(0, 0, final)
        return self.table([(1, "ok")]) + self.done(0x10, 1, final)

    def batch(self, payload):
        text = payload[int.from_bytes(payload[:4], "little") :].decode("utf-16-le")
        report(batch=text if len(text) < 200 else len(text))
        self.reply(self.answer(text, False))

    def rpc(self, payload):
        reader = Reader(payload[int.from_bytes(payload[:4], "little") :])
        replies = []
        while reader.more():
            length = reader.number(2)
            name = reader.number(2) if length == 0xFFFF else reader.take(2 * length).decode("utf-16-le")
            reader.take(2)
            values = []
            while reader.more() and reader.data[reader.at] < 0x80:
                values.append(parameter_value(reader))
            if reader.more():
                reader.take(1)
            report(rpc=name, values=[v if not isinstance(v, str) or len(v) < 200 else len(v) for _, v in values])
            replies.append(self.call(name, [value for _, value in values]))
        # All but the last say that more follows.
        whole = b""
        for i, reply in enumerate(replies):
            if i + 1 < len(replies):
                status = int.from_bytes(reply[-12:-10], "little") | 1
                reply = reply[:-12] + status.to_bytes(2, "little") + reply[-10:]
            whole += reply
        self.reply(whole)

    def call(self, name, values):
        text = {10: 0, 11: 2, 13: 2, "sp_executesql": 0}.get(name)
        if text is not None and name in (11, 13):
            handle = len(self.handles) + 1
            self.handles[handle] = values[text]
            back = b"\xac\x00\x00\x00\x01" + struct.pack("<IH", 0, 0) + b"\x26\x04\x04"
            back += handle.to_bytes(4, "little")
            return back + (self.done(0, 0, 0xFE) if name == 11 else self.answer(values[text], True))
        if name == 12:
            return self.answer(self.handles.get(values[0], "error 8179"), True)
        return self.answer(values[text] if text is not None else "ok", True)

    def handle(self):
        try:
            kind, payload = self.message()
            if kind == 0x12:
                if self.prelogin(payload):
                    self.handshake()
                kind, payload = self.message()
            if kind != 0x10 or not self.login(payload):
                return
            while True:
                kind, payload = self.message()
                if kind == 1:
                    self.batch(payload)
                elif kind == 3:
                    self.rpc(payload)
                elif kind == 6:
                    self.reply(self.done(0x20))
                else:
                    report(message=kind, bytes=len(payload))
                    self.reply(self.done(0))
        except (EOFError, ConnectionError, ssl.SSLError) as error:
            report(end=type(error).__name__)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--encrypt", type=int, help="what PRELOGIN answers, whatever was asked")
    options = parser.parse_args()
    server = Server(("127.0.0.1", 0), Session)
    server.options = options
    report(port=server.server_address[1])
    # Ends with whoever started it.
    threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
