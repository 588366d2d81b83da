"""A generated data set: the same however it is made, and nothing lost or counted twice."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synthbook.data import ImageSet, load
from synthbook.data.loading import load_generated
from synthbook.errors import InputError
from synthbook.generate import dataset
from synthbook.generate.dataset import PARTS, make, measured, progress, recorded
from synthbook.generate.dataset_plan import FILE, Plan, prompts_of
from synthbook.generate.prompts import read_classes
from synthbook.generate.shots import shots_in
from synthbook.generate.text import Made, TextToImage, opened

CLASSES, COUNTS = ("cat", "dog, hound", "plane"), (5, 7, 3)
PROMPTS = (("a cat",), ("a dog inside a house", "a dog inside a bakery"), ("a plane",))


@pytest.fixture(scope="module")
def generator(text_folder: Path) -> Iterator[TextToImage]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield opened(text_folder)
    torch.set_num_threads(before)


def planned(made_by: dict[str, Any], form: str = "folders", unit: int = 6, **changes: Any) -> Plan:
    fields = {"seed": 7, "guidance_scale": 2.0, "num_inference_steps": 2, "size": 0}
    plan = Plan(CLASSES, PROMPTS, COUNTS, **fields, format=form, unit=unit, made_by=made_by)
    return replace(plan, **changes)


class Quick:
    """Images from prompt and seed alone, at once; ``dark`` says after how many black ones."""

    batch = 4

    def __init__(self, dark: Callable[[int], int] = lambda seed: 0, pause: float = 0) -> None:
        self.identity, self.dark, self.pause, self.made = {"pipeline": "Quick"}, dark, pause, []

    def cut(self, prompts: list[str]) -> list:
        return []

    def images(self, prompts: list[str], seeds: list[int], **how: Any) -> Made:
        time.sleep(self.pause)
        self.made += seeds
        images = [np.random.default_rng(s).integers(0, 256, (4, 4, 3), np.uint8) for s in seeds]
        return Made(np.stack(images), np.array([self.dark(seed) for seed in seeds]))


def quick_plan(form: str = "folders", **changes: Any) -> Plan:
    return planned(Quick().identity, form, **changes)


def files(out: Path) -> dict[str, bytes]:
    """Return the files of a data set, its reports among them."""
    found = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {k: p.read_bytes() for k, p in sorted(found.items()) if not k.endswith(".lock")}


def forked(task: Callable[[], object], **environment: str) -> int:
    """Start a task in a process of its own; return its number."""
    if number := os.fork():
        return number
    code = 1
    try:
        os.environ.update(environment)
        task()
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.__stderr__)
    finally:
        os._exit(code)


def ended(number: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


both = pytest.mark.parametrize("form", ["folders", "shards"])

# ---- the plan ------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_plan_has_each_image_of_each_class_once(counts: list[int], unit: int, seed: int) -> None:
    names = tuple(f"class {k}" for k in range(len(counts)))
    prompts = tuple(tuple(f"{name}, {k}" for k in range(2)) for name in names)
    how = dict(seed=seed, guidance_scale=1.0, num_inference_steps=1, size=0, made_by={})
    if not sum(counts):
        with pytest.raises(InputError, match="none at all"):
            Plan(names, prompts, tuple(counts), **how, format="shards", unit=unit)
        return
    plan = Plan(names, prompts, tuple(counts), **how, format="shards", unit=unit)
    rows = [row for k in range(plan.units) for row in plan.span(k)]
    assert [row.position for row in rows] == list(range(len(plan)))
    wanted = [(k, index) for k, count in enumerate(counts) for index in range(count)]
    assert sorted((row.label, row.index) for row in rows) == wanted
    assert len({row.seed for row in rows}) == len(rows)
    for row in rows:
        assert (row.name, row.prompt) == (names[row.label], f"{row.name}, {row.index % 2}")


def test_an_image_keeps_its_seed_in_a_larger_set_and_beside_other_classes() -> None:
    def seeds(plan: Plan) -> dict[tuple[str, int], int]:
        return {(r.name, r.index): r.seed for k in range(plan.units) for r in plan.span(k)}

    small, large = quick_plan(), quick_plan(counts=(50, 70, 30))
    other = quick_plan(classes=("dog, hound", "ant"), prompts=(("d",), ("a",)), counts=(7, 1))
    assert seeds(small).items() <= seeds(large).items()
    shared = {k: v for k, v in seeds(other).items() if k[0] != "ant"}
    assert shared.items() <= seeds(small).items()
    assert not {*seeds(small).values()} & {*seeds(quick_plan(seed=8)).values()}


def test_the_prompts_of_a_form_with_scenes_go_through_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat, a small animal, feline\ndog, an animal, canine\n")
    words = read_classes(tmp_path / "classes.txt")
    assert prompts_of(words, "parent", (3, 9)) == (("cat, feline",), ("dog, canine",))
    cat, dog = prompts_of(words, "scene", (3, 400), scenes=("bakery shop", "attic"))
    assert {*cat} == {"cat, feline inside bakery shop", "cat, feline inside attic"}
    cat, dog = prompts_of(words, "scene", (3, 400), seed=1)
    assert (len(set(cat)), len(set(dog))) == (3, 365)
    assert prompts_of(words, "scene", (4, 1), seed=1)[0][:3] == cat  # a larger set begins as this


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": ("cat", "cat", "dog")}, "class 'cat' is given twice"),
        ({"classes": ("a/b", "b", "c")}, "'a/b' cannot be the name of a folder"),
        ({"classes": (".a", "b", "c")}, "'.a' cannot be"),
        ({"classes": ("ä" * 128, "b", "c")}, "at most 255 bytes"),
        ({"classes": (), "prompts": (), "counts": ()}, "no class"),
        ({"counts": (1, -1, 0)}, "-1 images of a class"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0"),
        ({"unit": 0}, "unit is 0"),
        ({"format": "tars"}, "format 'tars' is not known"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        quick_plan(**changes)


# ---- what is made --------------------------------------------------------------------------------


def test_folders_hold_what_the_plan_says_and_load_as_a_data_set(
    generator: TextToImage, tmp_path: Path
) -> None:
    plan = planned(generator.identity)
    done = make(plan, generator, tmp_path / "out")
    assert done == (15, 15, 0)
    rows = [row for k in range(plan.units) for row in plan.span(k)]
    images = {}
    for row in rows:
        path = tmp_path / "out" / row.name / f"{row.index:06d}.png"
        assert recorded(path) == row.record(0)
        images[row.name, row.index] = np.asarray(Image.open(path))
        how = {"guidance_scale": 2.0, "num_inference_steps": 2}
        alone = generator.images([row.prompt], [row.seed], **how).images[0]
        np.testing.assert_array_equal(images[row.name, row.index], alone)
    loaded = load(str(tmp_path / "out"))
    assert loaded.train.classes == CLASSES
    parts = (loaded.train, loaded.val, loaded.test)
    assert tuple(sum(part.counts() for part in parts)) == COUNTS
    header, *classes = map(json.loads, (tmp_path / "out" / FILE).read_text().splitlines())
    assert (header["images"], header["weights"]) == (15, generator.identity["weights"])
    assert [line["images"] for line in classes] == [*COUNTS]


def test_shards_hold_image_and_record_of_each_and_no_time_or_owner(tmp_path: Path) -> None:
    plan = quick_plan("shards", model="some/model")
    made = tmp_path / "shards"
    make(plan, Quick(), made)
    seen, rows = Counter(), [row for k in range(plan.units) for row in plan.span(k)]
    for unit in range(plan.units):
        with tarfile.open(made / f"shard-{unit:06d}.tar") as tar:
            members = tar.getmembers()
            assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {
                (0, 0, 0, "", 420)
            }
            keys = [member.name.partition(".")[0] for member in members[::2]]
            assert [m.name for m in members] == [f"{k}.{s}" for k in keys for s in ("png", "json")]
            for row, member in zip(plan.span(unit), members[1::2], strict=True):
                assert json.load(tar.extractfile(member)) == row.record(0)
                seen[row.name] += 1
    assert seen == dict(zip(CLASSES, COUNTS, strict=True))
    assert not [p for p in (made / PARTS).iterdir() if p.is_dir()]  # nothing is there twice
    make(quick_plan(), Quick(), tmp_path / "folders" / "x")
    like = ImageSet(np.zeros((3, 4, 4, 3), np.uint8), np.arange(3), CLASSES, "like")
    found = load_generated(str(made), like=like)
    folders = load_generated(str(tmp_path / "folders" / "x"), like=like)
    order = np.argsort([row.name + f"{row.index:06d}" for row in rows])
    np.testing.assert_array_equal(found.images[order], folders.images)
    np.testing.assert_array_equal(found.labels[order], folders.labels)


@both
@pytest.mark.parametrize("count", [2, 5])
def test_the_bytes_do_not_depend_on_batches_or_workers(
    form: str, count: int, tmp_path: Path
) -> None:
    plan, other = quick_plan(form, unit=2), Quick()
    make(plan, Quick(), tmp_path / "one")
    other.batch = 3
    for k in reversed(range(count)):
        done = make(plan, other, tmp_path / "many", worker=(k, count))
        assert (done.images < 15) == (k > 0)
    assert files(tmp_path / "one") == files(tmp_path / "many")


@both
def test_two_processes_make_what_one_makes(
    form: str, generator: TextToImage, tmp_path: Path
) -> None:
    """Real images, by two processes at once, to the byte."""
    plan = planned(generator.identity, form, unit=2)
    make(plan, generator, tmp_path / "one")
    tasks = [partial(make, plan, generator, tmp_path / "two", worker=(k, 2)) for k in range(2)]
    assert [ended(number) for number in [forked(task) for task in tasks]] == [0, 0]
    assert progress(plan, tmp_path / "two") == (15, 15, 0)
    assert files(tmp_path / "one") == files(tmp_path / "two")


@both
def test_making_it_again_makes_nothing(form: str, tmp_path: Path) -> None:
    make(quick_plan(form), Quick(), tmp_path)
    before, again = files(tmp_path), Quick()
    assert make(quick_plan(form), again, tmp_path) == (15, 15, 0)
    assert again.made == []
    assert files(tmp_path) == before


@both
def test_black_images_are_counted_once_however_often_it_is_started(
    form: str, tmp_path: Path
) -> None:
    plan, dark = quick_plan(form), lambda seed: seed % 3
    total = sum(row.seed % 3 for k in range(plan.units) for row in plan.span(k))
    assert total > 3
    assert make(plan, Quick(dark), tmp_path / "whole").black == total
    stops = Stops(dark, after=2)
    for _ in range(9):
        try:
            done = make(plan, stops, tmp_path / "stopped")
            break
        except KeyboardInterrupt:
            continue
    assert done == (15, 15, total)
    assert len(stops.made) == 15
    assert files(tmp_path / "whole") == files(tmp_path / "stopped")


class Stops(Quick):
    """Is interrupted after each so many calls; what was made before is written."""

    def __init__(self, dark: Callable[[int], int], after: int) -> None:
        super().__init__(dark)
        self.after, self.calls = after, 0

    def images(self, prompts: list[str], seeds: list[int], **how: Any) -> Made:
        self.calls += 1
        if self.calls % (self.after + 1) == 0:
            raise KeyboardInterrupt
        return super().images(prompts, seeds, **how)


def test_prompts_that_are_cut_are_listed(
    generator: TextToImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(dataset, "say", said.append)
    long = " ".join(f"dog{k}" for k in range(40))
    plan = planned(generator.identity, counts=(1, 1, 1), prompts=(("a",), (long,), ("b",)))
    make(plan, generator, tmp_path)
    (line,) = (tmp_path / dataset.CUT).read_text().splitlines()
    assert json.loads(line)["prompt"] == long
    assert json.loads(line)["lost"] in long
    (told,) = said
    assert "1 prompts are over the 77 tokens" in told
    assert dataset.CUT in told


# ---- from real images ----------------------------------------------------------------------------


@pytest.fixture
def shots(tmp_path: Path) -> Any:
    for name, count in zip(CLASSES, (2, 4, 1), strict=True):
        (tmp_path / "real" / name).mkdir(parents=True)
        for k in range(count):
            pixels = np.random.default_rng(k).integers(0, 256, (20, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "real" / name / f"{k}.png")
    return shots_in(tmp_path / "real", CLASSES)


@both
def test_a_data_set_from_real_images_is_the_same_however_it_is_made(
    form: str, generator: TextToImage, shots: Any, tmp_path: Path
) -> None:
    plan = planned(generator.identity, form, unit=4, shots=shots, num_inference_steps=4)
    assert make(plan, generator, tmp_path / "one") == (15, 15, 0)
    before = files(tmp_path / "one")
    for k in (1, 0):
        make(plan, generator, tmp_path / "two", worker=(k, 2))
    assert files(tmp_path / "two") == before
    rows = [row for k in range(plan.units) for row in plan.span(k)]
    assert {(row.name, row.strength) for row in rows} == {
        ("cat", 0.4),
        ("dog, hound", 0.35),
        ("plane", 0.5),
    }
    used = Counter(row.start for row in rows)
    assert sorted(used[name] for name in shots.names[1]) == [1, 2, 2, 2]
    if form == "folders":
        row = rows[3]
        path = tmp_path / "one" / row.name / f"{row.index:06d}.png"
        assert recorded(path) == row.record(0)
        assert (row.record(0)["start"], row.record(0)["strength"]) == (row.start, row.strength)
        alone = generator.images(
            [row.prompt], [row.seed], guidance_scale=2.0, num_inference_steps=4,
            from_images=shots.read(row.label, row.shot, 16, 3)[None], strength=row.strength,
        ).images[0]  # fmt: skip
        np.testing.assert_array_equal(np.asarray(Image.open(path)), alone)
        path.unlink()  # it goes on with what is missing
        assert make(plan, generator, tmp_path / "one") == (15, 15, 0)
        assert files(tmp_path / "one") == before


def test_a_plan_from_other_images_or_at_another_strength_is_another_one(
    shots: Any, tmp_path: Path
) -> None:
    class FromImages(Quick):
        side = 16

    plan = quick_plan(shots=shots)
    make(plan, FromImages(), tmp_path / "out")
    with pytest.raises(InputError, match="another data set"):
        make(replace(plan, strength=0.3), FromImages(), tmp_path / "out")
    with pytest.raises(InputError, match="another data set"):
        make(quick_plan(), FromImages(), tmp_path / "out")
    moved = (tmp_path / "real").rename(tmp_path / "moved")
    moved = replace(plan, shots=shots_in(moved, CLASSES))
    assert make(moved, FromImages(), tmp_path / "out") == (15, 15, 0)
    Image.new("RGB", (16, 16)).save(tmp_path / "moved" / CLASSES[0] / "0.png")
    with pytest.raises(InputError, match="another data set"):
        make(replace(plan, shots=shots_in(tmp_path / "moved", CLASSES)), Quick(), tmp_path / "out")
    assert "start" not in quick_plan().image(0).record(0)
    with pytest.raises(InputError, match=r"strength 0\.3 is of images that start"):
        quick_plan(strength=0.3)
    with pytest.raises(InputError, match="strength 2 is no share"):
        quick_plan(shots=shots, strength=2.0)
    with pytest.raises(InputError, match="are of other classes"):
        quick_plan(shots=replace(shots, classes=CLASSES[::-1]))
    Quick.side = 0
    try:
        with pytest.raises(InputError, match="how large its images are; give their size"):
            make(plan, Quick(), tmp_path / "new")
    finally:
        del Quick.side


# ---- kills and faults ----------------------------------------------------------------------------


@both
def test_kills_lose_nothing(form: str, tmp_path: Path) -> None:
    """SIGKILL at random moments of making; then it goes on, and the bytes are those of one go."""
    plan, draw = quick_plan(form, unit=4), random.Random(0)
    make(plan, Quick(), tmp_path / "whole")
    begin = time.monotonic()
    make(plan, Quick(pause=0.004), tmp_path / "timed")
    whole, folders, kills = time.monotonic() - begin, 0, 0
    while folders < 5 or kills < 4:
        out, killed = tmp_path / str(folders), 0
        for _ in range(2):
            number = forked(partial(make, plan, Quick(pause=0.004), out))
            time.sleep(draw.random() * whole)
            os.kill(number, signal.SIGKILL)
            killed += ended(number) == -signal.SIGKILL
        if not killed:  # the machine is less busy than it was
            whole *= 0.8
        folders, kills = folders + 1, kills + killed
        done = make(plan, Quick(), out)
        assert done == (15, 15, 0)
        assert files(out) == files(tmp_path / "whole")


def test_what_a_kill_left_of_a_shard_is_used_and_half_a_shard_is_not(tmp_path: Path) -> None:
    plan = quick_plan("shards", unit=15)
    make(plan, Quick(), tmp_path / "whole")
    stops = Stops(lambda seed: 0, after=2)
    with pytest.raises(KeyboardInterrupt):
        make(plan, stops, tmp_path / "out")
    staged = tmp_path / "out" / PARTS / "000000"
    pngs = sorted(staged.iterdir())
    assert len(pngs) == 8
    for png, end in zip(pngs, (1, 20, 60), strict=False):  # as after a power failure
        png.write_bytes(png.read_bytes()[:-end])
    (tmp_path / "out" / PARTS / "0-of-1").mkdir(exist_ok=True)
    (tmp_path / "out" / PARTS / "0-of-1" / "shard-000000.tar").write_bytes(b"half")
    last = Quick()
    assert make(plan, last, tmp_path / "out") == (15, 15, 0)
    assert len(last.made) == 15 - 8 + 3
    assert files(tmp_path / "whole") == files(tmp_path / "out")


@both
def test_lost_files_are_made_again_and_only_they(form: str, tmp_path: Path) -> None:
    plan = quick_plan(form)
    make(plan, Quick(), tmp_path)
    before = files(tmp_path)
    victim = tmp_path / ("shard-000001.tar" if form == "shards" else "cat/000002.png")
    for harm in (Path.unlink, lambda path: path.write_bytes(b"")):
        harm(victim)
        assert progress(plan, tmp_path).images < 15
        again = Quick()
        assert make(plan, again, tmp_path) == (15, 15, 0)
        assert len(again.made) == (6 if form == "shards" else 1)
        assert files(tmp_path) == before


def _fills_up() -> None:
    """Let no file of this process grow beyond 2,000 bytes: a shard does, an image does not."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def _message(task: Callable[[], object], out: Path) -> str:
    def tell() -> None:
        try:
            task()
        except Exception as error:
            sys.stdout = None
            os.write(theirs, f"{type(error).__name__}: {error}".encode())

    ours, theirs = os.pipe()
    number = forked(tell)
    os.close(theirs)
    with open(ours, "rb") as stream:
        text = stream.read().decode()
    ended(number)
    return text


def test_a_full_disk_is_one_clear_error_and_what_is_made_is_kept(tmp_path: Path) -> None:
    plan = quick_plan("shards", unit=15)

    def task() -> None:
        _fills_up()
        make(plan, Quick(), tmp_path / "out")

    text = _message(task, tmp_path)
    assert text.startswith("InputError: an image could not be written: the disk of ")
    assert "is full" in text
    assert "start the same command again" in text
    assert not list((tmp_path / "out").glob("*.tar"))
    again = Quick()
    assert make(plan, again, tmp_path / "out") == (15, 15, 0)
    assert again.made == []  # all images were there; the shard alone did not fit


def test_a_full_disk_while_images_are_written_stops_it_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, generator, written = quick_plan(unit=15), Quick(), []

    def write(self: Path, content: bytes) -> int:
        if self.suffix == ".png" and len(written) >= 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        written.append(self)
        return real(self, content)

    with monkeypatch.context() as patch:
        real = Path.write_bytes
        patch.setattr(Path, "write_bytes", write)
        with pytest.raises(InputError, match=r"the disk of .* is full.*start the same command"):
            make(plan, generator, tmp_path)
    assert len(generator.made) <= 3 * generator.batch
    last = Quick()
    assert make(plan, last, tmp_path) == (15, 15, 0)
    assert len(last.made) == 12


@both
def test_two_of_the_same_worker_wait_for_each_other(form: str, tmp_path: Path) -> None:
    plan = quick_plan(form)
    make(plan, Quick(), tmp_path / "one")
    task = partial(make, plan, Quick(pause=0.01), tmp_path / "out")
    assert [ended(number) for number in [forked(task) for _ in range(3)]] == [0, 0, 0]
    assert files(tmp_path / "out") == files(tmp_path / "one")


@both
def test_workers_of_several_divisions_share_a_folder(form: str, tmp_path: Path) -> None:
    plan = quick_plan(form, unit=2)
    make(plan, Quick(), tmp_path / "one")
    started = []
    for worker in ((0, 1), (0, 2), (1, 2)):
        quick = Quick(pause=0.05)
        started.append(forked(partial(make, plan, quick, tmp_path / "out", worker=worker)))
    assert [ended(number) for number in started] == [0, 0, 0]
    assert files(tmp_path / "out") == files(tmp_path / "one")


def test_a_unit_that_another_worker_makes_is_waited_for(tmp_path: Path) -> None:
    plan, second = quick_plan(unit=15), Quick()
    maker = forked(partial(make, plan, Quick(pause=0.3), tmp_path))
    end = time.monotonic() + 20
    while not (tmp_path / PARTS / "000000.lock").exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert time.monotonic() < end
    assert make(plan, second, tmp_path, worker=(0, 2)) == (15, 15, 0)
    assert (ended(maker), second.made) == (0, [])


def test_a_plan_that_is_written_meanwhile_is_no_other_thing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(quick_plan(), Quick(), tmp_path)
    there = Path.exists
    asked: list[Path] = []

    def exists(path: Path) -> bool:  # the first time it is asked, the plan is not there yet
        asked.append(path)
        return there(path) and not (path.name == FILE and asked.count(path) == 1)

    for folder in tmp_path.iterdir():
        if folder.name not in (PARTS, FILE):
            folder.rename(tmp_path.with_name(f"away-{folder.name}"))
    monkeypatch.setattr(Path, "exists", exists)
    assert make(quick_plan(), Quick(), tmp_path) == (15, 15, 0)


def test_a_plan_that_was_begun_before_parts_were_told_goes_on(tmp_path: Path) -> None:
    make(quick_plan(), Quick(), tmp_path)
    more = Quick()
    more.identity = more.identity | {"parts": "0123"}
    assert make(replace(quick_plan(), made_by=more.identity), more, tmp_path) == (15, 15, 0)
    make(replace(quick_plan(), made_by=more.identity), more, tmp_path / "new")
    more.identity = more.identity | {"parts": "4567"}
    with pytest.raises(InputError, match="with parts '0123', and '4567' is asked for"):
        make(replace(quick_plan(), made_by=more.identity), more, tmp_path / "new")


# ---- folders that hold something else ------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 8}, "with seed 7, and 8 is asked for"),
        ({"guidance_scale": 7.5}, "with guidance_scale 2.0, and 7.5 is asked for"),
        ({"format": "shards"}, "with format 'folders', and 'shards' is asked for"),
        ({"counts": (5, 6, 4)}, '"images": 7.*"images": 6'),
        ({"prompts": (("cat",), *PROMPTS[1:])}, r"a cat.*cat.* is asked for"),
        ({"counts": (5, 7, 4)}, r"with images 15, and 16"),
    ],
)
def test_a_folder_of_another_plan_is_refused(changes: dict, words: str, tmp_path: Path) -> None:
    make(quick_plan(), Quick(), tmp_path)
    before = files(tmp_path)
    with pytest.raises(InputError, match=words):
        make(quick_plan(**changes), Quick(), tmp_path)
    assert files(tmp_path) == before
    make(quick_plan(model="the same weights under another name"), Quick(), tmp_path)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    make(quick_plan(), Quick(), tmp_path)
    other = Quick()
    other.identity = {"pipeline": "Other"}
    with pytest.raises(InputError, match="pipeline 'Quick', and 'Other' is asked for"):
        make(replace(quick_plan(), made_by=other.identity), other, tmp_path)
    with pytest.raises(InputError, match="is for another pipeline"):
        make(quick_plan(), other, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes.txt", b"x", "not empty and has no plan.jsonl"),
        ("cat/000000.png", b"x", "not empty and has no plan.jsonl"),
        (FILE, b"{", "is no plan"),
        (FILE, b"", "is no plan"),
        (FILE, b"[1]\n", "is no plan"),
    ],
)
def test_a_folder_of_other_things_is_refused(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        make(quick_plan(), Quick(), tmp_path)
    assert (tmp_path / name).read_bytes() == content


def test_images_beside_the_plan_are_named_and_not_counted_or_replaced(tmp_path: Path) -> None:
    make(quick_plan(), Quick(), tmp_path)
    for name in ("cat/000005.png", "cat/mine.jpg", "fox"):
        path = tmp_path / name
        path.mkdir() if name == "fox" else path.write_bytes(b"x")
        with pytest.raises(InputError, match=f"holds {name}"):
            make(quick_plan(), Quick(), tmp_path)
        path.rmdir() if name == "fox" else path.unlink()
    Image.new("RGB", (4, 4)).save(tmp_path / "cat/000001.png")
    (tmp_path / PARTS / "000000.json").unlink()
    (tmp_path / PARTS / "000001.json").unlink()
    (tmp_path / PARTS / "000002.json").unlink()
    with pytest.raises(InputError, match=r"cat/000001.png is there, and it is not of this"):
        make(quick_plan(), Quick(), tmp_path)
    make(quick_plan("shards"), Quick(), tmp_path / "shards")
    (tmp_path / "shards/shard-000009.tar").write_bytes(b"x")
    with pytest.raises(InputError, match=r"holds shard-000009\.tar"):
        make(quick_plan("shards"), Quick(), tmp_path / "shards")


@pytest.mark.parametrize("worker", [(2, 2), (-1, 2), (0, 0)])
def test_a_worker_beyond_their_number_is_refused(worker: tuple, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is none; give K/N"):
        make(quick_plan(), Quick(), tmp_path, worker=worker)


def test_the_rate_is_that_of_a_second_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(perf_counter=iter([0.0, 9.0, 10.0, 12.0]).__next__)
    monkeypatch.setattr(dataset, "time", clock)
    made = Quick()
    rate = measured(quick_plan(counts=(1, 1, 1)), made)
    assert rate.seconds == 2.0 / 4
    assert rate.size > 100
    assert len(made.made) == 8
