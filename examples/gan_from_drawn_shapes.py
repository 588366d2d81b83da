"""A GAN for a hundred images: it learns from drawn shapes first, then from the images.

    python examples/gan_from_drawn_shapes.py my_hundred_images/ samples.png

Primitives-PS (Baek and Shim 2022) has no photograph in it and no end. All weights are transferred,
as in the study's public code: generator, discriminator and averaged generator, each to its own.
"""

import sys
from dataclasses import replace

import numpy as np
from PIL import Image

from synthbook.gans.networks import create_discriminator, create_generator
from synthbook.gans.recipes import published
from synthbook.gans.sampling import sample
from synthbook.gans.train import train
from synthbook.generate.primitives import Primitives, shapes_at
from synthbook.studies.targets import stream, target

SIZE = 16  # pixels; 256 and the published widths and steps want a GPU
NETWORK = {
    "name": "stylegan2", "image_size": SIZE, "channels": 16, "widest": 32, "latent": 64,
    "style": 64, "mapping_layers": 2,
}  # fmt: skip


def main(
    images: str = "flower", output: str = "samples.png", drawn_steps: int = 300, steps: int = 200
) -> np.ndarray:
    """Return 64 generated images, uint8 [64, H, W, 3], and write them as one picture."""
    few = target(images, count=100, image_size=SIZE, seed=0)  # a folder, or "data set:class"
    drawn = stream(Primitives(shapes=shapes_at(SIZE)), image_size=SIZE, seed=0)
    recipe = published(
        "stylegan2", steps=steps, batch_size=16, generator_learning_rate=0.006,
        discriminator_learning_rate=0.006, r1=10 * (SIZE / 256) ** 2, ema_half_life=500.0,
    )  # fmt: skip
    pair = create_generator(**NETWORK), create_discriminator(**NETWORK)
    first = train(*pair, drawn, replace(recipe, steps=drawn_steps), seed=0)
    second = train(*pair, few.train, recipe, seed=0, average=first.generator)  # pair is in place
    made = sample(second.generator, [None] * 64, seed=0)
    sheet = made.reshape(8, 8, SIZE, SIZE, 3).swapaxes(1, 2).reshape(8 * SIZE, 8 * SIZE, 3)
    Image.fromarray(sheet).save(output)
    print(f"64 images, learned from {len(few.train)} of {few.name}, are in {output}")
    return made


if __name__ == "__main__":
    main(*sys.argv[1:3])
