"""Batch statistics adaptation (Noguchi & Harada 2019): few images by scales and shifts alone.

Of a pretrained generator only the scales and shifts of its batch norms are trained, with one
embedding an image, without a discriminator: G(z_i) shall look like image i. New images come from
truncated noise in the place of the embeddings.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.gans import networks
from synthbook.gans.baselines.wrapped import Wrapped, pixels_for, read_front
from synthbook.gans.blocks import BOTTOM, ConditionalBatchNorm
from synthbook.gans.perceptual import Perceptual, distance, layers_of
from synthbook.gans.sampling import mean_embedding
from synthbook.randomness import torch_generator
from synthbook.settings import Batch, Count, Rate, Weight, settings
from synthbook.training import OnStep, check_finite, learning_rate_factor

if TYPE_CHECKING:
    from synthbook.data import ImageSet


@settings
class BSARecipe:
    """How scales, shifts and embeddings are trained.

    Steps, batch, first learning rate and ``normal`` are those of the public code. The rate falls
    linearly to zero, and scales and shifts have no penalty.

    Args:
        noise: deviation of what is added to an embedding in each step (a choice).
        normal: weight of the distance between the embeddings and N(0, I) (`to_normal`).
    """

    steps: Count = 10_000
    batch_size: Batch = 25
    learning_rate: Rate = 0.03
    noise: Weight = 0.1
    normal: Weight = 0.1


class Adapted(Wrapped):
    """A generator with scales and shifts to be trained, and z_i and a condition to go with them.

    Batch norm stays at the statistics that it has. ``codes`` [images, latent] start at zero, and
    the one condition of all images at the mean of the embeddings. ``scale`` and ``shift`` [C] are
    those of the first map, which has no norm of its own.
    """

    def __init__(self, generator: nn.Module, images: int, *, truncation: float = 1.0) -> None:
        super().__init__(generator, generator.config.latent)
        if not any(isinstance(module, nn.BatchNorm2d) for module in generator.modules()):
            raise InputError(
                f"a '{generator.config.architecture}' has no batch norm to be adapted; give an "
                "'sngan' or a 'biggan'"
            )
        self.register_buffer("truncation", torch.tensor(float(truncation)))
        width = generator.first.out_features // BOTTOM**2
        self.first_map = FirstMap(width)
        self.codes = nn.Parameter(torch.zeros(images, self.sizes[0]))
        self.condition = nn.Parameter(mean_embedding(generator).clone())
        generator.first.register_forward_hook(self.first_map.adapt)
        self.train()

    def train(self, mode: bool = True) -> Adapted:
        """Stay in evaluation mode: images do not depend on each other."""
        return super().train(False)

    def adapted(self) -> dict[str, nn.Parameter]:
        """Return what is trained, by name."""
        inside: set[int] = {id(p) for p in (self.codes, self.condition)}
        inside |= {id(p) for p in self.first_map.parameters()}
        for module in self.generator.modules():
            if isinstance(module, ConditionalBatchNorm) and module.gain is not None:
                inside |= {id(p) for part in (module.gain, module.bias) for p in part.parameters()}
            elif isinstance(module, nn.BatchNorm2d):
                inside |= {id(p) for p in module.parameters()}
        return {name: p for name, p in self.named_parameters() if id(p) in inside}

    def of_codes(self, codes: Tensor) -> Tensor:
        """Return images of z [N, latent], with the one condition."""
        return self.decode(torch.cat([codes, self.condition.expand(len(codes), -1)], dim=1))

    def forward(self, latents: Tensor, condition: Any = None, draw: Any = None) -> Tensor:
        """Return images in -1..1 of N(0, I), which is cut off at ``truncation``."""
        return self.of_codes(truncated(latents, float(self.truncation)))


class FirstMap(nn.Module):
    """A scale and a shift a channel of the generator's first map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def adapt(self, layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        """Return the layer's output [N, C * 16], scaled and shifted (a forward hook)."""
        h = output.unflatten(1, (len(self.scale), -1))
        return (h * self.scale[:, None] + self.shift[:, None]).flatten(1)


def truncated(normal: Tensor, threshold: float) -> Tensor:
    """Return numbers from N(0, 1) cut off at +-``threshold``, one of each normal number.

    The quantile of each is kept: x = Q(a + (1 - 2a) P(z)), with P the normal distribution, Q its
    inverse and a = P(-threshold).
    """
    low = torch.special.ndtr(torch.tensor(-threshold, dtype=torch.float64))
    share = low + (1 - 2 * low) * torch.special.ndtr(normal.double())
    return torch.special.ndtri(share).clamp(-threshold, threshold).to(normal.dtype)


def to_normal(codes: Tensor, drawn: Tensor) -> Tensor:
    """Return how far codes [N, D] are from numbers ``drawn`` [M, D] of N(0, I), a scalar.

    The mean squared distance to the nearest, of each code and of each drawn vector.
    """
    apart = torch.cdist(codes, drawn, compute_mode="donot_use_mm_for_euclid_dist").square()
    return apart.min(1).values.mean() + apart.min(0).values.mean()


def train_bsa(
    generator: nn.Module, images: ImageSet, perceptual: Perceptual, recipe: BSARecipe, *,
    seed: int, truncation: float = 1.0, device: str = "cpu",
    on_step: OnStep | None = None,
) -> Adapted:  # fmt: skip
    """Adapt a pretrained generator to few images; it becomes part of what is returned.

        min  E_i [d(G(z_i + e), x_i)] + normal * `to_normal`(z),   e ~ N(0, noise^2)

    over scales, shifts, z_i and one condition, d the perceptual distance. All other tensors
    stay as they are. A batch is drawn without replacement.
    """
    pixels = pixels_for(generator, images, device)
    model = Adapted(generator, len(images), truncation=truncation).to(device).requires_grad_(False)
    trained = list(model.adapted().values())
    for parameter in trained:
        parameter.requires_grad_(True)
    wanted = layers_of(perceptual.to(device), pixels)
    optimizer = torch.optim.Adam(trained, lr=recipe.learning_rate)
    count = min(recipe.batch_size, len(pixels))
    for step in range(recipe.steps):
        factor = learning_rate_factor("linear", step, recipe.steps)
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * factor
        draw = torch_generator(seed, "bsa", step)
        which = torch.randperm(len(pixels), generator=draw)[:count]
        codes = model.codes[which.to(device)]
        noise = torch.randn(codes.shape, generator=draw).to(device)
        drawn = torch.randn(10 * count, codes.shape[1], generator=draw).to(device)
        images_now = model.of_codes(codes + recipe.noise * noise)
        apart = distance(perceptual(images_now), [h[which] for h in wanted]).mean()
        loss = apart + recipe.normal * to_normal(codes, drawn)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        computed = {"perceptual distance": apart.detach(), "loss": loss.detach()}
        check_finite(computed, step + 1, None)
        if on_step:
            on_step(step + 1, {name: float(value) for name, value in computed.items()})
    return model.requires_grad_(False)


def load(folder: Path) -> Adapted:
    """Return what `Adapted.save` wrote to ``folder``."""
    front = read_front(folder)
    model = Adapted(networks.load(folder), len(front["codes"]))
    model.load_state_dict(model.state_dict() | front)
    return model.requires_grad_(False)
