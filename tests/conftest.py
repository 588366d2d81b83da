"""A small book in a temporary folder."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest
from pydantic import Field

from synthbook import store
from synthbook.record.vocabulary import CHAPTERS

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


def to_ipynb(source: str) -> str:
    """Return a percent script as a notebook, as jupytext does."""
    import re

    cells = []
    for block in re.split(r"^# %%", source, flags=re.MULTILINE)[1:]:
        head, _, body = block.partition("\n")
        tags = json.loads(found[1]) if (found := re.search(r"tags=(\[.*?\])", head)) else []
        kind = "markdown" if "[markdown]" in head else "code"
        cells.append(
            {"cell_type": kind, "metadata": {"tags": tags}, "id": f"c{len(cells)}",
             "source": body.strip("\n").splitlines(keepends=True)}
            | ({"outputs": [], "execution_count": None} if kind == "code" else {})
        )  # fmt: skip
    kernel = {"kernelspec": {"name": "python3", "display_name": "p", "language": "python"}}
    return json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book with the chapter 90_tiny, scale small, and no git."""
    top = tmp_path / "book"
    for folder in ("notebooks", "params/90_tiny", "results", "book/paper"):
        (top / folder).mkdir(parents=True)
    (top / "_toc.yml").write_text("format: jb-book\n")
    (top / "notebooks/90_tiny.py").write_text(CHAPTER)
    (top / "notebooks/90_tiny.ipynb").write_text(to_ipynb(CHAPTER))
    (top / "params/90_tiny/small.yaml").write_text("epochs: 20\nseeds: 5\n")
    monkeypatch.setenv("SYNTHBOOK_ROOT", str(top))
    weight = Annotated[float, Field(ge=0, le=2, description="a weight", examples=[0.5])]
    monkeypatch.setitem(CHAPTERS, "90_tiny", {"weight": weight})
    return top


@pytest.fixture
def no_builds(monkeypatch):
    """Return a function: from then on, modules may read what is kept and make nothing anew."""

    def refuse(*modules):
        def cached(kind, key, build, device="cpu"):
            def fail(folder):
                raise AssertionError("built again")

            fail.__wrapped__ = build  # the key is that of what would have been called
            return store.cached(kind, key, fail, device)

        for module in modules:
            monkeypatch.setattr(module, "cached", cached)

    return refuse


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
