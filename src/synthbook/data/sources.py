"""What every kind of data offers: parts with labels at once, pixels when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from synthbook.data.decode import Unreadable, conform

# (part, image_size, channels) -> uint8 [M, S, S, C], kept: bool [N] with M true, the N - M others
Read = Callable[[str, int, int], tuple[np.ndarray, np.ndarray, list[Unreadable]]]


@dataclass(frozen=True)
class Source:
    """Data that were found, before pixels are read.

    ``labels`` is part -> int64 [N]; the parts are "pool", or "train", "test" and maybe "val".
    ``sizes`` is the data set's own rule for splitting a pool; ``shapes`` are the
    (height, width) that occur, as far as they are known.
    """

    name: str
    classes: tuple[str, ...]
    labels: Mapping[str, np.ndarray]
    read: Read
    origin: str
    licence: str
    shapes: frozenset[tuple[int, int]] = frozenset()
    sizes: Mapping[str, int] | None = None


def read_array(images: np.ndarray, image_size: int, channels: int) -> tuple:
    """Return what ``Source.read`` does, for uint8 [N, H, W, C] in memory."""
    kept = np.ones(len(images), dtype=bool)
    return conform(images, image_size, channels), kept, []
