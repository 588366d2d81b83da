"""Images from a trained generator, and the batch statistics that it needs for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.randomness import torch_generator

Conditions = Callable[[int, torch.Generator], Tensor | None]  # (count, draw) -> conditions


@torch.no_grad()
def set_standing_statistics(
    generator: nn.Module,
    conditions: Conditions,
    *,
    seed: int,
    images: int = 4000,
    batch_size: int = 250,
) -> None:
    """Set the batch norm statistics of ``generator`` to those of its own images, in place.

    Averaged weights never ran on a batch, so the statistics are taken anew ("standing
    statistics", Brock et al. 2019, Appendix), with conditions as frequent as in training.
    Networks without batch norm are left alone.
    """
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    device = next(generator.parameters()).device
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    generator.train()
    for k in range(-(-images // batch_size)):
        count = min(batch_size, images - k * batch_size)
        draw = torch_generator(seed, "standing statistics", k)
        condition = conditions(count, draw)
        latents = torch.randn(count, generator.config.latent, generator=draw)
        generator(latents.to(device), condition)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@torch.no_grad()
def sample(
    generator: nn.Module,
    conditions: Sequence[int | None] | Tensor,
    *,
    seed: int,
    batch_size: int = 256,
    device: str = "cpu",
) -> np.ndarray:
    """Return one image a condition, uint8 [N, H, W, C].

    Conditions are labels, vectors (a float tensor [N, condition_size]), or None each for a
    generator that takes nothing. Image k comes from the random stream (seed, "sample", k): it does
    not depend on the batch size or on the other images, up to float rounding. Noise inside the
    network is the fixed one.

    Raises:
        InputError: if a condition is not one that the generator knows.
    """
    _check_conditions(generator, conditions)
    generator.to(device).eval()
    latent, batches = generator.config.latent, []
    for start in range(0, len(conditions), batch_size):
        chosen = range(start, min(start + batch_size, len(conditions)))
        latents = [
            torch.randn(latent, generator=torch_generator(seed, "sample", k)) for k in chosen
        ]
        condition = None
        if generator.config.num_classes:
            condition = torch.tensor([int(conditions[k]) for k in chosen], device=device)
        elif generator.config.condition_size:
            condition = conditions[chosen.start : chosen.stop].float().to(device)
        images = generator(torch.stack(latents).to(device), condition)
        pixels = ((images + 1) * 127.5).round().clamp(0, 255)
        batches.append(pixels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(batches)


def _check_conditions(generator: nn.Module, conditions: Sequence[int | None] | Tensor) -> None:
    known, size = generator.config.num_classes, generator.config.condition_size
    if not len(conditions):
        raise InputError("no images were asked for; give one condition an image, one at least")
    if size:
        if not isinstance(conditions, Tensor) or conditions.shape != (len(conditions), size):
            raise InputError(f"this generator takes vectors; give a float tensor [N, {size}]")
        return
    for label in conditions:
        if known and (label is None or not 0 <= int(label) < known):
            raise InputError(f"class {label} is not known; the labels are 0..{known - 1}")
        if not known and label is not None:
            raise InputError("this generator takes no condition; ask for None an image")
