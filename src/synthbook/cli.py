"""The ``synthbook`` command: chapters, running them, claims, data, and generated data sets."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthbook import __version__
from synthbook.errors import InputError, check_choice

if TYPE_CHECKING:
    from synthbook.record.parameters import Parameters

LONGEST = 2000  # signs of an error


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code (0 done, 1 a chapter failed, 2 bad input)."""
    given = _parser().parse_args(arguments)
    try:
        return given.do(given) or 0
    except InputError as error:
        said = " ".join(str(error).split())  # what was given may have lines
        print(
            f"error: {said if len(said) <= LONGEST else f'{said[:LONGEST]} ...'}", file=sys.stderr
        )
        return 2
    except BrokenPipeError:  # as in `synthbook claims | head`
        sys.stderr.close()
        return 0
    except OSError as error:  # a full disk, a folder that may only be read
        place = f": '{error.filename}'" if error.filename else ""
        print(f"error: {error.strerror or error}{place}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what was finished is kept", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="synthbook", description=__doc__)
    parser.add_argument("--version", action="version", version=f"synthbook {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, do: Any) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(do=do)
        return made

    listing = command("chapters", "list the chapters with their parameters", show_chapters)
    listing.add_argument("chapter", nargs="?", help="one chapter only, for example 12")

    running = command("run", "run a chapter with other parameters", run_chapter)
    running.add_argument("--scale", default="mini", help="mini, or a file of params/<chapter>/")
    running.add_argument(
        "-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", dest="parameters"
    )
    running.add_argument("--output", type=Path, help="the notebook to write")
    text = "print the parameters, which printed figures such a run makes, and what would stop it; "
    text += "run nothing"
    running.add_argument("--dry-run", action="store_true", help=text)

    text = "rerun a recorded cell of each chapter and compare its rows"
    verifying = command("verify", text, verify_chapters)
    text = "for example 12_not_mutual, or 12; all that have rows if none is given"
    verifying.add_argument("chapters", nargs="*", metavar="chapter", help=text)
    verifying.add_argument("--scale", default="mini", help="a scale with recorded rows")
    text = "of the chapter's grid; the first one on record if not given"
    verifying.add_argument("--cell", default="", help=text)
    text = "train anew what _build/cache holds (not models), in a folder that is removed afterwards"
    verifying.add_argument("--afresh", action="store_true", help=text)
    text = "show which cells and how long one was seen to take; run nothing"
    verifying.add_argument("--dry-run", action="store_true", help=text)

    text = "run one seed of a claim again, and show its rows and effects old and new"
    again = command("rerun", text, rerun_claim)
    again.add_argument("claim", help="for example gap-03")
    again.add_argument("--scale", default="mini", help="a scale with recorded rows")
    again.add_argument("--seed", type=int, help="the first on record if not given")
    again.add_argument("--dry-run", action="store_true", help="show what is on record; run nothing")

    claims = command("claims", "show the claims of the studies with their verdicts", show_claims)
    claims.add_argument("--scale", help="one scale only, for example mini")
    claims.add_argument("--paper", help="one study only: gap, ready, dip, fake or prim")
    claims.add_argument("--verdict", help="one verdict only, such as holds or 'not run'")

    text = "show the data sets: origin, licence, and whether they are here"
    data = command("data", text, show_data)
    data.add_argument("--data-root", default="", help="the folder that holds downloaded sets")
    data.add_argument("--download", metavar="NAME", help="fetch a set into --data-root")

    text = "make a data set of generated images from a list of classes"
    cloning = command("clone", text, clone_classes)
    _clone_options(cloning)

    text = "write sentences about classes, to ask a text-to-image model by"
    writing = command("sentences", text, write_sentences)
    _sentence_options(writing)

    running.add_argument("chapter", help="for example 12_not_mutual, or 12")
    for made in (listing, claims, data):
        made.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _clone_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = "a file with a class a line (name, definition, parent), or a set such as imagenet100"
    add("classes", metavar="CLASSES", help=text)
    text = "a text-to-image pipeline of diffusers, a folder or its id on the Hub; or the one that "
    text += "comes with the book, web-text2image, for images of 32 pixels of what CIFAR shows"
    add("--model", required=True, help=text)
    add("--out", type=Path, required=True, help="the folder of the data set")
    add("--per-class", type=int, metavar="N", help="images of each class")
    add("--like", metavar="DATA", help="a real set, whose number of images of each class is kept")
    add("--count", type=int, metavar="N", help="images in all, in the proportions of --like")
    text = "name, parent, definition, scene or photo; or as the paper writes it, 'c, h_c'"
    add("--prompt", default="name", metavar="FORM", help=text)
    text = "a file with a scene a line, for the form 'scene'; if not given those of Places"
    add("--scenes", default="places365", metavar="FILE", help=text)
    text = "a file of sentences that `synthbook sentences` wrote, to ask by in place of a form"
    add("--sentences", type=Path, metavar="FILE", help=text)
    text = "a folder of real images by class, from which images start in place of noise alone"
    add("--from", type=Path, metavar="DIR", dest="start", help=text)
    text = "how much noise is laid over them, above 0 to 1; by their number if not given"
    add("--strength", type=float, metavar="S", help=text)
    add("--guidance-scale", type=float, default=2.0, metavar="G", help="1 and more, or 0 for none")
    add("--steps", type=int, default=50, metavar="N", help="denoising steps of an image")
    add("--size", type=int, default=0, metavar="PIXELS", help="the pipeline's own if not given")
    add("--seed", type=int, default=0, metavar="N", help="of the whole set")
    text = "a class of diffusers, such as DDIMScheduler; the pipeline's own if not given"
    add("--scheduler", default="", metavar="NAME", help=text)
    add("--format", default="folders", help="folders of PNG files, or shards (tar files)")
    add("--shard-size", type=int, default=1000, metavar="N", help="images a shard")
    add("--batch-size", type=int, default=16, metavar="N", help="images a call on a GPU")
    text = "float32, float16 or bfloat16; if not given float16 on a GPU"
    add("--precision", default="auto", help=text)
    add("--compile", action="store_true", help="put the denoising network through torch.compile")
    add("--safety-checker", action="store_true", help="replace images that the filter blackens")
    add("--revision", help="a commit, branch or tag of the Hub's repository")
    add("--variant", help="of the files of weights, such as fp16")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--worker", metavar="K/N", help="do the K-th of N parts; others do the rest")
    text = "print what it would be, and its time and room on the disk; make nothing"
    add("--dry-run", action="store_true", help=text)
    add("--rate", type=float, help="for --dry-run: images a second, which else are measured")


def _sentence_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = "a file with a class a line (name, definition, parent), or a set such as imagenet100"
    add("classes", metavar="CLASSES", help=text)
    text = "the CSV file to write; classes that it has are left as they are"
    add("--out", type=Path, required=True, help=text)
    text = "a word-to-sentence model: a folder, or its id on the Hub; if not given a small grammar"
    add("--model", default="grammar", help=text)
    add("--tokenizer", default="", help="where its tokenizer lies, if not beside it")
    add("--count", type=int, default=200, metavar="N", help="sentences of each class")
    add("--prefix", default="", help="what the model wants to read before the name")
    add("--temperature", type=float, default=1.0, help="of sampling; higher is more varied")
    add("--top-k", type=int, default=50, metavar="K", help="likeliest tokens; 0 for all")
    add("--top-p", type=float, default=1.0, metavar="P", help="share of probability")
    add("--seed", type=int, default=0, metavar="N", help="of all sentences")
    add("--revision", help="a commit, branch or tag of the Hub's repository")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def show_chapters(given: argparse.Namespace) -> None:
    """Print the chapters, their scales and their parameters."""
    from synthbook.record.chapters import chapters, declared, find

    every = [find(given.chapter)] if given.chapter else chapters()
    entries = [
        {
            "name": chapter.name,
            "title": chapter.title,
            "scales": list(chapter.scales),
            "parameters": [field._asdict() for field in declared(chapter.name)],
        }
        for chapter in every
    ]
    if given.json:
        return _print_json(entries)
    for entry in entries:
        print(f"{entry['name']}: {entry['title']}  [{', '.join(entry['scales'])}]")
        for field in entry["parameters"]:
            left = f"{field['name']}: {field['type']} = {field['default']!r}"
            print(f"    {left:44} {field['help']}")


def run_chapter(given: argparse.Namespace) -> int | None:
    """Check the parameters, run the chapter with papermill, and record where it came from.

    ``$SYNTHBOOK_DATA`` is the folder of downloaded data sets where no ``data_root`` is given.
    """
    import time

    from synthbook.press import rehearsal
    from synthbook.press.execute import run
    from synthbook.record.chapters import MINI, declared, find, scale_values
    from synthbook.record.parameters import check_values
    from synthbook.record.rows import provenance
    from synthbook.store import atomic_write, check_writable, root

    chapter = find(given.chapter)
    types = {field.name: field.type for field in declared(chapter.name)}
    values = scale_values(chapter.name, given.scale)
    if os.environ.get("SYNTHBOOK_DATA") and "data_root" in types:
        values = {"data_root": os.environ["SYNTHBOOK_DATA"]} | values
    for text in given.parameters:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"-p {text} has no '='; write -p NAME=VALUE, for example -p seeds=5")
        values[name.strip()] = rehearsal.value_of(value.strip(), types.get(name.strip(), ""))
    checked = check_values(chapter.name, values, given.scale)
    if given.scale == MINI:
        values = _fitted(checked, set(types) - set(values)) | values
        checked = check_values(chapter.name, values)
    if given.dry_run:
        from synthbook.press.plan import plan

        print(plan(checked, given.scale), flush=True)
        try:
            said = rehearsal.rehearse(chapter.script, values)
        except InputError as error:
            raise InputError(f"as things are, this run would stop at once: {error}") from None
        return print(said, end="", file=sys.stderr)
    said = rehearsal.rehearse(chapter.script, values)
    output = given.output or root() / "_build" / "runs" / f"{chapter.name}-{checked.hash}.ipynb"
    if output.suffix != ".ipynb":
        raise InputError(f"--output {output} is no name of a notebook; end it in .ipynb")
    saved = output.with_suffix(".json")
    check_writable(output, "the notebook")
    check_writable(saved, "the record of the run")
    if given.output:
        rehearsal.check_replaceable(output, saved)
    print(said, end="", file=sys.stderr, flush=True)
    start = time.monotonic()

    def note(completed: bool) -> None:
        record = {
            "chapter": chapter.name,
            "scale": given.scale,
            "parameters": checked.as_dict(),
            "completed": completed,
            "seconds": round(time.monotonic() - start, 1),
            "provenance": provenance(checked).model_dump(),
        }
        with atomic_write(saved) as stream:
            json.dump(record, stream, indent=1, default=str)

    note(completed=False)  # it also says that the notebook beside it is a run's
    if fault := run(chapter, values, output, bar=sys.stderr.isatty()):
        print(f"error: {chapter.name}: {fault}", file=sys.stderr)
    note(completed=not fault)
    print(f"{'partial notebook' if fault else 'notebook'}: {output}")
    return int(bool(fault))


def _fitted(parameters: Parameters, free: set[str]) -> dict[str, Any]:
    """Return what fits images of the reader's own, of the ``free`` parameters; say so."""
    from synthbook.studies import fit

    if not (images := fit.own_images(parameters)):
        return {}
    fits = {k: v for k, v in fit.fitting_of(parameters, images).items() if k in free}
    if fits:
        said = f"to fit {images:,} training images, unless given: {fit.written(fits)}"
        print(said, file=sys.stderr)
    return fits


def verify_chapters(given: argparse.Namespace) -> int:
    """Run a recorded cell of each chapter again, and say how far rows agree with the recorded ones.

    Differences such as two seeds show are no fault: see `record.agreement`. What fails in one
    chapter (exit code 1 at the end) does not keep the others from being run.
    """
    from synthbook.press.grids import grid, to_verify, verify
    from synthbook.record.chapters import chapters, find
    from synthbook.record.rows import recorded_rows

    scale, names = given.scale, [find(name).name for name in given.chapters]
    if given.cell and len(names) != 1:
        raise InputError(f"--cell {given.cell} is of one chapter's grid; name that chapter alone")
    names = names or [one.name for one in chapters() if recorded_rows(one.name, scale)]
    if not names:
        raise InputError(f"no chapter has rows on record at scale '{scale}'; make results first")
    todo = {name: to_verify(name, scale, given.cell).name for name in names}
    fails = 0
    for name, cell in todo.items():
        what = f"{name}, {scale}, {cell}"
        if given.dry_run:
            print(f"{what}: {grid(name, scale).time(1)}")
            continue
        try:
            agreement = verify(name, scale, cell, afresh=given.afresh)[1]
        except InputError as error:
            if len(todo) == 1:
                raise
            print(f"{what}: {error}", file=sys.stderr, flush=True)
            fails += 1
        else:
            print(f"{what}: {agreement.text}", flush=True)
            fails += not (agreement.ok and agreement.compared)
    return int(bool(fails))


def rerun_claim(given: argparse.Namespace) -> None:
    """Print what a claim asks, its recorded rows of a seed, and what running it now gives."""
    from synthbook.press import rerun

    found = rerun.find(given.claim, given.scale, given.seed)
    print(rerun.before(found), flush=True)
    if not given.dry_run:
        print(rerun.after(found))


def show_claims(given: argparse.Namespace) -> None:
    """Print each claim's verdict at each scale that has recorded rows."""
    from synthbook.claims.catalogue import claims
    from synthbook.claims.decide import VERDICTS, to_json, verdicts
    from synthbook.page.claims_page import known_scales

    for option, known in (("scale", known_scales()), ("verdict", VERDICTS)):
        if value := getattr(given, option):
            check_choice(f"--{option}", value, known)
    found = verdicts(scale=given.scale, paper=given.paper)
    if given.verdict:
        found = [v for v in found if v.verdict == given.verdict]
    if given.json:
        return _print_json(to_json(found))
    statements = {claim.id: claim.statement for claim in claims(given.paper)}
    for v in found:
        print(f"{v.id:9} {v.scale:10} {v.verdict:10} {v.effect_text:36} {statements[v.id]}")


def show_data(given: argparse.Namespace) -> int | None:
    """Print the data sets that chapters can name, or download one."""
    from synthbook import data

    if given.download:
        try:
            data.fetch(given.download, given.data_root)
        except (OSError, RuntimeError) as error:  # no network, a full disk, another checksum
            reason = " ".join(str(error).split())
            print(f"error: {given.download} was not downloaded ({reason}); try again, or put it "
                  "there by hand as 'synthbook data' says", file=sys.stderr)  # fmt: skip
            return 1
    entries = data.available(given.data_root)
    if given.json:
        return _print_json(entries)
    for entry in entries:
        state = "here" if entry["present"] else "not here"
        print(f"{entry['name']:19} {state:9} {entry['origin']}")
        print(f"{'':29} terms: {entry['licence']}")
        if not entry["present"]:
            print(f"{'':29} to get it: {entry['how']}")
    return None


def clone_classes(given: argparse.Namespace) -> None:
    """Make a data set of generated images, or say what it would cost."""
    from synthbook.generate.clone_command import run
    from synthbook.studies import web

    run(given, {web.TEXT2IMAGE: web.text_to_image})


def write_sentences(given: argparse.Namespace) -> None:
    """Write a file of sentences about classes."""
    from synthbook.generate.sentence_command import run

    run(given)


if __name__ == "__main__":
    sys.exit(main())
