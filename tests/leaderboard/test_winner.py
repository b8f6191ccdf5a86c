"""The corrected score of a table's best entry."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from vddbench.leaderboard.bootstrap import Drawn, draw
from vddbench.leaderboard.comparisons import compared
from vddbench.leaderboard.videos import drawn_videos
from vddbench.leaderboard.winner import corrected, gain_of_selecting, one_sided


def a_table(skills: list[float], videos: int = 400, students: int = 3, seed: int = 0) -> list[Drawn]:
    rng = np.random.default_rng(seed)
    drawn = drawn_videos(np.full(videos, ""), np.zeros(videos, int), f"{seed}", draws=500)
    hits = [rng.random((students, videos)) < skill + rng.normal(0, 0.02, (students, 1)) for skill in skills]
    return sorted((draw([one], drawn, f"{i}") for i, one in enumerate(hits)), key=lambda one: -one.score)


def test_a_clear_leader_and_a_single_entry_keep_score_and_interval() -> None:
    for ranked in (a_table([0.8, 0.3, 0.3, 0.3]), a_table([0.5])):
        may_be_best = compared(ranked).may_be_best
        assert corrected(ranked, may_be_best) == pytest.approx((ranked[0].score, *ranked[0].interval), abs=0.002)


def test_the_best_of_equal_entries_loses_score_and_its_interval_reaches_lower() -> None:
    ranked = a_table([0.5] * 12, students=10)
    score, low, high = corrected(ranked, compared(ranked).may_be_best)
    raw_low, raw_high = ranked[0].interval
    assert low < raw_low < score < ranked[0].score and high == raw_high


def test_more_equal_entries_cost_more() -> None:
    gains = [np.mean([gain_of_selecting(a_table([0.5] * n, seed=seed)) for seed in range(5)]) for n in (1, 2, 5, 20)]
    assert gains[0] == 0 and gains == sorted(gains)


def test_lower_ends_hold_together() -> None:
    """The level agrees with the quantile of the largest of n normal numbers."""
    assert one_sided(1) == pytest.approx(0.05)
    for n in (2, 11, 100):
        largest = np.random.default_rng(0).standard_normal((20_000, n)).max(axis=1)
        assert ndtri(1 - one_sided(n) / 2) == pytest.approx(np.quantile(largest, 0.975), abs=0.06)


def test_without_an_interval_nothing_is_corrected_and_a_table_needs_an_entry() -> None:
    videos = drawn_videos(np.full(50, "one group"), np.zeros(50, int), "x", draws=10)
    alone = draw([np.ones((3, 50), bool)], videos, "a")
    assert np.isnan(corrected([alone], [True])).all()
    with pytest.raises(ValueError, match="no best entry"):
        corrected([], [])
