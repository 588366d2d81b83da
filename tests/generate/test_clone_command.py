"""The command `synthbook clone`: from a list of classes to a data set, and what one would cost."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from synthbook.cli import main
from synthbook.data import load
from synthbook.errors import InputError
from synthbook.generate import clone_command
from synthbook.generate.clone_command import counts_of, share
from synthbook.generate.clones import class_shares

CLASSES = """name, definition, parent
cat, a small animal, feline
"dog, hound", an animal, canine
plane, a thing that flies, aircraft
"""
FAST = ["--steps", "2", "--per-class", "3"]


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command sets threads and determinism, and must not see an outer launcher."""
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    threads, sure = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(sure)


@pytest.fixture
def classes(tmp_path: Path) -> str:
    (tmp_path / "classes.txt").write_text(CLASSES)
    return str(tmp_path / "classes.txt")


@pytest.fixture
def clone(classes: str, text_folder: Path) -> Callable[..., int]:
    def run(out: Path, *options: str) -> int:
        given = ["clone", classes, "--model", str(text_folder), "--out", str(out), *FAST]
        return main([*given, "--device", "cpu", *options])

    return run


def files(out: Path) -> dict[str, bytes]:
    found = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {k: p.read_bytes() for k, p in sorted(found.items()) if not k.endswith(".lock")}


def test_a_list_of_classes_becomes_a_data_set(
    clone: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clone(tmp_path / "out", "--prompt", "c, h_c", "--guidance-scale", "1") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: 9 of 9 images; 0 black ones replaced\n"
    found = load(str(tmp_path / "out"))
    assert found.train.classes == ("cat", "dog", "plane")
    assert found.train.image_size == 16
    header, *lines = map(json.loads, (tmp_path / "out/plan.jsonl").read_text().splitlines())
    assert (header["guidance_scale"], header["num_inference_steps"]) == (1, 2)
    assert [line["prompts"] for line in lines] == [
        ["cat, feline"], ["dog, hound, canine"], ["plane, aircraft"],
    ]  # fmt: skip


def test_workers_do_a_part_each_and_make_the_same_shards(
    clone: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = ["--format", "shards", "--shard-size", "4"]
    assert clone(tmp_path / "one", *shards) == 0
    capsys.readouterr()
    assert clone(tmp_path / "two", *shards, "--worker", "2/2") == 0
    assert "4 of 9 images" in (said := capsys.readouterr().out)
    assert "left to other workers" in said
    assert clone(tmp_path / "two", *shards, "--worker", "1/2") == 0
    assert "9 of 9 images" in capsys.readouterr().out
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_processes_that_accelerate_starts_share_the_work(
    clone: Callable[..., int], tmp_path: Path
) -> None:
    """With the variables that `accelerate launch` sets for two processes on the CPU."""
    shards = ["--format", "shards", "--shard-size", "2"]
    started = []
    for rank in range(2):
        if not (number := os.fork()):
            ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2}
            os.environ.update({name: str(value) for name, value in ranks.items()})
            code = 9
            try:
                code = clone(tmp_path / "two", *shards)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.__stderr__)
            finally:
                os._exit(code)
        started.append(number)
    ends = [os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) for number in started]
    assert ends == [0, 0]
    assert clone(tmp_path / "one", *shards) == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_images_start_from_a_folder_of_real_ones_and_are_asked_for_by_sentences(
    clone: Callable[..., int], classes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cat", "dog", "plane", "more"):
        (tmp_path / "real" / name).mkdir(parents=True)
        for k in range(2):
            Image.new("RGB", (20, 30), (k * 200, 50, 90)).save(
                tmp_path / "real" / name / f"{k}.png"
            )
    told = tmp_path / "sentences.csv"
    assert main(["sentences", classes, "--out", str(told), "--count", "2"]) == 0
    how = ["--from", str(tmp_path / "real"), "--sentences", str(told)]
    assert clone(tmp_path / "out", *how, "--strength", "0.6") == 0
    header, *lines = map(json.loads, (tmp_path / "out/plan.jsonl").read_text().splitlines())
    assert header["from"] == str(tmp_path / "real")
    assert [len(line["prompts"]) for line in lines] == [2, 2, 2]
    assert {line["strength"] for line in lines} == {0.6}
    assert [*lines[0]["start"]] == ["cat/0.png", "cat/1.png"]
    before = files(tmp_path / "out")
    (tmp_path / "out/cat/000001.png").unlink()
    assert clone(tmp_path / "out", *how, "--strength", "0.6") == 0
    assert files(tmp_path / "out") == before
    capsys.readouterr()
    assert clone(tmp_path / "out", *how) == 2
    assert "another data set" in capsys.readouterr().err
    assert clone(tmp_path / "new", *how, "--dry-run", "--rate", "1") == 0
    out = capsys.readouterr().out
    assert "6 sentences, such as" in out
    assert "from 6 real images at strength 0.4" in out
    assert clone(tmp_path / "new", "--strength", "0.4") == 2
    assert "give --from DIR" in capsys.readouterr().err
    (tmp_path / "real/dog").rename(tmp_path / "real/hound")
    assert clone(tmp_path / "new", *how) == 2
    assert "class 'dog' has no real image" in capsys.readouterr().err


# ---- numbers of images ---------------------------------------------------------------------------


def test_the_numbers_of_a_real_set_are_kept(tmp_path: Path) -> None:
    for name, count in (("cat", 5), ("dog", 2), ("plane", 1)):
        (tmp_path / name).mkdir()
        for k in range(count):
            Image.new("L", (4, 4)).save(tmp_path / name / f"{k}.png")
    names = ("plane", "cat", "dog")
    assert counts_of(names, None, str(tmp_path), None) == (1, 5, 2)
    assert counts_of(names, None, str(tmp_path), 80) == (10, 50, 20)
    assert sum(counts_of(names, None, str(tmp_path), 13)) == 13
    with pytest.raises(InputError, match="fox"):
        counts_of(("plane", "cat", "fox"), None, str(tmp_path), None)


def test_the_numbers_of_a_set_by_name_are_those_of_its_training_images() -> None:
    train = load("caltech10").train
    found = counts_of(train.classes[::-1], None, "caltech10", None)
    np.testing.assert_array_equal(found[::-1], train.counts())
    found = counts_of(train.classes, None, "caltech10", 100)
    np.testing.assert_array_equal(found, class_shares(train, 100))


def test_a_real_set_by_name_is_looked_for_in_the_folder_of_data_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHBOOK_DATA", str(tmp_path))
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        counts_of(("airplane",), None, "cifar10", None)


# ---- the price -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "said"),
    [("0.01", "20 minutes of it"), ("1", "12 seconds of it; with 8 of them 1.5 seconds"),
     ("0.002", "1.7 hours of it; with 8 of them 12 minutes")],
)  # fmt: skip
def test_a_price_below_an_hour_is_told_in_minutes_or_seconds(
    classes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], rate: str, said: str
) -> None:
    given = ["clone", classes, "--model", "no/where", "--out", str(tmp_path / "out")]
    assert main([*given, "--per-class", "4", "--dry-run", "--rate", rate]) == 0
    assert said in capsys.readouterr().out


def test_names_that_the_books_model_has_not_read_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "classes.txt").write_text("cat\nforklift\n")
    given = ["clone", str(tmp_path / "classes.txt"), "--out", str(tmp_path / "out"), "--dry-run"]
    given += ["--per-class", "4", "--rate", "1", "--model"]
    assert main([*given, "web-text2image"]) == 0
    assert "has read no caption with: forklift. What" in capsys.readouterr().err
    assert main([*given, "no/where"]) == 0
    assert capsys.readouterr().err == ""


def test_a_price_comes_from_a_given_rate_without_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["clone", "imagenet100", "--model", "no/where", "--out", str(tmp_path / "out")]
    given += ["--per-class", "1300", "--prompt", "scene", "--dry-run", "--rate", "2"]
    assert main([*given, "--format", "shards"]) == 0
    out = capsys.readouterr().out
    assert "130,000 of 100 classes, 1,300 each, in 130 shards" in out
    assert "36,500 of the form 'scene'" in out
    assert f"{130_000 / 2 / 3600:.1f} hours" in out
    size = float(re.search(r"disk\s+([\d.]+) GB", out)[1]) * 1e9
    assert 0.5 < size / (130_000 * 512 * 512 * 3) < 0.6
    assert not (tmp_path / "out").exists()


def test_a_price_of_the_books_pipeline_is_that_of_its_small_images(
    tmp_path: Path, classes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["clone", classes, "--model", "web-text2image", "--out", str(tmp_path / "out")]
    assert main([*given, "--per-class", "10", "--dry-run", "--rate", "2"]) == 0
    assert float(re.search(r"at ([\d.]+) kB an image", capsys.readouterr().out)[1]) < 3.1


def test_a_price_is_measured_where_the_model_is(
    clone: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clone(tmp_path / "out", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "9 of 3 classes, 3 each" in out
    assert 1 < float(re.search(r"rate\s+([\d.e+]+) images a second", out)[1]) < 1e5
    assert "measured on" in out
    assert not (tmp_path / "out").exists()


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--per-class", "0"], "--per-class 0 makes no images"),
        (["--like", "caltech10"], "give either --per-class N, or --like"),
        (["--count", "5"], "--count 5 is images in all, in the proportions of --like"),
        (["--worker", "3/2"], "--worker 3/2 is no part"),
        (["--worker", "2"], "--worker 2 is no part"),
        (["--dry-run", "--worker", "5/4"], "--worker 5/4 is no part"),
        (["--worker", "a/b"], "--worker a/b is no part"),
        (["--prompt", "parents"], "did you mean 'parent'?"),
        (["--format", "tars"], "format 'tars' is not known"),
        (["--steps", "0"], "num_inference_steps is 0"),
        (["--guidance-scale", "0.5"], "guidance_scale 0.5 is not possible"),
        (["--dry-run", "--rate", "0"], "--rate 0.0 is images a second"),
        (["--scheduler", "DDIM"], "scheduler 'DDIM' is not known"),
        (["--size", "-8"], "size is -8"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    options: list[str], words: str, clone: Callable[..., int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert clone(tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_price_without_model_and_rate_says_what_to_give(
    classes: str, tmp_path: Path, refused: Callable[[list[str]], str]
) -> None:
    given = ["clone", classes, "--model", str(tmp_path), "--out", str(tmp_path), "--per-class", "1"]
    assert "or give --rate, in images a second" in refused([*given, "--dry-run"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no class"),
        ("cat\ncat\n", "class 'cat' twice"),
        ("a\\b\n../b\n", "cannot be the name of a folder"),
    ],
)
def test_lists_that_are_none_are_refused(
    text: str, words: str, tmp_path: Path, refused: Callable[[list[str]], str]
) -> None:
    (tmp_path / "list.txt").write_text(text)
    given = ["clone", str(tmp_path / "list.txt"), "--model", "x", "--out", str(tmp_path / "out")]
    assert words in refused([*given, "--per-class", "1"])


def test_a_worker_under_a_launcher_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert share("2/3", "cpu") == ((1, 3), "cpu")
    assert share(None, "cpu") == ((0, 1), "cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert share(None, "cpu") == ((1, 2), "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert share(None, "auto") == ((1, 2), "cuda:3")
    assert share(None, "cuda:0") == ((1, 2), "cuda:0")
    with pytest.raises(InputError, match="--worker is for starting without accelerate"):
        share("1/2", "cpu")


def test_sizes_on_a_disk_are_told_in_three_digits() -> None:
    told = [clone_command._bytes(n) for n in (0, 999, 12_345, 5e8, 1.5e12, 3.21e15)]
    assert told == ["0 bytes", "999 bytes", "12.3 kB", "500 MB", "1.5 TB", "3,210 TB"]


def test_the_books_own_pipeline_has_a_name(
    classes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["clone", classes, "--model", "web-text2image", "--out", str(tmp_path / "own"), *FAST]
    assert main([*given, "--device", "cpu"]) == 0
    made = [Image.open(path) for path in sorted((tmp_path / "own").glob("*/*.png"))]
    assert [image.size for image in made] == [(32, 32)] * 9
    assert len({image.tobytes() for image in made}) == 9
    capsys.readouterr()
    assert main([*given, "--device", "cpu", "--scheduler", "DDIMScheduler", "--compile"]) == 2
    assert "'web-text2image' of the book takes no --scheduler, --compile" in capsys.readouterr().err
