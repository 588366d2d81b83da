"""Which printed figures of a paper's tables a run makes: ``book/paper/coverage.yml``.

A figure is a line of ``values_<paper>.csv``. It is made by its table's chapter if the run has what
the figure needs, by something that stands in for what the paper used, or by no parameter at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter

from synthbook.record.published import published
from synthbook.store import root

Value = str | int | float
# What stands in the head of a table: settings, and no results.
HEADS = frozenset({
    "dataset_size", "syn_to_real_ratio", "shots_per_class", "real_shots_per_class",
    "param_tuned_pct",
})  # fmt: skip


class _Strict(BaseModel, extra="forbid", frozen=True):
    pass


class Table(_Strict):
    """How a printed table is laid out, and the chapter that makes it."""

    title: str
    chapter: str
    rows: list[str]  # fields of its figures that name a line
    columns: list[str]  # and those that name a column


class Rule(_Strict):
    """What is true of all figures with these fields."""

    where: dict[str, str | list[str]]
    needs: dict[str, Value] = {}  # parameter -> its value, or one that its list holds
    instead: str = ""  # what stands in for what the paper used
    cannot: str = ""  # why no parameter produces them
    chapter: str = ""  # which makes them, where it is not the table's

    def applies(self, figure: Mapping[str, Any]) -> bool:
        """Whether a figure has the fields."""
        return all(
            figure.get(name, "") in (wanted if isinstance(wanted, list) else [wanted])
            for name, wanted in self.where.items()
        )


class Other(_Strict):
    """A result outside of the tables that no parameter produces."""

    what: str
    why: str


class Coverage(_Strict):
    """What the book makes of one paper's tables."""

    tables: dict[str, Table]
    rules: list[Rule]
    others: list[Other] = []


@dataclass(frozen=True)
class Figure:
    """One printed figure: its place in the table, and what its rules say."""

    paper: str
    table: str
    row: str
    column: str
    chapter: str
    needs: tuple[tuple[str, Value], ...]
    instead: tuple[str, ...]
    cannot: tuple[str, ...]

    def lacks(self, values: Mapping[str, Any]) -> list[str]:
        """Return what a run with these parameters lacks for it, as "methods=ADDA"."""

        def has(name: str, wanted: Value) -> bool:
            held = values.get(name)
            return wanted in held if isinstance(held, list | tuple) else held == wanted

        return [f"{name}={wanted}" for name, wanted in self.needs if not has(name, wanted)]


def coverage() -> dict[str, Coverage]:
    """Return what the book makes of each paper's tables."""
    import yaml

    text = (root() / "book" / "paper" / "coverage.yml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, Coverage]).validate_python(yaml.safe_load(text))


def figures(paper: str, table: str) -> list[Figure]:
    """Return the printed figures of a table in the order of the file."""
    held = coverage()[paper]
    layout = held.tables[table]
    found = []
    for printed in published(paper, table).to_dict("records"):
        if printed["metric"] in HEADS:
            continue
        rules = [rule for rule in held.rules if rule.applies(printed)]
        found.append(
            Figure(
                paper=paper,
                table=table,
                row=_name(printed, layout.rows),
                column=_name(printed, layout.columns),
                chapter=next((rule.chapter for rule in rules if rule.chapter), layout.chapter),
                needs=tuple(dict.fromkeys(pair for rule in rules for pair in rule.needs.items())),
                instead=tuple(rule.instead for rule in rules if rule.instead),
                cannot=tuple(rule.cannot for rule in rules if rule.cannot),
            )
        )
    return found


def _name(printed: Mapping[str, Any], fields: Iterable[str]) -> str:
    """Return the fields of a figure in words, numbers with their name: "Ours, rg 1, pg_r 0".

    What is mixed with real images, Real+LSGM, stands in the column of LSGM.
    """
    held = [(name, str(printed.get(name, "")).removeprefix("Real+")) for name in fields]
    return ", ".join(f"{n} {v}" if v.isdigit() else v for n, v in held if v)


def tables_of(chapter: str) -> list[tuple[str, str]]:
    """Return the tables of which a chapter makes figures, as (paper, table)."""

    def makers(name: str, held: Coverage) -> set[str]:
        rules = (rule for rule in held.rules if rule.where.get("table") == name)
        return {held.tables[name].chapter, *(rule.chapter for rule in rules)}

    return [
        (paper, name)
        for paper, held in coverage().items()
        for name in held.tables
        if chapter in makers(name, held)
    ]
