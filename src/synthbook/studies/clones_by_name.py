"""What chapters 31 to 33 share: photographs, clones of them by words, and what learns from either.

Sariyildiz et al., Fake it till you make it (CVPR 2023). A clone has as many images of each class as
the photographs that it stands for, made of the names of the classes alone.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from safetensors.torch import load_model, save_model

from synthbook.data import ImageSet, Splits, Summary, at_most, check, load
from synthbook.data.deferred import Deferred, deferred, of_folder
from synthbook.data.files import classes_of as files_of
from synthbook.data.files import layout
from synthbook.data.shift import hardest, renditions, second_draw, sketches
from synthbook.errors import InputError, did_you_mean
from synthbook.generate.prompts import check_form, classes_of
from synthbook.generate.sentences import called, unknown_words
from synthbook.generate.text import check_guidance
from synthbook.generate.wordnet import SETS, ClassWords, named
from synthbook.keys import key_hash
from synthbook.machine import memory, telling
from synthbook.measure import features
from synthbook.randomness import numpy_generator
from synthbook.recognize.models import create_classifier
from synthbook.recognize.multicrop import MulticropRecipe, steps_of, train_multicrop
from synthbook.recognize.predict import predict
from synthbook.recognize.probe import fit
from synthbook.recognize.ranks import measures
from synthbook.recognize.views import ViewRecipe
from synthbook.settings import from_texts, source_paths
from synthbook.store import atomic_write, cached
from synthbook.studies import needs, web
from synthbook.studies.rows import REAL, Rows

if TYPE_CHECKING:
    from synthbook.generate.prompted import Prompted
    from synthbook.generate.text import TextToImage
    from synthbook.recognize.models import Classifier

CLONE, RANDOM = "clone", "random weights"
TESTS = ("test", "v2", "sketch", "rendition", "adversarial")  # the columns of Table 1
MULTI, SINGLE = "multi", "single"  # crops of an image
OWN = ("updates", "batch_size", "learning_rate")  # parameters, not in the settings
BEDS = ("sizes.", "classes.")  # before a training setting of one part of chapters 32 and 33
HELD = 8  # of a machine's memory one set of images may take this part, and is else read
CHUNK = 4096  # images of a test that are read together
TOLD = 12  # names that a warning holds at most
JUDGED = 50_000  # photographs that the judge learns from at most
PENALTY = 1e-2  # L2, of the linear layer that names images and finds the hardest
Images = ImageSet | Deferred
ACCURACIES = {"top1": "top1_accuracy", "top5": "top5_accuracy"}


def recipe_of(p: Mapping[str, Any], part: str = "") -> MulticropRecipe:
    """Return how a chapter's classifiers are trained, of chapters 32 and 33 those of a ``part``.

    There a training setting may be of one part, such as "classes.updates=500400": more classes of
    as many images each take more steps to be seen as often.
    """
    seen = ViewRecipe(**from_texts(ViewRecipe, p["view_settings"], "view_settings"))
    texts, settings = p["training_settings"], "training_settings"
    common = [text for text in texts if not (part and text.startswith(BEDS))]
    of_part = [text.removeprefix(f"{part}.") for text in texts if text.startswith(f"{part}.")]
    given = {name: p[name] for name in OWN}
    given |= from_texts(MulticropRecipe, common, settings, (*OWN, "views"))
    given |= from_texts(MulticropRecipe, of_part, settings, ("views",)) if part else {}
    return MulticropRecipe(**given, views=seen)


def one_crop(recipe: MulticropRecipe) -> MulticropRecipe:
    """Return the same recipe with one large crop an image and no small one."""
    seen = dataclasses.replace(recipe.views, global_views=1, local_views=0)
    return dataclasses.replace(recipe, views=seen)


def words_of(p: Mapping[str, Any], data: str, classes: Sequence[str]) -> tuple[ClassWords, ...]:
    """Return the words of the classes: those of a reader's file, else WordNet's of a known set.

    Raises:
        InputError: if a class of a set without words in the book has no line in the file.
    """
    known = {words.name: words for words in named(classes, data)} if data in SETS else {}
    if not p["class_words"] and not known:
        raise InputError(
            f"the book has no words for the classes of '{data}'; give class_words, a file with "
            "a line for each class: name[, definition[, parent]]"
        )
    if p["class_words"]:
        known |= {words.name: words for words in classes_of(p["class_words"])}
    for name in classes:
        if name not in known:
            raise InputError(
                f"class_words = '{p['class_words']}' has no line for the class '{name}' of "
                f"'{data}'; add one: name[, definition[, parent]]"
            )
    return tuple(known[name] for name in classes)


def unread(p: Mapping[str, Any], words: Sequence[ClassWords]) -> str:
    """Return, in a sentence, which names the book's own generator has read no caption with, or "".

    A check prints it before anything is made. Of another ``model`` nothing is known.
    """
    if p["model"]:
        return ""
    names = [name for name in dict.fromkeys(map(called, words)) if unknown_words(name)]
    if not names:
        return ""
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return (
        f"The book's generator has read no caption with: {', '.join(names[:TOLD])}{more}. What "
        "it draws of them may be anything; model takes another one, the folder of a diffusers "
        "pipeline or its name on the Hub (-p model=...)."
    )


# -- What a chapter asks of its parameters ------------------------------------------------------


def check_clones(
    p: Mapping[str, Any], asked: Sequence[tuple[str, float]], data: str = "", part: str = ""
) -> Summary:
    """Return what the data are, once clones of them by forms and guidance scales can be made.

    ``part`` is as for `recipe_of`.

    Raises:
        InputError: that names what cannot be.
    """
    data = data or p["data"]
    summary = summary_of(p, data)
    recipe, words = recipe_of(p, part), words_of(p, data, summary.classes)
    for form, scale in asked:
        check_form(words, form)
        check_guidance(scale)
    check_model(p)
    check_tests(p)
    needs.check_device(p["device"])
    needs.check_extractor(p)
    needs.check_backbone(p["backbone"], pretrained=False)
    images = training_images(p, summary)
    if images < summary.num_classes:
        raise InputError(
            f"set_size = {p['set_size']} and '{data}' has {summary.num_classes} classes; give an "
            "image for each at least, or 0 for all"
        )
    side, crops = p["image_size"] or summary.side, recipe.views
    count = min(recipe.batch_size, images) * (crops.global_views + crops.local_views)
    precision = {"device": p["device"], "precision": recipe.precision}
    needs.check_batch(precision, p["backbone"], crops.global_size or side, count, "global_size")
    return summary


def summary_of(p: Mapping[str, Any], data: str) -> Summary:
    """Return what the data are; of a folder that is read image by image, names and numbers."""
    folder = Path(data).expanduser()
    if folder.is_dir() and p["image_size"] and "train" in (places := layout(folder)):
        found = {part: files_of(place) for part, place in places.items()}
        counts = {part: sum(map(len, of.values())) for part, of in found.items()}
        if not held_in_memory(counts["train"], p["image_size"], 3):
            classes = tuple(found["train"])
            told = f"{p['image_size']} pixels, read when they are asked for"
            return Summary(
                folder.name, "class folders", "yours", len(classes), classes, counts, told,
                side=p["image_size"],
            )  # fmt: skip
    return check(data, data_root=p["data_root"], image_size=p["image_size"])


def check_tests(p: Mapping[str, Any]) -> None:
    """Raise InputError unless the reader's own tests are folders by the names of tests."""
    for name, path in source_paths(p["other_tests"]).items():
        if name not in TESTS[1:]:
            raise InputError(
                f"other_tests has '{name}'{did_you_mean(name, TESTS[1:])}; give some of "
                f"{', '.join(f'{test}=FOLDER' for test in TESTS[1:])}"
            )
        if not Path(path).expanduser().is_dir():
            raise InputError(
                f"other_tests: '{path}' is no folder; give one of class folders for '{name}'"
            )


def check_model(p: Mapping[str, Any]) -> None:
    """Raise InputError if the pipeline is a folder that holds none; names are asked of the Hub."""
    name = p["model"]
    if not name:
        web.kept(web.TEXT2IMAGE)
        web.kept(web.CLIP)
        return
    folder = Path(name).expanduser()
    looks_like_a_folder = name[0] in ".~/" or folder.is_dir()
    if looks_like_a_folder and not (folder / "model_index.json").is_file():
        raise InputError(
            f"model = '{name}' is no folder of a diffusers pipeline (model_index.json); give one "
            "that save_pretrained wrote, a name on the Hub, or '' for the book's own"
        )


def training_images(p: Mapping[str, Any], summary: Summary) -> int:
    """Return how many photographs, or images of a clone of their size, are learned from."""
    count = sum(n for split, n in summary.counts.items() if "train" in split)
    return min(count, p["set_size"] or count)


# -- Images -------------------------------------------------------------------------------------


def held_in_memory(count: float, side: int, channels: int) -> bool:
    """Return whether so many images are to be held, and not read from the disk again and again."""
    return count * side**2 * channels < memory() / HELD


def sets_of(p: Any, data: str) -> Splits | Parts:
    """Return the parts of a data set; of a folder that no memory holds, parts that are read.

    Such a folder has train and test. What is held out of it is the test, too: nothing is chosen
    on it.
    """
    folder = Path(data).expanduser()
    if folder.is_dir() and p.image_size and "train" in (places := layout(folder)):
        of_class = files_of(places["train"])
        if not held_in_memory(sum(map(len, of_class.values())), p.image_size, 3):
            how = {"image_size": p.image_size, "name": folder.name}
            parts = {part: of_folder(place, **how) for part, place in places.items()}
            return Parts(parts["train"], parts.get("val", parts["test"]), parts["test"])
    return load(data, data_root=p.data_root, image_size=p.image_size)


class Parts(NamedTuple):
    """The parts of a set whose images are read when they are asked for."""

    train: Deferred
    val: Deferred
    test: Deferred


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
        self.look = features.extractor(p.extractor, device, size=p.extractor_size)
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
        given, test = source_paths(self.p.other_tests), self.splits.test
        if name in given:
            how = {"image_size": self.side, "channels": self.channels}
            classes = self.splits.train.classes
            return of_folder(Path(given[name]).expanduser(), **how).labelled_as(classes)
        if name == "v2":
            return second_draw(self.splits)
        if name == "sketch":
            return sketches(test)
        if name == "rendition":
            return renditions(test, seed=0)
        if name == "adversarial":
            return hardest(test, self.judge.logits(self.look.cached(test.images)))
        return test

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


def largest_class(bed: Bed, tests: Sequence[str] = TESTS) -> dict[str, float]:
    """Return what is right of each test, in percent, if its largest class is always named."""
    counts = {name: bed.test_of(name).counts() for name in tests}
    return {name: 100 * float(each.max()) / int(each.sum()) for name, each in counts.items()}


def of_clone(form: str, scale: float) -> dict[str, Any]:
    """Return the fields of rows that tell clones apart."""
    return {"method": CLONE, "train": CLONE, "prompt": form, "guidance_scale": float(scale)}


OF_REAL = {"method": REAL, "train": REAL}


def grid(forms: Sequence[str], scales: Sequence[float]) -> Iterator[tuple[str, float]]:
    """Yield forms and guidance scales, scale by scale."""
    yield from ((form, scale) for scale in scales for form in forms)
