"""Grids of runs: which papermill runs make the recorded rows of a chapter at a scale.

``workflow/grids.yaml`` lists them; Snakemake runs them (``workflow/Snakefile``).
"""

from __future__ import annotations

import itertools
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synthbook import sums
from synthbook.errors import InputError, did_you_mean
from synthbook.keys import code_behind, key_hash
from synthbook.locks import alone
from synthbook.machine import say
from synthbook.press.execute import code_cells, environment, run
from synthbook.record.agreement import Agreement, compare, place_of, unmade
from synthbook.record.chapters import convert, find, scale_values
from synthbook.record.parameters import check_values
from synthbook.record.rows import Row, check_times, identity, latest, merge, read, recorded_rows
from synthbook.store import check_writable, root, versions


class Grid(BaseModel):
    """One chapter's grid at one scale."""

    model_config = ConfigDict(extra="forbid")

    # The product of their values makes the cells. A value that names parameters sets these.
    axes: dict[str, list[Any]] = Field(min_length=1)
    fixed: dict[str, Any] = {}  # parameters that all cells share
    minutes: float = Field(gt=0)  # that one cell was seen to take
    basis: str = ""  # what the minutes, of a GPU then, were computed from if no cell was seen

    def time(self, runs: int, jobs: int = 1) -> str:
        """Return in words how long runs take; minutes that are an estimate are hours of a GPU."""
        if self.basis:
            return f"about {runs * self.minutes / 60:,.0f} GPU hours (estimate: {self.basis})"
        minutes = math.ceil(runs / jobs) * self.minutes
        text = "about a minute" if 0 < minutes < 1.5 else f"about {minutes:.0f} minutes"
        return text if runs == 1 else f"{text} with {jobs} at a time"


class Cell(NamedTuple):
    """One papermill run."""

    name: str  # in the names of its files
    parameters: Mapping[str, Any]  # that differ from the scale


def grid(chapter: str, scale: str) -> Grid:
    """Return the grid of a chapter at a scale.

    Raises:
        InputError: if there is none, naming those there are; or if its entry is malformed.
    """
    entries = yaml.safe_load((root() / "workflow" / "grids.yaml").read_text(encoding="utf-8"))
    scales = entries.get(find(chapter).name, {})
    if scale not in scales:
        others = f"nor at another; workflow/grids.yaml has {', '.join(entries)}"
        known = f"only at {', '.join(scales)}" if scales else others
        raise InputError(f"chapter '{chapter}' has no grid at scale '{scale}', {known}")
    try:
        return Grid(**scales[scale])
    except (ValidationError, TypeError) as error:
        raise InputError(f"workflow/grids.yaml, {chapter}, {scale}: {error}") from error


def cells(chapter: str, scale: str) -> list[Cell]:
    """Return the runs of a grid, in the order of its axes."""
    entry = grid(chapter, scale)
    found = []
    for values in itertools.product(*entry.axes.values()):
        point: dict[str, Any] = {}
        for axis, value in zip(entry.axes, values, strict=True):
            point |= value if isinstance(value, Mapping) else {axis: value}
        name = "_".join(f"{axis}-{_slug(value)}" for axis, value in point.items())
        found.append(Cell(name, {**entry.fixed, **point}))
    if len({cell.name for cell in found}) < len(found):
        raise InputError(f"workflow/grids.yaml, {chapter}, {scale}: two cells are the same run")
    return found


def estimate(chapter: str, scale: str, jobs: int = 1) -> str:
    """Return in words how many runs a grid has, how many are on record, and how long they take."""
    count, recorded = len(cells(chapter, scale)), on_record(chapter, scale)
    rows = sum(recorded.values())
    known = f"{len(recorded)} of them on record ({rows} rows)" if rows else "none of them on record"
    return f"{count} runs, {known}, {grid(chapter, scale).time(count, jobs)}"


def on_record(chapter: str, scale: str) -> dict[str, int]:
    """Return cell -> number of its recorded rows, for the cells of a grid that have any."""
    made = makers(chapter, scale, recorded_rows(find(chapter).name, scale))
    counts = Counter(name for names in made for name in names)
    return {c.name: counts[c.name] for c in cells(chapter, scale) if counts[c.name]}


def makers(chapter: str, scale: str, rows: Iterable[Row]) -> list[list[str]]:
    """Return for each row the names of the cells of a grid that made it, [] if that is not known.

    A row is of the cell whose parameters it was recorded with. Where a cell has other parameters
    by now, it is of the cell with its seed, and its part, if these are all that the cells differ
    in.
    """
    every, axes = cells(chapter, scale), {*grid(chapter, scale).axes}
    checked = {cell.name: check_values(chapter, cell.parameters, scale) for cell in every}
    hashes = {values.hash: name for name, values in checked.items()}

    def alike(row: Row) -> list[str]:
        if not axes <= {"first_seed", "parts"}:
            return []
        own = [name for name, values in checked.items() if row.seed in values.seeds_list]
        part = row.setting.get("part")
        return [name for name in own if "parts" not in axes or part in checked[name].parts]

    known = ((row, hashes.get(row.provenance.parameters)) for row in rows)
    return [[name] if name else alike(row) for row, name in known]


def _slug(value: Any) -> str:
    text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
    return "".join(c if c.isalnum() or c in "+.-" else "-" for c in text)


def target(chapter: str, scale: str, cell: Cell) -> Path:
    """Return the file of a cell's rows, relative to the book's top folder.

    Its name holds a hash of the parameters, of the code behind the experiment, of the versions of
    packages, and of the cards of the models that come with the book: a cell is run anew when any
    of these changed.
    """
    home, top = find(chapter), root()
    values = check_values(home.name, cell.parameters, scale)
    cards = {
        str(path.relative_to(top)): path.read_text(encoding="utf-8")
        for path in top.glob("models/**/card.json")
    }
    key = {"parameters": values.hash, "code": _experiment(home.name)}
    key |= {"versions": versions(), "cards": cards}
    return Path("_build", "grid", scale, home.name, f"{cell.name}.{key_hash(key)}.jsonl")


@cache
def _experiment(chapter: str) -> str:
    """Return the hash of the code that makes a chapter's rows."""
    notebook = convert(find(chapter))
    return code_behind(code_cells(notebook, "experiment"), code_cells(notebook))


def snakemake(targets: Iterable[Path], jobs: int, lock: int, workers: int = 1) -> int:
    """Let Snakemake make all files that it can, also if some fail; return its exit code.

    It holds the caller's ``lock`` (`locks.alone`) too, and goes on holding it if the caller is
    killed.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile"]
    command += ["--directory", str(root()), "--rerun-triggers", "mtime", "--quiet", "all"]
    command += ["--config", f"workers={workers}"]
    command += ["--rerun-incomplete", "--nolock", "--keep-going", "--cores", str(jobs)]
    command += [str(path.relative_to(root()) if path.is_absolute() else path) for path in targets]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SYNTHBOOK_ROOT": str(root())}
    return subprocess.run(command, cwd=root(), env=environment, pass_fds=(lock,)).returncode


def check_jobs(jobs: int) -> None:
    """Raise InputError unless there is at least one job at a time."""
    if jobs < 1:
        raise InputError(f"jobs = {jobs} runs nothing; give at least 1")


def missing(paths: Iterable[Path]) -> list[Path]:
    """Return the files that are not there; one that is not as it was written is told and removed.

    Paths are relative to the book's top folder.
    """
    left = [path for path in paths if not sums.whole(root() / path)]
    for path in left:
        if (root() / path).exists():
            say(f"{path} is not as it was written; it is made anew")
            sums.remove(root() / path)
    return left


def some_cells(chapter: str, scale: str, only: str = "") -> list[Cell]:
    """Return the cells of a grid whose names hold a text, "" for all.

    Raises:
        InputError: if there is none, or if the rows of one would be of another scale.
    """
    every = cells(chapter, scale)
    found = [cell for cell in every if only in cell.name]
    if not found:
        names = ", ".join(cell.name for cell in every)
        raise InputError(f"no cell of {chapter} at scale {scale} has '{only}' in its name: {names}")
    for one in found:
        if (its := check_values(chapter, one.parameters, scale).scale) != scale:
            raise InputError(
                f"{one.name} is of scale {its}, not {scale}; if {chapter} tells its rows apart "
                "by a parameter, add it to FREE_NAMES of record/chapters.py"
            )
    return found


def results(
    chapter: str, scale: str, *, only: str = "", jobs: int = 2, workers: int = 1,
    dry_run: bool = False,
) -> None:  # fmt: skip
    """Run what is missing of a grid and merge its rows into ``results/<scale>/<chapter>.jsonl``.

    Of a large grid ``only`` the cells with a text in their names; what needs rows of the others is
    not decided then. There are so many ``jobs`` at a time, and each run trains in so many
    ``workers`` (`studies.ahead`), where its chapter has that parameter.

    A finished cell is not run again unless what its `target` depends on changed; after a kill the
    same call goes on where it was. Two calls for the same file wait for each other. A dry run
    writes nothing. If a run fails, all others are tried before the program ends.
    """
    check_jobs(jobs)
    name = find(chapter).name
    if workers != 1:
        check_values(name, {"workers": workers}, scale)
    targets = {cell.name: target(name, scale, cell) for cell in some_cells(name, scale, only)}
    place, rows_file = next(iter(targets.values())).parent, Path("results", scale, f"{name}.jsonl")
    if dry_run:
        left = [cell for cell, path in targets.items() if not sums.whole(root() / path)]
        print(_plan(name, scale, jobs, len(targets), len(left)))
        print("".join(f"  {cell}\n" for cell in left), end="")
        return
    for path in (rows_file, *targets.values()):
        check_writable(root() / path, "the file of rows")
    check_times(recorded_rows(name, scale), rows_file)
    with alone(root() / place / ".lock", f"making results of {name} at {scale}") as lock:
        paths = missing(targets.values())
        print(_plan(name, scale, jobs, len(targets), len(paths)), flush=True)
        if paths and snakemake(paths, jobs, lock, workers):
            failed = [cell for cell, path in targets.items() if not sums.whole(root() / path)]
            faults = "".join(f"\n  {cell}: {_last_word(root() / targets[cell])}" for cell in failed)
            sys.exit(
                f"{len(failed)} of {len(paths)} runs failed; their logs and partial notebooks are "
                f"in {place}{faults}"
            )
        collect(name, scale, only)


def _plan(chapter: str, scale: str, jobs: int, asked: int, left: int) -> str:
    """Return in a line how many runs of a grid are on record, and of those asked for, left."""
    count, recorded = len(cells(chapter, scale)), on_record(chapter, scale)
    rows = sum(recorded.values())
    known = f"{len(recorded)} on record with {rows} rows" if rows else "none on record"
    return (
        f"{chapter} at scale {scale}: {count} runs, {known}; {asked - left} finished in _build, "
        f"{left} to run{' anew' if rows else ''}, {grid(chapter, scale).time(left, jobs)}"
    )


def cell(chapter: str, scale: str, name: str, output: Path, workers: int = 1) -> None:
    """Run a cell of a grid; its rows appear as ``output`` when the run is whole.

    ``workers`` is as for `results`. Two calls for the same file, or one beside what a kill left
    running, wait for each other, and the second finds it done, or whole and not published yet.
    Each writes rows to a file of its own.
    """
    (given,) = (cell for cell in cells(chapter, scale) if cell.name == name)
    with alone(output.with_suffix(".lock"), f"running {name} of {chapter} at {scale}") as lock:
        if sums.whole(output):
            return
        parts = {path.name: path for path in output.parent.glob(f"{output.stem}.*.part.jsonl")}
        whole = parts.pop(_left_whole(output), None)
        for older in parts.values():
            older.unlink()  # of runs that were killed
        if whole:
            return sums.publish(whole, output)
        part = output.with_suffix(f".{uuid.uuid4().hex[:8]}.part.jsonl")
        command = shlex.split(as_command(chapter, scale, given))[1:]
        command += ["-p", f"workers={workers}"] * (workers > 1)
        command += ["-p", f"rows={part}", "--output", str(output.with_suffix(".ipynb"))]
        with output.with_suffix(".log").open("w", encoding="utf-8") as log:
            done = subprocess.run(
                [sys.executable, "-m", "synthbook.cli", *command],
                stdout=log, stderr=subprocess.STDOUT, pass_fds=(lock,),
            )  # fmt: skip
        if done.returncode:
            sys.exit(f"{name} failed: {_last_word(output)}")
        sums.publish(part, output)


def _left_whole(output: Path) -> str:
    """Return the name of the rows that the last run of a cell wrote, "" if it did not end whole.

    When whoever started it is killed, it runs on, and nobody gives its rows their name.
    """
    try:
        record = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
        return Path(record["parameters"]["rows"]).name if record["completed"] else ""
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _last_word(path: Path) -> str:
    """Return what a cell's run ended with: the error that its log names, or the last line."""
    log = path.with_suffix(".log")
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    errors = [line for line in lines if line.startswith("error: ")]
    return ["it wrote no log", *lines, *errors][-1]


def collect(chapter: str, scale: str, only: str = "") -> None:
    """Merge the rows of a grid's cells, or of some, into ``results/<scale>/<chapter>.jsonl``.

    What is on record stays (other cells, more seeds) but for the numbers that the cells measure:
    theirs replace also newer ones, which code made that is no longer there. Only newer ones of
    another machine, such as a GPU, stay, and that is told.
    """
    name = find(chapter).name
    path = root() / "results" / scale / f"{name}.jsonl"
    files = [root() / target(name, scale, cell) for cell in some_cells(name, scale, only)]
    for file in files:
        if not sums.whole(file):
            raise InputError(
                f"'{file}' is missing, or not as it was written; make its rows anew: make results "
                f"SCALE={scale} CHAPTER={name}"
            )
    made = {identity(row): row for row in latest(row for file in files for row in read(file))}

    def elsewhere(row: Row) -> bool:
        """Return whether a row is newer than what the cells have of it, and of another machine."""
        new = made[identity(row)]
        newer = row.provenance.time > new.provenance.time
        return newer and place_of(row) not in ("", place_of(new))

    dropped = merge(files, path, lambda row: identity(row) not in made or elsewhere(row))
    stay = sum(identity(row) in made and elsewhere(row) for row in read(path))
    text = f"; {dropped} others of the same numbers were dropped" if dropped else ""
    text += f"; {stay} of another machine, which are newer, stay" if stay else ""
    print(f"the rows are in {path.relative_to(root())}{text}")


def to_verify(chapter: str, scale: str, name: str = "") -> Cell:
    """Return the cell of a grid called ``name``, or if none is named the first one on record.

    Raises:
        InputError: if there is no such cell, or nothing is on record.
    """
    home, every = find(chapter), {cell.name: cell for cell in cells(chapter, scale)}
    if name and name not in every:
        raise InputError(
            f"{home.name} has no cell '{name}' at scale {scale}{did_you_mean(name, every)}; "
            f"it has {', '.join(every)}"
        )
    if not recorded_rows(home.name, scale):
        raise InputError(f"{home.name} has no rows on record at scale {scale}; make results first")
    return every[name or next(iter(on_record(home.name, scale) or every))]


def verify(
    chapter: str, scale: str, name: str = "", *, afresh: bool = False
) -> tuple[str, Agreement]:
    """Run a recorded cell again; return its name, and how far its rows agree with the recorded.

    Those that were recorded with its parameters, and that it does not make, are counted too.
    ``name`` and errors are as for `to_verify`, ``afresh`` is as for `rows_anew`; a run that fails
    is an InputError too.
    """
    cell = to_verify(chapter, scale, name)
    recorded = recorded_rows(find(chapter).name, scale)
    parameters = check_values(chapter, cell.parameters, scale).hash
    rows = rows_anew(chapter, scale, cell, afresh=afresh)
    lacks = unmade(rows, (row for row in recorded if row.provenance.parameters == parameters))
    return cell.name, replace(compare(rows, recorded), unmade=len(lacks))


def rows_anew(chapter: str, scale: str, cell: Cell, *, afresh: bool = False) -> list[Row]:
    """Return the rows of a cell that is run now; nothing of the run is kept.

    What the cache holds is taken from there; ``afresh`` all of it is made anew, but not the
    models, which are no part of the cache.
    """
    home = find(chapter)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if afresh:
            stack.enter_context(environment("SYNTHBOOK_CACHE", str(Path(folder, "cache"))))
        rows = Path(folder, "rows.jsonl")
        values = {**scale_values(home.name, scale), **cell.parameters, "rows": str(rows)}
        if fault := run(home, values, Path(folder, "out.ipynb"), bar=sys.stderr.isatty()):
            command = as_command(home.name, scale, cell)
            raise InputError(f"the run of {cell.name} failed: {fault}; look at it: {command}")
        return read(rows)


def as_command(chapter: str, scale: str, cell: Cell) -> str:
    """Return the command that runs a cell and keeps its notebook."""
    pairs = (shlex.quote(f"{name}={json.dumps(v)}") for name, v in cell.parameters.items())
    return f"synthbook run {chapter} --scale {scale} {' '.join(f'-p {pair}' for pair in pairs)}"


def cells_of_seed(chapter: str, scale: str, seed: int) -> list[Cell]:
    """Return the cells of a grid whose runs have a seed."""
    return [
        cell
        for cell in cells(chapter, scale)
        if seed in check_values(chapter, cell.parameters, scale).seeds_list
    ]
