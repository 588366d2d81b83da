"""The printing press: executes chapters that changed, checks their outputs, builds the HTML.

``make`` calls it; a reader does not have to. Jupyter Book's own execution cache ignores changes
of the library, so execution is a step of its own whose key includes all code behind a chapter.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat

from synthbook.errors import InputError
from synthbook.record.chapters import Chapter, chapters, convert, execute
from synthbook.store import atomic_write, closure, code_hash, imports, root

SIZE_LIMIT = 300_000
"""Bytes that an executed notebook may have."""


def modules_behind(source: nbformat.NotebookNode) -> list[str]:
    """Return the modules of the library that a notebook's output can depend on."""
    import ast

    code = "\n".join(cell.source for cell in source.cells if cell.cell_type == "code")
    used = imports(ast.parse(code))
    return list(closure(used))


def key(chapter: Chapter) -> str:
    """Return a hash of all that a chapter's output depends on, at scale ``mini``."""
    source = convert(chapter)
    digest = hashlib.sha256(nbformat.writes(source).encode())
    digest.update(code_hash(*modules_behind(source)).encode())
    data = [root() / "requirements.lock"]
    data += sorted((root() / "params").glob("*/*.yaml"))
    data += sorted((root() / "results").glob("*/*.jsonl"))
    data += sorted((root() / "book" / "paper").glob("*"))
    for path in data:
        digest.update(f"\x1e{path.relative_to(root())}\x1f".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove what differs between two equal runs (times, run ids) and what shows nothing."""
    for name in ("papermill", "widgets"):
        notebook.metadata.pop(name, None)
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        if cell.cell_type == "code":
            for output in cell.outputs:
                data = output.get("data", {})
                # What shows HTML does not need a long plain form beside it.
                if "text/html" in data and len(data.get("text/plain", "")) > 1000:
                    data["text/plain"] = "a table"
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


def run(chapter: Chapter, folder: Path) -> tuple[str, float]:
    """Execute a chapter into ``folder`` unless that was done with the same key.

    Returns:
        "" or what went wrong, and the seconds it took (0 if nothing had to be done).
    """
    target, stamp = folder / f"{chapter.name}.ipynb", folder / f"{chapter.name}.json"
    wanted = key(chapter)
    if target.is_file() and stamp.is_file() and json.loads(stamp.read_text())["key"] == wanted:
        return "", 0.0
    stamp.unlink(missing_ok=True)
    part = folder / "part" / target.name
    part.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(convert(chapter), part)
    start = time.monotonic()
    # A process of its own: papermill keeps an event loop, and two of them do not share a thread.
    code = "import sys; from synthbook.press import book; book.execute_file(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(part), str(part)],
        capture_output=True,
        text=True,
        cwd=root(),
    )
    seconds = time.monotonic() - start
    notebook = clean(nbformat.read(part, as_version=4))
    wrong = faults(notebook)
    if done.returncode and not wrong:
        wrong = [done.stderr.strip()[-2000:] or f"papermill ended with {done.returncode}"]
    if wrong:
        return "; ".join(wrong), seconds
    with atomic_write(target) as stream:
        stream.write(nbformat.writes(notebook) + "\n")
    with atomic_write(stamp) as stream:
        json.dump({"key": wanted, "seconds": round(seconds, 1)}, stream)
    part.unlink()
    return "", seconds


def execute_file(source: str, target: str) -> None:
    """Execute one notebook file in place of a command line (see ``run``)."""
    from papermill.exceptions import PapermillExecutionError

    try:
        execute(Path(source), Path(target))
    except PapermillExecutionError:
        sys.exit(1)


def run_all(jobs: int) -> Path:
    """Execute all chapters that changed, ``jobs`` at a time; return the folder of the results.

    Raises:
        SystemExit: if a chapter failed, after all others were tried.
    """
    folder = root() / "_build" / "executed"
    folder.mkdir(parents=True, exist_ok=True)
    failed = {}
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(run, chapter, folder): chapter for chapter in chapters()}
        for number, future in enumerate(as_completed(futures), 1):
            name = futures[future].name
            wrong, seconds = future.result()
            state = f"{seconds:5.1f} s" if seconds else "unchanged"
            print(f"[{number}/{len(futures)}] {name:28} {'FAILED' if wrong else state}", flush=True)
            if wrong:
                failed[name] = wrong
    for name, wrong in failed.items():
        print(f"\n{name}: {wrong}", file=sys.stderr)
        print(f"what it reached: _build/executed/part/{name}.ipynb", file=sys.stderr)
    if failed:
        sys.exit(1)
    return folder


def stage(executed: Path) -> tuple[Path, str]:
    """Copy all that Jupyter Book reads into ``_build/source``; return it and its hash.

    A copy, so that a build leaves the clone as it was and finds no stray Markdown in it.
    """
    target = root() / "_build" / "source"
    files = {Path(name): root() / name for name in ("_config.yml", "_toc.yml")}
    for path in sorted((root() / "book").rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            files[path.relative_to(root())] = path
    for chapter in chapters():
        name = f"{chapter.name}.ipynb"
        files[Path("notebooks") / name] = executed / name
    shutil.rmtree(target, ignore_errors=True)
    digest = hashlib.sha256((root() / "requirements.lock").read_bytes())
    for name, path in sorted(files.items()):
        content = path.read_bytes()
        digest.update(f"\x1e{name}\x1f".encode() + content)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    return target, digest.hexdigest()


def book(jobs: int) -> None:
    """Execute what changed and build ``_build/html``; any warning of the build is an error."""
    start = time.monotonic()
    source, wanted = stage(run_all(jobs))
    html, stamp = root() / "_build" / "html", root() / "_build" / "html.key"
    if not (stamp.is_file() and stamp.read_text() == wanted and (html / "index.html").is_file()):
        stamp.unlink(missing_ok=True)
        shutil.rmtree(html, ignore_errors=True)
        command = ["jupyter-book", "build", str(source), "--path-output", str(root()), "--all"]
        command += ["-n", "-W", "--keep-going", "--quiet"]
        command[0] = str(Path(sys.executable).with_name("jupyter-book"))
        log = root() / "_build" / "book.log"
        with log.open("w", encoding="utf-8") as stream:
            done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT)
        if done.returncode:
            print(log.read_text(encoding="utf-8")[-6000:], file=sys.stderr)
            sys.exit("the book has warnings; all of the build's output is in _build/book.log")
        stamp.write_text(wanted)
    print(f"the book is at {html / 'index.html'} ({time.monotonic() - start:.0f} s)")


def notebooks(jobs: int) -> None:
    """Put the executed notebooks beside their sources."""
    executed = run_all(jobs)
    for chapter in chapters():
        content = (executed / f"{chapter.name}.ipynb").read_bytes()
        if not chapter.notebook.is_file() or chapter.notebook.read_bytes() != content:
            with atomic_write(chapter.notebook, "wb") as stream:
                stream.write(content)
            print(f"wrote notebooks/{chapter.name}.ipynb")


def unpaired() -> list[str]:
    """Return what is wrong with the pairs of source and notebook."""
    wrong = []
    for chapter in chapters():
        name = chapter.name
        if not chapter.notebook.is_file():
            wrong.append(f"{name}.py has no {name}.ipynb")
            continue
        stored = nbformat.read(chapter.notebook, as_version=4)
        wanted = convert(chapter)
        cells = [(c.cell_type, c.id, c.source, c.metadata) for c in stored.cells]
        if cells != [(c.cell_type, c.id, c.source, c.metadata) for c in wanted.cells]:
            wrong.append(f"{name}.ipynb is not what {name}.py says")
        if not any(cell.get("outputs") for cell in stored.cells):
            wrong.append(f"{name}.ipynb stores no outputs")
        wrong += [f"{name}.ipynb: {fault}" for fault in faults(stored)]
    scripts = {chapter.name for chapter in chapters()}
    orphans = {path.stem for path in (root() / "notebooks").glob("*.ipynb")} - scripts
    return wrong + [f"{name}.ipynb has no {name}.py" for name in sorted(orphans)]


def pairing() -> None:
    """Check that every notebook is the executed form of its source."""
    if wrong := unpaired():
        sys.exit("\n".join([*wrong, "write them anew: make notebooks"]))
    print(f"{len(chapters())} notebook pairs agree")


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line of ``python -m synthbook.press`` and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m synthbook.press", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("book", "notebooks", "results"):
        commands.add_parser(name).add_argument("--jobs", type=int, default=2)
    commands.add_parser("pairing")
    results = commands.choices["results"]
    results.add_argument("--chapter", required=True)
    results.add_argument("--scale", default="mini")
    results.add_argument("--dry-run", action="store_true")
    given = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        if given.command == "book":
            book(given.jobs)
        elif given.command == "notebooks":
            notebooks(given.jobs)
        elif given.command == "pairing":
            pairing()
        else:
            from synthbook.press.grids import results as make_results

            make_results(given.chapter, given.scale, jobs=given.jobs, dry_run=given.dry_run)
    except InputError as error:
        sys.exit(f"error: {error}")
