"""Names of networks: the same as torch and timm know, without importing them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from synthbook.errors import InputError
from synthbook.recognize import backbones, models


def test_the_names_are_those_of_the_classifiers():
    assert models.OWN.keys() == backbones.OWN
    assert backbones.BUNDLED == models.BUNDLED
    known = {*models.backbones()} - models.OWN.keys()
    assert {name for name in known if "." not in name} == {
        name for name in backbones.timm_names() if "." not in name
    }
    for name in known:
        backbones.check_backbone(name, pretrained=False)


def test_they_are_looked_up_without_torch():
    code = (
        "import sys; from synthbook.recognize.backbones import timm_names;"
        "assert 'resnet50.tv_in1k' in timm_names(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("nonsense", False, "backbone = 'nonsense' is no network; give small_cnn, efficientnet"),
        ("small_cn", False, "give small_cnn or another"),
        ("resnet18.tv_in2", False, r"give resnet18\.tv_in1k or another"),
        ("cspresnet50d.untrained", False, "is no network"),
        ("x" * 100_000, False, r"x \.\.\. is no network"),
        ("../../etc/passwd", False, "is no network"),
        ("hf-hub:timm/resnet18", False, "is no network"),
        ("local-dir:/tmp", True, "is no network"),
        ("small_cnn", True, "has no pretrained weights; set pretrained to false, or take"),
        ("resnet18", True, "not on this computer, and nothing is downloaded"),
    ],
)
def test_what_is_refused(name, pretrained, message, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=message):
        backbones.check_backbone(name, pretrained=pretrained)


def test_weights_that_are_here_are_found(monkeypatch, tmp_path):
    place = tmp_path / "models--timm--resnet18.a1_in1k"
    (place / "snapshots" / "0").mkdir(parents=True)
    (place / "snapshots" / "0" / "model.safetensors").touch()
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    backbones.check_backbone("resnet18", pretrained=True)
    with pytest.raises(InputError, match="not on this computer"):
        backbones.check_backbone("resnet18.tv_in1k", pretrained=True)


@pytest.mark.parametrize(
    ("name", "classes", "message"),
    [
        ("resnet50.a2_in2k", 1000, r"networks = 'resnet50\.a2_in2k' is no network"),
        ("small_cnn", 1000, "networks = small_cnn has no pretrained weights"),
        (
            "resnet50.tv_in1k",
            1000,
            r"of networks = resnet50\.tv_in1k are not on this .* fetch them",
        ),
        ("efficientnet_lite0", 68, "knows 1,000 classes and 'mine' has 68; give a network that"),
        (
            "resnet18.a1_in1k",
            68,
            r"networks = resnet18\.a1_in1k knows 1,000 classes and 'mine' has",
        ),
    ],
)
def test_a_published_network_has_to_be_here_and_to_know_the_classes(
    name: str, classes: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbones, "_here", lambda name: name == "resnet18.a1_in1k")
    how = {"parameter": "networks", "data": "mine"}
    with pytest.raises(InputError, match=message):
        backbones.check_published(name, classes, **how)
    for here in ("efficientnet_lite0", "resnet18.a1_in1k"):
        backbones.check_published(here, 1000, **how)
