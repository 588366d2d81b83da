"""Sources of synthetic images: the generators by name, trained once and cached."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from synthbook.data import ImageSet
from synthbook.errors import InputError, did_you_mean
from synthbook.gans import train as gan
from synthbook.gans.train import GanRecipe
from synthbook.generate import diffusion
from synthbook.generate.clones import clone, filtered_clone
from synthbook.generate.unet import DiffusionRecipe
from synthbook.store import atomic_write, cached
from synthbook.training import OnStep, check_choice

__all__ = ["FAMILIES", "Source", "clone", "filtered_clone", "recipe", "trained"]

FAMILIES = ("diffusion", "gan")
RECIPES = {"diffusion": DiffusionRecipe, "gan": GanRecipe}


def recipe(family: str, settings: Mapping[str, Any] | None = None) -> DiffusionRecipe | GanRecipe:
    """Return the recipe of ``family`` with ``settings`` over its defaults.

    Raises:
        InputError: if a setting is not known, or its value makes no sense.
    """
    check_choice("family", family, FAMILIES)
    settings = dict(settings or {})
    known = [field.name for field in dataclasses.fields(RECIPES[family])]
    for name in settings:
        if name not in known:
            remedy = did_you_mean(name, known) or f"; it has {', '.join(known)}"
            raise InputError(f"a {family} recipe has no setting '{name}'{remedy}")
    return RECIPES[family](**settings)


@dataclass(frozen=True)
class Source:
    """A trained generator in the cache. ``dataclasses.replace`` changes how it is sampled.

    ``conditional`` says whether it takes class labels, ``unconditional`` whether it takes None.
    ``guidance_scale`` and ``num_inference_steps`` are for diffusion models only.
    """

    family: str
    folder: Path
    classes: tuple[str, ...]
    conditional: bool
    unconditional: bool
    guidance_scale: float = 1.0
    num_inference_steps: int = 12
    device: str = "cpu"

    @property
    def seconds(self) -> float:
        """How long the training took, in seconds of wall time."""
        return float(json.loads((self.folder / "training.json").read_text())["seconds"])

    def sample(self, labels: Sequence[int | None], *, seed: int) -> np.ndarray:
        """Return one image a label, uint8 [N, H, W, C]; made once, then read from the cache.

        Image k depends on the source, the seed, k and label k only (up to float rounding).

        Raises:
            InputError: if a label is unknown, or the source cannot do with or without labels.
        """
        wanted = [None if label is None else int(label) for label in labels]
        self._check(wanted)
        drawing = {}
        if self.family == "diffusion":
            drawing = {
                "guidance_scale": float(self.guidance_scale),
                "num_inference_steps": int(self.num_inference_steps),
            }
        text = json.dumps(wanted).encode()
        key = {
            "source": self.folder.name,
            "labels": hashlib.sha256(text).hexdigest()[:16],
            "count": len(wanted),
            "seed": seed,
            **drawing,
        }

        def build(folder: Path) -> None:
            model = _load(self.family, str(self.folder / "model"))
            draw = diffusion.sample if self.family == "diffusion" else gan.sample
            images = draw(model, wanted, seed=seed, device=self.device, **drawing)
            with atomic_write(folder / "images.npy", "wb") as stream:
                np.save(stream, images)

        return np.load(cached("samples", key, build, self.device) / "images.npy")

    def _check(self, labels: list[int | None]) -> None:
        if not labels:
            raise InputError("no labels given; ask for one image at least")
        for label in set(labels):
            if label is None and not self.unconditional:
                raise InputError(
                    f"the {self.family} source cannot sample without a class; give labels, or "
                    "train a diffusion model with condition_dropout above 0"
                )
            if label is not None and not self.conditional:
                raise InputError("this source was trained without classes; ask for None")
            if label is not None and not 0 <= label < len(self.classes):
                raise InputError(
                    f"class {label} is not known; the labels are 0..{len(self.classes) - 1}"
                )
        if self.conditional and not self.unconditional and self.guidance_scale != 1:
            raise InputError(
                f"guidance_scale {self.guidance_scale} needs a model trained with "
                "condition_dropout above 0; give 1"
            )


def trained(
    family: str,
    images: ImageSet,
    recipe: DiffusionRecipe | GanRecipe | None = None,
    *,
    seed: int,
    device: str = "cpu",
    on_step: OnStep | None = None,
    guidance_scale: float = 1.0,
    num_inference_steps: int = 12,
    checkpoint_every: int = 500,
) -> Source:
    """Return the generator of ``family`` trained on ``images``: from the cache, or trained now.

    It is trained anew when its family's code, torch, the recipe, the images, the seed or the
    number of threads is another (threads change the order of sums). A training that was stopped
    goes on from its last checkpoint. ``on_step`` is called only when training.

    Raises:
        InputError: if family, recipe and images do not fit each other.
        TrainingError: if a loss is no longer finite.
    """
    check_choice("family", family, FAMILIES)
    recipe = RECIPES[family]() if recipe is None else recipe
    if not isinstance(recipe, RECIPES[family]):
        raise InputError(
            f"family '{family}' got a {type(recipe).__name__}; give a {RECIPES[family].__name__}"
        )
    key = {
        "family": family,
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "data": images.fingerprint(),
    }
    train = diffusion.train_diffusion if family == "diffusion" else gan.train_gan

    def build(folder: Path) -> None:
        start = time.perf_counter()
        checkpoints = folder / "checkpoints"
        how = {"seed": seed, "device": device, "on_step": on_step}
        model = train(images, recipe, folder=checkpoints, checkpoint_every=checkpoint_every, **how)
        (diffusion if family == "diffusion" else gan).save(model, folder / "model")
        with atomic_write(folder / "training.json") as stream:
            json.dump({"seconds": round(time.perf_counter() - start, 2)}, stream)
        shutil.rmtree(checkpoints, ignore_errors=True)

    hidden = getattr(recipe, "condition_dropout", 0.0)
    return Source(
        family=family,
        folder=cached(f"generators/{family}", key, build, device),
        classes=images.classes,
        conditional=hidden < 1,
        unconditional=hidden > 0,
        guidance_scale=guidance_scale if family == "diffusion" and hidden < 1 else 1.0,
        num_inference_steps=num_inference_steps,
        device=device,
    )


@lru_cache(maxsize=4)
def _load(family: str, folder: str) -> Any:
    return (diffusion if family == "diffusion" else gan).load(Path(folder))
