"""Views of a batch: what torchvision makes of one image, for each image of it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as T

from synthbook.errors import InputError
from synthbook.randomness import torch_generator
from synthbook.recognize import views as module
from synthbook.recognize.views import (
    GREY_SHARE,
    ViewRecipe,
    blended,
    blurred,
    boxes,
    cropped,
    jittered,
    luma,
    turned_hue,
    view,
    views,
)


def noise(count: int = 6, channels: int = 3, height: int = 20, width: int = 24) -> torch.Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0))


@given(
    st.integers(8, 40), st.integers(8, 40), st.floats(0.1, 1), st.floats(0, 1), st.integers(0, 99)
)
def test_boxes_are_inside_and_of_the_area_and_shape_asked_for(
    height: int, width: int, low: float, more: float, seed: int
) -> None:
    scale = (low, low + more * (1 - low))
    made = boxes(50, height, width, scale, torch.Generator().manual_seed(seed))
    top, left, high, wide = made.unbind(1)
    assert (made[:, :2] >= 0).all()
    assert (made[:, 2:] >= 1).all()
    assert (top + high <= height).all()
    assert (left + wide <= width).all()
    area = height * width
    assert ((high - 0.5) * (wide - 0.5) <= scale[1] * area + 1e-6).all()
    free = (high < height) & (wide < width)  # not cut
    assert ((high + 0.5) * (wide + 0.5) >= scale[0] * area - 1e-6)[free].all()
    assert ((wide - 0.5) / (high + 0.5) <= 4 / 3 + 1e-6)[free].all()
    assert ((wide + 0.5) / (high - 0.5) >= 3 / 4 - 1e-6)[free].all()


def test_boxes_lie_anywhere() -> None:
    made = boxes(400, 4, 4, (0.25, 0.25), torch.Generator().manual_seed(0))
    square = made[(made[:, 2] == 2) & (made[:, 3] == 2)]
    assert {tuple(corner) for corner in square[:, :2].tolist()} == {
        (a, b) for a in range(3) for b in range(3)
    }


@pytest.mark.parametrize("size", [8, 16, 33])
def test_a_crop_is_torchvisions(size: int) -> None:
    images = noise()
    box = boxes(6, 20, 24, (0.1, 1.0), torch.Generator().manual_seed(size))
    flips = torch.tensor([True, False] * 3)
    made = cropped(images, box, flips, size)
    for image, one, flip, found in zip(images, box.tolist(), flips, made, strict=True):
        want = T.resized_crop(image, *one, [size, size], antialias=True)
        assert torch.allclose(found, want.flip(2) if flip else want, atol=1e-5)


def test_colours_are_torchvisions() -> None:
    images, factors = noise(), torch.linspace(0.5, 1.5, 6)
    shifts = torch.linspace(-0.5, 0.5, 6)
    mean = luma(images).mean((1, 2, 3), keepdim=True)
    for k in range(6):
        factor, image, one = factors[k].item(), images[k], factors[k : k + 1]
        for others, function in (
            (torch.zeros_like(images), T.adjust_brightness),
            (mean, T.adjust_contrast),
            (luma(images), T.adjust_saturation),
        ):
            found = blended(images[k : k + 1], others[k : k + 1], one)[0]
            assert torch.allclose(found, function(image, factor), atol=2e-4)
        found = turned_hue(images, shifts)[k]
        assert torch.allclose(found, T.adjust_hue(image, shifts[k].item()), atol=1e-4)


def test_hues_go_in_a_circle_and_greys_have_none() -> None:
    images = noise()
    for turns in (0.0, 1.0, -1.0):
        assert torch.allclose(turned_hue(images, torch.full((6,), turns)), images, atol=1e-5)
    grey = luma(images).expand(-1, 3, -1, -1)
    assert torch.allclose(turned_hue(grey, torch.full((6,), 0.3)), grey)


def test_a_blur_is_torchvisions() -> None:
    images, deviation = noise(), torch.tensor([0.0, 0.3, 0.6, 1.0, 1.5, 2.0])
    made = blurred(images, deviation)
    assert torch.equal(made[0], images[0])
    for k in range(1, 6):
        want = T.gaussian_blur(images[k], [13, 13], [deviation[k].item()] * 2)
        assert torch.allclose(made[k], want, atol=1e-5)


def test_a_share_of_the_images_becomes_grey_and_all_stay_in_range() -> None:
    images = noise(2000, 3, 2, 2)
    made = jittered(images, 1.0, torch.Generator().manual_seed(1))
    grey = (made.amax(1) - made.amin(1)).amax((1, 2)) < 1e-6
    assert abs(grey.float().mean().item() - GREY_SHARE) < 0.03
    assert (made.min() >= 0, made.max() <= 1) == (True, True)
    same = (made == images).all((1, 2, 3)) | ((made - images).abs().amax((1, 2, 3)) < 1e-5)
    assert abs(same.float().mean().item() - 0.2 * 0.8) < 0.03


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_the_strength_says_how_far_brightness_and_contrast_go(strength: float) -> None:
    """Of two levels, 0.3 +- 0.1, brightness scales the mean, and both scale what is between."""
    images = torch.tensor([0.2, 0.4]).expand(4000, 1, 2, 2)
    made = jittered(images, strength, torch.Generator().manual_seed(0))
    brightness = made.mean((1, 2, 3)) / 0.3
    contrast = (made[:, 0, 0, 1] - made[:, 0, 0, 0]) / 0.2 / brightness
    for factor in (brightness, contrast):
        ends = factor.min().item(), factor.max().item()
        assert ends == pytest.approx((1 - 0.4 * strength, 1 + 0.4 * strength), abs=0.01)
    assert ((brightness - 1).abs() > 1e-4).float().mean().item() == pytest.approx(0.8, abs=0.03)


def test_saturation_goes_as_far_as_it_is_told() -> None:
    images = torch.tensor([0.4, 0.3, 0.25])[:, None, None].expand(4000, 3, 1, 1)
    chroma = []
    for saturation in (0.0, 0.6):
        made = jittered(images, 0.5, torch.Generator().manual_seed(0), saturation)
        chroma.append(made.amax((1, 2, 3)) - made.amin((1, 2, 3)))
    coloured = chroma[0] > 1e-3  # not grey
    factor = chroma[1][coloured] / chroma[0][coloured]
    assert (factor.min().item(), factor.max().item()) == pytest.approx((0.7, 1.3), abs=0.01)


@pytest.mark.parametrize("flip", [False, True])
def test_half_of_the_views_are_mirrored_if_asked_for(flip: bool) -> None:
    across = torch.arange(32.0).expand(400, 1, 32, 32) / 255
    recipe = ViewRecipe(jitter=0.0, blur=0.0, flip=flip)
    seen = view(across, 16, (0.4, 1.0), recipe, torch.Generator().manual_seed(0))
    turned = (seen[..., 0] > seen[..., -1]).all(2).float().mean().item()
    assert turned == pytest.approx(0.5 if flip else 0, abs=0.08 if flip else 0)


def test_a_share_of_the_views_is_blurred(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(
        module, "blurred", lambda images, deviation: told.append(deviation) or images
    )
    recipe = ViewRecipe(jitter=0.0, blur=0.3, blur_deviation=(0.2, 0.5))
    view(noise(2000, 1, 4, 4), 4, (1.0, 1.0), recipe, torch.Generator().manual_seed(0))
    some = told[0][told[0] > 0]
    assert len(some) / 2000 == pytest.approx(0.3, abs=0.04)
    assert (some.min().item(), some.max().item()) == pytest.approx((0.2, 0.5), abs=0.01)


def test_views_have_their_sizes_and_repeat() -> None:
    images = (255 * noise(5, 3, 32, 32)).byte()
    recipe = ViewRecipe(global_views=2, local_views=3)
    made = views(images, recipe, torch_generator(0, "views", 4))
    assert [tuple(one.shape) for one in made] == [(5, 3, 32, 32)] * 2 + [(5, 3, 16, 16)] * 3
    assert all(one.min() >= 0 and one.max() <= 1 + 1e-6 for one in made)
    again = views(images, recipe, torch_generator(0, "views", 4))
    assert all(torch.equal(a, b) for a, b in zip(made, again, strict=True))
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(made[0], views(images, recipe, torch_generator(0, "views", 5))[0])


def test_a_small_view_shows_less_than_a_large_one() -> None:
    across = torch.arange(32, dtype=torch.uint8).expand(200, 1, 32, 32)
    recipe = ViewRecipe(global_views=1, local_views=1, jitter=0.0, blur=0.0)
    large, small = (255 * one for one in views(across, recipe, torch_generator(0, "views")))
    width = [one.amax((1, 2, 3)) - one.amin((1, 2, 3)) + 1 for one in (large, small)]
    assert width[1].max() < 0.4**0.5 * (4 / 3) ** 0.5 * 32 + 1
    assert width[0].mean() > width[1].mean() + 8


def test_grey_images_stay_grey() -> None:
    made = views((255 * noise(3, 1, 16, 16)).byte(), ViewRecipe(local_size=8), torch.Generator())
    assert {one.shape[1] for one in made} == {1}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: views(noise(), ViewRecipe(), torch.Generator()), "give uint8"),
        (lambda: ViewRecipe(global_scale=(1.0, 0.4)), "global_scale = .* is no range"),
        (lambda: ViewRecipe(local_scale=(0.0, 0.4)), "local_scale = .* is no range"),
        (lambda: ViewRecipe(global_views=0), "global_views = 0"),
        (lambda: ViewRecipe(flips=True), "did you mean 'flip'"),
    ],
)
def test_bad_input_is_named(call, said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()
