from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from synthbook.errors import InputError
from synthbook.record import chapters

SCRIPT = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A chapter
# Its question.

# %% tags=["parameters"]
seeds: int = 1  # how many

# %%
print(seeds)

# %%
print(seeds)
"""


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "params" / "12_thing").mkdir(parents=True)
    (tmp_path / "params" / "12_thing" / "small.yaml").write_text("seeds: 3\n")
    (tmp_path / "_toc.yml").write_text("")
    (tmp_path / "notebooks" / "12_thing.py").write_text(SCRIPT)
    monkeypatch.setenv("SYNTHBOOK_ROOT", str(tmp_path))
    return tmp_path


def test_a_chapter_is_found_by_number_name_or_path(book: Path) -> None:
    for name in ("12", "12_thing", "notebooks/12_thing.ipynb"):
        assert chapters.find(name).name == "12_thing"
    assert chapters.find("12").title == "A chapter"
    assert chapters.find("12").scales == ("mini", "small")


def test_an_unknown_chapter_names_the_nearest(book: Path) -> None:
    with pytest.raises(InputError, match="did you mean '12_thing'"):
        chapters.find("12_thin")


def test_conversion_is_the_same_every_time_with_valid_unique_ids(book: Path) -> None:
    once, twice = (nbformat.writes(chapters.convert(chapters.find("12"))) for _ in range(2))
    assert once == twice
    notebook = nbformat.reads(once, as_version=4)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids) == 4
    assert notebook.cells[1].metadata.tags == ["parameters"]
    assert "jupytext_version" not in once


def test_an_edit_of_one_cell_changes_one_id(book: Path) -> None:
    before = [cell.id for cell in chapters.convert(chapters.find("12")).cells]
    script = book / "notebooks" / "12_thing.py"
    script.write_text(SCRIPT.replace("Its question.", "Another question."))
    after = [cell.id for cell in chapters.convert(chapters.find("12")).cells]
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
