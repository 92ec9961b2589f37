"""Measures the server alone: one stream, with a proxy that drops the rows before PostgreSQL."""

from __future__ import annotations

from statistics import median
from typing import Any

from bench.compare import Bench, tell
from bench.rig.database import TARGET
from bench.rig.job import Job
from bench.rig.shapes import Shape
from bench.rig.swallow import Swallower
from bench.rig.workers import Cost

_MIB = 1 << 20


def alone(
    bench: Bench, shapes: list[Shape], scale: float, rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Returns a row of medians for each shape."""
    return {"The server alone": [_shape(bench, shape, scale, rounds) for shape in shapes]}


def _shape(bench: Bench, shape: Shape, scale: float, rounds: int) -> dict[str, Any]:
    files = bench.files(shape, scale)
    rows, size = files.row_count, files.binary("whole").stat().st_size / _MIB
    bench.database.new_target(shape, there=True)
    costs: list[Cost] = []
    with Swallower(bench.database.url) as postgres, bench.server(postgres=postgres.url) as server:
        for number in range(rounds):
            job = Job(
                way="pgflight-1",
                postgres=postgres.url,
                pgflight=server.url,
                table=TARGET,
                directory=str(files.directory),
                row_count=rows,
                columns=shape.columns,
                used_rows=rows,
                width=1,
            )
            with bench.worker() as worker:
                costs.append(worker.run(job, server, bench.postmaster))
            tell(f"  round {number + 1} {rows / costs[-1].seconds:,.0f} rows/s")
    if bench.database.landed(shape)[0]:
        raise RuntimeError("rows reached PostgreSQL")
    seconds = median(cost.seconds for cost in costs)
    return {
        "shape": shape.name,
        "rows": rows,
        "seconds": seconds,
        "rows/s": rows / seconds,
        "MiB of COPY/s": size / seconds,
        "µs of server CPU a row": median(cost.server_cpu for cost in costs) / rows * 1e6,
        "of client CPU": median(cost.client_cpu for cost in costs) / rows * 1e6,
        "server MiB": median(cost.server_memory for cost in costs) / _MIB,
    }
