"""What a study of images by names is given: recipes, the words of classes, and photographs.

They are read from a chapter's parameters, and checked before anything is made. Chapters 31 to 33
share all of it, and chapters 21 to 23 the words and the photographs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from synthbook.data import Splits, Summary, check, load
from synthbook.data.deferred import Deferred, of_folder
from synthbook.data.files import classes_of as files_of
from synthbook.data.files import header, in_threads, layout, readable, refuse
from synthbook.errors import InputError, did_you_mean, fault_of
from synthbook.generate.prompts import LINE, check_form, classes_of
from synthbook.generate.sentences import unread_names
from synthbook.generate.text import check_guidance
from synthbook.generate.wordnet import SETS, ClassWords, class_words, named
from synthbook.machine import memory, say
from synthbook.recognize.backbones import check_published
from synthbook.recognize.multicrop import MulticropRecipe
from synthbook.recognize.views import ViewRecipe
from synthbook.settings import from_texts, source_paths
from synthbook.store import path_of
from synthbook.studies import needs, web

TESTS = ("test", "v2", "sketch", "rendition", "adversarial")  # the columns of Table 1
OWN = ("updates", "batch_size", "learning_rate")  # parameters, not in the settings
BEDS = ("sizes.", "classes.")  # before a training setting of one part of chapters 32 and 33
HELD = 8  # of a machine's memory one set of images may take this part, and is else read
TIMM, IMAGENET = "timm:", "imagenet"  # before a network's name; whose classes published ones know


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
    if not (names := unread_names(words)):
        return ""
    return (
        f"The book's generator has read no caption with: {names}. What "
        "it draws of them may be anything; model takes another one, the folder of a diffusers "
        "pipeline or its name on the Hub (-p model=...)."
    )


# -- What is asked beforehand ----------------------------------------------------------------------


def check_words(p: Mapping[str, Any], data: str, classes: Sequence[str]) -> tuple[ClassWords, ...]:
    """Return the words of the classes, as `words_of`; InputError, which names class_words, if not.

    It is what a check calls: `words_of` tells of a file alone what is wrong with it.
    """
    source = p["class_words"]
    if source and source not in SETS and not path_of(source).is_file():
        raise InputError(
            f"class_words = '{source}' is no file{did_you_mean(source, SETS)}; give one ({LINE}), "
            f"the name of a set whose words the book has ({', '.join(SETS)}), or '' for WordNet's"
        )
    with fault_of("class_words"):
        return words_of(p, data, classes)


def check_clones(
    p: Mapping[str, Any], asked: Sequence[tuple[str, float]], data: str = "", part: str = ""
) -> Summary:
    """Return what the data are, once clones of them by forms and guidance scales can be made.

    ``part`` is as for `recipe_of`.

    Raises:
        InputError: that names what cannot be.
    """
    data = data or p["data"]
    with fault_of("data" if data == p["data"] else "fine_data"):
        summary = summary_of(p, data)
    recipe, words = recipe_of(p, part), check_words(p, data, summary.classes)
    for form, scale in asked:
        check_form(words, form)
        check_guidance(scale)
    check_model(p)
    held = held_in_memory(summary.counts.get("train", 0), p["image_size"], 3)
    check_tests(p, "" if held or not places_of(data, p["image_size"]) else data)
    needs.check_device(p["device"])
    if "extractor" in p:  # chapter 33 measures no images
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
    """Return what the data are; of a folder that is read image by image, names and numbers.

    Raises:
        InputError: if they cannot be read; of such a folder the heads of all images are tried.
    """
    folder = Path(data).expanduser()
    if places := places_of(data, p["image_size"]):
        found = {part: files_of(place) for part, place in places.items()}
        counts = {part: sum(map(len, of.values())) for part, of in found.items()}
        if not held_in_memory(counts["train"], p["image_size"], 3):
            for part, place in places.items():
                check_heads(place, counts[part])
            classes = tuple(found["train"])
            told = f"{p['image_size']} pixels, read when they are asked for"
            return Summary(
                folder.name, "class folders", "yours", len(classes), classes, counts, told,
                side=p["image_size"],
            )  # fmt: skip
    return check(data, data_root=p["data_root"], image_size=p["image_size"])


@cache
def check_heads(place: Path, count: int) -> None:
    """Raise InputError that names the unreadable images of a folder of class folders.

    Their heads are read, and not again as long as there are ``count`` of them.
    """
    say(f"reading the heads of {count:,} images in {place}")
    paths = [*chain.from_iterable(files_of(place).values())]
    refuse(readable(in_threads(header, paths))[2], str(place))


def check_tests(p: Mapping[str, Any], read: str = "") -> None:
    """Raise InputError unless the reader's own tests are folders by the names of tests.

    Args:
        p: the chapter's parameters.
        read: the data set, if its images are read from the disk: tests are made of images in
            memory, so that all others than its own are to be given.
    """
    given = source_paths(p.get("other_tests", ()))
    for name, path in given.items():
        if name not in TESTS[1:]:
            raise InputError(
                f"other_tests has '{name}'{did_you_mean(name, TESTS[1:])}; give some of "
                f"{', '.join(f'{test}=FOLDER' for test in TESTS[1:])}"
            )
        if not (place := Path(path).expanduser()).is_dir():
            raise InputError(
                f"other_tests: '{path}' is no folder; give one of class folders for '{name}'"
            )
        check_heads(place, sum(map(len, files_of(place).values())))
    missing = [test for test in TESTS[1:] if test not in given]
    if read and missing and "other_tests" in p:
        raise InputError(
            f"no memory holds '{read}', and its tests {', '.join(missing)} are made of images in "
            f"memory; give folders of your own by other_tests ({missing[0]}=FOLDER), or a smaller "
            "image_size"
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


def networks_of(p: Mapping[str, Any]) -> dict[str, str]:
    """Return the published networks of chapters 32 and 33, name -> timm's name of the weights.

    Raises:
        InputError: for one that is not given as NAME=timm:NETWORK, and for a name given twice.
    """
    found: dict[str, str] = {}
    for entry in p["real_networks"]:
        name, _, network = entry.partition("=")
        if not name or name in found or not network.startswith(TIMM):
            raise InputError(
                f"real_networks has '{entry}'; give each as NAME={TIMM}NETWORK with a name of its "
                f"own, as in PyTorch={TIMM}resnet50.tv_in1k"
            )
        found[name] = network.removeprefix(TIMM)
    return found


def check_networks(p: Mapping[str, Any], summary: Summary | None) -> None:
    """Raise InputError if a published network cannot name the classes of the data.

    It has a layer for those of ImageNet, in the order of their synsets. ``summary`` is of the data
    of many classes, None without that part.
    """
    if not (networks := networks_of(p)):
        return
    if summary is None:
        raise InputError(
            f"real_networks = {list(p['real_networks'])} are rated in the part classes; add it to "
            "parts, or leave them out"
        )
    how = {"parameter": "real_networks", "data": summary.name}
    for network in networks.values():
        check_published(network, summary.num_classes, **how)
    if [*summary.classes] != [words.name for words in class_words(IMAGENET)]:
        raise InputError(
            f"real_networks know the classes of ImageNet, and '{summary.name}' has others; name "
            "its class folders by synset, n01440764 and so on, or leave real_networks out"
        )


def training_images(p: Mapping[str, Any], summary: Summary) -> int:
    """Return how many photographs, or images of a clone of their size, are learned from."""
    count = sum(n for split, n in summary.counts.items() if "train" in split)
    return min(count, p["set_size"] or count)


# -- Photographs -----------------------------------------------------------------------------------


def held_in_memory(count: float, side: int, channels: int) -> bool:
    """Return whether so many images are to be held, and not read from the disk again and again."""
    return count * side**2 * channels < memory() / HELD


def places_of(data: str, image_size: int) -> dict[str, Path]:
    """Return the parts of a folder that may be read image by image, and of all else none.

    It has train and test, and its images are brought to one size.
    """
    folder = Path(data).expanduser()
    places = layout(folder) if folder.is_dir() and image_size else {}
    return places if "train" in places else {}


def sets_of(p: Any, data: str) -> Splits | Parts:
    """Return the parts of a data set; of a folder that no memory holds, parts that are read.

    Such a folder has train and test. What is held out of it is the test, too: nothing is chosen
    on it.
    """
    folder = Path(data).expanduser()
    if places := places_of(data, p.image_size):
        of_class = files_of(places["train"])
        if not held_in_memory(sum(map(len, of_class.values())), p.image_size, 3):
            how = {"image_size": p.image_size, "name": folder.name}
            parts = {part: of_folder(place, **how) for part, place in places.items()}
            return Parts(parts["train"], parts.get("val", parts["test"]), parts["test"])
    return load(data, data_root=p.data_root, image_size=p.image_size)


def check_validated(p: Mapping[str, Any], data: str, remedy: str = "") -> None:
    """Raise InputError if the validation part of a data set would be its test (`sets_of`)."""
    places = places_of(data, p["image_size"])
    if not places or "val" in places:
        return
    if not held_in_memory(sum(map(len, files_of(places["train"]).values())), p["image_size"], 3):
        raise InputError(
            f"'{data}' has no validation part, and nothing is chosen on its test; add a folder "
            f"val{remedy}"
        )


class Parts(NamedTuple):
    """The parts of a set whose images are read when they are asked for."""

    train: Deferred
    val: Deferred
    test: Deferred
