"""Spectra, phases and layers against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from synthbook.errors import InputError
from synthbook.measure.spectra import (
    PART,
    amplitude,
    correlation,
    coverage,
    edge_kurtosis,
    falling_share,
    log_slope,
    power_spectrum,
    radial,
    random_phase,
    spectral_slope,
    swap_phase,
    visible,
)


def law(slope: float, size: int = 128, count: int = 4, seed: int = 0) -> np.ndarray:
    """Return noise whose amplitude is exactly f^slope, with random phases."""
    axis = np.fft.fftfreq(size)
    radius = np.hypot(axis[:, None], axis[None, :])
    radius[0, 0] = 1
    spectrum = np.fft.fft2(np.random.default_rng(seed).standard_normal((count, size, size)))
    return np.fft.ifft2(spectrum / np.abs(spectrum) * radius**slope).real[..., None]


def test_amplitude_of_a_wave():
    x = np.arange(32)
    wave = np.broadcast_to(3 * np.cos(2 * np.pi * 8 * x / 32), (1, 32, 32))
    found = amplitude(wave)[0]
    assert found.argmax() == 8
    # The mean of the window is about 1/4: its two axes fade by half each.
    assert found[0, 8] == pytest.approx(3 * 32 * 32 / 2 / 4, rel=0.1)
    assert found[3:-2].max() < 0.01 * found[0, 8]


def test_the_window_takes_the_mean_away_and_quiets_borders():
    ramp = np.broadcast_to(np.arange(64.0), (1, 64, 64))
    assert amplitude(ramp + 1000)[0, 0, 0] == pytest.approx(0, abs=1e-6)
    sharp, soft = (radial(x**2)[1][0] for x in (np.abs(np.fft.fft2(ramp)), amplitude(ramp)))
    assert soft[-1] < 1e-4 * sharp[-1]


def test_rings_hold_the_mean_of_their_frequencies():
    axis = np.fft.fftfreq(64)
    radius = np.hypot(axis[:, None], axis[None, :])
    frequency, values = radial(np.stack([radius, np.ones((64, 64))]))
    assert len(frequency) == 31
    np.testing.assert_allclose(values[0], frequency)
    np.testing.assert_allclose(values[1], 1)
    assert np.abs(frequency * 64 - np.arange(1, 32)).max() < 0.3


@pytest.mark.parametrize("slope", [-0.5, -1.0, -2.0, -3.0])
def test_slopes_of_exact_laws(slope):
    spectra = np.abs(np.fft.fft2(law(slope)[..., 0]))
    assert abs(log_slope(*radial(spectra**2)).mean() / 2 - slope) < 0.03
    assert abs(spectral_slope(law(slope)).mean() - slope) < 0.15


def test_log_slope_is_least_squares_with_octaves_alike():
    frequency = np.linspace(1 / 64, 1 / 2, 32)
    assert log_slope(frequency, 7 * frequency[None] ** -1.3)[0] == pytest.approx(-1.3)
    values = np.exp(np.random.default_rng(0).standard_normal((1, 32)))
    used = (frequency >= 1 / 32) & (frequency <= 1 / 4)
    x, y = np.log(frequency[used]), np.log(values[0, used])
    expected = np.polyfit(x, y, 1, w=frequency[used] ** -0.5)[0]  # polyfit squares its weights
    assert log_slope(frequency, values)[0] == pytest.approx(expected)


def test_large_sets_are_measured_in_parts():
    images = np.random.default_rng(0).integers(0, 256, (PART + 3, 16, 16, 3), dtype=np.uint8)
    for measure in (edge_kurtosis, falling_share, lambda x: power_spectrum(x)[1]):
        whole = measure(images)
        assert len(whole) == PART + 3
        np.testing.assert_allclose(whole[-2:], measure(images[-2:]))


def test_swapped_phases():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 3, 16, 16, 3))
    swapped = swap_phase(first, second)
    spectra = [np.fft.fft2(one, axes=(1, 2)) for one in (first, second, swapped)]
    np.testing.assert_allclose(np.abs(spectra[2]), np.abs(spectra[0]), atol=1e-9)
    np.testing.assert_allclose(
        spectra[2] / np.abs(spectra[2]), spectra[1] / np.abs(spectra[1]), atol=1e-6
    )
    np.testing.assert_allclose(swap_phase(first, first), first, atol=1e-12)


def test_the_swapped_image_resembles_the_one_that_gave_the_phase():
    edges = np.zeros((1, 64, 64, 1))
    edges[:, 20:44, 12:50] = 1
    noise = law(-1, 64, 1)
    swapped = swap_phase(noise, edges)
    assert correlation(swapped, edges)[0] > correlation(swapped, noise)[0] + 0.3


def test_shuffled_phases_keep_amplitude_mean_and_colours():
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    images[..., 1] = images[..., 0]
    shuffled = random_phase(images, 0)
    before, after = (np.abs(np.fft.fft2(one, axes=(1, 2))) for one in (images, shuffled))
    np.testing.assert_allclose(after, before, atol=1e-6)
    np.testing.assert_allclose(shuffled.mean((1, 2)), images.mean((1, 2)))
    np.testing.assert_allclose(shuffled[..., 0], shuffled[..., 1])
    assert np.abs(shuffled - images).mean() > 10
    np.testing.assert_array_equal(shuffled, random_phase(images, 0))
    assert np.abs(shuffled - random_phase(images, 1)).mean() > 10


def test_kurtosis_of_noise_is_3_and_of_edges_large():
    assert np.abs(edge_kurtosis(law(-1.5, 128)) - 3).max() < 0.2
    edges = np.zeros((1, 128, 128, 3), np.uint8)
    edges[:, 40:90, 40:90] = 200
    assert edge_kurtosis(edges)[0] > 50
    assert edge_kurtosis(random_phase(edges, 0))[0] < 10


def test_kurtosis_is_scipys_of_both_directions():
    draws = np.random.default_rng(0).standard_normal((2, 3, 24, 24)) ** 3
    images = (draws[0].cumsum(1) + 0.1 * draws[1].cumsum(2))[..., None]  # they differ
    both = [
        [scipy.stats.kurtosis(np.diff(x[..., 0], axis=k).ravel(), fisher=False) for k in (0, 1)]
        for x in images
    ]
    assert np.abs(np.diff(both)).min() > 1
    np.testing.assert_allclose(edge_kurtosis(images), np.mean(both, axis=1))


def test_falling_edges_have_their_power_across_them():
    y, x = np.mgrid[:64, :64]
    stripes = np.stack([np.cos(0.9 * (x - y)), np.cos(0.9 * (x + y))])[..., None]
    shares = falling_share(stripes)
    assert shares[0] > 0.99  # run down to the right
    assert shares[1] < 0.01
    assert abs(falling_share(law(-1, 64, 32)).mean() - 0.5) < 0.02


def test_correlation_is_that_of_numpy():
    first, second = np.random.default_rng(0).random((2, 3, 8, 8, 3))
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(correlation(first, second), expected)
    assert correlation(np.ones((1, 8, 8, 1)), first[:1, ..., :1])[0] == 0


def test_coverage_and_visible_shapes():
    layers = np.array([[[0, 0], [2, 2]], [[1, 3], [3, 3]]])
    assert coverage(layers).tolist() == [0.5, 1.0]
    assert visible(layers, 3).tolist() == [[False, True, False], [True, False, True]]


@pytest.mark.parametrize("shape", [(2, 16, 16), (2, 16, 8, 3), (0, 16, 16, 3), (1, 4, 4, 3)])
def test_bad_images_are_refused(shape):
    with pytest.raises(InputError, match="give"):
        spectral_slope(np.zeros(shape))


def test_too_few_frequencies_are_refused():
    with pytest.raises(InputError, match="give larger images"):
        spectral_slope(np.ones((1, 8, 8, 1)))
