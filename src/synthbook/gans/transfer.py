"""Starting a GAN from another's weights: TransferGAN (Wang et al. 2018), FreezeD (Mo et al. 2020).

TransferGAN finetunes everything from given weights: ``transfer`` both networks, then train.
FreezeD also keeps the discriminator's blocks next to the image as they were: ``freeze``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from synthbook.errors import InputError


@dataclass(frozen=True)
class Report:
    """What ``transfer`` did, by names of tensors.

    ``transferred`` were copied. Of the network's others, ``missing`` have no counterpart,
    ``other_shape`` maps a name to (shape in the network, shape in the source), and ``skipped``
    were to be left out. ``unused`` are in the source only.
    """

    transferred: tuple[str, ...]
    missing: tuple[str, ...]
    other_shape: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    skipped: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """Return a line with the numbers, and one for each group that was not transferred."""
        total = len(self.transferred) + len(self.left)
        lines = [f"{len(self.transferred)} of {total} tensors transferred"]
        shapes = [f"{n} {list(a)} from {list(b)}" for n, (a, b) in self.other_shape.items()]
        groups = {
            "not in the source": self.missing,
            "of another shape": shapes,
            "left out": self.skipped,
            "only in the source": self.unused,
        }
        return "\n".join(
            lines + [f"{title}: {', '.join(names)}" for title, names in groups.items() if names]
        )

    @property
    def left(self) -> tuple[str, ...]:
        """The network's tensors that keep their first values."""
        return (*self.missing, *self.other_shape, *self.skipped)


@torch.no_grad()
def transfer(
    network: nn.Module, source: nn.Module | Mapping[str, Tensor], *, skip: Sequence[str] = ()
) -> Report:
    """Copy into ``network`` the tensors of ``source`` that have the same name and shape.

    ``skip`` names tensors, or modules with all that is in them, that keep their first values,
    such as "embed" for classes that mean something else.

    Raises:
        InputError: if the architectures differ, a name in ``skip`` is not there, or no tensor
            fits.
    """
    _same_architecture(network, source)
    state = source.state_dict() if isinstance(source, nn.Module) else source
    ours = network.state_dict(keep_vars=True)
    for name in skip:
        if not any(_under(tensor, name) for tensor in ours):
            raise InputError(f"the network has no tensor '{name}' to leave out; check its spelling")
    transferred, missing, other_shape, skipped = [], [], {}, []
    for name, tensor in ours.items():
        if any(_under(name, prefix) for prefix in skip):
            skipped.append(name)
        elif name not in state:
            missing.append(name)
        elif state[name].shape != tensor.shape:
            other_shape[name] = (tuple(tensor.shape), tuple(state[name].shape))
        else:
            tensor.copy_(state[name])
            transferred.append(name)
    if not transferred:
        raise InputError(
            f"none of the {len(ours)} tensors has the name and shape of one of the source's "
            f"{len(state)}; give weights of the same architecture, width and image channels"
        )
    unused = tuple(name for name in state if name not in ours)
    return Report(tuple(transferred), tuple(missing), other_shape, tuple(skipped), unused)


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _same_architecture(network: nn.Module, source: object) -> None:
    names = [getattr(getattr(x, "config", None), "architecture", None) for x in (network, source)]
    if None not in names and names[0] != names[1]:
        raise InputError(
            f"the weights are of a '{names[1]}' and the network is a '{names[0]}'; make the "
            "network with the architecture of its first weights"
        )


def freeze(discriminator: nn.Module, blocks: int) -> list[str]:
    """Freeze the first ``blocks`` blocks, counted from the image; return their tensors' names.

    Frozen tensors get no gradient, and the running vectors of their spectral norm stand still. A
    block is a residual block (with the layer from the image and the attention at its size), and
    the last block of StyleGAN2's discriminator is its convolution and layer at 4 pixels. Mo et
    al. (2020) freeze 3 blocks of SNGAN and 4 of StyleGAN.

    Raises:
        InputError: if there are no that many blocks.
    """
    stages = discriminator.stages()
    if not 0 <= blocks <= len(stages):
        raise InputError(
            f"{blocks} blocks cannot be frozen; the discriminator has {len(stages)}: give 0 to "
            f"{len(stages)}"
        )
    frozen = [module for stage in stages[:blocks] for module in stage]
    for module in frozen:
        module.eval().requires_grad_(False)  # in eval mode spectral norm iterates no further
    inside = {id(tensor) for m in frozen for tensor in m.state_dict(keep_vars=True).values()}
    named = discriminator.state_dict(keep_vars=True).items()
    return [name for name, tensor in named if id(tensor) in inside]
