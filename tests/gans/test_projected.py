"""The projected pair: what is frozen, what is folded, gradients, sizes, and training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, interpolate

from synthbook.data import ImageSet
from synthbook.gans.networks import create_discriminator, create_generator, load, save
from synthbook.gans.projected import STAGES, Discriminator, Exact, Projector, folded
from synthbook.gans.recipes import GanRecipe
from synthbook.gans.sampling import sample
from synthbook.gans.train import train, train_gan
from synthbook.gans.transfer import freeze
from synthbook.generate.recipes import gan_recipe
from synthbook.training import Budget, Watch
from synthbook.weights import MEAN, STD, efficientnet_lite0

HOW = {"image_size": 8, "num_classes": 2, "channels": 4, "latent": 4, "head_width": 16}
RECIPE = GanRecipe(
    architecture="projected", channels=4, latent=4, steps=3, batch_size=4, average="warmed",
    augment="color,translation,cutout", flip=True, standing_images=20, schedule="constant",
)  # fmt: skip


def noise(count: int = 12, channels: int = 3) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, channels), np.uint8)
    return ImageSet(pixels, np.arange(count) % 2, ("a", "b"), "noise")


@pytest.fixture
def discriminator() -> Discriminator:
    return create_discriminator("projected", seed=0, **HOW)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_folded_network_is_the_network(channels):
    plain = efficientnet_lite0(0, channels)
    images = torch.randn(2, channels, 64, 64)
    expected = plain(images)
    maps = Projector(channels, 64).maps(images)
    with torch.no_grad():
        network = folded(efficientnet_lite0(0, channels))
        assert not [m for m in network.blocks.modules() if isinstance(m, nn.BatchNorm2d)]
        h, whole = plain.bn1(plain.conv_stem(images)), []
        for block in plain.blocks:
            h = block(h)
            whole.append(h)
    torch.testing.assert_close(network(images), expected, rtol=1e-3, atol=1e-4)
    assert [h.shape[-1] for h in maps] == [16, 8, 4, 2]
    for stage, seen in zip(STAGES, maps, strict=True):
        torch.testing.assert_close(seen, whole[stage], rtol=1e-3, atol=1e-3)


def test_maps_are_mixed_across_channels_and_from_coarse_to_fine():
    """Sauer et al. 2021, Sec. 3.2, written out on the network as it is."""
    projector, network = Projector(3, 32), efficientnet_lite0(0)
    images = 2 * torch.rand(2, 3, 8, 8) - 1
    x = interpolate((images + 1) / 2, size=32, mode="bilinear")  # 0..1, as it was pretrained
    h, mixed = network.bn1(network.conv_stem((x - MEAN) / STD)), []
    for k, block in enumerate(network.blocks):
        h = block(h)
        if k in STAGES:
            layer = projector.across_channels[len(mixed)]
            mixed.append(conv2d(h, layer.weight, layer.bias))
    for k in (2, 1, 0):
        layer = projector.across_scales[k]
        coarser = conv2d(mixed[k + 1], layer.weight, layer.bias, padding=1)
        mixed[k] = mixed[k] + interpolate(coarser, scale_factor=2, mode="bilinear")
    for found, wanted in zip(projector(images), mixed, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-2)


def test_a_head_adds_the_class_at_every_position(discriminator):
    head, images, labels = discriminator.eval().heads[0], torch.randn(3, 3, 8, 8), [0, 1, 1]
    h = head.body(images)
    told = torch.einsum("nchw,nc->nhw", h, head.embed.weight[labels]) / h.shape[1] ** 0.5
    wanted = (head.logit(h).squeeze(1) + told).flatten(1)
    torch.testing.assert_close(head(images, torch.tensor(labels)), wanted)


def test_an_exact_layer_stays_in_float32():
    layer, x = nn.Conv2d(2, 2, 3), torch.randn(1, 2, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        assert torch.equal(Exact(layer)(x.bfloat16()), Exact(layer)(x.bfloat16().float()))
        exact = Exact(layer)(x)
    assert torch.equal(exact, layer(x))


def test_logits_stand_at_the_positions_of_all_scales(discriminator):
    images, labels = torch.randn(3, 3, 8, 8), torch.tensor([0, 1, 1])
    logits = discriminator(images, labels)
    # Of the image's 8 pixels, and of maps of 16, 8, 4 and 2.
    assert logits.shape == (3, 4 * 4 + 4 * 4 + 4 * 4 + 4 * 4 + 2 * 2)
    assert logits.std(dim=1).min() > 0
    one = discriminator(images[1:2], labels[1:2])  # an image's logits do not depend on others
    torch.testing.assert_close(one[0], logits[1], rtol=1e-3, atol=1e-3)
    assert discriminator.features(images).shape == (3, 32 + 64 + 128 + 256)
    other = discriminator(images, 1 - labels)
    assert (other - logits).abs().max() > 1e-4  # the class counts
    wide = create_discriminator("projected", seed=0, **HOW | {"feature_size": 128})
    assert wide(images, labels).shape == (3, 5 * 4 * 4)


def test_an_image_gets_a_gradient_through_what_is_frozen(discriminator, monkeypatch):
    monkeypatch.setattr(Exact, "forward", lambda exact, x: exact.layer(x))  # here in float64
    discriminator.eval()
    images = (0.3 * torch.randn(1, 3, 8, 8)).double().requires_grad_()
    discriminator.double()
    labels = torch.tensor([1])
    (gradient,) = torch.autograd.grad(discriminator(images, labels).mean(), images)
    assert (gradient != 0).all()
    step = 1e-5 * torch.randn(1, 3, 8, 8, dtype=torch.double)
    with torch.no_grad():
        ends = [discriminator(images + sign * step, labels).mean() for sign in (1, -1)]
    torch.testing.assert_close(
        (ends[0] - ends[1]) / 2, (gradient * step).sum(), rtol=0.02, atol=1e-9
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_training_changes_all_but_what_is_frozen(precision, channels):
    how = HOW | {"image_channels": channels}
    networks = (
        create_generator("projected", seed=0, **how),
        create_discriminator("projected", seed=0, **how),
    )
    before = [{k: v.clone() for k, v in n.state_dict().items()} for n in networks]
    trained = train(
        *networks, noise(channels=channels), replace(RECIPE, precision=precision), seed=0
    )
    projector = trained.discriminator.projector
    assert not projector.training
    assert not any(m.training for m in projector.modules())
    assert all(p.grad is None and not p.requires_grad for p in projector.parameters())
    state = trained.discriminator.state_dict()
    assert all(torch.equal(state[k], v) for k, v in before[1].items() if "projector." in k)
    assert sum("projector." in name for name in state) > 50
    for network, first in (
        (trained.unaveraged, before[0]),
        (trained.discriminator.heads, before[1]),
    ):
        prefix = "" if network is trained.unaveraged else "heads."
        for name, weight in network.named_parameters():
            if not name.endswith("logit.bias"):  # inside the hinge real and fake images cancel
                assert not torch.equal(weight, first[prefix + name]), name
    made = sample(trained.generator, [0, 1], seed=0)
    assert made.shape == (2, 8, 8, channels)


def test_train_leaves_the_projector_in_evaluation_mode(discriminator):
    assert discriminator.train() is discriminator
    assert discriminator.training
    assert not any(m.training for m in discriminator.projector.modules())
    assert all(head.training for head in discriminator.heads)


def test_freeze_d_freezes_heads_from_the_finest_on(discriminator):
    names = freeze(discriminator.train(), 2)
    assert {name.split(".")[1] for name in names} == {"0", "1"}
    assert all(name.startswith("heads.") for name in names)
    for k, head in enumerate(discriminator.heads):
        assert head.training == (k >= 2)
        assert all(p.requires_grad == (k >= 2) for p in head.parameters())
    assert len(discriminator.stages()) == 5


def test_what_was_mixed_at_random_is_kept_with_the_discriminator(discriminator, tmp_path):
    from synthbook.gans.networks import load_discriminator

    generator = create_generator("projected", seed=0, **HOW)
    save(generator, tmp_path, discriminator)
    images, labels = torch.randn(2, 3, 8, 8), torch.tensor([0, 1])
    again = load_discriminator(tmp_path).eval()
    torch.testing.assert_close(again(images, labels), discriminator.eval()(images, labels))
    np.testing.assert_array_equal(
        sample(load(tmp_path), [0, 1], seed=0), sample(generator, [0, 1], seed=0)
    )
    other = create_discriminator("projected", seed=1, **HOW).eval()
    assert (other.features(images) - again.features(images)).abs().max() > 0.01


class Killed(Exception):
    pass


def test_with_a_watch_killed_and_resumed_equals_never_stopped(tmp_path):
    def run(kill: int = 0, **how):
        clock = [0.0]

        def on_step(step: int, losses: dict[str, float]) -> None:
            clock[0] += 40
            steps.append(step)
            if step == kill:
                raise Killed

        def measure(generator: nn.Module) -> dict[str, float]:
            assert not generator.training
            return {
                "accuracy": -len(watch.curve),
                "seen": float(sample(generator, [0], seed=0).mean()),
            }

        steps, budget = [], Budget(minutes=5.0, measure_every=2.0, patience=9)
        watch = Watch(budget, measure, "cpu")
        watch.now, watch.seen = lambda: clock[0], 0.0
        recipe = replace(RECIPE, steps=100)
        try:
            last = train_gan(noise(), recipe, seed=0, watch=watch, on_step=on_step, **how)
        except Killed:
            last = None
        return last, watch, steps

    whole, first, steps = run()
    assert steps == list(range(1, 9))  # 320 seconds
    assert run(5, folder=tmp_path)[0] is None
    resumed, watch, steps = run(folder=tmp_path)
    assert steps[0] in (4, 5)
    assert steps[-1] == 8
    assert watch.curve == first.curve
    for made, expected in ((resumed, whole), (watch.best, first.best)):
        for name, value in expected.state_dict().items():
            assert torch.equal(value, made.state_dict()[name]), name
    assert sample(watch.best, [0], seed=0).mean() == watch.curve[0]["seen"]


def test_the_book_s_recipe_makes_networks_of_any_size():
    for size in ("book", "large"):
        recipe = gan_recipe(size, 32)
        how = {"num_classes": 3, "channels": recipe.channels, "latent": recipe.latent}
        for side in (8, 32, 64):
            generator = create_generator(recipe.architecture, image_size=side, **how)
            assert sample(generator, [0, 2], seed=0).shape == (2, side, side, 3)


def test_the_first_head_sees_colours_to_which_the_frozen_network_is_all_but_blind(discriminator):
    grey = torch.full((1, 3, 8, 8), 0.1)
    tinted = grey + torch.tensor([0.2, 0.0, -0.2])[None, :, None, None]
    pixels, *maps = discriminator.heads
    of_pixels = pixels(grey, torch.tensor([0])) - pixels(tinted, torch.tensor([0]))
    assert of_pixels.abs().min() > 0
    assert maps[0].body[0].in_channels > pixels.body[0].in_channels == 3
