"""The rows of a run, and where they come from."""

import subprocess

import numpy as np
import pytest

from synthbook.errors import InputError
from synthbook.study import provenance as provenance_function
from synthbook.study.parameters import check_values
from synthbook.study.provenance import (
    chapter_code,
    commit,
    device_name,
    thread_count,
    versions_table,
)  # fmt: skip
from synthbook.study.rows import Run, read

WHAT = dict(method="plain", train="real", test="gan", dataset="digits", metric="accuracy")


@pytest.fixture
def fresh_commit():
    commit.cache_clear()
    yield
    commit.cache_clear()


def run_of(book, **values):
    return Run("90_tiny", check_values(book / "notebooks/90_tiny.py", values))


def test_a_row_is_on_disk_as_soon_as_it_is_added(book):
    run = run_of(book)
    row = run.add(**WHAT, value=np.float32(0.5), seed=np.int64(3), shots=np.int64(4), on=True)
    assert read(book / "_build/rows/90_tiny.jsonl") == [row] == run.rows()
    assert (row.chapter, row.scale, row.value, row.seed) == ("90_tiny", "mini", 0.5, 3)
    assert row.setting == {"on": True, "shots": 4}
    assert type(row.setting["shots"]) is int
    assert row.provenance.code == chapter_code("90_tiny")
    assert row.provenance.parameters == run.parameters.hash
    assert run.frame()["value"].tolist() == [0.5]


def test_the_parameter_rows_says_where(book, tmp_path):
    path = tmp_path / "deep" / "mine.jsonl"
    run = run_of(book, rows=str(path))
    run.add(**WHAT, value=1, seed=0)
    assert len(read(path)) == 1
    assert not (book / "_build").exists()


def test_a_run_shows_only_its_own_rows(book):
    run_of(book).add(**WHAT, value=1, seed=0)
    second = run_of(book)
    second.add(**WHAT, value=2, seed=0)
    assert second.frame()["value"].tolist() == [2.0]
    assert len(read(second.path)) == 2


def test_the_scale_of_a_run(book):
    assert run_of(book, epochs=20).scale == "small"
    assert run_of(book, epochs=7).scale == "custom"


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
    run = run_of(book)
    with pytest.raises(InputError, match=match):
        run.add(**(WHAT | {"value": 1.0, "seed": 0} | changes))
    assert not run.path.exists()


def test_the_same_number_twice_is_a_fault(book):
    run = run_of(book)
    run.add(**WHAT, value=1, seed=0)
    with pytest.raises(InputError, match="added twice"):
        run.add(**WHAT, value=2, seed=0)
    run.add(**WHAT, value=2, seed=0, shots=4)


def test_seconds_are_given_or_measured(book):
    run = run_of(book)
    assert run.add(**WHAT, value=1, seed=0, seconds=12.5).provenance.seconds == 12.5
    assert 0 <= run.add(**WHAT, value=1, seed=1).provenance.seconds < 5


def test_the_code_hash_follows_what_makes_numbers(book):
    path = book / "notebooks/90_tiny.py"
    text, base = path.read_text(), chapter_code("90_tiny")
    same = [
        ("# # A chapter", "# # Another title"),
        ("total = p.epochs * 2", "total = p.epochs  *  2  # twice"),
        ("Rule(0, 2, example=0.5)", "Rule(0, 3)"),
        ("seeds: int = 1", "seeds: int = 2"),
    ]
    other = [
        ("total = p.epochs * 2", "total = p.epochs * 3"),
        ("import randomness", "import cache"),
    ]
    for pairs, expected in ((same, True), (other, False)):
        for old, new in pairs:
            assert old in text
            path.write_text(text.replace(old, new))
            assert (chapter_code("90_tiny") == base) is expected, new
    path.write_text(text)
    assert chapter_code("90_tiny") == base


def test_a_chapter_without_its_source_counts_the_whole_library(book):
    code = chapter_code("77_absent")
    assert len(code) == 16
    assert code != chapter_code("90_tiny")


def test_a_chapter_that_does_not_parse_is_named(book):
    (book / "notebooks/91_bad.py").write_text("# %%\nx = (\n")
    with pytest.raises(InputError, match=r"91_bad\.py"):
        chapter_code("91_bad")


def git(book, *arguments):
    name = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", str(book), *name, *arguments], check=True, capture_output=True)


def test_no_repository_is_no_commit(book, fresh_commit, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(book.parent))
    assert commit() == (None, None)


def test_commit_and_dirty(book, fresh_commit):
    git(book, "init", "-q")
    assert commit() == (None, None)  # nothing committed yet
    git(book, "add", "-A")
    git(book, "commit", "-q", "-m", "all")
    commit.cache_clear()
    name, dirty = commit()
    assert len(name) == 40
    assert dirty is False
    for product in ("results/mini/a.jsonl", "_build/rows/a.jsonl", "notebooks/90_tiny.ipynb"):
        (book / product).parent.mkdir(parents=True, exist_ok=True)
        (book / product).write_text("{}")
    commit.cache_clear()
    assert commit() == (name, False)
    with (book / "notebooks/90_tiny.py").open("a") as stream:
        stream.write("# more\n")
    assert commit() == (name, False)  # once a process
    commit.cache_clear()
    assert commit() == (name, True)


def test_no_git_program(book, fresh_commit, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit() == (None, None)


def test_provenance_stands_alone(book):
    found = provenance_function(None, "cpu")
    assert found.device == "cpu"
    assert found.parameters == ""
    assert found.threads >= 1


def test_device_and_threads_without_torch(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    assert device_name("auto") == "cpu"
    assert device_name("cuda:1") == "cuda:1"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert thread_count() == 3
    assert thread_count(2) == 2


def test_versions_are_those_installed():
    found = versions_table()
    assert found == versions_table()
    assert found["numpy"] == np.__version__
    assert next(iter(found)) == "python"
