"""A dry run says which printed figures a run makes; a page says which no run makes."""

from __future__ import annotations

import re

import pytest

from synthbook.claims.catalogue import PAPERS
from synthbook.cli import main
from synthbook.press.grids import grid
from synthbook.press.plan import coverage_page, plan
from synthbook.record.coverage import coverage, figures
from synthbook.record.parameters import check_values


def told(chapter: str, scale: str = "paper", **given: object) -> str:
    return plan(check_values(chapter, given, scale), scale)


def test_a_plan_lists_the_lines_that_the_run_makes_and_what_the_others_lack() -> None:
    text = told("16_real_guidance", methods=["plain", "ADDA", "RG"])
    table = text[text.index("Table 4 of gap") :]
    assert re.search(r"^    ADDA +CIFAR-10, LSGM \[1\]; CIFAR-10, SG-XL \[2\]$", table, re.M)
    assert re.search(r"^    Ours, rg 1, pg_r 0, pg_f 0: RG ", table, re.M)
    assert re.search(r"^    \[1\] in its place: a diffusion model", table, re.M)
    assert re.search(r"^        methods=DADA: 2 \(DADA\)$", table, re.M)
    assert re.search(r"^    no parameter makes 27 \(CUB, Real; .*: a subset of CUB", table, re.M)
    assert "    data = cifar10    (mini: caltech10)\n" in text
    assert "    methods: plain, ADDA, RG\n" in text
    assert re.search(r"Its grid \(make results\): 5 runs, .* GPU hours \(estimate: ", text)


@pytest.mark.parametrize(
    "chapter", sorted({t.chapter for c in coverage().values() for t in c.tables.values()})
)
def test_a_plan_counts_every_printed_figure_once(chapter: str) -> None:
    text = told(chapter)
    for paper, held in coverage().items():
        for name, table in held.tables.items():
            if every := [figure for figure in figures(paper, name) if figure.chapter == chapter]:
                part = text.partition(f"{table.title} of {paper}: ")[2]
                count, made = map(int, re.match(r"(\d+) printed .*? makes (\d+)", part).groups())
                run = check_values(chapter, {}, "paper")
                assert count == len(every)
                assert made == sum(not f.cannot and not f.lacks(run) for f in every)


def test_a_dry_run_needs_no_data_and_says_what_would_stop_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SYNTHBOOK_DATA", raising=False)
    for options, planned, reason in (
        (["16", "--scale", "paper"], "Table 4 of gap", "'cifar10' needs data_root"),
        (["12", "-p", "data=nope"], "data = nope", "unknown data set 'nope'"),
        (["61", "-p", "samples=nope"], "samples = nope", "samples 'nope' is neither"),
    ):
        assert main(["run", *options, "--dry-run"]) == 2
        out, err = capsys.readouterr()
        assert "nothing is run" in out
        assert planned in out
        assert f"as things are, this run would stop at once: {reason}" in err
    assert main(["run", "52", "--dry-run", "-p", "parts=sources"]) == 0
    assert "would stop" not in capsys.readouterr().err


def test_a_grid_is_named_where_the_run_has_the_scales_own_values() -> None:
    for scale, given, there in (
        ("mini", {}, True), ("mini", {"sources": ["real", "gan"]}, True), ("small", {}, True),
        ("mini", {"data": "digits"}, False), ("small", {"data": "digits"}, False),
    ):  # fmt: skip
        assert ("Its grid" in told("12_not_mutual", scale, **given)) == there


def test_the_minutes_of_a_grid_are_told_as_those_of_its_own_images_and_steps() -> None:
    chapter = "52_transfer_to_few_images"
    one = f"One run of the grid takes about {grid(chapter, 'mini').minutes:.0f} minutes of one"
    own = told(chapter, "mini", targets=["my_photos", "caltech3:airplanes"], seeds=2)
    assert f"{one} core or GPU.\nNo run of the grid has stop_after = " in own
    assert (
        ", targets = my_photos: the time of this one is not known, and goes by the size and" in own
    )
    whole = {"stop_after": 0, "first_seed": 7, "device": "cuda"}  # as any run of the grid
    own = told(chapter, "mini", **whole, targets=["my_photos"])
    assert "No run of the grid has targets = my_photos: the time" in own
    part = told(chapter, "mini", **whole, parts=["sources"])
    assert f"{one} core or GPU; this one goes by the trainings that it has." in part
    large = told(chapter, "paper", targets=["my_photos"])
    assert "No run of the grid has targets = my_photos: the time" in large
    for plain in (told(chapter, "mini"), told(chapter)):
        assert "One run of the grid" not in plain
    assert "No run of the grid" not in told(chapter)


def test_the_page_names_every_reason_and_counts_its_figures() -> None:
    page = coverage_page()
    assert ", 1 figure)" in page
    assert " 1 figures)" not in page
    for paper, held in coverage().items():
        for rule in held.rules:
            for text in filter(None, (rule.cannot, rule.instead)):
                assert page.count(f": {text}.") == 1
        for name, table in held.tables.items():
            every = figures(paper, name)
            cannot = sum(bool(figure.cannot) for figure in every)
            assert re.search(rf"\| {table.title} .*\| {len(every)} \| \d+ \| {cannot} \|", page)
        for other in held.others:
            assert other.what in page


def test_the_page_has_the_studies_in_the_order_of_the_book() -> None:
    headings = re.findall(r"^## (\w+):", coverage_page(), re.MULTILINE)
    assert headings == list(PAPERS)
