"""How well objects are found: average precision by the rules of PASCAL VOC.

AP50 on VOC's test of 2007 is mostly rated by its own rule, 'eleven', as detectron2 does for MoCo;
'area' is the finer one, and the rule of later years.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from synthbook.data.boxed import Boxed, Detections, Objects
from synthbook.errors import InputError, check_choice

OVERLAP = 0.5  # of areas, at which a box counts as found: the 50 in AP50
RULES = ("area", "eleven")
Rule = Literal["area", "eleven"]


class Ranked(NamedTuple):
    """Detections of one class over all images, the surest first, and how many objects there are.

    ``right`` is bool [n]; those on difficult objects are left out. ``objects`` counts those that
    are not difficult.
    """

    right: np.ndarray
    objects: int


def hits(found: Detections, truth: Objects, overlap: float) -> np.ndarray:
    """Return for each detection of an image 1 (right), 0 (wrong) or -1 (does not count), int [n].

    A detection belongs to the object of its class that it overlaps most, by intersection over
    union. Of those that overlap it by ``overlap`` or more the surest is right, and others are
    wrong; none of them counts if the object is difficult (Everingham et al. 2010, Sec. 4.2).
    """
    import torch
    from torchvision.ops import box_iou

    result = np.zeros(len(found), np.int64)
    if not len(found) or not len(truth):
        return result
    boxes = (torch.from_numpy(np.asarray(one.boxes, np.float64)) for one in (found, truth))
    shared = box_iou(*boxes).numpy()
    shared[found.labels[:, None] != truth.labels] = -1
    nearest = shared.argmax(1)
    surest = np.argsort(-found.scores, kind="stable")
    on = surest[shared[surest, nearest[surest]] >= overlap]
    _, first = np.unique(nearest[on], return_index=True)
    result[on[first]] = 1
    result[on[truth.difficult[nearest[on]]]] = -1
    return result


def ranked(found: Sequence[Detections], truth: Boxed, overlap: float = OVERLAP) -> list[Ranked]:
    """Return the ranked detections of each class of ``truth``; equal scores go by the images."""
    outcomes = [hits(*pair, overlap) for pair in zip(found, truth.objects, strict=True)]
    labels = np.concatenate([one.labels for one in found])
    scores = np.concatenate([one.scores for one in found])
    outcome = np.concatenate(outcomes)
    order = np.argsort(-scores, kind="stable")
    order = order[outcome[order] >= 0]
    return [
        Ranked(outcome[order[labels[order] == k]] == 1, int(count))
        for k, count in enumerate(truth.counts())
    ]


def curve(ranked: Ranked) -> tuple[np.ndarray, np.ndarray]:
    """Return recall and precision, float64 [n] in [0, 1], of the n' surest for n' = 1 .. n."""
    right = np.cumsum(ranked.right)
    return right / ranked.objects, right / np.arange(1, len(right) + 1)


def area(recall: np.ndarray, precision: np.ndarray) -> float:
    """Return the area under p(r) = max of precision at recalls >= r: VOC's rule since 2010."""
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.diff(recall, prepend=0.0) @ best)


def eleven(recall: np.ndarray, precision: np.ndarray) -> float:
    """Return (1/11) sum over r = 0, 0.1 .. 1 of max precision at recalls >= r: VOC 2007's rule."""
    levels = np.arange(11) / 10
    return float(np.mean([precision[recall >= r].max(initial=0.0) for r in levels]))


def average_precisions(
    found: Sequence[Detections], truth: Boxed, *, overlap: float = OVERLAP, rule: Rule = "area"
) -> np.ndarray:
    """Return the average precision of each class in percent, float64 [K].

    ``found`` are the detections of each image of ``truth``.

    Raises:
        InputError: for other numbers of images, or a class without objects, whose average precision
            is not defined.
    """
    check_choice("rule", rule, RULES)
    if not 0 < overlap <= 1:
        raise InputError(f"overlap = {overlap}, which no boxes need; give a share above 0 up to 1")
    if len(found) != len(truth):
        raise InputError(
            f"there are detections of {len(found)} images, and '{truth.name}' has {len(truth)}; "
            "give those of each image"
        )
    truth.check_counts()
    of_rule = {"area": area, "eleven": eleven}[rule]
    return 100 * np.array([of_rule(*curve(one)) for one in ranked(found, truth, overlap)])


def mean_average_precision(
    found: Sequence[Detections], truth: Boxed, *, overlap: float = OVERLAP, rule: Rule = "area"
) -> float:
    """Return the mean over classes of `average_precisions`, in percent: AP50 by default."""
    return float(average_precisions(found, truth, overlap=overlap, rule=rule).mean())
