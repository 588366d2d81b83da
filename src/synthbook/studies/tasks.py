"""What a pretrained network learns at last, from the cache: to name photographs, or to find things.

The same recipe for every start, so that only its weights differ (study `ready`, Tables 8 to 11).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthbook.machine import telling
from synthbook.measure.average_precision import Rule, mean_average_precision
from synthbook.recognize.detect import DetectRecipe, detect, train_detector
from synthbook.recognize.detectors import DetectorRecipe, create_detector
from synthbook.recognize.finetune import FinetuneRecipe, finetune, steps_in_all
from synthbook.recognize.pretrained import fingerprint
from synthbook.store import atomic_write, cached

if TYPE_CHECKING:
    from synthbook.data.boxed import Boxed
    from synthbook.recognize.models import Classifier
    from synthbook.studies.clones_by_name import Images

RESULT, BEGUN = "result.json", "begun"
SHOWN = 6  # test images whose detections are kept


def named(
    start: Classifier, images: Images, validation: Images, test: Images, recipe: FinetuneRecipe, *,
    seed: int, device: str,
) -> dict[str, Any]:  # fmt: skip
    """Return how a network learns to name images: "top1" on test images in percent, and its curve.

    "points" are those of `finetune`, of the "rate" that was chosen.
    """
    key = {"start": fingerprint(start), "images": images, "validation": validation, "test": test,
           "recipe": recipe, "seed": seed}  # fmt: skip

    def build(folder: Path) -> None:
        tell = telling(f"finetuning {start.name}, steps", steps_in_all(recipe, len(images)))
        told = finetune(
            start, images, validation, test, recipe, seed=seed, device=device, on_step=tell,
            folder=folder / BEGUN,
        )  # fmt: skip
        points = told.curves[told.rate].points
        _keep(folder, {"top1": told.last, "rate": told.rate, "points": points})

    return _read(cached("finetuned", key, build, device))


def found(
    start: Classifier, images: Boxed, test: Boxed, detector: DetectorRecipe, recipe: DetectRecipe,
    *, rule: Rule, seed: int, device: str,
) -> dict[str, Any]:  # fmt: skip
    """Return how a network learns to find things: "ap50" on test images, in percent.

    "losses" are those of all steps, and "shown" the detections in the first `SHOWN` test images.
    """
    key = {"start": fingerprint(start), "images": images, "test": test, "detector": detector,
           "recipe": recipe, "rule": rule, "seed": seed}  # fmt: skip

    def build(folder: Path) -> None:
        model = create_detector(start, num_classes=images.num_classes, recipe=detector, seed=seed)
        tell = telling(f"learning to find things with {start.name}, steps", recipe.steps)
        model, losses = train_detector(
            model, images, recipe, seed=seed, device=device, on_step=tell, folder=folder / BEGUN
        )
        every = detect(model, test, device=device)
        shown = [
            {name: getattr(one, name).tolist() for name in ("boxes", "labels", "scores")}
            for one in every[:SHOWN]
        ]
        value = mean_average_precision(every, test, rule=rule)
        _keep(folder, {"ap50": value, "losses": losses, "shown": shown})

    return _read(cached("detected", key, build, device))


def _keep(folder: Path, told: dict[str, Any]) -> None:
    with atomic_write(folder / RESULT) as stream:
        json.dump(told, stream)
    shutil.rmtree(folder / BEGUN, ignore_errors=True)


def _read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / RESULT).read_text(encoding="utf-8"))
