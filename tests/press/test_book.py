from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest

from synthbook.errors import InputError
from synthbook.page import headlines
from synthbook.page.tables import Display
from synthbook.press import book as press
from synthbook.press import execute
from synthbook.record.chapters import chapters, convert, find
from synthbook.record.parameters import check_values
from synthbook.record.rows import Row, append, provenance
from synthbook.store import root

SCRIPT = """# %% [markdown]
# # A chapter

# %% tags=["parameters"]
seeds: int = 1  # how many

# %%
{body}
"""


@pytest.fixture
def book(new_book) -> Path:
    return new_book({"notebooks/12_thing.py": SCRIPT.format(body="print(1)")})


def _chapter(book: Path, body: str) -> None:
    (book / "notebooks" / "12_thing.py").write_text(SCRIPT.format(body=body))


def run_all() -> dict[str, Path]:
    with press.building("a test") as lock:
        return press.run_all(1, lock)


def _output(**fields: object) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell("x", outputs=[nbformat.v4.new_output(**fields)])
    return nbformat.v4.new_notebook(cells=[cell])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"output_type": "error", "ename": "E", "evalue": "bad", "traceback": []}, "raised"),
        ({"output_type": "stream", "name": "stderr", "text": "UserWarning"}, "stderr"),
        ({"output_type": "stream", "name": "stdout", "text": "x" * 500_000}, "bytes"),
        ({"output_type": "stream", "name": "stdout", "text": f"{root()}/data"}, "path"),
    ],
    ids=["error", "warning", "size", "path"],
)
def test_outputs_that_must_not_be_published_are_found(fields: dict, words: str) -> None:
    assert any(words in fault for fault in execute.faults(_output(**fields)))


@pytest.mark.parametrize(
    ("top", "home", "text", "shown"),
    [
        ("/book", "/", '<a href="../book/how_to_read.html">', False),
        ("/notebooks", "/", '<a href="../notebooks/x.html">', False),
        ("/book", "/root", "https://host/book, /bookshelf, /book-2, /rooted", False),
        ("/book", "/home/me", "see /home/me/x", True),
        ("/book", "/root", "in:\n/book", True),
        ("/book", "/root", "\x1b[34m/book/x\x1b[0m", True),
        ("/book", "/root", "file:///book/x", True),
        ("/home/j\u00fcrgen/book", "/", "/home/j\u00fcrgen/book/x", True),
        ('/home/a "b"', "/", '/home/a "b"/x', True),
    ],
)
def test_a_path_of_the_machine_is_a_whole_one(
    top: str, home: str, text: str, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "root", lambda: Path(top))
    monkeypatch.setattr(Path, "home", lambda: Path(home))
    for field in ({"output_type": "stream", "name": "stdout", "text": text},
                  {"output_type": "display_data", "data": {"text/html": text}}):  # fmt: skip
        assert bool(execute.faults(_output(**field))) is shown


def test_a_clean_notebook_has_no_faults_and_loses_only_times() -> None:
    notebook = _output(output_type="stream", name="stdout", text="fine")
    notebook.metadata["papermill"] = {"duration": 1.0}
    notebook.cells[0].metadata["execution"] = {"iopub.status.busy": "now"}
    cleaned = execute.clean(notebook)
    assert execute.faults(cleaned) == []
    assert [output.output_type for output in cleaned.cells[0].outputs] == ["stream"]
    assert "papermill" not in cleaned.metadata
    assert not cleaned.cells[0].metadata


@pytest.mark.slow
def test_a_chapter_runs_once_until_it_changes_and_its_bytes_repeat(
    book: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _chapter(book, "print(seeds + 1)")
    target = run_all()["12_thing"]
    first = target.read_bytes()
    assert "1 chapters, 0 unchanged" in capfd.readouterr().out
    run_all()
    assert "1 chapters, 1 unchanged" in capfd.readouterr().out
    changed = bytearray(first)
    changed[len(first) // 2] ^= 1
    target.write_bytes(changed)
    assert run_all()["12_thing"].read_bytes() == first
    _chapter(book, "print(seeds + 2)")
    other = run_all()["12_thing"]
    assert "3" in nbformat.read(other, 4).cells[2].outputs[0].text
    assert other != target
    assert len(list(target.parent.glob("12_thing.*"))) == 2  # older ones do not pile up


@pytest.mark.slow
def test_a_chapter_that_raises_fails_and_keeps_what_it_reached(
    book: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _chapter(book, "print('so far')\nraise ValueError('broken')")
    with pytest.raises(SystemExit, match="some chapters failed"):
        run_all()
    assert "ValueError: broken" in capfd.readouterr().err
    assert list((book / "_build" / "executed").glob("*.ipynb")) == []
    assert "so far" in (book / "_build" / "executed" / "part" / "12_thing.ipynb").read_text()


@pytest.mark.parametrize("command", [press.book, press.notebooks])
@pytest.mark.parametrize("jobs", [0, -1])
def test_no_jobs_are_refused_before_anything_is_made(command, jobs: int, book: Path) -> None:
    with pytest.raises(InputError, match=f"jobs = {jobs} runs nothing"):
        command(jobs)
    assert not (book / "_build").exists()


def test_a_notebook_that_a_full_disk_cut_is_a_failure_in_a_sentence(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(_: object, __: object, output: Path) -> str:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text('{"cells": [')
        return f"'{output}' cannot be written (No space left on device); is the disk full?"

    monkeypatch.setattr(execute, "run", cut)
    with pytest.raises(SystemExit, match=r"12_thing FAILED: .*No space left on device") as ended:
        execute.execute("12")
    assert str(ended.value).strip().count("\n") == 0
    assert list((book / "_build/executed").glob("*.ipynb")) == []


def test_a_chapter_that_changes_while_it_runs_is_named(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object) -> int:
        _chapter(book, "print(2)")
        return 1

    monkeypatch.setattr(press, "snakemake", late)
    with pytest.raises(SystemExit, match=r"of 12_thing, changed while they ran: run it again"):
        run_all()
    monkeypatch.setattr(press, "snakemake", lambda *_: 1)
    with pytest.raises(SystemExit, match=r"failed: see above$"):
        run_all()


def test_pairs_that_differ_are_named(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"12_thing.py has no 12_thing.ipynb"):
        press.pairing()
    notebook = convert(find("12"))
    nbformat.write(notebook, find("12").notebook)
    with pytest.raises(SystemExit, match=r"12_thing.ipynb stores no outputs"):
        press.pairing()
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", name="stdout", text="1\n")]
    nbformat.write(notebook, find("12").notebook)
    press.pairing()
    assert capsys.readouterr().out == "1 notebook pairs agree\n"
    nbformat.write(notebook, book / "notebooks" / "13_other.ipynb")
    _chapter(book, "print(2)")
    with pytest.raises(SystemExit, match=r"13_other.py\n.*is not what 12_thing.py says"):
        press.pairing()


def test_the_key_follows_results_and_parameters_but_not_the_executed_notebook(book: Path) -> None:
    before = execute.executed(find("12"))
    (book / "notebooks" / "12_thing.ipynb").write_text("{}")
    (book / "results" / "mini").mkdir()
    (book / "results" / "mini" / "13_other.jsonl").write_text("{}\n")
    assert execute.executed(find("12")) == before  # rows of other chapters are no reason
    (book / "params" / "12_thing").mkdir(parents=True)
    (book / "params" / "12_thing" / "small.yaml").write_text("seeds: 3\n")
    small = execute.executed(find("12"))
    (book / "results" / "mini" / "12_thing.jsonl").write_text("{}\n")
    rows = execute.executed(find("12"))
    assert len({before, small, rows}) == 3
    (book / "models" / "mine").mkdir(parents=True)
    (book / "models" / "mine" / "card.json").write_text("{}\n")
    assert execute.executed(find("12")) not in {before, small, rows}


def test_rows_of_a_chapter_concern_the_pages_of_its_claims_and_the_page_of_all() -> None:
    def concerned(name: str) -> set[str]:
        rows = root() / "results" / "mini" / f"{name}.jsonl"
        return {chapter.name for chapter in chapters() if rows in execute.reads(chapter)}

    assert concerned("51_synthesizer") == {"51_synthesizer", "62_claims"}
    assert "12_not_mutual" in concerned("11_generators")  # has a premise there


def test_every_chapter_of_the_book_is_listed_in_its_contents() -> None:
    text = (root() / "_toc.yml").read_text()
    for chapter in chapters():
        assert f"notebooks/{chapter.name}" in text
        assert len(chapter.scales) >= 2, f"{chapter.name} has no parameter file"


def test_what_is_staged_has_the_page_of_coverage_and_what_links_of_claims_lead_to(
    book: Path,
) -> None:
    (book / "results/mini").mkdir()
    (book / "results/mini/12_thing.jsonl").write_text("{}\n")
    source, first = press.stage({})
    assert (source / "book/coverage.md").read_text().startswith("# What no parameter can produce")
    assert (source / "book/_static/rows/mini/12_thing.jsonl").read_text() == "{}\n"
    assert (source / "book/_static/claims/claims_gap.yml").read_text() == "[]"
    assert press.stage({})[1] == first
    (book / "results/mini/12_thing.jsonl").write_text("{}\n{}\n")
    assert press.stage({})[1] != first


def _page(*between: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a chapter as it is executed: answer, what lies between, two figures, text."""

    def code(source: str, text: str, **metadata: object) -> nbformat.NotebookNode:
        outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
        return nbformat.v4.new_code_cell(source, outputs=outputs, metadata=metadata)

    first, second = ({"figure": {"name": name, "caption": "It."}} for name in ("fig-a", "fig-b"))
    return nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell("# A chapter"), code("x\n\nanswer('12')", "told"), *between,
        code("draw()", "drawn", mystnb=first), code("in_short()", "said"),
        nbformat.v4.new_markdown_cell("## The mechanism"),
        code("draw_more()", "more", mystnb=second),
    ])  # fmt: skip


def test_on_a_staged_page_the_figure_stands_right_behind_the_answer(
    book: Path, tmp_path: Path
) -> None:
    parameters, check = (nbformat.v4.new_code_cell(text) for text in ("seeds = 1", "check()"))
    path, notebook = tmp_path / "12_thing.ipynb", _page(parameters, check)
    nbformat.write(notebook, path)
    stored = path.read_bytes()
    source, _ = press.stage({"12_thing": path})
    staged = nbformat.read(source / "notebooks/12_thing.ipynb", as_version=4)
    head, answer, seeds, checked, figure, said, *rest = notebook.cells
    wanted = [head, answer, figure, said, seeds, checked, *rest]
    assert staged.cells == wanted  # with ids, outputs, anchors
    assert staged.metadata == notebook.metadata
    assert path.read_bytes() == stored


def test_what_a_figure_says_besides_its_picture_stands_before_it() -> None:
    words, picture = (
        nbformat.v4.new_output("display_data", {kind: "x"}) for kind in ("text/html", "image/png")
    )
    notebook = _page(nbformat.v4.new_code_cell("seeds = 1"))
    notebook.cells[3].outputs = [words, picture]
    staged = nbformat.reads(press.figure_first(nbformat.writes(notebook).encode()), as_version=4)
    said, figure = staged.cells[2:4]
    assert (said.outputs, said.metadata.tags) == ([words], ["remove-input"])
    assert said.source  # without any MyST-NB leaves the cell out
    assert (figure.outputs, figure.source) == ([picture], "draw()")
    assert [cell.source for cell in staged.cells[4:6]] == ["in_short()", "seeds = 1"]


@pytest.mark.parametrize("kind", ["text between", "no answer", "no figure"])
def test_else_a_staged_notebook_is_what_was_executed(kind: str) -> None:
    notebook = _page(nbformat.v4.new_markdown_cell("## More"))
    if kind == "no answer":
        del notebook.cells[1:3]
    if kind == "no figure":
        del notebook.cells[3:]
    content = (nbformat.writes(notebook) + "\n").encode()
    assert press.figure_first(content) == content


def test_what_a_page_offers_is_the_notebook_as_it_was_executed(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "12_thing.ipynb"
    nbformat.write(_page(nbformat.v4.new_code_cell("seeds = 1")), path)

    def built(source: Path, *_: object) -> Path:
        shutil.copytree(source / "notebooks", tmp_path / "html/_sources/notebooks")
        return tmp_path / "html"

    monkeypatch.setattr(press, "run_all", lambda *_: {"12_thing": path, "13_left_out": path})
    monkeypatch.setattr(press, "_built", built)
    press.book(1)
    assert (tmp_path / "html/_sources/notebooks/12_thing.ipynb").read_bytes() == path.read_bytes()


def test_the_first_page_is_staged_with_what_came_out(
    new_book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headlines, "came_out", lambda: Display("<p>so far</p>", ""))
    script = {"notebooks/12_thing.py": SCRIPT.format(body="print(1)")}
    top = new_book({**script, "book/intro.md": f"# A book\n\n{headlines.PLACE}\n\nmore\n"})
    source, _ = press.stage({})
    assert (source / "book/intro.md").read_text() == "# A book\n\n<p>so far</p>\n\nmore\n"
    (top / "book/intro.md").write_text("# A book\n")
    with pytest.raises(InputError, match="has to have this line once"):
        press.stage({})


def _row(seed: int = 0, value: float = 0, values: dict | None = None, **setting: object) -> Row:
    """Return a row of a run of 12_thing with parameters that are not its defaults, if any."""
    return Row(
        chapter="12_thing", method="plain", train="real", test="real", dataset="d", backbone="",
        setting=setting, metric="top1_accuracy", value=value or 50.0 + seed, seed=seed,
        scale="mini", provenance=provenance(check_values("12_thing", values or {})),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("made", "found"),
    [
        ([], "not what is on record: 12_thing"),  # the chapter was not run
        ([{"part": "a"}], ""),
        ([{"part": "a", "k": 1}], "not what is on record: 12_thing"),
        ([{"part": "b"}], ""),  # none of it is on record yet
        ([{"part": "b"}, {"part": "a", "k": 1}], "not what is on record: 12_thing"),
        ([{}], "not what is on record: 12_thing"),
    ],
)
def test_a_run_must_have_rows_of_those_parts_that_are_on_record(book, made, found) -> None:
    append(book / "results" / "mini" / "12_thing.jsonl", [_row(s, part="a") for s in range(5)])
    append(book / "_build" / "rows" / "12_thing.jsonl", [_row(**setting) for setting in made])
    if found:
        with pytest.raises(SystemExit, match=found):
            press.agreement()
    else:
        press.agreement()


def test_rows_of_other_runs_of_a_reader_are_not_compared(
    book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append(book / "results/mini/12_thing.jsonl", [_row(seed, k=1) for seed in range(5)])
    older = {"value": 99.0, "values": {"seeds": 5}}
    append(book / "_build/rows/12_thing.jsonl", [_row(0, k=1), _row(3, k=1, **older)])
    press.agreement()
    assert "1 rows, 1 on record for the same seed, 1 equal." in capsys.readouterr().out
