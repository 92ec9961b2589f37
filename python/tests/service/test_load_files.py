"""`pgflight load` with the files that pandas and pyarrow write, and CSV beside PostgreSQL's COPY."""

from __future__ import annotations

import datetime
import random
import subprocess
from pathlib import Path
from typing import Any, List

import csv_check
import pandas
import psycopg
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from conftest import Database, Server, binary

TIMES = [datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59), None]


def load(server: Server, *arguments: Any) -> str:
    """Loads files into table `t`; returns what it reports, with the error if there is one."""
    command = [binary(), "load", "--server", server.url, "--to", "t", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in [0, 1, 64]
    return done.stdout + done.stderr


@pytest.mark.parametrize("compression", ["snappy", "gzip", "brotli", "zstd", "lz4", None])
def test_parquet_of_pandas_is_loaded(
    database: Database, server: Server, tmp_path: Path, compression: Any
) -> None:
    frame = pandas.DataFrame(
        {
            "id": [1, 2],
            "a": ["x", None],
            "day": [datetime.date(2026, 1, 1)] * 2,
            "at": pandas.to_datetime(["2026-01-01 10:30", None], utc=True),
            "kind": pandas.Categorical(["b", "a"]),
        },
        index=pandas.Index([7, 8], name="number"),
    )
    frame.to_parquet(tmp_path / "x.parquet", compression=compression)
    database.run(
        "CREATE TABLE t (number int8, id int8, a text, day date, at timestamptz, kind text)"
    )
    assert "loaded 2 rows" in load(server, tmp_path / "x.parquet")
    rows = "SELECT number, id, a, day::text, extract(epoch FROM at)::int8, kind FROM t ORDER BY id"
    assert database.rows(rows) == [
        (7, 1, "x", "2026-01-01", 1767263400, "b"),
        (8, 2, None, "2026-01-01", None, "a"),
    ]


@pytest.mark.parametrize("store_schema", [False, True])
def test_int96_of_pyarrow_covers_all_years(
    database: Database, server: Server, tmp_path: Path, store_schema: bool
) -> None:
    lists: List[Any] = [[TIMES[0]], TIMES[1:], None]
    table = pa.table(
        {
            "at": pa.array(TIMES, pa.timestamp("us")),
            "list": pa.array(lists, pa.list_(pa.timestamp("us"))),
        }
    )
    pq.write_table(
        table,
        tmp_path / "x.parquet",
        use_deprecated_int96_timestamps=True,
        store_schema=store_schema,
    )
    database.run("CREATE TABLE t (at timestamp, list timestamp[])")
    assert "loaded 3 rows" in load(server, tmp_path / "x.parquet")
    assert database.rows("SELECT at::text, list::text FROM t") == [
        ("0001-01-01 00:00:00", '{"0001-01-01 00:00:00"}'),
        ("9999-12-31 23:59:59", '{"9999-12-31 23:59:59",NULL}'),
        (None, None),
    ]


def test_a_folder_of_pyarrow_has_its_partitions_as_columns(
    database: Database, server: Server, tmp_path: Path
) -> None:
    days = [datetime.date(2026, 1, 1), datetime.date(2026, 1, 2), None]
    table = pa.table({"id": [1, 2, 3], "day": days, "kind": ["a b", "ä/b", "c"]})
    pq.write_to_dataset(table, tmp_path / "x", partition_cols=["day", "kind"])
    database.run("CREATE TABLE t (id int8, day date, kind text)")
    assert "loaded 3 rows" in load(server, tmp_path / "x")
    assert database.rows("SELECT id, day::text, kind FROM t ORDER BY id") == [
        (1, "2026-01-01", "a b"),
        (2, "2026-01-02", "ä/b"),
        (3, None, "c"),
    ]


def test_feather_and_streams_of_pyarrow_are_loaded(
    database: Database, server: Server, tmp_path: Path
) -> None:
    table = pa.table({"id": [1], "a": ["x"]}).replace_schema_metadata({"key": "value"})
    pyarrow.feather.write_feather(table, tmp_path / "x.feather")
    with pa.ipc.new_stream(tmp_path / "x.arrows", table.schema) as writer:
        writer.write_table(table)
    database.run("CREATE TABLE t (id int8, a text)")
    assert "loaded 2 rows of 2 files" in load(server, tmp_path)


def test_row_names_of_pandas_are_named_or_left_out(
    database: Database, server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "x.csv"
    pandas.DataFrame({"id": [1, 2], "a": ["x", "y"]}).to_csv(file)
    database.run("CREATE TABLE t (number int, id int, a text)")
    report = load(server, file)
    assert "line 1: column 1 has no name" in report
    assert "--name-unnamed NAME, or leave it out with --drop-unnamed" in report
    assert "loaded 2 rows" in load(server, "--name-unnamed", "number", file)
    assert "loaded 2 rows" in load(server, "--drop-unnamed", file)
    rows = "SELECT number, id, a FROM t ORDER BY id, number"
    assert database.rows(rows) == [
        (0, 1, "x"), (None, 1, "x"), (1, 2, "y"), (None, 2, "y"),
    ]  # fmt: skip


def test_any_csv_is_read_as_copy_reads_it(
    database: Database, server: Server, tmp_path: Path
) -> None:
    """A small run of `scripts/lib/csv_check.py`, whose files are made of the characters that matter."""
    dice = random.Random(20260101)
    pieces = [",", ",", ",", "\n", "\n", '"', '"', '""', "\r\n", "\r", "\\", "x", " ", "é", "NULL"]
    weights = [9, 9, 9, 9, 9, 4, 4, 4, 1, 1, 2, 9, 2, 2, 1]
    outcomes: List[str] = []
    with psycopg.connect(database.url, autocommit=True) as connection:
        for number in range(80):
            file = tmp_path / f"{number}.csv"
            rows = "".join(dice.choices(pieces, weights, k=dice.randrange(12)))
            file.write_bytes(f"a,b\n1,2\n{rows}".encode())
            outcome = csv_check.check(connection, binary(), server.url, file)
            assert outcome == "equal" or outcome.startswith("refused by both"), (rows, outcome)
            outcomes.append(outcome)
    equal = outcomes.count("equal")
    assert 10 <= equal <= 70, f"{equal} of 80 are valid: the others test little"
