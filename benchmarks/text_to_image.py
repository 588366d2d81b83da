"""Images per second of generated data sets against a plain loop of one prompt a call.

- `TextToImage.images` against calling the same pipeline for one prompt after the other, as one
  does it by hand: same prompts, steps, guidance and schedule, and noise from a seed an image.
- What plan, files, shards and reports add to the images of a whole data set (`dataset.make`), as
  folders and as shards: the processor's time of all threads over that of the images in the same
  run. And the time of starting it again when all is there.

Pipelines are those of the tests, Stable Diffusion's classes with small untrained parts; or one of
your own by --model. On the CPU its own time is counted, not the wall's, and both ways take turns.

    python benchmarks/text_to_image.py --threads 1 --images 32 --repeats 5
"""

from __future__ import annotations

import argparse
import runpy
import tempfile
import time
from functools import partial
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a pipeline of your own: its folder, or its id on the Hub")
    parser.add_argument("--images", type=int, default=32, help="in a turn")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    parser.add_argument("--batch-size", type=int, default=16, help="on a GPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
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
        if args.model:
            pipeline = opened(args.model, **how).pipeline
            compare(args.model, Timed(pipeline, **how), args, place)
            return
        top = Path(__file__).parents[1]
        build = runpy.run_path(str(top / "tests/generate/tiny_pipelines.py"))["stable_diffusion"]
        for k, (name, shape) in enumerate(SIZES.items()):
            pipeline = build(place / "words", **shape)
            compare(name, Timed(pipeline, **how), args, place / str(k))


if __name__ == "__main__":
    main()
