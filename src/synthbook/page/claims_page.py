"""All claims on one page: a compact table a study, and the counts of verdicts as a picture."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from synthbook.claims.decide import PAPERS, VERDICTS, Verdict, chapters_of
from synthbook.claims.language import Claim
from synthbook.store import root

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

STUDIES = {
    "gap": "Improving the Effectiveness of Deep Generative Data",
    "ready": "Is Synthetic Data from Generative Models Ready for Image Recognition?",
    "dip": "Data Instance Prior for Transfer Learning in GANs",
    "fake": "Fake It Till You Make It",
    "prim": "Generic and Privacy-free Synthetic Data Generation for Pretraining GANs",
}
# Okabe and Ito (2008); the hatches tell the bars apart where colours cannot.
LOOKS = {
    "holds": ("#0072B2", ""),
    "fails": ("#D55E00", "///"),
    "undecided": ("#F0E442", "..."),
    "not run": ("#E6E6E6", ""),
}


# Jupyter sets the cells of tables right-aligned and in one line.
STYLE = """<style>
table.claims {font-size: 0.85em}
table.claims td, table.claims th {text-align: left !important; vertical-align: top !important;
  white-space: normal !important}
</style>"""


def badge(one: Verdict | None) -> str:
    """Return a verdict as HTML: its word, the effect with its interval, and why, if it matters."""
    if one is None or one.verdict == "not run":
        return '<span class="verdict verdict-not-run">not run</span>'
    parts = [f'<span class="verdict verdict-{one.verdict}">{one.verdict}</span>']
    if one.effect_text:
        seeds = f"{one.seeds} seed{'s' if one.seeds != 1 else ''}"
        parts.append(f"{one.effect_text}, {seeds}")
    if one.reason:
        parts.append(f"<small>{html.escape(one.reason)}</small>")
    return "<br>".join(parts)


def chapter_links(claim: Claim) -> str:
    """Return links to the chapters whose rows a claim reads; those not yet written are named."""
    links = []
    for chapter in chapters_of(claim):
        written = (root() / "notebooks" / f"{chapter}.py").is_file()
        links.append(f'<a href="{chapter}.html">{chapter}</a>' if written else chapter)
    return ", ".join(links)


def _claim(claim: Claim) -> str:
    links = chapter_links(claim)
    parts = [
        f"<b>{claim.id}</b> {html.escape(claim.statement)}",
        f"<small>{html.escape(claim.where)}{'; ' if links else ''}{links}</small>",
    ]
    if claim.note:
        parts.append(f"<small>Note: {html.escape(claim.note)}</small>")
    return "<br>".join(parts)


def _evidence(claim: Claim) -> str:
    parts = [html.escape(claim.paper_evidence)]
    if claim.exceptions:
        parts.append(f"<small>Against or open: {html.escape(claim.exceptions)}</small>")
    return "<br>".join(parts)


def claims_table(
    chosen: Iterable[Claim], found: Iterable[Verdict], scales: Sequence[str]
) -> pd.DataFrame:
    """Return claims, a line each, with HTML in the cells.

    Args:
        chosen: claims in the order of the lines.
        found: their verdicts at any scales.
        scales: the scales that become columns; a scale without a verdict reads "not run".
    """
    import pandas as pd

    at = {(one.id, one.scale): one for one in found}
    lines = [
        {
            "claim": _claim(claim),
            **{scale: badge(at.get((claim.id, scale))) for scale in scales},
            "what the paper reports": _evidence(claim),
        }
        for claim in chosen
    ]
    return pd.DataFrame(lines, columns=["claim", *scales, "what the paper reports"])


def claims_html(
    chosen: Iterable[Claim], found: Iterable[Verdict], scales: Sequence[str], caption: str
) -> str:
    """Return `claims_table` as an HTML table that takes its look from the page."""
    import pandas as pd

    with pd.option_context("display.max_colwidth", None):
        text = claims_table(chosen, found, scales).to_html(
            escape=False, index=False, border=0, classes="claims", justify="left"
        )
    head, rest = text.split("\n", 1)
    return f"{STYLE}\n{head}\n<caption>{html.escape(caption)}</caption>\n{rest}"


def counts_table(found: Iterable[Verdict], scales: Sequence[str]) -> pd.DataFrame:
    """Return how many claims of each study have each verdict at each scale."""
    import pandas as pd

    held = list(found)
    lines = [
        {
            "study": paper,
            "scale": scale,
            **{
                word: sum((v.paper, v.scale, v.verdict) == (paper, scale, word) for v in held)
                for word in VERDICTS
            },
        }
        for scale in scales
        for paper in PAPERS
    ]
    return pd.DataFrame(lines)


def count_bars(counts: pd.DataFrame) -> Figure:
    """Draw `counts_table`: a panel a scale, a bar a study, a piece a verdict with its number."""
    import matplotlib.pyplot as plt

    scales = list(dict.fromkeys(counts["scale"]))
    size = (7.2, 0.7 + 1.75 * len(scales))
    figure, panels = plt.subplots(len(scales), sharex=True, squeeze=False, figsize=size)
    for scale, ax in zip(scales, panels[:, 0], strict=True):
        held = counts[counts["scale"] == scale].iloc[::-1]  # the first study on top
        left = held[VERDICTS[0]] * 0
        for word in VERDICTS:
            face, hatch = LOOKS[word]
            bars = ax.barh(
                held["study"], held[word], left=left, label=word, color=face, hatch=hatch,
                edgecolor="black", linewidth=0.6,
            )  # fmt: skip
            labels = [str(number) if number else "" for number in held[word]]
            ax.bar_label(
                bars, labels, label_type="center", fontsize=11,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.9},
            )  # fmt: skip
            left = left + held[word]
        ax.set_title(scale, loc="left")
        ax.grid(False)
    panels[-1, 0].set_xlabel("claims")
    handles, words = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper center", ncols=len(words))
    return figure
