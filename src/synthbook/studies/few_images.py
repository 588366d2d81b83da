"""GANs on few images: pretrained on others, finetuned from those weights and judged; cached."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.gans import networks
from synthbook.gans.baselines import bsa, glann
from synthbook.gans.batches import ImageStream
from synthbook.gans.extra import Extra, evaluating
from synthbook.gans.perceptual import Perceptual, network_maps
from synthbook.gans.recipes import Training
from synthbook.gans.sampling import sample
from synthbook.gans.train import Evaluate, train
from synthbook.gans.transfer import transfer
from synthbook.measure.features import Extractor
from synthbook.measure.fidelity import gaussian, gaussian_distance
from synthbook.randomness import derive
from synthbook.store import atomic_write, cached
from synthbook.training import OnStep, normalise

KEPT = ("embeddings", "adam")  # of a pretraining, besides the other weights
STATES, CURVE = "optimizers.pt", "curve.json"
SEEN = 8  # generated images that are kept of each judged step
LABELS = "labels-{}.npy"  # of the images judged at a step, where an extra gives labels
SCORED = 256  # images that a discriminator scores at a time
WITHOUT = {"GLANN": glann.load, "BSA": bsa.load}  # without an adversary, and how they are read
Counter = Callable[[np.ndarray], Mapping[str, float]]  # images -> numbers by name


def pretrained(
    source: ImageSet | ImageStream, recipe: Training, network: Mapping[str, Any], *,
    seed: int, device: str = "cpu", on_step: OnStep | None = None,
    evaluate: Evaluate | None = None, evaluate_every: int = 0,
) -> Path:  # fmt: skip
    """Return the folder of a pair of networks trained on ``source``: cached, or trained now.

    It holds the generator with averaged weights and with its own, the last discriminator, the
    states of both optimizers, and what was evaluated at which step (``curve.json``), which chooses
    nothing. ``network`` is the architecture's name under "name", and its settings. A training that
    was stopped goes on.
    """
    key = {
        "network": dict(network), "recipe": dataclasses.asdict(recipe), "seed": seed,
        "source": source.fingerprint(),
        "drawn by": source.images if isinstance(source, ImageStream) else None,
        "evaluate": evaluate, "every": evaluate_every,
    }  # fmt: skip

    def build(folder: Path) -> None:
        trained = train(
            **vars(started(network, None, seed=seed)), images=source, recipe=recipe,
            seed=seed, device=device, folder=folder / "checkpoints", on_step=on_step,
            evaluate=evaluate, evaluate_every=evaluate_every,
        )  # fmt: skip
        networks.save(trained.generator, folder, trained.discriminator, trained.unaveraged)
        with atomic_write(folder / CURVE) as stream:
            json.dump(dict(trained.curve), stream)
        torch.save(trained.optimizers, folder / STATES)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    return cached("pretrained_gans", key, build, device)


def adopted(pair: Path, device: str = "cpu") -> Path:
    """Return a folder of the cache, named by its content, with a pair of networks from elsewhere.

    ``pair`` is what ``gans.networks.save`` wrote. Without the generator's own weights a training
    goes on from the averaged ones.
    """
    networks.check_pair(pair)
    files = sorted([pair / "config.json", *pair.glob("*.safetensors")])
    key = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def build(folder: Path) -> None:
        for path in files:
            shutil.copyfile(path, folder / path.name)

    return cached("pretrained_gans", key, build, device)


@dataclass(frozen=True)
class Start:
    """What a training starts from, under the names that ``gans.train.train`` gives them."""

    generator: nn.Module
    discriminator: nn.Module
    average: nn.Module | None = None
    optimizers: Mapping[str, Any] | None = None


def started(
    network: Mapping[str, Any], first: Path | None, *, seed: int, keeps: Sequence[str] = KEPT[:1]
) -> Start:
    """Return new networks with the weights of the pair in the folder ``first``; None: random ones.

    As in the public code generator, discriminator and averaged generator start each from its own
    weights. ``keeps`` says what else of `KEPT` is kept: the "embeddings" of classes, which are
    random without, and the "adam" states of the optimizers.
    """
    pair = [networks.create_generator(seed=seed, **network) for _ in range(2)]
    pair.append(networks.create_discriminator(seed=seed, **network))
    if first is None:
        return Start(pair[0], pair[2])
    load = (networks.load_unaveraged, networks.load, networks.load_discriminator)
    for ours, theirs in zip(pair, load, strict=True):
        modules = ours.named_modules() if "embeddings" not in keeps else ()
        classes = [name for name, module in modules if isinstance(module, nn.Embedding)]
        transfer(ours, theirs(first), skip=classes)
    states = (
        torch.load(first / STATES, weights_only=True, map_location="cpu")
        if "adam" in keeps
        else None
    )
    return Start(pair[0], pair[2], pair[1], states)


def judged_images(
    generator: nn.Module, count: int, *, seed: int, device: str = "cpu"
) -> np.ndarray:
    """Return the generated images that are judged, classes in turn, uint8 [count, H, W, C]."""
    classes = generator.config.num_classes
    labels = [k % classes if classes else None for k in range(count)]
    return sample(generator, labels, seed=derive(seed, "judged"), device=device)


def judge(
    extractor: Extractor, sets: Mapping[str, ImageSet | None], generated: int, *,
    seed: int, count: Counter | None = None, device: str = "cpu",
) -> Callable[[nn.Module], dict[str, float]]:  # fmt: skip
    """Return the function from a generator to the Frechet distance of its images to each set.

    A distance is from ``generated`` images to all images of the set, in the features of
    ``extractor``. ``count`` counts something in the generated images beside it.
    """
    known = {k: gaussian(extractor.cached(some.images)) for k, some in sets.items() if some}

    def judged(generator: nn.Module) -> dict[str, float]:
        images = judged_images(generator, generated, seed=seed, device=device)
        made = gaussian(extractor(images))
        distances = {name: gaussian_distance(real, made) for name, real in known.items()}
        return {**distances, **(count(images) if count else {})}

    return judged


@dataclass(frozen=True)
class Finetuned:
    """A finetuning in the cache: its three generators and what was measured at which step.

    ``history`` maps steps to "train" and "held_out" (Frechet distances) and what was counted.
    """

    folder: Path
    history: dict[int, dict[str, float]]

    def chosen(self, against: str = "train") -> int:
        """Return the step with the lowest distance to a set, as the papers choose the best."""
        return min(self.history, key=lambda step: (self.history[step][against], step))

    @property
    def best(self) -> int:
        """The step with the lowest distance to the training images."""
        return self.chosen()

    @property
    def lowest(self) -> float:
        """The distance of the best step to the training images."""
        return self.history[self.best]["train"]

    @property
    def last(self) -> int:
        """The last step."""
        return max(self.history)

    @property
    def middle(self) -> int:
        """The judged step that is nearest to half of all steps."""
        return _nearest_to_half(self.last, self.history.keys() - {0})

    def images(self, step: int) -> np.ndarray:
        """Return some generated images of a judged step, uint8 [SEEN, H, W, C]."""
        return np.load(self.folder / f"step-{step}.npy")

    def generator(self, which: str = "best") -> nn.Module:
        """Return the "best", "middle" or "last" generator, averaged weights, in eval mode."""
        return networks.load(self.folder / which)


def finetuned(
    images: ImageSet, held_out: ImageSet | None, recipe: Training, network: Mapping[str, Any], *,
    first: Path | None, extractor: Extractor, generated: int, evaluate_every: int, seed: int,
    keeps: Sequence[str] = KEPT[:1], count: Counter | None = None, device: str = "cpu",
    on_step: OnStep | None = None,
) -> Finetuned:  # fmt: skip
    """Return a GAN trained on ``images`` from the weights in ``first``: cached, or trained now.

    It is judged before the first step, every ``evaluate_every`` steps and after the last, against
    the images trained on, which choose the best, and against ``held_out``, which choose nothing.
    Other arguments as in ``pretrained``, ``started`` and ``judge``.
    """
    sets = {"train": images, "held_out": held_out}
    key = {
        "network": dict(network), "recipe": dataclasses.asdict(recipe), "seed": seed,
        "sets": {name: some.fingerprint() for name, some in sets.items() if some},
        "first": first.name if first else None, "keeps": sorted(keeps),
        "extractor": [extractor.name, extractor.fingerprint],
        "generated": generated, "count": count, "every": evaluate_every,
    }  # fmt: skip

    def build(folder: Path) -> None:
        judged = judge(extractor, sets, generated, seed=seed, count=count, device=device)
        between = range(evaluate_every, recipe.steps, evaluate_every) if evaluate_every else ()
        halfway = _nearest_to_half(recipe.steps, {*between, recipe.steps})

        def evaluate(generator: nn.Module, step: int) -> dict[str, float]:
            if step == halfway:
                networks.save(generator, folder / "middle")
            some = judged_images(generator, SEEN, seed=seed, device=device)
            np.save(folder / f"step-{step}.npy", some)
            return judged(generator)

        trained = train(
            **vars(started(network, first, seed=seed, keeps=keeps)), images=images, recipe=recipe,
            seed=seed, device=device, folder=folder / "checkpoints", on_step=on_step,
            evaluate=evaluate, evaluate_every=evaluate_every,
        )  # fmt: skip
        networks.save(trained.best, folder / "best")
        networks.save(trained.generator, folder / "last", trained.discriminator)
        with atomic_write(folder / "history.json") as stream:
            json.dump(dict(trained.curve), stream)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    folder = cached("finetuned_gans", key, build, device)
    history = json.loads((folder / "history.json").read_text())
    return Finetuned(folder, {int(step): numbers for step, numbers in history.items()})


@dataclass(frozen=True, eq=False)
class Asked:
    """What a GAN on few images is conditioned on (`conditioned`).

    ``of_images`` float [images, d] are a vector a training image, for networks with
    ``condition_size``; None for those that take the images' labels, or nothing. ``judged`` are the
    conditions of the images that are judged, one each, as `sampling.sample` takes them. A number
    asks for so many labels, those that an ``extra`` gives the training images at that time, in
    turn.
    """

    of_images: Tensor | None
    judged: Sequence[int | None] | Tensor | int

    def digests(self) -> list[str]:
        """Return what tells two of them apart."""
        return [digest_of(self.of_images), digest_of(self.judged)]

    def now(self, extra: Extra | None) -> Sequence[int | None] | Tensor:
        """Return the conditions of the judged images at this point of a training."""
        if not isinstance(self.judged, int):
            return self.judged
        labels = extra.labels.tolist()
        return [labels[k % len(labels)] for k in range(self.judged)]


def asked_images(
    generator: nn.Module, judged: Sequence[int | None] | Tensor, *, seed: int, device: str = "cpu"
) -> np.ndarray:
    """Return the images that are judged, of conditions as `Asked` has, uint8 [count, H, W, C]."""
    return sample(generator, judged, seed=derive(seed, "judged"), device=device)


@torch.no_grad()
def scores(discriminator: nn.Module, images: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the mean unconditional score D_l(D_f(x)) of each set of images, "score_" + its name.

    The images are uint8 [N, H, W, C], as they are, and nothing in the discriminator moves. This is
    what Figure 2 of the paper has, over the steps.
    """
    found, device = {}, next(discriminator.parameters()).device
    with evaluating(discriminator):
        for name, some in images.items():
            batches = torch.from_numpy(some).permute(0, 3, 1, 2).split(SCORED)
            each = [discriminator.features(normalise(batch.to(device))) for batch in batches]
            found[f"score_{name}"] = discriminator.psi(torch.cat(each)).mean().item()
    return found


def conditioned(
    images: ImageSet, held_out: ImageSet | None, recipe: Training, network: Mapping[str, Any],
    asked: Asked, *,
    first: Path | None, extractor: Extractor, evaluate_every: int, seed: int,
    choosing: str = "train", keeps: Sequence[str] = (), scored: int = 0,
    extra: Callable[[nn.Module], Extra] | None = None, device: str = "cpu",
    on_step: OnStep | None = None,
) -> Finetuned:  # fmt: skip
    """Return a GAN trained on ``images`` and their conditions: cached, or trained now.

    As ``finetuned``, but that the judged images have the conditions of ``asked``, that the distance
    to the set ``choosing``, "train" or "held_out", chooses the best, and that no embeddings of
    another GAN's classes are kept. (``finetuned`` stays as it is: its code is in its keys.)

    ``extra`` makes what a method adds to the training from the discriminator, such as
    ``partial(SSGAN, seed=seed)``. With ``scored`` the history also has the discriminator's `scores`
    of so many images trained on, held out and generated at most.
    """
    sets = {"train": images, "held_out": held_out}
    sets = {name: sets[name] for name in sorted(sets, key=lambda name: name != choosing)}
    if not sets[choosing]:
        raise InputError(f"'{images.name}' has no {choosing} images to choose the best by")
    key = {
        "network": dict(network), "recipe": dataclasses.asdict(recipe), "seed": seed,
        "sets": {name: some.fingerprint() for name, some in sets.items() if some},
        "first": first.name if first else None, "keeps": sorted(keeps), "choosing": choosing,
        "extractor": [extractor.name, extractor.fingerprint],
        "asked": asked.digests(), "every": evaluate_every, "scored": scored, "extra": extra,
    }  # fmt: skip

    def build(folder: Path) -> None:
        known = {k: gaussian(extractor.cached(some.images)) for k, some in sets.items() if some}
        between = range(evaluate_every, recipe.steps, evaluate_every) if evaluate_every else ()
        halfway = _nearest_to_half(recipe.steps, {*between, recipe.steps})
        start = started(network, first, seed=seed, keeps=keeps)
        added = extra(start.discriminator) if extra else None

        def evaluate(generator: nn.Module, step: int) -> dict[str, float]:
            if step == halfway:
                networks.save(generator, folder / "middle")
            judged = asked.now(added)
            if isinstance(asked.judged, int):
                np.save(folder / LABELS.format(step), np.array(judged))
            made = asked_images(generator, judged, seed=seed, device=device)
            np.save(folder / f"step-{step}.npy", made[:SEEN])
            of_made = gaussian(extractor(made))
            found = {name: gaussian_distance(real, of_made) for name, real in known.items()}
            if scored:
                every = {name: some.images for name, some in sets.items() if some}
                every["generated"] = made
                some = {name: images[:scored] for name, images in every.items()}
                found |= scores(start.discriminator, some)
            return found

        trained = train(
            **vars(start), images=images, recipe=recipe, seed=seed, conditions=asked.of_images,
            extra=added, device=device, folder=folder / "checkpoints", on_step=on_step,
            evaluate=evaluate, evaluate_every=evaluate_every,
        )  # fmt: skip
        networks.save(trained.best, folder / "best")
        networks.save(trained.generator, folder / "last", trained.discriminator)
        with atomic_write(folder / "history.json") as stream:
            json.dump(dict(trained.curve), stream)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    folder = cached("conditioned_gans", key, build, device)
    history = json.loads((folder / "history.json").read_text())
    return Finetuned(folder, {int(step): numbers for step, numbers in history.items()})


@dataclass(frozen=True)
class Fitted(Finetuned):
    """A generator that was fitted without an adversary; its only snapshot is the last."""

    method: str = "GLANN"

    def generator(self, which: str = "best") -> nn.Module:
        """Return it; it takes noise alone."""
        return WITHOUT[self.method](self.folder / "best")


def fitted(
    method: str, images: ImageSet, held_out: ImageSet | None, recipe: Any,
    vectors: Tensor | None, *, first: Path,
    perceptual: str, extractor: Extractor, generated: int, seed: int, device: str,
) -> Fitted:  # fmt: skip
    """Return GLANN, with the prior's ``vectors`` or free codes, or BSA: cached, or fitted now.

    The network "vgg16" sees images at their own size, and its maps weigh as much as pixels (public
    code of GLANN, which above 64 pixels compares images of a quarter of the size besides).
    """
    sets = {"train": images, "held_out": held_out}
    key = {
        "method": method, "recipe": dataclasses.asdict(recipe), "seed": seed, "first": first.name,
        "sets": {name: some.fingerprint() for name, some in sets.items() if some},
        "vectors": digest_of(vectors), "perceptual": perceptual,
        "extractor": [extractor.name, extractor.fingerprint], "generated": generated,
    }  # fmt: skip

    def build(folder: Path) -> None:
        of_vgg = {"size": max(16, images.image_size), "weight": 1.0}  # it halves them four times
        own = of_vgg if perceptual == "vgg16" else {}
        seen, start = Perceptual(network_maps(perceptual), **own), networks.load(first)
        how = {"seed": seed, "device": device}
        if method == "BSA":
            model = bsa.train_bsa(start, images, seen, recipe, **how)
        else:
            model = glann.train_glann(start, images, seen, recipe, features=vectors, **how).model
        model.save(folder / "best")
        made = gaussian(extractor(judged_images(model, generated, **how)))
        distances = {
            name: gaussian_distance(gaussian(extractor.cached(some.images)), made)
            for name, some in sets.items()
            if some
        }
        with atomic_write(folder / "history.json") as stream:
            json.dump(distances, stream)

    folder = cached("fitted_generators", key, build, device)
    steps = recipe.epochs if method == "GLANN" else recipe.steps
    return Fitted(folder, {steps: json.loads((folder / "history.json").read_text())}, method)


def digest_of(given: Sequence[int | None] | Tensor | int | None) -> str:
    """Return a hash of conditions."""
    if isinstance(given, int):
        return f"{given} labels"
    if isinstance(given, Tensor):
        numbers = given.detach().cpu().contiguous().numpy()
        return hashlib.sha256(repr(numbers.shape).encode() + numbers.tobytes()).hexdigest()[:16]
    return hashlib.sha256(repr(None if given is None else [*given]).encode()).hexdigest()[:16]


def _nearest_to_half(last: int, steps: set[int]) -> int:
    return min(steps, key=lambda step: (abs(2 * step - last), step))
