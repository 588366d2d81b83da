"""ADDA: a body for real images whose features look like those of synthetic ones.

Tzeng et al., CVPR 2017, Sec. 4 (eq. 9). First a classifier is trained on synthetic images. Then a
copy of its body is trained on real images without labels: a discriminator tells synthetic
features of the frozen first body from real features of the copy, and the copy is trained with
inverted labels to be taken for the first. The head stays as it was.

The frozen body is in evaluation mode. In the other one only real images reach BatchNorm.

Both step at once, at a fifth of the recipe's learning rate, as in the authors' code (0.001, then
0.0002): at the full rate a few dozen updates ruin the body.

Simplified: the recipe's optimiser, where the paper lowers Adam's first momentum to 0.5; the
discriminator has two hidden layers of discriminator_width, not of 500.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from synthbook.recognize.methods.dann import domain_classifier
from synthbook.recognize.methods.task import Task, Together, first_stage, stage
from synthbook.recognize.train import Batches, History, Report, Step, report, trainable

RATE = 0.2  # of the recipe's learning rate, in the second stage


def mapping_loss(logits: Tensor, told: float = 1.0) -> Tensor:
    """Return the mean cross-entropy of logits [N, 1] with one label ``told`` for all, in nats.

    Of the target's logits and the source's label, 1, it is L_adv_M of eq. 9.
    """
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, told))


def discriminator_loss(source: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy of telling source (1) from target (0), half of L_adv_D."""
    return (mapping_loss(source, 1.0) + mapping_loss(target, 0.0)) / 2


def adda_step(source: nn.Module, weight: float = 1.0) -> Step:
    """Return a step on ``Together(model, domain=...)`` with the streams 'real' and 'synthetic'.

    ``source`` is the frozen classifier whose features are imitated, in evaluation mode, ``weight``
    that of the mapping loss. Real labels are read for the reported accuracy and nothing else.
    """

    def step(together: nn.Module, batches: Batches, optimizer: Optimizer) -> Report:
        model, domain, real = together.model, together.domain, batches["real"]
        with torch.no_grad():
            theirs = source.features(batches["synthetic"].images)
        ours = model.features(real.images)
        guesses = domain(ours).float()
        telling = discriminator_loss(domain(theirs).float(), guesses)
        fooling = mapping_loss(guesses)
        optimizer.zero_grad(set_to_none=True)
        telling.backward(inputs=trainable(domain), retain_graph=True)
        (weight * fooling).backward(inputs=trainable(model.body))  # the head gets none
        optimizer.step()
        with torch.no_grad():
            logits = model.head(ours)
        return report(telling + fooling, logits, real.labels)

    return step


def adda(
    model: nn.Module, task: Task, *,
    adversarial_weight: float = 1.0, discriminator_width: int = 64, first_share: float = 0.75,
    second_stage: str = "epochs",
) -> History:  # fmt: skip
    """Train ``model`` in place by ADDA: cross-entropy on synthetic images, then adversarially.

    It ends up with the body for real images and the head of the first stage. In the second stage
    the loss of the curves is that of the discriminator and of the body together, the accuracy
    that on real training images.
    """
    first = first_stage(model, task, first_share)
    source = copy.deepcopy(model).eval().requires_grad_(False)
    domain = domain_classifier(model, discriminator_width, task.seed, "adda")
    slower = replace(task.recipe, learning_rate=RATE * task.recipe.learning_rate)
    together, task = Together(model, domain=domain), replace(task, recipe=slower)
    rest = {"share": 1 - first_share, "of": second_stage}
    step = adda_step(source, adversarial_weight)
    return first + stage(together, task.streams(), task, name="adversarial", step=step, **rest)
