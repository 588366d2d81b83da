"""MineGAN on few images, judged over the steps as other finetunings are (`few_images`); cached."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from torch import nn

from synthbook.data import ImageSet
from synthbook.gans import networks
from synthbook.gans.baselines import minegan
from synthbook.gans.recipes import Training
from synthbook.measure.features import Extractor
from synthbook.measure.fidelity import gaussian, gaussian_distance
from synthbook.store import atomic_write, cached
from synthbook.studies.few_images import SEEN, Finetuned, asked_images


@dataclass(frozen=True)
class Mined(Finetuned):
    """A generator with a miner before it; its steps are those of both phases."""

    def generator(self, which: str = "best") -> nn.Module:
        """Return the best; it takes noise alone."""
        return minegan.load(self.folder / "best")


def mined(
    images: ImageSet, held_out: ImageSet | None, mining: Training, finetuning: Training, *,
    first: Path, extractor: Extractor, generated: int, evaluate_every: int, seed: int,
    choosing: str = "held_out", device: str = "cpu",
) -> Mined:  # fmt: skip
    """Return MineGAN of ``images`` from the pair in the folder ``first``: cached, or trained now.

    Its measurements and what chooses the best are those of ``few_images.conditioned``; the
    generator with averaged weights is the one that is mined.
    """
    given = {"train": images, "held_out": held_out}
    given = {name: some for name, some in given.items() if some}
    key = {
        "mining": asdict(mining), "finetuning": asdict(finetuning), "seed": seed,
        "sets": {name: some.fingerprint() for name, some in given.items()}, "first": first.name,
        "extractor": [extractor.name, extractor.fingerprint], "choosing": choosing,
        "generated": generated, "every": evaluate_every,
    }  # fmt: skip

    def build(folder: Path) -> None:
        known = {name: gaussian(extractor.cached(some.images)) for name, some in given.items()}
        kept = folder / "history.json"  # of what a kill stopped, too
        history = _history(kept) if kept.is_file() else {}

        def evaluate(generator: nn.Module, step: int) -> dict[str, float]:
            done = step + (0 if generator.mining else mining.steps)
            made = asked_images(generator, [None] * generated, seed=seed, device=device)
            np.save(folder / f"step-{done}.npy", made[:SEEN])
            of_made = gaussian(extractor(made))
            history[done] = {name: gaussian_distance(one, of_made) for name, one in known.items()}
            with atomic_write(kept) as stream:
                json.dump(history, stream)
            if history[done][choosing] == min(found[choosing] for found in history.values()):
                generator.save(folder / "best")
            return dict(history[done])

        generator = networks.load(first)
        discriminator = minegan.discriminator_of(networks.load_discriminator(first))
        minegan.train_minegan(
            generator, discriminator, images, mining, finetuning, seed=seed, device=device,
            folder=folder / "checkpoints", evaluate=evaluate, evaluate_every=evaluate_every,
        )  # fmt: skip
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    folder = cached("mined_gans", key, build, device)
    return Mined(folder, _history(folder / "history.json"))


def _history(file: Path) -> dict[int, dict[str, float]]:
    return {int(step): numbers for step, numbers in json.loads(file.read_text()).items()}
