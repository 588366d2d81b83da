"""Several views of an image: large and small random crops with changed colours, as in DINO.

Caron et al. 2021: `RandomResizedCrop`, mirror, colour jitter, grey, blur. Here they are made of a
whole batch at once on its device: a crop is two matrices a image, one for rows and one for columns,
which hold the antialiased bilinear weights of torchvision's resize. Every number is drawn on the
CPU from a generator, the same on any device.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from synthbook.errors import InputError
from synthbook.settings import Listed, Share, Side, Zero, settings

LUMA = (0.2989, 0.587, 0.114)  # of red, green and blue, as torchvision has them
RATIO = (3 / 4, 4 / 3)  # of a crop's width to its height
LOW, HIGH = torch.tensor(RATIO, dtype=torch.float64).log()
JITTER_SHARE, GREY_SHARE = 0.8, 0.2
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.2, 0.1  # at jitter 1, as DINO
Scale = Annotated[tuple[Share, Share], Listed]
Views = Annotated[int, Field(ge=0, le=64)]


@settings
class ViewRecipe:
    """Which views are made of an image.

    At 32 pixels, for the book's photographs, the defaults: two views of 32 pixels that show 40 to
    100 % of the area, as DINO's of 224, and two of 16 that show 15 to 40 %. DINO's small views are
    96 of 224 pixels and begin at 5 %, which of 32 pixels would be squares of 7. Its blur has a
    deviation of 0.1 to 2 pixels at 224; at 32 it is 0.1 to 0.6 here, and half of the views have it.
    For 224 pixels give global_size 224, local_size 96, local_views 8, local_scale (0.05, 0.4),
    blur_deviation (0.1, 2.0). Solarisation is left out.

    Args:
        global_size: pixels of a large view's side; 0 is the image's.
        jitter: strength of the changes of colour: 1 as in DINO, 0 none, nor grey images.
        saturation: how far a colour's saturation changes at strength 1; 0.4 in MoCo v2.
        blur: share of the views that are blurred.
    """

    global_views: Annotated[int, Field(ge=1, le=64)] = 2
    local_views: Views = 2
    global_size: Zero | Side = 0
    local_size: Side = 16
    global_scale: Scale = (0.4, 1.0)
    local_scale: Scale = (0.15, 0.4)
    flip: bool = True
    jitter: Annotated[float, Field(ge=0, le=2)] = 1.0
    saturation: Share = SATURATION
    blur: Share = 0.5
    blur_deviation: Annotated[
        tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0, le=16)]], Listed
    ] = (0.1, 0.6)  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse ranges whose ends are the wrong way round, and crops of nothing."""
        for name in ("global_scale", "local_scale", "blur_deviation"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise InputError(
                    f"{name} = ({low}, {high}) is no range; give two numbers above 0, the smaller "
                    "first"
                )

    def sizes(self, image_size: int) -> list[int]:
        """Return the side of each view in pixels, the large ones first."""
        large = self.global_size or image_size
        return [large] * self.global_views + [self.local_size] * self.local_views


# Crops


def boxes(
    count: int, height: int, width: int, scale: tuple[float, float], draw: torch.Generator
) -> Tensor:
    """Return boxes, int64 [count, 4] as (top, left, height, width), anywhere inside.

    A box has a share of the area that is uniform in ``scale``, and a ratio of sides whose logarithm
    is uniform; a side that would be too long is cut (torchvision draws again, ten times).
    """
    uniform = torch.rand(4, count, generator=draw, dtype=torch.float64)
    area = height * width * (scale[0] + (scale[1] - scale[0]) * uniform[0])
    ratio = (LOW + (HIGH - LOW) * uniform[1]).exp()
    high = (area / ratio).sqrt().round().clamp(1, height)
    wide = (area * ratio).sqrt().round().clamp(1, width)
    top = ((height - high + 1) * uniform[2]).floor()
    left = ((width - wide + 1) * uniform[3]).floor()
    return torch.stack([top, left, high, wide], 1).long()


def weights(first: Tensor, length: Tensor, whole: int, size: int) -> Tensor:
    """Return the matrices [N, size, whole] that resize pixels first .. first + length - 1 each.

    Antialiased bilinear: a triangle of half width max(1, length / size) around each new pixel's
    centre, over the pixels of the stretch alone, with weights that sum to 1.
    """
    ratio = (length / size)[:, None, None]
    centre = (torch.arange(size, device=first.device) + 0.5)[None, :, None] * ratio
    at = torch.arange(whole, device=first.device)[None, None] - first[:, None, None]
    reach = ratio.clamp(min=1.0)
    triangle = (1 - ((at + 0.5 - centre) / reach).abs()).clamp(min=0)
    triangle = torch.where((at >= 0) & (at < length[:, None, None]), triangle, 0.0)
    return triangle / triangle.sum(2, keepdim=True)


def cropped(images: Tensor, box: Tensor, flips: Tensor, size: int) -> Tensor:
    """Return the boxes of images [N, C, H, W] as [N, C, size, size], mirrored where ``flips``."""
    top, left, high, wide = box.to(images.device).unbind(1)
    rows = weights(top, high, images.shape[2], size)
    columns = weights(left, wide, images.shape[3], size)
    columns = torch.where(flips.to(images.device)[:, None, None], columns.flip(1), columns)
    rows, columns = rows.to(images.dtype)[:, None], columns.to(images.dtype)[:, None]
    return rows @ images @ columns.transpose(2, 3)


# Colours


def luma(images: Tensor) -> Tensor:
    """Return the brightness [N, 1, H, W] of images [N, C, H, W]."""
    if images.shape[1] == 1:
        return images
    shares = torch.tensor(LUMA, dtype=images.dtype, device=images.device)
    return (images * shares[:, None, None]).sum(1, keepdim=True)


def blended(images: Tensor, others: Tensor, factor: Tensor) -> Tensor:
    """Return factor * images + (1 - factor) * others, in [0, 1]; factor is [N]."""
    factor = factor[:, None, None, None].to(images)
    return (factor * images + (1 - factor) * others).clamp(0, 1)


def turned_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Return images [N, 3, H, W] with hues shifted by ``shift`` [N], in turns of the circle.

    Saturation and value stay. With value v and chroma c, channel n is v - c max(0, min(k, 4 - k,
    1)), k = (n + 6 hue) mod 6, n = 5, 3, 1 for red, green and blue.
    """
    red, green, blue = images.unbind(1)
    value, lowest = images.amax(1), images.amin(1)
    chroma = value - lowest
    safe = torch.where(chroma > 0, chroma, 1.0)
    sixths = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sixths = sixths + 6 * shift[:, None, None].to(images)
    n = torch.tensor([5.0, 3.0, 1.0], dtype=images.dtype, device=images.device)
    k = torch.remainder(n[:, None, None] + sixths[:, None], 6)
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def jittered(
    images: Tensor, strength: float, draw: torch.Generator, saturation: float = SATURATION
) -> Tensor:
    """Return images [N, C, H, W] of [0, 1] with other brightness, contrast, saturation and hue.

    Each image has factors of its own, and a share of the images none; all images of a batch have
    them in one drawn order (torchvision draws an order an image). Then some become grey.
    """
    count = len(images)
    uniform = torch.rand(6, count, generator=draw)
    order = torch.randperm(4, generator=draw).tolist()
    touched = uniform[4] < JITTER_SHARE
    ranges = (BRIGHTNESS, CONTRAST, saturation)
    factors = [1 + strength * r * (2 * u - 1) for r, u in zip(ranges, uniform, strict=False)]
    factors = [torch.where(touched, f.clamp(min=0), 1.0).to(images.device) for f in factors]
    shift = torch.where(touched, strength * HUE * (2 * uniform[3] - 1), 0.0).to(images.device)
    for change in order:
        if change == 0:
            images = blended(images, torch.zeros_like(images), factors[0])
        elif change == 1:
            images = blended(images, luma(images).mean((1, 2, 3), keepdim=True), factors[1])
        elif change == 2:
            images = blended(images, luma(images), factors[2])
        elif images.shape[1] == 3:
            images = turned_hue(images, shift)
    grey = (uniform[5] < GREY_SHARE).to(images.device)[:, None, None, None]
    return torch.where(grey, luma(images), images)


def blurred(images: Tensor, deviation: Tensor) -> Tensor:
    """Return images [N, C, H, W] under a Gaussian of ``deviation`` [N] pixels; 0 leaves them.

    Its kernel reaches three of the largest deviations; images go on mirrored at their borders.
    """
    reach = min(int((3 * deviation.max()).ceil()), min(images.shape[2:]) - 1)
    if reach < 1:
        return images
    steps = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    width = deviation.to(images)[:, None].clamp(min=1e-3)
    kernel = torch.exp(-((steps / width) ** 2) / 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(images.shape[1], 0)
    flat = images.reshape(1, -1, *images.shape[2:])
    flat = F.pad(flat, [reach] * 4, mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=len(kernel))
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=len(kernel))
    return torch.where((deviation > 0).to(images.device)[:, None, None, None],
                       flat.reshape(images.shape), images)  # fmt: skip


# Views


def view(
    images: Tensor, size: int, scale: tuple[float, float], recipe: ViewRecipe, draw: torch.Generator
) -> Tensor:
    """Return one view of each image, as [N, C, size, size]; all are float, in [0, 1]."""
    count, _, height, width = images.shape
    box = boxes(count, height, width, scale, draw)
    flips = (torch.rand(count, generator=draw) < 0.5) & recipe.flip
    seen = cropped(images, box, flips, size)
    if recipe.jitter:
        seen = jittered(seen, recipe.jitter, draw, recipe.saturation)
    if recipe.blur:
        low, high = recipe.blur_deviation
        uniform = torch.rand(2, count, generator=draw)
        deviation = torch.where(uniform[0] < recipe.blur, low + (high - low) * uniform[1], 0.0)
        seen = blurred(seen, deviation)
    return seen


def views(images: Tensor, recipe: ViewRecipe, draw: torch.Generator) -> list[Tensor]:
    """Return the views of images, uint8 [N, C, H, W], as float [N, C, S, S] in [0, 1] each.

    The large ones come first; ``draw`` is a generator on the CPU.
    """
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] not in (1, 3):
        raise InputError(
            f"images are {str(images.dtype).removeprefix('torch.')} {list(images.shape)}; give "
            "uint8 [N, C, H, W] with C = 1 or 3"
        )
    sizes = recipe.sizes(images.shape[2])
    scales = [recipe.global_scale] * recipe.global_views + [recipe.local_scale] * recipe.local_views
    pairs = zip(sizes, scales, strict=True)
    images = images.float() / 255
    return [view(images, size, scale, recipe, draw) for size, scale in pairs]
