"""Bodies that pyarrow compresses, as any Flight client may send."""

from __future__ import annotations

import pyarrow as pa
import pytest
from conftest import Database, Server
from pyarrow import flight

ROWS = 10_000
TABLE = pa.table(
    {
        "n": pa.array(range(ROWS)),
        "s": pa.array([None if n % 7 == 0 else f"row {n}" for n in range(ROWS)]),
        "d": pa.array([f"word {n % 5}" for n in range(ROWS)]).dictionary_encode(),
        "a": pa.array([[n, None, -n] for n in range(ROWS)]),
        # Too short to become smaller, and so not compressed.
        "b": pa.array([n % 2 == 0 for n in range(ROWS)]),
    }
)


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_compressed_batches_keep_their_values(
    database: Database, server: Server, codec: str
) -> None:
    database.run("CREATE TABLE t (n bigint, s text, d text, a bigint[], b boolean)")
    options = flight.FlightCallOptions(write_options=pa.ipc.IpcWriteOptions(compression=codec))
    descriptor = flight.FlightDescriptor.for_path("t")
    with flight.FlightClient(server.url) as client:
        writer, _ = client.do_put(descriptor, TABLE.schema, options)
        with writer:
            writer.write_table(TABLE, max_chunksize=3000)
            writer.done_writing()
    rows = database.rows("SELECT n, s, d, a, b FROM t ORDER BY n")
    expected = [tuple(row.values()) for row in TABLE.to_pylist()]
    assert rows == expected
