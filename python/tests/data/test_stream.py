"""How batches are cut to the size of a message: no server is asked."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pgflight.flight.stream import empty_batch, message_bytes, pieces

WIDE = pa.RecordBatch.from_pydict({"n": pa.array(range(1000)), "s": pa.array(["x" * 1000] * 1000)})


def test_a_batch_that_fits_is_left_whole() -> None:
    assert [p.num_rows for p in pieces(WIDE, message_bytes(WIDE))] == [1000]


def test_a_large_batch_is_cut_into_pieces_that_fit() -> None:
    cut = list(pieces(WIDE, 64 * 1024))
    assert len(cut) > 10
    assert all(message_bytes(piece) <= 64 * 1024 for piece in cut)
    assert pa.Table.from_batches(cut) == pa.Table.from_batches([WIDE])


def test_uneven_rows_are_cut_again_where_they_are_large() -> None:
    batch = pa.RecordBatch.from_pydict({"s": pa.array(["x"] * 900 + ["x" * 10_000] * 100)})
    cut = list(pieces(batch, 64 * 1024))
    assert all(message_bytes(piece) <= 64 * 1024 for piece in cut)
    assert sum(piece.num_rows for piece in cut) == 1000


def test_a_row_that_is_too_large_is_a_piece_of_its_own() -> None:
    batch = pa.RecordBatch.from_pydict({"s": pa.array(["x", "y" * 100_000, "z"])})
    cut = list(pieces(batch, 10_000))
    assert sum(piece.num_rows for piece in cut) == 3
    assert max(message_bytes(piece) for piece in cut) > 100_000


def test_a_shared_dictionary_does_not_count_in_every_piece() -> None:
    words = pa.array([f"word {i} " + "x" * 100 for i in range(10_000)])
    batch = pa.RecordBatch.from_pydict(
        {"d": pa.DictionaryArray.from_arrays(pa.array(range(10_000)), words)}
    )
    assert len(list(pieces(batch, 64 * 1024))) < 10


@pytest.mark.parametrize(
    "kind",
    [
        pa.int64(),
        pa.string(),
        pa.null(),
        pa.decimal128(38, 9),
        pa.list_(pa.string()),
        pa.struct([("a", pa.int32())]),
        pa.map_(pa.string(), pa.int64()),
        pa.dictionary(pa.int32(), pa.string()),
        pa.duration("us"),
        pa.binary(16),
        pa.struct([("a", pa.uuid())]),
        pa.list_(pa.dictionary(pa.int8(), pa.timestamp("us"))),
        pa.map_(pa.string(), pa.json_()),
    ],
    ids=str,
)
def test_the_batch_of_no_rows_can_be_made_of_any_type(kind: pa.DataType) -> None:
    schema = pa.schema([pa.field("c", kind)])
    assert empty_batch(schema).schema == schema
    assert empty_batch(schema).num_rows == 0
