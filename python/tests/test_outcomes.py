"""What a driver hears of a commit: its result, that it is decided, or what is lost."""

from __future__ import annotations

import pickle
from typing import Any, Dict, List, Tuple

import psycopg
import pyarrow as pa
import pytest
from conftest import Database, Server, losing_replies_to

import pgflight
from pgflight import command, distributed, errors
from pgflight.connection import Endpoint
from pgflight.distributed import DistributedWrite

BATCH = pa.record_batch({"id": pa.array([1, 2, 3], pa.int64())})


def begun(server: Server, database: Database, publish: str, parts: int = 2) -> Tuple[Any, List]:
    """A write of some partitions, all of them sent."""
    database.run("CREATE TABLE t (id int8)")
    spec = command.write_spec("t", "append", publish=publish)
    write = DistributedWrite.begin(Endpoint.parse(server.url), spec, BATCH.schema, "w")
    return write, [write.attempt(part, "a", [BATCH]) for part in range(parts)]


def decide(database: Database) -> None:
    """As a server that dies between the decision and the first COMMIT PREPARED."""
    database.run(
        "UPDATE pgflight.write SET state = 'committing', row_count = 6;"
        "UPDATE pgflight.attempt SET accepted = true"
    )


def end_by_hand(database: Database, partition: int) -> None:
    """Another session rolls back what is prepared for a partition."""
    gid = database.value("SELECT gid FROM pgflight.attempt WHERE partition_id = %s", partition)
    database.run(f"ROLLBACK PREPARED '{gid}'")


def test_a_commit_with_lost_rows_says_which(server: Server, database: Database) -> None:
    write, receipts = begun(server, database, "two_phase")
    decide(database)
    end_by_hand(database, 1)
    with pytest.raises(pgflight.PreparedLost) as lost:
        write.commit(receipts)
    error = lost.value
    assert (error.reason, error.write_id, error.retryable) == ("PREPARED_LOST", "w", False)
    assert error.lost == ((1, 3),)
    assert "partition" in error.message
    assert pickle.loads(pickle.dumps(error)).lost == ((1, 3),)
    # The others are there, and the write stays as it is.
    assert database.count("t") == 3
    status = write.find_status()
    assert (status.state, status.lost) == ("prepared_lost", ((1, 3),))
    with pytest.raises(pgflight.PreparedLost):
        write.commit(receipts)
    assert write.abort().state == "prepared_lost"
    assert database.count("t") == 3


def test_a_decided_commit_is_finished(server: Server, database: Database) -> None:
    write, receipts = begun(server, database, "two_phase")
    decide(database)
    assert write.commit(receipts).row_count == 6
    assert database.count("t") == 6


def test_a_commit_whose_answers_are_lost_is_in_doubt_and_can_be_repeated(
    server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "_LEAST_COMMIT_SECONDS", 1.0)
    write, receipts = begun(server, database, "staged")
    with losing_replies_to(b"CommitRequest", server) as url:
        endpoint = Endpoint.parse(url, retry_timeout=0)
        with pytest.raises(pgflight.Unavailable, match="not known whether write 'w'") as lost:
            DistributedWrite.of(endpoint, "w", BATCH.schema).commit(receipts)
    assert lost.value.retryable
    assert write.commit(receipts).row_count == 6
    assert database.count("t") == 6


@pytest.mark.parametrize("lock", ["table", "row"])
def test_a_decided_commit_that_a_lock_holds_up_is_not_told_as_failed(
    database: Database, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    monkeypatch.setattr(distributed, "_LEAST_COMMIT_SECONDS", 1.0)
    options = ("--lock-timeout", "200ms", "--reaper-interval", "1h")
    with Server(database.url, *options) as server:
        write, receipts = begun(server, database, "two_phase")
        decide(database)
        impatient = DistributedWrite.of(
            Endpoint.parse(server.url, retry_timeout=0), "w", BATCH.schema
        )
        with psycopg.connect(database.url) as other:
            whole = "LOCK TABLE pgflight.write IN ACCESS EXCLUSIVE MODE"
            other.execute(whole if lock == "table" else "SELECT FROM pgflight.write FOR UPDATE")
            with pytest.raises(pgflight.Unavailable) as raised:
                impatient.commit(receipts)
        assert raised.value.retryable
        assert "not known whether write 'w' was committed" in raised.value.message
        assert write.commit(receipts).row_count == 6
        assert database.count("t") == 6


def test_a_commit_without_receipts_needs_leave(server: Server, database: Database) -> None:
    write, _ = begun(server, database, "staged")
    with pytest.raises(pgflight.Conflict, match="names no receipts"):
        write.commit([])
    assert write.find_status().state == "open"
    assert write.commit([], allow_no_receipts=True).row_count == 0
    assert database.count("t") == 0


def test_the_write_of_a_stream_is_not_ended_by_others(server: Server, database: Database) -> None:
    says = "the server that receives it ends it"
    stream = "stream:00000000-0000-0000-0000-000000000000"
    write = DistributedWrite.of(Endpoint.parse(server.url), stream, BATCH.schema)
    with pytest.raises(pgflight.InvalidCommand, match=says):
        write.abort()
    with pytest.raises(pgflight.InvalidCommand, match=says):
        write.commit([])


def fields(**more: Any) -> Dict[str, Any]:
    return {"writeId": "w", "table": "public.t", "mode": "MODE_APPEND", **more}


def test_an_answer_that_says_committing_is_no_result() -> None:
    status = pgflight.WriteStatus.from_json(fields(state="WRITE_STATE_COMMITTING"))
    write = DistributedWrite.of(Endpoint.parse("grpc://host:1"), "w", BATCH.schema)
    with pytest.raises(pgflight.Unavailable, match="it is decided") as told:
        write._published(status)
    assert told.value.decided
    assert told.value.retryable
    assert pickle.loads(pickle.dumps(told.value)).decided
    write._say_what_is_known(told.value)
    assert "do not write them again" in told.value.message
    assert errors.from_text(f"pgflight.errors.Unavailable: {told.value}") is not None
