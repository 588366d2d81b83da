"""What training loops share: the clock that measures, keeps and stops, averages and precision."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from synthbook import machine
from synthbook.training import (
    Budget,
    Watch,
    load_checkpoint,
    mixed,
    save_checkpoint,
    warmed_average,
)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def watched(values: Iterator[float], clock: Clock, **budget: float) -> Watch:
    """Return a watch on a clock, whose measurements are some values."""
    watch = Watch(Budget(**budget), lambda _: {"accuracy": next(values)}, "cpu")
    watch.now, watch.seen = clock, clock()
    return watch


def follow(watch: Watch, clock: Clock, *, every: float = 60.0, most: int = 1000) -> int:
    """Count the steps, of ``every`` seconds, until the watch ends them; step k leaves weight k."""
    network = nn.Linear(1, 1, bias=False)
    watch.started(network)
    for step in range(1, most + 1):
        clock.seconds += every
        nn.init.constant_(network.weight, step)
        watch(step, lambda: network)
        if watch.over:
            return step
    return most


@pytest.mark.parametrize(
    ("values", "stops", "best"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 10, 10),  # better and better: to the end of the budget
        ([5, 4, 4, 4, 9], 4, 1),  # three without a new best one
        ([5, 5, 5, 5, 9], 4, 1),  # as good is not better
        ([1, 5, 4, 3, 6, 5, 5, 5, 9], 8, 5),  # a new best one begins the wait anew
    ],
)
def test_a_training_ends_by_its_curve_or_its_budget_and_its_best_is_kept(values, stops, best):
    clock = Clock()
    watch = watched(iter(values), clock, minutes=10, measure_every=1, patience=3)
    assert follow(watch, clock) == stops
    assert [point["accuracy"] for point in watch.curve] == values[:stops]
    assert [point["steps"] for point in watch.curve] == list(range(1, stops + 1))
    assert [point["minutes"] for point in watch.curve] == [float(k) for k in range(1, stops + 1)]
    assert watch.best_point() == best - 1
    assert watch.best.weight.item() == best  # of the step of the best, not of the last


def test_measuring_takes_none_of_the_budget_and_the_last_measurement_is_at_its_end():
    clock, asked = Clock(), []

    def slow(_: nn.Module) -> dict[str, float]:
        clock.seconds += 500
        asked.append(len(asked))
        return {"accuracy": asked[-1]}

    watch = Watch(Budget(minutes=5, measure_every=2, patience=9), slow, "cpu")
    watch.now, watch.seen = clock, clock()
    assert follow(watch, clock, every=30.0) == 10
    assert [point["minutes"] for point in watch.curve] == [2.0, 4.0, 5.0]
    assert watch.seconds == 300


def test_learning_rates_fall_to_zero_over_the_cooldown_only():
    budget = {"minutes": 10, "measure_every": 10, "cooldown": 0.2}
    watch = watched(iter(range(100)), Clock(), **budget)
    expected = {0: 1, 300: 1, 480: 1, 510: 0.75, 540: 0.5, 599: 1 / 120, 600: 0, 700: 0}
    for watch.seconds, factor in expected.items():
        assert watch.rate_factor == pytest.approx(factor)
    assert watched(iter(()), Clock(), minutes=1, cooldown=0.0).rate_factor == 1


def test_a_kill_loses_at_most_what_is_between_two_checkpoints():
    clock = Clock()
    watch = watched(iter(range(100)), clock, minutes=60, measure_every=7)
    kept, lost, network = [clock()], [], nn.Linear(1, 1)
    watch.started(network)
    for step in range(1, 300):
        clock.seconds += 11
        lost.append(clock() - kept[-1])  # if it is killed at the end of this step
        watch(step, lambda: network)
        if watch.keep:
            kept.append(clock())
    assert max(lost) <= Watch.KEEP_EVERY + 11  # a step is never cut
    assert len(kept) < 300 / 6  # nor is it kept all the time


def test_a_watch_goes_on_where_its_state_was_kept():
    values, clock = [3.0, 5.0, 4.0, 4.0, 4.0], Clock()
    budget = {"minutes": 9, "measure_every": 1, "patience": 3}
    first = watched(iter(values), clock, **budget)
    assert follow(first, clock, most=3) == 3
    clock.seconds += 10_000  # what passes between a kill and the next start does not count
    second = watched(iter(values[3:]), clock, **budget)
    second.load_state_dict(first.state_dict())
    assert (second.seconds, second.curve, second.over) == (first.seconds, first.curve, False)
    assert follow(second, clock) == 2
    assert [point["accuracy"] for point in second.curve] == values
    ended = watched(iter(()), clock, **budget)
    ended.load_state_dict(second.state_dict())
    assert ended.over


def test_a_processor_s_own_time_counts_and_a_gpu_s_clock(monkeypatch):
    times = {"cpu": 5.0, "clock": 7.0}
    monkeypatch.setattr("time.process_time", lambda: times["cpu"])
    monkeypatch.setattr("time.perf_counter", lambda: times["clock"])
    watches = {name: Watch(Budget(), lambda _: {}, name) for name in ("cpu", "cuda")}
    for watch in watches.values():
        watch(1, lambda: nn.Identity())
    assert {watch.seconds for watch in watches.values()} == {0}  # the first step is a start
    times |= {"cpu": 6.0, "clock": 17.0}
    for watch in watches.values():
        watch(2, lambda: nn.Identity())
    assert {name: watch.seconds for name, watch in watches.items()} == {"cpu": 1.0, "cuda": 10.0}


@pytest.mark.parametrize("decay", [0.3, 0.98])
def test_a_warmed_average_is_the_recursion(decay):
    """theta_1 = w_1, theta_(n+1) = d theta_n + (1 - d) w_(n+1), d = min(decay, (1+n) / (10+n))."""
    network = nn.Linear(1, 1, bias=False)
    average, expected = AveragedModel(network, multi_avg_fn=warmed_average(decay)), None
    for n, weight in enumerate([3.0, -1.0, 4.0, 1.0, 5.0, -9.0, 2.0]):
        nn.init.constant_(network.weight, weight)
        average.update_parameters(network)
        d = min(decay, (1 + n) / (10 + n))
        expected = weight if n == 0 else d * expected + (1 - d) * weight
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)


@pytest.fixture
def pretend(monkeypatch) -> Callable[..., None]:
    """Return a function that makes the machine one with some processor, and a GPU or none."""

    def make(instructions: str, *, bf16: bool = False) -> None:
        monkeypatch.setattr(machine, "processor", lambda: f"Some CPU ({instructions})")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)

    return make


@pytest.mark.parametrize(
    ("instructions", "bf16", "device", "precision"),
    [
        ("fma, avx2, amx_bf16", False, "cpu", "bfloat16"),
        ("fma, avx2, avx512_bf16", True, "cpu", "float32"),  # it has the type, and no fast product
        ("fma", True, "cuda:0", "bfloat16"),
        ("fma, amx_bf16", False, "cuda:0", "float32"),
        ("amx_bf16", True, "mps", "float32"),
    ],
)
def test_the_precision_that_is_fast_is_a_fact_of_the_device(
    instructions, bf16, device, precision, pretend
):
    pretend(instructions, bf16=bf16)
    assert machine.fast_precision(device) == precision


@pytest.mark.parametrize(
    ("precision", "instructions", "dtype"),
    [
        ("auto", "amx_bf16", torch.bfloat16),
        ("auto", "avx2", torch.float32),
        ("bfloat16", "avx2", torch.bfloat16),
        ("float32", "amx_bf16", torch.float32),
    ],
)
def test_mixed_precision_is_on_where_it_is_asked_for_or_fast(
    precision, instructions, dtype, pretend
):
    pretend(instructions)
    with mixed(precision, "cpu"):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def _trained(steps: int, folder: Path | None = None, stop: int = 0) -> torch.Tensor:
    """Return the weights after training a layer, which may stop and go on in a folder."""
    torch.manual_seed(0)
    network = nn.Linear(3, 1)
    adam = torch.optim.Adam(network.parameters(), lr=0.1)
    what = {"modules": {"network": network}, "optimizers": {"adam": adam}, "run": {"seed": 0}}
    first = load_checkpoint(folder, **what) if folder else 0
    for step in range(first, stop or steps):
        adam.zero_grad()
        network(torch.full((1, 3), step + 1.0)).sum().backward()
        adam.step()
        if folder and (step + 1) % 2 == 0:
            save_checkpoint(folder, step + 1, **what)
    return network.weight.detach().clone()


def test_a_checkpoint_of_a_gpu_goes_on_where_that_gpu_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:7")
        _trained(6, tmp_path, stop=4)
    assert torch.equal(_trained(6, tmp_path), _trained(6))


@pytest.mark.parametrize("file", ["network.safetensors", "optimizers.pt", "run.json", "sums.json"])
@pytest.mark.parametrize("harm", ["flipped", "cut", "missing"])
def test_a_broken_checkpoint_is_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, harm: str
) -> None:
    said: list[str] = []
    monkeypatch.setattr(machine, "say", said.append)
    _trained(6, tmp_path, stop=5)
    (kept,) = tmp_path.glob("step-*")
    path = kept / file
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content[:-5] if harm == "cut" else content)
    if harm == "missing":
        path.unlink()
    assert torch.equal(_trained(6, tmp_path), _trained(6))
    (line,) = said
    assert line.startswith(f"the checkpoint {kept} is broken (")


def test_of_two_checkpoints_a_kill_leaves_the_newest_whole_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(machine, "say", said.append)
    _trained(6, tmp_path, stop=2)
    (older,) = tmp_path.glob("step-*")
    shutil.copytree(older, tmp_path / "older")
    _trained(6, tmp_path, stop=4)
    (tmp_path / "older").rename(older)
    assert torch.equal(_trained(6, tmp_path), _trained(6))
    assert said == []
    (tmp_path / "step-00000009").write_text("no folder")
    assert torch.equal(_trained(6, tmp_path), _trained(6))
    assert len(said) == 1
