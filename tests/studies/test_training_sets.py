"""Parameters in, trained things out: sets of equal size, equal starts, nothing made twice."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthbook.data import ImageSet, Splits, concatenate, load
from synthbook.errors import InputError
from synthbook.gans.recipes import GanRecipe
from synthbook.generate import clones, generators
from synthbook.generate.unet import DiffusionRecipe
from synthbook.recognize.recipe import Recipe
from synthbook.record.parameters import check_values, declared
from synthbook.studies import training_sets as studies

GENERATOR = studies.generator
CHAPTERS = ("11_generators", "12_not_mutual", "13_learned_too_fast", "14_what_an_image_teaches")
TINY = {
    "diffusion_channels": [8], "diffusion_steps": 20, "diffusion_batch_size": 16,
    "num_inference_steps": 2, "gan_channels": 4, "gan_latent": 4, "gan_steps": 20,
    "gan_batch_size": 16, "epochs": 1, "confidence": 0.0,
}  # fmt: skip


def parameters(chapter: str = "12_not_mutual", **values):
    """Return a chapter's parameters with ``values`` over its defaults."""
    return check_values(chapter, values)


@pytest.fixture(scope="module")
def real() -> Splits:
    return load("digits")


@pytest.fixture(autouse=True)
def _nothing_in_memory() -> None:
    generators._load.cache_clear()


def numbered(counts: list[int]) -> Splits:
    """Return splits whose images carry their own numbers: image k of train has pixels k // 200,
    k % 200; those of test start at 10 000."""

    def part(start: int) -> ImageSet:
        labels = np.repeat(np.arange(len(counts)), counts)
        number = start + np.arange(len(labels))
        images = np.zeros((len(labels), 8, 8, 1), dtype=np.uint8)
        images[:, 0, 0, 0], images[:, 0, 1, 0] = number // 200, number % 200
        return ImageSet(images, labels, tuple("abcdefghij"[: len(counts)]), "numbered")

    return Splits(part(0), part(5_000), part(10_000))


def numbers(images: ImageSet) -> list[int]:
    """Return the numbers that the images carry."""
    return (images.images[:, 0, 0, 0].astype(int) * 200 + images.images[:, 0, 1, 0]).tolist()


class Printer:
    """A generator whose images carry running numbers, and the label they were asked for."""

    def __init__(self, family: str) -> None:
        self.family, self.drawn = family, 0
        self.key, self.classes, self.conditional = family, ("a", "b", "c"), True
        self.left = None
        self.settings: list[dict[str, float]] = []

    def sample(self, labels: list[int | None], *, seed: int, **settings: float) -> np.ndarray:
        self.settings.append(settings)
        number = self.drawn + np.arange(len(labels))
        self.drawn += len(labels)
        images = np.zeros((len(labels), 8, 8, 1), dtype=np.uint8)
        images[:, 0, 0, 0], images[:, 0, 1, 0] = number // 200, number % 200
        # Without a class, one is drawn as often as any other.
        images[:, 7, 7, 0] = [
            n % 3 if k is None else k for n, k in zip(number, labels, strict=True)
        ]
        return images


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Printer]:
    """Replace generators by `Printer`s, and the filter's classifier by one that reads labels."""
    made = {family: Printer(family) for family in generators.FAMILIES}
    monkeypatch.setattr(studies, "generator", lambda family, *_, **__: made[family])
    monkeypatch.setattr(studies.Network, "train", lambda *_, **__: (None, None))

    def predict(model, images: np.ndarray, **_) -> torch.Tensor:
        return 20.0 * torch.nn.functional.one_hot(torch.tensor(images[:, 7, 7, 0]).long(), 3)

    monkeypatch.setattr(studies, "predict", predict)
    return made


def test_a_recipe_takes_its_own_parameters_and_no_others() -> None:
    p = parameters(
        epochs=3, batch_size=10, learning_rate=0.25, schedule="cosine", crop_padding=2, flip=True,
        input_size=16, precision="bfloat16",
        diffusion_channels=[8, 12], diffusion_attention=[1], diffusion_steps=240,
        diffusion_batch_size=7, diffusion_learning_rate=0.5, diffusion_condition_dropout=0.4,
        gan_channels=3, gan_latent=5, gan_steps=60, gan_batch_size=9, gan_learning_rate=0.125,
    )  # fmt: skip
    assert studies.classifier_recipe(p) == Recipe(
        3, 10, 0.25, schedule="cosine", crop_padding=2, flip=True, input_size=16
    )
    assert studies.generator_recipe("diffusion", p) == DiffusionRecipe(
        channels=(8, 12), attention=(1,), steps=240, batch_size=7, learning_rate=0.5,
        condition_dropout=0.4, flip=True, precision="bfloat16", ema_decay=1 - 12 / 240,
    )  # fmt: skip
    assert studies.generator_recipe("gan", p) == GanRecipe(
        channels=3, latent=5, steps=60, batch_size=9, generator_learning_rate=0.125,
        discriminator_learning_rate=0.125, flip=True, precision="bfloat16", ema_decay=0.9,
    )  # fmt: skip


@pytest.mark.parametrize("chapter", CHAPTERS)
@pytest.mark.parametrize(("family", "kind"), generators.FAMILIES.items())
def test_every_parameter_of_a_generator_reaches_its_recipe(chapter: str, family, kind) -> None:
    names = {field.name for field in dataclasses.fields(kind.recipe)} | {"learning_rate"}
    own = {field.name for field in declared(chapter) if field.name.startswith(f"{family}_")}
    assert {name.removeprefix(f"{family}_") for name in own} <= names
    recipe = studies.generator_recipe(family, parameters(chapter))
    assert recipe.steps == parameters(chapter)[f"{family}_steps"]


def test_seed_s_uses_generator_s_mod_their_number(real, monkeypatch) -> None:
    asked = []

    def trained(family, images, recipe, **how):
        asked.append((family, recipe.steps, how["seed"]))
        assert images is real.train  # and no validation or test image

    monkeypatch.setattr(studies, "trained", trained)
    p = parameters(generators=3, gan_steps=9)
    for seed in range(7):
        studies.generator("gan", real, p, seed=seed)
    assert asked == [("gan", 9, seed % 3) for seed in range(7)]


def test_settings_of_sampling_reach_the_family_that_has_them(printed: dict[str, Printer]) -> None:
    p = parameters(guidance_scale=2.5, num_inference_steps=7)
    studies.training_sets(numbered([4, 4, 4]), p, seed=0)
    assert set(map(str, printed["gan"].settings)) == {"{}"}
    steps = {"guidance_scale": 2.5, "num_inference_steps": 7}
    assert all(settings == steps for settings in printed["diffusion"].settings)
    printed["diffusion"].conditional = False  # a model without classes cannot be guided
    assert studies.sampling(printed["diffusion"], p) == steps | {"guidance_scale": 1.0}


@pytest.mark.parametrize("counts", [[9, 9, 9], [4, 11, 6]])
def test_sets_are_as_large_as_the_real_one_disjoint_and_of_its_proportions(
    counts: list[int], printed: dict[str, Printer]
) -> None:
    real = numbered(counts)
    p = parameters(confidence=0.5)
    sets = studies.training_sets(real, p, seed=0)
    assert list(sets) == ["real", "diffusion", "gan"]
    assert sets["real"].train is real.train
    assert sets["real"].held_out is real.test
    assert sets["real"].info == {}
    for family in ("diffusion", "gan"):
        made = sets[family]
        assert made.train.name == made.held_out.name == family
        np.testing.assert_array_equal(made.train.counts(), counts)
        np.testing.assert_array_equal(made.held_out.counts(), counts)
        used = numbers(made.train) + numbers(made.held_out)
        assert len(set(used)) == len(used) == 2 * len(real.train)
        for part in (made.train, made.held_out):  # each image under the label it was made for
            np.testing.assert_array_equal(part.images[:, 7, 7, 0], part.labels)
        assert made.info["agreement"] is (family == "gan")
        assert made.info["kept"] == 2 * len(real.train)
        assert made.info["drawn"] == printed[family].drawn
    changed = parameters(confidence=0.5, unconditional=[])
    assert studies.training_sets(real, changed, seed=0)["diffusion"].info["agreement"]


def test_a_readers_own_images_pass_the_filter_and_none_is_used_twice(
    printed: dict[str, Printer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "generator", GENERATOR)
    labels = np.arange(90) % 3
    images = np.zeros((90, 8, 8), np.uint8)
    images[:, 0, 1], images[:, 7, 7] = np.arange(90), labels
    images[:30, 7, 7] = (labels[:30] + 1) % 3  # the filter takes these for another class
    np.savez(tmp_path / "mine.npz", images=images, labels=labels)
    real, sources = numbered([9, 10, 3]), ["real", f"mine={tmp_path / 'mine.npz'}"]
    sets = studies.training_sets(real, parameters(sources=sources), seed=0)
    assert list(sets) == ["real", "mine"]
    made = sets["mine"]
    assert made.train.name == "mine"
    np.testing.assert_array_equal(made.train.counts(), [9, 10, 3])
    used = numbers(made.train) + numbers(made.held_out)
    assert len(set(used)) == 44
    assert min(used) >= 30
    assert made.info["agreement"] is True
    assert made.info["drawn"] <= 90
    again = studies.training_sets(real, parameters(sources=sources), seed=0)["mine"]
    assert again.train.fingerprint() == made.train.fingerprint()
    other = studies.training_sets(real, parameters(sources=sources), seed=1)["mine"]
    assert other.train.fingerprint() != made.train.fingerprint()
    with pytest.raises(InputError, match="add images to mine"):
        studies.training_sets(numbered([16, 16, 16]), parameters(sources=sources), seed=0)


def test_set_size_draws_equally_many_a_class_and_by_seed(printed: dict[str, Printer]) -> None:
    real = numbered([9, 12, 30])
    p = parameters(sources=["gan", "real"], set_size=17)  # 17 // 3 = 5 a class
    first, second, again = (studies.training_sets(real, p, seed=seed) for seed in (0, 1, 0))
    for sets in (first, second):
        assert {name: len(made.train) for name, made in sets.items()} == {"gan": 15, "real": 15}
        assert sets["real"].train.counts().tolist() == [5, 5, 5]
    assert printed["diffusion"].drawn == 0  # no source
    assert set(numbers(first["real"].train)) < set(numbers(real.train))
    assert numbers(first["real"].train) != numbers(second["real"].train)
    assert numbers(again["real"].train) == numbers(first["real"].train)
    with pytest.raises(InputError, match="class 'a'"):
        studies.training_sets(real, parameters(set_size=30), seed=0)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=40), st.data())
def test_halves_cover_all_once_and_cut_even_classes_in_the_middle(labels, data) -> None:
    array, count = np.array(labels), data.draw(st.integers(1, len(labels)))
    first, second = studies._halves(array, count)
    assert len(first) == count
    assert sorted([*first, *second]) == list(range(len(labels)))
    twice = np.array(data.draw(st.permutations(labels * 2)))
    halves = studies._halves(twice, len(labels))
    for half in halves:
        np.testing.assert_array_equal(np.sort(twice[half]), np.sort(array))


def test_equal_seeds_start_from_equal_weights_whatever_the_images(real, monkeypatch) -> None:
    starts = []

    def fit(model, streams, recipe, **how):
        starts.append([w.detach().clone() for w in model.state_dict().values()])

    monkeypatch.setattr(studies, "fit", fit)
    p = parameters()
    some, others = real.train.subset(range(40)), real.test.subset(range(90))
    for streams, seed in ((some, 3), (others, 3), ({"real": some, "gan": others}, 3), (some, 4)):
        studies.network_of(p).train(streams, seed=seed)
    same = [all(map(torch.equal, starts[0], start)) for start in starts]
    assert same == [True, True, True, False]


def test_a_classifier_learns_and_repeats(real) -> None:
    p = parameters(epochs=4)
    network = studies.network_of(p)
    runs = [network.train(real.train, seed=seed, validation=real.val) for seed in (0, 0, 1)]
    (first, history), (again, _), (other, _) = runs
    assert len(history.val_accuracy) == 4
    assert history.val_accuracy[-1] > 50  # chance is 10
    for one, equal in ((again, True), (other, False)):
        pairs = zip(first.parameters(), one.parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs) is equal


def test_real_generators_are_trained_and_filtered_once(real, monkeypatch, no_builds) -> None:
    """The whole way, twice, with a judge that names all classes equally often."""

    def confident(probabilities, confidence, condition):
        assert condition is None  # sampled without a class
        return np.ones(len(probabilities), dtype=bool), np.arange(len(probabilities)) % 10

    monkeypatch.setattr(clones, "confident", confident)
    p = parameters(sources=["real", "diffusion"], generators=2, **TINY)
    first = studies.training_sets(real, p, seed=0)
    made = first["diffusion"]
    np.testing.assert_array_equal(made.train.counts(), real.train.counts())
    np.testing.assert_array_equal(made.held_out.counts(), real.train.counts())
    assert made.info["share"] == 1.0
    assert made.info["drawn"] >= made.info["kept"] == 2 * len(real.train)

    no_builds(generators, studies)
    again = studies.training_sets(real, p, seed=0)
    for part in ("train", "held_out"):
        assert getattr(again["diffusion"], part).fingerprint() == getattr(made, part).fingerprint()
    assert again["diffusion"].info == made.info
    for changed in ({"seed": 1}, {"epochs": 2}, {"confidence": 0.1}, {"guidance_scale": 2.0}):
        seed = changed.pop("seed", 0)
        with pytest.raises(AssertionError, match="built again"):
            studies.training_sets(real, parameters(**{**p, **changed}), seed=seed)


def test_a_conditional_generator_gives_images_of_the_class_asked_for(real, monkeypatch) -> None:
    """A GAN of 20 steps knows no classes, so the judge agrees with whatever was asked."""

    def confident(probabilities, confidence, condition):
        assert condition is not None
        return np.ones(len(condition), dtype=bool), condition

    monkeypatch.setattr(clones, "confident", confident)
    p = parameters(sources=["gan"], set_size=100, **TINY | {"confidence": 0.01})
    made = studies.training_sets(real, p, seed=0)["gan"]
    assert (len(made.train), len(made.held_out)) == (100, 100)
    share = real.train.counts() / len(real.train) * 100
    assert (abs(made.train.counts() - share) <= 1).all()
    assert made.info["agreement"] is True
    assert made.train.images.shape[1:] == real.train.images.shape[1:]
    assert made.train.classes == real.classes


def test_a_filter_that_is_too_strict_is_relaxed_aloud(
    printed: dict[str, Printer], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    monkeypatch.setattr(studies, "say", said.append)
    inner = studies.predict
    monkeypatch.setattr(studies, "predict", lambda *args, **how: inner(*args, **how) / 15)
    for asked, used in ((0.8, 0.65), (0.6, 0.6)):  # the judge is sure by 0.655
        p = parameters(sources=["real", "gan"], confidence=asked)
        made = studies.training_sets(numbered([4, 4, 4]), p, seed=0)["gan"]
        assert made.info["confidence"] == used
    (line,) = said
    assert "at confidence 0.8 " in line
    assert "0.65" in line


def test_a_generator_of_few_images_sees_no_other(real, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    inner = studies.trained

    def trained(family, images, recipe, **how):
        seen.append((images, recipe.steps, how["seed"]))
        return inner(family, images, recipe, **how)

    monkeypatch.setattr(studies, "trained", trained)
    monkeypatch.setattr(studies.Network, "train", None)  # no filter, and so no classifier
    few = real.train.subset(range(20))
    p = {**parameters(generators=1, **TINY), "few_steps": 9}
    made = studies.clone_of_few("gan", few, p, count=40, seed=5)
    assert seen == [(few, 9, 5)]
    np.testing.assert_array_equal(made.counts(), 2 * few.counts())
    assert made.name == "gan"
    assert len(concatenate(few, made)) == 60
