"""The architectures of GANs by name; generators and discriminators made, kept and read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from synthbook.errors import InputError, check_choice
from synthbook.gans import projected, residual, resnet, stylegan2
from synthbook.gans.blocks import NetworkConfig
from synthbook.randomness import seeded


class Architecture(NamedTuple):
    """A pair of networks, each made from a config.

    A generator takes (latents [N, latent], condition, draw), with ``draw`` on its device, and a
    discriminator (images, condition); it has ``features`` and ``stages``. Both have ``config``.
    """

    config: type[NetworkConfig]
    generator: type[nn.Module]
    discriminator: type[nn.Module]


ARCHITECTURES = {
    "resnet": Architecture(resnet.ResnetConfig, resnet.Generator, resnet.Discriminator),
    "sngan": Architecture(residual.SNGANConfig, residual.Generator, residual.Discriminator),
    "sngan_self_modulated": Architecture(
        residual.SelfModulatedConfig, residual.Generator, residual.Discriminator
    ),
    "biggan": Architecture(residual.BigGANConfig, residual.Generator, residual.Discriminator),
    "projected": Architecture(
        projected.ProjectedConfig, projected.Generator, projected.Discriminator
    ),
    "stylegan2": Architecture(
        stylegan2.StyleGAN2Config, stylegan2.Generator, stylegan2.Discriminator
    ),
    "stylegan2_mlp": Architecture(
        stylegan2.StyleGAN2MLPConfig, stylegan2.Generator, stylegan2.Discriminator
    ),
}


def create_config(name: str, **settings: Any) -> NetworkConfig:
    """Return the config of architecture ``name`` with ``settings`` over its defaults."""
    check_choice("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name].config(**settings)


def create_generator(name: str, *, seed: int = 0, **settings: Any) -> nn.Module:
    """Return the generator of architecture ``name``; weights from (seed, "init", "generator")."""
    config = create_config(name, **settings)
    with seeded(seed, "init", "generator"):
        return ARCHITECTURES[name].generator(config)


def create_discriminator(name: str, *, seed: int = 0, **settings: Any) -> nn.Module:
    """Return the discriminator of ``name``; weights from (seed, "init", "discriminator")."""
    config = create_config(name, **settings)
    with seeded(seed, "init", "discriminator"):
        return ARCHITECTURES[name].discriminator(config)


def save(
    generator: nn.Module,
    folder: Path,
    discriminator: nn.Module | None = None,
    unaveraged: nn.Module | None = None,
) -> None:
    """Write ``config.json``, ``generator.safetensors`` and, where given, the other two networks.

    The generator is the one with averaged weights; ``unaveraged`` has those that it was trained
    with, which a training goes on from.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"architecture": generator.config.architecture, **asdict(generator.config)}
    text = json.dumps(settings, indent=1) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    networks = {"generator": generator, "discriminator": discriminator, "unaveraged": unaveraged}
    for name, network in networks.items():
        if network is not None:
            state = {key: value.contiguous().cpu() for key, value in network.state_dict().items()}
            save_file(state, folder / f"{name}.safetensors")


def load(folder: Path) -> nn.Module:
    """Return the generator that ``save`` wrote to ``folder``, in eval mode."""
    return _load(Path(folder), "generator").eval().requires_grad_(False)


def load_discriminator(folder: Path) -> nn.Module:
    """Return the discriminator that ``save`` wrote to ``folder``, ready to be trained on."""
    return _load(Path(folder), "discriminator")


def load_unaveraged(folder: Path) -> nn.Module:
    """Return the generator to train on: with its own weights, or the averaged ones without them."""
    there = (Path(folder) / "unaveraged.safetensors").is_file()
    return _load(Path(folder), "generator", "unaveraged" if there else "generator")


def check_pair(folder: Path) -> NetworkConfig:
    """Return the settings of the pair of networks in ``folder``; InputError if there is none."""
    folder = Path(folder)
    for name in ("config.json", "generator.safetensors", "discriminator.safetensors"):
        if not (folder / name).is_file():
            which = name.partition(".")[0].replace("config", "pair of networks")
            raise InputError(f"{folder} holds no {which} ({name}); give its folder")
    return _config(folder)


def _config(folder: Path) -> NetworkConfig:
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return create_config(settings.pop("architecture", None), **settings)


def _load(folder: Path, which: str, file: str = "") -> nn.Module:
    from safetensors.torch import load_file

    weights = folder / f"{file or which}.safetensors"
    for path in (folder / "config.json", weights):
        if not path.is_file():
            raise InputError(f"{folder} holds no {which} ({path.name}); give its folder")
    config = _config(folder)
    with seeded(0, "load"):  # the first weights are replaced
        network = getattr(ARCHITECTURES[config.architecture], which)(config)
    try:
        network.load_state_dict(load_file(weights))
    except RuntimeError as error:
        raise InputError(
            f"{weights} is not of a '{config.architecture}' of {config.image_size} pixels, as "
            "config.json says; give the weights and the config.json of one network"
        ) from error
    return network
