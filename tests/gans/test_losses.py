"""GAN losses against their closed forms."""

from __future__ import annotations

import torch

from synthbook.gans.losses import LOSSES, hinge_discriminator, hinge_generator


def test_hinge_by_hand():
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 1.0])
    expected = (0 + 0.5 + 2) / 3 + (0 + 1 + 2) / 3
    assert abs(hinge_discriminator(real, fake).item() - expected) < 1e-6
    assert abs(hinge_generator(fake).item() - 2 / 3) < 1e-6


def test_hinge_has_no_gradient_beyond_the_margin():
    real = torch.tensor([1.5, 0.0], requires_grad=True)
    fake = torch.tensor([-1.5, 0.0], requires_grad=True)
    hinge_discriminator(real, fake).backward()
    assert real.grad.tolist() == [0, -0.5]
    assert fake.grad.tolist() == [0, 0.5]


def test_every_loss_lets_both_networks_go_the_right_way():
    for loss in LOSSES.values():
        real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
        loss.discriminator(real, fake).backward()
        assert (real.grad < 0).all()  # descent raises the logits of real images
        assert (fake.grad > 0).all()
        fake.grad = None
        loss.generator(fake).backward()
        assert (fake.grad < 0).all()
