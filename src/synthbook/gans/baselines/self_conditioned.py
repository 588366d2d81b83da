"""Self-conditioned GAN (Liu et al. 2020): labels are clusters of the discriminator's features."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from synthbook.errors import InputError
from synthbook.gans.baselines.labels import relabelled
from synthbook.gans.extra import Extra, evaluating
from synthbook.randomness import derive, numpy_generator
from synthbook.training import normalise

if TYPE_CHECKING:
    from synthbook.data import ImageSet
    from synthbook.gans.batches import Real

BATCH = 250  # images whose features are computed at a time


class SelfConditioned(Extra):
    """Gives each real image the cluster of its features as its label, anew every so many steps.

    The networks have ``num_classes`` = ``clusters``, and the images that many classes
    (``unlabelled``). Every ``every`` steps, the first included, k-means clusters the features of
    ``samples`` random images, starting from the means of the old clusters, and all images get the
    nearest cluster. New clusters take the labels of the old ones that they share most images with
    (Sec. 3.2).
    """

    def __init__(
        self, *, clusters: int = 100, every: int = 25_000, samples: int = 25_000, seed: int
    ) -> None:
        super().__init__()
        if min(clusters, every) < 1 or samples < clusters:
            raise InputError(
                f"{clusters} clusters of {samples} samples every {every} steps are not possible; "
                "give 1 or more of each, and as many samples as clusters at least"
            )
        self.clusters, self.every, self.samples, self.seed = clusters, every, samples, seed

    def settings(self) -> dict[str, Any]:
        """Return numbers of clusters, steps and samples, and the seed."""
        names = ("clusters", "every", "samples", "seed")
        return super().settings() | {name: getattr(self, name) for name in names}

    def begin(self, images: Real) -> None:
        """Take over the labels of the images."""
        if images.stream is not None or images.config.num_classes != self.clusters:
            raise InputError(
                f"{self.clusters} clusters need a set of images, and networks with num_classes "
                f"{self.clusters}; make them so, and take the images as 'unlabelled' returns them"
            )
        if len(images.pixels) < self.clusters:
            raise InputError(
                f"{self.clusters} clusters cannot be made of {len(images.pixels)} images; give "
                f"fewer clusters, {len(images.pixels)} at most"
            )
        # One tensor for both: what changes in it, here or by a checkpoint, changes for the loop.
        images.conditions = images.conditions.clone()
        self.register_buffer("labels", images.conditions)
        self.images = images

    @torch.no_grad()
    def renew(self, step: int, discriminator: nn.Module) -> None:
        """Cluster anew if it is time."""
        if step % self.every:
            return
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        count, old = len(self.labels), self.labels.cpu().numpy()
        draw = numpy_generator(self.seed, "self-conditioned", step)
        chosen = np.sort(draw.choice(count, min(self.samples, count), replace=False))
        with evaluating(discriminator), warnings.catch_warnings():
            # Fewer different features than clusters leave some without images.
            warnings.simplefilter("ignore", ConvergenceWarning)
            sample = np.concatenate([*self._features(discriminator, chosen)])
            found = KMeans(
                self.clusters,
                init=_means(sample, old[chosen], self.clusters, draw) if step else "k-means++",
                n_init=1,
                max_iter=100,
                random_state=derive(self.seed, "k-means", step) % 2**32,
            ).fit(sample)
            everything = self._features(discriminator, np.arange(count))
            new = np.concatenate([found.predict(features) for features in everything])
        if step:
            new = matched(old, new, self.clusters)
        self.labels.copy_(torch.from_numpy(new.astype(np.int64)))

    def _features(self, discriminator: nn.Module, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the discriminator's features of real images, block by block."""
        for start in range(0, len(rows), BATCH):
            which = torch.from_numpy(rows[start : start + BATCH]).to(self.labels.device)
            images = normalise(self.images.images(which))
            yield discriminator.features(images).float().cpu().numpy()


def unlabelled(images: ImageSet, clusters: int) -> ImageSet:
    """Return the images with ``clusters`` classes, whose labels mean nothing yet."""
    return relabelled(images, np.arange(len(images)) % clusters, clusters)


def _means(
    features: np.ndarray, labels: np.ndarray, clusters: int, draw: np.random.Generator
) -> np.ndarray:
    """Return the mean features of each cluster; of one without images a random image's."""
    means = features[draw.integers(len(features), size=clusters)]
    for k in np.unique(labels):
        means[k] = features[labels == k].mean(axis=0)
    return means


def matched(old: np.ndarray, new: np.ndarray, clusters: int) -> np.ndarray:
    """Return the labels ``new`` [n] under the names of ``old`` [n] that keep most images' labels.

    The assignment of new to old clusters maximises the number of images that keep their label.
    """
    from scipy.optimize import linear_sum_assignment

    shared = np.zeros((clusters, clusters), dtype=np.int64)
    np.add.at(shared, (new, old), 1)
    return linear_sum_assignment(shared, maximize=True)[1][new]
