"""Every claim once, every verdict told in words, and the way back to the rows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib as mpl
import pytest

from synthbook.claims.catalogue import PAPERS, claims
from synthbook.claims.decide import VERDICTS, Part, Verdict, verdicts
from synthbook.page.claims_page import (
    STUDIES,
    badge,
    claims_display,
    claims_table,
    count_bars,
    counts_table,
    sizes_note,
)
from synthbook.page.evidence import published_at
from synthbook.store import root

mpl.use("Agg")
SCALES = ["mini", "small"]


def verdict(name: str, scale: str, word: str, *numbers: float, **more: object) -> Verdict:
    named = dict(zip(("effect", "low", "high", "seeds"), numbers, strict=False))
    return Verdict(id=name, paper="gap", scale=scale, verdict=word, **named, **more)


@pytest.fixture(scope="module")
def found() -> list[Verdict]:
    rest = [one for scale in SCALES for one in verdicts(scale=scale, rows=[]) if one.id != "gap-01"]
    known = verdict("gap-01", "mini", "holds", 3.0, 1.0, 5.0, 3)
    return [*rest, known]


def test_every_claim_is_a_line_with_its_evidence(found: list[Verdict]) -> None:
    for paper in PAPERS:
        chosen = claims(paper)
        text = claims_table(chosen, found, SCALES, STUDIES[paper]).html
        assert re.findall(r'<b id="([a-z]+-\d\d)">', text) == [one.id for one in chosen]
        assert text.count("<tr>") == len(chosen) + 1
        assert len(text) < 80_000
    text = claims_table(claims("gap"), found, SCALES, "").html
    assert "93.54 real-&gt;synthetic" in text
    assert '<a href="12_not_mutual.html#gap-01">12 The gap is not mutual</a>' in text
    assert re.search(r'<a href="12_not_mutual.html#gap-01"><span [^>]*>✓ holds</span></a>', text)


def test_a_scale_without_any_verdict_is_left_out(found: list[Verdict]) -> None:
    small = verdict("gap-02", "small", "fails")
    assert ">small</th>" not in claims_table(claims("gap"), found, SCALES, "").html
    assert ">small</th>" in claims_table(claims("gap"), [*found, small], SCALES, "").html
    assert ">mini</th>" in claims_table(claims("dip"), found, SCALES, "").html


def test_a_verdict_says_effect_seeds_and_reason(found: list[Verdict]) -> None:
    text = badge(found[-1])
    assert "holds" in text
    assert "<br>+3 (3 seeds)" in text
    assert "not run" in badge(None)
    undecided = verdict("gap-01", "mini", "undecided", 1.0, reason="A < B & C", seeds=1)
    assert "A &lt; B &amp; C" in badge(undecided)
    assert "+1, 1 seed<" in badge(undecided)


def test_claims_about_sizes_say_so_where_a_miniature_decides_them() -> None:
    words = "the paper's own sizes are part of this claim"
    numbers = (-1.0, -2.0, -0.5, 5)
    sized = verdict("gap-02", "mini", "fails", *numbers, scale_free=False)
    others = [verdict("gap-01", "mini", "fails", *numbers),
              verdict("gap-02", "small", "fails", *numbers, scale_free=False)]  # fmt: skip
    assert words in badge(sized)
    two = [claim for claim in claims("gap") if claim.id in ("gap-01", "gap-02")]
    assert claims_display(two, [sized, *others]).html.count(words) == 1
    assert claims_table(two, [sized, *others], SCALES, "").html.count(words) == 1
    assert sizes_note([sized, *others]).startswith("Of those decided at mini, 1 ")
    assert sizes_note([sized, *others]).endswith(": gap-02.")
    assert sizes_note(others) == ""


def test_what_was_not_run_says_why(found: list[Verdict]) -> None:
    reasons = [
        verdict("gap-01", "mini", "not run", reason="no rows of chapter 12_not_mutual"),
        verdict("gap-16", "mini", "not run", reason="no check; it needs other data"),
    ]
    text = claims_table(claims("gap"), reasons, ["mini"], "").html
    rows = re.findall(r'<b id="(gap-\d\d)">(.*?)</tr>', text, re.DOTALL)
    said = {name: "<summary>why</summary>" in row for name, row in rows}
    assert [name for name, why in said.items() if why] == ["gap-01", "gap-16"]
    assert "No rows of chapter 12_not_mutual" in text
    assert "No check; it needs other data" in text


def test_a_phone_is_told_what_the_hidden_head_says(found: list[Verdict]) -> None:
    text = claims_table(claims("gap"), found, SCALES, "").html
    assert 'class="book-table claims"' in text
    for words in ("Paper: ", "mini: "):
        assert text.count(f'<small class="on-phone">{words}</small>') == len(claims("gap"))
    css = (root() / "book/_static/synthbook.css").read_text()
    phone = css.partition("@media (max-width: 576px)")[2]
    assert ".on-phone { display: none; }" in css
    assert "table.claims thead { display: none; }" in phone
    assert "table.claims .on-phone { display: inline; }" in phone


def test_claims_have_their_parts_and_the_way_back_to_their_rows() -> None:
    one, two = (claim for claim in claims("gap") if claim.id in ("gap-01", "gap-07"))
    parts = (Part(inequality="RS - SR > 0", cell="G=gan, digits", verdict="fails", effect=-1.0),)
    shown = claims_display(
        [one, two],
        [
            verdict("gap-01", "mini", "fails", -1.0, -2.0, -0.5, 5, reason="RS < SR", parts=parts),
            verdict("gap-01", "small", "holds", 1.0, 0.5, 2.0, 3),
            verdict("gap-07", "mini", "not run", reason="no rows of it"),
            verdict("gap-07", "small", "not run"),
        ],
    )
    assert str(shown) == "gap-01 fails\ngap-07 not run"
    first, second = shown.html.split('<div class="book-claim"')[1:]
    assert "-1.00 [-2.00, -0.50]</span>, 5 seeds<br><small>RS &lt; SR</small>" in first
    assert "+1 (3 seeds)" in first
    folded = first.partition("<details>")[2]
    assert "RS - SR &gt; 0" in folded
    assert "<summary>1 part, and the way back to the rows</summary>" in folded
    assert '<a href="../_static/claims/claims_gap.yml"><code>book/paper/claims_gap.yml<' in folded
    assert "metric=top1_accuracy" in folded
    assert "<code>SR</code>: train={G}, test=real" in folded
    assert "<code>{G}</code> is each of diffusion, gan" in folded
    assert "synthbook claims --json" in folded
    assert second.count("verdict-not-run") == 1 + second.count("<td")  # once, in its first scale
    assert 'Also the parts of <a href="62_claims.html#' in second


def test_links_of_a_claim_lead_back_and_to_files_of_the_book() -> None:
    ids = ("gap-01", "gap-07", "prim-22")
    asked = [claim for claim in claims() if claim.id in ids]
    text = claims_display(asked, verdicts(ids=ids)).html
    for name in ids:
        assert f'<div class="book-claim" id="{name}">' in text
        assert f'<a href="62_claims.html#{name}">{name}</a>' in text
        assert f"synthbook rerun {name}<" in text
    files = dict(re.findall(r'href="../_static/([^"]+)"><code>([^<]+)<', text))
    assert set(files) >= {
        "claims/claims_gap.yml", "claims/claims_prim.yml", "rows/mini/12_not_mutual.jsonl",
    }  # fmt: skip
    for place, path in files.items():
        assert (root() / path).is_file()
        assert published_at(Path(path)).as_posix() == place
    lines = re.search(
        r"<code>RR</code>: train=real, test=real, split=test; lines mini ([\d–]+)", text
    )[1]
    rows = (root() / "results/mini/12_not_mutual.jsonl").read_text().splitlines()
    first, last = map(int, lines.split("–"))
    held = [json.loads(line) for line in rows[first - 1 : last]]
    assert {(row["train"], row["test"], row["setting"]["split"]) for row in held} == {
        ("real", "real", "test")
    }
    assert len({row["seed"] for row in held}) == len(held)


def test_counts_and_their_bars_add_up_to_the_claims(found: list[Verdict]) -> None:
    counts = counts_table(found, ["mini"])
    assert counts[list(VERDICTS)].to_numpy().sum() == len(claims())
    assert counts.set_index("study").loc["gap", "holds"] == 1
    figure = count_bars(counts)
    assert sum(bar.get_width() for bar in figure.axes[0].patches) == len(claims())
    mpl.pyplot.close(figure)
