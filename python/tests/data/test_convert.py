"""Values that cannot be converted to Arrow: errors name their place and never show them."""

from __future__ import annotations

import datetime
import io
import traceback
from decimal import Decimal
from typing import Any, Iterator, Optional

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pytest

import pgflight
from pgflight.frames import frame

SECRET = "hunter2"


def refused(data: Any) -> pgflight.PgFlightError:
    """Returns the error for data that cannot be converted, after checking that it never shows the value."""
    with pytest.raises(pgflight.PgFlightError) as raised:
        list(frame(data).batches)
    error = raised.value
    printed = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert error.__cause__ is None
    assert error.__context__ is None
    for text in (str(error), repr(error), printed):
        assert SECRET not in text
        assert "\ud800" not in text
    return error


class Thing:
    def __repr__(self) -> str:
        return SECRET


@pytest.mark.parametrize(
    ("values", "row"),
    [
        ([1, SECRET], 1),
        ([1, 2, 3, None, SECRET, 5, SECRET], 4),
        ([SECRET, 1], 1),
        ([1.5, SECRET], 1),
        ([datetime.date(2024, 1, 1), SECRET], 1),
        ([[1], [SECRET]], 1),
        ([{"x": 1}, {"x": SECRET}], 1),
        (["plain", f"\ud800{SECRET}"], 1),
        ([Thing()], 0),
        ([1, 2**80], 1),
        ([Decimal("1e40"), Decimal("1e-40")], 1),
    ],
    ids=str,
)
def test_a_value_of_pandas_that_differs_is_found_by_its_row(values: list, row: int) -> None:
    data = pd.DataFrame({"id": range(len(values)), "note": pd.Series(values, dtype=object)})
    error = refused(data)
    assert (type(error), error.column, error.row) == (pgflight.DataRejected, "note", row)


def test_a_row_is_found_in_a_long_column() -> None:
    values: list = list(range(100_000))
    values[77_777] = SECRET
    error = refused(pd.DataFrame({"n": pd.Series(values, dtype=object)}))
    assert (error.column, error.row) == ("n", 77_777)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1 + 2j]),
        pd.Series(pd.Categorical([1, SECRET])),
        pd.Series(pd.arrays.SparseArray([1, 2])),
    ],
    ids=["complex", "category", "sparse"],
)
def test_a_column_of_pandas_that_arrow_lacks_is_named(column: Any) -> None:
    error = refused(pd.DataFrame({"id": range(len(column)), "c": column}))
    assert error.column == "c"


def test_two_columns_of_one_name_are_rejected() -> None:
    error = refused(pd.DataFrame([[1, SECRET]], columns=["a", "a"]))
    assert error.column == "a"
    assert "two columns of the same name" in error.message


def test_a_column_of_polars_that_arrow_lacks_is_named() -> None:
    assert refused(pl.DataFrame({"id": [1], "o": [Thing()]})).column == "o"
    wide = pl.DataFrame({"id": [1], "n": pl.Series([2**100], dtype=pl.Int128)})
    assert refused(wide).column == "n"


def reading(text: bytes) -> pa.RecordBatchReader:
    return pyarrow.csv.open_csv(
        io.BytesIO(text),
        read_options=pyarrow.csv.ReadOptions(block_size=16),
        convert_options=pyarrow.csv.ConvertOptions(column_types={"a": pa.int64()}),
    )


class Streaming:
    """Data of another library that offers only the C stream."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader

    def __arrow_c_stream__(self, requested: Optional[Any] = None) -> Any:
        return self._reader.__arrow_c_stream__(requested)


@pytest.mark.parametrize("wrap", [lambda reader: reader, Streaming], ids=["reader", "C stream"])
def test_a_reader_that_fails_shows_no_value(wrap: Any) -> None:
    error = refused(wrap(reading(b"a\n" + b"1\n" * 20 + SECRET.encode() + b"\n")))
    assert type(error) is pgflight.DataRejected
    assert "the reader of the data failed" in error.message


def test_a_programs_own_error_is_raised_unchanged() -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"a": [1]})
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(frame(batches()).batches)
    reader = pa.RecordBatchReader.from_batches(pa.schema([("a", pa.int64())]), batches())
    with pytest.raises(KeyError, match="mine"):
        list(frame(reader).batches)
