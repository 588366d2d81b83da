"""Copies, fidelity and training on each source."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbook import data
from synthbook.data import ImageSet, Splits
from synthbook.errors import InputError
from synthbook.studies import audit

P = {
    "seeds": 2, "first_seed": 0, "skip_unreadable": False, "data_root": "", "confidence": 0.5,
    "train_images": 0, "most_images": 200, "neighbours": 3, "extractor": "efficientnet_lite0",
    "backbone": "small_cnn", "pretrained": False, "epochs": 6, "batch_size": 32,
    "learning_rate": 0.005,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    import torch

    torch.set_num_threads(1)
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))


def noise(count: int, seed: int = 0, size: int = 8, channels: int = 1) -> ImageSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), np.uint8)
    return ImageSet(pixels, np.arange(count) % 3, ("a", "b", "c"), f"noise{seed}")


def splits(count: int = 90) -> Splits:
    return Splits(noise(count, 1), noise(30, 2), noise(count, 3))


def pixels():
    from synthbook.measure.features import from_model

    return from_model("pixels", lambda x: x.reshape(len(x), -1).astype(np.float32))


def test_closeness_closed_forms():
    train = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 0.0], [20.0, 0.0]])  # one twice
    found = audit.closeness(np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [20.0, 8.0]]), train)
    np.testing.assert_allclose(found.relative, [0, 1 / 4, 1 / 2, 8 / 16])
    assert found.nearest.tolist()[:2] == [0, 0]
    assert found.nearest[3] == 3


@given(st.floats(0.1, 10))
@settings(max_examples=10, deadline=None)
def test_closeness_has_no_unit(scale):
    rng = np.random.default_rng(0)
    query, train = rng.normal(size=(5, 3)), rng.normal(size=(20, 3))
    once, again = audit.closeness(query, train), audit.closeness(scale * query, scale * train)
    np.testing.assert_allclose(once.relative, again.relative, rtol=1e-6)


def test_thumbnails_are_means_of_squares():
    large = noise(2, size=32, channels=3).images
    small = audit.thumbnails(large).reshape(2, 3, 16, 16)
    blocks = large.reshape(2, 16, 2, 16, 2, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(small, blocks, atol=1e-4)


def test_planted_copies_are_found():
    real, made = splits(), noise(60, 9)
    shown = made.images.copy()
    shown[:7] = real.train.images[:7]
    shown[7:12] = np.clip(real.train.images[7:12].astype(int) + 3, 0, 255)
    shown[12:14] = real.test.images[:2]
    planted = ImageSet(shown, made.labels, made.classes, "planted")
    found = audit.memorisation(real, planted, extractor=pixels())
    assert found.values["equal_generated_in_train"] == 7
    assert found.values["equal_generated_in_held_out"] == 2
    assert found.values["near_train"] == 12
    assert found.values["near_test"] == 2
    assert set(found.index[:12]) == set(range(12))
    np.testing.assert_array_equal(found.nearest[:12], found.index[:12])


def test_unseen_real_images_as_generated_reach_the_floor():
    real = splits(120)
    found = audit.fidelity(
        real, real.test, seeds=[0, 1, 2], extractor=pixels(), neighbours=3, most_images=100
    )
    assert found["n_real"] == (50, 50, 50)
    for name in ("precision", "recall", "coverage", "appearance"):
        assert abs(np.mean(found[name]) - np.mean(found[name + audit.FLOOR])) < 0.15
    with pytest.raises(InputError, match="lower neighbours"):
        audit.fidelity(real, noise(6), seeds=[0], extractor=pixels(), neighbours=5)


def test_wrong_labels_cost_accuracy_and_repeat_bit_for_bit():
    real = data.load("digits")
    wrong = ImageSet(real.val.images, (real.val.labels + 1) % 10, real.classes, "wrong")
    p = P | {"epochs": 12}
    found = audit.usefulness(real, wrong, p, seeds=[0, 1])
    assert min(found.accuracy["real", "real"]) > 70
    assert max(found.accuracy["generated", "real"]) < 20
    assert found.counts["generated"] == len(wrong) * 4 // 5
    assert np.mean(found.values["high_loss"]) > np.mean(found.values["high_loss_floor"])
    again = audit.usefulness(real, wrong, p, seeds=[0, 1])
    assert again.accuracy == found.accuracy
    np.testing.assert_array_equal(again.losses, found.losses)
