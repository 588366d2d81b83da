from __future__ import annotations

import ast
from pathlib import Path

import pytest

from synthbook import store as source
from synthbook.errors import InputError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of that name with the chain top -> middle -> bottom, and an island."""
    base = tmp_path / "synthbook"
    (base / "sub").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "top.py": "from synthbook.sub import middle\n",
        "sub/__init__.py": "",
        "sub/middle.py": "def f():\n    import synthbook.bottom\n    return 1\n",
        "bottom.py": '"""Doc."""\nX = 1\n',
        "island.py": "Y = 1\n",
    }
    for name, text in files.items():
        (base / name).write_text(text)
    monkeypatch.setattr(source, "PACKAGE", base)
    return base


def test_closure_follows_imports_inside_functions(package: Path) -> None:
    assert set(source.closure(["synthbook.top"])) == {
        "synthbook.top",
        "synthbook.sub",
        "synthbook.sub.middle",
        "synthbook.bottom",
    }


@pytest.mark.parametrize(
    ("name", "text", "changes"),
    [
        ("bottom.py", '"""Other words."""\nX = 1  # a comment\n', False),
        ("bottom.py", '"""Doc."""\nX = 2\n', True),
        ("island.py", "Y = 2\n", False),
        ("sub/middle.py", "def f():\n    import synthbook.bottom\n    return 2\n", True),
    ],
)
def test_only_code_that_is_reached_changes_the_hash(
    package: Path, name: str, text: str, changes: bool
) -> None:
    before = source.code_hash("synthbook.top")
    (package / name).write_text(text + "\n" * 7)
    assert (source.code_hash("synthbook.top") != before) == changes


def test_modules_can_be_left_out(package: Path) -> None:
    before = source.code_hash("synthbook.top", without=["synthbook.bottom"])
    (package / "bottom.py").write_text("X = 3\n")
    assert source.code_hash("synthbook.top", without=["synthbook.bottom"]) == before


def test_unknown_modules_are_named() -> None:
    with pytest.raises(InputError, match=r"synthbook\.nowhere"):
        source.code_hash("synthbook.nowhere")


def test_imports_ignore_other_packages() -> None:
    tree = ast.parse(
        "import torch\nfrom synthbook import errors\nfrom synthbook.store import cached"
    )
    assert source.imports(tree) == {"synthbook", "synthbook.errors", "synthbook.store"}


def test_root_is_the_clone_and_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (source.root() / "pyproject.toml").is_file()
    monkeypatch.setenv("SYNTHBOOK_ROOT", str(tmp_path))
    with pytest.raises(InputError, match="SYNTHBOOK_ROOT"):
        source.root()
