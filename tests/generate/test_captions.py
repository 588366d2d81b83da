"""Captions of the miniature's web: each on its own, and of the right class."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from synthbook.errors import InputError
from synthbook.generate import captions as web
from synthbook.generate.captions import (
    GROUNDS,
    TEMPLATES,
    article,
    caption,
    general,
    grounds,
    vocabulary,
    web_scenes,
)
from synthbook.generate.prompts import FORMS, prompt, scenes_of
from synthbook.generate.wordnet import class_words

LABELS = [k % 100 for k in range(600)]
LOOKS = [list(GROUNDS)[k % 6] for k in range(600)]


def captions(
    of: str, labels: list[int], seed: int = 0, first: int = 0, looks: list[str] | None = None
) -> list[str]:
    """Return the captions of images ``first``, ``first + 1``, ... with these labels."""
    looks = looks or [""] * len(labels)
    return [
        caption(of, label, first + k, seed=seed, ground=ground)
        for k, (label, ground) in enumerate(zip(labels, looks, strict=True))
    ]


@pytest.fixture(scope="module")
def many() -> list[str]:
    return captions("cifar100", LABELS, seed=1, looks=LOOKS)


def test_each_caption_is_made_on_its_own(many: list[str]) -> None:
    for k in (599, 0, 123):
        assert many[k] == caption("cifar100", LABELS[k], k, seed=1, ground=LOOKS[k])
    assert many[100:120] == captions(
        "cifar100", LABELS[100:120], seed=1, first=100, looks=LOOKS[100:120]
    )
    assert many == captions("cifar100", LABELS, seed=1, looks=LOOKS)
    other = captions("cifar100", LABELS, seed=2, looks=LOOKS)
    assert np.mean([a == b for a, b in zip(many, other, strict=True)]) < 0.1
    assert caption("cifar10", 3, 7) != caption("cifar10", 3, 8)


def test_a_caption_tells_its_class(many: list[str]) -> None:
    """By a name, a general word, a parent, or (of scenes alone) not at all."""
    classes = class_words("cifar100")
    for label, text in zip(LABELS, many, strict=True):
        words = classes[label]
        known = (*web.names(words), *words.lemmas, *words.parents, *general(words))
        assert any(word in text for word in known) or text in web_scenes()


def test_all_templates_all_names_and_all_scenes_come() -> None:
    drawn = [caption("cifar10", 3, k, ground="white") for k in range(3000)]
    cat = class_words("cifar10")[3]
    shapes = ["^" + re.sub(r"\\\{.\\\}", ".+", re.escape(template)) + "$" for template in TEMPLATES]
    assert all(any(re.match(shape, text) for text in drawn) for shape in shapes)
    for word in (*web.names(cat), *general(cat), *GROUNDS["white"], cat.definition):
        assert any(word in text for text in drawn), word
    share = Counter(drawn)["cat"] / len(drawn)
    assert share == pytest.approx(0.75 / len(TEMPLATES), abs=0.007)  # "true cat" is the rest


def test_the_forms_of_prompts_are_captions_too() -> None:
    drawn = {caption("cifar10", 5, k, ground="green") for k in range(3000)}
    dog = class_words("cifar10")[5]
    for form in FORMS:
        assert prompt(dog, form, scenes=["lawn"]) in drawn, form


def test_a_scene_looks_like_the_ground_that_is_told(many: list[str]) -> None:
    places = {scene: ground for ground, scenes in GROUNDS.items() for scene in scenes}
    assert len(places) == len(web_scenes())
    assert set(places) <= set(scenes_of())
    seen = 0
    for text, ground in zip(many, LOOKS, strict=True):
        if scene := re.search(r" inside (.+)$", text):
            assert places[scene[1]] == ground
            seen += 1
    assert seen > 30
    plain = captions("cifar100", LABELS, seed=1)
    colour = rf"({'|'.join(GROUNDS)}) (ground|around it)"
    assert any(re.search(colour, text) for text in many)
    assert not any(re.search(colour, text) for text in plain)
    assert any(text.endswith("inside attic") for text in captions("cifar10", [1] * 3000))


def test_grounds_are_told_by_the_border_alone() -> None:
    colours = {
        "white": (240, 240, 235), "black": (20, 25, 20), "blue": (90, 140, 220),
        "green": (90, 140, 60), "brown": (150, 110, 70), "grey": (120, 122, 121),
    }  # fmt: skip
    images = np.empty((6, 32, 32, 3), np.uint8)
    images[:] = np.array(list(colours.values()), np.uint8)[:, None, None]
    assert grounds(images) == list(colours) == list(GROUNDS)
    images[:, 4:28, 4:28] = 255 - images[:, 4:28, 4:28]  # what stands in the middle
    assert grounds(images) == list(colours)
    assert grounds(images[:, ::4, ::4]) == list(colours)
    assert grounds(images[:0]) == []
    for wrong in (images[..., :1], images[0], images / 255):
        with pytest.raises(InputError, match="give uint8"):
            grounds(wrong)


def test_articles_are_english() -> None:
    said = ("an apple", "a cup", "cattle", "an oak tree", "furniture", "an aquarium fish", "a man")
    for text in said:
        assert article(text.split(maxsplit=1)[-1] if text[:2] in ("a ", "an") else text) == text
    for words in (*class_words("cifar10"), *class_words("cifar100")):
        for word in (*web.names(words), *general(words)):
            assert not word.startswith("u"), word  # a unicycle, an umbrella: no rule for them


def test_general_words_are_those_of_the_table() -> None:
    table = {words.name for words in class_words("general")}
    used = {word for words in (*web.GENERAL.values(), *web.BESIDES.values()) for word in words}
    assert used == table
    for words in (*class_words("cifar10"), *class_words("cifar100")):
        assert general(words)
    assert set(web.BESIDES) <= {w.name for w in class_words("cifar100")}


def test_the_vocabulary_has_every_word_that_is_said(many: list[str]) -> None:
    known = set(vocabulary())
    for text in many:
        assert set(re.findall(r"\w+(?:['-]\w+)*", text.lower())) <= known


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(InputError, match="web 'cifar' is not known"):
        caption("cifar", 0, 0)
    with pytest.raises(InputError, match="did you mean 'green'"):
        caption("cifar10", 0, 0, ground="greem")
