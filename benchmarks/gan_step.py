"""Training images per second of `gans.train.train` against a plain loop over the same networks.

Both train the same pair on the same random RGB images with DiffAugment and, for StyleGAN2, R1 every
16 steps. The plain loop is the usual one: a DataLoader over a TensorDataset that scales an image at
a time, real and fake images through the discriminator one after the other, Adam and moving average
as torch and a Python loop give them, DiffAugment part after part with padded indexing, the networks
in torch's default memory order, and residual blocks that resize and convolve one after the other.
The two take turns. An image counts once a step.

"DiffAugment" is its share of a step of `train`: forward for the discriminator's 2 x batch, forward
and backward for the generator's batch, over the time of the step.

    python benchmarks/gan_step.py --threads 1 --repeats 5
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from classifier_throughput import machine
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from synthbook.data import ImageSet
from synthbook.gans import blocks
from synthbook.gans.augment import diff_augment
from synthbook.gans.losses import LOSSES
from synthbook.gans.networks import create_discriminator, create_generator
from synthbook.gans.recipes import Training, published
from synthbook.gans.train import train
from synthbook.randomness import torch_generator

POLICY = "color,translation,cutout"
SMALL = {"latent": 64, "style": 64, "mapping_layers": 2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "StyleGAN2, 16 px, 16 to 32 wide": (
        "stylegan2", {"image_size": 16, "channels": 16, "widest": 32, **SMALL},
    ),
    "StyleGAN2, 32 px, 16 to 64 wide": (
        "stylegan2", {"image_size": 32, "channels": 16, "widest": 64, **SMALL},
    ),
    "SNGAN, 32 px, 32 wide": (
        "sngan", {"image_size": 32, "channels": 32, "discriminator_channels": 32},
    ),
    "BigGAN, 32 px, 32 wide": (
        "biggan", {"image_size": 32, "channels": 32, "discriminator_channels": 32},
    ),
}  # fmt: skip


class Scaled(Dataset):
    """Images one by one as floats in -1..1."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return self.pixels[index].float() / 127.5 - 1


def plain_augment(x: Tensor) -> Tensor:
    """DiffAugment part after part, on torch's default random numbers."""
    n, _, high, wide = x.shape

    def uniform() -> Tensor:
        return torch.rand(n, 1, 1, 1, device=x.device)

    x = x + uniform() - 0.5
    mean = x.mean(1, keepdim=True)
    x = (x - mean) * uniform() * 2 + mean
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (uniform() + 0.5) + mean
    axes = [torch.arange(k, device=x.device) for k in (n, high, wide)]
    b, i, j = torch.meshgrid(*axes, indexing="ij")
    most = int(high / 8 + 0.5)
    dy, dx = torch.randint(-most, most + 1, (2, n, 1, 1), device=x.device)
    i, j = (i + dy + 1).clamp(0, high + 1), (j + dx + 1).clamp(0, wide + 1)
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    x = padded.permute(0, 2, 3, 1).contiguous()[b, i, j].permute(0, 3, 1, 2).contiguous()
    side = int(high / 2 + 0.5)
    axes = [torch.arange(k, device=x.device) for k in (n, side, side)]
    b, i, j = torch.meshgrid(*axes, indexing="ij")
    cy, cx = torch.randint(0, high + (1 - side % 2), (2, n, 1, 1), device=x.device)
    mask = torch.ones(n, high, wide, device=x.device)
    mask[b, (i + cy - side // 2).clamp(0, high - 1), (j + cx - side // 2).clamp(0, wide - 1)] = 0
    return x * mask[:, None]


def plain_loop(
    generator: nn.Module,
    discriminator: nn.Module,
    pixels: Tensor,
    recipe: Training,
    device: str,
    tick: Callable[[], None],
) -> None:
    """Train as a short script would."""
    generator.to(device), discriminator.to(device)
    average = {name: p.detach().clone() for name, p in generator.named_parameters()}
    rates = recipe.generator_learning_rate, recipe.discriminator_learning_rate
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=rates[0], betas=recipe.betas)
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=rates[1], betas=recipe.betas)
    loss, latent = LOSSES[recipe.loss], generator.config.latent
    loader = DataLoader(Scaled(pixels), recipe.batch_size, shuffle=True, drop_last=True)
    step = 0
    draw = torch.Generator(device=device).manual_seed(0)
    while step < recipe.steps:
        for real in loader:
            if step == recipe.steps:
                break
            real = real.to(device)
            z = torch.randn(len(real), latent, device=device)
            with torch.no_grad():
                fake = generator(z, None, draw)
            real_logits = discriminator(plain_augment(real))
            fake_logits = discriminator(plain_augment(fake))
            d_optimizer.zero_grad()
            loss.discriminator(real_logits, fake_logits).backward()
            d_optimizer.step()
            if recipe.r1 and step % recipe.r1_interval == 0:
                real.requires_grad_()
                logits = discriminator(plain_augment(real)).sum()
                (gradient,) = torch.autograd.grad(logits, real, create_graph=True)
                penalty = gradient.square().sum((1, 2, 3)).mean()
                d_optimizer.zero_grad()
                (recipe.r1 / 2 * recipe.r1_interval * penalty).backward()
                d_optimizer.step()
            z = torch.randn(len(real), latent, device=device)
            g_loss = loss.generator(discriminator(plain_augment(generator(z, None, draw))))
            g_optimizer.zero_grad()
            g_loss.backward()
            g_optimizer.step()
            for name, p in generator.named_parameters():
                average[name].mul_(recipe.decay).add_(p.detach(), alpha=1 - recipe.decay)
            g_loss.item()
            step += 1
            tick()


def convolved_after(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Give what `blocks.doubled` does, layer after layer."""
    return conv(blocks.double(x))


def pooled_after(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Give what `blocks.halved` does, layer after layer."""
    return nn.functional.avg_pool2d(conv(x), 2)


def pair(name: str, settings: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    return create_generator(name, **settings), create_discriminator(name, **settings)


def augment_once(size: int, batch: int, device: str) -> None:
    """Do what one step does for DiffAugment."""
    draw = torch_generator(0, "benchmark")
    diff_augment(torch.zeros(2 * batch, 3, size, size, device=device), POLICY, draw)
    fake = torch.zeros(batch, 3, size, size, device=device, requires_grad=True)
    diff_augment(fake, POLICY, draw).sum().backward()


def seconds_a_step(
    run: Callable[[Callable[[], None]], None], device: str, clock: Callable[[], float]
) -> float:
    """Return the mean time of a step of ``run``, which calls back after each; the first is free."""
    times = []

    def tick() -> None:
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(clock())

    run(tick)
    return (times[-1] - times[0]) / (len(times) - 1)


def measure(title: str, args: argparse.Namespace, clock: Callable[[], float]) -> None:
    name, settings = CASES[title]
    size = settings["image_size"]
    pixels = np.random.default_rng(0).integers(0, 256, (200, size, size, 3), dtype=np.uint8)
    images = ImageSet(pixels, np.zeros(200, int), ("all",), "random")
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    how = {"batch_size": args.batch, "discriminator_steps": 1, "augment": POLICY, "flip": False}
    recipe = published(name, steps=args.steps + 1, path_length=0.0, **how)

    # The clock is read after every step, so that neither the start nor what comes after the last
    # step counts.
    def ours(tick: Callable[[], None]) -> None:
        networks = pair(name, settings)
        train(*networks, images, recipe, seed=0, device=args.device, on_step=lambda *_: tick())

    def plain(tick: Callable[[], None]) -> None:
        with patch.multiple(blocks, doubled=convolved_after, halved=pooled_after):
            plain_loop(*pair(name, settings), tensor, recipe, args.device, tick)

    def augmenting(tick: Callable[[], None]) -> None:
        for _ in range(recipe.steps):
            augment_once(size, args.batch, args.device)
            tick()

    runs = {"train": ours, "plain loop": plain, "DiffAugment": augmenting}
    taken: dict[str, list[float]] = {label: [] for label in runs}
    for turn in range(args.repeats + 1):
        for label, run in runs.items():
            spent = seconds_a_step(run, args.device, clock)
            if turn:  # the first one warms up
                taken[label].append(spent)
    rates = {k: [args.batch / t for t in taken[k]] for k in ("train", "plain loop")}
    ratio = statistics.median(
        p / t for p, t in zip(taken["plain loop"], taken["train"], strict=True)
    )
    share = statistics.median(
        a / t for a, t in zip(taken["DiffAugment"], taken["train"], strict=True)
    )
    cells = [
        f"{statistics.median(r):9,.0f} ({min(r):,.0f} to {max(r):,.0f})" for r in rates.values()
    ]
    print(f"{title:34}{cells[0]:>24}{cells[1]:>24}{ratio:8.2f} x{100 * share:10.1f} %", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    # With one thread on a CPU the process's own time is the same and other processes matter less.
    own = args.device == "cpu" and args.threads == 1
    clock = time.process_time if own else time.perf_counter
    print(
        f"{machine(args.device, args.threads)}; n = {args.repeats} turns of "
        f"{args.steps} steps, batch {args.batch}; {'CPU' if own else 'wall'} time; median (range)"
    )
    header = f"{'':34}{'train: images/s':>24}{'plain loop: images/s':>24}"
    print(f"{header}{'train is':>10}{'DiffAugment':>12}")
    for title in CASES:
        measure(title, args, clock)


if __name__ == "__main__":
    main()
