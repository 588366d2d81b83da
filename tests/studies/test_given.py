"""What a study of images by names reads of its parameters: recipes, words, and photographs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthbook.data.deferred import Deferred
from synthbook.generate.wordnet import class_words
from synthbook.record.parameters import check_values
from synthbook.studies import given
from synthbook.studies.given import one_crop, recipe_of, sets_of, summary_of, unread

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


def test_a_folder_that_no_memory_holds_is_read_and_has_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("train", "test"):
        for k, kind in enumerate(("a", "b")):
            (tmp_path / part / kind).mkdir(parents=True)
            for n in range(3):
                Image.new("RGB", (8, 8), (80 * k, 80 * n, len(part))).save(
                    tmp_path / part / kind / f"{n}.png"
                )
    p = check_values("31_prompts", {"image_size": 8})
    held, told = sets_of(p, str(tmp_path)), summary_of(p, str(tmp_path))
    monkeypatch.setattr(given, "held_in_memory", lambda *_: False)
    read, other = sets_of(p, str(tmp_path)), summary_of(p, str(tmp_path))
    assert isinstance(read.train, Deferred)
    np.testing.assert_array_equal(read.test.held().images, held.test.images)
    np.testing.assert_array_equal(read.test.labels, held.test.labels)
    assert read.val is read.test  # nothing is chosen on it
    assert other.classes == told.classes == ("a", "b")
    assert other.counts == {"train": 6, "test": 6}
