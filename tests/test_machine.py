"""The machine under a run: its device, its threads, and arithmetic that repeats."""

from __future__ import annotations

import os
from collections.abc import Iterator
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from synthbook import machine
from synthbook.errors import InputError
from synthbook.machine import prepare, telling


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # put back at the end
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    with threadpool_limits():
        yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = filled


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch):
    """Pretend that there are so many GPUs."""

    def pretend(count: int, *, apple: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)

    return pretend


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_the_parameter_and_not_a_fact_of_the_machine(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    prepare("cpu", threads)
    assert torch.get_num_threads() == threads
    np.linalg.norm(np.ones((2, 2)), 2)  # NumPy's own library is loaded
    pools = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    assert pools == {threads}
    assert os.environ["OPENBLAS_NUM_THREADS"] == os.environ["OMP_NUM_THREADS"] == str(threads)


@pytest.mark.parametrize(("cores", "expected"), [(5, 5), (None, 1)])
def test_no_threads_means_all_cores(
    cores: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    prepare("cpu", 0)
    assert torch.get_num_threads() == expected


def test_auto_is_the_first_gpu_else_the_cpu_and_others_are_taken_if_there(gpus) -> None:
    gpus(0)
    assert prepare("auto") == "cpu"
    gpus(2, apple=True)
    assert prepare("auto") == "cuda"
    for device in ("cpu", "cuda", "cuda:0", "cuda:1", "mps"):
        assert prepare(device) == device


@pytest.mark.parametrize(
    ("device", "count", "words"),
    [
        ("cuda", 0, ["no CUDA GPU", "use cpu"]),
        ("cuda:1", 0, ["no CUDA GPU", "use cpu"]),
        ("cuda:2", 2, ["2 GPU", "cuda:0"]),
        ("cuda:10", 2, ["2 GPU", "cuda:0"]),
        ("gpu", 2, ["cpu, cuda"]),
        ("mps", 0, ["no Apple GPU", "use cpu"]),
    ],
)
def test_a_device_that_is_not_there_is_refused(
    gpus, device: str, count: int, words: list[str]
) -> None:
    gpus(count)
    with pytest.raises(InputError) as caught:
        prepare(device)
    assert all(word in str(caught.value) for word in (f"'{device}'", *words))


INTEL = "processor\t: 0\nmodel name\t: Intel Xeon\nflags\t\t: fpu fma avx2 avx512f amx_bf16\n\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd sve\nCPU part\t: 0xd0c\n\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (INTEL + INTEL.replace("Xeon", "other"), "Intel Xeon (fma, avx2, avx512f, amx_bf16)"),
        (ARM, "aarch64 (asimd, sve)"),
        (None, "aarch64"),  # no Linux
    ],
)
def test_a_processor_is_its_model_and_what_it_computes_with(
    text: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Mock(return_value=text, side_effect=None if text else FileNotFoundError)
    monkeypatch.setattr(machine.Path, "read_text", read)
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    assert machine.processor.__wrapped__() == name


@pytest.mark.parametrize(("count", "same_bits"), [(0, True), (1, False)])
def test_the_cpu_repeats_its_bits_and_a_gpu_takes_its_fastest_kernels(
    gpus, count: int, same_bits: bool
) -> None:
    gpus(count)
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True
    prepare("auto")
    assert torch.are_deterministic_algorithms_enabled() is same_bits
    assert torch.utils.deterministic.fill_uninitialized_memory is not same_bits


def test_a_long_loop_tells_its_shell_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of a second, from step 100 of 1,000: lines after 5 s and then every 30 s."""
    said, clock = [], iter(range(10_000))
    monkeypatch.setattr(machine, "say", said.append)
    monkeypatch.setattr(machine.time, "monotonic", lambda: next(clock))
    tell = telling("training", 1_000)
    for done in range(100, 1_001):
        tell(done, {"loss": 0.5})
    assert said[0] == "training: 105 of 1,000, about 15 min left"
    assert [int(line.split()[1]) for line in said[:3]] == [105, 135, 165]
    assert all(" 1,000 of " not in line for line in said)
    assert said[-1].endswith(f"about {1_000 - int(said[-1].split()[1])} s left")


def test_what_is_said_goes_to_the_shell_and_not_into_a_notebook(
    monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "shell").open("w") as shell:

        class OfKernel:
            _original_stdstream_copy = shell.fileno()

        monkeypatch.setattr("sys.stderr", OfKernel())
        for text in ("one", "two"):
            machine.say(text)
    assert (tmp_path / "shell").read_text() == "synthbook: one\nsynthbook: two\n"
    assert capsys.readouterr().out == ""
