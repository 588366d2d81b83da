from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from synthbook.press import book as press
from synthbook.record.chapters import chapters, convert, find
from synthbook.store import root

SCRIPT = """# %% [markdown]
# # A chapter

# %% tags=["parameters"]
seeds: int = 1  # how many

# %%
{body}
"""


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("notebooks", "params", "results", "book/paper"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("_toc.yml", "_config.yml", "requirements.lock"):
        (tmp_path / name).write_text("")
    monkeypatch.setenv("SYNTHBOOK_ROOT", str(tmp_path))
    return tmp_path


def _chapter(book: Path, body: str) -> None:
    (book / "notebooks" / "12_thing.py").write_text(SCRIPT.format(body=body))


def _output(**fields: object) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell("x", outputs=[nbformat.v4.new_output(**fields)])
    return nbformat.v4.new_notebook(cells=[cell])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"output_type": "error", "ename": "E", "evalue": "bad", "traceback": []}, "raised"),
        ({"output_type": "stream", "name": "stderr", "text": "UserWarning"}, "stderr"),
        ({"output_type": "stream", "name": "stdout", "text": "x" * 400_000}, "bytes"),
        ({"output_type": "stream", "name": "stdout", "text": "<root>/data"}, "path"),
    ],
)
def test_outputs_that_must_not_be_published_are_found(fields: dict, words: str) -> None:
    if "text" in fields:
        fields = {**fields, "text": fields["text"].replace("<root>", str(root()))}
    assert any(words in fault for fault in press.faults(_output(**fields)))


def test_a_clean_notebook_has_no_faults_and_keeps_its_outputs() -> None:
    notebook = _output(output_type="stream", name="stdout", text="fine")
    notebook.metadata["papermill"] = {"duration": 1.0}
    notebook.cells[0].metadata["execution"] = {"iopub.status.busy": "now"}
    cleaned = press.clean(notebook)
    assert press.faults(cleaned) == []
    assert [output.output_type for output in cleaned.cells[0].outputs] == ["stream"]
    assert "papermill" not in cleaned.metadata
    assert not cleaned.cells[0].metadata


def test_the_long_plain_form_of_a_table_is_left_out() -> None:
    data = {"text/plain": "x" * 5000, "text/html": "<table></table>"}
    cleaned = press.clean(_output(output_type="display_data", data=data))
    assert cleaned.cells[0].outputs[0].data == {**data, "text/plain": "a table"}
    short = {"text/plain": "one", "text/html": "<b>one</b>"}
    cleaned = press.clean(_output(output_type="display_data", data=short))
    assert cleaned.cells[0].outputs[0].data == short


@pytest.mark.slow
def test_a_chapter_runs_once_until_it_changes_and_its_bytes_repeat(book: Path) -> None:
    _chapter(book, "print(seeds + 1)")
    folder = book / "_build" / "executed"
    wrong, seconds = press.run(find("12"), folder)
    assert (wrong, seconds > 0) == ("", True)
    target = folder / "12_thing.ipynb"
    first = target.read_bytes()
    assert press.run(find("12"), folder) == ("", 0.0)
    (folder / "12_thing.json").write_text(json.dumps({"key": "old"}))
    assert press.run(find("12"), folder)[1] > 0
    assert target.read_bytes() == first
    _chapter(book, "print(seeds + 2)")
    assert press.run(find("12"), folder)[1] > 0
    assert "3" in nbformat.read(target, 4).cells[2].outputs[0].text


@pytest.mark.slow
def test_a_chapter_that_raises_fails_and_keeps_what_it_reached(book: Path) -> None:
    _chapter(book, "print('so far')\nraise ValueError('broken')")
    wrong, _ = press.run(find("12"), book / "_build" / "executed")
    assert "broken" in wrong
    assert not (book / "_build" / "executed" / "12_thing.ipynb").exists()
    assert "so far" in (book / "_build" / "executed" / "part" / "12_thing.ipynb").read_text()


def test_pairs_that_differ_are_named(book: Path) -> None:
    _chapter(book, "print(1)")
    assert any("has no 12_thing.ipynb" in wrong for wrong in press.unpaired())
    notebook = convert(find("12"))
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", name="stdout", text="1\n")]
    nbformat.write(notebook, find("12").notebook)
    assert press.unpaired() == []
    _chapter(book, "print(2)")
    assert any("is not what 12_thing.py says" in wrong for wrong in press.unpaired())


def test_the_key_follows_results_and_parameters_but_not_the_executed_notebook(book: Path) -> None:
    _chapter(book, "print(1)")
    before = press.key(find("12"))
    (book / "notebooks" / "12_thing.ipynb").write_text("{}")
    assert press.key(find("12")) == before
    (book / "results" / "mini").mkdir()
    (book / "results" / "mini" / "12_thing.jsonl").write_text("{}\n")
    assert press.key(find("12")) != before


def test_the_key_covers_what_a_chapter_imports_only_when_it_runs() -> None:
    behind = press.modules_behind(convert(find("12_not_mutual")))
    # verdict_table imports the claims in a function
    assert {
        "synthbook.claims.decide",
        "synthbook.page.tables",
        "synthbook.generate.generators",
    } <= set(behind)
    assert "synthbook.studies.audit" not in behind


def test_every_chapter_of_the_book_is_listed_in_its_contents() -> None:
    text = (root() / "_toc.yml").read_text()
    for chapter in chapters():
        assert f"notebooks/{chapter.name}" in text
        assert len(chapter.scales) >= 2, f"{chapter.name} has no parameter file"
