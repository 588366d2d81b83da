"""Finetuning: validation chooses, test images do not, and starts stay as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.data.deferred import deferred
from synthbook.errors import InputError
from synthbook.recognize import finetune as module
from synthbook.recognize.finetune import (
    PUBLISHED,
    FinetuneRecipe,
    finetune,
    steps_in_all,
    top1,
    with_new_head,
)
from synthbook.recognize.loop import WHOLE
from synthbook.recognize.models import Classifier, create_classifier
from synthbook.recognize.predict import accuracy
from synthbook.recognize.pretrained import fingerprint

RECIPE = FinetuneRecipe(
    steps=12, batch_size=8, rates=(1e-6, 3.0), point_every=4, precision="float32",
    views=replace(WHOLE, global_scale=(0.6, 1.0)),
)  # fmt: skip


def lit(count: int = 24, seed: int = 0) -> ImageSet:
    """Return noise that is brighter on the left (0), on the right (1) or nowhere (2)."""
    draw = np.random.default_rng(seed)
    pixels = draw.normal(120, 25, (count, 12, 12, 3))
    labels = np.arange(count) % 3
    pixels[labels == 0, :, :6] += 50
    pixels[labels == 1] += 60
    names = ("left", "right", "nowhere")
    return ImageSet(np.clip(pixels, 0, 255).astype(np.uint8), labels, names, "lit")


def small(classes: int = 2) -> Classifier:
    shape = {"num_classes": classes, "channels": 3, "image_size": 12}
    return create_classifier("small_cnn", **shape, seed=0)


def parts() -> tuple[ImageSet, ImageSet, ImageSet]:
    return lit(), lit(18, seed=1), lit(30, seed=2)


def test_validation_chooses_rate_and_weights() -> None:
    train, validation, test = parts()
    start = small()
    before = fingerprint(start)
    done: list[int] = []
    how = {"seed": 0, "on_step": lambda steps, _: done.append(steps)}
    made = finetune(start, train, validation, test, RECIPE, **how)
    assert fingerprint(start) == before
    assert start.head.out_features == 2
    assert done == list(range(1, 25))
    assert len(done) == steps_in_all(RECIPE, len(train))
    assert made.rate == 3.0
    assert made.validation[3.0] > made.validation[1e-6]
    assert made.validation[3.0] == pytest.approx(accuracy(made.model, validation))
    assert made.last == pytest.approx(accuracy(made.model, test))
    points = made.curves[3.0].points
    assert [point["steps"] for point in points] == [4, 8, 12]
    top = max(point["val_accuracy"] for point in points)
    first = next(point for point in points if point["val_accuracy"] == top)
    assert made.best_steps == first["steps"]
    if made.best_steps == 12:
        assert made.best == made.last
    assert not made.model.training


def test_each_rate_starts_from_the_same_weights() -> None:
    both, one = (
        finetune(small(), *parts(), replace(RECIPE, rates=rates), seed=0)
        for rates in ((1.0, 3.0), (3.0,))
    )
    assert both.curves[3.0].points == one.curves[3.0].points


def test_test_images_choose_nothing_and_files_are_as_good() -> None:
    train, validation, test = parts()
    turned = ImageSet(test.images, (test.labels + 1) % 3, test.classes, test.name)
    one = finetune(small(), train, validation, test, RECIPE, seed=0)
    files = (deferred(some) for some in (train, validation, turned))
    two = finetune(small(), *files, RECIPE, seed=0)
    assert (one.rate, one.best_steps, one.validation) == (two.rate, two.best_steps, two.validation)
    assert fingerprint(one.model) == fingerprint(two.model)
    assert one.last + two.last <= 100  # no image is right by both labels


def test_the_best_weights_are_those_of_the_best_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three looks at validation images, then both networks on test images."""
    rated, seen = iter((20.0, 60.0, 40.0, 7.0, 8.0)), []

    def told(model: Classifier, images: object, *, input_size: int = 0) -> float:
        seen.append(model.head.weight.detach().clone())
        return next(rated)

    monkeypatch.setattr(module, "top1", told)
    made = finetune(small(), *parts(), replace(RECIPE, rates=(), learning_rate=3.0), seed=3)
    assert (made.last, made.best, made.best_steps, made.validation) == (7, 8, 8, {3.0: 40})
    last, best = seen[3:]
    assert torch.equal(last, seen[2])
    assert torch.equal(best, seen[1])
    assert not any(torch.equal(best, other) for other in (seen[0], seen[2]))


class Stopped(RuntimeError):
    """A kill."""


def test_a_finetuning_that_was_stopped_goes_on_to_the_same_bits(tmp_path) -> None:
    whole = finetune(small(), *parts(), RECIPE, seed=1)

    def stop(done: int, numbers: dict[str, float]) -> None:
        if done == 21:
            raise Stopped

    kept = {"seed": 1, "folder": tmp_path, "checkpoint_every": 5}
    with pytest.raises(Stopped):
        finetune(small(), *parts(), RECIPE, **kept, on_step=stop)
    steps: list[int] = []
    again = finetune(small(), *parts(), RECIPE, **kept, on_step=lambda done, _: steps.append(done))
    assert steps == list(range(18, 25))  # of the second rate; the first was done
    assert torch.equal(again.model.head.weight, whole.model.head.weight)
    assert fingerprint(again.model) == fingerprint(whole.model)
    assert (again.last, again.best, again.best_steps) == (whole.last, whole.best, whole.best_steps)
    assert [c.points for c in again.curves.values()] == [c.points for c in whole.curves.values()]


def test_a_new_head_is_drawn_and_the_body_copied() -> None:
    start = small()
    one, two = with_new_head(start, 5, seed=0), with_new_head(start, 5, seed=1)
    assert one.num_classes == one.head.out_features == 5
    assert not torch.equal(one.head.weight, two.head.weight)
    assert fingerprint(one) == fingerprint(start)
    one.body[0].weight.data += 1
    assert fingerprint(one) != fingerprint(start)


def test_top1_is_the_accuracy() -> None:
    model, test, size = small(3), parts()[2], {"input_size": 16}
    assert top1(model, test, **size) == pytest.approx(accuracy(model, test, **size))


def test_rates_are_told_from_low_to_high_each_once() -> None:
    recipe = replace(RECIPE, rates=(0.3, 0.1, 0.3))
    assert [*recipe.each()] == [0.1, 0.3]
    assert all(how.learning_rate == rate for rate, how in recipe.each().items())
    assert [*replace(recipe, rates=()).each()] == [recipe.learning_rate]
    assert len(PUBLISHED.each()) == 5


def other_classes() -> None:
    train, validation, test = parts()
    finetune(small(), train, validation.of_classes(["left", "right"]), test, RECIPE, seed=0)


def no_test() -> None:
    train, validation, test = parts()
    finetune(small(), train, validation, test.subset([]), RECIPE, seed=0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (other_classes, "has 12 images of 2"),
        (no_test, "has 0 images of 3"),
        (lambda: replace(RECIPE, rates=(0.1, -1.0)), "rates .*holds -1.0"),
        (lambda: finetune(small(), *[lit(6)] * 3, RECIPE, seed=0), "6 images, fewer than a batch"),
    ],
)
def test_bad_input_is_named(call, said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()
