"""The best score of a table, corrected for having been selected as the best (the winner's curse).

The highest of several measured scores is too high on average: whichever entry was lucky was selected. The correction is the
mean gain of selecting in a parametric bootstrap, in which the measured scores are the truth. In each draw the best entry is
selected again; its draw minus its truth is what selecting gained (Efron and Tibshirani, "An Introduction to the Bootstrap",
1993, chapter 10). A best entry that no other comes near keeps its score.

The interval follows the idea of Zrnic and Fithian ("Locally simultaneous inference", Annals of Statistics 2024): its lower end
holds for all entries together that may be the best (`Comparisons.may_be_best`), at Sidak's level, so it holds for whichever of
them was selected. No share of the level is set aside for the choice of these entries, as theirs does, so the coverage is not
proven but simulated (docs/ranking.md). Its upper end is that of the ordinary interval, because an unlucky entry is rarely
selected.

Conditional and hybrid estimates (Andrews, Kitagawa and McCloskey, "Inference on Winners", Quarterly Journal of Economics 2024)
have less bias, but in simulations of equal entries twice the root mean square error; and they have no value for two entries of
equal score, such as two methods that chose the same clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vddbench.leaderboard.bootstrap import LEVEL, Drawn, Variance, half_interval, together


class Winner(NamedTuple):
    """The corrected score of a table's best entry, and its 95 % interval."""

    score: float
    low: float
    high: float


def corrected(ranked: Sequence[Drawn], may_be_best: Sequence[bool]) -> Winner:
    """Corrects the score of the first of a table's ranked entries, best first. NaN without an interval.

    may_be_best: for each entry, whether it is in the confidence set of the best. Raises ValueError without entries.
    """
    if not ranked:
        raise ValueError("a table without ranked entries has no best entry")
    best = ranked[0]
    low, high = best.interval
    if np.isnan(low):
        return Winner(np.nan, np.nan, np.nan)
    rivals = [drawn for drawn, is_rival in zip(ranked, may_be_best, strict=True) if is_rival] or [best]
    whole = together(best.video, seeds_of(best, rivals))  # one t for the whole variance, as in comparisons.py
    lower = best.score - float(half_interval([whole], one_sided(len(rivals))))
    low = min(low, max(0.0, lower))
    return Winner(min(max(best.score - gain_of_selecting(ranked), low), high), low, high)


def seeds_of(best: Drawn, rivals: Sequence[Drawn]) -> Variance:
    """The variance over seeds of the best entry, but not below the mean of all that may be the best, which more seeds support.

    The few seeds of the selected entry may agree by chance. With two distillations of each method, the interval would then
    contain the true score in 87 % of tables only.
    """
    known = [drawn.seeds for drawn in rivals if drawn.seeds.freedom > 0]
    mean = Variance(float(np.mean([one.value for one in known])), float(np.sum([one.freedom for one in known])))
    return mean if mean.value > best.seeds.value else best.seeds


def one_sided(count: int) -> float:
    """The level of two-sided intervals of `count` scores whose lower ends hold together with 97.5 % (Sidak); LEVEL for one."""
    return float(2 * (1 - (1 - LEVEL / 2) ** (1 / max(1, count))))


def gain_of_selecting(ranked: Sequence[Drawn]) -> float:
    """By how much the best score exceeds the true score of the entry that is selected for it, on average over draws."""
    scores = np.array([drawn.score for drawn in ranked])
    draws = np.stack([drawn.unwidened for drawn in ranked])  # [entries, draws]
    selected = draws.argmax(axis=0)
    gained = draws.max(axis=0) - scores[selected]
    of_first = draws[0] - scores[0]  # its mean is 0, but for the finite number of draws
    return max(0.0, float((gained - of_first).mean()))
