"""Images per second of the book's diffusion model against its weights in a plain diffusers loop.

Ours is what a `Bank` does: `diffusion.sample` with DPM-Solver++ and the steps on the model's card,
in mixed precision where the processor has it. The plain loop is the usual one: the flow-matching
Euler scheduler of diffusers with 50 steps, float32. Both draw the same labels in the same batches
and take turns; on the CPU its own time is counted, not the wall's. Then the ratio is taken apart:
the plain loop with as many steps as ours, and ours in float32. In the end the Frechet distances of
both ways' images to validation images, since faster images are to be no worse.

    python benchmarks/sampling.py --threads 1 --images 250 --repeats 5
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from classifier_throughput import machine
from diffusers import FlowMatchEulerDiscreteScheduler
from guidance import seconds
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from synthbook.data import load
from synthbook.generate import diffusion, models
from synthbook.generate.banks import BATCH
from synthbook.generate.models import Generator, loaded
from synthbook.generate.pipeline import ClassConditionalPipeline
from synthbook.measure.features import extractor
from synthbook.measure.fidelity import gaussian, gaussian_distance
from synthbook.randomness import numpy_generator, torch_generator
from synthbook.training import mixed

PLAIN_STEPS, AIM = 50, 2.0
Draw = Callable[[list[int], int], np.ndarray]  # (labels, seed) -> uint8 [N, H, W, C]


@torch.no_grad()
def plain_loop(
    pipeline: ClassConditionalPipeline, labels: list[int], seed: int, *, steps: int
) -> np.ndarray:
    """Return an image a label, drawn by a plain loop over a network, a scheduler and its steps."""
    unet, patch = pipeline.unet, pipeline.config.patch
    size, channels = unet.config.sample_size * patch, unet.config.in_channels // patch**2
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
    scheduler.set_timesteps(steps)
    shape = (len(labels), channels, size, size)
    noise = torch.randn(shape, generator=torch_generator(seed, "plain"))
    x, classes = pixel_unshuffle(noise.to(unet.device), patch), torch.tensor(labels).to(unet.device)
    for t in scheduler.timesteps:
        x = scheduler.step(unet(x, t, classes).sample, t, x).prev_sample
    x = pixel_shuffle(x, patch).permute(0, 2, 3, 1)
    return ((x / 2 + 0.5).clamp(0, 1) * 255).round().byte().cpu().numpy()


def ours(
    pipeline: ClassConditionalPipeline, labels: list[int], seed: int, *, steps: int, device: str,
    precision: str = "auto",
) -> np.ndarray:  # fmt: skip
    """Return an image a label, drawn as for a bank."""
    with mixed(precision, device):
        return diffusion.sample(
            pipeline, labels, guidance_scale=1.0, num_inference_steps=steps, seed=seed,
            batch_size=BATCH, device=device,
        )  # fmt: skip


def labels_of(model: Generator, count: int) -> list[int]:
    """Return labels of a model's own classes, as often as in its training."""
    shares = np.array(model.card["shares"])
    draw = numpy_generator(0, "benchmark labels")
    return draw.choice(len(shares), count, p=shares / shares.sum()).tolist()


def distances(ways: dict[str, Draw], model: Generator, count: int, device: str) -> None:
    """Print the Frechet distance of each way's images to the validation images."""
    look, real = extractor(device=device), load("caltech10").val
    centre = gaussian(look(real.images))
    for name, draw in ways.items():
        labels = labels_of(model, count)
        parts = [labels[start : start + BATCH] for start in range(0, count, BATCH)]
        images = np.concatenate([draw(part, seed) for seed, part in enumerate(parts)])
        print(f"{name:54}{gaussian_distance(centre, gaussian(look(images))):9.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="its folder; by default the book's, number 0")
    parser.add_argument("--images", type=int, default=64, help="in a turn, one batch or less")
    parser.add_argument("--judged", type=int, default=1000, help="for the distances; 0 for none")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train = load("caltech10").train
    if args.model:
        model = models.opened(args.model, device=args.device)
    else:
        model = models.find("diffusion", train.fingerprint(), train.classes, seed=0)
    if model is None:
        parser.error("no diffusion model of caltech10 is kept; train it with make models")
    pipeline, steps = loaded(model), model.card["sampling"]["num_inference_steps"]
    pipeline.to(args.device)
    how = {"steps": steps, "device": args.device}
    ways: dict[str, Draw] = {
        f"ours, {steps} steps": partial(ours, pipeline, **how),
        f"plain loop, {PLAIN_STEPS} steps": partial(plain_loop, pipeline, steps=PLAIN_STEPS),
        f"plain loop, {steps} steps": partial(plain_loop, pipeline, steps=steps),
        f"ours, {steps} steps, float32": partial(ours, pipeline, precision="float32", **how),
    }
    print(f"{machine(args.device, args.threads)}; {model.card['name']}")
    print(f"n = {args.repeats} turns of {args.images} images a line, after one; median\n")
    print(f"{'':54}{'images/s':>9}{'ours is':>9}{'aim':>6}")
    labels = labels_of(model, args.images)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(args.repeats + 1):
        for name, draw in ways.items():
            spent = seconds(partial(draw, labels, turn), args.device, 1)
            if turn:  # the first one warms up
                taken[name].append(spent)
    first, *others = ways
    for name, times in taken.items():
        ratio = float(np.median(np.array(times) / np.array(taken[first])))
        aim = f"{AIM:6.1f} {'met' if ratio >= AIM else 'missed'}" if name == others[0] else ""
        print(f"{name:54}{args.images / np.median(times):9.1f}{ratio:8.2f}x{aim}")
    if args.judged:
        print(f"\n{'Frechet distance to validation images':54}{'EfficientNet':>9}")
        distances(
            {name: ways[name] for name in (first, others[0])}, model, args.judged, args.device
        )


if __name__ == "__main__":
    main()
