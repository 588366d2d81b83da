"""A place of one's own for models, and small ones of both families in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from synthbook.gans.networks import create_generator
from synthbook.gans.recipes import GanRecipe
from synthbook.generate import cards, diffusion, models
from synthbook.generate.models import Generator, described, write
from synthbook.generate.unet import DiffusionRecipe, build_unet

torch.set_num_threads(1)
CLASSES = ("crow", "owl", "oak", "fern", "rose")
KINDS = {"classes": ["bird", "plant"], "of": [0, 0, 1, 1, 1]}
SHARES = [0.1, 0.3, 0.3, 0.2, 0.1]


@pytest.fixture
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SYNTHBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SYNTHBOOK_MODELS", str(tmp_path / "models"))
    (tmp_path / "top/models").mkdir(parents=True)
    monkeypatch.setattr(cards, "root", lambda: tmp_path / "top")
    models._load.cache_clear()
    yield
    models._load.cache_clear()


def _network(family: str, seed: int = 0, classes: int = len(CLASSES)) -> tuple[Any, Any]:
    """Return an untrained network and its recipe."""
    if family == "gan":
        recipe = GanRecipe(channels=4, latent=4)
        how = {"image_size": 8, "channels": 4, "latent": 4, "num_classes": classes}
        return create_generator("resnet", seed=seed, **how).eval(), recipe
    recipe = DiffusionRecipe(channels=(8, 8), patch=2, prediction="flow")
    how = {"image_size": 8, "channels": 3, "num_classes": classes}
    unet = build_unet(recipe, seed=seed, **how)
    return diffusion.as_pipeline(unet, recipe), recipe


@pytest.fixture
def make(tmp_path: Path, own_places) -> Callable[..., Generator]:
    """Return a function that writes a model of a family; ``changes`` are of its card."""

    def made(family: str = "gan", name: str = "", *, extras=None, **changes: Any) -> Generator:
        network, recipe = _network(family, changes.get("seed", 0))
        card = {
            "family": family, "seed": 0,
            "data": {
                "name": "trees", "fingerprints": ["fine", "kinds"], "image_size": 8, "channels": 3,
            },
            "classes": CLASSES, "shares": SHARES, "kinds": KINDS, "recipe": described(recipe),
            "sampling": {"num_inference_steps": 3} if family == "diffusion" else {},
        }  # fmt: skip
        folder = tmp_path / "models" / (name or f"trees-{family}-{changes.get('seed', 0)}")
        return write(folder, network, card | changes, extras)

    return made


@pytest.fixture(params=["gan", "diffusion"])
def model(request, make) -> Generator:
    return make(request.param)


@pytest.fixture(scope="session")
def network_of() -> Callable[..., tuple[Any, Any]]:
    """Return the function that makes the networks of `make`."""
    return _network


@pytest.fixture(scope="session")
def tiny(load_script: Callable[[str], Any]) -> Any:
    """What builds pipelines from text to image of tiny untrained parts."""
    return load_script("tests/generate/tiny_pipelines.py")


@pytest.fixture(scope="session")
def text_folder(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion, as save_pretrained writes it."""
    folder = tmp_path_factory.mktemp("stable-diffusion")
    tiny.stable_diffusion(folder / "tokenizer").save_pretrained(folder, safe_serialization=True)
    return folder
