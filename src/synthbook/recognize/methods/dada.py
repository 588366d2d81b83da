"""DADA: category and domain predictions that inhibit each other.

Tang and Jia, AAAI 2020, closed set. One classifier has K categories and, as category K + 1, the
target domain; p are its K + 1 probabilities, p~ those of the K categories among themselves, and
q_k = p_(K+1) / (p_k + p_(K+1)). On synthetic images with label y and on real ones without

    L_s   = -(1 - p_(K+1)) log p_y - p_(K+1) log(1 - p_y)
    L_t_F = -sum_k p~_k log q_k           L_t_G = sum_k p~_k log(1 - q_k)

the classifier F minimises lambda (L_s + L_t_F) + H and the body G maximises
lambda (L_s + L_t_G) - H, where H is the entropy of p~ on real images and lambda the schedule of
DANN over the second stage. The game needs p_y > 1/2 on synthetic images: the first stage trains
K-way cross-entropy there, and both sides keep it in the second. What remains is the K-way part.

Both batches pass the network apart from each other, synthetic images first; BatchNorm's running
statistics are means over both.

In the second stage the recipe's learning rate is annealed as in DANN, as the paper does it.

Simplified: body and classifier share the recipe's optimiser and learning rate; in the paper the
classifier's is ten times as high.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from synthbook.randomness import seeded
from synthbook.recognize.methods.dann import annealed, progresses, schedule
from synthbook.recognize.methods.task import Task, Together, first_stage, length, stage
from synthbook.recognize.train import Batches, History, Report, Step, report, trainable


def source_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return L_s of logits [N, K + 1], the domain last, with labels [N] below K; a mean in nats."""
    log_p = logits.log_softmax(1)
    log_right = log_p.gather(1, labels[:, None]).squeeze(1)
    # log(1 - p_y) as a sum over the other probabilities, which is exact where p_y is nearly 1.
    log_wrong = log_p.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    domain = log_p[:, -1].exp()
    return (-(1 - domain) * log_right - domain * log_wrong).mean()


def target_losses(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return L_t_F, which the classifier minimises, and L_t_G, which the body maximises.

    Both are means in nats, of logits [N, K + 1], the domain last.
    """
    categories, domain = logits[:, :-1], logits[:, -1:]
    share = categories.softmax(1)
    told = (share * F.softplus(categories - domain)).sum(1).mean()  # -log q_k
    hidden = (share * F.softplus(domain - categories)).sum(1).mean()  # -log(1 - q_k)
    return told, -hidden


def entropy(logits: Tensor) -> Tensor:
    """Return the mean entropy of the K categories among themselves, for logits [N, K + 1]."""
    log_share = logits[:, :-1].log_softmax(1)
    return -(log_share.exp() * log_share).sum(1).mean()


def dada_losses(
    synthetic: Tensor, labels: Tensor, real: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Return what the classifier minimises and what the body does, of logits [N, K + 1] of both.

    ``labels`` are the synthetic images', ``scale`` is lambda.
    """
    both = F.cross_entropy(synthetic[:, :-1], labels) + entropy(real)
    from_source, (told, hidden) = source_loss(synthetic, labels), target_losses(real)
    return both + scale * (from_source + told), both - scale * (from_source + hidden)


def dada_step(progress: Iterator[float], weight: float = 1.0) -> Step:
    """Return a step on ``Together(model, domain=...)`` with the streams 'real' and 'synthetic'.

    ``progress`` gives p of one step after the other, ``weight`` is a factor on lambda_p.
    """

    def step(together: nn.Module, batches: Batches, optimizer: Optimizer) -> Report:
        model, domain, labels = together.model, together.domain, batches["synthetic"].labels

        def integrated(name: str) -> Tensor:
            features = model.features(batches[name].images)
            return torch.cat([model.head(features), domain(features)], 1).float()

        synthetic, real = integrated("synthetic"), integrated("real")
        p = next(progress)
        loss, body_loss = dada_losses(synthetic, labels, real, weight * schedule(p))
        optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=[*trainable(model.head), *trainable(domain)], retain_graph=True)
        body_loss.backward(inputs=trainable(model.body))
        annealed(optimizer, p)
        optimizer.step()
        return report(loss, synthetic[:, :-1], labels)

    return step


def dada(
    model: nn.Module, task: Task, *,
    adversarial_weight: float = 1.0, first_share: float = 0.75, second_stage: str = "epochs",
) -> History:  # fmt: skip
    """Train ``model`` in place by DADA: cross-entropy on synthetic images, then the game on both.

    In the second stage the loss of the curves is the classifier's, the accuracy that on synthetic
    images. No real label is read.
    """
    first = first_stage(model, task, first_share)
    with seeded(task.seed, "dada", "domain"):
        domain = nn.Linear(model.head.in_features, 1)  # category K + 1
    together, sets = Together(model, domain=domain), task.streams()
    rest = {"share": 1 - first_share, "of": second_stage}
    _, epochs, per_epoch = length(sets, task, **rest)
    step = dada_step(progresses(epochs * per_epoch), adversarial_weight)
    return first + stage(together, sets, task, name="adversarial", step=step, **rest)
