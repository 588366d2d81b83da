"""Training a GAN: one loop for all architectures, and the class-conditional GAN of a recipe."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from synthbook.gans.augment import augmentation
from synthbook.gans.batches import ImageStream, Real, check_pair
from synthbook.gans.losses import LOSSES, PathLength, lazy_adam, r1_penalty
from synthbook.gans.networks import ARCHITECTURES, create_config, load, save
from synthbook.gans.recipes import GanRecipe, Training
from synthbook.gans.runs import Curve, Trained, check_recipe, describe_run
from synthbook.gans.sampling import sample, set_standing_statistics
from synthbook.gans.transfer import freeze
from synthbook.randomness import seeded, torch_generator
from synthbook.training import (
    OnStep,
    check_finite,
    flip_some,
    learning_rate_factor,
    load_checkpoint,
    normalise,
    save_checkpoint,
)

if TYPE_CHECKING:
    from synthbook.data import ImageSet

__all__ = [
    "Curve",
    "GanRecipe",
    "Trained",
    "Training",
    "build_networks",
    "load",
    "sample",
    "save",
    "train",
    "train_gan",
]


def train(
    generator: nn.Module,
    discriminator: nn.Module,
    images: ImageSet | ImageStream,
    recipe: Training,
    *,
    seed: int,
    conditions: Tensor | None = None,
    device: str = "cpu",
    folder: Path | None = None,
    on_step: OnStep | None = None,
    checkpoint_every: int = 500,
    evaluate: Callable[[nn.Module], float] | None = None,
    evaluate_every: int = 0,
) -> Trained:
    """Train two networks from the weights that they have, in place.

    With a ``folder``, a checkpoint is kept there and training goes on from it: the weights are
    those of a run that was never stopped. ``on_step`` gets the number of steps done and what was
    computed in the last one. ``evaluate`` gets the averaged generator before the first step, every
    ``evaluate_every`` steps (0: never between) and after the last; lower is better, as with FID.
    ``conditions`` are a vector an image, for networks with ``condition_size``.

    Raises:
        InputError: if images, networks and recipe do not fit, or the folder is of another run.
        TrainingError: if a loss is no longer finite; the last good checkpoint stays.
    """
    # Data, networks, optimizers.
    config = check_pair(generator, discriminator)
    real_images = Real(images, config, conditions, device)
    check_recipe(recipe, generator, discriminator)
    run = describe_run(generator, discriminator, images, conditions, recipe, seed)
    run["evaluated every"] = evaluate_every if evaluate else None
    generator.train().requires_grad_(True)
    discriminator.train().requires_grad_(True)
    freeze(discriminator, recipe.frozen_blocks)
    kind = torch.device(device).type
    fast = kind == "cuda" or config.channels_last
    layout = torch.channels_last if fast else torch.contiguous_format
    generator.to(device, memory_format=layout)
    discriminator.to(device, memory_format=layout)
    average = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(recipe.decay))
    trainable = [p for p in discriminator.parameters() if p.requires_grad]
    g_rate, g_betas = recipe.generator_learning_rate, recipe.betas
    d_rate, d_betas = recipe.discriminator_learning_rate, recipe.betas
    if recipe.path_length:
        g_rate, g_betas = lazy_adam(g_rate, g_betas, recipe.path_length_interval)
    if recipe.r1:
        d_rate, d_betas = lazy_adam(d_rate, d_betas, recipe.r1_interval)
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=g_rate, betas=g_betas, fused=True)
    d_optimizer = torch.optim.Adam(trainable, lr=d_rate, betas=d_betas, fused=True)
    loss, augment, path_length = LOSSES[recipe.loss], augmentation(recipe.augment), PathLength()
    mixed = {"dtype": torch.bfloat16, "enabled": recipe.precision == "bfloat16"}

    def snapshot() -> nn.Module:
        """Return a copy of the averaged generator, ready to make images."""
        made = copy.deepcopy(average.module)
        if kind == "cpu":  # the layout of a generator that is read from files: the same bits
            made.to(memory_format=torch.contiguous_format)
        set_standing_statistics(
            made,
            lambda count, draw: real_images.pick(count, draw)[1],
            seed=seed,
            images=recipe.standing_images,
        )
        return made.eval().requires_grad_(False)

    # Go on from a checkpoint.
    curve = Curve()
    modules = {"generator": generator, "discriminator": discriminator, "average": average}
    states = {"generator": g_optimizer, "discriminator": d_optimizer, "curve": curve}
    if recipe.path_length:
        modules["path_length"] = path_length.to(device)
    if evaluate:
        modules["best"] = snapshot()
    first = load_checkpoint(folder, modules, states, run) if folder else 0
    if evaluate and not curve.steps:
        curve.add(0, float(evaluate(modules["best"])))

    for step in range(first, recipe.steps):
        draw = torch_generator(seed, "step", step)  # on the CPU: the same on any device
        inner = torch_generator(seed, "inside the networks", step, device=device)
        factor = learning_rate_factor(recipe.schedule, step, recipe.steps)
        g_optimizer.param_groups[0]["lr"] = g_rate * factor
        d_optimizer.param_groups[0]["lr"] = d_rate * factor

        # The discriminator's steps. Fake images take the conditions of the real ones.
        _set_trainable(trainable, True)
        for k in range(recipe.discriminator_steps):
            batch = step * recipe.discriminator_steps + k
            which, condition = real_images.pick(recipe.batch_size, draw, batch)
            latents = torch.randn(recipe.batch_size, config.latent, generator=draw).to(device)
            real = normalise(real_images.images(which))
            real = flip_some(real, draw) if recipe.flip else real
            with torch.autocast(kind, **mixed):
                with torch.no_grad():
                    fake = generator(latents, condition, inner)
                both = augment(torch.cat([real, fake]), draw)
                logits, fake_logits = discriminator(both, _twice(condition)).float().chunk(2)
                d_loss = loss.discriminator(logits, fake_logits)
                if recipe.consistency:
                    change = discriminator(real, condition).float() - logits
                    d_loss = d_loss + recipe.consistency * change.square().mean()
            d_optimizer.zero_grad(set_to_none=True)
            d_loss.backward()
            d_optimizer.step()
        found = {"discriminator loss": d_loss.detach()}

        # Now and then a step for R1, with the weight of all that it stands for.
        if recipe.r1 and step % recipe.r1_interval == 0:
            real = real.detach().requires_grad_()
            penalty = r1_penalty(discriminator(augment(real, draw), condition), real)
            d_optimizer.zero_grad(set_to_none=True)
            (recipe.r1 / 2 * recipe.r1_interval * penalty).backward()
            d_optimizer.step()
            found["R1 penalty"] = penalty.detach()

        # The generator's step.
        _set_trainable(trainable, False)
        _, condition = real_images.pick(recipe.batch_size, draw)
        latents = torch.randn(recipe.batch_size, config.latent, generator=draw).to(device)
        with torch.autocast(kind, **mixed):
            fake = augment(generator(latents, condition, inner), draw)
            g_loss = loss.generator(discriminator(fake, condition).float())
        g_optimizer.zero_grad(set_to_none=True)
        g_loss.backward()
        g_optimizer.step()
        found["generator loss"] = g_loss.detach()

        # Likewise a step for path length, on half a batch.
        if recipe.path_length and step % recipe.path_length_interval == 0:
            half = max(1, recipe.batch_size // 2)
            latents = torch.randn(half, config.latent, generator=draw).to(device)
            condition = None if condition is None else condition[:half]
            styles = generator.styles(latents, condition, inner)
            penalty = path_length(generator.synthesis(styles, inner), styles, inner)
            g_optimizer.zero_grad(set_to_none=True)
            (recipe.path_length * recipe.path_length_interval * penalty).backward()
            g_optimizer.step()
            found["path length penalty"] = penalty.detach()

        if step < recipe.ema_start:
            average.n_averaged.zero_()  # the next update copies
        average.update_parameters(generator)

        # Look, evaluate, report, keep.
        done, last = step + 1, step + 1 == recipe.steps
        if on_step or kind != "cuda" or step % 50 == 49:  # on a GPU every look makes it wait
            check_finite(found, done, folder)
        if evaluate and (last or (evaluate_every and done % evaluate_every == 0)):
            made = snapshot()
            found["evaluation"] = float(evaluate(made))
            if curve.add(done, found["evaluation"]):
                modules["best"].load_state_dict(made.state_dict())
        if on_step:
            on_step(done, {name: float(value) for name, value in found.items()})
        if folder and (last or done % checkpoint_every == 0):
            save_checkpoint(folder, done, modules, states, run)

    return Trained(snapshot(), modules.get("best"), discriminator, curve)


def _twice(condition: Tensor | None) -> Tensor | None:
    return None if condition is None else torch.cat([condition, condition])


def _set_trainable(parameters: Iterable[Tensor], value: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(value)


def build_networks(
    recipe: GanRecipe, *, image_size: int, image_channels: int, num_classes: int, seed: int
) -> tuple[nn.Module, nn.Module]:
    """Return generator and discriminator of ``recipe`` with weights from (seed, "init")."""
    config = create_config(
        recipe.architecture,
        image_size=image_size,
        image_channels=image_channels,
        num_classes=num_classes,
        channels=recipe.channels,
        latent=recipe.latent,
    )
    pair = ARCHITECTURES[recipe.architecture]
    with seeded(seed, "init"):
        return pair.generator(config), pair.discriminator(config)


def train_gan(
    images: ImageSet,
    recipe: GanRecipe,
    *,
    seed: int,
    device: str = "cpu",
    folder: Path | None = None,
    on_step: OnStep | None = None,
    checkpoint_every: int = 500,
) -> nn.Module:
    """Train a class-conditional GAN; return the generator with averaged weights, in eval mode.

    Arguments and errors are those of ``train``; the networks are made from the recipe.
    """
    generator, discriminator = build_networks(
        recipe,
        image_size=images.image_size,
        image_channels=images.channels,
        num_classes=images.num_classes,
        seed=seed,
    )
    how = {"device": device, "folder": folder, "on_step": on_step}
    trained = train(
        generator, discriminator, images, recipe,
        seed=seed, checkpoint_every=checkpoint_every, **how,
    )  # fmt: skip
    return trained.generator
