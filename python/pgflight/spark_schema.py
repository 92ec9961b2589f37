"""Spark's schema as the Arrow schema that Spark's own batches will have.

PySpark has a conversion of its own, but it is private, has changed its signature in nearly every
release, refuses in 3.3 what the JVM side sends, and knows nothing of the types that the JVM side
refuses only after the job has started.
"""

from __future__ import annotations

import difflib
from collections import Counter
from typing import Any, Dict, Mapping, TypeVar

import pyarrow as pa

from pgflight.errors import InvalidCommand, Unsupported

_Given = TypeVar("_Given")

# By name: not every release has every class.
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

_ADVICE = {
    "YearMonthIntervalType": "Spark cannot send it as Arrow: cast it to string or to a number",
    "CalendarIntervalType": "cast it to string, or use a day-time interval",
    "VariantType": "PostgreSQL has no such type: use to_json(column), which lands in jsonb",
}


def arrow_schema(schema: Any, *, time_zone: str = "UTC", large_types: bool = False) -> pa.Schema:
    """Converts a schema.

    Args:
        schema: A `pyspark.sql.types.StructType`.
        time_zone: The session's time zone, with which Spark labels timestamps.
        large_types: Whether `spark.sql.execution.arrow.useLargeVarTypes` is set.

    Raises:
        InvalidCommand: when two columns have the same name.
        Unsupported: for a type that cannot be sent, naming the column and what to do.
    """
    doubled = [name for name, count in Counter(schema.names).items() if count > 1]
    if doubled:
        raise InvalidCommand(
            f"the frame has more than one column {doubled[0]!r}: rename or drop one of them",
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
        if hasattr(spark_type, "sqlType"):  # a user-defined type is sent as what it stands for
            return convert(spark_type.sqlType(), column)
        raise Unsupported(
            f"column {column!r} has Spark's type {spark_type.simpleString()}: "
            + _ADVICE.get(name, "cast it to string"),
            column=column,
        )

    return pa.schema([pa.field(f.name, convert(f.dataType, f.name), f.nullable) for f in schema])


def has_day_time_interval(schema: pa.Schema) -> bool:
    """Whether a column is, or holds, a duration."""

    def inside(kind: pa.DataType) -> bool:
        if pa.types.is_duration(kind):
            return True
        return any(inside(kind.field(i).type) for i in range(kind.num_fields))

    return any(inside(field.type) for field in schema)


def match_columns(given: Mapping[str, _Given], names: Any) -> Dict[str, _Given]:
    """Spells the keys of `given` as the frame spells its columns.

    Spark resolves names without regard to case, so that users write them in any.

    Args:
        given: Column name to what is said of it: a PostgreSQL type, a conversion.
        names: The frame's column names.

    Raises:
        InvalidCommand: for a name that is no column of the frame, or could be two.
    """
    matched = {}
    for wanted, value in given.items():
        alike = [n for n in names if n == wanted] or [
            n for n in names if n.lower() == wanted.lower()
        ]
        if len(alike) != 1:
            near = difflib.get_close_matches(wanted, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near and not alike else ""
            what = "could be two columns" if alike else "is no column of the frame"
            raise InvalidCommand(
                f"a type or conversion is given for {wanted!r}, which {what}{hint}", column=wanted
            )
        matched[alike[0]] = value
    return matched
