"""Which remedy helps: effects, equal updates, what each is trained on; and the whole audit."""

from __future__ import annotations

import numpy as np
import pytest

from synthbook import data
from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.intervals import interval
from synthbook.recognize.methods import METHODS
from synthbook.recognize.methods.task import updates_of
from synthbook.record.parameters import check_values
from synthbook.record.vocabulary import CHAPTERS
from synthbook.settings import choices
from synthbook.store import root
from synthbook.studies import audit
from synthbook.studies.audit import images, measures, remedies
from synthbook.studies.audit.remedies import guide_for, try_remedies

CHAPTER = root() / "notebooks" / "61_audit.py"
REAL = (80.0, 81.0)
CHOICES = choices(CHAPTERS["61_audit"]["remedies"])


def lessons(real=REAL, generated=(50.0, 51.0)) -> measures.Lessons:
    """Return made-up lessons, of which only the two accuracies matter here."""
    accuracy = {("real", "real"): real, ("generated", "real"): generated}
    return measures.Lessons(accuracy, {}, {}, None, *[np.zeros(0)] * 3)


@pytest.fixture
def seen(monkeypatch):
    """Return the calls of ``remedy``, which trains nothing here and is right in none."""
    calls = []

    def trained(network, name, **given):
        calls.append({"name": name, **given})
        return None, None

    monkeypatch.setattr(remedies, "remedy", trained)
    monkeypatch.setattr("synthbook.recognize.predict.accuracy", lambda *_, **__: 0.0)
    return calls


def test_effects_are_paired_intervals_over_seeds():
    gains = {"Aug": (1.0, -1.0, 2.0, 0.5), "RG": (3.0, 1.0, 2.0, 2.5)}
    real = (80.0, 81.0, 80.5, 79.5)
    accuracy = {"real": real, "generated": tuple(a - 10 for a in real)}
    accuracy |= {name: tuple(np.add(real, gain).tolist()) for name, gain in gains.items()}
    own, aug, rg = audit.effects(accuracy)
    np.testing.assert_allclose(own.against_real, (-10, -10, -10))
    np.testing.assert_allclose(aug.against_real, interval(gains["Aug"]))
    np.testing.assert_allclose(aug.against_aug, (0, 0, 0))
    less = [a - b for a, b in zip(gains["RG"], gains["Aug"], strict=True)]
    np.testing.assert_allclose(rg.against_aug, interval(less))
    assert [effect.verdict for effect in (own, aug, rg)] == ["does not help", "undecided", "helps"]


def test_same_updates_and_start_for_all_and_no_training_twice(seen, real, noise, settings):
    chosen = settings(remedies=("RG", "PG-KL", "Aug"))
    tried = try_remedies(real, noise(120, 9), chosen, lessons(), seeds=(0, 1))
    assert [call["name"] for call in seen] == ["Aug", "RG", "PG-KL"] * 2  # neither source alone
    assert tried.accuracy["real"] == REAL
    assert tried.accuracy["generated"] == (50.0, 51.0)
    assert {call["updates"] for call in seen} == {tried.updates} == {6 * 4}
    for calls in (seen[:3], seen[3:]):
        assert len({call["seed"] for call in calls}) == 1
        assert len({call["synthetic"].fingerprint() for call in calls}) == 1
    assert seen[0]["seed"] != seen[3]["seed"]
    assert [call["real"] is None for call in seen[:3]] == [False, False, True]
    assert tried.trained["PG-KL"] == "generated"


def test_fewer_generated_images_get_as_many_updates(seen, real, noise, settings):
    chosen = settings(remedies=("RG",))
    tried = try_remedies(real, noise(30, 9), chosen, lessons(), seeds=(0, 1))
    assert [call["name"] for call in seen] == ["plain", "Aug", "RG"] * 2
    assert {call["updates"] for call in seen} == {24}
    assert len(seen[0]["synthetic"]) == 24
    assert seen[0]["real"] is None
    assert tried.accuracy["generated"] == (0.0, 0.0)  # not the lesson's, which was shorter


def test_images_without_labels_have_those_of_the_filter(seen, noise, settings):
    real = data.load("digits")
    shown = np.concatenate([real.test.images[:200], noise(100).images])
    chosen = settings(epochs=20, confidence=0.9, remedies=("RG",))
    pool = images.label(shown, "mine", real, chosen)
    try_remedies(real, pool.labelled, chosen, lessons(), seeds=(0, 1))
    given = seen[0]["synthetic"]
    pairs = zip(pool.labelled.images, pool.labelled.labels, strict=True)
    label = {image.tobytes(): k for image, k in pairs}
    assert len(given) == len(pool.labelled) * 4 // 5
    assert [label[image.tobytes()] for image in given.images] == given.labels.tolist()


def test_a_method_without_real_images_learns_from_the_generated_ones_only(settings):
    real = data.load("digits")
    wrong = ImageSet(real.val.images, (real.val.labels + 1) % 10, real.classes, "wrong")
    chosen = settings(epochs=8, remedies=("PG-KL", "sum"), lambda_3=0.0, train_images=100)
    taught = measures.usefulness(real, wrong, chosen, seeds=[0])
    guide = guide_for(chosen, real)
    tried = try_remedies(real, wrong, chosen, taught, seeds=[0], guide=guide)
    assert tried.accuracy["real"] == taught.accuracy["real", "real"]
    assert tried.accuracy["PG-KL"][0] < 20
    assert tried.accuracy["PG-KL"][0] < tried.accuracy["sum"][0] < tried.accuracy["real"][0]


@pytest.mark.parametrize("name", ["Aug", "Adp", "DANN", "RG", "sum", "PG-KL"])
def test_the_optimiser_steps_are_counted(name, monkeypatch, real, noise, settings):
    """A method that took more steps than the others would win for that alone."""
    import torch

    steps, step = [], torch.optim.Adam.step
    chosen = settings(remedies=(name,))
    guide = guide_for(chosen, real)
    sets, _ = measures.training_images(real, noise(120, 9), 0, 0)
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, *a, **k: steps.append(1) or step(self, *a, **k)
    )
    updates = updates_of(sets["real"], chosen.recipe)
    both = sets["real"] if "real" in METHODS[name].needs else None
    options = {"updates": updates, "seed": 0, "guide": guide}
    remedies.remedy(chosen.network, name, real=both, synthetic=sets["generated"], **options)
    assert abs(len(steps) - updates) <= len(steps) / 6  # within an epoch
    assert steps


def test_every_remedy_of_the_chapter_runs_and_repeats_bit_for_bit(real, noise, settings):
    made, chosen = noise(120, 9), settings(epochs=1, remedies=CHOICES)
    taught, guide = lessons((80.0,), (50.0,)), guide_for(chosen, real)
    tried = try_remedies(real, made, chosen, taught, seeds=[0], guide=guide)
    others = [name for name in CHOICES if name != "Aug"]
    assert list(tried.accuracy) == ["real", "generated", "Aug", *others]
    assert {tried.trained[name] for name in CHOICES if name.startswith("PG-L")} == {"generated"}
    again = try_remedies(real, made, chosen, taught, seeds=[0], guide=guide)
    assert again == tried


def test_the_chapter_allows_all_methods_but_those_about_imagenet_weights():
    assert set(CHOICES) == set(METHODS) - {"plain", "plain-eval", "ASG", "CSG"}


def test_unknown_names_are_refused_with_the_nearest(real, settings):
    with pytest.raises(InputError, match=r"did you mean 'RG\+PG-F'"):
        check_values(CHAPTER, {"remedies": ["RG+PGF"]})
    with pytest.raises(InputError, match="did you mean 'DANN'"):
        guide_for(settings(remedies=("DAN",)), real)


def test_a_guide_only_where_one_is_needed(real, noise, settings):
    assert guide_for(settings(remedies=("RG",)), real) is None
    assert guide_for(settings(), real) is None
    chosen = settings(remedies=("RG+PG-F",))
    with pytest.raises(InputError, match="guide"):
        try_remedies(real, noise(120, 9), chosen, lessons(), seeds=(0, 1))


def test_the_audit_in_one_call(monkeypatch, real, noise, pixels, settings):
    from synthbook.measure import features

    monkeypatch.setattr(features, "extractor", lambda *_: pixels)
    made, labels = noise(120, 9), []
    chosen = settings(epochs=2, remedies=("RG",))
    report = audit.audit(
        real, made, chosen, progress=lambda seeds, label: labels.append(label) or seeds
    )
    assert labels == ["distances", "lessons", "remedies"]
    assert list(report.remedies.accuracy) == ["real", "generated", "Aug", "RG"]
    rows = list(report.rows())
    assert len([row for row in rows if row.get("part") == "remedies"]) == 4 * 2
    assert {row["generator"] for row in rows} == {made.name}
    assert list(audit.remedies_table(report).index) == [
        "real images alone", "generated images alone", "Aug", "RG"
    ]  # fmt: skip
    copies = audit.copies_table(report).loc["equal to a training image"]
    assert list(copies) == ["0 of 120", "0 of 90 unseen"]
    report = audit.audit(real, made, settings(epochs=1, seeds=(0,)))
    assert report.remedies is None
    assert not any("part" in row for row in report.rows())
