"""The command line: what it lists, and how it refuses what it does not know."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from synthbook.claims.decide import PAPERS, VERDICTS, claims, verdicts
from synthbook.cli import main
from synthbook.record import chapters as library
from synthbook.record.chapters import declared


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that bad input is refused with."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"error: [^\n]+\n", err), err
    return err


def test_chapters_are_listed_with_type_default_and_help_of_every_parameter(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["chapters"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    every = library.chapters()
    assert len(every) >= 4
    for chapter in every:
        start = next(n for n, line in enumerate(lines) if line.startswith(f"{chapter.name}: "))
        assert lines[start].endswith(f"[{', '.join(chapter.scales)}]")
        fields = declared(chapter.name)
        for field, line in zip(fields, lines[start + 1 :], strict=False):
            assert line == " ".join(
                f"{field.name}: {field.type} = {field.default!r} {field.help}".split()
            )
            assert field.help, f"{chapter.name}: {field.name} has no help"
    assert len(lines) == sum(1 + len(declared(chapter.name)) for chapter in every)


def test_chapters_as_json_agree_with_their_declarations(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["chapters", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in entries] == [c.name for c in library.chapters()]
    for entry in entries:
        fields = declared(entry["name"])
        assert entry["parameters"] == [field._asdict() for field in fields]
        assert entry["title"]
        assert entry["scales"][0] == "mini"
    assert main(["chapters", "12", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one == next(entry for entry in entries if entry["name"] == "12_not_mutual")


@pytest.mark.parametrize("command", [["chapters"], ["run"]])
def test_an_unknown_chapter_names_the_nearest(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    error = refused([*command, "12_not_mutal"], capsys)
    assert "'12_not_mutal'" in error
    assert "did you mean '12_not_mutual'?" in error


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
    import dataclasses

    from synthbook.claims import decide as module

    some = [
        dataclasses.replace(v, verdict="holds" if number % 2 else "fails", effect=1.5, seeds=1)
        for number, v in enumerate(verdicts("mini", paper="gap"))
    ]

    def found(scale: str | None = None, paper: str | None = None) -> list:
        return some if paper in (None, "gap") else []

    monkeypatch.setattr(module, "verdicts", found)
    for word in ("holds", "fails"):
        assert main(["claims", "--verdict", word, "--json"]) == 0
        wanted = [v.id for v in some if v.verdict == word]
        assert [entry["id"] for entry in json.loads(capsys.readouterr().out)] == wanted
        assert wanted
    assert main(["claims", "--paper", "dip", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["claims", "--paper", "gap"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(some)
    assert all("+1.5" in line for line in lines)


def test_every_claim_of_a_paper_is_shown_with_its_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["claims", "--scale", "mini", "--paper", "gap"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(claims("gap"))
    for line, claim in zip(lines, claims("gap"), strict=True):
        assert line.startswith(claim.id)
        assert line.endswith(claim.statement)


@pytest.mark.parametrize(
    ("option", "value", "near"),
    [("--paper", "gaps", "gap"), ("--verdict", "hold", "holds"), ("--scale", "minni", "mini")],
)
def test_unknown_filters_of_claims_are_refused(
    option: str, value: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = refused(["claims", option, value], capsys)
    assert value in error
    assert f"did you mean '{near}'?" in error


def test_data_sets_tell_origin_licence_and_whether_they_are_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "svhn").mkdir()
    assert main(["data", "--json", "--data-root", str(tmp_path)]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert all(entry["origin"] and entry["licence"] for entry in entries.values())
    present = {name for name, entry in entries.items() if entry["present"]}
    assert present == {"digits", "mnist5k", "svhn"}
    assert main(["data"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^svhn +not here ", out, re.MULTILINE)
    assert re.search(r"^digits +here ", out, re.MULTILINE)
    assert out.count("to get it: ") == len(entries) - 2


def test_a_download_that_fails_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from urllib.error import URLError

    from synthbook import data

    def fetch(name: str, data_root: str) -> None:
        raise URLError("no route")

    assert "did you mean 'svhn'?" in refused(["data", "--download", "svhm"], capsys)
    assert "needs data_root" in refused(["data", "--download", "svhn"], capsys)
    monkeypatch.setattr(data, "fetch", fetch)
    assert main(["data", "--download", "svhn", "--data-root", str(tmp_path)]) == 1
    assert re.fullmatch(r"error: svhn was not .*no route[^\n]*\n", capsys.readouterr().err)
