"""What a report means and what to do about it, in plain words, by rules written down here.

No rule compares a number with a threshold taken out of the air: each compares generated images
with unseen real ones (or with training on real images alone) that were measured in the same run,
and asks on which side of zero the interval of the difference lies. The exceptions are a score
that is itself a test (data copying), and counts of equal images, of which one is enough.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthbook.intervals import Difference, interval, paired, rates
from synthbook.studies.audit.measures import BOTH, FLOOR, GENERATED
from synthbook.studies.audit.remedies import AUG, VERDICTS, effects
from synthbook.studies.gap import REAL

if TYPE_CHECKING:
    from synthbook.studies.audit.report import Report

SEVERITIES = ("stop", "warn", "ok")
Words = tuple[str, ...]  # severity, what it means, and what to do about it if there is anything
Answer = tuple[str, Hashable, list[Any]]  # topic, the key of its words, what goes into the braces


@dataclass(frozen=True)
class Advice:
    """One rule's answer: ``measured`` against what, ``so`` what it means, what to ``do``.

    ``severity`` is 'stop' (do not use or publish them as they are), 'warn' or 'ok'; ``topic`` is
    a short name, ``chapter`` the chapter that explains the measure ("" for this one).
    """

    severity: str
    topic: str
    measured: str
    so: str
    do: str = "nothing"
    chapter: str = ""


def advise(report: Report) -> list[Advice]:
    """Return what follows from a report, the gravest first; one entry a topic of `RULES`.

    With one seed, whatever needs an interval over seeds is undecided and a warning.
    """
    answers = [(*line, False) for line in _counted(report)]
    answers += [(*line, len(report.seeds) == 1) for line in _compared(report)]
    entries = []
    for topic, answer, numbers, single in answers:
        chapter, template, outcomes = RULES[topic]
        measured = template.format(*numbers)
        words = answer if isinstance(answer, tuple) else outcomes.get(answer, outcomes.get(None))
        if words is None or single:
            entries.append(Advice("warn", topic, measured, *_undecided(report)))
        else:
            severity, so, do = (*words, "nothing")[:3]
            entries.append(Advice(severity, topic, measured, so, do, chapter))
    return sorted(entries, key=lambda entry: SEVERITIES.index(entry.severity))


def _undecided(report: Report) -> tuple[str, str]:
    seeds = len(report.seeds)
    why = "one seed has no interval" if seeds == 1 else "the interval spans zero"
    return f"undecided: {why}", f"run more seeds: -p seeds {max(5, 2 * seeds)}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _counted(report: Report) -> Iterator[Answer]:
    """Yield the answers of the counts, which have no seeds."""
    copies = report.copies.values

    def of(*names: str) -> list[float]:
        return [copies[name] for name in names]

    # One is enough, unless as large a share of the unseen real images equals a training image (the
    # interval of the difference spans zero): then it is the data set that repeats itself, as icons
    # and blank images do.
    base = copies["equal_held_out_in_train"]
    equal = [*of("equal_generated_in_train", "n_all_generated"), base, copies["n_all_unseen"]]
    answer = "repeated" if base and rates(*equal).sign <= 0 else "copied"
    yield "equal images", answer if equal[0] else "none", equal
    # See `measures.closeness` for what a near copy is.
    near = of("near_train", "n_generated", "near_train_unseen", "n_unseen")
    gap = rates(*near)
    answer = "few" if gap.mean > 0 >= gap.sign else gap.sign
    yield "near copies", answer, [*near, *(100 * end for end in gap)]
    # Below -3 is how its authors read the score (Meehan et al. 2020): a one-sided probability of
    # about 0.001 that images drawn like the real ones lie so near to the training set. No reason
    # to stop, because a generator that makes typical images only has the same score.
    z = copies["copying_z"]
    yield "distance to training images", int(z > 3) - int(z < -3), [z]
    # What is expected: equal images between the real splits themselves, and the share of training
    # images that are near copies of a test image.
    count = copies["equal_generated_in_held_out"]
    near = of("near_test", "n_generated", "near_test_train", "n_train")
    seen = (count and not base) or rates(*near).sign > 0
    yield "test images", "seen" if seen else "shared" if count else "unseen", [count, *near]


def _compared(report: Report) -> Iterator[Answer]:
    """Yield the answers of all that needs an interval over seeds."""
    values, accuracy, counts = report.values, report.lessons.accuracy, report.lessons.counts

    def unseen(name: str) -> tuple[int, str]:
        own, floor = values[name], values[name + FLOOR]
        gap = paired(own, floor)
        return gap.sign, f"{_mean(own):.2f} against {_mean(floor):.2f} (difference {gap.text()})"

    def trained(source: str) -> tuple[int, str]:
        own, real = accuracy[source, REAL], accuracy[REAL, REAL]
        gap = paired(own, real)
        text = f"{_mean(own):.1f} % right, on real images alone {_mean(real):.1f} %"
        return gap.sign, f"{text} (difference {gap.text(1)})"

    sign, text = trained(BOTH)
    yield "added to real images", sign, [text]
    words, text = _remedies(report)
    yield "remedies", words, [text]
    sign, text = trained(GENERATED)
    if counts[GENERATED] < counts[REAL]:
        text += f" (with {counts[GENERATED]} images, not {counts[REAL]})"
        sign = "too few" if sign < 0 else sign
    yield "in place of real images", sign, [text]
    # Recall or coverage is enough: recall alone can be raised by scattered outliers (Naeem et al.
    # 2020). More is missing than distorted if recall falls short by more than precision.
    (recall, text), (coverage, other) = unseen("recall"), unseen("coverage")
    missing, distorted = (
        [b - a for a, b in zip(values[name], values[name + FLOOR], strict=True)]
        for name in ("recall", "precision")
    )
    answer = "missing" if paired(missing, distorted).sign > 0 else "short"
    yield "content", answer if min(recall, coverage) < 0 else "none", [text, other]
    for topic, name in (("quality", "precision"), ("appearance", "appearance")):
        sign, text = unseen(name)
        yield topic, sign, [text]
    gap = Difference(*interval(values["asymmetry"]))
    drops = [_mean(values[f"{way}_drop"]) for way in ("synthetic_to_real", "real_to_synthetic")]
    yield "direction of the gap", gap.sign, [*drops, gap.text(1)]
    for topic, name in (("new to a classifier", "near_zero_loss"), ("labels", "high_loss")):
        sign, text = unseen(name)
        yield topic, sign, [text]


def _remedies(report: Report) -> tuple[Words, str]:
    """Say which remedies help (interval above zero), which do not, and which are undecided.

    A warning unless one helps. One whose interval against `AUG` is above zero too is worth more
    than mixing the two sets, which takes no method at all.
    """
    if report.remedies is None:
        return ("warn", "not known: none was tried", "name some: -p remedies RG,DANN"), "no remedy"
    accuracy = report.remedies.accuracy
    tried = [effect for effect in effects(accuracy) if effect.name != GENERATED]
    changes = ", ".join(f"{effect.name} {effect.against_real.text(1)}" for effect in tried)
    better = [effect.name for effect in tried if effect.against_aug.sign > 0]
    measured = (
        f"on real images alone {_mean(accuracy[REAL]):.1f} % right; difference of each remedy:"
        f" {changes}; better than mixing ({AUG}): {', '.join(better) or 'none'}"
    )
    names = {verdict: [effect.name for effect in tried if effect.verdict == verdict]
             for verdict in VERDICTS.values()}  # fmt: skip
    so = "; ".join(f"{verdict}: {', '.join(held)}" for verdict, held in names.items() if held)
    so += " (the interval spans zero)" * bool(names["undecided"])
    if names["helps"]:
        best = " or ".join([name for name in names["helps"] if name in better] or names["helps"])
        do = (f"train with {best}, and check on other test images: of several that are tried, one"
              " may look good by chance")  # fmt: skip
        return ("ok", so, do), measured
    do = "train on the real images alone, or make better generated images first"
    return ("warn", so, _undecided(report)[1] if names["undecided"] else do), measured


# Topic -> chapter, what was measured, and the words for each answer: the side of zero on which the
# interval of a difference lies, or a word. Other answers have the words of None, and without these
# are undecided.
# fmt: off
_AGAINST = "{}; generated against unseen real images"
_MISSING = "content gap: kinds of real images that the generator makes too rarely or not at all"
_VARIETY = ("do not replace real images; mix, and generate more variety (weaker guidance or"
            " truncation, longer training, more training images of rare kinds)")
_REPLACE = "they cannot take the place of the real images"
RULES: dict[str, tuple[str, str, dict[Hashable, Words]]] = {
    "equal images": ("", "{:.0f} of {:.0f} generated images equal a training image byte for byte;"
        " of unseen real images {:.0f} of {:.0f}", {
        "none": ("ok", "no image was copied outright"),
        "repeated": (
            "warn", "the data set repeats itself, and the generated images do so no more than it",
            "remove duplicates from the real images"),
        "copied": (
            "stop", "these are training images, with whatever rights and private facts they carry",
            "do not publish the set before they are removed; train on fewer steps or more images"),
    }),
    "near copies": ("", "{:.0f} of {:.0f} generated images are near copies of a training image; of"
        " unseen real images {:.0f} of {:.0f} (difference {:+.1f} points [{:+.1f}, {:+.1f}])", {
        1: ("stop", "the generator has memorised: these show single training images, slightly"
            " changed",
            "look at the closest pairs and remove them; train the generator for fewer steps"),
        "few": ("warn", "too few to tell memorising from chance",
                "look at the pairs; raise most_images"),
        None: ("ok", "they come no nearer to single training images than new real images do"),
    }),
    "distance to training images": (
        "", "score of the data-copying test {:+.1f} (0 = like unseen real images)", {
        -1: ("warn", "nearer to the training images than new real images: copies, or typical images"
             " only", "read with the lines on copies and on content: they tell the two apart"),
        0: ("ok", "as far as those: no sign of copying"),
        1: ("ok", "farther from the training images than new real ones: no sign of copying"),
    }),
    "test images": ("", "{:.0f} generated images equal a test image; near copies of one: {:.0f} of"
        " {:.0f}, of training images {:.0f} of {:.0f}", {
        "seen": (
            "stop", "the generator has seen test images, so no accuracy measured on them counts",
            "train the generator on the training split only, or choose other test images"),
        "shared": ("warn", "the real splits share images, which may be all there is to it",
                   "remove duplicates from the real images"),
        "unseen": ("ok", "the test images are unseen"),
    }),
    "added to real images": ("", "trained on both: {}", {
        1: ("ok", "adding them to the real images helps",
            "add them; try more of them, or a smaller share, on validation images"),
        -1: ("stop", "adding them to the real images hurts",
             "leave them out; or add fewer, filter them, or let real images have the last word"
             " (Real Guidance, Wang et al. 2024, Eq. 2)"),
    }),
    "remedies": ("16_real_guidance", "{}", {}),
    "in place of real images": ("12_not_mutual", "trained on generated images alone: {}", {
        -1: ("warn", _REPLACE, "keep the real images"),
        "too few": ("warn", f"{_REPLACE}, not so few of them",
                    "keep the real images; compare again with as many generated ones"),
        1: ("ok", "they teach at least as much as the real images",
            "check on other test images before you believe it"),
    }),
    "content": ("12_not_mutual", f"recall {{}}; coverage {_AGAINST}", {
        "missing": ("warn", f"{_MISSING}; more is missing than distorted", _VARIETY),
        "short": ("warn", _MISSING, _VARIETY),
        "none": ("ok", "no kind of real image was found missing"),
    }),
    "quality": ("11_generators", f"precision {_AGAINST}", {
        -1: ("warn", "quality gap: images that look like no real one",
             "keep those of which a classifier trained on real images is sure; stronger guidance or"
             " truncation, at a price in content"),
        None: ("ok", "no more images are out of place than among real ones"),
    }),
    "appearance": (
        "12_not_mutual", "told apart by a linear classifier {} (0 = not at all, 1 = always)", {
        1: ("warn", "something betrays the generated images, be it a texture, a tint or what they"
            " show", "first make sure that both went through the same resizing, file format and"
            " colours; then train the generator longer"),
        None: ("ok", "their look does not betray them"),
    }),
    "direction of the gap": ("12_not_mutual", "points lost from generated to real images {:.1f},"
        " from real to generated {:.1f} (below 0: gained; difference {})", {
        1: ("warn", "the gap is not mutual: they leave something out rather than look different",
            "as for content: variety matters more than beauty"),
        -1: ("warn", "real images prepare less for generated ones than the other way round",
             "look for wrong labels and artefacts among the generated images"),
    }),
    "new to a classifier": ("14_what_an_image_teaches", f"share with a loss near zero {_AGAINST}", {
        1: ("warn", "many of them teach a classifier trained on real images nothing new",
            "generate more and keep those of higher loss, after a look at the highest"),
        None: ("ok", "they are no easier than new real images"),
    }),
    "labels": ("14_what_an_image_teaches", f"share with a loss above 1 {_AGAINST}", {
        1: ("warn",
            "wrong labels or artefacts: a classifier trained on real images contradicts them",
            "look at the images of highest loss; keep those of which the classifier is sure"),
        None: ("ok", "their labels are contradicted no more often than those of new real images"),
    }),
}
