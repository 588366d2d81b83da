"""The experiment of chapter 16 on a miniature: which rows, of which trainings."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from synthbook.data import Splits, concatenate, few_shot, load
from synthbook.errors import InputError
from synthbook.record.parameters import check_values
from synthbook.studies import training_sets
from synthbook.studies.image_sources import SAME_IMAGES, check_what_an_image_teaches
from synthbook.studies.real_guidance import (
    ALL_OURS,
    RealGuidance,
    check_real_guidance,
    generator_knows,
)

TRAIN = "real_few+gan"


def values(rows: list[dict], **where) -> list[float]:
    return [row["value"] for row in rows if where.items() <= row.items()]


def test_what_a_generator_knows_beside_the_classifiers_images(p16: dict) -> None:
    assert generator_knows(p16, "gan", 2) == generator_knows(p16, "gan", None) == "all"
    assert generator_knows(p16, "gan", 0) == "same"
    assert generator_knows(p16 | {"set_size": 10}, "gan", 0) == "all"
    assert generator_knows(p16 | {"sources": ("real", "mine=a.npz")}, "mine", 0) == "unknown"


@pytest.mark.usefixtures("all_kept")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sources": ("gan", "diffusion")}, "give real and a generator"),
        ({"methods": ("plain", "RG")}, "none of those of the part sensitivity"),
        ({"shots": 31}, "shots = 31 of some 30 images a class"),
        ({"set_size": 100, "shots": 20}, "shots = 20 of some 10 images a class"),
        ({"n_real": (2, 40)}, "n_real = 40"),
        ({"synthetic_ratio": 20.0}, "give at most 15"),
        ({"sources": ("real", "mine=.")}, "the part same_images"),
    ],
)
def test_parameters_of_chapter_16_that_do_not_fit_are_refused(p16: dict, values, message) -> None:
    assert check_real_guidance(p16).num_classes == 10
    with pytest.raises(InputError, match=message):
        check_real_guidance(p16 | values)
    unused = p16 | {"parts": ("methods",), "n_real": (2, 40), "methods": ("plain",)}
    check_real_guidance(unused)  # what a part needs is asked only where it runs


def test_a_folder_must_hold_as_many_images_as_the_ratio_asks_for(
    p16: dict, tmp_path, all_kept
) -> None:
    p = p16 | {"parts": ("methods",), "shots": 0, "synthetic_ratio": 2.0, "set_size": 100}
    p |= {"confidence": 0.8}
    check_real_guidance(p)  # as many are sampled

    def said(held: int, **values) -> str:
        images = np.zeros((held, 8, 8), np.uint8)
        np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(held) % 10)
        own = p | {"sources": ("real", f"mine={tmp_path / 'mine.npz'}")} | values
        try:
            return str(check_real_guidance(own))
        except InputError as error:
            return str(error)

    why = "249 images in .* and 250 are needed .2 for each of 100 real ones, and half as many as "
    assert re.search(f"'mine' has {why}.*give -p synthetic_ratio=1.99 or less", said(249))
    assert "are needed" not in said(250) + said(249, synthetic_ratio=1.99)
    assert "give -p set_size=56 or less" in said(140)
    assert "give -p set_size=93 or less" in said(140, synthetic_ratio=1.0)


def test_models_of_few_images_are_asked_for_before_anything_is_trained(
    p16: dict, keep_models
) -> None:
    real = load("digits").train
    keep_models(real)
    asked = {"data": "digits", "set_size": 0, "shots": 2, "controls": [SAME_IMAGES]}
    p14 = check_values("14", asked | {"parts": ["costs", "adding"]})
    for check, p, other in (
        (check_real_guidance, p16, {"parts": ("methods",)}),
        (check_what_an_image_teaches, {**p14}, {"parts": ("costs",)}),
    ):
        check(p | other)
        with pytest.raises(InputError, match=r"no diffusion model number 0 .*20 .*same_images out"):
            check(p)
    keep_models(few_shot(real, 2, seed=0))
    check_real_guidance(p16)
    check_what_an_image_teaches(p14)
    with pytest.raises(InputError, match="no diffusion model number 1 of these 20 images"):
        check_real_guidance(p16 | {"seeds": 2, "generators": 1})


def test_rows_of_chapter_16(p16: dict, real: Splits, trained: list[dict], distinct) -> None:
    experiment = RealGuidance(p16, real)
    rows = distinct(experiment.rows(5))
    where = {"part": "methods", "metric": "top1_accuracy"}
    assert len(values(rows, **where)) == 2 * 7 + 2
    for source in ("diffusion", "gan", "real", "real_few"):
        assert len(values(rows, method="plain", train=source, **where)) == 1
    ours = values(rows, method="RG", train="real_few+gan", **where)
    where = {"method": "RG", "metric": "top1_accuracy"}
    for part, setting in (("real_images", {"n_real": 2}), ("readings", {"per_layer": False})):
        assert values(rows, part=part, **where, **setting)[1:] == ours
    where = {"part": "sensitivity", "split": "test", "metric": "top1_accuracy", "train": TRAIN}
    for name, usual in (("lambda_1", 1.0), ("lambda_2", 1.0), ("lambda_3", 0.1)):
        assert len(values(rows, varied=name, **where)) == 2
        same = {"method": ALL_OURS, "train": TRAIN, "metric": "top1_accuracy", "part": "methods"}
        assert values(rows, varied=name, weight=usual, **where) == values(rows, **same)
    assert len(values(rows, part="real_images", metric="top1_accuracy")) == 2 * 5 * 2
    assert len(values(rows, part="real_images", metric="share_projected")) == 2 * 3 * 2
    assert len(values(rows, part="readings", metric="top1_accuracy")) == 2 * 4
    assert len(values(rows, part="same_images", metric="top1_accuracy")) == 2 * 7
    where = {"part": "same_images", "generator_knows": "same", "metric": "top1_accuracy"}
    assert len(values(rows, method="plain", train="gan", **where)) == 1  # without real images
    weights = [row["lambda_3"] for row in rows if row.get("varied") and "lambda_3" in row]
    assert set(weights) == {0.1}  # where another weight is varied
    assert values(rows, method="Aug", metric="relative_cost") == [1.0, 1.0]
    angles = values(rows, method="RG", metric="mean_cosine", train=TRAIN, part="methods")
    assert angles == [np.mean(experiment.histories["RG", TRAIN, 5].extra["cosine"])]
    knows = {(row["part"], row.get("generator_knows")) for row in rows if "+" in row["train"]}
    assert knows == {(part, "same" if part == "same_images" else "all") for part in p16["parts"]}
    assert {row["train"] for row in rows if "generator_knows" not in row} == {"real", "real_few"}
    # Nothing is trained twice, and all in equal time.
    # methods, generators of the few, n_real 4, other weights, per layer
    alone, both = 2 + 2 + 2, 2 * (6 + 6 + 5 + 3 + 1)
    assert len(trained) == alone + both
    assert {call["updates"] for call in trained} == {2}


def test_the_images_of_chapter_16(
    p16: dict, real: Splits, trained: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    p = p16 | {"parts": ("methods",), "methods": ("plain", "Aug"), "synthetic_ratio": 2.0}
    p |= {"sources": ("real", "diffusion")}
    list(RealGuidance(p, real).rows(0))
    sizes = [
        tuple(len(call[name]) if call[name] else 0 for name in ("real", "synthetic"))
        for call in trained
    ]
    # The few real ones alone, timed with Aug; all of them; generated ones alone.
    assert sizes == [(4, 0), (4, 8), (16, 0), (0, 8)]
    assert {call["guide"] for call in trained} == {None}
    trained.clear()
    rows = list(RealGuidance(p | {"shots": 0, "synthetic_ratio": 0.5}, real).rows(1))
    assert [len(call["synthetic"]) for call in trained if call["synthetic"]] == [8, 8]
    assert all(call["real"] is real.train for call in trained if call["real"])
    assert {row["generator_knows"] for row in rows if "generator_knows" in row} == {"same"}
    trained.clear()
    more = {"real": real.train, "diffusion": concatenate(real.train, real.test, name="more")}
    more = {name: SimpleNamespace(train=images) for name, images in more.items()}
    monkeypatch.setattr(training_sets, "training_sets", lambda *_, **__: more)
    list(RealGuidance(p | {"shots": 0, "synthetic_ratio": 2.0}, real).rows(0))
    assert {len(call["synthetic"]) for call in trained if call["synthetic"]} == {32}


def test_too_few_images_of_a_class_stop_before_anything_is_trained(p16: dict, real: Splits) -> None:
    with pytest.raises(InputError, match="images"):
        RealGuidance(p16 | {"shots": 9}, real)


def test_few_real_images_are_training_images(p16: dict, real: Splits, trained: list[dict]) -> None:
    p = p16 | {"parts": ("methods",), "methods": ("plain", "Aug"), "sources": ("real", "gan")}
    list(RealGuidance(p, real).rows(0))
    shown = {x.tobytes() for call in trained if call["real"] for x in call["real"].images}
    assert shown
    assert shown <= {x.tobytes() for x in real.train.images}


def test_a_run_takes_the_numbers_of_methods(p16: dict, real: Splits, trained: list[dict]) -> None:
    given = ("Adp.second_stage=updates", "RG.lambda_1=0.5")
    p = p16 | {"parts": ("methods", "readings"), "methods": ("Adp", "RG", "sum")}
    list(RealGuidance(p | {"method_settings": given}, real).rows(0))
    names = [call["name"] for call in trained]
    stages = [call["second_stage"] for call in trained if call["name"] == "Adp"]
    assert sorted(stages) == ["epochs"] * 2 + ["updates"] * 2
    assert {call["lambda_1"] for call in trained if call["name"] == "RG"} == {0.5}
    assert {call["lambda_1"] for call in trained if call["name"] == "sum"} == {1.0}
    assert names.count("sum") == 2


@pytest.mark.usefixtures("all_kept")
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("DANN", "write METHOD.number=value"),
        ("DAN.discriminator_width=9", "did you mean 'DANN'"),
        ("DANN.discriminator_widht=9", "did you mean 'discriminator_width'"),
        ("meta_rate=9", "no method asked for has a number 'meta_rate'"),
        ("DANN.discriminator_width=wide", "discriminator_width is a int, as 64"),
        ("DANN.discriminator_width=0", "discriminator_width is 0; give at least 1"),
        ("RG+PG-R.distance=l3", "distance .l3. is not known; choose one of cosine, l2"),
    ],
)
def test_wrong_numbers_of_methods_are_named_before_anything_is_trained(
    p16: dict, entry, message
) -> None:
    with pytest.raises(InputError, match=message):
        check_real_guidance(p16 | {"method_settings": (entry,)})
