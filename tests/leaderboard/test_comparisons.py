"""Ties and the confidence set of the best hold for all entries of a table together."""

from __future__ import annotations

import numpy as np
import pytest

from vddbench.leaderboard.bootstrap import draw, score_difference
from vddbench.leaderboard.comparisons import Comparisons, compared, tukey
from vddbench.leaderboard.videos import drawn_videos


def test_intervals_widen_with_the_number_of_entries() -> None:
    quantiles = {2: 2.772, 3: 3.314, 10: 4.474, 20: 5.012, 100: 6.085}  # of the studentized range, in tables
    for n, quantile in quantiles.items():
        assert tukey(n) == pytest.approx(quantile / 2**0.5 / 1.95996, rel=1e-3)


def of_scores(scores: list[float], half: float | np.ndarray) -> Comparisons:
    difference = np.subtract.outer(scores, scores)
    return Comparisons(difference, np.broadcast_to(half, difference.shape))


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


def test_all_pairs_at_once_agree_with_one_at_a_time() -> None:
    rng = np.random.default_rng(0)
    videos = drawn_videos(np.array([f"g{i % 7}" for i in range(60)]), np.arange(60) % 3, "x", draws=0)
    drawn = [
        draw([rng.random((3, 60)) < skill for _ in range(sets)], videos, "") for skill, sets in ((0.7, 1), (0.5, 2), (0.2, 3))
    ]
    found = compared(drawn)
    for i in range(3):
        for j in range(3):
            one = score_difference(drawn[i], drawn[j])
            assert found.difference[i, j] == pytest.approx(one.difference)
            assert i == j or found.half[i, j] == pytest.approx(one.high - one.difference)
