"""A PostgreSQL, a database and a pgflight server for each test, all of them real.

PGFLIGHT_TEST_URL   superuser URL of a server to use (postgres://…); by default a throw-away cluster is started
PGFLIGHT_BIN        the server's binary; by default the debug build of this checkout
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Callable, Iterator, Optional
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import running

import pgflight

ROOT = Path(__file__).resolve().parents[2]


class Database(running.Database):
    """A database of the test's own."""

    def count(self, table: str) -> int:
        """Returns the number of rows of a table."""
        return int(self.value(f"SELECT count(*) FROM {table}"))


class Server(running.Server):
    """A pgflight server with the binary under test."""

    def __init__(
        self, database_url: str, *options: str, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__(binary(), database_url, *options, host=host, port=port)


def binary() -> str:
    path = Path(os.environ.get("PGFLIGHT_BIN") or ROOT / "target/debug/pgflight")
    if not path.exists():
        raise RuntimeError(f"found no {path}; build it by `cargo build`, or set PGFLIGHT_BIN")
    return str(path)


class Cluster:
    """A throw-away PostgreSQL for one test, which the test can stop and start."""

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="pgflight-test-")
        self.url = self._run("start").strip()

    def halt(self) -> None:
        """Kills it as a crash would."""
        self._run("halt")

    def restart(self) -> None:
        """Starts it again at its port, also after `halt`."""
        self._run("crash")

    def stop(self) -> None:
        """Stops it and deletes its files. A second call does nothing."""
        if Path(self._directory).exists():
            self._run("stop")

    def _run(self, verb: str) -> str:
        command = [str(ROOT / "scripts/postgres"), verb, self._directory]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


@contextlib.contextmanager
def own_postgres() -> Iterator[Cluster]:
    """Starts a throw-away cluster and stops it at the end."""
    cluster = Cluster()
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The superuser URL of a PostgreSQL server."""
    given = os.environ.get("PGFLIGHT_TEST_URL")
    if given:
        yield given
        return
    with own_postgres() as cluster:
        yield cluster.url


@contextlib.contextmanager
def new_database(postgres: str) -> Iterator[Database]:
    """Creates an empty database on a server, and drops it at the end."""
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
def with_statements(database: Database, tmp_path: Path) -> Iterator[Server]:
    """A server that writes to `database`, with statements around the rows."""
    config = tmp_path / "pgflight.toml"
    config.write_text(
        f"[targets.db]\npostgres = '{database.url}'\n[targets.db.statements]\n"
        "refresh = 'REFRESH MATERIALIZED VIEW public.totals'\n"
        "log = 'INSERT INTO public.log SELECT count(*) FROM public.t'\n"
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
    # pytest shows this when the test fails.
    sys.stdout.write("".join(server.log))


@pytest.fixture
def client(server: Server) -> Iterator[pgflight.Client]:
    with pgflight.connect(server.url) as client:
        yield client


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """A Spark with two cores that runs a failed task again, in a time zone far from UTC."""
    from pyspark.sql import SparkSession

    # The executors, and the driver's worker that begins and commits, run this Python.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    # They import pgflight from this checkout, installed or not.
    paths = [str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    session = (
        SparkSession.builder.master("local[2, 2]")
        .appName("pgflight tests")
        .config("spark.ui.enabled", "false")
        .config("spark.jars", os.environ.get("PGFLIGHT_SPARK_JAR", ""))
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
def losing_replies_to(
    request: bytes, server: Server, reply: bytes = b"", times: Optional[int] = None
) -> Iterator[str]:
    """Yields the URL of a proxy that passes on calls with these bytes and does not return their answers.

    It loses the first `times` answers, or all of them. With `reply`, it cuts the connection in place of the first answer that holds these bytes.
    """
    upstream = urlsplit(server.url)
    listener = socket.create_server(("127.0.0.1", 0))
    left = itertools.count() if times is None else iter(range(times))

    def pump(source: socket.socket, sink: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if request in data:
                    lost.set()
                is_reply = source.getpeername()[1] == upstream.port and reply in data
                if is_reply and lost.is_set() and next(left, None) is not None:
                    # The server has answered, so it has done its work.
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
    """Runs a Python program that imports pgflight from this checkout, in its own process group."""
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
    """Waits until a condition holds that another process brings about."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "the condition does not hold in time"
        time.sleep(0.02)


@pytest.fixture
def closed_port() -> int:
    """A port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
