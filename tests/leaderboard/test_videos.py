"""The variance over test videos: groups vary as a whole, classes are fixed."""

from __future__ import annotations

import numpy as np
import pytest

from vddbench.leaderboard.videos import drawn_videos


def variance(hits: np.ndarray, groups: np.ndarray, labels: np.ndarray) -> float:
    videos = drawn_videos(groups, labels, "x", draws=0)
    return float((videos.influence(hits[None].astype(float)) ** 2).sum())


def named(numbers: np.ndarray) -> np.ndarray:
    return np.array([f"g{number}" for number in numbers])


ALONE, ONE_CLASS = np.full(12, ""), np.zeros(12, int)
HITS = np.array([1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 1])


def test_without_groups_it_is_that_of_a_mean_and_the_jackknife_leaves_each_group_out() -> None:
    assert variance(HITS, ALONE, ONE_CLASS) == pytest.approx(HITS.var(ddof=1) / 12)
    groups = np.repeat([0, 1, 2], [6, 4, 2])
    left_out = np.array([HITS[groups != group].mean() for group in range(3)])
    assert variance(HITS, named(groups), ONE_CLASS) == pytest.approx(2 / 3 * ((left_out - HITS.mean()) ** 2).sum())


def test_classes_of_different_difficulty_add_nothing_and_groups_of_two_classes_stay_one() -> None:
    labels = np.repeat([0, 1], 6)
    assert variance(1 - labels, ALONE, labels) == 0 < variance(1 - labels, ALONE, ONE_CLASS)
    speakers = np.tile(np.repeat([0, 1, 2], 2), 2)  # each speaks both classes
    apart = named(speakers + 3 * labels)
    hits = np.tile([1, 1, 0, 1, 0, 0], 2)  # a speaker that is hard in one class is hard in the other
    assert variance(hits, named(speakers), labels) == pytest.approx(2 * variance(hits, apart, labels))


def test_a_class_with_a_single_group_is_joined_with_another_one() -> None:
    labels = np.repeat([0, 0, 1], 4)
    groups = named(np.repeat([0, 1, 2], 4))
    assert variance(HITS, groups, labels) == pytest.approx(variance(HITS, groups, ONE_CLASS))
    assert variance(HITS, np.full(12, "one"), labels) == 0


@pytest.mark.parametrize(
    ("sizes", "labels", "freedom"),
    [
        ([1] * 9, [0] * 9, 8),
        ([4] * 9, [0] * 9, 8),
        ([4] * 10, [0] * 5 + [1] * 5, 8),  # n - 1 of each class
        ([9, 3], [0, 0], 0.6),  # (9 + 3)**2 / (9**2 + 3**2) = 1.6 equal groups
        ([5], [0], 0),
    ],
)
def test_unequal_groups_have_fewer_degrees_of_freedom(sizes: list[int], labels: list[int], freedom: float) -> None:
    groups = named(np.repeat(np.arange(len(sizes)), sizes))
    assert drawn_videos(groups, np.repeat(labels, sizes), "x", draws=0).freedom == pytest.approx(freedom, rel=0.01)
