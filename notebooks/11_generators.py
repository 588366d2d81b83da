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
# the GAN's images down to its poorer coverage of modes, but print no measure of it.
#
# **Here.** A small diffusion model and a small GAN, both told the classes, are trained on the same real training
# images. Later chapters reuse them. This chapter shows their samples, measures fidelity and coverage apart, against real
# images that nothing was trained on, and checks that they draw new images rather than copies.

# %% tags=["hide-input", "nbval-check-output"]
from synthbook.page.page import answer

answer("11_generators")

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
seeds: int = 1  # seeds to run: each draws its own samples and initial weights
first_seed: int = 0  # the first of them
generators: int = 1  # models of each family; seed s uses number s mod this
sources: list[str] = ["real", "diffusion", "gan"]  # images to train on, also your own
data: str = "caltech10"  # a data set's name, a folder of class folders, or an .npz
data_root: str = ""  # where downloaded data sets lie
minutes: float = 0.0  # to train a model of each family for, if none is kept of these images; 0: never
image_size: int = 0  # side in pixels to resize to; 0 keeps the size
guidance_scale: float = 1.0  # of the diffusion model: 1 is as it was learned, more presses for the class
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
measured: int = 1000  # images of each source that are compared
extractor: str = "efficientnet_lite0"  # features of the measures: efficientnet_lite0 or inception
extractor_size: int = 64  # side that images are resized to for efficientnet_lite0
neighbours: int = 5  # k of the nearest-neighbour measures

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies import gap

p = parameters("11_generators", globals())
print(gap.check_generators(p), gap.plan_generators(p), sep="\n")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Precision, recall, density and coverage of each generator against unseen real images, in two feature spaces. Marks are seeds. The grey line is the control: what other unseen real images get, and so what a perfect generator would get. A generator that draws well but leaves things out reaches the line in precision and not in recall.", "name": "fig-11-coverage"}, "image": {"alt": "Dot plots of precision, recall, density and coverage for each generator, one panel for each feature space, with a grey reference line for unseen real images."}}
import matplotlib.pyplot as plt
import numpy as np

from synthbook.page import figures
from synthbook.page.page import Page
from synthbook.record.rows import Run

figures.style()
METRICS = ["precision", "recall", "density", "coverage"]


def coverage(table, whose):
    """Draw the measures of each generator, and those of unseen real images, by feature space."""
    families = gap.families_of(p)
    _, axes = plt.subplots(1, 2, figsize=(8, 2.9), sharey=True)
    places = np.arange(len(METRICS))
    for ax, (space, of_space) in zip(axes, table.groupby("extractor"), strict=True):
        level = of_space[of_space.train == "real"].groupby("metric").value.mean().reindex(METRICS)
        grey = {"color": "0.6", "linewidth": 3, "zorder": 0, "label": "unseen real"}
        ax.hlines(level, places - 0.35, places + 0.35, **grey)
        for k, family in enumerate(families):
            values = of_space[of_space.train == family]
            look = figures.mark(family) | {"linestyle": "", "label": figures.label(family)}
            beside = places[values.metric.map(METRICS.index)] + 0.3 * (k - (len(families) - 1) / 2)
            ax.plot(beside, values.value, **look)
        ax.set_xticks(places, METRICS, rotation=20)
        ax.set_title(f"features: {space}", fontsize="small")
    axes[0].set_ylabel("share, or density")
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title=whose)
    plt.show()


table, whose = Page(Run(p)).shown(METRICS, method="fidelity", split="test")
if whose:
    coverage(table, whose)
else:
    print("Nothing is recorded at this scale; the picture of this run is below.")

# %% [markdown]
# *Precision* is the share of generated images that lie among real ones, *recall* the share of real images that lie
# among generated ones {cite:p}`kynkaanniemi2019improved`; *density* and *coverage* are kin of theirs that outliers
# sway less {cite:p}`naeem2020reliable`. None of them is 1 for a perfect generator. So each is measured on a second
# sample of unseen real images too, and only what a generator lacks of *that* is its fault. *Unseen* matters most in the
# classifier's own features: what it was trained on lies apart there, and unseen real images look malformed beside it.

# %% [markdown]
# ## The mechanism
#
# **Diffusion** ({cite:p}`ho2020denoising`). An image $x$ is mixed with noise $\varepsilon$,
# $x_t = \sqrt{\bar\alpha_t}\,x + \sqrt{1-\bar\alpha_t}\,\varepsilon$, and a network learns to tell the two apart again.
# Sampling starts from pure noise and takes it away in a few steps. In training the class is hidden now and then,
# so that the same network also knows images without a class, and both can be mixed
# ({cite:p}`ho2022classifier`):
#
# $$
# \hat\varepsilon = \hat\varepsilon_\varnothing + g\,(\hat\varepsilon_y - \hat\varepsilon_\varnothing).
# $$
#
# The `guidance_scale` $g$ is 0 for no class, 1 for the class as it was learned, and more to press for it. Networks and
# schedulers are diffusers' own. The loss is this function, whose networks here predict a mixture $v$ of image and noise:

# %%
import inspect

from synthbook.generate.diffusion import prediction_loss

print(inspect.getsource(prediction_loss))

# %% [markdown]
# **GAN** ({cite:p}`miyato2018cgans`). A generator turns noise and a class into an image, a discriminator $D$ tells
# real from generated and gets the class as an inner product with its features. Both minimise the hinge loss
#
# $$
# L_D = \mathbb{E}\,[1 - D(x, y)]_+ + \mathbb{E}\,[1 + D(G(z, y), y)]_+ , \qquad L_G = -\mathbb{E}\,D(G(z, y), y),
# $$
#
# under spectral normalisation. Nothing in it asks for all kinds of real images, and that is the usual reason given
# for dropped modes. Of both networks the moving average of the weights is kept.

# %%
import torch

from synthbook.gans.losses import hinge_discriminator, hinge_generator

of_real, of_generated = torch.tensor([2.0, 0.5]), torch.tensor([-2.0, 0.0])  # D of two images each
by_hand = (1 - of_real).clamp(min=0).mean() + (1 + of_generated).clamp(min=0).mean()
by_hand, hinge_discriminator(of_real, of_generated), hinge_generator(of_generated)

# %% [markdown]
# ## The experiment
#
# Training runs once; the generator is kept, and shared by all chapters.

# %% tags=["experiment"]
from synthbook.data import load
from synthbook.machine import prepare
from synthbook.page.progress import progress

device = prepare(p.device, p.threads)
real = load(p.data, data_root=p.data_root, image_size=p.image_size)
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
# Each row is a class. Are the digits legible (fidelity), and do they differ from each other as much as the real ones
# do (coverage)?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Real training images (left) and samples of the two generators, one class a row. Look for wrong classes, for broken strokes, and for rows whose images all look alike.", "name": "fig-11-samples"}, "image": {"alt": "Three grids of small images side by side: real images, diffusion samples and GAN samples, one row for each class."}}
images = gap.samples(p, real, seed=seed, device=device)  # from the cache
each, classes = 8, range(min(10, len(real.classes)))
_, axes = plt.subplots(1, len(images), figsize=(8, 3.6))
for ax, (name, of_source) in zip(axes, images.items(), strict=True):
    chosen = np.concatenate([np.flatnonzero(of_source.labels == k)[:each] for k in classes])
    names = [real.classes[k] for k in classes] if name == "real" else None
    grid = of_source.images[chosen]
    figures.image_grid(grid, len(classes), each, ax=ax, row_titles=names)
    ax.set_title(figures.label(name))
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first figure of this page again, from this run alone.", "name": "fig-11-coverage-live"}, "image": {"alt": "Dot plots of precision, recall, density and coverage for each generator, one panel for each feature space, with a grey reference line for unseen real images."}}
results = run.frame()
unseen = results[results.metric.isin(METRICS) & (results.split == "test")]
coverage(unseen, f"{figures.seeds(results)}, this run")

# %% [markdown]
# **Guidance** trades variety for fidelity. The same starting noise, with more and more pressure towards the class:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The diffusion model's samples of the first classes from the same noise at growing guidance scale. At 0 the class is ignored; the larger the scale, the more alike the images of a class become.", "name": "fig-11-guidance"}, "image": {"alt": "Rows of samples from the same noise, one row for each guidance scale from 0 to 6."}}
from synthbook.studies.training_sets import generator

if "diffusion" in images:
    strengths = [0.0, 1.0, 2.0, 6.0]
    labels = np.repeat(range(min(4, len(real.classes))), 5).tolist()
    model = generator("diffusion", real, p, seed=p.first_seed, device=device)
    how = {"seed": 0, "num_inference_steps": p.num_inference_steps}
    without = model.sample([None] * len(labels), **how)
    given = [model.sample(labels, guidance_scale=g, **how) for g in strengths[1:]]
    _, ax = plt.subplots(figsize=(8, 2))
    names = [f"g = {g:g}" for g in strengths]
    grid = np.concatenate([without, *given])
    figures.image_grid(grid, len(strengths), len(labels), ax=ax, row_titles=names)
    plt.show()

# %% [markdown]
# **Are they copies?** A generator that repeats its training images scores well on all of the above. The test of
# {cite:t}`meehan2020nonparametric` asks whether generated images lie nearer to the training images than held-out real images
# do: a $z$ far below zero says copying, far above zero says that the samples stay away from the real images. Below,
# the samples that are nearest to a training image, with that image.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The eight samples of each generator that are nearest to a training image in pixels (upper row of each pair), and that image (lower row). Equal pairs would be copies.", "name": "fig-11-nearest"}, "image": {"alt": "For each generator two rows of eight images: samples, and below each its nearest training image."}}
from synthbook.measure.neighbours import nearest

families, reference = gap.families_of(p), images["real"].images
_, axes = plt.subplots(len(families), 1, figsize=(6, 1.75 * len(families)), squeeze=False)
for ax, family in zip(axes[:, 0], families, strict=True):
    made = images[family].images
    index, distance = nearest(made, reference)
    chosen = np.argsort(distance, kind="stable")[:8]
    pairs = np.concatenate([made[chosen], reference[index[chosen]]])
    figures.image_grid(pairs, 2, 8, ax=ax, row_titles=[figures.label(family), "nearest real"])
plt.show()

# %% [markdown]
# ## The table
#
# Each measure against unseen real images (`test`) and against the training images (`train`); the column of real images is
# the control, unseen images as well. The *Fréchet distance* {cite:p}`heusel2017gans` mixes fidelity and coverage into
# one number; it is called FID only with Inception features, and FD here. `copying_z` is the test above,
# `near_copies` the share of samples that lie nearer to a training image than all but 5 % of held-out real images do;
# `class_agreement` is the share of samples in which a real-trained classifier sees the class that was asked for, in
# percent. The paper prints none of these.

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
    decimals=3,
    headings={"extractor": "features", "split": "against"},
)

# %% [markdown]
# ## The claims
#
# No claim of the paper is about the generators alone. Precision and recall in the classifier's features, against unseen
# real images, are one part of a claim of {doc}`14_what_an_image_teaches`, which asks whether missing content or bad
# quality is the larger:

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **Mini.** 300 digits of 8 × 8 pixels. Both generators are trained for less than half a minute on one core; their
#   recipes were settled by looking at training and validation images, before any classifier was compared.
# - **Features.** EfficientNet-Lite0 carries ImageNet weights inside a Python package, so it is always at hand, but
#   digits are far from ImageNet; the classifier's own features are the nearer view. With Inception weights on the
#   machine, `-p extractor inception` gives FID and KID proper.
# - **The paper's generators** are LSGM and StyleGAN-XL, larger by orders of magnitude. The two families are the same.
#
# ```bash
# papermill notebooks/11_generators.ipynb out.ipynb -p gan_steps 2000
# synthbook run 11_generators --scale small -p data_root=data
# synthbook run 11_generators -p data=my_images/ -p image_size=32
# ```
