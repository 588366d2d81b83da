"""``python -m synthbook.press``: what ``make`` and Snakemake call; a reader does not have to."""

from __future__ import annotations

import argparse
import os
import sys

from synthbook.errors import InputError


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m synthbook.press", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("book", "notebooks", "results"):
        commands.add_parser(name).add_argument("--jobs", type=int, default=2)
    commands.add_parser("pairing")
    commands.add_parser("agreement")
    commands.add_parser("execute").add_argument("chapter")
    results = commands.choices["results"]
    results.add_argument("--chapter", required=True)
    results.add_argument("--scale", default="mini")
    results.add_argument("--dry-run", action="store_true")
    given = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        _do(given)
    except InputError as error:
        sys.exit(f"error: {error}")


def _do(given: argparse.Namespace) -> None:
    if given.command == "results":
        from synthbook.press.grids import results

        results(given.chapter, given.scale, jobs=given.jobs, dry_run=given.dry_run)
    elif given.command == "execute":
        from synthbook.press.execute import run_for_the_book
        from synthbook.record.chapters import find

        chapter = find(given.chapter)
        if wrong := run_for_the_book(chapter):
            sys.exit(f"\n{chapter.name} FAILED: {'; '.join(wrong)}\n")
    else:
        from synthbook.press import book

        jobs = (given.jobs,) if "jobs" in given else ()
        getattr(book, given.command)(*jobs)


if __name__ == "__main__":
    main()
