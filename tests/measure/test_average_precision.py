"""Average precision: equal to VOC's loops written out, and to what can be said without them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbook.data.boxed import Boxed, Detections, Objects, in_memory
from synthbook.errors import InputError
from synthbook.measure.average_precision import (
    Ranked,
    area,
    average_precisions,
    curve,
    eleven,
    hits,
    mean_average_precision,
)


def boxed(objects: list[Objects], classes: int = 2) -> Boxed:
    images = np.zeros((len(objects), 40, 40, 3), np.uint8)
    return in_memory(images, objects, [f"class {k}" for k in range(classes)], "drawn")


def truth(*boxes: tuple[float, ...], labels: list[int] | None = None, difficult=()) -> Objects:
    marks = np.isin(np.arange(len(boxes)), difficult)
    given = np.array(boxes, np.float32).reshape(-1, 4)
    return Objects(given, np.array(labels or [0] * len(boxes), np.int64), marks)


def found(*boxes: tuple[float, ...], scores: list[float], labels=None) -> Detections:
    given = np.array(boxes, np.float32).reshape(-1, 4)
    numbers = np.array(labels or [0] * len(boxes), np.int64)
    return Detections(given, numbers, np.array(scores, np.float32))


def drawn(seed: int, images: int, classes: int) -> tuple[list[Detections], Boxed]:
    """Return objects on a coarse grid, and detections near them: overlaps, doubles and misses."""
    draw = np.random.default_rng(seed)

    def boxes(count: int) -> np.ndarray:
        corners = draw.integers(0, 6, (count, 2)) * 5
        return np.concatenate([corners, corners + draw.integers(1, 3, (count, 2)) * 5], 1)

    objects, detections = [], []
    for k in range(images):
        count = int(draw.integers(0, 5)) + (classes if k == 0 else 0)
        labels = draw.integers(0, classes, count)
        difficult = draw.random(count) < 0.3
        if k == 0:  # each class has an object
            labels[:classes], difficult[:classes] = np.arange(classes), False
        here = boxes(count)
        objects.append(Objects(here.astype(np.float32), labels, difficult))
        near = here[draw.integers(0, count, 4)] if count else boxes(4)
        near = (near + draw.integers(-1, 2, near.shape)).clip(0, 40)
        near = np.concatenate([near, boxes(3)])
        kinds = draw.integers(0, classes, len(near))
        if count:
            kinds[:4] = labels[draw.integers(0, count, 4)]
        scores = draw.permutation(7) / 7 + k / 1000  # no two are alike
        detections.append(Detections(near.astype(np.float32), kinds, scores.astype(np.float32)))
    return detections, boxed(objects, classes)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    both = across * down
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def by_loops(detections: list[Detections], truths: Boxed, k: int, overlap: float, rule: str):
    """Average precision of class ``k`` as VOC's development kit says it, box by box."""
    entries = [
        (float(seen.scores[j]), image, seen.boxes[j].astype(float))
        for image, seen in enumerate(detections)
        for j in range(len(seen))
        if seen.labels[j] == k
    ]
    entries.sort(key=lambda entry: -entry[0])
    taken, right, wrong, points = set(), 0, 0, []
    total = sum(
        1 for o in truths.objects for j in range(len(o)) if o.labels[j] == k and not o.difficult[j]
    )
    for _, image, box in entries:
        objects, best, which = truths.objects[image], -1.0, -1
        for j in range(len(objects)):
            if objects.labels[j] == k and iou(box, objects.boxes[j].astype(float)) > best:
                best, which = iou(box, objects.boxes[j].astype(float)), j
        if best >= overlap:
            if objects.difficult[which]:
                continue
            if (image, which) in taken:
                wrong += 1
            else:
                taken.add((image, which))
                right += 1
        else:
            wrong += 1
        points.append((right / total, right / (right + wrong)))

    def most(level: float) -> float:
        return max((p for r, p in points if r >= level), default=0.0)

    if rule == "eleven":
        return 100 * sum(most(j / 10) for j in range(11)) / 11
    return 100 * sum(most(j / total) for j in range(1, total + 1)) / total


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 3), st.sampled_from([0.3, 0.5, 0.7])
)
def test_it_is_what_the_loops_say(seed: int, images: int, classes: int, overlap: float) -> None:
    detections, truths = drawn(seed, images, classes)
    for rule in ("area", "eleven"):
        ours = average_precisions(detections, truths, overlap=overlap, rule=rule)
        theirs = [by_loops(detections, truths, k, overlap, rule) for k in range(classes)]
        assert ours == pytest.approx(theirs)
        mean = mean_average_precision(detections, truths, overlap=overlap, rule=rule)
        assert mean == pytest.approx(np.mean(theirs))


@given(st.integers(1, 8), st.integers(0, 8))
def test_right_ones_before_wrong_ones_give_recall(right: int, missed: int) -> None:
    """Of r + m objects r are found, and nothing wrong stands above: r / (r + m)."""
    one = Ranked(np.array([True] * right + [False] * 3), right + missed)
    recall = right / (right + missed)
    assert area(*curve(one)) == pytest.approx(recall)
    levels = [10 * right >= k * (right + missed) for k in range(11)]
    assert eleven(*curve(one)) == pytest.approx(sum(levels) / 11)


@given(st.integers(0, 9), st.integers(1, 6))
def test_wrong_ones_before_the_only_right_one(wrong: int, objects: int) -> None:
    one = Ranked(np.array([False] * wrong + [True]), objects)
    assert area(*curve(one)) == pytest.approx(1 / (wrong + 1) / objects)


def test_nothing_found_is_zero() -> None:
    nothing = found(scores=[])
    objects = boxed([truth((0, 0, 9, 9))], 1)
    assert average_precisions([nothing], objects).tolist() == [0]
    assert average_precisions([nothing], objects, rule="eleven").tolist() == [0]


def test_an_overlap_of_just_half_is_enough() -> None:
    objects = truth((0, 0, 10, 10))
    assert hits(found((0, 0, 10, 5), scores=[1]), objects, 0.5).tolist() == [1]
    assert hits(found((0, 0, 10, 4.9), scores=[1]), objects, 0.5).tolist() == [0]


def test_of_two_on_one_object_the_surer_is_right() -> None:
    objects = truth((0, 0, 10, 10))
    both = found((0, 0, 10, 9), (0, 0, 10, 10), scores=[0.9, 0.8])
    assert hits(both, objects, 0.5).tolist() == [1, 0]
    other = found((0, 0, 10, 9), (0, 0, 10, 10), scores=[0.9, 0.8], labels=[1, 0])
    assert hits(other, objects, 0.5).tolist() == [0, 1]


def test_difficult_objects_count_neither_way() -> None:
    objects = truth((0, 0, 10, 10), (20, 20, 30, 30), difficult=[1])
    seen = found((20, 20, 30, 30), (20, 20, 30, 29), (0, 0, 10, 10), scores=[0.9, 0.8, 0.7])
    assert hits(seen, objects, 0.5).tolist() == [-1, -1, 1]
    assert average_precisions([seen], boxed([objects], 1)).tolist() == [100]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_scores_matter_by_their_order_alone(seed: int) -> None:
    detections, truths = drawn(seed, 4, 2)
    other = [Detections(d.boxes, d.labels, np.exp(3 * d.scores) - 9) for d in detections]
    assert average_precisions(other, truths) == pytest.approx(
        average_precisions(detections, truths)
    )
    back = truths.subset(range(len(truths))[::-1])
    assert average_precisions(detections[::-1], back) == pytest.approx(
        average_precisions(detections, truths)
    )


def test_a_class_without_objects_has_no_average_precision() -> None:
    seen = [found((0, 0, 9, 9), scores=[1])]
    hard = truth((0, 0, 9, 9), (9, 9, 20, 20), labels=[0, 1], difficult=[1])
    with pytest.raises(InputError, match="class 'class 1' has no box in 'drawn'"):
        average_precisions(seen, boxed([hard]))
    assert average_precisions(seen, boxed([hard]).of_classes(["class 0"])).tolist() == [100]


def test_what_cannot_be_rated_is_refused() -> None:
    objects = boxed([truth((0, 0, 9, 9))], 1)
    with pytest.raises(InputError, match="detections of 0 images, and 'drawn' has 1"):
        average_precisions([], objects)
    with pytest.raises(InputError, match="overlap = 0"):
        average_precisions([found(scores=[])], objects, overlap=0)
    with pytest.raises(InputError, match="rule 'coco' is not known"):
        average_precisions([found(scores=[])], objects, rule="coco")
