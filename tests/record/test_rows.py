import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthbook.errors import InputError
from synthbook.locks import alone
from synthbook.machine import processor
from synthbook.record.parameters import check_values
from synthbook.record.rows import (
    COLUMNS,
    Row,
    Run,
    append,
    check_rows_file,
    check_times,
    frame,
    identity,
    latest,
    merge,
    read,
    recorded,
)

SOURCE = dict(
    time="2025-01-02T03:04:05Z", version="0.1", commit=None, dirty=None,
    device="cpu", torch=None, threads=1, parameters="p" * 16, seconds=0.5,
)  # fmt: skip


def row(time="2025-01-02T03:04:05Z", **changes):
    fields = dict(
        chapter="90_tiny", method="plain", train="real", test="gan", dataset="digits",
        backbone="small_cnn", setting={}, metric="top1_accuracy", value=1.5, seed=0, scale="mini",
        provenance=SOURCE | {"time": time},
    )  # fmt: skip
    return Row(**(fields | changes))


finite = st.floats(allow_nan=False, allow_infinity=False)
setting_names = st.from_regex(r"[a-z][a-z_0-9]{0,8}", fullmatch=True).filter(
    lambda name: name not in COLUMNS and name != "provenance"
)
settings = st.dictionaries(
    setting_names, st.text() | st.integers(-(2**62), 2**62) | finite | st.booleans(), max_size=4
)
rows_drawn = st.builds(
    row, value=finite, seed=st.integers(0, 2**31), setting=settings,
    method=st.text(min_size=1), train=st.text(), metric=st.text(min_size=1),
)  # fmt: skip


@given(st.lists(rows_drawn, max_size=4))
def test_rows_come_back_as_they_went(tmp_path_factory, drawn):
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    path.touch()
    append(path, drawn)
    back = read(path)
    assert back == drawn
    for one, two in zip(back, drawn, strict=True):
        assert [type(v) for v in one.setting.values()] == [type(v) for v in two.setting.values()]


@pytest.mark.parametrize(
    "changes",
    [
        {"value": float("nan")}, {"value": float("inf")}, {"value": "1"}, {"value": True},
        {"seed": -1}, {"seed": 1.0}, {"method": ""}, {"metric": ""}, {"colour": "red"},
        {"setting": {"value": 1}}, {"setting": {"a b": 1}}, {"setting": {"a": None}},
        {"setting": {"a": float("nan")}}, {"setting": {"a": [1]}}, {"train": None},
        *({"provenance": SOURCE | wrong} for wrong in (
            {"time": "yesterday"}, {"seconds": -1.0}, {"host": "x"},
        )),
    ],
)  # fmt: skip
def test_what_is_no_row(changes):
    with pytest.raises(ValidationError):
        row(**changes)


def test_rows_of_before_say_no_processor_and_new_ones_do(book):
    assert "processor" not in SOURCE
    assert row().provenance.processor == ""
    made = run_of().add(**WHAT, value=1.0, seed=0)
    assert made.provenance.processor == processor() != ""


def test_a_row_is_frozen_and_its_setting_sorted():
    one = row(setting={"b": 1, "a": 2})
    assert list(one.setting) == ["a", "b"]
    with pytest.raises(ValidationError):
        one.value = 2.0


def test_identity_leaves_out_value_and_provenance_only():
    base = row()
    assert identity(row(value=9.0, time="2026-01-01T00:00:00Z")) == identity(base)
    for name in ("chapter", "method", "train", "test", "dataset", "backbone", "metric", "scale"):
        assert identity(row(**{name: "other"})) != identity(base), name
    assert identity(row(seed=1)) != identity(base)
    assert identity(row(setting={"k": 1})) != identity(row(setting={"k": "1"}))


def test_a_torn_last_line_is_passed_over_and_cut_off(tmp_path):
    path = tmp_path / "a.jsonl"
    append(path, [row(seed=0), row(seed=1)])
    whole = path.read_bytes()
    for cut in (1, 40, len(whole) // 2 - 1):
        path.write_bytes(whole[:-cut])
        if cut > 1:  # with one byte less the row itself is whole
            assert [r.seed for r in read(path)] == [0]
        append(path, [row(seed=2)])
        assert [r.seed for r in read(path)] == ([0, 1, 2] if cut == 1 else [0, 2])
        assert path.read_bytes().endswith(b"\n")


def test_a_torn_only_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"chapter": "9\xc3')
    assert read(path) == []
    append(path, [row()])
    assert read(path) == [row()]


@pytest.mark.parametrize(
    ("bad", "after", "fault"),
    [
        (row().model_dump_json().replace("1.5", '"high"'), [row()], ": value: "),
        ("", [row()], ""),
        ("{}", [], ""),  # a last line that was ended is no torn one
    ],
)
def test_any_other_bad_line_is_named(tmp_path, bad, after, fault):
    path = tmp_path / "a.jsonl"
    append(path, [row()])
    with path.open("a") as stream:
        stream.write(f"{bad}\n")
    append(path, after)
    with pytest.raises(InputError, match=rf"a\.jsonl:2 is not a row{fault}"):
        read(path)


NO_ROWS = {
    "a table": b"name,age\nAnn,3\nBob,4",
    "one line": b"a shopping list",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 16,
    "a picture, ended": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 16 + b"\n",
    "other lines of JSON": b'{"chapter": "9", "x": 1}\n{"chapter": "9", "x": 2}',
    "one other line of JSON": b'{"chapter":"9","x":1}',
    "a notebook": b'{\n "cells": []\n}',
    "an empty line": b"\n",
    "a long line": b'{"chapter":"' + b"x" * (1 << 20),
    "nested": b"[" * 100_000,
}


@pytest.mark.parametrize("content", NO_ROWS.values(), ids=NO_ROWS)
def test_a_file_of_anything_else_is_left_as_it_is(tmp_path, book, content):
    path = tmp_path / "precious"
    path.write_bytes(content)
    says = r"precious' is no file of rows, its (first|last) line is .*; .* give rows another name"
    for use in (
        lambda: append(path, [row()]), lambda: check_rows_file(path), lambda: run_of(rows=str(path))
    ):  # fmt: skip
        with pytest.raises(InputError, match=says) as told:
            use()
        with pytest.raises(InputError, match="is not a row"):
            read(path)
        assert len(str(told.value)) < 400
        assert path.read_bytes() == content


def test_a_last_line_that_is_no_torn_row_is_left_as_it_is(tmp_path):
    path = tmp_path / "a.jsonl"
    append(path, [row()])
    for tail in (b"a note", b'{"seed":1', b'{"chapter":"9"}', b"{} "):
        content = f"{row().model_dump_json()}\n".encode() + tail
        path.write_bytes(content)
        with pytest.raises(InputError, match="its last line is"):
            append(path, [row(seed=1)])
        assert path.read_bytes() == content


@given(rows_drawn, st.data())
def test_wherever_a_kill_tears_a_row_it_is_cut_off(tmp_path_factory, drawn, data):
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    line = drawn.model_dump_json().encode()
    torn = line[: data.draw(st.integers(1, len(line) - 1))]
    for before in ([], [row()]):
        path.unlink(missing_ok=True)
        append(path, before)
        with path.open("ab") as stream:
            stream.write(torn)
        append(path, [row(seed=2)])
        assert read(path) == [*before, row(seed=2)]


@pytest.mark.parametrize("place", ["/dev/null", "fifo"])
def test_a_device_is_no_file_of_rows(tmp_path, place):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match=r"cannot be written \(it is no plain file\)"):
        check_rows_file(tmp_path / place)


def test_a_missing_file_and_no_rows(tmp_path):
    with pytest.raises(InputError, match="no rows file"):
        read(tmp_path / "none.jsonl")
    append(tmp_path / "none.jsonl", [])
    assert not (tmp_path / "none.jsonl").exists()


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    append(path, [row()])
    before, write = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:10]))
    with pytest.raises(InputError, match=r"could not write \d+ bytes .*disk full"):
        append(path, [row(seed=1)])
    monkeypatch.undo()
    assert path.read_bytes() == before


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from test_rows import row
from synthbook.record.rows import append
print("ready", flush=True)
sys.stdin.readline()
k = 0
while k < {count}:
    append({path!r}, [row(seed=k, method={name!r}, setting={{"pad": "x" * {pad}}}),
                      row(seed=k, method={name!r}, metric="other")])
    k += 1
"""


def start_writer(path, name, count, pad=300):
    code = WRITER.format(
        tests=os.path.dirname(__file__), path=str(path), name=name, count=count, pad=pad
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "ready\n"
    return writer


def test_two_writers_lose_no_row(tmp_path):
    path = tmp_path / "a.jsonl"
    writers = [start_writer(path, name, 100) for name in ("one", "two")]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    found = {(r.method, r.seed, r.metric) for r in read(path)}
    assert len(found) == len(read(path)) == 400


def test_a_killed_writer_leaves_whole_rows(tmp_path):
    path = tmp_path / "a.jsonl"
    for attempt in range(3):
        writer = start_writer(path, f"killed{attempt}", 10**9, pad=200_000)
        writer.stdin.write("go\n")
        writer.stdin.flush()
        while not path.exists() or path.stat().st_size < (attempt + 1) * 600_000:
            assert writer.poll() is None
            time.sleep(0.002)
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        before = read(path)  # every line but a torn last one is a row
        append(path, [row(method=f"after{attempt}")])  # and the lock of the dead is free
        assert read(path) == [*before, row(method=f"after{attempt}")]
        assert path.read_bytes().endswith(b"\n")


def test_latest_is_by_time_and_of_equal_times_the_later():
    old, new = row(value=1.0, time="2025-01-01T00:00:00Z"), row(value=2.0)
    assert latest([new, old]) == [new]
    assert latest([old, new]) == [new]
    assert latest([new, row(value=3.0)]) == [row(value=3.0)]


def test_merge_keeps_the_newest_sorted_and_is_stable(tmp_path):
    one, two, target = (tmp_path / name for name in ("1.jsonl", "2.jsonl", "out/t.jsonl"))
    append(one, [row(seed=2), row(seed=1, value=1.0)])
    append(two, [row(seed=1, value=2.0, time="2025-06-01T00:00:00Z"), row(seed=0)])
    assert merge([one, two], target) == 1  # dropped
    first = target.read_bytes()
    assert [(r.seed, r.value) for r in read(target)] == [(0, 1.5), (1, 2.0), (2, 1.5)]
    merge([two, one], target)
    assert target.read_bytes() == first
    assert merge([target], target) == 0
    assert target.read_bytes() == first


def test_a_merge_asks_which_rows_of_its_target_stay(tmp_path):
    other, target = tmp_path / "1.jsonl", tmp_path / "t.jsonl"
    append(other, [row(seed=1, value=1.0)])
    assert merge([other], target, lambda r: True) == 0  # there is none yet
    append(target, [row(seed=s, value=2.0, time="2025-06-01T00:00:00Z") for s in (0, 1, 2)])
    assert merge([other], target, lambda r: r.seed == 2) == 3
    assert [(r.seed, r.value) for r in read(target)] == [(1, 1.0), (2, 2.0)]


def test_a_merge_that_fails_changes_nothing(tmp_path):
    append(tmp_path / "t.jsonl", [row()])
    with pytest.raises(InputError):
        merge([tmp_path / "t.jsonl", tmp_path / "none.jsonl"], tmp_path / "t.jsonl")
    assert read(tmp_path / "t.jsonl") == [row()]


def test_rows_dated_ahead_are_named_and_win_over_nothing(tmp_path):
    now = datetime.now(UTC)
    soon = (now + timedelta(minutes=50)).strftime("%Y-%m-%dT%H:%M:%SZ")
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    append(new, [row(value=1.0), row(value=2.0, seed=1, time=soon)])  # clocks differ somewhat
    append(old, [row(time="2099-01-01T00:00:00Z"), row(seed=1, time="2099-05-01T00:00:00Z")])
    check_times(read(new), new)
    held = old.read_bytes()
    with pytest.raises(InputError, match=r"2 rows in '.*old.jsonl' are dated ahead, up to 2099-05"):
        merge([old, new], old)
    assert old.read_bytes() == held


def test_the_frame_has_settings_as_columns():
    table = frame([row(setting={"shots": 4, "aug": True}), row(seed=1)])
    assert list(table.columns) == [*COLUMNS, "aug", "shots"]
    assert table["setting"].tolist() == ["aug=True;shots=4", ""]  # as in the published values
    assert table["shots"].iloc[0] == 4
    assert type(table["shots"].iloc[0]) is int
    assert table["shots"].isna().tolist() == [False, True]
    assert table["time"].iloc[0] == SOURCE["time"]


def test_an_empty_frame_has_the_columns_and_types():
    table = frame([])
    assert list(table.columns) == list(COLUMNS)
    assert table["value"].dtype == float
    assert table.groupby("method")["value"].mean().empty
    assert table["setting"].str.contains("shots").empty


def test_recorded_rows_are_those_of_the_book(book):
    assert list(recorded("90_tiny", "mini").columns) == list(COLUMNS)
    path = book / "results/mini/90_tiny.jsonl"
    append(path, [row(value=1.0), row(value=2.0, time="2025-06-01T00:00:00Z")])
    assert recorded("90_tiny", "mini")["value"].tolist() == [2.0]


# the rows of a run

WHAT = dict(method="plain", train="real", test="gan", dataset="digits", metric="accuracy")


def run_of(**values):
    return Run(check_values("90_tiny", values))


def test_a_row_is_on_disk_as_soon_as_it_is_added(book):
    run = run_of()
    row = run.add(**WHAT, value=np.float32(0.5), seed=np.int64(3), shots=np.int64(4), on=True)
    assert read(book / "_build/rows/90_tiny.jsonl") == [row] == run.rows()
    assert (row.chapter, row.scale, row.value, row.seed) == ("90_tiny", "mini", 0.5, 3)
    assert row.setting == {"on": True, "shots": 4}
    assert type(row.setting["shots"]) is int
    assert row.provenance.parameters == run.parameters.hash


def test_a_run_shows_only_its_own_rows_and_the_parameter_rows_says_where(book, tmp_path):
    path = tmp_path / "deep" / "mine.jsonl"
    for value in (1.0, 2.0):
        run = run_of(rows=str(path), epochs=20)
        assert run.add(**WHAT, value=value, seed=0).scale == "small"
        assert run.frame()["value"].tolist() == [value]
    assert len(read(path)) == 2
    assert not (book / "_build").exists()


def test_rows_below_the_home_folder_go_there(book, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    run_of(rows="~/mine.jsonl").add(**WHAT, value=1.0, seed=0)
    assert len(read(tmp_path / "home/mine.jsonl")) == 1
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"value": float("nan")}, "accuracy = nan of method 'plain'"),
        ({"value": "high"}, "value: "),
        ({"seed": -1}, "seed: "),
        ({"scale": "mini"}, "setting"),
        ({"weight": [1]}, "setting"),
    ],
)
def test_a_bad_row_is_refused_and_not_written(book, changes, match):
    run = run_of()
    with pytest.raises(InputError, match=match):
        run.add(**(WHAT | {"value": 1.0, "seed": 0} | changes))
    assert not run.path.exists()


def test_a_file_that_cannot_be_written_is_known_before_the_work(book):
    (book / "_build" / "rows" / "90_tiny.jsonl").mkdir(parents=True)
    with pytest.raises(InputError, match=r"90_tiny\.jsonl' cannot be written .it is a folder"):
        run_of()


def test_the_same_number_twice_is_a_fault(book):
    run = run_of()
    run.add(**WHAT, value=1, seed=0)
    with pytest.raises(InputError, match="added twice"):
        run.add(**WHAT, value=2, seed=0)
    run.add(**WHAT, value=2, seed=0, shots=4)


def test_seconds_are_given_or_measured(book):
    run = run_of()
    assert run.add(**WHAT, value=1, seed=0, seconds=12.5).provenance.seconds == 12.5
    assert 0 <= run.add(**WHAT, value=1, seed=1).provenance.seconds < 5


def test_rows_wait_for_the_files_lock_and_reach_the_disk(tmp_path, monkeypatch):
    path, synced, fsync = tmp_path / "a.jsonl", [], os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size) or fsync(handle)
    )
    append(path, [row()])
    assert synced == [path.stat().st_size]
    with alone(tmp_path / ".a.jsonl.lock", "something else"):
        writer = Thread(target=append, args=(path, [row(seed=1)]))
        writer.start()
        writer.join(0.2)
        assert len(read(path)) == 1
    writer.join()
    assert len(read(path)) == 2
