from __future__ import annotations

import math
import random

import pytest

from synthbook.record.agreement import compare
from synthbook.record.rows import Row

PROVENANCE = {
    "time": "2025-01-02T03:04:05Z", "version": "0.1", "commit": None, "dirty": None,
    "device": "cpu", "torch": None, "threads": 1, "parameters": "p", "seconds": 1.0,
}  # fmt: skip


def row(value: float, seed: int = 0, name: str = "top1_accuracy", **setting: object) -> Row:
    return Row(
        chapter="c", method="plain", train="real", test="real", dataset="d", backbone="",
        setting=setting, metric=name, value=value, seed=seed, scale="mini", provenance=PROVENANCE,
    )  # fmt: skip


def drawn(count: int, seed: int, shift: float = 0.0) -> list[list[float]]:
    """Five seeds' values and a sixth, of ``count`` settings, all from one normal distribution."""
    draw = random.Random(seed)
    return [
        [draw.gauss(50, 2) for _ in range(5)] + [draw.gauss(50, 2) + shift] for _ in range(count)
    ]


def test_equal_rows_agree_and_clocks_do_not_count() -> None:
    recorded = [row(float(seed), seed) for seed in range(5)] + [row(3.0, 0, "relative_cost")]
    made = [row(0.0), row(9.0, 0, "relative_cost"), row(1.0, 0, shots=3)]
    agreement = compare(made, recorded)
    assert (agreement.rows, agreement.compared, agreement.equal) == (2, 1, 1)
    assert agreement.ok
    assert agreement.text == "2 rows, 1 on record for the same seed, 1 equal."


def test_a_run_that_is_like_another_seed_agrees() -> None:
    for seed in range(20):
        sets = drawn(60, seed)
        recorded = [row(v, s, k=k) for k, of in enumerate(sets) for s, v in enumerate(of[:5])]
        agreement = compare([row(of[5], 0, k=k) for k, of in enumerate(sets)], recorded)
        assert agreement.equal == 0
        assert agreement.ok


def test_a_run_that_no_seed_explains_does_not() -> None:
    sets = drawn(60, 0, shift=30.0)
    recorded = [row(v, s, k=k) for k, of in enumerate(sets) for s, v in enumerate(of[:5])]
    agreement = compare([row(of[5], 0, k=k) for k, of in enumerate(sets)], recorded)
    assert not agreement.ok
    assert "differ by more than seeds explain" in agreement.text


@pytest.mark.parametrize(("value", "ok"), [(5.0 + 1e-9, True), (5.1, False)])
def test_where_seeds_never_differ_a_difference_is_not_explained(value: float, ok: bool) -> None:
    agreement = compare([row(value)], [row(5.0, seed) for seed in range(5)])
    assert agreement.ok is ok
    assert agreement.largest == (0.0 if ok else math.inf)


def test_nothing_on_record_is_said() -> None:
    agreement = compare([row(1.0)], [])
    assert agreement.ok
    assert "none of them on record" in agreement.text
