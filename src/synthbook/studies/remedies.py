"""The remedies of the study gap (Wang et al., WACV 2024): the experiments of chapters 15 and 16.

To import this and to check parameters needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import chain, product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from synthbook.data import few_shot
from synthbook.errors import InputError
from synthbook.recognize.methods import keywords_of, train_by
from synthbook.studies.gap import (
    REAL,
    Row,
    Rows,
    check_data,
    check_shots,
    check_sources,
    families_of,
    measured,
)

if TYPE_CHECKING:
    from torch import Tensor

    from synthbook.data import ImageSet, Splits
    from synthbook.recognize.methods.guide import Guide
    from synthbook.recognize.models import Classifier
    from synthbook.recognize.train import History
    from synthbook.studies.training_sets import Network

# The numbers of methods that are parameters of chapters.
NUMBERS = (
    "lambda_1", "lambda_2", "lambda_3", "distance", "similarity", "target", "over", "per_layer",
    "accumulate",
)  # fmt: skip


class Trained(NamedTuple):
    """What came out: the network, its curves, its accuracies (%) on real images by split."""

    model: Classifier
    history: History
    accuracy: dict[str, float]


def guide_of(p: Mapping[str, Any], *, channels: int, device: str = "cpu") -> Guide:
    """Return the frozen network of ``guide_backbone`` and its like, for images of ``channels``."""
    from synthbook.recognize.methods.guide import create_guide

    return create_guide(
        p["guide_backbone"], channels=channels, input_size=p["guide_input_size"],
        pretrained=p.get("guide_pretrained", True), device=device,
    )  # fmt: skip


def numbers_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of ``NUMBERS`` that are given and that the method has."""
    known = keywords_of(name)
    return {number: given[number] for number in NUMBERS if number in given and number in known}


def remedy(
    network: Network, name: str, *, updates: int, seed: int, real: ImageSet | None = None,
    synthetic: ImageSet | None = None, guide: Guide | None = None, device: str = "cpu",
    **numbers: Any,
) -> tuple[Classifier, History]:  # fmt: skip
    """Train a fresh classifier by the method ``name`` of ``METHODS``; return it and its curves.

    Equal seeds give equal initial weights whatever the method and the images are. ``updates`` are
    optimiser steps, the same for all methods that are compared (``updates_of``); the last one's
    weights are kept. ``numbers`` are the method's (``keywords_of``).

    Raises:
        InputError: for an unknown name or number, or images or a guide that the method lacks.
        TrainingError: if a loss is not finite.
    """
    from synthbook.recognize.methods.task import Task

    model = network.fresh(real if synthetic is None else synthetic, seed=seed)
    sets = {"real": real, "synthetic": synthetic, "guide": guide}
    how = {"device": device, "precision": network.precision}
    task = Task(network.recipe, updates, seed, **sets, **how)
    return model, train_by(name, model, task, **numbers)


def _rated(network: Network, name: str, test_on: Splits, *, device: str, **options: Any) -> Trained:
    """Return what ``remedy`` trains, with its accuracies on real validation and test images."""
    from synthbook.recognize.predict import accuracy

    model, history = remedy(network, name, device=device, **options)
    splits = {"val": test_on.val, "test": test_on.test}.items()
    read = network.reading(device)
    return Trained(model, history, {k: accuracy(model, images, **read) for k, images in splits})


# Chapter 15: Pretrained Guidance.

# What network is trained: the guide's architecture from random or ImageNet weights, or another.
OTHER = "other_architecture"
SETTINGS = ("scratch", "pretrained", OTHER)


def check_pretrained_guidance(p: Mapping[str, Any]) -> object:
    """Return a summary of the data; raise InputError for parameters that do not fit together."""
    summary = check_data(p)
    if not families_of(p):
        raise InputError(f"sources = {list(p['sources'])}; give a generator too, as in real,gan")
    if not {"plain", "PG-KL"} <= set(p["methods"]):
        raise InputError(f"methods = {list(p['methods'])}; give plain and PG-KL, as in plain,PG-KL")
    if not set(SETTINGS) & set(p["parts"]):
        raise InputError(
            f"parts = {list(p['parts'])}; give scratch, pretrained or other_architecture too, "
            "which say what network is trained"
        )
    if OTHER in p["parts"] and p["backbone"] == p["guide_backbone"]:
        raise InputError(
            f"backbone = '{p['backbone']}' is the guide's own; for part other_architecture set "
            "another"
        )
    return summary


class PretrainedGuidance:
    """Chapter 15: the methods of Tables 2 and 3 on generated images, beside plain training.

    Attributes:
        families: the generators.
        settings: those of ``SETTINGS`` that are asked for.
        networks: the network in training of each setting.
        guide: the frozen network.
        weights: lambda_3 of PG-KL and of PG-L1.
        reading: of PG-KL: its target, over, distance.
        models: (source, method) -> the network of 'plain' and 'PG-KL' in the last setting, of the
            seed that was run last.
    """

    def __init__(self, p: Mapping[str, Any], real: Splits, *, device: str = "cpu") -> None:
        """Unpack a chapter's parameters; load the guide."""
        from synthbook.studies.training_sets import network_of

        self.p, self.real, self.device = p, real, device
        self.families = families_of(p)
        self.settings = [name for name in SETTINGS if name in p["parts"]]
        self.guide = guide_of(p, channels=real.train.channels, device=device)
        small = network_of(p)
        names = ("epochs", "learning_rate", "input_size")
        recipe = replace(small.recipe, **{name: p[f"large_{name}"] for name in names})
        large = replace(small, backbone=p["guide_backbone"], recipe=recipe)
        starts = {"scratch": False, "pretrained": True}
        self.networks = {k: replace(large, pretrained=on) for k, on in starts.items()}
        self.networks[OTHER] = small
        self.weights = {"PG-KL": p["lambda_3_kl"], "PG-L1": p["lambda_3_l1"]}
        self.reading = {"target": "guide", "over": "row", "distance": p["distance"]}
        self.models: dict[tuple[str, str], Classifier] = {}

    def rows(self, seed: int) -> Rows:
        """Yield the rows of a seed: the tables, then the weight and the other readings."""
        from synthbook.recognize.methods.task import updates_of
        from synthbook.studies.training_sets import training_sets

        sets = training_sets(self.real, self.p, seed=seed, device=self.device)

        @cache  # trained once, whichever parts ask for it
        def trained(setting: str, source: str, name: str, **numbers: Any) -> Trained:
            network, images = self.networks[setting], sets[source].train
            return _rated(
                network, name, self.real, synthetic=images, guide=self.guide, seed=seed,
                updates=updates_of(images, network.recipe), device=self.device, **numbers,
            )  # fmt: skip

        def train(setting: str, source: str, name: str, **changes: Any) -> Trained:
            given = {"distance": self.reading["distance"], "lambda_3": self.weights.get(name)}
            return trained(setting, source, name, **numbers_of(name, given | changes))

        self.models = {}
        for row in chain(self._tables(train), self._ablations(train)):
            yield row | {"seed": seed}

    def similarities(self, images: ImageSet, name: str, source: str = "") -> Tensor:
        """Return how alike a network finds N images: the cosines [N, N] of its features.

        It is that of ``models[source, name]``, or the guide for the name 'guide'.
        """
        import torch

        from synthbook.recognize.methods.pretrained_guidance import cosine
        from synthbook.recognize.predict import features

        network, size = self.guide.network, self.guide.input_size
        if name != "guide":
            network = self.models[source, name]
            size = self.networks[self.settings[-1]].recipe.input_size
        values = features(network, images, device=self.device, input_size=size)
        return cosine(torch.from_numpy(values))

    def _tables(self, train: Callable[..., Trained]) -> Rows:
        """Tables 2 and 3: every method on generated images, and plain training on real ones."""
        for setting, source in product(self.settings, self.p["sources"]):
            for name in self.p["methods"] if source != REAL else ("plain",):
                if name == "CSG" and setting == OTHER:
                    continue
                trained, plain = train(setting, source, name), train(setting, source, "plain")
                if setting == self.settings[-1] and name in ("plain", "PG-KL"):
                    self.models[source, name] = trained.model
                row = self._row("tables", setting, source, name)
                yield from _accuracies(row, trained)
                if name != "plain":
                    cost = trained.history.seconds / plain.history.seconds
                    yield row | {"metric": "relative_cost", "value": cost, "split": "train"}

    def _ablations(self, train: Callable[..., Trained]) -> Rows:
        """The weight of the guidance, and the other readings of its formula."""
        other = {"distance": "l2" if self.reading["distance"] == "cosine" else "cosine"}
        readings = [
            ("PG-KL", self.reading | {"target": "model"}),
            ("PG-KL", self.reading | {"over": "matrix"}),
            ("PG-KL", self.reading | other),
            ("PG-L1", other),
        ]
        p, methods = self.p, [name for name in self.weights if name in self.p["methods"]]
        for source in self.families:
            if "sensitivity" in p["parts"]:
                for setting, name, weight in product(self.settings, methods, p["lambdas"]):
                    row = self._row("sensitivity", setting, source, name, lambda_3=weight)
                    yield from _accuracies(row, train(setting, source, name, lambda_3=weight))
            if "readings" in p["parts"]:
                for name, reading in readings:
                    if name in methods:
                        row = self._row("readings", OTHER, source, name, **reading)
                        yield from _accuracies(row, train(OTHER, source, name, **reading))

    def _row(self, part: str, setting: str, source: str, name: str, **quantities: Any) -> Row:
        """Return what all rows of a training have in common."""
        network = self.networks[setting]
        guide = OTHER if setting == OTHER else "same_architecture"
        return {
            "method": name, "train": source, "test": REAL, "dataset": self.p["data"],
            "backbone": network.backbone, "part": part, "guide": guide,
            "init": "pretrained" if network.pretrained else "scratch", **quantities,
        }  # fmt: skip


def _accuracies(row: Row, trained: Trained, *splits: str) -> Rows:
    """Yield a row a split: of the validation and of the test images, if none is named."""
    for split in splits or ("val", "test"):
        yield row | {"metric": "top1_accuracy", "value": trained.accuracy[split], "split": split}


# Chapter 16: Real Guidance.

WEIGHTS = ("lambda_1", "lambda_2", "lambda_3")
ALL_OURS = "RG+PG-R+PG-F"
# What a part compares, as far as it is asked for; part methods takes all that are.
METHODS_OF = {
    "real_images": ("Aug", "A-GEM", "RG", ALL_OURS, "sum"),
    "sensitivity": (ALL_OURS,),
    "readings": ("RG", "sum", "PCGrad"),
}


def check_real_guidance(p: Mapping[str, Any]) -> object:
    """Return a summary of the data; raise InputError for parameters that do not fit together."""
    for part in p["parts"]:
        known = METHODS_OF.get(part, p["methods"])
        if not set(known) & set(p["methods"]):
            raise InputError(
                f"methods = {list(p['methods'])} has none of those of the part {part}; "
                f"add one of {', '.join(known)}"
            )
    summary = check_sources(p)
    count = check_shots(p, summary, **_shots(p))
    few, ratio = p["shots"] * summary.num_classes or count, p["synthetic_ratio"]
    if ratio * few > count:
        raise InputError(
            f"synthetic_ratio = {ratio:g} asks for {ratio * few:,.0f} generated images and there "
            f"are {count:,}; give at most {count / few:.4g}, or 0 for all"
        )
    return summary


def _shots(p: Mapping[str, Any]) -> dict[str, int]:
    """Return the largest numbers of real images a class that are asked for, by parameter."""
    asked = {"shots": p["shots"]}
    return asked | ({"n_real": max(p["n_real"])} if "real_images" in p["parts"] else {})


class RealGuidance:
    """Chapter 16: the methods of Table 4, on few real images and many generated ones.

    Attributes:
        families: the generators.
        histories: (method, family, seed) -> the curves of those that project, in part methods.
    """

    def __init__(self, p: Mapping[str, Any], real: Splits, *, device: str = "cpu") -> None:
        """Unpack a chapter's parameters, see that classes are large enough; load a guide."""
        from synthbook.studies.training_sets import network_of

        few_shot(real.train, max(1, *_shots(p).values()), seed=0)
        self.p, self.real, self.device = p, real, device
        self.families, self.network, self.guide = families_of(p), network_of(p), None
        if any("PG" in method for method in p["methods"]):
            self.guide = guide_of(p, channels=real.train.channels, device=device)
        self.histories: dict[tuple[str, str, int], History] = {}

    def rows(self, family: str, *, seed: int) -> Rows:
        """Yield the rows of a seed with the images of a generator, part by part."""
        parts = {
            "methods": self._methods, "real_images": self._real_images,
            "sensitivity": self._sensitivity, "readings": self._readings,
        }  # fmt: skip
        train = self._trainer(family, seed)
        where = {"test": REAL, "dataset": self.p["data"], "backbone": self.network.backbone}
        for part, rows in parts.items():
            if part in self.p["parts"]:
                for row in rows(train, family, seed):
                    yield row | {"part": part, "seed": seed, **where}

    def _trainer(self, family: str, seed: int) -> Callable[..., Trained]:
        """Return a function that trains once, whichever parts ask for it."""
        from synthbook.data import at_most
        from synthbook.recognize.methods.task import updates_of
        from synthbook.studies.training_sets import training_sets

        sets = training_sets(self.real, self.p, seed=seed, device=self.device)
        of_real, generated = sets[REAL].train, sets[family].train
        if ratio := self.p["synthetic_ratio"]:  # of ``shots``, also where there are more or fewer
            few = self.p["shots"] * generated.num_classes or len(of_real)
            generated = at_most(generated, max(2, round(ratio * few)), seed=seed)
        updates = updates_of(generated, self.network.recipe)

        @cache
        def trained(method: str, shots: int | None, alone: bool, **numbers: Any) -> Trained:
            few = few_shot(of_real, shots, seed=seed) if shots else of_real
            return _rated(
                self.network, method, self.real, updates=updates, seed=seed,
                real=None if shots is None else few, synthetic=None if alone else generated,
                guide=self.guide, device=self.device, **numbers,
            )  # fmt: skip

        def train(
            method: str, shots: int | None, *, alone: bool = False, **changes: Any
        ) -> Trained:
            """Train on ``shots`` real images a class (0 for all, None for none of them).

            ``alone``: on them alone, without generated ones.
            """
            return trained(method, shots, alone, **numbers_of(method, {**self.p, **changes}))

        return train

    def _methods(self, train: Callable[..., Trained], family: str, seed: int) -> Rows:
        """Table 4: every method on both, plain training on one of them; times and angles."""
        few = self.p["shots"]
        for method in self.p["methods"]:
            trainings = {f"real_few+{family}": {"shots": few}}
            if method == "plain":
                trainings = {family: {"shots": None}}
                if family == self.families[0]:  # no generator is in these
                    trainings["real_few"] = {"shots": few, "alone": True}
                    trainings["real"] = {"shots": 0, "alone": True}
            for source, images in trainings.items():
                trained, row = train(method, **images), {"method": method, "train": source}
                yield from _accuracies(row, trained, "test")
                row["split"] = "train"
                if "Aug" in self.p["methods"]:
                    cost = trained.history.seconds / train("Aug", few).history.seconds
                    yield row | {"metric": "relative_cost", "value": cost}
                if "projected" in trained.history.extra:
                    self.histories[method, family, seed] = trained.history
                    yield from _angles(row, trained.history)

    def _real_images(self, train: Callable[..., Trained], family: str, seed: int) -> Rows:
        """How accuracy changes with the number of real images."""
        for method in METHODS_OF["real_images"]:
            for shots in self.p["n_real"] if method in self.p["methods"] else ():
                row = {"method": method, "train": f"real_n+{family}", "n_real": shots}
                yield from _accuracies(row, train(method, shots), "test")

    def _sensitivity(self, train: Callable[..., Trained], family: str, seed: int) -> Rows:
        """The three weights, one at a time with the others as they are."""
        usual = {name: self.p[name] for name in WEIGHTS}
        points = [usual, *(usual | {name: x} for name in WEIGHTS for x in self.p["lambdas"])]
        for point in {tuple(point.values()): point for point in points}.values():
            row = {"method": ALL_OURS, "train": f"real_few+{family}", **point}
            yield from _accuracies(row, train(ALL_OURS, self.p["shots"], **point))

    def _readings(self, train: Callable[..., Trained], family: str, seed: int) -> Rows:
        """What the other readings of the paper give."""
        readings = [("RG", {"per_layer": False}), ("RG", {"per_layer": True})]
        for method, reading in [*readings, ("sum", {}), ("PCGrad", {})]:
            if method in self.p["methods"]:
                row = {"method": method, "train": f"real_few+{family}", **reading}
                yield from _accuracies(row, train(method, self.p["shots"], **reading), "test")


def _angles(row: Row, history: History) -> Rows:
    """Yield the mean cosine of both gradients and the share of steps with a projection."""
    names = {"mean_cosine": "cosine", "share_projected": "projected"}
    means = {metric: float(np.mean(history.extra[name])) for metric, name in names.items()}
    yield from measured(row, means)
