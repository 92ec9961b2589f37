"""The Python blocks of README and docs, which tests run as a reader would."""

from __future__ import annotations

import re
from typing import Any, Iterator, NamedTuple

import pyarrow as pa
from conftest import ROOT, Database, Server

PAGES = sorted([ROOT / "README.md", ROOT / "python/README.md", *ROOT.glob("docs/*.md")])
ROWS = 1000
TRIPS = pa.table({"id": pa.array(range(ROWS), pa.int64()), "fare": [7.5] * ROWS})


class Block(NamedTuple):
    """A fenced block of a page."""

    place: str
    code: str

    @property
    def needs(self) -> str:
        """The environment that it needs: `nothing`, `spark`, `spark4`, or `jvm`: the jar."""
        if "PgCatalog" in self.code:
            return "jvm"
        if re.search(r'format\("pgflight"\)|\bpgflight\.register\b', self.code):
            return "spark4"
        return "spark" if re.search(r"\b(df|spark)\b", self.code) else "nothing"

    def run(self, server: Server, database: Database, folder: Any, **names: Any) -> None:
        """Runs it with a server and a folder that exist."""
        if 'mode="create"' not in self.code:
            key = " PRIMARY KEY" if "upsert" in self.code else ""
            database.run(f"CREATE TABLE public.trips (id int8{key}, fare float8)")
        code = re.sub(r"grpc(\+tls)?://[\w.]+:8815", server.url, self.code)
        code = code.replace("s3://bucket", str(folder))
        space = {"__name__": self.place, **names}
        exec("import pgflight", space)
        exec(compile(code, self.place, "exec"), space)
        for query in space["spark"].streams.active if "spark" in space else ():
            query.processAllAvailable()
            query.stop()
        # Some blocks write the rows twice, in two ways.
        written = database.rows("SELECT count(*), count(DISTINCT id) FROM public.trips")
        assert written in [[(ROWS, ROWS)], [(2 * ROWS, ROWS)]], self.place


def trips(spark: Any, block: Block, folder: Any) -> Any:
    """Returns the rows as the kind of frame that the block needs."""
    path = str(folder / "input")
    rows = zip(*TRIPS.to_pydict().values())
    spark.createDataFrame(rows, "id bigint, fare double").repartition(3).write.parquet(path)
    reader = spark.readStream if ".writeStream" in block.code else spark.read
    return reader.schema("id bigint, fare double").parquet(path)


def blocks(needs: str) -> Iterator[Block]:
    """Yields all blocks that need exactly this."""
    for page in PAGES:
        text = page.read_text()
        for found in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, found.start()) + 1
            block = Block(f"{page.relative_to(ROOT)}:{line}", found[1])
            if block.needs == needs:
                yield block
