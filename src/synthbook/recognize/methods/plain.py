"""Plain training: the baselines of Wang et al. (WACV 2024), on one set, on both mixed, in turn."""

from __future__ import annotations

from torch import nn

from synthbook.data import concatenate
from synthbook.recognize.methods.task import Task, stage
from synthbook.recognize.train import History


def plain(model: nn.Module, task: Task) -> History:
    """Cross-entropy on the one set there is: Baseline (Real) or Baseline (Fake)."""
    return stage(model, task.streams(), task)


def aug(model: nn.Module, task: Task) -> History:
    """Baseline (Aug.): cross-entropy on uniform draws from both sets together."""
    return stage(model, concatenate(task.real, task.synthetic), task)


def adp(model: nn.Module, task: Task, *, first_share: float = 0.75) -> History:
    """Baseline (Adp.): cross-entropy on synthetic images first, then on real ones.

    ``first_share`` of the updates are on synthetic images: 150 of 200 epochs in the paper.
    """
    first = stage(model, task.synthetic, task, name="synthetic", share=first_share)
    second = stage(model, task.real, task, name="real", share=1 - first_share)
    return first + second
