"""The recipe of a diffusion model, its U-Net and its noise schedule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from synthbook import settings as fields
from synthbook.errors import InputError
from synthbook.randomness import seeded
from synthbook.settings import Count, Listed, Rate, Share, Whole, settings

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler, UNet2DModel


@settings
class DiffusionRecipe:
    """How a diffusion model is built and trained; the defaults suit 8 x 8 grey digits on a CPU.

    ``channels`` holds the width of each level, the image being halved between levels; ``attention``
    the numbers of the levels (0 = full size) with self-attention. ``condition_dropout`` is the
    share of labels that training hides, which is what makes guidance possible; with 1.0 the model
    knows no classes. ``patch`` 2 shows the network squares of 2 x 2 pixels as one of four times the
    channels (space to depth), which is four times less work. ``prediction`` "flow" is the velocity
    of a straight path from image to noise (flow matching); the others go with the cosine schedule.
    ``average`` "warmed" forgets its start sooner. ``precision`` "bfloat16" uses mixed precision,
    "auto" where that is fast.
    """

    channels: Annotated[tuple[fields.Level, ...], Listed, Field(min_length=1)] = (16, 32)
    layers_per_block: Count = 1
    attention: Annotated[tuple[Whole, ...], Listed] = ()
    attention_head_dim: fields.Width = 32
    patch: Literal[1, 2, 4] = 1
    steps: Count = 450
    batch_size: fields.Batch = 64
    learning_rate: Rate = 3e-3
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup_steps: Whole = 20
    condition_dropout: Share = 0.2
    ema_decay: Share = 0.95
    average: Literal["plain", "warmed"] = "plain"
    weight_decay: Share = 0.0
    num_train_timesteps: Count = 1000
    prediction: Literal["epsilon", "v_prediction", "flow"] = "v_prediction"
    flip: bool = False
    precision: fields.TrainingPrecision = "float32"

    def __post_init__(self) -> None:
        if any(level >= len(self.channels) for level in self.attention):
            raise InputError(
                f"attention is {self.attention}; its levels are 0..{len(self.channels) - 1}"
            )


def build_unet(
    recipe: DiffusionRecipe, *, image_size: int, channels: int, num_classes: int, seed: int
) -> UNet2DModel:
    """Return a U-Net with ``num_classes`` + 1 class embeddings, the last for the null class."""
    from diffusers import UNet2DModel

    factor = recipe.patch * 2 ** (len(recipe.channels) - 1)
    if image_size % factor:
        raise InputError(
            f"image size {image_size} is not divisible by {factor}, as {len(recipe.channels)} "
            f"levels of channels{f' and patches of {recipe.patch}' if recipe.patch > 1 else ''} "
            "need; choose another size or fewer levels"
        )
    attends = [level in recipe.attention for level in range(len(recipe.channels))]
    with seeded(seed, "init"):
        return UNet2DModel(
            sample_size=image_size // recipe.patch,
            in_channels=channels * recipe.patch**2,
            out_channels=channels * recipe.patch**2,
            block_out_channels=recipe.channels,
            layers_per_block=recipe.layers_per_block,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in attends[::-1]),
            add_attention=any(attends),
            attention_head_dim=min(recipe.attention_head_dim, *recipe.channels),
            norm_num_groups=math.gcd(*recipe.channels, 32) // 2 or 1,
            num_class_embeds=num_classes + 1,
        )


def training_scheduler(recipe: DiffusionRecipe) -> DDPMScheduler | FlowMatchEulerDiscreteScheduler:
    """Return the noise schedule: the cosine of Nichol & Dhariwal 2021, or the straight path."""
    from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

    if recipe.prediction == "flow":
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=recipe.num_train_timesteps)
    return DDPMScheduler(
        num_train_timesteps=recipe.num_train_timesteps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=recipe.prediction,
    )
