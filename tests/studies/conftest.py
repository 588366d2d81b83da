"""What tests of the studies share: an own cache, one thread, and a look at rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthbook.gans.networks import create_discriminator, create_generator, save
from synthbook.measure import features
from synthbook.record.metrics import PRODUCES
from synthbook.record.rows import Row
from synthbook.studies import few_images
from synthbook.studies.few_images import Finetuned

torch.set_num_threads(1)
NEEDED = {"method", "train", "test", "dataset", "metric", "value", "seed"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SYNTHBOOK_MODELS", str(tmp_path / "models"))


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


@pytest.fixture
def all_rows(distinct):
    """Return a function from a study to its rows."""
    return lambda study: distinct(row for job in study.jobs for row in study.rows(*job))


@pytest.fixture
def produced(all_rows):
    """Return a function from a chapter to one from its study to rows, which it may produce."""

    def of(chapter: str) -> Callable[[Any], list[dict[str, Any]]]:
        said = PRODUCES[chapter]

        def rows(study: Any) -> list[dict[str, Any]]:
            found = all_rows(study)
            for row in found:
                assert row["method"] in said.method
                assert row["metric"] in said.metric
                assert row["part"] in said.part
                assert np.isfinite(row["value"]), row
            return found

        return rows

    return of


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """Return parameters with which chapters 52 and 53 train small networks briefly."""
    return {
        "image_size": 8, "target_images": 5, "generated": 4, "real_source": "digits",
        "in_domain": ["digits:3"], "targets": ["china", "digits:3", "digits:4"],
        "pretrain_steps": 7, "finetune_steps": 4, "stop_after": 0, "evaluate_every": 2,
        "architecture": "stylegan2",
        "network_settings": [
            "channels=2", "widest=4", "latent=4", "style=4", "mapping_layers=2", "noise=false",
        ],
        "training_settings": ["batch_size=16", "path_length=0", "r1=0.16", "ema_half_life=1000"],
    }  # fmt: skip


@pytest.fixture
def trainings(monkeypatch, tmp_path):
    """Replace both trainings; return what they were asked for: (kind, what, options)."""
    asked: list[tuple[str, object, dict]] = []

    def pretrained(source, recipe, network, *, seed, device):
        asked.append(("pretrained", source, {"recipe": recipe, "network": network, "seed": seed}))
        folder = tmp_path / f"{source.name}, {seed}".replace("/", " ")
        if not folder.exists():
            how = {"seed": len(str(folder)), **network}
            save(create_generator(**how), folder, create_discriminator(**how))
        return folder

    def finetuned(images, held_out, recipe, network, *, first, seed, **more):
        more |= {"held_out": held_out, "recipe": recipe, "network": network, "seed": seed}
        asked.append(("finetuned", images, more | {"first": first}))
        start = len(first.name) if first else 50  # distances that differ by where it started
        found = {0: 4 * start, 2: start + seed, 4: 2 * start}
        history = {step: {"train": float(v), "held_out": v + 0.5} for step, v in found.items()}
        if more.get("count"):
            counted = more["count"](np.zeros((2, 8, 8, 3), np.uint8))
            history = {step: numbers | counted for step, numbers in history.items()}
        made = create_generator(seed=seed, **network), create_discriminator(seed=seed, **network)
        for which in ("best", "last"):
            save(made[0], tmp_path / "made" / which, made[1])
        return Finetuned(tmp_path / "made", history)

    monkeypatch.setattr(few_images, "pretrained", pretrained)
    monkeypatch.setattr(few_images, "finetuned", finetuned)
    monkeypatch.setattr(features, "extractor", lambda name, device="cpu", size=0: name)
    return asked
