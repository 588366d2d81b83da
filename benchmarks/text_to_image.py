"""Images per second of generated data sets against a plain loop of one prompt a call.

- `TextToImage.images` against calling the same pipeline for one prompt after the other, as one
  does it by hand: same prompts, steps, guidance and schedule, and noise from a seed an image.
- The same on several cores by the clock: `dataset.make` by as many processes as there are cores,
  each with one, against the plain loop in one process with as many threads (--workers).
- What plan, files, shards and reports add to the images of a whole data set (`dataset.make`), as
  folders and as shards: the processor's time of all threads over that of the images in the same
  run. And the time of starting it again when all is there.

Pipelines are those of the tests, Stable Diffusion's classes with small untrained parts; or one of
your own by --model. On the CPU its own time is counted, not the wall's, and both ways take turns.

    python benchmarks/text_to_image.py --threads 1 --images 32 --repeats 5
    python benchmarks/text_to_image.py --workers 2
"""

from __future__ import annotations

import argparse
import multiprocessing
import runpy
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import torch
from classifier_throughput import machine
from guidance import seconds

from synthbook.generate.dataset import make
from synthbook.generate.dataset_plan import FORMATS, Plan
from synthbook.generate.text import Made, TextToImage, opened
from synthbook.randomness import torch_generator

CLASSES = ("cat", "dog", "plane", "ship")
AIM, AIM_GPU, AIM_OVERHEAD = 3.0, 5.0, 3.0  # the last in percent
SIZES = {"16 px": {}, "32 px": {"side": 32, "channels": (32, 64), "width": 64}}


def plan_of(generator: TextToImage, args: argparse.Namespace, form: str) -> Plan:
    prompts = tuple((f"{name}, an object in a photograph",) for name in CLASSES)
    counts = tuple(len(range(k, args.images, len(CLASSES))) for k in range(len(CLASSES)))
    return Plan(
        CLASSES, prompts, counts, 0, args.guidance_scale, args.steps, 0, form, 1000,
        generator.identity,
    )  # fmt: skip


def plain_loop(generator: TextToImage, plan: Plan) -> None:
    """Make the images of a plan by a call each."""
    for row in (plan.image(position) for position in range(len(plan))):
        output = generator.pipeline(
            row.prompt, guidance_scale=row.guidance_scale,
            num_inference_steps=row.num_inference_steps,
            generator=torch_generator(row.seed, "text to image", 0), output_type="np",
        )  # fmt: skip
        np.rint(output.images[0] * 255).astype(np.uint8)


class Timed(TextToImage):
    """A generator that adds up the time of its images, apart from that of writing them."""

    def images(self, *given: object, **how: object) -> Made:
        clock = time.thread_time if self.device == "cpu" else time.perf_counter
        begin = clock()
        made = super().images(*given, **how)
        self.spent = getattr(self, "spent", 0.0) + clock() - begin
        return made


def spread(values: list[float]) -> str:
    return f"{np.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def compare(name: str, generator: Timed, args: argparse.Namespace, place: Path) -> None:
    plans = {form: plan_of(generator, args, form) for form in FORMATS}
    taken: dict[str, list[float]] = {way: [] for way in ("loop", "images", *FORMATS)}
    for turn in range(args.repeats + 1):
        loop = seconds(partial(plain_loop, generator, plans["folders"]), args.device, 1)
        for form, plan in plans.items():
            generator.spent = 0.0
            whole = partial(make, plan, generator, place / f"{form}-{turn}")
            more = seconds(whole, args.device, 1) / generator.spent - 1
            if turn:  # the first one warms up
                taken[form].append(100 * more)
                taken["images"].append(generator.spent)
        if turn:
            taken["loop"].append(loop)
    rates = {way: args.images / np.median(taken[way]) for way in ("images", "loop")}
    ratios = [x / y for x, y in zip(taken["loop"], taken["images"][::2], strict=True)]
    aim = AIM if args.device == "cpu" else AIM_GPU
    print(f"{name}: {rates['images']:.3g} images/s, plain loop {rates['loop']:.3g}")
    print(f"  ratio {spread(ratios)}, aim {aim:g} {'met' if min(ratios) >= aim else 'missed'}")
    for form, plan in plans.items():
        met = "met" if np.median(taken[form]) <= AIM_OVERHEAD else "missed"
        print(f"  {form} add {spread(taken[form])} %, aim {AIM_OVERHEAD:g} {met}")
        again = seconds(partial(make, plan, generator, place / f"{form}-1"), args.device, 1)
        share = again / np.median(taken["images"])
        print(f"  {form}, started again when all is there: {100 * share:.2g} % of making them")


def working(
    folder: str, plan: Plan, place: Path, k: int, args: argparse.Namespace, turns: Barrier
) -> None:
    """Make a part of the data set in every turn, when all workers are ready."""
    torch.set_num_threads(1)
    generator = opened(folder)
    generator.images([plan.image(0).prompt], [0], num_inference_steps=2)  # warms up
    for turn in range(args.repeats):
        turns.wait()  # all begin
        make(plan, generator, place / str(turn), worker=(k, args.workers))
        turns.wait()  # all have ended


def on_all_cores(name: str, folder: str, args: argparse.Namespace, place: Path) -> None:
    """Print the rate of a process a core over that of the plain loop with a thread a core."""
    torch.set_num_threads(args.workers)
    generator = opened(folder)
    plan = plan_of(generator, args, "folders")
    few = plan_of(generator, argparse.Namespace(**{**vars(args), "images": 4}), "folders")
    plain_loop(generator, few)  # warms up
    context = multiprocessing.get_context("spawn")
    turns = context.Barrier(args.workers + 1)
    workers = [
        context.Process(target=working, args=(folder, plan, place, k, args, turns))
        for k in range(args.workers)
    ]
    for worker in workers:
        worker.start()
    taken = []
    for _ in range(args.repeats):
        turns.wait()
        begin = time.perf_counter()
        turns.wait()
        made, begin = time.perf_counter() - begin, time.perf_counter()
        plain_loop(generator, plan)
        taken.append((made, time.perf_counter() - begin))
    for worker in workers:
        worker.join()
    made, loop = (args.images / np.median(times) for times in zip(*taken, strict=True))
    ratios = [plain / ours for ours, plain in taken]
    print(f"{name}: {args.workers} processes {made:.3g} images/s, plain loop {loop:.3g}")
    print(f"  ratio {spread(ratios)}, aim {AIM:g} {'met' if min(ratios) >= AIM else 'missed'}")


def pipelines(model: str | None, place: Path) -> Iterator[tuple[str, str]]:
    """Yield names and folders: one's own pipeline, or small ones that are made in ``place``."""
    if model:
        yield model, model
        return
    top = Path(__file__).parents[1]
    build = runpy.run_path(str(top / "tests/generate/tiny_pipelines.py"))["stable_diffusion"]
    for name, shape in SIZES.items():
        build(place / "words", **shape).save_pretrained(where := str(place / name))
        yield name, where


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a pipeline of your own: its folder, or its id on the Hub")
    parser.add_argument("--images", type=int, default=32, help="in a turn")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    parser.add_argument("--batch-size", type=int, default=16, help="on a GPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes, with a core each")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    how = {"batch_size": args.batch_size, "device": args.device}
    print(machine(args.device, args.threads))
    print(
        f"n = {args.repeats} turns of {args.images} images of {args.steps} steps, median (range)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for k, (name, where) in enumerate(pipelines(args.model, place)):
            if args.workers:
                on_all_cores(name, where, args, place / str(k))
            else:
                compare(name, Timed(opened(where, **how).pipeline, **how), args, place / str(k))


if __name__ == "__main__":
    main()
