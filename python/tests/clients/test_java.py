"""What Arrow's Java clients do that others do not, and their example."""

from __future__ import annotations

from conftest import Database, Server
from program import check_example, steps


def test_the_example_of_the_docs_writes_its_rows(server: Server, database: Database) -> None:
    check_example("java", "java/src/main/java/clients/Append.java", server, database)


def test_jdbc_names_the_statement_and_what_to_use(server: Server) -> None:
    with steps("java", server.url) as client:
        error = client.fail("database", sql="INSERT INTO t (id) VALUES (?)")
    assert "SQLException" in error
    assert "INSERT INTO t (id) VALUES (?)" in error
    assert "send rows with CommandStatementIngest" in error
