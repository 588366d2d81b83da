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
# # Images drawn from nothing
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
# GANs on the images is not part of this chapter.

# %% tags=["parameters"]
seeds: int = 1  # seeds to run: each draws its own images
first_seed: int = 0  # the first of them
variants: list[str] = ["PinkNoise", "Primitives", "Primitives-S", "Primitives-PS"]  # what is drawn
resolution: int = 256  # side of the measured images in pixels, a power of two
shapes: int = 100  # shapes in an image, besides the large one
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

# %%
from synthbook.data import check
from synthbook.errors import InputError
from synthbook.generate.primitives import Primitives, check_resolution
from synthbook.record.parameters import parameters

p = parameters("51_synthesizer", globals())
check_resolution(p.resolution)
common = {
    "shapes": p.shapes,
    "size_policy": p.size_policy,
    "exponents": (p.exponent_low, p.exponent_high),
}
recipes = {variant: Primitives(variant, **common) for variant in p.variants}
if p.resolution < 64:
    raise InputError(
        f"resolution = {p.resolution}; give 64 or more, or rings of a spectrum are few"
    )
if p.data != "photographs":
    print(check(p.data, data_root=p.data_root, image_size=p.resolution))
recipes.get("Primitives-PS", recipes)

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
from synthbook.generate.primitives import KINDS, draw_shapes, size_range

print(
    "largest sizes:", *(size_range(Primitives(), 256)[1] - 1)[[0, 25, 50, 75, 99]], "pixels of 256"
)
drawn = draw_shapes(Primitives(), [0], resolution=256, seed=0)
for k in range(3):
    kind, geometry, colour = drawn.kind[0, k], drawn.geometry[0, k], drawn.colour[0, k]
    print(f"{KINDS[kind]:10}{geometry.astype(int).tolist()!s:27} colour {colour.tolist()}")

# %% [markdown]
# **A function of two numbers.** Image $k$ of seed $s$ depends on $(s, k)$ and on nothing else: not on the batch, the
# order, the worker process or the run. So nothing needs to be stored, and any image can be drawn again.

# %%
import numpy as np
from torch.utils.data import DataLoader

from synthbook.generate.primitives import PrimitivesDataset, synthesize

where = {"resolution": 64, "seed": 0}
whole = synthesize(Primitives(), 8, **where)
alone = synthesize(Primitives(), indices=[5], **where)[0]
backwards = synthesize(Primitives(), indices=range(7, -1, -1), batch_size=3, **where)
loader = DataLoader(PrimitivesDataset(Primitives(), 8, **where), batch_size=2, num_workers=2)
by_workers = np.concatenate([batch.permute(0, 2, 3, 1).numpy() for batch in loader])
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

# %% tags=["experiment"]
from dataclasses import replace

from synthbook.data import load
from synthbook.data.named import crops, photographs
from synthbook.generate.primitives import POLICIES, layers, pink_noise
from synthbook.machine import prepare
from synthbook.measure.spectra import (
    correlation,
    coverage,
    edge_kurtosis,
    falling_share,
    log_slope,
    power_spectrum,
    random_phase,
    spectral_slope,
    swap_phase,
    visible,
)
from synthbook.page.progress import progress
from synthbook.randomness import numpy_generator
from synthbook.record.rows import Run

device = prepare(p.device, p.threads)
run = Run(p)
curves = {}  # of the last seed, for the figure
counts = [0, 10, 50, 100, 500]
exponents = np.linspace(p.exponent_low, p.exponent_high, p.exponent_steps)


def real_images(seed):
    """Return name -> uint8 images of the resolution: squares of the photographs, or the data."""
    if p.data == "photographs":
        return crops(photographs(), p.measured, p.resolution, seed)
    train = load(p.data, data_root=p.data_root, image_size=p.resolution).train.images
    chosen = numpy_generator(seed, "photographs").permutation(len(train))[: p.measured]
    return {p.data: train[np.sort(chosen)]}


for seed in progress(p.seeds_list, "seeds"):
    drawing = {"resolution": p.resolution, "seed": seed}
    real = real_images(seed)
    made = {
        variant: synthesize(recipe, p.measured, device=device, **drawing)
        for variant, recipe in recipes.items()
    }

    # Spectrum and phase.
    kinds = [("real", name, images) for name, images in real.items()]
    kinds += [(variant, "drawn", images) for variant, images in made.items()]
    for source, dataset, images in kinds:
        what = {"method": "spectrum", "train": source, "test": "", "dataset": dataset, "seed": seed}
        frequency, power = power_spectrum(images)
        curves[source, dataset] = np.sqrt(power.mean(0))
        run.add(metric="spectral_slope", value=(log_slope(frequency, power) / 2).mean(), **what)
        grey = images.mean(-1, keepdims=True)
        run.add(metric="edge_kurtosis", value=np.median(edge_kurtosis(grey)), **what)
        shuffled = np.median(edge_kurtosis(random_phase(grey, seed)))
        run.add(metric="edge_kurtosis_shuffled", value=shuffled, **what)

    # Does noise of a known exponent have its slope, before and after it is rounded to bytes?
    errors, few = [], range(p.measured // 2)
    for a in exponents:
        recipe = Primitives("PinkNoise", exponents=(a, a))
        drawn = draw_shapes(recipe, few, **drawing)
        exact = pink_noise(drawn.exponents, few, **drawing)[:, 0]
        rounded = synthesize(recipe, indices=few, **drawing)
        what = {"method": "spectrum", "train": "PinkNoise", "test": "", "dataset": "drawn"}
        what |= {"metric": "spectral_slope", "seed": seed, "exponent": round(float(a), 3)}
        slope = spectral_slope(exact.permute(0, 2, 3, 1).numpy()).mean()
        run.add(value=slope, noise="exact", **what)
        run.add(value=spectral_slope(rounded).mean(), noise="bytes", **what)
        errors.append(abs(slope + a))
    what = {"method": "spectrum", "train": "PinkNoise", "test": "", "dataset": "drawn"}
    run.add(metric="worst_slope_error", value=max(errors), seed=seed, **what)

    # Whose phase, whose amplitude: photographs and noise exchange them.
    pink = Primitives("PinkNoise", exponents=(1, 1))
    noise = synthesize(pink, len(next(iter(real.values()))), **drawing)
    for name, images in real.items():
        swapped = swap_phase(noise, images)
        what = {"method": "phase swap", "train": "real", "test": "PinkNoise", "dataset": name}
        for metric, other in (("like_phase", images), ("like_amplitude", noise)):
            value = correlation(swapped, other).mean()
            run.add(metric=metric, value=value, seed=seed, **what)

    # What the policy of sizes and the number of shapes leave to be seen.
    plans = [("policy", policy, p.shapes) for policy in POLICIES]
    plans += [("count", "Decay", count) for count in counts]
    for study, policy, count in plans:
        recipe = Primitives("Primitives", shapes=count, size_policy=policy)
        top = layers(recipe, p.measured, **drawing)
        what = {"method": "layers", "train": "Primitives", "test": "", "dataset": "drawn"}
        what |= {"seed": seed, "study": study, "size_policy": policy, "n_shapes": count}
        run.add(metric="covered", value=coverage(top).mean(), **what)
        if count:
            run.add(metric="visible", value=visible(top, count).mean(), **what)

# %% [markdown]
# ## The pictures

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The four variants. A column has one index, so that each row adds one thing to the row above: shapes on a flat ground instead of noise, a large shape, noise on both. See the stripes and blobs of the first row: each image draws its own exponents. Only the last row has texture and outlines.", "name": "fig-51-variants"}, "image": {"alt": "Four rows of three small images: blurred coloured noise; bright lines, discs, ellipses and rectangles on a flat ground; the same with one large flat shape in the middle; the same with noise on that shape and on the ground."}}
import matplotlib.pyplot as plt

from synthbook.page import figures

figures.style()


def light(images):
    """Return images with 32 levels a channel, for pages of half the size."""
    return np.concatenate(list(images)) & 0xF8


some = {"indices": [4, 5, 7], "resolution": 64, "seed": p.first_seed}
grid = light(synthesize(recipe, **some) for recipe in recipes.values())
fig, ax = plt.subplots(figsize=(3.1, 0.64 * len(recipes)))
figures.image_grid(grid, len(recipes), 3, ax=ax, row_titles=[figures.label(v) for v in recipes])
plt.show()

# %% [markdown]
# One image of Primitives-PS, step by step. The shapes are the same in each step, only more of them:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How an image is made: ground of pink noise; the first 10 shapes; all 100, ever smaller; the large shape, a window on a second noise.", "name": "fig-51-steps"}, "image": {"alt": "Four small images in a row: noise, noise with 10 shapes, with 100 shapes, then with a large shape that is filled with other noise."}}
from synthbook.generate.primitives import tops
from synthbook.generate.primitives.noise import stretch

side, index = 64, 7
drawing = {"resolution": side, "seed": p.first_seed}
drawn = draw_shapes(Primitives(), [index], **drawing)
fields = stretch(pink_noise(drawn.exponents, [index], **drawing))[0].permute(0, 2, 3, 1)
ground, inside = np.rint(fields.numpy()).astype(np.uint8)


def step(first):
    """Return the image after its first shapes."""
    part = {name: getattr(drawn, name)[:, :first] for name in ("kind", "geometry", "colour")}
    top = tops(replace(drawn, **part), side)[0].numpy()
    palette = np.concatenate([np.zeros((1, 3), np.uint8), part["colour"][0]])
    return np.where((top == 0)[..., None], ground, palette[top])


last = synthesize(Primitives(), indices=[index], **drawing)[0]
steps = {"ground": ground} | {f"{n} shapes": step(n) for n in (10, 100)}
steps["large shape"] = last
fig, ax = plt.subplots(figsize=(4.4, 1.4))
grid = light(one[None].astype(np.uint8) for one in steps.values())
figures.image_grid(grid, 1, len(steps), list(steps), ax=ax)
plt.show()

# %% [markdown]
# ### Spectra
#
# The slope of the lines is what the noise was made for. Look also at how near the flat shapes come without any noise:
# the amplitude of an edge falls as one over the frequency, too, and images of overlapping shapes are known to
# have the spectrum of natural images.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Amplitude against frequency, averaged over rings and images (root of the mean power, equal at 1/32 cycles a pixel). Dashed: one over the frequency. Slopes are fitted in the shaded range. The steeper a line, the smoother the images.", "name": "fig-51-spectra"}, "image": {"alt": "Falling lines on logarithmic axes: the photographs and the four variants, beside a dashed line of slope minus one."}}
from synthbook.measure.spectra import HIGHEST, LOWEST

rows = run.frame()
fig, ax = plt.subplots(figsize=(5.8, 2.8))
ax.axvspan(LOWEST, HIGHEST, color="0.93", zorder=0)
for (source, dataset), curve in curves.items():
    curve = curve / np.interp(LOWEST, frequency, curve)
    look = figures.mark(source) | {"marker": ""}
    if source == "real":
        look["linestyle"] = "-" if dataset == next(iter(real)) else ":"
    slope = rows[(rows.train == source) & (rows.dataset == dataset)]
    slope = slope[(slope.metric == "spectral_slope") & (slope.setting == "")].value.mean()
    name = figures.label(source) if source != "real" else f"real: {dataset}"
    ax.plot(frequency, curve, label=f"{name} ({slope:.2f})", **look)
ax.plot([LOWEST, HIGHEST], [1, LOWEST / HIGHEST], "--", color="0.4", linewidth=1)
ax.set(xscale="log", yscale="log", xlabel="frequency (cycles a pixel)", ylabel="amplitude")
ax.legend(title="(slope)", loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# **Is the noise what its formula says?** With one exponent $a$ for both axes the weight along any direction is
# proportional to $f^{-a}$, so the slope should be $-a$. It is, until the image is rounded to bytes. The small
# amplitudes of steep noise are less than half a grey level at high frequencies, and rounding puts white noise in
# their place. What a network sees of exponents above some 2 is mostly that noise.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Measured slope of pink noise against its exponent, before (circles) and after (crosses) rounding to bytes. Dashed: slope = −a.", "name": "fig-51-exponents"}, "image": {"alt": "Measured slopes against the exponent: the exact noise follows the diagonal, the rounded noise leaves it above an exponent of about two."}}
from synthbook.record.rows import recorded

kept = recorded("51_synthesizer", "mini")
shown = kept if len(kept) else rows
fig, ax = plt.subplots(figsize=(4.6, 2.6))
for noise, marker, color in (("exact", "o", "#0072B2"), ("bytes", "x", "#D55E00")):
    some = shown[shown.noise == noise]
    label = "exact" if noise == "exact" else "as bytes"
    ax.plot(some.exponent.astype(float), some.value, marker, color=color, label=label)
ax.plot(exponents, -exponents, "--", color="0.4", linewidth=1)
ax.set(xlabel="exponent a", ylabel="slope")
ax.legend(title=figures.seeds(shown))
plt.show()

# %% [markdown]
# ### Phase
#
# A photograph and a noise image exchange their phases {cite:p}`oppenheim1981importance`. The result looks like
# whichever gave the phase, and that is why a spectrum alone is not enough. The kurtosis in the table below says the same
# of drawn images: their shapes are phase, and with it shuffled they are as featureless as noise. (The two photographs,
# by danielbuechele and vultilion, are under CC BY 2.0 and come with scikit-learn; the one below is reduced to 64 pixels.)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left to right: a photograph; its phase with the amplitude of noise (exponent 1); its amplitude with the phase of that noise.", "name": "fig-51-phase"}, "image": {"alt": "Three small images: a photograph, its outlines in unnatural colours, and a cloud with the photograph's spectrum."}}


def shown_as(images):
    """Return float images with mean 128 and spread 50, as bytes."""
    flat = (images - images.mean((1, 2, 3), keepdims=True)) / images.std((1, 2, 3), keepdims=True)
    return np.clip(np.rint(128 + 50 * flat), 0, 255).astype(np.uint8)


photograph = real[next(iter(real))][:1]
while photograph.shape[1] > 64:  # the mean of four pixels
    count, height, width, channels = photograph.shape
    parts = photograph.reshape(count, height // 2, 2, width // 2, 2, channels)
    photograph = parts.mean((2, 4)).astype(np.uint8)
photograph = np.repeat(photograph, 3, -1) if photograph.shape[-1] == 1 else photograph
few = {"resolution": photograph.shape[1], "seed": p.first_seed}
noise = synthesize(Primitives("PinkNoise", exponents=(1, 1)), 1, **few)
row = {
    "photograph": photograph,
    "its phase": shown_as(swap_phase(noise, photograph)),
    "its amplitude": shown_as(swap_phase(photograph, noise)),
}
fig, ax = plt.subplots(figsize=(3.6, 1.4))
figures.image_grid(light(row.values()), 1, len(row), list(row), ax=ax)
ax.tick_params(labelsize="small")
plt.show()

# %% [markdown]
# ### Sizes and numbers of shapes
#
# The appendix compares policies for the size. Decay is meant to keep early shapes in sight while late ones are
# added. With sizes that do not fall the last few shapes are all that is left.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Policies for the size of 100 shapes. With Decay nearly all can still be seen; with fixed sizes and with Rand the last ones cover the others.", "name": "fig-51-policies"}, "image": {"alt": "Five drawn images of one index: many shapes of all sizes with Decay; few large ones with random and with fixed sizes."}}
few = {"indices": [7], "resolution": 64, "seed": p.first_seed}
fig, ax = plt.subplots(figsize=(5.4, 1.4))
grid = light(synthesize(Primitives(size_policy=policy), **few) for policy in POLICIES)
figures.image_grid(grid, 1, len(POLICIES), list(POLICIES), ax=ax)
plt.show()

# %% [markdown]
# ## What the oddities of the public code do
#
# The public code does five things that the paper does not mention. They are off here, and each can be switched on
# by its name, as in `Primitives(quirks=("falling_lines",))`:

# %%
from synthbook.generate.primitives import QUIRKS

for name, text in QUIRKS.items():
    print(f"{name}: {text}")

# %% tags=["experiment"]
from synthbook.generate.primitives.shapes import LINE, RECTANGLE


def touching(quirks, kind, side=32, images=64):
    """Return the share of the shapes of a kind that reach any pixel of the image, in percent."""
    drawn = draw_shapes(
        Primitives("Primitives", quirks=quirks), range(images), resolution=side, seed=p.first_seed
    )
    chosen = np.argwhere(drawn.kind == kind)[:1500]
    image, place = chosen[:, :1], chosen[:, 1:]
    part = {name: getattr(drawn, name)[image, place] for name in ("kind", "geometry", "colour")}
    return 100 * (tops(replace(drawn, **part), side) > 0).any(-1).any(-1).float().mean().item()


def repeats(quirks, images=32):
    """Return the share of the images that two workers draw twice in an epoch, in percent."""
    dataset = PrimitivesDataset(Primitives(quirks=quirks), images, resolution=16, seed=0)
    loader = DataLoader(dataset, batch_size=4, num_workers=2)
    seen = [one.numpy().tobytes() for batch in loader for one in batch]
    return 100 * (1 - len(set(seen)) / len(seen))


def oddity(quirk, on):
    """Return what a quirk changes, as numbers, with the quirk on or off."""
    quirks = (quirk,) if on else ()
    recipe = Primitives("Primitives", quirks=quirks)
    few = {"resolution": 64, "seed": p.first_seed}
    if quirk == "grey_background":
        ground = draw_shapes(recipe, range(256), **few).background.astype(float)
        return {"colourfulness_of_the_ground": (ground.max(1) - ground.min(1)).mean()}
    if quirk == "falling_lines":
        drawn = draw_shapes(recipe, range(64), **few)
        ends = drawn.geometry[drawn.kind == LINE]
        falling = ((ends[:, 2] - ends[:, 0]) * (ends[:, 3] - ends[:, 1]) >= 0).mean()
        power = falling_share(synthesize(recipe, 64, **few)).mean()
        return {"lines_down_to_the_right": 100 * falling, "power_across_them": 100 * power}
    if quirk == "fixed_canvas":
        small = layers(recipe, 64, resolution=32, seed=p.first_seed)
        return {
            "lines_in_the_image": touching(quirks, LINE),
            "rectangles_in_the_image": touching(quirks, RECTANGLE),
            "pixels_under_a_shape": 100 * coverage(small).mean(),
        }
    if quirk == "pixel_frequencies":
        noise = synthesize(
            replace(recipe, variant="PinkNoise"), 64, resolution=32, seed=p.first_seed
        )
        return {"spread_of_the_noise": noise.std((1, 2)).mean()}
    return {"images_drawn_twice": repeats(quirks)}


for quirk in QUIRKS:
    for on in (False, True):
        for metric, value in oddity(quirk, on).items():
            what = {"train": quirk, "test": "on" if on else "off", "dataset": "drawn"}
            run.add(method="quirk", metric=metric, value=value, seed=p.first_seed, **what)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Without (upper row) and with (lower row) a quirk: lines that only run down to the right; positions of lines and rectangles in 0 to 255 on a canvas of 32 pixels, so that little more than discs and ellipses remains; the first two batches of two from two workers.", "name": "fig-51-quirks"}, "image": {"alt": "Pairs of small drawn images: lines in all directions and in one; many shapes and only round ones; four different images, and two images that come twice."}}
columns = {"falling_lines": ("lines", 64, 1), "fixed_canvas": ("32 pixels", 32, 1)}
fig, axes = plt.subplots(2, 3, figsize=(4.6, 1.9), width_ratios=[1, 1, 4])
for line, on in enumerate((False, True)):
    for ax, (quirk, (title, side, many)) in zip(axes[line], columns.items(), strict=False):
        recipe = Primitives("Primitives", quirks=(quirk,) if on else ())
        images = synthesize(recipe, many, resolution=side, seed=p.first_seed)
        figures.image_grid(images & 0xF8, 1, many, ax=ax)
        ax.set_title("" if line else title, fontsize="medium")
    quirks = ("worker_streams",) if on else ()
    recipe = Primitives("Primitives-S", quirks=quirks)
    dataset = PrimitivesDataset(recipe, 4, resolution=32, seed=p.first_seed)
    batches = list(DataLoader(dataset, batch_size=2, num_workers=2))
    images = np.concatenate([batch.permute(0, 2, 3, 1).numpy() for batch in batches])
    figures.image_grid(images & 0xF8, 1, 4, ax=axes[line, 2])
    axes[line, 2].set_title("" if line else "two workers", fontsize="medium")
    axes[line, 0].set_ylabel("with" if on else "without", fontsize="medium")
plt.show()

# %% [markdown]
# ## The tables
#
# Slope and kurtosis (the median over the images), then what swapping phases does: the correlation of the swapped image
# with the image that gave the phase, and with the one that gave the amplitude. The paper prints none of these.

# %% tags=["hide-input"]
from synthbook.page.tables import comparison

rows = run.frame()
scales = [recorded("51_synthesizer", scale) for scale in ("mini", "small")]


def table(chosen, **how):
    """Return the rows that a function picks, of this run and of the recorded ones."""
    parts = [chosen(one) if len(one) else one for one in (rows, *scales)]
    return comparison(parts[0], parts[1:], None, **how)


listed = ["spectral_slope", "edge_kurtosis", "edge_kurtosis_shuffled", "like_phase"]
listed += ["like_amplitude"]
table(
    lambda t: t[t.metric.isin(listed) & (t.setting == "")],
    index=["train", "dataset"],
    columns="metric",
    decimals=2,
    headings={"train": "images"},
)

# %% [markdown]
# What can still be seen of the shapes, in shares of the pixels and of the shapes:

# %% tags=["hide-input"]
table(
    lambda t: t[t.method == "layers"],
    index=["study", "size_policy", "n_shapes"],
    columns="metric",
    decimals=3,
    headings={"study": "varied", "size_policy": "sizes", "n_shapes": "shapes"},
)

# %% [markdown]
# The quirks, in percent; colourfulness (largest less smallest channel) and spread (standard deviation over the pixels
# of a channel, at 32 pixels) in grey levels of 255:

# %% tags=["hide-input"]
table(
    lambda t: t[t.method == "quirk"],
    index=["train", "metric"],
    columns="test",
    headings={"train": "quirk", "metric": "what it changes"},
)

# %% [markdown]
# ## The claims
#
# One claim of the paper is about the images alone; all others are about GANs trained on them.

# %% tags=["nbval-check-output"]
from synthbook.claims.decide import verdicts
from synthbook.page.tables import verdict_table

claims = ["prim-22"]
for verdict in verdicts("mini", ids=claims):
    print(verdict.id, verdict.verdict)

# %% tags=["hide-input"]
verdict_table(verdicts(ids=claims))

# %% [markdown]
# **Reading it.** The claim asks whether the formula covers the spectrum of natural images. It says nothing of whether
# the noise is needed for it: compare the slopes of Primitives, which has no noise, with those of the photographs.

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **Photographs.** Two, in random squares at their own resolution. `-p data my_images/` takes your own.
# - **Where paper and code differ,** the code's exponents (one an axis and channel) and sizes (two pixels more, so that
#   the last shapes can be seen) are used; `tied_exponents` gives the paper's. Positions are relative to the resolution.
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
