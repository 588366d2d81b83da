"""Files as they were written: their SHA-256, kept beside them and checked before they are read."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

SUMS = "sums.json"  # in a folder: name of each other file -> SHA-256


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sums_of(folder: Path, without: str = SUMS) -> dict[str, str]:
    """Return the SHA-256 of each file of a folder, at any depth, by its name from there."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {k: digest(path) for k, path in sorted(files.items()) if path.is_file() and k != without}


def seal(folder: Path) -> None:
    """Write the sums of a folder into it, when all of its files are there."""
    text = json.dumps(sums_of(folder), indent=1)
    (folder / SUMS).write_text(text + "\n", encoding="utf-8")


def fault(folder: Path) -> str:
    """Return "" if every file of a folder is as it was when it was sealed, else what is not."""
    try:
        sums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
        if not sums:
            return f"{SUMS} is empty"
        for name, known in sums.items():
            if digest(folder / name) != known:
                return f"{name} is not as it was written"
    except OSError as error:
        return f"{Path(error.filename or SUMS).name}: {error.strerror}"
    except (ValueError, AttributeError):
        return f"{SUMS} is not as it was written"
    return ""


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def publish(part: Path, path: Path) -> None:
    """Give a finished file its name, and write its sum beside it first."""
    _beside(path).write_text(f"{digest(part)}  {path.name}\n", encoding="utf-8")
    part.replace(path)


def whole(path: Path) -> bool:
    """Return whether a published file is there, and as it was written."""
    try:
        return _beside(path).read_text(encoding="utf-8").split()[:1] == [digest(path)]
    except (OSError, ValueError):
        return False


def remove(path: Path) -> None:
    """Remove a file, a published one's sum, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        for file in (path, _beside(path)):
            file.unlink(missing_ok=True)
