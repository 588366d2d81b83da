"""What a chapter's page shows of its rows: this run, the recorded runs, the paper, and verdicts.

Recorded rows are shown beside a run of their own bed only: see `other_bed`.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from synthbook.claims import catalogue, decide
from synthbook.page.claims_page import claims_display
from synthbook.page.figures import seeds, seeds_text
from synthbook.page.tables import Display, aside, comparison, verdict_html
from synthbook.page.verdicts import (
    not_so_beside,
    paper_sizes,
    parts_that_hold,
    unbroken,
    why_open,
)
from synthbook.record.agreement import CLOCKS, compare
from synthbook.record.chapters import CUSTOM, FREE_NAMES, find
from synthbook.record.parameters import check_values
from synthbook.record.rows import recorded, recorded_rows
from synthbook.settings import source_paths

if TYPE_CHECKING:
    import pandas as pd

    from synthbook.record.rows import Run

DECIDED = ("holds", "fails", "no effect")
KEY = (  # to what stands behind a claim in an answer
    "Behind the name of a claim: the effect of the weakest thing that it needs "
    "[95 % interval over seeds]; above 0 supports the claim."
)
OTHERS = "Main claims, and others that are decided; the rest stands at the end of the page."
VERBS = {  # of one claim, of several
    "holds": ("holds", "hold"),
    "fails": ("fails", "fail"),
    "no effect": ("shows no effect", "show no effect"),
    "undecided": ("is undecided", "are undecided"),
    "not run": ("was not run", "were not run"),
}


def matching(table: pd.DataFrame, **where: Any) -> pd.DataFrame:
    """Return the rows that have these values, column=value or column=[values] for any of them.

    A table without such a column has none.
    """
    for name, wanted in where.items():
        if name not in table:
            return table.iloc[:0]
        several = isinstance(wanted, list | tuple | set | frozenset)
        table = table[table[name].isin(list(wanted) if several else [wanted])]
    return table


IMAGES = ("targets", "sources")  # parameters that are free in a scale and name images
NO_IMAGES = ("", "all outside")  # what a row has as its data set that is of none, or of several


def _images(p: Mapping[str, Any], targets: Iterable[str]) -> str:
    """Return in words what a run is of: its data set and the images that a GAN is to learn."""
    return ", ".join(dict.fromkeys([*([p["data"]] if "data" in p else []), *targets]))


def _differences(run: Run) -> dict[str, Any]:
    """Return the values in which a run differs from the nearest scale of its chapter, mini first.

    Those that are free in a scale, and the data set, are left out.
    """
    left_out = FREE_NAMES | {"data"}

    def other(scale: str) -> dict[str, Any]:
        usual = check_values(run.chapter, {}, scale)
        return {
            name: value
            for name, value in run.parameters.items()
            if name not in left_out and usual.get(name) != value
        }

    return min(map(other, find(run.chapter).scales), key=len)


def other_bed(run: Run, kept: Mapping[str, pd.DataFrame]) -> str:
    """Return, in a sentence, that recorded rows are not of a run's bed; "" if they are.

    A bed is what decides the meaning of a row without standing in it: data, size of the images,
    networks, budgets. These make a scale, so rows of a scale that is not on record are of another
    bed; and so are those with images that neither the scale names nor a recorded row is of. A row
    tells an encoder by its place among those that were given, so each has to have the scale's.
    """
    if not kept:
        return ""
    p, own = run.parameters, ""
    readers = [name for name, path in source_paths(p.get("sources", ())).items() if path]
    data = _images(p, [*p.get("targets", ()), *readers])
    if run.scale in kept:
        fields = (kept[run.scale][name] for name in ("dataset", "train", "test"))
        known = {part for field in fields for text in field.unique() for part in text.split("+")}
        usual = check_values(run.chapter, {}, run.scale)  # some of its parts may have no rows yet
        known.update(name for field in IMAGES for name in usual.get(field, ()))
        own = ", ".join(name for field in IMAGES for name in p.get(field, ()) if name not in known)
        given = p.get("encoders", ())
        if given != usual.get("encoders", ())[: len(given)]:
            own = f"{own or data} with encoders = {', '.join(given)}"
        if not own:
            return ""
    elif run.scale != CUSTOM:
        own = f"{data} ({run.scale})"
    else:
        other = _differences(run)
        settings = [f"{name} = {value}" for name, value in other.items()][:3]
        settings += [f"{len(other) - 3} more"] if len(other) > 3 else []
        own = data + (f" with {', '.join(settings)}" if settings else "")
    theirs = []
    for scale, table in kept.items():
        names = [name for name in table.dataset.unique() if name not in NO_IMAGES]
        usual = check_values(run.chapter, {}, scale) if scale in find(run.chapter).scales else {}
        named = "targets" in p or not usual
        theirs.append(f"{_images(usual, names if named else ())} ({scale})")
    return (
        f"Recorded rows and verdicts are of {' and '.join(theirs)}; this run is of {own}: "
        "they are not shown."
    )


class Page:
    """The rows of a run beside the recorded rows of its chapter, where they are of its bed.

    Attributes:
        recorded: the chapter's recorded rows by scale, mini first; none beside another bed.
        note: says that recorded rows are not shown, and why; "" where they are.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.chapter, self.scale = run, run.chapter, run.scale
        scales = decide.recorded_scales(self.chapter)
        kept = {scale: recorded(self.chapter, scale) for scale in scales}
        self.note = other_bed(run, kept)
        self.recorded = {} if self.note else kept
        if self.note:
            Answer(f"<p>{html.escape(self.note)}</p>", self.note).replace()

    @property
    def rows(self) -> pd.DataFrame:
        """The rows of this run so far."""
        return self.run.frame()

    def shown(self, metric: str | Sequence[str], **where: Any) -> tuple[pd.DataFrame, str]:
        """Return the rows that a figure shows, and whose they are: "5 seeds, recorded runs".

        They are recorded rows of this run's scale or, where there are none such, of this run;
        without either the words are "". The rows are those of one metric or several that have what
        else is asked as in `matching`.
        """
        kept = self.recorded.get(self.scale, self.rows.iloc[:0])
        for table, words in ((kept, "recorded runs"), (self.rows, "this run")):
            chosen = matching(table, metric=metric, **where)
            if len(chosen):
                return chosen, f"{seeds(chosen)}, {words}"
        return chosen, ""

    def table(
        self,
        index: Sequence[str],
        columns: str | None = None,
        paper: pd.DataFrame | None = None,
        select: Callable[[pd.DataFrame], pd.DataFrame] | Mapping[str, Any] | None = None,
        *,
        live: bool = True,
        **how: Any,
    ) -> Display:
        """Return the table of the paper, this run and, of its bed, every recorded scale.

        The clocks of this run (`CLOCKS`) are left out: its next run would show others.

        Args:
            index, columns, how: as in `comparison`.
            paper: values of the paper under the names of the rows.
            select: which rows: values as in `matching`, or a function of a table that has rows.
            live: False leaves this run out.
        """

        def pick(table: pd.DataFrame) -> pd.DataFrame:
            return select(table) if callable(select) else matching(table, **(select or {}))

        if self.note:
            how["notes"] = [self.note, *how.get("notes", ())]
        own = self.rows[~self.rows.metric.isin(CLOCKS)] if live and len(self.rows) else None
        own = pick(own) if own is not None and len(own) else None
        recorded = [pick(table) for table in self.recorded.values()]
        return comparison(own, recorded, paper, index=index, columns=columns, **how)

    def claims(self, *ids: str) -> Display:
        """Return claims with their verdicts, parts and rows; by default all of this chapter."""
        asked = catalogue.find(ids) if ids else catalogue.claims_of(self.chapter)
        if self.note:
            names = ", ".join(claim.id for claim in asked)
            return aside(f"{self.note} The claims asked here: {names}.")
        return claims_display(asked, decide.verdicts(ids=[claim.id for claim in asked]))

    def agreement(self) -> Display:
        """Return how far this run's rows agree with the recorded rows of the same seeds."""
        if self.note:
            return aside(self.note)
        agreement = compare(self.run.rows(), recorded_rows(self.chapter, self.scale))
        return aside(f"{'✓' if agreement.ok else '✗'} {agreement.text}")


class Answer(Display):
    """What stands at the top of a page; a run of another bed puts its `Page.note` in its place."""

    def _ipython_display_(self, update: bool = False) -> None:
        from IPython.display import display

        texts = {"text/html": self.html, "text/plain": self.text}
        display(texts, raw=True, display_id="synthbook-answer", update=update)

    def replace(self) -> None:
        """Show it, in a kernel, in place of the answer that is shown there."""
        if "ipykernel" in sys.modules:
            self._ipython_display_(update=True)


def answer(chapter: str, *ids: str) -> Answer:
    """Return what came out at ``mini`` of claims, by default of all that read a chapter's rows.

    After how many there are of each verdict, each main claim is told that was run, also where it is
    undecided, and then each other that is decided, both in the order of the catalogue. What is
    asked beside a claim that holds, and does not hold itself, stands behind it.

    It stands above the parameters, so it is of the recorded runs until a `Page` knows better.
    """
    asked = catalogue.find(ids) if ids else catalogue.claims_of(chapter)
    found = {one.id: one for one in decide.verdicts("mini", ids=[claim.id for claim in asked])}
    by_verdict = {
        word: [claim for claim in asked if found[claim.id].verdict == word] for word in VERBS
    }
    counts = [
        f"{len(held)} {VERBS[word][len(held) > 1]} ({', '.join(claim.id for claim in held)})"
        for word, held in by_verdict.items()
        if held
    ]
    over = seeds_text(one.seeds for one in found.values() if one.seeds)
    at = f"at mini over {over}" if over else "at mini"
    if len(asked) == 1:
        sentence = f"The claim asked here, {at}, {counts[0][2:]}."
    else:
        last = f" and {counts.pop()}" if len(counts) > 1 else ""
        sentence = f"Of the {len(asked)} claims asked here, {at}, {', '.join(counts)}{last}."
    told = [
        claim
        for main, words in ((True, (*DECIDED, "undecided")), (False, DECIDED))
        for claim in asked
        if (claim.kind == "main") == main and found[claim.id].verdict in words
    ]
    lines = [f"<b>What came out here.</b> {html.escape(sentence)}"]
    texts = [sentence]
    for claim in told:
        one = found[claim.id]
        effect = f", {one.effect_text}".removesuffix(", ")
        said = why_open(one), parts_that_hold(one), paper_sizes(one)
        open_ = "".join(f"; {text}" for text in said if text)
        text = f"{claim.statement.rstrip('.')} ({claim.id}{effect}{open_})."
        small = ("<small>", "</small>") if one.verdict == "undecided" else ("", "")
        line, beside = unbroken(text).join(small), not_so_beside(one)
        line += f" <small>{unbroken(beside)}</small>" if beside else ""
        lines.append(f"{verdict_html(one.verdict)} {line}")
        texts.append(f"{one.verdict}: {text} {beside}".rstrip())
    notes = [KEY] if any(found[claim.id].effect_text for claim in told) else []
    notes += [OTHERS] if told and len(told) < len(asked) else []
    lines += [f"<small>{' '.join(notes)}</small>"] if notes else []
    text = "\n".join(texts)
    return Answer(f"<p>{'<br>'.join(lines)}</p>", text)
