"""Running chapters: as a reader asks, and once for the book, when what a page rests on changed."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from synthbook.claims.decide import chapters_of, claims_of
from synthbook.record.chapters import Chapter, convert
from synthbook.store import atomic_write, code_behind, root

SIZE_LIMIT = 300_000
"""Bytes that an executed notebook may have."""


def execute(
    source: Path, target: Path, parameters: Mapping[str, Any] | None = None, *, bar: bool = False
) -> str:
    """Run the notebook ``source`` with papermill and save it as ``target`` cell by cell.

    The kernel's working folder is the caller's, so that relative paths of a user's data mean what
    they mean in the shell (as with papermill itself).

    Returns:
        "", or what went wrong; ``target`` then holds what was reached.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            str(source), str(target), parameters=dict(parameters or {}), kernel_name="python3",
            progress_bar=bar,
            # Not what every kernel says on starting up (that it listens on an unencrypted port).
            extra_arguments=["--log-level=ERROR"],
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except DeadKernelError:
        return "its kernel died, perhaps for want of memory"
    return ""


def run(chapter: Chapter, values: Mapping[str, Any], output: Path, *, bar: bool = False) -> str:
    """Run a chapter's source with parameters that were checked; write ``output``.

    What is run is the ``.py`` source: an ``.ipynb`` beside it may be older.

    Returns:
        "", or what went wrong.
    """
    with atomic_write(output) as stream:
        nbformat.write(convert(chapter), stream)
    return execute(output, output, values, bar=bar)


# ---- for the book --------------------------------------------------------------------------------


def code_cells(notebook: nbformat.NotebookNode, *tags: str) -> str:
    """Return the code of a notebook, or of its cells with one of the tags."""
    return "\n".join(
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and (not tags or {*tags} & {*cell.metadata.get("tags", [])})
    )


def reads(chapter: Chapter) -> list[Path]:
    """Return the files of the book that a chapter's output at ``mini`` depends on.

    Its own recorded rows and scales; with claims, those of the chapters that they read, and the
    paper's values. The page of all claims reads everything.
    """
    top, claims = root(), claims_of(chapter.name)
    everything = "claims_page" in chapter.script.read_text(encoding="utf-8")
    names = {chapter.name}.union(*(chapters_of(claim) for claim in claims))
    papers = {claim.paper for claim in claims}
    rows = "*" if everything else None
    found = [top / "requirements.lock", *(top / "params" / chapter.name).glob("*.yaml")]
    for name in [rows] if rows else names:
        found += (top / "results").glob(f"*/{name}.jsonl")
    for paper in ["*"] if everything else papers:
        found += (top / "book" / "paper").glob(f"*_{paper}.*")
    return sorted({path for path in found if path.is_file()})


def key(chapter: Chapter) -> str:
    """Return a hash of all that a chapter's output depends on, at scale ``mini``."""
    source = convert(chapter)
    digest = hashlib.sha256(nbformat.writes(source).encode())
    digest.update(code_behind(code_cells(source)).encode())
    for path in reads(chapter):
        digest.update(f"\x1e{path.relative_to(root())}\x1f".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def executed(chapter: Chapter) -> Path:
    """Return where the book keeps the executed chapter: a name that changes with its `key`."""
    return root() / "_build" / "executed" / f"{chapter.name}.{key(chapter)}.ipynb"


def run_for_the_book(chapter: Chapter) -> list[str]:
    """Execute a chapter into `executed`, and remove older ones; return what is wrong with it."""
    target = executed(chapter)
    part = target.parent / "part" / f"{chapter.name}.ipynb"
    start = time.monotonic()
    fault = run(chapter, {}, part)
    notebook = clean(nbformat.read(part, as_version=4))
    wrong = faults(notebook) or ([fault] if fault else [])
    if wrong:
        return [*wrong, f"what it reached: {part.relative_to(root())}"]
    for older in target.parent.glob(f"{chapter.name}.*.ipynb"):
        older.unlink()
    with atomic_write(target) as stream:
        stream.write(nbformat.writes(notebook) + "\n")
    part.unlink()
    print(f"{chapter.name:28} {time.monotonic() - start:5.1f} s", flush=True)
    return []


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove what differs between two equal runs: times and run ids."""
    for name in ("papermill", "widgets"):
        notebook.metadata.pop(name, None)
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
    return notebook


def faults(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what must not be published: tracebacks, warnings, the machine's paths, sheer size."""
    found = []
    paths = re.compile("|".join(re.escape(p) for p in {str(root()), str(Path.home()), sys.prefix}))
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            text = json.dumps(output)
            if output.output_type == "error":
                found.append(f"cell {number} raised {output.ename}: {output.evalue}")
            elif output.output_type == "stream" and output.name == "stderr":
                found.append(f"cell {number} wrote to stderr: {output.text.strip()[:200]}")
            elif paths.search(text):
                found.append(f"cell {number} shows a path of this machine")
    size = len(nbformat.writes(notebook).encode())
    if size > SIZE_LIMIT:
        found.append(f"the notebook has {size:,} bytes, more than {SIZE_LIMIT:,}")
    return found
