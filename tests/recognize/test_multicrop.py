"""Training on several views: one step is that of plain loops, and a stopped training goes on."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthbook.data import ImageSet
from synthbook.data.deferred import Deferred, deferred
from synthbook.errors import InputError
from synthbook.randomness import torch_generator
from synthbook.recognize.batches import order
from synthbook.recognize.cosine import CosineHead
from synthbook.recognize.models import Classifier, create_classifier
from synthbook.recognize.multicrop import (
    MulticropRecipe,
    logits_of,
    multicrop_loss,
    steps_of,
    train_multicrop,
)
from synthbook.recognize.predict import accuracy
from synthbook.recognize.views import ViewRecipe, views
from synthbook.training import TrainingError

VIEWS = ViewRecipe(local_size=8, jitter=0.3, blur=0.2)
RECIPE = MulticropRecipe(epochs=6, batch_size=8, learning_rate=1.0, views=VIEWS)


def striped(count: int = 24, size: int = 12, channels: int = 3) -> ImageSet:
    """Return noisy stripes across (class 0) or down (class 1)."""
    draw = np.random.default_rng(0)
    images = []
    for k in range(count):
        wave = 100 * (1 + np.sin(2 * np.arange(size)))[:, None].repeat(size, 1)
        image = (wave if k % 2 else wave.T)[..., None].repeat(channels, 2)
        images.append(np.clip(image + draw.normal(0, 9, image.shape), 0, 255).astype(np.uint8))
    return ImageSet(np.stack(images), np.arange(count) % 2, ("across", "down"), "stripes")


def small(channels: int = 3, classes: int = 2) -> Classifier:
    shape = {"num_classes": classes, "channels": channels, "image_size": 12}
    return create_classifier("small_cnn", **shape, seed=0)


def weights(model: Classifier) -> list[torch.Tensor]:
    return [value.detach().contiguous() for value in model.state_dict().values()]


def equal(one: Classifier, other: Classifier) -> bool:
    pairs = zip(weights(one), weights(other), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@given(st.integers(1, 5), st.integers(1, 6), st.integers(2, 5), st.integers(0, 10**6))
def test_the_loss_is_that_of_the_formula(some: int, count: int, classes: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    logits, labels = draw.normal(size=(some, count, classes)), draw.integers(0, classes, count)
    total = 0.0
    for i in range(count):
        for v in range(some):
            below = sum(math.exp(logits[v, i, k]) for k in range(classes))
            total -= math.log(math.exp(logits[v, i, labels[i]]) / below) / some / count
    found = multicrop_loss([torch.from_numpy(one) for one in logits], torch.from_numpy(labels))
    assert found.item() == pytest.approx(total, abs=1e-5)


def test_a_step_is_that_of_plain_loops() -> None:
    """SGD's first step with momentum and L2: w - rate (gradient + decay w), view by view."""
    images = striped(10)
    recipe = replace(RECIPE, updates=1, batch_size=10, weight_decay=0.01, warmup=0.0)
    model = small()
    for module in model.modules():  # BatchNorm sees the views of a size together
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0
    model.eval()  # the loops below go image by image, so statistics are kept fixed in both
    ours = copy.deepcopy(model)
    ours.train = lambda mode=True: ours
    theirs = copy.deepcopy(model)
    trained, curves = train_multicrop(ours, images, recipe, seed=3)

    chosen = order(10, 0, 10, seed=3, stream="multicrop")
    pixels = torch.from_numpy(images.images[chosen.numpy()]).permute(0, 3, 1, 2)
    seen, loss, right = views(pixels, VIEWS, torch_generator(3, "views", 0)), 0.0, 0
    for v in range(4):
        for i in range(10):
            logits = theirs(seen[v][i : i + 1])[0]
            label = int(images.labels[chosen[i]])
            right += int(logits.argmax()) == label
            loss = loss - torch.log(logits[label].exp() / logits.exp().sum()) / 4 / 10
    loss.backward()
    assert curves.train_loss[0] == pytest.approx(loss.item(), abs=1e-5)
    assert curves.train_accuracy[0] == pytest.approx(100 * right / 4 / 10)
    rate = 1.0 * 10 / 256
    for weight, found in zip(theirs.parameters(), trained.parameters(), strict=True):
        want = weight - rate * (weight.grad + 0.01 * weight)
        assert torch.allclose(found, want, atol=1e-5)


def test_views_of_a_size_go_through_the_network_together() -> None:
    seen = [torch.rand(3, 3, side, side) for side in (12, 12, 8, 8, 8)]
    model = small().eval()
    sizes: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(lambda _, given_: sizes.append(tuple(given_[0].shape)))
    found = logits_of(model, seen)
    assert sizes == [(6, 3, 12, 12), (9, 3, 8, 8)]
    for one, logits in zip(seen, found, strict=True):
        assert torch.allclose(model(one), logits, atol=1e-5)


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_it_learns(head: str) -> None:
    images = striped(48)
    recipe = replace(RECIPE, epochs=12, head=head)
    model, curves = train_multicrop(small(), images, recipe, seed=0, validation=images)
    assert len(curves.train_loss) == len(curves.val_accuracy) == 12
    assert curves.train_loss[-1] < 0.7 * curves.train_loss[0]
    assert curves.val_accuracy[-1] == accuracy(model, images) > 90
    assert curves.images == 12 * 48
    assert isinstance(model.head, CosineHead) == (head == "cosine")
    assert not model.training


class Stopped(RuntimeError):
    """A kill."""


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(head: str, tmp_path) -> None:
    images, recipe = striped(20), replace(RECIPE, head=head)
    how = {"seed": 1, "validation": images.subset(range(6))}
    whole, curves = train_multicrop(small(), images, recipe, **how)

    def stop(done: int, numbers: dict[str, float]) -> None:
        if done == 11:
            raise Stopped

    kept = {"folder": tmp_path / "kept", "checkpoint_every": 4}
    with pytest.raises(Stopped):
        train_multicrop(small(), images, recipe, **how, **kept, on_step=stop)
    seen: list[int] = []
    again, other = train_multicrop(
        small(), images, recipe, **how, **kept, on_step=lambda done, _: seen.append(done)
    )
    assert seen == list(range(9, steps_of(recipe, 20) + 1))
    assert equal(again, whole)
    assert other == curves
    with pytest.raises(InputError, match="made with seed = 1"):
        train_multicrop(small(), images, recipe, **how | {"seed": 2}, **kept)


def test_validation_and_where_images_lie_change_nothing() -> None:
    images, read = striped(), []

    def reading(chosen: np.ndarray) -> np.ndarray:
        read.append(len(chosen))
        return images.images[chosen]

    files = Deferred(images.labels, images.classes, images.name, reading, images.fingerprint())
    recipe = replace(RECIPE, epochs=2)
    one, _ = train_multicrop(small(), images, recipe, seed=0)
    two, _ = train_multicrop(small(), files, recipe, seed=0, validation=images)
    assert equal(one, two)
    assert max(read) == 8  # never more than a batch at a time
    assert deferred(images).fingerprint() == files.fingerprint()


def test_updates_take_the_place_of_epochs() -> None:
    for count in (8, 24):
        steps: list[int] = []
        train_multicrop(
            small(), striped(count), replace(RECIPE, updates=5), seed=0,
            on_step=lambda done, _, to=steps: to.append(done),
        )  # fmt: skip
        assert steps == [1, 2, 3, 4, 5]
    assert steps_of(RECIPE, 24) == 18
    assert steps_of(RECIPE, 20) == 15
    assert steps_of(RECIPE, 3) == 6


def test_the_rate_rises_and_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []
    step = torch.optim.SGD.step

    def note(self, *args):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", note)
    train_multicrop(small(), striped(8), replace(RECIPE, updates=20, warmup=0.2), seed=0)
    assert max(rates) == max(rates[2:7]) <= 8 / 256
    assert rates[:4] == sorted(rates[:4])
    assert rates[6:] == sorted(rates[6:], reverse=True)
    assert rates[-1] < 0.02 * max(rates)


def test_a_loss_that_is_not_finite_stops_it() -> None:
    recipe = replace(RECIPE, learning_rate=1e30, warmup=0.0)
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train_multicrop(small(), striped(), recipe, seed=0)


def vit() -> Classifier:
    return create_classifier("vit_tiny_patch16_224", num_classes=2, channels=3, image_size=16)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: train_multicrop(small(), striped(1), RECIPE, seed=0), "two images or more"),
        (lambda: train_multicrop(small(classes=3), striped(), RECIPE, seed=0), "model knows 3"),
        (lambda: train_multicrop(small(channels=1), striped(), RECIPE, seed=0), "1 channels"),
        (lambda: train_multicrop(vit(), striped(size=16), RECIPE, seed=0), "no views of 8 pixels"),
        (lambda: MulticropRecipe(head="cosin"), "did you mean 'cosine'"),
    ],
)
def test_bad_input_is_named(call, said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()
