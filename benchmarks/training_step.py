"""What the book's training loops cost at 32 pixels, as ratios of one run.

- `fit`, with mirrored images as the chapters have it, against the bare forward pass, backward pass
  and step of the optimiser on one batch that is already there. A ratio of images per second; what
  is missing to 1 is drawing, cutting and mirroring batches, and looking at the losses.
- A step of a diffusion model and of a GAN, by the recipes of the book's models, in the precision
  that "auto" takes against float32, where those differ: on a GPU, or a processor with AMX.

Blocks of both alternate, and the ratio is the median over pairs of blocks, so that a busy machine
slows both; on the CPU its own time is counted, not the wall's.

    python benchmarks/training_step.py --threads 1 --repeats 10
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from classifier_throughput import machine
from guidance import compare, heading, synchronise

from synthbook.data import ImageSet
from synthbook.generate.models import FAMILIES
from synthbook.generate.recipes import RECIPE_OF
from synthbook.machine import fast_precision
from synthbook.randomness import torch_generator
from synthbook.recognize.models import create_classifier
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import create_optimizer, fit

BATCH, SIZE, CLASSES = 64, 32, 10
AIMS = {"fit": 0.95, "auto": 2.0}
NETWORKS = ("small_cnn", "efficientnet_lite0")


def pictures(count: int) -> ImageSet:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    classes = tuple(str(k) for k in range(CLASSES))
    return ImageSet(pixels, np.arange(count) % CLASSES, classes, "random")


def fit_and_bare(
    backbone: str, images: ImageSet, device: str
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return an epoch of ``fit``, and as many bare steps on one batch."""
    recipe = Recipe(1, BATCH, 1e-3, flip=True)
    how = {"num_classes": CLASSES, "channels": 3, "image_size": SIZE}
    models = [create_classifier(backbone, **how).to(device).train() for _ in range(2)]
    draws, optimizer = torch_generator(0, "benchmark"), create_optimizer(models[1], recipe)
    x = torch.rand(BATCH, SIZE, SIZE, 3, generator=draws).permute(0, 3, 1, 2).to(device)
    y = torch.randint(CLASSES, (BATCH,), generator=draws).to(device)

    def bare() -> None:
        for _ in range(len(images) // BATCH):
            loss = F.cross_entropy(models[1](x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return lambda: fit(models[0], images, recipe, seed=0, device=device), bare


def step_seconds(
    family: str, images: ImageSet, precision: str, device: str, steps: int
) -> list[float]:
    """Return the seconds of each but the first steps of a training by the book's recipe."""
    recipe = replace(RECIPE_OF[family]("book", SIZE), steps=steps + 2, precision=precision)
    clock = time.process_time if device == "cpu" else time.perf_counter
    marks: list[float] = []

    def on_step(*_: object) -> None:
        synchronise(device)
        marks.append(clock())

    FAMILIES[family].train(images, recipe, seed=0, device=device, on_step=on_step)
    return np.diff(marks)[1:].tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1280, help="in an epoch of fit")
    parser.add_argument("--steps", type=int, default=10, help="of a generator, in a block")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{machine(args.device, args.threads)}; n = {args.repeats} turns a line; median")
    images = pictures(args.images // BATCH * BATCH)
    heading("images/s", "fit", "bare")
    for backbone in NETWORKS:
        runs = fit_and_bare(backbone, images, args.device)
        pair = compare(runs, args.device, args.repeats)
        ratios = [bare / ours for ours, bare in zip(*pair, strict=True)]
        rates = [len(images) / statistics.median(part) for part in pair]
        line(f"{backbone}, {SIZE} px, batch {BATCH}", rates, ratios, AIMS["fit"])
    if fast_precision(args.device) == "float32":
        print(f"\n'auto' is float32 on this device ({args.device}): nothing to compare.")
        return
    heading("milliseconds a step", "auto", "float32")
    for family in FAMILIES:
        auto, full, ratios = [], [], []
        for _ in range(args.repeats):
            for taken, precision in ((auto, "auto"), (full, "float32")):
                block = step_seconds(family, images, precision, args.device, args.steps)
                taken.append(statistics.median(block))
            ratios.append(full[-1] / auto[-1])
        title = f"{family}, {SIZE} px, batch {RECIPE_OF[family]('book', SIZE).batch_size}"
        millis = [1000 * statistics.median(part) for part in (auto, full)]
        line(title, millis, ratios, AIMS["auto"])


def line(title: str, values: list[float], ratios: list[float], aim: float) -> None:
    low, middle, high = statistics.quantiles(ratios, n=4)
    verdict = f"{aim:6.2f} {'met' if round(middle, 2) >= aim else 'missed'}"
    spread = f"{low:.2f} to {high:.2f}"
    print(f"{title:54}{values[0]:9.1f}{values[1]:9.1f}{middle:7.2f}  {spread:14}{verdict}")


if __name__ == "__main__":
    main()
