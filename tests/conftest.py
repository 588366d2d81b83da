"""A small book in a temporary folder."""

import functools
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import nbformat
import pytest
from hypothesis import HealthCheck, settings
from pydantic import Field

from synthbook import store
from synthbook.claims.catalogue import PAPERS
from synthbook.cli import main
from synthbook.record.chapters import convert, find
from synthbook.record.vocabulary import CHAPTERS

# How long an example takes says how busy the machine is. In CI the default draws the same ones.
settings.register_profile(
    "book", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("book")

CHAPTER = """\
# ---
# jupyter:
#   kernelspec: {name: python3, display_name: p, language: python}
# ---

# %% [markdown]
# # A chapter

# %% tags=["parameters"]
seeds: int = 1  # number of seeds
first_seed: int = 0
methods: list[str] = ["plain", "PG-KL"]  # methods to run
sources: list[str] = ["real", "gan"]
epochs: int = 3  # passes over the images
weight: float = 0.5  # weight of the guidance
rows: str = ""  # file that rows go to

# %%
from synthbook.record.parameters import parameters

p = parameters("90_tiny", globals())

# %% tags=["experiment"]
from synthbook import randomness

total = p.epochs * 2
"""


@pytest.fixture
def new_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], Path]:
    """(path below the top -> text) -> the top folder of a book that has these files, and no git."""

    def make(files: dict[str, str]) -> Path:
        top, real = tmp_path / "a book", store.root()
        claims = {f"book/paper/claims_{paper}.yml": "[]" for paper in PAPERS}
        empty = dict.fromkeys(("_toc.yml", "_config.yml", "requirements.lock", "results/.keep"), "")
        empty["book/paper/coverage.yml"] = "{}"
        for name, text in {**empty, **claims, **files}.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text)
        (top / "workflow").mkdir(exist_ok=True)
        (top / "workflow/Snakefile").symlink_to(real / "workflow/Snakefile")
        monkeypatch.setenv("SYNTHBOOK_ROOT", str(top))
        return top

    return make


@pytest.fixture
def book(new_book, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book with the chapter 90_tiny, scale small, and no git."""
    small = "epochs: 20\nseeds: 5\n"
    top = new_book({"notebooks/90_tiny.py": CHAPTER, "params/90_tiny/small.yaml": small})
    nbformat.write(convert(find("90_tiny")), top / "notebooks/90_tiny.ipynb")
    weight = Annotated[float, Field(ge=0, le=2, description="a weight", examples=[0.5])]
    monkeypatch.setitem(CHAPTERS, "90_tiny", {"weight": weight})
    return top


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """(arguments) -> the one line that the command line refuses them with."""

    def run(arguments: list[str]) -> str:
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(r"error: [^\n]+\n", err), err
        return err

    return run


@pytest.fixture
def no_builds(monkeypatch):
    """Return a function: from then on, modules may read what is kept and make nothing anew."""

    class Refused(functools.partial):  # the key is that of what would have been called
        def __call__(self, folder):
            raise AssertionError("built again")

    def refuse(*modules):
        def cached(kind, key, build, device="cpu"):
            return store.cached(kind, key, Refused(build), device)

        for module in modules:
            monkeypatch.setattr(module, "cached", cached)

    return refuse


@pytest.fixture(scope="session")
def gone() -> Callable[[int], bool]:
    """(number of a process) -> whether it has ended, though nobody may have asked how it did."""

    def ended(pid: int) -> bool:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat")
            return state.is_file() and ") Z " in state.read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True

    return ended


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """(path below the top) -> the module in a file that is in no package; leaves no bytecode."""

    def load(path: str) -> ModuleType:
        file = Path(__file__).parents[1] / path
        spec = importlib.util.spec_from_file_location(f"script_{file.stem}", file)
        module = importlib.util.module_from_spec(spec)
        before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            spec.loader.exec_module(module)
        finally:
            sys.dont_write_bytecode = before
        return module

    return load


@pytest.fixture
def all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have checks find every model that they look for, whatever the data."""
    from synthbook.studies import needs

    monkeypatch.setattr(
        needs, "check_kept", lambda families, *_: dict.fromkeys(families, "one, trained on them")
    )
    monkeypatch.setattr(needs, "check_kept_of_few", lambda *_: None)


@pytest.fixture
def keep_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """(images, families, seeds) -> untrained models of these images, kept where they are found.

    They are found in a place of the test's own alone, and their banks grow by 200 images.
    """
    from synthbook.gans.networks import create_generator
    from synthbook.gans.recipes import GanRecipe
    from synthbook.generate import banks, cards, diffusion, models
    from synthbook.generate.unet import DiffusionRecipe, build_unet

    monkeypatch.setenv("SYNTHBOOK_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(cards, "root", lambda: tmp_path)
    monkeypatch.setattr(banks, "STRIP", 200)
    models._load.cache_clear()

    def network(family: str, seed: int, shape: dict[str, int]) -> tuple[Any, Any]:
        if family == "gan":
            made = create_generator("resnet", seed=seed, **shape | {"channels": 4, "latent": 4})
            return made.eval(), GanRecipe(channels=4, latent=4)
        recipe = DiffusionRecipe(channels=(8, 8), patch=2, prediction="flow")
        unet = build_unet(recipe, seed=seed, **shape)
        return diffusion.as_pipeline(unet, recipe), recipe

    def keep(images, families=("diffusion", "gan"), seeds=(0,)):
        kept, size = [], images.image_size
        data = {"name": images.name, "image_size": size, "channels": images.channels}
        data |= {"images": len(images), "fingerprints": [images.fingerprint()]}
        shape = {"image_size": size, "num_classes": images.num_classes}
        for family, seed in ((family, seed) for family in families for seed in seeds):
            made, recipe = network(family, seed, shape | {"channels": images.channels})
            card = {
                "family": family, "seed": seed, "data": data, "classes": images.classes,
                "shares": (images.counts() / len(images)).tolist(), "kinds": None,
                "recipe": models.described(recipe),
                "sampling": {"num_inference_steps": 2} if family == "diffusion" else {},
            }  # fmt: skip
            folder = tmp_path / "models" / f"{images.fingerprint()[:8]}-{family}-{seed}"
            kept.append(models.write(folder, made, card))
        return kept

    return keep
