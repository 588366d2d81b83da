"""What chapter 42 compares: methods, with and without the prior, and how each is trained."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, get_args

import pytest

from synthbook.errors import InputError
from synthbook.gans.networks import create_config
from synthbook.record.kinds import LimitedData
from synthbook.record.parameters import Parameters, check_values
from synthbook.studies.dip_limited_models import (
    AFRESH,
    FINETUNED,
    Model,
    counts,
    models,
    network,
    own_settings,
    recipe,
    steps_of,
)

CHAPTER = "42_dip_limited_data"
ALL = [*FINETUNED, "scratch"]


def asked(**values: Any) -> Parameters:
    return check_values(CHAPTER, values)


def test_a_method_is_trained_as_no_other() -> None:
    assert {*get_args(LimitedData)} == {*FINETUNED, *AFRESH}
    p = SimpleNamespace(**{**asked(), "methods": ["scratch", "EWC"]})
    place = r"'EWC' .* training in studies/dip_limited_models.py; add one"
    with pytest.raises(InputError, match=place):
        models(p)
    for part in ("finetuning", "fractions", "scores", "stylegan2"):
        with pytest.raises(InputError, match=r"'EWC' .* no training in recipe of"):
            recipe(asked(), part, Model("EWC"))


def test_methods_have_settings_of_their_own_on_targets_alone() -> None:
    texts = ["DiffAugment.batch_size=3", "FreezeD.steps: 6"]
    given = {"share_training_settings": ["batch_size=5"], "finetune_steps": 400}
    p = asked(
        parts=["finetuning", "fractions"], methods=ALL, method_settings=texts,
        training_settings=["batch_size=4"], **given,
    )  # fmt: skip
    compared = models(p)
    found = {m.method: recipe(p, "finetuning", m) for m in compared["finetuning"]}
    assert {method: how.batch_size for method, how in found.items()} == {
        "TransferGAN": 4, "FreezeD": 4, "DiffAugment": 3, "MineGAN": 4,
    }  # fmt: skip
    assert [found[method].steps for method in ("FreezeD", "TransferGAN")] == [6, 400]
    assert {recipe(p, "fractions", m).batch_size for m in compared["fractions"]} == {5}
    with pytest.raises(InputError, match=r"method_settings is of 'EWC'; write METHOD.NAME=VALUE"):
        own_settings(asked(method_settings=["EWC.steps=6"]), "FreezeD")


def test_a_training_ends_where_it_is_stopped_or_has_all_its_steps() -> None:
    for stop, ends in ((0, 400), (100, 100), (800, 400)):
        p = asked(finetune_steps=400, evaluate_every=100, stop_after=stop)
        assert steps_of(p, "finetuning", Model("TransferGAN")) == ends


def test_targets_have_a_number_of_images_each_or_one_for_all() -> None:
    names = ["caltech3:Faces_easy", "caltech3:airplanes"]
    assert counts(asked(targets=names, target_images=[7])) == dict.fromkeys(names, 7)
    assert counts(asked(targets=names, target_images=[7, 9])) == dict(
        zip(names, (7, 9), strict=True)
    )
    with pytest.raises(InputError, match=r"target_images = \[7, 9\] and there are 1 targets"):
        counts(asked(targets=names[:1], target_images=[7, 9]))


def test_rows_say_what_stands_in_the_priors_place() -> None:
    told = {
        m: m.fields() for m in (Model("MineGAN"), Model("FreezeD"), Model("scratch", share=0.1))
    }
    assert [x["labels"] for x in told.values()] == ["none", "self-modulated", "self-modulated"]
    assert [x["source"] for x in told.values()] == ["real", "real", "none"]
    assert ["share" in x for x in told.values()] == [False, False, True]
    assert Model("scratch", "supervised", 0.1).labels == "features"


def test_stylegan2_of_the_paper_has_the_settings_of_diffaugments_code() -> None:
    p = check_values(CHAPTER, {}, "paper")
    config = create_config(**network(p, "stylegan2"))
    assert config.widths() == [512, 512, 256, 128]
    for prior in ("none", "supervised"):
        how = recipe(p, "stylegan2", Model("DiffAugment", prior, share=0.1))
        assert (how.batch_size, how.r1, how.path_length) == (32, 0.1, 0)
        assert how.flip
        assert how.ema_half_life == how.ema_start * how.batch_size == 1_000_000
