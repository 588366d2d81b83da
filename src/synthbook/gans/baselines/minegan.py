"""MineGAN (Wang et al. 2020): a small network finds where a pretrained generator is near the data.

A miner M before the generator maps its noise to z, and to the embedded condition where it takes
one. First M is trained alone, against the discriminator; then all three are.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from synthbook.errors import InputError
from synthbook.gans import networks
from synthbook.gans.baselines.wrapped import Wrapped, read_front
from synthbook.gans.sampling import mean_embedding
from synthbook.gans.train import Trained, train
from synthbook.gans.transfer import transfer
from synthbook.randomness import seeded

if TYPE_CHECKING:
    from synthbook.data import ImageSet
    from synthbook.gans.recipes import Training

WIDTH = 128  # of the miner's hidden layer


class Mined(Wrapped):
    """G(M(u)), u ~ N(0, I) of the generator's own length.

    The miner has two layers. What it gives is added to u, and to the mean of the embeddings, and is
    zero at first, so that the training starts from what the generator makes (the authors' miner
    has no such shortcut). While ``mining`` is True the generator's weights are frozen.
    """

    def __init__(self, generator: nn.Module, *, seed: int = 0) -> None:
        super().__init__(generator, generator.config.latent)
        latent, embedding = self.sizes
        with seeded(seed, "init", "miner"):
            first, last = nn.Linear(latent, WIDTH), nn.Linear(WIDTH, latent + embedding)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.miner = nn.Sequential(first, nn.ReLU(), last)
        self.register_buffer("center", mean_embedding(generator))
        self.mining = False

    def forward(self, latents: Tensor, condition: Any = None, draw: Any = None) -> Tensor:
        """Return images in -1..1 of latents [N, latent]."""
        start = torch.cat([latents, self.center.expand(len(latents), -1)], dim=1)
        return self.decode(start + self.miner(latents), draw)

    def requires_grad_(self, requires_grad: bool = True) -> Mined:
        """Turn gradients on or off; never on for the generator while ``mining``."""
        super().requires_grad_(requires_grad)
        if self.mining:
            self.generator.requires_grad_(False)
        return self

    def train(self, mode: bool = True) -> Mined:
        """Set the mode; while ``mining``, spectral norm in the generator stands still."""
        super().train(mode)
        if self.mining:  # batch norm works as in the training that comes next
            for module in self.generator.modules():
                if isinstance(module, ParametrizationList):
                    module.eval()
        return self


def discriminator_of(pretrained: nn.Module) -> nn.Module:
    """Return a copy of a discriminator without its conditions: it judges images alone."""
    config = pretrained.config
    kinds = networks.ARCHITECTURES[config.architecture]
    with seeded(0, "replaced"):
        made = kinds.discriminator(unconditional(config))
    kept = transfer(made, pretrained)
    if kept:
        raise InputError(
            f"the discriminator's {', '.join(kept)} have no counterpart without conditions; give a "
            "discriminator with a projection"
        )
    return made


def unconditional(config: Any) -> Any:
    """Return settings of a network that takes no condition and is the same otherwise."""
    return replace(config, num_classes=0, condition_size=0)


def train_minegan(
    generator: nn.Module, discriminator: nn.Module, images: ImageSet,
    mining: Training, finetuning: Training, *, seed: int, folder: Path | None = None, **how: Any,
) -> Trained:  # fmt: skip
    """Train a miner alone by ``mining``, then all three networks by ``finetuning``.

    Args:
        generator: pretrained; it becomes part of the `Mined` that is returned.
        discriminator: pretrained, without conditions (`discriminator_of`); trained all along.
        images: the target, without labels that matter.
        folder: for checkpoints, one folder a phase.
        how: for both, as in `train.train`.
    """
    mined = Mined(generator, seed=seed)
    folders = [None if folder is None else Path(folder) / name for name in ("mining", "finetuning")]
    mined.mining = True
    first = train(mined, discriminator, images, mining, seed=seed, folder=folders[0], **how)
    mined.mining = False
    return train(
        mined, discriminator, images, finetuning,
        seed=seed, average=first.generator, folder=folders[1], **how,
    )  # fmt: skip


def load(folder: Path) -> Mined:
    """Return the generator that `Mined.save` wrote to ``folder``, in eval mode."""
    mined = Mined(networks.load(folder))
    mined.load_state_dict(mined.state_dict() | read_front(folder))
    return mined.eval().requires_grad_(False)
