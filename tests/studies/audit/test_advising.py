"""Advice: every rule both ways, and what holds for all of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from synthbook.store import root
from synthbook.studies import audit
from synthbook.studies.audit import advising, findings


def report(**changes) -> audit.Report:
    """Return a report without any finding, over four seeds, with ``changes``."""
    same = (0.90, 0.91, 0.89, 0.90)
    names = ("recall", "coverage", "precision", "appearance", "near_zero_loss", "high_loss")
    values = {name + end: same for name in names for end in ("", audit.FLOOR)}
    values |= {"asymmetry": (0.1, -0.1, 0.2, -0.2)}
    values |= {f"{name}_drop": same for name in ("synthetic_to_real", "real_to_synthetic")}
    accuracy = {(train, "real"): (80.0, 81.0, 80.5, 79.5)
                for train in ("real", "generated", "real+generated")}  # fmt: skip
    copies = dict.fromkeys(
        ("equal_generated_in_train", "equal_generated_in_held_out", "equal_held_out_in_train",
         "near_train", "near_train_unseen", "near_test", "near_test_train", "copying_z"), 0,
    )  # fmt: skip
    copies |= dict.fromkeys(("n_generated", "n_unseen", "n_train"), 500)
    copies |= {"n_all_generated": 500, "n_all_unseen": 500}
    for name, value in changes.items():
        table = next(t for t in (copies, values) if name in t)
        table[name] = value
    counts = {"real": 300, "generated": 300, "unseen": 500}
    return audit.Report(values, accuracy, copies, counts, (0, 1, 2, 3))


def trained(source: str, *numbers: float) -> audit.Report:
    base = report()
    return dataclasses.replace(base, accuracy={**base.accuracy, (source, "real"): numbers})


def severity(found: audit.Report, topic: str) -> str:
    return {one.topic: one.severity for one in audit.advice(found)}[topic]


@pytest.mark.parametrize(
    ("changes", "topic", "expected"),
    [
        ({}, "equal images", "ok"),
        ({"equal_generated_in_train": 1}, "equal images", "stop"),
        ({"equal_generated_in_train": 3, "equal_held_out_in_train": 4}, "equal images", "warn"),
        ({"equal_generated_in_train": 90, "equal_held_out_in_train": 4}, "equal images", "stop"),
        ({"near_train": 1}, "near copies", "warn"),
        ({"near_train": 40}, "near copies", "stop"),
        ({"near_train": 40, "near_train_unseen": 41}, "near copies", "ok"),
        ({"copying_z": -2.9}, "distance to training images", "ok"),
        ({"copying_z": -3.1}, "distance to training images", "warn"),
        ({"equal_generated_in_held_out": 1}, "test images", "stop"),
        ({"equal_generated_in_held_out": 1, "equal_held_out_in_train": 1}, "test images", "warn"),
        ({"near_test": 40}, "test images", "stop"),
        ({"recall": (0.5, 0.6, 0.5, 0.6)}, "content", "warn"),
        ({"coverage": (0.5, 0.6, 0.5, 0.6)}, "content", "warn"),
        ({"recall": (0.95, 0.96, 0.95, 0.96)}, "content", "ok"),
        ({"precision": (0.5, 0.6, 0.5, 0.6)}, "quality", "warn"),
        ({"precision": (0.5, 1.0, 0.6, 1.2)}, "quality", "ok"),  # the interval spans zero
        ({"appearance": (0.99, 1.0, 0.99, 1.0)}, "appearance", "warn"),
        ({"asymmetry": (3.0, 4.0, 5.0, 4.0)}, "direction of the gap", "warn"),
        ({"near_zero_loss": (0.99, 0.98, 0.99, 0.98)}, "new to a classifier", "warn"),
        ({"high_loss": (0.99, 0.98, 0.99, 0.98)}, "labels", "warn"),
    ],
)
def test_each_rule_both_ways(changes, topic, expected):
    assert severity(report(**changes), topic) == expected


def test_training_helps_hurts_or_is_undecided():
    topic = "added to real images"
    assert severity(trained("real+generated", 85, 86, 85, 86), topic) == "ok"
    assert severity(trained("real+generated", 75, 76, 75, 76), topic) == "stop"
    unclear = trained("real+generated", 78, 83, 79, 82)
    assert severity(unclear, topic) == "warn"
    assert "spans zero" in {one.topic: one.so for one in audit.advice(unclear)}[topic]
    assert severity(trained("generated", 60, 61, 60, 61), "in place of real images") == "warn"
    assert severity(trained("generated", 85, 86, 85, 86), "in place of real images") == "ok"


def test_more_missing_than_distorted():
    low, mid = (0.5, 0.51, 0.52, 0.5), (0.8, 0.81, 0.82, 0.8)
    so = {one.topic: one.so for one in audit.advice(report(recall=low, precision=mid))}
    assert "more is missing than distorted" in so["content"]
    so = {one.topic: one.so for one in audit.advice(report(recall=mid, precision=low))}
    assert "more is missing" not in so["content"]


def test_one_seed_decides_nothing_that_needs_an_interval():
    full = report()
    single = audit.Report(
        {name: numbers[:1] for name, numbers in full.values.items()},
        {pair: numbers[:1] for pair, numbers in full.accuracy.items()},
        full.copies, full.counts, (0,),
    )  # fmt: skip
    found = audit.advice(single)
    undecided = [one for one in found if one.so.startswith("undecided: one seed")]
    assert len(undecided) == len(advising.OVER_SEEDS)
    assert all(one.severity == "warn" for one in undecided)


def test_advice_is_complete_and_the_gravest_comes_first():
    found = audit.advice(report(near_train=40, recall=(0.5, 0.6, 0.5, 0.6)))
    assert len(found) == len(advising.RULES) == len({one.topic for one in found})
    order = [findings.SEVERITIES.index(one.severity) for one in found]
    assert order == sorted(order)
    assert order[0] == 0
    chapters = {path.stem for path in (root() / "notebooks").glob("*.py")}
    assert {one.chapter for one in found} - {""} <= chapters


def test_rates_are_agresti_and_caffo():
    gap = findings.rates(0, 98, 0, 98)  # both become 1 of 100
    half = 1.96 * np.sqrt(2 * 0.01 * 0.99 / 100)
    np.testing.assert_allclose([gap.mean, gap.low, gap.high], [0, -half, half])
    assert gap.sign == 0
    assert findings.rates(30, 100, 2, 100).sign == 1
    assert findings.rates(2, 100, 30, 100).sign == -1


def test_rows_are_distinct_and_the_table_is_safe():
    rows = list(report().rows())
    keys = {(r["method"], r["train"], r["test"], r["metric"], r["seed"]) for r in rows}
    assert len(keys) == len(rows)
    text = audit.advice_table([audit.Advice("stop", "a<b", "x<y", "so", "nothing")]).data
    assert "a&lt;b" in text
    assert "x&lt;y" in text
    assert "Do:" not in text
