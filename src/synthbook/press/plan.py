"""What a run would do, before it is started; and what of the papers' tables no run can do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from synthbook.claims.catalogue import PAPERS
from synthbook.errors import InputError
from synthbook.page.claims_page import STUDIES
from synthbook.press.grids import cells, estimate, grid
from synthbook.record.chapters import FREE_NAMES, declared
from synthbook.record.coverage import Figure, coverage, figures, tables_of
from synthbook.record.parameters import NO_MATTER, Parameters, check_values

# Beside its images and trainings: which they are, how often, and where.
REPEATED = {"seeds", "first_seed", "generators", "device", "threads"}


def plan(parameters: Parameters, scale: str) -> str:
    """Return in lines what a run with these parameters is, and which printed figures it makes."""
    defaults = {field.name: field.default for field in declared(parameters.chapter)}
    values = parameters.as_dict()
    compared = {k: v for k, v in values.items() if k in FREE_NAMES and isinstance(v, list)}
    other = {k: v for k, v in values.items() if k not in compared and v != defaults[k]}
    lines = [f"{parameters.chapter} at scale {scale}; nothing is run."]
    lines.append(f"{len(values)} parameters. Not the default of mini are:")
    lines += [f"    {name} = {value}    (mini: {defaults[name]})" for name, value in other.items()]
    lines += ["What is compared:"] if compared else []
    lines += [f"    {name}: {', '.join(map(str, held))}" for name, held in compared.items()]
    for paper, name in tables_of(parameters.chapter):
        lines += _table(parameters.chapter, paper, name, values)
    if parameters.scale != scale:  # other data, for example: no run of the grid is like this one
        return "\n".join(lines)
    try:
        lines.append(f"Its grid (make results): {estimate(parameters.chapter, scale)}.")
        if values != defaults:
            lines += _time_of_one(parameters, scale)
    except InputError as error:
        lines.append(f"It has no grid: {error}.")
    return "\n".join(lines)


def _time_of_one(parameters: Parameters, scale: str) -> list[str]:
    """Return how long one run of the grid takes, and whether this is such a run, in lines.

    One with other values, own images among them, has a time of its own, which nothing tells. The
    hours of a grid that are an estimate stand in the line about it alone.
    """
    known, other = grid(parameters.chapter, scale), _other(parameters, scale)
    one = f"One run of the grid takes {known.time(1)} of one core or GPU"
    if not other:
        return [] if known.basis else [f"{one}; this one goes by the trainings that it has."]
    said = ", ".join(f"{name} = {', '.join(held)}" for name, held in other.items())
    return ([] if known.basis else [f"{one}."]) + [
        f"No run of the grid has {said}: the time of this one is not known, and goes by the size "
        "and number of its images and by the trainings that it has."
    ]


def _other(parameters: Parameters, scale: str) -> dict[str, list[str]]:
    """Return the values that no run of the grid has, by parameter; of a list, its members."""
    chapter, found = parameters.chapter, {}
    runs = [check_values(chapter, cell.parameters, scale) for cell in cells(chapter, scale)]
    for name, value in parameters.items():
        if name not in (NO_MATTER | REPEATED):
            held = {one for run in runs for one in _members(run[name])}
            found[name] = [str(one) for one in _members(value) if one not in held]
    return {name: values for name, values in found.items() if values}


def _members(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _table(chapter: str, paper: str, name: str, values: Mapping[str, Any]) -> list[str]:
    """Return in lines which figures of a printed table a run makes, and why it makes no others.

    Those that another chapter makes are left out.
    """
    every = [figure for figure in figures(paper, name) if figure.chapter == chapter]
    able = [figure for figure in every if not figure.cannot]
    made = [figure for figure in able if not figure.lacks(values)]
    marks = {text: mark for mark, text in enumerate(_reasons(made, "instead"), start=1)}
    rows: dict[str, list[str]] = defaultdict(list)
    for figure in made:
        notes = "".join(f"[{marks[text]}]" for text in figure.instead)
        rows[_line(figure)].append(figure.column + (f" {notes}" if notes else ""))
    title = f"{coverage()[paper].tables[name].title} of {paper}"
    lines = [f"{title}: {len(every)} printed figures, of which this run makes {len(made)}"]
    lines[0] += f" in {len(rows)} lines:" if made else "."
    width = max(map(len, rows), default=0)
    lines += [f"    {row:{width}}  {'; '.join(columns)}" for row, columns in rows.items()]
    lines += [f"    [{mark}] in its place: {text}" for text, mark in marks.items()]
    lacking: dict[str, list[Figure]] = defaultdict(list)
    for figure in able:
        if lacks := figure.lacks(values):
            lacking[" ".join(lacks)].append(figure)
    if lacking:
        lines.append("    not in this run, which lacks what they need:")
    for lacks, held in lacking.items():
        lines.append(f"        {lacks}: {len(held)} ({_places(held)})")
    for text, held in _reasons(every, "cannot").items():
        lines.append(f"    no parameter makes {len(held)} ({_places(held)}): {text}")
    return lines


def _line(figure: Figure) -> str:
    """Return a line of a table as the paper calls it, and, if that is another, as we do."""
    ours = [str(value) for name, value in figure.needs if name == "methods"]
    return figure.row if not ours or ours[0] in figure.row else f"{figure.row}: {ours[0]}"


def _reasons(held: Iterable[Figure], kind: str) -> dict[str, list[Figure]]:
    """Return reason -> the figures that have it, in their order."""
    found: dict[str, list[Figure]] = defaultdict(list)
    for figure in held:
        for text in getattr(figure, kind):
            found[text].append(figure)
    return found


def _places(held: list[Figure]) -> str:
    """Return where figures stand: columns, or the lines where these are fewer."""
    columns = list(dict.fromkeys(figure.column for figure in held))
    rows = list(dict.fromkeys(_line(figure) for figure in held))
    return "; ".join(min(columns, rows, key=len))


def coverage_page() -> str:
    """Return the page of the book on what no parameter produces, in Markdown."""
    lines = [
        "# What no parameter can produce",
        "",
        "The scale `paper` runs the tables of a paper whole, as far as its data, its networks and",
        "its settings can be had. This page lists what cannot: it is made from",
        "`book/paper/coverage.yml` while the book is built, and a test holds every printed figure",
        "of these tables to it.",
        "`synthbook run 16_real_guidance --scale paper --dry-run` prints the same for one chapter.",
    ]
    made = coverage()
    for paper in (one for one in PAPERS if one in made):  # in the order of the book
        held = made[paper]
        tables = {name: figures(paper, name) for name in held.tables}
        every = [figure for found in tables.values() for figure in found]
        title = {name: table.title for name, table in held.tables.items()}
        lines += ["", f"## {paper}: {STUDIES[paper]}", ""]
        lines += [
            "| table | chapter | printed figures | of these, with a stand-in | by no parameter |"
        ]
        lines += ["|---|---|---:|---:|---:|"]
        for name, found in tables.items():
            cannot = sum(bool(figure.cannot) for figure in found)
            instead = sum(bool(figure.instead) and not figure.cannot for figure in found)
            chapter = f"{{doc}}`../notebooks/{held.tables[name].chapter}`"
            lines += [f"| {title[name]} | {chapter} | {len(found)} | {instead} | {cannot} |"]
        for kind, words in (("cannot", "By no parameter"), ("instead", "With a stand-in")):
            reasons = _reasons([f for f in every if kind == "cannot" or not f.cannot], kind)
            others = [f"{one.what}: {one.why}." for one in held.others if kind == "cannot"]
            lines += ["", f"**{words}**", ""] if reasons or others else []
            for text, found in reasons.items():
                where = ", ".join(dict.fromkeys(title[figure.table] for figure in found))
                many = f"{len(found)} figure{'s' * (len(found) > 1)}"
                lines.append(f"- {_places(found)} ({where}, {many}): {text}.")
            lines += [f"- {text}" for text in others]
    return "\n".join(lines) + "\n"
