"""What came out so far, in a minute: a reader's questions, each with verdicts of a few claims.

The claims are chosen by what they ask, main ones of their study, and not by what comes out. It is
on the book's first page, put there while the book is built, and on top of the page of all claims.
"""

from __future__ import annotations

import html
from collections import Counter

from synthbook.claims.catalogue import chapters_of, find
from synthbook.claims.decide import Verdict, recorded_scales, verdicts
from synthbook.errors import InputError
from synthbook.page.page import VERBS
from synthbook.page.tables import Display, verdict_html
from synthbook.page.verdicts import not_so_beside, unbroken, why_open
from synthbook.record.chapters import MINI, Chapter

# A question, and claims in words that are true to their statements in fewer words.
QUESTIONS = {
    "Are generated images worth as much as real ones?": {
        "gap-09": "Alone, they teach a classifier less than as many real images.",
        "gap-01": "From generated to real images a classifier loses more than the other way round.",
        "gap-07": "What they lack is rare content, rather than quality.",
    },
    "Do they help beside a few real images?": {
        "gap-20": "Added to few real images, they improve on these alone.",
        "ready-18": "They improve a classifier on CLIP over a few shots of each class alone.",
        "ready-19": "They add less, the more real shots there are.",
    },
    "Which way of training with them is worth it?": {
        "gap-10": "Pretrained Guidance improves training on generated images alone.",
        "gap-21": "Real Guidance and Pretrained Guidance improve on mixing in a few real images.",
        "gap-23": "Both together are better than all rivals for few real images.",
        "gap-18": "Domain adaptation in two stages falls behind plain mixing.",
    },
    "Can they be made from class names alone?": {
        "fake-01": "Class names alone make a training set for a useful classifier.",
        "fake-02": "At equal size it stays behind real images.",
        "fake-05": "Weaker guidance makes the better training set.",
        "ready-01": "Images of the names improve a zero-shot classifier on every data set.",
    },
    "Are they good for pretraining?": {
        "ready-26": "They close most of the gap between no pretraining and a real one.",
        "ready-29": "Added to real pretraining, they improve on it.",
        "fake-18": "Features learned from them transfer as well as those from real images.",
    },
    "Does it help a GAN of few images to be told what another network sees in them?": {
        "dip-01": "With a hundred images this lowers the distance to unseen images.",
        "dip-03": "It does so on top of differentiable augmentation.",
        "dip-15": "It does so with whole data sets, too.",
    },
    "Do drawn shapes prepare a GAN for few photographs?": {
        "prim-01": "Pretrained on them, it learns a hundred photographs better than from scratch.",
        "prim-06": "They are a better start than photographs of something else.",
        "prim-09": "With them training takes less than a third of the steps.",
    },
}
BEDS = {MINI: "a miniature: photographs of 32 pixels and small networks"}
PLACE = "<!-- what came out so far: put here while the book is built -->"


def came_out() -> Display:
    """Return what came out so far, at the smallest scale that has recorded rows.

    Links are those of a page in a folder beside ``notebooks``. The plain text has a line a claim.
    """
    scale = (recorded_scales() or [MINI])[0]
    ids = [name for claims in QUESTIONS.values() for name in claims]
    found = {one.id: one for one in verdicts(scale, ids=ids)}
    counts = Counter(one.verdict for one in found.values())
    told = [f"{n} {VERBS[word][n > 1]}" for word in VERBS if (n := counts[word])]
    last = f" and {told.pop()}" if len(told) > 1 else ""
    bed = f"{scale} ({BEDS[scale]})" if scale in BEDS else scale
    first = f"Measured at scale {bed}. Of the {len(ids)} claims below {', '.join(told)}{last}."
    lines = [
        f"<p>{html.escape(first)}</p>",
        '<p class="book-note"><small>Effect: of the weakest thing that the claim needs, mean over '
        "seeds [95 % interval]; above 0 supports the claim. Undecided: the rows do not say. "
        "A claim's name leads to its chapter. "
        '<a href="../book/how_to_read.html#claims-verdicts-and-intervals">What the words mean</a>; '
        '<a href="../notebooks/62_claims.html">all claims</a>.</small></p>',
    ]
    for question, claims in QUESTIONS.items():
        items = "\n".join(_item(found[name], words) for name, words in claims.items())
        lines.append(f"<p><b>{html.escape(question)}</b></p>\n<ul>\n{items}\n</ul>")
    text = [f"{one.id} {one.verdict}" for one in found.values()]
    inner = "\n".join(lines)
    return Display(f'<div class="book-headlines">\n{inner}\n</div>', "\n".join([first, *text]))


def _item(verdict: Verdict, words: str) -> str:
    """Return a claim in a line: its verdict, its words, the effect, and its place in a chapter.

    What is asked beside a claim that holds, and does not hold itself, stands behind it.
    """
    (claim,) = find([verdict.id])
    chapter = next(c for c in map(Chapter, chapters_of(claim)) if c.script.is_file())
    link = f"../notebooks/{chapter.name}.html#{claim.id}"
    told = [unbroken(text) for text in (verdict.effect_text, why_open(verdict)) if text]
    told.append(f'<a href="{link}" title="{html.escape(chapter.title)}">{claim.id}</a>')
    word, beside = verdict_html(verdict.verdict), unbroken(not_so_beside(verdict))
    small = "; ".join(told) + (f". {beside}" if beside else "")
    return f"<li>{word} {html.escape(words)} <small>{small}</small></li>"


def with_headlines(page: str) -> str:
    """Return a page of the book, in Markdown, with what came out at its `PLACE`.

    Raises:
        InputError: if the page has no such place, or several.
    """
    if page.count(PLACE) != 1:
        raise InputError(f"book/intro.md has to have this line once: {PLACE}")
    return page.replace(PLACE, came_out().html)
