"""The photographs that come with the package, and the script that reduces them."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthbook.data import bundled, check, load
from synthbook.data.bundled import CLASSES, FINE, FOLDER, IN_FULL, KINDS, NO_KIND, PARTS, kinds_of
from synthbook.errors import InputError

NAMES = ("caltech10", "caltech10_fine", "caltech101", "caltech3", "caltech97")


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("workflow/photographs.py")


@pytest.fixture(scope="module")
def loaded():
    return {name: load(name) for name in NAMES}


def split(splits):
    return {"train": splits.train, "val": splits.val, "test": splits.test}


def rows(images):
    """Return each image with its class's name, as a set."""
    return {
        (images.classes[k], image.tobytes())
        for k, image in zip(images.labels, images.images, strict=True)
    }


# What is there


def test_every_class_has_one_kind_or_none():
    assert len(set(CLASSES)) == len(CLASSES) == len(FINE) + len(NO_KIND) == 100
    assert not {"Faces", "BACKGROUND_Google"} & set(CLASSES)
    assert len(KINDS) == 10
    found = [list(KINDS)[k] for k in kinds_of(FINE)]
    assert all(name in KINDS[kind] for name, kind in zip(FINE, found, strict=True))
    with pytest.raises(InputError, match="class 'pizza' is not known"):
        kinds_of(["ant", "pizza"])


def test_a_class_is_shared_out_60_15_25_up_to_130_and_nothing_occurs_twice():
    found = bundled.photographs()
    assert len(set(zip(found.labels, found.numbers, strict=True))) == len(found.labels)
    counts = np.zeros((len(CLASSES), len(PARTS)), int)
    np.add.at(counts, (found.labels, found.parts), 1)
    labelled = counts[:, :3].sum(axis=1)
    assert (labelled <= 130).all()
    assert not counts[labelled < 130, 3].any()
    assert (np.abs(counts[:, :3] - labelled[:, None] * [0.6, 0.15, 0.25]) <= 1).all()
    assert (counts[:, :3] > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_set_is_what_its_entry_says_and_its_parts_share_no_picture(loaded, name):
    splits, summary = loaded[name], check(name)
    assert {part: len(images) for part, images in split(splits).items()} == summary.counts
    assert splits.classes == summary.classes
    assert summary.size == "32 x 32 pixels"
    assert "CC BY 4.0" in str(summary)
    pictures = [{image.tobytes() for image in part.images} for part in split(splits).values()]
    assert len(set.union(*pictures)) == sum(summary.counts.values())
    for part in split(splits).values():
        assert part.counts().all()


def test_fine_labels_belong_to_the_kinds_of_the_same_pictures(loaded):
    assert loaded["caltech10"].classes == tuple(KINDS)
    for part, kinds in split(loaded["caltech10"]).items():
        fine = split(loaded["caltech10_fine"])[part]
        assert (fine.images == kinds.images).all()
        assert (kinds_of(fine.classes)[fine.labels] == kinds.labels).all()


def test_a_picture_is_in_the_same_part_of_every_set(loaded):
    whole = {part: rows(images) for part, images in split(loaded["caltech101"]).items()}
    for part, images in split(loaded["caltech10_fine"]).items():
        assert rows(images) == {row for row in whole[part] if row[0] in FINE}
    few = {part: rows(images) for part, images in split(loaded["caltech3"]).items()}
    for part in ("val", "test"):
        assert few[part] == {row for row in whole[part] if row[0] in IN_FULL}
    extra = few["train"] - whole["train"]
    assert len(few["train"]) == len(extra) + sum(row[0] in IN_FULL for row in whole["train"])
    assert {name for name, _ in extra} == {*IN_FULL}
    for part, images in split(loaded["caltech97"]).items():
        assert rows(images) == {row for row in whole[part] if row[0] not in IN_FULL}


# A bundle that is not what it was


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(FOLDER, tmp_path / "photographs"))


def test_a_copy_of_the_bundle_is_the_bundle(copy):
    ours, theirs = bundled.photographs(), bundled.photographs(copy)
    some = np.arange(len(ours.labels)) % 500 == 0
    assert (ours.images(some) == theirs.images(some)).all()


def seal(folder):
    """Write SHA256SUMS anew, so that only what the files hold can be wrong."""
    files = [path for path in folder.iterdir() if path.name != "SHA256SUMS"]
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums))


def shorter(folder):
    with Image.open(folder / "photographs-1.webp") as mosaic:
        mosaic.crop((0, 0, mosaic.width, mosaic.height - 32)).save(folder / "photographs-1.webp")
    seal(folder)


def other_index(**changes):
    def change(folder):
        with np.load(folder / "index.npz") as index:
            columns = {**index, **changes}
        np.savez(folder / "index.npz", **{k: v for k, v in columns.items() if v is not None})
        seal(folder)

    return change


def edit(name, change):
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


@pytest.mark.parametrize(
    ("fault", "file"),
    [
        (lambda folder: (folder / "photographs-1.webp").unlink(), "photographs-1.webp cannot be"),
        (lambda folder: (folder / "index.npz").unlink(), "index.npz cannot be read"),
        (lambda folder: (folder / "SHA256SUMS").unlink(), "SHA256SUMS cannot be read"),
        (edit("photographs-1.webp", lambda old: old[:-1]), "photographs-1.webp is not"),
        (edit("photographs-0.webp", lambda old: b""), "photographs-0.webp is not"),
        (edit("index.npz", lambda old: old[:1000]), "index.npz is not"),
        (edit("SHA256SUMS", lambda old: old[:70] + b"0" + old[71:]), "photographs-0.webp is not"),
        (edit("SHA256SUMS", lambda old: b"\xff" + old[:50]), "index.npz is not"),
        (shorter, "photographs-1.webp has 2048 x"),
        (other_index(label=np.zeros(3, np.uint8)), "index.npz does not fit"),
        (other_index(classes=np.array(CLASSES[:-1])), "index.npz does not fit"),
        (other_index(part=None), "index.npz is no index"),
    ],
)
def test_a_damaged_bundle_is_refused_whole_in_a_sentence_with_the_remedy(copy, fault, file):
    fault(copy)
    with pytest.raises(InputError, match=rf"{file}[^\n]*; restore it .*git checkout") as error:
        bundled.photographs(copy)
    assert str(error.value).startswith(str(copy))


# How it is made


def test_near_duplicates_are_copies_brighter_mirrored_or_noisy_ones_of_what_is_kept(script):
    rng = np.random.default_rng(0)
    a, b, c = rng.integers(40, 200, (3, 32, 32, 3), dtype=np.uint8)
    noisy = np.clip(b + rng.normal(0, 8, b.shape), 0, 255).astype(np.uint8)
    unlike = np.clip(b + rng.normal(0, 40, b.shape), 0, 255).astype(np.uint8)
    images = np.stack([a, b, a[:, ::-1], noisy, c, a // 2 + 60, unlike, a[::-1]])
    found = script.near_duplicates(images)
    assert found.tolist() == [False, False, True, True, False, True, False, False]
    assert not script.near_duplicates(images[~found]).any()


def test_what_is_near_to_a_dropped_picture_only_is_kept(script):
    rng = np.random.default_rng(0)
    chain = np.cumsum([rng.uniform(60, 190, (32, 32, 3)), *rng.normal(0, 10, (2, 32, 32, 3))], 0)
    assert script.near_duplicates(chain.clip(0, 255)).tolist() == [False, True, False]
    assert script.near_duplicates(chain[1:].clip(0, 255)).tolist() == [False, True]


def test_two_blank_pictures_are_no_reason_to_divide_by_zero(script):
    assert not script.near_duplicates(np.zeros((2, 32, 32, 3), np.uint8)).any()


@pytest.mark.parametrize("count", [3, 4, 31, 130, 131, 800])
def test_parts_are_drawn_by_class_and_the_same_every_time(script, count):
    drawn = script.parts(count, "ant")
    sizes = np.bincount(drawn, minlength=4)
    labelled = min(count, 130)
    assert sizes[3] == count - labelled
    assert (np.abs(sizes[:3] - labelled * np.array([0.6, 0.15, 0.25])) <= 1).all()
    assert (drawn == script.parts(count, "ant")).all()
    assert count < 31 or (drawn != script.parts(count, "bass")).any()


@pytest.fixture(scope="module")
def pictures():
    """(class, number) -> a picture of 32 x 32, four a class; three more are to be left out."""
    rng = np.random.default_rng(1)
    names = [(name, k) for name in (*CLASSES, "Faces", "BACKGROUND_Google") for k in (1, 2, 3, 10)]
    return {name: rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for name in names}


@pytest.fixture(scope="module")
def categories(tmp_path_factory, pictures):
    """A folder 101_ObjectCategories as in the official archive, with what macOS and others add."""
    top = tmp_path_factory.mktemp("caltech") / "101_ObjectCategories"
    for (name, number), image in pictures.items():
        (top / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(top / name / f"image_{number:04}.png")
    (top / "ant" / "._image_0001.jpg").write_bytes(b"\0")
    (top / "ant" / "annotation_0001.mat").write_bytes(b"\0")
    return top


def tarred(folder, mode):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        archive.add(folder, folder.name)
    return file.getvalue()


def zipped(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


ARCHIVES = {
    "caltech-101.zip": lambda folder: zipped({
        "caltech-101/101_ObjectCategories.tar.gz": tarred(folder, "w:gz"),
        "caltech-101/Annotations.tar": b"",
        "__MACOSX/caltech-101/._101_ObjectCategories.tar.gz": b"\0",
    }),
    "101_ObjectCategories.tar.gz": lambda folder: tarred(folder, "w:gz"),
    "copy.tar": lambda folder: tarred(folder, "w"),
    "flat.zip": lambda folder: zipped({
        f"{path.parent.name}/{path.name}": path.read_bytes() for path in folder.rglob("*.*")
    }),
}  # fmt: skip


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ARCHIVES)
def test_every_form_of_the_archive_gives_the_same_bundle(script, tmp_path, categories, name):
    (tmp_path / name).write_bytes(ARCHIVES[name](categories))
    script.bundle(tmp_path / name, tmp_path / "one")
    script.bundle(categories, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert set(contents(tmp_path / "one")) == {*bundled.MOSAICS, "index.npz", "SHA256SUMS"}


def test_what_is_written_is_what_is_read(script, tmp_path, categories, pictures, capsys):
    twin = categories / "ant" / "image_0011.png"
    Image.fromarray(pictures["ant", 1][:, ::-1]).save(twin)
    script.bundle(categories, tmp_path, quality=101)
    twin.unlink()
    out = capsys.readouterr().out
    assert out.startswith("ant: 1 of 5 are near-duplicates\n400 pictures of 100 classes (")
    found = bundled.photographs(tmp_path)
    names = [(CLASSES[k], n) for k, n in zip(found.labels, found.numbers, strict=True)]
    assert names == sorted(name for name in pictures if name[0] in CLASSES)
    images = found.images(np.ones(len(names), bool))
    for name, image in zip(names, images, strict=True):
        assert (image == pictures[name]).all()
    assert (found.images(found.labels == 7) == images[found.labels == 7]).all()


def test_what_is_no_whole_archive_is_refused_and_replaces_nothing(script, tmp_path, categories):
    (tmp_path / "text").write_text("no archive")
    with tarfile.open(tmp_path / "part.tar", "w") as archive:
        archive.add(categories, "x", filter=lambda one: None if one.name == "x/ant" else one)
    for name, message in (
        ("text", "is no folder, .zip or .tar"),
        ("nowhere", "is no folder, .zip or .tar"),
        ("part.tar", "lacks, or has in excess, the classes ant; give the whole"),
    ):
        with pytest.raises(InputError, match=message):
            script.bundle(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()
