"""The messages that are sent to the server, in the JSON form of protobuf.

`proto/pgflight/v1` has the messages. The canonical JSON form has lowerCamelCase names, 64-bit numbers as strings and
bytes in base64.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Dict, Mapping, Optional, Sequence, Union

import pyarrow as pa

from pgflight import conversions
from pgflight.errors import InvalidCommand
from pgflight.options import (
    ENVELOPE,
    IF_EXISTS,
    MODES,
    ON_DUPLICATE,
    ON_ERROR,
    OVERWRITE_WITH,
    PUBLISH,
    REJECT_VALUES,
    SCHEMA_EVOLUTION,
    WriteOptions,
)

_TYPE_URL = "type.googleapis.com/pgflight.v1."


def message(name: str, fields: Mapping[str, Any]) -> bytes:
    """Returns a message in its JSON form.

    Args:
        name: The message's name within the package: `WriteCommand`.
        fields: Its fields, in JSON form.
    """
    return json.dumps({"@type": _TYPE_URL + name, **fields}).encode("utf-8")


def parse(body: bytes) -> Dict[str, Any]:
    """Returns the fields of a message that the server sent, without its type."""
    fields = json.loads(body)
    fields.pop("@type", None)
    return fields


def is_ready(body: bytes) -> bool:
    """Whether an answer is a `Ready`: PostgreSQL takes the rows of a stream."""
    return json.loads(body).get("@type") == _TYPE_URL + "Ready"


def write_spec(table: str, options: WriteOptions) -> Dict[str, Any]:
    """Returns a `WriteSpec`: the table and how to write to it.

    Raises:
        InvalidCommand: when the table is not a name.
    """
    if not isinstance(table, str):
        raise InvalidCommand(
            f"the table is of type {type(table).__name__}, and not a name",
            hint="pass the data first, then the table, as in write(data, 'public.trips')",
        )
    if not table:
        raise InvalidCommand("the table is missing", hint="name it, as in 'public.trips'")
    fields = {
        "table": table,
        "target": options.target,
        "before": list(options.before or ()),
        "after": list(options.after or ()),
        "columnTypes": dict(options.column_types or {}),
        "conversions": _conversions(options),
        **_reject_options(options),
    }
    # A limit of 0 is not the default.
    limits: Dict[str, Any] = {}
    if options.reject_limit is not None:
        limits["rejectLimit"] = str(options.reject_limit)
    if options.reject_percent is not None:
        limits["rejectPercent"] = options.reject_percent
    return {**_set(fields), **limits, MODES[options.mode]: _mode_options(options)}


def _reject_options(options: WriteOptions) -> Dict[str, Any]:
    """Returns the options of rejected rows that a `WriteSpec` has, besides the limits."""
    return {
        "onError": options.on_error and ON_ERROR[options.on_error],
        "rejectKinds": list(options.reject_kinds or ()),
        "rejectTable": options.reject_table,
        "rejectValues": options.reject_values and REJECT_VALUES[options.reject_values],
        "onDuplicate": options.on_duplicate and ON_DUPLICATE[options.on_duplicate],
    }


def _conversions(options: WriteOptions) -> Dict[str, Any]:
    messages = {
        column: conversions.message(column, asked)
        for column, asked in (options.conversions or {}).items()
    }
    zone = options.local_timestamps
    if zone == "session":
        raise InvalidCommand(
            "local_timestamps is 'session', and the time zone of a Spark session is not known here",
            hint="name the zone, as in 'Europe/Berlin'",
        )
    if zone:
        messages["*"] = {**messages.get("*", {}), "zone": zone}
    return messages


def _mode_options(options: WriteOptions) -> Dict[str, Any]:
    """Returns the options that a `WriteSpec` has in the message of its mode."""
    fields: Dict[str, Any] = {
        "keys": list(options.keys or ()),
        "orderBy": options.order_by,
        "ifExists": options.if_exists and IF_EXISTS[options.if_exists],
        "with": options.overwrite_with and OVERWRITE_WITH[options.overwrite_with],
        "deleteWhen": _delete_when(options.delete_when),
        "newerBy": options.newer_by,
        "tombstone": options.tombstone,
        "updateColumns": list(options.update_columns or ()),
        "insertColumns": list(options.insert_columns or ()),
        "envelope": options.envelope and ENVELOPE[options.envelope],
        "replaceBy": list(options.replace_by or ()),
        "replaceWhere": options.replace_where,
        "syncSequences": options.sync_sequences,
    }
    if options.mode == "append" and options.publish:
        fields["publish"] = PUBLISH[options.publish]
    if options.mode == "delete_by_key":
        fields["ignoreUnknownColumns"] = options.schema_evolution == "ignore"
    elif options.schema_evolution:
        fields["schemaEvolution"] = SCHEMA_EVOLUTION[options.schema_evolution]
    new_table = _set(
        {"primaryKey": list(options.primary_key or ()), "options": options.table_options}
    )
    if options.mode in ("create", "overwrite"):
        fields["newTable"] = new_table
    message = _set(fields)
    if options.create_if_missing:
        message["createIfMissing"] = new_table
    return message


def _delete_when(
    delete_when: Optional[Union[str, Mapping[str, Sequence[str]]]],
) -> Optional[Dict[str, Any]]:
    """Returns the message of a boolean column, or of a column and its values."""
    if not delete_when:
        return None
    if isinstance(delete_when, str):
        return {"column": delete_when}
    ((column, values),) = delete_when.items()
    return {"column": column, "values": [str(value) for value in values]}


def _set(fields: Mapping[str, Any]) -> Dict[str, Any]:
    """Returns the fields that are set. A field that is left out has its default."""
    return {name: value for name, value in fields.items() if value}


def write_command(spec: Mapping[str, Any]) -> bytes:
    """Returns the descriptor of a stream that is a whole write."""
    return message("WriteCommand", {"spec": spec, "announceReady": True})


def attempt_command(write_id: str, partition_id: int, attempt_id: str, target: str = "") -> bytes:
    """Returns the descriptor of a stream that is one attempt of one partition."""
    fields = {
        "writeId": write_id,
        "partitionId": partition_id,
        "attemptId": attempt_id,
        "announceReady": True,
    }
    return message("AttemptCommand", at(target, fields))


def sink_batch(sink_id: str, query_id: str, batch_id: int, resume: bool) -> Dict[str, Any]:
    """Returns a `SinkBatch`: the batch of a streaming query that a write is."""
    return {"sinkId": sink_id, "queryId": query_id, "batchId": str(batch_id), "resume": resume}


def at(target: Optional[str], fields: Mapping[str, Any]) -> Dict[str, Any]:
    """Returns the fields of a message, with the target if there is one."""
    return {**fields, "target": target} if target else dict(fields)


def end_record(row_count: int, batch_count: int) -> bytes:
    """Returns the last message of a stream."""
    return message("EndRecord", {"rowCount": str(row_count), "batchCount": str(batch_count)})


def schema_bytes(schema: pa.Schema) -> str:
    """Returns a schema as `BeginRequest` carries it: an encapsulated IPC message, in base64."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode("ascii")
