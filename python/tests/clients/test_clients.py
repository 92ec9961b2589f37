"""Flight SQL clients of other languages: what every one of them can do."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Iterator

import pytest
from conftest import Database, Server, losing_replies_to, wait_until
from program import EXPECTED, Steps, has_rows, ingest, steps

COLUMNS = "id int8, name text, amount float8, at timestamptz"


@pytest.fixture(params=["go", "java"])
def language(request: Any) -> str:
    return str(request.param)


@pytest.fixture
def client(language: str, server: Server) -> Iterator[Steps]:
    with steps(language, server.url) as client:
        yield client


def no_copy_runs(database: Database) -> bool:
    """Whether no ingest has a connection of the server."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^COPY' AND state = 'active'"
    return int(database.value(query)) == 0


@pytest.mark.parametrize(
    ("mode", "without", "having"),
    [
        ("create", (1, 5), "already exists"),
        ("append", "does not exist", (0, 5)),
        ("replace", (1, 5), (1, 5)),
        ("create_append", (1, 5), (0, 5)),
    ],
)
def test_each_mode_treats_missing_and_existing_tables(
    client: Steps, database: Database, mode: str, without: Any, having: Any
) -> None:
    database.run("CREATE SCHEMA s")
    for schema, expected in (("public", without), ("s", having)):
        if schema == "s":
            database.run(f"CREATE TABLE s.t ({COLUMNS})")
            database.run(f"INSERT INTO s.t {EXPECTED}", 0, 0)
        if isinstance(expected, str):
            assert expected in client.fail_to_ingest("t", mode, schema=schema)
        else:
            assert client.ingest("t", mode, schema=schema) == 5
            assert has_rows(database, f"{schema}.t", *expected)


def test_a_catalog_is_a_target(
    language: str, targets: Server, database: Database, other: Database
) -> None:
    with steps(language, targets.url) as client:
        assert client.ingest("t", "create", catalog="other") == 5
        assert client.run("catalogs") == [["first"], ["other"]]
    assert has_rows(other, "t", 1, 5)
    assert database.value("SELECT to_regclass('t') IS NULL")


@pytest.mark.parametrize("batch", [10_000, 1_000_000])
def test_a_million_rows_arrive(client: Steps, database: Database, batch: int) -> None:
    assert client.ingest("t", "create", rows=1_000_000, batch=batch) == 1_000_000
    assert has_rows(database, "t", 1, 1_000_000)


def test_concurrent_connections_write_all_rows(client: Steps, database: Database) -> None:
    database.run(f"CREATE TABLE t ({COLUMNS})")
    fields = ingest("t", "append", rows=20_000, connections=4, times=2)
    assert client.run("concurrent", **fields) == 160_000
    database.run("CREATE TABLE once AS SELECT DISTINCT * FROM t")
    assert has_rows(database, "once", 1, 80_000)
    assert database.count("t") == 160_000


def test_a_commit_keeps_all_ingests_and_a_rollback_none(client: Steps, database: Database) -> None:
    database.run(f"CREATE TABLE t ({COLUMNS}); CREATE TABLE u (LIKE t)")
    for end, before, after in (("rollback", 0, 0), ("commit", 0, 5), ("rollback", 5, 5)):
        client.run("begin")
        for table in "tu":
            assert client.ingest(table, "append", transaction=True) == 5
        assert client.run("update", sql="DELETE FROM u", transaction=True) == -1
        assert client.ingest("u", "append", transaction=True) == 5
        assert (database.count("t"), database.count("u")) == (before, before)
        client.run(end)
        assert (database.count("t"), database.count("u")) == (after, after)


def test_an_error_in_a_transaction_rolls_everything_back(client: Steps, database: Database) -> None:
    database.run(
        f"CREATE TABLE t ({COLUMNS}); CREATE TABLE k (LIKE t); ALTER TABLE k ADD PRIMARY KEY (id)"
    )
    client.ingest("k", "append", first=3)
    client.run("begin")
    client.ingest("t", "append", transaction=True)
    assert "23505" in client.fail_to_ingest("k", "append", transaction=True)
    assert "25P02" in client.fail_to_ingest("t", "append", transaction=True)
    assert "25P02" in client.fail("commit")
    client.run("begin")
    client.ingest("t", "append", first=10, transaction=True)
    client.run("commit")
    assert has_rows(database, "t", 10, 14)
    assert has_rows(database, "k", 3, 7)


def test_a_reader_that_fails_leaves_nothing(client: Steps, database: Database) -> None:
    database.run(f"CREATE TABLE t ({COLUMNS})")
    broken = {"rows": 30, "batch": 10, "fail_after": 2, "deadline": 1000}
    assert "the source broke" in client.fail_to_ingest("t", "append", **broken)
    wait_until(lambda: no_copy_runs(database))
    assert database.count("t") == 0
    assert client.ingest("t", "append") == 5
    client.run("begin")
    client.ingest("t", "append", first=10, transaction=True)
    assert "broke" in client.fail_to_ingest("t", "append", transaction=True, **broken)
    client.run("rollback")
    assert has_rows(database, "t", 1, 5)
    # No lock is left.
    wait_until(lambda: no_copy_runs(database))
    database.run("SET lock_timeout = '5s'; DROP TABLE t")


def test_no_commit_keeps_rows_of_an_ingest_that_failed(client: Steps, database: Database) -> None:
    database.run(f"CREATE TABLE t ({COLUMNS})")
    failed = {"first": 100, "rows": 30, "batch": 10, "transaction": True, "deadline": 1000}
    committed = 0
    for batches in (0, 1, 2) * 5:
        client.run("begin")
        client.ingest("t", "append", transaction=True)
        client.fail_to_ingest("t", "append", fail_after=batches, **failed)
        # The server knows of the failed ingest, unless the commit overtakes it.
        committed += "error" not in client.answer("commit")
    wait_until(lambda: no_copy_runs(database))
    assert database.value("SELECT count(*) FROM t WHERE id >= 100") == 0
    assert database.count("t") == 5 * committed


def test_an_ingest_with_an_id_happens_once(client: Steps, database: Database) -> None:
    database.run(f"CREATE TABLE t ({COLUMNS})")
    headers = {"x-pgflight-write-id": "load 7", "x-pgflight-rows": "5"}
    broken = {"batch": 2, "fail_after": 2, "deadline": 1000}
    client.fail_to_ingest("t", "append", headers=headers, **broken)
    wait_until(lambda: no_copy_runs(database))
    for _ in range(2):
        assert client.ingest("t", "append", headers=headers) == 5
    assert has_rows(database, "t", 1, 5)
    assert "write id was used" in client.fail_to_ingest("other", "create", headers=headers)
    headers = {"x-pgflight-write-id": "load 8", "x-pgflight-rows": "6"}
    assert "6" in client.fail_to_ingest("t", "append", headers=headers)
    assert has_rows(database, "t", 1, 5)


def test_a_lost_answer_and_a_retry_write_once(
    language: str, server: Server, database: Database
) -> None:
    database.run(f"CREATE TABLE the_table ({COLUMNS})")
    headers = {"x-pgflight-write-id": "load 7", "x-pgflight-rows": "300"}
    # PutResult with DoPutUpdateResult{record_count: 300}.
    answer = b"\x0a\x03\x08\xac\x02"
    proxy = losing_replies_to(b"the_table", server, answer, times=1)
    with proxy as url, steps(language, url) as client:
        client.fail_to_ingest("the_table", "append", rows=300, headers=headers)
        assert has_rows(database, "the_table", 1, 300)
        assert client.ingest("the_table", "append", rows=300, headers=headers) == 300
    assert has_rows(database, "the_table", 1, 300)


def test_an_upsert_comes_by_headers(client: Steps, database: Database) -> None:
    database.run(f"CREATE TABLE t ({COLUMNS}); ALTER TABLE t ADD PRIMARY KEY (id)")
    database.run("INSERT INTO t (id, name) VALUES (2, 'old')")
    headers = {"x-pgflight-mode": "upsert", "x-pgflight-keys": "id"}
    assert client.ingest("t", "append", headers=headers) == 5
    assert has_rows(database, "t", 1, 5)


def test_the_client_reads_facts_and_tables(client: Steps, database: Database) -> None:
    database.run("CREATE SCHEMA s; CREATE TABLE s.a_b (id int PRIMARY KEY, name text)")
    database.run('CREATE TABLE "aXb" (n int); CREATE VIEW v AS SELECT 1')
    ab = ["default", "s", "a_b", "TABLE", ["id", "name"]]
    ax = ["default", "public", "aXb", "TABLE", ["n"]]
    assert client.run("facts") == [["0", "pgflight"], ["8", "1"], ["10", "true"]]
    assert client.run("catalogs") == [["default"]]
    assert client.run("schemas") == [["default", "public"], ["default", "s"]]
    assert client.run("types") == [["TABLE"]]
    assert client.run("tables", table="a%") == [ax, ab]
    assert client.run("tables", table="a\\_b") == [ab]
    assert client.run("tables", table="nothing") == []
    keys = client.run("keys", schema="s", table="a_b")
    assert [row[:5] for row in keys] == [["default", "s", "a_b", "id", "1"]]


@pytest.mark.parametrize(
    ("table", "fields", "error"),
    [
        ("k", {}, "table public.k, row 2, constraint k_pkey, SQLSTATE 23505"),
        ("d", {}, r"column id.*Hint: "),
        ("t", {"temporary": True}, r"temporary.*Hint: "),
    ],
)
def test_an_error_says_where_and_what_to_do(
    client: Steps, database: Database, table: str, fields: Any, error: str
) -> None:
    database.run(f"CREATE TABLE k ({COLUMNS}); ALTER TABLE k ADD PRIMARY KEY (id)")
    database.run(
        "INSERT INTO k (id) VALUES (3); CREATE TABLE d (LIKE k); ALTER TABLE d ALTER id TYPE date USING NULL"
    )
    with pytest.raises(AssertionError, match=error):
        client.ingest(table, "append", **fields)
    assert database.count("k") == 1


INSERT = "INSERT INTO t (id, name, amount, at) VALUES (?, ?, ?, ?)"


@pytest.mark.parametrize("step", ["prepare", "database"])
def test_a_prepared_insert_takes_rows(
    language: str, client: Steps, database: Database, step: str
) -> None:
    database.run(f"CREATE TABLE t (at timestamptz, {COLUMNS.rsplit(',', 1)[0]})")
    insert, at, rows = INSERT, "at", 5
    if (language, step) == ("java", "database"):
        # Arrow's JDBC driver sends whole milliseconds.
        at = "at + id * interval '1 microsecond'"
    elif (language, step) == ("go", "database"):
        # arrow-go's driver for database/sql sends neither timestamps nor NULL.
        insert, rows = "INSERT INTO t (id, name, amount) VALUES (?, ?, ?)", 2
        at = "timestamptz 'epoch' + id * interval '1.000001 second'"
    assert client.run(step, sql=insert, first=1, rows=rows) == rows
    database.run(f"CREATE VIEW v AS SELECT id, name, amount, {at} AS at FROM t")
    assert has_rows(database, "v", 1, rows)


def test_a_prepared_insert_is_part_of_its_transaction(client: Steps, database: Database) -> None:
    database.run(f"CREATE TABLE t ({COLUMNS})")
    for end, after in (("rollback", 0), ("commit", 5)):
        client.run("begin")
        assert client.run("prepare", sql=INSERT, first=1, rows=5, transaction=True) == 5
        assert database.count("t") == 0
        client.run(end)
        assert database.count("t") == after


@pytest.mark.parametrize("step", ["update", "prepare", "database"])
def test_another_insert_is_refused_with_what_to_use(
    client: Steps, database: Database, step: str
) -> None:
    database.run(f"CREATE TABLE t ({COLUMNS})")
    error = client.fail(step, sql="INSERT INTO t (id) VALUES (?), (?)", first=1, rows=1)
    assert "is not served" in error
    assert "Hint: " in error
    assert "CommandStatementIngest" in error
    assert database.count("t") == 0


def test_a_token_comes_by_a_header(language: str, database: Database, tmp_path: Path) -> None:
    database.run(f"CREATE TABLE mine ({COLUMNS}); CREATE TABLE other (LIKE mine)")
    digest = hashlib.sha256(b"etl").hexdigest()
    grants = "[{ tables = ['public.mine'], modes = ['append'] }]"
    file = tmp_path / "pgflight.toml"
    file.write_text(f"[principals.etl]\ntokens = ['sha256:{digest}']\ngrants = {grants}\n")
    token = {"authorization": "Bearer etl"}
    server = Server(database.url, "--config", str(file))
    with server, steps(language, server.url) as client:
        assert client.ingest("mine", "append", headers=token) == 5
        found = client.run("tables", table="%", headers=token)
        assert [row[2] for row in found] == ["mine"]
        assert "grant" in client.fail_to_ingest("other", "append", headers=token)
        assert "missing credentials" in client.fail_to_ingest("mine", "append")
    assert has_rows(database, "mine", 1, 5)
    assert database.count("other") == 0
