"""Parameters in, trained things out: sets of equal size, equal starts, nothing made twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthbook.data import ImageSet, Splits, concatenate, few_shot, load
from synthbook.errors import InputError
from synthbook.generate import banks, clones, models
from synthbook.recognize.recipe import Recipe
from synthbook.record.parameters import check_values
from synthbook.studies import training_sets as studies

GENERATOR = studies.generator


def parameters(chapter: str = "12_not_mutual", **values):
    """Return a chapter's parameters with ``values`` over its defaults, of images as they are."""
    return check_values(chapter, {"set_size": 0, "input_size": 0, "data": "digits"} | values)


@pytest.fixture(scope="module")
def real() -> Splits:
    return load("digits")


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
    made = {family: Printer(family) for family in models.FAMILIES}
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
    )  # fmt: skip
    assert studies.classifier_recipe(p) == Recipe(
        3, 10, 0.25, schedule="cosine", crop_padding=2, flip=True, input_size=16
    )


def test_seed_s_uses_the_kept_model_s_mod_their_number(real: Splits, keep_models) -> None:
    kept = keep_models(real.train, families=["gan"], seeds=range(3))
    p = parameters(generators=3)
    used = [studies.generator("gan", real, p, seed=seed) for seed in range(7)]
    assert [bank.model.folder for bank in used] == [kept[seed % 3].folder for seed in range(7)]


def test_models_of_other_images_are_not_taken_and_what_to_do_is_said(
    real: Splits, keep_models
) -> None:
    keep_models(real.test)
    keep_models(real.train, families=["gan"], seeds=[1])
    for family, number, p, remedies in (
        ("diffusion", 0, parameters(), ["11_generators -p data=digits -p minutes="]),
        ("gan", 2, parameters(generators=3), ["set generators to 2"]),
        ("gan", 0, {**parameters(), "data": "caltech10"}, ["make models"]),
    ):
        with pytest.raises(InputError, match=f"no {family} model number {number} of '") as error:
            studies.generator(family, real, p, seed=number)
        assert all(remedy in str(error.value) for remedy in remedies)
        assert p["data"] in str(error.value)


def test_all_models_are_looked_for_before_anything_is_trained(
    real: Splits, keep_models, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_models(real.train, families=["diffusion"])
    monkeypatch.setattr(studies.Network, "train", None)
    with pytest.raises(InputError, match="no gan model"):
        studies.training_sets(real, parameters(), seed=0)


def test_only_a_model_that_knows_images_without_a_class_is_guided(real, keep_models) -> None:
    keep_models(real.train)
    p = parameters(guidance_scale=4.0)
    scales = {f: studies.generator(f, real, p, seed=0).guidance_scale for f in models.FAMILIES}
    assert scales == {"diffusion": 4.0, "gan": 1.0}


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
        assert len(made.held_out) == len(real.train) // 2
        assert (abs(made.held_out.counts() - np.array(counts) / 2) < 1).all()
        used = numbers(made.train) + numbers(made.held_out)
        assert len(set(used)) == len(used) == len(real.train) * 3 // 2
        for part in (made.train, made.held_out):  # each image under the label it was made for
            np.testing.assert_array_equal(part.images[:, 7, 7, 0], part.labels)
        assert made.info["agreement"] is False  # the filter's label is taken, of both families
        assert made.info["kept"] == len(used)
        assert made.info["drawn"] == printed[family].drawn
    changed = parameters(confidence=0.5, unconditional=[])
    assert studies.training_sets(real, changed, seed=0)["diffusion"].info["agreement"]


def test_a_source_may_be_larger_than_the_real_set_where_the_real_ones_are_not_few(
    printed: dict[str, Printer], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, keys, inner = numbered([4, 11, 6]), [], studies.cached

    def cached(kind: str, key, *rest):
        keys.append(key)
        return inner(kind, key, *rest)

    monkeypatch.setattr(studies, "cached", cached)

    def made(shots: int, ratio: float) -> studies.TrainingSet:
        values = {"confidence": 0.5, "sources": ["real", "gan"]}
        p = parameters("16_real_guidance", shots=shots, synthetic_ratio=ratio, **values)
        sets = studies.training_sets(real, p, seed=0)
        assert sets["real"].train is real.train
        return sets["gan"]

    found = made(0, 2.2)
    assert found.train.counts().tolist() == [9, 25, 14]  # rounded up
    assert len(found.held_out) == len(real.train) // 2
    used = numbers(found.train) + numbers(found.held_out)
    assert len(set(used)) == len(used) == found.info["kept"] == 48 + 10
    usual = [made(*given).train for given in ((0, 1.0), (0, 0.5), (0, 0.0), (2, 5.0))]
    assert [images.counts().tolist() for images in usual] == [[4, 11, 6]] * 4
    assert all(key == keys[1] for key in keys[1:])
    assert keys[0] == keys[1] | {"shares": [11, 30, 17]}


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
    assert len(set(used)) == 22 + 11
    assert min(used) >= 30
    assert made.info["agreement"] is True
    assert made.info["drawn"] <= 90
    again = studies.training_sets(real, parameters(sources=sources), seed=0)["mine"]
    assert again.train.fingerprint() == made.train.fingerprint()
    other = studies.training_sets(real, parameters(sources=sources), seed=1)["mine"]
    assert other.train.fingerprint() != made.train.fingerprint()
    with pytest.raises(InputError, match="add images to mine"):
        studies.training_sets(numbered([21, 21, 21]), parameters(sources=sources), seed=0)
    np.savez(tmp_path / "mine.npz", images=images)  # without labels: the filter's classifier has
    made = studies.training_sets(real, parameters(sources=sources), seed=0)["mine"]
    np.testing.assert_array_equal(made.train.counts(), [9, 10, 3])
    np.testing.assert_array_equal(made.train.labels, made.train.images[:, 7, 7, 0])
    assert len({*numbers(made.train), *numbers(made.held_out)}) == 22 + 11
    assert made.info["agreement"] is False


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
    more = studies.training_sets(real, parameters(set_size=60), seed=0)
    for made in more.values():  # as many as the smallest class has
        assert made.train.counts().tolist() == [9, 9, 9]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.data())
def test_the_first_of_each_class_and_the_rest_are_all_once_and_in_order(labels, data) -> None:
    array = np.array(labels)
    counts = np.bincount(array, minlength=4)
    wanted = np.array([data.draw(st.integers(0, int(count))) for count in counts])
    first, rest = studies._first_of_each(array, wanted)
    assert sorted([*first, *rest]) == list(range(len(labels)))
    np.testing.assert_array_equal(np.bincount(array[first], minlength=4), wanted)
    for k in range(4):
        assert max(first[array[first] == k], default=-1) < min(rest[array[rest] == k], default=99)


def test_equal_seeds_start_from_equal_weights_whatever_the_images(real, monkeypatch) -> None:
    starts = []

    def fit(model, streams, recipe, **how):
        starts.append([w.detach().clone() for w in model.state_dict().values()])

    monkeypatch.setattr(studies, "fit", fit)
    p = parameters()
    some, others = real.train.subset(range(40)), real.test.subset(range(90))
    for streams, seed in ((some, 3), (others, 3), ({"real": some, "gan": others}, 3), (some, 4)):
        studies.network_of(p)._train(streams, seed=seed, device="cpu", validation=None)
    same = [all(map(torch.equal, starts[0], start)) for start in starts]
    assert same == [True, True, True, False]


def test_a_classifier_learns_and_repeats(real) -> None:
    network, how = studies.network_of(parameters(epochs=4)), {"device": "cpu"}
    runs = [network._train(real.train, seed=k, validation=real.val, **how) for k in (0, 0, 1)]
    (first, history), (again, _), (other, _) = runs
    assert len(history.val_accuracy) == 4
    assert history.val_accuracy[-1] > 50  # chance is 10
    for one, equal in ((again, True), (other, False)):
        pairs = zip(first.parameters(), one.parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs) is equal


def test_a_small_classifier_is_trained_once_and_kept_as_it_was(real, no_builds) -> None:
    network = studies.network_of(parameters(epochs=2))
    trained, curves = network._train(real.train, seed=3, device="cpu", validation=real.val)
    network.train(real.train, seed=3, validation=real.val)
    no_builds(studies)
    kept, history = network.train(real.train, seed=3, validation=real.val)
    assert all(map(torch.equal, trained.state_dict().values(), kept.state_dict().values()))
    assert history.train_accuracy == curves.train_accuracy
    assert history.val_loss == curves.val_loss
    some = real.train.subset(range(50))
    for images, values in (
        (some, {}),
        (real.train, {"seed": 4}),
        (real.train, {"validation": None}),
    ):
        with pytest.raises(AssertionError, match="built again"):
            network.train(images, **{"seed": 3, "validation": real.val} | values)
    larger = studies.network_of(parameters(epochs=1, batch_size=32))
    with pytest.raises(AssertionError, match="built again"):
        larger.train(real.train, seed=3, validation=real.val)


@pytest.fixture
def any_label(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Let a judge be sure of all images: of the class asked for, or of all of them in turn."""
    asked = []

    def confident(probabilities, confidence, condition):
        asked.append(condition is not None)
        seen = np.arange(len(probabilities)) % 10 if condition is None else condition
        return np.ones(len(probabilities), dtype=bool), seen

    monkeypatch.setattr(clones, "confident", confident)
    return asked


def test_kept_models_are_filtered_once(real, keep_models, any_label, no_builds) -> None:
    """The whole way, twice."""
    keep_models(real.train, families=["diffusion"], seeds=(0, 1))
    p = parameters(sources=["real", "diffusion"], epochs=1, confidence=0.0, generators=2)
    first = studies.training_sets(real, p, seed=0)
    made = first["diffusion"]
    assert not any(any_label)  # sampled without a class
    np.testing.assert_array_equal(made.train.counts(), real.train.counts())
    assert len(made.held_out) == len(real.train) // 2
    assert made.info["share"] == 1.0
    assert made.info["drawn"] >= made.info["kept"] == len(made.train) + len(made.held_out)

    no_builds(banks, studies)
    again = studies.training_sets(real, p, seed=0)
    for part in ("train", "held_out"):
        assert getattr(again["diffusion"], part).fingerprint() == getattr(made, part).fingerprint()
    assert again["diffusion"].info == made.info
    for changed in ({"seed": 1}, {"epochs": 2}, {"confidence": 0.1}, {"guidance_scale": 2.0}):
        seed = changed.pop("seed", 0)
        with pytest.raises(AssertionError, match="built again"):
            studies.training_sets(real, parameters(**{**p, **changed}), seed=seed)


def test_the_filters_classifier_learns_all_training_images_and_starts_by_itself(
    real, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def train(network, images, *, seed, device, validation=None):
        asked.append((images, seed))
        return None, None

    monkeypatch.setattr(studies.Network, "train", train)
    for seed in (3, 4):
        studies.classifier_of_all(real, parameters(set_size=20), seed=seed)
    assert all(images is real.train for images, _ in asked)
    assert len({3, 4, *(seed for _, seed in asked)}) == 4


def test_a_conditional_generator_gives_images_of_the_class_asked_for(
    real, keep_models, any_label
) -> None:
    keep_models(real.train, families=["gan"])
    how = {"unconditional": [], "confidence": 0.01}
    p = parameters(sources=["gan"], set_size=100, epochs=1, **how)
    made = studies.training_sets(real, p, seed=0)["gan"]
    assert all(any_label)
    assert made.train.counts().tolist() == [10] * 10
    assert made.held_out.counts().tolist() == [5] * 10
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


def test_a_generator_of_few_images_sees_no_other(real, keep_models, monkeypatch) -> None:
    keep_models(real.train)
    monkeypatch.setattr(studies.Network, "train", None)  # no filter, and so no classifier
    few, p = few_shot(real.train, 3, seed=5), parameters("14_what_an_image_teaches")
    for seed in (0, 5):
        with pytest.raises(InputError, match=f"no gan model number {seed} of these 30 images"):
            studies.clone_of_few("gan", few, p, count=40, seed=seed)
    (model,) = keep_models(few, families=["gan"], seeds=[5])
    made = studies.clone_of_few("gan", few, p, count=40, seed=5)
    assert made.counts().tolist() == [4] * 10
    assert made.name == "gan"
    bank = {image.tobytes() for k in range(2) for image in banks.strip(model, 1.0, k)}
    assert {image.tobytes() for image in made.images} <= bank
    concatenate(few, made)  # of the same classes and shape
