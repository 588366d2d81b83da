"""Whatever is given for parameters: a run, or one sentence within seconds and a gigabyte.

The values come from the vocabulary: at its borders, of wrong types, huge, in other scripts, YAML's
own tricks, paths of all kinds, and several at once, which contradict each other. They go through
the command line in this process, with no kernel. SYNTHBOOK_FUZZ=300 asks for so many refusals of
the command itself, a process each, which takes some minutes; it is done by hand:

    SYNTHBOOK_FUZZ=300 pytest -s tests/test_fuzz.py -k command
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, event, example, given, settings
from hypothesis import strategies as st

from synthbook import cli
from synthbook.press import execute, rehearsal
from synthbook.record.chapters import chapters, declared
from synthbook.record.vocabulary import kind_of
from synthbook.settings import choices, schema_of

NAMES = [chapter.name for chapter in chapters()]
ASKED = int(os.environ.get("SYNTHBOOK_FUZZ", "0"))
EXAMPLES = int(os.environ.get("SYNTHBOOK_EXAMPLES", "20"))  # a chapter
SECONDS, KILOBYTES, SIGNS = 6, 1_000_000, 2500  # that a refusal may take, and that it may have

TRICKS = [
    "", " ", "~", "null", "on", "true", "1:30", "010", "0x10", "1_000", "１", "½", "१२", "-0",
    "1e400", "-1e400", "nan", ".inf", "1e-400", "9" * 400, "9" * 5000, "-" + "9" * 30, "0.1.2",
    "2024-13-45",
    "[", "[" * 5000, "[[1]]", "{a: 1}", "{[}", "[1, two, [3]]", "a: &x [1]\nb: [*x, *x]", "*x",
    "!!python/object/apply:os.system [true]", "'", '"', '"\\ud800"', "\t", "\n", "a\nb", "%", "@",
    "$(touch x)", "`touch x`", "; touch x", "../../etc", "__class__", "\u202e\u200b",
    "𝟙𝟚", "ÿ" * 999,
    "x" * 100_000, "None", "1,1", "1,,2", ",", "[]", "real,real", "gan,diffusion", "<script>",
]  # fmt: skip
PLACES = [
    "/dev/null", "/dev/zero", "/dev/stdin", "/etc/passwd", "/proc/self/mem", "/proc/self",
    "/no_such_place/x", "~nobody_xyz/x", "./missing", "missing.npz", "caltech10", "digits", "mnist",
    "caltech3:Motorbikes", "caltech3:", ":", "digits:3", "digits:３", "china", "photographs",
    "cifar10", "mine=/dev/null",
    "mine=./missing", "=", "real=.", "a=b=c", "resnet18", "small_cnn", "hf-hub:timm/resnet18",
    "vit_base_patch16_224.untrained", "efficientnet_lite0", "inception", "cuda", "cuda:99", "mps",
]  # fmt: skip


def at_the_borders(schema: dict) -> list[str]:
    """Return values at and beyond the ends of a type's ranges, and its words, spelt wrongly too."""
    members = schema.get("items", schema)
    found = [f"{word}{end}" for word in choices(schema) for end in ("", "x", f",{word}")]
    for limits in members.get("anyOf", [members]):
        for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if (end := limits.get(name)) is not None:
                found += [str(end), str(end - 1), str(end + 1), f"{end}.5", f"{end},{end}"]
    return found


def one(chapter: str, name: str, kind: str) -> st.SearchStrategy[tuple[str, str]]:
    """Return strategies for a parameter and its value, as texts."""
    borders = at_the_borders(schema_of(kind_of(chapter, name, kind)))
    pools = [pool for pool in (borders, borders, TRICKS, PLACES) if pool]
    numbers = st.integers().map(str) | st.floats().map(repr)
    chosen = st.sampled_from(pools).flatmap(st.sampled_from)
    value = st.one_of(chosen, chosen, chosen, numbers, st.text(max_size=30))
    return st.tuples(st.just(name), value)


def given_for(chapter: str) -> st.SearchStrategy[dict[str, str]]:
    """Return a strategy for some of a chapter's parameters, and now and then one it has not."""
    known = st.sampled_from(declared(chapter)).flatmap(
        lambda field: one(chapter, field.name, field.type)
    )
    other = st.tuples(st.text("abcde_xyz", min_size=1), st.sampled_from(TRICKS))
    pairs = st.lists(st.one_of(*[known] * 19, other), min_size=1, max_size=4)
    return pairs.map(dict)


def options(values: dict[str, str], output: Path) -> list[str]:
    return [*(f"-p{name}={value}" for name, value in values.items()), "--output", str(output)]


def check_sentence(said: str) -> None:
    """Assert that what was written on standard error is one sentence, and not a long one."""
    (line,) = [text for text in said.splitlines() if not text.startswith("to fit ")]
    assert line.startswith("error: ")
    assert len(line) < SIGNS
    assert "Traceback" not in line


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """No kernel, no swallowed fault of a checking cell, a folder of its own; the list gets runs."""
    ran: list[str] = []
    monkeypatch.setattr(execute, "run", lambda chapter, *_, **__: ran.append(chapter.name) or "")
    monkeypatch.setattr(rehearsal, "rehearse", rehearsal.checking_cell)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("SYNTHBOOK_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return ran


@pytest.mark.parametrize("chapter", NAMES)
def test_any_values_are_run_or_refused_in_a_sentence(chapter, quiet, tmp_path, capsys):
    cli.main(["run", chapter, "--output", str(tmp_path / "first.ipynb")])  # pays the imports
    assert quiet == [chapter]
    capsys.readouterr()

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )  # fmt: skip
    @given(given_for(chapter))
    @example({"seeds": "1:30"})
    @example({"rows": "/dev/full"})
    def refused_or_run(values):
        before, start = len(quiet), time.process_time()
        code = cli.main(["run", chapter, *options(values, tmp_path / "out.ipynb")])
        assert time.process_time() - start < SECONDS
        said = capsys.readouterr().err
        event("refused" if code else "accepted")
        assert code in (0, 2)
        assert (code == 0) == (len(quiet) > before)
        if code:
            check_sentence(said)

    refused_or_run()


@pytest.mark.skipif(not ASKED, reason="SYNTHBOOK_FUZZ=300 asks for it")
def test_refusals_of_the_command_in_a_row(tmp_path):
    draw = random.Random(0)
    seconds, kilobytes, refused, accepted = [0.0], [0], 0, 0
    environment = {name: os.environ[name] for name in os.environ if name != "SYNTHBOOK_DATA"}
    while refused < ASKED:
        chapter, values = _drawn(draw.choice(NAMES), draw)
        texts = options(values, tmp_path / "out.ipynb")
        command = [sys.executable, "-c", _COMMAND, chapter, *texts]
        with tempfile.TemporaryFile("w+") as said:
            try:
                process = subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=said, stdin=subprocess.DEVNULL,
                    cwd=tmp_path, env=environment,
                )  # fmt: skip
            except (OSError, ValueError):  # no argument of a command: a null byte, half a pair
                continue
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            text = said.read()
        if process.returncode == 0:
            accepted += 1
            continue
        assert process.returncode == 2, (command, text)
        check_sentence(text)
        seconds.append(used.ru_utime + used.ru_stime)
        kilobytes.append(used.ru_maxrss)
        assert seconds[-1] < SECONDS, (command, seconds[-1])
        assert kilobytes[-1] < KILOBYTES, (command, kilobytes[-1])
        refused += 1
    print(
        f"\n{refused} refusals in a row, {accepted} accepted: at most {max(seconds):.1f} s of "
        f"processor time (median {sorted(seconds)[len(seconds) // 2]:.1f}) and "
        f"{max(kilobytes) / 1e3:.0f} MB"
    )


# The command, but for its kernel: what is accepted ends where a run would begin.
_COMMAND = (
    "import sys; from synthbook import cli; from synthbook.press import execute, rehearsal;"
    "execute.run = lambda *_, **__: ''; rehearsal.rehearse = rehearsal.checking_cell;"
    "sys.exit(cli.main(['run', *sys.argv[1:]]))"
)


def _drawn(chapter: str, draw: random.Random) -> tuple[str, dict[str, str]]:
    """Return a chapter and some values of its parameters, from the same pools."""
    values = {}
    for field in draw.sample(declared(chapter), min(len(declared(chapter)), draw.randint(1, 3))):
        borders = at_the_borders(schema_of(kind_of(chapter, field.name, field.type)))
        pool = draw.choice([one for one in (borders, borders, TRICKS, PLACES) if one])
        values[field.name] = draw.choice(pool)
    return chapter, values
