"""What a trained classifier says about images: logits, accuracy, losses, features."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.machine import checked_device
from synthbook.recognize.batches import as_input

if TYPE_CHECKING:
    from synthbook.data import ImageSet


def predict(
    model: nn.Module, images: ImageSet | np.ndarray, *, device: str | None = None,
    batch_size: int = 512, input_size: int = 0,
    output: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """Return logits [N, K], float32 on the CPU, in evaluation mode, which is undone after it.

    ``images`` are a set or uint8 [N, H, W, C]. The model stays where it is without a ``device``.
    ``batch_size`` changes results up to float rounding only, ``input_size`` is as in the recipe,
    and ``output`` is what to compute of a batch [n, C, H, W] instead of the model's logits.
    """
    pixels = images if isinstance(images, np.ndarray) else images.images
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or not len(pixels):
        raise InputError(
            f"images are {pixels.dtype} {list(pixels.shape)}; give uint8 [N, H, W, C] with N >= 1"
        )
    if device is not None:
        model.to(checked_device(device))
    place = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    outputs = []
    model.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(pixels), batch_size):
                batch = torch.from_numpy(np.array(pixels[start : start + batch_size])).to(place)
                outputs.append((output or model)(as_input(batch, input_size)).float())
    finally:
        for module, training in modes:
            module.training = training
    return torch.cat(outputs).cpu()


def features(model: nn.Module, images: ImageSet | np.ndarray, **options: Any) -> np.ndarray:
    """Return the pooled features before the head, float32 [N, D]; options as for ``predict``."""
    return predict(model, images, output=model.features, **options).numpy()


def sample_losses(model: nn.Module, images: ImageSet, **options: Any) -> np.ndarray:
    """Return the cross-entropy of each image in nats, float32 [N]; options as for ``predict``."""
    logits, labels = predict(model, images, **options), torch.from_numpy(images.labels)
    return F.cross_entropy(logits, labels, reduction="none").numpy()


def scores(model: nn.Module, images: ImageSet, **options: Any) -> tuple[float, float]:
    """Return accuracy in percent and mean cross-entropy in nats; options as for ``predict``."""
    logits, labels = predict(model, images, **options), torch.from_numpy(images.labels)
    right = int((logits.argmax(1) == labels).sum())
    return 100 * right / len(labels), F.cross_entropy(logits, labels).item()


def accuracy(model: nn.Module, images: ImageSet, **options: Any) -> float:
    """Return the share of images whose largest logit is at their label, in percent."""
    return scores(model, images, **options)[0]
