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
# # 11 Two generators, and how to look at them
#
# **The question.** The next chapters train classifiers on generated images. Where do these come from, how close are
# they to the real ones, and how much of the real variety do they cover?
#
# **The study's setting.** {cite:t}`wang2024improving` take ready-made generators of two families: a diffusion model
# (LSGM, {cite:p}`vahdat2021score`) and a GAN (StyleGAN-XL, {cite:p}`sauer2022stylegan`). They put the larger harm of
# the GAN's images down to its poorer coverage of modes, but their main text prints no measure of it. (The appendix,
# which is not public with the article, cites precision and recall.)
#
# **Here.** A diffusion model and a GAN come with the book. Both learned the same 2,671 photographs of ten kinds of things,
# told the finer class of each (68 of them), for equally long. This chapter shows how they learned and what they draw,
# measures fidelity and coverage apart, against photographs that nothing was trained on, and looks for copies, of 1,000 of
# the photographs that they learned from. Models of your own photographs can be trained here too.

# %% tags=["hide-input"]
from synthbook.page.page import answer

answer("11_generators")

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
seeds: int = 1  # seeds to run: each draws its own samples and initial weights
first_seed: int = 0  # the first of them
generators: int = 1  # models of each family; seed s uses number s mod this
sources: list[str] = ["real", "diffusion", "gan"]  # images to train on, also your own
data: str = "caltech10"  # a data set's name, a folder of class folders, or an .npz
data_root: str = ""  # where downloaded data sets lie
minutes: float = 0.0  # to train a model of each family for, if none is kept; 0: never
recipe: str = "book"  # of models that are trained: book, or large for days on a GPU
image_size: int = 0  # side in pixels to resize to; 0 keeps the size
guidance_scale: float = 1.0  # of the diffusion model; 1 is as it was learned
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
measured: int = 1000  # training images that are compared; of samples no more than unseen images
extractor: str = "efficientnet_lite0"  # features of the measures: efficientnet_lite0 or inception
extractor_size: int = 64  # side that images are resized to for efficientnet_lite0
neighbours: int = 5  # k of the nearest-neighbour measures

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies import gap, image_sources

p = parameters("11_generators", globals())
print(image_sources.check_generators(p), image_sources.plan_generators(p), sep="\n")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Precision, recall, density and coverage of each generator against unseen real images, in two feature spaces. Marks are seeds. The grey line is the control: what other unseen real images get, and so what a perfect generator would get. A generator that draws well but leaves things out reaches the line in precision and not in recall. Density has an axis of its own, since it is no share.", "name": "fig-11-coverage"}, "image": {"alt": "Dot plots of precision, recall, coverage and density for each generator, a column of panels for each feature space, with a grey reference line for unseen real images."}}
import matplotlib.pyplot as plt
import numpy as np

from synthbook.page import figures
from synthbook.page.page import Page
from synthbook.record.rows import Run

figures.style()
METRICS = ["precision", "recall", "coverage", "density"]


def space_of(extractor):
    """Return a feature space in words."""
    network = extractor.partition("@")[0]
    own = network == "classifier"
    return "the classifier's features" if own else f"ImageNet features ({network})"


def of_space(ax, table, metrics):
    """Draw measures of each generator in a line each, and those of unseen real images in grey."""
    families, places = image_sources.families_of(p), np.arange(len(metrics))
    level = table[table.train == "real"].groupby("metric").value.mean().reindex(metrics)
    grey = {"color": "0.6", "linewidth": 3, "zorder": 0, "label": "unseen real"}
    ax.vlines(level, places - 0.35, places + 0.35, **grey)
    for k, family in enumerate(families):
        values = table[(table.train == family) & table.metric.isin(metrics)]
        look = figures.mark(family) | {"linestyle": "", "label": figures.label(family)}
        beside = places[values.metric.map(metrics.index)] + 0.3 * (k - (len(families) - 1) / 2)
        ax.plot(values.value, beside, **look)
    ax.set_yticks(places, metrics)
    ax.set_ylim(len(metrics) - 0.5, -0.5)


def coverage(table, whose):
    """Draw the measures by feature space: shares above, density, which may exceed 1, below."""
    size = {"figsize": (8, 3.9), "sharex": "row", "sharey": "row", "height_ratios": (3, 1.3)}
    fig, axes = plt.subplots(2, 2, **size)
    for column, (extractor, rows) in zip(axes.T, table.groupby("extractor"), strict=True):
        of_space(column[0], rows, METRICS[:3])
        of_space(column[1], rows, METRICS[3:])
        column[0].set_title(space_of(extractor), fontsize="medium")
        column[0].set(xlim=(-0.03, 1.03), xlabel="share")
        column[1].set_xlabel("density, around 1 for like sets")
    axes[1][0].set_xlim(left=0)
    handles = axes[0][0].get_legend_handles_labels()
    fig.legend(*handles, title=whose, loc="outside upper center", ncols=3)
    plt.show()


table, whose = Page(Run(p)).shown(METRICS, method="fidelity", split="test")
if whose:
    coverage(table, whose)
else:
    print("Nothing is recorded at this scale; the picture of this run is below.")

# %% tags=["hide-input"]
from synthbook.page.tables import aside, plain


def in_short(table, whose):
    """Say how well formed and how varied the samples are, each beside unseen real images."""
    means = table.groupby(["extractor", "metric", "train"]).value.mean()
    names = {family: figures.label(family) for family in families} | {"real": "unseen real"}
    told = []
    for extractor in table.extractor.unique():
        measures = [
            f"{metric} "
            + ", ".join(f"{means[extractor, metric, k]:.2f} ({name})" for k, name in names.items())
            for metric in ("precision", "recall")
        ]
        told.append(f"In {space_of(extractor)}: {'; '.join(measures)}.")
    return (
        f"In short ({whose}, means). {' '.join(told)} Precision level with that of unseen real "
        "images and recall below it: well-formed images that leave out part of the variety."
    )


families = image_sources.families_of(p)
aside(in_short(table, whose)) if whose else None

# %% [markdown]
# *Precision* is the share of generated images that lie among real ones, *recall* the share of real images that lie
# among generated ones {cite:p}`kynkaanniemi2019improved`; *density* and *coverage* are kin of theirs that outliers
# sway less {cite:p}`naeem2020reliable`. None of them is 1 for a perfect generator. So each is measured on a second
# sample of unseen real images too, and only what a generator lacks of *that* is its fault. *Unseen* matters most in the
# classifier's own features: what it was trained on lies apart there, and unseen real images look malformed beside it.

# %% [markdown]
# ## The mechanism
#
# **Diffusion**, here as flow matching ({cite:p}`lipman2023flow`). An image $x$ and noise $\varepsilon$ are the ends of a
# straight line, $x_t = (1-t)\,x + t\,\varepsilon$, and a network learns the velocity $\varepsilon - x$ with which a point
# moves on it. Sampling starts from pure noise, $t = 1$, and follows the velocities to $t = 0$ in a few steps. In training
# the class is hidden now and then, so that the same network also knows images without a class, and both velocities can be
# mixed ({cite:p}`ho2022classifier`):
#
# $$
# \hat v = \hat v_\varnothing + g\,(\hat v_y - \hat v_\varnothing).
# $$
#
# The `guidance_scale` $g$ is 0 for no class, 1 for the class as it was learned, and more to press for it. Networks and
# solvers are diffusers' own. The loss is this function:

# %%
import inspect

from synthbook.generate import diffusion

print(inspect.getsource(diffusion.flow_loss))

# %% [markdown]
# A tiny one, trained now for some seconds on the photographs at 8 pixels, to see it at work. Its images are in no row
# and in no other chapter: a generator needs longer than a page has.

# %%
from synthbook.data import load
from synthbook.generate.unet import DiffusionRecipe
from synthbook.machine import prepare

device = prepare(p.device, p.threads)
real = load(p.data, data_root=p.data_root, image_size=p.image_size)
tiny = load(p.data, data_root=p.data_root, image_size=8)
recipe = DiffusionRecipe(
    channels=(32,), layers_per_block=1, prediction="flow", steps=250, batch_size=16,
    learning_rate=0.004, warmup_steps=20, average="warmed", ema_decay=0.97,
)  # fmt: skip
losses = []
made = diffusion.train_diffusion(
    tiny.train, recipe, seed=0, device=device, on_step=lambda _, loss: losses.append(loss["loss"])
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The demonstration: its loss by training step (left; the dashed line is what a network gets that always says zero), and what it draws from the same noise, a class a column, in more and more denoising steps (right). Nothing else in the book uses it.", "name": "fig-11-demonstration"}, "image": {"alt": "On the left a falling curve of the loss over training steps with a dashed level above it; on the right rows of small images, one row for each number of denoising steps."}}
_, (left, right) = plt.subplots(1, 2, figsize=(8, 2.6), width_ratios=(2, 3))
left.plot(losses, color=figures.color("diffusion"), linewidth=1)
clean = tiny.train.images / 127.5 - 1
left.axhline(1 + np.mean(clean**2), color="grey", linestyle="--", linewidth=0.8)
left.set(xlabel="training step", ylabel="loss", ylim=(0, None))
counts, how = (1, 2, 4, 16), {"guidance_scale": 1.0, "seed": 0, "device": device}
labels = list(range(min(8, len(tiny.classes))))
rows = [diffusion.sample(made, labels, num_inference_steps=n, **how) for n in counts]
titles = [f"{n} steps" if n > 1 else "1 step" for n in counts]
figures.image_grid(np.concatenate(rows), len(counts), len(labels), ax=right, row_titles=titles)
plt.show()

# %% [markdown]
# **GAN** ({cite:p}`miyato2018cgans`). A generator turns noise and a class into an image, a discriminator $D$ tells
# real from generated and gets the class as an inner product with its features. Both minimise the hinge loss
#
# $$
# L_D = \mathbb{E}\,[1 - D(x, y)]_+ + \mathbb{E}\,[1 + D(G(z, y), y)]_+ , \qquad L_G = -\mathbb{E}\,D(G(z, y), y),
# $$
#
# Here $D$ is a projected one ({cite:p}`sauer2021projected`): it sees images through a frozen network with ImageNet
# weights. Nothing in the loss asks for all kinds of real images, and that is the usual reason given for dropped modes. Of
# the generators of both families a moving average of the weights is kept.

# %%
import torch

from synthbook.gans.losses import hinge_discriminator, hinge_generator

of_real, of_generated = torch.tensor([2.0, 0.5]), torch.tensor([-2.0, 0.0])  # D of two images each
by_hand = (1 - of_real).clamp(min=0).mean() + (1 + of_generated).clamp(min=0).mean()
by_hand, hinge_discriminator(of_real, of_generated), hinge_generator(of_generated)

# %% [markdown]
# ## The models
#
# How long a training takes is settled by a rule that was written down before any was run ({doc}`../book/how_to_read`): now
# and then a classifier is trained on a thousand samples and tested on real validation photographs, and the weights of
# the best measurement are kept. Both families have the same minutes.

# %%
for line in gap.make_models(p, real, device=device):  # only with minutes; else they are kept
    print(line)
cards = gap.cards(p, real, seed=p.first_seed, device=device)
curves = gap.curves(cards)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What samples teach while a model is trained, by minutes of training: accuracy on real validation images of a linear classifier on ImageNet features (left; it decides when to stop) and of a small network from scratch (right), both trained on a thousand samples. The grey line is that network trained on all real training images. Look whether a curve still rises at its end: then more minutes would make a better generator.", "name": "fig-11-curves"}, "image": {"alt": "Two line charts of accuracy over minutes of training, one line for each generator, with a grey level for real images in the right one."}}
_, axes = plt.subplots(1, 2, figsize=(8, 2.8), sharey=True)
panels = {"probe": "linear, ImageNet features", "accuracy": "small network from scratch"}
for ax, (metric, title) in zip(axes, panels.items(), strict=True):
    for family, card in cards.items():
        of_family = curves[(curves.family == family) & (curves.metric == metric)]
        look = {"color": figures.color(family), "label": figures.label(family)}
        ax.plot(of_family.minutes, of_family.value, marker="o", markersize=3, **look)
        if metric == "accuracy":
            ax.axhline(card["real_classifier"], color="0.6", linewidth=2, zorder=0)
    ax.set(xlabel="minutes of training", title=title)
axes[0].set(ylabel="accuracy on real images (%)", ylim=(0, None))
if cards:
    axes[0].legend()
plt.show()

# %% [markdown]
# What stands on their cards. *Agreement* is the share of a thousand samples in which a classifier that was trained on all
# real images sees the class that was asked for, in percent:

# %% tags=["hide-input"]
plain(gap.agreement_by_class(cards), decimals=1) if cards else None

# %% [markdown]
# And by guidance scale: the same two accuracies, measured anew on other samples, the Fréchet distance (FD) to validation
# images in ImageNet features, and the mean agreement of the classes. The last line has what real validation images get
# from that classifier, over all of them: where generated ones have less, some do not show what was asked for, also where
# precision finds them well formed.

# %% tags=["hide-input"]
plain(gap.measures_of(cards), decimals=1) if cards else None

# %% [markdown]
# ## The experiment
#
# Each seed draws its own samples of the models, and trains its own classifier of all real images.

# %% tags=["experiment"]
from synthbook.page.progress import progress

run = Run(p)
for seed in progress(p.seeds_list, "seeds"):
    for row in gap.generators(p, real, seed=seed, device=device):
        run.add(**row)

# %%
page = Page(run)
page.agreement()

# %% [markdown]
# ## The pictures
#
# Each row is a class. Can you name what is drawn (fidelity), and do the images differ from each other as much as the real
# ones do (coverage)?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Real training images (left) and samples of the two generators, one class a row. Look for things that have no name, for wrong classes, and for rows whose images all look alike.", "name": "fig-11-samples"}, "image": {"alt": "Three grids of small images side by side: real images, diffusion samples and GAN samples, one row for each class."}}
images = gap.samples(p, real, seed=seed, device=device)  # from the cache
each, classes = 4, range(min(10, len(real.classes)))
grids = [
    some.images[np.concatenate([np.flatnonzero(some.labels == k)[:each] for k in classes])]
    for some in images.values()
]
ends = np.cumsum([len(grid) for grid in grids])[:-1]
_, axes = plt.subplots(1, len(images), figsize=(5.6, 4.5))
for ax, name, grid in zip(axes, images, np.split(figures.light(grids), ends), strict=True):
    names = [real.classes[k] for k in classes] if name == "real" else None
    figures.image_grid(grid, len(classes), each, ax=ax, row_titles=names)
    ax.set_title(figures.label(name))
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first figure of this page again, from this run alone.", "name": "fig-11-coverage-live"}, "image": {"alt": "Dot plots of precision, recall, coverage and density for each generator, a column of panels for each feature space, with a grey reference line for unseen real images."}}
results = run.frame()
unseen = results[results.metric.isin(METRICS) & (results.split == "test")]
coverage(unseen, f"{figures.seeds(results)}, this run")

# %% [markdown]
# **Guidance** presses for the class. The same starting noise and classes, at growing scale:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same images of the diffusion model's bank at growing guidance scale g: each column starts from the same noise; of a class there are three columns beside each other. Compare within a row how much the images of a class differ.", "name": "fig-11-guidance"}, "image": {"alt": "Rows of samples from the same noise, one row for each guidance scale."}}
guided = gap.guided_images(p, real, seed=p.first_seed, each=3, classes=4, device=device)
if guided:
    _, ax = plt.subplots(figsize=(7.4, 0.5 + 0.39 * len(guided)))
    names = [f"g = {g:g}" for g in guided]
    grid = figures.light(guided.values())
    figures.image_grid(grid, len(guided), len(grid) // len(guided), ax=ax, row_titles=names)
    plt.show()

# %% [markdown]
# **Are they copies?** A generator that repeats its training images scores well on all of the above. The test of
# {cite:t}`meehan2020nonparametric` asks whether generated images lie nearer to the training images than held-out real images
# do: a $z$ far below zero, below −3 say, speaks of copying, one far above zero says that the samples stay away from the real
# images. The training images here are `measured` of them, 1,000 of the 2,671: copies of the others would not be found.
# Below, the samples that are nearest to one of these training images, with that image.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The eight samples of each generator that are nearest in pixels to one of the training images that are compared, 1,000 of them at most (upper row of each pair), and that image (lower row). Equal pairs would be copies.", "name": "fig-11-nearest"}, "image": {"alt": "For each generator two rows of eight images: samples, and below each its nearest training image."}}
from synthbook.measure.neighbours import nearest

families, reference = image_sources.families_of(p), images["real"].images
_, axes = plt.subplots(len(families), 1, figsize=(6, 1.75 * len(families)), squeeze=False)
pairs = []
for family in families:
    made = images[family].images
    index, distance = nearest(made, reference)
    chosen = np.argsort(distance, kind="stable")[:8]
    pairs += [made[chosen], reference[index[chosen]]]
of_families = np.split(figures.light(pairs), len(families))
for ax, family, grid in zip(axes[:, 0], families, of_families, strict=True):
    figures.image_grid(grid, 2, 8, ax=ax, row_titles=[figures.label(family), "nearest real"])
plt.show()

# %% [markdown]
# Where $z$ is below −3, look for the copies: with copies, `near_copies` would be far above the 5 % that chance gives, and
# pairs above would be equal. A line a seed, in the classifier's features; *real* are unseen real images, the control:

# %% tags=["hide-input"]
SIGNS = ["copying_z", "near_copies"]
table, whose = page.shown(SIGNS, extractor="classifier", split="train")
signs = table.pivot_table(index="seed", columns=["metric", "train"], values="value")
words = f"Signs of copying, classifier's features ({whose})."
plain(signs.round(3), caption=words) if whose else aside("None were measured here.")

# %% [markdown]
# In the recorded runs the diffusion model has such a $z$ in all five seeds, from −3.1 to −5.3, and between one and three
# points more near copies than unseen real images have in the same seed: 5.4 to 7.2 % against 2.7 to 5.6 %. (The GAN has
# no such $z$, and 3.4 to 4.3 %.) That is more than chance, and much less than a generator that repeats what it has seen
# would have; no pair above is equal. The diffusion model's samples crowd where photographs are dense (their `density`
# exceeds that of unseen real ones), and a sample of a crowd has a near neighbour. The test cannot tell that from copying.
# In ImageNet features, in the table below, there is less of it.

# %% [markdown]
# ## The table
#
# Each measure against unseen real images (`test`) and against the training images (`train`); the column of real images is
# the control, unseen images as well. The *Fréchet distance* {cite:p}`heusel2017gans` mixes fidelity and coverage into
# one number; it is called FID only with Inception features, and FD here. `copying_z` is the test above,
# `near_copies` the share of samples that lie nearer to a training image than all but 5 % of held-out real images do;
# `class_agreement` is the share of samples in which a real-trained classifier sees the class that was asked for, in
# percent. The paper's main text prints none of these. Unseen images are half of the test images (557 as this page is
# set), and of each generator as many samples are compared, with them and with `measured` training images.
#
# Two feature spaces, because one is not neutral: the GAN's discriminator looked through EfficientNet-Lite0 with ImageNet
# weights while it was trained, and a GAN can satisfy just those features. The classifier's features are the other space:
# it learned from the real photographs alone, and neither generator has seen it. Which generator covers more, by recall or
# by coverage, may differ between the two; claim gap-03 of {doc}`12_not_mutual` has both spaces beside.

# %% tags=["hide-input"]
LISTED = ["fd", "fid", "kd", "kid", *METRICS, "copying_z", "near_copies", "class_agreement"]


def listed(table):
    """Return the rows of the table; a classifier's own measure belongs to its features."""
    chosen = table[table.metric.isin(LISTED) & (table.split != "halves")]
    return chosen.assign(extractor=chosen.extractor.fillna("classifier"))


page.table(
    ["extractor", "split", "metric"],
    "train",
    select=listed,
    decimals={"": 3, "fd": 0, "classifier": 3, "class_agreement": 1},
    headings={"extractor": "features", "split": "against"},
)

# %% [markdown]
# ## The claims
#
# No claim of the paper is about the generators alone. Recall stands beside gap-03 of {doc}`12_not_mutual`, and precision
# and recall are parts of gap-07 of {doc}`14_what_an_image_teaches`:

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **Mini.** 2,671 photographs of 32 × 32 pixels; the paper has 45,000 to 50,000 images. The models were trained for
#   minutes on one GPU, not days, and have some four million weights or fewer.
# - **Features.** With Inception weights on the machine, `-p extractor inception` gives FID and KID proper.
# - **The paper's generators** are LSGM and StyleGAN-XL, larger by orders of magnitude. The two families are the same.
#
# ```bash
# papermill notebooks/11_generators.ipynb out.ipynb -p seeds 5
# synthbook run 11_generators --scale small -p data_root=data
# ```
#
# **Your own photographs**, a folder with one folder of images a class: with `minutes`, a model of each family is trained
# on them by the same rule (for so many minutes at most; a training that was stopped goes on when the line is run again)
# and kept. Chapters 12 to 16 find it by the photographs. Samples that you have already go in as they are, as a folder, an
# `.npz` or a diffusers pipeline.
#
# ```bash
# synthbook run 11_generators -p data=my_photos -p image_size=32 -p minutes=30
# synthbook run 12_not_mutual -p data=my_photos -p image_size=32
# synthbook run 11_generators -p 'sources=["real","mine=my_samples"]' -p data=my_photos -p image_size=32
# ```
