"""Rows: one measured number each with where it comes from, in files that are only appended to."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from synthbook import __version__
from synthbook.errors import InputError
from synthbook.locks import alone
from synthbook.machine import processor
from synthbook.record.chapters import scale_of
from synthbook.settings import STRICT
from synthbook.store import atomic_write, check_writable, commit, path_of, root, versions

if TYPE_CHECKING:
    import pandas as pd

    from synthbook.record.parameters import Parameters


class Provenance(BaseModel):
    """What was needed to make one row, apart from what the row itself says."""

    model_config = ConfigDict(**STRICT, frozen=True)

    time: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")  # as `TIME`
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
BEGIN = b'{"chapter":"'  # of a row
TIME = "%Y-%m-%dT%H:%M:%SZ"  # UTC; sorts as text
AHEAD = timedelta(hours=1)  # that another machine's clock may be before this one's
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


def _lock(path: Path) -> AbstractContextManager[int]:
    return alone(path.with_name(f".{path.name}.lock"), f"writing rows to {path}")


def check_rows_file(path: str | Path) -> None:
    """Raise InputError unless rows can be appended to a file: it holds rows, or nothing yet."""
    path = Path(path)
    check_writable(path, "the file of rows")
    try:
        with path.open("rb") as stream:
            _torn(path, stream.fileno())
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror}); give another") from None


def _torn(path: Path, handle: int) -> int:
    """Return how many bytes at the end of a file of rows are the beginning of one (a kill).

    Raises:
        InputError: if its first or its last line is neither a row nor the beginning of one.
    """
    size = os.fstat(handle).st_size
    first = os.pread(handle, LONGEST, 0).partition(b"\n")[0]
    if len(first) < size and not _is_row(first):
        raise _no_rows(path, "first", first)
    tail = os.pread(handle, LONGEST, max(0, size - LONGEST)).rpartition(b"\n")[2]
    if tail and not _is_row(tail):
        if not _begins_a_row(tail):
            raise _no_rows(path, "last", tail)
        return len(tail)
    return 0


def _is_row(line: bytes) -> bool:
    try:
        Row.model_validate_json(line)
    except ValidationError:
        return False
    return True


def _begins_a_row(line: bytes) -> bool:
    """Return whether a line is what a kill left of a row: it begins as one, and has no end."""
    start = line.replace(b" ", b"")[: len(BEGIN)]
    try:
        return BEGIN.startswith(start) and json.loads(line) is None
    except (ValueError, RecursionError):
        return len(line) < LONGEST


def _no_rows(path: Path, which: str, line: bytes) -> InputError:
    shown = line[:60].decode("utf-8", "replace")
    return InputError(
        f"'{path}' is no file of rows, its {which} line is {shown!r}; rows are only appended to a "
        "file of them, so give rows another name"
    )


def append(path: str | Path, rows: Iterable[Row]) -> None:
    """Append rows to a file, whole lines at a time, and wait until the disk has them.

    Safe against another writer (a lock file beside it, and one ``write`` in append mode) and
    against a kill: a line that an earlier kill left torn is cut off first. If the disk is full,
    the file is as it was, and that is an InputError, as is a file that holds anything but rows.
    """
    path, data = Path(path), _lines(rows)
    if not data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path):
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            before = os.fstat(handle).st_size - _torn(path, handle)
            os.ftruncate(handle, before)
            if before and os.pread(handle, 1, before - 1) != b"\n":
                data = b"\n" + data  # an editor took away the end of the last line
            try:
                written = os.write(handle, data)
            except OSError as error:
                written, reason = 0, error.strerror
            else:
                reason = "is the disk full?"
            if written != len(data):
                os.ftruncate(handle, before)
                raise InputError(
                    f"could not write {len(data)} bytes to '{path}' ({reason}); make room there, "
                    "or give rows another name"
                )
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
            if number == len(lines) and _begins_a_row(line):
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


def merge(
    paths: Sequence[str | Path], target: str | Path, keep: Callable[[Row], bool] | None = None
) -> int:
    """Write the newest row of each identity in ``paths`` to ``target``, sorted.

    ``target`` is replaced in one step; to keep what it holds, name it among ``paths`` too, or give
    ``keep``, which is asked of each of its rows. Returns how many rows were dropped, because
    another measures the same.

    Raises:
        InputError: if rows are dated ahead (`check_times`): which is newer cannot be told.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target):
        own = read(target) if keep and target.is_file() else []
        check_times(own, target)
        held = []
        for path in paths:
            held += read(path)
            check_times(held, path)
        rows = latest([*filter(keep, own), *held])
        with atomic_write(target, "wb") as stream:
            stream.write(_lines(rows))
    return len(own) + len(held) - len(rows)


def check_times(rows: Iterable[Row], path: str | Path) -> None:
    """Raise InputError if rows of a file are dated ahead of this machine's clock."""
    now = datetime.now(UTC)
    limit = (now + AHEAD).strftime(TIME)
    ahead = [row.provenance.time for row in rows if row.provenance.time > limit]
    if ahead:
        raise InputError(
            f"{len(ahead)} rows in '{path}' are dated ahead, up to {max(ahead)}, and the clock "
            f"here says {now.strftime(TIME)}, so which of two is newer cannot be told; set the "
            "clock right, or take these rows out"
        )


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
        time=datetime.now(UTC).strftime(TIME),
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
        self.path = path_of(parameters.get("rows") or default)
        check_rows_file(self.path)
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
