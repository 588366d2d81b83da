"""A linear head on the sphere: logits are cosines of features and classes, over a temperature."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.randomness import seeded
from synthbook.recognize.models import Classifier

TEMPERATURE = 0.1


class CosineHead(nn.Linear):
    """Logits [N, K] = <f / |f|, w_k / |w_k|> / tau of features f [N, D] and a weight w_k a class.

    The "cosine softmax": logits lie within 1 / ``temperature`` of 0 and lengths have no say. It
    has no bias, and takes the place of a classifier's ``head``.
    """

    def __init__(self, width: int, num_classes: int, temperature: float = TEMPERATURE) -> None:
        """Draw ``num_classes`` directions of ``width`` numbers from torch's global generator."""
        if not temperature > 0:
            raise InputError(f"temperature is {temperature}; give a number above 0, such as 0.1")
        super().__init__(width, num_classes, bias=False)
        nn.init.normal_(self.weight)
        self.temperature = temperature

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of features; they are computed in float32 also under autocast."""
        with torch.autocast(features.device.type, enabled=False):
            cosines = F.linear(F.normalize(features.float()), F.normalize(self.weight.float()))
            return cosines / self.temperature

    def extra_repr(self) -> str:
        """Return what printing a network shows."""
        return f"{self.in_features}, {self.out_features}, temperature={self.temperature}"


def with_cosine_head(model: Classifier, temperature: float, *, seed: int) -> Classifier:
    """Return ``model`` itself, its head exchanged for a `CosineHead` drawn from ``seed``."""
    with seeded(seed, "cosine head"):
        model.head = CosineHead(model.head.in_features, model.head.out_features, temperature)
    return model
