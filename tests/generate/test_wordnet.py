"""The words of classes: the tables, what the paper prints of them, and the script behind them."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from synthbook.data.bundled import CLASSES, KINDS
from synthbook.data.named import REGISTRY
from synthbook.errors import InputError
from synthbook.generate import wordnet
from synthbook.generate.wordnet import (
    COLUMNS,
    FOLDER,
    SETS,
    class_words,
    named,
    of_synset,
    polysemy,
    sense_count,
    senses,
)

INSTALLED = Path(os.environ.get("WNSEARCHDIR", "/usr/share/wordnet"))
CRANES = ("n02012849", "n03126707")  # the bird and the machine
# A WordNet of five synsets: id, lemmas, pointers, gloss.
SMALL = {
    "00000001": ("thing", "", "what there is"),
    "00000002": ("dog domestic_dog", "@ 00000001 n 0000", 'it barks; "the dog barks"; has a tail'),
    "00000003": ("dog hot_dog", "@ 00000001 n 0000", "a sausage in a roll"),
    "00000004": (
        "pup",
        "~ 00000003 n 0000 @ 00000002 n 0000 @i 00000001 n 0000",
        'a young dog: "a pup"- Anon',
    ),
    "00000005": ("cat", "@ 00000001 n 0000", 'called "puss" by some'),
}


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("workflow/words.py")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The folder of `SMALL`, in the format of wndb(5WN)."""
    data, index = ["  14 WordNet 3.0 Copyright 2006 by Princeton University."], ["  1 licence"]
    words: dict[str, list[str]] = {}
    for offset, (lemmas, pointers, gloss) in SMALL.items():
        lemma = [f"{word} 0" for word in lemmas.split()]
        count = len(pointers.split()) // 4
        head = f"{offset} 05 n {len(lemma):02x} {' '.join(lemma)} {count:03d} {pointers}"
        data.append(f"{' '.join(head.split())} | {gloss}  ")
        for word in lemmas.split():
            words.setdefault(word, []).append(offset)
    for word, ids in words.items():
        index.append(f"{word} n {len(ids)} 1 @ {len(ids)} 0 {' '.join(ids)}  ")
    (tmp_path / "data.noun").write_text("\n".join(data) + "\n")
    (tmp_path / "index.noun").write_text("\n".join(index) + "\n")
    return tmp_path


def test_the_sets_have_the_classes_of_their_data() -> None:
    for name in SETS:
        words = class_words(name)
        assert len({w.name for w in words}) == len(words)
        assert all(w.lemmas and w.parents and w.definition for w in words)
        if name in REGISTRY:
            assert len(words) == REGISTRY[name].num_classes
            if classes := REGISTRY[name].classes:
                assert tuple(w.name for w in words) == classes
    ids = [w.name for w in class_words("imagenet")]
    assert len(ids) == 1000
    assert ids == sorted(ids)  # as the labels of ImageNet go
    assert {w.name for w in class_words("imagenet100")} < set(ids)
    assert len(class_words("imagenet100")) == 100


def test_groups_are_the_coarser_classes() -> None:
    coarse = [w.name for w in class_words("cifar100_coarse")]
    fine = class_words("cifar100")
    assert [w.name for w in fine] == sorted(w.name for w in fine)  # as the official file has them
    assert all([w.group for w in fine].count(name) == 5 for name in coarse)
    for words in class_words("caltech101"):
        assert words.name in (KINDS[words.group] if words.group else CLASSES)


def test_what_the_paper_prints_of_wordnet() -> None:
    """Section 4.2 of the paper quotes these."""
    papillon, pirate = of_synset("n02086910"), of_synset("n03947888")
    assert papillon.parents == ("toy spaniel",)
    assert papillon.definition == (
        "small slender toy spaniel with erect ears and a black-spotted brown to white coat"
    )
    assert pirate.lemmas == ("pirate", "pirate ship")
    assert (pirate.parents, pirate.definition) == (("ship",), "a ship that is manned by pirates")


def test_the_same_name_in_two_sets_has_the_same_synset() -> None:
    """Chosen by hand, twice; a bridge between the web and the bundle."""
    cifar = {w.name: w.synset for w in class_words("cifar100")}
    both = {w.name: w.synset for w in class_words("caltech101") if w.name in cifar}
    assert len(both) > 10
    assert both == {name: cifar[name] for name in both}


def test_definitions_have_no_examples() -> None:
    for row in (*wordnet._table("synsets"), *wordnet._table("senses")):
        assert '"' not in row["definition"], row
        assert row["definition"] == row["definition"].strip(" ;:,") != "", row


def test_senses_of_a_word_hold_every_class_that_has_it() -> None:
    for name in SETS:
        if name != "imagenet":
            for words in class_words(name):
                found = polysemy(words)
                here = [s.synset for s in senses(found.word)] if found.count else []
                own = [words.synset] if words.synset and found.count else []
                assert set(own) <= set(here)
                assert len(here) == found.count
                assert found.others is not None
                assert len(found.others) == found.count - len(own)
                assert set(found.with_parent) <= set(found.with_c) <= set(found.others)


def test_what_parents_resolve() -> None:
    bird, machine = map(of_synset, CRANES)
    assert bird.lemmas == machine.lemmas == ("crane",)
    assert set(bird.parents).isdisjoint(machine.parents)
    found = polysemy(named(["crab"], "cifar100")[0])
    assert found.count == sense_count("crab") == 7
    assert len(found.with_c) == 6  # each is called crab
    assert found.with_parent == ()  # and none is a decapod
    dolphin = polysemy(named(["dolphin"], "caltech101")[0])
    assert [fish.lemmas[0] for fish in dolphin.others] == ["dolphinfish"]
    orange = polysemy(named(["orange"], "cifar100")[0])
    assert ["citrus tree" in s.parents for s in orange.with_parent] == [True]  # a citrus, too
    garfield = polysemy(named(["garfield"], "caltech101")[0])
    assert "President of the United States" in garfield.others[0].parents  # no cat in WordNet
    assert sense_count("papillon") == 1  # WordNet knows no French


def test_words_that_are_not_in_the_tables() -> None:
    with pytest.raises(InputError, match="did you mean 'n02086910'"):
        of_synset("n02086911")
    with pytest.raises(InputError, match="did you mean 'imagenet100'"):
        class_words("imagenet-100")
    with pytest.raises(InputError, match="did you mean 'crab'"):
        sense_count("craab")
    with pytest.raises(InputError, match=r"number of senses of 'jay', \d"):
        senses("jay")
    words = next(w for w in class_words("imagenet") if w.lemmas == ("jay",))
    assert polysemy(words).count > 1
    assert polysemy(words).others is None
    with pytest.raises(InputError, match="class of cifar10 'trunk' is not known"):
        named(["cat", "trunk"], "cifar10")


def test_the_script_reads_wordnets_format(script, small: Path) -> None:
    found = script.WordNet(small)
    assert found.senses("Hot dog") == ["n00000003"]
    assert (found.find("dog.1"), found.find("dog.2")) == ("n00000002", "n00000003")
    assert found.parents("n00000004") == "dog, domestic dog, thing"
    rows = {row["synset"]: row for row in script.synsets(found, found.synsets)}
    assert [row["definition"] for row in rows.values()] == [
        "what there is", "it barks; has a tail", "a sausage in a roll", "a young dog",
        'called "puss" by some',
    ]  # fmt: skip
    assert rows["n00000002"]["lemmas"] == "dog, domestic dog"
    assert rows["n00000002"]["senses"] == "2 1"
    own = [{"name": "dog", "lemmas": "", "synset": "n00000002"},
           {"name": "cat", "lemmas": "", "synset": "n00000005"}]  # fmt: skip
    assert [(row["word"], row["synset"]) for row in script.senses(found, own)] == [
        ("dog", "n00000002"), ("dog", "n00000003"),
    ]  # fmt: skip


def test_the_script_refuses_what_is_no_wordnet(script, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"wordnet-base"):
        script.WordNet(tmp_path)
    for name in ("data.noun", "index.noun"):
        (tmp_path / name).write_text("  1 WordNet 2.1 Copyright 2005\n")
    with pytest.raises(InputError, match=r"is not of WordNet 3\.0"):
        script.WordNet(tmp_path)


def test_the_tables_are_what_the_script_makes(script, tmp_path: Path) -> None:
    if not (INSTALLED / "data.noun").is_file():
        pytest.skip("WordNet 3.0 is not installed (Debian's wordnet-base, or WNSEARCHDIR)")
    lists = {name: [w.name for w in class_words(name)] for name in ("imagenet", "imagenet100")}
    scenes = (FOLDER / "scenes.txt").read_text().splitlines()
    script.write(tmp_path, script.WordNet(INSTALLED), lists, scenes)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (FOLDER / path.name).read_bytes(), path.name


def test_the_licence_of_wordnet_lies_beside_its_words() -> None:
    text = (FOLDER / "LICENSE").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in text
    for name, columns in COLUMNS.items():
        with (FOLDER / f"{name}.csv").open(newline="") as stream:
            assert tuple(next(csv.reader(stream))) == columns
