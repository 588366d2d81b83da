"""The machine under a run: its device, its threads, and torch set up so that runs repeat."""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from synthbook.errors import InputError

if TYPE_CHECKING:
    import torch


# Of a processor's instructions, those that decide in which order and precision it sums.
INSTRUCTIONS = (
    "fma", "avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16",
)  # fmt: skip

_HAS_PAGES = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {})  # not on Windows


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


@cache
def memory(device: str = "cpu") -> float:
    """Return how many bytes a run may have: the machine's, its container's, or those of its GPU.

    ``device`` is as for `prepare`; what cannot be told is infinite. Needs no torch.
    """
    kind = device.partition(":")[0]
    if kind == "cuda" or (kind == "auto" and shutil.which("nvidia-smi")):
        return _gpu_memory()
    most = [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))] if _HAS_PAGES else []
    for path in ("memory.max", "memory/memory.limit_in_bytes"):  # of Linux's two control groups
        with suppress(OSError, ValueError):  # no such file, or "max"
            most.append(float(Path("/sys/fs/cgroup", path).read_text()))
    return min(most, default=math.inf)


def _gpu_memory() -> float:
    """Return the bytes of the largest GPU of NVIDIA's, infinite if it cannot be asked."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.check_output(command, text=True, timeout=20, stderr=subprocess.DEVNULL)
        return max(float(line) for line in said.splitlines()) * 2**20
    except (OSError, ValueError, subprocess.SubprocessError):
        return math.inf


def check_memory(needed: float, what: str, remedy: str, device: str = "cpu") -> None:
    """Raise InputError if ``what`` needs more bytes than there are; say what would do.

    ``needed`` is meant to be a lower bound: what is refused cannot fit, what passes may still not.
    """
    if needed > memory(device):
        raise InputError(
            f"{what} would take {needed / 1e9:,.0f} GB of memory at least, and this machine has "
            f"{memory(device) / 1e9:,.0f} GB; {remedy}"
        )


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


def fast_precision(device: str = "cpu") -> str:
    """Return "bfloat16" where it is fast: on a GPU that has it, and a processor with AMX.

    There mixed precision trains some 2.5 times as fast as float32. With avx512_bf16 alone a GAN at
    32 pixels gained 1.5 times, and other networks were not tried; without either it is 15 times as
    slow.
    """
    import torch

    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    fast = torch.device(device).type == "cpu" and "amx_bf16" in processor()
    return "bfloat16" if fast else "float32"


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


def console() -> TextIO | None:
    """Return the stream of messages of the shell behind this process, or None.

    A kernel redirects file 2 into the notebook, where progress would be litter, and keeps a copy
    of the real one: the shell that papermill or Jupyter was started from.
    """
    copy = getattr(sys.stderr, "_original_stdstream_copy", None)
    if copy is not None:
        return os.fdopen(os.dup(copy), "w", encoding="utf-8")
    return None if sys.__stderr__ is None or sys.__stderr__.closed else sys.__stderr__


def say(text: str) -> None:
    """Write a line to the `console`, and nothing into a notebook."""
    if stream := console():
        print(f"synthbook: {text}", file=stream, flush=True)
        if stream is not sys.__stderr__:
            stream.close()


def telling(
    task: str, steps: int, *, first: float = 5.0, every: float = 30.0
) -> Callable[..., None]:
    """Return a callback of a loop of ``steps`` that tells the `console` how long it will take.

    It takes the number of steps done, and whatever else. The first line comes after ``first``
    seconds, with an estimate of the time left, and then one ``every`` so many seconds.
    """
    begin = last = time.monotonic()
    before = None  # steps done when first called: a training may go on from a checkpoint

    def tell(done: int, *_: object) -> None:
        nonlocal before, begin, last
        now = time.monotonic()
        if before is None:
            before, begin, last = done, now, now + first - every
        elif now - last >= every and done < steps:
            last, left = now, (now - begin) / (done - before) * (steps - done)
            time_left = f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
            say(f"{task}: {done:,} of {steps:,}, about {time_left} left")

    return tell
