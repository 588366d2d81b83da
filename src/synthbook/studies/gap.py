"""Why generated images train worse classifiers (study `gap`): the experiments of its chapters.

An experiment takes a chapter's parameters ``p`` and yields rows. A check is what its chapter asks
of them beforehand: it reads no pixels and imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.data import ImageSet, Splits, Summary, at_most, check, concatenate, few_shot
from synthbook.errors import InputError
from synthbook.generate import own
from synthbook.randomness import derive
from synthbook.settings import source_paths

if TYPE_CHECKING:
    from torch import nn

REAL = "real"
Row = dict[str, Any]  # keywords of Run.add
Rows = Iterator[Row]


def families_of(p: Mapping[str, Any]) -> list[str]:
    """Return the names of the generators among the sources of a chapter's parameters."""
    return [name for name in source_paths(p["sources"]) if name != REAL]


def measured(row: Row, values: Mapping[str, float]) -> Rows:
    """Yield a row a metric, with what they have in common."""
    for metric, value in values.items():
        yield row | {"metric": metric, "value": value}


# -- What a chapter asks of its parameters ------------------------------------------------------


def check_data(p: Mapping[str, Any]) -> Summary:
    """Return what the data are, and the reader's own sources of images."""
    summary = check(p["data"], data_root=p["data_root"], image_size=p["image_size"])
    lines = [
        own.check(name, path, summary.classes, _needed(p, summary))
        for name, path in source_paths(p["sources"]).items()
        if path
    ]
    return replace(summary, sources=tuple(lines))


def _needed(p: Mapping[str, Any], summary: Summary) -> int:
    """Return how many images a source of the reader's own must have at least."""
    count = training_images(p, summary)
    # As many are held out. In chapter 11 nothing is trained on them, nor filtered.
    return 2 * count if "confidence" in p else min(count, p["measured"])


def training_images(p: Mapping[str, Any], summary: Summary) -> int:
    """Return how many images a source trains on."""
    count = sum(n for split, n in summary.counts.items() if "train" in split)
    return min(count, p.get("set_size") or count)


def check_sources(p: Mapping[str, Any]) -> Summary:
    """Return what the data are; real images and a generator are asked for."""
    if REAL not in p["sources"] or not families_of(p):
        raise InputError(
            f"sources = {list(p['sources'])}; give real and a generator, as in real,gan"
        )
    return check_data(p)


def check_what_an_image_teaches(p: Mapping[str, Any]) -> Summary:
    """Return what the data are; each source has ``shots`` images a class and a generator."""
    summary = check_sources(p)
    check_shots(p, summary, shots=p["shots"])
    return summary


def check_shots(p: Mapping[str, Any], summary: Summary, **shots: int) -> int:
    """Check numbers of images a class, by parameter; return how many images a source trains on."""
    count = training_images(p, summary)
    most = max(1, count // summary.num_classes)
    for name, number in shots.items():
        if number > most:
            raise InputError(
                f"{name} = {number} of some {most} images a class; give from 1 to {most}"
            )
    return count


# -- Chapter 11 ---------------------------------------------------------------------------------


def samples(
    p: Mapping[str, Any], real: Splits, *, seed: int, device: str = "cpu"
) -> dict[str, ImageSet]:
    """Return ``p["measured"]`` real training images at most, and as many of each generator."""
    from synthbook.generate.clones import clone
    from synthbook.studies.training_sets import generator, sampling

    images = {REAL: at_most(real.train, p["measured"])}
    for family in families_of(p):
        model = generator(family, real, p, seed=seed, device=device)
        images[family] = clone(
            model, images[REAL], count=len(images[REAL]), seed=derive(seed, "look"),
            **sampling(model, p),
        )  # fmt: skip
    return images


def generators(p: Mapping[str, Any], real: Splits, *, seed: int, device: str = "cpu") -> Rows:
    """Yield fidelity, coverage and signs of copying of each generator, in two feature spaces."""
    from synthbook.measure.copying import copying
    from synthbook.measure.features import extractor
    from synthbook.measure.fidelity import fidelity, floor
    from synthbook.recognize.predict import accuracy, features
    from synthbook.studies.training_sets import network_of

    images = samples(p, real, seed=seed, device=device)
    reference = images.pop(REAL)
    fresh = at_most(real.test, len(reference))
    network = network_of(p)
    judge, _ = network.train(real.train, seed=seed, device=device)
    read = network.reading(device)
    pretrained = extractor(p["extractor"], device, size=p["extractor_size"])
    spaces = {pretrained.name: pretrained.cached, "classifier": partial(features, judge, **read)}
    row = {"method": "fidelity", "dataset": p["data"], "seed": seed}
    for space, features_of in spaces.items():
        of_real = {"train": features_of(reference.images), "test": features_of(fresh.images)}
        how = {"extractor_name": space, "neighbours": p["neighbours"], "seed": seed}
        halves = row | {"train": REAL, "test": REAL, "extractor": space, "split": "halves"}
        yield from measured(halves, floor(of_real["train"], **how))
        for family, made in images.items():
            of_made = features_of(made.images)
            for split, held in of_real.items():
                of_split = halves | {"train": family, "split": split}
                yield from measured(of_split, fidelity(held, of_made, **how))
            signs = copying(of_real["train"], of_real["test"], of_made)
            of_split = halves | {"train": family, "split": "train"}
            yield from measured(of_split, {k: signs[k] for k in ("copying_z", "near_copies")})
    for family, made in images.items():
        yield row | {
            "train": family, "test": "classifier", "backbone": p["backbone"], "split": "train",
            "metric": "class_agreement", "value": accuracy(judge, made, **read),
        }  # fmt: skip


# -- Chapter 12 ---------------------------------------------------------------------------------


def not_mutual(p: Mapping[str, Any], real: Splits, *, seed: int, device: str = "cpu") -> Rows:
    """Yield the accuracy of a classifier of each source on each source (Table 1 of the study)."""
    from synthbook.recognize.predict import accuracy
    from synthbook.studies.training_sets import network_of, training_sets

    network, sets = network_of(p), training_sets(real, p, seed=seed, device=device)
    row = {"method": "plain", "dataset": p["data"], "backbone": p["backbone"], "seed": seed}
    for train, learned in sets.items():
        model, _ = network.train(learned.train, seed=seed, device=device)
        for test, shown in sets.items():
            for split, images in (("train", shown.train), ("test", shown.held_out)):
                yield row | {
                    "train": train, "test": test, "split": split, "metric": "top1_accuracy",
                    "value": accuracy(model, images, **network.reading(device)),
                }  # fmt: skip


# -- Chapter 13 ---------------------------------------------------------------------------------


def learned_too_fast(p: Mapping[str, Any], real: Splits, *, seed: int, device: str = "cpu") -> Rows:
    """Yield the curves of a classifier of each source, 20 epochs at most, and their summaries."""
    from synthbook.measure.gap import learning_speed
    from synthbook.studies.training_sets import network_of, training_sets

    network = network_of(p)
    epochs = sorted({round(k * (network.recipe.epochs - 1) / 19) for k in range(20)})
    row = {"method": "plain", "test": REAL, "split": "val", "dataset": p["data"]}
    row |= {"backbone": p["backbone"], "seed": seed}
    for source, images in training_sets(real, p, seed=seed, device=device).items():
        _, history = network.train(images.train, seed=seed, device=device, validation=real.val)
        train, val = history.train_accuracy, history.val_accuracy
        speed = learning_speed(train, val, chance=100 / real.train.num_classes)
        speed["early_train_accuracy"] = speed.pop("early_accuracy")
        speed |= {"final_train_accuracy": train[-1], "final_val_accuracy": val[-1]}
        yield from measured(row | {"train": source}, speed)
        for k in epochs:
            values = {"train_accuracy": train[k], "val_accuracy": val[k]}
            yield from measured(row | {"train": source, "epoch": k + 1}, values)


# -- Chapter 14 ---------------------------------------------------------------------------------


def mixtures(
    real: ImageSet, generated: Mapping[str, ImageSet], losses: Mapping[str, np.ndarray],
    features: np.ndarray, *, shots: int, share: float, seed: int,
) -> dict[str, ImageSet]:  # fmt: skip
    """Return real images with others added, and with some left out.

    Of each family's images all are added, and the halves of lower and of higher loss; ``losses``
    [N] are what each costs a classifier of real images, in nats. ``shots`` real images a class are
    "real_few". By the ``features`` of real images [N, D] a ``share`` of rare kinds is left out,
    and, as a control, as many of each class at random.
    """
    from synthbook.measure.gap import low_loss, random_like, rare_images

    few = few_shot(real, shots, seed=seed)
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
        """Make the sets, and train a classifier on each."""
        from synthbook.recognize.predict import sample_losses
        from synthbook.studies.training_sets import network_of, training_sets

        self.p, self.real, self.seed, self.device = p, real, seed, device
        self.network, self.families = network_of(p), families_of(p)
        self.read = self.network.reading(device)
        self.sets = training_sets(real, p, seed=seed, device=device)
        self.models = {name: self._trained_on(images.train) for name, images in self.sets.items()}
        self.losses = {
            (train, test, split): sample_losses(self.models[train], images, **self.read)
            for family in self.families
            for train, test in ((REAL, family), (family, REAL))
            for split, images in (
                ("train", self.sets[test].train),
                ("test", self.sets[test].held_out),
            )
        }

    def _trained_on(self, images: ImageSet) -> nn.Module:
        """Return a classifier of as many steps as one of all real images, or of as many epochs."""
        longer = len(self.sets[REAL].train) / len(images) if self.p["equal"] == "steps" else 1
        epochs = max(1, round(self.network.recipe.epochs * longer))
        network = replace(self.network, recipe=replace(self.network.recipe, epochs=epochs))
        return network.train(images, seed=self.seed, device=self.device)[0]

    def rows(self) -> Rows:
        """Yield what images cost, what adding or leaving them out does, and the three gaps."""
        row = {"dataset": self.p["data"], "backbone": self.p["backbone"], "seed": self.seed}
        for values in chain(self._costs(), self._accuracies(), self._gaps()):
            yield row | values

    def _costs(self) -> Rows:
        from synthbook.measure.gap import loss_profile

        metrics = ["mean_cross_entropy", "median_cross_entropy"]
        metrics += ["share_loss_below_0.01", "share_loss_above_1"]  # in the order of the profile
        for (train, test, split), losses in self.losses.items():
            row = {"method": "plain", "train": train, "test": test, "split": split}
            yield from measured(row, dict(zip(metrics, loss_profile(losses).values(), strict=True)))

    def _accuracies(self) -> Rows:
        from synthbook.recognize.predict import accuracy, features

        real = self.sets[REAL].train
        mixed = mixtures(
            real, {family: self.sets[family].train for family in self.families},
            {family: self.losses[REAL, family, "train"] for family in self.families},
            features(self.models[REAL], real, **self.read),
            shots=self.p["shots"], share=self.p["share"], seed=self.seed,
        )  # fmt: skip
        row = {"method": "plain", "test": REAL, "split": "test", "metric": "top1_accuracy"}
        for name, images in mixed.items():
            model = self.models[REAL] if name == REAL else self._trained_on(images)
            yield row | {"train": name, "value": accuracy(model, self.real.test, **self.read)}

    def _gaps(self) -> Rows:
        """Yield appearance, content and quality, in the features of a classifier of real images."""
        from synthbook.measure.fidelity import fidelity
        from synthbook.measure.gap import separability, taxonomy
        from synthbook.recognize.predict import features

        of = {}
        for source in (REAL, *self.families):
            images = at_most(self.sets[source].train, self.p["measured"])
            of[source] = features(self.models[REAL], images, **self.read)
        how = {"extractor_name": "classifier", "neighbours": self.p["neighbours"]}
        row = {"method": "taxonomy", "test": REAL, "split": "train"}
        for family in self.families:
            measures = fidelity(of[REAL], of[family], seed=self.seed, **how)
            gaps = taxonomy(measures, separability(of[REAL], of[family], seed=self.seed))
            gaps = {metric: gaps[metric] for metric in ("appearance", "content", "quality")}
            yield from measured(row | {"train": family}, gaps)
