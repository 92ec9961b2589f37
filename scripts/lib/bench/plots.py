"""Results as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from bench import report
from bench.compare import Comparison
from bench.ways import WAYS

_OURS, _OTHERS = "#2166ac", "#b8b8b8"


def comparison(results: list[Comparison], directory: Path) -> None:
    """A picture for each shape: how long each way took, as a multiple of psql's time."""
    for result in results:
        ratio = report.ratios(result)
        names = sorted(ratio, key=ratio.__getitem__, reverse=True)
        figure, axes = plt.subplots(figsize=(9, 0.9 + 0.3 * len(names)), layout="constrained")
        colours = [_OURS if "pgflight" in name else _OTHERS for name in names]
        bars = axes.barh(
            [WAYS[name].title for name in names], [ratio[n] for n in names], color=colours
        )
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
        axes.axvline(1, color="black", linewidth=0.8, linestyle=":")
        axes.set_xlabel(
            "time, as a multiple of psql loading a ready-made binary file (less is better)"
        )
        axes.set_title(f"{result.shape}: {result.row_count:,} rows", loc="left", fontsize=10)
        axes.margins(x=0.1)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(directory / f"compare-{result.shape}.png", dpi=120)
        plt.close(figure)


def lines(rows: list[dict[str, Any]], x: str, ys: list[str], label: str, path: Path) -> None:
    """One picture with a line for each of `ys` against `x`."""
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for y in ys:
        axes.plot([row[x] for row in rows], [row[y] for row in rows], marker="o", label=y)
    axes.set_xlabel(x)
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
