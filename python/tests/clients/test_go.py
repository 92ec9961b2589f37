"""What arrow-go's Flight SQL client does that others do not, and its example."""

from __future__ import annotations

import pytest
from conftest import Database, Server
from program import check_example, has_rows, ingest, steps


def test_the_example_of_the_docs_writes_its_rows(server: Server, database: Database) -> None:
    check_example("go", "go/append", server, database)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_batches_arrive(server: Server, database: Database, compression: str) -> None:
    with steps("go", server.url) as client:
        fields = ingest("t", "create", rows=50_000, compression=compression)
        assert client.run("ingest", **fields) == 50_000
    assert has_rows(database, "t", 1, 50_000)
