"""Starting from images: how far, in how many steps, and with the book's own pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from synthbook.errors import InputError
from synthbook.generate import diffusion, text_diffusion
from synthbook.generate.from_images import (
    STRENGTHS,
    own_side,
    share,
    sister,
    steps_of,
    strength_of,
)
from synthbook.generate.image_pipelines import noised, started
from synthbook.generate.started import images_of_classes
from synthbook.generate.text import TextToImage
from synthbook.generate.text_diffusion import TextDiffusionRecipe
from synthbook.generate.unet import DiffusionRecipe, build_unet
from synthbook.randomness import torch_generator
from synthbook.recognize import language_image as clip
from synthbook.recognize.language_image import ClipConfig

LABELS, SEEDS = [0, 3, None, 1, 2, 0, 4, 1, 3, 2], [*range(10, 20)]
HOW = {"guidance_scale": 2.0, "num_inference_steps": 4}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def starts(count: int, channels: int = 3, side: int = 8) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [*draw.integers(0, 256, (count, side, side, channels), dtype=np.uint8)]


def of_classes(prediction: str = "flow", channels: int = 3) -> Any:
    """Return an untrained pipeline of five classes, images of 8 pixels in patches of 2."""
    recipe = DiffusionRecipe(channels=(8, 8), patch=2, prediction=prediction)
    unet = build_unet(recipe, seed=0, image_size=8, channels=channels, num_classes=5)
    return diffusion.as_pipeline(unet, recipe)


@pytest.fixture(scope="module")
def of_captions() -> Any:
    config = ClipConfig(
        embed_dim=8, width=2, image_size=32, text_width=16, text_layers=1, text_heads=2,
        context_length=16, merges=300,
    )  # fmt: skip
    recipe = TextDiffusionRecipe(channels=(16, 32), attention_heads=2)
    unet = text_diffusion.build_unet(recipe, image_size=8, channels=3, width=16, seed=0)
    encoder = clip.text_encoder(clip.create(config, seed=0), config)
    words = clip.transformers_tokenizer(config)
    return text_diffusion.as_pipeline(unet.eval(), encoder, words, recipe)


# ---- how far -------------------------------------------------------------------------------------


def test_the_rule_is_that_of_the_public_code_and_falls_in_between() -> None:
    assert [strength_of(shots) for shots in (1, 2, 4, 8, 16)] == [0.5, 0.4, 0.35, 0.2, 0.15]
    all_of_them = [strength_of(shots) for shots in range(1, 40)]
    assert all_of_them == sorted(all_of_them, reverse=True)
    assert {strength_of(shots) for shots in (16, 17, 1000)} == {STRENGTHS[16]}
    assert 0.2 < strength_of(6) < 0.35
    with pytest.raises(InputError, match=r"0 real images of a class.*needs one"):
        strength_of(0)


@given(st.floats(0.001, 1), st.integers(1, 250))
def test_the_steps_that_are_left_begin_at_the_strength(strength: float, steps: int) -> None:
    n, m = steps_of(strength, steps, most=10**6)
    assert 1 <= n <= m
    assert abs(n - strength * steps) <= 0.5 or n == 1
    assert abs(m - n / strength) <= 4
    # as pipelines of diffusers cut it, in either way
    assert int(m * share(n, m)) == n
    assert int(m - m * share(n, m)) == m - n


def test_the_steps_of_the_public_code_are_had_exactly() -> None:
    assert [steps_of(s, 100) for s in STRENGTHS.values()] == [
        (50, 100), (40, 100), (35, 100), (20, 100), (15, 100),
    ]  # fmt: skip
    assert steps_of(1, 7) == (7, 7)
    for bad in (0.0, -1.0, 1.01, float("nan")):
        with pytest.raises(InputError, match="is no share of the noise"):
            steps_of(bad, 10)
    with pytest.raises(InputError, match="finer than the 1000"):
        steps_of(1e-4, 10)


@pytest.mark.parametrize("prediction", ["flow", "epsilon"])
def test_the_noise_is_that_of_the_formula(prediction: str) -> None:
    scheduler = of_classes(prediction).scheduler
    x, eps = (torch.randn(3, 2, 4, 4, generator=torch_generator(0, k)) for k in "ab")
    made, left = noised(scheduler, x, eps, strength=share(3, 12), steps=12)
    assert len(left) == 3
    if prediction == "flow":
        t = float(scheduler.sigmas[-4])
        assert t == pytest.approx(3 / 12, abs=1e-3)
        wanted = (1 - t) * x + t * eps
    else:
        abar = scheduler.alphas_cumprod[int(left[0])]
        wanted = abar.sqrt() * x + (1 - abar).sqrt() * eps
    torch.testing.assert_close(made, wanted, rtol=1e-3, atol=1e-3)


# ---- the book's own pipelines --------------------------------------------------------------------


def classes(pipeline: Any, chosen: list[int], strength: float, **how: Any) -> np.ndarray:
    images = starts(10, pipeline.unet.config.in_channels // 4)  # patches of 2
    return images_of_classes(
        pipeline, [LABELS[k] for k in chosen], [SEEDS[k] for k in chosen],
        [images[k] for k in chosen], strength=strength, **HOW | how,
    )  # fmt: skip


def captions(pipeline: Any, chosen: list[int], strength: float, **how: Any) -> np.ndarray:
    images = np.stack(starts(10))
    prompts = [("a dog", "a cat on green ground", "")[k % 3] for k in chosen]
    seeds = [SEEDS[k] for k in chosen]
    how = HOW | {"from_images": images[chosen], "strength": strength} | how
    return TextToImage(pipeline).images(prompts, seeds, **how).images


@pytest.fixture(params=["flow", "epsilon", "captions"])
def made(request: pytest.FixtureRequest, of_captions: Any) -> Callable[..., np.ndarray]:
    """What makes images from images number ``chosen`` at a strength."""
    if request.param == "captions":
        return lambda *given, **how: captions(of_captions, *given, **how)
    pipeline = of_classes(request.param)
    return lambda *given, **how: classes(pipeline, *given, **how)


def test_an_image_is_the_same_alone_and_in_a_batch(made: Callable[..., np.ndarray]) -> None:
    many = made([*range(10)], 0.4)
    for k in (0, 2, 9):
        np.testing.assert_array_equal(made([k], 0.4)[0], many[k])
    np.testing.assert_array_equal(made([*range(10)][::-1], 0.4)[::-1], many)


def test_a_strength_near_0_gives_the_image_back(made: Callable[..., np.ndarray]) -> None:
    images = np.stack(starts(10)).astype(int)
    apart = [np.abs(made([0, 1, 2], s) - images[:3]).mean() for s in (0.001, 0.1, 0.6)]
    assert apart[0] < 3
    assert apart[0] < apart[1] < apart[2]


def test_strength_1_is_plain_sampling_of_classes() -> None:
    pipeline = of_classes()
    labels, lanes = LABELS[:8], SEEDS[:8]
    draws = [torch_generator(seed, "sample", 0) for seed in lanes]
    plain = pipeline(labels, generator=draws, **HOW).images
    images = classes(pipeline, [*range(8)], 1.0)
    np.testing.assert_array_equal(images, np.rint(plain * 255).astype(np.uint8))


def test_strength_1_is_plain_sampling_of_captions(of_captions: Any) -> None:
    one = captions(of_captions, [0, 1, 2], 1.0)
    prompts, seeds = ["a dog", "a cat on green ground", ""], SEEDS[:3]
    plain = TextToImage(of_captions).images(prompts, seeds, **HOW).images
    np.testing.assert_array_equal(one, plain)
    direct = started(of_captions)
    pictures = [Image.fromarray(image) for image in starts(2)]
    draws = [torch_generator(k, "x") for k in range(2)]
    again = direct(["a dog"] * 2, pictures, strength=1.0, generator=draws, **HOW).images
    draws = [torch_generator(k, "x") for k in range(2)]
    np.testing.assert_array_equal(again, of_captions(["a dog"] * 2, generator=draws, **HOW).images)


def test_what_is_asked_for_and_the_start_both_count(of_captions: Any) -> None:
    pictures = [Image.fromarray(image) for image in starts(2)]
    pipeline = sister(of_captions, "own")

    def image(prompt: str, start: int, **how: Any) -> np.ndarray:
        draw = [torch_generator(0, "x")]
        how = {**HOW, "strength": 0.5, "generator": draw, **how}
        return pipeline(prompt, [pictures[start]], **how).images

    assert not np.array_equal(image("a dog", 0), image("a dog", 1))
    assert not np.array_equal(image("a dog", 0), image("some other thing", 0))
    assert image("a dog", 0, output_type="pil")[0].size == (8, 8)
    states = pipeline.encode_prompt(["a dog"])
    embedded = pipeline(
        image=pictures[:1], prompt_embeds=states, strength=0.5, **HOW,
        generator=[torch_generator(0, "x")],
    ).images  # fmt: skip
    np.testing.assert_allclose(embedded, image("a dog", 0), atol=1e-6)


def test_grey_images_start_grey_ones() -> None:
    assert classes(of_classes(channels=1), [0, 1], 0.3).shape == (2, 8, 8, 1)


def test_the_plain_pipeline_is_left_as_it_was(of_captions: Any) -> None:
    plain = TextToImage(of_captions).images(["a dog"], [1], **HOW).images
    captions(of_captions, [0, 1], 0.3)
    np.testing.assert_array_equal(
        TextToImage(of_captions).images(["a dog"], [1], **HOW).images, plain
    )


def test_their_own_side_is_known(of_captions: Any) -> None:
    assert own_side(of_captions) == own_side(of_classes()) == 8
    assert own_side(SimpleNamespace()) == 0
    other = SimpleNamespace(default_sample_size=64, vae_scale_factor=8)
    assert own_side(other) == 512


def test_a_pipeline_without_a_sister_is_refused() -> None:
    with pytest.raises(InputError, match="cannot start from images"):
        sister(SimpleNamespace(), "other")


def test_other_schedulers_start_from_images_too(of_captions: Any) -> None:
    own = of_captions.scheduler
    try:
        of_captions.scheduler = DPMSolverMultistepScheduler.from_config(
            own.config, algorithm_type="sde-dpmsolver++"
        )
        near = captions(of_captions, [0, 1], 0.001)
        assert np.abs(near - np.stack(starts(10))[:2].astype(int)).mean() < 3
    finally:
        of_captions.scheduler = own
