"""Models that are kept: what they learn, and on which images they are rated."""

from __future__ import annotations

import numpy as np
import pytest

from synthbook.data import load
from synthbook.measure.features import Extractor
from synthbook.studies import models
from synthbook.studies.models import Learned, linear_accuracy

PIXELS = Extractor("pixels", lambda x: x.reshape(len(x), -1) / 255.0, fingerprint="pixels")


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> Learned:
    monkeypatch.setattr(models, "extractor", lambda **_: PIXELS)
    return Learned.of("digits", load("digits"))


def test_what_is_learned_is_the_training_part_and_rated_on_the_validation_part() -> None:
    for name in ("digits", "caltech10"):
        real = load(name)
        learned = Learned.of(name, real)
        assert learned.asked is real.train
        assert learned.validation is real.val
        np.testing.assert_array_equal(learned.own.images, real.train.images)
        # The user's class of an image is that of the class that the generator is told.
        np.testing.assert_array_equal(learned.kinds[learned.own.labels], real.train.labels)
    few = learned.few(3, seed=0)
    assert few.own is few.asked
    assert set(few.own.counts()) == {3}
    assert {x.tobytes() for x in few.own.images} <= {x.tobytes() for x in real.train.images}
    assert few.validation is real.val


def test_a_linear_layer_learns_the_first_features_and_is_rated_on_the_others() -> None:
    x, y = np.array([[-1.0], [1.0]] * 20), np.array([0, 1] * 20)
    assert linear_accuracy(x, y, x[:2], y[:2]) == 1
    assert linear_accuracy(x, y, x[:4], np.array([0, 1, 1, 1])) == 0.75


def test_samples_are_rated_on_validation_images(digits, monkeypatch) -> None:
    fitted, rated = [], []
    monkeypatch.setattr(models, "fit", lambda judge, images, *_, **__: fitted.append(images))
    monkeypatch.setattr(models, "accuracy", lambda _, images, **__: rated.append(images) or 12.5)
    held = digits.validation
    found = models.teaches(held.images, held.labels, digits, seed=0)
    assert (found["accuracy"], found["fd"]) == (12.5, 0)
    assert rated[0] is held
    np.testing.assert_array_equal(fitted[0].images, held.images)
    wrong = models.teaches(held.images, (held.labels + 1) % 10, digits, seed=0)
    assert wrong["probe"] < 20 < 80 < found["probe"]


def test_the_fewest_steps_that_do_as_well_are_taken(digits, monkeypatch) -> None:
    found = dict(zip(models.STEPS, (9.0, 5.09, 5.11, 5.0, 5.05), strict=True))
    asked = []
    monkeypatch.setattr(models, "_diffused", lambda _, labels, steps, how: asked.append(steps))
    monkeypatch.setattr(models, "gaussian", lambda rows: rows)
    monkeypatch.setattr(models, "gaussian_distance", lambda *_: found[asked[-1]])
    look = lambda images: images  # noqa: E731
    look.cached = lambda images: images
    monkeypatch.setattr(models, "extractor", lambda **_: look)
    chosen, tried = models._fewest_steps(None, digits, "cpu", "it")
    assert chosen == {"num_inference_steps": models.STEPS[1]}
    assert tried == {str(steps): fd for steps, fd in found.items()}
