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
# # 53 Why it works
#
# **The question.** A GAN that has seen drawn images first learns a hundred photographs better, says the study of
# {doc}`51_synthesizer`. Which part of the drawing is it that helps? Does it also help a GAN that is told classes, and
# has more data? And can one see in the weights what was gained?
#
# **The study's answer.** The appendix of {cite:t}`baek2022generic` varies the sizes and the number of the shapes: sizes
# that decay, and about a hundred shapes, do best. With BigGAN on CIFAR the gain is large on a tenth of the images
# and fades as data become plentiful; with one percent, augmentation alone leaks into the generated images and
# pretraining alone does not. The filters of the pretrained networks are less alike than those of networks trained
# on faces, which the authors take for the reason.
#
# **Here.** All of these, on photographs of 32 pixels: the ablation on a hundred faces; a GAN with classes on shares of three
# kinds of things, with a detector of leaks in place of the eye; and the similarity of filters, with untrained networks as
# a control. This run measures the filters of the two pretrained pairs that come with the book, and begins two trainings.

# %% tags=["hide-input"]
from synthbook.page.page import answer

answer("53_why_it_works")

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
seeds: int = 1  # seeds to run: each draws its own images, weights and few-shot sets
first_seed: int = 0  # the first of them
parts: list[str] = ["filters", "shares"]  # some of ablation, shares, filters
targets: list[str] = ["caltech3:Faces_easy"]  # of the ablation: data:class, or a folder
in_domain: list[str] = ["caltech3:Motorbikes"]  # targets that are of the domain of real_source
real_source: str = "caltech97"  # real images to pretrain on; classes of in_domain are left out
pretrain_on: str = ""  # folder of a pair of networks that stands for the pretraining on them
target_images: int = 100  # images of a target to train on
image_size: int = 32  # side in pixels of the images of targets
data_root: str = ""  # where downloaded data sets lie
architecture: str = "sngan"  # the GAN of targets and filters: sngan, biggan or stylegan2
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
pretrain_steps: int = 1600  # training steps on drawn, or other real, images
finetune_steps: int = 2400  # training steps on the target
stop_after: int = (
    100  # steps that this run does of any training, a multiple of both evaluate_every; 0: all
)
augment: str = "translation,cutout"  # DiffAugment of targets, also color
evaluate_every: int = 100  # steps between two snapshots on a target
generated: int = 200  # images of a snapshot that are measured
extractor: str = "efficientnet_lite0"  # features of the distance; inception makes it FID
extractor_size: int = 64  # side that its images are resized to
shapes: int = -1  # shapes in a drawn image; -1: by resolution, 50 at 32 pixels
size_policy: str = "Decay"  # sizes of the shapes
policies: list[str] = ["Decay", "Rand", "Fix(1/10)", "Fix(1/5)", "Fix(1/2)"]  # compared
counts: list[int] = []  # numbers of shapes compared; []: 0, 1/10, 1/2, 1, 5 of the usual
quirks: list[str] = []  # oddities of the public drawing code, of chapter 51
data: str = "caltech3"  # labelled images for it: a data set's name, a folder, an .npz
more_data: list[str] = []  # further ones
shares: list[float] = [0.1]  # shares of its training images
share_steps: list[int] = []  # training steps at each share; []: biggan_finetune_steps
methods: list[str] = ["BigGAN", "BigGAN+DiffAug"]  # a GAN that is told classes, and with what
biggan_architecture: str = "sngan"  # what stands for BigGAN: sngan, or biggan itself
biggan_network_settings: list[str] = [
    "channels: 32", "discriminator_channels: 32", "latent: 64",
]  # of both of its networks  # fmt: skip
biggan_training_settings: list[str] = [  # over the published ones
    "batch_size: 16", "discriminator_steps: 2", "generator_learning_rate: 0.001",
    "discriminator_learning_rate: 0.001", "schedule: constant", "ema_half_life: 1000",
    "ema_start: 20", "standing_images: 250",
]  # fmt: skip
biggan_keeps: list[str] = ["embeddings", "adam"]  # kept of pretraining besides other weights
biggan_image_size: int = 32  # side in pixels of its images
biggan_finetune_steps: int = 2400  # training steps on the labelled images
biggan_pretrain_steps: int = 1600  # training steps on drawn images
biggan_augment: str = "translation,cutout"  # its DiffAugment
biggan_evaluate_every: int = 100  # steps between two of its snapshots
biggan_generated: int = 200  # images of a snapshot that are measured
precision: str = "float32"  # float32, or bfloat16 on a GPU
device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
threads: int = 1  # CPU threads; more of them round sums differently
workers: int = 1  # processes that train side by side; they change no number
rows: str = ""  # file to append the rows to; "" is _build/rows/<chapter>.jsonl

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies import reasons

p = parameters("53_why_it_works", globals())
print(reasons.check_reasons(p))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Distance of the best snapshot to the images trained on, by policy for the sizes (upper lines) and by number of shapes with Decay (lower lines): means over seeds with 95 % intervals, dots are seeds. An interval that ends at the edge of a panel, as those of few seeds do, goes on. Dashed, with its interval shaded: from scratch. Left is better. Decay and the usual number of shapes are one model.", "name": "fig-53-ablation"}, "image": {"alt": "A panel for each target: one line for each size policy and each number of shapes, with the distance as a dot with an interval, beside a dashed vertical line for training from scratch."}}
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from synthbook.claims.inference import MIN_SEEDS
from synthbook.generate.primitives import POLICIES
from synthbook.intervals import interval
from synthbook.page import figures
from synthbook.page.page import Page, matching
from synthbook.page.tables import aside
from synthbook.record.rows import Run

figures.style()
FD = "FID" if p.extractor == "inception" else "FD"
NONE = "N = 0 (PinkNoise + PS)"


def of_count(count, relative):
    """Return how a number of shapes is written, with what it is of the usual one."""
    return f"N = {count:g} ({relative:.3g} x)" if count else NONE


def asked_of(table):
    """Return the lines of the ablation, policies and numbers of shapes, with what rows have."""
    counts = matching(table, method="finetune", study="count")
    counts = sorted({*zip(counts.n_shapes, counts.relative_n, strict=True)})
    asked = [(name, {"study": "policy", "size_policy": name}) for name in POLICIES]
    return asked + [(of_count(*n), {"study": "count", "n_shapes": n[0]}) for n in counts]


def ablation(table, whose):
    """Draw the best distances by policy and by number of shapes, a panel for each target."""
    tuned, targets = table[table.method == "finetune"], list(dict.fromkeys(table.dataset))
    asked = asked_of(table)
    how = {"figsize": (2.9 * len(targets) + 2.2, 3.5), "sharey": True, "squeeze": False}
    fig, axes = plt.subplots(1, len(targets), **how)
    for ax, target in zip(axes[0], targets, strict=True):
        for place, (_, where) in enumerate(asked):
            values = matching(tuned, dataset=target, **where).value
            tint = figures.PALETTE[0 if where["study"] == "policy" else 2]
            if len(values):
                figures.dots_and_interval(ax, place, values, tint)
        scratch = matching(table, dataset=target, method="scratch").value
        if len(scratch):
            mean, low, high = interval(scratch)
            ax.axvline(mean, color="black", linestyle="--", linewidth=1)
            ax.axvspan(low, high, color="black", alpha=0.08, linewidth=0)
        of_seeds, (low, high) = matching(table, dataset=target).value, ax.get_xlim()
        room = max(of_seeds) - min(of_seeds)  # bars of few seeds would hide where these are
        ax.set_xlim(max(low, min(of_seeds) - room), min(high, max(of_seeds) + room))
        ax.set(title=target, xlabel=f"best {FD}")
    axes[0][0].set(yticks=range(len(asked)), yticklabels=[name for name, _ in asked])
    axes[0][0].set_ylim(len(asked) - 0.5, -0.5)
    fig.supxlabel(whose, fontsize="small")
    plt.show()


def came_out(table, whose):
    """Return in words between what the means of policies and of numbers of shapes lie."""
    texts = []
    for target, mine in table.groupby("dataset", sort=False):
        text, asked = f"{target}: ", asked_of(mine)
        for study, words in (("policy", "by policy"), ("count", "by number of shapes")):
            lines = [one for one in asked if one[1]["study"] == study]
            means = {line: matching(mine, **where).value.mean() for line, where in lines}
            if means := {line: mean for line, mean in means.items() if mean == mean}:
                low, high = min(means, key=means.get), max(means, key=means.get)
                text += f"{words} from {means[low]:,.0f}, {low}, to {means[high]:,.0f}, {high}; "
        texts.append(f"{text}from scratch {matching(mine, method='scratch').value.mean():,.0f}")
    few = ", too few to order them" if table.seed.nunique() < MIN_SEEDS else ""
    return f"Mean distances ({whose}{few}). {'. '.join(texts)}."


ABLATION = {"part": "ablation", "against": "train"}
table, whose = Page(Run(p)).shown("best_fd", **ABLATION)
if whose:
    display(aside(came_out(table, whose)))
    ablation(table, whose)
else:
    print("No ablation is on record at this scale; the pictures of this run are below.")

# %% [markdown]
# ## The mechanism
#
# ### What the shapes do
#
# Shapes are drawn one over another, $n = 0, \ldots, N - 1$, on an image of $H$ pixels. The policy **Decay** lets the
# largest possible size fall while drawing, so that the late shapes do not bury the early ones:
#
# $$
# s_n \sim U\!\left(0,\; \frac{H}{5} \cdot \frac{N - n}{N}\right) .
# $$
#
# **Fix** gives all shapes one size, $H/10$, $H/5$ or $H/2$; **Rand** draws each from $U(0, H/2)$. With no shapes at all
# the image is noise with one large patterned shape, which the paper calls *PinkNoise + PS*.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What is drawn. Above: policies for the size of the shapes; below: numbers of shapes with Decay. Each at 64 pixels, and with the same shapes at the size that the networks here are trained on. See how much of the difference between two columns is left at that size.", "name": "fig-53-drawn"}, "image": {"alt": "Grids of small drawn images. One pair of rows has a column for each size policy, another a column for each number of shapes, each at 64 pixels and at the size of training."}}
from synthbook.generate.primitives import Primitives, synthesize

usual = reasons.shapes_of(p, p.image_size)
kinds = [
    {name: Primitives(size_policy=name, shapes=usual) for name in p.policies},
    {str(count): Primitives(shapes=count) for count in reasons.counts_of(p)},
]
widest = max(map(len, kinds))
fig, axes = plt.subplots(4, 1, figsize=(0.66 * widest, 3.3))
for pair, recipes in zip(axes.reshape(2, 2), kinds, strict=True):
    for ax, side in zip(pair, (64, min(64, p.image_size)), strict=True):
        where = {"indices": [7], "resolution": side, "seed": p.first_seed}
        drawn = figures.light(synthesize(recipe, **where) for recipe in recipes.values())
        titles = list(recipes) if ax is pair[0] else None
        figures.image_grid(drawn, 1, len(recipes), titles, ax, row_titles=[f"{side} px"])
        ax.tick_params(labelsize="x-small")
plt.show()

# %% [markdown]
# ### How alike filters are
#
# Take a layer's weight $[O, I, k, k]$ as $O$ filters $w_1, \ldots, w_O$, each a vector of $I k^2$ numbers, with the unit
# vectors $u_i = w_i / \lVert w_i \rVert$. The paper averages the cosine over all ordered pairs of different filters:
#
# $$
# \bar c \;=\; \frac{1}{O (O - 1)} \sum_{i \neq j} u_i^\top u_j
# \;=\; \frac{\bigl\lVert \sum_i u_i \bigr\rVert^2 - O}{O (O - 1)} .
# $$
#
# The second form says what it measures: how far the filters lean to one common direction. Pairs with opposite signs
# cancel, so random filters have $\bar c$ near 0 however many there are, and the mean of the absolute cosines is
# another number. Both are kept. The convolution that makes the colours is left out: it has three filters, and the paper's is
# 1 x 1 and no layer of its table.

# %%
import torch

from synthbook.measure.similarity import filter_similarity
from synthbook.randomness import torch_generator

weight = torch.randn(32, 16, 3, 3, generator=torch_generator(0, "an example"))
leaning = weight + 0.2  # the same number added to all entries: a common direction
for name, w in (("random", weight), ("leaning", leaning)):
    u = torch.nn.functional.normalize(w.double().flatten(1), dim=1)
    closed = (u.sum(0).square().sum() - len(u)) / (len(u) * (len(u) - 1))
    signed, absolute = filter_similarity(w)
    print(f"{name:8} signed {signed:+.4f}, closed form {closed:+.4f}, absolute {absolute:.4f}")

# %% [markdown]
# ### A GAN that is told classes, and pretraining it without them
#
# BigGAN {cite:p}`brock2019large` is told the class $y$ in both networks, and so is the SNGAN that stands for it here, the
# one of the ablation with classes. The discriminator is a projection {cite:p}`miyato2018cgans`, $D(x, y) = \psi(\phi(x)) + e_y^\top \phi(x)$ with an embedding $e_y$ for each class, and its
# loss the hinge. With DiffAugment {cite:p}`zhao2020differentiable`, $T$ is drawn anew for each image, real or generated:
#
# $$
# L_D = \mathbb{E} \max\bigl(0,\, 1 - D(T(x), y)\bigr) + \mathbb{E} \max\bigl(0,\, 1 + D(T(G(z, y)), y)\bigr),
# $$
#
# $$
# L_G = -\mathbb{E}\, D(T(G(z, y)), y) .
# $$
#
# What the public code trains on CIFAR is a plainer network than that of BigGAN's paper: the latent vector enters at the
# bottom only, each normalisation has a gain and a bias a class of its own instead of a shared embedding, and first weights
# are from $N(0, 0.02)$. The larger scales have that one (`shared: false`, `hierarchical: false`, `init: normal`).
#
# Drawn images have no classes. In pretraining, which is run without DiffAugment, the public code gives them the labels
# of real images at random. Then all weights go over, those of the classes among them, and the states of both optimisers,
# Adam's running means. `biggan_keeps` says what is kept besides the other weights; without "embeddings" these start afresh:

# %%
from torch import nn

from synthbook.gans.networks import create_generator
from synthbook.machine import prepare

device = prepare(p.device, p.threads)
study = reasons.Reasons(p, device)
labelled = study.sets[p.data]
generator = create_generator(**labelled.network)
of_classes = sum(m.weight.numel() for m in generator.modules() if isinstance(m, nn.Embedding))
every = sum(weights.numel() for _, weights in generator.named_parameters())
print(f"{of_classes:,} of the generator's {every:,} weights belong to single classes")

# %% [markdown]
# ### What a leaked augmentation is
#
# $D$ never sees an image without $T$. If the real images are few, a generator may win by putting mid-grey squares or
# borders into its images, as cutout and translation do: the augmentation has leaked. The paper judges this by eye. Here
# a detector does: *cutout* is an even mid-grey square of a quarter of the side, *shift* a mid-grey border on one of the
# four sides. Real images may have such areas, so their rate comes with it.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What the detector of leaks says. Upper row: real images; lower row: the same after DiffAugment (translation, cutout), as the discriminator sees them. Above each image what was found, \u2013 for nothing. Rates over more images are printed below the figure.", "name": "fig-53-leak"}, "image": {"alt": "Two rows of five images: real ones, marked as free of leaks or not, and the same with grey squares and borders, marked cutout, shift or both."}}
from synthbook.gans.augment import diff_augment
from synthbook.measure.leaks import cutout_like, shift_like

train = labelled.train
some = train.images[:: max(1, len(train) // 200)]
batch = torch.from_numpy(some).permute(0, 3, 1, 2) / 127.5 - 1
seen = diff_augment(batch, "translation,cutout", torch_generator(p.first_seed, "a look"))
seen = ((seen + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
spread = np.linspace(0, len(some) - 1, min(5, len(some))).astype(int)
fig, axes = plt.subplots(2, 1, figsize=(0.95 * len(spread), 2.7))
for ax, images, name in zip(axes, (some, seen), ("real", "augmented"), strict=True):
    few = images[spread]
    leaks = {"cutout": cutout_like(few), "shift": shift_like(few)}
    found = [[kind for kind, where in leaks.items() if where[k]] for k in range(len(few))]
    titles = ["\n+ ".join(kinds) or "–" for kinds in found]
    figures.image_grid(figures.light(few), 1, len(few), titles, ax, row_titles=[name])
    ax.tick_params(labelsize="small")
plt.show()

# %% tags=["hide-input"]
import pandas as pd

from synthbook.page.tables import plain

rates = {
    name: {"cutout (%)": 100 * cutout_like(x).mean(), "shift (%)": 100 * shift_like(x).mean()}
    for name, x in (("real", some), ("augmented", seen))
}
plain(pd.DataFrame(rates).T, decimals=1)

# %% [markdown]
# ## The experiment
#
# Each snapshot is judged by the Fréchet distance of its generated images to the images trained on and to held-out images.
# In the ablation the nearest to the images trained on is the best, which is the rule of the paper. Of BigGAN there are two
# best ones: the nearest to the images trained on, and the nearest to the held-out ones. The public code does the second, with
# CIFAR's test set, so that those images choose and judge at once; that is the paper's protocol, and the rows say by which
# images a snapshot was selected. Equal seeds have the same real images and the same random weights to start from. The model
# with the usual number of shapes and Decay belongs to both halves of the ablation and is trained once.
#
# This run stops every training early (`stop_after`): it gives the first part of its curve, in the numbers of a whole one.
# Best distances, leaks and gains are of whole trainings; they are recorded, and `-p stop_after 0` makes them here.

# %% tags=["experiment"]
from synthbook.page.progress import progress
from synthbook.studies.ahead import ahead

run = Run(p)
with ahead(study, p):
    for job in progress(study.jobs, "trainings"):
        for row in study.rows(*job):
            run.add(**row)

# %%
page = Page(run)
page.agreement()

# %% [markdown]
# ## The pictures
#
# ### Sizes and numbers of shapes
#
# In the first figure of this page see whether the dots lie left of the dashed line, which is training from scratch:
# right of it, a start from drawn images did harm. Then whether the dots lie further apart than their intervals reach.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first figure of this page again, from this run alone.", "name": "fig-53-ablation-live"}, "image": {"alt": "A panel for each target of this run: one line for each size policy and each number of shapes, with the distance as a dot, beside a dashed line for training from scratch."}}
print(f"{FD}: Fréchet distance in features of {study.extractor.name}, {p.generated} generated.")
table = matching(run.frame(), metric="best_fd", **ABLATION)
if len(table):
    ablation(table, f"{figures.seeds(table)}, this run")
else:
    print("This run has no ablation; run this chapter with -p parts ablation.")

# %% [markdown]
# ### BigGAN on shares of a set
#
# The gain from pretraining is the room between the two lines with DiffAugment. Compare it with what DiffAugment alone
# gains over plain BigGAN. Distances at different shares are to different training images, so a line need not fall: on a
# few images the distance to those images rewards copying them. The right panel, against held-out images, does not.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Distance of the best snapshot over the share of the training images, means over seeds, with 95 % intervals where there are several: to the images trained on (left), and to held-out images (right), as in the public code. Each has its own best snapshot, chosen by the distance that is shown. Lower is better.", "name": "fig-53-shares"}, "image": {"alt": "Two line charts with a logarithmic axis for the share of the data: one line for each of BigGAN, with DiffAugment, with DiffAugment and pretraining, and a single point for pretraining alone at the smallest share."}}
LOOKS = {
    "BigGAN": ("#7F7F7F", "X", "-"),
    "BigGAN+DiffAug": ("#CC79A7", "v", "--"),
    "BigGAN+DiffAug+PS": ("#0072B2", "^", "-"),
    "BigGAN+PS": ("#009E73", "D", ":"),
}
ways = {"train": "to the images trained on", "held_out": "to held-out images"}


def shares_of(ax, table):
    """Draw the best distances of each method over the share of the data."""
    shares = sorted({float(share) for share in table.share})
    for place, (method, (tint, marker, line)) in enumerate(LOOKS.items()):
        groups = {x: matching(table, method=method, share=x).value for x in shares}
        groups = {x: values for x, values in groups.items() if len(values)}
        at = 100 * np.array(list(groups)) * 1.04 ** (place - 1.5)  # beside each other
        if groups:
            look = {"color": tint, "marker": marker, "linestyle": line}
            look["label"] = figures.label(method)
            figures.means_and_intervals(ax, at, list(groups.values()), **look)
    ax.set_xscale("log")
    ax.set_xticks([100 * x for x in shares], [f"{100 * x:g}" for x in shares])
    ax.minorticks_off()


shown = {k: page.shown("best_fd", part="shares", against=k, dataset=p.data) for k in ways}
if all(whose for _, whose in shown.values()):
    fig, axes = plt.subplots(1, 2, figsize=(6.6, 3.0))
    for ax, (against, (table, _)) in zip(axes, shown.items(), strict=True):
        shares_of(ax, table)
        ax.set(xlabel="share (%)", title=ways[against], ylabel=f"best {FD}")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    fig.supxlabel(shown["train"][1], fontsize="small")
    plt.show()
else:
    print("No whole training is on record at this scale: -p stop_after 0 makes them here.")

# %% [markdown]
# What the networks of this run make of the smallest share, as far as they were trained. Grey squares or borders are leaks.
# These images, and the rates of leaks below, are of the snapshot nearest to the images trained on; the distances to held-out
# images are of the one nearest to those:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Images of the snapshot nearest to the images trained on, at the smallest share of this run, first seed; a row is a class. On the left real images trained on. Compare the methods by whether a class can be told, and by grey squares and borders.", "name": "fig-53-samples"}, "image": {"alt": "Blocks of small images side by side, real ones and one block for each method, each with a row for every class."}}
share = min(p.shares)
where = (p.first_seed, p.data, share)
few = study.share(*where)
methods = [job[-1] for job in study.jobs if job[1:-1] == where]
made = {method: study.samples(*where, method) for method in methods}
classes = min(10, few.num_classes)
across = min(2, max(1, p.biggan_generated // few.num_classes))


def in_rows(images_of):
    """Return some images of each class, a row each; white where there are fewer."""
    blank = np.full((across, *few.images.shape[1:]), 255, np.uint8)
    return np.concatenate([np.concatenate([images_of(k), blank])[:across] for k in range(classes)])


blocks = {"real": in_rows(lambda k: few.images[few.labels == k])}
for method, images in made.items():
    blocks[method.removeprefix("BigGAN+")] = in_rows(lambda k, x=images: x[k :: few.num_classes])
size = (0.95 * len(blocks), 0.33 * classes + 0.6)
fig, axes = plt.subplots(1, len(blocks), figsize=size, squeeze=False)
sheets = np.split(figures.light(blocks.values()), len(blocks))
for ax, title, sheet in zip(axes[0], blocks, sheets, strict=True):
    figures.image_grid(sheet, classes, across, ax=ax)
    ax.set_title(title.replace("+", "\n+ "), fontsize="small")
plt.show()

# %% [markdown]
# The share of generated images in which the detector finds a leak, in percent, and of the real ones, in which there is
# none to find:

# %% tags=["hide-input"]
SHARES = sorted({0.01, 0.1, 0.2, 1.0, *p.shares})
ONE = ["dataset", "share", "method", "seed"]  # model of this part


def written(share, method):
    """Return the line of a method at a share; the share is NaN for real images."""
    text = figures.label(method)
    return text if share != share else f"{100 * float(share):g}%, {text}"


def of_shares(**where):
    """Return a choice of rows of the part shares, with their line in a column."""

    def select(table):
        table = matching(table, part="shares", **where)
        shares = table["share"] if "share" in table else [np.nan] * len(table)
        return table.assign(line=list(map(written, shares, table.method)))

    return select


def leaks(table):
    """Return the rates in percent, and of which kind of leak."""
    table = of_shares(metric=["cutout_like", "shift_like"])(table)
    return table.assign(value=100 * table.value, kind=table.metric.str.removesuffix("_like"))


LINES = ["real images", *(written(share, method) for share in SHARES for method in LOOKS)]
by_line = {"headings": {"line": "share and method"}, "order": LINES}
headings = {"line": "share and method", "dataset": "data"}
table, whose = page.shown(["cutout_like", "shift_like"], part="shares")
found = matching(pd.concat([table, page.rows]), metric=["cutout_like", "shift_like"])
found = found[found.method != "real images"] if len(found) else found
if whose and len(found) and not found.value.any():
    models = len(table[table.method != "real images"].drop_duplicates(ONE))
    shown = aside(f"No leak was found in the images of any of {models} models ({whose}).")
else:
    shown = page.table(["dataset", "line"], "kind", select=leaks, headings=headings, order=LINES)
shown

# %% [markdown]
# ### Filters
#
# Low means diverse. The grey line is the network before any training: its filters are random, so a value near it
# says no more than that training did not make the filters lean together. A low value is therefore no merit by itself.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean cosine similarity of a layer's filters after pretraining on Primitives-PS and on real images, and without training, means over seeds with 95 % intervals. Layers are counted from the latent on in the generator, without the one that makes the colours, and from the image on in the discriminator.", "name": "fig-53-filters"}, "image": {"alt": "Two line charts over layers, generator and discriminator: filter similarity after pretraining on drawn images, on real images, and of random networks."}}
table, whose = page.shown("filter_similarity", part="filters")
looks = {
    "none": {"color": "#7F7F7F", "marker": "x", "linestyle": ":", "label": "untrained"},
    "real": {"color": "#000000", "marker": "o", "label": "real source"},
    "Primitives-PS": {"color": "#0072B2", "marker": "^", "label": "Primitives-PS"},
}
fig, axes = plt.subplots(1, 2, figsize=(6.6, 2.6), sharey=True)
for ax, network in zip(axes, ("generator", "discriminator"), strict=True):
    for train, look in looks.items():
        mine = matching(table, network=network, train=train)
        groups = (
            {int(layer): values for layer, values in mine.groupby("layer").value}
            if len(mine)
            else {}
        )
        if groups:
            at = sorted(groups)
            figures.means_and_intervals(ax, at, [groups[layer] for layer in at], **look)
            ax.set_xticks(at)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(title=network, xlabel="layer")
axes[0].set_ylabel("filter similarity")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
fig.supxlabel(whose or "run this chapter with -p parts filters", fontsize="small")
plt.show()

# %% [markdown]
# ## The tables
#
# The ablation, appendix Table 2 of the paper by its text (the captions of its Tables 2 and 3 are swapped): best
# distance to the images trained on. The paper's figures are FID at 256 pixels; only orders and ratios can be compared. Numbers
# of shapes are those of this page, and in brackets what they are of the usual one at a size: a hundred in the paper,
# 50 at 32 pixels.

# %% tags=["hide-input"]
from synthbook.record.published import published

SCRATCH = "from scratch"


def line_of(study, policy, relative):
    """Return the line of the ablation's table that a model belongs to."""
    if not isinstance(study, str) or not study:
        return SCRATCH
    if study == "policy" and relative:
        return policy
    return of_count(relative * usual, relative)


def lines(table):
    """Return the best distances with their line; zero shapes is one line in both halves."""
    table = matching(table, metric="best_fd", **ABLATION)
    if not len(table):
        return table
    return table.assign(line=list(map(line_of, table.study, table.size_policy, table.relative_n)))


paper = published("prim", "A2")
paper = paper[paper.size_policy != "PinkNoise + PS"]  # the same model as N = 0
relative = paper.n_shapes.astype(float) / 100  # what is usual at 256 pixels
paper = paper.assign(line=list(map(line_of, paper.panel, paper.size_policy, relative)))
scratch = published("prim", "T1", source="none", dataset=list(dict.fromkeys(paper.dataset)))
parts_of = sorted({0.1, 0.5, 1, 5, *(count / max(1, usual) for count in study.counts)})
order = [SCRATCH, *POLICIES, NONE, *(of_count(n * usual, n) for n in parts_of)]
page.table(
    ["line"],
    "dataset",
    pd.concat([scratch.assign(line=SCRATCH), paper]),
    lines,
    headings={"line": "drawn images"},
    order=order,
)

# %% [markdown]
# BigGAN on shares, appendix Table 1, and the one percent of the text, whose data set it does not name (taken for
# CIFAR-10), to held-out images. Starred figures of the paper, CIFAR with 10 % and DiffAugment, are the best before
# augmentations leaked.

# %% tags=["hide-input"]
PAPER = {"BigGAN": "BigGAN", "BigGAN + DiffAug": "BigGAN+DiffAug", "BigGAN + finetune": "BigGAN+PS"}
paper = pd.concat([published("prim", "text", split="1%"), published("prim", "A1")])
ours = paper.method.map(PAPER)
ours = ours.where((paper.source == "none") | (ours == "BigGAN+PS"), ours + "+PS")
shares = paper.split.str.removesuffix("%").astype(float) / 100
paper = paper.assign(line=list(map(written, shares, ours)))
page.table(["line"], "dataset", paper, of_shares(metric="best_fd", against="held_out"), **by_line)

# %% [markdown]
# The relative gain from pretraining, $1 - \mathrm{FD}_{\mathrm{PS + DiffAug}} / \mathrm{FD}_{\mathrm{DiffAug}}$, in
# percent; the paper's is computed from its table:


# %% tags=["hide-input"]
def gains(table):
    """Return gains in percent, a line for each share."""
    table = matching(table, part="shares", metric="gain", against="held_out")
    lines = [f"{100 * share:g}%" for share in table.get("share", [])]
    return table.assign(value=100 * table.value, line=lines)


fids = published("prim", "A1", method="BigGAN + DiffAug")
wide = fids.pivot_table(index=["dataset", "split"], columns="source", values="value", sort=False)
gain = 100 * (1 - wide["Primitives-PS"] / wide["none"])
paper = (
    gain.round(1).rename("value").reset_index().assign(table="A1").rename(columns={"split": "line"})
)
order = [f"{100 * share:g}%" for share in SHARES]
page.table(["line"], "dataset", paper, gains, headings={"line": "share"}, order=order)

# %% [markdown]
# Filters, appendix Table 3 by its text, times 100. Layers of the paper are those of StyleGAN2 at 256 pixels, 13 in each
# network. Networks with fewer stand beside its first layer, its last and the means alone; their other layers are in the
# figure.


# %% tags=["hide-input"]
def alike(table):
    """Return similarities times 100, with a line for each network and layer, and their means."""
    metrics = ["filter_similarity", "mean_filter_similarity"]
    table = matching(table, part="filters", metric=metrics, train=["real", "Primitives-PS"])
    if not len(table):
        return table
    table = table.assign(last=table.groupby("network").layer.transform("max"))
    middle = (table.layer > 0) & (table.layer < table["last"])
    table = table[~middle | (table["last"] == len(PLACES) - 2)]  # as many layers as the paper has
    layer = table.layer.where(table.layer < table["last"], len(PLACES) - 2)
    place = [PLACES[int(k)] for k in layer.where(table.metric == metrics[0], len(PLACES) - 1)]
    names = table.train.replace("real", "real source")
    return table.assign(value=100 * table.value, train=names, line=table.network + ", " + place)


PLACES = ["first layer", *(f"layer {k}" for k in range(1, 12)), "last layer", "mean"]
paper = published("prim", "A3")
place = paper.layer.map(dict(zip([*(f"conv{k}" for k in range(13)), "Mean"], PLACES, strict=True)))
paper = paper.assign(
    value=(100 * paper.value).round(3), train=paper.source, line=paper.network + ", " + place
)
order = [f"{network}, {place}" for network in ("generator", "discriminator") for place in PLACES]
page.table(["line"], "train", paper, alike, decimals=2, headings={"line": "layer"}, order=order)

# %% [markdown]
# ## The claims
#
# A claim about an order of several models holds only if each step of the order does; the parts say which decides.

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# **Reading it.** GANs of 2,400 steps scatter over seeds, and the paper's cells are single runs; so ask first whether a
# cell can answer at all.
#
# - **Have they settled?** In the recorded runs most trainings still got better in their last third (`late_gain`), those of
#   one source more than those of another. Then who is ahead may only be sooner there, so the claims on shares and on the
#   ablation are asked where trainings have settled, and are undecided elsewhere.
# - **Sizes and numbers.** They can differ only as far as ground and early shapes can be seen. The rows of the drawn images
#   say how much of it is, for each line of the ablation. The premise asks it of the usual drawing alone (a third): with Rand,
#   the larger fixed sizes and 250 shapes hardly any ground is left, which is what the paper says of them. With
#   Decay the late shapes of a small image are a pixel wide, so a rule made for 256 pixels has less to act on here.
# - **Shares.** What pretraining adds to DiffAugment (prim-11, prim-12) is of interest where DiffAugment itself is ahead of
#   plain BigGAN, as it is at every share in the paper. Compare the first two lines of each share before the third.
# - **Leaks** (prim-14) take a discriminator that has learned the set by heart. Where the rates are those of real images
#   there is no leak, and the part on leaks compares zero with zero. The rates are of the snapshot nearest to the images
#   trained on, the distances of that claim of the one nearest to held-out images.
# - **Filters** (prim-15, prim-16). A similarity near that of untrained networks is no result of training, and "twice as
#   large" says little of such numbers. The claims are about a network that saw faces alone, and ours saw 97 kinds of things,
#   so that a failure here says little of them. And the table says whether two networks differ, not that this is why one
#   transfers better; the paper calls that a conjecture, and nothing here tests it.

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **Sizes and steps.** A small SNGAN stands in for StyleGAN2, as in {doc}`52_transfer_to_few_images`, BigGAN is small, and
#   the images are 32 pixels wide.
# - **Numbers of shapes.** 50 are usual at 32 pixels, so that as much ground stays visible as a hundred leave at 256. What
#   the paper compares, 0, 10, 50, 100 and 500, is in rows as parts and multiples of the usual number (`relative_n`).
# - **The distance** is taken in features of EfficientNet-Lite0 and of few images, and is called FD. Against training
#   images it rewards copies; rows against held-out images are kept too.
# - **Data.** Three kinds of things out of Caltech-101 stand in for CIFAR's ten or hundred, with a thirtieth of its images: a
#   tenth of them is 53 a kind, one percent is five. Of the photographs that are there to train on 304 are held out, as the set
#   has 96 to test on. 97 of the classes stand in for the faces of the real source.
# - **Your own images.** Of a folder in `targets` as many as `target_images` says are learned, and up to 400 others are held
#   out; leave a quarter for that. They choose nothing in the ablation; without any there are only distances to the images
#   trained on.
# - **Settings of the SNGAN** are those of {doc}`52_transfer_to_few_images`, and its pretrained pairs, which come with the book
#   or are trained when asked for. But a training on a target has 2,400 steps here and 3,600 there, and in the trial on faces
#   from random weights the last third of 2,400 still made the best distance 17 % smaller: distances of the same start differ
#   between the two pages.
# - **An SNGAN stands in for BigGAN**, too, with classes, and, but for the steps, the settings of
#   {doc}`52_transfer_to_few_images`: a BigGAN of this size drew textures without things on ten classes after a thousand
#   steps ({doc}`../book/beds`). The larger scales have the public code's BigGAN, with its
#   settings.
# - **Batch norm** takes standing statistics where the public code takes those of the batch. What is transferred is the last
#   snapshot of pretraining; the public code takes the one nearest to CIFAR's test images, which lets them choose once more.
#   Shares are of equally many images a class.
# - **Oddities.** On 32 pixels the public code draws lines and rectangles with the positions of 256, so that few are seen.
#   They are off here; `-p quirks fixed_canvas` and the other names of {doc}`51_synthesizer` switch them on, but for
#   `worker_streams`: no worker processes draw here.
# - **What is dead.** The rows `live_features` say for every training which share of the discriminator's features is alive
#   at its end. Pretraining takes two thirds of the steps of training; in the public code it takes as many, or half as many.
# - **Leaks** are found by a detector of mid-grey squares and borders instead of the eye. It sees no leak of another
#   shape, and none whose grey is off.
# - **Few layers.** Networks for 32 pixels have a handful of convolutions each, so the claims about filters rest on
#   few numbers. The paper has 26 layers of one pretraining run each; here every seed pretrains anew.
# - **The real source** may be any pair of networks that this library saved: `-p pretrain_on`, in place of pretraining here.
#
# ```bash
# papermill notebooks/53_why_it_works.ipynb out.ipynb -p parts filters
# papermill notebooks/53_why_it_works.ipynb out.ipynb -p parts ablation -p policies Decay,Rand -p counts 0,50 -p stop_after 0
# synthbook run 53_why_it_works --scale small -p data_root=data
# synthbook run 53_why_it_works --scale paper -p data_root=data
# synthbook run 53_why_it_works -p parts=ablation -p targets=my_images/ -p stop_after=0 -p workers=4
# ```
