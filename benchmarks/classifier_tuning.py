"""Classifier tuning on cached features against encoding the images in every epoch, in one run.

The encoder has the size of the book's `web-clip`, with random weights, and sees 500 synthetic
images of each of ten classes. An epoch "encoding" is what a plain loop does: the frozen image tower
on all images, batch by batch, and a step of AdamW on the head each; "cached" is `recognize.tuning`
on features that are there. The last line is a whole grid of trainings like those of the chapters on
zero and few shots, all at once and one after the other. Times are of the processor.

    python benchmarks/classifier_tuning.py
    python benchmarks/classifier_tuning.py --images 2000 --seeds 5 --steps 480
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from classifier_throughput import machine
from torch.nn import functional as F

from synthbook.data import ImageSet, few_shot
from synthbook.recognize import language_image
from synthbook.recognize.clip import Encoded, Encoder, encoder
from synthbook.recognize.heads import random_head, unit
from synthbook.recognize.language_image import ClipConfig
from synthbook.recognize.tuning import STAGES, Run, TuningRecipe, positions, tune

CLASSES = 10


def encoding_epoch(look: Encoder, images: ImageSet, head: np.ndarray, batch: int) -> float:
    """Return the processor's seconds of an epoch that encodes its batches."""
    weights = (look.scale * torch.from_numpy(head)).requires_grad_()
    optimizer = torch.optim.AdamW([weights], lr=1e-3, fused=True)
    labels = torch.from_numpy(images.labels)
    begin = time.process_time()
    for rows in positions(len(images), len(images) // batch, batch, seed=0, part="synthetic"):
        x = torch.from_numpy(look.images(images.images[rows.numpy()]))
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(x @ weights.T, labels[rows]).backward()
        optimizer.step()
    return time.process_time() - begin


def grid(synthetic: Encoded, train: Encoded, head: np.ndarray, seeds: int) -> list[Run]:
    """Return runs: synthetic sets with both losses, and five numbers of shots by all strategies."""
    runs = []
    for seed in range(seeds):
        base = Run(head, seed, synthetic=synthetic, teacher=head)
        runs += [replace(base, loss=loss) for loss in ("CE", "SCE") for _ in range(3)]
        for shots in (1, 2, 4, 8, 16):
            real = few_shot(train, shots, seed=seed)
            runs += [replace(base, real=real, strategy=s) for s in STAGES if s != "synthetic"]
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=500, help="of each class")
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--epochs", type=int, default=30, help="of the cached way")
    parser.add_argument("--seeds", type=int, default=2, help="of the grid")
    parser.add_argument("--steps", type=int, default=200, help="of each run of the grid")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    draw, config = np.random.default_rng(0), ClipConfig()
    count = args.images * CLASSES
    pixels = draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    names = tuple(map(str, range(CLASSES)))
    images = ImageSet(pixels, np.arange(count) % CLASSES, names, "noise")
    head = random_head(CLASSES, config.embed_dim, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        language_image.save(language_image.create(config, seed=0), config, Path(folder))
        look = encoder(f"local-dir:{folder}")
    torch.optim.AdamW([torch.zeros(1)])  # the first optimiser imports for seconds
    print(f"{machine('cpu', args.threads)}; {count} images of {CLASSES} classes; n = 1")

    features = unit(head[images.labels] + draw.normal(0, 0.1, (count, 128)).astype(np.float32))
    held = Encoded(features, images.labels, names, "noise")
    steps = args.epochs * (count // args.batch)
    recipe = TuningRecipe(steps=steps, batch_size=args.batch, measure_every=steps)
    plain = encoding_epoch(look, images, head, args.batch)
    begin = time.process_time()
    tune([Run(head, 0, synthetic=held)], recipe, scale=look.scale)
    cached = (time.process_time() - begin) / args.epochs
    print(f"an epoch: encoding {plain:.2f} s, cached {cached:.4f} s, {plain / cached:.0f} times")

    recipe = TuningRecipe(steps=args.steps, batch_size=128, measure_every=20)
    runs, few = grid(held, held, head, args.seeds), held.subset(np.arange(1000))
    how = {"scale": look.scale, "validation": few, "test": few}
    begin = time.process_time()
    together = tune(runs, recipe, **how)
    whole = time.process_time() - begin
    begin = time.process_time()
    alone = [tune([run], recipe, **how)[0] for run in runs]
    each = time.process_time() - begin
    far = max(np.abs(a.last - b.last).max() for a, b in zip(together, alone, strict=True))
    print(f"{len(runs)} runs of {args.steps} steps: together {whole:.1f} s, one after the other "
          f"{each:.1f} s, {each / whole:.1f} times; heads differ by {far:.0e} at most")  # fmt: skip


if __name__ == "__main__":
    main()
