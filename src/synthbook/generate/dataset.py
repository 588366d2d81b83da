"""A whole generated data set on a disk, from its plan: stopped anywhere, it goes on from there.

Images are written one at a time, whole or not at all. A unit of the work, which is a shard or some
hundred files of folders, counts as done once its report is there and what the report tells of. So
nothing is counted twice, and any number of processes and machines may share one folder.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import tarfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from synthbook.errors import InputError
from synthbook.generate.dataset_plan import FILE, Plan, Planned, check_same
from synthbook.generate.shots import images_from, starts_of
from synthbook.generate.text import TextToImage
from synthbook.locks import alone
from synthbook.machine import say, telling
from synthbook.sums import digest

PARTS = ".parts"  # beside the images, and hidden from readers: reports, locks, unfinished shards
CUT = "cut_prompts.jsonl"
TEXT = "synthbook"  # the text of a PNG file that says what it shows
PNG_END = b"IEND\xaeB`\x82"  # of a whole file; PIL takes one without
PNG_LEVEL = 4  # of zlib: of photographs half as fast as 1 and a tenth smaller, twice as fast as 6
PNG_SHARE = 0.55  # of its pixels' bytes, which a photograph takes: 0.44 and 0.57 of scikit-learn's
WRITERS = 2  # threads: PNG files are made while the next images are
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Progress(NamedTuple):
    """How far a data set is: images in finished units, of how many, and black ones replaced."""

    images: int
    wanted: int
    black: int

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.images:,} of {self.wanted:,} images; {self.black:,} black ones replaced"


class Rate(NamedTuple):
    """What an image costs: seconds of one device, and bytes on the disk."""

    seconds: float
    size: float


def make(
    plan: Plan, generator: TextToImage, out: str | Path, *, worker: tuple[int, int] = (0, 1)
) -> Progress:
    """Make the images of a plan that are not there yet; return how far the whole set is.

    ``worker`` (k, n) does units k, k + n, ... and may run beside the n - 1 others. Made by any
    number of them, stopped as often as one likes, the files are the same: on the CPU to the byte.

    Raises:
        InputError: if the folder holds something else, or the disk is full. What was made is kept.
    """
    out = Path(out).expanduser()
    number, count = worker
    if not 0 <= number < count:
        raise InputError(f"worker {number + 1} of {count} is none; give K/N with K from 1 to N")
    with _told_of_disk(out):
        _prepare(plan, generator, out, first=number == 0)
        place = out / PARTS
        with alone(place / f"{number}-of-{count}.lock", f"making images, part {number + 1}"):
            maker = _Maker(plan, generator, out, place / f"{number}-of-{count}")
            maker.run(range(number, plan.units, count))
    return progress(plan, out)


def progress(plan: Plan, out: str | Path) -> Progress:
    """Return how far a data set is."""
    store = _Store(plan, Path(out).expanduser())
    reports = [store.report(unit) for unit in range(plan.units)]
    done = [report for report in reports if report]
    return Progress(
        sum(report["images"] for report in done), len(plan),
        sum(sum(report["black"].values()) for report in done),
    )  # fmt: skip


def measured(plan: Plan, generator: TextToImage) -> Rate:
    """Return what an image of a plan costs, from two calls of which the first only warms up."""
    rows = [plan.image(p % len(plan)) for p in range(generator.batch)]
    for _ in range(2):
        begin = time.perf_counter()
        images, _ = _images(generator, plan, rows)
        files = [encoded(i, row.record(0)) for i, row in zip(images, rows, strict=True)]
        seconds = (time.perf_counter() - begin) / len(rows)
    return Rate(seconds, float(np.mean([len(file) for file in files])))


def encoded(image: np.ndarray, record: dict[str, Any]) -> bytes:
    """Return an image uint8 [H, W, 3] as a PNG file, which has its record as a text in it."""
    info = PngInfo()
    info.add_text(TEXT, json.dumps(record))
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", pnginfo=info, compress_level=PNG_LEVEL)
    return stream.getvalue()


def recorded(path: Path) -> dict[str, Any] | None:
    """Return the record of a PNG file; None if there is no whole one, {} if it has no record."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.load()
            record = json.loads(image.text.get(TEXT, "{}"))
    except (OSError, ValueError, SyntaxError):  # what PIL raises of files that are cut short
        return None
    if not content.endswith(PNG_END):
        return None
    return record if isinstance(record, dict) else {}


def _images(
    generator: TextToImage, plan: Plan, rows: Sequence[Planned]
) -> tuple[np.ndarray, np.ndarray]:
    prompts, seeds = [row.prompt for row in rows], [row.seed for row in rows]
    how: dict[str, Any] = {"guidance_scale": plan.guidance_scale, "size": plan.size}
    how["num_inference_steps"] = plan.num_inference_steps
    if plan.shots is None:
        return generator.images(prompts, seeds, **how)
    starts = starts_of(plan.shots, [(r.label, r.shot) for r in rows], plan.size or generator.side)
    return images_from(generator, prompts, seeds, starts, [row.strength for row in rows], **how)


@contextmanager
def _told_of_disk(out: Path) -> Iterator[None]:
    """Turn errors of the disk into one of input, which says that nothing is lost."""
    try:
        yield
    except OSError as error:
        reason = f"the disk of {out} is full" if error.errno in FULL else error.strerror or error
        where = f" ({error.filename})" if error.filename else ""
        raise InputError(
            f"an image could not be written: {reason}{where}; what is made is kept: make room, or "
            "give rights, and start the same command again"
        ) from error


def _prepare(plan: Plan, generator: TextToImage, out: Path, *, first: bool) -> None:
    """Write the plan and the prompts that are cut, or check that they are there."""
    if plan.made_by != generator.identity:
        raise InputError("the plan is for another pipeline or scheduler; make one for this")
    file, place = out / FILE, out / PARTS
    if file.exists():
        check_same(plan, file)
    elif out.is_dir() and any(path.name not in (PARTS, CUT, FILE) for path in out.iterdir()):
        raise InputError(f"{out} is not empty and has no {FILE}; give another folder")
    cut = generator.cut([prompt for prompts in plan.prompts for prompt in prompts])
    place.mkdir(parents=True, exist_ok=True)
    with alone(place / "plan.lock", "writing the plan"):
        if file.exists():  # another worker was first
            check_same(plan, file)
        else:
            lines = [json.dumps(c._asdict(), ensure_ascii=False) + "\n" for c in cut]
            for path, text in ((out / CUT, "".join(lines)), (file, plan.text())):
                if text:
                    part = place / path.name  # the lock is ours, and so is the name
                    part.write_text(text, encoding="utf-8", newline="\n")
                    part.replace(path)
    if cut and first:
        say(
            f"{len({c.prompt for c in cut}):,} prompts are over the {cut[0].limit} tokens that the "
            f"text encoder sees; {out / CUT} lists them with what is cut"
        )


class _Store:
    """Where the files of a plan lie, and which of them are there."""

    def __init__(self, plan: Plan, out: Path) -> None:
        self.plan, self.out, self.shards = plan, out, plan.format == "shards"

    def shard(self, unit: int) -> Path:
        return self.out / f"shard-{unit:06d}.tar"

    def staged(self, unit: int) -> Path:
        """Return the folder of a shard's images before it is packed."""
        return self.out / PARTS / f"{unit:06d}"

    def path(self, row: Planned) -> Path:
        """Return the file of an image; that of a shard is one only until the shard is packed."""
        if self.shards:
            return self.staged(row.position // self.plan.unit) / f"{row.position:09d}.png"
        return self.out / row.name / f"{row.index:06d}.png"

    def report_file(self, unit: int) -> Path:
        return self.out / PARTS / f"{unit:06d}.json"

    @cached_property
    def _there(self) -> dict[str, set[str]]:
        """Folder of a class -> its files that are not empty, looked up once."""
        there: dict[str, set[str]] = {}
        for name in self.plan.classes:
            folder = self.out / name
            files = os.scandir(folder) if folder.is_dir() else ()
            there[name] = {file.name for file in files if file.stat().st_size}
        return there

    def report(self, unit: int) -> dict[str, Any] | None:
        """Return the report of a finished unit, or None."""
        try:
            report = json.loads(self.report_file(unit).read_text(encoding="utf-8"))
            if self.shards:
                done = self.shard(unit).stat().st_size == report["bytes"]
            else:
                paths = map(self.path, self.plan.span(unit))
                done = all(path.name in self._there[path.parent.name] for path in paths)
        except (OSError, ValueError, KeyError):
            return None
        return report if done else None

    def check_strays(self) -> None:
        """Raise InputError if images lie there that the plan does not have."""
        if self.shards:
            known = {self.shard(unit).name for unit in range(self.plan.units)}
            strays = [f.name for f in self.out.glob("*.tar") if f.name not in known]
        else:
            counts = dict(zip(self.plan.classes, self.plan.counts, strict=True))
            folders = {f.name for f in self.out.iterdir() if f.is_dir() and f.name[0] != "."}
            strays = sorted(folders - {*counts})
            for name, files in self._there.items():
                known = {f"{index:06d}.png" for index in range(counts[name])}
                strays += [f"{name}/{f}" for f in sorted(files - known) if f[0] != "."]
        if strays:
            raise InputError(
                f"{self.out} holds {strays[0]} ({len(strays)} such), which is not in its {FILE}; "
                "move it away"
            )


class _Maker:
    """One worker: makes units, with writing threads beside the generator."""

    def __init__(self, plan: Plan, generator: TextToImage, out: Path, temporary: Path) -> None:
        self.plan, self.generator, self.temporary = plan, generator, temporary
        self.store = _Store(plan, out)
        shutil.rmtree(temporary, ignore_errors=True)  # of one that was killed
        temporary.mkdir(parents=True)
        self.store.check_strays()

    def run(self, units: Sequence[int]) -> None:
        """Make the units that are not finished."""
        sizes = {unit: len([*self.plan.span(unit)]) for unit in units[-1:]}
        total = sum(sizes.get(unit, self.plan.unit) for unit in units)
        self.tell, self.done = telling("making images", total), 0
        place = self.store.out / PARTS
        for unit in units:
            with alone(place / f"{unit:06d}.lock", f"making images, unit {unit}"):  # its folder too
                if self.store.report(unit):
                    shutil.rmtree(self.store.staged(unit), ignore_errors=True)
                    self.done += sizes.get(unit, self.plan.unit)
                else:
                    self.unit(unit)
        shutil.rmtree(self.temporary, ignore_errors=True)

    def unit(self, unit: int) -> None:
        """Make what is missing of a unit, and report it."""
        rows = [*self.plan.span(unit)]
        black, missing = {}, []
        for row in rows:
            there = self._there(row)
            if there is None:
                missing.append(row)
            else:
                black[row.position] = there
        self.done += len(rows) - len(missing)
        self.tell(self.done)
        missing.sort(key=lambda row: (row.label, row.index))  # a class's prompts are encoded once
        for folder in {self.store.path(row).parent for row in rows}:
            folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(WRITERS) as pool:
            pending: list[Future] = []
            for start in range(0, len(missing), self.generator.batch):
                part = missing[start : start + self.generator.batch]
                images, dark = _images(self.generator, self.plan, part)
                while pending:  # of the batch before: so that a full disk is seen soon
                    pending.pop().result()
                for row, image, number in zip(part, images, dark.tolist(), strict=True):
                    black[row.position] = number
                    pending.append(pool.submit(self._write, row, image, row.record(number)))
                self.done += len(part)
                self.tell(self.done)
            for future in pending:
                future.result()
        report = {"images": len(rows)}
        report["black"] = {f"{k:09d}": n for k, n in sorted(black.items()) if n}
        if self.store.shards:
            part = self._pack(unit, rows, black)
            report |= {"bytes": part.stat().st_size, "sha256": digest(part)}
            self._report(unit, report)
            part.replace(self.store.shard(unit))
            shutil.rmtree(self.store.staged(unit))
        else:
            self._report(unit, report)

    def _there(self, row: Planned) -> int | None:
        """Return how many black images came before one that is there, or None if it is not."""
        path = self.store.path(row)
        record = recorded(path) if path.exists() else None
        if record is None:
            return None
        black = record.pop("black", 0)
        if record | {"black": 0} != row.record(0):
            raise InputError(
                f"{path} is there, and it is not of this data set; move it away, or give another "
                "folder"
            )
        return black

    def _write(self, row: Planned, image: np.ndarray, record: dict[str, Any]) -> None:
        part = self.temporary / f"{row.position}.png"
        part.write_bytes(encoded(image, record))
        part.replace(self.store.path(row))

    def _report(self, unit: int, report: dict[str, Any]) -> None:
        part = self.temporary / "report"
        part.write_text(json.dumps(report) + "\n", encoding="utf-8")
        part.replace(self.store.report_file(unit))

    def _pack(self, unit: int, rows: Sequence[Planned], black: dict[int, int]) -> Path:
        """Write a shard of a unit's images, each with its record as JSON; return the file.

        The same images give the same bytes: no times, owners or rights of files are in it.
        """
        part = self.temporary / self.store.shard(unit).name
        with part.open("wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for row in rows:
                    record = json.dumps(row.record(black[row.position])).encode()
                    for suffix, content in (
                        ("png", self.store.path(row).read_bytes()), ("json", record),
                    ):  # fmt: skip
                        info = tarfile.TarInfo(f"{row.position:09d}.{suffix}")
                        info.size = len(content)
                        tar.addfile(info, io.BytesIO(content))
            stream.flush()
            os.fsync(stream.fileno())
        return part
