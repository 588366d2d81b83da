"""The pipeline from captions to small images; this module imports diffusers, which is slow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import (
    DiffusionPipeline,
    ImagePipelineOutput,
    SchedulerMixin,
    UNet2DConditionModel,
)
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle
from transformers import CLIPTextModel, PreTrainedTokenizerBase

from synthbook.generate.pipeline import denoised, guided


class TextToPixelsPipeline(DiffusionPipeline):
    """Images of captions from noise, in pixels, with classifier-free guidance (Ho & Salimans 2022).

    The U-Net attends to the last hidden states of the text encoder, and sees squares of ``patch``
    pixels as channels. No condition is the empty caption.
    """

    model_cpu_offload_seq = "text_encoder->unet"

    def __init__(
        self,
        unet: UNet2DConditionModel,
        scheduler: SchedulerMixin,
        text_encoder: CLIPTextModel,
        tokenizer: PreTrainedTokenizerBase,
        patch: int = 1,
    ) -> None:
        super().__init__()
        self.register_modules(
            unet=unet, scheduler=scheduler, text_encoder=text_encoder, tokenizer=tokenizer
        )
        self.register_to_config(patch=patch)

    def encode_prompt(self, prompt: Sequence[str]) -> Tensor:
        """Return the hidden states [N, L, D] of captions; of a longer one the first L tokens."""
        length = self.text_encoder.config.max_position_embeddings
        how = {"padding": "max_length", "truncation": True, "max_length": length}
        tokens = self.tokenizer(list(prompt), return_tensors="pt", **how).input_ids
        return self.text_encoder(tokens.to(self.device)).last_hidden_state

    def predict(
        self, images: Tensor, timestep: Tensor | int, given: Tensor, null: Tensor, scale: float
    ) -> Tensor:
        """Return the guided prediction [N, C, H, W] for hidden states [N, L, D] of captions."""
        return guided(self.unet, images, timestep, given, null, scale)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        prompt_embeds: Tensor | None = None,
        guidance_scale: float = 2.0,
        num_inference_steps: int = 20,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "np",
    ) -> ImagePipelineOutput:
        """Return an output whose ``images`` are float [N, H, W, C] in 0..1, or PIL images.

        ``prompt_embeds`` [N, L, D] of ``encode_prompt`` may stand for the captions. Any guidance
        scale is possible: 0 ignores the caption, 1 is the conditional model. With a list of
        generators, one an image, an image does not depend on the others.
        """
        prompt = [prompt] if isinstance(prompt, str) else prompt
        given = self.encode_prompt(prompt) if prompt_embeds is None else prompt_embeds
        given = given.to(self.unet.dtype)
        null = self.encode_prompt([""]).to(given.dtype).expand(len(given), -1, -1)
        patch = self.config.patch
        size, channels = self.unet.config.sample_size * patch, self.unet.config.in_channels
        shape = (len(given), channels // patch**2, size, size)
        images = randn_tensor(shape, generator=generator, device=self.device).to(self.unet.dtype)
        images = pixel_unshuffle(images, patch)
        self.scheduler.set_timesteps(num_inference_steps, device=self.device)
        images = images * self.scheduler.init_noise_sigma
        images = denoised(
            self.scheduler, images, self.scheduler.timesteps,
            lambda x, t: self.predict(x, t, given, null, guidance_scale),
        )  # fmt: skip
        images = pixel_shuffle(images, patch).div(2).add(0.5).clamp(0, 1)
        images = images.permute(0, 2, 3, 1).float().cpu().numpy()
        if output_type == "pil":
            images = self.numpy_to_pil(images)
        return ImagePipelineOutput(images=images)
