"""Images from a trained generator, and the batch statistics that it needs for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.randomness import torch_generator

BATCH = 250  # images whose statistics are taken at a time
Conditions = Callable[[int, torch.Generator], Tensor | None]  # (count, draw) -> conditions


@torch.no_grad()
def set_standing_statistics(
    generator: nn.Module, conditions: Conditions, *, seed: int, images: int
) -> None:
    """Set the batch norm statistics of ``generator`` to those of its own images, in place.

    Averaged weights never ran on a batch, so the statistics are taken anew ("standing
    statistics", Brock et al. 2019, Appendix), with conditions as frequent as in training.
    Networks without batch norm are left alone.
    """
    device = next(generator.parameters()).device
    with taking_statistics(generator) as needed:
        for k, count in enumerate(even_parts(images) if needed else ()):
            draw = torch_generator(seed, "standing statistics", k)
            condition = conditions(count, draw)
            latents = torch.randn(count, generator.config.latent, generator=draw)
            generator(latents.to(device), condition)


def even_parts(total: int) -> list[int]:
    """Return the sizes of as few batches as hold at most ``BATCH`` each, as equal as can be.

    In a mean over batches (`taking_statistics`) no image then weighs much more than another.
    """
    count = -(-total // BATCH)
    return [total // count + (k < total % count) for k in range(count)]


@contextmanager
def taking_statistics(generator: nn.Module) -> Iterator[bool]:
    """Take the batch norm statistics anew: those of all batches that run inside, each as heavy.

    Gives whether there are any; without batch norm, the network is left alone. It is in training
    mode inside and after.
    """
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        yield False
        return
    momentum = norms[0].momentum
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    generator.train()
    yield True
    for norm in norms:
        norm.momentum = momentum


@torch.no_grad()
def sample(
    generator: nn.Module,
    conditions: Sequence[int | None] | Tensor,
    *,
    seed: int,
    embedded: bool = False,
    batch_size: int = 256,
    device: str = "cpu",
) -> np.ndarray:
    """Return one image a condition, uint8 [N, H, W, C].

    Conditions are labels, vectors (a float tensor [N, condition_size]), or None each for a
    generator that takes nothing. With ``embedded`` they are vectors as ``generator.embed`` makes
    them, [N, E] or [N, num_blocks, E] (`from_embedding`). Image k comes from the random stream
    (seed, "sample", k): it does not depend on the batch size or on the other images, up to float
    rounding. Noise inside the network is the fixed one.
    """
    check = _embedded if embedded else _known_conditions
    known, images_of = check(generator, conditions), generator
    if embedded:
        images_of = generator.from_embedding
    generator.to(device).eval()
    latent, batches = generator.config.latent, []
    for start in range(0, len(conditions), batch_size):
        chosen = range(len(conditions))[start : start + batch_size]
        latents = [
            torch.randn(latent, generator=torch_generator(seed, "sample", k)) for k in chosen
        ]
        condition = None if known is None else known[start : start + batch_size].to(device)
        images = images_of(torch.stack(latents).to(device), condition)
        batches.append(as_pixels(images))
    return np.concatenate(batches)


def as_pixels(images: Tensor) -> np.ndarray:
    """Return images [N, C, H, W] in -1..1 as uint8 [N, H, W, C]."""
    pixels = ((images + 1) * 127.5).round().clamp(0, 255)
    return pixels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def _embedded(generator: nn.Module, vectors: Sequence[int | None] | Tensor) -> Tensor:
    """Return vectors in the space of the generator's G_emb, or raise InputError."""
    size = embedding_size(generator)
    shapes = [(len(vectors), size), (len(vectors), generator.num_blocks, size)]
    floats = isinstance(vectors, Tensor) and vectors.is_floating_point()
    if not len(vectors) or not floats or tuple(vectors.shape) not in shapes:
        raise InputError(
            f"embedded conditions must be a float tensor [N, {size}] or [N, "
            f"{generator.num_blocks}, {size}], N above 0; give what this generator's embed makes"
        )
    return vectors.float()


def embedding_size(generator: nn.Module) -> int:
    """Return E, how many numbers ``generator.embed`` makes; InputError if it has no such layer."""
    embed = getattr(generator, "embed", None)
    if embed is None:
        raise InputError(
            f"this '{generator.config.architecture}' has no layer that embeds its condition; make "
            "an 'sngan', a 'biggan' (both shared True) or a 'stylegan2_mlp' with condition_size"
        )
    config = generator.config
    return config.embedding if hasattr(config, "embedding") else config.style


@torch.no_grad()
def embedded_classes(generator: nn.Module) -> Tensor:
    """Return what G_emb makes of each class, [num_classes, E]; InputError if there is none."""
    embedding_size(generator)  # there is a G_emb
    labels = torch.arange(generator.config.num_classes, device=next(generator.parameters()).device)
    return generator.embed(labels)


@torch.no_grad()
def mean_embedding(generator: nn.Module) -> Tensor:
    """Return the mean of G_emb over classes, or G_emb at a condition vector of zeros: [1, E].

    A generator that embeds nothing has [1, 0].
    """
    config, like = generator.config, next(generator.parameters())
    if generator.embed is None:
        return like.new_zeros(1, 0)
    if config.num_classes:
        return embedded_classes(generator).mean(0, keepdim=True)
    return generator.embed(like.new_zeros(1, config.condition_size))


def _known_conditions(
    generator: nn.Module, conditions: Sequence[int | None] | Tensor
) -> Tensor | None:
    """Return labels or vectors as the generator takes them, or raise InputError."""
    classes, size = generator.config.num_classes, generator.config.condition_size
    if not len(conditions):
        raise InputError("no images were asked for; give one condition an image, one at least")
    if size:
        if not isinstance(conditions, Tensor) or conditions.shape != (len(conditions), size):
            raise InputError(f"this generator takes vectors; give a float tensor [N, {size}]")
        return conditions.float()
    for label in conditions:
        if classes and (label is None or not 0 <= int(label) < classes):
            raise InputError(f"class {label} is not known; the labels are 0..{classes - 1}")
        if not classes and label is not None:
            raise InputError("this generator takes no condition; ask for None an image")
    return torch.tensor([int(label) for label in conditions]) if classes else None
