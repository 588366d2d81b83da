"""Where the book lies, what its code is, and files that are expensive to make: made once, kept."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from synthbook.errors import InputError

PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """Return the book's top folder: ``$SYNTHBOOK_ROOT``, or the nearest one above the package
    or the working directory that holds ``_toc.yml`` and ``notebooks``.

    Raises:
        InputError: if there is none, as when the library is used without its book.
    """
    chosen = os.environ.get("SYNTHBOOK_ROOT")
    here = Path.cwd()
    starts = [Path(chosen)] if chosen else [*PACKAGE.parents, here, *here.parents]
    for start in starts:
        if (start / "_toc.yml").is_file() and (start / "notebooks").is_dir():
            return start.resolve()
    raise InputError(
        f"no book found above {here}: run inside a clone, or set SYNTHBOOK_ROOT to its top folder"
    )


def _module_file(name: str) -> Path | None:
    """Return the file of a ``synthbook`` module, or None if ``name`` is not one."""
    parts = name.split(".")
    if parts[0] != PACKAGE.name:
        return None
    base = PACKAGE.joinpath(*parts[1:])
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def imports(tree: ast.AST) -> set[str]:
    """Return the ``synthbook`` modules that a syntax tree imports, at any depth of nesting.

    ``from synthbook.measure import gap`` counts as both ``synthbook.measure`` and
    ``synthbook.measure.gap`` where the latter is a module. The package uses absolute imports only.
    """
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in names if _module_file(name)}


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
            and isinstance(body[0].value.value, str)
        ):
            del body[0]
    return tree


@cache
def _parsed(path: Path, stamp: int) -> tuple[str, frozenset[str]]:
    """Return (dump without docstrings, imported modules) of a file; ``stamp`` is its mtime."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = frozenset(imports(tree))
    return ast.dump(_without_docstrings(tree)), found


def closure(modules: Iterable[str]) -> dict[str, Path]:
    """Return name -> file of the modules and of all of ``synthbook`` that they import.

    Raises:
        InputError: if a name is no module of the package.
    """
    todo, done = list(modules), {}
    for name in todo:
        if name in done:
            continue
        path = _module_file(name)
        if path is None:
            raise InputError(f"'{name}' is no module of {PACKAGE.name}; check its spelling")
        done[name] = path
        todo.extend(_parsed(path, path.stat().st_mtime_ns)[1])
    return dict(sorted(done.items()))


def code_hash(*modules: str, without: Iterable[str] = ()) -> str:
    """Return 16 hex digits that change when the code behind ``modules`` does.

    Comments, layout and docstrings do not count: they change no number. ``without`` names
    modules (with everything under them) that are left out together with what only they import.
    """
    dropped = tuple(without)
    digest = hashlib.sha256()
    todo, seen = list(modules), set()
    while todo:
        name = todo.pop()
        if name in seen or any(name == d or name.startswith(f"{d}.") for d in dropped):
            continue
        seen.add(name)
        path = _module_file(name)
        if path is None:
            raise InputError(f"'{name}' is no module of {PACKAGE.name}; check its spelling")
        todo.extend(_parsed(path, path.stat().st_mtime_ns)[1])
    for name in sorted(seen):
        path = _module_file(name)
        digest.update(f"{name}\x1f{_parsed(path, path.stat().st_mtime_ns)[0]}\x1e".encode())
    return digest.hexdigest()[:16]


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
