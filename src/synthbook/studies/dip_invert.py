"""Inversion and editing with the Data Instance Prior: chapter 44.

Mangla et al., Data Instance Prior for Transfer Learning in GANs (2022), Table 4 and Figures 4, 5, 9
and 10. The generators are those of chapter 43, with the prior and without: which images can they
draw at all, what of an image is in the prior and what in the noise, and what do they make of the
features of an image that was altered? Nothing is trained for any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from synthbook.data import check
from synthbook.data.edits import EDITS, edited
from synthbook.data.named import PHOTOGRAPHS
from synthbook.errors import InputError, fault_of
from synthbook.gans.invert import free_numbers, images_of
from synthbook.gans.networks import create_generator
from synthbook.gans.prior import Prior, mixup, noisy
from synthbook.gans.sampling import sample, set_standing_statistics
from synthbook.measure.alike import (
    mean_cosine,
    nearest_images,
    pixel_difference,
    similarities,
    squared_errors,
    unit,
)
from synthbook.measure.fidelity import gaussian, gaussian_distance
from synthbook.randomness import derive, numpy_generator, torch_generator
from synthbook.studies import frozen, kept
from synthbook.studies.dip_models import FIRST, NONE
from synthbook.studies.dip_scale import BASELINE, DIP, LargeScale, Model
from synthbook.studies.drawn import Parameters
from synthbook.studies.inversions import (
    DRAWN,
    GENERATED,
    NEAREST,
    TEST,
    TRAIN,
    Case,
    Found,
    Gan,
    inverted,
)
from synthbook.studies.prim import check_gan
from synthbook.studies.rows import REAL, Rows, measured
from synthbook.studies.targets import check_target, real_source

UNTRAINED = "untrained"
JUDGE = "judge"  # the features of the Frechet distance
STANDING = 250  # images that set the statistics of an untrained generator
CURVE = (0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1)  # shares of the steps that a curve has
CASES = {  # part -> how models are inverted; controls have fewer images, and the paper's way too
    "shown": (Case(),),
    "inversion": (Case(),),
    "starts": (Case(), Case(DRAWN), Case(NEAREST)),
    "freedom": (Case(), Case(freedom="condition"), Case(freedom="z")),
    "others": (Case(), Case(queries=TRAIN), Case(queries=GENERATED)),
    "untrained": (Case(), Case(trained=False)),
}
EDIT_NAMES = {edit: edit for edit in EDITS} | {"none": "no edit"}  # as they stand on the page


def check_inversion(p: Parameters) -> str:
    """Check what the parameters of chapter 44 mean together; return its images in words."""
    check_gan(bed_of(p))
    if p.photographs and len(p.targets) > 1:  # rows have the name of one of them
        raise InputError(
            f"photographs = '{p.photographs}' are inverted by generators of one data set and "
            f"targets = {list(p.targets)}; give one, as in targets={p.targets[0]}"
        )
    lines = []
    for data in p.targets:
        with fault_of("targets"):
            summary = check(data, data_root=p.data_root, image_size=p.image_size)
        lines.append(str(summary))
        held = summary.counts.get("test", p.queries)
        if p.queries > held and not p.photographs:
            raise InputError(
                f"queries = {p.queries} and '{data}' has {held} held-out images; give {held} at "
                "most"
            )
    if p.photographs:
        named = ":" in p.photographs or p.photographs in PHOTOGRAPHS
        if not named and not Path(p.photographs).expanduser().is_dir():
            raise InputError(
                f"photographs = {p.photographs} is no folder that exists; correct the path"
            )
        how = {"count": 2, "why": "images to compare over", "remedy": "put more into it"}
        lines.append(check_target(p.photographs, data_root=p.data_root, whole=True, **how))
    for name in ("shown_images", "control_queries", "edited_images"):
        if p[name] > p.queries:
            raise InputError(f"{name} = {p[name]} of {p.queries} queries; give at most {p.queries}")
    if p.noises < 2 or p.edited_images < 2:
        raise InputError(
            f"noises = {p.noises} and edited_images = {p.edited_images}; give 2 or more of each, "
            "to compare them"
        )
    frozen.networks(p.priors)  # tells now whether their weights are there
    return "\n".join(lines)


def bed_of(p: Parameters) -> Any:
    """Return the parameters of chapter 43 whose generators these are, trained to the end."""
    fixed = {"parts": ["methods"], "augment": "", "stop_after": 0, "seeds_list": p.seeds_list}
    return kept.Settings(**{**kept.BED, **kept.LARGE, **p, **fixed})


def models(p: Parameters) -> list[Model]:
    """Return the generators that the chapter compares."""
    return [Model(BASELINE), *(Model(DIP, name) for name in frozen.networks(p.priors))]


class Inversion:
    """Chapter 44 on one data set: what its generators can draw, and make of altered images.

    ``jobs`` are (seed, part, model); ``missing`` names the generators that are neither kept nor to
    be trained, of which there are no jobs. The baseline has no prior to vary or to edit.
    """

    def __init__(self, p: Parameters, device: str, data: str = "") -> None:
        self.p, self.device, self.scale = p, device, LargeScale(bed_of(p), device)
        self.data = data or p.targets[0]
        self.extractors = {
            name: self.scale.features(self.data, name) for name in frozen.networks(p.priors)
        }
        self.trained, self.gan = cache(self._trained), cache(self._gan)
        self.queries, self.inverted = cache(self._queries), cache(self._inverted)
        self.known = cache(self._known)
        there = [
            (seed, model)
            for seed, model in product(p.seeds_list, models(p))
            if self.trained(seed, model) is not None
        ]
        self.missing = [
            name_of(seed, model)
            for seed, model in product(p.seeds_list, models(p))
            if (seed, model) not in there
        ]
        self.jobs = [
            (seed, part, model)
            for part in p.parts
            for seed, model in there
            if part in CASES or model.method == DIP
        ]
        self.name = (p.photographs or self.data).rstrip("/")

    @property
    def advice(self) -> str:
        """What to do about missing generators, in words; "" where none is missing."""
        if not self.missing:
            return ""
        return (
            f"Of {self.data}, with these settings, no generator is kept for "
            f"{'; '.join(self.missing)}. Those of the book are made by make models, any others "
            "here by -p train_missing true."
        )

    def of_seed(self, seed: int) -> list[Model]:
        """Return the generators that there are of a seed."""
        return [model for model in models(self.p) if self.trained(seed, model) is not None]

    # -- Generators --------------------------------------------------------------------------------

    def _trained(self, seed: int, model: Model) -> nn.Module | None:
        """Return a kept generator, or one that the cache has or makes, if that is asked for."""
        job = seed, "methods", self.data, model
        found = kept.of(self.scale, *job)
        if found is None and not self.p.train_missing:
            return None
        return (found or self.scale.learned(*job)).generator("last")

    def _gan(self, seed: int, model: Model, trained: bool = True) -> Gan:
        """Return a generator with its prior; one of random weights has statistics of its own."""
        given = self.seen_by(model.prior) if model.prior != NONE else None
        if trained:
            generator = self.trained(seed, model)
        else:
            size = given.vectors.shape[1] if given else 0
            generator = create_generator(
                **self.scale.network(self.data), condition_size=size, seed=seed
            )
            set_standing_statistics(
                generator.to(self.device),
                lambda count, draw: self._any(given, count, draw),
                seed=seed, images=STANDING,
            )  # fmt: skip
        return Gan(generator, given, self.extractors.get(model.prior))

    def _any(self, given: Prior | None, count: int, draw: torch.Generator) -> Tensor | None:
        """Return conditions of random training images."""
        if given is None:
            return None
        rows = torch.randint(len(given), (count,), generator=draw)
        return given.vectors[rows].to(self.device)

    def seen_by(self, name: str) -> Prior:
        """Return D_prior of the training images by one of the networks."""
        return self.scale.prior(self.data, name)

    def see(self, name: str, images: np.ndarray) -> np.ndarray:
        """Return C(x) by one of the networks, less the training images' mean, as unit rows."""
        known = self.seen_by(name)
        return unit(known.of(self.extractors[name].cached(images)) - known.mean)

    def _known(self, name: str) -> np.ndarray:
        """Return the same of all training images."""
        known = self.seen_by(name)
        return unit(known.vectors - known.mean)

    # -- Images ------------------------------------------------------------------------------------

    def pool(self, which: str) -> np.ndarray:
        """Return the images that queries are drawn from."""
        if which == TEST and self.p.photographs:
            how = {"image_size": self.p.image_size, "data_root": self.p.data_root}
            return real_source(self.p.photographs, without=[], **how).images
        return getattr(self.scale.sets(self.data), which).images

    def _queries(self, seed: int, which: str = TEST, model: Model | None = None) -> np.ndarray:
        """Return the images to invert or to edit; those of a ``model`` are what it has drawn."""
        if which == GENERATED:
            gan = self.gan(seed, model)
            drawn = gan.drawn(self.p.queries, derive(seed, "queries"))
            return images_of(gan.generator, *drawn, device=self.device)
        pool = self.pool(which)
        order = numpy_generator(seed, "queries", which).permutation(len(pool))
        return pool[order[: self.p.queries]]

    # -- Inversion ---------------------------------------------------------------------------------

    def count(self, part: str) -> int:
        """Return how many images a part inverts."""
        p = self.p
        return {"shown": p.shown_images, "inversion": p.queries}.get(part, p.control_queries)

    def asked(self, seed: int, model: Model, case: Case, count: int) -> np.ndarray:
        """Return the first ``count`` images to invert."""
        given = model if case.queries == GENERATED else None
        return self.queries(seed, case.queries, given)[:count]

    def _inverted(self, seed: int, model: Model, case: Case, count: int, steps: int = -1) -> Found:
        """Return what was found of them, after all steps or so many."""
        images = self.asked(seed, model, case, count)
        return inverted(
            self.gan(seed, model, case.trained), images, case, tried=self.p.tried_starts, seed=seed,
            steps=self.p.inversion_steps if steps < 0 else steps, rate=self.p.inversion_rate,
            device=self.device,
        )  # fmt: skip

    def numbers(self, seed: int, model: Model, freedom: str = "blocks") -> int:
        """Return how many numbers an inversion may choose for an image."""
        return free_numbers(self.trained(seed, model), freedom)

    # -- Rows --------------------------------------------------------------------------------------

    def rows(self, seed: int, part: str, model: Model) -> Rows:
        """Do a job. The last model of a part yields what that is read beside, too."""
        about = {
            "method": model.method, "prior": model.prior, "train": REAL, "test": "",
            "dataset": self.name, "backbone": self.p.architecture, "part": part, "seed": seed,
        }  # fmt: skip
        if part == "variation":
            yield from self._variation(self.gan(seed, model), seed, about)
            untrained = about | {"method": UNTRAINED}
            yield from self._variation(self.gan(seed, model, False), seed, untrained)
        elif part == "editing":
            yield from self._editing(seed, model, about)
        else:
            for case in CASES[part]:
                where = about if case.trained else about | {"method": UNTRAINED}
                yield from self._inversion(seed, model, case, where | case.fields())
            if part == "inversion" and model == self.of_seed(seed)[-1]:
                yield from self._references(seed, about | Case().fields() | {"prior": NONE})

    def _inversion(self, seed: int, model: Model, case: Case, about: dict[str, Any]) -> Rows:
        count = self.count(part := about["part"])
        made = self.inverted(seed, model, case, count)
        lowest, steps = made.lowest, self.p.inversion_steps
        halves = {"ivom": float(lowest[-1]), "ivom_half": float(lowest[steps // 2])}
        yield from measured(about, halves)
        if part in ("shown", "inversion", "starts"):
            for step in sorted({round(steps * share) for share in CURVE}):
                yield about | {"metric": "best_error", "value": float(lowest[step]), "step": step}
        if part != "shown":
            yield from self._distances(made.images, self.asked(seed, model, case, count), about)

    def _distances(self, made: np.ndarray, real: np.ndarray, about: dict[str, Any]) -> Rows:
        """Yield the Frechet distance in the features that judge, and in those of the priors."""
        judge = self.scale.extractor
        others = {k: one for k, one in self.extractors.items() if one.name != judge.name}
        for name, seen in ({JUDGE: judge} | others).items():
            distance = gaussian_distance(gaussian(seen.cached(real)), gaussian(seen(made)))
            yield about | {"metric": "inverted_fd", "value": distance, "seen_by": name}

    def _references(self, seed: int, about: dict[str, Any]) -> Rows:
        """Yield what no generator is needed for: the mean image, and the nearest training images.

        And how far other held-out images are from the queries, as a set.
        """
        queries, train = self.queries(seed), self.pool(TRAIN)
        errors = squared_errors(queries, train.mean(0))
        yield about | {"method": "mean image", "metric": "ivom", "value": float(errors.mean())}
        near = train[nearest_images(queries, train)]
        about = about | {"method": "nearest image"}
        yield about | {"metric": "ivom", "value": float(squared_errors(queries, near).mean())}
        yield from self._distances(near, queries, about)
        if not self.p.photographs:
            pool = self.pool(TEST)
            order = numpy_generator(seed, "queries", TEST).permutation(len(pool))
            others = pool[order[len(queries) : 2 * len(queries)]]
            if len(others) > 1:
                yield from self._distances(others, queries, about | {"method": "real images"})

    # -- Variations --------------------------------------------------------------------------------

    def _variation(self, gan: Gan, seed: int, about: dict[str, Any]) -> Rows:
        """Yield how images of one prior and other noise differ, and those of other priors."""
        images = self.variants(gan, seed, self.p.edited_images, self.p.noises)
        across = images.swapaxes(0, 1)
        pixels = {
            "within_pixels": pixel_difference(images),
            "between_pixels": pixel_difference(across),
        }
        yield from measured(about, pixels)
        for name in self.extractors:
            seen = self.see(name, images.reshape(-1, *images.shape[2:]))
            rows = seen.reshape(*images.shape[:2], -1)
            apart = {
                "within_distance": 1 - mean_cosine(rows),
                "between_distance": 1 - mean_cosine(rows.swapaxes(0, 1)),
            }
            yield from measured(about | {"seen_by": name}, apart)

    def variants(self, gan: Gan, seed: int, count: int, noises: int) -> np.ndarray:
        """Return G(z_j | C(x_i)) of the first queries, uint8 [count, noises, H, W, C].

        The z_j are the same for all queries. Of fewer queries there are fewer.
        """
        queries = self.queries(seed)[:count]
        conditions = gan.conditions(queries).repeat_interleave(noises, 0)
        z = self._noise(gan.generator, seed, noises).repeat(len(queries), 1)
        images = images_of(gan.generator, z, conditions, device=self.device)
        return images.reshape(len(queries), noises, *images.shape[1:])

    @staticmethod
    def _noise(generator: nn.Module, seed: int, count: int) -> Tensor:
        draw = torch_generator(seed, "variations")
        return torch.randn(count, generator.config.latent, generator=draw)

    def between(
        self, seed: int, model: Model, ends: tuple[int, int], count: int
    ) -> dict[str, np.ndarray]:
        """Return ways from one query's prior to another's, with one z: Figure 9.

        On "interpolation" they are mixed in shares from 0 to 1; by "mixup" so many of the numbers
        are the other's; with "noise" the first gets N(0, s^2) added, s from 0 to 2.
        """
        gan = self.gan(seed, model)
        first, second = gan.conditions(self.queries(seed)[list(ends)])
        z = self._noise(gan.generator, seed, 1).expand(count, -1)
        rows = {"interpolation": [], "mixup": [], "noise": []}
        for share in np.linspace(0, 1, count).tolist():
            rows["interpolation"].append(torch.lerp(first, second, share)[None])
            rows["mixup"].append(mixup(first[None], second[None], share=share, seed=seed))
            rows["noise"].append(noisy(first[None], deviation=2 * share, seed=seed))
        return {
            name: images_of(gan.generator, z, torch.cat(some), device=self.device)
            for name, some in rows.items()
        }

    # -- Edits -------------------------------------------------------------------------------------

    def edited(self, seed: int, edit: str) -> np.ndarray:
        """Return the first queries, edited."""
        queries = self.queries(seed)[: self.p.edited_images]
        return edited(queries, edit, share=self.p.box_share, seed=seed)

    def answers(self, seed: int, model: Model, edit: str, count: int | None = None) -> np.ndarray:
        """Return G(z | C(e(x))) of the first queries; z is the same for every edit."""
        gan = self.gan(seed, model)
        conditions = gan.conditions(self.edited(seed, edit)[:count])
        return sample(gan.generator, conditions, seed=derive(seed, "edited"), device=self.device)

    def _editing(self, seed: int, model: Model, about: dict[str, Any]) -> Rows:
        """Yield how similar answers are to what was asked, and to the image before the edit.

        Beside them stand the training images that are nearest to what was asked, in the features
        that are the prior, and the images before the edit themselves.
        """
        before = self.edited(seed, "none")
        for edit in EDITS:
            asked = self.edited(seed, edit)
            near = (self.see(model.prior, asked) @ self.known(model.prior).T).argmax(1)
            made = self.answers(seed, model, edit)
            wanted = {"edited": asked} | ({} if edit == "none" else {"original": before})
            for name, (against, images) in product(self.extractors, wanted.items()):
                answers = {
                    model.method: self.see(name, made),
                    "nearest image": self.known(name)[near],
                }
                if edit != "none" and against == "edited":
                    answers["real images"] = self.see(name, before)
                for method, seen in answers.items():
                    where = {"method": method, "edit": edit, "against": against, "seen_by": name}
                    found = similarities(seen, self.see(name, images))
                    yield from measured(about | where, found)


def name_of(seed: int, model: Model) -> str:
    """Return how a generator is called: "DIP, self-supervised, seed 0"."""
    return f"{shown(model)}, seed {seed}"


def shown(row: Model | Mapping[str, Any]) -> str:
    """Return how a model or a row's is written on the page: "DIP", "untrained DIP"."""
    method, given = (
        (row.method, row.prior) if isinstance(row, Model) else (row["method"], row["prior"])
    )
    name = BASELINE if given == NONE else DIP if given == FIRST else f"{DIP}, {given}"
    if method in (BASELINE, DIP):
        return name
    return f"untrained {name}" if method == UNTRAINED else method
