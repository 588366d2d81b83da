"""What are generated images worth? A classifier on real ones, on generated ones, and on both."""

import sys

from synthbook.data import load
from synthbook.generate.clones import clone
from synthbook.generate.generators import trained
from synthbook.generate.unet import DiffusionRecipe
from synthbook.recognize.models import create_classifier
from synthbook.recognize.predict import accuracy
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import fit


def main(data: str = "digits", steps: int = 500, epochs: int = 40) -> dict[str, float]:
    """Return the accuracy in percent on unseen real images, by what was trained on."""
    splits = load(data)  # a name, a folder of class folders, or an .npz
    real = splits.train
    recipe = DiffusionRecipe(channels=(16, 32), steps=steps, learning_rate=0.003)
    generator = trained("diffusion", real, recipe, seed=0)  # once; then from the cache
    generated = clone(generator, real, count=len(real), seed=0)
    both = {"real": real, "generated": generated}  # a batch of each in every step
    right = {}
    for name, images in {"real": real, "generated": generated, "both": both}.items():
        model = create_classifier(
            "small_cnn", num_classes=real.num_classes, channels=real.channels,
            image_size=real.image_size, seed=0,
        )  # fmt: skip
        fit(model, images, Recipe(epochs=epochs, batch_size=64, learning_rate=0.002), seed=0)
        right[name] = accuracy(model, splits.test)
        print(f"trained on {name:9}: {right[name]:.1f} % of {len(splits.test)} right")
    return right


if __name__ == "__main__":
    main(*sys.argv[1:2])
