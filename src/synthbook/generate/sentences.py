"""Sentences that have a class in them, to ask for images by: language enhancement, LE.

He et al. (2023), "Is synthetic data from generative models ready for image recognition?", section
3.1: a word-to-sentence T5, finetuned on CommonGen, makes 200 sentences of each class's name
(`word_to_sentence`). Here they are seeded, distinct and checked to have the name in them; the
public code draws 250 unseeded, keeps 200 different ones, and checks nothing.

`Grammar` writes sentences without any model: what the miniature has in place of the T5. Half of
them speak in the words of `captions` alone, from which the book's text-to-image model has learned;
the others may say what it never read (`unknown_words`).

The file of sentences is a CSV of two columns, class and sentence, made to be looked at and edited.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from synthbook.errors import InputError, did_you_mean
from synthbook.generate.captions import (
    GROUNDS,
    NO_ARTICLE,
    _pick,
    article,
    vocabulary,
    web_scenes,
)
from synthbook.generate.prompts import scenes_of
from synthbook.generate.word_to_sentence import WordToSentence
from synthbook.generate.wordnet import ClassWords
from synthbook.locks import alone
from synthbook.machine import telling
from synthbook.randomness import numpy_generator
from synthbook.store import atomic_write, cached

COUNT = 200  # sentences a class, as in the paper
MOST = 20  # times as many are drawn before a class is given up
GRAMMAR = "grammar"  # the name of what needs no model
HEADER = ["class", "sentence"]
TOLD = 12  # names that a warning holds at most
KEEP_EVERY = 20  # classes, after which a file of many is written
Draw = Callable[[str, int, int], list[str]]  # (name, seed, round) -> some sentences
Sentences = dict[str, tuple[str, ...]]  # name of a class -> its sentences


def called(words: ClassWords) -> str:
    """Return what sentences call a class: its first lemma ("airplane" for "airplanes")."""
    return words.lemmas[0]


def has_name(sentence: str, name: str) -> bool:
    """Return whether a sentence has a name as words of its own, in any capitals, or its plural."""
    words = r"[\s-]+".join(map(re.escape, name.split()))
    return re.search(rf"(?<!\w){words}(e?s)?(?!\w)", sentence, re.IGNORECASE) is not None


def unknown_words(sentence: str, name: str = "") -> tuple[str, ...]:
    """Return which words of a sentence no caption of the miniature's web has, but for the name."""
    if name:
        sentence = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", " ", sentence, flags=re.IGNORECASE)
    words = re.findall(r"\w+(?:['-]\w+)*", sentence.lower())
    return tuple(word for word in dict.fromkeys(words) if word not in _known_words())


def unread_names(words: Sequence[ClassWords]) -> str:
    """Return names of classes that no caption of the miniature's web has, in a list, or ""."""
    names = [name for name in dict.fromkeys(map(called, words)) if unknown_words(name)]
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return f"{', '.join(names[:TOLD])}{more}"


@cache
def _known_words() -> frozenset[str]:
    return frozenset(vocabulary())


# Without a model

FRAMES = (
    "{x}", "{x}", "{x}", "here is {x}", "look, {x}", "this is {x}", "a photo of {x}",
    "a photograph of {x}", "a picture of {x}", "a snapshot of {x}", "a view of {x}",
)  # fmt: skip
SIZES = ("small", "large", "big", "little", "tiny", "huge", "giant")
COMPANY = (
    "a man", "a woman", "a girl", "a boy", "two people", "a tree", "a house", "a lamp", "a table",
    "a dog", "another one", "a crowd", "three children", "a red umbrella", "an old wall", "a kite",
)  # fmt: skip
VIEWS = (
    "in the middle of the picture", "from the side", "from the front", "from the back",
    "from near", "seen from above", "seen from far away", "from behind", "half hidden",
    "at the left edge", "turned upside down",
)  # fmt: skip
LIGHTS = (
    "in the light", "in the dark", "by day", "in the light of a lamp", "in white light",
    "at night", "at dusk", "in the morning sun", "in thick fog", "in falling snow", "under neon",
)  # fmt: skip
# How often a sentence says each; the order is that in which they are said.
SAYS = {"size": 0.35, "company": 0.3, "place": 0.85, "view": 0.3, "light": 0.3}
ROUND = 50  # sentences a round of the grammar


@cache
def _contexts(known: bool) -> dict[str, tuple[str, ...]]:
    """Return kind of context -> what may be said of it: all, or what captions have words for.

    Scenes and grounds of captions are known as they stand there; other scenes of Places are not.
    """
    places = [*(f"{how} {scene}" for scene in web_scenes() for how in ("inside", "near"))]
    places += [f"on {ground} ground" for ground in GROUNDS] * 8
    found = {"size": SIZES, "company": COMPANY, "view": VIEWS, "light": LIGHTS}
    if known:
        found = {k: tuple(t for t in texts if not unknown_words(t)) for k, texts in found.items()}
    else:
        others = [scene for scene in scenes_of() if scene not in web_scenes()]
        places += [f"{how} {scene}" for scene in others for how in ("inside", "near")]
    return {**found, "place": tuple(places)}


def grammar(name: str, seed: int, number: int) -> list[str]:
    """Return round ``number`` of sentences that the grammar has for a name; many, some alike.

    Each names the class and says one thing or more of size, company, place, view and light, each
    drawn on its own; half of them in known words alone. Company may be of another class that is
    asked for, as in a T5's sentences: not all that is to be seen then is of the class.
    """
    rng = numpy_generator(seed, "grammar", name, number)
    return [_sentence(name, rng) for _ in range(ROUND)]


def _sentence(name: str, rng: np.random.Generator) -> str:
    contexts = _contexts(bool(rng.random() < 0.5))
    says = {kind: rng.random() < share for kind, share in SAYS.items()}
    if not any(says.values()):
        says["place"] = True
    said = {kind: _pick(contexts[kind], rng) if says[kind] else "" for kind in SAYS}
    while said["company"].endswith(f" {name}"):  # a dog with a dog
        said["company"] = _pick(contexts["company"], rng)
    noun = f"{said['size']} {name}".strip()
    x = noun if name in NO_ARTICLE else article(noun)
    x += f" with {said['company']}" if said["company"] else ""
    x += f" {said['place']}" if said["place"] else ""
    after = "".join(f", {said[kind]}" for kind in ("view", "light") if said[kind])
    return _pick(FRAMES, rng).format(x=x) + after


# All classes


def written(name: str, draw: Draw, *, count: int = COUNT, seed: int = 0) -> tuple[str, ...]:
    """Return ``count`` different sentences with a name in them; fewer are the first of more.

    Sentences that lack the name, and those that were there (capitals make no other one), are drawn
    again, up to `MOST` times ``count`` in all.

    Raises:
        InputError: if so many are not enough.
    """
    if count < 1:
        raise InputError(f"count is {count}; give 1 sentence a class or more")
    found: dict[str, str] = {}
    drawn = missed = number = 0
    while drawn < max(MOST * count, 1000) and len(found) < count:
        some = draw(name, seed, number)
        drawn, number = drawn + len(some), number + 1
        for sentence in some:
            if has_name(sentence, name):
                found.setdefault(sentence.lower(), sentence)
            else:
                missed += 1
    if len(found) < count:
        raise InputError(
            f"class '{name}': of {drawn:,} sentences {missed:,} lack the name and "
            f"{drawn - missed - len(found):,} were there before, so that {len(found)} of {count} "
            "are found; ask for fewer with count, raise top_k or temperature, take another model, "
            "or write them into a file of sentences"
        )
    return tuple(found.values())[:count]


def sentences_of(
    classes: Sequence[ClassWords],
    source: str | Path | Draw = GRAMMAR,
    *,
    count: int = COUNT,
    seed: int = 0,
    file: str | Path | None = None,
    **options: Any,
) -> Sentences:
    """Return the sentences of classes, by the class's name in its set.

    Args:
        classes: their words.
        source: "grammar", or the model of a `WordToSentence`, whose ``options`` follow, or one.
        count: sentences a class.
        seed: theirs, with the class's name: so they do not depend on other classes.
        file: where they are kept, to be looked at and edited. Classes that it has are taken from
            it as they stand there, however many; others are drawn and written beside them. Without
            a file, those of a model are kept in the cache.

    Raises:
        InputError: if too few can be found for a class, or a file has what is none.
    """
    if file is not None:
        return _in_file(classes, partial(_drawer, source, options), count, seed, Path(file))
    draw = _drawer(source, options)
    if not isinstance(draw, WordToSentence):
        return dict(_drawn(draw, classes, count, seed))
    key = {"by": draw.identity, "classes": list(classes), "count": count, "seed": seed}
    build = partial(_build, draw, classes, count, seed)
    return read(cached("sentences", key, build, draw.device) / "sentences.csv", classes)


def _drawer(source: str | Path | Draw, options: Mapping[str, Any]) -> Draw:
    if source == GRAMMAR or callable(source):
        if options:
            raise InputError(f"{', '.join(options)} is of models by their name; leave it out")
        return grammar if source == GRAMMAR else source
    return WordToSentence(source, **options)


def _build(draw: Draw, classes: Sequence[ClassWords], count: int, seed: int, folder: Path) -> None:
    _added(folder / "sentences.csv", classes, lambda: draw, count, seed)


def _drawn(
    draw: Draw, classes: Sequence[ClassWords], count: int, seed: int
) -> Iterator[tuple[str, tuple[str, ...]]]:
    tell = telling("writing sentences of classes", len(classes))
    for k, words in enumerate(classes):
        tell(k)
        yield words.name, written(called(words), draw, count=count, seed=seed)


def _in_file(
    classes: Sequence[ClassWords], drawer: Callable[[], Draw], count: int, seed: int, file: Path
) -> Sentences:
    """Return the sentences that a file has, after adding those that it lacks."""
    file = file.expanduser()
    with alone(file.with_name(f".{file.name}.lock"), "writing sentences"):
        there = _added(file, classes, drawer, count, seed)
    return _checked(there, classes, file)


def _added(
    file: Path, classes: Sequence[ClassWords], drawer: Callable[[], Draw], count: int, seed: int
) -> Sentences:
    """Add the sentences that a file lacks, however far one comes; return all that it has."""
    there = _rows(file) if file.exists() else {}
    left = [words for words in classes if words.name not in there]
    if not left:
        return there
    draw = drawer()
    try:
        for k, (name, texts) in enumerate(_drawn(draw, left, count, seed), 1):
            there[name] = texts
            if k % KEEP_EVERY == 0:
                write(file, there)
    finally:
        if there:
            write(file, there)
    return there


# Files


def write(file: Path, sentences: Mapping[str, Iterable[str]]) -> None:
    """Write sentences as a CSV file, which appears whole."""
    with atomic_write(file) as stream:
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow(HEADER)
        lines.writerows((name, text) for name, texts in sentences.items() for text in texts)


def read(file: str | Path, classes: Sequence[ClassWords]) -> Sentences:
    """Return the sentences of classes from a file; what it has of other classes is left out.

    Raises:
        InputError: if it cannot be read, has none of a class, one twice, or one without its class.
    """
    file = Path(file).expanduser()
    return _checked(_rows(file), classes, file)


def _rows(file: Path) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            if [cell.strip().lower() for cell in next(reader, [])] != HEADER:
                raise InputError(
                    f"{file} is no file of sentences; its first line is class,sentence"
                )
            for cells in reader:
                cells = [" ".join(cell.split()) for cell in cells]
                if not any(cells):
                    continue
                if len(cells) != 2 or not all(cells):
                    raise InputError(
                        f"{file}, line {reader.line_num}: '{','.join(cells)[:80]}' is no class and "
                        "sentence; put a sentence that has commas in quotation marks"
                    )
                found.setdefault(cells[0], []).append(cells[1])
    except OSError as error:
        raise InputError(f"sentences {file} cannot be read ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(
            f"sentences {file} cannot be read ({error}); save it as CSV in UTF-8"
        ) from (error)
    return {name: tuple(texts) for name, texts in found.items()}


def _checked(
    there: Mapping[str, tuple[str, ...]], classes: Sequence[ClassWords], file: Path
) -> Sentences:
    for words in classes:
        if words.name not in there:
            raise InputError(
                f"{file} has no sentence of class '{words.name}'"
                f"{did_you_mean(words.name, there)}; add some, or take another file"
            )
        texts, names = there[words.name], (*words.lemmas, words.name.replace("_", " "))
        low = [text.lower() for text in texts]
        for text in texts:
            if not any(has_name(text, name) for name in names):
                raise InputError(
                    f"{file}: the sentence '{text[:120]}' does not have the name of its class, "
                    f"'{called(words)}'; write it in, or delete the line"
                )
            if low.count(text.lower()) > 1:
                raise InputError(
                    f"{file} has the sentence '{text[:120]}' of class '{words.name}' twice; "
                    "delete one"
                )
    return {words.name: there[words.name] for words in classes}
