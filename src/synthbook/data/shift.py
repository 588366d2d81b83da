"""Other looks of test photographs: sketches, renditions, the hardest ones, and a second draw.

Small counterparts of ImageNet-Sketch (Wang et al. 2019), -R (Hendrycks et al. 2021a), -A (Hendrycks
et al. 2021b) and -v2 (Recht et al. 2019), made of an `ImageSet` without any network of their own:

- *sketch*: the edges of the same photographs, without colour and texture;
- *rendition*: the same photographs in another style, so that colours and textures are not those of
  photographs while shapes remain: a poster, a painting, a cartoon or a print, drawn for each image;
- *adversarial*: the photographs on which a reference network is wrong, or least sure, unaltered;
- *v2*: other photographs of the same classes, taken in the same way.

Each is a pure function: the same images, seed and predictions give the same set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from synthbook.data.edits import grey, sketch
from synthbook.data.images import ImageSet, Splits
from synthbook.errors import InputError
from synthbook.randomness import numpy_generator

if TYPE_CHECKING:
    from torch import Tensor

SHIFTS = ("sketch", "rendition", "adversarial", "v2")
HARD = 0.2  # share of the test images that adversarial keeps
LEVELS = 4  # tones of a poster


def _as(images: ImageSet, pixels: np.ndarray, shift: str) -> ImageSet:
    return ImageSet(pixels, images.labels, images.classes, f"{images.name}-{shift}")


def sketches(images: ImageSet) -> ImageSet:
    """Return the edges of the images, dark on white (`edits.sketch`); the set is NAME-sketch."""
    return _as(images, sketch(images.images), "sketch")


# Renditions: each style maps one image, uint8 [H, W, C], to another


def _luma(image: np.ndarray) -> np.ndarray:
    return grey(image[None])[0, ..., 0].astype(np.float64)


def _smooth(image: np.ndarray) -> np.ndarray:
    """Return the image without texture, edges kept: the filter of Kuwahara et al. (1976).

    Of the four squares of 2 x 2 pixels that hold it, a pixel becomes the mean of that whose
    brightness varies least. Float [H, W, C].
    """
    from scipy.ndimage import uniform_filter

    side, luma = 2, _luma(image)
    means, spreads = [], []
    for down in (-1, 0):
        for right in (-1, 0):
            where = {"mode": "nearest", "origin": (down, right)}
            mean = uniform_filter(luma, side, **where)
            spreads.append(uniform_filter(luma**2, side, **where) - mean**2)
            channels = np.moveaxis(image.astype(np.float64), 2, 0)
            means.append(np.stack([uniform_filter(c, side, **where) for c in channels], 2))
    calmest = np.argmin(spreads, 0)[None, ..., None]
    return np.take_along_axis(np.stack(means), calmest, 0)[0]


def _rounded(pixels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _ramp(levels: int, channels: int, draw: np.random.Generator) -> np.ndarray:
    """Return colours from dark to light, float [levels, channels]: a new hue at each level.

    A colour of level k has all channels near 255 (k + 1/2) / levels, so that light stays light.
    """
    tones = 255 * (np.arange(levels) + 0.5) / levels
    spread = draw.uniform(-110, 110, (levels, channels))
    spread -= spread.mean(1, keepdims=True)
    return np.clip(tones[:, None] + spread, 0, 255)


def _tones(luma: np.ndarray, levels: int) -> np.ndarray:
    """Return each pixel's level, 0 .. levels - 1: as many pixels in each, ties together."""
    cuts = np.quantile(luma, np.arange(1, levels) / levels)
    return np.searchsorted(cuts, luma, side="left")


def poster(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Return the smoothed image in four tones, each in a colour that is drawn."""
    smooth = _rounded(_smooth(_rounded(_smooth(image))))
    return _rounded(_ramp(LEVELS, image.shape[2], draw)[_tones(_luma(smooth), LEVELS)])


def painting(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Return the image in patches, twice as colourful, its channels in another order, on canvas."""
    smooth = _smooth(_rounded(_smooth(image)))
    middle = smooth.mean(2, keepdims=True)
    vivid = middle + 2 * (smooth - middle)
    orders = [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    if image.shape[2] == 3:
        vivid = vivid[..., orders[draw.integers(len(orders))]]
    canvas = draw.normal(0, 8, image.shape[:2])
    return _rounded(vivid + canvas[..., None])


def cartoon(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Return flat colours, lighter or darker as drawn, with black outlines."""
    smooth = _smooth(_rounded(_smooth(image)))
    flat = 51 * np.rint(smooth / 51)  # six values a channel
    gain = draw.uniform(0.8, 1.25, image.shape[2])
    lines = sketch(image[None], blur=1.0)[0, ..., :1] / 255
    return _rounded(flat * gain * np.clip(1.6 * lines - 0.4, 0, 1))


def print_(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Return the image in two colours, dark and light, as a block of wood prints it.

    What is brighter than its surroundings is light.
    """
    from scipy.ndimage import gaussian_filter

    luma = _luma(image)
    light = luma > (gaussian_filter(luma, 4.0) + np.median(luma)) / 2
    dark, bright = draw.uniform(0, 70, image.shape[2]), draw.uniform(185, 255, image.shape[2])
    return _rounded(np.where(light[..., None], bright, dark))


STYLES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "poster": poster,
    "painting": painting,
    "cartoon": cartoon,
    "print": print_,
}


def styles_of(images: ImageSet, seed: int) -> np.ndarray:
    """Return the style of each image, a name of `STYLES`: drawn, alike in number in each class."""
    found = np.empty(len(images), dtype=object)
    for k in range(images.num_classes):
        members = np.flatnonzero(images.labels == k)
        draw = numpy_generator(seed, "rendition", "styles", k)
        names = draw.permutation(list(STYLES))
        found[draw.permutation(members)] = np.resize(names, len(members))
    return found


def renditions(images: ImageSet, *, seed: int = 0) -> ImageSet:
    """Return each image in one of the `STYLES`; the set is NAME-rendition.

    The style, and its colours, are drawn from ``seed`` and the image's place in the set.
    """
    pixels = np.empty_like(images.images)
    for i, style in enumerate(styles_of(images, seed)):
        draw = numpy_generator(seed, "rendition", i)
        pixels[i] = STYLES[style](images.images[i], draw)
    return _as(images, pixels, "rendition")


# The hardest


def hardness(logits: np.ndarray | Tensor, labels: np.ndarray) -> np.ndarray:
    """Return float [N], the larger the harder: the largest other logit less that of the label.

    Above 0 the reference is wrong, and the more the surer it is of another class.
    """
    logits = np.array(logits, dtype=np.float64)
    rows = np.arange(len(labels))
    own = logits[rows, labels]
    logits[rows, labels] = -np.inf
    return logits.max(1) - own


def hardest(
    images: ImageSet, logits: np.ndarray | Tensor, *, share: float = HARD, balanced: bool = False
) -> ImageSet:
    """Return the share of the images that are hardest for a reference; the set is NAME-adversarial.

    As ImageNet-A was collected with a ResNet-50: unaltered photographs that it gets wrong, here
    filled up, where these are too few, with those that it is least sure of (`hardness`). Classes
    are then as frequent as they are hard, unless ``balanced``, which takes the share of each.

    Args:
        logits: of the reference for these images, [N, K]. It should be of another architecture or
            seed than what is rated and trained on the training part: what it gets wrong, its like
            gets wrong too, so that a network of the reference's kind is rated too low.

    Raises:
        InputError: for predictions that do not fit, or a share outside (0, 1].
    """
    shape = tuple(logits.shape)
    if shape != (len(images), images.num_classes):
        raise InputError(
            f"the reference's logits are {list(shape)}; give [{len(images)}, "
            f"{images.num_classes}], one row for each image of '{images.name}'"
        )
    if not 0 < share <= 1 or not len(images):
        raise InputError(
            f"share is {share} of the {len(images)} images of '{images.name}'; give images, and a "
            "share above 0 and up to 1"
        )
    hard = hardness(logits, images.labels)
    if np.isnan(hard).any():
        raise InputError("some of the reference's logits are no numbers (nan); predict them anew")
    order = np.lexsort((np.arange(len(hard)), -hard))  # of equals the first
    groups = [order]
    if balanced:
        groups = [order[images.labels[order] == k] for k in range(images.num_classes)]
    chosen = [group[: int(np.ceil(share * len(group)))] for group in groups]
    part = images.subset(np.sort(np.concatenate(chosen)))
    return _as(part, part.images, "adversarial")


# A second draw


def second_draw(splits: Splits, *, seed: int = 0) -> ImageSet:
    """Return other photographs than the test's, of the same classes as often; NAME-v2.

    They come from the validation part, which was cut off by the same rule as the test and is
    learned from by nobody. So they may be asked only where validation images chose nothing: of a
    network whose epochs, rate or generator were chosen on them they would be rated too high. Each
    class has its share of the test's images, as many as the rarest allows.

    Raises:
        InputError: if a class of the test has no validation image.
    """
    test, others = splits.test.counts(), splits.val.counts()
    asked = test > 0
    if (others[asked] == 0).any() or not asked.any():
        name = next((splits.classes[k] for k in np.flatnonzero(asked & (others == 0))), "any")
        raise InputError(
            f"'{splits.name}' has no validation image of class '{name}' to draw a second test "
            "from; leave the class out, or give photographs of your own by other_tests (v2=FOLDER)"
        )
    ratio = (others[asked] / test[asked]).min()
    counts = np.maximum(np.floor(ratio * test + 1e-9), asked).astype(int)
    chosen = []
    for k, count in enumerate(counts):
        members = np.flatnonzero(splits.val.labels == k)
        chosen.append(numpy_generator(seed, "v2", k).permutation(members)[:count])
    part = splits.val.subset(np.sort(np.concatenate(chosen)))
    return _as(part, part.images, "v2")
