"""What a trained classifier says about images: logits, accuracy, losses, features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.recognize.batches import as_input, checked_device

if TYPE_CHECKING:
    from synthbook.data import ImageSet


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, and each of its modules back into its own mode after."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _apply(
    function: Callable[[Tensor], Tensor],
    model: nn.Module,
    images: ImageSet | np.ndarray,
    device: str | None,
    batch_size: int,
    input_size: int,
) -> Tensor:
    """Return the results of ``function`` on all images, float32 on the CPU."""
    pixels = images if isinstance(images, np.ndarray) else images.images
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or not len(pixels):
        raise InputError(
            f"images are {pixels.dtype} {list(pixels.shape)}; give uint8 [N, H, W, C] with N >= 1"
        )
    if device is not None:
        model.to(checked_device(device))
    place = next(model.parameters()).device
    with evaluating(model), torch.no_grad():
        parts = [
            function(
                as_input(
                    torch.from_numpy(np.array(pixels[k : k + batch_size])).to(place), input_size
                )
            ).float()
            for k in range(0, len(pixels), batch_size)
        ]
    return torch.cat(parts).cpu()


def predict(
    model: nn.Module,
    images: ImageSet | np.ndarray,
    *,
    device: str | None = None,
    batch_size: int = 512,
    input_size: int = 0,
) -> Tensor:
    """Return logits [N, K], float32 on the CPU, in evaluation mode.

    Args:
        model: maps float images [N, C, H, W] in [0, 1] to logits.
        images: a set, or uint8 [N, H, W, C].
        device: where to compute; the model is moved there. None = where it is.
        batch_size: images at a time; results depend on it up to float rounding only.
        input_size: side in pixels to resize to; 0 = as they are. Give the recipe's.
    """
    return _apply(model, model, images, device, batch_size, input_size)


def features(
    model: nn.Module,
    images: ImageSet | np.ndarray,
    *,
    device: str | None = None,
    batch_size: int = 512,
    input_size: int = 0,
) -> np.ndarray:
    """Return the pooled features before the head, float32 [N, D], in evaluation mode."""
    if not callable(getattr(model, "features", None)):
        raise InputError(
            f"{type(model).__name__} has no method `features`; make it with create_classifier"
        )
    return _apply(model.features, model, images, device, batch_size, input_size).numpy()


def _percent(logits: Tensor, labels: Tensor) -> float:
    """Return the share of labels that have the largest logit, in percent."""
    return 100 * int((logits.argmax(1) == labels).sum()) / len(labels)


def accuracy(
    model: nn.Module,
    images: ImageSet,
    *,
    device: str | None = None,
    batch_size: int = 512,
    input_size: int = 0,
) -> float:
    """Return the share of images whose largest logit is at their label, in percent."""
    logits = _apply(model, model, images, device, batch_size, input_size)
    return _percent(logits, torch.from_numpy(images.labels))


def scores(model: nn.Module, images: ImageSet, input_size: int = 0) -> tuple[float, float]:
    """Return accuracy in percent and mean cross-entropy in nats, from one pass."""
    logits, labels = predict(model, images, input_size=input_size), torch.from_numpy(images.labels)
    return _percent(logits, labels), F.cross_entropy(logits, labels).item()


def sample_losses(
    model: nn.Module,
    images: ImageSet,
    *,
    device: str | None = None,
    batch_size: int = 512,
    input_size: int = 0,
) -> np.ndarray:
    """Return the cross-entropy of each image in nats, float32 [N], in evaluation mode."""
    logits = _apply(model, model, images, device, batch_size, input_size)
    return F.cross_entropy(logits, torch.from_numpy(images.labels), reduction="none").numpy()
