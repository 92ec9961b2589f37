"""The data that `Client.write` takes, compared with what PostgreSQL then has."""

from __future__ import annotations

import datetime
import io
from decimal import Decimal
from pathlib import Path
from typing import Any, Callable

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from conftest import Database
from flights import ROWS as FLIGHTS
from flights import differences, flights_csv, make_flights

import pgflight
from pgflight.frames import frame

TABLE = pa.table({"n": [1, 2, 3], "s": ["a", None, "ç"]})
ROWS = [(1, "a"), (2, None), (3, "ç")]


class Capsule:
    """A table of any library that offers only the Arrow protocol."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return TABLE.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: TABLE, id="Table"),
        pytest.param(lambda: TABLE.to_batches()[0], id="RecordBatch"),
        pytest.param(lambda: TABLE.to_reader(max_chunksize=2), id="RecordBatchReader"),
        pytest.param(lambda: TABLE.to_batches(max_chunksize=1), id="list of RecordBatches"),
        pytest.param(lambda: (b for b in TABLE.to_batches(max_chunksize=1)), id="generator"),
        pytest.param(lambda: pa.dataset.dataset(TABLE), id="Dataset"),
        pytest.param(lambda: pa.dataset.dataset(TABLE).scanner(), id="Scanner"),
        pytest.param(lambda: pd.DataFrame({"n": [1, 2, 3], "s": ["a", None, "ç"]}), id="pandas"),
        pytest.param(
            lambda: pd.DataFrame({"n": [1, 2, 3], "s": ["a", None, "ç"]}, index=[7, 8, 9]),
            id="pandas with an index, which is left out",
        ),
        pytest.param(lambda: pl.DataFrame({"n": [1, 2, 3], "s": ["a", None, "ç"]}), id="polars"),
        pytest.param(Capsule, id="anything with __arrow_c_stream__"),
    ],
)
def test_every_kind_of_table_lands_as_it_is(
    make: Callable[[], Any], client: pgflight.Client, database: Database
) -> None:
    result = client.write(make(), "public.t", mode="create")
    assert result.row_count == 3
    assert database.rows("SELECT * FROM t ORDER BY n") == ROWS


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(
            lambda text: pd.read_csv(
                io.StringIO(text), dtype_backend="numpy_nullable", parse_dates=["time_hour"]
            ),
            id="pandas with numpy",
        ),
        pytest.param(
            lambda text: pd.read_csv(
                io.StringIO(text), dtype_backend="pyarrow", parse_dates=["time_hour"]
            ),
            id="pandas with pyarrow",
        ),
        pytest.param(
            lambda text: pl.read_csv(io.StringIO(text), null_values="NA", try_parse_dates=True),
            id="polars",
        ),
    ],
)
def test_flights_land_as_postgresql_reads_them_by_library(
    read: Callable[[str], Any], client: pgflight.Client, database: Database
) -> None:
    text = flights_csv()
    make_flights(database, text)
    assert client.write(read(text), "flights").row_count == FLIGHTS
    assert differences(database) == 0


def test_a_parquet_file_streams_through_a_dataset(
    client: pgflight.Client, database: Database, tmp_path: Path
) -> None:
    table = pa.table({"n": range(10_000)})
    pa.parquet.write_table(table, tmp_path / "t.parquet", row_group_size=1000)
    client.write(pa.dataset.dataset(tmp_path / "t.parquet"), "t", mode="create")
    assert database.rows("SELECT count(*), sum(n) FROM t") == [(10_000, 49_995_000)]


def test_pandas_types_keep_their_values(client: pgflight.Client, database: Database) -> None:
    df = pd.DataFrame(
        {
            "at": pd.to_datetime(["2024-02-29 12:30:00.123456", None]),
            "zoned": pd.to_datetime(["2024-02-29 12:30:00", None]).tz_localize("Europe/Berlin"),
            "kind": pd.Categorical(["red", "blue"]),
            "maybe": pd.array([1, None], dtype="Int64"),
            "yes": [True, False],
            "money": [Decimal("1.50"), Decimal("-2.25")],
        }
    )
    # If pandas counts in nanoseconds, the values are whole microseconds.
    client.write(df, "t", mode="create")
    berlin = datetime.timezone(datetime.timedelta(hours=1))
    assert database.rows("SELECT * FROM t ORDER BY maybe NULLS LAST") == [
        (
            datetime.datetime(2024, 2, 29, 12, 30, 0, 123456),
            datetime.datetime(2024, 2, 29, 12, 30, tzinfo=berlin),
            "red",
            1,
            True,
            Decimal("1.50"),
        ),
        (None, None, "blue", None, False, Decimal("-2.25")),
    ]


def test_polars_types_keep_their_values(client: pgflight.Client, database: Database) -> None:
    df = pl.DataFrame(
        {
            "n": pl.Series([1, 2**64 - 1], dtype=pl.UInt64),
            "day": [datetime.date(2024, 2, 29), None],
            "tags": [["a", None], []],
            "kind": pl.Series(["red", "blue"], dtype=pl.Categorical),
            "long": ["x" * 100, None],
        }
    )
    client.write(df, "t", mode="create")
    assert database.rows("SELECT * FROM t ORDER BY n") == [
        (1, datetime.date(2024, 2, 29), ["a", None], "red", "x" * 100),
        (2**64 - 1, None, [], "blue", None),
    ]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("public.t", "cannot write a builtins.str"),
        ({"n": [1]}, "cannot write a builtins.dict"),
        (7, "cannot write a builtins.int"),
        ([[1], [2]], "an iterable of builtins.list"),
        (pd.Series([1]), "to_frame"),
        (pl.Series([1]), "to_frame"),
        (pl.LazyFrame({"n": [1]}), "collect"),
    ],
)
def test_data_that_is_no_table_is_rejected_by_its_type(data: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        frame(data)


def test_an_iterable_without_a_batch_has_no_schema() -> None:
    with pytest.raises(ValueError, match="has no schema"):
        frame(iter([]))


def test_views_are_made_plain_since_their_slices_do_not_shrink() -> None:
    if not hasattr(pa, "string_view"):
        assert int(pa.__version__.split(".")[0]) < 16
        return
    table = pa.table({"s": pa.array(["a" * 20, None]).cast(pa.string_view())})
    schema, batches = frame(table)
    assert schema.field("s").type == pa.large_string()
    assert pa.Table.from_batches(batches, schema).to_pydict() == table.to_pydict()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: pl.DataFrame({"o": pl.Series([{1}, {2}], dtype=pl.Object)}), "Python objects"),
        (lambda: pd.DataFrame({"o": pd.period_range("2020-01", periods=2, freq="M")}), "period"),
    ],
)
def test_a_column_whose_type_would_change_is_rejected(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(pgflight.SchemaMismatch, match=says) as raised:
        frame(make())
    assert raised.value.column == "o"
