"""Labels made of the images: a class an image, and Logo-GAN's clusters."""

from __future__ import annotations

import numpy as np
import pytest

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.gans.baselines.labels import instances, logo

IMAGES = ImageSet(np.zeros((6, 8, 8, 3), np.uint8), np.zeros(6, int), ("all",), "six")
FEATURES = np.array([[0.0, 0], [50, 0], [0, 1], [50, 1], [100, 0], [0, 2]])


def test_every_image_is_a_class_of_its_own():
    made = instances(IMAGES)
    assert made.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert made.num_classes == 6
    assert made.images is IMAGES.images
    assert made.fingerprint() != IMAGES.fingerprint()


def test_labels_are_the_clusters_of_features():
    made = logo(IMAGES, FEATURES, clusters=3, seed=0)
    groups = {frozenset(np.flatnonzero(made.labels == k).tolist()) for k in range(3)}
    assert groups == {frozenset({0, 2, 5}), frozenset({1, 3}), frozenset({4})}
    assert made.num_classes == 3
    again = logo(IMAGES, FEATURES, clusters=3, seed=0)
    assert again.fingerprint() == made.fingerprint()


@pytest.mark.parametrize(
    ("features", "clusters", "says"),
    [
        (FEATURES, 7, "7 clusters cannot be made of the 6 different images in 'six'"),
        (FEATURES, 0, "give 1 to 6"),
        (np.zeros((6, 2)), 2, "of the 1 different images"),
        (FEATURES[:5], 2, r"are \[5, 2\], or not finite; give finite numbers \[6, d\]"),
        (FEATURES + np.inf, 2, "not finite"),
    ],
)
def test_features_that_cannot_be_clustered(features, clusters, says):
    with pytest.raises(InputError, match=says):
        logo(IMAGES, features, clusters=clusters, seed=0)
