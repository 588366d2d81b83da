"""Why generated images train worse classifiers (study `gap`): the experiments of its chapters.

An experiment takes a chapter's parameters ``p`` and yields rows. A check is what its chapter asks
of them beforehand: it reads no pixels and imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.data import ImageSet, Splits, Summary, at_most, check, concatenate, few_shot
from synthbook.errors import InputError
from synthbook.generate import own
from synthbook.machine import check_memory
from synthbook.randomness import derive, numpy_generator
from synthbook.settings import source_paths
from synthbook.studies import needs

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from synthbook.recognize.models import Classifier
    from synthbook.studies.training_sets import TrainingSet

REAL = "real"
UNFILTERED, GUIDED, SAME_IMAGES = "unfiltered", "guided", "same_images"  # controls
GUIDED_UNFILTERED = "guided_unfiltered"  # a method: guided, and no filter
SCALES = (1.0, 2.0, 4.0, 7.5)  # of guidance, of that control
GUIDED_SHARE = 3  # its sets are smaller so many times: every scale has to be sampled
RAW = {"confidence": 0.0, "unconditional": []}  # parameters of samples as they are drawn
FOLDS = 5  # of the cross-validation that measures appearance
SPLITS = ("train", "test")  # images that a source's own classifier was trained on, and others
Row = dict[str, Any]  # keywords of Run.add
Rows = Iterator[Row]


def sources_of(p: Mapping[str, Any]) -> list[str]:
    """Return the names of a chapter's sources of images."""
    return list(source_paths(p["sources"]))


def families_of(p: Mapping[str, Any]) -> list[str]:
    """Return the names of its sources of generated images."""
    return [source for source in sources_of(p) if source != REAL]


def unseen(real: Splits, most: int) -> tuple[ImageSet, ImageSet]:
    """Return two disjoint samples of the test images, ``most`` or half of them each.

    The first is what generated images are compared with, the second what a perfect generator
    would have drawn: the control.
    """
    count = min(most, len(real.test) // 2)
    drawn = numpy_generator(0, "unseen").permutation(len(real.test))
    first, second = drawn[:count], drawn[count : 2 * count]
    return real.test.subset(np.sort(first)), real.test.subset(np.sort(second))


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
    if "backbone" in p:
        needs.check_classifiers(p, summary)
    _check_sets(p, summary)
    return replace(summary, sources=tuple(lines))


def _check_sets(p: Mapping[str, Any], summary: Summary) -> None:
    """Raise InputError if sets are too small for the classes, or too large for the memory."""
    count, side = training_images(p, summary), p["image_size"] or summary.side
    if count < summary.num_classes:
        raise InputError(
            f"set_size = {count} and '{summary.name}' has {summary.num_classes} classes; give an "
            f"image for each, {summary.num_classes} at least, or 0 for all"
        )
    one = side**2 * summary.channels
    held = 2 * sum(summary.counts.values()) + len(families_of(p)) * count
    check_memory(
        held * one,
        f"the images of '{summary.name}' and of {len(families_of(p))} generators at {side} pixels",
        "give a smaller image_size or set_size",
    )


def _needed(p: Mapping[str, Any], summary: Summary) -> int:
    """Return how many images a source of the reader's own must have at least."""
    count = training_images(p, summary)
    # Half as many are held out. In chapter 11 nothing is trained on them, nor filtered.
    return count + count // 2 if "confidence" in p else min(count, p["measured"])


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


def check_generators(p: Mapping[str, Any]) -> Summary:
    """Return what the data are; two samples of test images have ``neighbours`` each."""
    summary = check_sources(p)
    count, least = summary.counts["test"], 2 * max(FOLDS, p["neighbours"] + 1)
    if count < least:
        raise InputError(
            f"{count} test images are too few to measure in two halves, the images to compare with"
            f" and their control, with neighbours = {p['neighbours']}; give {least} at least"
        )
    if "extractor" in p:
        needs.check_extractor(p)
    return summary


def check_what_an_image_teaches(p: Mapping[str, Any]) -> Summary:
    """Return what the data are; each source has ``shots`` images a class and a generator."""
    summary = check_generators(p)
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


# -- What it will train -------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What a run trains if nothing of it is kept: the classifiers of each seed, and models.

    ``classifiers`` are named by what they are trained on, ``models`` by their family; these take
    ``minutes`` each at most.
    """

    classifiers: tuple[str, ...]
    seeds: int
    models: tuple[str, ...] = ()
    minutes: float = 0.0

    def __str__(self) -> str:
        """Return the plan as one line."""
        names = ", ".join(name.replace("_", " ") for name in self.classifiers)
        count = len(self.classifiers)
        classifiers, seeds = "classifier" + "s" * (count > 1), "seed" + "s" * (self.seeds > 1)
        parts = [f"{count} {classifiers} x {self.seeds} {seeds} ({names})"]
        parts += [f"a {name}, {self.minutes:g} minutes at most" for name in self.models]
        return f"To train, unless it is kept from before: {'; '.join(parts)}."


def trained_here(p: Mapping[str, Any]) -> list[str]:
    """Return the sources of generated images that are models of the book's two families."""
    return [name for name, path in source_paths(p["sources"]).items() if name != REAL and not path]


def guided_families(p: Mapping[str, Any]) -> list[str]:
    """Return the families that the control "guided" is about; [] if it is not asked for."""
    asked = GUIDED in p.get("controls", ())
    return [family for family in trained_here(p) if family == "diffusion" and asked]


def plan_generators(p: Mapping[str, Any]) -> Plan:
    """Return what chapter 11 trains."""
    number = min(p["seeds"], p["generators"])
    models = [f"{f} model (number {k})" for f in trained_here(p) for k in range(number)]
    return Plan((REAL,), p["seeds"], tuple(models) if p["minutes"] else (), p["minutes"])


def plan_of_sources(p: Mapping[str, Any]) -> Plan:
    """Return what chapters 12 and 13 train: a classifier of each source, and of the controls."""
    return _plan(p, sources_of(p) + _controls(p))


def plan_what_an_image_teaches(p: Mapping[str, Any]) -> Plan:
    """Return what chapter 14 trains."""
    families = families_of(p)
    names = [REAL, *families, *(_controls(p) if "costs" in p["parts"] else ())]
    if "adding" not in p["parts"]:
        return _plan(p, names)
    names += ["real_few"]
    for family in families:
        names += [f"real+{part}{family}" for part in ("low_loss_", "high_loss_", "")]
        names += [f"real_few+{family}"]
    names += ["real_without_rare", "real_without_random"]
    if SAME_IMAGES in p["controls"]:
        of_few = [f"{family} of few images" for family in trained_here(p)]
        names += [f"{start}{name}" for name in of_few for start in ("real_few+", "")]
    return _plan(p, names)


def _plan(p: Mapping[str, Any], classifiers: Iterable[str]) -> Plan:
    judge = ["filter"] if families_of(p) else []
    return Plan((*judge, *classifiers), p["seeds"])


def _controls(p: Mapping[str, Any]) -> list[str]:
    asked = UNFILTERED in p.get("controls", ())
    names = [f"{family} {UNFILTERED}" for family in families_of(p)] if asked else []
    for family, scale in product(guided_families(p), SCALES):
        names += [f"{family} {method} {scale:g}" for method in (GUIDED, GUIDED_UNFILTERED)]
    return names


# -- Chapter 11 ---------------------------------------------------------------------------------


def make_models(p: Mapping[str, Any], real: Splits, *, device: str = "cpu") -> Iterator[str]:
    """Train the models that are not kept yet, ``p["minutes"]`` each at most; yield a line each.

    With 0 minutes none is trained.
    """
    from synthbook.studies import models
    from synthbook.training import Budget

    if not p["minutes"]:
        return
    learned, minutes = models.Learned.of(p["data"], real), p["minutes"]
    budget = Budget(minutes=minutes, measure_every=min(Budget.measure_every, minutes / 5))
    name = f"{_folder_name(p['data'])}-{real.train.fingerprint()[:6]}"
    seeds = range(p["first_seed"], p["first_seed"] + p["seeds"])
    numbers = sorted({seed % p["generators"] for seed in seeds})
    for number, family in product(numbers, trained_here(p)):
        how = {"seed": number, "budget": budget, "recipe": p["recipe"], "device": device}
        card = models.train(family, learned, name=f"{name}-{family}", **how).card
        yield (
            f"{family} model number {number} of '{p['data']}' is kept as {card['name']}, after "
            f"{card['curve'][-1]['minutes']:.1f} minutes of training"
        )
    size = f" -p image_size={p['image_size']}" if p["image_size"] else ""
    yield f"Chapters 12 to 16 take them: synthbook run 12_not_mutual -p data={p['data']}{size}"


def _folder_name(data: str) -> str:
    return re.sub(r"\W+", "-", Path(data).stem).strip("-") or "images"


def cards(
    p: Mapping[str, Any], real: Splits, *, seed: int, device: str = "cpu"
) -> dict[str, Mapping[str, Any]]:
    """Return the card of each family's model: what it was trained on and how, its measures."""
    from synthbook.studies.training_sets import generator

    how = {"seed": seed, "device": device}
    return {family: generator(family, real, p, **how).model.card for family in trained_here(p)}


def curves(cards: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the curves on the cards: columns family, minutes, metric, value."""
    import pandas as pd

    rows = [
        {"family": family, "minutes": point["minutes"], "metric": metric, "value": point[metric]}
        for family, card in cards.items()
        for point in card["curve"]
        for metric in point.keys() - {"minutes", "steps"}
    ]
    return pd.DataFrame(rows, columns=["family", "minutes", "metric", "value"])


def agreement_by_class(cards: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the agreement of a real-trained classifier, a column a family, a line a class."""
    import pandas as pd

    return pd.DataFrame(
        {family: card["measures"]["g1"]["class_agreement"] for family, card in cards.items()}
    )


def measures_of(cards: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return what the samples on the cards teach, a line a family and guidance scale."""
    import pandas as pd

    lines = {
        f"{family}, g = {scale[1:]}": {
            "linear": found["probe"], "small network": found["accuracy"], "FD": found["fd"],
            "agreement": round(float(np.mean(list(found["class_agreement"].values()))), 1),
        }
        for family, card in cards.items()
        for scale, found in card["measures"].items()
    }  # fmt: skip
    return pd.DataFrame(lines).T


def guided_images(
    p: Mapping[str, Any], real: Splits, *, seed: int, each: int, classes: int, device: str = "cpu"
) -> dict[float, np.ndarray]:
    """Return by guidance scale images from the same noise, ``each`` of the first ``classes``.

    Of the scales that come with the diffusion model; {} without one.
    """
    from synthbook.generate import banks
    from synthbook.studies.training_sets import generator

    if "diffusion" not in trained_here(p):
        return {}
    model = generator("diffusion", real, p, seed=seed, device=device).model
    labels = banks.labels_of(model, 0)
    chosen = [np.flatnonzero(labels == k)[:each] for k in range(min(classes, len(model.classes)))]
    return {
        scale: banks.strip(model, scale, 0)[np.concatenate(chosen)]
        for scale in SCALES
        if banks.shipped_strips(model, scale)
    }


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
    """Yield fidelity, coverage and signs of copying of each generator, in two feature spaces.

    Generated images are compared with training images and with unseen real ones, and so are, as
    the control, other unseen real images ("train" is "real"): what a perfect generator would get.
    """
    from synthbook.measure.copying import copying
    from synthbook.measure.features import extractor
    from synthbook.measure.fidelity import fidelity, floor
    from synthbook.recognize.predict import accuracy, features
    from synthbook.studies.training_sets import classifier_of_all, network_of

    images = samples(p, real, seed=seed, device=device)
    reference = images.pop(REAL)
    held_out, fresh = unseen(real, len(reference))
    judge = classifier_of_all(real, p, seed=seed, device=device)
    read = network_of(p).reading(device)
    pretrained = extractor(p["extractor"], device, size=p["extractor_size"])
    spaces = {pretrained.name: pretrained.cached, "classifier": partial(features, judge, **read)}
    row = {"method": "fidelity", "dataset": p["data"], "seed": seed}
    for space, features_of in spaces.items():
        of_real = {"train": features_of(reference.images), "test": features_of(held_out.images)}
        how = {"extractor_name": space, "neighbours": p["neighbours"], "seed": seed}
        row_of = row | {"test": REAL, "extractor": space}
        halves = row_of | {"train": REAL, "split": "halves"}
        yield from measured(halves, floor(of_real["train"], **how))
        for source, drawn in {REAL: fresh, **images}.items():
            of_drawn = features_of(drawn.images[: len(fresh)])
            for split, held in of_real.items():
                of_split = row_of | {"train": source, "split": split}
                yield from measured(of_split, fidelity(held, of_drawn, **how))
            signs = copying(of_real["train"], of_real["test"], of_drawn)
            of_split = row_of | {"train": source, "split": "train"}
            yield from measured(of_split, {k: signs[k] for k in ("copying_z", "near_copies")})
    for family, made in images.items():
        yield row | {
            "train": family, "test": "classifier", "backbone": p["backbone"], "split": "train",
            "metric": "class_agreement", "value": accuracy(judge, made, **read),
        }  # fmt: skip


# -- Chapter 12 ---------------------------------------------------------------------------------


def not_mutual(p: Mapping[str, Any], real: Splits, *, seed: int, device: str = "cpu") -> Rows:
    """Yield the accuracy of a classifier of each source on each source (Table 1 of the study).

    With the control "unfiltered" everything again (method "unfiltered") on generated images that
    no filter chose. With "guided" both again on images of each guidance scale.
    """
    from synthbook.recognize.predict import accuracy
    from synthbook.studies.training_sets import network_of, training_sets

    how = {"seed": seed, "device": device}
    network, sets = network_of(p), training_sets(real, p, **how)
    row = {"dataset": p["data"], "backbone": p["backbone"], "seed": seed}
    row["metric"] = "top1_accuracy"

    def table(sets: Mapping[str, TrainingSet], models: Mapping[str, Classifier], row: Row) -> Rows:
        for (train, model), (test, shown) in product(models.items(), sets.items()):
            lowered = lowered_confidence(p, sets[train], shown)
            for split, images in zip(SPLITS, (shown.train, shown.held_out), strict=True):
                value = accuracy(model, images, **network.reading(device))
                of_pair = {"train": train, "test": test, "split": split, "value": value}
                yield lowered | row | of_pair

    watched = {"validation": real.val, **how}  # as chapter 13 trains them, with curves
    models = {name: network.train(some.train, **watched)[0] for name, some in sets.items()}
    yield from table(sets, models, row | {"method": "plain"})
    if others := without_filter(p, real, sets, **how):
        again = {name: network.train(some.train, **how)[0] for name, some in others.items()}
        row |= {"method": UNFILTERED, "confidence": 0}
        yield from table(sets | others, models | again, row)
    for of_scale, guided in guided_sets(p, real, **how):
        again = {name: network.train(some.train, **how)[0] for name, some in guided.items()}
        pair = {REAL: sets[REAL], **guided}
        yield from table(pair, {REAL: models[REAL], **again}, row | of_scale)


def lowered_confidence(p: Mapping[str, Any], *sets: TrainingSet) -> Row:
    """Return the confidence of the filter of sets, as a setting of rows, if it was lowered."""
    used = min((some.info["confidence"] for some in sets if some.info), default=p["confidence"])
    return {"confidence": used} if used < p["confidence"] else {}


def lowered(p: Mapping[str, Any], table: pd.DataFrame) -> str:
    """Return, a sentence a line, where the rows of a run are of a filter that had to be relaxed."""
    kept = table[
        (table.method == "plain") & (table.test == REAL) & table.train.isin(families_of(p))
    ]
    if "confidence" not in kept:
        return ""
    used = kept.dropna(subset=["confidence"]).groupby("train").confidence.min()
    return "\n".join(
        f"With confidence {p['confidence']:g} the filter could not fill a class with {family} "
        f"images; here it is {level:g} for them{'' if level else ', which is no filter at all'}."
        for family, level in used.items()
    )


def without_filter(
    p: Mapping[str, Any], real: Splits, sets: Mapping[str, TrainingSet], **how: Any
) -> dict[str, TrainingSet]:
    """Return those of the ``sets`` that a filter chose, drawn without it; {} if not asked for.

    Their labels are the classes that the generators were asked for.
    """
    from synthbook.studies.training_sets import training_sets

    if UNFILTERED not in p.get("controls", ()):
        return {}
    chosen = [source for source in p["sources"] if sets[source.partition("=")[0]].info]
    return training_sets(real, {**p, "sources": chosen, **RAW}, **how)


def guided_sets(
    p: Mapping[str, Any], real: Splits, **how: Any
) -> Iterator[tuple[Row, dict[str, TrainingSet]]]:
    """Yield images of the control "guided" with what their rows have in common.

    That is for each guidance scale, as the chapter's filter chooses them ("guided"), and as they
    are drawn for the class asked for ("guided_unfiltered"). Sets are a third as large as the
    chapter's, also at scale 1.
    """
    from synthbook.studies.training_sets import training_sets

    fewer = max(real.train.num_classes, (p["set_size"] or len(real.train)) // GUIDED_SHARE)
    for scale, family in product(SCALES, guided_families(p)):
        for method, values in ((GUIDED, {}), (GUIDED_UNFILTERED, RAW)):
            asked = {**p, "sources": [family], "guidance_scale": scale, "set_size": fewer, **values}
            row = {"method": method, "guidance_scale": scale}
            row |= {"confidence": 0} if values else {}
            yield row, training_sets(real, asked, **how)


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
        of_source = lowered_confidence(p, images) | row | {"train": source}
        _, history = network.train(images.train, seed=seed, device=device, validation=real.val)
        train, val = history.train_accuracy, history.val_accuracy
        speed = learning_speed(train, val, chance=100 / real.train.num_classes)
        speed["early_train_accuracy"] = speed.pop("early_accuracy")
        speed |= {"final_train_accuracy": train[-1], "final_val_accuracy": val[-1]}
        yield from measured(of_source, speed)
        for k in epochs:
            values = {"train_accuracy": train[k], "val_accuracy": val[k]}
            yield from measured(of_source | {"epoch": k + 1}, values)


# -- Chapter 14 ---------------------------------------------------------------------------------


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
        """Make the sets, and train a classifier on each."""
        from synthbook.studies.training_sets import network_of, training_sets

        self.p, self.real, self.how = p, real, {"seed": seed, "device": device}
        self.network, self.families = network_of(p), families_of(p)
        self.read = self.network.reading(device)
        self.sets = training_sets(real, p, **self.how)
        self.few = few_shot(real.train, p["shots"], seed=seed)  # a part of those of the set
        self.models = {name: self._trained_on(images.train) for name, images in self.sets.items()}
        self.losses = self._losses(self.sets, self.models)

    def _trained_on(self, images: ImageSet) -> nn.Module:
        """Return a classifier of as many steps as one of all real images, or of as many epochs."""
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
            yield from self._costs(sets, losses, row)

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
