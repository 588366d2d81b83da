"""What tests of the baselines share: noise, tiny networks, runs that are killed and go on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from synthbook.data import ImageSet
from synthbook.gans.networks import create_discriminator, create_generator
from synthbook.gans.perceptual import Perceptual
from synthbook.gans.recipes import Training
from synthbook.gans.sampling import set_standing_statistics
from synthbook.gans.train import Trained, train

torch.set_num_threads(1)
RECIPE = Training(
    steps=6, batch_size=4, schedule="constant", discriminator_steps=2, standing_images=30
)
SNGAN = {"channels": 4, "discriminator_channels": 4, "latent": 4, "embedding": 6}
STYLEGAN2 = {"channels": 4, "widest": 8, "latent": 4, "style": 6, "mapping_layers": 2}


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def noise() -> ImageSet:
    """Return 12 images of noise in one class."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
    return ImageSet(pixels, np.zeros(12, int), ("all",), "noise")


@pytest.fixture(scope="session")
def run():
    """Return a function that trains a tiny pair; ``extra`` makes what is added for it."""

    def trained(name, images, extra=lambda discriminator: None, recipe=RECIPE, how=(), **settings):
        how = dict(how)
        size = {"sngan": SNGAN, "stylegan2": STYLEGAN2}[name] | {"image_size": 8} | settings
        generator, discriminator = (
            create_generator(name, **size),
            create_discriminator(name, **size),
        )
        if generator.config.condition_size:
            draw = torch.Generator().manual_seed(0)
            shape = len(images), generator.config.condition_size
            how["conditions"] = torch.randn(shape, generator=draw)
        made = extra(discriminator)
        return train(generator, discriminator, images, recipe, seed=0, extra=made, **how), made

    return trained


def equal(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.fixture(scope="session")
def same():
    """Return a function that says whether two trainings left the same."""

    def are(first: Trained, second: Trained) -> bool:
        names = ("generator", "unaveraged", "discriminator")
        return all(equal(getattr(first, name), getattr(second, name)) for name in names)

    return are


class Killed(Exception):
    pass


@pytest.fixture
def resumed(run, tmp_path):
    """Return a function that trains with a kill after step 5, of which a checkpoint knows 3."""

    def kill(step: int, computed: dict[str, float]) -> None:
        if step == 5:
            raise Killed

    def trained(*given, **settings):
        how = {"folder": tmp_path, "checkpoint_every": 3}
        with pytest.raises(Killed):
            run(*given, how=how | {"on_step": kill}, **settings)
        steps = []
        made = run(*given, how=how | {"on_step": lambda step, _: steps.append(step)}, **settings)
        assert steps == [4, 5, 6]
        return made, run(*given, how=how, **settings)  # and with nothing left to do

    return trained


@pytest.fixture(scope="session")
def photographs():
    """Eight smooth images of 8 pixels, two alike in colour."""
    coarse = np.random.default_rng(0).integers(0, 256, (8, 2, 2, 3), dtype=np.uint8)
    pixels = coarse.repeat(4, axis=1).repeat(4, axis=2)
    return ImageSet(pixels, np.zeros(8, np.int64), ("all",), "photographs")


@pytest.fixture(scope="session")
def perceptual():
    """A quick distance: pixels and blurred pixels."""
    return Perceptual(lambda x: [avg_pool2d(x, 2)], size=8, weight=1.0)


@pytest.fixture
def pretrained(tiny):
    """Return a function from an architecture to a generator with statistics of its own images."""

    def made(name: str = "sngan", **settings):
        how = {"image_size": 8, **tiny[name], **settings}
        generator = create_generator(name, seed=1, **how)
        classes, length = generator.config.num_classes, generator.config.condition_size

        def conditions(count, draw):
            if classes:
                return torch.randint(classes, (count,), generator=draw)
            return torch.randn(count, length, generator=draw) if length else None

        set_standing_statistics(generator, conditions, seed=0, images=200)
        return generator.eval()

    return made
