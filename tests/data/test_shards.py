"""Images in tar files: the same as those of folders, and damaged ones by name."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthbook.data import ImageSet, check, load
from synthbook.data.loading import check_generated, load_generated
from synthbook.data.shards import holds_shards, open_shards
from synthbook.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def entry(k: int, label: Any, **more: Any) -> dict[str, bytes]:
    record = json.dumps({"label": label, **more}).encode()
    return {f"{k:09d}.png": png(PIXELS[k]), f"{k:09d}.json": record}


def shapes(folder: Path) -> list[Any]:
    return [*open_shards(folder).read("pool", None)]


def load_pool(folder: Path, image_size: int = 4) -> ImageSet:
    """Return all that is in the shards, as generated images that are like themselves."""
    found = open_shards(folder)
    blank = np.zeros((len(found.classes), image_size, image_size, 3), np.uint8)
    like = ImageSet(blank, np.arange(len(blank)), found.classes, "like")
    return load_generated(str(folder), like)


CAT, DOG = {"class": "cat"}, {"class": "dog"}


def test_images_come_in_the_order_of_files_with_their_classes(tmp_path: Path) -> None:
    write(tmp_path / "b.tar", entry(0, 7, **DOG) | entry(1, 2, **CAT))
    write(tmp_path / "a.tar", entry(2, 2, **CAT))
    found = load_pool(tmp_path)
    assert (found.classes, found.labels.tolist()) == (("cat", "dog"), [0, 1, 0])
    centre = Image.fromarray(PIXELS[2][:, 1:7]).resize((4, 4), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(found.images[0], np.asarray(centre))
    assert shapes(tmp_path) == [(6, 8)] * 3
    assert check_generated(str(tmp_path), ("dog", "cat")).tolist() == [1, 2]
    with pytest.raises(InputError, match="lack 'cow'"):
        check_generated(str(tmp_path), ("dog", "cow"))


def test_a_folder_of_shards_is_a_data_set(tmp_path: Path) -> None:
    for k in range(4):
        some = [entry(j, j % 2, **(DOG if j % 2 else CAT)) for j in range(len(PIXELS) - 1)]
        write(tmp_path / f"{k}.tar", {name: c for one in some for name, c in one.items()})
    (tmp_path / ".parts").mkdir()  # what makes them leaves it there
    (tmp_path / "plan.jsonl").write_text("{}")
    summary = check(str(tmp_path), image_size=6)
    splits = load(str(tmp_path), image_size=6, channels=1)
    counts = {part: len(getattr(splits, part)) for part in ("train", "val", "test")}
    assert counts == summary.counts
    assert sum(counts.values()) == 16
    assert summary.classes == splits.classes == ("cat", "dog")
    assert summary.size == "6 x 8 pixels"
    assert splits.train.images.shape[1:] == (6, 6, 1)
    with pytest.raises(InputError, match="6 x 8"):
        load(str(tmp_path))  # no squares


def test_classes_without_names_go_by_number(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", entry(0, 0) | entry(1, 1) | entry(2, 1))
    assert open_shards(tmp_path).classes == ("0", "1")
    assert check_generated(str(tmp_path), ("dog", "cat")).tolist() == [1, 2]


@pytest.mark.parametrize("folder", ["./", "x/", "v1.2/", "./v1.2/x/"])
def test_dots_of_folders_end_no_name(tmp_path: Path, folder: str) -> None:
    some = entry(0, 7, **DOG) | entry(1, 2, **CAT)
    write(tmp_path / "a.tar", {f"{folder}{name}": content for name, content in some.items()})
    found = load_pool(tmp_path)
    assert (found.classes, found.labels.tolist()) == (("cat", "dog"), [1, 0])


def test_a_record_is_of_the_image_in_its_own_folder(tmp_path: Path) -> None:
    some = {"a.1": entry(0, 7, **DOG), "a.2": entry(0, 2, **CAT)}
    members = {f"{folder}/{name}": c for folder, one in some.items() for name, c in one.items()}
    write(tmp_path / "a.tar", members)
    assert load_pool(tmp_path).labels.tolist() == [1, 0]


def test_a_damaged_image_may_be_left_out(tmp_path: Path) -> None:
    whole = [entry(j, j % 2) for j in range(4)]
    for k in range(4):
        write(tmp_path / f"{k}.tar", {name: c for one in whole for name, c in one.items()})
    bad = {"9.png": png(PIXELS[0])[:-60], "9.json": b'{"label": 0}'}
    write(tmp_path / "x.tar", bad)
    with pytest.raises(InputError, match=r"x\.tar: 9\.png"):
        load(str(tmp_path), image_size=4)
    splits = load(str(tmp_path), image_size=4, skip_unreadable=True)
    assert splits.skipped == (f"{tmp_path / 'x.tar'}: 9.png",)


def test_class_folders_beside_tar_files_are_what_is_read(tmp_path: Path) -> None:
    write(tmp_path / "old.tar", entry(0, 0) | entry(1, 1))
    assert holds_shards(tmp_path)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(png(PIXELS[0]))
    assert not holds_shards(tmp_path)
    assert check_generated(str(tmp_path), ("cat", "dog")).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"1.png": png(PIXELS[0])}, r"1\.png has no label in a 1\.json"),
        (entry(0, -1), "has no label"),
        (entry(0, "dog"), "has no label"),
        ({"1.png": png(PIXELS[0]), "1.json": b"[1]"}, "has no label"),
        ({"1.png": png(PIXELS[0]), "1.json": b"{"}, "no whole shard"),
        ({"1.png": b"no image", "1.json": b'{"label": 0}'}, "unreadable"),
        ({"1.png": png(PIXELS[0])[:-60], "1.json": b'{"label": 0}'}, "unreadable"),
        ({"1.json": b'{"label": 0}'}, "hold no images"),
        (entry(0, 0, **CAT) | entry(1, 0, **DOG), "a label has several classes"),
        (entry(0, 0, **CAT) | entry(1, 1, **CAT), "a class several labels"),
    ],
)
def test_what_is_no_shard_is_named(members: dict, words: str, tmp_path: Path) -> None:
    write(tmp_path / "x.tar", members)
    with pytest.raises(InputError, match=words):
        load_pool(tmp_path)


def test_half_a_shard_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "x.tar", entry(0, 0) | entry(1, 1))
    whole = (tmp_path / "x.tar").read_bytes()
    for cut in (100, 700, 2048, 2100):
        (tmp_path / "x.tar").write_bytes(whole[:cut])
        for ask in (load, check):
            with pytest.raises(InputError, match=r"x\.tar is no whole shard|has no label"):
                ask(str(tmp_path), image_size=4)
