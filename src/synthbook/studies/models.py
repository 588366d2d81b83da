"""Generators that are trained for long and kept: those of the book, and of a reader's photographs.

A training ends by a rule, written down before any was run: now and then a linear classifier on
EfficientNet's features is trained on a thousand samples and tested on real validation images; after
four measurements without a new best accuracy, or when the budget is spent, the training ends, and
the weights of the best are kept. A small network trained on the samples from scratch, and the
Frechet distance, stand beside it and decide nothing. (Accuracy of the small network jumps by 1.5
points between two trainings; the linear one repeats.) As the projected GAN's discriminator sees the
same features, the rule compares a family with itself only. Test images choose nothing. Both
families have the same budget. A training that was stopped goes on.
"""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from synthbook import machine
from synthbook.data import ImageSet, Splits, few_shot, load
from synthbook.data.bundled import kinds_of
from synthbook.errors import InputError, check_choice
from synthbook.gans import sampling as gan_sampling
from synthbook.generate import banks, diffusion, models
from synthbook.generate.cards import places, trained_here
from synthbook.generate.models import Generator, described
from synthbook.generate.recipes import ON_A_GPU, RECIPE_OF
from synthbook.locks import alone
from synthbook.machine import say
from synthbook.measure.features import extractor
from synthbook.measure.fidelity import gaussian, gaussian_distance
from synthbook.randomness import derive, numpy_generator
from synthbook.recognize.models import create_classifier
from synthbook.recognize.predict import accuracy, predict
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import fit
from synthbook.studies.image_sources import SCALES
from synthbook.training import Budget, Watch, mixed

JUDGED = 1000  # samples that a measurement takes
PROBE_C = 0.01  # inverse weight of the linear classifier's penalty, on standardised features
JUDGE = Recipe(epochs=20, batch_size=64, learning_rate=5e-3, schedule="cosine", flip=True)
STEPS = (6, 8, 12, 16, 24)  # of denoising, of which the fewest are taken that do as well
AS_WELL = 1.02  # at most so many times the lowest Frechet distance
WHILE_TRAINING = 8  # denoising steps of a measurement while training


@dataclass(frozen=True)
class Learned:
    """What a generator is trained on, and the classes that its users ask for.

    ``own`` are the images under the labels that the generator is told, ``asked`` the same images
    under the labels that its users know, and ``kinds`` the label there of each class of ``own``.
    """

    own: ImageSet
    asked: ImageSet
    validation: ImageSet
    kinds: np.ndarray

    @classmethod
    def of(cls, name: str, real: Splits) -> Learned:
        """Return what generators learn of a data set: of ``caltech10`` its fine classes."""
        if name == "caltech10":
            fine = load("caltech10_fine").train
            own = ImageSet(fine.images, fine.labels, fine.classes, fine.name)
            return cls(own, real.train, real.val, kinds_of(fine.classes))
        train = real.train
        return cls(train, train, real.val, np.arange(train.num_classes))

    def few(self, shots: int, seed: int) -> Learned:
        """Return the same of few images a class, drawn by ``seed``, without finer classes."""
        some = few_shot(self.asked, shots, seed=seed)
        return Learned(some, some, self.validation, np.arange(some.num_classes))


def train(
    family: str, learned: Learned, *, name: str, seed: int, budget: Budget, recipe: str = "book",
    device: str = "cpu", samples: Mapping[float, int] | None = None,
) -> Generator:  # fmt: skip
    """Return the model ``name`` of a family: the one that is kept, or one that is trained now.

    ``samples`` are how many images of its bank come with it, by guidance scale. A process that
    wants a model which another one is training waits for that one, and takes it.
    """
    check_choice("family", family, RECIPE_OF)

    def kept() -> Generator | None:
        wanted = learned.asked.fingerprint(), learned.asked.classes
        return models.find(family, *wanted, seed=seed)

    if (found := kept()) is not None:
        return found
    with alone(places()[1] / f".{name}-{seed}.lock", f"training {name}, seed {seed}"):
        if (found := kept()) is not None:
            return found
        how = {"name": name, "seed": seed, "budget": budget, "recipe": recipe, "device": device}
        return _trained(family, learned, samples=samples or {1.0: JUDGED}, **how)


def check_taken(family: str, learned: Learned, *, seed: int, minutes: float, recipe: str) -> None:
    """Raise InputError if the model that `train` would find had fewer minutes, or another recipe.

    Models are found by their images alone. A recipe is the same on a CPU and on a GPU.
    """
    asked = learned.asked
    if (found := models.find(family, asked.fingerprint(), asked.classes, seed=seed)) is None:
        return
    had = found.card.get("budget", {}).get("minutes", 0.0)
    same = any(
        json.loads(json.dumps(described(_settings(family, recipe, learned.own.image_size, device))))
        == found.card["recipe"]
        for device in ("cpu", "cuda")
    )
    if same and had >= minutes:
        return
    remedy = f"delete {found.folder}, set SYNTHBOOK_MODELS to another folder, or "
    if found.folder.parent == places()[0]:
        remedy = "it comes with the book; "
    raise InputError(
        f"minutes = {minutes:g}, recipe = {recipe}: {found.card['name']} learned these images "
        f"before, in {had:g} minutes at most{'' if same else ' and by another recipe'}; {remedy}"
        "give minutes=0 to take it"
    )


def _settings(family: str, recipe: str, image_size: int, device: str) -> Any:
    """Return the recipe of a family by its name, as it is on a device."""
    settings = RECIPE_OF[family](recipe, image_size)
    if recipe == "book" and torch.device(device).type == "cuda":
        return replace(settings, **ON_A_GPU[family])
    return settings


def _trained(
    family: str, learned: Learned, *, name: str, seed: int, budget: Budget, recipe: str,
    device: str, samples: Mapping[float, int],
) -> Generator:  # fmt: skip
    """Train the model ``name`` of a family, and keep it; see `train`."""
    place = places()[1]
    fingerprints = [learned.own.fingerprint(), learned.asked.fingerprint()]
    settings = _settings(family, recipe, learned.own.image_size, device)
    measure = measuring(family, learned, settings, seed=seed, device=device)
    watch = Watch(budget, measure, device)
    shares = learned.own.counts() / len(learned.own)
    checkpoints = place / f".{name}-{seed}.training"
    told = _telling(f"{name}, seed {seed}", watch)
    begin = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with _fastest_convolutions():
        network = models.FAMILIES[family].train(
            learned.own, settings, seed=seed, device=device, on_step=told, watch=watch,
            folder=checkpoints,
        )  # fmt: skip
    if family == "gan":
        network = watch.best
    best = watch.curve[watch.best_point()]
    kinds = None
    if learned.own.classes != learned.asked.classes:
        kinds = {"classes": learned.asked.classes, "of": learned.kinds.tolist()}
    card = {
        "family": family, "seed": seed,
        "data": {
            "name": learned.own.name, "images": len(learned.own), "fingerprints": fingerprints,
            "image_size": learned.own.image_size, "channels": learned.own.channels,
        },
        "classes": learned.own.classes, "shares": shares.tolist(), "kinds": kinds,
        "recipe": described(settings), "budget": asdict(budget),
        "training": {
            "begun": begin, "steps": best["steps"], "best_minutes": best["minutes"],
            "images": best["steps"] * settings.batch_size,
            "precision": machine.fast_precision(device),
            **trained_here(watch.curve[-1]["minutes"], device),
        },
        "curve": watch.curve, "sampling": {},
    }  # fmt: skip
    if family == "diffusion":
        tried = _fewest_steps(network, learned, device, f"{name}, seed {seed}")
        card["sampling"], card["steps_tried"] = tried

    def extras(model: Generator) -> dict[str, Any]:
        model = Generator(model.folder, model.card, learned.asked.classes, device)
        return finish(model, learned, seed, samples)

    made = models.write(place / f"{name}-{seed}", network, card, extras)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return models.opened(made.folder, learned.asked.classes, device=device)


@contextmanager
def _fastest_convolutions() -> Iterator[None]:
    """Let a GPU try its convolutions and take the fastest: all steps are of equal shapes."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def measuring(
    family: str, learned: Learned, settings: Any, *, seed: int, device: str
) -> Callable[[nn.Module], dict[str, float]]:
    """Return the measurement of a generator while it is trained: see `teaches`.

    Its samples are of the classes as often as in training, always the same ones.
    """
    shares = learned.own.counts() / len(learned.own)
    labels = numpy_generator(seed, "judged labels").choice(len(shares), JUDGED, p=shares)
    how = {"seed": derive(seed, "judged"), "device": device}

    def measure(network: nn.Module) -> dict[str, float]:
        if family == "diffusion":
            pipeline = diffusion.as_pipeline(copy.deepcopy(network), settings)
            images = _diffused(pipeline, labels.tolist(), WHILE_TRAINING, how)
        else:
            images = gan_sampling.sample(network, labels.tolist(), **how)
        return teaches(images, learned.kinds[labels], learned, seed=seed, device=device)

    return measure


def _diffused(pipeline: Any, labels: list[int], steps: int, how: Mapping[str, Any]) -> np.ndarray:
    with mixed("auto", how["device"]):
        settings = {"guidance_scale": 1.0, "num_inference_steps": steps}
        return diffusion.sample(pipeline, labels, **settings, **how)


def teaches(
    images: np.ndarray, labels: np.ndarray, learned: Learned, *, seed: int, device: str = "cpu"
) -> dict[str, float]:
    """Return "probe", "accuracy", both in percent, and "fd": what samples teach.

    They are rated on validation images. The probe is a linear classifier on EfficientNet's
    features of the samples, the accuracy that of a small network trained on them, "fd" the Frechet
    distance of the samples to the validation images in EfficientNet's features.
    """
    samples = ImageSet(images, labels, learned.asked.classes, "samples")
    chosen = derive(seed, "judge")
    judge = create_classifier(
        "small_cnn", num_classes=samples.num_classes, channels=samples.channels, seed=chosen,
        image_size=samples.image_size,
    )  # fmt: skip
    how = {"seed": chosen, "device": device, "precision": machine.fast_precision(device)}
    fit(judge, samples, JUDGE, **how)
    look, real = extractor(device=device), learned.validation
    seen, seen_real = look(images), look.cached(real.images)
    return {
        "probe": round(100 * linear_accuracy(seen, labels, seen_real, real.labels), 2),
        "accuracy": round(accuracy(judge, real, device=device), 2),
        "fd": round(float(gaussian_distance(gaussian(seen_real), gaussian(seen))), 2),
    }


def linear_accuracy(
    features: np.ndarray, labels: np.ndarray, others: np.ndarray, other_labels: np.ndarray
) -> float:
    """Return the accuracy, 0..1, on other features [M, D] of a logistic regression on [N, D]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=PROBE_C, max_iter=300))
    return float(probe.fit(features, labels).score(others, other_labels))


def _fewest_steps(
    pipeline: Any, learned: Learned, device: str, task: str
) -> tuple[dict[str, int], dict[str, float]]:
    """Return the number of denoising steps, and the Frechet distances of all that were tried.

    It is the smallest whose distance to the validation images is at most `AS_WELL` times the
    lowest.
    """
    shares = learned.own.counts() / len(learned.own)
    labels = numpy_generator(0, "steps").choice(len(shares), JUDGED, p=shares).tolist()
    look, tried = extractor(device=device), {}
    real = gaussian(look.cached(learned.validation.images))
    for steps in STEPS:
        images = _diffused(pipeline, labels, steps, {"seed": 0, "device": device})
        tried[steps] = round(float(gaussian_distance(real, gaussian(look(images)))), 2)
        say(f"{task}: {JUDGED:,} images of {steps} denoising steps, FD {tried[steps]:.0f}")
    enough = next(steps for steps in STEPS if tried[steps] <= AS_WELL * min(tried.values()))
    return {"num_inference_steps": enough}, {str(steps): fd for steps, fd in tried.items()}


def finish(
    model: Generator, learned: Learned, seed: int, samples: Mapping[float, int]
) -> dict[str, Any]:
    """Draw the bank of a trained model beside it; return its measures for the card."""
    for scale, count in samples.items():
        for k in range(-(-count // banks.STRIP)):
            banks.write_strip(model, scale, k, model.folder / "samples")
            say(f"{model.card['name']}: {(k + 1) * banks.STRIP:,} images, guidance {scale:g}")
    labels = banks.labels_of(model, 0)
    measures: dict[str, Any] = {}
    judge = create_classifier(
        "small_cnn", num_classes=learned.asked.num_classes, channels=learned.asked.channels,
        seed=derive(seed, "of real images"), image_size=learned.asked.image_size,
    )  # fmt: skip
    fit(judge, learned.asked, JUDGE, seed=derive(seed, "of real images"), device=model.device)
    for scale in samples:
        images = banks.strip(model, scale, 0)
        seen = predict(judge, images, device=model.device).argmax(1).numpy()
        names = learned.asked.classes
        measures[f"g{scale:g}"] = {
            **teaches(images, labels, learned, seed=seed, device=model.device),
            "class_agreement": {
                name: round(100 * float((seen[labels == k] == k).mean()), 1)
                for k, name in enumerate(names)
                if (labels == k).any()
            },
        }
    real = accuracy(judge, learned.validation, device=model.device)
    return {"measures": measures, "real_classifier": round(real, 2)}


def _telling(task: str, watch: Watch) -> Callable[[int, Mapping[str, float]], None]:
    """Return a callback of a training that says, now and then, what is done and what is left."""
    told = [time.monotonic() - 25.0, 0]

    def tell(step: int, losses: Mapping[str, float]) -> None:
        now, points = time.monotonic(), len(watch.curve)
        if now - told[0] < 60 and points == told[1]:
            return
        told[:] = now, points
        spent, last = watch.seconds / 60, watch.curve[-1] if points else None
        measured = f"; probe {last['probe']:.1f} %, FD {last['fd']:.0f}" if last else ""
        left = max(0.0, watch.budget.minutes - spent)
        numbers = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
        left_over = f"at most {left:.{int(left < 10)}f} left, and measuring"
        say(f"{task}: step {step:,}, {spent:.1f} min, {left_over}; {numbers}{measured}")

    return tell


# -- Those of the book ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A model of the book: its family, and its few images a class (0: all)."""

    family: str
    shots: int = 0

    def minutes(self, device: str) -> float:
        """Return its budget, the same for both families: of a processor core, or of a GPU."""
        on_a_gpu = torch.device(device).type == "cuda"
        if self.shots:
            return 3.5 if on_a_gpu else 5.0
        return 7.0 if on_a_gpu else 30.0

    def samples(self) -> dict[float, int]:
        """Return how many images of its bank come with it, by guidance scale.

        A clone of the photographs, with labels that a classifier is sure of, takes most of them:
        on some processors eight thousand do, and on others nearly eleven.
        """
        if self.shots:
            return {1.0: 2000}
        guided = dict.fromkeys(SCALES[1:], 1000) if self.family == "diffusion" else {}
        return {1.0: 11_000, **guided}


BOOK = {
    "caltech10-diffusion": Made("diffusion"),
    "caltech10-gan": Made("gan"),
    "caltech10-few-diffusion": Made("diffusion", shots=10),
    "caltech10-few-gan": Made("gan", shots=10),
}


def make(name: str, seed: int, *, minutes: float = 0.0, device: str = "cpu") -> Generator:
    """Return model number ``seed`` of the book's ``name``: kept, or trained now."""
    check_choice("model", name, BOOK)
    made, real = BOOK[name], load("caltech10")
    learned = Learned.of("caltech10", real)
    if made.shots:
        learned = learned.few(made.shots, seed)
    minutes = minutes or made.minutes(device)
    budget = Budget(minutes=minutes, measure_every=min(Budget.measure_every, minutes / 5))
    how = {"name": name, "seed": seed, "budget": budget, "device": device}
    return train(made.family, learned, samples=made.samples(), **how)
