"""Class-conditional diffusion models: training, and sampling from them or from Stable Diffusion."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from synthbook import training
from synthbook.data.images import pixels_and_labels
from synthbook.errors import InputError
from synthbook.generate.unet import DiffusionRecipe, build_unet, training_scheduler
from synthbook.randomness import torch_generator
from synthbook.training import OnStep, Watch, check_finite, learning_rate_factor

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, DiffusionPipeline

    from synthbook.data import ImageSet
    from synthbook.generate.pipeline import ClassConditionalPipeline


def as_pipeline(unet: nn.Module, recipe: DiffusionRecipe) -> ClassConditionalPipeline:
    """Return the pipeline that samples with DPM-Solver++ (Lu et al. 2022)."""
    from diffusers import DPMSolverMultistepScheduler

    from synthbook.generate.pipeline import ClassConditionalPipeline

    if recipe.prediction == "flow":
        fast = DPMSolverMultistepScheduler(
            num_train_timesteps=recipe.num_train_timesteps,
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0,
        )  # fmt: skip
    else:
        schedule = training_scheduler(recipe).config
        fast = DPMSolverMultistepScheduler.from_config(schedule, timestep_spacing="trailing")
    unet.to(memory_format=torch.contiguous_format)  # safetensors take no other layout
    return ClassConditionalPipeline(unet.eval().requires_grad_(False), fast, recipe.patch)


def prediction_loss(
    unet: nn.Module,
    scheduler: DDPMScheduler,
    clean: Tensor,
    labels: Tensor,
    noise: Tensor,
    timesteps: Tensor,
) -> Tensor:
    """Return the mean squared error of the prediction of noise or of velocity, a scalar.

    x_t = sqrt(a_t) x + sqrt(1 - a_t) eps with a_t the cumulated product of 1 - beta; the target
    is eps (Ho et al. 2020, Eq. 14) or v = sqrt(a_t) eps - sqrt(1 - a_t) x (Salimans & Ho 2022).

    Shapes: ``clean``, ``noise`` [N, C, H, W] in -1..1 and standard normal; ``labels``,
    ``timesteps`` int [N].
    """
    noisy = scheduler.add_noise(clean, noise, timesteps)
    velocity = scheduler.config.prediction_type == "v_prediction"
    target = scheduler.get_velocity(clean, noise, timesteps) if velocity else noise
    return nn.functional.mse_loss(unet(noisy, timesteps, labels).sample.float(), target)


def flow_loss(
    unet: nn.Module, clean: Tensor, labels: Tensor, noise: Tensor, times: Tensor, scale: int
) -> Tensor:
    """Return the mean squared error of the predicted velocity, a scalar.

    x_t = (1 - t) x + t eps, and the target is eps - x (Lipman et al. 2023, Eq. 23 with t reversed;
    Liu et al. 2023, Eq. 1). ``times`` are [N] in 0..1; the network is told ``scale`` t.
    """
    t = times[:, None, None, None]
    velocity = unet((1 - t) * clean + t * noise, scale * times, labels).sample
    return nn.functional.mse_loss(velocity.float(), noise - clean)


def spread_times(count: int, draw: torch.Generator) -> Tensor:
    """Return ``count`` times in 0..1, logit-normal and evenly spread together.

    t = 1 / (1 + exp(-u)), u ~ N(0, 1), as in Esser et al. (2024, Eq. 19); the spread is that of
    ``spread_timesteps``.
    """
    offset = torch.rand((), generator=draw, dtype=torch.float64)
    position = (torch.arange(count, dtype=torch.float64) + offset) / count
    return torch.special.ndtri(position.clamp(1e-4, 1 - 1e-4)).sigmoid().float()


def spread_timesteps(count: int, num_train_timesteps: int, draw: torch.Generator) -> Tensor:
    """Return ``count`` timesteps, each uniform, evenly spread together (Kingma et al. 2021, I.1).

    Less variance of the loss than independent draws, at no cost.
    """
    offset = torch.rand((), generator=draw, dtype=torch.float64)
    position = (torch.arange(count, dtype=torch.float64) + offset) / count
    return (position * num_train_timesteps).long().clamp_max(num_train_timesteps - 1)


def train_diffusion(
    images: ImageSet,
    recipe: DiffusionRecipe,
    *,
    seed: int,
    device: str = "cpu",
    folder: Path | None = None,
    on_step: OnStep | None = None,
    checkpoint_every: int = 500,
    watch: Watch | None = None,
) -> ClassConditionalPipeline:
    """Train a class-conditional diffusion model; return its pipeline with the averaged weights.

    With a ``folder``, a checkpoint is kept there and training goes on from it: the weights are
    those of a run that was never stopped. ``on_step`` gets the number of steps done and the loss;
    on a GPU it is called every 50 steps.
    A ``watch`` measures pipelines; it may stop the training, and then its best weights are kept.

    Raises:
        InputError: if images and recipe do not fit, or the folder is of another run.
        TrainingError: if the loss is no longer finite.
    """
    # Data, network, optimizer.
    pixels, labels = pixels_and_labels(images, device)
    null_class, kind = images.num_classes, torch.device(device).type
    how = {"image_size": images.image_size, "channels": images.channels}
    unet = build_unet(recipe, **how, num_classes=null_class, seed=seed).train()
    on_gpu = kind == "cuda"
    unet.to(device, memory_format=torch.channels_last if on_gpu else torch.contiguous_format)
    warmed = recipe.average == "warmed"
    averaging = (training.warmed_average if warmed else get_ema_multi_avg_fn)(recipe.ema_decay)
    average = AveragedModel(unet, multi_avg_fn=averaging)
    optimizer = torch.optim.AdamW(
        unet.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    scheduler = training_scheduler(recipe)
    flow, last_time = recipe.prediction == "flow", recipe.num_train_timesteps

    # Go on from a checkpoint.
    run = {"recipe": asdict(recipe), "seed": seed, "data": images.fingerprint()}
    modules, states = {"unet": unet, "average": average}, {"unet": optimizer}
    if watch:
        modules["best"], states["watch"] = watch.started(average.module), watch
    first = training.load_checkpoint(folder, modules, states, run) if folder else 0

    for step in range(first, recipe.steps):
        if watch and watch.over:
            break
        # Draw the batch, its noise and timesteps: on the CPU, so that every device gets the same.
        draw = torch_generator(seed, "step", step)
        chosen = torch.randint(len(pixels), (recipe.batch_size,), generator=draw).to(device)
        spread = (
            spread_times(recipe.batch_size, draw)
            if flow
            else spread_timesteps(recipe.batch_size, last_time, draw)
        )
        noise = torch.randn(recipe.batch_size, *pixels.shape[1:], generator=draw)
        noise = noise.pin_memory().to(device, non_blocking=True) if on_gpu else noise.to(device)
        hidden = torch.rand(recipe.batch_size, generator=draw) < recipe.condition_dropout
        clean = training.normalise(pixels[chosen])
        clean = training.flip_some(clean, draw) if recipe.flip else clean
        condition = labels[chosen].masked_fill(hidden.to(device), null_class)
        clean, noise = (nn.functional.pixel_unshuffle(x, recipe.patch) for x in (clean, noise))

        # One step of Adam.
        factor = learning_rate_factor(recipe.schedule, step, recipe.steps, recipe.warmup_steps)
        factor *= watch.rate_factor if watch else 1.0
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * factor
        spread = spread.to(device)
        with training.mixed(recipe.precision, device), attention():
            if flow:
                loss = flow_loss(unet, clean, condition, noise, spread, last_time)
            else:
                loss = prediction_loss(unet, scheduler, clean, condition, noise, spread)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.update_parameters(unet)

        # Look, report, keep.
        loss, done = loss.detach(), step + 1
        if not on_gpu or done % 50 == 0:  # on a GPU every look makes it wait
            check_finite({"loss": loss}, done, folder)
            if on_step:
                on_step(done, {"loss": float(loss)})
        if watch:
            watch(done, lambda: average.module)
        due = watch.keep if watch else done % checkpoint_every == 0
        if folder and (due or done == recipe.steps):
            training.save_checkpoint(folder, done, modules, states, run)
    return as_pipeline(watch.best if watch else average.module, recipe)


def attention() -> AbstractContextManager:
    """Return the context in which attention is plain matrix products on a processor.

    Over so few positions they are faster there than torch's fused attention, whose gradient took a
    third of a training step. On a GPU torch chooses.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return nullcontext() if torch.cuda.is_available() else sdpa_kernel(SDPBackend.MATH)


def sample(
    pipeline: DiffusionPipeline,
    conditions: Sequence[int | str | None],
    *,
    guidance_scale: float,
    num_inference_steps: int,
    seed: int,
    batch_size: int = 256,
    device: str = "cpu",
) -> np.ndarray:
    """Return one image a condition, uint8 [N, H, W, C].

    A condition is a class label, a prompt (for pipelines from text to image), or None for no
    condition, which is all that other pipelines know. Guidance g: eps = eps_null + g (eps_cond -
    eps_null); 0 ignores the condition, 1 is the conditional model, more is stronger. Image k comes
    from the random stream (seed, "sample", k): it does not depend on the batch size or on the
    other images, up to float rounding.
    """
    from diffusers.utils import logging

    logging.disable_progress_bar()
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    takes = inspect.signature(pipeline.__call__).parameters
    call: dict[str, list] = {}
    if "class_labels" in takes:
        call = {"class_labels": list(conditions)}
    elif "prompt" in takes:
        call = {"prompt": _prompts(conditions, guidance_scale)}
    batches = []
    for start in range(0, len(conditions), batch_size):
        chosen = range(len(conditions))[start : start + batch_size]
        how = {name: [values[k] for k in chosen] for name, values in call.items()}
        how = how or {"batch_size": len(chosen)}
        if "guidance_scale" in takes:
            how["guidance_scale"] = guidance_scale
        output = pipeline(
            **how,
            num_inference_steps=num_inference_steps,
            generator=[torch_generator(seed, "sample", k) for k in chosen],
            output_type="np",
        )
        batches.append(np.rint(np.asarray(output.images) * 255).astype(np.uint8))
    return np.concatenate(batches)


def _prompts(conditions: Sequence[str | None], guidance_scale: float) -> list[str]:
    if 0 < guidance_scale < 1:
        raise InputError(
            f"guidance_scale {guidance_scale} is not possible with prompts, as such pipelines "
            "guide only above 1; give 0, 1 or more"
        )
    # Text pipelines switch guidance off at 1 and below, so 0 is the empty prompt without it.
    return ["" if prompt is None or guidance_scale == 0 else prompt for prompt in conditions]


def save(pipeline: DiffusionPipeline, folder: Path) -> None:
    """Write the pipeline as diffusers do: ``model_index.json`` and safetensors."""
    pipeline.save_pretrained(folder, safe_serialization=True)


def load(folder: Path) -> ClassConditionalPipeline:
    """Return the pipeline that ``save`` wrote to ``folder``; nothing is downloaded."""
    if not (Path(folder) / "model_index.json").is_file():
        raise InputError(f"{folder} holds no pipeline (model_index.json); give its folder")
    from diffusers.utils import logging

    from synthbook.generate.pipeline import ClassConditionalPipeline

    logging.disable_progress_bar()
    pipeline = ClassConditionalPipeline.from_pretrained(
        folder, local_files_only=True, use_safetensors=True
    )
    pipeline.unet.float()  # it may be kept in half precision
    return pipeline
