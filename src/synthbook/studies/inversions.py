"""How a generator is made to draw given images: where that begins, what is free, what is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from synthbook.gans.invert import images_of, invert
from synthbook.gans.prior import Elements, Prior
from synthbook.measure.features import Extractor
from synthbook.measure.neighbours import nearest
from synthbook.randomness import derive, torch_generator
from synthbook.store import cached
from synthbook.studies.few_images import digest_of

TEST, TRAIN, GENERATED = "test", "train", "generated"
OWN, DRAWN, NEAREST = "own", "drawn", "nearest"


@dataclass(frozen=True)
class Case:
    """How images are inverted.

    Args:
        start: where z and conditions begin. "own": at C(x_q), as in the paper, or, without a
            prior, at a random z. "drawn": what a model draws when it is asked for any image, which
            knows nothing of the query. "nearest": the nearest, in pixels, of many such draws.
        freedom: what is optimised, of `gans.invert.FREEDOMS`.
        queries: which images: held-out ones ("test"), some trained on ("train"), or those that the
            model itself has drawn ("generated").
        trained: whether by the trained generator, or one of random weights.
    """

    start: str = OWN
    freedom: str = "blocks"
    queries: str = TEST
    trained: bool = True

    def fields(self) -> dict[str, Any]:
        """Return what a row says of it."""
        return {"start": self.start, "freedom": self.freedom, "queries": self.queries}


@dataclass(frozen=True, eq=False)
class Gan:
    """A generator and what its conditions are made of; without a prior there is none of both."""

    generator: nn.Module
    prior: Prior | None
    extractor: Extractor | None

    def conditions(self, images: np.ndarray) -> Tensor | None:
        """Return C(x) of images, by the scale of those that the generator learned."""
        return None if self.prior is None else self.prior.of(self.extractor.cached(images))

    @torch.no_grad()
    def embedded(self, conditions: Tensor | None) -> Tensor | None:
        """Return G_emb of conditions, on the CPU."""
        if conditions is None:
            return None
        embed = self.generator.embed
        return embed(conditions.to(next(embed.parameters()).device)).cpu()

    def drawn(self, count: int, seed: int) -> tuple[Tensor, Tensor | None]:
        """Return z and conditions of any ``count`` images, as the generator is trained."""
        draw = torch_generator(seed, "any images")
        latents = torch.randn(count, self.generator.config.latent, generator=draw)
        if self.prior is None:
            return latents, None
        return latents, Elements(self.prior.vectors).sample(count, seed)


@dataclass(frozen=True, eq=False)
class Found:
    """What an inversion found: images uint8 [N, H, W, C], and the errors of all steps.

    ``history`` is [steps + 1, N], as in `gans.invert.Inverted`; the images are those of the best.
    """

    images: np.ndarray
    history: np.ndarray

    @property
    def lowest(self) -> np.ndarray:
        """The mean error up to each step; the last is IvOM."""
        return np.minimum.accumulate(self.history).mean(1)


def begin(
    gan: Gan, images: np.ndarray, start: str, *, tried: int, seed: int, device: str = "cpu"
) -> tuple[Tensor | None, Tensor | None]:
    """Return z [N, latent], None where it is drawn anew, and embedded conditions [N, E].

    ``start`` is that of a `Case`; ``tried`` are so many draws that the nearest is one of.
    """
    if start == OWN:
        return None, gan.embedded(gan.conditions(images))
    latents, conditions = gan.drawn(len(images) if start == DRAWN else tried, derive(seed, "start"))
    if start == DRAWN:
        return None, gan.embedded(conditions)
    made = images_of(gan.generator, latents, conditions, device=device)
    near = nearest(images, made)[0]
    return latents[near], gan.embedded(None if conditions is None else conditions[near])


def inverted(
    gan: Gan, images: np.ndarray, case: Case, *,
    tried: int, seed: int, steps: int, rate: float, device: str = "cpu",
) -> Found:  # fmt: skip
    """Return what `gans.invert.invert` finds of images: cached, or computed now."""
    how = {"tried": tried, "seed": seed, "device": device}
    latents, embedded = begin(gan, images, case.start, **how)
    generator = gan.generator
    key = {
        "generator": {k: digest_of(value) for k, value in generator.state_dict().items()},
        "images": digest_of(torch.from_numpy(images)), "embedded": digest_of(embedded),
        "latents": digest_of(latents), "seed": seed, "steps": steps, "rate": rate,
        "freedom": case.freedom,
    }  # fmt: skip

    def build(folder: Path) -> None:
        how = {"steps": steps, "rate": rate, "freedom": case.freedom, "device": device}
        made = invert(generator, images, embedded, seed=seed, latents=latents, **how)
        np.savez(folder / "found.npz", images=made.images, history=made.history)

    with np.load(cached("inversions", key, build, device) / "found.npz") as held:
        return Found(held["images"], held["history"])
