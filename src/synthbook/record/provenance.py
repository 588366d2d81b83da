"""Where a number comes from: the time, commit, versions and machine behind a row."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from synthbook import __version__
from synthbook.errors import InputError
from synthbook.settings import STRICT
from synthbook.store import root, versions

if TYPE_CHECKING:
    from synthbook.record.parameters import Parameters

# What a run writes itself does not make the code behind the run dirty. An .ipynb is made from the
# .py of the same name, which does count.
PRODUCTS = ("results", "_build", "notebooks/*.ipynb")


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


def _git(*arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(root()), *arguments]
        return subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError, InputError):
        return None  # no git, no repository, no commit yet, or no book


@cache
def commit() -> tuple[str | None, bool | None]:
    """Return (commit, dirty) of the book's repository at the first call, or (None, None)."""
    name = _git("rev-parse", "HEAD")
    if name is None:
        return None, None
    status = _git("status", "--porcelain", "--", ":/", *(f":(exclude,top){p}" for p in PRODUCTS))
    return name.strip(), None if status is None else bool(status)


def device_name(device: str) -> str:
    """Return the device a run uses in words: "cpu", "cuda (NVIDIA H200)"; "auto" is resolved.

    torch is asked only if the run has loaded it: without torch there is no device but the CPU.
    """
    torch = sys.modules.get("torch")
    has_gpu = torch is not None and device != "cpu" and torch.cuda.is_available()
    if device == "auto":  # as `machine.prepare` takes it
        device = "cuda" if has_gpu else "cpu"
    if has_gpu and device.startswith("cuda"):
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return device


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
    )
