"""A write of one stream by itself, and while a hostile peer attacks the same server."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from statistics import median
from typing import Any, Iterator
from urllib.parse import urlsplit

from bench import processes
from bench.compare import Bench, tell
from bench.database import TARGET
from bench.scaling import expect
from bench.server import Server
from bench.shapes import SHAPES
from bench.worker import Job

#: What the hostile peer would write.
_TABLE = "bench_hostile"


def hostile(
    bench: Bench, shape_name: str, scale: float, rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Writes in turns with and without the peer; holds what landed to PostgreSQL's own reading of it."""
    shape = SHAPES[shape_name]
    files = bench.files(shape, scale)
    expected = bench.database.expected(shape, files.row_count)
    bench.database.run(f"DROP TABLE IF EXISTS {_TABLE}")
    bench.database.run(f"CREATE TABLE {_TABLE} (n bigint, texts text[])")
    # Both know the token: what a stranger can do ends at the first header.
    token = os.environ["PGFLIGHT_TOKEN"] = f"pgf_{secrets.token_urlsafe(32)}"
    digest = f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"
    seconds: dict[bool, list[float]] = {False: [], True: []}
    used: dict[str, list[float]] = {"server": [], "postgres": [], "peer": []}
    made: Counter[str] = Counter()
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
            for attacked in (False, True) if number % 2 else (True, False):
                bench.database.new_target(shape, there=True)
                with _peer(server, made) if attacked else contextlib.nullcontext() as peer:
                    before = processes.cpu_seconds(peer) if peer else 0.0
                    cost = worker.run(job, server, bench.postmaster)
                    peer_cpu = processes.cpu_seconds(peer) - before if peer else 0.0
                expect(bench, shape, expected)
                if number >= 0:
                    seconds[attacked].append(cost.seconds)
                if number >= 0 and attacked:
                    used["server"].append(cost.server_cpu)
                    used["postgres"].append(cost.postgres_cpu)
                    used["peer"].append(peer_cpu)
            tell(f"  round {number + 1} of {rounds}")
    if bench.database.one(f"SELECT count(*) FROM {_TABLE}")[0]:
        raise RuntimeError("rows of the hostile peer have landed")
    shares = [alone / beside for alone, beside in zip(seconds[False], seconds[True])]
    result = {
        "rows": files.row_count,
        "seconds alone": median(seconds[False]),
        "seconds attacked": median(seconds[True]),
        "share of its speed": median(shares),
        "least": min(shares),
        "server CPU s": median(used["server"]),
        "PostgreSQL CPU s": median(used["postgres"]),
        "peer CPU s": median(used["peer"]),
    }
    attacks = [{"attack": name, "times": count} for name, count in sorted(made.items())]
    return {
        f"A write of one stream of {shape_name}, beside a hostile peer": [result],
        "The attacks": attacks,
    }


@contextlib.contextmanager
def _peer(server: Server, made: Counter[str]) -> Iterator[int]:
    """The process of a peer that attacks until it is left; adds what it has done to `made`."""
    address = urlsplit(server.url).netloc
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.attack", address, _TABLE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError("the hostile peer did not start")
        yield process.pid
        told, _ = process.communicate(timeout=60)
        if process.returncode:
            raise RuntimeError("the hostile peer failed")
        made.update(json.loads(told))
    finally:
        process.kill()
        process.wait()
