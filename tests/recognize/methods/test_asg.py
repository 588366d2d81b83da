"""ASG: the divergence by hand, what is frozen, what one step does, and that it learns."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from synthbook.randomness import seeded
from synthbook.recognize.methods.asg import BODY_RATE, asg, asg_step, imagenet_head, prediction_loss
from synthbook.recognize.methods.guide import Guide, create_guide
from synthbook.recognize.methods.task import Together
from synthbook.recognize.models import Classifier, create_classifier
from synthbook.recognize.predict import accuracy
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import create_optimizer

RECIPE = Recipe(epochs=6, batch_size=16, learning_rate=0.01)


def other_width() -> Guide:
    """Return a guide of another structure: 7 features and 9 classes."""
    with seeded(0, "other"):
        body, head = nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), nn.Linear(7, 9)
    return Guide(Classifier(body, head, name="other", channels=1), input_size=8, channels=1)


@pytest.fixture(params=["same", "other"])
def either(request, guide) -> Guide:
    """A guide whose features have the width of the classifier's, and one where they have not."""
    return guide() if request.param == "same" else other_width()


def test_the_divergence_is_that_computed_by_hand() -> None:
    guide = torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log()
    model = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()
    by_hand = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert prediction_loss(guide, model).item() == pytest.approx(by_hand / 2, rel=1e-6)
    other_way = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert prediction_loss(model, guide).item() == pytest.approx(other_way / 2, rel=1e-6)


def test_equal_networks_predict_alike(classifier, guide, task) -> None:
    frozen, model = guide(), classifier()
    model.body.load_state_dict(frozen.network.body.state_dict())
    slow = {"recipe": replace(RECIPE, learning_rate=1e-9), "updates": 6}
    history = asg(model, task(real=None, guide=frozen, **slow))
    assert history.extra["prediction_loss"][0] == pytest.approx(0, abs=1e-5)


def test_the_head_is_copied_and_frozen_where_it_fits(classifier, guide) -> None:
    frozen = guide()
    head = imagenet_head(classifier(), frozen, seed=0)
    assert head is not frozen.network.head
    assert torch.equal(head.weight, frozen.network.head.weight)
    assert not any(p.requires_grad for p in head.parameters())


def test_the_head_is_new_and_trained_where_it_does_not_fit(classifier) -> None:
    heads = [imagenet_head(classifier(), other_width(), seed=seed) for seed in (0, 0, 1)]
    assert (heads[0].in_features, heads[0].out_features) == (64, 9)
    assert all(p.requires_grad for p in heads[0].parameters())
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert not torch.equal(heads[0].weight, heads[2].weight)


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_step_goes_down_the_loss_and_a_pretrained_body_more_slowly(
    classifier, batches, either, pretrained
) -> None:
    model, batch = classifier(), batches()["synthetic"]
    model.pretrained = pretrained
    together = Together(model, imagenet=imagenet_head(model, either, 0)).train()
    reference = copy.deepcopy(together).eval()
    features = reference.model.features(batch.images)
    kl = prediction_loss(either.network(batch.images), reference.imagenet(features))
    (F.cross_entropy(reference.model.head(features), batch.labels) + 0.7 * kl).backward()

    recipe = replace(RECIPE, optimizer="sgd", learning_rate=0.1)
    optimizer = create_optimizer(together, recipe)
    found = asg_step(either, 0.7)(together, {"synthetic": batch}, optimizer)
    assert found["prediction_loss"].item() == pytest.approx(kl.item(), rel=1e-4)
    moved = 0
    for (name, new), old in zip(together.named_parameters(), reference.parameters(), strict=True):
        rate = 0.1 * BODY_RATE if pretrained and name.startswith("model.body") else 0.1
        step = 0 if old.grad is None else rate * old.grad
        torch.testing.assert_close(new.detach(), (old - step).detach(), atol=1e-6, rtol=1e-4)
        moved += not torch.equal(new, old)
    assert moved >= len(list(model.parameters())) - 1


def test_the_bodys_rate_follows_the_schedule(classifier, batches, guide) -> None:
    model, batch = classifier(), batches()["synthetic"]
    model.pretrained = True
    together = Together(model, imagenet=imagenet_head(model, guide(), 0))
    optimizer = create_optimizer(together, RECIPE)
    step = asg_step(guide(), 0.1)
    for rate in (0.01, 0.004):
        for group in optimizer.param_groups:  # as ``fit`` does
            group["lr"] = rate
        step(together, {"synthetic": batch}, optimizer)
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([rate, BODY_RATE * rate])
    counted = sum(len(group["params"]) for group in optimizer.param_groups)
    assert counted == len(list(model.parameters()))
    assert len(optimizer.param_groups[1]["params"]) == len(list(model.body.parameters()))


def test_it_learns(classifier, task, quadrants, either) -> None:
    asg(model := classifier(), task(real=None, guide=either, recipe=RECIPE, updates=64))
    assert accuracy(model, quadrants(100, 9)) > 90


@pytest.mark.slow
def test_imagenet_weights_survive_the_training(task, quadrants) -> None:
    frozen = create_guide("efficientnet_lite0", channels=1, input_size=32)
    model = create_classifier(
        "efficientnet_lite0", num_classes=4, channels=1, image_size=32, pretrained=True, seed=0
    )
    recipe = Recipe(epochs=3, batch_size=16, learning_rate=0.003, input_size=32)
    history = asg(model, task(real=None, guide=frozen, recipe=recipe, updates=40))
    assert history.extra["prediction_loss"][0] < 3
    assert accuracy(model, quadrants(100, 9), input_size=32) > 80
