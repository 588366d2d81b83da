"""The chapters as files: finding them, converting and running them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import nbformat

from synthbook.errors import InputError, did_you_mean
from synthbook.store import root


@dataclass(frozen=True)
class Chapter:
    """A notebook pair: ``notebooks/NN_name.py`` is the source, ``NN_name.ipynb`` is executed."""

    name: str

    @property
    def script(self) -> Path:
        """The jupytext source in percent format."""
        return root() / "notebooks" / f"{self.name}.py"

    @property
    def notebook(self) -> Path:
        """The executed notebook."""
        return root() / "notebooks" / f"{self.name}.ipynb"

    @property
    def title(self) -> str:
        """The first heading of the source."""
        for line in self.script.read_text(encoding="utf-8").splitlines():
            if line.startswith("# # "):
                return line.removeprefix("# # ").strip()
        return self.name

    @property
    def scales(self) -> tuple[str, ...]:
        """``mini`` and the parameter files that the chapter has."""
        files = sorted((root() / "params" / self.name).glob("*.yaml"))
        return ("mini", *(file.stem for file in files))


def chapters() -> list[Chapter]:
    """Return all chapters in the order of the book."""
    return [Chapter(path.stem) for path in sorted((root() / "notebooks").glob("[0-9]*.py"))]


def find(name: str) -> Chapter:
    """Return the chapter called ``name``: "12_not_mutual", "12", or a path to its notebook.

    Raises:
        InputError: if there is none, naming the nearest.
    """
    known = chapters()
    stem = Path(name).stem
    for chapter in known:
        if stem in (chapter.name, chapter.name.partition("_")[0]):
            return chapter
    names = [chapter.name for chapter in known]
    hint = did_you_mean(stem, names) or f"; the chapters are {', '.join(names)}"
    raise InputError(f"there is no chapter '{name}'{hint}")


def convert(chapter: Chapter) -> nbformat.NotebookNode:
    """Return the chapter's source as a notebook without outputs, the same bytes every time.

    jupytext draws random cell ids; here an id is a hash of the cell's text, so an edit of one
    cell changes one id.
    """
    import jupytext

    notebook = jupytext.read(chapter.script)
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\x1f{cell.source}".encode()).hexdigest()[:8]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        cell.metadata.pop("lines_to_next_cell", None)
    spec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    formats = {"jupytext": {"formats": "ipynb,py:percent"}, "kernelspec": spec}
    notebook.metadata = nbformat.from_dict(
        {**formats, "language_info": {"name": "python", "file_extension": ".py"}}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook
