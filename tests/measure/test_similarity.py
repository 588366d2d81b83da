"""Filter similarity against a loop over pairs, closed forms, and the layers of the GANs."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from synthbook.errors import InputError
from synthbook.gans.networks import create_discriminator, create_generator
from synthbook.measure.similarity import filter_similarity, layer_similarities
from synthbook.randomness import torch_generator

TINY = {"image_size": 16, "channels": 4, "latent": 8}
STYLE = {**TINY, "style": 8, "widest": 8, "mapping_layers": 1}


def filters(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch_generator(seed, "test"), dtype=torch.float64)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 7), inputs=st.integers(1, 4))
def test_it_equals_a_loop_over_ordered_pairs(seed, count, inputs):
    weight = filters(seed, count, inputs, 3, 3) + 0.2
    pairs = permutations(weight.flatten(1), 2)
    cosines = torch.stack([torch.cosine_similarity(a, b, dim=0) for a, b in pairs])
    wanted = float(cosines.mean()), float(cosines.abs().mean())
    assert filter_similarity(weight) == pytest.approx(wanted, abs=1e-12)


def test_orthogonal_identical_and_opposite_filters():
    orthogonal = torch.eye(18).reshape(18, 2, 3, 3)
    assert filter_similarity(orthogonal) == (0, 0)
    same = filters(0, 1, 2, 3, 3).expand(5, -1, -1, -1)
    assert filter_similarity(same) == pytest.approx((1, 1))
    assert filter_similarity(torch.cat([same[:1], -same[:1]])) == pytest.approx((-1, 1))
    # Two pairs of opposites: of 12 ordered pairs 4 are alike and 8 opposite.
    mixed = torch.cat([same[:2], -same[:2]])
    assert filter_similarity(mixed) == pytest.approx(((4 - 8) / 12, 1))


@settings(max_examples=20, deadline=None)
@given(factors=st.lists(st.floats(1e-150, 1e150), min_size=6, max_size=6))
def test_positive_factors_change_nothing(factors):
    weight = filters(2, 6, 2, 3, 3)
    scaled = weight * torch.tensor(factors, dtype=torch.float64)[:, None, None, None]
    assert filter_similarity(scaled) == pytest.approx(filter_similarity(weight), abs=1e-12)


def test_parameters_of_low_precision_are_taken_and_left_alone():
    weight = nn.Parameter(filters(4, 8, 2, 3, 3).bfloat16())
    assert filter_similarity(weight) == filter_similarity(weight.detach().double())
    assert weight.dtype == torch.bfloat16
    assert weight.grad is None


def test_layers_of_stylegan2():
    generator = create_generator("stylegan2", **STYLE)
    expected = ["first.conv"] + [f"blocks.{s}.conv{k}.conv" for s in (8, 16) for k in (0, 1)]
    found = layer_similarities(generator)
    assert list(found) == expected
    for name, value in found.items():
        assert value == filter_similarity(generator.get_submodule(name).weight)
        assert generator.get_submodule(name).weight.shape[1] == len(
            generator.get_submodule(name).style.bias
        )
    discriminator = create_discriminator("stylegan2", **STYLE)
    expected = [f"blocks.{s}.conv{k}" for s in (16, 8) for k in (0, 1)] + ["conv"]
    assert list(layer_similarities(discriminator)) == expected


@pytest.mark.parametrize(
    ("name", "changes"), [("sngan", {}), ("biggan", {"latent": 9}), ("resnet", {"num_classes": 3})]
)
def test_layers_of_the_residual_pairs(name, changes):
    for create, more in ((create_generator, ["last"]), (create_discriminator, [])):
        network = create(name, **TINY | changes)
        blocks = [f"blocks.{b}.conv{k}" for b in range(len(network.blocks)) for k in (1, 2)]
        assert list(layer_similarities(network)) == blocks + more


def test_spectral_norm_is_looked_through_and_attention_left_out():
    network = create_discriminator("sngan", **{**TINY, "attention": 8})
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = layer_similarities(network)
    assert not any("attention" in name for name in found)
    layer = network.blocks[0].conv1
    assert found["blocks.0.conv1"] == filter_similarity(layer.parametrizations.weight.original)
    assert found["blocks.0.conv1"] == pytest.approx(filter_similarity(layer.weight), abs=1e-6)
    # Reading the parametrised weight of a training network takes a step of the power iteration.
    network = create_discriminator("sngan", **{**TINY, "attention": 8}).train()
    layer_similarities(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_layer_with_one_filter_has_no_pairs():
    found = layer_similarities(create_generator("sngan", **{**TINY, "image_channels": 1}))
    assert "last" not in found
    assert layer_similarities(nn.Sequential(nn.Conv2d(2, 4, 1), nn.Linear(4, 4))) == {}


def test_bad_input_is_named():
    weight = filters(5, 4, 2, 3, 3)
    for value in (0, float("nan"), float("inf")):
        bad = weight.clone()
        bad[2] = value
        with pytest.raises(InputError, match=r"weight\[2\] is zeros, NaN or infinite"):
            filter_similarity(bad)
    with pytest.raises(InputError, match="layer '0' is a transposed convolution"):
        layer_similarities(nn.Sequential(nn.ConvTranspose2d(2, 4, 3)))
