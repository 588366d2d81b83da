"""Encoders by name, what they see, and features that are computed once and never stale."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from synthbook.data import ImageSet, few_shot
from synthbook.data.deferred import deferred
from synthbook.errors import InputError
from synthbook.recognize import clip, language_image
from synthbook.recognize.clip import Encoder, NamedCache, encoded, encoder, text_tower
from synthbook.recognize.language_image import ClipConfig

SMALL = ClipConfig(embed_dim=16, width=2, image_size=32, text_width=16, text_layers=1, text_heads=2,
                   context_length=12, merges=300)  # fmt: skip
TINY = {  # of open_clip alone, with a transformer as its image tower
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 10, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}


def pictures(count: int = 12, seed: int = 0, shape: tuple[int, ...] = (8, 8, 3)) -> ImageSet:
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 256, (count, *shape), dtype=np.uint8)
    return ImageSet(pixels, np.arange(count) % 3, ("red", "green", "blue"), "pictures")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the book's kind, in open_clip's format."""
    place = tmp_path_factory.mktemp("clip")
    language_image.save(language_image.create(SMALL, seed=0).eval(), SMALL, place)
    return place


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def theirs(place: Path, **preprocess: object) -> Path:
    """Write a model of open_clip's own to a folder."""
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    place.mkdir(exist_ok=True)
    torch.manual_seed(0)
    save_file(CLIP(**TINY).state_dict(), place / "open_clip_model.safetensors")
    told = {"model_cfg": TINY, "preprocess_cfg": preprocess}
    (place / "open_clip_config.json").write_text(json.dumps(told))
    return place


def test_the_books_model_by_name_and_by_folder_is_the_same(folder):
    asked = []
    own = encoder("web-clip", own=lambda name: (asked.append(name), folder)[1])
    there = encoder(f"local-dir:{folder}")
    model, config = language_image.load(folder)
    assert asked == ["web-clip"]
    assert own.weights == there.weights
    images, texts = pictures(5).images, ["a red thing", "blue"]
    for look in (own, there):
        seen = language_image.image_features(model, config, images)
        assert np.allclose(look.images(images), seen, atol=1e-5)
        read = language_image.text_features(model, config, texts)
        assert np.allclose(look.texts(texts), read, atol=1e-5)
        assert look.scale == pytest.approx(float(model.logit_scale.exp()))
    assert np.allclose(np.linalg.norm(own.images(images), axis=1), 1)


def test_padding_is_left_out_of_plain_text_towers_alone(folder, tmp_path):
    texts = ["red", "a red and very green thing", "", "one blue"]
    for look in (encoder(f"local-dir:{folder}"), encoder(f"local-dir:{theirs(tmp_path)}")):
        tokens = look.tokens(texts)
        with torch.inference_mode():
            whole = look.model.encode_text(tokens)
            torch.testing.assert_close(text_tower(look.model)(tokens), whole)
            assert text_tower(look.model) != look.model.encode_text
            look.model.text_pool_type = "last"
            assert text_tower(look.model) == look.model.encode_text
            look.model.text_pool_type = "argmax"
        assert np.allclose(look.texts(texts), whole / whole.norm(dim=1, keepdim=True), atol=1e-6)


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
def test_images_are_seen_as_the_model_says_also_if_not_square(tmp_path, mode):
    """Mean, deviation, size, interpolation and shape are of its preprocess_cfg."""
    import open_clip

    told = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear"}
    place = theirs(tmp_path, **told, resize_mode=mode)
    look = encoder(f"local-dir:{place}")
    model, _, view = open_clip.create_model_and_transforms(f"local-dir:{place}")
    images = pictures(4, shape=(20, 12, 3)).images
    expected = torch.stack([view(Image.fromarray(image)) for image in images])
    torch.testing.assert_close(look.view(images), expected)
    with torch.inference_mode():
        features = model.eval().encode_image(expected, normalize=True)
    assert np.allclose(look.images(images), features, atol=1e-6)
    grey = images[..., :1]
    assert np.array_equal(look.images(grey), look.images(np.repeat(grey, 3, axis=3)))


def test_a_pretrained_tag_has_its_own_preprocessing_and_activation(tmp_path, monkeypatch):
    """A made-up tag of a made-up network: the path of 'RN50:openai', without internet."""
    import open_clip
    from open_clip import factory, pretrained

    place = theirs(tmp_path / "weights")
    (tmp_path / "tiny-net.json").write_text(json.dumps(TINY))
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", [*factory._MODEL_CONFIG_PATHS])
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", {**factory._MODEL_CONFIGS})
    open_clip.add_model_config(tmp_path / "tiny-net.json")
    told = {"file": str(place / "open_clip_model.safetensors"), "mean": (0.2, 0.2, 0.2),
            "std": (0.3, 0.3, 0.3), "interpolation": "bicubic", "resize_mode": "squash",
            "quick_gelu": True}  # fmt: skip
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-net", {"mine": told})
    look = encoder("tiny-net:mine")
    assert look.preprocessing["mean"] == (0.2, 0.2, 0.2)
    assert look.preprocessing["resize_mode"] == "squash"
    assert any("QuickGELU" in type(module).__name__ for module in look.model.modules())
    known = open_clip.create_model(f"local-dir:{place}").state_dict()
    assert all(torch.equal(value, known[name]) for name, value in look.model.state_dict().items())
    assert encoder("tiny/net:mine").weights == look.weights
    with pytest.raises(InputError, match="has 12 tokens and 'tiny-net:mine' reads 10; shorten"):
        look.texts(["a " * 10])
    with pytest.raises(InputError, match=r"no weights 'min'.*did you mean 'mine'.*tiny-net:mine"):
        encoder("tiny-net:min")
    with pytest.raises(InputError, match=r"weights of 'tiny-net' by a tag.*one of tiny-net:mine"):
        encoder("tiny-net")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("RN51:openai", "no network 'RN51'; did you mean 'RN5"),
        ("web-clap", "no network 'web-clap'; did you mean 'web-clip'"),
        ("", "open_clip has no network ''; give 'web-clip', 'web-clip-narrow', 'NETWORK:TAG'"),
        ("RN50:opanai", "no weights 'opanai' of 'RN50'; did you mean 'openai'"),
        ("web-clip", "nobody said where it lies; give own="),
        ("local-dir:/nowhere", "has no open_clip_config.json"),
    ],
)
def test_names_that_nobody_has(name, says):
    with pytest.raises(InputError, match=says):
        encoder(name)


def test_weights_that_are_not_here_are_told(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    with pytest.raises(InputError, match=r"'RN50:openai' cannot be loaded .*fetch them once"):
        encoder("RN50:openai")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda p: (p / "open_clip_config.json").write_text("{"), "cannot be read"),
        (lambda p: (p / "open_clip_model.safetensors").unlink(), "could not be loaded"),
        (lambda p: (p / "open_clip_model.safetensors").write_bytes(b"no"), "cannot be loaded"),
        (lambda p: _distrust(p / "open_clip_config.json"), "no code of a model is run"),
    ],
)
def test_a_damaged_folder_is_told(folder, tmp_path, damage, says):
    place = Path(shutil.copytree(folder, tmp_path / "copy"))
    damage(place)
    with pytest.raises(InputError, match=says):
        encoder(f"local-dir:{place}")


def _distrust(path: Path) -> None:
    told = json.loads(path.read_text())
    told["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"trust_remote_code": True}
    path.write_text(json.dumps(told))


def test_a_pickle_is_not_run(tmp_path):
    """A file of weights that is a program: refused, and not executed."""
    place = theirs(tmp_path / "model")
    (place / "open_clip_model.safetensors").unlink()

    class Program:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    torch.save(Program(), place / "open_clip_model.bin")
    with pytest.raises(InputError, match="cannot be loaded"):
        encoder(f"local-dir:{place}")
    assert not (tmp_path / "executed").exists()


def test_features_are_computed_once_for_the_same_pixels_weights_and_preprocessing(
    folder, tmp_path, cache, monkeypatch
):
    calls = []
    whole = Encoder.images
    monkeypatch.setattr(clip, "CHUNK", 5)
    monkeypatch.setattr(
        Encoder, "images", lambda self, pixels: (calls.append(len(pixels)), whole(self, pixels))[1]
    )
    look, images = encoder(f"local-dir:{folder}"), pictures(12)
    first = encoded(look, images)
    assert calls == [5, 5, 2]
    assert np.allclose(first.features, whole(look, images.images), atol=1e-6)
    assert np.array_equal(first.labels, images.labels)
    again = ImageSet(images.images, images.labels[::-1], images.classes, "of another name")
    for same in (images, again, deferred(images)):
        assert np.array_equal(encoded(look, same).features, first.features)
    assert calls == [5, 5, 2]
    changed = images.images.copy()
    changed[7] += 1
    encoded(look, ImageSet(changed, images.labels, images.classes, images.name))
    assert calls == [5, 5, 2, 5]  # one chunk is another
    other = language_image.create(SMALL, seed=1).eval()
    language_image.save(other, SMALL, tmp_path)
    encoded(encoder(f"local-dir:{tmp_path}"), images)
    assert calls == [5, 5, 2, 5, 5, 5, 2]
    path = tmp_path / "open_clip_config.json"
    path.write_text(path.read_text().replace('"squash"', '"shortest"'))
    encoded(encoder(f"local-dir:{tmp_path}"), images)
    assert calls == [5, 5, 2, 5, 5, 5, 2, 5, 5, 2]
    with pytest.raises(InputError, match="has no images"):
        encoded(look, images.subset([]))
    with pytest.raises(InputError, match=r"give uint8 \[N, H, W, C\]"):
        look.images(images.images.astype(np.float32))


def test_shots_are_the_same_of_images_and_of_features(folder, cache):
    look, images = encoder(f"local-dir:{folder}"), pictures(12)
    few = few_shot(images, 2, seed=3)
    drawn = few_shot(encoded(look, images), 2, seed=3)
    assert np.array_equal(drawn.features, encoded(look, images).features[
        [int(np.flatnonzero((images.images == one).all((1, 2, 3)))[0]) for one in few.images]
    ])  # fmt: skip
    assert np.array_equal(drawn.labels, few.labels)
    with pytest.raises(InputError, match="has 4 images, which shots=5 cannot be drawn from"):
        few_shot(encoded(look, images), 5, seed=0)
    with pytest.raises(InputError, match="ask for 1 to 4 shots"):
        few_shot(encoded(look, images), 0, seed=0)


def test_a_cache_by_name_is_stale_which_is_the_fault_to_show(folder, cache):
    look, one, two = encoder(f"local-dir:{folder}"), pictures(6), pictures(9, seed=1)
    stale = NamedCache(look)
    assert np.array_equal(stale(one, "synthetic").features, encoded(look, one).features)
    assert len(stale(two, "synthetic")) == 6
    assert np.array_equal(stale(two, "real").features, encoded(look, two).features)
