"""The form of what an experiment yields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

REAL = "real"  # a source of images
Row = dict[str, Any]  # keywords of Run.add
Rows = Iterator[Row]


def measured(row: Row, values: Mapping[str, float]) -> Rows:
    """Yield a row a metric, with what they have in common."""
    for metric, value in values.items():
        yield row | {"metric": metric, "value": value}
