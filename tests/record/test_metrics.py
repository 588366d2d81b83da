"""What the table says that chapters produce is what they do produce."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from synthbook.measure.fidelity import fidelity
from synthbook.record.chapters import find
from synthbook.record.metrics import METRICS, PRODUCES, Produced
from synthbook.record.rows import recorded_rows
from synthbook.store import root

SCALES = sorted(path.name for path in root().glob("results/*"))


@pytest.mark.parametrize("chapter", PRODUCES)
def test_a_chapter_produces_what_is_listed(chapter: str) -> None:
    """Every name that rows have is listed; every name listed is in rows or in the code."""
    rows = [row for scale in SCALES for row in recorded_rows(chapter, scale)]
    folder = Path(__file__).resolve().parents[2] / "src" / "synthbook"
    files = [find(chapter).script, folder / "record" / "kinds.py"]
    files += [folder / "measure" / "fidelity.py", *(folder / "studies").rglob("*.py")]
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    for key, listed in PRODUCES[chapter]._asdict().items():
        held = {row.setting.get("part", "") if key == "part" else getattr(row, key) for row in rows}
        assert held - {""} <= {*listed}
        assert [name for name in {*listed} - held if f'"{name}"' not in code] == []


@pytest.mark.parametrize("extractor", ["efficientnet_lite0", "inception"])
def test_chapter_11_lists_whatever_its_features_are(extractor: str) -> None:
    real, fake = np.random.default_rng(0).normal(size=(2, 12, 4))
    found = fidelity(real, fake, extractor_name=extractor)
    assert {*found} <= {*PRODUCES["11_generators"].metric}


def test_every_chapter_with_a_grid_is_listed() -> None:
    """But for the audit, whose rows are of a reader's images: no claim reads them."""
    grids = yaml.safe_load((root() / "workflow" / "grids.yaml").read_text(encoding="utf-8"))
    assert {*grids} - {*PRODUCES} == {"61_audit"}


def test_metrics_are_those_that_chapters_produce() -> None:
    assert set(METRICS) == {metric for made in PRODUCES.values() for metric in made.metric}
    assert Produced._fields == ("method", "metric", "part")
    words = [metric.words for metric in METRICS.values()]
    assert len({*words}) == len(words)
