"""What a generated data set will hold, before its first image: class, prompt and seed of each.

The plan is a small file: a line of settings, and a line a class with its number of images and its
prompts. It gives each of a million images its line without having them on disk or in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from synthbook.errors import InputError, check_choice
from synthbook.generate.prompts import check_form, form_of, prompt, scenes_of
from synthbook.generate.shots import Shots, shot_of
from synthbook.generate.text import check_guidance
from synthbook.generate.wordnet import ClassWords
from synthbook.randomness import derive, numpy_generator

FORMATS = ("folders", "shards")
FILE = "plan.jsonl"
VERSION = 1
FREE = frozenset(("model", "from"))  # said in a plan, and no other data set where it differs
ADDED = frozenset(("parts",))  # of `made_by`: not in plans that were begun before it was


@dataclass(frozen=True)
class Planned:
    """One image of a plan."""

    position: int
    label: int
    index: int  # among those of its class
    name: str  # of the class
    prompt: str
    seed: int
    guidance_scale: float
    num_inference_steps: int
    shot: int = -1  # of its class, from which it starts
    start: str = ""  # what that is called
    strength: float = 1.0  # of the noise over it; 1: noise alone

    def record(self, black: int) -> dict[str, Any]:
        """Return what is kept beside the image, with the number of black ones before it."""
        fields = asdict(self)
        for name in ("position", "shot", *(() if self.start else ("start", "strength"))):
            del fields[name]
        return {"class": fields.pop("name"), **fields, "black": black}


@dataclass(frozen=True)
class Plan:
    """A generated data set before it is made.

    Args:
        classes: their names, which are those of folders.
        prompts: of each class, one or more; its images go through them in turn.
        counts: images of each class.
        seed: image ``index`` of a class has the seed (``seed``, "clone", class, index). So it is
            the same image in a larger set, or beside other classes.
        guidance_scale: of all images, and so are ``num_inference_steps`` and ``size`` (0: the
            pipeline's own).
        format: "folders" of PNG files by class, or tar "shards" in which classes are mixed.
        unit: images a shard, or, of folders, a part of the work.
        made_by: `TextToImage.identity`.
        model: the pipeline's name, for the record only.
        shots: real images of the classes from which its images start (`shots.shot_of`), if any.
        strength: of all images that start so; None for the one that fits the number of shots.
    """

    classes: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    counts: tuple[int, ...]
    seed: int
    guidance_scale: float
    num_inference_steps: int
    size: int
    format: str
    unit: int
    made_by: Mapping[str, Any]
    model: str = ""
    shots: Shots | None = None
    strength: float | None = None

    def __post_init__(self) -> None:
        """Check what a reader may give."""
        check_choice("format", self.format, FORMATS)
        if not self.classes:
            raise InputError("there is no class to make images of; give one at least")
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise InputError(f"class '{twice}' is given twice; give each class once")
        for name in self.classes:
            bad = "/" in name or "\0" in name or name[:1] in (".", "") or name == "__MACOSX"
            if bad or len(name.encode()) > 255:
                raise InputError(
                    f"class '{name[:300]}' cannot be the name of a folder; give it one of at most "
                    "255 bytes, without / and without a dot at its beginning"
                )
        for what in ("unit", "num_inference_steps"):
            if getattr(self, what) < 1:
                raise InputError(f"{what} is {getattr(self, what)}; give 1 or more")
        if self.size < 0:
            raise InputError(
                f"size is {self.size}; give pixels a side, or 0 for the pipeline's own"
            )
        check_guidance(self.guidance_scale)
        if min(self.counts) < 0 or not len(self):
            raise InputError(
                f"{min(self.counts)} images of a class, or none at all; give 1 or more"
            )
        if self.shots is None and self.strength is not None:
            raise InputError(
                f"strength {self.strength:g} is of images that start from others; give"
                " these too, or leave it out"
            )
        if self.shots is not None and self.shots.classes != self.classes:
            raise InputError(
                "the real images to start from are of other classes; give them in the same order"
            )
        self.strengths  # noqa: B018 (checks it)

    def __len__(self) -> int:
        """Return the number of images."""
        return int(sum(self.counts))

    @property
    def units(self) -> int:
        """The number of shards, or of parts of the work."""
        return -(-len(self) // self.unit)

    @cached_property
    def strengths(self) -> tuple[float, ...]:
        """The strength of each class; () where images start from noise alone."""
        return self.shots.strengths(self.strength) if self.shots else ()

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.counts)

    @cached_property
    def _order(self) -> np.ndarray:
        """The order in which images stand in shards: mixed, so that each holds all classes."""
        return numpy_generator(self.seed, "order of a clone").permutation(len(self))

    def image(self, position: int) -> Planned:
        """Return the image at a position of the data set, 0 to ``len(plan) - 1``."""
        number = int(self._order[position])
        label = int(np.searchsorted(self._ends, number, side="right"))
        index = number - int(self._ends[label]) + self.counts[label]
        of_class, name = self.prompts[label], self.classes[label]
        start: dict[str, Any] = {}
        if self.shots:
            names = self.shots.names[label]
            shot = shot_of(index, len(of_class), len(names))
            start = {"shot": shot, "start": names[shot], "strength": self.strengths[label]}
        return Planned(
            position, label, index, name, of_class[index % len(of_class)],
            derive(self.seed, "clone", name, index), self.guidance_scale, self.num_inference_steps,
            **start,
        )  # fmt: skip

    def span(self, unit: int) -> Iterator[Planned]:
        """Yield the images of a unit."""
        for position in range(unit * self.unit, min((unit + 1) * self.unit, len(self))):
            yield self.image(position)

    def lines(self) -> list[dict[str, Any]]:
        """Return the plan as it is written: settings, then a class a line."""
        settings = {
            "plan": VERSION,
            "images": len(self),
            **{name: getattr(self, name) for name in (
                "seed", "guidance_scale", "num_inference_steps", "size", "format", "unit",
            )},
            **self.made_by,
            "model": self.model,
        }  # fmt: skip
        of_classes = zip(self.classes, self.counts, self.prompts, strict=True)
        lines: list[dict[str, Any]] = [
            {"class": name, "images": count, "prompts": list(prompts)}
            for name, count, prompts in of_classes
        ]
        if self.shots:
            settings["from"] = self.shots.folder
            told = zip(lines, self.strengths, self.shots.names, self.shots.sums, strict=True)
            for line, strength, names, sums in told:  # prompts may be many: they come last
                line |= {"strength": strength, "start": dict(zip(names, sums, strict=True))}
                line["prompts"] = line.pop("prompts")
        return [settings, *lines]

    def text(self) -> str:
        """Return the plan's file."""
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self.lines())


def prompts_of(
    classes: Sequence[ClassWords], form: str, counts: Sequence[int], *, seed: int = 0,
    scenes: str | Sequence[str] = "places365",
) -> tuple[tuple[str, ...], ...]:  # fmt: skip
    """Return the prompts that the images of each class go through, by a form of `prompts`.

    With scenes they are as many as there are scenes, or as images of the class; else one.
    """
    check_form(classes, form)
    places = scenes_of(scenes)
    most = len(places) if "b" in form_of(form).needs else 1
    return tuple(
        tuple(
            prompt(words, form, index, seed=seed, scenes=places)
            for index in range(max(1, min(count, most)))
        )
        for words, count in zip(classes, counts, strict=True)
    )


def check_same(plan: Plan, file: Path) -> None:
    """Raise InputError, with the first difference, unless a file holds this plan."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        there = [json.loads(line) for line in lines]
        first = there[0] | {}
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"{file} is no plan ({' '.join(str(error).split())[:200]}); give another folder"
        ) from error
    wanted = plan.lines()
    free = FREE | (ADDED - {*first})
    different = [
        k for k in {**wanted[0], **first} if k not in free and first.get(k) != wanted[0].get(k)
    ]
    if different:
        k = different[0]
        said = f"{k} {first.get(k)!r}, and {wanted[0].get(k)!r} is asked for"
    elif there[1:] != wanted[1:]:
        pairs = zip_longest(there[1:], wanted[1:])
        ours, theirs = next(pair for pair in pairs if pair[0] != pair[1])
        said = f"{json.dumps(ours)[:150]}, and {json.dumps(theirs)[:150]} is asked for"
    else:
        return
    raise InputError(
        f"{file.parent} holds another data set, with {said}; give another folder, or the settings "
        f"of {file.name}"
    )
