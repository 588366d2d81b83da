"""The miniature that every method is tried on: bright synthetic images, a few dim real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synthbook.data import ImageSet
from synthbook.recognize.batches import Batch, as_input
from synthbook.recognize.methods.guide import Guide
from synthbook.recognize.methods.task import Task
from synthbook.recognize.models import Classifier, create_classifier
from synthbook.recognize.recipe import Recipe


def _quadrants(count: int, seed: int, brightness: int = 200) -> ImageSet:
    """Return images of 8 px, one bright quadrant, which is the class."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    images = draw.integers(0, 60, (count, 8, 8, 1))
    for image, label in zip(images, labels, strict=True):
        top, left = 4 * (label // 2), 4 * (label % 2)
        image[top : top + 4, left : left + 4] += brightness - 60
    return ImageSet(images.astype(np.uint8), labels, tuple("abcd"), "quadrants")


def _classifier(seed: int = 0, classes: int = 4) -> Classifier:
    return create_classifier("small_cnn", num_classes=classes, channels=1, image_size=8, seed=seed)


def _guide(size: int = 8) -> Guide:
    """Return a frozen network of the same structure, with five classes of its own."""
    return Guide(_classifier(seed=9, classes=5), input_size=size, channels=1)


def _task(**changes: Any) -> Task:
    """Return 8 epochs of 4 updates on 128 synthetic images and 24 real ones."""
    held = {"real": _quadrants(24, 1, 110), "synthetic": _quadrants(128, 2), "guide": _guide()}
    recipe = Recipe(epochs=8, batch_size=32, learning_rate=0.003)
    return Task(**({"recipe": recipe, "updates": 32, "seed": 0, **held} | changes))


def _batches(count: int = 12) -> dict[str, Batch]:
    """Return a batch of either set."""
    sets = {"real": _quadrants(count, 3, 110), "synthetic": _quadrants(count, 4)}
    return {
        name: Batch(as_input(torch.tensor(s.images)), torch.tensor(s.labels), torch.arange(count))
        for name, s in sets.items()
    }


def _weights(model: nn.Module) -> Tensor:
    """Return all numbers of a model in one vector, those of BatchNorm too."""
    return torch.cat([value.detach().flatten().double() for value in model.state_dict().values()])


# As fixtures, since tests import nothing from each other.
quadrants = pytest.fixture(lambda: _quadrants)
classifier = pytest.fixture(lambda: _classifier)
guide = pytest.fixture(lambda: _guide)
task = pytest.fixture(lambda: _task)
batches = pytest.fixture(lambda: _batches)
weights = pytest.fixture(lambda: _weights)
