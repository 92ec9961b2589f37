"""Measures the writes that change a table, in turns with the same writes by hand, and what readers see meanwhile."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass
from statistics import median
from typing import Any, Callable, Iterator

import psycopg
import pyarrow as pa

import pgflight
from bench.compare import Bench, tell

_ROWS = 1_000_000
_DAYS = 3
_DAY = "2026-01-02"
_COLUMNS = "id, day, v, note"
#: The rows of a table before each write, and of the data.
_BASE, _DATA = "bench_base", "bench_data"
_TABLE = "bench_changes"
_KEYS, _BATCHES = 100_000, 50
#: The largest acceptable ratio to the best way by hand.
_GOAL = 1.1

#: Writes the data once: with a client, an open connection, and the rows as PostgreSQL's binary COPY has them.
Write = Callable[[pgflight.Client, psycopg.Connection, pa.Table, bytes], object]


@dataclass(frozen=True)
class Case:
    """One kind of write: the SQL of its rows, and the ways to write them."""

    name: str
    #: Makes the rows of the table before, and of the data; `%(rows)s` is their number.
    base: str
    data: str
    index: str
    by_hand: dict[str, Write]
    by_pgflight: dict[str, Write]
    #: The number of rows afterwards.
    rows: Callable[[int], int]


def changes(bench: Bench, scale: float, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Times each case in turns, then reads while a day is replaced, and applies a stream of changes."""
    rows = max(int(_ROWS * scale), 1000)
    with bench.server() as server, pgflight.connect(server.url) as client:
        timed = [row for case in CASES for row in _case(bench, client, case, rows, rounds)]
        read = [_read(bench, client, rows)]
        applied = [_apply(bench, client, rows, max(int(_KEYS * scale), 100))]
    return {
        f"{rows:,} rows, {rounds} rounds in turns": timed,
        "A day is replaced 20 times while a reader reads it": read,
        "Changes in shuffled batches, each sent twice, with a tombstone column": applied,
    }


def _case(
    bench: Bench, client: pgflight.Client, case: Case, rows: int, rounds: int
) -> Iterator[dict[str, Any]]:
    _make(bench, _BASE, case.base, rows)
    _make(bench, _DATA, case.data, rows)
    ways = {**case.by_hand, **case.by_pgflight}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    expected = None
    with psycopg.connect(bench.database.url) as connection:
        data, binary = _table(connection), _binary(connection)
        for number in range(rounds):
            names = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
            for name in names:
                bench.database.run(f"DROP TABLE IF EXISTS {_TABLE}")
                bench.database.run(f"CREATE TABLE {_TABLE} AS SELECT * FROM {_BASE}")
                bench.database.run(case.index)
                bench.database.run(f"VACUUM (ANALYZE) {_TABLE}")
                bench.database.run("CHECKPOINT")
                started = time.perf_counter()
                ways[name](client, connection, data, binary)
                taken[name].append(time.perf_counter() - started)
                found = bench.database.row(
                    f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {_TABLE} t"
                )
                expected = expected or found
                if found != expected or found[0] != case.rows(rows):
                    raise RuntimeError(f"{case.name} by {name}: {found} instead of {expected}")
    best = min(median(taken[name]) for name in case.by_hand)
    for name, times in taken.items():
        ratio = median(times) / best
        tell(f"  {case.name} by {name}: {ratio:.2f} x the best way by hand")
        yield {
            "write": case.name,
            "way": name,
            "seconds": median(times),
            "x best by hand": ratio,
            "goal": _GOAL if name in case.by_pgflight else "",
        }


def _make(bench: Bench, table: str, select: str, rows: int) -> None:
    bench.database.run(f"DROP TABLE IF EXISTS {table}")
    select = select.replace("%(rows)s", str(rows))
    bench.database.run(f"CREATE TABLE {table} (id bigint, day date, v bigint, note text)")
    bench.database.run(f"INSERT INTO {table} {select}")


def _table(connection: psycopg.Connection) -> pa.Table:
    names = _COLUMNS.split(", ")
    columns = list(zip(*connection.execute(f"SELECT {_COLUMNS} FROM {_DATA}")))
    types = (pa.int64(), pa.date32(), pa.int64(), pa.string())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types)]
    connection.commit()
    return pa.table(dict(zip(names, arrays)))


def _binary(connection: psycopg.Connection) -> bytes:
    query = f"COPY (SELECT {_COLUMNS} FROM {_DATA}) TO STDOUT (FORMAT binary)"
    with connection.cursor().copy(query) as copy:
        binary = b"".join(copy)
    connection.commit()
    return binary


def _read(bench: Bench, client: pgflight.Client, rows: int) -> dict[str, Any]:
    """Replaces a day while a reader checks that it sees one version of it, whole."""
    _make(bench, _TABLE, _DAYS_OF_ROWS, rows)
    bench.database.run(f"CREATE INDEX ON {_TABLE} (day)")
    over = threading.Event()
    waits: list[float] = []
    wrong: list[Any] = []

    def read() -> None:
        query = f"SELECT count(*), min(v), max(v) FROM {_TABLE} WHERE day = '{_DAY}'"
        with psycopg.connect(bench.database.url, autocommit=True) as connection:
            while not over.is_set():
                started = time.perf_counter()
                count, least, most = connection.execute(query).fetchone()
                waits.append(time.perf_counter() - started)
                if count != rows or least != most:
                    wrong.append((count, least, most))

    reader = threading.Thread(target=read)
    reader.start()
    ids = pa.array(range(rows), pa.int64())
    day = pa.array([_DAY] * rows).cast(pa.date32())
    try:
        for version in range(20):
            v = pa.array([version] * rows, pa.int64())
            data = pa.table({"id": ids, "day": day, "v": v, "note": v.cast(pa.string())})
            client.write(data, _TABLE, mode="overwrite", replace_where=f"day = '{_DAY}'")
    finally:
        over.set()
        reader.join()
    if wrong:
        raise RuntimeError(f"a reader saw a part of a day: {wrong[0]}")
    return {
        "reads": len(waits),
        "longest read s": max(waits),
        "median read s": median(waits),
    }


def _apply(bench: Bench, client: pgflight.Client, rows: int, keys: int) -> dict[str, Any]:
    """Applies shuffled changes in batches that come twice, and compares the table with one SQL statement."""
    randomly = random.Random(7)
    sequence = list(range(rows))
    randomly.shuffle(sequence)
    bench.database.run(f"DROP TABLE IF EXISTS {_TABLE}, {_DATA}")
    columns = "id bigint, seq bigint, v bigint, op text"
    bench.database.run(f"CREATE TABLE {_DATA} ({columns})")
    bench.database.run(
        f"CREATE TABLE {_TABLE} (id bigint PRIMARY KEY, seq bigint, v bigint, gone bool)"
    )
    ids = [number * 7919 % keys for number in range(rows)]
    ops = ["d" if randomly.random() < 0.2 else "u" for _ in range(rows)]
    data = pa.table(
        {
            "id": pa.array([ids[number] for number in sequence], pa.int64()),
            "seq": pa.array(sequence, pa.int64()),
            "v": pa.array([number * 3 for number in sequence], pa.int64()),
            "op": pa.array([ops[number] for number in sequence]),
        }
    )
    client.write(data, _DATA)
    rules: dict[str, Any] = {
        "keys": ["id"],
        "delete_when": {"op": ["d"]},
        "newer_by": "seq",
        "tombstone": "gone",
    }
    size = -(-rows // _BATCHES)
    batches = [data.slice(at, size) for at in range(0, rows, size)]
    order = [number for number in range(len(batches)) for _ in range(2)]
    randomly.shuffle(order)
    started = time.perf_counter()
    for number in order:
        client.write(batches[number], _TABLE, mode="upsert", **rules)
    seconds = time.perf_counter() - started
    newest = (
        f"SELECT id, seq, v FROM (SELECT DISTINCT ON (id) * FROM {_DATA} ORDER BY id, seq DESC) n"
        " WHERE op = 'u'"
    )
    found = f"SELECT id, seq, v FROM {_TABLE} WHERE NOT gone"
    different = bench.database.row(
        f"SELECT count(*) FROM (({newest} EXCEPT {found}) UNION ALL ({found} EXCEPT {newest})) d"
    )[0]
    if different:
        raise RuntimeError(f"{different} rows differ from the changes in order")
    return {"changes": rows, "keys": keys, "writes": len(order), "seconds": seconds}


# ── ways ─────────────────────────────────────────────────────────────────────


def _copy(connection: psycopg.Connection, table: str, binary: bytes) -> None:
    query = f"COPY {table} ({_COLUMNS}) FROM STDIN (FORMAT binary)"
    with connection.cursor().copy(query) as copy:
        for at in range(0, len(binary), 1 << 20):
            copy.write(binary[at : at + (1 << 20)])


def _by_stage(merge: str) -> Write:
    def write(
        _: pgflight.Client, connection: psycopg.Connection, __: pa.Table, binary: bytes
    ) -> None:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(f"CREATE TEMPORARY TABLE stage (LIKE {_TABLE}) ON COMMIT DROP")
            _copy(connection, "stage", binary)
            cursor.execute(merge)
        connection.commit()

    return write


def _delete_and_copy(
    _: pgflight.Client, connection: psycopg.Connection, __: pa.Table, binary: bytes
) -> None:
    connection.execute(f"DELETE FROM {_TABLE} WHERE day = '{_DAY}'")
    _copy(connection, _TABLE, binary)
    connection.commit()


def _by_pgflight(**options: Any) -> Write:
    return lambda client, _, data, __: client.write(data, _TABLE, **options)


_SET = "day = EXCLUDED.day, v = EXCLUDED.v, note = EXCLUDED.note"
_ON_CONFLICT = f"INSERT INTO {_TABLE} ({_COLUMNS}) SELECT {_COLUMNS} FROM stage ON CONFLICT (id) DO UPDATE SET {_SET}"
_MERGE = (
    f"MERGE INTO {_TABLE} t USING stage s ON t.id = s.id "
    "WHEN MATCHED THEN UPDATE SET day = s.day, v = s.v, note = s.note "
    f"WHEN NOT MATCHED THEN INSERT ({_COLUMNS}) VALUES (s.id, s.day, s.v, s.note)"
)
_ROW = f"'{_DAY}'::date, %s, 'note number ' || n"
_DAYS_OF_ROWS = (
    "SELECT n + d * %(rows)s, '2026-01-01'::date + d, 0, 'note number ' || n"
    f" FROM generate_series(0, %(rows)s - 1) n, generate_series(0, {_DAYS - 1}) d"
)

CASES = [
    Case(
        "upsert, half of the keys exist",
        base=f"SELECT n, {_ROW % 0} FROM generate_series(0, %(rows)s - 1) n",
        data=f"SELECT n, {_ROW % 1} FROM generate_series(0, %(rows)s * 2 - 1) n WHERE n % 2 = 0",
        index=f"ALTER TABLE {_TABLE} ADD PRIMARY KEY (id)",
        by_hand={"ON CONFLICT": _by_stage(_ON_CONFLICT), "MERGE": _by_stage(_MERGE)},
        by_pgflight={"pgflight": _by_pgflight(mode="upsert", keys=["id"])},
        rows=lambda rows: rows + rows // 2,
    ),
    Case(
        "a day is replaced",
        base=_DAYS_OF_ROWS,
        data=f"SELECT n, {_ROW % 1} FROM generate_series(0, %(rows)s - 1) n",
        index=f"CREATE INDEX ON {_TABLE} (day)",
        by_hand={"DELETE and COPY": _delete_and_copy},
        by_pgflight={
            "replace_where": _by_pgflight(mode="overwrite", replace_where=f"day = '{_DAY}'"),
            "replace_by": _by_pgflight(mode="overwrite", replace_by=["day"]),
        },
        rows=lambda rows: rows * _DAYS,
    ),
]
