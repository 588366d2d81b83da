"""What a GAN is to learn from few images of, and what it may have learned from before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from synthbook.data import ImageSet, check, concatenate, load
from synthbook.data.files import (
    Unreadable,
    decode,
    image_files,
    in_threads,
    refuse,
    stack,
    subfolders,
)
from synthbook.data.named import PHOTOGRAPHS, REGISTRY, crops, photographs
from synthbook.errors import InputError, did_you_mean
from synthbook.gans.batches import ImageStream
from synthbook.generate.primitives import Primitives, render
from synthbook.generate.primitives.images import BATCH_PIXELS
from synthbook.randomness import derive, numpy_generator

WINDOW = 128  # pixels of a photograph's side that a crop shows
LARGE = 64  # pixels: above, images are drawn on the device that trains on them
# Data sets of the same pictures, under the same names of classes.
ARCHIVE = {"caltech3", "caltech97", "caltech101", "caltech101_original", "caltech10_fine"}
SPARE = 400  # images of a target besides those to learn from, at most, unless more are asked for


@dataclass(frozen=True)
class Target:
    """Few images of one kind: those to train on, and others that nothing is trained on.

    ``held_out`` is None where there are no others. Both are RGB and have one class.
    """

    name: str
    train: ImageSet
    held_out: ImageSet | None


def target(
    text: str, *, count: int, image_size: int, seed: int, data_root: str = "", spare: int = SPARE
) -> Target:
    """Return ``count`` images of a target to train on and up to ``spare`` others of it.

    ``text`` is "china" or "flower" (random squares of 128 pixels of scikit-learn's photograph,
    reduced; the held-out ones lie elsewhere but overlap), "data:class" (a class of a data set, all
    its splits), or a folder with images at any depth. Of a folder that has the folders train and
    test, images of train are trained on, and the others are of test. ``seed`` draws which images
    are trained on, whatever ``spare`` is.
    """
    parts = _parts(text)
    if text in PHOTOGRAPHS:
        pool = _squares(text, count, image_size, derive(seed, "target", text), spare)
        order = np.arange(len(pool))
    else:
        pool = _pool(parts[0] if parts else text, image_size, data_root)
        order = numpy_generator(seed, "target", text).permutation(len(pool))
    if len(pool) < count:
        where = parts[0] if parts else text
        raise InputError(f"'{where}' has {len(pool)} images; lower the {count} to train on")
    train, others = pool[np.sort(order[:count])], order[count:]
    if parts:
        pool = _pool(parts[1], image_size, data_root)
        others = numpy_generator(seed, "target", text, "test").permutation(len(pool))
    name, others = text.rstrip("/"), np.sort(others[:spare])
    return Target(
        name,
        _unlabelled(train, name),
        _unlabelled(pool[others], f"{name}, held out") if len(others) > 1 else None,
    )


def _squares(text: str, count: int, image_size: int, seed: int, spare: int) -> np.ndarray:
    """Return random squares of a photograph, uint8 [count + spare, H, W, 3], first those to learn.

    The first 400 held-out ones are the same however many there are.
    """
    images = {text: photographs()[text]}
    squares = crops(images, count + SPARE, WINDOW, seed)[text][: count + spare]
    if spare > SPARE:
        more = crops(images, spare - SPARE, WINDOW, derive(seed, "more"))[text]
        squares = np.concatenate([squares, more])
    how = ((image_size, image_size), Image.Resampling.BICUBIC)  # antialiased
    return np.stack([np.asarray(Image.fromarray(one).resize(*how)) for one in squares])


def real_source(
    text: str, *, without: Sequence[str], image_size: int, data_root: str = ""
) -> ImageSet:
    """Return the real images that a GAN is pretrained on, without labels, as RGB.

    ``text`` is a data set's name, "data:class", or a folder. Classes that a target in ``without``
    names ("data:class") are left out of the data set, and of another one of the same pictures
    (`ARCHIVE`). Of any other source the images are left out that are a target's, byte for byte.
    """
    if ":" in text or Path(text).expanduser().is_dir():
        found = _unlabelled(_pool(text, image_size, data_root), text.rstrip("/"))
    else:
        found = _everything(text, image_size, data_root)
    kept = _without(found, text, without, image_size, data_root)
    return _unlabelled(kept.images, found.name)


def labelled_source(
    text: str, *, without: Sequence[str], image_size: int, data_root: str = ""
) -> ImageSet:
    """Return the same with the labels that it has, for a GAN that is conditioned on them.

    A folder has some if there are folders in it, which are its classes.
    """
    folder = Path(text).expanduser()
    flat = folder.is_dir() and not any(one.is_dir() for one in folder.iterdir())
    if ":" in text or flat:
        return real_source(text, without=without, image_size=image_size, data_root=data_root)
    found = _everything(text, image_size, data_root)
    return _without(found, text, without, image_size, data_root)


def _without(
    source: ImageSet, text: str, without: Sequence[str], image_size: int, data_root: str
) -> ImageSet:
    """Return a source without the targets' classes, or their images (see `real_source`)."""
    taken: set[str] = set()
    images: set[bytes] = set()
    for one in without:
        data, colon, kind = one.partition(":")
        if colon and (data == text or {data, text} <= ARCHIVE):
            taken.add(kind)
        elif one not in PHOTOGRAPHS:
            with suppress(InputError):  # of a name that is no target, and has no images here
                pool = _pool(one, image_size, data_root)
                images |= {image.tobytes() for image in _unlabelled(pool, one).images}
    others = np.array([not images or image.tobytes() not in images for image in source.images])
    if not others.all():
        source = source.subset(others)
        taken |= {
            name for name, left in zip(source.classes, source.counts(), strict=True) if not left
        }
    kept = [name for name in source.classes if name not in taken]
    if not kept:
        raise InputError(f"every class of '{text}' is a target; choose another source")
    return source.of_classes(kept)


def parameter_of(p: Mapping[str, Any], target: str) -> str:
    """Return the first of a chapter's lists of targets that holds one."""
    return next(name for name in p if name.endswith("targets") and target in p[name])


def check_target(
    text: str, *, data_root: str = "", count: int = 1, why: str = "target_images",
    remedy: str = "", whole: bool = False,
) -> str:  # fmt: skip
    """Return in words what a target is; InputError if there is none, or it has fewer images.

    ``why`` is what asks for ``count`` images, a parameter in most cases; ``remedy`` what to do.
    ``whole``: all images of a folder count, as of a source, also where it has train and test.
    Only of bundled sets pixels are read, which takes some tenths of a second.
    """
    parts = None if whole else _parts(text)
    if text in PHOTOGRAPHS:
        return f"{text}: squares of a photograph of scikit-learn's"
    data, colon, kind = text.partition(":")
    if colon:
        summary = check(data, data_root=data_root)
        if summary.classes and kind not in summary.classes:
            few = ", ".join(summary.classes[:12])
            remedy = did_you_mean(kind, summary.classes) or f"; it has {few}"
            raise InputError(f"'{data}' has no class '{kind}'{remedy}")
        found = f"{text}: one of {summary.num_classes} classes ({summary.licence})"
        bundled = data in REGISTRY and REGISTRY[data].bundled
        held = _count(data, kind) if bundled else count
    elif parts:
        held, others = (len(_files(part)) for part in parts)
        found = f"{text}: {held} images to learn from in train, {others} held out in test"
        remedy = remedy or f"give {held} or fewer"
    else:
        held = len(_files(text))
        found = f"{text}: {held} images in a folder"
    if held < count:
        fewer = f"give {max(1, held * 3 // 4)} or fewer, so that some are left that nothing learns"
        where = parts[0] if parts else text
        raise InputError(f"{why} = {count} and '{where}' has {held} images; {remedy or fewer}")
    return found


@lru_cache
def _count(data: str, kind: str) -> int:
    """Return how many images of a class a bundled set has."""
    return len(_everything(data, 0, "").of_classes([kind]))


def stream(
    recipe: Primitives,
    *,
    image_size: int,
    seed: int,
    device: str = "cpu",
    labels_of: ImageSet | None = None,
) -> ImageStream:
    """Return the endless images of a synthesizer as a GAN's real images.

    They are drawn ahead, many at a time, which takes an eighth of the time; large ones on
    ``device``, small ones on the CPU, whose images are the same on any device. As in the public
    code each gets the label of one of the images ``labels_of``.
    """
    ahead = max(1, BATCH_PIXELS["cpu"] // image_size**2)
    device = device if image_size > LARGE else "cpu"

    @lru_cache(maxsize=2)
    def drawn(number: int) -> Tensor:
        indices = range(number * ahead, (number + 1) * ahead)
        images = render(recipe, indices, resolution=image_size, seed=seed, device=device)
        return images.permute(0, 3, 1, 2)

    def draw(which: Tensor) -> Tensor:
        return torch.stack([drawn(k // ahead)[k % ahead] for k in which.tolist()])

    name = f"{recipe} of {image_size} pixels, seed {seed}"
    if labels_of is None:
        return ImageStream(draw, image_size, 3, name)
    labels = torch.from_numpy(labels_of.labels)
    name += f", labels of {labels_of.fingerprint()}"
    return ImageStream(draw, image_size, 3, name, labels_of.num_classes, labels)


def _unlabelled(images: np.ndarray, name: str) -> ImageSet:
    if images.shape[3] == 1:
        images = np.repeat(images, 3, axis=3)
    return ImageSet(images, np.zeros(len(images), np.int64), (name,), name)


def _everything(data: str, image_size: int, data_root: str) -> ImageSet:
    """Return all splits of a data set in one, RGB."""
    parts = load(data, data_root=data_root, image_size=image_size, channels=3)
    return concatenate(parts.train, parts.val, parts.test, name=data)


def _parts(text: str) -> tuple[str, str] | None:
    """Return the folders train and test of a target that is a folder with both; else None."""
    folder = Path(text).expanduser()
    if not text or text in PHOTOGRAPHS or not folder.is_dir():
        return None
    inside = {path.name: str(path) for path in subfolders(folder)}
    return (inside["train"], inside["test"]) if {"train", "test"} <= set(inside) else None


def _files(folder: str) -> list[Path]:
    path = Path(folder).expanduser()
    if not folder or not path.is_dir():
        raise InputError(
            f"there is no target '{folder}'; give {', '.join(PHOTOGRAPHS)}, data:class such as "
            "mnist5k:3, or a folder of images"
        )
    files = sorted(image_files(path))
    if not files:
        raise InputError(f"the folder {folder} holds no image; put PNG or JPEG files into it")
    return files


def _pool(text: str, image_size: int, data_root: str) -> np.ndarray:
    """Return all images uint8 [N, H, W, 3] of a class or a folder."""
    data, colon, kind = text.partition(":")
    if colon:
        return _everything(data, image_size, data_root).of_classes([kind]).images
    files = _files(text)
    found = in_threads(lambda path: decode(path, image_size, 3), files)
    refuse([one for one in found if isinstance(one, Unreadable)], text)
    return stack(found, text)
