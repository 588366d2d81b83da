"""The plan of `make models`: what is kept is not trained again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from synthbook.data import few_shot, load
from synthbook.generate import models
from synthbook.studies.models import BOOK
from synthbook.studies.models_plan import main, plan, told


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str, int]]:
    """(family, fingerprint, seed) of what is kept: a set to add to."""
    found: set[tuple[str, str, int]] = set()

    def find(family: str, fingerprint: str, classes: object, *, seed: int) -> object | None:
        return SimpleNamespace() if (family, fingerprint, seed) in found else None

    monkeypatch.setattr(models, "find", find)
    return found


def test_everything_that_is_not_kept_takes_its_minutes(kept: set) -> None:
    wanted = plan(BOOK, [0, 3])
    assert wanted == {(name, s): made.minutes for name, made in BOOK.items() for s in (0, 3)}
    hours = sum(wanted.values()) / 60
    assert (
        told(wanted)
        .splitlines()[-1]
        .startswith(
            f"{len(wanted)} models to train, one after the other: at most {hours:.1f} hours"
        )
    )


def test_a_model_is_known_by_its_images_and_seed(kept: set) -> None:
    real = load("caltech10").train
    kept.add(("gan", real.fingerprint(), 1))
    kept.add(("gan", few_shot(real, 10, seed=0).fingerprint(), 0))
    wanted = plan(BOOK, [0, 1])
    assert {key for key, minutes in wanted.items() if not minutes} == {
        ("caltech10-gan", 1), ("caltech10-few-gan", 0),
    }  # fmt: skip
    assert "caltech10-gan-1: kept" in told(wanted)


@pytest.mark.parametrize("arguments", [["caltech-gan"], ["--seeds", "a"]])
def test_bad_names_and_seeds_are_refused_in_one_line(kept: set, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"^error: [^\n]+$"):
        main(arguments)
