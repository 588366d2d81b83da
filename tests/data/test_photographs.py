"""The two photographs that are always at hand, and squares of them."""

from __future__ import annotations

import numpy as np
import pytest

from synthbook.data.photographs import crops, photographs
from synthbook.errors import InputError


def test_they_are_those_of_scikit_learn():
    from sklearn.datasets import load_sample_image

    found = photographs()
    assert list(found) == ["china", "flower"]
    for name, image in found.items():
        assert image.shape == (427, 640, 3)
        assert (image == load_sample_image(f"{name}.jpg")).all()


def test_crops_are_squares_of_the_images_by_seed():
    images = {"a": np.arange(20 * 30 * 3, dtype=np.uint16).reshape(20, 30, 3)}
    found = crops(images, 50, 8, 0)["a"]
    assert found.shape == (50, 8, 8, 3)
    for one in found:
        top, left = divmod(int(one[0, 0, 0]) // 3, 30)
        assert (one == images["a"][top : top + 8, left : left + 8]).all()
    assert (found == crops(images, 50, 8, 0)["a"]).all()
    assert (found != crops(images, 50, 8, 1)["a"]).any()
    assert (crops(images, 2, 20, 0)["a"].shape) == (2, 20, 20, 3)


def test_squares_larger_than_the_image_are_refused():
    with pytest.raises(InputError, match="30 x 20 pixels"):
        crops({"a": np.zeros((20, 30, 3), np.uint8)}, 1, 21, 0)
