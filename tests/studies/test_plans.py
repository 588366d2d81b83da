"""What the experiments of chapters 15 and 16 have in common: they make the rows that they plan."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from types import SimpleNamespace

import pytest

from synthbook.data import Splits
from synthbook.errors import InputError
from synthbook.recognize.methods import METHODS
from synthbook.studies.plans import Experiment, Trained, _value, best, method_settings
from synthbook.studies.pretrained_guidance import PretrainedGuidance, check_pretrained_guidance
from synthbook.studies.real_guidance import ALL_OURS, RealGuidance, check_real_guidance


@pytest.fixture(params=[PretrainedGuidance, RealGuidance])
def kind(request: pytest.FixtureRequest) -> type[Experiment]:
    return request.param


@pytest.fixture
def p(kind: type[Experiment], p15: dict, p16: dict) -> dict:
    return p15 if kind is PretrainedGuidance else p16


def values(rows: list[dict], **where) -> list[float]:
    return [row["value"] for row in rows if where.items() <= row.items()]


@pytest.mark.parametrize(
    ("chapter", "name"),
    [("15_pretrained_guidance", "PretrainedGuidance"), ("16_real_guidance", "RealGuidance")],
)
def test_the_plan_of_every_scale_needs_no_torch_and_has_the_papers_table(chapter, name) -> None:
    code = (
        f"import sys; from synthbook.studies.{chapter[3:]} import {name}\n"
        "from synthbook.record.chapters import find\n"
        "from synthbook.record.parameters import check_values\n"
        f"for scale in find('{chapter}').scales:\n"
        f"    print(scale, {name}.plan(check_values('{chapter}', {{}}, scale)))\n"
        "assert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    whole = found.stdout.partition("\npaper ")[2].partition("\nsmall")[0]
    table = next(line for line in whole.splitlines() if line.split(":")[0].strip() in MAIN)
    names = table.replace(",", " ").replace(";", " ").split()
    assert set(names) >= TABLES[name]


MAIN = {"tables", "methods"}
TABLES = {  # every row of Tables 2 and 3, and of Table 4
    "PretrainedGuidance": {"plain", "ASG", "CSG", "PG-L1", "PG-KL", "real"},
    "RealGuidance": {
        "plain", "real", "Adp", "Aug", "ADDA", "DADA", "DANN", "LTDA", "A-GEM", "PG-R+PG-F", "RG",
        "RG+PG-R", "RG+PG-F", "RG+PG-R+PG-F",
    },
}  # fmt: skip


def identities(rows: Iterable[dict]) -> Counter[frozenset]:
    return Counter(frozenset(row.items() - {("value", row.get("value"))}) for row in rows)


GRID = {"lambda_3": (0.1, 1.0), "lambda_3_kl": (1.0, 100.0), "lambda_3_l1": (10.0,)}


@pytest.mark.parametrize("changes", [{}, GRID, {"sources": ("real", "gan"), "shots": 0} | GRID])
def test_a_run_makes_the_rows_and_trainings_that_were_planned(
    kind, p, changes, real: Splits, trained: list[dict]
) -> None:
    p |= {"seeds": 2, "first_seed": 4} | changes
    plan, experiment = kind.plan(p), kind(p, real)
    rows = [row for seed in (4, 5) for row in experiment.rows(seed)]
    assert identities(rows) == identities(plan.rows)
    assert len(trained) == plan.trainings
    assert str(plan).startswith(f"To do: {plan.trainings} trainings, {len(rows)} rows")


def test_the_best_weight_has_the_largest_mean_and_is_the_smallest_of_equals() -> None:
    assert best({1.0: [80, 90], 0.1: [70, 71], 10.0: [90, 80]}) == 1.0
    assert best({10.0: [85, 86], 1.0: [80, 90]}) == 10.0


def test_the_weight_is_chosen_on_validation_images_and_then_taken(
    kind, p, real: Splits, trained: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    p |= GRID
    rows = list(kind(p, real).rows(5))
    chosen = [row for row in rows if row["metric"] == "lambda_3"]
    # Chapter 15 has a grid of two weights for KL in two networks, chapter 16 one for all.
    assert len(chosen) == (2 if kind is PretrainedGuidance else 1)
    for row in chosen:
        alike = {k: row[k] for k in ("method", "backbone", "part", "guide") if k in row}
        grid = defaultdict(list)
        for other in rows:
            if other["metric"] == "top1_accuracy" and alike.items() <= other.items():
                assert other["split"] == "val"
                grid[other["lambda_3"]].append(other["value"])
        assert all(len(values) == 2 for values in grid.values())  # of both generators
        assert row["value"] == best(grid)
    where = {"part": "tables" if kind is PretrainedGuidance else "methods", "train": "gan"}
    name, where = ("PG-KL", where) if kind is PretrainedGuidance else (ALL_OURS, {})
    shares = [r for r in rows if r["metric"] == "guidance_gradient_share" and r["method"] == name]
    assert all(row["value"] > 0 for row in shares)
    taken = [r for r in rows if r["method"] == name and r["part"] in ("tables", "methods")]
    varied = [r for r in rows if r["part"] == "sensitivity" and r["method"] == name]
    for row in taken:
        weight = {r.get("guide"): r["value"] for r in chosen}[row.get("guide")]
        same = {k: row[k] for k in ("train", "split", "metric", "guide") if k in row}
        like = {"lambda_3": weight} if "guide" in row else {"varied": "lambda_3", "weight": weight}
        if found := values(varied, **same, **like):
            assert found == [row["value"]]


def test_rows_say_which_weight_was_given_and_not_which_was_chosen(kind, p) -> None:
    def weights(p: dict) -> set[float | None]:
        rows = [row for row in kind.plan(p).rows if row["part"] == kind.main]
        for row in rows:
            assert ("lambda_3" not in row) or METHODS[row["method"]].guided
        return {row.get("lambda_3") for row in rows if METHODS[row["method"]].guided}

    given = {"PG-KL": 1.0, "PG-L1": 10.0, ALL_OURS: 0.1}
    assert weights(p) == {given[name] for name in p["methods"] if METHODS[name].guided}
    several = dict.fromkeys(("lambda_3", "lambda_3_kl", "lambda_3_l1"), (1.0, 2.0))
    assert weights(p | several) == {None}


def test_numbers_of_methods_are_set_by_name_or_for_all_that_have_them() -> None:
    given = ("ADDA.discriminator_width=9", "first_share=0.5", "RG.per_layer=true")
    p = {"methods": ("plain", "Adp", "DADA"), "method_settings": given}
    found = {"ADDA": {"discriminator_width": 9}, "RG": {"per_layer": True}}
    assert method_settings(p) == found | {name: {"first_share": 0.5} for name in ("Adp", "DADA")}


def test_costs_and_shares_are_in_times_of_what_they_are_compared_with() -> None:
    extra = {"guidance_gradient": (1.0, 3.0), "task_gradient": (4.0, 12.0)}
    extra |= {"cosine": (0.5, -0.25), "projected": (0.0, 1.0)}
    slow, plain = (
        Trained(SimpleNamespace(seconds=seconds, extra=extra), {"val": 60.0, "test": 50.0})  # type: ignore[arg-type]
        for seconds in (6.0, 2.0)
    )
    expected = {
        ("relative_cost", "train"): 3, ("guidance_gradient_share", "train"): 0.25,
        ("mean_cosine", "train"): 0.125, ("share_projected", "train"): 0.5,
        ("top1_accuracy", "val"): 60, ("top1_accuracy", "test"): 50,
    }  # fmt: skip
    assert {asked: _value(*asked, slow, plain) for asked in expected} == expected


@pytest.mark.usefixtures("all_kept")
@pytest.mark.parametrize(
    ("check", "entry", "parameter"),
    [
        (check_pretrained_guidance, "PG-KL.lambda_3=5", "lambda_3_kl"),
        (check_pretrained_guidance, "PG-L1.lambda_3=5", "lambda_3_l1"),
        (check_pretrained_guidance, "lambda_3=5", "lambda_3_kl and lambda_3_l1"),
        (check_real_guidance, "RG+PG-R.lambda_3=5", "lambda_3"),
    ],
)
def test_the_weight_of_the_guidance_is_set_where_rows_tell_it(
    p15: dict, p16: dict, check, entry, parameter
) -> None:
    """By its name it would be trained with, and the rows would say the parameter's."""
    p = p15 | {"guide_backbone": "efficientnet_lite0"}
    p = p if check is check_pretrained_guidance else p16
    message = rf"method_settings holds '{re.escape(entry)}'.* give {parameter}$"
    with pytest.raises(InputError, match=message):
        check(p | {"method_settings": (entry,)})
