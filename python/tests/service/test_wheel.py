"""The wheel of the server: `pip install 'pgflight[server]'` and two commands lead to rows in a table."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from conftest import ROOT, Database, binary

import pgflight


def run(*command: Any) -> str:
    """Runs a command that must succeed, and returns its output."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, with the program that the other tests use."""
    directory = tmp_path_factory.mktemp("wheel")
    printed = run(ROOT / "scripts/wheel", "--server", "--binary", binary(), directory)
    return Path(printed.strip())


@pytest.fixture(scope="module")
def venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that has the wheel and nothing else."""
    directory = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", directory)
    run(directory / "bin/python", "-m", "pip", "install", "--quiet", "--no-index", wheel)
    return directory


def test_the_wheel_is_for_any_python_and_lists_its_crates(wheel: Path) -> None:
    assert re.fullmatch(r"pgflight_server-[\d.]+-py3-none-manylinux_2_\d+_\w+\.whl", wheel.name), (
        wheel.name
    )
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition(".dist-info/")[2]: name for name in archive.namelist()}
        third_party = archive.read(names["licenses/THIRD-PARTY.txt"]).decode()
        bill = json.loads(archive.read(names["sboms/pgflight.cdx.json"]))
    assert "licenses/LICENSE" in names
    listed = {entry["name"]: entry for entry in bill["components"]}
    # What is linked is listed, and what only a build script or a test uses is not.
    assert {"tokio", "ring", "zstd-sys", "arrow-pgcopy", "rust-std"} <= set(listed)
    assert not {"protox", "proptest", "cc"} & set(listed)
    assert listed["tokio"]["purl"] == f"pkg:cargo/tokio@{listed['tokio']['version']}"
    assert re.search(r"(?m)^tokio [\d.]+: MIT, ", third_party)
    assert "Copyright (c) Tokio Contributors" in third_party
    references = {entry["ref"] for entry in bill["dependencies"]}
    assert all(use in references for entry in bill["dependencies"] for use in entry["dependsOn"])


def test_the_installed_commands_are_the_server(venv: Path) -> None:
    said = run(binary(), "--version")
    assert run(venv / "bin/pgflight", "--version") == said
    assert run(venv / "bin/pgflight-server", "--version") == said
    assert run(venv / "bin/python", "-m", "pgflight_server", "--version") == said


def test_the_installed_server_writes_rows(venv: Path, database: Database) -> None:
    command = [str(venv / "bin/pgflight-server"), "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--postgres", database.url], stderr=subprocess.PIPE, text=True
    ) as service:
        assert service.stderr is not None
        lines = iter(service.stderr.readline, "")
        address = next(m[1] for line in lines if (m := re.search(r"listening on (\S+)", line)))
        with pgflight.connect(f"grpc://{address}") as client:
            frame = pyarrow.table({"id": [1, 2]})
            assert client.write(frame, "public.trips", mode="create").row_count == 2
        service.terminate()
        service.stderr.read()
    assert service.returncode == 0


def test_the_extra_names_the_server_of_the_same_version() -> None:
    text = (ROOT / "python/pyproject.toml").read_text()
    (version,) = re.findall(r'(?m)^version = "(.*)"$', text)
    assert f'server = ["pgflight-server=={version}; ' in text
