"""The class-conditional diffusion pipeline; this module imports diffusers, which is slow.

It stands apart from ``diffusion.py`` so that a page that reads cached images imports neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, SchedulerMixin, UNet2DModel
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle


def guided(
    unet: Any, images: Tensor, timestep: Tensor | int, given: Tensor, null: Tensor, scale: float
) -> Tensor:
    """Return the guided prediction [N, C, H, W] for noisy ``images`` of conditions ``given``.

    eps = eps_null + g (eps_given - eps_null), Ho & Salimans 2022, Eq. 6 with g = 1 + w. For a
    network that predicts v the same formula guides v, as v is affine in eps given the image.
    """
    if scale == 1:  # both cases need one half of the work only
        return unet(images, timestep, given).sample
    if scale == 0:
        return unet(images, timestep, null).sample
    both = unet(torch.cat([images, images]), timestep, torch.cat([null, given])).sample
    without, with_it = both.chunk(2)
    return without + scale * (with_it - without)


def denoised(
    scheduler: Any, x: Tensor, timesteps: Tensor, predict: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Return x [N, C, H, W] after the steps of a scheduler; ``predict`` is the network at (x, t).

    It is the one loop by which the book's own pipelines sample.
    """
    for timestep in timesteps:
        prediction = predict(scheduler.scale_model_input(x, timestep), timestep)
        x = scheduler.step(prediction, timestep, x).prev_sample
    return x


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
        """Return the guided prediction [N, C, H, W] for noisy ``images`` of ``labels`` [N]."""
        null = torch.full_like(labels, self.null_class)
        return guided(self.unet, images, timestep, labels, null, guidance_scale)

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
        images = denoised(
            self.scheduler, images, self.scheduler.timesteps,
            lambda x, t: self.predict(x, t, labels, guidance_scale),
        )  # fmt: skip
        images = pixel_shuffle(images, patch)
        images = (images.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
        return ImagePipelineOutput(self.numpy_to_pil(images) if output_type == "pil" else images)
