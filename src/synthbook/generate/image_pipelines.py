"""The book's own pipelines, started from images; this module imports diffusers, which is slow.

They take what diffusers' image-to-image pipelines take, and have the parts and the steps of those
that start from noise (``pipeline``, ``text_pipeline``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from synthbook.generate.pipeline import ClassConditionalPipeline, denoised
from synthbook.generate.text_pipeline import TextToPixelsPipeline
from synthbook.training import normalise

Generators = torch.Generator | list[torch.Generator] | None


def noised(
    scheduler: Any, clean: Tensor, eps: Tensor, *, strength: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Return x_t0 [N, C, H, W] of clean images, and the timesteps that are left from t0 on.

    Of ``steps`` the last int(steps strength) are left, as in diffusers. The scheduler knows what
    its noise is: (1 - t) x + t eps for flow matching, sqrt(abar) x + sqrt(1 - abar) eps else.
    """
    scheduler.set_timesteps(steps, device=clean.device)
    skipped = (steps - int(steps * strength)) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    left = scheduler.timesteps[skipped:]
    return scheduler.add_noise(clean, eps, left[:1].repeat(len(clean))), left


def _started(
    pipeline: DiffusionPipeline, image: Sequence[Image.Image], strength: float, steps: int,
    generator: Generators, predict: Callable[[Tensor, Tensor], Tensor], output_type: str,
) -> ImagePipelineOutput:  # fmt: skip
    """Return images that start from ``image``; ``predict`` is the guided network at (x, t)."""
    patch, dtype = pipeline.config.patch, pipeline.unet.dtype
    pixels = np.stack([np.asarray(one) for one in image])
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    clean = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2)).to(pipeline.device)
    eps = randn_tensor(clean.shape, generator=generator, device=pipeline.device)
    clean, eps = (pixel_unshuffle(x.to(dtype), patch) for x in (clean, eps))
    x, left = noised(pipeline.scheduler, clean, eps, strength=strength, steps=steps)
    x = denoised(pipeline.scheduler, x, left, predict)
    x = (pixel_shuffle(x, patch).float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
    return ImagePipelineOutput(pipeline.numpy_to_pil(x) if output_type == "pil" else x)


class ClassConditionalFromImages(ClassConditionalPipeline):
    """Images of given classes that start from images."""

    @torch.no_grad()
    def __call__(
        self, class_labels: Sequence[int | None], image: Sequence[Image.Image], *,
        strength: float = 0.5, guidance_scale: float = 1.0, num_inference_steps: int = 20,
        generator: Generators = None, output_type: str = "np",
    ) -> ImagePipelineOutput:  # fmt: skip
        """Return an output as the plain pipeline's; ``image`` is one a label, of its own size.

        Strength 1 is the plain pipeline: it begins with noise alone.
        """
        how = {"generator": generator, "output_type": output_type}
        if strength == 1:
            how |= {"guidance_scale": guidance_scale, "num_inference_steps": num_inference_steps}
            return super().__call__(class_labels, **how)
        numbers = [self.null_class if label is None else int(label) for label in class_labels]
        labels = torch.tensor(numbers, device=self.device)
        return _started(
            self, image, strength, num_inference_steps,
            predict=lambda x, t: self.predict(x, t, labels, guidance_scale), **how,
        )  # fmt: skip


class TextToPixelsFromImages(TextToPixelsPipeline):
    """Images of captions that start from images."""

    @torch.no_grad()
    def __call__(
        self, prompt: str | Sequence[str] | None = None, image: Sequence[Image.Image] = (), *,
        prompt_embeds: Tensor | None = None, strength: float = 0.5, guidance_scale: float = 2.0,
        num_inference_steps: int = 20, generator: Generators = None, output_type: str = "np",
    ) -> ImagePipelineOutput:  # fmt: skip
        """Return an output as the plain pipeline's; ``image`` is one a caption, of its own size.

        Strength 1 is the plain pipeline: it begins with noise alone.
        """
        how = {"generator": generator, "output_type": output_type}
        if strength == 1:
            how |= {"guidance_scale": guidance_scale, "num_inference_steps": num_inference_steps}
            return super().__call__(prompt, prompt_embeds=prompt_embeds, **how)
        prompt = [prompt] if isinstance(prompt, str) else prompt
        given = self.encode_prompt(prompt) if prompt_embeds is None else prompt_embeds
        given = given.to(self.unet.dtype)
        null = self.encode_prompt([""]).to(given.dtype).expand(len(given), -1, -1)
        return _started(
            self, image, strength, num_inference_steps,
            predict=lambda x, t: self.predict(x, t, given, null, guidance_scale), **how,
        )  # fmt: skip


def started(pipeline: DiffusionPipeline) -> DiffusionPipeline:
    """Return the pipeline of the same parts that starts from images."""
    kinds = {
        ClassConditionalPipeline: ClassConditionalFromImages,
        TextToPixelsPipeline: TextToPixelsFromImages,
    }
    found = kinds[type(pipeline)](**pipeline.components, patch=pipeline.config.patch)
    found.set_progress_bar_config(disable=True)
    return found
