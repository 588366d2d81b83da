"""The rules of an audit's advice, as data: what each line rests on, and its words by answer."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple

SEVERITIES = ("stop", "warn", "ok", "void")
UNDECIDED, VOID = "undecided", "void"
# What lines rest on: that the generator has not seen the test images, that the generated images
# are its own and no copies, that their labels came with them.
UNSEEN, NEW, LABELLED = "unseen", "new", "labelled"
LOST = {
    UNSEEN: "the generator has seen test images",
    NEW: "copies of training images are among them",
    LABELLED: "their labels are those of a classifier trained on the real images",
}


class Words(NamedTuple):
    """What an answer means, what to do, and what it takes away from other lines."""

    severity: str
    so: str
    do: str = ""
    voids: str = ""


class Rule(NamedTuple):
    """A line of the advice: what it rests on, how its measure reads, and the words by answer.

    ``None`` stands for every answer without words of its own, but for "undecided".
    """

    chapter: str
    rests_on: frozenset[str]
    measured: str
    words: Mapping[Hashable, Words]


def words_of(topic: str, answer: Hashable) -> Words:
    """Return the words of a topic's answer."""
    words = RULES[topic].words
    if answer == UNDECIDED:
        return words.get(UNDECIDED, _UNDECIDED)
    return words[answer] if answer in words else words[None]


EFFECTS = {1: "helps", -1: "does not help", 0: UNDECIDED}
_UNDECIDED = Words("warn", "undecided: {why}", "run more seeds: -p seeds={more}")
_LABELS = "look at the images of highest loss; keep those of which the classifier is sure"
_MISSING = "content gap: kinds of real images that the generator makes too rarely or not at all"
_VARIETY = ("do not replace real images; mix, and generate more variety (weaker guidance or"
            " truncation, longer training, more training images of rare kinds)")  # fmt: skip
_REPLACE = "they cannot take the place of the real images"
_APART = "name real images that the generator has never seen: -p test=FOLDER, kept apart before"
# fmt: off
RULES: dict[str, Rule] = {
    "test images": Rule("", frozenset(), "{test_equal} generated images equal a test image; near"
        " copies of a test image: {test_near} generated ones and, for comparison,"
        " {test_near_train} training images", {
        "seen": Words("stop", f"{LOST[UNSEEN]}, so no accuracy measured on them counts",
                      f"train it on the training images only, or {_APART}", UNSEEN),
        "shared": Words("warn", "the real splits share images, which may be all there is to it",
                        "remove duplicates from the real images"),
        "few": Words("warn", "too few near copies to tell whether the generator has seen them",
                     "{search}; remove duplicates from the real images"),
        "drawn": Words("warn", "they are drawn from images that the generator may have seen; no"
                       " near copies of them are found, but not all that was seen is copied",
                       f"if it was trained on all of these, {_APART}"),
        "unseen": Words("ok", "no sign that the generator has seen the test images"),
    }),
    "equal images": Rule("", frozenset(), "{equal} generated images equal a training image byte"
        " for byte; of unseen real images {equal_unseen}", {
        "copied": Words(
            "stop", "training images are among them, with whatever rights and private facts they"
            " carry", "do not publish the set before they are removed; train on fewer steps or"
            " more images", NEW),
        "repeated": Words(
            "warn", "the data set repeats itself, and the generated images do so no more than it",
            "remove duplicates from the real images"),
        "none": Words("ok", "no image was copied outright"),
    }),
    "near copies": Rule("", frozenset(), "{near} generated images are near copies of a training"
        " image; of unseen real images {near_unseen} (difference {near_gap})", {
        1: Words("stop", "the generator has memorised: some show single training images, slightly"
                 " changed",
                 "look at the closest pairs and remove them; train the generator for fewer steps",
                 NEW),
        "few": Words("warn", "too few to tell memorising from chance",
                     "look at the pairs; {search}"),
        None: Words("ok", "they come no nearer to single training images than new real images do"),
    }),
    "labels": Rule("14_what_an_image_teaches", frozenset({LABELLED}), "share with a loss above 1:"
        " {high_loss}; generated against unseen real images", {
        1: Words("warn", "wrong labels or artefacts: a classifier trained on real images"
                 " contradicts them", _LABELS),
        None: Words("ok", "their labels are contradicted no more often than those of new real"
                    " images"),
    }),
    "beside real images": Rule("16_real_guidance", frozenset({UNSEEN}), "{both}", {
        "helps": Words("ok", "{effects}", "train with {best}, and check on other test images"),
        "hurts": Words("stop", "adding them to the real images hurts: {effects}",
                       "train on the real images alone, or make better generated images first"),
        UNDECIDED: Words("warn", "{effects}", "run more seeds: -p seeds={more}"),
    }),
    "in place of real images": Rule("12_not_mutual", frozenset({UNSEEN}), "trained on generated"
        " images alone: {alone}", {
        -1: Words("warn", _REPLACE, "keep the real images"),
        "too few": Words("warn", f"{_REPLACE}, not so few of them",
                         "keep the real images; compare again with as many generated ones"),
        1: Words("ok", "they{alone_way} teach more than the real images",
                 "check on other test images before you believe it"),
    }),
    "content": Rule("12_not_mutual", frozenset({NEW}), "recall {recall}; coverage {coverage};"
        " generated against unseen real images", {
        "missing": Words("warn", f"{_MISSING}; more is missing than distorted", _VARIETY),
        "short": Words("warn", _MISSING, _VARIETY),
        "none": Words("ok", "no kind of real image was found missing"),
    }),
    "quality": Rule("11_generators", frozenset({NEW}), "precision {precision}; generated against"
        " unseen real images", {
        -1: Words("warn", "quality gap: images that look like no real one",
                  "keep those of which a classifier trained on real images is sure; stronger"
                  " guidance or truncation, at a price in content"),
        None: Words("ok", "no more images are out of place than among real ones"),
    }),
    "appearance": Rule("12_not_mutual", frozenset({NEW}), "told apart by a linear classifier"
        " {appearance} (0 = not at all, 1 = always)", {
        1: Words("warn", "something betrays the generated images, be it a texture, a tint or what"
                 " they show", "first make sure that both went through the same resizing, file"
                 " format and colours; then train the generator longer"),
        None: Words("ok", "their look does not betray them"),
    }),
    "direction of the gap": Rule("12_not_mutual", frozenset({UNSEEN, NEW, LABELLED}), "points lost"
        " from generated to real images {drops[0]}, from real to generated {drops[1]} (below 0:"
        " gained; difference {asymmetry})", {
        1: Words("warn", "the gap is not mutual: they leave something out rather than look"
                 " different", "as for content: variety matters more than beauty"),
        -1: Words("warn", "real images prepare less for generated ones than the other way round",
                  "look for wrong labels and artefacts among the generated images"),
        0: Words("ok", "as much is lost in either direction, as far as these seeds tell"),
    }),
    "new to a classifier": Rule("14_what_an_image_teaches", frozenset({NEW, LABELLED}), "share"
        " with a loss near zero: {near_zero_loss}; generated against unseen real images", {
        1: Words("warn", "many of them teach a classifier trained on real images nothing new",
                 "generate more and keep those of higher loss, after a look at the highest"),
        None: Words("ok", "they are no easier than new real images"),
    }),
    "distance to training images": Rule("", frozenset({UNSEEN}), "score of the data-copying test"
        " {z:+.1f} (0 = like unseen real images)", {
        -1: Words("warn", "nearer to the training images than new real images: copies, or typical"
                  " images only",
                  "read with the lines on copies and on content: they tell the two apart"),
        0: Words("ok", "as far as those: no sign of copying"),
        1: Words("ok", "farther from the training images than new real ones: no sign of copying"),
    }),
}

# The bottom line. Its first sentence, by what decides it:
USE: dict[Hashable, str] = {
    VOID: f"Do not use them on the strength of this page: {LOST[UNSEEN]}, so no accuracy counts",
    "wrong labels": "Do not use them as they are: a classifier trained on the real images"
                    " contradicts too many of their labels; correct or drop those first",
    "hurts": "Do not use them: every way of training on both that was tried loses accuracy on"
             " unseen real images",
    UNDECIDED: "Do not count on them: whether they help beside real images is undecided"
               " ({both_why})",
    "beside": "Use them: training on both by {gains} points of accuracy on unseen real images",
    "instead": "Use them: alone{alone_way} they teach more than the real images, by {alone_gap}"
               " points",
}
USE |= {
    f"{key} after a look": USE[key].replace("Use them", "Use them after a look at the images with"
                                            " contradicted labels")
    for key in ("beside", "instead")
}
# The second, by the place that is left to them:
_LOSE = "alone the generated ones lose accuracy ({alone_gap} points)"
PLACE: dict[Hashable, str] = {
    VOID: "Neither beside the real images nor instead of them, until they are measured on real"
          " images that the generator has never seen",
    "none": "Train on the real images alone",
    "either": "Beside the real images or instead of them: both help",
    "instead": "Instead of the real images; beside them is undecided or worse",
    -1: f"Beside the real images, not instead of them: {_LOSE}",
    "too few": f"Beside the real images, not instead of them: {_LOSE}, so few of them",
    UNDECIDED: "Beside the real images, not instead of them: whether they can is undecided",
    "keep -1": f"Keep to the real images: {_LOSE}",
    "keep too few": f"Keep to the real images: {_LOSE}, so few of them",
    "keep undecided": "Keep the real images: whether others can take their place is undecided",
}
# The third, by the first finding that is there:
PUBLISH: dict[tuple[str, Hashable] | None, tuple[str, str]] = {
    ("equal images", "copied"): ("no", "Do not publish them: {equal} equal a training image, with"
                                 " whatever rights and private facts it carries"),
    ("near copies", 1): ("no", "Do not publish them: {near} are near copies of a training image,"
                         " with whatever rights and private facts it carries"),
    ("test images", "seen"): ("no", "Do not publish them: {test_equal} equal a test image and"
                              " {test_near} are near copies of one, and these are real too"),
    ("equal images", "repeated"): ("look", "Look at the closest pairs before you publish: {equal}"
                                   " equal a training image"),
    ("near copies", "few"): ("look", "Look at the closest pairs before you publish: {near} are near"
                             " copies of a training image"),
    ("test images", "shared"): ("look", "Look at the closest pairs before you publish:"
                                " {test_equal} equal a test image"),
    ("test images", "few"): ("look", "Look at them before you publish: {test_near} are near copies"
                             " of a test image"),
    None: ("not refuted", "Nothing found speaks against publishing: {equal} are copies, {near} near"
           " copies; but shifted, cropped or mirrored ones escape, and rights are not measured"),
}
