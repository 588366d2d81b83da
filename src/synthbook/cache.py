"""Files that are expensive to make: made once, complete or absent, shared by all chapters."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synthbook.source import root


def cache_root() -> Path:
    """Return ``$SYNTHBOOK_CACHE``, or ``_build/cache`` in the book's top folder."""
    chosen = os.environ.get("SYNTHBOOK_CACHE")
    return Path(chosen) if chosen else root() / "_build" / "cache"


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[Any]:
    """Open a temporary file beside ``path`` that replaces it when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
        with os.fdopen(handle, mode, **text) as stream:
            yield stream
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp makes files that only their owner can read
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def key_hash(key: Mapping[str, Any]) -> str:
    """Return 16 hex digits of ``key`` as canonical JSON (order of names does not matter)."""
    text = json.dumps(key, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cached(kind: str, key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """Return the folder that ``build`` fills for ``key``; build it only if it is not there.

    Two processes that want the same folder build it once (the other waits on a file lock). The
    folder appears whole: ``build`` writes into a temporary one that is renamed at the end.
    ``key.json`` inside says what it was made from. Put a ``code_hash`` into ``key``.
    """
    from filelock import FileLock

    folder = cache_root() / kind / key_hash(key)
    if (folder / "key.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(folder) + ".lock"):
        if (folder / "key.json").is_file():
            return folder
        part = Path(str(folder) + ".part")
        # What an earlier, killed build left may be checkpoints that `build` resumes from.
        part.mkdir(exist_ok=True)
        build(part)
        with atomic_write(part / "key.json") as stream:
            json.dump(dict(key), stream, indent=1, sort_keys=True, default=str)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    return folder
