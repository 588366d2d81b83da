"""The linear probe: both solvers find the one optimum, and the search is what loops would do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from synthbook.data import ImageSet
from synthbook.data.deferred import deferred
from synthbook.errors import InputError
from synthbook.recognize import probe as module
from synthbook.recognize.probe import (
    Linear,
    Search,
    fit,
    held_out,
    probe,
    probe_features,
    search,
    turned,
)


def blobs(
    count: int = 120, width: int = 12, classes: int = 4, seed: int = 0, kind: type = np.float64
) -> tuple[np.ndarray, np.ndarray]:
    """Return overlapping clusters of unequal deviations and correlated features."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = draw.normal(0, 1, (classes, width))
    mixing = draw.normal(0, 1, (width, width)) * np.geomspace(3, 0.05, width)
    return ((centres[labels] + draw.normal(0, 1.5, (count, width))) @ mixing + 5).astype(
        kind
    ), labels


def names(count: int) -> tuple[str, ...]:
    return tuple(f"class {k}" for k in range(count))


def gradient(linear: Linear, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of L in standardised features, by hand: (p - y)^T z / N + l2 W, and the mean of p - y."""
    mean, deviation = features.mean(0), features.std(0)
    z, inside = (features - mean) / deviation, linear.weights * deviation
    logits = linear.logits(features)
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return np.concatenate([(p.T @ z / len(z) + linear.l2 * inside).ravel(), p.mean(0)])


def loss(linear: Linear, features: np.ndarray, labels: np.ndarray) -> float:
    logits = linear.logits(features)
    logits = logits - logits.max(1, keepdims=True)
    entropy = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
    inside = linear.weights * features.std(0)
    return float(entropy.mean() + linear.l2 / 2 * (inside**2).sum())


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("solver", ["torch", "sklearn"])
def test_the_gradient_is_zero_at_the_optimum(solver: str, classes: int) -> None:
    features, labels = blobs(classes=classes)
    how = {"classes": names(classes), "solver": solver, "tolerance": 1e-8}
    for linear in fit(features, labels, (1e-1, 1e-2, 1e-3), **how):
        assert np.abs(gradient(linear, features, labels)).max() < 1e-6
        assert linear.gradient < 1e-6


@pytest.mark.parametrize("classes", [2, 4])
def test_solvers_agree_in_loss_and_predictions(classes: int) -> None:
    features, labels = blobs(classes=classes)
    how = {"classes": names(classes), "tolerance": 1e-8}
    both = [fit(features, labels, (1e-1, 1e-3), solver=s, **how) for s in ("torch", "sklearn")]
    for ours, theirs in zip(*both, strict=True):
        assert loss(ours, features, labels) == pytest.approx(loss(theirs, features, labels))
        ours, theirs = (torch.tensor(x.logits(features)).softmax(1) for x in (ours, theirs))
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_more_features_than_images_and_one_that_never_changes() -> None:
    features, labels = blobs(count=24, width=40)
    features[:, 3] = 7.0
    how = {"classes": names(4), "tolerance": 1e-8}
    ours, theirs = (fit(features, labels, 1e-2, solver=s, **how)[0] for s in ("torch", "sklearn"))
    assert np.allclose(ours.weights, theirs.weights, atol=1e-5)
    assert np.allclose(ours.weights[:, 3], 0)


def test_float32_and_blocks_change_digits_only(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs()
    how = {"classes": names(4), "tolerance": 1e-6}
    whole = fit(features, labels, 1e-2, **how)[0]
    single = fit(features.astype(np.float32), labels, 1e-2, **how | {"tolerance": 1e-4})[0]
    assert single.weights.dtype == np.float32
    assert loss(single, features, labels) == pytest.approx(loss(whole, features, labels), abs=1e-5)
    monkeypatch.setattr(module, "BLOCK", 4 * 50)
    parts = fit(features, labels, 1e-2, **how)[0]
    assert np.allclose(parts.weights, whole.weights, atol=1e-6)


def test_two_points_of_two_classes_have_a_closed_form() -> None:
    """At z = -1 and 1, with weights -w and w: 1 / (1 + exp(2 w)) = l2 w."""
    w = 0.3
    features, labels = np.array([[-1.0], [1.0]]), np.array([0, 1])
    for solver in ("torch", "sklearn"):
        how = {"classes": names(2), "solver": solver, "tolerance": 1e-9}
        (linear,) = fit(features, labels, 1 / (1 + np.exp(2 * w)) / w, **how)
        assert linear.weights[:, 0].tolist() == pytest.approx([-w, w], abs=1e-6)


def test_a_strong_penalty_leaves_the_shares_of_the_classes() -> None:
    features, _ = blobs()
    labels = np.repeat([0, 1, 2], [60, 40, 20])
    (linear,) = fit(features, labels, 1e5, classes=names(3), tolerance=1e-8)
    p = torch.tensor(linear.logits(features)).softmax(1)
    assert torch.allclose(p, torch.tensor([3 / 6, 2 / 6, 1 / 6], dtype=p.dtype), atol=1e-3)


def test_features_may_be_moved_and_scaled() -> None:
    features, labels = blobs()
    other = features * np.geomspace(0.1, 10, 12) + 100
    how = {"classes": names(4), "tolerance": 1e-7}
    here, there = (fit(x, labels, 1e-2, **how)[0].logits(x) for x in (features, other))
    assert np.allclose(here - here.mean(1, keepdims=True), there - there.mean(1, keepdims=True),
                       atol=1e-4)  # fmt: skip


def test_the_search_is_a_plain_loop_over_scikit_learn() -> None:
    features, labels = blobs(count=200)
    strengths, seeds = (1.0, 1e-1, 1e-2, 1e-3), (3, 4)
    found = search(
        turned(features), labels, classes=names(4), strengths=strengths, seeds=seeds, tolerance=1e-7
    )
    z = (features - features.mean(0)) / features.std(0)
    for i, seed in enumerate(seeds):
        out = held_out(labels, 0.2, seed)
        for k, l2 in enumerate(strengths):
            model = LogisticRegression(C=1 / (l2 * (~out).sum()), tol=1e-8, max_iter=5000)
            model.fit(z[~out], labels[~out])
            assert found.held_out[i, k] == pytest.approx(100 * model.score(z[out], labels[out]))
    assert found.best == strengths[int(found.held_out.mean(0).argmax())]


def test_the_search_rates_by_the_metric_that_is_asked_for() -> None:
    features, labels = blobs(count=240)
    chosen = np.flatnonzero((labels > 0) | (np.arange(240) < 60))  # fewer of class 0
    features, labels = features[chosen], labels[chosen]
    how = {"classes": names(4), "strengths": (1e-2,), "seeds": (3,), "metric": "mean_per_class"}
    found = search(turned(features), labels, **how, tolerance=1e-7).held_out[0, 0]
    z, out = (features - features.mean(0)) / features.std(0), held_out(labels, 0.2, 3)
    model = LogisticRegression(C=1 / (1e-2 * (~out).sum()), tol=1e-8, max_iter=5000)
    told = model.fit(z[~out], labels[~out]).predict(z[out])
    assert found == pytest.approx(100 * balanced_accuracy_score(labels[out], told))
    assert found != pytest.approx(100 * (told == labels[out]).mean(), abs=0.5)


def test_held_out_images_of_each_class() -> None:
    labels = np.repeat([0, 1, 2], [2, 10, 101])
    mask = held_out(labels, 0.2, 0)
    assert np.bincount(labels[mask]).tolist() == [1, 2, 20]
    assert (held_out(labels, 0.99, 0)[labels == 0].sum(), mask.dtype) == (1, bool)
    assert (mask == held_out(labels, 0.2, 0)).all()
    assert (mask != held_out(labels, 0.2, 1)).any()


def test_of_equal_strengths_the_strongest_is_taken() -> None:
    rated = np.array([[50.0, 60, 60, 40]])
    found = Search((1.0, 0.1, 0.01, 0.001), (0,), rated)
    assert found.best == 0.1


def test_labels_of_the_test_choose_nothing() -> None:
    features, labels = blobs(count=160)
    test, right = features[:40], labels[:40]
    how = {"classes": names(4), "strengths": (1e-1, 1e-3), "seeds": (0,)}
    one = probe_features(features[40:], labels[40:], test, right, **how)
    other = probe_features(features[40:], labels[40:], test, (right + 1) % 4, **how)
    assert (one.linear.weights == other.linear.weights).all()
    assert (one.search.held_out == other.search.held_out).all()
    assert one.measures["top1"] > 50 > other.measures["top1"]


def pictures(classes: int = 3, count: int = 30, seed: int = 0) -> ImageSet:
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    pixels = draw.integers(0, 90, (count, 8, 8, 3)) + 60 * labels[:, None, None, None]
    return ImageSet(pixels.astype(np.uint8), labels, names(classes), "pictures")


def mean_colour(images: np.ndarray) -> np.ndarray:
    return images.mean((1, 2)).astype(np.float32)


def test_each_set_is_encoded_once_and_from_files_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def encode(images: np.ndarray) -> np.ndarray:
        seen.append(len(images))
        return mean_colour(images)

    train, test = pictures(), pictures(seed=1)
    how = {"strengths": (1.0, 1e-2), "seeds": (0, 1)}
    held = probe(encode, train, test, **how)
    assert seen == [30, 30]
    assert held.measures["top1"] > 90
    monkeypatch.setattr(module, "CHUNK", 8)
    seen.clear()
    read = probe(encode, deferred(train), deferred(test), **how)
    assert seen == [8, 8, 8, 6] * 2
    assert np.allclose(read.linear.weights, held.linear.weights, rtol=1e-4)
    assert read.search.held_out.shape == (2, 2)


def test_one_image_of_a_class_is_enough_for_one_strength() -> None:
    train = pictures().subset([0, 1, 2])
    assert probe(mean_colour, train, pictures(seed=1), strengths=[1e-3]).measures["top1"] > 80


def broken(images: np.ndarray) -> np.ndarray:
    features = mean_colour(images)
    features[1] = np.inf
    return features


@pytest.mark.parametrize(
    ("train", "options", "said"),
    [
        (pictures().subset([0, 1, 2, 3, 4]), {}, "class 'class 2' .* has one training image"),
        (pictures().subset([0, 1, 3, 4]), {}, "class 'class 2' .* has no training image"),
        (pictures(), {"encode": broken}, "features of 1 of 30 images .* not finite"),
        (pictures(), {"encode": lambda x: x.mean((1, 2, 3))}, r"the encoder has to give \[N, D\]"),
        (pictures(), {"strengths": []}, "give finite numbers above 0"),
        (pictures(), {"strengths": [1.0, 0.0]}, "give finite numbers above 0"),
        (pictures(), {"seeds": []}, "and a seed"),
        (pictures(), {"share": 1.0}, "share is 1.0"),
        (pictures(), {"solver": "sklern"}, "did you mean 'sklearn'"),
        (pictures(), {"metric": "top2"}, "did you mean 'top5'"),
        (pictures(classes=2), {}, "one list with of_classes"),
    ],
)
def test_bad_input_is_named(train: ImageSet, options: dict, said: str) -> None:
    encode = options.pop("encode", mean_colour)
    with pytest.raises(InputError, match=said):
        probe(encode, train, pictures(seed=1), **options)
