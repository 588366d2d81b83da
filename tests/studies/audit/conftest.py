"""Small images and settings for an audit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthbook.data import ImageSet, Splits


@pytest.fixture
def noise():
    """Return a function that makes random images of three classes."""

    def make(count: int, seed: int = 0, size: int = 8, channels: int = 1) -> ImageSet:
        shape = (count, size, size, channels)
        pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        return ImageSet(pixels, np.arange(count) % 3, ("a", "b", "c"), f"noise{seed}")

    return make


@pytest.fixture
def real(noise):
    return Splits(noise(60, 1), noise(30, 2), noise(90, 3))


@pytest.fixture
def settings():
    """Return a function that makes quick settings, with changes; ``epochs`` are the recipe's."""
    from synthbook.recognize.recipe import Recipe
    from synthbook.studies.audit import AuditSettings

    def make(epochs: int = 6, **changes) -> AuditSettings:
        recipe = Recipe(epochs=epochs, batch_size=16, learning_rate=0.005)
        quick = {"seeds": (0, 1), "most_images": 200, "neighbours": 3, "remedies": ()}
        return AuditSettings(**{"recipe": recipe, **quick, **changes})

    return make


@pytest.fixture
def pixels():
    """An extractor whose features are the pixels."""
    from synthbook.measure.features import Extractor

    return Extractor("pixels", lambda x: x.reshape(len(x), -1).astype(np.float32))


@pytest.fixture
def of_pixels(monkeypatch, pixels):
    """Audits measure in pixels."""
    from synthbook.measure import features

    monkeypatch.setattr(features, "extractor", lambda *_: pixels)


@pytest.fixture
def write_folder():
    """Return a function that writes an image set as a folder of class folders."""
    from PIL import Image

    def write(path: Path, images: ImageSet) -> str:
        for number, (pixels, label) in enumerate(zip(images.images, images.labels, strict=True)):
            folder = path / images.classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.squeeze()).save(folder / f"{number}.png")
        return str(path)

    return write
