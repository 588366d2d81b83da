"""What goes into an audit: real images with splits, a pool of generated ones, and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook import data
from synthbook.data import ImageSet, Splits, files
from synthbook.data.loading import same_classes
from synthbook.data.named import REGISTRY
from synthbook.data.npz import headers
from synthbook.data.unlabelled import count_unlabelled, is_unlabelled, read_unlabelled
from synthbook.errors import InputError, check_choice, did_you_mean
from synthbook.generate.cards import FAMILIES
from synthbook.randomness import derive, numpy_generator
from synthbook.recognize.methods import GUIDE, METHODS
from synthbook.recognize.recipe import Recipe
from synthbook.studies import fit, needs

if TYPE_CHECKING:
    from synthbook.studies.training_sets import Network

LEAST = 20  # generated images; with fewer no measure says anything
RECIPE = Recipe(epochs=20, batch_size=64, learning_rate=0.002)
KEEP_APART = (
    "If your generator was trained on them too, no accuracy counts: keep a folder 'test' of real"
    " images apart before you train one, and name it with -p test=FOLDER"
)


@dataclass(frozen=True)
class AuditSettings:
    """How an audit reads, measures and trains; the defaults are the chapter's.

    `settings_of` makes them from the names of the chapter's parameters.
    """

    test: str = ""  # real images to test on: a folder or .npz; "": those of the real images
    image_size: int = 0  # side in pixels; 0 keeps the size of the real images
    recipe: Recipe = RECIPE  # of every classifier's training
    backbone: str = "small_cnn"  # of every classifier
    pretrained: bool = False  # it starts from ImageNet weights
    precision: str = "float32"  # or bfloat16
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # each draws its own images and initial weights
    extractor: str = "efficientnet_lite0"  # features to measure in
    neighbours: int = 5  # k of precision, recall, density and coverage
    most_images: int = 400  # of each set, for the measures
    train_images: int = 160  # real images to train classifiers on, at most; 0 takes all
    confidence: float = 0.8  # an image without a label gets one if a classifier is surer than this
    remedies: tuple[str, ...] = ("RG",)  # ways to train on both, besides mixing
    guide_backbone: str = "efficientnet_lite0"  # the frozen network of Pretrained Guidance
    guide_input_size: int = 64  # side in pixels that its images are resized to
    lambda_3: float = 10.0  # weight of Pretrained Guidance
    guidance_scale: float = 1.0  # of sampling from a diffusion model
    data_root: str = ""  # where downloaded data sets lie
    skip_unreadable: bool = False  # leave out files that cannot be read
    device: str = "cpu"

    @property
    def network(self) -> Network:
        """Every classifier that is trained."""
        from synthbook.studies.training_sets import Network

        return Network(self.backbone, self.pretrained, self.recipe, self.precision)

    @property
    def reading(self) -> dict[str, Any]:
        """How files are read, as options of `data.load`."""
        return {"data_root": self.data_root, "skip_unreadable": self.skip_unreadable}


def settings_of(p: Mapping[str, Any], **changes: Any) -> AuditSettings:
    """Return the settings that a chapter's parameters, or some of them, spell out.

    ``changes`` are fields of the settings.
    """
    base = AuditSettings()
    if "seeds" in p:
        first = p.get("first_seed", 0)
        changes = {"seeds": tuple(range(first, first + p["seeds"]))} | changes
    recipe = {field.name: p.get(field.name, getattr(base.recipe, field.name))
              for field in fields(Recipe)}  # fmt: skip
    given = {field.name: p[field.name] for field in fields(AuditSettings) if field.name in p}
    return AuditSettings(**given | {"recipe": Recipe(**recipe)} | changes)


def named_settings(given: Mapping[str, Any]) -> AuditSettings:
    """Return `settings_of` parameters that a reader names; InputError for an unknown name."""
    known = {field.name for kind in (AuditSettings, Recipe) for field in fields(kind)}
    for name in given:
        check_choice("parameter", name, sorted(known | {"first_seed"}))
    return settings_of(given)


@dataclass(frozen=True)
class Pool:
    """Generated images: ``everything``, and the part with labels to train with.

    They differ only for images that came without (``note`` says how many got one); in
    ``everything`` these have a classifier's best guess. ``skipped`` names the files that could not
    be decoded (only with ``skip_unreadable``).
    """

    everything: ImageSet
    labelled: ImageSet
    note: str = ""
    skipped: tuple[str, ...] = ()


@contextmanager
def skippable(skip_unreadable: bool) -> Iterator[None]:
    """Say with the error of `files.refuse` how to leave out what cannot be read."""
    try:
        yield
    except InputError as error:
        if skip_unreadable or not str(error).endswith(files.REPLACE):
            raise
        raise InputError(f"{error}, or leave them out: -p skip_unreadable=true") from None


def check_inputs(p: Mapping[str, Any]) -> str:
    """Return in some lines what the parameters data, samples and test are, or raise InputError.

    All but ``data`` and ``samples`` may be missing. No pixels are
    read and torch is not imported.
    """
    with skippable(p.get("skip_unreadable", False)):
        return _checked(p)


def _checked(p: Mapping[str, Any]) -> str:
    real, samples, test = p["data"], p["samples"], p.get("test", "")
    options = {name: p[name] for name in ("data_root", "skip_unreadable") if name in p}
    size = p.get("image_size", 0)
    first = data.check(real, image_size=size, **options)
    if "backbone" in p:
        _check_training(p, first)
    whole = bool(test) and samples not in FAMILIES  # all real images are trained on
    lines = [str(_together(first) if whole else first)]
    paths = {"data": real, "samples": samples} | ({"test": test} if test else {})
    for name, path in paths.items():
        for other, same in paths.items():
            if (
                name < other
                and Path(path).expanduser().resolve() == Path(same).expanduser().resolve()
            ):
                raise InputError(
                    f"{name} and {other} are both '{path}'; name another folder or .npz as {other}"
                )
    path = Path(samples).expanduser()
    if samples in FAMILIES:
        lines.append(f"samples: of {needs.check_kept([samples], [0], p, first)[samples]}")
    elif not path.exists():
        families = " nor ".join(f"'{name}'" for name in FAMILIES)
        hint = did_you_mean(samples, FAMILIES) or "; correct the path"
        raise InputError(
            f"samples '{samples}' is neither {families}, nor a folder or .npz that exists{hint}"
        )
    elif is_unlabelled(path):
        count = count_unlabelled(path, skip_unreadable=p.get("skip_unreadable", False))
        if count < LEAST:
            raise InputError(f"{path} has {count} images; give at least {LEAST} generated ones")
        lines.append(f"{path.name}: {count:,} images without labels; a classifier labels them")
    else:
        second = data.check(samples, image_size=size or None, **options)
        if first.classes and second.classes:
            same_classes(first.classes, second.classes)
        resized = "" if first.size == second.size else "; brought to the size of the real images"
        lines.append(f"{_together(second)}{resized}")
    if test:
        if test not in REGISTRY and not Path(test).expanduser().exists():
            raise InputError(f"test '{test}' is no folder or .npz that exists; correct the path")
        third = data.check(test, image_size=size or None, **options)
        if first.classes and third.classes:
            same_classes(first.classes, third.classes, "test images")
        part = "the training images" if samples in FAMILIES else "all"
        lines.append(f"test images: all of {third.name}; to train on: {part} of {first.name}")
    elif samples not in FAMILIES and is_drawn(real):
        lines.append(f"test images: {first.counts['test']:,} drawn from {first.name}. {KEEP_APART}")
    held = first.counts.get("train", 0)
    if whole:
        held = sum(first.counts.values())
    if 0 < (most := p.get("train_images", 0)) < held:
        lines.append(
            f"classifiers are trained on {most:,} of {held:,} real images: -p train_images=0 takes"
            " all"
        )
    if said := fit.told(p, min(held, most or held)):
        lines.append(said)
    return "\n".join(lines)


def _together(summary: data.Summary) -> data.Summary:
    """Return the summary of images whose parts are put together."""
    return replace(summary, counts={"": sum(summary.counts.values())})


def _check_training(p: Mapping[str, Any], real: data.Summary) -> None:
    """Raise InputError if the classifiers or measures that the parameters name cannot be had."""
    needs.check_classifiers(p, real, p["train_images"])
    needs.check_extractor(p)
    if any(GUIDE in METHODS[name].needs for name in p["remedies"]):
        needs.check_guide(p)
    halves = min(p["most_images"], *(real.counts.get(part, inf) for part in ("train", "test"))) // 2
    if halves <= p["neighbours"]:
        raise InputError(
            f"neighbours = {p['neighbours']} and halves of the smallest set have {halves} images; "
            f"give {halves - 1} at most, or more images"
        )


def is_drawn(real: str) -> bool:
    """Return whether test images are drawn from a folder or .npz that has none of its own."""
    path = Path(real).expanduser()
    if real in {entry["name"] for entry in data.available()} or not path.exists():
        return False
    return "pool" in files.layout(path) if path.is_dir() else "x_test" not in headers(path)


def load_real(real: str, settings: AuditSettings, *, by_book: bool = False) -> Splits:
    """Return the real images, tested on ``settings.test`` where that is set.

    Then all of ``real`` are training images; or, for a generator ``by_book``, those of the training
    split, which it has seen.
    """
    splits = data.load(real, image_size=settings.image_size, **settings.reading)
    if not settings.test:
        return splits
    size, channels = splits.train.image_size, splits.train.channels
    test = data.load(settings.test, image_size=size, channels=channels, **settings.reading)
    same_classes(splits.classes, test.classes, "test images")
    train = splits.train if by_book else _whole(splits)
    skipped = splits.skipped + test.skipped
    return Splits(train, splits.val, _whole(test).of_classes(splits.classes), skipped)


def _whole(splits: Splits) -> ImageSet:
    return data.concatenate(splits.train, splits.val, splits.test, name=splits.name)


def load_generated(
    generated: str, real: Splits, settings: AuditSettings, *, named: str = ""
) -> Pool:
    """Return the generated images at the size, channels and class order of the real ones.

    ``generated`` is "diffusion" or "gan" (the model of that family that was trained on
    ``real.train`` and is kept, asked for two images a training image, and for as many as are
    measured at least), or a path, whose splits are put together. Images without labels get those of
    a classifier, see `label`. ``named`` is what the real images were given as, for an error.

    Raises:
        InputError: if no such model is kept, or the images do not fit.
    """
    if generated in FAMILIES:
        from synthbook.generate.clones import clone
        from synthbook.studies.training_sets import generator

        asked = {"sources": [generated], "generators": 1, "data": named or real.name,
                 "image_size": settings.image_size, "data_root": settings.data_root,
                 "guidance_scale": settings.guidance_scale}  # fmt: skip
        model = generator(generated, real, asked, seed=0, device=settings.device)
        trained_on = min(len(real.train), settings.train_images or len(real.train))
        count = max(2 * trained_on, settings.most_images)
        return Pool(*[clone(model, real.train, count=count, seed=settings.seeds[0])] * 2)
    path, shape = Path(generated).expanduser(), (real.train.image_size, real.train.channels)
    if is_unlabelled(path):
        images, skipped = read_unlabelled(path, *shape, skip_unreadable=settings.skip_unreadable)
        return replace(label(images, path.stem, real, settings), skipped=skipped)
    splits = data.load(generated, image_size=shape[0], channels=shape[1], **settings.reading)
    same_classes(real.classes, splits.classes)
    return Pool(*[_whole(splits).of_classes(real.classes)] * 2, skipped=splits.skipped)


def label(images: np.ndarray, name: str, real: Splits, settings: AuditSettings) -> Pool:
    """Return ``images`` with the labels of a classifier trained on ``real.train``.

    It labels what it is surer of than ``settings.confidence`` (Wang et al. 2024, Sec. 3.2).
    """
    from synthbook.generate.clones import confident
    from synthbook.recognize.predict import predict

    network, device = settings.network, settings.device
    judge, _ = network.train(real.train, seed=derive(settings.seeds[0], "filter"), device=device)
    logits = predict(judge, images, **network.reading(device))
    probabilities = logits.softmax(1).cpu().numpy()
    keep, labels = confident(probabilities, settings.confidence)
    if keep.sum() < LEAST:
        raise InputError(
            f"the classifier is surer than {settings.confidence} of {keep.sum()} of the "
            f"{len(images)} images without labels; lower confidence, train it longer, or give "
            "class folders"
        )
    everything = ImageSet(images, labels, real.classes, name)
    note = f"the classifier labelled {keep.sum():,} of {len(images):,} images"
    return Pool(everything, everything.subset(keep), note)


def fitted(settings: AuditSettings, images: int) -> AuditSettings:
    """Return the settings with as many epochs as fit ``images`` real ones of a reader's own."""
    count = min(images, settings.train_images or images)
    epochs = fit.fitting(count, settings.recipe.batch_size)["epochs"]
    return replace(settings, recipe=replace(settings.recipe, epochs=epochs))


def draw(images: ImageSet, count: int, seed: int, *purpose: str) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of ``count`` random images, and of all others; each class has its share."""
    order = numpy_generator(seed, "audit", *purpose).permutation(len(images))
    place = np.empty(len(images))
    for k, size in enumerate(images.counts()):
        members = order[images.labels[order] == k]
        place[members] = (np.arange(size) + 0.5) / max(size, 1)
    order = order[np.argsort(place[order], kind="stable")]
    return order[:count], order[count:]


def some(images: ImageSet, most: int, *purpose: str) -> ImageSet:
    """Return at most ``most`` of the images, the same ones for every seed of a run."""
    return images.subset(np.sort(draw(images, most, 0, *purpose)[0]))
