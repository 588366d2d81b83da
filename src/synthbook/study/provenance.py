"""Where a number comes from: the time, code, versions and machine behind a row."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from synthbook import __version__
from synthbook.errors import InputError
from synthbook.source import PACKAGE, code_hash, imports, root
from synthbook.study.notebook import cells

if TYPE_CHECKING:
    from synthbook.study.parameters import Parameters

# Code that decides how a number is shown, stored or asked for, and not what it is.
PRESENTATION = ("synthbook.study", "synthbook.errors", "synthbook.cli")
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
    code: str  # hash of the library code and of the experiment's cells: see `chapter_code`
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
    code: str = "",
    seconds: float = 0.0,
) -> Provenance:
    """Return the provenance of a row measured now.

    Args:
        parameters: the run's parameters; their hash is kept. None: no parameters.
        device: as in the parameter `device`; see `device_name`.
        code: `chapter_code` of the chapter, taken when the run began.
        seconds: wall time of the measurement.
    """
    name, dirty = commit()
    return Provenance(
        time=now(),
        version=__version__,
        commit=name,
        dirty=dirty,
        code=code,
        device=device_name(device),
        torch=version_of("torch"),
        threads=thread_count(0 if parameters is None else int(parameters.get("threads", 0))),
        parameters="" if parameters is None else parameters.hash,
        seconds=round(seconds, 3),
    )


def _all_modules() -> list[str]:
    names: list[Any] = [path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py")]
    dotted = [".".join(path.with_suffix("").parts) for path in names]
    return [re.sub(r"\.__init__$", "", name) for name in dotted]


def chapter_code(chapter: str) -> str:
    """Return 16 hex digits that change when the code behind a chapter's rows does.

    That is the library code that ``notebooks/<chapter>.py`` imports, with all that this imports in
    turn, and the cells tagged ``experiment``. Comments, docstrings, prose, pictures and the
    modules of `PRESENTATION` change no number and do not count. Without that file, every module
    of the library counts.

    Raises:
        InputError: if the chapter is no Python that parses.
    """
    try:
        path = root() / "notebooks" / f"{chapter}.py"
    except InputError:
        path = None
    if path is None or not path.is_file():
        return code_hash(*_all_modules(), without=PRESENTATION)
    try:
        modules = imports(ast.parse(path.read_text(encoding="utf-8")))
        experiment = [
            ast.dump(ast.parse(cell.source))
            for cell in cells(path)
            if cell.kind == "code" and "experiment" in cell.tags
        ]
    except SyntaxError as error:
        raise InputError(f"'{path}' is no Python ({error}); mend that line") from None
    library = code_hash(*modules, without=PRESENTATION)
    digest = hashlib.sha256("\x1e".join([library, *experiment]).encode())
    return digest.hexdigest()[:16]
