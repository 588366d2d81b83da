"""The recipes of the generators that come with the book, and of larger ones, for any image size."""

from __future__ import annotations

from itertools import count
from typing import Any

from synthbook.errors import InputError, check_choice
from synthbook.gans.recipes import GanRecipe
from synthbook.generate.unet import DiffusionRecipe

# With a budget the clock or the curve on validation images ends a training, not this number.
ENDLESS = 10**8
COARSEST = 4  # pixels of the coarsest level of a U-Net, at least


def diffusion_recipe(size: str, image_size: int) -> DiffusionRecipe:
    """Return the recipe of a diffusion model: "book" or "large", for images of ``image_size``.

    "book": flow matching with a U-Net of some 4 million weights that works on patches of an image.
    "large": that of CIFAR in Nichol and Dhariwal (2021), on pixels up to 32.
    """
    check_choice("recipe", size, RECIPES)
    book = size == "book"
    channels = (64, 96, 128) if book else (128, 256, 256, 256)
    patch = next(p for p in (1, 2, 4) if p == 4 or image_size <= p * (16 if book else 32))
    levels = 1
    while (
        levels < len(channels)
        and image_size % (patch * 2**levels) == 0
        and (image_size // (patch * 2**levels) >= COARSEST)
    ):
        levels += 1
    return DiffusionRecipe(
        channels=channels[:levels], attention=tuple(range(1, levels)), patch=patch,
        layers_per_block=1 if book else 3, prediction="flow", condition_dropout=0.15,
        steps=ENDLESS, batch_size=32 if book else 256, learning_rate=1e-3 if book else 2e-4,
        weight_decay=0.01, schedule="constant", warmup_steps=100, average="warmed",
        ema_decay=0.999 if book else 0.9999, flip=True, precision="auto",
    )  # fmt: skip


def check_patches(size: str, image_size: int) -> None:
    """Raise InputError if patches do not divide the images of a diffusion model of a recipe."""

    def divided(side: int) -> bool:
        return side % diffusion_recipe(size, side).patch == 0

    if divided(image_size):
        return
    below = next(side for side in range(image_size, 0, -1) if divided(side))
    above = next(side for side in count(image_size) if divided(side))
    patch = diffusion_recipe(size, image_size).patch
    raise InputError(
        f"images of {image_size} pixels cannot be cut into squares of {patch} pixels, as the "
        f"diffusion model sees them; give image_size={below} or {above}, or leave diffusion out of "
        "sources"
    )


def gan_recipe(size: str, image_size: int) -> GanRecipe:
    """Return the recipe of a GAN with a projected discriminator (Sauer et al. 2021)."""
    check_choice("recipe", size, RECIPES)
    book = size == "book"
    return GanRecipe(
        architecture="projected", channels=40 if book else 64, latent=64,
        steps=ENDLESS, batch_size=32 if book else 64, schedule="constant", betas=(0.0, 0.99),
        generator_learning_rate=1e-3 if book else 2e-4,
        discriminator_learning_rate=1e-3 if book else 2e-4,
        ema_decay=0.998, average="warmed", augment="translation,cutout", flip=True,
        standing_images=1000, precision="auto",
    )  # fmt: skip


RECIPES = ("book", "large")
RECIPE_OF = {"diffusion": diffusion_recipe, "gan": gan_recipe}
# What of recipe "book" is another where a step of more images takes hardly longer.
ON_A_GPU: dict[str, dict[str, Any]] = {
    "diffusion": {"batch_size": 128},
    "gan": {
        "batch_size": 64, "generator_learning_rate": 5e-4, "discriminator_learning_rate": 5e-4,
    },
}  # fmt: skip
