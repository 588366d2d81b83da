"""What the recorded rows say of each claim: rows -> tables -> effects -> parts -> verdict.

The rows of an inequality become a table a cell: a quantity is a column, a line is a seed. The
inequality is an expression over the columns, so a line has an effect. `judge` decides on an effect
and its interval, `combine` on the cells of one inequality, `verdict` on a claim. (The tables are so
small that NumPy decides on all claims in less time than it takes to import pandas.)
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from synthbook.claims.language import REQUIRED, Check, Claim, Expression, Fields, Trend, inequality
from synthbook.errors import InputError, did_you_mean
from synthbook.intervals import DECIMALS, RESAMPLES, effect_text, interval
from synthbook.randomness import numpy_generator
from synthbook.record.rows import IDENTITY, Row, first_fault, latest, recorded_rows
from synthbook.store import root

PAPERS = ("gap", "ready", "dip", "fake", "prim")
VERDICTS = ("holds", "fails", "undecided", "not run")
WORST_FIRST = ("not run", "fails", "undecided", "holds")
MIN_SEEDS = 3


@dataclass(frozen=True)
class Quantity:
    """A quantity in one cell: the fields that its rows have, and how many rows there are."""

    name: str
    fields: Fields
    rows: int

    @property
    def text(self) -> str:
        """The fields in words, without the chapter."""
        rest = [f"{key}={value}" for key, value in self.fields.items() if key not in REQUIRED]
        head = "{metric} of {method}, {train} -> {test}".format_map(self.fields)
        return f"{head} [{', '.join(rest)}]" if rest else head


@dataclass(frozen=True)
class Judgement:
    """A verdict and what it rests on.

    The effect is the claimed-larger minus the claimed-smaller side, mean over seeds, in the unit of
    the quantities: positive supports the claim.
    """

    verdict: str  # one of `VERDICTS`
    effect: float | None = None  # None if there is none
    low: float | None = None  # ends of its 95 % bootstrap interval over seeds; None with one seed
    high: float | None = None
    seeds: int = 0  # those that all quantities have
    reason: str = ""  # why the verdict is not "holds", or what it rests on

    @property
    def effect_text(self) -> str:
        """The effect with its interval, "+3.2 [+1.1, +5.0]"; "" if there is none."""
        return effect_text(self.effect, self.low, self.high)

    @property
    def strength(self) -> float:
        """Effect in units of its interval's half width: comparable between quantities."""
        if self.effect is None:
            return -math.inf
        if self.low == self.high:  # or both are None
            return math.copysign(math.inf, self.effect) if self.effect else 0.0
        return 2 * self.effect / (self.high - self.low)


@dataclass(frozen=True, kw_only=True)
class Part(Judgement):
    """One inequality or trend in one cell, or over its cells, with its own verdict."""

    text: str
    cell: str
    decides: bool = True  # False: shown beside the part that combines the cells
    quantities: tuple[Quantity, ...] = ()  # "not run" means that some of them have no rows


@dataclass(frozen=True, kw_only=True)
class Verdict(Judgement):
    """What the rows of one scale say of a claim: its parts, and what the weakest of them says."""

    id: str
    paper: str
    scale: str
    parts: tuple[Part, ...] = ()


Rows = Mapping[tuple[str, str], list[dict[str, Any]]]  # (chapter, metric) -> rows of one scale


def by_scale(rows: Iterable[Row]) -> dict[str, Rows]:
    """Return rows by scale; each is its identity, with the names of its setting, and ``value``."""
    scales: dict[str, Any] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        named = {name: getattr(row, name) for name in (*IDENTITY, "value") if name != "setting"}
        scales[row.scale][row.chapter, row.metric].append(named | row.setting)
    return scales


def recorded_scales(chapter: str = "*") -> list[str]:
    """Return the scales that have recorded rows (of a chapter): mini first, then by name."""
    names = {path.parent.name for path in (root() / "results").glob(f"*/{chapter}.jsonl")}
    return sorted(names, key=lambda name: (name != "mini", name))


# --- Tables and effects ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """Where an inequality is asked, and its effects there."""

    place: dict[str, Any]  # values of placeholders, and of fields that are left free
    quantities: tuple[Quantity, ...]
    fault: str = ""  # why there is no effect
    effects: dict[int, float] = field(default_factory=dict)  # one a seed

    @property
    def label(self) -> str:
        """The cell in words: "G=gan, digits, small_cnn"."""
        plain = ("dataset", "backbone")
        return ", ".join(f"{v}" if k in plain else f"{k}={v}" for k, v in self.place.items())


def _cells(check: Check, expression: Expression, rows: Rows, free: Iterable[str]) -> list[Cell]:
    """Return the cells of an expression with its value at each seed.

    A field that is free and that not every quantity fixes makes cells; "" is how a row says that
    it does not apply.
    """
    cells, names = [], sorted(expression.names)
    for binding in check.bindings(names):
        asked = {name: check.quantity(name, binding) for name in names}
        axes = [axis for axis in free if any(axis not in wanted for wanted in asked.values())]
        at: dict[Any, dict[str, list[Any]]] = defaultdict(lambda: {name: [] for name in names})
        for name, wanted in asked.items():
            for row in rows.get((wanted["chapter"], wanted["metric"]), []):
                if wanted.items() <= row.items():
                    place = tuple((axis, row[axis]) for axis in axes if row.get(axis, "") != "")
                    at[place][name].append(row)
        places = sorted(at, key=lambda place: [(k, isinstance(v, str), v) for k, v in place])
        for place in places or [()]:
            held = at[place]
            asks = (Quantity(n, {**dict(place), **asked[n]}, len(held[n])) for n in names)
            table = {name: {row["seed"]: row["value"] for row in held[name]} for name in names}
            seeds = sorted(set.intersection(*map(set, table.values())))
            columns = {name: np.array([table[name][seed] for seed in seeds]) for name in names}
            fault = _ambiguity(held) or ("" if seeds else "no seed is common to its quantities")
            effects = {} if fault else dict(zip(seeds, expression(columns).tolist(), strict=True))
            cells.append(Cell({**binding, **dict(place)}, tuple(asks), fault, effects))
    return cells


def _ambiguity(held: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Return in what several rows of one quantity, cell and seed differ; "" if there are none."""
    for name, rows in held.items():
        if len({row["seed"] for row in rows}) < len(rows):
            pairs = Counter(pair for row in rows for pair in row.items())
            differ = {key for (key, _), count in pairs.items() if count < len(rows)}
            return f"rows of {name} differ in {', '.join(sorted(differ - {'seed', 'value'}))}"
    return ""


def _curves(check: Check, trend: Trend, rows: Rows) -> list[Cell]:
    """Return the curves of a trend (cells but for the swept field) with how they rise or fall."""
    curves: dict[Any, list[Cell]] = defaultdict(list)
    for point in _cells(check, trend.expression, rows, dict.fromkeys((*check.cells, trend.across))):
        curves[tuple(pair for pair in point.place.items() if pair[0] != trend.across)].append(point)
    cells = []
    for place, points in curves.items():
        faults = [point.fault for point in points if point.fault]
        if len(points) < (3 if trend.by == "spearman" else 2):
            faults.append(f"only {len(points)} value(s) of {trend.across}")
        if not all(isinstance(point.place.get(trend.across), int | float) for point in points):
            faults.append(f"the values of {trend.across} are not numbers")
        seeds = sorted(set.intersection(*(set(point.effects) for point in points)))
        faults += [] if seeds else ["no seed is common to its points"]
        sign = 1 if trend.direction == "up" else -1
        effects = {s: _rise([sign * point.effects[s] for point in points], trend.by) for s in seeds}
        asks = tuple(quantity for point in points for quantity in point.quantities)
        cells.append(Cell(dict(place), asks, *(faults[:1] or ["", effects])))
    return cells


def _rise(values: list[float], by: str) -> float:
    """Return how values rise that stand in the order of the swept field."""
    if by != "spearman":
        return values[-1] - (values[0] if by == "ends" else 0)
    y = np.array(values)
    if not np.isfinite(y).all():
        return math.nan
    ranks = (y[:, None] > y).sum(axis=1) + (y[:, None] == y).sum(axis=1) / 2
    return float(np.corrcoef(np.arange(len(y)), ranks)[0, 1]) if np.ptp(ranks) else 0.0


# --- Parts ----------------------------------------------------------------------------------------


def judge(effect: float, low: float, high: float, seeds: int, *, strict: bool = True) -> Judgement:
    """Return what an effect and its interval over seeds say; not ``strict``: zero supports it too.

    With a single seed the ends of the interval are NaN.
    """
    if seeds < MIN_SEEDS:
        verdict, reason = "undecided", f"{seeds} seed(s); a verdict needs {MIN_SEEDS}"
    elif low > 0 or (low == 0 and not strict):
        verdict, reason = "holds", ""
    elif high < 0:
        verdict, reason = "fails", ""
    else:
        verdict, reason = "undecided", "the interval over seeds spans zero"
    ends = (None if math.isnan(end) else end for end in (low, high))
    return Judgement(verdict, effect, *ends, seeds, reason)


def _mean(effects: Iterable[float], strict: bool) -> Judgement:
    """Judge the mean of one effect a seed."""
    values = list(effects)
    if not np.isfinite(values).all():
        return Judgement("undecided", seeds=len(values), reason="an effect is not finite")
    # Equal means differ by some 1e-17, which must not decide.
    rounded = (round(end, DECIMALS) + 0.0 for end in interval(values))
    return judge(*rounded, len(values), strict=strict)


def _share(effects: np.ndarray) -> Judgement:
    """Judge the share of cells (lines) with a positive mean over seeds (columns), minus 1/2."""
    share, seeds = float((effects.mean(axis=1) > 0).mean()) - 0.5, effects.shape[1]
    if seeds < MIN_SEEDS:
        return judge(share, math.nan, math.nan, seeds)
    draws = numpy_generator(0, "share", seeds).integers(0, seeds, size=(RESAMPLES, seeds))
    weights = (draws[:, :, None] == np.arange(seeds)).sum(axis=1) / seeds
    shares = ((effects @ weights.T).round(DECIMALS) > 0).mean(axis=0) - 0.5
    return judge(share, *np.quantile(shares, [0.025, 0.975]).tolist(), seeds)


def _premises(check: Check, rows: Rows) -> list[Cell]:
    """Return the cells of a check's premises; their fault says why one is not met."""
    cells = []
    for text in check.premise:
        test = inequality(text)
        for cell in _cells(check, test, rows, check.cells):
            mean = math.inf if cell.fault else sum(cell.effects.values()) / len(cell.effects)
            if not (mean > 0 or (mean == 0 and not test.strict)):
                why = f"premise {text} is not met (by {abs(mean):.3g}) at {cell.label}"
                cell = replace(cell, fault=why)
            cells.append(cell)
    return cells


def _part(text: str, cell: Cell, premises: Iterable[Cell], strict: bool) -> Part:
    """Return the part of one cell, given the premises that do not lie elsewhere."""
    near = [p for p in premises if all(cell.place.get(k, v) == v for k, v in p.place.items())]
    unsaid = [quantity for p in near for quantity in p.quantities if not quantity.rows]
    quantities = (*cell.quantities, *unsaid)
    if missing := dict.fromkeys(quantity.text for quantity in quantities if not quantity.rows):
        judgement = Judgement("not run", reason="no rows of " + "; ".join(missing))
    elif cell.fault:
        judgement = Judgement("undecided", reason=cell.fault)
    else:
        judgement = _mean(cell.effects.values(), strict)
        if unmet := dict.fromkeys(premise.fault for premise in near if premise.fault):
            judgement = replace(judgement, verdict="undecided", reason="; ".join(unmet))
    return Part(**vars(judgement), text=text, cell=cell.label, quantities=quantities)


def combine(parts: list[Part], cells: list[Cell], over: str, *, strict: bool) -> list[Part]:
    """Return the parts of one inequality: one a cell, and before them what combines these.

    all: every cell decides. any: one cell that holds is enough. mean: the mean over cells, a seed.
    most: that mean, and the share of cells whose mean over seeds is positive, against one half.
    """
    if over == "all":
        return parts
    beside = [replace(part, decides=False) for part in parts]
    count = f"{len(parts)} cells"
    if over == "any":
        order = ("not run", "holds", "undecided", "fails")
        first = min((part.verdict for part in parts), key=order.index)
        best = max((p for p in parts if p.verdict == first), key=lambda part: part.strength)
        return [replace(best, cell=f"any of {count}: {best.cell}"), *beside]
    seeds = sorted(set.intersection(*(set(cell.effects) for cell in cells)))
    values = np.array([[cell.effects[s] for s in seeds] for cell in cells]).round(DECIMALS)
    blocked = [part for part in parts if part.effect is None or part.reason.startswith("premise")]
    if blocked:
        worst = min(blocked, key=lambda part: WORST_FIRST.index(part.verdict))
        heads = {count: Judgement(worst.verdict, reason=worst.reason)}
    elif not seeds:
        heads = {count: Judgement("undecided", reason="no seed is common to its cells")}
    else:
        mean = _mean(values.mean(axis=0), strict)
        if below := int((values.mean(axis=1) <= 0).sum()):
            reasons = filter(None, (mean.reason, f"{below} of {count} not above zero"))
            mean = replace(mean, reason="; ".join(reasons))
        heads = {f"mean of {count}": mean}
        if over == "most":
            heads[f"share of {count} above zero, minus 1/2"] = _share(values)
    common = {"text": parts[0].text, "quantities": sum((part.quantities for part in parts), ())}
    return [*(Part(**vars(head), **common, cell=cell) for cell, head in heads.items()), *beside]


def _evaluate(check: Check, rows: Rows) -> list[Part]:
    """Return the parts of a check's own inequalities and trends."""
    premises, parts = _premises(check, rows), []
    for item in (*check.require, *check.trend):
        if isinstance(item, Trend):
            over, cells = check.over, _curves(check, item, rows)
        else:
            over, cells = item.over or check.over, _cells(check, item.expression, rows, check.cells)
        strict = item.expression.strict
        alone = [_part(item.text, cell, premises, strict) for cell in cells]
        parts += combine(alone, cells, over, strict=strict)
    return parts


# --- Claims and verdicts --------------------------------------------------------------------------


@cache
def _load(path: Path, stamp: int) -> list[Claim]:
    """Return the claims of a file; ``stamp`` is its time of change."""
    import yaml

    try:
        entries = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return TypeAdapter(list[Claim]).validate_python(entries)
    except ValidationError as error:
        raise InputError(f"'{path}', claim (from 0) {first_fault(error)}; mend it there") from None


def claims(paper: str | None = None) -> list[Claim]:
    """Return the claims of a study, or of all five, in the order of their files."""
    if paper not in (None, *PAPERS):
        hint = did_you_mean(paper, PAPERS)
        raise InputError(f"there is no study '{paper}'{hint}; the studies are {', '.join(PAPERS)}")
    folder = root() / "book" / "paper"
    paths = [folder / f"claims_{name}.yml" for name in ([paper] if paper else PAPERS)]
    return [claim for path in paths for claim in _load(path, path.stat().st_mtime_ns)]


def find(ids: Iterable[str]) -> list[Claim]:
    """Return the claims of these ids, in their order."""
    known, ids = {claim.id: claim for claim in claims()}, list(ids)
    if unknown := next((name for name in ids if name not in known), None):
        raise InputError(f"there is no claim '{unknown}'{did_you_mean(unknown, known)}")
    return [known[name] for name in ids]


def _included(claim: Claim) -> list[Claim]:
    return find(claim.check.include) if claim.check and claim.check.include else []


def claim_quantities(claim: Claim) -> list[tuple[str, Fields]]:
    """Return name and fields of each quantity of a claim, with placeholders filled.

    Those of the claims that it includes come first; those of premises count too.
    """
    pairs = [pair for other in _included(claim) for pair in claim_quantities(other)]
    for name in claim.check.let if claim.check else ():
        pairs += [(name, claim.check.quantity(name, held)) for held in claim.check.bindings([name])]
    return pairs


def chapters_of(claim: Claim) -> list[str]:
    """Return the chapters whose rows a claim reads, also through the claims that it includes."""
    return sorted({str(wanted["chapter"]) for _, wanted in claim_quantities(claim)})


def claims_of(chapter: str) -> list[Claim]:
    """Return the claims of all studies that read the rows of a chapter."""
    return [claim for claim in claims() if chapter in chapters_of(claim)]


def _reason(parts: list[Part], rows: Rows) -> str:
    """Return why parts of one verdict do not hold, in one line: the first three reasons."""
    missing = [quantity for part in parts for quantity in part.quantities if not quantity.rows]
    asked = [(quantity.fields["chapter"], quantity.text) for quantity in missing]
    present = {chapter for chapter, _ in rows}
    reasons = [f"no rows of chapter {chapter}" for chapter, _ in asked if chapter not in present]
    reasons += [f"no rows of {text} in {chapter}" for chapter, text in asked if chapter in present]
    for part in parts if not missing else ():
        where = f"{part.text} at {part.cell}" if part.cell else part.text
        alone = part.verdict == "not run" or part.reason.startswith("premise")
        reasons.append(part.reason if alone else ": ".join(filter(None, (where, part.reason))))
    reasons = list(dict.fromkeys(reasons))
    more = [f"and {len(reasons) - 3} more"] if len(reasons) > 3 else []
    return "; ".join(reasons[:3] + more)


def verdict(claim: Claim, rows: Rows, scale: str) -> Verdict:
    """Return the verdict of a claim over the rows of a scale.

    ``holds``: the interval of every deciding part lies above zero. ``fails``: that of any part lies
    below. ``not run``: rows of any quantity are missing; the reason names them. ``undecided``:
    otherwise (an interval spans zero, fewer than three seeds, a premise is not met).

    The effect is that of the weakest part: the worst verdict, then the smallest effect in units
    of its interval's half width.
    """
    parts = [part for other in _included(claim) for part in verdict(other, rows, scale).parts]
    if claim.check:
        parts += _evaluate(claim.check, rows)
    else:
        reason = claim.note or "no check is written yet"
        parts.append(Part("not run", reason=reason, text=claim.test, cell=""))
    deciding = [part for part in parts if part.decides]
    worst = min((part.verdict for part in deciding), key=WORST_FIRST.index)
    deciding = [part for part in deciding if part.verdict == worst]
    weakest = min(deciding, key=lambda part: part.strength)
    says = {item.name: getattr(weakest, item.name) for item in fields(Judgement)}
    if worst != "holds":
        says["reason"] = _reason(deciding, rows)
    return Verdict(**says, id=claim.id, paper=claim.paper, scale=scale, parts=tuple(parts))


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
        chapters = sorted({name for claim in asked for name in chapters_of(claim)})
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
    first = dict.fromkeys(("id", "paper", "scale"))
    return [json.loads(json.dumps(first | asdict(v)), parse_float=_rounded) for v in judged]
