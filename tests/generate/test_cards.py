"""Cards of kept models: one way to write and check them, whatever the model is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synthbook.errors import InputError
from synthbook.generate.cards import CARD, check_files, places, put, read, remedy, sum_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of one file, sealed, whose card has numbers as names, and words of all letters."""
    part = tmp_path / ".it.part"
    part.mkdir()
    (part / "weights").write_bytes(b"1")
    put(part, tmp_path / "it", {"name": "it", "curve": {2: 1.5, 10: 0.1}, "classes": ("Äpfel",)})
    return tmp_path / "it"


def test_what_was_written_is_read_and_the_folder_is_whole(folder: Path) -> None:
    card = read(folder, {"curve"}, "a thing", "make it anew")
    assert (card["curve"], card["classes"]) == ({"2": 1.5, "10": 0.1}, ["Äpfel"])
    assert card["files"].keys() == {"weights"}
    assert card["sum"] == sum_of(card)
    check_files(folder, card, "make it anew")
    assert [path.name for path in folder.parent.iterdir()] == ["it"]


def test_an_altered_card_or_file_is_refused_with_the_remedy(folder: Path) -> None:
    file, card = folder / CARD, read(folder, (), "a thing", "")
    with pytest.raises(InputError, match="is no card of a thing; make it anew"):
        read(folder, {"probe"}, "a thing", "make it anew")
    file.write_text(json.dumps(card | {"curve": {}}))
    with pytest.raises(InputError, match="not as it was written; make it anew"):
        read(folder, (), "a thing", "make it anew")
    del card["sum"]  # as cards were before they had one
    file.write_text(json.dumps(card))
    assert read(folder, (), "a thing", "") == card
    (folder / "weights").write_bytes(b"2")
    with pytest.raises(InputError, match=r"weights is not the file .*; make it anew"):
        check_files(folder, card, "make it anew")


def test_what_comes_with_the_book_is_restored_and_other_things_are_made_anew() -> None:
    book, here = places()
    assert remedy(book / "dip/faces-0", "x").endswith("(git checkout -- models/dip/faces-0)")
    assert remedy(here / "dip/faces-0", "x") == "x"
    assert "make models" in remedy(here / "gan-0")
