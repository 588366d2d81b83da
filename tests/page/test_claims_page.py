"""The page of all claims: every claim once, every verdict told in words."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from synthbook.claims.decide import PAPERS, VERDICTS, Verdict, chapters_of, claims, verdicts
from synthbook.page.claims_page import (
    STUDIES,
    badge,
    claims_html,
    claims_table,
    count_bars,
    counts_table,
)

SCALES = ["mini", "small"]


@pytest.fixture(scope="module")
def found() -> list[Verdict]:
    rest = [one for scale in SCALES for one in verdicts(scale=scale, rows=[]) if one.id != "gap-01"]
    known = Verdict("holds", 3.0, 1.0, 5.0, 3, id="gap-01", paper="gap", scale="mini")
    return [*rest, known]


def test_every_claim_is_a_line_with_its_evidence(found: list[Verdict]) -> None:
    for paper in PAPERS:
        chosen = claims(paper)
        text = claims_html(chosen, found, SCALES, STUDIES[paper])
        assert re.findall(r"<b>([a-z]+-\d\d)</b>", text) == [one.id for one in chosen]
        assert text.count("<tr>") == len(chosen)
        assert len(text) < 60_000
    table = claims_table(claims("gap"), found, SCALES)
    assert list(table) == ["claim", *SCALES, "what the paper reports"]
    assert "93.54 real-&gt;synthetic" in table.loc[0, "what the paper reports"]


def test_a_verdict_says_effect_seeds_and_age(found: list[Verdict]) -> None:
    text = badge(found[-1])
    assert "holds" in text
    assert "+3 [+1, +5], 3 seeds" in text
    assert "not run" in badge(None)
    undecided = replace(found[-1], verdict="undecided", effect=1.0, low=None, reason="A < B & C")
    assert "A &lt; B &amp; C" in badge(undecided)
    assert "+1, 1 seed<" in badge(replace(undecided, seeds=1))


def test_counts_add_up_to_the_claims(found: list[Verdict]) -> None:
    counts = counts_table(found, ["mini"])
    assert counts[list(VERDICTS)].to_numpy().sum() == len(claims()) == 139
    assert counts.set_index("study").loc["gap", "holds"] == 1


def test_bars_are_the_counts(found: list[Verdict]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    counts = counts_table(found, ["mini"])
    figure = count_bars(counts)
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert sum(widths) == 139
    mpl.pyplot.close(figure)


def test_chapters_of_a_claim_include_those_of_the_claims_in_it() -> None:
    seven = next(one for one in claims("gap") if one.id == "gap-07")
    assert chapters_of(seven) == ["11_generators", "12_not_mutual", "14_what_an_image_teaches"]
