"""Real Guidance: Wang et al. (WACV 2024), Sec. 4, equation 2; and other rules for two gradients.

``projected`` is the equation; ``take_gradients`` and ``real_guidance_`` do it to the ``.grad`` of
a network, in any training loop. ``rg`` and the others train by it.

The paper leaves open whether there is one projection a step: here one of all parameters together;
``per_layer=True`` projects each tensor on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from synthbook.recognize.methods.guide import Guide
from synthbook.recognize.methods.pretrained_guidance import backward, check_pieces
from synthbook.recognize.methods.task import Task, stage, trainable
from synthbook.recognize.train import Batches, History, Report, Step, report

Combine = Callable[[list[nn.Parameter], list[Tensor | None]], Mapping[str, Tensor]]


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


def aggregated(aggregator: Callable[[Tensor], Tensor]) -> Combine:
    """Return the rule of a torchjd aggregator, a map of the Jacobian [2, P] (real first) to [P].

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


def two_gradients_step(
    combine: Combine | None = None,
    *,
    lambda_1: float = 1.0,
    lambda_2: float = 1.0,
    guides: Mapping[str, Guide] | None = None,
    **options: Any,
) -> Step:
    """Return a step for ``fit`` on the streams 'real' and 'synthetic', a gradient of each.

    Args:
        combine: turns the synthetic gradients in ``.grad`` and the real ones that it is given into
            the update, as ``real_guidance_``; None adds them up.
        lambda_1, lambda_2: their weights in that sum; ``combine`` has its own.
        guides: of the streams that have Pretrained Guidance (PG-R, PG-F).
        options: ``accumulate``, ``lambda_3`` and the reading, as for ``backward``.
    """
    guides = guides or {}
    weights = {"real": lambda_1, "synthetic": lambda_2}
    if combine:
        weights = dict.fromkeys(weights, 1.0)

    def step(model: nn.Module, batches: Batches, optimizer: Optimizer) -> Report:
        optimizer.zero_grad(set_to_none=True)
        parameters = trainable(model) if combine else []
        losses, logits, guidance, extra = [], [], [], {}
        for name, weight in weights.items():
            guide = partial(guides[name].of, name) if name in guides else None
            loss, scores, apart = backward(
                model, batches[name], weight=weight, guide=guide, **options
            )
            losses.append(loss)
            logits.append(scores)
            if guide:
                guidance.append(apart)
            if combine and name == "real":
                real = take_gradients(parameters)
        if combine:
            extra |= combine(parameters, real)
        optimizer.step()
        if guidance:
            extra["guidance"] = torch.stack(guidance).mean()
        labels = torch.cat([batches[name].labels for name in weights])
        return report(torch.stack(losses).mean(), torch.cat(logits), labels, **extra)

    return step


def _train(
    model: nn.Module,
    task: Task,
    combine: Combine | None = None,
    *,
    guided: Iterable[str] = (),
    accumulate: int,
    **options: Any,
) -> History:
    """Train on equal batches of both sets (Table 4, "Ours"), with the guide on those ``guided``."""
    check_pieces(task, accumulate)
    streams = task.streams()
    for name in guided:
        task.guide.remember(name, len(streams[name]), task.recipe)
    guides = dict.fromkeys(guided, task.guide)
    step = two_gradients_step(combine, guides=guides, accumulate=accumulate, **options)
    return stage(model, streams, task, step=step)


def rg(
    model: nn.Module, task: Task, *, lambda_1: float = 1.0, lambda_2: float = 1.0,
    per_layer: bool = False, accumulate: int = 1,
) -> History:  # fmt: skip
    """RG: equation 2. The numbers are those of ``real_guidance_`` and ``backward``.

    ``extra`` has 'cosine' and 'projected', and with a guide 'guidance', which is L_pg.
    """
    rule = partial(real_guidance_, lambda_1=lambda_1, lambda_2=lambda_2, per_layer=per_layer)
    return _train(model, task, rule, accumulate=accumulate)


def rg_pg(
    model: nn.Module, task: Task, *, guided: Iterable[str] = ("real", "synthetic"),
    lambda_1: float = 1.0, lambda_2: float = 1.0, lambda_3: float = 1.0, distance: str = "cosine",
    similarity: str = "kl", target: str = "guide", over: str = "row", per_layer: bool = False,
    accumulate: int = 1,
) -> History:  # fmt: skip
    """RG with Pretrained Guidance on the batches ``guided``: PG-R is 'real', PG-F 'synthetic'."""
    rule = partial(real_guidance_, lambda_1=lambda_1, lambda_2=lambda_2, per_layer=per_layer)
    how = {"distance": distance, "similarity": similarity, "target": target, "over": over}
    how |= {"guided": guided, "lambda_3": lambda_3, "accumulate": accumulate}
    return _train(model, task, rule, **how)


def sum_(
    model: nn.Module, task: Task, *, lambda_1: float = 1.0, lambda_2: float = 1.0,
    accumulate: int = 1,
) -> History:  # fmt: skip
    """The weighted sum of both gradients: RG without the projection."""
    return _train(model, task, lambda_1=lambda_1, lambda_2=lambda_2, accumulate=accumulate)


def sum_pg(
    model: nn.Module, task: Task, *, lambda_1: float = 1.0, lambda_2: float = 1.0,
    lambda_3: float = 1.0, distance: str = "cosine", similarity: str = "kl", target: str = "guide",
    over: str = "row", accumulate: int = 1,
) -> History:  # fmt: skip
    """PG-R + PG-F: the weighted sum, with Pretrained Guidance on both batches."""
    how = {"distance": distance, "similarity": similarity, "target": target, "over": over}
    how |= {"lambda_1": lambda_1, "lambda_2": lambda_2, "lambda_3": lambda_3}
    return _train(model, task, guided=("real", "synthetic"), accumulate=accumulate, **how)


def a_gem(model: nn.Module, task: Task, *, per_layer: bool = False, accumulate: int = 1) -> History:
    """A-GEM: equation 2 with lambda_1 = 0 and lambda_2 = 1 (Chaudhry et al. 2019, eq. 11)."""
    return rg(model, task, lambda_1=0.0, per_layer=per_layer, accumulate=accumulate)


def pc_grad(model: nn.Module, task: Task, *, accumulate: int = 1) -> History:
    """PCGrad (Yu et al. 2020), which projects both gradients, out of torchjd."""
    from torchjd.aggregation import PCGrad

    return _train(model, task, aggregated(PCGrad()), accumulate=accumulate)
