"""The loop's batches: what is read ahead is what would be read and cut at once."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.data.deferred import deferred
from synthbook.errors import InputError
from synthbook.randomness import torch_generator
from synthbook.recognize import loop
from synthbook.recognize.loop import read_ahead
from synthbook.recognize.views import ViewRecipe, views

RECIPE = ViewRecipe(global_size=16, local_size=8)
CPU = torch.device("cpu")
Batches = list[tuple[int, list[torch.Tensor], torch.Tensor]]


@pytest.fixture
def images() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    return ImageSet(pixels, np.arange(40) % 4, ("a", "b", "c", "d"), "noise")


def batches(images: ImageSet, steps: range, seed: int = 1) -> Batches:
    return list(read_ahead(deferred(images), 8, steps, RECIPE, CPU, seed=seed, stream="loop"))


def test_five_batches_are_all_images(images: ImageSet) -> None:
    found = batches(images, range(5))
    assert [step for step, _, _ in found] == [0, 1, 2, 3, 4]
    labels = torch.cat([labels for _, _, labels in found])
    assert sorted(labels.tolist()) == sorted(images.labels.tolist())


def test_a_later_start_gives_the_same_batch(images: ImageSet) -> None:
    (_, whole, labels), (_, later, same) = (
        batches(images, range(8))[7],
        *batches(images, range(7, 8)),
    )
    assert all(torch.equal(a, b) for a, b in zip(whole, later, strict=True))
    assert torch.equal(labels, same)


def test_views_are_made_by_the_recipe_from_seed_and_step(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, torch.Tensor]] = []

    def kept(pixels: torch.Tensor, recipe: ViewRecipe, draw: torch.Generator) -> list[torch.Tensor]:
        made.append((threading.current_thread().name, pixels))
        return views(pixels, recipe, draw)

    monkeypatch.setattr(loop, "views", kept)
    found = batches(images, range(3))
    assert len(found) == 3
    for (step, seen, labels), (thread, pixels) in zip(found, made, strict=True):
        assert thread != threading.main_thread().name  # ahead of the step that takes them
        expected = views(pixels, RECIPE, torch_generator(1, "views", step))
        assert all(torch.equal(a, b) for a, b in zip(seen, expected, strict=True))
        for image, label in zip(pixels.permute(0, 2, 3, 1).numpy(), labels, strict=True):
            (at,) = np.flatnonzero((images.images == image).all((1, 2, 3)))
            assert images.labels[at] == label


def test_what_fails_in_making_views_is_raised(images: ImageSet) -> None:
    two = replace(deferred(images), read=lambda chosen: np.zeros((len(chosen), 8, 8, 2), np.uint8))
    with pytest.raises(InputError, match="C = 1 or 3"):
        next(read_ahead(two, 8, range(2), RECIPE, CPU, seed=1, stream="loop"))
