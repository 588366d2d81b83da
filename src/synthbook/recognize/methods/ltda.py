"""LTDA: synthetic images weighted by how much each helps on real ones.

Jamal et al., CVPR 2020, Algorithm 1. First cross-entropy on synthetic images. Then in each update
an image has the loss weight w_y + epsilon_i: w_y balances the classes by their effective numbers
(Cui et al., CVPR 2019), and epsilon_i is learnt. From epsilon = 0 a trial step is taken down the
weighted loss of the synthetic batch, the loss of a real batch is measured there, and epsilon
takes one step of size ``meta_rate`` down its gradient; only then the network is updated, with the
new weights. They are neither clipped nor normalised, and they are forgotten after the update, as
in the paper. The real images are its development set: the network is never fitted to them.

As in the authors' code the trial goes down the sum of the weighted losses, so that a weight does
not depend on the batch size: epsilon_i = meta_rate * learning_rate * <g_i, g_real>. The pass over
real images leaves BatchNorm's running statistics alone.

Simplified: the trial is a plain step with the recipe's learning rate, also where the recipe's
optimiser is not SGD; cross-entropy is the only loss.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from synthbook.recognize.batches import Batch
from synthbook.recognize.methods.task import Task, first_stage, stage
from synthbook.recognize.train import Batches, History, Report, Step, descend, report

BETA = 0.9999  # of the effective numbers, as in the authors' code


def class_balanced_weights(labels: Iterable[int], num_classes: int, beta: float = BETA) -> Tensor:
    """Return w_y, [K], of mean 1 over the classes that there are (Cui et al. 2019, Proposition 1).

    A class of n images has the effective number (1 - beta^n) / (1 - beta), and a weight inversely
    proportional to it; an absent class has weight 0.
    """
    counts = torch.bincount(torch.as_tensor(labels).long(), minlength=num_classes).double()
    there = counts > 0
    inverse = torch.where(there, (1 - beta) / (1 - beta ** counts.clamp_min(1)), 0)
    return (inverse * there.sum() / inverse.sum()).float()


def learnt_weights(
    model: nn.Module, losses: Tensor, weights: Tensor, real: Batch, *,
    learning_rate: float, meta_rate: float,
) -> Tensor:  # fmt: skip
    """Return w_y + epsilon_i of a synthetic batch, [N], without a graph.

    ``losses`` are those of its images under ``model``, [N], with their graph, which is kept, and
    ``weights`` their w_y. The trial network, one step of ``learning_rate`` away, is measured on
    ``real``; ``meta_rate`` is the step size of epsilon. Nothing in the model changes.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    epsilon = torch.zeros_like(weights, requires_grad=True)
    total = ((weights + epsilon) * losses).sum()
    gradients = torch.autograd.grad(total, list(named.values()), create_graph=True)
    steps = zip(named.items(), gradients, strict=True)
    trial = {name: weight - learning_rate * gradient for (name, weight), gradient in steps}
    # BatchNorm counts into copies, so that real images do not enter the network's statistics.
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    logits = torch.func.functional_call(model, (trial, buffers), (real.images,))
    (slope,) = torch.autograd.grad(F.cross_entropy(logits, real.labels), epsilon)
    return weights - meta_rate * slope


def ltda_step(class_weights: Tensor, meta_rate: float) -> Step:
    """Return a step on a classifier with the streams 'real' and 'synthetic'; w_y is [K]."""

    def step(model: nn.Module, batches: Batches, optimizer: Optimizer) -> Report:
        synthetic = batches["synthetic"]
        logits = model(synthetic.images)
        losses = F.cross_entropy(logits, synthetic.labels, reduction="none")
        balanced = class_weights.to(losses.device)[synthetic.labels]
        rates = {"learning_rate": optimizer.param_groups[0]["lr"], "meta_rate": meta_rate}
        weights = learnt_weights(model, losses, balanced, batches["real"], **rates)
        loss = (weights * losses).mean()
        descend(loss, optimizer)
        return report(loss, logits, synthetic.labels)

    return step


def ltda(
    model: nn.Module, task: Task, *,
    meta_rate: float = 0.01, first_share: float = 0.75, second_stage: str = "epochs",
) -> History:  # fmt: skip
    """Train ``model`` in place by LTDA: cross-entropy, then learnt weights, on synthetic images.

    In the second stage the loss of the curves is the weighted one.
    """
    first = first_stage(model, task, first_share)
    balanced = class_balanced_weights(task.synthetic.labels, task.synthetic.num_classes)
    step = ltda_step(balanced, meta_rate)
    rest = {"share": 1 - first_share, "of": second_stage}
    return first + stage(model, task.streams(), task, name="weighted", step=step, **rest)
