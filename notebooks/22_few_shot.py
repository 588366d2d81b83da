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
# # 22 A few photographs, and images that start from them
#
# **The question.** Somebody has one photograph of each class, or two, or sixteen. Do images that nobody photographed still help
# a classifier then, and is there a better use for the photographs than to learn them: can they steer which images are made?
#
# **The study's answer.** {cite:t}`he2023synthetic` tune the head of a CLIP {cite:p}`radford2021learning` on both kinds of images at
# once. With generated images it is better than with the photographs alone, and by less the more photographs there are (Figure 1 there). Best
# are images that *start* from the photographs: noise is laid over one, and the sampler of a diffusion model takes it off again
# (Table 5). Both kinds at once are better than one after the other (Table 7), and batch norm is best left as it is (Table 6).
#
# **Here.** Ten kinds of photographs, 32 pixels wide, a small CLIP and a small text-to-image model that come with the book and have seen none of
# them. What the study calls real guidance is called a {term}`real start` on this page: the {term}`Real Guidance` of another study,
# in [chapter 16](16_real_guidance.ipynb), projects gradients and has nothing to do with it.

# %% tags=["hide-input"]
from synthbook.page.page import answer

answer("22_few_shot")

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
seeds: int = 1  # seeds to run: each draws shots, noise and the order of images
first_seed: int = 0  # the first of them
parts: list[str] = ["methods", "strategies", "phases"]  # also norms, which encodes at every step
methods: list[str] = [
    "zero-shot",
    "CT w. init",
    "CT w. random",
    "CT w. Syn",
    "Tip-Adapter",
    "Tip-Adapter-F",
    "CoOp",
]  # of Figure 1
shots: list[int] = [1, 2, 4, 8, 16]  # photographs of each class, one number after the other
targets: list[str] = ["caltech10"]  # data sets: names, folders of class folders, .npz files
encoder: str = "web-clip"  # the book's CLIP, NETWORK:TAG of open_clip, or local-dir:FOLDER
template: str = "photo"  # of the text that a head starts from: a name, or a text with {}
model: str = ""  # a diffusers pipeline: a folder or a name on the Hub; "" is the book's own
language_model: str = ""  # a word-to-sentence T5; "" is the book's grammar
class_words: str = ""  # a file of class names with definitions and parents; "": WordNet's
data_root: str = ""  # where downloaded data sets lie
image_size: int = 0  # side in pixels to resize to; 0 keeps the size
sentences: int = 20  # of each class, that images are asked for by
images_per_class: int = 100  # images from noise of each class, from which filters choose
kept_share: float = 0.4  # of them, kept of each class; as many start from shots
guidance_scale: float = 2.0  # of all images
num_inference_steps: int = 12  # in which an image is made from noise alone
loss: str = "SCE"  # of generated images: CE, or half of it with CLIP's own scores as targets
chosen_by: str = "validation"  # photographs choose the measurement that counts; or last
tuning_settings: list[str] = [
    "steps: 200",
    "batch_size: 128",
    "learning_rate: 0.02",
    "measure_every: 5",
]  # of heads
tip_settings: list[str] = []  # of Tip-Adapter-F, over the usual
coop_settings: list[str] = [
    "context: a photo of a",
    "learning_rate: 0.02",
    "measure_every: 5",
]  # of CoOp, over the usual
device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
threads: int = 1  # CPU threads; more of them round sums differently
rows: str = ""  # file to append the rows to; "" is _build/rows/<chapter>.jsonl

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.record.parameters import parameters
from synthbook.studies import few_shots

p = parameters("22_few_shot", globals())
print(few_shots.check_few_shots(p), few_shots.plan_few_shots(p), sep="\n")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Accuracy on unseen photographs by the number of photographs of each class. Above on the left: seven ways to a classifier, with the step of each training chosen on validation photographs; CT is the head of the CLIP tuned, from words (init), from nothing (random), or from words with generated images besides (Syn). On the right: the same trainings at their last step, which is what there is without validation photographs. Below: what the generated images add, CT w. Syn less CT w. init, either way. Means over seeds with 95 % intervals; marks of one number of photographs stand a little apart. Look below whether a curve stays above zero and whether it falls, and whether a choice hides what few photographs do to a head: below the grey line on the right they harm it.", "name": "fig-22-shots"}, "image": {"alt": "Three line charts over one to sixteen shots: accuracy of seven few-shot methods with the step chosen on validation photographs and at the last step, each with the zero-shot level as a grey line, and the gain by generated images with a line for either choice and a line at zero."}}
import matplotlib.pyplot as plt

from synthbook.page import figures
from synthbook.page.page import Page, matching
from synthbook.record.rows import Run

figures.style()
LOOKS = {
    "CT w. Syn": {"color": "#D55E00", "marker": "v"},
    "CT w. init": {"color": "#0072B2", "marker": "o"},
    "CT w. random": {"color": "#56B4E9", "marker": "s", "linestyle": ":"},
    "Tip-Adapter": {"color": "#009E73", "marker": "D", "linestyle": "--"},
    "Tip-Adapter-F": {"color": "#E69F00", "marker": "^"},
    "CoOp": {"color": "#CC79A7", "marker": "P", "linestyle": "-."},
}


def over_shots(ax, table, shift, **look):
    """Draw the means of a table over the numbers of shots, with intervals, a little beside them."""
    groups = {count * shift: list(some.value) for count, some in table.groupby("shots")}
    figures.means_and_intervals(ax, [*groups], [*groups.values()], **look)
    ax.set(xlabel="photographs of each class", xscale="log")
    ax.set_xticks(p.shots, [str(n) for n in p.shots])
    ax.minorticks_off()


WAYS = {"top1_accuracy": "step chosen on photographs", "last_accuracy": "last step"}
if p.chosen_by == "last":
    WAYS = {"top1_accuracy": "last step"}
GAINS = {  # metric -> its place beside the number of shots, and its look
    "gain_by_images": (0.97, {}),
    "last_gain": (1.03, {"color": "black", "markerfacecolor": "white", "linestyle": "--"}),
}


def of_shots(page):
    """Draw the methods of Figure 1, and what generated images add, for the first data set."""
    where = {"part": "methods", "dataset": p.targets[0]}
    whose = page.shown("top1_accuracy", **where)[1]
    level = page.shown("top1_accuracy", method="zero-shot", **where)[0].value.mean()
    # the accuracies, their gain and a key of both
    layout = "01;gk" if len(WAYS) > 1 else "0g;k."
    fig, axes = plt.subplot_mosaic(layout, figsize=(8, 6.2))
    for place, (metric, title) in enumerate(WAYS.items()):
        ax, table = axes[str(place)], page.shown(metric, **where)[0]
        for k, (method, look) in enumerate(LOOKS.items()):
            if len(mine := matching(table, method=method)):
                over_shots(ax, mine, 1.03 ** (k - 2.5), label=method, **look)
        ax.axhline(level, color="#7F7F7F", linewidth=1, label="zero-shot")
        ax.set_title(title, fontsize="medium")
    axes["0"].set(ylabel="accuracy (%)")
    if len(WAYS) > 1:
        axes["1"].sharey(axes["0"])
        axes["1"].autoscale(axis="y")
    gain, key = axes["g"], axes["k"]
    for metric, (shift, look) in GAINS.items():
        if len(gains := page.shown(metric, **where)[0]):
            label = [*WAYS.values()][metric == "last_gain"]
            over_shots(gain, gains, shift, **LOOKS["CT w. Syn"] | look, label=label)
    gain.axhline(0, color="#7F7F7F", linewidth=1)
    gain.set(ylabel="points")
    gain.set_title("CT w. Syn less CT w. init", fontsize="medium")
    key.set_axis_off()
    of_gain, of_ways = (ax.get_legend_handles_labels() for ax in (gain, axes["0"]))
    how = {"alignment": "left", "borderaxespad": 0}
    lower = key.legend(*of_gain, title="gain", loc="lower left", fontsize="small", **how)
    key.legend(*of_ways, title="accuracy", loc="upper left", ncols=2, fontsize="small", **how)
    key.add_artist(lower)
    fig.supxlabel(whose, fontsize="small")
    plt.show()


page = Page(Run(p))
if page.shown("top1_accuracy", part="methods")[1]:
    of_shots(page)
else:
    print("Nothing is recorded at this scale; the picture of this run is below.")

# %% tags=["hide-input"]
from synthbook.intervals import interval
from synthbook.page.tables import aside


def in_short(page):
    """Say with how many photographs generated images clearly add to them, by what is chosen."""
    told = []
    for metric, way in zip(GAINS, WAYS.values(), strict=False):
        table, whose = page.shown(metric, part="methods", dataset=p.targets[0])
        reaches = {count: interval(some.value) for count, some in table.groupby("shots")}
        clear = {count: reach for count, reach in reaches.items() if reach.low > 0}
        means = [reach.mean for reach in reaches.values()]
        ends = [f"{end:+.1f}".replace("-", "−") for end in (min(means), max(means))]
        numbers = f"with {' and '.join(map(str, clear))} of them" if clear else "with no number"
        told.append(
            f"{way.capitalize()}: between {' and '.join(ends)}, interval above zero {numbers}"
        )
    return (
        f"In short ({whose}): what generated images add to {p.shots[0]} to {p.shots[-1]} photographs "
        f"of each class, in points (CT w. Syn less CT w. init). {'. '.join(told)}."
    )


aside(in_short(page)) if page.shown([*GAINS], part="methods", dataset=p.targets[0])[1] else None

# %% [markdown]
# ## The mechanism
#
# **Classifier tuning** {cite:p}`wortsman2022robust`, {term}`CT <classifier tuning>`**.** With $g$ the image encoder of the CLIP, which stays as it is, and $h$ its text encoder, a head $W$ begins as
# texts about the classes and is trained on features:
#
# $$
# f(x) = \tau \, g(x)^\top W, \qquad W = [h(s_1), \ldots, h(s_K)], \qquad s_i = \text{"a photo of a } c_i\text{"}.
# $$
#
# **A real start** {cite:p}`meng2022sdedit`**.** The sampler of a diffusion model begins with noise. Here it begins with a shot $x$ of the class and noise over it, and does what is
# left of its steps, told by a sentence what it looks at. For the flow matching of this book's model that is
#
# $$
# x_{t_0} = (1 - t_0) \, x + t_0 \, \epsilon, \qquad \epsilon \sim \mathcal{N}(0, 1),
# $$
#
# and for the diffusion of the paper $\sqrt{\bar\alpha_{t_0}}\, x + \sqrt{1 - \bar\alpha_{t_0}}\, \epsilon$; the {term}`strength` $t_0$ falls
# with the number of shots. All shots are used equally often.

# %%
import pandas as pd

from synthbook.generate.from_images import STRENGTHS, steps_of
from synthbook.page.tables import plain

steps = {n: steps_of(strength, p.num_inference_steps)[0] for n, strength in STRENGTHS.items()}
left = pd.DataFrame({"strength": STRENGTHS, "steps that are left": steps}).rename_axis("shots")
plain(left, decimals=2)

# %% [markdown]
# **A real filter.** Shots can choose among images as well. From those that the CLIP takes for their class ([chapter 21](21_zero_shot.ipynb)'s LE + CF, here
# the basic strategy B), the {term}`real filter` RF drops the ones whose nearest shot is of another class, and of those that are left keeps as
# many as B has, drawn by chance, or all, where they are fewer:
#
# $$
# \text{keep } x \text{ of class } c \Leftrightarrow \max_{y_j = c} g(x)^\top g(x_j) \ge \max_{y_j \ne c} g(x)^\top g(x_j).
# $$
#
# **Both kinds of images.** *Mixed*, each step sees as many photographs as generated images. In two phases half of the steps see one
# kind and the other half the other, each with a schedule of its own, so that all take equally many steps:

# %%
from synthbook.recognize.tuning import STAGES

STAGES

# %% [markdown]
# **The rivals.** Tip-Adapter {cite:p}`zhang2022tip` puts a cache of the shots beside the zero-shot head, and its form F trains the keys of the
# cache. CoOp {cite:p}`zhou2022learning` learns the words before the class's name, from "a photo of a" on, so that it starts at the same head as CT.
#
# **The choice.** All that choose something, a measurement along the training or the weight of the cache, choose it on the same validation
# photographs. These are many more than the shots, and nobody with one photograph of each class has them: with few shots
# they may choose the head before its first step, which is the zero-shot head, and so hide that learning a few photographs did harm. So without
# validation photographs the rows chosen by the last step stand beside, here and in the claims, and cost no second training,
# but for Tip-Adapter-F's short one. Tip-Adapter is not trained: its two lines have the weight and the sharpness of the cache that
# photographs choose, and the usual ones. The study's own code
# chooses on the test images. What that fault and its others are worth is measured in [chapter 21](21_zero_shot.ipynb).
#
# ## The experiment
#
# For each number of shots: the photographs, the images that start from them, and all classifiers.

# %% tags=["experiment"]
from synthbook.machine import prepare
from synthbook.page.progress import progress

device = prepare(p.device, p.threads)
run, study = Run(p), few_shots.FewShots(p, device)
for job in progress(study.jobs, "parts"):
    for row in study.rows(*job):
        run.add(**row)

# %%
page = Page(run)
page.agreement()

# %% [markdown]
# ## The pictures
#
# One photograph of each class, and what came of it. With one shot half of the noise is laid over it, with sixteen a seventh.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "From top to bottom: a photograph of each class; images that start from it, with the strength for one, four and sixteen shots; and images of the same classes from noise alone, by sentences (LE) and by the class's name (B of chapter 21). Go down a column: where does the photograph end and the model's own idea of the class begin?", "name": "fig-22-starts"}, "image": {"alt": "A grid of small images with a column for each class: photographs in the first row, then images that start from them at falling strength, then images from noise."}}
from synthbook.generate.from_images import strength_of

seed, name = p.first_seed, p.targets[0]
target, across = study.targets[name], min(10, len(study.targets[name].classes))
lines = study.followed(seed, name, across)
titles = {0: "a photograph"}
titles |= {n: f"{n} shot{'s' * (n > 1)}, strength {strength_of(n):g}" for n in p.shots[::2]}
tiles = {title: lines[n] for n, title in titles.items()}
noise = {
    "by a sentence (LE)": study.drawn(seed, name),
    "by its name (B)": target.images(seed, "B", 1),
}
tiles |= {f"from noise, {words}": few_shots.firsts(some, across) for words, some in noise.items()}
fig, axes = plt.subplots(len(tiles), 1, figsize=(0.76 * across, 0.96 * len(tiles)))
for ax, (title, images) in zip(axes, tiles.items(), strict=True):
    names = [one.replace(" ", "\n") for one in target.names[:across]]
    names = names if title == titles[0] else None
    figures.image_grid(figures.light(images), 1, across, titles=names, ax=ax)
    ax.tick_params(labelsize=8)
    ax.set_title(title, fontsize="small", loc="left")
plt.show()

# %% [markdown]
# The first figure of this page again, from this run alone:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Accuracy by the number of photographs, and the gain by generated images, this run.", "name": "fig-22-shots-live"}, "image": {"alt": "Three line charts over one to sixteen shots, from this run: accuracy of few-shot methods, and the gain by generated images."}}
page_of_run = Page(run)
page_of_run.recorded = {}
if page_of_run.shown("top1_accuracy", part="methods")[1]:
    of_shots(page_of_run)

# %% [markdown]
# ## The tables
#
# The ways to a classifier, in percent, by the number of photographs of each class (above the columns), with the step of each training chosen
# on validation photographs and at the last step, where nothing is chosen. The paper has them as curves only, in its Figure 1.


# %% tags=["hide-input"]
def with_choice(table):
    """Return accuracies of the part methods with the step that counts, in words."""
    table = matching(table, part="methods", metric=[*WAYS])
    step = table.metric.map(WAYS).where(table.method != "zero-shot", "none")
    return table.assign(step=step)


order = ["zero-shot", *reversed(LOOKS)]
page.table(["method", "step"], "shots", None, with_choice, order=order)

# %% [markdown]
# Table 5: which images go with the photographs: by sentences and through CLIP's filter (B), through the real filter besides (RF), or real
# starts (*RG* is the study's abbreviation, and not the RG of chapter 16). The paper's figures here and below are of EuroSAT, satellite
# photographs, by a CLIP with a ResNet-50 and images of GLIDE: only orders and signs can be compared.

# %% tags=["hide-input"]
from synthbook.record.published import published


def of_paper(table, **fields):
    """Return a printed table with the names that rows have."""
    found = published("ready", table)
    found = found[found.metric == "top1_accuracy"]
    return found.assign(**{name: make(found) for name, make in fields.items()})


paper = of_paper(
    "T5",
    strategy=lambda t: t.method.str.removeprefix("CT "),
    shots=lambda t: t.shots.astype(int),
)
where = {"part": "strategies", "metric": "top1_accuracy"}
page.table(["shots"], "strategy", paper, where)

# %% [markdown]
# What a filter drops does not come back, so that RF has fewer images than the others, and of some classes very few. *B, fewer* is a control: of
# each class as many as RF has, drawn by chance from those of B. The same images again: the accuracy at the last step; how many each filter passes,
# in percent of those that it saw; how many of a class are kept, on average and of the class that keeps the fewest; and how far the images
# are from test photographs in the CLIP's features (Fréchet distance, FD, as many images of each class). The line *real* are validation
# photographs, which is as near as one can get.

# %% tags=["hide-input"]
asked = ["last_accuracy", "passed_share", "kept_images", "fewest_images", "fd"]
where = {"part": "strategies", "metric": asked}
lines = ["B", "RF", "B, fewer", "RG", "real"]
page.table(["strategy"], "metric", None, where, decimals={"": 1, "fd": 3}, order=lines)

# %% [markdown]
# Table 6: batch norm of the encoder while the head is tuned. *Frozen* it stays as it was; *live* it uses, and gathers, the statistics of the images that are
# learned, which is what the paper's other column is taken for; *trained*, its gains and offsets learn, too. The book's CLIP is a small
# ResNet and has batch norm. This part encodes all images at every step, so that it is recorded and not run with the page.

# %% tags=["hide-input"]
KINDS = {"Real": "real", "synthetic GLIDE": "synthetic"}
NORMS = {"yes": "frozen", "no": "live"}
paper = of_paper(
    "T6",
    train=lambda t: t.source.map(KINDS),
    batch_norm=lambda t: t.freeze_bn.map(NORMS),
)
page.table(["train"], "batch_norm", paper, {"part": "norms"}, headings={"train": "learned from"})

# %% [markdown]
# Table 7: both kinds of images at once, or one after the other.

# %% tags=["hide-input"]
AS_OURS = {
    "CT RG mix": "mix",
    "CT RG phase-wise syn->real": "synthetic-then-real",
    "CT RG phase-wise real->syn": "real-then-synthetic",
}
paper = of_paper(
    "T7", training=lambda t: t.method.map(AS_OURS), shots=lambda t: t.shots.astype(int)
)
page.table(["shots"], "training", paper, {"part": "phases", "metric": "top1_accuracy"})

# %% [markdown]
# The same at the last step:

# %% tags=["hide-input"]
page.table(["shots"], "training", None, {"part": "phases", "metric": "last_accuracy"})

# %% [markdown]
# ## The claims

# %% tags=["nbval-check-output"]
page.claims()

# %% [markdown]
# **Reading them.**
#
# - **What the choice does (ready-18, ready-19).** A gain is a difference of two heads. Where validation photographs choose one of them, or both,
#   at its start, the difference says more of the choice than of the images. The forms beside the claims, and the right and the lower panel of the
#   first figure, have the last step of both. A claim that comes out one way by the choice and another way by the last step is a claim about stopping early.
# - **Where a gain may come from.** It needs no generator that knows more than the photographs do. Images that start from sixteen photographs at a
#   strength of 0.15 are these photographs with small changes: what they add is augmentation, and the study's code has no other. And half of
#   what is learned from a generated image is what the zero-shot head says of it: such targets hold the head to its words, and may save it from
#   what few photographs do to it. Where B, whose images have seen no photograph, does as well as RG, a start from photographs has added nothing.
# - **The rivals (ready-20).** CT moves the column of every class by itself. CoOp moves a few vectors, the same before all names, and can do less
#   with the same photographs; Tip-Adapter leaves the head as it is and adds the shots to it, so that it can lose little.
# - **The filter (ready-23).** RF has what passes and no more, so that its classes are uneven. *B, fewer* is as uneven, and only the choice of images
#   tells the two apart.
# - **Batch norm (ready-25).** In the paper live batch norm costs ten points. Here it gains with photographs. With generated images nothing can be
#   said: validation photographs chose the head before its first step in two of the five seeds with frozen batch norm, in the same two with live, and
#   in four with gains and offsets trained as well. There the accuracies are the zero shots' to the last digit, as nothing was trained.
#   Why it gains with photographs was not tested. The paper's CLIP has seen hundreds of millions of pictures, and statistics of a few hundred can
#   only be worse. The book's has seen CIFAR alone; photographs of Caltech-101 look otherwise, and their own statistics, of sixteen of each class,
#   may fit them better.

# %% [markdown]
# ## What was simplified, and how to run it larger
#
# - **The CLIP** has 2.6 million weights and has read 54,000 captioned pictures of CIFAR; the generator as many. Both of the
#   paper have seen hundreds of millions of pictures.
# - **One data set** of ten kinds stands for eight; forty images of each class, filtered or started from shots, for 800.
# - **Strengths** are those of the public code. By flow matching 0.15 means 0.85 of the photograph's amplitude, by GLIDE's cosine 0.97.
# - **Mixed** here means equal halves of each batch with equal weights; the public code has 32 photographs and 512 images a step, with equal
#   weights of both losses.
# - **The real filter.** The paper drops what is *very close* to shots of other classes, and gives no threshold; that the nearest shot decides is
#   this book's choice. It drops nearly two thirds, so that the paper's must be milder, and leaves some classes few of a hundred images. The paper has as many images in all three sets, approximately; here
#   more would have to be drawn until enough pass, of the rarest class many times as many, for minutes of a core.
# - **Sentences** ask for all images here, those that start from shots as well. For these the study's public code, which is of EuroSAT, has one
#   fixed text with the class's name, *a centered satellite photo of ...*; the paper's main text does not say by which words it asked.
# - **The choice** of a measurement is made on validation photographs, by all methods alike, and the last step stands beside; the paper does
#   not say how it chose, and its code takes the best on the test. Batch norm's part has the choice alone,
#   so that of a training whose start was chosen nothing is to be seen.
# - **Steps.** Heads have 200 here, whatever they learn, and so has CoOp at every number of shots. Tip-Adapter-F has its usual 20 epochs of batches
#   of 256, which are 20 steps with the 10 to 160 photographs of this page. At the scale `paper` the heads of a data set have 30 epochs of its
#   generated images, those that learn photographs alone as well, and CoOp has its paper's epochs: 50 to 200, more of them the more shots there are.
# - **Augmentation.** CT, CoOp and Tip-Adapter-F learn features of the photographs as they are, encoded once. The public codes of both rivals crop and
#   flip the photographs at random, and Tip-Adapter's averages the keys of its cache over several such views.
# - **CoOp's** prompts end with the name, as those of the zero-shot head do; its public code has a full stop there (`coop_settings`, `ending`).
#
# ```bash
# papermill notebooks/22_few_shot.ipynb out.ipynb -p seeds 2 -p chosen_by last
# synthbook run 22_few_shot -p parts=norms
# synthbook run 22_few_shot -p targets=my_photos -p class_words=my_words.csv -p image_size=32
# synthbook run 22_few_shot -p targets=my_photos -p class_words=my_words.csv -p image_size=224 -p encoder=RN50:openai -p model=stable-diffusion-v1-5/stable-diffusion-v1-5
# synthbook run 22_few_shot --scale paper -p data_root=data
# ```
#
# The third takes a folder of your own, with at least sixteen photographs of each class to train on or fewer `shots`. The book's CLIP and its
# generator know the words of CIFAR's captions and no others: the check of the parameters names those of your classes that are not among them, and
# what is made of these means nothing. The fourth takes models that have read more. Images of shots that do
# not come with the book are made when they are asked for, seven to twenty seconds of a core for each number of shots.
# The paper's protocol: eight data sets, CLIP with a ResNet-50, and 800 images of each class; GLIDE is no longer in diffusers, so that another model
# draws them (`generate/text_models.py`).
