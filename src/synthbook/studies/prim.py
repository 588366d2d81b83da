"""GANs that learned from drawn images before, finetuned on few photographs: chapter 52.

Baek and Shim, Generic and Privacy-free Synthetic Data Generation for Pretraining GANs (2022); what
the images are like is in ``drawn``, and chapter 53 in ``reasons``. A chapter's experiment is a
class: it unpacks the chapter's parameters ``p``, lists its ``jobs`` in order, and does one of them
in ``rows(*job)``. Its checks are ``check_...``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from synthbook.data import check
from synthbook.errors import InputError, fault_of
from synthbook.gans import networks
from synthbook.gans.recipes import Training, published
from synthbook.generate.primitives import Primitives
from synthbook.measure import features
from synthbook.measure.objects import object_counts
from synthbook.settings import from_texts
from synthbook.studies import few_images, needs, pairs
from synthbook.studies.drawn import (
    PS,
    Parameters,
    check_quirks,
    recipes,
    shapes_of,
    visibility_rows,
)
from synthbook.studies.few_images import Counter, Finetuned
from synthbook.studies.rows import REAL, Rows, measured
from synthbook.studies.targets import check_target, real_source, stream, target

SCRATCH = "scratch"

# ---- a GAN on few images: chapters 52 and 53 -----------------------------------------------------

OF_NETWORKS = ("image_size", "image_channels", "num_classes", "condition_size")
OF_TRAINING = ("steps", "augment", "precision", "frozen_blocks")  # parameters, not in the settings


def bed(p: Parameters, prefix: str, **more: Any) -> Any:
    """Return the parameters of a chapter's other GAN, whose names begin with ``prefix``.

    They take the places of those without, as ``more`` does; all others are the chapter's.
    """
    own = {name.removeprefix(prefix): p[name] for name in p if name.startswith(prefix)}
    return SimpleNamespace(**{**p, **own, **more, "prefix": prefix})


def _told(p: Parameters, name: str) -> str:
    """Return what a reader calls a parameter of a bed."""
    return getattr(p, "prefix", "") + name


def network_of(p: Parameters) -> dict[str, Any]:
    """Return the settings of the chapters' GAN, for ``gans.networks.create_generator``."""
    config = networks.ARCHITECTURES[p.architecture].config
    name = _told(p, "network_settings")
    given = from_texts(config, p.network_settings, name, OF_NETWORKS)
    return {"name": p.architecture, "image_size": p.image_size, **given}


def recipe_of(p: Parameters) -> Training:
    """Return how the GAN is finetuned; only the steps of its pretraining are others."""
    name = _told(p, "training_settings")
    given = from_texts(Training, p.training_settings, name, OF_TRAINING)
    how = {"steps": p.finetune_steps, "augment": p.augment, "precision": p.precision}
    return published(p.architecture, **how, **given)


def check_gan(p: Parameters) -> int:
    """Check the parameters of the GAN; return the number of its discriminator's blocks."""
    try:
        config = networks.create_config(**network_of(p))
    except InputError as error:
        raise InputError(f"{_told(p, 'image_size')} = {p.image_size}: {error}") from None
    recipe = recipe_of(p)
    if p.evaluate_every > p.finetune_steps:
        raise InputError(
            f"{_told(p, 'evaluate_every')} = {p.evaluate_every} and there are {p.finetune_steps} "
            f"{_told(p, 'finetune_steps')}; give at most {p.finetune_steps}"
        )
    if p.stop_after % p.evaluate_every:
        raise InputError(
            f"stop_after = {p.stop_after} and a training is measured every {p.evaluate_every} "
            f"steps ({_told(p, 'evaluate_every')}); give a multiple of it, or 0"
        )
    group = getattr(config, "deviation_group", 1)
    if recipe.batch_size % group:
        raise InputError(
            f"{_told(p, 'training_settings')}: batch_size = {recipe.batch_size}; give a multiple "
            f"of {group}, the group of the minibatch deviation"
        )
    needs.check_gan(
        _widths(config), p.image_size, recipe.batch_size, latent=config.latent,
        mapping=getattr(config, "mapping_layers", 0), name=_told(p, ""), device=p.device,
    )  # fmt: skip
    needs.check_generated(p.generated, p.image_size, _told(p, "generated"))
    needs.check_generated(recipe.standing_images, p.image_size, "standing_images")
    needs.check_device(p.device)
    check_stop(p.stop_after, recipe, _told(p, "training_settings"))
    # Tells now whether its weights are there.
    features.extractor(p.extractor, size=p.extractor_size)
    with torch.device("meta"):  # shapes alone
        return len(networks.ARCHITECTURES[p.architecture].discriminator(config).stages())


def check_stop(stop_after: int, recipe: Training, name: str) -> None:
    """Raise InputError if a training that is stopped is not the first part of the whole one.

    Only rates that stay the same do not depend on how many steps follow.
    """
    if 0 < stop_after < recipe.steps and recipe.schedule != "constant":
        raise InputError(
            f"stop_after = {stop_after} and {name}: schedule is '{recipe.schedule}' over as many "
            f"steps as there are, and of {recipe.steps} the first {stop_after} would be trained by "
            "other rates; give schedule=constant, or stop_after 0"
        )


def _widths(config: networks.NetworkConfig) -> list[int]:
    """Return the widths of the wider of both networks at 4, 8, ... pixels."""
    wide = getattr(config, "discriminator_channels", None)
    return config.widths() if wide is None else config.widths(max(config.channels, wide))


def check_source(p: Parameters) -> str:
    """Check what stands for real images that were seen before; return it in words."""
    if not p.pretrain_on:
        single = ":" in p.real_source or Path(p.real_source).expanduser().is_dir()
        size = {"image_size": p.image_size}
        look, how = (check_target, {"whole": True}) if single else (check, size)
        with fault_of(_told(p, "real_source")):
            return str(look(p.real_source, data_root=p.data_root, **how))
    ours = networks.create_config(**network_of(p))
    theirs = networks.check_pair(Path(p.pretrain_on).expanduser())
    wanted, given = ({"architecture": c.architecture, **asdict(c)} for c in (ours, theirs))
    other = [
        f"{name} {given.get(name)}, not {value}"
        for name, value in wanted.items()
        if given.get(name) != value and name not in ("style_mixing", "deviation_group")
    ]
    if other:
        raise InputError(
            f"pretrain_on = '{p.pretrain_on}' holds networks with {'; '.join(other)}; give "
            "architecture, image_size and network_settings as they have"
        )
    return f"{p.pretrain_on}: a pretrained pair of {ours.image_size} pixels for the real source"


class FewImages:
    """What chapters 52 and 53 train a GAN on: targets, and what it learned from before.

    Everything is in the cache: asked again, it is read.
    """

    def __init__(self, p: Parameters, device: str, without: Sequence[str]) -> None:
        """Unpack ``p``; targets of the real source named in ``without`` are left out of it."""
        self.device, self.network, self.recipe = device, network_of(p), recipe_of(p)
        self.pretraining = replace(self.recipe, steps=p.pretrain_steps)
        self.stopped = 0 < p.stop_after < p.finetune_steps
        if self.stopped:  # nothing that a step does depends on how many follow
            self.recipe = replace(self.recipe, steps=p.stop_after)
        self.evaluate_every, self.generated = p.evaluate_every, p.generated
        self.extractor = features.extractor(p.extractor, device, size=p.extractor_size)
        self.drawn = Primitives(
            PS, shapes=shapes_of(p, p.image_size), size_policy=p.size_policy, quirks=tuple(p.quirks)
        )
        self.pair = Path(p.pretrain_on).expanduser() if p.pretrain_on else None
        self.inside = {name.rstrip("/") for name in p.in_domain}
        where = {"image_size": p.image_size, "data_root": p.data_root}

        # The real images to pretrain on, without the targets' classes; a target by seed and name.
        self.real = cache(partial(real_source, p.real_source, without=without, **where))
        few = {"count": p.target_images, **where}
        self.target = cache(lambda seed, name: target(name, seed=seed, **few))

    def pretrained(self, seed: int, source: Primitives | str) -> Path:
        """Return the folder of the pair that learned from drawn images, or from "real" ones.

        One of the book's, or one that was made before, is taken; else it is trained now.
        """
        if source == REAL and self.pair:
            return few_images.adopted(self.pair, self.device)
        side, how = self.network["image_size"], {"seed": seed, "device": self.device}
        images = self.real() if source == REAL else stream(source, image_size=side, **how)
        kept = pairs.find(images, self.pretraining, self.network, seed=seed)
        if kept is not None:
            return few_images.adopted(kept, self.device)
        return few_images.pretrained(images, self.pretraining, self.network, **how)

    def finetuned(
        self, seed: int, name: str, first: Path | None, *,
        frozen_blocks: int = 0, count: Counter | None = None,
    ) -> Finetuned:  # fmt: skip
        """Return the GAN of a target that started from the pair in ``first``; None: afresh."""
        few = self.target(seed, name)
        return few_images.finetuned(
            few.train, few.held_out, replace(self.recipe, frozen_blocks=frozen_blocks),
            self.network, first=first, extractor=self.extractor, generated=self.generated,
            evaluate_every=self.evaluate_every, seed=seed, count=count, device=self.device,
        )  # fmt: skip

    def domain(self, name: str) -> str:
        """Return whether a target is "inside" the domain of the real source, or "outside"."""
        return "inside" if name.rstrip("/") in self.inside else "outside"


def curve_rows(learned: Finetuned, against: Sequence[str] = ("train",)) -> Rows:
    """Yield the distances to sets of images, measurement by measurement."""
    for step, numbers in learned.history.items():
        for name in against:
            if name in numbers:
                yield {"metric": "fd", "value": numbers[name], "against": name, "step": step}


def distance_rows(learned: Finetuned, choosing: Sequence[str] = ("train",)) -> Rows:
    """Yield the distances of the best and of the last snapshot, to both sets of images.

    The best to a set in ``choosing`` is the nearest to that set, to another the nearest to the
    images trained on; ``selected`` says which. With it comes how far it is into the training, and
    which share of the distance only the last third of the training saved.
    """
    for against in (name for name in ("train", "held_out") if name in learned.history[0]):
        selected = against if against in choosing else "train"
        step = learned.chosen(selected)
        value, last = learned.history[step][against], learned.history[learned.last][against]
        yield {"metric": "best_fd", "value": value, "against": against, "selected": selected}
        yield {"metric": "last_fd", "value": last, "against": against}
        if against == selected:
            share = step / learned.last
            yield {"metric": "best_step_share", "value": share, "against": against}
            early = [at[against] for k, at in learned.history.items() if 3 * k <= 2 * learned.last]
            late = max(0.0, 1 - value / min(early))
            yield {"metric": "late_gain", "value": late, "against": against}


# ---- from drawn images to a hundred photographs: chapter 52 --------------------------------------


COUNTED = ("objects_per_image", "share_with_several")


def objects(images: np.ndarray) -> dict[str, float]:
    """Return how many bright objects images have, and in which share there are several."""
    counts = object_counts(images)
    return dict(zip(COUNTED, (float(counts.mean()), float((counts > 1).mean())), strict=True))


def starts(p: Parameters) -> dict[str, tuple[str, str]]:
    """Return what chapter 52 compares: model -> how it learns, and from what it learned before."""
    models = {SCRATCH: (SCRATCH, "none")} | {name: ("finetune", name) for name in p.variants}
    if "synthesizers" not in p.parts:
        models = {name: models[name] for name in (SCRATCH, PS)}
    if "sources" in p.parts:
        models |= {"TransferGAN": ("TransferGAN", REAL), "FreezeD": ("FreezeD", REAL)}
    return models


def check_transfer(p: Parameters) -> str:
    """Check what the parameters of chapter 52 mean together; return its images in words."""
    blocks = check_gan(p)
    check_quirks(p)
    if "sources" in p.parts and PS not in p.variants:
        raise InputError(
            f"the part sources compares with {PS} and variants = {list(p.variants)}; add it"
        )
    if p.frozen_blocks > blocks:
        raise InputError(
            f"frozen_blocks = {p.frozen_blocks} and the discriminator has {blocks} at "
            f"{p.image_size} pixels; give at most {blocks}"
        )
    how = {"data_root": p.data_root, "count": p.target_images}
    with fault_of("targets"):
        lines = [check_target(name, **how) for name in p.targets]
    if "sources" in p.parts:
        lines.append(check_source(p))
    return "\n".join(lines)


class Transfer(FewImages):
    """Chapter 52: each target learned from each start, seed by seed."""

    def __init__(self, p: Parameters, device: str) -> None:
        """Unpack the parameters; ``jobs`` are (seed, target, model), in the order of training."""
        super().__init__(p, device, without=[*p.in_domain, *p.targets])
        self.models, self.frozen_blocks = starts(p), p.frozen_blocks
        self.recipes = recipes(p, p.image_size)
        self.alone = {name.rstrip("/") for name in p.single_object}
        self.targets = list(p.targets)
        self.over_targets = p.holds("targets")  # else they are others than recorded rows mean
        self.jobs = list(product(p.seeds_list, self.targets, self.models))

    def learned_before(self, seed: int, model: str) -> Path | None:
        """Return the folder of the pair that a model starts from; None for random weights."""
        source = self.models[model][1]
        return None if source == "none" else self.pretrained(seed, self.recipes.get(source, source))

    def learned(self, seed: int, name: str, model: str) -> Finetuned:
        """Return the GAN of a target that started as a model does."""
        frozen_blocks = self.frozen_blocks if model == "FreezeD" else 0
        count = objects if name.rstrip("/") in self.alone else None
        first = self.learned_before(seed, model)
        return self.finetuned(seed, name, first, frozen_blocks=frozen_blocks, count=count)

    def rows(self, seed: int, name: str, model: str) -> Rows:
        """Do a job. The last model of a target yields its rows, the last target the medians.

        Of a training that is stopped early the curve is all there is.
        """
        learned = self.learned(seed, name, model)
        if self.stopped:
            yield from ({**row, **self._about(seed, name, model)} for row in curve_rows(learned))
            return
        if model != list(self.models)[-1]:
            return
        yield from self._of_target(seed, name)
        if name == self.targets[-1]:
            yield from self._over_targets(seed)
            where = {"resolution": self.network["image_size"], "seed": seed}
            for recipe in self.recipes.values():
                yield from visibility_rows(recipe, "layers", **where)

    def _gains(self, seed: int, name: str) -> dict[str, float]:
        """Return the share of the distance of training from scratch that each start saves."""
        best = {model: self.learned(seed, name, model).lowest for model in self.models}
        return {m: 1 - value / best[SCRATCH] for m, value in best.items() if m != SCRATCH}

    def _about(self, seed: int, name: str, model: str) -> dict[str, Any]:
        """Return the fields that all rows of a model have."""
        method, source = self.models[model]
        about = {"method": method, "train": source, "test": "", "dataset": name.rstrip("/")}
        return about | {"backbone": self.network["name"], "seed": seed, "domain": self.domain(name)}

    def _of_target(self, seed: int, name: str) -> Rows:
        gains, dataset = self._gains(seed, name), name.rstrip("/")
        level = self.learned(seed, name, SCRATCH).lowest / 0.95
        for model in self.models:
            learned, what = self.learned(seed, name, model), self._about(seed, name, model)
            for row in sorted(distance_rows(learned), key=lambda row: row["against"] != "train"):
                yield {**row, **what}
            yield from ({**row, **what} for row in curve_rows(learned))
            reached = [step for step, at in learned.history.items() if at["train"] <= level]
            never = self.recipe.steps + self.evaluate_every  # one measurement more than there are
            steps = min(reached, default=never)
            values = {"steps_to_95": steps, "share_to_95": steps / self.recipe.steps}
            if model in gains:
                values["gain"] = gains[model]
            yield from measured(what | {"against": "train"}, values)
            if dataset in self.alone:
                halfway = learned.history[learned.middle]
                yield from measured(what, {name: halfway[name] for name in COUNTED})
        if dataset in self.alone:
            what = self._about(seed, name, SCRATCH) | {"method": "real images", "train": ""}
            yield from measured(what, objects(self.target(seed, name).train.images))

    def _over_targets(self, seed: int) -> Rows:
        outside = [name for name in self.targets if self.domain(name) == "outside"]
        if len(outside) < 2 or not self.over_targets:
            return
        gains = [self._gains(seed, name) for name in outside]
        for model, (method, source) in list(self.models.items())[1:]:
            values = [of_target[model] for of_target in gains]
            what = {"method": method, "train": source, "test": "", "dataset": "all outside"}
            what |= {
                "backbone": self.network["name"],
                "domain": "outside",
                "against": "train",
                "seed": seed,
            }
            extremes = {"median_gain": np.median(values), "lowest_gain": min(values)}
            yield from measured(what, extremes)
