"""Pretrained backbones: what comes back from a folder or a file, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from synthbook.errors import InputError
from synthbook.recognize import pretrained
from synthbook.recognize.models import Classifier, create_classifier
from synthbook.recognize.pretrained import fingerprint, load, save, started

SIZES = {"small_cnn": 32, "resnet18_cifar": 32, "resnet18": 64, "vit_tiny_patch16_224": 32}


def fresh(name: str, *, size: int = 0, seed: int = 3) -> Classifier:
    sizes = {"num_classes": 4, "image_size": size or SIZES[name]}
    model = started(name, seed=seed, **sizes)
    for module in model.modules():  # statistics of its own, as after a training
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval()


@pytest.mark.parametrize("name", ["small_cnn", "resnet18_cifar", "vit_tiny_patch16_224"])
def test_a_folder_gives_the_same_features_and_a_new_head(name: str, tmp_path: Path) -> None:
    model = fresh(name)
    model.mean, model.std = torch.full((1, 1, 1, 1), 0.4), torch.full((1, 1, 1, 1), 0.2)
    save(model, tmp_path, image_size=32, about={"method": "mocov2"})
    again = load(tmp_path, num_classes=7, seed=1).eval()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(model.features(images), again.features(images))
    assert again(images).shape == (2, 7)
    assert fingerprint(model) == fingerprint(again)
    assert not torch.equal(again.head.weight, load(tmp_path, num_classes=7, seed=2).head.weight)
    assert pretrained.about(tmp_path)["method"] == "mocov2"


def test_a_fingerprint_tells_weights_statistics_and_normalisation() -> None:
    model = fresh("small_cnn")
    seen = {fingerprint(model), fingerprint(fresh("small_cnn", seed=4))}
    model.body[1].running_mean[0] += 1
    seen.add(fingerprint(model))
    model.mean = model.mean + 0.1
    last = fingerprint(model)
    assert len(seen | {last}) == 4
    model.std = 2 * model.std
    assert fingerprint(model) not in seen | {last}
    model.std = model.std / 2
    model.head.weight.data += 1  # a head is no part of a backbone
    assert fingerprint(model) == last


def test_a_transformer_comes_back_at_another_size(tmp_path: Path) -> None:
    save(fresh("vit_tiny_patch16_224"), tmp_path, image_size=32)
    larger = load(tmp_path, image_size=64).eval()
    assert larger(torch.rand(1, 3, 64, 64)).shape == (1, 1)
    assert larger.body.pos_embed.shape[1] == 1 + 4 * 4


@pytest.mark.parametrize("prefix", ["", "module.", "module.encoder_q.", "body."])
def test_files_of_weights_from_elsewhere(prefix: str, tmp_path: Path) -> None:
    """As timm, a parallel training, MoCo's own code and this library's classifiers name them."""
    model = fresh("resnet18")
    state = {f"{prefix}{name}": value for name, value in model.body.state_dict().items()}
    state[f"{prefix.replace('body.', '')}fc.weight"] = torch.zeros(9, 512)
    if "encoder" in prefix:
        state["module.queue"] = torch.zeros(3)
    file = tmp_path / "weights.pth"
    torch.save({"state_dict": state, "epoch": 3, "arch": "resnet18"}, file)
    other = started("resnet18", str(file), num_classes=5, image_size=64).eval()
    config = {"mean": other.mean.flatten().tolist(), "std": other.std.flatten().tolist()}
    assert config["mean"] == pytest.approx([0.485, 0.456, 0.406])  # as timm says of this network
    for name, value in other.body.state_dict().items():
        assert torch.equal(value, model.body.state_dict()[name])


def test_weights_of_a_bundled_network_are_a_start() -> None:
    how = {"num_classes": 4, "image_size": 32}
    model = started("efficientnet_lite0", "imagenet", **how)
    reference = create_classifier("efficientnet_lite0", channels=3, pretrained=True, **how)
    assert fingerprint(model) == fingerprint(reference)


def test_nothing_that_was_altered_is_read(tmp_path: Path) -> None:
    save(fresh("small_cnn"), tmp_path, image_size=32)
    with (tmp_path / pretrained.WEIGHTS).open("r+b") as stream:
        stream.seek(-4, 2)
        stream.write(b"\1\2\3\4")
    with pytest.raises(InputError, match="SHA-256"):
        load(tmp_path)


def no_folder(path: Path) -> None:
    load(path)


def other_network(path: Path) -> None:
    save(fresh("small_cnn"), path, image_size=32)
    started("resnet18", str(path), num_classes=2, image_size=32)


def other_shape(path: Path) -> None:
    save(fresh("small_cnn", size=12), path, image_size=32)  # fewer and other stages


def misfit(path: Path) -> None:
    other_shape(path)
    load(path)


def other_file(path: Path) -> None:
    torch.save(fresh("small_cnn").state_dict(), path / "file.pth")
    started("resnet18", str(path / "file.pth"), num_classes=2, image_size=32)


def no_weights(path: Path) -> None:
    (path / "file.pth").write_text("none")
    started("resnet18", str(path / "file.pth"), num_classes=2, image_size=32)


def more_weights(path: Path) -> None:
    torch.save(fresh("small_cnn").body.state_dict() | {"extra.k": torch.ones(1)}, path / "file.pth")
    started("small_cnn", str(path / "file.pth"), num_classes=2, image_size=32)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (no_folder, "holds no pretrained backbone"),
        (other_network, "holds a 'small_cnn' and not 'resnet18'"),
        (misfit, r"has '8.weight' as \[64, 32, 3, 3\] and not \[48, 32, 3, 3\]"),
        (other_file, "it has no 'conv1.weight'; give the network"),
        (no_weights, "holds no weights"),
        (more_weights, "has 'extra.k', which the network has not"),
        (lambda _: started("resnet5O", num_classes=2, image_size=32), "did you mean 'resnet50"),
        (
            lambda _: started("small_cnn", "imagnet", num_classes=2, image_size=32),
            "did you mean 'imagenet'",
        ),
    ],
)
def test_bad_input_is_named(call, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        call(tmp_path)


def test_what_is_written_is_plain(tmp_path: Path) -> None:
    save(fresh("resnet18"), tmp_path, image_size=64, about={"data": {"name": "syn"}})
    told = json.loads((tmp_path / pretrained.ABOUT).read_text())
    assert (told["network"], told["image_size"], told["data"]["name"]) == ("resnet18", 64, "syn")
    assert {path.name for path in tmp_path.iterdir()} == {pretrained.WEIGHTS, pretrained.ABOUT}
