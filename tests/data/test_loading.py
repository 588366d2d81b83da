"""What `load` and `check` take: names, paths and options; and that they agree."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from synthbook import machine
from synthbook.data import ImageSet, check, load
from synthbook.data.loading import check_generated, load_generated
from synthbook.errors import InputError


@pytest.mark.parametrize(
    ("name", "sizes", "side"), [("digits", (300, 197, 1300), 8), ("mnist5k", (1000, 500, 3500), 28)]
)
def test_bundled_sets(name, sizes, side):
    splits, again = load(name), load(name)
    parts = (splits.train, splits.val, splits.test)
    assert tuple(map(len, parts)) == sizes
    assert splits.skipped == ()
    for part, same in zip(parts, (again.train, again.val, again.test), strict=True):
        assert part.images.shape[1:] == (side, side, 1)
        assert (part.images.min(), part.images.max()) == (0, 255)
        assert part.classes == tuple("0123456789")
        assert part.fingerprint() == same.fingerprint()
        assert np.ptp(part.counts()) <= 0.02 * len(part) + 2  # nearly balanced, as the whole is
    summary = check(name)
    assert tuple(summary.counts[split] for split in ("train", "val", "test")) == sizes
    assert summary.size == f"{side} x {side} pixels"


def test_own_images_in_train_and_in_another_part_are_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(machine, "say", said.append)
    draw = np.random.default_rng(0)
    train, test = draw.integers(0, 256, (2, 40, 6, 6, 3), dtype=np.uint8)
    labels = np.arange(40) % 2
    own = {"x_train": train, "y_train": labels, "x_test": test, "y_test": labels}
    for _ in range(2):
        np.savez(tmp_path / "mine.npz", **own, x_val=test[:9], y_val=labels[:9])
        load(str(tmp_path / "mine.npz"))
        own["x_test"] = test = np.concatenate([train[:3], test[3:]])
    assert said == [
        "3 of 40 test images and 3 of 9 validation images of 'mine' are among its training images, "
        "too; remove the duplicates, or accuracies come out too high"
    ]
    load("digits")
    assert len(said) == 1


def test_image_size_and_channels():
    native, large = load("digits"), load("digits", image_size=16, channels=3)
    assert large.train.images.shape == (300, 16, 16, 3)
    assert (large.train.images[..., 0] == large.train.images[..., 2]).all()
    assert (large.train.labels == native.train.labels).all()
    small = large.train.images[..., 0].astype(float).mean((1, 2))
    assert np.abs(small - native.train.images[..., 0].mean((1, 2))).max() < 6


@pytest.mark.parametrize("image_size", [-1, 3, 5000, True, "8"])
def test_bad_image_size_and_channels(image_size):
    for ask in (load, check):
        with pytest.raises(InputError, match="image_size is"):
            ask("digits", image_size=image_size)
        with pytest.raises(InputError, match="channels is 2"):
            ask("digits", channels=2)


@pytest.mark.parametrize("ask", [load, check])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("cifra10", r"unknown data set 'cifra10'; did you mean 'cifar10'\? \(known: digits, "),
        ("cifar10", "'cifar10' needs data_root.*--download.*cifar10.npz"),
        ("./nowhere", "data './nowhere' does not exist"),
        ("nowhere.npz", "data 'nowhere.npz' does not exist"),
        ("", "unknown data set ''"),
        (__file__, "is a file, but no .npz"),
    ],
)
def test_names_and_paths_that_are_none(ask, data, message):
    with pytest.raises(InputError, match=message):
        ask(data)


# Generated images


@pytest.fixture
def like():
    """Real images of 8 x 8 pixels in two classes, in this order."""
    images = np.zeros((2, 8, 8, 1), np.uint8)
    return ImageSet(images, np.arange(2), ("dog", "cat"), "real")


def test_generated_images_get_size_channels_and_order_of_classes(tmp_path, like):
    for name, value in (("cat", 10), ("dog", 20), ("dog", 21)):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.new("RGB", (12, 12), (value,) * 3).save(tmp_path / name / f"{value}.png")
    assert check_generated(str(tmp_path), like.classes).tolist() == [2, 1]
    assert check_generated(str(tmp_path), ()).tolist() == [1, 2]  # classes not known: by name
    made = load_generated(str(tmp_path), like)
    assert made.images.shape == (3, 8, 8, 1)
    assert made.classes == ("dog", "cat")
    assert sorted(zip(made.labels, made.images[:, 0, 0, 0], strict=True)) == [
        (0, 20), (0, 21), (1, 10),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "order"), [({}, [0, 1, 1]), ({"names": ["cat", "dog"]}, [0, 0, 1])]
)
def test_classes_of_an_npz_go_by_name_or_by_number(tmp_path, like, names, order):
    pixels = np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((8, 8), np.uint8)
    np.savez(tmp_path / "made.npz", images=pixels, labels=[0, 1, 1], **names)
    made = load_generated(str(tmp_path / "made.npz"), like)
    assert sorted(made.labels.tolist()) == order
    assert check_generated(str(tmp_path / "made.npz"), like.classes).sum() == 3


def test_generated_images_that_are_refused(tmp_path, like):
    for name in ("cat", "fox"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "1.png")
    for ask in (
        lambda path: load_generated(path, like),
        lambda p: check_generated(p, like.classes),
    ):
        with pytest.raises(InputError, match="lack 'dog' and have in excess 'fox'; name the class"):
            ask(str(tmp_path))
        with pytest.raises(InputError, match="'digits' names real images"):
            ask("digits")
        with pytest.raises(InputError, match="does not exist"):
            ask(str(tmp_path / "nowhere"))
    (tmp_path / "fox").rename(tmp_path / "dog")
    (tmp_path / "dog" / "2.png").write_bytes(b"")
    for ask in (
        lambda path: load_generated(path, like),
        lambda p: check_generated(p, like.classes),
    ):
        with pytest.raises(InputError, match=r"1 unreadable .*2\.png"):
            ask(str(tmp_path))


def test_import_and_check_are_light():
    code = (
        "import sys; from synthbook.data import check, load; check('digits'); load('digits'); "
        "check('caltech101'); load('caltech10'); "
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
