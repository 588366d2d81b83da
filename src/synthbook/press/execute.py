"""Running chapters: as a reader asks, and once for the book, when what a page rests on changed."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from synthbook import sums
from synthbook.claims.catalogue import claims_of, deciding_chapters
from synthbook.keys import code_behind, key_hash
from synthbook.locks import alone
from synthbook.record.chapters import Chapter, convert, find
from synthbook.store import atomic_write, root

SAFE_PATH = "PYTHONSAFEPATH"  # asks Python to keep the working folder out of sys.path
SIZE_LIMIT = 480_000  # bytes that an executed notebook may have


def run(chapter: Chapter, values: Mapping[str, Any], output: Path, *, bar: bool = False) -> str:
    """Run a chapter with parameters that were checked; return "", or what went wrong.

    What is run is the ``.py`` source: an ``.ipynb`` beside it may be older. ``output`` is saved
    cell by cell, and holds what was reached. The kernel's working folder is the caller's, so that
    relative paths of a user's data mean what they mean in the shell; no Python is imported from it.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    try:
        with atomic_write(output) as stream:
            nbformat.write(convert(chapter), stream)
        # No import from the working folder: there lie the reader's images, and a ``torch.py``
        # beside them is none of ours.
        with environment(SAFE_PATH, "1"), _quiet_interrupt():
            papermill.execute_notebook(
                str(output), str(output), parameters=dict(values), kernel_name="python3",
                progress_bar=bar,
                # Not what every kernel says on starting up (that it listens on an unencrypted
                # port), nor the traceback of one that is stopped in the middle of a cell.
                extra_arguments=["--log-level=CRITICAL"],
            )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except DeadKernelError:
        return "its kernel died, perhaps for want of memory"
    except OSError as error:
        place = error.filename or output
        return f"'{place}' cannot be written ({error.strerror or error}); is the disk full?"
    return ""


@contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """Let Ctrl-C end a block without what libraries log of a kernel that stops under them."""

    def stop(*_: object) -> None:
        logging.disable(logging.CRITICAL)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, or somebody else's
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for a block, as for the kernels that it starts."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


# ---- for the book --------------------------------------------------------------------------------


def code_cells(notebook: nbformat.NotebookNode, *tags: str) -> str:
    """Return the code of a notebook, or of its cells with one of the tags."""
    return "\n".join(
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and (not tags or {*tags} & {*cell.metadata.get("tags", [])})
    )


def reads(chapter: Chapter) -> set[Path]:
    """Return the files of the book that a chapter's output at ``mini`` depends on.

    Its own recorded rows and scales, and the cards of the models that come with the book; with
    claims, the rows of the chapters that decide on them, the paper's values, and the premises. The
    page of all claims reads everything, titles of chapters too.
    """
    claims = claims_of(chapter.name)
    names = {chapter.name}.union(*(deciding_chapters(claim) for claim in claims))
    papers = {claim.paper for claim in claims}
    if "claims_page" in chapter.script.read_text(encoding="utf-8"):
        names, papers = {"*"}, {"*"}
    patterns = {"requirements.lock", f"params/{chapter.name}/*.yaml", "models/**/card.json"}
    patterns |= {"notebooks/*.py"} if "*" in names else set()  # for the titles of chapters
    patterns |= {f"results/*/{name}.jsonl" for name in names}
    patterns |= {f"book/paper/*_{paper}.*" for paper in papers}
    patterns |= {"book/paper/premises.yml"} if papers else set()
    return {path for pattern in patterns for path in root().glob(pattern)}


def executed(chapter: Chapter) -> Path:
    """Return where the book keeps a chapter executed at ``mini``.

    The name changes with the source, the code behind it, and what it `reads`.
    """
    top, source = root(), convert(chapter)
    key = {str(p.relative_to(top)): p.read_text(encoding="utf-8") for p in reads(chapter)}
    key |= {"source": nbformat.writes(source), "code": code_behind(code_cells(source))}
    return top / "_build" / "executed" / f"{chapter.name}.{key_hash(key)}.ipynb"


def execute(chapter: str) -> None:
    """Execute a chapter into `executed` and remove older ones; with faults, end the program."""
    home, start = find(chapter), time.monotonic()
    target = executed(home)
    part = target.parent / "part" / f"{home.name}.ipynb"
    with alone(part.with_suffix(".lock"), f"executing {home.name}"):
        if sums.whole(target):
            return  # another process has just done it
        fault = run(home, {}, part)
        reached = f"what it reached: {part.relative_to(root())}"
        try:
            notebook = clean(nbformat.read(part, as_version=4))
        except (OSError, ValueError):  # a full disk cut it
            sys.exit(f"\n{home.name} FAILED: {fault or f'{part} cannot be read'}\n")
        if wrong := faults(notebook) or [fault] * bool(fault):
            sys.exit(f"\n{home.name} FAILED: {'; '.join([*wrong, reached])}\n")
        for older in target.parent.glob(f"{home.name}.*.ipynb"):
            sums.remove(older)
        with atomic_write(part) as stream:
            stream.write(nbformat.writes(notebook) + "\n")
        sums.publish(part, target)
    print(f"{home.name:28} {time.monotonic() - start:5.1f} s", flush=True)


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
    found, paths = [], _places()
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            text = json.dumps(output, ensure_ascii=False)
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


def _places() -> re.Pattern[str]:
    """Return the pattern of this machine's paths in an output as JSON; "/" is one everywhere.

    A path begins where no other does, as in ``../book`` or an address: the letter before it may
    only end an escape, "\\n", or a colour. It ends with a whole name.
    """
    places = {str(root()), str(Path.home()), sys.prefix} - {"/"}
    names = "|".join(re.escape(json.dumps(p, ensure_ascii=False)[1:-1]) for p in places)
    return re.compile(rf"(?:(?<![\w.])|(?<=\\[nrt])|(?<=[\d\[]m))(?:{names})(?![\w-])")
