"""Real Guidance: Wang et al. (WACV 2024), Sec. 4, equation 2; and other rules for two gradients.

``projected`` is the equation; ``take_gradients`` and ``real_guidance_`` do it to the ``.grad`` of
a network, in any training loop. ``guidance.train`` trains by it (RG, A-GEM, RG+PG-R ...).

What He et al. (2023) call real guidance is another thing, a way of sampling: generated images that
start from noised real ones (``generate/from_images.py``).

The paper leaves open whether there is one projection a step: here one of all parameters together;
``per_layer=True`` projects each tensor on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn


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


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the dot product, in the order of memory where both have one, without a copy."""
    if a.stride() != b.stride():
        return (a * b).sum()
    if a.ndim == 4 and a.is_contiguous(memory_format=torch.channels_last):
        a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)
    return torch.dot(a.flatten(), b.flatten())


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
    parameters: Iterable[nn.Parameter], real: Sequence[Tensor | None], *,
    lambda_1: float = 1.0, lambda_2: float = 1.0, per_layer: bool = False,
) -> dict[str, Tensor]:  # fmt: skip
    """Replace the synthetic gradients in ``.grad`` by g_update of equation 2.

    The ``.grad`` of all trained ``parameters`` is g_f, the synthetic gradient; ``real`` is g_r, as
    ``take_gradients`` gave it for the same parameters. It is used up: the memory of this one extra
    copy of the gradients is written over. With a ``lambda_1`` of 0 real gradients constrain and do
    not teach (A-GEM); ``per_layer`` projects each tensor on its own, not all together.

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
    dots = torch.stack([_dot(f, r) for f, r in zip(synthetic, real_part, strict=True)])
    squares = torch.stack(torch._foreach_norm(real_part)).square()
    sizes = torch.stack(torch._foreach_norm(synthetic)).square()
    dot, square = dots.sum(), squares.sum()
    size = (square * sizes.sum()).sqrt()
    if not per_layer:
        dots, squares = dot, square
    scale = lambda_1 + lambda_2 * _coefficient(dots, squares)
    torch._foreach_mul_(real_part, list(scale.unbind()) if per_layer else scale)
    if lambda_2 != 1:
        torch._foreach_mul_(synthetic, lambda_2)
    torch._foreach_add_(synthetic, real_part)
    share = ((dots < 0) & (squares > 0)).float().mean()
    return {"cosine": dot / torch.where(size > 0, size, 1), "projected": share}


def aggregated(
    aggregator: Callable[[Tensor], Tensor],
) -> Callable[[list[nn.Parameter], list[Tensor | None]], dict[str, Tensor]]:
    """Return a rule as ``real_guidance_`` of a torchjd aggregator, [2, P] (real first) to [P].

    It needs three copies of the gradients, where equation 2 needs one.
    """

    def flat(parameters: list[nn.Parameter], gradients: Iterable[Tensor | None]) -> Tensor:
        pairs = zip(parameters, gradients, strict=True)
        return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs])

    def combine(parameters: list[nn.Parameter], real: list[Tensor | None]) -> dict[str, Tensor]:
        synthetic = [parameter.grad for parameter in parameters]
        update = aggregator(torch.stack([flat(parameters, g) for g in (real, synthetic)]))
        sizes = [parameter.numel() for parameter in parameters]
        for parameter, part in zip(parameters, update.split(sizes), strict=True):
            # Laid out in memory as the weights are, which the fused optimisers rely on.
            parameter.grad = torch.empty_like(parameter).copy_(part.view_as(parameter))
        return {}

    return combine
