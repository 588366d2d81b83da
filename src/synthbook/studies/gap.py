"""What the chapters on real and generated images share: parameters in, trained things out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.data import ImageSet, Splits, few_shot
from synthbook.gans.train import GanRecipe
from synthbook.generate.generators import FAMILIES, Source, filtered_clone, trained
from synthbook.generate.unet import DiffusionRecipe
from synthbook.randomness import derive
from synthbook.recognize.models import create_classifier
from synthbook.recognize.predict import predict
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import History, fit
from synthbook.store import atomic_write, cached

if TYPE_CHECKING:
    from torch import nn

REAL = "real"


def classifier_recipe(p: Mapping[str, Any]) -> Recipe:
    """Return the recipe that a chapter's parameters spell out: ``epochs`` and the like."""
    names = [field.name for field in dataclasses.fields(Recipe)]
    return Recipe(**{name: p[name] for name in names if name in p})


def generator_recipe(family: str, p: Mapping[str, Any]) -> DiffusionRecipe | GanRecipe:
    """Return the recipe of a family out of parameters such as ``diffusion_steps``.

    The weights are averaged over about the last twelfth of the training, so that a longer
    training does not need another ``ema_decay``.
    """
    kind = {"diffusion": DiffusionRecipe, "gan": GanRecipe}[family]
    names = [field.name for field in dataclasses.fields(kind)]
    given = {name: p[f"{family}_{name}"] for name in names if f"{family}_{name}" in p}
    given |= {name: p[name] for name in ("flip", "precision") if name in p}
    if family == "gan" and "learning_rate" in (rate := _after("gan_", p)):
        given["generator_learning_rate"] = rate["learning_rate"]
        given["discriminator_learning_rate"] = rate["learning_rate"]
    given.setdefault("ema_decay", max(0.9, 1 - 12 / given["steps"]))
    return kind(**given)


def _after(prefix: str, p: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): p[name] for name in p if name.startswith(prefix)}


def generator(
    family: str, real: Splits, p: Mapping[str, Any], *, seed: int, device: str = "cpu"
) -> Source:
    """Return generator number ``seed`` mod ``p["generators"]`` of a family, trained or cached.

    It is trained on the real training split only.
    """
    return trained(
        family,
        real.train,
        generator_recipe(family, p),
        seed=seed % p["generators"],
        device=device,
        guidance_scale=p["guidance_scale"],
        num_inference_steps=p["num_inference_steps"],
    )


def train_classifier(
    p: Mapping[str, Any],
    streams: ImageSet | Mapping[str, ImageSet],
    *,
    seed: int,
    device: str = "cpu",
    validation: ImageSet | None = None,
) -> tuple[nn.Module, History]:
    """Train a fresh classifier by a chapter's parameters; return it and its curves.

    Equal seeds give equal initial weights whatever the images are, so that what two sources teach
    is compared from the same start. The last epoch's weights are kept.
    """
    first = streams if isinstance(streams, ImageSet) else next(iter(streams.values()))
    model = create_classifier(
        p["backbone"],
        num_classes=first.num_classes,
        channels=first.channels,
        image_size=p.get("input_size") or first.image_size,
        pretrained=p["pretrained"],
        seed=seed,
    )
    history = fit(
        model,
        streams,
        classifier_recipe(p),
        seed=seed,
        device=device,
        validation=validation,
        precision=p.get("precision", "float32"),
    )
    return model, history


@dataclass(frozen=True)
class TrainingSet:
    """A source's images: those to train on, and others of it that nothing was trained on.

    ``info`` holds the counts of the filter (``sources.filtered_clone``); {} for real images.
    """

    train: ImageSet
    held_out: ImageSet
    info: dict[str, Any]


def training_sets(
    real: Splits, p: Mapping[str, Any], *, seed: int, device: str = "cpu"
) -> dict[str, TrainingSet]:
    """Return the images of each source in ``p["sources"]``, all with as many training images.

    That is as many as there are real ones, or ``p["set_size"]`` of each source where that is set:
    of the real ones equally many a class, drawn by ``seed``, of a generator's in the proportions
    of all real ones. Generators and filter know all real images.
    Real images are the training and the test split. A generator's are samples that passed the
    filter of Wang et al. (WACV 2024, Sec. 3.2): a classifier trained on the real images is surer
    of a class than ``p["confidence"]``; families in ``p["unconditional"]`` are sampled without a
    class and get the classifier's. Half of the samples are for training, half are held out.
    """
    chosen = real.train
    if p.get("set_size"):
        chosen = few_shot(real.train, max(1, p["set_size"] // chosen.num_classes), seed=seed)
    found = {}
    for name in p["sources"]:
        if name == REAL:
            found[name] = TrainingSet(chosen, real.test, {})
        else:
            found[name] = _clone(name, len(chosen), real, p, seed=seed, device=device)
    return found


def _clone(
    family: str, count: int, real: Splits, p: Mapping[str, Any], *, seed: int, device: str
) -> TrainingSet:
    source = generator(family, real, p, seed=seed, device=device)
    unconditional = family in p["unconditional"]
    key = {
        "source": source.folder.name,
        "sampling": [source.guidance_scale, source.num_inference_steps, unconditional],
        "count": count,
        "confidence": p["confidence"],
        "classifier": [p["backbone"], p["pretrained"], dataclasses.asdict(classifier_recipe(p))],
        "seed": seed,
    }

    def build(folder: Path) -> None:
        judge, _ = train_classifier(p, real.train, seed=derive(seed, "filter"), device=device)

        def label(images: np.ndarray) -> np.ndarray:
            logits = predict(judge, images, device=device, input_size=p.get("input_size", 0))
            return logits.softmax(1).cpu().numpy()

        kept, info = filtered_clone(
            source,
            real.train,
            label,
            count=2 * count,
            confidence=p["confidence"],
            unconditional=unconditional,
            seed=derive(seed, "clone", family),
            most_drawn=50,
        )
        with atomic_write(folder / "clone.npz", "wb") as stream:
            np.savez(stream, images=kept.images, labels=kept.labels)
        with atomic_write(folder / "info.json") as stream:
            json.dump(info, stream, indent=1)

    folder = cached("clones", key, build, device)
    with np.load(folder / "clone.npz") as arrays:
        images, labels = arrays["images"], arrays["labels"]
    halves = [
        ImageSet(images[part], labels[part], real.train.classes, family)
        for part in _halves(labels, count)
    ]
    return TrainingSet(*halves, json.loads((folder / "info.json").read_text()))


def _halves(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of the first half of each class, ``count`` in all, and of the rest.

    Classes of even size are cut in the middle, which all are without ``set_size``; of many odd
    ones, one may be cut two or more images off it.
    """
    place = np.empty(len(labels), dtype=np.int64)
    for k in np.unique(labels):
        members = np.flatnonzero(labels == k)
        place[members] = np.arange(len(members))
    # Even places first, then odd ones.
    order = np.lexsort((np.arange(len(labels)), place % 2))
    return np.sort(order[:count]), np.sort(order[count:])


__all__ = [
    "FAMILIES",
    "REAL",
    "TrainingSet",
    "classifier_recipe",
    "generator",
    "generator_recipe",
    "train_classifier",
    "training_sets",
]
