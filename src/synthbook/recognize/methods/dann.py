"""DANN: domain-adversarial training of a classifier by gradient reversal.

Ganin and Lempitsky, ICML 2015, and Ganin et al., JMLR 2016, Sec. 4 and 5. A domain classifier
tells real features from synthetic ones; the gradient that it sends back is reversed, so that the
body learns features that it cannot tell apart. Here the few real labels count in the
classification loss too: of the methods of Wang et al. (WACV 2024) only ADDA and DADA do without.

Both batches pass the network together, so that BatchNorm normalises them alike.

The learning rate is the recipe's for all parts, annealed as in the paper: while lambda_p grows the
steps shrink, without which the reversed gradient can undo the body.

Simplified: body, head and domain classifier share the recipe's optimiser, which need not be the
paper's SGD; the domain classifier has two hidden layers of discriminator_width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from synthbook.randomness import seeded
from synthbook.recognize.batches import Batch
from synthbook.recognize.methods.task import Task, Together, stage
from synthbook.recognize.train import Batches, History, Report, Step, descend, joined, report


def reverse_gradient(features: Tensor, scale: float) -> Tensor:
    """Return ``features``; on the way back the gradient is multiplied by ``-scale``."""
    same = features.view_as(features)
    same.register_hook(lambda gradient: -scale * gradient)
    return same


def schedule(progress: float) -> float:
    """Return lambda_p, from 0 at p = 0 to nearly 1 at p = 1 (JMLR 2016, Sec. 5.2.2, gamma = 10)."""
    return 2 / (1 + math.exp(-10 * progress)) - 1


def annealing(progress: float) -> float:
    """Return the factor (1 + 10 p)^-0.75 on the learning rate (JMLR 2016, Sec. 5.2.2)."""
    return (1 + 10 * progress) ** -0.75


def progresses(updates: float) -> Iterator[float]:
    """Yield p of one update after the other, 0 in the first and 1 after ``updates`` of them."""
    return (min(1.0, number / updates) for number in itertools.count())


def annealed(optimizer: Optimizer, progress: float) -> None:
    """Multiply the learning rates, which ``fit`` sets anew in each step, by ``annealing``."""
    for group in optimizer.param_groups:
        group["lr"] *= annealing(progress)


def domain_classifier(model: nn.Module, width: int, seed: int, purpose: str) -> nn.Sequential:
    """Return two hidden layers and one logit on the pooled features of ``model``.

    ``width`` is of the hidden layers; initial weights are drawn from ``seed`` and ``purpose``.
    """
    with seeded(seed, purpose, "domain"):
        first, second = nn.Linear(model.head.in_features, width), nn.Linear(width, width)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(width, 1))


def domains(batches: Mapping[str, Batch]) -> Tensor:
    """Return 1 for synthetic and 0 for real images, [N], in the order of ``joined``."""
    parts = [torch.full_like(b.labels, name == "synthetic") for name, b in batches.items()]
    return torch.cat(parts).float()


def dann_step(progress: Iterator[float], weight: float = 1.0) -> Step:
    """Return a step on ``Together(model, domain=...)`` with the streams 'real' and 'synthetic'.

    It goes down L_y + L_d, where the body receives the gradient of L_d times -weight * lambda_p
    (JMLR 2016, eq. 18). The domain classifier itself always learns at full rate, as in the
    paper's experiments. ``progress`` gives p of one step after the other.
    """

    def step(together: nn.Module, batches: Batches, optimizer: Optimizer) -> Report:
        images, labels = joined(batches)
        features = together.model.features(images)
        logits = together.model.head(features)
        p, wanted = next(progress), domains(batches)
        reversed_features = reverse_gradient(features, weight * schedule(p))
        guesses = together.domain(reversed_features).squeeze(1).float()
        domain_loss = F.binary_cross_entropy_with_logits(guesses, wanted)
        loss = F.cross_entropy(logits, labels) + domain_loss
        annealed(optimizer, p)
        descend(loss, optimizer)
        right = ((guesses.detach() > 0) == (wanted > 0)).float().mean()
        extra = {"domain_loss": domain_loss.detach(), "domain_accuracy": right}
        return report(loss, logits, labels, **extra)

    return step


def dann(
    model: nn.Module, task: Task, *, adversarial_weight: float = 1.0, discriminator_width: int = 64
) -> History:
    """Train ``model`` in place by DANN, in one stage, on equal batches of both sets.

    ``extra`` has 'domain_loss' (nats) and 'domain_accuracy' (0 to 1).
    """
    domain = domain_classifier(model, discriminator_width, task.seed, "dann")
    step = dann_step(progresses(task.updates), adversarial_weight)
    return stage(Together(model, domain=domain), task.streams(), task, step=step)
