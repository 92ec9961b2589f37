"""What is asked of the server, in the JSON form of its protobuf messages.

`proto/pgflight/v1` has the messages. The canonical JSON form has lowerCamelCase names, 64-bit
numbers as strings and bytes in base64.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Dict, Mapping, Optional, Sequence

import pyarrow as pa

from pgflight.errors import InvalidCommand

_TYPE_URL = "type.googleapis.com/pgflight.v1."

KEYED_MODES = {
    "upsert": "MODE_UPSERT",
    "insert_if_absent": "MODE_INSERT_IF_ABSENT",
    "update_only": "MODE_UPDATE_ONLY",
    "delete_by_key": "MODE_DELETE_BY_KEY",
}
MODES = {
    "append": "MODE_APPEND",
    "create": "MODE_CREATE",
    "overwrite": "MODE_OVERWRITE",
    **KEYED_MODES,
}
IF_EXISTS = {
    "fail": "IF_EXISTS_FAIL",
    "append": "IF_EXISTS_APPEND",
    "ignore": "IF_EXISTS_IGNORE",
}
OVERWRITE_WITH = {
    "truncate": "OVERWRITE_WITH_TRUNCATE",
    "delete": "OVERWRITE_WITH_DELETE",
    "swap": "OVERWRITE_WITH_SWAP",
}
ROUNDING = {
    "reject": "ROUNDING_REJECT",
    "floor": "ROUNDING_FLOOR",
    "nearest": "ROUNDING_NEAREST",
}
NUL = {"reject": "NUL_REJECT", "remove": "NUL_REMOVE", "replace": "NUL_REPLACE"}
OVERFLOW = {
    "reject": "OVERFLOW_REJECT",
    "clamp": "OVERFLOW_CLAMP",
    "null": "OVERFLOW_NULL",
    "infinity": "OVERFLOW_INFINITY",
}
TOO_LONG = {"reject": "TOO_LONG_REJECT", "truncate": "TOO_LONG_TRUNCATE"}
FORM = {
    "text": "FORM_TEXT",
    "number": "FORM_NUMBER",
    "part": "FORM_PART",
    "utf8": "FORM_UTF8",
    "utf8_lossy": "FORM_UTF8_LOSSY",
    "hex": "FORM_HEX",
    "base64": "FORM_BASE64",
    "address": "FORM_ADDRESS",
}
UNIT = {
    "days": "UNIT_DAYS",
    "seconds": "UNIT_SECONDS",
    "milliseconds": "UNIT_MILLISECONDS",
    "microseconds": "UNIT_MICROSECONDS",
    "nanoseconds": "UNIT_NANOSECONDS",
}
# What is said in a conversion by a word of a list, and what is said otherwise.
CONVERSION_WORDS = {
    "rounding": ROUNDING,
    "nul": NUL,
    "overflow": OVERFLOW,
    "too_long": TOO_LONG,
    "form": FORM,
    "unit": UNIT,
}
CONVERSION_VALUES = {
    "zone": ("zone", str),
    "nul_replacement": ("nulReplacement", str),
    "infinity_sentinels": ("infinitySentinels", bool),
    "srid": ("srid", int),
}
SCHEMA_EVOLUTION = {
    "refuse": "SCHEMA_EVOLUTION_REFUSE",
    "add_columns": "SCHEMA_EVOLUTION_ADD_COLUMNS",
    "ignore": "SCHEMA_EVOLUTION_IGNORE",
}
PUBLISH = {
    "staged": "PUBLISH_STAGED",
    "two_phase": "PUBLISH_TWO_PHASE",
    "direct": "PUBLISH_DIRECT",
}


def message(name: str, fields: Mapping[str, Any]) -> bytes:
    """A message in its JSON form.

    Args:
        name: The message's name within the package: `WriteCommand`.
        fields: Its fields, in JSON form.
    """
    return json.dumps({"@type": _TYPE_URL + name, **fields}).encode("utf-8")


def parse(body: bytes) -> Dict[str, Any]:
    """The fields of a message that the server sent, without its type."""
    fields = json.loads(body)
    fields.pop("@type", None)
    return fields


def is_ready(body: bytes) -> bool:
    """Whether an answer says that PostgreSQL takes the rows of a stream."""
    return json.loads(body).get("@type") == _TYPE_URL + "Ready"


#: Modes that make a missing table when they are asked to.
_MAKING_MODES = ("append", "upsert", "insert_if_absent")


def write_spec(
    table: str,
    mode: str,
    *,
    if_exists: Optional[str] = None,
    overwrite_with: Optional[str] = None,
    create_if_missing: bool = False,
    column_types: Optional[Mapping[str, str]] = None,
    primary_key: Optional[Sequence[str]] = None,
    table_options: Optional[str] = None,
    keys: Optional[Sequence[str]] = None,
    order_by: Optional[str] = None,
    publish: Optional[str] = None,
    conversions: Optional[Mapping[str, Mapping[str, Any]]] = None,
    schema_evolution: Optional[str] = None,
    sync_sequences: bool = False,
    target: Optional[str] = None,
) -> Dict[str, Any]:
    """A `WriteSpec`: where rows go and how. `write_dataframe` says what the arguments mean.

    Raises:
        InvalidCommand: for a word that is not known, and for an argument that has no meaning in
            the mode, rather than leaving it unheeded.
    """
    if not isinstance(table, str) or not table:
        raise InvalidCommand("a table must be named, as in 'public.trips'")
    spec: Dict[str, Any] = {"table": table, "mode": _word("mode", mode, MODES)}
    if target:
        spec["target"] = target
    if if_exists is not None:
        _only("if_exists", mode, "create")
        spec["ifExists"] = _word("if_exists", if_exists, IF_EXISTS)
    if overwrite_with is not None:
        _only("overwrite_with", mode, "overwrite")
        spec["overwriteWith"] = _word("overwrite_with", overwrite_with, OVERWRITE_WITH)
    if create_if_missing:
        _only("create_if_missing", mode, *_MAKING_MODES)
        spec["createIfMissing"] = True
    if column_types:
        if schema_evolution != "add_columns":
            _makes("column_types", mode, create_if_missing)
        spec["tableDefinition"] = {"columnTypes": dict(column_types)}
    for name, names in (("keys", keys), ("primary_key", primary_key)):
        if isinstance(names, str):
            raise InvalidCommand(f"{name} is a list of names, as in ['id']")
    if primary_key:
        if mode in KEYED_MODES:
            raise InvalidCommand("the keys are the primary key: leave primary_key out")
        _makes("primary_key", mode, create_if_missing)
        spec.setdefault("tableDefinition", {})["primaryKey"] = list(primary_key)
    if table_options:
        _makes("table_options", mode, create_if_missing)
        spec.setdefault("tableDefinition", {})["options"] = table_options
    if keys:
        _only("keys", mode, *KEYED_MODES)
        spec["keys"] = list(keys)
    elif mode in KEYED_MODES:
        raise InvalidCommand(f"mode {mode!r} needs keys: the columns that identify a row")
    if order_by is not None:
        _only("order_by", mode, *KEYED_MODES)
        spec["orderBy"] = order_by
    if publish is not None:
        spec["publish"] = _word("publish", publish, PUBLISH)
        if publish != "staged":
            _only(f"publish={publish!r}", mode, "append")
    if conversions:
        spec["conversions"] = {
            column: _conversion(column, asked) for column, asked in conversions.items()
        }
    if schema_evolution is not None:
        spec["schemaEvolution"] = _word("schema_evolution", schema_evolution, SCHEMA_EVOLUTION)
    if sync_sequences:
        spec["syncSequences"] = True
    return spec


def _makes(argument: str, mode: str, create_if_missing: bool) -> None:
    if mode in _MAKING_MODES and not create_if_missing:
        raise InvalidCommand(
            f"{argument} says how a table is made, and mode {mode!r} makes none: "
            "leave it out, or add create_if_missing=True"
        )
    _only(argument, mode, "create", "overwrite", *_MAKING_MODES)


def _conversion(column: str, asked: Mapping[str, Any]) -> Dict[str, Any]:
    if not isinstance(asked, Mapping):
        raise InvalidCommand(
            f"the conversion of column {column!r} must be a mapping such as {{'rounding': 'floor'}}",
            column=column,
        )
    fields: Dict[str, Any] = {}
    for name, value in asked.items():
        if name in CONVERSION_WORDS:
            word = _word(f"{name} of column {column!r}", value, CONVERSION_WORDS[name])
            fields["tooLong" if name == "too_long" else name] = word
        elif name in CONVERSION_VALUES:
            field, kind = CONVERSION_VALUES[name]
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise InvalidCommand(
                    f"{name} of column {column!r} must be of type {kind.__name__}, not {value!r}",
                    column=column,
                )
            fields[field] = value
        else:
            known = ", ".join([*CONVERSION_WORDS, *CONVERSION_VALUES])
            raise InvalidCommand(
                f"the conversion of column {column!r} has {name!r}; known are {known}",
                column=column,
            )
    return fields


def write_command(spec: Mapping[str, Any]) -> bytes:
    """Descriptor of a stream that is a whole write by itself."""
    return message("WriteCommand", {"spec": spec, "announceReady": True})


def attempt_command(write_id: str, partition_id: int, attempt_id: str, target: str = "") -> bytes:
    """Descriptor of a stream that carries one attempt of one partition."""
    fields = {
        "writeId": write_id,
        "partitionId": partition_id,
        "attemptId": attempt_id,
        "announceReady": True,
    }
    return message("AttemptCommand", at(target, fields))


def sink_batch(sink_id: str, query_id: str, batch_id: int, resume: bool) -> Dict[str, Any]:
    """A `SinkBatch`: which batch of which query a write is."""
    return {"sinkId": sink_id, "queryId": query_id, "batchId": str(batch_id), "resume": resume}


def at(target: Optional[str], fields: Mapping[str, Any]) -> Dict[str, Any]:
    """The fields of a message, with the target if one is named."""
    return {**fields, "target": target} if target else dict(fields)


def end_record(row_count: int, batch_count: int) -> bytes:
    """Last message of a stream."""
    return message("EndRecord", {"rowCount": str(row_count), "batchCount": str(batch_count)})


def schema_bytes(schema: pa.Schema) -> str:
    """A schema as `BeginRequest` carries it: an encapsulated IPC message, in base64."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode("ascii")


def _word(argument: str, value: Any, words: Mapping[str, str]) -> str:
    if value not in words:
        known = ", ".join(repr(word) for word in words)
        raise InvalidCommand(f"{argument} is {value!r}, but must be one of {known}")
    return words[value]


def _only(argument: str, mode: str, *needed: str) -> None:
    if mode not in needed:
        words = ", ".join(repr(word) for word in needed)
        raise InvalidCommand(f"{argument} has a meaning in mode {words} only, not in {mode!r}")
