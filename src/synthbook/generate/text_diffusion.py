"""A small diffusion model from captions to images: its recipe, its training, its files.

Flow matching in pixels, as for the book's models of classes (`diffusion`), but the U-Net attends to
what a frozen text encoder makes of the caption (Rombach et al. 2022, Section 3.3).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from synthbook import settings as fields
from synthbook import training
from synthbook.errors import InputError
from synthbook.generate.diffusion import attention, flow_loss, spread_times
from synthbook.randomness import seeded, torch_generator
from synthbook.settings import Count, Listed, Rate, Share, Whole, settings

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel, PreTrainedTokenizerBase

    from synthbook.data import ImageSet
    from synthbook.generate.text_pipeline import TextToPixelsPipeline

Caption = Callable[[int, int], str]  # (number of the image, step) -> what is said of it
TOLD = "pipeline.json"  # what diffusers writes of neither part
Encode = Callable[[Sequence[str]], Tensor]  # captions -> hidden states [N, L, D]


@settings
class TextDiffusionRecipe:
    """How the model is built and trained.

    ``channels`` holds the width of each level; all but the first attend to the caption.
    ``caption_dropout`` is the share of captions that training makes empty, which is what makes
    guidance possible. Other settings are those of `unet.DiffusionRecipe`.
    """

    channels: Annotated[tuple[fields.Level, ...], Listed, Field(min_length=2)] = (64, 96)
    layers_per_block: Count = 1
    attention_heads: Count = 4
    patch: Literal[1, 2, 4] = 2
    steps: Count = 16_000
    batch_size: fields.Batch = 64
    learning_rate: Rate = 1e-3
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup_steps: Whole = 100
    caption_dropout: Share = 0.15
    ema_decay: Share = 0.999
    weight_decay: Share = 0.01
    num_train_timesteps: Count = 1000
    flip: bool = True
    precision: fields.TrainingPrecision = "float32"


def build_unet(
    recipe: TextDiffusionRecipe, *, image_size: int, channels: int, width: int, seed: int
) -> UNet2DConditionModel:
    """Return the U-Net, which attends to ``width`` numbers a token; weights from (seed, "init").

    Raises:
        InputError: if the image cannot be halved so many times.
    """
    from diffusers import UNet2DConditionModel

    factor, levels = recipe.patch * 2 ** (len(recipe.channels) - 1), len(recipe.channels)
    if image_size % factor:
        raise InputError(
            f"image size {image_size} is not divisible by {factor}, as {levels} levels of "
            f"channels and patches of {recipe.patch} need; choose another size or fewer levels"
        )
    with seeded(seed, "init"):
        return UNet2DConditionModel(
            sample_size=image_size // recipe.patch,
            in_channels=channels * recipe.patch**2,
            out_channels=channels * recipe.patch**2,
            block_out_channels=recipe.channels,
            layers_per_block=recipe.layers_per_block,
            down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * (levels - 1)),
            up_block_types=(*["CrossAttnUpBlock2D"] * (levels - 1), "UpBlock2D"),
            cross_attention_dim=width,
            attention_head_dim=recipe.attention_heads,  # diffusers' name for their number
            norm_num_groups=math.gcd(*recipe.channels, 32) // 2 or 1,
        )


class Told(nn.Module):
    """A U-Net as `flow_loss` calls it: the third argument are the hidden states."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, images: Tensor, times: Tensor, states: Tensor) -> object:
        """Return the U-Net's output for noisy images [N, C, H, W] and states [N, L, D]."""
        return self.unet(images, times, states)


def train_text_diffusion(
    images: ImageSet, caption: Caption, encode: Encode, recipe: TextDiffusionRecipe, *,
    seed: int, device: str = "cpu", folder: Path | None = None,
    on_step: training.OnStep | None = None, checkpoint_every: int = 200,
) -> UNet2DConditionModel:  # fmt: skip
    """Train a U-Net on images and what ``caption`` says of each; return its averaged weights.

    A caption is asked for anew whenever an image is drawn; ``encode`` is the frozen text encoder on
    ``device``. With a ``folder``, a checkpoint is kept there and training goes on from it.
    ``on_step`` gets the number of steps done and the loss; on a GPU it is called every 50 steps.

    Raises:
        InputError: if images and recipe do not fit, or the folder is of another run.
        TrainingError: if the loss is no longer finite.
    """
    # Data, network, optimizer.
    pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2).to(device)
    nothing = encode([""])
    how = {"image_size": images.image_size, "channels": images.channels}
    unet = build_unet(recipe, **how, width=nothing.shape[2], seed=seed).train()
    on_gpu = torch.device(device).type == "cuda"
    unet.to(device, memory_format=torch.channels_last)  # some 15 % sooner on a processor, too
    average = AveragedModel(unet, multi_avg_fn=training.warmed_average(recipe.ema_decay))
    optimizer = torch.optim.AdamW(
        unet.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    told = Told(unet)

    # Go on from a checkpoint.
    run = {
        "recipe": asdict(recipe), "seed": seed, "data": images.fingerprint(),
        "captions": [caption(0, 0), caption(len(images) - 1, 0)], "width": nothing.shape[2],
    }  # fmt: skip
    modules, states = {"unet": unet, "average": average}, {"unet": optimizer}
    first = training.load_checkpoint(folder, modules, states, run) if folder else 0

    for step in range(first, recipe.steps):
        # The batch, its noise and times: drawn on the CPU, so that every device gets the same.
        draw = torch_generator(seed, "step", step)
        chosen = torch.randint(len(pixels), (recipe.batch_size,), generator=draw)
        times = spread_times(recipe.batch_size, draw).to(device)
        noise = torch.randn(recipe.batch_size, *pixels.shape[1:], generator=draw).to(device)
        hidden = torch.rand(recipe.batch_size, generator=draw) < recipe.caption_dropout
        drawn = zip(chosen.tolist(), hidden.tolist(), strict=True)
        texts = encode(["" if h else caption(k, step) for k, h in drawn])
        clean = training.normalise(pixels[chosen.to(device)])
        clean = training.flip_some(clean, draw) if recipe.flip else clean
        clean, noise = (nn.functional.pixel_unshuffle(x, recipe.patch) for x in (clean, noise))

        # One step of Adam.
        factor = training.learning_rate_factor(
            recipe.schedule, step, recipe.steps, recipe.warmup_steps
        )
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * factor
        with training.mixed(recipe.precision, device), attention():
            loss = flow_loss(told, clean, texts, noise, times, recipe.num_train_timesteps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.update_parameters(unet)

        # Look, report, keep.
        done, loss = step + 1, loss.detach()
        if not on_gpu or done % 50 == 0:  # on a GPU every look makes it wait
            training.check_finite({"loss": loss}, done, folder)
            if on_step:
                on_step(done, {"loss": float(loss)})
        if folder and (done % checkpoint_every == 0 or done == recipe.steps):
            training.save_checkpoint(folder, done, modules, states, run)
    made = average.module.to(memory_format=torch.contiguous_format)
    return made.eval().requires_grad_(False)


def as_pipeline(
    unet: UNet2DConditionModel, text_encoder: CLIPTextModel, tokenizer: PreTrainedTokenizerBase,
    recipe: TextDiffusionRecipe,
) -> TextToPixelsPipeline:  # fmt: skip
    """Return the pipeline that samples with DPM-Solver++ (Lu et al. 2022)."""
    from diffusers import DPMSolverMultistepScheduler

    from synthbook.generate.text_pipeline import TextToPixelsPipeline

    fast = DPMSolverMultistepScheduler(
        num_train_timesteps=recipe.num_train_timesteps,
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0,
    )  # fmt: skip
    return TextToPixelsPipeline(unet, fast, text_encoder, tokenizer, recipe.patch)


def save(pipeline: TextToPixelsPipeline, folder: Path) -> None:
    """Write the U-Net and the scheduler, in half precision; the text encoder is not repeated."""
    pipeline.unet.half().save_pretrained(folder / "unet", safe_serialization=True)
    pipeline.unet.float()
    pipeline.scheduler.save_pretrained(folder / "scheduler")
    told = {"patch": pipeline.config.patch}
    (folder / TOLD).write_text(json.dumps(told) + "\n", encoding="utf-8")


def load(
    folder: Path, text_encoder: CLIPTextModel, tokenizer: PreTrainedTokenizerBase
) -> TextToPixelsPipeline:
    """Return the pipeline of what ``save`` wrote to ``folder``; nothing is downloaded.

    Raises:
        InputError: if a part is missing, or the U-Net is for another text encoder.
    """
    for part in (TOLD, "unet/config.json", "scheduler/scheduler_config.json"):
        if not (folder / part).is_file():
            raise InputError(f"{folder} holds no text-to-image model ({part}); give its folder")
    from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
    from diffusers.utils import logging

    from synthbook.generate.text_pipeline import TextToPixelsPipeline

    logging.disable_progress_bar()
    how = {"local_files_only": True}
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", use_safetensors=True, **how)
    width, ours = unet.config.cross_attention_dim, text_encoder.config.hidden_size
    if width != ours:
        raise InputError(
            f"the U-Net in {folder} reads {width} numbers a token and the text encoder gives "
            f"{ours}; give the text encoder that it was trained with"
        )
    scheduler = DPMSolverMultistepScheduler.from_pretrained(folder / "scheduler", **how)
    patch = json.loads((folder / TOLD).read_text(encoding="utf-8"))["patch"]
    unet = unet.float().eval().requires_grad_(False)
    return TextToPixelsPipeline(unet, scheduler, text_encoder, tokenizer, patch)
