"""How alike the filters of a convolution are: less alike ones may transfer better."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from synthbook.errors import InputError


def filter_similarity(weight: Tensor) -> tuple[float, float]:
    """Return the mean cosine similarity of a layer's filters, and the mean of its absolute value.

    Both means are over all ordered pairs of different filters (Baek and Shim 2022, Appendix,
    "Diverse filters matter", which takes the first), in float64: the first from -1 / (O - 1) to 1,
    the second from 0 to 1. Positive factors on single filters change neither.

    ``weight`` is [O, I, kH, kW], O of 2 or more; a filter of zeros or NaN is an InputError.
    """
    filters = weight.detach().cpu().double().flatten(1)
    # The largest entry comes out first, so that the square of a tiny filter is not 0.
    largest = filters.abs().amax(1, keepdim=True)
    usable = ((largest > 0) & largest.isfinite()).flatten()
    if not usable.all():
        raise InputError(
            f"weight[{int(usable.int().argmin())}] is zeros, NaN or infinite and has no direction;"
            " check the training that made it"
        )
    units = nn.functional.normalize(filters / largest, dim=1)
    cosines = (units @ units.T).fill_diagonal_(0)
    pairs = len(units) * (len(units) - 1)
    return float(cosines.sum() / pairs), float(cosines.abs().sum() / pairs)


def layer_similarities(network: nn.Module) -> dict[str, tuple[float, float]]:
    """Return ``filter_similarity`` of the convolutions of a network by the path of their module.

    All weights [O, I, kH, kW] with a kernel larger than 1 x 1 count, in the order of the network's
    modules; a layer with one filter, such as the last of a generator of grey images, has no pairs
    and is left out. Of a parametrised weight the original is taken: spectral norm only scales it.
    A transposed convolution, whose weight is [I, O, kH, kW], is an InputError.
    """
    similarities = {}
    for name, module in network.named_modules():
        if is_parametrized(module, "weight"):
            weight = module.parametrizations.weight.original
        else:
            weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim != 4:
            continue
        if isinstance(module, nn.ConvTranspose2d):
            raise InputError(
                f"layer '{name}' is a transposed convolution, whose filters are not its first"
                " axis; give filter_similarity its weight with the first two axes exchanged"
            )
        if weight.shape[2:].numel() > 1 and len(weight) > 1:
            similarities[name] = filter_similarity(weight)
    return similarities
