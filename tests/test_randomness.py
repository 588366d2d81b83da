from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthbook.randomness import derive, numpy_generator, seeded, torch_generator


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


@pytest.mark.parametrize(
    "draw",
    [
        lambda *stream: numpy_generator(*stream).normal(size=9).tolist(),
        lambda *stream: torch.randn(9, generator=torch_generator(*stream)).tolist(),
    ],
)
def test_generators_repeat_and_differ_by_purpose(draw) -> None:
    assert draw(3, "draw") == draw(3, "draw")
    assert draw(3, "draw") != draw(3, "other")


def test_an_apple_gpu_is_seeded_and_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    state, there = [7], torch.mps
    monkeypatch.setattr(there, "get_rng_state", lambda: list(state))
    monkeypatch.setattr(there, "set_rng_state", lambda told: state.__setitem__(0, told[0]))
    monkeypatch.setattr(there, "manual_seed", lambda seed: state.__setitem__(0, seed))
    for _ in range(2):
        with seeded(3, "x", device="mps"):
            assert state == [derive(3, "x")]
            state[0] += 1
        assert state == [7]


def test_a_gpu_without_a_number_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    forked, drawn = [], [torch.Generator() for _ in range(2)]
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "default_generators", drawn)
    monkeypatch.setattr(
        torch.random, "fork_rng", lambda devices: forked.append(devices) or nullcontext()
    )
    for device in ("cuda", "cuda:0"):
        with seeded(3, "x", device=device):
            pass
    assert forked == [[1], [0]]
    assert [draw.initial_seed() for draw in drawn] == [derive(3, "x")] * 2


def test_seeded_layers_repeat_and_leave_the_global_generator() -> None:
    before, drawn = torch.random.get_rng_state(), []
    for purpose in ("x", "x", "y"):
        with seeded(0, purpose):
            drawn.append(torch.nn.Linear(2, 2).weight.tolist())
    assert drawn[0] == drawn[1] != drawn[2]
    assert torch.equal(before, torch.random.get_rng_state())
