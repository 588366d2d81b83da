"""All models of the book: which are kept, what the others take, and making them. `make models`.

python -m synthbook.studies.all_models [NAME ...] [--seeds 0,1,2,3,4] [--minutes M] [--device D]
    [--dry-run]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from synthbook import machine
from synthbook.data import load
from synthbook.errors import InputError, check_choice
from synthbook.machine import say
from synthbook.studies import kept, models, pairs

PAIR_MINUTES = 6.0, 3.0  # of a pair's 1,600 steps: one processor core, a GPU; as seen
KEPT_MINUTES = {  # of chapters 41, 42 (with the GAN that it starts from) and 43
    kept.chapter_41: (6.0, 3.0), kept.chapter_42: (15.0, 6.0), kept.chapter_43: (20.0, 8.0)
}  # fmt: skip


class Wanted(NamedTuple):
    """A model that is asked for: its name and number, and how it is made.

    ``minutes`` are those of its training at most, 0 where it is kept.
    """

    name: str
    minutes: float
    make: Callable[[], Any]


def names() -> list[str]:
    """Return the names of all models of the book."""
    return [*models.BOOK, *pairs.sources(), *kept.BOOK]


def plan(
    asked: Iterable[str], seeds: Sequence[int], device: str, minutes: float = 0.0
) -> list[Wanted]:
    """Return the models of these names and seeds, seed by seed.

    ``minutes`` is the budget of those that have one (`models.BOOK`), 0 for the book's.

    Raises:
        InputError: for an unknown name, or for a kept model that is not as its card says.
    """
    asked = list(asked)
    for name in asked:
        check_choice("model", name, names())
    every = models.Learned.of("caltech10", load("caltech10"))
    wanted = []
    for seed in seeds:
        for name in asked:
            if made := models.BOOK.get(name):
                learned = every.few(made.shots, seed) if made.shots else every
                found = (made.family, learned.asked.fingerprint(), learned.asked.classes)
                there = models.models.find(*found, seed=seed)
                make = partial(models.make, minutes=minutes)
                most = minutes or made.minutes(device)
            elif book := kept.BOOK.get(name):
                there, make = kept.kept(name, seed, device=device), kept.make
                most = KEPT_MINUTES[book.study][torch.device(device).type != "cpu"]
            else:
                there, make = _pair(name, seed), pairs.make
                most = PAIR_MINUTES[torch.device(device).type != "cpu"]
            build = partial(make, name, seed, device=device)
            wanted.append(Wanted(f"{name}-{seed}", 0.0 if there else most, build))
    return wanted


def _pair(name: str, seed: int) -> Path | None:
    source = pairs.images_of(pairs.sources()[name], seed)
    return pairs.find(source, pairs.PRETRAINING, pairs.NETWORK, seed=seed)


def told(wanted: Sequence[Wanted]) -> str:
    """Return the plan in lines, and what it takes in all."""
    lines = [
        f"{one.name}: {f'at most {one.minutes:g} minutes' if one.minutes else 'kept'}"
        for one in wanted
    ]
    left = [one.minutes for one in wanted if one.minutes]
    if not left:
        return "\n".join([*lines, "all are kept"])
    return "\n".join(
        [*lines, f"{len(left)} to train, one after the other: at most {sum(left) / 60:.1f} hours "
         "and the time for measuring them; what was begun and stopped goes on"]
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan, and follow it unless this is a dry run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names()))
    parser.add_argument("--seeds", default="0,1,2,3,4")
    minutes = ", ".join(models.BOOK)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help=f"of {minutes}; 0: those of the book"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dry-run", action="store_true")
    given: Mapping[str, Any] = vars(parser.parse_args(arguments))
    try:
        if not 0 <= given["minutes"] < float("inf"):
            raise InputError(f"minutes = {given['minutes']:g}; give 0 for the book's, or more")
        seeds, device = _numbers(given["seeds"]), machine.prepare(given["device"])
        wanted = plan(given["names"] or names(), seeds, device, given["minutes"])
        print(told(wanted), flush=True)
        for one in wanted:
            if one.minutes and not given["dry_run"]:
                one.make()
                say(f"{one.name}: kept")
    except InputError as error:
        sys.exit(f"error: {error}")


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise InputError(f"seeds = '{text}'; give numbers, as in 0,1,2") from None


if __name__ == "__main__":
    main()
