"""What tests of the GANs share: small networks, and the same random numbers for every test."""

from __future__ import annotations

import pytest
import torch

from synthbook.gans.networks import create_discriminator, create_generator

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny():
    """Return settings of small networks: architecture -> settings."""
    sngan = {"channels": 4, "discriminator_channels": 4, "latent": 4, "embedding": 6}
    stylegan2 = {"channels": 4, "widest": 8, "latent": 4, "style": 6, "mapping_layers": 2}
    return {
        "resnet": {"channels": 4, "latent": 4, "num_classes": 2},
        "sngan": sngan,
        "sngan_self_modulated": sngan,
        "biggan": {**sngan, "channels": 8, "discriminator_channels": 8, "init": "normal"},
        "projected": {
            "channels": 4,
            "latent": 4,
            "num_classes": 2,
            "feature_size": 32,
            "head_width": 8,
        },
        "stylegan2": stylegan2,
        "stylegan2_mlp": stylegan2,
    }


@pytest.fixture(scope="session")
def pair(tiny):
    """Return a function from an architecture to its two networks."""

    def made(name: str, size: int = 8, **settings):
        how = {"image_size": size, **tiny[name], **settings}
        return create_generator(name, **how), create_discriminator(name, **how)

    return made
