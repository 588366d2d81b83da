"""GANs of whole trainings with the Data Instance Prior and without, kept in folders.

Pages of chapters 41 to 44 show their images, and chapter 44 inverts and edits with them. Those that
come with the book lie in ``models/dip``, others in ``dip`` beside the models that were made here. A
folder holds one generator with averaged weights in half precision, and ``card.json``: what it
learned from and how, its curve, and a SHA-256 of each file. It is found by that, whatever its name
is. The prior of the training images is computed anew by whoever samples.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from synthbook.data import ImageSet
from synthbook.errors import InputError, check_choice
from synthbook.gans import networks
from synthbook.gans.recipes import Training
from synthbook.generate.cards import CARD, check_files, places, put, read, remedy, trained_here
from synthbook.measure.features import Extractor
from synthbook.studies import dip, dip_limited, dip_scale
from synthbook.studies.dip import FewShot
from synthbook.studies.dip_limited import Limited
from synthbook.studies.dip_models import NONE
from synthbook.studies.dip_scale import LargeScale
from synthbook.studies.dip_study import Study
from synthbook.studies.few_images import Asked, Finetuned
from synthbook.studies.pairs import REMEDY

PLACE = "dip"  # the folder of these generators, beside models


# -- Found and written ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept(Finetuned):
    """A training that is kept: its ``card``, its curve, and the generator of one snapshot.

    ``which`` says whether it is the "best" snapshot or the "last"; ``history`` has what was
    measured at which step, and no images are kept with it.
    """

    card: Mapping[str, Any]

    @property
    def which(self) -> str:
        """Which snapshot it is, "best" or "last"."""
        return self.card["snapshot"]

    def generator(self, which: str = "") -> nn.Module:
        """Return it, in eval mode.

        Raises:
            InputError: if ``which`` asks for a snapshot of another step.
        """
        steps = {"best": self.chosen(self.card["learned"]["choosing"]), "last": self.last}
        if which and steps[which] != steps[self.which]:
            raise InputError(
                f"{self.folder.name} is the {self.which} snapshot of a training, not the {which} "
                "one; ask for it, or train anew"
            )
        return networks.load(self.folder)


def learned_from(
    images: ImageSet, held_out: ImageSet | None, recipe: Training, network: Mapping[str, Any],
    asked: Asked, *,
    prior: str, extractor: Extractor, evaluate_every: int, seed: int, choosing: str = "train",
    extra: Callable[..., Any] | None = None, before: Mapping[str, Any] | None = None, **_: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return what tells a training by `few_images.conditioned` from others, as a card says it.

    The arguments are those of it, and ``prior``, the name of the extractor of the vectors ("none"
    without): their numbers are not the same on all machines. ``before`` tells the GAN that it
    started from (`others.told_of_others`).
    """
    told = {name: some.fingerprint() for name, some in (("train", images), ("held_out", held_out))
            if some}  # fmt: skip
    judged = asked.judged if isinstance(asked.judged, int) else len(asked.judged)
    added = {}
    if isinstance(extra, partial):
        added = {"name": extra.func.__name__, **extra.keywords}
    elif extra:
        added = {"name": extra.__name__}
    learned = {
        "sets": told, "seed": seed, "network": dict(network),
        "recipe": dataclasses.asdict(recipe), "prior": prior, "extra": added,
        "extractor": extractor.name, "generated": judged, "every": evaluate_every,
        "choosing": choosing,
    }  # fmt: skip
    learned |= {"before": dict(before)} if before else {}
    return json.loads(json.dumps(learned))


def cards() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folder and the card of each kept generator, those of the book first.

    Raises:
        InputError: if a card cannot be read, or is of another format.
    """
    for place in places():
        for file in sorted(place.glob(f"{PLACE}/[!.]*/{CARD}")):  # a dot: it is being written
            folder, needed = file.parent, {"learned", "snapshot", "curve"}
            yield folder, read(folder, needed, "a generator", remedy(folder, REMEDY))


def find(*given: Any, prior: str, first: Path | None = None, **how: Any) -> Kept | None:
    """Return the kept result of a training by `few_images.conditioned`; None if none is kept.

    The arguments are those of `learned_from`. What started from a GAN in a folder (``first``) is
    not kept, as nothing tells it from others.

    Raises:
        InputError: if a file of it is missing, or is not as its card says.
    """
    wanted = None
    for folder, card in cards() if first is None else ():
        wanted = wanted or learned_from(*given, prior=prior, **how)
        if card["learned"] == wanted:
            check_files(folder, card, remedy(folder, REMEDY))
            history = {int(step): numbers for step, numbers in card["curve"].items()}
            return Kept(folder, history, card)
    return None


def of(study: Study, *job: Any) -> Kept | None:
    """Return the kept result of the whole training of a chapter's job; None if none is kept.

    ``study`` is that of chapter 41, 42 or 43, whose own training may be stopped.
    """
    if not study.may_be_kept(job[-1]) or next(cards(), None) is None:
        return None  # without a look at the images
    given, how = arguments(study, *job)
    return find(*given, **how)


def arguments(study: Study, *job: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of `learned_from` of the whole training of a chapter's job."""
    given, how = study.arguments(*job, whole=True)
    told = {"prior": study.name_of_prior(*job), "before": study.told_before(*job[:2])}
    return given, how | told


def write(
    name: str, trained: Finetuned, which: str, learned: Mapping[str, Any], about: Mapping[str, Any]
) -> Path:
    """Keep the "best" or the "last" generator of a training as ``name``; return its new folder.

    ``learned`` is what `learned_from` gives, ``about`` is more for the card. The folder appears
    whole.
    """
    folder = places()[1] / PLACE / name
    part = folder.with_name(f".{name}.part")
    shutil.rmtree(part, ignore_errors=True)
    networks.save(trained.generator(which).half(), part)
    curve = {
        str(step): {key: round(value, 4) for key, value in numbers.items()}
        for step, numbers in trained.history.items()
    }
    card = {"name": name, "snapshot": which, "learned": learned, **about, "curve": curve}
    put(part, folder, card)
    return folder


# -- Those of the book ----------------------------------------------------------------------------


class Settings(SimpleNamespace):
    """Parameters of a chapter, by attribute and by name."""

    def keys(self) -> Sequence[str]:
        return list(vars(self))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


def chapter_41(seed: int, device: str, priors: Sequence[str] = ()) -> FewShot:
    """Return chapter 41 as it is at mini, with whole trainings."""
    return FewShot(Settings(**BED, **FEW, seeds_list=[seed], priors=list(priors)), device)


def chapter_42(seed: int, device: str, priors: Sequence[str] = ()) -> Limited:
    """Return chapter 42 as it is at mini, with whole trainings."""
    return Limited(Settings(**BED | FEW | LIMITED, seeds_list=[seed], priors=list(priors)), device)


def chapter_43(seed: int, device: str, priors: Sequence[str] = ()) -> LargeScale:
    """Return chapter 43 as it is at mini, with whole trainings."""
    return LargeScale(Settings(**BED, **LARGE, seeds_list=[seed], priors=list(priors)), device)


def _settings(
    rate: float, batch_size: int, discriminator_steps: int, standing_images: int
) -> list[str]:
    return [
        f"batch_size: {batch_size}", f"discriminator_steps: {discriminator_steps}",
        f"generator_learning_rate: {rate}", f"discriminator_learning_rate: {rate}",
        "schedule: constant", "ema_half_life: 1000", "ema_start: 20",
        f"standing_images: {standing_images}",
    ]  # fmt: skip


BED = {
    "data_root": "", "image_size": 32, "architecture": "sngan",
    "parts": ["methods"], "study_targets": [], "target_settings": [], "stop_after": 0,
    "extractor": "efficientnet_lite0", "extractor_size": 64, "prior_size": 64,
    "precision": "float32",
}  # fmt: skip
FEW = {
    "network_settings": [
        "channels: 16", "discriminator_channels: 16", "widest: 2", "latent: 64",
        "spectral_generator: true",
    ],
    "methods": ["DiffAugment"], "targets": ["caltech3:Faces_easy"],
    "training_settings": _settings(0.001, 8, 1, 250), "target_images": 100,
    "held_out_images": 400, "finetune_steps": 3600, "evaluate_every": 200, "generated": 200,
    "augment": "translation,cutout",
    "consistency": 10.0, "amount_targets": [], "amount_methods": [], "amounts": [],
    "stylegan2_targets": [],
}  # fmt: skip
LARGE = {
    "network_settings": [
        "channels: 32", "discriminator_channels: 32", "latent: 64", "spectral_generator: true",
    ],
    "methods": ["DIP"], "targets": ["caltech101"], "study_priors": [],
    "training_settings": _settings(0.0004, 16, 2, 1000), "finetune_steps": 4500,
    "evaluate_every": 50, "generated": 200, "measured": 1580, "clusters": 50, "centres": 750,
    "components": 75,
    "own_epochs": 30,
}  # fmt: skip


LIMITED = {
    "parts": ["finetuning"], "methods": ["FreezeD", "DiffAugment"],
    "targets": ["caltech3:airplanes"], "target_images": [400], "real_source": "caltech97",
    "shares": [], "method_settings": [],
    "pretrain_settings": [
        "batch_size: 16", "discriminator_steps: 2", "generator_learning_rate: 0.0004",
        "discriminator_learning_rate: 0.0004",
    ],
    "pretrain_steps": 2400, "evaluate_every": 100, "consistency_with_prior": 1.0,
    "frozen_blocks": 2,
}  # fmt: skip


class Book(NamedTuple):
    """A generator of the book: the chapter that trains it, its job there, and which snapshot."""

    study: Callable[..., Any]
    target: str
    model: Any
    which: str
    part: str = "methods"


def _few(method: str, prior: str = NONE) -> Book:
    return Book(chapter_41, "caltech3:Faces_easy", dip.Model(method, prior), "best")


def _tuned(method: str, prior: str = NONE) -> Book:
    model = dip_limited.Model(method, prior)
    return Book(chapter_42, "caltech3:airplanes", model, "best", "finetuning")


def _large(method: str, prior: str = NONE) -> Book:
    return Book(chapter_43, "caltech101", dip_scale.Model(method, prior), "last")


BOOK = {
    "faces-scratch": _few("scratch"),
    "faces-scratch-dip": _few("scratch", "supervised"),
    "faces-diffaugment": _few("DiffAugment"),
    "faces-diffaugment-dip": _few("DiffAugment", "supervised"),
    "airplanes-freezed": _tuned("FreezeD"),
    "airplanes-freezed-dip": _tuned("FreezeD", "supervised"),
    "airplanes-diffaugment": _tuned("DiffAugment"),
    "airplanes-diffaugment-dip": _tuned("DiffAugment", "supervised"),
    "caltech101-baseline": _large("baseline"),
    "caltech101-dip-supervised": _large("DIP", "supervised"),
    "caltech101-dip-self-supervised": _large("DIP", "self-supervised"),
}


def study_of(name: str, seed: int, device: str = "cpu") -> Any:
    """Return the chapter that trains a generator of the book, as it is at mini."""
    check_choice("generator", name, BOOK)
    made = BOOK[name]
    return made.study(seed, device, [one for one in [made.model.prior] if one != NONE])


def job_of(name: str, seed: int) -> tuple[int, str, str, Any]:
    """Return the job of a generator of the book in its chapter."""
    return seed, BOOK[name].part, BOOK[name].target, BOOK[name].model


def kept(name: str, seed: int, *, device: str = "cpu") -> Kept | None:
    """Return the book's generator ``name`` number ``seed`` if it is kept."""
    check_choice("generator", name, BOOK)
    if next(cards(), None) is None:
        return None
    return of(study_of(name, seed, device), *job_of(name, seed))


def make(name: str, seed: int, *, device: str = "cpu") -> Kept:
    """Return the book's generator ``name`` number ``seed``: kept, or trained now, by the cache."""
    if (there := kept(name, seed, device=device)) is not None:
        return there
    study, job = study_of(name, seed, device), job_of(name, seed)
    trained = study.learned(*job)
    given, how = arguments(study, *job)
    learned = learned_from(*given, **how)
    about = {"training": trained_here(round(minutes_of(trained), 2), device)}
    write(f"{name}-{seed}", trained, BOOK[name].which, learned, about)
    return kept(name, seed, device=device)


def images(name: str, seed: int, count: int, *, device: str = "cpu") -> np.ndarray:
    """Return the first images of a kept generator of the book, uint8 [count, H, W, C].

    Raises:
        InputError: if it is not kept.
    """
    if (there := kept(name, seed, device=device)) is None:
        raise InputError(f"{name}-{seed} is not kept as it is asked for; make it (make models)")
    return study_of(name, seed, device).samples(*job_of(name, seed), count, learned=there)


def minutes_of(trained: Finetuned) -> float:
    """Return the minutes from the first to the last measurement of a training, by the clock.

    The times of its files tell, also of a training that the cache had.
    """
    ends = (trained.folder / f"step-{step}.npy" for step in (min(trained.history), trained.last))
    first, last = (path.stat().st_mtime for path in ends)
    return max(0.0, last - first) / 60
