"""The chapters as files: found by name, read and converted; and the scales of each.

A notebook's own defaults are the scale ``mini``; each ``params/<chapter>/<scale>.yaml`` is another.
A run has the scale whose defining values it has; any other is ``custom``.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from synthbook.errors import InputError, did_you_mean
from synthbook.record.kinds import type_name
from synthbook.record.vocabulary import help_of
from synthbook.settings import shown, source_paths
from synthbook.store import root
from synthbook.texts import read_yaml

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from synthbook.record.parameters import Parameters

MINI, CUSTOM = "mini", "custom"

# What a scale may vary without becoming another: which part of its grid is run, how often, and
# where, which weights are tried, and what rows tell apart themselves. The other parameters decide
# what a row means.
FREE_NAMES = frozenset({
    "seeds", "first_seed", "generators", "sources", "methods", "parts", "controls", "equal",
    "variants", "targets", "policies", "counts", "shares", "device", "threads", "workers",
    "data_root", "rows", "skip_unreadable", "stop_after", "lambda_3", "lambda_3_kl",
    "lambda_3_l1", "lambdas", "priors", "study_targets", "amount_targets", "amount_methods",
    "stylegan2_targets", "study_priors", "train_missing", "forms", "guidance_scales", "sizes",
    "transfer_sets", "encoders", "real_counts", "starts", "agnostic_sizes",
    "real_networks",
})  # fmt: skip
PRIORS = ("priors", "study_priors")  # of these rows have the name, and not the network

CHECKS = re.compile(r"""\bparameters\(\s*["']([^"']+)["'],\s*globals\(\)""")
"""What a chapter's checking cell calls; the group is the chapter that it says it is."""
_MARKER = re.compile(r"^# %%(.*)\n", re.MULTILINE)
_TAGS = re.compile(r"\btags=(\[[^\]]*\])")


class Cell(NamedTuple):
    """One cell of a notebook."""

    kind: str  # code or markdown
    tags: tuple[str, ...]
    source: str


class Field(NamedTuple):
    """One line of a parameters cell."""

    name: str
    type: str  # as text
    default: Any
    help: str


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
        return self.script.with_suffix(".ipynb")

    @property
    def title(self) -> str:
        """The first heading of the source."""
        heading = re.search(r"^# # (.+)$", self.script.read_text(encoding="utf-8"), re.MULTILINE)
        return heading[1].strip() if heading else self.name

    @property
    def scales(self) -> tuple[str, ...]:
        """``mini``, then those that have a parameter file, by name."""
        files = sorted((root() / "params" / self.name).glob("*.yaml"))
        return (MINI, *(file.stem for file in files))


def chapters() -> list[Chapter]:
    """Return all chapters in the order of the book."""
    return [Chapter(path.stem) for path in sorted((root() / "notebooks").glob("[0-9]*.py"))]


def find(name: str | Path) -> Chapter:
    """Return the chapter called ``name``: "12_not_mutual", "12", or a path to its notebook."""
    known, stem = {chapter.name: chapter for chapter in chapters()}, Path(name).stem
    for chapter in known.values():
        if stem in (chapter.name, chapter.name.partition("_")[0]):
            return chapter
    hint = did_you_mean(stem, known) or f"; the chapters are {', '.join(known)}"
    raise InputError(f"there is no chapter {shown(str(name))}{hint}")


def cells(script: Path) -> list[Cell]:
    """Return the cells of a percent script.

    jupytext would read it too, but takes longer to import than the command line has.
    """
    _, *blocks = _MARKER.split(script.read_text(encoding="utf-8"))  # the first is a header
    return [
        Cell(
            "markdown" if "[markdown]" in head or "[md]" in head else "code",
            tuple(json.loads(tags[1])) if (tags := _TAGS.search(head)) else (),
            body.strip("\n"),
        )
        for head, body in zip(blocks[::2], blocks[1::2], strict=True)
    ]


def declared(chapter: str | Path) -> list[Field]:
    """Return the parameters of a chapter (as for `find`) without running it.

    Raises:
        InputError: if there is no cell tagged ``parameters``, or a line of it is not
            ``name: type = default  # help`` with a literal default.
    """
    home, fields = find(chapter), []
    source = next((cell.source for cell in cells(home.script) if "parameters" in cell.tags), None)
    if source is None:
        raise InputError(f"{home.name} has no cell tagged 'parameters'; tag the one that has them")
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        try:
            default = ast.literal_eval(getattr(node, "value", None))
            parameter, annotation = ast.unparse(node.target), ast.unparse(node.annotation)
        except (ValueError, AttributeError):
            text = ast.get_source_segment(source, node)
            raise InputError(
                f"'{text}' in {home.name} is not 'name: type = default  # help'; write it so"
            ) from None
        comment = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
        text = comment.strip("# ") or help_of(home.name, parameter)
        fields.append(Field(parameter, type_name(parameter, annotation), default, text))
    return fields


def scale_values(chapter: str, scale: str) -> dict[str, Any]:
    """Return the parameters that a scale sets, {} for ``mini``; the others keep their defaults.

    Whether the values pass is for `parameters.check_values` to say.
    """
    home = find(chapter)
    if scale not in home.scales:
        raise InputError(
            f"chapter '{chapter}' has no scale {shown(scale)}{did_you_mean(scale, home.scales)}; "
            f"it has {', '.join(home.scales)}"
        )
    if scale == MINI:
        return {}
    path = root() / "params" / home.name / f"{scale}.yaml"
    try:
        values = read_yaml(path.read_text(encoding="utf-8")) or {}
    except (InputError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is no YAML ({error}); mend it") from None
    if not isinstance(values, dict):
        raise InputError(f"'{path}' holds {shown(values)}; write lines 'name: value'")
    return values


def scale_of(chapter: str, parameters: Parameters) -> str:
    """Return the first scale whose values, but for `FREE_NAMES`, are those of the run.

    A prior ("NAME=NETWORK", or a name that stands for one) has the network of its name there.
    Where there is none, the chapter is not in the book, or a source of images is the reader's own,
    the run is ``custom``.
    """
    try:
        home = find(chapter)
    except InputError:
        return CUSTOM
    if any(source_paths(parameters.get("sources", ())).values()):
        return CUSTOM

    def defining(values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in FREE_NAMES}

    run = defining(parameters.as_dict())
    defaults = {field.name: field.default for field in declared(home.name)}
    for scale in home.scales:
        values = defaults | scale_values(home.name, scale)
        usual = dict(_networks(values))
        same = all(usual.get(name, "") == network for name, network in _networks(parameters))
        if same and defining(values) == run:
            return scale
    return CUSTOM


def _networks(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the name and network of each prior; "" where the name stands for one."""
    entries = (str(entry) for parameter in PRIORS for entry in values.get(parameter, ()))
    return [(name, network) for name, _, network in (entry.partition("=") for entry in entries)]


def convert(chapter: Chapter) -> NotebookNode:
    """Return the chapter's source as a notebook without outputs, the same bytes every time.

    A cell's id, which jupytext draws, is a hash of its text: an edit of one changes one id.
    """
    import jupytext
    import nbformat

    notebook = jupytext.read(chapter.script)
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\x1f{cell.source}".encode()).hexdigest()[:8]
        seen[digest] += 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        cell.metadata.pop("lines_to_next_cell", None)
    spec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict(
        {
            "jupytext": {"formats": "ipynb,py:percent"},
            "kernelspec": spec,
            "language_info": {"name": "python", "file_extension": ".py"},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook
