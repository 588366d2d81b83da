"""What chapters 31 to 33 share: photographs, clones of them by words, and what learns from either.

Sariyildiz et al., Fake it till you make it (CVPR 2023). A clone has as many images of each class as
the photographs that it stands for, made of the names of the classes alone. What a chapter says of
them, its recipes, words and data, is read and checked in ``given``.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import load_model, save_model

from synthbook.data import ImageSet, at_most
from synthbook.data.deferred import Deferred, deferred, of_folder
from synthbook.data.shift import hardest, renditions, second_draw, sketches
from synthbook.keys import key_hash
from synthbook.machine import telling
from synthbook.measure import features
from synthbook.randomness import numpy_generator
from synthbook.recognize.models import create_classifier
from synthbook.recognize.multicrop import steps_of, train_multicrop
from synthbook.recognize.predict import predict
from synthbook.recognize.probe import fit
from synthbook.recognize.ranks import measures
from synthbook.settings import source_paths
from synthbook.store import atomic_write, cached
from synthbook.studies import web
from synthbook.studies.given import (
    TESTS,
    held_in_memory,
    one_crop,
    recipe_of,
    sets_of,
    words_of,
)
from synthbook.studies.rows import REAL, Rows

if TYPE_CHECKING:
    from synthbook.generate.prompted import Prompted
    from synthbook.generate.text import TextToImage
    from synthbook.measure.features import Extractor
    from synthbook.recognize.models import Classifier

CLONE, RANDOM = "clone", "random weights"
MULTI, SINGLE = "multi", "single"  # crops of an image
CHUNK = 4096  # images of a test that are read together
JUDGED = 50_000  # photographs that the judge learns from at most
PENALTY = 1e-2  # L2, of the linear layer that names images and finds the hardest
Images = ImageSet | Deferred
ACCURACIES = {"top1": "top1_accuracy", "top5": "top5_accuracy"}


# -- Images -------------------------------------------------------------------------------------


def some(images: Images, count: int, *, seed: int = 0) -> ImageSet:
    """Return ``count`` images drawn by ``seed``, in memory; all if there are no more."""
    if isinstance(images, ImageSet):
        return at_most(images, count, seed=seed)
    return _drawn(images, count, seed).held()


def columns(images: Images, count: int, classes: int) -> np.ndarray:
    """Return the first ``count`` images of the first classes, uint8 [count * classes, S, S, C].

    Row by row, a class a column; white where a class has fewer.
    """
    every = deferred(images)
    blank = np.full((count, *every.read(np.zeros(1, int)).shape[1:]), 255, np.uint8)
    found = []
    for k in range(classes):
        few = (
            every.read(first) if len(first := np.flatnonzero(every.labels == k)[:count]) else blank
        )
        found.append(np.concatenate([few, blank])[:count])
    return np.stack(found, axis=1).reshape(-1, *blank.shape[1:])


def made_of(
    asked: Prompted, counts: np.ndarray, classes: tuple[str, ...], name: str, *, seed: int,
    **how: Any,
) -> Images:  # fmt: skip
    """Return images by words, ``counts`` of each class; from the cache where no memory holds them.

    ``how`` is what `Prompted.sample` takes besides.
    """
    labels = np.repeat(np.arange(len(counts)), counts)
    if held_in_memory(counts.sum(), *asked.shape):
        return ImageSet(asked.sample(labels.tolist(), seed=seed, **how), labels, classes, name)
    blocks = [
        block for label, count in enumerate(counts)
        for block in asked.blocks(label, int(count), seed=seed, **how)
    ]  # fmt: skip
    firsts = np.cumsum([0, *map(len, blocks)])

    def read(chosen: np.ndarray) -> np.ndarray:
        of = np.searchsorted(firsts, chosen, side="right") - 1
        return np.stack([blocks[b][k - firsts[b]] for b, k in zip(of, chosen, strict=True)])

    told = {"by": asked.key, "seed": seed, "counts": counts.tolist(), **how}
    return Deferred(labels, classes, name, read, key_hash(told))


def _drawn(images: Deferred, count: int, seed: int) -> Deferred:
    drawn = numpy_generator(seed, "at most").permutation(len(images))[:count]
    return images if len(images) <= count else images.subset(np.sort(drawn))


class Bed:
    """Photographs of a data set, clones of them, and classifiers of either; all from the cache.

    Args:
        p: the chapter's parameters.
        data: which data set; the chapter's ``data`` by default.
        set_size: real images to learn from; 0: all. The chapter's by default.
        part: of the chapter, as for `recipe_of`.
    """

    def __init__(
        self, p: Any, device: str, data: str = "", *, set_size: int | None = None, part: str = ""
    ) -> None:
        self.p, self.device, self.data = p, device, data or p.data
        self.splits = sets_of(p, self.data)
        train = self.splits.train
        shape = (
            train.images.shape
            if isinstance(train, ImageSet)
            else train.read(np.zeros(1, int)).shape
        )
        self.side, self.channels = shape[1], shape[3]
        self.words = words_of(p, self.data, train.classes)
        self.recipe, self.backbone = recipe_of(p, part), p.backbone
        self.count = p.set_size if set_size is None else set_size
        self.reading = {
            "input_size": self.recipe.views.global_size or self.side, "device": device
        }  # fmt: skip
        self._tests: dict[str, Images] = {}

    def real(self, seed: int) -> Images:
        """Return the photographs to learn from; classes as frequent among them as in the set."""
        train = self.splits.train
        count = self.count or len(train)
        return (
            _drawn(train, count, seed)
            if isinstance(train, Deferred)
            else some(train, count, seed=seed)
        )

    @cached_property
    def generator(self) -> TextToImage:
        """The pipeline that makes clones."""
        from synthbook.generate.text import opened

        if self.p.model:
            return opened(self.p.model, device=self.device)
        return web.text_to_image(self.device)

    def asked(self, form: str) -> Prompted:
        """Return the generator as it is asked for these classes by a form of prompts."""
        from synthbook.generate.prompted import Prompted

        kept = {} if self.p.model or self.device != "cpu" else web.kept_samples()
        how = {"image_size": self.side, "channels": self.channels, "kept": kept}
        return Prompted(lambda: self.generator, self.words, form, **how)

    def clone(self, seed: int, form: str, scale: float, size: float = 1.0) -> Images:
        """Return a clone of the photographs, ``size`` times as large; a larger one has the smaller.

        Of each class it has ``size`` times as many images, rounded, and one at least. A clone that
        no memory holds is read from the cache.
        """
        real = self.real(seed)
        counts = np.maximum(np.rint(size * real.counts()), real.counts() > 0).astype(int)
        how = {"guidance_scale": float(scale), "num_inference_steps": self.p.num_inference_steps}
        name = f"{CLONE} of {self.data} ({form}, {scale:g}, {size:g}x)"
        return made_of(self.asked(form), counts, real.classes, name, seed=seed, **how)

    # What learns from them

    def trained(self, images: ImageSet, seed: int, crops: str = MULTI) -> Classifier:
        """Return a classifier that has learned ``images``; made once, then read from the cache."""
        recipe = self.recipe if crops == MULTI else one_crop(self.recipe)
        key = {"images": images, "recipe": recipe, "backbone": self.backbone, "seed": seed}

        def build(folder: Path) -> None:
            model = self.fresh(images, seed)
            tell = telling(f"training {self.backbone}, steps", steps_of(recipe, len(images)))
            model, history = train_multicrop(
                model, images, recipe, seed=seed, device=self.device, folder=folder / "begun",
                on_step=lambda step, _: tell(step),
            )  # fmt: skip
            save_model(model, str(folder / "model.safetensors"))
            with atomic_write(folder / "history.json") as stream:
                json.dump(dataclasses.asdict(history), stream)
            shutil.rmtree(folder / "begun")

        folder = cached("clone_classifiers", key, build, self.device)
        model = self.fresh(images, seed)
        load_model(model, str(folder / "model.safetensors"))
        return model.eval().requires_grad_(False).to(self.device)

    def fresh(self, images: Images, seed: int) -> Classifier:
        """Return an untrained one; equal seeds give equal weights."""
        return create_classifier(
            self.backbone, num_classes=images.num_classes, channels=self.channels, seed=seed,
            image_size=self.reading["input_size"],
        )  # fmt: skip

    # What they are rated on

    @cached_property
    def look(self) -> Extractor:
        """The features in which images are measured, and the hardest are found."""
        p = self.p
        return features.extractor(p.extractor, self.device, size=p.extractor_size)

    @cached_property
    def judge(self) -> Any:
        """A linear layer on the extractor's features that has learned the first photographs.

        It is of another kind than all that is rated: it says which test photographs are hard, and
        whether an image of a clone is of the class that was asked for.
        """
        real = some(self.real(0), JUDGED)
        rows = self.look.cached(real.images)
        return fit(rows, real.labels, PENALTY, classes=real.classes, name=self.data)[0]

    def test_of(self, name: str) -> Images:
        """Return one of the sets of real images that stand for ImageNet's (`data.shift`).

        Those of the chapter's ``other_tests`` are folders of a reader's in their place.
        """
        if name not in self._tests:
            self._tests[name] = self._test(name)
        return self._tests[name]

    def _test(self, name: str) -> Images:
        test = self.splits.test
        if name == TESTS[0]:
            return test
        if name in (given := source_paths(self.p.other_tests)):
            how = {"image_size": self.side, "channels": self.channels}
            classes = self.splits.train.classes
            return of_folder(Path(given[name]).expanduser(), **how).labelled_as(classes)
        if name == "v2":
            return second_draw(self.splits)
        if name == "sketch":
            return sketches(test)
        if name == "rendition":
            return renditions(test, seed=0)
        return hardest(test, self.judge.logits(self.look.cached(test.images)))

    def accuracy_rows(self, model: Classifier, names: Sequence[str] = TESTS, **about: Any) -> Rows:
        """Yield accuracies on the tests, among the classes that each has."""
        for name in names:
            of = deferred(self.test_of(name))
            parts = np.array_split(np.arange(len(of)), -(-len(of) // CHUNK))
            logits = np.concatenate(
                [predict(model, of.read(part), **self.reading).numpy() for part in parts]
            )
            told = measures(logits, of.labels, among="present")
            for kind, metric in ACCURACIES.items():
                yield {"test": name, "metric": metric, "value": told[kind], **about}

    def about(self, seed: int, **more: Any) -> dict[str, Any]:
        """Return what rows have in common."""
        return {"dataset": self.data, "backbone": self.backbone, "seed": seed, **more}


def largest_class(bed: Bed, tests: Sequence[str] = TESTS, *, most: int = 1) -> dict[str, float]:
    """Return what is right of each test, in percent, if its largest class is always named.

    Or its ``most`` largest ones, as the first ones that a network names.
    """
    counts = {name: np.sort(bed.test_of(name).counts()) for name in tests}
    return {name: 100 * float(each[-most:].sum() / each.sum()) for name, each in counts.items()}


def of_clone(form: str, scale: float) -> dict[str, Any]:
    """Return the fields of rows that tell clones apart."""
    return {"method": CLONE, "train": CLONE, "prompt": form, "guidance_scale": float(scale)}


OF_REAL = {"method": REAL, "train": REAL}


def grid(forms: Sequence[str], scales: Sequence[float]) -> Iterator[tuple[str, float]]:
    """Yield forms and guidance scales, scale by scale."""
    yield from ((form, scale) for scale in scales for form in forms)
