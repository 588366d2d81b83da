from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from synthbook.data import ImageSet
from synthbook.recognize.batches import Batch
from synthbook.recognize.methods import adda as module
from synthbook.recognize.methods.adda import RATE, adda, adda_step, discriminator_loss, mapping_loss
from synthbook.recognize.methods.dann import domain_classifier
from synthbook.recognize.methods.task import Task, Together, first_stage, stage
from synthbook.recognize.predict import accuracy


def test_losses() -> None:
    source, target = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [-1.0]])
    told = [math.log(2), math.log(1 + math.exp(-2)), math.log(2), math.log(1 + math.exp(-1))]
    assert discriminator_loss(source, target) == pytest.approx(np.mean(told))
    hidden = [math.log(2), math.log(1 + math.e)]
    assert mapping_loss(target) == pytest.approx(np.mean(hidden))


def test_one_step_moves_the_body_and_the_discriminator_and_nothing_else(
    classifier, task, batches, weights
) -> None:
    model, two, weight, rate = classifier(), batches(), 3.0, 0.5
    source = copy.deepcopy(model).eval()
    together = Together(model, domain=domain_classifier(model, 64, 0, "adda"))
    twin = copy.deepcopy(together)
    theirs = source.features(two["synthetic"].images).detach()
    ours = twin.model.features(two["real"].images)
    ones, zeros = torch.ones(12, 1), torch.zeros(12, 1)
    told = F.binary_cross_entropy_with_logits(
        twin.domain(torch.cat([theirs, ours.detach()])), torch.cat([ones, zeros])
    )
    fooled = F.binary_cross_entropy_with_logits(twin.domain(ours), ones)
    of_domain = torch.autograd.grad(told, list(twin.domain.parameters()))
    of_body = torch.autograd.grad(fooled, list(twin.model.body.parameters()))
    kept = weights(source), weights(model.head)
    optimizer = torch.optim.SGD(together.parameters(), lr=rate)
    found = adda_step(source, weight)(together, two, optimizer)
    assert found["loss"] == pytest.approx((told + fooled).item(), rel=1e-5)
    assert torch.equal(weights(source), kept[0])
    assert torch.equal(weights(model.head), kept[1])
    for part, old, gradients, factor in (
        (together.domain, twin.domain, of_domain, rate),
        (model.body, twin.model.body, of_body, rate * weight),
    ):
        for new, was, slope in zip(part.parameters(), old.parameters(), gradients, strict=True):
            moved = (was - new).detach()
            torch.testing.assert_close(moved, factor * slope, rtol=1e-3, atol=1e-5)


def test_only_real_images_reach_batch_norm_in_the_second_stage(
    classifier, task, batches, weights
) -> None:
    model, two = classifier(), batches()
    other = copy.deepcopy(two)
    other["synthetic"] = Batch(
        other["synthetic"].images.flip(3), other["synthetic"].labels, other["synthetic"].indices
    )
    found = []
    for some in (two, other):
        network = copy.deepcopy(model)
        together = Together(network, domain=domain_classifier(network, 64, 0, "adda"))
        optimizer = torch.optim.SGD(together.parameters(), lr=0.0)
        adda_step(copy.deepcopy(model).eval())(together, some, optimizer)
        found.append(weights(network))
    assert torch.equal(*found)
    assert not torch.equal(found[0], weights(model))


def test_the_head_is_that_of_the_first_stage_and_the_body_is_not(classifier, task, weights) -> None:
    model, first = classifier(), classifier()
    history = adda(model, task(), second_stage="updates")
    first_stage(first, task(), share=0.75)
    assert torch.equal(weights(model.head), weights(first.head))
    assert not torch.equal(weights(model.body), weights(first.body))
    assert all(p.requires_grad for p in model.parameters())
    assert len(history.train_loss) == 6 + 2
    assert history.images == 6 * 128 + 2 * 2 * 128


def test_the_second_stage_imitates_a_frozen_copy_at_a_fifth_of_the_rate(
    monkeypatch: pytest.MonkeyPatch, classifier, task, weights
) -> None:
    rates, sources = [], []

    def stage_(model: nn.Module, streams: Any, some: Task, **options: Any) -> Any:
        rates.append(some.recipe.learning_rate)
        return stage(model, streams, some, **options)

    def step_(source: nn.Module, weight: float) -> Any:
        sources.append((source, weights(source)))
        return adda_step(source, weight)

    monkeypatch.setattr(module, "stage", stage_)
    monkeypatch.setattr(module, "adda_step", step_)
    adda(model := classifier(), task())
    assert rates == pytest.approx([0.003 * RATE])
    ((source, before),) = sources
    assert source is not model
    assert not source.training
    assert torch.equal(weights(source), before)


def test_it_learns_without_real_labels(classifier, task, quadrants, weights) -> None:
    few, test = quadrants(24, 1, 110), quadrants(100, 9, 110)
    adda(model := classifier(), task(updates=64), second_stage="updates")
    assert accuracy(model, test) > 90
    mislabelled = ImageSet(few.images, (few.labels + 1) % 4, few.classes, "x")
    adda(other := classifier(), task(real=mislabelled, updates=64), second_stage="updates")
    assert torch.equal(weights(model), weights(other))
    adda(other := classifier(), task(updates=64), discriminator_width=8, second_stage="updates")
    assert not torch.equal(weights(model), weights(other))
