"""Training a classifier on several views of each image: the recipe of the study of clones.

Sariyildiz et al. (CVPR 2023), Sec. 5: real and generated images go through one pipeline, with the
multi-crop of DINO, and encoder and classifier learn together. The settings of optimiser and
schedule are choices, as the text gives none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from synthbook import settings as fields
from synthbook.data.deferred import Deferred, deferred
from synthbook.errors import InputError
from synthbook.machine import checked_device
from synthbook.randomness import seeded
from synthbook.recognize.cosine import TEMPERATURE, with_cosine_head
from synthbook.recognize.loop import PER, check_views, read_ahead
from synthbook.recognize.models import Classifier
from synthbook.recognize.predict import scores
from synthbook.recognize.train import MOMENTUM, History
from synthbook.recognize.views import ViewRecipe
from synthbook.settings import Count, Rate, Share, settings
from synthbook.training import (
    OnStep,
    check_finite,
    learning_rate_factor,
    load_checkpoint,
    mixed,
    save_checkpoint,
)

if TYPE_CHECKING:
    from pathlib import Path

    from synthbook.data import ImageSet


@settings
class MulticropRecipe:
    """How a classifier is trained on views.

    Args:
        epochs: passes over the images.
        updates: steps in all, instead of epochs; 0 for none. Clones of different sizes are compared
            at equal updates.
        learning_rate: of SGD with momentum 0.9, per 256 images of a batch (Goyal et al. 2017).
        warmup: share of the steps over which the rate rises; then it falls as a half cosine.
        head: 'linear', or 'cosine' with its ``temperature`` (`CosineHead`).
    """

    epochs: Count = 100
    updates: fields.Whole = 0
    batch_size: fields.Batch = 256
    learning_rate: Rate = 0.1
    weight_decay: Share = 1e-4
    warmup: Share = 0.05
    head: Literal["linear", "cosine"] = "linear"
    temperature: Annotated[float, Field(gt=0, le=10)] = TEMPERATURE
    precision: fields.TrainingPrecision = "float32"
    views: ViewRecipe = field(default_factory=ViewRecipe)


def steps_of(recipe: MulticropRecipe, images: int) -> int:
    """Return the number of steps of a training on so many images."""
    size = min(recipe.batch_size, images)
    return recipe.updates or max(1, round(recipe.epochs * images / size))


def multicrop_loss(logits: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Return (1/V) sum over v of the mean cross-entropy of the logits [N, K] of view v.

    L = - E (1/V) sum_v log softmax(q(f(t_v(x))))_c, with x one of the N images and c its class.
    """
    return torch.stack([F.cross_entropy(one.float(), labels) for one in logits]).mean()


def logits_of(model: nn.Module, seen: Sequence[Tensor]) -> list[Tensor]:
    """Return the logits [N, K] of each view; views of one size go through the network together."""
    found: list[Tensor] = []
    for size in dict.fromkeys(one.shape[-1] for one in seen):  # large ones come first
        alike = [one for one in seen if one.shape[-1] == size]
        batch = torch.cat(alike).contiguous(memory_format=torch.channels_last)
        found += model(batch).chunk(len(alike))
    return found


class _Curve:
    """What has happened so far: kept in checkpoints, so that a curve survives a kill."""

    def __init__(self) -> None:
        self.points: list[dict[str, float]] = []
        self.sums = [0.0, 0.0, 0]  # of loss and right images since the last point, and images

    def add(self, loss: float, right: float, images: int) -> None:
        self.sums = [self.sums[0] + loss * images, self.sums[1] + right, self.sums[2] + images]

    def close(self, **more: float) -> None:
        loss, right, images = self.sums
        point = {"loss": loss / images, "accuracy": 100 * right / images, "images": images}
        self.points.append(point | more)
        self.sums = [0.0, 0.0, 0]

    def history(self) -> History:
        def column(name: str) -> tuple[float, ...]:
            return tuple(point[name] for point in self.points if name in point)

        return History(
            column("accuracy"), column("loss"), column("val_accuracy"), column("val_loss"),
            images=int(sum(column("images"))),
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        return {"points": self.points, "sums": self.sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.points, self.sums = [dict(one) for one in state["points"]], [*state["sums"]]


def _check(model: Classifier, images: Deferred, recipe: MulticropRecipe) -> None:
    if len(images) < 2 or model.num_classes != images.num_classes:
        raise InputError(
            f"'{images.name}' has {len(images)} images of {images.num_classes} classes and the "
            f"model knows {model.num_classes}; give two images or more, and a model of as many "
            "classes"
        )
    check_views(model, images, recipe.views)


def train_multicrop(
    model: Classifier, images: ImageSet | Deferred, recipe: MulticropRecipe, *,
    seed: int, device: str = "cpu", validation: ImageSet | None = None,
    folder: Path | None = None, on_step: OnStep | None = None, checkpoint_every: int = 500,
    on_epoch: Callable[[int, History], None] | None = None,
) -> tuple[Classifier, History]:  # fmt: skip
    """Train ``model`` in place on views of labelled images; return it, in eval mode, and curves.

    ``images`` may be in memory, or read from files meanwhile (`Deferred`): crops are then of the
    squares that it reads, so let these be larger than the views. With the recipe's head
    'cosine' the model's head is exchanged first. With a ``folder``, a checkpoint is kept there and
    training goes on from it, to the same weights.

    A point of the curves is a pass over the images: loss and accuracy of all views while they are
    learned from, and of ``validation`` whole images after it, in evaluation mode. ``on_step`` gets
    the number of steps done, of `steps_of`, and the loss; ``on_epoch`` as in ``fit``.

    Raises:
        InputError: if model, images and views do not fit together, or the folder is of another run.
        TrainingError: if the loss is no longer finite.
    """
    place, pixels = checked_device(device), deferred(images)
    if recipe.head == "cosine":
        model = with_cosine_head(model, recipe.temperature, seed=seed)
    model.to("cpu")
    _check(model, pixels, recipe)
    model = model.train().requires_grad_(True)
    model.to(place, memory_format=torch.channels_last)
    size, steps = min(recipe.batch_size, len(pixels)), steps_of(recipe, len(pixels))
    rate, warmup = recipe.learning_rate * size / PER, round(recipe.warmup * steps)
    optimizer = torch.optim.SGD(
        model.parameters(), rate, momentum=MOMENTUM, weight_decay=recipe.weight_decay, fused=True
    )
    curve = _Curve()
    modules, states = {"model": model}, {"model": optimizer, "curve": curve}
    run = {"recipe": asdict(recipe), "seed": seed, "data": pixels.fingerprint()}
    first = load_checkpoint(folder, modules, states, run) if folder else 0
    for step, seen, labels in read_ahead(
        pixels, size, range(first, steps), recipe.views, place, seed=seed, stream="multicrop"
    ):
        factor = learning_rate_factor("cosine", step, steps, warmup)
        optimizer.param_groups[0]["lr"] = rate * factor
        with seeded(seed, "layers", step, device=place), mixed(recipe.precision, place):
            logits = logits_of(model, seen)
        loss = multicrop_loss(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        done, said = step + 1, loss.item()
        check_finite({"loss": said}, done, folder)
        right = sum(float((one.argmax(1) == labels).sum()) for one in logits) / len(logits)
        curve.add(said, right, len(labels))
        if done * size // len(pixels) > step * size // len(pixels) or done == steps:
            after = {}
            if validation is not None:
                after = dict(
                    zip(("val_accuracy", "val_loss"), scores(model, validation), strict=True)
                )
            curve.close(**after)
            if on_epoch:
                on_epoch(len(curve.points) - 1, curve.history())
        if on_step:
            on_step(done, {"loss": said})
        if folder and (done % checkpoint_every == 0 or done == steps):
            save_checkpoint(folder, done, modules, states, run)
    return model.eval().requires_grad_(False), curve.history()
