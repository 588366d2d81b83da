"""Archives of arrays: orders of axes, labels, names, damage."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
import pytest

from synthbook import machine
from synthbook.data import check, load, npz
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


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_check_reads_no_images(tmp_path, write, monkeypatch):
    write(tmp_path / "x.npz", **PARTS)
    read = []
    array = npz.array
    monkeypatch.setattr(npz, "array", lambda path, key: read.append(key) or array(path, key))
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
        ({**PARTS, "x_train": IMAGES.astype(object)}, "'x_train' .* is object; save it as uint8"),
        ({**PARTS, "y_train": LABELS.astype(object)}, "'y_train' .* is object .*; save an integer"),
        ({**PARTS, "y_train": LABELS * 1.0}, "'y_train' .* is float64 .*; save an integer"),
        ({**PARTS, "y_train": LABELS.astype(str)}, "save an integer"),
        ({**PARTS, "y_train": np.eye(2, dtype=int)[LABELS]}, r"\[40, 2\].*argmax"),
        ({**PARTS, "y_train": LABELS[:39]}, r"\[39\]; .* each of the 40 images in 'x_train'"),
        ({**PARTS, "x_test": IMAGES[:0], "y_test": LABELS[:0]}, "'x_test' .* has no image"),
        ({**PARTS, "y_train": LABELS - 1}, "labels in .* run from -1 to 1; number them from 0"),
        (
            {**PARTS, "y_train": LABELS + 1, "y_test": LABELS[:10] + 1},
            "run from 1 to 2; number them from 0 to 1",
        ),
        ({**PARTS, "y_train": LABELS * 2, "y_test": LABELS[:10] * 2}, "class '1' .* no image"),
        ({**PARTS, "names": ["only"]}, "from 0 to 0, as it names 1 classes, or name them all"),
        ({**PARTS, "names": np.array(["a", None])}, r"'names' .* is object \[2\]; save a text"),
        ({**PARTS, "names": ["a", "a"]}, "'names' .* or one twice; give each class a name"),
        ({**PARTS, "names": ["a", " "]}, "'names' .* has an empty name"),
        ({**PARTS, "names": np.array([b"a", b"\xff"])}, "'names' .* holds bytes that are no ASCII"),
        ({**PARTS, "y_train": LABELS * 10**12}, "run from 0 to 1000000000000; number them 0, 1, 2"),
        ({**PARTS, "y_train": LABELS * 2**62}, "number them 0, 1, 2"),
        ({**PARTS, "x_train": IMAGES[:, :0]}, r"shape \[40, 0, 8, 3\], images without pixels"),
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


def claiming(path: Path, **shapes: tuple[int, ...]) -> str:
    """Write an archive whose headers claim arrays of some shapes; it holds a few zeros of them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, shape in shapes.items():
            kind = "|u1" if name.startswith(("x", "images")) else "<i8"
            with archive.open(f"{name}.npy", "w") as stream:
                head = {"descr": kind, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(stream, head)
                stream.write(bytes(1000))
    return str(path)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"images": (10**9, 32, 32, 3), "labels": (10**9,)}, "'images' .* would take .* GB"),
        ({"images": (10**13, 1, 1), "labels": (10**13,)}, "would take .*; save fewer"),
        ({"images": (40, 10**7, 10**7), "labels": (40,)}, "would take .* GB of memory"),
        ({"images": (40, 8, 8), "labels": (10**10,)}, r"'labels' .*\[10000000000\]; save an int"),
        ({"images": (40, 8, 8), "labels": (40,), "names": (10**10,)}, "'names' .* save a text"),
    ],
)
def test_what_headers_claim_is_weighed_before_anything_is_unpacked(
    tmp_path, shapes, message, monkeypatch
):
    path = claiming(tmp_path / "x.npz", **shapes)
    unpacked = []

    def array(path, key):
        assert math.prod(shapes[key]) <= 40, key
        unpacked.append(key)
        return np.arange(40) % 2

    monkeypatch.setattr(npz, "array", array)
    for ask in (load, check):
        with pytest.raises(InputError, match=message):
            ask(path)
    assert "images" not in unpacked


def test_images_that_would_not_fit_when_resized_are_refused_before_they_are_read(
    tmp_path, monkeypatch
):
    path = save(tmp_path / "x.npz", **PARTS)
    monkeypatch.setattr(machine, "memory", lambda *_: 50 * 64**2 * 3.0)
    monkeypatch.setattr(npz, "images_of", None)
    with pytest.raises(InputError, match=r"50 images of 'x' would take .*smaller image_size"):
        check(path, image_size=64)
    with pytest.raises(InputError, match=r"50 images of 'x' would take .*smaller image_size"):
        load(path, image_size=64, channels=3)
    assert check(path, image_size=16).counts["test"] == 10


def test_archives_that_are_packed_in_ways_that_nobody_reads(tmp_path):
    path = tmp_path / "x.npz"
    save(path, **PARTS)
    whole = bytearray(path.read_bytes())
    at = whole.index(b"PK\x01\x02")
    for place, value in ((8, 1), (10, 99)):  # of the directory: encrypted, an unknown method
        bad = bytearray(whole)
        bad[at + place] = value
        path.write_bytes(bad)
        with pytest.raises(InputError, match=r"no readable \.npz archive \("):
            check(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        fields = np.zeros(3, dtype=[("ł", np.uint8)])
        with archive.open("images.npy", "w") as stream, pytest.warns(match="format 3.0"):
            np.lib.format.write_array(stream, fields, version=None)
    with pytest.raises(InputError, match=r"npy format 3\.0.*; save plain arrays"):
        check(str(path))


def test_sizes_in_archives(tmp_path):
    path = save(tmp_path / "x.npz", **{**PARTS, "x_test": IMAGES[:10, :6, :6]})
    assert check(path).size == "between 6 x 6 and 8 x 8 pixels"
    for ask in (load, check):
        with pytest.raises(InputError, match="set image_size"):
            ask(path, image_size=0)
    assert load(path, image_size=6).train.images.shape[1:] == (6, 6, 3)
