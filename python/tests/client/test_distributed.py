"""A write of many partitions, step by step and without Spark."""

from __future__ import annotations

import dataclasses
import multiprocessing
import pickle
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Dict, Optional

import psycopg
import pyarrow as pa
import pytest
from conftest import Database, Server

import pgflight
from pgflight import WriteOptions, distributed
from pgflight.distributed import DistributedWrite
from pgflight.flight.connection import Endpoint

SCHEMA = pa.schema([pa.field("id", pa.int64())])


def begin(
    server: Server, retry_timeout: Optional[float] = None, **arguments: Any
) -> DistributedWrite:
    endpoint = Endpoint.parse(server.url, retry_timeout=retry_timeout)
    options = WriteOptions(create_if_missing=True)
    return DistributedWrite.begin(endpoint, "t", SCHEMA, options, **arguments)


def attempt(write: DistributedWrite, partition: int, *ids: int) -> Dict[str, Any]:
    batch = pa.RecordBatch.from_arrays([pa.array(ids, pa.int64())], schema=SCHEMA)
    return write.attempt(partition, "task", [batch])


def test_only_the_attempts_that_were_accepted_are_published(
    server: Server, database: Database
) -> None:
    write = begin(server)
    attempt(write, 0, 1, 2)  # cut short, as only the driver knows
    accepted = [attempt(write, 0, 1, 2, 3), attempt(write, 1, 4)]
    attempt(write, 1, 4)  # a twin that was late
    status = write.commit(accepted)
    assert (status.state, status.row_count, status.attempt_count) == ("committed", 4, 2)
    assert database.rows("SELECT id FROM t ORDER BY id") == [(1,), (2,), (3,), (4,)]


def test_a_client_begins_what_other_processes_send(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int8)")
    with pgflight.connect(server.url) as client:
        write = client.begin("t", SCHEMA, write_id="job")
        # Spawned and not forked: gRPC does not survive a fork.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(2, mp_context=spawn) as workers:
            sent = [workers.submit(attempt, write, partition, partition) for partition in range(4)]
            receipts = [one.result() for one in sent]
        assert database.count("t") == 0
        assert write.commit(receipts).row_count == 4
        assert client.begin("t", SCHEMA, write_id="job").is_committed
        with pytest.raises(pgflight.NotFound):
            client.begin("no_such_table", SCHEMA)
    assert database.rows("SELECT id FROM t ORDER BY id") == [(0,), (1,), (2,), (3,)]


def test_a_partition_without_rows_is_an_attempt(server: Server, database: Database) -> None:
    write = begin(server)
    assert write.commit([write.attempt(0, "task", []), attempt(write, 1, 7)]).row_count == 1
    assert database.rows("SELECT id FROM t") == [(7,)]


def test_a_write_without_partitions_can_be_committed(server: Server, database: Database) -> None:
    assert begin(server).commit([]).state == "committed"
    assert database.count("t") == 0


def test_every_step_may_be_repeated(server: Server, database: Database) -> None:
    write, again = begin(server, write_id="w"), begin(server, write_id="w")
    assert again.status == dataclasses.replace(write.status, existed=True)
    receipts = [attempt(write, 0, 1)]
    assert write.commit(receipts) == again.commit(receipts)
    assert begin(server, write_id="w").is_committed
    assert database.count("t") == 1


def test_abort_after_a_commit_returns_committed(server: Server, database: Database) -> None:
    write = begin(server)
    write.commit([attempt(write, 0, 1)])
    assert write.abort("its answer was lost").state == "committed"
    assert database.count("t") == 1


def test_an_aborted_write_takes_no_attempts_and_no_commit(
    server: Server, database: Database
) -> None:
    database.run("CREATE TABLE t (id int8)")
    write = begin(server, write_id="w")
    receipt = attempt(write, 0, 1)
    assert write.abort("enough").state == "aborted"
    for call in (
        lambda: attempt(write, 1, 2),
        lambda: write.commit([receipt]),
    ):
        with pytest.raises(pgflight.Conflict):
            call()
    again = begin(server, write_id="w")
    assert again.write_id == "w#2", "a job that failed may run again under its name"
    assert database.count("t") == 0


def test_an_unknown_receipt_publishes_nothing(server: Server, database: Database) -> None:
    database.run("CREATE TABLE t (id int8)")
    write = begin(server)
    receipt = attempt(write, 0, 1)
    for wrong in (
        [receipt, dict(receipt, partitionId=1, attemptId="forged")],
        [dict(receipt, rowCount="2")],
        [receipt, receipt],
    ):
        with pytest.raises(pgflight.Conflict):
            write.commit(wrong)
    assert database.count("t") == 0
    assert write.commit([receipt]).row_count == 1


def test_a_commit_waits_for_another_server(
    database: Database,
) -> None:
    server = Server(database.url)
    write = begin(server)
    receipt = attempt(write, 0, 1)
    server.stop()

    committed = []
    committing = threading.Thread(target=lambda: committed.append(write.commit([receipt])))
    committing.start()
    time.sleep(1)
    another = Server(database.url, port=int(server.url.rsplit(":", 1)[1]))
    committing.join(30)
    another.stop()
    assert [status.row_count for status in committed] == [1]
    assert database.count("t") == 1


def test_a_commit_without_a_server_has_an_unknown_outcome(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "_MIN_COMMIT_SECONDS", 0.5)
    server = Server(database.url)
    write = begin(server, 0, write_id="w")
    receipt = attempt(write, 0, 1)
    server.stop()
    with pytest.raises(pgflight.Unavailable, match="could not learn whether"):
        write.commit([receipt])


def test_a_commit_behind_a_lock_has_an_unknown_outcome(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An earlier try, whose answer was lost, may hold the lock and may still commit.
    monkeypatch.setattr(distributed, "_MIN_COMMIT_SECONDS", 0.5)
    database.run("CREATE TABLE t (id int8)")
    server = Server(database.url, "--lock-timeout", "200ms")
    endpoint = Endpoint.parse(server.url, retry_timeout=0)
    write = DistributedWrite.begin(endpoint, "t", SCHEMA, WriteOptions(publish="staged"), "w")
    receipt = attempt(write, 0, 1)
    with psycopg.connect(database.url) as other:
        other.execute("LOCK TABLE t")
        with pytest.raises(pgflight.Unavailable, match="could not learn whether") as refused:
            write.commit([receipt])
        assert refused.value.sqlstate == "55P03"
    assert write.commit([receipt]).row_count == 1
    server.stop()


def test_a_write_can_be_pickled_for_its_tasks_and_shows_no_token(server: Server) -> None:
    endpoint = Endpoint.parse(server.url, token="hunter2")
    write = DistributedWrite.begin(endpoint, "t", SCHEMA, WriteOptions(mode="create"))
    task = pickle.loads(pickle.dumps(write))
    assert task == write
    assert task.endpoint.token == "hunter2"
    assert "hunter2" not in repr(task)
    assert write.commit([attempt(task, 0, 1)]).row_count == 1
