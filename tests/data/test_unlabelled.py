"""Generated images without labels: what is taken for such, and that all of them are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthbook.data.unlabelled import count_unlabelled, is_unlabelled, read_unlabelled
from synthbook.errors import InputError

IMAGES = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((8, 8, 1), np.uint8)


def flat(folder: Path) -> Path:
    folder.mkdir()
    for k, image in enumerate(IMAGES):
        Image.fromarray(image[..., 0]).save(folder / f"{k}.png")
    return folder


def test_a_folder_of_images_alone_and_an_archive_of_them_have_no_labels(tmp_path: Path) -> None:
    folder, file = flat(tmp_path / "flat"), tmp_path / "flat.npz"
    np.savez(file, images=IMAGES)
    for path in (folder, file):
        assert is_unlabelled(path)
        assert count_unlabelled(path) == 3
        images, skipped = read_unlabelled(path, 8, 1, skip_unreadable=False)
        np.testing.assert_array_equal(images, IMAGES)
        assert skipped == ()
    assert read_unlabelled(folder, 4, 3, skip_unreadable=False)[0].shape == (3, 4, 4, 3)
    for names in ({"labels": [0, 1, 1]}, {"x_train": IMAGES}):
        np.savez(tmp_path / "other.npz", images=IMAGES, **names)
        assert not is_unlabelled(tmp_path / "other.npz")
    np.savez(tmp_path / "floats.npz", images=IMAGES / 255)
    with pytest.raises(InputError, match=r"'images' in .* is float64"):
        count_unlabelled(tmp_path / "floats.npz")


def test_class_folders_shards_and_no_images_are_something_else(tmp_path: Path) -> None:
    assert not is_unlabelled(tmp_path)
    assert not is_unlabelled(tmp_path / "nowhere")
    folder = flat(tmp_path / "flat")
    (folder / "0.tar").touch()  # a picture beside shards, which have labels
    assert not is_unlabelled(folder)
    (folder / "0.tar").unlink()
    (folder / "cat").mkdir()
    assert not is_unlabelled(folder)


def test_an_unreadable_image_is_named_or_left_out(tmp_path: Path) -> None:
    folder = flat(tmp_path / "flat")
    (folder / "bad.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1 unreadable .*bad\.png"):
        count_unlabelled(folder)
    assert count_unlabelled(folder, skip_unreadable=True) == 3
    images, skipped = read_unlabelled(folder, 8, 1, skip_unreadable=True)
    assert (len(images), skipped) == (3, (str(folder / "bad.png"),))
