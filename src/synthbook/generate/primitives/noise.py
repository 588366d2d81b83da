"""Pink noise: white noise whose spectrum falls like a power of the frequency."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthbook.generate.primitives.shapes import slices
from synthbook.randomness import torch_generator

CYCLE = 5 / 256  # frequency of one cycle an image: as in the public code at 256 pixels
EPSILON = 2e-6
GROUP_PIXELS = 1 << 16
MOST_FIELDS = 2  # of an image: ground, and salient shape


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

    The formula is that of section 3.1 (with a = b) and of the public code. ``exponents``
    ``[..., 2]`` are a and b; returns float64 ``[..., H, H/2 + 1]``, rows are f_y.
    """
    along_x, along_y = _powers(exponents, resolution, per_pixel)
    return 1 / (along_x[..., None, :] + along_y[..., :, None] + EPSILON)


def _powers(
    exponents: np.ndarray, resolution: int, per_pixel: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``|f_x|^a`` ``[..., H/2 + 1]`` and ``|f_y|^b`` ``[..., H]``.

    By NumPy in double precision, whose result does not depend on the place in an array.
    """
    logs = np.log(axis_frequencies(resolution, per_pixel=per_pixel))
    exponents = np.asarray(exponents, np.float64)
    a, b = exponents[..., 0, None], exponents[..., 1, None]
    return np.exp(a * logs[: len(logs) // 2 + 1]), np.exp(b * logs)


@cache
def _quantiles() -> Tensor:
    """Return the normal quantiles of the 65,536 numbers of 16 bits, float32."""
    steps = (torch.arange(1 << 16, dtype=torch.float64) + 0.5) / (1 << 16)
    return torch.special.ndtri(steps).float()


def _scales(
    exponents: np.ndarray, resolution: int, per_pixel: bool, device: str
) -> tuple[Tensor, Tensor]:
    """Return what adds up to 1 / weight: ``[K, 3, 1, H + 2]`` along x, ``[K, 3, H, 1]`` along y.

    Along x real and imaginary parts stand side by side, as the transform wants them.
    """
    white = 2**0.5 / resolution  # the inverse transform then has a variance of 1 without weights
    along_x, along_y = _powers(exponents.reshape(-1, 3, 2), resolution, per_pixel)
    along_x = (along_x * white).repeat(2, axis=-1)[..., None, :]
    along_y = ((along_y + EPSILON) * white)[..., :, None]
    return tuple(torch.tensor(x, dtype=torch.float32, device=device) for x in (along_x, along_y))


def _weigh(spectra: Tensor, along_x: Tensor, along_y: Tensor, memory: Tensor) -> Tensor:
    """Turn normal numbers ``[G, 3, H, H + 2]`` into half spectra, complex ``[G, 3, H, H/2 + 1]``.

    Where f_x is 0 or H/2 the spectrum of a real image is its own mirror image. The transform makes
    it so by dropping half of the variance, which a factor sqrt(2) makes up for.
    """
    spectra.div_(torch.add(along_x, along_y, out=memory))
    spectra[..., :2] *= 2**0.5
    spectra[..., -2:] *= 2**0.5
    return torch.view_as_complex(spectra.unflatten(-1, (-1, 2)))


def _on_cpu(
    exponents: np.ndarray, indices: Sequence[int], *, seed: int, resolution: int, per_pixel: bool
) -> Tensor:
    """Return the noise ``[B F, 3, H, H]`` of B images with F fields each.

    The same memory serves some fields after the others, so that it stays in the caches. The white
    noise is made of quantiles of 16-bit numbers, which take a third of the time of exact normal
    numbers and end at 4.3 standard deviations.
    """
    from scipy import fft

    images, fields = exponents.shape[:2]
    noise = torch.empty((images * fields, 3, resolution, resolution))
    scales = _scales(exponents, resolution, per_pixel, "cpu")
    group = min(len(noise), max(1, GROUP_PIXELS // resolution**2))
    work, memory = torch.empty((2, group, 3, resolution, resolution + 2))
    bits = torch.empty((group, work[0].numel()), dtype=torch.int32)
    raw = bits.shape[1] // 4  # numbers of 64 bits a field
    slots = {"length": MOST_FIELDS * raw, "taken": fields * raw}
    streams = (
        generator.bit_generator
        for generator in slices(seed, "pink noise", indices, **slots)
        for _ in range(fields)
    )
    for start in range(0, len(noise), group):
        part = slice(start, start + group)
        made = noise[part].numpy()
        count = len(made)
        for row, stream in zip(bits[:count].numpy(), streams, strict=False):
            row[:] = stream.random_raw(raw).view(np.uint16)
        torch.index_select(_quantiles(), 0, bits[:count].flatten(), out=work[:count].flatten())
        spectra = _weigh(work[:count], *(scale[part] for scale in scales), memory[:count])
        # SciPy's is the faster one along columns, NumPy's fills memory that is there.
        np.fft.irfft(fft.ifft(spectra.numpy(), axis=-2, overwrite_x=True), out=made)
    return noise


def _on_gpu(
    exponents: np.ndarray,
    indices: Sequence[int],
    *,
    seed: int,
    resolution: int,
    per_pixel: bool,
    device: str,
) -> Tensor:
    """Return the same noise ``[B F, 3, H, H]`` from the GPU's own generators."""
    scales = _scales(exponents, resolution, per_pixel, device)
    shape = (*exponents.shape[:2], 3, resolution, resolution + 2)
    work = torch.empty(shape, device=device)
    for image, index in zip(work, indices, strict=True):
        generator = torch_generator(seed, "pink noise", int(index), device=str(device))
        for field in image:  # one after the other: the first does not depend on their number
            field.normal_(generator=generator)
    work = work.flatten(0, 1)
    rows = torch.fft.ifft(_weigh(work, *scales, torch.empty_like(work)), dim=-2)
    rows[..., :: resolution // 2].imag.zero_()  # else it is up to the library
    return torch.fft.irfft(rows, dim=-1)


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

    ``exponents`` are ``[B, F, 3, 2]`` of F fields an image, 1 or 2: a along x and b along y, by
    channel. The spectrum of white noise is drawn directly, without a forward transform.
    """
    how = {"seed": seed, "resolution": resolution, "per_pixel": per_pixel}
    if torch.device(device).type == "cpu":
        noise = _on_cpu(exponents, indices, **how)
    else:
        noise = _on_gpu(exponents, indices, device=device, **how)
    return noise.unflatten(0, exponents.shape[:2])


def packed_noise(exponents: np.ndarray, indices: Sequence[int], **where: Any) -> Tensor:
    """Return pink noise stretched to bytes as red + 256 green + 65536 blue, int32 ``[B, F, H, H]``.

    Arguments as in `pink_noise`.
    """
    red, green, blue = stretch(pink_noise(exponents, indices, **where)).floor_().unbind(2)
    packed = red.add_(green, alpha=1 << 8).add_(blue, alpha=1 << 16)  # exact in float32
    return packed.to(torch.int32)


def stretch(noise: Tensor) -> Tensor:
    """Stretch fields ``[..., 3, H, H]`` in place to 0..255, all channels by the same two ends."""
    flat = noise.flatten(-3)
    low, high = flat.amin(-1, keepdim=True), flat.amax(-1, keepdim=True)  # aminmax is slow
    flat.sub_(low).mul_(255 / (high - low).clamp_min(1e-30))
    return noise
