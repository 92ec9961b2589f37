#!/usr/bin/env python3
"""How long a load takes, and what bounds it: a model of docs/performance.md, to size a deployment with.

    docs/capacity.py                                   the worked examples of docs/performance.md
    docs/capacity.py --rows 1e9 --partitions 200 --postgres-cores 16 --replicas 2

It follows the load from event to event. Between two, each running stream moves rows at the rate that the
scarcest of these leaves it: its sender, its server's cores, the network of its server, its backend, which
has one core, PostgreSQL's cores, and the bytes that PostgreSQL's disk takes. Figures of a row are those
that `scripts/bench` measures; take your own.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Deployment:
    """A load, and what it runs on. Times of a row are in microseconds of CPU."""

    rows: float = 50e9
    #: Of a row as COPY, and about as many in the table and in the WAL.
    row_bytes: float = 222
    partitions: int = 1000
    #: How much longer or shorter than the mean a partition may be.
    skew: float = 0.3
    #: Tasks at once, and rows a second that each can send.
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
    #: Bytes written for each that is copied: the table, its WAL, and what checkpoints repeat.
    written: float = 2.2
    #: Seconds before a stream's first row, and after its last.
    attempt: float = 0.05
    #: direct, two_phase, create or staged.
    publish: str = "two_phase"
    #: What the commit does: to a row by one backend, and to an attempt.
    staged_row: float = 0.75
    counted_row: float = 0.10
    prepared: float = 0.002
    #: Where all runs on one machine of so many cores, what a row costs the sender; 0 for machines apart.
    shared_cores: int = 0
    client_row: float = 0.12


@dataclass
class Outcome:
    """What became of a load."""

    copy_seconds: float
    publish_seconds: float
    #: Share of the time of copying in which each was the scarcest.
    bounds: dict[str, float]
    most_streams: int
    written_bytes: float

    @property
    def seconds(self) -> float:
        """From begin to the end of the commit."""
        return self.copy_seconds + self.publish_seconds


def rate(load: Deployment, streams: int) -> tuple[float, str]:
    """Rows a second of each of so many streams, spread evenly, and what bounds them."""
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
    # Rows still to be moved; of streams that are being opened or ended, since when they move any.
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


#: The machine that `scripts/bench scaling` was run on: all on two cores, streams that begin at once.
BENCH = Deployment(rows=1e6, skew=0, attempt=0.02, publish="direct", replicas=1, shared_cores=2)

#: 10 TB in 1,000 partitions through 10 replicas, and what changes when one thing does.
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
    """Outcomes in Markdown."""
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
    """Hours and minutes, or seconds where they are few."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def main() -> None:
    """Prints the examples, or what is asked for."""
    parser = argparse.ArgumentParser(description="How long a load takes, and what bounds it.")
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
