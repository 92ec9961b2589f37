"""Reads a schema and batches from tables, frames and iterables."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, NamedTuple

import pyarrow as pa

from pgflight import convert
from pgflight.errors import SchemaMismatch

#: Extension types that the server supports.
_EXTENSION_TYPES = (
    "arrow.uuid",
    "arrow.json",
    "arrow.bool8",
    "arrow.opaque",
    "arrow.fixed_shape_tensor",
    "geoarrow.wkb",
    "ogc.wkb",
)


class Frame(NamedTuple):
    """A schema and the batches that have it."""

    schema: pa.Schema
    batches: Iterable[pa.RecordBatch]


def frame(data: Any) -> Frame:
    """Reads a schema and batches from a user's data.

    Args:
        data: A pyarrow Table, RecordBatch, RecordBatchReader, Dataset or Scanner; a pandas or
            polars DataFrame; an iterable of RecordBatches; anything else that has
            `__arrow_c_stream__` or `__arrow_c_array__`. The index of a pandas DataFrame is not written;
            `reset_index()` makes it a column.

    Raises:
        TypeError: for anything else.
        SchemaMismatch: for a column of Python objects or of an unknown extension type.
        DataRejected: for a value that cannot be converted to Arrow. The error names its row and column, and never
            the value.
        ValueError: for an iterable without a batch, which has no schema.
    """
    return _plain(_supported(_read(data)))


def _read(data: Any) -> Frame:
    if isinstance(data, pa.RecordBatch):
        return Frame(data.schema, [data])
    if isinstance(data, pa.Table):
        return Frame(data.schema, data.to_batches())
    if isinstance(data, pa.RecordBatchReader):
        return Frame(data.schema, convert.read(data))
    library = type(data).__module__.partition(".")[0]
    if library == "pandas":
        return _pandas(data)
    if library == "polars":
        return _polars(data)
    if hasattr(data, "scanner"):  # pyarrow.dataset.Dataset; the module is not always built in
        data = data.scanner()
    if hasattr(data, "to_reader"):
        return _read(data.to_reader())
    if hasattr(data, "__arrow_c_stream__"):
        return _read(pa.RecordBatchReader.from_stream(data))
    if hasattr(data, "__arrow_c_array__"):
        return _read(pa.record_batch(data))
    if hasattr(data, "__iter__") and not isinstance(data, (str, bytes, dict)):
        return _iterable(iter(data))
    raise TypeError(f"cannot write a {_name(data)}: pass a Table, a DataFrame or RecordBatches")


def _pandas(data: Any) -> Frame:
    if not hasattr(data, "columns"):
        raise TypeError("cannot write a pandas Series: make it a DataFrame by to_frame()")
    table = convert.table_of_pandas(data)
    # Arrow describes the frame for pandas in the schema's metadata. PostgreSQL has no use for it, and it is long for
    # many columns.
    return _read(table.replace_schema_metadata(None))


def _polars(data: Any) -> Frame:
    if not hasattr(data, "to_arrow"):
        raise TypeError(f"cannot write a {_name(data)}: collect() it first")
    objects = [n for n, kind in getattr(data, "schema", {}).items() if str(kind) == "Object"]
    if objects:
        # polars passes these to Arrow as the addresses of Python objects.
        raise SchemaMismatch(
            "a column of Python objects cannot be written",
            hint="convert the column to a plain type",
            column=objects[0],
        )
    table = convert.table_of_polars(data)
    if not isinstance(table, pa.Table):
        raise TypeError("cannot write a polars Series: make it a DataFrame by to_frame()")
    return _read(table)


def _iterable(batches: Iterator[Any]) -> Frame:
    first = next(batches, None)
    if first is None:
        raise ValueError(
            "an iterable without a batch has no schema: pass a Table or a RecordBatchReader"
        )
    if not isinstance(first, pa.RecordBatch):
        raise TypeError(f"cannot write an iterable of {_name(first)}: it must give RecordBatches")

    def all_of_them() -> Iterator[pa.RecordBatch]:
        yield first
        for batch in batches:
            if not isinstance(batch, pa.RecordBatch):
                raise TypeError(f"the iterable gave a {_name(batch)} instead of a RecordBatch")
            yield batch

    return Frame(first.schema, all_of_them())


def _supported(read: Frame) -> Frame:
    """Rejects extension types whose storage has another meaning than their values, such as pandas' Period."""
    for field in read.schema:
        kind = getattr(field.type, "extension_name", None)
        if kind is not None and kind not in _EXTENSION_TYPES:
            raise SchemaMismatch(
                f"the extension type {kind} is not supported",
                hint="convert the column to a plain type",
                column=field.name,
            )
    return read


def _plain(viewed: Frame) -> Frame:
    """Converts string and binary views to plain types.

    A slice of views keeps all bytes of the whole array, so a large batch could not be cut into messages.
    """
    views = {}
    for name, plain in (("string_view", pa.large_string()), ("binary_view", pa.large_binary())):
        if hasattr(pa, name):  # since pyarrow 16
            views[getattr(pa, name)()] = plain
    fields = [f.with_type(views.get(f.type, f.type)) for f in viewed.schema]
    schema = pa.schema(fields, viewed.schema.metadata)
    if schema.equals(viewed.schema):
        return viewed

    def cast(batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = [column.cast(field.type) for column, field in zip(batch.columns, schema)]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    return Frame(schema, map(cast, viewed.batches))


def _name(data: Any) -> str:
    return f"{type(data).__module__}.{type(data).__qualname__}"
