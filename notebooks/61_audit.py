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
# # 61 Audit your own images
#
# **The question.** You have real images and a generator, or images somebody else has generated. Are they good
# enough to train on, beside the real ones or in their place? Are they copies? What is wrong with them?
#
# **What comes out here** stands below the run in three sentences: whether to use the generated images, instead of the
# real ones or beside them, and whether to publish them. Unless others are named, these are those of the GAN that comes
# with this book, which learned small photographs of ten kinds of things ({doc}`11_generators`). [Name your own
# images](#your-own-images) and run the same page again.
#
# **Before anything else:** keep a folder `test` of real images that your generator has never seen. Without one, three
# tenths of your images are drawn at random to test on. If your generator was trained on them too, no accuracy below
# counts, and the audit cannot always know. It says *stop*, and that the lines about accuracy are void, only where it
# finds copies of them; a generator that has seen them and copies none gets a *warn*, and the accuracies stand. (The
# book's own models have seen the training part of their data set and no more.)
#
# **What the study says.** Wang, Schmedding and Huber (Sec. 3.1) split the gap between generated and real images into
# appearance, content and quality {cite:p}`wang2024improving`, and found that content, what is left out, is most of it.
# Their observations are measurements that anybody can make on any pair of image sets; this chapter makes them on yours.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
data: str = "caltech10"  # real images: a data set's name, a folder of class folders, or an .npz
samples: str = "gan"  # generated images: gan or diffusion (kept models), a folder, or an .npz
test: str = ""  # real images that the generator never saw, to test on; "" for those of the data
data_root: str = ""  # where downloaded data sets lie
image_size: int = 0  # side in pixels to resize to; 0 keeps the size of the real images
skip_unreadable: bool = False  # leave out files that cannot be read, instead of stopping
seeds: int = 5  # seeds to run: each draws its own images, and initial weights
first_seed: int = 0  # the first of them
extractor: str = "efficientnet_lite0"  # features to measure in; inception gives FID
neighbours: int = 5  # k of precision, recall, density and coverage
most_images: int = 400  # of each set, for the measures
train_images: int = 160  # real images to train classifiers on, at most; 0 takes all
confidence: float = 0.8  # an image without a label gets one if the classifier is surer than this
guidance_scale: float = 1.0  # of the diffusion model: 1 is the conditional model
backbone: str = "small_cnn"  # the classifier: small_cnn, resnet18_cifar ..., or a timm name
pretrained: bool = False  # start from ImageNet weights
epochs: int = 20  # passes over the training images
batch_size: int = 64  # images a step
learning_rate: float = 0.002  # of Adam
schedule: str = "constant"  # of the learning rate: constant or cosine
crop_padding: int = 0  # pixels of padding for random crops; 0 for none
flip: bool = False  # mirror half of the training images
input_size: int = 0  # side that batches are resized to for the classifier; 0 for as they are
remedies: list[str] = ["RG"]  # ways to train on both, besides mixing (Aug)
guide_backbone: str = "efficientnet_lite0"  # the frozen network of Pretrained Guidance
guide_input_size: int = 64  # side that its images are resized to
lambda_3: float = 10.0  # weight of Pretrained Guidance
precision: str = "float32"  # float32, or bfloat16 on a GPU
device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
threads: int = 1  # CPU threads; more of them round sums differently
rows: str = ""  # file to append the rows to; "" is _build/rows/<chapter>.jsonl

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies import audit

p = parameters("61_audit", globals())
print(audit.check_inputs(p))

# %% tags=["experiment"]
from synthbook.machine import prepare
from synthbook.page.progress import progress
from synthbook.record.rows import Run

settings = audit.settings_of(p, device=prepare(p.device, p.threads))
run = Run(p)
report = audit.audit(p.data, p.samples, settings, progress=progress)
for row in report.rows():
    run.add(**row)
for name in report.skipped:
    print(f"left out, unreadable: {name}")
splits, pool = report.real, report.pool.everything
print(
    f"real: {len(splits.train):,} to train on, {len(splits.test):,} unseen; generated: {len(pool):,}. {report.pool.note}"
)
verdict = audit.advise(report)
verdict

# %% [markdown]
# The three sentences in the box are the bottom line. Below it stands what it rests on, the gravest first. Each line
# compares the generated images with unseen real ones, or training on them with training on real images, in this run;
# brackets are 95 % intervals of the seeds by Student's t (for shares of copies, over images).
#
# - *stop*: do not use or publish them as they are. *warn*: read it. *ok*: nothing was found.
# - *void*: another finding takes away what the line rests on, so that its number says nothing. Of a generator that has
#   seen the test images no accuracy counts; of copies it is no merit to lie near the training images; and where a
#   classifier gave the labels, it agrees with itself.
# - *undecided*: the seeds do not tell. Accuracy takes five of them or more, and of all the differences those are called
#   decided that pass Holm's correction: the chance that one or more of them are none is 5 %
#   then. Copies are counted without that correction, since it is worse to miss them than to look once more.
# - *Aug* mixes both sets, *RG* is Real Guidance: [What do they teach?](#what-do-they-teach)
#
# The rules are a table in `synthbook.studies.audit.rules`. The severities of those that depend least on the machine:

# %% tags=["nbval-check-output"]
severities = {line.topic: line.severity for line in verdict.lines}
for topic in ("equal images", "near copies", "test images", "in place of real images"):
    print(f"{topic}: {severities[topic]}")
print(f"publish: {verdict.conclusion.publish}")

# %% [markdown]
# ## Your own images
#
# | parameter | may be |
# |---|---|
# | `data` | a data set's name, a folder of class folders, an `.npz` with `images` and `labels` (and `names`) |
# | `samples` | `gan` or `diffusion`: the model of that family that was trained on `data` and is kept, which for photographs of your own chapter 11 makes with `minutes`; or a folder or `.npz` of images with the same class names; or one without labels (images directly in a folder, an `.npz` with `images` only), which a classifier trained on the real images then labels |
# | `test` | a folder of class folders or an `.npz` of real images that the generator has never seen; then all of `data` are training images. Without it, a folder `test` beside `train` in `data` is taken, or else three tenths of `data` |
# | `train_images` | how many real images classifiers are trained on at most, for the time that it takes: 0 takes all, and is what to ask before a decision. Likeness and copies do not depend on it |
# | `backbone` | the network to ask with, and the answer is its own: a small network from random weights, the default, gains from images that one with ImageNet weights does not need. For photographs ask with the one that you mean to train, such as `-p backbone=efficientnet_lite0 -p pretrained=true -p image_size=64 -p epochs=5 -p learning_rate=0.0005` (a training on 216 photographs takes 12 seconds of one core then, the audit some five minutes) |
# | `remedies` | ways to train on both, besides mixing them: some of `Adp`, `ADDA`, `DADA`, `DANN`, `LTDA`, `A-GEM`, `PG-R+PG-F`, `RG`, `RG+PG-R`, `RG+PG-F`, `RG+PG-R+PG-F`, `sum`, `PCGrad`; or on generated images with a guide: `PG-L1`, `PG-KL` |
#
# ```bash
# synthbook run 61_audit -p data=my_photos -p samples=my_samples -p test=my_test -p image_size=32 -p train_images=0 --output report.ipynb
# papermill notebooks/61_audit.ipynb report.ipynb -p samples diffusion -p guidance_scale 4.0
# synthbook run 61_audit --scale small -p data_root=data
# ```
#
# `--output` names the notebook to write (else it lies in `_build/runs`). `jupyter-book build report.ipynb --config
# CLONE/_config.yml` makes a page for a browser of it; CLONE is the folder of the book, whose settings keep it from
# running the audit again; its warnings of what is not beside the report do not matter. `synthbook run` and Python fit
# `epochs` to your images unless they are given; papermill and Jupyter do not, and the check says so. From Python,
# without the pictures:
#
# ```python
# from synthbook.studies.audit import advise, audit
#
# report = audit("my_photos", "my_samples", test="my_test", image_size=32, train_images=0)
# verdict = advise(report)
# print(verdict)  # or verdict.conclusion.use, .place, .publish
# ```

# %% [markdown]
# ## Both, side by side
#
# Nothing here replaces a look at both sets at the same size: a wrong crop, a washed-out tint or classes in the wrong
# order show at once. A generator of the book has seen the real *training* images only.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Random images, a row a class (the first ten): real training images on the left, generated ones on the right.", "name": "fig-61-images"}, "image": {"alt": "Two grids of images with a row for each class: real images on the left and generated images on the right."}}
import matplotlib.pyplot as plt
import numpy as np

from synthbook.page import figures
from synthbook.page.tables import plain

figures.style()
names = [str(name)[:14] for name in splits.classes[:10]]
fig, axes = plt.subplots(1, 2, figsize=(8, 0.42 * len(names) + 0.5))
shown = figures.light(audit.by_class(images, 8) for images in (splits.train, pool))
for ax, images, title in zip(axes, np.split(shown, 2), ("real", "generated"), strict=True):
    figures.image_grid(images, len(names), 8, ax=ax, row_titles=names)
    ax.set_title(title)
plt.show()

# %% [markdown]
# ## How near are they?
#
# Every measure is taken twice in the same way: generated images against the training images, and *unseen real images*
# (the test split) against the training images. The second is what a perfect generator would reach with as many images;
# the first number alone means little. A seed draws half as many images as the smallest of the three sets has.
#
# - **Fréchet distance** and **kernel distance**: how far apart the two clouds of features are, lower is nearer. They
#   are called FID and KID only with `-p extractor inception`.
# - **Precision**: share of generated images within reach of a real one (its `neighbours`-th neighbour). Low: distorted
#   images. **Density** counts how many real images reach each.
# - **Recall**: share of real images within reach of a generated one. Low: kinds of images are missing. **Coverage** is
#   the share of real images with a generated one within *their own* reach. Outliers among the generated images cannot
#   raise it, but it is near its ceiling sooner, so that recall may fall where it does not.

# %% tags=["hide-input"]
print(
    f"features: {report.identity['extractor']}; {report.nearness['n_real'][0]:.0f} images on either side"
)
titles = {"fid": "FID", "fd": "Fréchet distance", "kid": "KID", "kd": "kernel distance"}
titles |= {name: name for name in ("precision", "density", "recall", "coverage")}
table = run.frame().query("method == 'audit'").groupby(["metric", "train"])["value"]
table = table.agg(audit.spread).unstack().reindex(titles).dropna().rename(titles)
table = table.rename(columns={"real": "unseen real images"})
plain(table, caption="The two distances: lower is nearer. The four shares: higher is nearer.")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The four shares, for generated images (filled) and for unseen real images (hollow), a dot a seed. The distance between the two is the gap; where recall and coverage fall back further than precision, more is missing than distorted.", "name": "fig-61-fidelity"}, "image": {"alt": "Dots for precision, density, recall and coverage of generated images and of unseen real images, one dot a seed."}}
fig, ax = plt.subplots(figsize=(6.4, 2.8))
shares = ["precision", "density", "recall", "coverage"]
for shift, suffix, title, face in (
    (-0.14, audit.FLOOR, "unseen real images", "white"),
    (0.14, "", "generated", figures.PALETTE[1]),
):
    look = {"facecolors": face, "edgecolors": "black" if suffix else face, "label": title}
    points = [
        (v, y + shift) for y, name in enumerate(shares) for v in report.nearness[name + suffix]
    ]
    ax.scatter(*zip(*points, strict=True), s=46, **look)
ax.set_yticks(range(4), shares)
ax.set_ylim(3.5, -0.5)
ax.set_xlabel("share (density: a mean number, may pass 1)")
ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=2)
plt.show()

# %% [markdown]
# ## Are they copies?
#
# A generator can score well by repeating its training images. Three checks, each with unseen real images for
# comparison:
#
# 1. *Equal images*, byte for byte, over all images, also against the *test* images: a generator that has seen those
#    makes every accuracy below worthless.
# 2. *Near copies.* With $x$ generated, $t$ its nearest training image and $t'$ that one's nearest neighbour among the
#    training images,
#
#    $$
#    c(x) = \frac{\lVert x - t \rVert}{\lVert t' - t \rVert}, \qquad \text{near copy if } c(x) < \frac{1}{2} ,
#    $$
#
#    on thumbnails of at most 16 pixels, against all training images. Dividing by the spacing around $t$ follows the
#    extraction attack of Carlini et al. (2023): near means little where images are dense anyway. Below one half, $x$ is
#    nearer to $t$ than the point half-way to its neighbour is, so it is not an even mixture of training images.
# 3. The *data-copying test* of Meehan, Chaudhuri and Dasgupta on features {cite:p}`meehan2020nonparametric`: do
#    generated images lie nearer to the training images than unseen real ones do? Its score is about 0 if they lie
#    equally near, and below −3 if nearer.
#
# Shifted or cropped copies escape the second check and may escape the third.

# %% tags=["hide-input"]
plain(audit.copies_table(report), caption="Copies, beside what unseen or training images have.")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The eight closest pairs, the closest first: a generated image above its nearest training image, and c of the pair. Below 0.5 it is a near copy. Look whether the two show the same picture.", "name": "fig-61-pairs"}, "image": {"alt": "Eight columns of two images: generated above, nearest training image below, with their relative distance."}}
copies = report.copies
count = min(8, len(copies.index))
above, below = pool.images[copies.index[:count]], splits.train.images[copies.nearest[:count]]
fig, ax = plt.subplots(figsize=(8, 2.2))
titles = [f"{c:.2f}" for c in copies.relative[:count]]
pairs = figures.light([above, below])
figures.image_grid(pairs, 2, count, titles, ax, row_titles=["generated", "training"])
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The relative distance c of generated images and of unseen real images. What lies left of the line is a near copy; a generator without copies has no more there than the unseen images have.", "name": "fig-61-copies"}, "image": {"alt": "Two histograms of the relative distance to the nearest training image, for generated and for unseen real images, with a line at one half."}}
fig, ax = plt.subplots(figsize=(7, 3.0))
ratios = {"unseen real images": copies.relative_unseen, "generated": copies.relative}
edges = np.linspace(0, np.quantile(np.concatenate(list(ratios.values())), 0.99), 41)
outline = {"color": "black", "histtype": "step", "linewidth": 1.6}
filled = {"color": figures.PALETTE[1], "alpha": 0.6}
for (name, values), look in zip(ratios.items(), (outline, filled), strict=True):
    ax.hist(values, edges, weights=np.full(len(values), 100 / len(values)), label=name, **look)
ax.axvline(0.5, color=figures.PALETTE[0], linestyle="--", linewidth=1.5, label="near copy below")
ax.set(xlabel="relative distance c to the nearest training image", ylabel="percent of images")
ax.set_xlim(left=0)
ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=3, columnspacing=1.0)
plt.show()

# %% [markdown]
# ## What do they teach?
#
# A classifier is trained on real images alone, on generated ones alone, and in several ways on both; all are tested on
# the real test images, which none has seen. A seed's classifiers start from the same weights and take as many updates as
# the one on real images. (With fewer generated than real images, the one on generated images sees them more often.)
#
# - *Aug* draws its batches from both sets mixed. It takes no method, so it is what the others have to beat; and it
#   shows a real image half as often as training on real images alone does.
# - Others take a batch of *each* set at every update, and so see twice as many images. *sum*, not run by default,
#   only adds the two gradients up.
# - *RG*, Real Guidance, first takes out of the generated images' gradient what points against the real one's
#   ({doc}`16_real_guidance`).
# - *PG-R* and *PG-F*, Pretrained Guidance, hold the distances between the features of real or generated images to those
#   of a frozen network with ImageNet weights, with the weight `lambda_3` ({doc}`15_pretrained_guidance`). *DANN* trains
#   features in which a second network cannot tell the two sets apart. None of these runs by default.
# - *PG-L1* and *PG-KL* are Pretrained Guidance on the generated images alone: they need no real image beside the guide,
#   so they count where generated images take the place of real ones, not as training on both.
#
# So a gain of RG over Aug may come from the second batch rather than from the guidance: add `sum` to `remedies` to
# tell. Classifiers are trained here on `train_images` of the real images, for the time that it
# takes, while a generator of the book has learned from all of them, which flatters its images: with `-p train_images=0`
# they know the same. Where real images alone are nearly always right, little can be gained.
# The classifiers are also tested on generated images that were kept back, for both directions of the gap
# ({doc}`12_not_mutual`).

# %% tags=["hide-input"]
lessons = report.lessons
print(f"{lessons.updates:,} updates each, rounded to whole epochs; percent right and points")
plain(audit.lessons_table(report), caption="What each training reaches, and what it gains.")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What each way of training on both gains over real images alone, in points of accuracy on unseen real images: large marks are means, with the interval over seeds, dots single seeds. The dashed line is what mixing gains. Generated images alone, by whatever method, stand in the table.", "name": "fig-61-remedies"}, "image": {"alt": "A line for each way of training on both: points of accuracy gained or lost against real images alone, with interval and a dot a seed."}}
fig, ax = plt.subplots(figsize=(6.4, 0.45 * len(lessons.on_both) + 1.0))
alone = np.array(lessons.accuracy["real", "real"])
for place, name in enumerate(lessons.on_both):
    look, gain = figures.mark(name), np.array(lessons.accuracy[name, "real"]) - alone
    gap = report.comparisons[name, "real"].gap
    ax.plot(gain, [place + 0.25] * len(gain), ".", color="#777777", markersize=7)
    ax.hlines(place, gap.low, gap.high, color=look["color"], linewidth=3)
    ax.plot(gap.mean, place, look["marker"], color=look["color"], markersize=9)
    if name == audit.AUG:
        ax.axvline(gap.mean, color=look["color"], linestyle="--", linewidth=1.2)
ax.axvline(0, color="black", linewidth=0.8)
ax.set_yticks(range(len(lessons.on_both)), lessons.on_both)
ax.set_ylim(len(lessons.on_both) - 0.4, -0.6)
ax.set_xlabel(f"points of accuracy against real images alone ({alone.mean():.1f} %)")
plt.show()

# %% [markdown]
# ## What is in a single image?
#
# The loss that an image gives under a classifier trained on the *other* source says what it would teach
# ({doc}`14_what_an_image_teaches`). A generated image of near-zero loss repeats what the real images have taught. One
# of high loss is either new, or wrong: only a look at it tells.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Loss of generated images under classifiers trained on real images, of unseen real images under the same ones, and of unseen real images under classifiers trained on generated images (an image's loss is its mean over seeds, so that fewer lie at either end than in the shares of the box, which are counted seed by seed). A curve that starts high has many images that teach nothing; one that ends late has many that are contradicted.", "name": "fig-61-losses"}, "image": {"alt": "Three cumulative curves of the loss on a logarithmic axis."}}
fig, ax = plt.subplots(figsize=(8, 3.0))
blue, orange = figures.PALETTE[:2]
for losses, name, color, line in (
    (lessons.losses, "generated, by real", orange, "-"),
    (lessons.losses_unseen, "unseen real, by real", "black", "--"),
    (lessons.losses_back, "unseen real, by generated", blue, "-."),
):
    share = np.linspace(0, 100, len(losses))
    ax.plot(np.sort(np.maximum(losses, 1e-4)), share, label=name, color=color, linestyle=line)
for limit in (0.01, 1):
    ax.axvline(limit, color="#999999", linewidth=1, linestyle=":")
ax.set_xscale("log")
ax.set(xlabel="loss in nats (dotted: 0.01 and 1)", ylabel="percent of images up to it")
place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "alignment": "left"}
ax.legend(title="images, by a classifier trained on", title_fontsize=12, **place)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The generated images with the highest loss, with the label they came with. Is it the wrong label, a broken image, or a rare but right one?", "name": "fig-61-highest"}, "image": {"alt": "The twelve generated images with the highest loss and their labels."}}
highest = np.argsort(-lessons.losses, kind="stable")[:12]
fig, ax = plt.subplots(figsize=(8, 1.4))
titles = [str(splits.classes[k])[:12] for k in lessons.sample.labels[highest]]
figures.image_grid(figures.light(lessons.sample.images[highest]), 1, len(highest), titles, ax)
if max(map(len, titles)) > 3:
    ax.tick_params(axis="x", labelrotation=40)
plt.show()

# %% [markdown]
# ## What kind of gap is it?
#
# The study's three factors (Sec. 3.1), as far as the measures above can stand for them: *appearance* is how well a
# linear classifier tells generated from training images, *content* the share of real images that no generated one
# comes near (1 − recall), *quality* the share of generated images that come near no real one (1 − precision). The
# paper argues from accuracies and measures none of them directly; these stand-ins are this book's.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The three parts of the gap, 0 = no gap, with the intervals over seeds; hollow marks are what unseen real images get. Only what passes the hollow mark is the generator's doing.", "name": "fig-61-taxonomy"}, "image": {"alt": "Three bars for appearance, content and quality gap, each with a hollow mark for unseen real images."}}
from synthbook.intervals import interval

fig, ax = plt.subplots(figsize=(6.4, 2.4))
kinds = ["appearance", "content", "quality"]
means, low, high = np.transpose([interval(report.nearness[name]) for name in kinds])
floors = [np.mean(report.nearness[name + audit.FLOOR]) for name in kinds]
ax.barh(kinds, means, color=figures.PALETTE[1], alpha=0.8, height=0.6, label="generated")
ax.hlines(kinds, low, high, color="black", linewidth=2)
hollow = {"markerfacecolor": "white", "markeredgecolor": "black", "linestyle": ""}
ax.plot(floors, kinds, "o", label="unseen real images", **hollow)
ax.set_ylim(2.5, -0.5)
ax.set(xlim=(0, 1), xlabel="size of the gap")
ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=2)
plt.show()

# %% [markdown]
# ## What was simplified
#
# - **Generated images of your own** are brought to the size, the crop and the channels of the real ones. Files that
#   went through another resizing or compression differ for that reason alone: export both the same way.
# - **Without labels**, a classifier trained on the real images labels those it is sure of (`confidence`), as the study
#   did for its unconditional generator. The lines on training and on labels are then about the images that passed, and
#   those that failed are missing from them, and agree with real images for that reason alone, which flatters the
#   direction from real to generated. All other lines are about all images.
# - **The features** come from a network trained on photographs. For X-rays or drawings they see less; compare
#   with the row of unseen real images, which were seen by the same eyes.
# - **Copies** are looked for among `most_images` generated images; raise it to search them all before you publish.
# - **Remedies** have the settings that the book's chapters use, not the best ones for your images; the learning rate
#   is the one of plain training. What is listed as undecided may still help: the interval only says that these seeds
#   cannot tell.
# - **Test images** choose nothing here. They are the same for every seed, so the intervals tell what seeds change, and
#   not what other test images would: a few dozen of them can mislead all seeds alike.
#
# How to run it larger stands at [Your own images](#your-own-images).
