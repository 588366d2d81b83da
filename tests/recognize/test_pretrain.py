"""Pretraining with labels, what is kept, and the loop that all trainings share."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthbook.data import ImageSet
from synthbook.data.deferred import deferred
from synthbook.errors import InputError
from synthbook.randomness import torch_generator
from synthbook.recognize import pretrained
from synthbook.recognize.batches import order
from synthbook.recognize.loop import Curve, Optimisation, create_optimizer, steps_of
from synthbook.recognize.moco import MocoRecipe
from synthbook.recognize.models import Classifier, create_classifier
from synthbook.recognize.predict import accuracy
from synthbook.recognize.pretrain import (
    PUBLISHED,
    Supervised,
    SupervisedRecipe,
    made,
    pretrain,
)
from synthbook.recognize.views import ViewRecipe, views
from synthbook.training import TrainingError

VIEWS = ViewRecipe(
    global_views=1, local_views=0, global_scale=(0.6, 1.0), flip=False, jitter=0.0, blur=0.0
)
RECIPE = SupervisedRecipe(
    steps=12, batch_size=8, learning_rate=2.0, views=VIEWS, precision="float32"
)  # fmt: skip
SELF = MocoRecipe(
    steps=6, batch_size=8, queue=16, group=4, precision="float32",
    views=replace(VIEWS, global_views=2),
)  # fmt: skip


def striped(count: int = 24, size: int = 12, classes: int = 2) -> ImageSet:
    """Return noisy stripes across or down, of a width for each class."""
    draw, images = np.random.default_rng(0), []
    for k in range(count):
        wave = 100 * (1 + np.sin(2 * np.arange(size) / (1 + k % classes // 2)))
        wave = wave[:, None].repeat(size, 1)
        image = (wave if k % 2 else wave.T)[..., None].repeat(3, 2)
        images.append(np.clip(image + draw.normal(0, 9, image.shape), 0, 255).astype(np.uint8))
    names = tuple(f"stripes {k}" for k in range(classes))
    return ImageSet(np.stack(images), np.arange(count) % classes, names, "stripes")


def small(classes: int = 2, seed: int = 0) -> Classifier:
    shape = {"num_classes": classes, "channels": 3, "image_size": 12}
    return create_classifier("small_cnn", **shape, seed=seed)


def equal(one: Classifier, other: Classifier) -> bool:
    states = [m.state_dict().values() for m in (one, other)]
    return all(torch.equal(a, b) for a, b in zip(*states, strict=True))


# -- The loop -------------------------------------------------------------------------------------


def test_a_step_is_that_of_plain_torch() -> None:
    """SGD's first step with momentum and L2: w - rate (gradient + decay w)."""
    images, model = striped(10), small()
    recipe = replace(RECIPE, steps=1, batch_size=10, weight_decay=0.01, warmup=0.0)
    theirs = copy.deepcopy(model).train()
    trained, curve = pretrain(model, images, recipe, seed=3)
    chosen = order(10, 0, 10, seed=3, stream="loop").numpy()
    pixels = torch.from_numpy(images.images[chosen]).permute(0, 3, 1, 2)
    (seen,) = views(pixels, VIEWS, torch_generator(3, "views", 0))
    loss = F.cross_entropy(theirs(seen), torch.from_numpy(images.labels[chosen]))
    loss.backward()
    assert curve.points[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for weight, found in zip(theirs.parameters(), trained.parameters(), strict=True):
        want = weight - 2.0 * 10 / 256 * (weight.grad + 0.01 * weight)
        assert torch.allclose(found, want, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_the_rate_rises_and_falls_as_a_half_cosine(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates, kind = [], getattr(torch.optim, optimizer)
    step = kind.step

    def note(self, *given):
        rates.append([group["lr"] for group in self.param_groups])
        return step(self, *given)

    monkeypatch.setattr(kind, "step", note)
    recipe = replace(RECIPE, steps=10, warmup=0.2, learning_rate=0.32, optimizer=optimizer.lower())
    pretrain(small(), striped(8), recipe, seed=0)
    warm = [min(1, (k + 1) / 3) for k in range(10)]
    wanted = [0.01 * warm[k] * (1 + math.cos(math.pi * k / 10)) / 2 for k in range(10)]
    assert len(rates) == 10
    for each, rate in zip(rates, wanted, strict=True):
        assert each == pytest.approx([rate] * len(each))


def test_what_layers_draw_is_drawn_anew_in_every_step() -> None:
    """Such as dropout, and the shares in which images are mixed."""
    model, drawn = small(), []
    model.body.register_forward_hook(lambda *_: drawn.append(torch.rand(()).item()))
    for seed in (0, 0, 1):
        pretrain(model, striped(8), replace(RECIPE, steps=3), seed=seed)
    steps = [drawn[k + 1 : k + 4] for k in (0, 4, 8)]  # after a check of the views
    assert len({*steps[0], *steps[2]}) == 6
    assert steps[0] == steps[1]


def test_amounts_get_equal_steps_unless_epochs_are_asked_for() -> None:
    for count in (16, 24):
        seen: list[int] = []
        tell = {"on_step": lambda done, _, to=seen: to.append(done)}
        pretrain(small(), striped(count), replace(RECIPE, steps=3), seed=0, **tell)
        assert seen == [1, 2, 3]
    assert steps_of(replace(RECIPE, epochs=3), 24) == 9
    assert steps_of(replace(RECIPE, epochs=3), 16) == 6
    assert steps_of(replace(RECIPE, epochs=1), 8) == 1


def test_adamw_spares_biases_and_norms_the_decay() -> None:
    model = small()
    recipe = replace(RECIPE, optimizer="adamw", weight_decay=0.3, learning_rate=1e-3)
    groups = create_optimizer(model, recipe).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert len(decay) == len(list(model.parameters()))
    for weight in model.parameters():
        assert decay[id(weight)] == (0.3 if weight.ndim > 1 else 0.0)
    assert {group["lr"] for group in groups} == {1e-3 * 8 / 256}
    shape = {"num_classes": 2, "channels": 3, "image_size": 16}
    vit = Supervised(create_classifier("vit_tiny_patch16_224", **shape), recipe)
    bare = {id(p) for group in create_optimizer(vit, recipe).param_groups
            for p in group["params"] if not group["weight_decay"]}  # fmt: skip
    assert id(vit.model.body.pos_embed) in bare
    assert id(vit.model.body.patch_embed.proj.weight) not in bare


def test_points_of_a_curve_are_means_of_the_steps_since_the_last() -> None:
    curve, again = Curve(), Curve()
    for step in range(1, 6):
        curve.add({"loss": float(step)})
        if step == 3:
            curve.close(3, {"val": 7.0})
            again.load_state_dict(curve.state_dict())
        elif step > 3:
            again.add({"loss": float(step)})
    for one in (curve, again):
        one.close(5, {})
        assert one.points == [{"steps": 3, "loss": 2.0, "val": 7.0}, {"steps": 5, "loss": 4.5}]
    assert curve.column("loss") == [2.0, 4.5]


# -- With labels ----------------------------------------------------------------------------------


def test_it_learns_also_out_of_files() -> None:
    images = striped(48)
    recipe = replace(RECIPE, steps=60)
    model, curve = pretrain(small(), images, recipe, seed=0)
    assert accuracy(model, images) > 90
    assert curve.points[-1]["steps"] == 60
    other, _ = pretrain(small(), deferred(images), recipe, seed=0)
    assert equal(model, other)


class Fixed(nn.Module):
    """A body whose features are the mean colours."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


def test_mixed_images_have_mixed_labels() -> None:
    """Of linear logits and mixed pixels the loss is that of mixed targets; 0 mixes nothing."""
    model = Classifier(Fixed(), nn.Linear(3, 2), name="fixed", channels=3)
    seen, labels = [torch.rand(4, 3, 8, 8)], torch.tensor([0, 1, 1, 0])
    plain = Supervised(model, RECIPE)(seen, labels)["loss"].item()
    want = F.cross_entropy(model(seen[0]), labels).item()
    assert plain == pytest.approx(want)
    smooth = Supervised(model, replace(RECIPE, label_smoothing=0.2))(seen, labels)["loss"].item()
    log = model(seen[0]).log_softmax(1)
    assert smooth == pytest.approx(0.8 * want - 0.2 * log.mean().item(), rel=1e-5)
    for name in ("mixup", "cutmix"):
        learner = Supervised(model, replace(RECIPE, **{name: 1.0}))
        (mix,) = learner.mixes
        given_ = []
        mix.register_forward_hook(lambda _, x, y, to=given_: to.append(y))
        torch.manual_seed(0)
        loss = learner(seen, labels)["loss"].item()
        images, targets = given_[0]
        assert not torch.equal(images, seen[0])
        assert torch.allclose(targets.sum(1), torch.ones(4))
        log = model(images).log_softmax(1)
        assert loss == pytest.approx(-(targets * log).sum(1).mean().item(), rel=1e-5)


class Stopped(RuntimeError):
    """A kill."""


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(optimizer: str, tmp_path) -> None:
    images = striped()
    rate = {"sgd": 2.0, "adamw": 0.02}[optimizer]
    recipe = replace(RECIPE, optimizer=optimizer, learning_rate=rate, mixup=0.5, cutmix=0.5)
    whole, curve = pretrain(small(), images, recipe, seed=1)

    def stop(done: int, numbers: dict[str, float]) -> None:
        if done == 8:
            raise Stopped

    kept = {"seed": 1, "folder": tmp_path, "checkpoint_every": 5}
    with pytest.raises(Stopped):
        pretrain(small(), images, recipe, **kept, on_step=stop)
    steps: list[int] = []
    again, other = pretrain(
        small(), images, recipe, **kept, on_step=lambda done, _: steps.append(done)
    )
    assert steps == list(range(6, 13))
    assert equal(again, whole)
    assert other.points == curve.points


def test_the_published_settings_are_complete() -> None:
    for name, recipe in PUBLISHED.items():
        assert isinstance(recipe, Optimisation)
        assert set(recipe.views.sizes(256)) == {224}, name
    moco = PUBLISHED["mocov2"]
    assert (moco.momentum, moco.temperature, moco.queue, moco.batch_size // moco.group) == (
        0.999, 0.2, 65_536, 8,
    )  # fmt: skip


# -- What is kept ---------------------------------------------------------------------------------


def test_a_pretraining_is_kept_and_starts_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path))
    images, steps = striped(), []
    how = {"seed": 2, "on_step": lambda done, _: steps.append(done)}
    first = made("small_cnn", images, RECIPE, **how)
    direct, _ = pretrain(small(seed=2), images, RECIPE, seed=2)
    assert pretrained.fingerprint(pretrained.load(first)) == pretrained.fingerprint(direct)
    told = pretrained.about(first)
    assert (told["method"], told["start"], told["steps"]) == ("supervised", "random", 12)
    assert told["data"]["images"] == 24
    assert not list(first.glob("checkpoints"))
    steps.clear()
    assert made("small_cnn", images, RECIPE, **how) == first
    assert steps == []
    second = made("small_cnn", images, SELF, start=str(first), **how)
    assert pretrained.about(second)["method"] == "mocov2"
    assert len({first, second, made("small_cnn", images, SELF, **how)}) == 3


def test_a_pretraining_that_was_killed_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path))
    how, steps = {"seed": 2, "checkpoint_every": 2}, []

    def stop(done: int, numbers: dict[str, float]) -> None:
        steps.append(done)
        if len(steps) == 5:
            raise Stopped

    with pytest.raises(Stopped):
        made("small_cnn", striped(), SELF, **how, on_step=stop)
    folder = made("small_cnn", striped(), SELF, **how, on_step=stop)
    assert steps == [1, 2, 3, 4, 5, 5, 6]
    direct, _ = pretrain(small(seed=2), striped(), SELF, seed=2)
    assert pretrained.fingerprint(pretrained.load(folder)) == pretrained.fingerprint(direct)


def huge(model: Classifier) -> None:
    recipe = replace(RECIPE, learning_rate=1e30, warmup=0.0)
    with pytest.raises(TrainingError, match="lower the learning rate"):
        pretrain(model, striped(), recipe, seed=0)
    raise InputError("it stopped")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: pretrain(small(), striped(7), RECIPE, seed=0),
            "7 images, fewer than a batch of 8",
        ),
        (lambda: pretrain(small(3), striped(), RECIPE, seed=0), "2 classes and the model knows 3"),
        (lambda: made("smal_cnn", striped(), RECIPE, seed=0), "did you mean 'small_cnn'"),
        (lambda: replace(RECIPE, optimizer="sdg"), "did you mean 'sgd'"),
        (lambda: made("small_cnn", striped().subset([]), RECIPE, seed=0), "has no images"),
        (lambda: huge(small()), "it stopped"),
    ],
)
def test_bad_input_is_named(call, said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()
