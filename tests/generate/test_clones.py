"""Clones: class shares, and the confidence filter against a brute-force version."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.generate.clones import class_shares, clone, confident, filtered_clone
from synthbook.randomness import derive, numpy_generator

CLASSES = ("a", "b", "c")


@dataclass
class Fake:
    """A generator whose images say in their pixels what a classifier will see in them."""

    classes: tuple[str, ...] = CLASSES
    family: str = "fake"
    never: int = -1
    left: None = None

    def __post_init__(self) -> None:
        self.asked: list[list[int | None]] = []
        self.settings: list[dict[str, float]] = []

    def sample(self, labels, *, seed: int, **settings: float) -> np.ndarray:
        self.asked.append(list(labels))
        self.settings.append(settings)
        draw = numpy_generator(seed, "fake")
        images = draw.integers(0, 256, (len(labels), 2, 2, 1), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            seen = draw.integers(3) if label is None or draw.random() < 0.3 else label
            image[0, 0] = seen if seen != self.never else (seen + 1) % 3
        return images


def probabilities(images: np.ndarray) -> np.ndarray:
    """Return for each image a top probability of 1/2..1 for the class in its first pixel."""
    top = 0.5 + images[:, 0, 1, 0] / 510
    result = np.repeat((1 - top)[:, None] / 2, 3, axis=1)
    result[np.arange(len(images)), images[:, 0, 0, 0]] = top
    return result


def like(*counts: int) -> ImageSet:
    labels = np.repeat(np.arange(3), counts)
    return ImageSet(np.zeros((len(labels), 2, 2, 1), np.uint8), labels, CLASSES, "like")


@given(st.lists(st.integers(0, 30), min_size=3, max_size=3).filter(sum), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_shares_sum_up_and_are_within_one_of_the_proportion(counts, count):
    shares = class_shares(like(*counts), count)
    assert shares.sum() == count
    assert (np.abs(shares - np.array(counts) * count / sum(counts)) < 1).all()
    assert not shares[np.array(counts) == 0].any()


def test_clone_has_the_proportions_in_mixed_order():
    generator = Fake()
    made = clone(generator, like(10, 20, 30), count=120, seed=0, guidance_scale=3.0)
    assert made.counts().tolist() == [20, 40, 60]
    assert generator.asked == [made.labels.tolist()]
    assert generator.settings == [{"guidance_scale": 3.0}]
    assert np.diff(made.labels).astype(bool).sum() > 30  # not sorted by class
    with pytest.raises(InputError, match="same classes"):
        clone(Fake(classes=("a", "b")), like(1, 1, 1), count=3, seed=0)


@pytest.mark.parametrize("unconditional", [False, True])
@pytest.mark.parametrize("confidence", [0.0, 0.8])
def test_filter_equals_brute_force(unconditional, confidence):
    generator, real = Fake(), like(10, 20, 30)
    how = {"count": 90, "confidence": confidence, "unconditional": unconditional, "seed": 4}
    how["num_inference_steps"] = 7
    made, report = filtered_clone(generator, real, probabilities, **how)
    # Go through everything that was drawn, image by image.
    rounds, left = Fake(), {0: 15, 1: 30, 2: 45}
    images, labels, accepted, drawn = [], [], 0, 0
    for number, asked in enumerate(generator.asked):
        for image, wanted in zip(
            rounds.sample(asked, seed=derive(4, "filtered clone", number)), asked, strict=True
        ):
            drawn += 1
            row = probabilities(image[None])[0]
            best = max(range(3), key=lambda k: row[k])
            if not confidence and not unconditional:
                best = wanted  # no filter at all
            if row[best] > confidence and (unconditional or best == wanted):
                accepted += 1
                if left[best]:
                    left[best] -= 1
                    images.append(image)
                    labels.append(best)
    np.testing.assert_array_equal(made.images, images)
    np.testing.assert_array_equal(made.labels, labels)
    assert made.counts().tolist() == [15, 30, 45]
    assert (report["drawn"], report["accepted"], report["kept"]) == (drawn, accepted, 90)
    assert report["share"] == accepted / drawn
    assert report["confidence"] == confidence
    assert report["agreement"] is (confidence > 0 and not unconditional)
    assert generator.settings == [{"num_inference_steps": 7}] * len(generator.asked)
    assert all(all(label is None for label in asked) == unconditional for asked in generator.asked)
    again, _ = filtered_clone(Fake(), real, probabilities, **how)
    assert again.fingerprint() == made.fingerprint()
    assert (drawn == 90) is (not confidence and not unconditional)


@pytest.mark.parametrize(("count", "most"), [(30, 600), (600, 4_000)])
@pytest.mark.parametrize("unconditional", [False, True])
def test_a_class_that_never_comes_is_named_long_before_the_limit(unconditional, count, most):
    generator = Fake(never=1)
    how = {"count": count, "unconditional": unconditional, "seed": 0}
    said = f"took 0 of .* fake samples for class 'b', of which {count // 3} are wanted from"
    with pytest.raises(InputError, match=said) as error:
        filtered_clone(generator, like(1, 1, 1), probabilities, **how)
    assert sum(map(len, generator.asked)) <= min(most, 20 * count)
    assert "set confidence lower than 0.8" in str(error.value)
    assert ("unconditional to []" in str(error.value)) is unconditional


def doubtful(images: np.ndarray) -> np.ndarray:
    """Return probabilities as `probabilities` does, but never above 0.6 for class 2."""
    result = probabilities(images)
    result[images[:, 0, 0, 0] == 2] = [0.2, 0.2, 0.6]
    return result


@pytest.mark.parametrize("unconditional", [False, True])
def test_the_largest_confidence_that_fills_the_classes_is_taken(unconditional):
    real, how = like(1, 1, 1), {"count": 600, "unconditional": unconditional, "seed": 0}
    generator, levels = Fake(), (0.0, 0.5, 0.65)
    made, report = filtered_clone(generator, real, doubtful, fallbacks=levels, **how)
    assert report["confidence"] == 0.5
    assert report["drawn"] == sum(map(len, generator.asked)) < 4_000
    assert made.counts().tolist() == [200, 200, 200]
    assert (doubtful(made.images).max(axis=1) > 0.5).all()
    # Where the confidence asked for is within reach, fallbacks change nothing.
    for confidence in (0.8, 0.5):
        plain, relaxed = (
            filtered_clone(
                Fake(), real, probabilities, confidence=confidence, fallbacks=some, **how
            )
            for some in ((), levels)
        )
        assert plain[0].fingerprint() == relaxed[0].fingerprint()
        assert plain[1] == relaxed[1]


def test_asked_for_classes_can_always_be_had_without_a_filter():
    how = {"count": 30, "unconditional": False, "seed": 0, "fallbacks": [0.0]}
    made, report = filtered_clone(Fake(never=1), like(1, 1, 1), probabilities, **how)
    assert (report["confidence"], report["agreement"]) == (0.0, False)
    assert made.counts().tolist() == [10, 10, 10]


LOGITS = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.floats(-20, 20),
)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@given(LOGITS, st.floats(0, 0.99), st.randoms(use_true_random=False))
def test_confident_agrees_with_its_definition_row_by_row(x, confidence, random):
    probs = softmax(x)
    condition = np.array([random.randrange(x.shape[1]) for _ in x])
    keep, labels = confident(probs, confidence)
    both, _ = confident(probs, confidence, condition)
    for row, p in enumerate(probs):
        assert p[labels[row]] == max(p)
        assert keep[row] == (max(p) > confidence)
        assert both[row] == (keep[row] and labels[row] == condition[row])


def test_the_confidence_itself_is_not_above_it():
    assert confident(np.array([[0.75, 0.25]]), 0.75)[0].tolist() == [False]
    assert confident(np.array([[0.75, 0.25]]), 0.7499)[0].tolist() == [True]


def test_half_precision_rows_are_distributions():
    probs = softmax(np.random.default_rng(0).normal(size=(50, 10))).astype(np.float16)
    assert confident(probs, 0.1)[0].shape == (50,)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[2.0, 1.0]], r"probabilities\[0\].*softmax"),
        ([[0.5, 0.5], [np.nan, 1.0]], r"probabilities\[1\]"),
        ([[1.5, -0.5]], "no distribution"),
    ],
)
def test_logits_and_nan_are_no_probabilities(rows, said):
    with pytest.raises(InputError, match=said):
        confident(np.array(rows), 0.8)
