"""The figures that the five papers print, from ``book/paper/values_<paper>.csv``."""

from __future__ import annotations

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
    files = (root() / "book" / "paper").glob("values_*.csv")
    return sorted(path.stem.removeprefix("values_") for path in files)


def published(paper: str, table: str | None = None, **where: Any) -> pd.DataFrame:
    """Return a paper's printed figures, one a row, in the order of the file.

    The table has `COLUMNS` and one column a name of ``setting`` ("k=v;k=v"), all text but
    ``value``, "" where the paper gives none. A name that is also a column's gets a trailing
    underscore. Names of settings that no row kept has are left out.

    Args:
        paper: its key, such as ``gap``.
        table: one of its tables or figures, such as ``T3``.
        where: column=value or column=[values] to keep, compared as text: ``shots=16``.
    """
    import pandas as pd

    if paper not in (known := papers()):
        raise InputError(
            f"no published values of '{paper}'{did_you_mean(paper, known)}; "
            f"book/paper has {', '.join(known) or 'none'}"
        )
    path = root() / "book" / "paper" / f"values_{paper}.csv"
    values = pd.read_csv(path, dtype=str, keep_default_na=False).astype({"value": float})
    if table is not None and table not in set(values["table"]):
        tables = ", ".join(dict.fromkeys(values["table"]))
        raise InputError(f"'{paper}' has no table '{table}'; it has {tables}")
    settings = [
        dict(pair.split("=", 1) for pair in text.split(";") if pair) for text in values["setting"]
    ]
    for name in sorted(set().union(*settings)):
        column = f"{name}_" if name in COLUMNS else name
        values[column] = [setting.get(name, "") for setting in settings]
    for column, wanted in (where if table is None else {"table": table, **where}).items():
        if column not in values:
            raise InputError(
                f"published values of '{paper}' have no column '{column}'"
                f"{did_you_mean(column, values.columns)}; they have {', '.join(values.columns)}"
            )
        several = wanted if isinstance(wanted, list | tuple | set) else [wanted]
        values = values[values[column].astype(str).isin(map(str, several))]
    empty = [name for name in values.columns[len(COLUMNS) :] if not values[name].any()]
    return values.drop(columns=empty).reset_index(drop=True)
