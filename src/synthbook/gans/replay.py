"""On a GPU, a step that is the same every time as one CUDA graph.

The kernels of a small GAN's step take a GPU less time than Python takes to call them one by one.
Recorded once, the GPU runs them at one call.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from synthbook.gans import residual, resnet
from synthbook.gans.recipes import Training

TRIED = (residual.Generator, residual.Discriminator, resnet.Generator, resnet.Discriminator)
AS_IT_IS = 3  # calls before it is recorded: libraries set themselves up in them
Step = Callable[..., Tensor]


def can_replay(
    recipe: Training, generator: nn.Module, discriminator: nn.Module, device: str
) -> bool:
    """Return whether the steps of a training are alike, so that they can be recorded.

    Regularisers with steps of their own make them unlike. StyleGAN2 draws styles and noise itself,
    and projected discriminators and wrapped generators were never recorded: they train as they are.
    """
    alike = not recipe.r1 and not recipe.path_length
    tried = type(generator) in TRIED and type(discriminator) in TRIED
    return torch.device(device).type == "cuda" and alike and tried


def recordable(optimizer: torch.optim.Optimizer) -> None:
    """Let a fused Adam on a GPU be recorded: its learning rate becomes a tensor there."""
    for group in optimizer.param_groups:
        place = group["params"][0].device
        group["lr"] = torch.tensor(float(group["lr"]), device=place)
        group["capturable"] = True


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of an optimizer with one group, recorded or not."""
    group = optimizer.param_groups[0]
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


class Replayed:
    """A function of tensors (or None) to a tensor, recorded at one of its first calls.

    It must do the same operations with inputs of the same shapes at each call, on weights and
    states that stay where they are, ask for no number on the CPU, and keep nothing between calls.
    What it returns is overwritten by the next call.
    """

    def __init__(self, step: Step, device: str) -> None:
        self.step, self.device, self.calls = step, device, 0
        self.stream = torch.cuda.Stream(device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: list[Tensor | None] = []
        self.output = torch.empty(0)

    def __call__(self, *given: Tensor | None) -> Tensor:
        """Return what the step returns."""
        self.calls += 1
        if self.calls <= AS_IT_IS:
            return self._as_it_is(*given)
        if self.graph is None:
            self._record(*given)
        for place, value in zip(self.inputs, given, strict=True):
            if place is not None:
                place.copy_(value, non_blocking=True)
        self.graph.replay()
        return self.output

    def _as_it_is(self, *given: Tensor | None) -> Tensor:
        """Call the step on the stream on which it will be recorded."""
        now = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(now)
        with torch.cuda.stream(self.stream):
            output = self.step(*given)
        now.wait_stream(self.stream)
        return output

    def _record(self, *given: Tensor | None) -> None:
        self.inputs = [None if x is None else x.detach().to(self.device, copy=True) for x in given]
        graph = torch.cuda.CUDAGraph()
        how = {"stream": self.stream, "capture_error_mode": "thread_local"}
        with torch.cuda.graph(graph, **how):  # nothing is computed yet
            self.output = self.step(*self.inputs)
        self.graph = graph
