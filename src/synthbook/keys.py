"""What tells a thing that is kept from another: settings, data and source code as one short text.

The source is that of every definition which the code can reach, in this package or in a reader's
notebook, without comments, docstrings and the names of modules: moving, splitting and merging
modules changes no key, and changing a callback does.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import json
import os
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).resolve().parent


def key_hash(key: Mapping[str, Any]) -> str:
    """Return 16 hex digits of ``key`` as canonical JSON (order of names does not matter).

    A callable stands for its source (`code_of`), a dataclass for its fields, an object with a
    ``fingerprint`` for that. What has no text of its own, as an open file, is a TypeError.
    """
    return hashlib.sha256(_canonical(key).encode()).hexdigest()[:16]


def _canonical(key: Mapping[str, Any], **layout: Any) -> str:
    return json.dumps(key, sort_keys=True, default=_plain, **layout)


def _plain(value: Any) -> Any:
    fingerprint = getattr(value, "fingerprint", None)
    if callable(fingerprint) and not isinstance(value, type):
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


# ---- the source of what is called ----------------------------------------------------------------

# Texts that name a module to be imported later: "synthbook.gans.train", "dann:train" (a neighbour).
_LATER = re.compile(r"\w+(\.\w+)+|\w+:\w+")


class _Statement(NamedTuple):
    """A top-level statement without its docstrings and imports, and what it names."""

    dump: str
    names: set[tuple[str, str | None]]  # (name or `_LATER` text, attribute that is asked of it)


class _Module(NamedTuple):
    """A file of the package."""

    room: str
    statements: dict[str, list[_Statement]]  # name -> those that bind it; "": all
    origins: dict[str, list[str]]  # name -> what is imported as it, at any depth: "module.member"


def code_of(function: Callable[..., Any], *, caught: bool = True) -> str:
    """Return 16 hex digits that change when the code of ``function``, or what it calls, does.

    Within the package that is every definition which its source names, at any depth; elsewhere
    (in a notebook) the compiled code, with the functions and plain values that it refers to.
    Comments, layout and docstrings do not count, nor in which module a definition stands.

    ``caught`` adds what a function made inside another one has caught, as the threshold of a
    filter: the parts of a key need it, and what is built by a key must not depend on more.
    """
    return key_hash({"code": sorted(_pieces(function, set(), caught))})


def code_behind(source: str, among: str = "") -> str:
    """Return 16 hex digits of a piece of Python and of the package's code that it can reach.

    ``among`` is more Python, which counts as far as the piece reaches it: a notebook's other cells.
    """
    module, piece = _indexed(f"{among}\n{source}"), _indexed(source)
    return key_hash({"code": sorted(_reached(module, piece.statements[""]))})


def _pieces(value: Any, seen: set[int], caught: bool = True) -> set[str]:
    """Return the texts that stand for a callable and all that it reaches."""
    if id(value) in seen:
        return set()
    seen.add(id(value))
    inner, held = getattr(value, "__wrapped__", None), {}  # functools.cache, torch's decorators
    if isinstance(value, functools.partial):
        inner, held = value.func, {"args": value.args, "keywords": value.keywords}
    elif isinstance(value, types.MethodType):
        owner, inner = value.__self__, value.__func__
        held = {"self": owner} if dataclasses.is_dataclass(owner) else {}
    if inner is not None:
        return _pieces(inner, seen, caught) | ({_canonical(held)} if caught and held else set())
    if not isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return _pieces(type(value), seen) | _referred(getattr(value, "__dict__", {}), seen)
    home, closure = value.__module__ or "", {}
    if caught and getattr(value, "__closure__", None):
        cells = zip(value.__code__.co_freevars, value.__closure__, strict=True)
        closure = {name: c.cell_contents for name, c in cells if c != types.CellType()}
    module, start = _module(home), value.__qualname__.partition(".")[0]
    if module and start in module.statements:
        return _reached(module, module.statements[start]) | _referred(closure, seen)
    file = getattr(sys.modules.get(home), "__file__", None) or ""
    if (
        isinstance(value, types.BuiltinFunctionType)
        or home.partition(".")[0] in sys.stdlib_module_names
        or {"site-packages", "dist-packages"} & {*Path(file).parts}
    ):
        return {f"{home}.{value.__qualname__}"}  # the versions are in the key
    if isinstance(value, type):
        methods = {k: v for k, v in vars(value).items() if isinstance(v, types.FunctionType)}
        return {value.__qualname__} | _referred(methods, seen)
    codes = [*_codes(value.__code__)]
    names = {name for code in codes for name in code.co_names} & value.__globals__.keys()
    values = {name: value.__globals__[name] for name in names} | closure
    values |= {"its defaults": [value.__defaults__, value.__kwdefaults__]}
    return {_compiled(code) for code in codes} | _referred(values, seen)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield the code of a function and of all that are made inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _compiled(code: types.CodeType) -> str:
    """Return what a compiled function does, its docstring and line numbers left out."""
    first, *others = code.co_consts or (None,)
    documented = isinstance(first, str) and (sys.version_info < (3, 13) or code.co_flags & 1 << 26)
    constants = [None if documented else first, *others]
    constants = [c for c in constants if not isinstance(c, types.CodeType)]
    return repr((code.co_code, constants, code.co_names, code.co_varnames))


def _referred(values: Mapping[str, Any], seen: set[int]) -> set[str]:
    """Return the texts of the values that a function refers to by name."""
    pieces: set[str] = set()
    for name, value in values.items():
        if isinstance(value, types.ModuleType):
            pieces.add(value.__name__)
        elif callable(value):
            pieces |= _pieces(value, seen)
        else:
            try:
                pieces.add(f"{name}={_canonical({'': value})}")
            except (TypeError, ValueError):  # an array, a network: no setting of the function
                pieces.add(f"{name}: {type(value).__qualname__}")
    return pieces


@functools.cache
def _module(name: str) -> _Module | None:
    """Return the index of a module of this package (read once, as by import), None of others."""
    top, *parts = name.split(".")
    base = PACKAGE.joinpath(*parts)
    for path in (base / "__init__.py", base.with_suffix(".py")) if top == PACKAGE.name else ():
        if path.is_file():
            room = (PACKAGE.name, *path.parent.relative_to(PACKAGE).parts)
            return _indexed(path.read_text(encoding="utf-8"), ".".join(room))
    return None


def _indexed(source: str, room: str = "") -> _Module:
    tree, module = ast.parse(source), _Module(room, {"": []}, {})
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            above = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                name = (alias.asname or alias.name).partition(".")[0]
                module.origins.setdefault(name, []).append(above + alias.name)
    for node in _Bare().visit(tree).body:
        inside = list(ast.walk(node))
        named = [n for n in inside if isinstance(n, ast.Name)]
        asked = {id(n.value): n.attr for n in inside if isinstance(n, ast.Attribute)}
        names = {(n.id, asked.get(id(n))) for n in named}
        texts = (n.value for n in inside if isinstance(n, ast.Constant) and type(n.value) is str)
        names |= {(text, None) for text in texts if _LATER.fullmatch(text)}
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound = {node.name}
        else:
            bound = {n.id for n in named if isinstance(n.ctx, ast.Store)}
        statement = _Statement(ast.dump(node), names)
        for name in {"", *bound}:
            module.statements.setdefault(name, []).append(statement)
    return module


class _Bare(ast.NodeTransformer):
    """Takes out docstrings, and imports: what they bind is looked up where it is named."""

    def visit_Import(self, node: ast.stmt) -> None:
        return None

    visit_ImportFrom = visit_Import

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else node


def _reached(module: _Module, statements: Iterable[_Statement]) -> set[str]:
    """Return the texts of statements and of all that they name in the package, at any depth."""
    todo = [(module, statement) for statement in statements]
    seen: set[tuple[int, str, str | None]] = set()
    dumps = set()
    while todo:
        module, statement = todo.pop()
        dumps.add(statement.dump)
        for name, attribute in statement.names:
            if (key := (id(module), name, attribute)) not in seen:
                seen.add(key)
                todo += _meant(module, name, attribute)
    return dumps


def _meant(
    module: _Module, name: str, attribute: str | None = None
) -> Iterator[tuple[_Module, _Statement]]:
    """Yield what a name or a `_LATER` text in a module means; of other packages, its origin."""
    if name in module.statements:
        yield from ((module, statement) for statement in module.statements[name])
        return
    file, colon, _ = name.partition(":")
    for origin in [f"{module.room}.{file}"] if colon else module.origins.get(name, [name]):
        above, _, member = origin.rpartition(".")
        if other := _module(origin):
            known = attribute in other.statements or attribute in other.origins
            yield from _meant(other, attribute if known else "")
        elif (other := _module(above)) and not colon:
            yield from _meant(other, member)
        elif name in module.origins:
            yield module, _Statement(origin, set())
