from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from synthbook.data import ImageSet
from synthbook.recognize.batches import Batch, as_input
from synthbook.recognize.methods import dada as module
from synthbook.recognize.methods.dada import (
    dada,
    dada_losses,
    dada_step,
    entropy,
    source_loss,
    target_losses,
)
from synthbook.recognize.methods.dann import annealing, schedule
from synthbook.recognize.methods.task import Settings, Task, Together
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


def test_losses_of_one_image_by_hand() -> None:
    logits = torch.tensor([[0.6, 0.3, 0.1]]).log() + 5  # p_1, p_2 and the domain's
    wanted = -0.9 * math.log(0.6) - 0.1 * math.log(0.4)
    assert source_loss(logits, torch.tensor([0])) == pytest.approx(wanted)
    told, hidden = target_losses(logits)
    assert told == pytest.approx(-(2 / 3 * math.log(1 / 7) + 1 / 3 * math.log(1 / 4)))
    assert hidden == pytest.approx(2 / 3 * math.log(6 / 7) + 1 / 3 * math.log(3 / 4))
    spread = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert entropy(logits) == pytest.approx(spread)
    classifier_loss, body_loss = dada_losses(logits, torch.tensor([0]), logits, 0.5)
    shared = -math.log(2 / 3) + spread
    assert classifier_loss == pytest.approx(shared + 0.5 * (wanted + float(told)))
    assert body_loss == pytest.approx(shared - 0.5 * (wanted + float(hidden)))


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(2, 6), st.floats(0.1, 5))
def test_losses_are_the_papers_formulas(seed: int, classes: int, spread: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(7, classes + 1, generator=draw, dtype=torch.float64)
    labels = torch.randint(classes, (7,), generator=draw)
    p = logits.softmax(1)
    right, domain = p[torch.arange(7), labels], p[:, -1]
    wanted = -(1 - domain) * right.log() - domain * (1 - right).log()
    torch.testing.assert_close(source_loss(logits, labels), wanted.mean())
    share, q = p[:, :-1] / (1 - domain)[:, None], domain[:, None] / (p[:, :-1] + domain[:, None])
    told, hidden = target_losses(logits)
    torch.testing.assert_close(told, -(share * q.log()).sum(1).mean())
    torch.testing.assert_close(hidden, (share * (1 - q).log()).sum(1).mean())
    torch.testing.assert_close(entropy(logits), -(share * share.log()).sum(1).mean())


def test_saturated_predictions_have_finite_losses_and_gradients() -> None:
    logits = torch.tensor([[300.0, 0, 0], [0, 300, 0], [0, 0, 300], [0, -300, 0]])
    logits.requires_grad_()
    losses = dada_losses(logits, torch.tensor([0, 0, 0, 1]), logits, 1.0)
    for loss in losses:
        (slope,) = torch.autograd.grad(loss, logits, retain_graph=True)
        assert loss.isfinite()
        assert slope.isfinite().all()


def test_one_step_gives_each_side_its_own_loss() -> None:
    model, two, weight, rate, p = classifier(), batches(), 2.0, 0.1, 0.4
    together = Together(model, domain=nn.Linear(model.head.in_features, 1))
    twin = copy.deepcopy(together)
    logits = {}
    for name in ("synthetic", "real"):
        features = twin.model.features(two[name].images)
        logits[name] = torch.cat([twin.model.head(features), twin.domain(features)], 1)
    labels = two["synthetic"].labels
    scale = weight * schedule(p)
    of_classifier, of_body = dada_losses(logits["synthetic"], labels, logits["real"], scale)
    sides = {"model.body.": of_body, "model.head.": of_classifier, "domain.": of_classifier}
    optimizer = torch.optim.SGD(together.parameters(), lr=rate)
    found = dada_step(iter([p]), weight)(together, two, optimizer)
    assert found["loss"] == pytest.approx(of_classifier.item(), rel=1e-5)
    for side, loss in sides.items():
        old = {n: v for n, v in twin.named_parameters() if n.startswith(side)}
        slopes = torch.autograd.grad(loss, list(old.values()), retain_graph=True)
        assert old
        for (name, was), slope in zip(old.items(), slopes, strict=True):
            moved = (was - together.get_parameter(name)).detach()
            torch.testing.assert_close(moved, rate * annealing(p) * slope, rtol=1e-3, atol=1e-5)


def test_it_learns_without_real_labels_and_repeats_itself() -> None:
    few, test = quadrants(24, 1, 110), quadrants(100, 9, 110)
    history = dada(model := classifier(), task(updates=64))
    assert accuracy(model, test) > 90
    assert len(history.train_loss) == 12 + 4
    assert history.images == 12 * 128 + 4 * 2 * 128
    assert [name for name, _ in model.named_children()] == ["body", "head"]
    assert model.head.out_features == 4
    torch.rand(3)
    shuffled = ImageSet(few.images, np.random.default_rng(0).permutation(few.labels), CLASSES, "x")
    same = dada(other := classifier(), task(real=shuffled, updates=64))
    assert torch.equal(weights(model), weights(other))
    assert replace(same, seconds=0) == replace(history, seconds=0)
    dada(other := classifier(), task(settings=Settings(adversarial_weight=0.5), updates=64))
    assert not torch.equal(weights(model), weights(other))


def test_bfloat16() -> None:
    recipe = replace(RECIPE, epochs=2)
    history = dada(classifier(), task(recipe=recipe, updates=8, precision="bfloat16"))
    assert np.isfinite(history.train_loss).all()
