"""SSGAN (Chen et al. 2019): the discriminator also tells by how much an image was rotated."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from synthbook.errors import InputError
from synthbook.gans.blocks import initialised
from synthbook.gans.extra import Extra, evaluating
from synthbook.randomness import seeded

TURNS = 4  # by 0, 90, 180 and 270 degrees


class SSGAN(Extra):
    """Adds -E log Q_D(r | x^r), the cross-entropy of four rotations r (Eqs. 3 and 4).

    Q_D is a linear layer with spectral norm on the discriminator's features. Real images count in
    the discriminator's loss with ``beta``, generated ones in the generator's with ``alpha``. A
    ``share`` of a batch is turned in all four ways, of 64 images 16.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        *,
        seed: int,
        alpha: float = 0.2,
        beta: float = 1.0,
        share: float = 0.25,
    ) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise InputError(f"share {share} of a batch cannot be turned; give 0 < share <= 1")
        self.alpha, self.beta, self.share = alpha, beta, share
        config, weight = discriminator.config, next(discriminator.parameters())
        shape = (1, config.image_channels, config.image_size, config.image_size)
        with torch.no_grad(), evaluating(discriminator):
            length = discriminator.features(torch.zeros(shape, device=weight.device)).shape[1]
        with seeded(seed, "rotation head"):
            self.head = initialised(nn.Linear(length, TURNS), spectral=True)

    def settings(self) -> dict[str, Any]:
        """Return weights and share."""
        return super().settings() | {"alpha": self.alpha, "beta": self.beta, "share": self.share}

    def rotation_loss(self, discriminator: nn.Module, images: Tensor) -> Tensor:
        """Return the cross-entropy over four rotations of the first images [N, C, H, W]."""
        turned = images[: max(1, round(self.share * len(images)))]
        rotated = torch.cat([turned.rot90(k, (2, 3)) for k in range(TURNS)])
        turns = torch.arange(TURNS, device=images.device).repeat_interleave(len(turned))
        return cross_entropy(self.head(discriminator.features(rotated)).float(), turns)

    def discriminator_loss(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor, draw: torch.Generator
    ) -> Tensor:
        """Return beta times the loss of real images."""
        return self.beta * self.rotation_loss(discriminator, real)

    def generator_loss(
        self, discriminator: nn.Module, fake: Tensor, draw: torch.Generator
    ) -> Tensor:
        """Return alpha times the loss of generated images."""
        return self.alpha * self.rotation_loss(discriminator, fake)
