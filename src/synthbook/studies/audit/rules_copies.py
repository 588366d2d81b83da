"""The rules on copies: of training images, and of test images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthbook.studies.audit.findings import Advice, rates

if TYPE_CHECKING:
    from synthbook.studies.audit.report import Report


def equal_images(report: Report) -> Advice:
    """Stop at one generated image that equals a training image.

    Unless as large a share of the unseen real images does so, too (the interval of the difference
    spans zero): then it is the data set that repeats itself, as icons and blank images do.
    """
    found = report.copies
    count, total = found["equal_generated_in_train"], found["n_all_generated"]
    base, unseen = found["equal_held_out_in_train"], found["n_all_unseen"]
    what = (
        f"{count:.0f} of {total:.0f} generated images equal a training image byte for byte;"
        f" of unseen real images {base:.0f} of {unseen:.0f}"
    )
    if not count:
        return Advice("ok", "equal images", what, "no image was copied outright", "nothing")
    if base and rates(count, total, base, unseen).sign <= 0:
        so = "the data set repeats itself, and the generated images do so no more than it"
        return Advice("warn", "equal images", what, so, "remove duplicates from the real images")
    so = "these are training images, with whatever rights and private facts they carry"
    do = "do not publish the set before they are removed; train on fewer steps or more images"
    return Advice("stop", "equal images", what, so, do)


def near_copies(report: Report) -> Advice:
    """Stop if more generated than unseen real images lie half-way or nearer to a training image.

    See `copies.closeness` for why half-way. The interval of the difference of the two shares must
    lie above zero; a few pairs that do not reach that are a warning.
    """
    found = report.copies
    count, total = found["near_train"], found["n_generated"]
    base, unseen = found["near_train_unseen"], found["n_unseen"]
    gap = rates(count, total, base, unseen)
    what = (
        f"{count:.0f} of {total:.0f} generated images are near copies of a training image;"
        f" of unseen real images {base:.0f} of {unseen:.0f}"
        f" (difference {100 * gap.mean:+.1f} points"
        f" [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}])"
    )
    if gap.sign > 0:
        so = "the generator has memorised: these show single training images, slightly changed"
        do = "look at the pairs above and remove them; train the generator for fewer steps"
        return Advice("stop", "near copies", what, so, do)
    if gap.mean > 0:
        so = "too few to tell memorising from chance"
        return Advice("warn", "near copies", what, so, "look at the pairs; raise most_images")
    so = "they come no nearer to single training images than new real images do"
    return Advice("ok", "near copies", what, so, "nothing")


def repeats(report: Report) -> Advice:
    """Warn if the data-copying test's score is below -3, as its authors read it.

    Meehan et al. (2020): a one-sided probability of about 0.001 that images drawn like the real
    ones lie so near to the training set. No reason to stop, because a generator that makes
    typical images only has the same score.
    """
    z = report.copies["copying_z"]
    what = f"score of the data-copying test {z:+.1f} (0 = like unseen real images)"
    if z < -3:
        so = "nearer to the training images than new real images: copies, or typical images only"
        do = "read with the lines on copies and on content: they tell the two apart"
        return Advice("warn", "distance to training images", what, so, do)
    farther = "farther from the training images than new real ones" if z > 3 else "as far as those"
    so = f"{farther}: no sign of copying"
    return Advice("ok", "distance to training images", what, so, "nothing")


def test_images(report: Report) -> Advice:
    """Stop if generated images equal test images, or are near copies of more than expected.

    What is expected: equal images between the real splits themselves, and the share of training
    images that are near copies of a test image.
    """
    found = report.copies
    equal, near = found["equal_generated_in_held_out"], found["near_test"]
    base = found["equal_held_out_in_train"]
    gap = rates(near, found["n_generated"], found["near_test_train"], found["n_train"])
    what = (
        f"{equal:.0f} generated images equal a test image; near copies of one: {near:.0f} of"
        f" {found['n_generated']:.0f}, of training images {found['near_test_train']:.0f} of"
        f" {found['n_train']:.0f}"
    )
    if (equal and not base) or gap.sign > 0:
        so = "the generator has seen test images, so no accuracy measured on them counts"
        do = "train the generator on the training split only, or choose other test images"
        return Advice("stop", "test images", what, so, do)
    if equal:
        so = "the real splits share images, which may be all there is to it"
        return Advice("warn", "test images", what, so, "remove duplicates from the real images")
    return Advice("ok", "test images", what, "the test images are unseen", "nothing")
