"""A text-to-image generator that is asked for classes, as the other generators are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from synthbook.data.files import conform
from synthbook.errors import InputError
from synthbook.generate.prompts import check_form, form_of, prompt, scenes_of
from synthbook.generate.shots import Shots, images_from, shot_of, starts_of
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
        sentences: of each class by its name (`sentences.sentences_of`), in place of the form: its
            images go through them in turn.
        shots: real images of the classes, from which images start in place of noise alone; then
            there are none without a class.
        strength: of all that start so; None for the one that fits the number of shots.
        image_size: pixels a side to which images are brought, with ``channels``; 0: as they are.
        family: its name in rows.
    """

    conditional, left = True, None

    def __init__(
        self, generator: TextToImage, words: Sequence[ClassWords], form: str = "name", *,
        scenes: Sequence[str] | None = None, image_size: int = 0, channels: int = 3,
        family: str = "text", sentences: Mapping[str, Sequence[str]] | None = None,
        shots: Shots | None = None, strength: float | None = None,
    ) -> None:  # fmt: skip
        self.generator, self.words, self.form, self.family = generator, tuple(words), form, family
        self.scenes, self.shape = scenes, (image_size, channels)
        self.classes = tuple(word.name for word in words)
        self.sentences, self.shots, self.unconditional = sentences, shots, shots is None
        if sentences is None:
            check_form(words, form)
        for name in self.classes if sentences is not None else ():
            if not sentences.get(name):
                raise InputError(f"class '{name}' has no sentence; write some, or give a form")
        if shots is not None and shots.classes != self.classes:
            raise InputError(
                f"the real images to start from are of {len(shots.classes)} classes, and "
                f"{len(words)} or others are asked for; give those of the same ones"
            )
        self.strengths = shots.strengths(strength) if shots else ()

    @property
    def key(self) -> str:
        """What tells it from others, for the cache."""
        said = {"by": self.generator.identity, "words": self.words, "form": self.form}
        said |= {"sentences": self.sentences, "shots": self.shots, "strengths": self.strengths}
        return key_hash(said | {"scenes": self.scenes, "shape": self.shape})

    def asked(self, labels: Sequence[int | None], seed: int) -> tuple[list[str], list[int]]:
        """Return prompt and seed of an image a label; None is an image without a class."""
        seen: Counter[int | None] = Counter()
        prompts, seeds = [], []
        for label in labels:
            index, name = seen[label], "" if label is None else self.classes[label]
            seen[label] += 1
            prompts.append(self._prompt(label, index, seed))
            seeds.append(derive(seed, "clone", name, index))
        return prompts, seeds

    def _prompt(self, label: int | None, index: int, seed: int) -> str:
        if label is None:
            return ""
        if self.sentences is not None:
            of_class = self.sentences[self.classes[label]]
            return of_class[index % len(of_class)]
        return prompt(self.words[label], self.form, index, seed=seed, scenes=self.scenes)

    def starts(self, labels: Sequence[int | None]) -> list[tuple[int, int]]:
        """Return (class, shot) from which the image of each label starts."""
        if None in labels:
            raise InputError("an image without a class has no real one to start from; give labels")
        seen: Counter[int] = Counter()
        chosen = []
        for label in labels:
            shots = self.shots.counts[label]
            chosen.append((label, shot_of(seen[label], self._prompts(label), shots)))
            seen[label] += 1
        return chosen

    def _prompts(self, label: int) -> int:
        """Return how many prompts the images of a class go through."""
        if self.sentences is not None:
            return len(self.sentences[self.classes[label]])
        if "b" in form_of(self.form).needs:
            return len(scenes_of() if self.scenes is None else self.scenes)
        return 1

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
        starts = self.starts(labels) if self.shots else []
        if self.shots:
            sums = [self.shots.sums[label][shot] for label, shot in starts]
            key |= {"starts": sums, "strengths": [self.strengths[label] for label, _ in starts]}
        build = partial(_make, self, prompts, seeds, starts, how)
        return np.load(cached("samples", key, build, self.generator.device) / "images.npy")


def _make(
    source: Prompted, prompts: list[str], seeds: list[int], starts: list[tuple[int, int]],
    how: dict[str, Any], folder: Path,
) -> None:  # fmt: skip
    """Write images, brought to size."""
    if starts:
        pixels = starts_of(source.shots, starts, source.generator.side)
        strengths = [source.strengths[label] for label, _ in starts]
        images = images_from(source.generator, prompts, seeds, pixels, strengths, **how).images
    else:
        images = source.generator.images(prompts, seeds, **how).images
    with atomic_write(folder / "images.npy", "wb") as stream:
        np.save(stream, conform(images, *source.shape))
