"""Pretraining, with labels or by MoCo v2, on real or generated images: study `ready`, Sec. 3.3.

He et al. (ICLR 2023) pretrain ResNet-50 and DeiT-S on up to 4 million generated images, from random
or from ImageNet's weights, and finetune on CIFAR-100 or on detection (Tables 8 to 11). They say
neither how long nor how, so that is a choice here: every amount of images gets the same number of
steps. `finetune` is the other half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from synthbook import sums
from synthbook.data.deferred import Deferred, deferred
from synthbook.errors import InputError
from synthbook.recognize import pretrained
from synthbook.recognize.loop import Curve, Optimisation, check_views, steps_of, train
from synthbook.recognize.moco import Moco, MocoRecipe, check_queue
from synthbook.recognize.models import Classifier
from synthbook.recognize.multicrop import logits_of
from synthbook.recognize.views import ViewRecipe
from synthbook.settings import Share, settings
from synthbook.store import cached
from synthbook.training import OnStep

if TYPE_CHECKING:
    from synthbook.data import ImageSet

Alpha = Annotated[float, Field(ge=0, le=100)]


@settings
class SupervisedRecipe(Optimisation):
    """How a classifier learns from labels; the defaults are for small sets of 32 pixels.

    Args:
        label_smoothing: share of a label that all classes divide.
        mixup, cutmix: alpha of the Beta distribution of the shares in which two images, or parts
            of them, are mixed (Zhang et al. 2018; Yun et al. 2019); 0 for neither. Of both each
            batch has one.
    """

    label_smoothing: Share = 0.0
    mixup: Alpha = 0.0
    cutmix: Alpha = 0.0


PretrainRecipe = SupervisedRecipe | MocoRecipe

_CROPS = {"global_size": 224, "local_views": 0}
# What the paper may have done: the usual settings of ImageNet, which has 1.28 million images. (Of
# DeiT's augmentations RandAugment, erasing and repeated images are left out, and so is drop path.)
PUBLISHED: dict[str, PretrainRecipe] = {
    # 90 epochs
    "resnet50": SupervisedRecipe(
        steps=450_000, batch_size=256, learning_rate=0.1, weight_decay=1e-4, warmup=0.05,
        views=ViewRecipe(
            global_views=1, global_scale=(0.08, 1.0), jitter=0.0, blur=0.0, **_CROPS
        ),
    ),
    # Touvron et al. 2021: 300 epochs in batches of 1,024, 5e-4 per 512 images
    "deit_small_patch16_224": SupervisedRecipe(
        steps=375_000, batch_size=1024, optimizer="adamw", learning_rate=2.5e-4, weight_decay=0.05,
        warmup=1 / 60, label_smoothing=0.1, mixup=0.8, cutmix=1.0,
        views=ViewRecipe(
            global_views=1, global_scale=(0.08, 1.0), jitter=0.0, blur=0.0, **_CROPS
        ),
    ),
    # Chen et al. 2020b: 200 epochs
    "mocov2": MocoRecipe(
        steps=1_000_000, batch_size=256, learning_rate=0.03, weight_decay=1e-4, warmup=0.0,
        queue=65_536, momentum=0.999, temperature=0.2, projected=128, group=32,
        views=ViewRecipe(
            global_views=2, global_scale=(0.2, 1.0), saturation=0.4, blur=0.5,
            blur_deviation=(0.1, 2.0), **_CROPS,
        ),
    ),
}  # fmt: skip


class Supervised(nn.Module):
    """A classifier with its cross-entropy: called with views and labels it returns the loss."""

    def __init__(self, model: Classifier, recipe: SupervisedRecipe) -> None:
        super().__init__()
        self.model, self.smoothing = model.requires_grad_(True), recipe.label_smoothing
        self.mixes: list[nn.Module] = []
        for alpha, kind in ((recipe.mixup, "MixUp"), (recipe.cutmix, "CutMix")):
            if alpha:
                from torchvision.transforms import v2

                self.mixes.append(getattr(v2, kind)(alpha=alpha, num_classes=model.num_classes))

    def forward(self, seen: Sequence[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Return the mean loss over the views, [N, C, S, S] each, and the share of right ones.

        Of mixed images the first one's label counts as right.
        """
        targets = [labels] * len(seen)
        if self.mixes:
            mix = self.mixes[int(torch.randint(len(self.mixes), ()))]
            seen, targets = zip(*(mix(view, labels) for view in seen), strict=True)
        logits = torch.cat(logits_of(self.model, seen)).float()
        loss = F.cross_entropy(logits, torch.cat(targets), label_smoothing=self.smoothing)
        right = (logits.argmax(1) == labels.repeat(len(seen))).float().mean()
        return {"loss": loss, "accuracy": 100 * right}


def pretrain(
    model: Classifier, images: ImageSet | Deferred, recipe: PretrainRecipe, *,
    seed: int, device: str = "cpu", folder: Path | None = None, on_step: OnStep | None = None,
    checkpoint_every: int = 1000,
) -> tuple[Classifier, Curve]:  # fmt: skip
    """Train ``model`` in place, as the recipe's type says; return it, in eval mode, and its curve.

    ``model`` is what `pretrained.started` gives, with the images' number of classes where labels
    are learned from. MoCo leaves its head as it was, and looks at no label. ``folder`` and
    ``on_step`` are as in `loop.train`; `machine.telling` makes an ``on_step`` that shows progress.

    Raises:
        InputError: if model, images and recipe do not fit together, or the folder is of another
            run.
        TrainingError: if the loss is no longer finite.
    """
    pixels = deferred(images)
    run = {"start": pretrained.fingerprint(model), "method": method_of(recipe)}
    how = {"run": run, "seed": seed, "device": device, "folder": folder, "on_step": on_step}
    how["checkpoint_every"] = checkpoint_every
    if len(pixels):
        check_views(model, pixels, recipe.views)
    if isinstance(recipe, SupervisedRecipe):
        if model.num_classes != pixels.num_classes:
            raise InputError(
                f"'{pixels.name}' has {pixels.num_classes} classes and the model knows "
                f"{model.num_classes}; start it with as many"
            )
        return model, train(Supervised(model, recipe), pixels, recipe, **how)
    if len(pixels) >= recipe.batch_size:  # of fewer `train` has to say
        check_queue(recipe, len(pixels), pixels.name)
    learner = Moco(model, recipe, seed=seed)
    try:
        curve = train(learner, pixels, recipe, **how)
    finally:
        learner.restored()
    return model, curve


def method_of(recipe: PretrainRecipe) -> str:
    """Return the name of the method that a recipe is of, as rows have it."""
    return "supervised" if isinstance(recipe, SupervisedRecipe) else "mocov2"


def made(
    backbone: str, images: ImageSet | Deferred, recipe: PretrainRecipe, *,
    start: str = pretrained.RANDOM, seed: int, device: str = "cpu", on_step: OnStep | None = None,
    checkpoint_every: int = 1000,
) -> Path:  # fmt: skip
    """Return the folder of a pretrained backbone (`pretrained.load`): kept, or trained now.

    It is kept under the weights of its ``start`` (as in `pretrained.started`), the recipe, the
    images and the seed, and so the folder of one pretraining may be the start of another. A
    training that was stopped goes on.
    """
    pixels = deferred(images)
    if not len(pixels):
        raise InputError(f"'{pixels.name}' has no images to pretrain on; give some")
    _, _, wide, channels = pixels.read(np.zeros(1, np.int64)).shape
    side = recipe.views.global_size or wide
    shape = {"num_classes": pixels.num_classes, "channels": channels, "image_size": side}
    model = pretrained.started(backbone, start, seed=seed, **shape)
    key = {
        "backbone": backbone, "start": pretrained.fingerprint(model), "images": pixels,
        "method": method_of(recipe), "recipe": asdict(recipe), "seed": seed,
    }  # fmt: skip

    def build(folder: Path) -> None:
        how = {"seed": seed, "device": device, "folder": folder / "checkpoints"}
        more = {"on_step": on_step, "checkpoint_every": checkpoint_every}
        _, curve = pretrain(model, pixels, recipe, **how, **more)
        data = {
            "name": pixels.name, "images": len(pixels), "classes": pixels.num_classes,
            "fingerprint": pixels.fingerprint(),
        }  # fmt: skip
        about = {
            "method": method_of(recipe), "start": start, "data": data, "seed": seed,
            "steps": steps_of(recipe, len(pixels)), "recipe": asdict(recipe),
            "curve": curve.points,
        }  # fmt: skip
        pretrained.save(model, folder, image_size=side, about=about)
        sums.remove(folder / "checkpoints")

    return cached("pretrained", key, build, device)
