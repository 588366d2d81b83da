"""Settings: what types allow, in words, and what a recipe says of a value that it does not."""

import dataclasses
import pickle
import subprocess
import sys
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from synthbook import settings as s
from synthbook.errors import InputError
from synthbook.gans.recipes import Training
from synthbook.settings import describe, from_texts, noun, settings


@settings
class Recipe:
    """A recipe of each kind of field."""

    steps: s.Count
    rate: s.Rate = 0.5
    schedule: s.Schedule = "constant"
    betas: Annotated[tuple[s.Share, s.Share], s.Listed] = (0.0, 0.9)
    channels: Annotated[tuple[s.Level, ...], s.Listed, Field(min_length=1)] = (8,)
    augment: s.Augmentations = ""
    side: s.Zero | s.Side = 0
    flip: bool = False

    def __post_init__(self) -> None:
        if self.flip and self.side:
            raise InputError("flip with a side; set one of them")


@settings
class Longer(Recipe):
    """A recipe with another default and a field more."""

    rate: s.Rate = 0.25
    weight: s.Weight = 0.0


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Annotated[int, Field(ge=1, le=1000)], "a whole number from 1 to 1000"),
        (Annotated[s.Count, Field(le=50)], "a whole number from 1 to 50"),
        (s.Count, "a whole number from 1 to 100 000 000"),
        (s.Rate, "a number above 0"),
        (Annotated[s.Share, Field(gt=0, lt=1)], "a number above 0 and below 1"),
        (Annotated[s.Share, Field(lt=1)], "a number of 0 or more and below 1"),
        (s.Zero | s.Side, "a whole number 0 or from 8 to 1024"),
        (s.Level, "a whole number from 4 to 4096, a multiple of 4"),
        (s.Schedule, "one of constant, cosine"),
        (Literal[1, 3], "one of 1, 3"),
        (
            Literal["a"]
            | Annotated[str, Field(pattern=r"^b\d$", json_schema_extra={"words": "bN"})],
            "one of a, bN",
        ),
        (list[s.Text], "a list of texts that is not empty"),
        (s.Some[Literal["a", "b"]], "some of a, b, each once"),
        (list[Literal["a", "b"]], "some of a, b"),
        (s.Unique[s.Share], "a list of numbers from 0 to 1, each once"),
        (tuple[s.Share, s.Share], "2 numbers from 0 to 1"),
        (bool, "true or false"),
        (str, "a text"),
        (float, "a number"),
    ],
)  # fmt: skip
def test_a_type_is_described_in_words(kind: object, words: str) -> None:
    assert describe(kind) == words
    assert words.startswith((noun(kind), "one of", "some of"))


@pytest.mark.parametrize(
    ("given_values", "message"),
    [
        ({"steps": 0}, "steps = 0 is not allowed; give a whole number from 1 to 100 000 000"),
        ({"steps": "x"}, "steps = 'x' is not a whole number; give one from 1 to 100 000 000"),
        ({"steps": True}, "steps = True is not a whole number; give one from 1 to 100 000 000"),
        ({"rate": float("nan")}, "rate = nan is not finite; give a number above 0"),
        ({"rate": -1}, "rate = -1 is not allowed; give a number above 0"),
        (
            {"schedule": "cosin"},
            "schedule = 'cosin' is not allowed; give one of constant, cosine; "
            "did you mean 'cosine'?",
        ),
        ({"betas": (1,)}, "betas = (1,) is not 2 numbers; give 2 numbers from 0 to 1"),
        (
            {"betas": (0, 2)},
            "betas = (0, 2) holds 2, which is not allowed; give 2 numbers from 0 to 1",
        ),
        (
            {"channels": []},
            "channels = [] is empty; give a list of whole numbers from 4 to 4096, a multiple of 4",
        ),
        (
            {"augment": "cutouts"},
            "augment = 'cutouts': augmentation 'cutouts' is not known; give some of color, "
            "translation, cutout; did you mean 'cutout'?",
        ),
        ({"side": 7}, "side = 7 is not allowed; give a whole number 0 or from 8 to 1024"),
        ({"side": 0.0}, "side = 0.0 is not a whole number; give one 0 or from 8 to 1024"),
        ({"flip": True, "side": 8}, "flip with a side; set one of them"),
        ({"step": 3}, "Recipe has no setting 'step'; did you mean 'steps'?"),
        (
            {"rate": 0.0, "steps": 0},
            "steps = 0 is not allowed; give a whole number from 1 to 100 000 000 (also wrong: "
            "rate)",
        ),
    ],
)
def test_a_fault_is_a_sentence_with_thing_value_and_remedy(
    given_values: dict, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        Recipe(**{"steps": 1, **given_values})
    assert str(caught.value) == message


def test_values_by_position_and_missing_ones_are_named() -> None:
    with pytest.raises(InputError, match="rate = -1 is not allowed"):
        Recipe(1, -1)
    with pytest.raises(InputError, match="Recipe needs steps; give a whole number"):
        Recipe()


def test_it_is_a_frozen_dataclass() -> None:
    made = Recipe(3, 1, betas=[0, 1])
    assert dataclasses.asdict(made) == {
        "steps": 3, "rate": 1.0, "schedule": "constant", "betas": (0.0, 1.0), "channels": (8,),
        "augment": "", "side": 0, "flip": False,
    }  # fmt: skip
    assert isinstance(made.rate, float)
    assert dataclasses.replace(made, steps=4) == Recipe(4, 1.0, betas=(0.0, 1.0))
    assert hash(made) == hash(Recipe(3, 1.0, betas=(0, 1)))
    assert pickle.loads(pickle.dumps(made)) == made
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.steps = 4
    with pytest.raises(InputError, match="steps = 0"):
        dataclasses.replace(made, steps=0)


def test_a_subclass_checks_its_own_and_the_inherited() -> None:
    assert Longer(1).rate == 0.25
    for wrong in ({"weight": -1.0}, {"steps": 0}, {"flip": True, "side": 8}):
        with pytest.raises(InputError):
            Longer(**{"steps": 1, **wrong})


@given(st.permutations(s.AUGMENTATIONS).flatmap(lambda names: st.integers(0, 3).map(
    lambda count: names[:count])))  # fmt: skip
def test_augmentations_come_in_their_own_order(names: list[str]) -> None:
    chosen = s.augmentations(" , ".join(names))
    assert chosen == tuple(name for name in s.AUGMENTATIONS if name in names)


def test_twice_the_same_augmentation_is_refused() -> None:
    with pytest.raises(InputError, match="given twice"):
        s.augmentations("color,color")


def test_recipes_are_made_without_torch() -> None:
    code = (
        "import sys\n"
        "from synthbook.recognize.recipe import Recipe\n"
        "from synthbook.gans.recipes import GanRecipe, published\n"
        "from synthbook.generate.unet import DiffusionRecipe\n"
        "Recipe(1, 1, 0.1), GanRecipe(), DiffusionRecipe(), published('biggan')\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_fields_are_read_from_texts_with_their_types() -> None:
    texts = ["batch_size: 16", "r1=0.5", "flip = true", "schedule: constant"]
    read = from_texts(Training, texts, "training_settings")
    assert read == {"batch_size": 16, "r1": 0.5, "flip": True, "schedule": "constant"}
    assert {name: type(value) for name, value in read.items()}["r1"] is float
    assert Training(**read).batch_size == 16
    several = from_texts(Recipe, ["betas: (0.5, 1)", "channels=[8, 16, 16]"], "recipe")
    assert several == {"betas": (0.5, 1.0), "channels": (8, 16, 16)}
    for text in ("betas: (0.5, x)", "betas: (0.5)", "betas: 0.5, 1", "steps: (3)"):
        with pytest.raises(InputError, match=f"recipe: {text.partition(':')[0]} = "):
            from_texts(Recipe, [text], "recipe")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("batch_size", "write NAME=VALUE"),
        ("batch_sise=4", "did you mean 'batch_size'"),
        ("steps=4", "steps is a parameter of its own"),
        ("batch_size=0", "training_settings: batch_size = '0'"),
        ("batch_size=four", "training_settings: batch_size = 'four'"),
        ("schedule=slow", "constant"),
    ],
)
def test_a_text_that_gives_no_field_is_told_with_its_parameter(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        from_texts(Training, [text], "training_settings", own=["steps"])
