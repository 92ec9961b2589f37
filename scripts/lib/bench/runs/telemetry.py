"""Measures what metrics, tracing and the status page cost a write of one stream."""

from __future__ import annotations

import contextlib
import threading
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any, Iterator

import pyarrow as pa

import pgflight
from bench.compare import Bench, tell
from bench.rig import processes
from bench.rig.database import TARGET
from bench.rig.server import Server
from bench.rig.shapes import SHAPES
from bench.runs.scaling import expect

#: A reader scrapes every second and has the page open, which reloads every two seconds: more than Prometheus does.
_PATHS = ("/metrics", "/", "/metrics")


def telemetry(
    bench: Bench, baseline: Path | None, shape_name: str, scale: float, rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Writes in turns through each server. `baseline` is an older pgflight, if given."""
    shape = SHAPES[shape_name]
    files = bench.files(shape, scale)
    table = files.table()
    expected = bench.database.expected(shape, files.row_count)
    with contextlib.ExitStack() as stack:
        servers = {}
        if baseline:
            servers["baseline"] = stack.enter_context(bench.server(binary=baseline))
        servers["not looked at"] = stack.enter_context(bench.server())
        watched = bench.server("--metrics-listen", "127.0.0.1:0")
        servers["looked at"] = stack.enter_context(watched)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
        for number in range(-1, rounds):
            # The order changes from round to round.
            names = list(servers)[number % len(servers) :] + list(servers)[: number % len(servers)]
            for name in names:
                bench.database.new_target(shape, there=True)
                cost = _write(servers[name], table)
                expect(bench, shape, expected)
                # The first round warms up.
                if number >= 0:
                    taken[name].append(cost)
            tell(f"  round {number + 1} of {rounds}")
    first = next(iter(taken.values()))
    rows = []
    for name, costs in taken.items():
        ratios = [mine[0] / theirs[0] for mine, theirs in zip(costs, first)]
        rows.append(
            {
                "server": name,
                "seconds": median(seconds for seconds, _ in costs),
                "fastest": min(seconds for seconds, _ in costs),
                "server CPU s": median(cpu for _, cpu in costs),
                "× first, by round": median(ratios),
            }
        )
    return {f"A write of one stream, {files.row_count:,} rows of {shape.name}": rows}


def _write(server: Server, table: pa.Table) -> tuple[float, float]:
    """Returns seconds, and seconds of the server's processor time."""
    with _looked_at(server.monitor):
        used, started = processes.cpu_seconds(server.pid), time.perf_counter()
        with pgflight.connect(server.url) as client:
            client.write(table, TARGET)
        seconds = time.perf_counter() - started
        return seconds, processes.cpu_seconds(server.pid) - used


@contextlib.contextmanager
def _looked_at(monitor: str | None) -> Iterator[None]:
    ended = threading.Event()

    def look() -> None:
        for number in range(1_000_000):
            path = _PATHS[number % len(_PATHS)]
            urllib.request.urlopen(f"http://{monitor}{path}").read()
            if ended.wait(0.67):
                return

    looking = threading.Thread(target=look, daemon=True)
    if monitor:
        looking.start()
    yield
    ended.set()
    if monitor:
        looking.join()
