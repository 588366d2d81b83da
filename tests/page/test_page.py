"""A page shows recorded rows where there are any, this run's else, and says which."""

from __future__ import annotations

import html
import itertools
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jupytext
import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from synthbook.claims import catalogue, decide
from synthbook.errors import InputError
from synthbook.page.page import Page, answer, matching, other_bed
from synthbook.press import grids
from synthbook.record.chapters import declared, find, scale_of, scale_values
from synthbook.record.parameters import check_values
from synthbook.record.rows import Provenance, Row, append, recorded_rows
from synthbook.store import root

CHAPTER = "12_not_mutual"
FEW_IMAGES = "53_why_it_works"
CLIPS = "21_zero_shot"
IDS = ("gap-09", "gap-03", "gap-01")
SCALES = {"mini": 5, "small": 3}  # on record, with so many seeds
TARGET = next(f.default[0] for f in declared(FEW_IMAGES) if f.name == "targets")
BED = next(field.default for field in declared(CHAPTER) if field.name == "data")


@pytest.fixture(autouse=True)
def on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The book as it is, with other recorded rows: of chapter 12 at two scales, of 53 at one."""
    top = tmp_path / "book"
    top.mkdir()
    for path in root().iterdir():
        if path.name != "results":
            (top / path.name).symlink_to(path)
    how = Provenance(
        time="2026-01-01T00:00:00Z", version="0", commit=None, dirty=None, device="cpu", torch="0",
        threads=1, parameters="0", seconds=0.0,
    )  # fmt: skip
    same = {"metric": "top1_accuracy", "backbone": "small_cnn", "provenance": how}
    of_sources = {"chapter": CHAPTER, "method": "plain", "setting": {"split": "test"}}
    sources = ("real", "diffusion", "gan")
    for scale, seeds in SCALES.items():
        data = scale_values(CHAPTER, scale).get("data", BED)
        grid = itertools.product(sources, sources, range(seeds))
        rows = [
            Row(train=train, test=test, seed=seed, value=60.0 + 5 * sources.index(test) + seed,
                scale=scale, dataset=data, **of_sources, **same)
            for train, test, seed in grid
        ]  # fmt: skip
        append(top / f"results/{scale}/{CHAPTER}.jsonl", rows)
    one = {"train": TARGET, "test": TARGET, "dataset": TARGET, "method": "Decay"}
    one |= {"chapter": FEW_IMAGES, "scale": "mini", "seed": 0, "value": 50.0}
    append(top / f"results/mini/{FEW_IMAGES}.jsonl", [Row(**one, **same)])
    one |= {"chapter": CLIPS, "train": "none", "test": "real", "method": "zero-shot"}
    told = same | {"dataset": "caltech10", "backbone": "web-clip", "setting": {"encoder": "first"}}
    append(top / f"results/mini/{CLIPS}.jsonl", [Row(**one | told)])
    monkeypatch.setenv("SYNTHBOOK_ROOT", str(top))


def rows_of_a_run(**more: object) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"chapter": CHAPTER, "method": "plain", "train": train, "test": "real", "value": 50.0,
             "metric": "top1_accuracy", "split": "test", "seed": 0, "scale": "mini"} | more
            for train in ("real", "gan")
        ]
    )  # fmt: skip


def verdict(name: str, word: str, **numbers: float) -> decide.Verdict:
    return decide.Verdict(id=name, paper="gap", scale="mini", verdict=word, **numbers)


def page(rows: pd.DataFrame | None = None, chapter: str = CHAPTER, **given: object) -> Page:
    """Return the page of a run with these parameters, of the scale that they have."""
    parameters = check_values(chapter, given)
    scale = scale_of(chapter, parameters)
    frame = rows_of_a_run(scale=scale) if rows is None else rows
    run = SimpleNamespace(
        chapter=chapter, scale=scale, parameters=parameters, frame=lambda: frame, rows=lambda: []
    )
    return Page(run)


def test_scales_are_those_with_rows_of_the_chapter() -> None:
    assert decide.recorded_scales(FEW_IMAGES) == ["mini"]
    assert decide.recorded_scales("99_nothing") == []
    assert list(page().recorded) == list(SCALES)


def test_matching_takes_one_value_or_several_and_forgives_a_missing_column() -> None:
    rows = rows_of_a_run()
    assert list(matching(rows, train="gan", seed=0).train) == ["gan"]
    assert len(matching(rows, train=["gan", "real"])) == 2
    assert len(matching(rows, part="methods")) == 0
    assert len(matching(rows)) == 2


def test_recorded_rows_are_shown_where_there_are_any() -> None:
    table, words = page().shown("top1_accuracy", split="test", test="real")
    assert words == "5 seeds, recorded runs"
    assert set(table.seed) == {0, 1, 2, 3, 4}
    assert set(table.metric) == {"top1_accuracy"}


def test_this_run_is_shown_where_nothing_is_on_record() -> None:
    new = rows_of_a_run(metric="new_metric")
    assert page(rows=new).shown(["new_metric"])[1] == "1 seed, this run"
    nothing, words = page().shown("new_metric")
    assert (len(nothing), words) == (0, "")


def test_a_table_has_the_paper_this_run_and_every_scale() -> None:
    paper = pd.DataFrame([{"table": "T1", "train": "gan", "value": 79.0}])
    where = {"method": "plain", "metric": "top1_accuracy", "split": "test", "test": "real"}
    shown = page().table(["train"], paper=paper, select=where)
    places = [
        shown.html.index(text)
        for text in ("paper: T1", "this run: mini", "recorded: mini, 5", "recorded: small, 3")
    ]
    assert places == sorted(places)
    same = page().table(["train"], paper=paper, select=lambda table: matching(table, **where))
    assert same == shown
    assert "this run" not in page().table(["train"], select=where, live=False).html
    titled = page().table(["train"], select=where, title="A", headings={"train": "of"})
    assert "<caption>A</caption>" in titled.html


def test_a_table_leaves_out_the_clocks_of_this_run() -> None:
    rows = pd.concat([rows_of_a_run(), rows_of_a_run(metric="relative_cost", value=7.0)])
    where = {"method": "plain", "test": "real", "split": "test"}
    shown = page(rows=rows).table(["train"], "metric", select=where)
    assert "50.0" in shown.html
    assert "7.0" not in shown.html
    asked: list[int] = []  # how many rows the tables had of which a choice was asked
    select = lambda table: asked.append(len(table)) or table.iloc[:0]  # noqa: E731
    assert "this run" not in page(rows=rows.iloc[2:]).table(["train"], select=select).html
    assert len(asked) == 2
    assert min(asked) > 2


def test_claims_are_the_asked_ones_in_their_order() -> None:
    shown = page().claims(*IDS)
    lines = str(shown).splitlines()
    found = {one.id: one.verdict for one in decide.verdicts("mini", ids=IDS)}
    assert lines == [f"{name} {found[name]}" for name in IDS]
    assert shown == page(seeds=2).claims(*IDS)  # a run does not change what is recorded
    with pytest.raises(InputError, match="no claim 'gap-1'; did you mean"):
        page().claims("gap-1")


def test_by_default_all_claims_of_the_chapter_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [claim for claim in catalogue.claims("gap") if claim.id in IDS]
    monkeypatch.setattr(catalogue, "claims_of", {CHAPTER: chosen}.get, raising=False)
    assert [line.split()[0] for line in str(page().claims()).splitlines()] == sorted(IDS)
    assert str(answer(CHAPTER)).startswith("Of the 3 claims asked here")


def test_an_answer_counts_verdicts_and_says_what_is_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = {"gap-09": ("holds", 5.0), "gap-03": ("fails", -1.0), "gap-01": ("fails", -2.0)}
    found = [
        verdict(name, word, effect=effect, low=effect - 0.5, high=effect + 0.5, seeds=5)
        for name, (word, effect) in told.items()
    ]
    asked = []
    monkeypatch.setattr(decide, "verdicts", lambda scale, ids: asked.append(scale) or found)
    first, *lines = str(answer(CHAPTER, *IDS)).splitlines()
    assert first == (
        "Of the 3 claims asked here, at mini over 5 seeds, 1 holds (gap-09) and "
        "2 fail (gap-03, gap-01)."
    )
    assert [line.split(":")[0] for line in lines] == ["holds", "fails", "fails"]
    assert "(gap-09, +5.00 [+4.50, +5.50])." in lines[0]
    assert asked == ["mini"]
    found[:] = [verdict("gap-01", "not run")]
    one = "The claim asked here, at mini, was not run (gap-01)."
    assert str(answer(CHAPTER, "gap-01")) == one
    numbers = {"effect": 5.0, "low": 4.5, "high": 5.5, "seeds": 5, "scale_free": False}
    found[:] = [verdict("gap-01", "holds", **numbers)]
    sizes = "(gap-01, +5.00 [+4.50, +5.50]; the paper's own sizes are part of this claim)."
    assert sizes in str(answer(CHAPTER, "gap-01"))


def test_an_answer_tells_each_main_claim_that_was_run_and_of_the_others_those_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = {
        "gap-02": "holds", "gap-08": "undecided", "gap-09": "undecided", "gap-03": "fails",
        "gap-10": "not run",
    }  # fmt: skip
    kinds = {claim.id: claim.kind for claim in catalogue.find(words)}
    assert [kinds[name] == "main" for name in words] == [False, False, True, True, True]
    found = [
        verdict(name, word, effect=-1.0, low=-2.0, high=-0.5, seeds=5)
        for name, word in words.items()
    ]
    monkeypatch.setattr(decide, "verdicts", lambda scale, ids: found)
    first, *lines = str(answer(CHAPTER, *words)).splitlines()
    assert "1 was not run (gap-10)" in first
    told = [re.sub(r"^([a-z ]+): .*\((gap-\d\d), .*", r"\1 \2", line) for line in lines]
    assert told == ["undecided gap-09", "fails gap-03", "holds gap-02"]
    open_ = "below zero, but not surely, as one of several"
    assert f"(gap-09, -1.00 [-2.00, -0.50]; {open_})." in lines[0]
    rest = (
        "Main claims, and others that are decided; the rest stands at the end of the page.</small>"
    )
    assert rest in answer(CHAPTER, *words).html
    assert rest not in answer(CHAPTER, "gap-03").html


def test_an_answer_tells_how_many_parts_hold_and_what_does_not_beside_a_claim_that_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = decide.Part(verdict="holds")
    control = decide.Part(verdict="fails", decides=False, because="the <control>", effect=-1.0)
    found = [
        verdict("gap-09", "holds", parts=(part, control), effect=1.0, low=0.5, high=1.5, seeds=5),
        verdict("gap-03", "undecided", parts=(part, part, decide.Part(verdict="undecided")),
                effect=1.0, low=-0.5, high=2.5, seeds=5),
    ]  # fmt: skip
    monkeypatch.setattr(decide, "verdicts", lambda scale, ids: found)
    shown = answer(CHAPTER, "gap-09", "gap-03")
    _, held, open_ = str(shown).splitlines()
    assert held.endswith("). Beside it 1 of 1 does not hold: the <control> (fails, -1).")
    assert open_.endswith("(gap-03, +1.0 [-0.5, +2.5]; 2 of 3 parts hold).")
    assert " <small>Beside it 1 of 1 does not hold: the &lt;control&gt; (fails, -1).<" in shown.html
    assert '(gap-09, <span class="book-effect">+1.00 [+0.50, +1.50]</span>).' in shown.html


def test_an_answer_with_effects_says_in_the_page_what_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [verdict("gap-09", "holds", effect=1.0, low=0.5, high=1.5, seeds=5)]
    monkeypatch.setattr(decide, "verdicts", lambda scale, ids: found)
    assert answer(CHAPTER, "gap-09").html.endswith(
        "<br><small>Behind the name of a claim: the effect of the weakest thing that it needs "
        "[95 % interval over seeds]; above 0 supports the claim.</small></p>"
    )
    assert "Behind the name" not in str(answer(CHAPTER, "gap-09"))
    found[:] = [verdict("gap-09", "not run", effect=None)]
    assert "Behind the name" not in answer(CHAPTER, "gap-09").html


def test_agreement_is_with_the_recorded_rows_of_the_scale() -> None:
    recorded = [row for row in recorded_rows(CHAPTER, "mini") if row.seed == 0]
    count = len(recorded)
    made = page()
    made.run.rows = lambda: recorded
    said = f"✓ {count} rows, {count} on record for the same seed, {count} equal."
    assert str(made.agreement()) == said
    other = [row.model_copy(update={"value": row.value + 50}) for row in recorded]
    made.run.rows = lambda: other
    assert str(made.agreement()).startswith(f"✗ {count} rows")


def test_a_run_stands_beside_the_recorded_rows_of_its_own_scale() -> None:
    made = page(**scale_values(CHAPTER, "small"))
    table, words = made.shown("top1_accuracy", split="test", test="real")
    assert (words, {*table.scale}) == ("3 seeds, recorded runs", {"small"})
    recorded = recorded_rows(CHAPTER, "small")
    made.run.rows = lambda: recorded
    assert f"{len(recorded)} on record for the same seed" in str(made.agreement())


FOREIGN = {  # a chapter and parameters of a run -> what it is said to be of
    "own images": (CHAPTER, {"data": "my_photos", "image_size": 32}, "my_photos with image_size"),
    "another data set": (CHAPTER, {"data": "mnist5k"}, "mnist5k: they"),
    "own source": (CHAPTER, {"sources": ["real", "gan", "mine=."]}, f"{BED}, mine: they"),
    "another size": (CHAPTER, {"image_size": 16}, f"{BED} with image_size = 16: they"),
    "another network": (CHAPTER, {"backbone": "resnet18"}, f"{BED} with backbone = resnet18: they"),
    "a scale that is not on record": (CHAPTER, scale_values(CHAPTER, "paper"), "cifar10 (paper)"),
    "own target": (FEW_IMAGES, {"targets": [TARGET, "mine"]}, "is of mine: they"),
    "an encoder in another place": (
        CLIPS,
        {"encoders": ["web-clip-narrow"]},
        "is of caltech10 with encoders = web-clip-narrow:",
    ),
    "an encoder more": (
        CLIPS,
        {"targets": ["mine"], "encoders": ["web-clip", "web-clip-narrow", "RN50:openai"]},
        "is of mine with encoders = web-clip, web-clip-narrow, RN50:openai:",
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_run_of_another_bed_shows_nothing_that_is_recorded(kind: str) -> None:
    chapter, given, words = FOREIGN[kind]
    made = page(chapter=chapter, **given)
    assert made.note.endswith(": they are not shown.")
    assert words in made.note
    table, whose = made.shown("top1_accuracy", train="gan")
    assert (list(table.value), whose) == ([50.0], "1 seed, this run")
    assert made.shown("top1_accuracy", seed=1)[1] == ""
    paper = pd.DataFrame([{"table": "T1", "train": "gan", "value": 79.0}])
    shown = made.table(["train"], paper=paper, select={"metric": "top1_accuracy"}).html
    assert "paper: T1" in shown
    assert "this run: " in shown
    assert "recorded: " not in shown
    assert html.escape(made.note) in shown
    for display in (made.claims(), made.claims("gap-09"), made.agreement()):
        assert made.note in display.text
        assert "verdict" not in display.html.replace("Recorded rows and verdicts", "")


@pytest.mark.parametrize(
    "given",
    [{}, {"seeds": 3, "first_seed": 7}, {"sources": ["gan", "real"]},
     scale_values(CHAPTER, "small")],
)  # fmt: skip
def test_a_run_of_a_recorded_bed_stands_beside_what_is_recorded(given: dict) -> None:
    made = page(**given)
    assert made.note == ""
    assert list(made.recorded) == list(SCALES)
    assert made.shown("top1_accuracy")[1].endswith("recorded runs")


def test_a_scale_some_parts_of_which_have_no_rows_is_of_its_own_bed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = check_values(FEW_IMAGES, {})["targets"][0]
    nothing = rows_of_a_run(chapter=FEW_IMAGES, dataset="", train="", test="")
    monkeypatch.setattr("synthbook.page.page.recorded", lambda *_: nothing)
    assert page(chapter=FEW_IMAGES, targets=[usual]).note == ""
    assert "is of mine: they" in page(chapter=FEW_IMAGES, targets=[usual, "mine"]).note


@pytest.mark.parametrize("scale", ["mini", "small", "paper"])
def test_encoders_have_the_places_that_the_scale_gives_them(scale: str) -> None:
    """So they have in all recorded runs, and in those of the first of them alone."""
    for cell in grids.cells(CLIPS, scale):
        p = check_values(CLIPS, cell.parameters, scale)
        kept = {scale: rows_of_a_run(dataset="+".join(p.targets), train="", test="")}
        for encoders, same in ((p.encoders, True), (p.encoders[:1], True), (p.encoders[1:], False)):
            given = {**cell.parameters, "encoders": [*encoders]}
            run = SimpleNamespace(
                chapter=CLIPS, scale=scale, parameters=check_values(CLIPS, given, scale)
            )
            assert (other_bed(run, kept) == "") == same  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("given", [{"seeds": 2}, {"data": "my_photos", "image_size": 16}])
def test_nbval_passes_a_run_of_ones_own(given: dict, tmp_path: Path) -> None:
    """The chapter's answer and claims, with the tags that they have, about another run."""
    source = jupytext.read(find(CHAPTER).script)
    answered, asked = (
        next(cell for cell in source.cells if cell.cell_type == "code" and words in cell.source)
        for words in ("answer(", "page.claims(")
    )
    run = nbformat.v4.new_code_cell(f"""
from synthbook.page.page import Page
from synthbook.record.parameters import check_values
from synthbook.record.rows import Run
page = Page(Run(check_values("{CHAPTER}", {given})))
""")
    notebook = nbformat.v4.new_notebook(cells=[answered, run, asked])
    notebook.metadata = source.metadata
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    nbformat.write(notebook, tmp_path / "report.ipynb")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax",
         "--nbval-current-env", "report.ipynb"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert "3 passed" in ended.stdout, ended.stdout


@pytest.mark.slow
def test_the_answer_above_a_run_of_another_bed_is_replaced_by_the_note() -> None:
    """As in a kernel: the answer is shown before anything is known of the run."""
    code = """
from synthbook.page.page import Page, answer
answer("12_not_mutual", "gap-09")
---
from synthbook.record.parameters import check_values
from synthbook.record.rows import Run
Page(Run(check_values("12_not_mutual", {GIVEN})))
None
"""
    for given, held in (('"seeds": 2', "The claim asked here"), ('"image_size": 16', "not shown")):
        cells = map(nbformat.v4.new_code_cell, code.replace("GIVEN", given).split("---"))
        notebook = nbformat.v4.new_notebook(cells=list(cells))
        NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
        (output,) = notebook.cells[0].outputs
        assert held in output["data"]["text/html"]
        assert held in output["data"]["text/plain"]
        assert notebook.cells[1].outputs == []
