"""A chapter's parameters: declared in its cell, checked before anything runs.

A parameters cell has lines ``name: type = default  # help``. papermill writes the values given on
its command line into a cell after it, misspelt ones too, and starts the run all the same. So the
next cell calls ``p = parameters(globals())``, and what it does not know stops the run.
"""

from __future__ import annotations
import __future__

import ast
import io
import re
import tokenize
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from synthbook.errors import InputError
from synthbook.record.notebook import cells
from synthbook.record.validation import Parameters, checked, literal, type_name
from synthbook.record.vocabulary import RULES, Rule

__all__ = ["RULES", "Field", "Parameters", "Rule", "check_values", "declared", "parameters"]

# Names IPython puts into a notebook's namespace; those that start with "_" are never parameters.
KERNEL_NAMES = frozenset({"In", "Out", "get_ipython", "exit", "quit", "open"})
_SEEN = "__synthbook_parameters__"


class Field(NamedTuple):
    """One line of a parameters cell; ``type`` is as text."""

    name: str
    type: str
    default: Any
    help: str


def _annotations(namespace: Mapping[str, Any]) -> dict[str, Any]:
    found = namespace.get("__annotations__")
    if found is None and callable(lazy := namespace.get("__annotate__")):
        found = lazy(1)  # Python 3.14 makes them when asked
    return dict(found or {})


def _variable(name: str, value: Any) -> bool:
    """Return whether a name can only be a parameter, and no import, function or kernel name."""
    if name.startswith("_") or name in KERNEL_NAMES or callable(value):
        return False
    return not isinstance(value, ModuleType | Parameters | Rule | __future__._Feature)


def parameters(namespace: dict[str, Any], /, **extra: Rule) -> Parameters:
    """Check a notebook's parameters; call it as ``p = parameters(globals())`` right after them.

    When the cell is run again in a living kernel, names that the first check did not see are the
    notebook's own variables and are left alone.

    Args:
        namespace: ``globals()`` of the notebook: its annotated names are the parameters, with the
            values that papermill may have injected.
        extra: a `Rule` for names of this chapter, in place of the shared one in `RULES`.

    Raises:
        InputError: if a name is unknown, or a value has the wrong type or lies out of range. The
            first fault is told whole, with a remedy; the names of the others follow.
    """
    seen = namespace.get(_SEEN)
    declared_types = _annotations(namespace)
    names = [name for name in declared_types if seen is None or name in seen]
    types = {name: type_name(name, declared_types[name]) for name in names}
    values = {
        name: value
        for name, value in namespace.items()
        if name in types or (seen is None and _variable(name, value))
    }
    missing = [name for name in types if name not in values]
    if missing:
        raise InputError(f"parameter '{missing[0]}' has no default; write {missing[0]}: type = ...")
    found = checked(types, values, extra)
    namespace[_SEEN] = frozenset(types)
    return found


def declared(notebook: str | Path) -> list[Field]:
    """Return the parameters of a notebook (``.ipynb`` or percent ``.py``) without running it.

    Raises:
        InputError: if there is no cell tagged ``parameters``, or a line of it is not
            ``name: type = default  # help`` with a literal default.
    """
    source = next((c.source for c in cells(notebook) if "parameters" in c.tags), None)
    if source is None:
        raise InputError(f"'{notebook}' has no cell tagged 'parameters'; tag the one that has them")
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    fields = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        value = node.value if isinstance(node, ast.AnnAssign) else None
        if value is None or not literal(ast.unparse(value)):
            text = ast.get_source_segment(source, node)
            raise InputError(
                f"'{text}' in '{notebook}' is not 'name: type = default  # help'; write it so"
            )
        name, kind = ast.unparse(node.target), ast.unparse(node.annotation)
        default = ast.literal_eval(value)
        help_text = comments.get(node.end_lineno or 0) or RULES.get(name, Rule()).help
        fields.append(Field(name, type_name(name, kind), default, help_text))
    return fields


def _extra_rules(notebook: str | Path) -> dict[str, Rule]:
    """Return the rules that a notebook's checking cell passes, where they are literals."""
    rules = {}
    for cell in cells(notebook):
        if cell.kind != "code" or not re.search(r"parameters\(\s*globals\(\)", cell.source):
            continue
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("parameters"):
                for given in node.keywords:
                    rule = given.value
                    if given.arg and isinstance(rule, ast.Call):
                        limits = {k.arg: ast.literal_eval(k.value) for k in rule.keywords}
                        values = [ast.literal_eval(one) for one in rule.args]
                        rules[given.arg] = Rule(*values, **limits)
    return rules


def check_values(notebook: str | Path, values: Mapping[str, Any]) -> Parameters:
    """Check values for a notebook before a kernel starts, as its checking cell would.

    Args:
        notebook: path of the ``.ipynb`` or percent ``.py``.
        values: name -> value as given; names that are left out keep their defaults.

    Raises:
        InputError: as `parameters`.
    """
    fields = declared(notebook)
    types = {field.name: field.type for field in fields}
    given = {field.name: field.default for field in fields} | dict(values)
    return checked(types, given, _extra_rules(notebook))
