"""Why pretraining on drawn images works: ablation, BigGAN on shares of a set, filters (chapter 53).

Baek and Shim, Generic and Privacy-free Synthetic Data Generation for Pretraining GANs (2022),
appendix; built as ``prim`` is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

from synthbook.data import ImageSet, at_most, check, concatenate, few_shot, load
from synthbook.data.images import pixels_and_labels
from synthbook.errors import InputError, fault_of
from synthbook.gans import networks
from synthbook.gans.recipes import Training
from synthbook.measure.leaks import cutout_like, shift_like
from synthbook.measure.similarity import layer_similarities
from synthbook.randomness import numpy_generator
from synthbook.studies import few_images
from synthbook.studies.drawn import PS, Parameters, check_quirks, shapes_of, visibility_rows
from synthbook.studies.few_images import Finetuned
from synthbook.studies.prim import (
    SCRATCH,
    FewImages,
    bed,
    check_gan,
    check_source,
    check_stop,
    curve_rows,
    distance_rows,
    network_of,
    recipe_of,
)
from synthbook.studies.rows import REAL, Rows, measured
from synthbook.studies.targets import check_target, stream
from synthbook.training import normalise

METHODS = ("BigGAN", "BigGAN+DiffAug", "BigGAN+DiffAug+PS", "BigGAN+PS")  # a gain needs this order


def of_classes(p: Parameters) -> Any:
    """Return the parameters of what stands for BigGAN, a GAN that is told the class."""
    return bed(p, "biggan_")


def class_network(p: Parameters, num_classes: int) -> dict[str, Any]:
    """Return the settings of its networks, for ``gans.networks.create_generator``."""
    return {**network_of(of_classes(p)), "image_channels": 3, "num_classes": num_classes}


def class_recipe(p: Parameters, steps: int, *, augmented: bool) -> Training:
    """Return how it is trained, with or without DiffAugment."""
    recipe = replace(recipe_of(of_classes(p)), steps=steps)
    return recipe if augmented else replace(recipe, augment="")


def steps_at(p: Parameters) -> dict[float, int]:
    """Return its training steps at each share, or those after which it is stopped."""
    steps = p.share_steps or [p.biggan_finetune_steps] * len(p.shares)
    steps = [min(count, p.stop_after or count) for count in steps]
    return dict(zip(p.shares, steps, strict=True))


def counts_of(p: Parameters) -> list[int]:
    """Return the numbers of shapes that are compared: ``p.counts``, or those of the paper.

    The paper's 0, 10, 50, 100 and 500 are parts and multiples of its usual number. Where fewer
    are usual they are parts and multiples of that, and 100 comes besides.
    """
    usual = shapes_of(p, p.image_size)
    return list(p.counts) or sorted({0, usual // 10, usual // 2, usual, 100, 5 * usual})


def check_reasons(p: Parameters) -> str:
    """Check what the parameters of chapter 53 mean together; return its images in words."""
    check_gan(p)
    check_gan(of_classes(p))
    check_quirks(p)
    if p.biggan_augment == "" and any("DiffAug" in method for method in p.methods):
        raise InputError(
            "biggan_augment is empty; name augmentations, or leave DiffAug out of methods"
        )
    if p.share_steps and len(p.share_steps) != len(p.shares):
        raise InputError(
            f"share_steps = {list(p.share_steps)} and shares = {list(p.shares)}; give a number of "
            "steps for each share, or none for biggan_finetune_steps at all"
        )
    longest = class_recipe(p, max(p.share_steps or [p.biggan_finetune_steps]), augmented=True)
    check_stop(p.stop_after, longest, "biggan_training_settings")
    lines = []
    for data in [p.data, *p.more_data]:
        with fault_of("more_data" if data in p.more_data else "data"):
            summary = check(data, data_root=p.data_root, image_size=p.biggan_image_size)
        images = sum(count for part, count in summary.counts.items() if part != "test")
        images -= borrowed(summary.counts["test"], images, p.biggan_generated)
        classes = summary.num_classes
        if classes < 2:
            raise InputError(f"'{data}' has no classes; BigGAN needs a labelled set")
        for share in p.shares:
            if per_class(share, images, classes) < 1:
                raise InputError(
                    f"shares = {list(p.shares)}: {share:g} of {images:,} training images leaves "
                    f"some of the {classes} classes without any; give {classes / images:.2g} or "
                    "more"
                )
        lines.append(str(summary))
    if "ablation" in p.parts:
        how = {"data_root": p.data_root, "count": p.target_images}
        with fault_of("targets"):
            lines += [check_target(name, **how) for name in p.targets]
    if "filters" in p.parts:
        lines.append(check_source(p))
    return "\n".join(lines)


def borrowed(tests: int, others: int, generated: int) -> int:
    """Return how many of a set's other images are held out, too, as it has few to test on.

    Where they are fewer than the generated ones that they are compared with, others make them
    twice as many as those; a fifth of them at most.
    """
    return min(2 * generated - tests, others // 5) if tests < generated else 0


def per_class(share: float, images: int, classes: int) -> int:
    """Return how many images of each class a share is, on average over the classes."""
    return round(share * images / classes)


@dataclass(frozen=True)
class Labelled:
    """A labelled set that BigGAN learns, others of it, and the settings of the networks."""

    train: ImageSet
    held_out: ImageSet
    network: dict[str, Any]


class Reasons(FewImages):
    """Chapter 53: sizes and numbers of shapes, BigGAN on shares of a set, and filters."""

    def __init__(self, p: Parameters, device: str) -> None:
        """Unpack the parameters; the first of a job names its part, then comes the seed."""
        super().__init__(p, device, without=p.in_domain)
        self.policies, self.counts, self.data = list(p.policies), counts_of(p), p.data
        self.parts = list(p.parts)
        self.biggan_generated, self.keeps = p.biggan_generated, list(p.biggan_keeps)

        def labelled(data: str) -> Labelled:
            how = {"image_size": p.biggan_image_size, "channels": 3}
            images = load(data, data_root=p.data_root, **how)
            train = concatenate(images.train, images.val, name=data)  # nothing is validated here
            held_out, wanted = images.test, p.biggan_generated
            if count := borrowed(len(held_out), len(train), wanted):
                order = numpy_generator(0, "held out of", data).permutation(len(train))
                held_out = concatenate(held_out, train.subset(np.sort(order[:count])), name=data)
                train = train.subset(np.sort(order[count:]))
            network = class_network(p, train.num_classes)
            return Labelled(train, at_most(held_out, 2 * wanted), network)

        self.sets = {data: labelled(data) for data in [p.data, *p.more_data]}
        parts = [share for share in p.shares if share < 1] if "shares" in p.parts else []
        for data, share in ((data, share) for data in self.sets for share in parts):
            self.share(0, data, share)  # are there so many of each class?
        self.biggan_evaluate_every = p.biggan_evaluate_every
        self.biggan_stopped = 0 < p.stop_after < max(p.share_steps or [p.biggan_finetune_steps])
        self.biggan_recipes = {
            (share, on): class_recipe(p, steps, augmented=on)
            for share, steps in steps_at(p).items()
            for on in (False, True)
        }
        self.biggan_pretraining = class_recipe(p, p.biggan_pretrain_steps, augmented=False)
        self.biggan_drawn = replace(self.drawn, shapes=shapes_of(p, p.biggan_image_size))
        self.jobs = [job for seed in p.seeds_list for job in self._jobs(p, seed)]

    def _jobs(self, p: Parameters, seed: int) -> list[tuple[Any, ...]]:
        jobs: list[tuple[Any, ...]] = [("drawn images", seed)]
        jobs += [("filters", seed)] if "filters" in p.parts else []
        if "ablation" in p.parts:
            jobs += [("ablation", seed, name, *plan) for name in p.targets for plan in self.plans]
        if "shares" in p.parts:
            jobs += [("real images", seed, data) for data in self.sets]
            jobs += [
                ("shares", seed, data, share, method)
                for data in self.sets
                for share in p.shares
                for method in METHODS
                if method in p.methods and (method != "BigGAN+PS" or share == min(p.shares))
            ]
        return jobs

    @property
    def plans(self) -> list[tuple[str, int]]:
        """The size policies and numbers of shapes of the ablation, "" for training from scratch."""
        of_policies = [(policy, self.drawn.shapes) for policy in self.policies]
        of_counts = [("Decay", count) for count in self.counts]
        return list(dict.fromkeys([("", 0), *of_policies, *of_counts]))

    def studied(self, policy: str, count: int) -> list[dict[str, Any]]:
        """Return the fields that rows of a plan have, once for each study that it belongs to."""
        what = {"size_policy": policy, "n_shapes": count}
        what["relative_n"] = count / self.drawn.shapes if self.drawn.shapes else float(count > 0)
        studies = []
        if policy in self.policies and count == self.drawn.shapes:
            studies.append(what | {"study": "policy"})
        if policy == "Decay" and count in self.counts:
            studies.append(what | {"study": "count"})
        return studies

    def rows(self, part: str, seed: int, *about: Any) -> Rows:
        """Do a job and yield its rows."""
        do = {
            "drawn images": self.drawn_rows, "filters": self.filter_rows,
            "ablation": self.ablation_rows, "real images": self.real_leak_rows,
            "shares": self.share_rows,
        }  # fmt: skip
        for row in do[part](seed, *about):
            yield {"test": "", "seed": seed, **row}

    def drawn_rows(self, seed: int) -> Rows:
        """Yield what can be seen of ground and shapes in what the networks of a part learn from."""
        where = {"resolution": self.network["image_size"], "seed": seed}
        if "ablation" in self.parts:
            yield from visibility_rows(self.drawn, "layers", **where)
            for policy, count in self.plans[1:]:
                recipe = replace(self.drawn, shapes=count, size_policy=policy)
                for study in self.studied(policy, count):
                    for row in visibility_rows(recipe, "layers of the ablation", **where):
                        yield row | study
        if "shares" in self.parts:
            where["resolution"] = self.sets[self.data].network["image_size"]
            yield from visibility_rows(self.biggan_drawn, "layers for BigGAN", **where)

    def filter_rows(self, seed: int) -> Rows:
        """Yield how alike filters are: untrained, after drawn images, and after real ones.

        A generator's last convolution, to colours, stands apart: of its three filters there are
        three pairs, and the paper's, 1 x 1, is not among its layers. A mean with it is beside.
        """
        untrained = few_images.started(self.network, None, seed=seed)
        pairs = {"none": (untrained.generator, untrained.discriminator)}
        for train, source in ((PS, self.drawn), (REAL, REAL)):
            folder = self.pretrained(seed, source)
            pairs[train] = networks.load(folder), networks.load_discriminator(folder)
        common = {
            "method": "filters",
            "dataset": "",
            "backbone": self.network["name"],
            "part": "filters",
        }
        signed: dict[tuple[str, str], list[float]] = {}
        for train, pair in pairs.items():
            for network, module in zip(("generator", "discriminator"), pair, strict=True):
                what = {"train": train, "network": network, **common}
                found = layer_similarities(module)
                with_colours = np.mean([value for value, _ in found.values()])
                yield {"metric": "mean_with_colours", "value": with_colours, **what}
                if network == "generator":
                    found.pop("last", None)
                both = list(found.values())
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
        what = {"dataset": name.rstrip("/"), "backbone": self.network["name"], "part": "ablation"}
        what |= {"domain": self.domain(name), "method": SCRATCH, "train": "none"}
        if recipe:
            what |= {"method": "finetune", "train": PS}
        for study in self.studied(policy, count) if recipe else [{}]:
            yield from ({**row, **what, **study} for row in curve_rows(learned))
            if not self.stopped:
                yield from ({**row, **what, **study} for row in distance_rows(learned))

    def share(self, seed: int, data: str, share: float) -> ImageSet:
        """Return a share of the training images, as many of each class; the shares are nested."""
        train = self.sets[data].train
        if share == 1:
            return train
        return few_shot(train, per_class(share, len(train), train.num_classes), seed=seed)

    def learned_share(self, seed: int, data: str, share: float, method: str) -> Finetuned:
        """Return what stands for BigGAN, trained on a share of the labelled images."""
        labelled, how = self.sets[data], {"seed": seed, "device": self.device}
        network, first = labelled.network, None
        if method.endswith("PS"):
            size = {"image_size": network["image_size"], "labels_of": labelled.train}
            source = stream(self.biggan_drawn, **size, **how)
            first = few_images.pretrained(source, self.biggan_pretraining, network, **how)
        return few_images.finetuned(
            self.share(seed, data, share), labelled.held_out,
            self.biggan_recipes[share, "DiffAug" in method], network, first=first,
            keeps=self.keeps, extractor=self.extractor, generated=self.biggan_generated,
            evaluate_every=self.biggan_evaluate_every, **how,
        )  # fmt: skip

    def samples(self, seed: int, data: str, share: float, method: str) -> np.ndarray:
        """Return the judged images of the snapshot nearest to the images of a share, by class."""
        generator = self.learned_share(seed, data, share, method).generator("best")
        how = {"seed": seed, "device": self.device}
        return few_images.judged_images(generator, self.biggan_generated, **how)

    def share_rows(self, seed: int, data: str, share: float, method: str) -> Rows:
        """Yield the distances and leaks of a method on a share, and what pretraining gains.

        As in the public code the best snapshot is also the nearest to held-out images: the one of
        the paper's tables. The other is the nearest to the images trained on. Of a training that is
        stopped early the curve is all there is.
        """
        what = {"method": method, "train": PS if method.endswith("PS") else "none"}
        what |= {"dataset": data, "backbone": self.sets[data].network["name"], "part": "shares"}
        what |= {"share": share}
        learned, ways = self.learned_share(seed, data, share, method), ("train", "held_out")
        yield from ({**row, **what} for row in curve_rows(learned, ways))
        if self.biggan_stopped:
            return
        leaks = leak_rows(self.samples(seed, data, share, method))
        yield from ({**row, **what} for row in chain(distance_rows(learned, ways), leaks))
        discriminator = networks.load_discriminator(learned.folder / "last")
        alive = live_features(discriminator, self.share(seed, data, share))
        yield {"metric": "live_features", "value": alive, **what}
        without = ("shares", seed, data, share, "BigGAN+DiffAug")
        if method == "BigGAN+DiffAug+PS" and without in self.jobs:
            plain = self.learned_share(*without[1:])
            for against in ways:
                ours, theirs = (
                    one.history[one.chosen(against)][against] for one in (learned, plain)
                )
                yield {"metric": "gain", "value": 1 - ours / theirs, "against": against, **what}

    def real_leak_rows(self, seed: int, data: str) -> Rows:
        """Yield how often the detector finds leaks in real images, which have none."""
        what = {"method": "real images", "train": REAL, "dataset": data}
        what |= {"backbone": self.sets[data].network["name"]}
        found = leak_rows(self.sets[data].held_out.images)
        yield from ({**row, "part": "shares", **what} for row in found)


@torch.no_grad()
def live_features(discriminator: nn.Module, images: ImageSet) -> float:
    """Return which share of a discriminator's features is above 0, over the first 500 images.

    Of 0 it is dead: it tells nothing from anything, and a generator learns nothing from it.
    """
    pixels, _ = pixels_and_labels(images.subset(np.arange(min(500, len(images)))), "cpu")
    return float((discriminator.eval().features(normalise(pixels)) > 0).float().mean())


def leak_rows(images: np.ndarray) -> Rows:
    """Yield the shares of images in which augmentations seem to have leaked."""
    leaks = {"cutout_like": cutout_like(images), "shift_like": shift_like(images)}
    yield from measured({}, {name: found.mean() for name, found in leaks.items()})
