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
# # 62 All claims and their verdicts
#
# **What do the five studies claim, and which of it can be seen again at the scales of this book?**
#
# This page lists every claim that the book takes from the studies, 139 in all, with what its paper
# reports, what speaks against it there, and its verdict at each scale. It reads recorded rows only:
# nothing is trained here, so the page says what is on record and no more. First, in a minute, a few
# of them by the questions that a reader may have.

# %% tags=["hide-input", "nbval-check-output"]
from synthbook.page.headlines import came_out

came_out()

# %% [markdown]
# ## What the words mean
#
# Five words, set by rules that do not look at the result
# ([how to read](../book/how_to_read.md) has them at length):
#
# - **holds**: every required inequality is decided, over seeds, on the claimed side in as many cells
#   (generator, data set, backbone) as the claim says: all, most, any, or their mean. An effect is
#   written so that a positive one supports the claim.
# - **fails**: something that the claim needs is decided against it, also after Holm's correction for
#   how many things it needs. (Where it needs most of the cells, that is so many of them that no
#   majority is left.)
# - **no effect**: nothing fails, and what does not hold lies within a margin about zero that was
#   stated beforehand.
# - **undecided**: anything else. An interval spans zero; it lies on the other side, but no longer
#   after that correction; too few cells of a majority are decided; there are fewer than five seeds;
#   or a premise of the claim is not met at this scale (no gap to close, a classifier that did not
#   converge).
# - **not run**: rows are missing, or the claim cannot be asked on this bed; the reason is under *why*.
#
# The effect shown is the weakest, because a claim is as strong as that. A verdict is a link to the
# claim's place in its chapter, with all parts, the check, and the lines of the rows it rests on.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters", "code_prompt_hide": "Hide the parameters"}
scales: list[str] = []  # scales to show, a column each; none named: all that have recorded rows

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show their check", "code_prompt_hide": "Hide their check"}
from synthbook.page import claims_page as overview
from synthbook.record.parameters import parameters

p = parameters("62_claims", globals())
scales_shown = overview.scales_to_show(p.scales)

# %% tags=["hide-input"]
from synthbook.claims.catalogue import claims
from synthbook.claims.decide import verdicts
from synthbook.page import figures
from synthbook.page.tables import Display, plain
from synthbook.page.verdicts import premises_table

figures.style()
found = [one for scale in scales_shown for one in verdicts(scale=scale)]


def table(study: str) -> Display:
    """Show the claims of a study with their verdicts."""
    return overview.claims_table(claims(study), found, scales_shown, overview.STUDIES[study])


# %% [markdown]
# ## How many of each
#
# Grey is the part that this book has not asked yet. The other pieces are what the recorded rows
# say; a scale at which a claim fails is as much a result as one at which it holds.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Horizontal stacked bars, one panel for each scale and one bar for each of the five studies, cut into the numbers of claims that hold, fail, are undecided, or were not run. The table below gives the same numbers."}, "figure": {"caption": "Verdicts by study and scale. The number in a piece is the number of claims.", "name": "fig-62-counts"}}
counts = overview.counts_table(found, scales_shown)
figure = overview.count_bars(counts)

# %% tags=["hide-input", "nbval-check-output"]
plain(counts, notes=filter(None, [overview.sizes_note(found)]))

# %% [markdown]
# ## gap: why generated images train worse classifiers
#
# The checks of this study stand in `book/paper/claims_gap.yml` under `check`, next to the words
# they come from. Verdicts at the smallest scale speak of photographs of 32 pixels, of generators
# that learned a few thousand of them, and of small classifiers; they neither confirm nor refute the
# paper's own numbers, which belong to CIFAR-10 and larger networks.

# %% tags=["hide-input"]
table("gap")

# %% [markdown]
# ## ready: text-to-image data for recognition

# %% tags=["hide-input"]
table("ready")

# %% [markdown]
# ## dip: instance priors for training GANs on little data

# %% tags=["hide-input"]
table("dip")

# %% [markdown]
# ## fake: synthetic clones of ImageNet

# %% tags=["hide-input"]
table("fake")

# %% [markdown]
# ## prim: pretraining GANs on drawn images

# %% tags=["hide-input"]
table("prim")

# %% [markdown]
# ## Premises
#
# What must be so before a claim can be asked at all; each is judged in every cell where a claim
# names it. Where one is not met, the claim is undecided, not failed.

# %% tags=["hide-input"]
premises_table(found, scales_shown)

# %% [markdown]
# ## The same as data
#
# `synthbook claims --json` prints the verdicts as JSON, each with its parts: every inequality in
# every cell, with its own interval and the rows that it rests on. `synthbook rerun gap-03` runs one
# seed of a claim again and shows both. In Python:

# %%
print(found[0].id, found[0].scale, found[0].verdict, found[0].effect_text)
for part in found[0].parts:
    print(f"{part.verdict:10} {part.inequality:24} {part.cell}")

# %% [markdown]
# ## What this page leaves out
#
# A verdict covers what changes with the seed, on the data sets and networks that have rows. It says
# nothing of other data sets or networks. A claim that no chapter's bed can be asked has no check, and
# its note says why. To add rows at a larger scale, run the chapter that a claim links to, for example
#
# ```bash
# make results SCALE=small CHAPTER=12_not_mutual
# ```
