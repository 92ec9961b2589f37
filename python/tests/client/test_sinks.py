"""Sinks of streaming queries and repeated write ids, without Spark."""

from __future__ import annotations

import warnings
from typing import Any, Optional

import pyarrow as pa
import pytest
from conftest import Database, Server

import pgflight
from pgflight.distributed import DistributedWrite
from pgflight.flight.connection import Endpoint
from pgflight.spark import streaming
from pgflight.spark.streaming import sink_batch

BATCH = pa.record_batch({"id": pa.array([1, 2, 3], pa.int64())})


@pytest.fixture(autouse=True)
def table(database: Database) -> None:
    database.run("CREATE TABLE t (id int8)")


def begin(server: Server, query: Optional[str], batch: int, resume: bool = False) -> Any:
    sink = sink_batch("trips", query, batch, resume)
    return DistributedWrite.begin(Endpoint.parse(server.url), "t", BATCH.schema, sink=sink)


def put(server: Server, query: Optional[str], batch: int, resume: bool = False) -> Any:
    """Writes a batch, unless it is already written."""
    write = begin(server, query, batch, resume)
    if write.is_committed:
        return write.status
    return write.commit([write.attempt(0, "a", [BATCH])])


def test_a_batch_is_written_once(server: Server, database: Database) -> None:
    assert put(server, "q", 0).row_count == 3
    assert put(server, "q", 0).is_repeated
    assert put(server, "q", 1).row_count == 3
    assert database.count("t") == 6


def test_a_batch_of_another_query_is_rejected(server: Server, database: Database) -> None:
    put(server, "q", 0)
    put(server, "q", 1)
    with pytest.raises(pgflight.Conflict, match="set resume to let this query"):
        put(server, "another", 0)
    assert database.count("t") == 6
    # The first query still writes.
    assert put(server, "q", 2).row_count == 3


def test_resume_adopts_a_query(server: Server, database: Database) -> None:
    put(server, "q", 0)
    assert put(server, "another", 0, resume=True).row_count == 3
    # A second time it changes nothing.
    assert put(server, "another", 0, resume=True).is_repeated
    assert put(server, "another", 1).row_count == 3
    assert database.count("t") == 9
    with pytest.raises(pgflight.Conflict):
        put(server, "q", 1)


def test_a_batch_that_was_aborted_is_written_under_its_next_name(
    server: Server, database: Database
) -> None:
    first = begin(server, "q", 0)
    first.abort()
    second = begin(server, "q", 0)
    assert second.write_id != first.write_id
    assert second.commit([second.attempt(0, "a", [BATCH])]).row_count == 3
    assert database.count("t") == 3


def test_batches_of_an_unknown_query_differ_by_number(
    server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_warned", set())
    with pytest.warns(pgflight.PgFlightWarning, match="does not say which query") as warned:  # noqa: PT031
        put(server, None, 0)
        put(server, "", 1)
        put(server, None, 1)
    # One warning for all batches.
    assert len(warned) == 1
    assert database.count("t") == 6


def test_an_unknown_query_adopts_nothing() -> None:
    with pytest.raises(pgflight.InvalidCommand, match="needs the id of the query"):
        sink_batch("trips", None, 0, True)


def test_a_repeated_write_id_says_when_it_was_committed(server: Server, database: Database) -> None:
    with pgflight.connect(server.url) as client:
        first = client.begin("t", BATCH.schema, write_id="w")
        assert not first.status.is_repeated
        # An open write that is continued is no repetition.
        again = client.begin("t", BATCH.schema, write_id="w")
        assert (again.status.existed, again.status.is_repeated) == (True, False)
        first.commit([first.attempt(0, "a", [BATCH])])
        repeated = client.begin("t", BATCH.schema, write_id="w")
        assert repeated.status.is_repeated
        at = repeated.status.finished_at
        assert repeated.status.result(0.0).already_committed_at == at
        assert repeated.status.repeated_line == (
            f"write 'w' was already committed at {at}; nothing was written"
        )
        utc = "to_char(finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS')"
        assert at.startswith(database.value(f"SELECT {utc} FROM pgflight.write"))
        other = pa.schema([("id", pa.int32())])
        for schema, mode in ((other, "append"), (BATCH.schema, "overwrite")):
            with pytest.raises(pgflight.AlreadyExists):
                client.begin("t", schema, mode, write_id="w")


def test_a_table_left_alone_is_no_repetition(server: Server) -> None:
    with pgflight.connect(server.url) as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        write = client.begin("t", BATCH.schema, "create", if_exists="ignore")
    assert write.is_committed
    assert write.status.result(0.0).already_committed_at is None
