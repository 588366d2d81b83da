"""A reader's questions, with the claims that ask them, verdicts of rows, and links that lead."""

from __future__ import annotations

import re

import pytest

from synthbook.claims.catalogue import PAPERS, claims_of, find
from synthbook.claims.decide import Part, Verdict
from synthbook.page import headlines
from synthbook.page.headlines import PLACE, QUESTIONS, came_out, with_headlines
from synthbook.record.chapters import chapters
from synthbook.store import root

IDS = [name for claims in QUESTIONS.values() for name in claims]


def test_the_claims_are_main_ones_of_every_study_each_once_and_few_a_question() -> None:
    assert {claim.kind for claim in find(IDS)} == {"main"}
    assert {claim.paper for claim in find(IDS)} == set(PAPERS)
    assert len(set(IDS)) == len(IDS)
    assert all(2 <= len(claims) <= 4 for claims in QUESTIONS.values())
    words = " ".join([*QUESTIONS, *(text for some in QUESTIONS.values() for text in some.values())])
    assert len(words.split()) < 350  # which are read in a minute
    assert not re.search(r"\d", words)  # numbers are those of rows


def test_verdicts_are_those_of_the_smallest_scale_with_effect_and_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = dict.fromkeys(IDS, "not run") | {"gap-09": "fails", "gap-21": "undecided"}
    told["gap-01"] = "holds"
    control = Part(verdict="fails", decides=False, because="the control", effect=-3.0)
    asked = []

    def verdicts(scale: str, ids: list[str]) -> list[Verdict]:
        asked.append(scale)
        numbers = {"effect": -1.0, "low": -2.0, "high": -0.5, "seeds": 5}
        numbers["parts"] = (control,)
        return [
            Verdict(id=name, paper="", scale=scale, verdict=told[name],
                    **({} if told[name] == "not run" else numbers))
            for name in ids
        ]  # fmt: skip

    monkeypatch.setattr(headlines, "verdicts", verdicts)
    monkeypatch.setattr(headlines, "recorded_scales", lambda: ["small", "z"])
    shown = came_out()
    first, *lines = str(shown).splitlines()
    assert asked == ["small"]
    assert first == (
        f"Measured at scale small. Of the {len(IDS)} claims below 1 holds, 1 fails, 1 is undecided "
        f"and {len(IDS) - 3} were not run."
    )
    assert lines == [f"{name} {told[name]}" for name in IDS]
    (item,) = (one for one in shown.html.split("<li>") if "#gap-21" in one)
    assert "-1.00 [-2.00, -0.50]</span>; below zero, but not surely, as one of several" in item
    assert "Beside" not in item
    (item,) = (one for one in shown.html.split("<li>") if "#gap-01" in one)
    assert "</a>. Beside it 1 of 1 does not hold: the control (fails, -3).</small>" in item
    assert shown.html.index("What the words mean") < shown.html.index("<b>")
    (item,) = (one for one in shown.html.split("<li>") if "#prim-01" in one)
    assert "not run" in item
    assert "[" not in item
    monkeypatch.setattr(headlines, "recorded_scales", list)
    assert "Measured at scale mini (a miniature: photographs of 32 pixels" in str(came_out())


def test_links_lead_to_the_claims_in_chapters_of_the_book() -> None:
    link = r'href="../notebooks/(\w+).html#([a-z]+-\d\d)" title="[^"]+">\2<'
    found = re.findall(link, came_out().html)
    assert [name for _, name in found] == IDS
    asked = {chapter.name: {one.id for one in claims_of(chapter.name)} for chapter in chapters()}
    assert all(name in asked[chapter] for chapter, name in found)


def test_the_first_page_of_the_book_has_the_place_once() -> None:
    text = (root() / "book/intro.md").read_text()
    made = with_headlines(text)
    assert PLACE not in made
    assert made.count('class="book-headlines"') == 1
    assert "\n\n" not in re.search(r'<div class="book-headlines">.*?</div>', made, re.DOTALL)[0]
