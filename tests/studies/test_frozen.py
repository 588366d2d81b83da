"""Frozen networks: found by name, refused in words, and features that are the network's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.measure import features
from synthbook.recognize.contrastive import ContrastiveRecipe, encoder
from synthbook.studies import frozen
from synthbook.studies.frozen import check_frozen, networks


def images(count: int = 5, size: int = 32, channels: int = 3) -> np.ndarray:
    shape = (count, size, size, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Train the network of the book for two steps, and keep it where models are looked for."""
    monkeypatch.setenv("SYNTHBOOK_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(frozen, "places", lambda: (tmp_path / "none", tmp_path / "models"))
    some = ImageSet(images(16), np.zeros(16, int), ("any",), "noise")
    recipe = ContrastiveRecipe(epochs=1, batch_size=8, warmup_steps=1)
    return frozen.make(some, recipe, place=tmp_path / "models", probed=False)


def test_names_stand_for_the_networks_at_hand_or_are_given_one() -> None:
    assert networks([]) == {}
    assert networks(["supervised"]) == {"supervised": "lite0"}
    assert networks(["supervised", "other=lite0"]) == {"supervised": "lite0", "other": "lite0"}


@pytest.mark.parametrize(
    ("priors", "says"),
    [
        (["supervized"], "did you mean 'supervised'"),
        (["lite0"], "NAME=NETWORK"),
        (["supervised", "supervised=lite0"], "given twice"),
        (["none=lite0"], "a name of its own"),
        (["A b=lite0"], "a name of its own"),
        (["x=vgg16"], "timm:NETWORK"),
        (["x=timm:vgg61"], "vgg"),
        (["x=timm:resnet50.tv_in1k"], "not on this computer"),
        (["x=timm:resnet18=nowhere.safetensors"], "no file nowhere.safetensors"),
    ],
)
def test_what_is_no_network_is_refused(
    priors: list[str], says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    with pytest.raises(InputError, match=says):
        networks(priors)


def test_lite0_is_the_extractor_of_that_name() -> None:
    ours = frozen.frozen("lite0", size=32)(images(2))
    assert np.array_equal(ours, features.extractor("efficientnet_lite0", size=32)(images(2)))


def test_weights_in_a_file_are_those_of_the_network(tmp_path) -> None:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=7).eval()
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    found = frozen.frozen(f"timm:test_resnet={tmp_path / 'weights.safetensors'}", size=32)
    told = network.pretrained_cfg
    mean, std = (torch.tensor(told[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    x = torch.from_numpy(images(3)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        expected = network.forward_head(network.forward_features((x - mean) / std), pre_logits=True)
    assert found(images(3)) == pytest.approx(expected.numpy(), abs=1e-4)
    assert found.fingerprint


def test_a_file_of_another_network_is_told(tmp_path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    extractor = frozen.frozen(f"timm:test_resnet={tmp_path / 'other.safetensors'}")
    with pytest.raises(InputError, match="no weights of timm's test_resnet"):
        extractor(images(1))


def test_the_network_of_the_book_is_read_as_it_was_kept(made) -> None:
    found = frozen.frozen("web")(images(3))
    card = json.loads((made / "card.json").read_text())
    assert card["data"]["images"] == 16
    network = encoder(seed=frozen.SEED).eval()
    untrained = network(torch.from_numpy(images(3)).permute(0, 3, 1, 2) / 255).detach().numpy()
    assert found.shape == untrained.shape
    assert np.isfinite(found).all()
    assert not np.allclose(found, untrained, atol=1e-3)  # two steps moved it
    bigger = images(3).repeat(2, 1).repeat(2, 2)
    assert np.abs(frozen.frozen("web")(bigger) - found).max() < np.abs(found).max()


def test_grey_images_are_seen_in_three_equal_channels(made) -> None:
    grey = images(2, channels=1)
    extractor = frozen.frozen("web")
    assert np.array_equal(extractor(grey), extractor(grey.repeat(3, 3)))


def test_a_network_that_was_altered_is_refused(made) -> None:
    with (made / frozen.WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x77")
    with pytest.raises(InputError, match="cut off or altered"):
        check_frozen("web")


def test_a_card_that_was_altered_is_refused(made) -> None:
    card = made / "card.json"
    card.write_text(card.read_text().replace('"images": 16', '"images": 17'))
    with pytest.raises(InputError, match=r"card.json is not as it was written; delete the folder"):
        check_frozen("web")


def test_without_the_network_of_the_book_it_is_said_how_it_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "places", lambda: (tmp_path, tmp_path))
    with pytest.raises(InputError, match="restore it from the repository"):
        networks(["self-supervised"])
