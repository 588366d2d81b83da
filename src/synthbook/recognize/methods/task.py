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
        recipe: how a stage is trained. Its ``epochs`` are read where a stage is told in epochs.
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


def length(
    streams: Mapping[str, ImageSet], task: Task, share: float, of: str = "updates"
) -> tuple[str, int, int]:
    """Return how long a stage is: of which stream its epochs are, how many, and steps in each.

    It is a share of the task's updates, in epochs of the largest stream; or, ``of`` 'epochs', of
    the recipe's epochs, each a pass over the real images however many others there are. Both are
    rounded to whole epochs, one at least.
    """
    name = "real" if of == "epochs" else max(streams, key=lambda name: len(streams[name]))
    per_epoch = steps_per_epoch(len(streams[name]), task.recipe.batch_size)
    whole = task.recipe.epochs if of == "epochs" else task.updates / per_epoch
    return name, max(1, round(share * whole)), per_epoch


def stage(
    model: nn.Module, streams: Mapping[str, ImageSet], task: Task, *, name: str = "only",
    share: float = 1.0, of: str = "updates", step: Step = cross_entropy_step,
) -> History:  # fmt: skip
    """Train ``model`` for the `length` of a stage.

    ``model``, ``streams`` and ``step`` are those of ``fit``; a method's own networks are parts of
    the model (``Together``). The random orders of a stage are drawn from its ``name``.
    """
    longest, epochs, _ = length(streams, task, share, of)
    seed = task.seed if name == "only" else derive(task.seed, "stage", name)
    how = {"device": task.device, "precision": task.precision, "epoch_of": longest}
    return fit(model, streams, replace(task.recipe, epochs=epochs), seed=seed, step=step, **how)


def first_stage(model: nn.Module, task: Task, share: float) -> History:
    """Train ``model`` by cross-entropy on synthetic images for a share of the task's updates."""
    return stage(model, {"train": task.synthetic}, task, name="synthetic", share=share)


class Together(nn.Module):
    """A classifier and the networks trained with it, which are attributes of the names given."""

    def __init__(self, model: nn.Module, **others: nn.Module) -> None:
        super().__init__()
        self.model, self.num_classes = model, model.num_classes
        for name, other in others.items():
            self.add_module(name, other)
