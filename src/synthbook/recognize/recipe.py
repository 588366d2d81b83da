"""How a classifier is trained: the numbers, the learning rate of each step, the optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from synthbook.errors import InputError, did_you_mean

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine")
MOMENTUM = 0.9  # of sgd


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained; the weights of the last epoch are kept.

    Args:
        epochs: passes over the largest stream.
        batch_size: images of each stream in a step, at most; an epoch is cut into equal batches.
        learning_rate: at the start.
        weight_decay: L2 for 'adam' and 'sgd', decoupled for 'adamw' (Loshchilov and Hutter 2019).
        optimizer: 'adam', 'adamw' or 'sgd' (momentum 0.9).
        schedule: 'constant', or 'cosine' down to zero, step by step.
        crop_padding: black pixels on each side, from which a random window of the old size is
            cut; 0 = no crop.
        flip: mirror each image with probability one half.
        input_size: side in pixels to which batches are resized after the crop; 0 = no resizing.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    optimizer: str = "adam"
    schedule: str = "constant"
    crop_padding: int = 0
    flip: bool = False
    input_size: int = 0

    def __post_init__(self) -> None:
        """Check the fields; raise InputError for a value out of range."""
        least = {"epochs": 1, "batch_size": 1, "weight_decay": 0, "crop_padding": 0}
        for name, bound in {**least, "input_size": 0}.items():
            if not getattr(self, name) >= bound:
                raise InputError(f"{name} is {getattr(self, name)}; give at least {bound}")
        if not (0 < self.learning_rate < math.inf):
            raise InputError(f"learning_rate is {self.learning_rate}; give a positive number")
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name} is '{getattr(self, name)}'{did_you_mean(getattr(self, name), known)}"
                    f"; known are {', '.join(known)}"
                )


def learning_rate_at(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of step 0 <= ``step`` < ``steps``.

    'cosine' is Loshchilov and Hutter 2017 (SGDR), eq. 5, without restarts and down to zero.
    """
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * (1 + math.cos(math.pi * step / steps)) / 2


def create_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over the parameters that require gradients.

    The fused implementations are used: one pass over all parameters, also on a CPU.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise InputError("the model has no parameter that requires a gradient; unfreeze one")
    options = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(trained, momentum=MOMENTUM, **options)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer](
        trained, **options
    )
