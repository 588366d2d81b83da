"""The book's own files: parameter files, and parameters that chapters share."""

from __future__ import annotations

import pytest

from synthbook.record.chapters import chapters, declared, scale_of, scale_values
from synthbook.record.parameters import check_values

EVERY = [(chapter.name, scale) for chapter in chapters() for scale in chapter.scales]
GENERATOR = ("diffusion_", "gan_", "guidance_scale", "num_inference_steps")


@pytest.mark.parametrize(("chapter", "scale"), EVERY)
def test_every_parameter_file_passes_the_checks_and_is_recognised(chapter: str, scale: str) -> None:
    parameters = check_values(chapter, {}, scale)
    assert scale_of(chapter, parameters) == scale


def _defaults(name: str) -> dict[str, object]:
    return {field.name: field.default for field in declared(name)}


@pytest.mark.parametrize(
    "name",
    [
        "12_not_mutual",
        "13_learned_too_fast",
        "14_what_an_image_teaches",
        "15_pretrained_guidance",
        "16_real_guidance",
    ],
)
def test_chapters_on_the_gap_mean_the_same_generators_and_classifiers(name: str) -> None:
    first, other = _defaults("11_generators"), _defaults(name)
    shared = (first.keys() & other.keys()) - {"seeds"}
    assert {"diffusion_steps", "gan_steps", "epochs", "learning_rate"} <= shared
    assert {key: first[key] for key in shared} == {key: other[key] for key in shared}


FEW = (
    "style_",
    "gan_",
    "image_size",
    "mapping_layers",
    "pretrain_steps",
    "r1",
    "path_length",
    "ema_half_life",
    "augment",
    "shapes",
    "size_policy",
    "real_source",
    "in_domain",
)


@pytest.mark.parametrize("scale", ["mini", "small", "paper"])
def test_chapters_on_few_images_share_their_pretrained_networks(scale: str) -> None:
    found = []
    for name in ("52_transfer_to_few_images", "53_why_it_works"):
        values = _defaults(name) | (scale_values(name, scale) if scale != "mini" else {})
        found.append({key: value for key, value in values.items() if key.startswith(FEW)})
    assert len(found[0]) > 12
    assert found[0] == {key: value for key, value in found[1].items() if key in found[0]}


@pytest.mark.parametrize("scale", ["small", "small_cpu", "paper"])
def test_a_scale_trains_the_same_generators_in_every_chapter(scale: str) -> None:
    found = []
    for name in (
        "11_generators",
        "12_not_mutual",
        "13_learned_too_fast",
        "14_what_an_image_teaches",
        "15_pretrained_guidance",
        "16_real_guidance",
    ):
        values = scale_values(name, scale)
        found.append({key: value for key, value in values.items() if key.startswith(GENERATOR)})
    assert found[0]
    assert all(one == found[0] for one in found)
