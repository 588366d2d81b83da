from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthbook.errors import InputError
from synthbook.store import atomic_write, cached, check_writable, key_hash


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))
    return tmp_path


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_key_does_not_depend_on_order(key: dict) -> None:
    assert key_hash(key) == key_hash(dict(reversed(key.items())))


def test_builds_once_for_a_key() -> None:
    calls = []

    def build(path: Path) -> None:
        calls.append(path)
        (path / "value").write_text("1")

    first = cached("thing", {"a": 1}, build)
    assert cached("thing", {"a": 1}, build) == first
    assert len(calls) == 1
    assert cached("thing", {"a": 2}, build) != first
    key = json.loads((first / "key.json").read_text())
    assert key["a"] == 1
    assert {"code", "versions", "machine"} < set(key)


def test_a_build_that_fails_leaves_nothing_whole_and_can_resume() -> None:
    fail = True

    def build(path: Path) -> None:
        if fail:
            (path / "checkpoint").write_text("half")
            raise RuntimeError("killed")
        assert (path / "checkpoint").read_text() == "half"
        (path / "value").write_text("whole")

    with pytest.raises(RuntimeError, match="killed"):
        cached("thing", {"a": 1}, build)
    fail = False
    assert (cached("thing", {"a": 1}, build) / "value").read_text() == "whole"


def test_what_a_build_has_caught_is_for_the_key_to_say() -> None:
    def at(level: int) -> Path:
        return cached("thing", {"level": level}, lambda path: (path / str(level)).touch())

    def without(level: int) -> Path:
        return cached("thing", {}, lambda path: (path / str(level)).touch())

    assert at(1) != at(2)
    assert without(1) == without(2)


def _slow_build(log: str) -> None:
    def build(path: Path) -> None:
        with open(log, "a") as stream:
            stream.write("built\n")
        time.sleep(0.5)

    cached("thing", {"shared": True}, build)


def test_two_processes_build_once(folder: Path) -> None:
    log = folder / "log"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_slow_build, args=(str(log),)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert log.read_text() == "built\n"


def test_a_file_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    check_writable(tmp_path / "deep" / "file.txt", "it")
    check_writable(Path("file.txt"), "it")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("kept")
    check_writable(tmp_path / "file", "it")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("path", ["", "file/x", "a\0b", "x" * 300])
def test_a_file_that_cannot_be_written_is_told_with_its_name(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"the thing '.*' cannot be written .*; give another file"):
        check_writable(tmp_path / path, "the thing")


def test_atomic_write_replaces_or_leaves(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with atomic_write(path) as stream:
        stream.write("one")
    with pytest.raises(TypeError), atomic_write(path) as stream:
        stream.write(2)
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]
    assert path.stat().st_mode & 0o044
