from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from synthbook.data import ImageSet
from synthbook.recognize.batches import Batch
from synthbook.recognize.methods.ltda import class_balanced_weights, learnt_weights, ltda, ltda_step
from synthbook.recognize.predict import accuracy
from synthbook.recognize.train import cross_entropy_step


@settings(deadline=None)
@given(st.lists(st.integers(0, 500), min_size=2, max_size=6).filter(any), st.floats(0.5, 0.9999))
def test_class_weights_are_inverse_effective_numbers(counts: list[int], beta: float) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    found = class_balanced_weights(labels, len(counts), beta).double()
    there = [n for n in counts if n]
    sums = [sum(beta**k for k in range(n)) for n in there]  # 1 + beta + ... + beta^(n - 1)
    inverse = np.array([1 / number for number in sums])
    wanted = np.zeros(len(counts))
    wanted[np.array(counts) > 0] = inverse * len(there) / inverse.sum()
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5)


class Linear(nn.Module):
    """A softmax regression on pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2, bias=False, dtype=torch.float64)
        nn.init.zeros_(self.layer.weight)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.flatten(1))


def points(rows: list[list[float]], labels: list[int]) -> Batch:
    images = torch.tensor(rows, dtype=torch.float64).view(-1, 2, 1, 1)
    return Batch(images, torch.tensor(labels), torch.arange(len(labels)))


def test_a_helpful_image_rises_and_a_mislabelled_one_falls_by_the_closed_form(weights) -> None:
    model, rate, meta = Linear(), 0.1, 5.0
    synthetic = points([[2, 0], [2, 0], [0, 3]], [0, 1, 1])  # the second one is mislabelled
    real = points([[1, 0]], [0])
    losses = F.cross_entropy(model(synthetic.images), synthetic.labels, reduction="none")
    balanced = torch.ones(3, dtype=torch.float64)
    rates = {"learning_rate": rate, "meta_rate": meta}
    found = learnt_weights(model, losses, balanced, real, **rates)
    # At weights of zero both classes have probability 1/2, and the gradient of an image x of
    # class y is (p - e_y) x^T; the trial step goes down their sum.
    slopes = [np.outer(0.5 - np.eye(2)[y], x) for x, y in (([2, 0], 0), ([2, 0], 1), ([0, 3], 1))]
    trial = -rate * sum(slopes)
    x = np.array([1.0, 0.0])
    p = np.exp(trial @ x) / np.exp(trial @ x).sum()
    wanted = 1 + meta * rate * np.array(
        [(np.outer(p - [1, 0], x) * slope).sum() for slope in slopes]
    )
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-12)
    assert found[0] > 1.2
    assert found[1] < 0.8
    assert found[2] == 1  # it is perpendicular to the real image


def measured(model: nn.Module, two: dict[str, Batch], weights_: Tensor, rate: float) -> Tensor:
    """Return the real loss after an actual step down the weighted loss, all by hand."""
    trial, synthetic, real = copy.deepcopy(model), two["synthetic"], two["real"]
    losses = F.cross_entropy(trial(synthetic.images), synthetic.labels, reduction="none")
    optimizer = torch.optim.SGD(trial.parameters(), lr=rate)
    (weights_ * losses).sum().backward()
    optimizer.step()
    return F.cross_entropy(trial(real.images), real.labels).detach()


def test_the_weights_follow_finite_differences_through_batch_norm(
    classifier, batches, weights
) -> None:
    model, rate, h = classifier().double(), 0.01, 1e-5
    two = {
        name: Batch(batch.images.double(), batch.labels, batch.indices)
        for name, batch in batches(6).items()
    }
    synthetic, balanced = two["synthetic"], torch.linspace(0.5, 1.5, 6, dtype=torch.float64)
    losses = F.cross_entropy(model(synthetic.images), synthetic.labels, reduction="none")
    before = weights(model)
    rates = {"learning_rate": rate, "meta_rate": 1.0}
    found = learnt_weights(model, losses, balanced, two["real"], **rates)
    slopes = []
    for unit in h * torch.eye(6, dtype=torch.float64):
        up, down = (measured(model, two, balanced + sign * unit, rate) for sign in (1, -1))
        slopes.append((up - down) / (2 * h))
    torch.testing.assert_close(balanced - found, torch.stack(slopes), rtol=1e-4, atol=1e-7)
    assert (found - balanced).abs().max() > 1e-3
    # Nothing of it is left in the network, and the losses can still be differentiated.
    assert torch.equal(weights(model), before)
    assert all(p.grad is None for p in model.parameters())
    losses.sum().backward()


def test_without_a_meta_rate_a_step_is_cross_entropy_on_synthetic_images(
    classifier, batches, weights
) -> None:
    model, two = classifier(), batches()
    other = copy.deepcopy(model)
    ltda_step(torch.ones(4), 0.0)(model, two, torch.optim.SGD(model.parameters(), lr=0.1))
    alone = {"synthetic": two["synthetic"]}
    cross_entropy_step(other, alone, torch.optim.SGD(other.parameters(), lr=0.1))
    torch.testing.assert_close(weights(model), weights(other))  # with BatchNorm's statistics


def test_class_weights_enter_the_update(classifier, batches) -> None:
    model, two, labels = classifier(), batches(), batches()["synthetic"].labels
    other = copy.deepcopy(model)
    balanced = torch.tensor([0.5, 1.0, 1.0, 1.5])
    found = ltda_step(balanced, 0.0)(model, two, torch.optim.SGD(model.parameters(), lr=0.1))
    losses = F.cross_entropy(other(two["synthetic"].images), labels, reduction="none")
    assert found["loss"] == pytest.approx((balanced[labels] * losses).mean().item(), rel=1e-5)


def test_the_trial_step_has_the_rate_of_the_step_itself(classifier, batches) -> None:
    model, two, rate = classifier(), batches(), 0.02
    other, synthetic, even = copy.deepcopy(model), two["synthetic"], torch.ones(4)
    losses = F.cross_entropy(other(synthetic.images), synthetic.labels, reduction="none")
    rates = {"learning_rate": rate, "meta_rate": 30.0}
    learnt = learnt_weights(other, losses, even[synthetic.labels], two["real"], **rates)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    found = ltda_step(even, 30.0)(model, two, optimizer)["loss"]
    assert found.item() == pytest.approx((learnt * losses).mean().item(), rel=1e-5)
    assert found.item() != pytest.approx(losses.mean().item(), rel=1e-3)


def test_frozen_parameters_stay(classifier, batches, weights) -> None:
    model, two = classifier(), batches()
    model.body[0].requires_grad_(False)
    before = weights(model.body[0])
    trained = [p for p in model.parameters() if p.requires_grad]
    ltda_step(torch.ones(4), 1.0)(model, two, torch.optim.SGD(trained, lr=0.1))
    assert torch.equal(weights(model.body[0]), before)


def test_it_learns(classifier, task, quadrants, weights) -> None:
    few, test = quadrants(24, 1, 110), quadrants(100, 9, 110)
    how = {"meta_rate": 50.0, "second_stage": "updates"}
    history = ltda(model := classifier(), task(updates=64), **how)
    assert accuracy(model, test) > 90
    assert len(history.train_loss) == 12 + 4
    assert history.images == 12 * 128 + 4 * 2 * 128
    mislabelled = ImageSet(few.images, (few.labels + 1) % 4, few.classes, "x")
    ltda(other := classifier(), task(updates=64, real=mislabelled), **how)
    assert not torch.equal(weights(model), weights(other))  # real labels count


def test_classes_are_balanced_by_the_labels_of_synthetic_images(
    classifier, task, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        "synthbook.recognize.methods.ltda.class_balanced_weights",
        lambda labels, classes: asked.append(list(labels)) or torch.ones(classes),
    )
    ltda(classifier(), given := task(updates=8))
    assert asked == [list(given.synthetic.labels)]
