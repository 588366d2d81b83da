"""The experiment of chapter 15: Pretrained Guidance (Wang et al., WACV 2024) on generated images.

To import this, to check parameters and to plan needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from synthbook.errors import InputError
from synthbook.recognize.backbones import check_backbone
from synthbook.recognize.methods import METHODS
from synthbook.recognize.recipe import Recipe
from synthbook.studies import needs
from synthbook.studies.image_sources import check_data, families_of, training_images
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
from synthbook.studies.remedies import guide_of, rated, weight_given
from synthbook.studies.rows import REAL, Row

if TYPE_CHECKING:
    from torch import Tensor

    from synthbook.data import ImageSet, Splits, Summary
    from synthbook.recognize.models import Classifier

# What network is trained: the guide's architecture from random or ImageNet weights, or another.
OTHER = "other_architecture"
SETTINGS = ("scratch", "pretrained", OTHER)
LARGE = {"scratch": "scratch", "pretrained": "large"}  # prefixes of their parameters
SET_SIZES = {setting: f"{prefix}_set_size" for setting, prefix in LARGE.items()}
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
    _guided(p)
    needs.check_guide(p)
    _check_large(p, summary)
    method_settings(p)
    return summary


def _check_large(p: Mapping[str, Any], summary: Summary) -> None:
    """Raise InputError if the network of the guide's kind cannot be trained as it is asked for."""
    large = [LARGE[part] for part in LARGE if part in p["parts"]]
    if large:
        check_backbone(
            p["guide_backbone"], pretrained="pretrained" in p["parts"], parameter="guide_backbone",
            switch="",
        )  # fmt: skip
    for prefix in large:
        count = min(p["batch_size"], p[f"{prefix}_set_size"] or training_images(p, summary))
        size = f"{prefix}_input_size"
        needs.check_batch(p, p["guide_backbone"], p[size], count, size)
    if "scratch" in p["parts"]:
        needs.check_padding(p, summary, "scratch_crop_padding")


def _recipe(p: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return those numbers of a recipe that parameters with a prefix give."""
    names = (field.name for field in fields(Recipe))
    return {name: p[f"{prefix}_{name}"] for name in names if f"{prefix}_{name}" in p}


def _settings(p: Mapping[str, Any]) -> list[str]:
    return [name for name in SETTINGS if name in p["parts"]]


def _guided(p: Mapping[str, Any]) -> list[str]:
    """Return the guided methods; InputError for one whose weights no parameter has."""
    for name in p["methods"]:
        if METHODS[name].guided and name not in GUIDED:
            raise InputError(
                f"method '{name}' has Pretrained Guidance, and no parameter has its weights; add "
                "one to GUIDED of studies/pretrained_guidance.py"
            )
    return [name for name in GUIDED if name in p["methods"]]


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
        self.networks = {
            setting: replace(
                small, backbone=p["guide_backbone"], pretrained=setting == "pretrained",
                recipe=replace(small.recipe, **_recipe(p, prefix)),
            )
            for setting, prefix in LARGE.items()
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
                given = weight_given(name, p[GUIDED[name]]) if name in GUIDED else {}
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
                    training = Training(name, (OTHER, source), tuple(whole.items()))
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
        from synthbook.studies.training_sets import equal_a_class, training_sets

        sets = training_sets(self.real, self.p, seed=seed, device=self.device)
        self._models = {}

        @cache  # one object a set, of which the guide need not look at the images again
        def of(source: str, count: int) -> ImageSet:
            return equal_a_class(sets[source].train, count, seed=seed)

        def train(method: str, images: tuple[str, str], numbers: dict[str, Any]) -> Trained:
            setting, source = images
            network = self.networks[setting]
            taken = of(source, self.p[SET_SIZES[setting]] if setting in SET_SIZES else 0)
            updates = updates_of(taken, network.recipe)
            how = {"synthetic": taken, "seed": seed, "updates": updates, "guide": self.guide}
            looked_at = setting == self.settings[-1] and method in ("plain", "PG-KL")
            result, model = rated(self, network, method, with_model=looked_at, **how, **numbers)
            if model is not None:  # of several readings the first is the one that is taken
                self._models.setdefault((source, method, numbers.get("lambda_3")), model)
            return result

        return train
