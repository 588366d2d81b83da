"""What every method is given, and how a training is cut into stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.randomness import derive
from synthbook.recognize.batches import cuts
from synthbook.recognize.guidance import OVER, TARGETS
from synthbook.recognize.methods.guide import Guide
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import History, Step, fit
from synthbook.training import check_choice

if TYPE_CHECKING:
    from synthbook.data import ImageSet


@dataclass(frozen=True)
class Settings:
    """The numbers of all methods; each reads its own.

    Args:
        lambda_1, lambda_2: weights of the real and of the synthetic gradient (equation 2).
        lambda_3: weight of Pretrained Guidance (equation 3).
        distance, similarity, target, over: see ``guidance.pretrained_guidance``.
        per_layer: project each tensor's gradient on its own.
        accumulate: cut each batch into so many and add their gradients up: less memory, the same
            step but for BatchNorm and for Pretrained Guidance, which see the smaller batches.
        first_share: share of the updates that two-stage methods spend on synthetic images: 150 of
            200 epochs in the paper.
        adversarial_weight: of the domain loss in DANN, DADA and ADDA.
        discriminator_width: of the hidden layers of a domain classifier.
        asg_weight, csg_weight: of the losses of ASG and CSG.
        csg_temperature, csg_momentum, csg_queue: of CSG's contrast; a queue of 0 takes the other
            images of the batch as negatives and no older ones.
        meta_rate: step size of LTDA's weights; its trial step takes the recipe's learning rate.
    """

    lambda_1: float = 1.0
    lambda_2: float = 1.0
    lambda_3: float = 1.0
    distance: str = "cosine"
    similarity: str = "kl"
    target: str = "guide"
    over: str = "row"
    per_layer: bool = False
    accumulate: int = 1
    first_share: float = 0.75
    adversarial_weight: float = 1.0
    discriminator_width: int = 64
    asg_weight: float = 0.1
    csg_weight: float = 0.1
    csg_temperature: float = 0.07
    csg_momentum: float = 0.999
    csg_queue: int = 1024
    meta_rate: float = 0.01

    def __post_init__(self) -> None:
        """Check the ranges; raise InputError for a value out of them."""
        weights = ("lambda_1", "lambda_2", "lambda_3", "adversarial_weight", "asg_weight")
        for name in (*weights, "csg_weight", "csg_queue", "meta_rate"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}; give 0 or more")
        for name in ("accumulate", "discriminator_width"):
            if not getattr(self, name) >= 1:
                raise InputError(f"{name} is {getattr(self, name)}; give at least 1")
        if not 0 < self.first_share < 1:
            raise InputError(f"first_share is {self.first_share}; give a number between 0 and 1")
        if not 0 <= self.csg_momentum <= 1:
            raise InputError(f"csg_momentum is {self.csg_momentum}; give a number from 0 to 1")
        if not self.csg_temperature > 0:
            raise InputError(f"csg_temperature is {self.csg_temperature}; give a number above 0")
        check_choice("target", self.target, TARGETS)
        check_choice("over", self.over, OVER)


@dataclass(frozen=True)
class Task:
    """Images, time and numbers that a method has.

    Attributes:
        recipe: how a stage is trained; its ``epochs`` are not read.
        updates: optimiser steps in all, the same for all methods that are compared.
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
    settings: Settings = field(default_factory=Settings)
    device: str = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"

    def streams(self) -> dict[str, ImageSet]:
        """Return the sets that there are, by name: 'real' before 'synthetic'."""
        both = {"real": self.real, "synthetic": self.synthetic}
        return {name: images for name, images in both.items() if images is not None}


def updates_of(images: ImageSet, recipe: Recipe) -> int:
    """Return the steps of the recipe's epochs over a set."""
    return recipe.epochs * (len(cuts(len(images), recipe.batch_size)) - 1)


def stage(
    model: nn.Module,
    streams: ImageSet | Mapping[str, ImageSet],
    task: Task,
    *,
    name: str = "only",
    share: float = 1.0,
    step: Step | None = None,
) -> History:
    """Train ``model`` for a share of the task's updates, rounded to whole epochs, one at least.

    Args:
        model: as for ``fit``; a method's own networks are parts of it (``Together``).
        streams: as for ``fit``; an epoch is a pass over the largest.
        task: gives recipe, seed, device and precision.
        name: of the stage; its random orders are drawn from it.
        share: of the updates.
        step: as for ``fit``.
    """
    sets = list(streams.values()) if isinstance(streams, Mapping) else [streams]
    steps = len(cuts(max(map(len, sets)), task.recipe.batch_size)) - 1
    epochs = max(1, round(share * task.updates / steps))
    seed = task.seed if name == "only" else derive(task.seed, "stage", name)
    recipe = replace(task.recipe, epochs=epochs)
    options = {"device": task.device, "precision": task.precision, "step": step}
    return fit(model, streams, recipe, seed=seed, **options)


def one_after_the_other(first: History, second: History) -> History:
    """Return the curves of two stages as one; what only one of them reported is left out."""
    return History(
        train_accuracy=first.train_accuracy + second.train_accuracy,
        train_loss=first.train_loss + second.train_loss,
        seconds=first.seconds + second.seconds,
        images=first.images + second.images,
        extra={
            name: first.extra[name] + second.extra[name]
            for name in first.extra
            if name in second.extra
        },
    )


class Together(nn.Module):
    """A classifier and the networks that are trained with it, under one optimiser.

    Called with images it is the classifier; the others are attributes of the names given.
    """

    def __init__(self, model: nn.Module, **others: nn.Module) -> None:
        """Hold ``model`` and ``others``."""
        super().__init__()
        self.model, self.num_classes = model, model.num_classes
        for name, other in others.items():
            self.add_module(name, other)

    def forward(self, images: Tensor) -> Tensor:
        """Return the classifier's logits [N, K]."""
        return self.model(images)
