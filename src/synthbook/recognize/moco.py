"""MoCo v2: learning features without labels, against a queue of keys (Chen et al. 2020b).

A query, one view of an image, shall be nearer to the key of its other view than to the keys of
other images that a queue remembers. Keys come from an encoder that follows slowly (He et al. 2020):

    theta_k <- m theta_k + (1 - m) theta_q                                             (He, Eq. 2)
    L_q = -log [exp(q k+ / tau) / (exp(q k+ / tau) + sum over the queue of exp(q k / tau))]  (Eq. 1)

The parts are lightly's: projection, loss with its memory bank, moving average, and shuffling.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import field
from typing import Annotated

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import MoCoProjectionHead
from lightly.models.utils import (
    batch_shuffle,
    batch_unshuffle,
    deactivate_requires_grad,
    update_momentum,
)
from pydantic import Field
from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.randomness import seeded
from synthbook.recognize.loop import Optimisation
from synthbook.recognize.models import Classifier
from synthbook.recognize.views import ViewRecipe
from synthbook.settings import Count, Latent, Rate, Share, settings

TWO = ViewRecipe(local_views=0, global_scale=(0.2, 1.0), saturation=0.4)  # at 32 pixels


@settings
class MocoRecipe(Optimisation):
    """How an encoder learns by MoCo v2; the defaults are for small sets of 32 pixels.

    Args:
        queue: keys that are remembered; a multiple of the batch, and fewer than the images less a
            batch, or a query would often meet an older key of its own image among the others.
        momentum: m of the key encoder, 0.999 for ImageNet; shorter trainings want less.
        temperature: tau.
        projected: numbers in a projection. Its hidden layer is as wide as the features.
        group: images that share the statistics of BatchNorm: as on GPUs that have so many each.
            Keys are shuffled before they are grouped, so that a query cannot know its key by these
            statistics (He et al. 2020, Sec. 3.3). 0 for the whole batch, and no shuffling.
    """

    learning_rate: Rate = 0.06
    queue: Count = 1024
    momentum: Share = 0.99
    temperature: Annotated[float, Field(gt=0, le=10)] = 0.2
    projected: Latent = 128
    group: Annotated[int, Field(ge=0, le=10**6)] = 32
    views: ViewRecipe = field(default_factory=lambda: TWO)

    def __post_init__(self) -> None:
        """Refuse numbers that do not fit each other."""
        if self.queue % self.batch_size:
            raise InputError(
                f"queue = {self.queue} is no multiple of batch_size = {self.batch_size}; give "
                f"{max(1, self.queue // self.batch_size) * self.batch_size}, since whole batches "
                "enter and leave it"
            )
        if self.group == 1 or (self.group and self.batch_size % self.group):
            raise InputError(
                f"group = {self.group} does not cut batch_size = {self.batch_size} into equal "
                "groups of two images or more; give a divisor, or 0 for the whole batch"
            )
        if (self.views.global_views, self.views.local_views) != (2, 0):
            raise InputError(
                f"views has {self.views.global_views} large and {self.views.local_views} small "
                "views; MoCo takes a query and a key: give global_views 2 and local_views 0"
            )


class Moco(nn.Module):
    """The two encoders and the queue; called with two views it returns the loss.

    The query encoder is the given classifier, whose head becomes the projection: `restored` gives
    it back its own.
    """

    def __init__(self, model: Classifier, recipe: MocoRecipe, *, seed: int) -> None:
        """Draw projection and queue from ``seed``; the key encoder starts as the query encoder."""
        super().__init__()
        width = model.head.in_features
        self._head = [model.head]  # in a list: it is no part of what is trained
        self.recipe = recipe
        with seeded(seed, "moco"):
            model.head = MoCoProjectionHead(width, width, recipe.projected)
            self.criterion = NTXentLoss(recipe.temperature, (recipe.queue, recipe.projected))
        bank = self.criterion.memory_bank
        for name in ("bank", "bank_ptr"):  # into state_dict, and so into checkpoints
            bank.register_buffer(name, getattr(bank, name), persistent=True)
        self.query = model.requires_grad_(True)
        self.key = copy.deepcopy(model)
        deactivate_requires_grad(self.key)

    def forward(self, seen: Sequence[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        """Return the loss of two views [N, C, H, W]; labels are not looked at.

        The key encoder makes its step before, and the keys enter the queue after.
        """
        update_momentum(self.query, self.key, self.recipe.momentum)
        queries, keys = (view.contiguous(memory_format=torch.channels_last) for view in seen)
        q = self._in_groups(self.query, queries)
        with torch.no_grad():
            if self.recipe.group:
                keys, shuffle = batch_shuffle(keys)
                k = batch_unshuffle(self._in_groups(self.key, keys), shuffle)
            else:
                k = self.key(keys)
        with torch.autocast(q.device.type, enabled=False):
            return {"loss": self.criterion(q.float(), k.float())}

    def _in_groups(self, encode: nn.Module, images: Tensor) -> Tensor:
        size = self.recipe.group or len(images)
        return torch.cat([encode(part) for part in images.split(size)])

    def restored(self) -> Classifier:
        """Return the query encoder with the head that it had before."""
        weight = next(self.query.body.parameters())
        self.query.head = self._head[0].to(weight.device).requires_grad_(weight.requires_grad)
        return self.query


def check_queue(recipe: MocoRecipe, images: int, name: str) -> None:
    """Raise InputError if a queue would hold older keys of the images themselves."""
    if recipe.queue > images - recipe.batch_size:
        most = (images - recipe.batch_size) // recipe.batch_size * recipe.batch_size
        remedy = f"queue {most} at most" if most > 0 else "a smaller batch_size"
        raise InputError(
            f"queue = {recipe.queue} and '{name}' has {images} images: the queue would hold older "
            f"keys of the same images as other ones; give {remedy}, or more images"
        )
