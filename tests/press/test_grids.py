from __future__ import annotations

import math
import os
import re
from collections import Counter
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml

from synthbook import sums
from synthbook.cli import main
from synthbook.errors import InputError
from synthbook.press import grids
from synthbook.record.chapters import chapters, scale_of
from synthbook.record.parameters import check_values
from synthbook.record.rows import Row, append, provenance, read, recorded_rows
from synthbook.store import root


def _grids(new_book, entry: dict, *parameters: str) -> None:
    text = yaml.safe_dump({"12_thing": entry})
    script = '# %% tags=["parameters"]\nfirst_seed: int = 0  # first\n'
    script += "".join(f"{line}  # of it\n" for line in parameters)
    new_book({"notebooks/12_thing.py": script, "workflow/grids.yaml": text})


def _row(seed: int, parameters: str = "", value: float = 1.0, **changes: object) -> Row:
    """A row of 12_thing with a setting of ``changes`` that are none of its provenance."""
    source = provenance().model_dump() | {"parameters": parameters}
    source |= {name: changes.pop(name) for name in source.keys() & changes.keys()}
    return Row(
        chapter="12_thing", method="m", train="real", test="real", dataset="d", backbone="",
        metric="x", value=value, seed=seed, scale="mini", setting=changes, provenance=source,
    )  # fmt: skip


def test_cells_are_the_product_of_the_axes(new_book) -> None:
    axes = {"first_seed": [0, 1, 2], "sources": [["real", "gan"], ["real", "diffusion"]]}
    _grids(new_book, {"mini": {"axes": axes, "fixed": {"seeds": 1}, "minutes": 1}})
    found = grids.cells("12", "mini")
    assert len(found) == math.prod(map(len, axes.values())) == len({c.name for c in found})
    assert all(cell.parameters["seeds"] == 1 for cell in found)
    assert found[0].name == "first_seed-0_sources-real+gan"


def test_a_value_may_set_several_parameters_and_some_cells_may_be_asked_for(new_book) -> None:
    runs = [{"methods": ["x", "y"], "parts": ["a"]}, {"parts": ["b"]}]
    axes = {"first_seed": [0, 1], "runs": runs}
    entry = {"mini": {"axes": axes, "fixed": {"methods": ["z"]}, "minutes": 1}}
    _grids(new_book, entry, "methods: list[str] = []", "parts: list[str] = []")
    found = {cell.name: cell.parameters for cell in grids.cells("12", "mini")}
    assert list(found) == [
        "first_seed-0_methods-x+y_parts-a", "first_seed-0_parts-b",
        "first_seed-1_methods-x+y_parts-a", "first_seed-1_parts-b",
    ]  # fmt: skip
    assert found["first_seed-1_parts-b"] == {"methods": ["z"], "first_seed": 1, "parts": ["b"]}
    assert found["first_seed-0_methods-x+y_parts-a"]["methods"] == ["x", "y"]
    assert [cell.name for cell in grids.some_cells("12", "mini", "seed-0")] == list(found)[:2]
    with pytest.raises(InputError, match="no cell of 12_thing at scale mini has 'seed-7'"):
        grids.results("12", "mini", only="seed-7")


def test_a_grid_whose_rows_would_be_of_another_scale_does_not_run(new_book) -> None:
    axes = {"first_seed": [0], "epochs": [3, 4]}
    _grids(new_book, {"mini": {"axes": axes, "minutes": 1}}, "epochs: int = 3")
    assert [cell.name for cell in grids.some_cells("12", "mini", "-3")] == ["epochs-3_first_seed-0"]
    words = r"epochs-4_first_seed-0 is of scale custom, not mini; if 12_thing .* FREE_NAMES"
    with pytest.raises(InputError, match=words):
        grids.results("12", "mini", dry_run=True)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"mini": {"axes": {}, "minutes": 1}}, "axes"),
        ({"mini": {"axes": {"a": [1]}, "minutes": 0}}, "minutes"),
        ({"mini": {"axes": {"a": [1]}, "minutes": 1, "mintues": 2}}, "mintues"),
        ({"mini": {"axes": {"a": [1, 1]}, "minutes": 1}}, "the same run"),
        ({"small": {"axes": {"a": [1]}, "minutes": 1}}, "only at small"),
    ],
)
def test_malformed_grids_are_named(new_book, entry: dict, words: str) -> None:
    _grids(new_book, entry)
    with pytest.raises(InputError, match=words):
        grids.cells("12_thing", "mini")


def test_results_that_cannot_be_written_are_known_before_the_runs(
    new_book, monkeypatch: pytest.MonkeyPatch
) -> None:
    _grids(new_book, {"mini": {"axes": {"first_seed": [0]}, "minutes": 1}})
    monkeypatch.setattr(grids, "on_record", lambda *_: {})
    (root() / "results" / "mini").write_text("a file where a folder should be")
    monkeypatch.setattr(grids, "target", lambda *_: Path("_build/x.jsonl"))
    monkeypatch.setattr(grids, "snakemake", Mock(side_effect=AssertionError))
    with pytest.raises(InputError, match=r"results/mini/12_thing\.jsonl' cannot be written"):
        grids.results("12", "mini")


@pytest.mark.parametrize(
    ("parameters", "workers", "words"),
    [((), 2, "unknown parameter 'workers'"), (("workers: int = 1",), 0, "workers = 0")],
)
def test_workers_are_for_chapters_that_have_them(
    new_book, parameters: tuple[str, ...], workers: int, words: str
) -> None:
    _grids(new_book, {"mini": {"axes": {"first_seed": [0]}, "minutes": 1}}, *parameters)
    with pytest.raises(InputError, match=words):
        grids.results("12", "mini", workers=workers, dry_run=True)


def test_workers_make_no_cell_another(new_book) -> None:
    axes = {"workers": [1, 9], "first_seed": [0]}
    _grids(new_book, {"mini": {"axes": axes, "minutes": 1}}, "workers: int = 1")
    one, nine = (grids.target("12", "mini", cell) for cell in grids.cells("12", "mini"))
    assert one.name.split(".")[1] == nine.name.split(".")[1]


def test_a_cell_is_another_with_other_packages_or_another_model_of_the_book(
    new_book, monkeypatch: pytest.MonkeyPatch
) -> None:
    _grids(new_book, {"mini": {"axes": {"first_seed": [0]}, "minutes": 1}})
    (cell,) = grids.cells("12", "mini")
    found = [grids.target("12", "mini", cell)]
    monkeypatch.setattr(grids, "versions", lambda: {"torch": "99"})
    found.append(grids.target("12", "mini", cell))
    card = root() / "models/gan-0/card.json"
    card.parent.mkdir(parents=True)
    for text in ("{}", '{"seed": 0}'):
        card.write_text(text)
        found.append(grids.target("12", "mini", cell))
    assert len({*found}) == 4
    assert grids.target("12", "mini", cell) == found[-1]


LATER, BEFORE = "2025-02-01T00:00:00Z", "2024-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("recorded", "stays"),
    [
        ({"time": LATER}, False),  # of code that was taken back
        ({"time": LATER, "parameters": "gone"}, False),
        ({"time": LATER, "processor": ""}, False),  # nobody knows where
        ({"time": LATER, "processor": "another"}, True),
        ({"time": LATER, "device": "cuda (H200)"}, True),
        ({"time": BEFORE, "device": "cuda (H200)"}, False),
    ],
)
def test_rows_of_a_finished_cell_replace_those_of_its_numbers(
    new_book, recorded: dict[str, str], stays: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever their time, but for newer ones of another machine; all others stay."""
    _grids(new_book, {"mini": {"axes": {"first_seed": [0, 1]}, "minutes": 1}})
    here = {"processor": "this", "device": "cpu", "time": "2025-01-01T00:00:00Z"}
    held = root() / "results/mini/12_thing.jsonl"
    append(held, [_row(0, **here | recorded), _row(0, k=3, **here), _row(1, **here)])
    (first, _) = grids.cells("12", "mini")
    path = root() / grids.target("12", "mini", first)
    part = path.with_suffix(".part")
    append(part, [_row(0, value=5.0, **here), _row(0, value=5.0, k=4, **here)])
    sums.publish(part, path)
    grids.collect("12", "mini", "seed-0")
    got = {(row.seed, row.setting.get("k")): row.value for row in read(held)}
    assert got == {(0, None): 1.0 if stays else 5.0, (0, 3): 1.0, (0, 4): 5.0, (1, None): 1.0}
    told = capsys.readouterr().out
    assert "; 1 others of the same numbers were dropped" in told
    assert ("; 1 of another machine, which are newer, stay" in told) is stays


@pytest.fixture
def runs(new_book, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record two rows of a cell, and a clock; a run makes the first. The caches of all runs."""
    _grids(new_book, {"mini": {"axes": {"first_seed": [0, 1]}, "minutes": 1}})
    monkeypatch.setenv("SYNTHBOOK_CACHE", "the reader's")
    cell, other = (check_values("12", c.parameters).hash for c in grids.cells("12", "mini"))
    clock = _row(0, cell).model_copy(update={"metric": "relative_cost"})
    recorded = [_row(0, cell), _row(0, cell, k=1), clock, _row(1, other), _row(0, "gone", k=2)]
    append(root() / "results/mini/12_thing.jsonl", recorded)
    caches = []

    def run(_: object, values: dict, __: Path, **___: object) -> str:
        caches.append(os.environ["SYNTHBOOK_CACHE"])
        append(values["rows"], [_row(0, cell)])
        return ""

    monkeypatch.setattr(grids, "run", run)
    return caches


def test_recorded_rows_of_a_cell_that_its_run_no_longer_makes_are_told(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "12"]) == 1
    told = "first_seed-0: 1 rows, 1 on record for the same seed, 1 equal; 1 recorded row that it"
    assert told in capsys.readouterr().out
    assert runs == ["the reader's"]


def test_a_cell_is_verified_afresh_in_a_cache_that_is_removed(runs: list[str]) -> None:
    main(["verify", "12", "--afresh"])
    (cache,) = runs
    assert cache != os.environ["SYNTHBOOK_CACHE"] == "the reader's"
    assert not Path(cache).parent.exists()


def test_every_grid_of_the_book_asks_for_parameters_that_its_chapter_has() -> None:
    entries = yaml.safe_load((root() / "workflow" / "grids.yaml").read_text())
    for name, scales in entries.items():
        for scale in scales:
            for cell in grids.cells(name, scale):
                check_values(name, cell.parameters, scale)


@pytest.mark.parametrize(
    "chapter", ["12_not_mutual", "22_few_shot", "33_transfer", "53_why_it_works"]
)
def test_recorded_rows_are_counted_by_the_cell_that_made_them(
    chapter: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = recorded_rows(chapter, "mini")
    held = grids.on_record(chapter, "mini")
    by_seed = Counter()
    for name, count in held.items():
        by_seed[re.match(r"first_seed-\d+", name)[0]] += count
    assert by_seed == Counter(f"first_seed-{row.seed}" for row in rows)
    grids.results(chapter, "mini", dry_run=True)
    told = f"{len(held)} on record with {len(rows)} rows" if rows else "none on record"
    assert f"{told}; " in capsys.readouterr().out


def test_a_row_of_other_parameters_is_of_the_cell_with_its_seed_and_part(new_book) -> None:
    axes = {"first_seed": [0, 1], "parts": [["a"], ["b", "c"]]}
    entry = {"mini": {"axes": axes, "fixed": {"seeds": 1}, "minutes": 1}}
    _grids(new_book, entry, "parts: list[str] = []", "seeds: int = 1", "epochs: int = 3")
    first, *_ = grids.cells("12", "mini")
    now = check_values("12", first.parameters).hash
    rows = [_row(0, now), _row(1, "gone", part="c"), _row(1, "gone", part="d"), _row(1, "gone")]
    assert grids.makers("12", "mini", rows) == [
        ["first_seed-0_parts-a"], ["first_seed-1_parts-b+c"], [], []
    ]  # fmt: skip
    entry["mini"]["axes"]["epochs"] = [3]
    (root() / "workflow/grids.yaml").write_text(yaml.safe_dump({"12_thing": entry}))
    assert grids.makers("12", "mini", rows)[1:] == [[], [], []]


def test_every_chapter_with_a_paper_scale_has_its_grid_priced_in_gpu_hours() -> None:
    for chapter in chapters():
        if "paper" in chapter.scales:
            words = grids.estimate(chapter.name, "paper")
            assert "none of them on record" in words
            assert re.search(r"about [\d,]+ GPU hours \(estimate: .{20}", words)


def _of_the_book() -> list[tuple[str, str]]:
    text = (root() / "workflow/grids.yaml").read_text(encoding="utf-8")
    return [
        (chapter, scale) for chapter, scales in yaml.safe_load(text).items() for scale in scales
    ]


@pytest.mark.parametrize(("chapter", "scale"), _of_the_book())
def test_rows_of_a_grid_are_of_its_scale(chapter: str, scale: str) -> None:
    for cell in grids.cells(chapter, scale):
        assert scale_of(chapter, check_values(chapter, cell.parameters, scale)) == scale, cell.name


@pytest.mark.parametrize("path", sorted((root() / "results").glob("*/*.jsonl")), ids=str)
def test_recorded_rows_are_of_the_scale_that_their_folder_names(path: Path) -> None:
    assert {row.scale for row in recorded_rows(path.stem, path.parent.name)} == {path.parent.name}
