"""Results as Markdown and JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from pathlib import Path
from statistics import median
from typing import Any, Iterable

from bench.compare import Comparison
from bench.rig.database import Database
from bench.rig.ways import WAYS
from bench.rig.workers import Cost

_SETTINGS = ("fsync", "synchronous_commit", "wal_level", "shared_buffers", "max_wal_size")

_MIB = 1 << 20


def circumstances(database: Database, command: str) -> dict[str, Any]:
    """Returns the circumstances that the figures depend on."""
    return {
        "command": command,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "postgresql": database.version(),
        "settings": database.settings(*_SETTINGS),
    }


def middle(costs: Iterable[Cost], field: str) -> float:
    """Returns the median of a field."""
    return median(getattr(cost, field) for cost in costs)


def ratios(comparison: Comparison) -> dict[str, float]:
    """Returns the median time of each way, as a multiple of the baseline's."""
    baseline = next(iter(WAYS))
    base = middle(comparison.costs[baseline], "seconds")
    return {name: middle(costs, "seconds") / base for name, costs in comparison.costs.items()}


def write_comparison(comparisons: list[Comparison], about: dict[str, Any], directory: Path) -> Path:
    """Writes `compare.json` and `compare.md`; returns the latter."""
    shapes = [dataclasses.asdict(comparison) for comparison in comparisons]
    _json(directory / "compare.json", {**about, "shapes": shapes})
    lines = _about(about)
    for comparison in comparisons:
        lines += _table(comparison)
    path = directory / "compare.md"
    path.write_text("\n".join(lines) + "\n")
    return path


def write_rows(
    name: str, tables: dict[str, list[dict[str, Any]]], about: dict[str, Any], directory: Path
) -> Path:
    """Writes lists of rows as tables with their keys as heads, and as JSON."""
    _json(directory / f"{name}.json", {**about, **tables})
    lines = _about(about)
    for title, rows in tables.items():
        heads = list(rows[0]) if rows else []
        lines += ["", f"## {title}", "", _row(heads), _row("---" for _ in heads)]
        lines += [_row(_figure(value) for value in row.values()) for row in rows]
    path = directory / f"{name}.md"
    path.write_text("\n".join(lines) + "\n")
    return path


def _about(about: dict[str, Any]) -> list[str]:
    settings = ", ".join(f"{name} = {value}" for name, value in about["settings"].items())
    return [
        f"`{about['command']}`: PostgreSQL {about['postgresql']} ({settings}); {about['machine']};"
        f" Python {about['python']}."
    ]


def _table(comparison: Comparison) -> list[str]:
    rows, size = comparison.row_count, comparison.copy_bytes / _MIB
    heads = ["way", "seconds", "× psql", "µs of client CPU a row", "of server CPU"]
    heads += ["of PostgreSQL's CPU", "client MiB", "server MiB", "rounds"]
    lines = [
        "",
        f"## {comparison.shape}",
        "",
        f"{rows:,} rows, {size:,.0f} MiB of binary COPY.",
        "",
    ]
    lines += [_row(heads), _row(["---"] + ["---:"] * (len(heads) - 1))]
    ratio = ratios(comparison)
    for name, costs in comparison.costs.items():
        cpu = [middle(costs, f"{who}_cpu") / rows * 1e6 for who in ("client", "server", "postgres")]
        memory = [middle(costs, f"{who}_memory") / _MIB for who in ("client", "server")]
        figures = [f"{middle(costs, 'seconds'):.2f}", f"{ratio[name]:.2f}"]
        figures += [f"{value:.2f}" for value in cpu] + [f"{value:.0f}" for value in memory]
        share = WAYS[name].share
        title = WAYS[name].title + (f" (a {share:.0%} sample)" if share < 1 else "")
        lines.append(_row([title, *figures, str(len(costs))]))
    lines += [f"\nNot run: {WAYS[name].title}: {why}" for name, why in comparison.failed.items()]
    return lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figure(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")
