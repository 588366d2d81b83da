"""Images with boxes: what is checked of them, and how they are cut and joined."""

from __future__ import annotations

import numpy as np
import pytest

from synthbook.data.boxed import Boxed, Objects, in_memory, joined
from synthbook.errors import InputError


def objects(*boxes: tuple[float, ...], labels=None, difficult=()) -> Objects:
    given = np.array(boxes, np.float32).reshape(-1, 4)
    numbers = np.array(labels or [0] * len(boxes), np.int64)
    return Objects(given, numbers, np.isin(np.arange(len(boxes)), difficult))


def some(name: str = "some") -> Boxed:
    images = np.arange(3 * 8 * 10 * 3).astype(np.uint8).reshape(3, 8, 10, 3)
    seen = [
        objects((0, 0, 10, 8), (1, 2, 3, 4), labels=[1, 0]),
        objects(),
        objects((2, 2, 5, 5), (0, 0, 1, 1), labels=[2, 1], difficult=[1]),
    ]
    return in_memory(images, seen, ("a", "b", "c"), name)


def test_counts_leave_difficult_boxes_out() -> None:
    assert some().counts().tolist() == [1, 1, 1]
    assert some().subset([1]).counts().tolist() == [0, 0, 0]


def test_a_subset_has_the_pixels_and_boxes_of_its_images() -> None:
    whole = some()
    part = whole.subset([2, 0])
    assert np.array_equal(part.read(0), whole.read(2))
    assert part.objects[1] is whole.objects[0]
    assert part.fingerprint() != whole.fingerprint()
    assert whole.subset([2, 0]).fingerprint() == part.fingerprint()


def test_classes_are_taken_in_the_order_asked_for() -> None:
    part = some().of_classes(["c", "a"])
    assert [one.labels.tolist() for one in part.objects] == [[1], [], [0]]
    assert part.counts().tolist() == [1, 1]
    with pytest.raises(InputError, match="'some' has no class 'd'"):
        some().of_classes(["d"])


def test_joined_sets_read_from_their_own() -> None:
    first, second = some("one"), some("two").subset([2])
    both = joined(first, second)
    assert (both.name, len(both)) == ("one+two", 4)
    assert np.array_equal(both.read(3), second.read(0))
    assert np.array_equal(both.read(1), first.read(1))
    assert both.counts().tolist() == [1, 1, 2]
    with pytest.raises(InputError, match="'two' and 'one' have different classes"):
        joined(first, second.of_classes(["a"]))


def test_the_fingerprint_stands_for_pixels_and_boxes() -> None:
    same, prints = some().fingerprint(), set()
    assert some("other name").fingerprint() == same
    images = np.stack([some().read(k) for k in range(3)])
    moved = [*some().objects[:2], objects((2, 2, 5, 6), (0, 0, 1, 1), labels=[2, 1], difficult=[1])]
    easy = [*some().objects[:2], objects((2, 2, 5, 5), (0, 0, 1, 1), labels=[2, 1])]
    for pixels, seen in ((images + 1, some().objects), (images, moved), (images, easy)):
        prints.add(in_memory(pixels, seen, ("a", "b", "c"), "some").fingerprint())
    assert len(prints | {same}) == 4


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ((0, 0, 11, 4), "does not lie in its 10 x 8 pixels"),
        ((-1, 0, 5, 4), "does not lie in"),
        ((0, 0, 4, 9), "does not lie in"),
        ((3, 0, 3, 4), "has no area"),
        ((3, 5, 6, 4), "has no area"),
        ((float("nan"), 0, 3, 4), "does not lie in"),
    ],
)
def test_boxes_that_cannot_be_are_refused(box: tuple[float, ...], fault: str) -> None:
    images = np.zeros((2, 8, 10, 3), np.uint8)
    with pytest.raises(InputError, match=rf"the box \(.*\) in image 1 of 'bad' {fault}.*; give"):
        in_memory(images, [objects(), objects((0, 0, 1, 1), box)], ("a",), "bad")


def test_labels_sizes_and_pixels_must_fit() -> None:
    images = np.zeros((1, 8, 10, 3), np.uint8)
    with pytest.raises(InputError, match="labels in image 0 of 'bad' run from 1 to 1; give 0 to 0"):
        in_memory(images, [objects((0, 0, 1, 1), labels=[1])], ("a",), "bad")
    with pytest.raises(InputError, match="boxes of 2 images and sizes of 1"):
        in_memory(images, [objects(), objects()], ("a",), "bad")
    with pytest.raises(InputError, match=r"images of 'bad' are float64 \[1, 8, 10, 3\]"):
        in_memory(images / 2, [objects()], ("a",), "bad")
    torn = Objects(np.zeros((1, 4), np.float32), np.zeros(2, np.int64), np.zeros(2, bool))
    with pytest.raises(InputError, match=r"has boxes \[1, 4\], 2 labels"):
        in_memory(images, [torn], ("a",), "bad")


def test_a_class_without_boxes_is_named() -> None:
    with pytest.raises(InputError, match="class 'b' has no box in 'some'"):
        some().subset([0, 2]).of_classes(["a", "b", "c"]).subset([1]).of_classes(
            ["c", "b"]
        ).check_counts()
    with pytest.raises(InputError, match=r"class 'a' has no box in 'some' \(nor have 2 others\)"):
        some().subset([1]).check_counts()
    with pytest.raises(InputError, match="'some' has no images"):
        some().subset([]).check_counts()
