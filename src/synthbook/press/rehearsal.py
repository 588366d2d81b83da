"""What comes before a run: values as they were typed, the check rehearsed."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from synthbook.errors import InputError
from synthbook.record.chapters import CHECKS, cells
from synthbook.texts import read_yaml


def value_of(text: str, kind: str) -> Any:
    """Return the value that a text on the command line means for a parameter of a type."""
    if kind == "str" and not text.startswith(("'", '"')):
        return text  # a folder may be called 2024, or 2024-13-45
    if kind == "list[str]" and not text.startswith(("[", "'", '"')):
        return text  # to YAML "photos #2" is "photos", and "steps: 500" no text
    try:
        value = read_yaml(text) if text else ""
        if kind == "float" and isinstance(value, str) and value.isascii():
            value = float(value)  # also inf and nan, which are refused by their range
    except ValueError:
        return text
    return text if kind == "str" and not isinstance(value, str) else value


def rehearse(script: Path, values: dict[str, Any]) -> str:
    """Run the chapter's own checking cell here, before a kernel starts, for its InputError.

    Any other fault is left to the kernel, which shows it whole. Returns what the cell prints.
    """
    try:
        return checking_cell(script, values)
    except InputError:
        raise
    except Exception:
        return ""


def checking_cell(script: Path, values: dict[str, Any]) -> str:
    """Return what a chapter's checking cell prints for these values of its parameters."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed = StringIO()
    for cell in cells(script):
        declares = "parameters" in cell.tags
        if cell.kind == "code" and (declares or CHECKS.search(cell.source)):
            with redirect_stdout(printed):
                exec(compile(cell.source, str(script), "exec"), namespace)
            namespace |= values if declares else {}
    return printed.getvalue()


def check_replaceable(output: Path, saved: Path) -> None:
    """Raise InputError if a notebook, or the record beside it, would replace what no run wrote."""
    try:
        record = json.loads(saved.read_text(encoding="utf-8")) if saved.exists() else None
        ours = record is None or {"chapter", "provenance"} <= record.keys()
    except (ValueError, AttributeError):
        ours = False
    if not ours or (record is None and output.exists()):
        raise InputError(
            f"--output {output} would replace '{output if ours else saved}', which no run wrote; "
            "give another name, or remove it"
        )
