"""Equation 1 against closed forms and finite differences; what the guidance does to a network."""

from __future__ import annotations

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
    {"distance": d, "similarity": s, "target": t, "over": o}
    for d in DISTANCES
    for s, t, o in (
        ("l1", "guide", "row"),
        ("kl", "guide", "row"),
        ("kl", "model", "row"),
        ("kl", "guide", "matrix"),
        ("kl", "model", "matrix"),
    )
]


def test_cosine_is_scipys() -> None:
    x = drawn(7, 5)
    expected = 1 - squareform(pdist(x.numpy(), "cosine"))
    np.testing.assert_allclose(cosine(x).numpy(), expected, atol=1e-12)


def test_l2_is_minus_scipys() -> None:
    x = drawn(7, 5)
    expected = -squareform(pdist(x.numpy()))
    np.testing.assert_allclose(negative_l2(x).numpy(), expected, atol=1e-6)


def test_off_diagonal_keeps_the_order() -> None:
    m = torch.arange(16.0).view(4, 4)
    expected = np.array([[m[i, j] for j in range(4) if j != i] for i in range(4)])
    np.testing.assert_array_equal(off_diagonal(m).numpy(), expected)


def test_kl_of_rows_is_scipys() -> None:
    guide, model = drawn(6, 9), drawn(6, 4, seed=1)
    p = softmax(off_diagonal(cosine(guide)).numpy(), axis=1)
    q = softmax(off_diagonal(cosine(model)).numpy(), axis=1)
    forward = pretrained_guidance(model, guide)
    assert forward.item() == pytest.approx(entropy(p, q, axis=1).mean(), rel=1e-9)
    backward = pretrained_guidance(model, guide, target="model")
    assert backward.item() == pytest.approx(entropy(q, p, axis=1).mean(), rel=1e-9)


def test_kl_over_the_matrix_is_scipys() -> None:
    guide, model = drawn(6, 9), drawn(6, 4, seed=1)
    p = softmax(off_diagonal(cosine(guide)).numpy().ravel())
    q = softmax(off_diagonal(cosine(model)).numpy().ravel())
    found = pretrained_guidance(model, guide, over="matrix")
    assert found.item() == pytest.approx(entropy(p, q), rel=1e-9)


def test_l1_is_the_mean_over_pairs() -> None:
    guide, model = drawn(5, 3), drawn(5, 8, seed=1)
    gaps = (cosine(guide) - cosine(model)).abs()
    found = pretrained_guidance(model, guide, similarity="l1")
    assert found.item() == pytest.approx(gaps.sum().item() / 20, rel=1e-9)


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
