"""Flow matching: the loss and the times by hand, known velocities, patches, and long trainings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.generate import diffusion
from synthbook.generate.recipes import diffusion_recipe
from synthbook.generate.unet import DiffusionRecipe, build_unet
from synthbook.randomness import torch_generator
from synthbook.training import Budget, Watch

torch.set_num_threads(1)
FLOW = DiffusionRecipe(
    channels=(8, 8), prediction="flow", patch=2, steps=100, batch_size=4, warmup_steps=2,
    schedule="constant", average="warmed", ema_decay=0.9, condition_dropout=0.2, flip=True,
)  # fmt: skip


def noise(count: int = 12, size: int = 8, channels: int = 1) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, channels), np.uint8)
    return ImageSet(pixels, np.arange(count) % 2, ("a", "b"), "noise")


class Straight(UNet2DModel):
    """The velocity of straight paths from noise to one image a label, in place of a network."""

    def __init__(self, targets: torch.Tensor) -> None:
        """Take ``targets`` [K + 1, C, H, W], the last for the null class."""
        super().__init__(
            sample_size=targets.shape[-1], in_channels=targets.shape[1],
            out_channels=targets.shape[1], block_out_channels=(8,), norm_num_groups=4,
            down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), layers_per_block=1,
            num_class_embeds=len(targets), add_attention=False,
        )  # fmt: skip
        self.targets = targets

    def forward(self, sample, timestep, class_labels=None, return_dict=True):
        """Return v = eps - x = (x_t - x) / t, as x_t = (1 - t) x + t eps."""
        t = torch.as_tensor(timestep, dtype=sample.dtype).reshape(-1, 1, 1, 1) / 1000
        return UNet2DOutput(sample=(sample - self.targets[class_labels]) / t)


def test_loss_equals_the_formula_written_out():
    unet = build_unet(FLOW, image_size=8, channels=1, num_classes=2, seed=0)
    clean, eps = torch.randn(2, 5, 4, 4, 4, generator=torch_generator(0, "test"))
    labels, times = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0.0, 0.1, 0.4, 0.9, 1.0])
    terms = []
    for x, e, label, t in zip(clean, eps, labels, times, strict=True):
        along = (1 - t) * x + t * e
        velocity = unet(along[None], 1000 * t[None], label[None]).sample[0]
        terms.append(((velocity - (e - x)) ** 2).mean())
    loss = diffusion.flow_loss(unet, clean, labels, eps, times, 1000)
    torch.testing.assert_close(loss, torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)


def test_the_true_velocity_has_no_loss():
    target = torch.rand(3, 4, 4, 4, generator=torch_generator(0)) * 2 - 1
    eps = torch.randn(3, 4, 4, 4, generator=torch_generator(1))
    labels, times = torch.tensor([0, 1, 2]), torch.tensor([0.2, 0.5, 1.0])
    loss = diffusion.flow_loss(Straight(target), target, labels, eps, times, 1000)
    assert loss < 1e-8
    assert diffusion.flow_loss(Straight(target), -target, labels, eps, times, 1000) > 0.1


def test_times_are_logit_normal_sorted_and_spread():
    from scipy.stats import kstest, norm

    draws = torch.stack([diffusion.spread_times(10, torch_generator(0, k)) for k in range(2000)])
    assert (draws.diff(dim=1) > 0).all()
    logits = draws.double().logit()
    tenths = torch.tensor(norm.cdf(logits.numpy()) * 10).floor()
    assert (tenths == torch.arange(10)).double().mean() > 0.999  # one in each tenth, but rounding
    # The 2,000 draws of one position are independent, and uniform in its tenth.
    for k in (0, 5, 9):
        within = norm.cdf(logits[:, k].numpy()) * 10 - k
        assert kstest(within, "uniform").pvalue > 1e-3
    quantiles = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    expected = torch.special.ndtri(quantiles).sigmoid()
    torch.testing.assert_close(draws.double().quantile(quantiles), expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("patch", [1, 2, 4])
@pytest.mark.parametrize("steps", [1, 6])
def test_a_known_flow_ends_at_its_image(patch, steps):
    """The data are one image a class: all paths are straight, and any number of steps is exact."""
    images = torch.randint(0, 256, (3, 3, 8, 8), generator=torch_generator(0))
    unet = Straight(pixel_unshuffle(images / 127.5 - 1, patch))
    pipeline = diffusion.as_pipeline(unet, replace(FLOW, patch=patch))
    how = {"guidance_scale": 1.0, "num_inference_steps": steps, "seed": 0}
    made = diffusion.sample(pipeline, [1, 0, None, 1], **how)
    expected = images[[1, 0, 2, 1]].permute(0, 2, 3, 1).numpy()
    assert np.abs(made.astype(int) - expected).max() <= 1


def test_a_patch_is_what_pixel_shuffle_undoes():
    """Of a field that treats each pixel alike, patches change nothing, also not the noise."""
    grey = torch.full((2, 1, 1, 1), 0.3)
    made = []
    for patch in (1, 2):
        targets = pixel_unshuffle(grey.expand(2, 1, 8, 8), patch)
        unet = Straight(targets)
        unet.forward = lambda x, t, labels, targets=targets: UNet2DOutput(sample=0.5 * x)
        pipeline = diffusion.as_pipeline(unet, replace(FLOW, patch=patch))
        how = {"guidance_scale": 1.0, "num_inference_steps": 4, "seed": 0}
        made.append(diffusion.sample(pipeline, [0, 0], **how))
    np.testing.assert_array_equal(made[1], made[0])
    assert made[0].std() > 20
    # And the network is told neighbours as channels.
    seen = []
    pipeline.unet.forward = lambda x, t, labels: seen.append(x) or UNet2DOutput(sample=x)
    pipeline([0], num_inference_steps=1, generator=[torch_generator(0)])
    pixels = torch.randn(1, 1, 8, 8, generator=torch_generator(0))
    torch.testing.assert_close(pixel_shuffle(seen[0], 2), pixels)
    torch.testing.assert_close(seen[0][0, :, 0, 0], pixels[0, 0, :2, :2].flatten())


def test_images_that_do_not_fit_patches_are_refused():
    with pytest.raises(InputError, match=r"10 is not divisible by 4.*patches of 2"):
        build_unet(FLOW, image_size=10, channels=1, num_classes=2, seed=0)


@pytest.mark.parametrize("size", ["book", "large"])
@pytest.mark.parametrize("side", [8, 16, 28, 32, 64])
def test_recipes_fit_any_size_that_photographs_have(size, side):
    recipe = diffusion_recipe(size, side)
    unet = build_unet(recipe, image_size=side, channels=1, num_classes=2, seed=0)
    assert unet.config.sample_size * recipe.patch == side
    assert side // recipe.patch / 2 ** (len(recipe.channels) - 1) >= min(4, side // recipe.patch)


# -- With a watch ---------------------------------------------------------------------------------


class Killed(Exception):
    pass


class Seconds:
    """A clock that a training moves on by ten seconds a step, and that kills it after one."""

    def __init__(self, kill: int = 0) -> None:
        self.seconds, self.kill, self.steps = 0.0, kill, []

    def __call__(self) -> float:
        return self.seconds

    def on_step(self, step: int, losses: dict[str, float]) -> None:
        self.seconds += 10
        self.steps.append(step)
        if step == self.kill:
            raise Killed


def watched(clock: Seconds) -> Watch:
    """Return a watch of 4 minutes, with a measurement that is highest at first."""
    budget = Budget(minutes=4.0, measure_every=1.0, patience=9, cooldown=0.5)

    def measure(unet: torch.nn.Module) -> dict[str, float]:
        first = next(iter(unet.parameters()))
        return {"accuracy": -float(len(watch.curve)), "weight": first.detach().abs().mean().item()}

    watch = Watch(budget, measure, "cpu")
    watch.now, watch.seen = clock, clock()
    return watch


def test_killed_and_resumed_equals_never_stopped(tmp_path):
    whole_clock = Seconds()
    whole_watch = watched(whole_clock)
    how = {"seed": 0, "on_step": whole_clock.on_step, "watch": whole_watch}
    whole = diffusion.train_diffusion(noise(), FLOW, **how)
    assert whole_clock.steps == list(range(1, 25))  # the budget ends it, not the recipe's steps

    clock = Seconds(kill=17)
    how |= {"folder": tmp_path, "on_step": clock.on_step}
    with pytest.raises(Killed):
        diffusion.train_diffusion(noise(), FLOW, **how | {"watch": watched(clock)})
    clock.kill, clock.seconds = 0, clock.seconds + 1000
    watch = watched(clock)
    resumed = diffusion.train_diffusion(noise(), FLOW, **how | {"watch": watch})
    again = clock.steps[17]
    assert clock.steps == [*range(1, 18), *range(again, 25)]
    assert 10 * (17 + 1 - again) <= Watch.KEEP_EVERY
    assert watch.curve == whole_watch.curve
    assert [point["steps"] for point in watch.curve] == [6, 12, 18, 24]
    for name, value in whole.unet.state_dict().items():
        assert torch.equal(value, resumed.unet.state_dict()[name]), name
    # The best was the first: what is returned is neither the last nor the start.
    first = next(iter(resumed.unet.parameters())).detach().abs().mean().item()
    assert first == pytest.approx(watch.curve[0]["weight"])
    assert first != pytest.approx(watch.curve[-1]["weight"], abs=1e-7)
    # Nothing is left to do.
    ended = diffusion.train_diffusion(noise(), FLOW, **how | {"watch": watched(clock)})
    assert clock.steps[-1] == 24
    assert torch.equal(next(iter(ended.unet.parameters())), next(iter(whole.unet.parameters())))


def test_the_cooldown_lowers_the_rate_of_the_optimizer():
    clock = Seconds()
    watch = watched(clock)
    watch.budget = replace(watch.budget, minutes=1.0, cooldown=1.0)
    seen = []
    real = torch.optim.AdamW.step

    def step(optimizer, *given):
        seen.append(optimizer.param_groups[0]["lr"])
        return real(optimizer, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        how = {"seed": 0, "on_step": clock.on_step, "watch": watch}
        diffusion.train_diffusion(noise(), replace(FLOW, warmup_steps=0), **how)
    expected = [FLOW.learning_rate * (6 - k) / 6 for k in range(6)]
    assert seen == pytest.approx(expected)
