"""MoCo v2: its loss, queue and slow encoder by hand, and that labels have no say."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.randomness import seeded
from synthbook.recognize.moco import Moco, MocoRecipe
from synthbook.recognize.models import Classifier, create_classifier
from synthbook.recognize.pretrain import pretrain
from synthbook.recognize.views import ViewRecipe

VIEWS = ViewRecipe(local_views=0, global_scale=(0.3, 1.0), jitter=0.5, blur=0.0)
RECIPE = MocoRecipe(
    steps=12, batch_size=8, queue=16, projected=6, group=4, momentum=0.9, views=VIEWS,
    precision="float32",
)  # fmt: skip


class Flat(nn.Module):
    """A body without BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh())

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def flat() -> Classifier:
    with seeded(0, "flat"):
        return Classifier(Flat(), nn.Linear(5, 2), name="flat", channels=3)


def small(size: int = 8) -> Classifier:
    return create_classifier("small_cnn", num_classes=2, channels=3, image_size=size)


def coloured(count: int = 40, size: int = 8, seed: int = 0) -> ImageSet:
    """Return images of one colour each, with noise: two views of one have its colour in common."""
    draw = np.random.default_rng(seed)
    colour = draw.integers(30, 225, (count, 1, 1, 3))
    pixels = np.clip(colour + draw.normal(0, 9, (count, size, size, 3)), 0, 255).astype(np.uint8)
    return ImageSet(pixels, np.arange(count) % 2, ("a", "b"), "coloured")


def two(count: int, size: int, seed: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.rand(count, 3, size, size, generator=draw) for _ in range(2)]


def unit(rows: Tensor) -> np.ndarray:
    rows = rows.detach().double().numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.05, 1), st.integers(1, 3), st.integers(0, 10**6))
def test_the_loss_is_that_of_the_equation_and_the_queue_is_filled_in_order(
    tau: float, batches: int, seed: int
) -> None:
    recipe = replace(RECIPE, batch_size=4, queue=4 * batches, temperature=tau, momentum=1.0)
    moco = Moco(flat(), recipe, seed=seed)
    queue = moco.criterion.memory_bank.bank.double().numpy()
    for step in range(batches + 2):
        seen = two(4, 2, seed + step)
        q, keys = unit(moco.query(seen[0])), unit(moco.key(seen[1]))
        total = 0.0
        for i in range(4):
            right = np.exp(q[i] @ keys[i] / tau)
            others = sum(np.exp(q[i] @ k / tau) for k in queue)
            total -= np.log(right / (right + others)) / 4
        loss = moco(seen)["loss"]
        assert loss.item() == pytest.approx(total, rel=1e-4, abs=1e-5)
        first = 4 * (step % batches)  # the oldest batch makes room
        queue = queue.copy()
        queue[first : first + 4] = keys
        np.testing.assert_allclose(moco.criterion.memory_bank.bank.numpy(), queue, atol=1e-6)


def test_the_key_encoder_is_the_moving_average_of_the_query_encoder() -> None:
    """theta_k = m^n theta_0 + (1 - m) sum over i of m^(n - 1 - i) theta_i, and has no gradient."""
    m, moco = 0.9, Moco(flat(), RECIPE, seed=0)
    optimizer = torch.optim.SGD([p for p in moco.parameters() if p.requires_grad], 0.5)
    start = [p.detach().double().clone() for p in moco.query.parameters()]
    past: list[list[Tensor]] = []
    for step in range(5):
        past.append([p.detach().double().clone() for p in moco.query.parameters()])
        optimizer.zero_grad()
        moco(two(8, 2, step))["loss"].backward()
        optimizer.step()
    for k, (key, first) in enumerate(zip(moco.key.parameters(), start, strict=True)):
        want = m**5 * first + (1 - m) * sum(m ** (4 - i) * past[i][k] for i in range(5))
        assert torch.allclose(key.double(), want, atol=1e-6)
        assert key.grad is None
    moved = zip(start, moco.query.parameters(), strict=True)
    assert max(float((a - b.detach()).abs().max()) for a, b in moved) > 1e-3


def test_groups_have_statistics_of_their_own_and_keys_are_shuffled() -> None:
    """A key's group is not its query's; without BatchNorm neither matters."""
    moco, sizes = Moco(small(), RECIPE, seed=0), []
    moco.key.body[0].register_forward_pre_hook(lambda _, x: sizes.append(x[0].clone()))
    seen = two(8, 8, 0)
    with seeded(0, "now"):
        moco.train()(seen)
    assert [len(part) for part in sizes] == [4, 4]
    mixed = torch.cat(sizes)
    normal = (seen[1] - 0.5) / 0.5
    place = [int((mixed - one).abs().flatten(1).sum(1).argmin()) for one in normal]
    assert sorted(place) == list(range(8))  # each image once
    assert place != list(range(8))
    assert {k // 4 for k in place[:4]} == {0, 1}  # the first group's keys lie in both
    for group in (0, 2, 4):
        plain = Moco(flat(), replace(RECIPE, group=group), seed=1)
        assert plain(two(8, 2, 3))["loss"].item() == pytest.approx(
            Moco(flat(), RECIPE, seed=1)(two(8, 2, 3))["loss"].item(), rel=1e-5
        )


def weights(model: Classifier) -> list[Tensor]:
    return [value.detach().contiguous() for value in model.state_dict().values()]


def equal(one: Classifier, other: Classifier) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_labels_have_no_say_and_the_head_stays() -> None:
    images, start = coloured(), small()
    head = copy.deepcopy(start.head)
    relabelled = ImageSet(images.images, 1 - images.labels, ("a", "b"), images.name)
    made = [
        pretrain(copy.deepcopy(start), some, RECIPE, seed=1)[0] for some in (images, relabelled)
    ]
    assert equal(*made)
    assert not equal(made[0], start)
    assert torch.equal(made[0].head.weight, head.weight)
    assert not made[0].training
    assert made[0].num_classes == 2


def found_again(model: Classifier) -> float:
    """Return the share of new images that are the nearest to a turned and shifted self."""
    pixels = torch.from_numpy(coloured(60, seed=9).images).permute(0, 3, 1, 2).float() / 255
    known = F.normalize(model.eval().features(pixels), dim=1)
    asked = F.normalize(model.features(pixels.roll(4, 3).flip(2)), dim=1)
    return float(((asked @ known.T).argmax(1) == torch.arange(60)).float().mean())


def test_it_brings_views_of_one_image_together() -> None:
    recipe = replace(
        RECIPE, steps=150, batch_size=20, queue=40, group=10, learning_rate=0.3,
        views=replace(VIEWS, jitter=0.0),
    )  # fmt: skip
    losses: list[float] = []
    tell = {"on_step": lambda _, numbers: losses.append(numbers["loss"])}
    model, _ = pretrain(small(), coloured(120), recipe, seed=0, **tell)
    assert np.mean(losses[-50:]) < np.mean(losses[:50]) - 0.2
    assert found_again(model) > found_again(small()) + 0.1


class Stopped(RuntimeError):
    """A kill."""


def test_a_training_that_was_stopped_goes_on_to_the_same_bits(tmp_path) -> None:
    images = coloured()
    whole, curve = pretrain(small(), images, RECIPE, seed=1)

    def stop(done: int, numbers: dict[str, float]) -> None:
        if done == 8:
            raise Stopped

    kept = {"seed": 1, "folder": tmp_path, "checkpoint_every": 5}
    model = small()
    with pytest.raises(Stopped):
        pretrain(model, images, RECIPE, **kept, on_step=stop)
    assert isinstance(model.head, nn.Linear)
    steps: list[int] = []
    again, other = pretrain(
        small(), images, RECIPE, **kept, on_step=lambda done, _: steps.append(done)
    )
    assert steps == list(range(6, 13))
    assert equal(again, whole)
    assert other.points == curve.points
    another = create_classifier("small_cnn", num_classes=2, channels=3, image_size=8, seed=5)
    with pytest.raises(InputError, match="made with start ="):
        pretrain(another, images, RECIPE, **kept)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: replace(RECIPE, queue=20), "no multiple of batch_size = 8; give 16"),
        (lambda: replace(RECIPE, group=3), "group = 3 does not cut"),
        (lambda: replace(RECIPE, group=1), "two images or more"),
        (lambda: replace(RECIPE, views=ViewRecipe()), "give global_views 2 and local_views 0"),
        (lambda: replace(RECIPE, temperature=0.0), "temperature = 0.0"),
        (lambda: pretrain(small(), coloured(7), RECIPE, seed=0), "7 images, fewer than a batch"),
        (lambda: pretrain(small(), coloured(23), RECIPE, seed=0), "older keys of the same images"),
    ],
)
def test_bad_input_is_named(call, said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()
