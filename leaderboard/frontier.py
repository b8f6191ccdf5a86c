"""Accuracy against bytes: the curve of a plain video codec, which methods lie above it, and who is on the Pareto front.

The curve joins the baseline `random_video` and its smaller presets (`random_video_tenth`, ...): real clips behind a codec.
A size that is no more accurate than a smaller one is not a point of it: the smaller set is within the larger budget too.
Between two points the curve is linear in the logarithm of the bytes; beyond the largest it stays there, for the same reason;
below the smallest there is none. A value of the curve is a weighted mean of two scores on the same test videos. So test videos
and seeds move it as they move a score, and it is compared with an entry as two entries are (bootstrap.py). Its band is this
interval at each size, not for all sizes together.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import NamedTuple

import numpy as np

from vddbench.leaderboard.bootstrap import Drawn, Variance, score_difference, together
from vddbench.leaderboard.counting import entries
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.rows import Row, is_known
from vddbench.leaderboard.videos import drawn_videos
from vddbench.submissions.method_names import CODEC_METHOD, is_codec

CODEC = "AV1"
NAN = float("nan")


class Sized(NamedTuple):
    """A ranked entry of a table."""

    method: str
    payload_bytes: int
    drawn: Drawn


class FrontierColumns(NamedTuple):
    """What `rank` says about an entry's place among bytes and accuracies."""

    pareto: bool | None  # whether it is more accurate than every entry that is no larger
    pareto_probability: float  # the share of draws in which it is
    over_codec: float  # score minus the codec curve at the entry's bytes
    over_codec_low: float  # the 95 % interval of this difference; NaN below the curve's sizes
    over_codec_high: float


NOTHING = FrontierColumns(None, NAN, NAN, NAN, NAN)


@dataclass(frozen=True)
class Curve:
    """The codec curve: points of different sizes, the smallest and least accurate first."""

    points: tuple[Sized, ...]

    def at(self, payload_bytes: float) -> Drawn | None:
        """The curve at a size: beyond the largest point that point, which fits into more bytes too; None below the smallest."""
        if payload_bytes >= self.points[-1].payload_bytes:
            return self.points[-1].drawn
        for first, second in zip(self.points, self.points[1:], strict=False):
            if first.payload_bytes <= payload_bytes <= second.payload_bytes:
                share = log(payload_bytes / first.payload_bytes) / log(second.payload_bytes / first.payload_bytes)
                return mixed(first.drawn, second.drawn, share)
        return None


def curve_of(sized: Sequence[Sized]) -> Curve | None:
    """The codec curve of a table's entries; None for fewer than two sizes. Points that a smaller one equals do not count."""
    codec = sorted((one for one in sized if is_codec(one.method)), key=lambda one: (one.payload_bytes, -one.drawn.score))
    if len({one.payload_bytes for one in codec}) < 2:
        return None
    points: list[Sized] = []
    for one in codec:
        if not points or one.drawn.score > points[-1].drawn.score:
            points.append(one)
    return Curve(tuple(points))


def curve_of_records(evaluated: Sequence[Evaluated]) -> Curve | None:
    """The codec curve of the records of one table."""
    of_codec = [entry for entry in entries(one for one in evaluated if is_codec(one.record.method)) if entry.is_ranked]
    if not of_codec:
        return None
    first = of_codec[0].evaluated[0][0]
    videos = drawn_videos(first.groups, first.labels, of_codec[0].dataset)
    return curve_of([Sized(entry.one.method, entry.payload_bytes, entry.drawn(videos)) for entry in of_codec])


def mixed(first: Drawn, second: Drawn, share: float) -> Drawn:
    """The weighted mean of two scores: 0 is the first, 1 the second."""
    if share in {0.0, 1.0}:
        return second if share else first
    a, b = 1 - share, share
    of_first, of_second = first.seeds, second.seeds
    return Drawn(
        score=a * first.score + b * second.score,
        influence=a * first.influence + b * second.influence,
        seeds=together(Variance(a**2 * of_first.value, of_first.freedom), Variance(b**2 * of_second.value, of_second.freedom)),
        twice=a**2 * first.twice + b**2 * second.twice,
        videos=first.videos,
        key=zlib.crc32(f"{first.key} {second.key} {share}".encode()),
    )


def on_front(scores: np.ndarray, payload_bytes: Sequence[int]) -> np.ndarray:
    """[entries, ...] whether each entry is on the Pareto front: no entry that is no larger is as accurate, unless both its size
    and its accuracy are equal.

    scores: [entries, ...], for instance [entries, draws].
    """
    sizes = np.asarray(payload_bytes)
    front = np.zeros(scores.shape, bool)
    best = np.full(scores.shape[1:], -np.inf)
    for size in np.unique(sizes):
        of_size = sizes == size
        highest = scores[of_size].max(axis=0)
        front[of_size] = (scores[of_size] == highest) & (highest > best)
        best = np.maximum(best, highest)
    return front


def frontier(ranked: Sequence[Sized]) -> list[FrontierColumns]:
    """The columns of a table's ranked entries, in their order."""
    if not ranked:
        return []
    curve = curve_of(ranked)
    sizes = [one.payload_bytes for one in ranked]
    front = on_front(np.array([one.drawn.score for one in ranked]), sizes)
    probability = on_front(np.stack([one.drawn.scores for one in ranked]), sizes).mean(axis=1)
    rows = zip(ranked, front.tolist(), probability.tolist(), strict=True)
    return [FrontierColumns(is_on, share, *over_codec(one, curve)) for one, is_on, share in rows]


def over_codec(entry: Sized, curve: Curve | None) -> tuple[float, float, float]:
    """An entry's score minus the curve at its bytes, and the 95 % interval; NaN for points of the curve and below it."""
    at = None if curve is None or is_codec(entry.method) else curve.at(entry.payload_bytes)
    if at is None:
        return NAN, NAN, NAN
    over = score_difference(entry.drawn, at)
    return over.difference, over.low, over.high


def sentence(ranked: Sequence[Row]) -> str:
    """How many methods lie above the codec curve, in words. Empty without methods.

    ranked: the ranked rows of one table of `rank`.
    """
    methods = [row for row in ranked if not is_codec(row["method"])]
    if not methods:
        return ""
    if (sizes := len({row["payload_bytes"] for row in ranked if is_codec(row["method"])})) < 2:
        return (
            f"No codec curve: it needs ranked entries of {CODEC_METHOD} at two sizes or more, e.g. {CODEC_METHOD} and "
            f"{CODEC_METHOD}_tenth; this table has {sizes or 'none'}."
        )
    above, below = sum(row["over_codec_low"] > 0 for row in methods), sum(row["over_codec_high"] < 0 for row in methods)
    outside = sum(not is_known(row["over_codec"]) for row in methods)
    unclear = len(methods) - above - below - outside
    parts = [f"{above} of {len(methods)} methods {verb(above, 'lies', 'lie')} above what {CODEC} gives at their bytes"]
    parts += [f"{below} {verb(below, 'lies', 'lie')} below"] if below else []
    parts += [f"for {unclear} the interval of the difference contains 0"] if unclear else []
    parts += [f"{outside} {verb(outside, 'is', 'are')} smaller than all sizes of the curve and not compared"] if outside else []
    return "; ".join(parts) + "."


def verb(count: int, one: str, many: str) -> str:
    return one if count == 1 else many
