"""Prompts: the forms of the paper, all pairs of class and scene, and a reader's own classes."""

from __future__ import annotations

import csv
import io
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthbook.errors import InputError
from synthbook.generate.prompts import (
    FORMS,
    check_form,
    classes_of,
    form_of,
    prompt,
    read_classes,
    scenes_of,
)
from synthbook.generate.wordnet import SETS, ClassWords, class_words, of_synset

PAPILLON = of_synset("n02086910")
BARE = ClassWords("papillon", ("papillon",))
D = "small slender toy spaniel with erect ears and a black-spotted brown to white coat"
LETTERS = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Z"), exclude_characters=",")
WORDS = st.text(LETTERS, min_size=1, max_size=12).filter(lambda text: text.strip("_ #\"'"))


def write(tmp_path: Path, text: str, name: str = "classes.txt") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_forms_are_those_of_the_paper() -> None:
    """Section 4 of the paper, with its own example."""
    wanted = {
        "c": "papillon",
        "c, h_c": "papillon, toy spaniel",
        "c, d_c": f"papillon, {D}",
        "c, h_c inside b": "papillon, toy spaniel inside barn",
        "a photo of a c": "a photo of a papillon",
    }
    assert {
        form.paper: prompt(PAPILLON, form.paper, scenes=["barn"]) for form in FORMS.values()
    } == (wanted)
    for form in FORMS.values():
        assert form_of(form.paper) == form_of(form.name) == form
    assert [form.words for form in FORMS.values()] == [
        "name",
        "name, parent",
        "name, definition",
        "name, parent inside scene",
        "a photo of a name",
    ]


def test_all_lemmas_and_all_parents_stand_in_a_prompt() -> None:
    cup = next(w for w in class_words("cifar100") if w.name == "cup")
    assert prompt(cup, "parent") == "cup, crockery, dishware, container"
    assert prompt(of_synset("n03947888"), "name") == "pirate, pirate ship"


@given(
    seed=st.integers(0, 2**32), count=st.integers(1, 40), rounds=st.integers(1, 3),
    extra=st.integers(0, 39),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_every_class_goes_through_all_scenes(seed, count, rounds, extra) -> None:
    scenes = scenes_of()[:count]
    drawn = [
        prompt(PAPILLON, "scene", k, seed=seed, scenes=scenes).partition(" inside ")[2]
        for k in range(rounds * count + extra % count)
    ]
    for k in range(rounds):  # each round has each scene once
        assert sorted(drawn[k * count : (k + 1) * count]) == sorted(scenes)
    times = Counter(drawn)
    assert max(times.values()) - min(times.values()) <= 1


def test_the_order_of_scenes_is_the_classs_and_the_seeds() -> None:
    cat, dog = class_words("cifar10")[3], class_words("cifar10")[5]

    def scenes(words: ClassWords, seed: int) -> list[str]:
        drawn = (prompt(words, "scene", k, seed=seed) for k in range(365))
        return [text.partition(" inside ")[2] for text in drawn]

    assert scenes(cat, 0) == scenes(cat, 0)
    assert set(scenes(cat, 0)) == set(scenes_of())
    orders = [scenes(cat, 0), scenes(cat, 1), scenes(dog, 0)]
    assert all(a != b for a, b in pairwise(orders))


@pytest.mark.parametrize("name", SETS)
def test_every_set_has_what_every_form_needs(name: str) -> None:
    for form in FORMS:
        check_form(class_words(name), form)


def test_a_form_that_needs_more_than_a_class_has() -> None:
    assert prompt(BARE, "photo") == "a photo of a papillon"
    with pytest.raises(InputError, match="class 'papillon' has no definition, which the form"):
        prompt(BARE, "definition")
    with pytest.raises(InputError, match=r"such as n02086910 \(small slender toy spaniel"):
        prompt(BARE, "definition")
    with pytest.raises(InputError, match=r"has commas\), or choose another form"):
        prompt(ClassWords("weld", ("weld seam",)), "definition")
    for form in ("parent", "scene"):
        with pytest.raises(InputError, match="has no parent"):
            check_form([PAPILLON, BARE], form)
    with pytest.raises(InputError, match="did you mean 'c, h_c'"):
        form_of("c, h_k")
    with pytest.raises(InputError, match="did you mean 'parent'"):
        prompt(PAPILLON, "parents")


# Scenes


def test_scenes_of_places() -> None:
    scenes = scenes_of()
    assert len(set(scenes)) == len(scenes) == 365
    assert scenes_of(["/b/bakery/shop", "arena/hockey", "zen garden"]) == (
        "bakery shop", "arena hockey", "zen garden",
    )  # fmt: skip
    assert set(scenes_of(scenes)) == set(scenes)


def test_scenes_of_ones_own(tmp_path: Path) -> None:
    path = write(tmp_path, "a  petri dish\n\nthe lid of a box\n")
    assert scenes_of(str(path)) == ("a petri dish", "the lid of a box")


def test_wrong_scenes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'kitchen'"):
        scenes_of(["kitchn"])
    with pytest.raises(InputError, match="'kitchen' is given twice"):
        scenes_of(["kitchen", "/k/kitchen"])
    with pytest.raises(InputError, match="no scenes in an empty list"):
        scenes_of([])
    with pytest.raises(InputError, match="no scenes in"):
        scenes_of(str(write(tmp_path, "\n \n")))
    with pytest.raises(InputError, match="'kitchen' are neither 'places365' nor a file"):
        scenes_of("kitchen")


# A reader's own classes


def test_a_list_of_classes(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "\ufeffname, definition, parent\n\n# my dogs\nGolden_Retriever\n"
        '"papillon, butterfly dog", "a small spaniel, with large ears", toy spaniel\n'
        'beagle,,"hound, hound dog"\nn02086910\nn03947888, my ship\n',
    )
    found = read_classes(path)
    assert found == (
        ClassWords("Golden_Retriever", ("Golden Retriever",)),
        ClassWords("papillon", ("papillon", "butterfly dog"), ("toy spaniel",),
                   "a small spaniel, with large ears"),
        ClassWords("beagle", ("beagle",), ("hound", "hound dog")),
        of_synset("n02086910"),
        ClassWords("n03947888", ("pirate", "pirate ship"), ("ship",), "my ship", "n03947888"),
    )  # fmt: skip
    assert classes_of(str(path)) == found
    assert prompt(found[1], "scene", scenes=["barn"]) == (
        "papillon, butterfly dog, toy spaniel inside barn"
    )


def test_a_published_list_of_ids_is_a_list_of_classes(tmp_path: Path) -> None:
    ids = [words.name for words in class_words("imagenet100")]
    assert read_classes(write(tmp_path, "\n".join(ids))) == class_words("imagenet100")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no class"),
        ("name,definition\n# nothing\n\n", "has no class"),
        ("cat\nn99999999\n", "synset 'n99999999' is not in the table"),
        ("n0208691\n", "did you mean 'n02086910'"),
        ("cat\ndog\ncat, a feline\n", "class 'cat' twice; give"),
        ("sea_lion\nSea lion\n", "class 'Sea lion' twice, once as 'sea_lion'"),
        ("cat\n , an animal\n", "has no name"),
        ("cat, small, furry, tame\n", "has 4 parts"),
        ('cat, "small\n', "near 'cat, \"small'"),
        ("cat\ncat\x00dog, x\n", r"class 'cat\\x00dog' has signs that no text has"),
    ],
)
def test_wrong_lists(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_classes(write(tmp_path, text))


def test_what_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'caltech101'"):
        classes_of("caltech-101")
    for other in (tmp_path, tmp_path / "none.txt", "x" * 5000, "a\0b"):
        with pytest.raises(InputError):
            classes_of(str(other))
    with pytest.raises(InputError, match="cannot be read"):
        read_classes(tmp_path)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(InputError, match="no text in UTF-8"):
        read_classes(tmp_path / "picture.png")


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=5))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_csv_writes_is_read(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    rows = list({name.casefold().replace("_", " "): (name, d, p) for name, d, p in rows}.values())
    rows = [row for row in rows if not row[0].startswith(("#", "n0", "n1"))] or [("a", "b", "c")]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    found = read_classes(write(tmp_path, text.getvalue()))
    assert [(w.name, w.definition) for w in found] == [(name, d) for name, d, _ in rows]
    assert [w.parents for w in found] == [(p.replace("_", " ").strip(),) for _, _, p in rows]


@given(st.text(st.sampled_from('abn0123456789,"#\n\\\t _\x00é'), max_size=60))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_is_classes_or_an_input_error(tmp_path: Path, text: str) -> None:
    try:
        found = read_classes(write(tmp_path, text))
    except InputError:
        return
    assert len({w.name for w in found}) == len(found) > 0
    assert all(w.name and w.lemmas and all(w.lemmas) for w in found)
