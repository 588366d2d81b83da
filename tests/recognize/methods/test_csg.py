"""CSG: the contrast in closed form, the queue, the slow head, attention, and that it learns."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.randomness import torch_generator
from synthbook.recognize.batches import Batch
from synthbook.recognize.methods.csg import (
    attention,
    csg,
    csg_step,
    info_nce,
    latest,
    pooled,
    projection,
    with_map,
)
from synthbook.recognize.methods.guide import Guide, create_guide
from synthbook.recognize.methods.task import Together
from synthbook.recognize.models import Classifier, create_classifier
from synthbook.recognize.predict import accuracy
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import create_optimizer

RECIPE = Recipe(epochs=6, batch_size=16, learning_rate=0.01)
NUMBERS = {"weight": 0.1, "temperature": 0.07, "momentum": 0.999, "queue": 1024}


def units(count: int, width: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(count, width, generator=torch_generator(seed, "units")), dim=1)


def own(n: int, m: int) -> Tensor:
    """Return which of n keys and m older ones are of a query's own image: its key alone."""
    return torch.eye(n, n + m, dtype=torch.bool)


@given(st.integers(1, 6), st.integers(0, 6), st.floats(0.05, 2.0))
@settings(max_examples=30, deadline=None)
def test_info_nce_of_orthogonal_features_is_the_closed_form(n: int, m: int, t: float) -> None:
    axes = torch.eye(n + m, dtype=torch.float64)
    loss = info_nce(axes[:n], axes[:n], axes[n:], temperature=t, same=own(n, m))
    assert loss.item() == pytest.approx(math.log1p((n - 1 + m) * math.exp(-1 / t)), rel=1e-9)


def test_info_nce_keeps_its_precision_under_autocast() -> None:
    queries, keys, older = units(6, 32, 0), units(6, 32, 1), units(4, 32, 2)
    how = {"temperature": 0.07, "same": own(6, 4)}
    plain = info_nce(queries, keys, older, **how)
    with torch.autocast("cpu", torch.bfloat16):
        loss = info_nce(queries, keys, older, **how)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, plain)


def test_an_image_is_not_its_own_negative() -> None:
    axes = torch.eye(4, dtype=torch.float64)
    older = axes[[1, 3]]  # the key of image 1, when it last came, and that of another
    same = own(3, 2)
    same[1, 3] = True
    left_out = info_nce(axes[:3], axes[:3], older, temperature=0.5, same=same)
    e = math.exp(-2)
    by_hand = (2 * math.log1p(4 * e) + math.log1p(3 * e)) / 3
    assert left_out.item() == pytest.approx(by_hand, rel=1e-9)


@given(st.integers(0, 9), st.lists(st.integers(1, 12), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_the_queue_is_first_in_first_out(size: int, pushes: list[int]) -> None:
    everything, queue = torch.arange(sum(pushes)), torch.zeros(0, dtype=torch.long)
    for part in everything.split(pushes):
        queue = latest(queue, part, size)
    assert torch.equal(queue, everything[max(0, len(everything) - size) :])


def test_attention_is_that_computed_by_hand() -> None:
    there = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).T.view(1, 2, 1, 2)  # (2, 0) beside (0, 1)
    weights = attention(there)
    torch.testing.assert_close(weights, torch.tensor([[[0.8, 0.2]]]))
    torch.testing.assert_close(pooled(there, weights), torch.tensor([[1.6, 0.2]]))


def test_attention_adds_up_to_one_and_is_even_where_nothing_stands_out() -> None:
    draws = torch_generator(0, "maps")
    maps = torch.randn(5, 7, 3, 4, generator=draws)
    assert (attention(maps) >= 0).all()
    torch.testing.assert_close(attention(maps).sum((1, 2)), torch.ones(5))
    for flat in (torch.zeros(2, 7, 3, 4), torch.ones(2, 7, 3, 4)):
        torch.testing.assert_close(attention(flat), torch.full((2, 3, 4), 1 / 12))


def test_weights_of_another_size_are_resized() -> None:
    maps = torch.rand(2, 3, 4, 4, generator=torch_generator(0, "maps"))
    even = torch.full((2, 2, 2), 1 / 4)
    torch.testing.assert_close(pooled(maps, even), maps.mean((2, 3)))
    left = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]) / 2
    columns = torch.arange(4.0).expand(1, 1, 4, 4)
    # Bilinear columns of (1, 0): 1, 0.75, 0.25, 0, of which the mean place is 5 / 8.
    assert pooled(columns, left).item() == pytest.approx(5 / 8)


def test_the_map_is_the_one_that_is_pooled(classifier, batches) -> None:
    model, images = classifier().eval(), batches(5)["real"].images
    features, feature_map = with_map(model, images)
    assert feature_map.shape == (5, 64, 2, 2)
    torch.testing.assert_close(feature_map.mean((2, 3)), features)
    assert torch.equal(features, model.features(images))
    small = images[:, :, :4, :4]
    assert with_map(model, small)[1] is None  # a single position
    bare = Classifier(nn.Flatten(), nn.Linear(64, 3), name="bare", channels=1)
    assert with_map(bare, images)[1] is None
    assert not any(layer._forward_pre_hooks for layer in model.modules())


@pytest.fixture
def together(classifier) -> Together:
    """The classifier with both heads."""
    queries = projection(64, 0)
    return Together(
        classifier(), queries=queries, keys=copy.deepcopy(queries).requires_grad_(False)
    )


@pytest.fixture
def batch(batches):
    """(start, stop) -> some images of one batch."""
    whole = batches(12)["synthetic"]

    def part(start: int, stop: int) -> Batch:
        return Batch(*(x[start:stop] for x in (whole.images, whole.labels, whole.indices)))

    return part


def units_by_hand(together: Together, guide: Guide, some: Batch) -> tuple[Tensor, Tensor]:
    """Return queries and keys by their definition, with the maps of small networks."""
    maps = [n.body[:-2]((some.images - 0.5) / 0.5) for n in (together.model, guide.network)]
    weights = torch.einsum("nchw,nc->nhw", maps[0], maps[0].mean((2, 3)))
    weights = weights / weights.sum((1, 2), keepdim=True)
    ours, theirs = ((m * weights[:, None]).sum((2, 3)) for m in maps)
    queries = F.normalize(together.queries(ours), dim=1)
    return queries, F.normalize(together.keys(theirs), dim=1).detach()


def test_steps_go_down_the_contrast_with_earlier_keys_as_negatives(together, guide, batch) -> None:
    frozen = guide()
    recipe = replace(RECIPE, optimizer="sgd", learning_rate=0.1)
    optimizer = create_optimizer(together, recipe)
    step = csg_step(frozen, **NUMBERS | {"weight": 0.7, "momentum": 1.0})
    older = torch.zeros(0, 128)
    for k, some in enumerate((batch(0, 6), batch(6, 12))):
        reference = copy.deepcopy(together).eval()
        queries, keys = units_by_hand(reference, frozen, some)
        scores = torch.cat([queries @ keys.T, queries @ older.T], 1) / 0.07
        contrast = F.cross_entropy(scores, torch.arange(len(some)))
        (F.cross_entropy(reference.model(some.images), some.labels) + 0.7 * contrast).backward()
        found = step(together.train(), {"synthetic": some}, optimizer)
        assert found["contrast"].item() == pytest.approx(contrast.item(), rel=1e-4)
        older = torch.cat([older, keys])
        if k:
            continue  # the second step has momentum
        pairs = zip(together.parameters(), reference.parameters(), strict=True)
        for new, old in pairs:
            moved = 0 if old.grad is None else 0.1 * old.grad
            torch.testing.assert_close(new.detach(), (old - moved).detach(), atol=1e-6, rtol=1e-3)
    assert all(p.grad is None for p in together.keys.parameters())


def test_the_keys_head_follows_that_of_the_queries(together, guide, batch) -> None:
    optimizer = create_optimizer(together, RECIPE)
    step, start = csg_step(guide(), **NUMBERS | {"momentum": 0.75}), copy.deepcopy(together.keys)
    step(together, {"synthetic": batch(0, 6)}, optimizer)
    for a, b in zip(together.keys.parameters(), start.parameters(), strict=True):
        assert torch.equal(a, b)  # at the first step both are alike
    reached = copy.deepcopy(together.queries)
    step(together, {"synthetic": batch(6, 12)}, optimizer)
    heads = (together.keys, start, reached)
    for end, old, new in zip(*(head.parameters() for head in heads), strict=True):
        torch.testing.assert_close(end, 0.75 * old + 0.25 * new)


@pytest.mark.parametrize("length", [0, 3, 6])
def test_an_image_that_comes_again_is_not_contrasted_with_itself(
    length: int, together, guide, batch
) -> None:
    """The second time the queue holds the last keys of the same batch."""
    frozen, some = guide(), batch(5, 8)
    with torch.no_grad():
        queries, keys = units_by_hand(copy.deepcopy(together).eval(), frozen, some)
    scores, own = queries @ keys.T / 0.07, torch.eye(3, dtype=torch.bool)
    again = scores.masked_fill(own, float("-inf")) if length else scores[:, :0]
    wanted = [scores, torch.cat([scores, again], 1)]
    optimizer = create_optimizer(together, replace(RECIPE, learning_rate=1e-12))
    step = csg_step(frozen, **NUMBERS | {"queue": length})
    for by_hand in wanted:
        loss = F.cross_entropy(by_hand, torch.arange(3))
        found = step(together, {"synthetic": some}, optimizer)["contrast"]
        assert found.item() == pytest.approx(loss.item(), rel=1e-4)


def test_a_guide_of_another_width_is_refused_before_training(classifier, task, weights) -> None:
    body, head = nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), nn.Linear(7, 9)
    other = Guide(Classifier(body, head, name="other", channels=1), input_size=8, channels=1)
    with pytest.raises(InputError, match="widths 7 and 64"):
        csg(model := classifier(), task(real=None, guide=other))
    assert torch.equal(weights(model), weights(classifier()))


@pytest.mark.parametrize("queue", [0, 40])
@pytest.mark.parametrize("size", [4, 8, 16])
def test_it_learns(queue: int, size: int, classifier, guide, task, quadrants) -> None:
    """Also where the guide sees larger images, or its map is a single position."""
    given = {"guide": guide(size), "recipe": RECIPE, "updates": 64}
    csg(model := classifier(), task(real=None, **given), queue=queue)
    assert accuracy(model, quadrants(100, 9)) > 90


@pytest.mark.slow
def test_networks_of_timm_give_their_map(task, quadrants) -> None:
    frozen = create_guide("efficientnet_lite0", channels=1, input_size=64)
    images = torch.rand(2, 1, 64, 64, generator=torch_generator(0, "images"))
    features, feature_map = with_map(frozen.network, images)
    assert feature_map.shape == (2, 1280, 2, 2)
    torch.testing.assert_close(feature_map.mean((2, 3)), features)
    model = create_classifier(
        "efficientnet_lite0", num_classes=4, channels=1, image_size=64, pretrained=True, seed=0
    )
    recipe = Recipe(epochs=4, batch_size=16, learning_rate=0.003, input_size=64)
    csg(model, task(real=None, guide=frozen, recipe=recipe, updates=24))
    assert accuracy(model, quadrants(100, 9), input_size=64) > 60
