"""The command line of `scripts/bench`, which prepares what this needs."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

from bench import plots, report
from bench.compare import Bench, compare, plan, tell
from bench.rig.database import Database
from bench.runs.alone import alone
from bench.runs.changes import changes
from bench.runs.hostile import hostile
from bench.runs.publish import publish
from bench.runs.scaling import scaling
from bench.runs.small import small
from bench.runs.telemetry import telemetry


def main() -> None:
    """Runs a benchmark, and prints the results and their place."""
    arguments = _arguments()
    root = Path(os.environ["BENCH_ROOT"])
    out = arguments.out or root / "results"
    out.mkdir(parents=True, exist_ok=True)
    scale = arguments.scale or (0.1 if arguments.quick else 1.0)
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    # Before any other work, so that an unknown name fails at once.
    asked = plan(arguments.only, arguments.shape, rounds, scale)
    database = Database(os.environ["PGFLIGHT_TEST_URL"])
    about = report.circumstances(database, shlex.join(["scripts/bench", *_words(arguments)]))
    bench = Bench(database, Path(os.environ["BENCH_SERVER"]), root)
    if arguments.what == "scaling":
        curves = scaling(bench, (arguments.shape or ["taxi"])[0], scale)
        path = report.write_rows("scaling", curves, about, out)
        _plot_curves(curves, out)
    elif arguments.what == "publish":
        tables = publish(bench, (arguments.shape or ["taxi"])[0], scale, rounds)
        path = report.write_rows("publish", tables, about, out)
    elif arguments.what == "server":
        path = report.write_rows("server", alone(bench, asked.shapes, scale, rounds), about, out)
    elif arguments.what == "telemetry":
        shape = (arguments.shape or ["taxi"])[0]
        tables = telemetry(bench, arguments.baseline, shape, scale, rounds)
        path = report.write_rows("telemetry", tables, about, out)
    elif arguments.what == "small":
        path = report.write_rows("small", small(bench, arguments.baseline, scale), about, out)
    elif arguments.what == "changes":
        path = report.write_rows("changes", changes(bench, scale, rounds), about, out)
    elif arguments.what == "hostile":
        tables = hostile(bench, (arguments.shape or ["taxi"])[0], scale, rounds)
        path = report.write_rows("hostile", tables, about, out)
    else:
        results = compare(bench, asked)
        path = report.write_comparison(results, about, out)
        plots.comparison(results, out)
    print(path.read_text())
    tell(f"{path}, with JSON and pictures beside it")


def _plot_curves(curves: dict, out: Path) -> None:
    streams, length, published = curves.values()
    plots.lines(streams, "streams", ["rows/s"], "rows/s", out / "scaling-streams.png")
    cpu = ["client CPU s", "server CPU s", "PostgreSQL CPU s"]
    plots.lines(streams, "streams", cpu, "CPU seconds", out / "scaling-cpu.png")
    plots.lines(streams, "streams", ["server MiB"], "MiB over idle", out / "scaling-memory.png")
    plots.lines(length, "rows", ["server MiB"], "MiB over idle", out / "scaling-length.png")
    staged = ["seconds to stage", "seconds to publish"]
    plots.lines(published, "rows", staged, "seconds", out / "scaling-publish.png")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", add_help=False)
    parser.add_argument(
        "what",
        nargs="?",
        choices=[
            "compare",
            "scaling",
            "publish",
            "server",
            "telemetry",
            "hostile",
            "small",
            "changes",
        ],
        default="compare",
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--scale", type=float)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--shape", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _words(arguments: argparse.Namespace) -> list[str]:
    """Returns the arguments that determine the measurement."""
    words = [arguments.what] if arguments.what != "compare" else []
    words += ["--quick"] if arguments.quick else []
    for name in ("rounds", "scale", "only", "shape"):
        value = getattr(arguments, name)
        if value:
            words += [
                f"--{name}",
                *(map(str, value) if isinstance(value, list) else [str(value)]),
            ]
    return words


if __name__ == "__main__":
    main()
