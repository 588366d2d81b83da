"""Pretrained and Real Guidance in a training loop of your own: three functions, nothing else.

    python examples/guidance_in_your_loop.py

Few real images, and many of a worse kind: here real ones of which a third has a label drawn at
random, in place of a generator's. Each step takes a batch of both. Pretrained Guidance holds the
features to those of a frozen ImageNet network (Wang et al., WACV 2024, equation 1). Real Guidance
turns the gradient on the worse images where it opposes the one on the real images (equation 2).
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthbook.data import ImageSet, few_shot, load
from synthbook.recognize.methods.pretrained_guidance import pretrained_guidance
from synthbook.recognize.methods.real_guidance import real_guidance_, take_gradients
from synthbook.weights import MEAN, STD, efficientnet_lite0


def tensors(images: ImageSet) -> tuple[Tensor, Tensor]:
    """Return images [N, 1, 8, 8] in [0, 1], and labels [N]."""
    return torch.tensor(images.images).permute(0, 3, 1, 2) / 255, torch.tensor(images.labels)


def main(steps: int = 400, seed: int = 0, lambda_3: float = 0.1) -> dict[str, float]:
    """Return the accuracy in percent on unseen real images, without guidance and with it."""
    torch.manual_seed(seed)
    data, frozen = load("digits"), efficientnet_lite0(0)  # which gives pooled features
    sets = {"real": tensors(few_shot(data.train, 5, seed=seed)), "worse": tensors(data.train)}
    labels = sets["worse"][1]
    wrong = torch.rand(len(labels)) < 1 / 3
    labels[wrong] = torch.randint(10, (int(wrong.sum()),))
    with torch.no_grad():  # features of the frozen network, once
        large = {k: F.interpolate(x.expand(-1, 3, -1, -1), size=32) for k, (x, _) in sets.items()}
        theirs = {name: frozen((x - MEAN) / STD) for name, x in large.items()}

    right = {}
    for how in ("without guidance", "with guidance"):
        torch.manual_seed(seed)
        body = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1152, 64))
        head = nn.Linear(64, 10)
        parameters = [*body.parameters(), *head.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=0.002)
        for _ in range(steps):
            optimizer.zero_grad()
            for name, (x, y) in sets.items():
                batch = torch.randint(len(y), (32,))
                features = body(x[batch])
                loss = F.cross_entropy(head(features.relu()), y[batch])
                if how == "with guidance":
                    loss = loss + lambda_3 * pretrained_guidance(features, theirs[name][batch])
                loss.backward()
                if how == "with guidance" and name == "real":
                    real_gradients = take_gradients(parameters)
            if how == "with guidance":
                real_guidance_(parameters, real_gradients)
            optimizer.step()
        with torch.no_grad():
            x, y = tensors(data.test)
            right[how] = 100 * (head(body(x).relu()).argmax(1) == y).float().mean().item()
        print(f"{how:17} {right[how]:5.1f} % of {len(y)} test images right")
    return right


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400, help="of each training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lambda_3", type=float, default=0.1, help="of Pretrained Guidance")
    main(**vars(parser.parse_args()))
