"""Draws results as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bench import report
from bench.compare import Comparison
from bench.rig.ways import WAYS

_OURS, _OTHERS = "#2166ac", "#b8b8b8"


def comparison(results: list[Comparison], directory: Path) -> None:
    """Draws a picture for each shape: the time of each way, as a multiple of psql's."""
    for result in results:
        times = {WAYS[name].title: ratio for name, ratio in report.ratios(result).items()}
        title = f"{result.shape}: {result.row_count:,} rows"
        bars(times, title, directory / f"compare-{result.shape}.png")


def bars(times: dict[str, float], title: str, path: Path) -> None:
    """Draws a bar for each way; pgflight's have another colour."""
    names = sorted(times, key=times.__getitem__, reverse=True)
    figure, axes = plt.subplots(figsize=(9, 0.9 + 0.3 * len(names)), layout="constrained")
    colours = [_OURS if "pgflight" in name else _OTHERS for name in names]
    drawn = axes.barh(names, [times[name] for name in names], color=colours)
    axes.axvline(1, color="black", linewidth=0.8, linestyle=":", zorder=0)
    # A label must stay readable where it meets the line.
    around = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axes.bar_label(drawn, fmt="%.2f", padding=3, fontsize=8, bbox=around)
    # Two short lines, since the axes are narrower than the figure.
    axes.set_xlabel(
        "time as a multiple of psql's, less is better\n(psql loads a ready-made binary file)"
    )
    axes.set_title(title, loc="left", fontsize=10)
    axes.margins(x=0.1, y=0.01)
    _save(figure, path)


def lines(rows: list[dict[str, Any]], x: str, ys: list[str], label: str, path: Path) -> None:
    """Draws one picture with a line for each of `ys` against `x`. Both axes begin at 0."""
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for y in ys:
        axes.plot([row[x] for row in rows], [row[y] for row in rows], marker="o", label=y)
    axes.set_xlabel(x)
    axes.set_ylabel(label)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    # Includes labels that extend beyond the figure, instead of cutting them off.
    figure.savefig(path, dpi=120, bbox_inches="tight", pad_inches=0.1)
    plt.close(figure)
