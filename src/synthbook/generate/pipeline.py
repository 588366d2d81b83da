"""The class-conditional diffusion pipeline; this module imports diffusers, which is slow.

It stands apart from ``diffusion.py`` so that a page that reads cached images imports neither.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, SchedulerMixin, UNet2DModel
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle


class ClassConditionalPipeline(DiffusionPipeline):
    """Images of given classes from noise, with classifier-free guidance (Ho & Salimans 2022).

    The U-Net has one class embedding more than there are classes; the last is the null class. It
    sees squares of ``patch`` pixels as channels.
    """

    model_cpu_offload_seq = "unet"

    def __init__(self, unet: UNet2DModel, scheduler: SchedulerMixin, patch: int = 1) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
        self.register_to_config(patch=patch)

    @property
    def null_class(self) -> int:
        """The label that stands for "no class"; equal to the number of classes."""
        return self.unet.config.num_class_embeds - 1

    def predict(
        self, images: Tensor, timestep: Tensor | int, labels: Tensor, guidance_scale: float
    ) -> Tensor:
        """Return the guided prediction [N, C, H, W] for noisy ``images`` of ``labels`` [N].

        eps = eps_null + g (eps_cond - eps_null), Ho & Salimans 2022, Eq. 6 with g = 1 + w. For a
        network that predicts v the same formula guides v, as v is affine in eps given the image.
        """
        null = torch.full_like(labels, self.null_class)
        if guidance_scale == 1:  # both cases need one half of the work only
            return self.unet(images, timestep, labels).sample
        if guidance_scale == 0:
            return self.unet(images, timestep, null).sample
        both = self.unet(torch.cat([images, images]), timestep, torch.cat([null, labels])).sample
        without, given = both.chunk(2)
        return without + guidance_scale * (given - without)

    @torch.no_grad()
    def __call__(
        self,
        class_labels: Sequence[int | None],
        *,
        guidance_scale: float = 1.0,
        num_inference_steps: int = 20,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "np",
    ) -> ImagePipelineOutput:
        """Return an output whose ``images`` are float [N, H, W, C] in 0..1, or PIL images.

        ``class_labels`` are 0..classes-1, or None for an image without a class. With a list of
        generators, one an image, an image does not depend on the others.
        """
        labels = [self.null_class if label is None else int(label) for label in class_labels]
        labels = torch.tensor(labels, device=self.device)
        patch = self.config.patch
        size, channels = self.unet.config.sample_size * patch, self.unet.config.in_channels
        shape = (len(labels), channels // patch**2, size, size)
        images = randn_tensor(shape, generator=generator, device=self.device).to(self.unet.dtype)
        images = pixel_unshuffle(images, patch)
        self.scheduler.set_timesteps(num_inference_steps, device=self.device)
        images = images * self.scheduler.init_noise_sigma
        for timestep in self.scheduler.timesteps:
            noisy = self.scheduler.scale_model_input(images, timestep)
            prediction = self.predict(noisy, timestep, labels, guidance_scale)
            images = self.scheduler.step(prediction, timestep, images).prev_sample
        images = pixel_shuffle(images, patch)
        images = (images.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
        return ImagePipelineOutput(self.numpy_to_pil(images) if output_type == "pil" else images)
