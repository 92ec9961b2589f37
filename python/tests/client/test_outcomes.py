"""The outcomes of a commit: its result, that it is decided, or what is lost."""

from __future__ import annotations

import pickle
from typing import Any, Dict, List, Tuple

import psycopg
import pyarrow as pa
import pytest
from conftest import Database, Server, losing_replies_to

import pgflight
from pgflight import WriteOptions, distributed, errors
from pgflight.distributed import DistributedWrite
from pgflight.flight.connection import Endpoint

BATCH = pa.record_batch({"id": pa.array([1, 2, 3], pa.int64())})


def begun(server: Server, database: Database, publish: str, parts: int = 2) -> Tuple[Any, List]:
    """Begins a write and sends all its partitions."""
    database.run("CREATE TABLE t (id int8)")
    write = DistributedWrite.begin(
        Endpoint.parse(server.url), "t", BATCH.schema, WriteOptions(publish=publish), "w"
    )
    return write, [write.attempt(part, "a", [BATCH]) for part in range(parts)]


def decide(database: Database) -> None:
    """Makes the state that a server leaves when it dies between the decision and the first COMMIT PREPARED."""
    database.run(
        "UPDATE pgflight.write SET state = 'committing', row_count = 6;"
        "UPDATE pgflight.attempt SET accepted = true"
    )


def end_by_hand(database: Database, partition: int) -> None:
    """Rolls back the prepared transaction of a partition in another session."""
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
    assert 'lost="3 rows of partition 1"' in str(error)
    assert pickle.loads(pickle.dumps(error)).lost == ((1, 3),)
    # The other rows are in the table, and the write stays as it is.
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


def test_a_commit_without_an_answer_can_be_repeated(
    server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "_MIN_COMMIT_SECONDS", 1.0)
    write, receipts = begun(server, database, "staged")
    with losing_replies_to(b"CommitRequest", server) as url:
        endpoint = Endpoint.parse(url, retry_timeout=0)
        with pytest.raises(pgflight.Unavailable, match="could not learn whether") as lost:
            DistributedWrite.of(endpoint, "w", BATCH.schema).commit(receipts)
    assert lost.value.retryable
    assert write.commit(receipts).row_count == 6
    assert database.count("t") == 6


@pytest.mark.parametrize("lock", ["table", "row"])
def test_a_decided_commit_behind_a_lock_is_not_a_failure(
    database: Database, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    monkeypatch.setattr(distributed, "_MIN_COMMIT_SECONDS", 1.0)
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
        assert raised.value.message.startswith("could not learn whether the write is committed: ")
        assert raised.value.write_id == "w"
        assert write.commit(receipts).row_count == 6
        assert database.count("t") == 6


def test_a_commit_without_receipts_must_be_allowed(server: Server, database: Database) -> None:
    write, _ = begun(server, database, "staged")
    with pytest.raises(pgflight.Conflict, match="names no receipts"):
        write.commit([])
    assert write.find_status().state == "open"
    assert write.commit([], allow_no_receipts=True).row_count == 0
    assert database.count("t") == 0


def test_clients_cannot_end_the_write_of_a_stream(server: Server, database: Database) -> None:
    says = "the server that receives"
    stream = "stream:00000000-0000-0000-0000-000000000000"
    write = DistributedWrite.of(Endpoint.parse(server.url), stream, BATCH.schema)
    with pytest.raises(pgflight.InvalidCommand, match=says):
        write.abort()
    with pytest.raises(pgflight.InvalidCommand, match=says):
        write.commit([])


def fields(**more: Any) -> Dict[str, Any]:
    return {"writeId": "w", "table": "public.t", "mode": "MODE_APPEND", **more}


def test_a_committing_answer_is_not_a_result() -> None:
    status = pgflight.WriteStatus.from_json(fields(state="WRITE_STATE_COMMITTING"))
    write = DistributedWrite.of(Endpoint.parse("grpc://host:1"), "w", BATCH.schema)
    with pytest.raises(pgflight.Unavailable, match="the commit is decided") as raised:
        write._published(status)
    assert raised.value.decided
    assert raised.value.retryable
    assert pickle.loads(pickle.dumps(raised.value)).decided
    hint = write._unfinished(raised.value).hint
    assert hint is not None
    assert "do not write the rows again" in hint
    assert errors.from_text(f"pgflight.errors.Unavailable: {raised.value}") is not None
