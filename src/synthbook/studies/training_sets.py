"""The images of each source, in sets of equal size, and the classifiers trained on them."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.data import ImageSet, Splits, few_shot
from synthbook.gans.recipes import GanRecipe
from synthbook.generate import own
from synthbook.generate.clones import Sampler, clone, filtered_clone
from synthbook.generate.generators import FAMILIES, Generator, trained
from synthbook.generate.unet import DiffusionRecipe
from synthbook.machine import say, telling
from synthbook.randomness import derive
from synthbook.recognize.models import create_classifier
from synthbook.recognize.predict import predict
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import History, fit
from synthbook.settings import source_paths
from synthbook.store import atomic_write, cached
from synthbook.studies.gap import REAL

if TYPE_CHECKING:
    from synthbook.recognize.models import Classifier

FALLBACKS = (0.65, 0.5, 0.0)  # confidences of the filter where the one asked for is out of reach


@dataclass(frozen=True)
class Network:
    """Which classifier is trained, from which weights, and how."""

    backbone: str
    pretrained: bool
    recipe: Recipe
    precision: str = "float32"

    def fresh(self, images: ImageSet, *, seed: int) -> Classifier:
        """Return an untrained one for ``images``; equal seeds give equal initial weights."""
        return create_classifier(
            self.backbone, num_classes=images.num_classes, channels=images.channels, seed=seed,
            image_size=self.recipe.input_size or images.image_size, pretrained=self.pretrained,
        )  # fmt: skip

    def reading(self, device: str) -> dict[str, Any]:
        """Return how images are shown to a trained one, as options of ``recognize.predict``."""
        return {"device": device, "input_size": self.recipe.input_size}

    def train(
        self, streams: ImageSet | Mapping[str, ImageSet], *, seed: int, device: str = "cpu",
        validation: ImageSet | None = None,
    ) -> tuple[Classifier, History]:  # fmt: skip
        """Return a fresh one, trained, with the last epoch's weights, and its curves.

        Of several streams, every step has a batch each.
        """
        first = streams if isinstance(streams, ImageSet) else next(iter(streams.values()))
        model = self.fresh(first, seed=seed)
        tell = telling(f"training {self.backbone}, epochs", self.recipe.epochs)
        history = fit(
            model, streams, self.recipe, seed=seed, device=device,
            validation=validation, precision=self.precision,
            on_epoch=lambda epoch, _: tell(epoch + 1),
        )  # fmt: skip
        return model, history


def classifier_recipe(p: Mapping[str, Any]) -> Recipe:
    """Return the recipe that a chapter's parameters spell out: ``epochs`` and the like."""
    return _filled(Recipe, p)


def _filled(kind: type, given: Mapping[str, Any]) -> Any:
    names = (field.name for field in dataclasses.fields(kind))
    return kind(**{name: given[name] for name in names if name in given})


def network_of(p: Mapping[str, Any]) -> Network:
    """Return the classifier that a chapter's parameters spell out."""
    precision = p.get("precision", "float32")
    return Network(p["backbone"], p["pretrained"], classifier_recipe(p), precision)


def generator_recipe(family: str, p: Mapping[str, Any]) -> DiffusionRecipe | GanRecipe:
    """Return the recipe of a family out of parameters such as ``diffusion_steps``.

    The weights are averaged over about the last twelfth of the training, however long.
    """
    prefix, kind = f"{family}_", FAMILIES[family].recipe
    given = {name.removeprefix(prefix): p[name] for name in p if name.startswith(prefix)}
    given |= {name: p[name] for name in ("flip", "precision") if name in p}
    if family == "gan" and "learning_rate" in given:  # one for both networks
        for network in ("generator", "discriminator"):
            given[f"{network}_learning_rate"] = given["learning_rate"]
    given.setdefault("ema_decay", max(0.9, 1 - 12 / given["steps"]))
    return _filled(kind, given)


def generator(
    family: str, real: Splits, p: Mapping[str, Any], *, seed: int, device: str = "cpu"
) -> Sampler:
    """Return generator number ``seed`` mod ``p["generators"]`` of a family, trained or cached.

    It is trained on the real training split only. A source of the reader's own is opened anew.
    """
    if path := source_paths(p["sources"]).get(family):
        return own.opened(family, path, real.train, device=device)
    recipe = generator_recipe(family, p)
    return _trained(family, real.train, recipe, seed=seed % p["generators"], device=device)


def _trained(
    family: str, images: ImageSet, recipe: DiffusionRecipe | GanRecipe, **how: Any
) -> Generator:
    on_step = telling(f"training the {family} generator", recipe.steps)
    return trained(family, images, recipe, on_step=on_step, **how)


def sampling(model: Sampler, p: Mapping[str, Any]) -> dict[str, float]:
    """Return the settings of ``model.sample`` that it takes; without classes, no guidance."""
    if model.family == "gan" or isinstance(model, own.Images):
        return {}
    return {
        "guidance_scale": p["guidance_scale"] if model.conditional else 1.0,
        "num_inference_steps": p["num_inference_steps"],
    }


@dataclass(frozen=True)
class TrainingSet:
    """A source's images: those to train on, and others of it that nothing was trained on.

    ``info`` holds the counts of the filter (``clones.filtered_clone``); {} for real images.
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
    Real images are the training and the test split. A generator's, half of them for training,
    half held out, are samples of which a classifier that was trained on all real images is surer
    than ``p["confidence"]`` (Wang et al., WACV 2024, Sec. 3.2). Families in ``p["unconditional"]``
    are sampled without a class and get the one that this classifier sees. A reader's own images
    are drawn without replacement and pass the same filter. Where a class cannot be filled, the
    confidence falls to the largest of `FALLBACKS` that fills it, and ``info`` says so.
    """
    chosen = real.train
    if p.get("set_size"):
        chosen = few_shot(real.train, max(1, p["set_size"] // chosen.num_classes), seed=seed)

    @cache
    def judge() -> Classifier:
        return network_of(p).train(real.train, seed=derive(seed, "filter"), device=device)[0]

    sets, how = {}, {"judge": judge, "seed": seed, "device": device}
    for name in source_paths(p["sources"]):
        if name == REAL:
            sets[name] = TrainingSet(chosen, real.test, {})
        else:
            model = generator(name, real, p, seed=seed, device=device)
            sets[name] = _filtered(model, real.train, len(chosen), p, **how)
    return sets


def clone_of_few(
    family: str, few: ImageSet, p: Mapping[str, Any], *, count: int, seed: int, device: str = "cpu"
) -> ImageSet:
    """Return ``count`` images of a generator that has seen the ``few`` real images and no other.

    It is trained for ``p["few_steps"]`` steps at most. No filter chooses among its images, because
    the filter's classifier would know other real images; the classes are those asked for.
    """
    steps = min(p[f"{family}_steps"], p["few_steps"])
    recipe = generator_recipe(family, {**p, f"{family}_steps": steps})
    model = _trained(family, few, recipe, seed=seed, device=device)
    seed = derive(seed, "clone of few", family)
    images = clone(model, few, count=count, seed=seed, **sampling(model, p))
    return ImageSet(images.images, images.labels, few.classes, family)


def _filtered(
    model: Sampler, like: ImageSet, count: int, p: Mapping[str, Any], *,
    judge: Callable[[], Classifier], seed: int, device: str,
) -> TrainingSet:  # fmt: skip
    network = network_of(p)
    how = {"confidence": p["confidence"], **sampling(model, p)}
    how["unconditional"] = model.family in p["unconditional"] or not model.conditional
    key = {"generator": model.key, "count": count, "seed": seed}
    key |= {"judge": dataclasses.asdict(network)} | how

    def build(folder: Path) -> None:
        def probabilities(images: np.ndarray) -> np.ndarray:
            logits = predict(judge(), images, **network.reading(device))
            return logits.softmax(1).cpu().numpy()

        kept, info = filtered_clone(
            model, like, probabilities, count=2 * count, most_drawn=50, fallbacks=FALLBACKS,
            seed=derive(seed, "clone", model.family), **how,
        )  # fmt: skip
        if info["confidence"] < p["confidence"]:
            say(
                f"at confidence {p['confidence']:g} the filter leaves too few {model.family} "
                f"images of a class; it is {info['confidence']:g} for them"
            )
        with atomic_write(folder / "clone.npz", "wb") as stream:
            np.savez(stream, images=kept.images, labels=kept.labels)
        with atomic_write(folder / "info.json") as stream:
            json.dump(info, stream, indent=1)

    folder = cached("clones", key, build, device)
    with np.load(folder / "clone.npz") as arrays:
        images, labels = arrays["images"], arrays["labels"]
    halves = (
        ImageSet(images[half], labels[half], like.classes, model.family)
        for half in _halves(labels, count)
    )
    return TrainingSet(*halves, json.loads((folder / "info.json").read_text()))


def _halves(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of the first half of each class, ``count`` in all, and of the rest.

    Classes of even size are cut in the middle, which all are without ``set_size``; of many odd
    ones, one may be cut two or more images off it.
    """
    counters = defaultdict(itertools.count)
    place = np.array([next(counters[k]) for k in labels.tolist()])
    order = np.argsort(place % 2, kind="stable")  # even places of a class first, then odd ones
    return np.sort(order[:count]), np.sort(order[count:])
