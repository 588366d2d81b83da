"""What drawn images are like: spectra, phases, and the shapes that can be seen (chapter 51).

Baek and Shim, Generic and Privacy-free Synthetic Data Generation for Pretraining GANs (2022). The
functions that take a chapter's parameters ``p`` unpack them for the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from synthbook import machine
from synthbook.data import check, load
from synthbook.data.named import crops, photographs
from synthbook.errors import InputError
from synthbook.generate.primitives import (
    POLICIES,
    QUIRKS,
    Primitives,
    PrimitivesDataset,
    check_resolution,
    draw_shapes,
    layers,
    pink_noise,
    shapes_at,
    synthesize,
    tops,
)
from synthbook.generate.primitives.shapes import LINE, RECTANGLE
from synthbook.machine import check_memory
from synthbook.measure import spectra
from synthbook.randomness import numpy_generator
from synthbook.studies.needs import check_device
from synthbook.studies.rows import REAL, Rows, measured

Parameters = Any  # a chapter's checked parameters, asked by attribute
PS = "Primitives-PS"
GREY = 24  # bytes of a grey pixel and its Fourier transform
SHAPE_COUNTS = (0, 10, 50, 100, 500)  # whose coverage is measured
SIDES = (16, 32, 64, 256)  # at which it is measured what can be seen


def recipes(p: Parameters, resolution: int) -> dict[str, Primitives]:
    """Return the synthesizers of ``p.variants`` at a resolution, by their names."""
    how = {"shapes": shapes_of(p, resolution), "size_policy": p.size_policy}
    if "exponent_low" in p:
        how["exponents"] = (p.exponent_low, p.exponent_high)
    if "quirks" in p:
        how["quirks"] = tuple(p.quirks)
    return {variant: Primitives(variant, **how) for variant in p.variants}


def shapes_of(p: Parameters, resolution: int) -> int:
    """Return the number of shapes of an image: ``p.shapes``, or by the resolution if below 0."""
    return p.shapes if p.shapes >= 0 else shapes_at(resolution)


def check_quirks(p: Parameters) -> None:
    """Raise InputError for a quirk that changes no image where GANs learn from ``targets.stream``.

    ``worker_streams`` is one of a `PrimitivesDataset` whose worker processes draw.
    """
    if "worker_streams" in p.quirks:
        raise InputError(
            f"quirks = {list(p.quirks)}: worker_streams changes no image here, where no worker "
            "processes draw; leave it out (chapter 51 shows what it does)"
        )


def check_synthesizer(p: Parameters) -> str:
    """Check what the parameters of chapter 51 mean together; return in words what is drawn."""
    check_resolution(p.resolution)
    if p.resolution < 64:
        raise InputError(
            f"resolution = {p.resolution}; give 64 or more, or rings of a spectrum are few"
        )
    if p.exponent_low == p.exponent_high:  # recipes refuse what is above
        raise InputError(
            f"exponent_low = {p.exponent_low:g} and exponent_high = {p.exponent_high:g}; give a "
            "lower one that is below the higher"
        )
    image = p.resolution**2 * (3 * (1 + len(p.variants)) + GREY)
    check_memory(
        p.measured * image,
        f"measured = {p.measured:,} images of {p.resolution} pixels",
        f"give {machine.memory() // image // 2:,.0f} at most, or a smaller resolution",
    )
    check_device(p.device)
    lines = [str(recipe) for recipe in recipes(p, p.resolution).values()]
    if p.data != "photographs":
        lines.append(str(check(p.data, data_root=p.data_root, image_size=p.resolution)))
    return "\n".join(lines)


def measured_images(p: Parameters, seed: int, device: str) -> dict[tuple[str, str], np.ndarray]:
    """Return (kind, data set) -> uint8 images of the resolution: real ones first, then drawn.

    Real are squares of scikit-learn's photographs, or the training images of ``p.data``.
    """
    if p.data == "photographs":
        real = crops(photographs(), p.measured, p.resolution, seed)
    else:
        how = {"data_root": p.data_root, "image_size": p.resolution, "channels": 3}
        train = load(p.data, **how).train.images
        chosen = numpy_generator(seed, "photographs").permutation(len(train))[: p.measured]
        real = {p.data: train[np.sort(chosen)]}
    how = {"resolution": p.resolution, "seed": seed, "device": device}
    return {(REAL, name): images for name, images in real.items()} | {
        (variant, "drawn"): synthesize(recipe, p.measured, **how)
        for variant, recipe in recipes(p, p.resolution).items()
    }


def synthesizer_rows(p: Parameters, seed: int, device: str = "cpu") -> Rows:
    """Yield what chapter 51 measures of one seed: spectra, phases, and shapes that can be seen."""
    drawing = {"resolution": p.resolution, "seed": seed}
    images = measured_images(p, seed, device)
    real = {name: some for (kind, name), some in images.items() if kind == REAL}
    exponents = np.linspace(p.exponent_low, p.exponent_high, p.exponent_steps)
    for row in chain(
        spectrum_rows(images, seed),
        slope_rows(exponents, p.measured // 2, **drawing),
        phase_rows(real, seed),
        layer_rows(shapes_of(p, p.resolution), p.measured, **drawing),
        resolution_rows(p.measured, seed=seed),
    ):
        yield {"seed": seed, "test": "", **row}


def spectrum_rows(images: Mapping[tuple[str, str], np.ndarray], seed: int) -> Rows:
    """Yield slope and kurtosis of each kind of images, the latter with phases shuffled too."""
    for (kind, dataset), some in images.items():
        what = {"method": "spectrum", "train": kind, "dataset": dataset}
        grey = some.mean(-1, keepdims=True)
        values = {
            "spectral_slope": (spectra.log_slope(*spectra.power_spectrum(some)) / 2).mean(),
            "edge_kurtosis": np.median(spectra.edge_kurtosis(grey)),
            "edge_kurtosis_shuffled": np.median(
                spectra.edge_kurtosis(spectra.random_phase(grey, seed))
            ),
        }
        yield from measured(what, values)


def slope_rows(exponents: Sequence[float], count: int, *, resolution: int, seed: int) -> Rows:
    """Yield the slopes of noise of known exponents, before and after it is rounded to bytes."""
    what = {"method": "spectrum", "train": "PinkNoise", "dataset": "drawn"}
    few, errors, drawing = range(count), [], {"resolution": resolution, "seed": seed}
    for a in exponents:
        recipe = Primitives("PinkNoise", exponents=(a, a))
        exact = pink_noise(draw_shapes(recipe, few, **drawing).exponents, few, **drawing)[:, 0]
        here = {"metric": "spectral_slope", "exponent": round(float(a), 3), **what}
        slope = spectra.spectral_slope(exact.permute(0, 2, 3, 1).numpy()).mean()
        yield {"value": slope, "noise": "exact", **here}
        rounded = synthesize(recipe, indices=few, **drawing)
        yield {"value": spectra.spectral_slope(rounded).mean(), "noise": "bytes", **here}
        errors.append(abs(slope + a))
    yield {"metric": "worst_slope_error", "value": max(errors), **what}


def phase_rows(real: Mapping[str, np.ndarray], seed: int) -> Rows:
    """Yield how like phase and amplitude images are whose phase is a photograph's, else noise."""
    first = next(iter(real.values()))
    pink = Primitives("PinkNoise", exponents=(1, 1))
    noise = synthesize(pink, len(first), resolution=first.shape[1], seed=seed)
    for name, images in real.items():
        swapped = spectra.swap_phase(noise, images)
        what = {"method": "phase swap", "train": REAL, "test": "PinkNoise", "dataset": name}
        others = {"like_phase": images, "like_amplitude": noise}
        alike = {
            metric: spectra.correlation(swapped, other).mean() for metric, other in others.items()
        }
        yield from measured(what, alike)


def layer_rows(shapes: int, count: int, *, resolution: int, seed: int) -> Rows:
    """Yield what policies for sizes, and numbers of shapes, leave to be seen."""
    plans = [("policy", policy, shapes) for policy in POLICIES]
    plans += [("count", "Decay", number) for number in SHAPE_COUNTS]
    for study, policy, number in plans:
        recipe = Primitives("Primitives", shapes=number, size_policy=policy)
        top = layers(recipe, count, resolution=resolution, seed=seed)
        what = {"method": "layers", "train": "Primitives", "dataset": "drawn"}
        what |= {"study": study, "size_policy": policy, "n_shapes": number}
        values = {"covered": spectra.coverage(top).mean()}
        if number:
            values["visible"] = spectra.visible(top, number).mean()
        yield from measured(what, values)


def resolution_rows(count: int, *, seed: int) -> Rows:
    """Yield what can be seen of Primitives-PS by resolution, of 100 shapes and of the usual."""
    for side in SIDES:
        for shapes in {100: 0, shapes_at(side): 0}:
            recipe = Primitives(shapes=shapes)
            yield from visibility_rows(recipe, "visibility", count, resolution=side, seed=seed)


def visibility_rows(
    recipe: Primitives, method: str, count: int = 200, *, resolution: int, seed: int
) -> Rows:
    """Yield the shares of ground and shapes that can be seen in images, under a method's name."""
    what = {"method": method, "train": recipe.variant, "test": "", "dataset": "drawn", "seed": seed}
    what |= {"size_policy": recipe.size_policy, "n_shapes": recipe.shapes, "resolution": resolution}
    yield from measured(what, visibility(recipe, count, resolution=resolution, seed=seed))


def visibility(recipe: Primitives, count: int, *, resolution: int, seed: int) -> dict[str, float]:
    """Return which share of the pixels outside the large shape shows the ground, and which share
    of the other shapes, if there are any, shows at all.
    """
    top = layers(recipe, count, resolution=resolution, seed=seed)
    outside = top <= recipe.shapes
    values = {"visible_ground": float((top == 0).sum() / outside.sum())}
    if recipe.variant != "PinkNoise" and recipe.shapes:
        shown = spectra.visible(np.where(outside, top, 0), recipe.shapes)
        values["visible_shapes"] = float(shown.mean())
    return values


def quirk_rows(seed: int) -> Rows:
    """Yield what each peculiarity of the public code changes, off and on."""
    for quirk in QUIRKS:
        for on in (False, True):
            what = {"method": "quirk", "train": quirk, "test": "on" if on else "off"}
            what |= {"dataset": "drawn", "seed": seed}
            yield from measured(what, quirk_numbers(quirk, on=on, seed=seed))


def quirk_numbers(quirk: str, *, on: bool, seed: int) -> dict[str, float]:
    """Return what a quirk changes, as numbers in percent or grey levels, with it on or off."""
    recipe = Primitives("Primitives", quirks=(quirk,) if on else ())
    large, small = ({"resolution": side, "seed": seed} for side in (64, 32))
    if quirk == "grey_background":
        ground = draw_shapes(recipe, range(256), **large).background.astype(float)
        return {"colourfulness_of_the_ground": (ground.max(1) - ground.min(1)).mean()}
    if quirk == "falling_lines":
        drawn = draw_shapes(recipe, range(64), **large)
        ends = drawn.geometry[drawn.kind == LINE]
        falling = ((ends[:, 2] - ends[:, 0]) * (ends[:, 3] - ends[:, 1]) >= 0).mean()
        power = spectra.falling_share(synthesize(recipe, 64, **large)).mean()
        return {"lines_down_to_the_right": 100 * falling, "power_across_them": 100 * power}
    if quirk == "fixed_canvas":
        return {
            "lines_in_the_image": _touching(recipe, LINE, **small),
            "rectangles_in_the_image": _touching(recipe, RECTANGLE, **small),
            "pixels_under_a_shape": 100 * spectra.coverage(layers(recipe, 64, **small)).mean(),
        }
    if quirk == "pixel_frequencies":
        noise = synthesize(replace(recipe, variant="PinkNoise"), 64, **small)
        return {"spread_of_the_noise": noise.std((1, 2)).mean()}
    return {"images_drawn_twice": _drawn_twice(replace(recipe, variant=PS))}


def _touching(recipe: Primitives, kind: int, *, resolution: int, seed: int) -> float:
    """Return the share of the shapes of a kind that reach any pixel of the image, in percent."""
    drawn = draw_shapes(recipe, range(64), resolution=resolution, seed=seed)
    chosen = np.argwhere(drawn.kind == kind)[:1500]
    alone = drawn.part(chosen[:, :1], chosen[:, 1:])  # an image each
    return 100 * (tops(alone, resolution) > 0).flatten(1).any(1).float().mean().item()


def by_two_workers(dataset: PrimitivesDataset, batch_size: int) -> list[Tensor]:
    """Return the batches ``[N, 3, H, H]`` of a data set that two worker processes draw in turn."""
    with warnings.catch_warnings():
        # They are to be two on one core as well, where torch suggests fewer.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        return list(DataLoader(dataset, batch_size=batch_size, num_workers=2))


def _drawn_twice(recipe: Primitives) -> float:
    """Return the share of the images that two workers draw twice in an epoch, in percent."""
    dataset = PrimitivesDataset(recipe, 32, resolution=16, seed=0)
    seen = [one.numpy().tobytes() for batch in by_two_workers(dataset, 4) for one in batch]
    return 100 * (1 - len(set(seen)) / len(seen))


def steps(index: int, *, resolution: int, seed: int) -> dict[str, np.ndarray]:
    """Return how an image of Primitives-PS is made: name of a step -> uint8 ``[H, H, 3]``."""
    where = {"resolution": resolution, "seed": seed}
    shapes = draw_shapes(Primitives(), [index], **where)
    ground, last = (
        synthesize(Primitives(name), indices=[index], **where)[0] for name in ("PinkNoise", PS)
    )

    def after(count: int) -> np.ndarray:
        first = shapes.part(slice(None), slice(count))
        top = tops(first, resolution)[0].numpy()
        palette = np.concatenate([np.zeros((1, 3), np.uint8), first.colour[0]])
        return np.where((top == 0)[..., None], ground, palette[top])

    return {"ground": ground, "10 shapes": after(10), "100 shapes": after(100), "large shape": last}


def swapped(photograph: np.ndarray, *, side: int, seed: int) -> dict[str, np.ndarray]:
    """Return a photograph beside its phase, and its amplitude, with the other half from noise.

    The photograph, uint8 ``[H, H, 1 or 3]`` with H a power of two of ``side`` or more, is reduced
    to ``side``; all are uint8 ``[1, side, side, 3]``, the mixed ones of mean 128 and spread 50.
    """
    factor = len(photograph) // side
    parts = photograph.reshape(side, factor, side, factor, -1).mean((1, 3)).astype(np.uint8)
    small = np.broadcast_to(parts, (1, side, side, 3))
    pink = Primitives("PinkNoise", exponents=(1, 1))
    noise = synthesize(pink, 1, resolution=side, seed=seed)

    def as_bytes(images: np.ndarray) -> np.ndarray:
        flat = (images - images.mean()) / images.std()
        return np.clip(np.rint(128 + 50 * flat), 0, 255).astype(np.uint8)

    return {
        "photograph": small,
        "its phase": as_bytes(spectra.swap_phase(noise, small)),
        "its amplitude": as_bytes(spectra.swap_phase(small, noise)),
    }
