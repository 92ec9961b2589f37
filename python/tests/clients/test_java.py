"""What Arrow's Java clients do that others do not, and their example."""

from __future__ import annotations

import subprocess

from conftest import Database, Server
from program import check_example, command, steps


def test_the_example_of_the_docs_writes_its_rows(server: Server, database: Database) -> None:
    check_example("java", "java/src/main/java/clients", server, database)


def test_the_example_of_jdbc_inserts_its_rows(server: Server, database: Database) -> None:
    database.run("CREATE TABLE trips (id int8, fare float8)")
    words = command("java", "Insert")
    done = subprocess.run([*words, server.url.split("//")[1]], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"3\n"
    assert database.rows("TABLE trips ORDER BY id") == [(1, 7.5), (2, 7.5), (3, 7.5)]


def test_jdbc_names_the_statement_and_what_to_use(server: Server) -> None:
    with steps("java", server.url) as client:
        error = client.fail("database", sql="UPDATE t SET id = ?")
    assert "SQLException" in error
    assert "UPDATE t SET id = ?" in error
    assert "send rows with CommandStatementIngest" in error


def test_jdbc_commits_each_call_whatever_autocommit_says(
    server: Server, database: Database
) -> None:
    database.run("CREATE TABLE t (id int8)")
    with steps("java", server.url) as client:
        client.run("uncommitted", sql="INSERT INTO t VALUES (?)")
    assert database.rows("TABLE t ORDER BY id") == [(1,), (2,)]


def test_the_client_reads_the_types_of_columns(server: Server) -> None:
    with steps("java", server.url) as client:
        found = client.run("column_types", code=93)
    assert [(row[0], row[12]) for row in found] == [
        ("timestamp", "timestamp without time zone"),
        ("timestamptz", "timestamp with time zone"),
    ]
