"""The source of this package: its definitions, and which of them each one can reach.

A definition is its syntax tree, without comments, docstrings and imports. What a name means is
looked up through imports, also those inside functions, and texts that name a module to import.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).resolve().parent

# Texts that name a module to be imported later: "synthbook.gans.train", "dann:train" (a neighbour).
_LATER = re.compile(r"\w+(\.\w+)+|\w+:\w+")


class Statement(NamedTuple):
    """A top-level statement without its docstrings and imports, and what it names."""

    dump: str
    names: set[tuple[str, str | None]]  # (name or `_LATER` text, attribute that is asked of it)


class Module(NamedTuple):
    """A file of the package."""

    room: str
    statements: dict[str, list[Statement]]  # name -> those that bind it; "": all
    origins: dict[str, list[str]]  # name -> what is imported as it, at any depth: "module.member"


_IMPORTED: dict[Path, str] = {}  # file of the package -> its text when it was imported


class _Reader:
    """Stands before Python's finders of modules: keeps the text of each as it is imported.

    The file may have changed by the time that a key is wanted, while the old code runs.
    """

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if file := file_of(name):
            _IMPORTED[file] = file.read_text(encoding="utf-8")


@functools.cache
def file_of(name: str) -> Path | None:
    """Return the file of a module of this package, None of others."""
    top, *parts = name.split(".")
    base = PACKAGE.joinpath(*parts)
    places = (base / "__init__.py", base.with_suffix(".py")) if top == PACKAGE.name else ()
    return next((path for path in places if path.is_file()), None)


@functools.cache
def as_it_lies(file: Path) -> str:
    """Return the text of a module that is not imported yet; kept while one key is made."""
    return file.read_text(encoding="utf-8")


sys.meta_path.insert(0, _Reader)
for _name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE.name]:
    _Reader.find_spec(_name)


def module_of(name: str) -> Module | None:
    """Return the index of a module of this package, None of others."""
    if not (file := file_of(name)):
        return None
    room = (PACKAGE.name, *file.parent.relative_to(PACKAGE).parts)
    text = _IMPORTED.get(file)
    return indexed(as_it_lies(file) if text is None else text, ".".join(room))


@functools.cache
def indexed(source: str, room: str = "") -> Module:
    """Return the index of a text, which lies in a ``room`` of the package (dotted)."""
    tree, module = ast.parse(source), Module(room, {"": []}, {})
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
        statement = Statement(ast.dump(node), names)
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


def reached(module: Module, statements: Iterable[Statement]) -> set[str]:
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
    module: Module, name: str, attribute: str | None = None
) -> Iterator[tuple[Module, Statement]]:
    """Yield what a name or a `_LATER` text in a module means; of other packages, its origin."""
    if name in module.statements:
        yield from ((module, statement) for statement in module.statements[name])
        return
    file, colon, _ = name.partition(":")
    for origin in [f"{module.room}.{file}"] if colon else module.origins.get(name, [name]):
        above, _, member = origin.rpartition(".")
        if other := module_of(origin):
            known = attribute in other.statements or attribute in other.origins
            yield from _meant(other, attribute if known else "")
        elif (other := module_of(above)) and not colon:
            yield from _meant(other, member)
        elif name in module.origins:
            yield module, Statement(origin, set())
