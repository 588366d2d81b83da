"""The diffusion model that reads captions: its network, training, guidance and files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.generate import text_diffusion as text
from synthbook.generate.diffusion import sample
from synthbook.generate.text_diffusion import TextDiffusionRecipe
from synthbook.recognize import language_image as clip
from synthbook.recognize.language_image import ClipConfig

WORDS = ClipConfig(
    embed_dim=8, width=2, image_size=32, text_width=16, text_layers=1, text_heads=2,
    context_length=8, merges=300,
)  # fmt: skip
RECIPE = TextDiffusionRecipe(
    channels=(16, 32), attention_heads=2, steps=60, batch_size=16, warmup_steps=5, ema_decay=0.9,
    learning_rate=5e-3, flip=False,
)  # fmt: skip
NAMES = ("dark", "bright")


@pytest.fixture(scope="module")
def encoder():
    return clip.text_encoder(clip.create(WORDS, seed=0), WORDS)


@pytest.fixture(scope="module")
def images():
    labels = np.arange(32) % 2
    pixels = np.where(labels, 210, 40)[:, None, None, None]
    noise = np.random.default_rng(0).integers(-15, 15, (32, 8, 8, 1))
    return ImageSet((pixels + noise).astype(np.uint8), labels, NAMES, "light")


def caption(number: int, step: int) -> str:
    return f"{('a', 'one')[step % 2]} {NAMES[number % 2]} one"


def encode(encoder):
    def states(texts):
        how = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
        tokens = clip.transformers_tokenizer(WORDS)(list(texts), **how).input_ids
        return encoder(tokens).last_hidden_state

    return states


def trained(images, encoder, **how):
    return text.train_text_diffusion(images, caption, encode(encoder), RECIPE, seed=0, **how)


@pytest.fixture(scope="module")
def pipeline(images, encoder):
    unet = trained(images, encoder)
    return text.as_pipeline(unet, encoder, clip.transformers_tokenizer(WORDS), RECIPE)


def mean(pipeline, prompt, scale, count=6):
    how = {"guidance_scale": scale, "num_inference_steps": 6, "seed": 0}
    return sample(pipeline, [prompt] * count, **how).mean()


def test_images_are_what_the_caption_says(pipeline):
    assert mean(pipeline, "a bright one", 2.0) - mean(pipeline, "a dark one", 2.0) > 60


def test_guidance_goes_on_from_no_caption_to_the_caption(pipeline):
    """eps = eps_null + g (eps_given - eps_null): at 0 a caption has no say, at 1 no other has."""
    how = {"num_inference_steps": 3, "seed": 1}
    with torch.no_grad():
        given = pipeline.encode_prompt(["a bright one"] * 2)
        null = pipeline.encode_prompt([""]).expand(2, -1, -1)
        noise = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
        at = {g: pipeline.predict(noise, 500, given, null, g) for g in (0, 1, 3)}
    torch.testing.assert_close(at[3], at[0] + 3 * (at[1] - at[0]), rtol=1e-3, atol=1e-4)
    assert (at[1] - at[0]).abs().max() > 1e-3
    words = [sample(pipeline, [w] * 2, guidance_scale=1.0, **how) for w in ("a dark one", "")]
    assert not np.array_equal(*words)


@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_dropped_captions_are_empty_and_others_are_not(images, encoder, dropout):
    asked = []

    def states(texts):
        asked.extend(texts)
        return encode(encoder)(texts)

    recipe = replace(RECIPE, steps=2, caption_dropout=dropout)
    text.train_text_diffusion(images, caption, states, recipe, seed=0)
    nothing, *rest = asked
    assert nothing == ""
    assert len(rest) == 2 * recipe.batch_size
    assert {told == "" for told in rest} == {dropout == 1}


def test_without_guidance_a_caption_has_no_say_in_an_image(encoder):
    unet = text.build_unet(RECIPE, image_size=8, channels=1, width=16, seed=0).eval()
    untrained = text.as_pipeline(unet, encoder, clip.transformers_tokenizer(WORDS), RECIPE)

    def image(words, scale):
        draw = [torch.Generator().manual_seed(0)]
        how = {"guidance_scale": scale, "num_inference_steps": 2, "generator": draw}
        return untrained(words, **how).images

    nothing = image("", 1)
    np.testing.assert_allclose(image("a dark one", 0), nothing, atol=1e-5)
    assert np.abs(image("a dark one", 1) - nothing).max() > 1e-4


def test_an_image_is_the_same_alone(pipeline):
    prompts = ["a dark one", "a bright one", "a dark one"]
    how = {"guidance_scale": 2.0, "num_inference_steps": 3, "seed": 0}
    together, apart = (sample(pipeline, prompts, batch_size=n, **how) for n in (3, 1))
    assert np.abs(together.astype(int) - apart).max() <= 1
    embedded = pipeline(
        prompt_embeds=pipeline.encode_prompt(["a dark one"]), num_inference_steps=3,
        generator=[torch.Generator().manual_seed(5)],
    ).images  # fmt: skip
    told = pipeline(
        "a dark one", num_inference_steps=3, generator=[torch.Generator().manual_seed(5)]
    ).images
    np.testing.assert_allclose(embedded, told, atol=1e-6)
    assert pipeline("a dark one", num_inference_steps=1, output_type="pil").images[0].size == (8, 8)


def test_a_stopped_training_goes_on(images, encoder, pipeline, tmp_path):
    def stop(done, numbers):
        if done == 30:
            raise KeyboardInterrupt

    how = {"folder": tmp_path, "checkpoint_every": 20}
    with pytest.raises(KeyboardInterrupt):
        trained(images, encoder, on_step=stop, **how)
    again = trained(images, encoder, **how)
    for name, value in pipeline.unet.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_what_was_saved_is_read_again(pipeline, encoder, tmp_path):
    how = {"guidance_scale": 1.5, "num_inference_steps": 3, "seed": 0}
    before = sample(pipeline, ["a dark one"] * 2, **how)
    text.save(pipeline, tmp_path)
    assert next(pipeline.unet.parameters()).dtype == torch.float32
    assert not any("text" in path.name for path in tmp_path.rglob("*"))
    again = text.load(tmp_path, encoder, clip.transformers_tokenizer(WORDS))
    assert np.abs(sample(again, ["a dark one"] * 2, **how).astype(int) - before).max() <= 2
    wider = ClipConfig(**{**WORDS.__dict__, "text_width": 32})
    other = clip.text_encoder(clip.create(wider, seed=0), wider)
    with pytest.raises(InputError, match="reads 16 numbers a token and the text encoder gives 32"):
        text.load(tmp_path, other, clip.transformers_tokenizer(wider))
    (tmp_path / text.TOLD).unlink()
    with pytest.raises(InputError, match="holds no text-to-image model"):
        text.load(tmp_path, encoder, clip.transformers_tokenizer(WORDS))


def test_sizes_that_cannot_be_halved():
    with pytest.raises(InputError, match="10 is not divisible by 4"):
        text.build_unet(RECIPE, image_size=10, channels=1, width=16, seed=0)
