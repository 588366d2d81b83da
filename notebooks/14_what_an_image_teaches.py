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
# # 14 What an image has to teach
#
# **The question.** If a generated image holds nothing new, a classifier that knows the real ones should not be
# surprised by it. How surprised is it, and are images that surprise nobody still worth adding?
#
# **The study's answer.** {cite:t}`wang2024improving` take the cross-entropy that an image costs a classifier of the
# *other* source as the measure of what it could teach (Figure 3 there). Generated images cost a real-trained
# classifier little: many more of them than of real ones cost next to nothing, and few cost more than 1. Real images
# cost a classifier trained on generated ones much more. Adding even the low-loss images helps a little. With {doc}`12_not_mutual` this leads to their conclusion:
# what hurts is missing *content*, more than bad *quality*, and *appearance* hardly at all.
#
# **Here.** The losses in both directions, the images at both ends, low-loss images as augmentation, and two tests
# of the conclusion that the paper does not have: what it costs to leave out real images of rare kinds, and the
# three gaps measured in the features of a classifier, on real images that it never saw.

# %% tags=["hide-input"]
from synthbook.page.page import answer

answer("14_what_an_image_teaches")

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
seeds: int = 1  # seeds to run: each draws its own samples and initial weights
first_seed: int = 0  # the first of them
generators: int = 1  # models of each family; seed s uses number s mod this
sources: list[str] = ["real", "diffusion", "gan"]  # images to train on, also your own
data: str = "caltech10"  # a data set's name, a folder of class folders, or an .npz
data_root: str = ""  # where downloaded data sets lie
image_size: int = 0  # side in pixels to resize to; 0 keeps the size
set_size: int = 1000  # training images of each source, equally many a class; 0: all
guidance_scale: float = 1.0  # of the diffusion model; 1 is as it was learned
unconditional: list[str] = ["diffusion", "gan"]  # the filter labels them, not the class asked for
confidence: float = 0.8  # a sample is kept if the filter's classifier is surer than this
backbone: str = "small_cnn"  # the classifier: small_cnn, resnet18_cifar ..., or a timm name
pretrained: bool = False  # start from ImageNet weights
epochs: int = 40  # passes over the training images
batch_size: int = 64  # images a step
learning_rate: float = 0.002  # of Adam
schedule: str = "constant"  # of the learning rate: constant or cosine
crop_padding: int = 0  # pixels of padding for random crops; 0 for none
flip: bool = False  # mirror half of the training images
input_size: int = 16  # side that batches are resized to for the classifier; 0 for as they are
precision: str = "float32"  # float32, or bfloat16 on a GPU
device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
threads: int = 1  # CPU threads; more of them round sums differently
rows: str = ""  # file to append the rows to; "" is _build/rows/<chapter>.jsonl
parts: list[str] = ["costs"]  # costs, and adding, which trains 11 classifiers more
equal: str = "steps"  # what all trainings have in common: steps or epochs
shots: int = 10  # real images a class where there are few
share: float = 0.2  # of the real images left out, of rare kinds or at random
measured: int = 1000  # training images for the three gaps; of samples no more than unseen ones
neighbours: int = 5  # k of the nearest-neighbour measures
controls: list[str] = []  # controls to run as well: unfiltered, guided, same_images

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies import gap, image_sources, teaching

p = parameters("14_what_an_image_teaches", globals())
print(
    image_sources.check_what_an_image_teaches(p),
    image_sources.plan_what_an_image_teaches(p),
    sep="\n",
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean cross-entropy that an image costs a classifier trained on the other source (training images of each source, as in Figure 3 of the paper). Small dots are seeds, large ones their mean, bars its 95 % interval. If the paper's finding shows here, a generator's images cost a real-trained classifier less than real images cost one trained on the generator's.", "name": "fig-14-surprise"}, "image": {"alt": "For each generator two lines with dots and an interval: the mean loss of its images under a real-trained classifier, and of real images under a classifier trained on its images."}}
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from synthbook.page import figures
from synthbook.page.page import Page
from synthbook.record.rows import Run

figures.style()


def surprise(table, whose):
    """Draw the mean loss of each source's images, a line for each generator and direction."""
    lines = [
        line for f in image_sources.families_of(p) for line in ((f, "real", f), (f, f, "real"))
    ]
    _, ax = plt.subplots(figsize=(6, 0.9 + 0.42 * len(lines)))
    for place, (family, train, test) in enumerate(lines):
        values = table[(table.train == train) & (table.test == test)].value
        figures.dots_and_interval(ax, place, values, figures.color(family))
    label = figures.label
    names = [f"trained on {label(train)}, loss of {label(test)}" for _, train, test in lines]
    ax.set(yticks=range(len(lines)), yticklabels=names, xlabel=f"cross-entropy in nats ({whose})")
    ax.set_ylim(len(lines) - 0.5, -0.5)
    plt.show()


table, whose = Page(Run(p)).shown("mean_cross_entropy", method="plain", split="train")
if whose:
    surprise(table, whose)
else:
    print("Nothing is recorded at this scale; the picture of this run is below.")

# %% tags=["hide-input"]
from synthbook.page.tables import aside, plain


def both_ways(page, metric, form):
    """Return the mean of a loss metric by generator, of its images and of real ones, in words."""
    table, _ = page.shown(metric, method="plain", split="train")
    means = table.groupby(["train", "test"]).value.mean().map(form.format)
    means = means.str.replace("%", " %")
    return ", ".join(
        f"{figures.label(family)} {means['real', family]} (real {means[family, 'real']})"
        for family in image_sources.families_of(p)
    )


if whose:
    costs = both_ways(Page(Run(p)), "mean_cross_entropy", "{:.2f}")
    little = both_ways(Page(Run(p)), "share_loss_below_0.01", "{:.0%}")
aside(
    f"In short ({whose}, means). What a generator's image costs a real-trained classifier, in nats, "
    f"and in brackets a real image one trained on the generator's: {costs}. Images that cost next "
    f"to nothing, below 0.01: {little}. The first says whether generated images cost less, the "
    "second whether more of them than of real ones cost next to nothing."
) if whose else None

# %% [markdown]
# ## The mechanism
#
# Let $f_X$ be a classifier trained on source $X$, and $(x, y)$ an image of the other source with its label. What
# the image could teach is the loss
#
# $$
# \ell(x, y) = -\log \operatorname{softmax}(f_X(x))_y .
# $$
#
# Near zero, $f_X$ knows it all already. Four numbers sum a set up: mean, median, the share of images below 0.01
# (this book's "near zero"; the paper gives no number) and the share above 1 (the paper's "high").

# %%
from synthbook.measure.gap import loss_profile

loss_profile(np.array([0.001, 0.002, 0.3, 2.5]))

# %% [markdown]
# A threshold is right for one data set and wrong for the next: where hardly a loss is below 0.01, its share says
# little. So beside the two shares there is a fifth number without one, the probability that a generated image is the
# easier of a pair,
#
# $$
# P\,\bigl(\ell_{R}(x_S, y_S) < \ell_{S}(x_R, y_R)\bigr),
# $$
#
# with $\ell_R$ and $\ell_S$ under classifiers trained on real ($R$) and on generated images ($S$). It is 1/2 where
# neither kind is easier, and 1 where each generated image costs less than every real one.

# %%
from synthbook.measure.gap import easier_share

easier_share(np.array([0.001, 0.002, 0.3]), np.array([0.1, 0.5, 2.5]))  # 8 of the 9 pairs

# %% [markdown]
# ## The experiment
#
# All classifiers are shown as many images, repeats counted and up to whole epochs, whatever the size of their training
# set: with equal epochs a larger set would be trained longer, and the gain could be the training's. That is as many
# steps within some percent, 640 to 650 as this page is set, but for one: an epoch over the hundred few real images is a
# full batch and one that is not, so alone they take 800, and the sets of the control `guided`, a third as large, some
# 730. (The paper trains for equal epochs, far into convergence.
# `-p equal epochs` does so here.)

# %% tags=["experiment"]
from synthbook.data import load
from synthbook.machine import prepare
from synthbook.page.progress import progress

device = prepare(p.device, p.threads)
real = load(p.data, data_root=p.data_root, image_size=p.image_size)
run = Run(p)
for seed in progress(p.seeds_list, "seeds"):
    lesson = teaching.WhatAnImageTeaches(p, real, seed=seed, device=device)
    for row in lesson.rows():
        run.add(**row)

# %%
print(gap.lowered(p, run.frame()), end="")
page = Page(run)
page.agreement()

# %% [markdown]
# ## The pictures
#
# Solid: generated images under the real-trained classifier. Outlined: real images under the classifier trained on
# generated ones. If generated images were as rich as real ones, the two would lie on each other.

# %% tags=["hide-input"]
_, whose = page.shown("share_loss_above_1", method="plain", split="train")
if whose:
    little = both_ways(page, "share_loss_below_0.01", "{:.0%}")
    much = both_ways(page, "share_loss_above_1", "{:.0%}")
aside(
    f"Losses below 0.01: {little}. Above 1: {much}. (Means, {whose}; in brackets real images.)"
) if whose else None

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Cross-entropy that an image costs a classifier trained on the other source (last seed of this run; training images of each source, as in Figure 3 of the paper). The more a histogram leans to the left, the less its images have to teach. Dotted: 0.01 and 1, this page's near zero and the paper's high. The first bar holds all that is smaller, too. Compare the left and the right ends.", "name": "fig-14-losses"}, "image": {"alt": "For each generator two histograms of losses on a logarithmic axis: generated images under a real-trained classifier, filled, and real images under a classifier trained on generated ones, outlined."}}
from matplotlib.patches import Patch

families, losses = lesson.families, lesson.losses
bins = np.logspace(-5, 1.3, 36)
outline = {"color": "black", "histtype": "step", "linewidth": 1.4}
fig, axes = plt.subplots(1, len(families), figsize=(8, 3.2), sharey=True, squeeze=False)
for ax, family in zip(axes[0], families, strict=True):
    solid = {"color": figures.color(family), "alpha": 0.55}
    for train, test, look in (("real", family, solid), (family, "real", outline)):
        values = losses[train, test, "train"].clip(bins[0], bins[-1])
        ax.hist(values, bins, weights=np.full(len(values), 100 / len(values)), **look)
    for level in (0.01, 1):
        ax.axvline(level, color="grey", linewidth=0.8, linestyle=":")
    ax.set(xscale="log", xlabel="cross-entropy (nats)", title=figures.label(family))
axes[0][0].set_ylabel("share of images (%)")
fig.legend(
    [Patch(color="0.6"), Patch(fill=False)],
    ["generated images, trained on real", "real images, trained on generated"],
    loc="outside upper center",
    ncols=2,
    fontsize="small",
)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The images with the least and the most loss in both directions. Least: what everybody draws. Most: look for malformed or mislabelled images among the generated ones, and for unusual views among the real ones. Above each image: the class that it is labelled with.", "name": "fig-14-extremes"}, "image": {"alt": "Rows of small images: generated images with least and most loss under the real-trained classifier, and real images with least and most loss under classifiers trained on generated images, titled with their class."}}
from synthbook.measure.gap import extremes

count = 7
pairs = [("real", family) for family in families] + [(family, "real") for family in families]
strips = [(train, test, end) for train, test in pairs for end in ("least", "most")]
shown = []
for train, test, end in strips:
    least_and_most = extremes(losses[train, test, "train"], count)
    shown.append(lesson.sets[test].train.subset(least_and_most[end == "most"]))
grids = np.split(figures.light(some.images for some in shown), len(shown))
_, axes = plt.subplots(len(strips), 1, figsize=(8, 1.35 * len(strips)))
for ax, (train, test, end), some, grid in zip(axes, strips, shown, grids, strict=True):
    titles = [some.classes[k] for k in some.labels]
    figures.image_grid(grid, 1, count, titles=titles, ax=ax)
    text = f"{figures.label(test)}: {end}\nfor {figures.label(train)}"
    ax.set_ylabel(text, rotation=0, ha="right", va="center", fontsize="small")
plt.show()

# %% [markdown]
# ### Are they worth adding?
#
# Half of the generated images have less loss than the median. Below, a real-trained classifier gets them, the other
# half, or all of them as additional training images; and a classifier with few real images gets all of them. There the
# generator may know real images that the classifier does not, and hand on what it saw. So with the control
# `same_images` the few real images also get those of a generator that was trained on *these* alone (no filter chooses
# among them, because its classifier would know other real images). These are trainings of 11 classifiers, so this page
# reads them from recorded rows; `-p 'parts=["costs","adding"]'` runs them.


# %% tags=["hide-input"] mystnb={"figure": {"caption": "Change in accuracy on real test images, in points, against training on the same real images alone. What the trainings have in common stands below: equal steps, which is as many images shown, or equal epochs. Small dots are seeds, large ones their mean, bars its 95 % interval. Right of zero: worth adding. *Of these*: of a generator that saw these few real images and no others.", "name": "fig-14-adding"}, "image": {"alt": "Lines with dots and an interval: the change in accuracy when low-loss, high-loss or all generated images are added to the real ones, when generated images are added to few real ones, and when rare or random real images are left out."}}
def mixtures(table):
    """Return the rows of mixtures; a generator of few images makes another name of its own."""
    few = table.get("generator_knows", pd.Series("", table.index)) == "same"
    return table.assign(train=table.train.where(~few, table.train + " of few"))


def mixture(name):
    """Return in words what a classifier is trained on."""
    less = {"real_without_rare": "rare kinds", "real_without_random": "at random"}
    if name in less:
        return f"real less {100 * p.share:g} %, {less[name]}"
    first, _, rest = name.partition("+")
    if first.endswith(" of few"):
        family = figures.label(first.removesuffix(" of few"))
        return f"only {family}, by a generator of {p.shots} a class"
    added = rest.removesuffix(" of few").rpartition("_loss_")[2]
    rest = rest.replace(added, figures.label(added)) if added else ""
    text = first.replace("real_few", f"{p.shots} real a class") + (f" + {rest}" if rest else "")
    return text.replace("_", " ").replace(" of few", " of these")


def adding(table, whose):
    """Draw what each mixture changes, a line each."""
    wide = table.pivot_table(index="seed", columns="train", values="value")
    names = [name for name in table.train.unique() if name.startswith("real")]
    names = [name for name in names if name not in ("real", "real_few")]
    _, ax = plt.subplots(figsize=(7, 0.32 * len(names) + 0.8))
    for place, name in enumerate(names):
        base = "real_few" if name.startswith("real_few+") else "real"
        added = name.partition("+")[2].removesuffix(" of few").rpartition("_loss_")[2]
        tint = figures.color(added or "real")
        figures.dots_and_interval(ax, place, wide[name] - wide[base], tint)
    texts = [mixture(name) for name in names]
    xlabel = f"points of accuracy (equal {p.equal}; {whose})"
    ax.set(yticks=range(len(names)), yticklabels=texts, xlabel=xlabel)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.axvline(0, color="black", linewidth=0.8)
    plt.show()


table, whose = page.shown("top1_accuracy", method="plain", equal=p.equal)
if whose:
    adding(mixtures(table), whose)
else:
    print("Nothing is recorded at this scale, and this run left the part out.")

# %% [markdown]
# ### Appearance, content, quality
#
# The study splits the gap into three. Each gets a stand-in here, from 0 (no gap) to 1, in the features of a
# real-trained classifier. They are this book's proxies, not the paper's:
#
# - *appearance*: how well a linear classifier tells the two sets apart on images it did not see;
# - *content*: the share of real images with no generated image near them (1 − recall);
# - *quality*: the share of generated images with no real image near them (1 − precision).
#
# The real images here are test images. Against the classifier's own training images every new image looks malformed, a
# real one too: it has learned where those lie. What other test images get stands beside each gap, because that is what
# a perfect generator would get; only what exceeds it is the generator's. The generated images are those of the training
# sets, which passed the filter; claim gap-07 takes recall and precision of {doc}`11_generators`, from samples before it.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The three gaps of each generator by this book's proxies, against unseen real images, and of other unseen real images (the control: a perfect generator would get that); small dots are seeds, large ones their mean, bars its 95 % interval. The study concludes that content is the largest; see whether it is here, and by how much each gap exceeds the control.", "name": "fig-14-three-gaps"}, "image": {"alt": "Lines with dots and an interval: the appearance, content and quality gap for unseen real images and for each generator."}}
GAPS = {"appearance": "", "content": " (1 − recall)", "quality": " (1 − precision)"}
table, whose = page.shown(list(GAPS), method="taxonomy", split="test")
lines = [(metric, source) for metric in GAPS for source in ("real", *families)]
if whose:
    _, ax = plt.subplots(figsize=(6, 0.9 + 0.38 * len(lines)))
    for place, (metric, source) in enumerate(lines):
        values = table[(table.metric == metric) & (table.train == source)].value
        figures.dots_and_interval(ax, place, values, figures.color(source))
    written = {"real": "unseen real"} | {family: figures.label(family) for family in families}
    names = [f"{metric}{GAPS[metric]}: {written[source]}" for metric, source in lines]
    ax.set(yticks=range(len(lines)), yticklabels=names, xlim=(-0.02, None), xlabel=f"gap ({whose})")
    ax.set_ylim(len(lines) - 0.5, -0.5)
    plt.show()
else:
    print("Neither recorded nor run here: -p parts costs runs it.")

# %% [markdown]
# What is left of each gap above the control:

# %% tags=["hide-input"]
means = table.pivot_table(index="train", columns="metric", values="value")
excess = means.reindex(index=families, columns=list(GAPS)) - means.reindex(["real"]).mean()
excess = excess.dropna().rename(index=figures.label).rename_axis(None)
plain(excess.assign(**{"exceeds it most": excess.idxmax(axis=1)})) if len(excess) else None

# %% [markdown]
# Where appearance exceeds its control most, these proxies speak against the study, which finds that appearance hardly
# matters. No claim asks that, for its scale is not that of the two shares: a linear classifier may find a difference
# that is no obstacle to learning.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first figure of this page again, from this run alone.", "name": "fig-14-surprise-live"}, "image": {"alt": "For each generator two lines: the mean loss of its images under a real-trained classifier, and of real images under a classifier trained on its images, in this run."}}
results = run.frame()
costs = results[(results.metric == "mean_cross_entropy") & (results.method == "plain")]
costs = costs[costs.split == "train"]
if len(costs):
    surprise(costs, f"{figures.seeds(costs)}, this run")
else:
    print("Not in this run: -p parts costs runs it.")

# %% [markdown]
# ## The tables
#
# The paper prints neither the losses nor these accuracies. First what images of one source cost a classifier of
# another, in nats and as shares of the images:

# %% tags=["hide-input"]
COSTS = ["mean_cross_entropy", "median_cross_entropy"]
COSTS += ["share_loss_below_0.01", "share_loss_above_1"]
page.table(
    ["split", "train", "test"],
    "metric",
    select={"metric": COSTS, "method": "plain"},
    decimals=3,
    headings={"split": "images"},
)

# %% [markdown]
# How often a generated image is the easier of a pair, on images trained on and on images never seen. The filter takes
# generated images that a real-trained classifier is sure of, and so makes part of this by itself; with the control
# `unfiltered` the same is measured on images that no filter chose, and the difference is the filter's.


# %% tags=["hide-input"]
def easier(table):
    """Return the rows of the table; a run without the filter is one of method "unfiltered"."""
    chosen = table[table.metric.isin(["share_easier", "mean_cross_entropy"])]
    chosen = chosen[chosen.method.isin(["plain", "unfiltered"])]
    chosen = chosen[(chosen.metric == "share_easier") | (chosen.test != "real")]
    source = chosen.train.where(chosen.train != "real", chosen.test)
    return chosen.assign(source=source, filter=chosen.method.map({"plain": "on"}).fillna("off"))


page.table(["source", "split", "filter"], "metric", select=easier, decimals=3)

# %% [markdown]
# The same by guidance scale of the diffusion model, where that control was run, with sets a third as large (`guided` is
# filtered, `guided_unfiltered` as drawn for the class asked for). With equal `epochs` such a set gets a third of the
# steps of the others, with equal `steps` three times as many epochs:


# %% tags=["hide-input"]
def guided(table):
    """Return the rows of the control, on images never seen."""
    chosen = table[table.method.isin(["guided", "guided_unfiltered"]) & (table.split == "test")]
    return chosen[chosen.metric.isin([*COSTS[:2], "share_easier"])]


names = ["equal", "method", "guidance_scale", "train", "test"]
page.table(names, "metric", select=guided, decimals=3)

# %% [markdown]
# The three gaps with their control (real), against unseen images (`test`) and against the classifier's own (`train`):

# %% tags=["hide-input"]
page.table(
    ["split", "metric"],
    "train",
    select={"method": "taxonomy"},
    decimals=3,
    headings={"split": "against", "metric": "gap"},
)

# %% [markdown]
# Then what the mixtures of the figure above are worth, in percent of real test images, by what all trainings have in
# common, epochs or steps:


# %% tags=["hide-input"]
def accuracies(table):
    """Return the rows of the table; rows from before may not say what trainings have in common."""
    chosen = mixtures(table[table.metric == "top1_accuracy"])
    return chosen.assign(equal=chosen.get("equal", ""), train=chosen.train.map(mixture))


page.table(["train"], "equal", select=accuracies, headings={"train": "trained on"})

# %% [markdown]
# ## The claims
#
# In the inequalities *RS* is of a classifier trained on real images and the losses of generated ones, *SR* the other way
# round; `_train`: on images trained on.

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# **Reading them.** Malformed images are hard to classify. Where a generator has a quality gap, its images may cost a
# real-trained classifier *more* than real images cost its own, and that would turn the signs of the first two claims
# whatever it leaves out; so these ask for well-formed images first. The filter works the other way: it takes images that
# a classifier of real ones is sure of, under the class that it sees, and lowers what they cost; the parts without it
# stand beside. Claim gap-06 asks how the two directions compare, in the share of losses near zero and in that above 1;
# whether the latter is small by itself stands beside too. Claim gap-07 rests on the losses of gap-05, on gap-02 of
# {doc}`12_not_mutual`, which asks whether a real-trained classifier does almost as well on generated images, and on two
# proxies of this book, so its verdict judges the proxies too. A part that fails by itself may leave it undecided, since
# with more parts one of them is more easily below zero by chance.

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **Low loss** is read as below the median; the paper's appendix, which has the experiment, is not public with the
#   article.
# - **Few real images.** Rows with `generator_knows` all are of generators that saw all real images, as in the paper's
#   CIFAR-10 columns of Table 4; those with same, of `-p parts costs,adding -p controls same_images`, of generators that saw the few alone, as
#   in its other columns. The book has
#   models of ten photographs a class, another draw of them a seed; hence `shots` 10.
# - **Rare kinds** are clusters far from their class's mean in the features of the real-trained classifier. Removing
#   them tests whether rare content matters, not whether a generator drops exactly these.
# - **The filter** removes generated images that another real-trained classifier, of all real images, is unsure of, and
#   so many of the high losses, and labels the others as that classifier sees them. The control `unfiltered` measures both;
#   `-p confidence=0 -p 'unconditional=[]'` leaves the filter out everywhere, labels included. Where it cannot fill a
#   class, its bar falls as {doc}`12_not_mutual` says, and the rows name it (`confidence`).
# - **Equal steps**, which are as many images shown, are the default, and this book's; the paper's protocol, equal epochs,
#   is `-p equal epochs`. Rows of accuracy say which of the two they are.
#
# ```bash
# papermill notebooks/14_what_an_image_teaches.ipynb out.ipynb -p seeds 5
# synthbook run 14_what_an_image_teaches --scale small -p data_root=data
# synthbook run 14_what_an_image_teaches -p data=my_photos -p image_size=32
# synthbook run 14_what_an_image_teaches -p 'sources=["real","mine=my_samples"]' -p data=my_photos -p image_size=32
# ```
#
# For the line with your photographs alone, {doc}`11_generators` must have trained models of them before (`minutes`). The
# last line takes samples that you have; one and a half times `set_size` of them, equally many a class, must pass the
# filter.
