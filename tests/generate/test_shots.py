"""Which shot an image starts from: equally often each, the same one in a larger set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.generate.from_images import STRENGTHS
from synthbook.generate.shots import images_from, shot_of, shots_in, shots_of
from synthbook.generate.text import Made


@given(st.integers(1, 300), st.integers(1, 30), st.integers(1, 30))
def test_all_shots_are_used_equally_often(count: int, prompts: int, shots: int) -> None:
    used = Counter(shot_of(index, prompts, shots) for index in range(count))
    each = [used[shot] for shot in range(shots)]
    assert max(each) - min(each) <= 1


@given(st.integers(1, 12), st.integers(1, 12))
def test_a_prompt_meets_all_shots(prompts: int, shots: int) -> None:
    pairs = {(k % prompts, shot_of(k, prompts, shots)) for k in range(prompts * shots**2)}
    assert len(pairs) == prompts * shots


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three cats, one of which is wide, and a dog; of a plane there is an empty folder's lack."""
    draw = np.random.default_rng(0)
    for name, sizes in (("cat", [(8, 8), (12, 8), (8, 8)]), ("dog", [(6, 9)])):
        (tmp_path / name).mkdir()
        for k, (wide, high) in enumerate(sizes):
            pixels = draw.integers(0, 256, (high, wide, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{k}.png")
    return tmp_path


def test_shots_of_a_folder_are_its_images_in_the_order_of_the_classes(folder: Path) -> None:
    shots = shots_in(folder, ("dog", "cat"))
    assert shots.names == (("dog/0.png",), ("cat/0.png", "cat/1.png", "cat/2.png"))
    assert (len(shots), shots.counts, shots.folder) == (4, (1, 3), str(folder))
    assert shots.strengths() == (STRENGTHS[1], pytest.approx(0.3708, abs=1e-4))
    assert shots.strengths(0.3) == (0.3, 0.3)
    wide = np.asarray(Image.open(folder / "cat/1.png"))
    np.testing.assert_array_equal(shots.read(1, 1, 8, 3), wide[:, 2:10])
    assert shots.read(0, 0, 4, 1).shape == (4, 4, 1)
    for bad in (0.0, 1.2):
        with pytest.raises(InputError, match="is no share of the noise"):
            shots.strengths(bad)


def test_shots_of_a_set_and_of_a_folder_are_told_apart_by_their_pixels(folder: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    real = ImageSet(images, [1, 0, 1, 1], ("dog", "cat"), "real")
    shots = shots_of(real)
    assert shots.names == (("1",), ("0", "2", "3"))
    np.testing.assert_array_equal(shots.read(1, 2, 8, 3), images[3])
    assert shots.read(0, 0, 16, 3).shape == (16, 16, 3)
    assert shots_of(real, ("cat",)).counts == (3,)
    other = ImageSet(images[::-1], [1, 0, 1, 1], ("dog", "cat"), "real")
    before = shots_in(folder, ("dog", "cat"))
    told = {s.fingerprint() for s in (shots, shots_of(other), before)}
    assert shots_of(real).fingerprint() == shots.fingerprint()
    Image.new("RGB", (8, 8)).save(folder / "cat/0.png")
    assert len(told | {shots_in(folder, ("dog", "cat")).fingerprint()}) == 4


def test_a_shot_that_was_replaced_is_refused_until_it_is_read_anew(folder: Path) -> None:
    before = shots_in(folder, ("dog", "cat"))
    first = before.read(1, 0, 8, 3)
    new = np.full((8, 8, 3), 200, np.uint8)
    Image.fromarray(new).save(folder / "cat/0.png")
    np.testing.assert_array_equal(before.read(1, 0, 8, 3), first)  # as it was, and is still kept
    with pytest.raises(InputError, match=r"cat/0.png was replaced after .*; start again"):
        before.read(1, 0, 4, 3)
    np.testing.assert_array_equal(shots_in(folder, ("dog", "cat")).read(1, 0, 8, 3), new)


def test_a_folder_with_parts_gives_its_training_images(folder: Path, tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / "set" / part).mkdir(parents=True)
        for name in ("cat", "dog"):
            (tmp_path / "set" / part / name).mkdir()
            Image.new("RGB", (4, 4)).save(tmp_path / "set" / part / name / f"{part}.png")
    assert shots_in(tmp_path / "set", ("cat",)).names == (("cat/train.png",),)


def test_no_shot_of_a_class_is_told_with_the_remedy(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"class 'plane' has no real image in .*one image of each"):
        shots_in(folder, ("cat", "plane"))
    real = ImageSet(np.zeros((1, 8, 8, 3), np.uint8), [0], ("dog", "cat"), "real")
    with pytest.raises(InputError, match=r"class 'cat' has no real image.*needs one image"):
        shots_of(real)
    with pytest.raises(InputError, match="is no folder"):
        shots_in(tmp_path / "nothing", ("cat",))
    (folder / "dog/0.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"0\.png cannot be read .*replace or delete it"):
        shots_in(folder, ("dog",)).read(0, 0, 8, 3)


def test_images_of_one_strength_are_made_together_and_come_in_order() -> None:
    calls = []

    class Quick:
        def images(self, prompts, seeds, *, from_images, strength, size):
            calls.append((strength, list(seeds)))
            return Made(from_images + np.uint8(1), np.array(seeds))

    starts = [np.full((2, 2, 3), k, np.uint8) for k in range(5)]
    made = images_from(Quick(), list("abcde"), [*range(5)], starts, [0.2, 0.5, 0.2, 0.5, 1], size=4)
    assert calls == [(0.2, [0, 2]), (0.5, [1, 3]), (1.0, [4])]
    assert made.images[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5]
    assert made.black.tolist() == [0, 1, 2, 3, 4]
