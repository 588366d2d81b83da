"""The page of the models: what stands on their cards, and their samples by class."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthbook.errors import InputError
from synthbook.generate import banks, models
from synthbook.generate.models import Generator, described, write
from synthbook.generate.unet import DiffusionRecipe, build_unet
from synthbook.press import models_page
from synthbook.press.models_page import models_page as page
from synthbook.studies import model_samples

NAME = "trees-diffusion-0"
CLASSES, KINDS = ("crow", "owl", "oak"), {"classes": ["bird", "plant"], "of": [0, 0, 1]}
SCALES = (1.0, 4.0)
POINTS = [
    {"minutes": 6.0, "steps": 100, "accuracy": 31.5, "fd": 80.0},
    {"minutes": 11.5, "steps": 190, "accuracy": 42.25, "fd": 60.0},
    {"minutes": 12.0, "steps": 200, "accuracy": 40.0, "fd": 61.0},
]


@pytest.fixture
def book(new_book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SYNTHBOOK_MODELS", str(tmp_path / "own"))
    return new_book({"notebooks/.keep": ""})


def extras(model: Generator) -> dict[str, Any]:
    for scale in SCALES:
        banks.write_strip(model, scale, 0, model.folder / "samples")
    measures = {
        f"g{scale:g}": {
            "accuracy": 40 + scale, "fd": 60 - scale,
            "class_agreement": {"bird": 71.0, "plant": 52.4},
        }
        for scale in SCALES
    }  # fmt: skip
    return {"measures": measures, "real_classifier": 63.0}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained diffusion model with a whole card."""
    from synthbook.generate.diffusion import as_pipeline

    recipe = DiffusionRecipe(channels=(8, 8), patch=2, prediction="flow", condition_dropout=0.1)
    unet = build_unet(recipe, seed=0, image_size=8, channels=3, num_classes=3)
    card = {
        "family": "diffusion", "seed": 0, "classes": CLASSES, "kinds": KINDS,
        "shares": [0.5, 0.25, 0.25],
        "data": {"name": "trees", "images": 1234, "fingerprints": ["a"], "image_size": 8,
                 "channels": 3},
        "recipe": described(recipe),
        "budget": {"minutes": 12.0, "measure_every": 6.0, "patience": 4, "cooldown": 0.15},
        "training": {
            "begun": "2026-01-02T03:04:05Z", "minutes": 12.0, "best_minutes": 11.5, "steps": 190,
            "images": 6080, "precision": "bfloat16", "device": "cuda", "threads": 1,
            "processor": "A processor", "torch": "2", "python": "3", "commit": "0123456789abcdef",
        },
        "curve": POINTS, "sampling": {"num_inference_steps": 2},
        "steps_tried": {"2": 60.0, "4": 59.5},
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("models") / NAME
    return write(folder, as_pipeline(unet, recipe), card, extras).folder


@pytest.fixture
def kept(book: Path, written: Path) -> Generator:
    """The same among the models of the book."""
    return models.opened(Path(shutil.copytree(written, book / "models" / NAME)))


def test_without_models_the_page_says_how_to_make_them(book: Path) -> None:
    files = page()
    assert list(files) == [Path("book/models.md")]
    assert "`make models` trains them" in files[Path("book/models.md")].decode()


def test_the_page_says_what_stands_on_the_card_and_shows_its_figures(kept: Generator) -> None:
    files = page()
    text = files.pop(Path("book/models.md")).decode()
    assert {path.parent.as_posix() for path in files} == {"book/models"}
    for path, content in files.items():
        assert f"models/{path.name}\n" in text
        assert content.startswith(b"\x89PNG")
    assert len(files) == 3 == text.count(":alt: ")
    for words in (
        "1,234 images", "`trees`", "3 classes and asked for 2 kinds", "at most 12 minutes",
        "12.0 minutes; the weights are those after 11.5, 190 steps", "2026-01-02",
        "`0123456789ab`", "A processor", "CC BY 4.0", "2 steps; FD of those tried: 60 with 2",
        "| small network, % right | 41.0 | 44.0 |", "| FD to validation | 59.0 | 56.0 |",
        "| bird | 71 | 71 |",
        "63.0 % of the validation photographs", "guidance 4",
        "the budget ended it. small network, % right at best: 42.2, by chance 50.0",
    ):  # fmt: skip
        assert words in text, words
    for name, digest in kept.card["files"].items():
        assert (digest in text) == name.endswith(".safetensors")


def test_a_row_of_samples_has_the_first_images_of_a_class(kept: Generator) -> None:
    found = model_samples.samples(kept.folder)
    assert list(found) == ["g1", "g4"]
    model = models.opened(kept.folder, KINDS["classes"])
    labels = banks.labels_of(model, 0)
    for scale, images in zip(SCALES, found.values(), strict=True):
        first = banks.strip(model, scale, 0)
        assert images.shape == (2, model_samples.COLUMNS, 8, 8, 3)
        for k in range(2):
            np.testing.assert_array_equal(images[k], first[labels == k][: model_samples.COLUMNS])


def test_names_of_two_lines_have_room_beside_their_row_and_curves_have_plain_numbers() -> None:
    images = np.zeros((2, 4, 8, 8, 3), np.uint8)
    short = models_page._rows(["faces", "planes"], images).get_figheight()
    assert models_page._rows(["faces", "airplanes-diffaugment-0"], images).get_figheight() > short
    cards = {"primitives": {"curve": {"0": {"fd": 4300.0}, "9": {"fd": 2050.0}}}}
    figure = models_page._pair_curves(cards)
    figure.canvas.draw()
    assert "3000" in [tick.get_text() for tick in figure.axes[0].get_yticklabels()]


def test_the_page_is_made_once_and_anew_when_a_card_changes(
    kept: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, asked = page(), []
    run = models_page.subprocess.run
    monkeypatch.setattr(
        models_page.subprocess, "run", lambda *a, **k: asked.append(a) or run(*a, **k)
    )
    assert page() == first
    assert asked == []
    card = json.loads((kept.folder / "card.json").read_text())
    del card["sum"]
    (kept.folder / "card.json").write_text(json.dumps(card | {"real_classifier": 55.5}))
    assert b"55.5 %" in page()[Path("book/models.md")]
    assert len(asked) == 1


def test_an_altered_model_stops_the_page_with_one_sentence(kept: Generator) -> None:
    (image,) = kept.folder.glob("samples/g1-*.webp")
    Image.new("RGB", (8, 8)).save(image)
    with pytest.raises(InputError, match=rf"{image.name} is not the file .*git checkout") as told:
        page()
    assert "\n" not in str(told.value)


def test_a_network_that_learned_without_labels_is_told_with_its_probe(book: Path) -> None:
    folder = book / "models" / "encoders" / "web"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * 1_400_000)
    card = {
        "name": "web", "data": {"name": "clouds", "images": 54321},
        "recipe": {"epochs": 7, "batch_size": 128},
        "probe": {"untrained": 0.25, "web": 0.4567, "lite0": 0.9},
        "training": {"minutes": 12.5, "device": "cpu", "processor": "A processor", "commit": ""},
        "files": {"model.safetensors": "0123456789abcdef01"},
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps(card))
    text = page()[Path("book/models.md")].decode()
    line = next(line for line in text.splitlines() if line.startswith("| web |"))
    for words in ("54,321 of clouds", "7 × 128", "| 25.0 | 45.7 | 90.0 |", "| 1.4 |", "unknown"):
        assert words in line, words
    assert "`0123456789abcdef`" in line


@pytest.mark.parametrize(("snapshot", "step", "distance"), [("best", 20, 31), ("last", 30, 48)])
def test_a_generator_with_the_prior_is_told_by_the_step_that_is_kept(
    book: Path, tmp_path: Path, snapshot: str, step: int, distance: int
) -> None:
    weights = book / "models/dip/faces-0/generator.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"0" * 1_230_000)
    curve = {"0": 90.2, "20": 31.4, "30": 47.6}
    card = {
        "snapshot": snapshot,
        "learned": {"choosing": "held_out", "prior": "seen@64", "recipe": {"steps": 1030}},
        "curve": {at: {"train": 1.0, "held_out": value} for at, value in curve.items()},
        "training": {"minutes": 4.26, "device": "cpu", "processor": "A processor (fma, avx2)",
                     "commit": "0123456789abcdef"},
        "files": {weights.name: "fedcba9876543210" + 48 * "0"},
    }  # fmt: skip
    images = np.zeros((3, 8, 8, 3), np.uint8)
    text = models_page._dip({"faces-0": card}, {"faces-0": images}, tmp_path)
    line = ["faces-0", "seen@64", "1,030", str(step), str(distance), "4.3", "cpu, A processor",
            "`0123456789ab`", "1.2", "`fedcba9876543210`"]  # fmt: skip
    assert f"| {' | '.join(line)} |" in text
    assert (tmp_path / "dip-samples.png").is_file()
