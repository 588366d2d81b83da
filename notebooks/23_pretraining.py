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
# # 23 Pretraining on generated images
#
# **The question.** Networks learn a large set of photographs before they learn the task at hand, and are better at it for that. Can
# images that nobody photographed, as many as one likes, take the place of the large set?
#
# **The study's answer.** {cite:t}`he2023synthetic` ask GLIDE for up to four million images, by sentences about classes. Of the names of the
# task itself, CIFAR-100, as many images as ImageNet has are worth nearly as much as ImageNet, and two or three times as many
# are worth more (Table 8). Of names that nobody chose for the task they bring, to finding things with a ResNet-50, most of what ImageNet
# brings (Tables 10 and 11): more with {term}`MoCo`, which learns without labels, more with more names, and more still after ImageNet than in
# its place. To naming images with a vision transformer as many of them bring nearly as much as ImageNet, and twice as many and
# more names bring more (Table 9): transformers, the study says, profit most.
#
# **Here.** A thousand photographs of 32 kinds of things stand for ImageNet, and one to three thousand images by a small
# text-to-image model for GLIDE's. The tasks are to name photographs of ten other kinds, and to find these in scenes.

# %% tags=["hide-input"]
from synthbook.page.page import answer

answer("23_pretraining")

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
seeds: int = 1  # seeds to run: each draws photographs, images, names, scenes and initial weights
first_seed: int = 0  # the first of them
parts: list[str] = ["aware"]  # Table 8; also supervised, Tables 9 and 10, and contrastive, Table 11
starts: list[str] = ["none", "synthetic"]  # also real and real+synthetic
sizes: list[float] = [1.0]  # amounts of images of the task's names, in pretrain_images
agnostic_sizes: list[float] = [1.0, 2.0, 3.0]  # the same of other names
label_spaces: list[str] = ["cifar100:50", "cifar100"]  # other names: some, and more
data: str = "caltech10"  # the task's photographs: a name, a folder of class folders, or an .npz
real_source: str = "caltech101_others"  # photographs of other classes
pretrain_images: int = 1000  # of them, and of generated images in the amount 1
real_weights: list[str] = []  # in their place, METHOD and imagenet or a file
train_images: int = 500  # photographs that the task is learned from; 0: all
model: str = ""  # a diffusers pipeline: a folder or a name on the Hub; "" is the book's own
language_model: str = ""  # a word-to-sentence T5; "" is the book's grammar
sentences: int = 20  # of each class
guidance_scale: float = 2.0  # of the generated images
num_inference_steps: int = 12  # in which an image is made
synthetic_size: int = 0  # side of generated images; 0: of the task's photographs
class_words: str = ""  # a file of class names; "": WordNet's
data_root: str = ""  # where downloaded data sets lie
image_size: int = 0  # side in pixels to resize to; 0 keeps the size
backbone: str = "small_cnn"  # the network: small_cnn, resnet18_cifar ..., or a timm name
second_backbone: str = "small_cnn"  # that of Table 9
recipe: str = "book"  # or published, for images of ImageNet's size; the lists below change it
pretrain_settings: list[str] = ["steps: 400"]  # with labels, the same for every amount
moco_settings: list[str] = ["steps: 400", "queue: 512"]  # without
finetune_settings: list[str] = ["steps: 200", "point_every: 40"]  # on photographs
detection_data: str = ""  # folder of PASCAL VOC's archives; "" makes scenes
scene_counts: list[int] = [800, 400]  # to learn from, and to test on
scene_settings: list[str] = []  # of the scenes, over the usual
detector_settings: list[str] = []  # of the detector, over the usual
detect_settings: list[str] = ["steps: 400"]  # of its training
device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
threads: int = 1  # CPU threads; more of them round sums differently
rows: str = ""  # file to append the rows to; "" is _build/rows/<chapter>.jsonl

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies import pretraining

p = parameters("23_pretraining", globals())
print(pretraining.check_pretraining(p), pretraining.plan_pretraining(p), sep="\n")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What a network reaches at the task by what it has learned before: panel by panel Tables 8, 10 and 11, as far as they were run. Grey lines have learned nothing before (dotted) or photographs alone (solid); colours have learned generated images, from random weights (filled) or from those that photographs have taught (hollow). Bars are 95 % intervals; marks of one amount stand a little apart. Grey bands are the intervals of the grey lines; whether there is a way between them is told below, seed by seed. Look how much of the way between the grey lines the filled marks go.", "name": "fig-23-amounts"}, "image": {"alt": "Line charts of accuracy and average precision over the number of generated images, with lines for label spaces and starts, and grey levels with bands of their intervals for random weights and for pretraining on photographs."}}
import matplotlib.pyplot as plt

from synthbook.intervals import interval
from synthbook.page import figures
from synthbook.page.page import Page, matching
from synthbook.record.rows import Run

figures.style()
PANELS = {
    ("aware", "top1_accuracy"): "naming, the task's names",
    ("supervised", "ap50"): "finding, with labels",
    ("contrastive", "ap50"): "finding, MoCo v2",
}
SPACES = {"downstream": ("#0072B2", "s"), "smaller": ("#D55E00", "o"), "larger": ("#009E73", "^")}
WORDS = {"downstream": "the task's names", "smaller": "fewer names", "larger": "more names"}


GREY = {"none": (":", "random weights"), "real": ("-", "photographs")}
APART = 0.05  # between lines at one amount, so that bars do not hide each other


def of_amounts(table, whose):
    """Draw what is reached at the tasks over the amount of generated images."""
    panels = {key: matching(table, part=key[0], metric=key[1]) for key in PANELS}
    panels = {key: held for key, held in panels.items() if len(held)}
    down = (len(panels) + 2) // 2  # rows of two, the key in the place behind the last panel
    fig, axes = plt.subplots(down, 2, figsize=(8, 0.4 + 2.9 * down), squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    drawn = axes.flat[: len(panels)]
    for ax, (key, held) in zip(drawn, panels.items(), strict=True):
        for train, (line, label) in GREY.items():
            if len(level := matching(held, train=train).value):
                mean, low, high = interval(level)
                how = {"color": "#7F7F7F", "linestyle": line, "linewidth": 1.5}
                ax.axhline(mean, label=label, **how)
                if low < high:  # one seed has no interval
                    ax.axhspan(low, high, color="#7F7F7F", alpha=0.1, linewidth=0)
        generated = matching(held, space=list(SPACES))
        lines = generated.groupby(["space", "train"]) if len(generated) else ()
        for k, ((space, train), some) in enumerate(lines):
            color, marker = SPACES[space]
            hollow = train != "synthetic"
            look = {"color": color, "marker": marker, "linestyle": "--" if hollow else "-"}
            look |= {"markerfacecolor": "white"} if hollow else {}
            groups = {size: list(one.value) for size, one in some.groupby("size")}
            label = ("photographs, then " if hollow else "") + WORDS[space]
            places = [size + APART * (k - (len(lines) - 1) / 2) for size in groups]
            figures.means_and_intervals(ax, places, [*groups.values()], label=label, **look)
        sizes = sorted({*generated["size"]}) if len(generated) else [1]
        ax.set(title=PANELS[key], xlim=(sizes[0] - 0.3, sizes[-1] + 0.3))
        ax.set_xticks(sizes, map("{:.3g}".format, sizes))
        ax.set_ylabel("accuracy (%)" if key[1] == "top1_accuracy" else "AP50 (%)")
    legend = {
        label: handle
        for ax in drawn
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    behind = axes.flat[len(panels)]
    behind.legend([*legend.values()], [*legend], fontsize="small", loc="center left")
    words = f"generated images, in multiples of {p.pretrain_images:,} ({whose})"
    fig.supxlabel(words, fontsize="small")
    plt.show()


METRICS = ["top1_accuracy", "ap50"]
table, whose = Page(Run(p)).shown(METRICS)
if whose:
    of_amounts(table, whose)
else:
    print("Nothing is recorded at this scale; the picture of this run is below.")

# %% tags=["hide-input"]
from synthbook.page.tables import aside


def in_short(table, whose):
    """Say how far there is to go: what photographs before the task add to random weights."""
    told, unsure = [], []
    for (part, metric), title in PANELS.items():
        held = matching(table, part=part, metric=metric)
        levels = {train: matching(held, train=train).set_index("seed").value for train in GREY}
        if len(gain := (levels["real"] - levels["none"]).dropna()):
            reach = interval(gain)
            told.append(f"{title} {figures.interval_text(*reach)}")
            unsure += [] if reach.low > 0 else [title]
    doubt = (
        " Where the interval is not above zero, the figure cannot say what share of the way "
        f"generated images go: {'; '.join(unsure)}."
    )
    return (
        f"In short ({whose}): what photographs before the task add to random weights, in points, "
        f"and so the way that there is to go: {'; '.join(told)}.{doubt * bool(unsure)}"
    )


aside(in_short(table, whose)) if whose else None

# %% [markdown]
# ## The mechanism
#
# **Images.** Every class $c$ of a label space $Y$ gets sentences in which its name stands, and the generator draws them in turn;
# nothing is filtered. In the *downstream-aware* setting $Y$ are the classes of the task, in the *downstream-agnostic* one names that
# nobody chose for it. Here these are fifty of CIFAR-100's names, and all hundred; the larger space has the smaller one. Many of them are kinds of
# what the task is to name: beaver, elephant, kangaroo and leopard among its mammals, crab, dolphin and lobster among its sea animals, butterfly,
# sunflower, motorcycle, chair and lamp are classes of its photographs, and other mammals, fish, insects, trees and vehicles are near them. The
# photographs of other classes that stand for ImageNet share no class with the task. That favours generated images over the photographs;
# ImageNet, too, has many of CIFAR-100's and VOC's classes.

# %%
from synthbook.generate.prompts import label_space
from synthbook.generate.sentences import sentences_of

few, many = (label_space(text, p.first_seed) for text in p.label_spaces)
{words.name: sentences_of([words], count=2)[words.name] for words in few[:3]}

# %% [markdown]
# **With labels.** From weights $\theta_0$, random or those that photographs of other classes have taught, the network learns to name the
# generated images,
#
# $$
# \theta_1 = \arg\min_\theta \; -\, \mathbb{E}_{c \in Y,\, x \sim g(c)} \log \mathrm{softmax}\big(W f_\theta(x)\big)_c .
# $$
#
# **Without labels.** MoCo {cite:p}`he2020momentum,chen2020improved` asks that a view $q$ of an image be nearer to the key $k_+$ of another view of it than to the keys
# of other images in a queue. A generator that draws something else than it was asked for does no harm here:
#
# $$
# L_q = -\log \frac{\exp(q \cdot k_+ / \tau)}{\exp(q \cdot k_+ / \tau) + \sum_{k \in \text{queue}} \exp(q \cdot k / \tau)} .
# $$
#
# **Then the task.** $\theta_1$ with a new head learns it whole, by a recipe that is the same for all starts. The number of steps before it is
# the same for all amounts of images, so that only what is seen differs, and not for how long. Starts from photographs have these steps twice,
# once for either kind.

# %%
from synthbook.recognize.pretrain import method_of

recipes = [pretraining.pretrain_recipe(p, way, p.backbone) for way in ("supervised", "mocov2")]
{method_of(one): f"{one.steps} steps of {one.batch_size} images" for one in recipes}

# %% [markdown]
# ## The experiment
#
# For each start: pretraining, if it has any, and the task. This page's own run has two starts, random weights and generated images; the
# recorded runs have all four, and all parts. Those were made on a GPU, where pretraining and naming are in bfloat16 (`precision` is `auto` in
# their recipes); this page is made on a processor, in float32 unless that has AMX.

# %% tags=["experiment"]
from synthbook.machine import prepare
from synthbook.page.progress import progress

device = prepare(p.device, p.threads)
run, study = Run(p), pretraining.Pretraining(p, device)
for job in progress(study.jobs, "starts"):
    for row in study.rows(*job):
        run.add(**row)

# %%
page = Page(run)
page.agreement()

# %% [markdown]
# ## The pictures
#
# What was learned before the task, beside what the task shows. How often does a generated image show what its sentence says?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "A block of images each, a class a column: the task's photographs, photographs of other classes, and generated images of each label space of this run. Compare how often the kind can be told.", "name": "fig-23-images"}, "image": {"alt": "Blocks of small images: photographs of the task, photographs of other classes, and generated images, a class a column."}}
from contextlib import suppress

import numpy as np

from synthbook.errors import InputError
from synthbook.studies.clones_by_name import columns

seed, across, down = p.first_seed, 10, 2
sets = {"the task's photographs": study.photographs(seed)}
if not p.real_weights:
    with suppress(InputError):  # too few for this run, which learns none then
        sets["photographs of other classes"] = study.real(seed)
for space, size in dict(study.sets).items():
    sets[f"generated, {WORDS[space]}"] = study.synthetic(seed, space, size)
counts = [min(across, images.num_classes) for images in sets.values()]
tiles = figures.light(columns(sets[name], down, n) for name, n in zip(sets, counts, strict=True))
grids = np.split(tiles, np.cumsum([down * count for count in counts])[:-1])
_, axes = plt.subplots(len(sets), 1, figsize=(0.78 * across, 0.98 * down * len(sets)))
for ax, title, count, grid in zip(np.atleast_1d(axes), sets, counts, grids, strict=True):
    names = [name.replace(" ", "\n").replace("_", "\n") for name in sets[title].classes[:count]]
    figures.image_grid(grid, down, count, names, ax)
    ax.tick_params(labelsize=8)
    ax.set_title(title, fontsize="small", loc="left")
plt.show()

# %% [markdown]
# How the task is learned from each start:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Accuracy on validation photographs while the task is learned, from each start of this run. Look where the lines begin, and whether they meet.", "name": "fig-23-curves"}, "image": {"alt": "A line chart of validation accuracy over finetuning steps, a line for each start."}}
LINES = {"none": (":", "#7F7F7F"), "real": ("-", "#000000"), "synthetic": ("-", "#0072B2")}


def words_of(start):
    """Return a start in words."""
    before = "photographs, then " if start.train == "real+synthetic" else ""
    before += f"{start.size:g}x {WORDS[start.space]}" if start.space else ""
    return before or {"none": "random weights", "real": "photographs"}[start.train]


fig, ax = plt.subplots(figsize=(6.4, 3.2))
for place, part, start in study.jobs:
    if part == "aware" and place == seed:
        points = study.named(place, part, start)["points"]
        line, color = LINES.get(start.train, ("--", "#0072B2"))
        shade = {"alpha": 1 - 0.2 * (start.size - 1) if 1 <= start.size <= 4 else 1}
        values = [[point[name] for point in points] for name in ("steps", "val_accuracy")]
        ax.plot(*values, line, color=color, label=words_of(start), **shade)
ax.set(xlabel="steps of finetuning", ylabel="validation accuracy (%)")
if ax.get_legend_handles_labels()[1]:
    ax.legend(fontsize="small")
    plt.show()
else:
    plt.close()
    print("This run has no part aware.")

# %% [markdown]
# What is found in scenes, where this run learns to find things (`-p parts=supervised`):

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Test scenes with what a detector finds in them, one row a start: boxes that it is at least 30 % sure of; dashed white boxes are the truth. Compare what the rows miss.", "name": "fig-23-scenes"}, "image": {"alt": "Rows of small scenes with boxes around what a detector has found, and dashed boxes around what is there."}}
finding = [job for job in study.jobs if job[0] == seed and job[1] != "aware"][:4]
if finding:
    (_, test), shown = study.scenes(seed), 5
    fig, axes = plt.subplots(
        len(finding), shown, figsize=(1.7 * shown, 1.9 * len(finding)), squeeze=False
    )
    for line, (place, part, start) in zip(axes, finding, strict=True):
        every = study.found(place, part, start)["shown"]
        for k, (ax, one) in enumerate(zip(line, every[:shown], strict=True)):
            ax.imshow(test.read(k))
            sure = [b for b, s in zip(one["boxes"], one["scores"], strict=True) if s >= 0.3]
            for boxes, look in ((test.objects[k].boxes, ("white", "--")), (sure, ("#E69F00", "-"))):
                for left, top, right, bottom in boxes:
                    box = (left - 0.5, top - 0.5), right - left, bottom - top
                    ax.add_patch(plt.Rectangle(*box, fill=False, ec=look[0], ls=look[1]))
            ax.set(xticks=[], yticks=[])
        line[0].set_title(f"{words_of(start)} ({part})", fontsize="small", loc="left")
    plt.show()
else:
    print(
        "No part of this run looks for things in scenes; recorded figures are in the table below."
    )

# %% [markdown]
# The first figure of this page again, from this run alone:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What a network reaches at the task by what it has learned before, this run.", "name": "fig-23-amounts-live"}, "image": {"alt": "Line charts of accuracy and average precision over the number of generated images, from this run."}}
of_run = run.frame()
of_amounts(of_run, f"{figures.seeds(of_run)}, this run")

# %% [markdown]
# ## The table
#
# Tables 8 to 11 of the paper, in percent: accuracy on CIFAR-100, and AP50 on PASCAL VOC. *1x* is ImageNet's number of images, 1.2 million, and a
# thousand here; the paper's 4.0 million of other names are 3.3x. Networks, data and budgets are others: orders and signs can be compared, and no figure.

# %% tags=["hide-input"]
import pandas as pd

from synthbook.record.published import published

TABLES = {"T8": "aware", "T9": "supervised", "T10": "supervised", "T11": "contrastive"}
OF = {"C100 Syn": "downstream", "IN-1K Syn": "smaller", "IN-2K Syn": "larger"}
TIMES = {"1.2M": "1x", "2.4M": "2x", "3.6M": "3x", "4.0M": "3.3x"}
TESTS = {"classification": "naming", "detection": "finding"}
TRAINS = ["none", "real", "synthetic", "real+synthetic"]


def of_starts(table):
    """Return rows with the start in words, those with fewer images first."""
    spaces = table.get("space", pd.Series("", table.index)).fillna("")
    table = table.assign(
        train=pd.Categorical(table.train, TRAINS),
        space=pd.Categorical(spaces, ["", *SPACES]),
        size=table.get("size", table.seed * 0).fillna(0),
    )
    table = table.sort_values(["train", "space", "size"], kind="stable")
    parts = zip(table.train, table.space, table["size"], strict=True)
    told = [line_of(train, space, f"{size:.2g}x") for train, space, size in parts]
    return table.assign(start=told, task=table.test.map(TESTS))


def line_of(train, space, times):
    """Return a start in words."""
    before = "photographs, then " if train == "real+synthetic" else ""
    before += f"{WORDS[space]}, {times}" if space else ""
    return before or {"none": "random weights", "real": "photographs"}[train]


paper = published("ready", table=None)
paper = paper[paper.table.isin(list(TABLES))]
trains = [
    {("no", "none"): "none", ("yes", "none"): "real"}.get(
        (real, source), "real+synthetic" if real == "yes" else "synthetic"
    )
    for real, source in zip(paper.imagenet1k_pretrained, paper.source, strict=True)
]
told = [
    line_of(train, OF.get(source, ""), TIMES.get(count, ""))
    for train, source, count in zip(trains, paper.source, paper.syn_images, strict=True)
]
task = ["finding" if metric == "AP50" else "naming" for metric in paper.metric]
paper = paper.assign(part=paper.table.map(TABLES), start=told, task=task)
page.table(
    ["part", "task", "start"],
    None,
    paper,
    of_starts,
    headings={"start": "learned before"},
    order=["aware", "supervised", "contrastive"],
)

# %% [markdown]
# ## The claims

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# **Reading them.**
#
# - **What the generator has seen.** It has learned 54,000 captioned pictures, and hands on what it knows of them; photographs in its
#   place are a thousand. A generated image is worth what the generator is worth, in the paper as here.
# - **How long.** At equal steps a larger set is seen fewer times. Where the smallest amount is not yet learned by heart, more
#   of them may not help yet; whether it was is not measured. And what has learned photographs and then generated images (ready-29) has had
#   twice the steps of either alone.
# - **Scenes.** What stands around in them are photographs of the 32 classes that real pretraining has learned, others than those that
#   it has seen in scenes to test on. That favours photographs over generated images.
# - **A premise that is not met (ready-30, ready-31, ready-32).** Photographs learned before are to give the detector two points over random weights, with labels
#   and without. In the recorded runs they give 1.1 and 0.2. It would take more steps before the task (`pretrain_settings`,
#   `moco_settings`), or more photographs (`pretrain_images`; `caltech101_others` has 1,401, another `real_source` more). The scale `small` has ten
#   and 25 times the steps and 5,000 photographs, and no recorded rows. The detector is not at its end: from the weights of
#   another classifier of photographs it came to an AP50 of 23 ({doc}`../book/beds`).
# - **Why MoCo may not be ahead here (ready-31).** This explains and was not tested. 400 steps of 64 images are few for MoCo: from
#   photographs, too, it leads to hardly more than random weights do. So what is compared is how far two ways come in a short time, and not what
#   each of them makes of generated images in the end.
# - **Not run (ready-34).** It asks for a transformer as the network of Table 9, and the recorded runs have the small network there, too.
#   `second_backbone` names another, as in the third of the commands below: a DeiT, which sees four patches of a photograph of 32 pixels.

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **ImageNet** is a thousand photographs of 32 kinds, and the sets that stand for 1.2 to 4 million images have one to three thousand.
# - **Names**: ten kinds as the task, and fifty and a hundred names of CIFAR-100 in the place of ImageNet's thousand with a thousand more. Its
#   generator has learned these names; GLIDE has not learned all of ImageNet's.
# - **Networks**: a small one of four layers in the place of ResNet-50, and of DeiT-S, so that no claim about transformers is decided.
# - **Detection** is FCOS in scenes made of the photographs; the paper finds things in PASCAL VOC.
# - **The task** is learned from 500 photographs, half as many as the smallest set before it has; CIFAR-100 has 50,000, a twenty-fourth.
# - **Recipes** are this book's: the paper's text has none. Nothing is chosen for a start.
#
# ```bash
# papermill notebooks/23_pretraining.ipynb out.ipynb -p sizes 1,2,3
# synthbook run 23_pretraining -p parts=supervised,contrastive -p starts=none,real,synthetic
# synthbook run 23_pretraining -p parts=supervised -p starts=real,synthetic -p second_backbone=deit_tiny_patch16_224
# synthbook run 23_pretraining -p parts=supervised -p starts=none,real,synthetic,real+synthetic -p label_spaces=cifar10,cifar10+cifar100
# synthbook run 23_pretraining -p data=my_photos -p class_words=my_words.csv -p image_size=32 -p train_images=0 -p starts=none,real,synthetic
# synthbook run 23_pretraining --scale paper -p data_root=data
# ```
#
# The second takes a quarter of an hour; it makes 3,500 images, ten a second on a core, which are kept. The fifth takes a folder of your own
# as the task (a line of `my_words.csv` is a class's name, `name[, definition[, parent]]`). The check of the parameters names those of your classes
# that the book's generator has read no caption with: its images of them show anything. Add `-p model=...`, the folder of a diffusers
# pipeline or its name on the Hub, for one that has read more.
