"""The loop of pretraining and finetuning, on views of images in memory or in files.

What is trained is a module that returns the loss of a batch. All draws are functions of (seed,
step), so that a training which was stopped goes on to the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from synthbook import settings as fields
from synthbook.data.deferred import Deferred, deferred
from synthbook.errors import InputError
from synthbook.machine import checked_device
from synthbook.randomness import seeded, torch_generator
from synthbook.recognize.batches import order
from synthbook.recognize.train import MOMENTUM, trainable
from synthbook.recognize.views import ViewRecipe, views
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
    from synthbook.recognize.models import Classifier

PER = 256  # images to which a learning rate belongs
POINT_EVERY = 100  # steps between two points of a curve
BLOCK = 64  # steps whose images are drawn at once: a permutation of millions takes a while
WHOLE = ViewRecipe(global_views=1, local_views=0, jitter=0.0, blur=0.0)  # a crop, some mirrored

Measure = Callable[[int], Mapping[str, float]]


@settings
class Optimisation:
    """How long and how fast weights are changed.

    Args:
        steps: in all, whatever the number of images, so that amounts of data are compared at equal
            compute.
        epochs: passes over the images, in place of ``steps``; 0 for these.
        optimizer: 'sgd' with momentum 0.9, or 'adamw', which spares biases and norms the decay.
        learning_rate: per 256 images of a batch (Goyal et al. 2017).
        warmup: share of the steps over which the rate rises; then it falls as a half cosine.
        views: what is seen of an image in training.
    """

    steps: Count = 2000
    epochs: fields.Whole = 0
    batch_size: fields.Batch = 64
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Rate = 0.1
    weight_decay: Share = 1e-4
    warmup: Share = 0.05
    precision: fields.TrainingPrecision = "auto"
    views: ViewRecipe = field(default_factory=lambda: WHOLE)


def steps_of(recipe: Optimisation, images: int) -> int:
    """Return the number of steps of a training on so many images."""
    passes = recipe.epochs * images / recipe.batch_size
    return max(1, round(passes)) if recipe.epochs else recipe.steps


class Curve:
    """Means of what steps reported: ``points``, with the steps done, and what was measured then."""

    def __init__(self) -> None:
        self.points: list[dict[str, float]] = []
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, numbers: Mapping[str, float]) -> None:
        """Take note of what a step reported."""
        self._sums = {name: self._sums.get(name, 0.0) + value for name, value in numbers.items()}
        self._count += 1

    def close(self, steps: int, more: Mapping[str, float]) -> None:
        """End a point after ``steps`` with the means since the last one, and ``more``."""
        means = {name: value / self._count for name, value in self._sums.items()}
        self.points.append({"steps": steps, **means, **more})
        self._sums, self._count = {}, 0

    def column(self, name: str) -> list[float]:
        """Return the values of all points."""
        return [point[name] for point in self.points]

    def state_dict(self) -> dict[str, Any]:
        return {"points": self.points, "sums": self._sums, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.points = [dict(point) for point in state["points"]]
        self._sums, self._count = dict(state["sums"]), state["count"]


def read_ahead(
    images: Deferred, size: int, steps: range, recipe: ViewRecipe, device: torch.device, *,
    seed: int, stream: str,
) -> Iterator[tuple[int, list[Tensor], Tensor]]:  # fmt: skip
    """Yield step, views, float [N, C, S, S] in [0, 1] each, and labels [N], on ``device``.

    The next batch is read meanwhile, and on a CPU its views are made then, too, which takes another
    core if there is one. What is drawn depends on (seed, step) alone.
    """

    @lru_cache(maxsize=1)
    def block(k: int) -> np.ndarray:
        ends = (k * BLOCK * size, (k + 1) * BLOCK * size)
        return order(len(images), *ends, seed=seed, stream=stream).numpy().reshape(BLOCK, size)

    def seen(step: int, pixels: Tensor) -> list[Tensor]:
        return views(pixels.to(device), recipe, torch_generator(seed, "views", step))

    def read(step: int) -> tuple[Tensor | list[Tensor], Tensor]:
        chosen = block(step // BLOCK)[step % BLOCK]
        pixels = torch.as_tensor(images.read(chosen)).permute(0, 3, 1, 2)
        labels = torch.as_tensor(images.labels[chosen])
        return (seen(step, pixels) if device.type == "cpu" else pixels), labels

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(read, steps.start) if steps else None
        for step in steps:
            batch, labels = following.result()
            following = pool.submit(read, step + 1) if step + 1 < steps.stop else None
            yield step, seen(step, batch) if torch.is_tensor(batch) else batch, labels.to(device)


def check_views(model: Classifier, images: Deferred, recipe: ViewRecipe) -> None:
    """Raise InputError unless ``model`` takes views of such images, which have to be squares."""
    _, high, wide, channels = images.read(np.zeros(1, np.int64)).shape
    if channels > model.channels or high != wide:
        raise InputError(
            f"images of '{images.name}' are {high} x {wide} x {channels} and the model has "
            f"{model.channels} channels; give squares, and a model for their channels"
        )
    modes = [(module, module.training) for module in model.modules()]
    place = next(model.parameters()).device
    model.eval()
    try:
        with torch.no_grad():
            for side in dict.fromkeys(recipe.sizes(high)):
                model(torch.zeros(1, channels, side, side, device=place))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InputError(
            f"'{model.name}' takes no views of {side} pixels ({str(error)[:150]}); give views of "
            "sizes that it takes (global_size, local_size), or local_views 0"
        ) from error
    finally:
        for module, training in modes:
            module.training = training


def create_optimizer(learner: nn.Module, recipe: Optimisation) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over the weights of ``learner`` that take gradients."""
    rate, decay = recipe.learning_rate * recipe.batch_size / PER, recipe.weight_decay
    if recipe.optimizer == "sgd":
        how = {"momentum": MOMENTUM, "weight_decay": decay, "fused": True}
        return torch.optim.SGD(trainable(learner), rate, **how)
    from timm.optim import param_groups_weight_decay

    spared = [  # what timm's networks name besides, such as the positions of a transformer
        f"{name}.{own}"
        for name, module in learner.named_modules()
        for own in getattr(module, "no_weight_decay", set)()
    ]
    groups = param_groups_weight_decay(learner, decay, no_weight_decay_list=spared)
    return torch.optim.AdamW(groups, rate, fused=True)


def train(
    learner: nn.Module, images: ImageSet | Deferred, recipe: Optimisation, *,
    run: Mapping[str, Any], seed: int, device: str = "cpu", folder: Path | None = None,
    on_step: OnStep | None = None, checkpoint_every: int = 1000, point_every: int = POINT_EVERY,
    measure: Measure | None = None,
) -> Curve:  # fmt: skip
    """Train ``learner`` in place, and return its curve; it ends in eval mode, without gradients.

    It maps views, float [N, C, S, S] in [0, 1] each, and labels [N] to numbers by name, scalars,
    of which "loss" is descended. With a ``folder``, a checkpoint is kept there, and training goes
    on from it. ``run`` is what, beside recipe, seed and data, tells this training from others.

    ``on_step`` gets the number of steps done, of `steps_of`, and the numbers. After every
    ``point_every`` steps and after the last a point is added to the curve, with what ``measure``
    finds: it gets the number of steps and leaves the learner in training mode.

    Raises:
        InputError: for fewer images than a batch, or a folder of another run.
        TrainingError: if the loss is no longer finite.
    """
    place, pixels, size = checked_device(device), deferred(images), recipe.batch_size
    if len(pixels) < size:
        raise InputError(
            f"'{pixels.name}' has {len(pixels)} images, fewer than a batch of {size}; give more, "
            "or a smaller batch_size"
        )
    learner.to(place, memory_format=torch.channels_last)
    learner.train()
    optimizer, curve = create_optimizer(learner, recipe), Curve()
    steps, rate = steps_of(recipe, len(pixels)), recipe.learning_rate * size / PER
    modules, states = {"learner": learner}, {"optimizer": optimizer, "curve": curve}
    run = {**run, "recipe": asdict(recipe), "seed": seed, "data": pixels.fingerprint()}
    first = load_checkpoint(folder, modules, states, run) if folder else 0
    for step, seen, labels in read_ahead(
        pixels, size, range(first, steps), recipe.views, place, seed=seed, stream="loop"
    ):
        factor = learning_rate_factor("cosine", step, steps, round(recipe.warmup * steps))
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        with seeded(seed, "layers", step, device=place), mixed(recipe.precision, place):
            numbers = learner(seen, labels)
        optimizer.zero_grad(set_to_none=True)
        numbers["loss"].backward()
        optimizer.step()
        done = step + 1
        values = torch.stack([value.detach().float() for value in numbers.values()]).tolist()
        said = dict(zip(numbers, values, strict=True))
        check_finite({"loss": said["loss"]}, done, folder)
        curve.add(said)
        if done % point_every == 0 or done == steps:
            curve.close(done, measure(done) if measure else {})
        if on_step:
            on_step(done, said)
        if folder and (done % checkpoint_every == 0 or done == steps):
            save_checkpoint(folder, done, modules, states, run)
    learner.eval().requires_grad_(False)
    return curve
