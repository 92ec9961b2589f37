"""CPU seconds and memory of processes and what they started, from Linux's /proc."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")

#: Whether this system can be measured.
AVAILABLE = (_PROC / "self" / "stat").exists()


def tree(root: int) -> list[int]:
    """Returns a process and its descendants."""
    if not AVAILABLE:
        return []
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue.extend(children.get(pid, []))
    return found


def cpu_seconds(root: int) -> float:
    """Returns user and system time of a tree, including members that have ended."""
    ticks = 0
    for pid in tree(root):
        fields = _stat(pid)
        # utime, stime, and those of children that were waited for.
        ticks += sum(int(field) for field in fields[11:15]) if fields else 0
    return ticks / _TICKS


def memory_bytes(root: int) -> int:
    """Returns the resident memory of a tree."""
    return sum(_status(pid, "VmRSS") for pid in tree(root))


def peak_bytes(root: int) -> int:
    """Returns the sum of the peaks of each process of a tree since `forget_peak`."""
    return sum(_status(pid, "VmHWM") for pid in tree(root))


def forget_peak(root: int) -> None:
    """Resets the peak of each process of a tree, if allowed."""
    for pid in tree(root):
        try:
            (_PROC / str(pid) / "clear_refs").write_text("5")
        except OSError:
            continue


def _stat(pid: int) -> list[str]:
    """Returns the fields of stat after the name, which may hold any character."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _status(pid: int, name: str) -> int:
    try:
        text = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
