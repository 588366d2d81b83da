"""GANs on limited data with the Data Instance Prior: chapter 42.

Mangla et al., Data Instance Prior for Transfer Learning in GANs (2022), Tables 2 and 9, Figure 2.
Hundreds of images, not a hundred: a GAN of other images is finetuned on a target, and shares of a
data set are learned from random weights. What has no prior is modulated by z alone (Appendix B).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from synthbook.data import ImageSet, at_most, check, concatenate, load
from synthbook.errors import InputError, fault_of
from synthbook.gans import networks
from synthbook.gans.prior import Elements
from synthbook.gans.sampling import sample
from synthbook.measure.copying import replayed
from synthbook.measure.fidelity import gaussian, gaussian_distance
from synthbook.randomness import derive, numpy_generator
from synthbook.studies import few_images, frozen
from synthbook.studies.dip_limited_models import (
    AFRESH,
    FINETUNED,
    Model,
    counts,
    models,
    network,
    of_bed,
    own_settings,
    recipe,
    sets,
    steps_of,
)
from synthbook.studies.dip_models import NONE
from synthbook.studies.dip_study import OfTargets
from synthbook.studies.drawn import Parameters
from synthbook.studies.few_images import Asked, Finetuned
from synthbook.studies.mined import mined
from synthbook.studies.others import gan_of_others, pretraining_of, told_of_others
from synthbook.studies.prim import (
    check_gan,
    check_source,
    check_stop,
    curve_rows,
    distance_rows,
    network_of,
)
from synthbook.studies.rows import Rows, measured
from synthbook.studies.targets import Target, check_target, target

SETS = ("held_out", "train")


def check_limited(p: Parameters) -> str:
    """Check what the parameters of chapter 42 mean together; return its images in words."""
    if "finetuning" not in p.parts and p.own("targets"):
        raise InputError(
            f"targets = {list(p.targets)} are of the part finetuning, which is not in parts; give "
            "-p parts=finetuning -p methods=DiffAugment as well, or leave targets out"
        )
    lines = []
    for part, compared in models(p).items():
        own = of_bed(p, part)
        _check_measurements(p, own.finetune_steps, "finetune" if part == "finetuning" else "share")
        blocks, of_part = check_gan(own), network_of(own)
        if not compared:
            possible = {"finetuning": FINETUNED, "scores": AFRESH[:1]}.get(part, AFRESH)
            raise InputError(
                f"methods = {list(p.methods)} and {part} has none of them; add one of "
                f"{', '.join(possible)}, or leave {part} out of parts"
            )
        if of_part["name"] == "biggan" and not of_part.get("hierarchical", True):
            raise InputError(
                f"network_settings of {part}: hierarchical is False, and z modulates the blocks of "
                "a biggan with True alone; leave it out"
            )
        networks.create_config(**network(p, part))
        for model in compared:
            recipe(p, part, model)  # tells now whether it has a training
        if part == "finetuning":
            _check_finetuning(p, blocks, compared)
            with fault_of("targets"):
                lines += [
                    check_target(name, data_root=p.data_root, count=count)
                    for name, count in counts(p).items()
                ]
            lines.append(check_source(own))
            pretraining_of(own)
            continue
        for name in sets(p, part):
            with fault_of("more_data" if name in p.more_data else "data"):
                summary = check(name, data_root=p.data_root, image_size=own.image_size)
            images = sum(count for kind, count in summary.counts.items() if kind != "test")
            if round(min(p.shares) * images) < 2:
                raise InputError(
                    f"shares = {list(p.shares)}: {min(p.shares):g} of the {images:,} training "
                    f"images of '{name}' is less than two; give {2 / images:.2g} or more"
                )
            lines.append(str(summary))
    frozen.networks(p.priors)  # tells now whether their weights are there
    return "\n".join(dict.fromkeys(lines))


def _check_measurements(p: Parameters, steps: int, of: str) -> None:
    if p.evaluate_every > steps:
        raise InputError(
            f"evaluate_every = {p.evaluate_every} and there are {steps} {of}_steps; give at most "
            f"{steps}"
        )
    if p.stop_after % p.evaluate_every:
        raise InputError(
            f"stop_after = {p.stop_after} and a training is measured every {p.evaluate_every} "
            "steps (evaluate_every); give a multiple of it, or 0"
        )


def _check_finetuning(p: Parameters, blocks: int, compared: list[Model]) -> None:
    methods = {model.method for model in compared}
    if "FreezeD" in methods and p.frozen_blocks > blocks:
        raise InputError(
            f"frozen_blocks = {p.frozen_blocks} and the discriminator has {blocks}; give at most "
            f"{blocks}"
        )
    steps = steps_of(p, "finetuning", Model("MineGAN"))
    if "MineGAN" in methods and p.mining_steps >= steps:
        raise InputError(
            f"mining_steps = {p.mining_steps} and MineGAN has {steps} steps in all; give less, or "
            "a longer training (finetune_steps, stop_after)"
        )
    for method in FINETUNED:
        own_settings(p, method)
    for method in sorted(methods):
        own = recipe(p, "finetuning", Model(method))
        check_stop(p.stop_after, own, f"method_settings of {method}")


class Limited(OfTargets):
    """Chapter 42: targets and shares of data sets, learned by each method and judged."""

    def __init__(self, p: Parameters, device: str) -> None:
        super().__init__(p, device, models(p), sets)
        self._images = cache(self._images)
        self._data = cache(self._data)

    # -- What a model learns from ------------------------------------------------------------------

    def images(self, seed: int, part: str, name: str, model: Model) -> Target:
        """Return the images that a model learns, and unseen ones, as many as are generated at most.

        A smaller share of a data set is part of a larger one; the unseen images are the same.
        """
        side = of_bed(self.p, part).image_size
        return self._images(seed, name, side, model.share)

    def _images(self, seed: int, name: str, side: int, share: float) -> Target:
        if not share:
            how = {"image_size": side, "seed": seed, "data_root": self.p.data_root}
            how |= {"spare": self.p.held_out_images}
            return target(name, count=counts(self.p)[name], **how)
        pool, test = self._data(name, side)
        train = at_most(pool, round(share * len(pool)), seed=seed)
        held_out = at_most(test, self.p.generated, seed=seed)
        return Target(name, _shuffled(train, seed), _shuffled(held_out, seed))

    def _data(self, name: str, side: int) -> tuple[ImageSet, ImageSet]:
        """Return all images of a data set but those to test on, and these."""
        parts = load(name, data_root=self.p.data_root, image_size=side, channels=3)
        return concatenate(parts.train, parts.val, name=name), parts.test

    def given(
        self, seed: int, part: str, name: str, model: Model
    ) -> tuple[Target, dict[str, Any], Asked]:
        """Return the images of a model, its networks, and its conditions.

        With the prior, judged images have the conditions of training images, drawn at random.
        """
        few, settings = self.images(seed, part, name, model), network(self.p, part)
        count = self.p.generated
        if model.prior == NONE:
            return few, settings, Asked(None, [None] * count)
        vectors = self.prior(seed, part, name, model).vectors
        settings |= {"condition_size": vectors.shape[1]}
        return few, settings, Asked(vectors, Elements(vectors).sample(count, seed))

    def learned_before(self, seed: int, part: str) -> Path | None:
        """Return the folder of the GAN that a part's models start from; None for random weights.

        It is conditioned on the classes of other images; where a model's batch norm, or its
        condition, needs other weights, these are new.
        """
        if part != "finetuning":
            return None
        own = of_bed(self.p, part)
        how = {"seed": seed, "device": self.device}
        return gan_of_others(own, network_of(own), self.p.targets, **how)

    def told_before(self, seed: int, part: str) -> dict[str, Any] | None:
        """Return what tells the GAN that a part's models start from, without training it."""
        if part != "finetuning":
            return None
        own = of_bed(self.p, part)
        return told_of_others(own, network_of(own), self.p.targets, seed=seed)

    def may_be_kept(self, model: Model) -> bool:
        """Return whether it is trained by `few_images.conditioned`; MineGAN has a miner besides."""
        return model.method != "MineGAN"

    def arguments(
        self, seed: int, part: str, name: str, model: Model, *, whole: bool = False
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of `few_images.conditioned`, but ``first``; MineGAN has others.

        ``whole``: of a training to its end.
        """
        few, settings, asked = self.given(seed, part, name, model)
        how = recipe(self.p, part, model)
        how = how if whole else replace(how, steps=steps_of(self.p, part, model))
        with_all = {
            "extractor": self.extractor, "evaluate_every": self.p.evaluate_every, "seed": seed,
            "choosing": "held_out" if few.held_out else "train", "device": self.device,
            "scored": self.p.generated if part in ("fractions", "scores") else 0,
        }  # fmt: skip
        return (few.train, few.held_out, how, settings, asked), with_all

    # -- Learning and sampling ---------------------------------------------------------------------

    def learned(self, seed: int, part: str, name: str, model: Model) -> Finetuned:
        """Return what a model learned, or what it had when it was stopped."""
        given, with_all = self.arguments(seed, part, name, model)
        with_all |= {"first": self.learned_before(seed, part)}
        if model.method == "MineGAN":
            train, held_out, how, *_ = given
            del with_all["scored"]
            mining = replace(how, steps=self.p.mining_steps)
            after = replace(how, steps=how.steps - mining.steps)
            count = self.p.generated
            return mined(train, held_out, mining, after, generated=count, **with_all)
        return few_images.conditioned(*given, **with_all)

    def samples(
        self, seed: int, part: str, name: str, model: Model, count: int, *,
        learned: Finetuned | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return images of the best snapshot, as they are judged, uint8 [count, H, W, C].

        ``learned`` may be a kept result.
        """
        learned = learned or self.learned(seed, part, name, model)
        generator = learned.generator("best")
        how = {"seed": derive(seed, "measured"), "device": self.device}
        if model.prior == NONE:
            return sample(generator, [None] * count, **how)
        vectors = self.prior(seed, part, name, model).vectors
        return sample(generator, Elements(vectors).sample(count, seed + 1), **how)

    # -- Rows --------------------------------------------------------------------------------------

    def rows(self, seed: int, part: str, name: str, model: Model) -> Rows:
        """Do a job. Of a training that is stopped early the curves are all there is.

        Of a whole one they are kept for the smallest share, as in Figure 2.
        """
        learned = self.learned(seed, part, name, model)
        stopped = learned.last < recipe(self.p, part, model).steps
        about = model.fields() | {"part": part, "dataset": name.rstrip("/"), "seed": seed}
        about["backbone"] = of_bed(self.p, part).architecture
        if part == "scores":
            yield from ({**row, **about} for row in score_rows(learned, whole=not stopped))
            return
        if stopped or (part == "fractions" and model.share == min(self.p.shares)):
            known = [one for one in SETS if one in learned.history[learned.last]]
            yield from ({**row, **about} for row in curve_rows(learned, known[:1]))
        if stopped:
            return
        yield from ({**row, **about} for row in distance_rows(learned, SETS))
        if model == next(m for m in self.models[part] if m.share == model.share):
            yield from self._replayed(seed, part, name, model, about)

    def _replayed(
        self, seed: int, part: str, name: str, model: Model, about: dict[str, Any]
    ) -> Rows:
        """Yield the distance of the training images, drawn with repetition, to unseen ones."""
        few = self.images(seed, part, name, model)
        if not few.held_out:
            return
        base, held = (self.extractor.cached(some.images) for some in (few.train, few.held_out))
        again = gaussian(replayed(base, self.p.generated, seed=seed))
        where = {"method": "replayed", "prior": NONE, "labels": NONE, "source": NONE}
        where |= {"against": "held_out", "selected": "held_out"}
        yield from measured(about | where, {"best_fd": gaussian_distance(gaussian(held), again)})


def score_rows(learned: Finetuned, *, whole: bool) -> Rows:
    """Yield the discriminator's mean unconditional scores over the steps (Figure 2).

    Of a ``whole`` training also how far the score of training images is above that of unseen ones
    in the end ("score_gap"), and above that of generated ones ("score_room").
    """
    for step, numbers in learned.history.items():
        for name in ("train", "held_out", "generated"):
            value = numbers[f"score_{name}"]
            yield {"metric": "score", "value": value, "against": name, "step": step}
    if whole:
        end = learned.history[learned.last]
        for metric, name in (("score_gap", "held_out"), ("score_room", "generated")):
            yield {"metric": metric, "value": end["score_train"] - end[f"score_{name}"]}


def _shuffled(images: ImageSet, seed: int) -> ImageSet:
    """Return images in random order, so that the first of them are a fair choice."""
    return images.subset(numpy_generator(seed, "shuffled").permutation(len(images)))
