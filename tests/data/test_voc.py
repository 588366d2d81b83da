"""Folders in VOC's format: corners from 1, difficult objects, and what is wrong with a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthbook.data.voc import CLASSES, annotation, pascal_voc, read_voc
from synthbook.errors import InputError

OBJECT = (
    "<object><name>{name}</name><difficult>{hard}</difficult><bndbox><xmin>{box[0]}</xmin>"
    "<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
)
SIZE = "<size><width>20</width><height>10</height><depth>3</depth></size>"


def xml(*objects: tuple, size: str = SIZE) -> str:
    told = "".join(OBJECT.format(name=n, box=b, hard=h) for n, b, h in objects)
    return f"<annotation><folder>x</folder>{size}{told}</annotation>"


def write(place: Path, part: str, images: dict[str, str], suffix: str = ".jpg") -> Path:
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    for k, (name, text) in enumerate(images.items()):
        (place / "Annotations" / f"{name}.xml").write_text(text)
        Image.new("RGB", (20, 10), (40 * k, 0, 0)).save(place / "JPEGImages" / f"{name}{suffix}")
    (place / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(images) + "\n")
    return place


def test_a_part_is_read_as_it_is_written(tmp_path: Path) -> None:
    images = {
        "000012": xml(("dog", (1, 1, 20, 10), 0), ("cat", (3, 2, 8, 6.5), 1)),
        "000007": xml(size=""),
        "b 3": xml(("dog", (0, 0, 5, 5), 0)),
    }
    found = read_voc(write(tmp_path / "own", "trainval", images))
    assert found.classes == CLASSES
    assert found.name == "own trainval"
    assert found.objects[0].boxes.tolist() == [[0, 0, 20, 10], [2, 1, 8, 6.5]]
    assert found.objects[0].difficult.tolist() == [False, True]
    assert [CLASSES[k] for k in found.objects[0].labels] == ["dog", "cat"]
    assert len(found.objects[1]) == 0
    assert found.objects[2].boxes.tolist() == [[0, 0, 5, 5]]  # counted from 0
    assert found.sizes.tolist() == [[10, 20]] * 3
    assert found.read(2).shape == (10, 20, 3)
    assert abs(int(found.read(2)[0, 0, 0]) - 80) < 3
    assert found.counts().sum() == 2


def test_own_classes_are_sorted_or_as_given(tmp_path: Path) -> None:
    images = {"a": xml(("screw", (1, 1, 4, 4), 0), ("nut", (5, 5, 9, 9), 0))}
    folder = write(tmp_path, "train", images, ".png")
    assert read_voc(folder, "train").classes == ("nut", "screw")
    given = read_voc(str(folder), "train", classes=["screw", "bolt", "nut"])
    assert given.objects[0].labels.tolist() == [0, 2]
    with pytest.raises(InputError, match="boxes of 'screw', which is no class of it"):
        read_voc(folder, "train", classes=["nut", "screws"])


def test_pascal_voc_is_both_years(tmp_path: Path) -> None:
    kit = tmp_path / "VOCdevkit"
    one = {"1": xml(("car", (1, 1, 4, 4), 0))}
    write(kit / "VOC2007", "trainval", one)
    write(kit / "VOC2007", "test", {"2": xml(("bus", (1, 1, 4, 4), 0))})
    write(kit / "VOC2012", "trainval", {"2012_1": xml(("cow", (1, 1, 4, 4), 0)), **one})
    train, test = pascal_voc(tmp_path)
    assert (len(train), len(test)) == (3, 1)
    assert train.classes == test.classes == CLASSES
    assert [CLASSES[one.labels[0]] for one in train.objects] == ["car", "cow", "car"]
    with pytest.raises(InputError, match="no folder in VOC format: it has no VOCdevkit/VOC2007"):
        pascal_voc(kit / "VOC2012")


def test_torchvision_reads_the_same_images(tmp_path: Path) -> None:
    from torchvision.datasets import VOCDetection

    images = {"9": xml(("car", (1, 1, 4, 4), 0)), "3": xml(("dog", (2, 2, 9, 9), 1))}
    write(tmp_path / "VOCdevkit" / "VOC2007", "test", images)
    theirs = VOCDetection(str(tmp_path), year="2007", image_set="test")
    ours = read_voc(tmp_path, "test", year=2007)
    assert len(ours) == len(theirs) == 2
    for k, (image, told) in enumerate(theirs):
        assert np.array_equal(np.asarray(image), ours.read(k))
        (one,) = told["annotation"]["object"]
        assert CLASSES[ours.objects[k].labels[0]] == one["name"]
        assert int(one["bndbox"]["xmin"]) - 1 == ours.objects[k].boxes[0, 0]


def test_what_is_no_folder_of_voc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder in VOC format: it has no Annotations and"):
        read_voc(tmp_path)
    folder = write(tmp_path, "train", {"a": xml(("dog", (1, 1, 4, 4), 0))})
    with pytest.raises(InputError, match=r"no part 'trainval' .*there are train$"):
        read_voc(folder)
    (folder / "JPEGImages" / "a.jpg").unlink()
    with pytest.raises(InputError, match="JPEGImages has no image 'a'"):
        read_voc(folder, "train")
    (folder / "ImageSets" / "Main" / "train.txt").write_text("\n")
    with pytest.raises(InputError, match="names no images"):
        read_voc(folder, "train")


@pytest.mark.parametrize(
    "text",
    [
        "no xml", "<annotation><object><name>a</name></object></annotation>", "<other/>",
        xml(("dog", ("x", 1, 4, 4), 0)), xml(("dog", ("nan", 1, 4, 4), 0)),
    ],
)  # fmt: skip
def test_what_is_no_annotation_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match=r"a.xml is no annotation of VOC"):
        annotation(tmp_path / "a.xml")


def test_boxes_and_sizes_must_fit_the_image(tmp_path: Path) -> None:
    folder = write(tmp_path, "train", {"a": xml(("dog", (1, 1, 21, 4), 0))})
    with pytest.raises(
        InputError, match=r"the box \(0, 0, 21, 4\) in image 0 of '.*' does not lie"
    ):
        read_voc(folder, "train")
    other = SIZE.replace("10", "11")
    (folder / "Annotations" / "a.xml").write_text(xml(("dog", (1, 1, 9, 4), 0), size=other))
    with pytest.raises(InputError, match="has 10 x 20 pixels, and its annotation says 11 x 20"):
        read_voc(folder, "train").read(0)
    (folder / "JPEGImages" / "a.jpg").write_text("no image")
    with pytest.raises(InputError, match="1 unreadable image"):
        read_voc(folder, "train").read(0)
