"""Equation 1 against closed forms and finite differences; what the guidance does to a network."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform
from scipy.special import softmax
from scipy.stats import entropy
from torch import Tensor

from synthbook.errors import InputError
from synthbook.randomness import torch_generator
from synthbook.recognize.methods.pretrained_guidance import (
    DISTANCES,
    cosine,
    matching_loss,
    negative_l2,
    off_diagonal,
    pretrained_guidance,
)


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch_generator(seed, "test"), dtype=dtype)


WAYS = [
    {"distance": d, "similarity": "kl", "target": t, "over": o}
    for d, t, o in product(DISTANCES, ("guide", "model"), ("row", "matrix"))
] + [{"distance": d, "similarity": "l1"} for d in DISTANCES]


def test_distances_are_scipys() -> None:
    x = drawn(7, 5)
    np.testing.assert_allclose(1 - cosine(x), squareform(pdist(x, "cosine")), atol=1e-12)
    np.testing.assert_allclose(-negative_l2(x), squareform(pdist(x)), atol=1e-6)


def test_off_diagonal_keeps_the_order() -> None:
    m = torch.arange(16.0).view(4, 4)
    expected = np.array([[m[i, j] for j in range(4) if j != i] for i in range(4)])
    np.testing.assert_array_equal(off_diagonal(m).numpy(), expected)


def test_the_loss_is_scipys_kl_and_the_mean_over_pairs() -> None:
    guide, model = drawn(6, 9), drawn(6, 4, seed=1)

    def loss(**reading: str) -> float:
        return pytest.approx(pretrained_guidance(model, guide, **reading).item(), rel=1e-9)

    a, b = (off_diagonal(cosine(features)).numpy() for features in (guide, model))
    p, q = softmax(a, axis=1), softmax(b, axis=1)
    assert entropy(p, q, axis=1).mean() == loss()
    assert entropy(q, p, axis=1).mean() == loss(target="model")
    assert entropy(softmax(a).ravel(), softmax(b).ravel()) == loss(over="matrix")
    assert np.abs(a - b).mean() == loss(similarity="l1")


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_gradients_are_those_of_finite_differences(way: dict[str, str]) -> None:
    features, guide = drawn(6, 4).requires_grad_(), drawn(6, 7, seed=1)
    assert torch.autograd.gradcheck(lambda x: pretrained_guidance(x, guide, **way), (features,))


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_nothing_to_match_costs_nothing(way: dict[str, str]) -> None:
    """Equal features, features of any width that have equal distances, and turned ones."""
    guide = drawn(6, 4)
    turned = guide @ torch.linalg.qr(drawn(4, 4, seed=2))[0]
    padded = F.pad(guide, (0, 3))
    for features in (guide, turned, padded):
        assert pretrained_guidance(features, guide, **way).item() == pytest.approx(0, abs=1e-6)
    assert pretrained_guidance(drawn(6, 4, seed=3), guide, **way).item() > 1e-4


@given(st.integers(2, 12), st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_any_widths_and_any_order(n: int, width: int, guide_width: int, seed: int) -> None:
    features, guide = drawn(n, width, seed=seed), drawn(n, guide_width, seed=seed + 1)
    shuffled = torch.randperm(n, generator=torch_generator(seed, "order"))
    for way in WAYS:
        loss = pretrained_guidance(features, guide, **way)
        assert loss >= -1e-9
        other = pretrained_guidance(features[shuffled], guide[shuffled], **way)
        assert other.item() == pytest.approx(loss.item(), abs=1e-9)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize(
    "features",
    [torch.ones(5, 3), torch.zeros(5, 3), torch.ones(1, 3), torch.ones(2, 3)],
    ids=["identical", "zeros", "one image", "two images"],
)
def test_degenerate_batches_are_finite(way: dict[str, str], features: Tensor) -> None:
    features = features.clone().requires_grad_()
    guide = drawn(len(features), 4, dtype=torch.float32)
    loss = pretrained_guidance(features, guide, **way)
    loss.backward()
    assert loss.isfinite()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    if len(features) < 2:
        assert loss == 0
        assert not features.grad.any()


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("length", [0.0, 1e-9])
def test_an_image_without_features_takes_no_gradient(way: dict[str, str], length: float) -> None:
    """The direction of a vector of zeros has no slope that a training could follow."""
    features, guide = drawn(6, 4), drawn(6, 7, seed=1)
    features[2] *= length
    features.requires_grad_()
    pretrained_guidance(features, guide, **way).backward()
    assert features.grad is not None
    assert features.grad.norm() < 10
    if way["distance"] == "l2":
        return
    assert not features.grad[2].any()
    others = [k for k in range(6) if k != 2]

    def of_the_others(x: Tensor) -> Tensor:
        together = torch.cat([x[:2], features[2:3].detach(), x[2:]])
        return pretrained_guidance(together, guide, **way)

    assert torch.autograd.gradcheck(of_the_others, (features[others].detach().requires_grad_(),))


def test_cosines_of_other_features_are_those_of_normalised_ones_to_the_bit() -> None:
    features = drawn(64, 1280, dtype=torch.float32).relu()
    weights = drawn(64, 64, seed=1, dtype=torch.float32)
    found = []
    for unit in (None, F.normalize):
        x = features.clone().requires_grad_()
        y = cosine(x) if unit is None else unit(x, dim=1) @ unit(x, dim=1).T
        (y * weights).sum().backward()
        found += [(y.detach(), x.grad)]
    (ours, slope), (theirs, their_slope) = found
    assert torch.equal(ours, theirs)
    torch.testing.assert_close(slope, their_slope)


def test_the_guide_gets_no_gradient() -> None:
    features, guide = drawn(4, 3).requires_grad_(), drawn(4, 3, seed=1).requires_grad_()
    pretrained_guidance(features, guide).backward()
    assert guide.grad is None


def test_under_autocast_it_is_computed_in_float32() -> None:
    features, guide = drawn(8, 16, dtype=torch.float32), drawn(8, 16, seed=1, dtype=torch.float32)
    expected = pretrained_guidance(features, guide)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pretrained_guidance(features, guide), expected)
        rounded = pretrained_guidance(features.bfloat16(), guide.bfloat16())
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(expected.item(), rel=0.05)


@pytest.mark.parametrize(
    ("features", "guide", "options", "message"),
    [
        (torch.ones(3, 2), torch.ones(4, 2), {}, "same N images"),
        (torch.ones(3, 2, 2), torch.ones(3, 2), {}, "same N images"),
        (torch.ones(3, 2), torch.ones(3, 2), {"distance": "cosin"}, "did you mean 'cosine'"),
        (torch.ones(3, 2), torch.ones(3, 2), {"similarity": "k1"}, "similarity 'k1'"),
        (torch.ones(3, 2), torch.ones(3, 2), {"target": "gude"}, "did you mean 'guide'"),
        (torch.ones(3, 2), torch.ones(3, 2), {"over": "col"}, "over 'col'"),
    ],
)
def test_bad_input_is_named(features, guide, options, message) -> None:
    with pytest.raises(InputError, match=message):
        pretrained_guidance(features, guide, **options)


def test_matching_loss_ignores_the_diagonal() -> None:
    p, q = drawn(5, 5), drawn(5, 5, seed=1)
    for similarity in ("kl", "l1"):
        before = matching_loss(p, q, similarity=similarity)
        after = matching_loss(p + 9 * torch.eye(5), q - 5 * torch.eye(5), similarity=similarity)
        assert torch.equal(before, after)
