"""The images of each source, in sets of equal size, and the classifiers trained on them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import load_model, save_model

from synthbook.data import ImageSet, Splits, few_shot
from synthbook.generate import models, own
from synthbook.generate.banks import Bank
from synthbook.generate.clones import Sampler, class_shares, clone, filtered_clone
from synthbook.machine import say, telling
from synthbook.randomness import derive
from synthbook.recognize.models import create_classifier
from synthbook.recognize.predict import predict
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import History, fit
from synthbook.settings import source_paths
from synthbook.store import atomic_write, cached
from synthbook.studies import needs
from synthbook.studies.image_sources import made_for_each
from synthbook.studies.rows import REAL

if TYPE_CHECKING:
    from synthbook.recognize.models import Classifier

FALLBACKS = (0.65, 0.5, 0.0)  # confidences of the filter where the one asked for is out of reach
KEPT = "small_cnn"  # the classifier that is kept; others would fill a disk
MOST_DRAWN = 10  # images a wanted one that the filter may look at


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

        Of several streams, every step has a batch each. A small network trained on one set is kept
        and read again by whoever asks for the same, as chapters 12 to 14 do.
        """
        how = {"seed": seed, "device": device, "validation": validation}
        if self.backbone != KEPT or not isinstance(streams, ImageSet):
            return self._train(streams, **how)
        key = {"network": self, "images": streams, "validation": validation, "seed": seed}

        def build(folder: Path) -> None:
            model, history = self._train(streams, **how)
            save_model(model, str(folder / "model.safetensors"))
            with atomic_write(folder / "history.json") as stream:
                json.dump(dataclasses.asdict(history), stream)

        folder = cached("classifiers", key, build, device)
        model = self.fresh(streams, seed=seed)
        load_model(model, str(folder / "model.safetensors"))
        curves = json.loads((folder / "history.json").read_text())
        curves = {name: tuple(x) if isinstance(x, list) else x for name, x in curves.items()}
        return model.to(device), History(**curves)

    def _train(
        self, streams: ImageSet | Mapping[str, ImageSet], *, seed: int, device: str,
        validation: ImageSet | None,
    ) -> tuple[Classifier, History]:  # fmt: skip
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
    names = (field.name for field in dataclasses.fields(Recipe))
    return Recipe(**{name: p[name] for name in names if name in p})


def network_of(p: Mapping[str, Any]) -> Network:
    """Return the classifier that a chapter's parameters spell out."""
    precision = p.get("precision", "float32")
    return Network(p["backbone"], p["pretrained"], classifier_recipe(p), precision)


def generator(
    family: str, real: Splits, p: Mapping[str, Any], *, seed: int, device: str = "cpu"
) -> Sampler:
    """Return generator number ``seed`` mod ``p["generators"]`` of a family, as it is kept.

    It was trained on the real training split only. A family that knows images without a class is
    guided by ``p["guidance_scale"]``. A source of the reader's own is opened anew.

    Raises:
        InputError: if no such model is kept.
    """
    if path := source_paths(p["sources"]).get(family):
        return own.opened(family, path, real.train, device=device)
    number = seed % p["generators"]
    if model := _kept(family, real.train, number, device):
        return Bank(model, p["guidance_scale"] if model.unconditional else 1.0)
    raise needs.not_kept(family, number, p)


def _kept(family: str, images: ImageSet, number: int, device: str) -> models.Generator | None:
    return models.find(family, images.fingerprint(), images.classes, seed=number, device=device)


def sampling(model: Sampler, p: Mapping[str, Any]) -> dict[str, float]:
    """Return the settings of ``model.sample``: only a reader's own pipeline takes any.

    Without classes, there is no guidance.
    """
    if not isinstance(model, own.Pipeline):
        return {}
    return {"guidance_scale": p["guidance_scale"] if model.conditional else 1.0}


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

    These are as many of each class as of real images: all of them, or, where ``p["set_size"]`` is
    set, equally many a class, drawn by ``seed`` and no more than the smallest class has. Chapter
    16 has more of a generator where more are asked for and the real ones are not few
    (`made_for_each`). Real images are the training and the test split. A generator's, and those
    that are held out, half as many as the real ones, are samples of which a classifier that was
    trained on all real images is surer than ``p["confidence"]`` (Wang et al., WACV 2024, Sec. 3.2);
    generator and filter know all real images. Families in ``p["unconditional"]`` are sampled
    without a class and get the one that this classifier sees. All are drawn without replacement.
    Where a class cannot be filled by `MOST_DRAWN` times as many samples, the confidence falls to
    the largest of `FALLBACKS` that fills it, and ``info`` says so.
    """
    chosen = equal_a_class(real.train, p.get("set_size", 0), seed=seed)

    how = {"seed": seed, "device": device}
    judge = cache(partial(classifier_of_all, real, p, **how))
    names = list(source_paths(p["sources"]))
    asked = {name: generator(name, real, p, **how) for name in names if name != REAL}
    key = {"real": real.train.fingerprint()}
    return {
        name: _filtered(asked[name], chosen, p, judge=judge, key=key, **how)
        if name in asked
        else TrainingSet(chosen, real.test, {})
        for name in names
    }


def classifier_of_all(
    real: Splits, p: Mapping[str, Any], *, seed: int, device: str = "cpu"
) -> Classifier:
    """Return a classifier trained on all real training images: the filter's."""
    return network_of(p).train(real.train, seed=derive(seed, "filter"), device=device)[0]


def equal_a_class(images: ImageSet, count: int, *, seed: int) -> ImageSet:
    """Return ``count`` images, equally many a class, or the most that there are; 0: all."""
    if not count:
        return images
    least = int(images.counts().min())
    return few_shot(images, min(least, max(1, count // images.num_classes)), seed=seed)


def clone_of_few(
    family: str, few: ImageSet, p: Mapping[str, Any], *, count: int, seed: int, device: str = "cpu"
) -> ImageSet:
    """Return ``count`` images of a generator that has seen the ``few`` real images and no other.

    It is model number ``seed`` of them, as it is kept. No filter chooses among its images, because
    the filter's classifier would know other real images; the classes are those asked for.

    Raises:
        InputError: if no such model is kept.
    """
    model = _kept(family, few, seed, device)
    if model is None:
        raise needs.not_kept_of_few(family, seed, len(few), p)
    images = clone(Bank(model), few, count=count, seed=derive(seed, "clone of few", family))
    return ImageSet(images.images, images.labels, few.classes, family)


def _filtered(
    model: Sampler, chosen: ImageSet, p: Mapping[str, Any], *,
    judge: Callable[[], Classifier], key: Mapping[str, Any], seed: int, device: str,
) -> TrainingSet:  # fmt: skip
    """Return as many images of each class as are ``chosen``, and half as many held out.

    Of the former there are more by the factor `made_for_each`, rounded up.
    """
    network, count = network_of(p), len(chosen)
    wanted = np.ceil(made_for_each(p) * chosen.counts() - 1e-9).astype(np.int64)
    how = {"confidence": p["confidence"], "most_drawn": MOST_DRAWN, **sampling(model, p)}
    how["unconditional"] = model.family in p["unconditional"] or not model.conditional
    shares = (wanted + class_shares(chosen, max(1, count // 2))).tolist()
    key = {"generator": model.key, "shares": shares, "seed": seed, "fallbacks": FALLBACKS} | {**key}
    key |= {"judge": dataclasses.asdict(network)} | how

    def build(folder: Path) -> None:
        def probabilities(images: np.ndarray) -> np.ndarray:
            logits = predict(judge(), images, **network.reading(device))
            return logits.softmax(1).cpu().numpy()

        kept, info = filtered_clone(
            model, chosen, probabilities, count=shares, fallbacks=FALLBACKS,
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
    parts = (
        ImageSet(images[part], labels[part], chosen.classes, model.family)
        for part in _first_of_each(labels, wanted)
    )
    return TrainingSet(*parts, json.loads((folder / "info.json").read_text()))


def _first_of_each(labels: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of the first ``counts[k]`` images of each class k, and of the rest."""
    first = np.zeros(len(labels), dtype=bool)
    for k, count in enumerate(counts):
        first[np.flatnonzero(labels == k)[:count]] = True
    return np.flatnonzero(first), np.flatnonzero(~first)
