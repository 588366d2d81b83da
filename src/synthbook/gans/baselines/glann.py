"""GLANN (Hoshen et al. 2019): codes of the images first, then a map from noise to codes by IMLE.

Step 1 finds a code e_i of each image together with the generator, G(e_i) ~ x_i; with the Data
Instance Prior e_i = G_emb(C(x_i)) (Eq. 7). Step 2 learns T: z -> e, so that each code has a sample
of T nearby (Li & Malik 2018). New images are G(T(z)).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor, nn

from synthbook.errors import InputError
from synthbook.gans import networks
from synthbook.gans.baselines.wrapped import Wrapped, pixels_for, read_front
from synthbook.gans.perceptual import Perceptual, distance, layers_of
from synthbook.gans.sampling import even_parts, taking_statistics
from synthbook.gans.stylegan2 import unit
from synthbook.randomness import seeded, torch_generator
from synthbook.settings import Batch, Count, Latent, Listed, Rate, Share, Width, settings
from synthbook.training import OnStep, check_finite

if TYPE_CHECKING:
    from synthbook.data import ImageSet


@settings
class GlannRecipe:
    """How both steps are trained; the defaults are those of the Data Instance Prior (Appendix A).

    Args:
        epochs: passes over the images in step 1.
        learning_rate: of generator and codes, or G_emb.
        betas: of Adam, in both steps (public code).
        noise: length of z.
        hidden: width of the two hidden layers of T (public code).
        sampler_epochs: passes over the codes in step 2.
        candidates: noises drawn for a code and pass, among which the nearest is taken.
    """

    epochs: Count = 4000
    batch_size: Batch = 50
    learning_rate: Rate = 0.01
    betas: Annotated[tuple[Share, Share], Listed] = (0.5, 0.999)
    noise: Latent = 64
    hidden: Width = 128
    sampler_epochs: Count = 500
    sampler_learning_rate: Rate = 0.05
    candidates: Count = 2


class Glann(Wrapped):
    """G(T(z)), z ~ N(0, I).

    A code is all that the generator takes, its z and its embedded condition, and has the length of
    so many numbers from N(0, I) (`unit`, of each of the two), which the generator was trained on;
    the authors' codes have length one.
    """

    def __init__(self, generator: nn.Module, noise: int, hidden: int, *, seed: int = 0) -> None:
        super().__init__(generator, noise)
        with seeded(seed, "init", "sampler"):
            self.sampler = nn.Sequential(
                nn.Linear(noise, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(),
                nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(),
                nn.Linear(hidden, sum(self.sizes)),
            )  # fmt: skip
        self.train()

    def train(self, mode: bool = True) -> Glann:
        """Stay in evaluation mode: images do not depend on each other."""
        return super().train(False)

    def normed(self, codes: Tensor) -> Tensor:
        """Return codes [N, E] whose two parts have a mean square of one."""
        return torch.cat([unit(part) for part in codes.split(self.sizes, dim=1)], dim=1)

    def of_codes(self, codes: Tensor) -> Tensor:
        """Return images of codes [N, E], whatever their length."""
        return self.decode(self.normed(codes))

    def forward(self, latents: Tensor, condition: Any = None, draw: Any = None) -> Tensor:
        """Return images in -1..1 of z [N, noise]."""
        return self.of_codes(self.sampler(latents))


@dataclass(frozen=True, eq=False)
class Fitted:
    """What `train_glann` leaves: the model, the codes [images, E], and both objectives by epoch."""

    model: Glann
    codes: Tensor
    fit: list[float]
    matching: list[float]


def train_glann(
    generator: nn.Module, images: ImageSet, perceptual: Perceptual, recipe: GlannRecipe, *,
    seed: int, features: Tensor | None = None, device: str = "cpu", on_step: OnStep | None = None,
) -> Fitted:  # fmt: skip
    """Run both steps from a generator, pretrained or not, which becomes part of the model.

    Codes are free, or with ``features`` C(x_i) [images, d] a linear layer's, which is then trained
    in their place. ``on_step`` gets the epochs done, of both steps, and the objective.

    Raises:
        InputError: if images or features do not fit.
    """
    pixels = pixels_for(generator, images, device)
    if len(pixels) < 2:
        raise InputError(f"'{images.name}' has 1 image; GLANN needs two or more")
    model = Glann(generator, recipe.noise, recipe.hidden, seed=seed).to(device)
    codes, fit = fit_codes(
        model, pixels, perceptual.to(device), recipe, seed=seed, features=features, on_step=on_step
    )
    later = None if on_step is None else lambda k, now: on_step(recipe.epochs + k, now)
    matching = fit_sampler(model, codes, recipe, seed=seed, on_step=later)
    return Fitted(model.requires_grad_(False), codes.cpu(), fit, matching)


def fit_codes(
    model: Glann, pixels: Tensor, perceptual: Perceptual, recipe: GlannRecipe, *,
    seed: int, features: Tensor | None = None, on_step: OnStep | None = None,
) -> tuple[Tensor, list[float]]:  # fmt: skip
    """Minimise the mean of d(G(e_i), x_i) over generator and codes (step 1; Eq. 7 with features).

    ``pixels`` are the images in -1..1. Returns the codes [N, E] and the objective of each epoch,
    over its steps. Batch norm works on batches, and in the end has the statistics of all codes.
    """
    size, device = sum(model.sizes), pixels.device
    with seeded(seed, "init", "codes"):
        if features is None:
            free = nn.Parameter(torch.randn(len(pixels), size).to(device))
            trained = [free]
        else:
            _check_features(features, len(pixels))
            inputs, embed = features.to(pixels), nn.Linear(features.shape[1], size).to(device)
            trained = [*embed.parameters()]

    def codes(which: Tensor) -> Tensor:
        return free[which] if features is None else embed(inputs[which])

    model.generator.train().requires_grad_(True)
    trained += model.generator.parameters()
    wanted = layers_of(perceptual, pixels)
    optimizer = torch.optim.Adam(trained, lr=recipe.learning_rate, betas=recipe.betas)
    curve = []
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(pixels), generator=torch_generator(seed, "glann", epoch))
        total = 0.0
        for which in order.to(device).split(recipe.batch_size):
            made = perceptual(model.of_codes(codes(which)))
            loss = distance(made, [h[which] for h in wanted]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(which) / len(pixels)
        _look(curve, total, "perceptual distance", on_step)
    with torch.no_grad():
        ends = model.normed(codes(torch.arange(len(pixels), device=device)))
        with taking_statistics(model.generator) as needed:
            for part in ends.split(even_parts(len(ends))) if needed else ():
                model.of_codes(part)
    model.generator.eval()
    return ends, curve


def fit_sampler(
    model: Glann, codes: Tensor, recipe: GlannRecipe, *, seed: int, on_step: OnStep | None = None
) -> list[float]:
    """Minimise the mean of min_m ||T(z_m) - e_i||^2 over T by IMLE (step 2); return it by epoch.

    In each epoch new noises are drawn, each code is matched with its nearest sample, and T takes
    these noises to their codes.
    """
    sampler, total = model.sampler.requires_grad_(True), len(codes)
    optimizer = torch.optim.Adam(
        sampler.parameters(), lr=recipe.sampler_learning_rate, betas=recipe.betas
    )
    sampler.train()  # batch norm as in the public code
    curve = []
    for epoch in range(recipe.sampler_epochs):
        draw = torch_generator(seed, "imle", epoch)
        noises = torch.randn(recipe.candidates * total, model.config.latent, generator=draw)
        noises = noises.to(codes)
        with torch.no_grad():
            indices = matches(codes, sampler(noises))
        squares = 0.0
        order = torch.randperm(total, generator=draw).to(codes.device)
        for which in order.split(max(2, recipe.batch_size)):
            if len(which) < 2:  # too few for batch norm
                continue
            loss = (sampler(noises[indices[which]]) - codes[which]).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            squares += float(loss.detach()) * len(which) / total
        _look(curve, squares, "squared distance of codes", on_step)
    sampler.eval()
    return curve


def matches(codes: Tensor, samples: Tensor, rows: int = 1024) -> Tensor:
    """Return which of the samples [M, E] is the nearest of each code [N, E], int64 [N]."""
    exact = "donot_use_mm_for_euclid_dist"
    nearest = [
        torch.cdist(part, samples, compute_mode=exact).argmin(1) for part in codes.split(rows)
    ]
    return torch.cat(nearest)


def _look(curve: list[float], value: float, name: str, on_step: OnStep | None) -> None:
    """Append the objective of an epoch, checked, and tell it."""
    curve.append(value)
    check_finite({name: value}, len(curve), None)
    if on_step:
        on_step(len(curve), {name: value})


def _check_features(features: Tensor, count: int) -> None:
    if features.dim() != 2 or len(features) != count or not features.isfinite().all():
        raise InputError(
            f"features are {list(features.shape)}; give finite numbers [{count}, d], a row an image"
        )


def load(folder: Path) -> Glann:
    """Return the model that `Glann.save` wrote to ``folder``."""
    front = read_front(folder)
    hidden, noise = front["sampler.0.weight"].shape
    model = Glann(networks.load(folder), noise, hidden)
    model.load_state_dict(model.state_dict() | front)
    return model.requires_grad_(False)
