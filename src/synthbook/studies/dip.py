"""GANs on few images with the Data Instance Prior: chapter 41.

Mangla et al., Data Instance Prior for Transfer Learning in GANs (2022), Tables 1, 6, 7 and 8. Each
method learns a hundred images alone and with the prior: features C(x) of a frozen network as the
condition of each image. Alone it learns one embedding an image, or is another control.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from synthbook.data import at_most
from synthbook.errors import InputError, fault_of
from synthbook.gans.baselines import bsa, glann
from synthbook.gans.baselines.labels import instances, logo
from synthbook.gans.invert import walk
from synthbook.gans.perceptual import check_maps
from synthbook.gans.prior import Interpolations
from synthbook.gans.recipes import Training
from synthbook.gans.sampling import embedded_classes, sample
from synthbook.measure.alike import unit
from synthbook.measure.copying import LEAST, data_copying, replayed
from synthbook.measure.fidelity import DIP_NEIGHBOURS, gaussian, gaussian_distance, precision_recall
from synthbook.measure.neighbours import nearest, pairwise, radii
from synthbook.randomness import derive
from synthbook.studies import few_images, frozen
from synthbook.studies.dip_limited_models import MODULATED
from synthbook.studies.dip_models import (
    CLUSTERS,
    FIRST,
    FROM_OTHERS,
    NONE,
    Model,
    models,
    untrained,
)
from synthbook.studies.dip_study import OfTargets
from synthbook.studies.drawn import Parameters
from synthbook.studies.few_images import WITHOUT, Asked, Finetuned
from synthbook.studies.others import gan_of_others, pretraining_of
from synthbook.studies.prim import (
    bed,
    check_gan,
    check_source,
    curve_rows,
    distance_rows,
    network_of,
    recipe_of,
)
from synthbook.studies.rows import Rows, measured
from synthbook.studies.targets import Target, check_target, parameter_of, target

AS_THEY_ARE = ("scratch", "TransferGAN")  # nothing in their training is other
PARTS = ("methods", "stylegan2", "labels", "losses", "amount", "controls", "alike")
TEN = 10  # of the images to learn from: what would a model be given that draws these alone?


def targets(p: Parameters, part: str) -> list[str]:
    """Return the targets of a part."""
    own = {"methods": "targets", "amount": "amount_targets", "stylegan2": "stylegan2_targets"}
    return list(p[own.get(part, "study_targets")])


def of_bed(p: Parameters, part: str) -> Any:
    """Return the parameters of a part's GAN: SNGAN's, or those of the StyleGAN2 of Table 6."""
    if part == "stylegan2":
        more = {
            "architecture": "stylegan2", "stop_after": 0, "pretrain_on": "",
            "pretrain_settings": [],
        }  # fmt: skip
        return bed(p, "stylegan2_", **more)
    return bed(p, "", pretrain_on="")


def check_few_shot(p: Parameters) -> str:
    """Check what the parameters of chapter 41 mean together; return its images in words."""
    if "controls" in p.parts and p.architecture not in MODULATED:
        raise InputError(
            f"architecture = {p.architecture} takes z in every block anyway, and the part controls "
            "compares with and without that; give sngan, or leave the part out"
        )
    if not p.priors and (asked := [part for part in ("labels", "alike") if part in p.parts]):
        raise InputError(
            f"priors is empty, and the part {asked[0]} takes features of the first; give "
            f"{FIRST}, or leave the part out"
        )
    lines = []
    for part, compared in models(p).items():
        blocks = check_gan(of_bed(p, part))
        held = of_bed(p, part).frozen_blocks
        if held > blocks:
            raise InputError(
                f"frozen_blocks = {held} and the discriminator of {part} has {blocks}; give at "
                f"most {blocks}"
            )
        count = max((model.images for model in compared), default=0)
        why = "amounts" if part == "amount" else "target_images"
        if any(model.chosen == "alike" for model in compared):
            count, why = 2 * count, "twice target_images, for the part alike,"
        if any(model.method in WITHOUT for model in compared):
            check_maps(p.perceptual)
        if not compared:
            raise InputError(f"parts holds {part}, which compares nothing; give it methods")
        for model in compared:  # tells now whether it has a training
            fitting(p, model.method) if model.method in WITHOUT else recipe(p, part, model)
        how = {"data_root": p.data_root, "count": count, "why": why}
        for name in targets(p, part):
            with fault_of(parameter_of(p, name)):
                lines.append(check_target(name, **how))
        if any(model.method in FROM_OTHERS for model in compared):
            lines.append(check_source(of_bed(p, part)))
            pretraining_of(of_bed(p, part))
    frozen.networks(p.priors)  # tells now whether their weights are there
    return "\n".join(dict.fromkeys(lines))


def recipe(p: Parameters, part: str, model: Model) -> Training:
    """Return how a model is trained to its end; priors have no say.

    Raises:
        InputError: for a method that has no training here.
    """
    own = of_bed(p, part)
    made = replace(recipe_of(own), augment="", loss=model.loss)
    if model.method == "DiffAugment":
        weight = 0.0 if part == "stylegan2" else own.consistency
        return replace(made, augment=own.augment, consistency=weight)
    if model.method == "FreezeD":
        return replace(made, frozen_blocks=own.frozen_blocks)
    if model.method not in AS_THEY_ARE:
        raise untrained(model.method, "recipe of studies/dip.py")
    return made


def fitting(p: Parameters, method: str) -> bsa.BSARecipe | glann.GlannRecipe:
    """Return how a method without an adversary is fitted; InputError for one that is not here."""
    if method == "BSA":
        return bsa.BSARecipe(steps=p.bsa_steps)
    if method == "GLANN":
        return glann.GlannRecipe(epochs=p.glann_epochs)
    raise untrained(method, "fitting of studies/dip.py")


class FewShot(OfTargets):
    """Chapter 41: each target learned by each method, alone and with the prior, seed by seed."""

    def __init__(self, p: Parameters, device: str) -> None:
        super().__init__(p, device, models(p), targets)
        self._images = cache(self._images)
        self.given = cache(self._given)

    # -- What a model learns from ------------------------------------------------------------------

    def network(self, part: str) -> dict[str, Any]:
        """Return the settings of a part's networks, without a condition."""
        network = network_of(of_bed(self.p, part))
        return network | ({"name": "stylegan2_mlp"} if part == "stylegan2" else {})

    def recipe(self, part: str, model: Model, *, whole: bool = False) -> Training:
        """Return how a model is trained, by default no longer than this run; priors have no say."""
        found = recipe(self.p, part, model)
        stopped = self.stopped(part) and not whole
        return replace(found, steps=self.p.stop_after) if stopped else found

    def stopped(self, part: str) -> bool:
        """Return whether a part's trainings end before their time."""
        return 0 < self.p.stop_after < of_bed(self.p, part).finetune_steps

    def learned_before(self, seed: int, part: str, model: Model) -> Path | None:
        """Return the folder of the GAN that a model starts from; None for random weights.

        It knows the classes of the real source, where that has some.
        """
        if model.method not in FROM_OTHERS:
            return None
        taken = [name for one in PARTS for name in targets(self.p, one)]
        how = {"seed": seed, "device": self.device}
        return gan_of_others(of_bed(self.p, part), self.network(part), taken, **how)

    def images(self, seed: int, part: str, name: str, model: Model) -> Target:
        """Return the images of a target that a model gets, and the held-out ones of its part."""
        return self._images(seed, part, name, model.images, model.chosen)

    def _images(self, seed: int, part: str, name: str, images: int, chosen: str) -> Target:
        """Return so many images of a target.

        Fewer images are some of more. Those that are alike are the nearest, in the features of the
        first prior, of the image that has the nearest ones, among twice as many; then fewer are
        held out.
        """
        most = max(one.images for one in self.models[part]) * (1 + (chosen == "alike"))
        side = self.network(part)["image_size"]
        how = {"image_size": side, "seed": seed, "data_root": self.p.data_root}
        few = target(name, count=most, spare=self.p.held_out_images, **how)
        if chosen == "random":
            return replace(few, train=at_most(few.train, images, seed=seed))
        rows = self.unit(few.train.images)
        middle = rows[radii(rows, images - 1).argmin()]
        near = np.linalg.norm(rows - middle, axis=1).argsort(kind="stable")[:images]
        return replace(few, train=few.train.subset(np.sort(near)))

    def unit(self, images: np.ndarray) -> np.ndarray:
        """Return the features of the first prior, scaled to length one, float64 [N, d]."""
        return unit(next(iter(self.priors.values())).cached(images))

    def _given(
        self, seed: int, part: str, name: str, model: Model
    ) -> tuple[Target, dict[str, Any], Asked]:
        """Return images with the labels that a model takes, its networks, and its conditions.

        Judged images with the prior have conditions between two of the training images' (Eq. 5),
        others each training image's embedding, or class, in turn.
        """
        few, network = self.images(seed, part, name, model), self.network(part)
        count = self.p.generated
        if model.prior != NONE:
            vectors = self.prior(seed, part, name, model).vectors
            network |= {"condition_size": vectors.shape[1]}
            return few, network, Asked(vectors, Interpolations(vectors).sample(count, seed))
        if model.labels in (NONE, "self-modulated"):
            network |= {"name": MODULATED[network["name"]]} if model.labels != NONE else {}
            return few, network, Asked(None, [None] * count)
        train = instances(few.train)
        if model.labels != "instances":
            rows = next(iter(self.priors.values())).cached(few.train.images)
            train = logo(few.train, rows, clusters=int(model.labels), seed=seed)
        network |= {"num_classes": train.num_classes}
        turns = [int(train.labels[k % len(train)]) for k in range(count)]
        return replace(few, train=train), network, Asked(None, turns)

    def may_be_kept(self, model: Model) -> bool:
        """Return whether it is trained by `few_images.conditioned` from random weights."""
        return model.method not in (*WITHOUT, *FROM_OTHERS)

    def arguments(
        self, seed: int, part: str, name: str, model: Model, *, whole: bool = False
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of `few_images.conditioned`; ``whole``: of a training to its end."""
        few, network, asked = self.given(seed, part, name, model)
        how = {
            "first": self.learned_before(seed, part, model), "extractor": self.extractor,
            "evaluate_every": of_bed(self.p, part).evaluate_every, "seed": seed,
            "choosing": "held_out" if few.held_out and part != "stylegan2" else "train",
            "device": self.device,
        }  # fmt: skip
        trained_by = self.recipe(part, model, whole=whole)
        return (few.train, few.held_out, trained_by, network, asked), how

    # -- Learning and sampling ---------------------------------------------------------------------

    def learned(self, seed: int, part: str, name: str, model: Model) -> Finetuned:
        """Return what a model learned of a target."""
        p, how = self.p, {"seed": seed, "extractor": self.extractor, "device": self.device}
        if model.method in WITHOUT:
            vectors, few = None, self.images(seed, part, name, model)
            fit = fitting(p, model.method)
            if model.method == "GLANN" and model.prior != NONE:
                vectors = self.prior(seed, part, name, model).vectors
            how |= {"perceptual": p.perceptual, "generated": p.generated}
            how |= {"first": self.learned_before(seed, part, model)}
            return few_images.fitted(model.method, few.train, few.held_out, fit, vectors, **how)
        given, how = self.arguments(seed, part, name, model)
        return few_images.conditioned(*given, **how)

    def samples(
        self, seed: int, part: str, name: str, model: Model, count: int, *, between: bool = False,
        learned: Finetuned | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return images of the best snapshot, as they are judged, uint8 [count, H, W, C].

        With ``between`` those without a prior come from between two embeddings, too. ``learned``
        may be a kept result.
        """
        learned = learned or self.learned(seed, part, name, model)
        generator = learned.generator("best")
        how = {"seed": derive(seed, "measured"), "device": self.device}
        if model.method in WITHOUT or model.labels in (NONE, "self-modulated"):
            return sample(generator, [None] * count, **how)
        if model.prior != NONE:
            vectors = self.prior(seed, part, name, model).vectors
            return sample(generator, Interpolations(vectors).sample(count, seed + 1), **how)
        if between and model.between:
            found = Interpolations(embedded_classes(generator).cpu()).sample(count, seed + 1)
            return sample(generator, found, embedded=True, **how)
        labels = self.given(seed, part, name, model)[0].train.labels
        return sample(generator, [int(labels[k % len(labels)]) for k in range(count)], **how)

    def walk(
        self, seed: int, part: str, name: str, model: Model, ends: tuple[int, int], images: int, *,
        learned: Finetuned | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return images on the way between the conditions of two training images (Figure 3).

        ``learned`` may be a kept result.
        """
        learned = learned or self.learned(seed, part, name, model)
        generator = learned.generator("best")
        how = {"seed": seed, "images": images, "device": self.device}
        if model.prior != NONE:
            vectors = self.prior(seed, part, name, model).vectors
            return walk(generator, vectors[ends[0]], vectors[ends[1]], **how)
        rows = embedded_classes(generator)
        return walk(generator, rows[ends[0]], rows[ends[1]], embedded=True, **how)

    # -- Rows --------------------------------------------------------------------------------------

    def rows(self, seed: int, part: str, name: str, model: Model) -> Rows:
        """Do a job. Of a training that is stopped early the curve is all there is."""
        learned, sets = self.learned(seed, part, name, model), ("held_out", "train")
        first = [one for one in sets if one in learned.history[learned.last]][:1]
        about = model.fields() | {"part": part, "dataset": name.rstrip("/"), "seed": seed}
        about["backbone"] = self.network(part)["name"]
        if model.method in WITHOUT:
            ((_, found),) = learned.history.items()
            for against in (one for one in sets if one in found):
                where = about | {"against": against}
                yield where | {"metric": "best_fd", "value": found[against], "selected": against}
                yield where | {"metric": "last_fd", "value": found[against]}
        elif self.stopped(part):
            yield from ({**row, **about} for row in curve_rows(learned, first))
            return
        else:
            yield from ({**row, **about} for row in distance_rows(learned, sets))
            if part == "methods":
                yield from ({**row, **about} for row in curve_rows(learned, first))
        if part == "methods":
            yield from measured(about, self._measures(seed, part, name, model))
        if model == self.models[part][-1]:
            yield from self._references(seed, part, name, about)

    def _measures(self, seed: int, part: str, name: str, model: Model) -> dict[str, float]:
        """Return precision, recall, C_T, and what images between two conditions are like."""
        few, count = self.images(seed, part, name, model), self.p.measured
        here = seed, part, name, model
        if not few.held_out:
            return {}
        base, held = (self.extractor.cached(one.images) for one in (few.train, few.held_out))
        made = self.extractor(self.samples(*here, count))
        found = judged(base, held, made, seed)
        if model.between:
            if model.prior == NONE:
                made = self.extractor(self.samples(*here, count, between=True))
            found["interpolated_fd"] = gaussian_distance(gaussian(held), gaussian(made))
            found["nearest_distance"] = float(nearest(made, base)[1].mean())
        return found

    def _references(self, seed: int, part: str, name: str, about: dict[str, Any]) -> Rows:
        """Yield what a part is read beside: replayed images, and how alike images are."""
        plain = self.models[part][0]
        few = self.images(seed, part, name, plain)
        about = about | plain.fields() | {"source": NONE, "prior": NONE, "labels": NONE}
        if part == "methods" and few.held_out:
            base, held = (self.extractor.cached(one.images) for one in (few.train, few.held_out))
            again = gaussian(replayed(base, self.p.generated, seed=seed))
            where = about | {"method": "replayed", "against": "held_out", "selected": "held_out"}
            value = gaussian_distance(gaussian(held), again)
            yield where | {"metric": "best_fd", "value": value}
            ten = self.extractor.cached(at_most(few.train, TEN, seed=seed).images)
            for method, rows in (("replayed", base), ("ten replayed", ten)):
                again = replayed(rows, self.p.measured, seed=seed)
                yield from measured(about | {"method": method}, judged(base, held, again, seed))
        if part != "alike":
            return
        for chosen in ("random", "alike"):
            pair = [one for one in self.models[part] if one.chosen == chosen]
            values = [self.learned(seed, part, name, one).lowest for one in pair]
            where = about | {"chosen": chosen, "against": "train"}
            if len(values) == 2:
                gain = {"gain": 1 - values[1] / values[0]}
                yield from measured(where | {"method": "DiffAugment", "prior": pair[1].prior}, gain)
            rows = self.unit(self.images(seed, part, name, pair[0]).train.images)
            apart = pairwise(rows, rows)[np.triu_indices(len(rows), 1)].mean()
            spread = {"prior_spread": float(apart)}
            yield from measured(where | {"method": "prior", "against": ""}, spread)


def judged(base: np.ndarray, held: np.ndarray, made: np.ndarray, seed: int) -> dict[str, float]:
    """Return precision, recall and C_T of generated images, from features [N, D] of each.

    ``base`` are the images trained on, ``held`` the held-out ones. Neighbours are the paper's 10
    and 40, or all but one where there are fewer images; C_T has up to 5 cells.
    """
    k = tuple(min(n, len(x) - 1) for n, x in zip(DIP_NEIGHBOURS, (held, made), strict=True))
    found = dict(zip(("precision", "recall"), precision_recall(held, made, k), strict=True))
    cells = max(1, min(5, len(base) // LEAST))
    least = min(LEAST, len(made) // (2 * cells))
    copied = data_copying(base, held, [made], cells=cells, least=least, seed=seed)
    return found | {"c_t": copied.c_t.mean}


def shown(model: Model) -> str:
    """Return how a model is written on the page: "DiffAugment + DIP", "FreezeD, 5 clusters"."""
    return named(model.fields())


def named(row: Any) -> str:
    """Return the same of a row's fields."""
    if row["prior"] != NONE:
        return f"{row['method']} + DIP" + ("" if row["prior"] == FIRST else f", {row['prior']}")
    if row["labels"] in CLUSTERS:
        return f"{row['method']} + {row['labels']} clusters"
    return row["method"]


def pairs_of(count: int, number: int) -> Iterator[tuple[int, int]]:
    """Yield pairs of training images to walk between: first and last, and inwards."""
    yield from ((k, count - 1 - k) for k in range(min(number, count // 2)))
