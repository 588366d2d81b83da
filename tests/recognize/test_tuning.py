"""Classifier tuning: losses, schedules, strategies, and runs side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from synthbook.errors import InputError
from synthbook.recognize.clip import Encoded
from synthbook.recognize.heads import logits, random_head, unit, zero_shot
from synthbook.recognize.tuning import (
    STAGES,
    Run,
    Tuned,
    TuningRecipe,
    losses,
    positions,
    tune,
)
from synthbook.training import TrainingError

CLASSES, SCALE = ("a", "b", "c", "d"), 20.0
TRUE = random_head(4, 16, seed=9)
TEXT = unit(TRUE + 0.2 * random_head(4, 16, seed=1))
SHORT = TuningRecipe(steps=30, batch_size=16, measure_every=10, learning_rate=0.05)


def drawn(count: int, seed: int = 0, *, noise: float = 0.35) -> Encoded:
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    rows = TRUE[labels] + noise * draw.standard_normal((count, 16)).astype(np.float32)
    return Encoded(unit(rows.astype(np.float32)), labels, CLASSES, "drawn")


REAL, SYNTHETIC, HELD, TEST = drawn(8), drawn(40, 1, noise=0.5), drawn(60, 2), drawn(80, 3)


TURNED = Encoded(REAL.features, 3 - REAL.labels, CLASSES[::-1], "turned")


def run(**changes) -> Run:
    return replace(Run(TEXT, 0, real=REAL, synthetic=SYNTHETIC), **changes)


def test_the_gradient_of_soft_cross_entropy_is_the_closed_form():
    """d SCE / d logits = p - q, and of both together p - (1 - s) y - s q."""
    draw = torch.Generator().manual_seed(0)
    given = torch.randn(5, 4, generator=draw, dtype=torch.float64, requires_grad=True)
    q = torch.randn(5, 4, generator=draw, dtype=torch.float64).softmax(1)
    labels = torch.tensor([0, 1, 2, 3, 0])
    for share in (0.0, 0.3, 1.0):
        (slope,) = torch.autograd.grad(losses(given, labels, share, q).sum(), given)
        y = F.one_hot(labels, 4)
        torch.testing.assert_close(slope, given.softmax(1) - (1 - share) * y - share * q)
    torch.testing.assert_close(losses(given, labels, 1.0, q), F.cross_entropy(
        given, q, reduction="none"))  # fmt: skip
    torch.testing.assert_close(losses(given, labels), F.cross_entropy(
        given, labels, reduction="none"))  # fmt: skip


def test_positions_go_through_all_images_before_one_comes_again():
    table = positions(7, 5, 3, seed=0, part="real").flatten()
    assert sorted(table[:7].tolist()) == list(range(7))
    assert sorted(table[7:14].tolist()) == list(range(7))
    assert not torch.equal(table[:7], table[7:14])
    other = positions(7, 5, 3, seed=1, part="real")
    assert not torch.equal(table.view(5, 3), other)


@pytest.mark.parametrize("columns", ["scaled", "free", "unit"])
@pytest.mark.parametrize("strategy", STAGES)
def test_no_step_is_zero_shot(columns, strategy):
    recipe = TuningRecipe(steps=0, columns=columns)
    (made,) = tune([run(strategy=strategy)], recipe, scale=SCALE, validation=HELD, test=TEST)
    assert np.allclose(made.last, TEXT, atol=1e-6)
    assert np.allclose(made.best, TEXT, atol=1e-6)
    assert made.steps == (0,)
    assert made.accuracy("last") == pytest.approx(zero_shot(TEST, TEXT)["top1"])


def plainly(some: Run, recipe: TuningRecipe) -> np.ndarray:
    """Return the head of a run of one stage, as one would write it first."""
    layer = torch.nn.Linear(16, 4, bias=False)
    layer.weight.data = SCALE * torch.from_numpy(some.start)
    optimizer = torch.optim.AdamW(
        layer.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
    (parts,) = STAGES[some.strategy]
    rows = recipe.batch_size // len(parts)
    sizes = {part: len(getattr(some, part)) for part in parts}
    tables = {
        part: positions(size, recipe.steps, rows, seed=some.seed, part=part)
        for part, size in sizes.items()
    }
    for step in range(recipe.steps):
        loss = 0.0
        for part in parts:
            images = getattr(some, part)
            x, y = (torch.from_numpy(v[tables[part][step].numpy()])
                    for v in (images.features, images.labels))  # fmt: skip
            each = F.cross_entropy(layer(x), y)
            if part == "synthetic" and some.loss == "SCE":
                q = (SCALE * x @ torch.from_numpy(some.teacher).T / recipe.temperature).softmax(1)
                soft = F.cross_entropy(layer(x), q)
                each = (1 - recipe.soft_share) * each + recipe.soft_share * soft
            loss = loss + each / len(parts)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(layer.parameters(), recipe.clip_norm)
        optimizer.step()
        schedule.step()
    return layer.weight.detach().numpy() / SCALE


@pytest.mark.parametrize("strategy", ["real", "synthetic", "mix"])
@pytest.mark.parametrize("loss", ["CE", "SCE"])
def test_it_is_the_plain_loop(strategy, loss):
    some = run(strategy=strategy, loss=loss, teacher=TEXT)
    (made,) = tune([some], SHORT, scale=SCALE)
    assert np.allclose(made.last, plainly(some, SHORT), atol=2e-5)
    assert not np.allclose(made.last, TEXT, atol=1e-2)


def test_runs_side_by_side_are_what_they_are_alone():
    """Of any strategy, loss, seed, start and images."""
    runs = [
        run(seed=seed, strategy=strategy, loss=loss, teacher=TEXT, start=start,
            real=drawn(4 * shots, 10 + seed), synthetic=SYNTHETIC if seed else drawn(24, 5))
        for seed, (strategy, loss, start, shots) in enumerate([
            ("mix", "SCE", TEXT, 1), ("real", "CE", TEXT, 2), ("synthetic", "SCE", TEXT, 4),
            ("synthetic-then-real", "SCE", random_head(4, 16, seed=5), 1), ("mix", "CE", TEXT, 16),
            ("real-then-synthetic", "CE", TEXT, 2), ("synthetic", "CE", TEXT, 1),
        ])
    ]  # fmt: skip
    for columns in ("scaled", "unit"):
        recipe = replace(SHORT, columns=columns, steps=31)
        together = tune(runs, recipe, scale=SCALE, validation=HELD, test=TEST)
        for k, one in enumerate(runs):
            (alone,) = tune([one], recipe, scale=SCALE, validation=HELD, test=TEST)
            assert np.allclose(alone.last, together[k].last, atol=1e-5)
            assert np.allclose(alone.best, together[k].best, atol=1e-5)
            assert alone.steps == together[k].steps == (0, 10, 20, 30, 31)
            assert np.allclose(alone.test, together[k].test, atol=1.3)  # one image of eighty
    heads = [made.last for made in together]
    assert all(not np.allclose(heads[0], head, atol=1e-3) for head in heads[1:])


def test_mixing_real_with_the_same_images_is_real_alone():
    """Where a step has all images: 8 real and 8 synthetic ones, or each of 8 real ones twice."""
    recipe = replace(SHORT, steps=20)
    same = Encoded(REAL.features.copy(), REAL.labels, CLASSES, "the same")
    mixed, real = tune([run(strategy="mix", synthetic=same), run(strategy="real")], recipe,
                       scale=SCALE)  # fmt: skip
    assert np.allclose(mixed.last, real.last, atol=1e-5)
    (other,) = tune([run(strategy="mix")], recipe, scale=SCALE)
    assert not np.allclose(other.last, real.last, atol=1e-3)


def test_two_phases_are_two_trainings_of_half_the_steps():
    (made,) = tune([run(strategy="synthetic-then-real")], SHORT, scale=SCALE, test=TEST)
    half = replace(SHORT, steps=15)
    (first,) = tune([run(strategy="synthetic")], half, scale=SCALE, test=TEST)
    (second,) = tune([run(strategy="real", start=first.last)], half, scale=SCALE, test=TEST)
    assert np.allclose(made.last, second.last, atol=1e-5)
    assert made.test[-1] == second.test[-1]
    (turned,) = tune([run(strategy="real-then-synthetic")], SHORT, scale=SCALE)
    assert not np.allclose(turned.last, made.last, atol=1e-3)


def test_unit_columns_stay_unit_and_free_ones_move_further():
    heads = {
        columns: tune([run()], replace(SHORT, columns=columns), scale=SCALE)[0].last
        for columns in ("scaled", "free", "unit")
    }
    assert np.allclose(np.linalg.norm(heads["unit"], axis=1), 1, atol=1e-5)
    moved = {name: np.abs(head - TEXT).mean() for name, head in heads.items()}
    assert moved["free"] > 3 * moved["scaled"]


def test_tuning_helps_where_text_is_off_and_the_choice_is_by_validation():
    off = unit(TRUE + 0.9 * random_head(4, 16, seed=4))
    recipe = TuningRecipe(steps=100, batch_size=32, learning_rate=0.2, measure_every=5)
    (made,) = tune([run(start=off, synthetic=drawn(200, 6))], recipe, scale=SCALE,
                   validation=HELD, test=TEST)  # fmt: skip
    assert made.accuracy("last") > zero_shot(TEST, off)["top1"] + 3
    at = int(made.validation.argmax())
    assert made.accuracy() == made.test[at]
    assert zero_shot(HELD, made.best)["top1"] == pytest.approx(made.validation[at])
    assert made.accuracy("test") == made.test.max() >= made.accuracy()
    assert zero_shot(TEST, made.last)["top1"] == pytest.approx(made.test[-1])
    assert logits(TEST, made.last, SCALE).shape == (80, 4)


def test_the_choice_by_test_is_never_below_and_the_first_of_equals_counts():
    made = Tuned((0, 1, 2, 3), np.array([5.0, 9, 9, 1]), np.array([4.0, 6, 8, 7]), TEXT, TEXT)
    assert (made.accuracy("validation"), made.accuracy("test"), made.accuracy("last")) == (6, 8, 7)
    with pytest.raises(InputError, match=r"choice by 'tests' is not known.*did you mean 'test'"):
        made.accuracy("tests")


def test_the_schedules():
    cosine, flat = TuningRecipe(), TuningRecipe(schedule="constant")
    rates = [cosine.rate(step, 480) for step in range(480)]
    assert rates[0] == cosine.learning_rate
    assert rates[240] == pytest.approx(cosine.learning_rate / 2)
    assert all(np.diff(rates) < 0)
    assert rates[-1] < 1e-4 * rates[0]
    assert flat.rate(479, 480) == flat.learning_rate
    right = TuningRecipe(schedule="miscounted", loader_batches=16)
    assert [right.rate(step, 480) for step in range(480)] == pytest.approx(rates)


def test_a_miscounted_schedule_saws_or_leaps():
    """Of 63 batches an epoch, 16 counted are a saw-tooth; of 16, 63 counted are leaps downwards."""
    saw = TuningRecipe(schedule="miscounted")
    found = [saw.rate(step, 30 * 63) for step in range(30 * 63)]
    assert found[63] == pytest.approx(TuningRecipe().rate(16, 480))
    rises = np.flatnonzero(np.diff(found[: 20 * 63]) > 0)
    assert rises.tolist() == [63 * k - 1 for k in range(1, 20)]
    assert min(found) >= 0
    leaps = TuningRecipe(schedule="miscounted", loader_batches=16, counted_batches=63)
    steps = np.diff([leaps.rate(step, 480) for step in range(480)])
    assert (steps < 0).all()
    assert steps[15] < 10 * steps[14]
    plain = TuningRecipe(steps=32, batch_size=8)
    short = replace(plain, schedule="miscounted", loader_batches=8, counted_batches=2)
    one, two = (tune([run()], recipe, scale=SCALE)[0].last for recipe in (short, plain))
    assert not np.allclose(one, two, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"real": None, "strategy": "real"}, "needs real images, and there are none; give shots"),
        ({"real": REAL.subset([]), "strategy": "mix"}, "needs real images, and there are none"),
        ({"synthetic": None}, "strategy 'synthetic' needs synthetic images"),
        ({"strategy": "mixed"}, "did you mean 'mix'"),
        ({"loss": "KL"}, "loss 'KL' is not known"),
        ({"loss": "SCE"}, "'SCE' needs a teacher, the zero-shot head"),
        ({"start": TEXT[:3]}, r"the head is \[3, 16\], but 'drawn' has 4 classes"),
        ({"start": TEXT[:, :8]}, "features of 16 numbers"),
        ({"loss": "SCE", "teacher": TEXT[:2]}, r"the head is \[2, 16\]"),
        (
            {"strategy": "mix", "real": TURNED},
            r"'turned' has the classes d, c, b, a ... and 'drawn'",
        ),
    ],
)
def test_runs_that_cannot_be(changes, says):
    with pytest.raises(InputError, match=says):
        tune([run(**changes)], SHORT, scale=SCALE)


def test_recipes_that_cannot_be():
    with pytest.raises(InputError, match="batch_size = 15 cannot be cut into equal parts"):
        tune([run(strategy="mix")], replace(SHORT, batch_size=15), scale=SCALE)
    with pytest.raises(InputError, match=r"temperature = 0.0 is not allowed"):
        TuningRecipe(temperature=0.0)
    (made,) = tune([run()], replace(SHORT, steps=1), scale=SCALE, test=TEST)
    with pytest.raises(InputError, match="no validation images to choose by"):
        made.accuracy()
    with pytest.raises(TrainingError, match="no longer finite after 2 steps: lower learning_rate"):
        tune([run()], replace(SHORT, steps=2, learning_rate=1e39, weight_decay=1e6), scale=SCALE)


def test_of_equally_good_heads_the_first_is_the_best_as_the_accuracy_says():
    easy = Encoded(TEXT.copy(), np.arange(4), CLASSES, "easy")  # right from the start, and ever
    (made,) = tune([run()], SHORT, scale=SCALE, validation=easy, test=TEST)
    assert set(made.validation) == {100}
    assert not np.allclose(made.last, TEXT, atol=1e-2)
    assert np.allclose(made.best, TEXT, atol=1e-6)
    assert made.accuracy() == made.test[0]
