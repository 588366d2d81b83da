"""How a GAN is trained: the settings, checked, and those that the papers' code uses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from synthbook import settings as fields
from synthbook.errors import check_choice
from synthbook.settings import Count, Listed, Rate, Share, Weight, Whole, settings


@settings
class Training:
    """How a pair of networks is trained; the defaults suit 8 x 8 grey digits on a CPU.

    A step is ``discriminator_steps`` updates of the discriminator and one of the generator, each
    on ``batch_size`` new images.

    Args:
        ema_half_life: of the averaged generator, in images; above 0 it takes the place of
            ``ema_decay``, which is a step's.
        ema_start: the average is a plain copy during the first ``ema_start`` steps.
        average: "warmed" forgets its start sooner (``training.warmed_average``).
        augment: DiffAugment of all that the discriminator sees, such as
            "color,translation,cutout"; "" for none.
        consistency: weight of E (D(x) - D(T(x)))^2 on real images (Zhang et al. 2020).
        r1: gamma of the R1 penalty, r1 / 2 E ||grad D||^2; 0 for none. It gets an update of its
            own every ``r1_interval`` steps, with that many times its weight.
        path_length: weight of the path length penalty; 0 for none. Likewise with
            ``path_length_interval``, on half a batch. For architectures with styles only.
        frozen_blocks: blocks of the discriminator next to the image that are kept as they are.
        standing_images: drawn to set the statistics of batch norm wherever averaged weights make
            images, in the end and before each evaluation.
        flip: mirror real images left to right with probability 1/2.
    """

    steps: Count = 1000
    batch_size: fields.Batch = 32
    generator_learning_rate: Rate = 6e-3
    discriminator_learning_rate: Rate = 6e-3
    betas: Annotated[tuple[Share, Share], Listed] = (0.0, 0.9)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    discriminator_steps: Count = 1
    ema_decay: Share = 0.99
    ema_half_life: fields.HalfLife = 0.0
    ema_start: Whole = 0
    average: Literal["plain", "warmed"] = "plain"
    loss: Literal["hinge", "non_saturating", "wasserstein"] = "hinge"
    augment: fields.Augmentations = ""
    consistency: Weight = 0.0
    r1: Weight = 0.0
    r1_interval: Count = 16
    path_length: Weight = 0.0
    path_length_interval: Count = 4
    frozen_blocks: Whole = 0
    standing_images: Count = 4000
    flip: bool = False
    precision: fields.TrainingPrecision = "float32"

    @property
    def decay(self) -> float:
        """The decay of the averaged generator, a step."""
        if not self.ema_half_life:
            return self.ema_decay
        return 0.5 ** (self.batch_size / self.ema_half_life)


@settings
class GanRecipe(Training):
    """How a class-conditional GAN is built and trained; other settings are its defaults."""

    channels: fields.Width = 16
    latent: fields.Latent = 32
    architecture: Literal[
        "resnet", "sngan", "sngan_self_modulated", "biggan", "projected", "stylegan2",
        "stylegan2_mlp",
    ] = "resnet"  # fmt: skip


# What the papers or their public code say; steps are the user's.
_PUBLISHED: dict[str, dict[str, Any]] = {
    "sngan": {
        "batch_size": 64, "generator_learning_rate": 2e-4, "discriminator_learning_rate": 2e-4,
        "betas": (0.0, 0.9), "schedule": "linear", "discriminator_steps": 5, "loss": "hinge",
    },
    "biggan": {
        "batch_size": 50, "generator_learning_rate": 2e-4, "discriminator_learning_rate": 2e-4,
        "betas": (0.0, 0.999), "schedule": "constant", "discriminator_steps": 4, "loss": "hinge",
        "ema_decay": 0.9999, "ema_start": 1000, "augment": "translation,cutout", "flip": True,
    },
    "stylegan2": {
        "batch_size": 16, "generator_learning_rate": 2e-3, "discriminator_learning_rate": 2e-3,
        "betas": (0.0, 0.99), "schedule": "constant", "discriminator_steps": 1,
        "loss": "non_saturating", "ema_half_life": 10_000, "r1": 10.0, "path_length": 2.0,
        "augment": "color,translation,cutout",
    },
}  # fmt: skip


def published(architecture: str, **changes: Any) -> Training:
    """Return the published training of an architecture with ``changes`` over it.

    "sngan": CIFAR-10 (Miyato et al. 2018). "biggan": CIFAR with DiffAugment (Zhao et al. 2020,
    public code). "stylegan2": 100 images at 256 pixels with DiffAugment (likewise, its code in
    PyTorch; that in TensorFlow has no path length penalty, and mirrors the images).
    """
    check_choice("architecture", architecture, _PUBLISHED)
    return Training(**{**_PUBLISHED[architecture], **changes})
