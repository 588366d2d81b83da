"""What chapters 31 to 33 share: photographs, clones of them by words, and what learns from either.

Sariyildiz et al., Fake it till you make it (CVPR 2023). A clone has as many images of each class as
the photographs that it stands for, made of the names of the classes alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import load_model, save_model

from synthbook.data import ImageSet, Summary, at_most, check, load
from synthbook.data.shift import hardest, renditions, second_draw, sketches
from synthbook.errors import InputError
from synthbook.generate.prompts import check_form, classes_of, prompt
from synthbook.generate.text import check_guidance
from synthbook.generate.wordnet import SETS, ClassWords, named
from synthbook.machine import check_memory, telling
from synthbook.measure import features
from synthbook.recognize.models import create_classifier
from synthbook.recognize.multicrop import MulticropRecipe, steps_of, train_multicrop
from synthbook.recognize.predict import predict
from synthbook.recognize.probe import fit
from synthbook.recognize.ranks import measures
from synthbook.recognize.views import ViewRecipe
from synthbook.settings import from_texts
from synthbook.store import atomic_write, cached
from synthbook.studies import needs, web
from synthbook.studies.gap import REAL, Rows

if TYPE_CHECKING:
    from synthbook.generate.prompted import Prompted
    from synthbook.generate.text import TextToImage
    from synthbook.recognize.models import Classifier

CLONE, RANDOM = "clone", "random weights"
TESTS = ("test", "v2", "sketch", "rendition", "adversarial")  # the columns of Table 1
MULTI, SINGLE = "multi", "single"  # crops of an image
OWN = ("updates", "batch_size", "learning_rate")  # parameters, not in the settings
PENALTY = 1e-2  # L2, of the linear layer that names images and finds the hardest
ACCURACIES = {"top1": "top1_accuracy", "top5": "top5_accuracy"}


def recipe_of(p: Mapping[str, Any]) -> MulticropRecipe:
    """Return how a chapter's classifiers are trained."""
    seen = ViewRecipe(**from_texts(ViewRecipe, p["view_settings"], "view_settings"))
    given = from_texts(
        MulticropRecipe, p["training_settings"], "training_settings", (*OWN, "views")
    )
    return MulticropRecipe(**{name: p[name] for name in OWN}, views=seen, **given)


def one_crop(recipe: MulticropRecipe) -> MulticropRecipe:
    """Return the same recipe with one large crop an image and no small one."""
    seen = dataclasses.replace(recipe.views, global_views=1, local_views=0)
    return dataclasses.replace(recipe, views=seen)


def words_of(p: Mapping[str, Any], data: str, classes: Sequence[str]) -> tuple[ClassWords, ...]:
    """Return the words of the classes: those of a reader's file, else WordNet's of a known set.

    Raises:
        InputError: if a class has no line in the file, or the set has no words in the book.
    """
    if not p["class_words"]:
        if data not in SETS:
            raise InputError(
                f"the book has no words for the classes of '{data}'; give class_words, a file with "
                "a line for each class: name[, definition[, parent]]"
            )
        return named(classes, data)
    known = {words.name: words for words in classes_of(p["class_words"])}
    for name in classes:
        if name not in known:
            raise InputError(
                f"class_words = '{p['class_words']}' has no line for the class '{name}' of "
                f"'{data}'; add one: name[, definition[, parent]]"
            )
    return tuple(known[name] for name in classes)


# -- What a chapter asks of its parameters ------------------------------------------------------


def check_clones(
    p: Mapping[str, Any], asked: Sequence[tuple[str, float]], data: str = "", *,
    sizes: Sequence[float] = (1.0,),
) -> Summary:  # fmt: skip
    """Return what the data are, once clones of them by forms and guidance scales can be made.

    Raises:
        InputError: that names what cannot be.
    """
    data = data or p["data"]
    summary = check(data, data_root=p["data_root"], image_size=p["image_size"])
    recipe, words = recipe_of(p), words_of(p, data, summary.classes)
    for form, scale in asked:
        check_form(words, form)
        check_guidance(scale)
    check_model(p)
    needs.check_device(p["device"])
    needs.check_extractor(p)
    side, crops = p["image_size"] or summary.side, recipe.views
    images = training_images(p, summary)
    if images < summary.num_classes:
        raise InputError(
            f"set_size = {p['set_size']} and '{data}' has {summary.num_classes} classes; give an "
            "image for each at least, or 0 for all"
        )
    needs.check_backbone(p["backbone"], pretrained=False)
    count = min(recipe.batch_size, images) * (crops.global_views + crops.local_views)
    precision = {"device": p["device"], "precision": recipe.precision}
    needs.check_batch(precision, p["backbone"], crops.global_size or side, count, "global_size")
    most = max(sizes) * images
    what = f"a clone of {most:,.0f} images of {side} pixels"
    check_memory(
        most * side**2 * summary.channels, what, "give smaller sizes or a smaller set_size"
    )
    return summary


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


class Bed:
    """Photographs of a data set, clones of them, and classifiers of either; all from the cache.

    Args:
        p: the chapter's parameters.
        data: which data set; the chapter's ``data`` by default.
        set_size: real images to learn from; 0: all. The chapter's by default.
    """

    def __init__(self, p: Any, device: str, data: str = "", *, set_size: int | None = None) -> None:
        self.p, self.device, self.data = p, device, data or p.data
        self.splits = load(self.data, data_root=p.data_root, image_size=p.image_size)
        self.words = words_of(p, self.data, self.splits.classes)
        self.recipe, self.backbone = recipe_of(p), p.backbone
        self.count = p.set_size if set_size is None else set_size
        side = self.splits.train.image_size
        self.reading = {"input_size": self.recipe.views.global_size or side, "device": device}
        self.look = features.extractor(p.extractor, device, size=p.extractor_size)

    def real(self, seed: int) -> ImageSet:
        """Return the photographs to learn from; classes as frequent among them as in the set."""
        train = self.splits.train
        return at_most(train, self.count or len(train), seed=seed)

    @cached_property
    def generator(self) -> TextToImage:
        """The pipeline that makes clones."""
        from synthbook.generate.text import TextToImage, opened

        if self.p.model:
            return opened(self.p.model, device=self.device)
        return TextToImage(web.web_text2image(self.device), name=web.TEXT2IMAGE, device=self.device)

    def asked(self, form: str) -> Prompted:
        """Return the generator as it is asked for these classes by a form of prompts."""
        from synthbook.generate.prompted import Prompted

        first = self.splits.train
        kept = {} if self.p.model or self.device != "cpu" else web.kept_samples()
        how = {"image_size": first.image_size, "channels": first.channels, "kept": kept}
        return Prompted(self.generator, self.words, form, **how)

    def clone(self, seed: int, form: str, scale: float, size: float = 1.0) -> ImageSet:
        """Return a clone of the photographs, ``size`` times as large; a larger one has the smaller.

        Of each class it has ``size`` times as many images, rounded, and one at least.
        """
        real = self.real(seed)
        counts = np.maximum(np.rint(size * real.counts()), real.counts() > 0).astype(int)
        labels = np.repeat(np.arange(real.num_classes), counts)
        how = {"guidance_scale": scale, "num_inference_steps": self.p.num_inference_steps}
        images = self.asked(form).sample(labels.tolist(), seed=seed, **how)
        name = f"{CLONE} of {self.data} ({form}, {scale:g}, {size:g}x)"
        return ImageSet(images, labels, real.classes, name)

    def prompts(self, seed: int, form: str, numbers: Sequence[int] = (0,)) -> list[list[str]]:
        """Return the prompts of some images of each class."""
        return [[prompt(words, form, k, seed=seed) for k in numbers] for words in self.words]

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
            for file in sorted((folder / "begun").glob("*")):
                file.unlink()
            (folder / "begun").rmdir()

        folder = cached("clone_classifiers", key, build, self.device)
        model = self.fresh(images, seed)
        load_model(model, str(folder / "model.safetensors"))
        return model.eval().requires_grad_(False).to(self.device)

    def fresh(self, images: ImageSet, seed: int) -> Classifier:
        """Return an untrained one; equal seeds give equal weights."""
        return create_classifier(
            self.backbone, num_classes=images.num_classes, channels=images.channels, seed=seed,
            image_size=self.reading["input_size"],
        )  # fmt: skip

    # What they are rated on

    @cached_property
    def judge(self) -> Any:
        """A linear layer on the extractor's features that has learned the first photographs.

        It is of another kind than all that is rated: it says which test photographs are hard, and
        whether an image of a clone is of the class that was asked for.
        """
        real = self.real(0)
        rows = self.look.cached(real.images)
        return fit(rows, real.labels, PENALTY, classes=real.classes, name=self.data)[0]

    @cached_property
    def tests(self) -> dict[str, ImageSet]:
        """The five sets of real images that stand for ImageNet's, by name (`data.shift`)."""
        test = self.splits.test
        logits = self.judge.logits(self.look.cached(test.images))
        return {
            "test": test, "v2": second_draw(self.splits), "sketch": sketches(test),
            "rendition": renditions(test, seed=0), "adversarial": hardest(test, logits),
        }  # fmt: skip

    def accuracy_rows(self, model: Classifier, names: Sequence[str] = TESTS, **about: Any) -> Rows:
        """Yield accuracies on the tests, among the classes that each has."""
        for name in names:
            of = self.tests[name]
            logits = predict(model, of, **self.reading)
            told = measures(logits, of.labels, among="present")
            for kind, metric in ACCURACIES.items():
                yield {"test": name, "metric": metric, "value": told[kind], **about}

    def about(self, seed: int, **more: Any) -> dict[str, Any]:
        """Return what rows have in common."""
        return {"dataset": self.data, "backbone": self.backbone, "seed": seed, **more}


def of_clone(form: str, scale: float) -> dict[str, Any]:
    """Return the fields of rows that tell clones apart."""
    return {"method": CLONE, "train": CLONE, "prompt": form, "guidance_scale": float(scale)}


OF_REAL = {"method": REAL, "train": REAL}


def grid(forms: Sequence[str], scales: Sequence[float]) -> Iterator[tuple[str, float]]:
    """Yield forms and guidance scales, scale by scale."""
    yield from ((form, scale) for scale in scales for form in forms)
