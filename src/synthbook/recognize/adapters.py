"""Tip-Adapter: a cache of the real shots beside the zero-shot head (Zhang et al. 2022).

    logits = alpha exp(-beta (1 - f F^T)) L + scale * f W^T            (their Eqs. 4 to 6)

with f the features of an image, F and L those of the shots and their labels, one-hot, and W the
zero-shot head. It needs no training; Tip-Adapter-F goes on from there and trains F.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from synthbook.errors import InputError
from synthbook.recognize.clip import Encoded
from synthbook.recognize.heads import check_fits
from synthbook.recognize.ranks import measures
from synthbook.recognize.recipe import half_cosine
from synthbook.recognize.tuning import positions
from synthbook.settings import Batch, Count, Rate, Weight, settings
from synthbook.training import TrainingError

ALPHA, BETA = 1.0, 5.5
ALPHAS = tuple(float(a) for a in np.geomspace(0.1, 10, 13))  # tried on validation images
BETAS = tuple(float(b) for b in np.linspace(0.5, 10, 20))


@dataclass(frozen=True, eq=False)
class TipAdapter:
    """The cache and the head: ``keys`` F [M, D], ``values`` L [M, K], ``head`` W [K, D]."""

    keys: np.ndarray
    values: np.ndarray
    head: np.ndarray
    scale: float
    alpha: float = ALPHA
    beta: float = BETA

    def logits(self, images: Encoded) -> np.ndarray:
        """Return logits [N, K]."""
        check_fits(self.head, images)
        given = (torch.from_numpy(x) for x in (images.features, self.keys, self.values, self.head))
        return tip_logits(*given, self.scale, self.alpha, self.beta).numpy()

    def accuracy(self, images: Encoded) -> float:
        """Return top-1 in percent."""
        return measures(self.logits(images), images.labels)["top1"]


@settings
class TipRecipe:
    """How the keys of Tip-Adapter-F are trained: AdamW on the shots, with a half cosine."""

    epochs: Count = 20
    batch_size: Batch = 256
    learning_rate: Rate = 1e-3
    weight_decay: Weight = 0.01


def tip_logits(
    features: Tensor, keys: Tensor, values: Tensor, head: Tensor, scale: float, alpha: float,
    beta: float,
) -> Tensor:  # fmt: skip
    """Return alpha exp(-beta (1 - f F^T)) L + scale * f W^T, [N, K]."""
    affinity = (-beta * (1 - features @ keys.T)).exp()
    return alpha * affinity @ values + scale * features @ head.T


def tip_adapter(
    shots: Encoded, head: np.ndarray, *, scale: float, alpha: float = ALPHA, beta: float = BETA
) -> TipAdapter:
    """Return the adapter of real shots, without training.

    Raises:
        InputError: without shots, for a head that does not fit, and a beta that is not above 0.
    """
    check_shots(shots, "Tip-Adapter")
    check_fits(head, shots)
    if not (beta > 0 and alpha >= 0):
        raise InputError(f"alpha = {alpha} and beta = {beta}; give 0 or more, and more than 0")
    values = np.eye(shots.num_classes, dtype=np.float32)[shots.labels]
    return TipAdapter(shots.features, values, head, scale, alpha, beta)


def check_shots(shots: Encoded, method: str) -> None:
    """Raise InputError unless there is a shot at all, which a method needs."""
    if not len(shots):
        raise InputError(f"{method} needs real shots, and '{shots.name}' has none; give 1 or more")


def tip_adapter_f(
    adapter: TipAdapter, recipe: TipRecipe, *, seed: int, validation: Encoded | None = None
) -> TipAdapter:
    """Return Tip-Adapter-F: the keys trained on the shots from where they were.

    With ``validation`` they are those of the epoch with the best accuracy there, the first of
    equals and the start among them; without, those of the last.
    """
    features = torch.from_numpy(adapter.keys)
    fixed = (torch.from_numpy(adapter.values), torch.from_numpy(adapter.head), adapter.scale)
    labels = fixed[0].argmax(1)
    keys = features.clone().requires_grad_()
    optimizer = torch.optim.AdamW(
        [keys], lr=recipe.learning_rate, weight_decay=recipe.weight_decay, eps=1e-4, fused=True
    )
    size = min(recipe.batch_size, len(labels))
    per_epoch = math.ceil(len(labels) / size)
    steps = recipe.epochs * per_epoch
    best, top = adapter, -1.0 if validation is None else adapter.accuracy(validation)
    table = positions(len(labels), steps, size, seed=seed, part="tip")
    for step, rows in enumerate(table):
        optimizer.param_groups[0]["lr"] = half_cosine(recipe.learning_rate, step, steps)
        logits = tip_logits(features[rows], keys, *fixed, adapter.alpha, adapter.beta)
        loss = F.cross_entropy(logits, labels[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if (step + 1) % per_epoch == 0:
            now = replace(adapter, keys=keys.detach().numpy().copy())
            rated = float(step) if validation is None else now.accuracy(validation)
            if rated > top:
                best, top = now, rated
    if not keys.isfinite().all():
        raise TrainingError(f"a key is no longer finite after {steps} steps: lower learning_rate")
    return best


def searched(
    adapter: TipAdapter, validation: Encoded, *, alphas: Sequence[float] = ALPHAS,
    betas: Sequence[float] = BETAS,
) -> TipAdapter:  # fmt: skip
    """Return the adapter with the alpha and beta that are best on validation images.

    What it had is tried first, and stays unless others are better.
    """
    if not len(validation):
        raise InputError("there are no validation images to choose alpha and beta by; give some")
    check_fits(adapter.head, validation)
    cosines = validation.features @ adapter.keys.T
    plain = np.float32(adapter.scale) * validation.features @ adapter.head.T
    best, top = adapter, adapter.accuracy(validation)
    for beta in betas:
        said = np.exp(-beta * (1 - cosines)) @ adapter.values
        for alpha in alphas:
            rated = measures(alpha * said + plain, validation.labels)["top1"]
            if rated > top:
                best, top = replace(adapter, alpha=alpha, beta=beta), rated
    return best
