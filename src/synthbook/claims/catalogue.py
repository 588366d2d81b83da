"""The claims of the studies and their premises, read from ``book/paper`` and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from synthbook.claims.language import (
    Check,
    Claim,
    Expression,
    Fields,
    Premise,
    Requirement,
    Trend,
    inequalities,
)  # fmt: skip
from synthbook.errors import InputError, did_you_mean
from synthbook.record.metrics import METRICS, PRODUCES, Metric
from synthbook.record.rows import first_fault
from synthbook.store import root

PAPERS = ("gap", "ready", "dip", "fake", "prim")
CORRELATION = "(rank correlation)"  # in the place of a unit


@cache
def _load(path: Path, stamp: int, kind: type[Claim] | type[Premise]) -> list[Any]:
    """Return the claims or premises of a file; ``stamp`` is its time of change."""
    import yaml

    try:
        entries = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        entries = TypeAdapter(list[kind]).validate_python(entries)
    except ValidationError as error:
        raise InputError(f"'{path}', entry (from 0) {first_fault(error)}; mend it there") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        said = " ".join(str(error).split())[:300]
        raise InputError(f"'{path}' is no YAML ({said}); mend it there") from None
    known = premises() if kind is Claim else {entry.id: entry for entry in entries}
    for entry in entries:
        try:
            if entry.check:
                _check(entry, known)
        except InputError as error:
            raise InputError(f"'{path}', {entry.id}: {error}") from None
    return entries


def _check(entry: Claim | Premise, known: Mapping[str, Premise]) -> None:
    """Raise an `InputError` if rows can never answer a check."""
    check = entry.check
    if isinstance(entry, Claim) and check.evidence is None:
        raise InputError("'evidence' is missing; give the paper's cells, or say where they stand")
    for name, wanted in _quantities(check):
        if (chapter := wanted["chapter"]) not in PRODUCES:
            raise InputError(
                f"{name}: PRODUCES of record/metrics.py has no chapter '{chapter}'"
                f"{did_you_mean(str(chapter), PRODUCES) or '; add it there'}"
            )
        for key, listed in PRODUCES[chapter]._asdict().items():
            if (value := wanted.get(key)) is not None and value not in listed:
                where = f"is in chapter {chapter}{did_you_mean(str(value), listed)}"
                raise InputError(f"{name}: no {key} '{value}' {where}")
    others = [one for item in (*check.trend, *check.beside) for one in item.expressions]
    inline = [text for text in check.premises if text not in check.named]
    for value in (*others, *(one for text in inline for one in inequalities(text))):
        unit_of(check, value)
    units = {unit_of(check, one) for item in check.require for one in item.expressions}
    if check.margin and len(units) > 1:
        raise InputError(f"one margin for effects in {sorted(units)}; give each inequality its own")
    if entry.id in _reached(check, known):
        raise InputError("it is a premise of itself")


def _reached(check: Check, known: Mapping[str, Premise]) -> dict[str, Premise]:
    """Return the named premises of a check, and theirs."""
    found, ahead = {}, [*check.named]
    while ahead:
        name = ahead.pop()
        if name not in known:
            raise InputError(f"there is no premise '{name}'{did_you_mean(name, known)}")
        ahead += () if name in found else known[name].check.named
        found[name] = known[name]
    return found


def premises() -> dict[str, Premise]:
    """Return the named premises of all studies."""
    return {premise.id: premise for premise in _file("premises", Premise)}


def _file(name: str, kind: type[Claim] | type[Premise]) -> list[Any]:
    path = root() / "book" / "paper" / f"{name}.yml"
    return _load(path, path.stat().st_mtime_ns, kind) if path.is_file() else []


def claims(paper: str | None = None) -> list[Claim]:
    """Return the claims of a study, or of all five, in the order of their files."""
    if paper not in (None, *PAPERS):
        hint = did_you_mean(paper, PAPERS)
        raise InputError(f"there is no study '{paper}'{hint}; the studies are {', '.join(PAPERS)}")
    names = [paper] if paper else PAPERS
    return [claim for name in names for claim in _file(f"claims_{name}", Claim)]


def find(ids: Iterable[str]) -> list[Claim]:
    """Return the claims of these ids, in their order."""
    known, ids = {claim.id: claim for claim in claims()}, list(ids)
    if unknown := next((name for name in ids if name not in known), None):
        raise InputError(f"there is no claim '{unknown}'{did_you_mean(unknown, known)}")
    return [known[name] for name in ids]


def _quantities(check: Check) -> list[tuple[str, Fields]]:
    pairs = ((name, held) for name in check.let for held in check.bindings([name]))
    return [(name, check.quantity(name, held)) for name, held in pairs]


def included(claim: Claim) -> list[Claim]:
    """Return a claim with a check, after those that it includes."""
    held = find(claim.check.include) if claim.check and claim.check.include else []
    return [*(one for other in held for one in included(other)), *([claim] if claim.check else [])]


def claim_quantities(claim: Claim) -> list[tuple[str, Fields]]:
    """Return name and fields of each quantity of a claim, with placeholders filled.

    Those of the claims that it includes come first; those of named premises do not count.
    """
    return [pair for one in included(claim) for pair in _quantities(one.check)]


def chapters_of(claim: Claim) -> list[str]:
    """Return the chapters whose rows a claim reads, also through the claims that it includes."""
    return sorted({str(wanted["chapter"]) for _, wanted in claim_quantities(claim)})


def deciding_chapters(claim: Claim) -> list[str]:
    """Return the chapters whose rows decide on a claim: those it reads, and its premises'."""
    held = (_reached(one.check, premises()).values() for one in included(claim))
    checks = [premise.check for some in held for premise in some]
    read = (wanted["chapter"] for check in checks for _, wanted in _quantities(check))
    return sorted({*map(str, read), *chapters_of(claim)})


def claims_of(chapter: str) -> list[Claim]:
    """Return the claims of all studies that read the rows of a chapter."""
    return [claim for claim in claims() if chapter in chapters_of(claim)]


def unit_of(check: Check, value: Expression, item: Requirement | Trend | None = None) -> str:
    """Return the unit of an expression's value, or of the effect of a requirement or trend."""
    if isinstance(item, Trend) and item.by == "spearman":
        return CORRELATION
    metrics = {name: check.quantity(name)["metric"] for name in value.names}
    return value.unit({name: METRICS.get(m, Metric("", "")).unit for name, m in metrics.items()})
