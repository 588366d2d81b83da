"""The grid of a chapter: what is missing is run, what is there is kept, a kill costs one cell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from synthbook.cli import main
from synthbook.errors import InputError
from synthbook.press import grids
from synthbook.record.rows import Row, append, read

# Each run appends to a log which cell started and which is done. The run that finds another one
# done waits while a file "gate" is there; run 1 fails while a file "fail" is there.
CHAPTER = """\
# %% [markdown]
# # A chapter

# %% tags=["parameters"]
seeds: int = 1
first_seed: int = 0
epochs: int = 3
workers: int = 1
rows: str = ""

# %%
from synthbook.record.parameters import parameters

p = parameters("90_tiny", globals())

# %% tags=["experiment"]
import os, time
from pathlib import Path
from synthbook.record.rows import Run

top = Path(os.environ["SYNTHBOOK_ROOT"])
log = top / "log"
before = log.read_text() if log.is_file() else ""


def note(word):
    with log.open("a") as stream:
        stream.write(f"{word} {p.first_seed} {os.getpid()} {p.workers}\\n")


note("start")
run = Run(p)
where = {"method": "m", "train": "real", "test": "real", "dataset": "d", "seed": p.first_seed}
run.add(metric="first", value=p.epochs + p.first_seed, **where)
while "done" in before and (top / "gate").exists():
    time.sleep(0.1)
if p.first_seed == 1 and (top / "fail").exists():
    raise RuntimeError("failed as it was told to")
run.add(metric="second", value=0.5, **where)
note("done")
"""


class Book:
    """A temporary book with one chapter, its grid, and a log of what ran."""

    def __init__(self, top: Path) -> None:
        self.top, self.target = top, top / "results/mini/90_tiny.jsonl"
        self.place = top / "_build/grid/mini/90_tiny"

    def write(self, chapter: str) -> None:
        (self.top / "notebooks/90_tiny.py").write_text(chapter)

    def log(self, word: str) -> list[int]:
        """Return the cells that a word was written of, sorted."""
        log = self.top / "log"
        lines = log.read_text().splitlines() if log.is_file() else []
        return sorted(int(line.split()[1]) for line in lines if line.startswith(word))

    def files(self) -> set[Path]:
        return set(self.top.rglob("*"))


@pytest.fixture
def book(
    new_book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Book:
    axes = {"first_seed": request.param}
    entry = {"mini": {"axes": axes, "fixed": {"seeds": 1}, "minutes": 2}}
    grid = yaml.safe_dump({"90_tiny": entry})
    files = {"params/90_tiny/small.yaml": "epochs: 9\n", "workflow/grids.yaml": grid}
    made = Book(new_book({"notebooks/90_tiny.py": CHAPTER, **files}))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # As in a clone whose path has a space: its Python has one too.
    (tmp_path / "a clone").mkdir()
    (tmp_path / "a clone/.venv").symlink_to(sys.prefix)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "a clone/.venv/bin/python"))
    return made


def _other_seed(book: Book) -> Row:
    """Record a row of a seed that is not in the grid, as of another machine."""
    source = {
        "time": "2020-01-01T00:00:00Z", "version": "0", "commit": None, "dirty": None,
        "device": "cuda", "torch": None, "threads": 1, "parameters": "", "seconds": 0.0,
    }  # fmt: skip
    row = Row(
        chapter="90_tiny", method="m", train="real", test="real", dataset="d", backbone="",
        metric="first", value=1.0, seed=7, scale="mini", provenance=source,
    )  # fmt: skip
    append(book.target, [row])
    return row


def _await(condition, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("book", [[0, 1, 2]], indirect=True)
def test_a_killed_grid_goes_on_and_repeats_no_finished_cell(
    book: Book, capfd: pytest.CaptureFixture[str], gone: Callable[[int], bool]
) -> None:
    other = _other_seed(book)
    before = book.files()
    grids.results("90", "mini", jobs=2, dry_run=True)
    said = "3 runs, none on record; 0 finished in _build, 3 to run, about 4 minutes with 2"
    assert said in capfd.readouterr().out
    assert book.files() == before

    # One cell gets through and the next hangs, with its first row written; then all is killed.
    (book.top / "gate").touch()
    code = "from synthbook.press.grids import results; results('90', 'mini', jobs=1)"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        _await(lambda: len(book.log("start")) == 2 and list(book.place.glob("*.part.jsonl")))
        _await(lambda: any(p.stat().st_size for p in book.place.glob("*.part.jsonl")))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kernel = int((book.top / "log").read_text().splitlines()[-1].split()[2])
    _await(lambda: gone(kernel), 30)  # a kernel ends with the process that started it
    (finished,) = book.log("done")
    whole = {path.name.partition(".")[0] for path in book.place.glob("[!.]*.jsonl")
             if not path.name.endswith(".part.jsonl")}  # fmt: skip
    assert whole == {f"first_seed-{finished}"}
    assert read(book.target) == [other]

    (book.top / "gate").unlink()
    grids.results("90", "mini", jobs=1)
    assert "1 finished in _build, 2 to run, about 4 minutes" in capfd.readouterr().out
    assert book.log("done") == [0, 1, 2]
    assert book.log("start").count(finished) == 1
    assert len(book.log("start")) == 4
    rows = read(book.target)
    assert {(row.metric, row.seed): row.value for row in rows} == {
        **{("first", seed): 3.0 + seed for seed in (0, 1, 2)},
        **{("second", seed): 0.5 for seed in (0, 1, 2)},
        ("first", 7): 1.0,
    }
    assert len(rows) == 7
    assert all(line.endswith("}") for line in book.target.read_text().splitlines())
    assert {row.scale for row in rows} == {"mini"}

    held = book.target.read_bytes()
    grids.results("90", "mini", jobs=2)
    said = "3 on record with 6 rows; 3 finished in _build, 0 to run anew, about 0 minutes"
    assert said in capfd.readouterr().out
    assert len(book.log("start")) == 4
    assert book.target.read_bytes() == held

    # Rows that somebody lost are merged anew out of the finished cells.
    book.target.unlink()
    grids.results("90", "mini", jobs=1)
    assert len(read(book.target)) == 6
    assert len(book.log("start")) == 4


@pytest.mark.slow
@pytest.mark.parametrize("book", [[0, 1]], indirect=True)
def test_only_what_changed_runs_again_and_a_failure_harms_no_rows(
    book: Book, capfd: pytest.CaptureFixture[str]
) -> None:
    def left() -> str:
        grids.results("90", "mini", jobs=1, dry_run=True)
        return capfd.readouterr().out.partition("finished in _build, ")[2]

    grids.results("90", "mini", jobs=2, workers=3)
    assert book.log("done") == [0, 1]
    assert {line.split()[3] for line in (book.top / "log").read_text().splitlines()} == {"3"}
    capfd.readouterr()
    assert left().startswith("0 to run")
    for old, new, number in (
        ("# # A chapter", "# # Another title", 0),
        ("epochs: int = 3", "epochs: int = 4", 2),
        ("value=0.5", "value=0.6", 2),
    ):
        book.write(CHAPTER.replace(old, new))
        grids._experiment.cache_clear()
        assert left().startswith(f"{number} to run"), (old, new)
    book.write(CHAPTER)
    grids._experiment.cache_clear()
    assert left().startswith("0 to run")

    # The rows of cell 1 are gone; running it anew fails.
    (path,) = book.place.glob("first_seed-1.*.jsonl")
    path.unlink()
    held = book.target.read_bytes()
    (book.top / "fail").touch()
    with pytest.raises(SystemExit) as ended:
        grids.results("90", "mini", jobs=1)
    said = str(ended.value)
    for words in ("1 of 1 runs failed", "in _build/grid/mini", "first_seed-1: error: ", "told to"):
        assert words in said
    assert book.target.read_bytes() == held
    assert not path.exists()
    stem = path.with_suffix("")
    assert "failed as it was told to" in stem.with_name(f"{stem.name}.log").read_text()
    record = json.loads(stem.with_name(f"{stem.name}.json").read_text())
    assert record["completed"] is False
    assert "failed as it was told to" in stem.with_name(f"{stem.name}.ipynb").read_text()

    (book.top / "fail").unlink()
    grids.results("90", "mini", jobs=1)
    assert book.log("start") == [0, 1, 1, 1]
    assert book.log("done") == [0, 1, 1]
    assert len(read(book.target)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("book", [[0, 1]], indirect=True)
def test_a_recorded_cell_is_verified_by_running_it_again(book: Book) -> None:
    with pytest.raises(InputError, match="no rows on record"):
        grids.verify("90", "mini")
    grids.results("90", "mini", jobs=2)
    with pytest.raises(InputError, match="did you mean 'first_seed-1'"):
        grids.verify("90", "mini", "first_seed_1")
    name, agreement = grids.verify("90", "mini", "first_seed-1")
    assert (name, agreement.rows, agreement.compared, agreement.equal) == ("first_seed-1", 2, 2, 2)
    book.write(CHAPTER.replace("value=0.5", "value=0.6"))
    agreement = grids.verify("90", "mini")[1]
    assert (agreement.compared, agreement.equal, agreement.ok) == (2, 1, False)


@pytest.mark.slow
@pytest.mark.parametrize("book", [[0, 1]], indirect=True)
def test_one_chapter_that_fails_does_not_keep_the_others_from_being_verified(
    book: Book, capsys: pytest.CaptureFixture[str]
) -> None:
    other = CHAPTER.replace("90_tiny", "91_tiny")
    (book.top / "notebooks/91_tiny.py").write_text(other)
    grids_file = book.top / "workflow/grids.yaml"
    entry = yaml.safe_load(grids_file.read_text())["90_tiny"]
    grids_file.write_text(yaml.safe_dump({"90_tiny": entry, "91_tiny": entry}))
    assert main(["verify"]) == 2
    assert "no chapter has rows on record at scale 'mini'" in capsys.readouterr().err
    for name in ("90", "91"):
        grids.results(name, "mini", jobs=2)
    assert main(["verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines[-2:]] == ["90_tiny", "91_tiny"]
    ran = book.log("start")
    assert main(["verify", "--dry-run"]) == 0
    assert "91_tiny, mini, first_seed-0: about 2 minutes" in capsys.readouterr().out
    assert main(["verify", "90", "91", "--cell", "first_seed-0"]) == 2
    assert book.log("start") == ran
    book.write(CHAPTER.replace("run.add", "raise OSError('gone')\nrun.add", 1))
    assert main(["verify"]) == 1
    said = capsys.readouterr()
    assert "90_tiny, mini, first_seed-0: the run of first_seed-0 failed" in said.err
    assert "91_tiny, mini, first_seed-0: " in said.out


@pytest.mark.parametrize("book", [[0, 1]], indirect=True)
def test_a_grid_that_cannot_run_is_refused_before_anything_starts(book: Book) -> None:
    with pytest.raises(InputError, match="jobs = 0"):
        grids.results("90", "mini", jobs=0)
    with pytest.raises(InputError, match="no grid at scale 'small'"):
        grids.results("90", "small")
    text = (book.top / "workflow/grids.yaml").read_text()
    (book.top / "workflow/grids.yaml").write_text(text.replace("- 1\n", "- -1\n"))
    with pytest.raises(InputError, match="first_seed = -1"):
        grids.results("90", "mini")
    assert not (book.top / "_build").exists()
