"""What each mode does to the table, and what the options of a write change."""

from __future__ import annotations

import decimal
from typing import Any, Dict, List, Tuple

import pyarrow as pa
import pytest
from conftest import Database, Server

import pgflight

THREE = pa.table({"n": pa.array([1, 2, 3], pa.int32()), "s": ["a", None, "ç"]})
ONE = pa.table({"n": pa.array([9], pa.int32()), "s": ["z"]})
ROWS = [(1, "a"), (2, None), (3, "ç")]
SELECT = "SELECT n, s FROM public.t ORDER BY n"


@pytest.fixture
def table(database: Database) -> str:
    database.run("CREATE TABLE public.t (n int PRIMARY KEY, s text)")
    return "public.t"


def test_append_adds_to_the_rows_that_are_there(
    client: pgflight.Client, database: Database, table: str
) -> None:
    client.write(ONE, table)
    result = client.write(THREE, table)
    assert database.rows(SELECT) == [*ROWS, (9, "z")]
    assert (result.table, result.row_count, result.write_id) == ("public.t", 3, None)
    assert result.byte_count > 0
    assert 0 < result.seconds < 60


def test_append_makes_a_missing_table_on_request(
    client: pgflight.Client, database: Database
) -> None:
    with pytest.raises(pgflight.NotFound):
        client.write(THREE, "public.t")
    client.write(THREE, "public.t", create_if_missing=True)
    client.write(ONE, "public.t", create_if_missing=True)
    assert database.rows(SELECT) == [*ROWS, (9, "z")]


def test_create_makes_the_table_with_the_types_that_were_named(
    client: pgflight.Client, database: Database
) -> None:
    client.write(THREE, "public.t", mode="create", column_types={"s": "varchar(8)"})
    assert database.rows(SELECT) == ROWS
    assert database.rows(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum"
    ) == [("n", "integer"), ("s", "character varying(8)")]


@pytest.mark.parametrize(
    ("if_exists", "expected"), [("append", [*ROWS, (9, "z")]), ("ignore", [(9, "z")])]
)
def test_create_of_an_existing_table_follows_if_exists(
    client: pgflight.Client, database: Database, table: str, if_exists: str, expected: list
) -> None:
    client.write(ONE, table)
    result = client.write(THREE, table, mode="create", if_exists=if_exists)
    assert database.rows(SELECT) == expected
    assert result.row_count == len(expected) - 1


def test_create_with_ignore_succeeds_for_many_rows(
    client: pgflight.Client, database: Database, table: str
) -> None:
    many = pa.table({"n": pa.array(range(5_000_000), pa.int32())})
    result = client.write(many, table, mode="create", if_exists="ignore")
    assert result.row_count == 0
    assert database.count("t") == 0


def test_create_rejects_an_existing_table(
    client: pgflight.Client, database: Database, table: str
) -> None:
    with pytest.raises(pgflight.AlreadyExists) as refused:
        client.write(THREE, table, mode="create")
    assert refused.value.table == "public.t"
    assert database.count("t") == 0


@pytest.mark.parametrize("overwrite_with", [None, "truncate", "delete"])
def test_overwrite_replaces_the_rows_and_keeps_the_table(
    client: pgflight.Client, database: Database, table: str, overwrite_with: str
) -> None:
    oid = database.value("SELECT 't'::regclass::oid")
    client.write(ONE, table)
    client.write(THREE, table, mode="overwrite", overwrite_with=overwrite_with)
    assert database.rows(SELECT) == ROWS
    assert database.value("SELECT 't'::regclass::oid") == oid


def test_overwrite_with_swap_replaces_the_table_by_its_like(
    client: pgflight.Client, database: Database, table: str
) -> None:
    indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 't' ORDER BY 1"
    before = database.rows(indexes)
    client.write(ONE, table)
    client.write(THREE, table, mode="overwrite", overwrite_with="swap")
    assert database.rows(SELECT) == ROWS
    assert len(before) == 1
    assert database.rows(indexes) == before


def test_changes_in_an_envelope_are_applied(client: pgflight.Client, database: Database) -> None:
    database.run(
        "CREATE TABLE t (n int4 PRIMARY KEY, s text, lsn int8); INSERT INTO t VALUES (1, 'x', 1)"
    )
    row = pa.struct([("n", pa.int32()), ("s", pa.string())])
    old, new = {"n": 1, "s": "x"}, {"n": 2, "s": "y"}
    changes = pa.table(
        {
            "before": pa.array([old, None, new], row),
            "after": pa.array([None, new, {"n": 2, "s": "z"}], row),
            "source": pa.array([{"lsn": 4}, {"lsn": 2}, {"lsn": 3}]),
            "op": ["d", "c", "u"],
            "ts_ms": [1, 1, 1],
        }
    )
    result = client.write(changes, "public.t", mode="upsert", envelope="debezium", newer_by="lsn")
    assert database.rows("SELECT n, s, lsn FROM t") == [(2, "z", 3)]
    assert (result.counts.inserted, result.counts.deleted, result.counts.ignored) == (1, 1, 1)


def test_statements_run_around_the_rows(with_statements: Server, database: Database) -> None:
    database.run(
        "CREATE TABLE t (n int4, s text); CREATE TABLE log (n int8);"
        "CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM t"
    )
    with pgflight.connect(with_statements.url) as client:
        client.write(THREE, "public.t", before=["log"], after=["log", "refresh"])
        plan = client.plan(THREE.schema, "public.t", after=["refresh"])
        with pytest.raises(pgflight.NotFound, match="no statement"):
            client.write(THREE, "public.t", after=["vacuum"])
    assert any("after the rows" in warning for warning in plan.warnings)
    assert database.rows("SELECT n FROM log ORDER BY n") == [(0,), (3,)]
    assert database.value("SELECT n FROM totals") == 3


def test_overwrite_makes_a_missing_table(client: pgflight.Client, database: Database) -> None:
    client.write(THREE, "public.t", mode="overwrite")
    assert database.rows(SELECT) == ROWS


@pytest.mark.parametrize(
    ("part", "expected", "replaced"),
    [
        ({"replace_by": ["day"]}, [(1, 7), (1, 8), (2, 1)], 2),
        ({"replace_where": "day = 1 OR day > 5"}, [(1, 7), (1, 8), (2, 1)], 2),
        ({"replace_where": "day < 3"}, [(1, 7), (1, 8)], 3),
    ],
)
def test_overwrite_of_a_part_replaces_it_and_counts(
    client: pgflight.Client,
    database: Database,
    part: Dict[str, Any],
    expected: List[Tuple[int, int]],
    replaced: int,
) -> None:
    database.run("CREATE TABLE t (day int, n int); INSERT INTO t VALUES (1, 1), (1, 2), (2, 1)")
    data = pa.table({"day": pa.array([1, 1], pa.int32()), "n": pa.array([7, 8], pa.int32())})
    result = client.write(data, "t", mode="overwrite", **part)
    assert database.rows("SELECT day, n FROM t ORDER BY day, n") == expected
    assert result.counts == pgflight.RowCounts(inserted=2, replaced=replaced)
    write = client.begin("t", data.schema, mode="overwrite", **part)
    status = write.commit([write.attempt(0, "task", data.to_batches())])
    assert database.rows("SELECT day, n FROM t ORDER BY day, n") == expected
    assert status.counts == pgflight.RowCounts(inserted=2, replaced=2)


def test_changes_are_applied_and_counted(client: pgflight.Client, database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, at int, gone boolean)")
    database.run("INSERT INTO t VALUES (1, 10), (2, 10), (3, 10)")
    changes = pa.table(
        {
            "id": pa.array([1, 2, 3, 4], pa.int32()),
            "at": pa.array([20, 20, 5, 20], pa.int32()),
            "op": ["d", "u", "u", "i"],
        }
    )
    rules: Dict[str, Any] = {"delete_when": {"op": ["d"]}, "newer_by": "at", "tombstone": "gone"}
    result = client.write(changes, "t", mode="upsert", **rules)
    assert database.rows("SELECT id, at, gone FROM t ORDER BY id") == [
        (1, 20, True),
        (2, 20, False),
        (3, 10, None),
        (4, 20, False),
    ]
    counts = pgflight.RowCounts(inserted=1, updated=1, deleted=1, ignored=1)
    assert (result.counts, result.remark) == (counts, "")
    del rules["tombstone"]
    changes = pa.table(
        {"id": pa.array([2], pa.int32()), "at": pa.array([30], pa.int32()), "op": ["d"]}
    )
    result = client.write(changes, "t", mode="upsert", **rules)
    assert (result.counts.deleted, database.count("t")) == (1, 3)
    assert "tombstone" in result.remark


def test_overwrite_with_nothing_leaves_an_empty_table(
    client: pgflight.Client, database: Database, table: str
) -> None:
    client.write(ONE, table)
    assert client.write(THREE.slice(0, 0), table, mode="overwrite").row_count == 0
    assert database.count("t") == 0


def test_an_overwrite_that_fails_leaves_the_old_rows(
    client: pgflight.Client, database: Database, table: str
) -> None:
    client.write(ONE, table)
    twice = pa.concat_tables([THREE, THREE])
    with pytest.raises(pgflight.DataRejected) as refused:
        client.write(twice, table, mode="overwrite")
    assert refused.value.sqlstate == "23505"
    assert refused.value.constraint == "t_pkey"
    assert database.rows(SELECT) == [(9, "z")]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("upsert", [(1, "old"), (2, "new"), (3, "new")]),
        ("insert_if_absent", [(1, "old"), (2, "old"), (3, "new")]),
        ("update_only", [(1, "old"), (2, "new")]),
        ("delete_by_key", [(1, "old")]),
    ],
)
def test_keyed_modes_look_at_the_rows_with_the_same_keys(
    client: pgflight.Client, database: Database, table: str, mode: str, expected: list
) -> None:
    database.run("INSERT INTO t VALUES (1, 'old'), (2, 'old')")
    data = pa.table({"n": [2, 3], "s": ["new", "new"]})
    if mode == "delete_by_key":
        data = data.select(["n"])
    assert client.write(data, table, mode=mode, keys=["n"]).row_count == 2
    assert database.rows(SELECT) == expected


def test_the_latest_of_several_rows_with_the_same_key_counts(
    client: pgflight.Client, database: Database
) -> None:
    database.run("CREATE TABLE t (n int PRIMARY KEY, version int8)")
    data = pa.table({"n": [1, 1, 1], "version": [2, 3, 1]})
    with pytest.raises(pgflight.DataRejected):
        client.write(data, "t", mode="upsert", keys=["n"])
    client.write(data, "t", mode="upsert", keys=["n"], order_by="version")
    assert database.rows("SELECT * FROM t") == [(1, 3)]


def test_names_keep_their_case_and_quotes(client: pgflight.Client, database: Database) -> None:
    database.run('CREATE SCHEMA "My.Schema"')
    result = client.write(ONE, '"My.Schema"."The ""T"""', mode="create")
    assert result.table == '"My.Schema"."The ""T"""'
    assert database.count('"My.Schema"."The ""T"""') == 1


def test_values_change_only_on_request(client: pgflight.Client, database: Database) -> None:
    database.run("CREATE TABLE t (at timestamptz, price numeric(6,2), s text)")
    prices = pa.array([decimal.Decimal("1.005")], pa.decimal128(10, 3))
    data = pa.table(
        {"at": pa.array([1999], pa.timestamp("ns")), "price": prices, "s": pa.array(["a\0b"])}
    )
    asked = {
        "at": {"rounding": "floor", "zone": "+01:00"},
        "price": {"rounding": "nearest"},
        "s": {"nul": "remove"},
    }
    for missing in asked:
        given = {column: words for column, words in asked.items() if column != missing}
        with pytest.raises(pgflight.PgFlightError) as refused:
            client.write(data, "t", conversions=given)
        assert refused.value.column == missing
    client.write(data, "t", conversions=asked)
    fields = [
        pa.field(
            "at",
            pa.timestamp("ns"),
            metadata={"pgflight.rounding": "floor", "pgflight.zone": "UTC"},
        ),
        pa.field("price", pa.decimal128(10, 3), metadata={"pgflight.rounding": "floor"}),
        pa.field("s", pa.string(), metadata={"pgflight.nul": "remove"}),
    ]
    client.write(pa.table(data.columns, pa.schema(fields)), "t")
    rows = "SELECT at AT TIME ZONE 'UTC' || ' ' || price || ' ' || s FROM t ORDER BY at"
    assert database.rows(rows) == [
        ("1969-12-31 23:00:00.000001 1.01 ab",),
        ("1970-01-01 00:00:00.000001 1.00 ab",),
    ]


def test_structs_and_strings_land_in_types_of_their_own(
    client: pgflight.Client, database: Database
) -> None:
    database.run(
        "CREATE TYPE pair AS (id int, name text);"
        "CREATE TABLE t (n int, run text, list int[], pair pair, span int4range, doc tsvector)"
    )
    pairs = pa.struct([("name", pa.string()), ("id", pa.int64())])
    spans = pa.struct([("lower", pa.int32()), ("upper", pa.int32())])
    client.write(
        pa.table(
            {
                "n": pa.array([1, 2, 3]),
                "run": pa.array(["a", "a", None]).dictionary_encode(),
                "list": pa.array([[1, None], None, []], pa.large_list(pa.int16())),
                "pair": pa.array([{"id": 1, "name": "x"}, None, {"id": None, "name": None}], pairs),
                "span": pa.array(
                    [{"lower": 1, "upper": 5}, {"lower": 2, "upper": None}, None], spans
                ),
                "doc": pa.array(["a b", None, "c"]),
            }
        ),
        "t",
    )
    assert database.rows("SELECT t::text FROM t ORDER BY n") == [
        ("""(1,a,"{1,NULL}","(1,x)","[1,5)","'a' 'b'")""",),
        ('(2,a,,,"[2,)",)',),
        ("""(3,,{},"(,)",,'c')""",),
    ]


def test_a_plan_shows_what_a_write_would_do(client: pgflight.Client, database: Database) -> None:
    database.run("CREATE TABLE t (n smallint, doc tsvector)")
    schema = pa.schema([("n", pa.int64()), ("doc", pa.string())])
    plan = client.plan(schema, "t")
    assert plan
    assert plan.table == "public.t"
    assert str(plan).splitlines()[1:3] == [
        "  n: Int64 -> smallint as int2",
        "  doc: Utf8 -> tsvector as text, cast by PostgreSQL",
    ]
    refused = client.plan(pa.schema([("n", pa.date32())]), "t")
    assert not refused
    assert "Date32 into smallint" in refused.columns[0].problem
    made = client.plan(schema, "new", mode="create", column_types={"n": "numeric(9)"})
    assert made.statements == ("CREATE TABLE public.new (n numeric(9), doc text)",)
    assert database.rows("SELECT to_regclass('new')") == [(None,)]


def test_new_columns_are_added_or_left_out(client: pgflight.Client, database: Database) -> None:
    client.write(pa.table({"id": [1]}), "t", mode="create", primary_key=["id"])
    wider = pa.table({"id": [2], "note": ["two"]})
    with pytest.raises(pgflight.SchemaMismatch) as rejected:
        client.write(wider, "t")
    assert rejected.value.column == "note"
    client.write(wider, "t", schema_evolution="ignore")
    client.write(
        pa.table({"id": [3], "note": ["three"]}),
        "t",
        schema_evolution="add_columns",
        column_types={"note": "varchar(9)"},
    )
    assert database.rows("SELECT id, note FROM t ORDER BY id") == [
        (1, None),
        (2, None),
        (3, "three"),
    ]
    with pytest.raises(pgflight.DataRejected):
        client.write(pa.table({"id": [3]}), "t")
