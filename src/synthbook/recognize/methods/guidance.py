"""The methods of Wang et al. (WACV 2024), Sec. 4, and others that have a gradient of each set.

A step goes down equation 3, on one set or on equal batches of both (Table 4, "Ours"). A rule then
combines the two gradients; without one they add up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from synthbook.errors import InputError
from synthbook.recognize.batches import Batch
from synthbook.recognize.methods.guide import Guide
from synthbook.recognize.methods.pretrained_guidance import pretrained_guidance
from synthbook.recognize.methods.real_guidance import aggregated, real_guidance_, take_gradients
from synthbook.recognize.methods.task import Task, stage
from synthbook.recognize.train import Batches, History, Report, Step, report, trainable

# What is reported of Pretrained Guidance: L_pg, and how large the gradients are that lambda_3 L_pg
# and L_task send into the features, where both enter the body.
GUIDANCE = ("guidance", "guidance_gradient", "task_gradient")
# Turns the synthetic gradients in ``.grad`` and the real ones that it is given into the update.
Combine = Callable[[list[nn.Parameter], list[Tensor | None]], Mapping[str, Tensor]]


def _size(term: Tensor, features: Tensor) -> Tensor:
    """Return the norm of the gradient that a term of the loss sends into the features."""
    (gradient,) = torch.autograd.grad(term, features, retain_graph=True)
    return gradient.float().norm()


def gradients_step(
    combine: Combine | None = None, *, weights: Mapping[str, float] = MappingProxyType({}),
    guide: Guide | None = None, guided: Collection[str] = (), lambda_3: float = 1.0,
    accumulate: int = 1, **reading: str,
) -> Step:  # fmt: skip
    """Return a step for ``fit`` with a gradient of equation 3, L_task + lambda_3 L_pg, a stream.

    Args:
        combine: makes the update of the gradients of 'real', then 'synthetic'; None adds up all.
        weights: of the streams' gradients, by name; 1 where there is none.
        guide: of the streams ``guided``, which have Pretrained Guidance (PG-R, PG-F).
        accumulate: pieces that a batch is cut into, whose gradients add up: less memory, the
            same but for BatchNorm and L_pg, which see the smaller batches.
        reading: keywords of ``pretrained_guidance``.
    """

    def backward(model: nn.Module, name: str, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Add the gradient to ``.grad``; return loss, logits [N, K] and GUIDANCE [3], detached."""
        losses, logits, guidance = [], [], []
        parts = (batch.images, batch.labels, batch.indices, batch.pixels)
        cut = (x.tensor_split(accumulate) for x in parts if x is not None)
        for piece in map(Batch, *cut):
            features = model.features(piece.images)
            scores = model.head(features)
            loss = F.cross_entropy(scores, piece.labels)
            if name in guided:
                l_pg = pretrained_guidance(features, guide.of(name, piece), **reading)
                sizes = (_size(term, features) for term in (lambda_3 * l_pg, loss))
                guidance.append(torch.stack([l_pg.detach(), *sizes]) / accumulate)
                loss = loss + lambda_3 * l_pg
            share = len(piece) / len(batch)
            loss.backward(torch.full_like(loss, weights.get(name, 1.0) * share))
            losses.append(share * loss.detach())
            logits.append(scores.detach())
        return sum(losses), torch.cat(logits), sum(guidance)

    def step(model: nn.Module, batches: Batches, optimizer: Optimizer) -> Report:
        optimizer.zero_grad(set_to_none=True)
        parameters, told = trainable(model) if combine else [], []
        for name, batch in batches.items():
            told.append(backward(model, name, batch))
            if combine and name == "real":
                real = take_gradients(parameters)
        extra = dict(combine(parameters, real)) if combine else {}
        optimizer.step()
        losses, logits, guidance = zip(*told, strict=True)
        if used := {*guided} & batches.keys():
            extra |= zip(GUIDANCE, sum(guidance) / len(used), strict=True)
        labels = torch.cat([batch.labels for batch in batches.values()])
        return report(sum(losses) / len(losses), torch.cat(logits), labels, **extra)

    return step


def train(
    model: nn.Module, task: Task, *,
    rule: str = "RG", guided: Collection[str] = ("real", "synthetic"),
    lambda_1: float = 1.0, lambda_2: float = 1.0, lambda_3: float = 1.0,
    distance: str = "cosine", similarity: str = "kl", target: str = "guide", over: str = "row",
    per_layer: bool = False, accumulate: int = 1,
) -> History:  # fmt: skip
    """Train ``model`` in place on the sets that there are, as a row of ``METHODS`` says.

    ``rule`` is 'RG' (equation 2), 'PCGrad' (Yu et al. 2020, by torchjd, without weights), or 'sum',
    which is all that there is with one set. ``guided`` names the sets with Pretrained Guidance:
    PG-R is 'real', PG-F 'synthetic'. The numbers are those of ``real_guidance_``,
    ``gradients_step`` and ``matching_loss``. ``extra`` has what the rule reports, and GUIDANCE.
    """
    if task.recipe.batch_size < 2 * accumulate:
        raise InputError(
            f"accumulate = {accumulate} leaves less than two of the {task.recipe.batch_size} "
            f"images of a batch; give at most {task.recipe.batch_size // 2}"
        )
    streams, combine, weights = task.streams(), None, {}
    if rule == "RG":
        numbers = {"lambda_1": lambda_1, "lambda_2": lambda_2, "per_layer": per_layer}
        combine = partial(real_guidance_, **numbers)
    elif rule == "PCGrad":
        from torchjd.aggregation import PCGrad

        combine = aggregated(PCGrad())
    else:
        weights = {"real": lambda_1, "synthetic": lambda_2}
    if guided:
        task.guide.remember({name: streams[name] for name in {*guided} & {*streams}}, task.recipe)
    step = gradients_step(
        combine, weights=weights, guide=task.guide, guided=guided, accumulate=accumulate,
        lambda_3=lambda_3, distance=distance, similarity=similarity, target=target, over=over,
    )  # fmt: skip
    return stage(model, streams, task, step=step)
