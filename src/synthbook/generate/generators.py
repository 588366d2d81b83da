"""Generators of images by name: trained once, then read from the cache, as are their samples."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from synthbook.data import ImageSet
from synthbook.errors import InputError, check_choice
from synthbook.gans import networks, sampling
from synthbook.gans.recipes import GanRecipe
from synthbook.gans.train import train_gan
from synthbook.generate import diffusion
from synthbook.generate.unet import DiffusionRecipe
from synthbook.store import atomic_write, cached
from synthbook.training import OnStep


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
    """A trained generator in the cache.

    ``conditional`` says whether it takes class labels, ``unconditional`` whether it takes None.
    """

    family: str
    folder: Path
    classes: tuple[str, ...]
    conditional: bool
    unconditional: bool
    device: str = "cpu"
    left: ClassVar[None] = None

    @property
    def key(self) -> str:
        """What tells it from others, for the cache."""
        return self.folder.name

    def sample(
        self,
        labels: Sequence[int | None],
        *,
        seed: int,
        guidance_scale: float = 1.0,
        num_inference_steps: int = 12,
    ) -> np.ndarray:
        """Return one image a label, uint8 [N, H, W, C]; made once, then read from the cache.

        Image k depends on the generator, the settings, the seed, k and label k only (up to float
        rounding). A guidance scale other than 1 needs a model that samples with and without a
        class; the number of denoising steps is for diffusion models only.
        """
        wanted = [None if label is None else int(label) for label in labels]
        self._check(wanted, guidance_scale)
        kind, how = FAMILIES[self.family], {"seed": seed}
        if self.family == "diffusion":
            how["guidance_scale"] = float(guidance_scale)
            how["num_inference_steps"] = int(num_inference_steps)
        key = {
            "family": kind,
            "generator": self.folder.name,
            "labels": hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:16],
            "count": len(wanted),
            **how,
        }
        build = partial(_sampled, kind, self.folder, wanted, how | {"device": self.device})
        return np.load(cached("samples", key, build, self.device) / "images.npy")

    def _check(self, labels: list[int | None], guidance_scale: float) -> None:
        if not labels:
            raise InputError("no labels given; ask for one image at least")
        for label in set(labels):
            if label is None and not self.unconditional:
                raise InputError(
                    f"the {self.family} generator cannot sample without a class; give labels, or "
                    "train a diffusion model with condition_dropout above 0"
                )
            if label is not None and not self.conditional:
                raise InputError("this generator was trained without classes; ask for None")
            if label is not None and not 0 <= label < len(self.classes):
                raise InputError(
                    f"class {label} is not known; the labels are 0..{len(self.classes) - 1}"
                )
        if guidance_scale != 1 and not (self.conditional and self.unconditional):
            raise InputError(
                f"guidance_scale {guidance_scale} needs a diffusion model trained with "
                "condition_dropout above 0 and below 1; give 1"
            )


def trained(
    family: str,
    images: ImageSet,
    recipe: DiffusionRecipe | GanRecipe | None = None,
    *,
    seed: int,
    device: str = "cpu",
    on_step: OnStep | None = None,
    checkpoint_every: int = 500,
) -> Generator:
    """Return the generator of ``family`` trained on ``images``: from the cache, or trained now.

    It is trained anew when its family's code, torch, the recipe, the images, the seed or the
    number of threads is another (threads change the order of sums). A training that was stopped
    goes on from its last checkpoint. ``on_step`` is called only when training.

    Raises:
        InputError: if family, recipe and images do not fit each other.
        TrainingError: if a loss is no longer finite.
    """
    check_choice("family", family, FAMILIES)
    kind = FAMILIES[family]
    recipe = kind.recipe() if recipe is None else recipe
    if not isinstance(recipe, kind.recipe):
        raise InputError(
            f"family '{family}' got a {type(recipe).__name__}; give a {kind.recipe.__name__}"
        )
    data, plain = images.fingerprint(), dataclasses.asdict(recipe)
    key = {"family": kind, "recipe": plain, "seed": seed, "data": data}
    options = {"device": device, "on_step": on_step, "checkpoint_every": checkpoint_every}
    build = partial(_train, kind, images, recipe, options | {"seed": seed})
    hidden = getattr(recipe, "condition_dropout", 0.0)
    return Generator(
        family=family,
        folder=cached(f"generators/{family}", key, build, device),
        classes=images.classes,
        conditional=hidden < 1,
        unconditional=hidden > 0,
        device=device,
    )


def _train(kind: Family, images: ImageSet, recipe: Any, options: dict, folder: Path) -> None:
    """Train a generator into a folder; a training that was stopped goes on."""
    checkpoints = folder / "checkpoints"
    kind.save(kind.train(images, recipe, folder=checkpoints, **options), folder / "model")
    shutil.rmtree(checkpoints, ignore_errors=True)


def _sampled(
    kind: Family, home: Path, labels: list[int | None], how: dict[str, Any], folder: Path
) -> None:
    """Draw images of the generator in the folder ``home`` into another folder."""
    images = kind.sample(_load(kind, home), labels, **how)
    with atomic_write(folder / "images.npy", "wb") as stream:
        np.save(stream, images)


@lru_cache(maxsize=4)
def _load(kind: Family, home: Path) -> Any:
    return kind.load(home / "model")
