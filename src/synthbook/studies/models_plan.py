"""What `make models` is about to do: which models are kept, and how long the others take at most.

python -m synthbook.studies.models_plan [NAME ...] [--seeds 0,1,2,3,4]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

from synthbook.data import load
from synthbook.errors import InputError, check_choice
from synthbook.generate import models
from synthbook.studies.models import BOOK, Learned


def plan(names: Iterable[str], seeds: Sequence[int]) -> dict[tuple[str, int], float]:
    """Return (name, seed) -> minutes of training at most; 0 for a model that is kept."""
    every, wanted = Learned.of("caltech10", load("caltech10")), {}
    for name in names:
        check_choice("model", name, BOOK)
        made = BOOK[name]
        for seed in seeds:
            asked = (every.few(made.shots, seed) if made.shots else every).asked
            kept = models.find(made.family, asked.fingerprint(), asked.classes, seed=seed)
            wanted[name, seed] = 0.0 if kept else made.minutes
    return wanted


def told(wanted: dict[tuple[str, int], float]) -> str:
    """Return the plan in lines, and what it takes in all."""
    lines = [
        f"{name}-{seed}: {f'at most {minutes:g} minutes' if minutes else 'kept'}"
        for (name, seed), minutes in wanted.items()
    ]
    left = [minutes for minutes in wanted.values() if minutes]
    end = f"{len(left)} models to train, one after the other: at most {sum(left) / 60:.1f} hours"
    end += ", and the measurements; what was begun goes on" if left else ""
    return "\n".join([*lines, end])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BOOK))
    parser.add_argument("--seeds", default="0,1,2,3,4")
    given = parser.parse_args(arguments)
    try:
        seeds = [int(seed) for seed in given.seeds.split(",")]
    except ValueError:
        sys.exit(f"error: seeds = '{given.seeds}'; give numbers, as in 0,1,2")
    try:
        print(told(plan(given.names or BOOK, seeds)), flush=True)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
