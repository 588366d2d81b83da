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
# # 44 What a generator can draw, and what it makes of an altered image
#
# **The question.** A generator that was told what a frozen network sees in each training image can also be told what that
# network sees in any other image: an unseen one, a sketch, one with a hole. Does it then draw that image? And is there
# anything that it can draw and a generator without the prior cannot?
#
# **The study's answer.** {cite:t}`mangla2022data` look for the inputs by which a generator comes nearest to 500 unseen
# images. With the data instance prior, DIP, the remaining error is a third of the baseline's, for faces and for
# bedrooms (Table 4, one number a cell). Noise changes details, the prior sets what is shown (Figure 9), and the
# features of edited images give images with what was edited (Figures 5 and 10, pictures only).
#
# **Here.** The same with the generators of chapter 43, which have learned Caltech-101 {cite:p}`feifei2004learning` at 32
# pixels, with features of EfficientNet-Lite0 {cite:p}`tan2019efficientnet` as the prior, with those of a network that
# has never seen a label, and without. How the paper has inverted the baseline it does not say, and its own models start
# from the features of the very image that is looked for. So there are controls in which both start alike. Nothing is
# trained on this page.

# %% tags=["hide-input"]
from synthbook.page.page import answer

answer("44_inversion_and_editing")

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
seeds: int = 1  # seeds to run: each has its generators and its images
first_seed: int = 0  # the first of them
parts: list[str] = [
    "shown",
    "variation",
    "editing",
]  # also inversion, starts, freedom, others, untrained
priors: list[str] = ["supervised", "self-supervised"]  # whose features
targets: list[str] = ["caltech101"]  # data sets whose generators are asked
photographs: str = ""  # folder of your own images to invert and edit; "" for held-out images
train_missing: bool = False  # train generators that are not kept; takes minutes to days
data_root: str = ""  # where downloaded data sets lie
image_size: int = 32  # side in pixels, a power of two
queries: int = 96  # held-out images that are inverted
control_queries: int = 32  # of them in each control
shown_images: int = 4  # of them on this page
inversion_steps: int = 300  # steps of Adam
inversion_rate: float = 0.1  # step size of Adam
tried_starts: int = 200  # images that a model draws, the nearest of which is a start
edited_images: int = 32  # images that are edited, and whose priors are varied
noises: int = 4  # z of each prior
box_share: float = 0.25  # share of an image that is pasted or erased
architecture: str = "sngan"  # the GAN: sngan or biggan
network_settings: list[str] = [
    "channels: 32",
    "discriminator_channels: 32",
    "latent: 64",
    "spectral_generator: true",
]  # of both networks
training_settings: list[str] = [  # over the published ones
    "batch_size: 16", "discriminator_steps: 2", "generator_learning_rate: 0.0004",
    "discriminator_learning_rate: 0.0004", "schedule: constant", "ema_half_life: 1000",
    "ema_start: 20", "standing_images: 1000",
]  # fmt: skip
finetune_steps: int = 4500  # training steps of the generators
evaluate_every: int = 50  # steps between two measurements of a training
generated: int = 200  # generated images a measurement of a training
extractor: str = "efficientnet_lite0"  # features of the distance; with inception it is FID
extractor_size: int = 64  # side that its images are resized to; inception has its own
prior_size: int = 64  # side of the images that the prior's network gets
precision: str = "float32"  # of the arithmetic in training
device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
threads: int = 1  # CPU threads; more of them round sums differently
rows: str = ""  # file to append the rows to; "" is _build/rows/<chapter>.jsonl

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies import dip_invert

p = parameters("44_inversion_and_editing", globals())
print(dip_invert.check_inversion(p))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Squared error of the nearest images that each generator was made to draw, for unseen images, on a logarithmic axis. First line: as in the paper, where only the models with a prior begin at the image's own features. Below, on a third of the images: both begin alike; with one vector for all blocks (there the baseline has one too, 128 free numbers against 192: hold the diamonds against the disc of the second line); and by the noise alone. Then two by which the others are to be judged: images that each generator has drawn itself, of which no error need remain, and generators of random weights. A disc is the generator without the prior, a diamond one with it; dots are seeds, bars the 95 % interval of the mean; the lines are the error of the nearest training image (dotted) and of the mean of all training images (dashed).", "name": "fig-44-inversion"}, "image": {"alt": "Horizontal chart with one line for each way to invert: a disc or a diamond with an interval for each generator on a logarithmic axis of squared error, and two vertical lines for what needs no generator."}}
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from synthbook.intervals import interval
from synthbook.page import figures
from synthbook.page.page import Page, matching
from synthbook.page.tables import aside
from synthbook.record.rows import Run

figures.style()
WAYS = {  # how both are inverted -> what its rows have
    "as in the paper": {"part": "inversion"},
    "both begin anywhere": {"part": "starts", "start": "drawn"},
    "both at the nearest draw": {"part": "starts", "start": "nearest"},
    "one vector for all blocks": {"part": "freedom", "freedom": "condition"},
    "noise alone": {"part": "freedom", "freedom": "z"},
    "its own images": {"part": "others", "queries": "generated"},
    "random weights": {"part": "untrained", "method": "untrained"},
}
NO_GENERATOR = {"mean image": "--", "nearest image": ":"}


def named(table):
    """Return rows with the model's name, "DIP, self-supervised", in a column of its own."""
    return table.assign(model=[dip_invert.shown(row) for row in table.to_dict("records")])


def trained_or_not(table):
    """Return the same with one name for a model and for its like of random weights."""
    table = named(table)
    return table.assign(model=table.model.str.removeprefix("untrained "))


def mark(model):
    """Return the mark of a generator: a disc without the prior, else a diamond."""
    return "o" if model == "baseline" else "D"


def errors_by_way(table, whose):
    """Draw the errors of each way to invert, a place for each generator beside the others."""
    found = trained_or_not(table)
    compared = [m for m in dict.fromkeys(found.model) if m not in NO_GENERATOR]
    _, ax = plt.subplots(figsize=(7.4, 1.2 + 0.75 * len(WAYS)))
    for place, where in enumerate(WAYS.values()):
        for k, model in enumerate(compared):
            values = matching(found, model=model, **where).value
            if len(values):
                high = 1.6 * place + 0.45 * (k - (len(compared) - 1) / 2)
                figures.dots_and_interval(ax, high, values, figures.color(model), mark(model))
    for name, line in NO_GENERATOR.items():
        values = matching(found, model=name).value
        if len(values):
            ax.axvline(values.mean(), color="black", linestyle=line, linewidth=1, label=name)
    for model in compared:
        ax.plot([], [], mark(model), color=figures.color(model), label=figures.label(model))
    places = [1.6 * place for place in range(len(WAYS))]
    ax.set(yticks=places, yticklabels=WAYS, ylim=(places[-1] + 0.9, -0.8), xscale="log")
    low, high = ax.get_xlim()
    ticks = [value for value in (1e-4, 3e-4, 0.001, 0.003, 0.01, 0.03, 0.1) if low <= value <= high]
    ax.set_xticks(ticks, [f"{value:g}" for value in ticks])
    ax.minorticks_off()
    ax.set_xlabel(f"squared error, images in [0, 1] ({whose})")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    plt.show()


def came_out(table, whose):
    """Return in words by how much the baseline is behind, of unseen images and of its own."""
    texts, searched = [], []
    for model in sorted({*matching(table, part="inversion", method="DIP").model}):
        behind = []
        for way in ("as in the paper", "its own images"):
            both = matching(table, **WAYS[way])
            both = both.pivot_table(index="seed", columns="model", values="value")
            if {model, "baseline"} <= {*both}:
                behind.append(interval((both["baseline"] - both[model]).dropna()))
        if len(behind) == 2:
            unseen, own = (figures.interval_text(*one, 4) for one in behind)
            of = ("", "") if texts else (" for unseen images", " for images that each has drawn")
            texts.append(f"{model}: {unseen}{of[0]}, {own}{of[1]}")
            searched += [model] if 0 < behind[0].mean <= behind[1].mean else []
    if not texts:
        return ""
    text = f"The baseline's error less that of {'; '.join(texts)} (95 % intervals; {whose})."
    if searched:
        of = "" if len(searched) == len(texts) else f" of {' and '.join(searched)}"
        text += f" The lead{of} is no smaller for the latter, so it does not say who can draw more."
    return text


DATA = p.targets[0]
PARTS = ["inversion", "starts", "freedom", "others", "untrained"]
table, whose = Page(Run(p)).shown("ivom", part=PARTS, dataset=DATA)
if whose:
    if told := came_out(named(table), whose):
        display(aside(told))
    errors_by_way(table, whose)
else:
    print("Nothing is recorded at this scale; this run's numbers are in the tables below.")

# %% [markdown]
# ## The mechanism
#
# ### Inversion
#
# A generator takes noise $z$ and, in each of its $k$ blocks, a vector $C_i$ that sets the gains and biases of batch
# normalisation. To draw a given image $x_q$, both are optimised (Appendix C of the paper):
#
# $$
# z^*, C_1^*, \ldots, C_k^* = \arg\min_{z,\, C_1, \ldots, C_k}
# \big\lVert G(z \,|\, C_1, \ldots, C_k) - x_q \big\rVert_2^2 ,
# $$ (eq-dip-inversion)
#
# by Adam with a step of 0.1, from $z \sim N(0, I)$ and $C_i = G_{emb}(C(x_q))$: what the frozen network sees in the
# query, through the generator's own linear map. What remains is the inference via optimisation measure, IvOM
# {cite:p}`metz2017unrolled`: low at best says that a generator *can* draw an image. It does not say that it ever would.
# One step by hand, of an untrained generator, and by the library:

# %%
import torch

from synthbook.gans.invert import invert
from synthbook.gans.networks import create_generator
from synthbook.machine import prepare
from synthbook.randomness import torch_generator

device = prepare(p.device, p.threads)
study = dip_invert.Inversion(p, device)
seed = p.first_seed
x_q = study.queries(seed)[:1]
G = create_generator(**study.scale.network(study.data), condition_size=8, seed=seed).eval()
z = torch.randn(1, G.config.latent, generator=torch_generator(seed, "invert", 0))
C = G.embed(torch.ones(1, 8)).detach()
C_i = C[:, None].repeat(1, G.num_blocks, 1)  # one for each block
free = [z.requires_grad_(), C_i.requires_grad_()]
adam, goal = torch.optim.Adam(free, lr=0.1), torch.from_numpy(x_q).permute(0, 3, 1, 2) / 255
errors = []
for _ in range(2):
    error = ((G.from_embedding(z, C_i) + 1) / 2 - goal).square().mean()
    errors.append(error.item())
    adam.zero_grad()
    error.backward()
    adam.step()
found = invert(G, x_q, C, seed=seed, steps=1)
print(f"error at first and after a step: {errors[0]:.6f}, {errors[1]:.6f}")
print(f"of the library:                  {found.history[0, 0]:.6f}, {found.history[1, 0]:.6f}")

# %% [markdown]
# ### Is that a fair comparison?
#
# The baseline has no prior. It is self-modulated {cite:p}`chen2019self`: each block makes its gains and biases from $z$.
# To be as free, each of its blocks gets a vector of its own in the place of $z$. (The blocks of a BigGAN, as at
# `--scale paper`, each take a part of $z$ already: its baseline has $z$ alone.) Four things are still to be asked:
#
# - **Where it begins.** The models with a prior begin at the query's own features, the baseline at noise. So both are also
#   begun *anywhere*, at what they draw when they are asked for any image (noise, and the prior of a random training image); and
#   both at the *nearest* of 200 such draws, which tells both something of the query.
# - **How much is free.** An embedding is longer than $z$. With *one vector for all blocks* a model with a prior has fewer free
#   numbers than the baseline with one for each block, but more than a BigGAN's, which has $z$ alone. (On that line of the figure the
#   baseline has one vector, too; the baseline with one for each block, on the same images, is that of *both begin anywhere*.)
# - **Whether $z$ alone would do.** With the prior left at $C(x_q)$ and the baseline without its vectors, all optimise
#   $z$, equally long.
# - **Whether the search finds what is there.** Each model is asked for images that it has drawn itself. What remains of
#   these is the fault of the search.
#
# And so many free numbers may draw much by themselves: generators of random weights are inverted in the same way. Beside all
# stand the mean of the training images and the nearest training image, which take no generator.

# %% tags=["hide-input"]
for model in study.of_seed(seed):
    counts = [study.numbers(seed, model, freedom) for freedom in ("blocks", "condition", "z")]
    print(f"{figures.label(dip_invert.shown(model))}: free numbers an image: {counts[0]} with a "
          f"vector for each block, {counts[1]} with one for all, {counts[2]} of z alone")  # fmt: skip
if study.missing:
    print(study.advice)

# %% [markdown]
# ### What an edit becomes
#
# The features of an altered image $e(x)$ are as good a condition as any:
#
# $$
# x' = G\big(z \,\big|\, C(e(x))\big), \qquad z \sim N(0, I) .
# $$ (eq-dip-edit)
#
# The edits are those of the paper: a part of another image pasted in (CutMix), a part erased (CutOut), the edges alone, and grey
# in place of colours. Nothing was trained for them, and nothing makes $x'$ keep the pixels that were not edited.
#
# $x'$ and $e(x)$ are compared by $C$: is the cosine of their features larger than that
# with *other* edited images? (The training images' mean is taken away before. Without that any two images are
# alike, since no feature is below zero.) Where a part was pasted or erased, $x'$ is also compared with the image before
# the edit. Beside stands the training image that is nearest to $C(e(x))$: a look-up needs no generator.
#
# $C$ judges what it has itself told the generator. So every number is also taken in the features of the other network.

# %% [markdown]
# ## The experiment
#
# This run inverts the few images that it shows, and varies and edits others. All parts, in some ten minutes, are run with
# `-p parts inversion,starts,freedom,others,untrained`. The generators are kept ones: no seed of the book is trained twice.

# %% tags=["experiment"]
from synthbook.page.progress import progress

run = Run(p)
studies = [study, *(dip_invert.Inversion(p, device, data) for data in p.targets[1:])]
for one in studies:
    for job in progress(one.jobs, "parts"):
        for row in one.rows(*job):
            run.add(**row)

# %%
page = Page(run)
page.agreement()

# %% [markdown]
# ## The pictures
#
# ### Unseen images, and the nearest that a generator draws


# %% tags=["hide-input"] mystnb={"figure": {"caption": "Unseen images (top) and what each generator was made to draw: from where it begins (first step), and the nearest image of all steps. The models with a prior begin at the features of the image above, the baseline at noise. What does the first step already have: the object, the colours, the ground?", "name": "fig-44-inverted"}, "image": {"alt": "Rows of small images: unseen photographs, and below them for each generator its image at the first step and the nearest one that was found."}}
def sheet(lines, columns, side=0.42, bold=()):
    """Draw lines of images, or say that no generator is there."""
    if lines:
        for name in figures.sheet(lines, columns, side).get_yticklabels():
            name.set_fontweight("bold" if name.get_text() in bold else "normal")
        plt.show()
    else:
        print("No generator is kept for these settings; see above.")


lines, case = [], dip_invert.Case()
for model in study.of_seed(seed):
    name, count = figures.label(dip_invert.shown(model)), p.shown_images
    lines.append((f"{name}: first", study.inverted(seed, model, case, count, 0).images))
    lines.append((f"{name}: nearest", study.inverted(seed, model, case, count).images))
sheet([("unseen", study.queries(seed)[:count]), *lines] if lines else [], p.shown_images, 0.6)

# %% [markdown]
# ### The error over the steps

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean error of the nearest images so far, over the steps of the search: as in the paper (solid), and where both begin anywhere (dashed; the baseline always does). Bands are one standard deviation over seeds. If lines meet, the features of the image save steps, and no more.", "name": "fig-44-steps"}, "image": {"alt": "Falling curves of squared error over optimisation steps, one colour for each generator, solid and dashed for two starts."}}
ERRORS = [digit * 10.0**power for power in (-4, -3, -2, -1) for digit in (1, 2, 5)]

table, whose = page.shown("best_error", part="starts", dataset=study.name)
if not whose:
    table, whose = page.shown("best_error", part="shown", dataset=study.name)
if whose:
    _, ax = plt.subplots(figsize=(7.4, 3.2))
    table = named(table[table.start != "nearest"])
    table = table[(table.start == "own") | (table.prior != "none")]
    for (model, start), rows in table.groupby(["model", "start"], sort=False):
        wide = rows.pivot(index="seed", columns="step", values="value").rename(columns=int)
        look = {"linestyle": "-" if start == "own" else "--", "marker": ""}
        look["label"] = figures.label(model) + (", from anywhere" if start != "own" else "")
        figures.band(ax, wide.columns, wide.to_numpy(), model, **look)
    ax.set(xlabel=f"step ({whose})", ylabel="squared error", yscale="log")
    low, high = ax.get_ylim()
    ticks = [value for value in ERRORS if low <= value <= high]
    ax.set_yticks(ticks, [f"{value:g}" for value in ticks])
    ax.yaxis.set_minor_formatter("")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    plt.show()
else:
    print("This run has inverted nothing.")

# %% [markdown]
# ### One prior and other noise, one noise and other priors

# %% tags=["hide-input"] mystnb={"figure": {"caption": "For each unseen image on the left, what is drawn of its features with seven draws of noise (the same in each column). In a line the prior is the same, in a column the noise. Which of them says what is shown?", "name": "fig-44-noise"}, "image": {"alt": "A grid of small images: unseen photographs in the first column and seven generated images beside each."}}
lines, with_prior = [], [model for model in study.of_seed(seed) if model.prior != "none"]
for model in with_prior:
    made = study.variants(study.gan(seed, model), seed, 3, 7)
    for k, query in enumerate(study.queries(seed)[:3]):
        name = figures.label(dip_invert.shown(model)) if k == 0 else ""
        lines.append((name, np.concatenate([query[None], made[k]])))
sheet(lines, 8, 0.5)

# %% [markdown]
# ### From one prior to another
#
# Figure 9 of the paper: the priors of two images are interpolated; or more and more of their numbers are taken from the
# second (Bernoulli mixup); or noise is added to the first, up to twice the root mean square of the training images' numbers.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Between the priors of two unseen images, which stand at both ends, with one draw of noise: interpolation, mixup of their numbers; and the prior of the first with more and more noise. Where does a line stop to look like a photograph?", "name": "fig-44-between"}, "image": {"alt": "Three rows of small images for each model, changing from left to right, between two photographs."}}
lines = []
for model in with_prior:
    ends = study.queries(seed)[:2]
    for way, made in study.between(seed, model, (0, 1), 7).items():
        last = ends[1:] if way != "noise" else np.full_like(ends[1:], 255)
        name = f"{figures.label(dip_invert.shown(model))}: {way}"
        lines.append((name, np.concatenate([ends[:1], made, last])))
sheet(lines, 9, 0.5)

# %% [markdown]
# ### Altered images and what is drawn of them

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Unseen images, each edit of them (bold), and below it what is drawn of its features, with the same noise for all edits. Of a hole or a sketch: is it the object that is drawn, or the hole and the lines?", "name": "fig-44-edits"}, "image": {"alt": "Pairs of rows of small images: edited photographs, and below them the generated images; pairs for no edit, paste, erase, sketch and grey."}}
lines = []
for edit in dip_invert.EDITS if with_prior else ():
    lines.append((dip_invert.EDIT_NAMES[edit], study.edited(seed, edit)[:6]))
    for model in with_prior:
        name = figures.label(dip_invert.shown(model))
        lines.append((name, study.answers(seed, model, edit, 6)))
sheet(lines, 6, 0.38, bold=dip_invert.EDIT_NAMES.values())

# %% [markdown]
# ## The tables
#
# ### Table 4
#
# The remaining error, and the Fréchet distance {cite:p}`heusel2017gans` of inverted images to their queries. The paper's DIP is
# of VGG-16 and stands beside that of EfficientNet-Lite0 here, its DIP of SimCLR beside that of the network without labels.
# Errors of different data sets cannot be compared, and the distance has other features and fewer images here. `real images`
# are other unseen ones: a generator of new photographs would be that far away.

# %% tags=["hide-input"]
from synthbook.record.published import published

printed = published("dip", "T4")
PAPER = {
    "Baseline": "baseline",
    "Baseline + DIP-Vgg16": "DIP",
    "Baseline + DIP-SimCLR": "DIP, self-supervised",
}
printed = printed.assign(model=printed.method.map(PAPER))
printed = printed.assign(metric=printed.metric.replace("fid", "inverted_fd"))
ORDER = [*PAPER.values(), "nearest image", "mean image", "real images"]
FD = "FID" if p.extractor == "inception" else "FD"


def table_4(metric, decimals, heading, **where):
    """Return the table of a metric: paper, this run, recorded runs."""
    where = {"metric": metric, "part": ["inversion"], "queries": "test"} | where
    return page.table(
        ["model"], "dataset", printed[printed.metric == metric],
        lambda table: matching(named(table), **where),
        order=ORDER, decimals=decimals, headings={"model": heading},
    )  # fmt: skip


table_4("ivom", 4, "squared error")

# %% tags=["hide-input"]
table_4("inverted_fd", 1, f"{FD} to the queries", seen_by="judge")

# %% [markdown]
# ### Where it begins, what is free, and which images
#
# The error again, for a third of the images; every line but the first is a control. What remains of a model's *own* images is
# what the search does not find. `shown` are the images of this page.

# %% tags=["hide-input"]
import pandas as pd

LINES = {
    "as in the paper": {"part": "starts", "start": "own"},
    **{way: where for way, where in WAYS.items() if where["part"] != "inversion"},
    "images trained on": {"queries": "train"},
    "shown": {"part": "shown"},
}


def by_way(table):
    """Return errors with the way to invert in a column."""
    table = matching(trained_or_not(table), metric="ivom", dataset=study.name)
    return pd.concat([matching(table, **where).assign(way=way) for way, where in LINES.items()])


page.table(["way"], "model", select=by_way, decimals=4, order=[*LINES])

# %% [markdown]
# ### Prior and noise
#
# Cosine distance of two images of one prior and other noise (`within`), and of one noise and other priors (`between`), by
# the features of each network; and the difference of their pixels in grey levels. If the noise did nothing, `within`
# would be 0; if the prior did nothing, `between` would.


# %% tags=["hide-input"]
def sides(table):
    """Return distances with the side in a column, and what they are measured by in another."""
    table = matching(named(table), part="variation")
    table = table.assign(side=table.metric.str.partition("_")[0])
    by = table.seen_by.fillna("pixels").where(~table.metric.str.endswith("pixels"), "pixels")
    return table.assign(by=by)


page.table(["model", "by"], "side", select=sides, decimals=2, headings={"by": "measured by"})

# %% [markdown]
# ### Edits
#
# Cosine of what is drawn with its own edited image and with other edited ones, and the share of images that are more similar to
# their own than to any other; by the features of the prior's own network. The look-up is the nearest training image. `real
# images` are those before the edit: how much of them the edit has left, for this network.


# %% tags=["hide-input"]
def edits_of(table, seen_by, against="edited"):
    """Return similarities of an edit, by the features of the prior's own network, or of others."""
    table = matching(named(table), part="editing", against=against)
    own = table.seen_by == table.prior
    table = table[own if seen_by == "own" else ~own]
    model = table.model.where(table.method == "DIP", table.method)
    return table.assign(model=model, edit=table.edit.map(dip_invert.EDIT_NAMES))


names = {"own_similarity": "own", "other_similarity": "others", "own_first": "own is nearest"}


def edit_table(seen_by, against, title):
    """Return the table of edits: similarity to one's own image and to others."""
    return page.table(
        ["prior", "edit", "model"], "measure",
        select=lambda t: edits_of(t, seen_by, against).assign(measure=lambda u: u.metric.map(names)),
        decimals=2, title=title, order=[*dip_invert.EDIT_NAMES.values()],
    )  # fmt: skip


edit_table("own", "edited", "Similarity to the edited image")

# %% tags=["hide-input"]
edit_table("own", "original", "Similarity to the image before the edit")

# %% tags=["hide-input"]
edit_table(
    "other", "edited", "Similarity to the edited image, by the features of the other network"
)

# %% [markdown]
# ## The claims

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# **Reading them.** The paper's comparison is the one that decides dip-19 and dip-20, and its controls are shown beside. If a
# model with a prior is ahead as in the paper and not where both begin alike, then what it has learned is not wider: it was told
# where to look. If it is ahead in all of them, it may draw more, or the search may miss more of the baseline. Of images that a model
# has drawn itself (*its own images* in the table) no error need remain; what does is what 300 steps have missed. Where the baseline is
# behind there by as much as of unseen images, which is asked beside, too, the lead does not say who can draw more. So it is at mini,
# with either prior. An error below that of the nearest training image says little: generators of random weights have one, too (*random
# weights*). What was learned is what a trained one is below those.
#
# A search by Adam is no proof that an image cannot be drawn. It ends where it ends, in 300 steps, and a model whose inputs
# are on another scale moves by other shares of them in a step of 0.1.
#
# The paper's own numbers go against one of its sentences. It says that inverted images are nearer to their queries with the
# prior by both measures; by FID that is so of faces, and bedrooms are further away with either prior (Table 4).
#
# That the features of what is drawn are like those asked for (dip-30) says that the discriminator has made the generator
# listen, as it was trained to. It does not say that a person would know the object: look at the pictures.
# By the same features a look-up does it better: of every edit in the first table of edits, and with either prior, the nearest training image
# is closer to the edited one than what is drawn.

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **Size and generators.** 32 pixels and an SNGAN that has seen 3,793 photographs of a hundred kinds of things, where the
#   paper has BigGAN's blocks at 128 pixels, and 63,000 faces or three million bedrooms. Chapter 43 says how they were trained.
# - **96 unseen images**, not 500, and 32 of them in the controls; 300 steps, of which the paper says nothing.
# - **The noise** begins at $z \sim N(0, I)$ and is free, which the paper leaves open; errors are means over pixels and
#   channels of images in [0, 1].
# - **The sketch** is the steepness of the luma, and boxes are a quarter of an image, as nothing is said of them.
#
# ```bash
# papermill notebooks/44_inversion_and_editing.ipynb out.ipynb -p photographs my_photographs/
# synthbook run 44_inversion_and_editing -p parts=inversion,starts,freedom,others,untrained
# synthbook run 44_inversion_and_editing -p targets=my_data -p train_missing=true
# synthbook run 44_inversion_and_editing --scale small -p data_root=data
# synthbook run 44_inversion_and_editing --scale paper
# ```
