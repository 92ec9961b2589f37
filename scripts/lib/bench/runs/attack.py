"""A hostile peer: one process that keeps sending what is cheap for it and expensive for a server.

    python -m bench.runs.attack HOST:PORT TABLE CALLS

It knows the token in PGFLIGHT_TOKEN, so that it gets as far as a client with a bug. It prints
`ready`, and waits for the end of each attack before it begins the next. Each attack makes CALLS
calls at once. When standard input ends, it prints a line of JSON: how often it made each attack,
and how the server ended it.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import sys
import threading
from collections import Counter
from typing import Callable, Iterator

import pyarrow as pa

#: Frames of HTTP/2 (RFC 9113, 6) and their flags.
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 6, 7, 9
_END_STREAM, _END_HEADERS = 1, 4
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: Connections that are kept open and sent a byte at a time.
_SLOW = 50
_PATIENCE = 5.0
_SERVICE = "/arrow.flight.protocol.FlightService/"


def main() -> None:
    """Attacks until standard input ends."""
    address, table, calls = sys.argv[1:]
    host, _, port = address.rpartition(":")
    peer = Peer((host, int(port)), table, int(calls), os.environ["PGFLIGHT_TOKEN"])
    ended = threading.Event()
    threading.Thread(target=_wait, args=(ended,), daemon=True).start()
    print("ready", flush=True)
    threading.Thread(target=peer.be_slow, args=(ended,), daemon=True).start()
    made: Counter[str] = Counter()
    while not ended.is_set():
        for attack in peer.attacks():
            made[f"{attack.__name__.strip('_')}: {attack()}"] += 1
            if ended.is_set():
                break
    print(json.dumps(made), flush=True)


def _wait(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


class Wire:
    """A connection that speaks as much HTTP/2 as an attack needs."""

    def __init__(self, place: tuple[str, int]) -> None:
        self._socket = socket.create_connection(place, _PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send(_PREFACE + frame(_SETTINGS, 0, 0))

    def send(self, data: bytes) -> bool:
        """Returns whether the server accepted it."""
        try:
            self._socket.sendall(data)
        except OSError:
            return False
        return True

    def end(self, calls: int = 1) -> str:
        """Waits until this many calls are answered, then disconnects. Returns how the server ended them."""
        data, answered = b"", 0
        try:
            while answered < calls:
                more = self._socket.recv(1 << 16)
                if not more:
                    return "closed"
                data += more
                while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
                    length, kind, flags = int.from_bytes(data[:3], "big"), data[3], data[4]
                    data = data[9 + length :]
                    if kind == _GOAWAY:
                        return "goaway"
                    answered += kind == _RESET or (kind == _HEADERS and bool(flags & _END_STREAM))
        except TimeoutError:
            return "no answer"
        except OSError:
            return "closed"
        finally:
            self._socket.close()
        return "answered"


class Peer:
    """The attacks on a server."""

    def __init__(self, place: tuple[str, int], table: str, calls: int, token: str) -> None:
        self._place = place
        self._at_once = calls
        self._token = token
        self._random = random.Random(1)
        self._streams = list(_bad_streams(table))

    def attacks(self) -> list[Callable[[], str]]:
        """Yields all attacks in some order."""
        attacks = [
            self._bad_rows,
            self._wrong_tokens,
            self._unknown_writes,
            self._nested_json,
            self._long_headers,
            self._rapid_resets,
            self._pings,
            self._settings,
            self._empty_frames,
            self._come_and_go,
        ]
        self._random.shuffle(attacks)
        return attacks

    def be_slow(self, ended: threading.Event) -> None:
        """Keeps connections open, each with a call whose first message never arrives completely."""
        wires = [Wire(self._place) for _ in range(_SLOW)]
        for wire in wires:
            wire.send(self._call(1, "DoPut") + frame(_DATA, 0, 1, struct.pack("!BI", 0, 1000)))
        while not ended.wait(0.2):
            for number, wire in enumerate(wires):
                if not wire.send(frame(_DATA, 0, 1, b"x")):
                    wires[number] = Wire(self._place)

    def _call(self, stream: int, method: str, token: str = "", more: bytes = b"") -> bytes:
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", _SERVICE + method),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("authorization", f"Bearer {token or self._token}"),
        ]
        block = b"".join(header(name, value) for name, value in headers) + more
        pieces = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
        kinds = [_HEADERS] + [_CONTINUATION] * (len(pieces) - 1)
        flags = [0] * (len(pieces) - 1) + [_END_HEADERS]
        return b"".join(
            frame(kind, flag, stream, piece) for kind, flag, piece in zip(kinds, flags, pieces)
        )

    def _calls(self, method: str, body: Callable[[], bytes], token: str = "") -> str:
        wire = Wire(self._place)
        for number in range(self._at_once):
            stream = 2 * number + 1
            sent = self._call(stream, method, token) + data(stream, body())
            if not wire.send(sent + frame(_DATA, _END_STREAM, stream)):
                break
        return wire.end(self._at_once)

    def _bad_rows(self) -> str:
        return self._calls("DoPut", lambda: self._random.choice(self._streams))

    def _wrong_tokens(self) -> str:
        return self._calls("DoPut", lambda: self._streams[0], token="pgf_" + "x" * 43)

    def _unknown_writes(self) -> str:
        asked = {"@type": "type.googleapis.com/pgflight.v1.StatusRequest", "writeId": "x"}
        body = json.dumps(asked).encode()
        return self._calls("DoAction", lambda: message(field(1, b"status") + field(2, body)))

    def _nested_json(self) -> str:
        body = b'{"@type": ' + b"[" * (8 << 10)
        return self._calls("DoAction", lambda: message(field(1, b"begin") + field(2, body)))

    def _long_headers(self) -> str:
        wire = Wire(self._place)
        wire.send(self._call(1, "DoPut", more=header("x-long", "x" * (64 << 10))))
        return wire.end()

    def _rapid_resets(self) -> str:
        wire = Wire(self._place)
        cancel = struct.pack("!I", 8)
        for stream in range(1, 2001, 2):
            if not wire.send(self._call(stream, "DoPut") + frame(_RESET, 0, stream, cancel)):
                break
        return wire.end()

    def _pings(self) -> str:
        return self._flood(frame(_PING, 0, 0, bytes(8)))

    def _settings(self) -> str:
        return self._flood(frame(_SETTINGS, 0, 0))

    def _empty_frames(self) -> str:
        return self._flood(frame(_DATA, 0, 1))

    def _flood(self, one: bytes) -> str:
        wire = Wire(self._place)
        wire.send(self._call(1, "DoAction"))
        for _ in range(10):
            if not wire.send(one * 1000):
                break
        wire.send(frame(_DATA, _END_STREAM, 1))
        return wire.end()

    def _come_and_go(self) -> str:
        for _ in range(self._at_once):
            socket.create_connection(self._place, _PATIENCE).close()
        return "answered"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3, "big") + struct.pack("!BBI", kind, flags, stream) + payload


def data(stream: int, payload: bytes) -> bytes:
    """Returns a message in data frames."""
    pieces = range(0, len(payload), 16_000)
    return b"".join(frame(_DATA, 0, stream, payload[at : at + 16_000]) for at in pieces)


def header(name: str, value: str) -> bytes:
    """Returns a header without indexing (RFC 7541, 6.2.2)."""

    def text(words: str) -> bytes:
        length, rest = len(words), b""
        if length >= 127:
            length, left = 127, length - 127
            rest = _varint(left)
        return bytes([length]) + rest + words.encode()

    return b"\0" + text(name) + text(value)


def message(encoded: bytes) -> bytes:
    """A message of gRPC."""
    return struct.pack("!BI", 0, len(encoded)) + encoded


def field(number: int, value: bytes) -> bytes:
    """A field of protobuf that has a length."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _bad_streams(table: str) -> Iterator[bytes]:
    """Returns small streams of rows that a server must reject."""
    numbers = pa.record_batch({"n": pa.array(range(100), pa.int64())})
    schema, rows = _messages(numbers)
    for end in range(8, len(rows[0]) - 8, 8):
        yield _stream(table, schema, (rows[0][:end], rows[1]))
    # Buffers beyond the body; a body that claims to decompress to a tebibyte.
    yield _stream(table, schema, (rows[0], b""))
    schema, rows = _messages(numbers, "lz4")
    yield _stream(table, schema, (rows[0], struct.pack("<q", 1 << 40) + rows[1][8:]))
    # A value of 64 KiB that a list references a million times.
    keys = pa.array([0] * 1_000_000, pa.int8())
    items = pa.DictionaryArray.from_arrays(keys, pa.array(["x" * (64 << 10)]))
    lists = pa.ListArray.from_arrays(pa.array([0, len(keys)], pa.int32()), items)
    yield _stream(table, *_messages(pa.record_batch({"texts": lists}), "zstd"))
    wide = pa.schema([pa.field(f"c{number}", pa.int32()) for number in range(1601)])
    yield _stream(table, (wide.serialize().to_pybytes()[8:], b""))


def _messages(batch: pa.RecordBatch, codec: str | None = None) -> list[tuple[bytes, bytes]]:
    """Yields header and body of each message of a stream."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    found = pa.ipc.MessageReader.open_stream(sink.getvalue())
    return [
        (one.metadata.to_pybytes(), one.body.to_pybytes() if one.body else b"") for one in found
    ]


def _stream(table: str, *messages: tuple[bytes, bytes]) -> bytes:
    # A descriptor of type PATH.
    descriptor = field(1, b"\x08\x01" + field(3, table.encode()))
    encoded = b""
    for number, (head, body) in enumerate(messages):
        whole = (b"" if number else descriptor) + field(2, head) + field(1000, body)
        encoded += message(whole)
    return encoded


if __name__ == "__main__":
    main()
