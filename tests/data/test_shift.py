"""Shifted test photographs: what changes, what stays, and which images may be asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthbook.data import ImageSet, Splits, edits, load
from synthbook.data.shift import (
    SHIFTS,
    STYLES,
    hardest,
    hardness,
    print_,
    renditions,
    second_draw,
    sketches,
    styles_of,
)
from synthbook.errors import InputError

CLASSES = ("a", "b", "c")


def noise(labels: list[int], channels: int = 3, seed: int = 0, size: int = 12) -> ImageSet:
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 256, (len(labels), size, size, channels), dtype=np.uint8)
    return ImageSet(pixels, np.array(labels, dtype=np.int64), CLASSES, "noise")


def smooth(count: int = 8) -> np.ndarray:
    """Return a bright disc on a dark ground, anywhere, uint8 [count, 24, 24, 3]."""
    draw, at = np.random.default_rng(0), np.arange(24)
    images = []
    for _ in range(count):
        y, x = draw.integers(8, 16, 2)
        disc = (at[:, None] - y) ** 2 + (at - x) ** 2 < 36
        image = np.where(disc[..., None], [200, 180, 160], [40, 60, 50])
        images.append(np.clip(image + draw.normal(0, 4, (24, 24, 3)), 0, 255))
    return np.stack(images).astype(np.uint8)


def luma(images: np.ndarray) -> np.ndarray:
    return edits.grey(images)[..., 0].astype(float)


def test_sketches_are_edges():
    images = noise([0, 1, 2])
    made = sketches(images)
    assert (made.images == edits.sketch(images.images)).all()
    assert (made.labels == images.labels).all()
    assert (made.classes, made.name) == (CLASSES, "noise-sketch")


@pytest.mark.parametrize("channels", [1, 3])
def test_renditions_repeat_by_their_seed_and_keep_labels(channels):
    images = noise([0, 1, 2, 0, 1, 2, 0, 0], channels)
    before = images.images.copy()
    made, again, other = (renditions(images, seed=s) for s in (1, 1, 2))
    assert made.images.dtype == np.uint8
    assert made.images.shape == images.images.shape
    assert (images.images == before).all()
    assert made.fingerprint() == again.fingerprint() != other.fingerprint()
    assert (made.labels == images.labels).all()
    assert (made.images != images.images).any((1, 2, 3)).all()
    assert made.name == "noise-rendition"


def test_each_class_has_each_style_as_often():
    images = noise([0] * 16 + [1] * 8 + [2] * 5)
    styles = styles_of(images, 3)
    for k, least in ((0, 4), (1, 2), (2, 1)):
        names, counts = np.unique(styles[images.labels == k].astype(str), return_counts=True)
        assert set(names) == set(STYLES)
        assert counts.min() >= least
        assert counts.max() <= least + 1


@pytest.mark.parametrize("style", STYLES)
def test_a_style_keeps_what_is_light_light_and_changes_colours(style):
    images = smooth()
    for k, image in enumerate(images):
        made = STYLES[style](image, np.random.default_rng(k))
        before, after = luma(image[None])[0], luma(made[None])[0]
        disc = before > 120
        assert after[disc].mean() > after[~disc].mean() + 30
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.5
        assert np.abs(made.astype(int) - image).mean() > 10


def test_styles_have_few_colours_where_they_say_so():
    draw = np.random.default_rng(0)
    image = noise([0]).images[0]
    assert len(np.unique(print_(image, draw).reshape(-1, 3), axis=0)) == 2
    assert 2 <= len(np.unique(STYLES["poster"](image, draw).reshape(-1, 3), axis=0)) <= 4


@given(st.integers(1, 30), st.floats(0.01, 1), st.booleans(), st.integers(0, 10**6))
def test_the_hardest_are_harder_than_the_others(count, share, balanced, seed):
    draw = np.random.default_rng(seed)
    images = noise(draw.integers(0, 3, count).tolist(), size=4, seed=seed)
    logits = draw.normal(size=(count, 3))
    made = hardest(images, logits, share=share, balanced=balanced)
    hard = hardness(logits, images.labels)
    where = [np.flatnonzero((images.images == one).all((1, 2, 3)))[0] for one in made.images]
    assert where == sorted(where)
    kept = np.isin(np.arange(count), where)
    for k in range(3) if balanced else [None]:
        group = images.labels == k if balanced else np.ones(count, bool)
        assert (kept & group).sum() == np.ceil(share * group.sum())
        if (kept & group).any() and (~kept & group).any():
            assert hard[kept & group].min() >= hard[~kept & group].max()


def test_wrong_images_come_before_all_that_are_right():
    images = noise([0, 1, 2, 0])
    logits = torch.tensor([[2.0, 0, 0], [0, 0.1, 0], [3, 0, 2], [0, 5, 0]])
    assert hardness(logits, images.labels).tolist() == pytest.approx([-2, -0.1, 1, 5])
    assert ((hardness(logits, images.labels) > 0) == (logits.argmax(1).numpy() != images.labels)
            ).all()  # fmt: skip
    made = hardest(images, logits, share=0.5)
    assert (made.images == images.images[2:]).all()  # unaltered, in their order
    assert made.name == "noise-adversarial"


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load("caltech10")


def pixels_of(images: ImageSet) -> set[bytes]:
    return {image.tobytes() for image in images.images}


def test_a_second_draw_is_of_other_images_and_the_same_classes(splits):
    made = second_draw(splits, seed=1)
    assert not pixels_of(made) & (pixels_of(splits.train) | pixels_of(splits.test))
    assert pixels_of(made) <= pixels_of(splits.val)
    assert len(made) > 0.9 * len(splits.val)
    shares = [part.counts() / len(part) for part in (made, splits.test)]
    assert np.abs(shares[0] - shares[1]).max() < 0.005
    assert made.fingerprint() == second_draw(splits, seed=1).fingerprint()
    assert made.fingerprint() != second_draw(splits, seed=2).fingerprint()
    assert made.name == "caltech10-v2"


def test_each_shift_has_its_name(splits):
    few = Splits(splits.train, splits.val, splits.test.subset(range(0, 1114, 20)))
    logits = np.zeros((len(few.test), 10))
    for shift, made in zip(SHIFTS, (
        sketches(few.test), renditions(few.test, seed=1), hardest(few.test, logits, share=0.5),
        second_draw(few, seed=1),
    ), strict=True):  # fmt: skip
        assert made.name == f"caltech10-{shift}"
        assert made.classes == few.test.classes
        assert len(made) == len(few.test) or shift in ("adversarial", "v2")


def test_bad_input_is_named():
    images = noise([0, 1])
    bad = np.zeros((2, 3))
    bad[0, 1] = np.nan
    empty = Splits(images, noise([0, 0]), images)
    for call, said in (
        (lambda: hardest(images, np.zeros((2, 4))), r"give \[2, 3\]"),
        (lambda: hardest(images, np.zeros((2, 3)), share=0), "share is 0"),
        (lambda: hardest(images, bad), "nan"),
        (lambda: second_draw(empty), r"no validation image of class 'b'.* by other_tests \(v2="),
    ):
        with pytest.raises(InputError, match=said):
            call()
