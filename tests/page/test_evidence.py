"""The way back from a claim: lines of files that hold what was judged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthbook.claims.catalogue import claims
from synthbook.claims.decide import verdicts
from synthbook.page.evidence import claim_line, evidence, lines_of, ranges
from synthbook.record.rows import Row, append, read
from synthbook.store import root


@pytest.mark.parametrize("name", ["gap-03", "gap-19", "prim-01", "prim-09"])
def test_lines_are_the_rows_that_the_claim_counted(name: str) -> None:
    (verdict,) = verdicts("mini", ids=[name])
    held = evidence(verdict.parts, "mini")
    assert held
    for line in (line for lines in held.values() for line in lines):
        text = (root() / line.path).read_text().splitlines()[line.number - 1]
        assert Row.model_validate_json(text) == line.row
        assert line.place == f"{line.path.as_posix()}:{line.number}"
    for part in verdict.parts:
        for quantity in part.quantities:
            lines = lines_of(quantity.fields, "mini")
            assert len(lines) == quantity.rows
            assert all(line in held[quantity.name] for line in lines)


def test_older_rows_of_the_same_thing_are_no_evidence(book: Path) -> None:
    row = read(Path(__file__).parents[2] / "results/mini/12_not_mutual.jsonl")[0]
    row = row.model_copy(update={"chapter": "90_tiny"})
    path = book / "results/mini/90_tiny.jsonl"
    newer = row.provenance.model_copy(update={"time": "2099-01-01T00:00:00Z"})
    append(path, [row, row.model_copy(update={"provenance": newer, "value": 1.0})])
    fields = {"chapter": "90_tiny", "metric": row.metric}
    assert [(line.number, line.row.value) for line in lines_of(fields, "mini")] == [(2, 1.0)]
    assert lines_of(fields | {"metric": "other"}, "mini") == []
    assert lines_of(fields, "small") == []


@given(st.sets(st.integers(1, 60)))
def test_ranges_say_every_number_once(numbers: set[int]) -> None:
    text = ranges(numbers, most=100)
    ends = [list(map(int, piece.split("–"))) for piece in filter(None, text.split(", "))]
    assert {n for piece in ends for n in range(piece[0], piece[-1] + 1)} == numbers
    short = ranges(numbers, most=2)
    more = re.search(r" and (\d+) more$", short)
    shown = sum(piece[-1] - piece[0] + 1 for piece in ends[:2])
    assert (int(more[1]) if more else 0) == len(numbers) - shown


def test_every_claim_is_found_in_its_file() -> None:
    for claim in claims():
        path, number = claim_line(claim.id)
        assert claim.id in (root() / path).read_text().splitlines()[number - 1]
