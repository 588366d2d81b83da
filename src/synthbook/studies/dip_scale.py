"""GANs on whole data sets with the Data Instance Prior: chapter 43.

Mangla et al., Data Instance Prior for Transfer Learning in GANs (2022), Tables 3, 5 and 10. Each
method learns all training images of a data set from random weights. With the prior, new images get
conditions from the training images' own (D_prior), or from centres or a mixture that were fitted to
them (Eq. 6).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import nn

from synthbook.data import ImageSet, Splits, at_most, check, load
from synthbook.errors import InputError, did_you_mean, fault_of
from synthbook.gans.baselines.self_conditioned import SelfConditioned, unlabelled
from synthbook.gans.baselines.ssgan import SSGAN
from synthbook.gans.extra import Extra
from synthbook.gans.prior import Elements, Prior, Sampler, centroids, embedded_rows, mixture, prior
from synthbook.gans.sampling import sample
from synthbook.measure.copying import LEAST, data_copying, replayed
from synthbook.measure.features import Extractor
from synthbook.measure.fidelity import DIP_NEIGHBOURS, gaussian, gaussian_distance, precision_recall
from synthbook.randomness import derive, numpy_generator
from synthbook.recognize.contrastive import ContrastiveRecipe, encoder, train_contrastive
from synthbook.settings import Count, Side, Width, from_texts, settings
from synthbook.store import cached
from synthbook.studies import frozen
from synthbook.studies.dip_limited_models import MODULATED
from synthbook.studies.dip_models import FIRST, NONE, untrained
from synthbook.studies.dip_study import Study
from synthbook.studies.drawn import Parameters
from synthbook.studies.few_images import LABELS, Asked, Finetuned
from synthbook.studies.prim import check_gan, curve_rows, distance_rows, network_of, recipe_of
from synthbook.studies.rows import REAL, Rows, measured
from synthbook.studies.targets import parameter_of

BASELINE, SELF_COND, DIP = "baseline", "Self-Cond GAN", "DIP"
METHODS = (BASELINE, "SSGAN", SELF_COND, DIP)
OWN = "own"  # the prior of a network that has learned the training images, without labels
INFERENCES = ("D_prior", "K-means", "GMM")  # where the conditions of new images come from
CLUSTERED = 50_000  # images that clusters are made of at most, as of ImageNet (Appendix C)
TRIALS, CELLS = 5, 5  # of the data-copying test: samples, and parts of the training images


@dataclass(frozen=True)
class Model:
    """One way to learn a data set, with a prior by name or without ("none")."""

    method: str
    prior: str = NONE

    def fields(self, inference: str = "") -> dict[str, Any]:
        """Return what a row says of it; images come from D_prior, where nothing is said."""
        usual = NONE if self.prior == NONE else INFERENCES[0]
        about = {"train": REAL, "test": "", "source": NONE, "inference": inference or usual}
        return about | asdict(self)

    def __str__(self) -> str:
        return self.method if self.prior == NONE else f"{self.method} of {self.prior}"


def networks(priors: Sequence[str]) -> dict[str, str]:
    """Return the network of each prior by its name, as `frozen.networks`; "own" is its own."""
    others = frozen.networks(name for name in priors if name != OWN)
    return others | ({OWN: OWN} if OWN in priors else {})


def models(p: Parameters) -> dict[str, list[Model]]:
    """Return what each part of the chapter compares: Tables 3 and 10, and Table 5."""
    for name in p.methods:
        if name not in METHODS:
            raise untrained(name, "studies/dip_scale.py")
    found = {
        "methods": [
            Model(method, given)
            for method in p.methods
            for given in (networks(p.priors) if method == DIP else [NONE])
        ],
        "priors": [Model(BASELINE), *(Model(DIP, name) for name in networks(p.study_priors))],
    }
    return {part: found[part] for part in p.parts}


def targets(p: Parameters, part: str) -> list[str]:
    """Return the data sets of a part."""
    return list(p.targets if part == "methods" else p.study_targets)


@settings
class OfTarget:
    """What may be other for a single data set; the defaults are never used."""

    image_size: Side = 32
    channels: Width = 32
    discriminator_channels: Width = 32
    finetune_steps: Count = 1000
    evaluate_every: Count = 100
    measured: Count = 1000


WIDTHS = ("channels", "discriminator_channels")  # of them, what belongs to the networks


def of_target(p: Parameters, name: str) -> SimpleNamespace:
    """Return the parameters of a data set's GAN: the chapter's, but for its ``target_settings``.

    Nothing is augmented.
    """
    texts = [
        setting
        for target, setting in map(_of_one, p.target_settings)
        if target.rstrip("/") == name.rstrip("/")
    ]
    own = from_texts(OfTarget, texts, "target_settings")
    widths = {key: own.pop(key) for key in WIDTHS if key in own}
    network = [
        text for text in p.network_settings if re.split("[:=]", text)[0].strip() not in widths
    ]
    network += [f"{key}={value}" for key, value in widths.items()]
    return SimpleNamespace(**{**p, "augment": "", **own, "network_settings": network})


def _of_one(text: str) -> tuple[str, str]:
    """Return target and setting of "TARGET.name=value"; a colon will do, as in other settings."""
    found = re.fullmatch(r"(.*)\.(\w+)\s*[:=]\s*(.*)", text)
    return (found[1], f"{found[2]}={found[3]}") if found else ("", text)


def check_large_scale(p: Parameters) -> str:
    """Check what the parameters of chapter 43 mean together; return its images in words."""
    lines, every = [], {name for part in p.parts for name in targets(p, part)}
    for text in p.target_settings:
        name = _of_one(text)[0]
        if name not in every:
            raise InputError(
                f"target_settings holds '{text}', and '{name}' is no data set of this run"
                f"{did_you_mean(name, every) or '; write TARGET.name=value'}"
            )
    for part, compared in models(p).items():  # networks are looked for, too
        if not compared:
            raise InputError(f"parts holds {part}, which compares nothing; give it methods")
        for model in compared:
            added(model.method, 0)  # tells now whether it has a training
        for name in targets(p, part):
            check_gan(own := of_target(p, name))
            with fault_of(parameter_of(p, name)):
                summary = check(name, data_root=p.data_root, image_size=own.image_size)
            wanted = {"clusters": p.clusters, "centres": p.centres, "components": p.components}
            for parameter, count in wanted.items():
                if count > summary.counts["train"]:
                    raise InputError(
                        f"{parameter} = {count:,} and '{name}' has {summary.counts['train']:,} "
                        "training images; give as many at most"
                    )
            lines.append(str(summary))
    return "\n".join(dict.fromkeys(lines))


def own(images: ImageSet, epochs: int, device: str) -> Extractor:
    """Return the features of a network that learns ``images`` without labels: cached, or now.

    It is the network "self-supervised" of the book, which has not seen these.
    """
    recipe = ContrastiveRecipe(epochs=epochs, batch_size=min(256, len(images)))
    how = {"seed": frozen.SEED, "device": device}
    key = {"images": images.fingerprint(), "recipe": asdict(recipe), "seed": frozen.SEED}

    def build(folder: Path) -> None:
        checkpoints = folder / "checkpoints"
        network = encoder(seed=frozen.SEED)
        trained = train_contrastive(network, images, recipe, folder=checkpoints, **how)
        frozen.save(trained, folder)

    folder = cached("own_encoders", key, build, device)
    return frozen.opened(folder, OWN, device, size=images.image_size)


def self_conditioned(
    discriminator: nn.Module, *, clusters: int, every: int, samples: int, seed: int
) -> Extra:
    """Return self-conditioning as `few_images.conditioned` asks for it."""
    return SelfConditioned(clusters=clusters, every=every, samples=samples, seed=seed)


def added(method: str, seed: int) -> Callable[..., Extra] | None:
    """Return what a method adds to a training whatever its images are; None for nothing.

    Raises:
        InputError: for a method that has no training here.
    """
    if method == "SSGAN":
        return partial(SSGAN, seed=seed)
    if method not in (BASELINE, SELF_COND, DIP):
        raise untrained(method, "added of studies/dip_scale.py")
    return None


class LargeScale(Study):
    """Chapter 43: each data set learned by each method, seed by seed."""

    def __init__(self, p: Parameters, device: str) -> None:
        super().__init__(p, device, models(p), targets)
        self.networks = networks(p.priors) | networks(p.study_priors)
        self.bed = cache(partial(of_target, p))
        self.sets, self.features, self.prior = (
            cache(one) for one in (self._sets, self._features, self._prior)
        )
        self.samplers: dict[Any, Sampler] = {}

    def network(self, name: str) -> dict[str, Any]:
        """Return the settings of a data set's networks, without a condition."""
        network = network_of(self.bed(name))
        return network | {"name": MODULATED.get(network["name"], network["name"])}

    def stopped(self, name: str) -> bool:
        """Return whether trainings end before their time."""
        return 0 < self.p.stop_after < self.bed(name).finetune_steps

    # -- What a model learns from ------------------------------------------------------------------

    def _sets(self, name: str) -> Splits:
        """Return the parts of a data set, the training images in random order."""
        side = self.bed(name).image_size
        parts = load(name, data_root=self.p.data_root, image_size=side, channels=3)
        order = numpy_generator(0, "order", name).permutation(len(parts.train))
        return replace(parts, train=parts.train.subset(order))

    def _features(self, name: str, given: str) -> Extractor:
        """Return the features C(x) that a prior of a data set is made of, by its name."""
        if given == OWN:
            return own(self.sets(name).train, self.p.own_epochs, self.device)
        return frozen.frozen(self.networks[given], self.device, size=self.p.prior_size)

    def _prior(self, name: str, given: str) -> Prior:
        """Return D_prior of a data set's training images."""
        return prior(self.features(name, given).cached(self.sets(name).train.images))

    def arguments(
        self, seed: int, part: str, name: str, model: Model, *, whole: bool = False
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of `few_images.conditioned`; ``whole``: of a training to its end.

        Snapshots are judged by validation images, which also choose the best.
        """
        p, sets, network = self.bed(name), self.sets(name), self.network(name)
        train, extra = sets.train, added(model.method, seed)
        asked = Asked(None, [None] * p.generated)
        if model.method == SELF_COND:
            train, asked = unlabelled(train, p.clusters), Asked(None, p.generated)
            network |= {"num_classes": p.clusters}
            how = {"clusters": p.clusters, "every": -(-p.finetune_steps // 4)}
            samples = max(p.clusters, min(len(train) // 2, CLUSTERED))
            how |= {"samples": samples, "seed": seed}
            extra = partial(self_conditioned, **how)
        if model.method == DIP:
            vectors = self.prior(name, model.prior).vectors
            network |= {"condition_size": vectors.shape[1]}
            asked = Asked(vectors, Elements(vectors).sample(p.generated, seed))
        recipe = recipe_of(p)
        if self.stopped(name) and not whole:  # no step depends on how many follow
            recipe = replace(recipe, steps=p.stop_after)
        how = {
            "first": None, "extractor": self.extractor, "evaluate_every": p.evaluate_every,
            "seed": seed, "choosing": "held_out", "extra": extra, "device": self.device,
        }  # fmt: skip
        return (train, sets.val, recipe, network, asked), how

    # -- Learning and sampling ---------------------------------------------------------------------

    def inferences(self, part: str, model: Model) -> tuple[str, ...]:
        """Return where the conditions of a model's images come from; Table 5 has D_prior alone."""
        if model.method != DIP:
            return (NONE,)
        return INFERENCES if part == "methods" else INFERENCES[:1]

    def _sampler(
        self, seed: int, name: str, model: Model, inference: str, generator: nn.Module
    ) -> Sampler:
        """Return where a generator's conditions come from; fitted to its G_emb(D_prior)."""
        given = self.prior(name, model.prior)
        if inference == INFERENCES[0]:
            return Elements(given.vectors)
        if inference == INFERENCES[1]:
            return centroids(given, generator, clusters=self.p.centres, seed=seed)
        return mixture(given, generator, components=self.p.components, seed=seed)

    def samples(
        self, seed: int, part: str, name: str, model: Model, count: int, *,
        inference: str = "", trial: int = 0, which: str = "last", learned: Finetuned | None = None,
        source: Sampler | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return images of a snapshot, uint8 [count, H, W, C].

        Conditions come from ``source``, or ``inference``, D_prior where nothing is said, and of a
        self-conditioned GAN from clusters as frequent as among its training images. ``learned``
        may be a kept result.
        """
        learned = learned or self.learned(seed, part, name, model)
        draw = derive(seed, "measured", trial)
        how, generator = {"seed": draw, "device": self.device}, learned.generator(which)
        if model.method == DIP:
            where = inference or INFERENCES[0]
            key = seed, name, model, where, learned.folder, which
            if source is None and key not in self.samplers:
                self.samplers[key] = self._sampler(*key[:4], generator)
            source = source or self.samplers[key]
            conditions = source.sample(count, draw)
            return sample(generator, conditions, embedded=source.embedded, **how)
        if model.method != SELF_COND:
            return sample(generator, [None] * count, **how)
        step = learned.last if which == "last" else learned.chosen("held_out")
        labels = np.load(learned.folder / LABELS.format(step))
        drawn = numpy_generator(draw, "clusters").choice(labels, count)
        return sample(generator, drawn.tolist(), **how)

    def beside(self, images: np.ndarray, name: str) -> np.ndarray:
        """Return the nearest training image of each image, in the features of the distance."""
        return super().beside(images, self.sets(name).train.images)

    # -- Rows --------------------------------------------------------------------------------------

    def rows(self, seed: int, part: str, name: str, model: Model) -> Rows:
        """Do a job. Of a training that is stopped early the curve is all there is."""
        job, learned = (seed, part, name, model), self.learned(seed, part, name, model)
        about = model.fields() | {"part": part, "dataset": name.rstrip("/"), "seed": seed}
        about |= {"backbone": self.network(name)["name"]}
        for row in curve_rows(learned, ["held_out"]):
            yield row | about | {"against": "val"}
        if self.stopped(name):
            return
        for row in distance_rows(learned, ["held_out"]):
            if row["metric"] in ("late_gain", "best_step_share") and row["against"] == "held_out":
                yield row | about | {"against": "val"}
        test = self.sets(name).test
        real = self.extractor.cached(at_most(test, self.bed(name).measured, seed=0).images)
        of_real = gaussian(real)
        for inference in self.inferences(part, model):
            fields = about | model.fields(inference) | {"against": "test"}
            trials = TRIALS if part == "methods" else 1
            made = [
                self.extractor(self.samples(*job, len(real), inference=inference, trial=trial))
                for trial in range(trials)
            ]
            yield from measured(fields, {"last_fd": gaussian_distance(of_real, gaussian(made[0]))})
            if part == "methods":
                yield from measured(fields, self._measures(name, real, made, seed))
        made = self.extractor(self.samples(*job, len(real), which="best"))
        value = gaussian_distance(of_real, gaussian(made))
        found = {"against": "test", "selected": "val", "metric": "best_fd", "value": value}
        yield about | found
        if model.method == DIP and part == "methods":
            given, generator = self.prior(name, model.prior), learned.generator("last")
            points = embedded_rows(given, generator, clusters=1, seed=seed)
            yield from measured(about, {"embedding_spread": float(points.std(axis=0).mean())})
        if part == "methods" and model == self.models[part][-1]:
            yield from self._references(seed, name, real, about)

    def _measures(
        self, name: str, real: np.ndarray, made: list[np.ndarray], seed: int
    ) -> dict[str, float]:
        """Return precision, recall and C_T of images, a sample a trial; the first has the others'.

        Without enough images for the paper's numbers of neighbours there are as many as there can.
        """
        limits = len(real) - 1, len(made[0]) - 1
        k = tuple(min(wanted, most) for wanted, most in zip(DIP_NEIGHBOURS, limits, strict=True))
        found = dict(zip(("precision", "recall"), precision_recall(real, made[0], k), strict=True))
        base = self.extractor.cached(self.sets(name).train.images)
        cells = max(1, min(CELLS, len(base) // LEAST))
        least = min(LEAST, len(made[0]) // (2 * cells))
        copied = data_copying(base, real, made, cells=cells, least=least, seed=seed)
        return found | {"c_t": copied.c_t.mean}

    def _references(self, seed: int, name: str, real: np.ndarray, about: Mapping[str, Any]) -> Rows:
        """Yield the same of training images drawn with repetition, and of validation images.

        The first are all that a generator has which only copies, the others what a perfect one
        would get, of which there may be fewer.
        """
        sets = self.sets(name)
        base, unseen = (self.extractor.cached(one.images) for one in (sets.train, sets.val))
        again = [replayed(base, len(real), seed=derive(seed, k)) for k in range(TRIALS)]
        for method, made in (("replayed", again), ("real images", [unseen])):
            fields = about | Model(method).fields() | {"against": "test"}
            distance = gaussian_distance(gaussian(real), gaussian(made[0]))
            yield from measured(fields, {"last_fd": distance})
            yield from measured(fields, self._measures(name, real, made, seed))


def shown(model: Model, inference: str = "") -> str:
    """Return how a model is written on the page: "DIP, D_prior", "DIP, own, K-means"."""
    return named(model.fields(inference))


def named(row: Mapping[str, Any]) -> str:
    """Return the same of a row's fields."""
    if row["prior"] == NONE:
        return row["method"]
    given = "" if row["prior"] == FIRST else f", {row['prior']}"
    return f"{row['method']}{given}, {row['inference']}"
