"""What the training loops of the generators share: seeds, rates, checkpoints, checks."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from synthbook.errors import InputError, did_you_mean
from synthbook.randomness import derive

if TYPE_CHECKING:
    from synthbook.data import ImageSet

OnStep = Callable[[int, dict[str, float]], None]


class TrainingError(RuntimeError):
    """Training went wrong (a loss or a weight is no longer finite): one sentence, with the step."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython prints instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def check_choice(name: str, value: str, known: Mapping[str, Any] | tuple[str, ...]) -> None:
    """Raise InputError if ``value`` of the setting ``name`` is not in ``known``."""
    if value not in known:
        raise InputError(
            f"{name} '{value}' is not known; choose one of {', '.join(known)}"
            f"{did_you_mean(str(value), known)}"
        )


@contextmanager
def seeded(seed: int, *purpose: str | int) -> Iterator[None]:
    """Make torch's default CPU generator a stream of (seed, purpose) inside the block.

    Layers initialise their weights from that generator and take no other; its state outside the
    block is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, *purpose))
        yield


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


def pixels_and_labels(images: ImageSet, device: str) -> tuple[Tensor, Tensor]:
    """Return pixels uint8 [N, C, H, W] and labels int64 [N] on ``device``.

    Raises:
        InputError: if there are none.
    """
    if not len(images):
        raise InputError(f"'{images.name}' has no images to train on; give one at least")
    pixels = torch.tensor(images.images).permute(0, 3, 1, 2).contiguous()
    return pixels.to(device), torch.tensor(images.labels).to(device)


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


def _check_weights(modules: Mapping[str, nn.Module], step: int) -> None:
    for name, module in modules.items():
        if not all(bool(p.isfinite().all()) for p in module.parameters()):
            raise TrainingError(
                f"a weight of {name} is not finite after step {step}: lower the learning rate"
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

    _check_weights(modules, step)
    part, done = folder / ".part", folder / f"step-{step:08d}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, module in modules.items():
        state = {key: value.detach().contiguous() for key, value in module.state_dict().items()}
        save_file(state, part / f"{name}.safetensors")
    torch.save({k: v.state_dict() for k, v in optimizers.items()}, part / "optimizers.pt")
    (part / "run.json").write_text(_as_text(run), encoding="utf-8")
    shutil.rmtree(done, ignore_errors=True)
    os.replace(part, done)
    for older in folder.glob("step-*"):
        if older != done:
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

    found = sorted(folder.glob("step-*"))
    if not found:
        return 0
    newest = found[-1]
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
