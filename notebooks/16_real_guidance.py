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
# # 16 Real Guidance
#
# **The question.** Somebody has a few real images and a generator that draws as many more as are wanted. How should
# a classifier learn from both? Mixed, the few drown in the many. One after the other, the first are forgotten. Could
# the few real images watch over what the many generated ones teach?
#
# **The study's answer.** {cite:t}`wang2024improving` compute two gradients in each step, one on real images and one
# on generated ones. Where they point apart by more than 90 degrees, the generated one is turned until it is
# perpendicular to the real one; then both are added (*Real Guidance*, RG). Alone, and with
# {doc}`15_pretrained_guidance` on both kinds of image, it is above mixing the two sets in every column of Table 4
# there, and domain adaptation in two stages is far below.
#
# **Here.** Every row of that table, on photographs of ten kinds of thing with ten real ones a kind; how accuracy changes
# with the number of real images; and the question that its table cannot answer: is it the projection that counts, or
# only that real images fill half of every step? Generators that know these hundred photographs and no others, the three
# weights of the method, and the readings that the paper leaves open are parts of their own, in [a
# section](#three-further-parts) that says so where nothing is recorded yet.

# %% tags=["hide-input"]
from synthbook.page.page import answer

answer("16_real_guidance")

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
seeds: int = 1  # seeds to run: each draws its own samples and initial weights
first_seed: int = 0  # the first of them
generators: int = 1  # models of each family; seed s uses model s mod this number
sources: list[str] = ["real", "diffusion", "gan"]  # images to train on, also your own
data: str = "caltech10"  # a data set's name, a folder of class folders, or an .npz
data_root: str = ""  # where downloaded data sets lie
image_size: int = 0  # side in pixels to resize to; 0 keeps the size
set_size: int = 1000  # training images of each source, equally many a class; 0: all
guidance_scale: float = 1.0  # of the diffusion model where it is told a class; 1: unguided
unconditional: list[str] = ["diffusion", "gan"]  # the filter labels them, not the class asked for
confidence: float = 0.8  # a sample is kept if the filter's classifier is surer than this
backbone: str = "small_cnn"  # the classifier: small_cnn, resnet18_cifar ..., or a timm name
pretrained: bool = False  # start from ImageNet weights
epochs: int = 40  # passes over the training images
batch_size: int = 64  # images a step
learning_rate: float = 0.002  # of Adam
crop_padding: int = 0  # pixels of padding for random crops; 0 for none
flip: bool = False  # mirror half of the training images
input_size: int = 16  # side that batches are resized to for the classifier; 0 for as they are
precision: str = "float32"  # float32, or bfloat16 on a GPU
device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
threads: int = 1  # CPU threads; more of them round sums differently
rows: str = ""  # file to append the rows to; "" is _build/rows/<chapter>.jsonl
parts: list[str] = ["methods"]  # some of methods, same_images, real_images, sensitivity, readings
methods: list[str] = ["Aug", "RG"]  # of those in the table below, as plain, sum, RG+PG-R+PG-F
method_settings: list[str] = []  # numbers of methods, such as the meta_rate of LTDA
guide_backbone: str = "efficientnet_lite0"  # the frozen network of Pretrained Guidance
guide_input_size: int = 64  # side that its images are resized to
guide_pretrained: bool = True  # false: random weights, a control
lambda_1: float = 1.0  # weight of the real gradient
lambda_2: float = 1.0  # weight of the projected synthetic gradient
lambda_3: list[float] = [10.0]  # weights of the guidance; of several, one is chosen
lambdas: list[float] = [0.1, 1.0, 10.0]  # values of each weight in the part on sensitivity
shots: int = 10  # real images a class where there are few; 0 for all there are
n_real: list[int] = [2, 10, 50]  # real images a class in the part on their number
synthetic_ratio: float = 0.0  # generated images for each real one; 0 for all there are

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies.real_guidance import RealGuidance, check_real_guidance

p = parameters("16_real_guidance", globals())
print(check_real_guidance(p))
print(RealGuidance.plan(p))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How far methods are above mixing both kinds of image (Aug), in points of accuracy on real test images, seed by seed: with the same real and generated images and the same initial weights. RG is Real Guidance, RG + PG-R + PG-F the whole proposed method, with Pretrained Guidance on both kinds of image; DANN is domain adaptation in one stage, ADDA, DADA and LTDA are in two. Dots are seeds, bars the 95 % interval of their mean, which is written on the right. Right of zero a method is better than mixing.", "name": "fig-16-differences"}, "image": {"alt": "For each generator, differences in accuracy with intervals: RG, RG with Pretrained Guidance on both kinds of image, DANN, ADDA, DADA and LTDA, each minus Aug."}}
import matplotlib.pyplot as plt

from synthbook.page import figures
from synthbook.page.page import Page, matching
from synthbook.record.rows import Run
from synthbook.studies.image_sources import families_of
from synthbook.studies.real_guidance import ALL_OURS

figures.style()
families = families_of(p)
TABLE_4 = {"metric": "top1_accuracy", "part": "methods"}
PAIRS = [(name, "Aug") for name in ("RG", ALL_OURS, "DANN", "ADDA", "DADA", "LTDA")]


def by_generator(table):
    """Return rows with the generator of their images in a column of its own."""
    return table.assign(generator=table.train.str.rsplit("+").str[-1])


def differences(table, pairs, whose, decimals=1):
    """Draw how much the first method of each pair is above the second, seed by seed."""
    keys = ["generator", "seed"]
    wide = by_generator(table).pivot_table(index=keys, columns="method", values="value")
    label = figures.label
    apart = {f"{label(a)} − {label(b)}": wide[a] - wide[b] for a, b in pairs if {a, b} <= {*wide}}
    panels = {
        family: {text: change[family].dropna() for text, change in apart.items()}
        for family in families
    }
    if apart:
        figures.differences(panels, f"points of accuracy ({whose})", decimals)
        plt.show()
    else:
        print("No two methods that are compared here were trained.")


table, whose = Page(Run(p)).shown(**TABLE_4)
if whose:
    differences(table, PAIRS, whose)
else:
    print("Nothing is recorded at this scale; the picture of this run is below.")

# %% tags=["hide-input"]
from synthbook.intervals import interval
from synthbook.page.tables import aside


def in_short(table, whose):
    """Say which methods are above or below mixing both kinds of image, with every generator."""
    keys = ["generator", "seed"]
    wide = by_generator(table).pivot_table(index=keys, columns="method", values="value")
    sides = {"above it by their intervals with every generator": [], "below it": [], "neither": []}
    above, below, neither = sides
    for name in [a for a, b in PAIRS if {a, b} <= {*wide}]:
        apart = (wide[name] - wide["Aug"]).dropna().groupby("generator")
        reaches = [interval(values) for _, values in apart]
        side = above if all(reach.low > 0 for reach in reaches) else neither
        side = below if all(reach.high < 0 for reach in reaches) else side
        sides[side].append(figures.label(name))
    mixing = wide["Aug"].groupby("generator").mean()
    levels = ", ".join(f"{figures.label(f)} {mixing[f]:.1f} %" for f in families if f in mixing)
    told = (f"{side}: {', '.join(names) or 'no method'}" for side, names in sides.items())
    return (
        f"In short ({whose}): mixing both kinds of image (Aug) reaches {levels}. Of the methods in "
        f"the figure, {'; '.join(told)}."
    )


aside(in_short(table, whose)) if whose and "Aug" in {*table.method} else None

# %% [markdown]
# ## The mechanism
#
# Let $g_r$ be the gradient of the loss on a batch of real images and $g_f$ that on a batch of generated (fake) ones,
# both over all parameters of the network. Equation 2 of the paper:
#
# $$
# g_f^{\mathrm{new}} = \begin{cases} g_f - \frac{g_f^\top g_r}{g_r^\top g_r}\, g_r & \text{if } g_f^\top g_r < 0 \\ g_f & \text{otherwise} \end{cases}
# \qquad\qquad
# g_{\mathrm{update}} = \lambda_1\, g_r + \lambda_2\, g_f^{\mathrm{new}} .
# $$
#
# With $\lambda_1 = 0$ and $\lambda_2 = 1$ this is A-GEM {cite:p}`chaudhry2019efficient`: real images then forbid
# directions but teach nothing themselves. In the library it is a function of two vectors, and one that does the
# same to the `.grad` of a network in place, with one more copy of the gradients and nothing else:

# %%
import math

import torch

from synthbook.recognize.methods.real_guidance import projected, real_guidance_, take_gradients


def pair(degrees):
    """Return a real and a synthetic gradient at this angle, as made-up vectors of two numbers."""
    angle = math.radians(degrees)
    return torch.tensor([1.0, 0.0]), 1.8 * torch.tensor([math.cos(angle), math.sin(angle)])


for degrees in (60, 130):
    g_r, g_f = pair(degrees)
    g_f_new = projected(g_f, g_r)
    print(f"{degrees} degrees: g_f {g_f.numpy().round(2)} -> {g_f_new.numpy().round(2)}")

network = torch.nn.Parameter(torch.zeros(2))
network.grad = g_r.clone()  # as backward() on real images leaves it
real_gradients = take_gradients([network])
network.grad = g_f.clone()  # and as on synthetic ones
angle = real_guidance_([network], real_gradients, lambda_1=1.0, lambda_2=1.0)
print(f"update {network.grad.numpy().round(2)}, cosine {angle['cosine']:.2f}")

# %% [markdown]
# It is not the only rule for two gradients that disagree. Multi-task learning has several, and
# the package torchjd has them ready. A rule maps the Jacobian, here with the rows $g_r$ and $g_f$, to an
# update:
#
# - **sum**: both as they are. Equation 2 without the projection.
# - **A-GEM**: $g_f^{\mathrm{new}}$ alone.
# - **PCGrad** (Yu et al. 2020): *both* are projected, each against the other, then added. With two gradients
#   **UPGrad** (Quinton and Rey 2024) does the same, up to a factor.
# - **DualProj** (GEM; Lopez-Paz and Ranzato 2017): the nearest vector, to a weighted sum of the rows, that opposes
#   none of them. With all weight on the second row it *is* the projection of equation 2.

# %%
import pandas as pd
from torchjd.aggregation import DualProj, PCGrad, Sum, UPGrad

from synthbook.page.tables import plain
from synthbook.randomness import seeded

both, second = torch.ones(2), torch.tensor([0.0, 1.0])
rules = {
    "RG": lambda J: J[0] + projected(J[1], J[0]),
    "sum": Sum(),
    "A-GEM": lambda J: projected(J[1], J[0]),
    "DualProj, weights 0 and 1": DualProj(pref_vector=second),
    "PCGrad": PCGrad(),
    "UPGrad, weights 1 and 1": UPGrad(pref_vector=both),
    "DualProj, weights 1 and 1": DualProj(pref_vector=both),
}
updates = {}
with seeded(0, "rules"):  # PCGrad draws the order of the projections from torch's generator
    for degrees in (60, 130):
        jacobian = torch.stack(pair(degrees))
        updates[degrees] = {name: rule(jacobian) for name, rule in rules.items()}
vectors = {
    degrees: {name: str((u.double().numpy().round(2) + 0.0).tolist()) for name, u in found.items()}
    for degrees, found in updates.items()
}
plain(pd.DataFrame(vectors).add_prefix("update at ").add_suffix(" degrees"))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left and middle: Real Guidance in two dimensions. At 60 degrees nothing is projected and the update is the sum; at 130 degrees the part of the synthetic gradient that opposes the real one is taken away. Right: what other rules make of the same two gradients at 130 degrees. Compare how far each goes along the real gradient, to the right: the sum goes back.", "name": "fig-16-projection"}, "image": {"alt": "Three drawings of arrows from one point. Left, at 60 degrees: the real gradient, the synthetic gradient and their sum. Middle, at 130 degrees: the synthetic gradient, its perpendicular part and the update. Right: the updates of RG, sum, A-GEM and PCGrad at 130 degrees; the sum points slightly against the real gradient."}}
green, red, black, grey = (figures.PALETTE[k] for k in (2, 1, 6, 7))


def arrow(ax, to, color, text, shift, width=2.2):
    """Draw an arrow from the origin and write its name near its head."""
    how = {"arrowstyle": "-|>", "color": color, "linewidth": width, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", xy=to.tolist(), xytext=(0, 0), arrowprops=how, zorder=3)
    ax.text(to[0] + shift[0], to[1] + shift[1], text, color=color, ha="center", va="center")


fig, axes = plt.subplots(1, 3, figsize=(9.2, 2.7), sharey=True)
for ax, degrees in zip(axes, (60, 130), strict=False):
    g_r, g_f = pair(degrees)
    new = projected(g_f, g_r)
    update = g_r + new
    ax.plot(*zip(g_r, update, new, g_f, strict=True), ":", color=grey, linewidth=1.2)
    arrow(ax, g_r, black, "$g_r$", (0.08, -0.17))
    arrow(ax, update, figures.color("RG"), r"$g_{\mathrm{update}}$", (0.1, 0.16))
    if degrees > 90:
        arrow(ax, new, green, r"$g_f^{\mathrm{new}}$", (0.1, 0.19))
        arrow(ax, g_f, red, "$g_f$", (-0.1, 0.15))
    else:
        arrow(ax, g_f, red, r"$g_f = g_f^{\mathrm{new}}$", (-0.35, 0.17))
    ax.set_title(f"{degrees} degrees")
arrow(axes[2], g_r, black, "$g_r$", (0.08, -0.17), width=1)
arrow(axes[2], g_f, red, "$g_f$", (-0.1, 0.15), width=1)
shifts = {"sum": (-0.3, -0.03), "A-GEM": (0.0, 0.17), "PCGrad": (0.1, 0.15), "RG": (0.26, 0.06)}
for name, shift in shifts.items():
    arrow(axes[2], updates[130][name], figures.color(name), name, shift)
axes[2].set_title("other rules, 130 degrees")
for ax in axes:
    ax.set(xlim=(-1.4, 2.2), ylim=(-0.35, 2.15), aspect="equal", xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
plt.show()

# %% [markdown]
# That the second weight alone gives equation 2 is more than a matter of two dimensions. On a random Jacobian with a
# conflict the two agree up to the tolerance of torchjd's solver of quadratic programs, which equation 2 does not need:

# %%
jacobian = torch.randn(2, 10_000, generator=torch.Generator().manual_seed(0))
jacobian[1] -= 0.5 * jacobian[0]
equation_2, solver = projected(jacobian[1], jacobian[0]), DualProj(pref_vector=second)(jacobian)
print(f"cosine of the two rows {torch.cosine_similarity(*jacobian, dim=0):.2f}")
apart, largest = (equation_2 - solver).abs().max(), equation_2.abs().max()
print(f"largest difference {apart:.4f}, where entries reach {largest:.1f}")

# %% [markdown]
# ### Which reading was taken
#
# The paper fixes the formula and leaves the rest of the step open. Taken here, with what the other readings do under
# [*Three further parts*](#three-further-parts) below:
#
# - **All parameters together** form one vector, and there is one projection a step. `-p method_settings
#   per_layer=true` projects each tensor on its own.
# - **Equal batches.** A step takes as many real images as generated ones; the few real ones come round again and
#   again. In *Aug* a batch is drawn from the union of both sets, so its share of real images is theirs in the union.
# - **Two forward passes.** BatchNorm normalises real and generated images apart while the network is trained; its
#   running statistics, used in the test, mix both.
# - **PG-R and PG-F** add Pretrained Guidance ({doc}`15_pretrained_guidance`) to the loss on real and on generated
#   images, before the projection. Without RG, the two gradients are added.
# - **Adam** follows, as in every chapter, and is given the update as its gradient. It divides out the scale, so only
#   the ratio of $\lambda_1$ to $\lambda_2$ counts, and a step of A-GEM is in the end not exactly perpendicular.

# %% [markdown]
# ## The experiment
#
# Methods of one stage all take the same number of updates, as many as the epochs over the generated images have, up
# to the rounding to whole epochs of their own. Methods of two stages have three quarters of them on generated
# images, and then a quarter of the epochs over the *few real images*: in the paper 150 and 50 of 200. An epoch over
# few images has few updates, so that their second stage is short. The other reading, a quarter of the *updates*,
# which are many epochs over few images, is in the part `readings` [below](#three-further-parts). Equal seeds start
# from equal weights and have the same few real images.
#
# Before a seed's methods, the weight of Pretrained Guidance is chosen: RG + PG-R + PG-F is trained with each $\lambda_3$
# of a grid, and the one of the largest mean accuracy over the generators on real *validation* images is taken, of equal
# ones the smaller. Test images choose nothing, and no weight is inherited from another data set or size. The paper sets
# its three weights for each data set, by a rule that its main text does not give; here $\lambda_1 = \lambda_2 = 1$.
# Where one weight is given, as to this page's own run, nothing is chosen, and the rows say which it was.

# %% tags=["experiment"]
from itertools import product

from synthbook.data import load
from synthbook.machine import prepare
from synthbook.page.progress import progress

device = prepare(p.device, p.threads)
real = load(p.data, data_root=p.data_root, image_size=p.image_size)
run = Run(p)
experiment = RealGuidance(p, real, device=device)
for seed in progress(p.seeds_list, "seeds"):
    for row in experiment.rows(seed):
        run.add(**row)

# %%
page = Page(run)
page.agreement()

# %% [markdown]
# ## The pictures
#
# ### Do the two gradients disagree?
#
# A projection can only matter in steps in which it is made. Here is how often that is, in this run: the cosine of the
# angle between the two gradients, before any projection, and the share of steps in which it was negative, which are
# those with a projection.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Top: cosine between the real and the synthetic gradient, mean over the steps of an epoch. Bottom: steps with a conflict, in which the synthetic gradient was projected, added up from the first epoch on, in percent of all steps of the training. A column a generator; this run. Look at when the lower lines leave zero: until then RG is no more than a sum.", "name": "fig-16-cosine"}, "image": {"alt": "Line charts over epochs for each generator: on top the cosine between real and synthetic gradients, below the steps that projected so far, one line for each method that projects."}}
import numpy as np

histories = {k: found for k, found in experiment.histories.items() if "projected" in found.extra}
if histories:
    projecting = list(dict.fromkeys(method for method, _, _ in histories))
    size = {"figsize": (6.8, 4.0), "sharex": True, "sharey": "row", "squeeze": False}
    fig, axes = plt.subplots(2, len(families), **size)
    for (top, bottom), family in zip(axes.T, families, strict=True):
        for method in projecting:
            train = f"real_few+{family}"
            extra = [histories[method, train, seed].extra for seed in p.seeds_list]
            cosines = np.array([curves["cosine"] for curves in extra])
            shares = np.array([curves["projected"] for curves in extra])
            epochs_run = np.arange(1, cosines.shape[1] + 1)
            figures.band(top, epochs_run, cosines, method)
            figures.band(bottom, epochs_run, 100 * shares.cumsum(1) / shares.shape[1], method)
        top.axhline(0, color="black", linewidth=0.8)
        top.set_title(figures.label(family))
        bottom.set_xlabel("epoch")
    axes[0][0].set_ylabel("cosine")
    axes[1][0].set_ylabel("projected so\nfar (% of steps)")
    handles = axes[0][0].get_legend_handles_labels()
    fig.legend(*handles, loc="outside upper center", ncols=min(3, len(projecting)))
    plt.show()
else:
    print("No method of this run projects: -p parts methods -p methods A-GEM,RG runs two that do.")

# %% tags=["hide-input"]
ANGLES = {"mean_cosine": "cosine", "share_projected": "conflicts"}


def angles(table):
    """Return cosines and shares of steps with a conflict, by generator."""
    table = matching(table, part="methods", metric=list(ANGLES))
    return by_generator(table).assign(angle=table.metric.map(ANGLES))


page.table(
    ["generator", "method"],
    "angle",
    select=angles,
    order=families,
    decimals=2,
    title="The two gradients over a whole training: cosine, and share of steps with a conflict",
)

# %% [markdown]
# ### Is the guidance felt?
#
# A term of the loss acts through its gradient. At the features, where both enter the network, the norm of the gradient
# of $\lambda_3 L_\mathrm{pg}$ over that of the cross-entropy, in percent, each a mean over all steps and over the kinds
# of image that are guided. Medians over seeds, since a seed that chose the larger weight has a larger share:

# %% tags=["hide-input"]
FELT = {"part": "methods", "metric": "guidance_gradient_share"}


def shares(table):
    """Return how large the gradient of the guidance is beside the cross-entropy's, in percent."""
    table = by_generator(matching(table, **FELT))
    return table.assign(value=100 * table.value)


page.table(
    ["method"],
    "generator",
    select=shares,
    decimals=0,
    median=True,
    title="Gradient of the guidance in percent of the cross-entropy's",
)

# %% tags=["hide-input"]
table, whose = page.shown(FELT["metric"], part="methods")
if whose:
    medians = shares(table).groupby(["method", "generator"]).value.median()
    weak = [" / ".join(place) for place, value in medians.items() if value < 1]
    print(f"Medians below 1 %, so hardly felt ({whose}): {'; '.join(weak) or 'none'}.")
for weight in experiment.weights.values():
    print(f"lambda_3 in this run, last seed: {weight:g}")

# %% [markdown]
# ### Is it the projection, or the equal batches?
#
# RG differs from *Aug* in two things: it projects, and it fills half of every step with real images, each of which is
# seen many times as often as a generated one. `sum` does the second without the first. So the difference between RG and
# Aug, be it a gain or a loss, is cut in two: *sum − Aug* is what equal batches do, *RG − sum* is what the projection adds
# to them. The paper's Table 4 has no such row. Means over seeds:

# %% tags=["hide-input"]
table, whose = page.shown(**TABLE_4)
of_all = by_generator(table).pivot_table(index="generator", columns="method", values="value")
if {"Aug", "sum", "RG"} <= {*of_all}:
    for family, mean in of_all.reindex(families).iterrows():
        cut = f"sum − Aug {mean['sum'] - mean.Aug:+.1f} and RG − sum {mean.RG - mean['sum']:+.1f}"
        print(f"{figures.label(family)}: RG − Aug {mean.RG - mean.Aug:+.1f} points, of which {cut}")
    print(f"({whose})")
else:
    print("Not in these runs: -p methods Aug,sum,RG runs it.")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What the projection does, and what equal batches do: differences in accuracy on real test images, in points, as in the first figure. Aug mixes both kinds of image; sum adds the gradients of equal batches of both, without a projection; A-GEM and PCGrad are two other rules. If RG − sum spans zero, what lies between RG and Aug, a gain or a loss, is what equal batches do. A run that has no recorded runs beside it has the first figure's differences here, too.", "name": "fig-16-projecting"}, "image": {"alt": "For each generator, differences in accuracy with intervals: sum minus Aug, RG minus Aug, RG minus sum, A-GEM minus Aug, and PCGrad minus sum, as far as they were trained."}}
CUT = [("sum", "Aug"), ("RG", "Aug"), ("RG", "sum"), ("A-GEM", "Aug"), ("PCGrad", "sum")]
table, whose = page.shown(**TABLE_4)
if whose:
    pairs = CUT if whose.endswith("recorded runs") else dict.fromkeys(PAIRS + CUT)
    differences(table, pairs, whose)
else:
    print("Not in this run: -p parts methods runs it.")

# %% [markdown]
# ### How many real images?
#
# The study asserts that its method helps most where real images are scarce, and that RG leaves A-GEM behind once there
# are more than a few. It shows no curve over their number. The sets are nested: the two images of a class are among
# its ten. Generated images and updates stay the same, and so does $\lambda_3$. Where RG is above A-GEM, see whether it
# is above *sum* too: A-GEM is the only one of the three that takes no step down the loss on real images.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Accuracy on real test images over the number of real training images a class, with 95 % intervals over seeds; the generated images are the same throughout. Look at where the lines meet, and at A-GEM, to which real images teach nothing.", "name": "fig-16-real-images"}, "image": {"alt": "A line chart for each generator: accuracy over real images a class on a logarithmic axis, one line for each of Aug, A-GEM, sum, RG and RG with Pretrained Guidance, with error bars."}}
from synthbook.studies.real_guidance import METHODS_OF, TWO_STAGES, WEIGHTS

table, whose = page.shown("top1_accuracy", part="real_images")
if whose:
    table = by_generator(table)
    known = METHODS_OF["real_images"]
    methods_shown = [method for method in known if method in set(table.method)]
    fig, axes = plt.subplots(1, len(families), figsize=(8, 3.9), sharey=True, squeeze=False)
    for ax, family in zip(axes[0], families, strict=True):
        for place, method in enumerate(methods_shown):
            curve = matching(table, generator=family, method=method)
            curve = curve.pivot_table(index="n_real", columns="seed", values="value")
            look = figures.mark(method) | {"label": figures.label(method)}
            at = curve.index * 1.03 ** (place - 2)  # beside each other
            figures.means_and_intervals(ax, at, curve.to_numpy(), **look)
        ax.set(xscale="log", title=figures.label(family))
        ax.set_xticks(curve.index, [f"{n:g}" for n in curve.index])
        ax.minorticks_off()
    axes[0][0].set_ylabel("accuracy (%)")
    handles = axes[0][0].get_legend_handles_labels()
    fig.legend(*handles, loc="outside upper center", ncols=5, columnspacing=1.2)
    fig.supxlabel(f"real images a class ({whose})", fontsize="medium")
    plt.show()
else:
    print("Neither recorded nor run here: -p parts methods,real_images runs it.")

# %% [markdown]
# ### Three further parts
#
# - **A generator that knows the same images** (`same_images`). Above, the generators have learned from all
#   photographs of the training set, hundreds of a kind, and hand on what they learned to a classifier that was given
#   ten. In the paper's second setting the same few images train both. `make models` trains such models too: of the
#   same hundred photographs as the classifier's, and no others. As many images are drawn from them as above. No
#   filter chooses among these, because its classifier would know other photographs. All methods of the table are
#   compared with them, and where they are recorded, the claims show this setting beside. Its grid takes the weight
#   of the guidance of this page's own run, and chooses none.
# - **How much the weights matter** (`sensitivity`). $\lambda_1$ weights the real gradient, $\lambda_2$ the synthetic
#   one, $\lambda_3$ Pretrained Guidance. The paper sets them for each data set by hand (its appendix has them); here
#   each is varied with the others as they are taken, of which $\lambda_3$ is each seed's own choice. A weight is
#   chosen on the validation images (solid). The test images (dashed) show what such a choice is worth.
# - **Other readings** (`readings`). One projection for each tensor instead of one for the network; no projection;
#   and PCGrad, which projects the real gradient too: each against RG as it was taken, with one projection. All have
#   equal batches. And for the methods of two stages: a second stage of a quarter of the updates against one of a
#   quarter of the epochs, which is taken.

# %% tags=["hide-input"]
from synthbook.studies.image_sources import SAME_IMAGES

further = (SAME_IMAGES, "sensitivity", "readings")
lacking = [part for part in further if not page.shown("top1_accuracy", part=part)[1]]
every = "plain,Aug,sum,RG,PCGrad,Adp,ADDA,DADA,LTDA,RG+PG-R+PG-F"
kept = " (same_images after make models)" if SAME_IMAGES in lacking else ""
aside(
    f"Neither recorded nor run here: {', '.join(lacking)}. With -p parts methods,"
    f"{','.join(lacking)} -p methods {every} they are run{kept}."
) if lacking else None

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Differences in accuracy on real test images, in points, as in the first figure, with generators that were trained on the same ten real images a kind as the classifier. Dots are seeds, bars the 95 % interval of their mean, which is written on the right. Compare the signs with those of the figures above.", "name": "fig-16-same-images"}, "image": {"alt": "For each generator, differences in accuracy with intervals, of methods that were trained with images of generators that know only the few real images: sum, RG, PG-R and PG-F, and all together, each minus Aug, and RG minus sum."}}
table, whose = page.shown("top1_accuracy", part=SAME_IMAGES)
SAME_PAIRS = [*CUT[:3], ("PG-R+PG-F", "Aug"), (ALL_OURS, "Aug")]
if whose:
    differences(table, SAME_PAIRS, whose)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Accuracy of RG + PG-R + PG-F over each of its three weights, the other two as they are taken: real validation images (solid) and test images (dashed), means over seeds with 95 % intervals. Vertical lines are the weights that are taken; for the third each seed has its own. A flat curve is a weight that need not be tuned.", "name": "fig-16-sensitivity"}, "image": {"alt": "Three line charts of accuracy over lambda 1, lambda 2 and lambda 3 on logarithmic axes, with validation accuracy solid and test accuracy dashed for each generator."}}
table, whose = page.shown("top1_accuracy", part="sensitivity", varied=[*WEIGHTS])
SPLITS = {"val": ("validation", "-"), "test": ("test", "--")}
if whose:
    table = by_generator(table)
    chosen, _ = page.shown("lambda_3", part="choice")
    taken = {name: [experiment.own[ALL_OURS][name]] for name in WEIGHTS[:2]}
    taken["lambda_3"] = [*chosen.value] or p.lambda_3
    fig, axes = plt.subplots(1, 3, figsize=(8, 3.6), sharey=True)
    for ax, name in zip(axes, WEIGHTS, strict=True):
        for place, (family, split) in enumerate(product(families, SPLITS)):
            curve = matching(table, generator=family, split=split, varied=name)
            curve = curve.pivot_table(index="weight", columns="seed", values="value")
            text, line = SPLITS[split]
            look = {"color": figures.color(family), "linestyle": line, "marker": "o"}
            look |= {"label": f"{figures.label(family)}, {text}", "markersize": 4}
            at = curve.index * 1.06 ** (place - 1.5)  # beside each other
            figures.means_and_intervals(ax, at, curve.to_numpy(), **look)
        for weight in sorted(set(taken[name])):
            ax.axvline(weight, color="black", linewidth=0.8, linestyle=":")
        ax.set(xscale="log", xlabel=rf"$\lambda_{name[-1]}$")
        ax.set_xticks(curve.index, [f"{x:g}" for x in curve.index])
        ax.minorticks_off()
    axes[0].set_ylabel("accuracy (%)")
    handles = axes[0].get_legend_handles_labels()
    fig.legend(*handles, loc="outside upper center", ncols=4, columnspacing=1.2)
    fig.supxlabel(whose, fontsize="medium")
    plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Differences in accuracy on real test images, in points, of other readings from the one that is taken: of Real Guidance, and of the second stage of Adp, ADDA, DADA and LTDA. Dots are seeds, bars the 95 % interval of their mean, which is written on the right. Where all lie at zero, the paper's silence on them costs nothing.", "name": "fig-16-readings"}, "image": {"alt": "For each generator, differences in accuracy with intervals: RG with a projection for each tensor minus RG, sum minus RG, PCGrad minus RG, and each method of two stages with a share of the updates minus itself with a share of the epochs."}}
table, whose = page.shown("top1_accuracy", part="readings")
if whose:
    if "per_layer" in table:
        table.loc[table.per_layer.eq(True), "method"] = "RG per tensor"
    if "second_stage" in table:
        table.loc[table.second_stage.eq("updates"), "method"] += ", updates"
    pairs = [(other, "RG") for other in ("RG per tensor", "sum", "PCGrad")]
    pairs += [(f"{name}, updates", name) for name in TWO_STAGES]
    differences(table, pairs, whose, decimals=2)

# %% [markdown]
# ## The table
#
# Table 4 by the paper's names, its CIFAR-10 columns beside ours: LSGM stands in the column of the diffusion model,
# StyleGAN-XL in that of the GAN. In both of these columns the paper prints the same figures for A-GEM and for RG, and in
# no other. With $\lambda_1 = 0$ RG is A-GEM, so its weights may have been set so there; or the table has a slip. *time* is
# that of the training over the time of Aug, from recorded runs alone, and is as noisy as clocks are. Lines of *this
# book* are not in the paper.

# %% tags=["hide-input"]
from synthbook.record.published import published

OURS = ("PG-R+PG-F", "RG", "RG+PG-R", "RG+PG-F", "RG+PG-R+PG-F")
LINES = {
    "real": "Baseline (Real), as many as of each source",
    "synthetic": "Baseline (Fake), generated only",
    "Adp": "Baseline (Adp.), then real",
    "Aug": "Baseline (Aug.), mixed",
    **{name: name for name in ("ADDA", "DADA", "DANN", "LTDA", "A-GEM")},
    **{name: f"Ours: {name.replace('+', ' + ')}" for name in OURS},
    "real_few": "this book: the few real alone",
    "sum": "this book: sum",
    "PCGrad": "this book: PCGrad",
}


def beside_each(table):
    """Return rows without a generator once for each of its data set, as the paper prints them."""
    alone = table.generator.isin(["real", "real_few", "Real"])
    pairs = table.loc[~alone, ["dataset", "generator"]].drop_duplicates()
    spread = table[alone].drop(columns="generator").merge(pairs, on="dataset")
    return pd.concat([spread, table[~alone]]) if len(spread) else table


def table_4():
    """Return the paper's accuracies under the names of this chapter's methods."""
    table = published("gap", "T4", metric="top1_accuracy")
    ours = {"RG": table.rg, "PG-R": table.pg_r, "PG-F": table.pg_f}
    flags = zip(*(used.eq("1") for used in ours.values()), strict=True)
    names = ["+".join(name for name, on in zip(ours, row, strict=True) if on) for row in flags]
    baseline = table.method.str.extract(r"\((\w+)", expand=False).fillna(table.method)
    baseline = baseline.replace({"Real": "real", "Fake": "synthetic"})
    line = baseline.where(table.method != "Ours", names).map(LINES)
    generator = table.source.str.removeprefix("Real+")
    return beside_each(table.assign(line=line, generator=generator))


def lines(table):
    """Return accuracies, and times over the generators, by the lines of Table 4."""
    table = by_generator(matching(table, part="methods"))
    of_one = table.train.where(table.train.isin(["real", "real_few"]), "synthetic")
    line = table.method.where(table.method != "plain", of_one).map(LINES)
    table = beside_each(table.assign(line=line))
    times = matching(table, metric="relative_cost")
    times = times.groupby(["scale", "line", "seed"], as_index=False).value.mean()
    accuracies = matching(table, metric="top1_accuracy")
    return pd.concat([accuracies, times.assign(generator="time")])


paper = table_4()
page.table(
    ["line"],
    "generator",
    matching(paper, dataset="CIFAR-10").replace({"LSGM": "diffusion", "SG-XL": "gan"}),
    lines,
    headings={"line": "method"},
    order=list(LINES.values()),
    title="Accuracy in percent on real test images",
)

# %% [markdown]
# The paper's other columns are of its second setting: the same small real set trains the generator and the classifier,
# with as many generated images as real ones (CUB, Flower) or twice as many (SDI). The gain of RG over Aug is several
# times as large there. [`same_images`](#three-further-parts) above is that
# setting with ten photographs a kind; `-p shots 0 -p synthetic_ratio 1 -p set_size 0` is it with all of them, and with
# `-p synthetic_ratio 2` there are twice as many generated ones, as in the columns of SDI. With fewer `shots` than there are
# real images the ratio is of these few, and there are no more generated images than real ones in all.

# %% tags=["hide-input"]
from synthbook.page.tables import comparison

others = paper[paper.dataset != "CIFAR-10"]
others = others.assign(column=others.dataset + ", " + others.generator)
how = {"headings": {"line": "method"}, "order": list(LINES.values())}
comparison(None, None, others, index=["line"], columns="column", **how)

# %% [markdown]
# Where each method comes from, and what of it was left out. Two stages means generated images first, then a quarter of
# the epochs over the few real ones: Adp learns these with their labels, ADDA and DADA without, as in the paper, and
# LTDA only weighs generated images by them.

# %% tags=["hide-input"]
from synthbook.recognize.methods import METHODS

chosen = [METHODS[name] for name in ["plain", *LINES] if name in METHODS]
origins = {
    "method": [method.name for method in chosen],
    "from": [method.source for method in chosen],
    "stages": [method.stages for method in chosen],
    "simplified here": [method.simplified or "nothing" for method in chosen],
}
plain(pd.DataFrame(origins))

# %% [markdown]
# ## The claims
#
# Each is a claim of the paper as inequalities over the *recorded* rows, one effect a seed. It holds if each of them
# does; the parts say which method and generator decide.

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# **Reading them.** A claim over every method and generator holds only if each of its parts does. Claim gap-21 asks
# whether RG is above Aug, and equal batches alone can put it above or below: read it
# beside *RG − sum* [above](#is-it-the-projection-or-the-equal-batches). Claims gap-18 and gap-19 rest on the reading in
# which a second stage has a quarter of the *epochs*, a small share of all updates where real images are few, so that they
# say as much of a short second stage as of two stages; the reading with a quarter of the updates stands beside them once
# it is run. ADDA and DADA are also without the real labels that Aug has. The room for any gain lies between the line of
# generated images alone and that of as many real ones in the table; where it is a few points wide, differences
# between methods are small whatever their order. Where the two gradients hardly ever conflict, RG *is* `sum`, and no
# claim about it is one about the projection.

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **Equal updates, not equal images.** A step of RG and its like reads two batches, a step of Aug one. Most of what
#   RG costs more than Aug is the second batch: compare the times of `sum` and RG.
# - **Which few real images** is drawn anew for each seed and shared by all methods. The paper does not say.
# - **The weights.** The paper sets all three for each data set. Here $\lambda_1 = \lambda_2 = 1$, and $\lambda_3$ is
#   chosen for each seed, one for all methods with guidance, on more real images than the few that are trained on.
# - **The generator** knows all real images, as in the paper's CIFAR-10 columns; what the few real images add to its
#   samples is then little. In the part `same_images`, and with `-p shots 0 -p set_size 0`, classifier and generator have
#   the same images. The rows say which it is, as `generator_knows`.
# - **The baselines** ADDA, DADA, DANN and LTDA are small versions on this book's network and recipe, not tuned one by
#   one. The paper took their authors' defaults. Their numbers are set by name, as in
#   `-p methods Aug,ADDA -p method_settings ADDA.discriminator_width=500,second_stage=updates`.
#
# ```bash
# papermill notebooks/16_real_guidance.ipynb out.ipynb -p seeds 5 -p parts methods,readings -p methods Aug,sum,RG,PCGrad
# papermill notebooks/16_real_guidance.ipynb out.ipynb -p parts real_images -p n_real 1,3,10,30,100
# synthbook run 16_real_guidance --scale small -p data_root=data
# synthbook run 16_real_guidance -p lambda_3=1,10,100 -p methods=Aug,RG,RG+PG-R+PG-F -p parts=methods,sensitivity
# synthbook run 16_real_guidance -p data=my_images/ -p image_size=32 -p shots=2
# synthbook run 16_real_guidance -p 'sources=["real","mine=my_samples"]' -p data=my_images/ -p image_size=32 -p shots=2
# ```
#
# The last line takes images that you have generated, a folder of class folders with the names of your classes
# ({doc}`../book/how_to_read`). They go through the same filter, and half as many again as are trained on must pass it,
# 1.5 times `set_size`, since as many are held out (2.5 times with `-p shots=0 -p synthetic_ratio=2`). Where `sources` names a family, as by default, {doc}`11_generators`
# must have trained its model of your photographs first.
