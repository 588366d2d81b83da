"""``python -m synthbook.press``: each command calls its function, and errors end in one line."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from synthbook.errors import InputError
from synthbook.press import book, execute, grids
from synthbook.press.__main__ import main

GRID = {"scale": "mini", "only": "", "dry_run": False, "jobs": 2, "workers": 1}
FULL = OSError(errno.ENOSPC, "No space left on device", "/a/file")


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which a command sets


@pytest.mark.parametrize(
    ("arguments", "module", "given"),
    [
        ("book", book, {"jobs": 2}),
        ("book --jobs 3", book, {"jobs": 3}),
        ("notebooks --jobs 1", book, {"jobs": 1}),
        ("pairing", book, {}),
        ("agreement", book, {}),
        ("execute 12_not_mutual", execute, {"chapter": "12_not_mutual"}),
        ("results --chapter 12", grids, GRID | {"chapter": "12"}),
        (
            "results --chapter 12 --scale paper --only gan --dry-run --jobs 4 --workers 3",
            grids,
            {"chapter": "12", "scale": "paper", "only": "gan", "dry_run": True, "jobs": 4,
             "workers": 3},
        ),
        (
            "cell 12 mini seed=0 out.jsonl --workers 2",
            grids,
            {"chapter": "12", "scale": "mini", "name": "seed=0", "output": Path("out.jsonl"),
             "workers": 2},
        ),
    ],
)  # fmt: skip
def test_a_command_calls_its_function(
    arguments: str, module: Any, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[dict[str, Any]] = []
    monkeypatch.setattr(module, arguments.split()[0], lambda **how: called.append(how))
    main(arguments.split())
    assert called == [given]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("jobs = 0; give 1 or more"), 1, "error: jobs = 0; give 1 or more"),
        (FULL, 1, "error: No space left on device: '/a/file'"),
        (KeyboardInterrupt(), 130, "stopped; what was finished is kept"),
    ],
)
def test_an_error_ends_it_in_one_line(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fails() -> None:
        raise error

    monkeypatch.setattr(book, "pairing", fails)
    with pytest.raises(SystemExit) as ended:
        main(["pairing"])
    # A text as a code is printed as the program ends, and the code is 1.
    text = ended.value.code if isinstance(ended.value.code, str) else capsys.readouterr().err
    assert text.strip() == said
    assert (1 if isinstance(ended.value.code, str) else ended.value.code) == code
