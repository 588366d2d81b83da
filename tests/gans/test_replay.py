"""Steps recorded on a GPU: which may be, and that they train what the plain ones train."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.gans import train as module
from synthbook.gans.recipes import Training
from synthbook.gans.replay import AS_IT_IS, Replayed, can_replay, set_rate
from synthbook.gans.train import Trained, train

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
NAMES = ("resnet", "sngan", "sngan_self_modulated", "biggan")
CONDITIONS = {"sngan": {"condition_size": 3}, "biggan": {"num_classes": 2}}
RECIPE = Training(
    steps=12, batch_size=4, ema_decay=0.5, ema_start=2, discriminator_steps=2, flip=True,
    generator_learning_rate=1e-4, discriminator_learning_rate=1e-4, consistency=1.0,
    augment="color,translation,cutout", frozen_blocks=1, standing_images=30, schedule="linear",
)  # fmt: skip


def noise(count: int = 12) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return ImageSet(pixels, np.arange(count) % 2, ("a", "b"), "noise")


@pytest.fixture
def run(pair):
    def trained(name: str, recipe: Training = RECIPE, **how) -> Trained:
        torch.manual_seed(0)
        networks = pair(name, **CONDITIONS.get(name, {}))
        vectors = torch.randn(12, 3) if networks[0].config.condition_size else None
        how = {"seed": 0, "conditions": vectors, "device": "cuda", **how}
        return train(*networks, noise(), recipe, **how)

    return trained


def close(first: Trained, second: Trained) -> None:
    for part in ("generator", "unaveraged", "discriminator"):
        states = (getattr(one, part).state_dict() for one in (first, second))
        for (name, value), other in zip(*(state.items() for state in states), strict=True):
            torch.testing.assert_close(value, other[1], msg=f"{part} {name}", rtol=2e-3, atol=2e-4)


def test_only_steps_that_are_alike_are_recorded(pair):
    for name in NAMES:
        assert can_replay(RECIPE, *pair(name), "cuda:0")
        assert not can_replay(RECIPE, *pair(name), "cpu")
        assert not can_replay(replace(RECIPE, r1=1.0), *pair(name), "cuda")
    for name, size in (("stylegan2", 8), ("projected", 32)):
        assert not can_replay(RECIPE, *pair(name, size), "cuda")


@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1)])
def test_the_rate_is_set_where_it_is(rate):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    optimizer.param_groups[0]["lr"] = rate
    set_rate(optimizer, 0.25)
    assert float(optimizer.param_groups[0]["lr"]) == 0.25
    assert isinstance(optimizer.param_groups[0]["lr"], type(rate))


@GPU
def test_a_recorded_function_gives_what_it_gives_for_new_inputs_without_being_called():
    calls = []

    def step(x: torch.Tensor, nothing: None, y: torch.Tensor) -> torch.Tensor:
        calls.append(nothing)
        return (2 * x + y.to(x)).sum()

    replayed = Replayed(step, "cuda")
    for k in range(8):  # the second input comes from the CPU
        x, y = torch.full((3,), k, device="cuda"), torch.arange(3) * k
        assert replayed(x, None, y).item() == 6 * k + 3 * k
    assert calls == [None] * (AS_IT_IS + 1)


@GPU
@pytest.mark.parametrize("name", NAMES)
def test_recorded_steps_train_as_plain_ones(name, run, monkeypatch):
    recorded = run(name)
    assert isinstance(recorded.optimizers["generator"]["param_groups"][0]["lr"], torch.Tensor)
    monkeypatch.setattr(module, "can_replay", lambda *given: False)
    plain = run(name)
    assert isinstance(plain.optimizers["generator"]["param_groups"][0]["lr"], float)
    close(recorded, plain)


@GPU
def test_a_training_that_was_killed_goes_on_with_recorded_steps(run, tmp_path):
    def killed(step: int, computed: dict[str, float]) -> None:
        raise KeyboardInterrupt

    recipe = replace(RECIPE, steps=60)
    how = {"folder": tmp_path, "checkpoint_every": 20}
    with pytest.raises(KeyboardInterrupt):
        run("biggan", recipe, **how, on_step=killed)  # at 50, on a GPU
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-00000040"]
    close(run("biggan", recipe, **how), run("biggan", recipe))
