"""A proxy before PostgreSQL that drops the rows of COPY, so that PostgreSQL costs nothing.

It passes on everything else, so a server has a real catalog and real transactions. PostgreSQL gets the header and the
trailer of a COPY, and so counts no rows.
"""

from __future__ import annotations

import socket
import struct
import threading
from urllib.parse import urlsplit, urlunsplit

#: Of a message: its kind and its length, which counts itself (PostgreSQL manual, 55.7).
_HEAD = 5
_COPY_DATA, _COPY_DONE = ord("d"), ord("c")
_NO_ROWS = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"
_AT_ONCE = 1 << 20
_NOWHERE = bytearray(_AT_ONCE)


class Swallower:
    """Listens on its own port until the context ends."""

    def __init__(self, postgres: str) -> None:
        parts = urlsplit(postgres)
        self._postgres = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        user = f"{parts.username}@" if parts.username else ""
        place = (parts.scheme, f"{user}127.0.0.1:{port}", parts.path, "sslmode=disable", "")
        #: The URL for the server.
        self.url = urlunsplit(place)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            postgres = socket.create_connection(self._postgres)
            for end in (client, postgres):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pass_on in (_swallow, _answer):
                threading.Thread(target=pass_on, args=(client, postgres), daemon=True).start()

    def __enter__(self) -> Swallower:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()


def _answer(client: socket.socket, postgres: socket.socket) -> None:
    try:
        while answer := postgres.recv(_AT_ONCE):
            client.sendall(answer)
    except OSError:
        pass
    client.close()


def _swallow(client: socket.socket, postgres: socket.socket) -> None:
    try:
        # The first message has no kind.
        length = _exactly(client, 4)
        postgres.sendall(length + _exactly(client, struct.unpack("!I", length)[0] - 4))
        while True:
            head = _exactly(client, _HEAD)
            kind, length = struct.unpack("!BI", head)
            if kind == _COPY_DATA:
                _drop(client, length - 4)
                continue
            if kind == _COPY_DONE:
                postgres.sendall(b"d" + struct.pack("!I", 4 + len(_NO_ROWS)) + _NO_ROWS)
            postgres.sendall(head + _exactly(client, length - 4))
    except OSError:
        pass
    postgres.close()


def _exactly(client: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = client.recv(size - len(data))
        if not more:
            raise OSError("the connection has ended")
        data += more
    return bytes(data)


def _drop(client: socket.socket, size: int) -> None:
    # Linux discards the received bytes without copying them (tcp(7), MSG_TRUNC).
    while size > 0:
        dropped = client.recv_into(_NOWHERE, min(size, _AT_ONCE), socket.MSG_TRUNC)
        if dropped == 0:
            raise OSError("the connection has ended")
        size -= dropped
