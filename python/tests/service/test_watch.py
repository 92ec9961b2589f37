"""`pgflight writes --watch` on terminals: what it draws fits, and is drawn in one place."""

from __future__ import annotations

import signal

import pytest
from conftest import Database, wait_until
from terminal import CONTROL, Command


@pytest.mark.parametrize(("rows", "columns"), [(6, 40), (24, 80), (50, 200)])
def test_watched_writes_fit_the_terminal(database: Database, rows: int, columns: int) -> None:
    for number in range(8):
        ended = Command("abort", "--force", f"nightly-{number}", "--postgres", database.url)
        assert ended.process.wait(30) == 0, "an unknown id is recorded"
    watched = Command(
        *("writes", "--watch", "--interval", "50ms", "--postgres", database.url),
        rows=rows,
        columns=columns,
    )
    wait_until(lambda: watched.output.count("\x1b[H") > 3)
    watched.process.send_signal(signal.SIGINT)
    printed = watched.end()
    # The last screen may be incomplete.
    screens = [CONTROL.sub("", screen) for screen in printed.split("\x1b[H")[1:-1]]
    for screen in screens:
        lines = screen.splitlines()
        assert lines[0].startswith("WRITE"), screen
        assert len(lines) == min(9, rows - 1), screen
        assert all(len(line) <= columns for line in lines), screen
        # A cut text ends with an ellipsis.
        assert any(line.endswith("…") for line in lines) == (columns < 100), screen
