"""The client without Spark: streams, progress, and queries to the server."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Iterator, List

import pyarrow as pa
import pytest
from conftest import Database, Server

import pgflight
from pgflight.progress import Reporter

THREE = pa.table({"n": pa.array([1, 2, 3], pa.int32()), "s": ["a", None, "ç"]})
ROWS = [(1, "a"), (2, None), (3, "ç")]
SELECT = "SELECT n, s FROM public.t ORDER BY n"


@pytest.fixture
def table(database: Database) -> str:
    database.run("CREATE TABLE public.t (n int PRIMARY KEY, s text)")
    return "public.t"


# ── streams ──────────────────────────────────────────────────────────────────


def test_batches_larger_than_a_message_are_cut(client: pgflight.Client, database: Database) -> None:
    # 100 MB in one batch; one row is larger than the limit to which batches are cut.
    text = ["x" * 1000] * 90_000 + ["y" * 10_000_000]
    batch = pa.RecordBatch.from_pydict({"n": pa.array(range(len(text))), "s": pa.array(text)})
    assert client.write(batch, "t", mode="create").row_count == len(text)
    assert database.rows("SELECT count(*), sum(n), sum(length(s)) FROM t") == [
        (90_001, 90_000 * 90_001 // 2, 100_000_000)
    ]


def test_batches_without_rows_are_left_out(client: pgflight.Client, database: Database) -> None:
    empty, full = THREE.slice(0, 0).combine_chunks(), THREE.to_batches()[0]
    nothing = pgflight.flight.stream.empty_batch(empty.schema)
    assert client.write([nothing, full, nothing], "t", mode="create").row_count == 3
    assert database.rows(SELECT) == ROWS


def test_a_batch_of_another_schema_ends_the_write(
    client: pgflight.Client, database: Database, table: str
) -> None:
    other = pa.RecordBatch.from_pydict({"n": pa.array([4], pa.int64()), "s": ["d"]})
    with pytest.raises(pgflight.SchemaMismatch, match=r"field 0 is .*int64.*, not .*int32"):
        client.write([*THREE.to_batches(), other], table)
    assert database.count("t") == 0


def test_a_generators_error_is_raised_unchanged_and_nothing_kept(
    client: pgflight.Client, database: Database, table: str
) -> None:
    class Mine(Exception):
        pass

    mine = Mine("the file ended early")

    def batches() -> Iterator[pa.RecordBatch]:
        yield from THREE.to_batches()
        raise mine

    with pytest.raises(Mine) as raised:
        client.write(batches(), table)
    assert raised.value is mine
    assert database.count("t") == 0
    # The client still works.
    assert client.write(THREE, table).row_count == 3


def test_a_process_that_dies_midway_leaves_nothing(
    server: Server, database: Database, table: str
) -> None:
    program = f"""
import os, pyarrow as pa, pgflight
def batches():
    for i in range(100):
        yield pa.RecordBatch.from_pydict({{"n": pa.array([i], pa.int32()), "s": ["a"]}})
    os._exit(7)
pgflight.connect({server.url!r}).write(batches(), "public.t")
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == 7
    assert database.count("t") == 0


def test_many_writes_share_a_client(
    client: pgflight.Client, database: Database, table: str
) -> None:
    for n in range(50):
        client.write(pa.table({"n": pa.array([n], pa.int32())}), table)
    assert database.count("t") == 50


# ── progress ─────────────────────────────────────────────────────────────────


def test_a_callable_receives_the_progress(client: pgflight.Client) -> None:
    reports: List[pgflight.Progress] = []
    batches = pa.table({"n": range(10_000)}).to_batches(max_chunksize=1000)
    client.write(batches, "t", mode="create", progress=reports.append)
    assert [p.row_count for p in reports] == [*range(1000, 10_001, 1000), 10_000]
    assert reports[-1].byte_count >= 80_000
    assert reports[-1].seconds > 0


def test_progress_goes_to_standard_error(
    client: pgflight.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    client.write(THREE, "t", mode="create", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pgflight: t: 3 rows in ")
    assert err.endswith(" MB/s, committed\n")


def test_a_terminal_has_one_live_line() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    reporter = Reporter("t", True, terminal)
    reporter._interval = 0
    reporter.sent(10_000_000, 80_000_000)
    reporter.sent(1, 8)
    reporter.finished()
    lines = terminal.getvalue().split("\r")
    assert [line.startswith("t: 10,000,00") for line in lines] == [False, True, True, True]
    assert terminal.getvalue().count("\n") == 1


# ── queries ──────────────────────────────────────────────────────────────────


def test_a_tables_schema_has_arrow_types(client: pgflight.Client, database: Database) -> None:
    database.run("CREATE TABLE t (n int NOT NULL, s text, fare numeric(10,2), at timestamptz)")
    schema = client.table_schema("public.t")
    assert schema.names == ["n", "s", "fare", "at"]
    assert schema.field("n").type == pa.int32()
    assert not schema.field("n").nullable
    assert schema.field("s").nullable
    assert schema.field("fare").type == pa.decimal128(10, 2)
    assert schema.field("at").type == pa.timestamp("us", "UTC")


def test_the_schema_of_a_missing_table_is_not_found(client: pgflight.Client) -> None:
    with pytest.raises(pgflight.NotFound):
        client.table_schema("public.nowhere")


def test_tables_are_listed_by_the_names_that_write_takes(
    client: pgflight.Client, database: Database
) -> None:
    database.run('CREATE TABLE t (n int); CREATE TABLE "Odd.One" (n int)')
    assert set(client.tables()) >= {"public.t", 'public."Odd.One"'}
    for name in client.tables():
        client.table_schema(name)


def test_an_unknown_write_is_not_found(client: pgflight.Client) -> None:
    with pytest.raises(pgflight.NotFound):
        client.status("no such write")


def test_an_abort_before_begin_is_remembered(client: pgflight.Client) -> None:
    status = client.abort("early", "never mind")
    assert (status.write_id, status.state, status.reason) == ("early", "aborted", "never mind")
    assert client.status("early").state == "aborted"


def test_a_client_can_be_closed_twice(server: Server) -> None:
    client = pgflight.connect(server.url)
    client.tables()
    client.close()
    client.close()


# ── the size of a message ────────────────────────────────────────────────────


@pytest.fixture
def narrow(database: Database) -> Iterator[pgflight.Client]:
    """A client of a server that accepts at most 1 MiB."""
    server = Server(database.url, "--max-message-size", "1MiB")
    with pgflight.connect(server.url) as client:
        yield client
    server.stop()


def test_batches_are_cut_to_what_the_server_takes(
    narrow: pgflight.Client, database: Database
) -> None:
    text = pa.array(["x" * 100_000] * 100)
    assert narrow.write(pa.table({"s": text}), "t", mode="create").row_count == 100
    assert database.rows("SELECT count(*), sum(length(s)) FROM t") == [(100, 10_000_000)]


def test_a_row_larger_than_a_message_is_rejected(
    narrow: pgflight.Client, database: Database
) -> None:
    database.run("CREATE TABLE t (s text)")
    text = pa.array(["x" * 100_000] * 20 + ["y" * 2_000_000] + ["z"])
    with pytest.raises(pgflight.DataRejected, match="exceeds the server's limit") as refused:
        narrow.write(pa.table({"s": text}), "t")
    assert refused.value.row == 20
    assert database.count("t") == 0


def test_a_dictionary_is_sent_whole_and_its_indices_are_cut(
    narrow: pgflight.Client, database: Database
) -> None:
    words = pa.array([f"word {i}" for i in range(10_000)])
    indices = pa.array([i % 10_000 for i in range(1_000_000)], pa.int32())
    table = pa.table({"d": pa.DictionaryArray.from_arrays(indices, words)})
    assert narrow.write(table, "t", mode="create").row_count == 1_000_000
    assert database.rows("SELECT count(*), count(DISTINCT d) FROM t") == [(1_000_000, 10_000)]
