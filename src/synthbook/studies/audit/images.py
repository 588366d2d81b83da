"""What goes into an audit: real images with splits, a pool of generated ones, and settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook import data
from synthbook.data import ImageSet, Splits, files
from synthbook.data.loading import same_classes
from synthbook.data.npz import headers, images_of, oriented
from synthbook.errors import InputError, did_you_mean
from synthbook.randomness import derive, numpy_generator

if TYPE_CHECKING:
    from synthbook.gans.recipes import GanRecipe
    from synthbook.generate.unet import DiffusionRecipe
    from synthbook.recognize.recipe import Recipe
    from synthbook.studies.training_sets import Network

FAMILIES = ("diffusion", "gan")  # those of generate.generators, which imports torch
LEAST = 20  # generated images; with fewer no measure says anything


@dataclass(frozen=True)
class AuditSettings:
    """How an audit measures and trains; `settings_of` makes it from a chapter's parameters."""

    recipe: Recipe  # of every classifier's training
    backbone: str = "small_cnn"  # of every classifier
    pretrained: bool = False  # it starts from ImageNet weights
    precision: str = "float32"  # or bfloat16
    seeds: tuple[int, ...] = (0, 1, 2)  # each draws its own images and initial weights
    extractor: str = "efficientnet_lite0"  # features to measure in
    neighbours: int = 5  # k of precision, recall, density and coverage
    most_images: int = 1000  # of each set, for the measures
    train_images: int = 0  # real images to train classifiers on; 0 takes all
    confidence: float = 0.8  # an image without a label gets one if a classifier is surer than this
    remedies: tuple[str, ...] = ()  # ways to train on both, besides mixing them; () tries none
    guide_backbone: str = "efficientnet_lite0"  # the frozen network of Pretrained Guidance
    guide_input_size: int = 32  # side in pixels that its images are resized to
    lambda_3: float = 0.1  # weight of Pretrained Guidance
    generator: DiffusionRecipe | GanRecipe | None = None  # of the book's own; None: its defaults
    guidance_scale: float = 1.0  # of sampling from a diffusion model
    num_inference_steps: int = 12  # denoising steps a sample
    data_root: str = ""  # where downloaded data sets lie
    skip_unreadable: bool = False  # leave out files that cannot be read
    device: str = "cpu"

    @property
    def network(self) -> Network:
        """Every classifier that is trained."""
        from synthbook.studies.training_sets import Network

        return Network(self.backbone, self.pretrained, self.recipe, self.precision)


def settings_of(p: Mapping[str, Any], *, device: str = "cpu") -> AuditSettings:
    """Return the settings that a chapter's parameters spell out."""
    from synthbook.studies.training_sets import classifier_recipe, generator_recipe

    own = p["generated"] in FAMILIES
    made = {
        "recipe": classifier_recipe(p),
        "seeds": tuple(range(p["first_seed"], p["first_seed"] + p["seeds"])),
        "generator": generator_recipe(p["generated"], p) if own else None,
        "device": device,
    }
    as_given = {field.name for field in fields(AuditSettings)} - made.keys()
    return AuditSettings(**made, **{name: p[name] for name in as_given})


@dataclass(frozen=True)
class Pool:
    """Generated images: ``everything``, and the part with labels to train with.

    They differ only for images that came without (``note`` says how many got one); in
    ``everything`` these have a classifier's best guess.
    """

    everything: ImageSet
    labelled: ImageSet
    note: str = ""


def check_inputs(p: Mapping[str, Any]) -> str:
    """Return in two lines what ``p["real"]`` and ``p["generated"]`` are, or raise InputError.

    ``data_root``, ``image_size`` and ``skip_unreadable`` are as in `data.load`, and may be
    missing. No pixels are read and torch is not imported.
    """
    real, generated, image_size = p["real"], p["generated"], p.get("image_size", 0)
    options = {name: p[name] for name in ("data_root", "skip_unreadable") if name in p}
    first = data.check(real, image_size=image_size, **options)
    if generated in FAMILIES:
        return f"{first}\ngenerated: the book's own {generated} model, trained on {first.name}"
    path = Path(generated).expanduser()
    if not path.exists():
        families = " nor ".join(f"'{name}'" for name in FAMILIES)
        hint = did_you_mean(generated, FAMILIES) or "; correct the path"
        raise InputError(
            f"generated '{generated}' is neither {families}, nor a folder or .npz that exists{hint}"
        )
    if Path(real).expanduser().resolve() == path.resolve():
        raise InputError(
            f"real and generated are both '{generated}'; name the folder or .npz of generated "
            "images as generated"
        )
    if is_unlabelled(path):
        count = count_unlabelled(path, skip_unreadable=p.get("skip_unreadable", False))
        return f"{first}\n{path.name}: {count:,} images without labels; a classifier labels them"
    second = data.check(generated, image_size=image_size or None, **options)
    if first.classes and second.classes:
        same_classes(first.classes, second.classes)
    resized = "" if first.size == second.size else "; brought to the size of the real images"
    return f"{first}\n{second}{resized}"


def load_generated(generated: str, real: Splits, settings: AuditSettings) -> Pool:
    """Return the generated images at the size, channels and class order of the real ones.

    ``generated`` is "diffusion" or "gan" (the book's own, trained on ``real.train`` or cached, two
    samples a training image), or a path, whose splits are put together. Images without labels get
    those of a classifier, see `label`.
    """
    if generated in FAMILIES:
        from synthbook.generate.clones import clone
        from synthbook.generate.generators import trained
        from synthbook.studies.training_sets import sampling

        device, seed = settings.device, settings.seeds[0]
        generator = trained(generated, real.train, settings.generator, seed=0, device=device)
        count = 2 * min(len(real.train), settings.train_images or len(real.train))
        how = sampling(generator, vars(settings))
        return Pool(*[clone(generator, real.train, count=count, seed=seed, **how)] * 2)
    path, shape = Path(generated).expanduser(), (real.train.image_size, real.train.channels)
    if is_unlabelled(path):
        images = read_unlabelled(path, *shape, skip_unreadable=settings.skip_unreadable)
        return label(images, path.stem, real, settings)
    splits = data.load(
        generated, data_root=settings.data_root, image_size=shape[0], channels=shape[1],
        skip_unreadable=settings.skip_unreadable,
    )  # fmt: skip
    same_classes(real.classes, splits.classes)
    whole = data.concatenate(splits.train, splits.val, splits.test, name=splits.name)
    return Pool(*[whole.of_classes(real.classes)] * 2)


def label(images: np.ndarray, name: str, real: Splits, settings: AuditSettings) -> Pool:
    """Return ``images`` with the labels of a classifier trained on ``real.train``.

    It labels what it is surer of than ``settings.confidence`` (Wang et al. 2024, Sec. 3.2).
    """
    from synthbook.generate.clones import confident
    from synthbook.recognize.predict import predict

    train = some(real.train, settings.train_images or len(real.train), "filter")
    network, device = settings.network, settings.device
    judge, _ = network.train(train, seed=derive(settings.seeds[0], "filter"), device=device)
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


def is_unlabelled(path: Path) -> bool:
    """Return whether ``path`` is a folder of images only, or an .npz with ``images`` only."""
    if path.is_dir():
        return not files.subfolders(path) and next(files.image_files(path), None) is not None
    names = set(headers(path)) if path.suffix == ".npz" and path.is_file() else set()
    return "images" in names and not {"labels", "x_train", "y_train"} & names


def count_unlabelled(path: Path, *, skip_unreadable: bool = False) -> int:
    """Return the number of images without labels, by their heads only; InputError if under 20."""
    if path.is_dir():
        count = len(_read(path, files.header, skip_unreadable))
    else:
        count = len(oriented(path, "images", headers(path)["images"]))
    if count < LEAST:
        raise InputError(f"{path} has {count} images; give at least {LEAST} generated ones")
    return count


def read_unlabelled(
    path: Path, image_size: int, channels: int, *, skip_unreadable: bool
) -> np.ndarray:
    """Return the images, uint8 [N, image_size, image_size, channels], in the order of names."""
    if path.is_dir():
        pixels = _read(path, lambda x: files.decode(x, image_size, channels), skip_unreadable)
        return files.conform(files.stack(pixels, path.name), 0, channels)
    return images_of(path, "images", image_size, channels)


def _read(folder: Path, read: Callable[[Path], Any], skip_unreadable: bool) -> list[Any]:
    """Return what is read of each image; unreadable ones are refused unless skipped."""
    good, _, bad = files.readable(files.in_threads(read, sorted(files.image_files(folder))))
    if not skip_unreadable:
        files.refuse(bad, folder.name)
    return good
