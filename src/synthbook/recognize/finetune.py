"""Finetuning: the whole of a pretrained network learns a labelled set, with a new head.

The same for every start, random ones included: only so do Tables 8 and 9 of study `ready` (He et
al., ICLR 2023, Sec. 3.3) compare pretrainings. The paper gives no settings; here validation images
choose among stated rates, and test images choose nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import nn

from synthbook.data.deferred import Deferred, deferred
from synthbook.errors import InputError
from synthbook.randomness import seeded
from synthbook.recognize import predict, pretrained
from synthbook.recognize.loop import Curve, check_views, steps_of, train
from synthbook.recognize.models import Classifier
from synthbook.recognize.pretrain import Supervised, SupervisedRecipe
from synthbook.recognize.probe import encoded
from synthbook.recognize.ranks import measures
from synthbook.recognize.views import ViewRecipe
from synthbook.settings import Count, Listed, Rate, settings
from synthbook.training import OnStep

if TYPE_CHECKING:
    from synthbook.data import ImageSet

MOST = ViewRecipe(  # most of an image, some mirrored
    global_views=1, local_views=0, global_scale=(0.5, 1.0), jitter=0.0, blur=0.0
)


@settings
class FinetuneRecipe(SupervisedRecipe):
    """How a pretrained network is finetuned; the defaults are for small sets of 32 pixels.

    Args:
        rates: learning rates of which validation images choose one, each per 256 images as
            ``learning_rate`` is, which is the rate if there are none.
        point_every: steps between two looks at the validation images.
    """

    steps: Count = 500
    learning_rate: Rate = 0.1
    rates: Annotated[tuple[Rate, ...], Field(max_length=32), Listed] = ()
    point_every: Count = 100
    views: ViewRecipe = field(default_factory=lambda: MOST)

    def each(self) -> dict[float, FinetuneRecipe]:
        """Return rate -> recipe of a training with it, from the lowest rate to the highest."""
        rates = sorted(set(self.rates or (self.learning_rate,)))
        return {rate: replace(self, learning_rate=rate, rates=()) for rate in rates}


# Kornblith et al. 2019 finetune ImageNet's networks for 20,000 steps at 224 pixels; a choice.
PUBLISHED = FinetuneRecipe(
    steps=20_000, batch_size=256, rates=(0.003, 0.01, 0.03, 0.1, 0.3), weight_decay=1e-4,
    point_every=500, views=replace(MOST, global_size=224),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Finetuned:
    """A finetuned network, in eval mode, with what it reached in percent.

    ``last`` is its top-1 on test images; ``best`` is that of the weights which were best on
    validation images, after ``best_steps``. ``validation`` has, for each rate, the top-1 on
    validation images at the end, by which ``rate`` was chosen, and ``curves`` all of their points.
    """

    model: Classifier
    last: float
    best: float
    best_steps: int
    rate: float
    validation: Mapping[float, float]
    curves: Mapping[float, Curve]


class _Learner(Supervised):
    """A classifier that learns, and a copy with the weights that were best on validation images."""

    def __init__(self, model: Classifier, recipe: SupervisedRecipe) -> None:
        super().__init__(model, recipe)
        self.best = copy.deepcopy(model).requires_grad_(False)
        self.register_buffer("reached", torch.tensor([-1.0, 0.0]))  # percent, after steps

    def look(self, steps: int, validation: Deferred, side: int) -> dict[str, float]:
        """Measure, and keep the weights if they are better than all before."""
        accuracy = top1(self.model, validation, input_size=side)
        if accuracy > float(self.reached[0]) + 1e-4:  # it is kept in float32
            self.best.load_state_dict(self.model.state_dict())
            self.reached.copy_(torch.tensor([accuracy, steps]))
        return {"val_accuracy": accuracy}


def top1(model: Classifier, images: ImageSet | Deferred, *, input_size: int = 0) -> float:
    """Return the share in percent of images, also such in files, whose label is told rightly."""
    logits = encoded(lambda x: predict.predict(model, x, input_size=input_size).numpy(), images)
    return measures(logits, images.labels)["top1"]


def with_new_head(start: Classifier, num_classes: int, *, seed: int) -> Classifier:
    """Return a copy of ``start`` with a linear head drawn from ``seed``."""
    model = copy.deepcopy(start)
    with seeded(seed, "new head"):
        model.head = nn.Linear(start.head.in_features, num_classes)
    model.num_classes = num_classes
    return model


def steps_in_all(recipe: FinetuneRecipe, images: int) -> int:
    """Return the steps that ``on_step`` will have been told of: those of all rates."""
    return steps_of(recipe, images) * len(recipe.each())


def finetune(
    start: Classifier, images: ImageSet | Deferred, validation: ImageSet | Deferred,
    test: ImageSet | Deferred, recipe: FinetuneRecipe, *,
    seed: int, device: str = "cpu", folder: Path | None = None, on_step: OnStep | None = None,
    checkpoint_every: int = 1000,
) -> Finetuned:  # fmt: skip
    """Finetune copies of ``start`` on ``images``, one a rate, and rate the chosen one on ``test``.

    The rate with the highest accuracy on ``validation`` at the end is chosen, the lowest of equals.
    With a ``folder``, checkpoints are kept there, and a training that was stopped goes on.

    Raises:
        InputError: if the sets have different classes or no images, or do not fit the network.
        TrainingError: if a loss is no longer finite.
    """
    pixels, held, last = (deferred(some) for some in (images, validation, test))
    _check(pixels, held, last)
    model = with_new_head(start, pixels.num_classes, seed=seed)
    check_views(model, pixels, recipe.views)
    side, steps = recipe.views.global_size, steps_of(recipe, len(pixels))
    run = {"start": pretrained.fingerprint(start), "validation": held.fingerprint()}
    chosen: _Learner | None = None
    rate, reached, curves = 0.0, {}, {}
    for turn, (each, how) in enumerate(recipe.each().items()):
        learner = _Learner(copy.deepcopy(model), how)

        def measure(done: int, learner: _Learner = learner) -> dict[str, float]:
            return learner.look(done, held, side)

        def tell(done: int, numbers: dict[str, float], before: int = turn * steps) -> None:
            if on_step:
                on_step(before + done, numbers)

        options: dict[str, Any] = {"run": run, "seed": seed, "device": device, "on_step": tell}
        options |= {"folder": folder / f"rate-{each:g}" if folder else None}
        options |= {"checkpoint_every": checkpoint_every, "point_every": how.point_every}
        curves[each] = train(learner, pixels, how, **options, measure=measure)
        reached[each] = curves[each].points[-1]["val_accuracy"]
        if chosen is None or reached[each] > reached[rate]:
            chosen, rate = learner, each
    return Finetuned(
        chosen.model, top1(chosen.model, last, input_size=side),
        top1(chosen.best, last, input_size=side), int(chosen.reached[1]), rate, reached, curves,
    )  # fmt: skip


def _check(images: Deferred, validation: Deferred, test: Deferred) -> None:
    for some in (images, validation, test):
        if not len(some) or some.classes != images.classes:
            raise InputError(
                f"'{images.name}' has {images.num_classes} classes and '{some.name}' has "
                f"{len(some)} images of {some.num_classes}; give training, validation and test "
                "images of one list of classes, some of each"
            )
