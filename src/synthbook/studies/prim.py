"""GANs that learned from drawn images before: chapters 52 and 53, two uses of one class.

Baek and Shim, Generic and Privacy-free Synthetic Data Generation for Pretraining GANs (2022); what
the images are like is in ``drawn``. A chapter's experiment is a class: it unpacks the chapter's
parameters ``p``, lists its ``jobs`` in order, and does one of them in ``rows(*job)``. Its checks
are ``check_...``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np

from synthbook.data import ImageSet, at_most, check, few_shot, load
from synthbook.errors import InputError
from synthbook.gans import networks
from synthbook.gans.recipes import Training, published
from synthbook.generate.primitives import Primitives
from synthbook.measure import features
from synthbook.measure.leaks import cutout_like, shift_like
from synthbook.measure.objects import object_counts
from synthbook.measure.similarity import layer_similarities
from synthbook.studies import few_images
from synthbook.studies.drawn import PS, Parameters, recipes
from synthbook.studies.few_images import Counter, Finetuned
from synthbook.studies.gap import REAL, Rows, measured
from synthbook.studies.targets import check_target, real_source, stream, target

SCRATCH = "scratch"

# ---- StyleGAN2 on few images: chapters 52 and 53 -------------------------------------------------


def style_network(p: Parameters) -> dict[str, Any]:
    """Return the settings of the chapters' StyleGAN2, for ``gans.networks.create_generator``."""
    return {
        "name": "stylegan2", "image_size": p.image_size, "mapping_layers": p.mapping_layers,
        "channels": p.style_channels, "widest": p.style_widest,
        "latent": p.style_latent, "style": p.style_latent,
    }  # fmt: skip


def style_recipe(p: Parameters) -> Training:
    """Return how StyleGAN2 is finetuned; only the steps of its pretraining are others."""
    return published(
        "stylegan2", steps=p.finetune_steps, batch_size=p.gan_batch_size,
        generator_learning_rate=p.gan_learning_rate,
        discriminator_learning_rate=p.gan_learning_rate, r1=p.r1, path_length=p.path_length,
        ema_half_life=p.ema_half_life, augment=p.augment, precision=p.precision,
    )  # fmt: skip


def check_style(p: Parameters) -> int:
    """Check the parameters of StyleGAN2; return the number of its discriminator's blocks."""
    config = networks.create_config(**style_network(p))
    style_recipe(p)
    if p.gan_batch_size % config.deviation_group:
        raise InputError(
            f"gan_batch_size = {p.gan_batch_size}; give a multiple of {config.deviation_group}, "
            "the group of the minibatch deviation"
        )
    # Tells now whether its weights are there.
    features.extractor(p.extractor, size=p.extractor_size)
    return len(config.widths())


class FewImages:
    """What chapters 52 and 53 train StyleGAN2 on: targets, and what it learned from before.

    Everything is in the cache: asked again, it is read.
    """

    def __init__(self, p: Parameters, device: str, without: Sequence[str]) -> None:
        """Unpack ``p``; targets of the real source named in ``without`` are left out of it."""
        self.device, self.network, self.recipe = device, style_network(p), style_recipe(p)
        self.pretraining = replace(self.recipe, steps=p.pretrain_steps)
        self.evaluate_every, self.generated = p.evaluate_every, p.generated
        self.extractor = features.extractor(p.extractor, device, size=p.extractor_size)
        self.drawn = Primitives(PS, shapes=p.shapes, size_policy=p.size_policy)
        self.inside = {name.rstrip("/") for name in p.in_domain}
        where = {"image_size": p.image_size, "data_root": p.data_root}

        # The real images to pretrain on, without the targets' classes; a target by seed and name.
        self.real = cache(partial(real_source, p.real_source, without=without, **where))
        few = {"count": p.target_images, **where}
        self.target = cache(lambda seed, name: target(name, seed=seed, **few))

    def pretrained(self, seed: int, source: Primitives | str) -> Path:
        """Return the folder of the pair that learned from drawn images, or from "real" ones."""
        how = {"seed": seed, "device": self.device}
        side = self.network["image_size"]
        images = self.real() if source == REAL else stream(source, image_size=side, **how)
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


def distance_rows(learned: Finetuned) -> Rows:
    """Yield the distances of the best and of the last snapshot, to both sets of images."""
    for metric, step in (("best_fd", learned.best), ("last_fd", learned.last)):
        for against in ("train", "held_out"):
            if against in learned.history[step]:
                value = learned.history[step][against]
                yield {"metric": metric, "value": value, "against": against}


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
    blocks = check_style(p)
    if p.evaluate_every > p.finetune_steps:
        raise InputError(
            f"evaluate_every = {p.evaluate_every} and there are {p.finetune_steps} finetune_steps; "
            f"give at most {p.finetune_steps}"
        )
    if "sources" in p.parts and PS not in p.variants:
        raise InputError(
            f"the part sources compares with {PS} and variants = {list(p.variants)}; add it"
        )
    if p.frozen_blocks > blocks:
        raise InputError(
            f"frozen_blocks = {p.frozen_blocks} and the discriminator has {blocks} at "
            f"{p.image_size} pixels; give at most {blocks}"
        )
    lines = [check_target(name, data_root=p.data_root) for name in p.targets]
    if "sources" in p.parts:
        single = ":" in p.real_source or Path(p.real_source).expanduser().is_dir()
        look, size = (check_target, {}) if single else (check, {"image_size": p.image_size})
        lines.append(str(look(p.real_source, data_root=p.data_root, **size)))
    return "\n".join(lines)


class Transfer(FewImages):
    """Chapter 52: each target learned from each start, seed by seed."""

    def __init__(self, p: Parameters, device: str) -> None:
        """Unpack the parameters; ``jobs`` are (seed, target, model), in the order of training."""
        super().__init__(p, device, without=[*p.in_domain, *p.targets])
        self.models, self.recipes, self.frozen_blocks = starts(p), recipes(p), p.frozen_blocks
        self.alone = {name.rstrip("/") for name in p.single_object}
        self.targets = list(p.targets)
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
        """Do a job. The last model of a target yields its rows, the last target the medians."""
        self.learned(seed, name, model)
        if model != list(self.models)[-1]:
            return
        yield from self._of_target(seed, name)
        if name == self.targets[-1]:
            yield from self._over_targets(seed)

    def _gains(self, seed: int, name: str) -> dict[str, float]:
        """Return the share of the distance of training from scratch that each start saves."""
        best = {model: self.learned(seed, name, model).lowest for model in self.models}
        return {m: 1 - value / best[SCRATCH] for m, value in best.items() if m != SCRATCH}

    def _of_target(self, seed: int, name: str) -> Rows:
        gains, dataset = self._gains(seed, name), name.rstrip("/")
        common = {"test": "", "dataset": dataset, "backbone": "stylegan2", "seed": seed}
        common["domain"] = self.domain(name)
        level = self.learned(seed, name, SCRATCH).lowest / 0.95
        for model, (method, source) in self.models.items():
            learned = self.learned(seed, name, model)
            what = {"method": method, "train": source, **common}
            for row in sorted(distance_rows(learned), key=lambda row: row["against"] != "train"):
                yield {**row, **what}
            curve = {step: numbers["train"] for step, numbers in learned.history.items()}
            for step, value in curve.items():
                yield {"metric": "fd", "value": value, "step": step, "against": "train", **what}
            reached = [step for step, value in curve.items() if value <= level]
            steps = min(reached, default=self.recipe.steps + self.evaluate_every)
            values = {"steps_to_95": steps, "share_to_95": steps / self.recipe.steps}
            if model in gains:
                values["gain"] = gains[model]
            yield from measured(what | {"against": "train"}, values)
            if dataset in self.alone:
                halfway = learned.history[learned.middle]
                yield from measured(what, {name: halfway[name] for name in COUNTED})
        if dataset in self.alone:
            what = {"method": "real images", "train": "", **common}
            yield from measured(what, objects(self.target(seed, name).train.images))

    def _over_targets(self, seed: int) -> Rows:
        outside = [name for name in self.targets if self.domain(name) == "outside"]
        if len(outside) < 2:
            return
        gains = [self._gains(seed, name) for name in outside]
        for model, (method, source) in list(self.models.items())[1:]:
            values = [of_target[model] for of_target in gains]
            what = {"method": method, "train": source, "test": "", "dataset": "all outside"}
            what |= {"backbone": "stylegan2", "domain": "outside", "against": "train", "seed": seed}
            extremes = {"median_gain": np.median(values), "lowest_gain": min(values)}
            yield from measured(what, extremes)


# ---- why it works: chapter 53 --------------------------------------------------------------------

METHODS = ("BigGAN", "BigGAN+DiffAug", "BigGAN+DiffAug+PS", "BigGAN+PS")  # a gain needs this order


def biggan_network(p: Parameters, num_classes: int) -> dict[str, Any]:
    """Return the settings of the chapter's BigGAN, for ``gans.networks.create_generator``."""
    return {
        "name": "biggan", "image_size": p.biggan_image_size, "image_channels": 3,
        "num_classes": num_classes, "latent": p.biggan_latent,
        "channels": p.biggan_channels, "discriminator_channels": p.biggan_channels,
    }  # fmt: skip


def biggan_recipe(p: Parameters, steps: int, *, augmented: bool) -> Training:
    """Return how BigGAN is trained, with or without DiffAugment."""
    return published(
        "biggan", steps=steps, batch_size=p.biggan_batch_size,
        discriminator_steps=p.discriminator_steps, generator_learning_rate=p.biggan_learning_rate,
        discriminator_learning_rate=p.biggan_learning_rate,
        ema_half_life=p.biggan_ema_half_life, ema_start=p.biggan_ema_start,
        augment=p.biggan_augment if augmented else "", flip=p.biggan_flip,
        standing_images=p.standing_images, precision=p.precision,
    )  # fmt: skip


def check_reasons(p: Parameters) -> str:
    """Check what the parameters of chapter 53 mean together; return its images in words."""
    check_style(p)
    if p.biggan_augment == "" and any("DiffAug" in method for method in p.methods):
        raise InputError(
            "biggan_augment is empty; name augmentations, or leave DiffAug out of methods"
        )
    summary = check(p.data, data_root=p.data_root, image_size=p.biggan_image_size)
    images, classes = summary.counts["train"], summary.num_classes
    if classes < 2:
        raise InputError(f"data = '{p.data}' has no classes; BigGAN needs a labelled set")
    for share in p.shares:
        if per_class(share, images, classes) < 1:
            raise InputError(
                f"shares = {list(p.shares)}: {share:g} of {images:,} training images leaves some "
                f"of the {classes} classes without any; give {classes / images:.2g} or more"
            )
    networks.create_config(**biggan_network(p, classes))
    biggan_recipe(p, p.biggan_steps, augmented=True)
    targets = p.targets if "ablation" in p.parts else []
    lines = [str(summary), *(check_target(name, data_root=p.data_root) for name in targets)]
    return "\n".join(lines)


def per_class(share: float, images: int, classes: int) -> int:
    """Return how many images of each class a share is, on average over the classes."""
    return round(share * images / classes)


class Reasons(FewImages):
    """Chapter 53: sizes and numbers of shapes, BigGAN on shares of a set, and filters."""

    def __init__(self, p: Parameters, device: str) -> None:
        """Unpack the parameters; the first of a job names its part, then comes the seed."""
        super().__init__(p, device, without=p.in_domain)
        self.policies, self.counts, self.data = list(p.policies), list(p.counts), p.data
        self.images = load(
            p.data, data_root=p.data_root, image_size=p.biggan_image_size, channels=3
        )
        self.held_out = at_most(self.images.test, 2 * p.generated)
        self.biggan = biggan_network(p, self.images.train.num_classes)
        self.biggan_evaluate_every = p.biggan_evaluate_every
        self.biggan_recipes = {on: biggan_recipe(p, p.biggan_steps, augmented=on) for on in (0, 1)}
        self.biggan_pretraining = biggan_recipe(p, p.biggan_pretrain_steps, augmented=False)
        self.jobs = [job for seed in p.seeds_list for job in self._jobs(p, seed)]

    def _jobs(self, p: Parameters, seed: int) -> list[tuple[Any, ...]]:
        jobs: list[tuple[Any, ...]] = [("filters", seed)] if "filters" in p.parts else []
        if "ablation" in p.parts:
            plans = [("", 0), *((policy, p.shapes) for policy in p.policies)]
            plans = dict.fromkeys([*plans, *(("Decay", count) for count in p.counts)])
            jobs += [("ablation", seed, name, *plan) for name in p.targets for plan in plans]
        if "shares" in p.parts:
            jobs.append(("real images", seed))
            jobs += [
                ("shares", seed, share, method)
                for share in p.shares
                for method in METHODS
                if method in p.methods and (method != "BigGAN+PS" or share == min(p.shares))
            ]
        return jobs

    def rows(self, part: str, seed: int, *about: Any) -> Rows:
        """Do a job and yield its rows."""
        do = {
            "filters": self.filter_rows, "ablation": self.ablation_rows,
            "real images": self.real_leak_rows, "shares": self.share_rows,
        }  # fmt: skip
        for row in do[part](seed, *about):
            yield {"test": "", "seed": seed, **row}

    def filter_rows(self, seed: int) -> Rows:
        """Yield how alike filters are: untrained, after drawn images, and after real ones."""
        pairs = {"none": few_images.started(self.network, None, seed=seed)}
        for train, source in ((PS, self.drawn), (REAL, REAL)):
            folder = self.pretrained(seed, source)
            pairs[train] = networks.load(folder), networks.load_discriminator(folder)
        common = {"method": "filters", "dataset": "", "backbone": "stylegan2", "part": "filters"}
        signed: dict[tuple[str, str], list[float]] = {}
        for train, pair in pairs.items():
            for network, module in zip(("generator", "discriminator"), pair, strict=True):
                what = {"train": train, "network": network, **common}
                both = list(layer_similarities(module).values())
                for layer, (value, absolute) in enumerate(both):
                    here = {"layer": layer, **what}
                    yield {"metric": "filter_similarity", "value": value, **here}
                    yield {"metric": "filter_similarity_abs", "value": absolute, **here}
                signed[train, network] = values = [value for value, _ in both]
                yield {"metric": "mean_filter_similarity", "value": np.mean(values), **what}
            *others, last = values
            ends = {"last_layer_similarity": last, "largest_other_similarity": max(others)}
            yield from measured(what, ends)
        ours, theirs = (
            [*signed[train, "generator"], *signed[train, "discriminator"]] for train in (PS, REAL)
        )
        lower = np.mean(np.array(ours) < np.array(theirs))
        yield {"metric": "layers_lower", "value": lower, "train": PS, "test": REAL, **common}

    def ablation_rows(self, seed: int, name: str, policy: str, count: int) -> Rows:
        """Yield the distances on a target from scratch (no policy), or from drawn images."""
        recipe = replace(self.drawn, shapes=count, size_policy=policy) if policy else None
        first = self.pretrained(seed, recipe) if recipe else None
        learned = self.finetuned(seed, name, first)
        what = {"dataset": name.rstrip("/"), "backbone": "stylegan2", "part": "ablation"}
        what |= {"domain": self.domain(name), "method": SCRATCH, "train": "none"}
        if recipe:
            what |= {"method": "finetune", "train": PS, "size_policy": policy, "n_shapes": count}
        studies = [] if policy else [what]
        if policy in self.policies and count == self.drawn.shapes:
            studies.append(what | {"study": "policy"})
        if policy == "Decay" and count in self.counts:
            studies.append(what | {"study": "count"})
        for study in studies:
            yield from ({**row, **study} for row in distance_rows(learned))

    def share(self, seed: int, share: float) -> ImageSet:
        """Return a share of the training images, as many of each class; the shares are nested."""
        train = self.images.train
        if share == 1:
            return train
        return few_shot(train, per_class(share, len(train), train.num_classes), seed=seed)

    def learned_share(self, seed: int, share: float, method: str) -> Finetuned:
        """Return BigGAN trained on a share of the labelled images."""
        first, how = None, {"seed": seed, "device": self.device}
        if method.endswith("PS"):
            side, classes = self.biggan["image_size"], self.biggan["num_classes"]
            source = stream(self.drawn, image_size=side, num_classes=classes, **how)
            first = few_images.pretrained(source, self.biggan_pretraining, self.biggan, **how)
        return few_images.finetuned(
            self.share(seed, share), self.held_out, self.biggan_recipes["DiffAug" in method],
            self.biggan, first=first, extractor=self.extractor, generated=self.generated,
            evaluate_every=self.biggan_evaluate_every, skip=("embed",) if first else (), **how,
        )  # fmt: skip

    def samples(self, seed: int, share: float, method: str) -> np.ndarray:
        """Return the judged images of the best snapshot on a share, classes in turn."""
        generator = self.learned_share(seed, share, method).generator("best")
        return few_images.judged_images(generator, self.generated, seed=seed, device=self.device)

    def share_rows(self, seed: int, share: float, method: str) -> Rows:
        """Yield the distances and leaks of a method on a share, and what pretraining gains."""
        what = {"method": method, "train": PS if method.endswith("PS") else "none"}
        what |= {"dataset": self.data, "backbone": "biggan", "part": "shares", "share": share}
        learned = self.learned_share(seed, share, method)
        leaks = leak_rows(self.samples(seed, share, method))
        yield from ({**row, **what} for row in chain(distance_rows(learned), leaks))
        without = ("shares", seed, share, "BigGAN+DiffAug")
        if method == "BigGAN+DiffAug+PS" and without in self.jobs:
            gain = 1 - learned.lowest / self.learned_share(*without[1:]).lowest
            yield {"metric": "gain", "value": gain, "against": "train", **what}

    def real_leak_rows(self, seed: int) -> Rows:
        """Yield how often the detector finds leaks in real images, which have none."""
        what = {"method": "real images", "train": REAL, "dataset": self.data, "backbone": "biggan"}
        yield from ({**row, "part": "shares", **what} for row in leak_rows(self.held_out.images))


def leak_rows(images: np.ndarray) -> Rows:
    """Yield the shares of images in which augmentations seem to have leaked."""
    leaks = {"cutout_like": cutout_like(images), "shift_like": shift_like(images)}
    yield from measured({}, {name: found.mean() for name, found in leaks.items()})
