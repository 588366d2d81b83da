# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 41 A hundred images and a network that has seen a million
#
# **The question.** A GAN that learns a hundred images soon knows each by heart, and draws nothing else. A classifier that
# has learned from a million other images knows what pictures are like. Can a GAN borrow that, if it is only *told* what
# such a network sees in each training image?
#
# **The study's answer.** {cite:t}`mangla2022data` give generator and discriminator the features of a frozen network as the
# condition of each image: the data instance prior, DIP. A hundred faces from Danbooru, FFHQ and a hundred flowers are learned
# from random weights, by {term}`TransferGAN`, by {term}`FreezeD` and with {term}`DiffAugment`. With features of
# VGG-16 the distance to unseen images is lower in all but one case, and more of them are covered (Table 1 there). Labels made from the same
# features do harm instead (Table 7). The gain is there with three losses (Table 8), and also with StyleGAN2 but for one
# set of near-equal pictures (Table 6). There is one number a cell, and no spread.
#
# **Here.** The same comparisons at 32 pixels, with a small SNGAN {cite:p}`miyato2018spectral` on classes of Caltech-101
# {cite:p}`feifei2004learning`. The frozen network is EfficientNet-Lite0 {cite:p}`tan2019efficientnet`, which has learned
# ImageNet; GANs that start from others' weights have learned the 97 other classes.

# %% tags=["hide-input"]
from synthbook.page.page import answer

answer("41_dip_few_shot")

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
seeds: int = 1  # seeds to run: each draws training images and initial weights
first_seed: int = 0  # the first of them
parts: list[str] = ["methods"]  # also stylegan2, labels, losses, amount, controls, alike
methods: list[str] = ["DiffAugment"]  # some of scratch, TransferGAN, FreezeD, GLANN, BSA
priors: list[str] = ["supervised"]  # whose features; also self-supervised
targets: list[str] = ["caltech3:Faces_easy"]  # data:class, or a folder of images
study_targets: list[str] = ["caltech3:Faces_easy"]  # of all parts but methods and amount
target_images: int = 100  # images of a target to train on
held_out_images: int = 400  # others to compare with, at most; from its folder test, if any
real_source: str = "caltech97"  # real images that TransferGAN, FreezeD, GLANN and BSA saw before
amount_targets: list[str] = ["caltech3:airplanes"]  # to be learned from more and fewer images
amount_methods: list[str] = ["DiffAugment"]  # by these methods
amounts: list[int] = [25, 100, 400]  # numbers of images
data_root: str = ""  # where downloaded data sets lie
image_size: int = 32  # side in pixels, a power of two
architecture: str = "sngan"  # the GAN: sngan or biggan
network_settings: list[str] = [
    "channels: 16",
    "discriminator_channels: 16",
    "widest: 2",
    "latent: 64",
    "spectral_generator: true",
]  # of both networks
training_settings: list[str] = [  # over the published ones
    "batch_size: 8", "discriminator_steps: 1", "generator_learning_rate: 0.001",
    "discriminator_learning_rate: 0.001", "schedule: constant", "ema_half_life: 1000",
    "ema_start: 20", "standing_images: 250",
]  # fmt: skip
pretrain_settings: list[str] = [  # of training on the real source, over training_settings
    "batch_size: 16", "discriminator_steps: 2", "generator_learning_rate: 0.0004",
    "discriminator_learning_rate: 0.0004",
]  # fmt: skip
pretrain_steps: int = 2400  # training steps on the real source
finetune_steps: int = 3600  # training steps on a target
stop_after: int = 200  # of them this run does so many, a multiple of evaluate_every; 0: all
augment: str = "translation,cutout"  # of DiffAugment, also color
consistency: float = 10.0  # weight of DiffAugment's consistency
frozen_blocks: int = 2  # blocks of the discriminator that FreezeD keeps
perceptual: str = "efficientnet_lite0"  # network of GLANN's and BSA's distance, or vgg16
glann_epochs: int = 60  # passes of GLANN over the images, 50 a step
bsa_steps: int = 200  # training steps of BSA, on 25 images
stylegan2_targets: list[str] = ["caltech3:Faces_easy"]  # Table 6
stylegan2_real_source: str = "caltech97"  # what its FreezeD and GLANN saw before
stylegan2_image_size: int = 32  # pixels
stylegan2_network_settings: list[str] = ["channels: 16", "widest: 64", "latent: 64", "style: 64"]
stylegan2_training_settings: list[str] = ["path_length: 0", "r1: 0.16", "ema_half_life: 1000"]
stylegan2_finetune_steps: int = 1500  # training steps
stylegan2_evaluate_every: int = 100  # steps between two measurements
stylegan2_frozen_blocks: int = 2  # blocks of its discriminator that FreezeD keeps
evaluate_every: int = 200  # steps between two measurements
generated: int = 200  # generated images a measurement
measured: int = 300  # generated images for precision, recall and copying
extractor: str = "efficientnet_lite0"  # features of the distance; with inception it is FID
extractor_size: int = 64  # side that its images are resized to; inception has its own
prior_size: int = 64  # side of the images that the prior's network gets
precision: str = "float32"  # float32, or bfloat16 on a GPU
device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
threads: int = 1  # CPU threads; more of them round sums differently
workers: int = 1  # processes that train side by side; they change no number
rows: str = ""  # file to append the rows to; "" is _build/rows/<chapter>.jsonl

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies import dip

p = parameters("41_dip_few_shot", globals())
print(dip.check_few_shot(p))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Fréchet distance to held-out images of each method alone (grey discs) and with the prior (coloured diamonds), best snapshots. Small dots are seeds, bars the 95 % interval of their mean. The dashed line is what replaying the training images would have: whoever lies to its right has made nothing that is worth more than a copy.", "name": "fig-41-methods"}, "image": {"alt": "A panel for each target: for each method a disc (alone) and a diamond (with the prior) with intervals on an axis of distance, and a dashed vertical line for replayed training images."}}
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from synthbook.page import figures
from synthbook.page.page import Page, matching
from synthbook.page.tables import aside
from synthbook.record.rows import Run

figures.style()
METHODS = ["scratch", "TransferGAN", "FreezeD", "DiffAugment", "GLANN", "BSA"]
FD = "FID" if p.extractor == "inception" else "FD"


def named(table):
    """Return rows with the model's name, "DiffAugment + DIP", in a column of its own."""
    return table.assign(model=[dip.named(row) for row in table.to_dict("records")])


def methods_alone_and_with(table, whose):
    """Draw the distances of each method alone and with the prior, a panel for each target."""
    targets, priors = list(dict.fromkeys(table.dataset)), list(dict.fromkeys(table.prior))
    order = [name for name in METHODS if name in set(table.method)]
    size = (min(2.2 + 2.6 * len(targets), 14), 1.3 + 0.9 * len(order))
    fig, axes = plt.subplots(1, len(targets), figsize=size, sharey=True, squeeze=False)
    for ax, target in zip(axes[0], targets, strict=True):
        mine = table[table.dataset == target]
        for place, method in enumerate(order):
            for k, given in enumerate(priors):
                values = matching(mine, method=method, prior=given).value
                name, mark = ("scratch", "o") if given == "none" else ("dip", "D")
                if len(values):
                    high = place + 0.5 * (k / max(1, len(priors) - 1) - 0.5)
                    tint = figures.color(name)
                    figures.dots_and_interval(ax, high, values, tint, mark, below=0.14)
        again = matching(mine, method="replayed").value
        if len(again):
            ax.axvline(again.mean(), color="black", linestyle="--", linewidth=1)
        ax.set(title=Path(target).name, xlabel=f"{FD} to held-out images")
    axes[0][0].set(yticks=range(len(order)), yticklabels=map(figures.label, order))
    axes[0][0].set_ylim(len(order) - 0.5, -0.5)
    fig.supxlabel(f"discs alone, diamonds with DIP; {whose}", fontsize="small")
    plt.show()


def came_out(table, whose):
    """Return in words whether a model comes below replay, and what the prior changes, by target."""
    texts = []
    for target, mine in named(table).groupby("dataset", sort=False):
        again = matching(mine, method="replayed").value.mean()
        means = mine[mine.method != "replayed"].groupby("model").value.mean()
        nearest = f"the nearest, {means.idxmin()}, has {means.min():,.0f}, replay {again:,.0f}"
        below = "no model is" if means.min() > again else "a model is"
        text = f"{below} better than replaying the training images: {nearest}"
        wide = mine.pivot_table(index=["method", "seed"], columns="prior", values="value")
        given = next((prior for prior in wide if prior != "none"), "none")
        change = (wide[given] - wide["none"]).dropna()
        change = {name: change[name] for name in METHODS if given != "none" and name in change}
        if told := figures.sides(change, "smaller", "larger"):
            text += f". With DIP the distance is {told}"
        texts.append(f"{Path(target).name}: {text}")
    return f"{'. '.join(texts)} (95 % intervals; {whose})."


HELD_OUT = {"part": "methods", "against": "held_out"}
table, whose = Page(Run(p)).shown("best_fd", **HELD_OUT)
if whose:
    display(aside(came_out(table, whose)))
    methods_alone_and_with(table, whose)
else:
    print("Nothing is recorded at this scale; this run's numbers are in the tables below.")

# %% [markdown]
# ## The mechanism
#
# ### What a frozen network sees
#
# $C$ is a network that has learned something else, and is not trained any more. $C(x)$ are the numbers of its last
# layer for an image $x$, 1,280 of them here. Two images with similar numbers are similar to $C$:

# %%
from synthbook.machine import prepare

device = prepare(p.device, p.threads)
study = dip.FewShot(p, device)
seed, part, target, _ = study.jobs[0]
compared = study.models[part]
for name in dict.fromkeys(job[2] for job in study.jobs):
    few = study.images(seed, part, name, compared[0])
    print(f"{name}: {len(few.train)} images to learn from, {len(few.held_out or ())} held out")
print("models:", *map(dip.shown, compared), sep="\n  ")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Training images (top), and below each the three that are nearest to it in the features of the prior's network. What has it looked at: the person, the light, the background?", "name": "fig-41-features"}, "image": {"alt": "Eight small photographs in a row, and below each its three nearest ones among the other training images."}}
train = study.images(seed, part, target, compared[0]).train.images
rows_of = study.unit(train) if study.priors else study.extractor.cached(train)
apart = np.linalg.norm(rows_of[:, None] - rows_of[None], axis=2)
near = apart.argsort(axis=1)[:8]
heads = ["image", "nearest", "second", "third"]
figures.sheet([(head, train[near[:, k]]) for k, head in enumerate(heads)], 8)
plt.show()

# %% [markdown]
# ### The prior as a condition
#
# Generator and discriminator get the numbers through one linear map each, $G_{emb}$ and $D_{emb}$. In the generator they
# set gains and biases of batch normalisation. The discriminator is a {term}`projection discriminator`
# {cite:p}`miyato2018cgans`: with its last features $D_f(x)$ and their linear score $D_l$,
#
# $$
# D(x, y) = \big\langle D_{emb}(y),\, D_f(x) \big\rangle + D_l\big(D_f(x)\big) ,
# $$ (eq-dip-projection)
#
# and the game is the hinge game, in which the generated image of a pair has the condition of the real one:
#
# $$
# \begin{aligned}
# L_D &= \mathrm{E}\, \max\bigl(0, 1 - D(x, C(x))\bigr) + \mathrm{E}\, \max\bigl(0, 1 + D(G(z\,|\,C(x)), C(x))\bigr), \\
# L_G &= -\mathrm{E}\, D\bigl(G(z\,|\,C(x)), C(x)\bigr) .
# \end{aligned}
# $$ (eq-dip-losses)
#
# So $D$ must say of an image whether it is real *and* whether it is this one, as far as $C$ can tell; and for
# each training image $G$ must make one that passes for it. That none is left out is asked for, not hoped for. These are Eqs. 3
# and 4 of the paper. It does not say how large $C(x)$ is; the library divides it by $\sqrt d$ in front of $D_{emb}$, so that
# its length is that of a label, and neither term of $D$ drowns the other. These are the lines:

# %%
import torch

from synthbook.gans.losses import LOSSES
from synthbook.gans.networks import create_discriminator, create_generator
from synthbook.gans.prior import Interpolations, prior
from synthbook.randomness import torch_generator
from synthbook.studies.frozen import frozen
from synthbook.training import normalise

few = study.images(seed, part, target, compared[0]).train.images
C = frozen("lite0", device, size=p.prior_size)
D_prior = prior(C.cached(few))  # over one number, so that their mean square is 1
network = study.network("methods") | {"condition_size": D_prior.vectors.shape[1]}
G, D = create_generator(seed=seed, **network), create_discriminator(seed=seed, **network).eval()

draw = torch_generator(seed, "an example")
x, y = normalise(torch.from_numpy(few[:8]).permute(0, 3, 1, 2)), D_prior.vectors[:8]
with torch.no_grad():
    fake = G(torch.randn(len(x), G.config.latent, generator=draw), y)
    D_f = D.features(x)
    by_hand = (D.embedded(y) * D_f).sum(1) + D.psi(D_f).squeeze(1)
    L_D = LOSSES["hinge"].discriminator(D(x, y), D(fake, y))
    L_G = LOSSES["hinge"].generator(D(fake, y))
print(f"D(x, y) of 8 images: {D(x, y).mean().item():.4f}, by hand {by_hand.mean().item():.4f}")
print(f"L_D {L_D.item():.2f}, L_G {L_G.item():.2f} of untrained networks")

# %% [markdown]
# ### New images
#
# A hundred conditions are a hundred points. New images come from between them (Eq. 5):
#
# $$
# G\big(z \,\big|\, \lambda\, p_1 + (1 - \lambda)\, p_2\big), \qquad p_1, p_2 \sim D_{prior}, \quad \lambda \sim U[0, 1] .
# $$ (eq-dip-between)

# %%
between = Interpolations(D_prior.vectors).sample(4, seed=seed)
f"{len(between)} conditions of {between.shape[1]} numbers; variance {between.var():.2f}"

# %% [markdown]
# ### The control
#
# Would any condition do? Each method is run without the prior, too, and then has one *learned* embedding an image: the same
# path from there on, and nothing known of the image. Its images come from the embeddings of training images. Other
# controls have no condition at all, or gains and biases from $z$ alone {cite:p}`chen2019self`, or, after Logo-GAN
# {cite:p}`sage2018logo`, 5 or 10 labels by k-means of the prior's features.
#
# With DiffAugment, $D$ is also asked to say the same of a real image and its augmented copy {cite:p}`zhang2020consistency`, with
# and without the prior. Two rivals have no discriminator. Batch statistics adaptation (BSA) {cite:p}`noguchi2019image` trains
# scales and shifts of a pretrained generator, GLANN {cite:p}`hoshen2019non` the generator and a code an image, by a
# perceptual distance; with the prior GLANN's codes are $G_{emb}(C(x))$ (Eq. 7).
#
# ### What is measured
#
# - The **Fréchet distance** {cite:p}`heusel2017gans` to images of the target that nothing was trained on. The paper chooses the
#   best snapshot by that number, and so does this chapter; the last snapshot stands beside it, which nothing has chosen.
# - **Replay**: the distance of the training images themselves, drawn with repetition. A generator that only copies has it.
# - **Precision and recall** {cite:p}`kynkaanniemi2019improved`, with 10 and 40 neighbours as in the paper.
# - $C_T$ {cite:p}`meehan2020nonparametric`: are generated images nearer to the training images than held-out ones are? Far
#   below 0 they are copies.

# %% [markdown]
# ## The experiment
#
# A hundred images of each target, the same for all models of a seed, with the same first weights of the discriminator (the
# generator's are drawn after its embedding, and differ), the same budget, and the same random draws. Where a GAN of other images is the start, all of a seed start from the same one.
#
# This run is to be watched: it stops early (`stop_after`), and gives the first part of the curves. What a step does
# does not depend on how many follow, so these are the same numbers as those of a whole training. Best distances
# take whole trainings; they are recorded, and `-p stop_after 0` makes them here.

# %% tags=["experiment"]
from synthbook.page.progress import progress
from synthbook.studies.ahead import ahead

run = Run(p)
with ahead(study, p):
    for job in progress(study.jobs, "models"):
        for row in study.rows(*job):
            run.add(**row)

# %%
page = Page(run)
page.agreement()

# %% [markdown]
# ## The pictures
#
# ### Samples, and what they are copies of
#
# Generators of whole trainings come with the book; where one is kept, it is shown, and this run's own where none is. Below
# each generated image is the training image that is nearest to it, in the features of the distance. Generated images have conditions
# between those of two training images, learned embeddings or priors, where a model has any; the tables say which images they judge.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Generated images of each model, from between two conditions where it has any, and, below them, the nearest training images (first seed, first target, best snapshot). Two equal rows are copies. Is each a face, with eyes in their place? Are there faces that none of the images below has?", "name": "fig-41-samples"}, "image": {"alt": "Pairs of rows of small images: generated ones of a model, and below them their nearest training images."}}
from synthbook.studies import kept

train, lines = study.images(seed, part, target, compared[0]).train.images, []
whole = {one: kept.of(study, seed, part, target, one) for one in compared}
for model in compared:
    how = {"between": True, "learned": whole[model]}
    made = study.samples(seed, part, target, model, 12, **how)
    lines += [(dip.shown(model), made), ("nearest", study.beside(made, train))]
    learned = whole[model] or study.learned(seed, part, target, model)
    best = learned.chosen("held_out" if "held_out" in learned.history[learned.last] else "train")
    print(f"{dip.shown(model)}: step {best:,}, {'kept' if whole[model] else 'this run'}")
figures.sheet(lines, 12)
plt.show()

# %% [markdown]
# ### On the way from one image to another
#
# Figures 3 and 7 of the paper: the same $z$, and conditions between those of two training images. The paper sees
# the baseline jump from one memorised image to the next.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Walks between the conditions of two training images, which stand at both ends of each line: between two learned embeddings, and between two priors. Does each step look like an image of the target, and is the way steady or does it jump?", "name": "fig-41-walks"}, "image": {"alt": "Rows of small images that change from left to right between two photographs: for each pair of ends one row a model."}}
lines = []
for ends in dip.pairs_of(len(train), 2):
    for model in (one for one in compared if one.between):
        way = study.walk(seed, part, target, model, ends, 10, learned=whole[model])
        way = np.concatenate([train[[ends[0]]], way, train[[ends[1]]]])
        lines.append((dip.shown(model), way))
figures.sheet(lines, 12)
plt.show()

# %% [markdown]
# ### Distance over the steps


# %% tags=["hide-input"] mystnb={"figure": {"caption": "Fréchet distance to held-out images over the steps, means over seeds in bands of one standard deviation. Look at where a curve turns upwards: there training does harm; chapter 42 asks whether the discriminator knows its images by heart. A curve that still falls at the end says that the budget, not the method, may decide.", "name": "fig-41-curves"}, "image": {"alt": "A panel for each target with one curve a model: distance over training steps, on a logarithmic axis; dashed with the prior."}}
def curves(ax, table):
    """Draw the distances of a target over the steps, dashed with the prior."""
    for model, rows in table.groupby("model", sort=False):
        wide = rows.pivot(index="seed", columns="step", values="value").rename(columns=int).dropna()
        look = {"marker": "", "color": figures.color(rows.method.iloc[0]), "label": model}
        look["linestyle"] = "-" if (rows.prior == "none").all() else "--"
        figures.band(ax, wide.columns, wide.to_numpy(), model, **look)
    ax.set(yscale="log", xlabel="step", title=Path(table.dataset.iloc[0]).name)
    figures.numbers_along(ax)


table, whose = page.shown("fd", part=part, against="held_out")
if whose:
    sets = [rows for _, rows in named(table).groupby("dataset", sort=False)]
    fig, axes = plt.subplots(1, len(sets), figsize=(2.2 * len(sets) + 3.2, 3), squeeze=False)
    for ax, rows in zip(axes[0], sets, strict=True):
        curves(ax, rows)
    axes[0][0].set_ylabel(f"{FD} to held-out images")
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    fig.supxlabel(whose, fontsize="small")
    plt.show()
else:
    print(f"No curve of distances to held-out images is kept of the part {part}.")

# %% [markdown]
# ### More and fewer images
#
# Figure 6 of the paper: the same from 25 to 500 images.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Best Fréchet distance to held-out images by the number of training images, alone (solid) and with the prior (dashed); means over seeds and 95 % intervals. The held-out images are the same everywhere.", "name": "fig-41-amount"}, "image": {"alt": "One line a model: distance over the number of training images, both axes logarithmic."}}
table, whose = page.shown("best_fd", part="amount", against="held_out")
if whose:
    fig, ax = plt.subplots()
    for model, rows in named(table).groupby("model", sort=False):
        points = sorted(rows.images.unique())
        groups = [rows[rows.images == n].value for n in points]
        look = {"color": figures.color(rows.method.iloc[0]), "marker": "o", "label": model}
        look["linestyle"] = "-" if (rows.prior == "none").all() else "--"
        figures.means_and_intervals(ax, points, groups, **look)
    ax.set(xscale="log", yscale="log", xlabel=f"training images ({whose})", ylabel=FD)
    ax.set_xticks(sorted(table.images.unique()), sorted(table.images.unique()))
    ax.xaxis.set_minor_formatter("")
    figures.numbers_along(ax)
    ax.legend()
    plt.show()
else:
    print("Neither recorded nor run here: -p parts amount -p stop_after 0 runs it.")

# %% [markdown]
# ## The tables
#
# Distances to held-out images at the best snapshot: Table 1 of the paper and its counterpart. Numbers of different targets,
# sizes and extractors cannot be compared; with and without the prior they can.

# %% tags=["hide-input"]
import pandas as pd

from synthbook.record.published import published

ORDER = [name + more for name in METHODS for more in ("", " + DIP", " + DIP, self-supervised")]


def in_paper(table, metric="fid"):
    """Return the figures of a table of the paper with the models' names."""
    printed = published("dip", table, metric=metric)
    model = (
        printed.method.str.replace("From scratch", "scratch")
        .str.replace("-Vgg16", "")
        .str.replace("-SimCLR", ", self-supervised")
        .replace("Training images resampled with repetition", "replayed")
    )
    if "labels" in printed:
        clusters = printed.labels.str.extract(r"kmeans(\d+)")[0]
        model = model.where(clusters.isna(), model.str.partition(" +")[0] + " + " + clusters)
        model = model.where(clusters.isna(), model + " clusters")
    return printed.assign(model=model)


def compared_with(printed, part, title, metric="best_fd", columns="dataset", **how):
    """Return the table of a metric, to held-out images by default: paper, this run, recorded runs."""
    where = {"part": part, "metric": metric} | how.pop("where", {"against": "held_out"})
    headings = {"model": f"model (best {FD})"} if metric == "best_fd" else {}
    headings |= how.pop("headings", {})
    how = {"index": ["model"], "order": ORDER, "headings": headings, "title": title} | how

    def select(table):
        return matching(named(table), **where)

    return page.table(columns=columns, paper=printed, select=select, **how)


printed = pd.concat([in_paper("T1"), in_paper("text")])  # the latter: what replay has
compared_with(printed, "methods", "Few images, with and without the prior")

# %% [markdown]
# **Would another rule say the same?** The last snapshot, which nothing has chosen, and the best one against the images
# trained on, chosen by these. A model that wins only at its best snapshot wins by the choice.


# %% tags=["hide-input"]
def by_rule(table):
    """Return distances with the rule that they follow in a column, target by target."""
    table = matching(named(table), metric=["best_fd", "last_fd"], part="methods")
    place = table.model.map({model: k for k, model in enumerate(ORDER)})
    rule = table.metric.str.removesuffix("_fd") + ", "
    rule += table.against.map({"train": "trained on", "held_out": "held out"})
    table = table.assign(rule=rule, place=place)
    return table.sort_values(["dataset", "place", "rule"], kind="stable")


headings = {"dataset": "target", "model": f"model ({FD})"}
page.table(["dataset", "model"], "rule", select=by_rule, headings=headings)

# %% [markdown]
# **Precision, recall, copies.** Of images as the tables above judge them: how many lie among the held-out ones (precision), how many
# held-out ones lie among them (recall), and whether they are nearer to the training images than held-out ones are ($C_T$, below $-3$
# for copies). Then of images from *between* two conditions, learned embeddings or priors: their distance to the held-out ones, and how
# far they are from the nearest training image. A run of this part adds what replaying the training images, or ten of them, would have.
#
# With the prior all images come from between two conditions. Without it the tables above judge images of the learned embeddings
# themselves. That is a choice of this book, for the paper does not say how its baselines are sampled when they are judged; and it can
# decide who is ahead, since those from between two can be nearer to the held-out ones. So compare with and without the prior in the
# column *between*, too (its distances are of more images, and so a little lower).

# %% tags=["hide-input"]
MEASURES = {
    "precision": "precision",
    "recall": "recall",
    "c_t": "C_T",
    "interpolated_fd": f"{FD} between",
}
MEASURES |= {"nearest_distance": "to nearest"}


def judged(table):
    """Return what is measured of the methods, with its name on the page in a column."""
    table = matching(named(table), metric=[*MEASURES], part="methods")
    place = table.metric.map({metric: k for k, metric in enumerate(MEASURES)})
    return table.assign(measure=table.metric.map(MEASURES), place=place).sort_values("place")


references = ["replayed", "ten replayed"]
how = {"headings": {"dataset": "target"}, "order": [*ORDER, *references]}
digits = {"": 2, MEASURES["interpolated_fd"]: 0}
page.table(["model", "dataset"], "measure", select=judged, decimals=digits, **how)

# %% [markdown]
# **StyleGAN2.** Table 6 of the paper, whose distances are to the images that were trained on: a copy of them would have the best.

# %% tags=["hide-input"]
to_trained = {"against": "train"}
compared_with(in_paper("T6"), "stylegan2", "StyleGAN2, to the images trained on", where=to_trained)

# %% [markdown]
# **Labels of the same features, losses, controls.** Tables 7 and 8 of the paper, and what it says of other baselines.

# %% tags=["hide-input"]
compared_with(in_paper("T7"), "labels", "Clusters in the prior's place")

# %% tags=["hide-input"]
losses = in_paper("T8").assign(loss=lambda t: t.loss.str.replace("-", "_"))
how = {"index": ["dataset", "model"], "order": [], "headings": {"dataset": "images"}}
compared_with(losses, "losses", "Three losses", columns="loss", **how)

# %% tags=["hide-input"]
CONDITIONS = {
    "instances": "an embedding an image", "none": "no condition", "self-modulated": "z alone",
}  # fmt: skip


def controls(table):
    """Return the best distances of what can take the prior's place, in words."""
    table = matching(table, part="controls", metric="best_fd", against="held_out")
    return table.assign(condition=table.labels.map(CONDITIONS))


page.table(
    ["condition"],
    "dataset",
    select=controls,
    title="A network from random weights, without the prior",
    headings={"condition": f"condition (best {FD})"},
)

# %% [markdown]
# The first of these is the model from scratch of the first table, trained again in this part. On another processor, which sums in
# another order, a training ends elsewhere: how far their means are apart says how little a difference of that size means.

# %% [markdown]
# **Images that are alike** (*dip-22*). A hundred images drawn at random, and the hundred that lie nearest to each other in the prior's features
# among twice as many: best distances to the images trained on and to held-out ones; by what share the prior makes the first of
# these smaller (*gain*, below zero where it makes it larger); and how far two of the images are from each other in the features, of
# length one (*spread*).

# %% tags=["hide-input"]
ALIKE = {"best_fd": f"{FD} to ", "gain": "gain", "prior_spread": "spread"}


def alike(table):
    """Return what is measured of images that are alike, and of others, in words."""
    table = matching(named(table), part="alike", metric=[*ALIKE])
    to = table.against.map({"train": "trained on", "held_out": "held out"}).fillna("")
    measure = table.metric.map(ALIKE) + to.where(table.metric == "best_fd", "")
    model = table.model.where(table.method != "prior", "the images")
    return table.assign(measure=measure, model=model)


digits = {"": 2} | {f"{ALIKE['best_fd']}{to}": 0 for to in ("trained on", "held out")}
how = {"headings": {"chosen": "images"}, "decimals": digits}
page.table(["chosen", "model"], "measure", select=alike, **how)

# %% [markdown]
# ## The claims
#
# A claim about every target or method holds only if each of its parts does.

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# **Reading them.** The conditional game gives $D$ more to tell, so it may also just change how *soon* a model learns. Where
# the baseline is still getting better at the end (`late_gain`), with and without the prior is a race and not a result; such
# claims are undecided. And replay is a strong rival: who lies above its line has made nothing better than copies, however
# good the pictures look.
#
# The distance is taken in features of the network that gives the prior. A generator that is told these numbers of its
# training images may please it by them. The paper has two networks, VGG-16 and Inception; both have learned ImageNet. A
# prior that has never seen a label is the test of that.
#
# *dip-07* compares two ways without a discriminator. What the prior adds to GLANN, which the paper does not report, stands beside it:
# compare GLANN with and without in the tables, and look at $C_T$, too, for codes that are a map of each image's features can end as copies
# of it. Recall has a grain: its forty neighbours are a large part of a few hundred images, so that few images can reach many.
# "Almost none", of which *dip-04* speaks, is seen of BSA alone, whose images are all alike or far off. The line *ten replayed*, where there is one, says how coarse it is.
#
# The paper's own numbers go against some of its sentences: FreezeD gets worse with the prior on flowers, and TransferGAN and
# FreezeD with the prior stay above replay on Anime.

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **Size and budget.** 3,600 steps with batches of 8 and one step of $D$ at 32 pixels, not 30,000 with 25 and four at
#   128. Spectral norm is in both networks, as in the paper. How the settings were chosen, by models
#   without the prior, stands in {doc}`../book/beds`, and so does where models with the prior had a say. Whether models settle on a target is a premise.
# - **Another frozen network.** EfficientNet-Lite0 at 64 pixels for VGG-16 at its own size: 1,280 numbers, not 4,096. With
#   `-p priors self-supervised` a small network that has seen CIFAR without its labels stands for SimCLR, and with
#   `-p priors supervised=timm:vgg16.tv_in1k` it is VGG-16 itself, once timm has fetched its weights. They are
#   divided by one number, so that their mean square is one, and of length one for $D$, of which the paper says nothing.
# - **Another source.** The 97 classes stand for ImageNet. Embeddings of its classes are not kept, as they mean other
#   things; generator and discriminator keep all else.
# - **FreezeD** keeps two of four blocks, not five of six. **DiffAugment** goes without colours, as in chapter 52.
# - **GLANN and BSA** take the perceptual distance of the same frozen network, 60 passes and 200 steps; more steps make BSA no better
#   ({doc}`../book/beds`). The paper quotes BSA, and has no GLANN without the prior.
# - **Alike images** (dip-22) are the hundred nearest of two hundred in the prior's features. The paper has one set of a
#   single cat.
# - **StyleGAN2** (Table 6) is not run at mini: `-p parts stylegan2 -p stop_after 0`.
#
# ```bash
# papermill notebooks/41_dip_few_shot.ipynb out.ipynb -p targets caltech3:airplanes -p stop_after 0
# synthbook run 41_dip_few_shot -p parts=labels,losses -p stop_after=0
# synthbook run 41_dip_few_shot --scale small -p data_root=data
# synthbook run 41_dip_few_shot --scale paper
# synthbook run 41_dip_few_shot -p targets=my_hundred_images/ -p target_images=75 -p stop_after=0 -p workers=4
# ```
#
# Of your folder `target_images` are learned, and up to `held_out_images` others are held out: keep a quarter. A folder that
# has the folders `train` and `test` gives the first to learn from, and the second is held out. Where none is left, distances
# are to the images that were trained on, and copies win. The fewer are held out, the larger is the distance of the same
# images: compare runs with equally many.
