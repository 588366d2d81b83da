"""Tip-Adapter against its formula, and what training and searching change."""

from __future__ import annotations

import numpy as np
import pytest

from synthbook.errors import InputError
from synthbook.recognize.adapters import (
    TipRecipe,
    searched,
    tip_adapter,
    tip_adapter_f,
)
from synthbook.recognize.clip import Encoded
from synthbook.recognize.heads import logits, random_head, unit

CLASSES, SCALE = ("a", "b", "c"), 10.0
TRUE = random_head(3, 8, seed=9)
HEAD = unit(TRUE + 0.8 * random_head(3, 8, seed=1))


def drawn(count: int, seed: int = 0, *, noise: float = 0.4) -> Encoded:
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    rows = TRUE[labels] + noise * draw.standard_normal((count, 8)).astype(np.float32)
    return Encoded(unit(rows.astype(np.float32)), labels, CLASSES, "drawn")


SHOTS, HELD, TEST = drawn(12), drawn(60, 1), drawn(90, 2)


def test_logits_are_those_of_the_formula():
    """Written out, image by image and shot by shot."""
    adapter = tip_adapter(SHOTS, HEAD, scale=SCALE, alpha=1.7, beta=3.1)
    for row, f in zip(adapter.logits(TEST)[:9], TEST.features, strict=False):
        expected = SCALE * HEAD @ f
        for key, label in zip(SHOTS.features, SHOTS.labels, strict=True):
            expected[label] += 1.7 * np.exp(-3.1 * (1 - f @ key))
        assert np.allclose(row, expected, atol=1e-5)


def test_without_the_cache_it_is_zero_shot_and_with_it_alone_a_kernel_classifier():
    none = tip_adapter(SHOTS, HEAD, scale=SCALE, alpha=0.0)
    assert np.allclose(none.logits(TEST), logits(TEST, HEAD, SCALE), atol=1e-5)
    alone = tip_adapter(SHOTS, HEAD, scale=0.0, beta=200.0)
    nearest = SHOTS.labels[(TEST.features @ SHOTS.features.T).argmax(1)]
    sharp = alone.logits(TEST)
    certain = sharp.max(1) > 1e-20
    assert certain.mean() > 0.2
    assert (sharp.argmax(1) == nearest)[certain].all()


def test_the_keys_are_trained_on_the_shots_alone():
    adapter = tip_adapter(SHOTS, HEAD, scale=SCALE)
    recipe = TipRecipe(epochs=30, learning_rate=0.02)
    trained = tip_adapter_f(adapter, recipe, seed=0)

    def loss(some):
        found = some.logits(SHOTS)
        found -= np.log(np.exp(found).sum(1, keepdims=True))
        return -found[np.arange(12), SHOTS.labels].mean()

    assert loss(trained) < loss(adapter) - 0.05
    assert np.array_equal(trained.head, HEAD)
    assert np.array_equal(adapter.keys, SHOTS.features)
    assert not np.allclose(trained.keys, adapter.keys, atol=1e-2)
    again = tip_adapter_f(adapter, recipe, seed=0)
    assert np.array_equal(again.keys, trained.keys)
    chosen = tip_adapter_f(adapter, recipe, seed=0, validation=HELD)
    assert chosen.accuracy(HELD) >= max(trained.accuracy(HELD), adapter.accuracy(HELD))


def test_training_the_keys_is_the_plain_loop():
    import torch
    from torch.nn import functional as F

    adapter = tip_adapter(SHOTS, HEAD, scale=SCALE)
    recipe = TipRecipe(epochs=12, learning_rate=0.01)
    f, values, head = (torch.from_numpy(x) for x in (SHOTS.features, adapter.values, HEAD))
    layer = torch.nn.Linear(8, 12, bias=False)
    layer.weight.data = f.clone()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.01, eps=1e-4, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    for _ in range(12):
        found = (-5.5 + 5.5 * layer(f)).exp() @ values + SCALE * f @ head.T
        optimizer.zero_grad()
        F.cross_entropy(found, values.argmax(1)).backward()
        optimizer.step()
        schedule.step()
    trained = tip_adapter_f(adapter, recipe, seed=0)
    assert np.allclose(trained.keys, layer.weight.detach().numpy(), atol=1e-4)


def test_the_search_is_of_all_pairs_and_never_worse_on_validation():
    adapter = tip_adapter(SHOTS, HEAD, scale=SCALE, alpha=0.0)
    alphas, betas = (0.5, 2.0, 8.0), (1.0, 4.0, 9.0)
    found = searched(adapter, HELD, alphas=alphas, betas=betas)
    tried = {
        (a, b): tip_adapter(SHOTS, HEAD, scale=SCALE, alpha=a, beta=b).accuracy(HELD)
        for a in alphas for b in betas
    }  # fmt: skip
    assert found.accuracy(HELD) == pytest.approx(max(tried.values()))
    assert found.accuracy(HELD) > adapter.accuracy(HELD)
    best = tip_adapter(SHOTS, HEAD, scale=SCALE, alpha=found.alpha, beta=found.beta)
    assert searched(best, HELD, alphas=alphas, betas=betas) is best


@pytest.mark.parametrize(
    ("shots", "head", "how", "says"),
    [
        (SHOTS.subset([]), HEAD, {}, "Tip-Adapter needs real shots, and 'drawn' has none"),
        (SHOTS, HEAD[:2], {}, r"the head is \[2, 8\], but 'drawn' has 3 classes"),
        (SHOTS, HEAD, {"beta": 0.0}, "give 0 or more, and more than 0"),
        (SHOTS, HEAD, {"alpha": -1.0}, "give 0 or more, and more than 0"),
    ],
)
def test_what_cannot_be(shots, head, how, says):
    with pytest.raises(InputError, match=says):
        tip_adapter(shots, head, scale=SCALE, **how)


def test_nothing_to_search_on():
    with pytest.raises(InputError, match="no validation images"):
        searched(tip_adapter(SHOTS, HEAD, scale=SCALE), HELD.subset([]))
