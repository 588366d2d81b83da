"""Labels made of the images themselves: a class an image, or a class a cluster (Logo-GAN)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from synthbook.errors import InputError
from synthbook.randomness import derive

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from synthbook.data import ImageSet


def instances(images: ImageSet) -> ImageSet:
    """Return the images, each a class of its own.

    Networks with ``num_classes`` = n learn an embedding an image: what the Data Instance Prior is
    without its features (Mangla et al. 2022, Appendix A).
    """
    return relabelled(images, np.arange(len(images)), len(images))


def logo(images: ImageSet, features: ArrayLike, *, clusters: int, seed: int) -> ImageSet:
    """Return the images labelled by k-means of their features [n, d] (Logo-GAN, Sage et al. 2018).

    Raises:
        InputError: if there are fewer different images than clusters, or a feature is not finite.
    """
    from sklearn.cluster import KMeans

    rows = np.asarray(features, dtype=np.float32)
    if rows.ndim != 2 or len(rows) != len(images) or not np.isfinite(rows).all():
        raise InputError(
            f"features of '{images.name}' are {list(rows.shape)}, or not finite; give finite "
            f"numbers [{len(images)}, d], a row an image"
        )
    different = len(np.unique(rows, axis=0))
    if not 1 <= clusters <= different:
        raise InputError(
            f"{clusters} clusters cannot be made of the {different} different images in "
            f"'{images.name}'; give 1 to {different}"
        )
    found = KMeans(clusters, n_init=10, random_state=derive(seed, "Logo-GAN") % 2**32)
    return relabelled(images, found.fit(rows).labels_, clusters)


def relabelled(images: ImageSet, labels: Sequence[int] | np.ndarray, classes: int) -> ImageSet:
    """Return the images with other labels [n], 0 to ``classes`` - 1."""
    names = tuple(str(k) for k in range(classes))
    return replace(images, labels=np.asarray(labels), classes=names)
