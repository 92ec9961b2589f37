"""Options of the data source and arguments of the API: no server is asked."""

from __future__ import annotations

import warnings
from typing import Any, Dict

import pytest

from pgflight import command, names
from pgflight.connection import Endpoint
from pgflight.errors import InvalidCommand
from pgflight.spark_options import parse, parse_column_types

MINIMAL = {"url": "grpc://host:8815", "dbtable": "public.trips"}


def spec(options: Dict[str, str], overwrite: bool = False) -> Dict[str, Any]:
    parsed = parse({**MINIMAL, **options}, overwrite)
    return parsed.spec([*parsed.column_types, *parsed.conversions])


APPEND = {"table": "public.trips", "mode": "MODE_APPEND"}
OVERWRITE = {
    "table": "public.trips",
    "mode": "MODE_OVERWRITE",
    "overwriteWith": "OVERWRITE_WITH_TRUNCATE",
}
CREATE = {"table": "public.trips", "mode": "MODE_CREATE"}


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
            {**OVERWRITE, "overwriteWith": "OVERWRITE_WITH_DELETE"},
        ),
        ({"createtable": "true"}, False, {**APPEND, "createIfMissing": True}),
        ({"createTable": "true"}, True, OVERWRITE),
        ({"ifExists": "fail"}, False, {**CREATE, "ifExists": "IF_EXISTS_FAIL"}),
        ({"ifexists": "ignore"}, False, {**CREATE, "ifExists": "IF_EXISTS_IGNORE"}),
        (
            {"writeMode": "UPSERT", "keys": "id, `a, b`", "orderBy": "at"},
            False,
            {**APPEND, "mode": "MODE_UPSERT", "keys": ["id", "a, b"], "orderBy": "at"},
        ),
        ({"target": "other"}, False, {**APPEND, "target": "other"}),
        ({"publish": "direct"}, False, {**APPEND, "publish": "PUBLISH_DIRECT"}),
        (
            {"createTableColumnTypes": "fare DECIMAL(10,2)"},
            True,
            {**OVERWRITE, "tableDefinition": {"columnTypes": {"fare": "DECIMAL(10,2)"}}},
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
        ({"path": "public.other"}, False, "named twice"),
        ({"url": "jdbc:postgresql://host/db"}, False, "address of a database"),
        ({"truncate": "false"}, True, "never does"),
        ({"truncate": "yes"}, True, "must be true or false"),
        ({"truncate": "true", "overwriteWith": "delete"}, True, "contradict"),
        ({"overwriteWith": "drop"}, True, "truncate, delete or swap"),
        ({"ifExists": "replace"}, False, "fail, append or ignore"),
        ({"ifExists": "fail"}, True, "contradicts"),
        ({"writeMode": "replace"}, False, "must be upsert"),
        ({"writeMode": "upsert"}, False, "needs keys"),
        ({"writeMode": "upsert", "keys": "id"}, True, "contradicts"),
        ({"writeMode": "upsert", "ifExists": "fail"}, False, "contradict"),
        (
            {"writeMode": "update_only", "keys": "id", "createTable": "true"},
            False,
            "meaning in mode",
        ),
        ({"keys": "id"}, False, "has a meaning in mode 'upsert'"),
        ({"publish": "direct"}, True, "has a meaning in mode 'append'"),
        ({"createTableColumnTypes": "fare NUMERIC"}, False, "createTable=true"),
        ({"createTableOptions": "WITH (fillfactor = 70)"}, False, "create_if_missing=True"),
        ({"createTabel": "true"}, False, "did you mean 'createTable'?"),
        ({"colour": "blue"}, False, "'colour' is not known"),
        ({"user": "me"}, False, "holds the database's credentials"),
        ({"password": "hunter2"}, False, "holds the database's credentials"),
        ({"query": "SELECT 1"}, False, "only a table"),
        ({"cascadeTruncate": "true"}, False, "never truncated"),
    ],
)
def test_options_that_are_refused_say_why(
    options: Dict[str, str], overwrite: bool, says: str
) -> None:
    with pytest.raises(InvalidCommand, match=says) as refused:
        spec(options, overwrite)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("option", ["driver", "batchsize", "isolationLevel", "numPartitions"])
def test_a_jdbc_option_without_a_meaning_is_taken_with_one_warning(option: str) -> None:
    with pytest.warns(UserWarning, match=f"'{option.lower()}' has no effect") as told:
        assert spec({option: "1"}) == APPEND
    assert len(told) == 1


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
        ("name", "no type for 'name'"),
        ("name TEXT, name INT", "twice"),
        ("fare DECIMAL(10,2", "without its end"),
        ("`fare INT", "without its end"),
    ],
)
def test_column_types_that_cannot_be_read_are_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidCommand, match=says):
        parse_column_types(text)


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
        ("grpc://host", "host and port"),
        ("grpc://host:8815/path", "host and port"),
        ("https://host:8815", "must begin with grpc://"),
        ("jdbc:postgresql://host:5432/db", "address of a database"),
        ("postgres://me:hunter2@host/db", "address of a database"),
        ("grpc://me:hunter2@host:8815", "pass token="),
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(url: str, says: str) -> None:
    with pytest.raises(InvalidCommand, match=says) as refused:
        Endpoint.parse(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"mode": "replace"}, "mode is 'replace', but must be one of 'append', 'create'"),
        ({"mode": "upsert"}, "needs keys"),
        ({"mode": "upsert", "keys": "id"}, "is a list of names"),
        ({"mode": "append", "order_by": "at"}, "order_by has a meaning in mode 'upsert'"),
        ({"mode": "upsert", "keys": ["a"], "column_types": {"a": "int"}}, "column_types"),
        ({"mode": "append", "if_exists": "fail"}, "if_exists has a meaning in mode 'create' only"),
        ({"mode": "create", "overwrite_with": "delete"}, "in mode 'overwrite' only"),
        ({"mode": "create", "create_if_missing": True}, "'append', 'upsert'"),
        ({"mode": "upsert", "keys": ["a"], "primary_key": ["a"]}, "leave primary_key out"),
        ({"mode": "append", "column_types": {"a": "int"}}, "create_if_missing=True"),
        ({"mode": "create", "if_exists": "replace"}, "must be one of 'fail', 'append', 'ignore'"),
        ({"mode": "append", "table": ""}, "a table must be named"),
        ({"mode": "append", "primary_key": ["a"]}, "create_if_missing=True"),
        ({"mode": "create", "primary_key": "a"}, "is a list of names"),
        (
            {"mode": "append", "schema_evolution": "drop"},
            "one of 'refuse', 'add_columns', 'ignore'",
        ),
        ({"mode": "append", "conversions": {"a": "floor"}}, "must be a mapping"),
        ({"mode": "append", "conversions": {"a": {"rounding": "up"}}}, "one of 'reject', 'floor'"),
        ({"mode": "append", "conversions": {"a": {"Zone": "UTC"}}}, "known are rounding, nul"),
        ({"mode": "append", "conversions": {"a": {"form": "utf16"}}}, "one of 'text', 'number'"),
        ({"mode": "append", "conversions": {"a": {"srid": True}}}, "must be of type int"),
        ({"mode": "append", "conversions": {"a": {"zone": 2}}}, "must be of type str"),
    ],
)
def test_arguments_that_would_go_unheeded_are_refused(arguments: Dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidCommand, match=says):
        command.write_spec(**{"table": "t", **arguments})


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
def test_what_is_no_table_name_is_refused(table: str) -> None:
    with pytest.raises(InvalidCommand, match="is no table"):
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
    with pytest.raises(InvalidCommand, match="must be JSON"):
        spec({"url": "grpc://h:1", "dbtable": "t", "conversions": "at: floor"})


def test_new_columns_and_a_primary_key_can_be_asked_for() -> None:
    given = {"schemaEvolution": "add_columns", "createTableColumnTypes": "fare NUMERIC(5,2)"}
    assert spec(given) == {
        **APPEND,
        "schemaEvolution": "SCHEMA_EVOLUTION_ADD_COLUMNS",
        "tableDefinition": {"columnTypes": {"fare": "NUMERIC(5,2)"}},
    }
    upsert = {"writeMode": "upsert", "keys": "id", "createTable": "true"}
    parsed = spec({**upsert, "createTableColumnTypes": "fare NUMERIC(5,2)"})
    assert parsed["createIfMissing"] is True
    assert parsed["tableDefinition"] == {"columnTypes": {"fare": "NUMERIC(5,2)"}}
    given = {"createTable": "true", "primaryKey": "id, region", "createTableOptions": "WITH (a)"}
    assert spec(given)["tableDefinition"] == {"primaryKey": ["id", "region"], "options": "WITH (a)"}
