"""The Data Instance Prior (Mangla et al. 2022): features of the training images as conditions.

A frozen network C gives each image x_j a vector C(x_j); D_prior is all of them. Whoever has images
computes the vectors; here they are scaled, and new ones are made for sampling (Eqs. 5 and 6).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.gans.sampling import embedding_size
from synthbook.randomness import derive, numpy_generator, torch_generator

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

RIDGE = 1e-4  # least variance of a component, of the mean variance of all vectors
ROWS = 4096  # vectors that are scaled or embedded at a time
MOST = 200_000  # vectors that clusters are fitted on (Appendix C)
FLAT = 1e-6  # a difference of less than that, of a feature, is rounding


@dataclass(frozen=True, eq=False)
class Prior:
    """D_prior: ``vectors`` float32 [n, d] with a mean square of one, and what they were divided by.

    The paper conditions on C(x) as it is, and does not say how large that is. One ``scale`` for all
    features keeps their directions, and half-way between two vectors lies one of that size.
    """

    vectors: Tensor
    scale: float

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def mean(self) -> Tensor:
        """The mean vector [d]; seen from there, features that are never negative differ, too."""
        return self.vectors.mean(0)

    def of(self, features: ArrayLike) -> Tensor:
        """Return the vectors [N, d] of other images' features [N, d], by the same scale.

        Edited images and held-out ones are meant; the features come from the same network.

        Raises:
            InputError: if they are of another length, or not finite.
        """
        rows, length = _rows(features), self.vectors.shape[1]
        if rows.shape[1] != length:
            raise InputError(
                f"the prior has {length} features an image, not {rows.shape[1]}; compute both "
                "with the same network"
            )
        return _divided(rows, self.scale)


def prior(features: ArrayLike) -> Prior:
    """Return the prior of training images with features C(x) [n, d], read block by block.

    Raises:
        InputError: if there is one image, if all are the same, or if a feature is not finite.
    """
    rows = _rows(features)
    if len(rows) < 2:
        raise InputError(f"a prior needs two images or more, and {len(rows)} was given")
    first, differ, squares = np.asarray(rows[0], dtype=np.float32), False, 0.0
    for block in _blocks(rows):
        squares += np.square(block, dtype=np.float64).sum()
        differ = differ or bool((np.abs(block - first) > FLAT * np.abs(first)).any())
    if not differ:
        raise InputError(
            f"the {len(rows)} training images have the same features; give images that differ"
        )
    scale = float(np.sqrt(squares / rows.size))
    return Prior(_divided(rows, scale), scale)


def _rows(features: ArrayLike) -> np.ndarray:
    rows = features if isinstance(features, np.ndarray) else np.asarray(features)
    if rows.ndim != 2 or not rows.shape[1] or not np.issubdtype(rows.dtype, np.floating):
        raise InputError(
            f"features are {rows.dtype} {list(rows.shape)}; give floats [images, features]"
        )
    return rows


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield float32 blocks of ``rows``; InputError where one is not finite."""
    for start in range(0, len(rows), ROWS):
        block = np.asarray(rows[start : start + ROWS], dtype=np.float32)
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            raise InputError(
                f"the features of image {start + int(finite.argmin())} are not finite; check the "
                "network that made them, and the image"
            )
        yield block


def _divided(rows: np.ndarray, scale: float) -> Tensor:
    vectors, done = torch.empty(rows.shape, dtype=torch.float32), 0
    for block in _blocks(rows):
        vectors[done : done + len(block)] = torch.from_numpy(block) / scale
        done += len(block)
    return vectors


class Sampler(Protocol):
    """Where the conditions of new images come from.

    ``sample`` returns float32 [count, d], of which number k comes from the stream (seed, ..., k)
    alone. ``embedded`` says that they are in the space of G_emb already (`gans.sampling.sample`).
    """

    embedded: bool

    def sample(self, count: int, seed: int) -> Tensor:
        """Return ``count`` conditions."""
        ...


@dataclass(frozen=True, eq=False)
class Elements:
    """Vectors of training images [n, d], drawn with replacement: the full set D_prior."""

    vectors: Tensor
    embedded: bool = False

    def sample(self, count: int, seed: int) -> Tensor:
        """Return ``count`` of the vectors."""
        draws = _streams(count, seed, "elements")
        return self.vectors[[_index(len(self.vectors), draw) for draw in draws]]


@dataclass(frozen=True, eq=False)
class Interpolations:
    """l p_1 + (1 - l) p_2 of two vectors of training images [n, d], l ~ U[0, 1] (Eq. 5).

    Classes have embeddings in the place of vectors (`sampling.embedded_classes`).
    """

    vectors: Tensor
    embedded: bool = False

    def sample(self, count: int, seed: int) -> Tensor:
        """Return ``count`` interpolated vectors."""
        made = torch.empty(count, self.vectors.shape[1])
        for k, draw in enumerate(_streams(count, seed, "interpolations")):
            first, second = (self.vectors[_index(len(self.vectors), draw)] for _ in range(2))
            made[k] = second.lerp(first, torch.rand((), generator=draw))
        return made


@dataclass(frozen=True, eq=False)
class Components:
    """N(mu_c, Sigma_c) of a random component c, in the space of G_emb (Eq. 6).

    ``weights`` [K] are the probabilities of the components, ``means`` and ``deviations`` [K, E],
    the roots of the diagonals.
    """

    weights: Tensor
    means: Tensor
    deviations: Tensor
    embedded: ClassVar[bool] = True

    def sample(self, count: int, seed: int) -> Tensor:
        """Return ``count`` embedded vectors."""
        made, last = torch.empty(count, self.means.shape[1]), len(self.weights) - 1
        ends = self.weights.double().cumsum(0)
        for k, draw in enumerate(_streams(count, seed, "components")):
            share = torch.rand((), dtype=torch.float64, generator=draw) * ends[-1]
            c = min(int(torch.searchsorted(ends, share, right=True)), last)
            noise = torch.randn(self.means.shape[1], generator=draw)
            made[k] = self.means[c] + self.deviations[c] * noise
        return made


def centroids(
    given: Prior, generator: nn.Module, *, clusters: int = 10_000, most: int = MOST, seed: int
) -> Components:
    """Return k-means' centres of G_emb(D_prior), all as likely, with unit noise (Eq. 6).

    Mini-batch k-means (Sculley 2010) on ``most`` random vectors.

    Raises:
        InputError: if there are fewer different images than clusters, or the generator embeds no
            vectors of the prior's length.
    """
    points = embedded_rows(given, generator, clusters=clusters, most=most, seed=seed)
    means = torch.from_numpy(_k_means(points, clusters, seed)[0])
    weights = torch.full((clusters,), 1 / clusters)
    return Components(weights, means, torch.ones_like(means))


def mixture(
    given: Prior, generator: nn.Module, *, components: int = 1000, most: int = MOST, seed: int
) -> Components:
    """Return a Gaussian mixture with diagonal covariances fitted to G_emb(D_prior) (Eq. 6).

    Expectation maximisation on ``most`` random vectors starts from the clusters of k-means. It
    holds a few arrays of ``most`` times ``components`` numbers.

    Raises:
        InputError: as ``centroids``.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    points = embedded_rows(given, generator, clusters=components, most=most, seed=seed)
    center = points.mean(axis=0)
    points -= center  # sums of squares in float32 cancel less
    means, labels = _k_means(points, components, seed)
    sizes, least = np.bincount(labels, minlength=components), RIDGE * points.var(axis=0).mean()
    spread = np.empty_like(means)
    for c in range(components):  # a cluster of one point starts as wide as all
        spread[c] = (points[labels == c] if sizes[c] > 1 else points).var(axis=0) + least
    weights = np.maximum(sizes, 1) / np.maximum(sizes, 1).sum()
    fitted = GaussianMixture(
        components,
        covariance_type="diag",
        reg_covar=float(least),
        weights_init=weights.astype(np.float32),
        means_init=means,
        precisions_init=1 / spread,
        random_state=derive(seed, "mixture") % 2**32,
    )
    with warnings.catch_warnings():  # 100 rounds are enough, converged or not
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(points)
    numbers = fitted.weights_, fitted.means_ + center, np.sqrt(fitted.covariances_)
    return Components(*(torch.from_numpy(np.asarray(x)).float() for x in numbers))


@torch.no_grad()
def embedded_rows(
    given: Prior, generator: nn.Module, *, clusters: int, most: int = MOST, seed: int
) -> np.ndarray:
    """Return G_emb of ``most`` random vectors, or of all, float32 [N, E], embedded in blocks."""
    wanted, length = generator.config.condition_size, given.vectors.shape[1]
    embedding_size(generator)  # there is a G_emb
    if wanted != length:
        raise InputError(
            f"the generator takes vectors of {wanted} numbers, and the prior has {length}; give "
            "the prior that it was trained with"
        )
    rows, embed = np.arange(len(given)), generator.embed
    if len(rows) > most:
        draw = numpy_generator(seed, "rows of the prior")
        rows = np.sort(draw.choice(len(given), most, replace=False))
    device = next(embed.parameters()).device
    parts = [
        embed(given.vectors[rows[start : start + ROWS]].to(device)).float().cpu().numpy()
        for start in range(0, len(rows), ROWS)
    ]
    points = np.concatenate(parts)
    different = len({point.tobytes() for point in points})
    if clusters < 1 or different < clusters:
        raise InputError(
            f"{clusters} clusters cannot be made of {len(given)} images, of which {len(points)} "
            f"were taken and {different} differ; give 1 to {different}"
        )
    return points


def _k_means(points: np.ndarray, clusters: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return centres float32 [K, E] and labels [N] of k-means.

    Mini-batch k-means, whose centres still lean to where they came from; then two rounds of
    Lloyd's on all points.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    state = derive(seed, "k-means") % 2**32
    rough = MiniBatchKMeans(clusters, batch_size=max(1024, clusters), random_state=state)
    start = rough.fit(points).cluster_centers_
    found = KMeans(clusters, init=start, n_init=1, max_iter=2, random_state=state).fit(points)
    return found.cluster_centers_.astype(np.float32), found.labels_


def mixup(first: Tensor, second: Tensor, *, share: float = 0.5, seed: int) -> Tensor:
    """Return vectors [N, d] that take each number from ``second`` with probability ``share``.

    This is the Bernoulli mixup of two priors (Figure 9). Row k has a stream of its own.
    """
    size = first.shape[1]
    takes = [torch.rand(size, generator=draw) < share for draw in _streams(len(first), seed, "mix")]
    return torch.where(torch.stack(takes), second, first)


def noisy(vectors: Tensor, *, deviation: float, seed: int) -> Tensor:
    """Return vectors [N, d] plus N(0, deviation^2) in each number; row k has a stream of its own.

    Numbers of a prior have a mean square of one.
    """
    size, draws = vectors.shape[1], _streams(len(vectors), seed, "noise")
    return vectors + deviation * torch.stack([torch.randn(size, generator=d) for d in draws])


def _streams(count: int, seed: int, purpose: str) -> Iterator[torch.Generator]:
    return (torch_generator(seed, "prior", purpose, k) for k in range(count))


def _index(count: int, draw: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=draw))
