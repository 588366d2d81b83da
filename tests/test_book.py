"""The book's own files: parameter files, and parameters that chapters share."""

from __future__ import annotations

import pytest

from synthbook.record.chapters import MINI, chapters, declared, scale_of, scale_values
from synthbook.record.parameters import check_values

EVERY = [(chapter.name, scale) for chapter in chapters() for scale in chapter.scales]
ON_THE_GAP = [chapter.name for chapter in chapters() if chapter.name.startswith("1")]
FEW_IMAGES = ("52_transfer_to_few_images", "53_why_it_works")
MODELS = ("data", "image_size", "guidance_scale")  # what decides which models are asked, and how
FEW = (
    "architecture", "network_", "training_", "image_size", "pretrain_steps", "augment", "shapes",
    "size_policy", "real_source", "in_domain", "evaluate_every",
)  # fmt: skip


def values(name: str, scale: str = MINI, only: tuple[str, ...] = ("",)) -> dict[str, object]:
    """Return a chapter's parameters at a scale whose names start with one of ``only``."""
    every = {field.name: field.default for field in declared(name)} | scale_values(name, scale)
    return {key: value for key, value in every.items() if key.startswith(only)}


@pytest.mark.parametrize(("chapter", "scale"), EVERY)
def test_every_parameter_file_passes_the_checks_and_is_recognised(chapter: str, scale: str) -> None:
    assert scale_of(chapter, check_values(chapter, {}, scale)) == scale


@pytest.mark.parametrize("name", ON_THE_GAP[1:])
def test_chapters_on_the_gap_mean_the_same_images_and_classifiers(name: str) -> None:
    first, other = values("11_generators"), values(name)
    shared = (first.keys() & other.keys()) - {"seeds"}
    assert {"data", "guidance_scale", "epochs", "learning_rate"} <= shared
    assert {key: first[key] for key in shared} == {key: other[key] for key in shared}


@pytest.mark.parametrize("scale", ["mini", "small", "paper"])
def test_chapters_on_few_images_share_their_pretrained_networks(scale: str) -> None:
    first, other = (values(name, scale, FEW) for name in FEW_IMAGES)
    assert len(first) > 8
    assert first == {key: other.get(key) for key in first}


@pytest.mark.parametrize("scale", ["mini", "small", "paper"])
def test_a_scale_asks_the_same_models_in_every_chapter(scale: str) -> None:
    first, *others = (values(name, scale, MODELS) for name in (*ON_THE_GAP, "61_audit"))
    size = first.pop("image_size")
    assert first["data"]
    for other in others:
        assert other.pop("image_size") in (size, 0)  # 0: as they are
        assert {key: other[key] for key in first if key in other} == first
