"""Rows that cannot be written, kept apart by the options of a write."""

from __future__ import annotations

import pyarrow as pa
import pytest
from conftest import Database

import pgflight
from pgflight.result import RejectReason

KINDS = ["range", "nul"]
ROWS = pa.table(
    {"id": [1, 2, 3, 4], "n": [1, 1 << 40, 3, 4], "s": ["a", "b", "c\0", "d"]},
)


@pytest.fixture
def table(database: Database) -> str:
    database.run("CREATE TABLE public.t (id int PRIMARY KEY, n int, s text)")
    return "public.t"


def test_bad_rows_do_not_stop_the_good_ones(
    client: pgflight.Client, database: Database, table: str
) -> None:
    result = client.write(ROWS, table, on_error="reject", reject_kinds=KINDS, reject_limit=2)
    assert (result.row_count, result.rejected_count) == (2, 2)
    assert result.reject_reasons == (
        RejectReason("nul", "s", "", 1),
        RejectReason("range", "n", "", 1),
    )
    assert database.rows("SELECT id FROM public.t ORDER BY id") == [(1,), (4,)]
    rejects = (
        "SELECT row_number, kind, keys->>'id' FROM pgflight.reject WHERE write_id = '{}' ORDER BY 1"
    )
    assert database.rows(rejects.format(result.write_id)) == [(1, "range", "2"), (2, "nul", "3")]


def test_rows_that_postgresql_rejects_do_not_stop_the_others(
    client: pgflight.Client, database: Database, table: str
) -> None:
    database.run("ALTER TABLE public.t ADD CONSTRAINT small CHECK (n < 4)")
    twice = pa.table({"id": [1, 1, 4], "n": [1, 2, 4], "s": ["a", "b", "c"]})
    result = client.write(twice, table, on_error="reject")
    assert (result.row_count, result.rejected_count) == (1, 2)
    assert [(reason.kind, reason.constraint) for reason in result.reject_reasons] == [
        ("check", "small"),
        ("unique", "t_pkey"),
    ]
    assert database.rows("SELECT id, n FROM public.t") == [(1, 1)]


def test_a_write_beyond_its_limit_writes_nothing(
    client: pgflight.Client, database: Database, table: str
) -> None:
    with pytest.raises(
        pgflight.DataRejected, match="reject_limit is 1: 1 nul in column"
    ) as refused:
        client.write(ROWS, table, on_error="reject", reject_kinds=KINDS, reject_limit=1)
    assert "raise reject_limit" in str(refused.value)
    assert database.rows("SELECT count(*) FROM public.t") == [(0,)]


def test_rejected_rows_are_read_back_and_sent_again(
    client: pgflight.Client, database: Database, table: str
) -> None:
    result = client.write(ROWS, table, on_error="reject", reject_kinds=KINDS, reject_values="row")
    assert result.write_id is not None
    found = client.rejects(result.write_id)
    columns = ["partition_id", "row_number", "kind", "column_name", "keys"]
    assert [tuple(row[name] for name in columns) for row in found.to_pylist()] == [
        (0, 1, "range", "n", '{"id": 2}'),
        (0, 2, "nul", "s", '{"id": 3}'),
    ]
    again = pa.concat_tables(pa.ipc.open_stream(row).read_all() for row in found["ipc"].to_pylist())
    assert again.to_pylist() == ROWS.slice(1, 2).to_pylist()
    corrected = again.set_column(1, "n", pa.array([2, 3])).set_column(2, "s", pa.array(["b", "c"]))
    assert client.write(corrected, table).row_count == 2
    assert database.rows("SELECT count(*) FROM public.t") == [(4,)]
    with pytest.raises(pgflight.NotFound):
        client.rejects("never begun")


def test_many_rejected_rows_are_read_in_order(client: pgflight.Client, table: str) -> None:
    rows = pa.table({"id": list(range(300)), "n": [1 << 40] * 300})
    write = client.begin(table, rows.schema, on_error="reject", reject_kinds=KINDS)
    receipts = [write.attempt(n, "a", rows.slice(n * 150, 150).to_batches()) for n in (0, 1)]
    with pytest.raises(pgflight.Conflict, match="is not committed"):
        client.rejects(write.write_id)
    write.commit(receipts)
    found = client.rejects(write.write_id).to_pylist()
    places = [(row["partition_id"], row["row_number"]) for row in found]
    assert places == [(n, row) for n in (0, 1) for row in range(150)]


def test_partitions_reject_together(
    client: pgflight.Client, database: Database, table: str
) -> None:
    write = client.begin(
        table, ROWS.schema, on_error="reject", reject_kinds=KINDS, reject_percent=50
    )
    receipts = [
        write.attempt(number, "a", ROWS.slice(2 * number, 2).to_batches()) for number in (0, 1)
    ]
    assert [receipt["rejectedCount"] for receipt in receipts] == ["1", "1"]
    assert write.find_status().rejected_count == 2
    status = write.commit(receipts)
    assert (status.row_count, status.rejected_count) == (2, 2)
    assert [reason.kind for reason in status.reject_reasons] == ["nul", "range"]
    assert status.result(0.0).rejected_count == 2


def test_kinds_that_are_not_served_are_refused_by_name(client: pgflight.Client, table: str) -> None:
    with pytest.raises(pgflight.Unsupported, match="rows of kind policy cannot be rejected"):
        client.write(ROWS, table, on_error="reject", reject_kinds=["policy"])
