"""What a method may add to the training of a GAN: losses, and conditions that change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from synthbook.gans.batches import Real


class Extra(nn.Module):
    """Adds nothing; a method overrides what it needs.

    Its parameters are trained with the discriminator's, by the same optimizer, and all of its
    state is kept in checkpoints. ``draw`` is the step's random stream, on the CPU.
    """

    def settings(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with, as JSON can hold it."""
        return {"name": type(self).__name__}

    def begin(self, images: Real) -> None:
        """Get to know the real images and their conditions, before a checkpoint is read."""

    def renew(self, step: int, discriminator: nn.Module) -> None:
        """Change the conditions in place before ``step``, the number of steps done."""

    def discriminator_loss(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor, draw: torch.Generator
    ) -> Tensor | float:
        """Return what is added to its loss; images [N, C, H, W] are augmented as it sees them."""
        return 0.0

    def generator_loss(
        self, discriminator: nn.Module, fake: Tensor, draw: torch.Generator
    ) -> Tensor | float:
        """Return what is added to the generator's loss."""
        return 0.0


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put all of a network into evaluation mode for a while: nothing in it moves."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
