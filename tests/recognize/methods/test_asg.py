"""ASG: the divergence by hand, what is frozen, what one step does, and that it learns."""

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
from synthbook.randomness import numpy_generator, torch_generator
from synthbook.recognize.batches import Batch, as_input
from synthbook.recognize.methods import asg as module
from synthbook.recognize.methods.asg import (
    BODY_RATE,
    asg,
    asg_step,
    imagenet_head,
    prediction_loss,
)
from synthbook.recognize.methods.guide import Guide, create_guide
from synthbook.recognize.methods.task import Settings, Task, Together
from synthbook.recognize.models import Classifier, create_classifier
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import accuracy, create_optimizer
from synthbook.training import seeded

RECIPE = Recipe(epochs=6, batch_size=16, learning_rate=0.01)


def bars(count: int, seed: int) -> ImageSet:
    """Return three classes: a bright bar in one of three places, on noise."""
    labels = np.arange(count) % 3
    pixels = numpy_generator(seed, "bars").uniform(0, 0.4, (count, 8, 8, 1))
    for k, label in enumerate(labels):
        pixels[k, :, 1 + 2 * label : 3 + 2 * label] += 0.5
    return ImageSet((pixels * 255).astype(np.uint8), labels, tuple("abc"), "bars")


def network(classes: int = 3, seed: int = 0) -> Classifier:
    return create_classifier("small_cnn", num_classes=classes, channels=1, image_size=8, seed=seed)


def same_width() -> Guide:
    """Return a guide with five classes of its own."""
    return Guide(network(classes=5, seed=9), input_size=8, channels=1)


def other_width() -> Guide:
    """Return a guide of another structure: 7 features and 9 classes."""
    with seeded(0, "other"):
        body, head = nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), nn.Linear(7, 9)
    return Guide(Classifier(body, head, name="other", channels=1), input_size=8, channels=1)


def task(guide: Guide | None = None, **changes: Any) -> Task:
    """Return 36 updates on 96 synthetic images."""
    held = {"guide": guide or same_width(), "synthetic": bars(96, 0), "seed": 0}
    return Task(**({"recipe": RECIPE, "updates": 36, **held} | changes))


def batch(count: int = 12) -> Batch:
    images = bars(count, 3)
    return Batch(
        as_input(torch.tensor(images.images)), torch.tensor(images.labels), torch.arange(count)
    )


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_the_docstring_says_what_the_table_says() -> None:
    assert module.SIMPLIFIED in " ".join(module.__doc__.split())


def test_the_divergence_is_that_computed_by_hand() -> None:
    guide = torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log()
    model = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()
    by_hand = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert prediction_loss(guide, model).item() == pytest.approx(by_hand / 2, rel=1e-6)
    other_way = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert prediction_loss(model, guide).item() == pytest.approx(other_way / 2, rel=1e-6)


def test_the_divergence_of_equal_predictions_is_zero_and_of_others_is_not() -> None:
    logits = torch.randn(6, 10, generator=torch_generator(0, "logits"))
    assert prediction_loss(logits, logits).item() == pytest.approx(0, abs=1e-6)
    assert prediction_loss(logits, logits + 3).item() == pytest.approx(0, abs=1e-6)
    assert prediction_loss(logits, logits.roll(1, 1)).item() > 0.1


def test_equal_networks_predict_alike() -> None:
    guide = same_width()
    model = network()
    model.body.load_state_dict(guide.network.body.state_dict())
    recipe = replace(RECIPE, epochs=1, learning_rate=1e-9)
    history = asg(model, task(guide, recipe=recipe, updates=6))
    assert history.extra["prediction_loss"][0] == pytest.approx(0, abs=1e-5)


def test_the_head_is_copied_and_frozen_where_it_fits() -> None:
    guide = same_width()
    head = imagenet_head(network(), guide, seed=0)
    assert head is not guide.network.head
    assert torch.equal(head.weight, guide.network.head.weight)
    assert not any(p.requires_grad for p in head.parameters())


def test_the_head_is_new_and_trained_where_it_does_not_fit() -> None:
    heads = [imagenet_head(network(), other_width(), seed=seed) for seed in (0, 0, 1)]
    assert (heads[0].in_features, heads[0].out_features) == (64, 9)
    assert all(p.requires_grad for p in heads[0].parameters())
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert not torch.equal(heads[0].weight, heads[2].weight)


@pytest.mark.parametrize("make", [same_width, other_width])
def test_a_step_goes_down_the_loss_and_the_body_more_slowly(make) -> None:
    guide, some = make(), batch()
    model = network()
    together = Together(model, imagenet=imagenet_head(model, guide, 0)).train()
    reference = copy.deepcopy(together).eval()
    features = reference.model.features(some.images)
    kl = prediction_loss(guide.logits(some.images), reference.imagenet(features))
    (F.cross_entropy(reference.model.head(features), some.labels) + 0.7 * kl).backward()

    recipe = replace(RECIPE, optimizer="sgd", learning_rate=0.1)
    optimizer = create_optimizer(together, recipe)
    found = asg_step(guide, 0.7)(together, {"synthetic": some}, optimizer)
    assert found["prediction_loss"].item() == pytest.approx(kl.item(), rel=1e-4)
    moved = 0
    for (name, new), old in zip(together.named_parameters(), reference.parameters(), strict=True):
        rate = 0.1 * BODY_RATE if name.startswith("model.body") else 0.1
        step = 0 if old.grad is None else rate * old.grad
        torch.testing.assert_close(new.detach(), (old - step).detach(), atol=1e-6, rtol=1e-4)
        moved += not torch.equal(new, old)
    assert moved >= len(list(model.parameters())) - 1


def test_the_bodys_rate_follows_the_schedule() -> None:
    model = network()
    together = Together(model, imagenet=imagenet_head(model, same_width(), 0))
    optimizer = create_optimizer(together, RECIPE)
    step = asg_step(same_width(), 0.1)
    for rate in (0.01, 0.004):
        for group in optimizer.param_groups:  # as ``fit`` does
            group["lr"] = rate
        step(together, {"synthetic": batch()}, optimizer)
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([rate, BODY_RATE * rate])
    counted = sum(len(group["params"]) for group in optimizer.param_groups)
    assert counted == len(list(model.parameters()))
    assert len(optimizer.param_groups[1]["params"]) == len(list(model.body.parameters()))


def test_batchnorm_keeps_its_statistics_and_the_guide_everything() -> None:
    guide, model = same_width(), network()
    kept, before = state(guide.network), state(model)
    asg(model, task(guide))
    for name, value in model.state_dict().items():
        statistic = "running" in name or "batches" in name
        assert torch.equal(value, before[name]) == statistic, name
    assert all(torch.equal(value, kept[name]) for name, value in guide.network.state_dict().items())


def test_guidance_holds_the_predictions() -> None:
    ends = []
    for weight in (0.0, 100.0):
        wanted = task(settings=Settings(asg_weight=weight))
        ends.append(asg(network(), wanted).extra["prediction_loss"][-1])
    assert ends[1] < ends[0] / 2


@pytest.mark.parametrize("make", [same_width, other_width])
def test_it_learns_and_does_it_the_same_way_twice(make) -> None:
    found = []
    for _ in range(2):
        model = network()
        history = asg(model, task(make()))
        found.append([accuracy(model, bars(60, 2)), *history.train_loss])
        assert set(history.extra) == {"prediction_loss"}
    assert found[0] == found[1]
    assert found[0][0] > 80


def test_it_runs_under_autocast() -> None:
    history = asg(network(), task(precision="bfloat16"))
    assert np.isfinite(history.train_loss).all()


@pytest.mark.slow
def test_imagenet_weights_survive_the_training() -> None:
    guide = create_guide("efficientnet_lite0", channels=1, input_size=32)
    model = create_classifier(
        "efficientnet_lite0", num_classes=3, channels=1, image_size=32, pretrained=True, seed=0
    )
    recipe = Recipe(epochs=3, batch_size=16, learning_rate=0.003, input_size=32)
    history = asg(model, task(guide, recipe=recipe, updates=18))
    assert history.extra["prediction_loss"][0] < 3
    assert accuracy(model, bars(60, 2), input_size=32) > 80
