"""Generators of images in folders: written whole, found by what they were trained on, asked.

A model's folder holds ``model/`` (safetensors in half precision and a configuration), ``card.json``
(what it was trained on and how, its curve and measures, a SHA-256 of each file), and ``samples/``
(its first images, see ``banks``). Those that come with the book lie in ``models/``; others, such as
those of a reader's own photographs, in ``_build/models`` or ``$SYNTHBOOK_MODELS``.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from synthbook.errors import InputError, check_choice
from synthbook.gans import networks, sampling
from synthbook.gans.recipes import GanRecipe
from synthbook.gans.train import train_gan
from synthbook.generate import diffusion
from synthbook.generate.cards import (
    FORMAT,
    WEIGHTS,
    cards,
    check_files,
    put,
    read_card,
    remedy,
    seal,
)
from synthbook.generate.unet import DiffusionRecipe
from synthbook.randomness import numpy_generator
from synthbook.store import atomic_write, cached


@dataclass(frozen=True)
class Family:
    """A kind of generator: its recipe, and the functions that train, keep and sample one."""

    recipe: type
    train: Callable[..., Any]
    sample: Callable[..., np.ndarray]
    save: Callable[[Any, Path], None]
    load: Callable[[Path], Any]


FAMILIES = {
    "diffusion": Family(
        DiffusionRecipe, diffusion.train_diffusion, diffusion.sample, diffusion.save, diffusion.load
    ),
    "gan": Family(GanRecipe, train_gan, sampling.sample, networks.save, networks.load),
}


@dataclass(frozen=True)
class Generator:
    """A trained generator in a folder, asked for images of ``classes``.

    These are its own classes, or the kinds that its card groups them into: then an image of a kind
    is one of a class of it, as frequent as in training.
    """

    folder: Path
    card: Mapping[str, Any]
    classes: tuple[str, ...]
    device: str = "cpu"

    @property
    def family(self) -> str:
        """ "diffusion" or "gan"."""
        return self.card["family"]

    @property
    def key(self) -> str:
        """What tells it from others, for the cache: its weights and how it is sampled."""
        files = {name: sum for name, sum in self.card["files"].items() if name.startswith(WEIGHTS)}
        told = json.dumps([files, self.card["sampling"], self.classes], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @property
    def unconditional(self) -> bool:
        """Whether it can be asked for None, an image of no class in particular."""
        return self.card["recipe"].get("condition_dropout", 0.0) > 0

    @cached_property
    def members(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each class the numbers of its own classes in it, and their shares, which sum to 1."""
        own, shares = self.card["classes"], np.array(self.card["shares"])
        if self.classes == tuple(own):
            return [(np.array([k]), np.ones(1)) for k in range(len(own))]
        of = np.array(self.card["kinds"]["of"])
        found = [np.flatnonzero(of == k) for k in range(len(self.classes))]
        return [(some, shares[some] / shares[some].sum()) for some in found]

    def sample(
        self,
        labels: Sequence[int | None],
        *,
        seed: int,
        guidance_scale: float = 1.0,
        num_inference_steps: int = 0,
    ) -> np.ndarray:
        """Return one image a label, uint8 [N, H, W, C]; made once, then read from the cache.

        Image k depends on the generator, the settings, the seed, k and label k only (up to float
        rounding). A guidance scale other than 1 needs a model that samples with and without a
        class; the number of denoising steps, 0 for the card's, is for diffusion models only.
        """
        wanted = [None if label is None else int(label) for label in labels]
        self._check(wanted, guidance_scale)
        how: dict[str, Any] = {"seed": seed}
        if self.family == "diffusion":
            how["guidance_scale"] = float(guidance_scale)
            steps = num_inference_steps or self.card["sampling"]["num_inference_steps"]
            how["num_inference_steps"] = int(steps)
        key = {
            "family": FAMILIES[self.family],
            "generator": self.key,
            "labels": hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:16],
            "count": len(wanted),
            **how,
        }
        build = partial(_sampled, self, wanted, how | {"device": self.device})
        return np.load(cached("samples", key, build, self.device) / "images.npy")

    def own_labels(self, labels: Sequence[int | None], seed: int) -> list[int | None]:
        """Return labels of its own classes for those of ``classes``, drawn by ``seed``."""
        draws = numpy_generator(seed, "classes of kinds").random(len(labels))
        return [
            None if label is None else int(self._of_kind(label, draw))
            for label, draw in zip(labels, draws, strict=True)
        ]

    def _of_kind(self, label: int, draw: float) -> int:
        some, shares = self.members[label]
        return some[min(np.searchsorted(np.cumsum(shares), draw, side="right"), len(some) - 1)]

    def _check(self, labels: list[int | None], guidance_scale: float) -> None:
        if None in labels and not self.unconditional:
            raise InputError(
                f"the {self.family} generator cannot sample without a class; give labels, or "
                "train a diffusion model with condition_dropout above 0"
            )
        self.check_labels(labels)
        self.check_guidance(guidance_scale)

    def check_labels(self, labels: Sequence[int | None]) -> None:
        """Raise InputError if there are none, or one that is no number of ``classes``."""
        if not len(labels):
            raise InputError("no labels given; ask for one image at least")
        for label in set(labels) - {None}:
            if not 0 <= label < len(self.classes):
                raise InputError(
                    f"class {label} is not known; the labels are 0..{len(self.classes) - 1}"
                )

    def check_guidance(self, guidance_scale: float) -> None:
        """Raise InputError for a scale other than 1 of a model that cannot be guided."""
        if guidance_scale != 1 and not self.unconditional:
            raise InputError(
                f"guidance_scale {guidance_scale:g} needs a diffusion model trained with "
                "condition_dropout above 0; give 1"
            )


def _sampled(model: Generator, labels: list[int | None], how: dict[str, Any], folder: Path) -> None:
    """Draw images of a generator into a folder."""
    own = model.own_labels(labels, how["seed"])
    images = FAMILIES[model.family].sample(loaded(model), own, **how)
    with atomic_write(folder / "images.npy", "wb") as stream:
        np.save(stream, images)


def loaded(model: Generator) -> Any:
    """Return the network of a generator (of a diffusion model the pipeline), float32."""
    return _load(model.family, model.folder, model.key)


@lru_cache(maxsize=4)
def _load(family: str, folder: Path, key: str) -> Any:
    try:
        return FAMILIES[family].load(folder / WEIGHTS)
    except Exception as error:  # whatever a library says of a configuration, or of weights
        reason = error if isinstance(error, InputError) else type(error).__name__
        raise InputError(
            f"{folder / WEIGHTS} holds no {family} model that this version can read ({reason}); "
            f"{remedy(folder)}"
        ) from error


# -- Folders --------------------------------------------------------------------------------------


def write(
    folder: Path,
    network: Any,
    card: Mapping[str, Any],
    extras: Callable[[Generator], Mapping[str, Any]] | None = None,
) -> Generator:
    """Write a trained network and its card as the model ``folder``, which appears whole.

    ``extras`` gets the model before it appears and may write more files beside it, such as its
    samples; what it returns is added to the card.
    """
    check_choice("family", card["family"], FAMILIES)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    FAMILIES[card["family"]].save(_halved(network), part / WEIGHTS)
    card = {"format": FORMAT, "name": folder.name, **card}
    seal(part, card)
    if extras:
        card |= extras(opened(part))
    put(part, folder, card)
    return opened(folder)


def _halved(network: Any) -> Any:
    """Return a copy of a network, or of a pipeline, with its weights in half precision."""
    made = copy.deepcopy(network)
    (made if isinstance(made, nn.Module) else made.unet).half()
    return made


def opened(folder: Path, classes: Sequence[str] | None = None, *, device: str = "cpu") -> Generator:
    """Return the model in a folder, checked: every file is as its card says.

    Raises:
        InputError: if a file is missing or another, the card is of another format or family, or
            the model was made for other ``classes``.
    """
    card = read_card(folder)
    check_files(folder, card, remedy(folder))
    known, kinds = tuple(card["classes"]), card["kinds"]
    wanted = known if classes is None else tuple(classes)
    if wanted != known and not (kinds and wanted == tuple(kinds["classes"])):
        raise InputError(
            f"the model {folder} makes images of {_few(known)}, and {_few(wanted)} are asked for; "
            "give one that was trained on the same classes"
        )
    return Generator(folder, card, wanted, device)


def _few(classes: Sequence[str]) -> str:
    some = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
    return f"{len(classes)} classes ({some})"


def find(
    family: str, fingerprint: str, classes: Sequence[str], *, seed: int, device: str = "cpu"
) -> Generator | None:
    """Return model number ``seed`` of a family that was trained on certain images; None if none.

    ``fingerprint`` is that of the training images, under their own classes or by kinds.
    """
    for folder, card in cards():
        if (
            card["family"] == family
            and card["seed"] == seed
            and fingerprint in card["data"]["fingerprints"]
        ):
            return opened(folder, classes, device=device)
    return None


def described(recipe: Any) -> dict[str, Any]:
    """Return a recipe as a card holds it."""
    return dataclasses.asdict(recipe)
