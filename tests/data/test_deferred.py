"""Images that are read when asked for: the same as those in memory."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from synthbook.data import ImageSet
from synthbook.data.deferred import deferred, of_files, of_folder
from synthbook.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """Two classes of four images whose value is their number; one is not square."""
    for k in range(8):
        path = tmp_path / "some" / ("cat", "dog")[k // 4] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 12 if k == 3 else 8, 3), 10 * k, np.uint8)
        Image.fromarray(pixels).save(path)
    return tmp_path / "some"


def test_a_folder_is_read_in_the_order_asked_for(folder):
    images = of_folder(folder, image_size=8)
    assert (len(images), images.classes, images.name) == (8, ("cat", "dog"), "some")
    assert images.counts().tolist() == [4, 4]
    read = images.read(np.array([6, 3, 0]))
    assert read.shape == (3, 8, 8, 3)
    assert read[:, 0, 0, 0].tolist() == [60, 30, 0]
    held = images.held()
    assert held.images[:, 0, 0, 0].tolist() == list(range(0, 80, 10))
    assert of_folder(folder, image_size=4, channels=1).read(np.array([2])).shape == (1, 4, 4, 1)


def test_parts_keep_their_images(folder):
    images = of_folder(folder, image_size=8)
    part = images.subset(np.array([5, 1, 6]))
    assert part.labels.tolist() == [1, 0, 1]
    assert part.subset(np.array([2, 0])).read(np.array([0, 1]))[:, 0, 0, 0].tolist() == [60, 50]
    dogs = images.of_classes(["dog"])
    assert (dogs.classes, dogs.labels.tolist()) == (("dog",), [0] * 4)
    assert dogs.held().images[:, 0, 0, 0].tolist() == [40, 50, 60, 70]
    turned = images.of_classes(["dog", "cat"])
    assert turned.labels.tolist() == [1] * 4 + [0] * 4


def test_classes_become_some_of_many(folder):
    images = of_folder(folder, image_size=8)
    found = images.labelled_as(["fish", "dog", "horse"])
    assert (found.classes, found.labels.tolist()) == (("fish", "dog", "horse"), [1] * 4)
    assert found.held().images[:, 0, 0, 0].tolist() == [40, 50, 60, 70]
    assert images.labelled_as(["dog", "fish", "cat"]).labels.tolist() == [2] * 4 + [0] * 4
    with pytest.raises(InputError, match="has none of the 1 classes, such as 'fish'"):
        images.labelled_as(["fish"])


def test_a_set_in_memory_is_itself():
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    images = ImageSet(pixels, np.arange(6) % 3, ("a", "b", "c"), "noise")
    wrapped = deferred(images)
    assert deferred(wrapped) is wrapped
    assert wrapped.held().fingerprint() == images.fingerprint()
    left = wrapped.without(["b"])
    assert left.classes == ("a", "c")
    assert left.held().fingerprint() == images.of_classes(["a", "c"]).fingerprint()
    assert wrapped.without(["nobody"]) is wrapped


def test_fingerprints_tell_files_sizes_and_parts_apart(folder):
    images = of_folder(folder, image_size=8)
    same = of_folder(folder, image_size=8)
    others = (
        of_folder(folder, image_size=4),
        images.subset(np.arange(8)[::-1]),
        images.of_classes(["dog", "cat"]),
    )
    assert images.fingerprint() == same.fingerprint()
    assert len({images.fingerprint(), *(one.fingerprint() for one in others)}) == 4


def test_files_of_equal_names_are_told_apart_without_reading_them(folder):
    images = of_folder(folder, image_size=8)
    other = folder.parent / "other"
    shutil.copytree(folder, other)  # with the times of change
    assert of_folder(other, image_size=8).fingerprint() == images.fingerprint()
    one = other / "dog" / "7.png"
    before = one.stat()
    Image.fromarray(np.full((8, 8, 3), 255, np.uint8)).save(one)
    os.utime(one, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert one.stat().st_size != before.st_size
    assert of_folder(other, image_size=8).fingerprint() != images.fingerprint()
    shutil.copy2(folder / "dog" / "7.png", one)
    assert of_folder(other, image_size=8).fingerprint() == images.fingerprint()
    os.utime(one, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    assert of_folder(other, image_size=8).fingerprint() != images.fingerprint()


def test_a_file_that_is_not_there_is_named(folder):
    paths = [folder / "cat" / "0.png", folder / "cat" / "none.png"]
    with pytest.raises(InputError, match=r"image of 'few' cannot be read: .*none\.png \(No such"):
        of_files(paths, np.zeros(2), ["cat"], "few", image_size=8)


def test_bad_input_is_named(folder):
    images = of_folder(folder, image_size=8)
    with pytest.raises(InputError, match="did you mean 'cat'"):
        images.of_classes(["cats"])
    with pytest.raises(InputError, match="leave two at least"):
        images.without(["cat"])
    with pytest.raises(InputError, match="image_size is 0"):
        of_folder(folder, image_size=0)
    (folder / "dog" / "7.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"7\.png"):
        of_folder(folder, image_size=8).read(np.array([7]))
