"""Measures how throughput, CPU and memory grow with the number and length of streams and with published rows."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator

import pyarrow as pa

import pgflight
from bench.compare import Bench, tell
from bench.rig import processes
from bench.rig.database import TARGET
from bench.rig.server import Server
from bench.rig.shapes import SHAPES, Files, Shape
from pgflight.distributed import DistributedWrite

_STREAMS = (1, 2, 4, 8, 16)

_MIB = 1 << 20


def scaling(bench: Bench, shape_name: str, scale: float) -> dict[str, list[dict[str, Any]]]:
    """Returns all curves of one shape, each a list of points."""
    shape = SHAPES[shape_name]
    files = bench.files(shape, scale)
    table = files.table()
    return {
        "Streams": [_streams(bench, shape, files, table, n) for n in _STREAMS],
        "Length of one stream": [_length(bench, shape, table, n) for n in (1, 2, 4, 8)],
        "Publishing a staged append": [
            _publish(bench, shape, table, share) for share in (0.01, 0.1, 0.25, 0.5, 1.0)
        ],
    }


def _streams(
    bench: Bench, shape: Shape, files: Files, table: pa.Table, count: int
) -> dict[str, Any]:
    """Writes the same rows over several streams, each in its own transaction."""
    bench.database.new_target(shape, there=True)
    rows = table.num_rows
    parts = [part(table, n, count) for n in range(count)]
    # Each point has its own server, since the allocator keeps memory of earlier points.
    with bench.server() as server:
        taken = _watch(bench, server, lambda: _each(parts, lambda part: _send(server, [part])))
    expect(bench, shape, bench.database.expected(shape, files.row_count))
    tell(f"  {count} streams: {rows / taken['seconds']:,.0f} rows/s")
    return {"streams": count, "rows/s": rows / taken["seconds"], **taken}


def _length(bench: Bench, shape: Shape, table: pa.Table, times: int) -> dict[str, Any]:
    """Writes one stream that has all rows several times."""
    bench.database.new_target(shape, there=True)
    with bench.server() as server:
        taken = _watch(bench, server, lambda: _send(server, [table] * times))
    landed = bench.database.landed(shape)[0]
    if landed != times * table.num_rows:
        raise RuntimeError(f"the table has {landed} rows")
    tell(f"  {landed:,} rows in one stream: {taken['server MiB']:.0f} MiB")
    return {"rows": landed, **taken}


def _publish(bench: Bench, shape: Shape, table: pa.Table, share: float) -> dict[str, Any]:
    """Measures the commit of a write of two partitions into an existing table."""
    bench.database.new_target(shape, there=True)
    rows = table.slice(0, int(table.num_rows * share))
    with bench.server() as server:
        staged, published = _staged(server, rows)
    landed = bench.database.landed(shape)[0]
    if landed != rows.num_rows:
        raise RuntimeError(f"the table has {landed} rows")
    tell(f"  {landed:,} rows staged, published in {published:.2f} s")
    return {"rows": landed, "seconds to stage": staged, "seconds to publish": published}


def _staged(server: Server, rows: pa.Table) -> tuple[float, float]:
    """Returns the seconds to stage two halves concurrently, and to publish them."""
    with pgflight.connect(server.url) as client:
        write = client.begin(TARGET, rows.schema, publish="staged")
        started = time.perf_counter()
        receipts = send_parts(write, rows, 2)
        staged = time.perf_counter()
        write.commit(receipts)
        return staged - started, time.perf_counter() - staged


def send_parts(write: DistributedWrite, rows: pa.Table, count: int) -> list[dict[str, Any]]:
    """Sends a table in as many partitions, each by its own thread. Returns the receipts."""
    with ThreadPoolExecutor(count) as pool:
        attempts = [
            pool.submit(write.attempt, n, f"bench-{n}", part(rows, n, count).to_batches())
            for n in range(count)
        ]
        return [attempt.result() for attempt in attempts]


def _send(server: Server, tables: list[pa.Table]) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        for table in tables:
            yield from table.to_batches()

    reader = pa.RecordBatchReader.from_batches(tables[0].schema, batches())
    with pgflight.connect(server.url) as client:
        client.write(reader, TARGET)


def _each(parts: list[pa.Table], send: Callable[[pa.Table], None]) -> None:
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(send, parts))


def part(table: pa.Table, number: int, count: int) -> pa.Table:
    """Returns one of several equal parts."""
    start, end = (table.num_rows * n // count for n in (number, number + 1))
    return table.slice(start, end - start)


def _watch(bench: Bench, server: Server, run: Callable[[], None]) -> dict[str, float]:
    """Returns seconds, CPU, and the server's peak of memory above its start."""
    watched = (server.pid, bench.postmaster)
    before = [processes.cpu_seconds(pid) for pid in watched]
    mine, started = time.process_time(), time.perf_counter()
    run()
    seconds, client = time.perf_counter() - started, time.process_time() - mine
    cpu = [processes.cpu_seconds(pid) - used for pid, used in zip(watched, before)]
    return {
        "seconds": seconds,
        "client CPU s": client,
        "server CPU s": cpu[0],
        "PostgreSQL CPU s": cpu[1],
        "server MiB": (processes.peak_bytes(server.pid) - server.idle_bytes) / _MIB,
    }


def expect(bench: Bench, shape: Shape, expected: tuple[int, str]) -> None:
    """Compares the written rows with the reference."""
    landed = bench.database.landed(shape)
    if landed != expected:
        raise RuntimeError(f"the table has {landed} instead of {expected}")
