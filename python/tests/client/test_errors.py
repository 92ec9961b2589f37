"""Errors: their class, details and message."""

from __future__ import annotations

import pickle
import socket
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Optional, Type
from unittest.mock import ANY

import pyarrow as pa
import pytest
from conftest import Database, Server, own_postgres, wait_until
from pyarrow import flight

import pgflight
from pgflight import errors


def check(
    write: Callable[[], Any],
    error: Type[pgflight.PgFlightError],
    *,
    sqlstate: Optional[str] = None,
    column: Optional[str] = None,
    row: Optional[int] = None,
    table: Optional[str] = None,
    retryable: bool = False,
    says: str = "",
) -> pgflight.PgFlightError:
    """Writes, and expects an error with exactly these details."""
    with pytest.raises(pgflight.PgFlightError) as raised:
        write()
    refusal = raised.value
    found = (type(refusal), refusal.sqlstate, refusal.column, refusal.row, refusal.retryable)
    assert found == (error, sqlstate, column, row, retryable), str(refusal)
    if table is not None:
        assert refusal.table == table
    assert says in refusal.message
    for noise in ("gRPC client debug context", "Detail: ", "Flight returned"):
        assert noise not in str(refusal)
    assert str(refusal).splitlines()[0] == refusal.message.splitlines()[0]
    return refusal


# ── data and tables ──────────────────────────────────────────────────────────


@dataclass
class Refusal:
    """A table, the data written to it, and the expected error."""

    test: str
    ddl: str
    data: pa.Table
    error: Type[pgflight.PgFlightError]
    sqlstate: Optional[str] = None
    column: Optional[str] = None
    row: Optional[int] = None
    says: str = ""


def ints(*values: Optional[int]) -> pa.Array:
    return pa.array(values, pa.int64())


REFUSALS = [
    Refusal(
        "a column that the table does not have",
        "n int8",
        pa.table({"n": ints(1), "extra": ints(2)}),
        pgflight.SchemaMismatch,
        column="extra",
    ),
    Refusal(
        "a required column that the data do not have",
        "n int8, needed int NOT NULL",
        pa.table({"n": ints(1)}),
        pgflight.SchemaMismatch,
        column="needed",
    ),
    Refusal(
        "a type that cannot go",
        "n int8, at timestamptz",
        pa.table({"n": ints(1), "at": pa.array([True])}),
        pgflight.SchemaMismatch,
        column="at",
        says="timestamp",
    ),
    Refusal(
        "a number that is too large for its column",
        "n int4",
        pa.table({"n": ints(1, 2, 2**40)}),
        pgflight.DataRejected,
        sqlstate="22003",
        column="n",
        row=2,
    ),
    Refusal(
        "a NULL where the table has NOT NULL",
        "n int8 NOT NULL",
        pa.table({"n": ints(1, None)}),
        pgflight.DataRejected,
        sqlstate="23502",
        column="n",
        row=1,
    ),
    Refusal(
        "a NUL byte in text",
        "s text",
        pa.table({"s": ["a", "b", "c\0d"]}),
        pgflight.DataRejected,
        sqlstate="22021",
        column="s",
        row=2,
    ),
    Refusal(
        "a text that is too long for its column",
        "s varchar(3)",
        pa.table({"s": ["abc", "abcd"]}),
        pgflight.DataRejected,
        sqlstate="22001",
        column="s",
        row=1,
    ),
    Refusal(
        "a row that a CHECK forbids",
        "n int8 CONSTRAINT positive CHECK (n > 0)",
        pa.table({"n": ints(1, 2, -3)}),
        pgflight.DataRejected,
        sqlstate="23514",
        row=ANY,
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.test)
def test_a_stalled_sender_keeps_nothing(
    refusal: Refusal, client: pgflight.Client, database: Database
) -> None:
    database.run(f"CREATE TABLE t ({refusal.ddl})")
    check(
        lambda: client.write(refusal.data, "t"),
        refusal.error,
        sqlstate=refusal.sqlstate,
        column=refusal.column,
        row=refusal.row,
        table="public.t",
        says=refusal.says,
    )
    assert database.count("t") == 0


def test_the_row_is_counted_over_the_whole_stream(
    client: pgflight.Client, database: Database
) -> None:
    database.run("CREATE TABLE t (n int4)")
    numbers = [*range(30_000), 2**40]
    batches = pa.table({"n": ints(*numbers)}).to_batches(max_chunksize=1000)
    check(
        lambda: client.write(batches, "t"),
        pgflight.DataRejected,
        sqlstate="22003",
        column="n",
        row=30_000,
    )
    assert database.count("t") == 0


def test_no_value_is_shown(client: pgflight.Client, database: Database) -> None:
    database.run("CREATE TABLE t (s varchar(3) PRIMARY KEY)")
    for data in (["hunter2"], ["pw9", "pw9"]):
        with pytest.raises(pgflight.DataRejected) as refused:
            client.write(pa.table({"s": data}), "t")
        assert data[0] not in str(refused.value)


def test_a_table_that_is_missing_is_not_found(client: pgflight.Client) -> None:
    check(
        lambda: client.write(pa.table({"n": [1]}), "public.nowhere"),
        pgflight.NotFound,
        table="public.nowhere",
    )


def test_a_schema_that_is_missing_is_not_found(client: pgflight.Client) -> None:
    check(
        lambda: client.write(pa.table({"n": [1]}), "nowhere.t", mode="create"),
        pgflight.NotFound,
        sqlstate="3F000",
    )


def test_a_table_that_the_role_may_not_write_is_denied(database: Database, postgres: str) -> None:
    database.run("CREATE TABLE t (n int8)")
    role = f"reader_{database.value('SELECT current_database()')}"
    database.run(f"CREATE ROLE {role} LOGIN")
    server = Server(database.url.replace("postgres@", f"{role}@", 1))
    try:
        with pgflight.connect(server.url) as client:
            check(
                lambda: client.write(pa.table({"n": [1]}), "t"),
                pgflight.PermissionDenied,
                sqlstate="42501",
            )
    finally:
        server.stop()
        database.run(f"DROP ROLE {role}")


# ── names that look dangerous and must work ──────────────────────────────────


def test_a_batch_of_more_than_five_mebibytes_works(
    client: pgflight.Client, database: Database
) -> None:
    batch = pa.RecordBatch.from_pydict({"b": pa.array([b"x" * 1024] * 6000)})
    assert batch.nbytes > 5 * 1024 * 1024
    assert client.write(batch, "t", mode="create").row_count == 6000
    assert database.value("SELECT sum(length(b)) FROM t") == 6000 * 1024


def test_an_empty_frame_works(client: pgflight.Client, database: Database) -> None:
    result = client.write(pa.table({"n": ints()}), "t", mode="create")
    assert result.row_count == 0
    assert database.count("t") == 0


def test_a_frame_without_columns_works(client: pgflight.Client) -> None:
    assert client.write(pa.table({}), "t", mode="create").row_count == 0


def test_a_column_named_like_sql_works(client: pgflight.Client, database: Database) -> None:
    name = 'select "x"; DROP TABLE t --'
    client.write(pa.table({name: ints(7)}), "t", mode="create")
    client.write(pa.table({name: ints(8)}), "t")
    quoted = name.replace('"', '""')
    assert database.rows(f'SELECT "{quoted}" FROM t ORDER BY 1') == [(7,), (8,)]


def test_a_thousand_columns_work(client: pgflight.Client, database: Database) -> None:
    table = pa.table({f"c{i}": ints(i, i + 1) for i in range(1000)})
    assert client.write(table, "t", mode="create").row_count == 2
    assert database.rows("SELECT c0, c999 FROM t ORDER BY c0") == [(0, 999), (1, 1000)]


# ── servers that are away ────────────────────────────────────────────────────


@pytest.fixture
def closed_port() -> int:
    """A port without a listener."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_a_missing_server_is_named_with_a_hint(closed_port: int) -> None:
    url = f"grpc://127.0.0.1:{closed_port}"
    with pgflight.connect(url, retry_timeout=0) as client:
        for call in (
            lambda: client.write(pa.table({"n": [1]}), "t"),
            lambda: client.table_schema("t"),
            lambda: client.tables(),
            lambda: client.status("w"),
        ):
            refusal = check(call, pgflight.Unavailable, retryable=True, says=url)
            assert "pgflight serve" in (refusal.hint or "")


def test_a_postgresql_that_was_stopped_is_unavailable() -> None:
    with own_postgres() as cluster:
        server = Server(cluster.url)
        try:
            with pgflight.connect(server.url, retry_timeout=0) as client:
                client.write(pa.table({"n": ints(1)}), "t", mode="create")
                cluster.stop()
                for call in (
                    lambda: client.write(pa.table({"n": ints(1)}), "t"),
                    lambda: client.table_schema("t"),
                    lambda: client.status("w"),
                ):
                    check(call, pgflight.Unavailable, sqlstate=ANY, retryable=True)
        finally:
            server.stop()


def test_a_server_that_does_not_find_postgresql_does_not_start(closed_port: int) -> None:
    with pytest.raises(RuntimeError, match="connect to PostgreSQL"):
        Server(f"postgres://postgres@127.0.0.1:{closed_port}/postgres")


COPYING = "FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'COPY%%'"


def endless(meanwhile: Callable[[], Any]) -> Iterator[pa.RecordBatch]:
    """Yields some batches, calls `meanwhile`, then yields batches without end."""
    batch = pa.RecordBatch.from_pydict({"n": ints(*range(100_000))})
    for _ in range(10):
        yield batch
    meanwhile()
    for _ in range(10_000):
        yield batch
    raise AssertionError("8 GB were taken after the failure")


def test_a_backend_that_is_killed_midway_is_unavailable(
    client: pgflight.Client, database: Database
) -> None:
    database.run("CREATE TABLE t (n int8)")

    def kill() -> None:
        wait_until(lambda: database.value(f"SELECT count(*) {COPYING}") == 1)
        assert database.value(f"SELECT pg_terminate_backend(pid) {COPYING}")

    check(
        lambda: client.write(endless(kill), "t"),
        pgflight.Unavailable,
        sqlstate="57P01",
        table="public.t",
        retryable=True,
    )
    assert database.count("t") == 0
    assert client.write(pa.table({"n": ints(1)}), "t").row_count == 1


def test_a_server_that_is_killed_midway_is_unavailable(database: Database) -> None:
    database.run("CREATE TABLE t (n int8)")
    server = Server(database.url)
    with pgflight.connect(server.url) as client:
        check(
            lambda: client.write(endless(lambda: server.stop(kill=True)), "t"),
            pgflight.Unavailable,
            retryable=True,
            says=server.url,
        )
    wait_until(lambda: database.value(f"SELECT count(*) {COPYING}") == 0)
    assert database.count("t") == 0


# ── the exceptions themselves ────────────────────────────────────────────────

FULL = pgflight.DataRejected(
    'value for "fare" is out of range',
    sqlstate="22003",
    table='public."T]"',
    column='fa"re',
    row=17,
    write_id="w-1",
)


def test_an_exception_lists_its_details_on_the_second_line() -> None:
    assert str(FULL) == (
        'value for "fare" is out of range\n'
        '[DATA_REJECTED sqlstate="22003" table="public.\\"T]\\"" column="fa\\"re" row=17'
        ' write_id="w-1"]'
    )


def test_an_exception_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(FULL))
    assert type(again) is pgflight.DataRejected
    assert str(again) == str(FULL)
    assert again.row == 17


def test_an_exception_is_found_in_the_text_of_a_failed_spark_job() -> None:
    text = f"""An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "worker.py", line 1, in main
pgflight.errors.Unavailable: an earlier cause
[UNAVAILABLE]

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "stream.py", line 1, in send
pgflight.errors.{type(FULL).__name__}: {FULL}

\tat org.apache.spark.api.python.BasePythonRunner.handlePythonException(PythonRunner.scala:1)
"""
    found = errors.from_text(text)
    assert type(found) is pgflight.DataRejected
    assert str(found) == str(FULL)
    assert errors.from_text("java.lang.OutOfMemoryError: [OOM]") is None


def field(number: int, value: bytes) -> bytes:
    """A length-delimited protobuf field of less than 128 bytes."""
    return bytes([number << 3 | 2, len(value)]) + value


INFO = field(1, b"DATA_REJECTED") + field(2, b"pgflight")
INFO += field(3, field(1, b"row") + field(2, b"5"))
TYPE_URL = field(1, b"type.googleapis.com/google.rpc.ErrorInfo")
STATUS = b"\x08\x03" + field(2, b"message") + field(3, TYPE_URL + field(2, INFO))


def test_error_info_is_read_and_everything_else_is_not() -> None:
    assert errors.error_info(STATUS) == ("DATA_REJECTED", "message", {"row": "5"})
    for broken in (b"", b"{}", STATUS[:-1], STATUS[:9], b"\xff" * 20, STATUS.replace(b"pg", b"xx")):
        assert errors.error_info(broken) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("column is missing. Detail: Internal", "column is missing"),
        (
            "column is missing. Detail: Internal. gRPC client debug context: UNKNOWN:Error "
            'received {grpc_message:"column is missing"}. Client context: OK',
            "column is missing",
        ),
        (
            "Flight returned unavailable error, with message: going away. gRPC client debug "
            "context: UNAVAILABLE:going away",
            "going away",
        ),
        ("gRPC returned out-of-range error, with message: too large", "too large"),
        ("PostgreSQL says: Detail: none", "PostgreSQL says: Detail: none"),
    ],
)
def test_text_around_the_servers_message_is_removed(text: str, message: str) -> None:
    assert errors.clean_message(text) == message


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (flight.FlightUnavailableError("gone"), pgflight.Unavailable),
        (OSError("Could not write record batch to stream"), pgflight.Unavailable),
        (flight.FlightUnauthenticatedError("who"), pgflight.Unauthenticated),
        (flight.FlightUnauthorizedError("no"), pgflight.PermissionDenied),
        (flight.FlightTimedOutError("late"), pgflight.Timeout),
        (flight.FlightCancelledError("left"), pgflight.Cancelled),
        (flight.FlightInternalError("bug"), pgflight.Internal),
        (flight.FlightInternalError("bad", STATUS), pgflight.DataRejected),
        (pa.ArrowNotImplementedError("nope"), pgflight.Unsupported),
        (pa.ArrowKeyError("nowhere"), pgflight.NotFound),
        (pa.ArrowInvalid("what"), pgflight.InvalidCommand),
        (pa.ArrowException("odd"), pgflight.Internal),
    ],
)
def test_each_pyarrow_error_has_a_pgflight_class(
    raised: Exception, error: Type[pgflight.PgFlightError]
) -> None:
    assert type(errors.from_transport(raised, "grpc://host:1")) is error
