"""Ties and the confidence set of the best hold for all entries of a table together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from vddbench.leaderboard.bootstrap import draw, score_difference
from vddbench.leaderboard.comparisons import Comparisons, compared, comparisons, tukey
from vddbench.leaderboard.videos import drawn_videos


def test_the_level_of_a_comparison_falls_with_the_number_of_entries() -> None:
    quantiles = {2: 2.772, 3: 3.314, 10: 4.474, 20: 5.012, 100: 6.085}  # of the studentized range, in tables
    for n, quantile in quantiles.items():
        assert tukey(n) == pytest.approx(2 * ndtr(-quantile / 2**0.5), rel=0.01)


def of_scores(scores: list[float], half: float | np.ndarray) -> Comparisons:
    """Comparisons of entries whose differences have intervals of these half widths: a number, or [n, n] for each pair."""
    difference = np.subtract.outer(scores, scores)
    halves = np.broadcast_to(half, difference.shape)
    return comparisons(np.array(scores), lambda entry, others, _: difference[entry, others] > halves[entry, others])


def test_a_group_ends_at_the_first_entry_that_differs_from_its_best() -> None:
    assert of_scores([0.9, 0.85, 0.5, 0.45], 0.1).groups == [0, 0, 2, 2]
    noisy = np.full((3, 3), 0.1)
    noisy[0, 2] = noisy[2, 0] = 0.9  # nothing is known about the last one
    assert of_scores([0.9, 0.5, 0.2], noisy).groups == [0, 1, 1 + 1]
    assert of_scores([0.9, 0.1], np.nan).groups == [0, 0] and of_scores([0.9], np.nan).groups == [0]


def test_the_best_may_be_any_that_nothing_beats() -> None:
    assert of_scores([0.9, 0.85, 0.5], 0.1).may_be_best.tolist() == [True, True, False]
    noisy = np.full((3, 3), 0.1)
    noisy[:, 2] = noisy[2] = 0.9
    assert of_scores([0.9, 0.5, 0.4], noisy).may_be_best.tolist() == [True, False, True]
    assert of_scores([0.9, 0.1], np.nan).may_be_best.all() and compared([]).groups == []


def test_an_entry_that_is_beaten_beats_others() -> None:
    apart = np.full((3, 3), 0.9)
    apart[0, 1] = apart[1, 2] = 0.1  # the last one is apart from the second only
    assert of_scores([0.9, 0.7, 0.5], apart).may_be_best.tolist() == [True, False, False]


def test_two_entries_are_compared_as_by_one_interval() -> None:
    """Of two entries with the same spread, the worse one may be the best while their difference is within its interval."""
    rng = np.random.default_rng(0)
    videos = drawn_videos(np.array([f"g{i % 7}" for i in range(60)]), np.arange(60) % 3, "x", draws=0)
    pair = [draw([rng.random((3, 60)) < rate], videos, "") for rate in (0.6, 0.5)]
    half = score_difference(*pair).high - score_difference(*pair).difference
    for ratio, may_be_best in ((0.5, True), (1.01, False)):
        first = replace(pair[0], score=pair[1].score + ratio * half)
        found = compared([first, pair[1]])
        assert found.may_be_best.tolist() == [True, may_be_best] and found.groups == [0, int(not may_be_best)]


def test_equal_entries_are_rarely_separated() -> None:
    """40 tables of 12 equal entries."""
    rng, split = np.random.default_rng(0), 0
    for _ in range(40):
        videos = drawn_videos(np.full(100, ""), np.zeros(100, int), "x", draws=0)
        drawn = [draw([rng.random((5, 100)) < 0.5 + rng.normal(0, 0.03, (5, 1))], videos, "") for _ in range(12)]
        split += len(set(compared(sorted(drawn, key=lambda one: -one.score)).groups)) > 1
    assert split <= 4
