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
# # 52 From drawn images to a hundred photographs
#
# **The question.** A GAN needs thousands of images, and often there are a hundred. It can learn from other images first
# and then from the hundred. Must the others be photographs? Or is a GAN that has seen nothing but drawn shapes and noise
# ({doc}`51_synthesizer`) a better start than random weights, and even than a GAN that has seen real images?
#
# **The study's answer.** {cite:t}`baek2022generic` pretrain StyleGAN2 {cite:p}`karras2020analyzing` on Primitives-PS and
# finetune it on eight sets of about 100 photographs. The distance to the photographs is lower than from random weights
# on all eight (Tables 1 and 2 there). Of four synthesizers Primitives-PS is the best on three of four sets. Against
# StyleGAN2 pretrained on faces it is ahead on every set but that of a face. It needs fewer steps, too (Figure 5). There
# is one number a cell, and no spread.
#
# **Here.** Both tables, the curves, and the pictures, at 32 pixels: a hundred faces, motorbikes or airplanes of Caltech-101
# {cite:p}`feifei2004learning` are learned. A small SNGAN {cite:p}`miyato2018spectral` stands in for StyleGAN2, which at this
# size takes twice as long to draw a face. Of the pretrained GANs of the first seed those of Primitives-PS and of the real
# source come with the book. The latter is the rest of Caltech-101, and motorbikes stand where the face stands in the paper:
# they are nearest to it.

# %% tags=["hide-input"]
from synthbook.page.page import answer

answer("52_transfer_to_few_images")

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
seeds: int = 1  # seeds to run: each draws training images, drawn images and initial weights
first_seed: int = 0  # the first of them
parts: list[str] = ["synthesizers"]  # some of synthesizers (Table 1), sources (Table 2)
variants: list[str] = ["Primitives-PS"]  # synthesizers to pretrain on
targets: list[str] = ["caltech3:Faces_easy"]  # data:class, or a folder of images
in_domain: list[str] = ["caltech3:Motorbikes"]  # targets of the kind that the real source shows
single_object: list[str] = ["caltech3:Motorbikes"]  # targets of one object on plain ground
real_source: str = "caltech97"  # real images to pretrain on: a data set, data:class or a folder
pretrain_on: str = ""  # folder of a pair of networks that stands for the pretraining on them
target_images: int = 100  # images of a target to train on
data_root: str = ""  # where downloaded data sets lie
image_size: int = 32  # side in pixels, a power of two
shapes: int = -1  # shapes in a drawn image; -1: by resolution, 50 at 32 pixels
size_policy: str = "Decay"  # sizes of the shapes: Decay, Rand, Fix(1/10), Fix(1/5), Fix(1/2)
quirks: list[str] = []  # oddities of the public drawing code, of chapter 51
architecture: str = "sngan"  # the GAN: sngan, biggan or stylegan2
network_settings: list[str] = [
    "channels=32",
    "discriminator_channels=32",
    "latent=64",
]  # of both networks
training_settings: list[str] = [  # over the published ones
    "batch_size: 16", "discriminator_steps: 2", "generator_learning_rate: 0.001",
    "discriminator_learning_rate: 0.001", "schedule: constant", "ema_half_life: 1000",
    "ema_start: 20", "standing_images: 250",
]  # fmt: skip
pretrain_steps: int = 1600  # training steps on drawn or real source images
finetune_steps: int = 3600  # training steps on a target
stop_after: int = 100  # of them this run does so many, a multiple of evaluate_every; 0: all
augment: str = "translation,cutout"  # DiffAugment, also color; "" for none
frozen_blocks: int = 2  # blocks of the discriminator that FreezeD keeps
evaluate_every: int = 100  # steps between two measurements
generated: int = 200  # generated images a measurement
extractor: str = "efficientnet_lite0"  # features of the distance; with inception it is FID
extractor_size: int = 64  # side that its images are resized to; inception has its own
precision: str = "float32"  # float32, or bfloat16 on a GPU
device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
threads: int = 1  # CPU threads; more of them round sums differently
workers: int = 1  # processes that train side by side; they change no number
rows: str = ""  # file to append the rows to; "" is _build/rows/<chapter>.jsonl

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies import prim

p = parameters("52_transfer_to_few_images", globals())
print(prim.check_transfer(p))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Gain of each start over random weights, in percent of the best distance to the training images. Small dots are seeds, bars the 95 % interval of their mean; where it ends at the edge of a panel, as with few seeds, it goes on. Left of zero the source did harm. In the target inside the domain of the real source, compare TransferGAN and FreezeD with their places in the others.", "name": "fig-52-gains"}, "image": {"alt": "A panel for each target: for each pretrained start a dot with an interval, on an axis of gain in percent with a line at zero."}}
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from synthbook.claims.inference import MIN_SEEDS
from synthbook.page import figures
from synthbook.page.page import Page, matching
from synthbook.page.tables import aside
from synthbook.record.rows import Run

figures.style()
ORDER = ["scratch", "PinkNoise", "Primitives", "Primitives-S", "Primitives-PS", "TransferGAN"]
ORDER += ["FreezeD"]


def named(table):
    """Return rows with the model's name in a column of its own."""
    return table.assign(model=table.train.where(table.method == "finetune", table.method))


def gains(table, whose):
    """Draw what each start saves of the distance from scratch, a panel for each target."""
    table = named(table)
    targets = [name for name in dict.fromkeys(table.dataset) if name != "all outside"]
    models = [name for name in ORDER if name in set(table.model)]
    size = (min(1.8 + 2.2 * len(targets), 14), 1.1 + 0.36 * len(models))
    how = {"figsize": size, "sharex": True, "sharey": True, "squeeze": False}
    fig, axes = plt.subplots(1, len(targets), **how)
    for ax, target in zip(axes[0], targets, strict=True):
        mine = table[table.dataset == target]
        for place, model in enumerate(models):
            values = 100 * mine[mine.model == model].value
            if len(values):
                look = figures.mark(model)
                figures.dots_and_interval(ax, place, values, look["color"], look["marker"])
        ax.axvline(0, color="black", linewidth=0.8)
        within = ", inside" if (mine.domain == "inside").any() else ""
        ax.set(title=Path(target).name.rpartition(":")[2] + within, xlabel="gain (%)")
    axes[0][0].set(yticks=range(len(models)), yticklabels=map(figures.label, models))
    axes[0][0].set_ylim(len(models) - 0.5, -0.5)
    low, high = axes[0][0].get_xlim()
    reach = 125 * table.value[table.dataset.isin(targets)].abs().max()
    axes[0][0].set_xlim(max(low, -reach), min(high, reach))  # bars of few seeds would hide these
    fig.supxlabel(whose, fontsize="small")
    plt.show()


def came_out(table, whose):
    """Return in words what drawn and real sources save of the distance, by target."""
    table = named(table[table.dataset != "all outside"])
    texts = []
    for model in ("Primitives-PS", "TransferGAN"):
        means = matching(table, model=model).groupby("dataset", sort=False).value.mean()
        told = [
            f"{100 * x:+.1f} % ({Path(name).name.rpartition(':')[2]})" for name, x in means.items()
        ]
        texts += [f"{figures.label(model)} {', '.join(told)}"] if told else []
    few = ", too few for a verdict" if table.seed.nunique() < MIN_SEEDS else ""
    told = f"Saved of the distance from random weights on average ({whose}{few}): "
    return told + f"{'; '.join(texts)}." if texts else ""


table, whose = Page(Run(p)).shown("gain", against="train")
if whose:
    if told := came_out(table, whose):
        display(aside(told))
    gains(table, whose)
else:
    print("Nothing is recorded at this scale; the picture of this run is below.")

# %% [markdown]
# ## The mechanism
#
# ### What is learned, and from what before
#
# A **target** is the few images that count: here a hundred pictures of one class of Caltech-101, and the rest of the class
# is held out. A **source** is what the GAN sees before: the endless images of a synthesizer, or real images. The real
# source has the other 97 classes. Which target lies inside its domain, as Obama's face lies among faces? The rule,
# by images alone: the one whose Fréchet distance to the source is smallest. That is Motorbikes (2,568; airplanes 2,684;
# faces 3,898): one thing in the middle, from the side, on plain ground, as most of the 97 classes are photographed.

# %%
from synthbook.machine import prepare

device = prepare(p.device, p.threads)
study = prim.Transfer(p, device)
for name in p.targets:  # tells now which has too few images
    few = study.target(p.first_seed, name)
    print(f"{name}: {len(few.train)} images to learn from, {len(few.held_out or ())} held out")
print("starts:", *study.models)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Above: images of the targets, of which the GAN gets a hundred. Below: images of the sources, by their names. Which of them would you show it first?", "name": "fig-52-images"}, "image": {"alt": "Rows of small images: faces, motorbikes and airplanes; coloured noise, flat shapes, flat shapes with a large one, shapes on noise, and photographs of other things."}}
from dataclasses import replace

from synthbook.generate.primitives import VARIANTS, synthesize

OF_BOOK = ("caltech3:Faces_easy", "caltech3:Motorbikes", "caltech3:airplanes")
shown = OF_BOOK if {*p.targets} <= {*OF_BOOK} else p.targets
targets = {Path(name).name.rpartition(":")[2]: name for name in shown}
looks = {word: study.target(p.first_seed, name).train.images for word, name in targets.items()}
drawing = {"resolution": p.image_size, "seed": p.first_seed}
recipes = {variant: replace(study.drawn, variant=variant) for variant in VARIANTS}
looks |= {variant: synthesize(recipe, 8, **drawing) for variant, recipe in recipes.items()}
if not p.pretrain_on and ("sources" in p.parts or p.real_source == "caltech97"):
    real = study.real().images
    looks["real source"] = real[:: max(1, len(real) // 8)]
figures.sheet(looks.items(), 6)
plt.show()

# %% [markdown]
# At this size a hundred shapes would cover the ground of a drawn image. How much of it can be seen, outside the large
# shape, and which share of the other shapes shows at all:

# %%
from synthbook.studies.drawn import visibility

of_paper = replace(study.drawn, shapes=100)
for recipe in dict.fromkeys((of_paper, study.drawn)):
    seen = visibility(recipe, 200, resolution=p.image_size, seed=p.first_seed)
    print(recipe.shapes, "shapes:", *(f"{name} {value:.2f}" for name, value in seen.items()))

# %% [markdown]
# ### A GAN for few images
#
# Discriminator $D$ and generator $G$ play the hinge game of {cite:t}`miyato2018spectral`. With logits $D$,
#
# $$
# L_D = \mathrm{E}\, \max\big(0, 1 + D(T(G(z)))\big) + \mathrm{E}\, \max\big(0, 1 - D(T(x))\big), \qquad
# L_G = -\mathrm{E}\, D(T(G(z))) .
# $$
#
# (At the larger scales, with StyleGAN2, it is the non-saturating game of {cite:t}`goodfellow2014generative` with the R1
# penalty {cite:p}`mescheder2018which`.) With a hundred images $D$ soon knows each of them by heart. So it never sees one as
# it is: $T$ is DiffAugment {cite:p}`zhao2020differentiable`, a shift and a grey square, at the larger scales new colours too,
# with fresh draws every time, on real and generated images alike. $G$ learns through $T$, which is differentiable. All
# models of this chapter use it.
#
# These are the lines of the library that are the formula:

# %%
import torch

from synthbook.gans.augment import augmentation
from synthbook.gans.losses import LOSSES, r1_penalty
from synthbook.gans.networks import create_discriminator, create_generator
from synthbook.randomness import torch_generator
from synthbook.training import normalise

generator = create_generator(seed=p.first_seed, **study.network)
discriminator = create_discriminator(seed=p.first_seed, **study.network)
draw = torch_generator(p.first_seed, "an example")
recipe = study.recipe
loss, T = LOSSES[recipe.loss], augmentation(recipe.augment)

few = study.target(p.first_seed, p.targets[0]).train.images[:8]
x = normalise(torch.from_numpy(few).permute(0, 3, 1, 2)).requires_grad_()
with torch.no_grad():
    fake = generator(torch.randn(len(x), generator.config.latent, generator=draw))
real_logits, fake_logits = discriminator(T(torch.cat([x, fake]), draw)).chunk(2)
L_D, L_G = loss.discriminator(real_logits, fake_logits), loss.generator(fake_logits)
if recipe.r1:
    L_D = L_D + recipe.r1 / 2 * r1_penalty(real_logits, x)
print(f"L_D {L_D.item():.2f}, L_G {L_G.item():.2f} of untrained networks")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What the discriminator sees of a target: its images (top row) and three draws of DiffAugment for each. Grey is zero, the value of what is cut out or shifted in.", "name": "fig-52-augment"}, "image": {"alt": "Five small images in a row, and below each three versions, shifted and with a grey square."}}
rows_of = {"as they are": x.detach()} | {f"draw {k}": T(x.detach(), draw) for k in (1, 2, 3)}
to_bytes = {
    name: ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    for name, images in rows_of.items()
}
figures.sheet(to_bytes.items(), 5)
plt.show()

# %% [markdown]
# ### The transfer
#
# It is a copy. As in the public code all weights start from those of the pretrained pair, each from its own: $G$ and $D$
# from the last ones that were trained, the averaged generator, which makes all images that are judged, from the averaged
# one. (With `ema_start` = 20 the average is a copy of the trained weights for the first 20 steps here, too, so that only the
# measurement before the first step is of the averaged one.) The optimisers start anew. With real source images that is
# TransferGAN {cite:p}`wang2018transferring`. FreezeD {cite:p}`mo2020freeze` also keeps the first blocks of $D$, those next to
# the image, as they were.

# %%
from synthbook.gans.transfer import freeze, transfer

another = create_discriminator(seed=p.first_seed + 1, **study.network)  # a pretrained one's place
kept = transfer(discriminator, another)
frozen = freeze(discriminator, p.frozen_blocks)
count = len(discriminator.state_dict())
print(f"D: {count - len(kept)} of {count} tensors copied")
print(f"FreezeD keeps {len(frozen)} of them, in the first {p.frozen_blocks} blocks")

# %% [markdown]
# ### The distance, and which snapshot
#
# Generated and real images are compared by their features, with means $\mu$ and covariances $\Sigma$
# {cite:p}`heusel2017gans`:
#
# $$
# d^2 = \| \mu_r - \mu_g \|^2 + \operatorname{tr} \big( \Sigma_r + \Sigma_g - 2\, (\Sigma_r \Sigma_g)^{1/2} \big) .
# $$
#
# With the features of Inception it is FID; with others it is called FD here, and the extractor is named. For few images
# there is a shortcut. If $\Sigma_r = A^\top A$ and $\Sigma_g = B^\top B$ with a row an image, then
# $\operatorname{tr}(\Sigma_r \Sigma_g)^{1/2}$ is the sum of the singular values of $A B^\top$, a matrix with a side of
# hundreds instead of thousands. It is the same number:

# %%
from synthbook.measure.fidelity import gaussian, gaussian_distance

r, g = torch.randn(2, 60, 128, generator=draw, dtype=torch.float64).numpy()  # made-up features
sigma_r, sigma_g = np.cov(r.T), np.cov(g.T)
roots = np.sqrt(np.linalg.eigvals(sigma_r @ sigma_g).real.clip(min=0))
shift = r.mean(0) - g.mean(0)
whole = shift @ shift + np.trace(sigma_r + sigma_g) - 2 * roots.sum()
shortcut = gaussian_distance(gaussian(r), gaussian(g))
f"{whole:.4f} with matrices of 128 x 128, {shortcut:.4f} with one of 60 x 60"

# %% [markdown]
# A GAN on few images often gets better and then worse. So the *rule* matters by which a snapshot is chosen:
#
# - **Best, against the training images**: the paper's rule, after DiffAugment. Of all snapshots the one counts that is
#   nearest to the images that it was trained on. A generator that copies them would win.
# - **Last, and held-out**: the last snapshot, and the distance to other images of the target. They choose nothing
#   and stand beside it in the tables.

# %% [markdown]
# ## The experiment
#
# For each seed every source is learned once, then every target from every start. Models of one seed have the same
# training images, the same initial weights where nothing is transferred, and the same random draws, step by step. What was
# learned from a source is kept: two pairs of networks come with the book (`models/pairs`), others are trained when asked for.
#
# This run is to be watched: it stops early (`stop_after`), and gives the first part of the curves. What a step does
# does not depend on how many follow, so these are the same numbers as those of a whole training. Best distances and gains
# take whole trainings; they are recorded, and `-p stop_after 0` makes them here.

# %% tags=["experiment"]
from synthbook.page.progress import progress
from synthbook.studies.ahead import ahead

run = Run(p)
with ahead(study, p):
    for seed, target, model in progress(study.jobs, "trainings"):
        for row in study.rows(seed, target, model):
            run.add(**row)

# %%
page = Page(run)
page.agreement()

# %% [markdown]
# ## The pictures
#
# ### What was learned before
#
# The appendix shows that the pretrained generator makes images much like the drawn ones (Figure 2 there).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Images of each source, and below them what the generator makes after pretraining (averaged weights; this run). Compare colours and large forms; nobody needs these images themselves.", "name": "fig-52-pretrained"}, "image": {"alt": "Pairs of rows of small images: drawn images of a source, and generated ones below."}}
from synthbook.gans.networks import load
from synthbook.studies.few_images import judged_images

lines = []
for source, model in {source: model for model, (_, source) in study.models.items()}.items():
    if source != "none":
        made = load(study.learned_before(p.first_seed, model))
        name = "real source" if source == "real" else source
        lines += [(source, looks[name])] if name in looks else []
        lines += [("generated", judged_images(made, 8, seed=p.first_seed, device=device))]
figures.sheet(lines, 5)
plt.show()

# %% [markdown]
# ### Step by step
#
# Figure 4 of the paper shows results, its Figure 3 what generators make in the middle of finetuning. Here are the
# steps of this run, from the same latent vectors in each column.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Images to learn from (top), then generated ones at the steps of finetuning, from random weights (left) and from drawn images (right), averaged weights. This run, first seed, first target. See how soon the form of the target is there, and whether anything of the drawn shapes is left. Later, look for copies of the top row.", "name": "fig-52-generated"}, "image": {"alt": "Two blocks of small images side by side: training images in the top row, then a row for each measured step, of the model from scratch and of the pretrained one."}}
drawn = "Primitives-PS" if "Primitives-PS" in study.models else list(study.models)[-1]
target, across = p.targets[0], 6
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.4))
for ax, model in zip(axes, dict.fromkeys(["scratch", drawn]), strict=False):
    learned = study.learned(p.first_seed, target, model)
    steps = sorted(learned.history)[:: max(1, len(learned.history) // 5)]
    shown = [study.target(p.first_seed, target).train.images, *map(learned.images, steps)]
    pixels = figures.light(np.concatenate([images[:across] for images in shown]))
    titles = ["trained on", *(f"step {step}" for step in steps)]
    figures.image_grid(pixels, len(shown), across, ax=ax, row_titles=titles)
    ax.set_title(figures.label(model))
plt.show()

# %% [markdown]
# ### Distance over the steps
#
# Figure 5 of the paper and its appendix 3. A star is where a curve first comes within 95 % of the best distance of the
# model from random weights, read as $d^2 \le d^2_{\mathrm{scratch}} / 0.95$. The star of *from scratch* says how long
# that model needs for it.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Fréchet distance to the training images over the steps of finetuning, means over seeds in bands of one standard deviation. Stars: the first measured step within 95 % of the best distance of the model from scratch, the median over seeds; no star where it is never reached. Look at where the curves start, where they cross, and whether they still fall at the end: then the budget, not the start, may decide.", "name": "fig-52-curves"}, "image": {"alt": "Line charts, a column for each target: falling distances over training steps on a logarithmic axis, one line for each start, with stars; synthesizers above, real sources below where they were run."}}
FD = "FID" if p.extractor == "inception" else f"FD ({study.extractor.name})"
TABLES = {  # what is compared with what in the paper's two tables
    "synthesizers": ("scratch", *VARIANTS),
    "sources": ("scratch", "Primitives-PS", "TransferGAN", "FreezeD"),
}


def curves(ax, table, stars, models):
    """Draw distances of a target over the steps, with a star where 95 % are reached."""
    for model in (name for name in ORDER if name in models and name in set(table.model)):
        wide = table[table.model == model].pivot(index="seed", columns="step", values="value")
        wide = wide.rename(columns=int).dropna()
        look = figures.mark(model) | {"marker": ""}
        figures.band(ax, wide.columns, wide.to_numpy(), model, **look)
        step = stars[stars.model == model].value.median()
        if step <= wide.columns.max():
            star = {"color": look["color"], "markersize": 13, "markeredgecolor": "white"}
            ax.plot(step, np.interp(step, wide.columns, wide.mean()), "*", zorder=3, **star)
    ax.set(yscale="log")
    figures.numbers_along(ax)


table, whose = page.shown("fd", against="train")
stars = page.shown("steps_to_95", against="train")[0]
stars = named(stars) if len(stars) else stars.assign(model=[])
table, targets = named(table), list(dict.fromkeys(table.dataset))
panels = [
    models for name, models in TABLES.items() if name == "synthesizers" or "real" in {*table.train}
]
size = (min(2.1 * len(targets), 12) + 3, 2.1 * len(panels))
how = {"figsize": size, "sharex": True, "sharey": "col", "squeeze": False}
fig, axes = plt.subplots(len(panels), len(targets), **how)
for line, models in zip(axes, panels, strict=True):
    for ax, target in zip(line, targets, strict=True):
        curves(ax, table[table.dataset == target], stars[stars.dataset == target], models)
    line[0].set_ylabel(f"{FD.partition(' ')[0]} to those\ntrained on")
    line[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
for top, bottom, target in zip(axes[0], axes[-1], targets, strict=True):
    top.set_title(Path(target).name.rpartition(":")[2])
    bottom.set_xlabel("step")
fig.supxlabel(f"{FD}, {whose}", fontsize="small")
plt.show()

# %% [markdown]
# ### Gain by target
#
# The first figure of this page shows the share of the distance that a start saves: one less the ratio of its best
# distance to that from random weights, of the same seed. From this run alone, where its trainings are whole:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Gain of each start over random weights in this run, in percent of the best distance to the training images.", "name": "fig-52-gains-live"}, "image": {"alt": "A panel for each target of this run: for each pretrained start a dot on an axis of gain in percent with a line at zero."}}
table = matching(run.frame(), metric="gain", against="train")
if len(table):
    gains(table, f"{figures.seeds(table)}, this run")
else:
    print(f"This run stopped after {p.stop_after} steps; gains are of whole trainings.")

# %% [markdown]
# ## The tables
#
# Fréchet distances at the best snapshot, to the training images: Table 1 of the paper and its counterpart, then
# Table 2. Numbers of different targets, sizes and extractors cannot be compared; the order of the lines can.

# %% tags=["hide-input"]
from synthbook.record.published import published


def in_paper(table):
    """Return the figures of a table of the paper with the models' names."""
    printed = published("prim", table, metric="fid")
    method = printed.method.str.removesuffix(" + DiffAug")
    model = printed.source.where(method == "Finetune", method)
    return printed.assign(model=model.replace("Scratch", "scratch"))


def compared(printed, models, title, metric="best_fd", **how):
    """Return the table of a metric to the images trained on: paper, this run, recorded runs."""
    return page.table(
        ["model"],
        "dataset",
        printed,
        lambda rows: matching(named(rows), metric=metric, against="train", model=list(models)),
        title=title,
        order=ORDER,
        **{"headings": {"model": f"start (best {FD})"}} | how,
    )


compared(in_paper("T1"), TABLES["synthesizers"], "The four synthesizers")

# %% tags=["hide-input"]
compared(in_paper("T2"), TABLES["sources"], "Drawn and real sources")

# %% [markdown]
# **Would another rule say the same?** The best and the last snapshot, against the images trained on and against
# held-out ones, for the starts of Table 2. A start that wins only in the first column wins by the rule.


# %% tags=["hide-input"]
def by_rule(table):
    """Return distances with the rule that they follow in a column, target by target."""
    models = TABLES["sources"] if "real" in {*table.train} else ORDER
    table = matching(named(table), metric=["best_fd", "last_fd"], model=list(models))
    rule = table.metric.str.removesuffix("_fd") + ", "
    rule += table.against.map({"train": "trained on", "held_out": "held out"})
    place = table.model.map({model: place for place, model in enumerate(ORDER)})
    column = table.metric + table.against.map({"train": "0", "held_out": "1"})
    table = table.assign(rule=rule, place=place, column=column)
    return table.sort_values(["dataset", "place", "column"], kind="stable")


headings = {"dataset": "target", "model": f"start ({FD})"}
page.table(["dataset", "model"], "rule", select=by_rule, headings=headings)

# %% [markdown]
# **How soon?** The first measured step within 95 % of the best distance from scratch, as a share of all steps. The
# paper says 0.3 or less for Primitives-PS. Where it was never reached, one measurement more than there are is counted, which
# gives a share above 1.

# %% tags=["hide-input"]
how = {"decimals": 2, "headings": {"model": "start"}}
compared(None, ORDER, "Share of the steps to 95 %", "share_to_95", **how)

# %% [markdown]
# And where the best snapshot is, as a share of all steps: 1 means that the training was still getting nearer.

# %% tags=["hide-input"]
compared(None, ORDER, "Share of the steps to the best snapshot", "best_step_share", **how)

# %% [markdown]
# **How many objects?** The paper judges by eye that generators pretrained without a large shape draw several faces in
# one image midway. Here regions that stand out from the ground are counted in images of motorbikes, halfway through the
# finetuning. Real ones are not all in one piece, so compare with the line of real images.

# %% tags=["hide-input"]
counted = ["objects_per_image", "share_with_several"]
page.table(
    ["model", "dataset"],
    "metric",
    select=lambda rows: matching(named(rows), metric=counted),
    decimals=2,
    headings={"model": "start", "dataset": "target"},
    order=[*ORDER, "real images"],
)

# %% [markdown]
# ## The claims
#
# A claim about every target holds only if each of its parts does; the parts say which target and which start decide.

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# **Reading them.** Ask of each cell first whether it can answer. The paper compares trainings that overfit before they
# end: `best_step_share` says how far into the training the best snapshot is, and where that of the model from scratch is
# 1, a start may only look good because the training was short. And the four synthesizers differ in ground and shapes, so
# their ground must be seen: the shares above say how much of it is. Where a premise is not met a claim is undecided.
#
# Then compare best and last, and the images trained on with those held out. At the rates of learning used here a good
# start can also be lost again, and then only the rule of the best snapshot keeps it. The rate was chosen for the model from
# scratch and serves all starts; nothing was chosen by a pretrained model's result.
#
# The paper's own numbers go against some of its sentences: PinkNoise is a little better than nothing on Panda, Primitives-S
# better than Primitives-PS there. Its cells are single runs. Read prim-06 beside the domains: the real source has some
# 6,000 pictures, FFHQ has 70,000, so a win over it asks less than the paper's.

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **Another GAN.** A StyleGAN2 of 32 pixels (16 to 64 channels) was tried first, from random weights on faces, on a seed
#   that no recorded run uses. After three minutes of one core (1,800 steps at a rate of 0.012) its distance was 2,356, after
#   five (3,000 steps at 0.003) 2,061, where a picture of the mean of all faces has 2,530 and other photographs of the class 745.
#   An SNGAN of 32 channels came to 1,811 in 165 seconds and below 1,400 later. So it stands in;
#   `-p architecture stylegan2` with its settings is StyleGAN2, and the larger scales have it.
# - **Size and budget.** 1,600 steps on the source and 3,600 on a target, not 50,000 and 25,000 at 256 pixels. With that seed
#   the last third of 3,600 steps from random weights makes the best distance 2 % smaller on faces and motorbikes and 7 % on
#   airplanes, that of 2,400 steps 17, 15 and 8 %. Whether each target has settled in the recorded runs is a premise.
# - **Settings** were chosen by trainings *from scratch* on that seed. DiffAugment goes without colours, with which the
#   small discriminator stayed near chance. The average of the generator's weights has a half-life of
#   1,000 images instead of 10,000, as there are 57,600 in all. Nothing was chosen by a pretrained model's result.
# - **Faces** are a target outside here, and motorbikes are the one inside. The paper's rivals start from the public StyleGAN2 of
#   FFHQ, which saw 25 million images; `-p pretrain_on` takes any pair of networks that this library saved, in the sizes of
#   the chapter's, in place of the pretraining on `real_source`.
# - **Features** are those of EfficientNet-Lite0, not Inception's, and 200 generated images are compared. DiffAugment's first
#   code compares 5,000, the PyTorch code that the study goes by makes 50,000; the paper says neither.
# - **DiffAugment in pretraining**, too: the paper does not say, its public code has it on.
# - **FreezeD** keeps two of four blocks. The paper does not give its number. The public code counts single layers: its
#   first four, the layer from the image among them, are one block of this library's StyleGAN2.
# - **Shapes.** 50 in a drawn image of 32 pixels, so that as much of the ground stays visible as a hundred leave at 256.
# - **Half precision.** The pairs that come with the book are kept in it, and are finetuned in float32.
# - **Oddities** of the public drawing code are off; `-p quirks` switches them on by the names of {doc}`51_synthesizer`, but
#   for `worker_streams`: no worker processes draw here.
# - **Objects** are regions that stand out from the ground of a motorbike's picture, not faces. For other photographs that
#   takes a detector, which is not in here: at the paper's scale Figure 3 is to be looked at, and prim-21 has no rows.
# - **Your own images.** Of a folder in `targets` as many as `target_images` says are learned, and up to 400 others are held
#   out; leave a quarter for that. They choose nothing. Without any there are only distances to the images trained on, where
#   copies win.
#
# ```bash
# papermill notebooks/52_transfer_to_few_images.ipynb out.ipynb -p targets caltech3:airplanes -p stop_after 0
# synthbook run 52_transfer_to_few_images --scale small -p data_root=data
# synthbook run 52_transfer_to_few_images --scale paper -p pretrain_on=models/ffhq256
# synthbook run 52_transfer_to_few_images -p targets=my_images/ -p stop_after=0 -p workers=4
# ```
