"""Pink noise: its weights, the law of its spectrum, its distribution."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch

from synthbook.generate.primitives import Primitives, draw_shapes, pink_noise, pink_weights
from synthbook.generate.primitives.noise import (
    _on_gpu,
    axis_frequencies,
    packed_noise,
    stretch,
)
from synthbook.randomness import torch_generator

torch.set_num_threads(1)


def noise(a: float, b: float, images: int, resolution: int, seed: int = 0) -> np.ndarray:
    exponents = np.broadcast_to([a, b], (images, 1, 3, 2))
    where = {"seed": seed, "resolution": resolution}
    return pink_noise(exponents, range(images), **where)[:, 0].numpy()


def test_frequencies_are_those_of_the_public_code_at_256_pixels():
    expected = np.abs(np.fft.fftfreq(256, d=0.2))
    expected[0] = expected[1] / 10
    np.testing.assert_allclose(axis_frequencies(256), expected, rtol=1e-12)
    np.testing.assert_allclose(
        axis_frequencies(32), expected[:17].tolist() + expected[15:0:-1].tolist()
    )
    small = np.abs(np.fft.fftfreq(32, d=0.2))
    np.testing.assert_allclose(axis_frequencies(32, per_pixel=True)[1:], small[1:], rtol=1e-12)


def test_weights_by_hand():
    f = axis_frequencies(16)
    weights = pink_weights(np.array([[1.5, 0.7], [2.0, 2.0]]), 16)
    assert weights.shape == (2, 16, 9)
    assert weights[0, 3, 5] == pytest.approx(1 / (f[5] ** 1.5 + f[3] ** 0.7 + 2e-6))
    assert weights[1, 14, 8] == pytest.approx(1 / (f[8] ** 2 + f[14] ** 2 + 2e-6))


@pytest.mark.parametrize("resolution", [16, 32])
def test_the_spectrum_is_white_noise_times_the_weights(resolution):
    """Every coefficient: mean power w^2 H^2, also where the spectrum is its own mirror image."""
    made = noise(1.2, 0.8, 400, resolution).reshape(-1, resolution, resolution)
    power = (np.abs(np.fft.rfft2(made)) ** 2).mean(0) / resolution**2
    ratio = power / pink_weights(np.array([1.2, 0.8]), resolution) ** 2
    assert abs(ratio.mean() - 1) < 0.01
    own = ratio[[0, 0, resolution // 2, resolution // 2], [0, -1, 0, -1]]  # real coefficients
    assert np.abs(own - 1).max() < 0.25
    assert np.abs(ratio - 1).max() < 0.3
    for column in (0, 1, -1):
        assert abs(ratio[:, column].mean() - 1) < 0.05


def test_white_noise_is_normal_and_independent():
    exponents = np.zeros((60, 2, 3, 2))  # all weights are 1/2
    drawn = 2 * pink_noise(exponents, range(60), seed=0, resolution=32).numpy()
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 1) < 0.01
    assert abs((drawn**4).mean() - 3) < 0.1
    fields = drawn.reshape(60 * 6, -1)
    assert np.abs(np.corrcoef(fields) - np.eye(360)).max() < 0.2
    neighbours = (drawn[..., 1:] * drawn[..., :-1]).mean(), (drawn[..., 1:, :] * drawn[..., :-1, :])
    assert abs(neighbours[0]) < 0.01
    assert abs(neighbours[1].mean()) < 0.01


def test_exponents_are_uniform_and_tied_if_asked():
    where = {"resolution": 8, "seed": 0}
    free = draw_shapes(Primitives(), range(500), **where).exponents
    assert free.shape == (500, 2, 3, 2)
    assert free.min() >= 0.5
    assert free.max() <= 3.5
    assert abs(free.mean() - 2) < 0.05
    assert abs(free.std() - 3 / 12**0.5) < 0.03
    assert np.abs(np.corrcoef(free.reshape(500, -1).T) - np.eye(12)).max() < 0.2
    tied = draw_shapes(Primitives(tied_exponents=True), range(500), **where).exponents
    assert (tied == tied[:, :, :1, :1]).all()
    assert (tied[:, 0, 0, 0] == free[:, 0, 0, 0]).all()
    assert (tied[:, 0] != tied[:, 1]).any()


def test_all_channels_are_stretched_by_the_same_ends():
    fields = torch.randn(3, 2, 3, 8, 8) * torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    copy = fields.clone()
    stretched = stretch(fields).flatten(2)
    torch.testing.assert_close(stretched.amin(-1), torch.zeros(3, 2))
    torch.testing.assert_close(stretched.amax(-1), torch.full((3, 2), 255.0))
    span = (copy.flatten(2).amax(-1) - copy.flatten(2).amin(-1))[..., None] / 255
    torch.testing.assert_close(stretched.diff(dim=-1) * span, copy.flatten(2).diff(dim=-1))


@pytest.mark.parametrize("resolution", [8, 16, 32, 64])
def test_noise_of_an_image_has_the_same_bytes_among_any_others(resolution):
    exponents = np.random.default_rng(0).uniform(0.5, 3.5, (150, 2, 3, 2))
    where = {"seed": 5, "resolution": resolution}
    together = pink_noise(exponents, range(150), **where)
    for index in (0, 1, 77, 149):
        alone = pink_noise(exponents[index, None], [index], **where)
        assert (alone[0] == together[index]).all()
    one = pink_noise(exponents[:, :1], range(150), **where)
    assert (one[:, 0] == together[:, 0]).all()


def test_packed_noise_is_stretched_noise_cut_to_bytes():
    exponents = np.random.default_rng(0).uniform(0.5, 3.5, (9, 2, 3, 2))
    where = {"seed": 5, "resolution": 16, "device": "cpu"}
    expected = stretch(pink_noise(exponents, range(9), **where)).numpy().astype(np.uint8)
    packed = packed_noise(exponents, range(9), **where).numpy()
    for channel in range(3):
        assert (packed >> 8 * channel & 255 == expected[:, :, channel]).all()


def test_what_a_gpu_runs_makes_other_noise_in_every_image_and_field():
    exponents = np.broadcast_to([1.2, 0.8], (30, 2, 3, 2))
    where = {"seed": 0, "resolution": 16, "per_pixel": False, "device": "cpu"}
    made = _on_gpu(exponents, range(30), **where)
    alone = _on_gpu(exponents[7:8, :1], [7], **where)
    torch.testing.assert_close(alone[0], made[14], rtol=1e-5, atol=1e-5)
    among = np.corrcoef(made.flatten(0, 1).flatten(1))[np.triu_indices(180, 1)]
    assert abs(among.mean()) < 0.02
    assert among.max() < 0.95


@pytest.mark.parametrize("resolution", [8, 32])
def test_what_a_gpu_runs_is_the_inverse_transform_of_its_weighted_normal_numbers(resolution):
    """From the same normal numbers by SciPy, in double precision and one step."""
    exponents = np.random.default_rng(0).uniform(0.5, 2, (4, 2, 3, 2))
    where = {"seed": 3, "resolution": resolution, "per_pixel": False, "device": "cpu"}
    made = _on_gpu(exponents, range(4), **where)
    own = np.ones(resolution // 2 + 1)
    own[[0, -1]] = 2**0.5  # where the spectrum is its own mirror image
    for index in range(4):
        draw = torch_generator(3, "pink noise", index)
        for field in range(2):
            white = torch.empty(3, resolution, resolution + 2).normal_(generator=draw).double()
            spectrum = white.numpy().view(np.complex128) * own * resolution / 2**0.5
            spectrum *= pink_weights(exponents[index, field], resolution)
            expected = scipy.fft.irfft2(spectrum)
            ours = made[2 * index + field].numpy()
            np.testing.assert_allclose(
                ours, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
            )
