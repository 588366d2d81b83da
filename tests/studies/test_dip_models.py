"""What chapter 41 compares: methods, with and without a prior, and what rows say of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, get_args

import pytest

from synthbook.errors import InputError
from synthbook.record.kinds import FewShot
from synthbook.record.parameters import check_values
from synthbook.studies.dip_models import ADVERSARIAL, FROM_OTHERS, STUDIED, Model, models
from synthbook.studies.few_images import WITHOUT


def compared(**values: Any) -> dict[str, list[Model]]:
    return models(check_values("41_dip_few_shot", values))


def test_a_name_without_a_training_is_refused() -> None:
    assert {*get_args(FewShot)} == {*ADVERSARIAL, *WITHOUT}
    assert {*FROM_OTHERS, *STUDIED} <= {*ADVERSARIAL, *WITHOUT}
    checked = check_values("41_dip_few_shot", {})
    for name in ("methods", "amount_methods"):
        asked = SimpleNamespace(**{**checked, name: ["scratch", "EWC"]})
        with pytest.raises(InputError, match=r"'EWC' .* no training in studies/dip.py; add one"):
            models(asked)


def test_each_method_stands_alone_and_with_each_prior_but_bsa() -> None:
    both = ["supervised", "self-supervised"]
    asked = {"methods": ["FreezeD", "BSA"], "target_images": 6, "priors": both}
    found = compared(parts=["methods", "losses"], **asked)
    assert [*found] == ["methods", "losses"]
    assert [(m.method, m.prior) for m in found["methods"]] == [
        *(("FreezeD", prior) for prior in ("none", *both)), ("BSA", "none"),
    ]  # fmt: skip
    assert {m.prior for m in found["losses"]} == {"none", "supervised"}  # studies have one prior
    assert {m.images for m in (*found["methods"], *found["losses"])} == {6}


def test_no_model_stands_twice_in_a_part() -> None:
    for part, some in compared(amounts=[4, 6, 8]).items():
        assert len(some) == len({*some}) == len({*map(str, some)}), part


def test_rows_say_what_stands_in_the_priors_place() -> None:
    alone, given = Model("scratch", labels="5"), Model("FreezeD", "supervised")
    assert (alone.fields()["labels"], alone.fields()["source"]) == ("5", "none")
    assert (given.fields()["labels"], given.fields()["source"]) == ("features", "real")
    between = {m: m.between for m in (alone, given, Model("scratch"), Model("GLANN", "supervised"))}
    assert [*between.values()] == [False, True, True, False]
