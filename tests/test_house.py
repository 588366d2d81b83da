"""Two towers on one ground: which room may import which, held by the imports themselves."""

from __future__ import annotations

import ast
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthbook.sources import PACKAGE
from synthbook.store import root

GROUND = {
    "errors", "intervals", "keys", "locks", "machine", "randomness", "settings", "sources", "store",
    "sums", "texts", "training", "weights",
}  # fmt: skip
IMAGES = {"data", "generate", "gans", "recognize", "measure", "studies"}
MAY = {
    **{room: GROUND for room in GROUND},
    "data": GROUND,
    **{room: GROUND | {"data"} for room in ("gans", "recognize", "measure")},
    "generate": GROUND | {"data", "gans"},
    "studies": GROUND | IMAGES,
    "record": GROUND,
    "claims": GROUND | {"record"},
    "page": GROUND | {"record", "claims"},
    "press": GROUND | {"record", "claims", "page"},
    # data: only to list and fetch; generate: only for the command that makes a data set, and
    # studies for the pipeline that it finds in the book
    "cli": GROUND | {"record", "claims", "page", "press", "data", "generate", "studies"},
}  # fmt: skip


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Return dotted name below the package -> file."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imported(path: Path, package: Path = PACKAGE, *, at_once: bool = False) -> Iterator[str]:
    """Yield the modules of the package, dotted below it, that a file imports.

    At any depth, or only those that importing the file imports ``at_once``.
    """
    known = set(modules(package))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_once else ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively; write the whole name"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [
                name if name.partition(".")[2] in known else str(node.module) for name in inner
            ]
        for name in names:
            first, _, rest = name.partition(".")
            if first == package.name and rest:
                yield rest


def room(module: str) -> str:
    return module.partition(".")[0]


def upward(package: Path = PACKAGE) -> list[str]:
    """Return the imports that go where their room may not."""
    wrong = []
    for name, path in modules(package).items():
        for other in imported(path, package):
            if name and room(other) != room(name) and room(other) not in MAY.get(room(name), set()):
                wrong.append(f"{name} -> {other}")
    return wrong


def test_every_room_has_its_place() -> None:
    assert {room(name) for name in modules() if name} == set(MAY)


def _arrows(line: str, rooms: set[str]) -> dict[str, set[str]]:
    """Return room -> the rooms that it may import, as "a <- b, c;  all <- d" says it."""
    told: dict[str, set[str]] = {room: set() for room in rooms}
    for chain in line.split(";"):
        below: set[str] = set()
        for some in chain.split("<-"):
            named = {name.strip() for name in some.split(",")}
            if named == {"all"}:
                named = rooms
            else:
                for name in named:
                    told[name] |= below.union(*(told[other] for other in below))
            below = named
    return {room: others - {room} for room, others in told.items()}


def test_the_maps_are_those_that_are_held() -> None:
    text = (root() / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = dict(line.split(maxsplit=1) for line in text.split("```")[1].splitlines()[1:])
    assert set(lines) == {"ground", "images", "numbers"}
    assert sorted(lines["ground"].split()) == sorted(GROUND)
    for tower, rooms in (("images", IMAGES), ("numbers", set(MAY) - GROUND - IMAGES)):
        assert _arrows(lines[tower], rooms) == {r: (MAY[r] & rooms) - {r} for r in rooms}
    readme = (root() / "README.md").read_text(encoding="utf-8")
    (ground,) = (line for line in readme.splitlines() if line.endswith("  the ground"))
    assert sorted(ground.split()[:-2]) == sorted(GROUND)


def test_arrows_point_down() -> None:
    assert upward() == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("measure/gap.py", "from synthbook.recognize.predict import accuracy"),
        ("store.py", "def f():\n    from synthbook.record import rows"),
        ("record/rows.py", "import synthbook.data"),
        ("studies/gap.py", "from synthbook.page import figures"),
    ],
)
def test_a_planted_fault_is_seen(tmp_path: Path, name: str, line: str) -> None:
    package = tmp_path / "synthbook"
    for module in ("measure/gap", "recognize/predict", "store", "record/rows", "data/images",
                   "studies/gap", "page/figures"):  # fmt: skip
        path = package / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("X = 1\n")
    for folder in package.iterdir():
        if folder.is_dir():
            (folder / "__init__.py").write_text("")
    assert upward(package) == []
    (package / name).write_text(line + "\n")
    assert len(upward(package)) == 1


def test_modules_do_not_go_in_circles() -> None:
    left = {name: set(imported(path, at_once=True)) - {name} for name, path in modules().items()}
    while left:
        free = [name for name, others in left.items() if not others & set(left)]
        assert free, f"a circle among {sorted(left)}"
        for name in free:
            del left[name]


def test_no_face_hands_on_another_rooms_names() -> None:
    for name, path in modules().items():
        if path.name == "__init__.py" and name:
            others = {room(other) for other in imported(path)} - {room(name)}
            assert not others & (set(MAY) - GROUND), f"{name} hands on names of {others}"


def packages(text: str) -> set[str]:
    """Return the packages that a module's text imports of, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {room(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(room(str(node.module)))
    return found


def test_nothing_imports_a_notebook() -> None:
    for line in ("import notebooks", "import notebooks.gap as g", "from notebooks import gap"):
        assert packages(f"import os\ndef f():\n    {line}") == {"os", "notebooks"}
    for path in modules().values():
        assert "notebooks" not in packages(path.read_text(encoding="utf-8")), path


def test_a_shallow_clone_fetches_60_mb_at_most() -> None:
    """Of files, what travels is packed: recorded rows to a tenth, models and images not at all."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root(), capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a clone")
    files = [(root() / name).read_bytes() for name in listed.stdout.split("\0") if name]
    tree = sum(map(len, files))
    objects = sum(len(zlib.compress(content, 6)) for content in files)
    said = f"{objects / 1e6:.1f} MB to fetch, {tree / 1e6:.1f} of files"
    assert objects < 60e6, said
    assert tree < 85e6, said
