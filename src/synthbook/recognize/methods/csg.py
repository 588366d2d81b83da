"""CSG: training on synthetic images with a contrast against an ImageNet network's features.

Chen et al., ICLR 2021 (Contrastive Syn-to-Real Generalization): cross-entropy plus InfoNCE.
The query is the projected feature of an image in the trained network, the positive key that of
the same image in the frozen pretrained one, the negative keys those of other images: of the batch
and of a queue of earlier ones. Keys have a projection head of their own, an exponential moving
average of the queries' (He et al. 2020, MoCo). Features are pooled by attention: a position
counts as much as it agrees with the mean over all; the frozen map is pooled by the attention of
the trained one, as in the authors' code. A network without a map before an average pooling has
its pooled features compared, and so has one whose map is a single position.

As in the authors' code the network is in evaluation mode throughout and a pretrained body learns
at a tenth of the heads' rate; ``asg`` says more.

Simplified: only the last feature map is contrasted, not the last two stages; query and key see one
view, without RandAugment; the queue is short, starts empty, never holds an image against itself,
and the rest of the batch joins it; optimiser, schedule, the heads' learning rate and the linear
head are those of the other methods.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from synthbook.errors import InputError
from synthbook.randomness import seeded
from synthbook.recognize.batches import Batch, resized
from synthbook.recognize.methods.asg import update
from synthbook.recognize.methods.guide import Guide, full
from synthbook.recognize.methods.task import Task, Together, stage
from synthbook.recognize.models import Classifier
from synthbook.recognize.train import Batches, History, Report, Step, report

PROJECTED = 128  # width of keys and queries


def latest(older: Tensor, new: Tensor, size: int) -> Tensor:
    """Return the last ``size`` rows of [M, ...] followed by [N, ...]: first in, first out."""
    both = torch.cat([older.to(new), new])
    return both[max(0, len(both) - size) :]


def info_nce(
    queries: Tensor, keys: Tensor, older: Tensor, *, temperature: float, same: Tensor
) -> Tensor:
    """Return the mean cross-entropy of finding each query's key among all, in nats.

    Row k of ``queries`` and ``keys``, unit vectors [N, D], belongs to one image; ``older`` are
    further keys [M, D]. Beside the positive, keys of the query's own image, as ``same``
    [N, N + M] says, are left out. Cosines are divided by ``temperature``, and keep their
    precision also under autocast: of eight bits they would be off by hundredths after that.
    """
    with torch.autocast(queries.device.type, enabled=False):
        scores = queries @ torch.cat([keys, older.to(keys)]).T / temperature
    positive = torch.arange(len(queries), device=scores.device)
    twice = same.clone()
    twice[positive, positive] = False
    return F.cross_entropy(scores.masked_fill(twice, float("-inf")), positive)


def attention(feature_map: Tensor) -> Tensor:
    """Return weights [N, H, W] of the positions of [N, C, H, W]; those of an image add up to 1.

    A weight is proportional to the product of the position's vector with the mean vector; below 0
    it counts as 0. Where all are 0 all positions weigh the same.
    """
    agreement = torch.einsum("nchw,nc->nhw", feature_map, feature_map.mean((2, 3))).clamp_min(0)
    total = agreement.sum((1, 2), keepdim=True)
    even = torch.full_like(agreement, 1 / agreement[0].numel())
    return torch.where(total > 0, agreement / torch.where(total > 0, total, 1), even)


def pooled(feature_map: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean [N, C] of [N, C, H, W] over positions.

    Weights [N, h, w] of another size are resized bilinearly and made to add up to 1 again.
    """
    if weights.shape[1:] != feature_map.shape[2:]:
        fitted = F.interpolate(weights[:, None], size=feature_map.shape[2:], mode="bilinear")
        weights = fitted[:, 0] / fitted.sum((2, 3))[..., None]
    return torch.einsum("nchw,nhw->nc", feature_map, weights)


def with_map(network: Classifier, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the features [N, D] of images, and the map before pooling.

    The map [N, D, H, W] is what enters the body's last average pooling meanwhile; None if there is
    no such layer, if layers after it change the width, or if there is a single position.
    """
    pools = [layer for layer in network.body.modules() if isinstance(layer, nn.AdaptiveAvgPool2d)]
    if not pools:
        return network.features(images), None
    entered: list[Tensor] = []
    with pools[-1].register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0])):
        features = network.features(images)
    fits = len(entered) == 1 and entered[0].shape[:2] == features.shape
    return features, entered[0].float() if fits and entered[0][0, 0].numel() > 1 else None


def projection(width: int, seed: int) -> nn.Sequential:
    """Return the head of two layers from features [N, width] to [N, 128]."""
    with seeded(seed, "csg", "projection"):
        return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, PROJECTED))


@torch.no_grad()
def _frozen_features(guide: Guide, stream: str, batch: Batch, weights: Tensor | None) -> Tensor:
    """Return the frozen features [N, D], pooled by ``weights`` where there is a map."""
    if weights is None:  # average pooling, which the guide keeps
        return guide.of(stream, batch)
    features, feature_map = with_map(guide.network, resized(full(batch), guide.input_size))
    return features if feature_map is None else pooled(feature_map, weights)


def csg_step(
    guide: Guide, *, weight: float, temperature: float, momentum: float, queue: int
) -> Step:
    """Return a step on ``Together(model, queries=..., keys=...)`` with one stream.

    ``weight`` and ``temperature`` are the contrast's, ``momentum`` is of the keys' head, and
    ``queue`` says how many earlier keys are negatives too.
    """
    older, of_images = torch.zeros(0, PROJECTED), torch.zeros(0, dtype=torch.long)

    def step(together: nn.Module, batches: Batches, optimizer: Optimizer) -> Report:
        nonlocal older, of_images
        together.eval()  # ``fit`` sets training mode at the start of each epoch
        ((stream, batch),) = batches.items()
        model = together.model
        features, feature_map = with_map(model, batch.images)
        logits = model.head(features)
        weights = None if feature_map is None else attention(feature_map)
        seen = features if feature_map is None else pooled(feature_map, weights)
        queries = F.normalize(together.queries(seen).float(), dim=1)
        heads = together.keys.parameters(), together.queries.parameters()
        with torch.no_grad():
            for slow, fast in zip(*heads, strict=True):
                slow.lerp_(fast, 1 - momentum)
            frozen = _frozen_features(guide, stream, batch, weights)
            keys = F.normalize(together.keys(frozen).float(), dim=1)
            known = torch.cat([batch.indices, of_images.to(batch.indices)])
            same = batch.indices[:, None] == known
        contrast = info_nce(queries, keys, older, temperature=temperature, same=same)
        older, of_images = latest(older, keys, queue), latest(of_images, batch.indices, queue)
        loss = F.cross_entropy(logits, batch.labels) + weight * contrast
        update(loss, model, optimizer)
        return report(loss, logits, batch.labels, contrast=contrast.detach())

    return step


def csg(
    model: nn.Module, task: Task, *,
    weight: float = 0.1, temperature: float = 0.07, momentum: float = 0.999, queue: int = 1024,
) -> History:  # fmt: skip
    """Train ``model`` in place by CSG on the one set there is; its numbers are ``csg_step``'s.

    With a ``queue`` of 0 the other images of the batch are the only negatives. ``extra`` has
    'contrast', the InfoNCE loss in nats.

    Raises:
        InputError: if the features of the network and of the guide differ in width.
    """
    width = model.head.in_features
    if width != task.guide.width:
        raise InputError(
            f"method 'CSG' needs a guide of the structure of the trained network and their "
            f"features have widths {task.guide.width} and {width}; give both one backbone, or "
            f"take ASG or PG-KL"
        )
    task.guide.remember(task.streams(), task.recipe)
    queries = projection(width, task.seed)
    keys = copy.deepcopy(queries).requires_grad_(False)
    together = Together(model, queries=queries, keys=keys)
    numbers = {"weight": weight, "temperature": temperature, "momentum": momentum, "queue": queue}
    return stage(together, task.streams(), task, step=csg_step(task.guide, **numbers))
