from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthbook.data import ImageSet
from synthbook.recognize.batches import Batch, as_input
from synthbook.recognize.methods import adda as module
from synthbook.recognize.methods.adda import (
    RATE,
    adda,
    adda_step,
    discriminator_loss,
    mapping_loss,
)
from synthbook.recognize.methods.dann import domain_classifier
from synthbook.recognize.methods.task import Settings, Task, Together, stage
from synthbook.recognize.models import Classifier, create_classifier
from synthbook.recognize.train import Recipe, accuracy

CLASSES = tuple("abcd")
RECIPE = Recipe(epochs=8, batch_size=32, learning_rate=0.003)


def quadrants(count: int, seed: int, brightness: int = 200) -> ImageSet:
    """Return images of 8 px with one bright quadrant, which is the class, in noise."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    images = draw.integers(0, 60, (count, 8, 8, 1))
    for image, label in zip(images, labels, strict=True):
        top, left = 4 * (label // 2), 4 * (label % 2)
        image[top : top + 4, left : left + 4] += brightness - 60
    return ImageSet(images.astype(np.uint8), labels, CLASSES, "quadrants")


def classifier() -> Classifier:
    return create_classifier("small_cnn", num_classes=4, channels=1, image_size=8, seed=0)


def task(**changes: Any) -> Task:
    """Return 8 epochs of 4 updates on bright synthetic images and 24 dim real ones."""
    sets = {"real": quadrants(24, 1, 110), "synthetic": quadrants(128, 2)}
    return Task(**({"recipe": RECIPE, "updates": 32, "seed": 0, **sets} | changes))


def batches(count: int = 12) -> dict[str, Batch]:
    """Return a batch of either set."""
    return {
        name: Batch(as_input(torch.tensor(s.images)), torch.tensor(s.labels), torch.arange(count))
        for name, s in (("real", quadrants(count, 3, 110)), ("synthetic", quadrants(count, 4)))
    }


def weights(model: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten().double() for value in model.state_dict().values()])


def test_the_docstring_says_what_the_table_says() -> None:
    assert module.SIMPLIFIED in " ".join(module.__doc__.split())


def test_losses() -> None:
    source, target = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [-1.0]])
    told = [math.log(2), math.log(1 + math.exp(-2)), math.log(2), math.log(1 + math.exp(-1))]
    assert discriminator_loss(source, target) == pytest.approx(np.mean(told))
    hidden = [math.log(2), math.log(1 + math.e)]
    assert mapping_loss(target) == pytest.approx(np.mean(hidden))


def test_one_step_moves_the_body_and_the_discriminator_and_nothing_else() -> None:
    model, two, weight, rate = classifier(), batches(), 3.0, 0.5
    source = copy.deepcopy(model).eval()
    together = Together(model, domain=domain_classifier(model, task(), "adda"))
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


def test_only_real_images_reach_batch_norm_in_the_second_stage() -> None:
    model, two = classifier(), batches()
    other = copy.deepcopy(two)
    other["synthetic"] = Batch(
        other["synthetic"].images.flip(3), other["synthetic"].labels, other["synthetic"].indices
    )
    found = []
    for some in (two, other):
        network = copy.deepcopy(model)
        together = Together(network, domain=domain_classifier(network, task(), "adda"))
        optimizer = torch.optim.SGD(together.parameters(), lr=0.0)
        adda_step(copy.deepcopy(model).eval())(together, some, optimizer)
        found.append(weights(network))
    assert torch.equal(*found)
    assert not torch.equal(found[0], weights(model))


def test_the_head_is_that_of_the_first_stage_and_the_body_is_not() -> None:
    model, first = classifier(), classifier()
    history = adda(model, task())
    stage(first, task().synthetic, task(), name="synthetic", share=0.75)
    assert torch.equal(weights(model.head), weights(first.head))
    assert not torch.equal(weights(model.body), weights(first.body))
    assert all(p.requires_grad for p in model.parameters())
    assert len(history.train_loss) == 6 + 2
    assert history.images == 6 * 128 + 2 * 2 * 128


def test_the_second_stage_imitates_a_frozen_copy_at_a_fifth_of_the_rate(
    monkeypatch: pytest.MonkeyPatch,
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
    assert rates == pytest.approx([0.003, 0.003 * RATE])
    ((source, before),) = sources
    assert source is not model
    assert not source.training
    assert torch.equal(weights(source), before)


def test_it_learns_without_real_labels_and_repeats_itself() -> None:
    few, test = quadrants(24, 1, 110), quadrants(100, 9, 110)
    adda(model := classifier(), task(updates=64))
    assert accuracy(model, test) > 90
    torch.rand(3)
    shuffled = ImageSet(few.images, np.random.default_rng(0).permutation(few.labels), CLASSES, "x")
    adda(other := classifier(), task(real=shuffled, updates=64))
    assert torch.equal(weights(model), weights(other))
    adda(other := classifier(), task(settings=Settings(discriminator_width=8), updates=64))
    assert not torch.equal(weights(model), weights(other))


def test_bfloat16() -> None:
    recipe = replace(RECIPE, epochs=2)
    history = adda(classifier(), task(recipe=recipe, updates=8, precision="bfloat16"))
    assert np.isfinite(history.train_loss).all()
