"""Converts Spark's schema into the Arrow schema of Spark's batches.

PySpark's own conversion is private and changes its signature in nearly every release. In 3.3 it rejects types that the
JVM sends, and it accepts types that the JVM rejects after the job has started.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from typing import Any, Callable, Dict, Mapping, Optional, TypeVar

import pyarrow as pa

from pgflight.errors import InvalidCommand, Unsupported
from pgflight.options import WriteOptions

_Given = TypeVar("_Given")

#: The setting of a session that has its time zone.
TIME_ZONE = "spark.sql.session.timeZone"

# By name, since not every release has every class.
_PLAIN = {
    "NullType": pa.null(),
    "BooleanType": pa.bool_(),
    "ByteType": pa.int8(),
    "ShortType": pa.int16(),
    "IntegerType": pa.int32(),
    "LongType": pa.int64(),
    "FloatType": pa.float32(),
    "DoubleType": pa.float64(),
    "DateType": pa.date32(),
    "TimestampNTZType": pa.timestamp("us"),
    "TimeType": pa.time64("ns"),
    "DayTimeIntervalType": pa.duration("us"),
}
_TEXT = ("StringType", "CharType", "VarcharType")

_HINTS = {
    "YearMonthIntervalType": "cast the column to string or to a number",
    "CalendarIntervalType": "cast the column to string, or use a day-time interval",
    "VariantType": "write to_json(column) into a jsonb column",
    "GeometryType": "write st_asbinary(column) into a geometry, geography or bytea column",
    "GeographyType": "write st_asbinary(column) into a geometry, geography or bytea column",
}


def arrow_schema(schema: Any, *, time_zone: str = "UTC", large_types: bool = False) -> pa.Schema:
    """Converts a schema.

    Args:
        schema: A `pyspark.sql.types.StructType`.
        time_zone: The session's time zone, with which Spark labels timestamps.
        large_types: Whether `spark.sql.execution.arrow.useLargeVarTypes` is set.

    Raises:
        InvalidCommand: when two columns have the same name.
        Unsupported: for a type that Spark cannot send or PostgreSQL lacks. It names the column.
    """
    doubled = [name for name, count in Counter(schema.names).items() if count > 1]
    if doubled:
        raise InvalidCommand(
            "the frame has two columns of the same name",
            hint="rename or drop one of them",
            column=doubled[0],
        )

    def convert(spark_type: Any, column: str) -> pa.DataType:
        name = type(spark_type).__name__
        if name in _PLAIN:
            return _PLAIN[name]
        if name in _TEXT:
            return pa.large_string() if large_types else pa.string()
        if name == "BinaryType":
            return pa.large_binary() if large_types else pa.binary()
        if name == "DecimalType":
            return pa.decimal128(spark_type.precision, spark_type.scale)
        if name == "TimestampType":
            return pa.timestamp("us", tz=time_zone)
        if name == "ArrayType":
            element = convert(spark_type.elementType, column)
            return pa.list_(pa.field("element", element, spark_type.containsNull))
        if name == "MapType":
            return pa.map_(
                pa.field("key", convert(spark_type.keyType, column), nullable=False),
                pa.field(
                    "value", convert(spark_type.valueType, column), spark_type.valueContainsNull
                ),
            )
        if name == "StructType":
            return pa.struct(
                pa.field(f.name, convert(f.dataType, column), f.nullable) for f in spark_type
            )
        if hasattr(spark_type, "sqlType"):  # Spark sends a user-defined type as this type.
            return convert(spark_type.sqlType(), column)
        raise Unsupported(
            f"Spark's type {spark_type.simpleString()} cannot be written",
            hint=_HINTS.get(name, "cast the column to string"),
            column=column,
        )

    if isinstance(schema, pa.Schema):
        return schema  # Sail passes its own.
    return pa.schema([pa.field(f.name, convert(f.dataType, f.name), f.nullable) for f in schema])


def has_day_time_interval(schema: pa.Schema) -> bool:
    """Whether a column is a duration or contains one."""

    def inside(kind: pa.DataType) -> bool:
        if pa.types.is_duration(kind):
            return True
        return any(inside(kind.field(i).type) for i in range(kind.num_fields))

    return any(inside(field.type) for field in schema)


def in_session(options: WriteOptions, time_zone: Callable[[], Optional[str]]) -> WriteOptions:
    """Returns options that name the session's time zone where they say `session`.

    Args:
        options: The options, as a user wrote them.
        time_zone: Returns `spark.sql.session.timeZone`, or None where it is not known. It is called only if needed.
    """
    if options.local_timestamps != "session":
        return options
    return dataclasses.replace(options, local_timestamps=time_zone() or "session")


def matching(options: WriteOptions, names: Any) -> WriteOptions:
    """Returns options whose `column_types` and `conversions` spell columns as the frame does.

    Spark ignores the case of column names, so users may write them in any case.

    Args:
        options: The options, as a user wrote them.
        names: The frame's column names.

    Raises:
        InvalidCommand: for a name that is no column of the frame, or matches two.
    """
    return dataclasses.replace(
        options,
        column_types=_match(options.column_types or {}, names),
        conversions=_match(options.conversions or {}, names),
    )


def _match(given: Mapping[str, _Given], names: Any) -> Dict[str, _Given]:
    matched = {}
    for wanted, value in given.items():
        if wanted == "*":
            matched[wanted] = value
            continue
        alike = [n for n in names if n == wanted] or [
            n for n in names if n.lower() == wanted.lower()
        ]
        if len(alike) != 1:
            near = difflib.get_close_matches(wanted, names, n=1)
            fault = "matches two columns" if alike else "matches no column"
            raise InvalidCommand(
                f"the name in a column type or conversion {fault} of the frame",
                hint=f"did you mean {near[0]!r}?" if near and not alike else None,
                column=wanted,
            )
        matched[alike[0]] = value
    return matched
