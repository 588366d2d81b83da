"""How processes wait for each other: a lock on a file, which says for whom they wait."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from synthbook.machine import say

PATIENCE = 3.0  # seconds before a process says that it waits


@contextmanager
def alone(path: Path, task: str) -> Iterator[int]:
    """Hold the lock ``path`` for a block that does ``task``; yield its handle.

    It is the operating system's lock on the file (flock), so it ends with the process, however that
    ends. A program that is started with the handle (``pass_fds``) holds it too: what a killed
    ``make`` left running is waited for. The file stays; in it stands who held it last.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _take(handle, path)
        with suppress(OSError):  # a full disk: the lock holds, and others learn less
            os.ftruncate(handle, 0)
            text = f"{os.getpid()} {task}, since {time.strftime('%H:%M:%S')}"
            os.pwrite(handle, text.encode(), 0)
        yield handle
    finally:
        os.close(handle)


def _take(handle: int, path: Path) -> None:
    end, pause = time.monotonic() + PATIENCE, 0.001
    while time.monotonic() < end:
        with suppress(BlockingIOError):
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    say(f"waiting for {holder(path)}; the lock is {path}")
    fcntl.flock(handle, fcntl.LOCK_EX)


def holder(path: Path) -> str:
    """Return in words who holds a lock: its process, what it does, and since when."""
    first, _, task = path.read_text(encoding="utf-8", errors="replace").partition(" ")
    now = _processes(path)
    if not task:
        return f"process {', '.join(now)}" if now else "another process"
    if first in now or not now:
        return f"process {first} ({task})"
    return f"process {', '.join(now)}, left running by process {first} ({task})"


def _processes(path: Path) -> list[str]:
    """Return the processes that hold a lock, as far as the system tells (Linux does)."""
    mark, found = f":{path.stat().st_ino} ", set()
    for file in Path("/proc").glob("[0-9]*/fdinfo/*"):
        with suppress(OSError):
            text = file.read_text(errors="replace")
            if "FLOCK" in text and mark in text:
                found.add(file.parts[2])
    return sorted(found, key=int)
