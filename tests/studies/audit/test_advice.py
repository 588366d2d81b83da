"""The verdict: every rule both ways, what a stop makes void, and one bottom line for all cases."""

from __future__ import annotations

import dataclasses
from itertools import product

import numpy as np
import pytest

from synthbook.data import ImageSet, Splits
from synthbook.store import root
from synthbook.studies.audit import AuditSettings, Report, advise, lessons_table, spread
from synthbook.studies.audit.advice import Advice, Answer, judge
from synthbook.studies.audit.images import Pool
from synthbook.studies.audit.lessons import BOTH, Lessons
from synthbook.studies.audit.measures import FLOOR, Copies
from synthbook.studies.audit.rules import (
    LABELLED,
    LOST,
    RULES,
    SEVERITIES,
    UNDECIDED,
    UNSEEN,
    words_of,
)

REAL = (80.0, 81.0, 80.5, 79.5, 80.0)
NONE = ImageSet(np.zeros((0, 8, 8, 1), np.uint8), np.zeros(0, int), ("a", "b"), "none")
IDENTITY = {"dataset": "d", "backbone": "b", "generator": "g", "extractor": "e"}


def report(gains=None, note="", seeds=5, **changes) -> Report:
    """Return a report without any finding, with ``changes``, over some seeds.

    ``gains`` are points of accuracy above training on real images alone, by training.
    """
    same = (0.90, 0.91, 0.89, 0.90, 0.90)
    names = ("recall", "coverage", "precision", "appearance", "near_zero_loss", "high_loss")
    values = {name + end: same for name in names for end in ("", FLOOR)}
    values |= {"asymmetry": (0.1, -0.1, 0.2, -0.2, 0.0)}
    values |= {f"{name}_drop": same for name in ("synthetic_to_real", "real_to_synthetic")}
    copies = dict.fromkeys(
        ("equal_generated_in_train", "equal_generated_in_held_out", "equal_held_out_in_train",
         "near_train", "near_train_unseen", "near_test", "near_test_train", "copying_z"), 0,
    )  # fmt: skip
    sizes = ("n_generated", "n_unseen", "n_train", "n_all_generated", "n_all_unseen")
    copies |= dict.fromkeys(sizes, 500)
    counts = {"real": 300, "generated": 300}
    for name, value in changes.items():
        next(t for t in (copies, values, counts) if name in t)[name] = value
    gains = {"generated": (0, 1, -1, 0, 0), "Aug": (0, 1, -1, 0, 0)} | (gains or {})
    accuracy = {("real", test): REAL for test in ("real", "generated")}
    for name, gain in gains.items():
        accuracy |= {(name, test): tuple(np.add(REAL, gain)) for test in ("real", "generated")}
    cut = [{key: numbers[:seeds] for key, numbers in table.items()} for table in (values, accuracy)]
    empty = np.zeros(0)
    alone = {"real": "real", "generated": "generated", "PG-L1": "generated"}
    sources = {name: alone.get(name, BOTH) for name in ("real", *gains)}
    return Report(
        AuditSettings(seeds=tuple(range(seeds))), cut[0], Copies(copies, *[empty] * 4),
        Lessons(cut[1], sources, {}, counts, 9, NONE, *[empty] * 3),
        IDENTITY, Splits(NONE, NONE, NONE), Pool(NONE, NONE, note),
    )  # fmt: skip


UP, DOWN, UNCLEAR = (5, 6, 5, 6, 5), (-5, -6, -5, -6, -5), (-2, 3, -1, 1, 0)
LOW = (0.5, 0.51, 0.5, 0.52, 0.5)
HIGH = (0.99, 0.98, 0.99, 0.98, 0.99)


def line(found: Report, topic: str) -> Advice:
    return {line.topic: line for line in advise(found).lines}[topic]


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
        ({"near_test": 1}, "test images", "warn"),
        ({"near_test": 40, "near_test_train": 41}, "test images", "ok"),
        ({"recall": LOW}, "content", "warn"),
        ({"coverage": LOW}, "content", "warn"),
        ({"recall": HIGH}, "content", "ok"),
        ({"precision": LOW}, "quality", "warn"),
        ({"precision": (0.5, 1.0, 0.6, 1.2, 0.9)}, "quality", "ok"),  # the interval spans zero
        ({"appearance": HIGH}, "appearance", "warn"),
        ({"asymmetry": (3.0, 4.0, 5.0, 4.0, 4.0)}, "direction of the gap", "warn"),
        ({"near_zero_loss": HIGH}, "new to a classifier", "warn"),
        ({"high_loss": HIGH}, "labels", "warn"),
        ({"gains": {"Aug": UP}}, "beside real images", "ok"),
        ({"gains": {"Aug": DOWN}}, "beside real images", "stop"),
        ({"gains": {"Aug": DOWN, "RG": UNCLEAR}}, "beside real images", "warn"),
        ({"gains": {"generated": DOWN}}, "in place of real images", "warn"),
        ({"gains": {"generated": UP}}, "in place of real images", "ok"),
        ({"note": "labelled 8 of 9"}, "labels", "void"),
    ],
)
def test_each_rule_both_ways(changes, topic, expected):
    assert line(report(**changes), topic).severity == expected


@pytest.mark.parametrize(
    ("topic", "near"), [("near copies", "near_train"), ("test images", "near_test")]
)
def test_more_are_to_be_searched_only_where_some_were_not(topic, near):
    every = line(report(**{near: 1}), topic)
    some = line(report(n_generated=400, **{near: 1}), topic)
    assert "make more samples" in every.do
    assert "most_images" not in every.do
    assert "raise most_images" in some.do


def test_fewer_generated_images_are_said_to_be_fewer():
    worse = line(report({"generated": DOWN}, generated=200), "in place of real images")
    assert worse.so.endswith("not so few of them")
    assert "with 200 images, not 300" in worse.measured
    better = line(report({"generated": UP}, generated=200), "in place of real images")
    assert better.severity == "ok"


def test_more_missing_than_distorted():
    mid = (0.8, 0.81, 0.8, 0.82, 0.8)
    assert "more is missing" in line(report(recall=LOW, precision=mid), "content").so
    assert "more is missing" not in line(report(recall=mid, precision=LOW), "content").so


def test_what_beats_mixing_is_named_before_what_helps():
    one = line(report({"Aug": UNCLEAR, "RG": UP, "DANN": DOWN}), "beside real images")
    assert one.so.startswith("helps: RG; does not help: DANN; undecided: Aug (")
    assert "RG +5.4 [" in one.measured
    more = tuple(np.add(UP, (3, 4, 3, 3, 3)).tolist())
    one = line(report({"Aug": UP, "RG": UP, "DANN": more}), "beside real images")
    assert one.so == "helps: Aug, RG, DANN"
    assert one.do.startswith("train with DANN,")
    assert line(report({"Aug": UP, "RG": UP}), "beside real images").do.startswith(
        "train with Aug or RG,"
    )


@pytest.mark.parametrize(
    ("gains", "use"),
    [
        ({"PG-L1": UP}, "Use them: alone, trained on by PG-L1, they teach more than the real"),
        ({"PG-L1": UP, "generated": UP}, "Use them: alone they teach more than the real images"),
        ({"PG-L1": UNCLEAR}, "Do not use them: every way of training on both that was tried loses"),
    ],
)
def test_a_remedy_without_real_images_is_no_training_on_both(gains, use):
    found = report({"Aug": DOWN} | gains)
    both, alone = (line(found, f"{place} real images") for place in ("beside", "in place of"))
    assert both.so == "adding them to the real images hurts: does not help: Aug"
    assert "PG-L1" not in both.measured
    assert "; by PG-L1 " in alone.measured
    assert advise(found).conclusion.sentences[0].startswith(use)
    assert lessons_table(found).loc["PG-L1", "gain over Aug"] == ""


def test_green_takes_more_than_a_correction():
    """What only the correction for many comparisons saves from "warn" is undecided, not ok."""
    one = line(report(precision=(0.86, 0.90, 0.87, 0.89, 0.88)), "quality")
    assert one.so == "undecided: it may be chance, as one of 10 comparisons"


@pytest.mark.parametrize("seeds", [1, 2, 4, 5])
def test_few_seeds_decide_nothing_about_accuracy(seeds):
    found = report({"Aug": UP, "generated": DOWN}, seeds=seeds, recall=LOW, high_loss=HIGH)
    of_accuracy = ("beside real images", "in place of real images", "direction of the gap")
    undecided = {one.topic for one in advise(found).lines if "undecided" in one.so}
    assert (undecided >= set(of_accuracy)) == (seeds < 5)
    assert ("content" in undecided) == (seeds == 1)
    if 1 < seeds < 5:
        assert f"{seeds} seeds, and accuracy takes 5" in line(found, of_accuracy[0]).so
        assert advise(found).conclusion.use != "yes"


def test_copies_of_test_images_are_told_beside_those_that_training_images_are() -> None:
    found = line(report(near_test=1, near_test_train=5), "test images").measured
    assert found == (
        "0 generated images equal a test image; near copies of a test image: 1 of 500 generated "
        "ones and, for comparison, 5 of 500 training images"
    )
    assert line(report(), "labels").measured.startswith("share with a loss above 1: 0.90 against")


def test_a_page_links_to_chapters_by_their_numbers() -> None:
    shown = advise(report())._repr_html_()
    assert ' See <a href="12_not_mutual.html">chapter 12</a>.' in shown
    assert 'See <a href=".html"' not in shown


# ---- what a stop makes void ----------------------------------------------------------------------

FACTS = {
    **dict.fromkeys(("why", "more", "search", "z", "both_why", "both", "effects"), 0),
    **{name: name for name in ("test_equal", "test_near", "test_near_train", "equal", "near",
                               "equal_unseen", "near_unseen", "near_gap", "alone", "recall",
                               "coverage", "precision", "appearance", "high_loss",
                               "near_zero_loss", "asymmetry")},
    "drops": (1, 2), "best": "<best>", "gains": "<gains>", "alone_gap": "<alone_gap>",
    "alone_way": "<alone_way>",
}  # fmt: skip
ANSWERS = {
    "test images": ("seen", "shared", "few", "drawn", "unseen"),
    "equal images": ("copied", "repeated", "none"),
    "near copies": (1, "few", 0),
    "labels": (1, 0, UNDECIDED),
    "beside real images": ("helps", "hurts", UNDECIDED),
    "in place of real images": (1, -1, "too few", UNDECIDED),
}
USUAL = {topic: next(iter(rule.words)) for topic, rule in RULES.items()}
EVERY = [dict(zip(ANSWERS, answers, strict=True)) for answers in product(*ANSWERS.values())]


def judged(answers, lost=()):
    return judge(
        [Answer(topic, answer, FACTS) for topic, answer in (USUAL | answers).items()], lost
    )


def test_a_stop_voids_exactly_the_lines_that_rest_on_what_it_takes_away():
    for answers, before in product(EVERY, ((), (LABELLED,))):
        verdict = judged(answers, before)
        gone = {words_of(topic, answer).voids for topic, answer in answers.items()} - {""}
        assert verdict.lost == gone | set(before)
        assert [one.topic for one in verdict.lines if one.severity == "void"] == [
            topic for topic, rule in RULES.items() if rule.rests_on & verdict.lost
        ]
        for one in verdict.lines:
            answer = (USUAL | answers)[one.topic]
            if one.severity == "void":
                assert not one.do
                assert any(LOST[ground] in one.so for ground in verdict.lost)
            else:
                assert one.severity == words_of(one.topic, answer).severity


def test_only_a_stop_voids_and_no_stop_rests_on_anything_it_could_lose():
    """Else the order of the rules would decide what is void."""
    for rule in RULES.values():
        for words in rule.words.values():
            if words.voids:
                assert words.severity == "stop"
                assert not rule.rests_on
                assert any(words.voids in other.rests_on for other in RULES.values())


def test_every_combination_of_findings_has_one_bottom_line():
    for answers in EVERY:
        end = judged(answers).conclusion
        assert len(end.sentences) == 3
        assert all(text.endswith(".") and "{" not in text for text in end.sentences)
        assert (end.place == "nowhere") == (end.use != "yes")
        both, instead = answers["beside real images"], answers["in place of real images"]
        assert (end.use == "yes") == (
            answers["test images"] != "seen" and (both == "helps" or instead == 1)
        )
        if end.use == "yes":
            assert (end.place in ("beside", "either")) == (both == "helps")
            assert (end.place in ("instead", "either")) == (instead == 1)
            assert end.sentences[0].startswith("Use them")
            assert ("contradicted" in end.sentences[0]) == (answers["labels"] == 1)
        else:
            assert end.sentences[0].startswith("Do not")
        copied = answers["equal images"] == "copied" or answers["near copies"] == 1
        assert (end.publish == "no") == (copied or answers["test images"] == "seen")
        doubts = {"repeated", "few", "shared"} & set(answers.values())
        assert (end.publish == "not refuted") == (end.publish != "no" and not doubts)


def test_the_bottom_line_recommends_nothing_that_is_void():
    for answers in EVERY:
        verdict = judged(answers)
        if UNSEEN in verdict.lost:
            assert verdict.conclusion.use != "yes"
            assert verdict.conclusion.place == "nowhere"
            assert not any("<" in text for text in verdict.conclusion.sentences)


def test_a_generator_that_saw_the_test_images_gets_no_green_line_about_accuracy():
    found = report({"Aug": UP, "RG": UP, "generated": UP}, near_test=40)
    verdict = advise(found)
    greens = {one.topic for one in verdict.lines if one.severity == "ok"}
    assert not greens & {"beside real images", "in place of real images", "direction of the gap"}
    assert "train with" not in str(verdict)
    assert set(lessons_table(found)["verdict"]) == {"", "void"}
    assert set(lessons_table(report({"Aug": UP}))["verdict"]) >= {"helps"}


# ---- the page ------------------------------------------------------------------------------------


def test_means_have_no_more_digits_than_their_interval_tells():
    assert spread([0.53, 0.55, 0.57]) == "0.55 [0.50, 0.60]"
    assert spread([2100.0, 2106.5, 2113.0]) == "2106 [2090, 2123]"
    assert spread([44.0, 45.0, 47.0], 1) == "45.3 [41.5, 49.1]"
    assert spread([2106.87]) == "2106.87"
    assert spread([5.0, 5.0]) == "5.00 [5.00, 5.00]"


def test_the_verdict_is_complete_and_the_gravest_comes_first():
    verdict = advise(report({"Aug": DOWN}, near_train=40, high_loss=HIGH, near_zero_loss=HIGH))
    assert sorted(one.topic for one in verdict.lines) == sorted(RULES)
    places = [
        (SEVERITIES.index(one.severity), list(RULES).index(one.topic)) for one in verdict.lines
    ]
    assert places == sorted(places)
    topics = [one.topic for one in verdict.lines]
    assert topics.index("labels") < topics.index("in place of real images")
    chapters = {path.stem for path in (root() / "notebooks").glob("*.py")}
    assert {rule.chapter for rule in RULES.values()} - {""} <= chapters


def test_the_page_says_which_network_which_test_images_and_how_many_may_be_wrong():
    said = "\n".join(advise(report()).notes)
    assert "small_cnn, from random weights" in said
    assert "-p pretrained=true" in said
    assert "10 of 10 differences are tested, over 5 seeds" in said
    assert "never" not in said
    pretrained = dataclasses.replace(
        report(seeds=3), settings=AuditSettings(seeds=(0, 1, 2), pretrained=True), drawn=True
    )
    said = "\n".join(advise(pretrained).notes)
    assert "ask with" not in said
    assert line(pretrained, "test images").severity == "warn"
    assert "7 of 10 differences are tested, over 3 seeds" in said
    assert "-p test=FOLDER" in said


def test_a_verdict_is_safe_as_html_and_readable_as_text():
    verdict = advise(report())
    changed = dataclasses.replace(verdict, lines=(Advice("void", "a<b", "x<y", "so", ""),))
    text = changed._repr_html_()
    assert "a&lt;b" in text
    assert "x&lt;y" in text
    assert "Do:" not in text
    for sentence in (*verdict.conclusion.sentences, *verdict.notes):
        assert sentence in str(verdict)
