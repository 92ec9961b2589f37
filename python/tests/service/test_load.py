"""The output of `pgflight load`: a bar that fits the terminal, or lines without a terminal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

import psycopg
import pytest
from conftest import Database, Server, wait_until
from terminal import CONTROL, Command

ROWS = 60_000
WAITING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%LOCK TABLE%'
      AND pid <> pg_backend_pid()
"""


@pytest.mark.parametrize(
    ("columns", "term"),
    [(40, "xterm"), (80, "xterm-256color"), (200, "xterm"), (80, "dumb"), (None, "xterm")],
)
def test_progress_fits_the_terminal(
    database: Database, server: Server, tmp_path: Path, columns: Optional[int], term: str
) -> None:
    database.run("CREATE TABLE trips (id bigint, note text)")
    file = tmp_path / "trips.csv"
    lines = (f'{id},"a note of some length, so that there are bytes"' for id in range(ROWS))
    file.write_text("id,note\n" + "\n".join(lines) + "\n")
    is_drawn = columns is not None and term != "dumb"
    with psycopg.connect(database.url) as holder:
        # The table can be read, and rows must wait.
        holder.execute("LOCK TABLE trips IN SHARE MODE")
        load = Command(
            *("load", "--server", server.url, "--to", "trips", file), columns=columns, term=term
        )
        wait_until(lambda: database.rows(WAITING), 30)
        if is_drawn:
            wait_until(lambda: "rows/s" in load.output)
        # The stream breaks, and the file is sent again.
        database.run(f"SELECT pg_terminate_backend(pid) FROM ({WAITING}) waiting")
        wait_until(lambda: "trying again" in load.output)
        wait_until(lambda: database.rows(WAITING), 30)
        wait_until(lambda: " left" in load.output, 30)
        holder.rollback()
    printed = load.end()
    assert database.count("trips") == ROWS
    # The pieces between moves of the cursor; a full terminal wraps them.
    pieces = [piece for piece in re.split(r"[\r\n]+", CONTROL.sub("\r", printed)) if piece.strip()]
    # Messages have their own lines, also while there is a bar.
    complaint = rf"pgflight: {re.escape(str(file))}: .*; trying again"
    assert sum(bool(re.fullmatch(complaint, piece)) for piece in pieces) == 1, printed
    assert f"loaded {ROWS:,} rows of 1 file into public.trips" in pieces[-1], printed
    if not is_drawn:
        assert not CONTROL.search(printed), printed
        line = r"pgflight: \d+ %  .* left, .* rows/s, .* rows, .* of .*MiB"
        assert any(re.fullmatch(line, piece) for piece in pieces), printed
        return
    assert columns is not None
    frames = [piece for piece in pieces if "trips" not in piece]
    part = r"(\d+ \w+ left|all files are read|[\d,]+ rows(/s)?|[\d.]+ \w+ of [\d.]+ MiB)"
    for frame in frames:
        # At most two full lines, which a redraw can erase.
        assert len(frame) == 2 * columns, repr(frame)
        assert re.fullmatch(r"[━╸ ]+ +\d+ %", frame[:columns]), repr(frame)
        # A part that does not fit is omitted, never cut.
        assert re.fullmatch(rf"{part}(, {part})*", frame[columns:].rstrip()), repr(frame)
        assert "0 seconds left" not in re.sub(r"\d+0 seconds", "", frame)
    assert any(" left" in frame for frame in frames)
    assert any("MiB of" in frame for frame in frames) == (columns > 40), frames[-1]
