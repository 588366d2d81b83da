"""Rows: one measured number each with where it comes from, in files that are only appended to."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from synthbook import __version__
from synthbook.errors import InputError
from synthbook.machine import processor
from synthbook.record.chapters import scale_of
from synthbook.settings import STRICT
from synthbook.store import atomic_write, check_writable, commit, root, versions

if TYPE_CHECKING:
    import pandas as pd

    from synthbook.record.parameters import Parameters


class Provenance(BaseModel):
    """What was needed to make one row, apart from what the row itself says."""

    model_config = ConfigDict(**STRICT, frozen=True)

    time: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")  # UTC; sorts as text
    version: str  # of synthbook
    commit: str | None  # None: not in a git repository
    dirty: bool | None  # tracked or new files differ from the commit
    device: str
    torch: str | None
    threads: int = Field(ge=0)
    parameters: str  # hash of the run's parameters
    seconds: float = Field(ge=0)  # wall time of the measurement
    processor: str = ""  # as `machine.processor` names it; older rows do not say


IDENTITY = (
    "chapter", "method", "train", "test", "dataset", "backbone", "setting", "metric", "seed",
    "scale",
)  # fmt: skip
COLUMNS = (*IDENTITY, "value", *Provenance.model_fields)
LONGEST = 1 << 20  # bytes of a line; a row has some 600
Scalar = str | int | float | bool


class Row(BaseModel):
    """One measured number with what it measures (`IDENTITY`) and where it comes from."""

    model_config = ConfigDict(**STRICT, frozen=True)

    chapter: str = Field(min_length=1)  # 12_not_mutual
    method: str = Field(min_length=1)  # plain, PG-KL
    train: str  # what it was trained on: real, diffusion, real+gan
    test: str  # what it was tested on
    dataset: str
    backbone: str
    setting: dict[str, Scalar] = {}  # whatever else tells two rows apart
    metric: str = Field(min_length=1)  # top1_accuracy
    value: float
    seed: int = Field(ge=0)
    scale: str = Field(min_length=1)  # mini, small, paper, custom
    provenance: Provenance

    @field_validator("setting")
    @classmethod
    def _sorted(cls, setting: dict[str, Scalar]) -> dict[str, Scalar]:
        for name in setting:
            if not name.isidentifier() or name in COLUMNS or name == "provenance":
                raise ValueError(f"setting '{name}' must be a plain name that no column has")
        return dict(sorted(setting.items()))


def identity(row: Row) -> tuple[str | int, ...]:
    """Return what a row measures: everything but its value and provenance; hashable, sortable."""
    setting = json.dumps(row.setting, sort_keys=True)
    return tuple(setting if name == "setting" else getattr(row, name) for name in IDENTITY)


def latest(rows: Iterable[Row]) -> list[Row]:
    """Return the newest row of each identity (of two as old, the later one), sorted."""
    newest: dict[tuple[str | int, ...], Row] = {}
    for row in rows:
        known = newest.get(key := identity(row))
        if known is None or row.provenance.time >= known.provenance.time:
            newest[key] = row
    return [newest[key] for key in sorted(newest)]


def _lines(rows: Iterable[Row]) -> bytes:
    return "".join(f"{row.model_dump_json()}\n" for row in rows).encode()


def _lock(path: Path) -> Any:
    from filelock import FileLock

    return FileLock(path.with_name(f".{path.name}.lock"))


def _mend_tail(handle: int) -> int:
    """Return the length of a file after its last line is made whole: ended, or cut off if torn."""
    size = os.fstat(handle).st_size
    if size == 0 or os.pread(handle, 1, size - 1) == b"\n":
        return size
    tail = os.pread(handle, LONGEST, max(0, size - LONGEST)).rpartition(b"\n")[2]
    try:
        Row.model_validate_json(tail)
    except ValidationError:
        os.ftruncate(handle, size - len(tail))
        return size - len(tail)
    os.write(handle, b"\n")  # a whole row whose line end an editor took away
    return size + 1


def append(path: str | Path, rows: Iterable[Row]) -> None:
    """Append rows to a file, whole lines at a time, and wait until the disk has them.

    Safe against another writer (a lock file beside it, and one ``write`` in append mode) and
    against a kill: a line that an earlier kill left torn is cut off first. If the disk is full,
    the file is as it was, and that is an OSError.
    """
    path, data = Path(path), _lines(rows)
    if not data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path):
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            before = _mend_tail(handle)
            if os.write(handle, data) != len(data):
                os.ftruncate(handle, before)
                raise OSError(f"could not write {len(data)} bytes to '{path}'; is the disk full?")
            os.fsync(handle)
        finally:
            os.close(handle)


def first_fault(error: ValidationError) -> str:
    """Return the first fault of a pydantic error as "name: what is wrong (and n more)"."""
    faults = error.errors(include_url=False, include_context=False)
    place = ".".join(str(part) for part in faults[0]["loc"]) or "row"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{place}: {faults[0]['msg']}{more}"


def read(path: str | Path) -> list[Row]:
    """Return all rows of a file in its order; a torn last line (a kill) is passed over.

    Raises:
        InputError: if the file is missing, or any other line is not a row (file and line named).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no rows file '{path}'; check its name, or run the chapter that makes it")
    lines = path.read_bytes().split(b"\n")  # the last one is empty, or was never ended
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(Row.model_validate_json(line))
        except ValidationError as error:
            if number == len(lines):
                break
            fault = first_fault(error)
            raise InputError(f"{path}:{number} is not a row: {fault}; mend that line") from None
    return rows


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Return rows as a table with `COLUMNS`, then a column for each name of their settings.

    ``setting`` is a text to group by, "shots=4;weight=0.1", as in the published values; its single
    values stand in the last columns, NaN where a row has none.
    """
    import pandas as pd

    rows = list(rows)
    records = [
        {**vars(row), **vars(row.provenance)}
        | {"setting": ";".join(f"{k}={v}" for k, v in row.setting.items())}
        for row in rows
    ]
    table = pd.DataFrame.from_records(records, columns=list(COLUMNS))
    table = table.astype({"value": float, "seed": int, "seconds": float, "threads": int})
    for name in sorted({name for row in rows for name in row.setting}):
        held = [row.setting.get(name, math.nan) for row in rows]
        table[name] = pd.Series(held, dtype=object)  # or 4 beside a gap would become 4.0
    return table


def merge(paths: Sequence[str | Path], target: str | Path) -> None:
    """Write the newest row of each identity in ``paths`` to ``target``, sorted.

    ``target`` is replaced in one step; to keep what it holds, name it among ``paths`` too.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target):
        rows = latest(row for path in paths for row in read(path))
        with atomic_write(target, "wb") as stream:
            stream.write(_lines(rows))


def recorded_rows(chapter: str, scale: str) -> list[Row]:
    """Return the newest recorded row of each identity, or [] if nothing was recorded."""
    path = root() / "results" / scale / f"{chapter}.jsonl"
    return latest(read(path)) if path.is_file() else []


def recorded(chapter: str, scale: str) -> pd.DataFrame:
    """Return the recorded rows of a chapter at a scale as `frame` (empty if there are none)."""
    return frame(recorded_rows(chapter, scale))


def device_name(device: str) -> str:
    """Return the device a run uses in words: "cpu", "cuda (NVIDIA H200)"; "auto" is resolved.

    torch is asked only if the run has loaded it: without torch there is no device but the CPU.
    """
    torch = sys.modules.get("torch")
    has_gpu = torch is not None and device != "cpu" and torch.cuda.is_available()
    if device == "auto":  # as `machine.prepare` takes it
        device = "cuda" if has_gpu else "cpu"
    gpu = has_gpu and device.startswith("cuda")
    return f"{device} ({torch.cuda.get_device_name(device)})" if gpu else device


def provenance(parameters: Parameters | None = None, *, seconds: float = 0.0) -> Provenance:
    """Return the provenance of a row measured now, which took ``seconds`` of wall time.

    Of the run's parameters the hash is kept, with ``device`` and ``threads``.
    """
    name, dirty = commit()
    given, torch = parameters or {}, sys.modules.get("torch")
    threads = given.get("threads") or int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    return Provenance(
        time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        version=__version__,
        commit=name,
        dirty=dirty,
        device=device_name(given.get("device", "auto")),
        torch=versions().get("torch"),
        threads=torch.get_num_threads() if torch else threads,
        parameters="" if parameters is None else parameters.hash,
        seconds=round(seconds, 3),
        processor=processor(),
    )


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value  # a scalar of NumPy or torch


class Run:
    """The rows of one run of a chapter: each is checked and on disk as soon as it is added."""

    def __init__(self, parameters: Parameters) -> None:
        """Start a run; its rows go to the parameter ``rows``, a path, else to ``_build/rows``."""
        self.chapter, self.parameters = parameters.chapter, parameters
        default = root() / "_build" / "rows" / f"{self.chapter}.jsonl"
        self.path = Path(parameters.get("rows") or default)
        check_writable(self.path, "the file of rows")
        self.scale = scale_of(self.chapter, parameters)
        self._rows: dict[tuple[str | int, ...], Row] = {}
        self._since = time.perf_counter()

    def add(
        self,
        *,
        method: str,
        train: str,
        test: str,
        dataset: str,
        metric: str,
        value: float,
        seed: int,
        backbone: str = "",
        seconds: float | None = None,
        **setting: Scalar,
    ) -> Row:
        """Check one number and append it; the same number twice is an InputError.

        Args:
            method, train, test, dataset, backbone: what was trained, on what, and rated on what.
            metric, value: name of the number, and the number, finite; accuracies are in percent.
            seed: of the run that the number belongs to.
            seconds: wall time of the measurement; None: since the previous row of this run.
            setting: whatever else tells this number from others of the run.
        """
        elapsed, self._since = time.perf_counter() - self._since, time.perf_counter()
        source = provenance(self.parameters, seconds=elapsed if seconds is None else seconds)
        try:
            row = Row(
                chapter=self.chapter, method=method, train=train, test=test, dataset=dataset,
                backbone=backbone, metric=metric, value=_plain(value), seed=_plain(seed),
                scale=self.scale, provenance=source,
                setting={name: _plain(held) for name, held in setting.items()},
            )  # fmt: skip
        except ValidationError as error:
            raise InputError(
                f"{metric} = {value!r} of method '{method}' is no row: {first_fault(error)}"
            ) from None
        if (key := identity(row)) in self._rows:
            raise InputError(
                f"{metric} of {method}, {train} -> {test}, seed {seed}, {row.setting} was added "
                "twice in this run; name what tells the two apart as a setting"
            )
        append(self.path, [row])
        self._rows[key] = row
        return row

    def rows(self) -> list[Row]:
        """Return the rows of this run in the order they were added."""
        return list(self._rows.values())

    def frame(self) -> pd.DataFrame:
        """Return the rows of this run as a table: see `frame`."""
        return frame(self.rows())
