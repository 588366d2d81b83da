"""What a training refuses before it starts, in one sentence each."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.gans.batches import ImageStream
from synthbook.gans.networks import create_discriminator, create_generator
from synthbook.gans.recipes import GanRecipe, Training
from synthbook.gans.train import train, train_gan

torch.set_num_threads(1)
STYLE = {
    "image_size": 8, "channels": 4, "widest": 4, "latent": 4, "style": 4, "mapping_layers": 1,
}  # fmt: skip
SNGAN = {"image_size": 8, "channels": 4, "discriminator_channels": 4, "latent": 4, "embedding": 4}
RECIPE = Training(steps=1, batch_size=4)


def images(count: int = 6, size: int = 8, channels: int = 3, classes: int = 2) -> ImageSet:
    pixels = np.zeros((count, size, size, channels), np.uint8)
    names = tuple(str(k) for k in range(classes))
    return ImageSet(pixels, np.arange(count) % classes, names, "zeros")


def start(name="stylegan2", settings=STYLE, data=None, recipe=RECIPE, other=None, **how):
    generator = create_generator(name, **settings)
    discriminator = create_discriminator(name, **(other or settings))
    data = images() if data is None else data
    return train(generator, discriminator, data, recipe, seed=0, **how)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (images(0), "'zeros' has no images"),
        (images(1), "'zeros' has 1 image; a GAN needs two or more"),
        (images(channels=1), "8 pixels and 1 channels, the networks make 8 pixels and 3 channels"),
        (images(size=16), "16 pixels and 3 channels"),
    ],
)
def test_images_that_do_not_fit(data, says):
    with pytest.raises(InputError, match=says):
        start(data=data)


@pytest.mark.parametrize(("dtype", "shape"), [(torch.float32, (3, 8, 8)), (torch.uint8, (4, 8, 8))])
def test_streams_of_the_wrong_type(dtype, shape):
    stream = ImageStream(lambda k: torch.zeros(len(k), *shape, dtype=dtype), 8, 3, "odd")
    with pytest.raises(InputError, match=r"'odd' gave .* must give torch.uint8 \[4, 3, 8, 8\]"):
        start(data=stream)


def test_size_that_is_no_power_of_two():
    data = images(size=12)
    with pytest.raises(InputError, match="image size 12 is not possible"):
        train_gan(data, GanRecipe(steps=1), seed=0)


def test_networks_that_do_not_fit_each_other_or_the_recipe():
    with pytest.raises(InputError, match="generator has num_classes 0 and the discriminator 2"):
        start("sngan", SNGAN, other={**SNGAN, "num_classes": 2})
    with pytest.raises(InputError, match="'zeros' has 2 classes and the networks 3"):
        start("sngan", {**SNGAN, "num_classes": 3})
    with pytest.raises(InputError, match=r"path_length 2\.0 needs a generator with styles"):
        start("sngan", SNGAN, recipe=dataclasses.replace(RECIPE, path_length=2.0))
    with pytest.raises(InputError, match="batch_size 6 is not a multiple of deviation_group 4"):
        start(recipe=dataclasses.replace(RECIPE, batch_size=6))
    with pytest.raises(InputError, match="9 blocks cannot be frozen"):
        start(recipe=dataclasses.replace(RECIPE, frozen_blocks=9))


def test_conditions_that_do_not_fit():
    vectors = {**SNGAN, "condition_size": 3}
    nan = torch.full((6, 3), float("nan"))
    for conditions, says in (
        (None, r"no vectors; the networks take finite floats \[6, 3\]"),
        (torch.zeros(6, 2), r"float32 \[6, 2\]; the networks take finite floats \[6, 3\]"),
        (torch.zeros(6, 3, dtype=torch.int64), "conditions are torch.int64"),
        (nan, "finite floats"),
    ):
        with pytest.raises(InputError, match=says):
            start("sngan", vectors, conditions=conditions)
    with pytest.raises(InputError, match="make them with condition_size 3"):
        start("sngan", SNGAN, conditions=torch.zeros(6, 3))
    stream = ImageStream(lambda k: torch.zeros(len(k), 3, 8, 8, dtype=torch.uint8), 8, 3, "x")
    with pytest.raises(InputError, match="a stream has no conditions"):
        start("sngan", vectors, data=stream, conditions=torch.zeros(6, 3))


def test_checkpoint_of_another_run(tmp_path):
    start(folder=tmp_path)
    with pytest.raises(InputError, match="made with architecture = stylegan2, not sngan"):
        start("sngan", SNGAN, folder=tmp_path)
    with pytest.raises(InputError, match="made with configs = "):
        start(settings={**STYLE, "channels": 8, "widest": 8}, folder=tmp_path)
    with pytest.raises(InputError, match="made with data = "):
        start(data=images(7), folder=tmp_path)
    with pytest.raises(InputError, match="made with evaluated every = None, not 2"):
        start(folder=tmp_path, evaluate=lambda g, step: {"fd": 0.0}, evaluate_every=2)
    generator, discriminator = (
        make("stylegan2", seed=1, **STYLE) for make in (create_generator, create_discriminator)
    )
    with pytest.raises(InputError, match="made with weights at the start = "):
        train(generator, discriminator, images(), RECIPE, seed=0, folder=tmp_path)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"loss": "hinges"}, "did you mean 'hinge'"),
        ({"augment": "cutouts"}, "did you mean 'cutout'"),
        ({"steps": 0}, "steps = 0 is not allowed"),
        ({"r1": -1.0}, "r1 = -1.0"),
        ({"ema_decay": 1.5}, "ema_decay = 1.5"),
        ({"precision": "float8"}, "precision = 'float8'.* one of float32, bfloat16"),
    ],
)
def test_bad_recipes(settings, says):
    with pytest.raises(InputError, match=says):
        dataclasses.replace(RECIPE, **settings)
