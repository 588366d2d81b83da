"""Our images against those of the plain algorithm of the benchmark: the same statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from synthbook.generate.primitives import VARIANTS, Primitives, layers, synthesize
from synthbook.measure.spectra import coverage, falling_share, spectral_slope

torch.set_num_threads(1)
ALIKE = ("grey_background", "falling_lines")
COUNT = {32: 250, 128: 50}


@pytest.fixture(scope="module")
def plain(load_script):
    return load_script("benchmarks/synthesizer.py")


@pytest.fixture(scope="module")
def pairs(plain):
    """Return (variant, resolution) -> images of the plain algorithm, and ours."""
    found = {}
    for size, count in COUNT.items():
        for variant in VARIANTS:
            ours = Primitives(variant, quirks=ALIKE)
            found[variant, size] = (
                plain.plain_images(variant, count, size, 0),
                synthesize(ours, count, resolution=size, seed=0),
            )
    return found


def alike(first: np.ndarray, second: np.ndarray, points: float) -> None:
    """Require equal means within four standard errors and ``points``."""
    error = np.sqrt(first.var() / len(first) + second.var() / len(second))
    assert abs(first.mean() - second.mean()) < 4 * error + points


@pytest.mark.parametrize("size", COUNT)
@pytest.mark.parametrize("variant", VARIANTS)
def test_spectra_agree(pairs, variant, size):
    theirs, ours = pairs[variant, size]
    alike(spectral_slope(theirs), spectral_slope(ours), 0.03)
    alike(falling_share(theirs), falling_share(ours), 0.01)


@pytest.mark.parametrize("size", COUNT)
@pytest.mark.parametrize("variant", VARIANTS)
def test_colours_agree(pairs, variant, size):
    theirs, ours = (images.reshape(len(images), -1, 3) for images in pairs[variant, size])
    alike(theirs.mean(1).ravel(), ours.mean(1).ravel(), 0)
    alike(theirs.std(1).ravel(), ours.std(1).ravel(), 1)
    middle = [images[:, images.shape[1] // 3].ravel() for images in (theirs, ours)]
    assert stats.ks_2samp(*middle).pvalue > 1e-4


@pytest.mark.parametrize("size", COUNT)
@pytest.mark.parametrize("variant", VARIANTS[1:])
def test_coverage_agrees(plain, variant, size):
    count = COUNT[size]
    theirs = plain.plain_images(variant, count, size, 1, covered=True).mean((1, 2))
    ours = coverage(layers(Primitives(variant, quirks=ALIKE), count, resolution=size, seed=1))
    alike(theirs, ours, 0.01)


def test_sizes_of_flat_areas_agree(pairs):
    """Lengths of runs of one colour along a row, which sizes and numbers of shapes decide."""

    def runs(images: np.ndarray) -> np.ndarray:
        rows = images[:, images.shape[1] // 2].astype(int) @ np.array([1, 256, 65536])
        edges = (np.diff(rows, axis=1) != 0).sum(1)
        return images.shape[2] / (edges + 1)

    for size in COUNT:
        theirs, ours = pairs["Primitives", size]
        alike(runs(theirs), runs(ours), 0.1)
