"""The book's models of classes, started from real shots: the real guidance of He et al. (2023).

See `from_images` for what that is, and for the other thing that has this name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from synthbook.errors import InputError
from synthbook.generate.from_images import finest, own_side, share, sister, steps_of
from synthbook.generate.shots import Shots, shot_of
from synthbook.generate.text import LANES
from synthbook.keys import key_hash
from synthbook.randomness import derive, torch_generator
from synthbook.store import atomic_write, cached

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from synthbook.generate.models import Generator


def images_of_classes(
    pipeline: DiffusionPipeline,
    labels: Sequence[int | None],
    seeds: Sequence[int],
    starts: Sequence[np.ndarray],
    *,
    strength: float,
    guidance_scale: float = 1.0,
    num_inference_steps: int = 20,
    device: str = "cpu",
) -> np.ndarray:
    """Return one image a label that starts from its own image, uint8 [N, H, W, C].

    ``starts`` are uint8 [S, S, C] of the pipeline's own size. The noise of image k comes from the
    stream (seeds[k], "sample", 0), so it depends on its label, seed and start alone: on the CPU to
    the bit. Strength 1 is `diffusion.sample`'s image of that noise.
    """
    n, m = steps_of(strength, num_inference_steps, most=finest(pipeline))
    pipeline = sister(pipeline.to(device), "the model")
    how = {"strength": share(n, m), "num_inference_steps": m, "guidance_scale": guidance_scale}
    squeezed = [np.squeeze(start, 2) if start.shape[2] == 1 else start for start in starts]
    made = []
    for first in range(0, len(labels), LANES):
        part = [*range(len(labels))[first : first + LANES]]
        lanes = [*part, *[part[-1]] * (LANES - len(part))]
        output = pipeline(
            [labels[k] for k in lanes], [Image.fromarray(squeezed[k]) for k in lanes],
            generator=[torch_generator(int(seeds[k]), "sample", 0) for k in lanes], **how,
        )  # fmt: skip
        made.append(np.rint(output.images[: len(part)] * 255).astype(np.uint8))
    return np.concatenate(made)


class Started:
    """A kept diffusion model whose images start from shots: a `clones.Sampler`.

    Args:
        model: the generator.
        shots: real images of its classes.
        strength: of all images; None for the one that fits the number of shots of the class.

    Raises:
        InputError: for a GAN, which has no noise to start in the middle of, and for shots of other
            classes.
    """

    conditional, unconditional, left = True, False, None

    def __init__(self, model: Generator, shots: Shots, *, strength: float | None = None) -> None:
        if model.family != "diffusion":
            raise InputError(
                f"a {model.family} model cannot start from images; give a diffusion model"
            )
        if shots.classes != model.classes:
            raise InputError(
                f"the real images to start from are of {len(shots.classes)} classes, and the model "
                f"of {len(model.classes)} or others; give those of the same ones"
            )
        self.model, self.shots, self.strengths = model, shots, shots.strengths(strength)
        self.classes, self.family = model.classes, model.family

    @property
    def key(self) -> str:
        """What tells it from others, for the cache."""
        return key_hash({"by": self.model.key, "shots": self.shots, "strengths": self.strengths})

    def sample(
        self, labels: Sequence[int | None], *, seed: int, guidance_scale: float = 1.0,
        num_inference_steps: int = 0,
    ) -> np.ndarray:  # fmt: skip
        """Return an image a label, uint8 [N, H, W, C]; made once, then read from the cache.

        The n-th of a class in a call starts from shot n of the class, and after the last from the
        first again. Steps 0 are those of the model's card.
        """
        if None in labels:
            raise InputError("an image without a class has no real one to start from; give labels")
        self.model.check_labels(labels)
        self.model.check_guidance(guidance_scale)
        steps = num_inference_steps or self.model.card["sampling"]["num_inference_steps"]
        how = {"guidance_scale": float(guidance_scale), "num_inference_steps": int(steps)}
        labels = [int(label) for label in labels]
        key: dict[str, Any] = {"by": self.key, "labels": labels, "seed": seed, **how}
        build = partial(_make, self, labels, seed, how)
        return np.load(cached("samples", key, build, self.model.device) / "images.npy")


def _make(source: Started, labels: list[int], seed: int, how: dict[str, Any], folder: Path) -> None:
    from synthbook.generate.models import loaded

    pipeline, model, seen = loaded(source.model), source.model, Counter()
    side, channels = own_side(pipeline), model.card["data"]["channels"]
    seeds, starts = [], []
    for label in labels:
        index, name = seen[label], source.classes[label]
        seen[label] += 1
        shot = shot_of(index, 1, source.shots.counts[label])
        starts.append(source.shots.read(label, shot, side, channels))
        seeds.append(derive(seed, "clone", name, index))
    own = model.own_labels(labels, seed)
    made: list[Any] = [None] * len(labels)
    for strength in sorted({*source.strengths}):
        some = [k for k, label in enumerate(labels) if source.strengths[label] == strength]
        images = images_of_classes(
            pipeline, [own[k] for k in some], [seeds[k] for k in some], [starts[k] for k in some],
            strength=strength, device=model.device, **how,
        ) if some else []  # fmt: skip
        for k, image in zip(some, images, strict=True):
            made[k] = image
    with atomic_write(folder / "images.npy", "wb") as stream:
        np.save(stream, np.stack(made))
