"""Claims of the Data Instance Prior on rows made up for models that have settled or have not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from synthbook.claims.catalogue import find, included, premises
from synthbook.claims.decide import Verdict, verdict
from synthbook.claims.language import Check
from synthbook.record.rows import IDENTITY

Fields = dict[str, Any]
VALUES = {"late_gain": 0.0, "last_fd": 10.0, "best_fd": 10.0, "ivom": 3.0}  # others: 3
PARTS = {"42_dip_limited_data": "finetuning", "43_dip_large_scale": "methods"}
ERRORS = {"DIP": 1.0, "mean image": 5.0, "untrained": 5.0}  # of inversion, by method


def checks(check: Check) -> Iterator[Check]:
    yield check
    for name in check.named:
        yield from checks(premises()[name].check)


def judged(claim: str, value: Callable[[Fields], float | None]) -> Verdict:
    """Return the verdict on a row a seed of all that a claim and its premises ask for.

    Rows have the values of ``value``, and where that is None the usual ones.
    """
    (asked,) = find([claim])
    held: dict[tuple[str, str], list[Fields]] = {}
    for check in (one for part in included(asked) for one in checks(part.check)):
        for name in check.let:
            for fields in (check.quantity(name, one) for one in check.bindings([name])):
                row = dict.fromkeys((*IDENTITY, *check.cells), "") | {"dataset": "d"} | fields
                if "part" in check.cells and "part" not in fields:
                    row["part"] = PARTS[row["chapter"]]
                rows = held.setdefault((row["chapter"], row["metric"]), [])
                given = value(row)
                number = VALUES.get(row["metric"], 3.0) if given is None else given
                rows += [row | {"seed": seed, "value": number} for seed in range(5)]
    unique = {
        key: list({repr(sorted(row.items(), key=str)): row for row in rows}.values())
        for key, rows in held.items()
    }
    return verdict(asked, unique, "mini")


def limited(row: Fields) -> float | None:
    """Make the prior without labels the better one with few images, and the worse one with many."""
    if row["prior"] != "self-supervised":
        return None
    few = row["chapter"] == "42_dip_limited_data"
    return {"best_fd": 8.0 if few else 11.0, "last_fd": 11.0}.get(row["metric"])


def test_networks_with_either_prior_have_settled_on_limited_data() -> None:
    def late(row: Fields) -> float | None:
        other = (row["metric"], row["prior"]) == ("late_gain", "self-supervised")
        return 0.2 if other and row["chapter"] == "42_dip_limited_data" else limited(row)

    assert judged("dip-12", limited).verdict == "holds"
    found = judged("dip-12", late)
    assert found.verdict == "undecided"
    assert "premise limited_dip_settled" in found.reason
    assert "prior=self-supervised" in found.reason


def test_what_another_prior_does_says_nothing_of_a_claim_about_one() -> None:
    def value(row: Fields) -> float | None:
        if row["metric"] == "late_gain" and row["prior"] == "self-supervised":
            return 0.2
        return {"supervised": 8.0}.get(row["prior"]) if row["metric"] == "best_fd" else None

    assert judged("dip-10", value).verdict == "holds"


@pytest.mark.parametrize("prior", ["supervised", "self-supervised"])
@pytest.mark.parametrize(("metric", "number"), [("late_gain", 0.06), ("last_fd", 11.1)])
def test_a_generator_that_is_inverted_has_neither_to_learn_nor_broken_down(
    prior, metric, number
) -> None:
    def drawn(row: Fields) -> float | None:
        return ERRORS.get(row["method"]) if row["metric"] == "ivom" else None

    def unsettled(row: Fields) -> float | None:
        of_it = row["chapter"] == "43_dip_large_scale" and row["metric"] == metric
        return number if of_it and row["prior"] == prior else drawn(row)

    assert judged("dip-19", drawn).verdict == "holds"
    found = judged("dip-19", unsettled)
    assert found.verdict == "undecided"
    assert "premise inverted_dip_settled" in found.reason
