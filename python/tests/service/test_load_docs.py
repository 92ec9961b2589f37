"""`docs/load.md`: its commands work, and it names every option of files."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from conftest import ROOT, Database, Server, binary

PAGE = (ROOT / "docs/load.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(?:zcat .*)?pgflight load .*$", PAGE, re.MULTILINE)
TRIPS = "id,fare\n1,2.5\n"


def files(folder: Path) -> None:
    """Writes the files that the commands name."""
    for month in ["2013-01", "2013-02"]:
        pq.write_table(pa.table({"id": [1], "fare": [2.5]}), folder / f"{month}.parquet")
    (folder / "trips/day=2026-01-01").mkdir(parents=True)
    (folder / "trips/day=2026-01-01/a.csv").write_text(TRIPS)
    (folder / "trips/2013-01.csv.gz").write_bytes(gzip.compress(TRIPS.encode()))
    (folder / "trips.csv.gz").write_bytes(gzip.compress(TRIPS.encode()))
    (folder / "trips.csv").write_text(TRIPS)
    (folder / "people.csv").write_text(',id,name\n"a",NA,x\n"b",,y\n')
    (folder / "export.txt").write_bytes("Title\nid;name\n# none\n1;é\n".encode("cp1252"))
    (folder / "plain.tsv").write_text('1\t5" pipe\n')


def test_commands_of_the_page_work(database: Database, server: Server, tmp_path: Path) -> None:
    files(tmp_path)
    database.run("CREATE TABLE trips (id int, fare float8, day date)")
    database.run("CREATE TABLE people (id int, name text)")
    assert len(COMMANDS) == 8
    for command in COMMANDS:
        run = command.replace("pgflight load", f"'{binary()}' load --server {server.url}")
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {run}"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, (command, done.stderr)
    assert database.rows("SELECT count(*), count(day) FROM trips") == [(7, 1)]
    people = 'SELECT id, name FROM people ORDER BY name COLLATE "C"'
    assert database.rows(people) == [(1, '5" pipe'), (None, "x"), (None, "y"), (1, "é")]


def test_the_page_names_every_option_of_files() -> None:
    text = subprocess.run([binary(), "load", "--help"], capture_output=True, text=True).stdout
    options = re.findall(
        r"^ +(--[a-z-]+)", text.split("Options of files:")[1].split("Examples:")[0], re.MULTILINE
    )
    assert len(options) > 10
    assert [option for option in options if f"`{option}`" not in PAGE] == []
