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
# # 12 The gap is not mutual
#
# **The question.** A classifier trained on generated images does worse on real ones. The study presumes that a mere
# difference in appearance would cost as much in the other direction: a classifier trained on real images should
# stumble over generated ones. Does it?
#
# **The study's answer.** No. {cite:t}`wang2024improving` train a classifier on each source and test it on every
# source (Table 1 there). From real to generated images little or nothing is lost; from generated to real much is,
# and more with a GAN than with a diffusion model. They take this as the first sign that generators leave things
# out, rather than draw them badly.
#
# **Here.** The same table, on photographs of ten kinds of things, with a diffusion model and a GAN that learned from them
# and come with the book ({doc}`11_generators`), once over the images that each classifier was trained on, as in the
# paper, and once over images it never saw.

# %% tags=["hide-input"]
from synthbook.page.page import answer

answer("12_not_mutual")

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
controls: list[str] = []  # controls to run as well: unfiltered, guided, filtered_real
rows: str = ""  # file to append the rows to; "" is _build/rows/<chapter>.jsonl

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies import gap, image_sources

p = parameters("12_not_mutual", globals())
print(image_sources.check_sources(p), image_sources.plan_of_sources(p), sep="\n")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What leaving home costs, in points of accuracy, on images that nothing was trained on. Small dots are seeds, large marks their mean, bars its 95 % interval. Where the two lines of a pair lie apart, the gap is not mutual. Discs: generated images that a classifier of real ones is sure of, under the class that it sees, as in the paper. Diamonds: images that no filter chose, under the class that was asked for; what lies apart only with the filter is the filter's. Left of zero is no proof of good images: real images that pass the filter are easier, too, and claim gap-02 compares with those (*the same filter for real images*, below).", "name": "fig-12-drops"}, "image": {"alt": "For each generator two lines with dots and an interval, the drop from generated to real images and the drop from real to generated images, with the filter and again without."}}
import matplotlib.pyplot as plt

from synthbook.page import figures
from synthbook.page.page import Page
from synthbook.record.rows import Run

figures.style()


def drops(table, whose):
    """Draw what leaving a source costs: a line for each generator, filter and direction."""
    marks = {"plain": "o", "unfiltered": "D"}
    lines = [
        (method, *pair)
        for f in families
        for method in marks
        for pair in ((f, "real"), ("real", f))
        if method in {*table.method}
    ]
    _, ax = plt.subplots(figsize=(6, 0.9 + 0.42 * len(lines)))
    a = table.pivot_table(index="seed", columns=["method", "train", "test"], values="value")
    for place, (method, home, away) in enumerate(lines):
        tint, lost = figures.color(away if home == "real" else home), a[method, home, home]
        lost = lost - a[method, home, away]
        figures.dots_and_interval(ax, place, lost, tint, marks[method])
    names = [
        f"{figures.label(home)} → {figures.label(away)}{', no filter' * (method == 'unfiltered')}"
        for method, home, away in lines
    ]
    ax.set(yticks=range(len(lines)), yticklabels=names, xlabel=f"points of accuracy lost ({whose})")
    ax.set_ylim(len(lines) - 0.5, -0.5)
    ax.axvline(0, color="black", linewidth=0.8)
    plt.show()


families = image_sources.families_of(p)
table, whose = Page(Run(p)).shown("top1_accuracy", method=["plain", "unfiltered"], split="test")
if whose and families:
    drops(table, whose)
else:
    print("Nothing is recorded at this scale; the picture of this run is below.")

# %% tags=["hide-input"]
from synthbook.intervals import interval
from synthbook.page.tables import aside, plain


def in_short(table, whose):
    """Say how far apart the two drops of each generator are, with the filter and without."""
    a = table.pivot_table(index="seed", columns=["method", "train", "test"], values="value")
    told = []
    for method, how in {"plain": "With the filter", "unfiltered": "Without it"}.items():
        of = a.get(method, {})
        apart = {
            figures.label(f): interval(
                (of[f, f] - of[f, "real"] - of["real", "real"] + of["real", f]).dropna()
            )
            for f in (families if len(of) else ())
        }
        numbers = (f"{name} {figures.interval_text(*reach)}" for name, reach in apart.items())
        lopsided = [name for name, reach in apart.items() if reach.low > 0]
        who = f"interval above zero for {' and '.join(lopsided) or 'neither'}"
        told += [f"{how}: {', '.join(numbers)}, {who}"] if apart else []
    return (
        f"In short ({whose}): the drop from generated to real images less the drop from real to "
        f"generated ones, in points. {'. '.join(told)}. What is lopsided only with the filter is "
        "the filter's."
    )


aside(in_short(table, whose)) if whose and families else None

# %% [markdown]
# ## The mechanism
#
# Write $a(X \to Y)$ for the accuracy on source $Y$ of a classifier trained on source $X$, with $R$ for real and
# $S$ for generated (synthetic) images. Leaving one's own source costs
#
# $$
# d(S \to R) = a(S \to S) - a(S \to R) \qquad\text{and}\qquad d(R \to S) = a(R \to R) - a(R \to S),
# $$
#
# and the gap is *non-mutual* as far as the two differ: $d(S \to R) - d(R \to S) > 0$ means that going from
# generated to real images is the costly one. The study presumes that a difference in appearance costs both ways
# alike. That is no law, and the measure also counts how easy a set is, since
#
# $$
# d(S \to R) - d(R \to S) = \bigl[a(S \to S) - a(R \to R)\bigr] + \bigl[a(R \to S) - a(S \to R)\bigr] :
# $$
#
# images that every classifier finds easy raise both brackets, whatever they leave out. A filter that keeps what a
# classifier is sure of makes a set easy, so lines without it stand beside, above and with the claims.

# %%
from synthbook.measure.gap import non_mutual_gap

table_1 = {
    ("real", "real"): 96.0,
    ("real", "gan"): 98.0,
    ("gan", "gan"): 99.0,
    ("gan", "real"): 79.0,
}
non_mutual_gap(table_1, "gan")  # made-up accuracies, to show what comes out

# %% [markdown]
# **Labels.** One of the study's two generators knows no classes, so a classifier trained on real images gives its
# samples their labels, and a sample is kept only if that classifier is more than 80 % sure. The other generator's
# samples go through the same filter; whether they must also be of the class asked for, the paper leaves open. Here both
# are treated alike: whatever a model draws gets the label that the classifier sees. Samples are
# drawn until each class is full: equally many a class, as many of each source, and half as many again that are held out.
# The real images that are held out are the whole test part, in which some classes are larger than others.
#
# Where ten times as many samples would not fill a class, the bar falls to the largest of 65, 50 and 0 % that fills it,
# and rows and the table below name it. Three controls stand beside: `unfiltered` makes every number again without a filter,
# `guided` both on images of the diffusion model at guidance scales 1, 2, 4 and 7.5. No claim is decided by these two: the
# paper's models are not guided, and its samples filtered.
#
# **The same filter for real images.** The label of a generated image is what one classifier of the real photographs sees
# in it, where it is sure. Another classifier of the same photographs will often see the same, in a real image as well,
# right or wrong. So how well it does on generated images cannot be compared with how often it is right about real ones.
# The third control, `filtered_real`, sends the real test images through the filter too: those that pass, under the
# filter's labels and with each class weighing the same, are what a perfect generator would give.

# %% [markdown]
# ## The experiment
#
# A classifier of each source is tested on every source: on the images that the source's own classifier was trained
# on, as in the paper, and on images that nothing was trained on. Chapters 13 and 14 use the same classifiers again.

# %% tags=["experiment"]
from synthbook.data import load
from synthbook.machine import prepare
from synthbook.page.progress import progress

device = prepare(p.device, p.threads)
real = load(p.data, data_root=p.data_root, image_size=p.image_size)
run = Run(p)
for seed in progress(p.seeds_list, "seeds"):
    for row in gap.not_mutual(p, real, seed=seed, device=device):
        run.add(**row)

# %%
print(gap.lowered(p, run.frame()), end="")
page = Page(run)
page.agreement()

# %% [markdown]
# What the filter did, for the last seed: how many samples were drawn, which share of them passed, and how sure of its
# class the classifier had to be. The last line is of real test images.

# %%
import pandas as pd

from synthbook.studies.training_sets import training_sets

sets = training_sets(real, p, seed=seed, device=device)  # from the cache
counts = {name: images.info for name, images in sets.items() if images.info}
counts["real, unseen"] = gap.filtered_real(p, real, seed=seed, device=device)[1]
plain(
    pd.DataFrame(counts)
    .loc[["drawn", "accepted", "share", "kept", "confidence"]]
    .T.convert_dtypes()
)

# %% [markdown]
# ## The pictures
#
# Read a row from left to right: one classifier, on every source. If the paper's finding shows here, the top row
# (trained on real images) stays level, and in the rows below accuracy goes missing in the left column (real images).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Accuracy in percent by source of the training images (rows) and of the test images (columns), mean over the seeds of this run. Left: test images that the source's own classifier was trained on, as in Table 1 of the paper. Right: images that nothing was trained on. Compare the row of the classifier trained on real images with the column of real test images: if one is darker than the other, the gap is not mutual. The colour scale ends at the largest number that is not learned by heart.", "name": "fig-12-table"}, "image": {"alt": "Two heat maps of accuracy, source of the training images against source of the test images, with the numbers written in: on the left for images trained on, on the right for images never seen."}}
rows_of_run = run.frame()
results = rows_of_run[rows_of_run.method == "plain"]
order = list(dict.fromkeys(results.train))
titles = {"train": "images trained on (as Table 1)", "test": "images never seen"}
by_heart = (results.split == "train") & (results.train == results.test)
brightest = results[~by_heart].value.max()
if families:
    fig, axes = plt.subplots(1, 2, figsize=(8, 3.2))
    for ax, (split, title) in zip(axes, titles.items(), strict=True):
        of_split = results[results.split == split]
        matrix = of_split.pivot_table(index="train", columns="test", values="value")
        figures.heatmap(matrix.loc[order, order], ax, low=results.value.min(), high=brightest)
        ax.set(title=title, xlabel="tested on", ylabel="trained on" if split == "train" else "")
    plt.show()

# %% [markdown]
# What stands on the diagonal on the left is accuracy on the very images that a classifier was trained on, so most of it
# may be learned by heart: read the picture on the right.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first figure of this page again, from this run alone.", "name": "fig-12-drops-live"}, "image": {"alt": "For each generator two lines: the drop from generated to real images, and the drop from real to generated images, in this run."}}
if families:
    both = rows_of_run[rows_of_run.method.isin(["plain", "unfiltered"])]
    drops(both[both.split == "test"], f"{figures.seeds(both)}, this run")

# %% [markdown]
# ## The table
#
# The paper's generators are LSGM (a diffusion model) and StyleGAN-XL (a GAN), both on CIFAR-10; they stand in the
# lines of ours of the same family. All its figures are over training images.

# %% tags=["hide-input"]
from synthbook.record.published import published

as_ours = {"Real": "real", "LSGM": "diffusion", "SG-XL": "gan"}
paper = published("gap", "T1").assign(
    train=lambda table: table.source.map(as_ours),
    test=lambda table: table.test_source.map(as_ours),
    split="train",
)
page.table(["split", "train"], "test", paper, {"method": "plain"}, headings={"split": "images"})

# %% [markdown]
# Without the filter, where it was run: each sample under the class that its generator was asked for.

# %% tags=["hide-input"]
page.table(["split", "train"], "test", None, {"method": "unfiltered"}, headings={"split": "images"})

# %% [markdown]
# Real test images through the filter, where that was run (`filtered_real`), in percent: how many pass, how many of the
# filter's labels are then the true class, and how well classifiers do on them under these labels, over all of them and as
# the mean of the classes. This mean is the number to compare with a real-trained classifier's on generated images never
# seen, in the first table, since these are equally many of each class.

# %% tags=["hide-input"]
page.table(["metric", "train", "test"], None, None, {"method": "filtered_real"})

# %% [markdown]
# ### Guidance, beside
#
# Pressing for the class makes images that are surer of it. What does that do to both directions? Every scale has to be
# sampled anew, so the sets of all of them, scale 1 too, are a third as large as those above; *filtered* is the filter of
# this page, *as drawn* no filter and the class that was asked for.


# %% tags=["hide-input"] mystnb={"figure": {"caption": "The diffusion model at growing guidance scale: accuracy on real images of a classifier trained on generated ones (solid), and on generated images of a classifier trained on real ones (dashed), on images that nothing was trained on. Bands are one standard deviation over seeds. Compare how the two lines move, and where solid is highest.", "name": "fig-12-guidance"}, "image": {"alt": "Two line charts over the guidance scale, with the filter on the left and without on the right: accuracy from generated to real images and from real to generated images."}}
def by_scale(table, ax, title):
    """Draw the accuracy in both directions, by guidance scale."""
    for pair, line in ((("diffusion", "real"), "-"), (("real", "diffusion"), "--")):
        of_pair = table[(table.train == pair[0]) & (table.test == pair[1])]
        by_seed = of_pair.pivot_table(index="seed", columns="guidance_scale", values="value")
        look = {"color": figures.color("diffusion"), "linestyle": line, "marker": "o"}
        ax.plot(by_seed.columns, by_seed.mean(), label=" → ".join(map(figures.label, pair)), **look)
        low, high = by_seed.mean() - by_seed.std(), by_seed.mean() + by_seed.std()
        ax.fill_between(by_seed.columns, low, high, color=look["color"], alpha=0.15, linewidth=0)
    ax.set(xlabel="guidance scale", title=title)


table, whose = page.shown("top1_accuracy", split="test")
if {"guided", "guided_unfiltered"} <= {*table.method}:
    fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
    titles = {"guided": "filtered", "guided_unfiltered": "as drawn"}
    for ax, (method, title) in zip(axes, titles.items(), strict=True):
        by_scale(table[table.method == method], ax, title)
    axes[0].set_ylabel("accuracy (%)")
    axes[1].legend(title="trained on → tested on", loc="center left", bbox_to_anchor=(1, 0.5))
    fig.supxlabel(whose, fontsize="small")
    plt.show()
elif "diffusion" in image_sources.trained_here(p):
    print("The control is not on record at this scale: -p controls=guided makes it.")
else:
    print("It is about the book's diffusion model, which this run does not ask.")

# %% [markdown]
# ## The claims
#
# Each is a claim of the paper as inequalities over the *recorded* rows, one effect a seed. It holds if each of them
# does; the parts say which generator decides, and in which inequality. *RS* is $a(R \to S)$: trained on real, tested on
# generated images; *SR*, *RR*, *SS* likewise; `_train`: on images trained on.

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# **Reading them.** The claims speak of generators whose images a real-trained classifier accepts. Look at the share of
# samples that passed the filter (above) before blaming or praising a generator: a low share means that its images are
# malformed or of no kind, and then its gap is one of quality, whatever its coverage; but what is low can only be said
# beside the share of real images that pass. {doc}`11_generators` measures quality before any filter. Look at the parts
# without the filter beside gap-01, which say how much of the asymmetry the filter makes. And beside gap-03 stands recall
# in two feature spaces, which need not agree on which generator covers more.
#
# Claim gap-02 compares a generator's images with real ones of the same filter and labels, each class weighing the same.
# It allows generated images 5 points less, asks that of both generators, and fails where one of them is further behind,
# whatever the other is: look at its parts. The form over all real images that pass stands beside; large classes count
# for more there, and it may come out otherwise.

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **Mini.** 1,000 photographs of each source at 32 × 32 pixels, which a small convolutional network from random weights
#   sees at 16 (about a third of the time), and generators trained for minutes. The paper has 45,000 images at 224 pixels, a
#   ResNet-50 with ImageNet weights and 200 epochs. The miniature can show whether the *direction* of an effect appears,
#   not its size.
# - **The filter's classifier** is the same small network, trained on all 2,671 real training photographs, where the
#   classifiers that are compared have 1,000; the paper's is a wide residual network that is better than the classifiers
#   it feeds.
# - **Seeds.** Where a run has as many `generators` as seeds, each seed has its own, and the interval includes how a
#   generator happens to turn out. With `generators` 1 all seeds share one of each family, as the paper's five runs share
#   a checkpoint, and the interval says nothing about other generators. `workflow/grids.yaml` says which of the two the
#   recorded rows of a scale are.
#
# ```bash
# papermill notebooks/12_not_mutual.ipynb out.ipynb -p seeds 5
# synthbook run 12_not_mutual --scale small -p data_root=data
# synthbook run 12_not_mutual -p data=my_photos -p image_size=32
# synthbook run 12_not_mutual -p 'sources=["real","mine=my_samples"]' -p data=my_photos -p image_size=32
# ```
#
# The third line asks for models of your own photographs, which {doc}`11_generators` trains with `minutes`. The last takes
# samples that you have, in place of the book's generators; one and a half times `set_size` of them, equally many a class,
# must pass the filter.
