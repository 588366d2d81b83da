"""What a verdict rests on, in words, and the tables of parts and premises."""

from __future__ import annotations

import re

import pytest

from synthbook.claims.decide import VERDICTS, Condition, Part, Verdict
from synthbook.claims.language import Premise
from synthbook.page import verdicts as module
from synthbook.page.verdicts import (
    effect,
    not_so_beside,
    paper_sizes,
    parts,
    parts_that_hold,
    premises_table,
    says,
    why_open,
)

SHORT = "premise high (A > 95) is not met (by 4) at d"
UNMET = Condition("high (A > 95)", {"dataset": "d"}, False, SHORT)
MET = Condition("high (A > 95)", {"dataset": "e"}, True)
UNKNOWN = Condition("high (A > 95)", {"dataset": "f"}, None, "premise high cannot be judged")
INLINE = Condition("A > 3", {}, False, "premise A > 3 is not met (by 1)")


def verdict(word: str, **more: object) -> Verdict:
    about = {"id": "gap-01", "paper": "gap", "scale": "mini", "inequality": "A > B", "cell": "d"}
    return Verdict(**about | {"verdict": word, "effect": 1.5, "seeds": 5, "unit": "points"} | more)


def lines(one: Verdict) -> list[str]:
    return [re.sub("<[^>]*>", "", line) for line in says(one).split("<br>")]


def test_an_effect_has_its_unit_and_seeds() -> None:
    shown = effect(verdict("holds", low=1.0, high=2.0))
    assert shown == '<span class="book-effect">+1.50 [+1.00, +2.00]</span> points, 5 seeds'
    assert effect(verdict("not run", effect=None)) == ""


def test_an_effect_of_too_few_seeds_is_the_mean_with_their_number_once() -> None:
    shown = effect(verdict("undecided", effect=1200.4, low=-15e3, high=13e3, seeds=2))
    assert re.sub("<[^>]*>", "", shown) == "+1200 points (2 seeds)"
    part = Part(verdict="undecided", effect=-1.0, low=-3.0, high=1.0, seeds=4, unit="FD")
    assert "-1 FD <small>(4 seeds)</small>" in parts([verdict("undecided", parts=(part,))])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"low": -1.0, "high": 2.0, "reason": "premise high is not met"},
            "",
        ),  # as the interval says
        ({"low": 1.0, "high": 2.0, "reason": "premise high is not met"}, "a premise is not met"),
        ({"low": -2.0, "high": -1.0}, "below zero, but not surely, as one of several"),
        ({"low": -2.0, "high": -1.0, "seeds": 3}, "a verdict takes 5"),
        ({"low": -1.0, "high": 2.0, "seeds": 2}, "a verdict takes 5"),
        ({"seeds": 1}, "1 seed, and a verdict takes 5"),
        ({"seeds": 1, "effect": None}, ""),
        ({"low": 1.0, "high": 2.0, "votes": "3 of 4 cells"}, "too few cells are decided"),
        (
            {"low": -2.0, "high": -1.0, "votes": "0 of 4 cells", "cell": "mean of 4 cells"},
            "below zero, but not surely, as one of several",
        ),
        ({}, ""),
    ],
)
def test_what_is_open_with_few_seeds_or_its_interval_off_zero_says_why(
    more: dict, words: str
) -> None:
    assert why_open(verdict("undecided", **more)) == words
    assert why_open(verdict("fails", **more)) == ""


def test_a_claim_about_sizes_that_a_miniature_decided_says_so() -> None:
    words = "the paper's own sizes are part of this claim"
    asked = [(w, s, free) for w in VERDICTS for s in ("mini", "small") for free in (True, False)]
    told = {one for one in asked if paper_sizes(verdict(one[0], scale=one[1], scale_free=one[2]))}
    assert told == {(word, "mini", False) for word in ("holds", "fails", "no effect")}
    assert paper_sizes(verdict("fails", scale_free=False)) == words


def test_it_is_told_how_many_parts_hold_of_a_claim_that_does_not() -> None:
    def of(*words: str, told: str = "undecided") -> str:
        beside = Part(verdict="holds", decides=False, because="a control")
        return parts_that_hold(verdict(told, parts=(*(Part(verdict=w) for w in words), beside)))

    assert of("holds", "holds", "fails") == "2 of 3 parts hold"
    assert of("holds", "undecided", told="fails") == "1 of 2 parts holds"
    assert of("undecided", "fails") == of("undecided") == of("holds", "holds", told="holds") == ""


def test_what_does_not_hold_beside_a_claim_that_holds_is_named_with_its_numbers() -> None:
    def part(word: str, because: str = "the control", **more: object) -> Part:
        return Part(
            verdict=word, decides=False, because=because, cell="G=gan, caltech10, small_cnn",
            **{"effect": 1.0, "low": -1.0, "high": 3.0, "seeds": 5, "unit": "points"} | more,
        )  # fmt: skip

    open_, below = part("undecided", "another"), part("fails", effect=-2.0, high=-1.0, low=-3.0)
    quiet = (part("holds"), part("not run"), part("undecided", ""), Part(verdict="holds"))
    words = "the control (fails, G=gan, -2.0 [-3.0, -1.0] points)."
    held = verdict("holds", parts=(*quiet, open_, below))
    assert not_so_beside(held) == f"Beside it 2 of 3 do not hold, such as: {words}"
    held = verdict("holds", parts=(*quiet, below))
    assert not_so_beside(held) == f"Beside it 1 of 2 does not hold: {words}"
    assert not_so_beside(verdict("holds", parts=quiet)) == ""
    assert not_so_beside(verdict("fails", parts=(below,))) == ""


def test_the_weakest_part_votes_and_reason_are_each_said_once() -> None:
    assert lines(verdict("holds")) == ["Weakest: A &gt; B at d"]
    assert lines(verdict("holds", cell="")) == ["Weakest: A &gt; B"]
    votes = "0 of 4 cells above zero, 0 of them decided"
    assert lines(verdict("fails", votes=votes, reason="A > B at d; 1 of 2 clauses hold")) == [
        votes, "A &gt; B at d; 1 of 2 clauses hold"
    ]  # fmt: skip
    said = verdict("undecided", votes=votes, reason=f"A > B: {votes}, 3 needed (p = 1)")
    assert len(lines(said)) == 1


def test_premises_that_are_not_met_are_named_once() -> None:
    held = verdict("fails", reason="A > B at d", premises=(UNMET, MET, UNMET, INLINE))
    assert lines(held)[1:] == [
        "Premise high (A &gt; 95) is not met (by 4) at d", "Premise A &gt; 3 is not met (by 1)"
    ]  # fmt: skip
    assert len(lines(verdict("undecided", reason=SHORT, premises=(UNMET,)))) == 2


def test_parts_that_decide_nothing_are_grey_and_say_why() -> None:
    named = {"inequality": "A < B", "cell": "d", "verdict": "fails", "effect": -1.0, "unit": "FD"}
    shown = parts([verdict("holds", parts=(Part(**named),))])
    assert "-1 FD" in shown
    assert "A &lt; B" in shown
    assert "the side that the claim says is larger, less the other" in shown
    assert "book-beside" not in shown
    shown = parts([verdict("holds", parts=(Part(**named, decides=False, because="as <i>"),))])
    assert shown.count('<span class="book-beside">') == 5
    assert "beside: as &lt;i&gt;" in shown
    shown = parts([verdict("holds", parts=(Part(**named, decides=False),))])
    assert "beside: one of those in the mean" in shown


def test_premises_are_listed_with_the_cells_where_they_are_met(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let = {"A": dict.fromkeys(("chapter", "method", "train", "test", "metric"), "x")}
    check = {"let": let, "require": ["A > 95"]}
    high = Premise(id="high", statement="It is <high>", why="Else nothing is learned", check=check)
    monkeypatch.setattr(module, "premises", lambda: {"high": high})
    found = [
        verdict("fails", premises=(UNMET, MET, INLINE)),
        verdict("holds", premises=(MET, UNKNOWN)),
    ]
    shown = premises_table(found, ["mini", "small"]).html
    assert '<b id="premise-high">' in shown
    assert "It is &lt;high&gt;" in shown
    assert "Else nothing is learned" in shown
    assert "met in 1 of 2 cells" in shown
    assert shown.count("met in") == 1
    monkeypatch.setattr(module, "premises", dict)
    assert "premise" in premises_table([], ["mini"]).html
