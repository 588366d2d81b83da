"""SSGAN: the loss of four rotations, and a training with it that can be stopped."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthbook.errors import InputError
from synthbook.gans.baselines.ssgan import SSGAN
from synthbook.gans.extra import Extra, evaluating
from synthbook.gans.networks import create_discriminator, create_generator
from synthbook.gans.recipes import Training

CONDITIONS = [("sngan", {}), ("sngan", {"condition_size": 3}), ("stylegan2", {})]


def discriminator(name: str = "sngan", **settings) -> torch.nn.Module:
    return create_discriminator(name, image_size=8, channels=4, **settings)


def test_the_loss_is_the_cross_entropy_of_four_rotations_written_out():
    network = discriminator(discriminator_channels=4)
    ours = SSGAN(network, seed=0, share=0.5)
    images = torch.rand(6, 3, 8, 8) * 2 - 1
    with evaluating(network), evaluating(ours), torch.no_grad():
        losses = []
        for image in images[:3]:
            for r in range(4):
                pixels = np.rot90(image.permute(1, 2, 0).numpy(), r).copy()  # [H, W, C]
                h = network.features(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]
                logits = ours.head.weight @ h + ours.head.bias
                losses.append(torch.logsumexp(logits, 0) - logits[r])
        expected = torch.stack(losses).mean()
        draw = torch.Generator()
        torch.testing.assert_close(ours.rotation_loss(network, images), expected)
        real = ours.discriminator_loss(network, images, -images, draw)
        fake = ours.generator_loss(network, images, draw)
    torch.testing.assert_close(real, expected)  # beta 1, real images alone
    torch.testing.assert_close(fake, 0.2 * expected)


@pytest.mark.parametrize(("name", "settings"), CONDITIONS)
def test_killed_and_resumed_equals_never_killed(name, settings, noise, run, resumed, same):
    def extra(network: torch.nn.Module) -> SSGAN:
        return SSGAN(network, seed=0)

    whole, head = run(name, noise, extra, **settings)
    for made, other in resumed(name, noise, extra, **settings):
        assert same(made, whole)
        states = head.state_dict(), other.state_dict()
        assert all(torch.equal(value, states[1][part]) for part, value in states[0].items())
    assert not same(whole, run(name, noise, **settings)[0])


def test_only_the_discriminators_steps_train_the_head(noise, run):
    def after(**weights) -> torch.Tensor:
        made = run("stylegan2", noise, lambda network: SSGAN(network, seed=0, **weights))[1]
        return made.head.parametrizations.weight.original.detach()

    untrained = SSGAN(discriminator("stylegan2", widest=8), seed=0)
    start = untrained.head.parametrizations.weight.original.detach()
    assert torch.equal(after(beta=0.0), start)
    assert not torch.equal(after(alpha=0.0), start)


def test_the_generator_gets_a_gradient_and_the_weights_are_those_of_the_losses():
    network, generator = discriminator(discriminator_channels=4), create_generator(
        "sngan", image_size=8, channels=4, latent=4
    )  # fmt: skip
    ours = SSGAN(network, seed=0)
    loss = ours.generator_loss(network, generator(torch.randn(8, 4)), torch.Generator())
    loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in generator.first.parameters())


def test_an_extra_that_adds_nothing_changes_nothing(noise, run, same):
    assert same(run("sngan", noise, lambda _: Extra())[0], run("sngan", noise)[0])


def test_a_checkpoint_belongs_to_its_extra(noise, run, tmp_path):
    how = {"folder": tmp_path}
    run("sngan", noise, lambda network: SSGAN(network, seed=0), how=how)
    for extra in (lambda network: SSGAN(network, seed=0, alpha=0.5), lambda network: None):
        with pytest.raises(InputError, match=r"made with extra = .*'alpha': 0\.2"):
            run("sngan", noise, extra, how=how)


def test_half_precision_stays_near(noise, run):
    how = {"steps": 1, "batch_size": 4, "standing_images": 30, "augment": "color,translation"}
    losses = []
    for precision in ("float32", "bfloat16"):
        recipe, look = (
            Training(**how, precision=precision),
            {"on_step": lambda _, c: losses.append(c)},
        )
        run("sngan", noise, lambda network: SSGAN(network, seed=0), recipe, look)
    assert losses[1] == pytest.approx(losses[0], abs=0.05)


def test_a_share_that_turns_nothing():
    with pytest.raises(InputError, match="share 0 of a batch"):
        SSGAN(discriminator(), seed=0, share=0)


def test_modules_get_back_the_modes_that_they_had():
    network = discriminator()
    network.blocks[0].eval()
    with evaluating(network):
        assert not any(module.training for module in network.modules())
    assert network.training
    assert network.blocks[1].training
    assert not network.blocks[0].conv1.training
