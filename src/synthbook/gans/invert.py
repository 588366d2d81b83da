"""Which z and conditions make a generator draw a given image, and walks between two conditions.

Inversion measures what a generator can draw at all (IvOM; Metz et al. 2017): a small error at best
says that the image lies near its range. The condition of each block is free (Data Instance Prior,
Appendix C), which takes a generator with `from_embedding`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from synthbook.errors import InputError, check_choice
from synthbook.gans.sampling import BATCH, as_pixels, embedding_size
from synthbook.randomness import torch_generator

Freedom = Literal["z", "condition", "blocks"]
FREEDOMS = ("z", "condition", "blocks")


@dataclass(frozen=True, eq=False)
class Inverted:
    """What an inversion found, on the CPU: the best step of each of N images.

    ``images`` uint8 [N, H, W, C]; ``errors`` [N], the remaining squared error a pixel and channel
    of images in [0, 1], not rounded to pixels; ``latents`` [N, latent]; ``embedded`` [N,
    num_blocks, E], None where the generator takes no condition; ``history`` [steps + 1, N], the
    error before each step and after the last.
    """

    images: np.ndarray
    errors: np.ndarray
    latents: Tensor
    embedded: Tensor | None
    history: np.ndarray

    @property
    def ivom(self) -> float:
        """The mean of the errors over images."""
        return float(self.errors.mean())


def free_numbers(generator: nn.Module, freedom: Freedom = "blocks") -> int:
    """Return how many numbers `invert` may choose for an image, of those that reach it."""
    check_choice("freedom", freedom, FREEDOMS)
    vector = 0
    if generator.embed is not None:
        vector = embedding_size(generator)
    elif _modulated(generator):
        vector = generator.config.latent
    if freedom == "z" or not vector:
        return generator.config.latent
    # Where each block has a vector in its place, StyleGAN2 looks at no other z.
    z = 0 if generator.embed is None and hasattr(generator, "styles") else generator.config.latent
    return z + vector * (generator.num_blocks if freedom == "blocks" else 1)


def _modulated(generator: nn.Module) -> bool:
    """Return whether each block takes all of z."""
    return getattr(generator.config, "self_modulation", False) or hasattr(generator, "styles")


def invert(
    generator: nn.Module, images: np.ndarray, embedded: Tensor | None = None, *,
    seed: int, steps: int = 500, rate: float = 0.1, freedom: Freedom = "blocks",
    latents: Tensor | None = None, batch_size: int = 64, device: str = "cpu",
) -> Inverted:  # fmt: skip
    """Find z*, C_1*, .., C_k* = argmin ||G(z | C_1, .., C_k) - x_q||^2 by Adam (Appendix C).

    z starts at N(0, I) from the stream (seed, "invert", q), and all C_i, one a block, at row q of
    ``embedded`` [N, E]: G_emb(C(x_q)), by ``generator.embed``, or where conditions are labels,
    which x_q has not, at `sampling.mean_embedding`. Without G_emb a generator has the same freedom
    if its blocks have something of their own: where they are modulated by z (StyleGAN2 too), each
    has a vector in the place of z that starts there; where z is cut into parts (BigGAN), and in a
    plain one, z is all. Each image is found by itself, whatever the batch.

    Args:
        generator: its weights and batch statistics are left as they are.
        images: the queries x_q, uint8 [N, H, W, C].
        embedded: where the conditions start.
        freedom: "blocks" as above; "condition": one C for all blocks; "z": z alone.
        latents: where z starts, [N, latent]; None: drawn as above.

    Raises:
        InputError: if images or conditions do not fit the generator.
    """
    check_choice("freedom", freedom, FREEDOMS)
    config = generator.config
    shape = (config.image_size, config.image_size, config.image_channels)
    if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
        raise InputError(
            f"images are {images.dtype} {list(images.shape)}; the generator makes uint8 "
            f"[N, {', '.join(map(str, shape))}], so give queries of that shape"
        )
    _check_start(generator, embedded, len(images))
    if latents is None:
        streams = (torch_generator(seed, "invert", q) for q in range(len(images)))
        latents = torch.stack([torch.randn(config.latent, generator=draw) for draw in streams])
    elif tuple(latents.shape) != (len(images), config.latent) or not latents.isfinite().all():
        raise InputError(
            f"latents is {list(latents.shape)}; give finite floats [{len(images)}, "
            f"{config.latent}], one row an image"
        )
    generator.to(device).eval()
    like = next(generator.parameters())
    found: list[tuple[Tensor, ...]] = []
    for start in range(0, len(images), batch_size):
        chosen = range(len(images))[start : start + batch_size]
        targets = torch.from_numpy(images[chosen.start : chosen.stop]).permute(0, 3, 1, 2).to(like)
        z = latents[chosen.start : chosen.stop].to(like, copy=True)
        first = None if embedded is None else embedded[chosen.start : chosen.stop].to(like)
        if first is None and _modulated(generator) and freedom != "z":
            first = z.clone()
        found.append(
            _descend(generator, targets / 255, z, first, steps=steps, rate=rate, freedom=freedom)
        )
    pixels, errors, latents, conditions, history = zip(*found, strict=True)
    return Inverted(
        np.concatenate([as_pixels(part) for part in pixels]),
        torch.cat(errors).double().cpu().numpy(),
        torch.cat(latents).cpu(),
        None if conditions[0] is None else torch.cat(conditions).cpu(),
        torch.cat(history, 1).double().cpu().numpy(),
    )


def _descend(
    generator: nn.Module, targets: Tensor, z: Tensor, embedded: Tensor | None, *,
    steps: int, rate: float, freedom: Freedom,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]:  # fmt: skip
    """Return images, errors, z and conditions of the best step of each image, and all errors."""
    blocks = 0 if embedded is None else generator.num_blocks
    free = [z.requires_grad_()]
    if blocks and freedom != "z":
        copies = blocks if freedom == "blocks" else 1
        free.append(embedded[:, None].repeat(1, copies, 1).requires_grad_())

    def draw() -> tuple[Tensor, Tensor | None]:
        condition = None
        if blocks:
            condition = (free[1] if len(free) > 1 else embedded[:, None]).expand(-1, blocks, -1)
        return generator.from_embedding(z, condition), condition

    optimizer = torch.optim.Adam(free, lr=rate)
    best: list[Tensor | None] = []
    history = []
    for step in range(steps + 1):
        drawn, condition = draw()
        error = ((drawn + 1) / 2 - targets).square().mean((1, 2, 3))
        history.append(error.detach())
        now = [drawn.detach(), error.detach(), z.detach().clone()]
        now.append(None if condition is None else condition.detach().clone())
        best = _better(best, now) if best else now
        if step < steps:
            # The sum, so that no image's gradient depends on the others; Adam works by element. z
            # has no gradient where each block has a vector in its place.
            gradients = torch.autograd.grad(error.sum(), free, materialize_grads=True)
            for tensor, gradient in zip(free, gradients, strict=True):
                tensor.grad = gradient
            optimizer.step()
    return *best, torch.stack(history)


def _better(old: list[Tensor | None], new: list[Tensor | None]) -> list[Tensor | None]:
    """Return for each image what had the lower error."""
    lower = new[1] < old[1]

    def chosen(a: Tensor | None, b: Tensor | None) -> Tensor | None:
        return None if a is None else torch.where(lower.view(-1, *[1] * (a.dim() - 1)), b, a)

    return [chosen(a, b) for a, b in zip(old, new, strict=True)]


def _check_start(generator: nn.Module, embedded: Tensor | None, count: int) -> None:
    architecture = generator.config.architecture
    if not hasattr(generator, "from_embedding"):
        raise InputError(
            f"a '{architecture}' takes no conditions a block; give an 'sngan', a 'biggan' or a "
            "'stylegan2'"
        )
    if embedded is None:
        if generator.config.num_classes or generator.config.condition_size:
            raise InputError(
                f"no conditions to start from were given for this '{architecture}'; give those "
                "that generator.embed makes of the images' features"
            )
        return
    size = embedding_size(generator)
    if tuple(embedded.shape) != (count, size) or not embedded.isfinite().all():
        raise InputError(
            f"embedded is {list(embedded.shape)}; give finite floats [{count}, {size}], one row an "
            "image"
        )


@torch.no_grad()
def images_of(
    generator: nn.Module, latents: Tensor, conditions: Tensor | None, *,
    embedded: bool = False, device: str = "cpu",
) -> np.ndarray:  # fmt: skip
    """Return G(z | c) of rows of both, uint8 [N, H, W, C].

    Conditions are vectors [N, d], or with ``embedded`` what ``generator.embed`` makes of any.
    """
    generator.to(device).eval()
    draw, batches = generator.from_embedding if embedded else generator, []
    for start in range(0, len(latents), BATCH):
        rows = slice(start, start + BATCH)
        condition = None if conditions is None else conditions[rows].to(device)
        batches.append(as_pixels(draw(latents[rows].to(device), condition)))
    return np.concatenate(batches)


def walk(
    generator: nn.Module, first: Tensor, second: Tensor, *,
    seed: int, images: int = 8, embedded: bool = False, device: str = "cpu",
) -> np.ndarray:  # fmt: skip
    """Return G(z | (1 - l) first + l second) with one z, l from 0 to 1: uint8 [images, H, W, C].

    The ends [d] are condition vectors, or with ``embedded`` what ``generator.embed`` makes of any
    condition, labels too.
    """
    if first.shape != second.shape or first.dim() != 1 or images < 2:
        raise InputError(
            f"a walk of {images} images from {list(first.shape)} to {list(second.shape)} is not "
            "possible; give two vectors of one length, and 2 images or more"
        )
    shares = torch.linspace(0, 1, images)[:, None]
    between = torch.lerp(first.cpu(), second.cpu(), shares)
    z = torch.randn(1, generator.config.latent, generator=torch_generator(seed, "walk"))
    how = {"embedded": embedded, "device": device}
    return images_of(generator, z.expand(images, -1), between, **how)
