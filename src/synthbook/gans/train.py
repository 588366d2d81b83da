"""Training a GAN: one loop for all architectures, and the class-conditional GAN of a recipe."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from synthbook.errors import InputError
from synthbook.gans.augment import augmented, draws
from synthbook.gans.batches import ImageStream, Real
from synthbook.gans.extra import Extra
from synthbook.gans.losses import LOSSES, PathLength, lazy_adam, r1_penalty
from synthbook.gans.networks import ARCHITECTURES, create_config
from synthbook.gans.recipes import GanRecipe, Training
from synthbook.gans.replay import Replayed, can_replay, recordable, set_rate
from synthbook.gans.sampling import set_standing_statistics
from synthbook.gans.transfer import freeze
from synthbook.randomness import derive, seeded
from synthbook.training import (
    OnStep,
    Watch,
    check_finite,
    flip_some,
    learning_rate_factor,
    load_checkpoint,
    mixed,
    normalise,
    save_checkpoint,
    warmed_average,
)

if TYPE_CHECKING:
    from synthbook.data import ImageSet

LOOK_EVERY = {"cuda": 50}  # steps between two looks at the losses: each makes a GPU wait

# (averaged generator, steps done) -> numbers by name, such as distances
Evaluate = Callable[[nn.Module, int], Mapping[str, float]]


class Curve(list[tuple[int, dict[str, float]]]):
    """Pairs (steps done, what ``evaluate`` gave), which a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]:
        return {"points": list(self)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self[:] = state["points"]


@dataclass(frozen=True)
class Trained:
    """What a training leaves: generators with averaged weights, in eval mode, and the rest.

    ``generator`` is the last one, ``best`` the one that ``evaluate`` liked best (None without).
    ``unaveraged`` and ``discriminator`` are the networks that were trained, ``optimizers`` the last
    states of their optimizers; ``curve`` holds all that was evaluated.
    """

    generator: nn.Module
    best: nn.Module | None
    unaveraged: nn.Module
    discriminator: nn.Module
    optimizers: dict[str, dict[str, Any]]
    curve: Curve


def train(
    generator: nn.Module,
    discriminator: nn.Module,
    images: ImageSet | ImageStream,
    recipe: Training,
    *,
    seed: int,
    conditions: Tensor | None = None,
    extra: Extra | None = None,
    average: nn.Module | None = None,
    optimizers: Mapping[str, Mapping[str, Any]] | None = None,
    device: str = "cpu",
    folder: Path | None = None,
    on_step: OnStep | None = None,
    checkpoint_every: int = 500,
    evaluate: Evaluate | None = None,
    evaluate_every: int = 0,
    watch: Watch | None = None,
) -> Trained:
    """Train two networks from the weights that they have, in place.

    The averaged weights start from those of ``average``, or are a copy of the generator's after the
    first step; the optimizers start from ``optimizers`` (`Trained.optimizers`), or anew.

    With a ``folder``, a checkpoint is kept there and training goes on from it: the weights are
    those of a run that was never stopped. ``on_step`` gets the number of steps done and what was
    computed in the last one; on a GPU it is called every 50 steps and after the last. ``evaluate``
    gets the averaged generator before the first step, every ``evaluate_every`` steps (0: never
    between) and after the last; the generator with the lowest of the *first* number that it
    returns, such as an FID, is the best. ``conditions`` are a vector an image, for networks with
    ``condition_size``. An ``extra`` adds to the losses or changes the conditions, such as
    `baselines.ssgan`. A ``watch`` measures in place of ``evaluate``; it may stop the training, and
    its best generator is the best.

    Raises:
        InputError: if images, networks and recipe do not fit, or the folder is of another run.
        TrainingError: if a loss is no longer finite; the last good checkpoint stays.
    """
    # Data, networks, optimizers.
    config = generator.config
    _check_networks(recipe, generator, discriminator)
    real_images = Real(images, config, conditions, device)
    if extra:
        extra.train().requires_grad_(True).to(device).begin(real_images)
    given = generator, discriminator, average, conditions, optimizers, extra
    run = {  # what a checkpoint must agree with
        "architecture": config.architecture,
        "configs": [asdict(config), asdict(discriminator.config)],
        "data": images.fingerprint(),
        "evaluated every": evaluate_every if evaluate else None,
        "recipe": asdict(recipe),
        "seed": seed,
        "weights at the start": _digest(*given),
    }
    if extra:
        run["extra"] = extra.settings()
    kind = torch.device(device).type
    fast = kind == "cuda" or config.channels_last
    layout = torch.channels_last if fast else torch.contiguous_format
    for network in (generator, discriminator):
        network.train().requires_grad_(True).to(device, memory_format=layout)
    for module in getattr(discriminator, "fixed", ()):
        module.requires_grad_(False)
    freeze(discriminator, recipe.frozen_blocks)
    warmed = recipe.average == "warmed"
    averaging = (warmed_average if warmed else get_ema_multi_avg_fn)(recipe.decay)
    averaged = AveragedModel(generator, multi_avg_fn=averaging)
    if average is not None:
        averaged.module.load_state_dict(average.state_dict())
        averaged.n_averaged.fill_(1)  # 0: the first update copies
    trainable = [p for p in discriminator.parameters() if p.requires_grad]
    trainable += extra.parameters() if extra else []
    g_rate, d_rate = recipe.generator_learning_rate, recipe.discriminator_learning_rate
    g_betas = d_betas = recipe.betas
    if recipe.path_length:
        g_rate, g_betas = lazy_adam(g_rate, g_betas, recipe.path_length_interval)
    if recipe.r1:
        d_rate, d_betas = lazy_adam(d_rate, d_betas, recipe.r1_interval)
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=g_rate, betas=g_betas, fused=True)
    d_optimizer = torch.optim.Adam(trainable, lr=d_rate, betas=d_betas, fused=True)
    if optimizers:
        for name, optimizer in (("generator", g_optimizer), ("discriminator", d_optimizer)):
            groups = optimizer.state_dict()["param_groups"]  # with this recipe's rates
            state = {"state": optimizers[name]["state"], "param_groups": groups}
            optimizer.load_state_dict(copy.deepcopy(state))
    loss, path_length = LOSSES[recipe.loss], PathLength()

    def snapshot() -> nn.Module:
        """Return a copy of the averaged generator, ready to make images."""
        made = copy.deepcopy(averaged.module)
        if kind == "cpu":  # the layout of a generator that is read from files: the same bits
            made.to(memory_format=torch.contiguous_format)
        how = {"seed": seed, "images": recipe.standing_images}
        set_standing_statistics(made, lambda *given: real_images.pick(*given)[1], **how)
        return made.eval().requires_grad_(False)

    # Go on from a checkpoint.
    curve = Curve()
    modules = {"generator": generator, "discriminator": discriminator, "average": averaged}
    states = {"generator": g_optimizer, "discriminator": d_optimizer, "curve": curve}
    if recipe.path_length:
        modules["path_length"] = path_length.to(device)
    if extra:
        modules["extra"] = extra
    if watch:
        modules["best"], states["watch"] = watch.started(snapshot()), watch
    elif evaluate:
        modules["best"] = snapshot()
    first = load_checkpoint(folder, modules, states, run) if folder else 0
    if evaluate and not curve:
        curve.append((0, dict(evaluate(modules["best"], 0))))

    draw = torch.Generator()  # on the CPU: the same on any device
    inner = torch.Generator(device)  # of the networks

    def augment_draws(count: int) -> list[Tensor]:
        """Return what is random in the augmentation of so many images."""
        return draws(recipe.augment, count, (config.image_size,) * 2, draw)

    def discriminator_step(
        real: Tensor, latents: Tensor, condition: Tensor | None, *drawn: Tensor
    ) -> Tensor:
        with mixed(recipe.precision, device):
            with torch.no_grad():
                fake = generator(latents, condition, inner)
            both = augmented(torch.cat([real, fake]), recipe.augment, drawn)
            twice = None if condition is None else torch.cat([condition, condition])
            logits, fake_logits = discriminator(both, twice).float().chunk(2)
            d_loss = loss.discriminator(logits, fake_logits)
            if recipe.consistency:
                change = discriminator(real, condition).float() - logits
                d_loss = d_loss + recipe.consistency * change.square().mean()
            if extra:
                d_loss = d_loss + extra.discriminator_loss(discriminator, *both.chunk(2), draw)
        _update(d_optimizer, d_loss)
        return d_loss.detach()

    def generator_step(latents: Tensor, condition: Tensor | None, *drawn: Tensor) -> Tensor:
        with mixed(recipe.precision, device):
            fake = augmented(generator(latents, condition, inner), recipe.augment, drawn)
            g_loss = loss.generator(discriminator(fake, condition).float())
            if extra:
                g_loss = g_loss + extra.generator_loss(discriminator, fake, draw)
        _update(g_optimizer, g_loss)
        return g_loss.detach()

    if not extra and can_replay(recipe, generator, discriminator, device):
        recordable(g_optimizer)
        recordable(d_optimizer)
        discriminator_step = Replayed(discriminator_step, device)
        generator_step = Replayed(generator_step, device)

    for step in range(first, recipe.steps):
        if watch and watch.over:
            break
        draw.manual_seed(derive(seed, "step", step))
        inner.manual_seed(derive(seed, "inside the networks", step))
        factor = learning_rate_factor(recipe.schedule, step, recipe.steps)
        factor *= watch.rate_factor if watch else 1.0
        set_rate(g_optimizer, g_rate * factor)
        set_rate(d_optimizer, d_rate * factor)
        if extra:
            extra.renew(step, discriminator)

        # The discriminator's steps. Fake images take the conditions of the real ones.
        for parameter in trainable:
            parameter.requires_grad_(True)
        for k in range(recipe.discriminator_steps):
            batch = step * recipe.discriminator_steps + k
            which, condition = real_images.pick(recipe.batch_size, draw, batch)
            latents = torch.randn(recipe.batch_size, config.latent, generator=draw).to(device)
            real = normalise(real_images.images(which))
            real = flip_some(real, draw) if recipe.flip else real
            drawn = augment_draws(2 * len(real))
            d_loss = discriminator_step(real, latents, condition, *drawn)
        computed = {"discriminator loss": d_loss}

        # Now and then a step for R1, with the weight of all that it stands for.
        if recipe.r1 and step % recipe.r1_interval == 0:
            real = real.detach().requires_grad_()
            seen = augmented(real, recipe.augment, augment_draws(len(real)))
            penalty = r1_penalty(discriminator(seen, condition), real)
            _update(d_optimizer, recipe.r1 / 2 * recipe.r1_interval * penalty)
            computed["R1 penalty"] = penalty.detach()

        # The generator's step.
        for parameter in trainable:
            parameter.requires_grad_(False)
        _, condition = real_images.pick(recipe.batch_size, draw)
        latents = torch.randn(recipe.batch_size, config.latent, generator=draw).to(device)
        drawn = augment_draws(recipe.batch_size)
        computed["generator loss"] = generator_step(latents, condition, *drawn)

        # Likewise a step for path length, on half a batch.
        if recipe.path_length and step % recipe.path_length_interval == 0:
            half = max(1, recipe.batch_size // 2)
            latents = torch.randn(half, config.latent, generator=draw).to(device)
            condition = None if condition is None else condition[:half]
            styles = generator.styles(latents, condition, inner)
            penalty = path_length(generator.synthesis(styles, inner), styles, inner)
            _update(g_optimizer, recipe.path_length * recipe.path_length_interval * penalty)
            computed["path length penalty"] = penalty.detach()

        if step < recipe.ema_start:
            averaged.n_averaged.zero_()  # the next update copies
        averaged.update_parameters(generator)

        # Look, evaluate, report, keep.
        done, last = step + 1, step + 1 == recipe.steps
        look = last or done % LOOK_EVERY.get(kind, 1) == 0
        if look:
            check_finite(computed, done, folder)
        if evaluate and (last or (evaluate_every and done % evaluate_every == 0)):
            made = snapshot()
            lowest = _lowest(curve)
            curve.append((done, dict(evaluate(made, done))))
            if _lowest(curve) < lowest:
                modules["best"].load_state_dict(made.state_dict())
        if on_step and look:
            on_step(done, {name: float(value) for name, value in computed.items()})
        if watch:
            watch(done, snapshot)
            if watch.over:
                check_finite(computed, done, folder)
        due = watch.keep if watch else done % checkpoint_every == 0
        if folder and (last or due):
            save_checkpoint(folder, done, modules, states, run)

    last = {name: states[name].state_dict() for name in ("generator", "discriminator")}
    return Trained(snapshot(), modules.get("best"), generator, discriminator, last, curve)


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _lowest(curve: Curve) -> float:
    """Return the lowest first number of the points that is one, else infinity."""
    firsts = (next(iter(numbers.values())) for _, numbers in curve)
    return min((value for value in firsts if not math.isnan(value)), default=math.inf)


def _check_networks(recipe: Training, generator: nn.Module, discriminator: nn.Module) -> None:
    """Raise InputError if the networks differ, or cannot be trained as ``recipe`` says."""
    config, other = generator.config, discriminator.config
    for name in ("image_size", "image_channels", "num_classes", "condition_size"):
        if getattr(config, name) != getattr(other, name):
            raise InputError(
                f"the generator has {name} {getattr(config, name)} and the discriminator "
                f"{getattr(other, name)}; make both with the same settings"
            )
    if recipe.path_length and not hasattr(generator, "styles"):
        raise InputError(
            f"path_length {recipe.path_length} needs a generator with styles; give 0 for a "
            f"'{config.architecture}'"
        )
    group = getattr(other, "deviation_group", 1)
    if recipe.batch_size % group:
        raise InputError(
            f"batch_size {recipe.batch_size} is not a multiple of deviation_group {group}; "
            "change one of them"
        )


def _digest(*given: nn.Module | Tensor | Mapping[str, Any] | None) -> str:
    """Return a hash of the tensors in networks and states of optimizers."""
    digest, waiting = hashlib.sha256(), list(given)
    while waiting:
        one = waiting.pop(0)
        one = one.state_dict() if isinstance(one, nn.Module) else one
        if isinstance(one, Mapping):
            waiting[:0] = one.values()
        elif isinstance(one, Tensor):
            digest.update(one.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def train_gan(images: ImageSet, recipe: GanRecipe, *, seed: int, **how: Any) -> nn.Module:
    """Train a class-conditional GAN; return the generator with averaged weights, in eval mode.

    The networks are made from the recipe, with weights from (seed, "init"). ``how`` and errors
    are those of ``train``.
    """
    pair = ARCHITECTURES[recipe.architecture]
    config = create_config(
        recipe.architecture,
        image_size=images.image_size,
        image_channels=images.channels,
        num_classes=images.num_classes,
        channels=recipe.channels,
        latent=recipe.latent,
    )
    with seeded(seed, "init"):
        networks = pair.generator(config), pair.discriminator(config)
    return train(*networks, images, recipe, seed=seed, **how).generator
