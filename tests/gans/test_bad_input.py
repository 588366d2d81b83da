"""What a training refuses before it starts, in one sentence each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.gans.batches import ImageStream
from synthbook.gans.recipes import GanRecipe, Training
from synthbook.gans.train import train, train_gan

RECIPE = Training(steps=1, batch_size=4)


def images(count: int = 6, size: int = 8, channels: int = 3, classes: int = 2) -> ImageSet:
    pixels = np.zeros((count, size, size, channels), np.uint8)
    names = tuple(str(k) for k in range(classes))
    return ImageSet(pixels, np.arange(count) % classes, names, "zeros")


def zeros(*shape: int, dtype: torch.dtype = torch.uint8) -> ImageStream:
    """Return a stream of black images of a shape."""
    return ImageStream(lambda k: torch.zeros(len(k), *shape, dtype=dtype), 8, 3, "odd")


@pytest.fixture
def start(pair):
    def started(name="stylegan2", settings=(), data=None, recipe=RECIPE, other=None, **how):
        generator, _ = pair(name, **dict(settings))
        _, discriminator = pair(name, **dict(settings if other is None else other))
        data = images() if data is None else data
        return train(generator, discriminator, data, recipe, seed=0, **how)

    return started


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (images(0), "'zeros' has no images"),
        (images(1), "'zeros' has 1 image; a GAN needs two or more"),
        (images(channels=1), "8 pixels and 1 channels, the networks make 8 pixels and 3 channels"),
        (images(size=16), "16 pixels and 3 channels"),
    ],
)
def test_images_that_do_not_fit(data, says, start):
    with pytest.raises(InputError, match=says):
        start(data=data)


@pytest.mark.parametrize(("dtype", "shape"), [(torch.float32, (3, 8, 8)), (torch.uint8, (4, 8, 8))])
def test_streams_of_the_wrong_type(dtype, shape, start):
    with pytest.raises(InputError, match=r"'odd' gave .* must give torch.uint8 \[4, 3, 8, 8\]"):
        start(data=zeros(*shape, dtype=dtype))


def test_size_that_is_no_power_of_two():
    data = images(size=12)
    with pytest.raises(InputError, match="image size 12 is not possible"):
        train_gan(data, GanRecipe(steps=1), seed=0)


@pytest.mark.parametrize(
    ("name", "how", "says"),
    [
        ("sngan", {"other": {"num_classes": 2}}, "num_classes 0 and the discriminator 2"),
        ("sngan", {"settings": {"num_classes": 3}}, "'zeros' has 2 classes and the networks 3"),
        ("sngan", {"recipe": replace(RECIPE, path_length=2.0)}, r"2\.0 needs a generator with sty"),
        ("stylegan2", {"recipe": replace(RECIPE, batch_size=6)}, "6 is not a multiple of .* 4"),
        ("stylegan2", {"recipe": replace(RECIPE, frozen_blocks=9)}, "9 blocks cannot be frozen"),
    ],
)
def test_networks_that_do_not_fit_each_other_or_the_recipe(name, how, says, start):
    with pytest.raises(InputError, match=says):
        start(name, **how)


@pytest.mark.parametrize(
    ("size", "conditions", "says"),
    [
        (3, None, r"no vectors; the networks take finite floats \[6, 3\]"),
        (3, torch.zeros(6, 2), r"float32 \[6, 2\]; the networks take finite floats \[6, 3\]"),
        (3, torch.zeros(6, 3, dtype=torch.int64), "conditions are torch.int64"),
        (3, torch.full((6, 3), float("nan")), "finite floats"),
        (0, torch.zeros(6, 3), "make them with condition_size 3"),
    ],
)
def test_conditions_that_do_not_fit(size, conditions, says, start):
    with pytest.raises(InputError, match=says):
        start("sngan", {"condition_size": size}, conditions=conditions)


def test_a_stream_has_no_conditions(start):
    how = {"data": zeros(3, 8, 8), "conditions": torch.zeros(6, 3)}
    with pytest.raises(InputError, match="a stream has no conditions"):
        start("sngan", {"condition_size": 3}, **how)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"name": "sngan"}, "architecture = stylegan2, not sngan"),
        ({"settings": {"channels": 8}}, "configs = "),
        ({"data": images(7)}, "data = "),
        ({"evaluate": lambda g, step: {}, "evaluate_every": 2}, "evaluated every = None, not 2"),
        ({"settings": {"seed": 1}}, "weights at the start = "),
    ],
)
def test_checkpoint_of_another_run(how, says, tmp_path, start):
    start(folder=tmp_path)
    with pytest.raises(InputError, match=f"made with {says}"):
        start(folder=tmp_path, **how)
