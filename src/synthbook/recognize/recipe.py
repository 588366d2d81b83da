"""How a classifier is trained: the numbers, and the learning rate of each step."""

from __future__ import annotations

import math
from typing import Literal

from synthbook.settings import Batch, Count, Padding, Rate, Schedule, Share, Side, Zero, settings


def half_cosine(rate: float, step: int, steps: int) -> float:
    """Return ``rate`` as it is at ``step`` (from 0) of ``steps``, falling as a half cosine to zero.

    Loshchilov and Hutter 2017 (SGDR), eq. 5, without restarts. Its last digits are not those of
    `training.learning_rate_factor`, which divides first.
    """
    return rate * (1 + math.cos(math.pi * step / steps)) / 2


@settings
class Recipe:
    """How a classifier is trained; the weights of the last epoch are kept.

    Args:
        epochs: passes over the images; of several streams, over the largest.
        batch_size: images of each stream in a step, at most; an epoch is cut into equal batches.
        learning_rate: at the start.
        weight_decay: L2 for 'adam' and 'sgd', decoupled for 'adamw' (Loshchilov and Hutter 2019).
        optimizer: 'adam', 'adamw' or 'sgd' (momentum 0.9).
        schedule: 'constant', or 'cosine' down to zero, step by step.
        crop_padding: black pixels on each side, from which a random window of the old size is
            cut; 0 = no crop.
        flip: mirror each image with probability one half, drawn anew in every epoch.
        input_size: side in pixels to which batches are resized after the crop; 0 = no resizing.
    """

    epochs: Count
    batch_size: Batch
    learning_rate: Rate
    weight_decay: Share = 0.0
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    schedule: Schedule = "constant"
    crop_padding: Padding = 0
    flip: bool = False
    input_size: Zero | Side = 0

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of step 0 <= ``step`` < ``steps``.

        'cosine' is Loshchilov and Hutter 2017 (SGDR), eq. 5, without restarts and down to zero.
        """
        if self.schedule == "constant":
            return self.learning_rate
        return half_cosine(self.learning_rate, step, steps)
