"""A claim's rows of one seed, the command that makes them, and what running it now gives."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from synthbook.claims import decide
from synthbook.cli import main
from synthbook.press import grids, rerun
from synthbook.record.parameters import check_values
from synthbook.record.rows import Row, recorded_rows
from synthbook.store import root

CHAPTER = "12_not_mutual"


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, grids.Cell]]:
    """Run nothing: a cell gives the recorded rows with accuracies two points higher on a GAN's."""
    asked = []

    def run(chapter: str, scale: str, cell: grids.Cell) -> list[Row]:
        asked.append((chapter, scale, cell))
        return [
            row.model_copy(update={"value": row.value + 2 * (row.train == "gan")})
            for row in recorded_rows(chapter, scale)
            if row.seed == cell.parameters["first_seed"]
        ]

    monkeypatch.setattr(grids, "rows_anew", run)
    return asked


def test_a_dry_run_shows_the_rows_of_the_seed_and_the_command_and_runs_nothing(
    anew: list, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rerun", "gap-03", "--seed", "2", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert anew == []
    (verdict,) = decide.verdicts("mini", ids=["gap-03"])
    assert f"gap-03 at mini: {verdict.verdict}" in out
    assert verdict.parts[0].inequality in out
    places = [line.split()[0] for line in out.splitlines() if "results/mini/" in line]
    assert len(places) == 2
    for place in places:
        path, _, number = place.partition(":")
        row = Row.model_validate_json((root() / path).read_text().splitlines()[int(number) - 1])
        assert (row.seed, row.test) == (2, "real")
        assert f"{row.value:.6g}" in out
    command = next(
        line.strip() for line in out.splitlines() if line.startswith("    synthbook run")
    )
    assert command.startswith(f"synthbook run {CHAPTER} --scale mini ")
    assert "-p first_seed=2" in command
    assert out.splitlines()[-1].startswith("That takes about ")


@pytest.mark.parametrize(("name", "part"), [("dip-01", "methods"), ("ready-04", "strategies")])
def test_only_cells_that_made_a_row_of_the_claim_are_run(name: str, part: str) -> None:
    found = rerun.find(name, "mini", 1)
    chapter = found.cells[0][0]
    assert len(found.cells) < len(grids.cells_of_seed(chapter, "mini", 1))
    made = {
        check_values(chapter, cell.parameters, "mini").hash: cell.parameters["parts"]
        for _, cell in found.cells
    }
    rows = [line.row for lines in found.rows.values() for line in lines]
    assert {row.provenance.parameters for row in rows} == made.keys()
    assert all(part in parts for parts in made.values())


def test_a_claim_is_found_by_its_number_without_the_nought() -> None:
    assert rerun.find("gap-3", "mini").claim.id == "gap-03"


def test_all_cells_of_a_seed_are_run_where_nobody_knows_which_made_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grids, "makers", lambda _, __, rows: [[]] * len(rows))
    found = rerun.find("dip-01", "mini", 1)
    assert [c for _, c in found.cells] == grids.cells_of_seed("41_dip_few_shot", "mini", 1)


def test_rows_and_effects_stand_beside_the_recorded_ones(
    anew: list, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in (root() / "results/mini").iterdir()}
    assert main(["rerun", "gap-03"]) == 0
    out = capsys.readouterr().out.partition("Run now, seed 0:")[2]
    asked = {(chapter, scale, cell.parameters["first_seed"]) for chapter, scale, cell in anew}
    assert asked == {(CHAPTER, "mini", 0)}
    rows = [line.split() for line in out.splitlines() if "results/mini/" in line]
    moved = {line[1]: float(line[-1]) - float(line[-2]) for line in rows}
    assert moved == {"diffusion": 0, "gan": pytest.approx(2, abs=1e-3)}
    effect = out.partition("The effect of this seed alone")[2].splitlines()[1]
    old, new = map(float, re.findall(r" ([+-][\d.]+)\b", effect))
    assert new == pytest.approx(old - 2, abs=0.02)
    assert "1 of 2 rows are equal" in out
    assert {path: path.read_bytes() for path in (root() / "results/mini").iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gap-03", "--seed", "9"], ["seed = 9", "0, 1, 2, 3, 4"]),
        (["gap-16"], ["gap-16", "no rows on record at scale mini"]),
        (["dip-09"], ["dip-09", "no rows on record"]),
        (["gap-08", "--scale", "../../etc"], ["'../../etc'", "mini"]),
    ],
)
def test_what_is_not_on_record_is_refused_before_anything_runs(
    arguments: list[str], words: list[str], anew: list, refused: Callable[[list[str]], str]
) -> None:
    error = refused(["rerun", *arguments])
    assert anew == []
    for word in words:
        assert word in error


@pytest.mark.parametrize("name", ["gap-05", "gap-08", "gap-04"])
def test_claims_of_every_kind_can_be_run_again(
    name: str, anew: list, capsys: pytest.CaptureFixture[str]
) -> None:
    """Distributions, methods and trends; a cell is run once."""
    assert main(["rerun", name, "--seed", "1"]) == 0
    out = capsys.readouterr().out
    assert len({(chapter, cell.name) for chapter, _, cell in anew}) == len(anew) >= 1
    assert "The effect of this seed alone" in out
