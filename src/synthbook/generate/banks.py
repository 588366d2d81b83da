"""A generator's images in an order that never changes: its bank, of which everybody takes.

Image k of a bank depends on the generator, the guidance scale and k only. The first thousands come
with a model, as WebP, so that a page need not sample; the rest is sampled when it is asked for, and
kept in the cache. All images of a bank went through the same codec.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from synthbook.errors import InputError
from synthbook.generate.models import FAMILIES, Generator, loaded
from synthbook.generate.mosaics import mosaic_of, tiles_of
from synthbook.machine import telling
from synthbook.randomness import derive, numpy_generator
from synthbook.store import atomic_write, cached

SAMPLES = "samples"  # where they lie in a model's folder
FIRST = 8  # strips that a bank begins with, if so many come with the model
STRIP = 1000  # images in a file
QUALITY = 90  # of WebP, as of the photographs that the generators learn from
BATCH = 250


class Bank:
    """The images of a generator at a guidance scale, drawn from without replacement.

    It is asked like a generator (`clones.Sampler`), and as many as are asked for can be had.
    """

    conditional, unconditional = True, True
    left = None

    def __init__(self, model: Generator, guidance_scale: float = 1.0) -> None:
        model.check_guidance(guidance_scale)
        self.model, self.guidance_scale = model, float(guidance_scale)
        self.family, self.classes = model.family, model.classes
        self._images: list[np.ndarray] = []
        self._labels = np.zeros(0, dtype=np.int64)
        self._undrawn = np.zeros(0, dtype=bool)

    @property
    def key(self) -> str:
        """What tells it from others, for the cache: how many images are there decides draws."""
        start = f"{SAMPLES}/g{self.guidance_scale:g}-"
        files = self.model.card["files"].items()
        shipped = sorted(entry for entry in files if entry[0].startswith(start))
        told = hashlib.sha256(json.dumps(shipped).encode()).hexdigest()[:8]
        return f"{self.model.key} g{self.guidance_scale:g} {told}"

    def sample(self, labels: Sequence[int | None], *, seed: int) -> np.ndarray:
        """Return an image a label, uint8 [N, H, W, C], drawn by ``seed``; None: of any class."""
        self.model.check_labels(labels)
        asked = np.array([-1 if label is None else label for label in labels])
        for label in np.unique(asked[asked >= 0]):
            if not self._share(label):
                raise InputError(
                    f"the {self.family} model has learned no image of '{self.classes[label]}'; "
                    "leave that class out"
                )
        chosen = np.empty(len(asked), dtype=np.int64)
        for label in np.unique(asked):
            number = int((asked == label).sum())
            while (members := self._left(label)).size < number:
                self._extend()
            drawn = numpy_generator(seed, "bank", int(label)).permutation(members)[:number]
            chosen[asked == label] = drawn
            self._undrawn[drawn] = False
        strips = np.concatenate(self._images)
        return strips[chosen]

    def _share(self, label: int) -> float:
        return sum(self.model.card["shares"][k] for k in self.model.members[label][0])

    def _left(self, label: int) -> np.ndarray:
        return np.flatnonzero(self._undrawn & ((label < 0) | (self._labels == label)))

    def _extend(self) -> None:
        """Take in the first strips of those that come with the model, then one more at a time.

        An image of a label is drawn among all that are taken in, so their number decides on it.
        """
        first = len(self._images)
        shipped = len(shipped_strips(self.model, self.guidance_scale))
        for k in range(first, max(first + 1, min(shipped, FIRST))):
            self._images.append(strip(self.model, self.guidance_scale, k))
            labels = labels_of(self.model, k)
            self._labels = np.concatenate([self._labels, labels])
            self._undrawn = np.concatenate([self._undrawn, np.ones(len(labels), dtype=bool)])


def labels_of(model: Generator, k: int) -> np.ndarray:
    """Return the labels of strip ``k``, in ``model.classes``, int64 [STRIP]."""
    own = _own_labels(model, k)
    of_own = np.empty(len(model.card["classes"]), dtype=np.int64)
    for label, (some, _) in enumerate(model.members):
        of_own[some] = label
    return of_own[own]


def _own_labels(model: Generator, k: int) -> np.ndarray:
    shares = np.array(model.card["shares"])
    draw = numpy_generator(0, "labels of a bank", k)
    return draw.choice(len(shares), STRIP, p=shares / shares.sum())


def shipped_strips(model: Generator, guidance_scale: float) -> list[Path]:
    """Return the strips that come with a model."""
    return sorted((model.folder / SAMPLES).glob(f"g{guidance_scale:g}-*.webp"))


def strip(model: Generator, guidance_scale: float, k: int) -> np.ndarray:
    """Return strip ``k`` of a bank, uint8 [STRIP, H, W, C]."""
    name = f"g{guidance_scale:g}-{k:03d}.webp"
    file = model.folder / SAMPLES / name
    if not file.is_file():
        key = {"bank": model.key, "guidance_scale": guidance_scale, "strip": k}
        build = partial(write_strip, model, guidance_scale, k)
        file = cached("banks", key, build, model.device) / name
    mosaic = np.asarray(Image.open(file, formats=["WEBP"]).convert("RGB"))
    return tiles_of(mosaic)[:STRIP, ..., : model.card["data"]["channels"]]


def write_strip(model: Generator, guidance_scale: float, k: int, folder: Path) -> None:
    """Sample strip ``k`` of a bank and write it into ``folder``.

    Which noise image k starts from does not depend on the guidance scale. A diffusion model is
    sampled in the precision that is fast on the machine.
    """
    from synthbook.training import mixed

    how: dict = {"device": model.device, "batch_size": BATCH, "seed": derive(0, "bank", k)}
    if model.family == "diffusion":
        how |= {"guidance_scale": guidance_scale, **model.card["sampling"]}
    own, batches = _own_labels(model, k).tolist(), []
    task = f"drawing {model.family} images {k * STRIP + 1:,} to {(k + 1) * STRIP:,}"
    tell = telling(task + f", guidance {guidance_scale:g}" * (guidance_scale != 1), STRIP)
    network, sample = loaded(model), FAMILIES[model.family].sample
    for start in range(0, STRIP, BATCH):
        with mixed("auto" if model.family == "diffusion" else "float32", model.device):
            some = own[start : start + BATCH]
            batches.append(sample(network, some, **how | {"seed": derive(how["seed"], start)}))
        tell(start + BATCH)
    images = np.concatenate(batches)
    if images.shape[3] == 1:
        images = np.repeat(images, 3, axis=3)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / f"g{guidance_scale:g}-{k:03d}.webp", "wb") as stream:
        mosaic = Image.fromarray(mosaic_of(images))
        mosaic.save(stream, format="WEBP", quality=QUALITY, method=6)
