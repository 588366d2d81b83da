"""How a GAN is trained: the settings, checked, and those that the papers' code uses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from synthbook.errors import InputError
from synthbook.gans.augment import policies
from synthbook.gans.losses import LOSSES
from synthbook.gans.networks import ARCHITECTURES
from synthbook.training import PRECISIONS, SCHEDULES, check_choice, check_positive


@dataclass(frozen=True)
class Training:
    """How a pair of networks is trained; the defaults suit 8 x 8 grey digits on a CPU.

    A step is ``discriminator_steps`` updates of the discriminator and one of the generator, each
    on ``batch_size`` new images.

    Args:
        ema_decay: of the averaged generator, a step.
        ema_half_life: in images; above 0 it sets the decay to 0.5^(batch_size / ema_half_life).
        ema_start: the average is a plain copy during the first ``ema_start`` steps.
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
        precision: "float32", or "bfloat16" for mixed precision.
    """

    steps: int = 1000
    batch_size: int = 32
    generator_learning_rate: float = 6e-3
    discriminator_learning_rate: float = 6e-3
    betas: tuple[float, float] = (0.0, 0.9)
    schedule: str = "linear"
    discriminator_steps: int = 1
    ema_decay: float = 0.99
    ema_half_life: float = 0.0
    ema_start: int = 0
    loss: str = "hinge"
    augment: str = ""
    consistency: float = 0.0
    r1: float = 0.0
    r1_interval: int = 16
    path_length: float = 0.0
    path_length_interval: int = 4
    frozen_blocks: int = 0
    standing_images: int = 4000
    flip: bool = False
    precision: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))  # YAML and JSON have lists only
        check_positive(
            self, "steps", "batch_size", "discriminator_steps", "generator_learning_rate",
            "discriminator_learning_rate", "r1_interval", "path_length_interval",
            "standing_images",
        )  # fmt: skip
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("loss", self.loss, LOSSES)
        check_choice("precision", self.precision, PRECISIONS)
        policies(self.augment)
        if not 0 <= self.ema_decay <= 1:
            raise InputError(f"ema_decay is {self.ema_decay}; give a number in 0..1")
        for name in ("ema_half_life", "ema_start", "consistency", "r1", "path_length"):
            value = getattr(self, name)
            if isinstance(value, str) or not 0 <= value < math.inf:
                raise InputError(f"{name} is {value!r}; give 0 or a finite number above it")

    @property
    def decay(self) -> float:
        """The decay of the averaged generator, a step."""
        if not self.ema_half_life:
            return self.ema_decay
        return 0.5 ** (self.batch_size / self.ema_half_life)


@dataclass(frozen=True)
class GanRecipe(Training):
    """How a class-conditional GAN is built and trained.

    ``channels`` is the width at full image size and ``latent`` the length of z; the
    architecture's other settings are its defaults.
    """

    channels: int = 16
    latent: int = 32
    architecture: str = "resnet"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "channels", "latent")
        check_choice("architecture", self.architecture, ARCHITECTURES)


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


def published(architecture: str, **settings: Any) -> Training:
    """Return the published training of an architecture with ``settings`` over it.

    "sngan": CIFAR-10 (Miyato et al. 2018). "biggan": CIFAR with DiffAugment (Zhao et al. 2020,
    public code). "stylegan2": 100 images at 256 pixels with DiffAugment (likewise).

    Raises:
        InputError: if nothing is known of the architecture.
    """
    check_choice("architecture", architecture, _PUBLISHED)
    return Training(**{**_PUBLISHED[architecture], **settings})
