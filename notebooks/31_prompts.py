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
# # 31 A data set from class names
#
# **The question.** A text-to-image model knows what a bird looks like. If nothing is given to it but the names of some
# classes, does it make a training set for them? And how should one ask: with the name alone, with a definition, in
# scenes, and how strongly?
#
# **The study's answer.** {cite:t}`sariyildiz2023fake` make *clones* of ImageNet with Stable Diffusion
# {cite:p}`rombach2022high`: as many images of each class as the real set has. Learned from random weights, a clone of a
# hundred classes makes a useful classifier of photographs, if far from a real one (Table 1 there). Parents and definitions resolve
# double meanings and help, scenes more; but what helps most is to press less for the prompt: at a {term}`guidance scale` of 2 in
# place of the usual 7.5 every form gains ten to twenty points, and then the wording hardly matters.
#
# **Here.** Clones of photographs of ten kinds of things, 32 pixels wide, by a small text-to-image model that comes with the
# book. It has learned CIFAR with captions, and none of the photographs that its clones are rated on; that its
# words cover nine of the ten kinds is all it knows of them.

# %% tags=["hide-input"]
from synthbook.page.page import answer

answer("31_prompts")

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
seeds: int = 1  # seeds to run: each draws photographs, images and initial weights
first_seed: int = 0  # the first of them
parts: list[str] = ["prompts"]  # also crops and filter, which are controls
forms: list[str] = ["definition"]  # of prompts: name, parent, definition, scene, photo
guidance_scales: list[float] = [2.0, 7.5]  # of the clones; 1 is none
model: str = ""  # a diffusers pipeline: a folder or a name on the Hub; "" is the book's own
class_words: str = ""  # a file of class names with definitions and parents; "": WordNet's
data: str = "caltech10"  # a data set's name, a folder of class folders, or an .npz
other_tests: list[str] = []  # folders in place of made tests, NAME and FOLDER
data_root: str = ""  # where downloaded data sets lie
image_size: int = 0  # side in pixels to resize to; 0 keeps the size
set_size: int = 1000  # photographs that a clone stands for; 0: all
num_inference_steps: int = 12  # in which an image is made
backbone: str = "small_cnn"  # the classifier: small_cnn, resnet18_cifar ..., or a timm name
updates: int = 600  # training steps, the same for every set; 0: epochs of training_settings
batch_size: int = 64  # images a step
learning_rate: float = 0.4  # of SGD for 256 images
training_settings: list[str] = ["weight_decay: 0.0005"]  # of the training, over the usual
view_settings: list[str] = ["global_size: 16", "local_size: 8"]  # of the crops, over the usual
extractor: str = "efficientnet_lite0"  # features of the measures: efficientnet_lite0 or inception
extractor_size: int = 64  # side of the extractor's input
neighbours: int = 5  # k of precision, recall, density, coverage
measured: int = 500  # images of each set that are measured
device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
threads: int = 1  # CPU threads; more of them round sums differently
rows: str = ""  # file to append the rows to; "" is _build/rows/<chapter>.jsonl

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies import fake

p = parameters("31_prompts", globals())
print(fake.described(p, fake.check_prompts(p)), fake.plan_prompts(p), sep="\n")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What pressing for the prompt buys and costs. Above: how many of a clone's images a network with ImageNet's features takes for the class that was asked for, and how varied those of a class are. Below: precision, the share of images inside the photographs' feature manifold, where soft clones can stand above photographs; and the accuracy on photographs of what learned from them. Lines are forms of prompts, by what they are made of: a class's name, parent and definition, and a scene; means over seeds with 95 % intervals; grey, with its interval, is what photographs get, dotted what always naming the largest class would. Look whether accuracy follows any of the other three.", "name": "fig-31-guidance"}, "image": {"alt": "Four line charts over the guidance scale, a line for each form of prompts: images of the class asked for, spread of images of a class, precision, and accuracy on real test images, with the values of photographs as a grey line and, in the last, that of naming the largest class as a dotted one."}}
import matplotlib.pyplot as plt

from synthbook.generate.prompts import FORMS
from synthbook.page import figures
from synthbook.page.page import Page, matching
from synthbook.record.rows import Run

figures.style()
LOOKS = {
    "name": {"color": "#000000", "marker": "o"},
    "parent": {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    "definition": {"color": "#0072B2", "marker": "^"},
    "scene": {"color": "#009E73", "marker": "D", "linestyle": "-."},
    "photo": {"color": "#CC79A7", "marker": "v", "linestyle": ":"},
}
PANELS = {
    ("class_agreement", "real"): "of the class asked for (%)",
    ("class_spread", "real"): "spread within a class",
    ("precision", "real"): "inside the photographs (precision)",
    ("top1_accuracy", "test"): "accuracy on photographs (%)",
}


def of_guidance(page):
    """Draw four measures of clones over the guidance scale, a line for each form of prompts."""
    fig, axes = plt.subplots(2, 2, figsize=(8.4, 4.8), sharex=True)
    for ax, ((metric, test), title) in zip(axes.flat, PANELS.items(), strict=True):
        table, whose = page.shown(metric, part="prompts", test=test)
        table = table[table.classes.isin(["all"])] if metric.startswith("class_") else table
        for form, look in LOOKS.items():
            mine = matching(table, method="clone", prompt=form)
            groups = {scale: list(some.value) for scale, some in mine.groupby("guidance_scale")}
            if groups:
                look = look | {"label": FORMS[form].words}
                figures.means_and_intervals(ax, [*groups], [*groups.values()], **look)
        figures.level(ax, matching(table, method="real").value, label="photographs")
        if len(largest := matching(table, method="largest class")):
            look = {"color": "#7F7F7F", "linestyle": ":", "label": "the largest class"}
            ax.axhline(largest.value.mean(), **look)
        ax.set(title=title, xscale="log")
        scales = sorted(table.guidance_scale.dropna().unique())
        ax.set_xticks(scales, [f"{scale:g}" for scale in scales])
        ax.minorticks_off()
    fig.legend(*axes[1, 1].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    fig.supxlabel(f"guidance scale ({whose})", fontsize="medium")
    plt.show()


def line_of(method, form=None, scale=None):
    """Return how a training set is written on this page: "name, definition, guidance 2"."""
    return f"{FORMS[form].words}, guidance {scale:g}" if method == "clone" else "photographs"


page = Page(Run(p))
if page.shown("top1_accuracy", part="prompts")[1]:
    of_guidance(page)
else:
    print("Nothing is recorded at this scale; the picture of this run is below.")

# %% [markdown]
# ## The mechanism
#
# **A prompt** $p_c$ is made of what a dictionary says of a class, by one rule for all classes: its names $c$ (all of them, since a
# class is a set of synonyms), its parents $h_c$, its definition $d_c$, and a scene $b$ of Places. Names, parents
# and definitions are WordNet's.

# %%
from synthbook.generate.prompts import prompt
from synthbook.generate.wordnet import class_words as words_of_set

bird = words_of_set("caltech10")[0]
{f"{form.words} ({form.paper})": prompt(bird, name) for name, form in FORMS.items()}

# %% [markdown]
# **Guidance.** The model predicts what an image should become with the prompt and without one, and is told to go further
# in the direction in which both differ {cite:p}`ho2022classifier`:
#
# $$
# \hat\epsilon = \epsilon(x_t, \varnothing) + w \, \big( \epsilon(x_t, p_c) - \epsilon(x_t, \varnothing) \big).
# $$
#
# With $w = 1$ it draws as it has learned; more makes images surer of the prompt, and more alike.
#
# **Learning.** Encoder and classifier learn together from random weights, with several random crops $t_v(x)$ of each image:
#
# $$
# L = -\, \mathbb{E}_{c,\, x \sim g(p_c)} \frac{1}{V} \sum_{v=1}^{V} \log \mathrm{softmax}\big(q(f_\theta(t_v(x)))\big)_c .
# $$
#
# Photographs and clones go through the same recipe for the same number of steps, in sets of equal size. What they have learned is tried on five
# kinds of real images: unseen photographs (*test*); others drawn like them (*v2*); their edges (*sketch*); the photographs in other styles
# (*rendition*); and the hardest of them (*adversarial*).

# %% [markdown]
# ## The experiment
#
# A classifier of the photographs, and one of each clone. The recorded rows are from a GPU, this run's from a processor. Both train in
# single precision, but the GPU draws the clones anew and rounds the factors of its convolutions (TF32), so that a seed's networks differ.

# %% tags=["experiment"]
from synthbook.machine import prepare
from synthbook.page.progress import progress

device = prepare(p.device, p.threads)
run, study = Run(p), fake.Prompts(p, device)
for job in progress(study.jobs, "classifiers"):
    for row in study.rows(*job):
        run.add(**row)

# %%
page = Page(run)
page.agreement()

# %% [markdown]
# ## The pictures
#
# What the clones of this run look like, beside the photographs they stand for. Go through the columns: is it the kind that was asked
# for? And along the rows: are a class's images different from each other?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Images of each class: photographs, and clones of this run by guidance scale. Each column is a class. Compare how often the class can be told, and how alike the images of a column are.", "name": "fig-31-images"}, "image": {"alt": "Blocks of small images, one of photographs and one for each guidance scale, with a column for each class."}}
import numpy as np

from synthbook.studies.clones_by_name import columns

seed, down = p.first_seed, 3
sets = {"photographs": study.images(seed)}
for form, scale in study.clones:
    sets[line_of("clone", form, scale)] = study.images(seed, form, scale)
across = min(10, sets["photographs"].num_classes)
fig, axes = plt.subplots(len(sets), 1, figsize=(0.88 * across, 0.85 * down * len(sets)))
lines = np.split(figures.light(columns(of, down, across) for of in sets.values()), len(sets))
names = [name.replace(" ", "\n") for name in sets["photographs"].classes[:across]]
for ax, title, tiles in zip(np.atleast_1d(axes), sets, lines, strict=True):
    names = names if title == "photographs" else None
    figures.image_grid(tiles, down, across, titles=names, ax=ax).tick_params(labelsize="x-small")
    ax.set_title(title, fontsize="small", loc="left")
plt.show()

# %% [markdown]
# The first figure of this page again, from this run alone:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Images of the class asked for, spread within a class, precision and accuracy on photographs over the guidance scale, this run.", "name": "fig-31-guidance-live"}, "image": {"alt": "Four line charts over the guidance scale, from this run: images of the class asked for, spread of images of a class, precision, and accuracy."}}
page_of_run = Page(run)
page_of_run.recorded = {}
of_guidance(page_of_run)

# %% [markdown]
# ### What a word may mean
#
# A name with several meanings is an order that can be filled in several ways; a parent or a definition says which is
# meant. What WordNet knows of the ten names, and which other senses prompts of the name, and of name and parent,
# leave open:

# %% tags=["hide-input"]
import pandas as pd

from synthbook.generate.wordnet import polysemy
from synthbook.page.tables import plain

lines = {}
for words in study.words:
    told = polysemy(words)
    open_to = [sense.definition for sense in (told.with_c or ())]
    lines[words.name] = {
        "senses of the first name": told.count,
        "left open by the name": len(open_to),
        "and by name, parent": len(told.with_parent or ()),
        "such as": open_to[0] if open_to else "",
    }
plain(pd.DataFrame(lines).T)

# %% [markdown]
# ### More than photographs
#
# What learned photographs, and clones at the guidance scales of this run (the table below has all), on the five kinds of test images, in
# percent; and what always naming the largest class of a test would get. Accuracies at or below that tell which classes a network names
# often, and little of what it recognizes.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Accuracy on five kinds of real images: of what learned photographs, and of what learned clones, by form of prompts and guidance scale; means over seeds; the second row is what always naming the largest class of a test would get. Compare a row of clones with that row first, and then with the row of photographs: where is a clone above the one, and how near does it come to the other?", "name": "fig-31-tests"}, "image": {"alt": "A heat map of accuracy: rows are training sets, photographs and clones, and the largest class; columns are five kinds of test images."}}
from synthbook.studies.clones_by_name import TESTS, largest_class

LARGEST, largest = "the largest class", largest_class(study)
table, whose = page.shown("top1_accuracy", part="prompts", test=list(TESTS))
if not {*p.guidance_scales} <= {*table.guidance_scale.dropna()}:  # not all of them are on record
    table = matching(run.frame(), metric="top1_accuracy", part="prompts", test=list(TESTS))
    whose = f"{figures.seeds(table)}, this run"
table = table[table.guidance_scale.isin(p.guidance_scales) | (table.method == "real")]
told = map(line_of, table.method, table.prompt, table.guidance_scale)
matrix = table.assign(line=[*told]).pivot_table(index="line", columns="test", values="value")
matrix.loc[LARGEST] = largest
order = ["photographs", LARGEST]
order += [line_of("clone", f, w) for w in sorted({*p.guidance_scales}) for f in FORMS]
order = [line for line in order if line in matrix.index]
_, ax = plt.subplots(figsize=(8.4, 0.6 + 0.34 * len(order)))
figures.heatmap(matrix.loc[order, list(TESTS)], ax)
ax.set(xlabel=f"tested on ({whose})", ylabel="")
plt.show()

# %% [markdown]
# ## The table
#
# The paper's Table 1, a hundred classes of ImageNet at one time their size, in percent. Its networks are ResNet-50, its generator
# is Stable Diffusion 1.4: only orders and signs can be compared. *The largest class* is what always naming it would get, counted in the
# tests; of the paper's hundred equal classes it is one percent in the first three tests. Its last two have some of these classes only,
# and it does not say how many images of each.

# %% tags=["hide-input"]
from synthbook.generate.prompts import form_of
from synthbook.record.published import published

AS_OURS = dict(zip(("IN-Val", "IN-v2", "IN-Sketch", "IN-R", "IN-A"), TESTS, strict=True))


def lines_of(table, metric):
    """Return rows of a metric with the line of the table that they belong to, test by test."""
    table = matching(table, part="prompts", method=["real", "clone"], metric=metric)
    place = {test: k for k, test in enumerate(TESTS)}
    table = table.sort_values("test", key=lambda tests: tests.map(place), kind="stable")
    told = map(line_of, table.method, table.prompt, table.guidance_scale)
    return table.assign(line=[*told]) if len(table) else table


def accuracies(table, metric, named, rights):
    """Return accuracies with their line, and those of always naming the largest classes."""
    table = lines_of(table, metric)
    seeds = table.drop_duplicates(["scale", "seed"]) if len(table) else table
    always = [seeds.assign(line=named, test=test, value=right) for test, right in rights.items()]
    return pd.concat([table, *always])


paper = published("fake", "T1", split="100 classes", size=["1x", ""])
told = [
    line_of("clone", form_of(method.removeprefix("p_c = ")).name, float(w))
    if w
    else line_of("real")
    for method, w in zip(paper.method, paper.guidance, strict=True)
]
paper = paper.assign(line=told, test=paper.dataset.map(AS_OURS))
FIVE, five = "the five largest classes", largest_class(study, most=5)
order = ["photographs", LARGEST, FIVE]
order += [
    line_of("clone", form, w) for w in sorted({1, 2, 4, 7.5, *p.guidance_scales}) for form in FORMS
]
how = {"headings": {"line": "learned from"}, "order": order}
beside = how
if page.recorded:  # with this run's own, the recorded numbers are off the screen
    own = "This run's are left out here: its agreement with the recorded ones stands above."
    beside = how | {"live": False, "notes": [own]}
page.table(
    ["line"],
    "test",
    matching(paper, metric="top1_accuracy"),
    lambda table: accuracies(table, "top1_accuracy", LARGEST, largest),
    **beside,
)

# %% [markdown]
# The same, where the right class is among the five that a network names first. With ten unequal classes that says little until it is well
# above what always naming the five largest would get:

# %% tags=["hide-input"]
page.table(
    ["line"],
    "test",
    matching(paper, metric="top5_accuracy"),
    lambda table: accuracies(table, "top5_accuracy", FIVE, five),
    **beside,
)

# %% [markdown]
# Two controls: the same training with one large crop of each image in place of several, and the half of twice as many
# images that looks most real ({term}`realism score`), where they were run; beside what they are compared with.

# %% tags=["hide-input"]
WAYS = {"prompts": "several crops", "crops": "one crop", "filter": "the most real half"}


def of_controls(table):
    """Return the controls and what they change, test by test."""
    table = matching(table, metric="top1_accuracy", test=list(TESTS))
    form, scale = study.first
    clone = (table.prompt == form) & (table.guidance_scale == scale)
    table = table[clone | (table.method == "real")].sort_values(
        "test", key=lambda t: t.map(TESTS.index)
    )
    told = [line_of(method, form, scale) for method in table.method]
    return table.assign(line=told, way=table.part.map(WAYS))


page.table(
    ["line", "way"],
    "test",
    None,
    of_controls,
    headings={"line": "learned from", "way": "how"},
    order=["photographs"],
)

# %% [markdown]
# And what the clones are like: the share of images that a network with ImageNet's features takes for the class (*agreement*); the share
# inside the manifold of the photographs' features (*precision*), and of photographs inside that of the clone (*recall*); and how varied
# images of a class are. The first line is of photographs that nothing has learned. A clone above it in precision is no better formed than
# photographs: images near the middle of a manifold lie inside it more surely than photographs, some of which make its edge.

# %% tags=["hide-input"]
MEASURES = ("class_agreement", "precision", "recall", "class_spread")


def of_images(table):
    """Return measures of images, agreement as a share, by the line of the table."""
    table = matching(table, part=["prompts", "filter"], test="real", metric=list(MEASURES))
    table = table[table.classes.isna() | (table.classes == "all")]
    table = table.sort_values("metric", key=lambda metric: metric.map(MEASURES.index))
    told = map(line_of, table.method, table.prompt, table.guidance_scale)
    kept = table.part.map({"filter": f", {WAYS['filter']}"}).fillna("")
    told = [line + half for line, half in zip(told, kept, strict=True)]
    share = table.value.where(table.metric != "class_agreement", table.value / 100)
    return table.assign(line=told, value=share)


page.table(
    ["line"], "metric", None, of_images, headings={"line": "images"}, decimals=2, order=order
)

# %% [markdown]
# ## The claims

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# **Reading them.** What is said here of causes is explanation, and no finding.
#
# - **How far there is to go.** A clone is to be 20 points above naming the largest class. With these networks and steps the photographs
#   themselves are 25 above it, so a clone would have to teach four fifths of what the photographs do (fake-01).
# - **What is drawn.** Ask first whether the generator draws what it is asked for: see *agreement* above. It does so most often when asked
#   by names, with *a photo of* or without, and there accuracy is highest; parents, scenes and definitions come after (fake-03, fake-04,
#   fake-27). The generator's captions have the words of nine of the ten kinds, but of their definitions that of the bird only, and scenes
#   meant a colour to it. To its small text tower the longer prompts may say less, and not more.
# - **Pressing** for the prompt makes more images of the class and less varied ones, and top-1 accuracy stays where it is (fake-05). The
#   right class is among the first five more often at 2 than at 7.5, by two to seven points on photographs and with every form, as in the
#   paper; the claim asks for the first alone. The forms lie as far apart at 2 as at 7.5 (fake-06). By the class that was asked for, fidelity is bought with variety as in the paper: agreement
#   rises, of definitions hardly, while spread falls. *Precision* falls, too; but it puts clones that press little above photographs, and the half that
#   the filter keeps further above, of whose images no more are of the class. What ranks images so does not rank their quality, and is
#   asked only where no clone is above photographs (`precision_ranks` in fake-07 and fake-08). The paper judged by eye, and larger pictures
#   of a much larger model.
# - **Sketches and renditions.** No clone surely names more of them rightly than naming the largest class would: of sketches all name
#   fewer, of renditions those by *a photo of* about as many. So they have nothing left to lose, and a small distance to the photographs
#   is no merit (fake-12); nor does it say much which of two clones is ahead (fake-05), or that photographs
#   are (fake-11). The claims are asked there only where clone and photographs name more than the largest class. The tests are made of
#   the test photographs and keep their composition, of which only the classifier of photographs has learned; those of the paper were
#   collected elsewhere.
# - **The second test** is no harder than the first for what learned photographs, so that there is no loss of which a clone could be spared
#   (fake-16); some clones lose a point there. To ask this takes photographs of the
#   same kinds that others collected, on which the classifier of photographs loses two points or more: `-p other_tests=v2=FOLDER`.
# - **Several crops** cost the photographs some five points, and on photographs make no difference to clones that five seeds could tell
#   (fake-23). On renditions one crop is two points ahead, and still below naming the largest class. The small crops are a small part of a picture of 32 pixels, brought to 8, on which not much of a thing is left.

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **The generator** has 2.5 million weights and has seen 54,000 captioned pictures of CIFAR; Stable Diffusion has 860 million and has
#   seen billions. Its captions are made of the same dictionary that the prompts are made of, and scenes meant the colour of the ground to it.
#   It makes an image in 12 steps of its sampler; the paper takes 50.
# - **Ten kinds** of photographs stand in for a hundred classes, a thousand of them for 126,689, and clones of a thousand images.
# - **The classifier** is a small network that sees crops of 16 pixels, two large and two small ones; the paper has a ResNet-50, and
#   the crops of DINO at 224 and 96 pixels.
# - **Shifts** are made of the test photographs: edges, four styles, and the fifth that a linear layer on ImageNet features is least
#   sure of. The second test is made of validation photographs, which chose nothing here.
# - **Diversity and fidelity** are judged by eye in the paper (Figure 2); here they are measured.
#
# ```bash
# papermill notebooks/31_prompts.ipynb out.ipynb -p guidance_scales 1,2,4,7.5 -p forms name,definition
# synthbook run 31_prompts -p parts=prompts,crops,filter -p seeds=2
# synthbook run 31_prompts -p data=my_photos -p class_words=my_words.csv -p image_size=32
# synthbook run 31_prompts -p data=my_photos -p class_words=my_words.csv -p image_size=64 -p view_settings=global_size=64,local_size=24 -p num_inference_steps=50 -p model=stable-diffusion-v1-5/stable-diffusion-v1-5
# synthbook run 31_prompts --scale paper -p data_root=data
# ```
#
# The third makes clones of a folder of your own by its class names; a line of the file is `name[, definition[, parent]]`. The book's generator
# can draw only what its few captions have words for, and the check of the parameters names what they lack; the fourth asks another pipeline,
# by its name on the Hub or from a folder, for which a GPU is wanted.
# Images of seeds and prompts that do not come with the book are made when they are asked for, some ten a second on a core.
