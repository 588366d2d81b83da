"""The examples run as they stand, and do what they say; the README shows one of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthbook.data import load
from synthbook.store import root

EXAMPLES = sorted((root() / "examples").glob("*.py"))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    torch.set_num_threads(1)
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def example(load_script):
    """Return the function from an example's name to its module."""
    return lambda name: load_script(f"examples/{name}.py")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_fits_on_a_screen(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 80
    assert path.read_text().startswith('"""')


def test_the_readme_shows_an_example_as_it_is() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (root() / "README.md").read_text(), re.DOTALL)
    assert (root() / "examples" / "real_and_generated.py").read_text() in blocks


def test_real_and_generated(example, keep_models, capsys: pytest.CaptureFixture[str]) -> None:
    keep_models(load("digits").train, families=["diffusion"])  # it has learned nothing
    right = example("real_and_generated").main("digits", count=290, epochs=30, image_size=8)
    assert capsys.readouterr().out.count("trained on") == 3
    assert right["real"] > 85
    assert right["generated"] < 40  # chance is 10
    assert right["both"] > right["generated"]


def test_real_and_generated_without_a_model_says_how_to_make_one(example, keep_models) -> None:
    said = r"no model of digits: .* -p image_size=16 -p minutes=30"
    with pytest.raises(SystemExit, match=said):
        example("real_and_generated").main("digits", image_size=16)


def test_real_and_generated_takes_photographs_of_different_sizes(
    example, keep_models, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 24, 40, 3), np.uint8)
    for number, image in enumerate(pixels):
        folder = tmp_path / "photographs" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, number % 5 :]).save(folder / f"{number}.png")
    data = str(tmp_path / "photographs")
    with pytest.raises(SystemExit, match="-p image_size=32 -p minutes=30"):
        example("real_and_generated").main(data)
    keep_models(load(data, image_size=32).train, families=["diffusion"])
    assert len(example("real_and_generated").main(data, epochs=1)) == 3


def test_guidance_in_a_readers_loop(example) -> None:
    module = example("guidance_in_your_loop")
    right = module.main(steps=150)
    assert min(right.values()) > 40  # chance is 10
    assert right["with guidance"] != right["without guidance"]
    assert module.main(steps=150) == right


def test_a_gan_from_drawn_shapes(example, tmp_path: Path) -> None:
    folder, draw = tmp_path / "photographs", np.random.default_rng(0)
    folder.mkdir()
    for number in range(100):  # bright squares on blue
        image = np.zeros((20, 20, 3), np.uint8)
        image[..., 2] = 200
        y, x = draw.integers(2, 10, 2)
        image[y : y + 8, x : x + 8] = 255
        Image.fromarray(image).save(folder / f"{number:03}.png")
    output = tmp_path / "samples.png"
    made = example("gan_from_drawn_shapes").main(str(folder), str(output), 20, 60)
    assert made.shape == (64, 16, 16, 3)
    with Image.open(output) as picture:
        assert picture.size == (128, 128)
    red, _, blue = made.reshape(-1, 3).mean(0)
    assert blue > red + 20  # it has learned the colour at least, which drawn shapes do not have
