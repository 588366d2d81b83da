"""What every chapter keeps to, so that a reader finds the same things in the same places."""

from __future__ import annotations

import ast
import re

import jupytext
import pytest
from nbformat import NotebookNode

from synthbook.claims.catalogue import claims_of
from synthbook.record.chapters import chapters, find
from synthbook.record.rows import recorded_rows

HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
NAMES = [chapter.name for chapter in chapters()]
EXPERIMENTS = [name for name in NAMES if name != "62_claims"]  # which trains nothing
RECORDED = [name for name in NAMES if recorded_rows(name, "mini")]


def cells(name: str) -> list[NotebookNode]:
    return jupytext.read(find(name).script).cells


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def code(name: str) -> list[NotebookNode]:
    return [cell for cell in cells(name) if cell.cell_type == "code"]


def lines(cell: NotebookNode) -> list[str]:
    """Return the lines of a cell that are neither blank nor comments."""
    return [line for line in cell.source.splitlines() if line.strip() and line.strip()[0] != "#"]


def place(found: list[NotebookNode], test: object) -> int:
    return next(number for number, cell in enumerate(found) if test(cell))  # type: ignore[operator]


def is_picture(cell: NotebookNode) -> bool:
    return "figure" in cell.metadata.get("mystnb", {})


def is_check(cell: NotebookNode) -> bool:
    return re.search(r"\bparameters\(", cell.source) is not None


@pytest.mark.parametrize("name", NAMES)
def test_the_first_screen_answers(name: str) -> None:
    """The question, the answer in words, and the headline figure, before any code is shown."""
    every = cells(name)
    assert every[0].source.startswith(f"# {name[:2]} ")
    visible = place(every, lambda cell: cell.cell_type == "code" and not tags(cell) & HIDDEN)
    folded = every[:visible]
    if name in RECORDED:
        settings = place(every, lambda cell: "parameters" in tags(cell))
        assert any("answer(" in c.source for c in every[:settings] if c.cell_type == "code")
        assert any(is_picture(cell) for cell in folded)
        headings = [cell.source for cell in folded if cell.source.startswith("## ")]
        assert not headings[1:], "the headline figure belongs on the first screen"


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_their_check_are_folded_and_short(name: str) -> None:
    found = code(name)
    settings = place(found, lambda cell: "parameters" in tags(cell))
    check = found[settings + 1]
    assert is_check(check)
    assert tags(found[settings]) & HIDDEN
    assert tags(check) & HIDDEN
    assert len(lines(check)) <= 8
    assert sum(is_check(cell) for cell in found) == 1


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_experiment_is_short_and_leaves_rows(name: str) -> None:
    found = [cell for cell in code(name) if "experiment" in tags(cell)]
    assert found
    assert all(len(lines(cell)) <= 25 for cell in found)
    assert any("run.add(" in cell.source for cell in found)
    assert not any(tags(cell) & HIDDEN for cell in found)


@pytest.mark.parametrize("name", NAMES)
def test_visible_code_is_to_be_read(name: str) -> None:
    visible = [cell for cell in code(name) if not tags(cell) & HIDDEN]
    assert all(len(lines(cell)) <= 30 for cell in visible)
    for cell in visible:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 8, node.name
    before = 0
    for cell in code(name):
        if is_picture(cell) and "experiment" not in tags(cell) and before:
            break
        before += 0 if tags(cell) & HIDDEN else len(lines(cell))
    assert before <= 60


@pytest.mark.parametrize("name", NAMES)
def test_scales_and_names_are_not_typed(name: str) -> None:
    text = "\n".join(cell.source for cell in code(name) if "parameters" not in tags(cell))
    assert not re.search(r"(?<!size=)[\"'](mini|small|small_\w+|paper)[\"']", text)
    assert text.count(f'"{name}"') + text.count(f"'{name}'") <= 2  # its answer and its check


@pytest.mark.parametrize("name", RECORDED)
def test_rows_and_claims_can_be_checked_by_a_reader(name: str) -> None:
    found = code(name)
    assert any("page.agreement()" in cell.source for cell in found)
    compared = [cell for cell in found if "nbval-check-output" in tags(cell)]
    assert claims_of(name)
    assert any("page.claims(" in cell.source for cell in compared)
    # A run on other data replaces its answer afterwards.
    assert not any("answer(" in cell.source for cell in compared)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_have_words(name: str) -> None:
    for cell in code(name):
        if is_picture(cell):
            rendered = cell.metadata["mystnb"]
            assert len(rendered["figure"]["caption"]) > 40
            assert len(rendered["image"]["alt"]) > 40


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_reader_is_told_how_to_run_it_larger(name: str) -> None:
    words = "\n".join(cell.source for cell in cells(name)[1:] if cell.cell_type != "code")
    assert re.search(rf"papermill notebooks/{name}.ipynb|synthbook run {name}", words)
    assert "## What was simplified" in words
