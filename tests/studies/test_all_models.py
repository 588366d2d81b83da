"""`make models`: what is kept is not trained again, what is not is made and counted."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import pytest

from synthbook import locks
from synthbook.data import few_shot, load
from synthbook.generate import models as folders
from synthbook.studies import kept as keep
from synthbook.studies import models, pairs
from synthbook.studies.all_models import KEPT_MINUTES, PAIR_MINUTES, main, names, plan, told
from synthbook.training import Budget


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> set[tuple[str, str, int]]:
    """(family, fingerprint, seed) of what is kept: a set to add to."""
    monkeypatch.setenv("SYNTHBOOK_MODELS", str(tmp_path / "none"))
    found: set[tuple[str, str, int]] = set()

    def find(family: str, fingerprint: str, classes: object, *, seed: int) -> object | None:
        return SimpleNamespace() if (family, fingerprint, seed) in found else None

    monkeypatch.setattr(folders, "find", find)
    monkeypatch.setattr(pairs, "cards", lambda: iter(()))
    monkeypatch.setattr(keep, "cards", lambda: iter(()))
    return found


def test_everything_that_is_not_kept_takes_its_minutes() -> None:
    wanted = plan(names(), [0, 3], "cpu")
    assert [one.name for one in wanted] == [f"{name}-{seed}" for seed in (0, 3) for name in names()]
    minutes = {name: made.minutes("cpu") for name, made in models.BOOK.items()}
    minutes |= {name: KEPT_MINUTES[made.study][0] for name, made in keep.BOOK.items()}
    assert [one.minutes for one in wanted] == [
        minutes.get(name, PAIR_MINUTES[0]) for _ in range(2) for name in names()
    ]
    hours = sum(one.minutes for one in wanted) / 60
    last = told(wanted).splitlines()[-1]
    assert last.startswith(
        f"{len(wanted)} to train, one after the other: at most {hours:.1f} hours"
    )
    on_a_gpu = sum(one.minutes for one in plan(names(), [0, 3], "cuda")) / 60
    assert on_a_gpu < hours / 2


def test_a_model_is_known_by_its_images_and_seed(kept: set) -> None:
    real = load("caltech10").train
    kept.add(("gan", real.fingerprint(), 1))
    kept.add(("gan", few_shot(real, 10, seed=0).fingerprint(), 0))
    wanted = plan(models.BOOK, [0, 1], "cpu")
    assert {one.name for one in wanted if not one.minutes} == {
        "caltech10-gan-1", "caltech10-few-gan-0",
    }  # fmt: skip
    assert "caltech10-gan-1: kept" in told(wanted)


def test_a_model_that_another_process_trains_is_waited_for_and_taken(
    kept: set, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads stand for the processes: a lock on a file holds between them as well."""
    begun, go, waits = Event(), Event(), Event()
    trained, found = [], []

    def training(family: str, learned: models.Learned, *, seed: int, **_: object) -> str:
        trained.append(seed)
        begun.set()
        assert go.wait(60)
        kept.add((family, learned.asked.fingerprint(), seed))
        return "trained"

    monkeypatch.setattr(models, "_trained", training)
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    said: list[str] = []
    monkeypatch.setattr(locks, "say", lambda text: (said.append(text), waits.set()))
    learned = models.Learned.of("digits", load("digits"))
    how = {"name": "digits-gan", "seed": 3, "budget": Budget(1.0)}
    threads = [
        Thread(target=lambda: found.append(models.train("gan", learned, **how))) for _ in range(2)
    ]
    for thread, until in zip(threads, (begun, waits), strict=True):
        thread.start()
        assert until.wait(60)
    assert trained == [3]
    assert "training digits-gan, seed 3" in said[0]
    go.set()
    for thread in threads:
        thread.join(60)
    assert trained == [3]
    assert found == ["trained", SimpleNamespace()]


def test_what_is_not_kept_is_made_once_each_but_not_in_a_dry_run(
    kept: set, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []
    monkeypatch.setattr(models, "make", lambda name, seed, **_: made.append((name, seed)))
    monkeypatch.setattr(pairs, "make", lambda name, seed, **_: made.append((name, seed)))
    monkeypatch.setattr(keep, "make", lambda name, seed, **_: made.append((name, seed)))
    kept.add(("gan", load("caltech10").train.fingerprint(), 2))
    asked = ["caltech10-gan", "caltech10-diffusion", "primitives-ps", "faces-scratch"]
    asked += ["--seeds", "1,2"]
    main([*asked, "--dry-run", "--device", "cpu"])
    assert made == []
    assert "7 to train" in capsys.readouterr().out
    main([*asked, "--device", "cpu"])
    assert made == [
        ("caltech10-gan", 1), ("caltech10-diffusion", 1), ("primitives-ps", 1),
        ("faces-scratch", 1), ("caltech10-diffusion", 2), ("primitives-ps", 2),
        ("faces-scratch", 2),
    ]  # fmt: skip


def test_minutes_are_those_of_the_models_that_have_a_budget(monkeypatch) -> None:
    given = {}
    monkeypatch.setattr(
        models, "make", lambda name, *_, minutes, **__: given.update({name: minutes})
    )
    asked = ["caltech10-few-gan", "primitives-ps"]
    assert [one.minutes for one in plan(asked, [0], "cpu", 0.25)] == [0.25, PAIR_MINUTES[0]]
    main(["caltech10-few-gan", "--seeds", "0", "--minutes", "0.25", "--device", "cpu"])
    main(["caltech10-gan", "--seeds", "0", "--device", "cpu"])
    assert given == {"caltech10-few-gan": 0.25, "caltech10-gan": 0.0}


@pytest.mark.parametrize(
    "arguments", [["caltech-gan"], ["--seeds", "a"], ["--minutes", "-1"], ["--minutes", "nan"]]
)
def test_bad_names_and_seeds_are_refused_in_one_line(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"^error: [^\n]+$"):
        main(["--device", "cpu", *arguments])
