"""A pgflight server and a database, for tests and benchmarks."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from pathlib import Path
from typing import Any, Iterable, List, Optional, Tuple, TypeVar, Union

import psycopg

_LISTENING = re.compile(r"listening.*?(127\.0\.0\.\d+:\d+)")
_MONITOR = re.compile(r"status page are at http://([0-9.]+:[0-9]+)/")

_Server = TypeVar("_Server", bound="Server")


class Server:
    """A `pgflight serve` in its own process, on a port of this machine. A context manager ends it.

    Attributes:
        url: Its address, as clients take it.
        pid: Its process id.
        log: The lines of its log so far.
        monitor: Host and port of its metrics and status page; None without them.
    """

    url: str

    def __init__(
        self,
        binary: Union[str, Path],
        postgres: str,
        *options: str,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Starts the server and waits until it listens.

        Args:
            binary: The program.
            postgres: URL of its database; empty if the options name a configuration file.
            options: Further options of `pgflight serve`.
            host: Where it listens: an address of 127.0.0.0/8.
            port: The port; 0 takes a free one.

        Raises:
            RuntimeError: when it does not start, with its log.
        """
        address = f"{host}:{port}"
        self._process = subprocess.Popen(
            [str(binary), "serve", "--listen", address, "--postgres", postgres, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1"},
            text=True,
        )
        self.pid = self._process.pid
        self.log: List[str] = []
        self.monitor: Optional[str] = None
        self._address: Optional[str] = None
        self._listening = threading.Event()
        threading.Thread(target=self._read_log, daemon=True).start()
        if not self._listening.wait(30) or self._address is None:
            self.stop()
            raise RuntimeError("pgflight did not start:\n" + "".join(self.log))
        self.url = f"grpc://{self._address}"

    def _read_log(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.log.append(line)
            monitor = _MONITOR.search(line)
            if monitor:
                self.monitor = monitor[1]
            found = _LISTENING.search(line)
            if found and self._address is None:
                self._address = found[1]
                self._listening.set()
        self._listening.set()  # The server has ended.

    def __enter__(self: _Server) -> _Server:
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def stop(self, *, kill: bool = False) -> None:
        """Ends the server by SIGTERM, or by SIGKILL as a crash would. A second call does nothing."""
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Database:
    """A connection to a database, in autocommit."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = psycopg.connect(url, autocommit=True)

    def run(self, sql: str, *arguments: Any) -> None:
        """Runs a statement."""
        self._connection.execute(sql, arguments or None)

    def rows(self, sql: str, *arguments: Any) -> List[Tuple[Any, ...]]:
        """Returns the rows of a query."""
        return self._connection.execute(sql, arguments or None).fetchall()

    def row(self, sql: str, *arguments: Any) -> Tuple[Any, ...]:
        """Returns the only row of a query."""
        (row,) = self.rows(sql, *arguments)
        return row

    def value(self, sql: str, *arguments: Any) -> Any:
        """Returns the first column of the only row of a query."""
        return self.row(sql, *arguments)[0]

    def copy_in(self, statement: str, pieces: Iterable[Union[str, bytes]]) -> None:
        """Runs a COPY FROM STDIN with this data."""
        with self._connection.cursor().copy(statement) as copy:
            for piece in pieces:
                copy.write(piece)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()
