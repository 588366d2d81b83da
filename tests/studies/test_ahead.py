"""Trainings side by side: each job is done once, rows stay as they are, and no process is left."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from synthbook.errors import InputError
from synthbook.studies.ahead import _do, ahead


def settings(folder: Path, **changed: Any) -> SimpleNamespace:
    given = {
        "workers": 1, "device": "cpu", "threads": 1, "first_seed": 3, "seconds": 0.0,
        "failing": "", "log": str(folder / "log"), "parent": os.getpid(), "patient": False,
    }  # fmt: skip
    return SimpleNamespace(**given | changed)


def results(study: Any, p: Any) -> list[str]:
    with ahead(study, p):
        return [row["result"] for job in study.jobs for row in study.rows(*job)]


def done(p: Any) -> dict[str, int]:
    """Return job -> the process that did it, from the log."""
    lines = Path(p.log).read_text(encoding="utf-8").split("\n")[:-1]
    names = [line.split()[0] for line in lines]
    assert sorted(names) == list("abcde")  # each once
    return {name: int(line.split()[1]) for name, line in zip(names, lines, strict=True)}


@pytest.fixture(autouse=True)
def slow(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the slow studies, where other processes find them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return import_module("slow_study")


EXPECTED = [f"3 {name}" for name in "abcde"]


@pytest.mark.parametrize("kind", ["Slow", "ByRows"])
def test_rows_are_those_of_one_process_and_each_training_is_done_once(
    kind: str, slow: ModuleType, tmp_path: Path
) -> None:
    p = settings(tmp_path, workers=3, seconds=300.0, patient=True)
    assert results(getattr(slow, kind)(p, "cpu"), p) == EXPECTED
    by = done(p)
    assert by["a"] == p.parent  # which waits in it until another process has done one
    assert set(by.values()) != {p.parent}
    assert multiprocessing.active_children() == []
    assert results(getattr(slow, kind)(p, "cpu"), p) == EXPECTED  # from the cache
    assert done(p) == by


def test_one_worker_is_this_process(
    slow: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing, "get_context", None)  # would raise if it were called
    p = settings(tmp_path)
    assert results(slow.Slow(p, "cpu"), p) == EXPECTED
    assert set(done(p).values()) == {p.parent}


def test_there_are_no_more_than_jobs(slow: ModuleType, tmp_path: Path) -> None:
    p = settings(tmp_path, workers=64)
    study = slow.Slow(p, "cpu")
    with ahead(study, p):
        assert len(multiprocessing.active_children()) == len(study.jobs) - 1


def test_what_fails_elsewhere_is_done_or_told_here(slow: ModuleType, tmp_path: Path) -> None:
    p = settings(tmp_path, workers=2, seconds=300.0, patient=True, failing="d")
    assert results(slow.Slow(p, "cpu"), p) == EXPECTED
    assert done(p)["d"] == p.parent


def test_an_error_ends_all_of_them(slow: ModuleType, tmp_path: Path) -> None:
    p = settings(tmp_path, workers=3, seconds=60.0)
    with pytest.raises(ValueError, match="here"), ahead(slow.Slow(p, "cpu"), p):
        raise ValueError("here")
    assert multiprocessing.active_children() == []


def test_a_study_that_no_module_has_is_refused_before_work(
    slow: ModuleType, tmp_path: Path
) -> None:
    class Own(slow.Slow):  # type: ignore[name-defined, misc]
        pass

    p = settings(tmp_path, workers=2)
    with pytest.raises(InputError, match=r"workers 2: .* study Own,.* set workers to 1"):
        results(Own(p, "cpu"), p)
    assert not Path(p.log).exists()
    assert results(Own(settings(tmp_path), "cpu"), settings(tmp_path)) == EXPECTED


def test_a_job_is_done_in_the_process_that_is_asked(slow: ModuleType, tmp_path: Path) -> None:
    p = settings(tmp_path)
    for job in slow.Slow(p, "cpu").jobs:
        _do((slow.Slow, p, job))
    assert set(done(p).values()) == {p.parent}


def test_they_end_with_a_process_that_is_killed(
    slow: ModuleType, tmp_path: Path, gone: Callable[[int], bool]
) -> None:
    given = vars(settings(tmp_path, workers=2, seconds=600.0))
    script = f"""
import multiprocessing, time
from types import SimpleNamespace
from slow_study import Slow
from synthbook.studies.ahead import ahead
p = SimpleNamespace(**{given!r})
if __name__ == "__main__":
    with ahead(Slow(p, "cpu"), p):
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(600)
"""
    file = tmp_path / "begin.py"
    file.write_text(script, encoding="utf-8")
    with subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True) as begun:
        assert begun.stdout is not None
        children = [int(text) for text in begun.stdout.readline().split()]
        assert len(children) == 1
        lock = tmp_path / "cache" / "slow"
        end = time.monotonic() + 120
        while not list(lock.glob("*.part")) and time.monotonic() < end:
            time.sleep(0.1)
        assert list(lock.glob("*.part")), "it began no training"
        begun.kill()
    end = time.monotonic() + 30
    while not all(map(gone, children)) and time.monotonic() < end:
        time.sleep(0.1)
    assert all(map(gone, children))
