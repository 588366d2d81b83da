"""What the training loops of the generators share: rates, checkpoints, finite numbers."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from synthbook.errors import InputError

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
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, module in modules.items():
        state = {key: value.detach().contiguous() for key, value in module.state_dict().items()}
        save_file(state, part / f"{name}.safetensors")
    torch.save({k: v.state_dict() for k, v in optimizers.items()}, part / "optimizers.pt")
    (part / "run.json").write_text(_as_text(run), encoding="utf-8")
    shutil.rmtree(done, ignore_errors=True)
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

    Raises:
        InputError: if the checkpoint is of another run (another recipe, seed or data).
    """
    from safetensors.torch import load_file

    newest = max(folder.glob("step-*"), default=None)
    if newest is None:
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
    state = torch.load(newest / "optimizers.pt", weights_only=True)
    for name, optimizer in optimizers.items():
        optimizer.load_state_dict(state[name])
    return int(newest.name.removeprefix("step-"))


def _as_text(run: Mapping[str, Any]) -> str:
    return json.dumps(dict(run), sort_keys=True, indent=1)
