"""The programs of `tests/clients`: Flight SQL clients of other languages, which run steps against a server."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
from conftest import ROOT, Database, Server

SOURCES = ROOT / "tests/clients"
BUILT = ROOT / "target/clients"

# The rows with the ids from $1 to $2, as the programs make them.
EXPECTED = """
    SELECT id, CASE WHEN id %% 3 <> 0 THEN 'näme' END, id / 4.0::float8,
        timestamptz 'epoch' + id * interval '1.000001 second'
    FROM generate_series(%s::int8, %s) id
"""


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@functools.lru_cache(maxsize=None)
def _go() -> List[str]:
    BUILT.mkdir(parents=True, exist_ok=True)
    _run(SOURCES / "go", "go", "build", "-o", f"{BUILT}/go/", "./...")
    return [f"{BUILT}/go/"]


@functools.lru_cache(maxsize=None)
def _java() -> List[str]:
    _run(SOURCES / "java", "mvn", "--batch-mode", "--quiet", "process-classes")
    libraries = (BUILT / "java/classpath").read_text().strip()
    opens = "--add-opens=java.base/java.nio=ALL-UNNAMED"
    classes = f"{BUILT}/java/classes:{libraries}"
    return ["java", "-Xmx1g", opens, "-cp", classes, "clients."]


_BUILDS: Dict[str, Callable[[], List[str]]] = {"go": _go, "java": _java}
_NEEDS = {"go": ["go"], "java": ["mvn", "java"]}


def command(language: str, name: str) -> List[str]:
    """Returns the command of a program, which is built once.

    The test is skipped if this machine has no tools for the language.
    """
    for tool in _NEEDS[language]:
        if shutil.which(tool) is None:
            pytest.skip(f"this machine has no {tool}")
    *words, last = _BUILDS[language]()
    return [*words, last + name]


class Steps:
    """A program that runs steps by a Flight SQL client."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def answer(self, do: str, **fields: Any) -> Dict[str, Any]:
        """Runs a step, and returns its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
        self._process.stdin.flush()
        give_up = threading.Timer(120, self._process.kill)
        give_up.start()
        line = self._process.stdout.readline()
        give_up.cancel()
        assert line, f"the program has ended, or gave no answer to {do} in time"
        answer: Dict[str, Any] = json.loads(line)
        return answer

    def run(self, do: str, **fields: Any) -> Any:
        """Runs a step, and returns its number of rows or what it found."""
        answer = self.answer(do, **fields)
        assert "error" not in answer, answer["error"]
        return answer.get("rows", answer.get("found"))

    def fail(self, do: str, **fields: Any) -> str:
        """Runs a step that must fail, and returns the text that a user gets."""
        answer = self.answer(do, **fields)
        assert "error" in answer, answer
        return str(answer["error"])

    def ingest(self, table: str, mode: str, **fields: Any) -> int:
        """Ingests rows, by default those with the ids from 1 to 5."""
        return int(self.run("ingest", **ingest(table, mode, **fields)))

    def fail_to_ingest(self, table: str, mode: str, **fields: Any) -> str:
        """Ingests what must fail, and returns the text that a user gets."""
        return self.fail("ingest", **ingest(table, mode, **fields))


def ingest(table: str, mode: str, **fields: Any) -> Dict[str, Any]:
    return {"table": table, "mode": mode, "first": 1, "rows": 5, **fields}


# One process for all tests, since a JVM takes seconds to start. It ends with its input.
_running: Dict[str, "subprocess.Popen[str]"] = {}


@contextlib.contextmanager
def steps(language: str, url: str) -> Iterator[Steps]:
    """Connects the program `steps` of a language to a server."""
    if language not in _running:
        words = command(language, {"go": "steps", "java": "Steps"}[language])
        pipe = subprocess.PIPE
        _running[language] = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)
    process = Steps(_running[language])
    try:
        process.run("connect", server=url.split("//")[1])
        yield process
        process.run("disconnect")
    except BaseException:
        # It may still be connected, or wait.
        _running.pop(language).kill()
        raise


def has_rows(database: Database, table: str, first: int, last: int) -> bool:
    """Whether a table has exactly the rows with these ids, each once."""
    differ = (
        f"(TABLE {table} EXCEPT ALL ({EXPECTED})) UNION ALL (({EXPECTED}) EXCEPT ALL TABLE {table})"
    )
    return not database.rows(differ, first, last, first, last)


def check_example(language: str, folder: str, server: Server, database: Database) -> None:
    """Checks that the page shows parts of the programs in a folder.

    The program that ingests must write its rows once when it runs twice.
    """
    page = (ROOT / "docs/clients.md").read_text()
    files = sorted(file for file in (SOURCES / folder).iterdir() if file.is_file())
    source = "\n".join(_unindented(file.read_text()) for file in files)
    blocks = re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        assert _unindented(block) in source, block
    words = command(language, {"go": "append", "java": "Append"}[language])
    address = server.url if language == "java" else server.url.split("//")[1]
    database.run("CREATE TABLE trips (id int8, fare float8)")
    for _ in range(2):
        assert (
            subprocess.run([*words, address], stdout=subprocess.PIPE, check=True).stdout == b"3\n"
        )
    assert database.rows("TABLE trips ORDER BY id") == [(1, 7.5), (2, 7.5), (3, 7.5)]


def _unindented(code: str) -> str:
    return "\n".join(line.strip() for line in code.splitlines())
