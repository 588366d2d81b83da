"""Models that are kept: what they learn, and on which images they are rated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from synthbook.data import load
from synthbook.errors import InputError
from synthbook.gans.networks import create_generator
from synthbook.measure.features import Extractor
from synthbook.record.parameters import check_values
from synthbook.studies import gap, models
from synthbook.studies.image_sources import SCALES
from synthbook.studies.models import Learned, linear_accuracy
from synthbook.training import Budget

PIXELS = Extractor("pixels", lambda x: x.reshape(len(x), -1) / 255.0, fingerprint="pixels")


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> Learned:
    monkeypatch.setattr(models, "extractor", lambda **_: PIXELS)
    return Learned.of("digits", load("digits"))


def test_what_is_learned_is_the_training_part_and_rated_on_the_validation_part() -> None:
    for name in ("digits", "caltech10"):
        real = load(name)
        learned = Learned.of(name, real)
        assert learned.asked is real.train
        assert learned.validation is real.val
        np.testing.assert_array_equal(learned.own.images, real.train.images)
        # The user's class of an image is that of the class that the generator is told.
        np.testing.assert_array_equal(learned.kinds[learned.own.labels], real.train.labels)
    few = learned.few(3, seed=0)
    assert few.own is few.asked
    assert set(few.own.counts()) == {3}
    assert {x.tobytes() for x in few.own.images} <= {x.tobytes() for x in real.train.images}
    assert few.validation is real.val


def test_a_linear_layer_learns_the_first_features_and_is_rated_on_the_others() -> None:
    x, y = np.array([[-1.0], [1.0]] * 20), np.array([0, 1] * 20)
    assert linear_accuracy(x, y, x[:2], y[:2]) == 1
    assert linear_accuracy(x, y, x[:4], np.array([0, 1, 1, 1])) == 0.75


def test_strips_of_a_diffusion_model_are_of_the_scales_that_the_pages_ask_for() -> None:
    assert models.BOOK["caltech10-diffusion"].samples().keys() == {*SCALES}
    assert models.BOOK["caltech10-gan"].samples().keys() == {1.0}


def test_samples_are_rated_on_validation_images(digits, monkeypatch) -> None:
    fitted, rated = [], []
    monkeypatch.setattr(models, "fit", lambda judge, images, *_, **__: fitted.append(images))
    monkeypatch.setattr(models, "accuracy", lambda _, images, **__: rated.append(images) or 12.5)
    held = digits.validation
    found = models.teaches(held.images, held.labels, digits, seed=0)
    assert (found["accuracy"], found["fd"]) == (12.5, 0)
    assert rated[0] is held
    np.testing.assert_array_equal(fitted[0].images, held.images)
    wrong = models.teaches(held.images, (held.labels + 1) % 10, digits, seed=0)
    assert wrong["probe"] < 20 < 80 < found["probe"]


def test_samples_of_a_training_are_as_frequent_as_its_classes_and_teach_those_of_the_reader(
    monkeypatch,
) -> None:
    images = np.zeros((8, 4, 4, 3), np.uint8)
    own = models.ImageSet(images, [0] * 6 + [1, 3], ("cat", "car", "none", "dog"), "fine")
    asked = models.ImageSet(images, [1] * 6 + [0, 1], ("thing", "animal"), "kinds")
    learned, told = Learned(own, asked, asked, np.array([1, 0, 0, 1])), []
    monkeypatch.setattr(models.gan_sampling, "sample", lambda _, labels, **how: np.array(labels))
    monkeypatch.setattr(models, "teaches", lambda *given, **how: told.append(given[:3]) or {})
    measure = models.measuring("gan", learned, None, seed=0, device="cpu")
    for _ in range(2):
        measure(None)
    (labels, kinds, of), again = told
    assert of is learned
    np.testing.assert_array_equal(labels, again[0])
    np.testing.assert_array_equal(kinds, np.array([1, 0, 0, 1])[labels])
    shares = np.bincount(labels, minlength=4) / models.JUDGED
    np.testing.assert_allclose(shares, [0.75, 0.125, 0, 0.125], atol=0.05)


def test_a_card_tells_the_agreement_by_class_of_a_classifier_of_real_images(
    digits, monkeypatch
) -> None:
    labels, seen = np.array([0, 0, 0, 0, 7, 7]), [0, 0, 0, 7, 7, 7]
    strips, fitted, rated = {1.0: "plain", 2.0: "guided"}, [], []
    shown = {"plain": torch.eye(10)[seen], "guided": torch.eye(10)[labels]}
    monkeypatch.setattr(models.banks, "write_strip", lambda *_: None)
    monkeypatch.setattr(models.banks, "labels_of", lambda *_: labels)
    monkeypatch.setattr(models.banks, "strip", lambda model, scale, k: strips[scale])
    monkeypatch.setattr(models, "fit", lambda judge, images, *_, **__: fitted.append(images))
    monkeypatch.setattr(models, "predict", lambda judge, images, **_: shown[images])
    monkeypatch.setattr(models, "teaches", lambda images, *_, **__: {"of": images})
    monkeypatch.setattr(models, "accuracy", lambda _, images, **__: rated.append(images) or 61.25)
    model = SimpleNamespace(folder=Path(), card={"name": "it-0"}, device="cpu")
    card = models.finish(model, digits, 0, {1.0: 6, 2.0: 6})
    assert card == {
        "measures": {
            "g1": {"of": "plain", "class_agreement": {"0": 75.0, "7": 100.0}},
            "g2": {"of": "guided", "class_agreement": {"0": 100.0, "7": 100.0}},
        },
        "real_classifier": 61.25,
    }
    assert fitted[0] is digits.asked
    assert rated[0] is digits.validation


def test_the_fewest_steps_that_do_as_well_are_taken(digits, monkeypatch) -> None:
    found = dict(zip(models.STEPS, (9.0, 5.09, 5.11, 5.0, 5.05), strict=True))
    asked = []
    monkeypatch.setattr(models, "_diffused", lambda _, labels, steps, how: asked.append(steps))
    monkeypatch.setattr(models, "gaussian", lambda rows: rows)
    monkeypatch.setattr(models, "gaussian_distance", lambda *_: found[asked[-1]])
    look = lambda images: images  # noqa: E731
    look.cached = lambda images: images
    monkeypatch.setattr(models, "extractor", lambda **_: look)
    chosen, tried = models._fewest_steps(None, digits, "cpu", "it")
    assert chosen == {"num_inference_steps": models.STEPS[1]}
    assert tried == {str(steps): fd for steps, fd in found.items()}


def test_of_a_gan_the_best_measured_weights_are_kept_and_their_steps_are_told(
    digits, monkeypatch, tmp_path: Path
) -> None:
    own, levels, clock = digits.own, [1.0, 3.0, 2.0], [0.0]
    size = {"image_size": own.image_size, "image_channels": own.channels, "channels": 4}
    network = create_generator("sngan", num_classes=own.num_classes, **size)

    def filled() -> torch.nn.Module:
        for weight in network.parameters():
            torch.nn.init.constant_(weight, levels[len(trained)])
        return network

    def train(images, recipe, *, watch, **_) -> torch.nn.Module:
        assert images is own
        fastest.append(torch.backends.cudnn.benchmark)
        watch.now = lambda: clock[0]
        watch.started(network)
        watch(1, filled)  # the first step does not count
        for step in range(2, 2 + len(levels)):
            clock[0] += 60.0
            watch(step, filled)
            trained.append(step)
        return network  # as the last step left it

    trained: list[int] = []
    fastest = [torch.backends.cudnn.benchmark]  # before, and while it is trained
    mean = lambda made: {"probe": next(made.parameters()).mean().item()}  # noqa: E731
    monkeypatch.setattr(models, "measuring", lambda *_, **__: mean)
    monkeypatch.setattr(models, "finish", lambda *_: {})
    monkeypatch.setattr(models, "places", lambda: (tmp_path / "none", tmp_path))
    family = models.models.FAMILIES["gan"]
    monkeypatch.setitem(models.models.FAMILIES, "gan", replace(family, train=train))
    budget = Budget(minutes=30, measure_every=1, patience=9)
    made = models._trained("gan", digits, name="it", seed=0, budget=budget, recipe="book",
                           device="cpu", samples={})  # fmt: skip
    kept = models.models.loaded(made)
    assert all((weight == 3).all() for weight in kept.parameters())
    assert made.card["training"]["steps"] == 3
    assert [*fastest, torch.backends.cudnn.benchmark] == [False, True, False]
    assert [point["probe"] for point in made.card["curve"]] == levels


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_kept_model_of_fewer_minutes_or_another_recipe_is_refused_before_any_training(
    monkeypatch, tmp_path: Path, device: str
) -> None:
    real, trained = load("digits"), []
    recipe = models.described(models._settings("gan", "book", 8, device))
    card = {"name": "it-0", "budget": {"minutes": 5.0}, "curve": [{"minutes": 4.0}]}
    card |= {"recipe": json.loads(json.dumps(recipe))}
    found = {"gan": SimpleNamespace(folder=tmp_path / "models/it-0", card=card)}
    monkeypatch.setattr(models.models, "find", lambda family, *_, **__: found.get(family))
    monkeypatch.setattr(
        models, "train", lambda family, *_, **__: trained.append(family) or found["gan"]
    )

    def made(**values) -> list[str]:
        sources = ["real", "diffusion", "gan"]
        p = check_values("11", {"data": "digits", "sources": sources, **values})
        return list(gap.make_models(p, real))

    assert made(minutes=0) == trained == []
    remedy = f"delete {tmp_path}/models/it-0, set SYNTHBOOK_MODELS .*, or give minutes=0 to take it"
    with pytest.raises(InputError, match=f"minutes = 30.*it-0 .*, in 5 minutes at most; {remedy}"):
        made(minutes=30)
    with pytest.raises(InputError, match=r"recipe = large: .* and by another recipe; delete"):
        made(minutes=5, recipe="large")
    monkeypatch.setattr(models, "places", lambda: (tmp_path / "models", tmp_path))
    with pytest.raises(InputError, match="comes with the book"):
        made(minutes=30)
    assert trained == []  # also of the family that is not kept
    assert len(made(minutes=5)) == 3
    assert trained == ["diffusion", "gan"]
