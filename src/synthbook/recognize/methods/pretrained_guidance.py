"""Pretrained Guidance: Wang et al. (WACV 2024), Sec. 4, equations 1 and 3.

``pretrained_guidance`` is the loss, for any training loop; ``pg_l1`` and ``pg_kl`` train by it.

The paper leaves some of it open. What is read here, and which other reading has a switch:

- *Which way the KL goes* (equation 1). The guide's matrix is the target, KL(P || Q); the sentence
  before the equation says the reverse, though only the trained network has gradients:
  ``target="model"``.
- *Over what the KL normalises*. A softmax over each row without its diagonal, temperature 1, as in
  the work on few-shot GANs that the paper refers to; ``over="matrix"`` takes all pairs at once.
- *Sum or mean*. The mean over rows (KL) or pairs (L1): the sum only rescales lambda_3, by a number
  that depends on the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from synthbook.errors import InputError, check_choice
from synthbook.recognize.batches import Batch
from synthbook.recognize.methods.guide import Guide
from synthbook.recognize.methods.task import Task, stage
from synthbook.recognize.train import Batches, History, Report, Step, report

Distance = Callable[[Tensor], Tensor]
Similarity = Callable[[Tensor, Tensor], Tensor]
TARGETS = ("guide", "model")
OVER = ("row", "matrix")


def cosine(features: Tensor) -> Tensor:
    """Return the cosine similarities [N, N] of features [N, D]; 0 beside a vector of zeros."""
    unit = F.normalize(features, dim=1)
    return unit @ unit.T


def negative_l2(features: Tensor) -> Tensor:
    """Return minus the Euclidean distances [N, N] of features [N, D]: larger is nearer."""
    squares = (features**2).sum(1)
    sums = squares[:, None] + squares[None]
    gaps = (sums - 2 * features @ features.T).clamp_min(0)
    # The root has no gradient at 0, where two images are one: such pairs take none.
    apart = gaps > 1e-6 * sums.clamp_min(1e-12)
    return -torch.where(apart, gaps, 1).sqrt() * apart


DISTANCES: dict[str, Distance] = {"cosine": cosine, "l2": negative_l2}
SIMILARITIES = ("kl", "l1")


def off_diagonal(matrix: Tensor) -> Tensor:
    """Return the entries of [N, N] beside the diagonal, row by row, [N, N - 1]."""
    n = len(matrix)
    if n < 2:
        return matrix.new_zeros(n, 0)
    return matrix.flatten()[1:].view(n - 1, n + 1)[:, :-1].reshape(n, n - 1)


def matching_loss(
    guide: Tensor,
    model: Tensor,
    *,
    similarity: str = "kl",
    target: str = "guide",
    over: str = "row",
) -> Tensor:
    """Return how far apart two matrices of pairwise distances are: ``sim`` in equation 1.

    Args:
        guide, model: D_p and D_u, [N, N]; the diagonals count for nothing.
        similarity: 'kl' between softmax distributions of the entries, or 'l1' between the entries.
        target: whose distribution the KL starts from, 'guide': KL(P || Q), 'model': KL(Q || P).
        over: what a distribution of the KL is over, a 'row' without its diagonal, or the 'matrix'.

    Returns:
        A scalar >= 0, in nats for 'kl'; 0 for a single image. 'kl' of rows with two images is 0.
    """
    check_choice("similarity", similarity, SIMILARITIES)
    check_choice("target", target, TARGETS)
    check_choice("over", over, OVER)
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
    features: Tensor,
    guide_features: Tensor,
    *,
    distance: str | Distance = "cosine",
    similarity: str | Similarity = "kl",
    target: str = "guide",
    over: str = "row",
) -> Tensor:
    """Return L_pg of a batch: equation 1.

    Args:
        features: f_u of the network in training, [N, D_u].
        guide_features: f_p of the frozen one, [N, D_p]; the widths may differ.
        distance: delta, 'cosine', 'l2' (its negative, so that larger is nearer), or a function of
            features [N, D] that returns [N, N].
        similarity: 'kl', 'l1', or a function of D_p and D_u that returns a scalar to minimise.
        target, over: see ``matching_loss``.

    Returns:
        A scalar >= 0, computed in float32 also under autocast. No gradient reaches the guide.

    Raises:
        InputError: if the batches differ in size, or for an unknown name.
    """
    if features.ndim != 2 or guide_features.ndim != 2 or len(features) != len(guide_features):
        raise InputError(
            f"features are {list(features.shape)} and the guide's {list(guide_features.shape)}; "
            f"give [N, D] of the same N images"
        )
    if not callable(distance):
        check_choice("distance", distance, DISTANCES)
        distance = DISTANCES[distance]
    with torch.autocast(features.device.type, enabled=False):
        ours = distance(features if features.dtype == torch.float64 else features.float())
        with torch.no_grad():
            theirs = distance(guide_features.to(ours.dtype))
        if callable(similarity):
            return similarity(theirs, ours)
        return matching_loss(theirs, ours, similarity=similarity, target=target, over=over)


def _pieces(batch: Batch, count: int) -> Iterator[Batch]:
    """Cut a batch into ``count`` of nearly equal size."""
    if count == 1:
        yield batch
        return
    parts = (batch.images, batch.labels, batch.indices)
    for piece in zip(*(part.tensor_split(count) for part in parts), strict=True):
        yield Batch(*piece)


def _total(numbers: list[Tensor]) -> Tensor:
    """Return the sum of scalars without a graph, 0 for none; a single one costs no operation."""
    if len(numbers) == 1:
        return numbers[0].detach()
    return torch.stack(numbers).detach().sum() if numbers else torch.zeros(())


def backward(
    model: nn.Module,
    batch: Batch,
    *,
    weight: float = 1.0,
    accumulate: int = 1,
    guide: Callable[[Batch], Tensor] | None = None,
    lambda_3: float = 1.0,
    **reading: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Add the gradient of equation 3, L_task + lambda_3 L_pg, times ``weight`` to ``.grad``.

    Args:
        model: with ``features`` and ``head``; L_task is the cross-entropy.
        batch: images, labels, indices.
        weight: of the gradient.
        accumulate: pieces that the batch is cut into, whose gradients add up: less memory, the
            same but for BatchNorm and L_pg, which see the smaller batches.
        guide: gives f_p of a batch; None: no guidance.
        lambda_3: weight of the guidance.
        reading: keywords of ``pretrained_guidance``.

    Returns:
        Mean loss of equation 3, logits [N, K], and mean L_pg (0 without a guide), detached.
    """
    losses, logits, guidance = [], [], []
    for piece in _pieces(batch, accumulate):
        features = model.features(piece.images)
        logits.append(model.head(features))
        loss = F.cross_entropy(logits[-1], piece.labels)
        if guide is not None:
            apart = pretrained_guidance(features, guide(piece), **reading)
            loss = loss + lambda_3 * apart
            guidance.append(apart / accumulate)
        share = len(piece) / len(batch)
        loss.backward(torch.full_like(loss, weight * share))
        losses.append(share * loss.detach())
        logits[-1] = logits[-1].detach()
    return _total(losses), logits[0] if len(logits) == 1 else torch.cat(logits), _total(guidance)


def guided_step(guide: Guide, **options: Any) -> Step:
    """Return a step for ``fit`` down equation 3, on one stream.

    ``options`` are ``accumulate``, ``lambda_3`` and the reading, as for ``backward``.
    """

    def step(model: nn.Module, batches: Batches, optimizer: Optimizer) -> Report:
        ((stream, batch),) = batches.items()
        optimizer.zero_grad(set_to_none=True)
        loss, logits, apart = backward(model, batch, guide=partial(guide.of, stream), **options)
        optimizer.step()
        return report(loss, logits, batch.labels, guidance=apart)

    return step


def check_pieces(task: Task, accumulate: int) -> None:
    """Raise InputError if a batch cut into so many pieces leaves less than two images in one."""
    if task.recipe.batch_size < 2 * accumulate:
        raise InputError(
            f"accumulate = {accumulate} leaves less than two of the {task.recipe.batch_size} "
            f"images of a batch; give at most {task.recipe.batch_size // 2}"
        )


def _train(model: nn.Module, task: Task, accumulate: int, **options: Any) -> History:
    check_pieces(task, accumulate)
    ((name, images),) = task.streams().items()
    task.guide.remember(name, len(images), task.recipe)
    step = guided_step(task.guide, accumulate=accumulate, **options)
    return stage(model, {name: images}, task, step=step)


def pg_l1(
    model: nn.Module, task: Task, *, lambda_3: float = 1.0, distance: str = "cosine",
    accumulate: int = 1,
) -> History:  # fmt: skip
    """Pretrained Guidance with L1 on the one set there is (Tables 2 and 3).

    ``extra`` has 'guidance', which is L_pg.
    """
    how = {"lambda_3": lambda_3, "distance": distance, "similarity": "l1"}
    return _train(model, task, accumulate, **how)


def pg_kl(
    model: nn.Module, task: Task, *, lambda_3: float = 1.0, distance: str = "cosine",
    target: str = "guide", over: str = "row", accumulate: int = 1,
) -> History:  # fmt: skip
    """Pretrained Guidance with KL, as ``pg_l1``; ``target`` and ``over``: see ``matching_loss``."""
    how = {"lambda_3": lambda_3, "distance": distance, "target": target, "over": over}
    return _train(model, task, accumulate, **how)
