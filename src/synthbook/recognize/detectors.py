"""Detectors on the body of any classifier: torchvision's, put together for two scales.

- "c4": Faster R-CNN as detectron2 builds it on C4 of a ResNet, in the variant of the
  study of MoCo (He et al. 2020, Sec. 4.2), to whose figures those of the paper on synthetic data
  fit (81.3 from ImageNet's labels, 82.4 from MoCo v2): proposals on the maps of stride 16, the
  last stage run on each region, and a normalisation after it.
- "fcos": FCOS (Tian et al. 2019) on one map, which learns within a minute on one core.

Only the body's weights differ between starts. Its batch normalisation is trained like everything
else, as MoCo does: a random start has no statistics that could be frozen, and those of different
pretrainings differ in scale.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from synthbook.data.boxed import Detections, Objects
from synthbook.errors import InputError
from synthbook.randomness import seeded
from synthbook.recognize.models import Classifier
from synthbook.settings import Count, Layers, Listed, Share, settings

Edge = Annotated[int, Field(ge=16, le=4096)]  # pixels
LEAST_SIDE = 4  # positions of a map's side, below which it says nearly nothing of places
GROUPS = 32  # torchvision's heads normalise channels in so many groups


@settings
class DetectorRecipe:
    """How a detector is put together; the defaults are those of scenes of 64 pixels.

    Args:
        kind: 'fcos' or 'c4'.
        sides: shorter sides to which images are brought, one drawn each time in training, the last
            one afterwards; ``longest`` bounds the longer side.
        stride: pixels between positions of the map of 'fcos', at most: the deepest such is taken.
        width, depth: channels and convolutions of the heads of 'fcos'.
        anchors: sides of the boxes that 'c4' starts from, each in the forms 1:2, 1:1 and 2:1.
        regions: that 'c4' learns from in each image.
        score: below which a detection is left out, and ``most`` of an image are kept.
        suppress: overlap above which the less sure of two detections of a class is left out.
    """

    kind: Literal["fcos", "c4"] = "fcos"
    sides: Annotated[tuple[Edge, ...], Listed, Field(min_length=1)] = (64,)
    longest: Edge = 1024
    stride: Literal[4, 8, 16] = 8
    width: Annotated[int, Field(ge=GROUPS, le=1024, multiple_of=GROUPS)] = 64
    depth: Layers = 2
    anchors: Annotated[tuple[Edge, ...], Listed, Field(min_length=1)] = (32, 64, 128, 256, 512)
    regions: Count = 512
    score: Share = 0.05
    most: Count = 100
    suppress: Share = 0.5


# detectron2's configuration of MoCo for PASCAL VOC.
MOCO_VOC = DetectorRecipe(kind="c4", sides=tuple(range(480, 801, 32)), longest=1333)


class Detector(nn.Module):
    """A detector of torchvision, with labels from 0 and this library's boxes.

    ``network`` is torchvision's; ``first`` the label that it gives to the first class.
    """

    def __init__(self, network: nn.Module, *, num_classes: int, first: int) -> None:
        super().__init__()
        self.network, self.num_classes, self.first = network, num_classes, first

    def forward(
        self, images: Sequence[Tensor], objects: Sequence[Objects] | None = None
    ) -> dict[str, Tensor] | list[Detections]:
        """Return losses by name in training, and detections in evaluation.

        ``images`` are float [3, H, W] in [0, 1], of any sizes.
        """
        if not self.training:
            return [self._detections(one) for one in self.network(list(images))]
        place = images[0].device
        targets = [
            {
                "boxes": torch.from_numpy(one.boxes).to(place),
                "labels": torch.from_numpy(one.labels + self.first).to(place),
            }
            for one in objects
        ]
        return self.network(list(images), targets)

    def _detections(self, one: dict[str, Tensor]) -> Detections:
        """Return what torchvision found, without boxes that have no area, which FCOS gives."""
        boxes, labels, scores = (
            one[key].detach().cpu().numpy() for key in ("boxes", "labels", "scores")
        )
        held = (boxes[:, 2:] > boxes[:, :2]).all(1)
        boxes, scores = (x[held].astype(np.float32) for x in (boxes, scores))
        return Detections(boxes, labels[held] - self.first, scores)


class Deepest(nn.Module):
    """The deepest map of a timm network that has no larger stride, at the index ``index``."""

    def __init__(self, body: nn.Module, index: int) -> None:
        super().__init__()
        self.body, self.index = body, index

    def forward(self, images: Tensor) -> Tensor:
        return self.body.forward_intermediates(
            images, indices=[self.index], intermediates_only=True, stop_early=True
        )[0]


def map_of(body: nn.Module, stride: int, side: int) -> tuple[nn.Module, int, int]:
    """Return the part of ``body`` that gives its deepest map, the map's channels and its stride.

    Of layers one after the other, and of timm's networks, it is the deepest with ``stride`` or
    less; any other module must give a map [N, C, h, w] itself. ``side`` is that of the images.

    Raises:
        InputError: if there is no such map, or it has fewer than 4 x 4 positions.
    """
    images = torch.zeros(1, 3, side, side)
    part: nn.Module = body
    if isinstance(body, nn.Sequential):
        seen, maps = images, []
        for layer in body:
            seen = layer(seen)
            maps.append(seen)
        kept = _deepest(maps, side, stride)
        part = body[: kept + 1]
    elif hasattr(body, "forward_intermediates"):
        kept = _deepest(body.forward_intermediates(images, intermediates_only=True), side, stride)
        part = Deepest(body, kept)
    seen = part(images)
    if not isinstance(seen, Tensor) or seen.ndim != 4:
        shape = list(seen.shape) if isinstance(seen, Tensor) else type(seen).__name__
        raise InputError(
            f"the body {type(body).__name__} gives {shape} and no map [N, C, h, w]; give one that "
            "ends before its pooling"
        )
    if min(seen.shape[2:]) < LEAST_SIDE:
        raise InputError(
            f"the map of {type(body).__name__} has {seen.shape[2]} x {seen.shape[3]} positions at "
            f"{side} pixels; give larger images, or a body with a map of {LEAST_SIDE} x "
            f"{LEAST_SIDE} or more"
        )
    return part, seen.shape[1], side // seen.shape[3]


def _deepest(maps: Sequence[Tensor], side: int, stride: int) -> int:
    fit = [k for k, one in enumerate(maps) if one.ndim == 4 and one.shape[3] * stride >= side]
    if not fit:
        raise InputError(
            f"no map of the body has a stride of {stride} pixels or less; give a larger stride or "
            "another body"
        )
    return fit[-1]


class OneMap(nn.Module):
    """A body's map brought to ``out_channels`` channels, as FCOS takes it."""

    def __init__(self, part: nn.Module, channels: int, width: int) -> None:
        super().__init__()
        self.part, self.out_channels = part, width
        self.neck = nn.Conv2d(channels, width, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.neck(self.part(images))


def _fcos(body: nn.Module, num_classes: int, recipe: DetectorRecipe, how: dict[str, Any]) -> Any:
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.fcos import FCOSHead

    part, channels, stride = map_of(body, recipe.stride, min(recipe.sides))
    return FCOS(
        OneMap(part, channels, recipe.width), num_classes,
        anchor_generator=AnchorGenerator(((stride,),), ((1.0,),)),
        head=FCOSHead(recipe.width, 1, num_classes, recipe.depth),
        score_thresh=recipe.score, nms_thresh=recipe.suppress, detections_per_img=recipe.most,
        size_divisible=max(32, stride), **how,
    )  # fmt: skip


def _c4(body: nn.Module, num_classes: int, recipe: DetectorRecipe, how: dict[str, Any]) -> Any:
    """Return Faster R-CNN on a ResNet's layer3, with layer4 as the head of regions.

    torchvision's differs from detectron2's in small things: regions are aligned without the half
    pixel, and the loss of boxes is a smooth L1 with a bend at 1/9.
    """
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
    from torchvision.ops import MultiScaleRoIAlign

    layers = OrderedDict(body.named_children())
    if not {"conv1", "layer1", "layer2", "layer3", "layer4"} <= set(layers):
        raise InputError(
            f"'c4' takes the body of a ResNet, and {type(body).__name__} has no layer1 to layer4; "
            "give 'resnet50' or another ResNet, or kind 'fcos'"
        )
    names = list(layers)
    stem = nn.Sequential(OrderedDict((k, layers[k]) for k in names[: names.index("layer4")]))
    part, channels, _ = map_of(stem, 16, min(recipe.sides))
    part.out_channels = channels
    wide = layers["layer4"](torch.zeros(1, channels, 14, 14)).shape[1]
    head = nn.Sequential(
        layers["layer4"], nn.BatchNorm2d(wide), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return FasterRCNN(
        part,
        rpn_anchor_generator=AnchorGenerator((recipe.anchors,), ((0.5, 1.0, 2.0),)),
        rpn_pre_nms_top_n_train=12_000, rpn_pre_nms_top_n_test=6_000,
        box_roi_pool=MultiScaleRoIAlign(["0"], 14, 0),
        box_head=head, box_predictor=FastRCNNPredictor(wide, num_classes + 1),
        box_score_thresh=recipe.score, box_nms_thresh=recipe.suppress,
        box_detections_per_img=recipe.most, box_batch_size_per_image=recipe.regions, **how,
    )  # fmt: skip


MAKERS = {"fcos": (_fcos, 0), "c4": (_c4, 1)}  # torchvision's label 0 of "c4" is the ground


def create_detector(
    body: nn.Module, *, num_classes: int, recipe: DetectorRecipe, seed: int
) -> Detector:
    """Return a detector on a copy of ``body``; all its other weights are a function of ``seed``.

    ``body`` is a `Classifier`, whose head and pooling are left away and whose normalisation of
    pixels is kept, or any module that maps pixels in [-1, 1], [N, 3, H, W], to a map.

    Raises:
        InputError: if it gives no map that fits.
    """
    if num_classes < 1:
        raise InputError(f"a detector of {num_classes} classes finds nothing; give one at least")
    mean, std, name = [0.5] * 3, [0.5] * 3, type(body).__name__
    if isinstance(body, Classifier):
        if body.channels != 3:
            raise InputError(
                f"'{body.name}' takes {body.channels} channel, and scenes are coloured; give a "
                "body of three channels"
            )
        mean, std = (x.flatten().expand(3).tolist() for x in (body.mean, body.std))
        body, name = body.body, body.name
    how = {"image_mean": mean, "image_std": std, "min_size": recipe.sides}
    make, first = MAKERS[recipe.kind]
    taken = copy.deepcopy(body).cpu().eval().requires_grad_(True)
    try:
        with torch.no_grad(), seeded(seed, "detector"):
            network = make(taken, num_classes, recipe, how | {"max_size": recipe.longest})
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"'{name}' gives no maps at {min(recipe.sides)} pixels ({str(error)[:150]}); give a "
            "body that takes images of this size (sides), or another size"
        ) from error
    return Detector(network, num_classes=num_classes, first=first)
