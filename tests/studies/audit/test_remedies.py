"""Which remedy helps: the findings, equal updates, what each is trained on, what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import synthbook.studies.remedies
from synthbook import data
from synthbook.data import ImageSet, Splits
from synthbook.errors import InputError
from synthbook.intervals import interval
from synthbook.recognize.methods import METHODS
from synthbook.record.parameters import check_values, declared
from synthbook.record.vocabulary import CHAPTERS
from synthbook.settings import choices
from synthbook.store import root
from synthbook.studies import audit
from synthbook.studies.audit import images
from synthbook.studies.audit.remedies import asked
from synthbook.studies.gap import classifier_recipe

CHAPTER = root() / "notebooks" / "61_audit.py"
ALLOWED = choices(CHAPTERS["61_audit"]["remedies"])
P = {
    "seeds": 2, "first_seed": 0, "skip_unreadable": False, "data_root": "", "confidence": 0.5,
    "train_images": 0, "most_images": 200, "backbone": "small_cnn", "pretrained": False,
    "epochs": 6, "batch_size": 16, "learning_rate": 0.005, "remedies": ("RG",),
    "guide_backbone": "efficientnet_lite0", "guide_input_size": 32, "lambda_3": 1.0,
}  # fmt: skip
REAL = (80.0, 81.0, 80.5, 79.5)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    import torch

    torch.set_num_threads(1)
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))


def noise(count: int, seed: int = 0) -> ImageSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), np.uint8)
    return ImageSet(pixels, np.arange(count) % 3, ("a", "b", "c"), f"noise{seed}")


def splits(count: int = 60) -> Splits:
    return Splits(noise(count, 1), noise(30, 2), noise(40, 3))


def lessons(*, real=REAL[:2], generated=(50.0, 51.0)) -> audit.Lessons:
    """Return made-up lessons, of which only the two accuracies matter here."""
    accuracy = {("real", "real"): real, ("generated", "real"): generated}
    empty = np.zeros(0)
    return audit.Lessons(accuracy, {}, {}, noise(1), empty, empty, empty)


def made_up(**gains) -> audit.Remedies:
    """Return accuracies so many points above those of real images alone, seed by seed."""
    found = {"real": REAL, "generated": tuple(a - 10 for a in REAL)}
    for name, gain in gains.items():
        found[name] = tuple(np.add(REAL, gain).tolist())
    return audit.Remedies(found, dict.fromkeys(found, "real+generated"), 100)


def found(**gains) -> audit.Advice:
    tried = made_up(**gains)
    report = audit.Report({}, {}, {}, {}, (0, 1, 2, 3), tried)
    return audit.advising.remedies(report)


@pytest.fixture
def seen(monkeypatch):
    """Return the calls of ``remedy``, which trains nothing here and is right in none."""
    calls = []

    def remedy(p, name, **given):
        calls.append({"name": name, **given})
        return None, None

    monkeypatch.setattr(synthbook.studies.remedies, "remedy", remedy)
    monkeypatch.setattr("synthbook.recognize.predict.accuracy", lambda *_, **__: 0.0)
    return calls


def test_a_remedy_helps_does_not_or_is_undecided():
    up, down, unclear = (2, 3, 2, 3), (-2, -3, -2, -3), (-2, 3, -1, 1)
    one = found(Aug=unclear, RG=up, DANN=down)
    assert one.severity == "ok"
    assert one.so == ("helps: RG; does not help: DANN; undecided: Aug (the interval spans zero)")
    assert "train with RG" in one.do
    assert "RG +2.5 [" in one.what
    assert "better than mixing (Aug): RG" in one.what
    one = found(Aug=down, RG=down)
    assert (one.severity, one.so) == ("warn", "does not help: Aug, RG")
    assert "real images alone" in one.do
    one = found(Aug=unclear, RG=down)
    assert one.severity == "warn"
    assert one.so == "does not help: RG; undecided: Aug (the interval spans zero)"
    assert one.do == "run more seeds: -p seeds 8"


def test_what_beats_mixing_is_named_before_what_helps():
    one = found(Aug=(2, 3, 2, 3), RG=(2, 3, 2.5, 2.5), DANN=(5, 6, 5, 6))
    assert one.so == "helps: Aug, RG, DANN"
    assert one.do.startswith("train with DANN,")
    assert found(Aug=(2, 3, 2, 3), RG=(2, 3, 2, 3)).do.startswith("train with Aug or RG,")


def test_generated_images_alone_are_no_remedy_and_none_tried_is_said():
    assert "generated" not in found(Aug=(1, 2, 1, 2)).so
    none = audit.Report({}, {}, {}, {}, (0, 1))
    assert audit.advising.remedies(none).so.startswith("not known")


def test_effects_are_paired_intervals_over_seeds():
    gains = {"Aug": (1.0, -1.0, 2.0, 0.5), "RG": (3.0, 1.0, 2.0, 2.5)}
    own, aug, rg = audit.effects(made_up(**gains).accuracy)
    np.testing.assert_allclose(own.against_real, (-10, -10, -10))
    np.testing.assert_allclose(aug.against_real, interval(gains["Aug"]))
    np.testing.assert_allclose(aug.against_aug, (0, 0, 0))
    less = [a - b for a, b in zip(gains["RG"], gains["Aug"], strict=True)]
    np.testing.assert_allclose(rg.against_aug, interval(less))
    assert [one.verdict for one in (own, aug, rg)] == ["does not help", "undecided", "helps"]


def test_one_seed_decides_nothing():
    accuracy = {"real": (80.0,), "Aug": (90.0,), "RG": (99.0,)}
    assert {one.verdict for one in audit.effects(accuracy)} == {"undecided"}


def test_same_updates_and_start_for_all_and_no_training_twice(seen):
    p = P | {"remedies": ("RG", "PG-KL", "Aug")}
    real, made = splits(), noise(120, 9)
    tried = audit.try_remedies(real, made, p, lessons(), seeds=(0, 1))
    assert [call["name"] for call in seen] == ["Aug", "RG", "PG-KL"] * 2  # neither source alone
    assert tried.accuracy["real"] == REAL[:2]
    assert tried.accuracy["generated"] == (50.0, 51.0)
    assert {call["updates"] for call in seen} == {tried.updates} == {6 * 4}
    for calls in (seen[:3], seen[3:]):
        assert len({call["seed"] for call in calls}) == 1
        assert len({call["synthetic"].fingerprint() for call in calls}) == 1
    assert seen[0]["seed"] != seen[3]["seed"]
    assert [call["real"] is None for call in seen[:3]] == [False, False, True]
    assert tried.trained["PG-KL"] == "generated"


def test_fewer_generated_images_get_as_many_updates(seen):
    tried = audit.try_remedies(splits(), noise(30, 9), P, lessons(), seeds=(0, 1))
    assert [call["name"] for call in seen] == ["plain", "Aug", "RG"] * 2
    assert {call["updates"] for call in seen} == {24}
    assert len(seen[0]["synthetic"]) == 24
    assert seen[0]["real"] is None
    assert tried.accuracy["generated"] == (0.0, 0.0)  # not the lesson's, which was shorter


def test_a_method_without_real_images_learns_from_the_generated_ones_only():
    real = data.load("digits")
    wrong = ImageSet(real.val.images, (real.val.labels + 1) % 10, real.classes, "wrong")
    p = P | {"epochs": 8, "remedies": ("PG-KL", "sum"), "lambda_3": 0.0, "train_images": 100}
    taught = audit.usefulness(real, wrong, p, seeds=[0])
    guide = audit.guide_for(p, real)
    tried = audit.try_remedies(real, wrong, p, taught, seeds=[0], guide=guide)
    assert tried.accuracy["real"] == taught.accuracy["real", "real"]
    assert tried.accuracy["PG-KL"][0] < 20
    assert tried.accuracy["PG-KL"][0] < tried.accuracy["sum"][0] < tried.accuracy["real"][0]


@pytest.mark.parametrize("name", ["Aug", "Adp", "DANN", "RG", "sum", "PG-KL"])
def test_the_optimiser_steps_are_counted(name, monkeypatch):
    """A method that took more steps than the others would win for that alone."""
    import torch

    real, made, steps = splits(), noise(120, 9), []
    guide = audit.guide_for(P | {"remedies": ("PG-KL",)}, real) if name == "PG-KL" else None
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, *a, **k: steps.append(1) or step(self, *a, **k)
    )
    sets, _ = audit.lessons.training_images(real, made, P, 0)
    recipe = classifier_recipe(P)
    updates = synthbook.studies.remedies.updates_of(sets["real"], recipe)
    both = "real" in METHODS[name].needs
    images_ = {"synthetic": sets["generated"], **({"real": sets["real"]} if both else {})}
    synthbook.studies.remedies.remedy(P, name, updates=updates, seed=0, guide=guide, **images_)
    assert abs(len(steps) - updates) <= len(steps) / 6  # within an epoch
    assert steps


def test_images_without_labels_have_those_of_the_filter(seen):
    real = data.load("digits")
    shown = np.concatenate([real.test.images[:200], noise(100).images])
    p = P | {"confidence": 0.9, "epochs": 20}
    pool = images.labelled(shown, "mine", real, p)
    taught = lessons()
    audit.try_remedies(real, pool.labelled, p, taught, seeds=(0, 1))
    given = seen[0]["synthetic"]
    pairs = zip(pool.labelled.images, pool.labelled.labels, strict=True)
    label = {image.tobytes(): k for image, k in pairs}
    assert len(given) == len(pool.labelled) * 4 // 5
    assert [label[image.tobytes()] for image in given.images] == given.labels.tolist()


def test_every_remedy_of_the_chapter_runs_and_repeats_bit_for_bit():
    real, made = splits(), noise(120, 9)
    p = P | {"epochs": 1, "remedies": tuple(ALLOWED)}
    taught = audit.usefulness(real, made, p, seeds=[0])
    guide = audit.guide_for(p, real)
    tried = audit.try_remedies(real, made, p, taught, seeds=[0], guide=guide)
    assert list(tried.accuracy) == ["real", "generated", "Aug", *set_apart(ALLOWED)]
    again = audit.try_remedies(real, made, p, taught, seeds=[0], guide=guide)
    assert again == tried
    rows = list(tried.rows([0]))
    keys = {(row["method"], row["train"], row["seed"], row["part"]) for row in rows}
    assert len(keys) == len(rows) == len(tried.accuracy)
    assert {row["train"] for row in rows if row["method"].startswith("PG-L")} == {"generated"}


def set_apart(names) -> list[str]:
    return [name for name in names if name != "Aug"]


def test_the_chapter_allows_all_methods_but_those_about_imagenet_weights():
    assert set(ALLOWED) == set(METHODS) - {"plain", "ASG", "CSG"}
    given = {field.name: field.default for field in declared(CHAPTER)}
    assert asked(given)[0] == audit.AUG
    assert set(given["remedies"]) <= set(ALLOWED)


def test_unknown_names_are_refused_with_the_nearest():
    given = {field.name: field.default for field in declared(CHAPTER)}
    with pytest.raises(InputError, match=r"did you mean 'RG\+PG-F'"):
        check_values(CHAPTER, given | {"remedies": ["RG+PGF"]})
    with pytest.raises(InputError, match="twice"):
        check_values(CHAPTER, given | {"remedies": ["RG", "RG"]})
    with pytest.raises(InputError, match="did you mean 'DANN'"):
        audit.guide_for(P | {"remedies": ("DAN",)}, splits())


def test_a_guide_only_where_one_is_needed():
    assert audit.guide_for(P, splits()) is None
    assert audit.guide_for({**P, "remedies": ()}, splits()) is None
    assert asked({}) == ()
    p = P | {"remedies": ("RG+PG-F",)}
    with pytest.raises(InputError, match="guide"):
        audit.try_remedies(splits(), noise(120, 9), p, lessons(), seeds=(0, 1))


def test_the_audit_in_one_call_tries_them(monkeypatch):
    from synthbook.measure import features

    pixels = features.from_model("pixels", lambda x: x.reshape(len(x), -1).astype(np.float32))
    monkeypatch.setattr(features, "extractor", lambda *_: pixels)
    p = P | {"extractor": "pixels", "neighbours": 3, "epochs": 2}
    report = audit.audit(splits(), noise(120, 9), p, seeds=(0, 1))
    assert list(report.remedies.accuracy) == ["real", "generated", "Aug", "RG"]
    parts = [row for row in report.rows() if row.get("part") == "remedies"]
    assert len(parts) == 4 * 2
    topics = {one.topic for one in audit.advice(report)}
    assert "remedies" in topics
    bare = dataclasses.replace(report, remedies=None)
    assert not any("part" in row for row in bare.rows())
