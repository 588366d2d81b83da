"""Images from a generator: one stream an image, conditions, batch statistics, and from files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthbook.errors import InputError
from synthbook.gans.networks import load, save
from synthbook.gans.resnet import ClassBatchNorm
from synthbook.gans.sampling import (
    BATCH,
    as_pixels,
    embedded_classes,
    even_parts,
    sample,
    set_standing_statistics,
)
from synthbook.training import normalise


def test_pixels_are_the_nearest_grey_levels():
    levels = torch.arange(256.0).view(1, 1, 16, 16)
    for off in (-0.4, 0.0, 0.4):
        made = as_pixels(normalise(levels + off))
        assert made.dtype == np.uint8
        assert (made[0, ..., 0] == levels[0, 0].numpy()).all()
    assert as_pixels(torch.tensor([-9.0, 9.0]).view(2, 1, 1, 1)).flatten().tolist() == [0, 255]


@pytest.fixture
def made(pair):
    def make(name: str) -> torch.nn.Module:
        generator, _ = pair(name, **({"condition_size": 3} if name == "sngan" else {}))
        classes = generator.config.num_classes

        def labels(count: int, draw: torch.Generator) -> torch.Tensor | None:
            if generator.config.condition_size:
                return torch.randn(count, 3, generator=draw)
            return torch.randint(classes, (count,), generator=draw) if classes else None

        set_standing_statistics(generator, labels, seed=0, images=4000)
        return generator.eval().requires_grad_(False)

    return make


def test_standing_statistics_are_those_of_the_generators_images(made):
    """With them, eval mode normalises what the last layer sees to mean 0 and variance 1."""
    generator, seen = made("resnet"), []
    generator.norm.register_forward_hook(lambda module, inputs, _: seen.append(inputs[0]))
    labels = torch.arange(2000) % 2
    generator(torch.randn(2000, 4, generator=torch.Generator().manual_seed(0)), labels)
    mean, var = seen[0].mean((0, 2, 3)), seen[0].var((0, 2, 3))
    norm = generator.norm
    assert ((norm.running_mean - mean).abs() < 0.15 * var.sqrt() + 1e-3).all()
    torch.testing.assert_close(norm.running_var, var, rtol=0.2, atol=1e-3)


def test_no_image_weighs_more_than_others_where_the_last_batch_would_be_small(pair):
    """With one image in a batch of its own, the mean over batches would be half that image's."""
    for total in (1, BATCH, BATCH + 1, 2 * BATCH, 3 * BATCH - 1):
        parts = even_parts(total)
        assert sum(parts) == total
        assert max(parts) <= min(BATCH, min(parts) + 1)
    assert even_parts(2 * BATCH) == [BATCH] * 2
    assert even_parts(0) == []
    generator, _ = pair("sngan")
    found = []
    for images in (BATCH, BATCH + 1):
        set_standing_statistics(generator, lambda count, draw: None, seed=0, images=images)
        norm = generator.norm
        found.append((norm.running_mean.clone(), norm.running_var.clone()))
    (mean, var), (other, another) = found
    assert ((other - mean).abs() < 0.15 * var.sqrt() + 1e-3).all()
    torch.testing.assert_close(another, var, rtol=0.2, atol=1e-3)


def test_an_image_depends_on_its_own_stream_only(made):
    generator, labels = made("resnet"), [0, 1, 1, 0, 1, 0, 0]
    for module in generator.modules():  # classes that differ, as after a training
        if isinstance(module, ClassBatchNorm):
            torch.nn.init.normal_(module.gain.weight)
    together = sample(generator, labels, seed=2)
    assert together.shape == (7, 8, 8, 3)
    assert together.dtype == np.uint8
    for batch_size in (1, 3):
        parts = sample(generator, labels, seed=2, batch_size=batch_size)
        assert np.abs(parts.astype(int) - together).max() <= 1
    apart = np.abs(sample(generator, [0] * 7, seed=2).astype(int) - together).max((1, 2, 3))
    assert (apart > 9).tolist() == [label == 1 for label in labels]
    fewer = sample(generator, labels[:3], seed=2)
    assert np.abs(fewer.astype(int) - together[:3]).max() <= 1
    assert np.abs(sample(generator, labels, seed=3).astype(int) - together).max() > 9


@pytest.mark.parametrize(
    ("name", "conditions"),
    [("resnet", [0, 1, 1]), ("sngan", torch.ones(3, 3)), ("stylegan2", [None] * 3)],
)
def test_a_saved_generator_gives_the_same_images(name, conditions, tmp_path, made):
    generator = made(name)
    before = sample(generator, conditions, seed=0)
    save(generator, tmp_path / "model")
    np.testing.assert_array_equal(sample(load(tmp_path / "model"), conditions, seed=0), before)


@pytest.mark.parametrize("name", ["sngan", "stylegan2"])
def test_embedded_conditions_make_the_images_of_the_conditions(name, pair):
    generator, _ = pair(name, condition_size=3)
    vectors = torch.randn(7, 3)
    images = sample(generator, vectors, seed=0)
    with torch.no_grad():
        embedded = generator.embed(vectors)
    each = embedded[:, None].repeat(1, generator.num_blocks, 1)
    for given in (embedded, each):
        made = sample(generator, given, seed=0, embedded=True, batch_size=3)
        assert np.abs(made.astype(int) - images).max() <= 1


@pytest.mark.parametrize("name", ["sngan", "stylegan2", "stylegan2_mlp"])
def test_embedded_classes_make_the_images_of_the_classes(name, pair):
    generator, _ = pair(name, num_classes=3)
    rows = embedded_classes(generator)
    assert name == "stylegan2_mlp" or torch.equal(rows, generator.embed.weight)
    images = sample(generator, [2, 0, 1], seed=0)
    made = sample(generator, rows[[2, 0, 1]], seed=0, embedded=True)
    assert np.abs(made.astype(int) - images).max() <= 1
    with pytest.raises(InputError, match="no layer that embeds its condition"):
        embedded_classes(pair(name)[0])


@pytest.mark.parametrize(
    ("settings", "vectors", "says"),
    [
        ({"condition_size": 3}, torch.ones(2, 3), r"a float tensor \[N, 6\] or \[N, 1, 6\]"),
        ({"condition_size": 3}, torch.ones(2, 2, 6), "must be a float tensor"),
        ({"condition_size": 3}, torch.ones(0, 6), "N above 0"),
        ({"condition_size": 3}, [0, 1], "must be a float tensor"),
        ({}, torch.ones(2, 6), "no layer that embeds its condition"),
    ],
)
def test_embedded_conditions_that_do_not_fit(settings, vectors, says, pair):
    with pytest.raises(InputError, match=says):
        sample(pair("sngan", **settings)[0], vectors, seed=0, embedded=True)


@pytest.mark.parametrize(
    ("name", "conditions", "says"),
    [
        ("resnet", [2], "class 2"),
        ("sngan", [None], "takes vectors"),
        ("sngan", torch.ones(2, 4), r"tensor \[N, 3\]"),
        ("stylegan2", [0], "takes no condition"),
        ("stylegan2", [], "no images were asked for"),
    ],
)
def test_conditions_that_a_generator_does_not_know_are_refused(name, conditions, says, made):
    with pytest.raises(InputError, match=says):
        sample(made(name), conditions, seed=0)
