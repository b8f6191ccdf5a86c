"""Simulations: intervals cover the variation of videos, groups of videos, students and distillations."""

from __future__ import annotations

import numpy as np
import pytest

from vddbench.leaderboard.bootstrap import Drawn, Hits, ScoreDifference, draw, half_width, residual, score_difference
from vddbench.leaderboard.videos import drawn_videos

NO_LABELS = np.zeros(0, np.int32)
DRAWS = 300  # enough for a spread; 2,000 where percentiles are reported


class World:
    """Test videos of a made-up dataset, some harder than others, in scenes that are alike."""

    def __init__(self, rng: np.random.Generator, videos: int, scenes: int) -> None:
        self.rng = rng
        self.groups = np.array([f"scene{i % scenes}" if scenes else "" for i in range(videos)])
        self.ease = rng.normal(0, 1, videos) + (rng.normal(0, 1, scenes)[np.arange(videos) % scenes] if scenes else 0)
        self.videos = drawn_videos(self.groups, NO_LABELS, f"world{rng.integers(2**31)}", DRAWS)

    def entry(
        self,
        distillations: int,
        students: int,
        of_sets: float,
        of_students: float,
        better: float | np.ndarray = 0.0,
        own: float = 0.0,
    ) -> Drawn:
        """`better` and the spreads are on the scale of log odds; `own`: of the videos that this method finds easy."""
        hits: Hits = []
        ease = self.ease + better + (self.rng.normal(0, own, len(self.ease)) if own else 0)
        for _ in range(distillations):
            shift = self.rng.normal(0, of_sets) + self.rng.normal(0, of_students, (students, 1))
            hits.append(self.rng.random((students, len(self.ease))) < 1 / (1 + np.exp(-(ease + shift))))
        return draw(hits, self.videos, f"entry{self.rng.integers(2**31)}")


def is_apart(found: ScoreDifference) -> bool:
    return found.low > 0 or found.high < 0


def test_a_difference_of_three_standard_errors_is_mostly_detected() -> None:
    rng, gaps, detected = np.random.default_rng(0), [], []
    for _ in range(200):
        world = World(rng, 500, 50)
        one, two = (world.entry(1, 5, 0.0, 0.05, better, own=1.0) for better in (0.33, 0.0))
        result = score_difference(one, two)
        gaps.append(result.difference)
        detected.append(is_apart(result))
    error = float(np.std(gaps))
    assert 2.5 < np.mean(gaps) / error < 3.5  # the gap is three of its standard errors
    assert np.mean(detected) >= 0.8


def test_one_student_or_one_scene_gives_no_interval() -> None:
    world = World(np.random.default_rng(0), 50, 0)
    alone, three = world.entry(1, 1, 0, 0), world.entry(1, 3, 0, 0)
    assert np.isnan(score_difference(alone, three).low) and np.isnan(alone.interval).all()
    one_scene = World(np.random.default_rng(0), 50, 1)
    assert np.isnan(score_difference(one_scene.entry(1, 3, 0, 0), one_scene.entry(1, 3, 0, 0)).low)


def test_an_entry_does_not_differ_from_itself() -> None:
    same = [np.repeat(np.arange(20)[None] % 2 == 0, 3, axis=0)]  # three students that answer alike
    videos = drawn_videos(np.full(20, ""), NO_LABELS, "x", DRAWS)
    found = score_difference(draw(same, videos, "a"), draw(same, videos, "b"))
    assert (found.difference, found.low, found.high) == (0, 0, 0)


def test_two_entries_without_errors_may_differ_on_other_videos() -> None:
    """As for the score of one: nothing that has a probability of 16.8 % or more stays unseen on 20 videos, with 97.5 %."""
    videos = drawn_videos(np.full(20, ""), NO_LABELS, "x", DRAWS)
    right, wrong = (draw([np.full((3, 20), is_right)], videos, str(is_right)) for is_right in (True, False))
    same, apart = score_difference(right, right), score_difference(right, wrong)
    assert (same.low, same.high) == pytest.approx((-0.168, 0.168), abs=1e-3)
    assert (apart.low, apart.high) == pytest.approx((0.832, 1.0), abs=1e-3)


def test_variance_of_one_student_on_one_video_is_counted_once() -> None:
    """Coins: the variance of the mean of S x V fair ones is 1 / 4SV; resampling both videos and students counts it twice."""
    rng = np.random.default_rng(0)
    videos = drawn_videos(np.full(300, ""), NO_LABELS, "coins", DRAWS)
    coins = [(rng.random((4, 300)) < 0.5).astype(np.float32) for _ in range(300)]
    assert np.mean([residual(hits, videos) for hits in coins]) == pytest.approx(1 / (4 * 4 * 300), rel=0.05)


def test_half_width_is_students_t() -> None:
    assert half_width(np.array([0.1, 0.2, 0.3])) == pytest.approx(4.303 * 0.1 / np.sqrt(3), rel=1e-3)
    assert np.isnan(half_width(np.array([0.1])))
