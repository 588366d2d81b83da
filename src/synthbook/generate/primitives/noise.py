"""Pink noise: white noise whose spectrum falls like a power of the frequency."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from synthbook.randomness import numpy_generator, torch_generator

CYCLE = 5 / 256  # frequency of one cycle an image: as in the public code at 256 pixels
EPSILON = 2e-6
GROUP_PIXELS = 1 << 16


def axis_frequencies(resolution: int, *, per_pixel: bool = False) -> np.ndarray:
    """Return ``|f|`` of k = 0..H-1, float64 ``[H]``; 0 is replaced by a tenth of the next.

    The unit decides which axis of two exponents has the larger amplitude, and how much of it the
    2e-6 of the weight takes. ``per_pixel`` counts as the public code does at every resolution, by
    5 cycles a pixel; else a small image is a coarse view of the large one.
    """
    cycles = np.abs(np.fft.fftfreq(resolution, 1 / resolution))
    cycles[0] = 0.1
    return cycles * (5 / resolution if per_pixel else CYCLE)


def pink_weights(exponents: np.ndarray, resolution: int, *, per_pixel: bool = False) -> np.ndarray:
    """Return ``w = 1 / (|f_x|^a + |f_y|^b + 2e-6)`` for the half spectrum of a real image.

    The formula is that of section 3.1 (with a = b) and of the public code.

    Args:
        exponents: ``[..., 2]``, a and b.
        resolution: side H.
        per_pixel: see `axis_frequencies`.

    Returns:
        float64 ``[..., H, H/2 + 1]``, rows are f_y.
    """
    along_x, along_y = _powers(exponents, axis_frequencies(resolution, per_pixel=per_pixel))
    return 1 / (along_x[..., None, :] + along_y[..., :, None] + EPSILON)


def _powers(exponents: np.ndarray, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``|f_x|^a`` ``[..., H/2 + 1]`` and ``|f_y|^b`` ``[..., H]``.

    By NumPy in double precision, whose result does not depend on the place in an array.
    """
    exponents, logs = np.asarray(exponents, np.float64), np.log(frequencies)
    a, b = exponents[..., 0, None], exponents[..., 1, None]
    return np.exp(a * logs[: len(logs) // 2 + 1]), np.exp(b * logs)


@cache
def _quantiles() -> Tensor:
    """Return the normal quantiles of the 65,536 numbers of 16 bits, float32."""
    steps = (torch.arange(1 << 16, dtype=torch.float64) + 0.5) / (1 << 16)
    return torch.special.ndtri(steps).float()


def _fill_normal(out: Tensor, indices: Sequence[int], seed: int, bits: Tensor | None) -> None:
    """Fill ``out`` ``[B, F, 3, H, H + 2]`` with normal numbers, each image from its own generator.

    On the CPU they are quantiles of 16-bit numbers, which take a third of the time of exact ones
    and end at 4.3 standard deviations; ``bits`` is int32 of the size of ``out`` to work in.
    """
    if bits is None:
        for image, index in zip(out, indices, strict=True):
            generator = torch_generator(seed, "pink noise", int(index), device=str(out.device))
            for field in image:
                field.normal_(generator=generator)
        return
    rows = bits[: len(out)].numpy()
    for row, index in zip(rows, indices, strict=True):
        generator = numpy_generator(seed, "pink noise", int(index))
        row[:] = generator.bit_generator.random_raw(row.size // 4).view(np.uint16)
    torch.index_select(_quantiles(), 0, bits[: len(out)].flatten(), out=out.flatten())


def pink_noise(
    exponents: np.ndarray,
    indices: Sequence[int],
    *,
    seed: int,
    resolution: int,
    device: str = "cpu",
    per_pixel: bool = False,
) -> Tensor:
    """Return pink noise before it is stretched to bytes: float32 ``[B, F, 3, H, H]``.

    The spectrum of white noise is drawn directly, so that no forward transform is needed. Where
    f_x is 0 or H/2, the spectrum of a real image is conjugate-symmetric; the inverse transform
    makes it so by dropping half of the variance, which a factor sqrt(2) makes up for.

    Args:
        exponents: ``[B, F, 3, 2]`` of F fields an image: a along x and b along y, by channel.
        indices: numbers of the B images.
        seed: of the stream of images.
        resolution: side H.
        device: where to draw and transform.
        per_pixel: see `axis_frequencies`.
    """
    images, fields, half = *exponents.shape[:2], resolution // 2 + 1
    noise = torch.empty((images, fields, 3, resolution, resolution), device=device)
    white = 2**0.5 / resolution  # the inverse transform then has a variance of 1 without weights
    frequencies = axis_frequencies(resolution, per_pixel=per_pixel)
    along_x, along_y = _powers(exponents, frequencies)
    along_x = torch.from_numpy((along_x * white).repeat(2, axis=-1).astype(np.float32)).to(device)
    along_y = torch.from_numpy(((along_y + EPSILON) * white).astype(np.float32)).to(device)
    # A few images at a time in memory that is used again, which stays in a CPU's caches.
    group = images if noise.is_cuda else min(images, max(1, GROUP_PIXELS // resolution**2))
    # Real and imaginary parts stand side by side, as the transform wants them.
    work = torch.empty((group, fields, 3, resolution, 2 * half), device=device)
    weight = torch.empty_like(work)
    bits = None if noise.is_cuda else torch.empty((group, work[0].numel()), dtype=torch.int32)
    for start in range(0, images, group):
        part = slice(start, min(start + group, images))
        spectra, weights = work[: part.stop - start], weight[: part.stop - start]
        _fill_normal(spectra, indices[part], seed, bits)
        torch.add(along_x[part, ..., None, :], along_y[part, ..., :, None], out=weights)
        spectra.div_(weights)
        spectra[..., :2] *= 2**0.5
        spectra[..., -2:] *= 2**0.5
        halves = torch.view_as_complex(spectra.view(*spectra.shape[:-1], half, 2))
        _transform(halves, noise[part])
    return noise


def _transform(halves: Tensor, out: Tensor) -> None:
    """Write the inverse transforms of half spectra ``[B, F, 3, H, H/2 + 1]`` to ``out``."""
    if out.is_cuda:
        out.copy_(torch.fft.irfft2(halves))
        return
    from scipy import fft

    # One transform of a fixed shape an image: the bytes must not depend on the batch.
    for spectrum, image in zip(halves.numpy(), out.numpy(), strict=True):
        image[:] = fft.irfft2(spectrum, overwrite_x=True)


def stretch(noise: Tensor) -> Tensor:
    """Stretch fields ``[B, F, 3, H, H]`` in place to 0..255, all channels by the same two ends."""
    flat = noise.flatten(2)
    low, high = flat.amin(-1, keepdim=True), flat.amax(-1, keepdim=True)
    flat.sub_(low).mul_(255 / (high - low).clamp_min(1e-30))
    return noise
