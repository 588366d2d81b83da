"""The kinds of values: sources of a reader's own, and types as texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from synthbook.errors import InputError
from synthbook.record.kinds import BookSource, Device, Family, Place, RowsFile, Sources, type_name
from synthbook.settings import STRICT


def read(kind: Any, value: Any) -> Any:
    return TypeAdapter(kind, config=STRICT).validate_python(value)


def test_the_books_sources_are_real_images_and_its_families() -> None:
    assert get_args(BookSource) == ("real", *get_args(Family))
    assert read(Sources, ["real", *get_args(Family)]) == ["real", "diffusion", "gan"]


def test_images_of_ones_own_have_a_name_and_a_path(tmp_path: Path) -> None:
    assert read(Sources, ["real", f"mine={tmp_path}"]) == ["real", f"mine={tmp_path}"]
    for name in ("gan", "real", "really", "9lives", "a" * 21):
        with pytest.raises(ValidationError, match="cannot name images of your own"):
            read(Sources, [f"{name}={tmp_path}"])
    with pytest.raises(ValidationError, match="two sources are called 'mine'"):
        read(Sources, [f"mine={tmp_path}", f"mine={tmp_path / '..'}"])
    for path in ("", tmp_path / "nothing"):
        with pytest.raises(ValidationError, match="does not exist; correct it"):
            read(Sources, [f"mine={path}"])
    with pytest.raises(ValidationError):
        read(Sources, ["mine"])


def test_devices_are_numbered_where_there_are_several() -> None:
    for good in ("auto", "cpu", "cuda", "mps", "cuda:0", "cuda:11"):
        assert read(Device, good) == good
    for bad in ("cuda:", "cuda:x", "cpu:0", "gpu"):
        with pytest.raises(ValidationError):
            read(Device, bad)


def test_a_place_is_text_that_can_be_a_path() -> None:
    assert read(Place, "") == ""
    with pytest.raises(ValidationError):
        read(Place, "a\0b")


def test_rows_go_to_a_file_or_to_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(RowsFile, "") == ""
    assert read(RowsFile, str(tmp_path / "rows.jsonl")) == str(tmp_path / "rows.jsonl")
    with pytest.raises(ValidationError, match="cannot be written"):
        read(RowsFile, str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read(RowsFile, "~/rows.jsonl") == "~/rows.jsonl"
    with pytest.raises(ValidationError, match="it is a folder"):
        read(RowsFile, "~")


@pytest.mark.parametrize(
    ("annotation", "text"),
    [(int, "int"), ("int", "int"), ("'list[ int ]'", "list[int]"), (list[float], "list[float]")],
)
def test_types_are_texts_or_themselves(annotation: Any, text: str) -> None:
    assert type_name("names", annotation) == text


@pytest.mark.parametrize("annotation", [dict, "dict[str, int]", "Path", None])
def test_other_types_are_refused(annotation: Any) -> None:
    with pytest.raises(InputError, match="use one of int, float"):
        type_name("names", annotation)
