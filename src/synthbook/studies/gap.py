"""Why generated images train worse classifiers (study `gap`): the experiments of its chapters.

An experiment takes a chapter's parameters ``p`` and yields rows. What a chapter asks of them
beforehand is in `image_sources`, chapter 14 in `teaching`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.data import ImageSet, Splits, at_most
from synthbook.randomness import derive, numpy_generator
from synthbook.studies import needs
from synthbook.studies.image_sources import (
    FILTERED_REAL,
    GUIDED,
    GUIDED_UNFILTERED,
    SCALES,
    UNFILTERED,
    families_of,
    guided_families,
    numbers_of,
    trained_here,
)
from synthbook.studies.rows import REAL, Row, Rows, measured

if TYPE_CHECKING:
    import pandas as pd

    from synthbook.recognize.models import Classifier
    from synthbook.studies.training_sets import TrainingSet

GUIDED_SHARE = 3  # its sets are smaller so many times: every scale has to be sampled
RAW = {"confidence": 0.0, "unconditional": []}  # parameters of samples as they are drawn
SPLITS = ("train", "test")  # images that a source's own classifier was trained on, and others


def unseen(real: Splits, most: int) -> tuple[ImageSet, ImageSet]:
    """Return two disjoint samples of the test images, ``most`` or half of them each.

    The first is what generated images are compared with, the second what a perfect generator
    would have drawn: the control.
    """
    count = min(most, len(real.test) // 2)
    drawn = numpy_generator(0, "unseen").permutation(len(real.test))
    first, second = drawn[:count], drawn[count : 2 * count]
    return real.test.subset(np.sort(first)), real.test.subset(np.sort(second))


# -- Chapter 11 ---------------------------------------------------------------------------------


def make_models(p: Mapping[str, Any], real: Splits, *, device: str = "cpu") -> Iterator[str]:
    """Train the models that are not kept yet, ``p["minutes"]`` each at most; yield a line each.

    With 0 minutes none is trained.

    Raises:
        InputError: if one is kept that was trained for fewer minutes, or by another recipe.
    """
    from synthbook.studies import models
    from synthbook.training import Budget

    if not p["minutes"]:
        return
    learned, minutes = models.Learned.of(p["data"], real), p["minutes"]
    budget = Budget(minutes=minutes, measure_every=min(Budget.measure_every, minutes / 5))
    name = f"{_folder_name(p['data'])}-{real.train.fingerprint()[:6]}"
    wanted = list(product(numbers_of(p), trained_here(p)))
    for number, family in wanted:
        how = {"seed": number, "minutes": minutes, "recipe": p["recipe"]}
        models.check_taken(family, learned, **how)
    for number, family in wanted:
        how = {"seed": number, "budget": budget, "recipe": p["recipe"], "device": device}
        card = models.train(family, learned, name=f"{name}-{family}", **how).card
        yield (
            f"{family} model number {number} of '{p['data']}' is kept as {card['name']}, after "
            f"{card['curve'][-1]['minutes']:.1f} minutes of training"
        )
    yield f"Chapters 12 to 16 take them: {needs.to_run('12_not_mutual', p)}"


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
    """Return what the samples on the cards teach, a line a family and guidance scale.

    And, as the control of the agreement, the accuracy of its classifier on real validation images.
    """
    import pandas as pd

    lines = {
        f"{family}, g = {scale[1:]}": {
            "linear": found["probe"], "small network": found["accuracy"], "FD": found["fd"],
            "agreement": round(float(np.mean(list(found["class_agreement"].values()))), 1),
        }
        for family, card in cards.items()
        for scale, found in card["measures"].items()
    }  # fmt: skip
    right = float(np.mean([card["real_classifier"] for card in cards.values()]))
    return pd.DataFrame({**lines, "real, unseen": {"agreement": round(right, 1)}}).T


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
    no filter chose. With "guided" both again on images of each guidance scale. With
    "filtered_real" also on the real test images that the filter passes; of real images alone, that
    is all.
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
    if families_of(p):
        yield from table(sets, models, row | {"method": "plain"})
    if FILTERED_REAL in p["controls"]:
        yield from _on_filtered_real(p, real, models, row, **how)
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

    Their labels are the classes that the generators were asked for; of images that a reader gave
    without labels, what the filter's classifier sees.
    """
    from synthbook.studies.training_sets import training_sets

    if UNFILTERED not in p.get("controls", ()):
        return {}
    chosen = [source for source in p["sources"] if sets[source.partition("=")[0]].info]
    return training_sets(real, {**p, "sources": chosen, **RAW}, **how)


def filtered_real(
    p: Mapping[str, Any], real: Splits, *, seed: int, device: str = "cpu"
) -> tuple[ImageSet, dict[str, float]]:
    """Return the test images that pass the filter of generated ones, and counts as for those.

    They have the labels that its classifier sees, as images of a model without classes have, and
    are all that pass, so that some classes are larger than others. Of the counts, ``agreement`` is
    the share of them whose label is the true one.
    """
    from synthbook.generate.clones import confident
    from synthbook.recognize.predict import predict
    from synthbook.studies.training_sets import classifier_of_all, network_of

    judge = classifier_of_all(real, p, seed=seed, device=device)
    logits = predict(judge, real.test, **network_of(p).reading(device))
    keep, labels = confident(logits.softmax(1).numpy(), p["confidence"])
    passed = real.test.subset(np.flatnonzero(keep))
    info = {"drawn": len(real.test), "accepted": len(passed), "share": float(keep.mean())}
    info |= {"kept": len(passed), "confidence": p["confidence"]}
    info["agreement"] = float((passed.labels == labels[keep]).mean()) if len(passed) else 0.0
    return ImageSet(passed.images, labels[keep], real.test.classes, "filtered real"), info


def _on_filtered_real(
    p: Mapping[str, Any], real: Splits, models: Mapping[str, Classifier], row: Row, **how: Any
) -> Rows:
    """Yield how the classifiers do on real images as generated ones are chosen and labelled.

    And which share of them the filter passes, and how many of its labels are the true ones.
    """
    from synthbook.recognize.predict import predict
    from synthbook.studies.training_sets import network_of

    images, info = filtered_real(p, real, **how)
    row = row | {"method": FILTERED_REAL, "split": "test"}
    shares = {"passed_share": 100 * info["share"], "class_agreement": 100 * info["agreement"]}
    yield from measured(row | {"train": REAL, "test": "classifier"}, shares)
    if not len(images):
        return
    present = np.flatnonzero(images.counts())
    for train, model in models.items():
        seen = predict(model, images, **network_of(p).reading(how["device"])).argmax(1).numpy()
        right = seen == images.labels
        values = {"top1_accuracy": 100 * float(right.mean())}
        by_class = [right[images.labels == k].mean() for k in present]
        values["mean_class_accuracy"] = 100 * float(np.mean(by_class))
        yield from measured(row | {"train": train, "test": REAL}, values)


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
