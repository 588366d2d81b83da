"""Checking a run's parameters: types first, then the range that belongs to each name."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import GenericAlias
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from synthbook.errors import InputError, did_you_mean
from synthbook.record.vocabulary import KINDS, Rule, repeated, rule_of
from synthbook.store import key_hash

TYPES: dict[str, Any] = {
    "int": int, "float": float, "bool": bool, "str": str, "list[str]": list[str],
    "list[int]": list[int], "list[float]": list[float],
}  # fmt: skip
# Where files lie changes no number.
PLACES = frozenset({"rows", "data_root"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class Parameters(Mapping[str, Any]):
    """The checked parameters of a run: read-only, by attribute (``p.seeds``) or as a mapping.

    A list is held as a tuple. ``hash`` is 16 hex digits over all values but the places of files.
    """

    __slots__ = ("_values", "hash")
    _values: dict[str, Any]
    hash: str

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Hold ``values`` (name -> checked value); `parameters` and `check_values` make these."""
        held = {k: tuple(v) if isinstance(v, list) else v for k, v in sorted(values.items())}
        object.__setattr__(self, "_values", held)
        key = {name: value for name, value in held.items() if name not in PLACES}
        object.__setattr__(self, "hash", key_hash(key))

    def __getattr__(self, name: str) -> Any:
        """Return a parameter's value."""
        if name.startswith("_") or name not in self._values:
            near = did_you_mean(name, () if name.startswith("_") else self._values)
            raise AttributeError(f"no parameter '{name}'{near}")
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse: the rows' provenance says what the run began with."""
        raise InputError(
            f"parameter '{name}' cannot become {value!r} here; change it in the parameters cell"
        )

    def __delattr__(self, name: str) -> None:
        """Refuse, as above."""
        raise InputError(f"parameter '{name}' cannot be removed; change the parameters cell")

    def __getitem__(self, name: str) -> Any:
        """Return a parameter's value."""
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, sorted."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return the number of parameters."""
        return len(self._values)

    def __hash__(self) -> int:
        """Return a hash that equal parameters share."""
        return int(self.hash, 16)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a worker process receive a copy."""
        return Parameters, (self.as_dict(),)

    def __repr__(self) -> str:
        """Return "Parameters(name=value, ...)"."""
        return f"Parameters({', '.join(f'{k}={v!r}' for k, v in self.as_dict().items())})"

    def __dir__(self) -> list[str]:
        """Offer the names for completion."""
        return [*super().__dir__(), *self._values]

    @property
    def seeds_list(self) -> range:
        """Seeds of the run: ``seeds`` of them from ``first_seed`` (0 without that parameter)."""
        first = self._values.get("first_seed", 0)
        return range(first, first + self._values.get("seeds", 1))

    def as_dict(self) -> dict[str, Any]:
        """Return name -> value, lists as lists, ready for JSON, YAML or papermill."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in self._values.items()}


def type_name(name: str, annotation: Any) -> str:
    """Return a parameter's type as it is written in `TYPES`, given as text or as the type itself.

    Raises:
        InputError: for another type, or a name that `Parameters` needs itself.
    """
    if isinstance(annotation, str):
        text = annotation.strip("'\" ").replace(" ", "").replace("List[", "list[")
    else:
        generic = isinstance(annotation, GenericAlias)
        text = str(annotation) if generic else getattr(annotation, "__name__", str(annotation))
    if text not in TYPES:
        raise InputError(f"parameter '{name}' has the type {text}; use one of {', '.join(TYPES)}")
    if name.startswith("_") or hasattr(Parameters, name):
        raise InputError(f"no parameter can be called '{name}'; choose another name")
    return text


def literal(text: str) -> bool:
    """Return whether a text is a Python literal."""
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _to_bool(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return {"true": True, "false": False}.get(value.strip().lower(), value)


def _to_list(value: Any) -> Any:
    """Return a list for the texts and single numbers that papermill's command line passes."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [value]
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return ast.literal_eval(text) if literal(text) else value
    return [part.strip() for part in text.split(",")] if text else []


def _to_integers(value: Any) -> Any:
    parts = _to_list(value)
    if not isinstance(value, str) or not isinstance(parts, list):
        return parts
    return [
        int(part) if isinstance(part, str) and part.lstrip("+-").isdecimal() else part
        for part in parts
    ]


def _to_numbers(value: Any) -> Any:
    parts = _to_list(value)
    if not isinstance(value, str) or not isinstance(parts, list):
        return parts
    return [
        float(part) if isinstance(part, str) and _NUMBER.fullmatch(part) else part for part in parts
    ]


_UNPACK = {
    "bool": _to_bool, "list[str]": _to_list, "list[int]": _to_integers, "list[float]": _to_numbers,
}  # fmt: skip


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    unpack = _UNPACK.get(kind)
    hint = TYPES[kind] if unpack is None else Annotated[TYPES[kind], BeforeValidator(unpack)]
    return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))


def _fault(name: str, kind: str, value: Any, rule: Rule) -> tuple[Any, str]:
    """Return (typed value, what is wrong with it in a sentence or "")."""
    usage = "" if rule.example in (None, "") else f", for example -p {name} {rule.example}"
    remedy = f"give {rule.describe(kind)}{usage}"
    try:
        value = _adapter(kind).validate_python(value)
    except ValidationError as error:
        if error.errors(include_url=False)[0]["type"] == "finite_number" and "float" in kind:
            return value, f"{name} = {value!r} is not finite; {remedy}"
        # papermill's -p reads digits as a number; its -r keeps the text
        digits = kind == "str" and isinstance(value, int | float)
        usage = f", for example -r {name} {value}" if digits else usage
        remedy = f"give {rule.describe(kind, 'one')}{usage}"
        return value, f"{name} = {value!r} is not {KINDS[kind]}; {remedy}"
    many = isinstance(value, list)
    wrong = [one for one in (value if many else [value]) if not rule.admits(one)]
    if many and rule.filled and not value:
        return value, f"{name} = [] is empty; {remedy}"
    if wrong:
        part = f" holds {wrong[0]!r}, which" if many else ""
        # with a pattern the nearest choice misleads: 'gpu' is nearest to 'cpu'
        near = did_you_mean(str(wrong[0]), () if rule.pattern else rule.choices)
        return value, f"{name} = {value!r}{part} is not allowed; {remedy}{near}"
    if many and rule.unique and repeated(value):
        return value, f"{name} = {value!r} names something twice; {remedy}"
    return value, ""


def checked(
    types: Mapping[str, str], values: Mapping[str, Any], extra: Mapping[str, Rule]
) -> Parameters:
    """Return the checked parameters.

    Args:
        types: name -> name of its type in `TYPES`.
        values: name -> value as given; every name of ``types`` has one.
        extra: the chapter's own rules.

    Raises:
        InputError: with every fault: the first in words, the others by their names.
    """
    for name in extra:
        if name not in types:
            raise InputError(f"rule for '{name}', which is no parameter{did_you_mean(name, types)}")
    faults = {
        name: f"unknown parameter '{name}' (value {value!r})"
        f"{did_you_mean(name, types) or '.'} The chapter has {', '.join(sorted(types)) or 'none'}"
        for name, value in values.items()
        if name not in types
    }
    typed = {}
    for name, kind in types.items():
        typed[name], fault = _fault(name, kind, values[name], rule_of(name, extra))
        if fault:
            faults[name] = fault
    if faults:
        first, *others = faults
        raise InputError(faults[first] + (f" (also wrong: {', '.join(others)})" if others else ""))
    return Parameters(typed)
