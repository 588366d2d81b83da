"""What images teach: equal updates, what each training is on; and the whole audit."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from synthbook import data
from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.recognize.methods import METHODS
from synthbook.recognize.methods.task import updates_of
from synthbook.recognize.recipe import Recipe
from synthbook.record.parameters import check_values
from synthbook.record.vocabulary import CHAPTERS
from synthbook.settings import choices
from synthbook.store import root
from synthbook.studies import audit, fit
from synthbook.studies.audit import images, lessons
from synthbook.studies.audit.lessons import guide_for, learn

CHAPTER = root() / "notebooks" / "61_audit.py"
CHOICES = choices(CHAPTERS["61_audit"]["remedies"])


@pytest.fixture
def seen(monkeypatch):
    """Return the calls of ``remedy``, which trains nothing here and is right in none."""
    calls = []

    def trained(network, name, **given):
        calls.append({"name": name, **given})
        return None, None

    monkeypatch.setattr(lessons, "remedy", trained)
    monkeypatch.setattr("synthbook.recognize.predict.accuracy", lambda *_, **__: 0.0)
    monkeypatch.setattr(
        "synthbook.recognize.predict.sample_losses", lambda _, x, **__: np.ones(len(x))
    )
    return calls


def test_same_updates_and_start_for_all(seen, real, noise, settings):
    chosen = settings(remedies=("RG", "PG-KL", "Aug"))
    found = learn(real, noise(120, 9), chosen, seeds=(0, 1))
    assert [call["name"] for call in seen] == ["plain", "plain", "Aug", "RG", "PG-KL"] * 2
    assert {call["updates"] for call in seen} == {found.updates} == {6 * 4}
    for calls in (seen[:5], seen[5:]):
        assert len({call["seed"] for call in calls}) == 1
        assert len({call["synthetic"].fingerprint() for call in calls[1:]}) == 1
    assert seen[0]["seed"] != seen[5]["seed"]
    assert [call["real"] is None for call in seen[:5]] == [False, True, False, False, True]
    assert [call["synthetic"] is None for call in seen[:5]] == [True] + [False] * 4
    assert found.sources["PG-KL"] == "generated"
    assert found.on_both == ["Aug", "RG"]
    assert found.on_generated == ["generated", "PG-KL"]


def test_each_number_is_of_its_training_and_its_images(monkeypatch, real, noise, settings):
    made, unseen = noise(120, 9), {image.tobytes() for image in real.test.images}
    monkeypatch.setattr(
        lessons, "remedy", lambda *_, real=None, synthetic=None, **__: (
            (real is not None, synthetic is not None), None
        ),
    )  # fmt: skip
    alone, other, both = (True, False), (False, True), (True, True)
    points = {(alone, True): 90.0, (alone, False): 60.0, (other, True): 50.0,
              (other, False): 95.0, (both, True): 92.0, (both, False): 96.0}  # fmt: skip
    nats = {(alone, False): 0.001, (alone, True): 0.5, (other, True): 2.0}

    def is_test(images: ImageSet) -> bool:
        (told,) = {image.tobytes() in unseen for image in images.images}
        return told

    monkeypatch.setattr("synthbook.recognize.predict.accuracy",
                        lambda model, images, **_: points[model, is_test(images)])  # fmt: skip
    monkeypatch.setattr("synthbook.recognize.predict.sample_losses",
                        lambda model, x, **_: np.full(len(x), nats[model, is_test(x)]))  # fmt: skip
    found = learn(real, made, settings(), seeds=(0, 1))
    assert {pair: values[0] for pair, values in found.accuracy.items()} == {
        ("real", "real"): 90, ("real", "generated"): 60, ("generated", "real"): 50,
        ("generated", "generated"): 95, ("Aug", "real"): 92, ("Aug", "generated"): 96,
    }  # fmt: skip
    assert found.values["synthetic_to_real_drop"] == (45, 45)
    assert found.values["real_to_synthetic_drop"] == (30, 30)
    for losses, cost in ((found.losses, 0.001), (found.losses_unseen, 0.5),
                         (found.losses_back, 2.0)):  # fmt: skip
        np.testing.assert_allclose(losses, cost)
    assert found.values["near_zero_loss"] == found.values["high_loss_back"] == (1, 1)
    assert found.values["near_zero_loss_floor"] == found.values["high_loss_floor"] == (0, 0)


def test_fewer_generated_images_get_as_many_updates(seen, real, noise, settings):
    found = learn(real, noise(30, 9), settings(), seeds=(0, 1))
    assert {call["updates"] for call in seen} == {24}
    assert found.counts == {"real": 60, "generated": 24}


def test_images_without_labels_have_those_of_the_filter(seen, noise, settings):
    real = data.load("digits")
    shown = np.concatenate([real.test.images[:200], noise(100).images])
    chosen = settings(epochs=20, confidence=0.9, train_images=200)
    pool = images.label(shown, "mine", real, chosen)
    learn(real, pool.labelled, chosen, seeds=(0,))
    given = seen[1]["synthetic"]
    pairs = zip(pool.labelled.images, pool.labelled.labels, strict=True)
    label = {image.tobytes(): k for image, k in pairs}
    assert len(given) == len(pool.labelled) * 4 // 5
    assert [label[image.tobytes()] for image in given.images] == given.labels.tolist()


def test_wrong_labels_cost_accuracy_and_repeat_bit_for_bit(settings):
    real = data.load("digits")
    wrong = ImageSet(real.val.images, (real.val.labels + 1) % 10, real.classes, "wrong")
    chosen = settings(epochs=8, remedies=("PG-KL", "sum"), lambda_3=0.0, train_images=150)
    guide = guide_for(chosen, real)
    found = learn(real, wrong, chosen, seeds=[0], guide=guide)
    right = {name: found.accuracy[name, "real"][0] for name in found.sources}
    assert right["real"] > 60
    assert max(right["generated"], right["PG-KL"]) < 20  # no real image is in these
    assert right["PG-KL"] < right["sum"] < right["real"]
    assert found.counts == {"real": 150, "generated": 150}
    assert np.mean(found.values["high_loss"]) > np.mean(found.values["high_loss_floor"])
    again = learn(real, wrong, chosen, seeds=[0], guide=guide)
    assert again.accuracy == found.accuracy
    np.testing.assert_array_equal(again.losses, found.losses)


@pytest.mark.parametrize("name", ["Aug", "Adp", "DANN", "RG", "sum", "PG-KL"])
def test_the_optimiser_steps_are_counted(name, monkeypatch, real, noise, settings):
    """A method that took more steps than the others would win for that alone."""
    import torch

    steps, step = [], torch.optim.Adam.step
    chosen = settings(remedies=(name,))
    guide = guide_for(chosen, real)
    sets, _ = lessons.training_images(real, noise(120, 9), 0, 0)
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, *a, **k: steps.append(1) or step(self, *a, **k)
    )
    updates = updates_of(sets["real"], chosen.recipe)
    both = sets["real"] if "real" in METHODS[name].needs else None
    options = {"updates": updates, "seed": 0, "guide": guide}
    lessons.remedy(chosen.network, name, real=both, synthetic=sets["generated"], **options)
    assert abs(len(steps) - updates) <= len(steps) / 6  # within an epoch
    assert steps


def test_every_remedy_of_the_chapter_runs(real, noise, settings):
    chosen = settings(epochs=1, remedies=CHOICES)
    found = learn(real, noise(120, 9), chosen, seeds=[0], guide=guide_for(chosen, real))
    others = [name for name in CHOICES if name != "Aug"]
    assert list(found.sources) == ["real", "generated", "Aug", *others]
    assert {found.sources[name] for name in CHOICES if name.startswith("PG-L")} == {"generated"}


def test_the_chapter_allows_all_methods_but_those_about_imagenet_weights():
    assert set(CHOICES) == set(METHODS) - {"plain", "plain-eval", "ASG", "CSG"}


def test_unknown_names_are_refused_with_the_nearest(real, settings):
    with pytest.raises(InputError, match=r"did you mean 'RG\+PG-F'"):
        check_values(CHAPTER, {"remedies": ["RG+PGF"]})
    with pytest.raises(InputError, match="did you mean 'DANN'"):
        guide_for(settings(remedies=("DAN",)), real)


def test_a_guide_only_where_one_is_needed(real, noise, settings):
    assert guide_for(settings(remedies=("RG",)), real) is None
    chosen = settings(remedies=("RG+PG-F",))
    with pytest.raises(InputError, match="guide"):
        learn(real, noise(120, 9), chosen, seeds=(0, 1))


def test_the_audit_of_images_in_memory(of_pixels, real, noise, settings):
    made, labels = noise(120, 9), []
    report = audit.audit(
        real, made, settings(epochs=2, remedies=("RG",)),
        progress=lambda seeds, label: labels.append(label) or seeds,
    )  # fmt: skip
    assert labels == ["distances", "trainings"]
    rows = list(report.rows())
    names = ("method", "train", "test", "metric", "seed")
    assert len({tuple(row[name] for name in names) for row in rows}) == len(rows)
    assert len([row for row in rows if row["metric"] == "top1_accuracy"]) == 4 * 2 * 2
    assert {row["generator"] for row in rows} == {made.name}
    table = audit.lessons_table(report)
    assert list(table.index) == ["real images alone", "generated images alone", "Aug", "RG"]
    copies = audit.copies_table(report).loc["equal to a training image"]
    assert list(copies) == ["0 of 120", "0 of 90 unseen"]
    with pytest.raises(InputError, match="put these into settings"):
        audit.audit(real, made, settings(), image_size=8)


@pytest.fixture
def photographs(of_pixels, noise, tmp_path, write_folder, monkeypatch):
    """Folders in the working folder, of a generator that repeats all of ``my_photos``."""
    monkeypatch.chdir(tmp_path)
    photos = noise(120, 1)
    copied = ImageSet(photos.images // 8 * 8, photos.labels, photos.classes, "")
    for name, made in {"photos": photos, "samples": copied, "test": noise(30, 2)}.items():
        write_folder(tmp_path / f"my_{name}", made)


def test_the_audit_of_folders_in_one_call(photographs):
    """Whoever trained on all photographs gets the stop; whoever kept some apart does not."""
    quick = {"image_size": 8, "epochs": 1, "seeds": 2, "remedies": ("RG",), "neighbours": 3}
    seen = audit.advise(audit.audit("my_photos", "my_samples", **quick))
    apart = audit.advise(audit.audit("my_photos", "my_samples", test="my_test", **quick))
    for verdict in (seen, apart):
        severities = {line.topic: line.severity for line in verdict.lines}
        assert severities["near copies"] == "stop"
        assert severities["test images"] == ("stop" if verdict is seen else "ok")
        assert (severities["beside real images"] == "void") == (verdict is seen)
    assert "drawn from my_photos" in seen.notes[0]
    assert "drawn" not in apart.notes[0]


@pytest.mark.parametrize(
    ("given", "epochs"),
    [
        ({}, 100),
        ({"batch_size": 16}, 44),
        ({"batch_size": 16, "test": "my_test"}, 27),
        ({"batch_size": 16, "train_images": 50}, 64),
        ({"epochs": 3}, 3),
    ],
)
def test_epochs_fit_own_images_from_python_as_on_the_command_line(
    given, epochs, photographs, monkeypatch
):
    class Chosen(Exception):
        pass

    def stop(settings, real):
        raise Chosen(settings.recipe.epochs)

    monkeypatch.setattr("synthbook.studies.audit.report.guide_for", stop)
    with pytest.raises(Chosen) as chosen:
        audit.audit("my_photos", "my_samples", image_size=8, **given)
    p = check_values(CHAPTER, {"data": "my_photos", "samples": "my_samples", **given})
    fits = fit.fitting_of(p, fit.own_images(p))
    assert chosen.value.args == (epochs,)
    assert given.get("epochs", fits["epochs"]) == epochs


@pytest.mark.parametrize("page", ["README.md", "notebooks/61_audit.py"])
def test_what_pages_say_of_the_audit_runs(page, photographs, monkeypatch, capsys):
    quick = {"recipe": Recipe(1, 64, 0.002), "seeds": (0, 1), "remedies": ()}
    monkeypatch.setattr(
        "synthbook.studies.audit.report.named_settings",
        lambda *given: dataclasses.replace(images.named_settings(*given), **quick),
    )
    monkeypatch.setattr("synthbook.studies.audit.report.fitted", lambda settings, _: settings)
    text = re.sub(r"^# ?", "", (root() / page).read_text(), flags=re.MULTILINE)
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "audit(" in b)
    exec(block, {})
    assert "Do not publish them" in capsys.readouterr().out
    (line,) = re.findall(r"synthbook run 61_audit (-p data=my_photos .*)", text)
    given = dict(re.findall(r"-p (\w+)=(\S+)", line)) | {"image_size": 32}
    assert given.pop("train_images") == "0"
    p = check_values(CHAPTER, given | {"train_images": 0})
    assert p.samples == "my_samples"
    said = audit.check_inputs(p)
    assert "test images: all of my_test" in said
    assert "classifiers are trained on" not in said
