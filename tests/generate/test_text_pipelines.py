"""Sampling with prompts: what a pipeline from text to image is asked, and what it cannot do."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from synthbook.errors import InputError
from synthbook.generate import diffusion

torch.set_num_threads(1)


class TextPipeline:
    """The call of diffusers' StableDiffusionPipeline, which draws from one generator an image."""

    def __init__(self) -> None:
        self.calls: list[dict] = []
        self.bar = {}

    def set_progress_bar_config(self, **settings) -> None:
        self.bar = settings

    def to(self, device: str) -> TextPipeline:
        return self

    def __call__(
        self, prompt, *, guidance_scale, num_inference_steps, generator, output_type
    ) -> SimpleNamespace:
        assert len(prompt) == len(generator)
        assert output_type == "np"
        self.calls.append({"prompt": copy.copy(prompt), "guidance_scale": guidance_scale})
        images = [
            torch.rand(8, 8, 3, generator=g) * (len(p) > 0)
            for p, g in zip(prompt, generator, strict=True)
        ]
        return SimpleNamespace(images=torch.stack(images).numpy())


def test_prompts_drive_a_text_pipeline():
    text, how = TextPipeline(), {"num_inference_steps": 1, "seed": 5}
    made = diffusion.sample(text, ["a cat", None, "a dog"], guidance_scale=7, batch_size=2, **how)
    assert made.shape == (3, 8, 8, 3)
    assert [c["prompt"] for c in text.calls] == [["a cat", ""], ["a dog"]]
    assert text.bar == {"disable": True}
    assert made[1].max() == 0
    again = diffusion.sample(text, ["a cat", None, "a dog"], guidance_scale=7, **how)
    np.testing.assert_array_equal(made, again)
    diffusion.sample(text, ["a cat"], guidance_scale=0, **how)
    assert text.calls[-1]["prompt"] == [""]
    with pytest.raises(InputError, match="guide only above 1"):
        diffusion.sample(text, ["a cat"], guidance_scale=0.5, **how)


def test_stable_diffusion_itself_can_be_sampled():
    transformers = pytest.importorskip("transformers")
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )

    text = transformers.CLIPTextConfig(
        hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=1,
        vocab_size=1000, max_position_embeddings=77,
    )  # fmt: skip
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, sample_size=16)
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=(8, 8), layers_per_block=1, cross_attention_dim=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), norm_num_groups=4,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=4,
    )  # fmt: skip

    class Words:
        model_max_length = 77

        def __call__(self, texts, **_):
            ids = torch.tensor([[len(t) % 1000] * 77 for t in texts])
            return SimpleNamespace(input_ids=ids, attention_mask=torch.ones_like(ids))

    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=transformers.CLIPTextModel(text), tokenizer=Words(), unet=unet,
        scheduler=DDIMScheduler(), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    made = diffusion.sample(
        pipeline, ["a cat", "a dog"], guidance_scale=3, num_inference_steps=2, seed=0
    )
    assert made.shape[0] == 2
    assert made.shape[3] == 3
