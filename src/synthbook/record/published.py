"""The figures that the five papers print, from ``book/paper/values_<paper>.csv``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthbook.errors import InputError, did_you_mean
from synthbook.store import root

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "paper", "table", "dataset", "split", "source", "backbone", "method", "setting", "metric",
    "value", "unit", "note",
)  # fmt: skip


def papers() -> list[str]:
    """Return the keys of the papers whose values the book holds."""
    found = (root() / "book" / "paper").glob("values_*.csv")
    return sorted(path.stem.removeprefix("values_") for path in found)


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(table.columns) != COLUMNS:
        raise InputError(f"'{path}' has the columns {list(table.columns)}; it needs {COLUMNS}")
    table["value"] = table["value"].astype(float)
    parts = [
        dict(part.split("=", 1) for part in text.split(";") if part) for text in table["setting"]
    ]
    for name in sorted({name for part in parts for name in part}):
        column = f"{name}_" if name in COLUMNS else name
        table[column] = [part.get(name, "") for part in parts]
    return table


def published(paper: str, table: str | None = None, **where: Any) -> pd.DataFrame:
    """Return a paper's printed figures, one a row, in the order of the file.

    Args:
        paper: key of the paper, such as ``gap``.
        table: its table or figure, such as ``T3``; None: all.
        where: column=value or column=[values] to keep, compared as text: ``metric="fid"``,
            ``shots=16``.

    Returns:
        `COLUMNS` and one column a name of ``setting`` ("k=v;k=v"), all text but ``value``, ""
        where the paper gives none. A name that is also a column's gets a trailing underscore.
        Names of settings that no row kept has are left out.

    Raises:
        InputError: for a paper, table or column that is not there; the present ones are named.
    """
    known = papers()
    if paper not in known:
        raise InputError(
            f"no published values of '{paper}'{did_you_mean(paper, known)}; "
            f"book/paper has {', '.join(known) or 'none'}"
        )
    values = _read(root() / "book" / "paper" / f"values_{paper}.csv")
    tables = list(dict.fromkeys(values["table"]))
    if table is not None:
        if table not in tables:
            raise InputError(f"'{paper}' has no table '{table}'; it has {', '.join(tables)}")
        values = values[values["table"] == table]
    for column, wanted in where.items():
        if column not in values:
            raise InputError(
                f"published values of '{paper}' have no column '{column}'"
                f"{did_you_mean(column, values.columns)}; they have {', '.join(values.columns)}"
            )
        several = isinstance(wanted, list | tuple | set | frozenset)
        kept = {str(one) for one in (wanted if several else [wanted])}
        values = values[values[column].astype(str).isin(kept)]
    empty = [name for name in values.columns[len(COLUMNS) :] if not values[name].any()]
    return values.drop(columns=empty).reset_index(drop=True)
