"""Spectra of images: how the amplitude falls with frequency, and what the phase holds.

Images are uint8 or float ``[N, H, W, C]``; the mean over the channels is taken.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from synthbook.errors import InputError
from synthbook.randomness import numpy_generator

LOWEST, HIGHEST = 1 / 32, 1 / 4  # cycles a pixel: between these a slope is fitted
PART = 32  # images in double precision at a time


def _grey(images: np.ndarray) -> np.ndarray:
    """Return float64 ``[N, H, W]``, or raise InputError if these are no square images."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1] != images.shape[2] or not len(images):
        raise InputError(f"images are {list(images.shape)}; give [N, H, H, C] with N of 1 or more")
    if images.shape[1] < 8:
        raise InputError(f"images of {images.shape[1]} pixels have no spectrum; give 8 or more")
    return images.mean(axis=-1, dtype=np.float64)


def _parts(images: np.ndarray) -> Iterator[np.ndarray]:
    images = np.asarray(images)
    for start in range(0, max(1, len(images)), PART):
        yield images[start : start + PART]


def amplitude(images: np.ndarray, *, window: bool = True) -> np.ndarray:
    """Return the amplitude spectra ``|FFT|`` of images, float64 ``[N, H, H]``, zero first.

    Args:
        images: ``[N, H, H, C]``.
        window: take the mean away and fade to the borders (Hann), because the transform takes an
            image for one tile of a wallpaper, and sees an edge where the borders do not match.
    """
    grey = _grey(images)
    if window:
        fade = np.hanning(grey.shape[1] + 2)[1:-1]
        weights = fade[:, None] * fade[None, :]
        mean = (grey * weights).sum((1, 2), keepdims=True) / weights.sum()
        grey = (grey - mean) * weights
    return np.abs(np.fft.fft2(grey))


def radial(spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average spectra over rings of equal frequency.

    Args:
        spectra: ``[N, H, H]``, zero frequency first.

    Returns:
        Frequencies in cycles a pixel, float64 ``[K]``, the mean of each ring k = 1..H/2 - 1; and
        ``[N, K]`` the mean of the spectra on the rings.
    """
    size = spectra.shape[-1]
    axis = np.fft.fftfreq(size)
    radius = np.hypot(axis[:, None], axis[None, :]).ravel()
    ring = np.rint(radius * size).astype(np.int64)
    count = np.bincount(ring)
    used = slice(1, size // 2)
    sums = np.stack([np.bincount(ring, spectrum.ravel()) for spectrum in spectra])
    frequency = np.bincount(ring, radius) / count
    return frequency[used], (sums / count)[:, used]


def power_spectrum(images: np.ndarray, *, window: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return the radially averaged power spectra: frequencies ``[K]`` and power ``[N, K]``."""
    rings = [radial(amplitude(part, window=window) ** 2) for part in _parts(images)]
    return rings[0][0], np.concatenate([power for _, power in rings])


def log_slope(
    frequency: np.ndarray, values: np.ndarray, low: float = LOWEST, high: float = HIGHEST
) -> np.ndarray:
    """Return the least-squares slopes of log values against log frequency, ``[N]``.

    The points are weighted by 1 / f, so that each octave counts alike.

    Args:
        frequency: ``[K]``, ascending.
        values: ``[N, K]``, positive.
        low, high: the part of the frequencies that is used, in cycles a pixel; an InputError if
            fewer than 3 points lie in it.
    """
    used = (frequency >= low) & (frequency <= high)
    if used.sum() < 3:
        raise InputError(
            f"{used.sum()} frequencies lie from {low:g} to {high:g} cycles a pixel; "
            "give a wider range or larger images"
        )
    x, weight = np.log(frequency[used]), 1 / frequency[used]
    x = x - np.average(x, weights=weight)
    tiny = np.finfo(np.float64).tiny
    y = np.log(np.maximum(values[:, used], tiny))
    return (y * (weight * x)).sum(-1) / (weight * x * x).sum()


def spectral_slope(
    images: np.ndarray, *, low: float = LOWEST, high: float = HIGHEST, window: bool = True
) -> np.ndarray:
    """Return the slope of each image's amplitude on logarithmic axes, ``[N]``; near -1 in nature.

    The amplitude of a ring is the root of its mean power. Tolhurst et al. (1992) measured -1.2 on
    average over photographs.
    """
    frequency, power = power_spectrum(images, window=window)
    return log_slope(frequency, power, low, high) / 2


def swap_phase(amplitude_of: np.ndarray, phase_of: np.ndarray) -> np.ndarray:
    """Return images with the amplitude of one and the phase of another, channel by channel.

    Oppenheim and Lim (1981): the result looks like the image that gave the phase. All three are
    ``[N, H, W, C]``; some values of the result are a little outside the range of the images.
    """
    size = np.abs(np.fft.fft2(amplitude_of, axes=(1, 2)))
    return np.fft.ifft2(size * _unit(np.fft.fft2(phase_of, axes=(1, 2))), axes=(1, 2)).real


def _unit(spectra: np.ndarray) -> np.ndarray:
    """Return the phase factors of spectra, 1 where there is no amplitude."""
    length = np.abs(spectra)
    return np.divide(spectra, length, out=np.ones_like(spectra), where=length > 1e-9)


def random_phase(images: np.ndarray, seed: int) -> np.ndarray:
    """Return images of the same amplitude whose phase is shuffled, float64 ``[N, H, W, C]``.

    The phase of white noise is added, the same in all channels, so that colours stay together;
    the mean stays too.
    """
    rng = numpy_generator(seed, "random phase")
    turn = _unit(np.fft.fft2(rng.standard_normal((*images.shape[:3], 1)), axes=(1, 2)))
    turn[:, 0, 0] = 1
    return np.fft.ifft2(np.fft.fft2(images, axes=(1, 2)) * turn, axes=(1, 2)).real


def falling_share(images: np.ndarray) -> np.ndarray:
    """Return the share of the power, off the axes, at frequencies with ``f_x f_y < 0``, ``[N]``.

    1/2 if both diagonals are alike; more if edges run down to the right rather than up.
    """
    shares = []
    for part in _parts(images):
        power = amplitude(part) ** 2
        axis = np.fft.fftfreq(power.shape[-1])
        sign = np.sign(axis[:, None] * axis[None, :])
        falling, other = power[:, sign < 0].sum(-1), power[:, sign > 0].sum(-1)
        shares.append(falling / (falling + other).clip(1e-300))
    return np.concatenate(shares)


def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the correlation of the pixels of images ``[N, H, W, C]`` with others, ``[N]``."""
    a, b = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (first, second))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1)).clip(1e-12)


def edge_kurtosis(images: np.ndarray) -> np.ndarray:
    """Return the kurtosis of the differences of neighbouring pixels, ``[N]``.

    It is 3 where they are Gaussian, as for any spectrum with random phases; edges between even
    areas make it far larger. Both directions count, each divided by its own spread.
    """

    def of_axis(grey: np.ndarray, axis: int) -> np.ndarray:
        step = np.diff(grey, axis=axis).reshape(len(grey), -1)
        step = step - step.mean(1, keepdims=True)
        return (step**4).mean(1) / (step**2).mean(1).clip(1e-12) ** 2

    parts = map(_grey, _parts(images))
    return np.concatenate([np.mean([of_axis(g, 1), of_axis(g, 2)], axis=0) for g in parts])


def coverage(layers: np.ndarray) -> np.ndarray:
    """Return the share of pixels under any shape, ``[N]``.

    ``layers`` is ``[N, H, W]``, the number of the shape on top, 0 for none.
    """
    return (np.asarray(layers) > 0).mean((1, 2))


def visible(layers: np.ndarray, count: int) -> np.ndarray:
    """Return which of the shapes 1..count are still to be seen, bool ``[N, count]``."""
    layers = np.asarray(layers).reshape(len(layers), -1)
    shown = np.zeros((len(layers), count + 1), bool)
    np.put_along_axis(shown, layers, True, axis=1)
    return shown[:, 1:]
