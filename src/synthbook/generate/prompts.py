"""What a text-to-image model is asked for: prompts of classes, by form, scene and seed.

Sariyildiz et al. (2023), "Fake it till you make it", section 4: a class-agnostic form makes the
prompts p_c of all classes.
"""

from __future__ import annotations

import csv
import io
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import get_args

import numpy as np

from synthbook.errors import InputError, did_you_mean
from synthbook.generate.wordnet import (
    FOLDER,
    JOIN,
    SETS,
    ClassWords,
    class_words,
    of_synset,
    synsets_of,
)
from synthbook.randomness import numpy_generator
from synthbook.settings import FormName

HEADER = ("name", "definition", "parent")
LINE = "a line is: name[, definition[, parent]], with quotation marks around what has commas"
_COUNTED = re.compile(r"(.+):(\d+)")


@dataclass(frozen=True)
class Form:
    """A form of prompts: ``template`` has {c}, and {h}, {d} or {b} where it needs them.

    ``paper`` is how the paper writes it, ``help`` what it is for.
    """

    name: FormName
    paper: str
    template: str
    help: str

    @property
    def needs(self) -> frozenset[str]:
        """Which of c, h (parents), d (definition) and b (scene) it has."""
        return frozenset(field for _, field, _, _ in string.Formatter().parse(self.template))

    @property
    def words(self) -> str:
        """What it is made of, in words: "name, definition"."""
        return self.template.format(c="name", h="parent", d="definition", b="scene")


# Section 4.1 (the first and the last), 4.2 and 4.3. The last was tried there, and was worse.
FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form("name", "c", "{c}", "the lemmas of the class, separated by commas"),
        Form("parent", "c, h_c", "{c}, {h}", "and those of its parents, for one meaning of many"),
        Form("definition", "c, d_c", "{c}, {d}", "and the definition, for one meaning of many"),
        Form("scene", "c, h_c inside b", "{c}, {h} inside {b}", "in scenes of Places, for variety"),
        Form("photo", "a photo of a c", "a photo of a {c}", "the template of zero-shot CLIP"),
    )
}
assert tuple(FORMS) == get_args(FormName)


def form_of(name: str) -> Form:
    """Return the form called ``name``, "parent", or as the paper writes it, "c, h_c".

    Raises:
        InputError: with the nearest name, if there is none.
    """
    by_name = {**FORMS, **{form.paper: form for form in FORMS.values()}}
    if name not in by_name:
        known = "; ".join(f"{form.name} ({form.paper})" for form in FORMS.values())
        raise InputError(
            f"form of prompts '{name}' is not known{did_you_mean(name, by_name)}; choose one of "
            f"{known}"
        )
    return by_name[name]


# Scenes


@cache
def _places() -> tuple[str, ...]:
    return tuple((FOLDER / "scenes.txt").read_text(encoding="utf-8").splitlines())


def scenes_of(source: str | Sequence[str] = "places365") -> tuple[str, ...]:
    """Return scenes as the words of a prompt: all 365 of Places, some by name, or those of a file.

    Places' names are told as they are, without their letter: "/b/bakery/shop" is "bakery shop".
    A list may give them in either way. A file has a scene a line, whatever it is.

    Raises:
        InputError: for an unknown scene, for one given twice, for none, and for a file that cannot
            be read.
    """
    if source == "places365":
        return _places()
    if isinstance(source, str):
        if not _is_file(source):
            raise InputError(f"scenes '{source}' are neither 'places365' nor a file of scenes")
        lines = (" ".join(line.split()) for line in _lines(Path(source).expanduser(), "scenes"))
        scenes = [line for line in lines if line]
    else:
        scenes = [_plain_scene(name) for name in source]
        for scene in scenes:
            if scene not in _places():
                raise InputError(
                    f"scene '{scene}' is none of the {len(_places())} of Places"
                    f"{did_you_mean(scene, _places())}; for others give a file of them, one a line"
                )
    if not scenes:
        raise InputError(f"there are no scenes in {source or 'an empty list'}; give one at least")
    if len(set(scenes)) < len(scenes):
        twice = next(scene for scene in scenes if scenes.count(scene) > 1)
        raise InputError(f"scene '{twice}' is given twice; give each once")
    return tuple(scenes)


def _plain_scene(name: str) -> str:
    return " ".join(re.sub(r"^/[a-z]/", "", name).replace("/", " ").replace("_", " ").split())


# Prompts


@lru_cache(maxsize=2_000)
def _scene_order(name: str, count: int, seed: int) -> np.ndarray:
    return numpy_generator(seed, "scenes", name).permutation(count)


def prompt(
    words: ClassWords,
    form: str,
    index: int = 0,
    *,
    seed: int = 0,
    scenes: Sequence[str] | None = None,
) -> str:
    """Return the prompt of image ``index`` of a class: p_c of section 4.

    Only forms with a scene differ by ``index``: a class goes through all ``scenes`` (those of
    Places) in an order drawn from ``seed`` and its name, and then through the same order again, so
    that of n images each scene has n / 365 or one more. The paper does not say how its images are
    shared out. c and h_c are all lemmas, and all of all parents, separated by commas.

    Raises:
        InputError: if the form needs a parent or a definition that the class lacks.
    """
    chosen = form_of(form)
    fields = {"c": JOIN.join(words.lemmas), "h": JOIN.join(words.parents), "d": words.definition}
    for need, what in (("h", "parent"), ("d", "definition")):
        if need in chosen.needs and not fields[need]:
            raise InputError(
                f"class '{words.name}' has no {what}, which the form '{chosen.name}' "
                f"({chosen.paper}) needs; add it to the list of classes ({LINE}), "
                f"{_synset_hint(words)}or choose another form"
            )
    if "b" in chosen.needs:
        places = _places() if scenes is None else scenes
        order = _scene_order(words.name, len(places), seed)
        fields["b"] = places[order[index % len(places)]]
    return chosen.template.format(**fields)


def _synset_hint(words: ClassWords) -> str:
    """Return what of WordNet the class may be, as half a sentence."""
    found = [f"{s.synset} ({s.definition[:40]})" for s in synsets_of(words.lemmas[0])]
    return f"or give a synset for its name, such as {' or '.join(found)}, " if found else ""


def check_form(classes: Sequence[ClassWords], form: str) -> None:
    """Raise InputError unless the form is known and every class has what it needs."""
    for words in classes:
        prompt(words, form)


# A reader's own classes


def classes_of(source: str) -> tuple[ClassWords, ...]:
    """Return the classes of a set by name (`SETS`), or of a reader's file (`read_classes`)."""
    if source in SETS:
        return class_words(source)
    if _is_file(source):
        return read_classes(source)
    raise InputError(
        f"classes '{source}' are neither a set that is known ({', '.join(SETS)}) nor a file"
        f"{did_you_mean(source, SETS)}"
    )


def label_space(text: str, seed: int = 0) -> tuple[ClassWords, ...]:
    """Return the words of classes that parts joined by "+" name, each SOURCE or SOURCE:COUNT.

    A source is one of `classes_of`. With a count so many of its classes are drawn by ``seed``, in
    their old order, and fewer are part of more. Parts do not overlap: a class whose first lemma
    is that of one in an earlier part is left out.

    Raises:
        InputError: as `classes_of`, or if a part has fewer classes than are asked for.
    """
    found: list[ClassWords] = []
    for part in text.split("+"):
        source, count = match.groups() if (match := _COUNTED.fullmatch(part)) else (part, None)
        there = {words.lemmas[0].lower() for words in found}
        new = [w for w in classes_of(source.strip()) if w.lemmas[0].lower() not in there]
        if count is not None:
            if not 0 < int(count) <= len(new):
                raise InputError(
                    f"'{part}' asks for {count} classes, and '{source}' has {len(new)} that are "
                    f"not there yet; give 1 to {len(new)}"
                )
            drawn = numpy_generator(seed, "label space", source).permutation(len(new))
            new = [new[k] for k in np.sort(drawn[: int(count)])]
        found += new
    return tuple(found)


def read_classes(path: str | Path) -> tuple[ClassWords, ...]:
    """Return the classes of a text or CSV file, in its order.

    A line is ``name[, definition[, parent]]``; what has commas stands in quotation marks, as in
    ``"papillon, butterfly dog", a small spaniel with large ears, toy spaniel``. A name may so have
    several lemmas; a parent too. A name that is a synset of `of_synset`, such as n02086910, takes
    from there what the line does not say. Empty lines, lines that begin with #, and a first line
    with the words name, definition and parent are left out.

    Raises:
        InputError: for a file that cannot be read or has no class, for an unknown synset, a name
            given twice (capitals and underscores make no other one), and a line that is none.
    """
    path = Path(path).expanduser()
    found: dict[str, ClassWords] = {}
    lines = [line for line in _lines(path, "classes") if not line.lstrip().startswith("#")]
    reader = csv.reader(io.StringIO("\n".join(lines)), skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            cells = [" ".join(cell.split()) for cell in cells]
            header = not found and tuple(map(str.lower, cells)) == HEADER[: len(cells)]
            if not any(cells) or header:
                continue
            words = _own_class(cells, path)
            key = words.name.casefold().replace("_", " ")
            if key in found:
                raise InputError(
                    f"{path} has class '{words.name}' twice"
                    + (f", once as '{found[key].name}'" if found[key].name != words.name else "")
                    + "; give each class once, and two meanings of a word a name each"
                )
            found[key] = words
    except csv.Error as error:
        raise InputError(f"{path}, near '{_near(lines, reader.line_num)}': {error}; {LINE}") from (
            error
        )
    if not found:
        raise InputError(f"{path} has no class; {LINE}")
    return tuple(found.values())


def _near(lines: Sequence[str], number: int) -> str:
    return lines[min(number, len(lines)) - 1].strip()[:60] if lines else ""


def _own_class(cells: Sequence[str], path: Path) -> ClassWords:
    name, lemmas = cells[0], _words(cells[0])
    if len(cells) > len(HEADER) or not lemmas:
        said = f"has {len(cells)} parts" if lemmas else "has no name"
        raise InputError(f"{path}: the line '{', '.join(cells)[:80]}' {said}; {LINE}")
    if re.search(r"[\x00-\x1f\x7f]", "".join(cells)):
        raise InputError(f"{path}: class {name!r} has signs that no text has; delete them")
    definition, parents = cells[1] if len(cells) > 1 else "", _words("".join(cells[2:]))
    if re.fullmatch(r"n\d{5,}", name):
        base = of_synset(name)
        return replace(
            base, parents=parents or base.parents, definition=definition or base.definition
        )
    return ClassWords(name.lstrip(" ,").partition(",")[0].strip(), lemmas, parents, definition)


def _words(cell: str) -> tuple[str, ...]:
    words = (word.replace("_", " ").strip() for word in cell.split(","))
    return tuple(dict.fromkeys(word for word in words if word))


def _is_file(source: str) -> bool:
    try:
        return Path(source).expanduser().is_file()
    except (OSError, ValueError):  # too long for a path, or with a zero in it
        return False


def _lines(path: Path, what: str) -> list[str]:
    """Return the lines of a text file, or raise InputError if it is none."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{what} {path} is no text in UTF-8 ({error}); save it as such") from error
