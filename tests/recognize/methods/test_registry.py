"""The registry: every method runs by its name, gets equal time, and says what it lacks."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet, few_shot
from synthbook.errors import InputError
from synthbook.randomness import numpy_generator
from synthbook.recognize.methods import (
    METHODS,
    Settings,
    Task,
    check_methods,
    find,
    train,
    updates_of,
)
from synthbook.recognize.methods.guide import Guide
from synthbook.recognize.models import create_classifier
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import TrainingError, accuracy

RECIPE = Recipe(epochs=6, batch_size=16, learning_rate=0.01)
# The rows of Table 4; the first two are `plain` on real and on synthetic images.
TABLE_4 = (
    "plain", "Adp", "Aug", "ADDA", "DADA", "DANN", "LTDA", "A-GEM", "PG-R+PG-F", "RG", "RG+PG-R",
    "RG+PG-F", "RG+PG-R+PG-F",
)  # fmt: skip
TABLE_2 = ("plain", "ASG", "CSG", "PG-L1", "PG-KL")


@cache
def bars(count: int, shift: float, seed: int) -> ImageSet:
    """Return three classes: a bright bar in one of three places, on noise, brighter by shift."""
    draws = numpy_generator(seed, "bars")
    labels = np.arange(count) % 3
    pixels = draws.uniform(0, 0.4, (count, 8, 8, 1))
    for k, label in enumerate(labels):
        pixels[k, :, 1 + 2 * label : 3 + 2 * label] += 0.5
    pixels = ((pixels + shift).clip(0, 1) * 255).astype(np.uint8)
    return ImageSet(pixels, labels.astype(np.int64), ("a", "b", "c"), "bars")


def network(seed: int = 0):
    return create_classifier("small_cnn", num_classes=3, channels=1, image_size=8, seed=seed)


def task(name: str, **changes) -> Task:
    method = METHODS[name]
    synthetic, recipe = bars(96, 0.1, 0), changes.pop("recipe", RECIPE)
    held = {
        "real": few_shot(bars(30, 0.0, 1), 5, seed=0) if "real" in method.needs else None,
        "synthetic": synthetic,
        "guide": Guide(network(9), input_size=8, channels=1),
        "seed": 0,
    }
    return Task(recipe, updates_of(synthetic, recipe), **{**held, **changes})


def test_every_method_of_the_tables_is_there() -> None:
    assert set(TABLE_4) | set(TABLE_2) <= set(METHODS)
    for name, method in METHODS.items():
        assert method.name == name
        assert method.source
        assert method.stages in ("one", "two")
    assert {name for name in METHODS if METHODS[name].stages == "two"} == {
        "Adp", "ADDA", "DADA", "LTDA",
    }  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_and_does_it_the_same_way_twice(name: str) -> None:
    found = []
    for _ in range(2):
        model = network()
        history = train(name, model, task(name))
        found.append([accuracy(model, bars(60, 0.0, 2)), *history.train_loss])
    assert found[0] == found[1]
    assert found[0][0] > 60


@pytest.mark.parametrize("name", METHODS)
def test_the_updates_are_the_tasks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    inner = torch.optim.Adam.step

    def counted(self, *args, **kwargs):
        nonlocal count
        count += 1
        return inner(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", counted)
    wanted = task(name)
    train(name, network(), wanted)
    # Stages are whole epochs: of the 15 real images one is a single step.
    assert count == pytest.approx(wanted.updates, abs=3)


def test_rg_on_one_gradient_is_plain_training() -> None:
    """With lambda_2 = 0 only the real gradient is left, and with no conflict RG is the sum."""
    only_real = train("RG", network(), task("RG", settings=Settings(lambda_2=0.0)))
    both = train("RG", network(), task("RG"))
    assert only_real.extra["projected"] == pytest.approx(both.extra["projected"], abs=1)
    assert set(both.extra) == {"cosine", "projected"}


def test_a_gem_is_rg_with_other_lambdas() -> None:
    models = network(), network()
    train("A-GEM", models[0], task("A-GEM", settings=Settings(lambda_1=3.0, lambda_2=5.0)))
    train("RG", models[1], task("RG", settings=Settings(lambda_1=0.0, lambda_2=1.0)))
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_guidance_of_weight_zero_is_none() -> None:
    for guided, bare in (("RG+PG-R+PG-F", "RG"), ("PG-R+PG-F", "sum"), ("PG-KL", "plain")):
        models = network(), network()
        none = Settings(lambda_3=0.0)
        train(guided, models[0], task(guided, settings=none))
        train(bare, models[1], task(bare, settings=none))
        for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_guidance_brings_the_distances_nearer_to_the_guides() -> None:
    strong = task("PG-KL", settings=Settings(lambda_3=100.0))
    weak = task("PG-KL", settings=Settings(lambda_3=0.0))
    ends = [train("PG-KL", network(), one).extra["guidance"][-1] for one in (strong, weak)]
    assert ends[0] < ends[1] / 2


class Plain(torch.nn.Module):
    """A classifier without BatchNorm, whose pieces see what the whole batch sees."""

    num_classes = 3

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(64, 3, dtype=torch.float32)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images))


@pytest.mark.parametrize("name", ["RG", "A-GEM", "sum"])
def test_accumulated_gradients_take_the_same_step(name: str) -> None:
    whole, pieces = Plain(), Plain()
    recipe = Recipe(epochs=2, batch_size=16, learning_rate=0.01, optimizer="sgd")
    train(name, whole, task(name, recipe=recipe))
    train(name, pieces, task(name, recipe=recipe, settings=Settings(accumulate=4)))
    torch.testing.assert_close(whole.head.weight, pieces.head.weight)
    assert whole.head.weight.any()


def test_it_runs_under_autocast() -> None:
    model = network()
    history = train("RG+PG-R+PG-F", model, task("RG+PG-R+PG-F", precision="bfloat16"))
    assert np.isfinite(history.train_loss).all()
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert accuracy(model, bars(60, 0.0, 2)) > 60


def test_a_loss_that_is_not_finite_is_named() -> None:
    """A learning rate that throws the weights out of range."""
    recipe = Recipe(epochs=3, batch_size=16, learning_rate=0.01)
    broken = network()
    with torch.no_grad():
        broken.head.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="epoch 0"):
        train("RG+PG-R+PG-F", broken, task("RG+PG-R+PG-F", recipe=recipe))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("RG", {"real": None}, "needs real images"),
        ("Aug", {"synthetic": None}, "needs synthetic images"),
        ("PG-KL", {"guide": None}, "needs a frozen guide"),
        ("RG+PG-F", {"guide": None}, "needs a frozen guide"),
        ("plain", {"synthetic": None}, "one set of images"),
        ("plain", {"updates": 0}, "updates is 0"),
        ("RG", {"settings": Settings(accumulate=9)}, "accumulate = 9"),
    ],
)
def test_a_task_that_lacks_something_is_refused_before_work(name, changes, message) -> None:
    model = network()
    before = [p.clone() for p in model.parameters()]
    held = task(name)
    wanted = Task(**{**held.__dict__, **changes})
    with pytest.raises(InputError, match=message):
        train(name, model, wanted)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_names_are_checked() -> None:
    with pytest.raises(InputError, match="did you mean 'A-GEM'"):
        find("AGEM")
    with pytest.raises(InputError, match="methods may be plain, RG"):
        check_methods(["RG", "Aug"], ["plain", "RG"])
    check_methods(["RG"], ["plain", "RG"])


@pytest.mark.parametrize(
    "wrong",
    [{"lambda_1": -1}, {"lambda_3": float("nan")}, {"accumulate": 0}, {"first_share": 1.0},
     {"target": "gude"}, {"over": "rows"}, {"discriminator_width": 0},
     {"csg_momentum": 1.5}, {"csg_temperature": 0.0}, {"asg_weight": -1.0}],
)  # fmt: skip
def test_settings_out_of_range_are_named(wrong) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Settings(**wrong)
