"""Training images per second: `recognize.fit` against a plain loop over a torch DataLoader.

Both train the same small network on the same random RGB images with random crops (padding an
eighth of the side) and flips, in batches of 128 with Adam. The plain loop is the usual one: a
TensorDataset, torchvision transforms an image, the model in torch's default memory order. Lines
marked "channels_last" give the plain loop that one advantage of `fit` too. "loader only" makes
the batches and trains nothing. The variants take turns, so that a busy machine slows all of them.

    python benchmarks/classifier_throughput.py --sizes 8 32 --threads 1 --repeats 5
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.transforms import v2

from synthbook.data import ImageSet
from synthbook.recognize.batches import Stream, cuts
from synthbook.recognize.models import create_classifier
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import fit

BATCH, RATE = 128, 1e-3


class Transformed(Dataset):
    """A TensorDataset whose images go through transforms one by one."""

    def __init__(self, tensors: TensorDataset, size: int) -> None:
        self.tensors = tensors
        self.transform = v2.Compose(
            [
                v2.RandomCrop(size, padding=size // 8),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
            ]
        )

    def __len__(self) -> int:
        return len(self.tensors)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = self.tensors[index]
        return self.transform(image), label


def network(size: int, device: str) -> nn.Module:
    model = create_classifier("small_cnn", num_classes=10, channels=3, image_size=size)
    return model.to(device)


def plain_epoch(model: nn.Module, loader: DataLoader, device: str, order: torch.memory_format):
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    model.train()
    for images, labels in loader:
        images = images.to(device, memory_format=order)
        loss = F.cross_entropy(model(images), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def variants(images: ImageSet, device: str) -> dict[str, Callable[[], object]]:
    """Return name -> a function that goes through all images once."""
    size = images.image_size
    recipe = Recipe(1, BATCH, RATE, crop_padding=size // 8, flip=True)
    pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2).contiguous()
    dataset = Transformed(TensorDataset(pixels, torch.from_numpy(images.labels)), size)
    stream = Stream(images, recipe, name="train", seed=0, device=device)
    ours = network(size, device)
    found: dict[str, Callable[[], object]] = {
        "fit": lambda: fit(ours, images, recipe, seed=0, device=device)
    }
    loaders = {}
    for workers in (0, 2):
        loader = DataLoader(
            dataset, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
        )
        loaders[workers] = loader
        for label, order in (
            ("", torch.contiguous_format),
            (", channels_last", torch.channels_last),
        ):
            model = network(size, device).to(memory_format=order)
            found[f"DataLoader, {workers} workers{label}"] = (
                lambda model=model, loader=loader, order=order: plain_epoch(
                    model, loader, device, order
                )
            )
    found["loader only: fit"] = lambda: list(stream.epoch(0, cuts(len(images), BATCH)))
    for workers, loader in loaders.items():
        found[f"loader only: DataLoader, {workers} workers"] = lambda loader=loader: [
            None for _ in loader
        ]
    return found


def seconds(run: Callable[[], object], device: str) -> float:
    begin = time.perf_counter()
    run()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def machine(device: str, threads: int, *packages: ModuleType) -> str:
    """Return in a line what a benchmark ran on, for its heading."""
    if device != "cpu":
        name = torch.cuda.get_device_name()
    else:
        info = Path("/proc/cpuinfo")
        lines = info.read_text().splitlines() if info.is_file() else []
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        name = f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    versions = ", ".join(f"{p.__name__} {p.__version__}" for p in (torch, *packages))
    return f"{name}{load}; Python {platform.python_version()}, {versions}; {threads} threads"


def measure(args: argparse.Namespace, size: int) -> None:
    """Time every variant and print a table; the ratios are medians over turns."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (args.images, size, size, 3), dtype=np.uint8)
    images = ImageSet(pixels, rng.integers(0, 10, args.images), tuple("0123456789"), "random")
    runs = variants(images, args.device)
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(args.repeats + 1):
        for name, run in runs.items():
            time_taken = seconds(run, args.device)
            if turn:  # the first one warms up
                taken[name].append(time_taken)
    title = f"small_cnn, {args.images:,} images of {size} x {size} x 3, batch {BATCH}"
    print(f"\n{title:54}{'images/s':>9}{'lowest':>9}{'highest':>9}{'fit is':>9}")
    for name, times in taken.items():
        rates = [args.images / t for t in times]
        base = taken["loader only: fit" if name.startswith("loader") else "fit"]
        ratio = statistics.median(own / other for own, other in zip(times, base, strict=True))
        middle = statistics.median(rates)
        print(f"{name:54}{middle:9,.0f}{min(rates):9,.0f}{max(rates):9,.0f}{ratio:8.1f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1536)
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"{machine(args.device, args.threads, torchvision)}; n = {args.repeats} epochs a line, "
        "the variants in turns; median"
    )
    for size in args.sizes:
        measure(args, size)


if __name__ == "__main__":
    main()
