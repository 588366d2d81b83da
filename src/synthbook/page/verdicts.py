"""Verdicts as HTML: effect, weakest part, votes and reason in lines, and tables of the parts."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from synthbook.claims.catalogue import premises
from synthbook.claims.decide import Part, Verdict
from synthbook.claims.inference import MIN_SEEDS
from synthbook.page.figures import seeds_text
from synthbook.page.tables import MISSING, Display, plain, verdict_html
from synthbook.record.chapters import MINI

DECIDED = ("holds", "fails", "no effect")

_EFFECT = re.compile(r"[-+][\d.]+ \[[^][]+\]")


def unbroken(text: str) -> str:
    """Return a text as HTML in which no line ends between an effect and its interval's end."""
    return _EFFECT.sub(r'<span class="book-effect">\g<0></span>', html.escape(text))


def effect(verdict: Verdict) -> str:
    """Return an effect with its interval, unit and number of seeds; "" if there is none."""
    text = unbroken(verdict.effect_text)
    said = 1 < verdict.seeds < MIN_SEEDS  # in the effect's own text, in place of an interval
    return f"{text}, {seeds_text([verdict.seeds])}" if text and not said else text


def says(verdict: Verdict) -> str:
    """Return, as HTML, what a verdict rests on: its weakest part, votes, reason, and premises."""
    weakest = f"{verdict.inequality} at {verdict.cell}".removesuffix(" at ")
    formulas = tuple(part.inequality for part in verdict.parts)

    def sentence(text: str) -> str:
        return text if text.startswith(formulas) else text[:1].upper() + text[1:]

    lines = [sentence(verdict.reason)]
    if verdict.votes not in verdict.reason:
        lines.insert(0, verdict.votes)
    if verdict.inequality not in verdict.reason:
        lines.insert(0, f"Weakest: {weakest}")
    unmet = dict.fromkeys(one.shortfall for one in verdict.premises if one.shortfall)
    lines += [sentence(text) for text in unmet if text not in verdict.reason][:3]
    return "<br>".join(f"<small>{html.escape(line)}</small>" for line in lines if line)


def why_open(verdict: Verdict) -> str:
    """Return in a few words why a claim is undecided that has few seeds or its interval off zero.

    It is "" where the interval says it, and where the claim is not undecided.
    """
    if verdict.verdict != "undecided" or verdict.effect is None:
        return ""
    if 0 < verdict.seeds < MIN_SEEDS:
        return f"{'1 seed, and ' * (verdict.seeds == 1)}a verdict takes {MIN_SEEDS}"
    if verdict.low is None or verdict.high is None or verdict.low <= 0 <= verdict.high:
        return ""
    if "premise " in verdict.reason:
        return "a premise is not met"
    if verdict.votes and not verdict.cell.startswith("mean of"):
        return "too few cells are decided"
    return "below zero, but not surely, as one of several" if verdict.high < 0 else ""


def parts_that_hold(verdict: Verdict) -> str:
    """Return how many parts hold of a claim that does not: "5 of 6 parts hold"; "" if none do."""
    words = [part.verdict for part in verdict.parts if part.decides]
    held = words.count("holds")
    if verdict.verdict == "holds" or not held or len(words) < 2:
        return ""
    return f"{held} of {len(words)} parts hold{'s' * (held == 1)}"


def not_so_beside(verdict: Verdict) -> str:
    """Return, in a sentence, what does not hold of all that is asked beside a claim that holds.

    What speaks most against the claim is named. It is "" where all of it holds or was not run, and
    where the claim does not hold itself.
    """
    beside = [part for part in verdict.parts if part.because and part.verdict != "not run"]
    open_ = [part for part in beside if part.verdict != "holds"]
    if verdict.verdict != "holds" or not open_:
        return ""
    worst = min(open_, key=lambda part: (part.verdict != "fails", part.p_fail))
    place = ", ".join(text for text in worst.cell.split(", ") if "=" in text)
    numbers = ", ".join(filter(None, (worst.verdict, place, worst.effect_text)))
    some = "do not hold, such as" if len(open_) > 1 else "does not hold"
    return f"Beside it {len(open_)} of {len(beside)} {some}: {worst.because} ({numbers})."


def paper_sizes(verdict: Verdict) -> str:
    """Return in a few words that a claim of which the paper's own sizes are part was decided small.

    It is "" where the claim can be asked of a miniature, and where it is not decided at one.
    """
    if verdict.scale_free or verdict.scale != MINI or verdict.verdict not in DECIDED:
        return ""
    return "the paper's own sizes are part of this claim"


def parts(verdicts: Sequence[Verdict]) -> str:
    """Return the parts of a claim as HTML: every inequality in every cell with its own verdict.

    What is shown beside and decides nothing is grey, with its reason.
    """
    import pandas as pd

    def line(part: Part, scale: str) -> dict[str, str]:
        texts = (html.escape(part.inequality), html.escape(part.cell), html.escape(scale))
        because = part.because or "one of those in the mean"
        texts = (*texts, verdict_html(part.verdict), html.escape(part.effect_text) or MISSING)
        if not part.decides:
            texts = (f"{texts[0]}<br><small>beside: {html.escape(because)}</small>", *texts[1:])
            texts = tuple(f'<span class="book-beside">{text}</span>' for text in texts)
        return dict(zip(("inequality", "where", "scale", "alone", "effect"), texts, strict=True))

    lines = [line(part, verdict.scale) for verdict in verdicts for part in verdict.parts]
    notes = [
        "Effect: the side that the claim says is larger, less the other; means over seeds "
        "[95 % interval]. Above 0 supports it.",
        "Each part is judged alone here; the verdict also corrects for their number.",
    ]
    return plain(pd.DataFrame(lines), notes=notes, markup=True).html


def premises_table(verdicts: Sequence[Verdict], scales: Sequence[str]) -> Display:
    """Return the named premises, why each is one, and in how many cells each scale meets it.

    Cells without rows to judge it are left out.
    """
    import pandas as pd

    met: dict[tuple[str, str], dict[str, bool]] = {}
    for verdict in verdicts:
        for one in verdict.premises:
            if one.met is not None:
                name, cell = one.premise.partition(" (")[0], repr((one.premise, one.place))
                met.setdefault((name, verdict.scale), {})[cell] = one.met
    lines = []
    for name, premise in premises().items():
        head = f'<b id="premise-{name}">{name}</b> {html.escape(premise.statement)}'
        asked = ", ".join(item.text for item in premise.check.require)
        head += f"<br><small>{html.escape(asked)}</small>"
        held = [met.get((name, scale), {}).values() for scale in scales]
        cells = [f"met in {sum(some)} of {len(some)} cells" if some else MISSING for some in held]
        why = html.escape(premise.why)
        lines.append({"premise": head, "why": why, **dict(zip(scales, cells, strict=True))})
    table = pd.DataFrame(lines, columns=["premise", "why", *scales])
    return plain(table, caption="Premises", markup=True, kind="claims")
