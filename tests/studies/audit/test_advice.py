"""Advice: every rule both ways, and what holds for all of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from synthbook.data import ImageSet
from synthbook.store import root
from synthbook.studies.audit import Advice, Report, advice_html, advise
from synthbook.studies.audit.advice import RULES, SEVERITIES
from synthbook.studies.audit.images import Pool
from synthbook.studies.audit.measures import FLOOR, Copies, Lessons
from synthbook.studies.audit.remedies import Remedies

REAL = (80.0, 81.0, 80.5, 79.5)
NONE = ImageSet(np.zeros((0, 8, 8, 1), np.uint8), np.zeros(0, int), ("a", "b"), "none")
IDENTITY = {"dataset": "d", "backbone": "b", "generator": "g", "extractor": "e"}


def report(remedies: Remedies | None = None, **changes) -> Report:
    """Return a report without any finding, over four seeds, with ``changes``."""
    same = (0.90, 0.91, 0.89, 0.90)
    names = ("recall", "coverage", "precision", "appearance", "near_zero_loss", "high_loss")
    values = {name + end: same for name in names for end in ("", FLOOR)}
    values |= {"asymmetry": (0.1, -0.1, 0.2, -0.2)}
    values |= {f"{name}_drop": same for name in ("synthetic_to_real", "real_to_synthetic")}
    accuracy = {(train, "real"): REAL for train in ("real", "generated", "real+generated")}
    copies = dict.fromkeys(
        ("equal_generated_in_train", "equal_generated_in_held_out", "equal_held_out_in_train",
         "near_train", "near_train_unseen", "near_test", "near_test_train", "copying_z"), 0,
    )  # fmt: skip
    sizes = ("n_generated", "n_unseen", "n_train", "n_all_generated", "n_all_unseen")
    copies |= dict.fromkeys(sizes, 500)
    counts = {"real": 300, "generated": 300}
    for name, value in changes.items():
        next(t for t in (copies, values, counts) if name in t)[name] = value
    empty = np.zeros(0)
    return Report(
        (0, 1, 2, 3), values, Copies(copies, empty, empty, empty, empty),
        Lessons(accuracy, {}, counts, NONE, empty, empty, empty), remedies, IDENTITY,
        Pool(NONE, NONE),
    )  # fmt: skip


def trained(source: str, *numbers: float, **changes) -> Report:
    base = report(**changes)
    accuracy = {**base.lessons.accuracy, (source, "real"): numbers}
    return dataclasses.replace(base, lessons=dataclasses.replace(base.lessons, accuracy=accuracy))


def tried(**gains) -> Remedies:
    """Return accuracies so many points above those of real images alone, seed by seed."""
    accuracy = {"real": REAL, "generated": tuple(a - 10 for a in REAL)}
    accuracy |= {name: tuple(np.add(REAL, gain).tolist()) for name, gain in gains.items()}
    trained = dict.fromkeys(accuracy, "real+generated") | {"real": "real", "generated": "generated"}
    return Remedies(accuracy, trained, 100)


def entry(found: Report, topic: str) -> Advice:
    return {entry.topic: entry for entry in advise(found)}[topic]


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
    assert entry(report(**changes), topic).severity == expected


def test_training_helps_hurts_or_is_undecided():
    topic = "added to real images"
    assert entry(trained("real+generated", 85, 86, 85, 86), topic).severity == "ok"
    assert entry(trained("real+generated", 75, 76, 75, 76), topic).severity == "stop"
    unclear = entry(trained("real+generated", 78, 83, 79, 82), topic)
    assert unclear.severity == "warn"
    assert "spans zero" in unclear.so
    topic = "in place of real images"
    assert entry(trained("generated", 60, 61, 60, 61), topic).severity == "warn"
    assert entry(trained("generated", 85, 86, 85, 86), topic).severity == "ok"


def test_fewer_generated_images_are_said_to_be_fewer():
    few = {"generated": 200}
    worse = entry(trained("generated", 60, 61, 60, 61, **few), "in place of real images")
    assert worse.so.endswith("not so few of them")
    assert "with 200 images, not 300" in worse.measured
    better = entry(trained("generated", 85, 86, 85, 86, **few), "in place of real images")
    assert better.severity == "ok"


def test_more_missing_than_distorted():
    low, mid = (0.5, 0.51, 0.52, 0.5), (0.8, 0.81, 0.82, 0.8)
    assert "more is missing" in entry(report(recall=low, precision=mid), "content").so
    assert "more is missing" not in entry(report(recall=mid, precision=low), "content").so


def test_a_remedy_helps_does_not_or_is_undecided():
    up, down, unclear = (2, 3, 2, 3), (-2, -3, -2, -3), (-4, 2, -3, 0)
    one = entry(report(tried(Aug=unclear, RG=up, DANN=down)), "remedies")
    assert one.severity == "ok"
    assert one.so == "helps: RG; does not help: DANN; undecided: Aug (the interval spans zero)"
    assert "train with RG" in one.do
    assert "RG +2.5 [" in one.measured
    assert "better than mixing (Aug): RG" in one.measured
    one = entry(report(tried(Aug=down, RG=down)), "remedies")
    assert (one.severity, one.so) == ("warn", "does not help: Aug, RG")
    assert "real images alone" in one.do
    one = entry(report(tried(Aug=unclear, RG=down)), "remedies")
    assert one.severity == "warn"
    assert one.do == "run more seeds: -p seeds 8"


def test_what_beats_mixing_is_named_before_what_helps():
    one = entry(report(tried(Aug=(2, 3, 2, 3), RG=(2, 3, 2.5, 2.5), DANN=(5, 6, 5, 6))), "remedies")
    assert one.so == "helps: Aug, RG, DANN"
    assert one.do.startswith("train with DANN,")
    one = entry(report(tried(Aug=(2, 3, 2, 3), RG=(2, 3, 2, 3))), "remedies")
    assert one.do.startswith("train with Aug or RG,")


def test_generated_images_alone_are_no_remedy_and_none_tried_is_said():
    assert "generated" not in entry(report(tried(Aug=(1, 2, 1, 2))), "remedies").so
    assert entry(report(), "remedies").so.startswith("not known")


def test_one_seed_decides_nothing_that_needs_an_interval():
    full = report()
    accuracy = {pair: numbers[:1] for pair, numbers in full.lessons.accuracy.items()}
    single = dataclasses.replace(
        full, seeds=(0,), nearness={name: numbers[:1] for name, numbers in full.nearness.items()},
        lessons=dataclasses.replace(full.lessons, accuracy=accuracy),
    )  # fmt: skip
    counted = {"equal images", "near copies", "distance to training images", "test images"}
    undecided = [one for one in advise(single) if one.so.startswith("undecided: one seed")]
    assert {one.topic for one in undecided} == set(RULES) - counted
    assert all(one.severity == "warn" for one in undecided)


def test_advice_is_complete_and_the_gravest_comes_first():
    found = advise(report(near_train=40, recall=(0.5, 0.6, 0.5, 0.6)))
    assert sorted(one.topic for one in found) == sorted(RULES)
    order = [SEVERITIES.index(one.severity) for one in found]
    assert order == sorted(order)
    assert order[0] == 0
    chapters = {path.stem for path in (root() / "notebooks").glob("*.py")}
    assert {chapter for chapter, _, _ in RULES.values()} - {""} <= chapters


def test_rows_are_distinct_and_advice_is_safe_as_html():
    rows = list(report(tried(Aug=(1, 2, 1, 2))).rows())
    names = ("method", "train", "test", "metric", "seed", "part")
    assert len({tuple(row.get(name) for name in names) for row in rows}) == len(rows)
    assert sum("part" in row for row in rows) == 3 * 4
    assert all(row.items() >= IDENTITY.items() for row in rows)
    text = advice_html([Advice("stop", "a<b", "x<y", "so")]).data
    assert "a&lt;b" in text
    assert "x&lt;y" in text
    assert "Do:" not in text
