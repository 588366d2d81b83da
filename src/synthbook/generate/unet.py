"""The recipe of a diffusion model, its U-Net and its noise schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthbook.errors import InputError
from synthbook.training import PRECISIONS, SCHEDULES, check_choice, check_positive, seeded

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, UNet2DModel

PREDICTIONS = ("epsilon", "v_prediction")


@dataclass(frozen=True)
class DiffusionRecipe:
    """How a diffusion model is built and trained; the defaults suit 8 x 8 grey digits on a CPU.

    ``channels`` holds the width of each level, the image being halved between levels; ``attention``
    the numbers of the levels (0 = full size) with self-attention. ``condition_dropout`` is the
    share of labels that training hides, which is what makes guidance possible; with 1.0 the model
    knows no classes. ``precision`` "bfloat16" uses mixed precision.
    """

    channels: tuple[int, ...] = (16, 32)
    layers_per_block: int = 1
    attention: tuple[int, ...] = ()
    attention_head_dim: int = 32
    steps: int = 450
    batch_size: int = 64
    learning_rate: float = 3e-3
    schedule: str = "cosine"
    warmup_steps: int = 20
    condition_dropout: float = 0.2
    ema_decay: float = 0.95
    num_train_timesteps: int = 1000
    prediction: str = "v_prediction"
    flip: bool = False
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("channels", "attention"):  # YAML and JSON have lists only
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_positive(
            self, "layers_per_block", "attention_head_dim", "steps", "batch_size",
            "learning_rate", "num_train_timesteps",
        )  # fmt: skip
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("prediction", self.prediction, PREDICTIONS)
        check_choice("precision", self.precision, PRECISIONS)
        for name in ("condition_dropout", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; give a number in 0..1")
        if not self.channels or any(c < 4 or c % 4 for c in self.channels):
            raise InputError(f"channels is {self.channels}; give multiples of 4, one a level")
        if any(not 0 <= level < len(self.channels) for level in self.attention):
            raise InputError(
                f"attention is {self.attention}; its levels are 0..{len(self.channels) - 1}"
            )


def build_unet(
    recipe: DiffusionRecipe, *, image_size: int, channels: int, num_classes: int, seed: int
) -> UNet2DModel:
    """Return a U-Net with ``num_classes`` + 1 class embeddings, the last for the null class.

    Raises:
        InputError: if the image cannot be halved as often as the recipe has levels.
    """
    from diffusers import UNet2DModel

    factor = 2 ** (len(recipe.channels) - 1)
    if image_size % factor:
        raise InputError(
            f"image size {image_size} is not divisible by {factor}, as {len(recipe.channels)} "
            "levels of channels need; choose another size or fewer levels"
        )
    attends = [level in recipe.attention for level in range(len(recipe.channels))]
    with seeded(seed, "init"):
        return UNet2DModel(
            sample_size=image_size,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=recipe.channels,
            layers_per_block=recipe.layers_per_block,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in attends[::-1]),
            add_attention=any(attends),
            attention_head_dim=min(recipe.attention_head_dim, *recipe.channels),
            norm_num_groups=math.gcd(*recipe.channels, 32) // 2 or 1,
            num_class_embeds=num_classes + 1,
        )


def training_scheduler(recipe: DiffusionRecipe) -> DDPMScheduler:
    """Return the noise schedule: the cosine of Nichol & Dhariwal 2021."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(
        num_train_timesteps=recipe.num_train_timesteps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=recipe.prediction,
    )
