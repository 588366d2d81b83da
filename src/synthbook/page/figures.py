"""Figures: one look, and one colour, marker and line for each name in the whole book."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.errors import InputError
from synthbook.intervals import Interval, interval
from synthbook.page import looks
from synthbook.page.looks import PALETTE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Without these a PNG differs between two runs of the same code.
METADATA = {"Software": None, "Creation Time": None}
VISIBLE = 1.0  # of 255, on average over the pixels
SHEET_COLORS = 192  # of a sheet of images, which leaves some of a PNG's 256 for lines and text
SETTINGS: dict[str, Any] = {
    "figure.figsize": (6.4, 3.0),
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 13,
    "axes.labelsize": 13,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.8,
    # A phone shows the 700 pixels of a figure at half their size.
    "font.size": 13,
    "legend.fontsize": 12,
    "legend.frameon": False,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "lines.linewidth": 2.0,
    "lines.markersize": 7,
    "image.interpolation": "nearest",
}


def style() -> None:
    """Set the book's look for all figures after this call (matplotlib, and Jupyter's PNGs)."""
    import matplotlib as mpl
    from cycler import cycler

    mpl.rcParams.update(SETTINGS | {"axes.prop_cycle": cycler(color=PALETTE)})
    if "ipykernel" not in sys.modules:
        return
    import matplotlib.pyplot as plt
    from IPython import get_ipython
    from matplotlib.figure import Figure

    if hasattr(shell := get_ipython(), "kernel"):
        plt.switch_backend(mpl.get_backend())  # else it is set up later, and undoes what follows
        shell.display_formatter.formatters["image/png"].for_type(Figure, png)


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG without date or version, some third of the usual size.

    Lines and text need few colours: 256 are kept, unless that would change the picture visibly,
    as in a grid of photographs.
    """
    from PIL import Image

    stream, result = io.BytesIO(), io.BytesIO()
    figure.savefig(stream, format="png", bbox_inches="tight", metadata=METADATA)
    full = Image.open(stream, formats=["PNG"]).convert("RGB")
    few = full.quantize(256, dither=Image.Dither.NONE)
    change = np.asarray(full, np.int16) - np.asarray(few.convert("RGB"), np.int16)
    kept = few if np.abs(change).max(axis=-1).mean() <= VISIBLE else full
    kept.save(result, format="png", optimize=True)
    return result.getvalue()


def color(name: str) -> str:
    """Return the colour of a method or source, as "#rrggbb"."""
    return looks.look(name).color


def label(name: str) -> str:
    """Return how a method or source is written in a figure or table."""
    return looks.look(name).label


def mark(name: str) -> dict[str, str]:
    """Return color, marker and linestyle of a name, as keywords for ``Axes.plot``."""
    look = looks.look(name)
    return {"color": look.color, "marker": look.marker, "linestyle": look.line}


def seeds_text(counts: Iterable[int]) -> str:
    """Return numbers of seeds in words: "1 seed", "5 seeds", "3–5 seeds"; "" for none."""
    ends = sorted(set(counts))
    if ends in ([], [1]):
        return "1 seed" if ends else ""
    return f"{'–'.join(str(n) for n in dict.fromkeys((ends[0], ends[-1])))} seeds"


def seeds(table: pd.DataFrame) -> str:
    """Return how many seeds the rows of a table have, in words: "1 seed", "5 seeds"."""
    return seeds_text([table["seed"].nunique()])


def interval_text(mean: float, low: float, high: float, decimals: int = 1) -> str:
    """Return a difference with its interval, "+1.0 [−0.2, +2.1]"; without one, "+1.0"."""
    ends = (f"{round(x, decimals) + 0.0:+.{decimals}f}" for x in (mean, low, high))
    mean, low, high = (text.replace("-", "−") for text in ends)
    return mean if "nan" in low else f"{mean} [{low}, {high}]"


def sides(differences: Mapping[str, Sequence[float]], below: str, above: str) -> str:
    """Return in words on which side of zero differences over seeds lie, by their intervals.

    "smaller for FreezeD, larger for BSA, open for scratch, GLANN": a difference is open where its
    95 % interval holds zero, and where it has one seed. Those without values are left out.

    Args:
        differences: what is compared -> values, one a seed.
        below, above: words for a mean surely below zero, and above it.
    """
    held: dict[str, list[str]] = {below: [], above: [], "open": []}
    for name, values in differences.items():
        if len(values):
            _, low, high = interval(values)
            held[below if high < 0 else above if low > 0 else "open"].append(name)
    return ", ".join(f"{word} for {', '.join(names)}" for word, names in held.items() if names)


def light(images: np.ndarray | Iterable[np.ndarray]) -> np.ndarray:
    """Return uint8 images ``[N, H, W, 3]``, or several such arrays in one, in few colours.

    It halves the size of a page. Grey images, ``[N, H, W, 1]``, stay as they are.
    """
    from PIL import Image

    sheet = images if isinstance(images, np.ndarray) else np.concatenate(list(images))
    if sheet.shape[-1] == 1:
        return sheet
    flat = Image.fromarray(sheet.reshape(-1, *sheet.shape[2:]))  # one below the other
    few = flat.quantize(SHEET_COLORS, dither=Image.Dither.NONE).convert("RGB")
    return np.asarray(few).reshape(sheet.shape)


def image_grid(
    images: np.ndarray,
    rows: int,
    columns: int,
    titles: Sequence[str] | None = None,
    ax: Axes | None = None,
    *,
    row_titles: Sequence[str] | None = None,
) -> Axes:
    """Draw images in a grid, row by row, each pixel as a sharp square.

    Args:
        images: uint8 ``[N, H, W, C]`` with C 1 or 3; with fewer than ``rows * columns`` the rest
            stays white.
        titles, row_titles: one a column, above it, and one a row, on its left.
        ax: axes to draw on; None: the current ones.
    """
    import matplotlib.pyplot as plt

    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        shape = f"{images.dtype} {list(images.shape)}"
        raise InputError(f"images are {shape}; give uint8 [N, H, W, 1 or 3]")
    height, width = images.shape[1:3]
    # Small images are blown up here, so that the gap between them can be thin.
    factor = max(1, round(64 / max(height, width)))
    gap = max(2, factor)
    step_y, step_x = height * factor + gap, width * factor + gap
    images = images[: rows * columns].repeat(factor, axis=1).repeat(factor, axis=2)
    tiles = np.full((rows * columns, step_y, step_x, 3), 255, np.uint8)
    tiles[: len(images), :-gap, :-gap] = images
    tiles = tiles.reshape(rows, columns, step_y, step_x, 3).swapaxes(1, 2)
    sheet = tiles.reshape(rows * step_y, columns * step_x, 3)[:-gap, :-gap]
    ax = ax or plt.gca()
    ax.imshow(sheet)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.xaxis.tick_top()
    across, down = titles or [], row_titles or []
    ax.set_xticks([(k + 0.5) * step_x - gap / 2 for k in range(columns if across else 0)], across)
    ax.set_yticks([(k + 0.5) * step_y - gap / 2 for k in range(rows if down else 0)], down)
    return ax


def sheet(lines: Iterable[tuple[str, np.ndarray]], columns: int, side: float = 0.42) -> Axes:
    """Draw names and the first of their images, uint8 ``[N, H, W, 3]``, a row each, in a figure.

    ``side`` is that of an image in inches. Without lines the figure says that there are none.
    """
    import matplotlib.pyplot as plt

    if not (lines := [*lines]):
        _, ax = plt.subplots(figsize=(side * (columns + 3), side))
        ax.set_axis_off()
        ax.text(0, 0.5, "This run makes none of these images.", va="center")
        return ax
    names, rows = zip(*lines, strict=True)
    _, ax = plt.subplots(figsize=(side * (columns + 3), side * len(rows) + 0.1))
    grid = light(images[:columns] for images in rows)
    return image_grid(grid, len(rows), columns, ax=ax, row_titles=[label(name) for name in names])


def band(ax: Axes, x: Sequence[float], curves: np.ndarray, name: str, **line: Any) -> Axes:
    """Draw the mean curve over seeds, in a band of one standard deviation to either side.

    Args:
        ax, x: axes to draw on, and ``[epochs]``.
        curves: ``[seeds, epochs]``, or ``[epochs]`` for one seed; one seed has no band.
        name: method or source: gives colour, line and the entry of the legend.
        line: further keywords for ``Axes.plot``, such as ``linestyle`` or ``label``.
    """
    curves = np.atleast_2d(np.asarray(curves, dtype=float))
    look = mark(name) | {"label": label(name), "markevery": max(1, len(x) // 8)} | line
    mean = curves.mean(axis=0)
    ax.plot(x, mean, **look)
    if len(curves) > 1:
        low, high = mean + np.array([[-1], [1]]) * curves.std(axis=0, ddof=1)
        ax.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)
    return ax


def dots_and_interval(
    ax: Axes,
    place: float,
    values: Iterable[float],
    color: str,
    marker: str = "o",
    *,
    below: float = 0.2,
) -> Interval:
    """Draw values over seeds in a line of a horizontal chart; return their mean and interval.

    Mean and bar of the interval stand at the height ``place``, seeds as black dots beside it, by
    ``below``: under the bar if the y axis goes from top to bottom. Where bars are near to each
    other, it is less than half of what lies between them.
    """
    values = list(values)
    mean, low, high = interval(values)
    ax.plot(values, [place + below] * len(values), ".", color="black", markersize=4)
    ax.plot([low, high], [place, place], color=color, linewidth=5, alpha=0.5)
    ax.plot(mean, place, marker, color=color)
    return Interval(mean, low, high)


def differences(
    panels: Mapping[str, Mapping[str, Sequence[float]]], words: str, decimals: int = 1
) -> Figure:
    """Draw differences over seeds, their mean and interval, which is also written beside them.

    Args:
        panels: method or source -> what is compared -> values, one a seed; a panel of its own and
            a line in it. A comparison without values in a panel leaves its line there empty.
        words: below the panels: what is measured, over how many seeds, of whose rows.
        decimals: of what is written.
    """
    import matplotlib.pyplot as plt

    lines = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    fig, axes = plt.subplots(
        1, len(panels), figsize=(8.6, 0.5 * len(lines) + 1.1), sharex=True, sharey=True,
        squeeze=False,
    )  # fmt: skip
    for ax, (panel, groups) in zip(axes[0], panels.items(), strict=True):
        for place, line in enumerate(lines):
            if len(values := groups.get(line, ())):
                reach = dots_and_interval(ax, place, values, color(panel))
                ax.text(
                    1.02, place, interval_text(*reach, decimals), va="center",
                    fontsize="small", transform=ax.get_yaxis_transform(),
                )  # fmt: skip
        ax.axvline(0, color="black", linewidth=0.8)
        ax.set_title(label(panel))
    axes[0][0].set(yticks=range(len(lines)), yticklabels=lines, ylim=(len(lines) - 0.5, -0.5))
    fig.supxlabel(words, fontsize="medium")
    return fig


def means_and_intervals(
    ax: Axes, x: Sequence[float], groups: Sequence[Iterable[float]], **look: Any
) -> None:
    """Draw a line of means over seeds with their intervals, where there is more than one seed.

    ``groups`` holds the values at each point of ``x``, none of which draws nothing; ``look`` is for
    ``Axes.errorbar``.
    """
    if not len(groups):
        return
    mean, low, high = np.array([interval(values) for values in groups]).T
    reach = np.nan_to_num([mean - low, high - mean])
    ax.errorbar(x, mean, reach if reach.any() else None, elinewidth=1, **look)


def level(ax: Axes, values: Iterable[float], **look: Any) -> None:
    """Draw a grey line across a chart at the mean over seeds, in a band of its 95 % interval.

    One seed has no band, and no values draw nothing; ``look`` is for ``Axes.axhline``.
    """
    if not len(values := list(values)):
        return
    mean, low, high = interval(values)
    look = {"color": looks.GREY, "linewidth": 1} | look
    ax.axhline(mean, **look)
    if low < high:
        ax.axhspan(low, high, color=look["color"], alpha=0.12, linewidth=0)


def numbers_along(ax: Axes) -> None:
    """Write numbers along a logarithmic y axis on which all is drawn: up to ten, as they are.

    Matplotlib's own are powers of ten. Where the axis ends below three times its beginning, these
    go in even steps, and else by round numbers that lie about as far from each other.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    low, high = ax.get_ylim()
    subs = (1, 1.5, 2, 3, 5, 7) if high < 30 * low else (1, 2, 5)
    even = high < 3 * low
    ax.yaxis.set_major_locator(MaxNLocator(9) if even else LogLocator(subs=subs, numticks=9))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(lambda number, _: f"{number:g}")


def heatmap(
    matrix: pd.DataFrame, ax: Axes, *, low: float | None = None, high: float | None = None
) -> Axes:
    """Draw a matrix of numbers, such as accuracies by train and test source, with its numbers.

    The scale (cividis) runs from dark blue to yellow in even steps of lightness, and each number
    is dark on light or light on dark. NaN stays white: not run. Index and columns name the sides,
    written as in `label`; ``low`` and ``high`` are the ends of the colour scale.
    """
    import seaborn as sns
    from seaborn.utils import relative_luminance

    numbers = matrix.to_numpy(float)
    sns.heatmap(
        numbers, ax=ax, annot=True, fmt=".1f", cmap="cividis", vmin=low, vmax=high,
        linewidths=1, linecolor="white", mask=np.isnan(numbers), cbar=False,
        xticklabels=[label(str(name)) for name in matrix.columns],
        yticklabels=[label(str(name)) for name in matrix.index],
    )  # fmt: skip
    faces = ax.collections[0].get_facecolors()[~np.isnan(numbers).ravel()]
    for text, face in zip(ax.texts, faces, strict=True):
        # black and white contrast alike with 0.18 (WCAG 2.2)
        text.set_color("black" if relative_luminance(face) > 0.18 else "white")
    ax.grid(False)
    ax.tick_params(length=0)
    ax.tick_params(axis="y", labelrotation=0)
    return ax
