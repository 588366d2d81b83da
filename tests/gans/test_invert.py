"""Inversion finds what a generator drew, each image by itself; walks go from end to end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthbook.errors import InputError
from synthbook.gans.invert import FREEDOMS, free_numbers, invert, walk
from synthbook.gans.networks import create_generator
from synthbook.gans.sampling import as_pixels, sample, set_standing_statistics

SIZE, LENGTH = 16, 5
TINY = {"image_size": SIZE, "channels": 8, "latent": 12, "embedding": 6, "init": "orthogonal"}


def vectors(count: int, draw: torch.Generator) -> torch.Tensor:
    return torch.randn(count, LENGTH, generator=draw)


@pytest.fixture(scope="module")
def generator():
    made = create_generator("sngan", condition_size=LENGTH, seed=1, **TINY)
    set_standing_statistics(made, vectors, seed=0, images=500)
    return made.eval()


@pytest.fixture(scope="module")
def conditions():
    return vectors(5, torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def start(generator, conditions):
    return generator.embed(conditions).detach()


@pytest.fixture(scope="module")
def outside():
    """Images that no small network draws: coarse noise."""
    coarse = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def test_a_generated_image_is_found_again(generator, conditions, start):
    queries = sample(generator, conditions, seed=5)
    assert queries.std() > 30
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    found = invert(generator, queries, start, seed=0, steps=200)
    assert found.ivom < 1e-5  # rounding to pixels alone makes some 1e-6
    assert np.abs(found.images.astype(int) - queries).max() <= 2
    for name, value in generator.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(p.grad is None for p in generator.parameters())


def test_what_is_returned_draws_the_images_and_is_the_best_step(generator, start, outside):
    found = invert(generator, outside, start, seed=0, steps=30)
    assert found.history.shape == (31, 5)
    assert (found.errors == found.history.min(0)).all()
    assert (found.errors < 0.9 * found.history[0]).all()
    drawn = generator.from_embedding(found.latents, found.embedded).detach()
    assert np.abs(as_pixels(drawn).astype(int) - found.images).max() <= 1
    queries = torch.from_numpy(outside).permute(0, 3, 1, 2) / 255
    errors = ((drawn + 1) / 2 - queries).square().mean((1, 2, 3))
    np.testing.assert_allclose(errors, found.errors, rtol=1e-4)
    assert found.ivom == found.errors.mean()


def test_the_first_step_is_the_start(generator, start, outside):
    found = invert(generator, outside, start, seed=4, steps=0)
    for freedom in FREEDOMS:
        other = invert(generator, outside, start, seed=4, steps=0, freedom=freedom)
        np.testing.assert_allclose(other.errors, found.errors, rtol=1e-5)
    assert torch.equal(found.embedded, start[:, None].expand(-1, generator.num_blocks, -1))
    again = invert(generator, outside, start, seed=5, steps=0)
    assert not torch.equal(found.latents, again.latents)


def test_each_image_is_found_by_itself(generator, start, outside):
    exact = create_generator("sngan", condition_size=LENGTH, **TINY).double()
    exact.load_state_dict(generator.state_dict())
    whole = invert(exact, outside, start, seed=0, steps=25)
    single = invert(exact, outside, start, seed=0, steps=25, batch_size=2)
    fewer = invert(exact, outside[:3], start[:3], seed=0, steps=25)
    np.testing.assert_allclose(single.history, whole.history, rtol=1e-9)
    np.testing.assert_allclose(fewer.history, whole.history[:, :3], rtol=1e-9)
    torch.testing.assert_close(single.embedded, whole.embedded)


def test_more_freedom_draws_better(generator, start, outside):
    z, one, blocks = (
        invert(generator, outside, start, seed=0, steps=80, freedom=freedom) for freedom in FREEDOMS
    )
    assert blocks.ivom < 1.05 * one.ivom
    assert one.ivom < 1.05 * z.ivom
    assert blocks.ivom < 0.9 * z.ivom
    assert torch.equal(z.embedded, start[:, None].expand_as(z.embedded))
    assert torch.equal(one.embedded[:, 0], one.embedded[:, 1])
    assert not torch.equal(blocks.embedded[:, 0], blocks.embedded[:, 1])


@pytest.mark.parametrize("name", ["sngan_self_modulated", "stylegan2"])
def test_a_generator_without_conditions_gets_the_same_freedom(name, outside, pair):
    sizes = TINY if name.startswith("sngan") else {"latent": 12}
    modulated, _ = pair(
        name, **{"size": SIZE} | {k: v for k, v in sizes.items() if k != "image_size"}
    )
    set_standing_statistics(modulated, lambda count, draw: None, seed=0, images=500)
    z, blocks = (
        invert(modulated, outside, seed=0, steps=60, freedom=freedom) for freedom in ("z", "blocks")
    )
    assert blocks.embedded.shape == (5, modulated.num_blocks, 12)
    np.testing.assert_allclose(z.history[0], blocks.history[0], rtol=1e-5)
    assert blocks.ivom < z.ivom
    # The vectors that all start at z give the images of z.
    latents = torch.randn(3, 12)
    same = latents[:, None].expand(-1, modulated.num_blocks, -1)
    torch.testing.assert_close(modulated.from_embedding(latents, same), modulated(latents))


def test_z_starts_where_it_is_told(generator, start, outside):
    latents = torch.randn(5, 12)
    found = invert(generator, outside, start, seed=4, steps=0, latents=latents)
    assert torch.equal(found.latents, latents)
    drawn = as_pixels(generator.from_embedding(latents, start).detach())
    assert np.abs(drawn.astype(int) - found.images).max() <= 1
    before = latents.clone()
    invert(generator, outside, start, seed=4, steps=2, latents=latents)
    assert torch.equal(latents, before)


@pytest.mark.parametrize("freedom", FREEDOMS)
@pytest.mark.parametrize("name", ["sngan", "sngan_self_modulated", "biggan", "stylegan2"])
def test_the_numbers_that_are_free_are_those_that_reach_the_image(name, freedom, pair):
    conditioned = {"condition_size": LENGTH} if name == "sngan" else {}
    made, _ = pair(name, **conditioned, **({"latent": 6} if name == "biggan" else {}))
    if not name.startswith("style"):
        set_standing_statistics(
            made,
            lambda count, draw: None if not conditioned else vectors(count, draw),
            seed=0,
            images=50,
        )
    size = 6 if conditioned else made.config.latent
    z = torch.randn(3, made.config.latent, requires_grad=True)
    condition = None
    free = [z]
    if freedom != "z" and name != "biggan":
        copies = made.num_blocks if freedom == "blocks" else 1
        free.append(torch.randn(3, copies, size, requires_grad=True))
        condition = free[1].expand(-1, made.num_blocks, -1)
    elif conditioned:
        condition = torch.randn(3, size)
    made.eval().from_embedding(z, condition).square().sum().backward()
    reached = sum(
        int((tensor.grad != 0).any(0).sum()) for tensor in free if tensor.grad is not None
    )
    assert free_numbers(made, freedom) == reached


def test_where_z_is_cut_into_parts_it_is_all(outside):
    parts = create_generator("biggan", seed=1, **TINY)
    assert invert(parts, outside, seed=0, steps=2).embedded is None


@pytest.mark.parametrize("name", ["stylegan2", "stylegan2_mlp", "biggan"])
def test_other_architectures(name, pair, outside):
    size = {} if name == "stylegan2" else {"condition_size": LENGTH}
    made, _ = pair(name, SIZE, **({"latent": 6} if name == "biggan" else {}), **size)
    start = made.embed(torch.randn(5, LENGTH)).detach() if size else None
    found = invert(made, outside, start, seed=0, steps=15)
    assert (found.errors < found.history[0]).all()


def test_a_walk_goes_from_end_to_end(generator, conditions, start):
    images = walk(generator, conditions[0], conditions[1], seed=2, images=5)
    assert images.shape == (5, SIZE, SIZE, 3)
    back = walk(generator, conditions[1], conditions[0], seed=2, images=5)
    assert np.abs(back[::-1].astype(int) - images).max() <= 1
    stays = walk(generator, conditions[0], conditions[0], seed=2, images=3)
    assert (stays == images[:1]).all()
    # G_emb is affine here, so that a walk after it is the same.
    after = walk(generator, start[0], start[1], seed=2, images=5, embedded=True)
    assert np.abs(after.astype(int) - images).max() <= 1
    apart = np.abs(images.astype(int) - images[:1]).mean((1, 2, 3))
    assert apart[4] > apart[1] > 0


images = np.zeros((2, SIZE, SIZE, 3), np.uint8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": images[:, :8]}, r"so give queries of that shape"),
        ({"images": images / 255}, "are float64"),
        ({"embedded": None}, "no conditions to start from"),
        (
            {"embedded": torch.zeros(2, LENGTH)},
            r"embedded is \[2, 5\]; give finite floats \[2, 6\]",
        ),
        ({"embedded": torch.full((2, 6), torch.nan)}, "give finite"),
        ({"latents": torch.zeros(2, 5)}, r"latents is \[2, 5\]; give finite floats \[2, 12\]"),
        ({"freedom": "block"}, "did you mean 'blocks'"),
    ],
)
def test_bad_input_is_named(change, said, generator):
    given = {"images": images, "embedded": torch.zeros(2, 6), **change}
    with pytest.raises(InputError, match=said):
        invert(generator, seed=0, **given)


def test_generators_without_blocks_and_walks_without_length_are_refused(generator, pair):
    with pytest.raises(InputError, match="'resnet' takes no conditions a block"):
        invert(pair("resnet", SIZE)[0], images, seed=0)
    with pytest.raises(InputError, match="no layer that embeds"):
        invert(pair("sngan", SIZE)[0], images, torch.zeros(2, 6), seed=0)
    with pytest.raises(InputError, match="two vectors of one length"):
        walk(generator, torch.zeros(5), torch.zeros(4), seed=0)
    with pytest.raises(InputError, match="a walk of 1 images"):
        walk(generator, torch.zeros(5), torch.zeros(5), seed=0, images=1)
