"""Pretrained Guidance, the loss, for any training loop: Wang et al. (WACV 2024), equation 1.

The paper leaves some of it open. What is read here, and which other reading has a switch:

- *Which way the KL goes*. The guide's matrix is the target, KL(P || Q); the sentence before the
  equation says the reverse, though only the trained network has gradients: ``target="model"``.
- *Over what the KL normalises*. A softmax over each row without its diagonal, temperature 1, as in
  the work on few-shot GANs that the paper refers to; ``over="matrix"`` takes all pairs at once.
- *Sum or mean*. The mean over rows (KL) or pairs (L1): the sum only rescales lambda_3, by a number
  that depends on the batch size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from synthbook.errors import InputError, check_choice
from synthbook.recognize.methods import READINGS


def cosine(features: Tensor) -> Tensor:
    """Return the cosine similarities [N, N] of features [N, D]; 0 beside a vector of zeros.

    A vector shorter than 1e-6 counts as one of zeros, and takes no gradient: it has no direction.
    """
    lengths = features.norm(dim=1, keepdim=True)
    alive = lengths > 1e-6
    unit = torch.where(alive, features / torch.where(alive, lengths, 1), 0)
    return unit @ unit.T


def negative_l2(features: Tensor) -> Tensor:
    """Return minus the Euclidean distances [N, N] of features [N, D]: larger is nearer."""
    squares = (features**2).sum(1)
    sums = squares[:, None] + squares[None]
    gaps = (sums - 2 * features @ features.T).clamp_min(0)
    # The root has no gradient at 0, where two images are one: such pairs take none.
    apart = gaps > 1e-6 * sums.clamp_min(1e-12)
    return -torch.where(apart, gaps, 1).sqrt() * apart


DISTANCES: dict[str, Callable[[Tensor], Tensor]] = {"cosine": cosine, "l2": negative_l2}


def off_diagonal(matrix: Tensor) -> Tensor:
    """Return the entries of [N, N] beside the diagonal, row by row, [N, N - 1]; N >= 1."""
    n = len(matrix)
    return matrix.flatten()[1:].view(n - 1, n + 1)[:, :-1].reshape(n, n - 1)


def matching_loss(
    guide: Tensor, model: Tensor, *,
    similarity: str = "kl", target: str = "guide", over: str = "row",
) -> Tensor:  # fmt: skip
    """Return how far apart D_p and D_u, [N, N], are: ``sim`` in equation 1, a scalar >= 0.

    It is 0 for a single image, and in nats for 'kl'; the diagonals count for nothing.

    Args:
        similarity: 'kl' between softmax distributions of the entries, or 'l1' between the entries.
        target: whose distribution the KL starts from, 'guide': KL(P || Q), 'model': KL(Q || P).
        over: what a distribution of the KL is over, a 'row' without its diagonal, or the 'matrix'.
    """
    for name, value in (("similarity", similarity), ("target", target), ("over", over)):
        check_choice(name, value, READINGS[name])
    p, q = off_diagonal(guide), off_diagonal(model)
    if not q.numel():
        return model.sum() * 0
    if similarity == "l1":
        return (p - q).abs().mean()
    if over == "matrix":
        p, q = p.reshape(1, -1), q.reshape(1, -1)
    p, q = p.log_softmax(1), q.log_softmax(1)
    start, end = (p, q) if target == "guide" else (q, p)
    return F.kl_div(end, start, reduction="batchmean", log_target=True)


def pretrained_guidance(
    features: Tensor, guide_features: Tensor, *, distance: str = "cosine", **reading: str
) -> Tensor:
    """Return L_pg of a batch, equation 1: a scalar >= 0, in float32 also under autocast.

    ``features`` are f_u of the network in training, [N, D_u], ``guide_features`` f_p of the frozen
    one, [N, D_p], which get no gradient. ``distance`` is delta, 'cosine' or 'l2' (its negative, so
    that larger is nearer); the ``reading`` is that of ``matching_loss``.
    """
    if features.ndim != 2 or guide_features.ndim != 2 or len(features) != len(guide_features):
        raise InputError(
            f"features are {list(features.shape)} and the guide's {list(guide_features.shape)}; "
            f"give [N, D] of the same N images"
        )
    check_choice("distance", distance, DISTANCES)
    with torch.autocast(features.device.type, enabled=False):
        dtype = torch.promote_types(features.dtype, torch.float32)
        ours = DISTANCES[distance](features.to(dtype))
        with torch.no_grad():
            theirs = DISTANCES[distance](guide_features.to(dtype))
        return matching_loss(theirs, ours, **reading)
