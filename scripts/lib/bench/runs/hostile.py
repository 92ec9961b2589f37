"""Measures a write of one stream alone, and while a hostile peer attacks the same server."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager, nullcontext
from statistics import median
from typing import Any, Iterator
from urllib.parse import urlsplit

from bench.compare import Bench, tell
from bench.rig import processes
from bench.rig.database import TARGET
from bench.rig.job import Job
from bench.rig.server import Server
from bench.rig.shapes import SHAPES
from bench.rig.workers import Cost
from bench.runs.scaling import expect

#: Concurrent calls of the peer: one at a time, and a flood.
_CALLS = (1, 30)
#: The table of the hostile peer.
_TABLE = "bench_hostile"


def hostile(
    bench: Bench, shape_name: str, scale: float, rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Writes in turns with and without the peer, and compares the rows with those that PostgreSQL itself read."""
    shape = SHAPES[shape_name]
    files = bench.files(shape, scale)
    expected = bench.database.expected(shape, files.row_count)
    bench.database.run(f"DROP TABLE IF EXISTS {_TABLE}")
    bench.database.run(f"CREATE TABLE {_TABLE} (n bigint, texts text[])")
    # Both have the token, since the server rejects a stranger at the first header.
    token = os.environ["PGFLIGHT_TOKEN"] = f"pgf_{secrets.token_urlsafe(32)}"
    digest = f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"
    costs: dict[int, list[tuple[Cost, float]]] = {calls: [] for calls in (0, *_CALLS)}
    made: dict[int, Counter[str]] = {calls: Counter() for calls in _CALLS}
    with bench.server("--token-digest", digest) as server, bench.worker() as worker:
        job = Job(
            way="pgflight-1",
            postgres=bench.database.url,
            pgflight=server.url,
            table=TARGET,
            directory=str(files.directory),
            row_count=files.row_count,
            columns=shape.columns,
            used_rows=files.row_count,
            width=1,
        )
        # The first round warms up.
        for number in range(-1, rounds):
            # The order changes from round to round.
            for calls in sorted(costs, reverse=number % 2 == 0):
                bench.database.new_target(shape, there=True)
                with _peer(server, calls, made[calls]) if calls else nullcontext() as peer:
                    before = processes.cpu_seconds(peer) if peer else 0.0
                    cost = worker.run(job, server, bench.postmaster)
                    peer_cpu = processes.cpu_seconds(peer) - before if peer else 0.0
                expect(bench, shape, expected)
                if number >= 0:
                    costs[calls].append((cost, peer_cpu))
            tell(f"  round {number + 1} of {rounds}")
    if bench.database.row(f"SELECT count(*) FROM {_TABLE}")[0]:
        raise RuntimeError("the table has rows of the hostile peer")
    rows = []
    for calls, taken in costs.items():
        pairs = zip(costs[0], taken)
        shares = [alone.seconds / beside.seconds for (alone, _), (beside, _) in pairs]
        rows.append(
            {
                "hostile calls at once": calls,
                "seconds": median(cost.seconds for cost, _ in taken),
                "share of its speed": median(shares),
                "least": min(shares),
                "server CPU s": median(cost.server_cpu for cost, _ in taken),
                "PostgreSQL CPU s": median(cost.postgres_cpu for cost, _ in taken),
                "peer CPU s": median(peer_cpu for _, peer_cpu in taken),
            }
        )
    attacks = [
        {"hostile calls at once": calls, "attack": name, "times": count}
        for calls, counted in made.items()
        for name, count in sorted(counted.items())
    ]
    title = (
        f"A write of one stream of {files.row_count:,} rows of {shape_name}, beside a hostile peer"
    )
    return {title: rows, "The attacks": attacks}


@contextmanager
def _peer(server: Server, calls: int, made: Counter[str]) -> Iterator[int]:
    """Runs a peer that attacks until the context ends, and adds its calls to `made`."""
    address = urlsplit(server.url).netloc
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.runs.attack", address, _TABLE, str(calls)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError("the hostile peer did not start")
        yield process.pid
        printed, _ = process.communicate(timeout=60)
        if process.returncode:
            raise RuntimeError("the hostile peer failed")
        made.update(json.loads(printed))
    finally:
        process.kill()
        process.wait()
