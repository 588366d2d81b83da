"""Clusters and mixtures of the instance prior: time and peak memory, against scikit-learn on all.

"Ours" is `gans.prior`: it scales the features of many images, embeds random ones in blocks
and fits `centroids` or `mixture` (to 200,000 of them, as in the paper). "All" does the same work
with scikit-learn's defaults on every image at once: G_emb, `MiniBatchKMeans` or
`GaussianMixture`. Both run in processes of their own, which print their own processor time, the
peak of resident memory above that of libraries and features, and how well the fit holds on other
images: the mean squared distance to the nearest centre, or the mean log density. The features are
a mixture of 50 Gaussians in 20 dimensions, seen through a random linear map, with noise.

Then training steps of the pairs of `gan_step.py` with vectors of 1,280 numbers, as conditions,
against the same with a class an image, and without conditions, in turns; ``--steps 0`` for none.

    python benchmarks/prior.py --images 1000000 --features 1280 --ways ours
    python benchmarks/prior.py --images 1000000 --features 128 --clusters 1000 --components 100

With ``--embedding`` equal to ``--features`` G_emb changes nothing: the features are embedded.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from classifier_throughput import machine
from gan_step import CASES, pair, seconds_a_step
from sklearn.cluster import MiniBatchKMeans
from sklearn.mixture import GaussianMixture
from torch import nn

from synthbook.data import ImageSet
from synthbook.gans.baselines.labels import instances
from synthbook.gans.networks import create_generator
from synthbook.gans.prior import Components, centroids, mixture, prior
from synthbook.gans.recipes import Training, published
from synthbook.gans.train import train
from synthbook.randomness import numpy_generator

HELD, BLOCK = 5000, 10_000


def write_features(path: Path, images: int, features: int) -> None:
    """Write ``images`` + HELD rows, block by block."""
    draw = numpy_generator(0, "benchmark")
    centres = draw.normal(0, 3, (50, 20)).astype(np.float32)
    seen = draw.normal(0, 1, (20, features)).astype(np.float32) / 20**0.5
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (images + HELD, features))
    for start in range(0, len(rows), BLOCK):
        count = min(BLOCK, len(rows) - start)
        inside = centres[draw.integers(50, size=count)] + draw.standard_normal((count, 20))
        noise = draw.standard_normal((count, features), dtype=np.float32)
        rows[start : start + count] = inside.astype(np.float32) @ seen + 0.3 * noise
    rows.flush()


def embedding(features: int, size: int) -> nn.Module:
    """Return a generator whose G_emb is a random linear map, or none where it keeps the length."""
    generator = create_generator("sngan", condition_size=features, embedding=size, channels=8)
    if features == size:
        nn.init.eye_(generator.embed.weight)
        nn.init.zeros_(generator.embed.bias)
    return generator


def ours(rows: np.ndarray, generator: nn.Module, args: argparse.Namespace) -> Components:
    given = prior(rows)
    how = {"most": args.most, "seed": 0}
    if args.fit == "centroids":
        return centroids(given, generator, clusters=args.clusters, **how)
    return mixture(given, generator, components=args.components, **how)


def size_of(rows: np.ndarray) -> np.float32:
    """Return the root of the mean square of all features."""
    return np.sqrt(np.mean(np.square(rows), dtype=np.float64)).astype(np.float32)


@torch.no_grad()
def on_all(rows: np.ndarray, generator: nn.Module, args: argparse.Namespace) -> Components:
    points = generator.embed(torch.from_numpy(rows / size_of(rows))).numpy()
    if args.fit == "centroids":
        found = MiniBatchKMeans(args.clusters, random_state=0).fit(points).cluster_centers_
        weights = np.full(len(found), 1 / len(found))
        numbers = weights, found, np.ones_like(found)
    else:
        found = GaussianMixture(args.components, covariance_type="diag", random_state=0).fit(points)
        numbers = found.weights_, found.means_, np.sqrt(found.covariances_)
    return Components(*(torch.from_numpy(x).float() for x in numbers))


@torch.no_grad()
def quality(found: Components, points: torch.Tensor, fit: str) -> float:
    if fit == "centroids":
        return torch.cdist(points, found.means).min(1).values.square().mean().item()
    normal = torch.distributions.Normal(found.means, found.deviations)
    logs = torch.cat([normal.log_prob(p[:, None]).sum(2) for p in points.split(20)])
    return (logs + found.weights.log()).logsumexp(1).mean().item()


def child(args: argparse.Namespace) -> None:
    """Fit once, and print what it took."""
    torch.set_num_threads(args.threads)
    rows = np.load(args.child)
    known, generator = rows[:-HELD], embedding(args.features, args.embedding)
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    found = {"ours": ours, "all": on_all}[args.ways](known, generator, args)
    spent = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - loaded
    held = rows[-HELD:] / size_of(known)
    with torch.no_grad():
        points = generator.embed(torch.from_numpy(np.ascontiguousarray(held)))
    held_out = quality(found, points, args.fit)
    print(json.dumps({"seconds": spent, "peak": peak * 1024, "quality": held_out}))


def measured(path: Path, args: argparse.Namespace, fit: str, way: str) -> dict[str, float]:
    names = ("features", "embedding", "clusters", "components", "most", "threads")
    given = [f"--{name}={getattr(args, name)}" for name in names]
    command = [sys.executable, __file__, *given, f"--child={path}", f"--fit={fit}", f"--ways={way}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{fit}, {way} ended with {done.returncode}: {done.stderr[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def steps(args: argparse.Namespace) -> None:
    """Time training steps with vectors, with a class an image, and without conditions, in turns."""
    images, features = 200, 1280
    draw = numpy_generator(0, "benchmark")
    vectors = torch.from_numpy(draw.normal(size=(images, features)).astype(np.float32))
    print(f"\n{'A step, ms':34}{'prior':>8}{'labels':>8}{'neither':>9}   prior / labels, neither")
    for title, (name, settings) in CASES.items():
        size = settings["image_size"]
        pixels = draw.integers(0, 256, (images, size, size, 3), dtype=np.uint8)
        noise = ImageSet(pixels, np.zeros(images, int), ("all",), "random")
        recipe = published(name, steps=args.steps + 1, batch_size=16, path_length=0.0)
        how = {"name": name, "settings": settings, "recipe": recipe}
        ways = {
            "prior": partial(
                trained, more={"condition_size": features}, data=noise, conditions=vectors, **how
            ),
            "labels": partial(trained, more={"num_classes": images}, data=instances(noise), **how),
            "neither": partial(trained, more={}, data=noise, **how),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(args.repeats + 1):
            for way, run in ways.items():
                spent = seconds_a_step(run, "cpu", time.process_time)
                if turn:  # the first one warms up
                    taken[way].append(spent)
        cells = [1000 * statistics.median(taken[way]) for way in ways]
        ratios = [
            statistics.median(a / b for a, b in zip(taken["prior"], taken[way], strict=True))
            for way in ("labels", "neither")
        ]
        print(
            f"{title:34}{cells[0]:8.1f}{cells[1]:8.1f}{cells[2]:9.1f}"
            f"{ratios[0]:10.2f}{ratios[1]:8.2f}",
            flush=True,
        )


def trained(
    tick: Callable[[], None],
    *,
    name: str,
    settings: dict[str, Any],
    recipe: Training,
    more: dict[str, int],
    data: ImageSet,
    conditions: torch.Tensor | None = None,
) -> None:
    networks = pair(name, settings | more)
    how = {"conditions": conditions, "on_step": lambda *_: tick()}
    train(*networks, data, recipe, seed=0, **how)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--embedding", type=int, default=128)
    parser.add_argument("--clusters", type=int, default=200)
    parser.add_argument("--components", type=int, default=20)
    parser.add_argument("--most", type=int, default=5000, help="the paper: 200000")
    parser.add_argument("--ways", default="ours,all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--fit", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args)
        return
    print(
        f"{machine('cpu', args.threads)}; {args.images:,} images, {args.features} features, G_emb "
        f"to {args.embedding}; {args.clusters:,} clusters, {args.components:,} components; ours on "
        f"{min(args.most, args.images):,}; CPU time, n = 1"
    )
    print(f"{'':12}{'':6}{'s':>9}{'peak GB':>9}{'held-out':>10}   ours / all: time, memory")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "features.npy")
        write_features(path, args.images, args.features)
        print(f"{'features':12}{'':6}{'':9}{path.stat().st_size / 1e9:9.2f}")
        for fit in ("centroids", "mixture"):
            taken: dict[str, dict[str, float]] = {}
            for way in args.ways.split(","):
                taken[way] = one = measured(path, args, fit, way)
                ratio = ""
                if len(taken) == 2:
                    ratios = (taken["ours"][k] / taken["all"][k] for k in ("seconds", "peak"))
                    ratio = "   {:.2f}, {:.2f}".format(*ratios)
                print(
                    f"{fit:12}{way:6}{one['seconds']:9.1f}{one['peak'] / 1e9:9.2f}"
                    f"{one['quality']:10.2f}{ratio}",
                    flush=True,
                )
    if args.steps:
        torch.set_num_threads(args.threads)
        steps(args)


if __name__ == "__main__":
    main()
