"""Training a class-conditional GAN, and sampling from its generator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from synthbook.errors import InputError
from synthbook.gans.losses import LOSSES
from synthbook.gans.networks import ARCHITECTURES, Discriminator, Generator
from synthbook.loops import (
    PRECISIONS,
    SCHEDULES,
    OnStep,
    check_choice,
    check_finite,
    check_positive,
    flip_some,
    learning_rate_factor,
    load_checkpoint,
    normalise,
    pixels_and_labels,
    save_checkpoint,
    seeded,
)
from synthbook.randomness import torch_generator

if TYPE_CHECKING:
    from synthbook.data import ImageSet


@dataclass(frozen=True)
class GanRecipe:
    """How a GAN is built and trained; the defaults suit 8 x 8 grey digits on a CPU.

    ``channels`` is the width at full image size; each halving of the size doubles it, at most to
    four times. A step is ``discriminator_steps`` updates of the discriminator and one of the
    generator, each on ``batch_size`` new images. ``precision`` "bfloat16" uses mixed precision.
    """

    channels: int = 16
    latent: int = 32
    steps: int = 1000
    batch_size: int = 32
    generator_learning_rate: float = 6e-3
    discriminator_learning_rate: float = 6e-3
    betas: tuple[float, float] = (0.0, 0.9)
    schedule: str = "linear"
    discriminator_steps: int = 1
    ema_decay: float = 0.99
    architecture: str = "resnet"
    loss: str = "hinge"
    flip: bool = False
    precision: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))  # YAML and JSON have lists only
        check_positive(
            self, "channels", "latent", "steps", "batch_size", "discriminator_steps",
            "generator_learning_rate", "discriminator_learning_rate",
        )  # fmt: skip
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("architecture", self.architecture, ARCHITECTURES)
        check_choice("loss", self.loss, LOSSES)
        check_choice("precision", self.precision, PRECISIONS)
        if not 0 <= self.ema_decay <= 1:
            raise InputError(f"ema_decay is {self.ema_decay}; give a number in 0..1")


def build_networks(
    recipe: GanRecipe, *, image_size: int, image_channels: int, num_classes: int, seed: int
) -> tuple[Generator, Discriminator]:
    """Return generator and discriminator with weights from (seed, "init")."""
    make_generator, make_discriminator = ARCHITECTURES[recipe.architecture]
    shape = {
        "image_size": image_size,
        "image_channels": image_channels,
        "num_classes": num_classes,
        "channels": recipe.channels,
    }
    with seeded(seed, "init"):
        return make_generator(**shape, latent=recipe.latent), make_discriminator(**shape)


def train_gan(
    images: ImageSet,
    recipe: GanRecipe,
    *,
    seed: int,
    device: str = "cpu",
    folder: Path | None = None,
    on_step: OnStep | None = None,
    checkpoint_every: int = 500,
) -> Generator:
    """Train a class-conditional GAN; return the generator with averaged weights, in eval mode.

    With a ``folder``, a checkpoint is kept there and training goes on from it: the weights are
    those of a run that was never stopped. ``on_step`` gets the number of steps done and the
    losses of both networks.

    Raises:
        InputError: if images and recipe do not fit, or the folder is of another run.
        TrainingError: if a loss is no longer finite; the last good checkpoint stays.
    """
    # Data, networks, optimizers.
    pixels, labels = pixels_and_labels(images, device)
    generator, discriminator = build_networks(
        recipe,
        image_size=images.image_size,
        image_channels=images.channels,
        num_classes=images.num_classes,
        seed=seed,
    )
    kind = torch.device(device).type
    layout = torch.channels_last if kind == "cuda" else torch.contiguous_format
    generator.to(device, memory_format=layout)
    discriminator.to(device, memory_format=layout)
    average = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay))
    settings = {"betas": recipe.betas, "fused": True}
    g_optimizer = torch.optim.Adam(
        generator.parameters(), lr=recipe.generator_learning_rate, **settings
    )
    d_optimizer = torch.optim.Adam(
        discriminator.parameters(), lr=recipe.discriminator_learning_rate, **settings
    )
    loss = LOSSES[recipe.loss]
    mixed = {"dtype": torch.bfloat16, "enabled": recipe.precision == "bfloat16"}

    def draw_batch(draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return real images, their labels, and latents; all draws are made on the CPU."""
        chosen = torch.randint(len(pixels), (recipe.batch_size,), generator=draw).to(device)
        latents = torch.randn(recipe.batch_size, recipe.latent, generator=draw).to(device)
        real = normalise(pixels[chosen])
        return flip_some(real, draw) if recipe.flip else real, labels[chosen], latents

    # Go on from a checkpoint.
    run = {"recipe": asdict(recipe), "seed": seed, "data": images.fingerprint()}
    modules = {"generator": generator, "discriminator": discriminator, "average": average}
    optimizers = {"generator": g_optimizer, "discriminator": d_optimizer}
    first = load_checkpoint(folder, modules, optimizers, run) if folder else 0

    for step in range(first, recipe.steps):
        draw = torch_generator(seed, "step", step)
        factor = learning_rate_factor(recipe.schedule, step, recipe.steps)
        g_optimizer.param_groups[0]["lr"] = recipe.generator_learning_rate * factor
        d_optimizer.param_groups[0]["lr"] = recipe.discriminator_learning_rate * factor

        # The discriminator's steps. Fake images take the labels of the real ones.
        discriminator.requires_grad_(True)
        for _ in range(recipe.discriminator_steps):
            real, condition, latents = draw_batch(draw)
            with torch.autocast(kind, **mixed):
                with torch.no_grad():
                    fake = generator(latents, condition)
                logits = discriminator(torch.cat([real, fake]), condition.repeat(2)).float()
                d_loss = loss.discriminator(*logits.chunk(2))
            d_optimizer.zero_grad(set_to_none=True)
            d_loss.backward()
            d_optimizer.step()

        # The generator's step.
        discriminator.requires_grad_(False)
        _, condition, latents = draw_batch(draw)
        with torch.autocast(kind, **mixed):
            logits = discriminator(generator(latents, condition), condition).float()
            g_loss = loss.generator(logits)
        g_optimizer.zero_grad(set_to_none=True)
        g_loss.backward()
        g_optimizer.step()
        average.update_parameters(generator)

        # Look, report, keep.
        losses = {"discriminator loss": d_loss.detach(), "generator loss": g_loss.detach()}
        if on_step or kind != "cuda" or step % 50 == 49:  # on a GPU every look makes it wait
            check_finite(losses, step + 1, folder)
        if on_step:
            on_step(step + 1, {name: float(value) for name, value in losses.items()})
        if folder and ((step + 1) % checkpoint_every == 0 or step + 1 == recipe.steps):
            save_checkpoint(folder, step + 1, modules, optimizers, run)

    final = average.module
    set_standing_statistics(final, labels, seed=seed)
    return final.eval().requires_grad_(False)


@torch.no_grad()
def set_standing_statistics(
    generator: Generator, labels: Tensor, *, seed: int, batches: int = 16, batch_size: int = 250
) -> None:
    """Set the batch norm statistics of ``generator`` to those of its own images, in place.

    Averaged weights never ran on a batch, so the statistics are taken anew ("standing
    statistics", Brock et al. 2019, Appendix), with classes as frequent as in ``labels``.
    """
    norms = [m for m in generator.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    generator.train()
    for k in range(batches):
        draw = torch_generator(seed, "standing statistics", k)
        chosen = torch.randint(len(labels), (batch_size,), generator=draw).to(labels.device)
        latents = torch.randn(batch_size, generator.config["latent"], generator=draw)
        generator(latents.to(labels.device), labels[chosen])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@torch.no_grad()
def sample(
    generator: Generator,
    labels: Sequence[int],
    *,
    seed: int,
    batch_size: int = 256,
    device: str = "cpu",
) -> np.ndarray:
    """Return one image a label, uint8 [N, H, W, C].

    Image k comes from the random stream (seed, "sample", k): it does not depend on the batch size
    or on the other images, up to float rounding.

    Raises:
        InputError: if a label is not one of the generator's classes.
    """
    known = generator.config["num_classes"]
    for label in labels:
        if label is None or not 0 <= int(label) < known:
            raise InputError(f"class {label} is not known; the labels are 0..{known - 1}")
    generator.to(device).eval()
    latent, batches = generator.config["latent"], []
    for start in range(0, len(labels), batch_size):
        chosen = range(start, min(start + batch_size, len(labels)))
        latents = [
            torch.randn(latent, generator=torch_generator(seed, "sample", k)) for k in chosen
        ]
        condition = torch.tensor([int(labels[k]) for k in chosen], device=device)
        images = generator(torch.stack(latents).to(device), condition)
        pixels = ((images + 1) * 127.5).round().clamp(0, 255)
        batches.append(pixels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(batches)


def save(generator: Generator, folder: Path) -> None:
    """Write ``config.json`` and ``generator.safetensors`` to ``folder``."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = {made[0]: name for name, made in ARCHITECTURES.items()}
    config = {"architecture": names[type(generator)], **generator.config}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    state = {key: value.contiguous().cpu() for key, value in generator.state_dict().items()}
    save_file(state, folder / "generator.safetensors")


def load(folder: Path) -> Generator:
    """Return the generator that ``save`` wrote to ``folder``, in eval mode.

    Raises:
        InputError: if the folder holds no generator.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} holds no generator (config.json); give its folder")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = config.pop("architecture")
    check_choice("architecture", architecture, ARCHITECTURES)
    generator = ARCHITECTURES[architecture][0](**config)
    generator.load_state_dict(load_file(folder / "generator.safetensors"))
    return generator.eval().requires_grad_(False)
