"""The words of classes, from WordNet 3.0: lemmas, parents, definitions, and how many senses.

The tables in ``words/`` are made by ``workflow/words.py``, which says how the sense of each name
was chosen. The licence of WordNet lies beside them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from synthbook.data.bundled import CLASSES, FINE, IN_FULL, OTHERS
from synthbook.errors import InputError, check_choice, did_you_mean

FOLDER = Path(__file__).parent / "words"
JOIN = ", "  # between the lemmas of a cell, and in prompts; no lemma has a comma
COLUMNS = {
    "synsets": ("synset", "lemmas", "senses", "parents", "definition"),
    "classes": ("set", "name", "synset", "lemmas", "parents", "definition", "group"),
    "senses": ("word", "synset", "lemmas", "parents", "definition"),
}


@dataclass(frozen=True)
class ClassWords:
    """What a prompt may say of a class: c, h_c and d_c of Sariyildiz et al. (2023), section 4.

    ``name`` is the class's in its data set (ImageNet's are WordNet ids), ``lemmas`` are c,
    ``parents`` the lemmas of all parents, h_c, and ``definition`` is d_c; a reader's own classes
    may lack the latter two. ``synset`` is WordNet's id, "n02086910", or "" where the words are our
    own or the reader's. ``group`` is the name of the coarser class, "" where there is none.
    """

    name: str
    lemmas: tuple[str, ...]
    parents: tuple[str, ...] = ()
    definition: str = ""
    synset: str = ""
    group: str = ""


# Subsets of Caltech-101; that as it was published has two folders of the same faces.
_CALTECH = {
    "caltech10_fine": FINE,
    "caltech3": IN_FULL,
    "caltech97": OTHERS,
    "caltech101_original": tuple(sorted((*CLASSES, "Faces"))),
}
SETS = (
    "imagenet", "imagenet100", "caltech101", "caltech10", *_CALTECH, "cifar10", "cifar100",
    "cifar100_coarse",
)  # fmt: skip


@cache
def _table(name: str) -> tuple[Mapping[str, str], ...]:
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return tuple(csv.DictReader(stream))


def split(cell: str) -> tuple[str, ...]:
    """Return the words of a cell that `JOIN` joins; () of an empty one."""
    return tuple(cell.split(JOIN)) if cell else ()


@cache
def _synsets() -> dict[str, ClassWords]:
    return {
        row["synset"]: ClassWords(
            row["synset"],
            split(row["lemmas"]),
            split(row["parents"]),
            row["definition"],
            row["synset"],
        )
        for row in _table("synsets")
    }


def of_synset(synset: str) -> ClassWords:
    """Return the words of a synset of WordNet 3.0, by its id, "n02086910".

    Raises:
        InputError: unless it is one of the table, which has those of `SETS`.
    """
    if synset not in _synsets():
        raise InputError(
            f"synset '{synset}' is not in the table of {len(_synsets()):,}, which has the classes "
            f"of ImageNet, Caltech-101 and CIFAR{did_you_mean(synset, _synsets())}; else write its "
            "words out: name, definition, parent"
        )
    return _synsets()[synset]


def synsets_of(word: str) -> tuple[ClassWords, ...]:
    """Return the synsets of the table that have a word among their lemmas, in any capitals."""
    word = word.replace("_", " ").lower()
    return tuple(s for s in _synsets().values() if word in map(str.lower, s.lemmas))


@cache
def class_words(of: str) -> tuple[ClassWords, ...]:
    """Return the words of the classes of a set of `SETS`, in the order of its labels.

    Of "imagenet100" that is the order of the published list, and of "cifar10" and "cifar100" of
    the official files. "general" are words that captions have besides (`captions`).
    """
    if of in _CALTECH:
        found = {words.name: words for words in class_words("caltech101")}
        found["Faces"] = replace(found["Faces_easy"], name="Faces")
        return tuple(found[name] for name in _CALTECH[of])
    if of != "general":
        check_choice("set of classes", of, SETS)
    return tuple(_class(row) for row in _table("classes") if row["set"] == of)


def _class(row: Mapping[str, str]) -> ClassWords:
    base = _synsets().get(row["synset"]) or ClassWords(row["name"], ())
    return ClassWords(
        row["name"],
        split(row["lemmas"]) or base.lemmas,
        split(row["parents"]) or base.parents,
        row["definition"] or base.definition,
        row["synset"],
        row["group"],
    )


@dataclass(frozen=True)
class Polysemy:
    """The noun senses of a class's first lemma in WordNet, and which of them a prompt leaves open.

    ``count`` is how many there are. ``others`` are those that are not the class, in WordNet's
    order, and None where the table has their number alone (as of most of ImageNet's 1,000).
    ``with_c`` are the others that have every lemma of c, so that the prompt c fits them too, and
    ``with_parent`` those of them that share a parent's lemma, so that "c, h_c" does.
    """

    word: str
    count: int
    others: tuple[ClassWords, ...] | None
    with_c: tuple[ClassWords, ...] | None
    with_parent: tuple[ClassWords, ...] | None


@cache
def _senses() -> dict[str, tuple[ClassWords, ...]]:
    found: dict[str, tuple[ClassWords, ...]] = {}
    for row in _table("senses"):
        sense = ClassWords(
            row["word"],
            split(row["lemmas"]),
            split(row["parents"]),
            row["definition"],
            row["synset"],
        )
        found[sense.name] = (*found.get(sense.name, ()), sense)
    return found


@cache
def _counts() -> dict[str, int]:
    """Return how many noun senses each lemma has, by the lemma in small letters."""
    counts = {word: len(senses) for word, senses in _senses().items()}
    for row in _table("synsets"):
        for lemma, count in zip(split(row["lemmas"]), row["senses"].split(), strict=True):
            counts[lemma.lower()] = int(count)
    return counts


def sense_count(word: str) -> int:
    """Return how many noun senses a word has in WordNet 3.0.

    Raises:
        InputError: unless it is a lemma of a synset of the table.
    """
    word = word.replace("_", " ")
    if word.lower() not in _counts():
        raise InputError(
            f"'{word}' is no lemma of the table, which has the classes of ImageNet, Caltech-101 "
            f"and CIFAR{did_you_mean(word.lower(), _counts())}"
        )
    return _counts()[word.lower()]


def senses(word: str) -> tuple[ClassWords, ...]:
    """Return the senses of a word, in WordNet's order, each with lemmas, parents and definition.

    Raises:
        InputError: where the table has their number alone, or not even that.
    """
    count, word = sense_count(word), word.replace("_", " ").lower()
    if word in _senses():
        return _senses()[word]
    if count == 1:
        return synsets_of(word)
    raise InputError(
        f"the table has the number of senses of '{word}', {count}, and not the senses; it has those"
        " of the names of ImageNet-100, Caltech-101 and CIFAR"
    )


def polysemy(words: ClassWords) -> Polysemy:
    """Return what else the first lemma of a class may mean, and what of it c and h_c resolve.

    A word that WordNet has not counts no sense. The count is WordNet's, which knows neither that
    "papillon" is French for butterfly nor what a word means on the web.
    """
    word, own = words.lemmas[0], {lemma.lower() for lemma in words.lemmas}
    count = _counts().get(word.lower(), 0)
    if count > 1 and word.lower() not in _senses():
        return Polysemy(word, count, None, None, None)
    found = senses(word) if count else ()
    others = tuple(sense for sense in found if sense.synset != words.synset)
    with_c = tuple(sense for sense in others if own <= {lemma.lower() for lemma in sense.lemmas})
    parents = set(words.parents)
    return Polysemy(
        word, count, others, with_c, tuple(s for s in with_c if parents & set(s.parents))
    )


def named(classes: Sequence[str], of: str) -> tuple[ClassWords, ...]:
    """Return the words of some classes of a set, in the order of ``classes``."""
    known = {words.name: words for words in class_words(of)}
    for name in classes:
        check_choice(f"class of {of}", name, known)
    return tuple(known[name] for name in classes)
