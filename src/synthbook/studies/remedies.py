"""What the chapters on remedies share: parameters in, a classifier trained by a method out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from synthbook.errors import InputError
from synthbook.recognize.methods import Settings, Task, train, updates_of
from synthbook.recognize.methods.guide import Guide, create_guide
from synthbook.recognize.models import Classifier, create_classifier
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import History
from synthbook.studies.training_sets import classifier_recipe

if TYPE_CHECKING:
    from synthbook.data import ImageSet

__all__ = ["guide_of", "remedy", "settings_of", "updates_of"]


def settings_of(p: Mapping[str, Any], **changes: Any) -> Settings:
    """Return the settings that a chapter's parameters spell out: ``lambda_1``, ``distance``, ...

    Args:
        p: parameters; names that are no field of ``Settings`` are not read.
        changes: fields to set in their place.

    Raises:
        InputError: for a value out of range.
    """
    names = [field.name for field in dataclasses.fields(Settings)]
    return Settings(**({name: p[name] for name in names if name in p} | changes))


def guide_of(p: Mapping[str, Any], *, channels: int, device: str = "cpu") -> Guide:
    """Return the frozen network that ``guide_backbone`` and its like ask for.

    Args:
        p: ``guide_backbone``, ``guide_input_size`` and, false for a control, ``guide_pretrained``.
        channels: of the images that it will see.
        device: where it lies.

    Raises:
        InputError: for an unknown name, missing weights, or a size that it cannot take.
    """
    return create_guide(
        p["guide_backbone"],
        channels=channels,
        input_size=p["guide_input_size"],
        pretrained=p.get("guide_pretrained", True),
        device=device,
    )


def remedy(
    p: Mapping[str, Any],
    name: str,
    *,
    updates: int,
    seed: int,
    real: ImageSet | None = None,
    synthetic: ImageSet | None = None,
    guide: Guide | None = None,
    settings: Settings | None = None,
    recipe: Recipe | None = None,
    backbone: str | None = None,
    pretrained: bool | None = None,
    device: str = "cpu",
) -> tuple[Classifier, History]:
    """Train a fresh classifier by a method of ``METHODS``; return it and its curves.

    Equal seeds give equal initial weights whatever the method and the images are. The last
    update's weights are kept.

    Args:
        p: a chapter's parameters; the arguments that are None are read from it.
        name: of the method.
        updates: optimiser steps, the same for all methods that are compared (``updates_of``).
        seed: of the initial weights and of every draw of the training.
        real, synthetic: what the method trains on; None: it has none of these.
        guide: the frozen network, where the method needs one.
        settings: of the method; None: ``settings_of(p)``.
        recipe: of a stage; its ``epochs`` are not read. None: ``classifier_recipe(p)``.
        backbone, pretrained: of the classifier; None: those of ``p``.
        device: where to train.

    Raises:
        InputError: for an unknown name, or images or a guide that the method lacks.
        TrainingError: if a loss is not finite.
    """
    images = synthetic if synthetic is not None else real
    if images is None:
        raise InputError(f"method '{name}' has no images to train on; give real or synthetic ones")
    recipe = recipe or classifier_recipe(p)
    model = create_classifier(
        backbone or p["backbone"],
        num_classes=images.num_classes,
        channels=images.channels,
        image_size=recipe.input_size or images.image_size,
        pretrained=p["pretrained"] if pretrained is None else pretrained,
        seed=seed,
    )
    task = Task(
        recipe=recipe,
        updates=updates,
        seed=seed,
        real=real,
        synthetic=synthetic,
        guide=guide,
        settings=settings or settings_of(p),
        device=device,
        precision=p.get("precision", "float32"),
    )
    return model, train(name, model, task)
