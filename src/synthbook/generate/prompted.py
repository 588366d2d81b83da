"""A text-to-image generator that is asked for classes, as the other generators are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from synthbook.data.files import conform
from synthbook.errors import InputError
from synthbook.generate.prompts import check_form, form_of, prompt, scenes_of
from synthbook.generate.shots import Shots, images_from, shot_of, starts_of
from synthbook.generate.text import TextToImage
from synthbook.generate.wordnet import ClassWords
from synthbook.keys import key_hash
from synthbook.randomness import derive
from synthbook.store import atomic_write, cached

BLOCK = 100  # images of a class that are made, and kept, together


class Prompted:
    """Images of classes by their prompts: a `clones.Sampler`, whose images are kept in the cache.

    With the same seed its images are those of a `dataset_plan.Plan`: the n-th of a class in a call
    is image n of that class. So a larger set has the images of a smaller one, whose whole hundreds
    are not made again.

    Args:
        generator: what makes the images, or opens what does when the first one is not ``kept``;
            None if all are.
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
        kept: images that were made before, uint8 [H, W, C], by `asked_for`; these are not made.
    """

    conditional, left = True, None

    def __init__(
        self, generator: TextToImage | Callable[[], TextToImage] | None,
        words: Sequence[ClassWords], form: str = "name", *,
        scenes: Sequence[str] | None = None, image_size: int = 0, channels: int = 3,
        family: str = "text", sentences: Mapping[str, Sequence[str]] | None = None,
        shots: Shots | None = None, strength: float | None = None,
        kept: Mapping[str, np.ndarray] | None = None,
    ) -> None:  # fmt: skip
        self._given, self.words, self.form, self.family = generator, tuple(words), form, family
        self.scenes, self.shape, self.kept = scenes, (image_size, channels), kept or {}
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

    @cached_property
    def generator(self) -> TextToImage | None:
        """What makes the images that are not kept."""
        return self._given() if callable(self._given) else self._given

    @property
    def key(self) -> str:
        """What tells it from others, for the cache."""
        said = {"by": self.generator.identity, "words": self.words, "form": self.form}
        said |= {"sentences": self.sentences, "shots": self.shots, "strengths": self.strengths}
        return key_hash(said | {"scenes": self.scenes, "shape": self.shape})

    def asked(self, label: int | None, numbers: Sequence[int], seed: int) -> list[tuple[str, int]]:
        """Return prompt and seed of some images of a class; None is no class."""
        name = "" if label is None else self.classes[label]
        return [(self._prompt(label, k, seed), derive(seed, "clone", name, k)) for k in numbers]

    def _prompt(self, label: int | None, index: int, seed: int) -> str:
        if label is None:
            return ""
        if self.sentences is not None:
            of_class = self.sentences[self.classes[label]]
            return of_class[index % len(of_class)]
        return prompt(self.words[label], self.form, index, seed=seed, scenes=self.scenes)

    def starts(self, label: int | None, numbers: Sequence[int]) -> list[tuple[int, int]]:
        """Return (class, shot) from which some images of a class start; [] without shots."""
        if self.shots is None:
            return []
        if label is None:
            raise InputError("an image without a class has no real one to start from; give labels")
        prompts, shots = self._prompts(label), self.shots.counts[label]
        return [(label, shot_of(k, prompts, shots)) for k in numbers]

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
        how = {"seed": seed, "guidance_scale": float(guidance_scale)}
        how |= {"num_inference_steps": int(num_inference_steps)}
        of = {
            label: chain.from_iterable(self.blocks(label, count, **how))
            for label, count in Counter(labels).items()
        }
        return np.stack([next(of[label]) for label in labels])

    def has(self, label: int | None, count: int, *, seed: int, **how: float) -> bool:
        """Return whether the first images of a class are kept, so that none need be made."""
        return all(name in self.kept for name in self.names(label, range(count), seed=seed, **how))

    def names(
        self, label: int | None, numbers: Sequence[int], *, seed: int, **how: float
    ) -> list[str]:
        """Return by what some images of a class are known among the ``kept``."""
        return self._names(self.asked(label, numbers, seed), self.starts(label, numbers), how)

    def _names(
        self, asked: list[tuple[str, int]], starts: list[tuple[int, int]], how: dict[str, Any]
    ) -> list[str]:
        if not starts:
            return [asked_for(*one, **how) for one in asked]
        return [
            asked_for(
                *one, start=self.shots.sums[label][shot], strength=self.strengths[label], **how
            )
            for one, (label, shot) in zip(asked, starts, strict=True)
        ]

    def blocks(
        self, label: int | None, count: int, *, seed: int, **how: float
    ) -> Iterator[np.ndarray]:
        """Yield the first images of a class, `BLOCK` at a time, from the cache's files."""
        for k in range(0, count, BLOCK):
            numbers = range(k, min(k + BLOCK, count))
            yield self._block(self.asked(label, numbers, seed), self.starts(label, numbers), how)

    def _block(
        self, asked: list[tuple[str, int]], starts: list[tuple[int, int]], how: dict[str, Any]
    ) -> np.ndarray:
        """Return the images of one class that were asked for; those that are not kept are made."""
        kept = [self.kept.get(name) for name in self._names(asked, starts, how)]
        if all(image is not None for image in kept):
            return conform(np.stack(kept), *self.shape)
        key: dict[str, Any] = {"by": self.generator.identity, "shape": self.shape, **how}
        if starts:
            sums = [self.shots.sums[label][shot] for label, shot in starts]
            key |= {"starts": sums, "strengths": [self.strengths[label] for label, _ in starts]}
        build = partial(_make, self, asked, starts, how)
        place = cached("samples", key | {"asked": asked}, build, self.generator.device)
        return np.load(place / "images.npy", mmap_mode="r")


def asked_for(
    text: str, seed: int, *, guidance_scale: float, num_inference_steps: int, start: str = "",
    strength: float = 1.0,
) -> str:  # fmt: skip
    """Return 16 hex digits for an image of a prompt and seed, made in so many steps.

    ``start`` is the sum of the real image that it starts from, if it does, at a ``strength``.
    """
    how = {"guidance_scale": guidance_scale, "steps": num_inference_steps}
    how |= {"start": start, "strength": strength} if start else {}
    return key_hash({"prompt": text, "seed": seed} | how)


def _make(
    source: Prompted, asked: list[tuple[str, int]], starts: list[tuple[int, int]],
    how: dict[str, Any], folder: Path,
) -> None:  # fmt: skip
    """Write images, brought to size."""
    prompts, seeds = zip(*asked, strict=True)
    if starts:
        pixels = starts_of(source.shots, starts, source.generator.side)
        strengths = [source.strengths[label] for label, _ in starts]
        images = images_from(source.generator, prompts, seeds, pixels, strengths, **how).images
    else:
        images = source.generator.images(prompts, seeds, **how).images
    with atomic_write(folder / "images.npy", "wb") as stream:
        np.save(stream, conform(images, *source.shape))
