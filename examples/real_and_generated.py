"""What are generated images worth? A classifier on real ones, on generated ones, and on both."""

import sys

from synthbook.data import load
from synthbook.generate.banks import Bank
from synthbook.generate.clones import clone
from synthbook.generate.models import find
from synthbook.recognize.models import create_classifier
from synthbook.recognize.predict import accuracy
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import fit
from synthbook.studies.training_sets import equal_a_class


def main(
    data: str = "caltech10", count: int = 1000, epochs: int = 20, image_size: int = 32
) -> dict[str, float]:
    """Return the accuracy in percent on unseen real images, by what was trained on."""
    # photographs of ten kinds of things; or your folder of class folders
    splits = load(data, image_size=image_size)
    real = equal_a_class(splits.train, count, seed=0)
    model = find("diffusion", splits.train.fingerprint(), splits.classes, seed=0)
    if model is None:
        how = f"-p data={data} -p image_size={image_size} -p minutes=30"
        sys.exit(f"no model of {data}: synthbook run 11_generators {how}")
    generated = clone(Bank(model, guidance_scale=1.0), real, count=len(real), seed=0)
    both = {"real": real, "generated": generated}  # a batch of each in every step
    right = {}
    for name, images in {"real": real, "generated": generated, "both": both}.items():
        classifier = create_classifier(
            "small_cnn", num_classes=real.num_classes, channels=real.channels,
            image_size=real.image_size, seed=0,
        )  # fmt: skip
        fit(classifier, images, Recipe(epochs=epochs, batch_size=64, learning_rate=0.002), seed=0)
        right[name] = accuracy(classifier, splits.test)
        print(f"trained on {name:9}: {right[name]:.1f} % of {len(splits.test)} right")
    return right


if __name__ == "__main__":
    main(*sys.argv[1:2])
