"""One training loop for all classifiers of the book."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from synthbook.errors import InputError, check_choice
from synthbook.machine import checked_device
from synthbook.randomness import derive
from synthbook.recognize.batches import Batch, Stream, cuts, steps
from synthbook.recognize.predict import scores
from synthbook.recognize.recipe import Recipe, learning_rate_at
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


def create_optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
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


def joined(batches: Mapping[str, Batch]) -> tuple[Tensor, Tensor]:
    """Return the images and labels of all batches, one after the other."""
    parts = list(batches.values())
    if len(parts) == 1:
        return parts[0].images, parts[0].labels
    return torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])


def report(loss: Tensor, logits: Tensor, labels: Tensor, **extra: Tensor) -> Report:
    """Return what a step has to return: detached scalars 'loss' and 'accuracy' (0 to 1)."""
    right = (logits.detach().argmax(1) == labels).double().mean()
    return {"loss": loss.detach(), "accuracy": right, **extra}


def cross_entropy_step(model: nn.Module, batches: Batches, optimizer: Optimizer) -> Report:
    """Take one step down the mean cross-entropy of all batches together."""
    images, labels = joined(batches)
    logits = model(images)
    loss = F.cross_entropy(logits, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
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
        if (images.image_size, images.channels) != (first.image_size, first.channels):
            raise InputError(
                f"stream '{name}' has images of {list(images.images.shape[1:])} and "
                f"'{first_name}' of {list(first.images.shape[1:])}; load both alike"
            )
        if images.classes != first.classes or images.num_classes != known:
            raise InputError(
                f"stream '{name}' has {images.num_classes} classes, '{first_name}' has "
                f"{first.num_classes} and the model {known}; give all the same classes"
            )


@contextmanager
def _own_draws(seed: int, device: torch.device) -> Iterator[None]:
    """Give the layers that draw from torch's global generators (dropout) a stream of their own."""
    on_gpu = device.type == "cuda"
    index = device.index or 0
    with torch.random.fork_rng(devices=[index] if on_gpu else []):
        torch.default_generator.manual_seed(derive(seed, "layers"))
        if on_gpu:
            torch.cuda.default_generators[index].manual_seed(derive(seed, "layers"))
        yield


def _epoch_means(
    records: Sequence[Mapping[str, Tensor]], sizes: Sequence[int], epoch: int
) -> dict[str, float]:
    """Return the means of what the steps reported, weighted by their images.

    Raises:
        TrainingError: if a loss is not finite. It is looked for here and not in each step,
            because a GPU would have to be waited for.
    """
    losses = torch.stack([record["loss"] for record in records])
    broken = torch.nonzero(~losses.isfinite()).flatten()
    if len(broken):
        raise TrainingError(
            f"the loss is {losses[broken[0]].item()} in epoch {epoch}, step {int(broken[0])} "
            f"(both from 0); lower learning_rate"
        )
    weights = torch.tensor(sizes, dtype=torch.float64)
    columns = {name: torch.stack([record[name] for record in records]) for name in records[0]}
    return {
        name: float(values.cpu().double() @ weights / weights.sum())
        for name, values in columns.items()
    }


def _history(epochs: Sequence[Mapping[str, float]], seconds: float, images: int) -> History:
    """Return the curves of what each epoch measured."""
    curves = {name: tuple(epoch[name] for epoch in epochs) for name in epochs[0]}
    return History(
        train_accuracy=tuple(100 * share for share in curves.pop("accuracy")),
        train_loss=curves.pop("loss"),
        val_accuracy=curves.pop("val_accuracy", ()),
        val_loss=curves.pop("val_loss", ()),
        seconds=seconds,
        images=images,
        extra=curves,
    )


def fit(
    model: nn.Module,
    streams: ImageSet | Mapping[str, ImageSet],
    recipe: Recipe,
    *,
    seed: int,
    device: str = "cpu",
    validation: ImageSet | None = None,
    step: Step | None = None,
    on_epoch: Callable[[int, History], None] | None = None,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> History:
    """Train ``model`` in place on ``device`` and return its history.

    Args:
        model: maps float images [N, C, H, W] in [0, 1] to logits [N, K].
        streams: one set, or several by name ('real', 'synthetic', ...). A step draws one batch of
            each, all of the same size. An epoch is one pass over the largest; the others are
            cycled and reshuffled. Validation does not change any draw.
        recipe: see ``Recipe``.
        seed: of orders, crops, flips and dropout.
        device: 'cpu', 'cuda' or 'cuda:N'.
        validation: measured after each epoch at the recipe's input size; it decides nothing.
        step: does forward, backward and update, and returns ``report(loss, logits, labels)``;
            by default ``cross_entropy_step``.
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
    options = {"seed": seed, "crop_padding": recipe.crop_padding, "flip": recipe.flip}
    options |= {"input_size": recipe.input_size, "device": place}
    loaded = {name: Stream(images, name=name, **options) for name, images in sets.items()}
    step = step or cross_entropy_step
    mixed = {"dtype": torch.bfloat16, "enabled": precision == "bfloat16"}
    model.to(place)
    optimizer = create_optimizer(model, recipe)
    steps_per_epoch = len(cuts(max(map(len, sets.values())), recipe.batch_size)) - 1
    total = recipe.epochs * steps_per_epoch
    history, begin, epochs, images = History(), time.perf_counter(), [], 0
    with _own_draws(seed, place):
        for epoch in range(recipe.epochs):
            model.train()
            records, sizes = [], []
            for number, batches in enumerate(steps(loaded, recipe.batch_size, epoch)):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate_at(recipe, epoch * steps_per_epoch + number, total)
                with torch.autocast(place.type, **mixed):
                    records.append(step(model, batches, optimizer))
                sizes.append(sum(map(len, batches.values())))
            epochs.append(_epoch_means(records, sizes, epoch))
            if validation is not None:
                val = scores(model, validation, input_size=recipe.input_size)
                epochs[-1] |= dict(zip(("val_accuracy", "val_loss"), val, strict=True))
            images += sum(sizes)
            history = _history(epochs, time.perf_counter() - begin, images)
            if on_epoch:
                on_epoch(epoch, history)
    return history
