from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from synthbook.recognize.methods import dann as module
from synthbook.recognize.methods.dann import (
    annealing,
    dann,
    dann_step,
    domain_classifier,
    domains,
    progresses,
    reverse_gradient,
    schedule,
)
from synthbook.recognize.methods.task import Together
from synthbook.recognize.predict import accuracy
from synthbook.recognize.train import joined


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
def test_reversal_is_the_identity_forwards_and_minus_the_gradient_backwards(scale: float) -> None:
    x = torch.linspace(-2, 2, 6, dtype=torch.float64).view(2, 3).requires_grad_()
    assert torch.equal(reverse_gradient(x, scale), x)
    (reverse_gradient(x, scale).sin() ** 3).sum().backward()
    with torch.no_grad():  # what the function itself does, by central differences
        h = 1e-6
        slope = ((x + h).sin() ** 3 - (x - h).sin() ** 3) / (2 * h)
    torch.testing.assert_close(x.grad, -scale * slope, rtol=1e-6, atol=1e-9)


def test_schedules() -> None:
    assert schedule(0) == 0
    assert schedule(0.1) == pytest.approx((np.e - 1) / (np.e + 1))
    assert schedule(1) == pytest.approx(1, abs=1e-4)
    assert annealing(0) == 1
    assert annealing(1) == pytest.approx(11**-0.75)
    assert list(itertools.islice(progresses(4), 6)) == [0, 0.25, 0.5, 0.75, 1, 1]


def test_domains_are_in_the_order_of_the_images(batches) -> None:
    two = batches(5)
    assert domains(two).tolist() == [0] * 5 + [1] * 5
    assert domains(dict(reversed(two.items()))).tolist() == [1] * 5 + [0] * 5


def test_one_step_is_descent_for_the_classifier_and_ascent_for_the_body(
    classifier, task, batches
) -> None:
    model, two, weight, rate, p = classifier(), batches(), 2.0, 0.5, 0.3
    together = Together(model, domain=domain_classifier(model, 64, 0, "dann"))
    before = {name: value.detach().clone() for name, value in together.named_parameters()}
    images, labels = joined(two)
    features = model.features(images)
    task_loss = F.cross_entropy(model.head(features), labels)
    guesses = together.domain(features).squeeze(1)
    domain_loss = F.binary_cross_entropy_with_logits(guesses, domains(two))
    names = list(before)
    of_task = torch.autograd.grad(
        task_loss, list(together.parameters()), retain_graph=True, allow_unused=True
    )
    of_domain = torch.autograd.grad(domain_loss, list(together.parameters()), allow_unused=True)
    optimizer = torch.optim.SGD(together.parameters(), lr=rate)
    found = dann_step(iter([p]), weight)(together, two, optimizer)
    assert found["loss"] == pytest.approx((task_loss + domain_loss).item(), rel=1e-5)
    assert found["domain_loss"] == pytest.approx(domain_loss.item(), rel=1e-5)
    for name, down, across in zip(names, of_task, of_domain, strict=True):
        wanted = torch.zeros_like(before[name]) if down is None else down
        if across is not None:
            sign = 1.0 if name.startswith("domain") else -weight * schedule(p)
            wanted = wanted + sign * across
        moved = before[name] - together.get_parameter(name).detach()
        torch.testing.assert_close(moved, rate * annealing(p) * wanted, rtol=1e-3, atol=1e-5)


def test_it_learns(classifier, task, quadrants, weights) -> None:
    model, test = classifier(), quadrants(100, 9, 110)
    history = dann(model, task())
    assert accuracy(model, test) > 90
    assert len(history.train_loss) == 8
    assert history.images == 2 * 8 * 128
    assert set(history.extra) == {"domain_loss", "domain_accuracy"}
    dann(other := classifier(), task(seed=1))
    assert not torch.equal(weights(model), weights(other))


def test_progress_goes_evenly_through_the_updates(
    classifier, task, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(module, "schedule", lambda p: asked.append(p) or schedule(p))
    dann(classifier(), task(updates=12))
    assert asked == pytest.approx([k / 12 for k in range(12)])


def test_without_weight_the_domain_classifier_only_watches(classifier, task, weights) -> None:
    def trained(weight: float, width: int) -> tuple[Tensor, float]:
        numbers = {"adversarial_weight": weight, "discriminator_width": width}
        history = dann(model := classifier(), task(updates=120), **numbers)
        return weights(model), history.extra["domain_accuracy"][-1]

    (watched, seen), (wider, _) = trained(0, 16), trained(0, 24)
    assert torch.equal(watched, wider)
    fooled, unseen = trained(1, 16)
    assert not torch.equal(watched, fooled)
    assert seen > 0.7  # dim and bright images can be told apart
    assert unseen < 0.6
