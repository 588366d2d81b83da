"""The linear probe: how well a linear layer on frozen features tells the classes of another set.

Multinomial logistic regression with an L2 penalty on the weights, whose strength is chosen on a
held-out part of the training images, over several seeds of it, and refitted on all of them
(Kornblith et al. 2019; Sariyildiz et al. 2023, Sec. 5.3):

    L(W, b) = (1/N) sum_i -log softmax(W z_i + b)[y_i] + (l2 / 2) |W|^2

Features z are standardised by the training images. The solver by default turns them so that their
covariance is diagonal, which leaves L as it is, and there scales each weight by the root of the
curvature that L has along it; L-BFGS then needs a fraction of the steps. Along the strengths, from
strong to weak, each fit starts where the two before it point to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from synthbook.data.deferred import Deferred
from synthbook.errors import InputError, check_choice
from synthbook.machine import checked_device
from synthbook.randomness import numpy_generator
from synthbook.recognize.ranks import METRICS, measures

if TYPE_CHECKING:
    from synthbook.data import ImageSet

STRENGTHS = tuple(10.0 ** (-2 * k / 3) for k in range(10))  # 1 to 1e-6, of the mean loss
SEEDS = (0, 1, 2)  # of the held-out part
HELD_OUT = 0.2  # of each class's training images
TOLERANCE = 5e-4  # the largest entry of the scaled gradient at which a fit along the path ends
REFIT = 1e-4  # the same for the fit that is kept
MOST_STEPS = 1000
BLOCK = 2**26  # logits that are held at a time
CHUNK = 2048  # images that are read at a time

Solver = Literal["torch", "sklearn"]
Encode = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear classifier of features: ``weights`` [K, D], ``bias`` [K], made with ``l2``.

    ``gradient`` is the largest entry of L's gradient there, by the turned features.
    """

    weights: np.ndarray
    bias: np.ndarray
    l2: float
    gradient: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return logits [N, K] of features [N, D]."""
        return features @ self.weights.T + self.bias


@dataclass(frozen=True, eq=False)
class Search:
    """Held-out measures in percent, float [seeds, strengths], and the strength with the best mean.

    Of strengths that are equally good it is the strongest.
    """

    strengths: tuple[float, ...]
    seeds: tuple[int, ...]
    held_out: np.ndarray

    @property
    def best(self) -> float:
        """The chosen strength."""
        return self.strengths[int(self.held_out.mean(0).argmax())]


@dataclass(frozen=True, eq=False)
class Probed:
    """The measures on the test images (`ranks.measures`), and how they came about."""

    measures: dict[str, float]
    search: Search
    linear: Linear


# Features


def encoded(encode: Encode, images: ImageSet | Deferred) -> np.ndarray:
    """Return the features [N, D] of a set; ``encode`` maps uint8 [n, S, S, C] to [n, D].

    That may be a network's logits, too. Give an extractor's ``cached`` to have them once for all. A
    set in memory is encoded whole, one that is read from files in parts of `CHUNK` images.
    """
    if not isinstance(images, Deferred):
        return np.asarray(encode(images.images))
    if not len(images):
        raise InputError(f"'{images.name}' has no images; a probe needs some")
    starts = range(0, len(images), CHUNK)
    parts = (np.arange(k, min(k + CHUNK, len(images))) for k in starts)
    return np.concatenate([np.asarray(encode(images.read(part))) for part in parts])


def check_features(features: np.ndarray, count: int, name: str) -> None:
    """Raise InputError unless features are finite numbers [count, D]."""
    if features.ndim != 2 or len(features) != count or not features.shape[1]:
        raise InputError(
            f"the features of '{name}' are {list(features.shape)}; the encoder has to give [N, D] "
            f"for its {count} images"
        )
    bad = int((~np.isfinite(features)).any(1).sum())
    if bad:
        raise InputError(
            f"the features of {bad} of {count} images of '{name}' are not finite; look at the "
            "encoder's weights and at the range of the images that it gets"
        )


def check_labels(labels: np.ndarray, classes: Sequence[str], name: str, *, least: int = 1) -> None:
    """Raise InputError unless each class has ``least`` training images, 1 or 2."""
    counts = np.bincount(labels, minlength=len(classes))
    if len(classes) < 2:
        raise InputError(f"'{name}' has {len(classes)} class; a probe needs two at least")
    if (counts < least).any():
        k = int(counts.argmin())
        many = f" ({int((counts < least).sum())} classes are like this)"
        if not counts[k]:
            raise InputError(
                f"class '{classes[k]}' of '{name}' has no training image{many}; add one, or leave "
                "the class out of both parts with of_classes"
            )
        raise InputError(
            f"class '{classes[k]}' of '{name}' has one training image{many}, and choosing the "
            "strength needs another to hold out; add one, leave the class out, or give one "
            "strength only, which nothing is held out for"
        )


# Fits


@dataclass(frozen=True, eq=False)
class Turned:
    """Standardised features, turned to the axes of their covariance: exact, and easy to descend.

    ``points`` are [N, R], R the rank, ``variances`` [R] along the axes; ``mean``, ``deviation`` [D]
    and ``axes`` [D, R] lead back.
    """

    points: Tensor
    variances: Tensor
    mean: Tensor
    deviation: Tensor
    axes: Tensor

    def back(self, weights: Tensor, bias: Tensor, labels: Tensor, l2: float) -> Linear:
        """Return a classifier of the features as they were, of one [K, R], [K] of the points."""
        gradient = slope(self.points, labels, l2, weights, bias)
        raw = (weights @ self.axes.T / self.deviation).cpu()
        shift = bias.cpu().double() - raw.double() @ self.mean.cpu().double()
        return Linear(raw.numpy(), shift.to(raw).numpy(), l2, gradient)


def turned(features: np.ndarray, device: str = "cpu") -> Turned:
    """Return features [N, D] standardised and turned; float64 stays float64, else it is float32.

    The axes are the eigenvectors of the covariance or, of fewer images than features, those of
    their products with each other, which lead to the same.
    """
    kind = torch.float64 if features.dtype == np.float64 else torch.float32
    x = torch.as_tensor(features, dtype=kind).to(checked_device(device))
    count, mean, deviation = len(x), x.mean(0), x.std(0, correction=0)
    deviation = torch.where(deviation > 1e-6 * deviation.max(), deviation, torch.ones_like(mean))
    x = (x - mean) / deviation
    few = count < x.shape[1]
    products = (x @ x.T if few else x.T @ x).cpu().double()
    variances, axes = torch.linalg.eigh(products / count)
    real = variances > 1e-7 * variances[-1].clamp(min=1e-12)
    variances, axes = variances[real], axes[:, real]
    if few:
        axes = x.T.cpu().double() @ axes / (count * variances).sqrt()
    axes = axes.to(x)
    return Turned(x @ axes, variances.to(x), mean, deviation, axes)


def _blocks(points: Tensor, classes: int) -> Iterator[slice]:
    size = max(1, BLOCK // classes)
    return (slice(k, k + size) for k in range(0, len(points), size))


def likelihood(
    points: Tensor, labels: Tensor, weights: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean cross-entropy, and its slopes by weights [K, R] and bias [K].

    They are (p - y)^T z / N and the mean of p - y, with p the probabilities and y the labels. No
    more than `BLOCK` logits are held at a time.
    """
    loss, wide, level = torch.zeros_like(bias[0]), torch.zeros_like(weights), torch.zeros_like(bias)
    for rows in _blocks(points, len(weights)):
        inside, marks = points[rows], labels[rows, None]
        log = torch.addmm(bias, inside, weights.T).log_softmax(1)
        loss -= log.gather(1, marks).sum() / len(points)
        p = log.exp_()
        p.scatter_add_(1, marks, torch.full_like(marks, -1.0, dtype=p.dtype))
        p /= len(points)
        wide.addmm_(p.T, inside)
        level += p.sum(0)
    return loss, wide, level


def slope(points: Tensor, labels: Tensor, l2: float, weights: Tensor, bias: Tensor) -> float:
    """Return the largest entry of L's gradient, by weights [K, R] of points and bias [K]."""
    _, wide, level = likelihood(points, labels, weights, bias)
    return max(float((wide + l2 * weights).abs().max()), float(level.abs().max()))


def unsure(points: Tensor, weights: Tensor, bias: Tensor) -> float:
    """Return the mean of (1 - |p|^2) / (K - 1), p the probabilities: 1 / K where all are alike."""
    total = torch.zeros_like(bias[0])
    for rows in _blocks(points, len(weights)):
        total += (1 - torch.addmm(bias, points[rows], weights.T).softmax(1).square().sum(1)).sum()
    return max(float(total) / len(points) / (len(weights) - 1), 1e-6)


@torch.no_grad()
def descend(
    points: Tensor, labels: Tensor, l2: float, start: tuple[Tensor, Tensor], variances: Tensor,
    tolerance: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return weights [K, R] and bias [K] where L is least.

    L-BFGS (torch) on weights that are scaled by (c variances + l2)^(1/2), the root of L's curvature
    along each axis, with c = `unsure` at the start: the surer of its images a classifier is, the
    flatter is L.
    """
    c = unsure(points, *start)
    scale = (c * variances + l2).rsqrt(), torch.full_like(start[1], c**-0.5)
    scaled = [(x / s).requires_grad_() for x, s in zip(start, scale, strict=True)]
    optimizer = torch.optim.LBFGS(
        scaled, max_iter=MOST_STEPS, max_eval=2 * MOST_STEPS, history_size=20,
        tolerance_grad=tolerance, tolerance_change=1e-12, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        weights, bias = (x.detach() * s for x, s in zip(scaled, scale, strict=True))
        loss, wide, level = likelihood(points, labels, weights, bias)
        scaled[0].grad, scaled[1].grad = (wide + l2 * weights) * scale[0], level * scale[1]
        return loss + l2 / 2 * weights.square().sum()

    optimizer.step(closure)
    return tuple(x.detach() * s for x, s in zip(scaled, scale, strict=True))


def _by_torch(
    points: Tensor, labels: Tensor, classes: int, strengths: Sequence[float], variances: Tensor,
    tolerance: float,
) -> Iterator[tuple[Tensor, Tensor]]:  # fmt: skip
    """Yield the fit of each strength; each starts on the line through the two before it."""
    shares = torch.bincount(labels, minlength=classes) / len(labels)
    bias = shares.log().to(points.dtype)
    here = points.new_zeros(classes, points.shape[1]), bias - bias.mean()
    before, start = None, here
    for k, l2 in enumerate(strengths):
        if k > 1:
            log = np.log(strengths[k - 2 : k + 1])
            ahead = float((log[2] - log[1]) / (log[1] - log[0]))
            start = tuple(x + ahead * (x - y) for x, y in zip(here, before, strict=True))
        before, here = here, descend(points, labels, l2, start, variances, tolerance)
        start = here
        yield here


def _by_sklearn(
    points: Tensor, labels: Tensor, classes: int, strengths: Sequence[float], variances: Tensor,
    tolerance: float,
) -> Iterator[tuple[Tensor, Tensor]]:  # fmt: skip
    """Yield scikit-learn's fit of each strength, which starts at the one before.

    For two classes it fits one vector w where L has -w/2 and w/2, of half the squared length.
    """
    from sklearn.linear_model import LogisticRegression

    x, y, half = points.cpu().numpy(), labels.cpu().numpy(), 2 if classes == 2 else 1
    model = LogisticRegression(max_iter=MOST_STEPS, tol=tolerance, warm_start=True)
    for l2 in strengths:
        model.set_params(C=half / (l2 * len(y))).fit(x, y)
        weights, bias = (torch.from_numpy(w).to(points) for w in (model.coef_, model.intercept_))
        if half == 2:
            weights, bias = torch.cat([-weights, weights]) / 2, torch.cat([-bias, bias]) / 2
        yield weights, bias


SOLVERS = {"torch": _by_torch, "sklearn": _by_sklearn}


def fit(
    features: np.ndarray | Turned, labels: np.ndarray, strengths: float | Sequence[float], *,
    classes: Sequence[str], solver: Solver = "torch", device: str = "cpu",
    tolerance: float = REFIT, name: str = "train",
) -> list[Linear]:  # fmt: skip
    """Return a classifier of features [N, D] for each strength, in the order of `checked`.

    Args:
        solver: 'torch' is L-BFGS as described above, on any device; 'sklearn' is scikit-learn's
            lbfgs on the CPU, with the same optimum.
        tolerance: of the solver; 'sklearn' has it on the gradient of L, 'torch' on the scaled one.

    Raises:
        InputError: for features that are not finite, a class without an image, and as `checked`.
    """
    check_choice("solver", solver, SOLVERS)
    strengths = checked([strengths] if isinstance(strengths, float) else strengths)
    if not isinstance(features, Turned):
        check_features(features, len(labels), name)
        check_labels(labels, classes, name)
        features = turned(features, device if solver == "torch" else "cpu")
    marks = torch.as_tensor(labels, device=features.points.device)
    fits = SOLVERS[solver](
        features.points, marks, len(classes), strengths, features.variances, tolerance
    )
    return [features.back(*one, marks, l2) for l2, one in zip(strengths, fits, strict=True)]


def checked(strengths: Sequence[float]) -> tuple[float, ...]:
    """Return strengths from the strongest to the weakest, each once; refuse what is none."""
    found = tuple(sorted({float(l2) for l2 in strengths}, reverse=True))
    if not found or not all(np.isfinite(l2) and l2 > 0 for l2 in found):
        raise InputError(
            f"strengths are {list(strengths)[:9]}; give finite numbers above 0, of the L2 penalty "
            "on the mean loss"
        )
    return found


# The search


def held_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return bool [N]: the images to choose the strength on, drawn class by class.

    A class of n has round(share n) of them, but one at least, and leaves one at least.
    """
    mask = np.zeros(len(labels), bool)
    for k in np.unique(labels):
        members = np.flatnonzero(labels == k)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        mask[numpy_generator(seed, "held out", int(k)).permutation(members)[:count]] = True
    return mask


def search(
    features: Turned, labels: np.ndarray, *, classes: Sequence[str],
    strengths: Sequence[float] = STRENGTHS, seeds: Sequence[int] = SEEDS, share: float = HELD_OUT,
    solver: Solver = "torch", metric: str = "top1", tolerance: float = TOLERANCE,
) -> Search:  # fmt: skip
    """Rate each strength on held-out parts of the training images, one a seed.

    No fit has seen the labels of the part that it is rated on. Needs two images of a class.
    """
    strengths, found = checked(strengths), []
    for seed in seeds:
        out = held_out(labels, share, seed)
        points, marks = features.points, torch.as_tensor(labels, device=features.points.device)
        away, near = (torch.as_tensor(mask, device=points.device) for mask in (out, ~out))
        fits = SOLVERS[solver](
            points[near], marks[near], len(classes), strengths, features.variances, tolerance
        )
        rated, others = [], points[away]
        for weights, bias in fits:
            logits = (others @ weights.T + bias).cpu()
            rated.append(measures(logits, labels[out])[metric])
        found.append(rated)
    return Search(strengths, tuple(seeds), np.array(found))


def probe_features(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, *,
    classes: Sequence[str], strengths: Sequence[float] = STRENGTHS, seeds: Sequence[int] = SEEDS,
    share: float = HELD_OUT, solver: Solver = "torch", device: str = "cpu", metric: str = "top1",
    name: str = "train",
) -> Probed:  # fmt: skip
    """Choose the strength, fit all training features [N, D] with it, and rate it on test features.

    With one strength nothing is searched.

    Raises:
        InputError: for features that are not finite, a class with no training image, or with one
            while there is something to search, test labels that training lacks, and bad settings.
    """
    check_choice("solver", solver, SOLVERS)
    check_choice("metric", metric, METRICS)
    strengths = checked(strengths)
    if not 0 < share < 1 or not len(seeds):
        raise InputError(
            f"share is {share} and seeds {list(seeds)}; give a share between 0 and 1, and a seed"
        )
    check_features(train, len(labels), name)
    check_features(test, len(test_labels), f"{name}, test")
    check_labels(labels, classes, name, least=2 if len(strengths) > 1 else 1)
    if train.shape[1] != test.shape[1]:
        raise InputError(
            f"training features of '{name}' have {train.shape[1]} numbers and test features "
            f"{test.shape[1]}; make both with one encoder"
        )
    place = turned(train, device if solver == "torch" else "cpu")
    how = {"classes": classes, "solver": solver}
    if len(strengths) > 1:
        more = {"strengths": strengths, "seeds": seeds, "share": share, "metric": metric}
        chosen = search(place, labels, **how, **more)
    else:
        chosen = Search(strengths, tuple(seeds), np.full((len(seeds), 1), np.nan))
    (linear,) = fit(place, labels, chosen.best, **how)
    return Probed(measures(linear.logits(test), test_labels), chosen, linear)


def probe(
    encode: Encode, train: ImageSet | Deferred, test: ImageSet | Deferred, **options: object
) -> Probed:
    """Probe a frozen encoder on a set; ``options`` are those of `probe_features`.

    ``train`` holds the validation part, too: the held-out parts are drawn here.

    Raises:
        InputError: if the parts have different classes, and as `probe_features`.
    """
    if train.classes != test.classes:
        raise InputError(
            f"'{train.name}' has the classes {', '.join(train.classes[:5])} ..., and "
            f"'{test.name}' {', '.join(test.classes[:5])} ...; bring both to one list with "
            "of_classes"
        )
    if not len(test):
        raise InputError(f"'{test.name}' has no test images; a probe needs some")
    check_labels(train.labels, train.classes, train.name)  # before anything is encoded
    features = (encoded(encode, images) for images in (train, test))
    given = (next(features), train.labels, next(features), test.labels)
    return probe_features(*given, classes=train.classes, name=train.name, **options)
