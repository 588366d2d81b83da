"""The vocabulary: every name of every chapter, with its range and help."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from synthbook.record.chapters import chapters, declared
from synthbook.record.kinds import TYPES
from synthbook.record.parameters import Parameters
from synthbook.record.vocabulary import CHAPTERS, VOCABULARY, help_of, kind_of
from synthbook.settings import STRICT, noun

EVERY = [
    (chapter, name, kind)
    for chapter, kinds in {"": VOCABULARY, **CHAPTERS}.items()
    for name, kind in kinds.items()
]


@pytest.mark.parametrize(("chapter", "name", "kind"), EVERY)
def test_every_name_has_help_and_an_example_that_it_allows(
    chapter: str, name: str, kind: Any
) -> None:
    assert help_of(chapter, name)
    (example,) = FieldInfo.from_annotation(kind).examples
    assert TypeAdapter(kind, config=STRICT).validate_python(example) == example
    assert not hasattr(Parameters, name)


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.name)
def test_every_parameter_of_a_chapter_has_a_range_and_the_type_that_its_notebook_says(
    chapter: Any,
) -> None:
    for field in declared(chapter.name):
        kind = kind_of(chapter.name, field.name, field.type)
        assert kind is not TYPES[field.type], field.name
        assert noun(kind) == noun(TYPES[field.type]), field.name


def test_every_name_is_a_parameter_of_a_chapter() -> None:
    names = {chapter.name: {f.name for f in declared(chapter.name)} for chapter in chapters()}
    assert set(VOCABULARY) <= set().union(*names.values())
    for chapter, kinds in CHAPTERS.items():
        assert set(kinds) <= names[chapter]


def test_a_chapters_own_type_goes_before_the_shared_one() -> None:
    own, shared = "16_real_guidance", "61_audit"
    assert kind_of(own, "lambda_3", "str") is CHAPTERS[own]["lambda_3"]
    assert kind_of(shared, "lambda_3", "str") is VOCABULARY["lambda_3"]
    assert help_of(own, "lambda_3") != help_of("", "lambda_3")
    assert help_of("", "no such name") == ""
