"""Ways to a few-shot classifier by name: Figure 1 of He et al. (2023) and what it compares with.

A task is a seed's shots and its synthetic images. All tunings of all tasks go side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from synthbook.errors import InputError, check_choice
from synthbook.recognize.adapters import (
    TipAdapter,
    TipRecipe,
    searched,
    tip_adapter,
    tip_adapter_f,
)
from synthbook.recognize.clip import Encoded, Encoder
from synthbook.recognize.coop import CoopRecipe, learn_context
from synthbook.recognize.heads import random_head, text_head, zero_shot
from synthbook.recognize.tuning import Loss, Run, TuningRecipe, tune

METHODS = {
    "zero-shot": "the text head as it is",
    "CT w. init": "the text head, tuned on the real shots",
    "CT w. random": "a random head, tuned on the real shots",
    "CT w. Syn": "the text head, tuned on shots and synthetic images mixed",
    "Tip-Adapter": "the text head beside a cache of the shots",
    "Tip-Adapter-F": "the same with trained keys",
    "CoOp": "a learned context before the classes' names",
}
TUNED = ("CT w. init", "CT w. random", "CT w. Syn")
ADAPTERS = ("Tip-Adapter", "Tip-Adapter-F")


@dataclass(frozen=True, eq=False)
class Task:
    """The ``real`` shots of a seed, and the ``synthetic`` images that "CT w. Syn" mixes in."""

    seed: int
    real: Encoded
    synthetic: Encoded | None = None


@dataclass(frozen=True)
class Recipes:
    """How each kind of method is trained; ``loss`` is of synthetic images."""

    tuning: TuningRecipe = field(default_factory=TuningRecipe)
    tip: TipRecipe = field(default_factory=TipRecipe)
    coop: CoopRecipe = field(default_factory=CoopRecipe)
    loss: Loss = "SCE"


class Rated(NamedTuple):
    """Top-1 on the test images, in percent: what validation images ``chosen``, and the ``last``.

    The last is what there is without any: the last step, and the usual weights of a cache.
    """

    chosen: float
    last: float


def compared(
    methods: Sequence[str], tasks: Sequence[Task], look: Encoder, names: Sequence[str], *,
    test: Encoded, validation: Encoded | None = None, templates: str | Sequence[str] = "photo",
    recipes: Recipes | None = None, device: str = "cpu",
) -> dict[str, list[Rated]]:  # fmt: skip
    """Return method -> accuracies of each task.

    With ``validation`` images each method chooses by them what it has to choose: the measurement
    along a training, and alpha and beta of Tip-Adapter. Without, it is the last, and the defaults.
    Both are of one training, but for Tip-Adapter-F, whose short one is made for each.

    Raises:
        InputError: for an unknown method, "CT w. Syn" without synthetic images, and as the
            methods do.
    """
    recipes = recipes or Recipes()
    for method in methods:
        check_choice("method", method, METHODS)
        if method not in ("zero-shot", "CoOp", *TUNED, *ADAPTERS):
            raise _no_branch(method)
        if method == "CT w. Syn" and any(task.synthetic is None for task in tasks):
            raise InputError("method 'CT w. Syn' needs synthetic images; give some in each task")
    head = text_head(look, names, templates)
    found: dict[str, list[Rated]] = {}
    cells = [(method, task) for method in methods if method in TUNED for task in tasks]
    runs = [_run(method, task, head, recipes) for method, task in cells]
    how = {"scale": look.scale, "validation": validation, "test": test, "device": device}
    by = "last" if validation is None else "validation"
    for (method, _), made in zip(cells, tune(runs, recipes.tuning, **how), strict=True):
        found.setdefault(method, []).append(Rated(made.accuracy(by), made.accuracy("last")))

    def rated(*heads: np.ndarray) -> Rated:
        return Rated(*(zero_shot(test, one)["top1"] for one in heads))

    for method in methods:
        if method == "zero-shot":
            found[method] = [rated(head, head)] * len(tasks)
        elif method == "CoOp":
            learned = (learn_context(look, task.real, names, recipes.coop, seed=task.seed,
                                     validation=validation) for task in tasks)  # fmt: skip
            found[method] = [rated(one.head, one.last) for one in learned]
        elif method in ADAPTERS:
            found[method] = [
                Rated(*(
                    _adapter(method, task, head, look.scale, recipes.tip, held).accuracy(test)
                    for held in (validation, None)
                ))
                for task in tasks
            ]  # fmt: skip
    return {method: found[method] for method in methods}


def _no_branch(method: str) -> InputError:
    return InputError(f"method '{method}' has a name in METHODS and no branch in compared; add one")


def _adapter(
    method: str, task: Task, head: np.ndarray, scale: float, recipe: TipRecipe,
    validation: Encoded | None,
) -> TipAdapter:  # fmt: skip
    """Return the adapter of a task that a method is, with what validation images choose."""
    adapter = tip_adapter(task.real, head, scale=scale)
    if method == "Tip-Adapter-F":
        adapter = tip_adapter_f(adapter, recipe, seed=task.seed, validation=validation)
    return adapter if validation is None else searched(adapter, validation)


def _run(method: str, task: Task, head: np.ndarray, recipes: Recipes) -> Run:
    """Return the tuning of a task that a method is."""
    if method == "CT w. random":
        return Run(random_head(*head.shape, seed=task.seed), task.seed, "real", task.real)
    if method == "CT w. init":
        return Run(head, task.seed, "real", task.real)
    if method == "CT w. Syn":
        sets = {"real": task.real, "synthetic": task.synthetic}
        return Run(head, task.seed, "mix", **sets, loss=recipes.loss, teacher=head)
    raise _no_branch(method)
