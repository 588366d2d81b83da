"""Losses and regularisers of GANs: one small function each, to a scalar."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus


class Loss(NamedTuple):
    """The two sides of a GAN's game; logits are [N], large for "real"."""

    discriminator: Callable[[Tensor, Tensor], Tensor]  # (real logits, fake logits) -> scalar
    generator: Callable[[Tensor], Tensor]  # fake logits -> scalar


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))] (Lim & Ye 2017; Miyato et al. 2018, Eq. 16)."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """-E[D(G(z))] (Lim & Ye 2017; Miyato et al. 2018, Eq. 17)."""
    return -fake.mean()


def non_saturating_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-E log p(real) - E log p(fake) of logits (Goodfellow et al. 2014, Eq. 1)."""
    return softplus(-real).mean() + softplus(fake).mean()


def non_saturating_generator(fake: Tensor) -> Tensor:
    """-E log p(real) of fakes (Goodfellow et al. 2014, Sec. 3)."""
    return softplus(-fake).mean()


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[D(G(z))] - E[D(x)] (Arjovsky et al. 2017, Eq. 2); the networks must bound the slope."""
    return fake.mean() - real.mean()


LOSSES = {
    "hinge": Loss(hinge_discriminator, hinge_generator),
    "non_saturating": Loss(non_saturating_discriminator, non_saturating_generator),
    "wasserstein": Loss(wasserstein_discriminator, hinge_generator),
}


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """E ||grad_x D(x)||^2 over real images (Mescheder et al. 2018, Eq. 9, without gamma / 2).

    ``logits`` [N] were computed from ``images`` [N, C, H, W], which require a gradient; with an
    augmentation in between it is that of D(T(x)) by x, as in the public code of DiffAugment.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


class PathLength(nn.Module):
    """Path length regularisation (Karras et al. 2020, Eq. 4): E (||J_w^T y||_2 - a)^2.

    y is a normal image over sqrt(H W), and a the moving average of the lengths, kept in the
    buffer ``mean``. A length is the root of the mean over layers of the squared norms.
    """

    def __init__(self, decay: float = 0.01) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.zeros(()))

    def lengths(self, images: Tensor, styles: Tensor, draw: torch.Generator) -> Tensor:
        """Return ||J^T y|| [N] of images [N, C, H, W] made from styles [N, L, D]."""
        noise = torch.randn(images.shape, generator=draw, device=images.device)
        noise = noise / math.sqrt(images.shape[2] * images.shape[3])
        (gradient,) = torch.autograd.grad((images * noise).sum(), styles, create_graph=True)
        return gradient.square().sum(2).mean(1).sqrt()

    def forward(self, images: Tensor, styles: Tensor, draw: torch.Generator) -> Tensor:
        """Return the penalty; the average moves on by ``decay``."""
        lengths = self.lengths(images, styles, draw)
        mean = self.mean.lerp(lengths.mean(), self.decay)
        self.mean.copy_(mean.detach())
        return (lengths - mean).square().mean()


def lazy_adam(
    rate: float, betas: tuple[float, float], interval: int
) -> tuple[float, tuple[float, float]]:
    """Return learning rate and betas for a regulariser of its own step every ``interval`` steps.

    With c = interval / (interval + 1) they are c * rate and beta^c, so that the extra steps leave
    the pace as it was (Karras et al. 2020, Sec. 3.1 and Appendix B).
    """
    c = interval / (interval + 1)
    return rate * c, (betas[0] ** c, betas[1] ** c)
