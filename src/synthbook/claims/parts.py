"""Parts of a verdict: an effect with its interval over seeds, and how cells combine."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from synthbook.claims.language import Over
from synthbook.claims.quantities import Cell, Missing
from synthbook.intervals import DECIMALS, RESAMPLES, interval
from synthbook.randomness import numpy_generator

MIN_SEEDS = 3
WORST_FIRST = ("not run", "fails", "undecided", "holds")


@dataclass(frozen=True)
class Part:
    """One inequality or trend in one cell (or over its cells), with its own verdict.

    ``effect`` is the mean over seeds of the claimed-larger minus the claimed-smaller side, in the
    unit of the quantities; ``low`` and ``high`` its 95 % bootstrap interval. ``decides`` is False
    for cells that are shown beside the part that combines them.
    """

    text: str
    cell: str
    verdict: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0
    reason: str = ""
    decides: bool = True
    missing: tuple[Missing, ...] = ()

    @property
    def strength(self) -> float:
        """Effect in units of its interval's half width: comparable between quantities."""
        if self.effect is None:
            return -math.inf
        if self.low is None or self.high is None or self.high == self.low:
            return math.copysign(math.inf, self.effect) if self.effect else 0.0
        return 2 * self.effect / (self.high - self.low)


class Found(NamedTuple):
    """What the rows say of one inequality in one cell: an effect a seed, or why there is none."""

    binding: dict[str, str]
    cell: Cell
    effects: dict[int, float]
    missing: tuple[Missing, ...] = ()
    fault: str = ""

    @property
    def label(self) -> str:
        """The cell in words: "G=gan, digits, small_cnn"."""
        named = [f"{axis}={value}" for axis, value in self.binding.items()]
        free = [
            str(value) if axis in ("dataset", "backbone") else f"{axis}={value}"
            for axis, value in self.cell
            if value not in (None, "")
        ]
        return ", ".join([*named, *free])


class Unmet(NamedTuple):
    """What keeps the premises of a cell from being met: missing rows, or a reason."""

    missing: tuple[Missing, ...] = ()
    why: str = ""


def judge(effects: Iterable[float], *, strict: bool = True) -> dict[str, Any]:
    """Return verdict, effect, low, high, seeds and reason of one effect a seed."""
    values = list(effects)
    if not np.isfinite(values).all():
        return {"verdict": "undecided", "seeds": len(values), "reason": "an effect is not finite"}
    # Equal means differ by some 1e-17, which must not decide.
    mean, low, high = (round(end, DECIMALS) + 0.0 for end in interval(values))
    if len(values) < MIN_SEEDS:
        reason = f"{len(values)} seed(s); a verdict needs {MIN_SEEDS}"
        return {
            "verdict": "undecided", "effect": mean, "low": None if math.isnan(low) else low,
            "high": None if math.isnan(high) else high, "seeds": len(values), "reason": reason,
        }  # fmt: skip
    above = low > 0 if strict else low >= 0
    verdict = "holds" if above else "fails" if high < 0 else "undecided"
    reason = "the interval over seeds spans zero" if verdict == "undecided" else ""
    return {
        "verdict": verdict, "effect": mean, "low": low, "high": high, "seeds": len(values),
        "reason": reason,
    }  # fmt: skip


def _part(text: str, found: Found, premise: Unmet, strict: bool) -> Part:
    missing = (*found.missing, *premise.missing)
    if missing:
        reason = "no rows of " + "; ".join(dict.fromkeys(one.text for one in missing))
        return Part(text, found.label, "not run", reason=reason, missing=missing)
    if found.fault:
        return Part(text, found.label, "undecided", reason=found.fault)
    part = Part(text, found.label, **judge(found.effects.values(), strict=strict))
    return replace(part, verdict="undecided", reason=premise.why) if premise.why else part


def combine(
    text: str,
    cells: list[tuple[Found, Unmet]],
    over: Over,
    *,
    strict: bool,
    nothing: str = "no rows",
) -> list[Part]:
    """Return the parts of one inequality: its cells, and what combines them.

    all: every cell decides. any: one cell that holds is enough. mean: the mean over cells, a seed.
    most: that mean, and the share of cells whose mean over seeds is positive, against one half.
    """
    parts = [_part(text, found, premise, strict) for found, premise in cells]
    if not parts:
        return [Part(text, "", "undecided", reason=nothing)]
    if over == "all":
        return parts
    beside = [replace(part, decides=False) for part in parts]
    count = f"{len(parts)} cells"
    blocked = [part for part in parts if part.effect is None or part.reason.startswith("premise")]
    if over != "any" and blocked:
        worst = min(blocked, key=lambda part: WORST_FIRST.index(part.verdict))
        missing = tuple(one for part in blocked for one in part.missing)
        head = Part(text, count, worst.verdict, reason=worst.reason, missing=missing)
        return [head, *beside]
    if over == "any":
        verdicts = {part.verdict for part in parts}
        order = ("not run", "holds", "undecided", "fails")
        verdict = next(one for one in order if one in verdicts)
        best = max((p for p in parts if p.verdict == verdict), key=lambda part: part.strength)
        return [replace(best, cell=f"any of {count}: {best.cell}"), *beside]
    seeds = sorted(set.intersection(*(set(found.effects) for found, _ in cells)))
    if not seeds:
        return [Part(text, count, "undecided", reason="no seed is common to its cells"), *beside]
    effects = np.array([[found.effects[seed] for seed in seeds] for found, _ in cells])
    effects = effects.round(DECIMALS)
    below = int((effects.mean(axis=1) <= 0).sum())
    mean = Part(text, f"mean of {count}", **judge(effects.mean(axis=0), strict=strict))
    if below:
        mean = replace(mean, reason=_join(mean.reason, f"{below} of {count} not above zero"))
    return [mean, *([_share(text, effects, count)] if over == "most" else []), *beside]


def _join(*reasons: str) -> str:
    return "; ".join(reason for reason in reasons if reason)


def _share(text: str, effects: np.ndarray, count: str) -> Part:
    """Return the share of cells with a positive mean, minus 1/2, bootstrapped over seeds."""
    share = float((effects.mean(axis=1) > 0).mean()) - 0.5
    seeds = effects.shape[1]
    label = f"share of {count} above zero, minus 1/2"
    if seeds < MIN_SEEDS:
        reason = f"{seeds} seed(s); a verdict needs {MIN_SEEDS}"
        return Part(text, label, "undecided", share, seeds=seeds, reason=reason)
    draws = numpy_generator(0, "share", seeds).integers(0, seeds, size=(RESAMPLES, seeds))
    weights = np.apply_along_axis(np.bincount, 1, draws, minlength=seeds) / seeds
    shares = ((effects @ weights.T).round(DECIMALS) > 0).mean(axis=0) - 0.5
    low, high = (float(end) for end in np.quantile(shares, [0.025, 0.975]))
    verdict = "holds" if low > 0 else "fails" if high < 0 else "undecided"
    reason = "the interval over seeds spans zero" if verdict == "undecided" else ""
    return Part(text, label, verdict, share, low, high, seeds, reason)
