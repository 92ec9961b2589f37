"""Compares what `pgflight load` makes of CSV files with what PostgreSQL's COPY makes of them.

    python scripts/lib/csv_check.py --server grpc://127.0.0.1:8815 --postgres URL FOLDER...

Every file below the folders goes into two tables of text columns: by `COPY … (FORMAT csv, HEADER)`, as psql's \\copy sends
it, and by `pgflight load`. The rows must be equal, or both must refuse the file. Good folders are those of the Python
packages statsmodels, bokeh_sampledata, vega_datasets and pydataset. The exit status is 1 if a file differs.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from typing import BinaryIO, Iterator, List, Optional, Tuple, cast

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parents[2]
# The longest name that PostgreSQL keeps, in bytes, and the most columns of a table.
LONGEST = 63
MOST_COLUMNS = 1600
DIFFERENCES = """
    SELECT count(*) FROM (
        (TABLE csv_check.copied EXCEPT ALL TABLE csv_check.loaded)
        UNION ALL
        (TABLE csv_check.loaded EXCEPT ALL TABLE csv_check.copied)
    ) AS differing"""


def files(folders: List[Path]) -> Iterator[Path]:
    """Yields the CSV files of folders, and those in archives, which are unpacked."""
    for folder in folders:
        found = [path for ending in ["csv", "csv.gz"] for path in folder.rglob(f"*.{ending}")]
        # macOS puts files of its own beside those of an archive, as `._name`.
        yield from sorted(path for path in found if path.is_file() and path.name[0] != ".")
        for archive in sorted(folder.rglob("*.tar.gz")):
            with tempfile.TemporaryDirectory(prefix="csv-check-") as unpacked:
                with tarfile.open(archive) as members:
                    members.extractall(unpacked, filter="data")
                yield from files([Path(unpacked)])


def opened(path: Path) -> BinaryIO:
    """Opens the content of a file."""
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def columns(path: Path) -> Tuple[List[str], List[str]]:
    """Returns the names of a file's columns, and the options for a header that is no list of distinct names."""
    with opened(path) as file:
        lines = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
        names = next(csv.reader(lines), [])
    text = "".join(names)
    is_good = text.isprintable() and all(0 < len(name.encode()) <= LONGEST for name in names)
    if is_good and len(set(names)) == len(names):
        return names, []
    numbered = [f"c{number}" for number in range(len(names))]
    return numbered, ["--columns", ",".join(numbered)]


def copy(connection: psycopg.Connection, path: Path) -> Optional[str]:
    """Copies a file as psql's \\copy does; returns the error."""
    statement = "COPY csv_check.copied FROM STDIN (FORMAT csv, HEADER)"
    try:
        with opened(path) as file, connection.cursor().copy(statement) as copying:
            while block := file.read(1 << 16):
                copying.write(block)
    except psycopg.Error as error:
        return str(error).splitlines()[0]
    return None


def load(binary: str, server: str, path: Path, options: List[str]) -> Optional[str]:
    """Loads a file; returns the error."""
    command = [binary, "load", "--server", server, "--to", "csv_check.loaded", *options, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stderr.splitlines()
    errors = [line for line in lines if "cannot read" in line] or lines
    return None if done.returncode == 0 else errors[0]


def check(connection: psycopg.Connection, binary: str, server: str, path: Path) -> str:
    """Compares one file, and returns `equal`, `refused by both`, or what differs."""
    names, options = columns(path)
    if len(names) > MOST_COLUMNS:
        return "refused by both: no table has so many columns"
    texts = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in names)
    connection.execute("DROP SCHEMA IF EXISTS csv_check CASCADE")
    connection.execute("CREATE SCHEMA csv_check")
    for table in ["copied", "loaded"]:
        connection.execute(
            sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier("csv_check", table), texts)
        )
    refused, error = copy(connection, path), load(binary, server, path, options)
    if refused and error:
        return f"refused by both: {refused}; {error}"
    if refused or error:
        return f"refused by {'COPY' if refused else 'load'} alone: {refused or error}"
    differing = connection.execute(DIFFERENCES).fetchone()
    return "equal" if differing == (0,) else f"{differing} rows differ"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--server", required=True)
    parser.add_argument("--postgres", required=True)
    parser.add_argument("--binary", default=str(ROOT / "target/debug/pgflight"))
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    with psycopg.connect(options.postgres, autocommit=True) as connection:
        for path in files(options.folders):
            outcome = check(connection, options.binary, options.server, path)
            counts[outcome.split(":")[0]] += 1
            if outcome != "equal":
                print(f"{path.name}: {outcome}")
        connection.execute("DROP SCHEMA IF EXISTS csv_check CASCADE")
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))
    good = {"equal", "refused by both"}
    return 0 if set(counts) <= good else 1


if __name__ == "__main__":
    sys.exit(main())
