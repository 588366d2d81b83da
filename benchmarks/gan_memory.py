"""Peak memory of StyleGAN2's training: networks, averages, Adam's moments, and one step.

Without a GPU the step runs on shapes alone (torch's fake tensors), and the bytes of all tensors
alive at a time are added up. What a GPU library takes as workspace, and gaps between blocks, come
on top. On a GPU a real step is run and torch's own peak is printed.

    python benchmarks/gan_memory.py --image_size 256 --batch 16
"""

from __future__ import annotations

import argparse
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from synthbook.data import ImageSet
from synthbook.gans.losses import LOSSES, PathLength, r1_penalty
from synthbook.gans.networks import ARCHITECTURES, create_config
from synthbook.gans.recipes import published
from synthbook.gans.train import train


class Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, and the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self.peak, self.known = 0, 0, {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None) -> Any:
        made = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.count(leaf)
        self.peak = max(self.peak, self.bytes)
        return made

    def count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.known:
            self.known[key] = weakref.ref(storage, lambda _, key=key: self.forget(key))
            self.known[key, "bytes"] = storage.nbytes()
            self.bytes += storage.nbytes()

    def forget(self, key: int) -> None:
        del self.known[key]
        self.bytes -= self.known.pop((key, "bytes"))


def estimate(settings: dict[str, Any], batch: int) -> tuple[int, dict[str, int]]:
    """Return the bytes held between steps, and the peak of each part of a step."""
    recipe, loss = published("stylegan2", steps=1), LOSSES["non_saturating"]
    config = create_config("stylegan2", **settings)
    size, peaks = config.image_size, {}
    with FakeTensorMode(), Alive() as alive:
        pair = ARCHITECTURES["stylegan2"]
        generator, discriminator = pair.generator(config), pair.discriminator(config)
        average = [p.detach().clone() for p in generator.parameters()]
        moments = [
            torch.zeros_like(p)
            for network in (generator, discriminator)
            for p in network.parameters()
            for _ in range(2)
        ]
        held = alive.bytes
        draw, path_length = None, PathLength()

        def part(name: str, network: nn.Module, value: Tensor) -> None:
            value.backward()
            peaks[name] = alive.peak
            network.zero_grad(set_to_none=True)
            alive.peak = 0

        def latents(count: int) -> Tensor:
            return torch.randn(count, config.latent)

        def images(count: int) -> Tensor:
            return torch.zeros(count, config.image_channels, size, size)

        alive.peak = 0
        with torch.no_grad():
            fake = generator(latents(batch), None, draw)
        logits = discriminator(torch.cat([images(batch), fake]))
        part("discriminator", discriminator, loss.discriminator(*logits.chunk(2)))
        del fake, logits
        real = images(batch).requires_grad_()
        part("R1", discriminator, recipe.r1 * r1_penalty(discriminator(real), real))
        del real
        discriminator.requires_grad_(False)
        fake = generator(latents(batch), None, draw)
        part("generator", generator, loss.generator(discriminator(fake)))
        del fake
        styles = generator.styles(latents(max(1, batch // 2)), None, draw)
        made = generator.synthesis(styles, draw)
        part("path length", generator, path_length(made, styles, draw))
        del average, moments
    return held, peaks


def measured(settings: dict[str, Any], batch: int, device: str) -> float:
    """Return the peak in bytes of two real steps on a GPU."""
    config = create_config("stylegan2", **settings)
    pair = ARCHITECTURES["stylegan2"]
    size = config.image_size
    black = ImageSet(np.zeros((4, size, size, 3), np.uint8), np.zeros(4, int), ("all",), "black")
    recipe = published("stylegan2", steps=2, batch_size=batch)
    train(pair.generator(config), pair.discriminator(config), black, recipe, seed=0, device=device)
    return torch.cuda.max_memory_allocated()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image_size", type=int, default=256)
    parser.add_argument("--channels", type=int, default=128, help="width at full image size")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    settings = {"image_size": args.image_size, "channels": args.channels, "mapping_layers": 2}
    title = f"StyleGAN2, {args.image_size} px, batch {args.batch}, float32"
    if args.device != "cpu":
        peak = measured(settings, args.batch, args.device) / 2**30
        print(f"{title}: {peak:.1f} GiB at the peak, {torch.cuda.get_device_name()}")
        return
    held, peaks = estimate(settings, args.batch)
    worst = max(peaks, key=lambda name: peaks[name])
    print(
        f"{title}, torch {torch.__version__}: {peaks[worst] / 2**30:.1f} GiB of tensors at the "
        f"peak, in the step for {worst}"
    )
    parts = ", ".join(f"{name} {peak / 2**30:.1f}" for name, peak in peaks.items())
    print(f"held between steps {held / 2**30:.2f} GiB; peak of each part: {parts} GiB")


if __name__ == "__main__":
    main()
