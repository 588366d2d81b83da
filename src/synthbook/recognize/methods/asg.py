"""ASG: training on synthetic images while keeping to what an ImageNet network says of them.

Chen et al., ICML 2020 (Automated Synthetic-to-Real Generalization), Sec. 3.1: cross-entropy plus
the KL divergence between the ImageNet predictions of the frozen network and those of the trained
body under an ImageNet head of its own, as in learning without forgetting (Li and Hoiem 2016).
That head is a copy of the frozen one and stays as it is, as in the authors' code. Where the
features have another width no copy fits (Table 3 of Wang et al., WACV 2024): the head is new and
is trained along.

As in the authors' code the network is in evaluation mode throughout, so that BatchNorm normalises
by the statistics of its pretraining. A pretrained body comes apart at rates that batch statistics
forgive: the authors train it at a tenth of the heads' learning rate, and so does this. A network
without pretraining has no statistics: their initial values, mean 0 and variance 1, stay, and
BatchNorm is only a scale and a shift. Nothing in it is to be kept, so that its body learns at the
full rate; the authors' code always starts from ImageNet weights. ``plain-eval`` is the control for
both: the same mode and rates, and no loss but the cross-entropy.

Simplified: the second stage, which learns the rates of layers by reinforcement, is left out, as in
Wang et al. 2024; optimiser, schedule, the heads' learning rate and the linear head are those of
the other methods.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from synthbook.randomness import seeded
from synthbook.recognize.methods.guide import Guide
from synthbook.recognize.methods.task import Task, Together, stage
from synthbook.recognize.train import Batches, History, Report, Step, descend, report, trainable

BODY_RATE = 0.1  # of the heads' learning rate, for a pretrained body


def prediction_loss(guide: Tensor, model: Tensor) -> Tensor:
    """Return KL(P || Q) in nats an image, P and Q the softmax of both networks' logits [N, K]."""
    theirs, ours = guide.float().log_softmax(1), model.float().log_softmax(1)
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def imagenet_head(model: nn.Module, guide: Guide, seed: int) -> nn.Linear:
    """Return the head under which ``model`` is compared: a frozen copy of the guide's if it fits.

    Else it is new, to be trained, and its initial weights are a function of ``seed``.
    """
    width = model.head.in_features
    if width == guide.width:
        return copy.deepcopy(guide.network.head).requires_grad_(False)
    with seeded(seed, "asg", "head"):
        return nn.Linear(width, guide.network.num_classes)


def update(loss: Tensor, model: nn.Module, optimizer: Optimizer) -> None:
    """Take one step down ``loss``, a pretrained body of ``model`` at ``BODY_RATE`` of the rate.

    At the first step the body's parameters move to a group of their own; ``fit`` sets the rate of
    the other at each step.
    """
    groups = optimizer.param_groups
    if len(groups) == 1:
        slow = trainable(model.body)
        body = set(map(id, slow))
        groups[0]["params"] = [p for p in groups[0]["params"] if id(p) not in body]
        optimizer.add_param_group({"params": slow})
    groups[1]["lr"] = (BODY_RATE if model.pretrained else 1) * groups[0]["lr"]
    descend(loss, optimizer)


def asg_step(guide: Guide, weight: float) -> Step:
    """Return a step on ``Together(model, imagenet=...)`` with one stream; KL has ``weight``."""

    def step(together: nn.Module, batches: Batches, optimizer: Optimizer) -> Report:
        together.eval()  # ``fit`` sets training mode at the start of each epoch
        ((stream, batch),) = batches.items()
        with torch.no_grad():
            theirs = guide.network.head(guide.of(stream, batch))
        features = together.model.features(batch.images)
        logits = together.model.head(features)
        distance = prediction_loss(theirs, together.imagenet(features))
        loss = F.cross_entropy(logits, batch.labels) + weight * distance
        update(loss, together.model, optimizer)
        return report(loss, logits, batch.labels, prediction_loss=distance.detach())

    return step


def asg(model: nn.Module, task: Task, *, weight: float = 0.1) -> History:
    """Train ``model`` in place by ASG's first stage on the one set there is.

    ``weight`` is that of the KL divergence, which ``extra`` has as 'prediction_loss', in nats.
    """
    task.guide.remember(task.streams(), task.recipe)
    together = Together(model, imagenet=imagenet_head(model, task.guide, task.seed))
    return stage(together, task.streams(), task, step=asg_step(task.guide, weight))
