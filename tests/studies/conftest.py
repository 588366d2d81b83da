"""What tests of the studies share: an own cache, one thread, and a look at rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from synthbook.record.rows import Row

torch.set_num_threads(1)
NEEDED = {"method", "train", "test", "dataset", "metric", "value", "seed"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def distinct():
    """Return a function that lists rows, after a look that no two measure the same."""

    def listed(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        kept = list(rows)
        identities = {frozenset(row.items() - {("value", row["value"])}) for row in kept}
        assert len(identities) == len(kept)
        for row in kept:
            assert row.keys() >= NEEDED
            assert not row.keys() & (Row.model_fields.keys() - NEEDED - {"backbone"})
        return kept

    return listed
