"""The registry: every method runs by its name, gets equal time, and says what it lacks."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthbook.data import concatenate, few_shot
from synthbook.errors import InputError
from synthbook.recognize import methods
from synthbook.recognize.batches import Stream, as_input
from synthbook.recognize.methods import (
    METHODS,
    check_numbers,
    find,
    guidance,
    keywords_of,
    train_by,
)
from synthbook.recognize.methods.guide import Guide
from synthbook.recognize.methods.pretrained_guidance import pretrained_guidance
from synthbook.recognize.methods.task import Task, updates_of
from synthbook.recognize.models import Classifier
from synthbook.recognize.predict import accuracy
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import History
from synthbook.training import TrainingError

RECIPE = Recipe(epochs=6, batch_size=16, learning_rate=0.01)
# The rows of Table 4 (`plain` is two of them), then those of Tables 2 and 3.
TABLES = {
    "plain", "Adp", "Aug", "ADDA", "DADA", "DANN", "LTDA", "A-GEM", "PG-R+PG-F", "RG", "RG+PG-R",
    "RG+PG-F", "RG+PG-R+PG-F", "ASG", "CSG", "PG-L1", "PG-KL",
}  # fmt: skip


@pytest.fixture
def task_of(task, quadrants):
    """(name, changes) -> a task with what the method needs: 96 images, real ones four a class."""

    def make(name: str, **changes: Any) -> Task:
        synthetic = quadrants(96, 2)
        real = few_shot(quadrants(40, 1, 150), 4, seed=0) if "real" in METHODS[name].needs else None
        given = {"real": real, "synthetic": synthetic, "recipe": RECIPE}
        return task(**given | {"updates": updates_of(synthetic, RECIPE)} | changes)

    return make


def test_every_method_of_the_tables_is_there() -> None:
    assert set(METHODS) >= TABLES
    assert all(name == method.name and method.source for name, method in METHODS.items())
    two = {name for name, method in METHODS.items() if method.stages == "two"}
    assert two >= {"Adp", "ADDA", "DADA", "LTDA"}
    simplified = {name for name, method in METHODS.items() if method.simplified}
    assert simplified >= {"ASG", "CSG", "ADDA", "DADA", "DANN", "LTDA"}
    assert not any("\n" in method.simplified for method in METHODS.values())


def test_a_method_is_imported_when_it_is_used() -> None:
    code = (
        "import sys; from synthbook.recognize import methods; methods.keywords_of('DANN')\n"
        "assert 'torch' not in sys.modules\n"
        "methods.find('DANN').function\n"
        "assert 'synthbook.recognize.methods.dann' in sys.modules\n"
        "assert 'synthbook.recognize.methods.csg' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_in_its_time_and_the_same_way_twice(
    name: str, classifier, task_of, quadrants, monkeypatch: pytest.MonkeyPatch
) -> None:
    even = {"second_stage": "updates"} if METHODS[name].stages == "two" else {}
    found, steps, inner = [], [], torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, *a, **k: steps.append(1) or inner(self, *a, **k)
    )
    for _ in range(2):
        torch.rand(3)
        history = train_by(name, model := classifier(), task := task_of(name), **even)
        found.append([accuracy(model, quadrants(60, 3, 150)), *history.train_loss])
    assert found[0] == found[1]
    assert found[0][0] > 60
    # Stages are whole epochs: of the 16 real images one is a single step.
    assert len(steps) / 2 == pytest.approx(task.updates, abs=3)


def test_aug_is_plain_training_on_both_sets_as_one(classifier, task, weights) -> None:
    given = task(updates=10)
    both = concatenate(given.real, given.synthetic)
    train_by("Aug", one := classifier(), given)
    train_by("plain", other := classifier(), replace(given, real=None, synthetic=both))
    assert torch.equal(weights(one), weights(other))


@pytest.mark.parametrize("name", ["Adp", "ADDA", "DADA", "LTDA"])
def test_a_second_stage_passes_over_the_real_images_as_often_as_epochs_are_left(
    name: str, classifier, task_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 8 epochs 2: batches of 16 take two steps for 24 real images, however many others."""
    seen, inner = [], Stream.epoch

    def epoch(self: Stream, number: int, borders: list[int]):
        for batch in inner(self, number, borders):
            seen.append((self.name, batch.indices))
            yield batch

    monkeypatch.setattr(Stream, "epoch", epoch)
    real = few_shot(task_of("Adp").real, 4, seed=0)
    many = task_of(name, real=real, recipe=replace(RECIPE, epochs=8))
    history = train_by(name, classifier(), many)
    indices = torch.cat([chosen for stream, chosen in seen if stream == "real"])
    assert torch.bincount(indices).tolist() == [2] * len(real)
    assert len(history.train_loss) == round(0.75 * many.updates / 6) + 2
    others = [chosen for stream, chosen in seen if stream == "synthetic"]
    assert len(torch.cat(others).unique()) == 2 * len(real) if others else name == "Adp"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_under_autocast(name: str, classifier, task_of) -> None:
    task, model, kinds = task_of(name, precision="bfloat16", updates=12), classifier(), set()
    model.body[0].register_forward_hook(lambda layer, x, y: kinds.add(y.dtype))
    history = train_by(name, model, task)
    assert kinds == {torch.bfloat16}
    assert np.isfinite(history.train_loss).all()
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "number", "loss"),
    [
        ("ASG", {"weight": 100.0}, "prediction_loss"),
        ("CSG", {"weight": 10.0}, "contrast"),
        ("PG-KL", {"lambda_3": 100.0}, "guidance"),
    ],
)
def test_a_guides_loss_falls_where_it_weighs(
    name: str, number: dict[str, float], loss: str, classifier, task
) -> None:
    without = dict.fromkeys(number, 0.0)
    free, held = (
        train_by(name, classifier(), task(real=None), **weight).extra[loss][-1]
        for weight in (without, number)
    )
    assert held < (free - 0.1 if name == "CSG" else free / 2)


@pytest.mark.parametrize("name", ["ASG", "CSG", "plain-eval"])
def test_batchnorm_keeps_its_statistics_and_the_guide_everything(
    name: str, classifier, guide, task, weights
) -> None:
    frozen, model = guide(), classifier()
    kept = weights(frozen.network)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_by(name, model, task(real=None, guide=frozen))
    for key, value in model.state_dict().items():
        statistic = "running" in key or "batches" in key
        assert torch.equal(value, before[key]) == statistic, key
    assert torch.equal(weights(frozen.network), kept)


def test_a_loss_that_is_not_finite_is_named(classifier, task_of) -> None:
    broken = classifier()
    with torch.no_grad():
        broken.head.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="epoch 0"):
        train_by("RG+PG-R+PG-F", broken, task_of("RG+PG-R+PG-F"))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("RG", {"real": None}, "needs real images"),
        ("Aug", {"synthetic": None}, "needs synthetic images"),
        ("PG-KL", {"guide": None}, "needs a frozen guide"),
        ("RG+PG-F", {"guide": None}, "needs a frozen guide"),
        ("plain", {"synthetic": None}, "one set of images"),
        ("plain", {"updates": 0}, "updates is 0"),
    ],
)
def test_a_task_that_lacks_something_is_refused_before_work(
    name, changes, message, classifier, task_of, weights
) -> None:
    with pytest.raises(InputError, match=message):
        train_by(name, model := classifier(), task_of(name, **changes))
    assert torch.equal(weights(model), weights(classifier()))


def test_a_number_without_a_range_is_finite(monkeypatch) -> None:
    monkeypatch.setattr(methods, "RANGES", [])
    for value in (float("nan"), np.float32("nan"), float("-inf")):
        with pytest.raises(InputError, match=rf"weight is {value}; give a finite number"):
            check_numbers("ASG", {"weight": value})
    check_numbers("ASG", {"weight": -3})


@pytest.mark.parametrize(
    ("name", "number", "message"),
    [
        ("RG", {"lamda_1": 1}, "did you mean 'lambda_1'"),
        ("RG", {"lambda_3": 1}, "no number 'lambda_3'"),
        ("RG+PG-R", {"guided": ("real",)}, "no number 'guided'"),
        ("Aug", {"lambda_1": 1}, "it has none"),
        ("RG", {"lambda_1": -1}, "lambda_1 is -1"),
        ("RG+PG-R", {"lambda_3": float("nan")}, "lambda_3 is nan"),
        ("sum", {"accumulate": 0}, "accumulate is 0"),
        ("Adp", {"first_share": 1.0}, "first_share is 1.0"),
        ("LTDA", {"second_stage": "steps"}, "second_stage is steps; give epochs or updates"),
        ("DANN", {"discriminator_width": 0}, "discriminator_width is 0"),
        ("CSG", {"momentum": 1.5}, "momentum is 1.5"),
        ("CSG", {"temperature": 0.0}, "temperature is 0.0"),
        ("ASG", {"weight": -1.0}, "weight is -1.0"),
        ("DANN", {"adversarial_weight": float("inf")}, "weight is inf; give a finite number"),
        ("PG-KL", {"target": "gude"}, "did you mean 'guide'"),
        ("PG-KL", {"over": "rows"}, "did you mean 'row'"),
    ],
)
def test_numbers_are_checked_where_they_enter(
    name, number, message, classifier, task_of, weights
) -> None:
    with pytest.raises(InputError, match=message):
        train_by(name, model := classifier(), task_of(name), **number)
    assert torch.equal(*map(weights, (model.body[0], classifier().body[0])))


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_numbers_are_those_of_its_function(name: str) -> None:
    parameters = inspect.signature(METHODS[name].function).parameters.values()
    keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert keywords == keywords_of(name) | {k: keywords[k] for k in METHODS[name].fixed}


def test_a_method_has_its_own_numbers() -> None:
    assert keywords_of("plain") == {}
    assert keywords_of("RG") == {
        "lambda_1": 1.0, "lambda_2": 1.0, "per_layer": False, "accumulate": 1,
    }  # fmt: skip
    assert keywords_of("RG+PG-R") == keywords_of("RG+PG-F") == keywords_of("RG+PG-R+PG-F")
    assert {name for name in METHODS if "lambda_3" in keywords_of(name)} == {
        name for name in METHODS if "PG" in name
    }


def test_an_unknown_method_is_named_with_the_nearest(classifier, task_of) -> None:
    for use in (find, keywords_of, partial(train_by, model=classifier(), task=task_of("plain"))):
        with pytest.raises(InputError, match="did you mean 'A-GEM'"):
            use("AGEM")


@pytest.mark.parametrize("pretrained", [True, False])
def test_plain_training_in_evaluation_mode_is_asg_without_its_loss(
    pretrained: bool, classifier, task, weights
) -> None:
    models = classifier(), classifier()
    for model in models:
        model.pretrained = pretrained
    train_by("plain-eval", models[0], task(real=None))
    train_by("ASG", models[1], task(real=None), weight=0.0)
    torch.testing.assert_close(*map(weights, models))


@pytest.mark.parametrize("name", ["PG-L1", "PG-KL", "RG+PG-F", "RG+PG-R+PG-F"])
def test_loss_and_guidance_of_the_first_step_are_those_by_hand(
    name: str, classifier, task, quadrants
) -> None:
    """Sizes are of gradients at the features, taken apart; of two sets all are the means."""
    given = task(real=None if name in ("PG-L1", "PG-KL") else quadrants(128, 1, 110))
    given = replace(given, updates=1, recipe=replace(given.recipe, batch_size=128, epochs=1))
    found = train_by(name, classifier(), given, lambda_3=7.0)
    model, told, losses = classifier().train(), [], []
    for stream, images in given.streams().items():
        pixels = as_input(torch.from_numpy(images.images))
        features = model.features(pixels)
        loss = F.cross_entropy(model.head(features), torch.from_numpy(images.labels))
        if stream == "synthetic" or "PG-R" in name:
            how = {"similarity": "l1" if name == "PG-L1" else "kl"}
            l_pg = pretrained_guidance(features, given.guide.features(pixels), **how)
            slopes = (torch.autograd.grad(x, features, retain_graph=True) for x in (7 * l_pg, loss))
            told.append([l_pg.item(), *(slope.norm().item() for (slope,) in slopes)])
            loss = loss + 7 * l_pg
        losses.append(loss.item())
    wanted = dict(zip(guidance.GUIDANCE, np.mean(told, axis=0), strict=True))
    assert {key: found.extra[key][0] for key in wanted} == pytest.approx(wanted, rel=1e-3)
    assert found.train_loss[0] == pytest.approx(np.mean(losses), rel=1e-4)


def test_of_a_batch_in_pieces_the_guidance_is_their_mean(
    classifier, task, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def kept(*given: Tensor, **reading: str) -> Tensor:
        seen.append(pretrained_guidance(*given, **reading))
        return seen[-1]

    monkeypatch.setattr(guidance, "pretrained_guidance", kept)
    given = task(real=None, updates=1, recipe=replace(RECIPE, batch_size=128, epochs=1))
    found = train_by("PG-KL", classifier(), given, accumulate=4).extra["guidance"][0]
    assert len(seen) == 4
    assert found == pytest.approx(torch.stack(seen).mean().item(), rel=1e-5)


# Other values than the defaults, each of which has to make another network.
OTHERS = {
    "lambda_1": 0.5, "lambda_2": 0.5, "lambda_3": 3.0, "weight": 2.0, "adversarial_weight": 0.3,
    "meta_rate": 5.0, "queue": 0, "momentum": 0.5, "temperature": 0.5, "accumulate": 2,
    "discriminator_width": 16, "first_share": 0.5, "second_stage": "updates", "per_layer": True,
    "distance": "l2", "similarity": "l1", "target": "model", "over": "matrix",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["PG-KL", "PG-L1", "ASG", "CSG", "Adp", "ADDA", "DADA", "DANN", "LTDA", "sum", "RG", "RG+PG-F"],
)
def test_every_number_of_a_method_has_a_say(
    name: str, classifier, task, quadrants, weights
) -> None:
    """Real labels are wrong, so that the gradients of both sets conflict."""
    real = replace(few := quadrants(40, 1, 110), labels=(few.labels + 1) % 4)
    sets = {"real": real if "real" in METHODS[name].needs else None, "synthetic": quadrants(48, 2)}
    given = task(**sets, recipe=RECIPE, updates=6)

    def trained(**number: Any) -> Tensor:
        train_by(name, model := classifier(), given, **number)
        return weights(model)

    usual = trained()
    for number in keywords_of(name):
        assert not torch.equal(trained(**{number: OTHERS[number]}), usual), number


@pytest.mark.parametrize("name", ["ADDA", "ASG", "CSG", "DADA", "DANN"])
def test_the_networks_beside_the_classifier_are_drawn_from_the_seed(
    name: str, classifier, task, weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, module = [], sys.modules[find(name).function.__module__]

    def stage(together: nn.Module, *given: Any, **how: Any) -> History:
        others = (weights(part) for key, part in together.named_children() if key != "model")
        drawn.append(torch.cat([*others]))
        return History()

    monkeypatch.setattr(module, "stage", stage)
    monkeypatch.setattr(module, "first_stage", lambda *given: History(), raising=False)
    given = task() if METHODS[name].needs >= {"real"} else task(real=None)
    if name == "ASG":  # whose head is a copy but for other widths
        body, head = nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), nn.Linear(7, 9)
        other = Classifier(body, head, name="other", channels=1)
        given = replace(given, guide=Guide(other, input_size=8, channels=1))
    for seed in (0, 0, 1):
        train_by(name, classifier(), replace(given, seed=seed))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("name", "guided"),
    [
        ("RG+PG-R", {"real"}), ("RG+PG-F", {"synthetic"}),
        ("RG+PG-R+PG-F", {"real", "synthetic"}), ("PG-R+PG-F", {"real", "synthetic"}),
    ],
)  # fmt: skip
def test_guidance_is_on_the_images_that_the_name_says(
    name: str, guided: set[str], classifier, task, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, inner = set(), Guide.of
    monkeypatch.setattr(Guide, "of", lambda self, x, batch: asked.add(x) or inner(self, x, batch))
    train_by(name, classifier(), task(updates=4))
    assert asked == guided
