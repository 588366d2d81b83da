"""Plain training and the paper's own methods: Pretrained Guidance, Real Guidance, A-GEM, mixing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthbook.data import concatenate
from synthbook.errors import InputError
from synthbook.recognize.batches import Batch
from synthbook.recognize.guidance import pretrained_guidance, real_guidance_, take_gradients
from synthbook.recognize.methods.guide import Guide, trainable
from synthbook.recognize.methods.task import Settings, Task, one_after_the_other, stage
from synthbook.recognize.train import History, Step, report

Combine = Callable[[list[nn.Parameter], list[Tensor | None]], Mapping[str, Tensor]]


def _pieces(batch: Batch, count: int) -> Iterator[Batch]:
    """Cut a batch into ``count`` of nearly equal size."""
    if count == 1:
        yield batch
        return
    parts = (batch.images, batch.labels, batch.indices)
    for some in zip(*(part.tensor_split(count) for part in parts), strict=True):
        yield Batch(*some)


def _total(numbers: list[Tensor]) -> Tensor:
    """Return the sum of scalars without a graph, 0 for none; a single one costs no operation."""
    if len(numbers) == 1:
        return numbers[0].detach()
    return torch.stack(numbers).detach().sum() if numbers else torch.zeros(())


def _backward(
    model: nn.Module, stream: str, batch: Batch, weight: float, guide: Guide | None, s: Settings
) -> tuple[Tensor, Tensor, Tensor]:
    """Add the gradient of equation 3 times ``weight`` to ``.grad``.

    Returns:
        Mean loss of equation 3, logits [N, K], and mean L_pg (0 without a guide), detached.
    """
    losses, logits, distances = [], [], []
    for piece in _pieces(batch, s.accumulate):
        features = model.features(piece.images)
        scores = model.head(features)
        loss = F.cross_entropy(scores, piece.labels)
        if guide is not None:
            how = {"similarity": s.similarity, "target": s.target, "over": s.over}
            theirs = guide.of(stream, piece)
            apart = pretrained_guidance(features, theirs, distance=s.distance, **how)
            loss = loss + s.lambda_3 * apart
            distances.append(apart / s.accumulate)
        share = len(piece) / len(batch)
        loss.backward(torch.full_like(loss, weight * share))
        losses.append(share * loss.detach())
        logits.append(scores.detach())
    return _total(losses), logits[0] if len(logits) == 1 else torch.cat(logits), _total(distances)


def guided_step(
    settings: Settings,
    *,
    guides: Mapping[str, Guide] | None = None,
    combine: Combine | None = None,
) -> Step:
    """Return a step for ``fit`` on one stream or on two, 'real' and 'synthetic'.

    Args:
        settings: the lambdas and how Pretrained Guidance is read.
        guides: the guide of each stream that has Pretrained Guidance (PG-R, PG-F); {} for none.
        combine: turns the synthetic gradients in ``.grad`` and the real ones that it is given into
            the update; None adds them up, weighted by lambda_1 and lambda_2.
    """
    guides = guides or {}

    def step(
        model: nn.Module, batches: dict[str, Batch], optimizer: torch.optim.Optimizer
    ) -> dict[str, Tensor]:
        optimizer.zero_grad(set_to_none=True)
        found: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        extra: dict[str, Tensor] = {}
        weights = {"real": settings.lambda_1, "synthetic": settings.lambda_2}
        apart = combine is not None or len(batches) == 1
        parameters = trainable(model) if combine else []
        for name in batches:  # 'real' comes first
            weight = 1.0 if apart else weights[name]
            found[name] = _backward(model, name, batches[name], weight, guides.get(name), settings)
            if combine and name == "real":
                real = take_gradients(parameters)
        if combine:
            extra |= combine(parameters, real)
        optimizer.step()
        loss = torch.stack([part[0] for part in found.values()]).mean()
        logits = torch.cat([part[1] for part in found.values()])
        labels = torch.cat([batch.labels for batch in batches.values()])
        if guides:
            extra["guidance"] = torch.stack([found[name][2] for name in guides]).mean()
        return report(loss, logits, labels, **extra)

    return step


def _checked(task: Task, guides: Mapping[str, Guide]) -> None:
    if task.recipe.batch_size < 2 * task.settings.accumulate:
        raise InputError(
            f"accumulate = {task.settings.accumulate} leaves less than two of the "
            f"{task.recipe.batch_size} images of a batch; give at most "
            f"{task.recipe.batch_size // 2}"
        )
    for name, guide in guides.items():
        guide.remember(name, len(task.streams()[name]), task.recipe)


def plain(model: nn.Module, task: Task) -> History:
    """Cross-entropy on the one set there is: Baseline (Real) or Baseline (Fake)."""
    return stage(model, task.streams(), task)


def augmented(model: nn.Module, task: Task) -> History:
    """Baseline (Aug.): cross-entropy on uniform draws from both sets together."""
    return stage(model, concatenate(task.real, task.synthetic), task)


def adapted(model: nn.Module, task: Task) -> History:
    """Baseline (Adp.): cross-entropy on synthetic images first, then on real ones."""
    share = task.settings.first_share
    first = stage(model, task.synthetic, task, name="synthetic", share=share)
    second = stage(model, task.real, task, name="real", share=1 - share)
    return one_after_the_other(first, second)


def pretrained_guided(similarity: str) -> Callable[[nn.Module, Task], History]:
    """Return Pretrained Guidance on the one set there is, with L1 or KL (Tables 2 and 3)."""

    def train(model: nn.Module, task: Task) -> History:
        from dataclasses import replace

        ((name, images),) = task.streams().items()
        settings = replace(task.settings, similarity=similarity)
        guides = {name: task.guide}
        _checked(task, guides)
        return stage(model, {name: images}, task, step=guided_step(settings, guides=guides))

    return train


def on_both(
    *, real: bool = False, synthetic: bool = False, combine: Callable[[Settings], Combine] | None
) -> Callable[[nn.Module, Task], History]:
    """Return a training on equal batches of both sets (Table 4, "Ours").

    Args:
        real, synthetic: Pretrained Guidance on that batch (PG-R, PG-F).
        combine: makes the rule that combines the two gradients; None adds them up.
    """

    def train(model: nn.Module, task: Task) -> History:
        guides = {name: task.guide for name, on in (("real", real), ("synthetic", synthetic)) if on}
        _checked(task, guides)
        rule = combine(task.settings) if combine else None
        step = guided_step(task.settings, guides=guides, combine=rule)
        return stage(model, task.streams(), task, step=step)

    return train


def real_guidance(settings: Settings) -> Combine:
    """Return equation 2 with the settings' lambdas."""
    how = {"lambda_1": settings.lambda_1, "lambda_2": settings.lambda_2}
    return lambda parameters, real: real_guidance_(
        parameters, real, per_layer=settings.per_layer, **how
    )


def a_gem(settings: Settings) -> Combine:
    """Return equation 2 with lambda_1 = 0 and lambda_2 = 1 (Chaudhry et al. 2019, eq. 11)."""
    return lambda parameters, real: real_guidance_(
        parameters, real, per_layer=settings.per_layer, lambda_1=0.0, lambda_2=1.0
    )


def pc_grad(settings: Settings) -> Combine:
    """Return PCGrad (Yu et al. 2020), which projects both gradients, out of torchjd."""
    from torchjd.aggregation import PCGrad

    return aggregated(PCGrad())


def aggregated(aggregator: Callable[[Tensor], Tensor]) -> Combine:
    """Return the rule of a torchjd aggregator, a map of the Jacobian [2, P] (real first) to [P].

    It needs three copies of the gradients, where equation 2 needs one.
    """

    def combine(parameters: list[nn.Parameter], real: list[Tensor | None]) -> dict[str, Tensor]:
        def flat(gradients: list[Tensor | None]) -> Tensor:
            return torch.cat(
                [
                    (torch.zeros_like(p) if g is None else g).flatten()
                    for p, g in zip(parameters, gradients, strict=True)
                ]
            )

        update = aggregator(torch.stack([flat(real), flat([p.grad for p in parameters])]))
        sizes = [parameter.numel() for parameter in parameters]
        for parameter, part in zip(parameters, update.split(sizes), strict=True):
            # Laid out in memory as the weights are, which the fused optimisers rely on.
            parameter.grad = torch.empty_like(parameter).copy_(part.view_as(parameter))
        return {}

    return combine
