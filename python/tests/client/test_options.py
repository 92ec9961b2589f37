"""Options of the data source and arguments of the API, without a server."""

from __future__ import annotations

import dataclasses
import os
import re
import warnings
from typing import Any, Dict, List

import pytest
from conftest import ROOT

from pgflight.errors import InvalidCommand
from pgflight.flight import command, names
from pgflight.flight.connection import Endpoint
from pgflight.options import SPARK_NAMES, WriteOptions, collect
from pgflight.spark.options import OTHER_OPTIONS, parse, parse_column_types
from pgflight.spark.schema import matching

MINIMAL = {"url": "grpc://host:8815", "dbtable": "public.trips"}


def spec(options: Dict[str, str], overwrite: bool = False) -> Dict[str, Any]:
    parsed = parse({**MINIMAL, **options}, overwrite)
    columns = [*(parsed.write.column_types or {}), *(parsed.write.conversions or {})]
    return command.write_spec(parsed.table, matching(parsed.write, columns))


APPEND = {"table": "public.trips", "append": {}}
OVERWRITE = {"table": "public.trips", "overwrite": {"with": "OVERWRITE_WITH_TRUNCATE"}}


@pytest.mark.parametrize(
    ("options", "overwrite", "expected"),
    [
        ({}, False, APPEND),
        ({}, True, OVERWRITE),
        ({"truncate": "true"}, True, OVERWRITE),
        ({"truncate": "false"}, False, APPEND),
        (
            {"overwriteWith": "DELETE"},
            True,
            {"table": "public.trips", "overwrite": {"with": "OVERWRITE_WITH_DELETE"}},
        ),
        ({"createtable": "true"}, False, {**APPEND, "append": {"createIfMissing": {}}}),
        ({"createTable": "true"}, True, OVERWRITE),
        (
            {"ifExists": "fail"},
            False,
            {"table": "public.trips", "create": {"ifExists": "IF_EXISTS_FAIL"}},
        ),
        (
            {"ifexists": "ignore"},
            False,
            {"table": "public.trips", "create": {"ifExists": "IF_EXISTS_IGNORE"}},
        ),
        (
            {"writeMode": "UPSERT", "keys": "id, `a, b`", "orderBy": "at"},
            False,
            {"table": "public.trips", "upsert": {"keys": ["id", "a, b"], "orderBy": "at"}},
        ),
        ({"writeMode": "upsert"}, False, {"table": "public.trips", "upsert": {}}),
        (
            {
                "writeMode": "upsert",
                "deleteWhen": "`my op` IN ('d', 'it''s' , -3)",
                "newerBy": "at",
                "tombstone": "gone",
                "updateColumns": "a, `b, c`",
                "insertColumns": "a, `b, c`, d",
            },
            False,
            {
                "table": "public.trips",
                "upsert": {
                    "deleteWhen": {"column": "my op", "values": ["d", "it's", "-3"]},
                    "newerBy": "at",
                    "tombstone": "gone",
                    "updateColumns": ["a", "b, c"],
                    "insertColumns": ["a", "b, c", "d"],
                },
            },
        ),
        (
            {"writeMode": "upsert", "envelope": "Debezium", "newerBy": "lsn", "tombstone": "gone"},
            False,
            {
                "table": "public.trips",
                "upsert": {"envelope": "ENVELOPE_DEBEZIUM", "newerBy": "lsn", "tombstone": "gone"},
            },
        ),
        (
            {"writeMode": "upsert", "deleteWhen": "is_deleted"},
            False,
            {"table": "public.trips", "upsert": {"deleteWhen": {"column": "is_deleted"}}},
        ),
        (
            {"replaceBy": "day, `a, b`"},
            True,
            {"table": "public.trips", "overwrite": {"replaceBy": ["day", "a, b"]}},
        ),
        (
            {"replaceWhere": "Day = '2026-01-31'", "createTable": "false"},
            True,
            {"table": "public.trips", "overwrite": {"replaceWhere": "Day = '2026-01-31'"}},
        ),
        (
            {"before": "check, mark", "after": "refresh"},
            False,
            {**APPEND, "before": ["check", "mark"], "after": ["refresh"]},
        ),
        (
            {
                "onError": "Reject",
                "rejectLimit": "0",
                "rejectPercent": "0.5",
                "rejectKinds": "range, nul",
                "rejectTable": "public.bad",
                "rejectValues": "row",
                "onDuplicate": "reject_all",
            },
            False,
            {
                **APPEND,
                "onError": "ON_ERROR_REJECT",
                "rejectLimit": "0",
                "rejectPercent": 0.5,
                "rejectKinds": ["range", "nul"],
                "rejectTable": "public.bad",
                "rejectValues": "REJECT_VALUES_ROW",
                "onDuplicate": "ON_DUPLICATE_REJECT_ALL",
            },
        ),
        ({"target": "other"}, False, {**APPEND, "target": "other"}),
        ({"publish": "direct"}, False, {**APPEND, "append": {"publish": "PUBLISH_DIRECT"}}),
        (
            {"createTableColumnTypes": "fare DECIMAL(10,2)"},
            True,
            {**OVERWRITE, "columnTypes": {"fare": "DECIMAL(10,2)"}},
        ),
    ],
)
def test_options_become_a_spec(
    options: Dict[str, str], overwrite: bool, expected: Dict[str, Any]
) -> None:
    assert spec(options, overwrite) == expected


@pytest.mark.parametrize(
    ("options", "overwrite", "says"),
    [
        ({"url": ""}, False, "'url' is missing"),
        ({"dbtable": ""}, False, "'dbtable' is missing"),
        ({"path": "public.other"}, False, "name two tables"),
        ({"url": "jdbc:postgresql://host/db"}, False, "address of a database"),
        ({"truncate": "false"}, True, "asks to drop the table"),
        ({"truncate": "yes"}, True, "neither true nor false"),
        ({"truncate": "true", "overwriteWith": "delete"}, True, "contradict"),
        ({"overwriteWith": "drop"}, True, "use one of truncate, delete, swap"),
        ({"ifExists": "replace"}, False, "use one of fail, append, ignore"),
        ({"ifExists": "fail"}, True, "contradicts"),
        ({"writeMode": "replace"}, False, "use one of upsert"),
        ({"writeMode": "upsert", "createTable": "true"}, False, "no keys are named"),
        ({"replaceBy": "day"}, False, "or use mode 'overwrite'"),
        ({"writeMode": "update_only", "newerBy": "at"}, False, "or use mode 'upsert'"),
        ({"writeMode": "upsert", "deleteWhen": "op = lower('D')"}, False, "neither a column"),
        ({"writeMode": "upsert", "deleteWhen": "op in ()"}, False, "neither a column"),
        ({"writeMode": "upsert", "tombstone": "gone"}, False, "and not both"),
        ({"replaceBy": "day", "replaceWhere": "day = 1"}, True, "contradict each other"),
        ({"replaceWhere": "day = 1", "truncate": "true"}, True, "overwrite_with .* no effect"),
        ({"replaceWhere": "day = 1", "overwriteWith": "delete"}, True, "no effect with"),
        ({"replaceWhere": "day = 1", "createTable": "true"}, True, "makes no table"),
        ({"replaceBy": "day", "createTableColumnTypes": "day int"}, True, "makes no table"),
        ({"writeMode": "upsert", "keys": "id"}, True, "contradicts"),
        ({"writeMode": "upsert", "ifExists": "fail"}, False, "contradict"),
        (
            {"writeMode": "update_only", "keys": "id", "createTable": "true"},
            False,
            "no effect in mode",
        ),
        ({"keys": "id"}, False, "or use mode 'upsert'"),
        ({"publish": "direct"}, True, "or use mode 'append'"),
        ({"publish": "two_phase", "after": "refresh"}, False, "publish is 'two_phase'"),
        ({"createTableColumnTypes": "fare NUMERIC"}, False, "Spark: createTableColumnTypes"),
        ({"createTableOptions": "WITH (fillfactor = 70)"}, False, "Spark: createTable\\)"),
        ({"createTabel": "true"}, False, "did you mean 'createTable'?"),
        ({"rejectLimit": "1"}, False, "rejectLimit\\) is set, and on_error .* is not 'reject'"),
        ({"onError": "skip"}, False, "use 'abort' or 'reject'"),
        ({"onError": "reject", "rejectLimit": "few"}, False, "which is no number"),
        ({"onError": "reject", "rejectLimit": "-1"}, False, "is negative"),
        ({"onError": "reject", "rejectPercent": "101"}, False, "from 0 to 100"),
        ({"colour": "blue"}, False, "'colour' is unknown"),
        ({"user": "me"}, False, "holds the database's credentials"),
        ({"password": "hunter2"}, False, "holds the database's credentials"),
        ({"query": "SELECT 1"}, False, "only a table"),
        ({"cascadeTruncate": "true"}, False, "never truncated"),
    ],
)
def test_wrong_options_are_rejected_with_a_reason(
    options: Dict[str, str], overwrite: bool, says: str
) -> None:
    with pytest.raises(InvalidCommand, match=says) as refused:
        spec(options, overwrite)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("option", ["driver", "batchsize", "isolationLevel", "numPartitions"])
def test_a_jdbc_option_without_effect_gives_one_warning(option: str) -> None:
    with pytest.warns(UserWarning, match=f"'{option.lower()}' has no effect") as warned:
        assert spec({option: "1"}) == APPEND
    assert len(warned) == 1


def test_options_with_a_meaning_are_taken_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parsed = parse({**MINIMAL, "WRITEID": "job-7", "token": "secret"}, False)
    assert parsed.write_id == "job-7"
    assert parsed.endpoint.token == "secret"
    assert "secret" not in repr(parsed)


def test_the_table_may_be_named_in_save() -> None:
    assert parse({"url": "grpc://host:8815", "path": "public.trips"}, False).table == "public.trips"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        (
            "name VARCHAR(64), fare DECIMAL(10,2)",
            {"name": "VARCHAR(64)", "fare": "DECIMAL(10,2)"},
        ),
        (
            "tags text[] , at timestamp(3) with time zone",
            {
                "tags": "text[]",
                "at": "timestamp(3) with time zone",
            },
        ),
        (
            '`a b` INT, "say ""x""" TEXT, `tick``s` INT',
            {
                "a b": "INT",
                'say "x"': "TEXT",
                "tick`s": "INT",
            },
        ),
        ("`one, two` NUMERIC(5, 1)", {"one, two": "NUMERIC(5, 1)"}),
        ('kind my."Type, odd"', {"kind": 'my."Type, odd"'}),
    ],
)
def test_column_types_are_split_at_their_own_commas(text: str, expected: Dict[str, str]) -> None:
    assert parse_column_types(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name", 'no type .* column="name"'),
        ("name TEXT, name INT", "twice"),
        ("fare DECIMAL(10,2", "without its end"),
        ("`fare INT", "without its end"),
    ],
)
def test_unreadable_column_types_are_rejected(text: str, says: str) -> None:
    with pytest.raises(InvalidCommand) as rejected:
        parse_column_types(text)
    assert re.search(says, str(rejected.value).replace("\n", " "))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("grpc://host:8815", "grpc://host:8815"),
        ("grpc://host:8815/", "grpc://host:8815"),
        ("host:8815", "grpc://host:8815"),
        ("grpc+tcp://[::1]:8815", "grpc+tcp://[::1]:8815"),
        ("grpc+tls://host:443", "grpc+tls://host:443"),
        ("grpc+unix:///run/pgflight.sock", "grpc+unix:///run/pgflight.sock"),
    ],
)
def test_addresses_are_taken_as_users_write_them(url: str, expected: str) -> None:
    assert Endpoint.parse(url).url == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "is missing"),
        ("grpc://host", "not a host and a port"),
        ("grpc://host:8815/path", "not a host and a port"),
        ("https://host:8815", "unknown scheme"),
        ("jdbc:postgresql://host:5432/db", "address of a database"),
        ("postgres://me:hunter2@host/db", "address of a database"),
        ("grpc://me:hunter2@host:8815", "pass token="),
    ],
)
def test_a_wrong_address_is_rejected_without_being_shown(url: str, says: str) -> None:
    with pytest.raises(InvalidCommand, match=says) as refused:
        Endpoint.parse(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"mode": "replace"}, "is 'replace', which is unknown"),
        ({"mode": "upsert", "create_if_missing": True}, "no keys are named"),
        ({"mode": "upsert", "keys": "id"}, "list of names"),
        ({"mode": "upsert", "delete_when": {"op": "d"}}, "one column with a list"),
        ({"mode": "append", "delete_when": "gone"}, "or use mode 'upsert'"),
        ({"mode": "append", "envelope": "debezium"}, "or use mode 'upsert'"),
        ({"mode": "upsert", "envelope": "canal"}, "is 'canal', which is unknown"),
        ({"mode": "upsert", "envelope": "debezium", "order_by": "at"}, "no meaning with"),
        ({"mode": "overwrite", "replace_by": "day"}, "list of names"),
        ({"mode": "append", "before": "check"}, "list of names"),
        ({"mode": "append", "order_by": "at"}, "order_by .* or use mode 'upsert'"),
        ({"mode": "upsert", "keys": ["a"], "column_types": {"a": "int"}}, "column_types"),
        ({"mode": "append", "if_exists": "fail"}, "if_exists .* or use mode 'create'"),
        ({"mode": "create", "overwrite_with": "delete"}, "or use mode 'overwrite'"),
        ({"mode": "create", "create_if_missing": True}, "'append', 'upsert'"),
        ({"mode": "upsert", "keys": ["a"], "primary_key": ["a"]}, "keys are the primary key"),
        ({"mode": "append", "column_types": {"a": "int"}}, "or set create_if_missing"),
        ({"mode": "create", "if_exists": "replace"}, "use 'fail', 'append' or 'ignore'"),
        ({"mode": "append", "table": ""}, "the table is missing"),
        ({"mode": "append", "table": ["t"]}, "of type list, and not a name"),
        ({"mode": "append", "primary_key": ["a"]}, "or set create_if_missing"),
        (
            {"mode": "delete_by_key", "keys": ["a"], "schema_evolution": "add_columns"},
            "schema_evolution .* no effect",
        ),
        ({"mode": "delete_by_key", "keys": ["a"], "sync_sequences": True}, "no effect in mode"),
        ({"mode": "create", "primary_key": "a"}, "list of names"),
        (
            {"mode": "append", "schema_evolution": "drop"},
            "use 'refuse', 'add_columns' or 'ignore'",
        ),
        ({"mode": "append", "conversions": {"a": "floor"}}, "not a mapping"),
        ({"mode": "append", "conversions": {"a": {"rounding": "up"}}}, "one of 'reject', 'floor'"),
        ({"mode": "append", "conversions": {"a": {"Zone": "UTC"}}}, "use one of rounding, nul"),
        ({"mode": "append", "conversions": {"a": {"form": "utf16"}}}, "one of 'text', 'number'"),
        ({"mode": "append", "conversions": {"a": {"srid": True}}}, "not of type int"),
        ({"mode": "append", "conversions": {"a": {"zone": 2}}}, "not of type str"),
        (
            {
                "mode": "append",
                "conversions": {"*": {"zone": "UTC"}},
                "local_timestamps": "+01:00",
            },
            "contradicts the zone",
        ),
    ],
)
def test_options_without_effect_are_rejected(arguments: Dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidCommand) as rejected:
        table = arguments.pop("table", "t")
        command.write_spec(table, WriteOptions(**arguments))
    assert re.search(says, str(rejected.value).replace("\n", " "))


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        ("trips", ("trips",)),
        ("public.Trips", ("public", "Trips")),
        ('"My.Schema"."T ""x"""', ("My.Schema", 'T "x"')),
        ('"plain"', ("plain",)),
    ],
)
def test_table_names_are_split_at_the_dots_outside_quotes(table: str, parts: tuple) -> None:
    assert names.split(table) == parts
    assert names.split(names.join(parts)) == parts


@pytest.mark.parametrize("table", ["", ".", "a.", ".a", '"a', 'a"b', '"a"b'])
def test_a_wrong_table_name_is_rejected(table: str) -> None:
    with pytest.raises(InvalidCommand, match="is not a table name"):
        names.split(table)


def test_conversions_are_json() -> None:
    given = '{"at": {"rounding": "floor", "zone": "UTC"}, "s": {"nul": "remove"}}'
    parsed = spec({"url": "grpc://h:1", "dbtable": "t", "conversions": given})
    assert parsed["conversions"] == {
        "at": {"rounding": "ROUNDING_FLOOR", "zone": "UTC"},
        "s": {"nul": "NUL_REMOVE"},
    }
    given = """{"n": {"overflow": "null", "unit": "days", "infinity_sentinels": true},
                "s": {"nul": "replace", "nul_replacement": "?", "too_long": "truncate"},
                "g": {"form": "base64", "srid": 4326}}"""
    parsed = spec({"url": "grpc://h:1", "dbtable": "t", "conversions": given})
    assert parsed["conversions"] == {
        "n": {"overflow": "OVERFLOW_NULL", "unit": "UNIT_DAYS", "infinitySentinels": True},
        "s": {"nul": "NUL_REPLACE", "nulReplacement": "?", "tooLong": "TOO_LONG_TRUNCATE"},
        "g": {"form": "FORM_BASE64", "srid": 4326},
    }
    with pytest.raises(InvalidCommand, match="not a JSON object"):
        spec({"url": "grpc://h:1", "dbtable": "t", "conversions": "at: floor"})


def test_new_columns_and_a_primary_key_can_be_asked_for() -> None:
    given = {"schemaEvolution": "add_columns", "createTableColumnTypes": "fare NUMERIC(5,2)"}
    assert spec(given) == {
        **APPEND,
        "append": {"schemaEvolution": "SCHEMA_EVOLUTION_ADD_COLUMNS"},
        "columnTypes": {"fare": "NUMERIC(5,2)"},
    }
    upsert = {"writeMode": "upsert", "keys": "id", "createTable": "true"}
    parsed = spec({**upsert, "createTableColumnTypes": "fare NUMERIC(5,2)"})
    assert parsed["upsert"] == {"keys": ["id"], "createIfMissing": {}}
    assert parsed["columnTypes"] == {"fare": "NUMERIC(5,2)"}
    given = {"createTable": "true", "primaryKey": "id, region", "createTableOptions": "WITH (a)"}
    new_table = {"primaryKey": ["id", "region"], "options": "WITH (a)"}
    assert spec(given)["append"] == {"createIfMissing": new_table}


def test_options_are_given_in_one_way() -> None:
    options = WriteOptions(mode="upsert", keys=["id"])
    assert collect(options, None, {}) is options
    assert collect(None, "upsert", {"keys": ["id"]}) == options
    assert collect(None, None, {}).mode == "append"
    with pytest.raises(InvalidCommand, match="keys and options are both given"):
        collect(options, None, {"keys": ["id"]})
    with pytest.raises(TypeError, match="create_if_mising"):
        collect(None, None, {"create_if_mising": True})


# ── the page ─────────────────────────────────────────────────────────────────


def meanings() -> Dict[str, str]:
    """Returns what the docstring of `WriteOptions` says of each field."""
    doc = WriteOptions.__doc__ or ""
    found: Dict[str, str] = {}
    for line in doc.partition("Attributes:")[2].partition("Raises:")[0].splitlines():
        name, colon, text = line.strip().partition(": ")
        if colon and line.startswith(" " * 8) and line[8] != " ":
            found[name] = text
        elif line.strip():
            found[name_of_last(found)] += f" {line.strip()}"
    return found


def name_of_last(found: Dict[str, str]) -> str:
    return list(found)[-1]


def option_rows() -> List[str]:
    """Returns the rows of the table of options in docs/spark.md."""
    rows = ["| Spark | Python | meaning |", "| --- | --- | --- |"]
    rows += [f"| `{o.spark}` | `{o.python}` | {o.meaning} |" for o in OTHER_OPTIONS[:3]]
    rows += [f"| `{SPARK_NAMES[name]}` | `{name}` | {text} |" for name, text in meanings().items()]
    rows += [f"| `{o.spark}` | `{o.python}` | {o.meaning} |" for o in OTHER_OPTIONS[3:]]
    return rows


def test_the_page_lists_the_options_of_the_code() -> None:
    fields = [field.name for field in dataclasses.fields(WriteOptions)]
    assert list(SPARK_NAMES) == list(meanings())
    assert sorted(SPARK_NAMES) == sorted(fields)
    page = ROOT / "docs/spark.md"
    text = page.read_text()
    begin, end = "<!-- options -->\n", "<!-- end of options -->"
    table = "\n".join(option_rows()) + "\n"
    held = text.partition(begin)[0] + begin + table + end + text.partition(end)[2]
    if os.environ.get("PGFLIGHT_UPDATE"):
        page.write_text(held)
        return
    assert text == held, "docs/spark.md differs from the code; write it by PGFLIGHT_UPDATE=1"


@pytest.mark.parametrize("name", SPARK_NAMES)
def test_the_protocol_has_each_option(name: str) -> None:
    proto = (ROOT / "proto/pgflight/v1/write.proto").read_text()
    if name == "mode":
        assert "oneof mode {" in proto
        return
    names = {
        "table_options": "options",
        "overwrite_with": "with",
        "local_timestamps": "conversions",
    }
    field = names.get(name, name)
    assert re.search(rf"(?m)^ +(?:repeated |optional )?[\w<>, ]+ {field} = \d+;", proto), name
