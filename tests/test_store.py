from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest

from synthbook import store
from synthbook.errors import InputError
from synthbook.store import atomic_write, cached, check_writable, root


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))
    return tmp_path


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


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was told on the console."""
    lines: list[str] = []
    monkeypatch.setattr("synthbook.machine.say", lines.append)
    return lines


def _numbers(path: Path) -> None:
    (path / "deep").mkdir(exist_ok=True)
    (path / "images.npy").write_bytes(bytes(range(256)))
    (path / "deep/info.json").write_text('{"confidence": 0.8}')


@pytest.mark.parametrize("name", ["images.npy", "deep/info.json", "key.json", "sums.json"])
@pytest.mark.parametrize("harm", ["flipped", "emptied", "missing", "a folder"])
def test_a_broken_entry_is_named_and_made_anew(said: list[str], name: str, harm: str) -> None:
    folder = cached("thing", {"a": 1}, _numbers)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert cached("thing", {"a": 1}, _numbers) == folder
    assert said == []
    path = folder / name
    content = bytearray(path.read_bytes())
    path.unlink()
    if harm == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif harm == "emptied":
        path.touch()
    elif harm == "a folder":
        path.mkdir()
    assert cached("thing", {"a": 1}, _numbers) == folder
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    (line,) = said
    assert f"{folder} is broken (" in line
    assert Path(name).name in line or name == "sums.json"
    assert "made anew" in line


@pytest.mark.parametrize("suffix", ["", ".part"])
def test_a_file_in_the_place_of_a_folder_is_replaced(said: list[str], suffix: str) -> None:
    folder = cached("thing", {"a": 1}, _numbers)
    shutil.rmtree(folder)
    Path(f"{folder}{suffix}").write_text("no folder")
    assert (cached("thing", {"a": 1}, _numbers) / "images.npy").is_file()
    assert len(said) == (suffix == "")


def test_what_was_kept_before_there_were_sums_is_made_anew(said: list[str]) -> None:
    folder = cached("thing", {"a": 1}, _numbers)
    (folder / "sums.json").unlink()
    cached("thing", {"a": 1}, _numbers)
    assert "sums.json: No such file" in said[0]


def test_a_cache_that_cannot_be_written_is_told_with_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(folder / "file"))
    with pytest.raises(InputError, match=r"file/thing/\w+, .* cannot be written .*SYNTHBOOK_CACHE"):
        cached("thing", {"a": 1}, _numbers)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT, None])
def test_a_full_disk_is_told_with_the_remedy(number: int | None) -> None:
    def build(path: Path) -> None:
        if number is None:  # as NumPy says it
            raise OSError("1000 requested and 10 written")
        raise OSError(number, os.strerror(number))

    with pytest.raises(InputError, match=r"make room there, or set SYNTHBOOK_CACHE to another"):
        cached("thing", {"a": 1}, build)
    assert (cached("thing", {"a": 1}, lambda path: (path / "x").touch()) / "x").is_file()


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "no file"),
        ValueError("a bug"),
        OSError("image file is truncated (3 bytes not processed)"),
        PermissionError(errno.EACCES, "closed", "/data/image.png"),
    ],
)
def test_other_faults_of_a_build_are_its_own(error: Exception) -> None:
    def build(path: Path) -> None:
        raise error

    with pytest.raises(type(error), match=r"no file|a bug|closed|truncated"):
        cached("thing", {"a": 1}, build)


def test_a_book_or_a_cache_that_is_not_there_is_told_with_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHBOOK_ROOT", str(folder))
    monkeypatch.delenv("SYNTHBOOK_CACHE")
    with pytest.raises(InputError, match=r"SYNTHBOOK_ROOT = '.*' holds no book .*; set it to"):
        root()
    with pytest.raises(InputError, match=r"or SYNTHBOOK_CACHE to a folder"):
        cached("thing", {"a": 1}, _numbers)
    monkeypatch.delenv("SYNTHBOOK_ROOT")
    monkeypatch.setattr(store, "PACKAGE", folder / "site-packages/synthbook")
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match=r"run inside a clone, .*, or SYNTHBOOK_CACHE to a folder"):
        cached("thing", {"a": 1}, _numbers)


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
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
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
    path, before = tmp_path / "deep" / "file.txt", os.umask(0o022)
    try:
        with atomic_write(path) as stream:
            stream.write("one")
    finally:
        os.umask(before)
    with pytest.raises(TypeError), atomic_write(path) as stream:
        stream.write(2)
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]
    assert path.stat().st_mode & 0o044


def test_the_key_holds_versions_threads_and_the_kind_of_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    def machine_of(device: str = "cpu") -> dict:
        folder = cached("thing", {}, _numbers, device)
        key = json.loads((folder / "key.json").read_text())
        assert set(key["versions"]) == set(store.PACKAGES)
        return key["machine"]

    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert machine_of() == {"device": "cpu", "threads": threads}
            assert machine_of("cuda:1") == {"device": "cuda", "threads": 0}
    finally:
        torch.set_num_threads(before)
    first = cached("thing", {}, _numbers)
    monkeypatch.setattr(store, "versions", lambda: {"torch": "another"})
    assert cached("thing", {}, _numbers) != first


def test_root_is_the_clone_and_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (root() / "pyproject.toml").is_file()
    monkeypatch.setenv("SYNTHBOOK_ROOT", str(tmp_path))
    with pytest.raises(InputError, match="SYNTHBOOK_ROOT"):
        root()
