"""Starting a GAN from another's weights.

TransferGAN (Wang et al. 2018) finetunes everything from given weights: ``transfer``. FreezeD (Mo et
al. 2020) also keeps the discriminator's blocks next to the image as they were: ``freeze``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from synthbook.errors import InputError


def transfer(
    network: nn.Module, weights: nn.Module | Mapping[str, Tensor], *, skip: Sequence[str] = ()
) -> list[str]:
    """Copy into ``network`` the tensors of ``weights`` that have the same name and shape.

    ``skip`` names tensors, or modules with all that is in them, that keep their first values,
    such as "embed" for classes that mean something else. Returns the names of all tensors that
    kept their first values, [] after a copy of everything.

    Raises:
        InputError: if a name in ``skip`` is not there, or no tensor fits.
    """
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    ours = network.state_dict()
    skipped = {name: [p for p in skip if f"{name}.".startswith(f"{p}.")] for name in ours}
    for part in {*skip}.difference(*skipped.values()):
        raise InputError(f"the network has no tensor '{part}' to leave out; check its spelling")
    fitting = {
        name: state[name]
        for name, tensor in ours.items()
        if name in state and state[name].shape == tensor.shape and not skipped[name]
    }
    if not fitting:
        raise InputError(
            f"none of the {len(ours)} tensors has the name and shape of one of the "
            f"{len(state)} given; give weights of the same architecture, width and image channels"
        )
    network.load_state_dict(fitting, strict=False)
    return [name for name in ours if name not in fitting]


def freeze(discriminator: nn.Module, blocks: int) -> list[str]:
    """Freeze the first ``blocks`` blocks, counted from the image; return their tensors' names.

    Frozen tensors get no gradient, and the running vectors of their spectral norm stand still. A
    block is a residual block (with the layer from the image and the attention at its size), and
    the last block of StyleGAN2's discriminator is its convolution and layer at 4 pixels. Mo et
    al. (2020) freeze 3 blocks of SNGAN and 4 of StyleGAN.
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
