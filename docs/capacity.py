#!/usr/bin/env python3
"""Computes how long a load takes and what limits it: the model of docs/performance.md, for sizing a deployment.

    docs/capacity.py                                   the worked examples of docs/performance.md
    docs/capacity.py --rows 1e9 --partitions 200 --postgres-cores 16 --replicas 2

It follows the load from event to event. Between two events, each running stream moves rows at the rate that the scarcest
resource allows: its sender, its server's cores, its server's network, its backend, which has one core, PostgreSQL's cores,
and PostgreSQL's disk. The defaults for a row were measured by `scripts/bench`; use your own.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Deployment:
    """A load and its machines. Times per row are in microseconds of CPU."""

    rows: float = 50e9
    #: Bytes of a row in COPY; the table and the WAL take about as many.
    row_bytes: float = 222
    partitions: int = 1000
    #: Largest deviation of a partition from the mean, as a share of it.
    skew: float = 0.3
    #: Concurrent tasks, and rows a second that each can send.
    slots: int = 320
    slot_rate: float = 500_000
    replicas: int = 10
    replica_cores: int = 4
    max_copies: int = 16
    #: Megabytes a second into a replica, and into PostgreSQL's disk, WAL included.
    replica_network: float = 1_200
    disk: float = 2_000
    postgres_cores: int = 64
    server_row: float = 0.20
    backend_row: float = 1.05
    #: Bytes written per byte of COPY: the table, its WAL, and full pages after checkpoints.
    written: float = 2.2
    #: Seconds before a stream's first row, and after its last.
    attempt: float = 0.05
    #: direct, two_phase, create or staged.
    publish: str = "two_phase"
    #: The commit: microseconds per row in one backend, and seconds per attempt.
    staged_row: float = 0.75
    counted_row: float = 0.10
    prepared: float = 0.002
    #: The number of cores if everything runs on one machine, and the sender's time per row there; 0 for separate machines.
    shared_cores: int = 0
    client_row: float = 0.12


@dataclass
class Outcome:
    """The result of a load."""

    copy_seconds: float
    publish_seconds: float
    #: For each resource, the share of the copying time in which it was the scarcest.
    bounds: dict[str, float]
    most_streams: int
    written_bytes: float

    @property
    def seconds(self) -> float:
        """From begin to the end of the commit."""
        return self.copy_seconds + self.publish_seconds


def rate(load: Deployment, streams: int) -> tuple[float, str]:
    """Returns the rows a second of each stream, for streams that are spread evenly, and the scarcest resource."""
    each = 1e6 / streams
    on_replica = -(-streams // load.replicas)
    limits = {
        "sender": load.slot_rate,
        "backend": 1e6 / load.backend_row,
        "PostgreSQL's cores": load.postgres_cores * each / load.backend_row,
        "server's cores": load.replica_cores * 1e6 / on_replica / load.server_row,
        "server's network": load.replica_network * 1e6 / on_replica / load.row_bytes,
        "disk": load.disk * each / (load.row_bytes * load.written),
    }
    if load.shared_cores:
        row = load.backend_row + load.server_row + load.client_row
        limits = {
            "backend": limits["backend"],
            "the machine's cores": load.shared_cores * each / row,
        }
    scarcest = min(limits, key=lambda name: limits[name])
    return limits[scarcest], scarcest


def simulate(load: Deployment) -> Outcome:
    """Follows a load to its end."""
    numbers = random.Random(1)
    shares = [numbers.uniform(1 - load.skew, 1 + load.skew) for _ in range(load.partitions)]
    waiting = [load.rows * share / sum(shares) for share in shares]
    room = min(load.slots, load.replicas * load.max_copies)
    # The remaining rows of running streams; for streams that are opening or ending, the time when they move rows.
    running: list[float] = []
    pausing: list[tuple[float, float]] = []
    now, most = 0.0, 0
    bounds: dict[str, float] = {}
    while waiting or pausing or running:
        while waiting and len(running) + len(pausing) < room:
            pausing.append((now + load.attempt, waiting.pop()))
        running += [rows for at, rows in pausing if at <= now]
        pausing = [(at, rows) for at, rows in pausing if at > now]
        most = max(most, len(running))
        each, scarcest = rate(load, len(running)) if running else (0.0, "opening")
        ends = [at for at, _ in pausing]
        if running:
            ends.append(now + min(running) / each)
        step = min(ends) - now
        bounds[scarcest] = bounds.get(scarcest, 0.0) + step
        now = min(ends)
        # Less than half a row is a rounding error.
        running = [rows - each * step for rows in running if rows - each * step > 0.5]
    publishing = {
        "direct": 0.0,
        "two_phase": load.partitions * load.prepared,
        "create": load.rows * load.counted_row / 1e6,
        "staged": load.rows * load.staged_row / 1e6,
    }
    copies = 2 if load.publish == "staged" else 1
    return Outcome(
        copy_seconds=now,
        publish_seconds=publishing[load.publish],
        bounds={name: seconds / now for name, seconds in bounds.items()},
        most_streams=most,
        written_bytes=load.rows * load.row_bytes * load.written * copies,
    )


#: The machine of `scripts/bench scaling`: everything on two cores, streams that begin at the same time.
BENCH = Deployment(rows=1e6, skew=0, attempt=0.02, publish="direct", replicas=1, shared_cores=2)

#: 10 TB in 1,000 partitions through 10 replicas, and one change at a time.
LARGE = Deployment(rows=10e12 / Deployment.row_bytes)
EXAMPLES = {
    "10 replicas of 4 cores, PostgreSQL of 64 cores, two_phase": LARGE,
    "2 replicas": dataclasses.replace(LARGE, replicas=2),
    "1 replica that may copy 4 streams": dataclasses.replace(LARGE, replicas=1, max_copies=4),
    "PostgreSQL of 4 cores": dataclasses.replace(LARGE, postgres_cores=4),
    "a disk of 500 MB/s": dataclasses.replace(LARGE, disk=500),
    "a disk of 20,000 MB/s": dataclasses.replace(LARGE, disk=20_000),
    "4 slots of Spark": dataclasses.replace(LARGE, slots=4),
    "published staged": dataclasses.replace(LARGE, publish="staged"),
    "into a new table (create)": dataclasses.replace(LARGE, publish="create"),
}


def table(examples: dict[str, Deployment]) -> str:
    """Formats outcomes as a table in Markdown."""
    lines = [
        "| deployment | copying | publishing | rows/s | bounded by | streams at once | written |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for title, load in examples.items():
        outcome = simulate(load)
        scarcest = max(outcome.bounds, key=lambda name: outcome.bounds[name])
        cells = [title, clock(outcome.copy_seconds), clock(outcome.publish_seconds)]
        cells += [f"{load.rows / outcome.seconds:,.0f}"]
        cells += [f"{scarcest} ({outcome.bounds[scarcest]:.0%})", f"{outcome.most_streams}"]
        cells += [f"{outcome.written_bytes / 1e12:,.1f} TB"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def clock(seconds: float) -> str:
    """Formats a time in hours and minutes, or in seconds if it is short."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def main() -> None:
    """Prints the examples, or the outcome for the given arguments."""
    parser = argparse.ArgumentParser(
        description="Computes how long a load takes and what limits it."
    )
    for field in dataclasses.fields(Deployment):
        default = field.default
        kind = str if isinstance(default, str) else type(default)
        name = f"--{field.name.replace('_', '-')}"
        # Counts may be written 1e9.
        parser.add_argument(name, type=kind, default=default, help=f"(default: {default})")
    given = Deployment(**vars(parser.parse_args()))
    print(table(EXAMPLES if given == Deployment() else {"as asked": given}))


if __name__ == "__main__":
    main()
