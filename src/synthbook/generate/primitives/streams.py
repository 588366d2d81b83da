"""One stream of random numbers a seed, of which every image has a slice of its own.

An image's numbers are then a function of (seed, index), and images need no generators of their own,
which would take longer to set up than a small image takes to draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from synthbook.randomness import numpy_generator

_PERIOD = 1 << 128  # of PCG64


def slices(
    seed: int, purpose: str, indices: Sequence[int], *, length: int, taken: int
) -> Iterator[np.random.Generator]:
    """Yield the stream's generator, set to the start of a slice, for each index.

    Args:
        seed, purpose: name the stream, see `synthbook.randomness`.
        indices: numbers of the slices, 0 or more, in any order.
        length: numbers of 64 bits in a slice.
        taken: numbers of 64 bits that the caller takes each time.
    """
    generator = numpy_generator(seed, purpose)
    place = 0
    for index in indices:
        ahead = (int(index) * length - place) % _PERIOD
        if ahead:
            generator.bit_generator.advance(ahead)
        yield generator
        place = int(index) * length + taken
