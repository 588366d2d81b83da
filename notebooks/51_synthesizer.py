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
# # 51 Images drawn from nothing
#
# **The question.** A GAN that is to learn from a hundred photographs does better if it was trained on something else
# before. Must that something be photographs, with their owners and their people, or will drawings do?
#
# **The study's answer.** {cite:t}`baek2022generic` draw the data: noise with the spectrum of natural images, many small
# shapes, one large shape near the middle (Figures 1 and 2 there). Nobody's picture is in it, and no data set's
# bias. A GAN pretrained on these images is a better start than one pretrained on faces, for all targets but faces.
#
# **Here.** The four synthesizers, how an image is made, and what makes it resemble a photograph: its spectrum and its
# phase, beside those of two photographs. Then what the choices and the oddities of the public code do. Training
# GANs on the images is not part of this chapter ({doc}`52_transfer_to_few_images`).

# %% tags=["hide-input"]
from synthbook.page.page import answer

answer("51_synthesizer")

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
seeds: int = 1  # seeds to run: each draws its own images
first_seed: int = 0  # the first of them
variants: list[str] = ["PinkNoise", "Primitives", "Primitives-S", "Primitives-PS"]  # what is drawn
resolution: int = 256  # side of the measured images in pixels, a power of two
shapes: int = -1  # shapes in an image, besides the large one; -1: by resolution, 100 here
size_policy: str = "Decay"  # sizes of the shapes: Decay, Rand, Fix(1/10), Fix(1/5), Fix(1/2)
exponent_low: float = 0.5  # of the noise: lower end of the spectral exponents
exponent_high: float = 3.5  # upper end
exponent_steps: int = 7  # exponents from end to end at which the slope is checked
measured: int = 16  # images of each kind that are measured
data: str = "photographs"  # the two of scikit-learn; or a data set's name, a folder, an .npz
data_root: str = ""  # where downloaded data sets lie
device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
threads: int = 1  # CPU threads; more of them round sums differently
rows: str = ""  # file to append the rows to; "" is _build/rows/<chapter>.jsonl

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies import drawn

p = parameters("51_synthesizer", globals())
print(drawn.check_synthesizer(p))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What drawn images have of photographs. Left: slope of the amplitude against the frequency, both logarithmic. Right: kurtosis of the differences of neighbouring pixels, 3 for noise of any spectrum (dashed), with crosses for the same images with shuffled phases. Small dots are seeds, large ones their mean, bars its 95 % interval. Compare photographs (above) with noise alone and with shapes: edges come from the shapes, and most of the slope does, too.", "name": "fig-51-kinds"}, "image": {"alt": "For photographs and for each variant a line with dots: on the left the slopes of the variants with shapes lie beside those of photographs and pink noise is steeper, on the right pink noise lies at three and the variants with shapes far above it, like photographs."}}
import matplotlib.pyplot as plt

from synthbook.generate.primitives import VARIANTS
from synthbook.page import figures
from synthbook.page.page import Page
from synthbook.record.rows import Run

figures.style()


def of_real(dataset):
    """Return how real images are written: scikit-learn's two are known by their names to few."""
    return f"photograph: {dataset}" if p.data == "photographs" else dataset


def of_kinds(table, whose):
    """Draw slope and kurtosis, a line for each kind of images."""
    known = dict.fromkeys(zip(table.train, table.dataset, strict=True))
    kinds = [pair for kind in (drawn.REAL, *VARIANTS) for pair in known if pair[0] == kind]
    fig, axes = plt.subplots(1, 2, figsize=(7.2, 0.9 + 0.34 * len(kinds)), sharey=True)
    for place, (kind, dataset) in enumerate(kinds):
        mine = table[(table.train == kind) & (table.dataset == dataset)]
        values = {name: group.value for name, group in mine.groupby("metric")}
        for ax, metric in zip(axes, ("spectral_slope", "edge_kurtosis"), strict=True):
            figures.dots_and_interval(ax, place, values[metric], figures.color(kind))
        axes[1].plot(values["edge_kurtosis_shuffled"].mean(), place, "x", color="black")
    axes[1].axvline(3, color="0.4", linestyle="--", linewidth=1)
    names = [of_real(data) if kind == drawn.REAL else figures.label(kind) for kind, data in kinds]
    axes[0].set(yticks=range(len(kinds)), yticklabels=names, xlabel="slope")
    axes[0].set_ylim(len(kinds) - 0.5, -0.5)
    axes[1].set(xlabel="kurtosis", xscale="log", xticks=[3, 10, 30], xticklabels=[3, 10, 30])
    axes[1].minorticks_off()
    fig.supxlabel(whose, fontsize="small")
    plt.show()


METRICS = ["spectral_slope", "edge_kurtosis", "edge_kurtosis_shuffled"]
table, whose = Page(Run(p)).shown(METRICS, setting="")
if whose:
    of_kinds(table, whose)
else:
    print("Nothing is recorded at this scale; the pictures of this run are below.")

# %% [markdown]
# ## The mechanism
#
# **Noise.** White noise $\varepsilon$ has the same amplitude at all frequencies. Natural images do not: their amplitude
# falls roughly as one over the frequency {cite:p}`tolhurst1992amplitude`. So each channel of white noise is weighted,
#
# $$
# x = \operatorname{Re}\,\mathcal{F}^{-1}\!\left[\,w \cdot \mathcal{F}[\varepsilon]\,\right], \qquad
# w(f_x, f_y) = \frac{1}{|f_x|^a + |f_y|^b}, \qquad a, b \sim U(0.5,\, 3.5),
# $$
#
# and the three channels are stretched together to bytes. The paper writes one exponent $a$ for both axes; its code
# draws one for each axis and channel, and that is what makes stripes and coloured blobs. The range follows
# {cite:t}`baradad2021learning`. This is the variant **PinkNoise**.
#
# **Shapes.** Noise has random phases, and phase is where the outlines are. So $N$ shapes are drawn, later ones over
# earlier ones: lines, circles, ellipses and rectangles as 1 : 2 : 2 : 2, anywhere, in any colour. So that the last ones
# do not bury the first, the largest size falls while drawing (the policy Decay):
#
# $$
# s_n \sim U\!\left(0,\; \frac{H}{5} \cdot \frac{N - n}{N}\right), \qquad n = 0, \ldots, N - 1 .
# $$
#
# On a flat ground this is **Primitives**. **Primitives-S** adds one large shape near the middle, as photographs have
# a subject; **Primitives-PS** fills it and the ground with pink noise.

# %%
import numpy as np

from synthbook.generate.primitives import KINDS, Primitives, draw_shapes, pink_weights, size_range

w = pink_weights(np.array([2.0, 2.0]), 256)  # a = b = 2, rows are f_y
print(f"an octave higher the amplitude is {w[0, 16] / w[0, 8]:.3f} times as large")
print("largest sizes:", *(size_range(Primitives(), 256)[1] - 1)[::25], "pixels of 256")
shapes = draw_shapes(Primitives(), [0], resolution=256, seed=0)
for k in range(3):
    kind, geometry, colour = shapes.kind[0, k], shapes.geometry[0, k], shapes.colour[0, k]
    print(f"{KINDS[kind]:10}{geometry.astype(int).tolist()!s:27} colour {colour.tolist()}")

# %% [markdown]
# **A function of two numbers.** Image $k$ of seed $s$ depends on $(s, k)$ and on nothing else: not on the batch, the
# order, the worker process or the run. So nothing needs to be stored, and any image can be drawn again.

# %%
from synthbook.generate.primitives import PrimitivesDataset, synthesize
from synthbook.studies.drawn import by_two_workers

where = {"resolution": 64, "seed": 0}
whole = synthesize(Primitives(), 8, **where)
alone = synthesize(Primitives(), indices=[5], **where)[0]
backwards = synthesize(Primitives(), indices=range(7, -1, -1), batch_size=3, **where)
batches = by_two_workers(PrimitivesDataset(Primitives(), 8, **where), batch_size=2)
by_workers = np.concatenate([batch.permute(0, 2, 3, 1).numpy() for batch in batches])
{
    "alone": bool((whole[5] == alone).all()),
    "backwards, in threes": bool((whole[::-1] == backwards).all()),
    "by two workers": bool((whole == by_workers).all()),
    "another seed": bool((whole == synthesize(Primitives(), 8, resolution=64, seed=1)).all()),
}

# %% [markdown]
# ## The experiment
#
# Three properties of each kind of image are measured, of real photographs too:
#
# - the **slope** of the amplitude against the frequency, both logarithmic, between 1/32 and 1/4 cycles a pixel. Each
#   image fades to its borders first (a Hann window), or the borders would count as edges;
# - the **kurtosis** of the differences of neighbouring pixels: 3 for noise of any spectrum, larger where even areas
#   meet at edges. The same number with the phases shuffled shows what of it is due to phase;
# - the **share of the pixels** under a shape, and the share of the shapes that can still be seen.
#
# Besides, the slope of noise whose exponent is known, what photographs and noise look like that exchanged their phases,
# and what the oddities of the public code change.

# %% tags=["experiment"]
from synthbook.machine import prepare
from synthbook.page.progress import progress

device = prepare(p.device, p.threads)
run = Run(p)
for seed in progress(p.seeds_list, "seeds"):
    for row in drawn.synthesizer_rows(p, seed, device):
        run.add(**row)
for row in drawn.quirk_rows(p.first_seed):
    run.add(**row)

# %%
page = Page(run)
page.agreement()

# %% [markdown]
# ## The pictures

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Squares of real images, as they are measured, and the four variants. Of these a column has one index, so that each row adds one thing to the row above: shapes on a flat ground instead of noise, a large shape, noise on both. See the stripes and blobs of the pink noise: each image draws its own exponents. Of the variants only the last has texture and outlines.", "name": "fig-51-variants"}, "image": {"alt": "Rows of three small images: parts of photographs; blurred coloured noise; bright lines, discs, ellipses and rectangles on a flat ground; the same with one large flat shape in the middle; the same with noise on that shape and on the ground."}}
from synthbook.generate.primitives import POLICIES

recipes = drawn.recipes(p, p.resolution)
some = {"indices": [4, 5, 7], "resolution": 64, "seed": p.first_seed}
seed, smaller = p.seeds_list[-1], p.resolution // 64
images = drawn.measured_images(p, seed, device)
rows = {}
for (kind, dataset), squares in images.items():
    if kind == drawn.REAL:
        blocks = squares[:3].reshape(-1, 64, smaller, 64, smaller, 3)
        rows[of_real(dataset)] = blocks.mean((2, 4)).round().astype(np.uint8)
rows |= {name: synthesize(one, **some) for name, one in recipes.items()}
figures.sheet(rows.items(), 3, 0.6)
plt.show()

# %% [markdown]
# One image of Primitives-PS, step by step. The shapes are the same in each step, only more of them:


# %% tags=["hide-input"] mystnb={"figure": {"caption": "How an image is made: ground of pink noise; the first 10 shapes; all 100, ever smaller; the large shape, a window on a second noise.", "name": "fig-51-steps"}, "image": {"alt": "Four small images in a row: noise, noise with 10 shapes, with 100 shapes, then with a large shape that is filled with other noise."}}
def line(images, width):
    """Draw named images side by side."""
    _, ax = plt.subplots(figsize=(width, 1.4))
    grid = figures.light(np.stack(list(images.values())))
    figures.image_grid(grid, 1, len(images), list(images), ax=ax)
    ax.tick_params(labelsize="small")
    plt.show()


line(drawn.steps(7, resolution=64, seed=p.first_seed), 4.4)

# %% [markdown]
# ### Spectra
#
# The slope of the lines is what the noise was made for. Look also at how near the flat shapes come without any noise:
# the amplitude of an edge falls as one over the frequency, too, and images of overlapping shapes are known to
# have the spectrum of natural images.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Amplitude against frequency, averaged over rings and images (root of the mean power, equal at 1/32 cycles a pixel). Dashed, above the curves: one over the frequency. Slopes are fitted in the shaded range. The steeper a line, the smoother the images.", "name": "fig-51-spectra"}, "image": {"alt": "Falling lines on logarithmic axes: the photographs and the four variants, beside a dashed line of slope minus one."}}
from synthbook.measure.spectra import HIGHEST, LOWEST, power_spectrum

results = run.frame()
fig, ax = plt.subplots(figsize=(5.8, 2.8))
ax.axvspan(LOWEST, HIGHEST, color="0.93", zorder=0)
for (kind, dataset), some in images.items():
    frequency, power = power_spectrum(some)
    curve = np.sqrt(power.mean(0))
    look = figures.mark(kind) | {"marker": ""}
    if kind == drawn.REAL:
        look["linestyle"] = "-" if dataset == next(iter(images))[1] else ":"
    slope = results[(results.train == kind) & (results.dataset == dataset)]
    slope = slope[(slope.metric == "spectral_slope") & (slope.setting == "")].value.mean()
    name = figures.label(kind) if kind != drawn.REAL else of_real(dataset)
    curve = curve / np.interp(LOWEST, frequency, curve)
    ax.plot(frequency, curve, label=f"{name} ({slope:.2f})", **look)
apart = 3 * LOWEST  # else it lies on a curve of that slope
ax.plot([LOWEST, HIGHEST], [apart / LOWEST, apart / HIGHEST], "--", color="0.4", linewidth=1.5)
ax.set(xscale="log", yscale="log", xlabel="frequency (cycles a pixel)", ylabel="amplitude")
ax.legend(title="(slope)", loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# **Is the noise what its formula says?** With one exponent $a$ for both axes the weight along any direction is
# proportional to $f^{-a}$, so the slope should be $-a$. It is, until the image is rounded to bytes. The small
# amplitudes of steep noise are less than half a grey level at high frequencies, and rounding puts white noise in
# their place. Above exponents of some 2 the finest detail that a network sees is that noise; the
# large forms are not touched.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Measured slope of pink noise against its exponent, before (circles) and after (crosses) rounding to bytes. Dashed: slope = −a.", "name": "fig-51-exponents"}, "image": {"alt": "Measured slopes against the exponent: the exact noise follows the diagonal, the rounded noise leaves it above an exponent of about two."}}
fig, ax = plt.subplots(figsize=(4.6, 2.6))
for noise, marker, color in (("exact", "o", "#0072B2"), ("bytes", "x", "#D55E00")):
    table, whose = page.shown("spectral_slope", noise=noise)
    at = table.exponent.astype(float)
    name = "exact" if noise == "exact" else "as bytes"
    ax.plot(at, table.value, marker, color=color, label=name)
ends = np.array([p.exponent_low, p.exponent_high])
ax.plot(ends, -ends, "--", color="0.4", linewidth=1)
ax.set(xlabel="exponent a", ylabel="slope")
ax.legend(title=whose)
plt.show()

# %% [markdown]
# ### Phase
#
# A photograph and a noise image exchange their phases {cite:p}`oppenheim1981importance`. The result looks like
# whichever gave the phase, and that is why a spectrum alone is not enough. The kurtosis in the table below says the same
# of drawn images: their shapes are phase, and with it shuffled they are as featureless as noise. (The two photographs,
# by danielbuechele and vultilion, are under CC BY 2.0 and come with scikit-learn; the one below is reduced to 64 pixels.)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left to right: a photograph; its phase with the amplitude of noise (exponent 1); its amplitude with the phase of that noise.", "name": "fig-51-phase"}, "image": {"alt": "Three small images: a photograph, its outlines in unnatural colours, and a cloud with the photograph's spectrum."}}
photograph = next(iter(images.values()))[0]
swapped = drawn.swapped(photograph, side=64, seed=p.first_seed)
line({name: one[0] for name, one in swapped.items()}, 3.6)

# %% [markdown]
# ### Sizes and numbers of shapes
#
# The appendix compares policies for the size. Decay is meant to keep early shapes in sight while late ones are
# added. With Rand, and with all sizes a fifth or half of the image's side, the last ones bury most of the others. Shapes
# of a tenth of it hide most of the ground, but most of them still show. (A size is the side of a rectangle, the radius or
# half axis of a round shape, and the thickness of a line, as in the public code; the paper leaves it open.)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Policies for the size of 100 shapes. With Decay nearly all can still be seen, with Fix(1/10) most of them; with Rand, Fix(1/5) and Fix(1/2) the last ones cover most of the others.", "name": "fig-51-policies"}, "image": {"alt": "Five drawn images of one index: many shapes of all sizes with Decay, many small ones with the smallest fixed size, few large ones with random sizes and with the larger fixed ones."}}
few = {"indices": [7], "resolution": 64, "seed": p.first_seed}
line({name: synthesize(Primitives(size_policy=name), **few)[0] for name in POLICIES}, 5.4)

# %% [markdown]
# ### What the oddities of the public code do
#
# The public code does five things that the paper does not mention. They are off here, and each can be switched on
# by its name, as in `Primitives(quirks=("falling_lines",))`:

# %%
from synthbook.generate.primitives import QUIRKS

for name, text in QUIRKS.items():
    print(f"{name}: {text}")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Without (upper row) and with (lower row) a quirk: lines that only run down to the right; positions of lines and rectangles in 0 to 255 on a canvas of 32 pixels, so that little more than discs and ellipses remains; the first two batches of two from two workers.", "name": "fig-51-quirks"}, "image": {"alt": "Pairs of small drawn images: lines in all directions and in one; many shapes and only round ones; four different images, and two images that come twice."}}
columns = {"falling_lines": ("lines", 64, 1), "fixed_canvas": ("32 pixels", 32, 1)}
fig, axes = plt.subplots(2, 3, figsize=(4.6, 1.9), width_ratios=[1, 1, 4])
for place, on in enumerate((False, True)):
    for ax, (quirk, (title, side, many)) in zip(axes[place], columns.items(), strict=False):
        recipe = Primitives("Primitives", quirks=(quirk,) if on else ())
        images = synthesize(recipe, many, resolution=side, seed=p.first_seed)
        figures.image_grid(figures.light(images), 1, many, ax=ax)
        ax.set_title("" if place else title, fontsize="medium")
    quirks = ("worker_streams",) if on else ()
    recipe = Primitives("Primitives-S", quirks=quirks)
    dataset = PrimitivesDataset(recipe, 4, resolution=32, seed=p.first_seed)
    batches = by_two_workers(dataset, batch_size=2)
    images = np.concatenate([batch.permute(0, 2, 3, 1).numpy() for batch in batches])
    figures.image_grid(figures.light(images), 1, 4, ax=axes[place, 2])
    axes[place, 2].set_title("" if place else "two workers", fontsize="medium")
    axes[place, 0].set_ylabel("with" if on else "without", fontsize="medium")
plt.show()

# %% [markdown]
# ## The tables
#
# Slope and kurtosis (the median over the images), then what swapping phases does: the correlation of the swapped image
# with the image that gave the phase, and with the one that gave the amplitude. The paper prints none of these.

# %% tags=["hide-input"]
page.table(
    ["train", "dataset"],
    "metric",
    select={"metric": [*METRICS, "like_phase", "like_amplitude"], "setting": ""},
    decimals=2,
    headings={"train": "images"},
)

# %% [markdown]
# What can still be seen of the shapes of *Primitives*, which has no large one, in shares of the pixels and of the shapes:

# %% tags=["hide-input"]
page.table(
    ["study", "size_policy", "n_shapes"],
    "metric",
    select={"method": "layers"},
    decimals=3,
    headings={"study": "varied", "size_policy": "sizes", "n_shapes": "shapes"},
)

# %% [markdown]
# **And in small images?** A shape is at least a pixel wide, so a hundred of them cover an image of 16 pixels. The share of
# the pixels outside the large shape that still show the ground, and of the shapes that show at all, by resolution, of
# *Primitives-PS*, whose large shape hides some of the others: with a hundred shapes, and with the number that this book takes
# at that resolution (50 at 32 pixels, 30 below).

# %% tags=["hide-input"]
page.table(
    ["resolution", "n_shapes"],
    "metric",
    select={"method": "visibility"},
    decimals=2,
    headings={"n_shapes": "shapes"},
)

# %% [markdown]
# The quirks, in percent; colourfulness (largest less smallest channel) and spread (standard deviation over the pixels
# of a channel, at 32 pixels) in grey levels of 255:

# %% tags=["hide-input"]
page.table(
    ["train", "metric"],
    "test",
    select={"method": "quirk"},
    headings={"train": "quirk", "metric": "what it changes"},
)

# %% [markdown]
# ## The claims
#
# One claim of the paper is about the images alone; all others are about GANs trained on them.

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# **Reading it.** The claim asks whether the formula covers the spectrum of natural images. It says nothing of whether
# the noise is needed for it: compare the slopes of Primitives, which has no noise, with those of the photographs.

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **Photographs.** Two, in random squares at their own resolution. `-p data my_images/` takes your own.
# - **Where paper and code differ,** the code's exponents (one an axis and channel) and sizes (whole pixels, at least
#   one, so that the last shapes can be seen) are used; `Primitives(tied_exponents=True)` gives the paper's exponents. Positions are relative to the resolution.
#   The paper gives no range for Rand; half the side is this book's.
# - **Lines** have flat ends, and no edge is smoothed.
# - **On a GPU** the shapes are the same and the noise is of the same kind, from a generator of the GPU.
# - **Speed.** `benchmarks/synthesizer.py` compares with the public algorithm, image by image; its README has figures.
#
# ```bash
# papermill notebooks/51_synthesizer.ipynb out.ipynb -p size_policy Rand
# synthbook run 51_synthesizer --scale small
# synthbook run 51_synthesizer -p data=my_images/ -p measured=100
# ```
