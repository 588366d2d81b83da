"""Few-shot methods by name, against each of them called alone."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from synthbook.errors import InputError
from synthbook.recognize import few_shot
from synthbook.recognize.adapters import TipRecipe, searched, tip_adapter, tip_adapter_f
from synthbook.recognize.clip import Encoded
from synthbook.recognize.coop import CoopRecipe, learn_context
from synthbook.recognize.few_shot import METHODS, Recipes, Task, compared
from synthbook.recognize.heads import random_head, text_head, unit, zero_shot
from synthbook.recognize.tuning import Run, TuningRecipe, tune
from synthbook.record.kinds import Shot

NAMES = ("red", "green", "blue")
RECIPES = Recipes(
    TuningRecipe(steps=20, batch_size=8, learning_rate=0.05, measure_every=5),
    TipRecipe(epochs=20, learning_rate=0.1), CoopRecipe(steps=4, length=2, measure_every=2),
)  # fmt: skip


def drawn(count: int, seed: int = 0) -> Encoded:
    draw = np.random.default_rng(seed)
    rows = np.eye(3, 16)[np.arange(count) % 3] + 0.4 * draw.standard_normal((count, 16))
    return Encoded(unit(rows.astype(np.float32)), np.arange(count) % 3, NAMES, "drawn")


def test_every_method_runs_by_name_and_is_what_it_is_alone(look):
    tasks = [Task(seed, drawn(3 * shots, seed), drawn(30, 7)) for seed, shots in ((0, 1), (1, 4))]
    held, test = drawn(60, 11), drawn(90, 12)
    how = {"test": test, "recipes": RECIPES}
    found = compared([*METHODS], tasks, look, NAMES, **how, validation=held)
    assert list(found) == list(METHODS)
    every = [one for rows in found.values() for rated in rows for one in rated]
    assert len(every) == 4 * len(METHODS)
    assert 0 <= min(every) <= max(every) <= 100
    head = text_head(look, NAMES)
    assert found["zero-shot"] == [(zero_shot(test, head)["top1"],) * 2] * 2
    adapters = [tip_adapter(task.real, head, scale=look.scale) for task in tasks]
    assert [one.chosen for one in found["Tip-Adapter"]] == [
        searched(one, held).accuracy(test) for one in adapters
    ]
    for k, (task, adapter) in enumerate(zip(tasks, adapters, strict=True)):
        trained = tip_adapter_f(adapter, RECIPES.tip, seed=task.seed, validation=held)
        assert found["Tip-Adapter-F"][k].chosen == searched(trained, held).accuracy(test)
        learned = learn_context(
            look, task.real, NAMES, RECIPES.coop, seed=task.seed, validation=held
        )
        heads = learned.head, learned.last
        assert found["CoOp"][k] == tuple(zero_shot(test, one)["top1"] for one in heads)
    assert found["Tip-Adapter-F"] != found["Tip-Adapter"]
    run = Run(head, 1, "mix", tasks[1].real, tasks[1].synthetic, "SCE", head)
    (alone,) = tune([run], RECIPES.tuning, scale=look.scale, validation=held, test=test)
    expected = alone.accuracy(), alone.accuracy("last")
    assert found["CT w. Syn"][1] == pytest.approx(expected, abs=1.2)
    assert min(one.chosen for one in found["CT w. init"]) > found["zero-shot"][0].chosen
    again = compared([*METHODS], tasks, look, NAMES, **how)  # nothing to choose by
    assert [one.chosen for one in again["Tip-Adapter"]] == [one.accuracy(test) for one in adapters]
    for method, rows in again.items():
        assert [one.chosen for one in rows] == [one.last for one in rows]
        assert [one.last for one in rows] == [one.last for one in found[method]]


def test_tuning_starts_where_the_methods_name_says_and_learns_from_real_shots(look):
    tasks = [Task(seed, drawn(3, seed), drawn(30, 7)) for seed in (0, 2)]
    test, head = drawn(90, 12), text_head(look, NAMES)
    how = {"test": test, "recipes": Recipes(TuningRecipe(steps=0))}
    found = compared(["CT w. init", "CT w. random"], tasks, look, NAMES, **how)
    for k, seed in enumerate((0, 2)):
        for method, start in (("init", head), ("random", random_head(3, 16, seed=seed))):
            wanted = pytest.approx(zero_shot(test, start)["top1"])
            assert found[f"CT w. {method}"][k].last == wanted
    assert len({rated[k].last for rated in found.values() for k in (0, 1)}) == 3
    named = compared(["zero-shot"], tasks, look, NAMES, templates="dtd", **how)["zero-shot"]
    texture = zero_shot(test, text_head(look, NAMES, "dtd"))["top1"]
    assert named[0].last == texture != zero_shot(test, head)["top1"]
    how = {"test": test, "recipes": RECIPES}
    bare = [Task(task.seed, task.real) for task in tasks]  # synthetic images have no say
    methods = ["CT w. init", "CT w. random"]
    assert compared(methods, bare, look, NAMES, **how) == compared(
        methods, tasks, look, NAMES, **how
    )


def test_a_method_that_has_no_branch_gets_no_others_numbers(look, monkeypatch):
    monkeypatch.setitem(few_shot.METHODS, "mine", "a new one")
    for tuned in (few_shot.TUNED, (*few_shot.TUNED, "mine")):
        monkeypatch.setattr(few_shot, "TUNED", tuned)
        with pytest.raises(InputError, match=r"method 'mine' .* branch in compared; add one"):
            compared(["zero-shot", "mine"], [Task(0, drawn(3))], look, NAMES, test=drawn(9))


def test_methods_are_those_that_a_page_may_name():
    assert set(METHODS) == set(get_args(Shot))


def test_what_cannot_be(look):
    tasks = [Task(0, drawn(3))]
    with pytest.raises(InputError, match=r"method 'CoOP' is not known.*did you mean 'CoOp'"):
        compared(["CoOP"], tasks, look, NAMES, test=drawn(9))
    with pytest.raises(InputError, match=r"'CT w. Syn' needs synthetic images"):
        compared(["CT w. Syn"], tasks, look, NAMES, test=drawn(9))
    for method in ("CT w. init", "Tip-Adapter", "CoOp"):
        with pytest.raises(InputError, match="needs real"):
            compared([method], [Task(0, drawn(3).subset([]))], look, NAMES, test=drawn(9))
