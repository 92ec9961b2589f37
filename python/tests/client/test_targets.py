"""A server with several databases, and the target that each call names."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest
from conftest import Database, Server

import pgflight
from pgflight import WriteOptions
from pgflight.distributed import DistributedWrite
from pgflight.flight.connection import Endpoint

ROWS = pa.table({"n": [1, 2]})


@pytest.fixture(autouse=True)
def tables(database: Database, other: Database) -> None:
    database.run("CREATE TABLE t (n int8)")
    other.run("CREATE TABLE t (n int8, only_here int8); CREATE TABLE s (n int8)")


def test_a_write_goes_to_its_target_or_the_default(
    targets: Server, database: Database, other: Database
) -> None:
    with pgflight.connect(targets.url) as client:
        client.write(ROWS, "t")
        client.write(ROWS, "public.t", target="other")
        client.write(ROWS, "t", target="other")
        with pytest.raises(pgflight.NotFound, match="first, other"):
            client.write(ROWS, "t", target="third")
        assert client.plan(ROWS.schema, "s", target="other")
    assert (database.count("t"), other.count("t")) == (2, 4)


def test_tables_are_those_of_the_target(targets: Server) -> None:
    with pgflight.connect(targets.url) as client:
        assert client.tables(target="other") == ("public.s", "public.t")
        assert client.tables() == ("public.t", "public.s", "public.t")
        assert client.table_schema("t", target="other").names == ["n", "only_here"]
        assert client.table_schema("public.t", target="first").names == ["n"]
        assert client.table_schema("t").names == ["n"]


def test_every_call_of_a_distributed_write_names_its_target(
    targets: Server, other: Database
) -> None:
    endpoint = Endpoint.parse(targets.url)
    options = WriteOptions(target="other")
    write = DistributedWrite.begin(endpoint, "t", ROWS.schema, options, "w")
    task = pickle.loads(pickle.dumps(write))
    receipt = task.attempt(0, "a", ROWS.to_batches())
    assert write.commit([receipt]).row_count == 2
    assert other.count("t") == 2
    again = DistributedWrite.of(endpoint, "w", ROWS.schema, "other")
    assert again.abort("too late").state == "committed"
    with pgflight.connect(targets.url) as client:
        assert client.status("w", target="other").state == "committed"
        assert client.abort("w", target="other").state == "committed"
        with pytest.raises(pgflight.NotFound):
            client.status("w")
