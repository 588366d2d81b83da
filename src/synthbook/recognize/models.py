"""Classifiers by name: a small network for thumbnails, CIFAR variants of ResNet, and all of timm.

Every classifier takes float images in [0, 1] and normalises them itself, so that no caller can
feed a backbone with the wrong mean.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from synthbook.errors import InputError, did_you_mean
from synthbook.randomness import seeded
from synthbook.weights import MEAN, STD, efficientnet_lite0

SMALL_WIDTHS = (16, 32, 64)  # 24,058 parameters with one channel and ten classes
MEDIUM_WIDTHS = (16, 32, 48, 64)  # 47,706 parameters with three channels and ten classes
MEDIUM_SIZE = 16  # pixels from which a fourth stage sees more than a single position


class Classifier(nn.Module):
    """A body that maps images to pooled features, and a linear head.

    ``name`` is the backbone's; ``num_classes`` and ``channels`` are what it was made for, and
    ``pretrained`` says whether it started from ImageNet weights. Grey images are repeated over the
    channels of a body that takes three.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, body: nn.Module, head: nn.Linear, *, name: str, channels: int,
        mean: tuple[float, ...] = (0.5,), std: tuple[float, ...] = (0.5,), pretrained: bool = False,
    ) -> None:  # fmt: skip
        """Wrap ``body`` ([N, C, H, W] to [N, D]) and ``head`` (D to K); mean, std per channel."""
        super().__init__()
        self.body, self.head = body, head
        self.name, self.pretrained = name, pretrained
        self.channels, self.num_classes = channels, head.out_features
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features [N, D] of float images [N, C, H, W] in [0, 1]."""
        if images.shape[1] == 1 and self.channels == 3:
            images = images.expand(-1, 3, -1, -1)
        return self.body((images - self.mean) / self.std)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, K] of float images [N, C, H, W] in [0, 1]."""
        return self.head(self.features(images))


def _small_cnn(channels: int, image_size: int) -> tuple[nn.Module, int]:
    """Return 3 x 3 convolutions with BatchNorm and 2 x 2 pooling between them, and their width."""
    widths = MEDIUM_WIDTHS if image_size >= MEDIUM_SIZE else SMALL_WIDTHS
    layers: list[nn.Module] = []
    for before, width in zip((channels, *widths), widths, strict=False):
        layers += [nn.MaxPool2d(2)] if layers else []
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
        layers += [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), widths[-1]


def _cifar_resnet(name: str, channels: int, image_size: int) -> tuple[nn.Module, int]:
    """Return timm's ResNet ``name`` with the stem for 32 px (He et al. 2016, 4.2), and its width.

    The 7 x 7 convolution of stride 2 and the pooling after it become one 3 x 3 convolution.
    """
    import timm

    body = timm.create_model(name, num_classes=0)
    body.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(body.conv1.weight, mode="fan_out", nonlinearity="relu")
    body.maxpool = nn.Identity()
    return body, body.num_features


# Networks of this book's own, without pretrained weights: (channels, image_size) -> body, width.
OWN: dict[str, Callable[[int, int], tuple[nn.Module, int]]] = {
    "small_cnn": _small_cnn,
    **{f"resnet{n}_cifar": partial(_cifar_resnet, f"resnet{n}") for n in (18, 34, 50)},
}
# The network whose ImageNet weights are installed, and timm's variant that has their padding.
BUNDLED, TIMM_BUNDLED = "efficientnet_lite0", "tf_efficientnet_lite0"


def backbones() -> list[str]:
    """Return every name that ``create_classifier`` knows; timm's are the most of them.

    These are architectures and their weights: 'resnet50' has those that timm takes by default,
    'resnet50.tv_in1k' those of torchvision.
    """
    import timm

    return sorted({*OWN, BUNDLED, *timm.list_models(), *timm.list_models(pretrained=True)})


def _timm_network(
    backbone: str, num_classes: int, channels: int, image_size: int, pretrained: bool
) -> nn.Module:
    """Return a timm network; its head is ImageNet's if ``num_classes`` fits.

    Weights come from the local cache and are never downloaded.
    """
    import timm
    from huggingface_hub import try_to_load_from_cache

    name = TIMM_BUNDLED if backbone == BUNDLED else backbone
    config = timm.get_pretrained_cfg(name)
    options = {"img_size": image_size} if config.fixed_input_size else {}
    if pretrained:
        hub = config.hf_hub_id
        path = try_to_load_from_cache(hub, "model.safetensors") if hub else None
        if not isinstance(path, str):
            raise InputError(
                f"the pretrained weights of '{name}' are not on this computer and nothing is "
                f"downloaded while a chapter runs; fetch them once with "
                f"`python -c \"import timm; timm.create_model('{name}', pretrained=True)\"`, "
                f"or take backbone='{BUNDLED}', whose weights are installed"
            )
        options["pretrained_cfg_overlay"] = {"file": path, "hf_hub_id": None}
    return timm.create_model(
        name, pretrained=pretrained, num_classes=num_classes, in_chans=channels, **options
    )


def create_classifier(
    backbone: str, *, num_classes: int, channels: int, image_size: int,
    pretrained: bool = False, seed: int = 0,
) -> Classifier:  # fmt: skip
    """Return a classifier on the CPU whose initial weights are a function of ``seed``.

    ``backbone`` is 'small_cnn' (8 to 32 px), 'resnet18_cifar', 'resnet34_cifar', 'resnet50_cifar',
    'efficientnet_lite0', or any name of timm. With ``pretrained`` it starts from ImageNet weights
    that are on this computer, keeps its own head if that fits, and always has three ``channels``:
    grey images are repeated. ``image_size`` decides the depth of 'small_cnn' and the tokens of
    transformers.

    Raises:
        InputError: for an unknown name, weights that are not there, or impossible sizes.
    """
    if channels not in (1, 3) or num_classes < 1 or image_size < 4:
        raise InputError(
            f"no classifier has {channels} channels, {num_classes} classes and {image_size} px; "
            f"give channels 1 or 3, num_classes >= 1 and image_size >= 4"
        )
    if backbone not in {*OWN, BUNDLED} and backbone not in (known := backbones()):
        raise InputError(
            f"no backbone is called '{backbone}'{did_you_mean(backbone, known)}; "
            f"synthbook.recognize.models.backbones() lists all"
        )
    if pretrained and backbone in OWN:
        raise InputError(
            f"'{backbone}' has no pretrained weights; set pretrained=False or take "
            f"backbone='{BUNDLED}'"
        )
    channels = 3 if pretrained else channels
    statistics = {"mean": (0.5,), "std": (0.5,)}
    with seeded(seed, "init", backbone):
        if backbone in OWN:
            body, width = OWN[backbone](channels, image_size)
            head = nn.Linear(width, num_classes)
        else:
            if pretrained and backbone == BUNDLED:
                body = efficientnet_lite0(num_classes, seed=seed)
                statistics = {"mean": (MEAN,), "std": (STD,)}
            else:
                body = _timm_network(backbone, num_classes, channels, image_size, pretrained)
                if pretrained:
                    statistics = {key: body.pretrained_cfg[key] for key in statistics}
            head = body.get_classifier()
            if not isinstance(head, nn.Linear):
                raise InputError(
                    f"the head of '{backbone}' is a {type(head).__name__} and not one linear "
                    f"layer; choose another backbone"
                )
            body.reset_classifier(0)
    how = {"name": backbone, "channels": channels, "pretrained": pretrained}
    model = Classifier(body, head, **how, **statistics)
    # Images are kept as [N, H, W, C]; with weights in the same order a CPU is up to 2.5 times
    # as fast on 'small_cnn', and a GPU needs no copies for its convolutions.
    return model.to(memory_format=torch.channels_last)
