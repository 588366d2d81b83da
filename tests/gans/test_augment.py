"""DiffAugment: what each part does to pixels, its draws, and its gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbook.errors import InputError
from synthbook.gans.augment import augmentation, color, diff_augment
from synthbook.randomness import torch_generator

ALL = "color,translation,cutout"


def draw(k: int = 0) -> torch.Generator:
    return torch_generator(k, "test")


def step_by_step(images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Return what brightness, saturation and contrast give one after the other."""
    b, s, c = (d[:, None, None, None] for d in draws)
    x = images + (b - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (2 * s) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (c + 0.5) + mean


@pytest.mark.parametrize("channels", [1, 3])
def test_color_equals_its_three_steps(channels):
    images, draws = torch.randn(5, channels, 8, 8), torch.rand(3, 5)
    torch.testing.assert_close(color(images, draws), step_by_step(images, draws))


def test_color_without_change_is_identity_and_extremes_are_the_stated_ones():
    images = torch.randn(1, 3, 8, 8)
    still = torch.tensor([[0.5], [0.5], [0.5]])
    torch.testing.assert_close(color(images, still), images)
    grey = color(images, torch.tensor([[0.5], [0.0], [0.5]]))
    torch.testing.assert_close(grey, images.mean(1, keepdim=True).expand_as(images))
    bright = color(images, torch.tensor([[1.0], [0.5], [0.5]]))
    torch.testing.assert_close(bright, images + 0.5)


@settings(max_examples=25, deadline=None)
@given(size=st.sampled_from([8, 16, 32]), seed=st.integers(0, 10**6))
def test_translation_moves_by_an_eighth_at_most_and_fills_with_zeros(size, seed):
    images = torch.rand(1, 2, size, size) + 1
    moved = diff_augment(images, "translation", draw(seed))
    most, found = int(size / 8 + 0.5), []
    for dy in range(-most, most + 1):
        for dx in range(-most, most + 1):
            expected = torch.zeros_like(images)
            rows, columns = (
                slice(max(0, -dy), size - max(0, dy)),
                slice(max(0, -dx), size - max(0, dx)),
            )
            source = images[
                :, :, slice(max(0, dy), size + min(0, dy)), slice(max(0, dx), size + min(0, dx))
            ]
            expected[:, :, rows, columns] = source
            found.append(torch.equal(moved, expected))
    assert sum(found) == 1


@settings(max_examples=25, deadline=None)
@given(size=st.sampled_from([8, 9, 16]), seed=st.integers(0, 10**6))
def test_cutout_clears_a_square_and_nothing_else(size, seed):
    images = torch.rand(3, 2, size, size) + 1
    cut = diff_augment(images, "cutout", draw(seed))
    side = int(size / 2 + 0.5)
    for image, before in zip(cut, images, strict=True):
        gone = (image == 0).all(0)
        assert torch.equal(image[:, ~gone], before[:, ~gone])
        rows, columns = gone.any(1).nonzero().flatten(), gone.any(0).nonzero().flatten()
        assert gone.sum() == len(rows) * len(columns)  # a rectangle, clipped by the border
        for places in (rows, columns):
            full = places[-1] - places[0] + 1 == side
            assert full or places[0] == 0 or places[-1] == size - 1
            assert side // 2 <= len(places) <= side


def test_every_shift_and_every_place_of_the_cutout_comes_up():
    ones = torch.ones(4000, 1, 8, 8)
    gone = diff_augment(ones, "translation", draw())[:, 0] == 0
    assert gone[:, 0].all(1).float().mean().item() == pytest.approx(1 / 3, abs=0.05)  # shift of -1
    assert gone[:, -1].all(1).float().mean().item() == pytest.approx(1 / 3, abs=0.05)
    gone = diff_augment(ones, "cutout", draw())[:, 0] == 0
    heights = gone.any(2).sum(1)
    # Centres 0..8 are equally likely, and the square of 4 is clipped at both ends.
    assert [int(k) for k in heights.unique()] == [2, 3, 4]
    assert (heights == 4).float().mean().item() == pytest.approx(5 / 9, abs=0.05)


def test_every_image_has_draws_of_its_own_from_the_given_generator():
    images = torch.randn(1, 3, 16, 16).expand(6, -1, -1, -1)
    first, again = (diff_augment(images, ALL, draw()) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, diff_augment(images, ALL, draw(1)))
    assert len({image.numpy().tobytes() for image in first}) == 6
    state = torch.random.get_rng_state()
    diff_augment(images, ALL, draw())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("policy", ["color", "translation", "cutout", ALL])
def test_gradient_equals_finite_differences(policy):
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: diff_augment(x, policy, draw()), images)
    assert torch.autograd.gradgradcheck(lambda x: diff_augment(x, policy, draw()), images)


def test_names_in_any_order_mean_the_same_and_none_draws_nothing():
    images = torch.randn(4, 3, 8, 8)
    reordered = diff_augment(images, "cutout,translation,color", draw())
    assert torch.equal(reordered, diff_augment(images, ALL, draw()))
    generator = draw()
    assert augmentation("")(images, generator) is images
    assert torch.equal(generator.get_state(), draw().get_state())


@pytest.mark.parametrize(
    ("policy", "says"),
    [("colour", "did you mean 'color'"), ("color,color", "given twice")],
)
def test_bad_names_say_what_is_wrong(policy, says):
    with pytest.raises(InputError, match=says):
        augmentation(policy)
