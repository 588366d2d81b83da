"""GANs that start from another's weights: pretrained once, finetuned on few images, both cached."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.data import ImageSet
from synthbook.gans.batches import ImageStream
from synthbook.gans.networks import (
    create_discriminator,
    create_generator,
    load,
    load_discriminator,
    save,
)
from synthbook.gans.recipes import Training
from synthbook.gans.sampling import sample
from synthbook.gans.train import train
from synthbook.gans.transfer import transfer
from synthbook.measure.features import Extractor
from synthbook.measure.fidelity import gaussian, gaussian_distance
from synthbook.randomness import derive
from synthbook.store import atomic_write, cached
from synthbook.training import OnStep

if TYPE_CHECKING:
    from torch import nn

Counter = Callable[[np.ndarray], Mapping[str, float]]  # images -> numbers by name


def pretrained(
    source: ImageSet | ImageStream,
    recipe: Training,
    network: Mapping[str, Any],
    *,
    seed: int,
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> Path:
    """Return the folder of a pair of networks trained on ``source``: cached, or trained now.

    It holds the generator with averaged weights and the last discriminator. ``network`` is the
    architecture's name under "name", and its settings. A training that was stopped goes on.

    Raises:
        InputError, TrainingError: as ``gans.train.train``.
    """
    key = {
        "network": dict(network),
        "recipe": dataclasses.asdict(recipe),
        "source": source.fingerprint(),
        "seed": seed,
    }

    def build(folder: Path) -> None:
        began = time.perf_counter()
        pair = _pair(network, seed)
        made = train(
            *pair, source, recipe,
            seed=seed, device=device, folder=folder / "checkpoints", on_step=on_step,
        )  # fmt: skip
        save(made.generator, folder, made.discriminator)
        _write(folder / "training.json", {"seconds": round(time.perf_counter() - began, 2)})
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    return cached("pretrained_gans", key, build, device)


def _pair(network: Mapping[str, Any], seed: int) -> tuple[nn.Module, nn.Module]:
    settings = dict(network)
    name = settings.pop("name")
    return (
        create_generator(name, seed=seed, **settings),
        create_discriminator(name, seed=seed, **settings),
    )


def started(
    network: Mapping[str, Any], first: Path | None, *, seed: int, skip: tuple[str, ...] = ()
) -> tuple[nn.Module, nn.Module]:
    """Return new networks with the weights of the pair in the folder ``first``; None: random ones.

    The generator starts from the averaged weights, the discriminator from its last ones. ``skip``
    names parts that stay random, such as "embed" for classes that mean something else.
    """
    pair = _pair(network, seed)
    if first is not None:
        for ours, theirs in zip(pair, (load(first), load_discriminator(first)), strict=True):
            transfer(ours, theirs, skip=skip)
    return pair


@dataclass(frozen=True)
class Judge:
    """How near a generator is to the images that it was trained on, and to others like them.

    The Frechet distance is from ``generated`` images to all images of a set, in the features of
    ``extractor``. ``also`` counts something in the generated images.
    """

    extractor: Extractor
    train: ImageSet
    held_out: ImageSet | None
    generated: int
    seed: int = 0
    also: Counter | None = None
    also_name: str = ""

    def key(self) -> dict[str, Any]:
        """Return what a cached result depends on."""
        return {
            "extractor": [self.extractor.name, self.extractor.fingerprint],
            "train": self.train.fingerprint(),
            "held_out": self.held_out.fingerprint() if self.held_out else None,
            "generated": self.generated,
            "seed": self.seed,
            "also": self.also_name,
        }

    def images(self, generator: nn.Module, device: str = "cpu") -> np.ndarray:
        """Return the generated images that are judged, classes in turn, uint8 [N, H, W, C]."""
        classes = generator.config.num_classes
        labels = [k % classes if classes else None for k in range(self.generated)]
        return sample(generator, labels, seed=derive(self.seed, "judged"), device=device)

    def start(self, device: str = "cpu") -> Callable[[nn.Module], dict[str, float]]:
        """Return the function from a generator to its numbers; features of the sets come first."""
        sets = {"train": self.train, "held_out": self.held_out}
        known = {
            name: gaussian(self.extractor.cached(some.images))
            for name, some in sets.items()
            if some
        }

        def judge(generator: nn.Module) -> dict[str, float]:
            images = self.images(generator, device)
            made = gaussian(self.extractor(images))
            found = {name: gaussian_distance(real, made) for name, real in known.items()}
            return found | dict(self.also(images) if self.also else {})

        return judge


class Log:
    """Keeps what a judge says under the number of steps done, in a file that a kill leaves whole.

    ``evaluate`` and ``on_step`` are for ``gans.train.train``, which calls the first before it
    tells the second how many steps are done. That of step ``halfway`` is kept in "middle".
    """

    def __init__(
        self,
        path: Path,
        judge: Callable[[nn.Module], dict[str, float]],
        on_step: OnStep | None = None,
        halfway: int | None = None,
    ) -> None:
        self.path, self.judge, self.then, self.halfway = path, judge, on_step, halfway
        self.history: dict[int, dict[str, float]] = {}
        if path.is_file():
            self.history = {int(k): v for k, v in json.loads(path.read_text()).items()}
        self._new: list[dict[str, float]] = []

    def evaluate(self, generator: nn.Module) -> float:
        """Return the distance to the training images."""
        self._judged = generator
        self._new.append(self.judge(generator))
        return self._new[-1]["train"]

    def on_step(self, done: int, found: dict[str, float]) -> None:
        """Put what is new under its steps."""
        if "evaluation" in found:
            self.history[done] = self._new.pop()
            if done == self.halfway:
                save(self._judged, self.path.parent / "middle")
        if self._new:  # before the first step
            self.history[0] = self._new.pop()
        if "evaluation" in found or done == 1:
            _write(self.path, self.history)
        if self.then:
            self.then(done, found)


@dataclass(frozen=True)
class Finetuned:
    """A finetuning in the cache: its three generators and what was measured at which step.

    ``history`` maps steps to "train" and "held_out" (Frechet distances) and what was counted.
    """

    folder: Path
    history: dict[int, dict[str, float]]

    @property
    def best(self) -> int:
        """The step with the lowest distance to the training images, as the papers choose it."""
        return min(self.history, key=lambda step: (self.history[step]["train"], step))

    @property
    def last(self) -> int:
        """The last step."""
        return max(self.history)

    @property
    def middle(self) -> int:
        """The judged step that is nearest to half of all steps."""
        return _nearest_to_half(self.last, set(self.history) - {0})

    def generator(self, which: str = "best") -> nn.Module:
        """Return the "best", "middle" or "last" generator, averaged weights, in eval mode."""
        return load(self.folder / which)

    def reached(self, level: float) -> int | None:
        """Return the first step with a distance to the training images of at most ``level``."""
        steps = [step for step, found in self.history.items() if found["train"] <= level]
        return min(steps, default=None)


def finetuned(
    images: ImageSet,
    recipe: Training,
    network: Mapping[str, Any],
    judge: Judge,
    *,
    first: Path | None,
    evaluate_every: int,
    seed: int,
    skip: tuple[str, ...] = (),
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> Finetuned:
    """Return a GAN trained on ``images`` from the weights in ``first``: cached, or trained now.

    Arguments as in ``pretrained`` and ``started``; ``judge`` is asked before the first step, every
    ``evaluate_every`` steps and after the last.
    """
    key = {
        "network": dict(network),
        "recipe": dataclasses.asdict(recipe),
        "data": images.fingerprint(),
        "first": first.name if first else None,
        "skip": list(skip),
        "judge": judge.key(),
        "every": evaluate_every,
        "seed": seed,
    }

    def build(folder: Path) -> None:
        pair = started(network, first, seed=seed, skip=skip)
        judged = range(evaluate_every, recipe.steps, evaluate_every) if evaluate_every else ()
        halfway = _nearest_to_half(recipe.steps, {*judged, recipe.steps})
        log = Log(folder / "history.json", judge.start(device), on_step, halfway)
        made = train(
            *pair, images, recipe,
            seed=seed, device=device, folder=folder / "checkpoints",
            on_step=log.on_step, evaluate=log.evaluate, evaluate_every=evaluate_every,
        )  # fmt: skip
        save(made.best, folder / "best")
        save(made.generator, folder / "last", made.discriminator)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    folder = cached("finetuned_gans", key, build, device)
    history = json.loads((folder / "history.json").read_text())
    return Finetuned(folder, {int(step): found for step, found in history.items()})


def _nearest_to_half(last: int, steps: set[int]) -> int:
    return min(steps, key=lambda step: (abs(2 * step - last), step))


def _write(path: Path, value: Any) -> None:
    with atomic_write(path) as stream:
        json.dump(value, stream)
