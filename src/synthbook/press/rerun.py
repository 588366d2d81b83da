"""One claim, one seed: its rows on record, the same run now, and both side by side."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from synthbook.claims import catalogue, decide
from synthbook.claims.decide import Verdict, _where
from synthbook.claims.language import Claim
from synthbook.errors import InputError, check_choice
from synthbook.page.evidence import Line, claim_line, evidence
from synthbook.press import grids
from synthbook.record.rows import Row, identity


class Evidence(NamedTuple):
    """A claim at a scale, with the rows of one seed that it reads."""

    claim: Claim
    verdict: Verdict
    seed: int
    rows: dict[str, list[Line]]  # by quantity
    cells: list[tuple[str, grids.Cell]]  # (chapter, cell) that make them


def find(name: str, scale: str, seed: int | None = None) -> Evidence:
    """Return a claim with the recorded rows of a seed, by default the first that it has.

    Raises:
        InputError: if there is no such claim, it has no rows at the scale, or not of this seed.
    """
    name = re.sub(r"-(\d)$", r"-0\1", name)  # gap-3 is gap-03
    (claim,) = catalogue.find([name])
    check_choice("scale", scale, decide.recorded_scales())
    (verdict,) = decide.verdicts(scale, ids=[name])
    deciding = [part for part in verdict.parts if part.decides]
    held = {name: lines for name, lines in evidence(deciding, scale).items() if lines}
    if not held:
        chapters = ", ".join(catalogue.chapters_of(claim))
        raise InputError(
            f"claim '{name}' has no rows on record at scale {scale}; "
            + (f"make results of chapter {chapters}" if chapters else "it has no check yet")
        )
    seeds = sorted({line.row.seed for lines in held.values() for line in lines})
    seed = seeds[0] if seed is None else seed
    if seed not in seeds:
        known = ", ".join(map(str, seeds))
        raise InputError(f"seed = {seed} of '{name}' is not on record at {scale}; it has {known}")
    rows = {name: [x for x in lines if x.row.seed == seed] for name, lines in held.items()}
    return Evidence(claim, verdict, seed, rows, _cells(rows, scale, seed))


def _cells(rows: Mapping[str, list[Line]], scale: str, seed: int) -> list[tuple[str, grids.Cell]]:
    """Return (chapter, cell) of the cells that made rows of a seed; all of it if one is unknown."""
    found = []
    every = [line.row for lines in rows.values() for line in lines]
    for chapter in sorted({row.chapter for row in every}):
        cells = grids.cells_of_seed(chapter, scale, seed)
        made = grids.makers(chapter, scale, [row for row in every if row.chapter == chapter])
        names = {name for names in made for name in names}
        found += [(chapter, c) for c in cells if c.name in names or not all(made)]
    return found


def before(found: Evidence) -> str:
    """Return in lines what a claim asks, the rows of the seed, and the commands that make them."""
    claim, verdict = found.claim, found.verdict
    path, number = claim_line(claim.id)
    lines = [f"{claim.id} at {verdict.scale}: {verdict.verdict} {verdict.effect_text}".rstrip()]
    lines += [f"    {claim.statement}", f"It asks ({path.as_posix()}:{number}):"]
    asked = dict.fromkeys(part.inequality for part in verdict.parts if part.decides)
    lines += [f"    {text}" for text in asked]
    lines.append(f"Its rows of seed {found.seed}:")
    lines += _table(found, {})
    lines.append("They are made by:")
    lines += [f"    {grids.as_command(c, verdict.scale, cell)}" for c, cell in found.cells]
    runs = Counter(chapter for chapter, _ in found.cells)
    times = [grids.grid(c, verdict.scale).time(count) for c, count in runs.items()]
    lines.append(f"That takes {' and '.join(times)}.")
    return "\n".join(lines)


def after(found: Evidence) -> str:
    """Run the cells and return in lines what they give beside what is on record."""
    scale = found.verdict.scale
    anew = [row for c, cell in found.cells for row in grids.rows_anew(c, scale, cell)]
    new = {identity(row): row for row in anew if row.seed == found.seed}
    lines = ["", f"Run now, seed {found.seed}:", *_table(found, new)]
    old = [line.row for held in found.rows.values() for line in held]
    effects = [
        [p for p in decide.verdicts(scale, ids=[found.claim.id], rows=rows)[0].parts if p.decides]
        for rows in (old, new.values())
    ]
    lines.append("The effect of this seed alone (left side less right side):")
    width = max((len(_where(part)) for part in effects[0]), default=0)
    for pair in zip(*effects, strict=False):
        texts = "".join(f"{part.effect_text or 'none':>14}" for part in pair)
        lines.append(f"    {_where(pair[0]):{width}}{texts}")
    same = sum(identity(row) in new and new[identity(row)].value == row.value for row in old)
    lines.append(f"{same} of {len(old)} rows are equal. Nothing of this run is kept.")
    return "\n".join(lines)


def _table(found: Evidence, new: Mapping[tuple, Row]) -> list[str]:
    """Return a line a row: its place, what it is, its value and, of those run now, the new one."""
    table = []
    for name, lines in found.rows.items():
        for line in lines:
            row, other = line.row, new.get(identity(line.row))
            what = f"{name} = {row.metric} of {row.method}, {row.train or 'nothing'}"
            what += f" -> {row.test}" if row.test else ""
            what += f", {row.dataset}"
            anew = f"{other.value:>12.6g}" if other else f"{'none':>12}"
            table.append((line.place, what, f"{row.value:>12.6g}" + (anew if new else "")))
    widths = [max(len(one[k]) for one in table) for k in (0, 1)]
    head = f"    {'':{widths[0]}}  {'':{widths[1]}}  {'recorded':>12}{'now':>12}"
    rows = [f"    {a:{widths[0]}}  {b:{widths[1]}}  {c}" for a, b, c in table]
    return [head, *rows] if new else rows
