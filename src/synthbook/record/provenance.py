"""Where a number comes from: the time, commit, versions and machine behind a row."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from synthbook import __version__
from synthbook.errors import InputError
from synthbook.store import root

if TYPE_CHECKING:
    from synthbook.record.parameters import Parameters

# What a run writes itself does not make the code behind the run dirty. An .ipynb is made from the
# .py of the same name, which does count.
PRODUCTS = ("results", "_build", "notebooks/*.ipynb")
PACKAGES = (
    "synthbook", "torch", "torchvision", "timm", "diffusers", "open-clip-torch", "torch-fidelity",
    "numpy", "scipy", "scikit-learn", "pandas", "pydantic", "matplotlib", "papermill",
)  # fmt: skip


class Provenance(BaseModel):
    """What was needed to make one row, apart from what the row itself says."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    time: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")  # UTC; sorts as text
    version: str  # of synthbook
    commit: str | None  # None: not in a git repository
    dirty: bool | None  # tracked or new files differ from the commit
    device: str
    torch: str | None
    threads: int = Field(ge=0)
    parameters: str  # hash of the run's parameters
    seconds: float = Field(ge=0)  # wall time of the measurement


def now() -> str:
    """Return the time as ISO 8601 in UTC with whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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


@cache
def version_of(package: str) -> str | None:
    """Return the installed version of a package without importing it, or None."""
    try:
        return installed(package)
    except PackageNotFoundError:
        return None


def versions_table() -> dict[str, str]:
    """Return package -> installed version of what the numbers rest on, in a fixed order."""
    found = {"python": ".".join(map(str, sys.version_info[:3])), "synthbook": __version__}
    found |= {name: known for name in PACKAGES if (known := version_of(name))}
    return found


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


def provenance(
    parameters: Parameters | None = None,
    device: str = "auto",
    *,
    seconds: float = 0.0,
) -> Provenance:
    """Return the provenance of a row measured now.

    Args:
        parameters: the run's parameters; their hash is kept. None: no parameters.
        device: as in the parameter `device`; see `device_name`.
        seconds: wall time of the measurement.
    """
    name, dirty = commit()
    return Provenance(
        time=now(),
        version=__version__,
        commit=name,
        dirty=dirty,
        device=device_name(device),
        torch=version_of("torch"),
        threads=thread_count(0 if parameters is None else int(parameters.get("threads", 0))),
        parameters="" if parameters is None else parameters.hash,
        seconds=round(seconds, 3),
    )
