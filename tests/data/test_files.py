"""Folders of class folders: layouts, decoding, unreadable files."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from synthbook.data import check, files, load
from synthbook.data.files import conform, plain, square
from synthbook.errors import InputError


def write(path: Path, value: int | np.ndarray = 0) -> Path:
    """Write an image: an array, or an RGB square of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((8, 8, 3), value, np.uint8) if np.isscalar(value) else value
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def pool(tmp_path):
    """Two classes of ten images; the image's value is its number."""
    for k in range(20):
        write(tmp_path / "pool" / ("cat", "dog")[k % 2] / f"{k:02}.png", k)
    return tmp_path / "pool"


def values(images) -> list[int]:
    return images.images[:, 0, 0, 0].tolist()


def test_a_pool_is_split_once_and_for_all(pool):
    splits, again = load(str(pool)), load(str(pool))
    parts = [values(part) for part in (splits.train, splits.val, splits.test)]
    assert [len(part) for part in parts] == [12, 2, 6]
    assert sorted(chain(*parts)) == list(range(20))
    assert splits.test.counts().tolist() == [3, 3]
    assert splits.classes == ("cat", "dog")
    assert splits.name == "pool"
    for part in (splits.train, splits.val, splits.test):
        assert (part.images[:, 0, 0, 0] % 2 == part.labels).all()
    assert splits.train.fingerprint() == again.train.fingerprint()
    summary = check(str(pool))
    assert dict(summary.counts) == {"train": 12, "val": 2, "test": 6}
    assert (summary.size, summary.classes) == ("8 x 8 pixels", ("cat", "dog"))
    assert "12 train, 2 val, 6 test" in str(summary)


def test_the_split_does_not_depend_on_where_the_folder_lies(pool, tmp_path):
    before = load(str(pool))
    moved = shutil.move(pool, tmp_path / "other")
    assert load(str(moved)).test.fingerprint() == before.test.fingerprint()


def test_suffixes_nesting_hidden_and_other_files(tmp_path):
    for k, file in enumerate(("1.JPG", "deep/er/2.webp", "3.bmp", "4.TIFF", "5.jpeg", "6.png")):
        write(tmp_path / "a" / file, 10 * k)
        write(tmp_path / "b" / file, 10 * k)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "README.md").write_text("no image")
    (tmp_path / "a" / "._1.jpg").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    splits = load(str(tmp_path))
    assert splits.classes == ("a", "b")
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 12


def test_train_val_and_test_folders(tmp_path):
    for part, count in (("train", 20), ("val", 3), ("test", 4)):
        for k in range(count):
            write(tmp_path / part / ("a", "b")[k % 2] / f"{k}.png", k)
    splits = load(str(tmp_path))
    assert [values(part) for part in (splits.val, splits.test)] == [[0, 2, 1], [0, 2, 1, 3]]
    assert len(splits.train) == 20
    shutil.rmtree(tmp_path / "val")
    splits = load(str(tmp_path))
    assert (len(splits.train), splits.val.counts().tolist(), len(splits.test)) == (18, [1, 1], 4)
    assert sorted(values(splits.train) + values(splits.val)) == list(range(20))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("", "no class folders"),
        ("loose", "1 images lie in it directly"),
        ("a/1", "one class only, 'a'"),
        ("a/1 b/1", r"class 'a' of .* has only 1 image\(s\) in the pool"),
        ("a/1 b/.1", "class folder .*b has no image"),
        ("train/a/1 train/b/1 val/a/1", "train and val but no test"),
        ("train/a/1 test/a/1 valid/a/1", "holds valid beside train"),
        ("train/a/1 train/b/1 test/c/1", r"class 'c' in .*test is not in .*train"),
        ("Train/a/1 Test/a/1", "holds Test, Train, which would be read as classes; rename them"),
        ("Training/a/1 Testing/a/1", "holds Testing, Training, which would be read"),
        ("train/a/1 Test/a/1 more/1", "holds Test, train, which would be read"),
        ("train/a/1 dev/a/1", "holds dev, train, which would be read"),
        ("training/a/1 validation/a/1 eval/a/1", "holds eval, training, validation, which"),
    ],
)
def test_folder_layouts_that_are_refused(tmp_path, images, message):
    for name in images.split():
        write(tmp_path / f"{name}.png")
    for ask in (load, check):
        with pytest.raises(InputError, match=message):
            ask(str(tmp_path))


@pytest.mark.parametrize("names", [("train", "bus"), ("Train", "training"), ("test", "dev")])
def test_classes_may_be_called_like_one_part(tmp_path, names):
    for k in range(6):
        write(tmp_path / names[k % 2] / f"{k}.png", k)
    assert load(str(tmp_path)).classes == tuple(sorted(names))


# Unreadable files


def test_unreadable_files_are_named_or_skipped(pool):
    (pool / "cat" / "00.png").write_bytes(b"no image at all")
    for ask in (load, check):
        with pytest.raises(InputError, match=r"1 unreadable.*00\.png.*delete them$"):
            ask(str(pool))
        assert Path(ask(str(pool), skip_unreadable=True).skipped[0]).name == "00.png"
    splits = load(str(pool), skip_unreadable=True)
    kept = [values(part) for part in (splits.train, splits.val, splits.test)]
    assert sorted(chain(*kept)) == list(range(1, 20))
    summary = check(str(pool), skip_unreadable=True)
    assert f"; 1 unreadable file skipped: {pool / 'cat' / '00.png'}" in str(summary)
    many = replace(summary, skipped=tuple("abcde"))
    assert str(many).endswith("; 5 unreadable files skipped: a, b, c and 2 more")
    assert str(replace(summary, skipped=tuple("abc"))).endswith("skipped: a, b, c")
    assert sum(summary.counts.values()) == 19
    assert dict(summary.counts) == {
        "train": len(splits.train), "val": len(splits.val), "test": len(splits.test),
    }  # fmt: skip


def test_skipping_leaves_the_split_of_the_others(pool):
    before = load(str(pool))
    lost = values(before.train)[-2]
    damaged = pool / ("cat", "dog")[lost % 2] / f"{lost:02}.png"
    damaged.write_bytes(b"")
    after = load(str(pool), skip_unreadable=True)
    assert values(after.train) == [one for one in values(before.train) if one != lost]
    assert (after.train.images[:, 0, 0, 0] % 2 == after.train.labels).all()
    assert values(after.test) == values(before.test)


def test_a_truncated_file_passes_check_and_is_named_by_load(pool):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    file = write(pool / "dog" / "cut.jpg", noise)
    file.write_bytes(file.read_bytes()[:2000])
    assert check(str(pool)).skipped == ()
    with pytest.raises(InputError, match=r"cut\.jpg .*truncated"):
        load(str(pool), image_size=8)
    skipped = load(str(pool), image_size=8, skip_unreadable=True).skipped
    assert [Path(name).name for name in skipped] == ["cut.jpg"]


def test_a_class_that_skipping_empties_is_named(pool):
    for file in (pool / "dog").iterdir():
        file.write_bytes(b"")
    for ask in (load, check):
        with pytest.raises(InputError, match="class 'dog' of 'pool' has no readable training"):
            ask(str(pool), skip_unreadable=True)
    for file in (pool / "cat").iterdir():
        file.write_bytes(b"")
    for ask in (load, check):  # nothing left: the files are named all the same
        with pytest.raises(InputError, match=r"20 unreadable .* and 17 more"):
            ask(str(pool), skip_unreadable=True)


def test_no_other_program_is_asked_what_a_file_is(pool, monkeypatch):
    """A drawing in PostScript, which Pillow has another program run, is no image here."""
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", Mock(side_effect=AssertionError))
    head = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    (pool / "cat" / "drawn.png").write_text(head)
    with Image.open(pool / "cat" / "drawn.png") as image, pytest.raises(AssertionError):
        image.load()  # what would happen
    for ask in (load, check):
        with pytest.raises(InputError, match=r"drawn\.png \(it is no PNG, .* or TIFF file\)"):
            ask(str(pool))


# Pixels


def test_unequal_sizes_need_image_size(pool):
    write(pool / "cat" / "wide.png", np.zeros((8, 12, 3), np.uint8))
    for ask in (load, check):
        with pytest.raises(InputError, match="between 8 x 8 and 8 x 12 pixels; set image_size"):
            ask(str(pool), image_size=0)
    assert check(str(pool)).size == "between 8 x 8 and 8 x 12 pixels"
    assert load(str(pool), image_size=8).train.image_size == 8


def test_the_crop_is_the_centre_and_images_of_the_right_size_are_untouched():
    pixels = np.zeros((6, 10, 3), np.uint8)
    pixels[:, 2:8] = 200
    cropped = np.asarray(square(Image.fromarray(pixels), 6))
    assert (cropped == 200).all()
    noise = np.random.default_rng(0).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    assert (np.asarray(square(Image.fromarray(noise), 6)) == noise).all()


def test_resizing_is_antialiased():
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    small = np.asarray(square(Image.fromarray(checks.astype(np.uint8)), 8))
    assert np.ptp(small) <= 2  # a checkerboard shrinks to its mean, not to an alias
    assert abs(int(small[0, 0]) - 127) <= 2


DEEP = Image.fromarray(np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16))
WHITE, RED = (255, 255, 255), (255, 0, 0)


def seen(path: Path, image: Image.Image, **options) -> np.ndarray:
    """Save an image, and return what is made of the file."""
    image.save(path, **options)
    with Image.open(path) as opened:
        return np.asarray(plain(opened))


@pytest.mark.parametrize(
    ("name", "image", "pixels"),
    [
        ("rgba.png", Image.new("RGBA", (2, 2), (*RED, 255)), [[RED] * 2] * 2),
        ("transparent.png", Image.new("RGBA", (2, 2), (*RED, 0)), [[WHITE] * 2] * 2),
        ("deep.png", DEEP, [[0, 100], [200, 255]]),
        ("deep.tif", DEEP, [[0, 100], [200, 255]]),
        ("palette.png", Image.new("RGB", (2, 2), RED).convert("P"), [[RED] * 2] * 2),
        ("cmyk.jpg", Image.new("CMYK", (2, 2), (0, 255, 255, 0)), [[RED] * 2] * 2),
        ("la.png", Image.new("LA", (2, 2), (0, 0)), [[255] * 2] * 2),
        ("bits.png", Image.new("1", (2, 2), 1), [[255] * 2] * 2),
    ],
)
def test_modes(tmp_path, name, image, pixels):
    found = seen(tmp_path / name, image).astype(int)
    assert np.abs(found - np.array(pixels)).max() <= (5 if name == "cmyk.jpg" else 0)


def test_pixels_whose_range_nothing_tells_are_refused(tmp_path):
    counted = np.arange(256).reshape(16, 16)
    for pixels in (np.float32(counted), np.int32(counted), np.int16(counted)):
        with pytest.raises(ValueError, match="8 or 16 bits"):
            seen(tmp_path / "some.tif", Image.fromarray(pixels))


def test_a_png_of_16_bits_is_the_same_in_the_mode_of_old_pillows():
    old = Image.fromarray(np.asarray(DEEP).astype(np.int32))
    old.format = "PNG"
    assert old.mode == "I"
    assert np.asarray(plain(old)).tolist() == [[0, 100], [200, 255]]


def test_exif_orientation(tmp_path):
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 255  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: white on top
    turned = seen(tmp_path / "turned.png", Image.fromarray(pixels), exif=exif)
    assert (turned == np.repeat([255, 0], 8)[:, None, None]).all()


def test_channels(pool):
    assert load(str(pool)).train.channels == 3
    assert load(str(pool), channels=1).train.channels == 1
    for file in pool.rglob("*.png"):
        Image.open(file).convert("L").save(file)
    assert load(str(pool)).train.channels == 1
    assert load(str(pool), channels=3).train.channels == 3
    write(pool / "cat" / "colour.png", 3)
    mixed = load(str(pool))
    assert {part.channels for part in (mixed.train, mixed.val, mixed.test)} == {3}


def test_arrays_and_files_of_the_same_pixels_are_the_same():
    noise = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), dtype=np.uint8)
    grey = [np.asarray(Image.fromarray(one).convert("L")) for one in noise]
    assert (conform(noise, 0, 1)[..., 0] == grey).all()
    small = [np.asarray(square(Image.fromarray(one), 6)) for one in noise]
    assert (conform(noise, 6, 0) == small).all()
    small = [np.asarray(square(Image.fromarray(one), 6)) for one in grey]
    assert (conform(noise, 6, 1)[..., 0] == small).all()
    assert conform(conform(noise, 0, 1), 6, 3).shape == (5, 6, 6, 3)


def test_what_is_no_regular_file_is_named_and_not_waited_for(pool):
    place = pool / "cat" / "pipe.png"
    os.mkfifo(place)
    for path in (place, pool / "cat" / "link.png"):
        if path != place:
            path.symlink_to(place)
        with pytest.raises(InputError, match=r"\.png \(it is no regular file\)"):
            check(str(pool))
    (pool / "cat" / "link.png").unlink()
    place.unlink()
    place.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="no regular file"):
        load(str(pool))


@pytest.mark.parametrize("size", [(8001, 8000), (100_000, 1000)])
def test_images_of_too_many_pixels_are_refused_by_their_heads(pool, size):
    Image.new("1", size).save(pool / "cat" / "huge.png")
    for ask in (check, load):
        with pytest.raises(InputError, match=r"huge\.png \((it has \d+ x \d+ pixels|Image size)"):
            ask(str(pool), image_size=16)


def test_large_images_are_read_one_at_a_time(pool, monkeypatch):
    """Eight threads of them would take eight times the memory."""
    monkeypatch.setattr(files, "LARGE_PIXELS", 0)
    reading, most = [], []

    def pixels(image, *wanted, of=files.pixels):
        reading.append(1)
        most.append(len(reading))
        time.sleep(0.002)
        reading.pop()
        return of(image, *wanted)

    monkeypatch.setattr(files, "pixels", pixels)
    load(str(pool), image_size=4)
    assert max(most) == 1


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "JIF", "pjpeg"])
def test_jpegs_by_their_rarer_names_are_read(pool, suffix):
    Image.new("RGB", (8, 8)).save(pool / "cat" / f"x.{suffix}", "JPEG")
    assert sum(check(str(pool)).counts.values()) == 21
    splits = load(str(pool))
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 21


@pytest.mark.parametrize("name", ["x.gif", "x.heic", "x.EPS", "x.jxl", "x.dng", "x.pnm"])
def test_images_of_other_kinds_are_named_and_not_passed_over(pool, name):
    Image.new("L", (8, 8)).save(pool / "cat" / name, "GIF")
    with pytest.raises(InputError, match=rf"{name} \(it is no PNG, JPEG"):
        check(str(pool))
    assert check(str(pool), skip_unreadable=True).skipped


def test_animations_are_named(pool):
    frames = [Image.new("L", (8, 8), value) for value in (0, 200)]
    frames[0].save(pool / "cat" / "moving.png", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"moving\.png \(it is an animation; save one picture"):
        check(str(pool))


def test_class_folders_whose_name_is_no_text_are_refused(pool):
    os.rename(pool / "cat", os.fsencode(pool) + b"/\xff")
    with pytest.raises(InputError, match=r"class folder '.*\\udcff' is no text; rename it"):
        check(str(pool))
