"""Classifier tuning (CT): the head of a CLIP trained on cached features, many trainings at once.

    f(x) = scale * g(x)^T W,   W from text or at random, g frozen      (He et al. 2023, Section 3)

Every training ("run") has its own start, seed, images, strategy and loss. They go through one loop
side by side: a step is one product of matrices for all, and no run's numbers depend on another's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from synthbook.errors import InputError, check_choice
from synthbook.machine import checked_device
from synthbook.randomness import torch_generator
from synthbook.recognize.clip import Encoded
from synthbook.recognize.heads import check_alike, check_fits
from synthbook.recognize.recipe import half_cosine
from synthbook.settings import Batch, Count, Rate, Share, Weight, Whole, settings
from synthbook.training import TrainingError

Strategy = Literal["real", "synthetic", "mix", "synthetic-then-real", "real-then-synthetic"]
Loss = Literal["CE", "SCE"]
Choice = Literal["last", "validation", "test"]
STAGES: dict[str, tuple[tuple[str, ...], ...]] = {  # what each stage of a strategy is trained on
    "real": (("real",),),
    "synthetic": (("synthetic",),),
    "mix": (("real", "synthetic"),),
    "synthetic-then-real": (("synthetic",), ("real",)),
    "real-then-synthetic": (("real",), ("synthetic",)),
}
assert tuple(STAGES) == get_args(Strategy)
BLOCK = 2**25  # logits that are held at a time while accuracy is measured


@settings
class TuningRecipe:
    """How heads are tuned, by AdamW; by default as the public code does it in the zero-shot study.

    Args:
        steps: of a whole run; one with two phases has half of them in each, with a schedule of its
            own. 0 leaves the start as it is.
        batch_size: images a step; of "mix", which needs an even number, half are real.
        schedule: "cosine" to zero; "constant"; or "miscounted", the fault of the public code with
            few shots: an epoch has ``loader_batches`` (8,000 features by 128), and the cosine
            believes that it has ``counted_batches`` (by 512), so that the rate is a saw-tooth.
        columns: "scaled" trains scale * W, as the public code; "free" trains W, so that a step of
            the same rate moves logits ``scale`` times as far; "unit" trains W by its directions.
        clip_norm: of each run's gradient; 0 is none.
        soft_share: of SCE in the loss where it is on, the rest being CE; 1 is the paper's formula.
        temperature: of the targets of SCE.
        measure_every: steps between two measurements on validation and test images.
    """

    steps: Whole = 480
    batch_size: Batch = 512
    learning_rate: Rate = 2e-3
    weight_decay: Weight = 0.1
    schedule: Literal["cosine", "constant", "miscounted"] = "cosine"
    columns: Literal["scaled", "free", "unit"] = "scaled"
    clip_norm: Weight = 1.0
    soft_share: Share = 0.5
    temperature: Annotated[float, Field(gt=0, le=1e3)] = 2.0
    measure_every: Count = 16
    loader_batches: Count = 63
    counted_batches: Count = 16

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of ``step`` (from 0) of ``steps``.

        "miscounted" is the cosine at epoch * counted + batch of epochs * counted steps. It rises at
        each new epoch if fewer batches are counted than come, and falls in leaps if more are.
        """
        if self.schedule == "constant":
            return self.learning_rate
        if self.schedule == "miscounted":
            epoch, batch = divmod(step, self.loader_batches)
            step = epoch * self.counted_batches + batch
            steps = math.ceil(steps / self.loader_batches) * self.counted_batches
        return half_cosine(self.learning_rate, step, steps)


@dataclass(frozen=True, eq=False)
class Run:
    """One training: where it starts, what it sees, and its loss.

    ``start`` is a head, unit rows [K, D]. ``loss`` is of synthetic images; the labels of real ones
    are true, so that their loss is "CE". "SCE" needs a ``teacher``: the zero-shot head.
    """

    start: np.ndarray
    seed: int
    strategy: Strategy = "synthetic"
    real: Encoded | None = None
    synthetic: Encoded | None = None
    loss: Loss = "CE"
    teacher: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Tuned:
    """What became of a run: its ``last`` head, and the ``best`` by validation, [K, D].

    Logits are the scale times features times a head's transpose. ``validation`` and ``test`` are
    top-1 in percent after ``steps``, the start (0) among them; NaN without such images.
    """

    steps: tuple[int, ...]
    validation: np.ndarray
    test: np.ndarray
    last: np.ndarray
    best: np.ndarray

    def accuracy(self, by: Choice = "validation") -> float:
        """Return the test accuracy of the measurement that is chosen.

        By "last", or by "validation": the first with the best accuracy there. "test" is the fault
        of the public code: the best of all test accuracies, which nobody can have.

        Raises:
            InputError: if there were no validation images to choose by.
        """
        check_choice("choice by", by, get_args(Choice))
        if by == "last":
            return float(self.test[-1])
        if by == "test":
            return float(self.test.max())
        if np.isnan(self.validation).any():
            raise InputError("there were no validation images to choose by; give some, or 'last'")
        return float(self.test[int(self.validation.argmax())])


def tune(
    runs: Sequence[Run], recipe: TuningRecipe, *, scale: float, validation: Encoded | None = None,
    test: Encoded | None = None, device: str = "cpu",
) -> list[Tuned]:  # fmt: skip
    """Train the heads of all runs side by side; return what became of each, in their order.

    Of one recipe and classes of one number; strategies, losses, seeds, shots and images may differ.

    Raises:
        InputError: for a run without the images that its strategy needs, SCE without a teacher, an
            odd batch for "mix", and heads and features that do not fit together.
        TrainingError: if weights are no longer finite.
    """
    place = checked_device(device)
    for run in runs:
        _check(run, recipe, (validation, test))
    if len({run.start.shape for run in runs}) > 1:
        shapes = ", ".join(str(list(shape)) for shape in sorted({run.start.shape for run in runs}))
        raise InputError(f"runs have heads of {shapes}; tune those of one shape together")
    watched = [None if some is None else _held(some, place) for some in (validation, test)]
    found: dict[int, Tuned] = {}
    for phases in (1, 2):  # those with two phases have other rates, and go by themselves
        numbers = [k for k, run in enumerate(runs) if len(STAGES[run.strategy]) == phases]
        if numbers:
            some = _together([runs[k] for k in numbers], recipe, phases, scale, watched, place)
            found.update(zip(numbers, some, strict=True))
    return [found[k] for k in range(len(runs))]


def _check(run: Run, recipe: TuningRecipe, watched: Sequence[Encoded | None]) -> None:
    check_choice("strategy", run.strategy, STAGES)
    check_choice("loss", run.loss, get_args(Loss))
    needed = dict.fromkeys(part for stage in STAGES[run.strategy] for part in stage)
    for part in needed:
        images = getattr(run, part)
        if images is None or not len(images):
            raise InputError(
                f"strategy '{run.strategy}' needs {part} images, and there are none; give "
                f"{'shots (1 or more a class)' if part == 'real' else 'some'}, or another strategy"
            )
    first = getattr(run, next(iter(needed)))
    for images in (*(getattr(run, part) for part in needed), *watched):
        if images is not None:
            check_fits(run.start, images)
            check_alike(first, images)
    if run.loss == "SCE" and "synthetic" in needed and run.teacher is None:
        raise InputError("loss 'SCE' needs a teacher, the zero-shot head; give one, or loss 'CE'")
    if run.teacher is not None:
        check_fits(run.teacher, first)
    if run.strategy == "mix" and recipe.batch_size % 2:
        raise InputError(
            f"batch_size = {recipe.batch_size} cannot be cut into equal parts of real and "
            "synthetic images; give an even number"
        )


def _held(images: Encoded, place: torch.device) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(images.features).to(place), torch.from_numpy(images.labels).to(place)


def positions(count: int, steps: int, rows: int, *, seed: int, part: str) -> Tensor:
    """Return int64 [steps, rows]: images of ``count``, permutation after permutation of them."""
    draw = torch_generator(seed, "tuning", part)
    needed = -(-steps * rows // count)
    order = torch.rand(needed, count, generator=draw).argsort(1)
    return order.flatten()[: steps * rows].view(steps, rows)


def losses(
    logits: Tensor, labels: Tensor, soft: Tensor | float = 0.0, targets: Tensor | None = None
) -> Tensor:
    """Return the loss of each image, [...], of logits [..., K] and labels [...].

        (1 - soft) CE + soft SCE,   CE = -log p_y,   SCE = - sum_i q_i log p_i

    with q the ``targets`` [..., K], normalised scores of CLIP over all classes, and ``soft``
    between 0 and 1, a number or one an image.
    """
    log_p = logits.log_softmax(-1)
    hard = -log_p.gather(-1, labels[..., None]).squeeze(-1)
    return hard if targets is None else (1 - soft) * hard - soft * (targets * log_p).sum(-1)


def _together(
    runs: Sequence[Run], recipe: TuningRecipe, phases: int, scale: float,
    watched: Sequence[tuple[Tensor, Tensor] | None], place: torch.device,
) -> list[Tuned]:  # fmt: skip
    """Tune runs with the same number of phases."""
    bank, labels, first = _bank(runs, place)
    weights = torch.stack([torch.from_numpy(run.start) for run in runs]).float().to(place)
    if recipe.columns == "scaled":
        weights = weights * scale
    factor = 1.0 if recipe.columns == "scaled" else scale
    teachers = None
    if recipe.soft_share and any(run.loss == "SCE" for run in runs):
        given = [np.zeros_like(r.start) if r.teacher is None else r.teacher for r in runs]
        teachers = torch.from_numpy(np.stack(given)).to(place) * (scale / recipe.temperature)
    watch = _Watch(watched, recipe, factor / scale)
    for phase in range(phases):
        steps = recipe.steps // phases + (phase < recipe.steps % phases)
        table, soft = _plan(runs, recipe, phase, steps, first)
        watch.phase(steps, last=phase == phases - 1)
        weights = _descend(
            weights, bank, labels, table.to(place), recipe, factor, watch,
            None if teachers is None else (teachers, soft.to(place)),
        )  # fmt: skip
    if not weights.isfinite().all():
        raise TrainingError(
            f"a head is no longer finite after {recipe.steps} steps: lower learning_rate"
        )
    return watch.tuned()


def _bank(runs: Sequence[Run], place: torch.device) -> tuple[Tensor, Tensor, dict[int, int]]:
    """Return the features and labels of all sets, each once, and where each begins."""
    needed = [(run, {part for stage in STAGES[run.strategy] for part in stage}) for run in runs]
    sets = {id(some): some for run, parts in needed for part in sorted(parts)
            if (some := getattr(run, part)) is not None}  # fmt: skip
    starts = np.cumsum([0, *(len(some) for some in sets.values())])
    features = np.concatenate([some.features for some in sets.values()])
    labels = np.concatenate([some.labels for some in sets.values()])
    held = torch.from_numpy(features).to(place), torch.from_numpy(labels).to(place)
    return *held, dict(zip(sets, map(int, starts), strict=False))


def _plan(
    runs: Sequence[Run], recipe: TuningRecipe, phase: int, steps: int, first: dict[int, int]
) -> tuple[Tensor, Tensor]:
    """Return the images of each step, int32 [steps, L, B] in the bank, and soft shares [L, B]."""
    size = recipe.batch_size
    table = torch.empty(steps, len(runs), size, dtype=torch.int32)
    soft = torch.zeros(len(runs), size)
    for k, run in enumerate(runs):
        parts = STAGES[run.strategy][phase]
        rows = size // len(parts)
        for number, part in enumerate(parts):
            some, here = getattr(run, part), slice(number * rows, (number + 1) * rows)
            drawn = positions(len(some), steps, rows, seed=run.seed, part=part)
            table[:, k, here] = (drawn + first[id(some)]).int()
            if part == "synthetic" and run.loss == "SCE":
                soft[k, here] = recipe.soft_share
    return table, soft


def _descend(
    weights: Tensor, bank: Tensor, labels: Tensor, table: Tensor, recipe: TuningRecipe,
    factor: float, watch: _Watch, taught: tuple[Tensor, Tensor] | None,
) -> Tensor:  # fmt: skip
    """Train weights [L, K, D] by a plan and return them."""
    weights = weights.clone().requires_grad_()
    steps, count, size = table.shape
    optimizer = torch.optim.AdamW(
        [weights], lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    watch(0, weights)
    for step in range(steps):
        # The batch of every run.
        rows = table[step].flatten()
        x = bank.index_select(0, rows).view(count, size, -1)
        y = labels.index_select(0, rows).view(count, size)
        targets = taught and torch.bmm(x, taught[0].mT).softmax(2)

        # One step of AdamW: the mean over the batch, the sum over the runs.
        columns = F.normalize(weights, dim=2) if recipe.columns == "unit" else weights
        logits = torch.bmm(x, columns.mT) * factor
        loss = losses(logits, y, taught[1] if taught else 0.0, targets).mean(1).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.clip_norm:
            norms = weights.grad.flatten(1).norm(dim=1)[:, None, None]
            weights.grad *= (recipe.clip_norm / (norms + 1e-6)).clamp(max=1)
        optimizer.param_groups[0]["lr"] = recipe.rate(step, steps)
        optimizer.step()
        watch(step + 1, weights)
    return weights.detach()


class _Watch:
    """Measures the heads of all runs now and then, and keeps the best by validation."""

    def __init__(
        self, watched: Sequence[tuple[Tensor, Tensor] | None], recipe: TuningRecipe, shrink: float
    ) -> None:
        self.watched, self.recipe, self.shrink = watched, recipe, shrink
        self.steps: list[int] = []
        self.curves: list[list[np.ndarray]] = [[], []]
        self.before, self.ending, self.last = 0, 0, True
        self.best: Tensor | None = None
        self.top: np.ndarray | None = None
        self.heads: Tensor | None = None

    def phase(self, steps: int, *, last: bool) -> None:
        """Begin a phase of ``steps``."""
        self.before, self.ending, self.last = self.before + self.ending, steps, last

    @torch.no_grad()
    def __call__(self, done: int, weights: Tensor) -> None:
        """Measure if it is time, after ``done`` steps of the phase."""
        step = self.before + done
        due = step % self.recipe.measure_every == 0 or (self.last and done == self.ending)
        if not due or step in self.steps:
            return
        unit = self.recipe.columns == "unit"
        heads = F.normalize(weights, dim=2) if unit else weights * self.shrink
        self.steps.append(step)
        for curve, some in zip(self.curves, self.watched, strict=True):
            curve.append(np.full(len(heads), np.nan) if some is None else _top1(heads, *some))
        rated = self.curves[0][-1]
        if self.best is None:
            self.best, self.top = heads.clone(), rated
        better = torch.from_numpy(rated > self.top).to(heads.device)
        self.best[better], self.top = heads[better], np.fmax(rated, self.top)
        self.heads = heads.clone()

    def tuned(self) -> list[Tuned]:
        validation, test = (np.stack(curve, axis=1) for curve in self.curves)
        last = self.heads.cpu().numpy()
        best = self.best.cpu().numpy() if self.watched[0] else last
        steps = tuple(self.steps)
        return [Tuned(steps, *some) for some in zip(validation, test, last, best, strict=True)]


def _top1(heads: Tensor, features: Tensor, labels: Tensor) -> np.ndarray:
    """Return top-1 in percent of every head, float64 [L], of heads [L, K, D]."""
    count, classes, width = heads.shape
    wide = heads.reshape(count * classes, width).T
    right = torch.zeros(count, dtype=torch.int64, device=heads.device)
    for rows in torch.arange(len(labels)).split(max(1, BLOCK // (count * classes))):
        here = slice(int(rows[0]), int(rows[-1]) + 1)
        named = (features[here] @ wide).view(-1, count, classes).argmax(2)
        right += (named == labels[here, None]).sum(0)
    return 100 * right.double().cpu().numpy() / len(labels)
