"""The capacity model of docs/performance.md, compared with measurements and with simple bounds."""

import dataclasses
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"


def _model() -> Any:
    spec = importlib.util.spec_from_file_location("capacity", DOCS / "capacity.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up their module.
    sys.modules["capacity"] = module
    spec.loader.exec_module(module)
    return module


capacity = _model()


def _measured() -> dict[int, tuple[float, float]]:
    """Returns streams and rows a second from the table of the page."""
    page = (DOCS / "performance.md").read_text()
    rows = re.findall(r"^\| (\d+) \| ([\d,]+) \| ([\d,]+) \|", page, re.MULTILINE)
    return {int(n): (float(a.replace(",", "")), float(b.replace(",", ""))) for n, a, b in rows}


def test_model_matches_the_page_and_the_measured_rates() -> None:
    table = _measured()
    assert {1, 2} <= table.keys()
    for streams, (measured, modelled) in table.items():
        load = dataclasses.replace(capacity.BENCH, partitions=streams, slots=streams)
        said = load.rows / capacity.simulate(load).seconds
        assert said == pytest.approx(modelled, rel=0.01), streams
        assert said == pytest.approx(measured, rel=0.15), streams


def test_the_examples_on_the_page_are_those_of_the_model() -> None:
    assert capacity.table(capacity.EXAMPLES) in (DOCS / "performance.md").read_text()


@pytest.mark.parametrize(
    ("change", "bound"),
    [
        ({"disk": 500}, "disk"),
        ({"disk": 1e6, "postgres_cores": 4}, "PostgreSQL's cores"),
        ({"disk": 1e6, "slots": 1}, "sender"),
        ({"disk": 1e6, "slots": 1, "slot_rate": 5e6}, "backend"),
        ({"disk": 1e6, "replicas": 1, "replica_cores": 1}, "server's cores"),
        ({"disk": 1e6, "replicas": 1, "replica_network": 100}, "server's network"),
    ],
)
def test_the_scarcest_resource_bounds_the_load(change: dict[str, Any], bound: str) -> None:
    load = dataclasses.replace(capacity.LARGE, **change)
    outcome = capacity.simulate(load)
    assert max(outcome.bounds, key=outcome.bounds.get) == bound
    assert (
        outcome.seconds > capacity.simulate(dataclasses.replace(load, **_more(load, bound))).seconds
    )


def _more(load: Any, bound: str) -> dict[str, Any]:
    return {
        "disk": {"disk": load.disk * 2},
        "PostgreSQL's cores": {"postgres_cores": load.postgres_cores * 2},
        "sender": {"slots": load.slots * 2},
        "backend": {"slots": load.slots * 2},
        "server's cores": {"replicas": load.replicas * 2},
        "server's network": {"replicas": load.replicas * 2},
    }[bound]


def test_a_load_takes_no_less_than_any_of_its_parts_would_alone() -> None:
    load = capacity.LARGE
    outcome = capacity.simulate(load)
    assert outcome.most_streams == min(load.slots, load.replicas * load.max_copies)
    assert outcome.copy_seconds >= load.rows * load.backend_row / 1e6 / load.postgres_cores
    assert outcome.copy_seconds >= outcome.written_bytes / (load.disk * 1e6)
