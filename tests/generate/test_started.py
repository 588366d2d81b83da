"""Models of classes that start from shots: kept, counted, and refused where it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.generate import started
from synthbook.generate.models import Generator, loaded
from synthbook.generate.shots import shots_of
from synthbook.generate.started import Started, images_of_classes
from synthbook.randomness import derive

CLASSES = ("crow", "owl", "oak", "fern", "rose")


def shots(each: int, classes: tuple[str, ...] = CLASSES) -> Any:
    count = each * len(classes)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 10, 8, 3), dtype=np.uint8)
    labels = np.arange(count) % len(classes)
    return shots_of(ImageSet(pixels[:, :8], labels, classes, "real"))


def test_images_are_made_once_each_from_its_shot_at_the_strength_of_their_number(
    make: Callable[..., Generator], no_builds: Any
) -> None:
    model = make("diffusion", recipe={"condition_dropout": 0.1})
    source, real = Started(model, shots(2)), shots(2)
    assert source.strengths == (0.4,) * 5
    labels = [0, 3, 0, 0, 3]
    images = source.sample(labels, seed=5, guidance_scale=2.0)
    for k, (label, index) in enumerate([(0, 0), (3, 0), (0, 1), (0, 2), (3, 1)]):
        alone = images_of_classes(
            loaded(model), [label], [derive(5, "clone", CLASSES[label], index)],
            [real.read(label, (index + index // 2) % 2, 8, 3)], strength=0.4, guidance_scale=2.0,
            num_inference_steps=3,
        )  # fmt: skip
        np.testing.assert_array_equal(images[k], alone[0])
    no_builds(started)
    np.testing.assert_array_equal(source.sample(labels, seed=5, guidance_scale=2.0), images)
    with pytest.raises(AssertionError, match="built again"):
        Started(model, shots(2), strength=0.5).sample(labels, seed=5, guidance_scale=2.0)


def test_what_cannot_start_from_images_is_told(make: Callable[..., Generator]) -> None:
    with pytest.raises(InputError, match="a gan model cannot start from images"):
        Started(make("gan"), shots(1))
    model = make("diffusion")
    with pytest.raises(InputError, match="are of 2 classes, and the model of 5"):
        Started(model, shots(1, CLASSES[:2]))
    source = Started(model, shots(1))
    assert Started(model, shots(2)).key != source.key
    with pytest.raises(InputError, match="without a class has no real one"):
        source.sample([0, None], seed=0)
    with pytest.raises(InputError, match="class 9 is not known"):
        source.sample([9], seed=0)
