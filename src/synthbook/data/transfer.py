"""The sets on which frozen features are probed: by name, how each is read, split and rated.

Ten of Table 2 of Sariyildiz et al. (CVPR 2023), the five levels of ImageNet-CoG (Sariyildiz et al.,
ICCV 2021), and at the book's own size whatever `load` has by name, with the fine classes that the
photographs' ten kinds leave over. Nothing is downloaded. Training and validation parts are one: the
probe draws its held-out part itself, with several seeds, as the cited protocol does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from synthbook.data import bundled
from synthbook.data.deferred import Deferred, deferred, of_files
from synthbook.data.files import classes_of, layout
from synthbook.data.images import concatenate
from synthbook.data.loading import load
from synthbook.data.named import REGISTRY
from synthbook.errors import InputError, did_you_mean
from synthbook.randomness import numpy_generator
from synthbook.store import path_of

SEED = 0  # of the one test part that is drawn here, EuroSAT's


class Found(NamedTuple):
    """The files of one part: paths, labels [N], and class names."""

    paths: list[Path]
    labels: list[int]
    classes: list[str]


Parts = dict[str, Found]


@dataclass(frozen=True)
class Entry:
    """One set: ``counts`` of the images of its training (with validation) and test part.

    ``place`` is what its official files lie in, under ``data_root``, and ``read`` finds them; a set
    of a kind that is always brought as folders has none. ``metric`` is what the paper prints.
    """

    name: str
    what: str
    num_classes: int
    counts: tuple[int, int]
    split: str
    place: str = ""
    read: Callable[[Path], Parts] | None = None
    metric: str = "top1"
    long_tail: bool = False

    def official(self, root: Path) -> bool:
        """Return whether the official files seem to be under ``root``."""
        return bool(self.place) and (root / self.place).is_dir()

    def how_to_get(self, root: Path) -> str:
        """Return in one clause where the files have to lie."""
        official = f"its official files into {root / self.place}, or " if self.place else ""
        return (
            f"put {official}class folders into {root / self.name}/train and {root / self.name}/test"
        )


@dataclass(frozen=True, eq=False)
class Transfer:
    """A set with its parts, unread. ``train`` holds the validation part, too."""

    name: str
    train: Deferred
    test: Deferred
    metric: str = "top1"
    long_tail: bool = False


# How official files are read


def _torchvision(kind: str, parts: Mapping[str, Sequence[Mapping[str, str]]]) -> Callable:
    """Return the reader of torchvision's set ``kind``; ``parts`` are the arguments for each part.

    Its ``loader`` gets a path and would decode it; here it hands the path on.
    """

    def read(root: Path) -> Parts:
        from torchvision import datasets

        found = {}
        for part, each in parts.items():
            sets = [
                getattr(datasets, kind)(str(root), download=False, loader=Path, **how)
                for how in each
            ]
            examples = [one[k] for one in sets for k in range(len(one))]
            names = [str(name) for name in sets[0].classes]
            found[part] = Found([path for path, _ in examples], [k for _, k in examples], names)
        return found

    return read


def _split(*names: str) -> list[dict[str, str]]:
    return [{"split": name} for name in names]


def _eurosat(root: Path) -> Parts:
    """Draw 30 % of each class for the test, once for all: 8,100 images; 18,900 are left."""
    whole = _torchvision("EuroSAT", {"all": [{}]})(root)["all"]
    labels, test = np.array(whole.labels), np.zeros(len(whole.labels), bool)
    for k in range(len(whole.classes)):
        drawn = numpy_generator(SEED, "eurosat", k).permutation(np.flatnonzero(labels == k))
        test[drawn[: round(0.3 * len(drawn))]] = True
    parts = {"train": np.flatnonzero(~test), "test": np.flatnonzero(test)}
    return {
        part: Found([whole.paths[i] for i in of], labels[of].tolist(), whole.classes)
        for part, of in parts.items()
    }


def _pets(root: Path) -> Parts:
    """Read annotations/trainval.txt and test.txt: a name such as Abyssinian_100, a class from 1."""
    folder, found = root / "oxford-iiit-pet", {}
    for part, name in (("train", "trainval"), ("test", "test")):
        lines = [line.split() for line in _lines(folder / "annotations" / f"{name}.txt")]
        breeds = {int(line[1]) - 1: line[0].rpartition("_")[0] for line in lines}
        paths = [folder / "images" / f"{line[0]}.jpg" for line in lines]
        names = [breeds[k] for k in sorted(breeds)]
        found[part] = Found(paths, [int(line[1]) - 1 for line in lines], names)
    return found


def _sun397(root: Path) -> Parts:
    """Read the first official partition: lists of /a/abbey/sun_aaa.jpg, 50 of a class each."""
    folder, found = root / "SUN397", {}
    names = [name.strip("/") for name in _lines(folder / "ClassName.txt")]
    number = {name: k for k, name in enumerate(names)}
    for part, file in (("train", "Training_01.txt"), ("test", "Testing_01.txt")):
        listed = [name.strip("/") for name in _lines(folder / file)]
        labels = [number[name.rpartition("/")[0]] for name in listed]
        found[part] = Found([folder / name for name in listed], labels, names)
    return found


def _inaturalist(year: int) -> Callable[[Path], Parts]:
    """Return the reader of a year's files; the validation part is the test, whose labels are out.

    Images, annotations and categories stand in train<year>.json and val<year>.json.
    """

    def read(root: Path) -> Parts:
        folder, found = root / f"inat{year}", {}
        for part, name in (("train", "train"), ("test", "val")):
            content = json.loads((folder / f"{name}{year}.json").read_text(encoding="utf-8"))
            files = {image["id"]: folder / image["file_name"] for image in content["images"]}
            marks = [(one["image_id"], one["category_id"]) for one in content["annotations"]]
            species = {one["id"]: str(one["name"]) for one in content["categories"]}
            names = [species[k] for k in sorted(species)]
            found[part] = Found([files[i] for i, _ in marks], [k for _, k in marks], names)
        return found

    return read


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


# What there is

# fmt: off
_ENTRIES = (
    Entry("aircraft", "variants of aircraft (Maji et al. 2013)", 100, (6_667, 3_333),
          "official; train and val together", "fgvc-aircraft-2013b",
          _torchvision("FGVCAircraft", {"train": _split("trainval"), "test": _split("test")})),
    Entry("cars196", "makes of cars (Krause et al. 2013)", 196, (8_144, 8_041), "official",
          "stanford_cars",
          _torchvision("StanfordCars", {"train": _split("train"), "test": _split("test")})),
    Entry("dtd", "textures (Cimpoi et al. 2014)", 47, (3_760, 1_880),
          "official partition 1; train and val together", "dtd",
          _torchvision("DTD", {"train": _split("train", "val"), "test": _split("test")})),
    Entry("eurosat", "land from a satellite (Helber et al. 2019)", 10, (18_900, 8_100),
          "there is none: 30 % of each class are drawn for the test, once for all", "eurosat",
          _eurosat),
    Entry("flowers102", "flowers (Nilsback and Zisserman 2008)", 102, (2_040, 6_149),
          "official; train and val together", "flowers-102",
          _torchvision("Flowers102", {"train": _split("train", "val"), "test": _split("test")})),
    Entry("oxford_pets", "breeds of cats and dogs (Parkhi et al. 2012)", 37, (3_680, 3_669),
          "official", "oxford-iiit-pet", _pets),
    Entry("food101", "dishes (Bossard et al. 2014)", 101, (75_750, 25_250), "official", "food-101",
          _torchvision("Food101", {"train": _split("train"), "test": _split("test")})),
    Entry("sun397", "scenes (Xiao et al. 2010)", 397, (19_850, 19_850),
          "official partition 1: 50 images of a class in each part", "SUN397", _sun397),
    Entry("inat2018", "species, long tail (Van Horn et al. 2018)", 8_142, (437_513, 24_426),
          "official train; official val is the test", "inat2018", _inaturalist(2018),
          long_tail=True),
    Entry("inat2019", "species, long tail (Van Horn et al. 2018)", 1_010, (265_213, 3_030),
          "official train; official val is the test", "inat2019", _inaturalist(2019),
          long_tail=True),
    *(Entry(f"cog_l{k}", f"ImageNet-CoG, level {k} of 5 of growing distance to ImageNet's classes",
            1_000, (0, 0), "official, 50 test images of a class, as folders") for k in range(1, 6)),
)
# fmt: on
TRANSFER = {entry.name: entry for entry in _ENTRIES}
TEN = tuple(entry.name for entry in _ENTRIES[:10])  # the columns of Table 2, in its order
OTHER_CLASSES = "caltech101_others"  # the 32 fine classes of caltech101 that have no kind
MINI = (OTHER_CLASSES, "digits", "mnist5k")  # come with the book; for encoders of caltech10


def names() -> list[str]:
    """Return every name that `open_transfer` knows."""
    return list(dict.fromkeys((*TRANSFER, OTHER_CLASSES, *REGISTRY)))


def open_transfer(
    name: str, *, data_root: str = "", image_size: int = 0, channels: int = 3,
    without: Sequence[str] = (),
) -> Transfer:  # fmt: skip
    """Return a set by name, or a folder or .npz as `load` takes it; its files are not yet decoded.

    ``image_size`` is the side of the squares that are read, 0 as the images are (only where all
    have one size); ``without`` names classes to leave out, such as those that the encoder learned.

    Raises:
        InputError: for an unknown name, a ``data_root`` that is missing or lacks the set, and files
            that are not what the set has.
    """
    if name in TRANSFER:
        train, test = _by_files(TRANSFER[name], data_root, image_size, channels)
    else:
        train, test = _by_load(name, data_root, image_size, channels)
    if without:
        train, test = train.without(without), test.without(without)
    entry = TRANSFER.get(name)
    rules = (entry.metric, entry.long_tail) if entry else ()
    return Transfer(name, train, test, *rules)


def _by_load(
    name: str, data_root: str, image_size: int, channels: int
) -> tuple[Deferred, Deferred]:
    data = "caltech101" if name == OTHER_CLASSES else name
    if data not in REGISTRY and not _like_a_path(data):
        raise InputError(
            f"no transfer set is called '{name}'{did_you_mean(name, names())}; there are "
            f"{', '.join(names())}, or give the path of a folder of class folders or of an .npz"
        )
    splits = load(data, data_root=data_root, image_size=image_size, channels=channels)
    train, test = concatenate(splits.train, splits.val, name=name), splits.test
    if name == OTHER_CLASSES:
        train, test = (part.of_classes(bundled.NO_KIND) for part in (train, test))
    return deferred(train), deferred(test)


def _like_a_path(name: str) -> bool:
    """Return whether a name that no set has is that of files: it looks so, or a folder has it."""
    if not name or name[0] in ".~" or len(Path(name).parts) > 1 or Path(name).suffix == ".npz":
        return True
    return path_of(name).is_dir()


def _by_files(
    entry: Entry, data_root: str, image_size: int, channels: int
) -> tuple[Deferred, Deferred]:
    if not data_root:
        raise InputError(
            f"'{entry.name}' needs data_root, the folder its files are in; "
            f"{entry.how_to_get(Path('DATA_ROOT'))}"
        )
    root = Path(data_root).expanduser()
    if not root.is_dir():
        raise InputError(f"data_root {root} is no folder; create it or correct the path")
    own = root / entry.name
    if (own / "train").is_dir() and any(path.is_dir() for path in (own / "train").iterdir()):
        found, counts = _folders(own), (0, 0)
    elif entry.official(root):
        found, counts = _official(entry, root), entry.counts
    else:
        raise InputError(f"'{entry.name}' is not under {root}; {entry.how_to_get(root)}")
    how = {"image_size": image_size, "channels": channels}
    parts = []
    for part, count in zip(("train", "test"), counts, strict=True):
        paths, labels, classes = found[part]
        said = f"the {part} part of '{entry.name}' under {root} has"
        if len(classes) != entry.num_classes:
            raise InputError(
                f"{said} {len(classes):,} classes, not {entry.num_classes:,}; complete it, or give "
                "a set of your own by its path"
            )
        if count and len(paths) != count:
            raise InputError(
                f"{said} {len(paths):,} images, not {count:,}; complete it, or bring it as class "
                f"folders in {own}"
            )
        parts.append(of_files(paths, np.array(labels), classes, entry.name, **how))
    train, test = parts
    if train.classes != test.classes:
        raise InputError(
            f"the parts of '{entry.name}' under {root} have different classes; name the class "
            "folders of both alike"
        )
    return train, test


def _folders(folder: Path) -> Parts:
    """Read train (with val, if it is there) and test of class folders."""
    found = {part: classes_of(path) for part, path in layout(folder).items()}
    parts: dict[str, Found] = {}
    for part, of_class in found.items():
        classes = list(of_class)
        pairs = [(path, k) for k, paths in enumerate(of_class.values()) for path in paths]
        here = Found([path for path, _ in pairs], [k for _, k in pairs], classes)
        into = "test" if part == "test" else "train"
        before = parts.get(into)
        if before and before.classes != classes:
            raise InputError(f"train and val in {folder} have different classes; make them alike")
        both = (before.paths + here.paths, before.labels + here.labels) if before else here[:2]
        parts[into] = Found(*both, classes)
    return parts


def _official(entry: Entry, root: Path) -> Parts:
    try:
        return entry.read(root)
    except Exception as error:  # damaged files raise nearly anything
        raise InputError(
            f"the files of '{entry.name}' in {root / entry.place} are incomplete or damaged "
            f"({type(error).__name__}: {str(error)[:200]}); {entry.how_to_get(root)}"
        ) from error
