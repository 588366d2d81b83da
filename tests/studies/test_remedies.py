"""Chapters' parameters in, a classifier trained by a method out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.randomness import numpy_generator
from synthbook.recognize.methods import Settings
from synthbook.record.parameters import check_values
from synthbook.record.scales import notebook_path
from synthbook.studies.remedies import guide_of, remedy, settings_of, updates_of
from synthbook.studies.training_sets import classifier_recipe, train_classifier

torch.set_num_threads(1)
CHAPTER = "15_pretrained_guidance"


def parameters(**values):
    """Return the chapter's parameters with a short training and a small guide of no knowledge."""
    short = {"epochs": 2, "batch_size": 16, "guide_backbone": "small_cnn", "guide_input_size": 8}
    return check_values(notebook_path(CHAPTER), short | {"guide_pretrained": False} | values)


def stripes(count: int, *, seed: int = 0) -> ImageSet:
    """Return two classes: the upper or the lower half of the image is bright, on noise."""
    pixels = numpy_generator(seed, "stripes").uniform(0, 0.6, (count, 8, 8, 1))
    labels = np.arange(count) % 2
    for k, label in enumerate(labels):
        pixels[k, 4 * label : 4 * label + 4] += 0.4
    return ImageSet((255 * pixels).astype(np.uint8), labels, ("up", "down"), "stripes")


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@given(
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.sampled_from(("guide", "model")),
    st.booleans(),
)
def test_settings_are_the_parameters_of_the_same_name(first, third, target, per_layer) -> None:
    p = {"lambda_1": first, "lambda_3": third, "target": target, "per_layer": per_layer, "seeds": 3}
    expected = Settings(lambda_1=first, lambda_3=third, target=target, per_layer=per_layer)
    assert settings_of(p) == expected
    assert settings_of(p, lambda_3=2.0) == replace(expected, lambda_3=2.0)
    assert settings_of({}) == Settings()


def test_a_setting_out_of_range_is_told_by_its_name() -> None:
    with pytest.raises(InputError, match="lambda_3 is -1"):
        settings_of({}, lambda_3=-1)


def test_the_guide_is_the_one_that_the_parameters_name() -> None:
    guide = guide_of(parameters(), channels=1)
    assert (guide.network.name, guide.input_size) == ("small_cnn", 8)
    assert not any(parameter.requires_grad for parameter in guide.network.parameters())
    with pytest.raises(InputError, match="no pretrained weights"):
        guide_of(parameters(guide_pretrained=True), channels=1)


def test_plain_training_starts_where_any_classifier_of_the_seed_starts() -> None:
    p = parameters(learning_rate=1e-12)
    images = stripes(32)
    one, _ = remedy(p, "plain", synthetic=images, updates=4, seed=3)
    other, _ = train_classifier(p, images, seed=3)
    ours, theirs = weights(one), weights(other)
    kernels = [name for name in ours if "running" not in name and "num_batches" not in name]
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-9) for name in kernels)


def test_methods_of_a_seed_start_alike_and_end_apart() -> None:
    p = parameters(learning_rate=0.01)
    images = stripes(48)
    guide = guide_of(parameters(), channels=1)
    how = {"synthetic": images, "updates": updates_of(images, classifier_recipe(p)), "guide": guide}

    def trained(name: str, rate: float, seed: int = 0) -> torch.Tensor:
        recipe = replace(classifier_recipe(p), learning_rate=rate)
        model, _ = remedy(p, name, seed=seed, recipe=recipe, **how)
        return model.head.weight.detach()

    plain, guided = trained("plain", 1e-12), trained("PG-KL", 1e-12)
    assert torch.allclose(plain, guided, atol=1e-9)
    assert not torch.allclose(plain, trained("plain", 1e-12, seed=1), atol=1e-3)
    assert not torch.allclose(trained("plain", 0.01), trained("PG-KL", 0.01), atol=1e-4)


def test_equal_seeds_give_equal_weights_and_the_settings_count() -> None:
    p = parameters(lambda_3_kl=5.0)
    guide = guide_of(parameters(), channels=1)
    how = {"synthetic": stripes(32), "updates": 4, "seed": 0, "guide": guide}
    first, again, weaker = (
        remedy(p, "PG-L1", settings=settings_of(p, lambda_3=lambda_3), **how)[0].head.weight
        for lambda_3 in (5.0, 5.0, 0.5)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, weaker)


@pytest.mark.parametrize("updates", [2, 4, 10])
def test_the_time_is_that_of_the_updates_and_not_of_the_epochs(updates: int) -> None:
    p = parameters(epochs=7)
    images = stripes(32)  # two steps an epoch
    _, history = remedy(p, "plain", synthetic=images, updates=updates, seed=0)
    assert history.images == 16 * updates
    assert updates_of(images, classifier_recipe(p)) == 14


def test_backbone_recipe_and_weights_may_differ_from_the_parameters() -> None:
    p = parameters(backbone="resnet18_cifar", pretrained=True)
    recipe = replace(classifier_recipe(p), input_size=16)
    other = {"recipe": recipe, "backbone": "small_cnn", "pretrained": False}
    model, _ = remedy(p, "plain", real=stripes(16), updates=1, seed=0, **other)
    assert (model.name, model.num_classes) == ("small_cnn", 2)
    assert len([layer for layer in model.body if isinstance(layer, torch.nn.Conv2d)]) == 4


def test_what_is_missing_is_said_before_work_starts() -> None:
    p = parameters()
    how = {"updates": 4, "seed": 0}
    with pytest.raises(InputError, match="no images"):
        remedy(p, "plain", **how)
    with pytest.raises(InputError, match="needs a frozen guide"):
        remedy(p, "PG-KL", synthetic=stripes(16), **how)
    with pytest.raises(InputError, match="needs real images"):
        remedy(p, "RG", synthetic=stripes(16), **how)
    with pytest.raises(InputError, match="did you mean 'PG-KL'"):
        remedy(p, "PG_KL", synthetic=stripes(16), **how)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"methods": ["plain", "PG_KL"]}, "did you mean 'PG-KL'"),
        ({"parts": ["scratched"]}, "did you mean 'scratch'"),
        ({"lambdas": [-1.0]}, "lambdas"),
    ],
)
def test_unknown_names_stop_the_chapter_before_it_runs(values, told) -> None:
    with pytest.raises(InputError, match=told):
        check_values(notebook_path(CHAPTER), values)
