"""Copies, distances and training on each source."""

from __future__ import annotations

import numpy as np
import pytest

from synthbook import data
from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.measure.features import Extractor
from synthbook.studies.audit import measures
from synthbook.studies.audit.measures import FLOOR, memorisation, nearness


def test_closeness_closed_forms():
    train = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 0.0], [20.0, 0.0]])  # one twice
    query = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [20.0, 8.0]])
    nearest, relative = measures.closeness(query, train)
    np.testing.assert_allclose(relative, [0, 1 / 4, 1 / 2, 8 / 16])
    np.testing.assert_allclose(measures.closeness(3 * query, 3 * train)[1], relative)  # no unit
    assert nearest.tolist()[:2] == [0, 0]
    assert nearest[3] == 3


def test_thumbnails_are_means_of_squares(noise):
    large = noise(2, size=32, channels=3)
    blocks = large.images.reshape(2, 16, 2, 16, 2, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2)
    small = measures.thumbnails(large).reshape(2, 3, 16, 16)
    np.testing.assert_allclose(small, blocks, atol=1e-4)


def test_planted_copies_are_found(noise, real, pixels):
    made = noise(60, 9)
    shown = made.images.copy()
    shown[:7] = real.train.images[:7]
    shown[7:12] = np.clip(real.train.images[7:12].astype(int) + 3, 0, 255)
    shown[12:14] = real.test.images[:2]
    copies = memorisation(
        real, ImageSet(shown, made.labels, made.classes, "planted"), extractor=pixels
    )
    assert copies.values["equal_generated_in_train"] == 7
    assert copies.values["equal_generated_in_held_out"] == 2
    assert copies.values["near_train"] == 12
    assert copies.values["near_test"] == 2
    assert set(copies.index[:12]) == set(range(12))
    np.testing.assert_array_equal(copies.nearest[:12], copies.index[:12])


def test_unseen_real_images_as_generated_reach_the_floor(noise, pixels):
    real = data.Splits(noise(120, 1), noise(30, 2), noise(120, 3))
    options = {"extractor": pixels, "neighbours": 3, "most_images": 100}
    values = nearness(real, real.test, seeds=[0, 1, 2], **options)
    assert values["n_real"] == (50, 50, 50)
    for name in ("precision", "recall", "coverage", "appearance"):
        assert abs(np.mean(values[name]) - np.mean(values[name + FLOOR])) < 0.15
    with pytest.raises(InputError, match="lower neighbours"):
        nearness(real, noise(6), seeds=[0], **options)


def test_generated_and_unseen_images_are_each_measured_against_training_images(monkeypatch):
    sets = {
        name: ImageSet(np.full((40, 4, 4, 1), tone, np.uint8), np.arange(40) % 2, ("a", "b"), name)
        for name, tone in (("train", 1), ("test", 2), ("made", 3))
    }
    asked = []

    def fidelity(reference, drawn, **how):
        asked.append((reference.max(), drawn.max(), len(reference), len(drawn)))
        return dict.fromkeys(("precision", "recall", "density", "coverage"), drawn.max() / 4)

    monkeypatch.setattr("synthbook.measure.fidelity.fidelity", fidelity)
    monkeypatch.setattr("synthbook.measure.gap.separability", lambda *_, **__: 0.5)
    real = data.Splits(sets["train"], sets["test"], sets["test"])
    eye = Extractor("tone", lambda images: images[:, 0, 0].astype(np.float64))
    values = nearness(real, sets["made"], seeds=[0], extractor=eye)
    assert asked == [(1, 3, 20, 20), (1, 2, 20, 20)]
    assert (values["recall"], values["recall" + FLOOR]) == ((0.75,), (0.5,))
    assert (values["content"], values["content" + FLOOR]) == ((0.25,), (0.5,))


def test_each_count_of_copies_is_of_its_own_pair_of_sets(noise, real, pixels):
    """Three test images are training images; the generated ones are copies of training images."""
    shown = real.test.images.copy()
    shown[:3] = real.train.images[:3]
    leaky = data.Splits(
        real.train, real.val, ImageSet(shown, real.test.labels, ("a", "b", "c"), "x")
    )
    made = ImageSet(real.train.images[20:50], real.train.labels[20:50], ("a", "b", "c"), "copies")
    values = memorisation(leaky, made, extractor=pixels).values
    assert (values["near_train"], values["near_test"]) == (30, 0)
    assert values["near_train_unseen"] == values["near_test_train"] == 3
    assert values["copying_z"] < -5
    assert values["authenticity"] == 0
