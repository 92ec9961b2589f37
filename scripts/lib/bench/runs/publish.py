"""Measures the cost of the promises: the ways to publish an append, and an upsert."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

import pgflight
from bench.compare import Bench, tell
from bench.rig.database import TARGET
from bench.rig.server import Server
from bench.rig.shapes import SHAPES
from bench.runs.scaling import expect, send_parts

_PARTITIONS = (1, 2, 4)
#: Mode, and way to publish. The others are compared with direct, which promises nothing.
_WAYS: dict[str, dict[str, str]] = {
    "direct": {"mode": "append", "publish": "direct"},
    "two_phase": {"mode": "append", "publish": "two_phase"},
    "staged": {"mode": "append", "publish": "staged"},
    "create": {"mode": "create"},
}
_KEYED_ROWS = 1_000_000


def publish(
    bench: Bench, shape_name: str, scale: float, rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Measures every way for every number of partitions, in turns; then the upsert."""
    return {
        "Appending, by way to publish": _appends(bench, shape_name, scale, rounds),
        "Upsert": _upserts(bench, scale, rounds),
    }


def _appends(bench: Bench, shape_name: str, scale: float, rounds: int) -> list[dict[str, Any]]:
    shape = SHAPES[shape_name]
    files = bench.files(shape, scale)
    table = files.table()
    taken: dict[tuple[int, str], list[float]] = {}
    with bench.server() as server:
        for number in range(rounds):
            for count in _PARTITIONS:
                for name, spec in _WAYS.items():
                    bench.database.new_target(shape, there=spec["mode"] == "append")
                    seconds = _write(server, table, count, **spec)
                    expect(bench, shape, bench.database.expected(shape, files.row_count))
                    taken.setdefault((count, name), []).append(seconds)
            tell(f"  round {number + 1} of {rounds}")
    rows = []
    for (count, name), rounds_taken in taken.items():
        row = {"partitions": count, "way": name, "seconds": median(rounds_taken)}
        rows.append({**row, "× direct": median(rounds_taken) / median(taken[count, "direct"])})
    return rows


def _upserts(bench: Bench, scale: float, rounds: int) -> list[dict[str, Any]]:
    """Returns as many rows as the table has, half of them with existing keys."""
    size = int(_KEYED_ROWS * scale)
    keys = np.random.default_rng(7).permutation(size) + size // 2
    table = pa.table({"id": keys, "value": keys * 2.0, "name": [f"row {n}" for n in keys]})
    taken: dict[str, list[float]] = {}
    with bench.server() as server:
        for _ in range(rounds):
            for name in ("append", "upsert"):
                database = bench.database
                database.run(f"DROP TABLE IF EXISTS {TARGET}")
                database.run(
                    f"CREATE TABLE {TARGET} (id bigint PRIMARY KEY, value float8, name text)"
                )
                if name == "upsert":
                    database.run(
                        f"INSERT INTO {TARGET} SELECT n, -1, 'old' FROM generate_series(0, {size} - 1) n"
                    )
                    spec = {"mode": "upsert", "keys": ["id"]}
                else:
                    spec = {"mode": "append", "publish": "staged"}
                database.run("CHECKPOINT")
                taken.setdefault(name, []).append(_write(server, table, 2, **spec))
                _expect_keyed(bench, name, size)
    return [
        {
            "rows": size,
            "way": {
                "append": "append to an empty table with a primary key, staged",
                "upsert": "upsert onto as many rows, half of the keys there",
            }[name],
            "seconds": median(seconds),
            "rows/s": size / median(seconds),
        }
        for name, seconds in taken.items()
    ]


def _expect_keyed(bench: Bench, name: str, size: int) -> None:
    """Checks that every key is there once, and that rows whose keys did not come are unchanged."""
    old = size // 2 if name == "upsert" else 0
    right = f"id >= {size // 2} AND value = id * 2 AND name = 'row ' || id"
    untouched = f"id < {size // 2} AND value = -1 AND name = 'old'"
    found = bench.database.row(
        f"SELECT count(*) FILTER (WHERE {right}), count(*) FILTER (WHERE {untouched}), count(*) FROM {TARGET}"
    )
    if found != (size, old, size + old):
        raise RuntimeError(f"{name}: the table has {found}")


def _write(server: Server, table: pa.Table, count: int, **spec: Any) -> float:
    """Returns the seconds from begin to the end of the commit, with a thread for each partition."""
    started = time.perf_counter()
    with pgflight.connect(server.url) as client:
        write = client.begin(TARGET, table.schema, **spec)
        write.commit(send_parts(write, table, count))
    return time.perf_counter() - started
