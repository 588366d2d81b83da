"""What an image teaches (study `gap`): the experiment of chapter 14."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.data import ImageSet, Splits, at_most, concatenate, few_shot
from synthbook.studies.gap import SPLITS, guided_sets, lowered_confidence, unseen, without_filter
from synthbook.studies.image_sources import (
    FOLDS,
    SAME_IMAGES,
    UNFILTERED,
    check_share,
    families_of,
    trained_here,
)
from synthbook.studies.rows import REAL, Row, Rows, measured

if TYPE_CHECKING:
    from torch import nn

    from synthbook.studies.training_sets import TrainingSet


def mixtures(
    real: ImageSet, few: ImageSet, generated: Mapping[str, ImageSet],
    losses: Mapping[str, np.ndarray], features: np.ndarray, *, share: float, seed: int,
) -> dict[str, ImageSet]:  # fmt: skip
    """Return real images with others added, and with some left out.

    Of each family's images all are added, and the halves of lower and of higher loss; ``losses``
    [N] are what each costs a classifier of real images, in nats. The ``few`` are
    "real_few". By the ``features`` of real images [N, D] a ``share`` of rare kinds is left out,
    and, as a control, as many of each class at random.
    """
    from synthbook.measure.gap import low_loss, random_like, rare_images

    mixed = {"real": real, "real_few": few}
    for family, images in generated.items():
        low = low_loss(losses[family])
        mixed[f"real+low_loss_{family}"] = concatenate(real, images.subset(low))
        mixed[f"real+high_loss_{family}"] = concatenate(real, images.subset(~low))
        mixed[f"real+{family}"] = concatenate(real, images)
        mixed[f"real_few+{family}"] = concatenate(few, images)
    rare = rare_images(features, real.labels, share, seed=seed)
    mixed["real_without_rare"] = real.subset(~rare)
    mixed["real_without_random"] = real.subset(~random_like(rare, real.labels, seed=seed))
    return mixed


class WhatAnImageTeaches:
    """A seed of chapter 14: the images of each source, and what they cost classifiers of others.

    ``sets`` holds the images, ``losses[train, test, split]`` what each image of ``test`` costs a
    classifier trained on ``train``, in nats [N].
    """

    def __init__(
        self, p: Mapping[str, Any], real: Splits, *, seed: int, device: str = "cpu"
    ) -> None:
        """See that classes are large enough; make the sets, and train a classifier on each."""
        from synthbook.studies.training_sets import equal_a_class, network_of, training_sets

        self.p, self.real, self.how = p, real, {"seed": seed, "device": device}
        self.network, self.families = network_of(p), families_of(p)
        self.read = self.network.reading(device)
        self.few = few_shot(real.train, p["shots"], seed=seed)  # a part of those of the set
        check_share(p, equal_a_class(real.train, p["set_size"], seed=seed).counts().min())
        self.sets = training_sets(real, p, **self.how)
        self.models = {name: self._trained_on(images.train) for name, images in self.sets.items()}
        self.losses = self._losses(self.sets, self.models)

    def _trained_on(self, images: ImageSet) -> nn.Module:
        """Return a classifier that is shown as many images as one of all real ones, or as often."""
        longer = len(self.sets[REAL].train) / len(images) if self.p["equal"] == "steps" else 1
        epochs = max(1, round(self.network.recipe.epochs * longer))
        network = replace(self.network, recipe=replace(self.network.recipe, epochs=epochs))
        return network.train(images, validation=self.real.val, **self.how)[0]

    def _losses(
        self, sets: Mapping[str, TrainingSet], models: Mapping[str, nn.Module]
    ) -> dict[tuple[str, str, str], np.ndarray]:
        from synthbook.recognize.predict import sample_losses

        return {
            (train, test, split): sample_losses(models[train], images, **self.read)
            for family in sets
            if family != REAL
            for train, test in ((REAL, family), (family, REAL))
            for split, images in zip(SPLITS, (sets[test].train, sets[test].held_out), strict=True)
        }

    def rows(self) -> Rows:
        """Yield what images cost, what adding or leaving them out does, and the three gaps."""
        row = {"dataset": self.p["data"], "backbone": self.p["backbone"], "seed": self.how["seed"]}
        costs = self._costs(self.sets, self.losses, {"method": "plain"})
        of_part = {
            "costs": (costs, self._gaps(), self._unfiltered(), self._guided()),
            "adding": (self._accuracies(), self._same_images()),
        }
        for part in self.p["parts"]:
            for values in chain.from_iterable(of_part[part]):
                yield row | values

    def _costs(
        self, sets: Mapping[str, TrainingSet], losses: Mapping[tuple[str, str, str], np.ndarray],
        row: Row,
    ) -> Rows:  # fmt: skip
        """Yield the profiles of losses, and how often a generated image is the easier one."""
        from synthbook.measure.gap import easier_share, loss_profile

        metrics = ["mean_cross_entropy", "median_cross_entropy"]
        metrics += ["share_loss_below_0.01", "share_loss_above_1"]  # in the order of the profile
        for (train, test, split), of_test in losses.items():
            of_pair = row | {"train": train, "test": test, "split": split}
            of_pair = lowered_confidence(self.p, sets[train], sets[test]) | of_pair
            profile = loss_profile(of_test)
            yield from measured(of_pair, dict(zip(metrics, profile.values(), strict=True)))
            if test == REAL:
                easier = easier_share(losses[REAL, train, split], of_test)
                yield of_pair | {"metric": "share_easier", "value": easier}

    def _accuracies(self) -> Rows:
        from synthbook.recognize.predict import features

        real = self.sets[REAL].train
        mixed = mixtures(
            real, self.few, {family: self.sets[family].train for family in self.families},
            {family: self.losses[REAL, family, "train"] for family in self.families},
            features(self.models[REAL], real, **self.read),
            share=self.p["share"], seed=self.how["seed"],
        )  # fmt: skip
        for name, images in mixed.items():
            model = self.models[REAL] if name == REAL else self._trained_on(images)
            first, _, added = name.partition("+")
            family = added.removeprefix("low_loss_").removeprefix("high_loss_") or REAL
            row = lowered_confidence(self.p, self.sets[family])
            row |= {"generator_knows": "all"} if added and first == "real_few" else {}
            yield row | self._accuracy(name, model)

    def _accuracy(self, name: str, model: nn.Module) -> Row:
        from synthbook.recognize.predict import accuracy

        value = accuracy(model, self.real.test, **self.read)
        row = {"method": "plain", "train": name, "test": REAL, "split": "test"}
        return row | {"equal": self.p["equal"], "metric": "top1_accuracy", "value": value}

    def _gaps(self) -> Rows:
        """Yield appearance, content and quality, in the features of a classifier of real images.

        Against training images and unseen real ones; "real" is the control, as in chapter 11.
        """
        from synthbook.measure.fidelity import fidelity
        from synthbook.measure.gap import separability, taxonomy
        from synthbook.recognize.predict import features

        def of(images: ImageSet, most: int) -> np.ndarray:
            return features(self.models[REAL], at_most(images, most), **self.read)

        real = self.sets[REAL].train
        most, seed = min(self.p["measured"], len(real)), self.how["seed"]
        held_out, fresh = unseen(self.real, most)
        drawn = {REAL: fresh} | {family: self.sets[family].train for family in self.families}
        references = dict(zip(SPLITS, (of(real, most), of(held_out, most)), strict=True))
        how = {"extractor_name": "classifier", "neighbours": self.p["neighbours"]}
        for source, images in drawn.items():
            made = of(images, len(fresh))
            row = {"method": "taxonomy", "train": source, "test": REAL}
            row |= lowered_confidence(self.p, self.sets[source])
            for split, reference in references.items():
                measures = fidelity(reference, made, seed=seed, **how)
                apart = separability(reference, made, folds=FOLDS, seed=seed)
                gaps = taxonomy(measures, apart)
                gaps = {metric: gaps[metric] for metric in ("appearance", "content", "quality")}
                yield from measured(row | {"split": split}, gaps)

    def _unfiltered(self) -> Rows:
        """Yield what images cost that no filter chose: how much of the losses is the filter's."""
        if others := without_filter(self.p, self.real, self.sets, **self.how):
            models = {name: self._trained_on(images.train) for name, images in others.items()}
            sets = {REAL: self.sets[REAL], **others}
            losses = self._losses(sets, {REAL: self.models[REAL], **models})
            yield from self._costs(sets, losses, {"method": UNFILTERED, "confidence": 0})

    def _guided(self) -> Rows:
        """Yield what images cost by guidance scale, and how often they are the easier ones."""
        for row, guided in guided_sets(self.p, self.real, **self.how):
            models = {name: self._trained_on(images.train) for name, images in guided.items()}
            sets = {REAL: self.sets[REAL], **guided}
            losses = self._losses(sets, {REAL: self.models[REAL], **models})
            # Sets of a third: equal epochs are a third of the steps.
            yield from self._costs(sets, losses, row | {"equal": self.p["equal"]})

    def _same_images(self) -> Rows:
        """Yield what generators add to few real images that were trained on these alone.

        And what their images teach by themselves: whether such a generator has learned anything.
        """
        from synthbook.studies.training_sets import clone_of_few

        if SAME_IMAGES in self.p.get("controls", ()):
            for family in trained_here(self.p):
                count = len(self.sets[family].train)
                made = clone_of_few(family, self.few, self.p, count=count, **self.how)
                model = self._trained_on(concatenate(self.few, made))
                alone = self._trained_on(made)
                for name, one in ((f"real_few+{family}", model), (family, alone)):
                    yield self._accuracy(name, one) | {"generator_knows": "same"}
