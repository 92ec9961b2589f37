"""The examples without Spark in README and docs work."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Database, Server
from documented import TRIPS, Block, blocks


@pytest.mark.parametrize("block", blocks("nothing"), ids=lambda block: block.place)
def test_a_block_of_the_docs_writes_its_rows(
    block: Block, server: Server, database: Database, tmp_path: Path
) -> None:
    block.run(server, database, tmp_path, table=TRIPS)
