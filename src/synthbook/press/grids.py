"""Grids of runs: which papermill runs make the recorded rows of a chapter at a scale.

``workflow/grids.yaml`` lists them; Snakemake runs them (``workflow/Snakefile``).
"""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synthbook.errors import InputError, did_you_mean
from synthbook.record.chapters import find
from synthbook.record.parameters import check_values
from synthbook.record.rows import merge, read
from synthbook.store import root


class Grid(BaseModel):
    """One chapter's grid at one scale.

    ``axes`` maps parameters to the values whose product makes the cells; ``fixed`` holds
    parameters that all cells share; ``minutes`` is what one cell was seen to take.
    """

    model_config = ConfigDict(extra="forbid")

    axes: dict[str, list[Any]] = Field(min_length=1)
    fixed: dict[str, Any] = {}
    minutes: float = Field(gt=0)


@dataclass(frozen=True)
class Cell:
    """One papermill run: its name in file names, and the parameters that differ from the scale."""

    name: str
    parameters: Mapping[str, Any] = field(hash=False)


def grid(chapter: str, scale: str) -> Grid:
    """Return the grid of a chapter at a scale.

    Raises:
        InputError: if there is none, naming those there are; or if its entry is malformed.
    """
    path = root() / "workflow" / "grids.yaml"
    entries = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    scales = entries.get(find(chapter).name)
    if not scales:
        hint = did_you_mean(chapter, entries) or f"; there are grids for {', '.join(entries)}"
        raise InputError(f"chapter '{chapter}' has no grid in workflow/grids.yaml{hint}")
    if scale not in scales:
        known = ", ".join(scales)
        raise InputError(f"chapter '{chapter}' has no grid at scale '{scale}', only at {known}")
    try:
        return Grid(**scales[scale])
    except (ValidationError, TypeError) as error:
        raise InputError(f"workflow/grids.yaml, {chapter}, {scale}: {error}") from error


def cells(chapter: str, scale: str) -> list[Cell]:
    """Return the runs of a grid, in the order of its axes."""
    entry = grid(chapter, scale)
    found = []
    for values in itertools.product(*entry.axes.values()):
        point = dict(zip(entry.axes, values, strict=True))
        name = "_".join(f"{axis}-{_slug(value)}" for axis, value in point.items())
        found.append(Cell(name, {**entry.fixed, **point}))
    if len({cell.name for cell in found}) < len(found):
        raise InputError(f"workflow/grids.yaml, {chapter}, {scale}: two cells are the same run")
    return found


def _slug(value: Any) -> str:
    text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
    return "".join(c if c.isalnum() or c in "+.-" else "-" for c in text)


def folder(chapter: str, scale: str) -> Path:
    """Return where the cells of a grid leave rows, notebooks and logs."""
    return root() / "_build" / "grid" / scale / find(chapter).name


def fresh(chapter: str, scale: str, cell: Cell) -> bool:
    """Return whether a cell's rows are there and were made with the parameters that it has now.

    Where files lie does not count. Whether the code still gives the same is for `verify` to say.
    """
    name = find(chapter).name
    try:
        rows = read(folder(name, scale) / f"{cell.name}.jsonl")
    except InputError:
        return False
    wanted = check_values(name, cell.parameters, scale).hash
    made = {row.provenance.parameters for row in rows}
    return made == {wanted}


def results(chapter: str, scale: str, *, jobs: int = 2, dry_run: bool = False) -> None:
    """Run what is missing of a grid and merge its rows into ``results/<scale>/<chapter>.jsonl``.

    A finished cell is not run again unless its parameters changed; after a kill the same call
    goes on where it was. A dry run writes nothing.

    Raises:
        InputError: if there is no such grid, a cell's parameters are not valid, or jobs is below 1.
        SystemExit: if a run failed, after all others were tried.
    """
    if jobs < 1:
        raise InputError(f"jobs = {jobs} runs nothing; give at least 1")
    name = find(chapter).name
    every = cells(name, scale)
    place = folder(name, scale)
    for cell in every:
        check_values(name, cell.parameters, scale)
    left = [cell for cell in every if not fresh(name, scale, cell)]
    minutes = math.ceil(len(left) / jobs) * grid(name, scale).minutes
    print(
        f"{name} at scale {scale}: {len(every)} runs, {len(every) - len(left)} already there, "
        f"{len(left)} to run, about {minutes:.0f} minutes with {jobs} at a time",
        flush=True,
    )
    if dry_run:
        for cell in left:
            print(f"  {cell.name}")
        return
    if not _merged(every, place, root() / "results" / scale / f"{name}.jsonl"):
        (place / "merged").unlink(missing_ok=True)
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile"]
    command += ["--directory", str(root()), "--cores", str(jobs), "--rerun-incomplete"]
    command += ["--nolock", "--keep-going", "--quiet", "rules"]
    # What is stale is decided above: a moved clone or another Python is no reason to run anew.
    command += ["--rerun-triggers", "mtime", "input"]
    command += ["--config", f"chapter={name}", f"scale={scale}"]
    stale = [place / f"{cell.name}.jsonl" for cell in left]
    if stale := [_short(path) for path in stale if path.is_file()]:
        command += ["--forcerun", *stale]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SYNTHBOOK_ROOT": str(root())}
    done = subprocess.run(command, cwd=root(), env=environment)
    if done.returncode:
        sys.exit(f"some runs failed; their logs and partial notebooks are in {_short(place)}")


def collect(chapter: str, scale: str) -> None:
    """Merge the rows of a grid's cells into ``results/<scale>/<chapter>.jsonl``.

    Rows of other grids (a GPU's, more seeds) stay; of two alike the newer one does.
    """
    name = find(chapter).name
    target = root() / "results" / scale / f"{name}.jsonl"
    files = [folder(name, scale) / f"{cell.name}.jsonl" for cell in cells(name, scale)]
    merge([*([target] if target.is_file() else []), *files], target)
    print(f"the rows are in {_short(target)}")


def _merged(every: list[Cell], place: Path, target: Path) -> bool:
    """Return whether ``target`` holds the rows of all cells, which a checkout may have undone."""
    files = [place / f"{cell.name}.jsonl" for cell in every]
    if not all(path.is_file() for path in [target, *files]):
        return False
    held = set(target.read_bytes().splitlines())
    return all(held.issuperset(path.read_bytes().splitlines()) for path in files)


def _short(path: Path) -> str:
    return str(path.relative_to(root()))
