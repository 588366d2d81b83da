"""The remedies of the study gap (Wang et al., WACV 2024): the experiments of chapters 15 and 16.

To import this, to check parameters and to plan needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from synthbook.data import few_shot
from synthbook.errors import InputError
from synthbook.recognize.backbones import check_backbone
from synthbook.recognize.methods import GUIDE, METHODS, keywords_of, train_by
from synthbook.studies import needs
from synthbook.studies.image_sources import (
    SAME_IMAGES,
    check_data,
    check_shots,
    check_sources,
    families_of,
    trained_here,
    training_images,
)
from synthbook.studies.plans import (
    ACCURACY,
    Cell,
    Choice,
    Experiment,
    Train,
    Trained,
    Training,
    method_settings,
    metrics_of,
)
from synthbook.studies.rows import REAL, Row

if TYPE_CHECKING:
    from torch import Tensor

    from synthbook.data import ImageSet, Splits, Summary
    from synthbook.recognize.methods.guide import Guide
    from synthbook.recognize.models import Classifier
    from synthbook.recognize.train import History
    from synthbook.studies.training_sets import Network


# One training by a method, which the audit of a reader's own images does too.


def guide_of(p: Mapping[str, Any], *, channels: int, device: str = "cpu") -> Guide:
    """Return the frozen network of ``guide_backbone`` and its like, for images of ``channels``."""
    from synthbook.recognize.methods.guide import create_guide

    return create_guide(
        p["guide_backbone"], channels=channels, input_size=p["guide_input_size"],
        pretrained=p.get("guide_pretrained", True), device=device,
    )  # fmt: skip


def numbers_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the given numbers that the method has."""
    known = keywords_of(name)
    return {number: value for number, value in given.items() if number in known}


def remedy(
    network: Network, name: str, *, updates: int, seed: int, real: ImageSet | None = None,
    synthetic: ImageSet | None = None, guide: Guide | None = None, device: str = "cpu",
    **numbers: Any,
) -> tuple[Classifier, History]:  # fmt: skip
    """Train a fresh classifier by the method ``name`` of ``METHODS``; return it and its curves.

    Equal seeds give equal initial weights whatever the method and the images are. ``updates`` are
    optimiser steps, the same for all methods that are compared (``updates_of``); the last one's
    weights are kept. ``numbers`` are the method's (``keywords_of``). Plain training for the epochs
    of the recipe is that of chapters 12 to 14, and read again where it is kept.

    Raises:
        InputError: for an unknown name or number, or images or a guide that the method lacks.
        TrainingError: if a loss is not finite.
    """
    from synthbook.recognize.methods.task import Task, updates_of

    alone = [images for images in (real, synthetic) if images is not None]
    if name == "plain" and [updates_of(images, network.recipe) for images in alone] == [updates]:
        return network.train(alone[0], seed=seed, device=device)
    model = network.fresh(real if synthetic is None else synthetic, seed=seed)
    sets = {"real": real, "synthetic": synthetic, "guide": guide}
    how = {"device": device, "precision": network.precision}
    task = Task(network.recipe, updates, seed, **sets, **how)
    return model, train_by(name, model, task, **numbers)


def _guide(p: Mapping[str, Any], real: Splits, device: str) -> Guide | None:
    """Return the guide, None where no method needs one."""
    if not any(GUIDE in METHODS[name].needs for name in p["methods"]):
        return None
    return guide_of(p, channels=real.train.channels, device=device)


def _rated(
    experiment: Experiment, network: Network, name: str, **options: Any
) -> tuple[Classifier, Trained]:
    """Return what ``remedy`` trains, with its accuracies on real validation and test images."""
    from synthbook.recognize.predict import accuracy

    device, real = experiment.device, experiment.real
    model, history = remedy(network, name, device=device, **options)
    splits = {"val": real.val, "test": real.test}.items()
    read = network.reading(device)
    return model, Trained(history, {split: accuracy(model, x, **read) for split, x in splits})


# Chapter 15: Pretrained Guidance.

# What network is trained: the guide's architecture from random or ImageNet weights, or another.
OTHER = "other_architecture"
SETTINGS = ("scratch", "pretrained", OTHER)
GUIDED = {"PG-KL": "lambda_3_kl", "PG-L1": "lambda_3_l1"}  # method -> where its weights stand


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
    needs.check_guide(p)
    _check_large(p, summary)
    method_settings(p)
    return summary


def _check_large(p: Mapping[str, Any], summary: Summary) -> None:
    """Raise InputError if the network of the guide's kind cannot be trained as it is asked for."""
    if {"scratch", "pretrained"} & {*p["parts"]}:
        check_backbone(
            p["guide_backbone"], pretrained="pretrained" in p["parts"], parameter="guide_backbone",
            switch="",
        )  # fmt: skip
        count = min(p["batch_size"], p["large_set_size"] or training_images(p, summary))
        needs.check_batch(p, p["guide_backbone"], p["large_input_size"], count, "large_input_size")


def _settings(p: Mapping[str, Any]) -> list[str]:
    return [name for name in SETTINGS if name in p["parts"]]


def _guided(p: Mapping[str, Any]) -> list[str]:
    return [name for name in GUIDED if name in p["methods"]]


def _given(name: str, weights: Sequence[float]) -> Row:
    """Return the weight of a guided method where it was given, and not chosen among several."""
    given = METHODS[name].guided and len(weights) == 1
    return {"lambda_3": weights[0]} if given else {}


def _row(
    p: Mapping[str, Any], part: str, setting: str, source: str, name: str, **quantities: Any
) -> Row:
    """Return what all rows of a training have in common."""
    pretrained = p["pretrained"] if setting == OTHER else setting == "pretrained"
    return {
        "method": name, "train": source, "test": REAL, "dataset": p["data"], "part": part,
        "backbone": p["backbone"] if setting == OTHER else p["guide_backbone"],
        "guide": OTHER if setting == OTHER else "same_architecture",
        "init": "pretrained" if pretrained else "scratch", **quantities,
    }  # fmt: skip


def _weighted(
    p: Mapping[str, Any], part: str, setting: str, source: str, name: str, weight: float,
    *splits: str,
) -> Cell:  # fmt: skip
    """Return the cell of a guided method with another weight."""
    row = _row(p, part, setting, source, name, lambda_3=weight)
    training = Training(name, (setting, source), (("lambda_3", weight),))
    return Cell(row, training, tuple((ACCURACY, split) for split in splits))


class PretrainedGuidance(Experiment):
    """Chapter 15: the methods of Tables 2 and 3 on generated images, beside plain training.

    ``images`` of a `Training` are a setting and a source, the key of a `Choice` is a setting and a
    method.

    Attributes:
        settings: those of ``SETTINGS`` that are asked for.
        networks: the network in training of each setting.
        guide: the frozen network.
    """

    main = "tables"

    def __init__(self, p: Mapping[str, Any], real: Splits, *, device: str = "cpu") -> None:
        """Unpack a chapter's parameters; load the guide."""
        from synthbook.studies.training_sets import network_of

        super().__init__(p, real, device=device)
        self.guide = guide_of(p, channels=real.train.channels, device=device)
        self.settings, small = _settings(p), network_of(p)
        prefixes = {"scratch": "scratch", "pretrained": "large"}  # of their parameters
        self.networks = {
            setting: replace(
                small, backbone=p["guide_backbone"], pretrained=setting == "pretrained",
                recipe=replace(
                    small.recipe, epochs=p[f"{prefix}_epochs"], input_size=p["large_input_size"],
                    learning_rate=p[f"{prefix}_learning_rate"],
                ),
            )
            for setting, prefix in prefixes.items()
        }  # fmt: skip
        self.networks[OTHER] = small
        self._models: dict[tuple[Any, ...], Classifier] = {}

    @staticmethod
    def numbers(p: Mapping[str, Any]) -> dict[str, Any]:
        """Return the reading of equation 1 that is taken."""
        return {"distance": "cosine", "target": "guide", "over": "row"}

    @staticmethod
    def choices(p: Mapping[str, Any]) -> list[Choice]:
        """Return the weights that are to be chosen: one a network and measure of likeness."""
        settings, families = _settings(p), families_of(p)
        used = settings + ([OTHER] if "readings" in p["parts"] and OTHER not in settings else [])
        found = []
        for setting, name in product(used, _guided(p)):
            weights, row = p[GUIDED[name]], _row(p, "choice", setting, "+".join(families), name)
            grid = product(weights, families) if len(weights) > 1 else ()
            cells = [_weighted(p, "choice", setting, x, name, weight, "val") for weight, x in grid]
            row |= {"metric": "lambda_3", "split": "val"}
            found.append(Choice((setting, name), row, weights, tuple(cells)))
        return found

    @staticmethod
    def cells(p: Mapping[str, Any]) -> Iterator[Cell]:
        """Yield Tables 2 and 3, then what weights do, then the other readings of the formula."""
        families, settings = families_of(p), _settings(p)
        sources = [REAL, *families] if REAL in p["sources"] else families
        for setting, source in product(settings, sources):
            plain = Training("plain", (setting, source))
            for name in p["methods"] if source != REAL else ("plain",):
                if name == "CSG" and setting == OTHER:
                    continue
                metrics = metrics_of(name, "val", "test", cost=name != "plain")
                given = _given(name, p[GUIDED[name]]) if name in GUIDED else {}
                row = _row(p, "tables", setting, source, name, **given)
                yield Cell(row, Training(name, (setting, source)), metrics, plain)
                if name == "plain":  # whether it has learned its own images
                    yield Cell(row | {"test": source}, plain, ((ACCURACY, "train"),))
        other = {"distance": "l2"}
        turned = [("PG-KL", {"target": "model"}), ("PG-KL", {"over": "matrix"}), ("PG-KL", other)]
        for source in families:
            if "sensitivity" in p["parts"]:
                for setting, name in product(settings, _guided(p)):
                    for weight in p[GUIDED[name]]:
                        where = ("sensitivity", setting, source, name)
                        yield _weighted(p, *where, weight, "val", "test")
            for name, reading in [*turned, ("PG-L1", other)] if "readings" in p["parts"] else ():
                if name in p["methods"]:
                    whole = PretrainedGuidance.numbers(p) | reading if name == "PG-KL" else reading
                    row = _row(p, "readings", OTHER, source, name, **whole)
                    training = Training(name, (OTHER, source), tuple(reading.items()))
                    yield Cell(row, training, metrics_of(name, "val", "test"))

    @property
    def models(self) -> dict[tuple[str, str], Classifier]:
        """(source, method) -> the network of 'plain' and 'PG-KL' in the last setting."""
        last = self.settings[-1]
        return {
            (source, method): model
            for (source, method, weight), model in self._models.items()
            if weight == self.weights.get((last, method))
        }

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

    def _train(self, seed: int) -> Train:
        from synthbook.recognize.methods.task import updates_of
        from synthbook.recognize.predict import accuracy
        from synthbook.studies.training_sets import equal_a_class, training_sets

        sets = training_sets(self.real, self.p, seed=seed, device=self.device)
        self._models = {}

        @cache  # one object a set, of which the guide need not look at the images again
        def of(source: str, count: int) -> ImageSet:
            return equal_a_class(sets[source].train, count, seed=seed)

        def train(method: str, images: tuple[str, str], numbers: dict[str, Any]) -> Trained:
            setting, source = images
            network = self.networks[setting]
            taken = of(source, 0 if setting == OTHER else self.p["large_set_size"])
            updates = updates_of(taken, network.recipe)
            how = {"synthetic": taken, "seed": seed, "updates": updates, "guide": self.guide}
            model, result = _rated(self, network, method, **how, **numbers)
            if method == "plain":
                result.accuracy["train"] = accuracy(model, taken, **network.reading(self.device))
            if setting == self.settings[-1] and method in ("plain", "PG-KL"):
                # Of several readings the first is the one that is taken.
                self._models.setdefault((source, method, numbers.get("lambda_3")), model)
            return result

        return train


# Chapter 16: Real Guidance.

WEIGHTS = ("lambda_1", "lambda_2", "lambda_3")
ALL_OURS = "RG+PG-R+PG-F"
TWO_STAGES = tuple(name for name, method in METHODS.items() if method.stages == "two")
# What a part compares, as far as it is asked for; methods and same_images take all that are.
METHODS_OF = {
    "real_images": ("Aug", "A-GEM", "RG", ALL_OURS, "sum"),
    "sensitivity": (ALL_OURS,),
    "readings": ("RG", "sum", "PCGrad", *TWO_STAGES),
}
READINGS = [("RG", {"per_layer": False}), ("RG", {"per_layer": True}), ("sum", {}), ("PCGrad", {})]
READINGS += [(x, {"second_stage": of}) for x in TWO_STAGES for of in ("epochs", "updates")]


def check_real_guidance(p: Mapping[str, Any]) -> object:
    """Return a summary of the data; raise InputError for parameters that do not fit together."""
    for part in p["parts"]:
        known = METHODS_OF.get(part, p["methods"])
        if not set(known) & set(p["methods"]):
            raise InputError(
                f"methods = {list(p['methods'])} has none of those of the part {part}; "
                f"add one of {', '.join(known)}"
            )
    if SAME_IMAGES in p["parts"] and not (p["shots"] and trained_here(p)):
        raise InputError(
            f"the part {SAME_IMAGES} compares on models of a family of the book that know the few "
            "real images only; set shots = 10 and give sources diffusion or gan, or leave it out"
        )
    summary = check_sources(p)
    count = check_shots(p, summary, **_shots(p))
    few, ratio = p["shots"] * summary.num_classes or count, p["synthetic_ratio"]
    if ratio * few > count:
        raise InputError(
            f"synthetic_ratio = {ratio:g} asks for {ratio * few:,.0f} generated images and there "
            f"are {count:,}; give at most {count / few:.4g}, or 0 for all"
        )
    if any(GUIDE in METHODS[name].needs for name in p["methods"]):
        needs.check_guide(p)
    method_settings(p)
    return summary


def _shots(p: Mapping[str, Any]) -> dict[str, int]:
    """Return the largest numbers of real images a class that are asked for, by parameter."""
    asked = {"shots": p["shots"]}
    return asked | ({"n_real": max(p["n_real"])} if "real_images" in p["parts"] else {})


def generator_knows(p: Mapping[str, Any], family: str, shots: int | None) -> str:
    """Return which real images a generator was trained on, beside those of the classifier.

    'same': no others, as in the second setting of the paper. 'all': all there are, of which the
    classifier has ``shots`` a class, as in its CIFAR-10 columns; the samples may then tell of
    images that the classifier was not given. 'unknown' for samples that were made elsewhere. In
    the part same_images the book's models of few images make it 'same'.
    """
    if any(source.startswith(f"{family}=") for source in p["sources"]):
        return "unknown"
    few = p["shots"] if shots is None else shots
    return "all" if few or p["set_size"] else "same"


class RealGuidance(Experiment):
    """Chapter 16: the methods of Table 4, on few real images and many generated ones.

    ``images`` of a `Training` are a generator, real images a class (0 for all, None for none of
    them), whether they are without generated ones, and whether the generator knows these real
    images only. There is one `Choice`.
    """

    main = "methods"

    def __init__(self, p: Mapping[str, Any], real: Splits, *, device: str = "cpu") -> None:
        """Unpack a chapter's parameters, see that classes are large enough; load a guide."""
        from synthbook.studies.training_sets import network_of

        few_shot(real.train, max(1, *_shots(p).values()), seed=0)
        super().__init__(p, real, device=device)
        self.network, self.guide = network_of(p), _guide(p, real, device)

    @staticmethod
    def numbers(p: Mapping[str, Any]) -> dict[str, Any]:
        """Return the weights of both gradients and the readings that are taken."""
        readings = {"distance": "cosine", "similarity": "kl", "target": "guide", "over": "row"}
        readings |= {"per_layer": False, "second_stage": "epochs"}
        return {"lambda_1": p["lambda_1"], "lambda_2": p["lambda_2"], **readings}

    @staticmethod
    def choices(p: Mapping[str, Any]) -> list[Choice]:
        """Return the weight of Pretrained Guidance, chosen with it on both kinds of image."""
        if not any(METHODS[name].guided for name in p["methods"]):
            return []
        weights, families = p["lambda_3"], families_of(p)
        grid = product(weights, families) if len(weights) > 1 else ()
        cells = [
            _cell(p, "choice", ALL_OURS, x, p["shots"], "val", numbers={"lambda_3": w}, lambda_3=w)
            for w, x in grid
        ]
        row = _cell(p, "choice", ALL_OURS, "+".join(families), p["shots"]).row
        row |= {"metric": "lambda_3", "split": "val"}
        return [Choice((), row, weights, tuple(cells))]

    @staticmethod
    def cells(p: Mapping[str, Any]) -> Iterator[Cell]:
        """Yield Table 4, then by part what more or fewer real images, weights and readings do."""
        families, methods, few = families_of(p), p["methods"], p["shots"]
        parts = {part: [x for x in known if x in methods] for part, known in METHODS_OF.items()}
        parts = {part: known for part, known in parts.items() if part in p["parts"]}
        if "methods" in p["parts"]:
            if "plain" in methods:  # on real images alone, whatever the generator
                for name, shots in (("real_few", few), ("real", 0)):
                    how = {"alone": name, "cost": "Aug" in methods}
                    yield _cell(p, "methods", "plain", families[0], shots, "test", **how)
            for family, method in product(families, methods):
                shots = None if method == "plain" else few
                yield _cell(p, "methods", method, family, shots, "test", cost="Aug" in methods)
        kept = trained_here(p) if SAME_IMAGES in p["parts"] else ()
        for family, method in product(kept, methods):
            shots = None if method == "plain" else few
            yield _cell(p, SAME_IMAGES, method, family, shots, "test", of_few=True)
        for family in families:
            for method, n in product(parts.get("real_images", ()), p["n_real"]):
                yield _cell(p, "real_images", method, family, n, "test", n_real=n)
            if parts.get("sensitivity"):
                for name, value in product(WEIGHTS, p["lambdas"]):
                    where = {"varied": name, "weight": value, "numbers": {name: value}}
                    yield _cell(p, "sensitivity", ALL_OURS, family, few, "val", "test", **where)
            for method, reading in READINGS:
                if method in parts.get("readings", ()):
                    yield _cell(
                        p, "readings", method, family, few, "test", numbers=reading, **reading
                    )

    def _train(self, seed: int) -> Train:
        from synthbook.data import at_most
        from synthbook.recognize.methods.task import updates_of
        from synthbook.studies.training_sets import clone_of_few, training_sets

        sets = training_sets(self.real, self.p, seed=seed, device=self.device)
        of_real, generated = sets[REAL].train, {x: sets[x].train for x in self.families}
        if ratio := self.p["synthetic_ratio"]:  # of ``shots``, also where there are more or fewer
            few = self.p["shots"] * of_real.num_classes or len(of_real)
            most = max(2, round(ratio * few))
            generated = {x: at_most(images, most, seed=seed) for x, images in generated.items()}

        @cache  # one object a number, of which the guide need not look at the images again
        def few_of(shots: int | None) -> ImageSet | None:
            if shots:  # nested: a part of those of the set, and of those of more shots
                return few_shot(self.real.train, shots, seed=seed)
            return of_real if shots == 0 else None

        @cache
        def made(family: str, of_few: bool) -> ImageSet:
            if not of_few:
                return generated[family]
            count, few = len(generated[family]), few_of(self.p["shots"])
            how = {"count": count, "seed": seed, "device": self.device}
            return clone_of_few(family, few, self.p, **how)

        def train(method: str, images: tuple[Any, ...], numbers: dict[str, Any]) -> Trained:
            family, shots, alone, of_few = images
            synthetic = made(family, of_few)
            updates = updates_of(synthetic, self.network.recipe)
            how = {"updates": updates, "seed": seed, "guide": self.guide}
            how["real"] = few_of(shots)
            how["synthetic"] = None if alone else synthetic
            return _rated(self, self.network, method, **how, **numbers)[1]

        return train


def _cell(
    p: Mapping[str, Any], part: str, method: str, family: str, shots: int | None, *splits: str,
    numbers: Mapping[str, Any] | None = None, cost: bool = False, alone: str = "",
    of_few: bool = False, **quantities: Any,
) -> Cell:  # fmt: skip
    """Return the cell of a method on ``shots`` real images a class and those of a generator.

    ``alone`` names real images where there are no others; ``of_few``: the generator knows these
    real images only. ``quantities`` go into the row.
    """
    train = alone or (family if shots is None else f"real_few+{family}")
    if "n_real" in quantities:
        train = f"real_n+{family}"
    row = {
        "method": method, "train": train, "test": REAL, "dataset": p["data"], "part": part,
        "backbone": p["backbone"], **quantities,
    }  # fmt: skip
    if "lambda_3" not in (numbers or {}):
        row |= _given(method, p["lambda_3"])
    if not alone:
        row["generator_knows"] = "same" if of_few else generator_knows(p, family, shots)
    images = (family, shots, bool(alone), of_few)
    training = Training(method, images, tuple((numbers or {}).items()))
    than = Training("Aug", (family, p["shots"], False, False)) if cost else None
    metrics = metrics_of(method, *splits, cost=cost)
    return Cell(row, training, metrics if part != "choice" else metrics[: len(splits)], than)
