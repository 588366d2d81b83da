"""Drawn images per second: `synthesize` against the public algorithm, image by image.

The plain way is the authors' algorithm, written from a description of it: for each image NumPy's
FFT there and back for every channel, and for each shape a few draws and a call of
`PIL.ImageDraw`. Both draw the same distribution (positions scaled to the resolution, grey
backgrounds, falling lines) on one core and take turns. Of a CPU the time that it worked is counted,
of a GPU that of the clock. The last columns check that both draw alike: the share of pixels under
a shape, and the slope of the amplitude against frequency.

    python benchmarks/synthesizer.py --sizes 32 256 --repeats 5
    python benchmarks/synthesizer.py --sizes 256 --device cuda --images 4096
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import PIL
import torch
from PIL import Image, ImageDraw

from synthbook.generate.primitives import VARIANTS, Primitives, batches, layers, synthesize
from synthbook.measure.spectra import spectral_slope

ALIKE = ("grey_background", "falling_lines")
CIRCLE = np.linspace(0, 2 * np.pi, 60, endpoint=False)
KIND_OF_7 = (0, 1, 1, 2, 2, 3, 3)  # line, circle, ellipse, rectangle as 1 : 2 : 2 : 2
COS, SIN = np.cos(CIRCLE), np.sin(CIRCLE)


def plain_noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return pink noise, uint8 ``[H, H, 3]``."""
    frequencies = np.abs(np.fft.fftfreq(size, 1 / size)) * (5 / 256)
    frequencies[0] = frequencies[1] / 10
    channels = []
    for _ in range(3):
        a, b = rng.uniform(0.5, 3.5, 2)
        weight = 1 / (frequencies[None, :] ** a + frequencies[:, None] ** b + 2e-6)
        spectrum = np.fft.fft2(rng.normal(size=(size, size)))
        channels.append(np.fft.ifft2(weight * spectrum).real)
    noise = np.stack(channels, axis=-1)
    noise = 255 * (noise - noise.min()) / (noise.max() - noise.min())
    return noise.astype(np.uint8)


def plain_shape(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, most: int) -> None:
    """Draw one shape of a size up to ``most - 1``."""
    kind = KIND_OF_7[rng.integers(0, 7)]
    colour = tuple(int(rng.integers(0, 256)) for _ in range(3))
    if kind == 0:
        x = sorted(int(rng.integers(0, size - 1)) for _ in range(2))
        y = sorted(int(rng.integers(0, size - 1)) for _ in range(2))
        draw.line((x[0], y[0], x[1], y[1]), fill=colour, width=int(rng.integers(1, most)))
    elif kind == 1:
        x, y = (int(rng.integers(0, size)) for _ in range(2))
        r = int(rng.integers(1, most))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif kind == 2:
        x, y = (int(rng.integers(0, size)) for _ in range(2))
        a, b = (int(rng.integers(1, most)) for _ in range(2))
        turn = np.deg2rad(rng.integers(0, 180))
        c, s = np.cos(turn), np.sin(turn)
        corners = np.stack([x + a * COS * c - b * SIN * s, y + a * COS * s + b * SIN * c], axis=-1)
        draw.polygon(np.floor(corners + 0.5).ravel().tolist(), fill=colour)
    else:
        x, y = (int(rng.integers(0, size - 1 - most)) for _ in range(2))
        w, h = (int(rng.integers(1, most)) for _ in range(2))
        draw.rectangle((x, y, x + w, y + h), fill=colour)


def plain_salient(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, colour) -> None:
    """Draw the large shape near the middle."""
    kind = rng.integers(0, 3)
    if kind == 2:
        x, y = (int(rng.integers(size // 8, size // 2)) for _ in range(2))
        w, h = (int(rng.integers(3 * size // 8, 3 * size // 4)) for _ in range(2))
        draw.rectangle((x, y, x + w, y + h), fill=colour)
        return
    x, y = (int(rng.integers(size // 2 - size // 10, size // 2 + size // 10)) for _ in range(2))
    a, b = (int(rng.integers(size // 4, 3 * size // 8)) for _ in range(2))
    b = b if kind else a
    draw.ellipse((x - a, y - b, x + a, y + b), fill=colour)


def plain_image(
    variant: str, rng: np.random.Generator, size: int, shapes: int = 100, covered: bool = False
) -> np.ndarray:
    """Return one image of the public algorithm, uint8 ``[H, H, 3]``.

    ``covered`` returns which pixels any shape covers instead, ``[H, H]``.
    """
    if variant == "PinkNoise":
        return plain_noise(rng, size)
    patterned = variant == "Primitives-PS"
    grey = int(rng.integers(0, 256))
    image = Image.new("RGB", (size, size), (grey, grey, grey))
    if patterned:
        image = Image.fromarray(plain_noise(rng, size))
    mask = _Mask(size) if covered else None
    draw = mask or ImageDraw.Draw(image)
    for n in range(shapes):
        most = round(size // 5 * (shapes - n) / shapes + 2)
        plain_shape(draw, rng, size, most)
    if variant == "Primitives-S":
        plain_salient(draw, rng, size, tuple(int(rng.integers(0, 256)) for _ in range(3)))
    if patterned:
        hole = Image.new("1", (size, size))
        plain_salient(mask or ImageDraw.Draw(hole), rng, size, 1)
        image.paste(Image.fromarray(plain_noise(rng, size)), mask=hole)
    return np.asarray(mask.image) if mask else np.asarray(image)


class _Mask:
    """A drawing surface on which every colour is 1."""

    def __init__(self, size: int) -> None:
        self.image = Image.new("1", (size, size))
        self._draw = ImageDraw.Draw(self.image)

    def __getattr__(self, name: str):
        method = getattr(self._draw, name)
        return lambda *given, **named: method(*given, **(named | {"fill": 1}))


def plain_images(variant: str, count: int, size: int, seed: int, **more) -> np.ndarray:
    """Return ``count`` images of the public algorithm."""
    rng = np.random.default_rng(seed)
    return np.stack([plain_image(variant, rng, size, **more) for _ in range(count)])


def seconds(run, device: str) -> float:
    """Return the seconds of a run: of the processor on a CPU, so that other work does not count."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    begin = clock()
    run()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - begin


def measure(args: argparse.Namespace, size: int) -> None:
    """Time both ways for every variant and print a table; the ratios are medians over turns."""
    count = args.images or max(16, (1 << 22) // size**2)
    few = max(8, min(count, (1 << 21) // size**2, 256))
    print(
        f"\n{f'{size} x {size} x 3':16}{'plain: img/s':>14}{'ours: img/s':>14}{'ratio':>9}", end=""
    )
    print(f"{'lowest':>9}{'highest':>9}{'covered':>16}{'slope':>16}   (plain, ours)")
    for variant in VARIANTS:
        recipe = Primitives(variant, quirks=ALIKE)

        def ours(recipe=recipe) -> None:
            where = {"resolution": size, "seed": 0, "device": args.device}
            for _ in batches(recipe, count, **where):
                pass

        def plain(variant=variant) -> None:
            plain_images(variant, few, size, 0)

        taken = []
        for turn in range(args.repeats + 1):
            pair = seconds(plain, args.device) / few, seconds(ours, args.device) / count
            if turn:  # the first one warms up
                taken.append(pair)
        ratios = [slow / fast for slow, fast in taken]
        rates = [1 / statistics.median(column) for column in zip(*taken, strict=True)]
        line = f"{variant:16}{rates[0]:14,.0f}{rates[1]:14,.0f}{statistics.median(ratios):8.1f}x"
        line += f"{min(ratios):8.1f}x{max(ratios):8.1f}x"
        if variant == "PinkNoise":
            line += f"{'':16}"
        else:
            there = plain_images(variant, few, size, 1, covered=True).mean()
            here = (layers(recipe, few, resolution=size, seed=1) > 0).mean()
            line += f"{there:8.3f}{here:8.3f}"
        there = spectral_slope(plain_images(variant, few, size, 2)).mean()
        here = spectral_slope(synthesize(recipe, few, resolution=size, seed=2)).mean()
        print(line + f"{there:8.2f}{here:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=0, help="drawn a turn; 0: 4 million pixels")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    from classifier_throughput import machine

    print(f"{machine(args.device, args.threads, np, PIL)}; n = {args.repeats} turns; medians")
    for size in args.sizes:
        measure(args, size)


if __name__ == "__main__":
    main()
