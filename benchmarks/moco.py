"""A step of MoCo v2 (`recognize.moco`) against lightly's plain example, as ratios of one run.

Plain is what lightly's documentation writes: two encoders with their projections,
`update_momentum`, `NTXentLoss` with its memory bank, SGD, torch's default memory order. Both take
the same batches, network, queue and precision (float32). The lines:

- ours on the whole batch, as plain has it, and plain with `channels_last` added;
- ours with BatchNorm in groups and shuffled keys, which plain leaves out;
- ours with its views, against lightly's transform for MoCo v2 image by image, both without blur.

Blocks of both alternate, and the ratio is the median over pairs of blocks, so that a busy machine
slows both; on the CPU its own time is counted, not the wall's.

    python benchmarks/moco.py --threads 1 --repeats 10
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace

import lightly
import numpy as np
import torch
from classifier_throughput import machine
from guidance import Run, compare, heading, line
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import MoCoProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms import MoCoV2Transform
from PIL import Image
from torch import Tensor, nn

from synthbook.randomness import torch_generator
from synthbook.recognize.loop import create_optimizer
from synthbook.recognize.moco import Moco, MocoRecipe
from synthbook.recognize.models import Classifier, create_classifier
from synthbook.recognize.views import views

AIM = 1.05


def network(name: str, size: int, device: str) -> Classifier:
    return create_classifier(name, num_classes=10, channels=3, image_size=size).to(device)


class Plain(nn.Module):
    """MoCo as lightly's documentation has it, on images that are normalised already."""

    def __init__(self, backbone: nn.Module, width: int, recipe: MocoRecipe) -> None:
        super().__init__()
        self.backbone, self.momentum = backbone, recipe.momentum
        self.projection_head = MoCoProjectionHead(width, width, recipe.projected)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)
        self.criterion = NTXentLoss(recipe.temperature, (recipe.queue, recipe.projected))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        update_momentum(self.backbone, self.backbone_momentum, m=self.momentum)
        update_momentum(self.projection_head, self.projection_head_momentum, m=self.momentum)
        query = self.projection_head(self.backbone(first).flatten(start_dim=1))
        with torch.no_grad():
            key = self.projection_head_momentum(self.backbone_momentum(second).flatten(start_dim=1))
        return self.criterion(query, key.detach())


def runs(
    name: str, size: int, recipe: MocoRecipe, device: str, *,
    data: bool = False, order: torch.memory_format = torch.contiguous_format,
) -> tuple[Run, Run]:  # fmt: skip
    """Return a step of ours and a plain one; with ``data`` each makes its views first."""
    count, rng = recipe.batch_size, np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    pictures = [Image.fromarray(one) for one in pixels]
    strength = {"cj_strength": recipe.views.jitter, "min_scale": recipe.views.global_scale[0]}
    transform = MoCoV2Transform(input_size=size, gaussian_blur=0.0, **strength)
    still = views(tensor.to(device), recipe.views, torch_generator(0, "benchmark"))
    moco = Moco(network(name, size, device), recipe, seed=0).to(device).train()
    moco.to(memory_format=torch.channels_last)
    optimizer, turn = create_optimizer(moco, recipe), iter(range(10**9))

    def ours() -> None:
        seen = still
        if data:
            draw = torch_generator(0, "benchmark", next(turn))
            seen = views(tensor.to(device), recipe.views, draw)
        loss = moco(seen)["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    body = network(name, size, device).to(memory_format=order)
    plain = Plain(body.body, body.head.in_features, recipe).to(device).train()
    rate = optimizer.param_groups[0]["lr"]
    other = torch.optim.SGD(plain.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)
    normal = [(2 * view - 1).contiguous(memory_format=order) for view in still]

    def theirs() -> None:
        first, second = normal
        if data:
            pairs = [transform(picture) for picture in pictures]
            first, second = (torch.stack(part).to(device) for part in zip(*pairs, strict=True))
        loss = plain(first, second)
        loss.backward()
        other.step()
        other.zero_grad()

    return ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["small_cnn", "efficientnet_lite0"])
    parser.add_argument("--size", type=int, default=32, help="pixels of a side")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--queue", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"{machine(args.device, args.threads, lightly)}; batches of {args.batch}, queue of "
        f"{args.queue}; n = {args.repeats} pairs of blocks, median"
    )
    whole = MocoRecipe(batch_size=args.batch, queue=args.queue, group=0, precision="float32")
    whole = replace(whole, views=replace(whole.views, blur=0.0))
    heading("milliseconds a step", "ours", "plain")
    for name in args.networks:
        for title, recipe, how in (
            ("whole batch", whole, {}),
            ("whole batch, plain in channels_last", whole, {"order": torch.channels_last}),
            ("groups of 32, shuffled", replace(whole, group=32), {}),
            ("whole batch, with views", whole, {"data": True}),
        ):
            both = runs(name, args.size, recipe, args.device, **how)
            line(f"{name}, {title}", compare(both, args.device, args.repeats), AIM)


if __name__ == "__main__":
    main()
