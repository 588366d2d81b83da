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
# # The gap is not mutual
#
# **The question.** A classifier trained on generated images does worse on real ones. If the two kinds of image
# merely looked different, the other direction should cost as much: a classifier trained on real images should
# stumble over generated ones. Does it?
#
# **The study's answer.** No. {cite:t}`wang2024improving` train a classifier on each source and test it on every
# source (Table 1 there). From real to generated images little or nothing is lost; from generated to real much is,
# and more with a GAN than with a diffusion model. They take this as the first sign that generators leave things
# out, rather than draw them badly.
#
# **Here.** The same table, with a diffusion model and a GAN that this book trains itself ({doc}`11_generators`),
# once over the images that each classifier was trained on, as in the paper, and once over images it never saw.

# %% tags=["parameters"]
seeds: int = 1  # seeds to run: each draws its own samples and initial weights
first_seed: int = 0  # the first of them
generators: int = 1  # generators trained of each family; seed s uses generator s mod this number
sources: list[str] = ["real", "diffusion", "gan"]  # where training images come from
data: str = "digits"  # a data set's name, a folder of class folders, or an .npz
data_root: str = ""  # where downloaded data sets lie
image_size: int = 0  # side in pixels to resize to; 0 keeps the size
set_size: int = 0  # training images of each source; 0 for as many as there are real ones
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
unconditional: list[str] = ["diffusion"]  # families sampled without a class; the filter labels them
confidence: float = 0.8  # a sample is kept if the filter's classifier is surer than this
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

# %%
from synthbook.data import check, load
from synthbook.errors import InputError
from synthbook.record.parameters import parameters

p = parameters("12_not_mutual", globals())
print(check(p.data, data_root=p.data_root, image_size=p.image_size))
if "real" not in p.sources or len(p.sources) < 2:
    raise InputError(f"sources = {list(p.sources)}; give real and a generator, as in real,gan")

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
# generated to real images is the dear direction. A difference in appearance would cost both ways alike.

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
# samples go through the same filter. Both are done here: the diffusion model is sampled without a class, the GAN
# with one, and a GAN's sample must also be of the class it was asked for (the paper leaves that open). Samples are
# drawn until each class has as many images as in the real training set, so all sources have the same size.

# %% [markdown]
# ## The experiment

# %% tags=["experiment"]
from synthbook.machine import prepare
from synthbook.page.progress import progress
from synthbook.recognize.predict import accuracy
from synthbook.record.rows import Run
from synthbook.studies.gap import train_classifier, training_sets

device = prepare(p.device, p.threads)
real = load(p.data, data_root=p.data_root, image_size=p.image_size)
run = Run(p)
for seed in progress(p.seeds_list, "seeds"):
    where = {"dataset": p.data, "backbone": p.backbone, "seed": seed}
    sets = training_sets(real, p, seed=seed, device=device)
    for train in sets:
        model, _ = train_classifier(p, sets[train].train, seed=seed, device=device)
        for test in sets:
            what = {"method": "plain", "train": train, "test": test, **where}
            for split, images in (("train", sets[test].train), ("test", sets[test].held_out)):
                right = accuracy(model, images, device=device, input_size=p.input_size)
                run.add(metric="top1_accuracy", value=right, split=split, **what)

# %% [markdown]
# What the filter did, for the last seed: how many samples were drawn, and which share of them passed.

# %%
import pandas as pd

pd.DataFrame(
    {
        name: {"drawn": s.info["drawn"], "passed": f"{s.info['share']:.0%}", "kept": s.info["kept"]}
        for name, s in sets.items()
        if s.info
    }
).T

# %% [markdown]
# ## The picture
#
# Read a row from left to right: one classifier, on every source. If the paper's finding shows here, the top row
# (trained on real images) stays level, and in the rows below accuracy goes missing in the left column (real images).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Accuracy in percent by source of the training images (rows) and of the test images (columns), mean over the seeds of this run. Left: test images that the source's own classifier was trained on, as in Table 1 of the paper. Right: images that nothing was trained on. Compare the row of the classifier trained on real images with the column of real test images: if one is darker than the other, the gap is not mutual.", "name": "fig-12-table"}, "image": {"alt": "Two heat maps of accuracy, source of the training images against source of the test images, with the numbers written in: on the left for images trained on, on the right for images never seen."}}
import matplotlib.pyplot as plt

from synthbook.page import figures

figures.style()
rows = run.frame()
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2))
for ax, split, title in zip(
    axes, ("train", "test"), ("images trained on (as Table 1)", "images never seen"), strict=True
):
    matrix = rows[rows.split == split].pivot_table(index="train", columns="test", values="value")
    figures.heatmap(matrix.loc[list(sets), list(sets)], ax, low=rows.value.min(), high=100)
    ax.set(title=title, xlabel="tested on", ylabel="trained on" if split == "train" else "")
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What leaving home costs, in points of accuracy, measured on images never seen. Each bar is a mean over seeds, each dot a seed. Where the two bars of a generator differ, the gap is not mutual.", "name": "fig-12-drops"}, "image": {"alt": "Bars for each generator: the drop from generated to real images and the drop from real to generated images, with a dot for each seed."}}
from synthbook.record.rows import recorded

kept = recorded("12_not_mutual", "mini")
shown = kept if len(kept) else rows
drops = []
for _, of_seed in shown[shown.split == "test"].groupby("seed"):
    a = {(r.train, r.test): r.value for r in of_seed.itertuples()}
    for name in [source for source in p.sources if source != "real"]:
        gap = non_mutual_gap(a, name)
        drops += [
            (name, "generated → real", gap["synthetic_to_real_drop"]),
            (name, "real → generated", gap["real_to_synthetic_drop"]),
        ]
drops = pd.DataFrame(drops, columns=["generator", "direction", "drop"])
fig, ax = plt.subplots(figsize=(6, 2.6))
for place, ((name, direction), group) in enumerate(
    drops.groupby(["generator", "direction"], sort=False)
):
    ax.barh(
        place,
        group["drop"].mean(),
        color=figures.color(name),
        alpha=0.9 if direction.startswith("gen") else 0.4,
    )
    ax.plot(group["drop"], [place] * len(group), ".", color="black", markersize=4)
ax.set_yticks(
    range(place + 1),
    [
        f"{figures.label(n)}: {d}"
        for (n, d), _ in drops.groupby(["generator", "direction"], sort=False)
    ],
)
ax.invert_yaxis()
ax.axvline(0, color="black", linewidth=0.8)
ax.set_xlabel(
    f"points of accuracy lost ({figures.seeds(shown)}, {'recorded runs' if len(kept) else 'this run'})"
)
plt.show()

# %% [markdown]
# ## The table
#
# The paper's generators are LSGM (a diffusion model) and StyleGAN-XL (a GAN), both on CIFAR-10; they stand in the
# lines of ours of the same family. All its figures are over training images.

# %% tags=["hide-input"]
from synthbook.page.tables import comparison
from synthbook.record.published import published

as_ours = {"Real": "real", "LSGM": "diffusion", "SG-XL": "gan"}
paper = published("gap", "T1")
paper = paper.assign(
    train=paper.source.map(as_ours), test=paper.test_source.map(as_ours), split="train"
)
accuracies = [recorded("12_not_mutual", scale) for scale in ("mini", "small_cpu", "small")]
comparison(
    rows, accuracies, paper, index=["split", "train"], columns="test", headings={"split": "images"}
)

# %% [markdown]
# ## The claims
#
# Each line is a claim of the paper as an inequality over the *recorded* rows, one effect a seed. It holds if the
# interval lies above zero, fails if it lies below, and is undecided if it spans zero.

# %% tags=["nbval-check-output"]
from synthbook.claims.decide import verdicts
from synthbook.page.tables import verdict_table

for verdict in verdicts("mini", ids=["gap-01", "gap-02", "gap-03", "gap-09"]):
    print(verdict.id, verdict.verdict)

# %% tags=["hide-input"]
verdict_table(verdicts(ids=["gap-01", "gap-02", "gap-03", "gap-09"]))

# %% [markdown]
# A claim about every generator holds only if each of its parts does. The parts say which generator
# decides, and in which inequality:

# %% tags=["hide-input"]
from synthbook.page.tables import parts_table

parts_table(verdicts("mini", ids=["gap-01", "gap-02", "gap-03", "gap-09"]))

# %% [markdown]
# **Reading them.** The claims speak of generators whose images a real-trained classifier accepts.
# Look at the share of samples that passed the filter (above) before blaming or praising a
# generator: a low share means that the generator's images are malformed, and then its gap is one of
# quality, whatever its coverage. A small diffusion model sampled without a class is in that case;
# it draws better when it is told the class ({doc}`11_generators`).

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **Mini.** 300 scans of digits at 8 × 8 pixels, a small convolutional network from random weights, generators
#   trained for less than a minute. The paper has 45,000 images at 224 pixels, a ResNet-50 with ImageNet weights and
#   200 epochs. The miniature shows whether the *direction* of the effect appears, not its size.
# - **The filter's classifier** is the same small network trained on the same real images; the paper's is a wide
#   residual network that is better than the classifiers it feeds.
# - **Seeds.** In the recorded runs each seed has generators of its own, so the interval includes how a generator
#   happens to turn out. The paper's five runs share one checkpoint of each generator.
#
# ```bash
# papermill notebooks/12_not_mutual.ipynb out.ipynb -p seeds 5
# synthbook run 12_not_mutual --scale small -p data_root=data
# synthbook run 12_not_mutual -p data=my_images/ -p image_size=32
# ```
