"""SimCLR: the loss of its equation, views, and a training that learns and goes on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.recognize.contrastive import (
    ContrastiveRecipe,
    encoder,
    nt_xent,
    steps_of,
    train_contrastive,
    viewer,
)


def slowly(first: np.ndarray, second: np.ndarray, tau: float) -> float:
    """Equation 1, as it is written: a mean over ordered pairs."""
    views = np.concatenate([first, second]).astype(float)
    count = len(first)

    def s(i: int, k: int) -> float:
        return views[i] @ views[k] / np.linalg.norm(views[i]) / np.linalg.norm(views[k])

    losses = []
    for i in range(2 * count):
        j = (i + count) % (2 * count)
        below = sum(math.exp(s(i, k) / tau) for k in range(2 * count) if k != i)
        losses.append(-math.log(math.exp(s(i, j) / tau) / below))
    return float(np.mean(losses))


@given(st.integers(1, 6), st.integers(1, 5), st.floats(0.1, 2), st.integers(0, 10**6))
def test_the_loss_is_that_of_the_equation(count: int, width: int, tau: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    first, second = draw.normal(size=(2, count, width))
    found = nt_xent(torch.from_numpy(first), torch.from_numpy(second), tau)
    assert found.item() == pytest.approx(slowly(first, second, tau), rel=1e-4, abs=1e-5)


def test_the_loss_is_least_where_views_agree_and_images_differ() -> None:
    apart = torch.eye(4)
    best = nt_xent(apart, apart, 0.1).item()
    assert best < nt_xent(apart, apart.roll(1, 0), 0.1).item()
    same = torch.ones(4, 4)
    assert nt_xent(same, same, 0.1).item() == pytest.approx(math.log(7))
    assert best == pytest.approx(math.log(1 + 6 * math.exp(-10)), abs=1e-6)


def coloured(count: int = 24, size: int = 8) -> ImageSet:
    """Return stripes of random directions: two views of one have its direction in common."""
    draw = np.random.default_rng(0)
    across = np.arange(size)
    images = []
    for k in range(count):
        wave = 127 * (1 + np.sin(across * (1 + k % 4)))[:, None].repeat(size, 1)
        image = (wave if k % 2 else wave.T)[..., None].repeat(3, 2)
        images.append(np.clip(image + draw.normal(0, 9, image.shape), 0, 255).astype(np.uint8))
    return ImageSet(np.stack(images), np.zeros(count, int), ("any",), "stripes")


class Small(nn.Module):
    """A network of one convolution."""

    num_features = 6

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


RECIPE = ContrastiveRecipe(epochs=12, batch_size=8, learning_rate=0.02, warmup_steps=2, jitter=0.0)


def test_training_brings_views_of_one_image_together(tmp_path) -> None:
    images, losses = coloured(), []
    given_ = {"seed": 1, "on_step": lambda done, numbers: losses.append(numbers["loss"])}
    network = train_contrastive(Small(), images, RECIPE, **given_)
    assert len(losses) == steps_of(RECIPE, len(images)) == 36
    assert np.mean(losses[-6:]) < np.mean(losses[:6]) - 0.1
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())


class Seeing(Small):
    """It keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images.clone())
        return super().forward(images)


def test_every_epoch_shows_all_images_twice_in_an_order_of_its_own() -> None:
    pixels = np.broadcast_to(np.arange(0, 240, 20)[:, None, None, None], (12, 8, 8, 3))
    images = ImageSet(pixels.astype(np.uint8), np.zeros(12, int), ("any",), "flat")
    network = train_contrastive(Seeing(), images, replace(RECIPE, epochs=2, batch_size=4), seed=0)
    levels = torch.stack([255 / 20 * one.mean((1, 2, 3)) for one in network.seen]).round()
    assert levels.shape == (2 * 3, 2 * 4)
    assert torch.equal(levels[:, :4], levels[:, 4:])  # both views of an image
    first, second = (some.flatten().tolist() for some in levels[:, :4].split(3))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second != sorted(second)


def test_views_are_drawn_anew_in_every_step() -> None:
    same = replace(some := coloured(8), images=some.images[:1].repeat(8, 0))
    network = train_contrastive(Seeing(), same, replace(RECIPE, epochs=4), seed=0)
    assert len({one.numpy().tobytes() for one in network.seen}) == 4


def test_the_rate_rises_and_falls_as_a_half_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, step = [], torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW,
        "step",
        lambda self, *given: rates.append(self.param_groups[0]["lr"]) or step(self, *given),
    )
    train_contrastive(Small(), coloured(), replace(RECIPE, epochs=4), seed=0)
    cosine = [(1 + math.cos(math.pi * k / 12)) / 2 for k in range(12)]
    warm = [min(1, (k + 1) / 3) for k in range(12)]
    assert rates == pytest.approx([0.02 * a * b for a, b in zip(cosine, warm, strict=True)])


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path) -> None:
    images = coloured()
    whole = train_contrastive(Small(), images, RECIPE, seed=1)

    class Stopped(RuntimeError):
        pass

    def stop(done: int, numbers: dict[str, float]) -> None:
        if done == 20:
            raise Stopped

    how = {"seed": 1, "folder": tmp_path / "kept", "checkpoint_every": 6}
    with pytest.raises(Stopped):
        train_contrastive(Small(), images, RECIPE, **how, on_step=stop)
    seen: list[int] = []
    again = train_contrastive(
        Small(), images, RECIPE, **how, on_step=lambda done, _: seen.append(done)
    )
    assert seen[0] == 19
    for ours, theirs in zip(again.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_labels_have_no_say() -> None:
    images = coloured()
    other = ImageSet(images.images, np.arange(24) % 2, ("a", "b"), images.name)
    made = [train_contrastive(Small(), some, RECIPE, seed=1) for some in (images, other)]
    assert torch.equal(made[0].layers[0].weight, made[1].layers[0].weight)


def test_a_view_is_a_part_of_the_image_in_its_size() -> None:
    view = viewer(ContrastiveRecipe(crop=0.2, jitter=0.5), 16)
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    image[:, :, 8:] = 200
    torch.manual_seed(0)
    views = [view(image) for _ in range(40)]
    assert {tuple(one.shape) for one in views} == {(3, 16, 16)}
    assert len({one.numpy().tobytes() for one in views}) > 30
    plain = viewer(ContrastiveRecipe(crop=1.0, jitter=0.0), 16)(image)
    assert set(plain.unique().tolist()) <= set(range(201))


def test_the_encoder_has_the_width_that_it_says() -> None:
    network = encoder(seed=3).eval()
    features = network(torch.rand(2, 3, 32, 32))
    assert features.shape == (2, network.num_features)
    other = encoder(seed=3).eval()(torch.zeros(1, 3, 32, 32))
    assert torch.equal(other, network(torch.zeros(1, 3, 32, 32)))
    assert 0.5e6 < sum(weight.numel() for weight in network.parameters()) < 1e6


def test_grey_images_and_a_single_one_are_refused() -> None:
    grey = ImageSet(np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, int), ("any",), "grey")
    for some in (grey, coloured().subset([0])):
        with pytest.raises(InputError, match="two images or more, in colour"):
            train_contrastive(Small(), some, RECIPE, seed=0)
