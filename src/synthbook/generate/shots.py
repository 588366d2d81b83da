"""Real shots of classes from which generated images start: which image starts from which, how far.

Every shot of a class is used equally often, up to one image, and image n of a class starts from the
same shot however many images are made. Its noise comes from its own seed. See `from_images`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.data import ImageSet
from synthbook.data.files import Unreadable, classes_of, conform, layout, pixels, worked
from synthbook.errors import InputError, did_you_mean
from synthbook.generate.from_images import check_strength, strength_of

if TYPE_CHECKING:
    from synthbook.generate.text import Made, TextToImage

DIGITS = 16  # of a SHA-256 in a plan
DECODED = 512  # files that are kept in memory as they were brought to size


@dataclass(frozen=True)
class Shots:
    """A few real images of each class.

    Args:
        classes: their names.
        names: of each class what its images are called in records.
        sums: of each class the SHA-256 of its images, cut short: they tell shots from others.
        read: (class, shot, side, channels) -> uint8 [side, side, channels]. Of an image that is no
            square the largest square in its middle counts; it is resized to ``side`` (bicubic).
        folder: where they lie, if they do.
    """

    classes: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    sums: tuple[tuple[str, ...], ...]
    read: Callable[[int, int, int, int], np.ndarray] = field(compare=False)
    folder: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Check that there is a shot of each class."""
        for name, shots in zip(self.classes, self.names, strict=True):
            if not shots:
                raise InputError(
                    f"class '{name}' has no real image{f' in {self.folder}' if self.folder else ''}"
                    " to start from; a real start needs one image of each class at least: add one, "
                    "or leave the real images out"
                )

    def __len__(self) -> int:
        """Return how many there are."""
        return sum(map(len, self.names))

    @property
    def counts(self) -> tuple[int, ...]:
        """How many each class has."""
        return tuple(map(len, self.names))

    def fingerprint(self) -> str:
        """Return what tells them from others, for the cache."""
        told = repr((self.classes, self.sums)).encode()
        return hashlib.sha256(told).hexdigest()[:DIGITS]

    def strengths(self, strength: float | None = None) -> tuple[float, ...]:
        """Return the strength of each class: the one that is given, or by its number of shots."""
        if strength is not None:
            check_strength(strength)
            return (float(strength),) * len(self.classes)
        return tuple(map(strength_of, self.counts))


def shot_of(index: int, prompts: int, shots: int) -> int:
    """Return from which of ``shots`` image ``index`` of a class starts, whose prompts are so many.

    All shots are used equally often, up to one image. Prompts are gone through in turn, too, so
    that after each common multiple the shots move on by one: a prompt meets all of them.
    """
    return (index + index // math.lcm(prompts, shots)) % shots


def shots_of(images: ImageSet, classes: Sequence[str] | None = None) -> Shots:
    """Return the images of a set as shots of its classes, or of ``classes`` in that order."""
    wanted = images.classes if classes is None else tuple(classes)
    _known(wanted, images.classes, f"'{images.name}'")
    numbers = [np.flatnonzero(images.labels == images.classes.index(name)) for name in wanted]
    every = images.images

    def read(label: int, shot: int, side: int, channels: int) -> np.ndarray:
        return conform(every[numbers[label][shot]][None], side, channels)[0]

    return Shots(
        wanted,
        tuple(tuple(str(k) for k in some) for some in numbers),
        tuple(tuple(_digest(every[k].tobytes()) for k in some) for some in numbers),
        read,
    )


def shots_in(folder: str | Path, classes: Sequence[str]) -> Shots:
    """Return the images of a folder of class folders as shots of ``classes``.

    Of a folder with train, val and test it is those of train. Other classes are left out.

    Raises:
        InputError: if a class has no image, or one cannot be read.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give one with a folder of images for each class")
    parts = layout(folder)
    top = parts.get("train", folder)
    found = classes_of(top)
    _known(classes, found, str(top))
    files = [found[name] for name in classes]
    sums = [[_digest(_content(path)) for path in some] for some in files]

    def read(label: int, shot: int, side: int, channels: int) -> np.ndarray:
        return _decoded(files[label][shot], sums[label][shot], side, channels)

    return Shots(
        tuple(classes),
        tuple(tuple(path.relative_to(top).as_posix() for path in some) for some in files),
        tuple(map(tuple, sums)),
        read,
        str(folder),
    )


def _known(wanted: Sequence[str], there: Sequence[str] | dict[str, Any], where: str) -> None:
    for name in wanted:
        if name not in there:
            raise InputError(
                f"class '{name}' has no real image in {where}{did_you_mean(name, there)}; a real "
                "start needs one image of each class at least: add one, or leave the real images "
                "out"
            )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); replace it") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]


@lru_cache(maxsize=DECODED)
def _decoded(path: Path, known: str, side: int, channels: int) -> np.ndarray:
    content = _content(path)
    if _digest(content) != known:
        raise InputError(
            f"{path} was replaced after it was read as a real image to start from; start again"
        )
    found = worked(str(path), lambda: BytesIO(content), lambda image: pixels(image, side, channels))
    if isinstance(found, Unreadable):
        raise InputError(f"{path} cannot be read ({found.reason}); replace or delete it")
    return found


def starts_of(shots: Shots, chosen: Sequence[tuple[int, int]], side: int) -> list[np.ndarray]:
    """Return the images of (class, shot) at ``side`` pixels, uint8 [side, side, 3]."""
    if not side:
        raise InputError("the pipeline does not say how large its images are; give their size")
    return [shots.read(label, shot, side, 3) for label, shot in chosen]


def images_from(
    generator: TextToImage, prompts: Sequence[str], seeds: Sequence[int],
    starts: Sequence[np.ndarray], strengths: Sequence[float], **how: Any,
) -> Made:  # fmt: skip
    """Return one image a prompt that starts from its own image, at its own strength.

    ``starts`` are uint8 [S, S, 3], ``how`` settings of `TextToImage.images`. Images of one strength
    go together.
    """
    images: list[Any] = [None] * len(prompts)
    black = np.zeros(len(prompts), dtype=np.int64)
    asked = np.array(strengths)
    for strength in np.unique(asked):
        some = np.flatnonzero(asked == strength)
        made = generator.images(
            [prompts[k] for k in some], [seeds[k] for k in some], strength=float(strength),
            from_images=np.stack([starts[k] for k in some]), **how,
        )  # fmt: skip
        black[some] = made.black
        for k, image in zip(some, made.images, strict=True):
            images[k] = image
    return made._replace(images=np.stack(images), black=black)
