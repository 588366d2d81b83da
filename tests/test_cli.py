"""The command line: what it lists, and how it refuses what it does not know."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest

from synthbook import data
from synthbook.claims import decide
from synthbook.claims.catalogue import PAPERS, claims
from synthbook.claims.decide import VERDICTS, verdicts
from synthbook.cli import main
from synthbook.record import chapters as library
from synthbook.record.chapters import declared


def test_chapters_are_listed_with_type_default_and_help_of_every_parameter(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["chapters"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    wanted = []
    for chapter in library.chapters():
        wanted.append(f"{chapter.name}: {chapter.title} [{', '.join(chapter.scales)}]")
        for field in declared(chapter.name):
            assert field.help, f"{chapter.name}: {field.name} has no help"
            text = f"{field.name}: {field.type} = {field.default!r} {field.help}"
            wanted.append(" ".join(text.split()))
    assert lines == wanted


def test_chapters_as_json_agree_with_their_declarations(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["chapters", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [(e["name"], e["title"], e["scales"][0], e["parameters"]) for e in entries] == [
        (c.name, c.title, "mini", [field._asdict() for field in declared(c.name)])
        for c in library.chapters()
    ]
    assert main(["chapters", "12", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        entry for entry in entries if entry["name"] == "12_not_mutual"
    ]


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["chapters", "12_not_mutal"], "12_not_mutual"),
        (["run", "12_not_mutal"], "12_not_mutual"),
        (["verify", "12_not_mutal"], "12_not_mutual"),
        (["verify", "13", "12_not_mutal"], "12_not_mutual"),
        (["claims", "--paper", "gaps"], "gap"),
        (["claims", "--verdict", "hold"], "holds"),
        (["claims", "--scale", "minni"], "mini"),
        (["data", "--download", "svhm"], "svhn"),
        (["rerun", "gapp-01"], "gap-01"),
        (["rerun", "gap-03", "--scale", "minni"], "mini"),
        (["run", "62", "-p", "scales=minni"], "mini"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(
    arguments: list[str], near: str, refused: Callable[[list[str]], str]
) -> None:
    error = refused(arguments)
    assert arguments[-1].rpartition("=")[2] in error
    assert f"did you mean '{near}'?" in error


@pytest.mark.parametrize("scales", ["../../etc", "mini,../../etc", "[..]"])
def test_the_page_of_claims_takes_scales_and_no_paths(
    scales: str, refused: Callable[[list[str]], str]
) -> None:
    assert "'..'" in (error := refused(["run", "62", "-p", f"scales={scales}"])) or "etc'" in error
    assert "mini" in error


def test_claims_as_json_are_one_object_a_claim(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--scale", "mini", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["id"] for entry in entries] == [claim.id for claim in claims()]
    assert {entry["paper"] for entry in entries} == set(PAPERS)
    for entry in entries:
        assert {"id", "paper", "scale", "verdict", "effect", "low", "high", "seeds"} <= set(entry)
        assert entry["scale"] == "mini"
        assert entry["verdict"] in VERDICTS
        if entry["verdict"] == "not run":
            assert (entry["effect"], entry["low"], entry["high"], entry["seeds"]) == (
                None, None, None, 0,
            )  # fmt: skip
        elif entry["low"] is not None:
            assert entry["low"] <= entry["effect"] <= entry["high"]
            assert entry["seeds"] >= 2


def test_claims_are_filtered_by_paper_and_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    some = [
        dataclasses.replace(v, verdict="holds" if number % 2 else "fails", effect=1.5, seeds=1)
        for number, v in enumerate(verdicts("mini", paper="gap"))
    ]
    asked = []
    monkeypatch.setattr(decide, "verdicts", lambda **given: asked.append(given) or some)
    for word in ("holds", "fails"):
        assert main(["claims", "--verdict", word, "--json"]) == 0
        wanted = [v.id for v in some if v.verdict == word]
        assert [entry["id"] for entry in json.loads(capsys.readouterr().out)] == wanted
    assert main(["claims", "--scale", "mini", "--paper", "gap"]) == 0
    assert asked[-1] == {"scale": "mini", "paper": "gap"}
    for line, claim in zip(capsys.readouterr().out.splitlines(), claims("gap"), strict=True):
        assert line.startswith(claim.id)
        assert "+1.5" in line
        assert line.endswith(claim.statement)


def test_data_sets_tell_origin_licence_and_whether_they_are_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "svhn").mkdir()
    assert main(["data", "--json", "--data-root", str(tmp_path)]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert all(entry["origin"] and entry["licence"] for entry in entries.values())
    present = {name for name, entry in entries.items() if entry["present"]}
    bundled = {"digits", "mnist5k", "caltech10", "caltech10_fine"}
    bundled |= {"caltech101", "caltech97", "caltech3"}
    assert present == bundled | {"svhn"}
    assert main(["data"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^svhn +not here ", out, re.MULTILINE)
    assert re.search(r"^digits +here ", out, re.MULTILINE)
    assert re.search(r"^caltech101_original +not here ", out, re.MULTILINE)
    assert out.count("to get it: ") == len(entries) - len(bundled)


def test_a_download_that_fails_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    refused: Callable[[list[str]], str],
) -> None:

    def fetch(name: str, data_root: str) -> None:
        raise URLError("no route")

    assert "needs data_root" in refused(["data", "--download", "svhn"])
    monkeypatch.setattr(data, "fetch", fetch)
    assert main(["data", "--download", "svhn", "--data-root", str(tmp_path)]) == 1
    assert re.fullmatch(r"error: svhn was not .*no route[^\n]*\n", capsys.readouterr().err)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """As in ``synthbook chapters | head``."""
    reading, writing = os.pipe()
    os.close(reading)
    code = "import sys; from synthbook.cli import main; sys.exit(main(['chapters']))"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, timeout=120
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
