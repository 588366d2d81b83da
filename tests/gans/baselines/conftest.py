"""What tests of the methods without and with pretrained generators share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from synthbook.data import ImageSet
from synthbook.gans.networks import create_generator
from synthbook.gans.perceptual import Perceptual
from synthbook.gans.sampling import set_standing_statistics

SIZE = 8


@pytest.fixture(scope="session")
def photographs():
    """Eight smooth images of 8 pixels, two alike in colour."""
    coarse = np.random.default_rng(0).integers(0, 256, (8, 2, 2, 3), dtype=np.uint8)
    pixels = coarse.repeat(SIZE // 2, axis=1).repeat(SIZE // 2, axis=2)
    return ImageSet(pixels, np.zeros(8, np.int64), ("all",), "photographs")


@pytest.fixture(scope="session")
def perceptual():
    """A quick distance: pixels and blurred pixels."""
    return Perceptual(lambda x: [avg_pool2d(x, 2)], size=SIZE, weight=1.0)


@pytest.fixture
def pretrained(tiny):
    """Return a function from an architecture to a generator with statistics of its own images."""

    def made(name: str = "sngan", **settings):
        how = {"image_size": SIZE, **tiny[name], **settings}
        generator = create_generator(name, seed=1, **how)
        classes, length = generator.config.num_classes, generator.config.condition_size

        def conditions(count, draw):
            if classes:
                return torch.randint(classes, (count,), generator=draw)
            return torch.randn(count, length, generator=draw) if length else None

        set_standing_statistics(generator, conditions, seed=0, images=200)
        return generator.eval()

    return made
