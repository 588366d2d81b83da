"""Generators: trained once, sampled once, retrained when something that matters changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.gans.recipes import GanRecipe
from synthbook.generate import generators
from synthbook.generate.generators import FAMILIES, trained
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
    generators._load.cache_clear()


@pytest.mark.parametrize(("family", "recipe"), [("gan", GAN), ("diffusion", DIFFUSION)])
def test_trained_once_and_sampled_once(family, recipe, no_builds):
    steps = []
    model = trained(family, noise(), recipe, seed=0, on_step=lambda k, _: steps.append(k))
    assert steps == [1, 2]
    first = model.sample([0, 1, 2, 0], seed=1)
    assert first.shape == (4, 8, 8, 1)
    assert first.dtype == np.uint8
    assert not list(model.folder.rglob("step-*"))  # no checkpoints are left

    no_builds(generators)
    again = trained(family, noise(), recipe, seed=0)
    assert again == model
    np.testing.assert_array_equal(again.sample([0, 1, 2, 0], seed=1), first)
    for other in (
        lambda: again.sample([0, 1, 2, 0], seed=2),
        lambda: again.sample([0, 1, 2, 1], seed=1),
        lambda: trained(family, noise(), recipe, seed=1),
        lambda: trained(family, noise(seed=1), recipe, seed=0),
        lambda: trained(family, noise(), dataclasses.replace(recipe, steps=3), seed=0),
    ):
        with pytest.raises(AssertionError, match="built again"):
            other()


def test_a_killed_training_goes_on():
    class Killed(Exception):
        pass

    def kill(step: int, _) -> None:
        if step == 4:
            raise Killed

    recipe, how = dataclasses.replace(GAN, steps=5), {"seed": 0, "checkpoint_every": 2}
    with pytest.raises(Killed):
        trained("gan", noise(), recipe, on_step=kill, **how)
    steps = []
    trained("gan", noise(), recipe, on_step=lambda k, _: steps.append(k), **how)
    assert steps == [3, 4, 5]


def test_an_edit_of_one_family_leaves_the_other_alone(no_builds, monkeypatch):
    for family, recipe in (("gan", GAN), ("diffusion", DIFFUSION)):
        trained(family, noise(), recipe, seed=0).sample([0, 1], seed=1)
    edited = dataclasses.replace(FAMILIES["gan"], train=lambda *_, **__: None)
    monkeypatch.setitem(FAMILIES, "gan", edited)
    no_builds(generators)
    trained("diffusion", noise(), DIFFUSION, seed=0).sample([0, 1], seed=1)
    with pytest.raises(AssertionError, match="built again"):
        trained("gan", noise(), GAN, seed=0)


def test_labels_are_checked():
    gan = trained("gan", noise(), GAN, seed=0)
    for labels, says in (([3], "class 3"), ([None], "without a class"), ([], "no labels")):
        with pytest.raises(InputError, match=says):
            gan.sample(labels, seed=0)
    without = trained(
        "diffusion", noise(), dataclasses.replace(DIFFUSION, condition_dropout=1.0), seed=0
    )
    assert (without.conditional, without.unconditional) == (False, True)
    assert without.sample([None] * 2, seed=0).shape == (2, 8, 8, 1)
    with pytest.raises(InputError, match="without classes"):
        without.sample([0], seed=0)
    only = trained(
        "diffusion", noise(), dataclasses.replace(DIFFUSION, condition_dropout=0.0), seed=0
    )
    with pytest.raises(InputError, match="without a class"):
        only.sample([None], seed=0)
    for model, labels in ((gan, [0]), (without, [None]), (only, [0])):
        with pytest.raises(InputError, match="guidance_scale 2"):
            model.sample(labels, seed=0, guidance_scale=2)


def test_every_setting_of_sampling_makes_other_images():
    model = trained("diffusion", noise(), DIFFUSION, seed=0)
    how = {"guidance_scale": 1.0, "num_inference_steps": 2}
    plain = model.sample([0], seed=0, **how)
    for other in ({"guidance_scale": 5.0}, {"num_inference_steps": 3}):
        assert (plain != model.sample([0], seed=0, **how | other)).any()


def test_a_family_takes_its_own_recipe():
    assert trained("gan", noise(), GAN, seed=0).family == "gan"
    with pytest.raises(InputError, match="did you mean 'gan'"):
        trained("gans", noise(), GAN, seed=0)
    with pytest.raises(InputError, match="give a GanRecipe"):
        trained("gan", noise(), DIFFUSION, seed=0)
