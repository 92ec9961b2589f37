"""Slices of every layout that pyarrow has, as pyarrow itself sends them: padded, offset, compressed."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any, Dict, List, Optional, Tuple

import polars as pl
import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.ipc
import pytest
from conftest import Database, Server

import pgflight

ROWS = 77


def columns() -> Dict[str, pa.Array]:
    """One column of each layout, with NULLs and without."""
    numbers = range(ROWS)
    words = ["", "a", "word", "a word that is too long to be within a view", "ç日"]
    day = datetime.date(2020, 1, 1)

    def some(make: Any) -> List[Any]:
        return [None if i % 5 == 3 else make(i) for i in numbers]

    made: Dict[str, pa.Array] = {
        f"fixed{size}{kind}": pa.array(values, pa.binary(size))
        for size in (1, 2, 3, 5, 6, 7, 8, 9, 12, 16, 33)
        for kind, values in (
            ("", [bytes([i]) * size for i in numbers]),
            ("_null", some(lambda i, size=size: bytes([i]) * size)),
        )
    }
    fixed = pa.array(some(lambda i: bytes([i] * 3)), pa.binary(3))
    pairs = pa.FixedSizeListArray.from_arrays(
        pa.array([bytes([i % 251] * 5) for i in range(2 * ROWS)], pa.binary(5)), 2
    )
    made.update(
        bool=pa.array(some(lambda i: i % 3 == 0)),
        int8=pa.array(some(lambda i: i), pa.int8()),
        int16=pa.array(some(lambda i: i), pa.int16()),
        int64=pa.array(list(numbers)),
        half=pa.array(some(float), pa.float16()),
        single=pa.array(some(float), pa.float32()),
        decimal32=pa.array(some(lambda i: Decimal(i) / 4), pa.decimal32(9, 2)),
        decimal64=pa.array(some(lambda i: Decimal(i) / 4), pa.decimal64(18, 2)),
        decimal128=pa.array(some(lambda i: Decimal(i) / 4), pa.decimal128(38, 2)),
        decimal256=pa.array(some(lambda i: Decimal(i) / 4), pa.decimal256(76, 2)),
        date=pa.array(some(lambda i: day + datetime.timedelta(i))),
        interval=pa.array(some(lambda i: (i, i, i * 1000)), pa.month_day_nano_interval()),
        text=pa.array(some(lambda i: words[i % 5])),
        large_text=pa.array(some(lambda i: words[i % 5]), pa.large_string()),
        view=pa.array(some(lambda i: words[i % 5]), pa.string_view()),
        binary=pa.array(some(lambda i: words[i % 5].encode())),
        words=pa.array(some(lambda i: words[i % 5])).dictionary_encode(),
        empty=pa.nulls(ROWS),
        lists=pa.array(some(lambda i: [i] * (i % 4)), pa.list_(pa.int16())),
        flags=pa.array(some(lambda i: [True, None] * (i % 3)), pa.large_list(pa.bool_())),
        blobs=pa.array(some(lambda i: [bytes([i] * 3)] * (i % 4)), pa.list_(pa.binary(3))),
        pairs=pairs,
        struct=pa.StructArray.from_arrays(
            [fixed, pa.array(some(lambda i: i % 2 == 0))], names=["f", "b"]
        ),
        map=pa.array(some(lambda i: [("k", i)]), pa.map_(pa.string(), pa.int16())),
    )
    return made


SLICES: List[Tuple[int, int]] = [
    (0, ROWS),
    (0, 20),
    (1, 20),
    (7, 13),
    (8, 64),
    (ROWS - 1, 1),
    (3, 0),
]


def landed(database: Database, table: str) -> List[Any]:
    return database.rows(f"SELECT {table}::text FROM {table} ORDER BY 1")


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_slices_of_every_layout_land_as_their_values(
    codec: Optional[str], server: Server, database: Database
) -> None:
    table = pa.table(columns())
    if codec is not None:
        table = table.drop(["view"])  # The server rejects views in compressed batches.
    for name in table.column_names:
        whole = table.select([name])
        for start, count in SLICES if codec is None else SLICES[1:4]:
            part = whole.slice(start, count)
            database.run("DROP TABLE IF EXISTS part, expected")
            # Each value in an array of its own.
            column = pa.array(part.column(0).to_pylist(), whole.schema.field(0).type)
            copied = pa.table({name: column})
            with pgflight.connect(server.url) as client:
                client.write(part, "public.part", mode="create")
                client.write(copied, "public.expected", mode="create")
            send(server, part, codec)
            expected = landed(database, "expected")
            both = sorted([*expected, *expected])
            assert sorted(landed(database, "part")) == both, (name, start, count)


def send(server: Server, table: pa.Table, codec: Optional[str]) -> None:
    """Sends a table by pyarrow's own Flight client, which does not cut batches."""
    options = flight.FlightCallOptions(write_options=pyarrow.ipc.IpcWriteOptions(compression=codec))
    descriptor = flight.FlightDescriptor.for_path("public", "part")
    with flight.connect(server.url) as connection:
        writer, _ = connection.do_put(descriptor, table.schema, options)
        writer.write_table(table)
        writer.close()


def test_two_million_values_of_six_bytes_land(client: pgflight.Client, database: Database) -> None:
    count = 2_000_001
    values = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(6), count, [None, pa.py_buffer(b"abcdef" * count)]
    )
    client.write(pa.table({"b": values}), "public.t", mode="create")
    assert database.count("t WHERE b = 'abcdef'") == count


def test_slices_by_polars_land(client: pgflight.Client, database: Database) -> None:
    frame = pl.DataFrame({"n": range(100), "s": ["word"] * 100, "b": [True, None] * 50})
    frame = frame.with_columns(pl.col("s").cast(pl.Categorical).alias("c"))
    client.write(frame.slice(3, 20), "public.t", mode="create")
    assert database.rows("SELECT count(*), min(n), max(n), min(c) FROM t") == [(20, 3, 22, "word")]
