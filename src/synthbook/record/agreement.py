"""Does rerunning give what is on record? Rows of a run beside the recorded rows of the same seeds.

On the machine that made the recorded rows a rerun gives them bit for bit. Another processor sums in
another order, and after some hundred training steps the difference is as large as that between two
seeds. So that is the measure: a difference is explained as far as it is one that two seeds show.

The points of one training's curve are one thing: where it goes up and down differs from machine to
machine, and near its end the seeds on record may all stand at 100 %. A curve lies outside when more
than half of its points do.

Of a setting with a single seed on record nobody knows how far two seeds differ: there a difference
is told, and is no disagreement.

What no seed changes, such as the distance between two sets of photographs, differs by rounding
alone. That is next to nothing between two processors. A GPU by default rounds the factors of its
convolutions to 11 bits (TF32), which moves a measure of features by some thousandths.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from synthbook.record.rows import Row, identity

CLOCKS = frozenset({"relative_cost"})  # metrics that are wall time: never the same twice
# Two-sided quantiles at 99 % of Student's t with 1, 2, ... degrees of freedom.
QUANTILES = (63.7, 9.92, 5.84, 4.60, 4.03, 3.71, 3.50, 3.36, 3.25, 3.17)
ROUNDING = 1e-6  # relative difference of a sum in another order
TF32 = 5e-3  # relative difference of a measure of which one side was made on a GPU
CURVES = frozenset({"epoch", "step"})  # settings that tell the points of a curve apart
# Share of the differences that may be larger; 1 % is expected, and rows hang together.
OUTSIDE = 0.05


@dataclass(frozen=True)
class Agreement:
    """How far a run's rows agree with recorded ones.

    Attributes:
        rows: rows of the run, clocks aside.
        compared: those with a recorded row of the same setting, scale and seed.
        equal: of these, those with the same value, bit for bit.
        largest: the largest difference in units of what two seeds show (standard deviations of the
            difference of two seeds), and ``worst``, the row it is of, in words.
        outside: differences larger than 99 % of those between two seeds, of a curve all or none.
        moved: where rows that differ were recorded and where they were made anew, if on another
            processor or on a GPU.
        rounded: relative differences of what no seed changes, which a GPU's rounding explains.
        unmeasured: rows that differ where a single seed is on record.
        unmade: recorded rows of the same run, clocks aside, that it did not make (`unmade`).
    """

    rows: int
    compared: int
    equal: int
    largest: float
    worst: str
    outside: int
    moved: str = ""
    rounded: tuple[float, ...] = ()
    unmeasured: int = 0
    unmade: int = 0

    @property
    def ok(self) -> bool:
        """Whether another processor explains the differences: few lie outside, and none lacks."""
        return self.outside <= OUTSIDE * self.compared and not self.unmade

    @property
    def text(self) -> str:
        """The agreement in a sentence."""
        if not self.compared:
            return f"{self.rows} rows, none of them on record for these seeds and settings."
        text = f"{self.rows} rows, {self.compared} on record for the same seed, {self.equal} equal"
        if self.unmade:
            text += f"; {self.unmade} recorded row{'s' * (self.unmade > 1)} that it did not make"
        if self.equal < self.compared:
            times = f"{self.largest:.1f} standard deviations between two seeds"
            if math.isinf(self.largest):
                times = "in a row that is the same for all seeds on record"
            if self.worst:
                text += f"; largest difference {times} ({self.worst})"
            elif not self.rounded and not self.unmeasured:
                text += ", the others but for their last digits"
            if self.unmeasured:
                text += f"; {self.unmeasured} differ where one seed is on record, which does not "
                text += "tell how far seeds differ"
            text += self.moved
        if self.rounded:
            text += f"; {len(self.rounded)} that no seed changes differ by a GPU's rounding, "
            text += f"{100 * max(self.rounded):.1g} % at most"
        if self.outside:
            text += f"; {self.outside} of {self.compared} differ by more than 99 % of what two "
            text += "seeds do" + (f" ({100 * OUTSIDE:g} % may)" if self.ok else "")
        return f"{text}."


def compare(rows: Iterable[Row], recorded: Iterable[Row]) -> Agreement:
    """Return how far the rows of a run agree with the recorded rows of the same seeds.

    ``rows`` are one of each identity, ``recorded`` of the same chapter and scale, all seeds.
    """
    known: dict[tuple, dict[int, Row]] = defaultdict(dict)
    for row in recorded:
        known[_any_seed(row)][row.seed] = row
    rows = [row for row in rows if row.metric not in CLOCKS]
    compared = equal = 0
    curves: dict[tuple, list[bool]] = defaultdict(list)
    largest, worst, moved, rounded, unmeasured = 0.0, "", "", [], 0
    for row in rows:
        seeds = known[_any_seed(row)]
        if row.seed not in seeds:
            continue
        before, there, here = seeds[row.seed].value, place_of(seeds[row.seed]), place_of(row)
        compared += 1
        equal += row.value == before
        if row.value != before and there and here not in ("", there):
            moved = f"; recorded on {there}, run on {here}"
        ratio = _ratio(row.value - before, [other.value for other in seeds.values()])
        if math.isinf(ratio) and _on_gpu(row) != _on_gpu(seeds[row.seed]):
            change = abs(row.value - before) / max(abs(row.value), abs(before))
            if change <= TF32:
                rounded.append(change)
                ratio = 0.0
        if ratio and len(seeds) == 1:
            unmeasured += 1
            ratio = 0.0
        most = QUANTILES[min(max(len(seeds) - 2, 0), len(QUANTILES) - 1)]
        curves[_curve(row)].append(ratio > most)
        if ratio > largest:
            largest = ratio
            worst = f"{row.metric} of {row.method}, {row.train or 'nothing'}: {row.value:.4g} for "
            worst += f"{before:.4g}"
    outside = sum(len(points) for points in curves.values() if 2 * sum(points) > len(points))
    differ = tuple(rounded), unmeasured
    return Agreement(len(rows), compared, equal, largest, worst, outside, moved, *differ)


def unmade(rows: Iterable[Row], recorded: Iterable[Row]) -> list[Row]:
    """Return the recorded rows of a whole run, clocks aside, that are not among its ``rows`` now.

    The run yields them no more, or calls them otherwise: what is on record of them is stale.
    """
    made = {identity(row) for row in rows}
    return [row for row in recorded if row.metric not in CLOCKS and identity(row) not in made]


def _on_gpu(row: Row) -> bool:
    return row.provenance.device.startswith("cuda")


def place_of(row: Row) -> str:
    """Return what made a row: a GPU as its device says, else the processor, "" if not known."""
    source = row.provenance
    return source.device if _on_gpu(row) else source.processor


def _any_seed(row: Row) -> tuple:
    return identity(row.model_copy(update={"seed": 0}))


def _curve(row: Row) -> tuple:
    """Return what a row measures but for its place on a curve."""
    setting = {name: value for name, value in row.setting.items() if name not in CURVES}
    return identity(row.model_copy(update={"setting": setting}))


def _ratio(difference: float, values: Collection[float]) -> float:
    """Return a difference over the standard deviation of the difference of two seeds."""
    if abs(difference) <= ROUNDING * max(map(abs, values)):
        return 0.0
    spread = statistics.stdev(values) * math.sqrt(2) if len(values) > 1 else 0.0
    return abs(difference) / spread if spread else math.inf
