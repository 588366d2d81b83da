"""Learning features without labels: SimCLR (Chen et al. 2020), two views of each image.

The frozen network of the Data Instance Prior need not have seen labels; this trains a small one.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from synthbook import settings as fields
from synthbook.errors import InputError
from synthbook.randomness import seeded, torch_generator
from synthbook.settings import Count, Rate, Weight, settings
from synthbook.training import (
    OnStep,
    check_finite,
    learning_rate_factor,
    load_checkpoint,
    mixed,
    save_checkpoint,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from synthbook.data import ImageSet

WIDTHS = (24, 48, 96, 192)  # channels of the four stages
PROJECTED = 64  # numbers in a projection


@settings
class ContrastiveRecipe:
    """How a network learns to tell the two views of an image from those of others.

    Args:
        temperature: tau of the loss.
        warmup_steps: over which the rate rises; then it falls as a half cosine.
        crop: least share of an image's area in a view.
        jitter: strength of the changes of colours, 1 as for ImageNet; 0.5 for CIFAR (B.9).
    """

    epochs: Count = 10
    batch_size: fields.Batch = 256
    learning_rate: Rate = 2e-3
    weight_decay: Weight = 1e-4
    temperature: Annotated[float, Field(gt=0, le=10)] = 0.5
    warmup_steps: fields.Whole = 100
    crop: Annotated[float, Field(gt=0, le=1)] = 0.2
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.5
    precision: fields.TrainingPrecision = "float32"


def encoder(*, seed: int = 0) -> nn.Module:
    """Return a ResNet for images of 32 pixels, float [N, 3, 32, 32] in 0..1 to [N, 192].

    timm's basic blocks, one a stage, 0.7 million weights; the 7 x 7 convolution and the pooling
    after it become one 3 x 3 convolution of stride 2. Normalised by a mean and deviation of 1/2.
    """
    from timm.models.resnet import BasicBlock, ResNet

    with seeded(seed, "encoder"):
        body = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=0, channels=WIDTHS)
        body.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
        nn.init.kaiming_normal_(body.conv1.weight, mode="fan_out", nonlinearity="relu")
    body.maxpool = nn.Identity()
    return Halves(body)


class Halves(nn.Module):
    """A body that gets images of 0..1 as -1..1."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.num_features = body, body.num_features

    def forward(self, images: Tensor) -> Tensor:
        """Return features [N, D] of images [N, 3, H, W]."""
        return self.body(2 * images - 1)


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the loss of projections [N, D] of two views of N images, a scalar (Eq. 1).

    The mean over all 2 N views of -log(exp(s(i, j) / tau) / sum over k != i of exp(s(i, k) / tau)),
    with j the other view of the same image, and s the cosine similarity.
    """
    views = F.normalize(torch.cat([first, second]).float(), dim=1)
    similar = views @ views.T / temperature
    similar = similar.masked_fill(
        torch.eye(len(views), dtype=torch.bool, device=views.device), -1e9
    )
    others = torch.arange(len(views), device=views.device).roll(len(first))
    return F.cross_entropy(similar, others)


def viewer(recipe: ContrastiveRecipe, image_size: int) -> Callable[[Tensor], Tensor]:
    """Return a random view of an image, uint8 [3, H, W] (Appendix A; no blur, as for CIFAR)."""
    from torchvision.transforms import v2

    s = recipe.jitter
    changed = v2.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s)
    return v2.Compose([
        v2.RandomResizedCrop(image_size, scale=(recipe.crop, 1.0), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([changed], p=0.8),
        v2.RandomGrayscale(0.2),
    ])  # fmt: skip


def train_contrastive(
    network: nn.Module, images: ImageSet, recipe: ContrastiveRecipe, *,
    seed: int, device: str = "cpu", folder: Path | None = None, on_step: OnStep | None = None,
    checkpoint_every: int = 100,
) -> nn.Module:  # fmt: skip
    """Train ``network`` in place on images without their labels; return it, in eval mode.

    It maps float images [N, 3, H, W] in 0..1 to features [N, D]; a projection of two layers follows
    it in training and is thrown away. With a ``folder``, a checkpoint is kept there and training
    goes on from it. ``on_step`` gets the number of steps done, of ``steps_of``, and the loss.

    Raises:
        InputError: if the images are grey, or fewer than two.
        TrainingError: if the loss is no longer finite.
    """
    if images.channels != 3 or len(images) < 2:
        raise InputError(
            f"'{images.name}' has {len(images)} images of {images.channels} channels; views need "
            "two images or more, in colour"
        )
    pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2)
    network = network.train().requires_grad_(True)
    network.to(device, memory_format=torch.channels_last)
    width = network.num_features
    with seeded(seed, "projection"):
        project = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, PROJECTED)
        ).to(device)
    weights = [*network.parameters(), *project.parameters()]
    decay = {"weight_decay": recipe.weight_decay}
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, fused=True, **decay)
    view, steps = viewer(recipe, images.image_size), steps_of(recipe, len(images))
    modules, states = {"network": network, "projection": project}, {"network": optimizer}
    run = {"recipe": asdict(recipe), "seed": seed, "data": images.fingerprint()}
    first = load_checkpoint(folder, modules, states, run) if folder else 0
    size = min(recipe.batch_size, len(images))
    for step in range(first, steps):
        epoch, place = divmod(step, max(1, len(images) // size))
        order = torch.randperm(len(images), generator=torch_generator(seed, "epoch", epoch))
        batch = pixels[order[place * size : (place + 1) * size]]
        with seeded(seed, "views", step):
            both = torch.stack([view(image) for image in torch.cat([batch, batch])])
        both = both.to(device).float().contiguous(memory_format=torch.channels_last) / 255
        factor = learning_rate_factor("cosine", step, steps, recipe.warmup_steps)
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * factor
        with mixed(recipe.precision, device):
            projections = project(network(both)).chunk(2)
        loss = nt_xent(*projections, recipe.temperature)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        done = step + 1
        check_finite({"loss": loss.detach()}, done, folder)
        if on_step:
            on_step(done, {"loss": loss.item()})
        if folder and (done % checkpoint_every == 0 or done == steps):
            save_checkpoint(folder, done, modules, states, run)
    network.to(memory_format=torch.contiguous_format)
    return network.eval().requires_grad_(False)


def steps_of(recipe: ContrastiveRecipe, images: int) -> int:
    """Return the number of steps of a training on so many images; a batch is never cut."""
    return recipe.epochs * max(1, images // recipe.batch_size)
