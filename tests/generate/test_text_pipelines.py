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
