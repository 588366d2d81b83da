"""The rules on the gap: what is missing, what is distorted, and what training on it is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthbook.intervals import interval
from synthbook.studies.audit.distances import FLOOR
from synthbook.studies.audit.findings import Advice, Difference, against, mean, paired, undecided
from synthbook.studies.audit.lessons import BOTH, GENERATED, REAL
from synthbook.studies.audit.remedies import AUG, VERDICTS, effects

if TYPE_CHECKING:
    from synthbook.studies.audit.report import Report


def content(report: Report) -> Advice:
    """Warn if recall or coverage lies below that of unseen real images.

    Either is enough: recall alone can be raised by scattered outliers (Naeem et al. 2020). More
    is missing than distorted if recall falls short by more than precision, interval above zero.
    """
    recall, text = against(report, "recall")
    coverage, other = against(report, "coverage")
    what = f"recall {text}; coverage {other}; generated against unseen real images"
    if min(recall.sign, coverage.sign) < 0:
        short = {
            name: [b - a for a, b in zip(report.values[name], report.values[name + FLOOR],
                                         strict=True)]
            for name in ("recall", "precision")
        }  # fmt: skip
        more = paired(short["recall"], short["precision"]).sign > 0
        so = "content gap: kinds of real images that the generator makes too rarely or not at all"
        so += "; more is missing than distorted" * more
        do = (
            "do not replace real images; mix, and generate more variety (weaker guidance or"
            " truncation, longer training, more training images of rare kinds)"
        )
        return Advice("warn", "content", what, so, do, "12_not_mutual")
    so = "no kind of real image was found missing"
    return Advice("ok", "content", what, so, "nothing", "12_not_mutual")


def quality(report: Report) -> Advice:
    """Warn if precision lies below that of unseen real images."""
    gap, text = against(report, "precision")
    what = f"precision {text}; generated against unseen real images"
    if gap.sign < 0:
        so = "quality gap: images that look like no real one"
        do = (
            "keep those of which a classifier trained on real images is sure; stronger guidance"
            " or truncation, at a price in content"
        )
        return Advice("warn", "quality", what, so, do, "11_generators")
    so = "no more images are out of place than among real ones"
    return Advice("ok", "quality", what, so, "nothing", "11_generators")


def appearance(report: Report) -> Advice:
    """Warn if a linear classifier tells generated from training images better than unseen ones."""
    gap, text = against(report, "appearance")
    what = f"told apart by a linear classifier {text} (0 = not at all, 1 = always)"
    if gap.sign > 0:
        so = "something betrays the generated images, be it a texture, a tint or what they show"
        do = (
            "first make sure that both went through the same resizing, file format and colours;"
            " then train the generator longer"
        )
        return Advice("warn", "appearance", what, so, do, "12_not_mutual")
    so = "their look does not betray them"
    return Advice("ok", "appearance", what, so, "nothing", "12_not_mutual")


def _trained(report: Report, source: str) -> tuple[Difference, str]:
    own, real = report.accuracy[source, REAL], report.accuracy[REAL, REAL]
    gap = paired(own, real)
    text = f"{mean(own):.1f} % right, on real images alone {mean(real):.1f} %"
    return gap, f"{text} (difference {gap.text(1)})"


def alone(report: Report) -> Advice:
    """Warn if training on generated images alone is worse than on real ones, or is not known."""
    gap, text = _trained(report, GENERATED)
    what = f"trained on generated images alone: {text}"
    fewer = report.counts["generated"] < report.counts["real"]
    if fewer:
        what += f" (with {report.counts['generated']} images, not {report.counts['real']})"
    if gap.sign < 0:
        so = "they cannot take the place of the real images" + (", not so few of them" * fewer)
        do = "keep the real images" + ("; compare again with as many generated ones" * fewer)
        return Advice("warn", "in place of real images", what, so, do, "12_not_mutual")
    if gap.sign > 0:
        so = "they teach at least as much as the real images"
        do = "check on other test images before you believe it"
        return Advice("ok", "in place of real images", what, so, do, "12_not_mutual")
    return undecided(report, "in place of real images", what)


def together(report: Report) -> Advice:
    """Say whether adding helps (interval above zero), hurts (below: stop) or is undecided."""
    gap, text = _trained(report, BOTH)
    what = f"trained on both: {text}"
    if gap.sign > 0:
        so = "adding them to the real images helps"
        do = "add them; try more of them, or a smaller share, on validation images"
        return Advice("ok", "added to real images", what, so, do)
    if gap.sign < 0:
        so = "adding them to the real images hurts"
        do = (
            "leave them out; or add fewer, filter them, or let real images have the last word"
            " (Real Guidance, Wang et al. 2024, Eq. 2)"
        )
        return Advice("stop", "added to real images", what, so, do)
    return undecided(report, "added to real images", what)


def remedies(report: Report) -> Advice:
    """Say which remedies help (interval above zero), which do not, and which are undecided.

    A warning unless one helps. One whose interval against `AUG` is above zero too is worth more
    than mixing the two sets, which takes no method at all.
    """
    topic, chapter = "remedies", "16_real_guidance"
    if report.remedies is None:
        so = "not known: none was tried"
        return Advice("warn", topic, "no remedy", so, "name some: -p remedies RG,DANN", chapter)
    accuracy = report.remedies.accuracy
    tried = [one for one in effects(accuracy) if one.name != GENERATED]
    changes = ", ".join(f"{one.name} {one.against_real.text(1)}" for one in tried)
    better = [one.name for one in tried if one.against_aug.sign > 0]
    what = (
        f"on real images alone {mean(accuracy[REAL]):.1f} % right; difference of each remedy:"
        f" {changes}; better than mixing ({AUG}): {', '.join(better) or 'none'}"
    )
    found = {word: [one.name for one in tried if one.verdict == word] for word in VERDICTS.values()}
    so = "; ".join(f"{word}: {', '.join(names)}" for word, names in found.items() if names)
    open_still = bool(found[VERDICTS[0]])
    so += " (the interval spans zero)" * open_still
    if helpful := found[VERDICTS[1]]:
        best = [name for name in helpful if name in better] or helpful
        do = (
            f"train with {' or '.join(best)}, and check on other test images: of several that are"
            " tried, one may look good by chance"
        )
        return Advice("ok", topic, what, so, do, chapter)
    do = "train on the real images alone, or make better generated images first"
    if open_still:
        do = undecided(report, topic, what).do
    return Advice("warn", topic, what, so, do, chapter)


def direction(report: Report) -> Advice:
    """Warn if leaving home costs more from generated to real images than the other way."""
    gap = Difference(*interval(report.values["asymmetry"]))
    out, back = report.values["synthetic_to_real_drop"], report.values["real_to_synthetic_drop"]
    what = (
        f"points lost from generated to real images {mean(out):.1f}, from real to generated"
        f" {mean(back):.1f} (below 0: gained; difference {gap.text(1)})"
    )
    if gap.sign > 0:
        so = "the gap is not mutual: they leave something out rather than look different"
        do = "as for content: variety matters more than beauty"
        return Advice("warn", "direction of the gap", what, so, do, "12_not_mutual")
    if gap.sign < 0:
        so = "real images prepare less for generated ones than the other way round"
        do = "look for wrong labels and artefacts among the generated images"
        return Advice("warn", "direction of the gap", what, so, do, "12_not_mutual")
    return undecided(report, "direction of the gap", what)


def easy(report: Report) -> Advice:
    """Warn if more generated than unseen real images have a loss near zero."""
    gap, text = against(report, "near_zero_loss")
    what = f"share with a loss near zero {text}; generated against unseen real images"
    if gap.sign > 0:
        so = "many of them teach a classifier trained on real images nothing new"
        do = "generate more and keep those of higher loss, after a look at the highest"
        return Advice("warn", "new to a classifier", what, so, do, "14_what_an_image_teaches")
    so = "they are no easier than new real images"
    return Advice("ok", "new to a classifier", what, so, "nothing", "14_what_an_image_teaches")


def labels(report: Report) -> Advice:
    """Warn if more generated than unseen real images have a loss above 1 nat."""
    gap, text = against(report, "high_loss")
    what = f"share with a loss above 1 {text}; generated against unseen real images"
    if gap.sign > 0:
        so = "wrong labels or artefacts: a classifier trained on real images contradicts them"
        do = "look at the images of highest loss; keep those of which the classifier is sure"
        return Advice("warn", "labels", what, so, do, "14_what_an_image_teaches")
    so = "their labels are contradicted no more often than those of new real images"
    return Advice("ok", "labels", what, so, "nothing", "14_what_an_image_teaches")
