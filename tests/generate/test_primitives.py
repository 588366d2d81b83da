"""Drawn images: the same bytes in every batch, order, worker and process; bad input."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from synthbook.errors import InputError
from synthbook.generate.primitives import (
    POLICIES,
    PUBLIC_CODE,
    VARIANTS,
    Primitives,
    PrimitivesDataset,
    batches,
    draw_shapes,
    layers,
    synthesize,
)
from synthbook.measure.spectra import spectral_slope
from synthbook.store import root

torch.set_num_threads(1)
WHERE = {"resolution": 32, "seed": 3}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("resolution", [8, 32, 128])
def test_image_k_is_the_same_in_every_batch_and_order(variant, resolution):
    recipe, where = Primitives(variant), {"resolution": resolution, "seed": 1}
    whole = synthesize(recipe, 7, **where)
    assert whole.shape == (7, resolution, resolution, 3)
    assert whole.dtype == np.uint8
    for batch_size in (1, 3, 7):
        assert (synthesize(recipe, 7, batch_size=batch_size, **where) == whole).all()
    order = [6, 0, 3, 3]
    assert (synthesize(recipe, indices=order, **where) == whole[order]).all()


@settings(max_examples=20, deadline=None)
@given(
    variant=st.sampled_from(VARIANTS),
    policy=st.sampled_from(POLICIES),
    shapes=st.integers(0, 150),
    quirks=st.sets(st.sampled_from(PUBLIC_CODE)),
    index=st.integers(0, 2**40),
)
def test_any_image_alone_is_that_of_a_batch(variant, policy, shapes, quirks, index):
    recipe = Primitives(variant, shapes=shapes, size_policy=policy, quirks=tuple(quirks))
    alone = synthesize(recipe, indices=[index], **WHERE)
    assert (synthesize(recipe, indices=[5, index, 9], **WHERE)[1] == alone[0]).all()


def test_seeds_and_indices_give_other_images():
    images = [synthesize(Primitives(), 40, resolution=16, seed=seed) for seed in (0, 1)]
    assert len({one.tobytes() for one in np.concatenate(images)}) == 80


def test_another_process_draws_the_same():
    code = (
        "import hashlib\n"
        "from synthbook.generate.primitives import Primitives, synthesize\n"
        "images = synthesize(Primitives(), indices=[4, 2], resolution=64, seed=5)\n"
        "print(hashlib.sha256(images.tobytes()).hexdigest())"
    )
    path = os.pathsep.join([str(root() / "src"), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    here = synthesize(Primitives(), indices=[4, 2], resolution=64, seed=5)
    assert done.stdout.strip() == hashlib.sha256(here.tobytes()).hexdigest()


def loaded(recipe: Primitives, workers: int, batch_size: int = 3) -> torch.Tensor:
    dataset = PrimitivesDataset(recipe, 12, **WHERE)
    return torch.cat(list(DataLoader(dataset, batch_size, num_workers=workers)))


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_draw_what_synthesize_draws(workers):
    images = loaded(Primitives(), workers).permute(0, 2, 3, 1).numpy()
    assert (images == synthesize(Primitives(), 12, **WHERE)).all()


def test_a_data_set_has_items_and_an_end():
    dataset = PrimitivesDataset(Primitives(), 5, **WHERE)
    assert len(dataset) == 5
    assert dataset[2].shape == (3, 32, 32)
    assert dataset[2].dtype == torch.uint8
    assert torch.equal(dataset[-1], dataset[4])
    with pytest.raises(IndexError, match="5 images"):
        dataset[5]
    assert len(list(dataset)) == 5  # iteration ends by IndexError


def test_variants_share_their_shapes():
    drawn = {variant: draw_shapes(Primitives(variant), [4], **WHERE) for variant in VARIANTS}
    plain = drawn["Primitives"].geometry
    assert (plain == drawn["Primitives-S"].geometry[:, :100]).all()
    assert (drawn["Primitives-S"].geometry == drawn["Primitives-PS"].geometry).all()
    assert drawn["PinkNoise"].geometry.shape == (1, 0, 5)


def test_primitives_ps_is_noise_and_primitives_put_together():
    images = {v: synthesize(Primitives(v), 5, resolution=64, seed=0) for v in VARIANTS}
    top = layers(Primitives(), 5, resolution=64, seed=0)
    ground, salient = top == 0, top == 101
    assert ground.any(axis=(1, 2)).all()
    assert salient.any(axis=(1, 2)).all()
    ps = images["Primitives-PS"]
    assert (ps[ground] == images["PinkNoise"][ground]).all()
    assert (ps[~ground & ~salient] == images["Primitives-S"][~ground & ~salient]).all()
    assert (images["Primitives"][~salient] == images["Primitives-S"][~salient]).all()
    for image, inside in zip(images["Primitives-S"], salient, strict=True):
        assert len(np.unique(image[inside], axis=0)) == 1  # flat
    for image, inside in zip(ps, salient, strict=True):
        assert len(np.unique(image[inside], axis=0)) > 20  # patterned


def test_no_shapes_leave_the_ground_and_the_large_shape():
    assert set(np.unique(layers(Primitives(shapes=0), 3, **WHERE))) == {0, 1}
    flat = synthesize(Primitives("Primitives", shapes=0), 3, **WHERE)
    assert (flat == flat[:, :1, :1]).all()
    assert len(np.unique(flat[:, 0, 0], axis=0)) == 3


def test_batches_are_as_large_as_asked():
    assert [len(b) for b in batches(Primitives(), 5, batch_size=2, **WHERE)] == [2, 2, 1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_draws_the_same_shapes_and_noise_of_its_own():
    where = {"resolution": 128, "seed": 0}
    flat = Primitives("Primitives-S")
    here = synthesize(flat, 40, **where)
    there = synthesize(flat, 40, device="cuda", **where)
    assert (here != there).any(-1).mean() < 1e-4
    noise = Primitives("PinkNoise", exponents=(1, 1))
    again = [synthesize(noise, 40, device="cuda", batch_size=b, **where) for b in (40, 7)]
    assert np.abs(again[0].astype(int) - again[1]).max() <= 1  # rounding of a batched transform
    other = synthesize(noise, 40, **where)
    assert (again[0] != other).any()
    assert abs(again[0].std() / other.std() - 1) < 0.15
    assert abs(spectral_slope(again[0]).mean() - spectral_slope(other).mean()) < 0.05
    ps = synthesize(Primitives(), 40, device="cuda", **where)
    assert (ps == here)[layers(flat, 40, **where) % 101 > 0].all(-1).mean() > 0.999


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size_policy": "decay"}, "did you mean 'Decay'"),
        ({"quirks": ("grey",)}, "holds 'grey'"),
        ({"exponents": (3.5, 0.5)}, "give the lower end first"),
    ],
)
def test_bad_recipes_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(Primitives(), **change)


@pytest.mark.parametrize("resolution", [0, 4, 100, 8192, 32.0, True])
def test_resolutions_other_than_powers_of_two_are_refused(resolution):
    with pytest.raises(InputError, match="no power of two"):
        synthesize(Primitives(), 1, resolution=resolution, seed=0)
    with pytest.raises(InputError, match="no power of two"):
        PrimitivesDataset(Primitives(), 1, resolution=resolution, seed=0)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"count": 0}, "0 images; give 1 or more"),
        ({"count": -3}, "-3 images"),
        ({"indices": []}, "0 images"),
        ({"indices": [2, -1]}, "image -1 does not exist"),
        ({}, "either the count"),
        ({"count": 1, "indices": [0]}, "either the count"),
    ],
)
def test_images_that_cannot_be_drawn_are_refused(asked, message):
    with pytest.raises(InputError, match=message):
        synthesize(Primitives(), **asked, **WHERE)
    with pytest.raises(InputError, match="0 images"):
        PrimitivesDataset(Primitives(), 0, **WHERE)
