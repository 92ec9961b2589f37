"""Turns what libraries raise when they convert data into errors of ours, which show no value.

pyarrow's own words would: `Could not convert 'secret' with type str`. So nothing of them is kept, neither as text nor
as cause or context.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, NoReturn, Optional, TypeVar

import pyarrow as pa

from pgflight.errors import DataRejected, PgFlightError, SchemaMismatch

_Made = TypeVar("_Made")

#: What conversions raise. Encoding errors are ValueErrors.
_ERRORS = (pa.ArrowException, ValueError, TypeError, ArithmeticError, AttributeError, RuntimeError)


def converted(
    convert: Callable[[], _Made], blame: Callable[[BaseException], PgFlightError]
) -> _Made:
    """What `convert` makes.

    Raises:
        PgFlightError: what `blame` makes of an error of the conversion.
    """
    try:
        return convert()
    except PgFlightError:
        raise
    except _ERRORS as error:
        failure = blame(error)
    # Here, where the first error is not the context of this one.
    raise failure


def table_of_pandas(data: Any) -> pa.Table:
    """A pandas DataFrame as a table, without its index.

    Raises:
        SchemaMismatch: for column names that come twice, and a column of a type that Arrow lacks.
        DataRejected: for a value that differs from those before it in its column.
    """
    names = [str(name) for name in data.columns]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise SchemaMismatch(
            f"the frame has more than one column {doubled!r}; rename or drop one of them",
            column=doubled,
        )
    return converted(
        lambda: pa.Table.from_pandas(data, preserve_index=False), lambda _: _blame(data, names)
    )


def _blame(data: Any, names: list) -> PgFlightError:
    """Finds the column that cannot be converted, and its first row that cannot."""
    for number, name in enumerate(names):
        column = data.iloc[:, number]
        if _is_convertible(column):
            continue
        # The rows before `good` can be converted, those before `bad` cannot.
        good, bad = 0, len(column)
        while bad - good > 1:
            middle = (good + bad) // 2
            if _is_convertible(column.iloc[:middle]):
                good = middle
            else:
                bad = middle
        if not _is_convertible(column.iloc[:0]) or not len(column):
            return SchemaMismatch(
                f"column {name!r} of pandas' type {column.dtype} cannot be converted to Arrow; turn it into a "
                "plain type first",
                column=name,
            )
        kind = type(column.iloc[good]).__name__
        return DataRejected(
            f"the value at row {good} of column {name!r}, of Python's type {kind}, cannot be converted to "
            "Arrow together with those before it; give the column one type that holds all its values",
            column=name,
            row=good,
        )
    return SchemaMismatch(
        "the frame cannot be converted to Arrow; turn its columns into plain types first"
    )


def _is_convertible(column: Any) -> bool:
    try:
        pa.Array.from_pandas(column)
    except _ERRORS:
        return False
    return True


def table_of_polars(data: Any) -> Any:
    """What a polars DataFrame or Series gives as Arrow.

    Raises:
        SchemaMismatch: for a column that cannot be converted.
    """

    def blame(error: BaseException) -> PgFlightError:
        for name in getattr(data, "columns", ()):
            try:
                data.select(name).to_arrow()
            except _ERRORS:
                return SchemaMismatch(
                    f"column {name!r} has polars' type {data.schema[name]}, which cannot be converted to "
                    "Arrow; turn it into a plain type first",
                    column=name,
                )
        return SchemaMismatch("the frame cannot be converted to Arrow")

    return converted(data.to_arrow, blame)


def read(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches of a reader of pyarrow's, or of another library through its C stream.

    Raises:
        DataRejected: when the reader fails to convert what it reads.
        Exception: whatever else the reader raises, as it is.
    """
    number = 0
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            failed: Optional[str] = type(error).__name__
        else:
            failed = None
        if failed is not None:
            _refuse(failed, number)
        yield batch
        number += 1


def _refuse(failed: str, number: int) -> NoReturn:
    raise DataRejected(
        f"the data's own reader failed with {failed} after {number} batches; read them without pgflight to "
        "see why, since the reason may show a value"
    )
