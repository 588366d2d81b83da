"""Slices of one stream of random numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from synthbook.generate.primitives.streams import slices
from synthbook.randomness import numpy_generator


@given(
    indices=st.lists(st.integers(0, 30), max_size=12),
    length=st.integers(1, 20),
    data=st.data(),
)
def test_a_slice_is_its_part_of_the_stream_in_every_order(indices, length, data):
    taken = data.draw(st.integers(1, length))
    stream = numpy_generator(3, "a purpose").random(31 * length).reshape(31, length)
    made = slices(3, "a purpose", indices, length=length, taken=taken)
    for index, generator in zip(indices, made, strict=True):
        assert (generator.random(taken) == stream[index, :taken]).all()


def test_far_slices_differ_and_come_back():
    def drawn(*indices: int) -> np.ndarray:
        made = slices(0, "far", indices, length=9024, taken=8)
        return np.stack([generator.random(8) for generator in made])

    far = drawn(2**60, 0, 2**60)
    assert (far[0] == far[2]).all()
    assert (far[0] != far[1]).all()
