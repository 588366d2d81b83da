"""Random streams: every draw comes from (seed, purpose), so no two purposes share numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, *purpose: str | int) -> int:
    """Return a seed in [0, 2^63) that is a fixed function of ``seed`` and ``purpose``.

    SHA-256 makes streams independent for any practical use, and the same in every Python.
    """
    text = "\x1f".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return NumPy's default generator for (seed, purpose)."""
    return np.random.default_rng(derive(seed, *purpose))


def torch_generator(seed: int, *purpose: str | int, device: str = "cpu") -> torch.Generator:
    """Return a torch generator on ``device`` for (seed, purpose)."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, *purpose))


@contextmanager
def seeded(seed: int, *purpose: str | int, device: str | torch.device = "cpu") -> Iterator[None]:
    """Make torch's global generators, of the CPU and of ``device``, streams of (seed, purpose).

    Layers draw initial weights and dropout from them and take no others. After the block their
    states are what they were before it.
    """
    import torch

    place = torch.device(device)
    gpus, apple = [], place.type == "mps"
    if place.type == "cuda":
        gpus = [torch.cuda.current_device() if place.index is None else place.index]
    before = torch.mps.get_rng_state() if apple else None
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(derive(seed, *purpose))
        for gpu in gpus:
            torch.cuda.default_generators[gpu].manual_seed(derive(seed, *purpose))
        if apple:
            torch.mps.manual_seed(derive(seed, *purpose))
        try:
            yield
        finally:
            if apple:
                torch.mps.set_rng_state(before)
