"""Tables of TPC-H, which other people's benchmarks have as well."""

from __future__ import annotations

import subprocess
import sysconfig
import tempfile
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

#: Rows at scale factor 1.
ROWS = {"lineitem": 6_001_215, "orders": 1_500_000}

COLUMNS = {
    "lineitem": {
        "l_orderkey": "bigint",
        "l_partkey": "bigint",
        "l_suppkey": "bigint",
        "l_linenumber": "integer",
        "l_quantity": "numeric(15,2)",
        "l_extendedprice": "numeric(15,2)",
        "l_discount": "numeric(15,2)",
        "l_tax": "numeric(15,2)",
        "l_returnflag": "text",
        "l_linestatus": "text",
        "l_shipdate": "date",
        "l_commitdate": "date",
        "l_receiptdate": "date",
        "l_shipinstruct": "text",
        "l_shipmode": "text",
        "l_comment": "text",
    },
    "orders": {
        "o_orderkey": "bigint",
        "o_custkey": "bigint",
        "o_orderstatus": "text",
        "o_totalprice": "numeric(15,2)",
        "o_orderdate": "date",
        "o_orderpriority": "text",
        "o_clerk": "text",
        "o_shippriority": "integer",
        "o_comment": "text",
    },
}


def rows(table: str, row_count: int) -> pa.Table:
    """Returns so many rows of a table, as TPC-H's generator makes them at the smallest scale that has them."""
    scale = row_count / ROWS[table]
    if scale != 1:
        # The number of lines of an order varies.
        scale *= 1.02
    with tempfile.TemporaryDirectory() as folder:
        program = Path(sysconfig.get_path("scripts")) / "tpchgen-cli"
        options = ["-s", str(scale), f"--tables={table}", f"--output-dir={folder}"]
        subprocess.run([program, "parquet", *options], check=True)
        made = parquet.read_table(Path(folder) / f"{table}.parquet")
    # Not views, which some of the compared tools do not take; and without what Parquet says of its fields.
    fields = [
        pa.field(field.name, pa.string() if field.type == pa.string_view() else field.type)
        for field in made.schema
    ]
    return made.slice(0, row_count).cast(pa.schema(fields))
