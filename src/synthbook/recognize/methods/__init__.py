"""Every way of training of Tables 2 to 4 of Wang et al. (WACV 2024) by its name.

    history = train_by("RG", model, task, lambda_1=0.5)

trains ``model`` in place with the images, the time and the recipe of a ``task.Task``. A method is
a function ``(model, task, *, its own numbers) -> History`` in a file of this folder, imported when
it is used, and one line here.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthbook.errors import InputError, check_choice, did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from synthbook.recognize.methods.task import Task
    from synthbook.recognize.train import History

REAL, SYNTHETIC, GUIDE = "real", "synthetic", "guide"
NEEDED = {
    REAL: "real images", SYNTHETIC: "synthetic images", GUIDE: "a frozen guide of create_guide",
}  # fmt: skip
# What a number may be, whichever method has it.
AT_LEAST_0 = {
    "lambda_1", "lambda_2", "lambda_3", "weight", "adversarial_weight", "meta_rate", "queue",
}  # fmt: skip
RANGES: list[tuple[set[str], Callable[[Any], bool], str]] = [
    (AT_LEAST_0, lambda x: x >= 0, "at least 0"),
    ({"accumulate", "discriminator_width"}, lambda x: x >= 1, "at least 1"),
    ({"first_share"}, lambda x: 0 < x < 1, "a number between 0 and 1"),
    ({"second_stage"}, lambda x: x in ("epochs", "updates"), "epochs or updates"),
    ({"momentum"}, lambda x: 0 <= x <= 1, "a number from 0 to 1"),
    ({"temperature"}, lambda x: x > 0, "a number above 0"),
]
READINGS = {  # of equation 1
    "distance": ("cosine", "l2"), "similarity": ("kl", "l1"), "target": ("guide", "model"),
    "over": ("row", "matrix"),
}  # fmt: skip


@dataclass(frozen=True)
class Method:
    """One way of training; without 'real' and 'synthetic' it takes the one set that there is."""

    name: str  # as in the rows of the book; the paper's names where it has them
    place: str  # "file:function" in this folder
    needs: frozenset[str]  # what the task must have: 'real', 'synthetic', 'guide'
    source: str  # where it was defined
    fixed: Mapping[str, Any] = field(default_factory=dict)  # keywords that make it this method
    stages: str = "one"  # or "two", synthetic images first

    @property
    def projects(self) -> bool:
        """Whether a step may project one gradient against the other (equation 2)."""
        return self.fixed.get("rule") == "RG"

    @property
    def guided(self) -> bool:
        """Whether its loss has Pretrained Guidance (equation 3)."""
        return bool(self.fixed.get("guided"))

    @property
    def function(self) -> Callable[..., History]:
        """The function that trains; asking for it imports its file."""
        file, _, name = self.place.partition(":")
        return getattr(import_module(f"{__name__}.{file}"), name)

    @property
    def simplified(self) -> str:
        """What is less than in the source, as the file's docstring says it; "" for nothing."""
        said = inspect.getmodule(self.function).__doc__
        return " ".join(said.partition("Simplified: ")[2].split()).removesuffix(".")


_GAP = "Wang et al. 2024"
_PG = frozenset({GUIDE})
_BOTH = frozenset({REAL, SYNTHETIC})
_ALL = _BOTH | _PG
# What makes a method of `guidance`; its own numbers are those that are not fixed here.
_RG, _SUM = {"rule": "RG"}, {"rule": "sum", "per_layer": False}
_EVEN = {"lambda_1": 1.0, "lambda_2": 1.0}
_A_GEM = {"lambda_1": 0.0, "lambda_2": 1.0}  # Chaudhry et al. 2019, equation 11
_GUIDED = {"guided": (REAL, SYNTHETIC)}
_L1 = {"similarity": "l1", "target": "guide", "over": "row"}
_ALONE = _L1 | {"guided": (), "lambda_3": 0.0, "distance": "cosine"}
_ONE_SET = _SUM | _EVEN | _GUIDED
_PCGRAD = _SUM | _EVEN | {"rule": "PCGrad"}
_METHODS = (
    Method("plain", "plain:plain", frozenset(), f"{_GAP}, Baseline (Real) and (Fake)"),
    Method("plain-eval", "plain:plain_eval", frozenset(), "this book: ASG without its own loss"),
    Method("ASG", "asg:asg", _PG, "Chen et al. 2020"),
    Method("CSG", "csg:csg", _PG, "Chen et al. 2021"),
    Method("PG-L1", "guidance:train", _PG, f"{_GAP}, equation 1", _ONE_SET | _L1),
    Method("PG-KL", "guidance:train", _PG, f"{_GAP}, equation 1", _ONE_SET | {"similarity": "kl"}),
    Method("Adp", "plain:adp", _BOTH, f"{_GAP}, Baseline (Adp.)", stages="two"),
    Method("Aug", "plain:aug", _BOTH, f"{_GAP}, Baseline (Aug.)"),
    Method("ADDA", "adda:adda", _BOTH, "Tzeng et al. 2017", stages="two"),
    Method("DADA", "dada:dada", _BOTH, "Tang and Jia 2020", stages="two"),
    Method("DANN", "dann:dann", _BOTH, "Ganin and Lempitsky 2015"),
    Method("LTDA", "ltda:ltda", _BOTH, "Jamal et al. 2020", stages="two"),
    Method("A-GEM", "guidance:train", _BOTH, "Chaudhry et al. 2019", _RG | _ALONE | _A_GEM),
    Method("PG-R+PG-F", "guidance:train", _ALL, _GAP, _SUM | _GUIDED),
    Method("RG", "guidance:train", _BOTH, _GAP, _RG | _ALONE),
    Method("RG+PG-R", "guidance:train", _ALL, _GAP, _RG | {"guided": (REAL,)}),
    Method("RG+PG-F", "guidance:train", _ALL, _GAP, _RG | {"guided": (SYNTHETIC,)}),
    Method("RG+PG-R+PG-F", "guidance:train", _ALL, _GAP, _RG | _GUIDED),
    Method("sum", "guidance:train", _BOTH, "this book: RG without the projection", _SUM | _ALONE),
    Method("PCGrad", "guidance:train", _BOTH, "Yu et al. 2020, by torchjd", _PCGRAD | _ALONE),
)
METHODS: dict[str, Method] = {method.name: method for method in _METHODS}


def find(name: str) -> Method:
    """Return the method of a name; raise InputError naming the nearest for an unknown one."""
    check_choice("method", name, METHODS)
    return METHODS[name]


@cache
def _keywords(place: str) -> dict[str, Any]:
    """Return the keywords of a method's function and their defaults, read off its source."""
    file, _, name = place.partition(":")
    tree = ast.parse(Path(__file__).with_name(f"{file}.py").read_text(encoding="utf-8"))
    (function,) = (n.args for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
    defaults = map(ast.literal_eval, function.kw_defaults)
    return dict(zip((one.arg for one in function.kwonlyargs), defaults, strict=True))


def keywords_of(name: str) -> dict[str, Any]:
    """Return a method's own numbers, by name, with their defaults; it imports nothing."""
    method = find(name)
    return {k: v for k, v in _keywords(method.place).items() if k not in method.fixed}


def train_by(name: str, model: nn.Module, task: Task, **keywords: Any) -> History:
    """Train ``model`` in place by a method of ``METHODS`` and return its curves.

    ``model`` is a classifier of ``create_classifier``; ``keywords`` are numbers of the method that
    differ from their defaults (``keywords_of``).

    Raises:
        InputError: for an unknown name, a number out of range, or a task without what the method
            needs; before any training.
        TrainingError: if a loss is not finite.
    """
    check_numbers(name, keywords)
    method = find(name)
    _check_task(method, task)
    return method.function(model, task, **method.fixed, **keywords)


def check_numbers(name: str, keywords: Mapping[str, Any]) -> None:
    """Raise InputError for a number that a method does not have, or that is out of its range."""
    known = keywords_of(name)
    for keyword, value in keywords.items():
        if keyword not in known:
            raise InputError(
                f"method '{name}' has no number '{keyword}'{did_you_mean(keyword, known)}; it has "
                f"{', '.join(known) or 'none'}"
            )
        if keyword in READINGS:
            check_choice(keyword, value, READINGS[keyword])
        for names, allows, words in RANGES:
            if keyword in names and not allows(value):
                raise InputError(f"{keyword} is {value}; give {words}")
        if isinstance(value, Real) and not math.isfinite(value):
            raise InputError(f"{keyword} is {value}; give a finite number")


def _check_task(method: Method, task: Task) -> None:
    for part, words in NEEDED.items():
        if part in method.needs and getattr(task, part) is None:
            raise InputError(f"method '{method.name}' needs {words}; the task has none")
    if not method.needs & _BOTH and len(task.streams()) != 1:
        raise InputError(
            f"method '{method.name}' trains on one set of images and the task has "
            f"{len(task.streams())}; give real or synthetic ones"
        )
    if task.updates < 1:
        raise InputError(f"updates is {task.updates}; give at least 1")
