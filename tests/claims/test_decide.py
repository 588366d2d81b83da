"""Verdicts on rows made up for each outcome, and the claims files against their vocabulary."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import spearmanr

from synthbook.claims.decide import VERDICTS, Verdict, claims, counts, to_json, verdict, verdicts
from synthbook.claims.expressions import inequality
from synthbook.claims.language import Check, Claim, fill
from synthbook.errors import InputError
from synthbook.generate.primitives import POLICIES, VARIANTS
from synthbook.record import rows as rows_module
from synthbook.record.provenance import provenance

COMMON = {"chapter": "c", "method": "plain", "train": "t", "test": "real", "metric": "m"}
A, B = {"train": "a"}, {"train": "b"}


def claim(**check: Any) -> Claim:
    check = {"where": {k: v for k, v in COMMON.items() if k != "train"}, **check}
    return Claim(
        id="gap-99", where="-", statement="-", test="-", quantities=["-"], paper_evidence="-",
        exceptions="", kind="main", scale_free=True, check=check,
    )  # fmt: skip


def rows(values: dict[str, list[float]], first: int = 0, **fields: Any) -> list[dict[str, Any]]:
    """Return one record a value; its place in the list is its seed."""
    base = {**COMMON, "dataset": "d", "backbone": "", "scale": "mini", **fields}
    return [
        {**base, "train": train, "value": value, "seed": first + seed}
        for train, held in values.items()
        for seed, value in enumerate(held)
    ]


def judge(claim: Claim, *given: list[dict[str, Any]]) -> Verdict:
    return verdict(claim, [row for some in given for row in some], "mini")


PLAIN = claim(let={"A": A, "B": B}, require=["A - B > 0"])


def test_holds_fails_undecided() -> None:
    up, down, mixed = [3.0, 4, 5], [1.0, 1, 1], [0.0, 2, 1]
    assert judge(PLAIN, rows({"a": up, "b": down})).verdict == "holds"
    assert judge(PLAIN, rows({"a": down, "b": up})).verdict == "fails"
    found = judge(PLAIN, rows({"a": mixed, "b": down}))
    assert found.verdict == "undecided"
    assert "spans zero" in found.reason
    found = judge(PLAIN, rows({"a": up, "b": down}))
    assert (found.effect, found.low, found.high, found.seeds) == (3, 2, 4, 3)
    assert found.effect_text == "+3 [+2, +4]"


def test_rounding_decides_nothing() -> None:
    """0.1 + 0.2 is not 0.3 to the last bit: an interval that ends there ends at zero."""
    behind = [0.3 - 0.5, 0.3 - 0.1, 0.3, 0.3]
    for sign in (1, -1):
        values = rows({"a": [sign * one for one in behind], "b": [sign * (0.1 + 0.2)] * 4})
        assert judge(PLAIN, values).verdict == "undecided"
    tiny = rows({"a": [0.1 + 0.2] * 4, "b": [0.3] * 4})  # 5e-17 larger on every seed
    found = judge(PLAIN, tiny)
    assert (found.verdict, found.effect) == ("undecided", 0)


def test_not_run_names_what_is_missing() -> None:
    found = judge(PLAIN, rows({"a": [1.0, 2, 3]}))
    assert found.verdict == "not run"
    assert "m of plain, b -> real [dataset=d]" in found.reason
    assert (found.effect, found.low, found.high, found.seeds) == (None, None, None, 0)
    assert judge(PLAIN).reason == "no rows of chapter c"
    unchecked = PLAIN.model_copy(update={"check": None})
    assert judge(unchecked, rows({"a": [1.0] * 3})).verdict == "not run"


def test_a_part_that_is_missing_outweighs_one_that_fails() -> None:
    found = judge(
        PLAIN,
        rows({"a": [1.0] * 3, "b": [2.0] * 3}),
        rows({"a": [1.0] * 3}, dataset="other"),
    )
    assert found.verdict == "not run"
    assert [part.verdict for part in found.parts] == ["fails", "not run"]


def test_fewer_than_three_seeds_decide_nothing() -> None:
    for n in (1, 2):
        found = judge(PLAIN, rows({"a": [9.0] * n, "b": [1.0] * n}))
        assert (found.verdict, found.effect, found.seeds) == ("undecided", 8, n)
        assert "needs 3" in found.reason
    assert judge(PLAIN, rows({"a": [9.0], "b": [1.0]})).low is None


def test_seeds_are_paired() -> None:
    # The spread over seeds is a hundred times the effect, which is the same for every seed.
    spread = [100.0, 200, 300, 400]
    found = judge(PLAIN, rows({"a": [x + 1 for x in spread], "b": spread}))
    assert (found.verdict, found.low, found.high) == ("holds", 1, 1)
    # Only the common seeds count: 2 and 3.
    found = judge(PLAIN, rows({"a": spread}), rows({"b": [250.0, 350]}, first=2))
    assert (found.seeds, found.effect) == (2, 50)
    found = judge(PLAIN, rows({"a": spread}), rows({"b": spread}, first=10))
    assert found.verdict == "undecided"
    assert "no seed is common" in found.reason


def test_premise_that_is_not_met_leaves_its_cell_undecided() -> None:
    premised = claim(let={"A": A, "B": B}, premise=["A >= 95"], require=["A - B > 0"])
    good = rows({"a": [96.0, 97, 98], "b": [1.0] * 3})
    low = rows({"a": [90.0, 91, 92], "b": [1.0] * 3}, dataset="hard")
    assert judge(premised, good).verdict == "holds"
    found = judge(premised, good, low)
    assert found.verdict == "undecided"
    assert found.reason == "premise A >= 95 is not met (by 4) at hard"
    assert [part.verdict for part in found.parts] == ["holds", "undecided"]
    # A premise met on average is met, and >= allows equality.
    assert judge(premised, rows({"a": [94.0, 96, 95], "b": [1.0] * 3})).verdict == "holds"


def test_missing_rows_of_a_premise_are_missing_rows() -> None:
    premised = claim(
        let={"A": A, "B": B, "P": {"train": "p"}}, premise=["P > 0"], require=["A > B"]
    )
    found = judge(premised, rows({"a": [2.0] * 3, "b": [1.0] * 3}))
    assert found.verdict == "not run"
    assert "p -> real" in found.reason


def test_all_is_a_conjunction_and_shows_its_weakest_part() -> None:
    both = claim(let={"A": A, "B": B}, require=["A > B", "A > 10 * B"])
    found = judge(both, rows({"a": [5.0, 6, 7], "b": [1.0] * 3}))
    assert (found.verdict, found.effect) == ("fails", -4)
    assert [part.verdict for part in found.parts] == ["holds", "fails"]
    assert found.exceptions == (found.parts[1],)
    strong = rows({"a": [90.0, 91, 92], "b": [1.0] * 3})
    weak = rows({"a": [2.0, 3, 9], "b": [1.0] * 3}, dataset="weak")
    assert judge(PLAIN, strong, weak).effect == pytest.approx(11 / 3)  # that of `weak`


def test_failing_cells_are_not_averaged_away() -> None:
    huge = rows({"a": [900.0] * 3, "b": [1.0] * 3})
    small = rows({"a": [1.0] * 3, "b": [2.0] * 3}, dataset="small")
    assert judge(PLAIN, huge, small).verdict == "fails"
    mean = claim(let={"A": A, "B": B}, require=["A > B"], over="mean")
    found = judge(mean, huge, small)
    assert found.verdict == "holds"  # the claim speaks of the mean ...
    assert "1 of 2 cells not above zero" in found.reason  # ... and the cell is still shown
    assert [part.verdict for part in found.parts if not part.decides] == ["holds", "fails"]


def test_most_needs_the_mean_and_more_than_half_of_the_cells() -> None:
    most = claim(let={"A": A, "B": B}, require=["A > B"], over="most")

    def cells(*effects: float) -> list[dict[str, Any]]:
        return [
            row
            for n, effect in enumerate(effects)
            for row in rows({"a": [effect - 0.1, effect, effect + 0.1], "b": [0.0] * 3}, backbone=n)
        ]

    assert judge(most, cells(1, 1, -1)).verdict == "holds"
    assert judge(most, cells(1, 1, -9)).verdict == "fails"  # the mean is below zero
    assert judge(most, cells(9, -1, -1)).verdict == "fails"  # two of three are
    assert judge(most, cells(9, -1)).verdict == "undecided"  # half is not more than half
    found = judge(most, cells(1, 1, -1))
    assert [part.effect for part in found.parts if part.decides] == pytest.approx([1 / 3, 1 / 6])


@pytest.mark.parametrize("over", ["mean", "most"])
def test_a_cell_that_says_nothing_is_not_left_out_of_an_average(over: str) -> None:
    combined = claim(let={"A": A, "B": B}, premise=["A > 0"], require=["A > B"], over=over)
    good = rows({"a": [9.0] * 3, "b": [1.0] * 3})
    unmet = rows({"a": [-1.0] * 3, "b": [-2.0] * 3}, dataset="unmet")
    half = rows({"a": [9.0] * 3}, dataset="half")
    assert judge(combined, good).verdict == "holds"
    assert judge(combined, good, unmet).verdict == "undecided"
    assert "premise" in judge(combined, good, unmet).reason
    assert judge(combined, good, half).verdict == "not run"


def test_most_does_not_count_ties() -> None:
    most = claim(let={"A": A, "B": B}, require=["A > B"], over="most")
    tie = rows({"a": [1.0] * 3, "b": [1.0] * 3}, dataset="tie")
    good = rows({"a": [9.0] * 3, "b": [1.0] * 3})
    share = next(part for part in judge(most, good, tie).parts if "share" in part.cell)
    assert (share.verdict, share.effect) == ("undecided", 0)


def test_any_needs_one_cell() -> None:
    some = claim(let={"A": A, "B": B}, require=["A > B"], over="any")
    up = rows({"a": [2.0] * 3, "b": [1.0] * 3}, dataset="up")
    down = rows({"a": [0.0] * 3, "b": [1.0] * 3}, dataset="down")
    noisy = rows({"a": [0.0, 1, 2], "b": [1.0] * 3}, dataset="noisy")
    assert judge(some, up, down).verdict == "holds"
    assert judge(some, down).verdict == "fails"
    assert judge(some, down, noisy).verdict == "undecided"


def test_only_keeps_some_cells() -> None:
    foreign = claim(let={"A": A, "B": B}, require=[{"that": "A > B", "only": "B > 10"}])
    inside = rows({"a": [30.0] * 3, "b": [20.0] * 3})
    outside = rows({"a": [0.0] * 3, "b": [1.0] * 3}, dataset="other")
    assert judge(foreign, inside, outside).verdict == "holds"
    found = judge(foreign, outside)
    assert (found.verdict, found.reason) == ("undecided", "A > B: no cell in which B > 10")


def test_each_fills_placeholders_and_every_filling_counts() -> None:
    looped = claim(
        each={"G": ["a", "b"]},
        let={"S": {"train": "{G}"}, "R": {"train": "real"}},
        require=["S > R"],
    )
    found = judge(looped, rows({"a": [2.0] * 3, "b": [0.0] * 3, "real": [1.0] * 3}))
    assert found.verdict == "fails"
    assert [part.cell for part in found.parts] == ["G=a, d", "G=b, d"]
    assert judge(looped, rows({"a": [2.0] * 3, "real": [1.0] * 3})).verdict == "not run"


def test_a_field_that_rows_leave_empty_matches_every_cell() -> None:
    swept = claim(let={"A": A, "B": B}, cells=["dataset", "backbone", "n"], require=["A > B"])
    found = judge(
        swept,
        rows({"a": [2.0] * 3}, n=1),
        rows({"a": [3.0] * 3}, n=2),
        rows({"b": [1.0] * 3}),
    )
    assert found.verdict == "holds"
    assert [part.cell for part in found.parts] == ["d, n=1", "d, n=2"]


def test_rows_that_differ_in_an_unnamed_setting_are_ambiguous() -> None:
    found = judge(
        PLAIN,
        rows({"a": [2.0] * 3, "b": [1.0] * 3}, shots=1),
        rows({"a": [9.0] * 3}, shots=2),
    )
    assert found.verdict == "undecided"
    assert "rows of A differ in shots" in found.reason


def test_newest_row_of_an_identity_counts() -> None:
    old = rows({"a": [0.0] * 3, "b": [1.0] * 3}, time="2020-01-01T00:00:00Z")
    new = rows({"a": [2.0] * 3}, time="2021-01-01T00:00:00Z")
    assert judge(PLAIN, new, old).verdict == "holds"


def test_other_scales_are_passed_over() -> None:
    found = judge(PLAIN, rows({"a": [2.0] * 3, "b": [1.0] * 3}, scale="small"))
    assert found.verdict == "not run"


def test_numbers_that_are_not_finite_decide_nothing() -> None:
    ratio = claim(let={"A": A, "B": B}, require=["A / B > 0"])
    found = judge(ratio, rows({"a": [1.0] * 3, "b": [0.0] * 3}))
    assert found.verdict == "undecided"
    assert "not finite" in found.reason


def curve(values: dict[int, float], train: str = "a") -> list[dict[str, Any]]:
    return [
        row
        for n, value in values.items()
        for row in rows({train: [value, value + 0.1, value - 0.1]}, n=n)
    ]


@pytest.mark.parametrize(
    ("by", "direction", "values", "expected", "effect"),
    [
        ("spearman", "up", {1: 0, 2: 1, 16: 2}, "holds", 1),  # 16 after 2, as numbers
        ("spearman", "down", {1: 0, 2: 1, 16: 2}, "fails", -1),
        ("spearman", "up", {1: 0, 2: 1, 16: 0}, "undecided", 0),
        ("spearman", "up", {1: 0, 2: 5}, "undecided", None),  # two points are no trend
        ("ends", "down", {1: 7, 2: 9, 16: 4}, "holds", 3),
        ("last", "up", {1: -7, 2: -9, 16: 4}, "holds", 4),
        ("steps", "up", {1: 0, 2: 5, 16: 4}, "fails", -1),
        ("steps", "up", {1: 0, 2: 3, 16: 4}, "holds", 1),
    ],
)
def test_trend(by, direction, values, expected, effect) -> None:
    trend = {"of": "A", "across": "n", "direction": direction, "by": by}
    found = judge(claim(let={"A": A}, trend=[trend]), curve(values))
    assert found.verdict == expected
    assert found.effect == (None if effect is None else pytest.approx(effect))


def test_trend_against_another_quantity() -> None:
    trend = {"of": "A", "across": "dataset", "against": "B", "direction": "up"}
    check = claim(let={"A": A, "B": B}, trend=[trend])
    sets = {"x": (1.0, 9.0), "y": (2.0, 5.0), "z": (3.0, 1.0)}
    given = [rows({"a": [a] * 3, "b": [b] * 3}, dataset=name) for name, (a, b) in sets.items()]
    assert (judge(check, *given).verdict, judge(check, *given).effect) == ("fails", -1)
    words = claim(let={"A": A}, trend=[{**trend, "against": None}])
    assert "not numbers" in judge(words, *given).reason
    assert judge(check, *[some[:3] for some in given]).verdict == "not run"


@given(values=st.lists(st.integers(-3, 3), min_size=3, max_size=7))
@settings(max_examples=40)
def test_spearman_is_scipys(values: list[int]) -> None:
    from synthbook.claims.evaluate import _trend_statistic

    x, y = np.arange(len(values), dtype=float)[::-1], np.array(values, dtype=float)
    expected = spearmanr(x, y)[0] if len(set(values)) > 1 else 0.0
    assert _trend_statistic(x, y, "spearman") == pytest.approx(expected)


def test_rows_frames_and_records_give_the_same_verdict() -> None:
    source = provenance()
    made = [
        rows_module.Row(
            chapter="c", method="plain", train=train, test="real", dataset="d", metric="m",
            backbone="", setting={"n": 4} if train == "a" else {}, value=value + seed, seed=seed,
            scale="mini", provenance=source,
        )
        for train, value in (("a", 3.0), ("b", 1.0))
        for seed in range(3)
    ]  # fmt: skip
    named = claim(let={"A": {**A, "n": 4}, "B": B}, require=["A - B > 0"])
    one = verdict(named, made, "mini")
    two = verdict(named, rows_module.frame(made), "mini")
    assert one == two
    assert (one.verdict, one.effect) == ("holds", 2)


GAP_01 = {
    "real": {"real": 96.34, "diffusion": 93.54, "gan": 98.68},
    "diffusion": {"real": 85.76, "diffusion": 97.71},
    "gan": {"real": 78.90, "gan": 99.82},
}  # Table 1 of the paper


def table_1() -> list[dict[str, Any]]:
    fields = {"chapter": "12_not_mutual", "metric": "top1_accuracy", "split": "train"}
    return [
        row
        for train, tests in GAP_01.items()
        for test, value in tests.items()
        for row in rows({train: [value - 0.1, value, value + 0.1]}, test=test, **fields)
    ]


def test_gap_01_and_02_hold_on_the_papers_own_table() -> None:
    found = {one.id: one for one in verdicts(paper="gap", rows=table_1())}
    assert found["gap-01"].verdict == "holds"
    effects = sorted(round(part.effect, 2) for part in found["gap-01"].parts)
    assert effects == [7.78, 9.15, 19.78, 23.26]  # 11.95 - 2.80 and 20.92 + 2.34 among them
    assert found["gap-02"].verdict == "holds"
    assert found["gap-07"].verdict == "not run"
    assert "11_generators" in found["gap-07"].reason
    assert [part.verdict for part in found["gap-07"].parts][:2] == ["holds", "holds"]


def test_verdicts_choose_claims_and_scales() -> None:
    assert [one.id for one in verdicts(ids=["dip-03", "gap-01"], rows=[])] == ["gap-01", "dip-03"]
    assert {one.scale for one in verdicts(scale="small", paper="gap", rows=table_1())} == {"small"}
    with pytest.raises(InputError, match="did you mean 'gap-01'"):
        verdicts(ids=["gap_01"], rows=[])
    with pytest.raises(InputError, match="no study 'gab'; did you mean 'gap'"):
        claims("gab")


def test_to_json_is_plain() -> None:
    found = verdicts(paper="gap", rows=table_1())
    listed = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert list(listed[0]) == [
        "id", "paper", "scale", "verdict", "effect", "low", "high", "seeds", "reason"
    ]  # fmt: skip
    assert {entry["verdict"] for entry in listed} <= set(VERDICTS)
    assert sum(counts(found)["gap"].values()) == 25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"require": ["A > C"]}, r"lacks \['C'\]"),
        ({"require": ["A > 0"]}, r"unused \['B'\]"),
        ({"require": []}, "needs"),
        ({"let": {"A": {"train": "{G}"}, "B": B}}, r"'each' has no \['G'\]"),
        ({"each": {"G": ["x"]}}, r"unused \['G'\]"),
        ({"where": {"chapter": "c"}}, "has no method"),
        ({"over": "usually"}, "over"),
        ({"requires": []}, "requires"),
    ],
)
def test_a_check_with_a_mistake_is_refused(change: dict[str, Any], message: str) -> None:
    good = {
        "where": {k: v for k, v in COMMON.items() if k != "train"},
        "let": {"A": A, "B": B}, "require": ["A > B"],
    }  # fmt: skip
    assert Check(**good)
    with pytest.raises(ValidationError, match=message):
        Check(**{**good, **change})


# What rows may hold. A new chapter adds its names here, so a misspelt check cannot stay "not run".
CHAPTERS = {
    "11_generators", "12_not_mutual", "13_learned_too_fast", "14_what_an_image_teaches",
    "15_pretrained_guidance", "16_real_guidance", "51_synthesizer",
    "52_transfer_to_few_images", "53_why_it_works",
}  # fmt: skip
FAMILIES = {"diffusion", "gan"}
SOURCES = {
    "real", *FAMILIES, "real_without_rare", "real_without_random", "real_few",
    *(f"real+low_loss_{g}" for g in FAMILIES), *(f"real_few+{g}" for g in FAMILIES),
    *(f"real_n+{g}" for g in FAMILIES), "none", *VARIANTS,
}  # fmt: skip
VOCABULARY = {
    "chapter": CHAPTERS,
    "train": SOURCES,
    "test": {"real", *FAMILIES, ""},
    "dataset": {"drawn"},
    "method": {
        "plain", "fidelity", "PG-KL", "PG-L1", "ASG", "CSG", "Aug", "Adp", "ADDA", "DADA", "DANN",
        "LTDA", "A-GEM", "RG", "PG-R+PG-F", "RG+PG-R+PG-F", "spectrum", "scratch", "finetune",
        "TransferGAN", "FreezeD", "BigGAN", "BigGAN+DiffAug", "BigGAN+DiffAug+PS", "BigGAN+PS",
        "filters",
    },
    "metric": {
        "top1_accuracy", "precision", "recall", "early_train_accuracy", "epochs_to_level",
        "generalisation_gap", "mean_cross_entropy", "median_cross_entropy",
        "share_loss_below_0.01", "share_loss_above_1", "spectral_slope", "worst_slope_error",
        "best_fd", "gain", "median_gain", "lowest_gain", "steps_to_95", "share_to_95",
        "share_with_several", "cutout_like", "layers_lower", "mean_filter_similarity",
        "last_layer_similarity", "largest_other_similarity",
    },
    "split": {"train", "val", "test"},
    "extractor": {"classifier"},
    "part": {"tables", "methods", "real_images", "ablation", "shares", "filters"},
    "against": {"train"},
    "domain": {"inside", "outside"},
    "share": {0.01, 0.1, 0.2, 1.0},
    "network": {"generator", "discriminator"},
    "study": {"policy", "count"},
    "size_policy": set(POLICIES),
    "n_shapes": {0, 10, 100, 500},
    "init": {"scratch", "pretrained"},
    "guide": {"same_architecture", "other_architecture"},
}  # fmt: skip
CHECKED = [one for one in claims() if one.check]


@pytest.mark.parametrize("one", CHECKED, ids=lambda one: one.id)
def test_checks_use_known_names(one: Claim) -> None:
    check = one.check
    assert check is not None
    for name in check.let:
        for binding in check.bindings([name]):
            for key, value in fill(check.quantity(name), binding).items():
                assert value in VOCABULARY[key], (one.id, name, key, value)
    ids = [other.id for other in claims(one.paper)]
    assert set(check.include) <= set(ids)
    assert one.id not in check.include


@pytest.mark.parametrize("paper", ["gap", "prim"])
def test_every_claim_has_a_check_or_says_why_not(paper: str) -> None:
    for one in claims(paper):
        assert one.check or (one.note or "").startswith("no check"), one.id
        if one.check and one.check.premise:
            assert all(inequality(text) for text in one.check.premise)


def test_thresholds_are_those_of_the_words() -> None:
    by_id = {one.id: one for one in claims("gap")}
    check = by_id["gap-02"].check
    assert check is not None
    assert check.require[0].that == "RR - RS <= 5"
    assert "tau = 5 points" in by_id["gap-02"].test
    assert check.premise == ["RR >= 95", "SS >= 95"]
    assert ">= 95" in by_id["gap-02"].test
