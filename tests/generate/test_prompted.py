"""A text-to-image generator asked for classes: the images of a plan, and a clone like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.generate import prompted
from synthbook.generate.clones import class_shares, clone
from synthbook.generate.dataset_plan import Plan, prompts_of
from synthbook.generate.prompted import Prompted
from synthbook.generate.shots import shots_of
from synthbook.generate.text import opened
from synthbook.generate.wordnet import ClassWords

WORDS = (
    ClassWords("cat", ("cat", "kitty"), ("feline",), "a small animal"),
    ClassWords("dog", ("dog",), ("canine",), "a larger one"),
)
SCENES = ("attic", "bakery shop", "coast")
HOW = {"guidance_scale": 2.0, "num_inference_steps": 2}


@pytest.fixture
def source(text_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prompted:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)
    return Prompted(opened(text_folder), WORDS, "scene", scenes=SCENES)


def test_its_images_are_those_of_a_plan_with_the_same_seed(source: Prompted) -> None:
    counts = (4, 2)
    prompts = prompts_of(WORDS, "scene", counts, seed=5, scenes=SCENES)
    plan = Plan(source.classes, prompts, counts, 5, 2.0, 2, 0, "shards", 10, {})
    rows = [*plan.span(0)]
    asked = [*source.asked(0, range(4), 5), *source.asked(1, range(2), 5)]
    assert sorted(asked) == sorted((row.prompt, row.seed) for row in rows)
    assert len({text for text, _ in asked}) == 3 + 2


def test_images_are_made_once_and_brought_to_size(source: Prompted, no_builds: Any) -> None:
    images = source.sample([0, None, 1], seed=5, **HOW)
    assert images.shape == (3, 16, 16, 3)
    asked = [source.asked(label, [0], 5)[0] for label in (0, None, 1)]
    prompts, seeds = zip(*asked, strict=True)
    assert prompts[1] == ""
    np.testing.assert_array_equal(images, source.generator.images(prompts, seeds, **HOW).images)
    small = Prompted(source.generator, WORDS, "scene", scenes=SCENES, image_size=8, channels=1)
    assert small.sample([0], seed=5, **HOW).shape == (1, 8, 8, 1)
    no_builds(prompted)
    np.testing.assert_array_equal(source.sample([0, None, 1], seed=5, **HOW), images)
    with pytest.raises(AssertionError, match="built again"):
        source.sample([0, None, 1], seed=6, **HOW)


def test_a_larger_set_has_the_images_of_a_smaller_one(
    source: Prompted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompted, "BLOCK", 2)
    small = source.sample([0, 0], seed=5, **HOW)
    made: list[int] = []
    images = source.generator.images

    def counted(prompts: Any, seeds: Any, **how: Any) -> Any:
        made.append(len(prompts))
        return images(prompts, seeds, **how)

    monkeypatch.setattr(source.generator, "images", counted)
    large = source.sample([0, 1, 0, 0], seed=5, **HOW)
    assert made == [1, 1]  # the third image of class 0, and the first of class 1
    np.testing.assert_array_equal(large[[0, 2]], small)


def test_images_that_are_kept_are_not_made(source: Prompted, no_builds: Any) -> None:
    asked = source.asked(0, range(3), 5)
    pixels = np.arange(3 * 16 * 16 * 3, dtype=np.uint8).reshape(3, 16, 16, 3)
    kept = {
        prompted.asked_for(*one, **HOW): image for one, image in zip(asked, pixels, strict=True)
    }
    shipped = Prompted(source.generator, WORDS, "scene", scenes=SCENES, kept=kept)
    no_builds(prompted)
    np.testing.assert_array_equal(shipped.sample([0, 0, 0], seed=5, **HOW), pixels)
    assert shipped.has(0, 3, seed=5, **HOW)
    assert not shipped.has(0, 4, seed=5, **HOW)
    assert not shipped.has(1, 1, seed=5, **HOW)
    with pytest.raises(AssertionError, match="built again"):
        shipped.sample([0], seed=5, guidance_scale=3.0, num_inference_steps=2)


def test_what_makes_images_is_opened_when_one_is_missing(source: Prompted) -> None:
    opened = []

    def opening() -> Any:
        opened.append(1)
        return source.generator

    pixels = np.zeros((16, 16, 3), np.uint8)
    kept = {prompted.asked_for(*source.asked(0, [0], 5)[0], **HOW): pixels}
    late = Prompted(opening, WORDS, "scene", scenes=SCENES, kept=kept)
    assert not late.sample([0], seed=5, **HOW).any()
    assert not opened
    np.testing.assert_array_equal(
        late.sample([0, 0, 1], seed=5, **HOW)[2], source.sample([1], seed=5, **HOW)[0]
    )
    assert opened == [1]


def test_images_from_shots_are_kept_by_start_and_strength(source: Prompted, no_builds: Any) -> None:
    told = {"cat": ("a cat", "two cats"), "dog": ("the dog",)}
    real = ImageSet(
        np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8),
        [0, 0, 0, 0, 1, 1], source.classes, "real",
    )  # fmt: skip

    def asked(chosen: list[int], **how: Any) -> Prompted:
        shots = shots_of(real.subset(np.array(chosen)))
        return Prompted(source.generator, WORDS, sentences=told, shots=shots, **how)

    two = asked([0, 1, 4, 5])
    names = two.names(0, range(4), seed=5, **HOW)
    pixels = np.arange(4 * 16 * 16 * 3, dtype=np.uint8).reshape(4, 16, 16, 3)
    kept = dict(zip(names, pixels, strict=True))
    shipped = asked([0, 1, 4, 5], kept=kept)
    no_builds(prompted)
    np.testing.assert_array_equal(shipped.sample([0] * 4, seed=5, **HOW), pixels)
    assert shipped.has(0, 4, seed=5, **HOW)
    assert not shipped.has(1, 1, seed=5, **HOW)
    # Other shots, another strength and noise alone are other images.
    others = [asked([2, 3, 4, 5]), asked([0, 1, 4, 5], strength=0.9), source]
    assert not set(names) & {name for o in others for name in o.names(0, range(4), seed=5, **HOW)}
    with pytest.raises(AssertionError, match="built again"):
        asked([2, 3, 4, 5], kept=kept).sample([0], seed=5, **HOW)


def test_a_clone_of_real_images_is_made_like_with_any_generator(source: Prompted) -> None:
    real = ImageSet(np.zeros((4, 16, 16, 3), np.uint8), [0, 0, 0, 1], ("cat", "dog"), "real")
    made = clone(source, real, count=8, seed=1, **HOW)
    np.testing.assert_array_equal(made.counts(), class_shares(real, 8))
    assert (made.classes, made.name) == (real.classes, "text clone of real")
    others = {Prompted(source.generator, WORDS, form).key for form in ("name", "parent")}
    assert len(others | {source.key}) == 3


def test_sentences_and_shots_are_those_of_a_plan_too(source: Prompted, no_builds: Any) -> None:
    told = {"cat": ("a cat on a lawn", "two cats", "a cat"), "dog": ("the dog",)}
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    real = ImageSet(pixels, [0, 0, 0, 0, 1, 1], source.classes, "real")
    shots = shots_of(real)
    started = Prompted(source.generator, WORDS, sentences=told, shots=shots)
    assert not started.unconditional
    labels = [0, 1, 0, 0, 1, 0]
    plan = Plan(
        source.classes, tuple(told.values()), (4, 2), 5, 2.0, 4, 0, "shards", 10, {}, shots=shots
    )
    rows = sorted(plan.span(0), key=lambda row: (row.label, row.index))
    asked = [*started.asked(0, range(4), 5), *started.asked(1, range(2), 5)]
    assert asked == [(row.prompt, row.seed) for row in rows]
    starts = [*started.starts(0, range(4)), *started.starts(1, range(2))]
    assert starts == [(row.label, row.shot) for row in rows]
    order = np.argsort(labels, kind="stable")
    how = {"guidance_scale": 2.0, "num_inference_steps": 4}
    images = started.sample(labels, seed=5, **how)
    for k, row in zip(order, rows, strict=True):
        alone = source.generator.images(
            [row.prompt], [row.seed], strength=row.strength, **how,
            from_images=shots.read(row.label, row.shot, 16, 3)[None],
        ).images[0]  # fmt: skip
        np.testing.assert_array_equal(images[k], alone)
    others = (
        Prompted(source.generator, WORDS, sentences=told),
        Prompted(source.generator, WORDS, shots=shots),
        Prompted(source.generator, WORDS, sentences=told, shots=shots, strength=0.9),
    )
    assert len({one.key for one in (started, source, *others)}) == 5
    no_builds(prompted)
    np.testing.assert_array_equal(started.sample(labels, seed=5, **how), images)
    with pytest.raises(AssertionError, match="built again"):
        others[2].sample(labels, seed=5, **how)
    with pytest.raises(InputError, match="without a class has no real one"):
        started.sample([None], seed=5, **how)
    with pytest.raises(InputError, match="class 'dog' has no sentence"):
        Prompted(source.generator, WORDS, sentences={"cat": ("a cat",)})
    with pytest.raises(InputError, match="are of 1 classes, and 2 or others"):
        Prompted(source.generator, WORDS, shots=shots_of(real, ("cat",)))


def test_what_a_form_lacks_is_named_before_anything_is_made(source: Prompted) -> None:
    with pytest.raises(InputError, match="class 'ant' has no parent"):
        Prompted(source.generator, (ClassWords("ant", ("ant",)),), "parent")
    with pytest.raises(InputError, match="no image is asked"):
        source.sample([], seed=0)
