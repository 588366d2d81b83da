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
# # Two generators, and how to look at them
#
# **The question.** The next chapters train classifiers on generated images. Where do these come from, how close are
# they to the real ones, and how much of the real variety do they cover?
#
# **The study's setting.** {cite:t}`wang2024improving` take ready-made generators of two families: a diffusion model
# (LSGM, {cite:p}`vahdat2021score`) and a GAN (StyleGAN-XL, {cite:p}`sauer2022stylegan`). They put the larger harm of
# the GAN's images down to its poorer coverage of modes, but print no measure of it.
#
# **Here.** A small diffusion model and a small GAN, both told the classes, are trained on the same real training
# images. Later chapters reuse them. This chapter shows their samples and measures fidelity and coverage apart, and
# checks that they draw new images rather than copies.

# %% tags=["parameters"]
seeds: int = 1  # seeds to run: each draws its own samples and initial weights
first_seed: int = 0  # the first of them
generators: int = 1  # generators trained of each family; seed s uses generator s mod this number
sources: list[str] = ["real", "diffusion", "gan"]  # where training images come from
data: str = "digits"  # a data set's name, a folder of class folders, or an .npz
data_root: str = ""  # where downloaded data sets lie
image_size: int = 0  # side in pixels to resize to; 0 keeps the size
diffusion_channels: list[int] = [16, 32]  # widths of the U-Net's levels
diffusion_attention: list[int] = []  # its levels with self-attention, 0 is full size
diffusion_steps: int = 500  # training steps of the diffusion model
diffusion_batch_size: int = 64  # images a step
diffusion_learning_rate: float = 0.003  # of Adam, at its height
diffusion_condition_dropout: float = 0.3  # share of labels hidden while it is trained
guidance_scale: float = 1.0  # of sampling with a class: 1 is the conditional model
num_inference_steps: int = 12  # denoising steps a sample
gan_channels: int = 16  # width of generator and discriminator at full size
gan_latent: int = 32  # numbers in a latent vector
gan_steps: int = 700  # training steps of the GAN
gan_batch_size: int = 32  # images a step, for each of the two networks
gan_learning_rate: float = 0.006  # of both networks
backbone: str = "small_cnn"  # the classifier: small_cnn, resnet18_cifar ..., or a timm name
pretrained: bool = False  # start from ImageNet weights
epochs: int = 40  # passes over the training images
batch_size: int = 64  # images a step
learning_rate: float = 0.002  # of Adam
schedule: str = "constant"  # of the learning rate: constant or cosine
crop_padding: int = 0  # pixels of padding for random crops; 0 for none
flip: bool = False  # mirror half of the training images
input_size: int = 0  # side that batches are resized to for the classifier; 0 for as they are
precision: str = "float32"  # float32, or bfloat16 on a GPU
device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
threads: int = 1  # CPU threads; more of them round sums differently
rows: str = ""  # file to append the rows to; "" is _build/rows/<chapter>.jsonl
measured: int = 1000  # images of each source that are compared
extractor: str = "efficientnet_lite0"  # features of the measures: efficientnet_lite0 or inception
extractor_size: int = 64  # side that images are resized to for efficientnet_lite0
neighbours: int = 5  # k of the nearest-neighbour measures

# %%
from synthbook.data import check, load
from synthbook.record.parameters import parameters

p = parameters("11_generators", globals())
print(check(p.data, data_root=p.data_root, image_size=p.image_size))

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
# The `guidance_scale` $g$ is 0 for no class, 1 for the class as it was learned, and more to press for it. The loss is
# `prediction_loss` in `synthbook.generate.diffusion`; networks and schedulers are diffusers' own.
#
# **GAN** ({cite:p}`miyato2018cgans`). A generator turns noise and a class into an image, a discriminator $D$ tells
# real from generated and gets the class as an inner product with its features. Both minimise the hinge loss
#
# $$
# L_D = \mathbb{E}\,[1 - D(x, y)]_+ + \mathbb{E}\,[1 + D(G(z, y), y)]_+ , \qquad L_G = -\mathbb{E}\,D(G(z, y), y),
# $$
#
# under spectral normalisation. Nothing in it asks for all kinds of real images, and that is the usual reason given
# for dropped modes. Of both networks the moving average of the weights is kept.

# %% [markdown]
# ## The experiment
#
# Training runs once; the result is cached under a hash of code, data and parameters, and shared by all chapters.

# %% tags=["experiment"]
from functools import partial

from synthbook.data import at_most
from synthbook.generate.generators import clone
from synthbook.machine import prepare
from synthbook.measure.copying import copying
from synthbook.measure.features import extractor as extractor_named
from synthbook.measure.fidelity import fidelity, floor
from synthbook.measure.neighbours import nearest
from synthbook.page.progress import progress
from synthbook.randomness import derive
from synthbook.recognize.predict import accuracy, features
from synthbook.record.rows import Run
from synthbook.studies.gap import generator, train_classifier

device = prepare(p.device, p.threads)
real = load(p.data, data_root=p.data_root, image_size=p.image_size)
families = [source for source in p.sources if source != "real"]
reference = at_most(real.train, p.measured)
fresh = at_most(real.test, len(reference))
run = Run(p)
pretrained_features = extractor_named(p.extractor, device, size=p.extractor_size)

for seed in progress(p.seeds_list, "seeds"):
    where = {"dataset": p.data, "seed": seed}
    samples = {}
    for family in families:
        source = generator(family, real, p, seed=seed, device=device)
        like = {"count": len(reference), "seed": derive(seed, "look")}
        samples[family] = clone(source, reference, **like)
    judge, _ = train_classifier(p, real.train, seed=seed, device=device)
    spaces = {
        pretrained_features.name: pretrained_features.cached,
        "classifier": partial(features, judge, device=device, input_size=p.input_size),
    }
    for space, look in spaces.items():
        seen = {"train": look(reference.images), "test": look(fresh.images)}
        how = {"extractor_name": space, "neighbours": p.neighbours, "seed": seed}
        what = {"method": "fidelity", "test": "real", "extractor": space, **where}
        for metric, value in floor(seen["train"], **how).items():
            run.add(train="real", metric=metric, value=value, split="halves", **what)
        for family in families:
            made = look(samples[family].images)
            for split, of_real in seen.items():
                for metric, value in fidelity(of_real, made, **how).items():
                    run.add(train=family, metric=metric, value=value, split=split, **what)
            told = copying(seen["train"], seen["test"], made)
            for metric in ("copying_z", "near_copies"):
                run.add(train=family, metric=metric, value=told[metric], split="train", **what)
    for family in families:
        agreement = accuracy(judge, samples[family], device=device, input_size=p.input_size)
        what = {"method": "fidelity", "metric": "class_agreement", "split": "train", **where}
        run.add(train=family, test="classifier", value=agreement, backbone=p.backbone, **what)

# %% [markdown]
# ## The picture
#
# Each row is a class. Are the digits legible (fidelity), and do they differ from each other as much as the real ones
# do (coverage)?

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Real training images (left) and samples of the two generators, one class a row. Look for wrong classes, for broken strokes, and for rows whose images all look alike.", "name": "fig-11-samples"}, "image": {"alt": "Three grids of small images side by side: real images, diffusion samples and GAN samples, one row for each class."}}
import matplotlib.pyplot as plt
import numpy as np

from synthbook.page import figures

figures.style()
each = 8
classes = range(min(10, reference.num_classes))
fig, axes = plt.subplots(1, 1 + len(families), figsize=(8, 3.6))
for ax, (name, images) in zip(
    np.atleast_1d(axes), {"real": reference, **samples}.items(), strict=True
):
    chosen = np.concatenate([np.flatnonzero(images.labels == k)[:each] for k in classes])
    figures.image_grid(
        images.images[chosen],
        len(classes),
        each,
        ax=ax,
        row_titles=[images.classes[k] for k in classes] if name == "real" else None,
    )
    ax.set_title(figures.label(name))
plt.show()

# %% [markdown]
# **Fidelity and coverage apart.** *Precision* is the share of generated images that lie among real ones, *recall* the
# share of real images that lie among generated ones {cite:p}`kynkaanniemi2019improved`; *density* and *coverage* are
# kin of theirs that outliers sway less {cite:p}`naeem2020reliable`. The *Fréchet distance* {cite:p}`heusel2017gans`
# mixes both into one number; it is called FID only with Inception features, and FD here. No number means much
# without knowing what real images get against each other: that is the grey line.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Precision, recall, density and coverage of each generator against the real training images, in two feature spaces. Dots are seeds. The grey line is what one half of the real images gets against the other half. A generator that draws well but leaves things out is high in precision and low in recall.", "name": "fig-11-coverage"}, "image": {"alt": "Dot plots of precision, recall, density and coverage for the diffusion model and the GAN, one panel for each feature space, with a grey reference line for real images."}}
from synthbook.record.rows import recorded

rows = run.frame()
kept = recorded("11_generators", "mini")
shown = kept if len(kept) else rows
metrics = ["precision", "recall", "density", "coverage"]
fig, axes = plt.subplots(1, 2, figsize=(8, 2.9), sharey=True)
for ax, (space, group) in zip(
    axes,
    shown[shown.method.eq("fidelity") & shown.metric.isin(metrics)].groupby("extractor"),
    strict=True,
):
    for k, metric in enumerate(metrics):
        level = group[(group.metric == metric) & (group.split == "halves")].value.mean()
        ax.plot(
            [k - 0.35, k + 0.35],
            [level, level],
            color="0.6",
            linewidth=3,
            zorder=0,
            label="real, half against half" if not k else None,
        )
        for j, family in enumerate(families):
            values = group[
                (group.metric == metric) & (group.split == "train") & (group.train == family)
            ].value
            look = figures.mark(family)
            ax.plot(
                [k + 0.3 * (j - 0.5)] * len(values),
                values,
                linestyle="",
                marker=look["marker"],
                color=look["color"],
                alpha=0.8,
                label=figures.label(family) if not k else None,
            )
    ax.set_xticks(range(len(metrics)), metrics, rotation=20)
    ax.set_title(f"features: {space}", fontsize="small")
axes[0].set_ylabel("share, or density")
axes[1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title=figures.seeds(shown))
plt.show()

# %% [markdown]
# **Guidance** trades variety for fidelity. The same starting noise, with more and more pressure towards the class:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The diffusion model's samples of the first classes from the same noise at growing guidance scale. At 0 the class is ignored; the larger the scale, the more alike the images of a class become.", "name": "fig-11-guidance"}, "image": {"alt": "Rows of samples from the same noise, one row for each guidance scale from 0 to 6."}}
import dataclasses

if "diffusion" in families:
    scales = [0.0, 1.0, 2.0, 6.0]
    labels = np.repeat(range(min(4, reference.num_classes)), 5)
    source = generator("diffusion", real, p, seed=p.first_seed, device=device)
    grid = np.concatenate(
        [
            dataclasses.replace(source, guidance_scale=g).sample(
                [None] * len(labels) if g == 0 else labels.tolist(), seed=0
            )
            for g in scales
        ]
    )
    fig, ax = plt.subplots(figsize=(8, 2))
    figures.image_grid(
        grid, len(scales), len(labels), ax=ax, row_titles=[f"g = {g:g}" for g in scales]
    )
    plt.show()

# %% [markdown]
# **Are they copies?** A generator that repeats its training images scores well on all of the above. The test of
# {cite:t}`meehan2020nonparametric` asks whether generated images lie nearer to the training images than held-out real images
# do: a $z$ far below zero says copying, far above zero says that the samples stay away from the real images. Below,
# the samples that are nearest to a training image, with that image.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The eight samples of each generator that are nearest to a training image in pixels (upper row of each pair), and that image (lower row). Equal pairs would be copies.", "name": "fig-11-nearest"}, "image": {"alt": "For each generator two rows of eight images: samples, and below each its nearest training image."}}
fig, axes = plt.subplots(len(families), 1, figsize=(6, 1.75 * len(families)), squeeze=False)
flat = reference.images.reshape(len(reference), -1)
for ax, family in zip(axes[:, 0], families, strict=True):
    made = samples[family].images
    index, distance = nearest(made.reshape(len(made), -1), flat)
    chosen = np.argsort(distance, kind="stable")[:8]
    pairs = np.concatenate([made[chosen], reference.images[index[chosen]]])
    figures.image_grid(pairs, 2, 8, ax=ax, row_titles=[figures.label(family), "nearest real"])
plt.show()

# %% [markdown]
# ## The table
#
# All against the real training images. `copying_z` is the test above, `near_copies` the share of samples that lie nearer to a
# training image than all but 5 % of held-out real images do; `class_agreement` is the share of samples in which a
# real-trained classifier sees the class that was asked for, in percent. The paper prints none of these.

# %% tags=["hide-input"]
from synthbook.page.tables import comparison

listed = ["fd", "fid", "kd", "kid", *metrics, "copying_z", "near_copies", "class_agreement"]


def part(table):
    """Return the rows of the table against training images, the extractor's name filled in."""
    if not len(table):
        return table
    chosen = table[table.metric.isin(listed) & (table.split == "train")]
    return chosen.assign(extractor=chosen.extractor.fillna("classifier"))


comparison(
    part(rows),
    [part(recorded("11_generators", scale)) for scale in ("mini", "small_cpu", "small")],
    None,
    index=["extractor", "metric"],
    columns="train",
    decimals=3,
    headings={"extractor": "features"},
)

# %% [markdown]
# ## What later chapters ask of these rows
#
# No claim of the paper is about the generators alone. Precision and recall in the classifier's features are one part
# of claim gap-07 ({doc}`14_what_an_image_teaches`), which asks whether missing content or bad quality is the larger:

# %% tags=["nbval-check-output"]
from synthbook.claims.decide import verdicts

for verdict in verdicts("mini", ids=["gap-07"]):
    print(verdict.id, verdict.verdict)

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
