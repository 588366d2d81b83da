from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from synthbook.record.agreement import compare, unmade
from synthbook.record.rows import Row, provenance

PROVENANCE = provenance()


def row(value: float, seed: int = 0, name: str = "top1_accuracy", **setting: object) -> Row:
    return Row(
        chapter="c", method="plain", train="real", test="real", dataset="d", backbone="",
        setting=setting, metric=name, value=value, seed=seed, scale="mini", provenance=PROVENANCE,
    )  # fmt: skip


def drawn(seed: int, shift: float = 0.0) -> tuple[list[Row], list[Row]]:
    """A run's rows of 60 settings and five recorded seeds' of each, from normal distributions."""
    draw = random.Random(seed)
    recorded = [row(draw.gauss(50, 2), s, k=k) for k in range(60) for s in range(5)]
    return [row(draw.gauss(50, 2) + shift, 0, k=k) for k in range(60)], recorded


def test_equal_rows_agree_and_clocks_do_not_count() -> None:
    recorded = [row(float(seed), seed) for seed in range(5)] + [row(3.0, 0, "relative_cost")]
    made = [row(0.0), row(9.0, 0, "relative_cost"), row(1.0, 0, shots=3)]
    agreement = compare(made, recorded)
    assert (agreement.rows, agreement.compared, agreement.equal) == (2, 1, 1)
    assert agreement.ok
    assert agreement.text == "2 rows, 1 on record for the same seed, 1 equal."


def test_recorded_rows_that_a_whole_run_does_not_make_are_no_agreement() -> None:
    made = [row(1.0), row(2.0, k=1)]
    recorded = [row(9.0), row(2.0, k=2), row(3.0, name="relative_cost")]
    assert unmade(made, recorded) == recorded[1:2]
    agreement = replace(compare(made, made), unmade=1)
    assert not agreement.ok
    assert "2 equal; 1 recorded row that it did not make" in agreement.text
    assert "; 3 recorded rows that it" in replace(agreement, unmade=3).text


def test_a_run_that_is_like_another_seed_agrees() -> None:
    for seed in range(20):
        agreement = compare(*drawn(seed))
        assert agreement.equal == 0
        assert agreement.ok


def test_a_run_that_no_seed_explains_does_not() -> None:
    agreement = compare(*drawn(0, shift=30.0))
    assert not agreement.ok
    assert agreement.text.endswith(
        f"; {agreement.outside} of 60 differ by more than 99 % of what two seeds do."
    )


def test_a_few_rows_outside_agree_and_are_counted_and_the_unit_is_named() -> None:
    recorded = [row(float(seed), seed, k=k) for k in range(60) for seed in range(5)]
    deviation = np.std(range(5), ddof=1) * np.sqrt(2)
    agreement = compare([row(8 * deviation * (k == 0), k=k) for k in range(60)], recorded)
    assert agreement.ok
    assert agreement.text.startswith(
        "60 rows, 60 on record for the same seed, 59 equal; largest difference 8.0 standard "
        "deviations between two seeds ("
    )
    assert agreement.text.endswith(
        "); 1 of 60 differ by more than 99 % of what two seeds do (5 % may)."
    )


@pytest.mark.parametrize(("value", "ok"), [(5.0 + 1e-9, True), (5.1, False)])
def test_where_seeds_never_differ_a_difference_is_not_explained(value: float, ok: bool) -> None:
    agreement = compare([row(value)], [row(5.0, seed) for seed in range(5)])
    assert agreement.ok is ok
    assert agreement.largest == (0.0 if ok else math.inf)
    assert "inf" not in agreement.text
    assert (
        "largest difference in a row that is the same for all seeds" in agreement.text
    ) is not ok


@pytest.mark.parametrize(
    ("value", "device", "ok"),
    [(5.01, "cuda (a GPU)", True), (5.1, "cuda (a GPU)", False), (5.01, "cpu", False)],
)
def test_what_no_seed_changes_may_differ_by_the_rounding_of_a_gpu(
    value: float, device: str, ok: bool
) -> None:
    source = PROVENANCE.model_copy(update={"device": device})
    recorded = [row(5.0, seed).model_copy(update={"provenance": source}) for seed in range(5)]
    agreement = compare([row(value)], recorded)
    assert agreement.ok is ok
    assert ("1 that no seed changes differ by a GPU's rounding, 0.2 %" in agreement.text) is ok


@pytest.mark.parametrize(
    ("there", "here", "moved"),
    [("A", "B", True), ("A", "A", False), ("", "B", False), ("A", "", False)],
)
def test_another_processor_is_named_where_values_differ(there: str, here: str, moved: bool) -> None:
    def on(processor: str, value: float) -> Row:
        source = PROVENANCE.model_copy(update={"processor": processor})
        return row(value).model_copy(update={"provenance": source})

    agreement = compare([on(here, 5.5)], [on(there, 5.0), row(6.0, 1)])
    assert ("; recorded on A, run on B" in agreement.text) is moved
    assert compare([on("B", 5.0)], [on("A", 5.0)]).moved == ""


def test_last_digits_alone_are_said_to_be_that() -> None:
    agreement = compare([row(5.0 + 1e-14)], [row(5.0 + seed, seed) for seed in range(5)])
    assert agreement.ok
    said = "1 rows, 1 on record for the same seed, 0 equal, the others but for their last digits."
    assert agreement.text == said


def test_rows_of_a_gpu_are_said_to_be_of_it() -> None:
    gpu = PROVENANCE.model_copy(update={"processor": "A", "device": "cuda (H100)"})
    cpu = PROVENANCE.model_copy(update={"processor": "A", "device": "cpu"})
    recorded = [row(5.0).model_copy(update={"provenance": gpu}), row(6.0, 1)]
    agreement = compare([row(5.5).model_copy(update={"provenance": cpu})], recorded)
    assert agreement.moved == "; recorded on cuda (H100), run on A"


def test_a_single_seed_on_record_tells_no_spread_so_a_difference_is_told_and_is_none() -> None:
    recorded = [row(5.0, 0, k=1), row(7.0, 0, k=2), row(9.0, 1, k=2), row(3.0, 0, k=3)]
    agreement = compare([row(5.5, k=1), row(7.5, k=2), row(3.0, k=3)], recorded)
    assert agreement.ok
    assert (agreement.compared, agreement.equal, agreement.unmeasured) == (3, 1, 1)
    assert math.isclose(agreement.largest, 0.5 / 2)  # 7 and 9 differ by two, and so do two seeds
    assert "; 1 differ where one seed is on record" in agreement.text
    agreement = compare([row(5.5, k=1)], recorded)
    assert "last digits" not in agreement.text
    assert "two seeds" not in agreement.text


def test_a_single_seed_on_record_hides_no_disagreement_elsewhere() -> None:
    several = [row(float(seed), seed, k=2) for seed in range(5)]
    made = [row(5.5, k=1), row(900.0, k=2)]
    assert not compare(made, [row(5.0, 0, k=1), *several]).ok
    assert compare([row(5.0 + 1e-14, k=1)], [row(5.0, 0, k=1)]).unmeasured == 0


def test_nothing_on_record_is_said() -> None:
    agreement = compare([row(1.0)], [])
    assert agreement.ok
    assert "none of them on record" in agreement.text


@pytest.mark.parametrize(("strange", "outside"), [(0, 0), (3, 0), (5, 0), (6, 10), (10, 10)])
def test_a_curve_is_outside_when_most_of_its_points_are(strange: int, outside: int) -> None:
    """One training's rows hang together: some points of its curve are no several disagreements."""

    def at(epoch: int, value: float, seed: int = 0) -> Row:
        return row(value, seed).model_copy(update={"setting": {"epoch": epoch}})

    recorded = [at(epoch, 100.0, seed) for epoch in range(10) for seed in range(5)]
    run = [at(epoch, 95.0 if epoch < strange else 100.0) for epoch in range(10)]
    agreement = compare(run, recorded)
    assert (agreement.compared, agreement.outside) == (10, outside)
    assert agreement.ok is not bool(outside)


def test_the_bound_is_students_at_99_percent_for_the_seeds_on_record() -> None:
    for seeds in range(2, 14):
        recorded = [row(float(seed), seed) for seed in range(seeds)]
        values = [one.value for one in recorded]
        freedom = min(seeds - 1, 10)
        bound = t.ppf(0.995, freedom) * np.std(values, ddof=1) * np.sqrt(2)
        for share, outside in ((0.98, 0), (1.02, 1)):
            assert compare([row(share * bound)], recorded).outside == outside, seeds
