"""Compares the ways of writing, in interleaved rounds so that all see the same machine."""

from __future__ import annotations

import dataclasses
import sys
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from nycflights_tables import FLIGHTS_ROWS

from bench.rig.database import TARGET, Database
from bench.rig.job import Job
from bench.rig.server import Server
from bench.rig.shapes import SHAPES, Files, Shape, prepare
from bench.rig.ways import WAYS, Way
from bench.rig.workers import Cost, WayFailed, Worker


@dataclasses.dataclass
class Comparison:
    """The results of every way for one shape."""

    shape: str
    row_count: int
    copy_bytes: int
    costs: dict[str, list[Cost]]
    #: Ways that could not run or wrote wrong rows, with the reason.
    failed: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Plan:
    """The requested runs."""

    ways: list[Way]
    shapes: list[Shape]
    rounds: int
    #: Share of each shape's rows.
    scale: float


class Bench:
    """The parts that all runs share."""

    def __init__(self, database: Database, binary: Path, root: Path) -> None:
        self.database = database
        self.root = root
        self.postmaster = database.postmaster()
        self._binary = binary
        self._server_count = 0

    def server(self, *options: str, postgres: str = "", binary: Path | None = None) -> Server:
        """Starts a server, which the caller ends as a context manager.

        By default it uses the benchmark's PostgreSQL and binary.
        """
        self._server_count += 1
        log = self.root / f"pgflight-{self._server_count}.log"
        return Server(binary or self._binary, postgres or self.database.url, log, *options)

    def files(self, shape: Shape, scale: float) -> Files:
        """The shape's files and, in PostgreSQL, its reference."""
        row_count = FLIGHTS_ROWS if shape.row_count is None else int(shape.row_count * scale)
        tell(f"{shape.name}: {row_count:,} rows")
        files = prepare(shape, row_count, self.root / "data")
        self.database.make_reference(shape, files)
        return files

    def worker(self) -> Worker:
        """Returns a process to run ways in."""
        return Worker(self.root / "worker.log")

    def run(self, worker: Worker, server: Server, way: Way, shape: Shape, files: Files) -> Cost:
        """Runs a way once, into a new table, and compares the written rows with the reference.

        Raises:
            WayFailed: when it fails, or the rows are not those of the reference.
        """
        used_rows = int(files.row_count * way.share)
        self.database.new_target(shape, there=way.existing)
        job = Job(
            way=way.name,
            postgres=self.database.url,
            pgflight=server.url,
            table=TARGET,
            directory=str(files.directory),
            row_count=files.row_count,
            columns=shape.columns,
            used_rows=used_rows,
            width=way.width,
        )
        cost = worker.run(job, server, self.postmaster)
        if way.lands:
            landed = self.database.landed(shape)
            expected = self.database.expected(shape, used_rows)
            if landed != expected:
                raise WayFailed(f"{landed[0]} rows with checksum {landed[1]}, not {expected}")
        return _scaled(cost, 1 / way.share)


def compare(bench: Bench, plan: Plan) -> list[Comparison]:
    """Runs all requested ways."""
    with bench.server() as server, ExitStack() as stack:
        # Spark starts once, and its first job is not counted.
        spark = None
        if any(way.spark for way in plan.ways):
            spark = stack.enter_context(bench.worker())
        return [_shape(bench, server, plan, shape, spark) for shape in plan.shapes]


def _shape(
    bench: Bench, server: Server, plan: Plan, shape: Shape, spark: Worker | None
) -> Comparison:
    files = bench.files(shape, plan.scale)
    copy_bytes = files.binary("whole").stat().st_size
    costs: dict[str, list[Cost]] = defaultdict(list)
    failed = {way.name: reason for way in plan.ways if (reason := way.missing())}
    for number in range(plan.rounds + 1):
        for way in plan.ways:
            warm_up = number == 0
            if way.name in failed or (warm_up and not way.spark):
                continue
            try:
                if spark is not None and way.spark:
                    cost = bench.run(spark, server, way, shape, files)
                else:
                    with bench.worker() as worker:
                        cost = bench.run(worker, server, way, shape, files)
            except WayFailed as error:
                failed[way.name] = str(error)
                tell(f"  {way.name}: {error}")
                continue
            if not warm_up:
                costs[way.name].append(cost)
                tell(f"  round {number} {way.name:24} {cost.seconds:8.2f} s")
    return Comparison(shape.name, files.row_count, copy_bytes, dict(costs), failed)


def _scaled(cost: Cost, factor: float) -> Cost:
    return dataclasses.replace(
        cost,
        seconds=cost.seconds * factor,
        client_cpu=cost.client_cpu * factor,
        server_cpu=cost.server_cpu * factor,
        postgres_cpu=cost.postgres_cpu * factor,
    )


def chosen(names: list[str], known: dict) -> list:
    """Returns the items with these names, or all. A name selects every item that begins with it.

    Raises:
        SystemExit: when there is no such name.
    """
    found = [key for key in known if not names or any(key.startswith(name) for name in names)]
    for name in names:
        if not any(key.startswith(name) for key in known):
            sys.exit(f"bench: nothing is called {name}; there are {', '.join(known)}")
    return [known[key] for key in found]


def plan(only: list[str], shapes: list[str], rounds: int, scale: float) -> Plan:
    """Returns the plan for the command line. It always contains the baseline."""
    ways = chosen(only, WAYS)
    baseline = next(iter(WAYS.values()))
    if baseline not in ways:
        ways.insert(0, baseline)
    shapes = shapes or [name for name, shape in SHAPES.items() if not shape.on_request]
    return Plan(ways, chosen(shapes, SHAPES), rounds, scale)


def tell(words: str) -> None:
    """Prints progress."""
    print(words, file=sys.stderr, flush=True)
