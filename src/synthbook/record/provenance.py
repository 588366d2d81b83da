"""Where a number comes from: the time, commit, versions and machine behind a row."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from synthbook import __version__
from synthbook.errors import InputError
from synthbook.settings import STRICT
from synthbook.store import root

if TYPE_CHECKING:
    from synthbook.record.parameters import Parameters

# What a run writes itself does not make the code behind the run dirty. An .ipynb is made from the
# .py of the same name, which does count.
PRODUCTS = ("results", "_build", "notebooks/*.ipynb")

installed = cache(version)


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
        done = subprocess.run(
            ["git", "-C", str(root()), *arguments],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, InputError):
        return None  # no git, no repository, no commit yet, or no book
    return done.stdout.strip()


@cache
def commit() -> tuple[str | None, bool | None]:
    """Return (commit, dirty) of the book's repository at the first call, or (None, None)."""
    name = _git("rev-parse", "HEAD")
    if name is None:
        return None, None
    excluded = [f":(exclude,top){path}" for path in PRODUCTS]
    status = _git("status", "--porcelain", "--", ":/", *excluded)
    return name, None if status is None else bool(status)


def device_name(device: str) -> str:
    """Return the device a run uses in words: "cpu", "cuda (NVIDIA H200)"; "auto" is resolved.

    torch is asked only if the run has loaded it: without torch there is no device but the CPU.
    """
    torch = sys.modules.get("torch")
    if torch is None or device == "cpu":
        return "cpu" if device == "auto" else device
    if device == "auto":
        if torch.cuda.is_available():
            device = "cuda"
        else:
            device = "mps" if torch.backends.mps.is_available() else "cpu"
    if device.startswith("cuda") and torch.cuda.is_available():
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return device


def thread_count(threads: int = 0) -> int:
    """Return the CPU threads a run uses: ``threads``, or torch's own number where that is 0."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return torch.get_num_threads()
    return threads or int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def provenance(parameters: Parameters | None = None, *, seconds: float = 0.0) -> Provenance:
    """Return the provenance of a row measured now.

    Args:
        parameters: the run's, whose hash is kept, with ``device`` and ``threads``; None: none.
        seconds: wall time of the measurement.
    """
    name, dirty = commit()
    given = parameters or {}
    return Provenance(
        time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        version=__version__,
        commit=name,
        dirty=dirty,
        device=device_name(given.get("device", "auto")),
        torch=installed("torch"),
        threads=thread_count(given.get("threads", 0)),
        parameters="" if parameters is None else parameters.hash,
        seconds=round(seconds, 3),
    )
