"""The two inputs of an audit: real images with splits, and a pool of generated ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthbook import data
from synthbook.data import ImageSet, Splits
from synthbook.errors import InputError, did_you_mean
from synthbook.randomness import derive, numpy_generator
from synthbook.studies.audit import unlabelled

FAMILIES = ("diffusion", "gan")  # of synthbook.generate.generators, which imports torch


@dataclass(frozen=True)
class Pool:
    """Generated images: ``everything``, and the part of it that has labels to train with.

    The two differ only for images that came without labels (``note`` says how many got one);
    the labels in ``everything`` are then a classifier's best guess.
    """

    everything: ImageSet
    labelled: ImageSet
    note: str = ""


def check(
    real: str,
    generated: str,
    *,
    data_root: str = "",
    image_size: int = 0,
    skip_unreadable: bool = False,
) -> str:
    """Return in a line or two what both inputs are; reads no pixels and imports no torch.

    Raises:
        InputError: if either is missing or unusable, both are the same, or their classes differ.
    """
    options = {"data_root": data_root, "skip_unreadable": skip_unreadable}
    first = data.check(real, image_size=image_size, **options)
    if generated in FAMILIES:
        return f"{first}\ngenerated: the book's own {generated} model, trained on {first.name}"
    path = Path(generated).expanduser()
    if not path.exists():
        families = " nor ".join(f"'{name}'" for name in FAMILIES)
        hint = did_you_mean(generated, FAMILIES) or "; correct the path"
        raise InputError(
            f"generated '{generated}' is neither {families}, nor a folder or .npz that exists{hint}"
        )
    if Path(real).expanduser().resolve() == path.resolve():
        raise InputError(
            f"real and generated are both '{generated}'; name the folder or .npz of generated "
            "images as generated"
        )
    if unlabelled.is_unlabelled(path):
        count = unlabelled.check(path, skip_unreadable=skip_unreadable)
        return f"{first}\n{path.name}: {count:,} images without labels; a classifier labels them"
    second = data.check(generated, image_size=image_size or None, **options)
    if first.classes and second.classes:
        same_classes(first.classes, second.classes)
    resized = "" if first.size == second.size else "; brought to the size of the real images"
    return f"{first}\n{second}{resized}"


def same_classes(real: tuple[str, ...], generated: tuple[str, ...]) -> None:
    """Raise InputError that names the classes which only one of the two has."""
    missing = [name for name in real if name not in generated]
    extra = [name for name in generated if name not in real]
    if not missing and not extra:
        return
    found = [
        f"{what} {', '.join(map(repr, names[:5]))}{' ...' if len(names) > 5 else ''}"
        for what, names in (("lack", missing), ("have in excess", extra))
        if names
    ]
    raise InputError(
        f"the generated images {' and '.join(found)}; name the class folders (in an .npz the "
        "array 'names') as the real ones are"
    )


def load_generated(
    generated: str, real: Splits, p: Mapping[str, Any], *, device: str = "cpu"
) -> Pool:
    """Return the generated images at the size, channels and class order of the real ones.

    ``generated`` is "diffusion" or "gan" (the book's own, trained on ``real.train`` or cached, two
    samples a training image), or a path. All splits of a path are put together. Images without
    labels get those of a classifier trained on ``real.train``, if it is surer than
    ``p["confidence"]``: the filter of Wang et al. 2024, Sec. 3.2.
    """
    from synthbook.generate.clones import clone
    from synthbook.studies.training_sets import generator, sampling

    if generated in FAMILIES:
        model = generator(generated, real, {**p, "generators": 1}, seed=0, device=device)
        count = 2 * min(len(real.train), p["train_images"] or len(real.train))
        settings = sampling(model, p)
        images = clone(model, real.train, count=count, seed=p["first_seed"], **settings)
        return Pool(images, images)
    size, channels, skip = real.train.image_size, real.train.channels, p["skip_unreadable"]
    path = Path(generated).expanduser()
    if unlabelled.is_unlabelled(path):
        images = unlabelled.read(path, size, channels, skip_unreadable=skip)
        return labelled(images, path.stem, real, p, device=device)
    parts = data.load(
        generated, data_root=p["data_root"], image_size=size, channels=channels,
        skip_unreadable=skip,
    )  # fmt: skip
    same_classes(real.classes, parts.classes)
    whole = data.concatenate(parts.train, parts.val, parts.test, name=parts.name)
    images = whole.of_classes(real.classes)
    return Pool(images, images)


def labelled(
    images: np.ndarray, name: str, real: Splits, p: Mapping[str, Any], *, device: str = "cpu"
) -> Pool:
    """Return ``images`` with the labels of a classifier trained on ``real.train``.

    It labels what it is surer of than ``p["confidence"]`` (Wang et al. 2024, Sec. 3.2).

    Raises:
        InputError: if that is fewer than 20 images.
    """
    from synthbook.generate.clones import confident
    from synthbook.recognize.predict import predict
    from synthbook.studies.training_sets import train_classifier

    train = some(real.train, p["train_images"] or len(real.train), "filter")
    seed = derive(p["first_seed"], "filter")
    judge, _ = train_classifier(p, train, seed=seed, device=device)
    logits = predict(judge, images, device=device, input_size=p.get("input_size", 0))
    keep, labels = confident(logits.softmax(1).cpu().numpy(), p["confidence"])
    if keep.sum() < unlabelled.LEAST:
        raise InputError(
            f"the classifier is surer than {p['confidence']} of {keep.sum()} of the {len(images)} "
            "images without labels; lower confidence, train it longer, or give class folders"
        )
    everything = ImageSet(images, labels, real.classes, name)
    note = f"the classifier labelled {keep.sum():,} of {len(images):,} images"
    return Pool(everything, everything.subset(keep), note)


def draw(images: ImageSet, count: int, seed: int, *purpose: str) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of ``count`` random images, and of all others; each class has its share."""
    order = numpy_generator(seed, "audit", *purpose).permutation(len(images))
    place = np.empty(len(images))
    for k, size in enumerate(images.counts()):
        members = order[images.labels[order] == k]
        place[members] = (np.arange(size) + 0.5) / max(size, 1)
    order = order[np.argsort(place[order], kind="stable")]
    return order[:count], order[count:]


def some(images: ImageSet, most: int, *purpose: str) -> ImageSet:
    """Return at most ``most`` of the images, the same ones for every seed of a run."""
    return images.subset(np.sort(draw(images, most, 0, *purpose)[0]))
