"""Starts an installed server, and writes rows through it.

    PGFLIGHT_TEST_URL=postgres://… python3 scripts/lib/shipped_check.py PROGRAM serve

Uses the client that is installed beside it, and no other file of the checkout.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pyarrow as pa

import pgflight


def main() -> None:
    """Writes two rows, and reads them from PostgreSQL."""
    postgres, command = os.environ["PGFLIGHT_TEST_URL"], sys.argv[1:]
    installed = Path(pgflight.__file__).resolve()
    assert Path(sys.prefix).resolve() in installed.parents, installed
    options = ["--listen", "127.0.0.1:0", "--postgres", postgres]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        lines = iter(server.stderr.readline, "")
        address = next(m[1] for line in lines if (m := re.search(r"listening on (\S+)", line)))
        with pgflight.connect(f"grpc://{address}") as client:
            client.write(pa.table({"id": [1, 2]}), "public.shipped", mode="create")
        server.terminate()
        server.stderr.read()
    assert server.returncode == 0, server.returncode
    with psycopg.connect(postgres) as session:
        rows = session.execute("SELECT id FROM public.shipped ORDER BY id").fetchall()
    assert rows == [(1,), (2,)], rows
    print(f"  {command[0]} wrote its rows")


if __name__ == "__main__":
    main()
