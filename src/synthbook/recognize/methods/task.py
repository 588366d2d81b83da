"""What every method is given, and how a training is cut into stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from torch import nn

from synthbook.randomness import derive
from synthbook.recognize.batches import steps_per_epoch
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import History, Step, cross_entropy_step, fit

if TYPE_CHECKING:
    from synthbook.data import ImageSet
    from synthbook.recognize.methods.guide import Guide


@dataclass(frozen=True)
class Task:
    """What a method has: images, time, a recipe.

    Attributes:
        recipe: how a stage is trained; its ``epochs`` are not read.
        updates: optimiser steps in all, the same for all methods that are compared.
        seed: of every draw of the training.
        real: labelled real images, few of them as a rule; None without.
        synthetic: labelled synthetic images; None without.
        guide: the frozen network of Pretrained Guidance, ASG and CSG.
    """

    recipe: Recipe
    updates: int
    seed: int
    real: ImageSet | None = None
    synthetic: ImageSet | None = None
    guide: Guide | None = None
    device: str = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"

    def streams(self) -> dict[str, ImageSet]:
        """Return the sets that there are, by name: 'real' before 'synthetic'."""
        both = {"real": self.real, "synthetic": self.synthetic}
        return {name: images for name, images in both.items() if images is not None}


def updates_of(images: ImageSet, recipe: Recipe) -> int:
    """Return the steps of the recipe's epochs over a set."""
    return recipe.epochs * steps_per_epoch(len(images), recipe.batch_size)


def stage(
    model: nn.Module, streams: ImageSet | Mapping[str, ImageSet], task: Task, *,
    name: str = "only", share: float = 1.0, step: Step = cross_entropy_step,
) -> History:  # fmt: skip
    """Train ``model`` for a share of the task's updates, rounded to whole epochs, one at least.

    ``model``, ``streams`` and ``step`` are those of ``fit``; a method's own networks are parts of
    the model (``Together``). The random orders of a stage are drawn from its ``name``.
    """
    sets = streams.values() if isinstance(streams, Mapping) else [streams]
    per_epoch = steps_per_epoch(max(map(len, sets)), task.recipe.batch_size)
    epochs = max(1, round(share * task.updates / per_epoch))
    seed = task.seed if name == "only" else derive(task.seed, "stage", name)
    how = {"device": task.device, "precision": task.precision}
    return fit(model, streams, replace(task.recipe, epochs=epochs), seed=seed, step=step, **how)


class Together(nn.Module):
    """A classifier and the networks trained with it, which are attributes of the names given."""

    def __init__(self, model: nn.Module, **others: nn.Module) -> None:
        super().__init__()
        self.model, self.num_classes = model, model.num_classes
        for name, other in others.items():
            self.add_module(name, other)
