"""The claims of the five studies and their verdicts: each is a question to the recorded rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synthbook.claims.evaluate import Evaluation
from synthbook.claims.language import Claim
from synthbook.claims.measured import (
    Rows,
    measured,
    recorded_measured,
    recorded_scales,
)
from synthbook.claims.parts import Part
from synthbook.errors import InputError, did_you_mean
from synthbook.intervals import effect_text
from synthbook.record.rows import first_fault
from synthbook.store import root

PAPERS = ("gap", "ready", "dip", "fake", "prim")
VERDICTS = ("holds", "fails", "undecided", "not run")


@dataclass(frozen=True)
class Verdict:
    """What the rows of one scale say of a claim.

    Attributes:
        id, paper, scale: which claim, of which study, at which scale.
        verdict: "holds", "fails", "undecided" or "not run".
        effect: of the deciding part, mean over seeds, in the unit of its quantities; positive
            supports the claim. None if there is none.
        low, high: ends of its 95 % bootstrap interval over seeds; None with a single seed.
        seeds: seeds that all quantities of the deciding part have.
        reason: why the verdict is not "holds", or what it rests on; "" if nothing is to be said.
        parts: every inequality in every cell, with its own verdict.
    """

    id: str
    paper: str
    scale: str
    verdict: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0
    reason: str = ""
    parts: tuple[Part, ...] = ()

    @property
    def effect_text(self) -> str:
        """The effect with its interval, "+3.2 [+1.1, +5.0]"; "" if there is none."""
        return effect_text(self.effect, self.low, self.high)

    @property
    def exceptions(self) -> tuple[Part, ...]:
        """Parts that do not hold, those included that a mean or a majority outweighs."""
        return tuple(part for part in self.parts if part.verdict != "holds")


@cache
def _load(path: Path, stamp: int) -> tuple[Claim, ...]:
    """Return the claims of a file; ``stamp`` is its time of change."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        entries = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise InputError(f"'{path}' is no YAML ({where}); mend that line") from None
    found = []
    for number, entry in enumerate(entries, start=1):
        try:
            found.append(Claim.model_validate(entry))
        except (ValidationError, InputError) as error:
            name = entry.get("id", f"entry {number}") if isinstance(entry, dict) else number
            fault = first_fault(error) if isinstance(error, ValidationError) else error
            raise InputError(f"'{path.name}': claim {name}: {fault}; mend it there") from None
    return tuple(found)


def claims(paper: str | None = None) -> list[Claim]:
    """Return the claims of a study, or of all five, in the order of their files.

    Raises:
        InputError: if there is no such study, or its file is not valid.
    """
    if paper is not None and paper not in PAPERS:
        raise InputError(
            f"there is no study '{paper}'{did_you_mean(paper, PAPERS)}; "
            f"the studies are {', '.join(PAPERS)}"
        )
    found: list[Claim] = []
    for name in PAPERS if paper is None else (paper,):
        path = root() / "book" / "paper" / f"claims_{name}.yml"
        if not path.is_file():
            raise InputError(f"no claims file '{path}'; the book has one a study")
        found += _load(path, path.stat().st_mtime_ns)
    return found


def _included(claim: Claim) -> list[Claim]:
    """Return the claims that a claim includes.

    Raises:
        InputError: if one of them is not a claim of the same study.
    """
    known = {one.id: one for one in claims(claim.paper)}
    names = claim.check.include if claim.check else []
    for name in names:
        if name not in known or name == claim.id:
            raise InputError(f"claim {claim.id} includes '{name}', which is no other of its study")
    return [known[name] for name in names]


def chapters_of(claim: Claim) -> list[str]:
    """Return the chapters whose rows a claim reads, also through the claims that it includes."""
    names = [*claim.chapters, *(name for one in _included(claim) for name in one.chapters)]
    return sorted(dict.fromkeys(names))


def claims_of(chapter: str) -> list[Claim]:
    """Return the claims whose checks read a chapter's rows, in the order of their files."""
    return [claim for claim in claims() if chapter in chapters_of(claim)]


def _parts(claim: Claim, rows: Rows) -> list[Part]:
    """Return the parts of a claim, those of the claims that it includes first."""
    check = claim.check
    if check is None:
        return [Part(claim.test, "", "not run", reason=claim.note or "no check is written yet")]
    parts = [part for other in _included(claim) for part in _parts(other, rows)]
    return parts + Evaluation(check, rows).parts()


def _brief(reasons: Iterable[str], most: int = 3) -> str:
    """Return different reasons in one line, the first few of them."""
    found = list(dict.fromkeys(reason for reason in reasons if reason))
    more = f"; and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(found[:most]) + more


def verdict(claim: Claim, rows: Any, scale: str) -> Verdict:
    """Return the verdict of a claim over rows at a scale.

    ``holds``: the interval of every deciding part lies above zero. ``fails``: that of any part lies
    below. ``not run``: rows of any quantity are missing; the reason names them. ``undecided``:
    otherwise (an interval spans zero, fewer than three seeds, a premise is not met).

    The effect is that of the weakest part: the worst verdict, then the smallest effect in units
    of its interval's half width.

    Args:
        claim: from `claims`.
        rows: a `frame`, rows one by one, or `Rows` of one scale; other scales are passed over.
        scale: the scale to judge.
    """
    if not isinstance(rows, Rows):
        rows = Rows(row for row in measured(rows) if row.scale == scale)
    parts = _parts(claim, rows)
    deciding = [part for part in parts if part.decides]
    worst = next(
        one
        for one in ("not run", "fails", "undecided", "holds")
        if any(part.verdict == one for part in deciding)
    )
    weakest = min(
        (part for part in deciding if part.verdict == worst), key=lambda part: part.strength
    )
    if worst == "not run":
        reason = _missing(deciding, rows) or weakest.reason
    elif worst == "holds":
        reason = weakest.reason
    else:
        reason = _brief(_where(part) for part in deciding if part.verdict == worst)
    known = worst != "not run"
    return Verdict(
        id=claim.id,
        paper=claim.paper,
        scale=scale,
        verdict=worst,
        effect=weakest.effect if known else None,
        low=weakest.low if known else None,
        high=weakest.high if known else None,
        seeds=weakest.seeds if known else 0,
        reason=reason,
        parts=tuple(parts),
    )


def _missing(parts: Iterable[Part], rows: Rows) -> str:
    """Return which chapters have no rows at all, or which quantities have none, in one line."""
    missing = [one for part in parts for one in part.missing]
    absent = dict.fromkeys(one.chapter for one in missing if one.chapter not in rows.chapters)
    reasons = [f"no rows of chapter {chapter}" for chapter in absent]
    for one in missing:
        if one.chapter not in absent:
            reasons.append(f"no rows of {one.text} in {one.chapter}")
    return _brief(reasons)


def _where(part: Part) -> str:
    """Return the reason of a part that does not hold, with the inequality and cell it is of."""
    if part.reason.startswith("premise"):
        return part.reason
    cell = f" at {part.cell}" if part.cell else ""
    return f"{part.text}{cell}" + (f": {part.reason}" if part.reason else "")


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
        rows: rows to judge instead of the recorded ones, as in `verdict`.

    Raises:
        InputError: if there is no such study or claim.
    """
    chosen = claims(paper)
    if ids is not None:
        ids, known = list(ids), [claim.id for claim in chosen]
        for name in ids:
            if name not in known:
                raise InputError(f"there is no claim '{name}'{did_you_mean(name, known)}")
        chosen = [claim for claim in chosen if claim.id in ids]
    if rows is None:
        scales = [scale] if scale else recorded_scales() or ["mini"]
        by_scale = {name: Rows(recorded_measured(name)) for name in scales}
    else:
        given = measured(rows)
        present = dict.fromkeys(row.scale for row in given)
        scales = [scale] if scale else list(present) or ["mini"]
        by_scale = {name: Rows(row for row in given if row.scale == name) for name in scales}
    return [verdict(claim, by_scale[name], name) for claim in chosen for name in scales]


def counts(found: Iterable[Verdict]) -> dict[str, Counter[str]]:
    """Return study -> how many of its verdicts are of each kind."""
    result = {paper: Counter[str]() for paper in PAPERS}
    for one in found:
        result[one.paper][one.verdict] += 1
    return result


def to_json(found: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Return verdicts as plain objects, without their parts; numbers rounded to 6 digits."""
    return [
        {
            "id": one.id,
            "paper": one.paper,
            "scale": one.scale,
            "verdict": one.verdict,
            "effect": _rounded(one.effect),
            "low": _rounded(one.low),
            "high": _rounded(one.high),
            "seeds": one.seeds,
            "reason": one.reason,
        }
        for one in found
    ]


def _rounded(value: float | None) -> float | None:
    # A difference of equal means is some 1e-15 in floating point: nothing, not an effect.
    return None if value is None else float(f"{round(value, 9) + 0.0:.6g}")
