"""The architectures of GANs by name; generators and discriminators made, kept and read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from synthbook.errors import InputError, check_choice, did_you_mean
from synthbook.gans import residual, resnet, stylegan2
from synthbook.gans.blocks import NetworkConfig
from synthbook.randomness import seeded

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "NetworkConfig",
    "create_config",
    "create_discriminator",
    "create_generator",
    "load",
    "load_discriminator",
    "save",
]


class Architecture(NamedTuple):
    """A pair of networks, each made from a config.

    A generator takes (latents [N, latent], condition, draw): the condition is labels int64 [N],
    vectors [N, condition_size] or None; ``draw`` is a random generator on its device for what it
    draws itself (noise, style mixing), None for none. A discriminator takes (images, condition)
    and has ``features`` and ``stages``. Both have ``config``.
    """

    config: type[NetworkConfig]
    generator: type[nn.Module]
    discriminator: type[nn.Module]


ARCHITECTURES = {
    "resnet": Architecture(resnet.ResnetConfig, resnet.Generator, resnet.Discriminator),
    "sngan": Architecture(residual.SNGANConfig, residual.Generator, residual.Discriminator),
    "biggan": Architecture(residual.BigGANConfig, residual.Generator, residual.Discriminator),
    "stylegan2": Architecture(
        stylegan2.StyleGAN2Config, stylegan2.Generator, stylegan2.Discriminator
    ),
}


def create_config(name: str, **settings: Any) -> NetworkConfig:
    """Return the config of architecture ``name`` with ``settings`` over its defaults.

    Raises:
        InputError: if the name or a setting is not known, or a value makes no sense.
    """
    check_choice("architecture", name, ARCHITECTURES)
    kind = ARCHITECTURES[name].config
    known = [field.name for field in dataclasses.fields(kind)]
    for setting in settings:
        if setting not in known:
            remedy = did_you_mean(setting, known) or f"; it has {', '.join(known)}"
            raise InputError(f"architecture '{name}' has no setting '{setting}'{remedy}")
    return kind(**settings)


def create_generator(name: str, *, seed: int = 0, **settings: Any) -> nn.Module:
    """Return the generator of architecture ``name``; weights from (seed, "init", "generator").

    Raises:
        InputError: as ``create_config``.
    """
    config = create_config(name, **settings)
    with seeded(seed, "init", "generator"):
        return ARCHITECTURES[name].generator(config)


def create_discriminator(name: str, *, seed: int = 0, **settings: Any) -> nn.Module:
    """Return the discriminator of ``name``; weights from (seed, "init", "discriminator").

    Raises:
        InputError: as ``create_config``.
    """
    config = create_config(name, **settings)
    with seeded(seed, "init", "discriminator"):
        return ARCHITECTURES[name].discriminator(config)


def describe(network: nn.Module) -> dict[str, Any]:
    """Return architecture and settings of ``network`` as what its config.json holds."""
    return {"architecture": network.config.architecture, **dataclasses.asdict(network.config)}


def save(generator: nn.Module, folder: Path, discriminator: nn.Module | None = None) -> None:
    """Write ``config.json``, ``generator.safetensors`` and, where given, the discriminator.

    Raises:
        InputError: if the two networks are of different configs.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    networks = {"generator": generator, "discriminator": discriminator}
    if discriminator is not None and describe(discriminator) != describe(generator):
        raise InputError(
            f"the generator is {_short(describe(generator))} and the discriminator "
            f"{_short(describe(discriminator))}; make both with the same settings"
        )
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(describe(generator), indent=1) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    for name, network in networks.items():
        if network is not None:
            state = {key: value.contiguous().cpu() for key, value in network.state_dict().items()}
            save_file(state, folder / f"{name}.safetensors")


def load(folder: Path, architecture: str | None = None) -> nn.Module:
    """Return the generator that ``save`` wrote to ``folder``, in eval mode.

    Raises:
        InputError: if the folder holds no generator, or not one of ``architecture``.
    """
    return _load(Path(folder), "generator", architecture).eval().requires_grad_(False)


def load_discriminator(folder: Path, architecture: str | None = None) -> nn.Module:
    """Return the discriminator that ``save`` wrote to ``folder``, ready to be trained on.

    Raises:
        InputError: if the folder holds no discriminator, or not one of ``architecture``.
    """
    return _load(Path(folder), "discriminator", architecture)


def _load(folder: Path, which: str, architecture: str | None) -> nn.Module:
    from safetensors.torch import load_file

    for name in ("config.json", f"{which}.safetensors"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} holds no {which} ({name}); give its folder")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name = settings.pop("architecture", None)
    check_choice("architecture", name, ARCHITECTURES)
    if architecture not in (None, name):
        raise InputError(
            f"the {which} in {folder} is a '{name}', not a '{architecture}'; choose another "
            f"folder or architecture '{name}'"
        )
    config = create_config(name, **settings)
    with seeded(0, "load"):  # the first weights are replaced
        network = getattr(ARCHITECTURES[name], which)(config)
    state = load_file(folder / f"{which}.safetensors")
    _check_state(network, state, f"{folder / which}.safetensors")
    network.load_state_dict(state)
    return network


def _check_state(network: nn.Module, state: Mapping[str, Any], where: str) -> None:
    """Raise InputError unless ``state`` has the names and shapes of ``network``'s tensors."""
    ours = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in state.items()}
    wrong = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    if wrong:
        raise InputError(
            f"{where} is not of {_short(describe(network))}: {len(wrong)} tensors differ, first "
            f"'{wrong[0]}' {theirs.get(wrong[0], 'missing')} for {ours.get(wrong[0], 'none')}; "
            "give the weights and the config.json of one network"
        )


def _short(described: Mapping[str, Any]) -> str:
    return f"a '{described['architecture']}' of {described['image_size']} pixels"
