"""What a study of images by names reads of its parameters: recipes, words, and photographs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthbook.data import Summary
from synthbook.data.deferred import Deferred
from synthbook.errors import InputError
from synthbook.generate.wordnet import class_words
from synthbook.record.parameters import check_values
from synthbook.studies import given
from synthbook.studies.given import (
    TESTS,
    check_clones,
    check_networks,
    check_words,
    networks_of,
    one_crop,
    recipe_of,
    sets_of,
    summary_of,
    unread,
)

SMALL: dict[str, Any] = {"updates": 2, "view_settings": ["global_size: 8", "local_size: 8"]}


@pytest.mark.parametrize("chapter", ["32_scale_and_shift", "33_transfer"])
def test_both_parts_have_a_hundred_epochs_on_paper(chapter: str) -> None:
    p = check_values(chapter, {}, "paper")
    for part, images in (("sizes", 126_689), ("classes", 1_281_167)):
        recipe = recipe_of(p, part)
        assert recipe.updates * recipe.batch_size / images == pytest.approx(100, abs=0.2)


def test_recipes_are_what_the_parameters_say() -> None:
    recipe = recipe_of(check_values("31_prompts", SMALL | {"training_settings": ["warmup: 0.5"]}))
    assert (recipe.updates, recipe.warmup, recipe.views.global_size) == (2, 0.5, 8)
    assert one_crop(recipe).views.sizes(32) == [8]


def test_names_without_a_caption_are_told_and_not_all_of_many() -> None:
    many = unread({"model": ""}, class_words("caltech101"))
    assert re.search(r"face, accordion, .* and \d+ more\. What", many)
    assert not unread({"model": ""}, class_words("cifar100"))
    assert not unread({"model": "another"}, class_words("caltech101"))


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("words.csv", None, r"class_words = '.*words\.csv' is no file; give one \(a line is: name"),
        ("cifar11", None, "class_words = 'cifar11' is no file; did you mean 'cifar10'"),
        ("words.csv", b"", "class_words: .* has no class; a line is: name"),
        ("words.csv", b"a, b, c, d\n", "class_words: .* has 4 parts; a line is"),
        ("words.csv", b'"a\n', "class_words: .*near '\"a'.*; a line is"),
        ("words.csv", b"\xff\xfe", "class_words: .* is no text in UTF-8"),
        ("words.csv", b"a\n", "class_words = .* no line for the class 'b' of 'mine'; add one"),
    ],
)
def test_a_wrong_file_of_words_is_told_with_its_parameter(
    tmp_path: Path, file: str, text: bytes | None, fault: str
) -> None:
    path = tmp_path / file if file.endswith("csv") else Path(file)
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(InputError, match=f"^{fault}"):
        check_words({"class_words": str(path)}, "mine", ("a", "b"))


def test_a_file_of_words_or_the_name_of_a_set_has_the_words_of_the_classes(tmp_path: Path) -> None:
    (tmp_path / "words.csv").write_text("b\na, some thing\n")
    for source in (str(tmp_path / "words.csv"), "cifar10"):
        classes = ("a", "b") if source != "cifar10" else ("cat", "dog")
        found = check_words({"class_words": source}, "mine", classes)
        assert tuple(words.name for words in found) == classes


def test_published_networks_know_the_classes_of_imagenet_alone() -> None:
    networks = ["A=timm:efficientnet_lite0", "B=timm:resnet50.tv_in1k"]
    assert networks_of({"real_networks": networks}) == {
        "A": "efficientnet_lite0", "B": "resnet50.tv_in1k",
    }  # fmt: skip
    synsets = tuple(words.name for words in class_words("imagenet"))

    def many(classes: tuple[str, ...]) -> Summary:
        return Summary("many", "", "", len(classes), classes, {}, "")

    p = {"real_networks": networks[:1]}
    check_networks(p, many(synsets))
    check_networks({"real_networks": []}, None)
    for summary, message in (
        (None, "are rated in the part classes; add it to parts"),
        (many(synsets[:68]), "efficientnet_lite0 knows 1,000 classes and 'many' has 68"),
        (many(synsets[::-1]), "classes of ImageNet, and 'many' has others; name its class folders"),
    ):
        with pytest.raises(InputError, match=message):
            check_networks(p, summary)
    for wrong in (["resnet50"], ["A=resnet50"], ["=timm:resnet50"], [networks[0]] * 2):
        with pytest.raises(InputError, match="give each as NAME=timm:NETWORK with a name of its"):
            networks_of({"real_networks": wrong})


def in_parts(folder: Path) -> None:
    """Write a folder of train and test, with three images of two classes each."""
    for part in ("train", "test"):
        for k, kind in enumerate(("a", "b")):
            (folder / part / kind).mkdir(parents=True)
            for n in range(3):
                Image.new("RGB", (8, 8), (80 * k, 80 * n, len(part))).save(
                    folder / part / kind / f"{n}.png"
                )


def test_a_folder_that_no_memory_holds_is_read_and_has_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_parts(tmp_path)
    p = check_values("31_prompts", {"image_size": 8})
    held, told = sets_of(p, str(tmp_path)), summary_of(p, str(tmp_path))
    given.check_validated(p, str(tmp_path))
    monkeypatch.setattr(given, "held_in_memory", lambda *_: False)
    read, other = sets_of(p, str(tmp_path)), summary_of(p, str(tmp_path))
    assert isinstance(read.train, Deferred)
    np.testing.assert_array_equal(read.test.held().images, held.test.images)
    np.testing.assert_array_equal(read.test.labels, held.test.labels)
    assert read.val is read.test  # nothing is chosen on it
    with pytest.raises(InputError, match=r"has no validation part.*; add a folder val, or else$"):
        given.check_validated(p, str(tmp_path), ", or else")
    shutil.copytree(tmp_path / "test", tmp_path / "val")
    given.check_validated(p, str(tmp_path))
    assert other.classes == told.classes == ("a", "b")
    assert other.counts == {"train": 6, "test": 6}


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_damaged_image_of_a_folder_that_no_memory_holds_is_named_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    in_parts(tmp_path)
    monkeypatch.setattr(given, "held_in_memory", lambda *_: False)
    p = check_values("31_prompts", {"image_size": 8})
    assert summary_of(p, str(tmp_path)).counts[part] == 6
    drawn = tmp_path / part / "b" / "x.gif"
    Image.new("L", (8, 8)).save(drawn)
    for _ in range(2):
        with pytest.raises(InputError, match=r"1 unreadable .*x\.gif .*; replace or delete them"):
            summary_of(p, str(tmp_path))
    drawn.unlink()
    assert summary_of(p, str(tmp_path)).counts[part] == 6


def test_other_tests_are_made_of_images_in_memory_or_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_parts(tmp_path / "mine")
    (tmp_path / "words.csv").write_text("a, one\nb, two\n")
    monkeypatch.setattr(given, "check_model", lambda p: None)
    how = {"data": str(tmp_path / "mine"), "image_size": 8, "set_size": 0}
    how |= SMALL | {"class_words": str(tmp_path / "words.csv")}
    own = [f"{test}={tmp_path / 'mine' / 'test'}" for test in TESTS[1:]]

    def told(*tests: str, chapter: str = "31_prompts", **other: Any) -> Summary:
        p = check_values(chapter, how | ({"other_tests": [*tests]} if tests else {}) | other)
        return check_clones(p, [("name", 2.0)], part="sizes")

    assert told().num_classes == 2  # in memory
    monkeypatch.setattr(given, "held_in_memory", lambda *_: False)
    with pytest.raises(InputError, match="its tests v2, sketch, rendition, adversarial are made"):
        told()
    with pytest.raises(InputError, match=r"its tests adversarial are .*\(adversarial=FOLDER\)"):
        told(*own[:3])
    assert told(*own).num_classes == 2
    assert told(chapter="33_transfer").num_classes == 2  # it has the own test alone
    Image.new("L", (8, 8)).save(tmp_path / "mine" / "test" / "a" / "x.gif")
    monkeypatch.setattr(given, "held_in_memory", lambda *_: True)
    with pytest.raises(InputError, match=r"x\.gif"):
        told(*own, data="caltech10", class_words="")
