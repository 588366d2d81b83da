"""What a report means and what to do about it, in plain words, by rules written down here.

No rule compares a number with a threshold taken out of the air: each compares generated images
with unseen real ones (or with training on real images alone) that were measured in the same run,
and asks which side of zero the difference lies on. The exceptions are a score that is itself a
test (data copying), and counts of equal images, of which one is enough.

A finding can take away what other lines rest on: of a generator that has seen the test images, no
accuracy on them counts. Such lines are void, whatever they measured.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from synthbook.intervals import rates
from synthbook.studies.audit.comparisons import ALPHA, FEWEST, Comparison
from synthbook.studies.audit.images import KEEP_APART
from synthbook.studies.audit.lessons import AUG
from synthbook.studies.audit.measures import FLOOR, GENERATED
from synthbook.studies.audit.rules import (
    EFFECTS,
    LABELLED,
    LOST,
    PLACE,
    PUBLISH,
    RULES,
    SEVERITIES,
    UNDECIDED,
    USE,
    VOID,
    words_of,
)
from synthbook.studies.rows import REAL

if TYPE_CHECKING:
    from synthbook.studies.audit.report import Report


class Answer(NamedTuple):
    """What a rule's measure came to, and what goes into the braces of its words."""

    topic: str
    answer: Hashable
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Advice:
    """One line: what was ``measured`` against what, ``so`` what it means, what to ``do``.

    ``severity`` is 'stop' (do not use or publish them as they are), 'warn', 'ok', or 'void' (a
    stop elsewhere takes away what the line rests on); ``chapter`` explains the measure ("" for
    this one).
    """

    severity: str
    topic: str
    measured: str
    so: str
    do: str = ""
    chapter: str = ""


@dataclass(frozen=True)
class Conclusion:
    """The bottom line. Each of the three has a word for a program and a sentence for a reader.

    ``use`` is 'yes', 'no' or 'unknown'; ``place`` 'beside' real images, 'instead' of them,
    'either' or 'nowhere'; ``publish`` 'no', 'look' (at what was found, first) or 'not refuted'.
    """

    use: str
    place: str
    publish: str
    sentences: tuple[str, str, str]


@dataclass(frozen=True, repr=False)
class Verdict:
    """A `Conclusion`, the lines it rests on, the gravest first, and what to know of the audit.

    ``lost`` is what lines rest on and was taken away, see `rules.LOST`.
    """

    conclusion: Conclusion
    lines: tuple[Advice, ...]
    lost: frozenset[str]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return all of it as plain text."""
        parts = [*self.conclusion.sentences, *self.notes, ""]
        for line in self.lines:
            parts.append(f"{line.severity}: {line.topic}. {line.so}. Measured: {line.measured}.")
            parts += [f"    Do: {line.do}."] * bool(line.do)
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        from synthbook.studies.audit.show import verdict_html

        return verdict_html(self)


def advise(report: Report) -> Verdict:
    """Return what follows from a report: a bottom line, and a line for each of `RULES`."""
    lost = {LABELLED} if report.pool.note else set()
    return judge([*_counted(report), *_compared(report)], lost, _notes(report))


def judge(
    answers: Iterable[Answer], lost: Collection[str] = (), notes: Sequence[str] = ()
) -> Verdict:
    """Return the verdict on one answer a topic; ``lost`` is what lines cannot rest on anyway."""
    found = {answer.topic: answer for answer in answers}
    taken = (words_of(topic, answer).voids for topic, answer, _ in found.values())
    lost = {*lost, *taken} - {""}
    lines, standing = [], {}
    for topic in RULES:  # which stand in the order of their gravity
        _, answer, facts = found[topic]
        chapter, rests_on, measured, _ = RULES[topic]
        severity, so, do, _ = words_of(topic, answer)
        standing[topic] = answer
        if gone := [LOST[ground] for ground in sorted(lost & rests_on)]:
            severity, so, do, standing[topic] = VOID, f"does not count: {'; '.join(gone)}", "", VOID
        texts = (text.format(**facts) for text in (measured, so, do))
        lines.append(Advice(severity, topic, *texts, chapter))
    lines.sort(key=lambda line: SEVERITIES.index(line.severity))
    facts = {key: value for answer in found.values() for key, value in answer.facts.items()}
    return Verdict(conclude(standing, facts), tuple(lines), frozenset(lost), tuple(notes))


# ---- what was measured ---------------------------------------------------------------------------


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _counted(report: Report) -> Iterator[Answer]:
    """Yield the answers of the counts, which have no seeds."""
    counts = report.copies.values

    def of(*names: str) -> list[float]:
        return [counts[name] for name in names]

    # One is enough, unless as large a share of the unseen real images equals a training image (the
    # interval of the difference spans zero): then it is the data set that repeats itself, as icons
    # and blank images do.
    base = counts["equal_held_out_in_train"]
    equal = [*of("equal_generated_in_train", "n_all_generated"), base, counts["n_all_unseen"]]
    answer = "repeated" if base and rates(*equal).sign <= 0 else "copied"
    texts = {"equal": f"{equal[0]:,.0f} of {equal[1]:,.0f}",
             "equal_unseen": f"{equal[2]:,.0f} of {equal[3]:,.0f}"}  # fmt: skip
    yield Answer("equal images", answer if equal[0] else "none", texts)
    # See `measures.closeness` for what a near copy is.
    near = of("near_train", "n_generated", "near_train_unseen", "n_unseen")
    gap = rates(*near)
    ends = ", ".join(f"{100 * end:+.1f}" for end in (gap.low, gap.high))
    texts = {"near": f"{near[0]:,.0f} of {near[1]:,.0f}",
             "near_unseen": f"{near[2]:,.0f} of {near[3]:,.0f}",
             "near_gap": f"{100 * gap.mean:+.1f} points [{ends}]"}  # fmt: skip
    searched = counts["n_generated"] >= counts["n_all_generated"]
    search = {"search": "make more samples" if searched else "raise most_images"}
    yield Answer("near copies", "few" if gap.mean > 0 >= gap.sign else gap.sign, texts | search)
    # Below -3 is how its authors read the score (Meehan et al. 2020): a one-sided probability of
    # about 0.001 that images drawn like the real ones lie so near to the training set. No reason
    # to stop, because a generator that makes typical images only has the same score.
    z = counts["copying_z"]
    yield Answer("distance to training images", int(z > 3) - int(z < -3), {"z": z})
    # What is expected: equal images between the real splits themselves, and the share of training
    # images that are near copies of a test image.
    same = counts["equal_generated_in_held_out"]
    near = of("near_test", "n_generated", "near_test_train", "n_train")
    gap = rates(*near)
    seen = (same and not base) or gap.sign > 0
    answer = "seen" if seen else "shared" if same else "few" if gap.mean > 0 else "unseen"
    texts = {"test_equal": f"{same:,.0f}", "test_near": f"{near[0]:,.0f} of {near[1]:,.0f}",
             "test_near_train": f"{near[2]:,.0f} of {near[3]:,.0f}"}  # fmt: skip
    if report.drawn and answer == "unseen":
        answer = "drawn"
    yield Answer("test images", answer, texts | search)


def _compared(report: Report) -> Iterator[Answer]:
    """Yield the answers of all that is compared over seeds."""
    values, found, lessons = report.values, report.comparisons, report.lessons
    seeds = {"more": max(FEWEST, 2 * len(report.settings.seeds))}
    right = {name: _mean(lessons.accuracy[name, REAL]) for name in lessons.sources}

    def unseen(name: str) -> str:
        own, floor = (f"{_mean(values[name + suffix]):.2f}" for suffix in ("", FLOOR))
        return f"{own} against {floor} (difference {found[name].gap.text()})"

    yield _on_both(report, right[REAL], seeds)
    yield _on_generated(report, right, seeds)
    # Recall or coverage is enough: recall alone can be raised by scattered outliers (Naeem et al.
    # 2020). More is missing than distorted if recall falls short by more than precision.
    kinds = [found["recall"], found["coverage"]]
    facts = {"recall": unseen("recall"), "coverage": unseen("coverage")}
    facts |= {"why": next((one.doubt for one in kinds if _doubted(one, -1)), ""), **seeds}
    answer = UNDECIDED if facts["why"] else "none"
    if any(one.sign < 0 for one in kinds):
        answer = "missing" if found["missing"].sign > 0 else "short"
    yield Answer("content", answer, facts)
    for topic, name, bad in (
        ("quality", "precision", -1), ("appearance", "appearance", 1),
        ("new to a classifier", "near_zero_loss", 1), ("labels", "high_loss", 1),
    ):  # fmt: skip
        facts = {name: unseen(name), "why": found[name].doubt, **seeds}
        yield Answer(topic, UNDECIDED if _doubted(found[name], bad) else found[name].sign, facts)
    one = found["asymmetry"]
    drops = [f"{_mean(values[f'{way}_drop']):.1f}"
             for way in ("synthetic_to_real", "real_to_synthetic")]  # fmt: skip
    facts = {"drops": drops, "asymmetry": one.gap.text(1), "why": one.doubt, **seeds}
    answer = UNDECIDED if _doubted(one, one.gap.sign or 1) else one.sign
    yield Answer("direction of the gap", answer, facts)


def _doubted(one: Comparison, bad: int) -> bool:
    """Return whether it may lie on the ``bad`` side of zero: "ok" takes more than a correction."""
    return not one.sign and (one.p is None or one.gap.sign == bad)


def _on_both(report: Report, alone: float, seeds: Mapping[str, int]) -> Answer:
    """Answer whether a training on both sets helps, which do not, and which are undecided.

    One that is better than `AUG` too is worth more than mixing the two sets, which takes no
    method at all.
    """
    names, found = report.lessons.on_both, report.comparisons
    of = {sign: [name for name in names if found[name, REAL].sign == sign] for sign in (1, -1, 0)}
    better = [name for name in names if name != AUG and found[name, AUG].sign > 0]
    best = [name for name in of[1] if name in better] or of[1]
    so = [f"{word}: {', '.join(of[sign])}" for sign, word in EFFECTS.items() if of[sign]]
    doubts = dict.fromkeys(found[name, REAL].doubt for name in of[0])
    facts = {
        "both": f"on real images alone {alone:.1f} % right; difference of each training on both: "
        + ", ".join(f"{name} {found[name, REAL].gap.text(1)}" for name in names)
        + f"; better than mixing ({AUG}): {', '.join(better) or 'none'}",
        "effects": "; ".join(so) + f" ({', or '.join(doubts)})" * bool(of[0]),
        "best": " or ".join(best), "both_why": ", or ".join(doubts),
        "gains": ", by ".join(f"{name} gains {found[name, REAL].gap.text(1)}" for name in best),
        **seeds,
    }  # fmt: skip
    answer = "helps" if of[1] else UNDECIDED if of[0] else "hurts"
    return Answer("beside real images", answer, facts)


def _on_generated(report: Report, right: Mapping[str, float], seeds: Mapping[str, int]) -> Answer:
    """Answer whether generated images alone can take the place of real ones.

    Plain training decides, unless only a remedy without real images gains; the line names it then.
    """
    lessons, found = report.lessons, report.comparisons
    few = lessons.counts[GENERATED] < lessons.counts[REAL]
    plain, *remedies = lessons.on_generated
    text = f"{right[plain]:.1f} % right, on real images alone {right[REAL]:.1f} %"
    text += f" (difference {found[plain, REAL].gap.text(1)})"
    if few:
        text += f" (with {lessons.counts[GENERATED]:,} images, not {lessons.counts[REAL]:,})"
    for name in remedies:
        text += f"; by {name} {right[name]:.1f} % (difference {found[name, REAL].gap.text(1)})"
    way = next((name for name in (plain, *remedies) if found[name, REAL].sign > 0), plain)
    alone = found[way, REAL]
    facts = {"alone": text, "alone_gap": alone.gap.text(1), "why": alone.doubt, **seeds}
    facts["alone_way"] = "" if way == plain else f", trained on by {way},"
    answer = "too few" if few and alone.sign < 0 else alone.sign or UNDECIDED
    return Answer("in place of real images", answer, facts)


def _notes(report: Report) -> tuple[str, ...]:
    """Return what test images, which network, and how many of the comparisons may be wrong."""
    settings, test = report.settings, report.real.test
    seeds = len(settings.seeds)
    tested = sum(one.p is not None for one in report.comparisons.values())
    weights = "ImageNet" if settings.pretrained else "random"
    network = (
        f"Every accuracy is that of {settings.backbone}, from {weights} weights, on {len(test):,}"
        f" test images, each of which counts {100 / max(1, len(test)):.2g} points"
    )
    if not settings.pretrained:
        network += (
            "; ask with the network that you mean to train: one with ImageNet weights needs other"
            " images less (-p backbone=efficientnet_lite0 -p pretrained=true -p image_size=64 -p"
            " epochs=5 -p learning_rate=0.0005)"
        )
    chance = (
        f"{tested} of {len(report.comparisons)} differences are tested, over {seeds} seed"
        f"{'s' * (seeds > 1)}. Holm's correction holds the chance that one or more of those called"
        f" decided are none at {ALPHA:.0%}; without it about {ALPHA * tested:.1f} would be. The"
        " intervals are 95 % each, over seeds: other test images may tell otherwise"
    )
    drawn = f"The {len(test):,} test images are drawn from {report.real.name}. {KEEP_APART}"
    return tuple(f"{text}." for text in (*[drawn] * report.drawn, network, chance))


# ---- the bottom line -----------------------------------------------------------------------------


def conclude(answers: Mapping[str, Hashable], facts: Mapping[str, Any]) -> Conclusion:
    """Return the bottom line on the answers by topic, `VOID` ones included."""
    both, instead = answers["beside real images"], answers["in place of real images"]
    wrong, worth = answers["labels"] == 1, both == "helps" or instead == 1
    if wrong and not worth:
        use = "wrong labels"
    elif worth:
        use = ("beside" if both == "helps" else "instead") + " after a look" * wrong
    else:
        use = both
    word = {"wrong labels": "no", "hurts": "no"}.get(use, "yes" if worth else "unknown")
    if instead == VOID:
        place = VOID
    elif word == "yes":
        place = instead if instead != 1 else "either" if both == "helps" else "instead"
    else:
        place = "none" if word == "no" else f"keep {instead}"
    found = next((key for key in PUBLISH if key and answers[key[0]] == key[1]), None)
    publish, why = PUBLISH[found]
    where = {"either": "either", "instead": "instead"}.get(place, "beside")
    sentences = (f"{text.format(**facts)}." for text in (USE[use], PLACE[place], why))
    return Conclusion(word, where if word == "yes" else "nowhere", publish, tuple(sentences))
