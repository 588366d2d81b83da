from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthbook import sums


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed")
    (folder / "deep").mkdir()
    (folder / "a.npy").write_bytes(bytes(range(200)))
    (folder / "deep/b.json").write_text('{"epochs": 3}')
    (folder / "empty").touch()
    sums.seal(folder)
    return folder


@given(draw=st.data())
def test_a_changed_byte_of_any_file_is_seen_and_named(sealed: Path, draw: st.DataObject) -> None:
    assert sums.fault(sealed) == ""
    files = sorted(path for path in sealed.rglob("*") if path.is_file() and path.stat().st_size)
    path = draw.draw(st.sampled_from(files))
    held = path.read_bytes()
    at, bit = draw.draw(st.integers(0, len(held) - 1)), draw.draw(st.integers(0, 7))
    changed = bytearray(held)
    changed[at] ^= 1 << bit
    try:
        path.write_bytes(changed)
        assert path.name in sums.fault(sealed) or path.name == sums.SUMS != sums.fault(sealed) != ""
    finally:
        path.write_bytes(held)


@pytest.mark.parametrize("name", ["a.npy", "deep/b.json", sums.SUMS])
@pytest.mark.parametrize("harm", ["missing", "emptied", "cut", "longer", "a folder"])
def test_any_other_harm_is_seen(tmp_path: Path, name: str, harm: str) -> None:
    for file, text in {"a.npy": "abc", "deep/b.json": "{}"}.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    sums.seal(tmp_path)
    path = tmp_path / name
    held = path.read_bytes()
    path.unlink()
    match harm:
        case "emptied":
            path.touch()
        case "cut":
            path.write_bytes(held[:-2] if name == sums.SUMS else held[:-1])
        case "longer":
            path.write_bytes(held + b"x")
        case "a folder":
            path.mkdir()
    assert path.name in sums.fault(tmp_path)


def test_a_folder_that_was_never_sealed_is_at_fault(tmp_path: Path) -> None:
    assert sums.fault(tmp_path / "none") == "sums.json: No such file or directory"
    (tmp_path / sums.SUMS).write_text("{}")
    assert sums.fault(tmp_path) == "sums.json is empty"


def test_a_published_file_is_whole_until_it_is_changed(tmp_path: Path) -> None:
    part, path = tmp_path / "part", tmp_path / "rows.jsonl"
    assert not sums.whole(path)
    part.write_text("1\n")
    sums.publish(part, path)
    assert sums.whole(path)
    assert not part.exists()
    path.write_text("2\n")
    assert not sums.whole(path)
    sums.remove(path)
    assert list(tmp_path.iterdir()) == []
