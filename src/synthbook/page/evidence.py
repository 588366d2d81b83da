"""The way back from a claim: which lines of which files its numbers rest on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from synthbook.claims.decide import Part
from synthbook.claims.language import Fields
from synthbook.record.rows import IDENTITY, Row, latest, read
from synthbook.store import root


class Line(NamedTuple):
    """A recorded row and where it stands."""

    path: Path  # below the top of the book
    number: int  # from 1
    row: Row

    @property
    def place(self) -> str:
        """The place as "results/mini/12_not_mutual.jsonl:17"."""
        return f"{self.path.as_posix()}:{self.number}"


@cache
def _lines(path: Path, stamp: int) -> list[tuple[int, Row, dict[str, object]]]:
    """Return number, row and fields of the newest row of each identity; ``stamp`` is of change."""
    rows = read(path)
    newest = {id(row) for row in latest(rows)}
    names = [name for name in IDENTITY if name != "setting"]
    return [
        (number, row, {name: getattr(row, name) for name in names} | row.setting)
        for number, row in enumerate(rows, start=1)
        if id(row) in newest
    ]


def published_at(path: Path) -> Path:
    """Return where the built book has a file of rows or claims, below ``_static``.

    ``results`` and ``book/paper`` are names that `_config.yml` keeps out of the build.
    """
    return (
        Path("rows", *path.parts[1:]) if path.parts[0] == "results" else Path("claims", path.name)
    )


def lines_of(fields: Fields, scale: str) -> list[Line]:
    """Return the recorded rows of a scale that have these fields, in the order of their file."""
    path = Path("results", scale, f"{fields['chapter']}.jsonl")
    whole = root() / path
    if not whole.is_file():
        return []
    held = _lines(whole, whole.stat().st_mtime_ns)
    return [Line(path, number, row) for number, row, of in held if fields.items() <= of.items()]


def evidence(parts: Iterable[Part], scale: str) -> dict[str, list[Line]]:
    """Return quantity, by name, -> the recorded rows that parts of a claim read for it."""
    found: dict[str, dict[str, Line]] = {}
    for quantity in (quantity for part in parts for quantity in part.quantities):
        lines = lines_of(quantity.fields, scale)
        found.setdefault(quantity.name, {}).update((line.place, line) for line in lines)
    return {name: sorted(held.values(), key=lambda x: x[:2]) for name, held in found.items()}


def ranges(numbers: Iterable[int], most: int = 8) -> str:
    """Return numbers of lines in words: "3–7, 9, 12–14"; after ``most`` pieces, how many more."""
    pieces: list[list[int]] = []
    for number in sorted(set(numbers)):
        if pieces and number == pieces[-1][1] + 1:
            pieces[-1][1] = number
        else:
            pieces.append([number, number])
    words = [str(a) if a == b else f"{a}–{b}" for a, b in pieces[:most]]
    more = sum(b - a + 1 for a, b in pieces[most:])
    return ", ".join(words) + (f" and {more} more" if more else "")


def claim_line(claim: str) -> tuple[Path, int]:
    """Return the file of a claim below the top of the book, and the line where it begins."""
    path = Path("book", "paper", f"claims_{claim.partition('-')[0]}.yml")
    for number, line in enumerate((root() / path).read_text(encoding="utf-8").splitlines(), 1):
        if re.match(rf"- *(\{{ *)?id: *['\"]?{claim}\b", line):
            return path, number
    raise AssertionError(f"{path} has no claim {claim}")
