"""The linear probe against a plain loop over scikit-learn, on the same features, in one run.

Both choose one of ten strengths on the same held-out parts of the training images, three of them,
refit, and rate the test images: 31 fits a set. "Ours" is `recognize.probe` with L-BFGS of torch,
"warm" the same with scikit-learn's solver, and "plain" what one would write first: a
`LogisticRegression` with its own tolerance, from zero, on standardised features, for each strength
and part. The columns are processor time, the test's top-1, the chosen strength, and how many times
as fast it is as the plain loop; the features are made before and are not timed.

    python benchmarks/probe.py
    python benchmarks/probe.py --sets dtd,flowers102,oxford_pets --data-root DATA --size 224
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from classifier_throughput import machine
from sklearn.linear_model import LogisticRegression

from synthbook.data.transfer import MINI, open_transfer
from synthbook.measure.features import extractor
from synthbook.recognize.probe import SEEDS, STRENGTHS, encoded, held_out, probe_features


def plain(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, right: np.ndarray, seeds: Sequence[int]
) -> tuple[float, float]:
    """Return top-1 in percent and the strength, by two loops."""
    mean, deviation = train.mean(0), train.std(0)
    deviation = np.where(deviation > 1e-6 * deviation.max(), deviation, 1)
    train, test = (train - mean) / deviation, (test - mean) / deviation
    rated = np.zeros((len(seeds), len(STRENGTHS)))
    for i, seed in enumerate(seeds):
        out = held_out(labels, 0.2, seed)
        for k, l2 in enumerate(STRENGTHS):
            model = LogisticRegression(C=1 / (l2 * (~out).sum()), max_iter=1000)
            rated[i, k] = model.fit(train[~out], labels[~out]).score(train[out], labels[out])
    l2 = STRENGTHS[int(rated.mean(0).argmax())]
    model = LogisticRegression(C=1 / (l2 * len(labels)), max_iter=1000).fit(train, labels)
    return 100 * model.score(test, right), l2


def timed(work: Callable[[], tuple[float, float]]) -> tuple[float, float, float]:
    begin = time.process_time()
    return *work(), time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", default=",".join((*MINI, "caltech10_fine")))
    parser.add_argument("--data-root", default="")
    parser.add_argument("--size", type=int, default=32, help="pixels of a side")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="of ours and of the encoder")
    parser.add_argument("--warm", action="store_true", help="also ours with scikit-learn's solver")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    look, seeds = extractor(size=args.size, device=args.device), tuple(range(args.seeds))
    print(f"{machine(args.device, args.threads)}; {look.name}; n = 1")
    print(f"{'':20}{'images':>8}{'D':>6}{'K':>5}  {'way':6}{'s':>8}{'top-1':>8}{'l2':>10}  ratio")
    total: dict[str, float] = {}
    torch.optim.LBFGS([torch.zeros(1)])  # the first optimiser imports for seconds
    LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    for name in args.sets.split(","):
        found = open_transfer(name, data_root=args.data_root, image_size=args.size, channels=3)
        train, test = (encoded(look.cached, part) for part in (found.train, found.test))
        given = (train, found.train.labels, test, found.test.labels)

        def ours(solver: str, given: tuple = given, found: object = found) -> tuple[float, float]:
            how = {"solver": solver, "seeds": seeds, "device": args.device}
            made = probe_features(*given, classes=found.train.classes, name=found.name, **how)
            return made.measures["top1"], made.search.best

        ways = {"plain": lambda given=given: plain(*given, seeds), "ours": lambda: ours("torch")}
        ways |= {"warm": lambda: ours("sklearn")} if args.warm else {}
        base = 0.0
        first = f"{name:20}{len(train):8,}{train.shape[1]:6}{len(found.train.classes):5}"
        for way, work in ways.items():
            top1, l2, seconds = timed(work)
            total[way] = total.get(way, 0.0) + seconds
            base = base or seconds
            print(
                f"{first:39}  {way:6}{seconds:8.2f}{top1:8.2f}{l2:10.1e}{base / seconds:7.1f}",
                flush=True,
            )
            first = ""
    for way, seconds in total.items():
        print(f"{'all':39}  {way:6}{seconds:8.2f}{'':18}{total['plain'] / seconds:7.1f}")


if __name__ == "__main__":
    main()
