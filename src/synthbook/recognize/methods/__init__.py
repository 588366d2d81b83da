"""Every remedy of Tables 2 to 4 of Wang et al. (WACV 2024) by name, behind one function.

``train(name, model, task)`` trains a classifier in place with the images, the time and the numbers
of the task, and returns its curves. Chapters loop over ``METHODS``; a new method is one function
of (model, task) and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn

from synthbook.errors import InputError, did_you_mean
from synthbook.recognize.methods import adda, asg, csg, dada, dann, guided, ltda
from synthbook.recognize.methods.task import Settings, Task, updates_of
from synthbook.recognize.train import History

REAL, SYNTHETIC, GUIDE = "real", "synthetic", "guide"


@dataclass(frozen=True)
class Method:
    """One remedy.

    Attributes:
        name: as in the rows of the book; the paper's names where it has them.
        run: trains a classifier in place by a task.
        needs: what the task must have: 'real', 'synthetic', 'guide'. Without 'real' and
            'synthetic' the method takes the one set that there is.
        source: where it was defined.
        stages: 'one' or 'two', synthetic images first.
        simplified: what is less than in the source; "" for nothing.
    """

    name: str
    run: Callable[[nn.Module, Task], History]
    needs: frozenset[str]
    source: str
    stages: str = "one"
    simplified: str = ""


_GAP = "Wang et al. 2024"
_BOTH = frozenset({REAL, SYNTHETIC})


def _ours(name: str) -> Method:
    """Return a method of the paper by the parts of its name, as 'RG+PG-F'."""
    parts = name.split("+")
    real, synthetic = "PG-R" in parts, "PG-F" in parts
    rule = guided.real_guidance if "RG" in parts else None
    run = guided.on_both(real=real, synthetic=synthetic, combine=rule)
    return Method(name, run, _BOTH | ({GUIDE} if real or synthetic else set()), _GAP)


def _theirs(
    name: str, run: Callable[[nn.Module, Task], History], needs: Iterable[str], source: str,
    simplified: str, stages: str = "one",
) -> Method:  # fmt: skip
    return Method(name, run, frozenset(needs), source, stages, simplified)


_ALL = (
    Method("plain", guided.plain, frozenset(), f"{_GAP}, Baseline (Real) and (Fake)"),
    _theirs("ASG", asg.asg, {GUIDE}, "Chen et al. 2020", asg.SIMPLIFIED),
    _theirs("CSG", csg.csg, {GUIDE}, "Chen et al. 2021", csg.SIMPLIFIED),
    Method("PG-L1", guided.pretrained_guided("l1"), frozenset({GUIDE}), f"{_GAP}, equation 1"),
    Method("PG-KL", guided.pretrained_guided("kl"), frozenset({GUIDE}), f"{_GAP}, equation 1"),
    Method("Adp", guided.adapted, _BOTH, f"{_GAP}, Baseline (Adp.)", "two"),
    Method("Aug", guided.augmented, _BOTH, f"{_GAP}, Baseline (Aug.)"),
    _theirs("ADDA", adda.adda, _BOTH, "Tzeng et al. 2017", adda.SIMPLIFIED, "two"),
    _theirs("DADA", dada.dada, _BOTH, "Tang and Jia 2020", dada.SIMPLIFIED, "two"),
    _theirs("DANN", dann.dann, _BOTH, "Ganin and Lempitsky 2015", dann.SIMPLIFIED),
    _theirs("LTDA", ltda.ltda, _BOTH, "Jamal et al. 2020", ltda.SIMPLIFIED, "two"),
    Method("A-GEM", guided.on_both(combine=guided.a_gem), _BOTH, "Chaudhry et al. 2019"),
    *map(_ours, ("PG-R+PG-F", "RG", "RG+PG-R", "RG+PG-F", "RG+PG-R+PG-F")),
    Method("sum", guided.on_both(combine=None), _BOTH, "this book: RG without the projection"),
    Method("PCGrad", guided.on_both(combine=guided.pc_grad), _BOTH, "Yu et al. 2020, by torchjd"),
)
METHODS: dict[str, Method] = {method.name: method for method in _ALL}


def find(name: str) -> Method:
    """Return the method of a name; raise InputError naming the nearest for an unknown one."""
    if name not in METHODS:
        raise InputError(
            f"no method is called '{name}'{did_you_mean(name, METHODS)}; known are "
            f"{', '.join(METHODS)}"
        )
    return METHODS[name]


def check_methods(names: Iterable[str], known: Iterable[str]) -> None:
    """Raise InputError unless all names are among ``known``, the methods of a chapter."""
    known = list(known)
    for name in names:
        if name not in known:
            raise InputError(
                f"no method of this chapter is called '{name}'{did_you_mean(name, known)}; "
                f"methods may be {', '.join(known)}"
            )


def check_task(name: str, task: Task) -> None:
    """Raise InputError if the task lacks what the method needs, before any training."""
    method = find(name)
    for part in (REAL, SYNTHETIC):
        if part in method.needs and getattr(task, part) is None:
            raise InputError(f"method '{name}' needs {part} images and the task has none")
    if not method.needs & _BOTH and len(task.streams()) != 1:
        raise InputError(
            f"method '{name}' trains on one set of images and the task has "
            f"{len(task.streams())}; give real or synthetic ones"
        )
    if GUIDE in method.needs and task.guide is None:
        raise InputError(
            f"method '{name}' needs a frozen guide and the task has none; make one with "
            f"create_guide('efficientnet_lite0', ...)"
        )
    if task.updates < 1:
        raise InputError(f"updates is {task.updates}; give at least 1")


def train(name: str, model: nn.Module, task: Task) -> History:
    """Train ``model`` in place by a method and return its curves.

    Args:
        name: of ``METHODS``.
        model: a classifier of ``create_classifier``; afterwards it is the method's result.
        task: images, updates, seed, guide, settings.

    Raises:
        InputError: for an unknown name, or a task without what the method needs.
        TrainingError: if a loss is not finite.
    """
    check_task(name, task)
    return METHODS[name].run(model, task)


__all__ = [
    "METHODS",
    "Method",
    "Settings",
    "Task",
    "check_methods",
    "check_task",
    "find",
    "train",
    "updates_of",
]
