"""``synthbook run``: bad input is refused at once, and a run leaves notebook, rows and record."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import nbformat
import numpy as np
import pytest
from PIL import Image
from pydantic import Field

from synthbook import store
from synthbook.cli import main
from synthbook.press import execute as press
from synthbook.record.chapters import convert, find
from synthbook.record.vocabulary import CHAPTERS
from synthbook.studies.fit import fitting

CHAPTER = """\
# %% [markdown]
# # A chapter

# %% tags=["parameters"]
seeds: int = 1  # number of seeds
first_seed: int = 0
learning_rate: float = 0.1
sources: list[str] = ["real", "gan"]  # where images come from
data: str = "digits"  # the images
image_size: int = 0
fail: bool = False
rows: str = ""

# %%
from synthbook.data import check
from synthbook.errors import InputError
from synthbook.record.parameters import parameters

p = parameters("90_tiny", globals())
print(check(p.data, image_size=p.image_size))
if p.seeds == 6:
    raise InputError("seeds = 6 is unlucky; give 5")

# %%
import os
print("in", os.path.basename(os.getcwd()))

# %% tags=["experiment"]
from synthbook.record.rows import Run
print("before", p.seeds, p.learning_rate, p.data)
if p.fail:
    raise ValueError("broken")
run = Run(p)
run.add(method="m", train="", test="", dataset=p.data, metric="x", value=2.0, seed=0)
print("after")
"""


@pytest.fixture
def book(new_book, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book of one chapter, whose stored notebook is older than its source."""
    small = "seeds: 3\nlearning_rate: 0.5\n"
    older = CHAPTER.replace('"before"', '"outdated"')
    top = new_book({"params/90_tiny/small.yaml": small, "notebooks/90_tiny.py": older})
    nbformat.write(convert(find("90")), top / "notebooks/90_tiny.ipynb")
    (top / "notebooks/90_tiny.py").write_text(CHAPTER)
    seeds = Annotated[int, Field(ge=1, le=7, examples=[2])]
    monkeypatch.setitem(CHAPTERS, "90_tiny", {"seeds": seeds})
    return top


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Fail if a kernel would start; the list gets the notebooks that would have run."""
    started: list[Path] = []
    monkeypatch.setattr(press, "run", lambda _, __, output, **___: started.append(output) or "")
    return started


def _folder(path: Path, *sizes: tuple[int, int]) -> Path:
    for label in ("cat", "dog"):
        (path / label).mkdir(parents=True)
        for number in range(4):
            size = sizes[number % len(sizes)]
            Image.new("L", size, number).save(path / label / f"{number}.png")
    return path


BAD = [
    (["-p", "sede=5"], ["'sede'", "5", "did you mean 'seeds'?"]),
    (["-p", "seeds"], ["-p seeds", "no '='", "-p seeds=5"]),
    (["-p", "seeds=2.5"], ["seeds = 2.5", "not a whole number"]),
    (["-p", "seeds="], ["seeds = ''", "not a whole number"]),
    (["-p", "learning_rate=nan"], ["learning_rate = nan", "not finite"]),
    (["-p", "sources=[real"], ["'[real'", "some of real, diffusion, gan"]),
    (["-p", "data=digit"], ["'digit'", "did you mean 'digits'?"]),
    (["-p", "data=./not/there"], ["'./not/there' does not exist", "correct the path"]),
    (["-p", "data=cifar10"], ["cifar10", "data_root"]),
    (["--scale", "smal"], ["'smal'", "did you mean 'small'?"]),
    (["--output", "out.json"], ["out.json", ".ipynb"]),
    (["--output", "/dev/null/out.ipynb"], ["the notebook '/dev/null/out.ipynb' cannot be written"]),
    (["-p", "rows=/"], ["rows = '/'", "it is a folder"]),
    (["-p", f"seeds={'9' * 5000}"], ["seeds = ", " ... is not a whole number"]),
    (["-p", "sources=real,mine=./nowhere"], ["'./nowhere' of 'mine' does not exist"]),
    (["-p", "sources=[real, mine=/dev/null]"], ["'/dev/null' is a file, but no .npz"]),
    (["-p", "seeds=0", "-p", "epochs=0"], ["seeds = 0", "epochs"]),
    (["-p", "data=2024-13-45"], ["unknown data set '2024-13-45'"]),
    (["-p", "seeds=1:30"], ["seeds = '1:30' is not a whole number"]),
    (["-p", "learning_rate=１"], ["learning_rate = '１' is not a number"]),
    (["-p", "first_seed=010"], ["first_seed = '010' is not a whole number"]),
    (["-p", f"sources={'[' * 5000}"], ["sources = '[[", " ... is not a list of texts"]),
    (["-p", "sources={a: &x [1, 2], b: [*x, *x]}"], ["*x, *x", "some of real"]),
    (["-p", f"data={'x' * 100_000}"], ["is no path", "File name too long"]),
    (["-p", "data=~nobodyxyz/x"], ["~nobodyxyz/x", "is no path"]),
    (["-p", "backbone=nonsense"], ["'nonsense' is no network"]),
    (["--scale", "x" * 100_000], ["has no scale"]),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=lambda value: " ".join(value)[:40])
def test_bad_input_is_refused_in_one_line_before_a_kernel_starts(
    arguments: list[str],
    words: list[str],
    no_kernel: list[Path],
    refused: Callable[[list[str]], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if "--output" not in arguments:
        arguments = [*arguments, "--output", str(tmp_path / "out.ipynb")]
    start = time.process_time()
    error = refused(["run", "12", *arguments])
    assert time.process_time() - start < 2
    for word in words:
        assert word in error
    assert no_kernel == []
    assert not list(tmp_path.iterdir())


def test_what_only_the_checking_cell_knows_is_found_before_a_kernel_starts(
    book: Path, no_kernel: list[Path], refused: Callable[[list[str]], str], tmp_path: Path
) -> None:
    mixed = _folder(tmp_path / "mixed", (8, 8), (12, 9))
    assert "image_size" in refused(["run", "90", "-p", f"data={mixed}"])
    assert "unlucky" in refused(["run", "90", "-p", "seeds=6"])
    assert "from 1 to 7" in refused(["run", "90", "-p", "seeds=8"])
    assert no_kernel == []
    assert main(["run", "90", "-p", f"data={mixed}", "-p", "image_size=8"]) == 0
    assert len(no_kernel) == 1


def test_good_values_of_each_kind_reach_the_notebook_as_meant(
    book: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    got: dict = {}
    monkeypatch.setattr(press, "run", lambda _, values, __, **___: got.update(values) or "")
    _folder(tmp_path / "2024", (8, 8))
    monkeypatch.chdir(tmp_path)
    given = ["learning_rate=1e-3", "sources=gan", "data=./2024", "fail=false", "seeds=2"]
    arguments = [part for text in given for part in ("-p", text)]
    assert main(["run", "90", "--scale", "small", *arguments]) == 0
    assert got == {
        "seeds": 2, "learning_rate": 0.001, "sources": "gan", "data": "./2024", "fail": False,
    }  # fmt: skip
    (made,) = (book / "_build/runs").glob("*.json")
    record = json.loads(made.read_text())
    assert record["parameters"]["sources"] == ["gan"]
    assert record["parameters"]["learning_rate"] == 0.001


def test_the_folder_of_data_sets_is_that_of_the_environment_where_none_is_given(
    book: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    got: list[str | None] = []
    monkeypatch.setattr(
        press, "run", lambda _, values, __, **___: got.append(values.get("data_root")) or ""
    )
    monkeypatch.setenv("SYNTHBOOK_DATA", str(tmp_path))
    assert main(["run", "90"]) == 0  # a chapter that has no such parameter
    script = CHAPTER.replace("data: str", 'data_root: str = ""  # the folder\ndata: str', 1)
    (book / "notebooks/90_tiny.py").write_text(script)
    assert main(["run", "90"]) == 0
    assert main(["run", "90", "-p", "data_root=mine"]) == 0
    assert got == [None, str(tmp_path), "mine"]


@pytest.mark.usefixtures("all_kept")
def test_own_images_get_settings_that_fit_them_unless_they_are_given(
    no_kernel: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kernel gets them like any others, and the reader sees them, and what will be trained."""
    own, asked = _folder(tmp_path / "mine", (40, 40)), {"image_size": 16, "epochs": 77}
    options = [f"-p{name}={value}" for name, value in {"data": own, **asked}.items()]
    main(["run", "12", *options, "--output", str(tmp_path / "out.ipynb")])
    said = capsys.readouterr().err.partition("\n")[0]
    fit = {name: value for name, value in fitting(6).items() if name not in asked}
    for name, value in fit.items():
        assert f"-p {name}={value or ''}" in said  # a list without members is no text
    assert fit
    assert "-p epochs" not in said
    assert len(no_kernel) == 1


@pytest.mark.parametrize(
    ("options", "images"),
    [
        ([], 4),
        (["-ptest=apart"], 8),
        (["-ptest=apart", "-psamples=gan"], 4),
        (["-ptrain_images=3"], 3),
    ],
)
@pytest.mark.usefixtures("all_kept")
def test_what_fits_an_audit_goes_by_the_images_that_classifiers_are_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    options: list[str], images: int,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "made", "apart"):
        _folder(tmp_path / name, (40, 40))
    main(["run", "61", "-pdata=mine", "-psamples=made", *options, "--dry-run"])
    assert f"to fit {images} training images" in capsys.readouterr().err


@pytest.mark.usefixtures("all_kept")
def test_own_images_below_the_home_folder_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _folder(tmp_path / "mine", (40, 40))
    monkeypatch.setenv("HOME", str(tmp_path))
    main(["run", "12", "-pdata=~/mine", "-pimage_size=16", "--dry-run"])
    assert "to fit 4 training images" in capsys.readouterr().err


@pytest.mark.usefixtures("all_kept")
def test_what_fits_goes_by_the_size_of_sets_and_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "mine.npz"
    np.savez(own, images=np.zeros((60, 16, 16), np.uint8), labels=np.arange(60) % 2)
    main(["run", "12", f"-pdata={own}", "-pset_size=20", "-pbatch_size=8", "--dry-run"])
    said = capsys.readouterr().err
    assert "to fit 20 training images, unless given: -p unconditional= -p epochs=80\n" in said


def test_the_books_own_data_keep_a_chapters_defaults(
    no_kernel: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", "12", "--output", str(tmp_path / "out.ipynb")])
    assert "to fit" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("out.ipynb", "{}", "out.ipynb"),
        ("out.json", "{}", "out.json"),
        ("out.json", "[1, 2]", "out.json"),
        ("out.json", "no JSON", "out.json"),
    ],
)
def test_a_file_that_no_run_wrote_is_not_replaced(
    book: Path, no_kernel: list[Path], refused: Callable[[list[str]], str], tmp_path: Path,
    name: str, content: str, named: str,
) -> None:  # fmt: skip
    (tmp_path / name).write_text(content)
    error = refused(["run", "90", "--output", str(tmp_path / "out.ipynb")])
    assert f"{named}', which no run wrote" in error
    assert (tmp_path / name).read_text() == content
    assert no_kernel == []


def test_a_run_replaces_the_notebook_of_another_run(
    book: Path, no_kernel: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "out.ipynb"
    for _ in range(2):
        assert main(["run", "90", "--output", str(output)]) == 0
        output.write_text("a notebook")
    assert len(no_kernel) == 2


@pytest.mark.parametrize("how", ["full at once", "full later"])
def test_a_full_disk_ends_a_run_in_one_sentence(
    how: str, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if how == "full at once":
        monkeypatch.setattr(store.Path, "replace", full)
    else:
        monkeypatch.setattr("papermill.execute_notebook", full)
    assert main(["run", "90", "--output", str(tmp_path / "out.ipynb")]) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("error: ")
    assert "No space left on device" in last


@pytest.mark.slow
def test_a_run_writes_notebook_rows_and_record_where_the_caller_is(
    book: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = tmp_path / "where I am"
    _folder(here / "mine", (8, 8))
    monkeypatch.chdir(here)
    given = ["-p", "data=./mine", "-p", "rows=my.jsonl", "--output", "out/run.ipynb"]
    assert main(["run", "90", "--scale", "small", *given]) == 0
    assert capsys.readouterr().out == "notebook: out/run.ipynb\n"
    notebook = nbformat.read(here / "out/run.ipynb", as_version=4)
    text = "".join(
        output.get("text", "") for c in notebook.cells for output in c.get("outputs", [])
    )
    assert "in where I am" in text
    assert "before 3 0.5 ./mine" in text  # of the source, not of the outdated notebook
    assert "after" in text
    record = json.loads((here / "out/run.json").read_text())
    assert (record["chapter"], record["scale"], record["completed"]) == ("90_tiny", "small", True)
    assert record["parameters"]["seeds"] == 3
    assert record["seconds"] > 0
    (row,) = (json.loads(line) for line in (here / "my.jsonl").read_text().splitlines())
    for name in ("parameters", "version", "torch"):
        assert name in record["provenance"]
    assert row["provenance"]["parameters"] == record["provenance"]["parameters"]
    assert row["scale"] == "custom"  # another data set is another scale


@pytest.mark.slow
def test_a_chapter_that_raises_keeps_what_it_reached(
    book: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "90", "-p", "fail=true"]) == 1
    out, err = capsys.readouterr()
    assert "error: 90_tiny: ValueError: broken" in err
    (made,) = (book / "_build/runs").glob("*.ipynb")
    assert out == f"partial notebook: {made}\n"
    text = made.read_text()
    assert "before 1 0.1 digits" in text
    assert "after\\n" not in text
    record = json.loads(made.with_suffix(".json").read_text())
    assert record["completed"] is False
    assert record["parameters"]["fail"] is True


def test_no_module_beside_the_readers_images_is_run(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by the kernel's own imports nor by those of the chapter."""
    here = tmp_path / "photographs"
    here.mkdir()
    for name in ("mlxtend", "ipykernel_launcher", "zmq", "synthbook"):
        (here / f"{name}.py").write_text(f"open('{name}_was_run', 'w')\nraise SystemExit")
    source = CHAPTER.replace("import os\n", "import os, mlxtend, zmq\n", 1)
    assert source != CHAPTER
    (book / "notebooks/90_tiny.py").write_text(source)
    monkeypatch.chdir(here)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    before = {path.name for path in here.iterdir()}
    assert main(["run", "90", "--output", str(tmp_path / "out.ipynb")]) == 0
    assert {path.name for path in here.iterdir()} == before
    assert "PYTHONSAFEPATH" not in os.environ


@pytest.mark.parametrize(
    "output", ["/proc/x.ipynb", "/etc/passwd/x.ipynb", f"{'x' * 300}.ipynb", "a\0b.ipynb"]
)
def test_places_that_cannot_be_written_are_refused_before_the_work(
    output: str, book: Path, no_kernel: list[Path], refused: Callable[[list[str]], str]
) -> None:
    assert "cannot be written (" in refused(["run", "90", "--output", output])
    assert no_kernel == []


@pytest.mark.slow
def test_ctrl_c_ends_a_run_in_a_sentence(book: Path, tmp_path: Path) -> None:
    """A terminal sends it to all of the command's processes, in the middle of a cell."""
    loop = "import time\nfrom pathlib import Path\n"
    loop += "for k in range(10_000):\n    print(k, flush=True)\n    time.sleep(0.01)\n"
    loop += f"    Path({str(tmp_path / 'reached')!r}).touch()\n"
    script = CHAPTER.replace('print("after")', loop)
    (book / "notebooks/90_tiny.py").write_text(script)
    output = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "synthbook.cli", "run", "90", "--output", str(output)]
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Where the tests run in the background it is ignored, and that is handed on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        while not (tmp_path / "reached").exists():
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode in (130, -signal.SIGINT)
    assert out == ""
    assert err.splitlines()[-1] == "stopped; what was finished is kept"
    assert "Traceback" not in err
    assert json.loads(output.with_suffix(".json").read_text())["completed"] is False
