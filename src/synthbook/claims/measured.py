"""Rows as claims see them: fields by name, whatever they came as."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from synthbook.record.rows import COLUMNS, Row, read
from synthbook.store import root


@dataclass(frozen=True)
class Measured:
    """One number: ``fields`` holds what it measures, the names of its setting among them."""

    fields: Mapping[str, Any]
    value: float
    seed: int
    scale: str
    time: str


_FIELDS = ("chapter", "method", "train", "test", "dataset", "backbone", "metric")


def _from_row(row: Row) -> Measured:
    fields = {name: getattr(row, name) for name in _FIELDS} | row.setting
    return Measured(fields, row.value, row.seed, row.scale, row.provenance.time)


def _from_record(record: Mapping[str, Any]) -> Measured:
    """Return a record of `synthbook.record.rows.frame`: NaN says that a row has no such setting."""
    setting = {
        name: value
        for name, value in record.items()
        if name not in COLUMNS and not (isinstance(value, float) and math.isnan(value))
    }
    fields = {name: record[name] for name in _FIELDS} | setting
    return Measured(
        fields, float(record["value"]), int(record["seed"]), str(record["scale"]),
        str(record.get("time", "")),
    )  # fmt: skip


def _measured(row: Measured | Row | Mapping[str, Any]) -> Measured:
    if isinstance(row, Measured):
        return row
    return _from_row(row) if isinstance(row, Row) else _from_record(row)


def measured(rows: Any) -> list[Measured]:
    """Return rows (a `frame`, or rows one by one) with the newest of each identity only."""
    if hasattr(rows, "to_dict"):  # a DataFrame; pandas is not imported for the question
        found: Iterable[Measured] = map(_from_record, rows.to_dict("records"))
    else:
        found = map(_measured, rows)
    newest: dict[Any, Measured] = {}
    for row in found:
        key = (frozenset(row.fields.items()), row.seed, row.scale)
        known = newest.get(key)
        if known is None or row.time >= known.time:
            newest[key] = row
    return list(newest.values())


def recorded_scales() -> list[str]:
    """Return the scales that have recorded rows: mini first, then by name."""
    found = {path.parent.name for path in (root() / "results").glob("*/*.jsonl")}
    return sorted(found, key=lambda name: (name != "mini", name))


def recorded_measured(scale: str) -> list[Measured]:
    """Return the recorded rows of all chapters at a scale."""
    paths = sorted((root() / "results" / scale).glob("*.jsonl"))
    return measured(row for path in paths for row in read(path))


class Rows:
    """Rows of one scale, found by chapter and metric."""

    def __init__(self, rows: Iterable[Measured]) -> None:
        """Sort rows of one scale, the newest of each identity only (as from `measured`)."""
        self._at: dict[tuple[Any, Any], list[Measured]] = defaultdict(list)
        for row in rows:
            self._at[row.fields["chapter"], row.fields["metric"]].append(row)

    @property
    def chapters(self) -> set[Any]:
        """The chapters that have rows."""
        return {chapter for chapter, _ in self._at}

    def matching(self, fields: Mapping[str, Any]) -> list[Measured]:
        """Return the rows whose fields are all as given."""
        if "chapter" in fields and "metric" in fields:
            near = self._at.get((fields["chapter"], fields["metric"]), [])
        else:
            near = [row for rows in self._at.values() for row in rows]
        return [
            row
            for row in near
            if all(row.fields.get(name) == value for name, value in fields.items())
        ]
