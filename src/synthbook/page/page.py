"""What a chapter's page shows of its rows: this run, the recorded runs, the paper, and verdicts."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from synthbook.claims import decide
from synthbook.page.claims_page import claims_display
from synthbook.page.figures import seeds, seeds_text
from synthbook.page.tables import Display, comparison, verdict_html
from synthbook.record.agreement import CLOCKS, compare
from synthbook.record.rows import recorded, recorded_rows

if TYPE_CHECKING:
    import pandas as pd

    from synthbook.record.rows import Run

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


class Page:
    """The rows of a run beside the recorded rows of its chapter."""

    def __init__(self, run: Run) -> None:
        self.run, self.chapter, self.scale = run, run.chapter, run.scale

    @property
    def rows(self) -> pd.DataFrame:
        """The rows of this run so far."""
        return self.run.frame()

    @cached_property
    def recorded(self) -> dict[str, pd.DataFrame]:
        """The chapter's recorded rows by scale, mini first."""
        scales = decide.recorded_scales(self.chapter)
        return {scale: recorded(self.chapter, scale) for scale in scales}

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
        """Return the table of the paper, this run and every recorded scale side by side.

        The clocks of this run (`CLOCKS`) are left out: its next run would show others.

        Args:
            index, columns, how: as in `comparison`.
            paper: values of the paper under the names of the rows.
            select: which rows: values as in `matching`, or a function of a table that has rows.
            live: False leaves this run out.
        """

        def pick(table: pd.DataFrame) -> pd.DataFrame:
            return select(table) if callable(select) else matching(table, **(select or {}))

        own = self.rows[~self.rows.metric.isin(CLOCKS)] if live and len(self.rows) else None
        own = pick(own) if own is not None and len(own) else None
        recorded = [pick(table) for table in self.recorded.values()]
        return comparison(own, recorded, paper, index=index, columns=columns, **how)

    def claims(self, *ids: str) -> Display:
        """Return claims with their verdicts, parts and rows; by default all of this chapter."""
        asked = decide.find(ids) if ids else decide.claims_of(self.chapter)
        return claims_display(asked, decide.verdicts(ids=[claim.id for claim in asked]))

    def agreement(self) -> Display:
        """Return how far this run's rows agree with the recorded rows of the same seeds."""
        agreement = compare(self.run.rows(), recorded_rows(self.chapter, self.scale))
        text = f"{'✓' if agreement.ok else '✗'} {agreement.text}"
        return Display(f"<p>{html.escape(text)}</p>", text)


def answer(chapter: str, *ids: str) -> Display:
    """Return what came out at ``mini`` of claims, by default of all that read a chapter's rows."""
    asked = decide.find(ids) if ids else decide.claims_of(chapter)
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
    decided = [
        (word, f"{claim.statement.rstrip('.')} ({claim.id}, {found[claim.id].effect_text}).")
        for word in ("holds", "fails", "no effect")
        for claim in by_verdict[word]
    ]
    lines = [f"<b>What came out here.</b> {html.escape(sentence)}"]
    lines += [f"{verdict_html(word)} {html.escape(text)}" for word, text in decided]
    text = "\n".join([sentence, *(f"{word}: {text}" for word, text in decided)])
    return Display(f"<p>{'<br>'.join(lines)}</p>", text)
