"""What an experiment trains and measures, said before anything runs.

A chapter's parameters alone make its `Cell`s: `Experiment.plan` lists their rows, and a run goes
through the same ones, so that no row comes that was not planned. Planning needs no torch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from synthbook.errors import InputError, did_you_mean
from synthbook.recognize.methods import METHODS, check_numbers, keywords_of
from synthbook.studies.image_sources import families_of
from synthbook.studies.rows import Row, Rows

if TYPE_CHECKING:
    from synthbook.data import Splits
    from synthbook.recognize.train import History

ACCURACY = "top1_accuracy"
Numbers = Mapping[str, Mapping[str, Any]]  # of methods, by method and name
Train = Callable[[str, tuple[Any, ...], dict[str, Any]], "Trained"]


class Training(NamedTuple):
    """One training; equal ones are done once, whichever parts ask for them.

    ``images`` says on what, in the words of its chapter; ``numbers`` are those of the method that
    are not the chapter's own.
    """

    method: str
    images: tuple[Any, ...]
    numbers: tuple[tuple[str, Any], ...] = ()


class Cell(NamedTuple):
    """A training and the rows that it gives: ``row`` is what they have in common.

    ``metrics`` are names and splits. A relative cost is in times of the training ``than``.
    """

    row: Row
    training: Training
    metrics: tuple[tuple[str, str], ...]
    than: Training | None = None


class Choice(NamedTuple):
    """A weight of Pretrained Guidance, to be chosen among ``weights`` before a chapter's methods.

    By `best` of the accuracies on real validation images, over the generators; each cell is a
    weight and a generator, each weight once for all of them. Where there is one weight there is
    no cell. ``key`` is the chapter's name of this choice, ``row`` that of the weight taken.
    """

    key: tuple[str, ...]
    row: Row
    weights: tuple[float, ...]
    cells: tuple[Cell, ...]


class Trained(NamedTuple):
    """What came out: curves, and accuracies (%) by split: on real images, or on its own (train)."""

    history: History
    accuracy: dict[str, float]


class Plan(NamedTuple):
    """The rows that a run will make, without their values, and how many trainings they take."""

    rows: list[Row]
    trainings: int

    def __str__(self) -> str:
        """Return the numbers, and a line a part: which methods are trained on what."""
        lines = [f"To do: {self.trainings} trainings, {len(self.rows)} rows"]
        parts: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
        for row in self.rows:
            parts[row.get("part", "rows")][row["method"]][row["train"]] = None
        for part, methods in parts.items():
            alike = defaultdict(list)
            for method, sources in methods.items():
                alike[", ".join(sources)].append(method)
            said = (f"{', '.join(names)} on {sources}" for sources, names in alike.items())
            lines.append(f"{part}: {'; '.join(said)}")
        return "\n  ".join(lines)


def best(accuracies: Mapping[float, Iterable[float]]) -> float:
    """Return the weight of the largest mean accuracy, of equal ones the smallest weight."""
    means = {weight: np.mean([*accuracies[weight]]) for weight in sorted(accuracies)}
    return max(means, key=means.__getitem__)


def method_settings(p: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the numbers of methods that the parameter ``method_settings`` gives, by method.

    Its entries are DANN.discriminator_width=1024, or first_share=0.5 for all that have it.

    Raises:
        InputError: for an entry of another form, an unknown method or number, a wrong value, or
            lambda_3, which the rows tell from parameters of its own.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in p.get("method_settings", ()):
        place, equals, value = text.partition("=")
        method, _, number = place.strip().rpartition(".")
        said = f"method_settings holds '{text}'"
        if not equals:
            raise InputError(f"{said}; write METHOD.number=value: DANN.discriminator_width=1024")
        known = {name: keywords_of(name) for name in ([method] if method else p["methods"])}
        having = {name: own for name, own in known.items() if number in own}
        if not having:
            every = sorted({name for own in known.values() for name in own})
            raise InputError(
                f"{said}, and {method or 'no method asked for'} has {'no' if method else 'a'} "
                f"number '{number}'{did_you_mean(number, every)}; there are {', '.join(every)}"
            )
        if number == "lambda_3":
            places = " and ".join(_weight_parameters(p, having))
            raise InputError(f"{said}; the weight of the guidance is a parameter: give {places}")
        for name, own in having.items():
            try:
                typed = TypeAdapter(type(own[number])).validate_python(value)
            except ValidationError:
                kind = type(own[number]).__name__
                raise InputError(f"{said}; {number} is a {kind}, as {own[number]}") from None
            check_numbers(name, {number: typed})
            found.setdefault(name, {})[number] = typed
    return found


def _weight_parameters(p: Mapping[str, Any], methods: Iterable[str]) -> list[str]:
    """Return the parameters that have the weights of Pretrained Guidance in some methods."""
    ends = {METHODS[name].fixed.get("similarity", "") for name in methods}
    places = [name for name in p if name.startswith("lambda_3")]
    return [name for name in places if name.removeprefix("lambda_3_") in ends] or places


def metrics_of(method: str, *splits: str, cost: bool = False) -> tuple[tuple[str, str], ...]:
    """Return what is measured of a method's training."""
    names = ["relative_cost"] if cost else []
    if METHODS[method].projects:
        names += ["mean_cosine", "share_projected"]
    if METHODS[method].guided:
        names.append("guidance_gradient_share")
    return (*((ACCURACY, split) for split in splits), *((name, "train") for name in names))


def _value(metric: str, split: str, trained: Trained, than: Trained | None) -> float:
    extra = {name: float(np.mean(values)) for name, values in trained.history.extra.items()}
    if metric == ACCURACY:
        return trained.accuracy[split]
    if metric == "relative_cost":
        return trained.history.seconds / than.history.seconds
    if metric == "guidance_gradient_share":
        return extra["guidance_gradient"] / extra["task_gradient"]
    return extra[{"mean_cosine": "cosine", "share_projected": "projected"}[metric]]


def _resolved(training: Training, own: Numbers, taken: Mapping[tuple[str, ...], float]) -> Training:
    """Return a training with the weight that was taken for it, and without what is usual."""
    method, images, numbers = training
    given, usual = dict(numbers), own[method]
    if METHODS[method].guided and "lambda_3" not in given | usual:
        given["lambda_3"] = next(x for key, x in taken.items() if {*key} <= {method, *images})
    changed = {name: value for name, value in given.items() if usual.get(name) != value}
    return Training(method, images, tuple(sorted(changed.items())))


class Experiment:
    """What both chapters have in common: a seed's choices of weights, then its other trainings.

    Attributes:
        families: the generators.
        weights: of Pretrained Guidance, as chosen for the seed that was run last, by `Choice.key`.
        histories: (method, train, seed) -> the curves of a chapter's main part.
    """

    # A chapter's choices and cells, and the numbers that are parameters of it: torch-free.
    choices: Callable[[Mapping[str, Any]], list[Choice]]
    cells: Callable[[Mapping[str, Any]], Iterator[Cell]]
    numbers: Callable[[Mapping[str, Any]], dict[str, Any]]
    main: str  # the part whose curves are kept

    def __init__(self, p: Mapping[str, Any], real: Splits, *, device: str = "cpu") -> None:
        """Unpack what all chapters have."""
        self.p, self.real, self.device = p, real, device
        self.families, self.own = families_of(p), self._own(p)
        self.weights: dict[tuple[str, ...], float] = {}
        self.histories: dict[tuple[str, str, int], History] = {}

    @classmethod
    def _own(cls, p: Mapping[str, Any]) -> Numbers:
        usual, of_methods = cls.numbers(p), method_settings(p)
        return {name: usual | of_methods.get(name, {}) for name in METHODS}

    @classmethod
    def plan(cls, p: Mapping[str, Any]) -> Plan:
        """Return what a run with these parameters will do, without doing it."""
        choices, own = cls.choices(p), cls._own(p)
        every = [*(cell for choice in choices for cell in choice.cells), *cls.cells(p)]
        rows = [choice.row for choice in choices if choice.cells]
        rows += [cell.row | {"metric": m, "split": s} for cell in every for m, s in cell.metrics]
        # What will be taken is on the grid, so the number of trainings does not hang on it.
        taken = {choice.key: choice.weights[0] for choice in choices}
        asked = [cell.training for cell in every] + [cell.than for cell in every if cell.than]
        count = len({_resolved(training, own, taken) for training in asked})
        first, seeds = p.get("first_seed", 0), p.get("seeds", 1)
        rows = [row | {"seed": seed} for seed in range(first, first + seeds) for row in rows]
        return Plan(rows, seeds * count)

    def _train(self, seed: int) -> Train:
        """Return a function that does a training of a seed, by method, images and numbers."""
        raise NotImplementedError

    def rows(self, seed: int) -> Rows:
        """Yield the rows of a seed: of the choices, then part by part."""
        train, done = self._train(seed), {}

        def trained(training: Training) -> Trained:
            key = _resolved(training, self.own, self.weights)
            if key not in done:
                known = keywords_of(key.method)
                usual = {k: v for k, v in self.own[key.method].items() if k in known}
                done[key] = train(key.method, key.images, usual | dict(key.numbers))
            return done[key]

        def of(cell: Cell) -> Rows:
            found, than = trained(cell.training), trained(cell.than) if cell.than else None
            if cell.row["part"] == self.main:
                self.histories[cell.row["method"], cell.row["train"], seed] = found.history
            for metric, split in cell.metrics:
                value = _value(metric, split, found, than)
                yield cell.row | {"metric": metric, "split": split, "value": value, "seed": seed}

        self.weights = {}
        for choice in self.choices(self.p):
            accuracies = defaultdict(list)
            for row in chain.from_iterable(map(of, choice.cells)):
                accuracies[row["lambda_3"]].append(row["value"])
                yield row
            self.weights[choice.key] = best(accuracies) if choice.cells else choice.weights[0]
            if choice.cells:
                yield choice.row | {"value": self.weights[choice.key], "seed": seed}
        yield from chain.from_iterable(map(of, self.cells(self.p)))
