"""Pretrained pairs in folders: made once, found by what they learned from, refused if altered."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from synthbook.data import load
from synthbook.errors import InputError
from synthbook.gans import networks
from synthbook.generate.primitives import Primitives
from synthbook.record.parameters import check_values
from synthbook.studies import few_images, pairs, prim, reasons
from synthbook.studies.targets import real_source


@pytest.fixture
def short(monkeypatch):
    """Let the book's pairs be trained for a moment, on small networks."""
    small = pairs.NETWORK | {"channels": 8, "discriminator_channels": 8, "latent": 4}
    monkeypatch.setattr(pairs, "NETWORK", small)
    monkeypatch.setattr(pairs, "PRETRAINING", replace(pairs.PRETRAINING, steps=3, batch_size=4))
    monkeypatch.setattr(pairs, "JUDGED", 4)
    monkeypatch.setattr(pairs, "EVERY", 2)


def _find(name: str, seed: int = 0):
    images = pairs.images_of(pairs.sources()[name], seed)
    return pairs.find(images, pairs.PRETRAINING, pairs.NETWORK, seed=seed)


def test_a_pair_is_made_once_and_found_by_what_it_learned_from(short, monkeypatch) -> None:
    assert _find("primitives-ps") is None
    folder = pairs.make("primitives-ps", 0)
    assert folder.name == "primitives-ps-0"
    moved = folder.rename(folder.with_name("whatever"))
    monkeypatch.setattr(few_images, "pretrained", None)  # nothing is trained again
    assert pairs.make("primitives-ps", 0) == moved == _find("primitives-ps")
    assert _find("primitives-ps", seed=1) is None
    assert _find("primitives") is None
    monkeypatch.setattr(pairs, "PRETRAINING", replace(pairs.PRETRAINING, r1=1.0))
    assert _find("primitives-ps") is None


def test_a_kept_pair_has_the_weights_that_were_trained_in_half_the_bytes(short) -> None:
    folder = pairs.make("caltech97", 0)
    assert {"0", "2", "3"} == json.loads((folder / "card.json").read_text())["curve"].keys()
    cache = Path(os.environ["SYNTHBOOK_CACHE"])
    (trained,) = (file.parent for file in cache.glob(f"pretrained_gans/*/{few_images.STATES}"))
    for load_ in (networks.load, networks.load_unaveraged, networks.load_discriminator):
        kept, whole = load_(folder).state_dict(), load_(trained).state_dict()
        floats = [name for name, weight in whole.items() if weight.is_floating_point()]
        assert all(kept[name].dtype == torch.float32 for name in floats)
        assert all(torch.equal(kept[name], whole[name].half().float()) for name in floats)
    for name in ("generator", "discriminator", "unaveraged"):
        sizes = [(f / f"{name}.safetensors").stat().st_size for f in (folder, trained)]
        assert sizes[0] < 0.75 * sizes[1]


@pytest.mark.parametrize("fault", ["cut off", "missing", "no card", "another format", "altered"])
def test_a_pair_that_is_not_what_its_card_says_is_refused(short, fault) -> None:
    folder = pairs.make("primitives", 0)
    weights, card = folder / "discriminator.safetensors", folder / "card.json"
    if fault == "cut off":
        weights.write_bytes(weights.read_bytes()[:-8])
        says = "discriminator.safetensors is not the file whose SHA-256"
    elif fault == "missing":
        weights.unlink()
        says = "discriminator.safetensors is missing"
    elif fault == "altered":
        card.write_text(card.read_text().replace('"minutes": ', '"minutes": 1'))
        says = "card.json is not as it was written"
    else:
        card.write_text("{}" if fault == "no card" else card.read_text().replace(
            '"format": 1', '"format": 2'
        ))  # fmt: skip
        says = "is no card of a pair"
    with pytest.raises(InputError, match=f"{says}.*make models"):
        _find("primitives")


def test_drawn_images_that_differ_under_one_name_are_another_source() -> None:
    drawn = pairs.images_of(Primitives(shapes=50), 0)
    dark = replace(drawn, images=lambda which: torch.zeros_like(drawn.images(which)))
    told = [
        pairs.learned_from(source, pairs.PRETRAINING, pairs.NETWORK, 0)["source"]
        for source in (drawn, dark)
    ]
    assert told[0] != told[1]
    assert drawn.name == dark.name


@pytest.mark.parametrize(
    ("chapter", "study", "parts"),
    [
        ("52_transfer_to_few_images", prim.Transfer, ["synthesizers", "sources"]),
        ("53_why_it_works", reasons.Reasons, ["filters", "ablation"]),
    ],
)
def test_the_pairs_of_the_book_are_those_that_its_chapters_ask_for(
    chapter, study, parts, monkeypatch
) -> None:
    asked = []

    def find(source, recipe, network, *, seed):
        asked.append(pairs.learned_from(source, recipe, network, seed))

    monkeypatch.setattr(pairs, "find", find)
    monkeypatch.setattr(few_images, "pretrained", lambda *given, **more: None)
    grid = {"counts": [0, 5, 50, 250]} if chapter.startswith("53") else {
        "variants": ["PinkNoise", "Primitives", "Primitives-S", "Primitives-PS"]
    }  # fmt: skip
    p = check_values(chapter, {"parts": parts, "stop_after": 0, **grid})
    chapter_study = study(p, "cpu")
    if chapter.startswith("52"):
        for model in chapter_study.models:
            chapter_study.learned_before(0, model)
    else:
        chapter_study.pretrained(0, "real")
        for policy, count in chapter_study.plans[1:]:
            recipe = replace(chapter_study.drawn, shapes=count, size_policy=policy)
            chapter_study.pretrained(0, recipe)
    known = [
        pairs.learned_from(pairs.images_of(one, 0), pairs.PRETRAINING, pairs.NETWORK, 0)
        for one in pairs.sources().values()
    ]
    assert len(asked) >= 5
    assert all(one in known for one in asked)


def test_the_real_source_has_no_picture_of_a_target() -> None:
    source = real_source(pairs.REAL, without=[], image_size=32)
    pictures = {image.tobytes() for image in source.images}
    targets = load("caltech3", image_size=32, channels=3)
    whole = np.concatenate([targets.train.images, targets.val.images, targets.test.images])
    assert not pictures & {image.tobytes() for image in whole}
