from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from synthbook.data import ImageSet
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
from synthbook.recognize.methods.task import Together
from synthbook.recognize.predict import accuracy


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


def test_one_step_gives_each_side_its_own_loss(classifier, batches) -> None:
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


def test_progress_goes_evenly_through_the_second_stage(
    classifier, task, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(module, "schedule", lambda p: asked.append(p) or schedule(p))
    dada(classifier(), task(updates=32), second_stage="updates")  # the last two epochs of four
    assert asked == pytest.approx([k / 8 for k in range(8)])


def test_it_learns_without_real_labels(classifier, task, quadrants, weights) -> None:
    few, test = quadrants(24, 1, 110), quadrants(100, 9, 110)
    history = dada(model := classifier(), task(updates=64), second_stage="updates")
    assert accuracy(model, test) > 90
    assert len(history.train_loss) == 12 + 4
    assert history.images == 12 * 128 + 4 * 2 * 128
    assert [name for name, _ in model.named_children()] == ["body", "head"]
    assert model.head.out_features == 4
    mislabelled = ImageSet(few.images, (few.labels + 1) % 4, few.classes, "x")
    same = dada(other := classifier(), task(real=mislabelled, updates=64), second_stage="updates")
    assert torch.equal(weights(model), weights(other))
    assert same.train_loss == history.train_loss
    weaker = {"adversarial_weight": 0.5, "second_stage": "updates"}
    dada(other := classifier(), task(updates=64), **weaker)
    assert not torch.equal(weights(model), weights(other))
