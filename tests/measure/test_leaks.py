"""The detectors of leaked augmentations: they fire on DiffAugment's images, not on real digits."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbook.data import load
from synthbook.errors import InputError
from synthbook.gans.augment import diff_augment
from synthbook.measure.leaks import cutout_like, shift_like
from synthbook.randomness import torch_generator

SIZES = [8, 16, 32]


@cache
def digits(size: int) -> np.ndarray:
    return load("digits", image_size=size).train.images


def augmented(size: int, policy: str) -> np.ndarray:
    """Return the digits as DiffAugment shows them, as uint8."""
    images = torch.tensor(digits(size)).permute(0, 3, 1, 2).float() / 127.5 - 1
    changed = diff_augment(images, policy, torch_generator(0, "test"))
    pixels = ((changed + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("size", SIZES)
def test_real_digits_hold_no_such_areas(size):
    assert cutout_like(digits(size)).mean() <= 0.01
    assert shift_like(digits(size)).mean() <= 0.01


@pytest.mark.parametrize("policy", ["cutout", "color,cutout", "color,translation,cutout"])
@pytest.mark.parametrize("size", SIZES)
def test_cutout_is_found(size, policy):
    found = cutout_like(augmented(size, policy))
    # At 8 pixels a cut of 4 may leave 2 inside, less than the window of 3: per axis in 2 of 9.
    assert found.mean() > (0.5 if size == 8 else 0.999)


@pytest.mark.parametrize("policy", ["translation", "color,translation"])
@pytest.mark.parametrize("size", SIZES)
def test_translation_is_found_where_it_moves_by_a_border(size, policy):
    most, border = int(size / 8 + 0.5), max(1, size // 16)
    still = ((2 * border - 1) / (2 * most + 1)) ** 2  # no axis moved by a whole border
    found = shift_like(augmented(size, policy)).mean()
    assert found == pytest.approx(1 - still, abs=4 * np.sqrt(still * (1 - still) / 300))


def test_colour_alone_is_no_leak():
    images = augmented(32, "color")
    assert cutout_like(images).mean() < 0.1
    assert shift_like(images).mean() < 0.15


def image(high: int, wide: int, ground: int = 0, channels: int = 3) -> np.ndarray:
    return np.full((1, high, wide, channels), ground, np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    high=st.integers(4, 40),
    wide=st.integers(4, 40),
    part=st.floats(0.05, 1),
    at=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    level=st.sampled_from([116, 127, 128, 139]),
)
def test_a_square_is_found_anywhere_but_no_smaller_one(high, wide, part, at, level):
    side = max(3, int(min(high, wide) * part + 0.5))
    top, left = (int(share * (s - side)) for share, s in zip(at, (high, wide), strict=True))
    square = image(high, wide)
    square[0, top : top + side, left : left + side] = level
    assert cutout_like(square, part=part).all()
    for hole in ((top, left), (top + side - 1, left + side - 1), (top + side // 2, left)):
        broken = square.copy()
        broken[0, hole[0], hole[1], 1] = 0  # one pixel, in one channel
        assert not cutout_like(broken, part=part).any()


@pytest.mark.parametrize("side", range(4))
def test_a_border_is_found_on_each_side_but_no_thinner_one(side):
    base = image(48, 64)
    thick = (3, 3, 4, 4)[side]
    for thickness in (thick, thick - 1):
        edged = base.copy()
        turned = edged.swapaxes(1, 2) if side > 1 else edged
        turned[:, slice(thickness) if side % 2 == 0 else slice(-thickness, None)] = 127
        assert shift_like(edged).all() == (thickness == thick)


def test_a_border_with_a_gap_is_none():
    row = image(16, 16)
    row[0, 0] = 128
    assert shift_like(row).all()
    row[0, 0, 9, 2] = 0
    assert not shift_like(row).any()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_more_tolerance_or_a_smaller_window_finds_more(seed):
    rng = np.random.default_rng(seed)
    images = rng.normal(127.5, 15, (6, 12, 12, 1)).round().clip(0, 255).astype(np.uint8)
    tolerances = (0.5, 5, 12, 30, 60, 127)
    for detector in (cutout_like, shift_like):
        found = np.stack([detector(images, tolerance=t) for t in tolerances])
        assert (found[1:] >= found[:-1]).all()
        assert not found[0].any()
        assert found[-1].all()
    found = np.stack([cutout_like(images, part=p, tolerance=30) for p in (1.0, 0.5, 0.25, 0.1)])
    assert (found[1:] >= found[:-1]).all()


def test_the_tolerance_is_inclusive_about_the_middle():
    levels = [115, 116, 127, 128, 139, 140]
    images = np.concatenate([image(8, 8, level) for level in levels])
    for detector in (cutout_like, shift_like):
        assert detector(images).tolist() == [False, True, True, True, True, False]
        assert detector(images, tolerance=12.5).all()
        assert detector(images, tolerance=0.5).tolist() == [False, False, True, True, False, False]
        assert detector(images).dtype == bool


def test_bad_input_is_named():
    for detector in (cutout_like, shift_like):
        with pytest.raises(InputError, match="give at least one image as uint8"):
            detector(image(8, 8)[0])
