"""Pretraining and finetuning through the cache: what starts where, and what a kill costs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from synthbook.errors import InputError
from synthbook.gans.baselines.bsa import BSARecipe
from synthbook.gans.baselines.glann import GlannRecipe
from synthbook.gans.networks import load, load_discriminator, load_unaveraged
from synthbook.gans.recipes import published
from synthbook.gans.residual import CIFAR
from synthbook.gans.sampling import sample
from synthbook.generate.primitives import Primitives
from synthbook.measure.features import Extractor
from synthbook.measure.fidelity import frechet_distance
from synthbook.randomness import derive
from synthbook.studies import few_images
from synthbook.studies.few_images import (
    adopted,
    finetuned,
    judge,
    judged_images,
    pretrained,
    started,
)
from synthbook.studies.targets import stream, target

NETWORK = {
    "name": "stylegan2", "image_size": 16, "channels": 4, "widest": 8, "latent": 8, "style": 8,
    "mapping_layers": 1,
}  # fmt: skip
RECIPE = published("stylegan2", steps=4, batch_size=4, path_length=0.0, ema_half_life=8.0)
PIXELS = Extractor(
    "pixels", lambda x: x[:, ::4, ::4].reshape(len(x), -1).astype("float32"), fingerprint="pixels"
)


@pytest.fixture
def few():
    return target("mnist5k:3", count=12, image_size=16, seed=0)


def _judge(few):
    return judge(PIXELS, {"train": few.train, "held_out": few.held_out}, 10, seed=0)


def _tune(few, first=None, *, recipe=RECIPE, **more):
    how = {"first": first, "extractor": PIXELS, "generated": 10, "evaluate_every": 2, "seed": 0}
    return finetuned(few.train, few.held_out, recipe, NETWORK, **how | more)


def _weights(network) -> dict[str, torch.Tensor]:
    return network.state_dict()


def _equal(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def conditional(few) -> tuple[dict, Path]:
    """Return the settings of a BigGAN and the folder of a pretrained pair."""
    network = {"name": "biggan", "image_size": 16, "channels": 4, "latent": 6, "num_classes": 1}
    source = stream(Primitives(), image_size=16, seed=0, labels_of=few.train)
    recipe = published("biggan", steps=3, batch_size=4, standing_images=8, ema_start=0)
    return network, pretrained(source, recipe, network, seed=0)


@pytest.mark.parametrize("settings", [{}, CIFAR])
def test_each_network_starts_from_its_own_weights(conditional, settings, few) -> None:
    network, _ = conditional
    network |= settings
    source = stream(Primitives(), image_size=16, seed=0, labels_of=few.train)
    recipe = published("biggan", steps=3, batch_size=4, standing_images=8, ema_start=0)
    folder = pretrained(source, recipe, network, seed=0)
    fresh, whole = started(network, None, seed=5), started(network, folder, seed=5)
    partly = started(network, folder, seed=5, keeps=())
    assert fresh.average is None
    assert not _equal(_weights(whole.generator), _weights(whole.average))
    for name, read in (
        ("generator", load_unaveraged), ("average", load), ("discriminator", load_discriminator),
    ):  # fmt: skip
        new = _weights(fresh.generator if name == "average" else getattr(fresh, name))
        copied, tuned, first = _weights(getattr(whole, name)), _weights(getattr(partly, name)), (
            _weights(read(folder))
        )  # fmt: skip
        assert _equal(first, copied)
        classes = {
            f"{module}.{tensor}"
            for module, found in getattr(partly, name).named_modules()
            if isinstance(found, torch.nn.Embedding)
            for tensor in found.state_dict()
        }
        assert classes
        for key, value in tuned.items():
            assert torch.equal(value, (new if key in classes else first)[key])


def test_states_of_the_optimizers_are_kept_if_asked(conditional) -> None:
    network, folder = conditional
    assert started(network, folder, seed=5).optimizers is None
    states = started(network, folder, seed=5, keeps=("embeddings", "adam")).optimizers
    assert {name: state["state"][0]["step"].item() for name, state in states.items()} == {
        "generator": 3, "discriminator": 12,
    }  # fmt: skip


def test_a_pair_from_elsewhere_is_named_by_its_content(conditional, tmp_path) -> None:
    _, folder = conditional
    names = set()
    for place, files in (("one", "*"), ("other", "*"), ("averaged", "[!u]*")):
        (tmp_path / place).mkdir()
        for path in [*folder.glob(f"{files}.safetensors"), folder / "config.json"]:
            shutil.copy(path, tmp_path / place)
        names.add(adopted(tmp_path / place))
    assert len(names) == 2
    for made in names:
        assert _equal(_weights(load(made)), _weights(load(folder)))
    with pytest.raises(InputError, match="no pair of networks"):
        adopted(tmp_path)


def test_a_pretraining_is_made_once_and_another_source_is_another() -> None:
    calls = []
    drawn = stream(Primitives(), image_size=16, seed=0)
    how = {"seed": 0, "on_step": lambda done, found: calls.append(done)}
    first = pretrained(drawn, RECIPE, NETWORK, **how)
    assert calls == [1, 2, 3, 4]
    assert pretrained(drawn, RECIPE, NETWORK, **how) == first
    assert calls == [1, 2, 3, 4]
    other = stream(Primitives("PinkNoise"), image_size=16, seed=0)
    assert pretrained(other, RECIPE, NETWORK, **how) != first
    assert not (first / "checkpoints").exists()


def test_a_stream_that_draws_otherwise_under_the_same_name_is_another_source() -> None:
    def dark(which):
        return torch.zeros(len(which), 3, 16, 16, dtype=torch.uint8)

    def bright(which):
        return torch.full((len(which), 3, 16, 16), 255, dtype=torch.uint8)

    drawn = stream(Primitives(), image_size=16, seed=0)
    first, *others = (
        pretrained(replace(drawn, images=images), RECIPE, NETWORK, seed=0)
        for images in (drawn.images, dark, bright)
    )
    assert len({first, *others}) == 3


def test_the_history_holds_every_evaluation_and_best_is_its_lowest(few) -> None:
    found = _tune(few)
    assert sorted(found.history) == [0, 2, 4]
    assert all(set(one) == {"train", "held_out"} for one in found.history.values())
    lowest = min(one["train"] for one in found.history.values())
    assert found.history[found.best]["train"] == lowest
    assert found.last == 4


def test_the_generators_kept_are_those_that_were_judged(few) -> None:
    found, judged = _tune(few), _judge(few)
    for which, step in (("best", found.best), ("last", found.last)):
        again = judged(found.generator(which))
        assert again == pytest.approx(found.history[step], rel=1e-6)


def test_the_middle_generator_is_that_of_half_of_the_training(few) -> None:
    found, shorter = _tune(few), _tune(few, recipe=replace(RECIPE, steps=2))
    assert found.middle == 2
    assert found.history[2] == shorter.history[2]
    assert _equal(_weights(found.generator("middle")), _weights(shorter.generator("last")))


def test_some_images_of_every_judged_step_are_kept(few) -> None:
    found = _tune(few)
    for which, step in (("middle", 2), ("last", 4)):
        seen = judged_images(found.generator(which), few_images.SEEN, seed=0)
        assert np.array_equal(found.images(step), seen)
    assert not np.array_equal(found.images(0), found.images(4))


def test_a_finetuning_starts_from_the_pretrained_pair(few) -> None:
    first = pretrained(stream(Primitives(), image_size=16, seed=0), RECIPE, NETWORK, seed=0)
    scratch, tuned = _tune(few), _tune(few, first)
    assert scratch.history[0] != tuned.history[0]
    assert tuned.history[0] == pytest.approx(_judge(few)(load(first)), rel=1e-6)


def test_what_is_counted_beside_is_kept_with_each_evaluation(few) -> None:
    found = _tune(few, count=lambda images: {"mean": float(images.mean())})
    images = judged_images(found.generator("last"), 10, seed=0)
    assert images.shape == (10, 16, 16, 3)
    assert found.history[4]["mean"] == pytest.approx(images.mean(), abs=0.01)


def test_a_counter_whose_code_changed_is_not_answered_from_the_cache(few) -> None:
    def counted(images):
        return {"bright": float(images.mean())}

    before = _tune(few, count=counted)

    def counted(images):
        return {"bright": float((images > 127).mean())}

    after = _tune(few, count=counted)
    images = judged_images(after.generator("last"), 10, seed=0)
    assert after.history[4]["bright"] == pytest.approx((images > 127).mean(), abs=0.01)
    assert after.history[4]["bright"] != before.history[4]["bright"]


def test_a_killed_finetuning_goes_on_to_the_same_result(few, monkeypatch, tmp_path) -> None:
    recipe = replace(RECIPE, steps=6)
    whole = _tune(few, recipe=recipe)
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "second"))
    monkeypatch.setattr(few_images, "train", partial(few_images.train, checkpoint_every=2))

    def kill(done, found):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _tune(few, recipe=recipe, on_step=kill)
    seen = []
    resumed = _tune(few, recipe=recipe, on_step=lambda done, found: seen.append(done))
    assert seen == [5, 6]
    assert resumed.history == whole.history
    for which in ("best", "last"):
        assert _equal(*(_weights(one.generator(which)) for one in (resumed, whole)))


def test_vgg16_sees_images_at_their_own_size_and_weighs_as_much_as_pixels(
    conditional, few, monkeypatch
) -> None:
    """As in GLANN's public code; other networks have the size and weight of their own."""
    asked: list[tuple[int, float]] = []

    def caught(generator, images, perceptual, recipe, **how):
        asked.append((perceptual.size, perceptual.weight))
        raise KeyboardInterrupt

    monkeypatch.setattr(few_images, "network_maps", lambda name: lambda x: [x])
    monkeypatch.setattr(few_images.bsa, "train_bsa", caught)
    for name in ("efficientnet_lite0", "vgg16"):
        with pytest.raises(KeyboardInterrupt):
            few_images.fitted(
                "BSA", few.train, few.held_out, BSARecipe(steps=2), None, first=conditional[1],
                perceptual=name, extractor=PIXELS, generated=4, seed=0, device="cpu",
            )  # fmt: skip
    assert asked == [(64, 0.1), (16, 1.0)]


@pytest.mark.parametrize("method", few_images.WITHOUT)
def test_a_method_without_an_adversary_has_a_fit_of_its_own(
    method: str, conditional, few, monkeypatch
) -> None:
    """`fitted` sends what is not BSA to GLANN: a new name needs a branch there, and a line here."""
    fits = {
        "GLANN": (few_images.glann, "train_glann", GlannRecipe(epochs=2)),
        "BSA": (few_images.bsa, "train_bsa", BSARecipe(steps=2)),
    }
    called: list[str] = []

    def caught(name: str, *given, **how):
        called.append(name)
        raise KeyboardInterrupt

    for name, (module, function, _) in fits.items():
        monkeypatch.setattr(module, function, partial(caught, name))
    monkeypatch.setattr(few_images, "network_maps", lambda name: lambda x: [x])
    with pytest.raises(KeyboardInterrupt):
        few_images.fitted(
            method, few.train, few.held_out, fits[method][2], None, first=conditional[1],
            perceptual="vgg16", extractor=PIXELS, generated=4, seed=0, device="cpu",
        )  # fmt: skip
    assert called == [method]


def test_classes_are_judged_in_turn() -> None:
    network = NETWORK | {"num_classes": 3}
    generator = started(network, None, seed=0).generator
    some = target("digits:1", count=5, image_size=16, seed=0)
    images = judged_images(generator, 6, seed=0)
    labels = [0, 1, 2, 0, 1, 2]
    assert np.array_equal(images, sample(generator, labels, seed=derive(0, "judged")))
    sets = {"train": some.train, "held_out": some.held_out}
    found = judge(PIXELS, sets, 6, seed=0)(generator)
    assert found == pytest.approx(distances(sets, images), rel=1e-3)
    sets["held_out"] = None
    assert set(judge(PIXELS, sets, 6, seed=0)(generator)) == {"train"}


def distances(sets, images) -> dict[str, float]:
    made = PIXELS(images)
    return {name: frechet_distance(PIXELS(some.images), made) for name, some in sets.items()}


def test_a_generator_that_was_fitted_is_judged_against_each_set(few, monkeypatch) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    made = SimpleNamespace(save=lambda folder: None)
    monkeypatch.setattr(few_images, "network_maps", lambda name: lambda x: [x])
    monkeypatch.setattr(few_images.networks, "load", lambda first: None)
    monkeypatch.setattr(few_images.bsa, "train_bsa", lambda *_, **__: made)
    monkeypatch.setattr(few_images, "judged_images", lambda model, count, **_: drawn[:count])
    found = few_images.fitted(
        "BSA", few.train, few.held_out, BSARecipe(steps=2), None, first=Path("pair"),
        perceptual="efficientnet_lite0", extractor=PIXELS, generated=7, seed=0, device="cpu",
    )  # fmt: skip
    sets = {"train": few.train, "held_out": few.held_out}
    assert found.history == {2: pytest.approx(distances(sets, drawn[:7]), rel=1e-3)}
