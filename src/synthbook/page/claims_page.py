"""Claims with their verdicts: those of a chapter, with the way back to rows, and all on a page."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthbook.claims.catalogue import PAPERS, chapters_of
from synthbook.claims.decide import VERDICTS, Verdict, recorded_scales
from synthbook.claims.language import Claim
from synthbook.errors import check_choice
from synthbook.page.evidence import claim_line, evidence, published_at, ranges
from synthbook.page.tables import Display, plain, verdict_html
from synthbook.page.verdicts import effect, paper_sizes, parts, says
from synthbook.record.chapters import MINI, Chapter, chapters

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
    "no effect": ("#56B4E9", "\\\\"),
    "undecided": ("#F0E442", "..."),
    "not run": ("#E6E6E6", ""),
}
ON_PHONE = '<small class="on-phone">{}: </small>'  # what the head of a column says elsewhere


def known_scales() -> list[str]:
    """Return the scales that a chapter has or that have recorded rows, mini first, then by name."""
    names = {*recorded_scales(), *(name for chapter in chapters() for name in chapter.scales)}
    return sorted(names, key=lambda name: (name != MINI, name))


def scales_to_show(asked: Sequence[str]) -> list[str]:
    """Return the scales that are asked for, or all that have recorded rows; check their names."""
    for name in asked:
        check_choice("scale", name, known_scales())
    return list(asked) or recorded_scales() or [MINI]


def badge(verdict: Verdict | None, chapters: Sequence[Chapter] = ()) -> str:
    """Return a verdict as HTML: its word, the effect with its interval, and, folded, the reason.

    The word is a link to the claim's place in the first of ``chapters``. No verdict is "not run".
    """
    if verdict is None:
        return verdict_html("not run")
    why = says(verdict)
    folded = f"<details><summary>why</summary>{why}</details>" if why else ""
    shown = f"<br>{effect(verdict)}" if verdict.effect_text else ""
    shown += f"<br><small>{sizes}</small>" if (sizes := paper_sizes(verdict)) else ""
    word = verdict_html(verdict.verdict)
    if chapters:
        word = f'<a href="{chapters[0].name}.html#{verdict.id}">{word}</a>'
    return f"{word}{shown}{folded}"


def _fields(fields: Mapping[str, Any]) -> str:
    return html.escape(", ".join(f"{name}={value}" for name, value in fields.items()))


def _static(path: Path) -> str:
    """Return a link to a file of the book that its build puts below ``_static``, as HTML."""
    place = published_at(path).as_posix()
    place, name = html.escape(place), html.escape(path.as_posix())
    return f'<a href="../_static/{place}"><code>{name}</code></a>'


def _way_back(claim: Claim, verdicts: Sequence[Verdict]) -> str:
    """Return, as HTML, where a claim stands, which rows it reads, and how to run them again."""
    path, _ = claim_line(claim.id)  # no line: it would change with each claim before it
    lines = [f"The check: {_static(path)}, at <code>id: {claim.id}</code>."]
    held = {one.scale: evidence(one.parts, one.scale) for one in verdicts}
    files = {line.path for found in held.values() for rows in found.values() for line in rows}
    lines.append(f"Its rows: {', '.join(map(_static, sorted(files))) or 'none yet'}.")
    if check := claim.check:
        lines += [f"All with {_fields(check.where)}."] if check.where else []
        for name, fields in check.let.items():
            at = [
                f"{scale} {ranges(line.number for line in found[name])}"
                for scale, found in held.items()
                if found.get(name)
            ]
            where = f"; lines {html.escape('; '.join(at))}" if at else ""
            lines.append(f"<code>{html.escape(name)}</code>: {_fields(fields)}{where}")
        for name, values in check.each.items():
            lines.append(
                f"<code>{{{html.escape(name)}}}</code> is each of {html.escape(', '.join(values))}."
            )
        others = map(html.escape, check.include)
        included = (f'<a href="62_claims.html#{name}">{name}</a>' for name in others)
        lines += [f"Also the parts of {', '.join(included)}."] if check.include else []
    if files:
        lines.append(
            f"One seed anew, beside the recorded: <code>synthbook rerun {claim.id}</code>."
        )
    lines.append("As data: <code>synthbook claims --json</code>.")
    return f"<p><small>{'<br>'.join(lines)}</small></p>"


def _block(claim: Claim, verdicts: Sequence[Verdict]) -> str:
    """Return a claim as HTML: its verdict at each scale and, folded, its parts and its rows."""
    run = [one for one in verdicts if one.verdict != "not run"] or list(verdicts[:1])
    where = f"<small>{html.escape(claim.where)}</small>"
    name = f'<a href="62_claims.html#{claim.id}">{claim.id}</a>'
    lines = [f"<b>{name}</b> {html.escape(claim.statement)} {where}"]
    for one in run:
        told = "; ".join(filter(None, (effect(one), paper_sizes(one))))
        lines.append(f"{verdict_html(one.verdict)} <b>{html.escape(one.scale)}</b> {told}")
        lines += [says(one)] if says(one) else []
    count = sum(len(one.parts) for one in run)
    summary = f"{count} part{'s' * (count != 1)}, and the way back to the rows"
    folded = parts(run) + _way_back(claim, verdicts)
    return (
        f'<div class="book-claim" id="{claim.id}"><p>{"<br>".join(lines)}</p>\n'
        f"<details><summary>{summary}</summary>{folded}</details></div>"
    )


def claims_display(claims: Sequence[Claim], verdicts: Sequence[Verdict]) -> Display:
    """Return claims with what the recorded rows of every scale say of them.

    Its plain text has a line a claim, "gap-01 holds", with the verdict at ``mini``.
    """
    held = {claim.id: [one for one in verdicts if one.id == claim.id] for claim in claims}
    mini = {one.id: one.verdict for one in verdicts if one.scale == "mini"}
    note = (
        '<p class="book-note"><small>Of the recorded rows. Effect: of the weakest part, mean over '
        "seeds [95 % interval]; above 0 supports the claim.</small></p>"
    )
    return Display(
        "\n".join([*(_block(claim, held[claim.id]) for claim in claims), note]),
        "\n".join(f"{name} {mini.get(name, 'not run')}" for name in held),
    )


def _written(claim: Claim) -> list[Chapter]:
    """Return the chapters of the book whose rows a claim reads."""
    return [chapter for chapter in map(Chapter, chapters_of(claim)) if chapter.script.is_file()]


def _linked(claim: Claim) -> str:
    """Return a claim with links to the chapters whose rows it reads; unwritten ones are named."""
    written = _written(claim)
    links = ", ".join(
        [f'<a href="{c.name}.html#{claim.id}">{html.escape(c.title)}</a>' for c in written]
        + [html.escape(name) for name in chapters_of(claim) if Chapter(name) not in written]
    )
    where = "; ".join(filter(None, (html.escape(claim.where), links)))
    note = f"<br><small>Note: {html.escape(claim.note)}</small>" if claim.note else ""
    head = f'<b id="{claim.id}">{claim.id}</b> {html.escape(claim.statement)}'
    return f"{head}<br><small>{where}</small>{note}"


def _in_paper(claim: Claim) -> str:
    against = f"<br><small>Against or open: {html.escape(claim.exceptions)}</small>"
    evidence = ON_PHONE.format("Paper") + html.escape(claim.paper_evidence)
    return evidence + (against if claim.exceptions else "")


def claims_table(
    claims: Iterable[Claim], verdicts: Iterable[Verdict], scales: Sequence[str], caption: str
) -> Display:
    """Return claims, a line each: with the paper's evidence, and a column of verdicts a scale.

    At the first scale a claim without a verdict reads "not run"; another scale at which none of the
    claims was run is left out.
    """
    import pandas as pd

    claims = list(claims)
    names = {claim.id for claim in claims}
    at = {(v.id, v.scale): v for v in verdicts if v.id in names}
    run = {scale for (_, scale), found in at.items() if found.verdict != "not run"}
    scales = [name for name in scales if name == scales[0] or name in run]
    lines = [
        {
            "claim": _linked(claim),
            "what the paper reports": _in_paper(claim),
            **{
                scale: ON_PHONE.format(html.escape(scale))
                + badge(at.get((claim.id, scale)), _written(claim))
                for scale in scales
            },
        }
        for claim in claims
    ]
    return plain(pd.DataFrame(lines), caption=caption, markup=True, kind="claims")


def counts_table(verdicts: Iterable[Verdict], scales: Sequence[str]) -> pd.DataFrame:
    """Return how many claims of each study have each verdict at each scale."""
    import pandas as pd

    held = [(one.scale, one.paper, one.verdict) for one in verdicts]
    pairs = [(paper, scale) for scale in scales for paper in PAPERS]
    table = pd.DataFrame(pairs, columns=["study", "scale"])
    return table.assign(
        **{word: [held.count((scale, paper, word)) for paper, scale in pairs] for word in VERDICTS}
    )


def sizes_note(verdicts: Iterable[Verdict]) -> str:
    """Return, in a sentence, which decided verdicts of a miniature are of claims about sizes."""
    names = [one.id for one in verdicts if paper_sizes(one)]
    if not names:
        return ""
    return (
        f"Of those decided at {MINI}, {len(names)} are of claims that the paper's own sizes are "
        f"part of, so that a miniature says less of them: {', '.join(names)}."
    )


def count_bars(counts: pd.DataFrame) -> Figure:
    """Draw `counts_table`: a panel a scale, a bar a study, a piece a verdict with its number."""
    import matplotlib.pyplot as plt

    scales = list(dict.fromkeys(counts["scale"]))
    size = (7.2, 0.7 + 1.75 * len(scales))
    figure, panels = plt.subplots(len(scales), sharex=True, squeeze=False, figsize=size)
    for scale, ax in zip(scales, panels[:, 0], strict=True):
        held = counts[counts["scale"] == scale].iloc[::-1]  # the first study on top
        colors = [LOOKS[word][0] for word in VERDICTS]
        held.plot.barh(
            "study", list(VERDICTS), ax=ax, stacked=True, color=colors, edgecolor="black",
            linewidth=0.6, width=0.8, legend=False, ylabel="",
        )  # fmt: skip
        for word, bars in zip(VERDICTS, ax.containers, strict=True):
            for bar in bars:
                bar.set_hatch(LOOKS[word][1])
            ax.bar_label(
                bars, [str(number or "") for number in held[word]], label_type="center",
                fontsize=11,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.9},
            )  # fmt: skip
        ax.set_title(scale, loc="left")
        ax.grid(False)
    panels[-1, 0].set_xlabel("claims")
    handles, words = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper center", ncols=len(words))
    return figure
