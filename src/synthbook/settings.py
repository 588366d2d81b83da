"""Settings with ranges: checked once, where they are made, and told in words where they are wrong.

`settings` makes a recipe of a class of annotated fields. The types below are those that recipes
share with the parameters of chapters (``record/vocabulary.py``), so that a range stands once.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform, get_type_hints

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from synthbook.errors import InputError, did_you_mean

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
NOUNS = {
    "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "string": "a text",
}  # fmt: skip
LONGEST = 300  # signs of a value that a sentence shows
AUGMENTATIONS = ("color", "translation", "cutout")
Class, Member = TypeVar("Class", bound=type), TypeVar("Member")
Schema = dict[str, Any]


def augmentations(policy: str) -> tuple[str, ...]:
    """Return the names in ``policy`` ("color,translation,cutout", any order, "" for none)."""
    names = [name.strip() for name in policy.split(",") if name.strip()]
    for name in names:
        if name not in AUGMENTATIONS:
            known = f"{', '.join(AUGMENTATIONS)}{did_you_mean(name, AUGMENTATIONS)}"
            raise InputError(f"augmentation '{name}' is not known; give some of {known}")
        if names.count(name) > 1:
            raise InputError(f"augmentation '{name}' is given twice in '{policy}'; give it once")
    return tuple(name for name in AUGMENTATIONS if name in names)


def _augmentations(policy: str) -> str:
    augmentations(policy)
    return policy


def source_paths(sources: Iterable[str]) -> dict[str, str]:
    """Return name -> path of sources of images; those of the book, such as "gan", have the path "".

    A reader's own is "NAME=PATH".
    """
    return dict(source.partition("=")[::2] for source in sources)


def _each_once(values: Sequence[Any]) -> Sequence[Any]:
    if len(set(values)) < len(values):
        raise ValueError("names something twice")
    return values


Unique = Annotated[
    list[Member], AfterValidator(_each_once), Field(json_schema_extra={"uniqueItems": True})
]
Some = Annotated[Unique[Member], Field(min_length=1)]
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
TrainingPrecision = Literal["auto", "float32", "bfloat16"]  # auto: what is fast there
Schedule = Literal["constant", "cosine"]  # of the learning rate
Augmentations = Annotated[
    str,
    AfterValidator(_augmentations),
    Field(json_schema_extra={"words": f"some of {', '.join(AUGMENTATIONS)}, or ''"}),
]
FormName = Literal["name", "parent", "definition", "scene", "photo"]  # of prompts
# Primitives-PS
Variant = Literal["PinkNoise", "Primitives", "Primitives-S", "Primitives-PS"]
SizePolicy = Literal["Decay", "Rand", "Fix(1/10)", "Fix(1/5)", "Fix(1/2)"]
Quirk = Literal[
    "grey_background", "falling_lines", "fixed_canvas", "pixel_frequencies", "worker_streams"
]
Shapes = Annotated[int, Field(ge=0, le=1000)]
Exponent = Annotated[float, Field(ge=0, le=10)]


@dataclass_transform(frozen_default=True)
def settings(cls: Class) -> Class:
    """Make a frozen dataclass of ``cls`` whose fields are checked by their annotated types.

    Types are strict, but for whole numbers given as numbers. A value that is not allowed raises
    InputError when one is made (also by ``dataclasses.replace``): the first fault is told whole,
    the others by their names. What fields must be to each other is for ``__post_init__``.
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
        place, *inside = fault["loc"] or [""]  # no place: of __post_init__
        name = dict(enumerate(names)).get(place, str(place))
        errors.setdefault(name, []).append({**fault, "loc": inside})
    schemas, told = schema_of(cls)["properties"], {}
    for name, found in errors.items():
        if name in schemas and name in given:
            told[name] = fault_text(name, given[name], schemas[name], found)
        elif name in schemas:
            told[name] = f"{cls.__name__} needs {name}; give {describe(schemas[name])}"
        else:
            unknown = f"{cls.__name__} has no setting '{name}'{did_you_mean(name, names)}"
            told[name] = str(found[0].get("ctx", {}).get("error", unknown))
    return all_faults(told)


def from_texts(
    cls: type, texts: Iterable[str], parameter: str, own: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the fields of a class of `settings` that texts such as "channels: 32" give, typed.

    "channels=32" is the same; in a notebook's cell papermill passes over a line with a second "=".
    Several numbers stand in brackets, "local_scale: (0.05, 0.4)".
    ``parameter`` is where the texts come from; fields in ``own`` have a parameter of their own.

    Raises:
        InputError: for an entry of another form, an unknown field, or a value that it cannot have.
    """
    kinds = get_type_hints(cls, include_extras=True)
    names = [field.name for field in fields(cls) if field.name not in own]
    found: dict[str, Any] = {}
    for text in texts:
        name, *values = (part.strip() for part in re.split("[:=]", text, maxsplit=1))
        said = f"{parameter} holds '{text}'"
        if not values:
            raise InputError(f"{said}; write NAME=VALUE, with one of {', '.join(names)}")
        (value,) = values
        if name not in names:
            hint = f"{name} is a parameter of its own" if name in own else "there is none such"
            near = did_you_mean(name, names)
            raise InputError(f"{said}, and {hint}{near}; there are {', '.join(names)}")
        several, kind = re.fullmatch(r"[\[(](.*)[\])]", value), TypeAdapter(kinds[name])
        try:
            found[name] = (
                kind.validate_json(f"[{several[1]}]") if several else kind.validate_strings(value)
            )
        except ValidationError as error:
            errors = error.errors(include_url=False)
            sentence = fault_text(name, value, schema_of(kinds[name]), errors)
            raise InputError(f"{parameter}: {sentence}") from None
    return found


def all_faults(told: Mapping[str, str]) -> str:
    """Return the first of several faults (name -> sentence) whole, and the names of the others."""
    first, *others = told
    return told[first] + (f" (also wrong: {', '.join(others)})" if others else "")


def shown(value: Any) -> str:
    """Return a value as it is written, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of so many digits
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def fault_text(
    name: str, value: Any, schema: Schema, errors: Sequence[Mapping[str, Any]], usage: str = ""
) -> str:
    """Return in a sentence what is wrong with a value: name, value and remedy.

    ``schema`` is of the type that it should have, ``errors`` are pydantic's of this value alone,
    and ``usage`` follows the remedy: ", for example -p seeds 5".
    """
    said, types = f"{name} = {shown(value)}", {error["type"] for error in errors}
    cause, member = errors[0].get("ctx", {}).get("error"), errors[0]["input"]
    remedy = f"; give {describe(schema)}{usage}"
    if isinstance(cause, InputError):
        return f"{said}: {cause}"
    if cause:
        return f"{name} = {shown(member)} {cause}{remedy}"
    if "finite_number" in types:
        return f"{said} is not finite{remedy}"
    if types & {"missing", "too_long"} or any(kind.endswith("_type") for kind in types):
        word = "one" if noun(schema)[0].isalpha() else ""  # not "one" of 2 numbers
        return f"{said} is not {noun(schema)}; give {describe(schema, word)}{usage}"
    if "too_short" in types:
        return f"{said} is empty{remedy}"
    holds = (
        f" holds {shown(member)}, which"
        if any(isinstance(p, int) for p in errors[0]["loc"])
        else ""
    )
    hint = did_you_mean(str(member), choices(schema)) if "literal_error" in types else ""
    return f"{said}{holds} is not allowed{remedy}{hint}"


def schema_of(kind: Any) -> Schema:
    """Return the JSON schema of an annotated type: range, help, examples; a schema as it is."""
    return kind if isinstance(kind, dict) else TypeAdapter(kind).json_schema()


def _members(schema: Schema) -> list[Schema]:
    """Return the alternatives of a value, or of a list's members."""
    member = schema.get("items") or schema.get("prefixItems", [schema])[0]
    return member.get("anyOf", [member])


def choices(kind: Any) -> list[str]:
    """Return the known values of a type, or of a list's members, as shown; [] if any are."""
    members = _members(schema_of(kind))
    if not any(member.keys() & {"enum", "const"} for member in members):
        return []
    known = (m.get("enum") or [m["const"] if "const" in m else m["words"]] for m in members)
    return [str(choice) for some in known for choice in some]


def noun(kind: Any) -> str:
    """Return a type in words without its range: "a whole number", "a list of texts"."""
    schema = schema_of(kind)
    name = NOUNS[_members(schema)[0]["type"]]
    plural = f"{name.removeprefix('a ')}s"
    if "prefixItems" in schema:
        return f"{len(schema['prefixItems'])} {plural}"
    return f"a list of {plural}" if "items" in schema else name


def describe(kind: Any, word: str = "") -> str:
    """Return the values that a type allows in words: "a whole number from 1 to 1000".

    ``word`` is in place of the type's noun, where the sentence has named it already.
    """
    schema = schema_of(kind)
    if "words" in schema:
        return schema["words"]
    each = ", each once" if "uniqueItems" in schema else ""
    if known := choices(schema):
        return f"{'some' if 'items' in schema else 'one'} of {', '.join(known)}{each}"
    ranges = filter(None, map(_range, _members(schema)))
    return f"{word or noun(schema)} {' or '.join(ranges)}".rstrip() + each


def _range(limits: Schema) -> str:
    if "pattern" in limits:
        return "that is not empty"
    above, below = (_number(limits.get(f"exclusive{end}")) for end in ("Minimum", "Maximum"))
    least, most = (_number(limits.get(end)) for end in ("minimum", "maximum"))
    multiple = f", a multiple of {limits['multipleOf']}" if "multipleOf" in limits else ""
    if least and most and not (above or below):
        return (f"from {least} to {most}" if least != most else least) + multiple
    low = f"above {above}" if above else least and f"of {least} or more"
    high = f"below {below}" if below else most and f"up to {most}"
    return " and ".join(filter(None, (low, high))) + multiple


def _number(end: float | None) -> str:
    if end is None:
        return ""
    return f"{end:,.0f}".replace(",", " ") if end >= 10_000 else f"{end:g}"
