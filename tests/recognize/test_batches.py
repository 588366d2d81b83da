from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbook.data import ImageSet
from synthbook.recognize.batches import Stream, as_input, crop_and_flip, cuts, order, steps
from synthbook.recognize.recipe import Recipe

PLAIN = Recipe(epochs=1, batch_size=1, learning_rate=1.0)
AUGMENTED = replace(PLAIN, crop_padding=2, flip=True)


def image_set(count: int, size: int = 6, channels: int = 3, name: str = "set") -> ImageSet:
    rng = np.random.default_rng(count)
    pixels = rng.integers(0, 256, (count, size, size, channels), dtype=np.uint8)
    return ImageSet(pixels, np.arange(count) % 4, ("a", "b", "c", "d"), name)


@settings(deadline=None, max_examples=50)
@given(count=st.integers(1, 500), batch_size=st.integers(1, 80))
def test_cuts_are_equal_and_as_few_as_possible(count: int, batch_size: int) -> None:
    borders = cuts(count, batch_size)
    sizes = np.diff(borders)
    assert borders[0] == 0
    assert borders[-1] == count
    assert sizes.max() - sizes.min() <= 1
    assert sizes.max() <= batch_size + (batch_size == 2)
    assert len(sizes) <= -(-count // batch_size)
    if batch_size > 1 and count > 1:
        assert sizes.min() > 1
    if batch_size > 2:
        assert len(sizes) == -(-count // batch_size)


@settings(deadline=None, max_examples=50)
@given(
    count=st.integers(1, 30), start=st.integers(0, 90), length=st.integers(1, 90), seed=st.just(3)
)
def test_order_is_one_sequence_of_permutations(
    count: int, start: int, length: int, seed: int
) -> None:
    whole = order(count, 0, count * (200 // count + 1), seed=seed, stream="real")
    part = order(count, start, start + length, seed=seed, stream="real")
    assert torch.equal(part, whole[start : start + length])
    for k in range(0, len(whole), count):
        assert sorted(whole[k : k + count].tolist()) == list(range(count))


def test_order_depends_on_seed_and_stream_and_pass() -> None:
    first = order(50, 0, 50, seed=0, stream="real")
    assert not torch.equal(first, order(50, 0, 50, seed=1, stream="real"))
    assert not torch.equal(first, order(50, 0, 50, seed=0, stream="synthetic"))
    assert not torch.equal(first, order(50, 50, 100, seed=0, stream="real"))


@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.integers(2, 40), min_size=1, max_size=3),
    batch_size=st.integers(1, 16),
    epochs=st.integers(1, 3),
)
def test_streams_give_equal_batches_and_are_cycled_evenly(
    sizes: list[int], batch_size: int, epochs: int
) -> None:
    sets = {f"stream{k}": image_set(size, 4, 1) for k, size in enumerate(sizes)}
    streams = {name: Stream(images, PLAIN, name=name, seed=5) for name, images in sets.items()}
    seen: dict[str, list[int]] = {name: [] for name in sets}
    for epoch in range(epochs):
        for batches in steps(streams, batch_size, epoch, max(sizes)):
            assert list(batches) == list(sets)
            assert len({len(batch) for batch in batches.values()}) == 1
            for name, batch in batches.items():
                seen[name] += batch.indices.tolist()
    for name, images in sets.items():
        uses = np.bincount(seen[name], minlength=len(images))
        assert uses.sum() == epochs * max(sizes)
        assert uses.max() - uses.min() <= 1
        if len(images) == max(sizes):
            assert (uses == epochs).all()


def slow_crop_and_flip(
    image: np.ndarray, padding: int, top: int, left: int, flip: bool
) -> np.ndarray:
    size = image.shape[0]
    padded = np.zeros((size + 2 * padding, size + 2 * padding, image.shape[2]), image.dtype)
    padded[padding : padding + size, padding : padding + size] = image
    window = padded[top : top + size, left : left + size]
    return window[:, ::-1] if flip else window


@settings(deadline=None, max_examples=25)
@given(
    size=st.integers(2, 9),
    channels=st.sampled_from([1, 3]),
    padding=st.integers(0, 3),
    seed=st.integers(0, 100),
)
def test_crop_and_flip_equals_the_loop_over_images(
    size: int, channels: int, padding: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (5, size, size, channels), dtype=np.uint8)
    indices = rng.integers(0, 5, 11)
    tops, lefts = rng.integers(0, 2 * padding + 1, (2, 11))
    flips = rng.random(11) < 0.5
    padded = F.pad(torch.from_numpy(images), (0, 0, padding, padding, padding, padding))
    fast = crop_and_flip(
        padded, *(torch.from_numpy(a) for a in (indices, tops, lefts, flips)), size
    )
    for k in range(11):
        wanted = slow_crop_and_flip(images[indices[k]], padding, tops[k], lefts[k], flips[k])
        assert np.array_equal(fast[k].numpy(), wanted)


def test_stream_crops_and_flips_what_its_indices_say() -> None:
    images = image_set(40, 5)
    padding, kept = AUGMENTED.crop_padding, 0
    stream = Stream(images, AUGMENTED, name="real", seed=0)
    used = set()
    for batch in stream.epoch(0, cuts(40, 16)):
        assert batch.images.shape[1:] == (3, 5, 5)
        assert torch.equal(batch.labels, torch.from_numpy(images.labels)[batch.indices])
        for picture, index in zip(batch.images, batch.indices.tolist(), strict=True):
            pixels = (picture * 255).round().byte().permute(1, 2, 0).numpy()
            matches = [
                (top, left, flip)
                for top in range(2 * padding + 1)
                for left in range(2 * padding + 1)
                for flip in (False, True)
                if np.array_equal(
                    pixels, slow_crop_and_flip(images.images[index], padding, top, left, flip)
                )
            ]
            assert len(matches) == 1
            used.update(matches)
            kept += matches[0] == (padding, padding, False)
    assert len({flip for _, _, flip in used}) == 2
    assert len({top for top, _, _ in used}) == 2 * padding + 1
    assert kept < 10


def test_augmentation_changes_from_epoch_to_epoch_and_repeats_with_the_seed() -> None:
    def epoch(seed: int, number: int) -> torch.Tensor:
        stream = Stream(image_set(20), AUGMENTED, name="real", seed=seed)
        batches = list(stream.epoch(number, [0, 20]))
        return batches[0].images[batches[0].indices.argsort()]

    assert torch.equal(epoch(0, 1), epoch(0, 1))
    assert not torch.equal(epoch(0, 1), epoch(0, 2))
    assert not torch.equal(epoch(0, 1), epoch(1, 1))


def test_as_input_is_in_the_unit_range_and_resizes() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1)
    floats = as_input(pixels)
    assert floats.shape == (1, 1, 16, 16)
    assert (floats.min(), floats.max()) == (0, 1)
    assert torch.equal((floats * 255).round().byte().flatten(), pixels.flatten())
    resized = as_input(pixels, 32)
    assert resized.shape == (1, 1, 32, 32)
    constant = as_input(torch.full((2, 8, 8, 3), 51, dtype=torch.uint8), 5)
    torch.testing.assert_close(constant, torch.full((2, 3, 5, 5), 0.2))


def test_half_of_the_size_averages_pixels() -> None:
    checkers = (torch.arange(64).view(1, 8, 8, 1) % 2 * 200).byte()
    resized = as_input(checkers, 4)  # antialiased: no column is picked at the cost of its neighbour
    assert (resized[..., 1:-1] * 255 - 100).abs().max() < 1
