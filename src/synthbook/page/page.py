"""What a chapter's page shows of its rows: this run, the recorded runs, the paper, and verdicts."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from synthbook.errors import InputError, did_you_mean
from synthbook.page.figures import seeds
from synthbook.page.tables import Display, comparison, seeds_text, verdict_html
from synthbook.store import root

if TYPE_CHECKING:
    import pandas as pd

    from synthbook.claims.language import Claim
    from synthbook.record.rows import Run

VERBS = {  # of one claim, of several
    "holds": ("holds", "hold"),
    "fails": ("fails", "fail"),
    "no effect": ("shows no effect", "show no effect"),
    "undecided": ("is undecided", "are undecided"),
    "not run": ("was not run", "were not run"),
}


def recorded_scales(chapter: str) -> list[str]:
    """Return the scales at which a chapter has recorded rows: mini first, then by name."""
    names = {path.parent.name for path in (root() / "results").glob(f"*/{chapter}.jsonl")}
    return sorted(names, key=lambda name: (name != "mini", name))


def matching(table: pd.DataFrame, **where: Any) -> pd.DataFrame:
    """Return the rows that have these values; none if a column is missing.

    Args:
        table: rows, as of `Run.frame`.
        where: column=value, or column=[values] for any of them.
    """
    for name, wanted in where.items():
        if name not in table:
            return table.iloc[:0]
        several = isinstance(wanted, list | tuple | set | frozenset)
        table = table[table[name].isin(list(wanted) if several else [wanted])]
    return table


def _asked(chapter: str, ids: Sequence[str]) -> list[Claim]:
    """Return the claims of these ids in their order, or all that read a chapter's rows."""
    from synthbook.claims import decide

    if not ids:
        return decide.claims_of(chapter)
    known = {claim.id: claim for claim in decide.claims()}
    for name in ids:
        if name not in known:
            raise InputError(f"there is no claim '{name}'{did_you_mean(name, known)}")
    return [known[name] for name in ids]


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
        from synthbook.record.rows import recorded

        return {scale: recorded(self.chapter, scale) for scale in recorded_scales(self.chapter)}

    def shown(self, metric: str | Sequence[str], **where: Any) -> tuple[pd.DataFrame, str]:
        """Return the rows that a figure shows, and whose they are: "5 seeds, recorded runs".

        They are recorded rows of this run's scale or, where there are none such, of this run;
        without either the words are "".

        Args:
            metric: of the rows, or several.
            where: what else they have: see `matching`.
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
            index, columns: as in `comparison`.
            paper: values of the paper under the names of the rows.
            select: which rows: values as in `matching`, or a function of a table that has rows.
            live: False leaves this run out.
            how: more of `comparison`: decimals, title, headings, order.
        """

        from synthbook.record.agreement import CLOCKS

        def pick(table: pd.DataFrame) -> pd.DataFrame:
            return select(table) if callable(select) else matching(table, **(select or {}))

        own = self.rows[~self.rows.metric.isin(CLOCKS)] if live and len(self.rows) else None
        own = pick(own) if own is not None and len(own) else None
        recorded = [pick(table) for table in self.recorded.values()]
        return comparison(own, recorded, paper, index=index, columns=columns, **how)

    def claims(self, *ids: str) -> Display:
        """Return claims with their verdicts, parts and rows; by default all of this chapter."""
        from synthbook.claims.decide import verdicts
        from synthbook.page.claims_page import claims_display

        asked = _asked(self.chapter, ids)
        return claims_display(asked, verdicts(ids=[claim.id for claim in asked]))

    def agreement(self) -> Display:
        """Return how far this run's rows agree with the recorded rows of the same seeds."""
        from synthbook.record.agreement import compare
        from synthbook.record.rows import recorded_rows

        agreement = compare(self.run.rows(), recorded_rows(self.chapter, self.scale))
        text = f"{'✓' if agreement.ok else '✗'} {agreement.text}"
        return Display(f"<p>{html.escape(text)}</p>", text)


def answer(chapter: str, *ids: str) -> Display:
    """Return what came out in a chapter, in words made from the verdicts at ``mini``.

    Args:
        chapter: its name, such as ``12_not_mutual``.
        ids: of claims; none: all that read the chapter's rows.
    """
    from synthbook.claims.decide import verdicts

    asked = _asked(chapter, ids)
    found = {one.id: one for one in verdicts("mini", ids=[claim.id for claim in asked])}
    counts = []
    for word, verbs in VERBS.items():
        names = [claim.id for claim in asked if found[claim.id].verdict == word]
        if names:
            counts.append(f"{len(names)} {verbs[len(names) > 1]} ({', '.join(names)})")
    last = f" and {counts.pop()}" if len(counts) > 1 else ""
    over = seeds_text(one.seeds for one in found.values() if one.seeds)
    at = f"at mini over {over}" if over else "at mini"
    sentence = f"Of the {len(asked)} claims asked here, {at}, {', '.join(counts)}{last}."
    if len(asked) == 1:
        sentence = f"The claim asked here, {at}, {counts[0][2:]}."
    decided = [
        (word, f"{claim.statement.rstrip('.')} ({claim.id}, {found[claim.id].effect_text}).")
        for word in ("holds", "fails", "no effect")
        for claim in asked
        if found[claim.id].verdict == word
    ]
    lines = [f"<b>What came out here.</b> {html.escape(sentence)}"]
    lines += [f"{verdict_html(word)} {html.escape(text)}" for word, text in decided]
    return Display(
        f"<p>{'<br>'.join(lines)}</p>",
        "\n".join([sentence, *(f"{word}: {text}" for word, text in decided)]),
    )
