from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from synthbook.errors import InputError
from synthbook.measure import features
from synthbook.measure.features import Extractor, extractor


def pictures(n: int, size: int = 8, channels: int = 1, seed: int = 0) -> np.ndarray:
    shape = (n, size, size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_features_do_not_depend_on_the_batch_or_on_the_other_images():
    images, lite = pictures(7), extractor(size=32)
    whole = lite(images)
    assert whole.shape == (7, 1280)
    assert whole.dtype == np.float32
    scale = np.abs(whole).max()
    for size in (1, 3, 7):
        np.testing.assert_allclose(replace(lite, batch_size=size)(images), whole, atol=1e-5 * scale)
    np.testing.assert_allclose(lite(images[4:5])[0], whole[4], atol=1e-5 * scale)
    assert (lite(images) == whole).all()
    # ... and do depend on the image.
    assert np.abs(whole[0] - whole[1]).max() > 1e-2 * scale


def test_grey_images_are_three_equal_channels_and_names_carry_the_size():
    grey = pictures(3)
    lite = extractor(size=48)
    assert lite.name == "efficientnet_lite0@48"
    assert (lite(grey) == lite(np.repeat(grey, 3, axis=3))).all()


def test_the_network_sees_no_value_that_a_pixel_cannot_have(monkeypatch):
    seen = []
    network = lambda x: seen.append(x) or torch.zeros(len(x), 1280)  # noqa: E731
    monkeypatch.setattr(features, "_lite0_network", lambda device: network)
    edge = np.zeros((1, 8, 8, 1), np.uint8)
    edge[:, :, 4:] = 255  # bicubic weights overshoot at an edge
    extractor(size=64)(edge)
    assert seen[0].shape == (1, 3, 64, 64)
    assert seen[0].unique()[[0, -1]].tolist() == pytest.approx([-127 / 128, 1])


@pytest.mark.parametrize("size", [32, 64])
def test_images_are_resized_as_pillow_does_it(size, monkeypatch):
    """Bicubic, and antialiased where pixels are left out."""
    seen = []
    network = lambda x: seen.append(x) or torch.zeros(len(x), 1280)  # noqa: E731
    monkeypatch.setattr(features, "_lite0_network", lambda device: network)
    images = pictures(2, 48, 3) // 2 + 64  # Pillow cuts off what overshoots after the rows, too
    extractor(size=size)(images)
    want = [Image.fromarray(x).resize((size, size), Image.Resampling.BICUBIC) for x in images]
    found = (128 * seen[0] + 127).permute(0, 2, 3, 1).numpy()
    assert np.abs(found - np.stack(want)).max() < 1.5  # it rounds twice


def test_a_model_can_be_the_extractor_and_is_cached_only_with_a_fingerprint(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path))

    class Seen(list):
        def fingerprint(self):
            return "no setting of the function that has caught it"

    seen = Seen()

    def mean(images):
        seen.append(len(images))
        return torch.from_numpy(images.mean(axis=(1, 2)))

    images = pictures(5, channels=3)
    one = Extractor("means", mean, batch_size=2, fingerprint="v1")
    np.testing.assert_allclose(one(images), images.mean(axis=(1, 2)), rtol=1e-6)
    assert list(seen) == [2, 2, 1]
    assert (one.cached(images) == one(images)).all()
    calls = len(seen)
    assert (one.cached(images) == one(images[:5])).all()
    assert len(seen) == calls + 3  # only the direct call computed again
    one.cached(images[::-1])  # other images, other features
    assert len(seen) == calls + 6
    for other, made_anew in (  # in other weights, by another name, of another shape
        (replace(one, batch_size=32, fingerprint="v2"), images),
        (replace(one, batch_size=32, name="other"), images),
        (replace(one, batch_size=32), images.reshape(5, 4, 16, 3)),
    ):
        calls = len(seen)
        other.cached(made_anew)
        assert len(seen) == calls + 1
    with pytest.raises(InputError, match="no fingerprint"):
        Extractor("means", mean).cached(images)


def test_inception_wants_its_own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHBOOK_INCEPTION", str(tmp_path / "none.pth"))
    with pytest.raises(InputError, match="no Inception weights"):
        extractor("inception")
    (tmp_path / "none.pth").write_bytes(b"something else")
    with pytest.raises(InputError, match="is not weights-inception"):
        extractor("inception")


@pytest.mark.slow
def test_inception_runs_torch_fidelitys_network(tmp_path, monkeypatch):
    from torch_fidelity import feature_extractor_inceptionv3 as fidelity_inception

    network = fidelity_inception.FeatureExtractorInceptionV3
    with monkeypatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(fidelity_inception, "load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(network, "load_state_dict", lambda self, state: None)
        fresh = network("inception-v3-compat", ["2048"], verbose=False)
    path = tmp_path / "weights.pth"
    torch.save(fresh.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(features, "INCEPTION_SHA256", digest)
    monkeypatch.setenv("SYNTHBOOK_INCEPTION", str(path))
    images = pictures(2, 32, 3)
    found = extractor("inception")(images)
    expected = fresh(torch.from_numpy(images).permute(0, 3, 1, 2))[0].numpy()
    assert found.shape == (2, 2048)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


MEANS = Extractor("means", lambda x: x.mean((1, 2)))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: extractor("inceptionn"), "did you mean 'inception'"),
        (lambda: extractor(size=8), "size is 8"),
        (lambda: MEANS(pictures(2).astype(np.float32)), "images is float32"),
        (lambda: MEANS(pictures(2)[0]), "shape"),
        (lambda: MEANS(pictures(0)), "at least one image"),
        (lambda: MEANS(pictures(2, channels=2)), "1 or 3 channels"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(InputError, match=said):
        call()
