"""The frozen network that guides another one."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from synthbook.errors import InputError
from synthbook.machine import checked_device
from synthbook.recognize.batches import Batch, resized
from synthbook.recognize.models import Classifier, create_classifier

if TYPE_CHECKING:
    from synthbook.recognize.recipe import Recipe


class Guide:
    """M_p: a network in evaluation mode, without gradients, whose features others are held to.

    ``network`` has the head that it was pretrained with, if there is one; images are resized to
    ``input_size`` pixels before they enter; its features have the width ``width``.
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
        self._kept: dict[str, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return f_p [N, D_p] of float images [N, C, H, W] in [0, 1] of any size."""
        return self.network.features(resized(images, self.input_size))

    def of(self, stream: str, batch: Batch) -> Tensor:
        """Return f_p of a batch of the set that ``remember`` was told of, else of any batch.

        What was computed for an image is kept and looked up when the image comes again.
        """
        if stream not in self._kept:
            return self.features(batch.images)
        table, known = self._kept[stream]
        new = ~known[batch.indices]
        if new.any():
            indices = batch.indices[new]
            table[indices] = self.features(batch.images[new]).float()
            known[indices] = True
        return table[batch.indices]

    def remember(self, streams: Mapping[str, Sized], recipe: Recipe) -> None:
        """Keep features of these streams' images for the next training, and forget all others.

        Only where an image always enters as it is: with random crops or flips nothing is kept.
        """
        place, self._kept = next(self.network.parameters()).device, {}
        for name, images in streams.items() if not (recipe.crop_padding or recipe.flip) else ():
            table = torch.zeros(len(images), self.width, device=place)
            self._kept[name] = table, torch.zeros(len(images), dtype=torch.bool, device=place)


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
