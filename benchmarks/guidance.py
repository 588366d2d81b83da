"""What Real Guidance and Pretrained Guidance cost beside plain training, as ratios of one run.

- One step of Real Guidance against two plain forward and backward passes over the same two
  batches and one step of the optimiser.
- One step of Pretrained Guidance, whose guide keeps nothing, against a plain step and the frozen
  network's forward pass.
- The peak of memory of a step of Real Guidance above that of the plain one, in copies of the
  gradients: with batches of 64, and of 2, where gradients outweigh what the layers keep.
- Equation 2 against torchjd's `DualProj(pref_vector=(0, 1))`, the same map for lambda_1 = 0 and
  lambda_2 = 1: the projection of the synthetic gradient on the dual cone of both gradients.

All steps report loss and accuracy, as `fit` wants them. Blocks of both alternate, and the ratio is
the median over pairs of blocks, so that a busy machine slows both; on the CPU its own time is
counted, not the wall's.

    python benchmarks/guidance.py --threads 1 --repeats 40
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from classifier_throughput import machine
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from synthbook.randomness import torch_generator
from synthbook.recognize.batches import Batch
from synthbook.recognize.methods.guidance import gradients_step
from synthbook.recognize.methods.guide import Guide
from synthbook.recognize.methods.real_guidance import aggregated, real_guidance_
from synthbook.recognize.models import Classifier, create_classifier
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import create_optimizer, report, trainable

BATCH, CLASSES = 64, 10
NETWORKS = (("small_cnn", 8), ("small_cnn", 32), ("efficientnet_lite0", 32))
AIMS = {"Real Guidance": 1.10, "Pretrained Guidance": 1.15}
Run = Callable[[], object]


def network(name: str, size: int, device: str, classes: int = CLASSES) -> Classifier:
    made = create_classifier(name, num_classes=classes, channels=3, image_size=size)
    return made.to(device).train()


def batches(size: int, device: str, count: int = BATCH) -> dict[str, Batch]:
    draws, found = torch_generator(0, "benchmark"), {}
    for stream in ("real", "synthetic"):
        images = torch.rand(count, size, size, 3, generator=draws).permute(0, 3, 1, 2)
        labels = torch.randint(CLASSES, (count,), generator=draws)
        indices = torch.arange(count)
        found[stream] = Batch(images.to(device), labels.to(device), indices.to(device))
    return found


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return create_optimizer(model, Recipe(epochs=1, batch_size=BATCH, learning_rate=1e-5))


def plain_step(model: nn.Module, given: dict[str, Batch], optimizer: torch.optim.Optimizer):
    """Add up the gradients of each batch's cross-entropy and step."""
    optimizer.zero_grad(set_to_none=True)
    losses, logits = [], []
    for batch in given.values():
        scores = model(batch.images)
        loss = F.cross_entropy(scores, batch.labels)
        loss.backward()
        losses.append(loss.detach())
        logits.append(scores.detach())
    optimizer.step()
    labels = torch.cat([batch.labels for batch in given.values()])
    return report(torch.stack(losses).mean(), torch.cat(logits), labels)


def real_guidance_runs(
    name: str, size: int, device: str, count: int = BATCH
) -> tuple[tuple[Run, Run], list[Classifier]]:
    """Return a step of Real Guidance and a plain one, and the network of each."""
    given, models = batches(size, device, count), [network(name, size, device) for _ in range(2)]
    optimizers = [optimizer_of(model) for model in models]
    guided = gradients_step(real_guidance_)
    runs = (
        lambda: guided(models[0], given, optimizers[0]),
        lambda: plain_step(models[1], given, optimizers[1]),
    )
    return runs, models


def pretrained_guidance_runs(name: str, size: int, guide: str, device: str) -> tuple[Run, Run]:
    """Return a step of Pretrained Guidance, and a plain one with a forward pass of the guide."""
    given = {"synthetic": batches(size, device)["synthetic"]}
    frozen = Guide(network(guide, size, device), input_size=size, device=device)
    guided = gradients_step(guide=frozen, guided=("synthetic",))
    models = [network(name, size, device) for _ in range(2)]
    optimizers = [optimizer_of(model) for model in models]

    def plain() -> None:
        frozen.features(given["synthetic"].images)
        plain_step(models[1], given, optimizers[1])

    return lambda: guided(models[0], given, optimizers[0]), plain


def synchronise(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def seconds(run: Run, device: str, times: int) -> float:
    """Return the seconds of a run: the processor's own, or the wall's on a GPU."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    synchronise(device)
    begin = clock()
    for _ in range(times):
        run()
    synchronise(device)
    return (clock() - begin) / times


def compare(runs: tuple[Run, Run], device: str, repeats: int) -> tuple[list[float], list[float]]:
    """Return the seconds of both in blocks of some 40 ms that alternate, the first as warm-up."""
    for run in runs:
        seconds(run, device, 3)
    times = max(1, round(0.04 / seconds(runs[1], device, 2)))
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats):
        for which in (0, 1) if turn % 2 else (1, 0):
            found[which].append(seconds(runs[which], device, times))
    return found


def line(title: str, pair: tuple[list[float], list[float]], aim: float | None = None) -> None:
    ratios = [a / b for a, b in zip(*pair, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    verdict = "" if aim is None else f"{aim:6.2f} {'met' if round(middle, 2) <= aim else 'missed'}"
    millis = [1000 * statistics.median(part) for part in pair]
    spread = f"{low:.2f} to {high:.2f}"
    print(f"{title:54}{millis[0]:9.3f}{millis[1]:9.3f}{middle:7.2f}  {spread:14}{verdict}")


def heading(title: str, ours: str, other: str) -> None:
    print(f"\n{title:54}{ours:>9}{other:>9}{'ratio':>7}  {'quartiles':14}{'aim':>6}")


def peak(run: Run, model: nn.Module, device: str) -> int:
    """Return the bytes that a step without old gradients allocates at its peak."""
    run()
    model.zero_grad(set_to_none=True)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    # The events of the allocator itself; the public list shows them summed up by operator.
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(itertools.accumulate(sizes))


def memory(device: str) -> None:
    print(f"\n{'Memory':54}{'RG: MB':>9}{'plain':>9}{'more, in copies of the gradients':>36}")
    for name, size in NETWORKS:
        parameters = trainable(network(name, size, device))
        copy = sum(p.numel() * p.element_size() for p in parameters)
        for count in (BATCH, 2):
            pairs = zip(*real_guidance_runs(name, size, device, count), strict=True)
            ours, plain = (peak(run, model, device) for run, model in pairs)
            title = f"{name}, {size} px, batches of {count}"
            more = (ours - plain) / copy
            verdict = f"aim 1.00 {'met' if round(more, 2) <= 1 else 'missed'}"
            print(f"{title:54}{ours / 1e6:9.2f}{plain / 1e6:9.2f}{more:18.2f}  {verdict}")


def conflicting(parameters: list[nn.Parameter]) -> tuple[list[Tensor], list[Tensor]]:
    """Return a real and a synthetic gradient, laid out as the parameters, in conflict."""
    draws = torch_generator(0, "gradients")

    def drawn() -> list[Tensor]:
        return [
            torch.empty_like(p).copy_(torch.randn(p.shape, generator=draws)) for p in parameters
        ]

    real = drawn()
    return real, [g - 0.5 * r for g, r in zip(drawn(), real, strict=True)]


def aggregation(name: str, size: int, device: str, repeats: int) -> None:
    """Time equation 2 and torchjd on the same gradients, which are copied anew each time."""
    from torchjd.aggregation import DualProj

    dual = DualProj(pref_vector=torch.tensor([0.0, 1.0], device=device))
    parameters = trainable(network(name, size, device))
    real, synthetic = ([g.detach() for g in part] for part in conflicting(parameters))
    jacobian = torch.stack([torch.cat([g.flatten() for g in s]) for s in (real, synthetic)])
    rule = aggregated(dual)
    ways: dict[str, Callable[[list[Tensor]], object]] = {
        "ours": lambda given: real_guidance_(parameters, given, lambda_1=0.0, lambda_2=1.0),
        "gradients to gradients": lambda given: rule(parameters, given),
        "of a Jacobian [2, P]": lambda _: dual(jacobian),
    }
    taken: dict[str, list[float]] = {way: [] for way in ways}
    results: dict[str, Tensor] = {}
    for turn in range(repeats + 2):
        for way, run in ways.items():
            for parameter, gradient in zip(parameters, synthetic, strict=True):
                parameter.grad = gradient.clone()
            given = [gradient.clone() for gradient in real]
            took = seconds(lambda run=run, given=given: run(given), device, 1)
            results[way] = torch.cat([parameter.grad.flatten() for parameter in parameters])
            if turn > 1:  # the first ones warm up
                taken[way].append(took)
    for way in list(ways)[1:]:
        line(f"{name}, {size} px, {way}", (taken["ours"], taken[way]))
    apart = (results["ours"] - results["gradients to gradients"]).abs().max().item()
    print(f"{'':4}P = {jacobian.shape[1]:,}; largest difference of the results {apart:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        print(
            f"\n{machine(device, args.threads)}; batches of {BATCH}; n = {args.repeats} pairs of "
            "blocks, median"
        )
        heading("Real Guidance", "RG ms", "plain")
        for name, size in NETWORKS:
            runs, _ = real_guidance_runs(name, size, device)
            line(f"{name}, {size} px", compare(runs, device, args.repeats), AIMS["Real Guidance"])
        heading("Pretrained Guidance", "PG ms", "plain")
        for name, size in NETWORKS:
            for guide in dict.fromkeys((name, "efficientnet_lite0")) if size == 32 else (name,):
                pair = compare(
                    pretrained_guidance_runs(name, size, guide, device), device, args.repeats
                )
                title = f"{name}, {size} px, guide {guide}"
                line(title, pair, AIMS["Pretrained Guidance"])
        memory(device)
        heading("Equation 2 against torchjd, the same map", "ours ms", "theirs")
        for name, size in NETWORKS:
            aggregation(name, size, device, args.repeats)


if __name__ == "__main__":
    main()
