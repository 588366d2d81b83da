"""A text-to-image generator that is asked for classes, as the other generators are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from synthbook.data.files import conform
from synthbook.errors import InputError
from synthbook.generate.prompts import check_form, prompt
from synthbook.generate.text import TextToImage
from synthbook.generate.wordnet import ClassWords
from synthbook.randomness import derive
from synthbook.store import atomic_write, cached, key_hash


class Prompted:
    """Images of classes by their prompts: a `clones.Sampler`, whose images are kept in the cache.

    With the same seed its images are those of a `dataset_plan.Plan`: the n-th of a class in a call
    is image n of that class.

    Args:
        generator: what makes the images.
        words: of the classes.
        form: of their prompts (`prompts.FORMS`).
        scenes: of a form with scenes; those of Places if None.
        image_size: pixels a side to which images are brought, with ``channels``; 0: as they are.
        family: its name in rows.
    """

    conditional, unconditional, left = True, True, None

    def __init__(
        self, generator: TextToImage, words: Sequence[ClassWords], form: str = "name", *,
        scenes: Sequence[str] | None = None, image_size: int = 0, channels: int = 3,
        family: str = "text",
    ) -> None:  # fmt: skip
        check_form(words, form)
        self.generator, self.words, self.form, self.family = generator, tuple(words), form, family
        self.scenes, self.shape = scenes, (image_size, channels)
        self.classes = tuple(word.name for word in words)

    @property
    def key(self) -> str:
        """What tells it from others, for the cache."""
        said = {"by": self.generator.identity, "words": self.words, "form": self.form}
        return key_hash(said | {"scenes": self.scenes, "shape": self.shape})

    def asked(self, labels: Sequence[int | None], seed: int) -> tuple[list[str], list[int]]:
        """Return prompt and seed of an image a label; None is an image without a class."""
        seen: Counter[int | None] = Counter()
        prompts, seeds = [], []
        for label in labels:
            index, name = seen[label], "" if label is None else self.classes[label]
            seen[label] += 1
            how = {"seed": seed, "scenes": self.scenes}
            text = "" if label is None else prompt(self.words[label], self.form, index, **how)
            prompts.append(text)
            seeds.append(derive(seed, "clone", name, index))
        return prompts, seeds

    def sample(
        self, labels: Sequence[int | None], *, seed: int, guidance_scale: float = 2.0,
        num_inference_steps: int = 50,
    ) -> np.ndarray:  # fmt: skip
        """Return an image a label, uint8 [N, H, W, C]; made once, then read from the cache."""
        if not len(labels):
            raise InputError(f"no image is asked of '{self.family}'; ask for one at least")
        prompts, seeds = self.asked(labels, seed)
        how = {"guidance_scale": float(guidance_scale)}
        how |= {"num_inference_steps": int(num_inference_steps)}
        key: dict[str, Any] = {"by": self.generator.identity, "shape": self.shape, **how}
        key |= {"prompts": prompts, "seeds": seeds}
        build = partial(_make, self, prompts, seeds, how)
        return np.load(cached("samples", key, build, self.generator.device) / "images.npy")


def _make(
    source: Prompted, prompts: list[str], seeds: list[int], how: dict[str, Any], folder: Path
) -> None:
    """Write images, brought to size."""
    images = source.generator.images(prompts, seeds, **how).images
    with atomic_write(folder / "images.npy", "wb") as stream:
        np.save(stream, conform(images, *source.shape))
