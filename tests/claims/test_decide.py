"""Verdicts on rows made up for each outcome."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr, t

from synthbook.claims import catalogue, decide
from synthbook.claims.catalogue import (
    chapters_of,
    claim_quantities,
    claims,
    claims_of,
    deciding_chapters,
)
from synthbook.claims.decide import VERDICTS, to_json, verdict, verdicts
from synthbook.claims.language import Claim, Premise
from synthbook.claims.tables import by_scale
from synthbook.errors import InputError
from synthbook.record.rows import IDENTITY, Row, latest, provenance

COMMON = {"chapter": "c", "method": "plain", "train": "t", "test": "real", "metric": "m"}
PROVENANCE = provenance()
BOTH = {"A": {"train": "a"}, "B": {"train": "b"}}


def claim(**check):
    check = {"where": {k: v for k, v in COMMON.items() if k != "train"}, "let": BOTH, **check}
    return Claim(
        id="gap-99", where="-", statement="-", test="-", quantities=["-"], paper_evidence="-",
        exceptions="", kind="main", scale_free=True, check=check,
    )  # fmt: skip


def rows(values, first=0, time="2020-01-01T00:00:00Z", **fields):
    """Return one row a value; its place in the list is its seed."""
    named = {**COMMON, "dataset": "d", "backbone": "", "scale": "mini", **fields}
    named["setting"] = {name: named.pop(name) for name in set(named) - set(IDENTITY)}
    source = PROVENANCE.model_copy(update={"time": time})
    return [
        Row(**named | {"train": train, "value": float(value), "seed": seed}, provenance=source)
        for train, held in values.items()
        for seed, value in enumerate(held, start=first)
    ]


def judge(claim, *given):
    held = by_scale(latest(row for some in given for row in some))
    return verdict(claim, held.get("mini", {}), "mini")


PLAIN = claim(require=["A - B > 0"])
UP, DOWN = {"a": [2.0] * 5, "b": [1.0] * 5}, {"a": [0.0] * 5, "b": [1.0] * 5}


def test_holds_fails_undecided():
    up, down, mixed = [3.0, 4, 5, 4, 4], [1.0] * 5, [0.0, 2, 1, 0, 2]
    found = judge(PLAIN, rows({"a": up, "b": down}))
    assert (found.verdict, found.reason) == ("holds", "")
    assert (found.effect, found.seeds) == (3, 5)
    reach = t.ppf(0.975, 4) * np.std(up, ddof=1) / np.sqrt(5)
    assert (found.low, found.high) == pytest.approx((3 - reach, 3 + reach))
    assert found.effect_text == "+3.00 [+2.12, +3.88]"
    assert judge(PLAIN, rows({"a": up[:2], "b": down[:2]})).effect_text == "+2.5 (2 seeds)"
    assert judge(PLAIN, rows({"a": down, "b": up})).verdict == "fails"
    found = judge(PLAIN, rows({"a": mixed, "b": down}))
    assert found.verdict == "undecided"
    assert "A - B > 0 at d: the interval over seeds spans zero" in found.reason


def test_rounding_decides_nothing():
    """0.1 + 0.2 is not 0.3 to the last bit."""
    tiny = rows({"a": [0.1 + 0.2] * 5, "b": [0.3] * 5})  # 5e-17 larger on every seed
    found = judge(PLAIN, tiny)
    assert (found.verdict, found.effect) == ("undecided", 0)
    assert "zero at every seed" in found.reason
    assert judge(claim(require=["A - B >= 0"]), tiny).verdict == "holds"


def test_not_run_names_what_is_missing():
    found = judge(PLAIN, rows({"a": [1.0, 2, 3, 4, 5]}))
    assert found.verdict == "not run"
    assert found.reason == "no rows of m of plain, b -> real [dataset=d] in c"
    assert (found.effect, found.low, found.high, found.seeds) == (None, None, None, 0)
    assert judge(PLAIN).reason == "no rows of chapter c"
    unchecked = PLAIN.model_copy(update={"check": None})
    assert judge(unchecked, rows(UP)).reason == "no check is written yet"
    other_scale = rows(UP, scale="small")
    assert judge(PLAIN, other_scale).verdict == "not run"


def test_a_part_says_which_rows_it_rests_on():
    asked = claim(let={"A": {"train": "a", "shots": 4}, "B": {"train": "b"}}, require=["A > B"])
    (part,) = judge(asked, rows({"a": [1.0, 2, 3, 4, 5]}, shots=4), rows({"b": [1.0]})).parts
    fields = {**COMMON, "dataset": "d"}
    assert [(one.name, one.fields, one.rows) for one in part.quantities] == [
        ("A", {**fields, "train": "a", "shots": 4}, 5),
        ("B", {**fields, "train": "b"}, 1),
    ]
    assert claim_quantities(asked) == [
        ("A", {**COMMON, "train": "a", "shots": 4}),
        ("B", {**COMMON, "train": "b"}),
    ]


def test_a_part_that_is_missing_outweighs_one_that_fails():
    found = judge(PLAIN, rows(DOWN), rows({"a": [1.0] * 5}, dataset="other"))
    assert found.verdict == "not run"
    assert [part.verdict for part in found.parts] == ["fails", "not run"]


def test_fewer_than_five_seeds_decide_nothing():
    for n in (1, 2, 4):
        found = judge(PLAIN, rows({"a": [9.0] * n, "b": [1.0] * n}))
        assert (found.verdict, found.effect, found.seeds) == ("undecided", 8, n)
        assert found.reason == f"{n} seed{'s' * (n > 1)}; a verdict needs 5"
    assert judge(PLAIN, rows({"a": [9.0], "b": [1.0]})).low is None


def test_seeds_are_paired():
    # The spread over seeds is a hundred times the effect, which is the same for every seed.
    spread = [100.0, 200, 300, 400, 500]
    found = judge(PLAIN, rows({"a": [x + 1 for x in spread], "b": spread}))
    assert (found.verdict, found.low, found.high) == ("holds", 1, 1)
    # Only the common seeds count: 2 and 3.
    found = judge(PLAIN, rows({"a": spread}), rows({"b": [250.0, 350]}, first=2))
    assert (found.seeds, found.effect) == (2, 50)
    found = judge(PLAIN, rows({"a": spread}), rows({"b": spread}, first=10))
    assert found.verdict == "undecided"
    assert "no seed is common" in found.reason


@pytest.fixture
def bed(monkeypatch):
    """Premises by name in place of the file's."""

    def declare(**checks):
        named = {
            name: Premise(
                id=name, statement="-", why="-", check={"where": PLAIN.check.where, **one}
            )
            for name, one in checks.items()
        }
        for module in (catalogue, decide):
            monkeypatch.setattr(module, "premises", lambda: named)

    return declare


HIGH = {"let": {"A": {"train": "a"}}, "require": ["A >= 95"]}


@pytest.mark.parametrize("premise", ["A >= 95", "high"])
def test_a_premise_that_is_not_met_leaves_its_cell_undecided(premise, bed):
    bed(high=HIGH)
    premised = claim(premise=[premise], require=["A - B > 0"])
    good = rows({"a": [96.0, 97, 98, 98, 98], "b": [1.0] * 5})
    low = rows({"a": [90.0, 91, 92, 91, 91], "b": [99.0] * 5}, dataset="hard")
    assert judge(premised, good).verdict == "holds"
    assert judge(PLAIN, good, low).verdict == "fails"
    found = judge(premised, good, low)
    name = premise if premise == "A >= 95" else "high (A >= 95)"
    assert found.verdict == "undecided"
    assert found.reason == f"premise {name} is not met (by 4) at hard"
    assert found.effect == -8  # which is still shown
    assert [part.verdict for part in found.parts] == ["holds", "undecided"]
    assert [one.shortfall != "" for one in found.premises] == [False, True]
    # Met on average is met, and >= allows equality.
    even = rows({"a": [94.0, 96, 95, 94, 96], "b": [1.0] * 5})
    assert judge(premised, even).verdict == "holds"
    above = claim(premise=["A > 95"], require=["A - B > 0"])
    assert judge(above, even).reason == "premise A > 95 is not met (by 0) at d"


def test_a_premise_may_have_premises_and_rivals(bed):
    bed(high={**HIGH, "premise": ["fair"]}, fair={"let": BOTH, "require": ["A > max(B, 3)"]})
    premised = claim(premise=["high"], require=["A > B"])
    assert judge(premised, rows({"a": [96.0] * 5, "b": [1.0] * 5})).verdict == "holds"
    found = judge(premised, rows({"a": [96.0] * 5, "b": [97.0] * 5}))
    assert found.reason == "premise fair (A > B) is not met (by 1) at d"


def test_a_premise_applies_in_its_cells():
    premised = claim(
        let={"A": {"train": "{G}"}, "B": {"train": "b"}, "P": {"train": "{G}", "dataset": "d"}},
        each={"G": ["a", "c"]}, premise=["P > 5"], require=["A > B"],
    )  # fmt: skip
    given = rows({"a": [6.0] * 5, "c": [4.0] * 5, "b": [1.0] * 5})
    assert [part.verdict for part in judge(premised, given).parts] == ["holds", "undecided"]


def test_a_premise_lies_elsewhere_where_all_quantities_say_so(bed):
    """One of another initialisation than all quantities fix says nothing of them."""
    both = {"P": {"train": "p"}}
    bed(known={"let": both, "cells": ["init"], "require": ["P > 0"]})
    kinds = {name: {"train": "a", "init": init} for name, init in (("A", "old"), ("N", "new"))}
    given = [
        rows({"a": [1.0, 2, 3, 4, 5], "p": [p] * 5}, init=i) for i, p in (("old", 1), ("new", -1))
    ]
    one = {"premise": ["known"], "let": kinds}
    found = judge(claim(**one, require=["A > 0", "N > 0"]), *given)
    assert [part.verdict for part in found.parts] == ["holds", "undecided"]
    assert judge(claim(**one, require=["A + N > 0"]), *given).verdict == "undecided"


def test_a_premise_lies_elsewhere_where_no_quantity_is_what_it_is_of(bed):
    """One of a new b says nothing of a new a beside an old b."""
    each = {"method": ["a", "b"], "init": ["old", "new"]}
    late = {"P": {"train": "p", "method": "{method}", "init": "{init}"}}
    bed(known={"let": late, "each": each, "require": ["P > 0"]})
    given = [
        rows({"a": [1.0, 2, 3, 4, 5], "p": [met] * 5}, method=method, init=init)
        for method in "ab" for init in ("old", "new")
        for met in [-1 if (method, init) == ("b", "new") else 1]
    ]  # fmt: skip

    def word(*kinds):
        let = {f"{m}_{init}": {"train": "a", "method": m, "init": init} for m, init in kinds}
        asked = claim(premise=["known"], let=let, require=[f"{' + '.join(let)} > 0"])
        return judge(asked, *given).verdict

    assert word(("a", "new"), ("b", "old")) == "holds"
    assert word(("a", "new"), ("b", "new")) == word(("b", "new")) == "undecided"


def test_a_premise_of_one_requirement_leaves_the_others_alone(bed):
    bed(known={"let": {"A": BOTH["A"]}, "require": ["A > 5"]})
    premised = {"that": "A > B", "premise": ["known"]}
    assert judge(claim(require=[premised]), rows(DOWN)).verdict == "undecided"
    assert judge(claim(require=[premised, "A > 2 * B"]), rows(DOWN)).verdict == "fails"


def test_a_premise_that_cannot_be_judged_is_not_met(bed):
    bed(known={"let": {"P": {"train": "p"}}, "require": ["P > 0"]})
    premised = claim(premise=["known"], require=["A > B"])
    found = judge(premised, rows(UP))
    assert found.verdict == "undecided"
    assert "premise known (P > 0) cannot be judged: no rows of m of plain, p" in found.reason
    elsewhere = rows({"p": [1.0] * 5}, dataset="elsewhere")
    assert "cannot be judged at d: no rows" in judge(premised, rows(UP), elsewhere).reason
    assert judge(premised, rows({**UP, "p": [1.0] * 5})).verdict == "holds"
    undefined = claim(premise=["A / B > 0"], require=["A > B"])
    assert "not met" in judge(undefined, rows({"a": [0.0] * 5, "b": [0.0] * 5})).reason


def test_all_is_a_conjunction_and_shows_its_weakest_clause():
    some = rows({"a": [5.0, 6, 7, 6, 6], "b": [1.0] * 5})
    found = judge(claim(require=["A > B", "A > 10 * B"]), some)
    assert (found.verdict, found.effect, found.inequality) == ("fails", -4, "A > 10 * B")
    assert found.reason == "A > 10 * B at d; 1 of 2 clauses hold"
    assert [part.verdict for part in found.parts] == ["holds", "fails"]
    strong = rows({"a": [90.0, 91, 92, 91, 91], "b": [1.0] * 5})
    weak = rows({"a": [2.0, 3, 9, 5, 5], "b": [1.0] * 5}, dataset="weak")
    assert judge(PLAIN, strong, weak).effect == pytest.approx(3.8)  # that of `weak`


def test_a_clause_fails_only_after_holms_correction():
    below = [-1.0, -2, -0.7, -3, -0.9]  # p = 0.012
    alone = rows({"a": below, "b": [0.0] * 5})
    assert judge(PLAIN, alone).verdict == "fails"
    others = [rows(UP, dataset=name) for name in ("x", "y")]
    found = judge(PLAIN, alone, *others)
    assert (found.verdict, found.effect) == ("undecided", pytest.approx(-1.52))
    assert "below zero, but no longer with Holm's correction for 3 clauses" in found.reason


def test_of_several_clauses_that_fail_the_surest_is_told():
    near, far = noisy(-1, dataset="near"), noisy(-9, dataset="far")
    for order in ((near, far), (far, near)):
        found = judge(PLAIN, *order)
        assert (found.verdict, found.cell) == ("fails", "far")
        assert found.effect == pytest.approx(-9)


def noisy(effect, **fields):
    values = [effect - 0.1, effect, effect + 0.1, effect - 0.2, effect + 0.2]
    return rows({"a": values, "b": [0.0] * 5}, **fields)


def test_what_is_said_of_one_data_set_is_not_put_together_from_two():
    """Sentences harm in x, whose labels they leave better, and help in y, whose they make worse."""
    (harm,) = catalogue.find(["ready-07"])
    where = {"chapter": "21_zero_shot", "part": "strategies", "encoder": "first"}

    def around(mean, **fields):
        return rows({"synthetic": [mean + x for x in (0, 0.1, -0.1, 0.2, -0.2)]}, **fields)

    def given(name, accuracy, agreement=None):
        held = []
        for strategy, counts in (("B", 0), ("LE", 1)):
            at = {"dataset": name, "strategy": strategy, **where}
            for loss in ("CE", "SCE"):
                told = {"method": "CT", "metric": "top1_accuracy", "loss": loss}
                held += around(50 + counts * accuracy, **at, **told)
            if agreement is not None:
                told = {"method": "images", "metric": "class_agreement"}
                held += around(50 + counts * agreement, **at, **told)
        return held

    apart = given("x", -5, 5), given("y", 5, -5)
    assert judge(harm, *apart).verdict == "fails"
    assert judge(harm, *apart, given("z", -5, -5)).verdict == "holds"
    unrated = given("z", -5)  # of which it cannot be asked
    assert judge(harm, *apart, unrated).verdict == "fails"
    assert judge(harm, unrated).verdict == "not run"


def test_the_mean_is_over_cells():
    huge, small = noisy(900), noisy(-1, dataset="small")
    assert judge(PLAIN, huge, small).verdict == "fails"
    found = judge(claim(require=["A > B"], over="mean"), huge, small)
    assert (found.verdict, found.effect) == ("holds", 449.5)
    assert found.votes == "1 of 2 cells above zero, 1 of them decided"
    assert [part.verdict for part in found.parts if not part.decides] == ["holds", "fails"]


@pytest.mark.parametrize(
    ("over", "effects", "expected", "effect"),
    [
        ("most", [1, 1, -1], "holds", 1),
        ("most", [3, 2, -9], "holds", 2),
        ("most", [9, -1, -2], "fails", -1),
        ("most", [9, -1], "fails", -1),  # half is not more than half
        ("most", [9, 0], "undecided", 0),
        ("any", [-1, 2, 0], "holds", 2),
        ("any", [-1, -2], "fails", -1),
        ("any", [-1, 0], "undecided", 0),
    ],
)
def test_most_and_any_count_cells(over, effects, expected, effect):
    given = [noisy(effect, backbone=str(n)) for n, effect in enumerate(effects)]
    found = judge(claim(require=["A > B"], over=over), *given)
    assert found.verdict == expected
    assert found.effect == pytest.approx(effect)
    above = sum(one > 0 for one in effects)
    assert found.votes == f"{above} of {len(effects)} cells above zero, {above} of them decided"


@pytest.mark.parametrize("margin", [None, 0.2, 2])
def test_choosing_the_best_cells_is_corrected_for(margin):
    """Two of three cells are needed, and all three are above zero, but barely."""
    cells = [rows({"a": [1.0, 2, 0.5, 3, 0.8], "b": [0.0] * 5}, dataset=name) for name in "xyz"]
    (part,) = judge(PLAIN, cells[0]).parts
    assert (part.verdict, 0.0125 < part.p_hold <= 0.025) == ("holds", True)
    found = judge(claim(require=["A > B"], over="most", margin=margin), *cells)
    assert found.verdict == "undecided"
    assert "3 of 3 cells above zero, 3 of them decided, 2 needed (p = 0.0" in found.reason


@pytest.mark.parametrize("number", [2, 4, 5])
def test_a_count_of_few_cells_is_not_asked(number):
    given = [noisy(-1, dataset=str(n)) for n in range(number)]
    counted = {"that": "B < A", "over": "most", "least": 5}
    found = judge(claim(require=["A < B", counted]), *given)
    assert found.verdict == ("holds" if number < 5 else "fails")
    shown = [part.because for part in found.parts if part.inequality == "B < A"]
    assert shown == [f"not asked: {number} cells, and it takes 5" if number < 5 else ""] * number


def test_what_is_said_of_several_sets_is_not_refuted_by_one():
    some = claim(require=[{"that": "A > B", "over": "any", "sets": 2}])
    one = [noisy(-1, backbone=name) for name in ("x", "y")]
    assert judge(claim(require=["A > B"], over="any"), *one).verdict == "fails"
    found = judge(some, *one)
    assert found.verdict == "undecided"
    assert "it takes 2 data sets, and there is 1" in found.reason
    assert judge(some, *one, noisy(-1, dataset="e")).verdict == "fails"


def test_no_effect_is_within_a_stated_margin():
    def within(margin, **check):
        return claim(require=[{"that": "A > B", "margin": margin}], **check)

    up, none = noisy(3, dataset="up"), noisy(0.01)
    assert judge(PLAIN, up, none).verdict == "undecided"
    assert judge(within(0.1), up, none).verdict == "undecided"
    found = judge(within(0.5), up, none)
    assert (found.verdict, found.reason) == ("no effect", "within ±0.5")
    assert judge(within(0.5), up, none, noisy(-3, dataset="down")).verdict == "fails"
    assert judge(within(0.5, premise=["A > 1"]), up, none).verdict == "undecided"
    assert judge(claim(require=["A > B"], margin=0.5), none).verdict == "no effect"
    assert judge(within(0.5, over="most"), up, none, noisy(0, dataset="x")).verdict == "no effect"
    # An interval that goes beyond it on either side is none, and leaves the claim open.
    wide, still = [-2.0, 1, -1, 0.5, -0.6], [0.0] * 5
    for values in ({"a": wide, "b": still}, {"a": still, "b": wide}):
        open_ = rows(values, dataset="open")
        assert judge(within(1.5), open_).verdict == "undecided"
        assert judge(within(2.0), open_).verdict == "no effect"
        assert judge(within(1.5), none, open_).verdict == "undecided"
    # An inequality's own margin counts before that of the check.
    own = claim(require=[{"that": "A > B", "margin": 0.1}, "A > B - 9"], margin=0.5)
    assert judge(own, none).verdict == "undecided"


def test_a_maximum_is_one_inequality_a_rival():
    """No maximum is taken of one seed: the best rival at a seed is another at each."""
    values = {"a": [1.0] * 5, "b": [0.0, 2.0, 0.0, 2.0, 0.0], "c": [2.0, 0.0, 0.0, 0.0, 2.0]}
    against = claim(let={**BOTH, "C": {"train": "c"}}, require=["A > max(B, C)"])
    found = judge(against, rows(values))
    assert [part.inequality for part in found.parts] == ["A > B", "A > C"]
    assert [part.effect for part in found.parts] == pytest.approx([0.2, 0.2])
    assert found.verdict == "undecided"
    assert judge(against, rows({**values, "a": [9.0] * 5})).verdict == "holds"
    assert judge(against, rows({**values, "c": [3.0, 3.1, 3, 3, 3]})).verdict == "fails"


def test_absolute_values_are_taken_of_means():
    (part,) = judge(
        claim(require=["abs(A) > abs(B)"]),
        rows({"a": [-1.0, 1, -1, 1, -1], "b": [0.1, 0.2, 0.1, 0.2, 0.1]}),
    ).parts
    assert part.effect == pytest.approx(0.2 - 0.14)


def test_a_form_beside_decides_nothing():
    beside = [{"that": "A < B", "because": "as printed"}, {"that": "C > B", "because": "later"}]
    found = judge(
        claim(let={**BOTH, "C": {"train": "c"}}, require=["A > B"], beside=beside), rows(UP)
    )
    assert found.verdict == "holds"
    assert [(p.verdict, p.decides, p.because) for p in found.parts[1:]] == [
        ("fails", False, "as printed"),
        ("not run", False, "later"),
    ]


@pytest.mark.parametrize("over", ["mean", "most"])
def test_a_cell_that_says_nothing_is_not_left_out(over):
    combined = claim(premise=["A > 0"], require=["A > B"], over=over)
    good = rows({"a": [9.0] * 5, "b": [1.0] * 5})
    unmet = rows({"a": [-1.0] * 5, "b": [-2.0] * 5}, dataset="unmet")
    assert judge(combined, good).verdict == "holds"
    assert judge(combined, good, unmet).verdict == "undecided"
    assert "premise" in judge(combined, good, unmet).reason
    assert judge(combined, good, rows({"a": [9.0] * 5}, dataset="half")).verdict == "not run"


def test_the_mean_is_over_cells_of_common_seeds():
    combined, later = claim(require=["A > B"], over="mean"), rows(UP, first=5, dataset="later")
    assert "no seed is common to its cells" in judge(combined, rows(UP), later).reason
    part = judge(combined, rows({"a": [1.0] * 4 + [5] * 6, "b": [0.0] * 10}), later).parts[0]
    assert (part.seeds, part.effect) == (5, 3)


def test_each_fills_placeholders_and_every_filling_counts():
    quantities = {"S": {"train": "{G}"}, "R": {"train": "real"}}
    looped = claim(each={"G": ["a", "b"]}, let=quantities, require=["S > R"])
    found = judge(looped, rows({"a": [2.0] * 5, "b": [0.0] * 5, "real": [1.0] * 5}))
    assert found.verdict == "fails"
    assert [part.cell for part in found.parts] == ["G=a, d", "G=b, d"]
    assert judge(looped, rows({"a": [2.0] * 5, "real": [1.0] * 5})).verdict == "not run"


def test_a_quantity_that_fixes_a_field_is_compared_in_every_cell():
    fixed = claim(
        let={"A": {"train": "a"}, "B": {"train": "b", "dataset": "all"}}, require=["A > B"]
    )
    given = [rows({"a": [n] * 5}, dataset=name) for n, name in ((2, "d"), (0, "e"))]
    found = judge(fixed, *given, rows({"b": [1.0] * 5}, dataset="all"))
    assert [(part.cell, part.verdict) for part in found.parts] == [("d", "holds"), ("e", "fails")]
    # Also one to which the field does not apply.
    found = judge(
        PLAIN, *(rows({"a": [2] * 5}, backbone=name) for name in "xy"), rows({"b": [1] * 5})
    )
    assert [part.verdict for part in found.parts] == ["holds", "holds"]


def test_rows_that_differ_in_an_unnamed_setting_are_ambiguous():
    found = judge(PLAIN, rows(UP, shots=1), rows({"a": [9.0] * 5}, shots=2))
    assert found.verdict == "undecided"
    assert "rows of A differ in shots" in found.reason


def test_newest_row_of_an_identity_counts(monkeypatch):
    old = rows(DOWN, time="2020-01-01T00:00:00Z")
    new = rows({"a": [2.0] * 5}, time="2021-01-01T00:00:00Z")
    assert judge(PLAIN, new, old).verdict == judge(PLAIN, old, new).verdict == "holds"
    monkeypatch.setattr(decide, "claims", lambda paper=None: [PLAIN])
    assert verdicts("mini", rows=[*new, *old])[0].verdict == "holds"


def test_numbers_that_are_not_finite_decide_nothing():
    found = judge(claim(require=["A / B > 0"]), rows({"a": [1.0] * 5, "b": [0.0] * 5}))
    assert found.verdict == "undecided"
    assert "not finite" in found.reason


def curve(values):
    spread = ((n, [value + x for x in (0, 0.1, -0.1, 0.2, -0.2)]) for n, value in values.items())
    return [row for n, held in spread for row in rows({"a": held}, n=n)]


def trend(**fields):
    return claim(let={"A": BOTH["A"]}, trend=[{"of": "A", "across": "n", **fields}])


@pytest.mark.parametrize(
    ("by", "direction", "values", "expected", "effect"),
    [
        ("spearman", "up", {1: 0, 2: 1, 16: 2}, "holds", 1),  # 16 after 2, as numbers
        ("spearman", "down", {1: 0, 2: 1, 16: 2}, "fails", -1),
        ("spearman", "up", {1: 0, 2: 1, 16: 0}, "undecided", 0),
        ("spearman", "up", {1: 5, 2: 5, 16: 5}, "undecided", 0),
        ("spearman", "up", {1: 0, 2: 5}, "undecided", None),  # two points are no trend
        ("ends", "down", {1: 7, 2: 9, 16: 4}, "holds", 3),
        ("last", "up", {1: -7, 2: -9, 16: 4}, "holds", 4),
        ("last", "up", {"few": 1, "many": 2}, "undecided", None),
        ("ends", "up", {4: 5}, "undecided", None),  # nor is one
        ("last", "up", {4: 5}, "undecided", None),
    ],
)
def test_trend(by, direction, values, expected, effect):
    found = judge(trend(direction=direction, by=by), curve(values))
    assert found.verdict == expected
    assert found.effect == (None if effect is None else pytest.approx(effect))


@given(values=st.lists(st.integers(-3, 3), min_size=3, max_size=7))
def test_rank_correlation_is_scipys(values):
    found = judge(trend(direction="up", by="spearman"), curve(dict(enumerate(values))))
    expected = spearmanr(range(len(values)), values)[0] if len({*values}) > 1 else 0.0
    assert found.parts[0].effect == pytest.approx(expected, abs=1e-9)


def test_the_interval_of_a_correlation_is_shown_as_far_as_there_are_any():
    held = [[0.0, 1, 2, 3], [0.0, 1, 2, 3], [0.0, 1, 2, 3], [0.0, 1, 3, 2], [1.0, 0, 2, 3]]
    given = [row for n in range(4) for row in rows({"a": [line[n] for line in held]}, n=n)]
    found = judge(trend(direction="up", by="spearman"), *([one] for one in given))
    assert found.high > 1
    assert found.effect_text == "+0.92 [+0.78, +1.00] (rank correlation)"
    ends = judge(trend(direction="up", by="ends"), *([one] for one in given))
    assert ends.effect_text == f"+2.60 [{ends.low:+.2f}, {ends.high:+.2f}]"


TABLE_1 = {
    "real": {"real": 96.34, "diffusion": 93.54, "gan": 98.68},
    "diffusion": {"real": 85.76, "diffusion": 97.71},
    "gan": {"real": 78.90, "gan": 99.82},
}  # of the gap study's paper


def table_1():
    fields = {"chapter": "12_not_mutual", "metric": "top1_accuracy"}
    filtered = {"method": "filtered_real", "test": "real", "split": "test", **fields}
    filtered["metric"] = "mean_class_accuracy"
    return rows({"real": [96, 96.1, 95.9, 96.2, 95.8]}, **filtered) + [
        row
        for split in ("train", "test")
        for train, tests in TABLE_1.items()
        for test, value in tests.items()
        for row in rows(
            {train: [value + x for x in (0, 0.1, -0.1, 0.2, -0.2)]},
            test=test, split=split, **fields,
        )
    ]  # fmt: skip


def test_an_included_claim_is_judged_with_the_one_that_includes_it():
    found = {one.id: one for one in verdicts(paper="gap", rows=table_1())}
    assert found["gap-02"].verdict == "holds"
    assert found["gap-07"].verdict == "not run"
    assert "11_generators" in found["gap-07"].reason
    assert [part.verdict for part in found["gap-07"].parts][:2] == ["holds", "holds"]


def test_an_open_claim_names_a_part_of_it_that_fails_by_itself(monkeypatch):
    """One p-value is below 0.025, and not below half of it."""
    inner = claim(let={"A": BOTH["A"]}, require=["A > 0"])
    outer = claim(let={"B": BOTH["B"]}, require=["B > 0"]).model_copy(update={"id": "gap-98"})
    held = {"gap-99": [inner], "gap-98": [inner, outer]}
    monkeypatch.setattr(decide, "included", lambda one: held[one.id])
    given = rows({"a": [-1.0, -2, -3, -4, 0], "b": [2.0, -2, 1, -1, 3]})
    assert judge(inner, given).verdict == "fails"
    found = judge(outer, given)
    assert found.verdict == "undecided"
    words = "no longer with Holm's correction for 2 clauses (gap-99, which has fewer, fails)"
    assert words in found.reason
    both = claim(require=["A > 0", "B > 0"]).model_copy(update={"id": "gap-97"})
    held["gap-97"] = [both]
    assert "for 2 clauses; " in judge(both, given).reason


def test_a_verdict_says_whether_its_claim_is_about_sizes():
    sized = PLAIN.model_copy(update={"scale_free": False})
    assert [one["scale_free"] for one in to_json([judge(sized, rows(UP)), judge(sized)])] == [
        False
    ] * 2
    assert judge(PLAIN, rows(UP)).scale_free


def test_verdicts_choose_claims_and_scales():
    assert [one.id for one in verdicts(ids=["dip-03", "gap-01"], rows=[])] == ["dip-03", "gap-01"]
    assert {one.scale for one in verdicts(scale="small", paper="gap", rows=table_1())} == {"small"}
    assert {one.scale for one in verdicts(paper="dip")} >= {"mini"}
    with pytest.raises(InputError, match="did you mean 'gap-01'"):
        verdicts(ids=["gap_01"], rows=[])
    with pytest.raises(InputError, match="no study 'gab'; did you mean 'gap'"):
        claims("gab")


def test_claims_of_a_chapter_read_it_also_through_the_claims_that_they_include():
    known = {one.id: one for one in claims()}
    chapters = ["11_generators", "12_not_mutual", "14_what_an_image_teaches"]
    assert chapters_of(known["gap-07"]) == chapters
    assert known["gap-07"] in claims_of("12_not_mutual")
    assert [one.id for one in claims_of("13_learned_too_fast")] == ["gap-04"]
    assert claims_of("99_none") == []


@pytest.fixture
def paper(tmp_path, monkeypatch):
    """Write files of claims or premises that are read in place of the book's."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_toc.yml").touch()
    (tmp_path / "book" / "paper").mkdir(parents=True)
    monkeypatch.setenv("SYNTHBOOK_ROOT", str(tmp_path))

    def write(name, *entries):
        (tmp_path / "book" / "paper" / f"{name}.yml").write_text(json.dumps(entries))

    return write


def test_a_claims_file_with_a_mistake_is_named(paper):
    paper("claims_gap", {"id": "gap-01"})
    with pytest.raises(InputError, match=r"claims_gap.yml'.*0.where: Field required"):
        claims("gap")


def test_to_json_is_plain_and_holds_the_parts():
    found = verdicts(paper="gap", rows=table_1())
    entries = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert list(entries[0])[:4] == ["id", "paper", "scale", "verdict"]
    assert set(entries[0]) > {
        "effect", "low", "high", "seeds", "unit", "reason", "inequality", "cell", "votes",
        "premises", "evidence", "parts",
    }  # fmt: skip
    part = entries[0]["parts"][0]
    assert (part["inequality"], part["cell"], part["verdict"]) == (
        "RS > SR",
        "G=diffusion, d",
        "undecided",
    )
    assert part["effect"] == 7.78
    assert (part["unit"], entries[0]["unit"]) == ("points", "points")
    assert [one["rows"] for one in part["quantities"]] == [5, 5]
    assert {entry["verdict"] for entry in entries} <= set(VERDICTS)


def entry(**check):
    where = {
        "chapter": "12_not_mutual",
        "method": "plain",
        "test": "real",
        "metric": "top1_accuracy",
    }
    check = {"where": where, "let": BOTH, "require": ["A > B"], "evidence": "Table 1", **check}
    return {**claim(require=["A > B"]).model_dump(exclude={"check"}), "check": check}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"let": {**BOTH, "A": {"train": "a", "metric": "top1_acuracy"}}},
         "A: no metric 'top1_acuracy' is in chapter 12_not_mutual; did you mean 'top1_accuracy'"),
        ({"let": {**BOTH, "B": {"train": "b", "method": "{M}"}}, "each": {"M": ["plain", "RG"]}},
         "B: no method 'RG'"),
        ({"let": {**BOTH, "B": {"train": "b", "part": "tables"}}}, "B: no part 'tables'"),
        ({"let": {**BOTH, "B": {"train": "b", "chapter": "16_real_guidance", "part": "table"}}},
         "B: no part 'table' is in chapter 16_real_guidance"),
        ({"let": {**BOTH, "B": {"train": "b", "chapter": "99_none"}}},
         "B: PRODUCES of record/metrics.py has no chapter '99_none'; add it there"),
        ({"let": {**BOTH, "B": {"train": "b", "chapter": "11_generators", "method": "fidelity",
                                "metric": "fd"}}}, "'FD' and 'points'"),
        ({"let": {**BOTH, "P": {"train": "a", "chapter": "11_generators", "method": "fidelity",
                                "metric": "fd"}}, "premise": ["P > A"]}, "'FD' and 'points'"),
        ({"require": ["A > B", "A / B > 1"], "margin": 1}, "one margin for effects in"),
        ({"premise": ["convergd"]}, "no premise 'convergd'; did you mean 'converged'"),
        ({"evidence": None}, "'evidence' is missing"),
        ({"evidence": {"dataset": ["cifar10"], "n": [4]}}, None),
        ({"premise": ["converged", "A > 3"]}, None),
    ],
)  # fmt: skip
def test_a_check_that_rows_can_never_answer_is_refused(change, message, paper):
    where = {"chapter": "12_not_mutual", "method": "plain", "test": "real"}
    premise = {"where": where, "let": {"A": {"train": "a", "metric": "top1_accuracy"}}}
    named = {"id": "converged", "statement": "-", "why": "-"}
    paper("premises", {**named, "check": {**premise, "require": ["A > 95"]}})
    paper("claims_gap", entry(**change))
    if message:
        with pytest.raises(InputError, match=rf"claims_gap.yml', gap-99: .*{re.escape(message)}"):
            claims("gap")
    else:
        assert claims("gap")[0].id == "gap-99"


def test_what_decides_on_a_claim_are_its_premises_rows_too(bed):
    where = PLAIN.check.where
    bed(high={**HIGH, "where": {**where, "chapter": "{C}"}, "premise": ["low"],
              "each": {"C": ["h", "i"]}},
        low={**HIGH, "where": {**where, "chapter": "l"}})  # fmt: skip
    premised = claim(require=[{"that": "A > B", "premise": ["high"]}])
    assert deciding_chapters(premised) == ["c", "h", "i", "l"]
    assert chapters_of(premised) == deciding_chapters(PLAIN) == ["c"]


def test_rows_of_premises_are_read_wherever_they_lie(bed, monkeypatch):
    bed(high={**HIGH, "where": {**PLAIN.check.where, "chapter": "h"}})
    asked = claim(require=["A > B"], premise=["high"])
    monkeypatch.setattr(decide, "claims", lambda paper=None: [asked])
    held = {"c": rows(UP), "h": rows({"a": [99.0] * 5}, chapter="h")}
    monkeypatch.setattr(decide, "recorded_rows", lambda chapter, scale: held[chapter])
    assert verdicts("mini")[0].verdict == "holds"


def test_a_premise_of_itself_is_refused(paper):
    premise = {"statement": "-", "why": "-", "check": entry()["check"]}
    round_about = {**premise, "check": {**premise["check"], "premise": ["two"]}}
    paper("premises", {**round_about, "id": "one"}, {**round_about, "id": "two"})
    with pytest.raises(InputError, match=r"premises.yml', two: it is a premise of itself"):
        catalogue.premises()


def test_a_claim_is_as_sure_as_its_least_sure_clause():
    found = judge(claim(require=["A > B", "A > 2 * B"]), noisy(1), noisy(0.3, dataset="e"))
    alone = [part.p_hold for part in found.parts]
    assert found.p_hold == max(alone) > min(alone)
    below = [part.p_fail for part in found.parts]
    assert found.p_fail == min(1, len(below) * min(below))
