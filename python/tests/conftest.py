"""A PostgreSQL, a database and a pgflight server for each test. Nothing here is a stand-in.

PGFLIGHT_TEST_URL   superuser URL of a server to use (postgres://…); unless set, a throw-away
                    cluster is started
PGFLIGHT_BIN        the server's binary; unless set, the debug build of this checkout
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Tuple
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

import pgflight

ROOT = Path(__file__).resolve().parents[2]


class Database:
    """A database of the test's own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = psycopg.connect(url, autocommit=True)

    def run(self, sql: str, *arguments: Any) -> None:
        """Runs a statement."""
        self._connection.execute(sql, arguments or None)

    def rows(self, sql: str, *arguments: Any) -> List[Tuple[Any, ...]]:
        """The rows of a query."""
        return self._connection.execute(sql, arguments or None).fetchall()

    def value(self, sql: str, *arguments: Any) -> Any:
        """The first column of the only row of a query."""
        (row,) = self.rows(sql, *arguments)
        return row[0]

    def count(self, table: str) -> int:
        return self.value(f"SELECT count(*) FROM {table}")

    def copy_csv(self, table: str, text: str, *, null: str) -> None:
        """Lets PostgreSQL itself read a CSV with a header."""
        options = f"(FORMAT csv, HEADER, NULL '{null}')"
        statement = f"COPY {table} FROM STDIN {options}"
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(text)

    def close(self) -> None:
        self._connection.close()


class Server:
    """A pgflight server in a process of its own."""

    url: str

    def __init__(self, database_url: str, *arguments: str, port: int = 0) -> None:
        address = f"127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [binary(), "serve", "--listen", address, "--postgres", database_url, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1"},
            text=True,
        )
        self.log: List[str] = []
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
            found = re.search(r"listening.*?(127\.0\.0\.1:\d+)", line)
            if found and self._address is None:
                self._address = found[1]
                self._listening.set()
        self._listening.set()  # It ended; nobody need wait any longer.

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def stop(self, *, kill: bool = False) -> None:
        """Ends it: by SIGTERM, or as a crash would."""
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def binary() -> str:
    path = Path(os.environ.get("PGFLIGHT_BIN") or ROOT / "target/debug/pgflight")
    if not path.exists():
        raise RuntimeError(f"there is no {path}: build it by `cargo build`, or set PGFLIGHT_BIN")
    return str(path)


class Cluster:
    """A throw-away PostgreSQL of a test's own, which can be away for a while."""

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="pgflight-test-")
        self.url = self._run("start").strip()

    def halt(self) -> None:
        """Ends it as a crash would."""
        self._run("halt")

    def restart(self) -> None:
        """Starts it again at its port, also where it was halted."""
        self._run("crash")

    def stop(self) -> None:
        """Ends it for good. Doing it again does nothing."""
        if Path(self._directory).exists():
            self._run("stop")

    def _run(self, verb: str) -> str:
        command = [str(ROOT / "scripts/postgres"), verb, self._directory]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


@contextlib.contextmanager
def own_postgres() -> Iterator[Cluster]:
    """A throw-away cluster."""
    cluster = Cluster()
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Superuser URL of a PostgreSQL server."""
    given = os.environ.get("PGFLIGHT_TEST_URL")
    if given:
        yield given
        return
    with own_postgres() as cluster:
        yield cluster.url


@contextlib.contextmanager
def new_database(postgres: str) -> Iterator[Database]:
    """A new, empty database on a server."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    database = Database(urlunsplit(urlsplit(postgres)._replace(path=f"/{name}")))
    yield database
    database.close()
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(postgres: str) -> Iterator[Database]:
    """A new, empty database."""
    with new_database(postgres) as database:
        yield database


@pytest.fixture
def other(postgres: str) -> Iterator[Database]:
    """Another new, empty database."""
    with new_database(postgres) as database:
        yield database


@pytest.fixture
def targets(database: Database, other: Database, tmp_path: Path) -> Iterator[Server]:
    """A server with the targets `first` (its default), for `database`, and `other`."""
    config = tmp_path / "pgflight.toml"
    config.write_text(
        "[server]\ndefault_target = 'first'\n"
        f"[targets.first]\npostgres = '{database.url}'\n"
        f"[targets.other]\npostgres = '{other.url}'\n"
    )
    server = Server("", "--config", str(config))
    yield server
    server.stop()
    sys.stdout.write("".join(server.log))


@pytest.fixture
def server(database: Database) -> Iterator[Server]:
    """A server that writes to `database`."""
    server = Server(database.url)
    yield server
    server.stop()
    # Shown by pytest when the test failed.
    sys.stdout.write("".join(server.log))


@pytest.fixture
def client(server: Server) -> Iterator[pgflight.Client]:
    with pgflight.connect(server.url) as client:
        yield client


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """A Spark of two cores that runs a failed task again, far from UTC."""
    from pyspark.sql import SparkSession

    # The executors, and the driver's worker that begins and commits, run this very Python.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    # They import pgflight from this checkout, installed or not.
    paths = [str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    session = (
        SparkSession.builder.master("local[2, 2]")
        .appName("pgflight tests")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", "1g")
        .config("spark.sql.session.timeZone", "Asia/Kathmandu")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "10000")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@contextlib.contextmanager
def losing_replies_to(request: bytes, server: Server, reply: bytes = b"") -> Iterator[str]:
    """A way to the server on which calls with these bytes arrive and are never answered; its URL.

    With `reply`, the connection is cut in place of the first answer that holds these bytes.
    """
    upstream = urlsplit(server.url)
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if request in data:
                    lost.set()
                is_reply = source.getpeername()[1] == upstream.port and reply in data
                if is_reply and lost.is_set():
                    # The server has answered, and so has done what it was asked for.
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                ours = socket.create_connection((upstream.hostname, upstream.port or 0))
                lost = threading.Event()
                for ends in ((client, ours), (ours, client)):
                    threading.Thread(target=pump, args=(*ends, lost), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"grpc://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def in_process(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Runs a Python program that imports pgflight from this checkout, in a group of processes of its own."""
    path = os.pathsep.join(filter(None, [str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
        text=True,
    )


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Waits for something that another process does."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)
