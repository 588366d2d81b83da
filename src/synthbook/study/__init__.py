"""Parameters, rows, claims, figures and published values: what a chapter says of its numbers.

This room knows no image and no network, and imports neither torch nor pandas nor matplotlib until
a table or picture is made: a misspelt parameter must stop a chapter at once.

The functions `parameters`, `provenance`, `published` and `progress` hide the modules of the same
name as attributes of this package; ``from synthbook.study.parameters import Rule`` still works.
"""

from importlib import import_module
from typing import Any

from synthbook.study.parameters import Parameters, Rule, check_values, declared, parameters
from synthbook.study.progress import progress
from synthbook.study.provenance import provenance, versions_table
from synthbook.study.published import published
from synthbook.study.rows import Row, Run, recorded

# Modules, and names of modules that not every chapter needs, imported when first asked for.
_LATER = {
    "verdicts": "claims",
    "comparison": "tables",
    "parts_table": "tables",
    "verdict_table": "tables",
    "scale_of": "scales",
    "scale_values": "scales",
    "interval": "statistics",
    "frame": "rows",
    "merge": "rows",
}
_MODULES = ("claims", "figures", "rows", "scales", "statistics", "tables")

__all__ = [
    "Parameters", "Row", "Rule", "Run", "check_values", "claims", "comparison",
    "declared", "figures", "frame", "interval", "merge", "parameters", "parts_table", "progress",
    "provenance", "published", "recorded", "rows", "scale_of", "scale_values", "scales",
    "statistics", "tables", "verdict_table", "verdicts", "versions_table",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
