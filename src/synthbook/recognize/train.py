"""One training loop for all classifiers of the book."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from synthbook.errors import InputError, check_choice
from synthbook.machine import checked_device
from synthbook.randomness import seeded
from synthbook.recognize.batches import Batch, Stream, steps, steps_per_epoch
from synthbook.recognize.predict import scores
from synthbook.recognize.recipe import Recipe
from synthbook.training import TrainingError

if TYPE_CHECKING:
    from synthbook.data import ImageSet

MOMENTUM = 0.9  # of sgd

Batches = dict[str, Batch]
Report = dict[str, Tensor]
Step = Callable[[nn.Module, Batches, Optimizer], Report]


@dataclass(frozen=True)
class History:
    """What happened in each epoch.

    ``train_*`` are means over the epoch while it ran (dropout and batch statistics in training
    mode, weights changing), as in the curves of papers; ``val_*`` are measured after the epoch in
    evaluation mode and empty without a validation set. Accuracies are in percent, losses in nats.
    ``extra`` holds the epoch means of whatever else a step reported. ``seconds`` is wall time
    with validation; ``images`` counts the training images of all streams and epochs.
    """

    train_accuracy: tuple[float, ...] = ()
    train_loss: tuple[float, ...] = ()
    val_accuracy: tuple[float, ...] = ()
    val_loss: tuple[float, ...] = ()
    seconds: float = 0.0
    images: int = 0
    extra: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def __add__(self, later: History) -> History:
        """Return the curves of two trainings as one; an extra that only one has is left out."""
        *names, _ = (field.name for field in fields(self))
        sums = (getattr(self, name) + getattr(later, name) for name in names)
        extra = {k: v + later.extra[k] for k, v in self.extra.items() if k in later.extra}
        return History(*sums, extra)


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require a gradient."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def create_optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    """Return the recipe's optimizer over the parameters that require gradients.

    The fused implementations are used: one pass over all parameters, also on a CPU.
    """
    options = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(trainable(model), momentum=MOMENTUM, **options)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    return kind(trainable(model), **options)


def joined(batches: Mapping[str, Batch]) -> tuple[Tensor, Tensor]:
    """Return the images and labels of all batches, one after the other."""
    parts = list(batches.values())
    if len(parts) == 1:
        return parts[0].images, parts[0].labels
    return torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])


def descend(loss: Tensor, optimizer: Optimizer) -> None:
    """Take one step down ``loss``."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def report(loss: Tensor, logits: Tensor, labels: Tensor, **extra: Tensor) -> Report:
    """Return what a step has to return: detached scalars 'loss' and 'accuracy' (0 to 1)."""
    right = (logits.detach().argmax(1) == labels).double().mean()
    return {"loss": loss.detach(), "accuracy": right, **extra}


def cross_entropy_step(model: nn.Module, batches: Batches, optimizer: Optimizer) -> Report:
    """Take one step down the mean cross-entropy of all batches together."""
    images, labels = joined(batches)
    logits = model(images)
    loss = F.cross_entropy(logits, labels)
    descend(loss, optimizer)
    return report(loss, logits, labels)


def _check_streams(model: nn.Module, sets: Mapping[str, ImageSet], recipe: Recipe) -> None:
    if not sets:
        raise InputError("no stream of images was given; give at least one ImageSet")
    first_name, first = next(iter(sets.items()))
    known = getattr(model, "num_classes", first.num_classes)
    if recipe.crop_padding >= first.image_size:
        raise InputError(
            f"crop_padding {recipe.crop_padding} leaves windows without a pixel of the "
            f"{first.image_size} px images; give less than {first.image_size}"
        )
    for name, images in sets.items():
        if not len(images):
            raise InputError(f"stream '{name}' ({images.name}) has no images; leave it out")
        alike = images.images.shape[1:] == first.images.shape[1:]
        if not alike or images.classes != first.classes or images.num_classes != known:
            raise InputError(
                f"stream '{name}' is {images}, '{first_name}' is {first} and the model knows "
                f"{known} classes; give all the same image size, channels and classes"
            )


def _epoch(reports: Sequence[Report], sizes: Sequence[int], epoch: int) -> History:
    """Return the means of what the steps reported, weighted by their images.

    A loss that is not finite is looked for here and not in each step, because a GPU would have to
    be waited for.
    """
    columns = {name: torch.stack([one[name] for one in reports]).cpu() for name in reports[0]}
    for number, loss in enumerate(columns["loss"].tolist()):
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} in epoch {epoch}, step {number} (both from 0); lower "
                f"learning_rate"
            )
    weights = torch.tensor(sizes, dtype=torch.float64)
    means = {name: float(x.double() @ weights / weights.sum()) for name, x in columns.items()}
    accuracy, loss = 100 * means.pop("accuracy"), means.pop("loss")
    extra = {name: (mean,) for name, mean in means.items()}
    return History((accuracy,), (loss,), images=sum(sizes), extra=extra)


def fit(
    model: nn.Module, streams: ImageSet | Mapping[str, ImageSet], recipe: Recipe, *,
    seed: int, device: str = "cpu", validation: ImageSet | None = None,
    step: Step = cross_entropy_step, on_epoch: Callable[[int, History], None] | None = None,
    precision: Literal["float32", "bfloat16"] = "float32", epoch_of: str = "",
) -> History:  # fmt: skip
    """Train ``model`` in place on ``device`` and return its history.

    ``model`` maps float images [N, C, H, W] in [0, 1] to logits [N, K]. ``streams`` are one set, or
    several by name ('real', 'synthetic', ...): a step draws one batch of each, all of the same
    size. An epoch is one pass over the largest, or over the stream ``epoch_of``: smaller ones are
    cycled and reshuffled, and what is left of larger ones comes in the next epoch.

    Args:
        seed: of orders, crops, flips and dropout.
        validation: measured after each epoch; it decides nothing and changes no draw.
        step: does forward, backward and update, and returns ``report(loss, logits, labels)``.
        on_epoch: called after each epoch with its number (from 0) and the history so far.
        precision: 'bfloat16' runs the step under autocast.

    Raises:
        InputError: if streams, model and recipe do not fit together.
        TrainingError: at the end of an epoch in which the loss was not finite.
    """
    sets = dict(streams) if isinstance(streams, Mapping) else {"train": streams}
    _check_streams(model, sets, recipe)
    check_choice("precision", precision, ("float32", "bfloat16"))
    place = checked_device(device)
    how = {"seed": seed, "device": device}
    loaded = {name: Stream(images, recipe, name=name, **how) for name, images in sets.items()}
    model.to(place)
    optimizer = create_optimizer(model, recipe)
    count = len(sets[epoch_of]) if epoch_of else max(map(len, sets.values()))
    per_epoch = steps_per_epoch(count, recipe.batch_size)
    history = History()
    with seeded(seed, "layers", device=place):
        for epoch in range(recipe.epochs):
            begin, reports, sizes = time.perf_counter(), [], []
            model.train()
            for number, batches in enumerate(steps(loaded, recipe.batch_size, epoch, count)):
                rate = recipe.rate(epoch * per_epoch + number, recipe.epochs * per_epoch)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                with torch.autocast(place.type, torch.bfloat16, precision == "bfloat16"):
                    reports.append(step(model, batches, optimizer))
                sizes.append(sum(map(len, batches.values())))
            last = _epoch(reports, sizes, epoch)
            if validation is not None:
                right, loss = scores(model, validation, input_size=recipe.input_size)
                last = replace(last, val_accuracy=(right,), val_loss=(loss,))
            last = replace(last, seconds=time.perf_counter() - begin)
            history = history + last if epoch else last
            if on_epoch:
                on_epoch(epoch, history)
    return history
