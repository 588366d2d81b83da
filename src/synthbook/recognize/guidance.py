"""Pretrained Guidance and Real Guidance: Wang et al. (WACV 2024), Sec. 4, equations 1 to 3.

The paper leaves some of it open. What is read here, and which other reading has a switch:

- *Which way the KL goes* (equation 1). The guide's matrix is the target, KL(P || Q); the sentence
  before the equation says the reverse, though only the trained network has gradients:
  ``target="model"``.
- *Over what the KL normalises*. A softmax over each row without its diagonal, temperature 1, as in
  the work on few-shot GANs that the paper refers to; ``over="matrix"`` takes all pairs at once.
- *Sum or mean*. The mean over rows (KL) or pairs (L1): the sum only rescales lambda_3, by a number
  that depends on the batch size.
- *Per network or per layer* (equation 2). One projection of all parameters together;
  ``per_layer=True`` projects each tensor on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.training import check_choice

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


def projected(synthetic: Tensor, real: Tensor) -> Tensor:
    """Return g_f_new of equation 2 for gradients given as vectors [P].

    It is ``synthetic`` where the angle to ``real`` is at most 90 degrees, else its part that is
    perpendicular to ``real``. A ``real`` of zeros constrains nothing.
    """
    return synthetic + _coefficient(synthetic @ real, real @ real) * real


def _coefficient(dot: Tensor, square: Tensor) -> Tensor:
    """Return the factor of g_r that makes g_f perpendicular to it, 0 where there is no conflict."""
    conflict = (dot < 0) & (square > 0)
    return torch.where(conflict, -dot / torch.where(conflict, square, 1), torch.zeros_like(dot))


def _flat(gradient: Tensor) -> Tensor:
    """Return the entries in the order of memory where that needs no copy."""
    if gradient.is_contiguous(memory_format=torch.channels_last) and gradient.ndim == 4:
        gradient = gradient.permute(0, 2, 3, 1)
    return gradient.flatten()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.dot(_flat(a), _flat(b)) if a.stride() == b.stride() else (a * b).sum()


def take_gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor | None]:
    """Return the gradients and leave none behind, so that the next backward starts from nothing.

    No copy is made. With several backward passes before it the gradients have added up, which is
    gradient accumulation.
    """
    taken = []
    for parameter in parameters:
        taken.append(parameter.grad)
        parameter.grad = None
    return taken


@torch.no_grad()
def real_guidance_(
    parameters: Iterable[nn.Parameter],
    real: Sequence[Tensor | None],
    *,
    lambda_1: float = 1.0,
    lambda_2: float = 1.0,
    per_layer: bool = False,
) -> dict[str, Tensor]:
    """Replace the synthetic gradients in ``.grad`` by g_update of equation 2.

    Args:
        parameters: all that are trained; their ``.grad`` is g_f, the synthetic gradient.
        real: g_r, as ``take_gradients`` gave it for the same parameters. It is used up: the memory
            of this one extra copy of the gradients is written over.
        lambda_1: weight of g_r. With 0 (and lambda_2 = 1) the update is A-GEM's (Chaudhry et al.
            2019, eq. 11): real gradients constrain and do not teach.
        lambda_2: weight of g_f_new.
        per_layer: project each tensor on its own, not all together.

    Returns:
        Scalars on the parameters' device, nothing is waited for: 'cosine' of the angle between
        g_f and g_r before (0 where one of them is zero), and 'projected', 1 if there was a
        conflict, else 0 (with ``per_layer`` the share of tensors).
    """
    synthetic, real_part = [], []
    for parameter, gradient in zip(parameters, real, strict=True):
        if parameter.grad is not None and gradient is not None:
            synthetic.append(parameter.grad)
            real_part.append(gradient)
        elif gradient is not None:  # only real images reach it
            parameter.grad = lambda_1 * gradient
        elif parameter.grad is not None:  # only synthetic ones do
            parameter.grad.mul_(lambda_2)
    if not synthetic:
        nothing = torch.zeros(())
        return {"cosine": nothing, "projected": nothing}
    dots = torch.stack([_dot(f, r) for f, r in zip(synthetic, real_part, strict=True)])
    squares = torch.stack(torch._foreach_norm(real_part)).square()
    sizes = torch.stack(torch._foreach_norm(synthetic)).square()
    dot, square = dots.sum(), squares.sum()
    if per_layer:
        coefficient = _coefficient(dots, squares)
        scale = (lambda_1 + lambda_2 * coefficient).unbind()
        torch._foreach_mul_(real_part, list(scale))
        share = ((dots < 0) & (squares > 0)).float().mean()
    else:
        coefficient = _coefficient(dot, square)
        torch._foreach_mul_(real_part, lambda_1 + lambda_2 * coefficient)
        share = ((dot < 0) & (square > 0)).float()
    if lambda_2 != 1:
        torch._foreach_mul_(synthetic, lambda_2)
    torch._foreach_add_(synthetic, real_part)
    size = (square * sizes.sum()).sqrt()
    return {"cosine": dot / torch.where(size > 0, size, 1), "projected": share}
