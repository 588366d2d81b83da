"""Diffusion models: the loss and guidance by hand, resuming, and sampling image by image."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.generate import diffusion
from synthbook.generate.unet import DiffusionRecipe, build_unet, training_scheduler
from synthbook.randomness import torch_generator
from synthbook.training import TrainingError

torch.set_num_threads(1)
TINY = DiffusionRecipe(channels=(8, 8), steps=6, batch_size=8, warmup_steps=0, ema_decay=0.5)


def stripes(count: int = 40, channels: int = 1, size: int = 8) -> ImageSet:
    """Return images of two classes: the left or the right half is bright."""
    labels = np.arange(count) % 2
    images = np.zeros((count, size, size, channels), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, label * size // 2 : (label + 1) * size // 2] = 230
    return ImageSet(images, labels, ("left", "right"), "stripes")


@pytest.fixture(scope="module")
def pipeline():
    return diffusion.train_diffusion(stripes(), TINY, seed=0)


def weights(pipeline) -> dict[str, torch.Tensor]:
    return pipeline.unet.state_dict()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_loss_equals_the_formula_written_out(prediction):
    recipe = DiffusionRecipe(channels=(8,), prediction=prediction)
    unet = build_unet(recipe, image_size=8, channels=1, num_classes=2, seed=0)
    draw = torch_generator(0, "test")
    clean, noise = torch.randn(2, 5, 1, 8, 8, generator=draw)
    labels, timesteps = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 10, 400, 800, 999])
    # Nichol & Dhariwal 2021, Eq. 17: betas from the squared cosine, capped at 0.999.
    time = torch.arange(1001, dtype=torch.float64) / 1000
    f = torch.cos((time + 0.008) / 1.008 * torch.pi / 2) ** 2
    kept = torch.cumprod(1 - torch.clamp(1 - f[1:] / f[:-1], max=0.999), 0)
    a = kept[timesteps].float()[:, None, None, None]
    noisy = a.sqrt() * clean + (1 - a).sqrt() * noise
    velocity = a.sqrt() * noise - (1 - a).sqrt() * clean
    target = noise if prediction == "epsilon" else velocity
    expected = ((unet(noisy, timesteps, labels).sample - target) ** 2).mean()
    loss = diffusion.prediction_loss(
        unet, training_scheduler(recipe), clean, labels, noise, timesteps
    )
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_timesteps_are_uniform_and_spread():
    draws = torch.stack(
        [diffusion.spread_timesteps(10, 1000, torch_generator(0, k)) for k in range(2000)]
    )
    assert draws.min() >= 0
    assert draws.max() <= 999
    assert (draws // 100 == torch.arange(10)).all()  # one in each tenth
    shares = torch.bincount((draws % 100 // 10).flatten(), minlength=10) / draws.numel()
    assert (shares - 0.1).abs().max() < 0.02


def test_guidance_is_linear_from_unconditional_to_conditional(pipeline):
    images, labels = torch.randn(4, 1, 8, 8, generator=torch_generator(1)), torch.tensor([0, 1] * 2)

    def predict(scale: float, given: torch.Tensor = labels) -> torch.Tensor:
        return pipeline.predict(images, 500, given, scale)

    null = predict(1, torch.full_like(labels, pipeline.null_class))
    torch.testing.assert_close(predict(0), null)
    torch.testing.assert_close(predict(1.0 + 1e-7), predict(1), rtol=1e-4, atol=1e-5)
    expected = null + 2.5 * (predict(1) - null)
    torch.testing.assert_close(predict(2.5), expected, rtol=1e-4, atol=1e-5)
    assert (predict(1) - null).abs().max() > 1e-4  # or the three lines above say nothing


def test_an_image_depends_on_its_own_stream_only(pipeline):
    conditions = [0, 1, None, 1, 0, 1, None]
    how = {"guidance_scale": 2.0, "num_inference_steps": 4, "seed": 3}
    together = diffusion.sample(pipeline, conditions, **how)
    assert together.shape == (7, 8, 8, 1)
    assert together.dtype == np.uint8
    for batch_size in (1, 2, 5):
        parts = diffusion.sample(pipeline, conditions, batch_size=batch_size, **how)
        assert np.abs(parts.astype(int) - together).max() <= 1
    fewer = diffusion.sample(pipeline, conditions[:4], **how)
    assert np.abs(fewer.astype(int) - together[:4]).max() <= 1
    other = diffusion.sample(pipeline, [1, *conditions[1:]], **how)
    assert np.abs(other[1:].astype(int) - together[1:]).max() <= 1
    assert np.abs(diffusion.sample(pipeline, conditions, **{**how, "seed": 4}) - together).max() > 9


def test_saved_pipeline_is_a_diffusers_folder_and_gives_the_same_images(pipeline, tmp_path, capfd):
    how = {"guidance_scale": 1.5, "num_inference_steps": 3, "seed": 0}
    before = diffusion.sample(pipeline, [0, 1, None], **how)
    diffusion.save(pipeline, tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["_class_name"] == "ClassConditionalPipeline"
    assert list((tmp_path / "unet").glob("*.safetensors"))
    assert not list(tmp_path.rglob("*.bin"))
    capfd.readouterr()
    loaded = diffusion.load(tmp_path)
    np.testing.assert_array_equal(diffusion.sample(loaded, [0, 1, None], **how), before)
    assert type(loaded).__name__ == "ClassConditionalPipeline"
    assert "".join(capfd.readouterr()) == ""  # no progress bars in a notebook
    with pytest.raises(InputError, match="no pipeline"):
        diffusion.load(tmp_path / "unet")


def test_weights_in_the_layout_of_a_gpu_can_be_saved(tmp_path):
    unet = build_unet(TINY, image_size=8, channels=3, num_classes=2, seed=0)
    unet.to(memory_format=torch.channels_last)
    diffusion.save(diffusion.as_pipeline(unet, TINY), tmp_path)
    loaded = diffusion.load(tmp_path).unet.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in unet.state_dict().items())


def test_killed_and_resumed_equals_never_killed(pipeline, tmp_path):
    class Killed(Exception):
        pass

    steps: list[int] = []

    def kill(step: int, losses: dict[str, float]) -> None:
        steps.append(step)
        if step == 5 and len(steps) == 5:
            raise Killed

    how = {"seed": 0, "folder": tmp_path, "checkpoint_every": 2, "on_step": kill}
    with pytest.raises(Killed):
        diffusion.train_diffusion(stripes(), TINY, **how)
    resumed = diffusion.train_diffusion(stripes(), TINY, **how)
    assert steps == [1, 2, 3, 4, 5, 5, 6]
    for name, value in weights(resumed).items():
        assert torch.equal(value, weights(pipeline)[name]), name
    with pytest.raises(InputError, match="seed = 0, not 1"):
        diffusion.train_diffusion(stripes(), TINY, **{**how, "seed": 1})


def test_average_equals_the_recursion(pipeline):
    """theta_1 = w_1, theta_k = d theta_(k-1) + (1 - d) w_k over the weights after each step."""
    after = []
    for steps in range(1, 4):
        recipe = replace(TINY, steps=steps, schedule="constant", ema_decay=0.0)
        after.append(weights(diffusion.train_diffusion(stripes(), recipe, seed=0)))
    recipe = replace(TINY, steps=3, schedule="constant", ema_decay=0.5)
    averaged = weights(diffusion.train_diffusion(stripes(), recipe, seed=0))
    for name, value in averaged.items():
        expected = 0.25 * after[0][name] + 0.25 * after[1][name] + 0.5 * after[2][name]
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


def test_dropped_labels_reach_only_the_null_class():
    recipe = replace(TINY, condition_dropout=1.0, ema_decay=0.0)
    start = build_unet(recipe, image_size=8, channels=1, num_classes=2, seed=0)
    after = diffusion.train_diffusion(stripes(), recipe, seed=0).unet.class_embedding.weight
    before = start.class_embedding.weight
    assert torch.equal(after[:2], before[:2])
    assert not torch.equal(after[2], before[2])


def test_training_lowers_the_loss_and_learns_the_classes():
    losses = []
    recipe = DiffusionRecipe(
        channels=(8, 16), steps=150, batch_size=16, learning_rate=5e-3, ema_decay=0.9
    )
    images = stripes()
    pipeline = diffusion.train_diffusion(
        images, recipe, seed=0, on_step=lambda _, loss: losses.append(loss["loss"])
    )
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])
    made = diffusion.sample(pipeline, [0, 1] * 10, guidance_scale=1, num_inference_steps=10, seed=0)
    left = made[:, :, :4].mean((1, 2, 3)) - made[:, :, 4:].mean((1, 2, 3))
    assert (left[0::2] > 50).mean() > 0.9
    assert (left[1::2] < -50).mean() > 0.9


def test_global_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    diffusion.train_diffusion(stripes(), replace(TINY, steps=1), seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_not_finite_stops_with_the_step(tmp_path):
    recipe = replace(TINY, learning_rate=1e30, steps=20, schedule="constant")
    with pytest.raises(TrainingError, match=r"step \d+"):
        diffusion.train_diffusion(stripes(), recipe, seed=0, folder=tmp_path)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"channels": (8, 8, 8)}, "image size 10 is not divisible by 4"),
        ({"channels": (8, 6)}, "holds 6.* multiple of 4"),
        ({"attention": (2,)}, "levels are 0..1"),
    ],
)
def test_bad_recipes_say_what_is_wrong(settings, says):
    with pytest.raises(InputError, match=says):
        build_unet(replace(TINY, **settings), image_size=10, channels=1, num_classes=2, seed=0)


def test_rgb_with_attention_and_mixed_precision():
    recipe = DiffusionRecipe(
        channels=(8, 8), attention=(1,), steps=2, batch_size=4, precision="bfloat16", flip=True
    )
    pipeline = diffusion.train_diffusion(stripes(channels=3), recipe, seed=0)
    made = diffusion.sample(pipeline, [0, 1], guidance_scale=3, num_inference_steps=2, seed=0)
    assert made.shape == (2, 8, 8, 3)
