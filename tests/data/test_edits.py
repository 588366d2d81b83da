"""Edits keep type and shape, and touch what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthbook.data import edits
from synthbook.data.edits import MIDDLE, Box, erase, grey, paste, random_box, sketch
from synthbook.errors import InputError


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


BOX = Box(2, 3, 4, 5)
EDITS = [
    lambda x: paste(x, noise(1, *x.shape), BOX),
    lambda x: erase(x, BOX),
    grey,
    sketch,
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("edit", EDITS, ids=["paste", "erase", "grey", "sketch"])
def test_type_shape_and_the_images_given_stay(edit, channels):
    images = noise(0, 4, 10, 12, channels)
    before = images.copy()
    edited = edit(images)
    assert edited.dtype == np.uint8
    assert edited.shape == images.shape
    assert (images == before).all()
    assert not np.shares_memory(edited, images)
    if edit is not EDITS[0]:  # each image by itself
        assert (edit(images[2:3]) == edited[2:3]).all()


def test_paste_and_erase_touch_the_box_alone():
    images, others = noise(0, 3, 10, 12, 3), noise(1, 3, 10, 12, 3)
    inside = np.zeros((10, 12), bool)
    inside[2:6, 3:8] = True
    for edited, want in (
        (paste(images, others, BOX), others),
        (paste(images, others[:1], BOX), others[[0, 0, 0]]),
        (erase(images, BOX), np.full_like(images, 127)),
        (erase(images, BOX, 9), np.full_like(images, 9)),
    ):
        assert (edited[:, inside] == want[:, inside]).all()
        assert (edited[:, ~inside] == images[:, ~inside]).all()


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99),
    share=st.floats(0, 1, exclude_min=True),
)  # fmt: skip
def test_a_random_box_is_inside_and_of_the_area_asked_for(height, width, seed, share):
    box = random_box(height, width, share, np.random.default_rng(seed))
    erase(np.zeros((1, height, width, 1), np.uint8), box)  # refuses boxes outside
    for side, full in ((box.height, height), (box.width, width)):
        assert abs(side - max(1, full * share**0.5)) <= 0.5
    assert box == random_box(height, width, share, np.random.default_rng(seed))


def test_a_random_box_may_lie_anywhere():
    draw = np.random.default_rng(0)
    places = {random_box(8, 8, 0.5, draw)[:2] for _ in range(200)}
    assert places == {(top, left) for top in range(3) for left in range(3)}


def test_grey_is_the_luma_in_all_channels():
    images = noise(0, 2, 6, 6, 3)
    made = grey(images)
    assert (made == made[..., :1]).all()
    assert (grey(made) == made).all()
    assert np.abs(made[..., 0] - images @ np.array([0.299, 0.587, 0.114])).max() <= 0.5
    assert (grey(images[..., :1]) == images[..., :1]).all()


def test_a_sketch_is_black_at_the_steepest_edge_and_white_where_nothing_changes():
    step = np.zeros((1, 16, 16, 3), np.uint8)
    step[:, :, 8:] = 40
    lines = sketch(step)
    assert (lines[:, :, 7:9] == 0).all()
    assert (lines[:, :, :3] == 255).all()
    assert (lines[:, :, 13:] == 255).all()
    assert (sketch(np.full((2, 8, 8, 3), 77, np.uint8)) == 255).all()


def test_a_sketch_forgets_brightness_contrast_and_sign():
    images = noise(0, 2, 12, 12, 1) // 3
    for other in (images + 50, 2 * images, 255 - images):
        assert np.abs(sketch(other).astype(int) - sketch(images)).max() <= 1


def test_each_image_is_edited_in_a_box_of_its_own():
    pictures = noise(0, 9, 8, 8, 3)
    erased = edits.edited(pictures, "erase", share=0.25, seed=1)
    pasted = edits.edited(pictures, "paste", share=0.25, seed=1)
    boxes = set()
    for k, (image, hole) in enumerate(zip(pictures, erased, strict=True)):
        changed = (hole != image).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        inside = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        boxes.add((rows[0], columns[0]))
        assert (hole[inside] == MIDDLE).all()
        assert (pasted[k][inside] == pictures[(k + 1) % 9][inside]).all()
        outside = ~changed
        outside[inside] = False
        assert (pasted[k][outside] == image[outside]).all()
        assert changed[inside].size == 16
    assert len(boxes) > 3


def test_edits_without_a_box_are_those_of_their_names():
    pictures = noise(0, 3, 8, 8, 3)
    how = {"share": 0.25, "seed": 1}
    assert edits.edited(pictures, "none", **how) is pictures
    assert (edits.edited(pictures, "grey", **how) == grey(pictures)).all()
    assert (edits.edited(pictures, "sketch", **how) == sketch(pictures)).all()
    for edit in edits.EDITS:
        assert edits.edited(pictures, edit, **how).shape == pictures.shape
    with pytest.raises(InputError, match="did you mean 'erase'"):
        edits.edited(pictures, "erased", **how)


images = noise(0, 2, 8, 8, 3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: grey(images / 255), "give uint8"),
        (lambda: sketch(images[0]), "give uint8"),
        (lambda: erase(images, Box(0, 5, 2, 4)), "not inside images of 8 x 8"),
        (lambda: erase(images, Box(0, 0, 0, 4)), "not inside"),
        (lambda: paste(images, images[:, :4], Box(0, 0, 1, 1)), r"give uint8 \[2, 8, 8, 3\]"),
        (lambda: random_box(8, 8, 0, np.random.default_rng()), "share is 0"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(InputError, match=said):
        call()
