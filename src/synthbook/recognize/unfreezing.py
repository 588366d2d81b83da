"""Classifier tuning with a share of the image encoder trained, or its batch norm live.

He et al. (2023), Table 3 trains more and more of g from the output side backwards, and Table 6 asks
what it does to leave BatchNorm as it is. Here images are encoded in every step; with nothing of g
trained and frozen batch norm this is `tuning.tune`, only slower.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from synthbook.data.deferred import deferred
from synthbook.errors import InputError, check_choice
from synthbook.recognize.clip import BATCH, Encoder
from synthbook.recognize.ranks import measures
from synthbook.recognize.tuning import Loss, Tuned, TuningRecipe, losses, positions
from synthbook.training import TrainingError

if TYPE_CHECKING:
    from synthbook.data import ImageSet
    from synthbook.data.deferred import Deferred

# frozen: running statistics, gains and offsets stay. live: statistics are the batch's, the running
# ones move, gains and offsets stay. trained: all gains and offsets are trained, too.
BatchNorm = Literal["frozen", "live", "trained"]


@dataclass(frozen=True, eq=False)
class Live:
    """What became of head and encoder.

    ``share`` is that of all parameters of g and W that were trained, between 0 and 1, and
    ``trained`` names those of g. ``network`` is the encoder as it is after the last step.
    """

    tuned: Tuned
    share: float
    trained: tuple[str, ...]
    network: nn.Module


def from_output(network: nn.Module, views: Tensor) -> list[str]:
    """Return the names of a network's parameters, those next to its output first.

    That is the order in which their gradients arrive; what the output does not depend on is left
    out. ``views`` are images as the network sees them.
    """
    network = copy.deepcopy(network).eval().requires_grad_(True)
    found: list[str] = []
    for name, parameter in network.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda _, name=name: found.append(name))
    network(views).sum().backward()
    return found


def unfreeze(
    network: nn.Module, views: Tensor, share: float, classifier: int, batch_norm: BatchNorm
) -> tuple[tuple[str, ...], float]:
    """Let a share of a network train; return the names of its parameters, and the share that it is.

    Whole weights are taken from the output side backwards until they and a ``classifier`` of so
    many numbers reach ``share`` of all. The least is the classifier alone.
    """
    named = dict(network.requires_grad_(False).named_parameters())
    gains = {
        f"{name}.{kind}" for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) for kind, _ in module.named_parameters(recurse=False)
    }  # fmt: skip
    total = classifier + sum(p.numel() for p in named.values())
    chosen = sorted(gains) if batch_norm == "trained" else []
    trained = classifier + sum(named[name].numel() for name in chosen)
    for name in from_output(network, views):
        if trained >= share * total:
            break
        if name not in gains:
            chosen.append(name)
            trained += named[name].numel()
    for name in chosen:
        named[name].requires_grad_(True)
    return tuple(chosen), trained / total


def tune_live(
    look: Encoder, images: ImageSet | Deferred, start: np.ndarray, recipe: TuningRecipe, *,
    seed: int, share: float = 0.0, batch_norm: BatchNorm = "frozen", loss: Loss = "CE",
    teacher: np.ndarray | None = None, encoder_rate: float | None = None, part: str = "synthetic",
    validation: ImageSet | Deferred | None = None, test: ImageSet | Deferred | None = None,
) -> Live:  # fmt: skip
    """Train a head, and as much of the encoder as ``share`` says; ``look`` itself stays as it is.

    Args:
        look: whose image tower is copied.
        images: real or synthetic ones, all of one ``part``: the stream that their order is from.
            Those that no memory holds, here and below, are read a batch at a time.
        start: unit rows [K, D].
        recipe: as for `tuning.tune`.
        seed: of the order of images.
        share: of the parameters of g and W to be trained, between 0 and 1 (`unfreeze`).
        batch_norm: frozen, live or trained, as above.
        loss: "CE", or "SCE" with the ``teacher`` head on the encoder as it was.
        teacher: the zero-shot head.
        encoder_rate: learning rate of g at the start; that of the recipe by default.
        validation: measured now and then; of equals the first measurement is the best.
        test: measured beside it; it chooses nothing.

    Raises:
        InputError: for a share out of range, batch norm that the encoder has not, SCE without a
            teacher, and images or heads that do not fit.
        TrainingError: if weights are no longer finite.
    """
    check_choice("batch_norm", batch_norm, get_args(BatchNorm))
    check_choice("loss", loss, get_args(Loss))
    network = copy.deepcopy(look.model.visual)
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if not 0 <= share <= 1:
        raise InputError(f"share = {share}; give the part of all parameters, from 0 to 1")
    if batch_norm != "frozen" and not norms:
        raise InputError(
            f"batch_norm = '{batch_norm}', but '{look.name}' has none; take 'frozen', or a ResNet"
        )
    if loss == "SCE" and teacher is None:
        raise InputError("loss 'SCE' needs a teacher, the zero-shot head; give one, or loss 'CE'")
    if not len(images) or len(start) != images.num_classes:
        raise InputError(
            f"'{images.name}' has {len(images)} images of {images.num_classes} classes, and the "
            f"head {len(start)} rows; give an image and a row for each class"
        )
    images = deferred(images)
    few = look.view(images.read(np.arange(min(2, len(images)))))
    trained, reached = unfreeze(network, few, share, start.size, batch_norm)
    weights, factor = _start(start, recipe, look)
    groups = [{"params": [weights], "lr": recipe.learning_rate}]
    moving = [p for p in network.parameters() if p.requires_grad]
    if moving:
        groups += [{"params": moving, "lr": encoder_rate or recipe.learning_rate}]
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=True)
    highest = [group["lr"] / recipe.learning_rate for group in optimizer.param_groups]
    taught = None if teacher is None or loss == "CE" else torch.from_numpy(teacher).to(look.device)
    order = positions(len(images), recipe.steps, recipe.batch_size, seed=seed, part=part)
    labels = torch.from_numpy(images.labels).to(look.device)
    curve, best = [], None
    for step in range(recipe.steps + 1):
        # Measure now and then.
        if step % recipe.measure_every == 0 or step == recipe.steps:
            network.eval()
            head = _columns(weights, recipe).detach() * (factor / look.scale)
            rated = [_top1(look, network, head, some) for some in (validation, test)]
            curve.append((step, *rated))
            if best is None or rated[0] > best[0]:
                best = rated[0], head.cpu().numpy()
        if step == recipe.steps:
            break

        # One step of AdamW on a batch of views.
        for module in norms:
            module.train(batch_norm != "frozen")
        rows = order[step]
        views, y = look.view(images.read(rows.numpy())), labels[rows.to(look.device)]
        x = F.normalize(network(views).float(), dim=1)
        targets = None if taught is None else _targets(look, views, taught, recipe)
        logits = factor * x @ _columns(weights, recipe).T
        total = losses(logits, y, recipe.soft_share, targets).mean()
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_([weights, *moving], recipe.clip_norm)
        for group, high in zip(optimizer.param_groups, highest, strict=True):
            group["lr"] = high * recipe.rate(step, recipe.steps)
        optimizer.step()
    if not all(p.isfinite().all() for p in [weights, *moving]):
        raise TrainingError(
            f"a weight is no longer finite after {recipe.steps} steps: lower learning_rate"
        )
    steps, seen, tested = zip(*curve, strict=True)
    last = head.cpu().numpy()
    chosen = last if validation is None else best[1]
    tuned = Tuned(steps, np.array(seen), np.array(tested), last, chosen)
    return Live(tuned, reached, trained, network.eval().requires_grad_(False))


def _start(start: np.ndarray, recipe: TuningRecipe, look: Encoder) -> tuple[Tensor, float]:
    """Return W as it is trained, and what its logits are multiplied by."""
    weights = torch.from_numpy(start).float().to(look.device)
    scaled = recipe.columns == "scaled"
    weights = (weights * look.scale if scaled else weights.clone()).requires_grad_()
    return weights, 1.0 if scaled else look.scale


def _columns(weights: Tensor, recipe: TuningRecipe) -> Tensor:
    return F.normalize(weights, dim=1) if recipe.columns == "unit" else weights


@torch.no_grad()
def _targets(look: Encoder, views: Tensor, teacher: Tensor, recipe: TuningRecipe) -> Tensor:
    """Return the scores of the encoder as it was, normalised, [N, K]."""
    x = look.model.encode_image(views, normalize=True).float()
    return (look.scale / recipe.temperature * x @ teacher.T).softmax(1)


@torch.no_grad()
def _top1(
    look: Encoder, network: nn.Module, head: Tensor, images: ImageSet | Deferred | None
) -> float:
    """Return top-1 in percent by the network as it is, NaN without images."""
    if images is None:
        return float("nan")
    of, count = deferred(images), len(images)
    parts = (np.arange(k, min(k + BATCH, count)) for k in range(0, count, BATCH))
    found = [
        F.normalize(network(look.view(of.read(part))).float(), dim=1) @ head.T for part in parts
    ]
    return measures(torch.cat(found).cpu(), images.labels)["top1"]
