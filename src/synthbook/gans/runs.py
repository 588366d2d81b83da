"""What a GAN's training must know about itself: its checks, its identity, its curve, its result."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.gans.recipes import Training

if TYPE_CHECKING:
    from synthbook.data import ImageSet
    from synthbook.gans.batches import ImageStream


@dataclass
class Curve:
    """What ``evaluate`` gave after how many steps; the lowest value is the best."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, step: int, value: float) -> bool:
        """Note ``value``; return whether it is lower than all before (the first one is)."""
        best = min((v for v in self.values if not math.isnan(v)), default=math.inf)
        self.steps.append(step)
        self.values.append(value)
        return value < best

    @property
    def best(self) -> tuple[int, float] | None:
        """The step and value of the first lowest value, None if there is no number."""
        found = [(value, step) for step, value in self.points if not math.isnan(value)]
        return min(found)[::-1] if found else None

    @property
    def points(self) -> list[tuple[int, float]]:
        """Pairs (steps done, value)."""
        return list(zip(self.steps, self.values, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"steps": list(self.steps), "values": list(self.values)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the points from a checkpoint."""
        self.steps, self.values = list(state["steps"]), list(state["values"])


@dataclass(frozen=True)
class Trained:
    """What a training leaves: generators with averaged weights, in eval mode.

    ``generator`` is the last one, ``best`` the one with the lowest value of ``evaluate`` (None
    without). The discriminator is the last one; ``curve`` holds the values.
    """

    generator: nn.Module
    best: nn.Module | None
    discriminator: nn.Module
    curve: Curve


def check_recipe(recipe: Training, generator: nn.Module, discriminator: nn.Module) -> None:
    """Raise InputError if the networks cannot be trained as ``recipe`` says."""
    if recipe.path_length and not hasattr(generator, "styles"):
        raise InputError(
            f"path_length {recipe.path_length} needs a generator with styles; give 0 for a "
            f"'{generator.config.architecture}'"
        )
    group = getattr(discriminator.config, "deviation_group", 1)
    if recipe.batch_size % group:
        raise InputError(
            f"batch_size {recipe.batch_size} is not a multiple of deviation_group {group}; "
            "change one of them"
        )


def describe_run(
    generator: nn.Module,
    discriminator: nn.Module,
    images: ImageSet | ImageStream,
    conditions: Tensor | None,
    recipe: Training,
    seed: int,
) -> dict[str, Any]:
    """Return what a checkpoint must agree with: networks, first weights, data, recipe, seed."""
    # A checkpoint names the first of these that differs, in the order of the alphabet.
    tensors = [*generator.state_dict().values(), *discriminator.state_dict().values()]
    if conditions is not None:
        tensors.append(conditions)
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return {
        "architecture": generator.config.architecture,
        "configs": [asdict(generator.config), asdict(discriminator.config)],
        "data": images.fingerprint(),
        "recipe": asdict(recipe),
        "seed": seed,
        "weights at the start": digest.hexdigest()[:16],
    }
