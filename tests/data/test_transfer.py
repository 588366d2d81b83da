"""Transfer sets by name: official layouts in small, class folders, and what comes with the book."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from synthbook.data import bundled, load, transfer
from synthbook.data.named import REGISTRY
from synthbook.data.transfer import MINI, TEN, TRANSFER, Transfer, names, open_transfer
from synthbook.errors import InputError


def write(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 6, 3), value, np.uint8)).save(path, quality=100)


def lines(path: Path, *texts: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n" for text in texts))


def aircraft(root: Path) -> None:
    data = root / "fgvc-aircraft-2013b" / "data"
    lines(data / "variants.txt", "707", "A380")
    lines(data / "images_variant_trainval.txt", "1 707", "2 A380", "3 A380")
    lines(data / "images_variant_test.txt", "4 707")
    for k in range(1, 5):
        write(data / "images" / f"{k}.jpg", 10 * k)


def cars196(root: Path) -> None:
    base = root / "stanford_cars"
    marks = [("1.jpg", 1), ("2.jpg", 2), ("3.jpg", 2)]
    kind = [("fname", object), ("class", int)]
    (base / "devkit").mkdir(parents=True)
    savemat(
        base / "devkit" / "cars_meta.mat", {"class_names": np.array(["707", "A380"], dtype=object)}
    )
    savemat(base / "devkit" / "cars_train_annos.mat", {"annotations": np.array(marks, kind)})
    tests = np.array([("4.jpg", 1), ("5.jpg", 2)], kind)
    savemat(base / "cars_test_annos_withlabels.mat", {"annotations": tests})
    for k in range(1, 6):
        write(base / ("cars_train" if k < 4 else "cars_test") / f"{k}.jpg", 10 * k)


def dtd(root: Path) -> None:
    base = root / "dtd" / "dtd"
    for part, names_ in (("train", ("a/1.jpg", "b/2.jpg")), ("val", ("b/3.jpg", "a/9.jpg"))):
        lines(base / "labels" / f"{part}1.txt", *names_)
    lines(base / "labels" / "test1.txt", "a/4.jpg", "b/5.jpg")
    for name in ("a/1", "b/2", "b/3", "a/4", "b/5", "a/9"):
        write(base / "images" / f"{name}.jpg", 10 * int(name[2:]))


def eurosat(root: Path) -> None:
    for name in ("a", "b"):
        for k in range(10):
            write(root / "eurosat" / "2750" / name / f"{k}.jpg", 10 * k)


def oxford_pets(root: Path) -> None:
    base = root / "oxford-iiit-pet"
    lines(base / "annotations" / "trainval.txt", "Sphynx_1 2 1 1", "great_pug_2 1 2 1")
    lines(base / "annotations" / "test.txt", "great_pug_4 1 2 1", "Sphynx_5 2 1 1")
    for name in ("Sphynx_1", "great_pug_2", "great_pug_4", "Sphynx_5"):
        write(base / "images" / f"{name}.jpg", 10 * int(name[-1]))


def flowers102(root: Path) -> None:
    base = root / "flowers-102"
    for k in range(1, 6):
        write(base / "jpg" / f"image_{k:05d}.jpg", 10 * k)
    savemat(base / "imagelabels.mat", {"labels": np.array([1, 2, 2, 1, 2])})
    savemat(base / "setid.mat", {"trnid": [2, 1], "valid": [3, 3], "tstid": [5, 4]})


def food101(root: Path) -> None:
    base = root / "food-101"
    (base / "meta").mkdir(parents=True)
    parts = {"train": {"a": ["a/1"], "b": ["b/2", "b/3"]}, "test": {"a": ["a/4"], "b": ["b/5"]}}
    for part, content in parts.items():
        (base / "meta" / f"{part}.json").write_text(json.dumps(content))
        for name in (one for some in content.values() for one in some):
            write(base / "images" / f"{name}.jpg", 10 * int(name[-1]))


def sun397(root: Path) -> None:
    base = root / "SUN397"
    lines(base / "ClassName.txt", "/a/abbey", "/b/bar/indoor")
    lines(base / "Training_01.txt", "/b/bar/indoor/sun_1.jpg", "/a/abbey/sun_2.jpg")
    lines(base / "Testing_01.txt", "/a/abbey/sun_4.jpg")
    for name in ("b/bar/indoor/sun_1", "a/abbey/sun_2", "a/abbey/sun_4"):
        write(base / f"{name}.jpg", 10 * int(name[-1]))


def inat2018(root: Path) -> None:
    base = root / "inat2018"
    for part, numbers in (("train", (1, 2, 3)), ("val", (4, 5))):
        content = {
            "images": [{"id": 100 + k, "file_name": f"photos/{k}.jpg"} for k in numbers],
            "annotations": [{"image_id": 100 + k, "category_id": k % 2} for k in numbers],
            "categories": [{"id": 1, "name": "Rana"}, {"id": 0, "name": "Bufo"}],
        }
        base.mkdir(exist_ok=True)
        (base / f"{part}2018.json").write_text(json.dumps(content))
        for k in numbers:
            write(base / "photos" / f"{k}.jpg", 10 * k)


# training values, training labels, test values, test labels, classes
OFFICIAL = {
    aircraft: ([10, 20, 30], [0, 1, 1], [40], [0], ("707", "A380")),
    cars196: ([10, 20, 30], [0, 1, 1], [40, 50], [0, 1], ("707", "A380")),
    dtd: ([10, 20, 30, 90], [0, 1, 1, 0], [40, 50], [0, 1], ("a", "b")),
    oxford_pets: ([10, 20], [1, 0], [40, 50], [0, 1], ("great_pug", "Sphynx")),
    flowers102: ([20, 10, 30, 30], [1, 0, 1, 1], [50, 40], [1, 0], ("a", "b")),
    food101: ([10, 20, 30], [0, 1, 1], [40, 50], [0, 1], ("a", "b")),
    sun397: ([10, 20], [1, 0], [40], [0], ("a/abbey", "b/bar/indoor")),
    inat2018: ([10, 20, 30], [1, 0, 1], [40, 50], [0, 1], ("Bufo", "Rana")),
}


def small(monkeypatch: pytest.MonkeyPatch, name: str, counts: tuple[int, int]) -> None:
    """Let a set have two classes and few images."""
    entry = replace(TRANSFER[name], num_classes=2, counts=counts)
    monkeypatch.setitem(transfer.TRANSFER, name, entry)


@pytest.mark.parametrize("make", OFFICIAL, ids=lambda make: make.__name__)
def test_official_files_are_read(make, tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.Flowers102._check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.Flowers102.classes", ["a", "b"])
    make(tmp_path)
    values, labels, test_values, test_labels, classes = OFFICIAL[make]
    small(monkeypatch, make.__name__, (len(values), len(test_values)))
    found = open_transfer(make.__name__, data_root=str(tmp_path), image_size=6)
    assert found.train.classes == found.test.classes == classes
    for part, want, marks in (
        (found.train, values, labels), (found.test, test_values, test_labels)
    ):  # fmt: skip
        assert part.labels.tolist() == marks
        assert np.abs(part.held().images.mean((1, 2, 3)) - want).max() < 3  # of JPEG
    small(monkeypatch, make.__name__, (len(values) + 1, len(test_values)))
    with pytest.raises(InputError, match=rf"has {len(values)} images, not {len(values) + 1}"):
        open_transfer(make.__name__, data_root=str(tmp_path), image_size=6)


def test_eurosat_has_no_split_and_gets_one(tmp_path, monkeypatch):
    eurosat(tmp_path)
    small(monkeypatch, "eurosat", (14, 6))
    found, again = (
        open_transfer("eurosat", data_root=str(tmp_path), image_size=6) for _ in range(2)
    )
    assert found.train.counts().tolist() == [7, 7]
    assert found.test.counts().tolist() == [3, 3]
    for k in range(2):
        parts = (part.of_classes([("a", "b")[k]]).held() for part in (found.train, found.test))
        tens = [np.rint(part.images.mean((1, 2, 3)) / 10).astype(int).tolist() for part in parts]
        assert sorted(tens[0] + tens[1]) == list(range(10))
    assert found.test.fingerprint() == again.test.fingerprint()


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "val", "test")])
def test_class_folders_stand_for_any_set(parts, tmp_path, monkeypatch):
    for part in parts:
        for k in range(4):
            write(tmp_path / "cog_l3" / part / ("n01", "n02")[k % 2] / f"{k}.png", 10 * k)
    small(monkeypatch, "cog_l3", (0, 0))
    found = open_transfer("cog_l3", data_root=str(tmp_path), image_size=6)
    assert len(found.train) == 4 * (len(parts) - 1)
    assert len(found.test) == 4
    assert found.train.classes == ("n01", "n02")
    values = found.train.held().images[:, 0, 0, 0]
    assert (values // 10 % 2 == found.train.labels).all()


def test_the_fine_classes_without_a_kind_are_a_set_of_their_own():
    found, whole = open_transfer(transfer.OTHER_CLASSES), load("caltech101")
    assert found.train.classes == bundled.NO_KIND
    assert not set(found.train.classes) & set(bundled.FINE)
    assert len(found.test) == np.isin(whole.test.labels, [
        bundled.CLASSES.index(name) for name in bundled.NO_KIND
    ]).sum()  # fmt: skip
    other = open_transfer("caltech101", without=bundled.FINE)
    assert set(other.train.classes) == set(bundled.NO_KIND)
    assert len(other.test) == len(found.test)
    assert len(found.train) > len(found.test)


def test_what_comes_with_the_book_needs_no_folder():
    for name in MINI:
        found = open_transfer(name, image_size=16, channels=3)
        assert isinstance(found, Transfer)
        assert found.train.read(np.arange(3)).shape == (3, 16, 16, 3)
        assert (found.metric, found.long_tail) == ("top1", False)
    digits = load("digits")
    assert len(open_transfer("digits").train) == len(digits.train) + len(digits.val)


def test_a_folder_of_ones_own_is_a_set(tmp_path, monkeypatch):
    for k in range(20):
        for name in ("mine", "digits"):
            write(tmp_path / name / ("cat", "dog")[k % 2] / f"{k}.png")
    monkeypatch.chdir(tmp_path)
    for name in (str(tmp_path / "mine"), "./mine", "mine", "./digits"):
        found = open_transfer(name)
        assert (len(found.train), len(found.test)) == (14, 6)
    assert len(open_transfer("digits").test.classes) == 10  # a name wins over a folder
    with pytest.raises(InputError, match="no transfer set is called 'mime'"):
        open_transfer("mime")


def test_the_papers_sets_are_there():
    assert len(TEN) == 10
    cog = {f"cog_l{k}" for k in range(1, 6)}
    assert {name for name in TEN if TRANSFER[name].long_tail} == {"inat2018", "inat2019"}
    assert {*TEN, *cog, *MINI, "mnist", "cifar10"} <= set(names())
    assert {TRANSFER[name].metric for name in TEN} == {"top1"}


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("aircrafts", {}, "no transfer set .* did you mean 'aircraft'"),
        ("aircraft", {}, "'aircraft' needs data_root"),
        ("aircraft", {"data_root": "/nowhere/at/all"}, "is no folder"),
        ("aircraft", {"data_root": "."}, "is not under"),
        ("cog_l1", {"data_root": "."}, "put class folders into cog_l1/train"),
        ("mnist", {}, "'mnist' needs data_root"),
        ("digits", {"without": [str(k) for k in range(9)]}, "leave two at least"),
    ],
)
def test_bad_input_is_named(name, options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        open_transfer(name, **options)


def test_a_set_has_one_name_wherever_it_is_known():
    """Where both registries have a set, its files lie in one place and it has one name."""
    places = {Path(file).parts[0]: name for name, one in REGISTRY.items() for file in one.files}
    both = {name: places[one.place] for name, one in TRANSFER.items() if one.place in places}
    assert both == {name: name for name in both}
    assert {"dtd", "flowers102", "oxford_pets"} <= both.keys()


def test_damaged_files_are_named(tmp_path, monkeypatch):
    inat2018(tmp_path)
    small(monkeypatch, "inat2018", (3, 2))
    (tmp_path / "inat2018" / "val2018.json").write_text("{")
    with pytest.raises(InputError, match="incomplete or damaged"):
        open_transfer("inat2018", data_root=str(tmp_path), image_size=6)


def test_parts_of_different_classes_are_refused(tmp_path, monkeypatch):
    for part, classes in (("train", "ab"), ("test", "ac")):
        for name in classes:
            write(tmp_path / "oxford_pets" / part / name / "1.png")
    small(monkeypatch, "oxford_pets", (2, 2))
    with pytest.raises(InputError, match="different classes"):
        open_transfer("oxford_pets", data_root=str(tmp_path), image_size=6)
