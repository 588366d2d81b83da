"""Detectors: which map of a body they take, what a start changes, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import box_iou

from synthbook.data.boxed import Detections, Objects
from synthbook.errors import InputError
from synthbook.recognize.detectors import (
    MOCO_VOC,
    Detector,
    DetectorRecipe,
    create_detector,
    map_of,
)
from synthbook.recognize.models import Classifier, create_classifier

FCOS = DetectorRecipe(sides=(32,), width=32, depth=1)
C4 = DetectorRecipe(kind="c4", sides=(64,), anchors=(16, 32), regions=8)
BOXES = np.array([[2, 2, 20, 20], [8, 4, 30, 28]], np.float32)
SEEN = [Objects(BOXES, np.array([0, 2]), np.zeros(2, bool)),
        Objects(BOXES[:0], np.zeros(0, np.int64), np.zeros(0, bool))]  # fmt: skip


def small(seed: int = 0) -> Classifier:
    return create_classifier("small_cnn", num_classes=5, channels=3, image_size=32, seed=seed)


def tiny_resnet() -> nn.Module:
    from timm.models.resnet import BasicBlock, ResNet

    return ResNet(BasicBlock, (1, 1, 1, 1), channels=(8, 8, 16, 16))


def tiny(kind: str, seed: int = 0) -> Detector:
    body, recipe = (small(), FCOS) if kind == "fcos" else (tiny_resnet(), C4)
    return create_detector(body, num_classes=3, recipe=recipe, seed=seed)


def test_the_map_is_that_which_the_classifier_pools() -> None:
    model = small().eval()
    part, channels, stride = map_of(model.body, 8, 32)
    images = torch.rand(2, 3, 32, 32)
    pooled = part((images - model.mean) / model.std).mean((2, 3))
    assert torch.allclose(pooled, model.features(images), atol=1e-6)
    assert (channels, stride) == (64, 8)


@pytest.mark.parametrize(("stride", "channels"), [(4, 8), (8, 8), (16, 16)])
def test_the_deepest_map_of_a_stride_is_taken(stride: int, channels: int) -> None:
    body = tiny_resnet().eval()
    part, width, reached = map_of(body, stride, 64)
    assert (width, reached) == (channels, stride)
    seen = torch.rand(1, 3, 64, 64)
    expected = body.layer1(body.maxpool(body.act1(body.bn1(body.conv1(seen)))))
    if stride > 4:
        expected = body.layer2(expected)
    if stride > 8:
        expected = body.layer3(expected)
    assert torch.allclose(part(seen), expected, atol=1e-6)


def test_any_module_that_gives_a_map_will_do() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 6, 4, stride=4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.layer(images)

    detector = create_detector(Own(), num_classes=2, recipe=FCOS, seed=0).eval()
    (found,) = detector([torch.rand(3, 32, 32)])
    assert found.boxes.shape == (len(found), 4)


@pytest.mark.parametrize("kind", ["fcos", "c4"])
def test_it_gives_losses_in_training_and_boxes_after_it(kind: str) -> None:
    detector, images = tiny(kind), [torch.rand(3, 40, 32), torch.rand(3, 32, 48)]
    losses = detector.train()(images, SEEN)
    total = torch.stack([*losses.values()]).sum()
    assert total.isfinite()
    total.backward()
    for name, weight in detector.named_parameters():  # the deeper layers of 'fcos' are cut off
        assert weight.grad is not None, name
    detector.network.score_thresh = 0.0
    if kind == "c4":
        detector.network.roi_heads.score_thresh = 0.0
    for found, image in zip(detector.eval()(images), images, strict=True):
        assert len(found) > 0
        assert 0 <= found.labels.min() <= found.labels.max() <= 2
        assert found.boxes.min() >= 0
        assert (found.boxes[:, 2:] <= [image.shape[2], image.shape[1]]).all()
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
        assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("kind", ["fcos", "c4"])
def test_detections_are_as_many_and_as_sure_and_as_far_apart_as_the_recipe_says(kind: str) -> None:
    body, recipe = (small(), FCOS) if kind == "fcos" else (tiny_resnet(), C4)
    images = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))]

    def found(**changes: float) -> Detections:
        how = {"num_classes": 3, "recipe": replace(recipe, **changes), "seed": 0}
        detector = create_detector(body, **how).eval()
        if kind == "fcos":  # boxes of some size, as after a training
            nn.init.constant_(detector.network.head.regression_head.bbox_reg.bias, 1.5)
        return detector(images)[0]

    every = found(score=0.0, most=1000, suppress=1.0)
    assert len(every) > 10
    some = found(score=0.0, most=7, suppress=1.0)
    assert 0 < len(some) <= 7  # boxes without area are left out of these
    assert np.array_equal(some.scores, every.scores[: len(some)])
    least = float(np.median(every.scores))
    assert len(found(score=least, most=1000, suppress=1.0)) == (every.scores > least).sum()
    apart = found(score=0.0, most=1000, suppress=0.3)
    overlap = box_iou(*[torch.from_numpy(apart.boxes)] * 2).numpy()
    alike = (apart.labels[:, None] == apart.labels) & ~np.eye(len(apart), dtype=bool)
    assert 0 < overlap[alike].max() <= 0.3 + 1e-6


def test_labels_come_back_as_they_went_in() -> None:
    """Each class that is learned is the one that is found, for both conventions of torchvision."""
    for kind, first in (("fcos", 0), ("c4", 1)):
        detector, seen = tiny(kind), {}

        def look(_, inputs, seen=seen):
            seen["given"] = inputs[1][0]["labels"].tolist()

        detector.network.register_forward_pre_hook(look)
        detector.train()([torch.rand(3, 64, 64)] * 2, SEEN)
        assert seen["given"] == [first, 2 + first]
        labels, box = torch.tensor([first, 2 + first]), torch.tensor([0.0, 0.0, 1.0, 1.0])
        one = {"boxes": box.expand(2, 4), "labels": labels, "scores": torch.ones(2)}
        assert detector._detections(one).labels.tolist() == [0, 2]


def test_only_the_body_differs_between_starts() -> None:
    first, second = (
        create_detector(small(seed), num_classes=3, recipe=FCOS, seed=4) for seed in (0, 1)
    )
    pairs = zip(first.state_dict().items(), second.state_dict().values(), strict=True)
    differing = {name for (name, a), b in pairs if not torch.equal(a, b)}
    assert differing
    assert all(name.startswith("network.backbone.part.") for name in differing)
    other = create_detector(small(0), num_classes=3, recipe=FCOS, seed=5)
    assert not torch.equal(first.network.backbone.neck.weight, other.network.backbone.neck.weight)


def test_the_given_body_stays_as_it_is() -> None:
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    detector = create_detector(model, num_classes=3, recipe=FCOS, seed=0)
    for value in detector.parameters():
        value.data.add_(1)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(weight.requires_grad for weight in detector.parameters())


def test_pixels_are_normalised_as_the_classifier_does() -> None:
    model = small()
    model.mean, model.std = (
        torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1),
        torch.full_like(model.std, 0.25),
    )
    transform = create_detector(model, num_classes=1, recipe=FCOS, seed=0).network.transform
    image = torch.rand(3, 5, 5)
    expected = (image - model.mean[0]) / model.std[0]
    assert torch.allclose(transform.normalize(image), expected)


def test_the_recipe_of_moco_is_made_of_resnet50() -> None:
    from timm import create_model

    with torch.device("meta"):
        body = create_model("resnet50", num_classes=0)
    recipe = DetectorRecipe(**{**vars_of(MOCO_VOC), "sides": (64,)})
    detector = create_detector(body.to_empty(device="cpu"), num_classes=20, recipe=recipe, seed=0)
    network = detector.network
    assert network.backbone.out_channels == 1024
    assert network.rpn.head.cls_logits.out_channels == 15
    assert network.roi_heads.box_predictor.cls_score.weight.shape == (21, 2048)
    assert network.roi_heads.box_predictor.bbox_pred.weight.shape == (84, 2048)
    assert MOCO_VOC.sides[::10] == (480, 800)


def vars_of(recipe: DetectorRecipe) -> dict:
    return {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}


BAD: dict[str, tuple[Callable[[], nn.Module], DetectorRecipe, str]] = {
    "pooled": (lambda: Pooled(), FCOS, r"gives \[1, 3\] and no map"),
    "coarse": (lambda: tiny_resnet(), FCOS, r"has 2 x 2 positions at 16 pixels|4 x 4 positions"),
    "no stride": (lambda: nn.Sequential(nn.Conv2d(3, 8, 16, 16)), FCOS, "stride of 8 pixels or"),
    "grey": (
        lambda: create_classifier("small_cnn", num_classes=2, channels=1, image_size=32),
        FCOS, "takes 1 channel, and scenes are coloured",
    ),
    "other channels": (lambda: nn.Sequential(nn.Conv2d(4, 8, 3)), FCOS, "gives no maps at 32"),
    "no resnet": (lambda: small(), C4, "'c4' takes the body of a ResNet"),
}  # fmt: skip


class Pooled(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


@pytest.mark.parametrize("case", BAD)
def test_bodies_that_do_not_fit_are_refused(case: str) -> None:
    make, recipe, fault = BAD[case]
    if case == "coarse":
        recipe = DetectorRecipe(sides=(16,))
    with pytest.raises(InputError, match=fault):
        create_detector(make(), num_classes=2, recipe=recipe, seed=0)


def test_no_classes_and_wrong_settings_are_refused() -> None:
    with pytest.raises(InputError, match="a detector of 0 classes finds nothing"):
        create_detector(small(), num_classes=0, recipe=FCOS, seed=0)
    with pytest.raises(InputError, match=r"width = 40 is not allowed; give .* a multiple of 32"):
        DetectorRecipe(width=40)
    with pytest.raises(InputError, match="kind = 'ssd' is not allowed; give one of fcos, c4"):
        DetectorRecipe(kind="ssd")
