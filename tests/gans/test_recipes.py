"""Recipes of GANs: what they may name is what there is."""

from __future__ import annotations

import dataclasses
import json

import pytest

from synthbook.gans.blocks import INITS
from synthbook.gans.losses import LOSSES
from synthbook.gans.networks import ARCHITECTURES
from synthbook.gans.recipes import GanRecipe, Training, published
from synthbook.gans.residual import SNGANConfig
from synthbook.settings import choices, schema_of


@pytest.mark.parametrize(
    ("recipe", "field", "known"),
    [
        (Training, "loss", LOSSES),
        (GanRecipe, "architecture", ARCHITECTURES),
        (SNGANConfig, "init", INITS),
    ],
)
def test_a_recipe_may_name_all_that_there_is(recipe: type, field: str, known: dict) -> None:
    assert choices(schema_of(recipe)["properties"][field]) == list(known)


@pytest.mark.parametrize("architecture", ["sngan", "biggan", "stylegan2"])
def test_published_recipes_survive_json(architecture: str) -> None:
    recipe = published(architecture, steps=7)
    assert recipe.steps == 7
    assert Training(**json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe
