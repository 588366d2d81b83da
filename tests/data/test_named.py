"""The named sets, from every place that they may lie in, and the two photographs."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from synthbook.data import available, check, concatenate, fetch, load
from synthbook.data.named import crops, photographs
from synthbook.errors import InputError

RNG = np.random.default_rng(0)
BUNDLED = {"digits", "mnist5k", "caltech10", "caltech10_fine"}
BUNDLED |= {"caltech101", "caltech97", "caltech3"}
TEN = {
    "x_train": RNG.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8),
    "y_train": np.arange(40) % 10,
    "x_test": RNG.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8),
    "y_test": np.arange(10),
}


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    splits, digits = load("digits"), load_digits()
    ours = concatenate(splits.train, splits.val, splits.test)
    values = np.rint(ours.images * (16 / 255)).reshape(len(ours), 64)
    got, wanted = np.c_[values, ours.labels], np.c_[digits.data, digits.target]
    assert sorted(got.tolist()) == sorted(wanted.tolist())


@pytest.mark.parametrize("ask", [load, check])
def test_data_root_that_has_not_got_it(tmp_path, ask):
    with pytest.raises(InputError, match=r"'stl10' is not under.*--download"):
        ask("stl10", data_root=str(tmp_path))
    with pytest.raises(InputError, match="is no folder"):
        ask("stl10", data_root=str(tmp_path / "nowhere"))


def test_available_lists_every_set_with_its_terms(tmp_path):
    rows = available()
    assert {row["name"] for row in rows if row["present"]} == BUNDLED
    assert all(row["origin"] and row["licence"] and row["citation"] for row in rows)
    assert all("--download" in row["how"] for row in rows if not row["present"])
    (tmp_path / "svhn.npz").touch()
    present = {row["name"] for row in available(str(tmp_path)) if row["present"]}
    assert present == BUNDLED | {"svhn"}


def test_fetch_asks_for_a_root_and_does_nothing_for_bundled_sets(tmp_path):
    with pytest.raises(InputError, match="needs data_root"):
        fetch("cifar10", "")
    with pytest.raises(InputError, match="'caltech10' is bundled"):
        fetch("caltech10", "")
    with pytest.raises(InputError, match="unknown data set"):
        fetch("nothing", str(tmp_path))
    assert fetch("digits", str(tmp_path)) == tmp_path


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


@pytest.mark.parametrize("change", [lambda x: x[:-1], lambda x: b"", lambda x: b"\x0b" + x[1:]])
def test_cifar_files_cut_short_or_with_foreign_labels(tmp_path, change):
    cifar(tmp_path)
    file = tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(InputError, match=r"data_batch_3.bin has .* records of 3073 with labels be"):
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
    np.savez(tmp_path / "cifar10.npz", **TEN)
    splits = load("cifar10", data_root=str(tmp_path))
    assert (len(splits.test), splits.name, splits.classes[0]) == (10, "cifar10", "airplane")
    np.savez(tmp_path / "cifar10.npz", **{**TEN, "y_train": np.arange(40) % 2, "y_test": [1] * 10})
    for ask in (load, check):
        with pytest.raises(InputError, match=r"has 2 classes, but 'cifar10' has 10; if it is a"):
            ask("cifar10", data_root=str(tmp_path))


def test_a_named_folder_and_caltech_s_clutter(tmp_path):
    blank = Image.new("L", (4, 4))
    classes = [f"class{k:03}" for k in range(101)]
    for top in ("caltech101_original", "caltech101/101_ObjectCategories"):  # the official one
        for name in (*classes, "BACKGROUND_Google"):
            (tmp_path / top / name).mkdir(parents=True)
            for k in range(3):
                blank.save(tmp_path / top / name / f"{k}.png")
        splits = load("caltech101_original", data_root=str(tmp_path))
        assert splits.classes == tuple(classes)
        assert [len(part) for part in (splits.train, splits.val, splits.test)] == [101] * 3
    (tmp_path / "caltech101" / "101_ObjectCategories" / "class007").rename(tmp_path / "moved")
    with pytest.raises(InputError, match="has 100 classes, but 'caltech101_original' has 101"):
        check("caltech101_original", data_root=str(tmp_path))


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
    from torchvision.datasets import utils

    download = Mock()
    monkeypatch.setattr(utils, "download_and_extract_archive", download)
    fetch("cifar10", str(tmp_path))
    cifar(tmp_path)
    fetch("cifar10", str(tmp_path))  # it is there already
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    md5 = "c32a1d4ab5d03f1284b67883e8d87530"
    download.assert_called_once_with(url, str(tmp_path), md5=md5)


# Photographs


def test_the_photographs_are_those_of_scikit_learn():
    from sklearn.datasets import load_sample_image

    found = photographs()
    assert list(found) == ["china", "flower"]
    for name, image in found.items():
        assert image.shape == (427, 640, 3)
        assert (image == load_sample_image(f"{name}.jpg")).all()


def test_crops_are_squares_of_the_images_by_seed():
    images = {"a": np.arange(20 * 30 * 3, dtype=np.uint16).reshape(20, 30, 3)}
    found = crops(images, 50, 8, 0)["a"]
    assert found.shape == (50, 8, 8, 3)
    for one in found:
        top, left = divmod(int(one[0, 0, 0]) // 3, 30)
        assert (one == images["a"][top : top + 8, left : left + 8]).all()
    assert (found == crops(images, 50, 8, 0)["a"]).all()
    assert (found != crops(images, 50, 8, 1)["a"]).any()
    assert (crops(images, 2, 20, 0)["a"].shape) == (2, 20, 20, 3)


def test_squares_larger_than_the_image_are_refused():
    with pytest.raises(InputError, match="30 x 20 pixels"):
        crops({"a": np.zeros((20, 30, 3), np.uint8)}, 1, 21, 0)


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
