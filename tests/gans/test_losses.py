"""GAN losses and regularisers against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthbook.gans.losses import LOSSES, PathLength, lazy_adam, r1_penalty

REAL, FAKE = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 1.0])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


KNOWN = {
    "hinge": ((0 + 0.5 + 2) / 3 + (0 + 1 + 2) / 3, 2 / 3),
    "non_saturating": (
        sum(softplus(-x) for x in REAL.tolist()) / 3 + sum(softplus(x) for x in FAKE.tolist()) / 3,
        sum(softplus(-x) for x in FAKE.tolist()) / 3,
    ),
    "wasserstein": (-2 / 3 - 0.5, 2 / 3),
}


@pytest.mark.parametrize("name", list(LOSSES))
def test_losses_at_known_points(name):
    discriminator, generator = KNOWN[name]
    assert LOSSES[name].discriminator(REAL, FAKE).item() == pytest.approx(discriminator, abs=1e-6)
    assert LOSSES[name].generator(FAKE).item() == pytest.approx(generator, abs=1e-6)


def test_r1_of_a_linear_discriminator_is_its_squared_norm():
    weight = torch.randn(3 * 4 * 4, requires_grad=True)
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    penalty = r1_penalty(images.flatten(1) @ weight + 2, images)
    torch.testing.assert_close(penalty, weight.square().sum())
    (gradient,) = torch.autograd.grad(penalty, weight)  # it can be trained on
    torch.testing.assert_close(gradient, 2 * weight)


def linear_images(matrix: torch.Tensor, styles: torch.Tensor) -> torch.Tensor:
    """Return images [N, 1, 4, 4] linear in the mean style [N, D]."""
    return (styles.sum(1) @ matrix.T).view(-1, 1, 4, 4)


def test_path_lengths_of_a_linear_generator():
    """There J is a constant matrix A, and the lengths are ||A^T y|| for the y that were drawn."""
    matrix, styles = torch.randn(16, 6), torch.randn(50, 3, 6, requires_grad=True)
    path_length = PathLength()
    images = linear_images(matrix, styles)
    lengths = path_length.lengths(images, styles, torch.Generator().manual_seed(3))
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(3)) / 4
    torch.testing.assert_close(lengths, (noise.flatten(1) @ matrix).norm(dim=1))


def test_path_length_penalty_vanishes_for_a_scaled_isometry_and_its_average_moves():
    """Columns that are orthogonal and equally long make E ||A^T y||^2 = s^2 D / (H W)."""
    basis, _ = torch.linalg.qr(torch.randn(16, 16))
    path_length = PathLength(decay=0.5)
    styles = torch.randn(4000, 1, 16, requires_grad=True)
    draw = torch.Generator().manual_seed(0)
    lengths = path_length.lengths(linear_images(3 * basis, styles), styles, draw)
    assert lengths.square().mean().item() == pytest.approx(9, rel=0.02)
    draw = torch.Generator().manual_seed(0)
    penalty = path_length(linear_images(3 * basis, styles), styles, draw)
    assert path_length.mean.item() == pytest.approx(0.5 * lengths.mean().item(), rel=1e-5)
    expected = (lengths - path_length.mean).square().mean()
    torch.testing.assert_close(penalty, expected)
    assert list(path_length.state_dict()) == ["mean"]


def test_path_length_penalty_can_be_trained_on():
    matrix = torch.randn(16, 6, dtype=torch.float64, requires_grad=True)
    styles = torch.randn(4, 2, 6, dtype=torch.float64, requires_grad=True)

    def penalty(matrix: torch.Tensor) -> torch.Tensor:
        images = linear_images(matrix, styles)
        lengths = PathLength().double()
        lengths.mean.fill_(0.7)
        lengths.decay = 0.0
        return lengths(images, styles, torch.Generator().manual_seed(1))

    assert torch.autograd.gradcheck(penalty, matrix)


@given(rate=st.floats(1e-5, 1e-1), beta=st.floats(0.1, 0.999), interval=st.integers(1, 64))
def test_lazy_adam_keeps_the_pace(rate, beta, interval):
    """interval + 1 lazy steps move and forget as much as interval plain ones."""
    lazy_rate, (_, lazy_beta) = lazy_adam(rate, (0.0, beta), interval)
    assert (interval + 1) * lazy_rate == pytest.approx(interval * rate)
    assert lazy_beta ** (interval + 1) == pytest.approx(beta**interval)
    assert lazy_adam(rate, (0.0, beta), interval)[1][0] == 0
