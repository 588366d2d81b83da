"""What the recorded rows say of each claim: rows -> tables -> effects -> parts -> verdict.

The rows of an inequality become a table a cell: a quantity is a column, a line is a seed. The
inequality is an expression over the columns, so a line has an effect. `judge` decides on the
effects of one cell, `combine` on the cells of one inequality, `verdict` on a claim. (The tables
are so small that NumPy decides on all claims in less time than it takes to import pandas.)
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from synthbook.claims.language import Check, Claim, Expression, Fields, Over, Trend, inequality
from synthbook.errors import InputError, did_you_mean
from synthbook.intervals import DECIMALS, RESAMPLES, effect_text, interval
from synthbook.randomness import numpy_generator
from synthbook.record.rows import COLUMNS, IDENTITY, Row, first_fault, read
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
        at, known = self.fields, ("chapter", "method", "train", "test", "metric")
        rest = ", ".join(f"{key}={value}" for key, value in at.items() if key not in known)
        head = f"{at['metric']} of {at['method']}, {at['train']} -> {at['test']}"
        return f"{head} [{rest}]" if rest else head


@dataclass(frozen=True)
class Judgement:
    """A verdict and what it rests on.

    Attributes:
        verdict: "holds", "fails", "undecided" or "not run".
        effect: claimed-larger minus claimed-smaller side, mean over seeds, in the unit of the
            quantities; positive supports the claim. None if there is none.
        low, high: ends of its 95 % bootstrap interval over seeds; None with a single seed.
        seeds: seeds that all quantities have.
        reason: why the verdict is not "holds", or what it rests on; "" if nothing is to be said.
    """

    verdict: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0
    reason: str = ""

    @property
    def effect_text(self) -> str:
        """The effect with its interval, "+3.2 [+1.1, +5.0]"; "" if there is none."""
        return effect_text(self.effect, self.low, self.high)

    @property
    def strength(self) -> float:
        """Effect in units of its interval's half width: comparable between quantities."""
        if self.effect is None:
            return -math.inf
        if self.low is None or self.high is None or self.high == self.low:
            return math.copysign(math.inf, self.effect) if self.effect else 0.0
        return 2 * self.effect / (self.high - self.low)


@dataclass(frozen=True, kw_only=True)
class Part(Judgement):
    """One inequality or trend in one cell, or over its cells, with its own verdict.

    ``decides`` is False for cells that are shown beside the part that combines them.
    ``quantities`` are what it rests on; "not run" means that some of them have no rows.
    """

    text: str
    cell: str
    decides: bool = True
    quantities: tuple[Quantity, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verdict(Judgement):
    """What the rows of one scale say of a claim: its parts, and what the weakest of them says."""

    id: str
    paper: str
    scale: str
    parts: tuple[Part, ...] = ()


# --- Rows -----------------------------------------------------------------------------------------


class Measured(NamedTuple):
    """A row as claims see it: ``fields`` are its identity, each name of its setting among them."""

    fields: dict[str, Any]
    value: float
    time: str


Rows = Mapping[tuple[str, str], list[Measured]]  # (chapter, metric) -> rows of one scale
_BESIDE = {"setting"} | set(COLUMNS) - set(IDENTITY)  # columns of a frame that are no fields


def _measured(row: Row | Mapping[str, Any]) -> Measured:
    """Return a `Row`, or a record of a `frame`, where NaN says that a row has no such setting."""
    if isinstance(row, Row):
        named = {name: getattr(row, name) for name in IDENTITY if name != "setting"}
        return Measured(named | row.setting, row.value, row.provenance.time)
    fields = {key: held for key, held in row.items() if key not in _BESIDE and held == held}
    return Measured(fields, row["value"], row.get("time", ""))


def by_scale(rows: Any) -> dict[str, Rows]:
    """Return the newest row of each identity, sorted; ``rows`` are a `frame`, or one by one."""
    if hasattr(rows, "to_dict"):  # a DataFrame; pandas is not imported for the question
        rows = rows.to_dict("records")
    oldest_first = sorted(map(_measured, rows), key=lambda row: row.time)
    newest = {frozenset(row.fields.items()): row for row in oldest_first}
    scales: dict[str, Any] = defaultdict(lambda: defaultdict(list))
    for row in newest.values():
        scales[row.fields["scale"]][row.fields["chapter"], row.fields["metric"]].append(row)
    return scales


def recorded_scales() -> list[str]:
    """Return the scales that have recorded rows: mini first, then by name."""
    names = {path.parent.name for path in (root() / "results").glob("*/*.jsonl")}
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

    @property
    def missing(self) -> list[Quantity]:
        """The quantities that have no rows."""
        return [quantity for quantity in self.quantities if not quantity.rows]


def _order(place: Iterable[tuple[str, Any]]) -> list[tuple[str, bool, Any]]:
    return [(axis, isinstance(held, str), held) for axis, held in place]  # numbers as numbers


def _cells(check: Check, expression: Expression, rows: Rows, free: Iterable[str]) -> list[Cell]:
    """Return the cells of an expression with its value at each seed.

    A field that is free and that not every quantity fixes makes cells; "" is how a row says that
    it does not apply. In each cell the rows are a table: a quantity is a column, a seed is a line.
    """
    cells, names = [], sorted(expression.names)
    for binding in check.bindings(names):
        asked = {name: check.quantity(name, binding) for name in names}
        axes = [axis for axis in free if any(axis not in wanted for wanted in asked.values())]
        at: dict[tuple[Any, ...], dict[str, list[Measured]]] = {}
        for name, wanted in asked.items():
            for row in rows.get((wanted["chapter"], wanted["metric"]), []):
                if wanted.items() <= row.fields.items():
                    place = ((axis, row.fields.get(axis, "")) for axis in axes)
                    place = tuple(pair for pair in place if pair[1] != "")
                    at.setdefault(place, {name: [] for name in names})[name].append(row)
        for place in sorted(at, key=_order) or [()]:
            held = at.get(place, dict.fromkeys(names, ()))
            asks = (Quantity(n, {**dict(place), **asked[n]}, len(held[n])) for n in names)
            cell = Cell({**binding, **dict(place)}, tuple(asks), _ambiguity(held))
            table = {name: {row.fields["seed"]: row.value for row in held[name]} for name in names}
            seeds = sorted(set.intersection(*map(set, table.values())))
            if not cell.fault:
                columns = {name: np.array([table[name][seed] for seed in seeds]) for name in names}
                fault = "" if seeds else "no seed is common to its quantities"
                effects = dict(zip(seeds, expression(columns).tolist(), strict=True))
                cell = replace(cell, fault=fault, effects=effects)
            cells.append(cell)
    return cells


def _ambiguity(held: Mapping[str, Sequence[Measured]]) -> str:
    """Return in what several rows of one quantity, cell and seed differ; "" if there are none."""
    for name, rows in held.items():
        if len({row.fields["seed"] for row in rows}) < len(rows):
            common = set.intersection(*(set(row.fields.items()) for row in rows))
            differ = {key for row in rows for key in row.fields} - {"seed", *dict(common)}
            return f"rows of {name} differ in {', '.join(sorted(differ))}"
    return ""


def _curves(check: Check, trend: Trend, rows: Rows) -> list[Cell]:
    """Return the curves of a trend (cells but for the swept field) with how they rise or fall."""
    curves: dict[tuple[Any, ...], list[Cell]] = defaultdict(list)
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
        fault = faults[0] if faults else ""
        cells.append(Cell(dict(place), asks, fault, {} if fault else effects))
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


def _judgement(
    effect: float, ends: Iterable[float], seeds: int, *, strict: bool = True
) -> Judgement:
    """Return what an effect says whose interval has these ends (NaN: there is none)."""
    low, high = (None if math.isnan(end) else end for end in ends)
    if seeds < MIN_SEEDS:
        verdict, reason = "undecided", f"{seeds} seed(s); a verdict needs {MIN_SEEDS}"
    elif low > 0 or (low == 0 and not strict):
        verdict, reason = "holds", ""
    elif high < 0:
        verdict, reason = "fails", ""
    else:
        verdict, reason = "undecided", "the interval over seeds spans zero"
    return Judgement(verdict, effect, low, high, seeds, reason)


def judge(effects: Iterable[float], *, strict: bool = True) -> Judgement:
    """Return what one effect a seed says of a part; not ``strict``: zero supports it too."""
    values = list(effects)
    if not np.isfinite(values).all():
        return Judgement("undecided", seeds=len(values), reason="an effect is not finite")
    # Equal means differ by some 1e-17, which must not decide.
    mean, *ends = (round(end, DECIMALS) + 0.0 for end in interval(values))
    return _judgement(mean, ends, len(values), strict=strict)


def _share(effects: np.ndarray) -> Judgement:
    """Judge the share of cells with a positive mean, minus 1/2, bootstrapped over seeds.

    Args:
        effects: a line a cell, a column a seed.
    """
    share, seeds = float((effects.mean(axis=1) > 0).mean()) - 0.5, effects.shape[1]
    if seeds < MIN_SEEDS:
        return _judgement(share, (math.nan, math.nan), seeds)
    draws = numpy_generator(0, "share", seeds).integers(0, seeds, size=(RESAMPLES, seeds))
    weights = (draws[:, :, None] == np.arange(seeds)).sum(axis=1) / seeds
    shares = ((effects @ weights.T).round(DECIMALS) > 0).mean(axis=0) - 0.5
    return _judgement(share, np.quantile(shares, [0.025, 0.975]).tolist(), seeds)


def _premises(check: Check, rows: Rows) -> Iterator[Cell]:
    """Yield the cells of a check's premises; their fault says why one is not met."""
    for text in check.premise:
        test = inequality(text)
        for cell in _cells(check, test, rows, check.cells):
            mean = math.inf if cell.fault else sum(cell.effects.values()) / len(cell.effects)
            if not (mean > 0 or (mean == 0 and not test.strict)):
                why = f"premise {text} is not met (by {abs(mean):.3g}) at {cell.label}"
                cell = replace(cell, fault=why)
            yield cell


def _part(text: str, cell: Cell, premises: Iterable[Cell], strict: bool) -> Part:
    """Return the part of one cell, given the premises that do not lie elsewhere."""
    near = [
        premise
        for premise in premises
        if all(cell.place.get(key, held) == held for key, held in premise.place.items())
    ]
    if missing := [quantity for one in (cell, *near) for quantity in one.missing]:
        texts = dict.fromkeys(quantity.text for quantity in missing)
        judgement = Judgement("not run", reason="no rows of " + "; ".join(texts))
    elif cell.fault:
        judgement = Judgement("undecided", reason=cell.fault)
    else:
        judgement = judge(cell.effects.values(), strict=strict)
        if unmet := dict.fromkeys(premise.fault for premise in near if premise.fault):
            judgement = replace(judgement, verdict="undecided", reason="; ".join(unmet))
    quantities = (*cell.quantities, *(quantity for one in near for quantity in one.missing))
    return Part(**vars(judgement), text=text, cell=cell.label, quantities=quantities)


def combine(parts: list[Part], cells: list[Cell], over: Over, *, strict: bool) -> list[Part]:
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
        mean = judge(values.mean(axis=0), strict=strict)
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
    premises, parts = list(_premises(check, rows)), []
    for item in (*check.require, *check.trend):
        strict = item.expression.strict
        if isinstance(item, Trend):
            text, over, cells = item.text, check.over, _curves(check, item, rows)
        else:
            text, over = item.that, item.over or check.over
            cells = _cells(check, item.expression, rows, check.cells)
        alone = [_part(text, cell, premises, strict) for cell in cells]
        parts += combine(alone, cells, over, strict=strict)
    return parts


# --- Claims and verdicts --------------------------------------------------------------------------


@cache
def _load(path: Path, stamp: int) -> list[Claim]:
    """Return the claims of a file; ``stamp`` is its time of change."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with path.open(encoding="utf-8") as stream:
        entries = yaml.load(stream, Loader=loader)
    try:
        return TypeAdapter(list[Claim]).validate_python(entries)
    except ValidationError as error:
        fault = first_fault(error)
        raise InputError(f"'{path}', claim (from 0) {fault}; mend it there") from None


def claims(paper: str | None = None) -> list[Claim]:
    """Return the claims of a study, or of all five, in the order of their files.

    Raises:
        InputError: if there is no such study, or its file is not valid.
    """
    if paper not in (None, *PAPERS):
        hint = did_you_mean(paper, PAPERS)
        raise InputError(f"there is no study '{paper}'{hint}; the studies are {', '.join(PAPERS)}")
    folder = root() / "book" / "paper"
    paths = [folder / f"claims_{name}.yml" for name in ([paper] if paper else PAPERS)]
    return [claim for path in paths for claim in _load(path, path.stat().st_mtime_ns)]


def _included(claim: Claim) -> list[Claim]:
    """Return the claims that a claim includes, all of its own study."""
    if not (claim.check and claim.check.include):
        return []
    known = {other.id: other for other in claims(claim.paper)}
    return [known[name] for name in claim.check.include]


def claim_quantities(claim: Claim) -> list[tuple[str, Fields]]:
    """Return name and fields of each quantity of a claim, with placeholders filled.

    Those of the claims that it includes come first; those of premises count too.
    """
    own = claim.check
    names = own.let if own else ()
    return [
        *(pair for other in _included(claim) for pair in claim_quantities(other)),
        *((name, own.quantity(name, held)) for name in names for held in own.bindings([name])),
    ]


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
    says = {field.name: getattr(weakest, field.name) for field in fields(Judgement)}
    if worst != "holds":
        says["reason"] = _reason(deciding, rows)
    return Verdict(**says, id=claim.id, paper=claim.paper, scale=scale, parts=tuple(parts))


def verdicts(
    scale: str | None = None,
    paper: str | None = None,
    ids: Iterable[str] | None = None,
    rows: Any = None,
) -> list[Verdict]:
    """Return the verdict of each claim at each scale, by claim and then by scale.

    Args:
        scale: one scale; None: every scale that has rows ("mini" if none has).
        paper: one study; None: all five.
        ids: these claims only.
        rows: a `frame`, or rows one by one, to judge instead of the recorded ones.

    Raises:
        InputError: if there is no such study or claim.
    """
    chosen = claims(paper)
    if ids is not None:
        ids, known = list(ids), [claim.id for claim in chosen]
        if unknown := next((name for name in ids if name not in known), None):
            raise InputError(f"there is no claim '{unknown}'{did_you_mean(unknown, known)}")
        chosen = [claim for claim in chosen if claim.id in ids]
    scales = [scale] if scale else recorded_scales()
    if rows is None:
        chapters = sorted({name for claim in chosen for name in chapters_of(claim)})
        folder = root() / "results"
        paths = [folder / one / f"{chapter}.jsonl" for one in scales for chapter in chapters]
        sorted_rows = by_scale(row for path in paths if path.is_file() for row in read(path))
    else:
        sorted_rows = by_scale(rows)
        scales = [scale] if scale else list(sorted_rows)
    return [
        verdict(claim, sorted_rows.get(name, {}), name)
        for claim in chosen
        for name in scales or ["mini"]
    ]


def counts(judged: Iterable[Verdict]) -> dict[str, dict[str, int]]:
    """Return study -> how many of its verdicts are of each kind."""
    pairs = Counter((one.paper, one.verdict) for one in judged)
    return {paper: {word: pairs[paper, word] for word in VERDICTS} for paper in PAPERS}


def to_json(judged: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Return verdicts with their parts, and what these rest on, as plain objects.

    Numbers have 6 digits; what lies behind the ninth decimal is rounding.
    """
    rounded = lambda text: float(f"{round(float(text), DECIMALS) + 0.0:.6g}")  # noqa: E731
    first = dict.fromkeys(("id", "paper", "scale"))
    return [json.loads(json.dumps(first | asdict(one)), parse_float=rounded) for one in judged]
