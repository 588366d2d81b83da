"""The machine under a run: its device, its threads, and torch set up so that runs repeat."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from synthbook.errors import InputError

if TYPE_CHECKING:
    import torch


# Of a processor's instructions, those that decide in which order and precision it sums.
INSTRUCTIONS = (
    "fma", "avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16",
)  # fmt: skip


@cache
def processor() -> str:
    """Return the processor and what matters of its instructions: "Intel Xeon 6 (fma, avx2)"."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # no Linux
        text = ""
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    known = {name.strip(): value.strip() for name, _, value in lines}
    has = f"{known.get('flags', '')} {known.get('Features', '')}".split()  # x86, ARM
    some = ", ".join(name for name in INSTRUCTIONS if name in has)
    name = known.get("model name") or platform.processor() or platform.machine()
    return f"{name} ({some})" if some else name


def checked_device(device: str | torch.device) -> torch.device:
    """Return torch's device of a name; raise InputError if this machine does not have it."""
    import torch

    try:
        place = torch.device(device)
    except RuntimeError:
        raise InputError(f"device '{device}' is none; use cpu, cuda, cuda:N or mps") from None
    count = torch.cuda.device_count()
    if place.type == "cuda" and (place.index or 0) >= count:
        there = f"there are {count} GPUs; use cuda:0" if count else "torch finds no CUDA GPU"
        raise InputError(f"device = '{device}', but {there}; use cpu")
    if place.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device = '{device}', but torch finds no Apple GPU; use cpu")
    return place


def prepare(device: str = "auto", threads: int = 1) -> str:
    """Set torch's threads and determinism; return the device that ``device`` stands for.

    Args:
        device: "auto" (the first GPU, else the CPU), "cpu", "cuda", "cuda:N" or "mps".
        threads: CPU threads, 0 for all cores. A sum over two threads rounds differently from a
            sum over one, so the number is a parameter of a run and not a fact of the machine.
    """
    import torch
    from threadpoolctl import threadpool_limits

    count = threads or os.cpu_count() or 1
    torch.set_num_threads(count)
    # Linear algebra has threads of its own: NumPy's, loaded by now, and SciPy's, not loaded yet.
    threadpool_limits(count)
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(count)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if checked_device(device).type == "cpu":
        torch.use_deterministic_algorithms(True)
        # That also fills every new tensor, against reads of uninitialised memory; it costs a tenth.
        torch.utils.deterministic.fill_uninitialized_memory = False
    return device
