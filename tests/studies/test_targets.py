"""What few-image GANs learn from: draws, exclusions, and clear errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from synthbook.errors import InputError
from synthbook.generate.primitives import Primitives, synthesize
from synthbook.studies.targets import (
    check_target,
    labelled_source,
    real_source,
    stream,
    target,
)

ALL = {"without": [], "image_size": 8}
HOW = {"count": 20, "image_size": 16, "seed": 0}


@pytest.mark.parametrize("text", ["china", "mnist5k:3", "digits:7"])
def test_train_and_held_out_are_rgb_disjoint_and_drawn_by_the_seed(text: str) -> None:
    one, again, other = target(text, **HOW), target(text, **HOW), target(text, **HOW | {"seed": 1})
    assert one.train.images.shape == (20, 16, 16, 3)
    assert one.train.num_classes == 1
    assert one.train.fingerprint() == again.train.fingerprint() != other.train.fingerprint()
    assert one.held_out is not None
    train = {image.tobytes() for image in one.train.images}
    held_out = {image.tobytes() for image in one.held_out.images}
    assert len(train) >= 19
    assert not train & held_out


def test_a_class_is_taken_whole_and_from_all_splits() -> None:
    found = target("mnist5k:3", **HOW | {"count": 100})
    assert len(found.train) + len(found.held_out) == 500


def test_a_folder_of_loose_images_is_a_target(tmp_path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "deeper").mkdir()
    for k in range(6):
        mode = ("L", "RGBA", "RGB")[k % 3]
        shape = (20, 30) if mode == "L" else (20, 30, len(mode))
        image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode=None)
        image.save(tmp_path / ("deeper" if k > 3 else "") / f"{k}.png")
    deep = Image.fromarray(rng.integers(0, 65536, (20, 30), dtype=np.uint16))
    deep.save(tmp_path / "sixteen.png")  # 16 bits
    found = target(str(tmp_path), count=7, image_size=8, seed=0)
    assert found.train.images.shape == (7, 8, 8, 3)
    assert found.held_out is None
    assert "7 images" in check_target(str(tmp_path))
    with pytest.raises(InputError, match=r"has 7 images; lower the 8"):
        target(str(tmp_path), count=8, image_size=8, seed=0)


@pytest.mark.parametrize("text", ["china", "mnist5k:3"])
def test_how_many_are_held_out_changes_neither_what_is_learned_nor_the_first(text: str) -> None:
    usual = target(text, **HOW)
    for spare in (5, 450):
        found = target(text, **HOW, spare=spare)
        assert found.train.fingerprint() == usual.train.fingerprint()
        one, other = ({x.tobytes() for x in some.held_out.images} for some in (found, usual))
        assert len(found.held_out) == spare
        assert one <= other or other < one
    assert len(usual.held_out) == 400


def test_a_folder_with_train_and_test_gives_one_to_learn_and_one_to_hold_out(tmp_path) -> None:
    rng, pixels = np.random.default_rng(0), {"train": set(), "test": set()}
    for part, number in (("train", 8), ("test", 5)):
        for k in range(number):
            folder = tmp_path / part / "ab"[k % 2]
            folder.mkdir(parents=True, exist_ok=True)
            image = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(image).save(folder / f"{k}.png")
            pixels[part].add(image.tobytes())
    text = f"{tmp_path}/"

    def drawn(**how) -> list[set[bytes]]:
        found = target(text, image_size=8, **{"seed": 0} | how)
        return [{x.tobytes() for x in some.images} for some in (found.train, found.held_out)]

    assert drawn(count=8) == [pixels["train"], pixels["test"]]
    train, held_out = drawn(count=5, spare=3)
    assert (len(train), len(held_out)) == (5, 3)
    assert train < pixels["train"]
    assert held_out < pixels["test"]
    assert drawn(count=5, spare=3, seed=1) != [train, held_out]
    assert "8 images to learn from in train, 5 held out in test" in check_target(text, count=8)
    for ask in (
        lambda: check_target(text, count=9),
        lambda: target(text, count=9, image_size=8, seed=0),
    ):
        with pytest.raises(InputError, match=r"train' has 8 images; (give|lower the)"):
            ask()
    assert "13 images in a folder" in check_target(text, count=13, whole=True)  # of a source
    assert len(real_source(text, without=[], image_size=8)) == 13


def test_the_real_source_leaves_the_targets_classes_out() -> None:
    whole = real_source("digits", without=[], image_size=8)
    fewer = real_source("digits", without=["digits:3", "china", "mnist5k:4"], image_size=8)
    only = real_source("digits:3", without=[], image_size=8)
    assert len(whole) == 1797
    assert len(whole) - len(fewer) == len(only) > 100
    assert whole.channels == 3
    threes = {image.tobytes() for image in only.images}
    assert not threes & {image.tobytes() for image in fewer.images}


def test_pictures_of_the_same_archive_are_left_out_under_any_of_its_names() -> None:
    faces = "caltech3:Faces_easy"
    few = target(faces, count=100, image_size=8, seed=0)
    known = {image.tobytes() for image in (*few.train.images, *few.held_out.images)}
    classes = {}
    for name in ("caltech101", "caltech97"):
        found = labelled_source(name, without=[faces], image_size=8)
        whole = labelled_source(name, without=[], image_size=8)
        assert not known & {image.tobytes() for image in found.images}
        classes[name] = {*whole.classes} - {*found.classes}
    assert classes == {"caltech101": {"Faces_easy"}, "caltech97": set()}
    assert known & {image.tobytes() for image in real_source("caltech101", **ALL).images}


def test_of_any_other_source_the_targets_own_images_are_left_out(tmp_path) -> None:
    rng, pixels = np.random.default_rng(0), {}
    for kind, number in (("a", 4), ("b", 3)):
        (tmp_path / kind).mkdir()
        for k in range(number):
            pixels[kind, k] = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels[kind, k]).save(tmp_path / kind / f"{k}.png")
    (tmp_path / "few").mkdir()
    Image.fromarray(pixels["a", 1]).save(tmp_path / "few/x.png")
    few = [str(tmp_path / "few"), str(tmp_path / "not there")]
    held = {
        image.tobytes() for image in real_source(str(tmp_path), without=few, image_size=8).images
    }
    assert held == {x.tobytes() for x in pixels.values()} - {pixels["a", 1].tobytes()}
    with pytest.raises(InputError, match="is a target; choose another source"):
        real_source(str(tmp_path / "b"), without=[str(tmp_path)], image_size=8)


def test_a_stream_draws_what_the_synthesizer_draws() -> None:
    labelled = target("digits:3", **HOW).train
    drawn = stream(Primitives(), image_size=16, seed=3, labels_of=labelled)
    assert (drawn.num_classes, drawn.labels.tolist()) == (1, [0] * 20)
    assert labelled.fingerprint() in drawn.name
    images = drawn.images(torch.tensor([7, 0]))
    same = synthesize(Primitives(), indices=[7, 0], resolution=16, seed=3)
    assert images.dtype == torch.uint8
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), same)
    names = {
        stream(recipe, image_size=size, seed=seed).name
        for recipe in (Primitives(), Primitives(shapes=10), Primitives(size_policy="Rand"))
        for size in (16, 32)
        for seed in (0, 1)
    }
    assert len(names) == 12


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("chima", "no target 'chima'"),
        ("mnist5k:eleven", "no class 'eleven'"),
        ("mnist6k:3", "mnist5k"),
        ("", "no target ''"),
    ],
)
def test_an_unknown_target_is_named(text: str, words: str) -> None:
    for ask in (check_target, lambda name: target(name, **HOW)):
        with pytest.raises(InputError, match=words):
            ask(text)


def test_an_empty_folder_and_a_source_without_classes_left_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="holds no image"):
        check_target(str(tmp_path))
    with pytest.raises(InputError, match="every class of 'digits'"):
        real_source("digits", without=[f"digits:{k}" for k in range(10)], image_size=8)
