"""The frozen network that guides another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from synthbook.errors import InputError
from synthbook.machine import checked_device
from synthbook.recognize.batches import Batch, as_input, resized
from synthbook.recognize.models import Classifier, create_classifier

if TYPE_CHECKING:
    from synthbook.data import ImageSet
    from synthbook.recognize.recipe import Recipe

TABLES = 8  # sets of which features are kept
PART = 256  # images that enter at a time


class Guide:
    """M_p: a network in evaluation mode, without gradients, whose features others are held to.

    ``network`` has the head that it was pretrained with, if there is one; images are resized to
    ``input_size`` pixels before they enter, from the size that they have in their set and not from
    that at which the network in training sees them; its features have the width ``width``.
    """

    def __init__(
        self, network: Classifier, *, input_size: int, channels: int = 3, device: str = "cpu"
    ) -> None:
        """Freeze ``network`` on ``device``; raise InputError if it cannot take such images."""
        self.network = network.to(checked_device(device)).eval().requires_grad_(False)
        self.input_size = input_size
        try:
            probe = torch.zeros(2, channels, input_size, input_size, device=device)
            self.width = self.features(probe).shape[1]
        except (RuntimeError, AssertionError, ValueError, IndexError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"the guide '{network.name}' cannot take images of {input_size} px ({reason}); "
                f"set guide_input_size to the size it was made for"
            ) from None
        self._kept: dict[str, Tensor] = {}
        self._tables: dict[int, tuple[ImageSet, Tensor]] = {}

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return f_p [N, D_p] of float images [N, C, H, W] in [0, 1] of any size."""
        return self.network.features(resized(images, self.input_size))

    def of(self, stream: str, batch: Batch) -> Tensor:
        """Return f_p of a batch, looked up where ``remember`` was told of its stream."""
        table = self._kept.get(stream)
        return self.features(full(batch)) if table is None else table[batch.indices]

    def remember(self, streams: Mapping[str, ImageSet], recipe: Recipe) -> None:
        """Have the features of these streams' images ready for the next training, and no others.

        Only where an image always enters as it is: with random crops or flips nothing is kept.
        The tables of the last sets stay, for trainings on the same ones.
        """
        self._kept = {}
        for name, images in streams.items() if not (recipe.crop_padding or recipe.flip) else ():
            key = id(images)  # of a set that is held, so no other has its id
            _, self._kept[name] = self._tables[key] = self._tables.pop(key, None) or (
                images, self._table(images)
            )  # fmt: skip
        for key in list(self._tables)[:-TABLES]:
            del self._tables[key]

    def _table(self, images: ImageSet) -> Tensor:
        """Return f_p of a set, [N, D_p]."""
        place = next(self.network.parameters()).device
        parts = torch.from_numpy(np.array(images.images)).split(PART)
        return torch.cat([self.features(as_input(part.to(place))) for part in parts])


def full(batch: Batch) -> Tensor:
    """Return a batch's images, cropped and mirrored but not resized, float [N, C, H, W]."""
    return batch.images if batch.pixels is None else as_input(batch.pixels)


def create_guide(
    backbone: str, *, channels: int, input_size: int, pretrained: bool = True, device: str = "cpu"
) -> Guide:
    """Return a guide with ImageNet's head of 1,000 classes, by a name of ``create_classifier``.

    It will see images of ``channels`` (1 or 3), resized to ``input_size`` pixels a side. Without
    ``pretrained`` it has random weights, a control.

    Raises:
        InputError: for an unknown name, missing weights, or a size that it cannot take.
    """
    network = create_classifier(
        backbone, num_classes=1000, channels=channels, image_size=input_size, pretrained=pretrained
    )
    return Guide(network, input_size=input_size, channels=channels, device=device)
