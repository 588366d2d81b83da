"""Settings with ranges: checked once, where they are made, and told in words where they are wrong.

`settings` makes a recipe of a class of annotated fields. The types below are those that recipes
share with the parameters of chapters (``record/vocabulary.py``), so that a range stands once.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
)

from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from synthbook.errors import InputError, did_you_mean

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
AUGMENTATIONS = ("color", "translation", "cutout")
Class = TypeVar("Class", bound=type)


def augmentations(policy: str) -> tuple[str, ...]:
    """Return the names in ``policy`` ("color,translation,cutout", any order, "" for none).

    Raises:
        InputError: if a name is not known or given twice.
    """
    names = [name.strip() for name in policy.split(",") if name.strip()]
    for name in names:
        if name not in AUGMENTATIONS:
            known = ", ".join(AUGMENTATIONS)
            hint = did_you_mean(name, AUGMENTATIONS)
            raise InputError(f"augmentation '{name}' is not known; give some of {known}{hint}")
        if names.count(name) > 1:
            raise InputError(f"augmentation '{name}' is given twice in '{policy}'; give it once")
    return tuple(name for name in AUGMENTATIONS if name in names)


def _augmentations(policy: str) -> str:
    augmentations(policy)
    return policy


def _each_once(values: Sequence[Any]) -> Sequence[Any]:
    if len(set(values)) < len(values):
        raise ValueError("names something twice")
    return values


EachOnce = AfterValidator(_each_once)  # of a list
Listed = Field(strict=False)  # a tuple that may be given as a list: YAML and JSON have no other

Count = Annotated[int, Field(ge=1, le=10**8)]  # of steps, of epochs
Whole = Annotated[int, Field(ge=0, le=10**8)]
Batch = Annotated[int, Field(ge=1, le=10**6)]  # images
Rate = Annotated[float, Field(gt=0)]  # of learning
Weight = Annotated[float, Field(ge=0, le=1e6)]  # of a term in a loss; 0 turns it off
Share = Annotated[float, Field(ge=0, le=1)]
HalfLife = Annotated[float, Field(ge=0, le=1e9)]  # of averaged weights, in images
Width = Annotated[int, Field(ge=1, le=4096)]  # channels of a feature map
Level = Annotated[int, Field(ge=4, le=4096, multiple_of=4)]  # channels of a U-Net's level
Latent = Annotated[int, Field(ge=1, le=65_536)]  # numbers in a vector
Layers = Annotated[int, Field(ge=1, le=16)]
Zero = Annotated[int, Field(ge=0, le=0)]
Side = Annotated[int, Field(ge=8, le=1024)]  # pixels
Padding = Annotated[int, Field(ge=0, le=512)]  # pixels
Text = Annotated[str, Field(pattern=r"\S")]
Precision = Literal["float32", "bfloat16"]
Schedule = Literal["constant", "cosine"]  # of the learning rate
Augmentations = Annotated[
    str, AfterValidator(_augmentations), Field(title=f"some of {', '.join(AUGMENTATIONS)}, or ''")
]
# Primitives-PS
Variant = Literal["PinkNoise", "Primitives", "Primitives-S", "Primitives-PS"]
SizePolicy = Literal["Decay", "Rand", "Fix(1/10)", "Fix(1/5)", "Fix(1/2)"]
Shapes = Annotated[int, Field(ge=0, le=1000)]
Exponent = Annotated[float, Field(ge=0, le=10)]


@dataclass_transform(frozen_default=True)
def settings(cls: Class) -> Class:
    """Make a frozen dataclass of ``cls`` whose fields are checked by their annotated types.

    Types are strict, but for whole numbers given as numbers. ``__post_init__`` is for what fields
    must be to each other, and raises InputError itself.

    Raises:
        InputError: when one is made (also by ``dataclasses.replace``) with a value that is not
            allowed: the first fault is told whole, with the remedy, the others by their names.
    """
    made = dataclass(cls, frozen=True, config=STRICT)
    check = made.__init__

    @functools.wraps(check)
    def __init__(self: Any, *values: Any, **named: Any) -> None:
        try:
            check(self, *values, **named)
        except ValidationError as error:
            raise InputError(_faults(made, values, named, error)) from None

    made.__init__ = __init__
    return made


def _faults(cls: Any, values: Sequence[Any], named: dict[str, Any], error: ValidationError) -> str:
    names = [field.name for field in fields(cls)]
    given = dict(zip(names, values, strict=False)) | named
    errors: dict[str, list[Any]] = {}
    for fault in error.errors(include_url=False):
        place = (*fault["loc"], "")[0]
        known = isinstance(place, int) and place < len(names)
        errors.setdefault(names[place] if known else str(place), []).append(fault)
    told = {}
    for name, found in errors.items():
        kind = cls.__pydantic_fields__.get(name)
        if kind is None:
            cause = found[0].get("ctx", {}).get("error", "")
            unknown = f"{cls.__name__} has no setting '{name}'{did_you_mean(name, names)}"
            told[name] = str(cause) or unknown
        elif name not in given:
            told[name] = f"{cls.__name__} needs {name}; give {describe(kind)}"
        else:
            told[name] = fault_text(name, given[name], kind, found)
    return all_faults(told)


def all_faults(told: Mapping[str, str]) -> str:
    """Return the first of several faults (name -> sentence) whole, and the names of the others."""
    first, *others = told
    return told[first] + (f" (also wrong: {', '.join(others)})" if others else "")


def fault_text(
    name: str, value: Any, kind: Any, errors: Sequence[Mapping[str, Any]], usage: str = ""
) -> str:
    """Return in a sentence what is wrong with a value: name, value and remedy.

    Args:
        name, value: as given.
        kind: annotated type that it should have.
        errors: pydantic's, of this value alone.
        usage: what follows the remedy, such as ", for example -p seeds 5".
    """
    said, types = f"{name} = {value!r}", {error["type"] for error in errors}
    cause = errors[0].get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return f"{said}: {cause}"
    if "finite_number" in types:
        return f"{said} is not finite; give {describe(kind)}{usage}"
    if types & {"missing", "too_long"} or any(t.endswith("_type") for t in types):
        word = "one" if noun(kind)[0].isalpha() else ""  # not "one" of 2 numbers
        return f"{said} is not {noun(kind)}; give {describe(kind, word)}{usage}"
    remedy = f"; give {describe(kind)}{usage}"
    if cause:
        return f"{said} {cause}{remedy}"
    if "too_short" in types:
        return f"{said} is empty{remedy}"
    member = errors[0]["input"]
    holds = f" holds {member!r}, which" if isinstance(value, list | tuple) else ""
    hint = "" if types != {"literal_error"} else did_you_mean(str(member), choices(kind))
    return f"{said}{holds} is not allowed{remedy}{hint}"


def _opened(kind: Any) -> FieldInfo:
    return kind if isinstance(kind, FieldInfo) else FieldInfo.from_annotation(kind)


def _member(kind: Any) -> Any:
    """Return the type of a list's members, or the type itself."""
    base = _opened(kind).annotation
    return get_args(base)[0] if get_origin(base) in (list, tuple) else kind


def _alternatives(kind: Any) -> list[FieldInfo]:
    field = _opened(kind)
    if get_origin(field.annotation) in (Union, UnionType):
        return [_opened(kind) for kind in get_args(field.annotation)]
    return [field]


def base_of(kind: Any) -> type:
    """Return the plain type under an annotated one, or under the members of a list."""
    base = _alternatives(_member(kind))[0].annotation
    return type(get_args(base)[0]) if get_origin(base) is Literal else base


def choices(kind: Any) -> list[str]:
    """Return the known values of a type (of a list: of its members), as shown; [] if many are."""
    alternatives = _alternatives(_member(kind))
    if not any(get_origin(field.annotation) is Literal for field in alternatives):
        return []
    return [
        str(choice)
        for field in alternatives
        for choice in ([field.title] if field.title else get_args(field.annotation))
    ]


def noun(kind: Any) -> str:
    """Return a type in words without its range: "a whole number", "a list of texts"."""
    base, name = _opened(kind).annotation, NAMES[base_of(kind)]
    if get_origin(base) is tuple and Ellipsis not in get_args(base):
        return f"{len(get_args(base))} {name.removeprefix('a ')}s"
    return f"a list of {name.removeprefix('a ')}s" if _member(kind) is not kind else name


def describe(kind: Any, word: str = "") -> str:
    """Return the values that an annotated type allows in words: "a whole number from 1 to 1000".

    Args:
        kind: the type, or pydantic's field of it.
        word: in place of the type's noun, where the sentence has named it already.
    """
    field = _opened(kind)
    if field.title:
        return field.title
    each = ", each once" if EachOnce in field.metadata else ""
    several = _member(kind) is not kind
    if known := choices(kind):
        return f"{'some' if several else 'one'} of {', '.join(known)}{each}"
    ranges = filter(None, map(_range, _alternatives(_member(kind))))
    return f"{word or noun(kind)} {' or '.join(ranges)}".rstrip() + each


def _range(field: FieldInfo) -> str:
    limits: dict[str, Any] = {}
    for constraint in field.metadata:
        limits |= {k: v for k in _LIMITS if (v := getattr(constraint, k, None)) is not None}
    if "pattern" in limits:
        return "that is not empty"
    low, high = (_number(limits.get(end, limits.get(f"{end[0]}e"))) for end in ("gt", "lt"))
    multiple = f", a multiple of {limits['multiple_of']}" if "multiple_of" in limits else ""
    if low and low == high:
        return low
    if low and high and not limits.keys() & {"gt", "lt"}:
        return f"from {low} to {high}{multiple}"
    ends = [f"above {low}" if "gt" in limits else f"of {low} or more"] if low else []
    ends += [f"below {high}" if "lt" in limits else f"up to {high}"] if high else []
    return " and ".join(ends) + multiple


_LIMITS = ("gt", "ge", "lt", "le", "multiple_of", "pattern")


def _number(end: float | None) -> str:
    if end is None:
        return ""
    return f"{end:,.0f}".replace(",", " ") if end >= 10_000 else f"{end:g}"
