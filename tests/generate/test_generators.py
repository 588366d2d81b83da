"""Sources: trained once, sampled once, retrained when something that matters changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.gans.train import GanRecipe
from synthbook.generate import generators as sources
from synthbook.generate.unet import DiffusionRecipe

torch.set_num_threads(1)
GAN = GanRecipe(channels=4, latent=4, steps=2, batch_size=4)
DIFFUSION = DiffusionRecipe(channels=(8,), steps=2, batch_size=4)


def noise(count: int = 12, seed: int = 0) -> ImageSet:
    images = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    return ImageSet(images, np.arange(count) % 3, ("a", "b", "c"), "noise")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path))


@pytest.mark.parametrize(("family", "recipe"), [("gan", GAN), ("diffusion", DIFFUSION)])
def test_trained_once_and_sampled_once(family, recipe, monkeypatch):
    steps = []
    source = sources.trained(family, noise(), recipe, seed=0, on_step=lambda k, _: steps.append(k))
    assert steps == [1, 2]
    first = source.sample([0, 1, 2, 0], seed=1)
    assert first.shape == (4, 8, 8, 1)
    assert first.dtype == np.uint8
    assert not list(source.folder.rglob("step-*"))  # no checkpoints are left
    assert source.seconds > 0

    def fail(*args, **settings):
        raise AssertionError("built again")

    module = sources.gan if family == "gan" else sources.diffusion
    monkeypatch.setattr(module, "train_gan" if family == "gan" else "train_diffusion", fail)
    monkeypatch.setattr(module, "sample", fail)
    again = sources.trained(family, noise(), recipe, seed=0)
    assert again == source
    np.testing.assert_array_equal(again.sample([0, 1, 2, 0], seed=1), first)
    for changed in (
        lambda: again.sample([0, 1, 2, 0], seed=2),
        lambda: again.sample([0, 1, 2, 1], seed=1),
        lambda: sources.trained(family, noise(), recipe, seed=1),
        lambda: sources.trained(family, noise(seed=1), recipe, seed=0),
        lambda: sources.trained(family, noise(), dataclasses.replace(recipe, steps=3), seed=0),
    ):
        with pytest.raises(AssertionError, match="built again"):
            changed()


def test_a_killed_training_goes_on():
    class Killed(Exception):
        pass

    def kill(step: int, _) -> None:
        if step == 4:
            raise Killed

    recipe, how = dataclasses.replace(GAN, steps=5), {"seed": 0, "checkpoint_every": 2}
    with pytest.raises(Killed):
        sources.trained("gan", noise(), recipe, on_step=kill, **how)
    steps = []
    sources.trained("gan", noise(), recipe, on_step=lambda k, _: steps.append(k), **how)
    assert steps == [3, 4, 5]


def test_labels_are_checked():
    source = sources.trained("gan", noise(), GAN, seed=0)
    for labels, says in (([3], "class 3"), ([None], "without a class"), ([], "no labels")):
        with pytest.raises(InputError, match=says):
            source.sample(labels, seed=0)
    without = sources.trained(
        "diffusion", noise(), dataclasses.replace(DIFFUSION, condition_dropout=1.0), seed=0
    )
    assert (without.conditional, without.unconditional) == (False, True)
    assert without.sample([None] * 2, seed=0).shape == (2, 8, 8, 1)
    with pytest.raises(InputError, match="without classes"):
        without.sample([0], seed=0)
    only = sources.trained(
        "diffusion", noise(), dataclasses.replace(DIFFUSION, condition_dropout=0.0), seed=0
    )
    with pytest.raises(InputError, match="without a class"):
        only.sample([None], seed=0)
    with pytest.raises(InputError, match="guidance_scale 2"):
        dataclasses.replace(only, guidance_scale=2).sample([0], seed=0)


def test_guidance_makes_other_samples():
    source = sources.trained("diffusion", noise(), DIFFUSION, seed=0, num_inference_steps=2)
    strong = dataclasses.replace(source, guidance_scale=5.0)
    assert (source.sample([0], seed=0) != strong.sample([0], seed=0)).any()


def test_recipes_from_settings():
    assert sources.recipe("gan") == GanRecipe()
    made = sources.recipe("diffusion", {"channels": [8, 16], "steps": 3})
    assert made == DiffusionRecipe(channels=(8, 16), steps=3)
    with pytest.raises(InputError, match="did you mean 'steps'"):
        sources.recipe("gan", {"step": 3})
    with pytest.raises(InputError, match="did you mean 'gan'"):
        sources.recipe("gans")
    with pytest.raises(InputError, match="give a GanRecipe"):
        sources.trained("gan", noise(), DIFFUSION, seed=0)
