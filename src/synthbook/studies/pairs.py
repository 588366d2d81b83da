"""GANs that learned from drawn or real images before, kept in folders: those of chapters 52 and 53.

Those that come with the book lie in ``models/pairs``, others in ``pairs`` beside the models that
were made here. A folder holds a generator with averaged and with its own weights, and the last
discriminator, all in half precision, and ``card.json``: what they learned from and how, and a
SHA-256 of each file. It is found by that, whatever its name is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from synthbook import machine
from synthbook.data import ImageSet
from synthbook.errors import check_choice
from synthbook.gans import networks
from synthbook.gans.batches import ImageStream
from synthbook.gans.recipes import Training, published
from synthbook.generate.cards import CARD, check_files, places, put, read, remedy, trained_here
from synthbook.generate.primitives import POLICIES, VARIANTS, Primitives, shapes_at
from synthbook.measure.features import extractor
from synthbook.studies import few_images
from synthbook.studies.targets import real_source, stream

Source = ImageSet | ImageStream
PAIRS = "pairs"  # the folder of pairs, beside models
REMEDY = "delete the folder and make it anew (make models)"


# -- Found and written ----------------------------------------------------------------------------


def learned_from(
    source: Source, recipe: Training, network: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Return what tells a pair from others, as its card says it.

    An endless stream is told by its name and its first images.
    """
    told = source.fingerprint()
    if isinstance(source, ImageStream):
        first = source.images(torch.arange(16)).cpu().contiguous().numpy()
        told += f", {hashlib.sha256(first.tobytes()).hexdigest()[:16]}"
    learned = {"network": dict(network), "recipe": dataclasses.asdict(recipe)}
    return json.loads(json.dumps({"source": told, "seed": seed, **learned}))


def cards() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folder and the card of each kept pair, those of the book first.

    Raises:
        InputError: if a card cannot be read, or is of another format.
    """
    for place in places():
        for file in sorted(place.glob(f"{PAIRS}/[!.]*/{CARD}")):  # a dot: it is being written
            folder = file.parent
            yield folder, read(folder, {"learned"}, "a pair", remedy(folder, REMEDY))


def find(source: Source, recipe: Training, network: Mapping[str, Any], *, seed: int) -> Path | None:
    """Return the folder of the pair that learned from ``source`` in this way; None if none is kept.

    Raises:
        InputError: if a file of it is missing, or is not as its card says.
    """
    wanted = None
    for folder, card in cards():
        wanted = wanted or learned_from(source, recipe, network, seed)
        if card["learned"] == wanted:
            check_files(folder, card, remedy(folder, REMEDY))
            return folder
    return None


def write(name: str, pair: Path, learned: Mapping[str, Any], about: Mapping[str, Any]) -> Path:
    """Keep the pair of networks in the folder ``pair`` as ``name``; return its new folder.

    ``learned`` is what `learned_from` gives, ``about`` is more for the card. The folder appears
    whole.
    """
    folder = places()[1] / PAIRS / name
    part = folder.with_name(f".{name}.part")
    shutil.rmtree(part, ignore_errors=True)
    averaged, own = networks.load(pair).half(), networks.load_unaveraged(pair).half()
    networks.save(averaged, part, networks.load_discriminator(pair).half(), own)
    put(part, folder, {"name": name, "learned": learned, **about})
    return folder


# -- Those of the book ----------------------------------------------------------------------------

SIZE = 32  # pixels
NETWORK = {
    "name": "sngan", "image_size": SIZE, "channels": 32, "discriminator_channels": 32, "latent": 64,
}  # fmt: skip
PRETRAINING = published(
    "sngan", steps=1600, batch_size=16, discriminator_steps=2, generator_learning_rate=0.001,
    discriminator_learning_rate=0.001, schedule="constant", ema_half_life=1000.0, ema_start=20,
    standing_images=250, augment="translation,cutout",
)  # fmt: skip
REAL = "caltech97"  # the real source: all other classes than those of the targets
EXTRACTOR, JUDGED, EVERY = 64, 500, 200  # of the curve: side, images of a measurement, steps


@cache
def sources() -> dict[str, Primitives | str]:
    """Return what a pair of the book learns from, by name: a synthesizer, or a data set.

    First the four synthesizers and the real source of chapter 52, then the other policies for
    sizes and the other numbers of shapes of chapter 53.
    """
    usual = shapes_at(SIZE)
    found = {name.lower(): Primitives(name, shapes=usual) for name in VARIANTS}
    found[REAL] = REAL
    for policy in POLICIES:
        if policy != "Decay":
            name = policy.lower().replace("(1/", "-").strip(")")
            found[f"sizes-{name}"] = Primitives(shapes=usual, size_policy=policy)
    for count in (0, usual // 10, 5 * usual):
        found[f"shapes-{count}"] = Primitives(shapes=count)
    return found


def images_of(source: Primitives | str, seed: int) -> Source:
    """Return the images of a source, drawn on the CPU: the same bytes on any device."""
    if isinstance(source, Primitives):
        return stream(source, image_size=SIZE, seed=seed)
    return real_source(source, without=[], image_size=SIZE)


def make(name: str, seed: int, *, device: str = "cpu") -> Path:
    """Return the folder of the book's pair ``name`` number ``seed``: kept, or trained now.

    Its curve is the Frechet distance to images of its source; it chooses nothing: the last
    networks are kept, as in the public code.
    """
    check_choice("pair", name, sources())
    images, how = images_of(sources()[name], seed), {"seed": seed, "device": device}
    if (there := find(images, PRETRAINING, NETWORK, seed=seed)) is not None:
        return there
    look, begin = extractor(device=device, size=EXTRACTOR), time.monotonic()
    judged = few_images.judge(look, {"fd": _some(images)}, JUDGED, **how)

    def evaluate(generator: nn.Module, step: int) -> dict[str, float]:
        return {name: round(value, 1) for name, value in judged(generator).items()}

    tell = machine.telling(f"{name}-{seed}", PRETRAINING.steps)
    folder = few_images.pretrained(
        images, PRETRAINING, NETWORK, on_step=tell if device == "cpu" else None,
        evaluate=evaluate, evaluate_every=EVERY, **how,
    )  # fmt: skip
    about = {
        "curve": json.loads((folder / few_images.CURVE).read_text()),
        "training": trained_here(round((time.monotonic() - begin) / 60, 2), device),
    }
    return write(f"{name}-{seed}", folder, learned_from(images, PRETRAINING, NETWORK, seed), about)


def _some(images: Source) -> ImageSet:
    """Return the images that a curve is measured against, a thousand at most."""
    if isinstance(images, ImageSet):
        return images.subset(range(0, len(images), -(-len(images) // 1000)))
    drawn = images.images(torch.arange(1000)).permute(0, 2, 3, 1).cpu().numpy()
    return ImageSet(drawn, [0] * len(drawn), ("drawn",), "drawn")
