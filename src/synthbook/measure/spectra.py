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


def _grey(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield float64 ``[n, H, H]`` of square images, part by part."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1] != images.shape[2] or not len(images):
        raise InputError(f"images are {list(images.shape)}; give [N, H, H, C] with N of 1 or more")
    for start in range(0, len(images), PART):
        yield images[start : start + PART].mean(axis=-1, dtype=np.float64)


def amplitude(grey: np.ndarray) -> np.ndarray:
    """Return the amplitude spectra ``|FFT|`` of grey images ``[N, H, H]``, zero frequency first.

    First the mean is taken away and the image faded to its borders (Hann), because the transform
    takes it for one tile of a wallpaper, and sees an edge where the borders do not match.
    """
    fade = np.hanning(grey.shape[1] + 2)[1:-1]
    weights = fade[:, None] * fade[None, :]
    mean = (grey * weights).sum((1, 2), keepdims=True) / weights.sum()
    return np.abs(np.fft.fft2((grey - mean) * weights))


def radial(spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average spectra ``[N, H, H]`` over rings of equal frequency, k = 1..H/2 - 1.

    Returns the mean frequency of each ring in cycles a pixel, ``[K]``, and the mean of the spectra
    on it, ``[N, K]``.
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


def power_spectrum(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the radially averaged power spectra: frequencies ``[K]`` and power ``[N, K]``."""
    rings = [radial(amplitude(grey) ** 2) for grey in _grey(images)]
    return rings[0][0], np.concatenate([power for _, power in rings])


def log_slope(frequency: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the least-squares slopes of log values ``[N, K]`` against log frequency, ``[N]``.

    Frequencies from 1/32 to 1/4 count, weighted by 1 / f, so that each octave counts alike.
    """
    used = (frequency >= LOWEST) & (frequency <= HIGHEST)
    if used.sum() < 3:
        raise InputError(
            f"{used.sum()} frequencies lie from {LOWEST:g} to {HIGHEST:g} cycles a pixel; "
            "give larger images"
        )
    x, weight = np.log(frequency[used]), 1 / frequency[used]
    x = x - np.average(x, weights=weight)
    y = np.log(np.maximum(values[:, used], np.finfo(np.float64).tiny))
    return (y * (weight * x)).sum(-1) / (weight * x * x).sum()


def spectral_slope(images: np.ndarray) -> np.ndarray:
    """Return the slope of each image's amplitude on logarithmic axes, ``[N]``; near -1 in nature.

    The amplitude of a ring is the root of its mean power. Tolhurst et al. (1992) measured -1.2 on
    average over photographs.
    """
    return log_slope(*power_spectrum(images)) / 2


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
    for grey in _grey(images):
        power = amplitude(grey) ** 2
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

    return np.concatenate([(of_axis(g, 1) + of_axis(g, 2)) / 2 for g in _grey(images)])


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
