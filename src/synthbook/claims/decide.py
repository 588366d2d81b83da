"""What the recorded rows say of each claim: rows -> tables -> parts -> clauses -> verdict.

The rows of an inequality become a table a cell: a quantity is a column, a line is a seed. A *part*
is one inequality in one cell, judged by `inference.estimate`. A *clause* is what a claim needs of
the parts of a requirement: of each cell alone, or of so many of them. A claim is a conjunction of
clauses.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from synthbook.claims import inference
from synthbook.claims.catalogue import (
    CORRELATION,
    claims,
    deciding_chapters,
    find,
    included,
    premises,
    unit_of,
)  # fmt: skip
from synthbook.claims.inference import ALPHA, MIN_SEEDS, Estimate, at_least, replicates
from synthbook.claims.language import (
    Beside,
    Check,
    Claim,
    Expression,
    Requirement,
    Trend,
    inequalities,
)  # fmt: skip
from synthbook.claims.tables import Cell, Quantity, Rows, by_scale, cells_of, curves_of, effects_of
from synthbook.intervals import DECIMALS, effect_text, holm
from synthbook.record.rows import Row, latest, recorded_rows
from synthbook.store import root

VERDICTS = ("holds", "fails", "no effect", "undecided", "not run")


@dataclass(frozen=True, kw_only=True)
class Judgement(Estimate):
    """A verdict and what it rests on.

    The effect is the claimed-larger minus the claimed-smaller side of the means over seeds:
    positive supports the claim.
    """

    verdict: str  # one of `VERDICTS`
    unit: str = ""  # of the effect; "" for shares and ratios
    reason: str = ""  # why the verdict is not "holds"
    inequality: str = ""
    cell: str = ""

    @property
    def effect_text(self) -> str:
        """The effect with its interval, "+3.2 [+1.1, +5.0] points"; "" if there is none.

        Of fewer seeds than a verdict needs, it is the mean alone: "+3.2 points (2 seeds)". That of
        a rank correlation is shown as far as there are any, from -1 to 1.
        """
        if self.effect is not None and 1 < self.seeds < MIN_SEEDS:
            return f"{effect_text(self.effect, None, None, self.unit)} ({self.seeds} seeds)"
        low, high = self.low, self.high
        if self.unit == CORRELATION and low is not None and high is not None:
            low, high = max(low, -1.0), min(high, 1.0)
        return effect_text(self.effect, low, high, self.unit)


@dataclass(frozen=True, kw_only=True)
class Part(Judgement):
    """One inequality or trend in one cell, or of the mean of its cells, judged alone."""

    decides: bool = True  # False: shown beside what decides
    because: str = ""  # why it is shown beside
    quantities: tuple[Quantity, ...] = ()  # "not run" means that some of them have no rows


@dataclass(frozen=True)
class Condition:
    """A premise in one cell."""

    premise: str  # its name, or the inequality
    place: dict[str, Any]
    met: bool | None  # None: it cannot be judged
    shortfall: str = ""  # why it is not met, "" where it is


@dataclass(frozen=True, kw_only=True)
class Verdict(Judgement):
    """What the rows of one scale say of a claim: its parts, and what its weakest clause says."""

    id: str
    paper: str
    scale: str
    scale_free: bool = True  # False: the paper's own sizes are part of the claim
    votes: str = ""  # of the cells of that clause
    premises: tuple[Condition, ...] = ()
    evidence: dict[str, list[Any]] | str | None = None  # the cells that the paper gives
    parts: tuple[Part, ...] = ()


def recorded_scales(chapter: str = "*") -> list[str]:
    """Return the scales that have recorded rows (of a chapter): mini first, then by name."""
    names = {path.parent.name for path in (root() / "results").glob(f"*/{chapter}.jsonl")}
    return sorted(names, key=lambda name: (name != "mini", name))


# --- Premises -------------------------------------------------------------------------------------


def _conditions(check: Check, texts: Iterable[str], rows: Rows) -> list[list[Condition]]:
    """Return premises of a check, those of its premises too: each inequality in each of its cells.

    A premise is judged by its means; one without rows cannot be judged, so it is not met.
    """
    found = []
    for text in texts:
        asked, wanted = check, inequalities(text) if text not in check.named else ()
        if not wanted:
            asked = premises()[text].check
            wanted = [one for item in asked.require for one in item.expressions]
            found += _conditions(asked, asked.premise, rows)
        for test in wanted:
            name = text if asked is check else f"{text} ({test.text})"
            cells = cells_of(asked, test.names, rows, asked.cells)
            unit = unit_of(asked, test)
            found.append([_condition(name, test, cell, unit) for cell in cells])
    return found


def _condition(name: str, test: Expression, cell: Cell, unit: str) -> Condition:
    where = f" at {cell.label}" if cell.label else ""
    unsaid = [quantity.text for quantity in cell.quantities if not quantity.rows]
    if fault := f"no rows of {', '.join(unsaid)}" if unsaid else cell.fault:
        shortfall = f"premise {name} cannot be judged{where}: {fault}"
        return Condition(name, cell.place, None, shortfall)
    mean = round(float(replicates(test, cell.columns)[0]), DECIMALS)
    met = mean > 0 or (mean == 0 and not test.strict)
    by = f"{abs(mean):.3g} {unit}".rstrip()
    shortfall = "" if met else f"premise {name} is not met (by {by}){where}"
    return Condition(name, cell.place, met, shortfall)


def _applies(condition: Condition, cell: Cell) -> bool:
    """Return whether a premise's cell lies not elsewhere.

    It does where the cell, or all of its quantities that have the field, have another value; and
    where no quantity has all of its values: one method with the prior and another one without are
    not the other one with it.
    """
    place = condition.place
    for name, value in place.items():
        held = {one.fields[name] for one in cell.quantities if name in one.fields}
        held |= {cell.place[name]} if name in cell.place else set()
        if held and value not in held:
            return False
    return any(
        all(one.fields.get(name, value) == value for name, value in place.items())
        for one in cell.quantities
    )


def _unmet(conditions: Iterable[Sequence[Condition]], cell: Cell) -> list[str]:
    """Return what premises lack in a cell; those apply that do not lie elsewhere."""
    unmet = []
    for group in conditions:
        near = [condition for condition in group if _applies(condition, cell)]
        if not near:
            unmet.append(f"premise {group[0].premise} cannot be judged at {cell.label}: no rows")
        unmet += [condition.shortfall for condition in near if condition.shortfall]
    return unmet


# --- Parts and clauses ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Clause:
    """What a claim needs of the parts of one requirement: that so many of its cells hold.

    A cell holds if its parts do, one a rival.
    """

    cells: list[list[Part]]
    needed: int = 1
    votes: str = ""

    @cached_property
    def p_hold(self) -> float:
        """Small if that many cells hold."""
        return at_least(self.needed, [max(p.p_hold for p in cell) for cell in self.cells])

    @cached_property
    def p_fail(self) -> float:
        """Small if not so many do, since enough of the others lie below zero."""
        below = [at_least(1, [part.p_fail for part in cell]) for cell in self.cells]
        return at_least(len(below) - self.needed + 1, below)

    @cached_property
    def weakest(self) -> Part:
        """What decides it: of the best cells that are needed the last, there the worst rival."""
        worst = [max(cell, key=_weakness) for cell in self.cells]
        return sorted(worst, key=_weakness)[self.needed - 1]

    @cached_property
    def negligible(self) -> bool:
        """Whether what it lacks lies within the margin, and so does all that does not hold."""
        words = {part.verdict for cell in self.cells for part in cell}
        return words <= {"holds", "no effect"} and self.weakest.verdict == "no effect"


def _weakness(part: Part) -> tuple[float, float]:
    return part.p_hold, -math.inf if part.effect is None else -part.effect


def _part(
    check: Check, item: Requirement | Trend, value: Expression, cells: Sequence[Cell],
    conditions: Iterable[Sequence[Condition]],
) -> Part:  # fmt: skip
    """Return the part of one inequality in a cell, or of its mean over several."""
    quantities = tuple(quantity for cell in cells for quantity in cell.quantities)
    seeds = sorted(set.intersection(*(set(cell.seeds) for cell in cells)))
    faults = [f"{cell.label}: {cell.fault}" for cell in cells if cell.fault]
    faults += [] if seeds or faults else ["no seed is common to its cells"]
    faults = [f"{value.text} at {fault}" for fault in faults]
    found, unit, word = Estimate(), unit_of(check, value, item), "undecided"
    if not faults:
        effects = [effects_of(item, value, cell.at(seeds)) for cell in cells]
        found = inference.estimate(np.mean(effects, axis=0), strict=value.strict)
        faults += [] if found.effect is not None else [f"{value.text}: an effect is not finite"]
        if len(seeds) < MIN_SEEDS:
            faults.append(f"{len(seeds)} seed{'s' * (len(seeds) > 1)}; a verdict needs {MIN_SEEDS}")
        faults = [text for cell in cells for text in _unmet(conditions, cell)] or faults
    margin = item.margin or (check.margin if isinstance(item, Requirement) else None)
    if missing := [quantity.text for quantity in quantities if not quantity.rows]:
        word, faults = "not run", ["no rows of " + "; ".join(dict.fromkeys(missing))]
    elif faults:
        found = replace(found, p_hold=1.0, p_fail=1.0)
    elif found.p_hold <= ALPHA:
        word = "holds"
    elif found.p_fail <= ALPHA:
        word = "fails"
    elif margin and -margin <= found.low <= found.high <= margin:
        word, faults = "no effect", [f"within ±{margin:g} {unit}".rstrip()]
    return Part(
        **vars(found), verdict=word, unit=unit, reason="; ".join(dict.fromkeys(faults)),
        inequality=value.text, quantities=quantities,
        cell=cells[0].label if len(cells) == 1 else f"mean of {len(cells)} cells",
    )  # fmt: skip


def _clauses(check: Check, rows: Rows) -> tuple[list[Clause], list[Part], list[list[Condition]]]:
    """Return a check's own clauses, the parts that are shown beside them, and its premises."""
    clauses, shown, common = [], [], _conditions(check, check.premise, rows)
    conditions, asked = [*common], []
    for item in (*check.require, *check.trend, *check.beside):
        if isinstance(item, Trend):
            cells = curves_of(check, item, rows)
        else:
            cells = cells_of(check, item.names, rows, check.cells)
            if item.complete:
                cells = [one for one in cells if all(q.rows for q in one.quantities)] or cells
        asked += cells
        own = _conditions(check, item.premise, rows) + _too_few_sets(item, cells)
        alone = [[_part(check, item, one, [cell], [*common, *own]) for one in item.expressions]
                 for cell in cells]  # fmt: skip
        conditions += own
        over, number = item.over or check.over, len(cells)
        beside = item.because if isinstance(item, Beside) else ""
        if number < (item.least or 0):
            beside = f"not asked: {number} cells, and it takes {item.least}"
        if not beside and over == "all":
            clauses += [Clause([rivals]) for rivals in alone]
            continue
        if beside or over == "mean":
            parts = [part for rivals in alone for part in rivals]
            shown += [replace(part, decides=False, because=beside) for part in parts]
        if not beside:
            decided = sum(all(part.verdict == "holds" for part in rivals) for rivals in alone)
            above = sum(all((part.effect or 0) > 0 for part in rivals) for rivals in alone)
            votes = f"{above} of {number} cells above zero, {decided} of them decided"
            if over == "mean":
                alone = [[_part(check, item, one, cells, [*common, *own])
                          for one in item.expressions]]  # fmt: skip
            clauses.append(Clause(alone, number // 2 + 1 if over == "most" else 1, votes))
    return clauses, shown, [_near(group, asked) for group in conditions]


def _near(group: list[Condition], cells: Iterable[Cell]) -> list[Condition]:
    """Return the cells of a premise that apply in some cell of a check; all if none does."""
    cells = list(cells)
    return [one for one in group if any(_applies(one, cell) for cell in cells)] or group


def _too_few_sets(item: Requirement | Trend, cells: Iterable[Cell]) -> list[list[Condition]]:
    """Return the premise that there are as many data sets as a requirement takes, if not met."""
    found = len({cell.place["dataset"] for cell in cells if "dataset" in cell.place})
    if found >= (item.sets or 0):
        return []
    short = f"premise of {item.text}: it takes {item.sets} data sets, and there is {found}"
    return [[Condition(f"{item.sets} data sets", {}, False, short)]]


# --- Verdicts --------------------------------------------------------------------------


def _missing(quantities: Iterable[Quantity], rows: Rows) -> list[str]:
    """Return which rows are missing, in words; of a chapter without any rows its name."""
    asked = [(one.fields["chapter"], one.text) for one in quantities if not one.rows]
    present = {chapter for chapter, _ in rows}
    absent = [f"no rows of chapter {chapter}" for chapter, _ in asked if chapter not in present]
    lacking = [f"no rows of {text} in {chapter}" for chapter, text in asked if chapter in present]
    return absent + lacking


def _doubt(clause: Clause, tests: int, alone: str = "") -> str:
    """Return why a clause is open; ``alone`` is an included claim of which it is, and which fails.

    Such a claim is corrected for its own clauses, which are fewer.
    """
    part = clause.weakest
    if part.reason and part.verdict == "undecided":
        return part.reason
    if clause.p_fail <= ALPHA:
        why = f"below zero, but no longer with Holm's correction for {tests} clauses"
        why += f" ({alone}, which has fewer, fails)" if alone else ""
    elif len(clause.cells) > 1:
        needed = f"{clause.needed} needed (p = {clause.p_hold:.2g})"
        return f"{part.inequality}: {clause.votes}, {needed}"
    elif part.low == part.high:
        why = "zero at every seed"
    else:
        why = f"the interval over seeds spans zero ({inference.seeds_needed(part)})"
    return f"{_where(part)}: {why}"


def _where(part: Part) -> str:
    return f"{part.inequality} at {part.cell}" if part.cell else part.inequality


def _listed(reasons: Iterable[str]) -> str:
    """Return the first three of some reasons, each once, in one line."""
    reasons = list(dict.fromkeys(one for text in reasons for one in text.split("; ")))
    more = [f"and {len(reasons) - 3} more"] if len(reasons) > 3 else []
    return "; ".join(reasons[:3] + more)


def verdict(claim: Claim, rows: Rows, scale: str) -> Verdict:
    """Return the verdict of a claim over the rows of a scale.

    ``holds``: every clause does. ``fails``: one fails, also after Holm's correction for the number
    of clauses. ``no effect``: neither, and all that does not hold lies within a margin that the
    check states. ``not run``: rows of a quantity are missing; the reason names them.
    ``undecided``: otherwise (a premise is not met, too few seeds).

    The effect is that of the weakest clause.
    """
    about = {"id": claim.id, "paper": claim.paper, "scale": scale}
    about |= {"scale_free": claim.scale_free}
    if not claim.check:
        return Verdict(**about, verdict="not run", reason=claim.note or "no check is written yet")
    asked = included(claim)
    every = [_clauses(one.check, rows) for one in asked]
    clauses, shown, conditions = (
        [x for some in held for x in some] for held in zip(*every, strict=True)
    )
    parts = [part for clause in clauses for cell in clause.cells for part in cell]
    about |= {
        "parts": (*parts, *shown), "evidence": claim.check.evidence,
        "premises": tuple(condition for group in conditions for condition in group),
    }  # fmt: skip
    if missing := _missing((quantity for part in parts for quantity in part.quantities), rows):
        return Verdict(**about, verdict="not run", reason=_listed(missing))
    unmet = [clause for clause in clauses if clause.p_hold > ALPHA]
    rejected = holm([clause.p_fail for clause in clauses], ALPHA)
    failing = [clause for clause, fails in zip(clauses, rejected, strict=True) if fails]
    last, word = max(unmet or clauses, key=lambda one: _weakness(one.weakest)), "undecided"
    alone = {
        id(clause): one.id for one, (own, *_) in zip(asked, every, strict=True)
        if one is not claim and verdict(one, rows, scale).verdict == "fails" for clause in own
    }  # fmt: skip
    reasons = [_doubt(clause, len(clauses), alone.get(id(clause), "")) for clause in unmet]
    if not unmet:
        word = "holds"
    elif failing:
        last, word = min(failing, key=lambda clause: clause.p_fail), "fails"
        held = f"{len(clauses) - len(unmet)} of {len(clauses)} clauses hold"
        reasons = [*(_where(clause.weakest) for clause in failing), held][: len(clauses)]
    elif all(clause.negligible for clause in unmet):
        word, reasons = "no effect", [last.weakest.reason]
    says = {item.name: getattr(last.weakest, item.name) for item in fields(Judgement)} | {
        "verdict": word, "reason": _listed(reasons), "votes": last.votes,
        "p_hold": max(clause.p_hold for clause in clauses),
        "p_fail": at_least(1, [clause.p_fail for clause in clauses]),
    }  # fmt: skip
    return Verdict(**about, **says)


def verdicts(
    scale: str | None = None,
    paper: str | None = None,
    ids: Iterable[str] | None = None,
    rows: Iterable[Row] | None = None,
) -> list[Verdict]:
    """Return the verdict of each claim at each scale, by claim and then by scale.

    Args:
        scale: one scale; None: every scale that has rows ("mini" if none has).
        paper: one study; None: all five.
        ids: these claims in this order, in place of a study's.
        rows: to judge instead of the recorded ones, such as `Run.rows`.
    """
    asked = claims(paper) if ids is None else find(ids)
    scales = [scale] if scale else recorded_scales()
    if rows is None:
        chapters = sorted({name for claim in asked for name in deciding_chapters(claim)})
        held = by_scale(r for at in scales for name in chapters for r in recorded_rows(name, at))
    else:
        held = by_scale(latest(rows))
        scales = [scale] if scale else list(held)
    return [verdict(claim, held.get(at, {}), at) for claim in asked for at in scales or ["mini"]]


def _rounded(number: str) -> float:
    return float(f"{round(float(number), DECIMALS) + 0.0:.6g}")


def to_json(judged: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Return verdicts with their parts, and what these rest on, as plain objects.

    Numbers have 6 digits; what lies behind the ninth decimal is rounding.
    """
    first = dict.fromkeys(("id", "paper", "scale", "verdict"))
    return [json.loads(json.dumps(first | asdict(v)), parse_float=_rounded) for v in judged]
