"""What ``synthbook clone`` does: a list of classes in, a generated data set out, or its price."""

from __future__ import annotations

import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthbook.data import ImageSet, load
from synthbook.data.files import open_folder
from synthbook.data.loading import same_classes
from synthbook.data.named import REGISTRY
from synthbook.data.npz import open_npz
from synthbook.errors import InputError
from synthbook.generate.clones import class_shares
from synthbook.generate.dataset_plan import Plan, prompts_of
from synthbook.generate.prompts import classes_of
from synthbook.generate.sentences import read, unread_names
from synthbook.generate.shots import Shots, shots_in
from synthbook.generate.wordnet import ClassWords

if TYPE_CHECKING:
    from synthbook.generate.dataset import Rate
    from synthbook.generate.text import TextToImage

Own = Mapping[str, Callable[[str], "TextToImage"]]  # name -> device -> pipeline
FOLDER_UNIT = 256  # images of folders that are reported together
SIDE = 512  # pixels, where a price is asked for without a size and without the model
OWN_SIDE = 32  # the same of a pipeline of the book


def run(given: Namespace, own: Own) -> None:
    """Make the data set, or say what it would cost; ``own`` are pipelines that have a name here."""
    from synthbook.machine import prepare

    words = classes_of(given.classes)
    names = tuple(word.name for word in words)
    counts = counts_of(names, given.per_class, given.like, given.count)
    prompts = _prompts(words, counts, given)
    plan = Plan(
        names, prompts, counts, given.seed, given.guidance_scale, given.steps, given.size,
        given.format, given.shard_size if given.format == "shards" else FOLDER_UNIT, {},
        str(given.model), _shots(given, names), given.strength,
    )  # fmt: skip
    worker, device = share(given.worker, given.device)
    if given.model in own and (unread := unread_names(words)):
        print(
            f"The book's generator has read no caption with: {unread}. What it draws of them may "
            "be anything; --model takes another one.", file=sys.stderr,
        )  # fmt: skip
    if given.dry_run:
        return print(priced(plan, given, own))
    generator = _opened(given, prepare(device), own)
    plan = _by(plan, generator)

    from synthbook.generate.dataset import make

    done = make(plan, generator, given.out, worker=worker)
    print(f"{given.out}: {done}")
    if done.images < done.wanted:
        print("the rest is left to other workers; start those that have stopped again")
    return None


def _prompts(
    words: Sequence[ClassWords], counts: Sequence[int], given: Namespace
) -> tuple[tuple[str, ...], ...]:
    """Return the prompts of each class: by a form, or the sentences of a file."""
    if given.sentences is None:
        return prompts_of(words, given.prompt, counts, seed=given.seed, scenes=given.scenes)
    return tuple(read(given.sentences, words).values())


def _shots(given: Namespace, names: Sequence[str]) -> Shots | None:
    """Return the real images of --from, and check that --strength has some."""
    if given.start is None:
        if given.strength is not None:
            raise InputError("--strength is of images that start from real ones; give --from DIR")
        return None
    return shots_in(given.start, names)


def _by(plan: Plan, generator: TextToImage) -> Plan:
    """Return the plan for a generator."""
    return replace(plan, made_by=generator.identity)


def _opened(given: Namespace, device: str, own: Own, *, local: bool = False) -> TextToImage:
    from synthbook.generate.text import opened

    if given.model in own:
        options = ("scheduler", "compile", "safety_checker", "revision", "variant")
        if extra := [name for name in options if getattr(given, name)]:
            said = ", ".join(f"--{name.replace('_', '-')}" for name in extra)
            raise InputError(f"'{given.model}' of the book takes no {said}; leave it out")
        return own[given.model](device)
    return opened(
        given.model, scheduler=given.scheduler, precision=given.precision, compiled=given.compile,
        safety_checker=given.safety_checker, batch_size=given.batch_size, device=device,
        revision=given.revision, variant=given.variant, local=local,
    )  # fmt: skip


def counts_of(
    names: Sequence[str], per_class: int | None, like: str | None, count: int | None
) -> tuple[int, ...]:
    """Return how many images each class gets: as many each, or as a real set has.

    Of a real set these are its training images: a set by name, a folder or an .npz; ``count`` of
    all, in its proportions (`class_shares`), or as many as it has.
    """
    if (per_class is None) == (like is None):
        raise InputError("give either --per-class N, or --like DATA for the numbers of a real set")
    if count is not None and (like is None or count < 1):
        raise InputError(f"--count {count} is images in all, in the proportions of --like; give it")
    if per_class is not None:
        if per_class < 1:
            raise InputError(f"--per-class {per_class} makes no images; give 1 or more")
        return (per_class,) * len(names)
    classes, of_class = _counted(like)
    same_classes(classes, names, "the list of classes")
    of_name = dict(zip(classes, of_class.tolist(), strict=True))
    numbers = np.array([of_name[name] for name in names])
    if count is not None:
        labels = np.repeat(np.arange(len(names)), numbers)
        pixels = np.zeros((len(labels), 1, 1, 1), np.uint8)
        numbers = class_shares(ImageSet(pixels, labels, tuple(names), like), count)
    return tuple(numbers.tolist())


def _counted(data: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the classes of a real set, and how many training images each has."""
    path = Path(data).expanduser()
    if data in REGISTRY or not path.exists():
        train = load(data, data_root=os.environ.get("SYNTHBOOK_DATA", "")).train
        return train.classes, train.counts()
    found = open_folder(path) if path.is_dir() else open_npz(path)
    labels = found.labels["train" if "train" in found.labels else "pool"]
    return found.classes, np.bincount(labels, minlength=len(found.classes))


def share(worker: str | None, device: str) -> tuple[tuple[int, int], str]:
    """Return which part of the work this process does, (k, n) from 0, and on which device.

    From ``worker``, "K/N" with K from 1; or from what `accelerate launch` and torchrun tell each
    process of theirs. Processes send nothing to each other and open no group, so that none waits
    for one that was killed.
    """
    rank, size = (int(os.environ.get(name, one)) for name, one in (("RANK", 0), ("WORLD_SIZE", 1)))
    if worker is not None:
        number, slash, count = worker.partition("/")
        fine = slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)
        if not fine:
            raise InputError(f"--worker {worker} is no part; give K/N, such as 1/4, with K up to N")
        if size > 1:
            raise InputError("--worker is for starting without accelerate, which counts by itself")
        return (int(number) - 1, int(count)), device
    if size > 1 and device in ("auto", "cuda"):
        import torch

        local = int(os.environ.get("LOCAL_RANK", rank))
        device = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
    return (rank, size) if size > 1 else (0, 1), device


def priced(plan: Plan, given: Namespace, own: Own) -> str:
    """Return what a data set is and what it costs, as text.

    The rate is ``given.rate``, or measured with the model on this machine.
    """
    from synthbook.generate.dataset import PNG_SHARE, Rate, measured

    side = plan.size or (OWN_SIDE if given.model in own else SIDE)
    guess = PNG_SHARE * side * side * 3
    if given.rate is not None:
        if not given.rate > 0:
            raise InputError(f"--rate {given.rate} is images a second; give more than 0")
        rate, said = Rate(1 / given.rate, guess), "as given"
    else:
        rate, said = _measured(plan, given, own, measured)
    seconds = len(plan) * rate.seconds
    counts = plan.counts
    each = f"{counts[0]:,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    prompts = sum(map(len, plan.prompts))
    written = f"of the form '{given.prompt}'" if given.sentences is None else "sentences"
    parts = f"{plan.units:,} shards" if plan.format == "shards" else "class folders"
    lines = {
        "images": f"{len(plan):,} of {len(counts):,} classes, {each} each, in {parts}",
        "prompts": f"{prompts:,} {written}, such as '{plan.prompts[0][0][:80]}'",
        "settings": f"guidance scale {plan.guidance_scale:g}, {plan.num_inference_steps} steps, "
        f"seed {plan.seed}, {plan.model}" + _started(plan),
        "rate": f"{1 / rate.seconds:.3g} images a second of one device, {said}",
        "time": f"{_time(seconds)} of it; with 8 of them {_time(seconds / 8)}",
        "disk": f"{_bytes(len(plan) * rate.size)} at {_bytes(rate.size)} an image; "
        f"{_bytes(_free(given.out))} are free",
    }  # fmt: skip
    return "\n".join(f"{name:9} {text}" for name, text in lines.items())


def _started(plan: Plan) -> str:
    """Return how images start from real ones, as the end of a line."""
    if plan.shots is None:
        return ""
    least, most = min(plan.strengths), max(plan.strengths)
    said = f"{least:g}" if least == most else f"{least:g} to {most:g}"
    return f"; from {len(plan.shots):,} real images at strength {said}, so fewer steps are done"


def _measured(
    plan: Plan, given: Namespace, own: Own, measured: Callable[..., Rate]
) -> tuple[Rate, str]:
    """Return the rate of the model, which must be on this machine, and where it was measured."""
    from synthbook.machine import prepare, processor

    device = prepare(given.device)
    try:
        generator = _opened(given, device, own, local=True)
    except InputError as error:
        raise InputError(
            f"{error}; or give --rate, in images a second, to have the price without the model"
        ) from error
    if device.startswith("cuda"):
        import torch

        where = torch.cuda.get_device_name(device)
    else:
        where = processor().partition(" (")[0]
    cut = generator.cut([prompt for prompts in plan.prompts for prompt in prompts])
    if cut:
        print(
            f"{len(cut):,} prompts are over the {cut[0].limit} tokens of the text encoder; "
            f"'{cut[0].prompt[:60]} ...' loses '{cut[0].lost}'", file=sys.stderr,
        )  # fmt: skip
    return measured(_by(plan, generator), generator), f"measured on {where}"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.3g} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 3600 else f"{seconds / 3600:,.1f} hours"


def _bytes(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB" if number < 1000 else f"{number:,.0f} TB"


def _free(out: Path) -> int:
    place = out.expanduser().absolute()
    return shutil.disk_usage(next(f for f in (place, *place.parents) if f.exists())).free
