"""What the training loops of the generators share: rates, checkpoints, finite numbers."""

from __future__ import annotations

import copy
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from synthbook import machine, sums
from synthbook.errors import InputError
from synthbook.settings import Count, Share, settings

OnStep = Callable[[int, dict[str, float]], None]


class TrainingError(RuntimeError):
    """Training went wrong (a loss or a weight is no longer finite): one sentence, with the step."""

    _render_traceback_ = InputError._render_traceback_


def learning_rate_factor(schedule: str, step: int, steps: int, warmup_steps: int = 0) -> float:
    """Return the factor in [0, 1] on the learning rate of ``step`` (from 0) of ``steps``.

    The rate rises linearly over ``warmup_steps``, then stays, falls linearly, or falls as a
    half cosine (Loshchilov & Hutter 2017), to near zero at the last step.
    """
    warm = min(1.0, (step + 1) / (warmup_steps + 1))
    progress = step / max(1, steps)
    if schedule == "linear":
        return warm * (1 - progress)
    if schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * progress))
    return warm


def mixed(precision: str, device: str | torch.device) -> torch.autocast:
    """Return autocast for a step on ``device``: on for "bfloat16", and for "auto" where it is fast.

    See ``machine.fast_precision``.
    """
    place = torch.device(device)
    if precision == "auto":
        precision = machine.fast_precision(str(place))
    return torch.autocast(place.type, torch.bfloat16, enabled=precision == "bfloat16")


def warmed_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """Return a moving average of weights for ``AveragedModel`` that forgets its start sooner.

    After n updates it decays by min(``decay``, (1 + n) / (10 + n)), as in TensorFlow's
    ExponentialMovingAverage, so that weights from before training do not stay in it for long.
    """

    @torch.no_grad()
    def update(averages: list[Tensor], weights: list[Tensor], updates: Tensor | int) -> None:
        if averages[0].is_cuda:  # to read the count would make the GPU wait
            share = 1 - ((1 + updates) / (10 + updates)).clamp(max=decay)
            steps = torch._foreach_sub(weights, averages)
            torch._foreach_mul_(steps, share)
            torch._foreach_add_(averages, steps)
            return
        count = int(updates)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + count) / (10 + count)))

    return update


def normalise(pixels: Tensor) -> Tensor:
    """Map uint8 0..255 to float -1..1."""
    return pixels.float() / 127.5 - 1


def flip_some(batch: Tensor, draw: torch.Generator) -> Tensor:
    """Mirror each image of [N, C, H, W] left to right with probability 1/2."""
    mirrored = torch.rand(len(batch), generator=draw) < 0.5
    return torch.where(mirrored.to(batch.device)[:, None, None, None], batch.flip(3), batch)


def check_finite(losses: Mapping[str, Tensor | float], step: int, folder: Path | None) -> None:
    """Raise TrainingError naming ``step`` if one of its losses is not a finite number."""
    for name, value in losses.items():
        if not math.isfinite(float(value)):
            kept = f"; the last good checkpoint is kept in {folder}" if folder else ""
            raise TrainingError(
                f"{name} is {float(value)} at step {step}: lower the learning rate{kept}"
            )


@settings
class Budget:
    """How long a generator is trained, and the rule by which it is stopped earlier.

    Args:
        minutes: of training at most; of a processor its time, so that other work on the machine
            takes none of it away, of a GPU the clock's. Measuring does not count, nor does the
            first step, in which a GPU starts up.
        measure_every: minutes between two measurements on validation images.
        patience: so many measurements without a new best one stop the training.
        cooldown: share of the minutes, at their end, over which learning rates fall to zero.
    """

    minutes: Annotated[float, Field(gt=0, le=1e5)] = 30.0
    measure_every: Annotated[float, Field(gt=0, le=1e4)] = 6.0
    patience: Count = 4
    cooldown: Share = 0.15


class Watch:
    """The clock of a training: it says when to keep, measures, keeps the best, and stops.

    ``measure`` gets a generator and returns numbers by name; the larger the *first* one, the
    better. ``curve`` holds a point a measurement: minutes, steps, and the numbers. A checkpoint
    keeps the state.
    """

    KEEP_EVERY = 90  # seconds: a kill loses no more

    def __init__(
        self, budget: Budget, measure: Callable[[nn.Module], Mapping[str, float]], device: str
    ) -> None:
        self.budget, self.measure = budget, measure
        self.now = time.process_time if torch.device(device).type == "cpu" else time.perf_counter
        self.curve: list[dict[str, float]] = []
        self.best: nn.Module | None = None
        self.seconds = self.kept = 0.0
        self.keep = self.over = False
        self.seen: float | None = None  # until the first step is done

    def __call__(self, done: int, snapshot: Callable[[], nn.Module]) -> None:
        """Take note that ``done`` steps are done; set ``keep`` and ``over``."""
        self.seconds += 0.0 if self.seen is None else self.now() - self.seen
        self.keep = self.seconds - self.kept >= self.KEEP_EVERY
        spent = self.seconds >= 60 * self.budget.minutes
        if spent or self.seconds >= 60 * self.budget.measure_every * (len(self.curve) + 1):
            made = snapshot()
            point = {"minutes": round(self.seconds / 60, 2), "steps": done, **self.measure(made)}
            self.curve.append(point)
            if self.best_point() == len(self.curve) - 1:
                self.best.load_state_dict(made.state_dict())
            self.keep, self.over = True, self._finished()
        if self.keep:
            self.kept = self.seconds
        self.seen = self.now()

    @property
    def rate_factor(self) -> float:
        """The factor in [0, 1] on learning rates: 1, and falling to 0 over the cooldown."""
        left = 1 - self.seconds / (60 * self.budget.minutes)
        return min(1.0, max(0.0, left) / self.budget.cooldown) if self.budget.cooldown else 1.0

    def _finished(self) -> bool:
        waited = len(self.curve) - 1 - self.best_point() if self.curve else 0
        return self.seconds >= 60 * self.budget.minutes or waited >= self.budget.patience

    def best_point(self) -> int:
        """Return the index of the best point of the curve, the first of equals."""
        firsts = [list(point.values())[2] for point in self.curve]
        return firsts.index(max(firsts))

    def started(self, generator: nn.Module) -> nn.Module:
        """Return the module of the best weights, for checkpoints; so far those of ``generator``."""
        self.best = copy.deepcopy(generator).eval().requires_grad_(False)
        return self.best

    def state_dict(self) -> dict[str, Any]:
        return {"curve": self.curve, "seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.curve, self.seconds = [dict(point) for point in state["curve"]], state["seconds"]
        self.kept, self.over, self.seen = self.seconds, self._finished(), self.now()


def save_checkpoint(
    folder: Path,
    step: int,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    run: Mapping[str, Any],
) -> None:
    """Write everything that training needs to go on after ``step`` steps; keep only this one.

    The checkpoint is the folder ``step-00000500`` with one safetensors file a module, the
    optimizers' state and ``run.json``; it appears whole, and only then is the older one removed.
    Its files carry their SHA-256.

    Raises:
        TrainingError: if a weight is not finite; the older checkpoint is kept.
    """
    from safetensors.torch import save_file

    for name, module in modules.items():
        if not all(weight.isfinite().all() for weight in module.parameters()):
            raise TrainingError(
                f"a weight of {name} is not finite after step {step}: lower the learning rate"
            )
    part, done = folder / ".part", folder / f"step-{step:08d}"
    sums.remove(part)
    part.mkdir(parents=True)
    for name, module in modules.items():
        state = {key: value.detach().contiguous() for key, value in module.state_dict().items()}
        save_file(state, part / f"{name}.safetensors")
    torch.save({k: v.state_dict() for k, v in optimizers.items()}, part / "optimizers.pt")
    (part / "run.json").write_text(_as_text(run), encoding="utf-8")
    sums.seal(part)
    sums.remove(done)
    part.replace(done)
    for older in {*folder.glob("step-*")} - {done}:
        shutil.rmtree(older, ignore_errors=True)


def load_checkpoint(
    folder: Path,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    run: Mapping[str, Any],
) -> int:
    """Load the newest checkpoint of ``folder`` in place; return its number of steps, 0 if none.

    One that is broken is named and removed: then training goes on from an older one, or begins.

    Raises:
        InputError: if the checkpoint is of another run (another recipe, seed or data).
    """
    from safetensors.torch import load_file

    for newest in sorted(folder.glob("step-*"), reverse=True):
        if not (fault := sums.fault(newest)):
            break
        machine.say(f"the checkpoint {newest} is broken ({fault}); it is left out")
        sums.remove(newest)
    else:
        return 0
    theirs, ours = json.loads((newest / "run.json").read_text()), json.loads(_as_text(run))
    for name in sorted({*theirs, *ours}):
        if theirs.get(name) != ours.get(name):
            raise InputError(
                f"the checkpoint in {folder} was made with {name} = {theirs.get(name)}, not "
                f"{ours.get(name)}; choose another folder or delete this one"
            )
    for name, module in modules.items():
        module.load_state_dict(load_file(newest / f"{name}.safetensors"))
    # `load_state_dict` brings states to where the weights are, also on another device than theirs.
    state = torch.load(newest / "optimizers.pt", weights_only=True, map_location="cpu")
    for name, optimizer in optimizers.items():
        optimizer.load_state_dict(state[name])
    return int(newest.name.removeprefix("step-"))


def _as_text(run: Mapping[str, Any]) -> str:
    return json.dumps(dict(run), sort_keys=True, indent=1)
