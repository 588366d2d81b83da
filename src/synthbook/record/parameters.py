"""A chapter's parameters: declared in its cell, checked before anything runs.

A parameters cell has lines ``name: type = default  # help``. papermill writes the values given on
its command line into a cell after it, misspelt ones too, and starts the run all the same. So the
next cell calls ``p = parameters("NN_name", globals())``, and what it does not know stops the run.
Type and range of a name are those of `synthbook.record.vocabulary`.
"""

from __future__ import annotations
import __future__

import ast
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from synthbook.errors import InputError, did_you_mean
from synthbook.keys import key_hash
from synthbook.record.chapters import CUSTOM, MINI, declared, find, scale_of, scale_values
from synthbook.record.kinds import TYPES, type_name
from synthbook.record.vocabulary import kind_of
from synthbook.settings import STRICT, all_faults, fault_text, schema_of, shown

# Names that IPython puts into a notebook's namespace, besides those that start with "_".
KERNEL_NAMES = frozenset({"In", "Out", "get_ipython", "exit", "quit", "open"})
# Where files lie, and how many processes there are, changes no number.
NO_MATTER = frozenset({"rows", "data_root", "workers"})
# Newer than rows on record, which are as with these values: then they are no part of the hash.
LATER = {"real_networks": (), "held_out_images": 400, "scratch_set_size": 0}
_SEEN = "__synthbook_parameters__"


class Parameters(Mapping[str, Any]):
    """The checked parameters of a run: read-only, by attribute (``p.seeds``) or as a mapping.

    A list is held as a tuple. ``chapter`` is the chapter's name, ``hash`` 16 hex digits over all
    values that may change a number. `parameters` and `check_values` make these.
    """

    __slots__ = ("_values", "chapter", "hash")

    def __init__(self, chapter: str, values: Mapping[str, Any]) -> None:
        held = {k: tuple(v) if isinstance(v, list) else v for k, v in sorted(values.items())}
        key = {
            name: value
            for name, value in held.items()
            if not (name in NO_MATTER or LATER.get(name) == value)
        }
        for slot, value in zip(self.__slots__, (held, chapter, key_hash(key)), strict=True):
            object.__setattr__(self, slot, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._values:
            near = did_you_mean(name, () if name.startswith("_") else self._values)
            raise AttributeError(f"no parameter '{name}'{near}")
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        # The rows' provenance says what the run began with.
        raise InputError(
            f"parameter '{name}' cannot become {value!r} here; change it in the parameters cell"
        )

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.chapter, self.as_dict())  # to another process

    def __repr__(self) -> str:
        return f"Parameters({', '.join(f'{k}={v!r}' for k, v in self.as_dict().items())})"

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._values]

    @property
    def seeds_list(self) -> range:
        """Seeds of the run: ``seeds`` of them from ``first_seed`` (0 without that parameter)."""
        first = self._values.get("first_seed", 0)
        return range(first, first + self._values.get("seeds", 1))

    @property
    def scale(self) -> str:
        """The scale of the book whose values these are, or "custom"."""
        return scale_of(self.chapter, self)

    def own(self, name: str) -> bool:
        """Return whether a value is the reader's own: no scale of the chapter has it."""
        scales = find(self.chapter).scales
        return all(check_values(self.chapter, {}, scale)[name] != self[name] for scale in scales)

    def whole(self, name: str) -> bool:
        """Return whether a list is its scale's, in any order; a run of no scale has its own.

        What a row says over such a list without naming it, it says of the whole one.
        """
        return set(self[name]) == set(self._of_scale(name))

    def holds(self, name: str) -> bool:
        """Return whether a list has all that its scale's has, as a grid's may have more."""
        return set(self[name]) >= set(self._of_scale(name))

    def _of_scale(self, name: str) -> Any:
        """Return the value that a parameter has in the run's scale; in none, its own."""
        scale = self.scale
        return self[name] if scale == CUSTOM else check_values(self.chapter, {}, scale)[name]

    def as_dict(self) -> dict[str, Any]:
        """Return name -> value, lists as lists, ready for JSON, YAML or papermill."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in self._values.items()}


def parameters(chapter: str, namespace: dict[str, Any]) -> Parameters:
    """Check a notebook's parameters; call it right after them.

    When the cell is run again in a living kernel, names that the first check did not see are the
    notebook's own variables and are left alone.

    Args:
        chapter: name of the chapter, which a copy of its notebook keeps.
        namespace: ``globals()`` of the notebook: its annotated names are the parameters, with the
            values that papermill may have injected.
    """
    seen = namespace.get(_SEEN)
    annotations = namespace.get("__annotations__")
    if annotations is None and callable(lazy := namespace.get("__annotate__")):
        annotations = lazy(1)  # Python 3.14 makes them when asked
    types = {
        name: type_name(name, annotation)
        for name, annotation in (annotations or {}).items()
        if seen is None or name in seen
    }
    others = {} if seen is not None else {k: v for k, v in namespace.items() if _variable(k, v)}
    others |= {name: namespace[name] for name in _injected(namespace) if name in namespace}
    values = others | {name: namespace[name] for name in types if name in namespace}
    if missing := [name for name in types if name not in values]:
        raise InputError(f"parameter '{missing[0]}' has no default; write {missing[0]}: type = ...")
    checked = _checked(chapter, types, values)
    namespace[_SEEN] = frozenset(types)
    return checked


def check_values(chapter: str | Path, values: Mapping[str, Any], scale: str = MINI) -> Parameters:
    """Check values for a chapter before a kernel starts, as its checking cell would.

    Names that are left out have the values of the scale, whose file is named if it is at fault.
    """
    name, fields = find(chapter).name, declared(chapter)
    types = {field.name: field.type for field in fields}
    defaults = {field.name: field.default for field in fields} | scale_values(name, scale)
    if scale != MINI:
        try:
            _checked(name, types, defaults)
        except InputError as error:
            raise InputError(f"params/{name}/{scale}.yaml: {error}") from None
    return _checked(name, types, defaults | dict(values))


def _injected(namespace: Mapping[str, Any]) -> set[str]:
    """Return the names that papermill gave values, in a cell of its own, also the kernel's own."""
    history, names = namespace.get("_ih", []), set()
    if not isinstance(history, list):
        return {"_ih"}
    for source in history:
        if source.startswith("# Parameters\n"):
            names |= {
                node.id
                for node in ast.walk(ast.parse(source))
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            }
    return names


def _variable(name: str, value: Any) -> bool:
    """Return whether a name can only be a parameter, and no import, function or kernel name."""
    if name.startswith("_") or name in KERNEL_NAMES or callable(value):
        return False
    return not isinstance(value, ModuleType | Parameters | __future__._Feature)


def _checked(chapter: str, types: Mapping[str, str], values: Mapping[str, Any]) -> Parameters:
    """Return the checked parameters; ``types`` maps names, which all have a value, to types."""
    known = ", ".join(sorted(types)) or "none"
    faults = {
        name: f"unknown parameter '{name}' (value {shown(value)})"
        f"{_meant(name, types) or '.'} The chapter has {known}"
        for name, value in values.items()
        if name not in types
    }
    typed = {}
    for name, text in types.items():
        if name.startswith("_") or hasattr(Parameters, name):
            raise InputError(f"no parameter can be called '{name}'; choose another name")
        kind, value = kind_of(chapter, name, text), values[name]
        try:
            unpacked = _unpacked(value, TYPES[text])
            typed[name] = TypeAdapter(kind, config=STRICT).validate_python(unpacked)
        except ValidationError as error:
            schema, errors = schema_of(kind), error.errors(include_url=False)
            faults[name] = fault_text(name, value, schema, errors, _usage(name, value, schema))
        except UnicodeError:  # half of a pair of surrogates, which no file and no page can hold
            faults[name] = f"{name} = {shown(value)} is no text that can be written; correct it"
    if faults:
        raise InputError(all_faults(faults))
    return Parameters(chapter, typed)


def _meant(name: str, types: Mapping[str, str]) -> str:
    """Return in a hint the parameter that was meant by one that the chapter does not have."""
    if name == "data" and "targets" in types:  # its data sets are several
        return "; did you mean 'targets'?"
    return did_you_mean(name, types)


def _usage(name: str, value: Any, schema: Mapping[str, Any]) -> str:
    """Return how to give an example on the command line, ", for example -p seeds 5"."""
    if schema.get("type") == "string" and isinstance(value, int | float):
        return f", for example -r {name} {shown(value)}"  # -p reads digits as a number
    (example,) = schema.get("examples", [""])
    text = ",".join(map(str, example)) if isinstance(example, list) else str(example)
    return f", for example -p {name} {text}" if text else ""


def _unpacked(value: Any, kind: Any) -> Any:
    """Return what the texts and single numbers of papermill's command line mean for a type."""
    if kind is bool and isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    if not (members := get_args(kind)):
        return value
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [value]
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("["):
        for read in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
                return read(text)
        return value
    return [_member(part.strip(), *members) for part in text.split(",")] if text else []


def _member(text: str, kind: type) -> Any:
    if text.isascii() or kind is str:  # other scripts have digits too
        with suppress(ValueError):
            return kind(text)
    return text
