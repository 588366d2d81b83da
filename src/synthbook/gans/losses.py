"""Losses of GANs: one small function each, from logits to a scalar."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import relu


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


LOSSES = {"hinge": Loss(hinge_discriminator, hinge_generator)}
