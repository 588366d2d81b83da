"""The perceptual distance: a sum over layers, zero for equal images, from frozen networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate
from torchvision.models import VGG16_Weights
from torchvision.models.vgg import cfgs, make_layers

from synthbook.errors import InputError
from synthbook.gans.perceptual import (
    VGG_LAYERS,
    Perceptual,
    VGGMaps,
    check_maps,
    distance,
    layers_of,
    network_maps,
)
from synthbook.weights import MEAN, STD, efficientnet_lite0


@pytest.fixture(scope="module")
def lite0():
    return Perceptual(network_maps("efficientnet_lite0"), size=32)


def test_it_is_the_sum_of_mean_absolute_differences():
    def network(x: torch.Tensor) -> list[torch.Tensor]:
        return [x[:, :1] * 3, x.mean((2, 3), keepdim=True)]

    perceptual = Perceptual(network, size=16, weight=0.5)
    a, b = torch.rand(2, 4, 3, 8, 8) * 2 - 1
    # The network sees 0..1, so half of the differences, enlarged.
    wide = interpolate(a - b, size=16, mode="bilinear") / 2
    want = (a - b).abs().mean((1, 2, 3)) + avg_pool2d(a - b, 4).abs().mean((1, 2, 3))
    want += 0.5 * (3 * wide[:, :1]).abs().mean((1, 2, 3))
    want += 0.5 * wide.mean((2, 3)).abs().mean(1)
    torch.testing.assert_close(distance(perceptual(a), perceptual(b)), want)


def test_equal_images_are_no_distance_apart_and_each_counts_by_itself(lite0):
    a, b = torch.rand(2, 3, 3, 16, 16) * 2 - 1
    layers = lite0(a)
    assert [h.shape[1] for h in layers] == [3, 3, 16, 24, 40, 112, 320]
    assert (distance(layers, layers) == 0).all()
    apart = distance(layers, lite0(b))
    assert (apart > 0).all()
    torch.testing.assert_close(apart[1:2], distance(lite0(a[1:2]), lite0(b[1:2])))
    kept = layers_of(lite0, a, batch_size=2)
    torch.testing.assert_close(kept, layers)
    grey = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(lite0(grey)[2:], lite0(grey.expand(-1, 3, -1, -1))[2:])


def test_the_maps_are_those_of_efficientnet():
    x, network = torch.rand(2, 3, 32, 32), efficientnet_lite0(0)
    want = network.forward_intermediates((x - MEAN) / STD, intermediates_only=True)
    for made, map_ in zip(network_maps("efficientnet_lite0")(x), want, strict=True):
        torch.testing.assert_close(made, map_, rtol=1e-3, atol=1e-3)


def test_nothing_in_it_is_trained_and_images_get_a_gradient(lite0):
    lite0.train()
    assert not any(module.training for module in lite0.modules())
    assert not any(p.requires_grad for p in lite0.parameters())
    image, other = torch.zeros(1, 3, 16, 16, requires_grad=True), torch.rand(1, 3, 16, 16)
    loss = distance(lite0(image), lite0(other)).sum()
    (gradient,) = torch.autograd.grad(loss, image)
    with torch.no_grad():
        nearer = distance(lite0(image - 0.01 * gradient / gradient.norm()), lite0(other)).sum()
    assert nearer < loss


def test_large_images_are_seen_whole():
    """Each pixel has a gradient; up to twice the size plain bilinear does that, and stays."""
    seen = []
    perceptual = Perceptual(lambda x: seen.append(x) or [x], size=16)
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    perceptual(image)[-1].square().sum().backward()
    assert (image.grad != 0).all()
    small = torch.rand(1, 3, 32, 32)
    perceptual(small)
    assert torch.equal(seen[-1], (interpolate(small, size=16, mode="bilinear") + 1) / 2)


def test_vgg16_gives_the_last_relu_of_each_size():
    whole = make_layers(cfgs["D"])
    state = {f"features.{name}": value for name, value in whole.state_dict().items()}
    maps = VGGMaps({**state, "classifier.0.weight": torch.zeros(1)})
    x = torch.rand(2, 3, 32, 32)
    made = maps(x)
    assert [h.shape[1:] for h in made] == [
        (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)
    ]  # fmt: skip
    assert all(isinstance(whole[k], nn.ReLU) for k in VGG_LAYERS)
    assert all(isinstance(whole[k + 1], nn.MaxPool2d) for k in VGG_LAYERS)
    told = VGG16_Weights.IMAGENET1K_V1.transforms()
    h = (x - torch.tensor(told.mean)[:, None, None]) / torch.tensor(told.std)[:, None, None]
    for k, layer in enumerate(whole):
        h = layer(h)
        if k in VGG_LAYERS:
            torch.testing.assert_close(made[VGG_LAYERS.index(k)], h)


def test_missing_weights_and_other_names_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(InputError, match=r"no weights of VGG16 at .*vgg16-397923af\.pth"):
        network_maps("vgg16")
    with pytest.raises(InputError, match=r"no weights of VGG16"):
        check_maps("vgg16")
    check_maps("efficientnet_lite0")
    with pytest.raises(InputError, match="did you mean 'vgg16'"):
        network_maps("vgg19")
