"""The experiments on the gap: what their rows say, with classifiers that know what they saw."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from synthbook.data import ImageSet, Splits, few_shot
from synthbook.errors import InputError
from synthbook.measure import features as measures
from synthbook.recognize.train import History
from synthbook.record.parameters import check_values, declared
from synthbook.studies import gap, image_sources, teaching, training_sets
from synthbook.studies.training_sets import Network, TrainingSet

CLASSES = ("a", "b", "c")


def parameters(chapter: str, **values: Any) -> Mapping[str, Any]:
    """Return a chapter's parameters with ``values`` over its defaults, of images as they are."""
    plain = {"data": "digits", "set_size": 0, "input_size": 0, "parts": ["costs", "adding"]}
    own = {field.name for field in declared(chapter)} - (
        {"parts"} if chapter[:2] != "14" else set()
    )
    return check_values(chapter, {k: v for k, v in plain.items() if k in own} | values)


def numbered(count: int, start: int = 0, name: str = "real") -> ImageSet:
    """Return images of 4 x 4 pixels; the first two pixels carry a number from ``start`` on."""
    number = start + np.arange(count)
    images = np.random.default_rng(start).integers(0, 256, (count, 4, 4, 1), dtype=np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = number // 200, number % 200
    return ImageSet(images, np.arange(count) % 3, CLASSES, name)


def numbers(images: ImageSet) -> list[int]:
    """Return the numbers that the images carry."""
    return (images.images[:, 0, 0, 0].astype(int) * 200 + images.images[:, 0, 1, 0]).tolist()


REAL = Splits(numbered(60), numbered(30, 1_000), numbered(150, 2_000))
SETS = {
    "real": TrainingSet(REAL.train, REAL.test, {}),
    "diffusion": TrainingSet(numbered(60, 3_000), numbered(60, 4_000), {"confidence": 0.8}),
    "gan": TrainingSet(numbered(60, 5_000), numbered(60, 6_000), {"confidence": 0.8}),
}
RAW = {  # without a filter
    "diffusion": TrainingSet(numbered(60, 7_000), numbered(60, 8_000), {"confidence": 0.0}),
    "gan": TrainingSet(numbered(60, 9_000), numbered(60, 10_000), {"confidence": 0.0}),
}
GUIDED = {  # by guidance scale and confidence; of the diffusion model
    (scale, confidence): TrainingSet(
        numbered(60, 13_000 + 1_000 * k), numbered(60, 20_000 + 1_000 * k),
        {"confidence": confidence},
    )
    for k, (scale, confidence) in enumerate(product((1.0, 2.0, 4.0, 7.5), (0.8, 0.0)))
}  # fmt: skip


class Memory(torch.nn.Module):
    """A classifier that is right about the images that it was trained on, and about no other."""

    def __init__(self, images: ImageSet) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.known = dict(zip(numbers(images), images.labels.tolist(), strict=True))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        first = (255 * pixels[:, 0, 0, :2]).round().int()
        labels = [self.known.get(int(n), -1) for n in first[:, 0] * 200 + first[:, 1]]
        logits = torch.zeros(len(labels), 4)  # the fourth class is no image's
        logits[range(len(labels)), labels] = 30.0
        return logits

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.flatten(1)


class Judge(torch.nn.Module):
    """A classifier that is sure of the first ``sure`` test images, and calls each of them "a"."""

    def __init__(self, sure: int) -> None:
        super().__init__()
        self.weight, self.sure = torch.nn.Parameter(torch.zeros(1)), sure

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        first = (255 * pixels[:, 0, 0, :2]).round().int()
        number = first[:, 0] * 200 + first[:, 1] - 2_000
        return torch.where(number[:, None] < self.sure, 30.0, 0.0) * torch.tensor([1.0, 0, 0])


@dataclass
class Lesson:
    """A training that took place."""

    images: ImageSet
    epochs: int
    seed: int
    validation: ImageSet | None


@pytest.fixture
def lessons(monkeypatch: pytest.MonkeyPatch) -> list[Lesson]:
    """Make sets without generators, and classifiers without training; return the trainings."""
    taken: list[Lesson] = []

    def train(network: Network, images: ImageSet, *, seed: int, device: str, validation=None):
        taken.append(Lesson(images, network.recipe.epochs, seed, validation))
        curve = tuple(float(k) for k in range(1, network.recipe.epochs + 1))
        val = tuple(x / 2 for x in curve)
        return Memory(images), History(train_accuracy=curve, val_accuracy=val)

    def sets(real: Splits, p: Mapping[str, Any], **_: Any) -> dict[str, TrainingSet]:
        assert p["confidence"] or not p["unconditional"]  # as drawn: under the class asked for
        if p["guidance_scale"] != 1:
            assert p["sources"] == ["diffusion"]
            return {"diffusion": GUIDED[p["guidance_scale"], p["confidence"]]}
        return {name: (SETS if p["confidence"] else RAW)[name] for name in p["sources"]}

    def clone_of_few(family: str, few: ImageSet, p, *, count: int, **_: Any) -> ImageSet:
        assert len(few) == 3 * p["shots"]
        return numbered(count, 12_000, family)

    monkeypatch.setattr(Network, "train", train)
    monkeypatch.setattr(training_sets, "training_sets", sets)
    monkeypatch.setattr(training_sets, "clone_of_few", clone_of_few)
    return taken


# -- Checks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chapter", "needed"),
    [("11_generators", 300), ("12_not_mutual", 450), ("15_pretrained_guidance", 450)],
)
def test_own_images_must_be_as_many_as_a_chapter_takes(tmp_path, chapter, needed) -> None:
    def check(count: int, **values: Any) -> str:
        path = tmp_path / "made.npz"
        np.savez(path, images=np.zeros((count, 8, 8), np.uint8), labels=np.arange(count) % 10)
        sources = ["real", f"mine={path}"]
        return str(image_sources.check_data(parameters(chapter, sources=sources, **values)))

    assert f"mine: {needed} generated images of 10 classes" in check(needed)
    with pytest.raises(InputError, match=f"'mine' has {needed - 1} images .* {needed} are needed"):
        check(needed - 1)
    with pytest.raises(InputError, match="add images, or give -p") as error:
        check(100)
    name, most = re.search(r"-p (\w+)=(\d+)", str(error.value)).groups()
    assert name == ("measured" if chapter == "11_generators" else "set_size")
    assert "mine: 100" in check(100, **{name: int(most)})
    with pytest.raises(InputError, match="are needed"):
        check(100, **{name: int(most) + 1})


def test_own_images_without_labels_need_a_filter_that_gives_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "made.npz", images=np.zeros((450, 8, 8), np.uint8))
    sources = ["real", f"mine={tmp_path / 'made.npz'}"]
    told = image_sources.check_data(parameters("12_not_mutual", sources=sources)).sources
    assert "mine: 450 generated images without labels" in told[0]
    with pytest.raises(InputError, match=r"'mine' in .* have no labels, and nothing labels them"):
        image_sources.check_data(parameters("11_generators", sources=sources))


@pytest.mark.parametrize(
    "check", [image_sources.check_sources, image_sources.check_what_an_image_teaches]
)
@pytest.mark.parametrize("sources", [["real"], ["gan", "diffusion"]])
def test_real_images_and_a_generator_are_asked_for(check, sources: list[str]) -> None:
    p = {**parameters("14_what_an_image_teaches"), "sources": sources}
    with pytest.raises(InputError, match="give real and a generator"):
        check(p)


@pytest.mark.usefixtures("all_kept")
@pytest.mark.parametrize(
    "check", [image_sources.check_sources, image_sources.check_what_an_image_teaches]
)
def test_guidance_is_of_the_books_diffusion_model(check, tmp_path: Path) -> None:
    chapter, guided = "14_what_an_image_teaches", {"controls": ["guided"], "shots": 1}
    for source in ("gan", f"mine={tmp_path}"):
        with pytest.raises(InputError, match=r"controls holds 'guided'.* none; add diffusion,"):
            check(parameters(chapter, sources=["real", source], **guided))
    assert check(parameters(chapter, sources=["real", "diffusion"], **guided))


@pytest.mark.usefixtures("all_kept")
def test_no_more_shots_than_images() -> None:
    """300 digits of ten classes are for training."""
    chapter = "14_what_an_image_teaches"
    assert "digits" in str(image_sources.check_what_an_image_teaches(parameters(chapter, shots=30)))
    image_sources.check_what_an_image_teaches(parameters(chapter, shots=7, set_size=70))
    for values, most in (({"shots": 31}, 30), ({"shots": 8, "set_size": 70}, 7)):
        with pytest.raises(InputError, match=f"give from 1 to {most}"):
            image_sources.check_what_an_image_teaches(parameters(chapter, **values))


@pytest.mark.usefixtures("all_kept")
@pytest.mark.parametrize(("neighbours", "least"), [(5, 12), (2, 10), (20, 42)])
def test_test_images_make_two_samples_large_enough(
    neighbours: int, least: int, tmp_path: Path
) -> None:
    for chapter, check in (
        ("11_generators", image_sources.check_generators),
        ("14_what_an_image_teaches", image_sources.check_what_an_image_teaches),
    ):
        for count, enough in ((least, True), (least - 1, False)):
            train, test, path = numbered(60), numbered(count), tmp_path / f"{count}.npz"
            arrays = {"x_train": train.images, "x_test": test.images}
            np.savez(path, y_train=train.labels, y_test=test.labels, **arrays)
            values = {"shots": 1} if chapter[:2] == "14" else {}
            p = parameters(chapter, data=str(path), neighbours=neighbours, **values)
            if enough:
                assert check(p).counts["test"] == count
            else:
                with pytest.raises(InputError, match=f"give {least} at least"):
                    check(p)


@pytest.mark.usefixtures("all_kept")
@pytest.mark.parametrize(
    ("chapter", "values", "message"),
    [
        ("11", {"measured": 10}, "measured = 10: halves of 10 images .* neighbours = 5; 12 would"),
        ("11", {"measured": 40, "neighbours": 30}, "neighbours = 30; 62 would do"),
        ("14", {"measured": 20, "neighbours": 30, "shots": 1}, "20 images .*; 31 would do"),
        ("14", {"set_size": 100, "share": 0.05, "shots": 1}, "share = 0.05 of 10 images a class"),
    ],
)
def test_what_is_measured_and_left_out_is_enough(chapter: str, values, message: str) -> None:
    check = {
        "11": image_sources.check_generators, "14": image_sources.check_what_an_image_teaches
    }[chapter]  # fmt: skip
    name = {"11": "11_generators", "14": "14_what_an_image_teaches"}[chapter]
    with pytest.raises(InputError, match=message):
        check(parameters(name, **values))
    if chapter == "11":
        check(parameters(name, **values | {"measured": 62}))
    else:  # asked only where the part runs
        check(parameters(name, **values, parts=["costs" if "share" in values else "adding"]))


@pytest.mark.parametrize(
    ("values", "message"), [({"shots": 11}, "class"), ({"shots": 1, "share": 0.05}, "of 10 images")]
)
def test_the_smallest_class_is_enough_for_chapter_14_before_anything_is_made(
    values, message: str, monkeypatch
) -> None:
    monkeypatch.setattr(training_sets, "training_sets", None)
    held = np.concatenate([np.arange(0, 60, 3), np.arange(1, 60, 3), np.arange(2, 30, 3)])
    real = Splits(REAL.train.subset(np.sort(held)), REAL.val, REAL.test)
    assert real.train.counts().tolist() == [20, 20, 10]
    with pytest.raises(InputError, match=message):
        teaching.WhatAnImageTeaches(parameters("14_what_an_image_teaches", **values), real, seed=0)


def test_a_check_imports_no_torch() -> None:
    code = "import sys; from synthbook.studies import image_sources; "
    code += "image_sources.check_sources({'data': 'caltech10', 'data_root': '', 'image_size': 0, "
    code += "'sources': ['real', 'gan']}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(("test", "count"), [(REAL.test, 40), (REAL.test.subset(range(31)), 15)])
def test_unseen_images_and_their_control_are_others(test: ImageSet, count: int) -> None:
    first, second = gap.unseen(Splits(REAL.train, REAL.val, test), 40)
    assert len(first) == len(second) == count
    assert len({*numbers(first), *numbers(second)}) == 2 * count
    assert {*numbers(first), *numbers(second)} <= {*numbers(test)}


@pytest.mark.parametrize(
    ("size", "nearest"), [(50, "48 or 52"), (33, "32 or 36"), (31, "30 or 32"), (47, "44 or 48")]
)
def test_sizes_that_the_diffusion_model_cannot_learn_are_told_before_it_trains(
    size: int, nearest: str
) -> None:
    from synthbook.generate.recipes import diffusion_recipe
    from synthbook.generate.unet import build_unet

    def check(side: int, **values: Any) -> Any:
        p = parameters("11_generators", data="caltech10", image_size=side, minutes=1, **values)
        return image_sources.check_generators(p)

    with pytest.raises(InputError, match=rf"images of {size} pixels .* image_size={nearest}, or"):
        check(size)
    check(size, sources=["real", "gan"])
    for side in map(int, nearest.split(" or ")):
        check(side)
        build_unet(
            diffusion_recipe("book", side), image_size=side, channels=3, num_classes=2, seed=0
        )


def test_a_plan_tells_how_wide_the_diffusion_model_of_a_size_is() -> None:
    for size, wide in ((32, "64, 96, 128"), (48, "64, 96"), (60, "64")):
        p = parameters("11_generators", data="caltech10", image_size=size, minutes=1)
        told = f"a diffusion model (number 0, {wide} channels), 1 minutes"
        assert told in str(image_sources.plan_generators(p))
    p = parameters("11_generators", data="caltech10", image_size=0, minutes=1)
    assert "64, 96, 128 channels" in str(image_sources.plan_generators(p))


# -- What it will train -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "controls",
    [[], ["unfiltered"], ["filtered_real"], ["unfiltered", "guided", "same_images"]],
)
@pytest.mark.parametrize("sources", [["real", "gan"], ["real", "diffusion", "gan"]])
def test_a_plan_is_what_is_trained(
    controls: list[str], sources: list[str], lessons: list[Lesson], copier: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Names of classifiers, put together from the rows of a seed, are those of the plan."""
    for chapter, plan, rows_of in (
        ("11_generators", image_sources.plan_generators, gap.generators),
        ("12_not_mutual", image_sources.plan_of_sources, gap.not_mutual),
        ("13_learned_too_fast", image_sources.plan_of_sources, gap.learned_too_fast),
        (
            "14_what_an_image_teaches",
            image_sources.plan_what_an_image_teaches,
            lambda p, real, seed: teaching.WhatAnImageTeaches(p, real, seed=seed).rows(),
        ),
    ):
        possible = {
            "12": ["unfiltered", "guided", "filtered_real"],
            "14": ["unfiltered", "guided", "same_images"],
        }.get(chapter[:2], [])
        asked = [control for control in controls if control in possible]
        if "filtered_real" in asked:  # of the filter's classifier, which is no lesson here
            monkeypatch.setattr(training_sets, "classifier_of_all", lambda *_, **__: Judge(90))
        values = {"controls": asked, "shots": 2, "neighbours": 3}
        own = {field.name for field in declared(chapter)}
        given = {name: value for name, value in values.items() if name in own}
        p = parameters(chapter, sources=sources, seeds=1, **given)
        lessons.clear()
        names = {"real"}
        for row in rows_of(p, REAL, seed=0):
            if row["method"] == "plain":
                of_few = " of few images" if row.get("generator_knows") == "same" else ""
                names.add(f"{row['train']}{of_few}")
            elif row["method"] == "unfiltered" and row["train"] != "real":
                names.add(f"{row['train']} unfiltered")
            elif row["method"].startswith("guided") and row["train"] != "real":
                names.add(f"{row['train']} {row['method']} {row['guidance_scale']:g}")
        made = plan(p)
        trained = [name for name in made.classifiers if name != "filter"]
        if chapter[:2] == "11":  # the classifier of all real images, which is the filter's
            names = {"real"}
        assert sorted(trained) == sorted(names)
        assert len(lessons) == len(names)
        assert ("filter" in made.classifiers) is (chapter != "11_generators")
        assert made.models == ()


def test_a_plan_names_models_that_may_be_trained() -> None:
    how = {"seeds": 5, "generators": 2}
    assert "minutes" not in str(image_sources.plan_generators(parameters("11_generators", **how)))
    plan = image_sources.plan_generators(parameters("11_generators", minutes=1.5, **how))
    assert len(plan.models) == 4
    told = "a gan model (number 1, 40 channels), 1.5 minutes of training at most, and the measuring"
    assert told in str(plan)
    own = parameters("11_generators", minutes=1.5, sources=["real", "gan"])
    assert len(image_sources.plan_generators(own).models) == 1
    text = str(image_sources.plan_of_sources(parameters("12_not_mutual", seeds=5)))
    assert "4 classifiers x 5 seeds (filter, real, diffusion, gan)" in text


# -- Chapter 11 ---------------------------------------------------------------------------------


class Copier:
    """A generator that draws images of a set, as they are."""

    family, classes, conditional = "gan", CLASSES, True

    def sample(self, labels: list[int], *, seed: int) -> np.ndarray:
        of_class = [iter(REAL.train.images[REAL.train.labels == k]) for k in range(3)]
        return np.stack([next(of_class[k]) for k in labels])


@pytest.fixture
def copier(monkeypatch: pytest.MonkeyPatch, lessons: list[Lesson]) -> None:
    monkeypatch.setattr(training_sets, "generator", lambda *_, **__: Copier())
    pixels = measures.Extractor("pixels", lambda x: x.reshape(len(x), -1))
    object.__setattr__(pixels, "cached", pixels.__call__)
    monkeypatch.setattr(measures, "extractor", lambda *_, **__: pixels)


def test_samples_are_as_many_as_the_real_images_of_each_class(copier: None) -> None:
    p = parameters("11_generators", sources=["real", "gan"], measured=20)
    images = gap.samples(p, REAL, seed=3)
    assert list(images) == ["real", "gan"]
    assert set(numbers(images["real"])) < set(numbers(REAL.train))
    np.testing.assert_array_equal(images["gan"].counts(), images["real"].counts())
    assert images["real"] is not REAL.train
    everything = gap.samples({**p, "measured": 60}, REAL, seed=3)
    assert everything["real"] is REAL.train


def test_a_generator_that_copies_is_perfect_and_told_by_its_copies(copier: None, distinct) -> None:
    p = parameters("11_generators", sources=["real", "gan"], neighbours=3)
    rows = distinct(gap.generators(p, REAL, seed=0))
    for space in ("pixels", "classifier"):
        of_space = [row for row in rows if row.get("extractor") == space]
        own = {(row["train"], row["split"], row["metric"]): row["value"] for row in of_space}
        assert own["gan", "train", "fd"] == pytest.approx(0, abs=1e-3)
        assert own["gan", "test", "fd"] > 10 * own["gan", "train", "fd"]
        for metric in ("precision", "recall", "coverage"):
            assert own["gan", "train", metric] == 1
        assert own["gan", "train", "near_copies"] == 1
        assert own["gan", "train", "copying_z"] < -5
        # The control is unseen: no copy, no better on one half of the unseen than on the other.
        assert own["real", "test", "fd"] < own["real", "train", "fd"] + own["gan", "test", "fd"]
        assert own["real", "train", "precision"] < 1
        assert abs(own["real", "train", "copying_z"]) < 3
        halves = {metric for train, split, metric in own if (train, split) == ("real", "halves")}
        assert halves >= {"fd", "precision", "recall", "density", "coverage"}
    (agreement,) = [row for row in rows if row["metric"] == "class_agreement"]
    assert agreement["value"] == 100  # the judge knows the training images
    assert (agreement["train"], agreement["test"]) == ("gan", "classifier")


def test_generated_images_are_as_many_as_those_of_the_control_and_halves_are_of_training_images(
    copier: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distance from fewer images is larger, so that sets of unequal size cannot be compared."""
    asked: list[tuple[int, ...]] = []

    def spy(*features: np.ndarray, **_: Any) -> dict[str, float]:
        asked.append(tuple(map(len, features)))
        return {}

    monkeypatch.setattr("synthbook.measure.fidelity.fidelity", spy)
    monkeypatch.setattr("synthbook.measure.fidelity.floor", spy)
    few = Splits(REAL.train, REAL.val, REAL.test.subset(range(80)))
    p = parameters("11_generators", sources=["real", "gan"], neighbours=3)
    list(gap.generators(p, few, seed=0))
    # In either space the halves, then the control and the generator beside training and unseen.
    assert asked == 2 * [(60,), *2 * [(60, 40), (40, 40)]]


def test_the_agreement_on_the_cards_has_real_images_as_its_control() -> None:
    found = {"probe": 40.0, "accuracy": 30.0, "fd": 5.0, "class_agreement": {"a": 40.0, "b": 60.0}}
    cards = {
        name: {"measures": {"g1": found}, "real_classifier": right}
        for name, right in (("diffusion", 60.0), ("gan", 62.0))
    }
    table = gap.measures_of(cards)
    assert list(table.index) == ["diffusion, g = 1", "gan, g = 1", "real, unseen"]
    assert table.loc["gan, g = 1", "agreement"] == 50
    assert table.loc["real, unseen"].dropna().to_dict() == {"agreement": 61.0}


# -- Chapter 12 ---------------------------------------------------------------------------------


def test_each_classifier_is_tested_on_every_source(lessons: list[Lesson], distinct) -> None:
    p = parameters("12_not_mutual")
    rows = distinct(gap.not_mutual(p, REAL, seed=4))
    assert len(rows) == 3 * 3 * 2
    for row in rows:  # Memory knows what it was trained on
        assert row["value"] == 100 * (row["train"] == row["test"] and row["split"] == "train")
    assert [lesson.images for lesson in lessons] == [SETS[name].train for name in p["sources"]]
    assert {lesson.seed for lesson in lessons} == {row["seed"] for row in rows} == {4}


def test_the_control_without_a_filter_has_a_row_for_each_of_the_others(
    lessons: list[Lesson], distinct
) -> None:
    p = parameters("12_not_mutual", controls=["unfiltered"])
    rows = distinct(gap.not_mutual(p, REAL, seed=0))
    tables = {
        method: [
            (row["train"], row["test"], row["split"], row["value"])
            for row in rows
            if row["method"] == method
        ]
        for method in ("plain", "unfiltered")
    }
    assert sorted(tables["plain"]) == sorted(tables["unfiltered"])  # Memory knows its own, always
    assert all(row["confidence"] == 0 for row in rows if row["method"] == "unfiltered")
    trained = {id(lesson.images) for lesson in lessons}
    assert trained == {id(some.train) for some in (*SETS.values(), *RAW.values())}


def test_the_control_of_guidance_has_rows_of_each_scale_and_of_no_other_method(
    lessons: list[Lesson], distinct
) -> None:
    rows = distinct(gap.not_mutual(parameters("12_not_mutual", controls=["guided"]), REAL, seed=0))
    plain = distinct(gap.not_mutual(parameters("12_not_mutual"), REAL, seed=0))
    beside = [row for row in rows if row not in plain]
    assert len(rows) == len(plain) + len(beside)
    assert {row["method"] for row in beside} == {"guided", "guided_unfiltered"}
    assert {row["guidance_scale"] for row in beside} == {1.0, 2.0, 4.0, 7.5}
    assert len(beside) == 8 * 2 * 2 * 2
    for row in beside:
        assert row.get("confidence") == (None if row["method"] == "guided" else 0)
        assert row["value"] == 100 * (row["train"] == row["test"] and row["split"] == "train")
    without = parameters("12_not_mutual", controls=["guided"], sources=["real", "gan"])
    assert {row["method"] for row in gap.not_mutual(without, REAL, seed=0)} == {"plain"}


def test_guided_sets_are_a_third_as_large_at_every_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Mapping[str, Any]] = []
    monkeypatch.setattr(training_sets, "training_sets", lambda real, p, **_: asked.append(p) or {})
    p = parameters("12_not_mutual", controls=["guided"])
    for size, third in ((0, 20), (30, 10), (6, 3)):  # of 60 images of three classes
        asked.clear()
        list(gap.guided_sets({**p, "set_size": size}, REAL, seed=0))
        assert {(one["guidance_scale"], one["set_size"]) for one in asked} == {
            (scale, third) for scale in (1.0, 2.0, 4.0, 7.5)
        }
        assert len(asked) == 8


@pytest.mark.parametrize("sure", [90, 150, 0])
def test_real_images_pass_the_filter_under_its_labels(
    sure: int, lessons: list[Lesson], distinct, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_sets, "classifier_of_all", lambda *_, **__: Judge(sure))
    p = parameters("12_not_mutual", controls=["filtered_real"])
    images, info = gap.filtered_real(p, REAL, seed=0)
    assert numbers(images) == list(range(2_000, 2_000 + sure))
    assert not images.labels.any()
    assert info["share"] == sure / 150
    assert info["agreement"] == pytest.approx(1 / 3 if sure else 0)
    rows = distinct(gap.not_mutual(p, REAL, seed=0))
    beside = [row for row in rows if row["method"] == "filtered_real"]
    assert len(rows) - len(beside) == 3 * 3 * 2
    (passed,) = [row["value"] for row in beside if row["metric"] == "passed_share"]
    assert passed == pytest.approx(100 * sure / 150)
    # Memory knows none of them, and with none there is no accuracy.
    rated = {row["train"]: row["value"] for row in beside if row["metric"] == "top1_accuracy"}
    assert rated == (dict.fromkeys(SETS, 0) if sure else {})


def test_a_class_that_the_filter_likes_is_as_heavy_as_another(
    lessons: list[Lesson], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the images of two classes of which one is three times as large."""
    chosen = ImageSet(REAL.train.images[:8], np.repeat([0, 1], [6, 2]), CLASSES, "some")
    monkeypatch.setattr(
        gap, "filtered_real", lambda *_, **__: (chosen, {"share": 1, "agreement": 1})
    )
    known = [k for k in range(8) if REAL.train.labels[k] == chosen.labels[k]]  # by Memory
    rows = gap.not_mutual(parameters("12_not_mutual", controls=["filtered_real"]), REAL, seed=0)
    of_real = {
        row["metric"]: row["value"]
        for row in rows
        if row["method"] == "filtered_real" and row["train"] == row["test"] == "real"
    }
    of_class = [sum(chosen.labels[k] == c for k in known) for c in (0, 1)]
    assert of_class == [2, 1]
    assert of_real["top1_accuracy"] == pytest.approx(100 * 3 / 8)
    assert of_real["mean_class_accuracy"] == pytest.approx(100 * (2 / 6 + 1 / 2) / 2)


def test_the_control_of_real_images_needs_no_generator(
    lessons: list[Lesson], distinct, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_sets, "classifier_of_all", lambda *_, **__: Judge(90))
    alone = parameters("12_not_mutual", controls=["filtered_real"], sources=["real"])
    image_sources.check_sources(alone)
    assert image_sources.plan_of_sources(alone).classifiers == ("filter", "real")
    rows = distinct(gap.not_mutual(alone, REAL, seed=2))
    assert {row["method"] for row in rows} == {"filtered_real"}
    assert {row["train"] for row in rows} == {"real"}
    for controls in ([], ["unfiltered"]):
        with pytest.raises(InputError, match="give real and a generator"):
            image_sources.check_sources({**alone, "controls": controls})


def test_a_confidence_that_was_lowered_is_in_the_rows(
    lessons: list[Lesson], monkeypatch: pytest.MonkeyPatch
) -> None:
    relaxed = TrainingSet(SETS["gan"].train, SETS["gan"].held_out, {"confidence": 0.5})
    monkeypatch.setitem(SETS, "gan", relaxed)
    rows = [*gap.not_mutual(parameters("12_not_mutual"), REAL, seed=0)]
    rows += gap.learned_too_fast(parameters("13_learned_too_fast"), REAL, seed=0)
    rows += lesson_of().rows()
    for row in rows:
        touched = row["train"].endswith("gan") or row["test"] == "gan"
        assert row.get("confidence") == (0.5 if touched else None), row
    for chapter in ("12_not_mutual", "13_learned_too_fast", "14_what_an_image_teaches"):
        p = parameters(chapter)
        (line,) = gap.lowered(p, pd.DataFrame(rows)).splitlines()
        assert "confidence 0.8 " in line
        assert "0.5 for them" in line
        assert gap.lowered(p, pd.DataFrame(rows).drop(columns="confidence")) == ""


# -- Chapter 13 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 7, 40, 93])
def test_curves_have_twenty_points_at_most_with_both_ends(
    epochs: int, lessons: list[Lesson], distinct
) -> None:
    p = parameters("13_learned_too_fast", sources=["gan"], epochs=epochs)
    rows = distinct(gap.learned_too_fast(p, REAL, seed=0))
    curve = {row["epoch"]: row["value"] for row in rows if row["metric"] == "train_accuracy"}
    assert len(curve) == min(epochs, 20)
    assert {min(curve), max(curve)} == {1, epochs}
    assert all(epoch == value for epoch, value in curve.items())
    val = {row["epoch"]: row["value"] for row in rows if row["metric"] == "val_accuracy"}
    assert val == {epoch: value / 2 for epoch, value in curve.items()}
    values = {row["metric"]: row["value"] for row in rows if "epoch" not in row}
    assert values["final_train_accuracy"] == 2 * values["final_val_accuracy"] == epochs
    assert values["generalisation_gap"] == epochs / 2
    level = 0.95 * epochs  # a curve begins at chance, which is a third
    assert values["epochs_to_level"] == pytest.approx(level if level > 100 / 3 else 0)
    assert [lesson.validation for lesson in lessons] == [REAL.val]


# -- Chapter 14 ---------------------------------------------------------------------------------


def lesson_of(**values: Any) -> teaching.WhatAnImageTeaches:
    p = parameters("14_what_an_image_teaches", shots=2, **values)
    return teaching.WhatAnImageTeaches(p, REAL, seed=0)


def test_losses_are_those_of_the_other_source(lessons: list[Lesson]) -> None:
    lesson = lesson_of()
    pairs = {("real", "gan"), ("gan", "real"), ("real", "diffusion"), ("diffusion", "real")}
    assert {(train, test) for train, test, _ in lesson.losses} == pairs
    for (_, test, split), losses in lesson.losses.items():
        images = SETS[test].train if split == "train" else SETS[test].held_out
        assert len(losses) == len(images)
        assert losses.min() > 20  # Memory knows none of them


def test_mixtures_are_what_their_names_say() -> None:
    generated = {name: SETS[name].train for name in ("diffusion", "gan")}
    losses = {"diffusion": np.arange(60.0), "gan": -np.arange(60.0)}
    features = np.random.default_rng(0).normal(size=(60, 5))
    few = few_shot(REAL.train, 2, seed=0)
    mixed = teaching.mixtures(REAL.train, few, generated, losses, features, share=0.2, seed=0)
    assert mixed["real_few"] is few
    real, few = numbers(REAL.train), numbers(mixed["real_few"])
    assert mixed["real_few"].counts().tolist() == [2, 2, 2]
    assert set(few) < set(real)
    for name, low in (("diffusion", slice(0, 30)), ("gan", slice(30, 60))):
        made = numbers(generated[name])
        assert numbers(mixed[f"real+{name}"]) == real + made
        assert numbers(mixed[f"real_few+{name}"]) == few + made
        assert numbers(mixed[f"real+low_loss_{name}"]) == real + made[low]
        assert numbers(mixed[f"real+high_loss_{name}"]) == real + sorted({*made} - {*made[low]})
    rare, random = mixed["real_without_rare"], mixed["real_without_random"]
    assert rare.counts().tolist() == random.counts().tolist() == [16, 16, 16]
    assert numbers(rare) != numbers(random)
    assert list(mixed)[-2:] == ["real_without_rare", "real_without_random"]


@pytest.mark.parametrize("equal", ["steps", "epochs"])
def test_every_mixture_is_trained_for_as_many_steps_or_epochs(
    equal: str, lessons: list[Lesson], distinct
) -> None:
    rows = distinct(lesson_of(equal=equal, epochs=8).rows())
    for lesson in lessons:
        off = lesson.epochs * len(lesson.images) - 8 * 60
        assert lesson.epochs == 8 if equal == "epochs" else abs(off) <= len(lesson.images) / 2
    accuracies = {row["train"]: row["value"] for row in rows if row["metric"] == "top1_accuracy"}
    assert len(accuracies) == 2 + 2 * 4 + 2
    assert set(accuracies.values()) == {0.0}  # on test images, which Memory does not know
    assert len(lessons) == 3 + len(accuracies) - 1  # "real" is trained once
    assert {row.get("equal") for row in rows if row["metric"] == "top1_accuracy"} == {equal}
    gaps = {(r["train"], r["split"], r["metric"]) for r in rows if r["method"] == "taxonomy"}
    assert len(gaps) == 3 * 2 * 3  # with real images, the control
    assert {row["value"] for row in rows if row["metric"] == "share_loss_above_1"} == {1.0}


def test_controls_stand_beside_the_rows_that_they_control(lessons: list[Lesson], distinct) -> None:
    rows = distinct(lesson_of(controls=["unfiltered", "guided", "same_images"]).rows())
    costs = defaultdict(set)
    for row in rows:
        if row["metric"] in ("mean_cross_entropy", "share_easier"):
            found = costs[row["method"], row.get("guidance_scale")]
            found.add((row["train"], row["test"], row["split"], row["metric"]))
    assert costs["plain", None] == costs["unfiltered", None]
    assert len(costs["plain", None]) == 2 * (4 + 2)
    of_diffusion = {row for row in costs["plain", None] if "gan" not in row}
    for scale, method in product((1.0, 2.0, 4.0, 7.5), ("guided", "guided_unfiltered")):
        assert costs[method, scale] == of_diffusion
    assert len(costs) == 2 + 8
    few = [row for row in rows if row["train"].startswith("real_few+")]
    knows = {(row["train"], row["generator_knows"]) for row in few}
    assert knows == {(f"real_few+{f}", k) for f in ("diffusion", "gan") for k in ("all", "same")}
    assert len(few) == 4


def test_a_part_leaves_out_what_the_other_trains(lessons: list[Lesson]) -> None:
    costs = list(lesson_of(parts=["costs"]).rows())
    assert len(lessons) == 3
    adding = list(lesson_of(parts=["adding"]).rows())
    assert [*costs, *adding] == list(lesson_of().rows())
    assert {row["metric"] for row in adding} == {"top1_accuracy"}


def test_a_generated_image_is_the_easier_one_where_it_costs_less() -> None:
    losses = {
        ("real", "gan", "train"): np.array([0.005, 0.2, 0.3]),
        ("gan", "real", "train"): np.array([1.5, 2.0, 0.25, 0.25]),
    }
    made = SimpleNamespace(p=parameters("14_what_an_image_teaches"))
    rows = teaching.WhatAnImageTeaches._costs(made, SETS, losses, {"method": "plain"})  # type: ignore[arg-type]
    values = {(row["train"], row["metric"]): row["value"] for row in rows}
    assert values["gan", "share_easier"] == pytest.approx((4 + 4 + 2) / 12)
    assert ("real", "share_easier") not in values
    for train, cost in (("real", losses["real", "gan", "train"]), ("gan", [1.5, 2, 0.25, 0.25])):
        assert values[train, "mean_cross_entropy"] == pytest.approx(np.mean(cost))
        assert values[train, "median_cross_entropy"] == pytest.approx(np.median(cost))
    assert values["real", "share_loss_below_0.01"] == pytest.approx(1 / 3)
    assert values["gan", "share_loss_above_1"] == 0.5


def test_copies_of_few_images_lack_content_and_not_quality(
    lessons: list[Lesson], monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = REAL.train.subset(np.arange(60) % 3)
    monkeypatch.setitem(SETS, "gan", replace(SETS["gan"], train=copies))
    rows = teaching.WhatAnImageTeaches._gaps(lesson_of(sources=["real", "gan"]))
    gaps = {(r["train"], r["split"], r["metric"]): r["value"] for r in rows}
    assert gaps["gan", "train", "quality"] == 0
    assert gaps["gan", "train", "content"] > 0.5


def test_neither_source_is_easier_where_losses_are_alike(lessons: list[Lesson]) -> None:
    """Memory is as wrong about every image that it does not know."""
    easier = [row["value"] for row in lesson_of().rows() if row["metric"] == "share_easier"]
    assert easier == [0.5] * 4
