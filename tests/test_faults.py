"""What is written survives kills, full disks, closed folders, changed bytes and wrong clocks.

Tasks run in processes of their own, forks of this one, which are killed at random moments. By hand
and longer, with the numbers printed: ``make faults``.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from synthbook import machine
from synthbook.errors import InputError
from synthbook.press import book as press
from synthbook.press import grids
from synthbook.record import rows
from synthbook.record.rows import Row, append, identity, read
from synthbook.store import cached
from synthbook.training import load_checkpoint, save_checkpoint

torch.set_num_threads(1)  # a fork waits for ever for threads that this process has
KILLS = int(os.environ.get("KILLS", "0"))  # of each kind; 0: a few, as in `make test`
FEW = KILLS or 6
SOURCE = {
    "time": "2025-01-02T03:04:05Z", "version": "0", "commit": None, "dirty": None,
    "device": "cpu", "torch": None, "threads": 1, "parameters": "", "seconds": 0.0,
}  # fmt: skip


def row(seed: int, **changes: object) -> Row:
    fields = dict(
        chapter="90_tiny", method="m", train="real", test="real", dataset="d", backbone="",
        metric="x", value=0.5, seed=seed, scale="mini", provenance=SOURCE,
    )  # fmt: skip
    return Row(**(fields | changes))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was told of broken files."""
    lines: list[str] = []
    monkeypatch.setattr(machine, "say", lines.append)
    monkeypatch.setattr(grids, "say", lines.append)
    return lines


# ---- processes -----------------------------------------------------------------------------------


def forked(task: Callable[[], object], *, leads: bool = True) -> int:
    """Start a task in a process of its own, which leads a group or not; return its number."""
    if number := os.fork():
        with suppress(OSError):  # it may have gone on or ended by now
            os.setpgid(number, number if leads else os.getpgrp())
        return number
    code = 1
    try:
        if leads:
            os.setpgid(0, 0)
        task()
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.__stderr__)
    finally:
        os._exit(code)


def ended(number: int) -> int:
    """Wait for a process; return its exit code, or the negative number of its signal."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def message_of(task: Callable[[], object]) -> str:
    """Return "", or what a task in a process of its own raised."""
    ours, theirs = os.pipe()

    def tell() -> None:
        try:
            task()
        except Exception as error:
            os.write(theirs, f"{type(error).__name__}: {error}".encode())

    number = forked(tell)
    os.close(theirs)
    with open(ours, "rb") as stream:
        text = stream.read().decode()
    assert ended(number) == 0
    return text


def seconds_of(task: Callable[[], object]) -> float:
    """Return how long a task takes once everything is imported."""
    begin = time.monotonic()
    assert ended(forked(task)) == 0
    return time.monotonic() - begin


class Killer:
    """Kills tasks at moments that are spread over the time which one takes."""

    def __init__(self, seconds: float) -> None:
        self.draw, self.seconds, self.kills = random.Random(0), seconds, 0

    def __call__(self, *tasks: Callable[[], object]) -> None:
        """Start tasks and kill them: with all that they started, or the tasks alone."""
        numbers = [forked(task) for task in tasks]
        time.sleep(self.draw.uniform(0, self.seconds))
        kill = self.draw.choice([os.kill, os.killpg])
        for number in numbers:
            with suppress(ProcessLookupError):
                kill(number, signal.SIGKILL)
        killed = sum(ended(number) == -signal.SIGKILL for number in numbers)
        self.kills += killed
        if not killed:  # the machine is less busy than it was
            self.seconds *= 0.8


Tell = Callable[..., None]


@pytest.fixture
def tell(capfd: pytest.CaptureFixture[str]) -> Tell:
    """(what was done, kills, counts by name): prints the numbers of the longer form."""

    def told(kind: str, kills: int, **counts: int) -> None:
        if KILLS:
            text = "".join(
                f", {value:,} {name.replace('_', ' ')}" for name, value in counts.items()
            )
            with capfd.disabled():
                print(f"\n{kind}: {kills} kills{text}", flush=True)

    return told


# ---- kills ---------------------------------------------------------------------------------------


def test_kills_while_rows_are_written(place: Path, tell: Tell) -> None:
    path, killer, held = place / "rows.jsonl", Killer(0.08), 0
    path.touch()

    def write(name: str) -> None:
        for k in range(10**9):
            append(path, [row(k, method=name, setting={"pad": "x" * 3000}), row(k, train=name)])

    while killer.kills < 2 * FEW:
        run = killer.kills
        killer(*(partial(write, f"{run}-{k}") for k in "ab"))
        torn = not path.read_bytes().endswith(b"\n")
        append(path, [row(run, metric="after")])
        found = read(path)
        assert len({identity(one) for one in found}) == len(found) > held
        for name in (
            f"{run}-{k}" for k in "ab"
        ):  # of each call all rows but of a torn one, or none
            seeds = [one.seed for one in found if one.method == name]
            others = [one.seed for one in found if one.train == name]
            assert seeds == list(range(len(seeds)))
            assert others == seeds or (torn and others == seeds[:-1])
        held = len(found)
    tell("writing rows, two writers", killer.kills, rows=held, torn=0, doubled=0)


def _train(folder: Path, seed: int) -> None:
    """Train a layer for some steps, with a checkpoint after each, and write its weights."""
    torch.manual_seed(seed)
    network = nn.Linear(64, 32)
    adam = torch.optim.Adam(network.parameters(), lr=0.01)
    what = {"modules": {"network": network}, "optimizers": {"adam": adam}, "run": {"seed": seed}}
    images = torch.rand(64, 64)
    for step in range(load_checkpoint(folder / "checkpoints", **what), 25):
        with torch.no_grad():  # in a fork, torch's own derivatives wait for threads of the parent
            network.weight.grad = network(images).T @ images
            network.bias.grad = network(images).sum(0)
        adam.step()
        save_checkpoint(folder / "checkpoints", step + 1, **what)
    save_file(network.state_dict(), folder / "weights.safetensors")
    np.save(folder / "images.npy", images.numpy())
    shutil.rmtree(folder / "checkpoints")


def test_kills_while_a_network_is_trained(place: Path, said: list[str], tell: Tell) -> None:
    def trained(seed: int) -> Path:
        return cached("layers", {"seed": seed}, partial(_train, seed=seed))

    trained(-1)
    killer, seed, resumed = Killer(seconds_of(partial(trained, -2))), 0, 0
    while killer.kills < FEW:
        before = killer.kills
        killer(partial(trained, seed))
        if killer.kills == before + 1 and killer.draw.random() < 0.5:
            continue  # it is killed once more
        resumed += any((place / "cache/layers").glob("*.part/checkpoints/step-*"))
        found, alone = trained(seed), place / "alone" / str(seed)
        alone.mkdir(parents=True)
        _train(alone, seed)
        for name in ("weights.safetensors", "images.npy"):
            assert (found / name).read_bytes() == (alone / name).read_bytes()
        assert not list((place / "cache/layers").glob("*.part"))
        seed += 1
    assert said == []
    tell("training", killer.kills, trainings=seed, resumed=resumed, differences=0, broken=0)


def _forks(work: Callable) -> SimpleNamespace:
    """Return what stands in for ``subprocess``: its run forks, works and outlives its parent."""

    def run(command: list[str], **_: object) -> SimpleNamespace:
        return SimpleNamespace(returncode=ended(forked(partial(work, command), leads=False)))

    return SimpleNamespace(run=run, STDOUT=subprocess.STDOUT)


@contextmanager
def _stand_in(module: object, monkeypatch: pytest.MonkeyPatch, work: Callable) -> Iterator[None]:
    """Let ``module`` start no program but a fork of `_forks` for a while."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "subprocess", _forks(work))
        yield


@pytest.fixture
def grid(new_book: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book with a grid of three cells, each of which writes four rows in a while."""
    script = '# %% tags=["parameters"]\nfirst_seed: int = 0\nrows: str = ""\n'
    entry = {"90_tiny": {"mini": {"axes": {"first_seed": [0, 1, 2]}, "minutes": 1}}}
    top = new_book({"notebooks/90_tiny.py": script, "workflow/grids.yaml": yaml.safe_dump(entry)})

    def work(command: list[str]) -> None:
        values = dict(text.partition("=")[::2] for text in command if "=" in text)
        for k in range(4):
            now = datetime.now(UTC).strftime(rows.TIME)
            append(values["rows"], [
                row(int(values["first_seed"]), setting={"k": k}, provenance=SOURCE | {"time": now})
            ])  # fmt: skip
            time.sleep(0.004)

    def one_after_another(paths: list[Path], *_: object) -> int:
        for path, name in ((path, path.name.partition(".")[0]) for path in paths):
            with suppress(SystemExit):
                grids.cell("90_tiny", "mini", name, top / path)
        return 0

    monkeypatch.setattr(grids, "snakemake", one_after_another)
    # Not a context of its own, which would end before what a test sets over it is undone.
    monkeypatch.setattr(grids, "subprocess", _forks(work))
    return top


RECORDED = [(seed, k) for seed in (0, 1, 2) for k in range(4)]


def _recorded(top: Path) -> list[tuple]:
    return sorted((one.seed, one.setting["k"]) for one in read(top / "results/mini/90_tiny.jsonl"))


def test_kills_while_results_are_recorded(grid: Path, said: list[str], tell: Tell) -> None:
    make, target = partial(grids.results, "90", "mini"), grid / "results/mini/90_tiny.jsonl"
    make()
    shutil.rmtree(grid / "_build")
    killer, finished = Killer(seconds_of(make)), 0
    while killer.kills < FEW:
        shutil.rmtree(grid / "_build")
        target.unlink()
        killer(make)
        if target.is_file():
            assert _recorded(grid) == RECORDED
        finished += len(list(grid.glob("_build/grid/mini/*/*.sha256")))
        make()  # beside what an only half killed one left running
        assert _recorded(grid) == RECORDED
        assert not list(grid.rglob("*.part.jsonl"))
    assert said == []
    tell("recording", killer.kills, cells_kept=finished, torn=0, doubled=0, lost=0)


def test_two_makes_of_the_same_results_wait_for_each_other(grid: Path) -> None:
    codes = [ended(n) for n in [forked(partial(grids.results, "90", "mini")) for _ in range(3)]]
    assert codes == [0, 0, 0]
    assert _recorded(grid) == RECORDED


def test_a_cell_that_another_has_made_meanwhile_is_not_run_again(
    grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, *_) = grids.cells("90", "mini")
    output = grid / grids.target("90", "mini", first)
    run = partial(grids.cell, "90_tiny", "mini", first.name, output)
    output.parent.mkdir(parents=True)
    assert [ended(n) for n in [forked(run) for _ in range(3)]] == [0, 0, 0]
    assert [one.setting["k"] for one in read(output)] == [0, 1, 2, 3]
    monkeypatch.setattr(grids, "subprocess", None)
    run()


@pytest.mark.parametrize("whole", [True, False])
def test_a_run_that_ends_whole_after_its_caller_was_killed_is_not_run_again(
    grid: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    (first, *_) = grids.cells("90", "mini")
    output = grid / grids.target("90", "mini", first)
    run = partial(grids.cell, "90_tiny", "mini", first.name, output)

    def work(command: list[str]) -> None:
        (given,) = (text.partition("=")[2] for text in command if text.startswith("rows="))
        append(given, [row(0, setting={"k": 0})])
        time.sleep(0.3)
        append(given, [row(0, setting={"k": 1})])
        record = {"parameters": {"rows": given}, "completed": whole}
        output.with_suffix(".json").write_text(json.dumps(record))

    output.parent.mkdir(parents=True)
    output.with_name(f"{output.stem}.0.part.jsonl").touch()  # of an older one
    with _stand_in(grids, monkeypatch, work):
        caller = forked(run)
        while not any(part.stat().st_size for part in output.parent.glob("*.part.jsonl")):
            time.sleep(0.01)
        os.kill(caller, signal.SIGKILL)
        assert ended(caller) == -signal.SIGKILL
    monkeypatch.setattr(grids, "subprocess", SimpleNamespace(run=lambda *_, **__: 1 / 0, STDOUT=0))
    with nullcontext() if whole else pytest.raises(ZeroDivisionError):
        run()
    assert not list(output.parent.glob("*.part.jsonl"))
    if whole:
        assert [one.setting["k"] for one in read(output)] == [0, 1]


def test_a_finished_cell_whose_bytes_changed_is_named_and_run_anew(
    grid: Path, said: list[str]
) -> None:
    grids.results("90", "mini")
    (path, *_) = grid.glob("_build/grid/mini/90_tiny/*.jsonl")
    path.write_text(path.read_text().replace("0.5", "0.6", 1))
    (grid / "results/mini/90_tiny.jsonl").unlink()
    with pytest.raises(InputError, match=r"is missing, or not as it was written; .*make results"):
        grids.collect("90", "mini")
    grids.results("90", "mini")
    assert {one.value for one in read(grid / "results/mini/90_tiny.jsonl")} == {0.5}
    (line,) = said
    assert path.name in line


CHAPTER = """\
# %% [markdown]
# # A chapter

# %% tags=["parameters"]
seeds: int = 1
first_seed: int = 0
rows: str = ""

# %%
from synthbook.record.parameters import parameters

p = parameters("90_tiny", globals())

# %% tags=["experiment"]
import time
from synthbook.record.rows import Run

run = Run(p)
for k in range(4):
    time.sleep(0.3)
    run.add(method="m", train="", test="", dataset="d", metric="x", value=k, seed=p.first_seed, k=k)
"""


@pytest.mark.skipif(not KILLS, reason="minutes: make faults")
def test_kills_of_snakemake_and_its_kernels(new_book: Callable[..., Path], tell: Tell) -> None:
    axes = {"first_seed": [0, 1, 2]}
    entry = {"90_tiny": {"mini": {"axes": axes, "fixed": {"seeds": 1}, "minutes": 1}}}
    top = new_book({"notebooks/90_tiny.py": CHAPTER, "workflow/grids.yaml": yaml.safe_dump(entry)})
    target = top / "results/mini/90_tiny.jsonl"

    def make() -> None:
        os.execv(sys.executable, [sys.executable, "-m", "synthbook.press", "results",
                                  "--chapter", "90", "--jobs", "2"])  # fmt: skip

    killer, finished = Killer(seconds_of(make)), 0
    while killer.kills < KILLS // 5:
        shutil.rmtree(top / "_build")
        target.unlink()
        killer(make)
        if target.is_file():
            assert _recorded(top) == RECORDED
        finished += len(list(top.glob("_build/grid/mini/*/*.sha256")))
        assert ended(forked(make)) == 0
        assert _recorded(top) == RECORDED
    tell("recording with kernels", killer.kills, cells_kept=finished, torn=0, doubled=0, lost=0)


@pytest.fixture
def small_book(new_book: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A book without chapters, whose pages a stand-in for Jupyter Book writes in a while."""
    top = new_book({f"book/{k}.md": f"# Page {k}\n" for k in range(8)} | {"notebooks/.keep": ""})

    def work(command: list[str]) -> None:
        for path in sorted((top / "_build/source").rglob("*.md")):
            (top / "_build/html").mkdir(exist_ok=True)
            (top / f"_build/html/{path.stem}.html").write_text(path.read_text())
            time.sleep(0.004)
        (top / "_build/html/index.html").write_text("whole")

    with _stand_in(press, monkeypatch, work):
        yield top


def _pages(top: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (top / "_build/html").iterdir()}


def test_kills_while_the_book_is_built(small_book: Path, tell: Tell) -> None:
    press.book(1)  # with the page of models, which is kept
    (small_book / "_build/html.key").unlink()
    killer, wanted = Killer(seconds_of(partial(press.book, 1))), _pages(small_book)
    assert len(wanted) > 8
    while killer.kills < FEW:
        shutil.rmtree(small_book / "_build")
        killer(partial(press.book, 1))
        press.book(1)
        assert _pages(small_book) == wanted
    tell("building the book", killer.kills, pages=len(wanted), differences=0)


def test_two_builds_of_the_book_wait_for_each_other(small_book: Path) -> None:
    press.book(1)
    wanted = _pages(small_book)
    (small_book / "_build/html.key").unlink()
    assert [ended(n) for n in [forked(partial(press.book, 1)) for _ in range(3)]] == [0, 0, 0]
    assert _pages(small_book) == wanted


# ---- disks ---------------------------------------------------------------------------------------


@contextmanager
def small_disk(place: Path, option: str) -> Iterator[Path]:
    """Mount a small disk in memory, where that is allowed."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", option, "none", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def limited(place: Path) -> Iterator[Path]:
    """Let no file grow above 100 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    place.mkdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        yield place
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


FULL = {"disk": partial(small_disk, option="size=100k"), "limit": limited}


def _savers() -> dict[str, Callable[[Path], object]]:
    big = np.arange(100_000.0)
    return {
        "npy": lambda folder: np.save(folder / "x.npy", big),
        "npz": lambda folder: np.savez(folder / "x.npz", big),
        "safetensors": lambda folder: save_file({"x": torch.from_numpy(big)}, folder / "x"),
        "torch": lambda folder: torch.save({"x": torch.from_numpy(big)}, folder / "x.pt"),
        "text": lambda folder: (folder / "x").write_text("x" * big.size * 8),
    }


@pytest.mark.parametrize("full", FULL.values(), ids=FULL)
@pytest.mark.parametrize("form", _savers())
def test_a_full_disk_under_the_cache_is_told_and_leaves_nothing_half(
    full: Callable, form: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep() -> Path:
        return cached("things", {"form": form}, _savers()[form])

    with full(place / "disk") as disk:
        monkeypatch.setenv("SYNTHBOOK_CACHE", str(disk))
        text = message_of(keep)
        if form != "torch" or full is not limited:
            assert text.startswith("InputError: ")
            assert "SYNTHBOOK_CACHE to another folder" in text
        assert text
        assert not list(disk.glob("things/*/key.json"))
        if full is limited:
            resource.setrlimit(
                resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2
            )
            assert message_of(keep) == ""


@pytest.mark.parametrize("full", FULL.values(), ids=FULL)
def test_a_full_disk_leaves_whole_rows(full: Callable, place: Path) -> None:
    with full(place / "disk") as disk:

        def write() -> None:
            for k in range(1000):
                append(disk / "rows.jsonl", [row(k), row(k, metric="other")])

        assert "InputError: could not write" in message_of(write)
        found = read(disk / "rows.jsonl")
        assert len(found) > 100
        assert len(found) % 2 == 0
        assert (disk / "rows.jsonl").read_bytes().endswith(b"\n")
        held = (disk / "rows.jsonl").read_bytes()
        merge = partial(rows.merge, [disk / "rows.jsonl"] * 2, disk / "rows.jsonl")
        assert full is limited or "No space left" in message_of(merge)
        assert (disk / "rows.jsonl").read_bytes() == held


@contextmanager
def closed(place: Path) -> Iterator[None]:
    """Let nobody write into a folder: also not root, who may do what a mode forbids."""
    place.chmod(0o555)
    if os.geteuid():
        yield
    else:
        bind = ["mount", "--bind", str(place), str(place)]
        again = ["mount", "-o", "remount,ro,bind", str(place)]
        if subprocess.run(bind, capture_output=True).returncode:
            pytest.skip("root may write everywhere here")
        try:
            subprocess.run(again, check=True, capture_output=True)
            yield
        finally:
            subprocess.run(["umount", str(place)], check=True)
    place.chmod(0o755)


def test_a_cache_that_may_only_be_read_is_read(place: Path) -> None:
    def keep(number: int) -> Path:
        return cached("things", {"k": number}, lambda folder: (folder / "x").write_text("x"))

    keep(1)
    with closed(place / "cache"):
        assert (keep(1) / "x").read_text() == "x"
        with pytest.raises(InputError, match=r"cannot be written .*set SYNTHBOOK_CACHE"):
            keep(2)


def test_a_cache_below_what_may_only_be_read_is_told_with_the_remedy(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (above := place / "checkout").mkdir()
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(above / "_build" / "cache"))
    with closed(above), pytest.raises(InputError, match=r"cannot be written .*set SYNTHBOOK_CACHE"):
        cached("things", {"k": 1}, lambda folder: (folder / "x").write_text("x"))


def test_rows_into_a_folder_that_may_only_be_read_are_refused_before_the_work(grid: Path) -> None:
    (grid / "results/mini").mkdir()
    with closed(grid / "results/mini"), pytest.raises(InputError, match="cannot be written"):
        grids.results("90", "mini")
    assert not (grid / "_build").exists()


# ---- clocks --------------------------------------------------------------------------------------


def test_rows_of_a_clock_that_ran_ahead_are_named_before_the_work_and_nothing_is_lost(
    grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, zone: object = None) -> datetime:
            return super().now(UTC) + timedelta(days=400)

    with monkeypatch.context() as patch:
        patch.setattr(rows, "datetime", Ahead)
        patch.setitem(globals(), "datetime", Ahead)
        grids.results("90", "mini")
    target = grid / "results/mini/90_tiny.jsonl"
    held = target.read_bytes()
    monkeypatch.setattr(grids, "subprocess", None)
    for make in (grids.results, grids.collect):
        with pytest.raises(InputError, match=r"12 rows in '.*' are dated ahead, .*set the clock"):
            make("90", "mini")
    assert target.read_bytes() == held
    monkeypatch.setattr(rows, "datetime", Ahead)  # of a clock that says the same they are right
    grids.results("90", "mini")


def test_a_second_recording_counts_what_it_drops(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grids.results("90", "mini")
    assert "dropped" not in capsys.readouterr().out
    shutil.rmtree(grid / "_build")
    grids.results("90", "mini")
    assert "12 others of the same numbers were dropped" in capsys.readouterr().out
    assert _recorded(grid) == RECORDED
