"""Image sets, fixed splits, few-shot draws, and the named sets that packages bundle."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbook.data import ImageSet, available, check, concatenate, fetch, few_shot, load
from synthbook.data.splits import by_share, by_size, plan
from synthbook.errors import InputError


def make(labels, classes=("a", "b"), side=4, name="made"):
    """Return a set whose image k is filled with k, so that images can be told apart."""
    labels = np.asarray(labels, dtype=np.int64)
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    return ImageSet(np.broadcast_to(images, (len(labels), side, side, 1)), labels, classes, name)


def identity(images: ImageSet) -> list[int]:
    return images.images[:, 0, 0, 0].tolist()


# Image sets


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4, 1)), [0, 1], "float64"),
        (np.zeros((2, 4, 4), np.uint8), [0, 1], r"\[2, 4, 4\]"),
        (np.zeros((2, 4, 4, 4), np.uint8), [0, 1], "C = 1 or 3"),
        (np.zeros((2, 4, 4, 1), np.uint8), [0], "one label an image"),
        (np.zeros((2, 4, 4, 1), np.uint8), [0.0, 1.0], "integers"),
        (np.zeros((2, 4, 4, 1), np.uint8), [0, 2], "0 to 2; give 0 to 1"),
        (np.zeros((2, 4, 4, 1), np.uint8), [-1, 1], "-1 to 1"),
    ],
)
def test_image_set_refuses_what_it_is_not(images, labels, message):
    with pytest.raises(InputError, match=message):
        ImageSet(images, labels, ("a", "b"), "made")


def test_image_set_properties():
    images = make([0, 1, 1], ("a", "b", "never"))
    assert (len(images), images.num_classes, images.image_size, images.channels) == (3, 3, 4, 1)
    assert images.counts().tolist() == [1, 2, 0]
    assert images.labels.dtype == np.int64
    assert len(images.subset([])) == 0
    assert identity(images.subset([2, 0])) == [2, 0]
    assert identity(images.subset(images.labels == 1)) == [1, 2]


def test_image_size_needs_squares():
    oblong = ImageSet(np.zeros((1, 4, 6, 3), np.uint8), [0], ("a",), "oblong")
    with pytest.raises(InputError, match="4 x 6; load them with image_size"):
        _ = oblong.image_size


def test_fingerprint_sees_pixels_labels_shape_and_classes_but_not_the_name():
    base = make([0, 1])
    assert base.fingerprint() == make([0, 1], name="other").fingerprint()
    pixels = base.images.copy()
    pixels[1, 3, 3, 0] ^= 1
    others = [
        ImageSet(pixels, base.labels, base.classes, "made"),
        make([1, 0]),
        make([0, 1], ("a", "c")),
        ImageSet(base.images.reshape(2, 2, 8, 1), base.labels, base.classes, "made"),
        base.subset([1, 0]),
    ]
    assert len({base.fingerprint(), *(other.fingerprint() for other in others)}) == 6
    assert len(base.fingerprint()) == 16


def test_of_classes_relabels_in_the_given_order():
    images = make([0, 1, 2, 1], ("ant", "bee", "cow"))
    chosen = images.of_classes(["cow", "bee"])
    assert chosen.classes == ("cow", "bee")
    assert identity(chosen) == [1, 2, 3]
    assert chosen.labels.tolist() == [1, 0, 1]
    with pytest.raises(InputError, match="no class 'bea'; did you mean 'bee'"):
        images.of_classes(["bea"])
    with pytest.raises(InputError, match="it has ant, bee, cow"):
        images.of_classes(["zzzzzz"])
    with pytest.raises(InputError, match="once"):
        images.of_classes(["ant", "ant"])


def test_concatenate():
    both = concatenate(make([0, 1], name="x"), make([1], name="y"))
    assert (both.name, both.labels.tolist(), identity(both)) == ("x+y", [0, 1, 1], [0, 1, 0])
    assert concatenate(make([0]), name="mine").name == "mine"
    with pytest.raises(InputError, match="at least one"):
        concatenate()
    with pytest.raises(InputError, match="image_size"):
        concatenate(make([0]), make([0], side=5))
    with pytest.raises(InputError, match="different classes"):
        concatenate(make([0]), make([0], ("a", "c")))


# Few-shot draws

LABELS = st.lists(st.integers(0, 2), min_size=3, max_size=60)


@given(LABELS, st.integers(1, 20), st.integers(0, 2**32))
@settings(deadline=None)
def test_few_shot_properties(labels, shots, seed):
    images = make([0, 1, 2, *labels], ("a", "b", "c"))
    if images.counts().min() < shots:
        with pytest.raises(InputError, match=f"fewer than shots={shots}"):
            few_shot(images, shots, seed=seed)
        return
    drawn = few_shot(images, shots, seed=seed)
    assert drawn.counts().tolist() == [shots] * 3
    assert len(set(identity(drawn))) == 3 * shots  # without replacement
    assert (images.labels[identity(drawn)] == drawn.labels).all()
    assert identity(few_shot(images, shots, seed=seed)) == identity(drawn)
    if shots > 1:
        assert set(identity(few_shot(images, shots - 1, seed=seed))) < set(identity(drawn))


def test_few_shot_depends_on_the_seed_and_covers_all_images():
    images = make([0, 1] * 20)
    draws = [frozenset(identity(few_shot(images, 3, seed=seed))) for seed in range(60)]
    assert len(set(draws)) > 50
    assert frozenset.union(*draws) == set(range(40))


def test_few_shot_names_the_poorest_class():
    with pytest.raises(InputError, match=r"class 'b' of 'made' has 1 images.*at most 1 shots"):
        few_shot(make([0, 0, 1]), 2, seed=0)
    for shots in (0, -1, 1.5, True, "3"):
        with pytest.raises(InputError, match="integer of at least 1"):
            few_shot(make([0, 1]), shots, seed=0)


# Splits


@given(st.lists(st.integers(3, 40), min_size=2, max_size=5))
@settings(deadline=None)
def test_by_share_is_a_stratified_partition(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    parts = by_share(labels, {"train": 0.6, "val": 0.1, "test": 0.3})
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(labels)))
    for k, size in enumerate(sizes):
        for part, share in (("train", 0.6), ("val", 0.1), ("test", 0.3)):
            count = int((labels[parts[part]] == k).sum())
            assert count >= 1
            assert abs(count - share * size) <= 1


@given(st.lists(st.integers(1, 40), min_size=2, max_size=5), st.data())
@settings(deadline=None)
def test_by_size_is_exact_in_size_and_stratified(sizes, data):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    first = data.draw(st.integers(0, len(labels)))
    wanted = {"train": first, "test": len(labels) - first}
    parts = by_size(labels, wanted)
    assert {part: len(indices) for part, indices in parts.items()} == wanted
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(labels)))
    for k, size in enumerate(sizes):
        count = (labels[parts["train"]] == k).sum()
        bound = 0.5 + len(sizes) * size / (2 * len(labels))
        assert abs(count - size * first / len(labels)) <= bound + 1e-9
    with pytest.raises(ValueError, match="do not cover"):
        by_size(labels, {"train": first, "test": len(labels) - first + 1})


def test_validation_is_a_tenth_of_each_class_of_train_as_in_the_papers():
    labels = {"train": np.arange(5000) % 10, "test": np.arange(10)}
    chosen = plan(labels, tuple("abcdefghij"), "made")
    assert list(chosen) == ["train", "val", "test"]
    part, indices = chosen["val"]
    assert part == "train"
    assert np.bincount(labels["train"][indices]).tolist() == [50] * 10
    assert not set(indices) & set(chosen["train"][1])
    assert chosen["test"][1].tolist() == list(range(10))


def test_a_class_too_small_to_split_is_named():
    with pytest.raises(InputError, match=r"class 'b' of 'made' has only 2 image\(s\) in the pool"):
        plan({"pool": np.array([0, 0, 0, 1, 1])}, ("a", "b"), "made")
    with pytest.raises(InputError, match="class 'b' of 'made' has no image in train"):
        plan({"train": np.array([0, 0]), "test": np.array([1])}, ("a", "b"), "made")


# Bundled sets


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
    counts = check(name).counts
    assert tuple(counts[split] for split in ("train", "val", "test")) == sizes


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    splits, digits = load("digits"), load_digits()
    ours = np.concatenate([part.images for part in (splits.train, splits.val, splits.test)])
    labels = np.concatenate([part.labels for part in (splits.train, splits.val, splits.test)])
    values = np.rint(ours[..., 0] * (16 / 255)).astype(int).reshape(len(ours), 64)
    got = sorted((*row, label) for row, label in zip(values.tolist(), labels.tolist(), strict=True))
    wanted = zip(digits.data.astype(int).tolist(), digits.target.tolist(), strict=True)
    assert got == sorted((*row, label) for row, label in wanted)


def test_image_size_and_channels():
    native, large = load("digits"), load("digits", image_size=16, channels=3)
    assert large.train.images.shape == (300, 16, 16, 3)
    assert (large.train.images[..., 0] == large.train.images[..., 2]).all()
    assert (large.train.labels == native.train.labels).all()
    small = large.train.images[..., 0].astype(float).mean((1, 2))
    assert np.abs(small - native.train.images[..., 0].mean((1, 2))).max() < 6


@pytest.mark.parametrize("image_size", [-1, 3, 5000, 8.0, True, "8"])
def test_bad_image_size_and_channels(image_size):
    for ask in (load, check):
        with pytest.raises(InputError, match="image_size is"):
            ask("digits", image_size=image_size)
        with pytest.raises(InputError, match="channels is 2"):
            ask("digits", channels=2)


# Names


@pytest.mark.parametrize("ask", [load, check])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("cifra10", r"unknown data set 'cifra10'; did you mean 'cifar10'\? \(known: digits, "),
        ("cifar10", "'cifar10' needs data_root.*--download.*cifar10.npz"),
        ("./nowhere", "data './nowhere' does not exist"),
        ("nowhere.npz", "data 'nowhere.npz' does not exist"),
        ("", "data is ''"),
        (None, "data is None"),
        (__file__, "is a file, but no .npz"),
    ],
)
def test_names_and_paths_that_are_none(ask, data, message):
    with pytest.raises(InputError, match=message):
        ask(data)


def test_data_root_that_has_not_got_it(tmp_path):
    for ask in (load, check):
        with pytest.raises(InputError, match=r"'stl10' is not under.*--download"):
            ask("stl10", data_root=str(tmp_path))
        with pytest.raises(InputError, match="is no folder"):
            ask("stl10", data_root=str(tmp_path / "nowhere"))


def test_available_lists_every_set_with_its_terms(tmp_path):
    rows = available()
    assert {row["name"] for row in rows if row["present"]} == {"digits", "mnist5k"}
    assert all(row["origin"] and row["licence"] and row["citation"] for row in rows)
    assert all("--download" in row["how"] for row in rows if not row["present"])
    (tmp_path / "svhn.npz").touch()
    assert {row["name"] for row in available(str(tmp_path)) if row["present"]} == {
        "digits", "mnist5k", "svhn",
    }  # fmt: skip


def test_fetch_asks_for_a_root_and_does_nothing_for_bundled_sets(tmp_path):
    with pytest.raises(InputError, match="needs data_root"):
        fetch("cifar10", "")
    with pytest.raises(InputError, match="unknown data set"):
        fetch("nothing", str(tmp_path))
    assert fetch("digits", str(tmp_path)) == tmp_path


def test_import_and_check_are_light():
    code = (
        "import sys; from synthbook.data import check, load; check('digits'); load('digits'); "
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
