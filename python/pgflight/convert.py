"""Replaces errors of the libraries that convert data. The new errors hold no value.

pyarrow's messages hold values: `Could not convert 'secret' with type str`. So the original error is dropped, also as
cause and context.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, NoReturn, Optional, TypeVar

import pyarrow as pa

from pgflight.errors import DataRejected, PgFlightError, SchemaMismatch

_Made = TypeVar("_Made")

#: The errors of conversions. Encoding errors are ValueErrors.
_ERRORS = (pa.ArrowException, ValueError, TypeError, ArithmeticError, AttributeError, RuntimeError)


def converted(
    convert: Callable[[], _Made], blame: Callable[[BaseException], PgFlightError]
) -> _Made:
    """Calls `convert` and returns its result.

    Raises:
        PgFlightError: the result of `blame` for an error of the conversion.
    """
    try:
        return convert()
    except PgFlightError:
        raise
    except _ERRORS as error:
        failure = blame(error)
    # Outside the handler, so that the first error is not the context of this one.
    raise failure


def table_of_pandas(data: Any) -> pa.Table:
    """Converts a pandas DataFrame to a table, without its index.

    Raises:
        SchemaMismatch: for two columns of one name, and for a type that Arrow lacks.
        DataRejected: for a value whose type differs from the values before it in its column.
    """
    names = [str(name) for name in data.columns]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise SchemaMismatch(
            "the frame has two columns of the same name",
            hint="rename or drop one of them",
            column=doubled,
        )
    return converted(
        lambda: pa.Table.from_pandas(data, preserve_index=False), lambda _: _blame(data, names)
    )


def _blame(data: Any, names: list) -> PgFlightError:
    """Finds the first value that cannot be converted, and returns an error with its column and row."""
    for number, name in enumerate(names):
        column = data.iloc[:, number]
        if _is_convertible(column):
            continue
        # The first `good` rows can be converted together, the first `bad` rows cannot.
        good, bad = 0, len(column)
        while bad - good > 1:
            middle = (good + bad) // 2
            if _is_convertible(column.iloc[:middle]):
                good = middle
            else:
                bad = middle
        if not _is_convertible(column.iloc[:0]) or not len(column):
            return SchemaMismatch(
                f"pandas' type {column.dtype} cannot be converted to Arrow",
                hint="convert the column to a plain type",
                column=name,
            )
        kind = type(column.iloc[good]).__name__
        return DataRejected(
            f"a value of Python's type {kind} cannot be converted to Arrow together with the values before it",
            hint="give the column one type that holds all its values",
            column=name,
            row=good,
        )
    return SchemaMismatch(
        "the frame cannot be converted to Arrow", hint="convert its columns to plain types"
    )


def _is_convertible(column: Any) -> bool:
    try:
        pa.Array.from_pandas(column)
    except _ERRORS:
        return False
    return True


def table_of_polars(data: Any) -> Any:
    """Converts a polars DataFrame or Series to Arrow.

    Raises:
        SchemaMismatch: for a column that cannot be converted.
    """

    def blame(error: BaseException) -> PgFlightError:
        for name in getattr(data, "columns", ()):
            try:
                data.select(name).to_arrow()
            except _ERRORS:
                return SchemaMismatch(
                    f"polars' type {data.schema[name]} cannot be converted to Arrow",
                    hint="convert the column to a plain type",
                    column=name,
                )
        return SchemaMismatch("the frame cannot be converted to Arrow")

    return converted(data.to_arrow, blame)


def read(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yields the batches of a pyarrow reader, or of another library through its C stream.

    Raises:
        DataRejected: when the reader cannot convert its data.
        Exception: whatever else the reader raises, unchanged.
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
            _reject(failed, number)
        yield batch
        number += 1


def _reject(failed: str, number: int) -> NoReturn:
    raise DataRejected(
        f"the reader of the data failed with {failed} after {number} batches",
        hint="read the data without pgflight to see the reason, which may hold a value",
    )
