"""Training a detector: it learns, goes on after a kill, and is the same for every start."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from synthbook.data.boxed import Boxed, Objects, in_memory
from synthbook.errors import InputError
from synthbook.measure.average_precision import mean_average_precision
from synthbook.recognize.detect import (
    MOCO_VOC_TRAINING,
    DetectRecipe,
    detect,
    flipped,
    rate_factor,
    train_detector,
)
from synthbook.recognize.detectors import Detector, DetectorRecipe, create_detector
from synthbook.training import TrainingError

RECIPE = DetectRecipe(steps=6, batch_size=4, warmup=2)


def squares(count: int = 12, seed: int = 0, size: int = 32) -> Boxed:
    """Return images with a red square (class 0) and a blue one (class 1) on noise."""
    draw = np.random.default_rng(seed)
    images, objects = draw.integers(90, 120, (count, size, size, 3)).astype(np.uint8), []
    for image in images:
        boxes = []
        for k, start in enumerate((0, size // 2)):
            side = int(draw.integers(9, 15))
            left, top = start + draw.integers(0, 2), draw.integers(0, size - side)
            left = min(left, size - side)
            image[top : top + side, left : left + side] = (255, 0, 0) if k == 0 else (0, 0, 255)
            boxes.append((left, top, left + side, top + side))
        given = np.array(boxes, np.float32)
        objects.append(Objects(given, np.arange(2), np.zeros(2, bool)))
    return in_memory(images, objects, ("red", "blue"), "squares")


def tiny(seed: int = 0, classes: int = 2) -> Detector:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
                  nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU()]  # fmt: skip
    recipe = DetectorRecipe(sides=(32,), stride=4, width=32, depth=1)
    return create_detector(nn.Sequential(*layers), num_classes=classes, recipe=recipe, seed=seed)


def equal(one: Detector, other: Detector) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_it_learns_what_it_has_not_seen() -> None:
    """From nothing to nearly all: boxes and classes of other images than those of training."""
    model, other = tiny(), squares(20, seed=9)
    before = mean_average_precision(detect(model, other), other)
    recipe = DetectRecipe(steps=120, batch_size=8, learning_rate=0.01, warmup=5)
    _, losses = train_detector(model, squares(40), recipe, seed=0)
    after = mean_average_precision(detect(model, other), other)
    assert before < 10
    assert after > 80
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path) -> None:
    def stop(done: int, _: dict) -> None:
        if done == 4:
            raise KeyboardInterrupt

    straight, curve = train_detector(tiny(), squares(), RECIPE, seed=3)
    how = {"seed": 3, "folder": tmp_path, "checkpoint_every": 3}
    with pytest.raises(KeyboardInterrupt):
        train_detector(tiny(), squares(), RECIPE, on_step=stop, **how)
    steps = []
    again, other = train_detector(
        tiny(1), squares(), RECIPE, on_step=lambda done, _: steps.append(done), **how
    )
    assert steps == [4, 5, 6]
    assert equal(straight, again)
    assert curve == other
    with pytest.raises(InputError, match="was made with seed = 3, not 4"):
        train_detector(tiny(), squares(), RECIPE, **{**how, "seed": 4})


def test_batch_normalisation_is_trained_with_the_rest() -> None:
    model, before = tiny(), tiny().state_dict()
    train_detector(model, squares(), RECIPE, seed=0)
    changed = {k for k, value in model.state_dict().items() if not torch.equal(value, before[k])}
    for name in ("weight", "running_mean"):
        assert any(key.endswith(f"part.1.{name}") for key in changed)
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


def test_the_first_step_is_that_of_the_optimiser() -> None:
    """SGD without momentum's memory: w - rate (gradient + decay w), on the batch as drawn."""
    one = replace(RECIPE, steps=1, optimizer="sgd", learning_rate=0.1, warmup=0, weight_decay=0.01,
                  batch_size=12, flip=False)  # fmt: skip
    model, plain = tiny(), tiny()
    # One step is past both drops, of 0.75 and 0.92 steps; so the rate is whole only at step 0.
    train_detector(model, squares(), one, seed=0)
    scenes = squares()
    images = [torch.from_numpy(scenes.read(k)).permute(2, 0, 1).float() / 255 for k in range(12)]
    sum(plain.train()(images, scenes.objects).values()).backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        stepped = theirs - 0.1 * (theirs.grad + 0.01 * theirs)
        assert torch.allclose(ours, stepped, atol=1e-4)


def test_mirroring_moves_boxes_with_their_pixels() -> None:
    scenes = squares()
    for number in range(3):
        image, seen = scenes.read(number), scenes.objects[number]
        mirrored, moved = flipped(image, seen)
        for k, (left, top, right, bottom) in enumerate(moved.boxes.astype(int)):
            colour = mirrored[top:bottom, left:right].reshape(-1, 3)
            assert (colour == ((255, 0, 0), (0, 0, 255))[k]).all()
        back, again = flipped(mirrored, moved)
        assert np.array_equal(back, image)
        assert np.array_equal(again.boxes, seen.boxes)


@pytest.mark.parametrize("flip", [False, True])
def test_some_images_are_mirrored_in_training_with_their_boxes(flip: bool) -> None:
    model, seen, turned = tiny(), [], 0
    model.register_forward_pre_hook(lambda _, given: seen.extend(zip(*given, strict=True)))
    train_detector(model, squares(), replace(RECIPE, flip=flip), seed=0)
    for image, objects in seen:
        for label, (left, top, right, bottom) in enumerate(objects.boxes.astype(int)):
            wanted = torch.tensor(((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))[label])
            assert torch.equal(image[:, top:bottom, left:right].amax((1, 2)), wanted)
        turned += objects.boxes[0, 0] > objects.boxes[1, 0]  # the red one is left at first
    assert len(seen) == 24
    assert 6 < turned < 18 if flip else not turned


def test_all_images_come_in_an_order_of_their_own_before_one_comes_again() -> None:
    model, scenes, seen = tiny(), squares(), []
    model.register_forward_pre_hook(lambda _, given: seen.extend(given[1]))
    train_detector(model, scenes, replace(RECIPE, flip=False), seed=0)
    known = [some.boxes.tolist() for some in scenes.objects]
    numbers = [known.index(some.boxes.tolist()) for some in seen]
    assert sorted(numbers[:12]) == sorted(numbers[12:]) == list(range(12))
    assert numbers[:12] != numbers[12:] != list(range(12))


def test_gradients_are_cut_to_a_norm() -> None:
    """So far do all weights move together in a step of SGD: rate times norm."""
    recipe = replace(RECIPE, steps=1, optimizer="sgd", learning_rate=0.5, warmup=0, weight_decay=0)
    moved = []
    for clip in (0.0, 0.2):
        model, before = tiny(), [p.detach().clone() for p in tiny().parameters()]
        train_detector(model, squares(), replace(recipe, clip=clip), seed=0)
        apart = [p - old for p, old in zip(model.parameters(), before, strict=True)]
        moved.append(torch.cat([x.flatten() for x in apart]).norm().item())
    assert moved[0] > 0.2
    assert moved[1] == pytest.approx(0.5 * 0.2, rel=1e-3)


def test_the_rate_rises_and_falls_twice() -> None:
    assert rate_factor(MOCO_VOC_TRAINING, 0) == pytest.approx(1 / 101)
    found = [rate_factor(MOCO_VOC_TRAINING, k) for k in (100, 17_999, 18_000, 21_999, 22_000)]
    assert found == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_batches_change_nothing_that_is_found() -> None:
    model, scenes = tiny().train(), squares(5)
    model.network.score_thresh = 0.0
    all_at_once, one_by_one = (detect(model, scenes, batch_size=n) for n in (5, 1))
    assert model.training
    for a, b in zip(all_at_once, one_by_one, strict=True):
        assert len(a) == len(b) > 0
        assert np.allclose(np.sort(a.scores), np.sort(b.scores), atol=1e-5)


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(InputError, match="'squares' has 3 images, fewer than a batch of 4"):
        train_detector(tiny(), squares(3), RECIPE, seed=0)
    with pytest.raises(InputError, match="has 2 classes and the detector knows 3"):
        train_detector(tiny(classes=3), squares(), RECIPE, seed=0)
    only = squares().of_classes(["blue"])
    wider = Boxed(only.objects, ("blue", "green"), "squares", only.sizes, only.read, "")
    with pytest.raises(InputError, match="class 'green' has no box in 'squares'"):
        train_detector(tiny(), wider, RECIPE, seed=0)
    with pytest.raises(InputError, match="device 'gpu' is none"):
        train_detector(tiny(), squares(), RECIPE, seed=0, device="gpu")
    fast = replace(RECIPE, optimizer="sgd", learning_rate=1e12, warmup=0, steps=30)
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train_detector(tiny(), squares(), fast, seed=0)
