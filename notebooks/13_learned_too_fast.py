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
# # 13 Generated images are learned too fast
#
# **The question.** Does a classifier find generated images easier to learn than real ones?
#
# **The study's answer.** Yes. {cite:t}`wang2024improving` plot training and validation accuracy by epoch (Figure 2
# there). On generated images the training accuracy climbs faster in the early epochs and flattens sooner, while
# the validation accuracy stays lower. The task has the same ten classes; if it is easier, then the images must be
# missing what makes it hard: the rare ways in which a class can look.
#
# **Here.** The same curves for real images, diffusion samples and GAN samples, in sets of equal size
# ({doc}`12_not_mutual` says how they are made), validated on real images that nothing was trained on.

# %% tags=["hide-input"]
from synthbook.page.page import answer

answer("13_learned_too_fast")

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

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies import gap, image_sources

p = parameters("13_learned_too_fast", globals())
print(image_sources.check_data(p), image_sources.plan_of_sources(p), sep="\n")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Training accuracy (left) and validation accuracy on real images (right) by epoch, for classifiers trained on each source. Lines are means over seeds, bands one standard deviation. Look at the first epochs: the sooner a curve is up, the easier its images were to learn.", "name": "fig-13-curves"}, "image": {"alt": "Two line charts over epochs, one line for each source of training images: training accuracy on the left, validation accuracy on real images on the right."}}
import matplotlib.pyplot as plt

from synthbook.page import figures
from synthbook.page.page import Page
from synthbook.record.rows import Run

figures.style()
PANELS = {"train_accuracy": "training images", "val_accuracy": "real validation images"}


def curves(table, whose):
    """Draw the accuracies by epoch, a line for each source of training images."""
    fig, axes = plt.subplots(1, 2, figsize=(8, 3.3), sharey=True)
    for ax, (metric, title) in zip(axes, PANELS.items(), strict=True):
        for source in image_sources.sources_of(p):
            chosen = table[(table.metric == metric) & (table.train == source)]
            wide = chosen.pivot_table(index="seed", columns="epoch", values="value")
            figures.band(ax, wide.columns.to_numpy(float), wide.to_numpy(), source)
        ax.set(xlabel="epoch", title=title)
    axes[0].set_ylabel("accuracy (%)")
    axes[0].legend(title="trained on", loc="lower right")
    fig.suptitle(whose, fontsize="medium")
    plt.show()


table, whose = Page(Run(p)).shown(list(PANELS))
if whose:
    curves(table, whose)
else:
    print("Nothing is recorded at this scale; the picture of this run is below.")

# %% tags=["hide-input"]
from synthbook.intervals import interval
from synthbook.page.tables import aside

FASTER = {  # what is read off the curves -> in words, and its sign where images are learned faster
    "early_train_accuracy": ("training accuracy in the first epochs, points", 1),
    "epochs_to_level": ("epochs until it is level", -1),
    "generalisation_gap": ("final training less validation accuracy, points", 1),
}


def in_short(table, whose):
    """Say in how much generated images differ from real ones, and how often as if easier."""
    wide = table.pivot_table(index="seed", columns=["metric", "train"], values="value")
    told, easier, parts = [], 0, 0
    for metric, (words, sign) in FASTER.items():
        numbers = []
        for family in image_sources.families_of(p):
            reach = interval((wide[metric, family] - wide[metric, "real"]).dropna())
            numbers.append(f"{figures.label(family)} {figures.interval_text(*reach)}")
            easier += min(sign * reach.low, sign * reach.high) > 0
            parts += 1
        told.append(f"{words}: {', '.join(numbers)}")
    return (
        f"In short ({whose}), generated less real images: {'; '.join(told)}. Of these {parts} "
        f"intervals {easier} lie on the side of images that are learned faster and teach less."
    )


table, whose = Page(Run(p)).shown([*FASTER])
aside(in_short(table, whose)) if whose and image_sources.families_of(p) else None

# %% [markdown]
# ## The mechanism
#
# Three numbers are read off each pair of curves: the mean training accuracy over the first eighth of the epochs
# (the paper's "early" is fewer than 25 of 200); the epoch at which the training accuracy first reaches 95 % of its
# final value; and the final training accuracy less the final validation accuracy. The two shares are this book's
# reading of the figure, which states no numbers.

# %%
from synthbook.measure.gap import learning_speed

slow, fast = [20, 40, 60, 70, 75, 78, 79, 80], [60, 75, 79, 80, 80, 80, 80, 80]
{name: learning_speed(curve, [70] * 8) for name, curve in (("slow", slow), ("fast", fast))}

# %% [markdown]
# ## The experiment
#
# Equal seeds start from equal weights, whatever the source. The training accuracy is the mean over an epoch while
# it runs; a source's validation images are real ones in each case. Of each curve 20 epochs at most become rows.

# %% tags=["experiment"]
from synthbook.data import load
from synthbook.machine import prepare
from synthbook.page.progress import progress

device = prepare(p.device, p.threads)
real = load(p.data, data_root=p.data_root, image_size=p.image_size)
run = Run(p)
for seed in progress(p.seeds_list, "seeds"):
    for row in gap.learned_too_fast(p, real, seed=seed, device=device):
        run.add(**row)

# %%
print(gap.lowered(p, run.frame()), end="")
page = Page(run)
page.agreement()

# %% [markdown]
# ## The picture
#
# Compare the left ends of the training curves, then the right ends of the validation curves.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first figure of this page again, from this run alone.", "name": "fig-13-curves-live"}, "image": {"alt": "The same two line charts, drawn from this run."}}
results = run.frame()
curves(results, f"{figures.seeds(results)}, this run")

# %% [markdown]
# ## The table
#
# The paper prints the curves without numbers, so there is no column of its own. Accuracies in percent.

# %% tags=["hide-input"]
READ_OFF = ["early_train_accuracy", "epochs_to_level", "final_train_accuracy"]
READ_OFF += ["final_val_accuracy", "generalisation_gap"]
page.table(
    ["metric"],
    "train",
    select={"metric": READ_OFF},
    headings={"metric": "read off the curves"},
)

# %% [markdown]
# ## The claim
#
# It has three parts for each generator, and it holds only if all of them do.

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **Mini.** 1,000 photographs are learned within 40 epochs of 16 steps, so the early phase is five epochs long.
# - **Equal epochs, equal images.** Every source has as many training images, so an epoch has the same number of steps
#   for each.
# - **The filter** of the study keeps samples that a classifier is sure of, under the label that it sees, and both make
#   generated images easier. The second command below does without: every sample is kept, under the class that it was
#   drawn for, and what is left of the effect is not the filter's. (With `confidence` 0 alone every sample is kept too,
#   but still under the label that the classifier sees.) Where the filter cannot fill a class, its bar falls as
#   {doc}`12_not_mutual` says, and the rows name it (`confidence`).
#
# ```bash
# papermill notebooks/13_learned_too_fast.ipynb out.ipynb -p seeds 5
# synthbook run 13_learned_too_fast -p confidence=0 -p 'unconditional=[]'
# synthbook run 13_learned_too_fast --scale small -p data_root=data
# synthbook run 13_learned_too_fast -p data=my_photos -p image_size=32
# synthbook run 13_learned_too_fast -p 'sources=["real","mine=my_samples"]' -p data=my_photos -p image_size=32
# ```
#
# For the line with your photographs alone, {doc}`11_generators` must have trained models of them before (`minutes`). The
# last line takes samples that you have; one and a half times `set_size` of them, equally many a class, must pass the
# filter.
