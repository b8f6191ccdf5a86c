"""What an entry gains over `random`, and the share of the gap from `random` to `full` that it closes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vddbench.leaderboard.bootstrap import Drawn, score_difference

NAN = float("nan")


class Estimate(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(NAN, NAN, NAN)
ZERO = Estimate(0.0, NAN, NAN)  # 0 by definition: there is no interval


def gain_of(drawn: Drawn, random: Drawn | None) -> Estimate:
    """The score minus that of `random`, in [-1, 1]. random: None if it has no record."""
    if random is None or drawn is random:
        return UNKNOWN if random is None else ZERO
    gain = score_difference(drawn, random)
    return Estimate(gain.difference, gain.low, gain.high)


def gap_closed(drawn: Drawn, random: Drawn | None, full: Drawn | None) -> Estimate:
    """The share of the gap from `random` to `full` that the entry closes. random, full: None if they have no record."""
    if random is None or drawn is random:
        return UNKNOWN if random is None else ZERO
    if full is None or not is_gap(random, full):
        return UNKNOWN
    closed = (drawn.score - random.score) / (full.score - random.score)
    if np.isnan(drawn.half) or np.isnan(random.half):
        return Estimate(closed, NAN, NAN)
    low, high = np.percentile(shares(drawn, random, full), [2.5, 97.5])
    return Estimate(closed, float(low), float(high))


def is_gap(random: Drawn, full: Drawn) -> bool:
    """Whether the 95 % interval of the gap from `random` to `full` is above 0. If not, a share of it has no meaning."""
    return not np.isnan(random.half) and float(np.percentile(_gap(random, full), 2.5)) > 0


def _gap(random: Drawn, full: Drawn) -> np.ndarray:
    return np.asarray(full.scores - random.scores)  # the spread of a single student of `full` is not known, so not in there


def shares(drawn: Drawn, random: Drawn, full: Drawn) -> np.ndarray:
    """[draws] of the share of the gap from `random` to `full` that is closed."""
    return np.asarray((drawn.scores - random.scores) / _gap(random, full))
