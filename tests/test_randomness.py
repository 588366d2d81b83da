from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthbook.randomness import derive, numpy_generator, torch_generator


@given(st.integers(), st.lists(st.text(max_size=8) | st.integers(), max_size=4))
def test_derived_seeds_fit_both_libraries(seed: int, purpose: list[str | int]) -> None:
    value = derive(seed, *purpose)
    assert 0 <= value < 2**63
    assert value == derive(seed, *purpose)


def test_purposes_do_not_share_streams() -> None:
    seeds = {
        derive(s, name, k) for s in range(10) for name in ("order", "noise") for k in range(50)
    }
    assert len(seeds) == 10 * 2 * 50
    # Joining without a separator would make these two the same.
    assert derive(1, "a", "bc") != derive(1, "ab", "c")


def test_the_value_is_the_same_on_every_machine_and_version() -> None:
    # SHA-256 of "0\x1fexample", first eight bytes, halved: fixed for all time.
    assert derive(0, "example") == 683561424622904138


def test_generators_repeat_and_differ_by_purpose() -> None:
    a = numpy_generator(3, "draw").normal(size=100)
    assert np.array_equal(a, numpy_generator(3, "draw").normal(size=100))
    assert not np.array_equal(a, numpy_generator(3, "other").normal(size=100))
    b = torch.randn(100, generator=torch_generator(3, "draw"))
    assert torch.equal(b, torch.randn(100, generator=torch_generator(3, "draw")))
    assert abs(float(b.mean())) < 0.5


def test_the_global_generators_are_untouched() -> None:
    before, state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    torch.randn(5, generator=torch_generator(0, "x"))
    numpy_generator(0, "x").normal(size=5)
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
