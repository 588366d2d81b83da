"""Object detection as the task that a pretraining is for: training a detector, and what it finds.

He et al. (ICLR 2023), Sec. 3.3: a network pretrained on synthetic data is finetuned on PASCAL VOC.
The text names neither detector nor schedule. Here all starts have one recipe and equal steps,
that of MoCo's study (`MOCO_VOC_TRAINING`), and only the weights of the body differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from synthbook import settings as fields
from synthbook.data.boxed import Boxed, Detections, Objects
from synthbook.errors import InputError
from synthbook.machine import checked_device
from synthbook.randomness import numpy_generator, seeded
from synthbook.recognize.batches import order
from synthbook.recognize.detectors import Detector
from synthbook.recognize.train import MOMENTUM
from synthbook.settings import Count, Rate, Share, Whole, settings
from synthbook.training import OnStep, check_finite, load_checkpoint, mixed, save_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

DROPS = (3 / 4, 11 / 12)  # of the steps, after which the rate falls to a tenth: 18,000 of 24,000


@settings
class DetectRecipe:
    """How a detector is trained; the defaults are those of scenes of 64 pixels.

    Args:
        steps: in all, whatever there is to learn from.
        learning_rate: at its highest; it rises over ``warmup`` steps, and falls twice (``DROPS``).
        optimizer: 'sgd' with momentum 0.9, or 'adamw'.
        clip: norm to which gradients are cut, 0 for none.
        flip: mirror half of the images.
    """

    steps: Count = 600
    batch_size: fields.Batch = 16
    learning_rate: Rate = 0.002
    optimizer: Literal["sgd", "adamw"] = "adamw"
    weight_decay: Share = 1e-4
    warmup: Whole = 50
    clip: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    flip: bool = True
    precision: fields.TrainingPrecision = "float32"


# detectron2's schedule of MoCo for PASCAL VOC.
MOCO_VOC_TRAINING = DetectRecipe(
    steps=24_000, batch_size=16, learning_rate=0.02, optimizer="sgd", warmup=100
)


def rate_factor(recipe: DetectRecipe, step: int) -> float:
    """Return the factor in (0, 1] on the learning rate of ``step`` (from 0)."""
    warm = min(1.0, (step + 1) / (recipe.warmup + 1))
    return warm * 0.1 ** sum(step >= drop * recipe.steps for drop in DROPS)


def flipped(image: np.ndarray, seen: Objects) -> tuple[np.ndarray, Objects]:
    """Return an image [H, W, C] and its objects, mirrored left to right."""
    boxes = seen.boxes.copy()
    boxes[:, [0, 2]] = image.shape[1] - seen.boxes[:, [2, 0]]
    return image[:, ::-1], Objects(boxes, seen.labels, seen.difficult)


def as_images(pixels: Sequence[np.ndarray], place: torch.device) -> list[Tensor]:
    """Return images uint8 [H, W, 3] as float32 [3, H, W] in [0, 1]."""
    moved = (torch.from_numpy(np.ascontiguousarray(one)).to(place) for one in pixels)
    return [one.permute(2, 0, 1).float().div_(255) for one in moved]


def _batches(
    scenes: Boxed, recipe: DetectRecipe, steps: range, seed: int
) -> Iterator[tuple[int, list[np.ndarray], list[Objects]]]:
    """Yield step, images and objects; the next batch is read meanwhile.

    Difficult objects are learned like others, as detectron2 does.
    """

    def read(step: int) -> tuple[int, list[np.ndarray], list[Objects]]:
        size = recipe.batch_size
        chosen = order(len(scenes), step * size, (step + 1) * size, seed=seed, stream="detect")
        mirrored = numpy_generator(seed, "flip", step).random(size) < 0.5 * recipe.flip
        images, objects = [], []
        for number, mirror in zip(chosen.tolist(), mirrored, strict=True):
            one = scenes.read(number), scenes.objects[number]
            image, seen = flipped(*one) if mirror else one
            images.append(image)
            objects.append(seen)
        return step, images, objects

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(read, steps.start) if steps else None
        for step in steps:
            batch = following.result()
            following = pool.submit(read, step + 1) if step + 1 < steps.stop else None
            yield batch


class _Losses:
    """The loss of each step so far: kept in checkpoints, so that the curve survives a kill."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values = [*state["values"]]


def _optimizer(model: Detector, recipe: DetectRecipe) -> torch.optim.Optimizer:
    how = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=MOMENTUM, **how)
    return torch.optim.AdamW(model.parameters(), **how)


def train_detector(
    model: Detector, scenes: Boxed, recipe: DetectRecipe, *,
    seed: int, device: str = "cpu", folder: Path | None = None, on_step: OnStep | None = None,
    checkpoint_every: int = 500,
) -> tuple[Detector, tuple[float, ...]]:  # fmt: skip
    """Train ``model`` in place on images with boxes; return it, in eval mode, and each step's loss.

    With a ``folder``, a checkpoint is kept there and training goes on from it, to the same weights.
    ``on_step`` gets the number of steps done and the losses by name; it may look at the model,
    whose mode is set again for each step.

    Raises:
        InputError: if there are fewer images than a batch, a class without boxes or another number
            of classes than the model's, or the folder is of another run.
        TrainingError: if a loss is no longer finite.
    """
    place = checked_device(device)
    if model.num_classes != scenes.num_classes:
        raise InputError(
            f"'{scenes.name}' has {scenes.num_classes} classes and the detector knows "
            f"{model.num_classes}; make one of as many classes"
        )
    if len(scenes) < recipe.batch_size:
        raise InputError(
            f"'{scenes.name}' has {len(scenes)} images, fewer than a batch of {recipe.batch_size}; "
            "lower batch_size or add images"
        )
    scenes.check_counts()
    model.to(place).requires_grad_(True)
    optimizer, losses = _optimizer(model, recipe), _Losses()
    modules, states = {"model": model}, {"model": optimizer, "losses": losses}
    run = {"recipe": asdict(recipe), "seed": seed, "data": scenes.fingerprint()}
    start = load_checkpoint(folder, modules, states, run) if folder else 0
    for step, pixels, objects in _batches(scenes, recipe, range(start, recipe.steps), seed):
        model.train()
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * rate_factor(recipe, step)
        with seeded(seed, "layers", step, device=place), mixed(recipe.precision, place):
            parts = model(as_images(pixels, place), objects)
            loss = torch.stack([*parts.values()]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        done, said = step + 1, {name: part.item() for name, part in parts.items()}
        check_finite(said, done, folder)
        losses.values.append(loss.item())
        if on_step:
            on_step(done, said)
        if folder and (done % checkpoint_every == 0 or done == recipe.steps):
            save_checkpoint(folder, done, modules, states, run)
    return model.eval().requires_grad_(False), tuple(losses.values)


def detect(
    model: Detector, scenes: Boxed, *, device: str | None = None, batch_size: int = 32
) -> list[Detections]:
    """Return what ``model`` finds in each image, in evaluation mode, which is undone after it.

    The model stays where it is without a ``device``. ``measure.average_precision`` rates it.
    """
    if device is not None:
        model.to(checked_device(device))
    place = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    found: list[Detections] = []
    model.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(scenes), batch_size):
                numbers = range(start, min(start + batch_size, len(scenes)))
                found += model(as_images([scenes.read(k) for k in numbers], place))
    finally:
        for module, training in modes:
            module.training = training
    return found
