"""Chapters as a reader runs them, with papermill alone: bad input stops them at once, in a line."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from synthbook.record.chapters import CHECKS, cells, chapters, find
from synthbook.store import root

NAMES = [chapter.name for chapter in chapters()]
ON_THE_GAP = [name for name in NAMES if name.startswith("1")]
SECONDS = 6  # of a processor to the error; two on an idle machine


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders and archives of a user, all but the last two unusable."""
    top = tmp_path_factory.mktemp("inputs")

    def image(path: Path, size: tuple[int, int] = (8, 8)) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, 128).save(path)

    for number in range(24):
        image(top / "flat" / f"{number}.png")
        image(top / "one_class/cat" / f"{number}.png")
        for label in ("cat", "dog"):
            image(top / "unreadable" / label / f"{number}.png")
            image(top / "unequal" / label / f"{number}.png", (8 + number, 8))
            image(top / "good" / label / f"{number}.png")
    (top / "unreadable/dog/3.png").write_bytes(b"no image")
    (top / "empty").mkdir()
    images = np.zeros((48, 8, 8), dtype=np.uint8)
    labels = np.arange(48) % 2
    np.savez(top / "unnamed.npz", images, labels)
    np.savez(top / "below.npz", images=images, labels=labels - 1)
    np.savez(top / "above.npz", images=images, labels=labels + 1, names=np.array(["cat", "dog"]))
    np.savez(top / "good.npz", images=images, labels=labels)
    return top


# What is typed after papermill's -p, and what the error has to name: the value and the remedy.
BAD: dict[str, tuple[str, str, list[str]]] = {
    "misspelt": ("sede", "5", ["'sede'", "5", "did you mean 'seeds'?"]),
    "too few": ("seeds", "0", ["seeds = 0", "from 1 to 1000"]),
    "no number": ("seeds", "many", ["seeds = 'many'", "whole number", "give"]),
    "negative": ("guidance_scale", "-1", ["guidance_scale = -1", "from 0 to 100"]),
    "unknown data": ("data", "nonsense", ["'nonsense'", "known: digits"]),
    "no folder": ("data", "./missing", ["./missing", "correct the path"]),
    "empty folder": ("data", "empty", ["empty", "class"]),
    "no class folders": ("data", "flat", ["flat", "class"]),
    "one class": ("data", "one_class", ["one_class", "at least two"]),
    "unreadable image": ("data", "unreadable", ["dog/3.png", "replace or delete"]),
    "unequal sizes": ("data", "unequal", ["unequal", "image_size"]),
    "unnamed arrays": ("data", "unnamed.npz", ["unnamed.npz", "arr_0", "name its arrays"]),
    "labels below 0": ("data", "below.npz", ["from -1 to 0", "number them from 0 to 1"]),
    "labels above K": ("data", "above.npz", ["from 1 to 2", "number them from 0 to 1"]),
    "source twice": ("sources", "real,real", ["'real', 'real'", "twice", "each once"]),
    "unknown source": ("sources", "real,diffusoin", ["'diffusoin'", "did you mean 'diffusion'?"]),
    "no such device": ("device", "gpu", ["device = 'gpu'", "cuda:N"]),
}
Start = Callable[..., tuple[BaseException | None, str, float]]


@pytest.fixture
def start(inputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Start:
    """Run a chapter in an IPython shell from its first cell to its checking cell.

    The parameters go in as papermill's command line puts them. Returns the error, what is
    printed, and the seconds it took.
    """
    from IPython.core.interactiveshell import InteractiveShell
    from papermill.cli import _resolve_type
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook
    from traitlets.config import Config

    monkeypatch.chdir(inputs)

    def run(chapter: str, **typed: str) -> tuple[BaseException | None, str, float]:
        notebook = load_notebook_node(str(root() / "notebooks" / f"{chapter}.ipynb"))
        values = {name: _resolve_type(text) for name, text in typed.items()}
        notebook = parameterize_notebook(notebook, values)
        config = Config({"HistoryManager": {"enabled": False}})
        config.InteractiveShell.colors = "nocolor"
        shell = InteractiveShell(config=config)
        capsys.readouterr()
        began = time.process_time()  # other work on the machine does not count
        for cell in notebook.cells:
            if cell.cell_type != "code":
                continue
            if "parameters" in cell.metadata.get("tags", []):
                capsys.readouterr()  # what the chapter answers before it is asked anything
            done = shell.run_cell(cell.source)
            if done.error_in_exec or done.error_before_exec or CHECKS.search(cell.source):
                took = time.process_time() - began
                error = done.error_in_exec or done.error_before_exec
                return error, capsys.readouterr().out, took
        raise AssertionError(f"{chapter} has no cell that checks its parameters")

    return run


def told_in_a_sentence(error: BaseException | None, printed: str, words: list[str]) -> None:
    """Check that an error names the words in a line of its own and shows no code."""
    assert type(error).__name__ == "InputError"
    lines = printed.strip().splitlines()
    assert lines[-1] == f"InputError: {error}"
    # Only the data set's summary may stand before it.
    assert all(re.search(r"; \d+ classes; .* images, ", line) for line in lines[:-1])
    assert "\n" not in str(error)
    assert len(str(error)) < 1000
    for word in words:
        assert word in str(error)


@pytest.mark.parametrize("fault", BAD)
@pytest.mark.parametrize("chapter", ON_THE_GAP)
def test_bad_input_stops_a_chapter_in_its_checking_cell(
    chapter: str, fault: str, start: Start
) -> None:
    name, value, words = BAD[fault]
    error, printed, seconds = start(chapter, **{name: value})
    told_in_a_sentence(error, printed, words)
    assert seconds < SECONDS


@pytest.mark.usefixtures("all_kept")
@pytest.mark.parametrize("chapter", ON_THE_GAP)
def test_good_input_passes_the_checking_cell(chapter: str, start: Start) -> None:
    for given in ({}, {"data": "good"}, {"data": "good.npz", "seeds": "3", "sources": "real,gan"}):
        fewer = {"shots": "2"} if chapter[:2] in ("14", "16") else {}
        error, printed, _ = start(chapter, **given, **(fewer if "data" in given else {}))
        assert error is None
        assert printed.startswith(Path(given.get("data", "caltech10")).stem)
    assert start(chapter, data="unequal", image_size="8", **fewer)[0] is None


@pytest.mark.usefixtures("all_kept")
@pytest.mark.parametrize(
    ("given", "most"), [({}, 100), ({"data": "good"}, 15), ({"set_size": "50"}, 5)]
)
def test_more_shots_than_images_are_refused_before_any_work(
    given: dict[str, str], most: int, start: Start
) -> None:
    error, printed, _ = start("14_what_an_image_teaches", shots="1000", **given)
    told_in_a_sentence(error, printed, ["shots = 1000"])
    allowed = int(re.findall(r"\d+", str(error))[-1])
    assert allowed <= most
    assert start("14_what_an_image_teaches", shots=str(allowed), **given)[0] is None


IMPOSSIBLE = {  # chapter, what is typed, what the error has to name
    "unknown part": ("15", {"parts": "scrach"}, ["'scrach'", "'scratch'"]),
    "unknown method": ("15", {"methods": "plain,PG-K"}, ["'PG-K'", "PG-KL"]),
    "no network": ("15", {"parts": "sensitivity"}, ["parts", "scratch"]),
    "only real": ("15", {"sources": "real"}, ["sources", "generator"]),
    "weight": ("15", {"lambda_3_kl": "0.1,-1"}, ["-1", "lambda_3_kl"]),
    "method of 15": ("16", {"methods": "Aug,PG-KL"}, ["'PG-KL'", "methods"]),
    "misspelt method": ("16", {"methods": "DAN"}, ["'DAN'", "did you mean 'DANN'?"]),
    "no such part": ("16", {"parts": "real_image"}, ["did you mean 'real_images'?"]),
    "too many shots": ("16", {"shots": "101"}, ["shots = 101", "100"]),
    "too high a ratio": ("16", {"synthetic_ratio": "90"}, ["synthetic_ratio = 90"]),
    "no weight": ("16", {"lambda_1": "-1"}, ["lambda_1 = -1"]),
    "no real target": ("16", {"method_settings": "RG+PG-R.target=gide"}, ["did you mean 'guide'?"]),
    "no power of two": ("51", {"resolution": "100"}, ["100", "power of two"]),
    "range reversed": ("51", {"exponent_low": "4"}, ["4", "3.5"]),
    "no such target": ("52", {"targets": "chima"}, ["'chima'", "mnist5k:3"]),
    "no such class": ("52", {"targets": "mnist5k:12"}, ["no class '12'", "did you mean"]),
    "one image": ("52", {"target_images": "1"}, ["target_images = 1", "from 2"]),
    "size between": ("52", {"image_size": "24"}, ["image_size = 24", "8, 16, 32"]),
    "frozen": ("52", {"frozen_blocks": "9"}, ["frozen_blocks = 9", "at most 4"]),
    "seldom": (
        "52",
        {"evaluate_every": "500"},
        ["every 500 steps", "stop_after = 100"],
    ),
    "no drawn": ("52", {"parts": "sources", "variants": "Primitives"}, ["Primitives-PS", "add it"]),
    "augmentation": ("52", {"augment": "color,cutut"}, ["'cutut'", "cutout"]),
    "no weights": ("52", {"extractor": "inception"}, ["Inception weights", "efficientnet_lite0"]),
    "share": ("53", {"shares": "0.0005"}, ["0.0005", "0.0019 or more"]),
    "latent": (
        "53",
        {"biggan_architecture": "biggan", "biggan_network_settings": "latent: 50"},
        ["latent 50", "multiple of 4"],
    ),
    "method of 53": ("53", {"methods": "BigGAN+DifAug"}, ["did you mean 'BigGAN+DiffAug'?"]),
    "policy": ("53", {"policies": "Fix(1/3)"}, ["'Fix(1/3)'", "Decay"]),
    "count": ("53", {"counts": "10,5000"}, ["5000", "1000"]),
}


@pytest.mark.parametrize("fault", IMPOSSIBLE)
def test_what_cannot_be_trained_is_refused_before_any_work(
    fault: str, start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SYNTHBOOK_INCEPTION", str(tmp_path / "none.pth"))
    chapter, typed, words = IMPOSSIBLE[fault]
    error, printed, seconds = start(find(chapter).name, **typed)
    told_in_a_sentence(error, printed, words)
    assert seconds < SECONDS


@pytest.mark.parametrize("name", NAMES)
def test_papermill_understands_every_line_of_the_parameters_cell(name: str) -> None:
    """It warns of a line with a second "=", also in the comment, and does not list its name."""
    script = find(name).script
    (source,) = (cell.source for cell in cells(script) if "parameters" in cell.tags)
    assert [line for line in source.splitlines() if line.count("=") > 1] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chapter", "fault"),
    [
        ("11_generators", "unreadable image"),
        ("12_not_mutual", "misspelt"),
        ("14_what_an_image_teaches", "source twice"),
    ],
)
def test_papermill_itself_ends_with_an_error_and_a_partial_notebook(
    chapter: str, fault: str, inputs: Path, tmp_path: Path
) -> None:
    name, value, words = BAD[fault]
    source, target = root() / "notebooks" / f"{chapter}.ipynb", tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(source), str(target)]
    done = subprocess.run(
        [*command, "-p", name, value], capture_output=True, text=True, cwd=inputs, timeout=120
    )
    assert done.returncode not in (0, None)
    last = done.stderr.strip().splitlines()[-1]
    notebook = nbformat.read(target, as_version=4)
    # Beside the errors there are the notes that papermill itself puts around them.
    code = [c for c in notebook.cells if c.cell_type == "code" and "papermill" in c.metadata]
    (failed,) = (c for c in code if c.metadata.papermill.get("exception"))
    (output,) = (o for o in failed.outputs if o.output_type == "error")
    assert output.ename == "InputError"
    assert output.traceback == [f"InputError: {output.evalue}"] == [last]
    for word in words:
        assert word in last
    assert CHECKS.search(failed.source)
    ran = [c for c in code if c.metadata.papermill.get("status") in ("completed", "failed")]
    assert ran[-1] is failed  # nothing behind the checking cell was begun
