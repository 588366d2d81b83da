from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from synthbook.data import ImageSet, concatenate, load
from synthbook.errors import InputError
from synthbook.recognize.models import create_classifier
from synthbook.recognize.predict import accuracy, features, predict, sample_losses
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import cross_entropy_step, fit
from synthbook.training import TrainingError

RECIPE = Recipe(epochs=3, batch_size=32, learning_rate=0.003)


@cache
def digits() -> ImageSet:
    splits = load("digits")
    return concatenate(splits.train, concatenate(splits.val, splits.test))


def some(count: int, start: int = 0) -> ImageSet:
    return digits().subset(np.arange(start, start + count))


def classifier(seed: int = 0) -> torch.nn.Module:
    return create_classifier("small_cnn", num_classes=10, channels=1, image_size=8, seed=seed)


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten().double() for value in model.state_dict().values()])


def test_digits_are_learnt() -> None:
    model, seen = classifier(), []
    how = {"validation": some(300, 600), "on_epoch": lambda *call: seen.append(call)}
    history = fit(model, some(600), replace(RECIPE, epochs=8), seed=0, **how)
    assert history.train_loss[-1] < 0.1 * history.train_loss[0]
    assert history.train_accuracy[-1] > 99
    assert accuracy(model, some(500, 1000)) > 90
    assert history.val_accuracy[-1] == accuracy(model, some(300, 600))
    assert history.val_loss[-1] == pytest.approx(sample_losses(model, some(300, 600)).mean())
    assert len(history.val_loss) == len(history.train_loss) == 8
    assert [(k, len(past.val_loss)) for k, past in seen] == [(k, k + 1) for k in range(8)]
    assert seen[-1][1] == history
    assert history.images == 8 * 600
    assert history.seconds > 0


def test_first_epoch_of_one_batch_reports_the_loss_before_any_step() -> None:
    images, model = some(64), classifier()
    with torch.no_grad():  # in training mode, as BatchNorm sees the same batch in any order
        pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2) / 255
        logits = classifier().train()(pixels)
    history = fit(model, images, Recipe(1, 64, 0.01), seed=0)
    wanted = F.cross_entropy(logits, torch.from_numpy(images.labels)).item()
    assert history.train_loss[0] == pytest.approx(wanted, rel=1e-4)
    right = (logits.argmax(1).numpy() == images.labels).mean()
    assert history.train_accuracy[0] == pytest.approx(100 * right)


def test_accuracy_and_losses_are_those_of_the_logits() -> None:
    model, images = classifier().eval(), some(50)
    pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        logits, labels = model(pixels), torch.from_numpy(images.labels)
    wanted = F.cross_entropy(logits, labels, reduction="none")
    losses = sample_losses(model, images, batch_size=7)
    np.testing.assert_allclose(losses, wanted.numpy(), rtol=1e-4, atol=1e-6)
    right = (logits.argmax(1) == labels).double().mean().item()
    assert accuracy(model, images) == pytest.approx(100 * right)


def test_prediction_keeps_the_modes_and_needs_no_particular_batch_size() -> None:
    model, images = classifier().train(), some(50)
    model.head.eval()
    before = weights(model)
    whole, parts = predict(model, images), predict(model, images.images, batch_size=8)
    torch.testing.assert_close(whole, parts)
    assert whole.shape == (50, 10)
    assert model.training
    assert not model.head.training
    assert torch.equal(before, weights(model))  # no running statistics of BatchNorm either
    pooled = features(model, images)
    assert pooled.shape == (50, 64)
    assert (pooled >= 0).all()  # after a ReLU


@pytest.mark.parametrize("crop_padding", [0, 1])
def test_same_seed_same_bits(crop_padding: int) -> None:
    recipe = replace(RECIPE, crop_padding=crop_padding, flip=True, schedule="cosine")

    def trained(seed: int, initial: int = 0, validation: ImageSet | None = None) -> torch.Tensor:
        model = classifier(initial)
        model.head = torch.nn.Sequential(torch.nn.Dropout(0.5), model.head)
        fit(model, some(200), recipe, seed=seed, validation=validation)
        return weights(model)

    state = torch.get_rng_state()
    first = trained(0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(10)
    assert torch.equal(first, trained(0))
    assert torch.equal(first, trained(0, validation=some(50, 300)))
    assert not torch.equal(first, trained(1))
    assert not torch.equal(first, trained(0, initial=1))


def test_streams_are_drawn_together() -> None:
    seen: list[dict[str, int]] = []

    def step(model, batches, optimizer):
        seen.append({name: len(batch) for name, batch in batches.items()})
        return cross_entropy_step(model, batches, optimizer) | {"share": torch.tensor(0.25)}

    sets = {"real": some(20), "synthetic": some(97, 100)}
    history = fit(classifier(), sets, replace(RECIPE, epochs=2), seed=0, step=step)
    # Four batches of at most 32, as equal as can be, and of the same size in both streams.
    assert [batch["real"] for batch in seen] == [24, 24, 24, 25] * 2
    assert [batch["synthetic"] for batch in seen] == [24, 24, 24, 25] * 2
    assert history.images == 2 * 2 * 97
    assert history.extra == {"share": (0.25, 0.25)}


def test_images_count_alike_in_the_means_of_an_epoch() -> None:
    losses = iter((1.0, 2.0))

    def step(model, batches, optimizer):
        return cross_entropy_step(model, batches, optimizer) | {"loss": torch.tensor(next(losses))}

    history = fit(classifier(), some(5), Recipe(1, 3, 0.01), seed=0, step=step)
    assert history.train_loss[0] == pytest.approx((2 * 1 + 3 * 2) / 5)


def test_two_streams_are_one_loss_over_both() -> None:
    first, second = classifier(), classifier()
    fit(first, {"a": some(30), "b": some(30, 30)}, Recipe(1, 30, 0.01), seed=0)
    fit(second, some(60), Recipe(1, 60, 0.01), seed=0)
    torch.testing.assert_close(weights(first), weights(second), rtol=1e-3, atol=1e-4)


def test_frozen_parameters_stay() -> None:
    model = classifier()
    before = weights(model.body[0])
    model.body[0].requires_grad_(False)
    fit(model, some(64), replace(RECIPE, epochs=1), seed=0)
    assert torch.equal(before, weights(model.body[0]))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_every_step_gets_its_rate(schedule: str) -> None:
    rates: list[float] = []

    def step(model, batches, optimizer):
        rates.append(optimizer.param_groups[0]["lr"])
        return cross_entropy_step(model, batches, optimizer)

    recipe = Recipe(epochs=2, batch_size=30, learning_rate=0.01, schedule=schedule)
    fit(classifier(), some(90), recipe, seed=0, step=step)
    assert rates == [recipe.rate(k, 6) for k in range(6)]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_loss_decreases(optimizer: str, precision: str) -> None:
    recipe = replace(RECIPE, optimizer=optimizer, learning_rate=0.02, weight_decay=1e-4)
    history = fit(classifier(), some(200), recipe, seed=0, precision=precision)
    assert history.train_loss[-1] < 0.6 * history.train_loss[0]


def test_input_size_is_used_for_training_and_validation() -> None:
    sizes: set[tuple[bool, int]] = set()
    model = classifier()
    model.register_forward_pre_hook(lambda m, x: sizes.add((m.training, x[0].shape[-1])))
    recipe = replace(RECIPE, epochs=1, input_size=16)
    fit(model, some(40), recipe, seed=0, validation=some(10, 50))
    assert sizes == {(True, 16), (False, 16)}


def test_a_loss_that_is_not_a_number_names_epoch_and_step() -> None:
    count = iter(range(100))

    def step(model, batches, optimizer):
        result = cross_entropy_step(model, batches, optimizer)
        return result | {"loss": result["loss"] * (math.nan if next(count) == 4 else 1)}

    with pytest.raises(TrainingError, match=r"nan in epoch 1, step 1 "):
        fit(classifier(), some(96), RECIPE, seed=0, step=step)


def test_streams_that_do_not_fit_are_refused() -> None:
    images, model = some(10), classifier()
    large = ImageSet(images.images.repeat(2, 1).repeat(2, 2), images.labels, images.classes, "x")
    other = ImageSet(images.images, images.labels, tuple("abcdefghij"), "x")
    three = create_classifier("small_cnn", num_classes=3, channels=1, image_size=8)
    for network, sets, changes, message in [
        (model, {}, {}, "no stream"),
        (model, {"real": images.subset([])}, {}, "has no images"),
        (model, {"real": images, "fake": large}, {}, "stream 'fake' is ImageSet"),
        (model, {"real": images, "fake": other}, {}, "same image size, channels and classes"),
        (three, images, {}, "the model knows 3 classes"),
        (model, images, {"crop_padding": 8}, "crop_padding 8"),
    ]:
        with pytest.raises(InputError, match=message):
            fit(network, sets, replace(RECIPE, **changes), seed=0)
    with pytest.raises(InputError, match="precision 'half'"):
        fit(model, images, RECIPE, seed=0, precision="half")
    with pytest.raises(InputError, match="give uint8"):
        predict(model, images.images.astype(np.float32))
