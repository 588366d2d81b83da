from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from synthbook import locks

# Holds a lock until its input ends; with a child that has the handle, the child goes on.
HOLDER = """
import subprocess, sys
from pathlib import Path
from synthbook.locks import alone
with alone(Path({path!r}), "making things") as handle:
    if {child}:
        code = "import sys; print('ready', flush=True); sys.stdin.read()"
        subprocess.run([sys.executable, "-c", code], pass_fds=(handle,))
    else:
        print("ready", flush=True)
        sys.stdin.read()
"""


Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start() -> Iterator[Start]:
    """(path of a lock, whether a child gets it too) -> the process that holds it by now."""
    started = []

    def make(path: Path, child: bool = False) -> subprocess.Popen:
        code = HOLDER.format(path=str(path), child=child)
        command = [sys.executable, "-c", code]
        made = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(made)
        assert made.stdout.readline() == "ready\n"
        return made

    yield make
    for made in started:
        made.kill()
        made.stdin.close()
        made.stdout.close()
        made.wait()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(locks, "say", lines.append)
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    return lines


def _free(holder: subprocess.Popen, said: list[str]) -> None:
    """End what holds a lock as soon as somebody says that he waits."""
    while not said:
        time.sleep(0.01)
    holder.stdin.close()


def _waited(path: Path, holder: subprocess.Popen, said: list[str]) -> str:
    thread = Thread(target=_free, args=(holder, said))
    thread.start()
    with locks.alone(path, "waiting"):
        thread.join()
    (line,) = said
    return line


def test_who_waits_says_for_whom(start: Start, tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "deep" / ".lock"
    holder = start(path)
    line = _waited(path, holder, said)
    assert line.startswith(f"waiting for process {holder.pid} (making things, since ")
    assert line.endswith(f"; the lock is {path}")
    assert holder.wait(10) == 0
    with locks.alone(path, "at once"):
        assert path.read_text().startswith(f"{os.getpid()} at once, since ")
    assert len(said) == 1


def test_a_killed_process_frees_its_lock(start: Start, tmp_path: Path, said: list[str]) -> None:
    holder = start(tmp_path / ".lock")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locks.alone(tmp_path / ".lock", "after it"):
        assert said == []


@pytest.mark.skipif(not Path("/proc/self/fdinfo").is_dir(), reason="only Linux tells")
def test_what_a_killed_process_left_running_is_waited_for(
    start: Start, tmp_path: Path, said: list[str]
) -> None:
    path = tmp_path / ".lock"
    holder = start(path, child=True)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    line = _waited(path, holder, said)
    assert f", left running by process {holder.pid} (making things" in line
    assert not line.startswith(f"waiting for process {holder.pid}")


def test_a_lock_is_free_after_an_error(tmp_path: Path, said: list[str]) -> None:
    with pytest.raises(ValueError, match="inside"), locks.alone(tmp_path / "x", "failing"):
        raise ValueError("inside")
    with locks.alone(tmp_path / "x", "again"):
        assert said == []


def test_a_full_disk_hides_the_holder_s_name_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with locks.alone(tmp_path / "x", "quietly"):
        if (held := locks.holder(tmp_path / "x")) != "another process":
            assert held == f"process {os.getpid()}"
