"""The book: chapters that changed are executed, staged with the prose, and built into HTML.

Jupyter Book's own execution cache ignores changes of the library, so execution is a step of its
own, by Snakemake (``workflow/Snakefile``), whose key includes all code behind a chapter.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import nbformat

from synthbook.locks import alone
from synthbook.page.evidence import published_at
from synthbook.page.headlines import with_headlines
from synthbook.press.execute import executed, faults
from synthbook.press.grids import check_jobs, missing, snakemake
from synthbook.press.models_page import models_page
from synthbook.press.plan import coverage_page
from synthbook.record.agreement import compare
from synthbook.record.chapters import chapters, convert
from synthbook.record.parameters import check_values
from synthbook.record.rows import Row, check_times, latest, read, recorded_rows
from synthbook.store import atomic_write, root


def building(task: str) -> AbstractContextManager[int]:
    """Return the lock of all commands that execute chapters for the book."""
    return alone(root() / "_build" / "book.lock", task)


def run_all(jobs: int, lock: int) -> dict[str, Path]:
    """Execute all chapters that changed, ``jobs`` at a time; return chapter -> executed notebook.

    If one fails, all others are tried before the program ends. ``lock`` is of `building`.
    """
    targets = {chapter.name: executed(chapter) for chapter in chapters()}
    left = missing(path.relative_to(root()) for path in targets.values())
    print(f"{len(targets)} chapters, {len(targets) - len(left)} unchanged", flush=True)
    if left and snakemake(left, jobs, lock):
        moved = [c.name for c in chapters() if executed(c) != targets[c.name]]
        late = f", or, of {', '.join(moved)}, changed while they ran: run it again" if moved else ""
        sys.exit(f"some chapters failed: see above{late}")
    return targets


def figure_first(content: bytes) -> bytes:
    """Return an executed notebook, as JSON, with its first figure right behind its answer.

    So the first screen of a page has both, above the parameters, which the figure's cell needs when
    the notebook runs. Code cells behind it come along, up to the next text: they say in short what
    it shows. Where text stands between the two, or one is missing, nothing is moved. What a
    figure's cell says besides its picture becomes a cell before it, since each output of such a
    cell would be a figure of that name.
    """
    notebook = nbformat.reads(content.decode(), as_version=4)
    cells = notebook.cells
    said = [(k, _beside_picture(cell)) for k, cell in enumerate(cells)]
    for k, outputs in reversed([pair for pair in said if pair[1]]):
        cells[k].outputs = [one for one in cells[k].outputs if one not in outputs]
        how = {"metadata": {"tags": ["remove-input"]}, "id": f"{cells[k].id}-said"}
        # MyST-NB passes over a cell without source.
        cells.insert(k, nbformat.v4.new_code_cell("# in words", outputs=outputs, **how))
    unmoved = nbformat.writes(notebook).encode() if any(one for _, one in said) else content
    answers = [k for k, cell in enumerate(cells) if re.search(r"^answer\(", cell.source, re.M)]
    figures = [k for k, cell in enumerate(cells) if "figure" in cell.metadata.get("mystnb", {})]
    if not (answers and figures and answers[0] < figures[0]):
        return unmoved
    figures[0] -= bool(cells[figures[0] - 1].id.endswith("-said"))
    between = cells[answers[0] + 1 : figures[0]]
    if any(cell.cell_type != "code" for cell in between):
        return unmoved
    texts = (k for k in range(figures[0], len(cells)) if cells[k].cell_type != "code")
    end = next(texts, len(cells))
    cells[answers[0] + 1 : end] = cells[figures[0] : end] + between
    return nbformat.writes(notebook).encode()


def _beside_picture(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return the outputs of a figure's cell that are no picture, where it has one too."""
    if "figure" not in cell.metadata.get("mystnb", {}):
        return []
    shown = [one for one in cell.outputs if "data" in one]
    others = [one for one in shown if "image/png" not in one.data]
    return others if len(others) < len(shown) else []


def stage(targets: dict[str, Path]) -> tuple[Path, str]:
    """Copy all that Jupyter Book reads into ``_build/source``; return it and its hash.

    A copy, so that a build leaves the clone as it was and finds no stray Markdown in it. The
    recorded rows and the claims go along, for the links of `page.claims_page`, and the pages that
    are made here; on the first page, what came out so far is. Notebooks are as in `figure_first`.
    """
    target = root() / "_build" / "source"
    paths = [root() / "_config.yml", root() / "_toc.yml", *(root() / "book").rglob("*")]
    files = {p.relative_to(root()): p for p in paths if p.is_file() and p.suffix != ".pyc"}
    for path in [*root().glob("results/*/*.jsonl"), *root().glob("book/paper/claims_*.yml")]:
        files[Path("book", "_static") / published_at(path.relative_to(root()))] = path
    contents = {name: path.read_bytes() for name, path in files.items()}
    for name, path in targets.items():
        contents[Path("notebooks", f"{name}.ipynb")] = figure_first(path.read_bytes())
    contents[Path("book", "coverage.md")] = coverage_page().encode()
    contents |= models_page()
    if first := contents.get(Path("book", "intro.md")):
        contents[Path("book", "intro.md")] = with_headlines(first.decode()).encode()
    shutil.rmtree(target, ignore_errors=True)
    digest = hashlib.sha256((root() / "requirements.lock").read_bytes())
    for name, content in sorted(contents.items()):
        digest.update(f"\x1e{name}\x1f".encode() + content)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    return target, digest.hexdigest()


def book(jobs: int) -> None:
    """Execute what changed and build ``_build/html``; any warning of the build is an error."""
    check_jobs(jobs)
    start = time.monotonic()
    with building("building the book") as lock:
        targets = run_all(jobs, lock)
        html = _built(*stage(targets), lock)
        for name, path in targets.items():  # what a page offers to run has its cells in their order
            offered = html / "_sources" / "notebooks" / f"{name}.ipynb"
            if offered.is_file() and offered.read_bytes() != (content := path.read_bytes()):
                with atomic_write(offered, "wb") as stream:
                    stream.write(content)
    print(f"the book is at {html / 'index.html'} ({time.monotonic() - start:.0f} s)")


def _built(source: Path, wanted: str, lock: int) -> Path:
    """Build the staged files into ``_build/html``, if their hash is another; return the folder."""
    html, stamp = root() / "_build" / "html", root() / "_build" / "html.key"
    if not (stamp.is_file() and stamp.read_text() == wanted and (html / "index.html").is_file()):
        stamp.unlink(missing_ok=True)
        shutil.rmtree(html, ignore_errors=True)
        program = str(Path(sys.executable).with_name("jupyter-book"))
        command = [program, "build", str(source), "--path-output", str(root()), "--all"]
        command += ["-n", "-W", "--keep-going", "--quiet"]
        log = root() / "_build" / "book.log"
        with log.open("w", encoding="utf-8") as stream:
            done = subprocess.run(
                command, stdout=stream, stderr=subprocess.STDOUT, pass_fds=(lock,)
            )
        if done.returncode:
            print(log.read_text(encoding="utf-8")[-6000:], file=sys.stderr)
            sys.exit("the book has warnings; all of the build's output is in _build/book.log")
        stamp.write_text(wanted)
    return html


def notebooks(jobs: int) -> None:
    """Put the executed notebooks beside their sources."""
    check_jobs(jobs)
    with building("executing the notebooks") as lock:
        targets = run_all(jobs, lock)
        for chapter in chapters():
            content = targets[chapter.name].read_bytes()
            if not chapter.notebook.is_file() or chapter.notebook.read_bytes() != content:
                with atomic_write(chapter.notebook, "wb") as stream:
                    stream.write(content)
                print(f"wrote notebooks/{chapter.name}.ipynb")


def pairing() -> None:
    """Check that every notebook is the executed form of its source."""

    def read(notebook: nbformat.NotebookNode) -> list[tuple]:
        return [(c.cell_type, c.id, c.source, c.metadata) for c in notebook.cells]

    names = {chapter.name for chapter in chapters()}
    stored = {path.stem for path in (root() / "notebooks").glob("*.ipynb")}
    wrong = [f"{name}.ipynb has no {name}.py" for name in sorted(stored - names)]
    wrong += [f"{name}.py has no {name}.ipynb" for name in sorted(names - stored)]
    for chapter in (chapter for chapter in chapters() if chapter.name in stored):
        notebook = nbformat.read(chapter.notebook, as_version=4)
        if read(notebook) != read(convert(chapter)):
            wrong.append(f"{chapter.name}.ipynb is not what {chapter.name}.py says")
        if not any(cell.get("outputs") for cell in notebook.cells):
            wrong.append(f"{chapter.name}.ipynb stores no outputs")
        wrong += [f"{chapter.name}.ipynb: {fault}" for fault in faults(notebook)]
    if wrong:
        sys.exit("\n".join([*wrong, "write them anew: make notebooks"]))
    print(f"{len(names)} notebook pairs agree")


def agreement() -> None:
    """Compare the newest rows of each chapter's own run, at its defaults, with the recorded ones.

    It is a fault if they differ by more than another processor explains, or if there are none,
    unless the run is of other parts of the chapter than those that are on record yet.
    """

    def parts(rows: Iterable[Row]) -> set[object]:
        return {row.setting.get("part") for row in rows}

    wrong = []
    for chapter in chapters():
        if not (recorded := recorded_rows(chapter.name, "mini")):
            continue
        path = root() / "_build" / "rows" / f"{chapter.name}.jsonl"
        own = check_values(chapter.name, {}).hash  # other runs of a reader leave rows there too
        every = latest(read(path)) if path.is_file() else []
        rows = [row for row in every if row.provenance.parameters == own]
        check_times(rows, path)
        result = compare(rows, recorded)
        print(f"{chapter.name:28} {result.text}")
        made = parts(rows)
        apart = made and made.isdisjoint(parts(recorded) | {None})
        if not result.ok or not (result.compared or apart):
            wrong.append(chapter.name)
    if wrong:
        sys.exit(f"not what is on record: {', '.join(wrong)}; rerun a cell: synthbook verify NAME")
