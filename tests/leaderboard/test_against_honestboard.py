"""What an independent package computes from the same answers: honestboard, installed with the extra `test`.

It knows test videos, not students, so the students of an entry answer alike here and only videos vary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri

from vddbench.leaderboard.bootstrap import Drawn, draw
from vddbench.leaderboard.comparisons import compared
from vddbench.leaderboard.frontier import Sized, frontier, on_front
from vddbench.leaderboard.videos import drawn_videos
from vddbench.leaderboard.winner import corrected, gain_of_selecting, one_sided

honestboard = pytest.importorskip("honestboard")
VIDEOS = 300


def a_table(skills: list[float], seed: int) -> tuple[list[Drawn], Any]:
    """The same answers as our entries and as their board, best first."""
    rng = np.random.default_rng(seed)
    hits = rng.random((len(skills), VIDEOS)) < np.array(skills)[:, None] + rng.normal(0, 0.1, VIDEOS)
    hits = hits[np.argsort(-hits.mean(1), kind="stable")]
    videos = drawn_videos(np.full(VIDEOS, ""), np.zeros(VIDEOS, int), "toy")
    drawn = [draw([np.repeat(one[None], 3, axis=0)], videos, f"{i}") for i, one in enumerate(hits)]
    return drawn, honestboard.Board([f"{i}" for i in range(len(skills))], hits.astype(float))


EQUAL, SPREAD, LEADER = [0.5] * 8, [0.4 + 0.03 * i for i in range(8)], [0.8] + [0.4] * 7


@pytest.mark.parametrize("skills", [EQUAL, SPREAD, LEADER])
def test_selecting_the_best_gains_as_much(skills: list[float]) -> None:
    drawn, board = a_table(skills, 1)
    theirs = board.winner_bootstrap(B=4000)
    assert drawn[0].score == pytest.approx(theirs["observed"])
    assert gain_of_selecting(drawn) == pytest.approx(theirs["bias"], abs=0.002)


def test_the_lower_end_for_equal_entries_is_that_of_the_locally_simultaneous_interval() -> None:
    drawn, board = a_table(EQUAL, 1)
    may_be_best = compared(drawn).may_be_best
    low, theirs = corrected(drawn, may_be_best).low, board.winner_zoom()
    assert may_be_best.all() and theirs["n_plausible"] == len(EQUAL)
    assert low == pytest.approx(theirs["ci"][0], abs=0.005)
    two_sided = honestboard.simultaneous_quantile(np.eye(20), 0.05, draws=100_000)
    assert ndtri(1 - one_sided(20) / 2) == pytest.approx(two_sided, abs=0.03)


@pytest.mark.parametrize("skills", [EQUAL, SPREAD, LEADER])
def test_the_confidence_set_contains_theirs(skills: list[float]) -> None:
    """Theirs takes a quantile of the bootstrap, ours the Bonferroni inequality, which is never below."""
    drawn, board = a_table(skills, 2)
    ours = {f"{i}" for i, may in enumerate(compared(drawn).may_be_best) if may}
    theirs = set(board.confidence_set_best()["members"])
    assert theirs <= ours and len(ours) <= len(theirs) + 1


def test_the_pareto_front_and_its_probabilities_are_the_same() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, sizes = rng.integers(0, 6, 12) / 10, rng.integers(1, 6, 12)
        assert on_front(scores, sizes.tolist()).tolist() == honestboard.observed_frontier(scores, sizes).tolist()
    drawn, board = a_table(SPREAD, 3)
    sizes = [80, 70, 90, 30, 40, 20, 25, 10]
    ours = frontier([Sized(f"{i}", size, one) for i, (size, one) in enumerate(zip(sizes, drawn, strict=True))])
    rows = honestboard.pareto_frontier(board, {f"{i}": size for i, size in enumerate(sizes)})["table"]
    theirs = {row["system"]: row for row in rows}
    assert [one.pareto for one in ours] == [theirs[f"{i}"]["on_observed_frontier"] for i in range(8)]
    expected = [theirs[f"{i}"]["undominated_frequency"] for i in range(8)]
    assert [one.pareto_probability for one in ours] == pytest.approx(expected, abs=0.04)
