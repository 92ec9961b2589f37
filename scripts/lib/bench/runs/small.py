"""Measures writes of a few rows, in turns with the same rows written by psycopg on an open connection."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Callable, Iterator

import psycopg
import pyarrow as pa

import pgflight
from bench.compare import Bench, tell
from bench.rig.server import Server

_TABLE = "bench_small"
_COLUMNS = "id, at, note"
#: Numbers of concurrent clients, beside the single one of the ratios.
_CLIENTS = (8, 32)
#: These writes use `synchronous_commit = on`, PostgreSQL's default.
_WRITES = 2_000
_PARTITIONS = 4

#: Writes a few rows on an open connection.
Write = Callable[[], object]
#: Opens a connection to this URL, to write these rows.
Way = Callable[[str, pa.Table], contextlib.AbstractContextManager[Write]]


@dataclass(frozen=True)
class Case:
    """One kind of write, by pgflight and by hand."""

    name: str
    row_count: int
    #: The largest acceptable ratio of the medians.
    goal: float | None
    by_pgflight: Way
    by_hand: Way
    has_key: bool = False


def small(bench: Bench, baseline: Path | None, scale: float) -> dict[str, list[dict[str, Any]]]:
    """Times each case with one client, in turns, and pgflight's alone with several at once."""
    count = max(int(_WRITES * scale), 50)
    with contextlib.ExitStack() as stack:
        servers = {"pgflight": stack.enter_context(bench.server("--max-copies", "32"))}
        if baseline:
            old = bench.server("--max-copies", "32", binary=baseline)
            servers["baseline"] = stack.enter_context(old)
        alone = [_alone(bench, servers, case, count) for case in CASES]
        crowd = [_crowd(bench, servers["pgflight"], clients, count) for clients in _CLIENTS]
    return {
        f"One client, {count:,} writes of each way in turns": alone,
        "Several clients, appends of 100 rows": crowd,
    }


def _alone(bench: Bench, servers: dict[str, Server], case: Case, count: int) -> dict[str, Any]:
    _new_table(bench, case.has_key)
    rows = _rows(case.row_count)
    taken: dict[str, list[float]] = {"psycopg": [], **{name: [] for name in servers}}
    with contextlib.ExitStack() as stack:
        ways = {"psycopg": stack.enter_context(case.by_hand(bench.database.url, rows))}
        for name, server in servers.items():
            ways[name] = stack.enter_context(case.by_pgflight(server.url, rows))
        names = list(ways)
        for number in range(-20, count):
            # The order of the ways changes.
            first = number % len(names)
            for name in names[first:] + names[:first]:
                started = time.perf_counter()
                ways[name]()
                if number >= 0:
                    taken[name].append(time.perf_counter() - started)
    _expect(bench, case, len(names) * (count + 20))
    middle = {name: median(times) for name, times in taken.items()}
    row: dict[str, Any] = {"write": case.name}
    for name, times in taken.items():
        row[f"{name} p50 ms"] = middle[name] * 1e3
        row[f"{name} p99 ms"] = quantiles(times, n=100)[98] * 1e3
    for name in servers:
        row[f"{name} × psycopg"] = middle[name] / middle["psycopg"]
    row["goal"] = case.goal
    tell(f"  {case.name}: {middle['pgflight'] / middle['psycopg']:.2f} x psycopg")
    return row


def _crowd(bench: Bench, server: Server, clients: int, count: int) -> dict[str, Any]:
    _new_table(bench, False)
    row: dict[str, Any] = {"clients": clients}
    for name, way, url in (
        ("psycopg", _psycopg_append, bench.database.url),
        ("pgflight", _pgflight_append, server.url),
    ):
        taken, seconds = _at_once(way, url, clients, count)
        row[f"{name} p50 ms"] = median(taken) * 1e3
        row[f"{name} p99 ms"] = quantiles(taken, n=100)[98] * 1e3
        row[f"{name} writes/s"] = len(taken) / seconds
    tell(f"  {clients} clients: {row['pgflight p50 ms']:.1f} ms")
    return row


def _at_once(way: Way, url: str, clients: int, count: int) -> tuple[list[float], float]:
    """Returns the seconds of each write by several concurrent clients, and of all together."""
    rows = _rows(100)
    taken: list[float] = []
    ready = threading.Barrier(clients + 1)

    def work() -> None:
        with way(url, rows) as write:
            write()
            ready.wait()
            for _ in range(count // clients):
                started = time.perf_counter()
                write()
                taken.append(time.perf_counter() - started)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    return taken, time.perf_counter() - started


def _rows(count: int) -> pa.Table:
    return pa.table(
        {
            "id": pa.array(range(count), pa.int64()),
            "at": pa.array([1_700_000_000_000_000 + n for n in range(count)], pa.timestamp("us")),
            "note": pa.array([f"note number {n}" for n in range(count)], pa.string()),
        }
    )


def _new_table(bench: Bench, has_key: bool) -> None:
    key = " PRIMARY KEY" if has_key else ""
    bench.database.run(f"DROP TABLE IF EXISTS {_TABLE}")
    bench.database.run(f"CREATE TABLE {_TABLE} (id bigint{key}, at timestamp, note text)")
    bench.database.run("CHECKPOINT")


def _expect(bench: Bench, case: Case, writes: int) -> None:
    landed = bench.database.row(f"SELECT count(*) FROM {_TABLE}")[0]
    expected = case.row_count * (1 if case.has_key else writes)
    if landed != expected:
        raise RuntimeError(f"{case.name}: {landed} rows are in the table instead of {expected}")


# ── pgflight ─────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _pgflight_append(url: str, rows: pa.Table) -> Iterator[Write]:
    with pgflight.connect(url) as client:
        yield lambda: client.write(rows, _TABLE)


@contextlib.contextmanager
def _pgflight_upsert(url: str, rows: pa.Table) -> Iterator[Write]:
    with pgflight.connect(url) as client:
        yield lambda: client.write(rows, _TABLE, "upsert", keys=["id"])


@contextlib.contextmanager
def _pgflight_partitions(url: str, rows: pa.Table) -> Iterator[Write]:
    share = rows.num_rows // _PARTITIONS
    parts = [rows.slice(part * share, share).to_batches() for part in range(_PARTITIONS)]
    # All partitions at once, as an engine's tasks write them.
    with pgflight.connect(url) as client, ThreadPoolExecutor(_PARTITIONS) as tasks:

        def write() -> None:
            begun = client.begin(_TABLE, rows.schema)
            receipts = tasks.map(begun.attempt, range(_PARTITIONS), [""] * _PARTITIONS, parts)
            begun.commit(list(receipts))

        yield write


# ── by hand ──────────────────────────────────────────────────────────────────


def _copy(cursor: psycopg.Cursor, table: str, rows: list[tuple]) -> None:
    with cursor.copy(f"COPY {table} ({_COLUMNS}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _tuples(rows: pa.Table) -> list[tuple]:
    return [tuple(row.values()) for row in rows.to_pylist()]


@contextlib.contextmanager
def _psycopg_append(url: str, rows: pa.Table) -> Iterator[Write]:
    tuples = _tuples(rows)
    with psycopg.connect(url) as connection:

        def write() -> None:
            with connection.cursor() as cursor:
                _copy(cursor, _TABLE, tuples)
            connection.commit()

        yield write


@contextlib.contextmanager
def _psycopg_upsert(url: str, rows: pa.Table) -> Iterator[Write]:
    tuples = _tuples(rows)
    stage = f"CREATE TEMPORARY TABLE stage (LIKE {_TABLE}) ON COMMIT DROP"
    merge = (
        f"INSERT INTO {_TABLE} ({_COLUMNS}) SELECT {_COLUMNS} FROM stage "
        "ON CONFLICT (id) DO UPDATE SET at = EXCLUDED.at, note = EXCLUDED.note"
    )
    with psycopg.connect(url) as connection:

        def write() -> None:
            with connection.cursor() as cursor:
                cursor.execute(stage)
                _copy(cursor, "stage", tuples)
                cursor.execute(merge)
            connection.commit()

        yield write


CASES = [
    Case("append of 100 rows", 100, 2.0, _pgflight_append, _psycopg_append),
    Case("append of 1,000 rows", 1_000, 2.0, _pgflight_append, _psycopg_append),
    Case("1,000 rows in four partitions", 1_000, 8.0, _pgflight_partitions, _psycopg_append),
    Case("upsert of 1,000 rows", 1_000, 1.5, _pgflight_upsert, _psycopg_upsert, has_key=True),
]
