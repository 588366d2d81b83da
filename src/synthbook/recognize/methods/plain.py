"""Plain training: the baselines of Wang et al. (WACV 2024), on one set, on both mixed, in turn."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer

from synthbook.data import concatenate
from synthbook.recognize.methods.asg import update
from synthbook.recognize.methods.task import Task, first_stage, stage
from synthbook.recognize.train import Batches, History, Report, joined, report


def plain(model: nn.Module, task: Task) -> History:
    """Cross-entropy on the one set there is: Baseline (Real) or Baseline (Fake)."""
    (images,) = task.streams().values()
    return stage(model, {"train": images}, task)


def aug(model: nn.Module, task: Task) -> History:
    """Baseline (Aug.): cross-entropy on uniform draws from both sets together."""
    return stage(model, {"train": concatenate(task.real, task.synthetic)}, task)


def adp(
    model: nn.Module, task: Task, *, first_share: float = 0.75, second_stage: str = "epochs"
) -> History:
    """Baseline (Adp.): cross-entropy on synthetic images first, then on real ones.

    ``first_share`` of the time is for synthetic images, 150 of 200 epochs in the paper. The rest,
    ``second_stage``, is as large a share of the recipe's 'epochs', now over the real images, which
    are few updates where these are few; or of the 'updates', which are many epochs then.
    """
    first = first_stage(model, task, first_share)
    rest = {"share": 1 - first_share, "of": second_stage}
    return first + stage(model, {"real": task.real}, task, name="real", **rest)


def _evaluation_step(model: nn.Module, batches: Batches, optimizer: Optimizer) -> Report:
    model.eval()  # ``fit`` sets training mode at the start of each epoch
    images, labels = joined(batches)
    logits = model(images)
    loss = F.cross_entropy(logits, labels)
    update(loss, model, optimizer)
    return report(loss, logits, labels)


def plain_eval(model: nn.Module, task: Task) -> History:
    """Cross-entropy on the one set there is, but in evaluation mode and at the rates of ASG."""
    return stage(model, task.streams(), task, step=_evaluation_step)
