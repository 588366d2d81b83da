"""Data sets made of class names alone: the experiments of chapters 31 to 33.

Sariyildiz et al., Fake it till you make it (CVPR 2023). A chapter's experiment is a class: it
unpacks the chapter's parameters ``p``, lists its ``jobs`` in order, and does one of them in
``rows(*job)``. Its checks are ``check_...``; what the chapters share is in ``clones_by_name``, and
what they read of their parameters in ``given``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.data import Summary
from synthbook.data.transfer import TEN, open_transfer
from synthbook.errors import InputError, fault_of
from synthbook.generate.wordnet import sense_count
from synthbook.measure.fidelity import fidelity
from synthbook.measure.realism import class_spread, realism
from synthbook.randomness import numpy_generator
from synthbook.recognize.models import create_classifier
from synthbook.recognize.predict import features
from synthbook.recognize.probe import encoded, probe
from synthbook.studies.clones_by_name import (
    CLONE,
    JUDGED,
    MULTI,
    OF_REAL,
    RANDOM,
    SINGLE,
    Bed,
    Images,
    grid,
    largest_class,
    of_clone,
    some,
)
from synthbook.studies.given import (
    check_clones,
    check_networks,
    networks_of,
    summary_of,
    unread,
    words_of,
)
from synthbook.studies.rows import REAL, Rows, measured

if TYPE_CHECKING:
    from synthbook.recognize.models import Classifier

Job = tuple[Any, ...]

# ---- prompts and guidance: chapter 31 ------------------------------------------------------------

FOUR = ("name", "parent", "definition", "scene")  # the forms of Table 1
FIDELITY = ("fd", "fid", "precision", "recall", "density", "coverage")  # "fid" is Inception's "fd"
AMBIGUOUS = "ambiguous"  # classes whose first lemma has several senses in WordNet
OVERDRAWN = 2  # images drawn for each that the filter keeps


def described(p: Mapping[str, Any], summary: Summary) -> str:
    """Return the data in words and, below, which names the book's generator has not read."""
    words = words_of(p, p["data"], summary.classes)
    if "classes" in p["parts"]:
        words += words_of(p, p["fine_data"], summary_of(p, p["fine_data"]).classes)
    return "\n".join(filter(None, (str(summary), unread(p, words))))


def check_prompts(p: Mapping[str, Any]) -> Summary:
    """Check what the parameters of chapter 31 mean together; return its data in words."""
    if "prompts" not in p["parts"]:
        raise InputError(
            f"parts = {list(p['parts'])} lacks prompts, whose photographs and clones the controls "
            "are compared with; add it"
        )
    summary = check_clones(p, list(grid(p["forms"], p["guidance_scales"])))
    least, there = p["neighbours"] + 2, summary.counts["test"]
    if "val" not in summary.counts:  # then the control takes half of them (`Prompts.references`)
        there //= 2
    if min(p["measured"], there) < least:
        raise InputError(
            f"measured = {p['measured']} of {there} test images are too few for "
            f"neighbours = {p['neighbours']}; give {least} at least"
        )
    return summary


def plan_prompts(p: Mapping[str, Any]) -> str:
    """Return what a run of chapter 31 trains, unless it is kept, as one line."""
    clones = len(p["forms"]) * len(p["guidance_scales"])
    more = 2 * ("crops" in p["parts"]) + 2 * ("filter" in p["parts"])
    return (
        f"To train, unless kept: {1 + clones + more} classifiers x {p['seeds']} "
        f"seed{'s' * (p['seeds'] > 1)} (of real images, {clones} clone{'s' * (clones > 1)}"
        f"{f', {more} controls' if more else ''})."
    )


class Prompts(Bed):
    """Chapter 31: a clone for each form of prompts and guidance scale, and what it teaches."""

    def __init__(self, p: Any, device: str) -> None:
        super().__init__(p, device)
        self.clones = list(grid(p.forms, p.guidance_scales))
        self.first = self.clones[0]  # the clone of the controls
        jobs: list[Job] = [(REAL,)]
        jobs += [(CLONE, *asked) for asked in self.clones]
        if len({form for form, _ in self.clones} & {*FOUR}) == len(FOUR):
            jobs += [("spread", scale) for scale in p.guidance_scales]
        if "crops" in p.parts:
            jobs += [("crops", REAL), ("crops", CLONE)]
        if "filter" in p.parts:
            jobs += [("filter",)]
        self.jobs = [(seed, *job) for seed in p.seeds_list for job in jobs]

    def rows(self, seed: int, kind: str, *asked: Any) -> Rows:
        """Do a job: train what it names, and yield its rows."""
        if kind == "crops":
            yield from self._single(seed, *asked)
        elif kind == "filter":
            yield from self._filtered(seed)
        elif kind == "spread":
            yield from self._spread(seed, *asked)
        else:
            about = self.about(seed, part="prompts", crops=MULTI)
            images = self.real(seed) if kind == REAL else self.clone(seed, *asked)
            about |= OF_REAL if kind == REAL else of_clone(*asked)
            yield from self.accuracy_rows(self.trained(images, seed), **about)
            if kind == REAL:
                yield self.about(seed, part="prompts", crops=MULTI) | self._largest()
            yield from self.image_rows(self.references[1] if kind == REAL else images, **about)

    def images(self, seed: int, *asked: Any) -> Images:
        """Return the images of a clone, or without one the photographs."""
        return self.clone(seed, *asked) if asked else self.real(seed)

    def _largest(self) -> dict[str, Any]:
        """Return what is right in the test if the largest class is always named, as a row."""
        test = self.splits.test
        share = 100 * float(test.counts().max()) / len(test)
        row = {"method": "largest class", "train": "none", "test": "test"}
        return row | {"metric": "top1_accuracy", "value": share}

    def _spread(self, seed: int, scale: float) -> Rows:
        """Yield how far the four forms of the paper lie apart, test by test."""
        every = [
            list(self.accuracy_rows(self.trained(self.clone(seed, form, scale), seed)))
            for form in FOUR
        ]
        about = self.about(seed, part="prompts", crops=MULTI, method=CLONE, train=CLONE)
        about |= {"guidance_scale": float(scale), "metric": "prompt_spread"}
        for same in zip(*every, strict=True):
            if same[0]["metric"] == "top1_accuracy":
                values = [row["value"] for row in same]
                yield about | {"test": same[0]["test"], "value": max(values) - min(values)}

    def _single(self, seed: int, kind: str) -> Rows:
        """The control without small crops, at as many steps."""
        images = self.real(seed) if kind == REAL else self.clone(seed, *self.first)
        about = self.about(seed, part="crops", crops=SINGLE)
        about |= OF_REAL if kind == REAL else of_clone(*self.first)
        yield from self.accuracy_rows(self.trained(images, seed, SINGLE), **about)

    def _filtered(self, seed: int) -> Rows:
        """The more realistic half of twice as many images, and as many that were not chosen so."""
        drawn = self.clone(seed, *self.first, size=float(OVERDRAWN))
        real = self.look.cached(some(self.real(seed), JUDGED).images)
        made = encoded(self.look, drawn)
        scores = realism(real, made, self.p.neighbours)
        counts, kept = self.real(seed).counts(), []
        for label, count in enumerate(counts):
            members = np.flatnonzero(drawn.labels == label)
            kept.append(members[np.argsort(-scores[members], kind="stable")[:count]])
        best = drawn.subset(np.sort(np.concatenate(kept)))
        about = self.about(seed, part="filter", crops=MULTI, **of_clone(*self.first))
        yield from self.accuracy_rows(self.trained(best, seed), ["test"], **about)
        yield from self.image_rows(best, **about)

    # Of the images themselves

    @cached_property
    def references(self) -> tuple[Images, Images]:
        """Two parts of the photographs that nothing was trained on, without one in common.

        The first is what images are compared with, the second the control: the test and the
        validation part, or of a set without one two random halves of the test.
        """
        test, val = self.splits.test, self.splits.val
        if val is not test:
            return test, val
        drawn, half = numpy_generator(0, "control").permutation(len(test)), len(test) // 2
        parts = (drawn[:half], drawn[half : 2 * half])
        return tuple(test.subset(np.sort(part)) for part in parts)

    @cached_property
    def unseen(self) -> np.ndarray:
        """Features of test photographs, which nothing was trained on."""
        return self.look.cached(some(self.references[0], self.p.measured).images)

    @cached_property
    def ambiguous(self) -> list[int]:
        """Classes whose first name has several senses in WordNet, by number."""
        return [k for k, words in enumerate(self.words) if _senses(words.lemmas[0]) > 1]

    def image_rows(self, images: Images, **about: Any) -> Rows:
        """Yield how well formed and how varied images are, beside test photographs.

        For photographs in the place of a clone's images these are the control: others that
        nothing has learned (`references`). No more are measured than there are test photographs.
        """
        few = some(images, len(self.unseen))
        rows, about = self.look(few.images), {**about, "test": REAL}
        told = fidelity(
            self.unseen, rows, extractor_name=self.look.name, neighbours=self.p.neighbours
        )
        yield from measured(about, {name: told[name] for name in FIDELITY if name in told})
        right = self.judge.logits(rows).argmax(1) == few.labels
        for name, chosen in (("all", None), (AMBIGUOUS, self.ambiguous)):
            mask = slice(None) if chosen is None else np.isin(few.labels, chosen)
            if chosen == [] or not len(few.labels[mask]):
                continue
            here = {"class_agreement": 100 * float(right[mask].mean())}
            here["class_spread"] = class_spread(rows[mask], few.labels[mask])
            yield from measured({**about, "classes": name}, here)


def _senses(word: str) -> int:
    try:
        return sense_count(word)
    except InputError:  # a reader's own word, which the table does not have
        return 0


# ---- larger clones and other looks: chapter 32 ---------------------------------------------------

FORM, SCALE = "definition", 2.0  # of the clones that are made in several sizes
FINE = (("definition", 7.5), ("scene", 7.5), ("definition", 2.0))  # of many classes: rows 15 to 17
FEW, ONE, SOME, MANY = "few", "one", "some", "many"  # images
LARGEST = "largest class"  # a method: the class with the most images of a test is always named
PUBLISHED = "published"  # networks that others trained on the photographs


def amounts(sizes: Sequence[float]) -> dict[float, str]:
    """Return what the claims call sizes: the smallest below 1 is "few", and 1 is "one".

    The next one is "some" and the largest "many", if three sizes or more are 1 and above, as in the
    paper's 1, 10, 20 and 50.
    """
    small, large = sorted(s for s in sizes if s < 1), sorted(s for s in sizes if s >= 1)
    names = {small[0]: FEW} if small else {}
    if large and large[0] == 1:
        names |= {large[0]: ONE}
        names |= {large[1]: SOME, large[-1]: MANY} if len(large) > 2 else {}
    return names


def check_sizes(p: Mapping[str, Any]) -> Summary:
    """Check what the parameters of chapters 32 and 33 mean together; return the data in words."""
    summary, many = check_clones(p, [(FORM, SCALE)], part="sizes"), None
    if "classes" in p["parts"]:
        many = check_clones({**p, "set_size": 0}, FINE, p["fine_data"], part="classes")
    check_networks(p, many)
    return summary


def plan_sizes(p: Mapping[str, Any]) -> str:
    """Return what a run of chapters 32 and 33 trains, unless it is kept, as one line."""
    parts = []
    if "sizes" in p["parts"]:
        told = ", ".join(f"{size:g}" for size in p["sizes"])
        parts.append(
            f"{1 + len(p['sizes'])} classifiers (of real images, of clones {told} times as large)"
        )
    if "classes" in p["parts"]:
        parts.append(f"{1 + len(FINE)} of '{p['fine_data']}'")
    if not parts:
        return "To train: nothing; the tests are looked at alone."
    seeds = f"{p['seeds']} seed{'s' * (p['seeds'] > 1)}"
    return f"To train, unless kept: {' and '.join(parts)} x {seeds}."


class Sizes:
    """Chapter 32: clones of several sizes, and of many classes, on five kinds of test images.

    Beside the network that learns the photographs of many classes stand those that others
    published, as they are.
    The part tests says of these what is right without a look at them, which trains nothing.
    """

    def __init__(self, p: Any, device: str) -> None:
        self.p, self.device, self.amounts = p, device, amounts(p.sizes)
        self.networks = networks_of(p)
        self.beds = {}
        if "sizes" in p.parts:
            self.beds["sizes"] = Bed(p, device, part="sizes")
        if "classes" in p.parts:
            self.beds["classes"] = Bed(p, device, p.fine_data, set_size=0, part="classes")
        if "tests" in p.parts:
            self.beds["tests"] = self.beds.get("sizes") or Bed(p, device, part="sizes")
        models: dict[str, list[Job]] = {
            "sizes": [(REAL,), *((CLONE, FORM, SCALE, float(size)) for size in p.sizes)],
            "classes": [
                (REAL,), *((PUBLISHED, name) for name in self.networks),
                *((CLONE, *asked, 1.0) for asked in FINE),
            ],
            "tests": [(LARGEST,)],
        }  # fmt: skip
        self.jobs = [
            (seed, part, *model) for seed in p.seeds_list for part in self.beds
            for model in models[part]
        ]  # fmt: skip

    def images(self, seed: int, part: str, kind: str, *asked: Any) -> Images:
        """Return what a job's classifier learns from."""
        bed = self.beds[part]
        return bed.real(seed) if kind == REAL else bed.clone(seed, *asked)

    def encoder(self, seed: int, part: str, kind: str, *asked: Any) -> Classifier:
        """Return a job's network: trained, or a published one with its own last layer."""
        bed = self.beds[part]
        if kind != PUBLISHED:
            return bed.trained(self.images(seed, part, kind, *asked), seed)
        network = create_classifier(
            self.networks[asked[0]], num_classes=bed.splits.train.num_classes,
            channels=bed.channels, image_size=bed.reading["input_size"], pretrained=True,
        )  # fmt: skip
        return network.eval().requires_grad_(False).to(self.device)

    def about(self, seed: int, part: str, kind: str, *asked: Any) -> dict[str, Any]:
        """Return the fields of a job's rows."""
        told = self.beds[part].about(seed, part=part)
        if kind == REAL:
            return told | OF_REAL
        if kind == PUBLISHED:
            told |= {"method": PUBLISHED, "train": REAL, "network": asked[0]}
            return told | {"backbone": self.networks[asked[0]]}
        *clone, size = asked
        told |= of_clone(*clone) | {"size": size}
        if part == "sizes" and size in self.amounts:
            told["amount"] = self.amounts[size]
        return told

    def rows(self, seed: int, part: str, *model: Any) -> Rows:
        """Do a job: train its classifier, and yield its accuracies on all tests."""
        bed = self.beds[part]
        if model == (LARGEST,):
            told = bed.about(seed, part=part, method=LARGEST, train="none", metric="top1_accuracy")
            yield from (told | {"test": t, "value": v} for t, v in largest_class(bed).items())
            return
        network, about = self.encoder(seed, part, *model), self.about(seed, part, *model)
        yield from bed.accuracy_rows(network, **about)


# ---- features for other tasks: chapter 33 --------------------------------------------------------

TRANSFER, OWN_CLASSES, MEAN = "transfer", "own classes", "mean"  # what a probe is tested on


def check_transfer(p: Mapping[str, Any]) -> Summary:
    """Check what the parameters of chapter 33 mean together; return its data in words."""
    summary = check_sizes(p)
    how = {"data_root": p["data_root"], "image_size": summary.side or p["image_size"]}
    with fault_of("transfer_sets"):
        for name in p["transfer_sets"]:
            open_transfer(name, **how)
    return summary


class Transfers(Sizes):
    """Chapter 33: encoders of chapter 32, frozen, and linear layers on them for other sets."""

    def __init__(self, p: Any, device: str) -> None:
        super().__init__(p, device)
        for part in self.beds:
            for seed in p.seeds_list:
                self.jobs.insert(self.jobs.index((seed, part, REAL)), (seed, part, RANDOM))
        self.sets = transfer_sets(p, next(iter(self.beds.values())))

    def encoder(self, seed: int, part: str, kind: str, *asked: Any) -> Classifier:
        """Return a job's network."""
        if kind != RANDOM:
            return super().encoder(seed, part, kind, *asked)
        bed = self.beds[part]
        return bed.fresh(bed.real(seed), seed).eval().to(self.device)

    def about(self, seed: int, part: str, kind: str, *asked: Any) -> dict[str, Any]:
        """Return the fields of a job's rows."""
        if kind != RANDOM:
            return super().about(seed, part, kind, *asked)
        return self.beds[part].about(seed, part=part, method=RANDOM, train="none")

    def rows(self, seed: int, part: str, *model: Any) -> Rows:
        """Do a job: probe its network on every set, and on the classes that it has learned."""
        bed, network = self.beds[part], self.encoder(seed, part, *model)
        about, how = self.about(seed, part, *model), {"device": bed.device}

        def encode(images: np.ndarray) -> np.ndarray:
            return features(network, images, **bed.reading)

        values = {}
        for name, given in self.sets.items():
            told = probe(encode, given.train, given.test, metric=given.metric, **how)
            values[name] = told.measures[given.metric]
        if self.p.whole("transfer_sets"):  # its rows do not say over which sets
            values[MEAN] = mean_of(values)
        for name, value in values.items():
            yield {**about, "test": TRANSFER, "on": name, "metric": "probe_accuracy",
                   "value": value}  # fmt: skip
        own = probe(encode, bed.real(seed), bed.splits.test, **how).measures["top1"]
        yield {**about, "test": OWN_CLASSES, "metric": "probe_accuracy", "value": own}
        if model[0] != RANDOM:
            yield from bed.accuracy_rows(network, ["test"], **about)


def mean_of(values: Mapping[str, float]) -> float:
    """Return the mean over sets: over the ten of the paper's Table 2 where all are among them.

    The paper prints the mean of these, whatever other sets it has.
    """
    among = TEN if {*TEN} <= {*values} else [*values]
    return float(np.mean([values[name] for name in among]))


def transfer_sets(p: Any, bed: Bed) -> dict[str, Any]:
    """Return the transfer sets by name, as large and as coloured as what was learned."""
    how = {"image_size": bed.side, "channels": bed.channels, "data_root": p.data_root}
    return {name: open_transfer(name, **how) for name in p.transfer_sets}
