from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from synthbook.errors import InputError
from synthbook.recognize.recipe import Recipe, half_cosine
from synthbook.recognize.train import create_optimizer
from synthbook.training import learning_rate_factor

RECIPE = Recipe(epochs=3, batch_size=32, learning_rate=0.003)


def test_cosine_schedule_equals_torchs() -> None:
    recipe = Recipe(1, 1, 0.3, schedule="cosine", optimizer="sgd")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=17)
    for step in range(17):
        assert recipe.rate(step, 17) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_sgd_steps_are_those_of_the_formula() -> None:
    """v = 0.9 v + (g + decay w); w = w - rate v."""
    model = torch.nn.Linear(2, 1, bias=False)
    w = model.weight.detach().clone()
    optimizer = create_optimizer(model, Recipe(1, 1, 0.1, weight_decay=0.5, optimizer="sgd"))
    v = torch.zeros_like(w)
    for gradient in (1.0, -2.0):
        model.weight.grad = torch.full_like(w, gradient)
        optimizer.step()
        v = 0.9 * v + gradient + 0.5 * w
        w = w - 0.1 * v
        torch.testing.assert_close(model.weight.detach(), w)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0), ("batch_size", 0), ("learning_rate", 0.0), ("learning_rate", math.nan),
        ("weight_decay", -1.0), ("optimizer", "adamm"), ("schedule", "cosin"),
        ("crop_padding", -1), ("input_size", -8),
    ],
)  # fmt: skip
def test_bad_recipes_are_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{name} = {value!r}"):
        replace(RECIPE, **{name: value})


def test_a_half_cosine_falls_from_the_rate_to_near_zero() -> None:
    rates = [half_cosine(0.3, step, 10) for step in range(11)]
    assert rates[0] == 0.3
    assert rates[5] == pytest.approx(0.15)
    assert rates[10] == 0
    factors = [0.3 * learning_rate_factor("cosine", step, 10) for step in range(11)]
    assert rates == pytest.approx(factors, abs=1e-12)
