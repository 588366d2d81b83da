"""What ``make`` does by itself: what waits for what, and what ``make clean`` leaves."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from synthbook.store import root

# Stands in for each program: says what it is asked to do, when it begins and when it is done.
PROGRAM = '#!/bin/sh\necho "begin ${0##*/} $*" >> log\nsleep 0.1\necho "end ${0##*/} $*" >> log\n'

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")


def _make(folder: Path, *arguments: str) -> None:
    command = ["make", "-f", str(root() / "Makefile"), "VENV=env", *arguments]
    clean = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    subprocess.run(command, cwd=folder, env=clean, check=True, capture_output=True, timeout=120)


def test_parts_of_the_test_wait_for_each_other_whatever_j_says(tmp_path: Path) -> None:
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    (tmp_path / "env/bin").mkdir(parents=True)
    for name in ("ruff", "pytest", "python"):
        (tmp_path / "env/bin" / name).write_text(PROGRAM)
        (tmp_path / "env/bin" / name).chmod(0o755)
    (tmp_path / "env/.ready").touch()
    _make(tmp_path, "-j4", "test")
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["begin", "end"] * (len(lines) // 2)
    nbval, agreement = lines[-3], lines[-1]
    assert nbval.startswith("end pytest")
    assert "--nbval" in nbval
    assert agreement == "end python -m synthbook.press agreement"


@pytest.mark.parametrize("built", [True, False])
def test_clean_leaves_rows_and_trained_models(tmp_path: Path, built: bool) -> None:
    kept = {Path("results/mini/12_thing.jsonl")}
    kept |= {Path("_build/models/gan-1/card.json")} if built else set()
    gone = {Path(".ruff_cache/x")} | (
        {Path("_build/cache/x"), Path("_build/.x")} if built else set()
    )
    for path in kept | gone:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    _make(tmp_path, "clean")
    left = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == kept
