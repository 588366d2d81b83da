"""The machine under a run: its device, its threads, and torch set up so that runs repeat."""

from __future__ import annotations

import os

from synthbook.errors import InputError


def prepare(device: str = "auto", threads: int = 1) -> str:
    """Set torch's threads and determinism; return the device that ``device`` stands for.

    Args:
        device: "auto" (the first GPU, else the CPU), "cpu", "cuda", "cuda:N" or "mps".
        threads: CPU threads, 0 for all cores. A sum over two threads rounds differently from a
            sum over one, so the number is a parameter of a run and not a fact of the machine.

    Raises:
        InputError: if the device is not there.
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
    kind, _, index = device.partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device = '{device}', but torch finds no CUDA GPU; use -p device cpu")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(f"device = '{device}', but there are {count} GPUs; use cuda:0")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device = '{device}', but torch finds no Apple GPU; use -p device cpu")
    if kind == "cpu":
        torch.use_deterministic_algorithms(True)
        # That also fills every new tensor, against reads of uninitialised memory; it costs a tenth.
        torch.utils.deterministic.fill_uninitialized_memory = False
    return device
