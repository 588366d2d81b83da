"""Archives of arrays, and named sets read from files: CIFAR's binary ones, torchvision's."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthbook.data import check, fetch, load
from synthbook.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(40) % 2
PARTS = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:10], "y_test": LABELS[:10]}


def save(path: Path, **arrays) -> str:
    np.savez(path, **arrays)
    return str(path)


def test_parts(tmp_path):
    splits = load(save(tmp_path / "mine.npz", **PARTS))
    assert (len(splits.train), splits.val.counts().tolist()) == (36, [2, 2])
    assert (splits.test.images == IMAGES[:10]).all()
    assert (splits.name, splits.classes) == ("mine", ("0", "1"))
    rows = np.concatenate([splits.train.images, splits.val.images]).reshape(40, -1)
    assert sorted(rows.tolist()) == sorted(IMAGES.reshape(40, -1).tolist())
    with_val = load(
        save(tmp_path / "v.npz", **PARTS, x_val=IMAGES[:5], y_val=LABELS[:5], names=["no", "yes"])
    )
    assert (len(with_val.train), len(with_val.val), with_val.classes) == (40, 5, ("no", "yes"))


def test_a_pool_is_split_60_10_30(tmp_path):
    path = save(tmp_path / "pool.npz", images=IMAGES, labels=LABELS, classes=["no", "yes"])
    splits, summary = load(path), check(path)
    assert dict(summary.counts) == {"train": 24, "val": 4, "test": 12}
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [24, 4, 12]
    assert (summary.classes, summary.size) == (("no", "yes"), "8 x 8 pixels")


@pytest.mark.parametrize(
    ("images", "channels"),
    [
        (IMAGES, 3),
        (IMAGES.transpose(0, 3, 1, 2), 3),
        (np.asfortranarray(IMAGES), 3),
        (IMAGES[..., 0], 1),
        (IMAGES[..., :1], 1),
        (IMAGES[:, None, :, :, 0], 1),
    ],
)
def test_orders_of_axes(tmp_path, images, channels):
    splits = load(save(tmp_path / "x.npz", **{**PARTS, "x_train": images, "x_test": images[:10]}))
    assert (splits.test.images == IMAGES[:10, :, :, :channels]).all()


def test_labels_in_a_column_and_of_any_integer_type(tmp_path):
    path = save(tmp_path / "x.npz", **{**PARTS, "y_train": LABELS.astype(np.uint8)[:, None]})
    assert load(path).train.counts().tolist() == [18, 18]


@pytest.mark.parametrize("compressed", [False, True])
def test_check_reads_no_images(tmp_path, compressed, monkeypatch):
    (np.savez_compressed if compressed else np.savez)(tmp_path / "x.npz", **PARTS)
    from synthbook.data import npz as arrays

    read = []
    array = arrays.array
    monkeypatch.setattr(arrays, "array", lambda path, key: read.append(key) or array(path, key))
    check(str(tmp_path / "x.npz"))
    assert sorted(read) == ["y_test", "y_train"]


def without(key: str) -> dict:
    return {name: value for name, value in PARTS.items() if name != key}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (without("y_test"), "lacks y_test: it holds x_test, x_train, y_train; name its arrays"),
        ({"a": IMAGES}, "lacks x_train, y_train, x_test, y_test: it holds a;"),
        ({}, "it holds nothing"),
        ({**PARTS, "x_val": IMAGES}, "lacks y_val"),
        ({**PARTS, "x_train": IMAGES / 255}, r"'x_train' .* is float64; .*\(255 \* x\)"),
        ({**PARTS, "x_train": IMAGES.astype(int)}, "'x_train' .* is int64; save it as uint8"),
        ({**PARTS, "x_train": IMAGES[..., :2]}, r"'x_train' .* shape \[40, 8, 8, 2\]"),
        ({**PARTS, "x_train": IMAGES.reshape(40, -1)}, r"shape \[40, 192\]; save it as"),
        ({**PARTS, "x_train": IMAGES.astype(object)}, "'x_train' .* Python objects"),
        ({**PARTS, "y_train": LABELS.astype(object)}, "'y_train' .* cannot be read"),
        ({**PARTS, "y_train": LABELS * 1.0}, "'y_train' .* is float64; save labels as integers"),
        ({**PARTS, "y_train": LABELS.astype(str)}, "save labels as integers"),
        ({**PARTS, "y_train": np.eye(2, dtype=int)[LABELS]}, r"\[40, 2\].*argmax"),
        ({**PARTS, "y_train": LABELS[:39]}, "40 images in 'x_train' but 39 labels in 'y_train'"),
        ({**PARTS, "x_test": IMAGES[:0], "y_test": LABELS[:0]}, "'x_test' .* has no image"),
        ({**PARTS, "y_train": LABELS - 1}, "labels in .* run from -1 to 1; number them from 0"),
        (
            {**PARTS, "y_train": LABELS + 1, "y_test": LABELS[:10] + 1},
            "run from 1 to 2; number them from 0 to 1",
        ),
        ({**PARTS, "y_train": LABELS * 2, "y_test": LABELS[:10] * 2}, "class '1' .* no image"),
        ({**PARTS, "names": ["only"]}, "run from 0 to 1; number them from 0 to 0"),
        ({**PARTS, "names": np.arange(2)}, r"'names' .* is int64 \[2\]; save it as a list of str"),
        ({**PARTS, "names": np.array(["a", None])}, "'names' .* is object"),
        ({**PARTS, "y_train": LABELS * 0, "y_test": LABELS[:10] * 0}, "one class only, '0'"),
        ({**PARTS, "y_test": LABELS[:10] + 1}, "class '2' of 'x' has no image in train"),
    ],
)
def test_what_is_refused(tmp_path, arrays, message):
    path = save(tmp_path / "x.npz", **arrays)
    for ask in (load, check):
        with pytest.raises(InputError, match=message):
            ask(path)


def test_files_that_are_no_archive_or_damaged(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"no archive")
    for ask in (load, check):
        with pytest.raises(InputError, match=r"no readable \.npz archive"):
            ask(str(path))
    save(path, **PARTS)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"no readable \.npz archive"):
        check(str(path))
    at = whole.index(IMAGES.tobytes()[:64]) + 32  # one pixel differs from what its CRC says
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    with pytest.raises(InputError, match=r"'x_train' in .* cannot be read \(Bad CRC"):
        load(str(path))


def test_sizes_in_archives(tmp_path):
    path = save(tmp_path / "x.npz", **{**PARTS, "x_test": IMAGES[:10, :6, :6]})
    assert check(path).size == "between 6 x 6 and 8 x 8 pixels"
    for ask in (load, check):
        with pytest.raises(InputError, match="set image_size"):
            ask(path, image_size=0)
    assert load(path, image_size=6).train.images.shape[1:] == (6, 6, 3)


# Named sets


def cifar(root: Path, count: int = 40) -> None:
    """Write CIFAR-10's six binary files with ``count`` records each."""
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for k in range(6):
        rng = np.random.default_rng(k)
        records = rng.integers(0, 256, (count, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(count) % 10
        records.tofile(folder / (f"data_batch_{k}.bin" if k else "test_batch.bin"))


def test_cifar10_from_its_binary_files(tmp_path):
    cifar(tmp_path)
    assert check("cifar10", data_root=str(tmp_path)).num_classes == 10
    splits = load("cifar10", data_root=str(tmp_path))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [180, 20, 40]
    assert splits.classes[3] == "cat"
    raw = np.fromfile(tmp_path / "cifar-10-batches-bin/test_batch.bin", np.uint8).reshape(40, 3073)
    assert (splits.test.labels == raw[:, 0]).all()
    red, green, blue = raw[7, 1:].reshape(3, 32, 32)
    assert (splits.test.images[7] == np.dstack([red, green, blue])).all()


def test_cifar_files_cut_short_or_with_foreign_labels(tmp_path):
    cifar(tmp_path)
    file = tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    for ask in (load, check):
        with pytest.raises(InputError, match=r"data_batch_3.bin has 122919 bytes"):
            ask("cifar10", data_root=str(tmp_path))
    file.write_bytes(b"\x0b" + whole[1:])
    with pytest.raises(InputError, match="label 11 in train"):
        load("cifar10", data_root=str(tmp_path))


def test_cifar100_takes_the_fine_label(tmp_path):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    for part in ("train", "test"):
        records = np.zeros((200, 3074), np.uint8)
        records[:, 0] = 19
        records[:, 1] = np.arange(200) % 100
        records.tofile(folder / f"{part}.bin")
    (folder / "fine_label_names.txt").write_text("\n".join(f"name{k}" for k in range(100)) + "\n")
    splits = load("cifar100", data_root=str(tmp_path))
    assert splits.test.counts().tolist() == [2] * 100
    assert splits.classes[99] == "name99"


def test_a_named_archive_comes_first_and_gets_the_set_s_classes(tmp_path):
    cifar(tmp_path)
    ten = {**PARTS, "y_train": np.arange(40) % 10, "y_test": np.arange(10)}
    save(tmp_path / "cifar10.npz", **ten)
    splits = load("cifar10", data_root=str(tmp_path))
    assert (len(splits.test), splits.name, splits.classes[0]) == (10, "cifar10", "airplane")
    save(tmp_path / "cifar10.npz", **PARTS)
    for ask in (load, check):
        with pytest.raises(InputError, match=r"has 2 classes, but 'cifar10' has 10; if it is a"):
            ask("cifar10", data_root=str(tmp_path))


def test_a_named_folder_and_caltech_s_clutter(tmp_path):
    blank = Image.new("L", (4, 4))
    classes = [f"class{k:03}" for k in range(101)]
    for top in ("caltech101", "caltech101/101_ObjectCategories"):  # the second is the official one
        for name in (*classes, "BACKGROUND_Google"):
            (tmp_path / top / name).mkdir(parents=True)
            for k in range(3):
                blank.save(tmp_path / top / name / f"{k}.png")
        splits = load("caltech101", data_root=str(tmp_path))
        assert splits.classes == tuple(classes)
        assert [len(part) for part in (splits.train, splits.val, splits.test)] == [101] * 3
    (tmp_path / "caltech101" / "101_ObjectCategories" / "class007").rename(tmp_path / "moved")
    with pytest.raises(InputError, match="has 100 classes, but 'caltech101' has 101"):
        check("caltech101", data_root=str(tmp_path))


def idx(path: Path, values: np.ndarray) -> None:
    """Write MNIST's format: magic, sizes (big-endian), bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(f">{1 + values.ndim}i", 0x0800 + values.ndim, *values.shape)
    path.write_bytes(head + values.astype(np.uint8).tobytes())


@pytest.mark.slow
def test_fashion_mnist_through_torchvision(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    images = RNG.integers(0, 256, (100, 28, 28), dtype=np.uint8)
    for part, count in (("train", 100), ("t10k", 30)):
        idx(raw / f"{part}-images-idx3-ubyte", images[:count])
        idx(raw / f"{part}-labels-idx1-ubyte", np.arange(count) % 10)
    assert check("fashion_mnist", data_root=str(tmp_path)).size == "28 x 28 pixels"
    splits = load("fashion_mnist", data_root=str(tmp_path), image_size=0)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [90, 10, 30]
    assert (splits.test.images[..., 0] == images[:30]).all()
    assert splits.classes[9] == "Ankle boot"
    large = load("fashion_mnist", data_root=str(tmp_path), image_size=32, channels=3)
    assert large.test.images.shape == (30, 32, 32, 3)
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"'fashion_mnist' .* is incomplete"):
        load("fashion_mnist", data_root=str(tmp_path))


@pytest.mark.slow
def test_fetch_gives_torchvision_the_address_and_the_md5(tmp_path, monkeypatch):
    from torchvision import datasets

    calls = []
    monkeypatch.setattr(
        datasets.utils,
        "download_and_extract_archive",
        lambda url, root, md5: calls.append((url, root, md5)),
    )
    fetch("cifar10", str(tmp_path / "new"))
    assert calls[0][0].endswith("cifar-10-binary.tar.gz")
    assert calls[0][1:] == (str(tmp_path / "new"), "c32a1d4ab5d03f1284b67883e8d87530")
    cifar(tmp_path)
    fetch("cifar10", str(tmp_path))  # it is there already
    assert len(calls) == 1


# Real data, where a machine has them


@pytest.fixture
def real_root():
    root = os.environ.get("SYNTHBOOK_DATA", "")
    if not (Path(root) / "cifar10.npz").is_file():
        pytest.skip("SYNTHBOOK_DATA names no folder with cifar10.npz")
    return root


def test_the_papers_split_of_cifar10(real_root):
    splits = load("cifar10", data_root=real_root)
    assert splits.train.counts().tolist() == [4500] * 10
    assert splits.val.counts().tolist() == [500] * 10
    assert splits.test.counts().tolist() == [1000] * 10
    assert dict(check("cifar10", data_root=real_root).counts) == {
        "train": 45_000, "val": 5_000, "test": 10_000,
    }  # fmt: skip
