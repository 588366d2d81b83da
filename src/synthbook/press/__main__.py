"""``python -m synthbook.press``: what ``make`` and Snakemake call; a reader does not have to."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from synthbook.errors import InputError


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m synthbook.press", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("book", "notebooks", "results"):
        commands.add_parser(name).add_argument("--jobs", type=int, default=2)
    for name in ("pairing", "agreement", "execute", "cell"):
        commands.add_parser(name)
    commands.choices["execute"].add_argument("chapter")
    for name in ("chapter", "scale", "name"):
        commands.choices["cell"].add_argument(name)
    commands.choices["cell"].add_argument("output", type=Path)
    results = commands.choices["results"]
    results.add_argument("--chapter", required=True)
    results.add_argument("--scale", default="mini")
    results.add_argument("--only", default="", metavar="TEXT", help="cells with it in their names")
    results.add_argument("--dry-run", action="store_true")
    for name in ("results", "cell"):
        commands.choices[name].add_argument("--workers", type=int, default=1)
    given = vars(parser.parse_args(arguments))
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    from synthbook.press import book, execute, grids
    from synthbook.store import root

    command = given.pop("command")
    module = {"results": grids, "cell": grids, "execute": execute}.get(command, book)
    try:
        getattr(module, command)(**given)
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:  # a full disk, a folder that may only be read
        sys.exit(f"error: {error.strerror or error}: '{error.filename or root() / '_build'}'")
    except KeyboardInterrupt:
        print("stopped; what was finished is kept", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
