"""Calls that wait while servers or PostgreSQL are away."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator, List

import pandas as pd
import psycopg
import pyarrow as pa
import pytest
from conftest import Cluster, Database, Server, losing_replies_to, own_postgres, wait_until

import pgflight
from pgflight import WriteOptions
from pgflight.distributed import DistributedWrite
from pgflight.flight.connection import Endpoint
from pgflight.flight.patience import seconds_of

FRAME = pd.DataFrame({"id": range(1000)})
BATCH = pa.record_batch({"id": pa.array(range(1000), pa.int64())})
COPIES = "SELECT count(*) FROM pg_stat_progress_copy WHERE datname = current_database()"
KILL = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_progress_copy"
    " WHERE datname = current_database()"
)

#: Seconds for which PostgreSQL is away.
AWAY = 5


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with own_postgres() as cluster:
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE t (id int8)")
        yield cluster


@pytest.fixture
def cluster_server(cluster: Cluster) -> Iterator[Server]:
    server = Server(cluster.url)
    yield server
    server.stop()
    print("".join(server.log))


def count(cluster: Cluster) -> int:
    with psycopg.connect(cluster.url) as connection:
        row = connection.execute("SELECT count(*) FROM t").fetchone()
        assert row is not None
        return int(row[0])


def while_away(cluster: Cluster, call: Callable[[], Any]) -> Any:
    """Returns the result of a call that is made while PostgreSQL is away."""
    cluster.halt()
    with ThreadPoolExecutor(1) as pool:
        called = pool.submit(call)
        time.sleep(AWAY)
        assert not called.done()
        cluster.restart()
        return called.result(60)


# ── PostgreSQL is away ───────────────────────────────────────────────────────


def test_a_write_waits_for_postgresql(cluster: Cluster, cluster_server: Server) -> None:
    with pgflight.connect(cluster_server.url) as client:
        assert while_away(cluster, lambda: client.write(FRAME, "t")).row_count == 1000
        # Also when its connections are open.
        assert while_away(cluster, lambda: client.write(FRAME, "t")).row_count == 1000
    assert count(cluster) == 2000


def test_each_step_of_a_write_waits_for_postgresql(
    cluster: Cluster, cluster_server: Server
) -> None:
    endpoint = Endpoint.parse(cluster_server.url)
    # A crash of PostgreSQL loses staged rows and keeps prepared transactions.
    options = WriteOptions(publish="two_phase")
    write = while_away(
        cluster, lambda: DistributedWrite.begin(endpoint, "t", BATCH.schema, options)
    )
    receipt = while_away(cluster, lambda: write.attempt(0, "a", [BATCH]))
    assert while_away(cluster, lambda: write.commit([receipt])).row_count == 1000
    assert while_away(cluster, lambda: write.abort()).state == "committed"
    assert count(cluster) == 1000


def test_rows_stay_with_their_sender_until_they_can_be_taken(
    cluster: Cluster, cluster_server: Server
) -> None:
    taken: List[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(5):
            taken.append(number)
            yield BATCH

    def write() -> Any:
        with pgflight.connect(cluster_server.url) as client:
            return client.write(batches(), "t")

    cluster.halt()
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write)
        time.sleep(2)
        # The client takes the first batch for its schema, and keeps it.
        assert taken == [0]
        cluster.restart()
        assert written.result(60).row_count == 5000
    assert count(cluster) == 5000


# ── servers are away ─────────────────────────────────────────────────────────


def test_a_write_waits_for_its_server(database: Database) -> None:
    database.run("CREATE TABLE t (id int8)")
    server = Server(database.url)
    with pgflight.connect(server.url) as client, ThreadPoolExecutor(1) as pool:
        client.write(FRAME, "t")
        server.stop()
        written = pool.submit(client.write, FRAME, "t")
        time.sleep(2)
        again = Server(database.url, port=int(server.url.rsplit(":", 1)[1]))
        assert written.result(60).row_count == 1000
        again.stop()
    assert database.count("t") == 2000


@pytest.mark.parametrize("place", ["port", "name"])
def test_a_wrong_address_fails_within_its_time(
    closed_port: int, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    host = "127.0.0.1" if place == "port" else "no-such-host.invalid"
    url = f"grpc://{host}:{closed_port}"
    started = time.monotonic()
    with (
        caplog.at_level(logging.WARNING, "pgflight"),
        pgflight.connect(url, retry_timeout="4s") as client,
        pytest.raises(
            pgflight.Unavailable, match="could not connect to a pgflight server"
        ) as refused,
    ):
        client.write(FRAME, "t")
    assert url in refused.value.message
    assert 3 < (refused.value.tried_seconds or 0) < 20
    assert 1 < time.monotonic() - started < 20
    # The log says that a call waits. The resolver of names may take all of the time for its first answer.
    if place == "port":
        assert "tries again for up to 4 s" in caplog.text


def test_a_client_without_patience_fails_at_once(closed_port: int) -> None:
    started = time.monotonic()
    client = pgflight.connect(f"grpc://127.0.0.1:{closed_port}", retry_timeout=0)
    with pytest.raises(pgflight.Unavailable):
        client.write(FRAME, "t")
    assert time.monotonic() - started < 5


def test_errors_that_are_not_retryable_are_raised_at_once(client: pgflight.Client) -> None:
    started = time.monotonic()
    with pytest.raises(pgflight.NotFound):
        client.write(FRAME, "nowhere")
    assert time.monotonic() - started < 10


# ── streams that break ───────────────────────────────────────────────────────


def killing(database: Database, batches: int) -> Iterator[pa.RecordBatch]:
    """Yields batches, and ends PostgreSQL's session once, after the first."""
    yield BATCH
    wait_until(lambda: database.value(COPIES) == 1)
    assert database.value(KILL) == 1
    # The error must reach the client before it has sent all rows.
    wait_until(lambda: database.value(COPIES) == 0)
    time.sleep(0.5)
    for _ in range(batches - 1):
        yield BATCH


def test_rows_in_memory_are_sent_again(client: pgflight.Client, database: Database) -> None:
    database.run("CREATE TABLE t (id int8)")
    reports: List[pgflight.Progress] = []
    killed = threading.Event()

    def kill_once(progress: pgflight.Progress) -> None:
        reports.append(progress)
        if not killed.is_set():
            killed.set()
            wait_until(lambda: database.value(COPIES) == 1)
            assert database.value(KILL) == 1
            time.sleep(0.5)

    table = pa.Table.from_batches([BATCH] * 100)
    assert client.write(table, "t", progress=kill_once).row_count == 100_000
    assert database.count("t") == 100_000
    # Rows of the failed stream do not count.
    assert reports[-1].row_count == 100_000


def test_consumed_rows_are_not_sent_again(client: pgflight.Client, database: Database) -> None:
    database.run("CREATE TABLE t (id int8)")
    with pytest.raises(pgflight.Unavailable) as refused:
        client.write(killing(database, 10), "t")
    assert refused.value.retryable
    assert database.count("t") == 0


def test_a_lost_answer_leaves_the_outcome_unknown(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int8)")
    with (
        losing_replies_to(b"EndRecord", server, b"Receipt") as url,
        pgflight.connect(url) as client,
        pytest.raises(pgflight.OutcomeUnknown, match="after all rows were sent") as lost,
    ):
        client.write(FRAME, "t")
    assert not lost.value.retryable
    assert database.count("t") == 1000


def test_an_attempt_whose_receipt_is_lost_is_found(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int8)")
    whole = Endpoint.parse(server.url)
    write = DistributedWrite.begin(whole, "t", BATCH.schema)
    with losing_replies_to(b"EndRecord", server, b"Receipt") as url:
        # The second try sends no end record, since the attempt is recorded.
        broken = DistributedWrite.of(Endpoint.parse(url), write.write_id, BATCH.schema)
        receipt = broken.attempt(0, "a", [BATCH])
    assert database.value("SELECT count(*) FROM pgflight.attempt") == 1
    assert write.commit([receipt]).row_count == 1000
    assert database.count("t") == 1000


# ── times ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, 60),
        (0, 0),
        (2.5, 2.5),
        ("90", 90),
        ("90s", 90),
        ("500ms", 0.5),
        ("2min", 120),
        ("1m 30s", 90),
        ("1.5 hours", 5400),
        ("3 Minutes", 180),
    ],
)
def test_a_time_is_read_with_and_without_units(given: Any, seconds: float) -> None:
    assert seconds_of(given) == seconds


@pytest.mark.parametrize(
    "given", [-1, "-1", "", "soon", "5 days", "5,5", float("nan"), float("inf"), True, [5]]
)
def test_a_wrong_time_is_rejected(given: Any) -> None:
    with pytest.raises(pgflight.InvalidCommand, match="retry_timeout is not a time"):
        seconds_of(given)
