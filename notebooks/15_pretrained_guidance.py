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
# # 15 Pretrained Guidance
#
# **The question.** A network that sees only generated images learns only what they have in common. Can a frozen
# network that has seen the real world keep it from doing so, although it sees the same generated images?
#
# **The study's answer.** Yes, for the most part. {cite:t}`wang2024improving` hold the distances between the features
# of a batch to those of a frozen network with ImageNet weights, and call it Pretrained Guidance (Section 4 there).
# With a KL divergence it beats plain training on most data sets, from random and from pretrained weights (Table 2),
# also where the two networks differ in architecture (Table 3). Two older methods that pull the network itself
# towards ImageNet, ASG {cite:p}`chen2020automated` and CSG {cite:p}`chen2021contrastive`, depend more on the start.
#
# **Here.** Both tables on photographs of ten kinds of thing, with the generators that come with this book
# ({doc}`11_generators`); what the guidance does to the features, the weight of the guidance, and what the other
# readings of the paper's formula would have given. The page itself runs plain training and PG-KL in the setting of
# Table 3; the complete grid is recorded.

# %% tags=["hide-input"]
from synthbook.page.page import answer

answer("15_pretrained_guidance")

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
seeds: int = 1  # seeds to run: each draws its own samples and initial weights
first_seed: int = 0  # the first of them
generators: int = 1  # models of each family; seed s uses model s mod this number
sources: list[str] = ["real", "diffusion", "gan"]  # images to train on, also your own
parts: list[str] = ["other_architecture"]  # also scratch, pretrained, sensitivity, readings
methods: list[str] = ["plain", "PG-KL"]  # both, and any of plain-eval, ASG, CSG, PG-L1
method_settings: list[str] = []  # numbers of methods, such as the queue of CSG
data: str = "caltech10"  # a data set's name, a folder of class folders, or an .npz
data_root: str = ""  # where downloaded data sets lie
image_size: int = 0  # side in pixels to resize to; 0 keeps the size
set_size: int = 1000  # training images of each source, equally many a class; 0: all
guidance_scale: float = 1.0  # of the diffusion model where it is told a class; 1: unguided
unconditional: list[str] = ["diffusion", "gan"]  # the filter labels them, not the class asked for
confidence: float = 0.8  # a sample is kept if the filter's classifier is surer than this
backbone: str = "small_cnn"  # the classifier: small_cnn, resnet18_cifar ..., or a timm name
pretrained: bool = False  # start from ImageNet weights
epochs: int = 40  # passes over the training images
batch_size: int = 64  # images a step
learning_rate: float = 0.002  # of Adam
crop_padding: int = 0  # pixels of padding for random crops; 0 for none
flip: bool = False  # mirror half of the training images
input_size: int = 16  # side that batches are resized to for the classifier; 0 for as they are
guide_backbone: str = "efficientnet_lite0"  # the frozen network, and the large one in training
guide_input_size: int = 64  # side that the frozen network's images are resized to
guide_pretrained: bool = True  # false for a guide of random weights, a control
large_set_size: int = 500  # images for a network of its kind, from ImageNet weights; 0: set_size
large_input_size: int = 32  # side that these have, for that network from ImageNet weights
large_epochs: int = 10  # of that network from ImageNet weights
large_learning_rate: float = 0.002  # likewise
scratch_set_size: int = 0  # images for that network from random weights; 0: set_size
scratch_input_size: int = 48  # the side for that network from random weights
scratch_epochs: int = 120  # of that network from random weights
scratch_learning_rate: float = 0.002  # likewise
scratch_crop_padding: int = 2  # likewise, pixels of padding for random crops
scratch_flip: bool = True  # likewise, mirror half of the images
lambda_3_kl: list[float] = [10.0]  # weights of PG-KL; of several, one is chosen
lambda_3_l1: list[float] = [1.0]  # weights of PG-L1, likewise
precision: str = "float32"  # float32, or bfloat16 on a GPU
device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
threads: int = 1  # CPU threads; more of them round sums differently
rows: str = ""  # file to append the rows to; "" is _build/rows/<chapter>.jsonl

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies.pretrained_guidance import PretrainedGuidance, check_pretrained_guidance

p = parameters("15_pretrained_guidance", globals())
print(check_pretrained_guidance(p))
print(PretrainedGuidance.plan(p))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Change in accuracy on real test images against plain training from the same weights on the same images, in points. Small dots are seeds, large ones their mean, bars its 95 % interval, which one seed has not; open diamonds are the paper's figures for CIFAR-10 (LSGM above the diffusion model, StyleGAN-XL above the GAN). plain-eval is plain training with batch norm in evaluation mode, as in ASG and CSG. The titles have the accuracy of plain training, on images of each generator in the order of the key: look first whether it is above always naming the largest class, which stands below the figure. Right of zero: the method helps. The paper's sizes cannot be compared with those here; the side of zero can.", "name": "fig-15-gains"}, "image": {"alt": "For each network in training a panel with a line for each method and generator: the change in accuracy against plain training by plain training in evaluation mode, ASG, CSG, PG-L1 and PG-KL, with dots for seeds, an interval and a diamond for the paper's figure."}}
from itertools import product

import matplotlib.pyplot as plt

from synthbook.page import figures
from synthbook.page.page import Page, matching
from synthbook.record.published import published
from synthbook.record.rows import Run
from synthbook.studies.image_sources import families_of

figures.style()
families = families_of(p)
NETWORKS = {  # architecture and weights at the start
    ("same_architecture", "scratch"): "guide's, random",
    ("same_architecture", "pretrained"): "guide's, ImageNet",
    ("other_architecture", "scratch"): "other, random",
    ("other_architecture", "pretrained"): "other, ImageNet",
}
TITLE = "{} architecture,\n{} weights"
METHODS = ("plain", "plain-eval", "ASG", "CSG", "PG-L1", "PG-KL")
TABLES = {"part": "tables", "metric": "top1_accuracy", "split": "test"}


def named(table):
    """Return rows with the network that is trained, in words."""
    keys = zip(table.guide, table.init, strict=True)
    return table.assign(network=[NETWORKS[key] for key in keys])


def tables_2_and_3(data="CIFAR-10"):
    """Return the paper's figures for a data set, or several, under the names of this chapter."""
    table = published("gap", dataset=data, metric="top1_accuracy")
    table = table[table.table.isin(["T2A", "T2B", "T3"])]
    method = table.method.where(table.sim == "", table.method + "-" + table.sim)
    table = table.assign(
        method=method.replace({"Baseline": "plain", "Real": "plain"}),
        train=table.source.map({"Real": "real", "LSGM": "diffusion", "SG-XL": "gan"}),
        guide=table.table.map({"T3": "other_architecture"}).fillna("same_architecture"),
        init=table.init.replace({"imagenet": "pretrained"}),
    )
    return named(table)


def over_plain(table):
    """Return accuracies less those of plain training, a column a method."""
    keys = ["network", "train", "seed"]
    wide = table.pivot_table(index=keys, columns="method", values="value")
    return wide.sub(wide["plain"], axis=0)


def compared(table, network):
    """Return the rows of a network that has learned generated images."""
    return matching(named(table), network=network, train=families)


def plain_at(table, network):
    """Return those of plain training."""
    return matching(compared(table, network), method="plain")


def rows_alone(whose):
    """Return whose rows are shown, without the number of seeds, which each panel has for itself."""
    return whose.partition(", ")[2]


def gains(table, whose):
    """Draw gains over plain training: a panel a network, a line a method and generator."""
    ours, theirs = over_plain(named(table)), over_plain(paper.assign(seed=0))
    theirs = theirs.reindex(columns=METHODS)  # which lack the book's own control
    names = [name for name in METHODS[1:] if name in ours]
    panels = [text for text in NETWORKS.values() if text in ours.index]
    step = len(families) + 0.7
    size = (3 + 2 * len(panels), 1.6 + 0.29 * step * len(names))
    fig, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for ax, network in zip(axes[0], panels, strict=True):
        for (k, name), (n, family) in product(enumerate(names), enumerate(families)):
            place, tint = k * step + n, figures.color(family)
            if len(values := ours.loc[(network, family), name].dropna()):
                figures.dots_and_interval(ax, place, values, tint)
            if len(values := theirs[name].dropna().get((network, family), [])):
                ax.plot(values, [place - 0.36], "D", mfc="none", mec=tint, markersize=6)
        ax.axvline(0, color="black", linewidth=0.8)
        level = plain_at(table, network).groupby("train").value.mean().reindex(families)
        levels = f"plain {' / '.join(f'{mean:.0f}' for mean in level)} %"
        title = f"{TITLE.format(*network.split(', '))}\n{levels}"
        title += f"\n{figures.seeds(compared(table, network))}"
        ax.set_title(title, fontsize="medium")
    middles = [k * step + (len(families) - 1) / 2 for k in range(len(names))]
    axes[0][0].set(yticks=middles, yticklabels=[figures.label(name) for name in names])
    axes[0][0].set_ylim(middles[-1] + step / 2, -step / 2 + middles[0])
    for family in families:
        axes[0][0].plot([], [], "o", color=figures.color(family), label=figures.label(family))
    axes[0][0].plot([], [], "D", mfc="none", mec="black", label="the paper")
    fig.legend(loc="outside upper center", ncols=3)
    fig.supxlabel(f"points of accuracy ({rows_alone(whose)})", fontsize="medium")
    plt.show()


paper = tables_2_and_3()
table, whose = Page(Run(p)).shown(**TABLES)
if whose:
    gains(table, whose)
else:
    print("Nothing is recorded at this scale; the picture of this run is below.")

# %% tags=["hide-input"]
from synthbook.data import load
from synthbook.intervals import interval
from synthbook.page.tables import aside


def in_short(table, whose, largest):
    """Say which methods are above plain training, and where that is above the largest class."""
    over, told, low, counts = over_plain(named(table)), [], [], []
    for network in [text for text in NETWORKS.values() if text in over.index]:
        of_method = {
            name: [interval(over.loc[(network, f), name].dropna()) for f in families]
            for name in METHODS[1:]
            if name in over and over.loc[network, name].notna().any()
        }
        sides = {
            "above": [k for k, reach in of_method.items() if all(r.low > 0 for r in reach)],
            "below": [k for k, reach in of_method.items() if all(r.high < 0 for r in reach)],
        }
        words = [f"{side} {', '.join(names)}" for side, names in sides.items() if names]
        counts.append(compared(table, network).seed.nunique())
        several = counts[-1] > 1
        none = "none" if several else "one seed, and no interval"
        told.append(f"{network}: {'; '.join(words) or none}")
        reaches = [interval(some.value) for _, some in plain_at(table, network).groupby("train")]
        ends = [reach.low if several else reach.mean for reach in reaches]
        low += [network] if any(not end > largest for end in ends) else []
    little = (
        " Plain training on generated images is not clearly above it, so that gains say little: "
        f"{'; '.join(low)}."
    )
    return (
        f"In short ({figures.seeds_text(counts)}, {rows_alone(whose)}). Above plain training, or below it, by their intervals with every "
        f"generator, by architecture and weights: {'. '.join(told)}. Always naming the largest class of the "
        f"test images gets {largest:.1f} %.{little * bool(low)}"
    )


def largest_class(images):
    """Return in percent how often the largest class of images is right, if it is always named."""
    return 100 * images.counts().max() / len(images)


if whose and families:
    real = load(p.data, data_root=p.data_root, image_size=p.image_size)
aside(in_short(table, whose, largest_class(real.test))) if whose and families else None

# %% [markdown]
# ## The mechanism
#
# $M_u$ is the network in training and $M_p$ the frozen one, the *guide*. Both see a batch of $N$ images; $f_u(i)$ and
# $f_p(i)$ are their features of image $i$, whose widths may differ. What is compared is only how alike each network
# finds each pair of images:
#
# $$
# D_u^{ij} = \cos\bigl(f_u(i), f_u(j)\bigr), \qquad D_p^{ij} = \cos\bigl(f_p(i), f_p(j)\bigr).
# $$
#
# With L1 the numbers themselves are compared, $\lvert D_p^{ij} - D_u^{ij} \rvert$ on average over the pairs. With KL
# each row without its diagonal becomes a distribution over the other images, and the guide's is the target:
#
# $$
# \begin{aligned}
# P_i &= \operatorname{softmax}_{j \neq i} D_p^{ij}, \qquad Q_i = \operatorname{softmax}_{j \neq i} D_u^{ij}, \\
# L_\mathrm{pg} &= \frac{1}{N} \sum_{i=1}^{N} \mathrm{KL}(P_i \,\|\, Q_i), \\
# L &= L_\mathrm{task} + \lambda_3 L_\mathrm{pg},
# \end{aligned}
# $$
#
# where $L_\mathrm{task}$ is the cross-entropy (equations 1 and 3 of the paper).
#
# As an example, three images. To the guide all are unlike; the network in training takes the first two for nearly the
# same.

# %%
import torch

from synthbook.recognize.methods.pretrained_guidance import (
    cosine,
    matching_loss,
    off_diagonal,
    pretrained_guidance,
)

f_p = torch.eye(3)
f_u = torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0]])
P, Q = (off_diagonal(cosine(f)).softmax(1) for f in (f_p, f_u))
by_hand = (P * (P / Q).log()).sum(1).mean()
round(by_hand.item(), 6), round(pretrained_guidance(f_u, f_p).item(), 6)

# %% [markdown]
# Two things follow from the formula. A KL of such nearly level distributions is *small*: its weight $\lambda_3$ has
# to be large to matter ([*Is the guidance felt?*](#is-the-guidance-felt) below measures it). And a softmax does not
# see a constant that is added to all its numbers: with KL the network may find all images more alike than the guide
# does, if only the order and the steps between them stay. L1 forbids that.

# %%
level = cosine(f_p)
raised = level + 0.3 * (1 - torch.eye(3))
{name: round(matching_loss(level, raised, similarity=name).item(), 6) for name in ("kl", "l1")}

# %% [markdown]
# ## The experiment
#
# Every network is trained on as many images, all generated, for as many updates; *real* is plain training on real
# images, to compare with. A network of the guide's architecture is slow, so from ImageNet weights it gets only
# `large_set_size` of these images, equally many a class. From random weights it needs more (`scratch_set_size`), and
# more passes over them, larger, mirrored and shifted; without, it would learn them by heart and nothing else
# ({doc}`../book/beds`). In the settings *scratch* and
# *pretrained* it has the guide's architecture (Table 2), in *other architecture* it is a small convolutional network of
# random weights (Table 3). CSG compares the feature maps of two networks of one architecture and cannot be run there.
# In a seed all methods start from the same weights.
#
# Before a seed's methods, each network's $\lambda_3$ is chosen, one for KL and one for L1: each weight of a grid is
# trained with, and the one of the largest mean accuracy over the generators on real *validation* images is taken, of
# equal ones the smaller. Test images choose nothing, and no weight is inherited from another data set or size. The
# paper sets $\lambda_3$ for each data set, by a rule that its main text does not give. Where one weight is given, as to
# this page's own run, nothing is chosen, and the rows say which it was.
#
# The learning rate and the epochs of each network were chosen beforehand, on real validation images and for plain
# training on real images alone ({doc}`../book/beds`). The guide sees the photographs enlarged.
#
# *plain-eval* is the control for ASG and CSG. Their authors train with the network in evaluation mode, where BatchNorm
# normalises by stored statistics, and a pretrained body at a tenth of the heads' learning rate. So does this method,
# and it has no loss but the cross-entropy: what ASG and CSG are above it is what their own losses add. A body of random
# weights has nothing to keep and learns at the full rate in all three.

# %% tags=["experiment"]
from synthbook.data import load
from synthbook.machine import prepare
from synthbook.page.progress import progress

device = prepare(p.device, p.threads)
real = load(p.data, data_root=p.data_root, image_size=p.image_size)
run = Run(p)
experiment = PretrainedGuidance(p, real, device=device)
for seed in progress(p.seeds_list, "seeds"):
    for row in experiment.rows(seed):
        run.add(**row)

# %%
page = Page(run)
page.agreement()

# %% [markdown]
# ## The pictures
#
# First what the guidance does to the features. Each small square is a pair of real test images, which neither network
# in training has seen; yellow pairs are alike. The guide (left) was told nothing of the task: see whether it finds images
# of a class more alike all the same. Plain training (middle) is there to make blocks on the diagonal; bright patches off
# it are images of different classes that it takes for alike. In the guided network (right) look at the contrast, the
# steps between bright and dark: these are what KL holds to the guide's. How bright a picture is as a whole it leaves
# open, as the mechanism above has shown.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Cosine similarity of the features of real test images, sorted by class (last seed of this run, one generator). The colour scale is the same in all three. Compare the contrast inside each picture and where its bright pairs lie; how bright it is as a whole is nothing that KL sees.", "name": "fig-15-matrices"}, "image": {"alt": "Three square heat maps of pairwise cosine similarity between test images sorted by class: of the frozen guide, of the network trained plainly, and of the network trained with Pretrained Guidance."}}
import numpy as np

titles = {"guide": "frozen guide", "plain": "trained plainly", "PG-KL": "trained with PG-KL"}
labels = real.test.labels
some = [np.flatnonzero(labels == k)[:6] for k in np.unique(labels)[:10]]
some = real.test.subset(np.concatenate(some))
matrices = {name: experiment.similarities(some, name, families[0]) for name in titles}
lowest = min(off_diagonal(matrix).min().item() for matrix in matrices.values())
fig, axes = plt.subplots(1, 3, figsize=(8.6, 3.1), sharey=True)
for ax, (name, matrix) in zip(axes, matrices.items(), strict=True):
    picture = ax.imshow(matrix, cmap="cividis", vmin=lowest, vmax=1)
    starts = np.flatnonzero(np.diff(some.labels, prepend=-1))
    ax.set_xticks([])
    ax.set_yticks(starts + 2.5, [some.classes[k] for k in some.labels[starts]], fontsize="small")
    ax.tick_params(length=0)
    ax.set_title(titles[name])
    ax.grid(False)
fig.colorbar(picture, ax=axes, label="cosine", pad=0.02)
plt.show()

# %% [markdown]
# The paper says that guidance keeps the *span* of the features. All pairs of test images, as histograms. A softmax over a
# row sees its differences and not its level. So of a curve KL can hold the *width*, and which pairs lie left and right
# in it; *where* the whole curve lies it leaves to the cross-entropy.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How alike two real test images are to the guide and to the two networks in training, over all pairs (last seed of this run). Compare the widths: KL draws that of the guided network towards the guide's. Where a curve lies along the axis KL does not see, so that the guided curve may lie far from the guide's and still cost nothing.", "name": "fig-15-span"}, "image": {"alt": "For each generator, three outlined histograms of cosine similarity between pairs of test images: of the guide, of the network trained plainly and of the one trained with Pretrained Guidance."}}
from synthbook.data import at_most

many = at_most(real.test, 1000)
matrices = {("", "guide"): experiment.similarities(many, "guide")}
for source, name in product(families, ("plain", "PG-KL")):
    matrices[source, name] = experiment.similarities(many, name, source)
fig, axes = plt.subplots(1, len(families), figsize=(8, 3.2), sharey=True, squeeze=False)
for ax, source in zip(axes[0], families, strict=True):
    for name, title in titles.items():
        pairs = off_diagonal(matrices[source if name != "guide" else "", name]).flatten().numpy()
        ax.hist(
            pairs,
            bins=np.arange(np.floor(40 * min(0, pairs.min())), 41) / 40,
            weights=np.full(len(pairs), 100 / len(pairs)),
            histtype="step",
            linewidth=1.8,
            color="black" if name == "guide" else figures.color(name),
            label=title,
        )
    ax.set(title=f"trained on {figures.label(source)} images", xlabel="cosine of two images")
axes[0][0].set_ylabel("share of pairs (%)")
fig.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
plt.show()

# %% [markdown]
# The same in numbers: the mean cosine of two test images of the same class and of different ones, and the *step*
# between them; the *spread*, the standard deviation of an image's cosines with all others, on average over the images;
# and the KL from the guide, which the guidance makes small. The two means move with the level, which KL does not see, so
# read the step and the spread: KL draws the spread of the guided network towards the guide's. The guide was told nothing
# of the classes, so a step that shrinks with the spread, maybe below the guide's, is the price: the classes lie nearer
# together than plain training puts them.

# %% tags=["hide-input"]
import pandas as pd

from synthbook.page.tables import plain

same = torch.from_numpy(many.labels[:, None] == many.labels)
apart = ~torch.eye(len(many), dtype=torch.bool)
span = {
    (figures.label(source), titles[name]): {
        "same class": matrix[same & apart].mean().item(),
        "other class": matrix[~same].mean().item(),
        "step": (matrix[same & apart].mean() - matrix[~same].mean()).item(),
        "spread": off_diagonal(matrix).std(1).mean().item(),
        "KL to the guide": matching_loss(matrices["", "guide"], matrix).item(),
    }
    for (source, name), matrix in matrices.items()
}
plain(pd.DataFrame(span).T.rename_axis(["trained on", "network"]))

# %% [markdown]
# ### Is the guidance felt?
#
# A term of the loss acts through its gradient. At the features, where both enter the network, the norm of the gradient
# of $\lambda_3 L_\mathrm{pg}$ over that of the cross-entropy, in percent, each a mean over all steps. In the table stand
# medians over seeds, which need not have chosen the same weight.

# %% tags=["hide-input"]
FELT = {"part": "tables", "metric": "guidance_gradient_share"}


def shares(table):
    """Return how large the gradient of the guidance is beside the cross-entropy's, in percent."""
    table = matching(table, **FELT)
    return named(table.assign(value=100 * table.value))


page.table(
    ["network", "method"],
    "train",
    select=shares,
    headings={"network": "architecture, weights"},
    order=list(NETWORKS.values()),
    decimals=2,
    median=True,
    title="Gradient of the guidance in percent of the cross-entropy's",
)

# %% tags=["hide-input"]
table, whose = page.shown(FELT["metric"], part="tables")
medians = shares(table).groupby(["network", "method", "train"]).value.median()
weak = [" / ".join(place) for place, value in medians.items() if value < 1]
felt = "; ".join(weak) or "none"
print(f"Medians below 1 %, so hardly felt ({rows_alone(whose)}): {felt}.")

# %% [markdown]
# ### How much guidance
#
# The curves show what other weights than the chosen ones give. Below them stands how often the largest weight of a grid
# was taken: where that is often, a still larger one might have been better.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Accuracy on real images by weight of the guidance: means over seeds and generators, with 95 % intervals over seeds where there are several. Solid: validation images, by which the weight is chosen. Dashed: test images, which choose nothing. Grey: plain training, on test images. Open circles: the weights that were taken, the larger the more seeds took them.", "name": "fig-15-lambda"}, "image": {"alt": "For each network in training a panel with accuracy against the weight of the guidance on a logarithmic axis, one solid and one dashed line with intervals for PG-KL and PG-L1 each, and a horizontal line for plain training."}}
from synthbook.studies.pretrained_guidance import GUIDED

table, whose = page.shown("top1_accuracy", part="sensitivity", train=families)
of_plain, _ = page.shown(**TABLES)
of_plain = matching(of_plain, method="plain", train=families)
chosen, _ = page.shown("lambda_3", part="choice")
weights = [name for name in GUIDED if name in {*p.methods, *table.method}]
tint = dict(zip(weights, figures.PALETTE[2:], strict=False))
if whose:
    table, of_plain, chosen = named(table), named(of_plain), named(chosen)
    panels = [text for text in NETWORKS.values() if text in set(table.network)]
    size = (3 + 2 * len(panels), 3.7)
    fig, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False)
    for ax, network in zip(axes[0], panels, strict=True):
        level = matching(of_plain, network=network).value.mean()
        ax.axhline(level, color=figures.color("plain"))
        curves = product(weights, (("val", "-"), ("test", "--")))
        for place, (name, (split, line)) in enumerate(curves):
            curve = matching(table, method=name, split=split, network=network)
            curve = curve.pivot_table(index="lambda_3", columns="seed", values="value")
            look = {"color": tint[name], "marker": figures.mark(name)["marker"], "linestyle": line}
            shift = 1.12 ** (place - 1.5)  # beside each other
            figures.means_and_intervals(ax, shift * curve.index, curve.to_numpy(), **look)
            taken = matching(chosen, method=name, network=network).value
            taken = taken[taken.isin(curve.index)].value_counts()
            for weight, count in taken.items() if split == "val" else ():
                ring = {"markersize": 9 + 2 * count, "mfc": "none", "mec": tint[name]}
                ax.plot(shift * weight, curve.loc[weight].mean(), "o", **ring)
        ax.set(xscale="log")
        ax.margins(0.1)
        title = f"{TITLE.format(*network.split(', '))}\n{figures.seeds(compared(table, network))}"
        ax.set_title(title, fontsize="medium")
    axes[0][0].set_ylabel("accuracy (%)")
    for name in weights:
        look = {"color": tint[name], "marker": figures.mark(name)["marker"]}
        axes[0][0].plot([], [], label=name, **look)
    for text, look in (("validation", "k-"), ("test", "k--")):
        axes[0][0].plot([], [], look, label=text)
    axes[0][0].plot([], [], color=figures.color("plain"), label="plain, test")
    fig.legend(loc="outside upper center", ncols=5)
    fig.supxlabel(rf"weight $\lambda_3$ ({rows_alone(whose)})", fontsize="medium")
    plt.show()
    for name in weights:
        grid = sorted({*matching(table, method=name).lambda_3})
        tried = f"{', '.join(f'{weight:g}' for weight in grid)} were tried"
        taken = list(matching(chosen, method=name).value == grid[-1])
        if taken:
            print(f"{name}: {tried}; the largest was taken {sum(taken)} of {len(taken)} times")
else:
    print("Neither recorded nor run here: -p parts other_architecture,sensitivity runs it.")
for (setting, name), weight in experiment.weights.items():
    print(f"This run, last seed: lambda_3 = {weight:g} for {name}, {setting.replace('_', ' ')}")

# %% [markdown]
# ### The other readings
#
# The paper leaves open which way the KL goes (the sentence before its equation says that the guide should become like
# the network, which has the gradients), and over what it normalises; and it lets the measure be any. This chapter takes
# the guide as target, a distribution a row, and cosine. Below, each of these is turned round alone, in the setting of
# Table 3. The weight $\lambda_3$ is the one that was chosen for the reading taken, and is not chosen anew: Euclidean
# distances have no upper end, so with them the same weight means more.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Change in accuracy on real test images against plain training, in points, by the readings that this chapter takes and by others, each turned round alone. PG-KL and PG-L1 by themselves are as taken. Dots are seeds, bars the 95 % interval of their mean, which is written on the right. Compare the lines of PG-KL with each other: where they agree, the reading does not matter.", "name": "fig-15-readings"}, "image": {"alt": "For each generator a line with dots and an interval for every reading of Pretrained Guidance: the change in accuracy against plain training."}}
table, whose = page.shown("top1_accuracy", part="readings", train=families, split="test")
taken, beside = page.shown(**TABLES, guide="other_architecture", train=families)
if whose and beside:
    taken = matching(taken, method=["plain", *weights])
    table = pd.concat([taken, table]).assign(reading=lambda rows: rows.method)
    turned = {"target": ", KL from the network", "over": ", softmax over all"}
    turned["distance"] = ", Euclidean distances"
    for column, text in turned.items():
        changed = table[column].notna() & (table[column] != experiment.numbers(p)[column])
        table.loc[changed, "reading"] = table.method + text
    names = [name + text for name in weights for text in ("", *turned.values())]
    wide = table.pivot_table(index=["train", "seed"], columns="reading", values="value")
    wide = wide.sub(wide["plain"], axis=0)
    panels = {
        source: {name: wide.loc[source, name] for name in names if name in wide}
        for source in families
    }
    figures.differences(panels, f"points of accuracy above plain ({whose})")
    plt.show()
else:
    print("Neither recorded nor run here: -p parts other_architecture,readings runs it.")

# %% [markdown]
# ### What is gained, in this run
#
# Only the networks of this run's `parts` are trained here, with one seed unless `seeds` asks for more.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first figure of this page again, from this run alone.", "name": "fig-15-gains-live"}, "image": {"alt": "For each network in training of this run a panel with a line for each method and generator: the change in accuracy against plain training, and the paper's figures as diamonds."}}
table = matching(page.rows, **TABLES)
gains(table, f"{figures.seeds(table)}, this run")

# %% [markdown]
# ## The table
#
# Of Tables 2 (the guide's architecture) and 3 (another one) of the paper only the columns of CIFAR-10 have a
# counterpart here. LSGM, its diffusion model, stands under *diffusion*, StyleGAN-XL under *GAN*, and under *real* plain
# training on as many real images, an upper bound only where the network learns them: compare it with always naming
# the largest class, which stands below the table. *time* is that of the training over the time of plain training in
# the same setting, from recorded runs alone, and is as noisy as clocks are. An image goes through the guide once
# where it always comes unchanged, and at every step where it is cropped or mirrored.


# %% tags=["hide-input"]
def lines(table):
    """Return accuracies, and times as means over the generators, in the paper's order."""
    keys = ["scale", "guide", "init", "method", "seed"]
    times = matching(table, metric="relative_cost").groupby(keys, as_index=False)
    times = times.value.mean().assign(train="time")
    table = named(pd.concat([matching(table, **TABLES), times]))
    return table.sort_values("method", key=lambda names: names.map(METHODS.index), kind="stable")


page.table(
    ["network", "method"],
    "train",
    paper,
    lines,
    headings={"network": "architecture, weights"},
    order=list(NETWORKS.values()),
    title="Accuracy in percent on real test images",
    notes=[
        f"Always naming the largest class of the test images: {largest_class(real.test):.1f} %."
    ],
)

# %% [markdown]
# The other columns of Table 2 have no counterpart here, and not all say the same as those of CIFAR-10. From ImageNet
# weights ASG and CSG are above PG with KL on CUB and SDI-A, and ASG is on SDI-B too; both with Proj-GAN on CUB, and ASG on
# SDI-A, are above real images even. On Flower, and from random weights everywhere, they are far below PG. Read claim
# gap-14 beside these columns.

# %% tags=["hide-input"]
from synthbook.page.tables import comparison

others = tables_2_and_3(["CUB", "Flower", "SDI-A", "SDI-B", "SDI-C"])
others = others.assign(column=others.dataset + ", " + others.source)
on_real = others[others.train == "real"].drop(columns="column").assign(method="real images")
columns = others.loc[others.train != "real", ["dataset", "column"]].drop_duplicates()
others = pd.concat([others[others.train != "real"], on_real.merge(columns, on="dataset")])
how = {"headings": {"network": "architecture, weights"}, "order": list(NETWORKS.values())}
comparison(None, None, others, index=["network", "method"], columns="column", **how)

# %% [markdown]
# ## The claims
#
# Each is a claim of the paper as inequalities over the *recorded* rows, one effect a seed. It holds if each of them
# does; the parts say which setting, method and generator decide.

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# **Reading them.** Where training on real images is an upper bound, a method can gain only what plain training leaves
# below it: compare the column *real* of the table first. And a guide is as good as what it has seen. Among the thousand
# classes of ImageNet are most of the things on these photographs, if not these pictures, so the miniature asks whether
# somebody who knows the world helps a network that sees none of it; `-p guide_pretrained false` takes a guide of random
# weights, and tells how much of an effect is the pretraining and how much any regulariser would have given.
#
# In the recorded runs Pretrained Guidance was weak for the network of the guide's architecture: medians of its gradient
# are one to three hundredths of the cross-entropy's ([*Is the guidance felt?*](#is-the-guidance-felt)
# above), for the small network from a quarter up. That the former gains little by it is weak evidence against the
# method.
#
# ASG and CSG train in evaluation mode, as their code does; compare them with *plain-eval*, which does so too. From
# random weights that takes BatchNorm's batch statistics out of the training: a large network with few updates can
# profit from it whatever the extra loss is, and then these methods lead where the paper has them far behind. From
# ImageNet weights the stored statistics are those of photographs, and a training may come apart: look at the spread
# over seeds. And CSG is only a part of itself here: from 32 pixels, which the network with ImageNet weights sees, the last
# feature map is a single position, and its attention over positions does nothing. Claim gap-14 is decided against such a
# CSG.

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **Networks.** The guide is an EfficientNet-Lite0, whose ImageNet weights are installed with the book, and sees the
#   photographs of 32 pixels enlarged to 64: at 32 a linear layer on its features knows fewer of them than a small network
#   that was trained from scratch. The paper's is a ResNet-50 at 224. The network in training of the guide's kind sees
#   as little as a processor can pay for: from ImageNet weights 500 images at 32 pixels, from random ones 1,000 at 48,
#   mirrored and shifted at random, so that a comparison of the two starts is one of these recipes too. The network of
#   another architecture is small, sees 1,000 at 16, and has 64 features to the guide's 1,280; the paper has 256 to 1,024.
# - **Training.** The large network has 10 epochs from ImageNet weights and 120 from random ones, where the paper has 200,
#   with learning rates that were chosen on real validation images for plain training on real images, and are the same
#   for all methods.
# - **ASG** has no second stage, as in the paper. **CSG** contrasts the last feature map only, with a short queue and
#   without strong augmentation. At `large_input_size` 32 that map is a single position, so that there is nothing for
#   its attention to pool; `-p large_input_size=64` gives it four, as many as the network from random weights has. Their
#   authors always start from ImageNet weights; the tenth of the learning rate for the body is for such ones, and random
#   bodies learn at the full rate. Numbers of methods are set by name, as in `-p method_settings CSG.queue=4096,ASG.weight=0.5`.
# - **Features** are those before the last layer; the paper's widths for Table 3 point to an earlier layer.
#
# ```bash
# papermill notebooks/15_pretrained_guidance.ipynb out.ipynb -p methods plain,PG-KL -p parts pretrained
# synthbook run 15_pretrained_guidance --scale small -p data_root=data
# synthbook run 15_pretrained_guidance -p lambda_3_kl=1,10,100 -p parts=other_architecture,sensitivity
# synthbook run 15_pretrained_guidance -p data=my_images/ -p image_size=32
# synthbook run 15_pretrained_guidance -p 'sources=["real","mine=my_samples"]' -p data=my_images/ -p image_size=32
# ```
#
# The last line takes images that you have generated, a folder of class folders with the names of your classes
# ({doc}`../book/how_to_read`). They go through the same filter, and half as many again as are trained on must pass it,
# 1.5 times `set_size`, since as many are held out. Where `sources` names a family, as by default, {doc}`11_generators`
# must have trained its model of your photographs first.
