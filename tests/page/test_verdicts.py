"""What a verdict rests on, in words, and the tables of parts and premises."""

from __future__ import annotations

import re

import pytest

from synthbook.claims.decide import VERDICTS, Condition, Part, Verdict
from synthbook.claims.language import Premise
from synthbook.page import verdicts as module
from synthbook.page.verdicts import effect, paper_sizes, parts, premises_table, says, why_open

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
    assert effect(verdict("holds", low=1.0, high=2.0)) == "+1.50 [+1.00, +2.00] points, 5 seeds"
    assert effect(verdict("not run", effect=None)) == ""


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"low": -1.0, "high": 2.0, "reason": "premise high is not met"},
            "",
        ),  # as the interval says
        ({"low": 1.0, "high": 2.0, "reason": "premise high is not met"}, "a premise is not met"),
        ({"low": -2.0, "high": -1.0}, "no longer below zero with Holm's correction"),
        ({"low": -2.0, "high": -1.0, "seeds": 3}, "3 of the 5 seeds that it takes"),
        ({"seeds": 1}, "1 of the 5 seeds that it takes"),
        ({"seeds": 1, "effect": None}, ""),
        ({"low": 1.0, "high": 2.0, "votes": "3 of 4 cells"}, "too few cells are decided"),
        (
            {"low": -2.0, "high": -1.0, "votes": "0 of 4 cells", "cell": "mean of 4 cells"},
            "no longer below zero with Holm's correction",
        ),
        ({}, ""),
    ],
)
def test_what_is_open_though_its_interval_is_off_zero_says_why(more: dict, words: str) -> None:
    assert why_open(verdict("undecided", **more)) == words
    assert why_open(verdict("fails", **more)) == ""


def test_a_claim_about_sizes_that_a_miniature_decided_says_so() -> None:
    words = "the paper's own sizes are part of this claim"
    asked = [(w, s, free) for w in VERDICTS for s in ("mini", "small") for free in (True, False)]
    told = {one for one in asked if paper_sizes(verdict(one[0], scale=one[1], scale_free=one[2]))}
    assert told == {(word, "mini", False) for word in ("holds", "fails", "no effect")}
    assert paper_sizes(verdict("fails", scale_free=False)) == words


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
